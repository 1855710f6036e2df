"""Exact sums of floating-point numbers, independent of the order.

A float64 is a whole number times a power of two, so a sum of them is a whole number of units
2**-1074. It is kept in 32-bit digits, one in an int64, which allows 2**31 additions before
digits must be carried (Neal 2015, "small superaccumulator"). Digits of two sums are added like
vectors: sums over tiles, threads and ranks are bitwise independent of their order.
"""

from fractions import Fraction
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

import pdekit.compiling  # noqa: F401  (where kernels are kept)

DIGITS = 68  # of 32 bits: all of float64 and 2**79 additions
_ROW = 64  # numbers first added in floating point; tiles begin at multiples of it

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64, _i64, _f64 = np.uint64, np.int64, np.float64
_LOW = _u64(0xFFFFFFFF)


@_compiled
def add_exactly(v, digits):
    """Add the finite number ``v`` to the sum with these ``digits``."""
    bits = _f64(v).view(_u64)
    exponent = (bits >> _u64(52)) & _u64(0x7FF)
    whole = bits & _u64(0xFFFFFFFFFFFFF)
    if exponent:
        whole |= _u64(1) << _u64(52)
        exponent -= _u64(1)
    place, shift = exponent >> _u64(5), exponent & _u64(31)
    sign = -1 if bits >> _u64(63) else 1
    high = whole >> (_u64(32) - shift)
    digits[place] += sign * _i64((whole << shift) & _LOW)
    digits[place + _u64(1)] += sign * _i64(high & _LOW)
    digits[place + _u64(2)] += sign * _i64(high >> _u64(32))


@_compiled
def carry(digits):
    """Digits between 0 and 2**32 - 1, but for the first, which has the sign."""
    for i in range(digits.size - 1):
        digits[i + 1] += digits[i] >> 32
        digits[i] &= 0xFFFFFFFF


@_compiled
def moment_sums(x, pairs, out):
    """Add to ``out[r]`` the sums of x_i, then of x_i x_j, over the particles of run r.

    x ``(runs, n, dim)``, pairs ``(m, 2)``, out ``(runs, dim + m, DIGITS)``. Rows of ``_ROW``
    particles are added with rounding, by halves, and rows exactly. Returns whether
    all sums were finite.
    """
    runs, n, dim = x.shape
    row, fine = np.empty(_ROW), True
    for r in range(runs):
        for q in range(dim + len(pairs)):
            for first in range(0, n, _ROW):
                m = min(_ROW, n - first)
                here = x[r, first : first + m]
                row[m:] = 0.0
                if q < dim:
                    for j in range(m):
                        row[j] = here[j, q]
                else:
                    a, b = pairs[q - dim]
                    for j in range(m):
                        row[j] = here[j, a] * here[j, b]
                width = _ROW // 2
                while width:
                    for j in range(width):
                        row[j] += row[j + width]
                    width //= 2
                if np.isfinite(row[0]):
                    add_exactly(row[0], out[r, q])
                else:
                    fine = False
            carry(out[r, q])
    return fine


def fraction(digits: NDArray[Any]) -> Fraction:
    """The sum that the digits hold."""
    total = sum(int(d) << 32 * i for i, d in enumerate(digits))
    return Fraction(total, 1 << 1074)
