"""Sampling without replacement, by Floyd's method (Bentley and Floyd 1987), row by row.

In the i-th of ``size`` draws a number up to ``count - size + i`` is drawn; if it was drawn already,
that upper bound is taken, which cannot have been drawn. All subsets are equally likely. The
reference is `pdekit.particles.dynamics.gradients.floyd`; the same numbers.
"""

import numba
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio


@_compiled
def floyd(u, count, out):
    """Rows of different numbers below ``count`` from rows of uniforms ``u``, both (rows, size)."""
    rows, size = u.shape
    slots = 4
    while slots < 4 * size:
        slots *= 2
    kept, owner = np.empty(slots, np.int64), np.full(slots, -1, np.int64)
    for r in range(rows):
        for i in range(size):
            last = count - size + i
            k = min(np.int64(u[r, i] * (last + 1)), last)
            if not _entered(kept, owner, r, k):
                k = last
                _entered(kept, owner, r, k)
            out[r, i] = k


@_compiled
def _entered(kept, owner, r, k):
    """Insert ``k`` into the hash table of row ``r``; returns whether it is new."""
    mask = len(kept) - 1
    place = np.int64((np.uint64(k) * _SPREAD) >> np.uint64(40)) & mask
    while owner[place] == r:
        if kept[place] == k:
            return False
        place = (place + 1) & mask
    owner[place], kept[place] = r, k
    return True
