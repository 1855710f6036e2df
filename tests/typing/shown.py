"""Names of which type checkers know what they are; see tests/test_types.py."""

from typing import reveal_type

import pdekit as pk

reveal_type(pk.solve)
reveal_type(pk.simulate)
reveal_type(pk.compare)
reveal_type(pk.optim.EntropySGD)
reveal_type(pk.particles.Langevin)
