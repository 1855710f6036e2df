"""Whether a potential is one on a circle, or jumps at the seam of a periodic axis.

Where it jumps an equation has a cliff, which little passes; particles have its slope alone, so that
a tilt drives them round for ever.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid

_EFFECT = 1e-4  # change of a density by a jump, relative to its largest value, that is tolerated
_ROUNDING = 1e-6  # of the range of V: what counts as no jump
_LINES = 64  # across a periodic axis that are looked at
_STEEP = 4  # steps between neighbouring cells, the largest that count as a jump are this many


def jump_at_seam(V: Callable[[Any], Any], values: Array, grid: Grid, beta: float) -> str:
    """What V, with ``values`` at the centres, does at the seam of a periodic axis; "" if nothing.

    V is evaluated on both sides of the seam itself, so that steep ripples between the cells are no
    jump. A jump so high above the lowest value that Gibbs' law has nothing there is of no effect.
    """
    for axis in (k for k, closed in enumerate(grid.periodic) if closed):
        low, high = _sides(V, values, grid, axis)
        jump = np.abs(high - low)
        effect = np.ones_like(jump)  # without noise nothing passes it, however high it is
        if isfinite(beta):
            with np.errstate(over="ignore", invalid="ignore"):
                above = np.maximum(np.minimum(low, high) - values.min(), 0.0)
                effect = np.minimum(beta * jump, 1.0) * np.exp(-beta * above)
        effect = np.where(jump > _ROUNDING * np.ptp(values), effect, 0.0)
        k = int(np.nan_to_num(effect).argmax())
        if effect[k] > _EFFECT:
            name, ends = grid.names[axis], (grid.lower[axis], grid.upper[axis])
            return (
                f"it is {low[k]:.6g} at {name} = {ends[0]:g} and {high[k]:.6g} at {name} = "
                f"{ends[1]:g}, the two sides of the seam of a periodic axis"
            )
    return ""


def _sides(V: Callable[[Any], Any], values: Array, grid: Grid, axis: int) -> tuple[Array, Array]:
    """V on both sides of the seam; where it cannot be evaluated there, in the cells beside it."""
    skip = (slice(None, None, max(1, grid.cells[1 - axis] // _LINES)),) if grid.dim > 1 else ()
    there = np.take(grid.centres, 0, axis)[skip].reshape(-1, grid.dim).copy()
    try:
        return tuple(_at(V, there, axis, end) for end in (grid.lower[axis], grid.upper[axis]))  # type: ignore[return-value]
    except Exception:  # it is known in the cells only
        rows = np.moveaxis(values, axis, 0)
        first, last = (np.atleast_1d(rows[k])[skip] for k in (0, -1))
        steepest = np.abs(np.diff(rows, axis=0)).max()
        return first, np.where(np.abs(last - first) > _STEEP * steepest, last, first)


def _at(V: Callable[[Any], Any], points: Array, axis: int, end: float) -> Array:
    points[:, axis] = end
    values: Array = np.asarray(V(points), dtype=float)
    if values.shape != points.shape[:1]:
        raise ValueError("its values are not those of the points")
    return values
