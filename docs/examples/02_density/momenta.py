"""
Position and momentum
=====================

The kinetic equation of Langevin dynamics with little friction: a density that turns as it spreads.
"""

import matplotlib.pyplot as plt

import pdekit as pk

particles = pk.UnderdampedLangevin(pk.potentials.Quadratic(), beta=4, friction=0.2)
start = particles.start(pk.Gaussian(1.5, 0.2))
grid = pk.Grid((-3, -3), (3, 3), (128, 128))
rho = pk.solve(particles.law(), grid, start, [0.0, 1.5, 3.0, 12.0])
fig, axes = plt.subplots(1, 4, figsize=(10, 2.8), sharey=True, layout="constrained")
for ax, t in zip(axes, rho.times, strict=True):
    rho.plot("field", t=t, ax=ax)
    ax.set(xlabel="q", ylabel="p")
