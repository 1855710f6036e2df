"""
A density that crosses a barrier
================================

A movie of the Fokker-Planck equation, with a frame for each stored time.
"""

import numpy as np

import pdekit as pk

grid = pk.Grid(-2.5, 2.5, 400)
law = pk.FokkerPlanck(pk.potentials.DoubleWell(), beta=6)
rho = pk.solve(law, grid, pk.Gaussian(-1, 0.1), np.geomspace(0.05, 60, 40))
rho.movie("density.gif")
rho.plot(t=rho.times[::8])
