"""
Your own potential
==================

Any function of points (..., d), in numpy or torch; without a gradient it is differentiated.
"""

import pdekit as pk

f = pk.potentials.Custom(lambda x: x[..., 0] ** 4 / 4 - x[..., 0] ** 2 / 2 + 0.3 * x[..., 0])
grid, times = pk.Grid(-2.5, 2.5, 400), [0.5 * k for k in range(21)]
rho = pk.solve(pk.FokkerPlanck(f, beta=5), grid, pk.Gaussian(1, 0.1), times)
rho.plot("image")
