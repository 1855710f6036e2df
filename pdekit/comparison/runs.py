"""Tests for interacting particles: the independent runs are the sample.

Inside a run particles are correlated, so counts are not multinomial and the density does not
determine their spread. Averages over a run are nearly normal, independent between runs, and their
covariance is estimated from the runs: Hotelling's test in place of chi-square.
"""

import numpy as np
from scipy import special

from pdekit.arrays import Array
from pdekit.comparison.distances import pooled
from pdekit.comparison.layers import Layers


def fewest(dim: int) -> int:
    """Runs below which no mean can be tested."""
    return dim + 2


def layered_tests(shares: Array, mass: Array, cells: Layers) -> dict[str, float]:
    """P-values of ``R`` runs with fractions ``shares (R, cells)``, largest scale first.

    The layers are those of ``metrics.layered_tests`` without ``rest``; on ``R`` runs at most
    ``R/2`` components are tested. A layer is tested given those before it (Rao's test of
    additional information): with ``T_k`` Hotelling's statistic of the first ``k`` components,
    ``F = (R-k) / (k-j) (T_k - T_j) / (R-1 + T_j)`` has ``k-j`` and ``R-k`` degrees of freedom, and
    increments are independent for normal averages. A layer with no component left is left out.
    """
    runs = len(shares)
    basis, ends = _orthonormal(cells, cells.mass)
    usable = min(basis.shape[1], runs // 2)
    grouped = np.stack([pooled(share - mass.ravel(), cells.group) for share in shares])
    scores = grouped @ basis[:, :usable]
    first, second, broad, smooth = (min(end, usable) for end in ends)
    spans = {
        **{"mean": (0, first), "second": (first, second), "broad": (0, broad)},
        "smooth": (broad, smooth),
    }
    return {name: _increment(scores, j, k) for name, (j, k) in spans.items() if k > j}


def _increment(scores: Array, j: int, k: int) -> float:
    """P-value of components ``j`` to ``k`` given the first ``j``."""
    runs = len(scores)
    before, total = _hotelling(scores[:, :j]), _hotelling(scores[:, :k])
    f = (runs - k) / (k - j) * max(total - before, 0.0) / (runs - 1 + before)
    return float(special.fdtrc(k - j, runs - k, f))


def _orthonormal(cells: Layers, weight: Array) -> tuple[Array, list[int]]:
    """Features orthonormal under the density, in order; repeated ones are dropped."""
    basis: list[Array] = []
    ends = []
    for column, feature in enumerate(cells.features.T):
        rest = feature.copy()
        for _ in range(2):  # twice is enough for orthogonality to rounding
            for b in basis:
                rest -= (weight * b) @ rest * b
        norm = np.sqrt(weight @ rest**2)
        if norm > 1e-4:
            basis.append(rest / norm)
        if column + 1 in cells.ends:
            ends.append(len(basis))
    return np.stack(basis, axis=-1) if basis else np.zeros((len(weight), 0)), ends


def _hotelling(scores: Array) -> float:
    """``R m' S^-1 m`` with mean ``m`` and covariance ``S`` of the rows."""
    if not scores.shape[1]:
        return 0.0
    mean = scores.mean(axis=0)
    covariance = np.atleast_2d(np.cov(scores.T))
    return float(len(scores) * mean @ np.linalg.lstsq(covariance, mean, rcond=1e-12)[0])
