"""Smoothings in the whole space: a function known beyond the walls, on a box enlarged by its reach.

What reflection at the walls of the larger box adds to the smaller one is below rounding, or not
the minimum.
"""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.problem import Problem

MOST_NODES = 1 << 24


def enlarged(grid: Grid, pad: list[int], periodic: Any = False) -> Grid:
    """The grid with ``pad[k]`` more cells of the same size at both ends of axis k."""
    margin = np.array(pad) * grid.spacing
    lower, upper = np.array(grid.lower) - margin, np.array(grid.upper) + margin
    cells = tuple(np.array(grid.cells) + 2 * np.array(pad))
    return Grid(tuple(lower), tuple(upper), cells, periodic)


def in_the_whole_space(
    problem: Problem,
    t: float,
    reach: list[float],
    needed: Callable[[Array, Array], list[float]],
    smoothed: Callable[[Problem], Array],
) -> Array:
    """``smoothed`` of a box larger by ``reach`` on the axes with walls, on the problem's own cells.

    Repeated while ``needed(field, data)``, of the field there and the data in the larger box, is
    beyond the reach of an axis.
    """
    grid = problem.grid
    while True:
        pad = [
            0 if closed else ceil(r / h) + 1
            for r, h, closed in zip(reach, grid.spacing, grid.periodic, strict=True)
        ]
        if np.prod(np.array(grid.cells, float) + 2 * np.array(pad, float)) > MOST_NODES:
            raise beyond_reach(t, max(reach))
        larger = replace(problem, grid=enlarged(grid, pad, grid.periodic))
        data = problem.sample(larger.grid, outside=True)
        own = tuple(slice(p, p + n) for p, n in zip(pad, grid.cells, strict=True))
        field = np.ascontiguousarray(smoothed(larger)[own])
        more = needed(field, data)
        if all(m <= p * h for m, p, h, closed in zip(more, pad, grid.spacing, grid.periodic,
                                                     strict=True) if not closed):  # fmt: skip
            return field
        # of -c |x|^2 / 2 the needed tends to √(ct) reach
        reach = [max(m, 1.5 * r) for m, r in zip(more, reach, strict=True)]


def beyond_reach(t: float, reach: float) -> ConvergenceError:
    """The error where the initial function would be needed too far off."""
    return ConvergenceError(
        f"the smoothing over the time (gamma) {t:g} would need the initial function {reach:.3g} "
        "beyond the box, on more than 2^24 nodes: if it falls there like -|x|^2 / 2t or faster, or "
        "grows like exp(beta |x|^2 / 2t), its smoothing is not finite; take a shorter time, a "
        "smaller grid, or a function that is bounded below. Without extend=True what the box "
        "reflects is smoothed, which is always finite"
    )
