"""
Cooling a rugged loss
=====================

Temperature falls while the density moves: slowly cooled, more of it ends in the deepest well.
"""

import matplotlib.pyplot as plt

import pdekit as pk

V = pk.potentials.DoubleWell() + 0.1 * pk.potentials.Linear()
grid = pk.Grid(-3, 3, 600)
fig, ax = plt.subplots(layout="constrained")
for end in (5, 50, 500):
    cooled = pk.FokkerPlanck(V, beta=lambda t, end=end: 1 + 39 * t / end)
    rho = pk.solve(cooled, grid, pk.Gaussian(1, 0.3), end)
    pk.plotting.density(ax, rho.final, filled=False, label=f"cooled over {end}")
ax.set(xlabel="x", ylabel="density", xlim=(-2, 2))
ax.legend()
