"""Splines on a uniform line in one pass over the points; the reference is ``splines._arrays``.

Arguments: points ``(n,)``, first knot, step, base of every slot, coefficients ``(slots, 4)``, all
of one floating type. NaN gives NaN.
"""

from typing import Any

import numpy as np
from numba import njit

import pdekit.compiling  # noqa: F401  (where kernels are kept)


@njit(cache=True, nogil=True, error_model="numpy")
def _slot(x: Any, start: Any, step: Any, one: Any, last: int) -> int:
    place = (x - start) / step + one
    if not place > 0:
        return 0
    return last if place >= last else int(place)


@njit(cache=True, nogil=True, error_model="numpy")
def line_values(x: Any, start: Any, step: Any, bases: Any, table: Any) -> Any:
    """Values of the spline."""
    out, one = np.empty_like(x), x.dtype.type(1)
    for k in range(x.size):
        i = _slot(x[k], start, step, one, bases.size - 1)
        s = x[k] - bases[i]
        out[k] = table[i, 0] + s * (table[i, 1] + s * (table[i, 2] + s * table[i, 3]))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def line_slopes(x: Any, start: Any, step: Any, bases: Any, table: Any) -> Any:
    """Derivatives of the spline, shape ``(n, 1)``."""
    out = np.empty((x.size, 1), dtype=x.dtype)
    # integers would promote float32 to float64
    one, two, three = x.dtype.type(1), x.dtype.type(2), x.dtype.type(3)
    for k in range(x.size):
        i = _slot(x[k], start, step, one, bases.size - 1)
        s = x[k] - bases[i]
        out[k, 0] = table[i, 1] + s * (two * table[i, 2] + (three * s) * table[i, 3])
    return out


def down_spline(x: Any, b: Any, m: int, numbers: Any, rows: Any) -> None:
    """The slope of a spline, a `Kernel`; the numbers are the first knot, the step, the last slot.

    ``rows``: by fours the base of each slot and the coefficients of powers 1 to 3.
    """
    real, start, step, last = type(x[0]), numbers[0], numbers[1], numbers[2]
    zero, one, two, three = real(0), real(1), real(2), real(3)
    slot = np.empty(m, np.int32)
    for j in range(m):
        place = (x[j] - start) / step + one
        place = place if place > zero else zero  # also for NaN
        slot[j] = np.int32(place if place < last else last)
    for j in range(m):
        i = np.uint64(slot[j])
        s = x[j] - rows[4 * i]
        b[j] -= rows[4 * i + 1] + s * (two * rows[4 * i + 2] + (three * s) * rows[4 * i + 3])
