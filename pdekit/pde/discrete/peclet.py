"""Resolution of the drift: the cell Péclet number where the mass is.

The number is beta h |b| / D along the steepest edge of a cell. Where the drift is balanced (a
gradient) it is the fall of log rho over a cell in the stationary state, Δ: ratios of densities are
exact at any Δ, but moments and transients feel a diffusion larger by (Δ/2) coth(Δ/2) - 1 =
Δ²/12 - ... along the drift, a third at Δ = 2, and a drift that is off by a sixth of the change of Δ
from one face of a cell to the other. Where the drift circulates there is none up to 2, and
beyond the flux is upwind, of first order.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion
from pdekit.pde.discrete.generators import axis_neighbours
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import frozen

MODERATE = 2.0  # above it fluxes are of first order
_LAYER = 0.02  # of the mass: tolerated error of the midpoint rule in a layer at a wall
SHARE = 0.1  # share of the mass in such cells above which a warning is given
_SAMPLED = 64  # lines per axis that are checked in the plane
LOOKS = 9  # maximal number of stored times that are checked


class Met(NamedTuple):
    """What the mass of a density meets.

    ``upwinded``: the share of it in cells of Péclet number above 2; ``cell_peclet``: its mean of
    beta h |b| / D along the steepest edge of a cell.
    """

    upwinded: float = 0.0
    cell_peclet: float = 0.0

    @property
    def coarse(self) -> bool:
        """Whether that is worth a warning."""
        return self.upwinded > SHARE


def report(problem: Problem, rho: Array, stacklevel: int) -> Met | None:
    """What a density meets, with a warning where it is much; None of coefficients that move."""
    if problem.time_dependent:
        return None
    weights, peclet = _met(problem, rho)
    total, share = weights.sum(), 0.0
    if not total > 0:
        return None
    beyond = peclet > MODERATE
    if beyond.any():
        peclet = np.minimum(peclet, 1e6)
        share = float(weights[beyond].sum() / total)
    met = Met(share, float(np.vdot(weights, peclet) / total))
    if met.coarse:
        _warn(problem.grid, met, _quantile(weights, peclet), stacklevel + 2)
    return met


def report_along(
    problem: Problem, fields: Array, times: Array, stats: Stats, stacklevel: int
) -> None:
    """``report`` for the last time and, if it does not warn, for some earlier ones."""
    for k in looks(len(times)):
        here = problem
        if problem.time_dependent:
            here = Problem(frozen(problem.equation, float(times[k])), problem.grid, None)
        met = report(here, fields[k], stacklevel + 1)
        if met is not None and (met.coarse or k == len(times) - 1):
            stats["upwinded"], stats["cell_peclet"] = met
            if met.coarse:
                return


def looks(count: int) -> list[int]:
    """Which of the stored times are checked, the last one first."""
    if count <= LOOKS:
        return list(range(count))[::-1]
    return sorted({*np.linspace(count - 1, 0, LOOKS).astype(int).tolist()})[::-1]


def look(problem: Problem, rho: Array, stacklevel: int) -> bool:
    """The same for a stationary density and its layers at the walls; whether it has warned."""
    met = None
    if drift_diffusion.is_general(problem.equation) or not _smooth(rho, problem.grid):
        met = report(problem, rho, stacklevel + 1)
    said = met is not None and met.coarse
    return said or _layers(problem.grid, rho, stacklevel + 2)


def _smooth(rho: Array, grid: Grid) -> bool:
    """Whether the sum of |rho_i - rho_i+1|, on some of the lines, excludes steep cells.

    Where rho changes by more than e² the difference is 1 - e⁻² of the larger one at least.
    """
    for axis in range(grid.dim):
        skip = max(1, rho.size // rho.shape[axis] // _SAMPLED)
        lines = rho if grid.dim == 1 else np.moveaxis(rho, axis, 0)[:, ::skip]
        total = float(np.add.reduce(np.abs(lines[1:] - lines[:-1]), None))
        changes = total * grid.cell_volume * skip
        if changes > SHARE / 2:
            return False
    return True


def steep(rho: Array, grid: Grid, stacklevel: int) -> bool:
    """Whether a tenth of a density's mass is in cells over which it changes by more than e²."""
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.log(np.maximum(np.abs(rho), 1e-300))
    most = np.zeros(rho.shape)
    for axis in range(grid.dim):
        here, there = axis_neighbours(height, axis, grid)
        rise = np.abs(there - here)
        lines, faces = np.moveaxis(most, axis, 0), np.moveaxis(rise, axis, 0)
        for side in (lines[:-1], lines[1:]):
            np.maximum(side, faces[: len(side)], out=side)
    weights = np.abs(rho)
    share = float(weights[most > MODERATE].sum() / max(float(weights.sum()), 1e-300))
    if share <= SHARE:
        return False
    factor = max(1.5, _quantile(weights, np.minimum(most, 1e6)) / MODERATE)
    advice = "it is one of no width on this grid"
    if factor < 1e3:
        cells = tuple(int(np.ceil(n * factor)) for n in grid.cells)
        advice = f"about {cells} cells would suffice instead of {grid.cells}"
    warnings.warn(
        f"{share:.0%} of the density's mass is in cells over which it changes by more than e²: "
        f"{advice}",
        ResolutionWarning,
        stacklevel=stacklevel + 1,
    )
    return True


