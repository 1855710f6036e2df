"""Splines on a uniform line in one pass over the points; the reference is ``splines._arrays``.

Arguments: points ``(n,)``, first knot, step, base of every slot, coefficients ``(slots, 4)``, all
of one floating type. NaN gives NaN.
"""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def _slot(x: Any, start: Any, step: Any, last: int) -> int:
    place = (x - start) / step + 1
    if not place > 0:
        return 0
    return last if place >= last else int(place)


@njit(cache=True, nogil=True, error_model="numpy")
def line_values(x: Any, start: Any, step: Any, bases: Any, table: Any) -> Any:
    """Values of the spline."""
    out = np.empty_like(x)
    for k in range(x.size):
        i = _slot(x[k], start, step, bases.size - 1)
        s = x[k] - bases[i]
        out[k] = table[i, 0] + s * (table[i, 1] + s * (table[i, 2] + s * table[i, 3]))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def line_slopes(x: Any, start: Any, step: Any, bases: Any, table: Any) -> Any:
    """Derivatives of the spline, shape ``(n, 1)``."""
    out = np.empty((x.size, 1), dtype=x.dtype)
    for k in range(x.size):
        i = _slot(x[k], start, step, bases.size - 1)
        s = x[k] - bases[i]
        out[k, 0] = table[i, 1] + s * (2 * table[i, 2] + (3 * s) * table[i, 3])
    return out
