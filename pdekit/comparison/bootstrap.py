"""Null distributions of distances: draws under the null hypothesis on boxes of cells."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import rankdata

from pdekit.arrays import Array, IntArray
from pdekit.comparison import distances
from pdekit.grid import Grid

BOXES = {1: 1024, 2: 32}
"""Most boxes per axis, by dimension: cells are merged so that a draw costs the same on any grid."""


@dataclass(frozen=True)
class Boxes:
    """Cells merged into boxes: ``mass`` of shape ``(m,)``, the box's ``edges`` along each axis.

    ``n`` is the number of particles of each draw.
    """

    mass: Array
    edges: tuple[Array, ...]
    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(edge) - 1 for edge in self.edges)

    @cached_property
    def centres(self) -> Array:
        """Shape ``(m, dim)``."""
        middles = [(edge[1:] + edge[:-1]) / 2 for edge in self.edges]
        return np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, len(middles))

    @cached_property
    def labels(self) -> IntArray:
        """The bin of near-equal mass that each box belongs to, shape ``(m,)``."""
        smallest = distances.smallest_bin(self.n)
        return distances.equal_mass_bins(self.mass.reshape(self.shape), smallest).ravel()

    def pooled(self, shares: Array) -> Array:
        """Sums of ``shares`` ``(..., m)`` over the bins, shape ``(..., bins)``."""
        order = np.argsort(self.labels, kind="stable")
        starts = np.searchsorted(self.labels[order], np.arange(self.labels.max() + 1))
        return np.asarray(np.add.reduceat(shares[..., order], starts, axis=-1))

    def marginal(self, shares: Array, axis: int) -> Array:
        """Marginals of ``shares`` ``(draws, m)`` along one axis, ``(draws, boxes)``."""
        field = shares.reshape(-1, *self.shape)
        other = tuple(k + 1 for k in range(len(self.shape)) if k != axis)
        return np.asarray(field.sum(axis=other))


def boxes(mass: Array, grid: Grid, n: int) -> Boxes:
    """Merge the cells of ``grid`` into at most ``BOXES`` per axis."""
    factors = [-(-cells // BOXES[grid.dim]) for cells in grid.shape]
    edges = tuple(
        np.append(faces[:-1][::k], faces[-1]) for faces, k in zip(grid.faces, factors, strict=True)
    )
    return Boxes(merged(mass, grid), edges, n)


def merged(values: Array | IntArray, grid: Grid) -> Array:
    """Sums over the boxes of a field of ``grid.shape``, flat."""
    out = np.asarray(values, dtype=float)
    for axis, cells in enumerate(grid.shape):
        starts = np.arange(0, cells, -(-cells // BOXES[grid.dim]))
        out = np.add.reduceat(out, starts, axis=axis)
    return out.ravel()


def independent_draws(boxes: Boxes, draws: int, rng: np.random.Generator) -> Array:
    """Shares ``(draws, m)`` of ensembles of ``n`` particles drawn from the density itself."""
    return np.asarray(rng.multinomial(boxes.n, boxes.mass / boxes.mass.sum(), draws) / boxes.n)


def run_draws(boxes: Boxes, shares: Array, draws: int, rng: np.random.Generator) -> Array:
    """Shares ``(draws, m)`` that fluctuate about the density as the mean of the runs does.

    ``mass + R^-1 sum_r g_r (shares_r - mean) sqrt(R/(R-1))``, ``g`` standard normal (the multiplier
    bootstrap): the covariance is the one estimated from the ``R`` independent runs ``(R, m)``,
    whatever couples the particles inside a run.
    """
    runs = len(shares)
    spread = (shares - shares.mean(axis=0)) / np.sqrt(runs * (runs - 1.0))
    return np.asarray(boxes.mass + rng.standard_normal((draws, runs)) @ spread)


def p_values(observed: Array, null: Array) -> tuple[Array, float]:
    """A p-value per metric, and one for all of them by the smallest (min-p).

    ``observed``: ``(metrics,)``; ``null``: ``(draws, metrics)``. Each is the rank of the observed
    value among the draws, ``(1 + #{null >= observed}) / (draws + 1)``; the smallest is ranked among
    the smallest of the draws (Westfall and Young 1993), which accounts for their dependence.
    Exact where the draws are exchangeable with the data; never below ``1 / (draws + 1)``.
    """
    values = np.vstack([observed, null])
    # values equal up to rounding are ties
    values = np.round(values / np.maximum(np.abs(values).max(axis=0), 1e-300), 12)
    ranks = rankdata(-values, method="max", axis=0) / len(values)
    smallest = ranks.min(axis=1)
    return ranks[0], float(np.mean(smallest <= smallest[0]))
