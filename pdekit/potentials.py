"""Potentials: one definition each, for numpy arrays and torch tensors.

Coordinates sit on the last axis: ``V(x)`` maps ``(..., d)`` to ``(...)`` and ``V.grad(x)`` to
``(..., d)``, also for d = 1. Potentials are values: equal when they mean the same, hashable, and
``V + W`` is a potential. Nothing is checked for finiteness here; solvers say where a value is not.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from pdekit.fields import Potential, Sum, added, points, whole_dim
from pdekit.tabulated import Evolving, Tabulated

__all__ = [
    "Custom",
    "DoubleWell",
    "Evolving",
    "MullerBrown",
    "Potential",
    "Quadratic",
    "Rippled",
    "Rough",
    "SixHumpCamel",
    "Sum",
    "Tabulated",
    "as_potential",
]


@dataclass(frozen=True)
class Quadratic:
    """V(x) = xᵀAx / 2.

    ``curvature``: a number a (A = a I), a tuple of ``dim`` numbers (A diagonal), or a symmetric
    matrix; the last two fix ``dim``. Negative curvature is allowed (a hilltop).
    Raises ``ValueError`` for a matrix that is not square and symmetric, or a ``dim`` that differs.
    Good values: ``Quadratic()``, ``Quadratic((1.0, 4.0))``, ``Quadratic(((2, 0.3), (0.3, 1)))``.
    """

    curvature: Any = 1.0
    dim: int = 1

    __add__ = added

    def __post_init__(self) -> None:
        a = np.asarray(self.curvature, dtype=float)
        dim = whole_dim(self.dim, self)
        if a.ndim and dim not in (1, a.shape[0]):
            raise ValueError(f"Quadratic: curvature has {a.shape[0]} rows, but dim={dim}")
        if a.ndim > 2 or (a.ndim == 2 and (a.shape != a.T.shape or not np.array_equal(a, a.T))):
            raise ValueError(
                "Quadratic: curvature must be a number, one number per coordinate or a symmetric "
                f"matrix, got {self.curvature!r}"
            )
        object.__setattr__(self, "dim", a.shape[0] if a.ndim else dim)
        object.__setattr__(self, "curvature", _hashable(a))

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return _total(x * self._product(xp, x), xp) / 2

    def grad(self, x: Any) -> Any:
        return self._product(*points(x, self.dim, self))

    def _product(self, xp: Any, x: Any) -> Any:
        if isinstance(self.curvature, float):
            return self.curvature * x
        a = xp.asarray(self.curvature, dtype=x.dtype, device=device(x))
        return x @ a if a.ndim == 2 else x * a


@dataclass(frozen=True)
class DoubleWell:
    """V(x) = Σ (x_i² - 1)² / 4: wells at ±1 with V'' = 2, a barrier of 1/4 at 0 with V'' = -1."""

    dim: int = 1

    __add__ = added

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole_dim(self.dim, self))

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        well = x * x - 1
        return _total(well * well, xp) / 4

    def grad(self, x: Any) -> Any:
        _, x = points(x, self.dim, self)
        return x * (x * x - 1)


@dataclass(frozen=True)
class Rippled:
    """V(x) = Σ x_i²/10 + cos 3x_i: many wells; -8.8 <= V_ii <= 9.2 (MODEL 1.8)."""

    dim: int = 1

    __add__ = added

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole_dim(self.dim, self))

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return _total(x * x / 10 + xp.cos(3 * x), xp)

    def grad(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return x / 5 - 3 * xp.sin(3 * x)


@dataclass(frozen=True)
class SixHumpCamel:
    """V(x, y) = (4 - 2.1x² + x⁴/3)x² + xy + (4y² - 4)y² (MODEL 1.14).

    15 critical points; global minimum -1.0316284535 at ±(0.0898420131, -0.7126564030).
    A good box is [-2.5, 2.5] x [-1.5, 1.5].
    """

    dim: ClassVar[int] = 2

    __add__ = added

    def __call__(self, x: Any) -> Any:
        _, x = points(x, 2, self)
        x, y = x[..., 0], x[..., 1]
        a, b = x * x, y * y
        return (4 + a * (a / 3 - 2.1)) * a + x * y + 4 * (b - 1) * b

    def grad(self, x: Any) -> Any:
        xp, x = points(x, 2, self)
        x, y = x[..., 0], x[..., 1]
        a, b = x * x, y * y
        return xp.stack([x * (8 + a * (2 * a - 8.4)) + y, x + y * (16 * b - 8)], axis=-1)


@dataclass(frozen=True)
class MullerBrown:
    """V(x, y) = Σ_k A_k exp(a_k(x-x_k)² + b_k(x-x_k)(y-y_k) + c_k(y-y_k)²) (MODEL 1.14, errata 65).

    Three minima, -146.70, -108.17 and -80.77, and two saddles. The scale is hundreds: good inverse
    temperatures are 0.01 to 0.1; a good box is [-1.5, 1.2] x [-0.3, 2].
    """

    dim: ClassVar[int] = 2
    # A, a, b, c, x_k, y_k of each of the four terms
    wells: ClassVar[tuple[tuple[float, ...], ...]] = (
        (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
        (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
        (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
        (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
    )

    __add__ = added

    def __call__(self, x: Any) -> Any:
        return sum(e for e, _, _ in self._terms(*points(x, 2, self)))

    def grad(self, x: Any) -> Any:
        xp, x = points(x, 2, self)
        terms = list(self._terms(xp, x))
        return xp.stack([sum(e * p for e, p, _ in terms), sum(e * q for e, _, q in terms)], axis=-1)

    def _terms(self, xp: Any, x: Any) -> Any:
        """Each term of V, and the two derivatives of its exponent."""
        for A, a, b, c, x0, y0 in self.wells:
            dx, dy = x[..., 0] - x0, x[..., 1] - y0
            e = A * xp.exp(a * dx * dx + b * dx * dy + c * dy * dy)
            yield e, 2 * a * dx + b * dy, b * dx + 2 * c * dy


@dataclass(frozen=True)
class Rough:
    """V(x) = Σ (x_i sin(x_i/δ) + x_i/10)² (MODEL 1.14).

    Zero exactly where x_i = 0 or sin(x_i/δ) = -1/10: 638 global minimisers per coordinate in
    [-10, 10] for δ = 0.01. Its curvature is of order (x/δ)², so an explicit particle step needs
    ``dt`` below δ²/x² or a tamed drift (errata 19). Raises ``ValueError`` unless ``delta > 0``.
    """

    dim: int = 1
    delta: float = 0.01

    __add__ = added

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole_dim(self.dim, self))
        object.__setattr__(self, "delta", float(self.delta))
        if not self.delta > 0:
            raise ValueError(f"Rough: delta must be positive, got {self.delta}")

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        root = x * (xp.sin(x / self.delta) + 0.1)
        return _total(root * root, xp)

    def grad(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        phase = x / self.delta
        bracket = xp.sin(phase) + 0.1
        return 2 * x * bracket * (bracket + phase * xp.cos(phase))


@dataclass(frozen=True, init=False)
class Custom:
    """One's own V = f, with ``f`` mapping points ``(..., dim)`` to values ``(...)``.

    ``grad`` maps ``(..., dim)`` to ``(..., dim)``. Without it the gradient of f is taken

    * by torch autograd, where f is written so that it takes torch tensors (``x**2``, ``x.sin()``,
      ``array_api_compat``): exact to rounding, in float64 for numpy points;
    * else (f written with numpy) by central differences with step 6e-6 max(1, |x_i|), the cube root
      of the rounding unit, in float64 whatever the input: relative error about 1e-10.

    Points of the one library on an f written for the other are carried over and back, without a
    graph: right, but slow.
    Raises ``ValueError`` where f or grad returns another shape. Equal to another ``Custom`` only
    with the same function objects. Good values: ``Custom(lambda x: x[..., 0] ** 4)``.
    """

    f: Callable[[Any], Any]
    gradient: Callable[[Any], Any] | None
    dim: int

    __add__ = added

    def __init__(
        self,
        f: Callable[[Any], Any],
        grad: Callable[[Any], Any] | None = None,
        dim: int = 1,
    ) -> None:
        for name, function in (("f", f), ("grad", grad)):
            if not (callable(function) or (name == "grad" and function is None)):
                raise TypeError(f"Custom: {name} must be a function of points, got {function!r}")
        object.__setattr__(self, "f", f)
        object.__setattr__(self, "gradient", grad)
        object.__setattr__(self, "dim", whole_dim(dim, self))

    def __call__(self, x: Any) -> Any:
        _, x = points(x, self.dim, self)
        return self._values(x, _either(self.f, x))

    def grad(self, x: Any) -> Any:
        _, x = points(x, self.dim, self)
        if self.gradient is not None:
            return self._slopes(x, _either(self.gradient, x))
        exact = self._autograd(x)
        return self._differences(x) if exact is None else exact

    def _values(self, x: Any, values: Any) -> Any:
        """``values`` of f at ``x``, if they have the right shape."""
        values = _like(x, values)
        if tuple(values.shape) != tuple(x.shape[:-1]):
            hint = "; use x[..., 0]" if self.dim == 1 and values.shape == x.shape else ""
            raise ValueError(
                f"Custom: f must map points of shape {tuple(x.shape)} to values of shape "
                f"{tuple(x.shape[:-1])}, got shape {tuple(values.shape)}{hint}"
            )
        return values

    def _slopes(self, x: Any, slopes: Any) -> Any:
        slopes = _like(x, slopes)
        if tuple(slopes.shape) != tuple(x.shape):
            raise ValueError(
                f"Custom: grad must map points of shape {tuple(x.shape)} to the same shape, "
                f"got shape {tuple(slopes.shape)}"
            )
        return slopes

    def _autograd(self, x: Any) -> Any:
        """The gradient by torch, or None where f does not carry a torch graph."""
        import torch

        on_torch = is_torch_array(x)
        y = x if on_torch else torch.tensor(np.asarray(x, dtype=float))
        keep = bool(y.requires_grad)
        y = y if keep else y.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            try:
                values = self.f(y)
            # what a numpy function raises on a tensor is not foreseeable; a fault of f itself comes
            # up again, unhidden, in the central differences
            except Exception:
                return None
            if not (is_torch_array(values) and values.requires_grad):
                return None
            values = self._values(y, values)
            (slope,) = torch.autograd.grad(values.sum(), y, create_graph=keep)
        return slope if on_torch else slope.numpy().astype(x.dtype, copy=False)

    def _differences(self, x: Any) -> Any:
        y = _numpy(x).astype(float)
        slope = np.empty_like(y)
        for k in range(self.dim):
            step = np.finfo(float).eps ** (1 / 3) * np.maximum(1.0, np.abs(y[..., k]))
            right, left = y.copy(), y.copy()
            right[..., k] += step
            left[..., k] -= step
            # the step as rounded, not as meant
            width = right[..., k] - left[..., k]
            rise = self._values(right, self.f(right)) - self._values(left, self.f(left))
            slope[..., k] = rise / width
        return _like(x, slope)


def as_potential(value: Any, dim: int) -> Potential:
    """``value`` if it is a potential of dimension ``dim``; a bare function becomes ``Custom``.

    Raises ``ValueError`` for a potential of another dimension, ``TypeError`` for anything else.
    """
    if isinstance(value, Potential):
        if value.dim != dim:
            raise ValueError(f"expected a potential of dimension {dim}, got {value!r}: {value.dim}")
        return value
    if not callable(value):
        raise TypeError(f"expected a potential or a function of points (..., {dim}), got {value!r}")
    return Custom(value, dim=dim)


def _total(terms: Any, xp: Any) -> Any:
    """Sum over the coordinates: slices added where they are few, several times faster than sum."""
    if terms.shape[-1] > 4:
        return xp.sum(terms, axis=-1)
    total = terms[..., 0]
    for k in range(1, terms.shape[-1]):
        total = total + terms[..., k]
    return total


def _hashable(a: Any) -> Any:
    return tuple(_hashable(row) for row in a) if a.ndim else float(a)


def _either(function: Callable[[Any], Any], x: Any) -> Any:
    """``function(x)``, or through the other of numpy and torch where it is written for that one."""
    try:
        return function(x)
    except Exception as error:
        if not is_torch_array(x) and "torch" not in sys.modules:
            raise
        try:
            return function(_numpy(x) if is_torch_array(x) else sys.modules["torch"].from_numpy(x))
        except Exception:
            raise error from None


def _numpy(x: Any) -> Any:
    return x.detach().cpu().numpy() if is_torch_array(x) else np.asarray(x)


def _like(x: Any, values: Any) -> Any:
    """``values`` as an array of the library, dtype and device of ``x``."""
    if is_torch_array(values) and is_torch_array(x):
        return values.to(dtype=x.dtype, device=x.device)
    return array_namespace(x).asarray(_numpy(values), dtype=x.dtype, device=device(x))
