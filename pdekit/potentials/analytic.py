"""Potentials by formula: parabolas, wells, ripples and the landscapes of the papers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import device

from pdekit import checks
from pdekit.arrays import Numbers
from pdekit.potentials.algebra import Combinable
from pdekit.potentials.protocol import Kernel, points, whole_dim


@dataclass(frozen=True)
class Quadratic(Combinable):
    """V(x) = xᵀAx / 2.

    ``curvature``: a number a (A = a I), a tuple of ``dim`` numbers (A diagonal), or a symmetric
    matrix; the last two fix ``dim``. Negative curvature is allowed (a hilltop).
    Raises ``ValueError`` for a matrix that is not square and symmetric, or a ``dim`` that differs.
    Good values: ``Quadratic()``, ``Quadratic((1.0, 4.0))``, ``Quadratic(((2, 0.3), (0.3, 1)))``.
    """

    curvature: float | Numbers = 1.0
    dim: int = 1

    def __post_init__(self) -> None:
        what = "a number, one per coordinate or a symmetric matrix"
        a = checks.finite("Quadratic: curvature", self.curvature, what)
        dim = whole_dim(self.dim, self)
        if a.ndim and not a.size:
            raise ValueError(f"Quadratic: curvature must be {what}, got {self.curvature!r}")
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

    @property
    def kernel(self) -> Kernel | None:
        """Of each coordinate alone, unless the curvature is a matrix."""
        a = np.ravel(self.curvature).tolist()
        return Kernel(_down_quadratic, (len(a), *a)) if len(a) <= self.dim else None


def _down_quadratic(x: Any, b: Any, m: int, numbers: Any, _rows: Any) -> None:
    period = int(numbers[0])
    for k in range(period):
        a = numbers[1 + k]
        for j in range(k, m, period):
            b[j] -= a * x[j]


@dataclass(frozen=True)
class Linear(Combinable):
    """V(x) = slope · x: a tilt; ``V + Linear(h)`` adds the constant force -h.

    ``slope``: a number, the same along every coordinate, or a tuple of ``dim`` numbers, which fix
    ``dim``. Raises ``ValueError`` for numbers that are not finite or a ``dim`` that differs.
    """

    slope: Any = 1.0
    dim: int = 1

    def __post_init__(self) -> None:
        a = checks.finite("Linear: slope", self.slope, "a number or one per coordinate")
        dim = whole_dim(self.dim, self)
        if a.ndim > 1 or (a.ndim and (not a.size or dim not in (1, a.size))):
            raise ValueError(
                f"Linear: slope must be a number or one for each of {dim} coordinates, got "
                f"{checks.shown(self.slope)}"
            )
        object.__setattr__(self, "dim", a.size if a.ndim else dim)
        object.__setattr__(self, "slope", _hashable(a))

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return _total(x * self._slope(xp, x), xp)

    def grad(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return xp.zeros_like(x) + self._slope(xp, x)

    def _slope(self, xp: Any, x: Any) -> Any:
        if isinstance(self.slope, float):
            return self.slope
        return xp.asarray(self.slope, dtype=x.dtype, device=device(x))

    @property
    def kernel(self) -> Kernel | None:
        """Of each coordinate alone."""
        a = np.ravel(self.slope).tolist()
        return Kernel(_down_linear, (len(a), *a))


def _down_linear(_x: Any, b: Any, m: int, numbers: Any, _rows: Any) -> None:
    period = int(numbers[0])
    for k in range(period):
        a = numbers[1 + k]
        for j in range(k, m, period):
            b[j] -= a


@dataclass(frozen=True)
class Cosine(Combinable):
    """V(x) = Σ cos(k x_i), ripples of the wavelength 2π/k; ``h * Cosine(k)`` has the height h.

    Raises ``ValueError`` for a wavenumber k that is not finite. Explicit steps need dt h k² well
    below 1.
    """

    wavenumber: float = 1.0
    dim: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole_dim(self.dim, self))
        checks.parameters(self, wavenumber=checks.number)

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return _total(xp.cos(self.wavenumber * x), xp)

    def grad(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return -self.wavenumber * xp.sin(self.wavenumber * x)

    @property
    def kernel(self) -> Kernel:
        """Of each coordinate alone."""
        from pdekit.potentials.sine import down_rippled

        return Kernel(down_rippled, (np.inf, self.wavenumber, self.wavenumber))


@dataclass(frozen=True)
class DoubleWell(Combinable):
    """V(x) = Σ (x_i² - 1)² / 4: wells at ±1 with V'' = 2, a barrier of 1/4 at 0 with V'' = -1."""

    dim: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole_dim(self.dim, self))

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        well = x * x - 1
        return _total(well * well, xp) / 4

    def grad(self, x: Any) -> Any:
        _, x = points(x, self.dim, self)
        return x * (x * x - 1)

    @property
    def kernel(self) -> Kernel:
        """Of each coordinate alone."""
        return Kernel(_down_well)


def _down_well(x: Any, b: Any, m: int, _numbers: Any, _rows: Any) -> None:
    one = type(x[0])(1)
    for j in range(m):
        b[j] -= x[j] * (x[j] * x[j] - one)


@dataclass(frozen=True)
class Rippled(Combinable):
    """V(x) = Σ x_i²/10 + cos 3x_i: many wells; -8.8 <= V_ii <= 9.2 (mathematics 1.8)."""

    dim: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole_dim(self.dim, self))

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return _total(x * x / 10 + xp.cos(3 * x), xp)

    def grad(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        return x / 5 - 3 * xp.sin(3 * x)

    @property
    def kernel(self) -> Kernel:
        """Of each coordinate alone."""
        from pdekit.potentials.sine import down_rippled

        return Kernel(down_rippled, (5.0, 3.0, 3.0))


@dataclass(frozen=True)
class SixHumpCamel(Combinable):
    """V(x, y) = (4 - 2.1x² + x⁴/3)x² + xy + (4y² - 4)y² (mathematics 1.14).

    15 critical points; global minimum -1.0316284535 at ±(0.0898420131, -0.7126564030).
    A good box is [-2.5, 2.5] x [-1.5, 1.5].
    """

    dim: ClassVar[int] = 2

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

    @property
    def kernel(self) -> Kernel:
        """Of the point (x, y)."""
        return Kernel(_down_camel)


def _down_camel(points: Any, down: Any, m: int, _numbers: Any, _rows: Any) -> None:
    real = type(points[0])
    two, steep, eight, sixteen = real(2), real(8.4), real(8), real(16)
    for j in range(0, m, 2):
        x, y = points[j], points[j + 1]
        a, b = x * x, y * y
        down[j] -= x * (eight + a * (two * a - steep)) + y
        down[j + 1] -= x + y * (sixteen * b - eight)


@dataclass(frozen=True)
class MullerBrown(Combinable):
    """V(x, y) = Σ_k A_k exp(a_k(x-x_k)² + b_k(x-x_k)(y-y_k) + c_k(y-y_k)²) (mathematics 1.14,
    errata 65).

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

    @property
    def kernel(self) -> Kernel:
        """Of the point (x, y)."""
        from pdekit.potentials.exponential import down_muller_brown

        return Kernel(down_muller_brown, sum(self.wells, ()))


