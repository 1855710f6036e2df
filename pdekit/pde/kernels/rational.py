"""Rational approximations of exp: the best on the negative axis, and Radau's collocation."""

from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import polynomial as poly
from numpy.typing import NDArray

Complex = NDArray[np.complex128]


@lru_cache
def exponential_poles(
    order: int = 14,
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Poles z_k and residues c_k with exp(x) ≈ sum_k c_k / (x - z_k) for all x <= 0.

    The Carathéodory-Fejér construction: the Chebyshev expansion of exp(9 (s-1)/(s+1)) on the unit
    circle, the singular vectors of its Hankel matrix, and the poles they define outside the disc.
    The error falls by 9.29 per order (the "1/9" constant of Halphen); order 14 gives 1e-13.
    It holds on the axis alone: e^{iy} with y > 1 is missed by more than 4e-10, y = 6 by 7e-4.
    Source: Trefethen, Weideman and Schmelzer, Talbot quadratures and rational approximations
    (BIT 2006), section 4. The poles come in conjugate pairs; both halves are returned.
    """
    degree, points, scale = 75, 1024, 9.0
    w = np.exp(2j * np.pi * np.arange(points) / points)
    chebyshev = np.fft.fft(np.exp(scale * (w.real - 1) / (w.real + 1 + 1e-16))).real / points
    index = np.add.outer(np.arange(degree), np.arange(degree))
    hankel = np.where(index < degree, chebyshev[1 + np.minimum(index, degree - 1)], 0.0)
    left, singular, right = np.linalg.svd(hankel)
    u, v, s = left[::-1, order], right[order], singular[order]
    blaschke = np.fft.fft(u, points) / np.fft.fft(v, points)
    approximant = np.polyval(chebyshev[degree::-1], w) - s * w**degree * blaschke
    roots = np.roots(v)
    q = roots[np.abs(roots) > 1]
    numerator = np.fft.fft(approximant * np.polyval(np.poly(q), w)).real[order::-1] / points
    others = [np.poly(np.delete(q, k)) for k in range(order)]
    residues = np.array(
        [np.polyval(numerator, z) / np.polyval(p, z) for z, p in zip(q, others, strict=True)]
    )
    poles = scale * ((q - 1) / (q + 1)) ** 2
    residues = 4 * residues * poles / (q * q - 1)
    # exp(0) = 1 to rounding, so that constants and mass do not change by 1e-13 per sweep
    return poles, residues / (-residues / poles).sum().real


class Collocation(NamedTuple):
    """A step of Radau IIA: its rational function, and error bounds from its residual.

    With M the polynomial on [0, 1] whose zeros are the nodes, M(0) = 1, the polynomial v of the
    step solves v' - z v = -z w M, where w(z) = z^s / q(z) = 1 + sum_k stiff_k / (z - pole_k), and
    the error of the step is w(z) z ∫ e^((1-x) z) M(x) dx. ``once`` and ``twice`` are the bounds of
    that over w and over w²: see ``radau``. ``rounding`` is the rounding error of a step,
    half a unit times the sum of the terms at z = 0.
    """

    poles: Complex
    residues: Complex
    stiff: Complex
    once: float
    twice: float
    rounding: float


@lru_cache
def radau(stages: int) -> Collocation:
    """The subdiagonal Padé approximant p / q of degrees (s-1, s) as a sum over its poles.

    M = N^(s-1), N(x) a multiple of x^(s-1) (x-1)^s; p(z) = sum_j M^(j)(1) z^(s-j), and q(z) with
    M^(j)(0): order 2s - 1, bounded by one on the left half plane and zero at its end. Where e^z is
    a contraction so are all e^((1-x) z), and by parts

        z ∫ e^((1-x) z) M = e^z + ∫ e^((1-x) z) M'  (M(0) = 1, M(1) = 0)
        q(z) ∫ e^((1-x) z) N = e^z + ∫ e^((1-x) z) (q_0 N + ... + q_{s-1} N^(s-1) + M')

    so that error = w times the first = w² times the second is bounded by ``once`` = 1 + ∫|M'|
    times |w| and by ``twice`` = 1 + ∫|q_0 N + ... + M'| times |w²|. Source of the method: Hairer
    and Wanner, Solving Ordinary Differential Equations II, sections IV.3 and IV.5.
    """
    s = stages
    n = poly.polymul(poly.polypow([0, 1], s - 1), poly.polypow([-1, 1], s))
    derivatives = [n, *(poly.polyder(n, j) for j in range(1, 2 * s))]  # whole numbers, exact
    p, q = ([poly.polyval(x, d) for d in derivatives[: s - 2 : -1]] for x in (1.0, 0.0))
    slope = poly.polyder(q)
    poles: Complex = np.asarray(np.roots(q[::-1]), dtype=complex)
    for _ in range(4):  # Newton, exact but for the division: residues are large and cancel
        poles = poles - _exactly(q, poles) / _exactly(slope, poles)
    residues = _exactly(p, poles) / _exactly(slope, poles)
    stiff = q[s] * _exactly(np.eye(s + 1)[s], poles) / _exactly(slope, poles)
    residues = residues / (-residues / poles).sum().real  # exp(0) = 1 to rounding
    stiff = stiff / (stiff / poles).sum().real  # no mass in w
    x = np.linspace(0, 1, 20001)
    values = np.array([poly.polyval(x, d) for d in derivatives[: s + 1]]) / q[s]
    once, twice = (1 + float(np.abs(f).mean()) for f in (values[s], np.array(q) / q[s] @ values))
    rounding = 6e-17 * float(np.abs(residues / poles).sum())
    return Collocation(poles, residues, stiff, once, twice, rounding)


def _exactly(coefficients: Any, points: Complex) -> Complex:
    """A polynomial at complex points by rational arithmetic, rounded once."""
    out = []
    for z in points:
        x, y, real, imaginary = Fraction(z.real), Fraction(z.imag), Fraction(0), Fraction(0)
        for c in reversed(coefficients):
            real, imaginary = (
                real * x - imaginary * y + Fraction(float(c)),
                real * y + imaginary * x,
            )
        out.append(complex(real, imaginary))
    return np.array(out)
