"""
Finite numbers of particles
===========================

Interacting particles beside the McKean-Vlasov equation that they follow as their number grows.
"""

import matplotlib.pyplot as plt

import pdekit as pk

V, grid, start = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 400), pk.Gaussian(0.2, 0.5)
pull = pk.CurieWeiss(1.0)
rho = pk.solve(pk.McKeanVlasov(V, 4, pull), grid, start, t=3)
fig, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True, layout="constrained")
for ax, n in zip(axes, (100, 2_000, 40_000), strict=True):
    X = pk.simulate(pk.InteractingLangevin(V, 4, pull), start, n, 3, dt=0.01)
    pk.plotting.histogram(ax, X.final.values, grid, bins=40)
    pk.plotting.line(ax, rho.final, color="k")
    ax.set(title=f"{n:,} particles", xlim=(-2.5, 2.5))
