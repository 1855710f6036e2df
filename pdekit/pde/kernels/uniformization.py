"""exp(tau L) on a line by uniformization: as a band matrix, or applied to one field.

P = 1 + tau L / mean is a stochastic matrix where ``mean`` is at least tau times the largest exit
rate, and exp(tau L) = sum_k e^-mean mean^k / k! P^k (Jensen 1953). Every term is nonnegative: signs
and relative accuracy of small entries are kept. Over a short step few entries of a row matter: if
the same step is repeated many times, a product with the band is the fastest way.
"""

from math import ceil, exp, lgamma, log, sqrt

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.arrays import Array

RATIO = 1.5  # ratio of neighbouring values up to which entries outside the band are negligible
_NEGLIGIBLE = 1e-17  # of the result
_LANES = 8  # diagonals per pass of a product
_1, _2, _3, _4, _5, _6, _7 = (np.uint64(k) for k in range(1, 8))
_WIDEST = 80  # diagonals on either side, above which a sweep over rational poles is faster


def exponential_band(up: Array, down: Array, tau: float) -> Array | None:
    """The bands of exp(tau L) and of its transpose, (2, 2 m, n); None if they are too wide.

    Entry (k, i) is that of row i and column i + k - m, for rates ``up`` from cell i to i + 1 and
    ``down`` back, shape (n - 1,).
    """
    stay, jumps, mean = _chain(up, down, tau)
    terms = _terms(mean) if mean < 2 * _WIDEST else 4 * _WIDEST
    if terms > 3 * _WIDEST:
        return None
    weights = np.array([exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(terms)])
    wide = _band(stay, jumps[0], jumps[1], weights, min(terms, _WIDEST + 1))
    m = wide.shape[1] // 2
    reach = np.abs(np.arange(-m, m + 1))
    most = int(reach[wide.max(0) * RATIO**reach > _NEGLIGIBLE].max())
    half = _LANES // 2 * ceil((most + 1) / (_LANES // 2))
    if half > _WIDEST:
        return None
    bands = np.zeros((2, 2 * half, len(wide)))
    low, high = max(m - half, 0), min(m + half, wide.shape[1])
    bands[0, low - m + half : high - m + half] = wide[:, low:high].T
    _transpose(bands[0], bands[1])
    return bands


def _chain(up: Array, down: Array, tau: float) -> tuple[Array, tuple[Array, Array], float]:
    """P by its diagonal and its jumps to the next cell and from there; the mean number of jumps."""
    leaving = np.append(up, 0.0) + np.append(0.0, down)
    mean = tau * float(leaving.max())
    return 1 - tau * leaving / mean, (tau * up / mean, tau * down / mean), mean


def _terms(mean: float) -> int:
    """Terms after which the sum for a field as steep as ``RATIO`` is complete."""
    most, bound, k = mean * RATIO, -mean, 0
    while k < most or bound > log(_NEGLIGIBLE):
        k += 1
        bound += log(most / k)
    return k + 1


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _band(stay, up, down, weights, m):  # type: ignore[no-untyped-def]
    """sum_k weights_k P^k by Horner's rule, m diagonals on either side."""
    n, width = stay.size, 2 * m + 1
    now, new = np.zeros((n + 2, width + 2)), np.zeros((n + 2, width + 2))
    for k in range(weights.size - 1, -1, -1):
        first = m - min(weights.size - 1 - k, m)  # before it all is zero so far
        for i in range(n):
            back = down[i - 1] if i > 0 else 0.0
            on = up[i] if i < n - 1 else 0.0
            above, here = now[i, first + 2 :], now[i + 1, first + 1 :]
            below, out = now[i + 2, first:], new[i + 1, first + 1 :]
            for j in range(width - 2 * first):
                out[j] = back * above[j] + stay[i] * here[j] + on * below[j]
            out[m - first] += weights[k]
        now, new = new, now
    return now[1 : n + 1, 1 : width + 1].copy()


def _transpose(band: Array, out: Array) -> None:
    """``out``, of zeros, becomes the band of the transpose: (2 m, n) as in ``exponential_band``."""
    width, n = band.shape
    for j in range(1, width):
        first, last, off = max(0, width // 2 - j), min(n, n + width // 2 - j), j - width // 2
        if first < last:
            out[j, first:last] = band[width - j, first + off : last + off]


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
def product(band, b, buffer, out):  # type: ignore[no-untyped-def]
    """out = band b; ``buffer`` has n + 2 m + 8 entries, those at the ends zero."""
    width, n = band.shape
    m, size = width // 2, np.uint64(n)
    for i in range(n):
        buffer[m + i] = b[i]
        out[i] = 0.0
    for k in range(0, width, 8):
        d0, d1, d2, d3 = band[k], band[k + 1], band[k + 2], band[k + 3]
        d4, d5, d6, d7 = band[k + 4], band[k + 5], band[k + 6], band[k + 7]
        x = buffer[k : k + n + 8]
        for i in range(size):  # unsigned, to avoid checks for negative values
            early = (d0[i] * x[i] + d1[i] * x[i + _1]) + (d2[i] * x[i + _2] + d3[i] * x[i + _3])
            late = (d4[i] * x[i + _4] + d5[i] * x[i + _5]) + (d6[i] * x[i + _6] + d7[i] * x[i + _7])
            out[i] += early + late


def poisson(mean: float) -> tuple[int, Array]:
    """The first relevant k, and the probabilities from it on, which sum to one.

    By ratios from the mode on, so that accuracy is kept for large means; the
    truncation is below 1e-17.
    """
    mode, reach = int(mean), int(10 * sqrt(mean) + 40)
    first = max(0, mode - reach)
    up = np.cumprod(mean / np.arange(mode + 1, mode + reach + 1))
    down = np.cumprod(np.arange(mode, first, -1) / mean)
    weights = np.concatenate([down[::-1], [1.0], up])
    return first, weights / weights.sum()


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def jumps(u, stay, before, after, first, weights):  # type: ignore[no-untyped-def]
    """sum_k weights_k P^(first + k) u, (P u)_i = before u_{i-1} + stay u_i + after u_{i+1}.

    Indices go round a circle; between walls ``before[0]`` and ``after[-1]`` are zero.
    """
    n = u.size
    now, new, out = np.empty(n + 2), np.empty(n + 2), np.zeros(n)
    now[1 : n + 1] = u
    for k in range(first + weights.size):
        if k >= first:
            weight = weights[k - first]
            for i in range(n):
                out[i] += weight * now[i + 1]
        now[0], now[n + 1] = now[n], now[1]
        for i in range(n):
            new[i + 1] = before[i] * now[i] + stay[i] * now[i + 1] + after[i] * now[i + 2]
        now, new = new, now
    return out
