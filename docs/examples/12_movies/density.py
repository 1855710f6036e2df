"""
A density that crosses a barrier
================================

A movie of the Fokker-Planck equation.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation

import pdekit as pk

grid = pk.Grid(-2.5, 2.5, 400)
law = pk.FokkerPlanck(pk.potentials.DoubleWell(), beta=6)
rho = pk.solve(law, grid, pk.Gaussian(-1, 0.1), np.geomspace(0.05, 60, 40))
fig, ax = plt.subplots(layout="constrained")
(line,) = ax.plot(rho.u.x, rho.u[0])
ax.set(xlabel="x", ylim=(0, 2.5))


def frame(k):
    line.set_ydata(rho.u[k])
    ax.set_title(f"t = {rho.times[k]:.2f}")


movie = FuncAnimation(fig, frame, len(rho.times), interval=80)
