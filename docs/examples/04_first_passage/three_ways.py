"""
How long a well holds, three ways
=================================

By the equation for mean first passage times, by Kramers' formula, and by particles that stop at 1.
"""

import matplotlib.pyplot as plt
import numpy as np

import pdekit as pk

V, grid = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 600)
betas = np.array([6.0, 8.0, 12.0, 16.0, 24.0])
solved, kramers = [], []
for beta in betas:
    tau = pk.mean_first_passage_time(pk.FokkerPlanck(V, beta), grid, lambda x: x[..., 0] >= 1)
    solved.append(float(tau.interp(x=-1)))
    kramers.append(pk.kramers_time(V, minimum=-1.0, saddle=0.0, beta=beta))
box = pk.Grid(-3, 1, 400)
stop = pk.Langevin(V, beta=6, box=box, walls=pk.Walls(False, True))
left = pk.simulate(stop, pk.Gaussian(-1, 0.01), 1000, 300, dt=0.01)
fig, ax = plt.subplots(layout="constrained")
ax.semilogy(betas, solved, "o-", label="equation")
ax.semilogy(betas, kramers, "--", label="Kramers")
ax.semilogy(6, float(left.exits.time.mean()), "x", ms=12, label="1,000 particles")
ax.set(xlabel="β", ylabel="mean time from -1 to 1")
ax.legend()
