"""Whether the cells are small enough for the drift: the cell Péclet number where the mass is."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde import fitted
from pdekit.pde.problem import Problem

Array = NDArray[np.float64]
MODERATE = 2.0  # beyond it fluxes are upwind, hence of first order
_SHARE = 0.1  # of the mass in such cells from which on it is reported
_SAMPLED = 64  # lines per axis looked at in the plane


def report(problem: Problem, rho: Array, stats: dict[str, Any], stacklevel: int) -> None:
    """The Péclet number met by the mass and the share of mass beyond 2 into ``stats``; a warning.

    ``cell_peclet`` is the density's mean of the largest |log(rate up / rate down)| of a cell:
    beta h |b| / D along the steepest edge.
    """
    if problem.moves:
        return
    met = _general if fitted.is_general(problem.equation) else _gradient
    weights, peclet = met(problem, rho)
    total = weights.sum()
    if not total > 0:
        return
    beyond = peclet > MODERATE
    if beyond.any():
        peclet = np.minimum(peclet, 1e6)
        stats["upwinded"] = float(weights[beyond].sum() / total)
    else:
        stats["upwinded"] = 0.0
    stats["cell_peclet"] = float(np.vdot(weights, peclet) / total)
    if stats["upwinded"] > _SHARE:
        _warn(problem.grid, stats, _quantile(weights, peclet), stacklevel + 1)


def report_fields(
    rho: Array, U: Array, beta: float, grid: Grid, stats: dict[str, Any], said: bool
) -> bool:
    """The same for a density under a potential given by its values; warns once, returns whether."""
    steepest = _steepest(U, beta, grid)
    total = float(rho.sum())
    share = float(rho[steepest > MODERATE].sum()) / total
    stats["upwinded"] = max(share, stats.get("upwinded", 0.0))
    stats["cell_peclet"] = max(float(np.vdot(rho, steepest)) / total, stats.get("cell_peclet", 0.0))
    if share > _SHARE and not said:
        _warn(grid, stats, _quantile(rho, steepest), stacklevel=6)
    return said or share > _SHARE


def upwinded(rho: Array, U: Array, beta: float, grid: Grid) -> float:
    """The share of a density in cells over which beta U changes by more than 2."""
    return float(rho[_steepest(U, beta, grid) > MODERATE].sum() / rho.sum())


def _steepest(U: Array, beta: float, grid: Grid) -> Array:
    """The largest beta |difference of U| from a cell to its neighbours."""
    steepest = np.zeros(U.shape)
    for axis, periodic in enumerate(grid.periodic):
        step = beta * np.abs(np.diff(np.moveaxis(U, axis, -1)))
        seam = beta * np.abs(np.take(U, 0, axis) - np.take(U, -1, axis))
        wall = np.where(periodic, seam, 0.0)[..., None]
        of_cell = np.maximum(np.concatenate([wall, step], -1), np.concatenate([step, wall], -1))
        steepest = np.maximum(steepest, np.moveaxis(of_cell, -1, axis))
    steepest = np.minimum(steepest, 1e6)
    return steepest


def _quantile(weights: Array, peclet: Array) -> float:
    """The Péclet number that all but the tolerated share of the mass stays below."""
    order = np.argsort(peclet, axis=None)
    below = np.cumsum(weights.ravel()[order])
    return float(peclet.ravel()[order][np.searchsorted(below, (1 - _SHARE) * below[-1])])


def _warn(grid: Grid, stats: dict[str, Any], most: float, stacklevel: int) -> None:
    share, number = stats["upwinded"], stats["cell_peclet"]
    advice = "no grid does, for a drift without diffusion along it: the error falls like h"
    if most < 1e5:
        cells = tuple(int(np.ceil(n * most / MODERATE)) for n in grid.cells)
        advice = f"about {cells} cells would do in place of {grid.cells}"
    warnings.warn(
        f"{share:.0%} of the mass is in cells too coarse for the drift (mean cell Péclet number "
        f"{number:.2g}; 2 is where fluxes turn upwind, of first order): {advice}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )


def _general(problem: Problem, rho: Array) -> tuple[Array, Array]:
    return rho, problem.generator().peclet()


def _gradient(problem: Problem, rho: Array) -> tuple[Array, Array]:
    """Mass and |beta (V_{i+1} - V_i)| at the cells of a line, or of some lines of the plane."""
    grid, beta = problem.grid, problem.equation.beta
    if grid.dim == 1:
        return rho[:-1], beta * np.abs(np.diff(problem.potential()))
    kept = [np.arange(0, n - 1, max(1, n // _SAMPLED)) for n in grid.shape]
    values = _values(problem, kept)
    steepest = np.zeros_like(values)
    for axis in range(grid.dim):
        above = [k + (j == axis) for j, k in enumerate(kept)]
        np.maximum(steepest, beta * np.abs(_values(problem, above) - values), out=steepest)
    return np.ascontiguousarray(rho[np.ix_(*kept)]), steepest


def _values(problem: Problem, index: list[NDArray[np.int64]]) -> Array:
    """The potential at the centres of the cells in a product of indices."""
    cells = np.ix_(*index)
    values = np.asarray(problem.equation.potential(problem.grid.centres[cells]), dtype=float)
    # a function that knows the grid's cells only
    return values if values.shape == cells[0].shape[:1] + cells[1].shape[1:] else values[cells]
