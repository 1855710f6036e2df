"""Walls of a box for particles: a wall reflects, a periodic axis wraps.

The drift is continued beyond a wall as its mirror image. The free motion in the continued drift,
folded back into the box, is then in law the reflected motion, whatever the integrator; it is the
particle side of the no-flux condition.
"""

from typing import TYPE_CHECKING

from pdekit.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor


def fold(x: "Tensor", box: Grid) -> "tuple[Tensor, Tensor | None]":
    """The points of the box under ``x``, and -1 per coordinate where mirrored, else +1.

    Points of the box stay as they are, to the bit; the signs are None where all points are inside.
    """
    lower, upper = x.new_tensor(box.lower), x.new_tensor(box.upper)
    leading = tuple(range(x.ndim - 1))
    if bool(((x.amin(leading) >= lower) & (x.amax(leading) <= upper)).all()):
        return x, None
    reflects = x.new_tensor([not periodic for periodic in box.periodic])
    width = upper - lower
    boxes = ((x - lower) / width).floor()  # how many boxes away
    mirrored = (boxes - 2 * (boxes / 2).floor()) * reflects
    phase = x - lower - boxes * width
    folded = lower + (phase + mirrored * (width - 2 * phase))
    return folded.maximum(lower).minimum(upper).where(boxes != 0, x), 1 - 2 * mirrored
