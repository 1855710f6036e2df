"""Whether the cells are small enough for an answer: the same answer on half of them, beside it.

Where errors are of second order the difference of the two is three times the error of the finer;
where a feature is too narrow for either, the two have little in common.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, ResolutionWarning
from pdekit.grid import Grid

TOLERANCE = 0.05  # of the answer: the difference from which on it is said
CLOSE = 0.03  # where the answer is compared with one on more cells, which is closer
_FEW = {1: 48, 2: 16}  # cells along an axis, on a line and in the plane, that are rather raised
_MOST = 1e3  # times the cells: advice beyond it is none


def compare(
    answer: Any,
    again: Callable[[Grid], Any],
    apart: Callable[[Any, Any, Grid], float],
    grid: Grid,
    what: str,
    stacklevel: int = 3,
) -> None:
    """A ``ResolutionWarning`` where ``again(other)`` on other cells is too far from ``answer``.

    ``apart(answer, other answer, other)`` is the relative difference. A problem that cannot be
    posed on the other cells (an array in place of a function) is not compared.
    """
    other = beside(grid)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            difference = apart(answer, again(other), other)
    except TypeError:
        return
    except (ValueError, ConvergenceError):
        difference = np.inf if _posed(again, grid) else 0.0
    finer = np.prod(other.cells) > np.prod(grid.cells)
    if not difference <= (CLOSE if finer else TOLERANCE):
        order = _order(difference, again, apart, other)
        say(difference, grid, other, what, stacklevel + 1, order)


def _order(difference: float, again: Any, apart: Any, other: Grid) -> float:
    """Of the error, from a third answer on fewer cells still; 2 where there is none."""
    coarser = beside(other)
    if not (np.isfinite(difference) and np.prod(coarser.cells) < np.prod(other.cells)):
        return 2.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = apart(again(other), again(coarser), coarser)
    except (ValueError, TypeError, ConvergenceError):
        return 2.0
    return float(np.clip(np.log2(max(before, 1e-300) / difference), 0.7, 2.0))


def beside(grid: Grid) -> Grid:
    """The same box with half of the cells, or with many where there are few."""
    if has_few(grid):
        return grid.refined(-(-2 * _FEW[grid.dim] // min(grid.cells)))
    cells = tuple((n + 1) // 2 for n in grid.cells)
    return Grid(grid.lower, grid.upper, cells, grid.periodic)


def has_few(grid: Grid) -> bool:
    """Whether the answer is compared with one on more cells: it costs next to nothing."""
    return min(grid.cells) < _FEW[grid.dim]


def say(
    difference: float, grid: Grid, other: Grid, what: str, stacklevel: int, order: float = 2.0
) -> None:
    """The warning, with the cells that would do where errors fall like h^order."""
    factor = 1.2 * (max(difference, TOLERANCE) / TOLERANCE) ** (1 / order)
    advice = "the cells that would do are beyond telling: some feature is lost between them"
    if factor < _MOST:
        cells = tuple(int(np.ceil(n * max(factor, 1.5))) for n in grid.cells)
        advice = f"about {cells} cells would do in place of {grid.cells}"
    warnings.warn(
        f"the cells are too coarse for {what}: on {other.cells} cells it differs by "
        f"{difference:.2g} of itself: {advice}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )


def _posed(again: Callable[[Grid], Any], grid: Grid) -> bool:
    """Whether the problem can be posed on other cells than its own at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again(grid.refined(2))
    except (ValueError, TypeError, ConvergenceError):
        return False
    return True


def onto(field: Array, grid: Grid, other: Grid) -> Array:
    """A field at the centres of other cells of the same box, linear between its own."""
    from scipy.interpolate import RegularGridInterpolator

    made = RegularGridInterpolator(grid.axes, field, bounds_error=False, fill_value=None)
    return np.asarray(made(other.centres))
