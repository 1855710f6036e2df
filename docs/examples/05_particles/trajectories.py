"""
Paths with momentum
===================

One particle with little friction, one with much, at the same temperature.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

times = np.linspace(0, 60, 601)
fig, axes = plt.subplots(2, 1, layout="constrained")
for ax, friction in zip(axes, (0.05, 5.0), strict=True):
    dynamics = pk.UnderdampedLangevin(pk.potentials.DoubleWell(), beta=5, friction=friction)
    X = pk.simulate(dynamics, pk.Gaussian(-1, 0.1), n=1, t=times, dt=0.01, seed=3)
    X.plot("trajectories", ax=ax)
    ax.set_title(f"friction {friction:g}")
