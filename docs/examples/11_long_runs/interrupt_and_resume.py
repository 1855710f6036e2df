"""
Interrupt and go on
===================

Ten dimensions, one marginal kept, and a checkpoint: a run that was killed goes on to the same bits.
"""

import tempfile

import matplotlib.pyplot as plt
import torch

import pdekit as pk

V = pk.potentials.Custom(lambda x: (x**2).sum(-1) / 2 + (x[..., 0] ** 2 - 1) ** 2, dim=10)
start = pk.Gaussian([0.0] * 10, 1.0)
bins = pk.Histogram(pk.Grid(-2, 2, 80), every=10)
run = dict(n=2_000, t=4.0, dt=0.01, dtype=torch.float32)
with tempfile.TemporaryDirectory() as folder:
    saved = pk.Checkpoint(f"{folder}/run.pt", minutes=0.01)
    first = pk.simulate(pk.Langevin(V, beta=2), start, **run, checkpoint=saved)
    again = pk.simulate(pk.Langevin(V, beta=2), start, **run, checkpoint=saved)
print("same bits:", bool((first.final == again.final).all()))
fig, ax = plt.subplots(layout="constrained")
ax.hist(first.final.values[:, 0], 60)
ax.set(xlabel="first of ten coordinates")
