"""Whether the cells resolve what is kept above an obstacle: between them, and by other cells."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete import cell_means, grid_comparison
from pdekit.pde.discrete.initial_data import spline
from pdekit.pde.discrete.march import fields_at
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import called
from pdekit.pde.discrete.stats import Stats
from pdekit.protocols import Scheme

_PLACES = 8  # in every cell at which the obstacle is compared with the value
_IRREGULAR = (0.6180339887498949, 0.7548776662466927)


def report(
    problem: Problem, scheme: Scheme, fields: Array, times: Array, stats: Stats, stacklevel: int
) -> None:
    """A ``ResolutionWarning`` if the obstacle is above the value between the centres, or if the
    value is another on other cells, or from the means of its data.

    Compared at the last time, relative to the largest value, or to the range of one that is known
    up to a constant: ``stats["on_other_cells"]``, of half as many cells where these are not few,
    and ``stats["from_means"]``. Explicit schemes and value functions of control have their own
    comparison.
    """
    equation, u = problem.equation, fields[-1]
    if not times[-1] > 0:
        return
    scale = max(float(np.abs(fields).max() if equation.linear else np.ptp(fields)), 1e-300)
    above = _above(problem, u, float(times[-1])) / scale
    if above > cell_means.LITTLE:
        _warn(f"the obstacle is above the value by {above:.2g} of it", problem.grid, stacklevel + 1)
    elif not (equation.first_order or equation.controlled):
        _compare(problem, scheme, u, times[-1:], scale, stats, stacklevel + 1)


def _compare(
    problem: Problem, scheme: Scheme, u: Array, times: Array, scale: float, stats: Stats,
    stacklevel: int,
) -> None:  # fmt: skip
    grid, data = problem.grid, problem.initial
    if callable(data) and cell_means.missed(data, problem.values, grid).max() > (
        cell_means.LITTLE * scale
    ):
        means = cell_means.means(data, grid, "the initial function")
        again = _again(replace(problem, initial=means), scheme, times)
        stats["from_means"] = apart = float(np.abs(u - again).max()) / scale
        if apart > grid_comparison.CLOSE:
            _warn(f"the data make the value another by {apart:.2g} of it", grid, stacklevel)
            return
    other = grid_comparison.comparison_grid(grid)
    if not callable(data):
        data = spline(problem.values, grid, other)
    try:
        again = _again(replace(problem, grid=other, initial=data), scheme, times)
    except (TypeError, ValueError, ConvergenceError):  # known on these cells alone
        return
    finer = np.prod(other.cells) > np.prod(grid.cells)
    gap = u - spline(again, other, grid) if finer else spline(u, grid, other) - again
    stats["on_other_cells"] = apart = float(np.abs(gap).max()) / scale
    if not apart <= (grid_comparison.CLOSE if finer else grid_comparison.TOLERANCE):
        grid_comparison.warn_coarse(apart, grid, other, "the value", stacklevel)


def _again(problem: Problem, scheme: Any, times: Array) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fields = fields_at(times, scheme.start(problem, {"steps": 0}), problem.start)
    return np.asarray(fields[0])


def _above(problem: Problem, u: Array, t: float) -> float:
    """How far the obstacle is above the value at irregular places, where that is interpolated."""
    from scipy.interpolate import RegularGridInterpolator

    grid, given = problem.grid, problem.equation.obstacle
    if checks.time_dependent(given):
        given = given.at(problem.motion_time(t))
    shares = np.modf(np.arange(1, _PLACES + 1)[:, None] * _IRREGULAR[: grid.dim])[0] - 0.5
    points = (grid.centres[..., None, :] + shares * grid.spacing).reshape(-1, grid.dim)
    try:
        there = called("the obstacle", given, points)
    except (TypeError, ValueError, ConvergenceError):
        return 0.0
    if there.shape != points.shape[:-1]:  # known at the centres alone
        return 0.0
    value = RegularGridInterpolator(grid.axes, u, bounds_error=False, fill_value=None)(points)
    excess = (there - value).reshape(*grid.shape, _PLACES).max(-1)
    return float((excess - _bent(u, grid)).max())


def _bent(u: Array, grid: Grid) -> Array:
    """What linear interpolation beside the centres may be off, by second differences."""
    out = np.zeros(u.shape)
    for axis, periodic in enumerate(grid.periodic):
        ends = [(int(k == axis), int(k == axis)) for k in range(grid.dim)]
        padded = np.pad(u, ends, "wrap") if periodic else np.pad(u, ends, "reflect")
        out += np.abs(np.diff(padded, 2, axis))
    return out / 4


def _warn(what: str, grid: Grid, stacklevel: int) -> None:
    warnings.warn(
        f"between the centres of the cells {what}: use finer cells than {grid.cells}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )
