"""Whether a potential is one on a circle, or jumps at the seam of a periodic axis.

Where it jumps an equation has a cliff, which little passes; particles have its slope alone, so that
a tilt drives them round for ever.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid

_EFFECT = 1e-4  # share of the mass that may come to a jump, times its height, that is tolerated
_ROUNDING = 1e-6  # of the range of V: what counts as no jump
_EXACT = 1e-12  # of V itself: no need to know the range
_LINES = 64  # across a periodic axis that are looked at
_STEEP = 4  # steps between neighbouring cells, the largest that count as a jump are this many
_LOOKS = 250  # times at which a moving potential is looked at
_SOURCES = 8  # places y from which U(., y) is looked at
_GOLDEN = 0.6180339887498949


def looks(until: float, stored: Iterable[float] = ()) -> list[float]:
    """Times up to ``until`` at which a potential that moves is looked at: in step with no period,
    and those that it has ``stored``, with times between.

    A jump that is there for less than some 1/200 of the time may be missed.
    """
    named = sorted(t for t in stored if 0 < t < until)[:_LOOKS]
    between = [(a + b) / 2 for a, b in pairwise([0.0, *named, until])] if named else []
    even = (until * (k * _GOLDEN % 1) for k in range(1, _LOOKS - 1))
    return [0.0, until, *named, *between, *even]


def jump_at_seam(
    V: Callable[[Any], Any],
    cells: Callable[[], Array],
    grid: Grid,
    beta: float,
    start: Array | None = None,
) -> str:
    """What V, of values ``cells()`` at the centres, does at the seam of a periodic axis; "" if
    nothing.

    V is evaluated on both sides of the seam itself, so that steep ripples between the cells are no
    jump. From a point x at most e^(-β (V_seam - V(x))) of the mass climbs to the seam before it
    has relaxed: a jump to which almost nothing comes is of no effect. ``start`` is the mass in each
    cell, up to a factor; None for all of it at the lowest value, from which what is at the seam is
    Gibbs' law.
    """
    for axis in (k for k, closed in enumerate(grid.periodic) if closed):
        low, high = _sides(V, cells, grid, axis)
        jump, height = np.abs(high - low), np.maximum(np.abs(low), np.abs(high))
        if not (jump > _EXACT * height).any():
            continue
        values = cells()
        jump = np.where(jump > _ROUNDING * np.ptp(values), jump, 0.0)
        effect = [
            min(beta * j, 1.0) * _arriving(v, values, beta, start) if j else 0.0
            for j, v in zip(jump, np.minimum(low, high), strict=True)
        ]
        k = int(np.nan_to_num(effect).argmax())
        if effect[k] > _EFFECT:
            name, ends = grid.names[axis], (grid.lower[axis], grid.upper[axis])
            return (
                f"it is {low[k]:.6g} at {name} = {ends[0]:g} and {high[k]:.6g} at {name} = "
                f"{ends[1]:g}, the two sides of the seam of a periodic axis"
            )
    return ""


def kernel_jump_at_seam(U: Any, grid: Grid, beta: float, start: Array | None) -> str:
    """The same of U(., y), an interaction of two points, for some of the places y."""
    places = grid.centres.reshape(-1, grid.dim)
    for y in places[:: max(1, len(places) // _SOURCES)]:
        pull = partial(U, y=y)
        jump = jump_at_seam(pull, partial(pull, grid.centres), grid, beta, start)
        if jump:
            return jump
    return ""


def _arriving(seam: float, values: Array, beta: float, start: Array | None) -> float:
    """The share of the mass that climbs to this value, at most."""
    levels = values.min() if start is None else values
    with np.errstate(invalid="ignore"):  # of no noise
        share = np.where(levels >= seam, 1.0, np.exp(-beta * np.maximum(seam - levels, 0.0)))
    return float(np.average(share, weights=start))


def _sides(
    V: Callable[[Any], Any], cells: Callable[[], Array], grid: Grid, axis: int
) -> tuple[Array, Array]:
    """V on both sides of the seam; where it cannot be evaluated there, in the cells beside it."""
    skip = (slice(None, None, max(1, grid.cells[1 - axis] // _LINES)),) if grid.dim > 1 else ()
    there = np.take(grid.centres, 0, axis)[skip].reshape(-1, grid.dim)
    try:
        return tuple(_at(V, there, axis, end) for end in (grid.lower[axis], grid.upper[axis]))  # type: ignore[return-value]
    except Exception:  # it is known in the cells only
        rows = np.moveaxis(cells(), axis, 0)
        first, last = (np.atleast_1d(rows[k])[skip] for k in (0, -1))
        steepest = np.abs(np.diff(rows, axis=0)).max()
        return first, np.where(np.abs(last - first) > _STEEP * steepest, last, first)


def _at(V: Callable[[Any], Any], points: Array, axis: int, end: float) -> Array:
    points = points.copy()  # V may return a view of it
    points[:, axis] = end
    values: Array = np.asarray(V(points), dtype=float)
    if values.shape != points.shape[:1]:
        raise ValueError("its values are not those of the points")
    return values
