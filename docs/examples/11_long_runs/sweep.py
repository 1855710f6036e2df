"""
A sweep over parameters
=======================

One function at every combination of its parameters; ``client=distributed.Client(...)`` would give
the points to the workers of a cluster, ``folder=...`` keeps what is finished.
"""

import pdekit as pk


def left_well(barrier, beta):
    V = barrier * pk.potentials.DoubleWell() + 0.1 * pk.potentials.Linear()
    rho = pk.stationary(pk.FokkerPlanck(V, beta), pk.Grid(-3, 3, 300))
    return float(rho.where(rho.x < 0, 0).integrate("x"))


found = pk.sweep(left_well, {"barrier": [1, 2, 4], "beta": [1, 2, 4, 8, 16]})
print(found)
found.value.plot(x="beta", hue="barrier", marker="o")
