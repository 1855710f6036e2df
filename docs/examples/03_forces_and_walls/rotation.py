"""
A force that is no gradient
===========================

A rotation added to a well keeps the density and drives a current, which costs entropy.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

V = pk.potentials.Custom(lambda x: (x[..., 0] ** 2 - 1) ** 2 / 4 + x[..., 1] ** 2 / 2, dim=2)
turn = lambda x: 0.8 * np.stack([-x[..., 1], x[..., 0] ** 3 - x[..., 0]], -1)
law = pk.FokkerPlanck(V, beta=4, force=turn)
grid = pk.Grid((-2, -2), (2, 2), (120, 120))
rho = pk.stationary(law, grid)
J = pk.current(law, rho, grid)
fig, ax = plt.subplots(layout="constrained")
rho.plot.contourf(ax=ax, x="x", levels=15, cmap="Blues", add_colorbar=False)
thin = J.isel(x=slice(4, None, 8), y=slice(4, None, 8))
ax.quiver(thin.x, thin.y, *thin.transpose("component", "y", "x"), angles="xy")
ax.set(aspect="equal", title=f"entropy production {pk.entropy_production(law, rho, grid):.3f}")
