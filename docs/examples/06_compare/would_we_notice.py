"""
Would a wrong dynamics be noticed?
==================================

The same particles against the right equation and against one whose temperature is 5 % off.
"""

import matplotlib.pyplot as plt

import pdekit as pk

V, grid, start = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 600), pk.Gaussian(-1, 0.1)
X = pk.simulate(pk.Langevin(V, beta=4), start, n=50_000, t=[0.2, 2], dt=0.002)
fig, ax = plt.subplots(layout="constrained")
for beta in (4.0, 4.2):
    rho = pk.solve(pk.FokkerPlanck(V, beta), grid, start, [0.2, 2])
    verdict = pk.compare(rho, X)
    print(f"beta = {beta}: p-value {verdict.p_value:.2g}, consistent: {verdict.consistent}")
    pk.plotting.line(ax, rho.final, label=f"β = {beta}, p = {verdict.p_value:.2g}")
pk.plotting.histogram(ax, X.final.values, grid)
ax.legend()
