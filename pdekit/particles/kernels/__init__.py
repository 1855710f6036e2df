"""Compiled functions of arrays that advance particles."""

# Fast processes of two time scales, see `pdekit.particles.dynamics.two_scale`
POSITION, DISPLACEMENT, FREE = range(3)
