"""Gaussian convolution of exp(-beta f) along lines, returned as -log / beta without underflow."""

from math import ceil

import numba as nb
import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.arrays import Array
from pdekit.pde.kernels.envelope import _minimisers

TAIL = 36.0  # terms below exp(-36) = 2e-16 of the largest one are left out
_RANGE = 500.0  # largest beta * (max f - min f) of a line for which exp(-beta f) is stored
_BLOCK = 16
EXPONENTS = 690.0  # exp(-690) = 2e-300: the smallest product of weights without underflow
_ROWS = 64
_SHIFTS, _LONG = 32, 256  # of a kernel in a product; cells of one from which that is the faster
_POINTS = 16  # of the polynomial that interpolates a wide Gaussian


def banded(w: Array, kernel: Array, axis: int, stride: int) -> Array:
    """Sums of w times the kernel around every stride-th node, from stride // 2 on.

    Along an axis of one or two, where w is longer by half a kernel at both ends.
    """
    w = np.take(w, range(stride // 2, w.shape[axis] - stride // 2), axis) if stride > 1 else w
    if w.ndim == 1:
        if stride == 1:
            return (np.correlate if kernel.size < _LONG else _products)(w, kernel)
        return sliding_window_view(w, kernel.size)[::stride] @ kernel
    return _repeated(w, kernel[None], stride, axis, (w.shape[axis] - kernel.size) // stride + 1)


def _products(w: Array, kernel: Array) -> Array:
    """The same sums of a long kernel: windows of w times shifts of the kernel, by BLAS."""
    count = w.size - kernel.size + 1
    blocks, width = -(-count // _SHIFTS), kernel.size + _SHIFTS - 1
    padded, around = np.zeros((blocks - 1) * _SHIFTS + width), np.zeros(width + _SHIFTS - 1)
    padded[: w.size], around[_SHIFTS - 1 : width] = w, kernel
    windows = as_strided(padded, (blocks, width), (8 * _SHIFTS, 8))
    shifts = as_strided(around[_SHIFTS - 1 :], (_SHIFTS, width), (-8, 8))
    out: Array = (windows @ np.ascontiguousarray(shifts).T).reshape(-1)[:count]
    return out


def _repeated(w: Array, block: Array, step: int, axis: int, periods: int) -> Array:
    """``periods`` copies of a block of rows (p, L), each ``step`` columns on, times w on an axis.

    A few copies at a time of that matrix: the products are BLAS's.
    """
    p, width = block.shape
    some = min(max(1, _ROWS // p), periods)
    band = np.zeros((some * p, (some - 1) * step + width))
    for i in range(some):
        band[i * p : (i + 1) * p, i * step : i * step + width] = block
    out = np.empty([periods * p if k == axis else size for k, size in enumerate(w.shape)])
    for start in range(0, periods, some):
        count = min(some, periods - start)
        part = band[: count * p, : (count - 1) * step + width]
        here = slice(start * step, start * step + part.shape[1])
        rows = slice(start * p, (start + count) * p)
        if axis == 0:
            out[rows] = part @ w[here]
        else:
            out[:, rows] = w[:, here] @ part.T
    return out


def node_spacing(deviation: float) -> int:
    """Cells between the nodes on which a Gaussian of that standard deviation is convolved.

    A power of two, at least 32 of them a deviation: up to 13 deviations away, where it is 2e-37,
    the polynomial through 16 nodes then gives it to 8e-13 of itself, so as a positive number.
    """
    spacing = 1
    while deviation >= 64 * spacing:
        spacing *= 2
    return spacing


def margin(pad: int, spacing: int) -> int:
    """Cells beyond both ends that ``wide`` needs for a kernel of half width ``pad``."""
    return (ceil(pad / spacing) + _POINTS) * spacing


def wide(w: Array, rate: float, pad: int, axis: int, spacing: int) -> Array:
    """Means of w weighted by exp(-rate d^2), |d| <= pad cells, for all but ``margin`` cells at both
    ends.

    The Gaussian of two points is interpolated in both, on nodes ``spacing`` cells apart: w is
    gathered on the nodes, convolved there, and spread again.
    """
    reach, half = ceil(pad / spacing), _POINTS // 2
    n = w.shape[axis] - 2 * margin(pad, spacing)
    coarse, spread = ceil(n / spacing), _lagrange(spacing)
    gather = np.zeros(_POINTS * spacing + 1)  # at distances of up to half * spacing cells
    for r in range(spacing):
        gather[r : r + _POINTS * spacing : spacing] = spread[r, ::-1]
    kernel = np.exp(-rate * (spacing * np.arange(-reach, reach + 1)) ** 2)

    def sums(v: Array, along: int) -> Array:
        v = v[spacing:] if along == 0 else v[:, spacing:]
        v = _repeated(v, gather[None], spacing, along, coarse + 2 * reach + 2 * half - 1)
        v = _repeated(v, kernel[None], 1, along, coarse + 2 * half - 1)
        v = _repeated(v, spread, 1, along, coarse)
        return v[:n] if along == 0 else v[:, :n]

    total = sums(np.ones(w.shape[axis]), 0)
    return sums(w, axis) / (total[:, None] if axis == 0 and w.ndim == 2 else total)


def _lagrange(spacing: int) -> Array:
    """Values at r / spacing, r = 0, 1, ..., of the polynomials of the nodes about [0, 1]."""
    nodes = np.arange(1 - _POINTS // 2, _POINTS // 2 + 1)
    at = np.arange(spacing)[:, None, None] / spacing
    others = np.array([np.delete(nodes, k) for k in range(_POINTS)])
    out: Array = ((at - others) / (nodes[:, None] - others)).prod(-1)
    return out


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc", "arcp"})
def _dot(w, kernel):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(w.size):
        total += w[j] * kernel[j]
    return total


@nb.njit(cache=True, error_model="numpy")
def _log_sum(f, lowest, a, beta, centre, best, reach):  # type: ignore[no-untyped-def]
    """sum_j exp(-beta (f_j + a (centre - j)^2 - best)) over |j - centre| <= reach.

    ``lowest`` has the minimum of f over blocks, to skip whole blocks.
    """
    total = 0.0
    for block in range((centre - reach) // _BLOCK, (centre + reach) // _BLOCK + 1):
        start, stop = block * _BLOCK, min((block + 1) * _BLOCK, f.size)
        gap = max(start - centre, centre - stop + 1, 0)
        if beta * (lowest[block] + a * gap * gap - best) > TAIL:
            continue
        for j in range(start, stop):
            exponent = beta * (f[j] + a * (centre - j) * (centre - j) - best)
            if exponent < TAIL:
                total += np.exp(-exponent)
    return total


@nb.njit(cache=True, error_model="numpy")
def log_convolve(padded, a, beta, first, stride, out):  # type: ignore[no-untyped-def]
    """out[l, i] = -beta^-1 log(sum_j G_cj exp(-beta f_j) / sum_d G_0d), c = first + stride i.

    G_cj = exp(-beta a (c - j)^2), a = h^2 / (2t), lines f = padded[l]. Normalised by the sampled
    kernel, so constants pass unchanged. The largest term of each sum is known from the
    lower envelope of parabolas; the window of each output reaches to where no term can exceed
    exp(-TAIL) of it. Sums have positive terms only: relative accuracy, hence comparison, is kept.
    """
    lines, n = padded.shape
    hull, best = np.empty(n, np.int64), np.empty(n, np.int64)
    breaks, w = np.empty(n), np.empty(n)
    lowest = np.empty(n // _BLOCK + 1)
    middle = min(n, int(np.ceil(np.sqrt((TAIL + _RANGE) / (beta * a)))) + 1)
    kernel = np.exp(-beta * a * (np.arange(2 * middle + 1) - middle) ** 2)
    # Poisson: for a wide kernel the sampled sum equals the integral to rounding
    norm = np.sqrt(np.pi / (beta * a))
    if beta * a > 0.2:
        norm = kernel.sum()
    for line in range(lines):
        f = padded[line]
        least, most = f.min(), f.max()
        _minimisers(f, a, hull, breaks, best)
        stored = beta * (most - least) <= _RANGE
        if stored:
            for j in range(n):
                w[j] = np.exp(-beta * (f[j] - least))
        else:
            for block in range(n // _BLOCK + 1):
                low = np.inf
                for j in range(block * _BLOCK, min((block + 1) * _BLOCK, n)):
                    low = min(low, f[j])
                lowest[block] = low
        for i in range(out.shape[1]):
            c = first + stride * i
            j = best[c]
            bottom = f[j] + a * (c - j) * (c - j)
            reach = int(np.sqrt((TAIL / beta + bottom - least) / a)) + 1
            reach = min(reach, c, n - 1 - c)
            if stored:
                reach = min(reach, middle)
                window = kernel[middle - reach : middle + reach + 1]
                total = _dot(w[c - reach : c + reach + 1], window)
                out[line, i] = least - np.log(total / norm) / beta
            else:
                total = _log_sum(f, lowest, a, beta, c, bottom, reach)
                out[line, i] = bottom - np.log(total / norm) / beta


@nb.njit(cache=True, error_model="numpy")
def sharpest_minimiser(lines, a, periodic):  # type: ignore[no-untyped-def]
    """Largest second difference f_{j+1} - 2 f_j + f_{j-1} at a minimiser j of any output node.

    It sets how narrow exp(-beta (f(y) + |x - y|^2 / 2t)) can be. Ends of a no-flux line count
    with their mirror image.
    """
    n = lines.shape[1]
    hull, best, breaks = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n)
    sharpest = 0.0
    for line in range(lines.shape[0]):
        f = lines[line]
        _minimisers(f, a, hull, breaks, best)
        for i in range(n):
            j = best[i]
            left, right = j - 1, j + 1
            if j == 0:
                left = n - 1 if periodic else 0
            if j == n - 1:
                right = 0 if periodic else n - 1
            sharpest = max(sharpest, f[left] - 2 * f[j] + f[right])
    return sharpest
