"""
When particles agree
====================

Below a critical temperature, particles drawn to their mean choose a side.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

V, grid = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 300)
betas = np.linspace(1, 6, 26)
critical = pk.critical_beta(V, pk.CurieWeiss(1.0))
fig, ax = plt.subplots(layout="constrained")
for beta in betas:
    for state in pk.self_consistent_states(pk.McKeanVlasov(V, beta, pk.CurieWeiss(1.0)), grid):
        ax.plot(beta, state.mean, "o", color="C0" if state.stable else "0.7", ms=4)
ax.axvline(critical, ls="--", color="0.5")
ax.set(xlabel="β", ylabel="mean of the state", title=f"critical β = {critical:.4f}")
