"""
A front in a wind
=================

Where a front with speed 1 arrives first in a current that turns, as a Hamilton-Jacobi equation.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

grid = pk.Grid((-2, -2), (2, 2), (160, 160))
wind = lambda x: 0.8 * np.stack([-x[..., 1], x[..., 0]], -1)
moves = pk.hamiltonians.Eikonal(1.0) + pk.hamiltonians.Advection(wind)
disc = lambda x: np.hypot(x[..., 0] - 0.8, x[..., 1]) - 0.2
u = pk.solve(pk.HamiltonJacobi(moves), grid, disc, [0, 0.2, 0.4, 0.6, 0.8])
fig, ax = plt.subplots(layout="constrained")
for k, t in enumerate(u.times):
    u.u.sel(time=t).plot.contour(ax=ax, x="x", levels=[0], colors=f"C{k}")
ax.set(aspect="equal", title="the front at t = 0, 0.2, ... 0.8")
