"""Walls of a box for particles: a wall reflects, a periodic axis wraps.

The drift is continued beyond a wall as its mirror image. The free motion in the continued drift,
folded back into the box, is then in law the reflected motion, whatever the integrator; it is the
particle side of the no-flux condition.
"""

from typing import TYPE_CHECKING

from pdekit.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor


def fold(x: "Tensor", box: Grid) -> "tuple[Tensor, Tensor]":
    """The points of the box under ``x``, and +1 or -1 per coordinate: -1 where mirrored."""
    lower, upper = x.new_tensor(box.lower), x.new_tensor(box.upper)
    width = upper - lower
    wraps = x.new_tensor([float(p) for p in box.periodic])
    phase = (x - lower).remainder(width * (2 - wraps))
    sign = 1 - 2 * (phase > width).to(x.dtype)
    folded = lower + phase.minimum(2 * width - phase)
    return folded.clamp(lower, upper), sign
