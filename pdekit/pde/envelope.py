"""Lower envelope of parabolas: the inf-convolution of a sampled line in linear time."""

import numba as nb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_ONE = np.uint64(1)  # unsigned indices are not checked for counting backwards
_TILE = 32  # columns that are copied together: a few cache lines of each row
_APART = 8  # added to a length: lines a power of two apart would share one part of the cache


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
    n, half = f.size, 0.5 / a
    k, i, here, last = _ONE - _ONE, 0, f[0], -np.inf
    hull[0] = 0
    for j in range(1, n):
        # neighbours, nearly always: no division
        cross = (f[j] - here) * (half if j - i == 1 else half / (j - i)) + 0.5 * (j + i)
        while cross <= last:
            k -= _ONE
            i = hull[k]
            here, last = f[np.uint64(i)], breaks[k] if k > 0 else -np.inf
            cross = (f[j] - here) * (half / (j - i)) + 0.5 * (j + i)
        k += _ONE
        i, here, last = j, f[j], cross
        hull[k], breaks[k] = j, cross
    node, end = _ONE - _ONE, np.uint64(n)
    for p in range(k):
        stop, j = breaks[p + _ONE], hull[p]
        while node < end and node <= stop:
            best[node] = j
            node += _ONE
    best[np.int64(node) :] = hull[k]


@nb.njit(cache=True, error_model="numpy")
def _cost_at_kink(f, a, i, j):  # type: ignore[no-untyped-def]
    """Cost at the convex kink near node j, where lines through two samples on each side meet."""
    falling, rising = f[j - 1] - f[j - 2], f[j + 2] - f[j + 1]
    s = (f[j - 1] - f[j + 1] + falling + rising) / (rising - falling)
    s = min(max(s, -1.0), 1.0)
    return f[j - 1] + falling * (s + 1) + a * (i - j - s) ** 2


@nb.njit(cache=True, error_model="numpy")
def _find_kinks(f, second, kink):  # type: ignore[no-untyped-def]
    """Where the second difference is far above those two nodes away; a smooth f has as much."""
    n, two = f.size, _ONE + _ONE
    for j in range(_ONE, np.uint64(n - 1)):
        second[j] = f[j + _ONE] - 2 * f[j] + f[j - _ONE]
    found = 0
    for j in range(two + _ONE, np.uint64(n - 3)):
        least = 4 * abs(second[j - two]) + 1e-12 * abs(f[j])
        kink[j] = (second[j] > least) & (second[j] > 4 * abs(second[j + two]))
        found += kink[j]
    return found


@nb.njit(cache=True, error_model="numpy")
def _refined(f, a, i, j, periodic, kink):  # type: ignore[no-untyped-def]
    """Minimum over a neighbourhood of node j of a(i-y)^2 + the parabola through three samples.

    At a no-flux end the parabola of the last three samples is used up to the wall, half a cell out;
    at a convex kink of f, where a parabola would fall below f, the kink itself.
    """
    n = f.size
    if kink:
        return min(_cost_at_kink(f, a, i, j), f[j] + a * (i - j) ** 2)
    c = j
    if not periodic:
        c = min(max(j, 1), n - 2)
    left, mid, right = f[c - 1 if c > 0 else n - 1], f[c], f[c + 1 if c < n - 1 else 0]
    second = right - 2 * mid + left
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


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "nnan"})
def _parabolas(f, a, best, first, near, out):  # type: ignore[no-untyped-def]
    """``_refined`` at the nodes from ``first`` on as if no minimiser were at an end or a kink.

    In two loops, of which the second is in vectors: samples into ``near``, then the minima.
    """
    left, mid, right, away = near[0], near[1], near[2], near[3]
    for i in range(np.uint64(out.size)):
        c = np.uint64(min(max(best[i + np.uint64(first)], 1), f.size - 2))
        left[i], mid[i], right[i] = f[c - _ONE], f[c], f[c + _ONE]
        away[i] = float(np.int64(i) + first - np.int64(c))
    for i in range(np.uint64(out.size)):
        x = away[i]
        slope = (right[i] - left[i]) / 2 - 2 * a * x
        curvature = right[i] - 2 * mid[i] + left[i] + 2 * a
        s = min(max(-slope / max(curvature, 1e-300), -1.0), 1.0)
        s = s if curvature > 0 else 0.0
        value = mid[i] + a * x * x
        out[i] = min(value, value + s * (slope + s * curvature / 2))


@nb.njit(cache=True, error_model="numpy")
def _room(n, periodic):  # type: ignore[no-untyped-def]
    """What the inf-convolution of a line of n nodes writes on its way, over all images needed."""
    m = 3 * n if periodic else n
    hull, breaks, best = np.empty(m, np.int64), np.empty(m), np.empty(m, np.int64)
    return (
        np.empty(m),
        hull,
        breaks,
        best,
        np.empty((4, n + _APART)),
        np.empty(m),
        np.zeros(m, np.bool_),
    )


@nb.njit(cache=True, error_model="numpy")
def _along(f, a, periodic, refine, room, out):  # type: ignore[no-untyped-def]
    """out = inf-convolution of the line f with a |.|^2 in cells; ``out`` may be f."""
    row, hull, breaks, best, near, second, kink = room
    n, m = f.size, row.size
    first = n if periodic else 0
    for image in range(0, m, n):
        row[image : image + n] = f
    _minimisers(row, a, hull, breaks, best)
    if refine:
        _parabolas(row, a, best, first, near, out)
        kinks = _find_kinks(row, second, kink)
        for i in range(n):
            j = best[first + i]
            if j == 0 or j == m - 1 or (kinks > 0 and kink[j]):
                out[i] = _refined(row, a, first + i, j, periodic, kink[j])
    else:
        for i in range(n):
            j = best[first + i]
            out[i] = row[j] + a * (first + i - j) ** 2


@nb.njit(cache=True, error_model="numpy")
def inf_convolve_rows(f, h, t, periodic, refine, out):  # type: ignore[no-untyped-def]
    """out[l] = inf-convolution of every row f[l] with |.|^2 / (2 t), spacing h; out may be f."""
    room = _room(f.shape[1], periodic)
    for line in range(f.shape[0]):
        _along(f[line], h * h / (2 * t), periodic, refine, room, out[line])


@nb.njit(cache=True, error_model="numpy")
def inf_convolve_columns(u, h, t, periodic, refine):  # type: ignore[no-untyped-def]
    """The same for every column of u, in place: a few at a time are copied to cache and back."""
    n, lines = u.shape
    room, tile = _room(n, periodic), np.empty((_TILE, n + _APART))
    for start in range(0, lines, _TILE):
        some = min(_TILE, lines - start)
        for i in range(n):
            far = u[i, start : start + some]
            for k in range(some):
                tile[k, i] = far[k]
        for k in range(some):
            _along(tile[k, :n], h * h / (2 * t), periodic, refine, room, tile[k, :n])
        for i in range(n):
            far = u[i, start : start + some]
            for k in range(some):
                far[k] = tile[k, i]