def _layers(grid: Grid, rho: Array, stacklevel: int) -> bool:
    """Whether exponential layers at the walls are too thin for a sum over the cells.

    The cells of a layer that falls by Δ a cell hold (Δ/2) / sinh(Δ/2) of its mass.
    """
    missed, steepest, total = 0.0, 0.0, 1 / grid.cell_volume
    if grid.dim == 1 and max(rho[0], rho[-1]) <= _LAYER / 50 * total:
        return False
    for axis, closed in enumerate(grid.periodic):
        if closed:
            continue
        lines = rho.T if axis else rho
        for wall, before in ((0, 1), (-1, -2)):
            last, inner = lines[wall], lines[before]
            if float(last.sum()) <= _LAYER / 50 * total:  # at most ten times it is missed
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                fall = np.where(last > inner, np.log(last) - np.log(inner), 0.0)
            fall = np.minimum(fall, 100.0)
            thin = fall > 0.1
            safe = np.where(thin, fall, 1.0)
            lost = np.where(thin, last / -np.expm1(-safe) * (1 - safe / 2 / np.sinh(safe / 2)), 0.0)
            missed += float(lost.sum())
            steepest = max(steepest, float(np.max(fall * (lost > 0), initial=0.0)))
    share = missed / total
    if share <= _LAYER:
        return False
    factor = max(1.5, steepest / 0.6)
    cells = tuple(n if wraps else int(np.ceil(n * factor))
                  for n, wraps in zip(grid.cells, grid.periodic, strict=True))  # fmt: skip
    warnings.warn(
        f"the density has a layer at a wall that falls by e^{steepest:.2g} over a cell: its mass "
        f"is off by {share:.0%}; about {cells} cells would suffice instead of {grid.cells}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )
    return True


def _met(problem: Problem, rho: Array) -> tuple[Array, Array]:
    if drift_diffusion.is_general(problem.equation):
        return _general(problem, rho)
    return _gradient(problem, rho)


def report_fields(rho: Array, U: Array, beta: float, grid: Grid, before: Met) -> Met:
    """The most that a density met ``before``, and now under a potential given by its values.

    With a warning the first time that it is much.
    """
    steepest = _steepest(U, beta, grid)
    total = float(rho.sum())
    share = float(rho[steepest > MODERATE].sum()) / total
    mean = float(np.vdot(rho, steepest)) / total
    met = Met(max(share, before.upwinded), max(mean, before.cell_peclet))
    if met.coarse and not before.coarse:
        _warn(grid, met, _quantile(rho, steepest), stacklevel=8)
    return met


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
    """The quantile of the Péclet number at the tolerated share of the mass."""
    order = np.argsort(peclet, axis=None)
    below = np.cumsum(weights.ravel()[order])
    return float(peclet.ravel()[order][np.searchsorted(below, (1 - SHARE) * below[-1])])


def _warn(grid: Grid, met: Met, most: float, stacklevel: int) -> None:
    share, number = met
    advice = "no grid does, for a drift without diffusion along it: the error falls like h"
    if most < 1e5:
        cells = tuple(int(np.ceil(n * most / MODERATE)) for n in grid.cells)
        advice = f"about {cells} cells would suffice instead of {grid.cells}"
    warnings.warn(
        f"{share:.0%} of the mass is in cells too coarse for the drift (mean cell Péclet number "
        f"{number:.2g}; beyond 2 the error is of first order): {advice}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )


def _general(problem: Problem, rho: Array) -> tuple[Array, Array]:
    return rho, problem.peclet()


def _gradient(problem: Problem, rho: Array) -> tuple[Array, Array]:
    """Mass and |beta (V_{i+1} - V_i)| at the cells of a line, or of some lines of the plane."""
    grid, beta = problem.grid, problem.equation.beta
    if grid.dim == 1:
        values = problem.potential()
        return rho[:-1], beta * np.abs(values[1:] - values[:-1])
    kept = [np.arange(0, n - 1, max(1, n // _SAMPLED)) for n in grid.shape]
    values = values_at(problem, kept)
    steepest = np.zeros_like(values)
    for axis in range(grid.dim):
        above = [k + (j == axis) for j, k in enumerate(kept)]
        np.maximum(steepest, beta * np.abs(values_at(problem, above) - values), out=steepest)
    return np.ascontiguousarray(rho[np.ix_(*kept)]), steepest


def values_at(problem: Problem, index: list[NDArray[np.int64]], t: float = 0.0) -> Array:
    """The potential at the centres of the cells in a product of indices."""
    cells = np.ix_(*index)
    if problem.time_dependent or problem.grid.dim == 1:
        return problem.potential(t)[cells]
    values = np.asarray(problem.equation.potential(problem.grid.centres[cells]), dtype=float)
    # a function defined on the grid's cells only
    return values if values.shape == tuple(map(len, index)) else values[cells]
