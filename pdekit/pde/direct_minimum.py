"""min_y f(y) + t L((x - y) / t) of a function on a line by looking between its samples."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pdekit.grid import Grid
from pdekit.pde.problem import Problem

Array = NDArray[np.float64]
Cost = Callable[[Array], Array]

_TRIES = 1 << 23  # most pairs of a node and a sample that are compared: half a second
_WELLS = 4  # lowest samples of every node about which the minimum is looked for
_ROUNDS = 8  # of a search, each an eighth as wide as the last
_GOLDEN = (np.sqrt(5.0) - 1) / 2
# irregular, or a wave that no sample sees might pass between these too
_STEPS = np.concatenate(
    [[-1.0, 0.0, 1.0], (np.arange(-8, 8) + 0.1 + 0.8 * np.modf(_GOLDEN * np.arange(1, 17))[0]) / 8]
)


def direct_minima(problem: Problem, values: Array, fine: Grid, cost: Cost) -> Array | None:
    """The least f(y) + cost(x - y) found from every node x of the problem's grid.

    Of all samples ``values`` on ``fine`` that may win, the four lowest dips, then y about these off
    the samples to 1e-7 of their distance. f is evaluated at every such y, so that no value is below
    the true one. None where that takes too many, or where the cost is not least at no distance.
    """
    grid, h, n = problem.grid, fine.spacing[0], fine.cells[0]
    x, factor = grid.axes[0], n // grid.cells[0]
    reach = _reach(cost, float(np.ptp(values)), grid.upper[0] - grid.lower[0])
    if reach is None:
        return None
    half = min(int(reach / h) + 2, n // 2 + 1 if grid.periodic[0] else n - 1)
    if x.size * (2 * half + 1) > _TRIES:
        return None
    at = factor // 2 + factor * np.arange(x.size)[:, None] + np.arange(-half, half + 1)
    if not grid.periodic[0]:
        at = np.clip(at, 0, n - 1)
    places = grid.lower[0] + (at + 0.5) * h
    total = values[at % n] + cost(x[:, None] - places)
    wall = np.full((x.size, 1), np.inf)
    beside = np.minimum(np.hstack([wall, total[:, :-1]]), np.hstack([total[:, 1:], wall]))
    dips = np.where(total <= beside, total, np.inf)
    lowest = np.argsort(dips, axis=1)[:, :_WELLS]
    found: Array = np.minimum(total.min(1), values[factor // 2 :: factor] + cost(np.zeros(1)))
    centre, width = np.take_along_axis(places, lowest, 1), float(h)
    for _ in range(_ROUNDS):
        y = centre[..., None] + width * _STEPS
        if not grid.periodic[0]:
            y = np.clip(y, grid.lower[0], grid.upper[0])
        level = _at(problem, y) + cost(x[:, None, None] - y)
        found = np.minimum(found, level.min((1, 2)))
        centre = np.take_along_axis(y, level.argmin(2)[..., None], 2)[..., 0]
        width /= 7  # the irregular steps are up to a seventh apart
    return found


def _at(problem: Problem, y: Array) -> Array:
    """f at places of a line or, on a circle, at their images in the box."""
    grid = problem.grid
    if grid.periodic[0]:
        y = grid.lower[0] + np.mod(y - grid.lower[0], grid.upper[0] - grid.lower[0])
    return np.asarray(problem.initial(y.reshape(-1, 1)), dtype=float).reshape(y.shape)


def _reach(cost: Cost, most: float, width: float) -> float | None:
    """A distance beyond which the cost exceeds ``most``, within a factor of two, or the width."""
    away = width * 0.5 ** np.arange(200.0)
    nearer = np.minimum(cost(away), cost(-away))
    if nearer.min() < cost(np.zeros(1))[0]:
        return None
    far = np.flatnonzero(nearer - cost(np.zeros(1))[0] > 1.001 * most)
    return float(away[far[-1]]) if far.size else width
