"""
Theorems that a result must obey
================================

``certify`` tests a solution against what is proved of it: bounds, mass, free energy, curvature.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

V, grid = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 300)
law = pk.FokkerPlanck(V, beta=4)
rho = pk.solve(law, grid, pk.Gaussian(-1, 0.2), np.linspace(0, 4, 41))
print(pk.certify(rho))
fig, ax = plt.subplots(layout="constrained")
F = pk.free_energy(rho)
ax.plot(F.time, F, ".-")
ax.set(xlabel="t", ylabel="free energy, which must fall")
