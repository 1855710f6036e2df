"""
A hundred thousand particles
============================

Langevin dynamics in the double well beside the density of its equation.
"""

import matplotlib.pyplot as plt

import pdekit as pk

V, grid, start = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 600), pk.Gaussian(-1, 0.1)
X = pk.simulate(pk.Langevin(V, beta=4), start, n=100_000, t=[0.1, 1, 10], dt=0.01)
rho = pk.solve(pk.FokkerPlanck(V, beta=4), grid, start, t=[0.1, 1, 10])
fig, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True, layout="constrained")
for ax, t in zip(axes, rho.times, strict=True):
    pk.plotting.histogram(ax, X.x.sel(time=t).values, grid)
    pk.plotting.line(ax, rho.u.sel(time=t), color="k")
    ax.set(title=f"t = {t:g}", xlim=(-2, 2))
