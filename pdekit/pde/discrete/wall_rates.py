"""Rates from the cells to walls that absorb, wholly or in part, or hold a value, and back."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.edge_rates import fitted_rates
from pdekit.walls import End

Walls = tuple[tuple[End, End], ...]  # what the two ends of every axis do


class Box(NamedTuple):
    """A grid, its walls, and the diffusion tensor where that couples the axes, else None."""

    grid: Grid
    walls: Walls
    tensor: Array | None


class Way(NamedTuple):
    """One way out of the box along an edge, cell by cell.

    ``share`` of the edge up to the wall, infinite in cells from which it does not leave through a
    wall that takes something; ``rate`` of that wall's exchange per cell and this edge (see
    ``_exchange``), infinite where it absorbs; ``value`` held there; ``weight`` and ``drift`` of the
    edge.
    """

    share: Array
    rate: Array
    value: Array
    weight: Array
    drift: Array


def takes(ends: tuple[End, End]) -> bool:
    """Whether one of the two ends of an axis takes what reaches it."""
    return any(end.rate > 0 for end in ends)


def potential_ways(
    values: Array, beta: float, grid: Grid, walls: Walls
) -> Iterator[tuple[int, list[int], Way]]:
    """Of a potential alone, the ways out of the cells beside walls that take something; by axis,
    those of its sides side by side.
    """
    for axis, pair in enumerate(walls):
        sides = [side for side, end in enumerate(pair) if end.rate > 0]
        if sides:
            h, lines = float(grid.spacing[axis]), values.swapaxes(0, axis)
            last, before = lines[[-side for side in sides]], lines[[1 - 3 * side for side in sides]]
            each = np.ones(last.shape)
            rate, value = (
                each * np.array(of).reshape(-1, *[1] * (last.ndim - 1))
                for of in zip(*((pair[s].rate / h, pair[s].value) for s in sides), strict=True)
            )
            drift = beta * (last - before) / h**2
            yield axis, sides, Way(each / 2, rate, value, each / h**2, drift)


def ways(box: Box, offset: tuple[int, ...], weight: Array, drift: Array) -> tuple[Way, ...]:
    """The two ways out of the box along an edge, from fields over the cells."""
    if not any(map(takes, box.walls)):
        return ()
    back = tuple(-k for k in offset)
    return _way(box, back, weight, -drift), _way(box, offset, weight, drift)


def _way(box: Box, step: tuple[int, ...], weight: Array, drift: Array) -> Way:
    """The way along a step to the first wall, if that one takes something."""
    grid, walls, _ = box
    share, wall = first_wall(grid, step)
    rate, value = np.zeros((2, *grid.shape))
    for axis, k in enumerate(step):
        met = wall == 2 * axis + int(k > 0)
        rate = np.where(met, _exchange(box, axis, step, weight) if met.any() else 0.0, rate)
        value = np.where(met, walls[axis][int(k > 0)].value, value)
    return Way(np.where((rate > 0) & (share < 1), share, np.inf), rate, value, weight, drift)


def first_wall(grid: Grid, step: tuple[int, ...]) -> tuple[Array, NDArray[np.int64]]:
    """Per cell the wall met first along a step, and at which share of it; -1 and infinite where
    none is met. The lower wall of axis k is 2 k, the upper one 2 k + 1.
    """
    first, wall = np.full(grid.shape, np.inf), np.full(grid.shape, -1)
    for axis, k in enumerate(step):
        if k == 0 or grid.periodic[axis]:
            continue
        n = grid.cells[axis]
        cells = np.arange(n) + 0.5
        share = (n - cells if k > 0 else cells) / abs(k)
        field = np.broadcast_to(
            share.reshape([-1 if j == axis else 1 for j in range(grid.dim)]), grid.shape
        )
        closer = field < first
        first = np.where(closer, field, first)
        wall = np.where(closer, 2 * axis + int(k > 0), wall)
    return first, wall


def _exchange(box: Box, axis: int, step: tuple[int, ...], weight: Array) -> Array | float:
    """The share of an edge in the exchange of a cell with a wall that absorbs in part, rate / h.

    All edges that cross a face of the wall bring rate rho together: each takes the part of its
    weight in the diffusion across, w k² h² of D, divided among the k layers of cells from which it
    reaches the wall.
    """
    k, h = step[axis], float(box.grid.spacing[axis])
    rate = float(box.walls[axis][int(k > 0)].rate)
    if box.tensor is None or not 0 < rate < np.inf:
        return rate / h
    across = box.tensor[..., axis, axis] / h**2
    return (
        rate / h * np.divide(weight * abs(k), across, out=np.zeros_like(across), where=across > 0)
    )


def exits_of(ends: tuple[Way, ...], beta: float) -> tuple[Array, Array] | None:
    """Rates into the walls: the flux to the density at the share s of the edge.

    That is zero where the wall absorbs. Where it takes ``rate`` times the density r, the flux
    out i - in r to it is rate r as well: rate out / (rate + in).
    """
    if not ends:
        return None
    out = [exit_rate(way, beta) for way in ends]
    return out[0], out[1]


def flows(way: Way, beta: float) -> tuple[NDArray[np.bool_], Array, Array]:
    """Where an edge leaves, and its rates to the wall and back."""
    leaves = np.isfinite(way.share)
    s = np.where(leaves, way.share, 1.0)
    out, back = (side / (s * beta) for side in fitted_rates(way.weight, s * way.drift))
    return leaves, out, back


def exit_rate(way: Way, beta: float) -> Array:
    """The rate out of the cells by one way."""
    leaves, out, back = flows(way, beta)
    finite = np.where(np.isinf(way.rate), 1.0, way.rate)
    part = np.where(np.isinf(way.rate), 1.0, finite / np.maximum(finite + back, 1e-300))
    return np.where(leaves, out * part, 0.0)
