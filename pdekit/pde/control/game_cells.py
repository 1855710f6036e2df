"""The error of a game's value by its cells: the same game on other cells, at the same times.

Newton's method starts from the flow found, so that it takes a round or two on half as many cells:
as long as the game itself, where the steps are not many. So it is done when it is asked for, and
at once only where value or potential are steep or bent over a cell, where the mass is.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.control.equilibrium import Equilibrium
from pdekit.pde.control.games import Game, Newton, Response
from pdekit.pde.discrete import grid_comparison
from pdekit.pde.discrete.initial_data import spline
from pdekit.pde.discrete.problem import Problem

Mask = NDArray[np.bool_]
_TOLERANCE = 1e-4  # L1 distance up to which the game on other cells is closed
_SHARE = 0.05  # of the range of the value, where the mass is: error above which there is a warning
_STEEP = 0.25  # of the exponent of the chain over a cell: its rates are then right to 1 %
_BENT = 0.02  # second difference over the range: thirty cells a wave
_FEW, _LOOKS = 20, 9  # cells an axis below which it is always done; times that are looked at
_MOST = 0.99  # of the mass at every time, where the value is compared
_FINER = 2.0  # error over difference, beside a solution with more cells, at first order


def is_rough(game: Equilibrium, backward: Problem) -> bool:
    """Whether the cells may be too coarse: by jumps and bends over them at some times."""
    found, grid, V = game.response, backward.grid, backward.potential()
    values, flow = found.values, found.flow
    looks = np.unique(np.linspace(0, len(game.nodes) - 1, _LOOKS).astype(int))
    return min(grid.cells) < _FEW or any(
        _is_rough(values[k], V, _massive(flow[k]), backward.equation.beta) for k in looks
    )


def _is_rough(u: Array, V: Array, where: Mask, beta: float) -> bool:
    """By beta |Δu| / 2 and beta |ΔV| / 2 over a cell, and by second differences of u."""
    span, steep, bent = float(np.ptp(u[where])), 0.0, 0.0
    for axis in range(u.ndim):
        v, W = (np.moveaxis(field, axis, 0) for field in (u, V))
        mass = np.moveaxis(where, axis, 0)
        kept = mass[1:] & mass[:-1]
        for field in (v, W):
            steep = max(steep, float(np.abs(np.diff(field, axis=0))[kept].max(initial=0.0)))
        bends = np.abs(np.diff(v, 2, axis=0))[mass[1:-1]]
        bent = max(bent, float(bends.max(initial=0.0)))
    return beta * steep / 2 > _STEEP or bent > _BENT * span


def cell_error(
    game: Equilibrium, backward: Problem, forward: Problem, scheme: Any, stacklevel: int = 4
) -> float:
    """The largest difference of the value to that on other cells, where 0.99 of the mass is.

    At second order three times the error, if the other cells are half as many. Warns
    (``ResolutionWarning``) where it is not small beside the range of the value there. NaN if the
    game cannot be posed on other cells, as with costs known on these alone.
    """
    found, grid = game.response, backward.grid
    other = grid_comparison.comparison_grid(grid)
    try:
        there = _closed(found.game, found.flow, other, backward, forward, scheme)
    except (TypeError, ValueError):
        return np.nan
    except ConvergenceError as error:
        _warn(f"on {other.cells} cells it is not found: {error}", grid, 2.0, stacklevel + 1)
        return np.inf
    apart, ranges = 0.0, []
    for u, v, rho in zip(found.values, there.values, found.flow, strict=True):
        where = _massive(rho)
        apart = max(apart, float(np.abs(u - spline(v[None], other, grid)[0])[where].max()))
        ranges.append((u[where].min(), u[where].max()))
    low, high = np.transpose(ranges)
    scale = float(high.max() - low.min())
    if np.prod(other.cells) > np.prod(grid.cells):
        apart *= _FINER
    if apart > _SHARE * scale:
        why = f"on {other.cells} cells it differs by {apart:.2g}, where it ranges over {scale:.2g}"
        _warn(why, grid, np.sqrt(apart / max(_SHARE * scale, 1e-300)), stacklevel + 1)
    return apart


def _closed(
    game: Game, flow: Array, other: Grid, backward: Problem, forward: Problem, scheme: Any
) -> Response:
    """The game on other cells, from this flow."""
    grid, posed = game.grid, [_on(problem, other) for problem in (backward, forward)]
    start = np.maximum([grid_comparison.interpolated(rho, grid, other) for rho in flow], 0.0)
    axes = tuple(range(1, start.ndim))
    mass = posed[1].values.sum()
    start *= (mass / start.sum(axes)).reshape(-1, *[1] * len(axes))
    start[0] = posed[1].values
    there = replace(
        game, grid=other, steps=scheme.steps(posed[0]), initial=posed[1].values,
        running=posed[0].running_cost(), terminal=posed[0].values,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Newton(_TOLERANCE).closed_from(there, start)


def _on(problem: Problem, other: Grid) -> Problem:
    data = problem.initial
    if not (callable(data) or hasattr(data, "pdf")):
        data = grid_comparison.interpolated(problem.values, problem.grid, other)
    return Problem(problem.equation, other, data)


def _massive(rho: Array) -> Mask:
    """The fewest cells that hold most of the mass."""
    order = np.sort(rho, axis=None)[::-1]
    enough = int(np.searchsorted(np.cumsum(order), _MOST * order.sum()))
    least: Mask = rho >= order[min(enough, len(order) - 1)]
    return least


def _warn(why: str, grid: Grid, more: float, stacklevel: int) -> None:
    better = tuple(int(np.ceil(n * max(more, 1.5))) for n in grid.cells)
    warnings.warn(
        f"the cells are too coarse for the value of the game: {why}; about {better} cells would "
        f"suffice instead of {grid.cells}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )
