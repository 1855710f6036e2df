"""Distances and statistics for `compare`, as values: each with floor and p-value.

A metric has a ``name``, a ``value`` for the particles as they are, and a ``statistic`` on boxes of
cells, of which the p-value is the rank among draws of the null hypothesis.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy import special

from pdekit import checks
from pdekit.arrays import Array, IntArray
from pdekit.comparison import distances, transport
from pdekit.comparison.bootstrap import Boxes, boxes, merged
from pdekit.grid import Grid


@dataclass(frozen=True)
class Sample:
    """The data of one time: particles ``points (n, dim)``, their ``counts``, the ``mass``.

    ``points`` may be unknown (None): a metric that needs them sets ``needs_positions``.
    """

    points: Any
    counts: IntArray
    mass: Array
    grid: Grid

    @cached_property
    def shares(self) -> Array:
        """Fractions of the particles in the boxes, shape ``(1, m)``."""
        shares: Array = merged(self.counts, self.grid)[None] / self.counts.sum()
        return shares

    @cached_property
    def binned(self) -> tuple[Array, Array]:
        """Particles and mass in bins of near-equal mass."""
        labels = distances.equal_mass_bins(
            self.mass, distances.smallest_bin(int(self.counts.sum()))
        )
        return distances.pooled(self.counts, labels), distances.pooled(self.mass, labels)

    @cached_property
    def boxes(self) -> Boxes:
        return boxes(self.mass, self.grid, int(self.counts.sum()))


class Metric(Protocol):
    """What ``compare(..., metrics=(...))`` takes; ``stated(seen)`` is what else it adds to data."""

    name: ClassVar[str]

    def value(self, seen: Sample) -> float:
        """The distance of the particles as they are."""
        ...

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        """Its expectation for particles of the density itself; None: the mean of the draws."""
        ...

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        """The distance on boxes: ``(draws, m) -> (draws,)``."""
        ...


@dataclass(frozen=True)
class L1:
    """``sum |p_n - p|`` over bins of near-equal mass: twice the total variation."""

    name: ClassVar[str] = "l1"

    def value(self, seen: Sample) -> float:
        return distances.l1(*seen.binned)[0]

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        return distances.l1(*seen.binned)[1]

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        apart: Array = np.abs(boxes.pooled(shares - boxes.mass)).sum(axis=1)
        return apart


@dataclass(frozen=True)
class KL:
    """``KL(p_n || p)`` in nats over bins of near-equal mass."""

    name: ClassVar[str] = "kl"

    def value(self, seen: Sample) -> float:
        return distances.kl(*seen.binned)[0]

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        return distances.kl(*seen.binned)[1]

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        # draws of runs may leave the simplex slightly
        share = np.maximum(boxes.pooled(shares), 0.0)
        return np.asarray(special.rel_entr(share, boxes.pooled(boxes.mass)).sum(axis=1))


@dataclass(frozen=True)
class ChiSquare:
    """Pearson's ``n sum (p_n - p)^2 / p`` over bins with at least 25 particles expected."""

    name: ClassVar[str] = "chi2"

    def value(self, seen: Sample) -> float:
        return distances.chi_square(*seen.binned)[0]

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        return float(len(seen.binned[1]) - 1)

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        expected = boxes.pooled(boxes.mass)
        value: Array = boxes.n * (boxes.pooled(shares - boxes.mass) ** 2 / expected).sum(axis=1)
        return value


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """``max |F_n - F|``, in the plane the largest over both marginals."""

    name: ClassVar[str] = "ks"

    def value(self, seen: Sample) -> float:
        return distances.kolmogorov_smirnov(seen.counts, seen.mass)[0]

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        return None

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        deviation = shares - boxes.mass
        gaps = [
            np.abs(np.cumsum(boxes.marginal(deviation, k), axis=1)).max(axis=1)
            for k in range(len(boxes.shape))
        ]
        largest: Array = np.max(gaps, axis=0)
        return largest


