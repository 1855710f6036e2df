"""
A loss that was measured
========================

A table of numbers, here a network's loss along a line through its solution, is a potential too.
"""

from pathlib import Path

import matplotlib.pyplot as plt

import pdekit as pk

root = next(p for p in Path.cwd().resolve().parents if (p / "studies/data").is_dir())
V = pk.potentials.Tabulated.from_csv(root / "studies/data/digits_loss.csv")
grid = pk.Grid(V.lower, V.upper, 600)
fig, ax = plt.subplots(layout="constrained")
ax.plot(grid.axes[0], V(grid.centres), "0.6", label="measured")
for gamma in (0.05, 0.5):
    smooth = pk.local_entropy(V, gamma, beta=20, grid=grid)
    ax.plot(grid.axes[0], smooth(grid.centres), label=f"local entropy, γ = {gamma}")
ax.legend()