@dataclass(frozen=True)
class Rough(Combinable):
    """V(x) = Σ (x_i sin(x_i/δ) + x_i/10)² (mathematics 1.14).

    Zero exactly where x_i = 0 or sin(x_i/δ) = -1/10: 638 global minimisers per coordinate in
    [-10, 10] for δ = 0.01. Its curvature is of order (x/δ)², so an explicit particle step needs
    ``dt`` below δ²/x² or a tamed drift (errata 19). Raises ``ValueError`` unless ``delta > 0``.
    """

    dim: int = 1
    delta: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", whole_dim(self.dim, self))
        object.__setattr__(self, "delta", checks.positive("Rough: delta", self.delta))

    def __call__(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        root = x * (xp.sin(x / self.delta) + 0.1)
        return _total(root * root, xp)

    def grad(self, x: Any) -> Any:
        xp, x = points(x, self.dim, self)
        phase = x / self.delta
        bracket = xp.sin(phase) + 0.1
        return 2 * x * bracket * (bracket + phase * xp.cos(phase))

    @property
    def kernel(self) -> Kernel:
        """Of each coordinate alone."""
        from pdekit.potentials.sine import down_rough

        return Kernel(down_rough, (self.delta,))


def _total(terms: Any, xp: Any) -> Any:
    """Sum over the coordinates: few slices are added, several times faster than sum."""
    if terms.shape[-1] > 4:
        return xp.sum(terms, axis=-1)
    total = terms[..., 0]
    for k in range(1, terms.shape[-1]):
        total = total + terms[..., k]
    return total


def _hashable(a: Any) -> Any:
    return tuple(_hashable(row) for row in a) if a.ndim else float(a)