@dataclass(frozen=True)
class W1:
    """Wasserstein-1 distance: exact on the line, sliced in the plane (see ``compare``)."""

    name: ClassVar[str] = "w1"

    def value(self, seen: Sample) -> float:
        return self._both(seen)[0]

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        return self._both(seen)[1]

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        deviation = shares - boxes.mass
        if len(boxes.shape) == 1:
            gap = np.abs(np.cumsum(deviation, axis=1))
            widths = np.diff(boxes.edges[0])
            return np.asarray(gap[:, :-1] @ (widths[1:] + widths[:-1]) / 2)
        slices = (_slice(deviation, boxes, angle) for angle in transport.ANGLES)
        mean: Array = np.mean([np.abs(below) @ gaps for below, gaps in slices], axis=0)
        return mean

    def _both(self, seen: Sample) -> tuple[float, float]:
        if seen.grid.dim == 1:
            return distances.w1_line(seen.points[:, 0], seen.grid.faces[0], seen.mass)
        return distances.w1_sliced(seen.counts, seen.mass, seen.grid)


@dataclass(frozen=True)
class SlicedW2:
    """Root mean square over fixed directions of the W2 of projections, on the grid's own cells.

    A lower bound of W2: a shift by ``s`` in the plane gives ``|s| / sqrt 2``. On the line W2
    itself. Needs no POT and costs the same for any number of particles: for densities finer than
    a 32nd of their extent, and where a lower bound suffices.
    """

    name: ClassVar[str] = "w2_sliced"
    needs_positions: ClassVar[bool] = True

    def value(self, seen: Sample) -> float:
        if seen.grid.dim == 1:
            return transport.w2_line(seen.points[:, 0], seen.grid.faces[0], seen.mass)
        return transport.w2_sliced(seen.counts, seen.mass, seen.grid)

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        return None

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        # draws of runs may leave the simplex slightly, where there are no quantiles
        shares = np.maximum(shares, 0.0)
        if len(boxes.shape) == 1:
            faces = boxes.edges[0]
            return np.array([transport.w2_histograms(s, boxes.mass, faces) for s in shares])
        return transport.w2_sliced_boxes(shares, boxes.mass, boxes.edges)


@dataclass(frozen=True)
class W2:
    """Wasserstein-2 distance ``(inf E|X - Y|^2)^(1/2)``.

    On the line exact through quantiles, ``int (F_n^-1 - F^-1)^2 du``. In the plane by POT: exact by
    the network simplex, particles against cell centres, while particles times cells are at most
    ``exact_up_to``; beyond, the debiased Sinkhorn divergence on at most 32 x 32 boxes over the
    cells that hold anything, regularised by ``epsilon = (2 h)^2``, ``h`` the widest box
    (``epsilon_w2`` in the data). It is ``|s|`` for a shift by ``s``; it hardly resolves scales
    finer than ``2 h``, unlike `SlicedW2` on the cells. In the plane p-values are ranks of the
    sliced distance on boxes. Raises ``ImportError`` in the plane without POT. Good values:
    ``exact_up_to`` 1e6 takes seconds.
    """

    exact_up_to: float = 2e5

    def __post_init__(self) -> None:
        checks.not_negative("W2: exact_up_to", self.exact_up_to)

    name: ClassVar[str] = "w2"
    needs_positions: ClassVar[bool] = True

    def value(self, seen: Sample) -> float:
        if seen.grid.dim == 1:
            return SlicedW2().value(seen)
        if self._small(seen):
            return transport.w2_exact(seen.points, seen.mass, seen.grid)
        shares, mass, centres = transport.occupied_boxes(seen.counts, seen.mass, seen.grid)
        epsilon = transport.regularisation(centres)
        return float(transport.w2_sinkhorn(shares[None], mass, centres, epsilon)[0])

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        if seen.grid.dim == 1:
            return None
        n = len(seen.points)
        if self._small(seen):
            draws = (transport.draw(n, seen.mass, seen.grid, rng) for _ in range(20))
            return float(np.mean([transport.w2_exact(x, seen.mass, seen.grid) for x in draws]))
        _, mass, centres = transport.occupied_boxes(seen.counts, seen.mass, seen.grid)
        shares = rng.multinomial(n, mass, 20) / n
        epsilon = transport.regularisation(centres)
        return float(transport.w2_sinkhorn(shares, mass, centres, epsilon).mean())

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        return SlicedW2().statistic(shares, boxes)

    def stated(self, seen: Sample) -> dict[str, float]:
        """The regularisation of the value, zero where it is exact."""
        if self._small(seen) or seen.grid.dim == 1:
            return {"epsilon_w2": 0.0}
        _, _, centres = transport.occupied_boxes(seen.counts, seen.mass, seen.grid)
        return {"epsilon_w2": transport.regularisation(centres)}

    def _small(self, seen: Sample) -> bool:
        return bool(len(seen.points) * np.count_nonzero(seen.mass) <= self.exact_up_to)


