"""What is added at a constant rate, V(h) = ∫_0^h exp(τ A) s dτ, by doubling:

    V(2 h) = V(h) + exp(h A) V(h),

from an h so short that Gauss quadrature is exact to rounding: all terms are >= 0 where s is, no
step is taken that is not taken for densities anyway, and no inverse of A is needed, which need not
exist.
"""

from collections.abc import Callable
from math import ceil, exp, log2
from typing import NamedTuple

import numpy as np

from pdekit.arrays import Array

_SHORT = 0.5  # jumps within the first interval: there four nodes err by less than 1e-12
_NODES = 4
RULES = 5, 8  # nodes of two Gauss rules


class Sized(NamedTuple):
    """A field, and a bound on its error: of its mass, or the greatest of a function."""

    field: Array
    error: float


def doubled(
    propagated: Callable[[Array, float], Sized],
    rate: Array,
    span: float,
    fastest: float,
    growth: float = 0.0,
) -> Sized:
    """V(span) from ``propagated(u, h)`` = exp(h A) u, whose largest exit rate is ``fastest``.

    Errors grow at most at the rate ``growth``.
    """
    halvings = ceil(log2(max(span * fastest / _SHORT, 1.0)))
    h = span / 2**halvings
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    parts = [propagated(rate, h * (1 + x) / 2) for x in nodes]
    out = h / 2 * sum(w * part.field for w, part in zip(weights, parts, strict=True))
    error = h / 2 * sum(w * part.error for w, part in zip(weights, parts, strict=True))
    for _ in range(halvings):
        later = propagated(out, h)
        error *= 1 + exp(growth * h)
        out, error, h = out + later.field, error + later.error, 2 * h
    return Sized(out, float(error))


def doubling_pieces(times: Array, first: float) -> Array:
    """Intervals (n, 2) from zero over all times, ends among them: from ``first`` on they double."""
    ends = [0.0]
    for t in times[times > 0]:
        while ends[-1] < t:
            ends.append(min(max(2 * ends[-1], first), float(t)))
    return np.stack([ends[:-1], ends[1:]], 1)


def gauss_nodes(pieces: Array, n: int) -> tuple[Array, Array]:
    """Nodes and weights in each interval, (intervals, n)."""
    x, w = np.polynomial.legendre.leggauss(n)
    middle, half = pieces.mean(1)[:, None], np.diff(pieces, axis=1) / 2
    return middle + half * x, half * w
