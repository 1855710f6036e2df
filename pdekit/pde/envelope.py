"""Lower envelope of parabolas: the inf-convolution of a sampled line in linear time."""

import numba as nb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def envelope_plain(f: Array, h: float, t: float) -> tuple[Array, NDArray[np.int64]]:
    """min_j f_j + (x_i - x_j)^2 / (2t) over the nodes of a line, by trying all j (reference)."""
    x = h * np.arange(f.size)
    cost = f + (x[:, None] - x) ** 2 / (2 * t)
    best = cost.argmin(1)
    return np.take_along_axis(cost, best[:, None], 1)[:, 0], best


@nb.njit(cache=True, error_model="numpy")
def _minimisers(f, a, hull, breaks, best):  # type: ignore[no-untyped-def]
    """For every node i the j that minimises f_j + a (i - j)^2 (Felzenszwalb and Huttenlocher).

    ``hull`` collects the parabolas on the lower envelope, ``breaks`` where each takes over.
    """
    n = f.size
    k = 0
    hull[0] = 0
    breaks[0] = -np.inf
    for j in range(1, n):
        while True:
            i = hull[k]
            cross = ((f[j] - f[i]) / (a * (j - i)) + j + i) / 2
            if cross > breaks[k] or k == 0:
                break
            k -= 1
        if cross > breaks[k]:
            k += 1
        hull[k] = j
        breaks[k] = cross if k > 0 else -np.inf
    hull_size = k + 1
    k = 0
    for i in range(n):
        while k + 1 < hull_size and breaks[k + 1] < i:
            k += 1
        best[i] = hull[k]


@nb.njit(cache=True, error_model="numpy")
def _cost_at_kink(f, a, i, j):  # type: ignore[no-untyped-def]
    """Cost at the convex kink near node j, where lines through two samples on each side meet."""
    falling, rising = f[j - 1] - f[j - 2], f[j + 2] - f[j + 1]
    s = (f[j - 1] - f[j + 1] + falling + rising) / (rising - falling)
    s = min(max(s, -1.0), 1.0)
    return f[j - 1] + falling * (s + 1) + a * (i - j - s) ** 2


@nb.njit(cache=True, error_model="numpy")
def _refined(f, a, i, j, periodic):  # type: ignore[no-untyped-def]
    """Minimum over a neighbourhood of node j of a(i-y)^2 + the parabola through three samples.

    At a no-flux end the parabola of the last three samples is used up to the wall, half a cell out;
    at a convex kink of f, where a parabola would fall below f, the kink itself.
    """
    n = f.size
    c = j
    if not periodic:
        c = min(max(j, 1), n - 2)
    left, mid, right = f[c - 1 if c > 0 else n - 1], f[c], f[c + 1 if c < n - 1 else 0]
    second = right - 2 * mid + left
    # a kink: the second difference is far above those two nodes away, where a smooth f has as much
    if (
        3 <= j <= n - 4
        and second > 4 * abs(f[j - 1] - 2 * f[j - 2] + f[j - 3]) + 1e-12 * abs(mid)
        and second > 4 * abs(f[j + 3] - 2 * f[j + 2] + f[j + 1])
    ):
        return min(_cost_at_kink(f, a, i, j), f[j] + a * (i - j) ** 2)
    slope = (right - left) / 2 - 2 * a * (i - c)
    curvature = second + 2 * a
    low, high = -1.0, 1.0
    if not periodic and j == 0:
        low, high = -1.5, 0.0
    if not periodic and j == n - 1:
        low, high = 0.0, 1.5
    value = mid + a * (i - c) ** 2
    s = 0.0
    if curvature > 0:
        s = min(max(-slope / curvature, low), high)
    best = value + s * slope + s * s * curvature / 2
    return min(best, f[j] + a * (i - j) ** 2)


@nb.njit(cache=True, error_model="numpy")
def inf_convolve(f, h, t, periodic, refine, out):  # type: ignore[no-untyped-def]
    """out[l] = inf-convolution of every line f[l] (lines, n) with |.|^2 / (2 t); spacing h."""
    lines, n = f.shape
    a = h * h / (2 * t)
    m = 3 * n if periodic else n
    hull = np.empty(m, np.int64)
    breaks = np.empty(m)
    best = np.empty(m, np.int64)
    row = np.empty(m)
    offset = n if periodic else 0
    for line in range(lines):
        for start in range(0, m, n):
            for i in range(n):
                row[start + i] = f[line, i]
        _minimisers(row, a, hull, breaks, best)
        for i in range(n):
            k = i + offset
            j = best[k]
            if refine:
                out[line, i] = _refined(row, a, k, j, periodic)
            else:
                out[line, i] = row[j] + a * (k - j) ** 2
