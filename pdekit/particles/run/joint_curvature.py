"""The longest stable step of particles that interact, by Arnoldi's method on their joint drift.

What bounds a step h is each eigenvalue λ of -Db on R^{Nd}, b the drift of all particles together:
|R(hλ)| <= 1, R the stability polynomial of the integrator, 1 - z for Euler's steps. Products with
-Db move all particles at once, by one length. For a symmetric -Db, as of pair potentials, Ritz
values are bounds from below. Otherwise each is given the benefit of its residual r: no
number within r of it bounds the step less.
"""

from collections.abc import Callable
from math import inf

import numpy as np
import torch
from torch import Tensor

from pdekit.arrays import Array

EULER = (1.0, -1.0)  # coefficients of R for one gradient a step
_MOST = 30  # products at most
_SETTLED, _UNCHANGED = 0.003, 4  # relative change by this many products at which it ends
_SYMMETRIC = 0.02  # of H, tolerated difference of H and its transpose
_NOISE = {torch.float32: 1e-3}  # relative error of products by differences
_LITTLE = 1e-6  # the same in float64


def joint_rate(
    product: Callable[[Tensor], Tensor], v: Tensor, polynomial: tuple[float, ...] = EULER
) -> float:
    """2/h for the longest stable step h, from products with -Db and a first direction v (n, d)."""
    noise = _NOISE.get(v.dtype, _LITTLE)
    basis, H, rates = [v / v.norm()], np.zeros((_MOST + 1, _MOST)), [-inf] * _UNCHANGED
    for k in range(min(_MOST, v.numel())):
        w = product(basis[k]).nan_to_num(0.0, 0.0, 0.0)
        for _ in range(2):  # once more, for what rounding leaves
            for i, q in enumerate(basis):
                part = (q * w).sum()
                H[i, k] += float(part)
                w = w - part * q
        H[k + 1, k] = float(w.norm())
        rates.append(_rate(H[: k + 2, : k + 1], noise, polynomial))
        exhausted = H[k + 1, k] <= noise * np.abs(H).max()
        if exhausted or _settled(rates):
            break
        basis.append(w / w.norm())
    return max(rates[-1], 0.0)


def _settled(rates: list[float]) -> bool:
    now, before = rates[-1], rates[-1 - _UNCHANGED : -1]
    return all(abs(now - rate) <= _SETTLED * abs(now) for rate in before)


def _rate(H: Array, noise: float, polynomial: tuple[float, ...]) -> float:
    """Of a Hessenberg matrix (k + 1, k): the largest of its Ritz values."""
    square, beyond = H[:-1], H[-1, -1]
    size = np.abs(square).max()
    if np.abs(square - square.T).max() <= max(_SYMMETRIC, noise) * size:
        return float(np.linalg.eigvalsh((square + square.T) / 2)[-1])
    values, vectors = np.linalg.eig(square)
    residuals = beyond * np.abs(vectors[-1]) + noise * size
    return max(
        _within(complex(a), float(r), polynomial) for a, r in zip(values, residuals, strict=True)
    )


def _within(eigenvalue: complex, radius: float, polynomial: tuple[float, ...]) -> float:
    """At most the rate of any number this near: of the least modulus and angle among them."""
    size = abs(eigenvalue)
    if size <= radius:
        return 0.0
    angle = max(abs(np.angle(eigenvalue)) - np.arcsin(radius / size), 0.0)
    return rate_of((size - radius) * np.exp(1j * angle), polynomial)


def rate_of(eigenvalue: complex, polynomial: tuple[float, ...]) -> float:
    """2/h for the least h at which |R(hλ)| is 1 again; 0 for what grows by itself."""
    size = abs(eigenvalue)
    if eigenvalue.real <= 0:
        return 0.0
    powers = np.array(polynomial) * (eigenvalue / size) ** np.arange(len(polynomial))
    square = np.convolve(powers, powers.conj()).real  # |R|² - 1 has its 1 and -1 at h = 0
    roots = np.roots(square[:0:-1])
    steps = roots.real[(np.abs(roots.imag) < 1e-9 * np.abs(roots)) & (roots.real > 0)]
    return float(2 * size / steps.min())
