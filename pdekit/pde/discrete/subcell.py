"""Callables between the nodes of a grid: whether the nodes resolve them, their
minimum, and evaluation on finer nodes until convergence."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate
from pdekit.pde.discrete.stats import Stats

_LOOKED_AT = 2048  # points between the nodes at which a function is compared with them
# steps of a lattice in the unit interval and square: powers of the golden and plastic ratios
_LATTICE = {1: (0.6180339887498949,), 2: (0.7548776662466927, 0.5698402909980532)}
# tolerated error of cubic interpolation, of the second difference; 5.5 nodes per wave
_BENDS = 0.03
_ROUNDING = 1e-14  # of values: a constant in f blurs it by so much, and no more
_WELLS = 8  # lowest samples around which a function's minimum is searched
_AGREE = 1e-5  # of the range of f: required agreement of two grids, one three times finer
MOST_NODES = 1 << 21
_SECOND_ORDER, _FALLS = 1 / 8, 0.4  # of changes when nodes are three times as many
LITTLE = 1e-4  # of the range of f: uncertainty between the nodes that is ignored


def resolves(problem: Problem, bends: float = _BENDS) -> bool:
    """Whether cubic interpolation of the samples reproduces a callable; True for an array.

    ``bends``: the share of a second difference that they may miss.

    At 2,048 points of the box, on a lattice that is regular in no direction: waves of any length
    are detected, and holes as wide as the points are apart.
    """
    if not callable(problem.initial):
        return True
    off, bent, noise = _between(problem)
    return bool((off <= bends * bent + noise).all())


def off_by(problem: Problem) -> float:
    """The most that a callable differs there from that interpolation, of its range."""
    off = float(_between(problem)[0].max())
    return off / max(float(np.ptp(problem.values)), off, 1e-300)


def _between(problem: Problem) -> tuple[Array, Array, Array]:
    """Between the nodes: |f - interpolation|, second differences around, and rounding."""
    f, grid = problem.initial, problem.grid
    values = problem.values  # first, for its messages about f
    count = np.arange(1, _LOOKED_AT + 1)
    around = [
        _around(n, periodic, np.modf(count * step)[0])
        for n, periodic, step in zip(grid.cells, grid.periodic, _LATTICE[grid.dim], strict=True)
    ]
    points = np.stack([a.place for a in around], -1) + 0.5
    points = grid.lower + np.mod(points, grid.cells) * grid.spacing
    between = np.asarray(f(points), dtype=float)
    if grid.dim == 1:
        near = values[around[0].nodes]
        cubic = (near * around[0].weights).sum(1)
        bent = around[0].one_sided * _bent(near)
    else:
        near = values[around[0].nodes[:, :, None], around[1].nodes[:, None, :]]
        cubic = np.einsum("pij,pi,pj->p", near, around[0].weights, around[1].weights)
        bent = around[0].one_sided * _bent(near.swapaxes(1, 2)).max(1)
        bent = bent + around[1].one_sided * _bent(near).max(1)
        near = near.reshape(len(near), -1)
    noise: Array = _ROUNDING * np.abs(near).max(1) + 1e-9 * float(np.ptp(near))
    return np.abs(between - cubic), bent, noise


class _Around(NamedTuple):
    """Nodes of one axis around places between them."""

    place: Array  # in cells from the first centre
    nodes: NDArray[np.int64]  # six, or all where there are fewer, (place, node)
    weights: Array  # of the cubic through the four next to the place, as ``nodes``
    one_sided: Array  # how much larger errors are next to a wall, where these lie on one side


def _around(n: int, periodic: bool, share: Array) -> _Around:
    place = share * n - (0.0 if periodic else 0.5)
    cell = np.floor(place).astype(int)
    first = cell - 1 if periodic else np.clip(cell - 1, 0, n - 4)
    start = cell - 2 if periodic else np.clip(cell - 2, 0, max(n - 6, 0))
    nodes = start[:, None] + np.arange(6 if periodic else min(n, 6))  # a circle is met again
    s = place - first
    cubic = np.stack(
        (-(s - 1) * (s - 2) * (s - 3) / 6, s * (s - 2) * (s - 3) / 2,
         -s * (s - 1) * (s - 3) / 2, s * (s - 1) * (s - 2) / 6), -1,
    )  # fmt: skip
    weights = np.zeros(nodes.shape)
    np.put_along_axis(weights, (first - start)[:, None] + np.arange(4), cubic, 1)
    beyond = (place < 0) | (place > n - 1)
    larger = np.where(first == cell - 1, 1.0, np.where(beyond & (not periodic), 12.0, 2.0))
    return _Around(place, nodes % n, weights, larger)


def _bent(near: Array) -> Array:
    """The largest second difference along the last axis."""
    out: Array = np.abs(np.diff(near, 2)).max(-1)
    return out


def resolves_walls(problem: Problem) -> bool:
    """Whether parabolas through the last samples of a line reproduce a callable up to the walls."""
    f, grid, h = problem.initial, problem.grid, problem.grid.spacing[0]
    if not callable(f) or grid.dim == 2 or grid.periodic[0] or grid.cells[0] < 5:
        return True
    s = np.array([-0.47, -0.31, -0.12, 0.23, 0.41, 0.62, 0.87])
    for u, wall, inwards in (
        (problem.values, grid.lower[0], h),
        (problem.values[::-1], grid.upper[0], -h),
    ):
        parabola = u[0] + s * (u[1] - u[0]) + s * (s - 1) / 2 * (u[2] - 2 * u[1] + u[0])
        found = np.asarray(f((wall + (s + 0.5) * inwards)[:, None]), dtype=float)
        slack = 0.6 * float(np.abs(np.diff(u[:5], 3)).sum())
        slack += _BENDS * float(np.abs(np.diff(u[:4], 2)).max())
        noise = _ROUNDING * float(np.abs(u).max()) + 1e-9 * float(np.ptp(u))
        if (np.abs(found - parabola) > slack + noise).any():
            return False
    return True


def softly(f: Callable[[Any], Any], grid: Grid, beta: float, what: str) -> Array:
    """-(2 / beta) log of the means of exp(-beta f / 2) over the cells: the effective values for a
    chain on them.

    By nine samples a cell on a line and three times three in the plane.
    """
    parts = 9 if grid.dim == 1 else 3
    values = evaluate(f, grid.refined(parts), what)
    for axis, n in enumerate(grid.cells):
        lines = np.moveaxis(values, axis, -1)
        cells = lines.reshape(*lines.shape[:-1], n, parts)
        low = cells.min(-1)
        soft = low - 2 / beta * np.log1p(np.expm1(-beta / 2 * (cells - low[..., None])).mean(-1))
        values = np.moveaxis(soft, -1, axis)
    return np.ascontiguousarray(values)


def least(f: Callable[[Any], Any], grid: Grid, u: Array) -> float:
    """The least value of a callable near its lowest samples u, at points it was evaluated at.

    Never below its infimum, and above the least of those wells by rounding.
    """
    fall, low = np.zeros(grid.shape), np.ones(grid.shape, bool)
    for axis in range(grid.dim):
        ahead, back = _beside(u, axis, grid.periodic[axis])
        low &= (u <= ahead) & (u <= back)
        bend, rise = ahead - 2 * u + back, np.abs(ahead - back) / 2
        fall += rise * np.minimum(rise / np.where(bend > 0, 2 * bend, np.inf), 1.0)
    wells = np.flatnonzero(low)
    wells = wells[np.argsort((u - fall).ravel()[wells])[:_WELLS]]
    centre, reach = grid.centres.reshape(-1, grid.dim)[wells], np.array(grid.spacing)
    found = float(u.min())
    steps = np.linspace(-1, 1, 33 if grid.dim == 1 else 13)
    offsets = np.stack(np.meshgrid(*[steps] * grid.dim, indexing="ij"), -1).reshape(-1, grid.dim)
    slack = 1e-13 * float(np.abs(u).max())
    for _ in range(9):
        points = centre[:, None] + offsets * reach
        points = np.clip(points, grid.lower, grid.upper)
        values = np.asarray(f(points), dtype=float)
        found = min(found, float(values.min()))
        if float(np.ptp(values, axis=1).min()) <= slack:
            break
        best = values.argmin(1)
        centre, reach = points[np.arange(len(points)), best], reach * (steps[1] - steps[0])
    return found


def _beside(u: Array, axis: int, periodic: bool) -> tuple[Array, Array]:
    """The next and the previous sample along an axis; beyond a wall the sample itself."""
    ahead, back = np.roll(u, -1, axis), np.roll(u, 1, axis)
    if not periodic:
        own = np.moveaxis(u, axis, 0)
        np.moveaxis(ahead, axis, 0)[-1], np.moveaxis(back, axis, 0)[0] = own[-1], own[0]
    return ahead, back


def on_finer_nodes(
    problem: Problem,
    coarse: Array,
    method: Callable[[Array, Grid], Array | None],
    stats: Stats,
    most: int = MOST_NODES,
    missed: Callable[[Array], float] | None = None,
) -> Array:
    """``method(values, grid)`` from a callable on 3, 9, 27, ... nodes a cell, until two agree.

    At the nodes of the problem's grid, if a method returns only those; it may return None
    to give up. ``missed(u)`` is an independent error estimate, required to be at most 1e-4 of the
    range of f; with it, 1e-4 left after the last two, as they fall, is enough where ``most`` nodes
    are reached, or that these resolve f, and nothing is compared where the grid has as many. A
    warning says how much may be left, or what is missed.
    """
    grid, factor, u = problem.grid, 1, coarse
    scale, apart, wrong, likely = float(np.ptp(problem.values)), np.inf, np.inf, np.inf
    while np.prod(np.array(grid.cells, float) * 3 * factor) <= most:
        factor *= 3
        fine = grid.refined(factor)
        values = problem.sample(fine)
        scale = max(scale, float(np.ptp(values)))
        every = tuple(slice(factor // 2, None, factor) for _ in grid.cells)
        found = method(values, fine)
        if found is None:
            break
        before, u = u, found if found.shape == grid.shape else np.ascontiguousarray(found[every])
        more, apart = apart, float(np.abs(u - before).max())
        likely = apart * _left(apart, more)
        if apart <= _AGREE * scale:
            wrong = missed(u) if missed else 0.0
        if wrong <= LITTLE * scale:
            break
    if missed and wrong == np.inf:
        # coarser nodes, which do not resolve f, may be as far off as they like
        finest = replace(problem, grid=grid.refined(factor))
        if factor == 1 or likely <= LITTLE * scale or resolves(finest):
            wrong = missed(u)
    if not wrong <= LITTLE * scale:
        more = likely if wrong == np.inf else wrong
        warn_unresolved(more / scale, stacklevel=8)
    stats["nodes_per_cell"] = factor
    return u


def _left(apart: float, before: float) -> float:
    """The share of the last change that may be left, as the one before it had another size.

    A geometric series, no faster than of second order; all of it where they do not fall clearly.
    """
    if not np.isfinite(before) or apart >= _FALLS * before:
        return 1.0
    return max(apart / (before - apart), _SECOND_ORDER)


def warn_unresolved(share: float, stacklevel: int) -> None:
    """Warn that the cells are too coarse for the data, by which the answer may be off.

    ``share``: by how much, of the range of the data; infinite where it is not known.
    """
    much = f"by about {share:.2g} of the range of its values" if share < 1 else "by any amount"
    warnings.warn(
        "the initial function changes within a cell in a way that its values at the centres do not "
        f"show, and the answer may be wrong {much}: use a finer grid",
        ResolutionWarning,
        stacklevel=stacklevel,
    )
