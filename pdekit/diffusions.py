"""Interpretation of multiplicative noise: Itô, Stratonovich or Hänggi-Klimontovich.

dX = b(X) dt + √(2/β) σ(X) · dB with D = σ σᵀ (σ the symmetric root) means three equations,
according to where in a step σ is evaluated: at its beginning, middle or end. In the density's
equation rho_t = -∇·(b rho) + β⁻¹ ∇·(...) the three read (mathematics 1.11, thesis remark 6.9
corrected)

    Itô                   ∇·(D rho)              the flux has the spurious drift -∇·D,
    Stratonovich          σ ∇·(σ rho)            -σ ∇·σ, half of ∇D where D is a number,
    Hänggi-Klimontovich   D ∇rho                 none: exp(-βV) stays stationary if b = -D ∇V,

with (∇·D)_i = Σ_j ∂_j D_ij. They differ by drifts of order β⁻¹, and agree where D is constant.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from pdekit import checks
from pdekit.arrays import Coefficient, Numbers
from pdekit.differences import slopes


@dataclass(frozen=True)
class Ito:
    """Noise evaluated at the beginning of a step; what a bare ``diffusion=D`` means.

    ``D``: a number, a (d, d) matrix, or a function of points ``(..., d)`` with values ``(...)`` or
    ``(..., d, d)``, symmetric and positive semidefinite, no unit; one that changes in time offers
    ``at(t)``, as a potential does.
    """

    D: float | Numbers | Coefficient
    share = 1.0  # of ∇D in the spurious drift where D is a number at every point

    def __post_init__(self) -> None:
        object.__setattr__(self, "D", _checked(self.D))

    def tensor(self, x: Any) -> Any:
        """D at points ``(..., d)`` as matrices ``(..., d, d)``, numpy and torch alike.

        Raises ``ValueError`` where the values have neither shape ``(...)`` nor ``(..., d, d)``.
        """
        checks.fixed("diffusion", self.D)
        xp, dim = array_namespace(x), x.shape[-1]
        D = xp.asarray(_values(self.D, x), dtype=x.dtype, device=device(x))
        if D.shape in (x.shape[:-1], ()):
            return D[..., None, None] * xp.eye(dim, dtype=x.dtype, device=device(x))
        if D.shape == (dim, dim):
            return xp.broadcast_to(D, (*x.shape, dim))
        if D.shape != (*x.shape, dim):
            raise ValueError(
                f"diffusion must map points of shape {tuple(x.shape)} to values of shape "
                f"{tuple(x.shape[:-1])} or {(*x.shape, dim)}, got shape {tuple(D.shape)}"
            )
        return D

    def correction(self, x: Any) -> Any:
        """beta times the drift that makes Itô's equation of this reading, shape of ``x``."""
        return x * 0


@dataclass(frozen=True)
class Stratonovich(Ito):
    """Noise evaluated in the middle of a step: the limit of smooth noises (Wong and Zakai)."""

    share = 0.5

    def correction(self, x: Any) -> Any:
        """Σ_jk σ_jk ∂_j σ_ik."""
        partials = list(derivatives(self.tensor, x))
        if x.shape[-1] == 1:  # half of D', where D vanishes too
            return partials[0][..., 0] / 2
        D = self.tensor(x)
        root, changes = _root(D), (_root_change(D, s) for s in partials)
        terms = [(s @ root[..., j, :, None])[..., 0] for j, s in enumerate(changes)]
        return sum(terms[1:], terms[0])


@dataclass(frozen=True)
class HaenggiKlimontovich(Ito):
    """Noise evaluated at the end of a step: Fick's law, flux -β⁻¹ D ∇rho."""

    share = 0.0

    def correction(self, x: Any) -> Any:
        """Σ_j ∂_j D_ij."""
        terms = [s[..., :, j] for j, s in enumerate(derivatives(self.tensor, x))]
        return sum(terms[1:], terms[0])


def as_diffusion(value: Any) -> Ito:
    """``value`` as a reading; bare numbers, matrices and functions are Itô's."""
    return value if isinstance(value, Ito) else Ito(1.0 if value is None else value)


def _values(D: Any, x: Any) -> Any:
    """D at points, real."""
    if not callable(D):
        return D
    try:
        values = D(x)
        complex_ = np.iscomplexobj(values) if not is_torch_array(values) else values.is_complex()
        if complex_ or isinstance(values, str):
            raise TypeError("its values are not real numbers")
    except Exception as error:
        raise checks.failed(
            error,
            f"diffusion must take points of shape {tuple(x.shape)}, got a function that fails on "
            f"them: {error} ({type(error).__name__})",
        ) from error
    return values


