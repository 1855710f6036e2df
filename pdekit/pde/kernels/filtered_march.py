"""Second-order slopes and the filter in few passes; ``schemes.filtered`` has the plain form."""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.pde.kernels.monotone_march import sweep

_FAST = {"contract", "nsz", "nnan"}  # data are finite; selections are then vectorised


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _milder(a, b):  # type: ignore[no-untyped-def]
    """The smaller of two numbers of one sign, zero if their signs differ (minmod)."""
    milder = a if abs(a) < abs(b) else b
    return milder if a * b > 0 else 0.0


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _fall(a, b, c, d, e):  # type: ignore[no-untyped-def]
    """h times the steeper descent at c, by the flatter parabola on each side."""
    bend = b - 2 * c + d
    left = c - b + 0.5 * _milder(bend, a - 2 * b + c)
    right = c - d + 0.5 * _milder(bend, c - 2 * d + e)
    return max(max(left, right), 0.0)


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _beyond(i, n, periodic):  # type: ignore[no-untyped-def]
    """Index of a cell up to two beyond the ends, by period or mirror."""
    if periodic:
        return i % n
    if i < 0:
        return -1 - i
    return 2 * n - 1 - i if i >= n else i


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _row(a, b, c, d, e, wide, c0, c1, out):  # type: ignore[no-untyped-def]
    """The accurate Hamiltonian of one row c between its neighbours; ``wide`` is c with its ends.

    Two loops, to limit register pressure.
    """
    for j in range(c.size):
        r0 = _fall(a[j], b[j], c[j], d[j], e[j])
        out[j] = c0 * r0 * r0
    for j in range(c.size):
        r1 = _fall(wide[j], wide[j + 1], wide[j + 2], wide[j + 3], wide[j + 4])
        out[j] += c1 * r1 * r1


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def accurate(u, periodic, halves, out):  # type: ignore[no-untyped-def]
    """out = sum_k a_k p_k^2 / 2 of a 2-D field with ENO2 slopes and Godunov's choice of the side.

    ``halves`` are a_k / (2 h_k^2); a line is a field of one periodic row.
    """
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
            halves[0], halves[1], out[i],
        )  # fmt: skip


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def combine(u, monotone, first, second, dt, width, out):  # type: ignore[no-untyped-def]
    """out = the accurate step within dt * width of the monotone one, else that; how often."""
    filtered = 0
    for j in range(u.size):
        mean = 0.5 * (first[j] + second[j])
        near = abs(mean - monotone[j]) <= width
        out[j] = u[j] - dt * (mean if near else monotone[j])
        filtered += not near
    return filtered


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def _less(u, change, dt, out):  # type: ignore[no-untyped-def]
    """out = u - dt change."""
    for j in range(u.size):
        out[j] = u[j] - dt * change[j]


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def march(u, buffer, halves, periodic, span, cfl, epsilon, most_steps):  # type: ignore[no-untyped-def]
    """Filtered steps over ``span`` in place; their number (-1: too many), and the most filtered
    cells.

    ``buffer``: four work fields; ``epsilon`` has the factor sqrt(h / width) in it. On too
    many steps the third number is the step that was too short.
    """
    monotone, first, second, stage = buffer[0], buffer[1], buffer[2], buffer[3]
    start, left, steps, most_filtered = u, span, 0, 0
    while left > 0:
        r0, r1 = sweep(u, periodic, 0.0, -halves, monotone)
        rate = 2 * (halves[0] * r0 + halves[1] * r1)
        dt = left if rate * left <= cfl else cfl / rate
        if left > dt * most_steps:
            return -1, most_filtered, dt
        width = epsilon * (monotone.max() - monotone.min())
        accurate(u, periodic, halves, first)
        _less(u.ravel(), first.ravel(), dt, stage.ravel())
        accurate(stage, periodic, halves, second)
        filtered = combine(
            u.ravel(), monotone.ravel(), first.ravel(), second.ravel(), dt, width, stage.ravel()
        )
        u, stage = stage, u
        most_filtered = max(most_filtered, filtered)
        left = 0.0 if dt >= left else left - dt
        steps += 1
    start[:] = u
    return steps, most_filtered, 0.0
