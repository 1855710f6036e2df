"""Whether the cells are small enough: comparison with the result on half as many cells.

Where errors are of second order the difference of the two is three times the error of the finer;
if a feature is too narrow for either, the two differ strongly.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, ResolutionWarning
from pdekit.grid import Grid

TOLERANCE = 0.05  # relative difference above which a warning is given
CLOSE = 0.03  # the same if compared with a finer grid, which is more accurate
# cells per axis, on a line and in the plane, below which a finer grid is used
_FEW = {1: 48, 2: 16}
_CHEAP = 1 << 14  # cells of a plane up to which more of them cost little
_MOST = 1e3  # factor of cells beyond which no advice is given


def compare(
    answer: Any,
    again: Callable[[Grid], Any],
    apart: Callable[[Any, Any, Grid], float],
    grid: Grid,
    what: str,
    stacklevel: int = 3,
    other: Grid | None = None,
) -> bool:
    """A ``ResolutionWarning`` where ``again(other)`` on other cells is too far from ``answer``.

    ``apart(answer, other answer, other)`` is the relative difference. A problem that cannot
    be posed on other cells (arrays instead of functions) is not compared. Whether it warned.
    """
    other = other or comparison_grid(grid)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            difference = apart(answer, again(other), other)
    except TypeError:
        return False
    except (ValueError, ConvergenceError):
        difference = np.inf if _posed(again, grid) else 0.0
    finer = np.prod(other.cells) > np.prod(grid.cells)
    if difference <= (CLOSE if finer else TOLERANCE):
        return False
    order = _order(difference, again, apart, other)
    warn_coarse(difference, grid, other, what, stacklevel + 1, order)
    return True


def compare_twice(answer: Any, again: Any, apart: Any, grid: Grid, what: str) -> None:
    """``compare`` with half of the cells, and with others that do not divide them.

    Edges of a barrier, or of a target, are known to a cell: an answer on n cells and one on n/2 may
    err by the same amount.
    """
    if compare(answer, again, apart, grid, what, 4) or is_small(grid):
        return
    compare(answer, again, apart, grid, what, 4, _odd_grid(grid))


def _odd_grid(grid: Grid) -> Grid:
    """Three times as many cells on a line, half as many more in the plane, or a third fewer."""
    if grid.dim == 1:
        return grid.refined(3)
    finer = np.prod(grid.cells) <= _CHEAP
    cells = tuple((3 * n + 1) // 2 if finer else (2 * n + 2) // 3 for n in grid.cells)
    return Grid(grid.lower, grid.upper, cells, grid.periodic)


def _order(difference: float, again: Any, apart: Any, other: Grid) -> float:
    """Order of the error, from a third result on still fewer cells; 2 if unavailable."""
    coarser = comparison_grid(other)
    if not (np.isfinite(difference) and np.prod(coarser.cells) < np.prod(other.cells)):
        return 2.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = apart(again(other), again(coarser), coarser)
    except (ValueError, TypeError, ConvergenceError):
        return 2.0
    return float(np.clip(np.log2(max(before, 1e-300) / difference), 0.7, 2.0))


def comparison_grid(grid: Grid) -> Grid:
    """The same box with half of the cells, or with more if there are few."""
    if is_small(grid):
        return grid.refined(-(-2 * _FEW[grid.dim] // min(grid.cells)))
    cells = tuple((n + 1) // 2 for n in grid.cells)
    return Grid(grid.lower, grid.upper, cells, grid.periodic)


def is_small(grid: Grid) -> bool:
    """Whether the result is compared with one on more cells, at negligible cost."""
    return min(grid.cells) < _FEW[grid.dim]


def warn_coarse(
    difference: float, grid: Grid, other: Grid, what: str, stacklevel: int, order: float = 2.0
) -> None:
    """Warn, with the number of cells needed if errors decay like h^order."""
    factor = 1.2 * (max(difference, TOLERANCE) / TOLERANCE) ** (1 / order)
    advice = "the number of cells needed is unknown: some feature is smaller than the cells"
    if factor < _MOST:
        cells = tuple(int(np.ceil(n * max(factor, 1.5))) for n in grid.cells)
        advice = f"about {cells} cells would suffice instead of {grid.cells}"
    warnings.warn(
        f"the cells are too coarse for {what}: on {other.cells} cells it differs by "
        f"{difference:.2g} of itself: {advice}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )


def _posed(again: Callable[[Grid], Any], grid: Grid) -> bool:
    """Whether the problem can be posed on other cells."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again(grid.refined(2))
    except (ValueError, TypeError, ConvergenceError):
        return False
    return True


def on_the_coarser(field: Array, grid: Grid, other: Array, cells: Grid) -> tuple[Array, Array]:
    """A field on a grid, and another on other cells of its box, both at the fewer centres."""
    if np.prod(cells.cells) > np.prod(grid.cells):
        return field, interpolated(other, cells, grid)
    return interpolated(field, grid, cells), other


def interpolated(field: Array, grid: Grid, other: Grid) -> Array:
    """A field at the centres of other cells of the same box, by linear interpolation."""
    from scipy.interpolate import RegularGridInterpolator

    made = RegularGridInterpolator(grid.axes, field, bounds_error=False, fill_value=None)
    return np.asarray(made(other.centres))
