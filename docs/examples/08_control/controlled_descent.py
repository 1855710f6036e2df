"""
What control adds to noise
==========================

The cheapest way out of the shallow well: value function, control, and the improvement theorem.
"""

import matplotlib.pyplot as plt

import pdekit as pk

V, grid = pk.potentials.DoubleWell() + 0.2 * pk.potentials.Linear(), pk.Grid(-3, 3, 800)
best = pk.control(V, beta=4, grid=grid, initial=pk.Gaussian(1, 0.1), terminal_cost=5 * V, t=2.0)
print(best.improvement)
fig, axes = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
fields = {"value": best.value.u, "density": best.density.u, "control": best.control.squeeze()}
for ax, (title, field) in zip(axes, fields.items(), strict=True):
    field.sel(x=slice(-1.6, 1.6)).plot(ax=ax, x="time", robust=True)
    ax.set_title(title)