@dataclass(frozen=True)
class Energy:
    """Energy distance ``(2 E|X - Y| - E|X - X'| - E|Y - Y'|)^(1/2)`` (Székely and Rizzo 2013).

    On the line ``(2 int (F_n - F)^2 dx)^(1/2)``, as in SciPy. Evaluated on boxes.
    """

    name: ClassVar[str] = "energy"

    def value(self, seen: Sample) -> float:
        return float(self.statistic(seen.shares, seen.boxes)[0])

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        return None

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        d = shares - boxes.mass
        z = boxes.centres
        if len(boxes.shape) == 1:
            gap = np.pad(np.cumsum(d, axis=1), ((0, 0), (1, 0)))
            a, b = gap[:, :-1], gap[:, 1:]
            return np.sqrt(2 * (a * a + a * b + b * b) @ np.diff(boxes.edges[0]) / 3)
        apart = np.hypot(*(z[:, None] - z[None]).transpose(2, 0, 1))
        energy: Array = np.sqrt(np.maximum(-np.einsum("bi,bi->b", d @ apart, d), 0.0))
        return energy


@dataclass(frozen=True)
class Moments:
    """Largest standard score among the central moments of each axis, order 1 to ``order``.

    ``max_k sqrt(n) |int (x - m)^k (p_n - p) dx| / std_p (x - m)^k``. Good values: 4; higher orders
    are dominated by tails.
    """

    order: int = 4
    name: ClassVar[str] = "moments"

    def __post_init__(self) -> None:
        checks.whole("Moments: order", self.order, 1)

    def value(self, seen: Sample) -> float:
        return float(self.statistic(seen.shares, seen.boxes)[0])

    def floor(self, seen: Sample, rng: np.random.Generator) -> float | None:
        return None

    def statistic(self, shares: Array, boxes: Boxes) -> Array:
        z = boxes.centres - boxes.mass @ boxes.centres
        width, h = np.sqrt(boxes.mass @ z**2), [np.diff(edge).max() for edge in boxes.edges]
        # avoids overflow of high powers; a width below rounding counts as none
        z = z / np.where(width > 1e-9 * np.array(h), width, np.inf)
        powers = np.concatenate([z**k for k in range(1, self.order + 1)], axis=1)
        powers -= boxes.mass @ powers
        scale = np.sqrt(boxes.mass @ powers**2 / boxes.n)
        varies = scale > 1e-9 / np.sqrt(boxes.n)
        scores = (shares - boxes.mass) @ (powers / np.where(varies, scale, np.inf))
        return np.asarray(np.abs(scores).max(axis=1))


EVERY: tuple[Metric, ...] = (
    *(L1(), KL(), ChiSquare(), KolmogorovSmirnov(), W1(), W2(), Energy(), Moments()),
)
"""All of them."""


def _slice(deviation: Array, boxes: Boxes, angle: float) -> tuple[Array, Array]:
    s = boxes.centres @ np.array([np.cos(angle), np.sin(angle)])
    order = np.argsort(s)
    return np.cumsum(deviation[:, order], axis=1)[:, :-1], np.diff(s[order])
