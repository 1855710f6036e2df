"""Means of products of neurons that see normal numbers, by series of Hermite polynomials.

If G and G' are standard normals of correlation c then E f(G) g(G') = Σ_k f_k g_k c^k with
f_k = E f(G) He_k(G)/√k!. All by torch, in float64.
"""

from math import factorial, pi

import torch

Tensor = torch.Tensor

TERMS = 16


def above(z: Tensor, terms: int = TERMS) -> list[Tensor]:
    """E max(G - z, 0) He_k(G)/√k!, k = 0 to ``terms``: φ - zΦ(-z), Φ(-z), then φ He_(k-2)/√k!."""
    density, polynomials = torch.exp(-z * z / 2) / (2 * pi) ** 0.5, [torch.ones_like(z), z]
    for k in range(1, terms - 2):
        polynomials.append(z * polynomials[-1] - k * polynomials[-2])
    beyond = torch.special.ndtr(-z)
    found = [density - z * beyond, beyond, *(density * h for h in polynomials[: terms - 1])]
    return [a / factorial(k) ** 0.5 for k, a in enumerate(found)]


def pairs(seen: Tensor, coefficients: list[Tensor], variance: Tensor) -> tuple[Tensor, Tensor]:
    """Σ cov(f_i, f_j) over i ≠ j, f_i a function of <seen_i, x>, x ~ N(0, 1), and a bound of what
    the series leaves out.

    ``seen`` (n, d), ``coefficients`` of order 1, 2, ..., each (n,), ``variance`` of the f_i (n,).
    """
    unit = seen / torch.linalg.vector_norm(seen, dim=1, keepdim=True)
    c = (unit @ unit.T).fill_diagonal_(0)
    power, total = c, coefficients[0] @ (c @ coefficients[0])
    for a in coefficients[1:]:
        power = power * c
        total = total + a @ (power @ a)
    with torch.no_grad():
        left = (power.abs().sum(1) @ variance) * c.abs().max()
    return total, left
