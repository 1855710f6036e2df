"""Powers of 2 and e without branches, so that loops of kernels become vectors; a slope of them.

The slope is that of `Kernel`.
"""

from typing import Any

import numba
import numpy as np
from numba.extending import overload

import pdekit.compiling  # noqa: F401  (where kernels are kept)

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
# Products go into sums unrounded where the processor can. No sum here has two products to choose
# from, so that vectors and single numbers have the same bits.
_contracted = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
_f32, _u32, _f64, _u64 = np.float32, np.uint32, np.float64, np.uint64

# 2**r at Chebyshev nodes of |r| <= 1/2; relative error 2e-17 and 3e-9
_POWER_64 = (
    1.0,
    0.6931471805599453,
    0.24022650695910158,
    0.055504108664821625,
    0.009618129107587256,
    0.001333355814640647,
    0.00015403530463724353,
    1.5252733841556773e-05,
    1.3215432535912375e-06,
    1.0178057087733941e-07,
    7.074194297288521e-09,
    4.4558179083360645e-10,
)
_POWER_32 = (
    1.0,
    0.6931472067028326,
    0.24022650922288757,
    0.05550327226670302,
    0.009618056678524637,
    0.0013400428177615838,
    0.0001546144469856913,
)
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8, _P9, _P10, _P11 = _POWER_64
_p0, _p1, _p2, _p3, _p4, _p5, _p6 = (_f32(p) for p in _POWER_32)
# adding it rounds to an integer in the last bits
_WHOLE_64, _WHOLE_32 = 1.5 * 2.0**52, _f32(1.5 * 2.0**23)
_LEAST_64, _LEAST_32 = -1022.0, _f32(-126.0)
# log 2 in two pieces, the first short, so that whole multiples of it are exact (fdlibm, Cephes)
_HIGH_64, _LOW_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_HIGH_32, _LOW_32 = _f32(0.693359375), _f32(-2.12194440e-4)
_TURNS_64, _TURNS_32 = float(1 / np.log(2)), _f32(1 / np.log(2))
_LOWEST_64, _HIGHEST_64 = _LEAST_64 * float(np.log(2)), 1024 * float(np.log(2))
_LOWEST_32, _HIGHEST_32 = _f32(_LEAST_32 * np.log(2)), _f32(128 * np.log(2))


@_contracted
def _shifted_64(r, turns):
    """2**(r + k), |r| <= 1/2, k the whole number in the last bits of ``turns``."""
    high = _P6 + r * (_P7 + r * (_P8 + r * (_P9 + r * (_P10 + r * _P11))))
    value = _P0 + r * (_P1 + r * (_P2 + r * (_P3 + r * (_P4 + r * (_P5 + r * high)))))
    return value * _u64((_f64(turns).view(_u64) + _u64(1023)) << _u64(52)).view(_f64)


@_contracted
def _shifted_32(r, turns):
    """The same in float32."""
    value = _p0 + r * (_p1 + r * (_p2 + r * (_p3 + r * (_p4 + r * (_p5 + r * _p6)))))
    return value * _u32((_f32(turns).view(_u32) + _u32(127)) << _u32(23)).view(_f32)


@_contracted
def power_64(t):
    """2**t for t <= 0 to a unit in the last place, 2**-1022 beyond."""
    t = t if t > _LEAST_64 else _LEAST_64
    turns = t + _WHOLE_64
    return _shifted_64(t - (turns - _WHOLE_64), turns)


@_contracted
def power_32(t):
    """The same in float32, 2**-126 beyond."""
    t = t if t > _LEAST_32 else _LEAST_32
    turns = _f32(t + _WHOLE_32)
    return _shifted_32(t - (turns - _WHOLE_32), turns)


@_contracted
def exponential_64(v):
    """e**v to 2 units in the last place; 2**-1022 where it is less, infinite from e**709.5 on."""
    v = min(max(v, _LOWEST_64), _HIGHEST_64)
    turns = v * _TURNS_64 + _WHOLE_64
    k = turns - _WHOLE_64
    return _shifted_64(((v - k * _HIGH_64) - k * _LOW_64) * _TURNS_64, turns)


@_contracted
def exponential_32(v):
    """The same in float32, 2**-126 and e**88.4."""
    v = min(max(v, _LOWEST_32), _HIGHEST_32)
    turns = _f32(v * _TURNS_32 + _WHOLE_32)
    k = turns - _WHOLE_32
    return _shifted_32(((v - k * _HIGH_32) - k * _LOW_32) * _TURNS_32, turns)


def power(t: Any) -> Any:
    """2**t in the type of ``t``, t <= 0; the plain form of the compiled one."""
    return np.exp2(t)


@overload(power)
def _power_of_type(t):
    return (lambda t: power_32(t)) if t == numba.float32 else (lambda t: power_64(t))


def exponential(v: Any) -> Any:
    """e**v in the type of ``v``; the plain form of the compiled one."""
    return np.exp(v)


@overload(exponential)
def _exponential_of_type(v):
    return (lambda v: exponential_32(v)) if v == numba.float32 else (lambda v: exponential_64(v))


def down_muller_brown(points: Any, down: Any, m: int, numbers: Any, _rows: Any) -> None:
    """The slope of four terms A exp(a dx² + b dx dy + c dy²); A, a, b, c and the centre of each."""
    for j in range(0, m, 2):
        x, y = points[j], points[j + 1]
        p0, q0 = _slope_of_term(x, y, numbers, 0)
        p1, q1 = _slope_of_term(x, y, numbers, 6)
        p2, q2 = _slope_of_term(x, y, numbers, 12)
        p3, q3 = _slope_of_term(x, y, numbers, 18)
        down[j] -= ((p0 + p1) + p2) + p3
        down[j + 1] -= ((q0 + q1) + q2) + q3


@_compiled
def _slope_of_term(x, y, numbers, k):
    A, a, b, c = numbers[k], numbers[k + 1], numbers[k + 2], numbers[k + 3]
    dx, dy = x - numbers[k + 4], y - numbers[k + 5]
    e = A * exponential(a * dx * dx + b * dx * dy + c * dy * dy)
    return e * ((a + a) * dx + b * dy), e * (b * dx + (c + c) * dy)
