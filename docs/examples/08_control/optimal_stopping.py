"""
When to stop
============

The owner of an option that never ends: u >= payoff, and where they touch it is best to stop.
"""

import matplotlib.pyplot as plt

import pdekit as pk

payoff = lambda x: (1 - x[..., 0]).clip(0)
price = pk.BackwardKolmogorov(pk.potentials.Linear(0.0), beta=10, killing=0.05, obstacle=payoff)
grid = pk.Grid(-1, 4, 500)
u = pk.solve(price, grid, payoff, t=20)
fig, ax = plt.subplots(layout="constrained")
pk.plotting.line(ax, u.final, label="value")
ax.plot(grid.axes[0], payoff(grid.centres), "k--", lw=1, label="payoff")
stop = u.stopped.isel(time=-1)
ax.axvspan(-1, float(stop.x[stop].max()), alpha=0.15, label="stop here")
ax.set(xlabel="x")
ax.legend()
