"""
Walls that take what touches them
=================================

What is left between a wall that absorbs and one that takes a part of it, or all.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

grid = pk.Grid(0, 1, 200)
times = np.linspace(0, 1, 51)
fig, ax = plt.subplots(layout="constrained")
for name, end in {
    "rate 1": pk.PartlyAbsorbing(1.0),
    "rate 5": pk.PartlyAbsorbing(5.0),
    "absorbs": True,
}.items():
    law = pk.FokkerPlanck(pk.potentials.Linear(0.0), beta=1, walls=pk.Walls(True, end))
    rho = pk.solve(law, grid, pk.Uniform(0, 1), times)
    ax.plot(times, rho.u.integrate("x"), label=f"right wall: {name}")
ax.set(xlabel="t", ylabel="mass that is left", ylim=(0, 1))
ax.legend()
