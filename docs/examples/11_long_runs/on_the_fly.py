"""
Moments without positions
=========================

A million particles whose positions are not kept: moments and histograms are made as they move.
"""

import matplotlib.pyplot as plt

import pdekit as pk

watch = (pk.Moments(every=10), pk.Histogram(pk.Grid(-3, 3, 120)))
X = pk.simulate(
    pk.Langevin(pk.potentials.DoubleWell(), beta=4),
    pk.Gaussian(-1, 0.1),
    1_000_000,
    [1, 5],
    dt=0.01,
    dtype="float32",
    observe=watch,
    keep=False,
)
print(X.observed)
fig, ax = plt.subplots(layout="constrained")
X.observed.density.plot(ax=ax, hue="time")
