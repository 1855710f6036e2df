"""
Your own stochastic differential equation
=========================================

dX = drift dt + noise dB, by particles and by the Fokker-Planck equation that it has.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

logistic = pk.ItoProcess(lambda x, t: x * (1 - x), lambda x, t: 0.4 * x)
grid, start = pk.Grid(0, 4, 800), pk.Gaussian(0.3, 0.05)
X = pk.simulate(logistic, start, n=50_000, t=[1, 4, 16], dt=0.005)
rho = pk.solve(logistic.law(), grid, start, [1, 4, 16])
fig, axes = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
for ax, t in zip(axes, rho.times, strict=True):
    pk.plotting.histogram(ax, X.x.sel(time=t).values, grid, bins=80)
    pk.plotting.line(ax, rho.u.sel(time=t), color="k")
    ax.set(title=f"t = {t:g}", xlim=(0, 3))
print(np.round(pk.compare(rho, X).p_value, 3))
