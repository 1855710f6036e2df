"""Shift-and-invert Krylov spaces: exp(t A) u from powers of (I - γ A)^-1 on u.

Source: van den Eshof and Hochbruck, SIAM J. Sci. Comput. 27 (2006).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pdekit.arrays import Array
from pdekit.pde.kernels.sparse_lu import factorised

SHIFT = 0.1  # of the interval: near-optimal for tolerances of 1e-6 to 1e-10
LARGEST = 60  # vectors in a basis; an interval that needs more is divided
_EVERY = 4  # new vectors between two checks of the residual
_LOOKS, _HALVINGS = 32, 12  # equal steps at which the residual is evaluated; the first is halved


class Residual(NamedTuple):
    """Of the number g(s), s from 0 to 1, that the residual is in units of its vector."""

    mean: float  # ∫ |g|
    variation: float  # |g(0)| + |g(1)| + ∫ |g'|


def _residual(hessenberg: Array) -> tuple[Array, Residual]:
    """B, the interval times A, in the basis, and the residual of exp(s B) e_1, s from 0 to 1.

    From (I - γ A)^-1 V = V H + h v e_m^T follows
    B V - V R = h / γ (I - γ A) v e_m^T H^-1 with R = (I - H^-1) / γ, γ a share of the interval, so
    that V exp(s R) e_1 leaves the residual g(s) (I - γ A) v, g(s) = h / γ e_m^T H^-1 exp(s R) e_1.
    g is evaluated after 1, 2, 4, ... of the shortest steps, and then at equal ones.
    """
    from scipy.linalg import expm

    square = hessenberg[:-1]
    try:
        inverse = np.linalg.inv(square)
    except np.linalg.LinAlgError:  # γ so long that only the stationary part remains
        return square, Residual(np.inf, np.inf)
    rate = (np.eye(len(square)) - inverse) / SHIFT
    power = expm(rate / (_LOOKS << _HALVINGS))
    columns, at = [np.eye(len(square))[0]], [0.0]
    for k in range(_HALVINGS + 1):
        columns.append(power[:, 0])
        at.append(1 / (_LOOKS << (_HALVINGS - k)))
        if k < _HALVINGS:
            power = power @ power
    for k in range(2, _LOOKS + 1):
        columns.append(power @ columns[-1])
        at.append(k / _LOOKS)
    g = hessenberg[-1, -1] / SHIFT * (np.array(columns) @ inverse[-1])
    size = np.abs(g)
    mean = float(np.diff(at) @ np.maximum(size[1:], size[:-1]))
    variation = float(size[0] + size[-1] + np.abs(np.diff(g)).sum())
    return rate, Residual(mean, variation)


def exponential(
    resolvent: Callable[[Array], Array],
    u: Array,
    bound: Callable[[Array, Residual], float],
    allowed: float,
) -> tuple[Array | None, float, int]:
    """exp(step A) u, a bound on its error, and the number of solves; None if the largest basis

    leaves more than ``allowed``. ``resolvent`` is (I - γ A)^-1, γ = SHIFT * step; the residual at
    the share s of the step is g(s) (I - γ A) v, and ``bound`` says what error that brings.
    """
    from scipy.linalg import expm

    basis = np.empty((LARGEST + 1, u.size))
    hessenberg = np.zeros((LARGEST + 1, LARGEST))
    size = float(np.linalg.norm(u))
    if size == 0:
        return u, 0.0, 0
    basis[0] = u / size
    error = np.inf
    for m in range(1, LARGEST + 1):
        w = resolvent(basis[m - 1])
        for _ in range(2):  # Gram and Schmidt, twice
            part = basis[:m] @ w
            w = w - part @ basis[:m]
            hessenberg[:m, m - 1] += part
        hessenberg[m, m - 1] = np.linalg.norm(w)
        closed = hessenberg[m, m - 1] < 1e-14
        basis[m] = w / max(hessenberg[m, m - 1], 1e-300)
        if m % _EVERY == 0 or closed:
            with np.errstate(over="ignore", invalid="ignore"):  # of an insufficient basis
                rate, g = _residual(hessenberg[: m + 1, :m])
                error = size * bound(basis[m], g)
            if error <= allowed:
                return size * expm(rate)[:, 0] @ basis[:m], error, m
            if closed:
                break
    return None, error, m


class Resolvent:
    """(I - γ A)^-1 by sparse LU; the factors of the last γ are cached."""

    def __init__(self, matrix: Any) -> None:
        self.matrix, self.shift = matrix, np.nan
        self.lu: Any = None

    def solve(self, b: Array, shift: float) -> Array:
        if self.lu is None or abs(shift / self.shift - 1) > 1e-9:
            self.lu, self.shift = factorised(self.matrix, shift), shift
        out: Array = self.lu.solve(b)
        return out
