"""Sine and cosine without branches, so that loops of kernels become vectors; slopes made of them.

The slopes are those of `Kernel`.
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

# fdlibm: pi/2 in three pieces, the first two of 33 bits, and the polynomials of its quarter turns
_P1, _P2, _P3 = 1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21
_S1, _S2, _S3 = -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04
_S4, _S5, _S6 = 2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10
_C1, _C2, _C3 = 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05
_C4, _C5, _C6 = -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11
_TURNS_64, _NEAREST_64 = 2 / np.pi, 1.5 * 2.0**52  # added, it rounds to a whole number

# the same of Cephes in single precision, the pieces of 8 and 11 bits
_p1, _p2, _p3 = _f32(1.5703125), _f32(4.837512969970703125e-4), _f32(7.54978995489188216e-8)
_s1, _s2, _s3 = _f32(-1.6666654611e-1), _f32(8.3321608736e-3), _f32(-1.9515295891e-4)
_c1, _c2, _c3 = _f32(4.166664568298827e-2), _f32(-1.388731625493765e-3), _f32(2.443315711809948e-5)
_TURNS_32, _NEAREST_32 = _f32(2 / np.pi), _f32(1.5 * 2.0**23)
_1, _HALF = _f32(1.0), _f32(0.5)


@_contracted
def sine_cosine_64(v):
    """For |v| <= 3e5 to a unit in the last place."""
    turns = v * _TURNS_64 + _NEAREST_64
    quarter, q = _f64(turns).view(_u64), turns - _NEAREST_64
    r = ((v - q * _P1) - q * _P2) - q * _P3
    z = r * r
    sine = r + r * (z * (_S1 + z * (_S2 + z * (_S3 + z * (_S4 + z * (_S5 + z * _S6))))))
    cosine = _C1 + z * (_C2 + z * (_C3 + z * (_C4 + z * (_C5 + z * _C6))))
    cosine = (1.0 - 0.5 * z) + z * z * cosine
    odd = (quarter & _u64(1)) != _u64(0)
    s, c = (cosine, sine) if odd else (sine, cosine)
    return (
        -s if quarter & _u64(2) else s,
        -c if (quarter + _u64(1)) & _u64(2) else c,
    )


@_contracted
def sine_cosine_32(v):
    """The same in float32, for |v| <= 1e4."""
    turns = _f32(v * _TURNS_32 + _NEAREST_32)
    quarter, q = _f32(turns).view(_u32), turns - _NEAREST_32
    r = ((v - q * _p1) - q * _p2) - q * _p3
    z = r * r
    sine = r + r * (z * (_s1 + z * (_s2 + z * _s3)))
    cosine = (_1 - _HALF * z) + z * z * (_c1 + z * (_c2 + z * _c3))
    odd = _u32(quarter & _u32(1)) != _u32(0)
    s, c = (cosine, sine) if odd else (sine, cosine)
    return (
        -s if _u32(quarter & _u32(2)) != _u32(0) else s,
        -c if _u32(_u32(quarter + _u32(1)) & _u32(2)) != _u32(0) else c,
    )


def sine_cosine(v: Any) -> Any:
    """In the type of ``v``, for |v| <= `near`; the plain form of the compiled one."""
    return np.sin(v), np.cos(v)


@overload(sine_cosine)
def _sine_cosine_of_type(v):
    return (lambda v: sine_cosine_32(v)) if v == numba.float32 else (lambda v: sine_cosine_64(v))


def near(v: Any) -> Any:
    """Largest argument of `sine_cosine` for the type of ``v``."""
    return type(v)(3e5 if v.itemsize == 8 else 1e4)


@overload(near)
def _near_of_type(v):
    limit = _f32(1e4) if v == numba.float32 else 3e5
    return lambda v: limit


def down_rippled(x: Any, b: Any, m: int, numbers: Any, _rows: Any) -> None:
    """The slope x / length - height sin(k x); the three are the numbers."""
    real, limit, far = type(x[0]), near(x[0]), False
    length, height, k = numbers[0], numbers[1], numbers[2]
    for j in range(m):
        far |= abs(k * x[j]) > limit
    if not far:
        for j in range(m):
            b[j] -= x[j] / length - height * sine_cosine(k * x[j])[0]
    else:
        for j in range(m):
            v = k * x[j]
            sine = real(np.sin(_f64(v))) if abs(v) > limit else sine_cosine(v)[0]
            b[j] -= x[j] / length - height * sine


def down_rough(x: Any, b: Any, m: int, numbers: Any, _rows: Any) -> None:
    """The slope 2 x r (r + x/δ cos x/δ), r = sin x/δ + 1/10; δ is the number."""
    real, limit, far = type(x[0]), near(x[0]), False
    two, tenth, delta = real(2), real(0.1), numbers[0]
    for j in range(m):
        far |= abs(x[j]) > limit * delta
    if not far:
        for j in range(m):
            phase = x[j] / delta
            sine, cosine = sine_cosine(phase)
            bracket = sine + tenth
            b[j] -= two * x[j] * bracket * (bracket + phase * cosine)
    else:
        for j in range(m):
            phase = x[j] / delta
            sine, cosine = sine_cosine(phase)
            if abs(x[j]) > limit * delta:
                sine, cosine = real(np.sin(_f64(phase))), real(np.cos(_f64(phase)))
            bracket = sine + tenth
            b[j] -= two * x[j] * bracket * (bracket + phase * cosine)
