"""
What control adds to noise
==========================

The cheapest way out of the shallow well: value function, density, control, and both sides of the
improvement theorem.
"""

import pdekit as pk

V, grid = pk.potentials.DoubleWell() + 0.2 * pk.potentials.Linear(), pk.Grid(-2.4, 2.4, 640)
best = pk.control(V, beta=4, grid=grid, initial=pk.Gaussian(1, 0.1), terminal_cost=5 * V, t=2.0)
print(best.improvement)
best.plot()
