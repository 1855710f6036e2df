"""
Three smoothings of one loss
============================

A rippled double well after a time 0.05: by the viscous equation (local entropy), by the
Hamilton-Jacobi equation, whose minima stay where they were, and by heat.
"""

import matplotlib.pyplot as plt

import pdekit as pk

f = pk.potentials.DoubleWell() + 0.15 * pk.potentials.Cosine(20)
grid = pk.Grid(-3, 3, 600)
fig, ax = plt.subplots()
ax.plot(grid.axes[0], f(grid.centres), "0.7", label="the loss")
for equation in (pk.HamiltonJacobi(), pk.ViscousHJ(beta=10), pk.Heat(beta=10)):
    u = pk.solve(equation, grid, f, t=0.05).final
    ax.plot(u.x, u, label=type(equation).__name__)
ax.set(xlabel="x", xlim=(-1.7, 1.7), ylim=(-0.3, 1.2))
ax.legend()
