"""
A fast variable that averages the slope
=======================================

A slow variable that follows the mean of a fast, noisy one descends the local entropy of the loss:
ripples that hold plain descent do not hold it.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

V, grid = pk.potentials.DoubleWell() + 0.05 * pk.potentials.Cosine(20), pk.Grid(-2.5, 2.5, 800)
times = np.linspace(0, 3, 61)
slow = pk.TwoScaleLangevin(V, beta=20, gamma=0.1, epsilon=0.01, inner_steps=20)
X = pk.simulate(slow, pk.Uniform(-2, 2), n=20, t=times, dt=0.01)
smooth = pk.local_entropy(V, gamma=0.1, beta=20, grid=grid)
fig, (left, right) = plt.subplots(1, 2, width_ratios=(1, 2), sharey=True, layout="constrained")
left.plot(V(grid.centres), grid.axes[0], "0.7", label="loss")
left.plot(smooth(grid.centres), grid.axes[0], label="local entropy")
left.set(xlim=(-0.4, 2), ylabel="x")
left.legend()
right.plot(times, X.x.squeeze(), "C0", lw=0.7)
right.set(xlabel="t")
