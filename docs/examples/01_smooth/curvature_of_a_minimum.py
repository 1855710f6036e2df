"""
How fast sharp minima become flat
=================================

Curvature c of a minimum becomes c / (1 + c t) under the Hamilton-Jacobi equation, and stays above
-1/t everywhere: measured at each time against the bound.
"""

import pdekit as pk

grid = pk.Grid(-2, 2, 800)
times = [0.01, 0.03, 0.1, 0.3, 1.0]
f = pk.potentials.DoubleWell() + 0.05 * pk.potentials.Cosine(20)
u = pk.solve(pk.HamiltonJacobi(), grid, f, times)
measured = pk.semiconcavity(u, initial=f)
print(measured)
u.plot()
