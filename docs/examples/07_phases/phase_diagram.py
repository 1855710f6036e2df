"""
The whole phase diagram
=======================

Means of all states over temperature, stable and unstable, with the branches that join them.
"""

import numpy as np

import pdekit as pk

tilted = pk.potentials.DoubleWell() + 0.02 * pk.potentials.Linear()
states = pk.phase_diagram(tilted, np.linspace(1, 6, 26), [1.0], pk.Grid(-3, 3, 300))
print(states)
states.plot()
