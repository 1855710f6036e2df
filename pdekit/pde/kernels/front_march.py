"""The numerical Hamiltonian of b·p + c|p| in one pass; ``discrete.moving_fronts`` has its plain

form. A line is a plane of one row, with one cell width infinite.
"""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.pde.kernels.filtered_march import _beyond, _milder

_FAST = {"contract", "nsz", "nnan"}  # data are finite; selections are then vectorised


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _on_line(b, c, low, high):  # type: ignore[no-untyped-def]
    """Godunov's of b p + c|p| from the slopes on the left and on the right."""
    left, right = b * low + c * abs(low), b * high + c * abs(high)
    turns = low * high < 0
    least, most = min(left, right), max(left, right)
    least = min(least, 0.0) if turns else least
    most = max(most, 0.0) if turns else most
    return least if low <= high else most


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _in_plane(b0, b1, c, low0, high0, low1, high1):  # type: ignore[no-untyped-def]
    """Upwind for b, Rouy and Tourin's for c."""
    along = b0 * (low0 if b0 > 0 else high0) + b1 * (low1 if b1 > 0 else high1)
    side0 = max(max(low0, -high0), 0.0) if c > 0 else max(max(-low0, high0), 0.0)
    side1 = max(max(low1, -high1), 0.0) if c > 0 else max(max(-low1, high1), 0.0)
    return along + c * np.sqrt(side0 * side0 + side1 * side1)


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _slopes(a, b, c, d, e, second):  # type: ignore[no-untyped-def]
    """Differences on both sides of c, by the flatter parabolas where ``second`` is 1/2, else 0."""
    bend = b - 2 * c + d
    low = c - b + second * _milder(bend, a - 2 * b + c)
    high = d - c - second * _milder(bend, c - 2 * d + e)
    return low, high


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _row(a, b, c, d, e, wide, b0, b1, speed, over0, over1, second, line, out):  # type: ignore[no-untyped-def]
    """One row c between its neighbours; ``wide`` is c with its ends."""
    if line:
        for j in range(c.size):
            low1, high1 = _slopes(wide[j], wide[j + 1], wide[j + 2], wide[j + 3], wide[j + 4],
                                  second)  # fmt: skip
            out[j] = _on_line(b1[j], speed[j], over1 * low1, over1 * high1)
        return
    for j in range(c.size):
        low0, high0 = _slopes(a[j], b[j], c[j], d[j], e[j], second)
        low1, high1 = _slopes(wide[j], wide[j + 1], wide[j + 2], wide[j + 3], wide[j + 4], second)
        out[j] = _in_plane(
            b0[j], b1[j], speed[j], over0 * low0, over0 * high0, over1 * low1, over1 * high1
        )


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def front(u, b0, b1, speed, periodic, over, second, line, out):  # type: ignore[no-untyped-def]
    """out = H of a 2-D field; ``over`` are 1 / h_k, ``second`` 1/2 for ENO2 slopes or 0."""
    rows, columns = u.shape
    wide = np.empty(columns + 4)
    for i in range(rows):
        for j in range(columns):
            wide[j + 2] = u[i, j]
        for j in (-2, -1, columns, columns + 1):
            wide[j + 2] = u[i, _beyond(j, columns, periodic[1])]
        _row(
            u[_beyond(i - 2, rows, periodic[0])], u[_beyond(i - 1, rows, periodic[0])], u[i],
            u[_beyond(i + 1, rows, periodic[0])], u[_beyond(i + 2, rows, periodic[0])], wide,
            b0[i], b1[i], speed[i], over[0], over[1], second, line, out[i],
        )  # fmt: skip
