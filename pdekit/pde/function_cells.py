"""Whether the cells resolve a function that solves a backward equation.

Unlike a density, a function has no mass. It is checked where it varies: where more than a tenth of
the variation of the data, or of the function at a stored time, is in cells of Péclet number above
2, or where the data change by more than a tenth of their range over a cell, the problem is also
solved on other cells, with a warning if the two differ too much. So steep potentials where nothing
varies are not reported. Jumps of the data within a cell are unresolved on both grids: then the
function itself is checked for remaining jumps.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete import cell_means, drift_diffusion, grid_comparison
from pdekit.pde.discrete.bounds import bounds
from pdekit.pde.discrete.march import Advance, fields_at
from pdekit.pde.discrete.peclet import LOOKS, MODERATE, SHARE, values_at
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.supply import supplied_march
from pdekit.pde.schemes.krylov import Krylov
from pdekit.protocols import Scheme

_JUMP = 0.1  # change over a cell, relative to the range, above which the function may be unresolved
_STEP = 0.5  # the same, above which the data are taken to jump within the cell
_CHEAP = 10_000  # most cells of a refined grid
_TOLERANCE = 1e-3  # tolerance of the second solution, if it is on more cells
_LINES = 64  # lines per axis that are checked in the plane
_NARROW, _ENOUGH = 4.0, 2.5  # widths of the heat kernel in cells: looked at, and enough
_NODES, _MOST = (9, 3), 1 << 21  # nodes per cell and axis to look at, at most so many in all
_ALONE = (
    "the function varies in cells too coarse for the drift (cell Péclet number above 2), or "
    "changes too much over a cell, and it cannot be solved on other cells to check whether that "
    "matters: refine the grid, or give potential, force and diffusion as functions of points"
)


def report(
    problem: Problem, scheme: Scheme, fields: Array, times: Array, stats: Stats, stacklevel: int
) -> None:
    """A ``ResolutionWarning`` if the function differs on other cells.

    ``stats["on_other_cells"]`` is then their distance relative to the range of the
    data, and ``stats["from_means"]`` the distance to the solution from cell means, if the centres
    do not represent the data. For Heat, without drift, only the latter is checked, and where the
    data are steep and the kernel narrow, whether nodes between the centres show more.
    """
    looks = sorted({*np.linspace(0, len(times) - 1, LOOKS).astype(int)})
    low, high = bounds(problem)
    drifts = high > low and problem.drifts
    kept = _kept(problem) if drifts else []
    first = _largest_jump(problem.values, kept) if drifts else 0.0
    if first > _STEP * (high - low):
        later = max((_largest_jump(fields[k], kept) for k in looks if times[k] > 0), default=0.0)
        if later > _JUMP * (high - low):
            _warn_front(later / (high - low), problem.grid, stacklevel + 1)
            return
    if _between(problem, scheme, fields, times, looks, stats, stacklevel + 1):
        return
    if not drifts:
        _report_heat(problem, scheme, fields, times, stats, stacklevel + 1)
        return
    if first <= _JUMP * (high - low) and not _in_coarse_cells(problem, fields, times, looks, kept):
        return
    other = _beside(problem.grid)
    again = _again(problem, scheme, times[looks], other)
    if again is None:
        warnings.warn(_ALONE, ResolutionWarning, stacklevel=stacklevel)
        return
    apart = _apart(fields[looks], again, problem.grid, other) / (high - low)
    stats["on_other_cells"] = apart
    if not apart <= grid_comparison.CLOSE:
        grid_comparison.warn_coarse(apart, problem.grid, other, "the function", stacklevel + 1)


def _between(
    problem: Problem, scheme: Scheme, fields: Array, times: Array, looks: list[int],
    stats: Stats, stacklevel: int,
) -> bool:  # fmt: skip
    """Whether the solution from cell means differs; warns if so."""
    data, grid = problem.initial, problem.grid
    later = [k for k in looks if times[k] > 0]
    if not callable(data) or not later:
        return False
    lost, scale = cell_means.missed(data, problem.values, grid), float(np.ptp(problem.values))
    if not lost.max() > cell_means.LITTLE * scale:
        return False
    means = cell_means.means(data, grid, "the initial function")
    again = _again(replace(problem, initial=means), scheme, times[later], grid)
    if again is None:
        return False
    apart = max(float(np.abs(u - v).max()) for u, v in zip(fields[later], again, strict=True))
    stats["from_means"] = apart = apart / max(scale, float(np.ptp(means)), 1e-300)
    little = grid_comparison.CLOSE if problem.drifts else cell_means.LITTLE
    if apart > little:
        _warn_between(apart, little, grid, stacklevel + 1)
    return apart > little


def _warn_between(apart: float, little: float, grid: Grid, stacklevel: int) -> None:
    cells = tuple(int(np.ceil(n * max(2.0, apart / little))) for n in grid.cells)
    warnings.warn(
        "the initial function changes within a cell: from means over the cells the solution is "
        f"another by {apart:.2g} of the range of the data; about {cells} cells would suffice "
        f"instead of {grid.cells}, or a later time",
        ResolutionWarning,
        stacklevel=stacklevel,
    )


def _report_heat(
    problem: Problem, scheme: Scheme, fields: Array, times: Array, stats: Stats, stacklevel: int
) -> None:
    """Warn if data that jump at a face are rounded otherwise by the kernel on nodes between.

    Of a jump at a face the values at the centres are also the means, but the smoothest function
    through them is another.
    """
    grid, u = problem.grid, problem.values
    widths = np.sqrt(times / problem.coldest) / max(grid.spacing)
    narrow = np.flatnonzero((times > 0) & (widths < _NARROW))[:LOOKS]
    if not narrow.size or not callable(problem.initial):
        return
    scale = float(np.ptp(u))
    steep = scale > 0 and _largest_jump(u, _kept(problem)) > _JUMP * scale
    factor = next((k for k in _NODES if prod(grid.cells) * k**grid.dim <= _MOST), None)
    if not steep or factor is None:
        return
    again = _again(problem, scheme, times[narrow], grid.refined(factor))
    if again is None:
        return
    nodes = (slice(None), *[slice(factor // 2, None, factor)] * grid.dim)
    apart = float(np.abs(fields[narrow] - again[nodes]).max()) / scale
    stats["on_other_cells"] = apart
    if apart > cell_means.LITTLE:
        width = float(widths[narrow[0]])
        finer = grid.refined(int(np.ceil(_ENOUGH / width)))  # faces of cells remain faces
        warnings.warn(
            f"the initial function jumps from cell to cell, and the kernel is {width:.2g} cells "
            f"wide: on {factor} times as many cells the solution is another by {apart:.2g} of the "
            f"range of the data; {finer.cells} cells would suffice instead of {grid.cells}, or a "
            "later time",
            ResolutionWarning,
            stacklevel=stacklevel,
        )


def _beside(grid: Grid) -> Grid:
    """Other cells, not many more in number."""
    other = grid_comparison.comparison_grid(grid)
    many = prod(other.cells) > max(_CHEAP, prod(grid.cells))
    return grid.refined(2) if many else other


def _largest_jump(u: Array, kept: list[NDArray[np.int64]]) -> float:
    """The largest change from a cell to the next."""
    return max(float(v.max(initial=0.0)) for v in _variation(u, kept))


def _variation(u: Array, kept: list[NDArray[np.int64]]) -> list[Array]:
    return [np.abs(u[np.ix_(*above)] - u[np.ix_(*kept)]) for above in _above(kept)]


def _warn_front(jump: float, grid: Grid, stacklevel: int) -> None:
    cells = tuple(int(np.ceil(n * jump / _JUMP)) for n in grid.cells)
    warnings.warn(
        f"the data jump within a cell, and the function still changes by {jump:.0%} of their range "
        f"over one, where its front is known to half a cell only: about {cells} cells would "
        f"suffice instead of {grid.cells}, or a later time",
        ResolutionWarning,
        stacklevel=stacklevel,
    )


def _in_coarse_cells(
    problem: Problem, fields: Array, times: Array, looks: Any, kept: list[NDArray[np.int64]]
) -> bool:
    """Whether the function, or its data, vary in cells too coarse for the drift."""
    steep = None
    for t, u in _stages(problem, fields, times, looks):
        if steep is None or problem.time_dependent:
            steep = _peclet(problem, t, kept) > MODERATE
        parts = _variation(u, kept)
        varied = sum(parts[1:], parts[0])
        if float(varied[steep].sum()) > SHARE * float(varied.sum()):
            return True
    return False


def _stages(
    problem: Problem, fields: Array, times: Array, looks: Any
) -> Iterator[tuple[float, Array]]:
    """The data, and the function at some of the stored times."""
    yield 0.0, problem.values
    for k in looks:
        yield float(times[k]), fields[k]


def _kept(problem: Problem) -> list[NDArray[np.int64]]:
    """The cells that are checked, by axis: all, or those of some lines of the plane."""
    grid = problem.grid
    all_of_them = grid.dim == 1 or drift_diffusion.is_general(problem.equation)
    skips = [1 if all_of_them else max(1, n // _LINES) for n in grid.shape]
    return [np.arange(0, n - 1, skip) for n, skip in zip(grid.shape, skips, strict=True)]


def _above(kept: list[NDArray[np.int64]]) -> list[list[NDArray[np.int64]]]:
    """The next cells along every axis."""
    return [[k + (j == axis) for j, k in enumerate(kept)] for axis in range(len(kept))]


def _peclet(problem: Problem, t: float, kept: list[NDArray[np.int64]]) -> Array:
    if drift_diffusion.is_general(problem.equation):
        return problem.peclet(t)[np.ix_(*kept)]
    here = values_at(problem, kept, t)
    rises = [np.abs(values_at(problem, above, t) - here) for above in _above(kept)]
    out: Array = problem.beta(t) * np.max(rises, axis=0)
    return out


def _again(problem: Problem, scheme: Scheme, times: Array, other: Grid) -> Array | None:
    """The function on other cells; None if unavailable."""
    data = problem.initial
    if not (callable(data) or checks.time_dependent(data)):
        data = grid_comparison.interpolated(problem.values, problem.grid, other)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            posed = Problem(problem.equation, other, data, problem.until)
            finer = (
                problem.drifts
                and other.dim > 1
                and np.prod(other.cells) > np.prod(problem.grid.cells)
            )
            # as a splitting may need tens of thousands of steps
            scheme = Krylov(_TOLERANCE) if finer and not problem.time_dependent else scheme
            if posed.equation.supplied:
                advance: Advance = supplied_march(posed, scheme, {"steps": 0})
            else:
                advance = scheme.start(posed, {"steps": 0})
            return fields_at(times, advance, posed.values)
    except (TypeError, ValueError, ConvergenceError):
        return None


def _apart(fields: Array, again: Array, grid: Grid, other: Grid) -> float:
    """The largest distance at the centres of the fewer cells."""
    if np.prod(other.cells) > np.prod(grid.cells):
        pairs = (
            (u, grid_comparison.interpolated(v, other, grid))
            for u, v in zip(fields, again, strict=True)
        )
    else:
        pairs = (
            (grid_comparison.interpolated(u, grid, other), v)
            for u, v in zip(fields, again, strict=True)
        )
    return max(float(np.abs(u - v).max()) for u, v in pairs)
