"""
Which wells local entropy keeps
===============================

The six-hump camel, and its local entropy at two temperatures (the viscous Hamilton-Jacobi equation
after a time gamma): narrow wells go first.
"""

import matplotlib.pyplot as plt

import pdekit as pk

V = pk.potentials.SixHumpCamel()
grid = pk.Grid((-2.2, -1.4), (2.2, 1.4), (176, 112))
fig, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True, layout="constrained")
fields = {"the camel": pk.solve(pk.ViscousHJ(beta=1), grid, V, t=0).final}
for beta in (10, 0.5):
    fields[f"β = {beta}"] = pk.solve(pk.ViscousHJ(beta), grid, V, t=0.3).final
for ax, (title, u) in zip(axes, fields.items(), strict=True):
    (u - u.min()).clip(max=6).plot.contourf(ax=ax, x="x", levels=13, add_colorbar=False)
    ax.set_title(title)
