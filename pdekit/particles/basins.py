"""Basins of attraction of a potential on a grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.particles.observables import cells_of


@dataclass(frozen=True, eq=False)
class Basins:
    """The minimum in which steepest descent from cell to cell ends.

    From a cell it goes on to the neighbour, diagonals included, that lies lowest per distance, as
    long as one is lower; adjacent cells of equal value are merged. ``labels`` has ``grid.shape``
    and numbers the minima along the axes; ``minima`` ``(count, dim)`` are their cells' centres.
    Points beyond a wall belong to the wall's cell. A rough potential has a basin for each ripple.

    On a line basins are right up to a cell. In the plane descent has eight directions, and where
    the slope keeps between two of them its path strays; finer cells do not help. On
    ``MullerBrown`` the deepest basin has 0.444 of [-1.5, 1.2] x [-0.25, 2], whatever the cells, and
    that of the flow x' = -∇V 0.470 (`studies/muller_brown.py`).
    """

    grid: Grid
    labels: NDArray[np.int64] = field(repr=False)
    minima: Array

    @classmethod
    def of(cls, potential: Any, grid: Grid) -> Basins:
        """Basins of V, a potential or values of ``grid.shape``. Raises ``ValueError`` for NaN."""
        if not isinstance(grid, Grid):
            raise TypeError(f"Basins.of(V, grid): expected a Grid, got {grid!r}")
        V = potential(grid.centres) if callable(potential) else potential
        V = np.asarray(V, dtype=float)
        if V.shape != grid.shape or np.isnan(V).any():
            raise ValueError(f"expected numbers of shape {grid.shape}, got {V!r}")
        ends, labels = np.unique(_ends(V.ravel(), grid), return_inverse=True)
        minima = grid.centres.reshape(-1, grid.dim)[ends]
        return cls(grid, labels.reshape(grid.shape), minima)

    @property
    def count(self) -> int:
        """Their number."""
        return len(self.minima)

    def __call__(self, x: Tensor) -> Tensor:
        """The basin of each point ``(..., dim)``."""
        cell, _ = cells_of(x.double(), self.grid)
        return torch.as_tensor(self.labels.ravel(), device=x.device)[cell]


def _ends(V: Array, grid: Grid) -> NDArray[np.int64]:
    """The cell, one of its plateau, in which descent from each cell ends; flat."""
    cells = np.arange(V.size)
    offsets = [o for o in product((-1, 0, 1), repeat=grid.dim) if any(o)]
    neighbours = np.stack([_shifted(cells.reshape(grid.shape), o, grid).ravel() for o in offsets])
    far = np.array([np.linalg.norm(np.array(o) * grid.spacing) for o in offsets])
    plateau = _plateaus(V, neighbours)
    drop = (V - V[neighbours]) / far[:, None]
    best = drop.argmax(axis=0)
    fall, down = drop[best, cells], neighbours[best, cells]
    # descent leaves a plateau at its steepest edge; a minimum points to its own first cell
    order = np.lexsort((cells, -fall, plateau))
    exits = order[np.unique(plateau[order], return_index=True)[1]]
    first = np.unique(plateau, return_index=True)[1]
    after = np.where(fall[exits] > 0, plateau[down[exits]], np.arange(len(exits)))
    # each cell by itself if a neighbour is lower, otherwise with its plateau
    target = np.where(fall > 0, down, first[after[plateau]])
    while not np.array_equal(target[target], target):
        target = target[target]
    return target


def _shifted(cells: NDArray[np.int64], offset: tuple[int, ...], grid: Grid) -> NDArray[np.int64]:
    """The neighbour at ``offset`` of each cell; the cell itself beyond a wall."""
    index = np.indices(grid.shape)
    inside = np.ones(grid.shape, dtype=bool)
    for k, step in enumerate(offset):
        index[k] += step
        if grid.periodic[k]:
            index[k] %= grid.shape[k]
        inside &= (index[k] >= 0) & (index[k] < grid.shape[k])
    there = np.ravel_multi_index(
        [i % n for i, n in zip(index, grid.shape, strict=True)], grid.shape
    )
    return np.where(inside, there, cells)


def _plateaus(V: Array, neighbours: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the connected set of cells of equal value that each cell belongs to."""
    cells = np.broadcast_to(np.arange(V.size), neighbours.shape)
    equal = V[neighbours] == V
    links = coo_array((np.ones(equal.sum()), (cells[equal], neighbours[equal])), (V.size, V.size))
    labels: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return labels
