"""
Sent back to the start
======================

Free diffusion that is sent back to 0 at rate 4 comes to rest: its density is ``exp(-2|x|)``.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

reset = pk.Resetting(4.0, pk.Gaussian(0, 0.02))
law = pk.FokkerPlanck(pk.potentials.Linear(0.0), beta=1, resetting=reset)
rho = pk.stationary(law, pk.Grid(-6, 6, 1200))
fig, ax = plt.subplots(layout="constrained")
pk.plotting.density(ax, rho, label="stationary density")
ax.plot(rho.x, np.exp(-2 * abs(rho.x)), "k--", lw=1, label="exp(-2|x|)")
ax.set(xlabel="x", yscale="log", ylim=(1e-4, 2))
ax.legend()
