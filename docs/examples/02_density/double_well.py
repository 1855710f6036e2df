"""
Over the barrier of a double well
=================================

A density that starts in the left well and forgets it, at the rate of the spectral gap.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

law = pk.FokkerPlanck(pk.potentials.DoubleWell(), beta=8)
grid = pk.Grid(-3, 3, 600)
rho = pk.solve(law, grid, pk.Gaussian(-1, 0.1), np.linspace(0, 40, 81))
right = rho.u.where(rho.u.x > 0, 0).integrate("x")
gap = pk.spectral_gap(law, grid)
fig, ax = plt.subplots(layout="constrained")
ax.plot(right.time, right, label="in the right well")
ax.plot(right.time, (1 - np.exp(-gap * right.time)) / 2, "--", label="(1 - exp(-gap t)) / 2")
ax.set(xlabel="t", ylabel="mass")
ax.legend()
