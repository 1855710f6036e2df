"""
Which well comes first
======================

The committor of the Müller-Brown potential: the probability that the right well comes first.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

V, grid = pk.potentials.MullerBrown(), pk.Grid((-1.6, -0.4), (1.2, 2.0), (140, 120))
at = lambda x, y: lambda p: np.hypot(p[..., 0] - x, p[..., 1] - y) < 0.15
q = pk.committor(pk.FokkerPlanck(V, beta=0.1), grid, at(-0.558, 1.442), at(0.623, 0.028))
fig, ax = plt.subplots(layout="constrained")
values = V(grid.centres)
ax.contour(*grid.axes, values.T, levels=np.arange(-140, 60, 15), colors="0.6", linewidths=0.6)
q.plot.contour(ax=ax, x="x", levels=[0.1, 0.3, 0.5, 0.7, 0.9], cmap="coolwarm")
ax.set(xlabel="x", ylabel="y", title="committor")
