"""
A swarm that agrees
===================

A movie of particles on the six-hump camel that are drawn to their mean: none stays in a shallow
well, as some do that move alone.
"""

import numpy as np

import pdekit as pk

V, start = pk.potentials.SixHumpCamel(), pk.Uniform((-1.8, -1), (1.8, 1))
swarm = pk.InteractingLangevin(V, beta=4, interaction=pk.CurieWeiss(10.0))
X = pk.simulate(swarm, start, n=400, t=np.linspace(0, 1.5, 31), dt=0.002)
X.movie("swarm.gif")
X.plot("scatter", t=1.5)