def _checked(value: Any) -> Any:
    """Numbers as floats and matrices as nested tuples (comparable), functions as they are."""
    what = (
        "a number, a square matrix or a function of points (..., d) with values (...) or "
        "(..., d, d)"
    )
    checks.value_not_class("diffusion", value)
    if checks.time_dependent(value):
        return value
    if callable(value):
        checks.takes("diffusion", value, what)
        return value
    matrix = checks.numbers("diffusion", value, what)
    if matrix.ndim not in (0, 2) or matrix.size == 0 or matrix.shape != matrix.shape[::-1]:
        raise TypeError(f"diffusion must be {what}; got {checks.shown(value)}")
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0):
        raise ValueError(f"diffusion must be finite and symmetric, got {checks.shown(value)}")
    lowest = float(matrix) if matrix.ndim == 0 else float(np.linalg.eigvalsh(matrix)[0])
    if lowest < -1e-12 * float(np.abs(matrix).max()) or not matrix.any():
        raise ValueError(
            "diffusion must be positive semidefinite and not zero; "
            f"its smallest eigenvalue is {lowest:g} for {checks.shown(value)}"
        )
    return float(matrix) if matrix.ndim == 0 else tuple(tuple(map(float, row)) for row in matrix)


def _root(matrix: Any) -> Any:
    """The symmetric root of symmetric matrices ``(..., d, d)``."""
    xp = array_namespace(matrix)
    if matrix.shape[-1] == 1:
        return xp.sqrt(matrix)
    if matrix.shape[-1] == 2:
        # Cayley and Hamilton: √A = (A + √det A) / √(tr A + 2 √det A)
        a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
        area = xp.sqrt(xp.clip(a * d - b * b, 0.0, None))
        length = xp.sqrt(a + d + 2 * area)
        one = xp.eye(2, dtype=matrix.dtype, device=device(matrix))
        scale = 1 / xp.where(length > 0, length, xp.ones_like(length))
        return (matrix + area[..., None, None] * one) * scale[..., None, None]
    values, vectors = xp.linalg.eigh(matrix)
    values = xp.clip(values, 0.0, None)  # of a singular matrix: negative by rounding
    return (vectors * xp.sqrt(values)[..., None, :]) @ xp.matrix_transpose(vectors)


def _root_change(matrix: Any, change: Any) -> Any:
    """The derivative of the symmetric root along ``change``, by differences of a relative step."""
    xp = array_namespace(matrix)
    size, speed = (xp.max(xp.abs(m), axis=(-2, -1)) for m in (matrix, change))
    still = (size == 0) | (speed == 0)
    step = xp.where(still, 0.0, _unit(matrix) ** (1 / 3) * size / xp.where(still, 1.0, speed))
    moved = change * step[..., None, None]
    rise = _root(matrix + moved) - _root(matrix - moved)
    return rise / (2 * xp.where(still, 1.0, step))[..., None, None]


def _unit(x: Any) -> float:
    return float(array_namespace(x).finfo(x.dtype).eps)


def derivatives(function: Any, x: Any) -> Iterator[Any]:
    """∂_k of a function of points along each coordinate k.

    On tensors exact, where torch can differentiate it; else by differences with an adaptive step.
    """
    d = x.shape[-1]
    exact = [_tangent(function, x, k) for k in range(d)] if is_torch_array(x) else [None]
    if all(change is not None for change in exact):
        yield from exact
        return
    slope = slopes(function, x)[0] if not is_torch_array(x) else _tensor_slopes(function, x)
    before = (slice(None),) * (x.ndim - 1)
    yield from (slope[(*before, k)] for k in range(d))


def _tangent(function: Any, x: Any, k: int) -> Any:
    """∂_k of a function of tensors by forward differentiation; None where its graph is lost."""
    import torch
    from torch.autograd import forward_ad

    if not torch.compiler.is_compiling():  # the first step never is
        _load_forward_differentiation()
    along = torch.zeros_like(x)
    along[..., k] = 1
    with forward_ad.dual_level():
        try:
            return forward_ad.unpack_dual(function(forward_ad.make_dual(x, along))).tangent
        except NotImplementedError:  # an operation without a derivative
            return None


@cache
def _load_forward_differentiation() -> None:
    """Its first use loads parts of torch that warn of being old."""
    import torch
    from torch.autograd import forward_ad

    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


def _tensor_slopes(function: Any, x: Any) -> Any:
    def on_numpy(y: Any) -> Any:
        return function(x.new_tensor(y).double()).cpu().numpy()

    return x.new_tensor(slopes(on_numpy, x.detach().cpu().double().numpy())[0])
