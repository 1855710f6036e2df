"""min_y f(y) + t L((x - y) / t) of a function on a line by looking between its samples."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.problem import Problem

Cost = Callable[[Array], Array]

_TRIES = 1 << 21  # most pairs of nodes and samples compared exhaustively: 50 ms
_WELLS = 4  # number of lowest samples per node around which the minimum is searched
_ROUNDS = 12  # steps of a search, each a seventh as wide as the last
_HALVINGS = 30
_GOLDEN = float(np.sqrt(5.0) - 1) / 2
# irregular, so that waves invisible to the samples are detected
_STEPS = np.concatenate(
    [[-1.0, 0.0, 1.0], (np.arange(-8, 8) + 0.1 + 0.8 * np.modf(_GOLDEN * np.arange(1, 17))[0]) / 8]
)


def direct_minima(problem: Problem, values: Array, fine: Grid, cost: Cost) -> Array | None:
    """The least f(y) + cost(x - y) found from every node x of the problem's grid.

    Of all samples ``values`` on ``fine`` that may win, the four lowest dips (those of the node and
    its neighbours where that would be too much work), then y about these off the samples to 1e-9
    of their distance. f is evaluated at every such y, so that no value is below the true one. None
    if the cost is not minimal at distance zero.
    """
    grid, h, n = problem.grid, fine.spacing[0], fine.cells[0]
    x, factor, around = grid.axes[0], n // grid.cells[0], grid.periodic[0]
    reach = _reach(cost, float(np.ptp(values)), grid.upper[0] - grid.lower[0])
    if reach is None:
        return None
    own = factor // 2 + factor * np.arange(x.size)[:, None]
    half = min(int(reach / h) + 2, n // 2 + 1 if around else n - 1)
    if x.size * (2 * half + 1) > _TRIES:
        at = _best(np.tile(values, 3) if around else values, h, cost)
        at = (at[own + n] - n if around else at[own])[:, 0]
        at = np.stack([np.append(at[0], at[:-1]), at, np.append(at[1:], at[-1])], 1)
    else:
        at = own + np.arange(-half, half + 1)
        at = at if around else np.clip(at, 0, n - 1)
    places = grid.lower[0] + (at + 0.5) * h
    total = values[at % n] + cost(x[:, None] - places)
    wall = np.full((x.size, 1), np.inf)
    beside = np.minimum(np.hstack([wall, total[:, :-1]]), np.hstack([total[:, 1:], wall]))
    dips = np.where((total <= beside) | (at.shape[1] == 3), total, np.inf)
    few = min(_WELLS, at.shape[1])
    lowest = np.argpartition(dips, few - 1, axis=1)[:, :few]
    found: Array = np.minimum(total.min(1), values[factor // 2 :: factor] + cost(np.zeros(1)))
    if at.shape[1] > 3:
        found = np.minimum(found, _in_cell(problem, x, places, values[at % n], cost))
    centre, width = np.take_along_axis(places, lowest, 1), float(h)
    for _ in range(_ROUNDS):
        y = centre[..., None] + width * _STEPS
        if not around:
            y = np.clip(y, grid.lower[0], grid.upper[0])
        level = _at(problem, y) + cost(x[:, None, None] - y)
        found = np.minimum(found, level.min((1, 2)))
        centre = np.take_along_axis(y, level.argmin(2)[..., None], 2)[..., 0]
        width /= 7  # the irregular steps are up to a seventh apart
    return found


def _in_cell(problem: Problem, x: Array, places: Array, f: Array, cost: Cost) -> Array:
    """The same by halving the cell between two samples that might hold the least value: a jump.

    A function that is monotone there is nowhere below the lesser of its ends, at the lesser cost.
    """
    away = cost(x[:, None] - places)
    bound = np.minimum(f[:, 1:], f[:, :-1]) + np.minimum(away[:, 1:], away[:, :-1])
    cell, row = bound.argmin(1), np.arange(x.size)
    a, b, at_a, at_b = places[row, cell], places[row, cell + 1], f[row, cell], f[row, cell + 1]
    found = np.full(x.size, np.inf)
    for _ in range(_HALVINGS):
        y = (a + b) / 2
        at_y = _at(problem, y)
        found = np.minimum(found, at_y + cost(x - y))
        left = np.minimum(at_a, at_y) + np.minimum(cost(x - a), cost(x - y))
        right = np.minimum(at_b, at_y) + np.minimum(cost(x - b), cost(x - y))
        nearer = left < right
        a, at_a = np.where(nearer, a, y), np.where(nearer, at_a, at_y)
        b, at_b = np.where(nearer, y, b), np.where(nearer, at_y, at_b)
    return np.asarray(found)


def _best(values: Array, h: float, cost: Cost) -> NDArray[np.int64]:
    """The best sample for each node, in O(n log n)."""
    from pdekit.pde.kernels.min_plus import minimisers

    best = np.empty((1, values.size), np.int64)
    minimisers(values[None], cost(np.arange(1.0 - values.size, values.size) * h), best)
    found: NDArray[np.intp] = best[0]
    return found


def missed(problem: Problem, u: Array, costs: list[Cost]) -> float:
    """How far f(y) + cost(x - y) lies below u, y at irregular places at all distances of x.

    From up to 1,024 nodes x, about them and about the places that were best.
    """
    grid = problem.grid
    points, reached = grid.centres.reshape(-1, grid.dim), u.ravel()
    some = np.arange(0, reached.size, max(1, reached.size // 1024) | 1)
    x, low, high = points[some], np.array(grid.lower), np.array(grid.upper)
    k = np.arange(some.size * 96).reshape(some.size, 96)
    away = 0.5 ** (np.modf(_GOLDEN * k)[0] + np.arange(96) % 24) * float((high - low).max())
    angle = 2 * np.pi * np.modf(np.sqrt(2) * k)[0]
    ways = away[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)[..., : grid.dim]
    best, centre = np.full(some.size, np.inf), x
    for _ in range(3):
        y = centre[:, None] + ways
        for axis in np.flatnonzero(~np.array(grid.periodic)):
            y[..., axis] = np.clip(y[..., axis], low[axis], high[axis])
        inside = np.where(grid.periodic, low + np.mod(y - low, high - low), y)
        level = np.asarray(problem.initial(inside), dtype=float)
        level = level + sum(cost(x[:, None, a] - y[..., a]) for a, cost in enumerate(costs))
        here, at = level.min(1), np.arange(some.size)
        centre = np.where((here < best)[:, None], y[at, level.argmin(1)], centre)
        best = np.minimum(best, here)
    return float(np.maximum(reached[some] - best, 0).max())


def _at(problem: Problem, y: Array) -> Array:
    """f at places of a line or, on a circle, at their images in the box."""
    grid = problem.grid
    if grid.periodic[0]:
        y = grid.lower[0] + np.mod(y - grid.lower[0], grid.upper[0] - grid.lower[0])
    return np.asarray(problem.initial(y.reshape(-1, 1)), dtype=float).reshape(y.shape)


def _reach(cost: Cost, most: float, width: float) -> float | None:
    """A distance beyond which the cost exceeds ``most``, within a factor of two, or the width."""
    away = np.geomspace(width, width * 2.0**-200, 201, dtype=np.float64)
    nearer = np.minimum(cost(away), cost(-away))
    if nearer.min() < cost(np.zeros(1))[0]:
        return None
    far = np.flatnonzero(nearer - cost(np.zeros(1))[0] > 1.001 * most)
    return float(away[far[-1]]) if far.size else width
