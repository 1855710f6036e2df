"""Goodness-of-fit tests in layers, largest scale first, on groups of well filled cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from pdekit.arrays import Array, IntArray
from pdekit.comparison.distances import chi_square, marginal, pooled, tail
from pdekit.grid import Grid

DEGREE = {1: 8, 2: 4}
"""Degree of the smooth test, by dimension: 8 components on the line, 14 in the plane."""

STURDY = 10.0
"""Particles expected in a group of cells: above it counts are close enough to normal."""


@dataclass(frozen=True)
class Layers:
    """Features of groups of cells, ``(groups, m)``, centred and scaled, and their covariance.

    The first ``scores`` columns are scores of parameters. ``ends``: columns up to which they are
    coordinates, then products of two coordinates, then the logarithm of the density, then Legendre
    components of the distribution functions. ``group`` is the group of each cell, ``mass`` that of
    each group, ``bin`` the chi-square's bin it lies in.
    """

    features: Array
    covariance: Array
    ends: tuple[int, int, int, int]
    group: IntArray
    mass: Array
    bin: IntArray
    scores: int = 0


def layers(
    n: int, mass: Array, grid: Grid, labels: IntArray, scores: Sequence[Array] = ()
) -> Layers:
    """Features for ``n`` particles, as averages over groups of cells inside the bins ``labels``.

    The degree of the Legendre part is ``n^(1/4) / dim``, at most ``DEGREE``; groups are those of
    ``sturdy_groups``. Both keep averages normal enough for chi-square.
    """
    degree = max(1, min(DEGREE[grid.dim], int(n**0.25 / grid.dim)))
    weight = mass.ravel()
    z = grid.centres.reshape(-1, grid.dim).T
    z = z - (z @ weight)[:, None]
    width = np.sqrt(z**2 @ weight)[:, None]
    # safe for any unit of length; a width below rounding counts as none
    z = z / np.where(width > 1e-9 * grid.spacing[:, None], width, np.inf)
    products = [z[i] * z[j] for i in range(grid.dim) for j in range(i, grid.dim)]
    moments = np.stack([*z, *products], axis=-1)
    first = [s.ravel() for s in scores]
    rows = [*first, *moments.T, _log_density(mass, n, moments), *_legendre(mass, degree)]
    group = sturdy_groups(n * mass, labels)
    share = pooled(mass, group)
    columns = np.stack([pooled(weight * row, group) / share for row in rows], axis=-1)
    columns -= share @ columns
    scale = np.sqrt(share @ columns**2)
    columns /= np.where(scale > 1e-9, scale, np.inf)
    count, second = len(first), len(first) + moments.shape[1]
    ends = (count + grid.dim, second, second + 1, columns.shape[1])
    bins = np.empty(len(share), dtype=np.int64)
    bins[group] = labels.ravel()
    return Layers(columns, _covariance(columns, share), ends, group, share, bins, count)


def sturdy_groups(expected: Array, labels: IntArray) -> IntArray:
    """The group of each cell: cells with few expected particles are merged within their bin.

    A feature, or a combination of several, may have most of its variance in cells with a count
    below one, where its average is far from normal. Cells with ``STURDY`` particles expected
    are left single. The others are merged in order until that many are expected; the
    remainder of a bin joins the group before it, or the nearest single cell of the bin.
    """
    flat, bins = expected.ravel(), labels.ravel()
    alone = flat >= STURDY
    group = np.cumsum(alone) - 1
    rare = np.flatnonzero(~alone)
    rare = rare[np.argsort(bins[rare], kind="stable")]
    joined = _joined(flat[rare], bins[rare])
    group[rare] = np.where(joined < 0, -1, joined + alone.sum())
    lost = rare[joined < 0]
    if lost.size:
        group[lost] = group[_nearest(lost, np.flatnonzero(alone), bins)]
    return group


def _joined(expected: Array, bins: IntArray) -> IntArray:
    """Group numbers, for cells in the order of their bins; -1 where a bin has no complete group."""
    out = np.empty(len(bins), dtype=np.int64)
    ends = [*(np.flatnonzero(np.diff(bins)) + 1).tolist(), len(bins)]
    values, number, first = expected.tolist(), -1, 0
    for end in ends:
        start, collected, before = first, 0.0, number
        for k in range(first, end):
            collected += values[k]
            if collected >= STURDY:
                number += 1
                out[start : k + 1] = number
                start, collected = k + 1, 0.0
        out[start:end] = number if number > before else -1
        first = end
    return out


def _nearest(cells: IntArray, others: IntArray, bins: IntArray) -> IntArray:
    """Of ``others``, for each cell the nearest in the order of the cells that is in its bin."""
    key = bins * len(bins) + np.arange(len(bins))
    sought, there = key[cells], np.sort(key[others])
    at = np.searchsorted(there, sought)
    low, high = there[np.maximum(at - 1, 0)], there[np.minimum(at, len(there) - 1)]
    near = np.where(np.abs(high - sought) < np.abs(low - sought), high, low)
    # in this key cells of the same bin are nearer than those of other bins, except at its ends
    wrong = near // len(bins) != bins[cells]
    near = np.where(wrong, np.where(near == low, high, low), near)
    return np.asarray(near % len(bins))


def _log_density(mass: Array, n: int, moments: Array) -> Array:
    """``log rho`` beyond its best fit by moments; zero if the moments determine it (a

    Gaussian). Truncated where no particles are expected, so that averages are nearly normal.
    """
    weight = mass.ravel()
    log = np.log(np.maximum(weight, 0.01 / n * weight.max()))
    basis = np.column_stack([np.ones_like(weight), moments]) * np.sqrt(weight)[:, None]
    fit, *_ = np.linalg.lstsq(basis, log * np.sqrt(weight), rcond=1e-10)
    rest = log - fit[0] - moments @ fit[1:]
    small = weight @ rest**2 <= 1e-3 * (weight @ (log - weight @ log) ** 2)
    return np.zeros_like(rest) if small else rest


def _legendre(mass: Array, degree: int) -> list[Array]:
    middles = [np.cumsum(m) - 0.5 * m for m in (marginal(mass, k) for k in range(mass.ndim))]
    rows = [[special.eval_legendre(j, 2 * f - 1) for j in range(degree + 1)] for f in middles]
    if mass.ndim == 1:
        return rows[0][1:]
    # by total degree
    pairs = [(k - j, j) for k in range(1, degree + 1) for j in range(k + 1)]
    return [np.outer(rows[0][i], rows[1][j]).ravel() for i, j in pairs]


def layered_tests(
    counts: IntArray, mass: Array, labels: IntArray, cells: Layers
) -> dict[str, tuple[float, int]]:
    """Statistics of ``d = counts/n - mass`` and their degrees of freedom, largest scale first.

    ``mean``, then ``second`` moments given the mean, for information. ``broad``: both together with
    the average of ``log rho``, given the scores of parameters (``along_scores``) if there are any.
    ``smooth``: Neyman's smooth test (1937) given these, the Legendre components ``P_j(2 F - 1)`` of
    the distribution function, in the plane products over both marginals. Last ``rest``: what
    Pearson's chi-square over the bins ``labels`` sees beyond. The statistics are increments of
    ``n d' Phi (Phi' S Phi)^-1 Phi' d`` as features ``Phi`` join, chi-square with as many degrees as
    the rank grows; ``broad``, ``smooth`` and ``rest`` are independent for many particles, and of
    the scores (on the line 3, 8 and ``bins - 1`` degrees, fewer beyond scores).

    ``log rho`` is minus beta V at rest: the score of a wrong temperature or slope. With the
    moments it also captures nearly all of their effect on a transient density, where plain
    chi-square would dilute it over all bins.
    """
    deviation = np.sqrt(counts.sum()) * (pooled(counts, cells.group) / counts.sum() - cells.mass)
    sums, k = deviation @ cells.features, cells.scores
    moments = [_explained(sums[k:e], cells.covariance[k:e, k:e]) for e in cells.ends[:2]]
    steps = [_explained(sums[:e], cells.covariance[:e, :e]) for e in (k, *cells.ends[2:])]
    within = cells.features - _bin_means(cells.features, cells.mass, cells.bin)
    inside = _explained(deviation @ within, _covariance(within, cells.mass))
    bin_mass = pooled(mass, labels)
    statistic, _ = chi_square(pooled(counts, labels), bin_mass)
    # together, bins and variation of features within bins span bins and features
    steps.append((statistic + inside[0], len(bin_mass) - 1 + inside[1]))
    scores, broad, smooth, rest = steps
    spans = {
        **{"mean": ((0.0, 0), moments[0]), "second": tuple(moments), "broad": (scores, broad)},
        **{"smooth": (broad, smooth), "rest": (smooth, rest)},
    }
    return {name: (max(t - s, 0.0), m - k) for name, ((s, k), (t, m)) in spans.items()}


class Along(NamedTuple):
    """Standard scores along parameters, their correlation, and what the cells may add to each."""

    z: Array
    correlation: Array
    blur: Array


def along_scores(counts: IntArray, mass: Array, grid: Grid, cells: Layers) -> Along:
    """Of the scores among the features; NaN for those that do not vary over the particles."""
    n, k = counts.sum(), cells.scores
    features, covariance = cells.features[:, :k], cells.covariance[:k, :k]
    spread = np.sqrt(np.diag(covariance))
    spread = np.where(spread > 0.5, spread, np.nan)  # columns have norm 1, or are 0
    z = np.sqrt(n) * (pooled(counts, cells.group) / n - cells.mass) @ features / spread
    blur = np.sqrt(n) * np.abs(pooled(bend(mass, grid), cells.group) @ features) / spread
    return Along(z, covariance / np.outer(spread, spread), blur)


def p_values(statistics: dict[str, tuple[float, int]], shift: float = 0.0) -> dict[str, float]:
    """Of chi-square; where the features may be off by ``shift`` standard errors, at most this."""
    if not shift:
        return {name: tail(*found) for name, found in statistics.items()}
    return {
        name: float(1 - special.chndtr(statistic, degrees, shift**2)) if degrees > 0 else 1.0
        for name, (statistic, degrees) in statistics.items()
    }


def _covariance(features: Array, weight: Array) -> Array:
    return np.asarray((features * weight[:, None]).T @ features)


def _explained(scores: Array, covariance: Array) -> tuple[float, int]:
    """``s' C^-1 s`` for the scores ``s`` of features and their covariance, and its rank."""
    if not scores.size:
        return 0.0, 0
    values, vectors = np.linalg.eigh(covariance)
    # linearly dependent or constant features add nothing
    kept = values > 1e-9 * max(values[-1], 1e-9)
    return float(((scores @ vectors[:, kept]) ** 2 / values[kept]).sum()), int(kept.sum())


def _bin_means(features: Array, weight: Array, labels: IntArray) -> Array:
    total = pooled(weight, labels)
    means = np.stack([pooled(weight * f, labels) / total for f in features.T], axis=-1)
    return np.asarray(means[labels])


def bend(mass: Array, grid: Grid) -> Array:
    """The average less the centre value, ``h^2 lap rho / 24``, of masses in cells."""
    out = np.zeros(mass.shape)
    for k in range(mass.ndim):
        n_cells = mass.shape[k]
        around = np.arange(-1, n_cells + 1)
        index = around % n_cells if grid.periodic[k] else np.clip(around, 0, n_cells - 1)
        out += np.diff(mass.take(index, axis=k), 2, axis=k) / 24
    return out


def cell_blur(n: int, mass: Array, grid: Grid, cells: Layers) -> float:
    """The discretisation error in standard errors of ``n`` particles.

    A value may be read as the density at the centre or as the cell's average; they differ by
    ``h^2 lap rho / 24``. This is the root of that difference's statistic of all features of
    ``layered_tests``: below about 0.5 it is not detected.
    """
    scores = np.sqrt(n) * pooled(bend(mass, grid), cells.group) @ cells.features
    return float(np.sqrt(_explained(scores, cells.covariance)[0]))
