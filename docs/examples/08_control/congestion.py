"""
In each other's way
===================

A mean-field game: it costs to be where others are, so the crowd spreads as it leaves.
"""

import matplotlib.pyplot as plt

import pdekit as pk

V, grid, start = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 300), pk.Gaussian(-1, 0.2)
goal = lambda x: (x[..., 0] - 1) ** 2
fig, ax = plt.subplots(layout="constrained")
for strength in (0, 1, 4):
    crowd = pk.Congestion(strength) if strength else None
    game = pk.control(V, 4, grid, start, goal, 1.0, coupling=crowd)
    pk.plotting.line(ax, game.density.final, label=f"strength {strength}")
    print(f"strength {strength}: exploitability {game.residuals.get('gap', 0):.1e}")
ax.set(xlabel="x", ylabel="density at the end")
ax.legend()
