"""Burgers' equation as the derivative of a Hamilton-Jacobi equation, and when its shocks are born.

With u_x = p on the faces of the cells, p_t + H(p)_x = 0 is u_t + H(u_x) = 0, and the averages of p
over the cells are the differences of u: whatever solves u keeps sum(p) to rounding.
"""

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.grid import Grid, require_grid
from pdekit.pde.equations import HamiltonJacobi
from pdekit.pde.hamiltonians import HALF_SQUARE, Shifted
from pdekit.pde.problem import Problem, evaluate

Array = NDArray[np.float64]


def as_slopes(problem: Problem, scheme: Any, stats: dict[str, Any]) -> Callable[[float], Array]:
    """Advance Burgers' equation by ``scheme`` for its integral on the faces of the grid.

    On a circle u = m x + a periodic part, m the mean of p, so that part obeys H(m + .). A box of
    n cells has n + 1 faces; the wall of their grid, beyond which p = 0, is half a cell out.
    """
    grid, p = problem.grid, problem.values
    if grid.dim != 1:
        raise ValueError(f"Burgers is solved on a line; the grid has {grid.dim} dimensions")
    h, hamiltonian = float(grid.spacing[0]), problem.equation.hamiltonian or HALF_SQUARE
    mean = float(p.mean()) if grid.periodic[0] else 0.0
    if mean != 0:
        hamiltonian = Shifted(hamiltonian, mean)
    integral = np.concatenate([[0.0], np.cumsum(h * (p - mean))])
    (low,), (high,) = grid.lower, grid.upper
    if grid.periodic[0]:
        faces = Grid(low - h / 2, high - h / 2, grid.cells[0], True)
        integral = integral[:-1]
    else:
        faces = Grid(low - h / 2, high + h / 2, grid.cells[0] + 1)
    # the slopes of the exact solution stay between the least and the greatest at the start
    highest, lowest = h * _tops(p - mean), -h * _tops(mean - p)
    advance = scheme.start(Problem(HamiltonJacobi(hamiltonian), faces, integral), stats)

    def slope(t: float) -> Array:
        u = advance(t)
        rise = np.roll(u, -1) - u if grid.periodic[0] else np.diff(u)
        if grid.periodic[0] and (rise.max() > highest or rise.min() < lowest):
            u = _held(u, lowest, highest)
            rise = np.roll(u, -1) - u
        return np.asarray(mean + rise / h)

    return slope


def _tops(p: Array) -> float:
    """The greatest value of the parabolas through three neighbouring averages round a circle."""
    back, ahead = np.roll(p, 1), np.roll(p, -1)
    bend = 2 * p - back - ahead
    is_top = (p >= back) & (p >= ahead) & (bend > 0)
    over = (ahead - back) ** 2 / (8 * np.where(is_top, bend, 1.0))
    return float((p + np.where(is_top, over, 0.0)).max())


def _held(u: Array, lowest: float, highest: float) -> Array:
    """The largest periodic field below u with differences between two numbers, one below zero."""
    n = u.size
    v: Any = np.tile(u, 3)
    k = np.arange(v.size)
    v = highest * k + np.minimum.accumulate(v - highest * k)
    v = lowest * k + np.minimum.accumulate((v - lowest * k)[::-1])[::-1]
    return np.asarray(v[n : 2 * n])


def shock_time(f: Callable[[Array], Any], grid: Grid) -> float:
    """The time t* = -1 / inf λ_min(∇²f) at which the slopes ∇u of ``HamiltonJacobi()`` first jump.

    ``f`` is the initial potential (for ``Burgers()``, p_0 = f'), a callable on points ``(..., d)``.
    Its curvatures are central differences at the cell centres, polished around the least one: six
    digits for an f smooth on the scale of a cell. Infinity where f is convex. MODEL 1.3.
    """
    require_grid("grid", grid)
    checks.fixed("the initial function", f)
    evaluate(f, grid, "the initial function")
    x: Any = grid.centres.reshape(-1, grid.dim)
    width: Any = grid.spacing
    least = inf
    for _ in range(12):
        values = _least_curvature(f, x, grid.spacing / 20)
        k = int(values.argmin())
        least, centre = min(least, float(values[k])), x[k]
        near = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * grid.dim, indexing="ij"), axis=-1)
        x = np.clip(centre + near.reshape(-1, grid.dim) * width, grid.lower, grid.upper)
        width = width / 4
    return -1 / least if least < 0 else inf


def _least_curvature(f: Callable[[Array], Any], x: Array, step: Array) -> Array:
    """The least eigenvalue of the Hessian at points (n, d), by fourth-order differences."""
    d = x.shape[-1]
    hessian = np.empty((len(x), d, d))
    for i in range(d):
        for j in range(i + 1):
            e, g = step * (np.arange(d) == i), step * (np.arange(d) == j)
            hessian[:, i, j] = hessian[:, j, i] = _mixed(f, x, e, g) / (step[i] * step[j])
    return np.asarray(np.linalg.eigvalsh(hessian)[:, 0], dtype=float)


def _mixed(f: Callable[[Array], Any], x: Array, e: Array, g: Array) -> Array:
    """The second difference along two steps: (4 D(h) - D(2h)) / 3, each centred."""

    def difference(s: float) -> Array:
        ahead = np.asarray(f(x + s * (e + g))) + np.asarray(f(x - s * (e + g)))
        aside = np.asarray(f(x + s * (e - g))) + np.asarray(f(x - s * (e - g)))
        return (ahead - aside) / (4 * s * s)

    return (4 * difference(1.0) - difference(2.0)) / 3
