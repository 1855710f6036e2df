"""Hamiltonians H(p), and H(x, p, t), as values, and their Legendre transforms, where known.

``H(p)`` maps gradients ``(..., d)`` to values ``(...)``, ``H.grad(p)`` to velocities
``(..., d)``. ``H.terms(d)`` is a tuple of ``Term``, one an axis, where H is a sum over the axes,
else None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from math import inf
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.differences import slopes
from pdekit.pde.hamiltonian_terms import Term as Term
from pdekit.pde.state_dependent import Advection as Advection
from pdekit.pde.state_dependent import StateDependent as StateDependent
from pdekit.pde.state_dependent import Sum as Sum
from pdekit.pde.state_dependent import Summed, coefficient_at, is_function


@runtime_checkable
class Hamiltonian(Protocol):
    """The interface for ``HamiltonJacobi``: values, gradients and, for a sum, its terms."""

    def __call__(self, p: Any) -> Any: ...

    def grad(self, p: Any) -> Any: ...

    def terms(self, dim: int) -> tuple[Term, ...] | None: ...


@dataclass(frozen=True)
class Power(Summed):
    """H(p) = sum_k scale_k |p_k|^a / a with a = ``exponent`` >= 1; ``Power(2)`` is |p|^2 / 2.

    L(v) = sum_k scale_k |v_k / scale_k|^b / b, 1/a + 1/b = 1; for a = 1, zero up to |v_k| =
    scale_k and infinite beyond. ``scale`` > 0, a number or one an axis. In the plane the axes add
    up: for the Euclidean norm use ``Eikonal``.
    """

    exponent: float = 2.0
    scale: Any = 1.0
    known: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not checks.number("Power: exponent", self.exponent) >= 1:
            raise ValueError(f"Power takes a finite exponent >= 1 (convex), got {self.exponent}")
        object.__setattr__(self, "scale", _positive(self.scale, "Power: scale"))

    def __call__(self, p: Any) -> Any:
        return (np.array(self.scale) * np.abs(p) ** self.exponent).sum(-1) / self.exponent

    def grad(self, p: Any) -> Any:
        return np.array(self.scale) * np.sign(p) * np.abs(p) ** (self.exponent - 1)

    def terms(self, dim: int) -> tuple[Term, ...]:
        return tuple(_power(self.exponent, c) for c in _each_axis(self.scale, dim, "Power"))

    def square_weights(self, dim: int) -> tuple[float, ...]:
        """``scale`` of every axis where the exponent is 2."""
        return tuple(_each_axis(self.scale, dim, "Power")) if self.exponent == 2 else ()


@dataclass(frozen=True)
class Quadratic(Summed):
    """H(p) = p·A p / 2 with A = ``matrix`` symmetric positive definite; rows as tuples.

    A sum over the axes where A is diagonal; its conjugate is v·A^-1 v / 2.
    """

    matrix: Any = ((1.0,),)
    known: ClassVar[bool] = True

    def __post_init__(self) -> None:
        a = np.atleast_2d(checks.finite("Quadratic: matrix", self.matrix, "a symmetric matrix"))
        if a.ndim != 2 or a.shape[0] != a.shape[1] or not np.allclose(a, a.T, rtol=1e-12):
            raise ValueError(f"Quadratic takes a symmetric matrix, got {self.matrix!r}")
        least = np.linalg.eigvalsh(a)[0]
        if not least > 0:
            raise ValueError(
                f"Quadratic takes a positive definite matrix, got the eigenvalue {least:.3g}; "
                "for another sign use Custom(function)"
            )
        object.__setattr__(self, "matrix", tuple(map(tuple, a.tolist())))

    def __call__(self, p: Any) -> Any:
        return np.einsum("...i,ij,...j->...", p, np.array(self.matrix), p) / 2

    def grad(self, p: Any) -> Any:
        return np.asarray(p) @ np.array(self.matrix)

    def terms(self, dim: int) -> tuple[Term, ...] | None:
        a = np.array(self.matrix)
        _require_dim("Quadratic", len(a), dim)
        if np.any(a != np.diag(np.diag(a))):
            return None
        return tuple(_power(2.0, float(c)) for c in np.diag(a))

    def square_weights(self, dim: int) -> tuple[float, ...]:
        """The diagonal of A where that is all of it."""
        diagonal = tuple(map(float, np.diag(np.array(self.matrix))))
        return diagonal if self.terms(dim) is not None else ()


@dataclass(frozen=True)
class Eikonal(Summed):
    """H(p) = speed |p| with the Euclidean norm: level sets move at ``speed`` along their normals.

    u(x, t) = min of f over the ball of radius speed * t (1-D: ``Power(1, speed)``). The ``speed``
    of place and time c(x, t) is a function of points ``(..., d) -> (...)`` or
    ``InTime(lambda x, t: ...)``, of any sign: u(x, t) is the least (where c < 0, the greatest) f
    that is reached from x at speeds up to |c|. A function is read at the cell centres: a jump of c
    between two of them is a jump at the face, which errs by O(h).
    """

    speed: Any = 1.0

    def __post_init__(self) -> None:
        what = "a number > 0, a function of points such as lambda x: 1 + x[..., 0]**2, or InTime"
        if not is_function("Eikonal: speed", self.speed, what):
            object.__setattr__(self, "speed", checks.positive("Eikonal: speed", self.speed))

    def __call__(self, p: Any, x: Any = None, t: float = 0.0) -> Any:
        return coefficient_at(self.speed, x, t) * np.sqrt((np.asarray(p) ** 2).sum(-1))

    def grad(self, p: Any, x: Any = None, t: float = 0.0) -> Any:
        size = np.sqrt((np.asarray(p) ** 2).sum(-1, keepdims=True))
        speed = np.asarray(coefficient_at(self.speed, x, t))[..., None]
        return speed * p / np.where(size > 0, size, 1.0)

    @property
    def known(self) -> bool:
        """Whether it is a formula of pdekit."""
        return not self.of_state

    @property
    def of_state(self) -> bool:
        """Whether the speed is a function."""
        return not isinstance(self.speed, float)

    @property
    def depends_on_time(self) -> bool:
        return checks.time_dependent(self.speed)

    @property
    def normal_speeds(self) -> tuple[Any, ...]:
        return (self.speed,)

    @property
    def steepest(self) -> float | None:
        """The largest |∂H/∂p_k|, and that H grows with every |p_k|; None where it is a function."""
        return None if self.of_state else self.speed

    def terms(self, dim: int) -> tuple[Term, ...] | None:
        return (_power(1.0, self.speed),) if dim == 1 and not self.of_state else None


@dataclass(frozen=True)
class Custom(Summed):
    """H(p) = ``function(p)``, convex or not, on gradients ``(..., dim)``.

    ``gradient`` maps ``(..., dim)`` to ``(..., dim)`` (None: central differences, their
    step that of ``potentials.Custom``). ``turns``: the
    slopes where H' changes sign (dim = 1; None: found by a scan of 4,097 slopes and bisection, so
    structure finer than that must be given). ``conjugate``: L on velocities ``(..., 1)``, for a
    convex H with dim = 1, finite for ``|v| <= reach``. All this is checked over the slopes of the
    data when an equation is solved (``ValueError``): that H depends on each slope alone, its
    gradient, convexity, the conjugate. Examples:
    ``Custom(lambda p: np.cos(p[..., 0]))``; ``Custom(lambda p: (p[..., 0]**2 - 1)**2 / 4)``.
    """

    function: Callable[[Any], Any]
    gradient: Callable[[Any], Any] | None = None
    turns: tuple[float, ...] | None = None
    convex: bool = False
    conjugate: Callable[[Any], Any] | None = None
    reach: float = inf
    dim: int = 1

    def __post_init__(self) -> None:
        for name in ("function", "gradient", "conjugate"):
            value = getattr(self, name)
            if not (callable(value) or (value is None and name != "function")):
                raise TypeError(f"Custom: {name} must be a function, got {value!r}")
        if checks.whole("Custom: dim", self.dim, 1) > 2:
            raise ValueError(f"Custom takes gradients of 1 or 2 coordinates, got dim={self.dim}")
        if self.conjugate is not None and not (self.convex and self.dim == 1):
            raise ValueError(
                "Custom: a conjugate gives the solution (Hopf-Lax) for a convex Hamiltonian of one "
                f"slope; got convex={self.convex}, dim={self.dim}"
            )
        if self.turns is not None:
            object.__setattr__(self, "turns", tuple(sorted(map(float, self.turns))))

    def __call__(self, p: Any) -> Any:
        values = np.asarray(self.function(np.asarray(p, dtype=float)), dtype=float)
        if values.shape != np.shape(p)[:-1]:
            raise ValueError(
                f"a Hamiltonian must map gradients of shape {np.shape(p)} to values of shape "
                f"{np.shape(p)[:-1]}, got {values.shape}; sum the coordinates or take p[..., 0]"
            )
        return _finite(values, p)

    def grad(self, p: Any) -> Any:
        if self.gradient is not None:
            return _finite(np.asarray(self.gradient(np.asarray(p, dtype=float))), p)
        return slopes(self, np.asarray(p, dtype=float))[0]

    def terms(self, dim: int) -> tuple[Term, ...] | None:
        _require_dim("Custom", self.dim, dim)
        return None if self.dim > 1 else (self._term,)

    @cached_property
    def _term(self) -> Term:
        return Term(
            lambda p: self(np.asarray(p)[..., None]),
            lambda p: self.grad(np.asarray(p)[..., None])[..., 0],
            self.turns,
            self.convex,
            None if self.conjugate is None else partial(_values, self.conjugate),
            self.reach,
        )


def _values(conjugate: Callable[[Any], Any], v: Any) -> Array:
    """L at velocities, as ``Custom`` takes it: of points (..., 1)."""
    velocities = np.asarray(v, dtype=float)[..., None]
    values: Array = np.asarray(conjugate(velocities), dtype=np.float64)
    if values.shape != velocities.shape[:-1]:
        raise ValueError(
            f"a conjugate must map velocities of shape {velocities.shape} to values of shape "
            f"{velocities.shape[:-1]}, got {values.shape}; take v[..., 0]"
        )
    return values


@dataclass(frozen=True)
class Separable(Summed):
    """H(p) = H_1(p_1) + H_2(p_2): one Hamiltonian of one slope an axis, in ``parts``."""

    parts: tuple[Hamiltonian, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple | list) or not self.parts:
            raise TypeError(
                f"Separable: parts must be a tuple of Hamiltonians, got {checks.shown(self.parts)}"
            )
        object.__setattr__(self, "parts", tuple(self.parts))
        for part in self.parts:
            require_hamiltonian(part)
            part.terms(1)

    def __call__(self, p: Any) -> Any:
        p = np.asarray(p)
        return sum(part(p[..., k : k + 1]) for k, part in enumerate(self.parts))

    def grad(self, p: Any) -> Any:
        p = np.asarray(p)
        return np.concatenate(
            [part.grad(p[..., k : k + 1]) for k, part in enumerate(self.parts)], axis=-1
        )

    @property
    def known(self) -> bool:
        """Whether all its parts are formulas of pdekit."""
        return all(checks.declared(part, "known") for part in self.parts)

    def terms(self, dim: int) -> tuple[Term, ...]:
        _require_dim("Separable", len(self.parts), dim)
        return tuple(term for part in self.parts for term in part.terms(1) or ())


@dataclass(frozen=True)
class Shifted:
    """H(m + p) on the line: H for the periodic part of u = m x + ... L(v) - m v."""

    hamiltonian: Hamiltonian
    mean: float

    def __call__(self, p: Any) -> Any:
        return self.hamiltonian(self.mean + np.asarray(p))

    def grad(self, p: Any) -> Any:
        return self.hamiltonian.grad(self.mean + np.asarray(p))

    @property
    def known(self) -> bool:
        """Whether it is a formula of pdekit."""
        return bool(checks.declared(self.hamiltonian, "known"))

    def terms(self, dim: int) -> tuple[Term, ...]:
        _require_dim("Shifted", 1, dim)
        return (self._term,)

    @cached_property
    def _term(self) -> Term:
        (term,), m = self.hamiltonian.terms(1) or (), self.mean
        conjugate = term.conjugate
        return Term(
            lambda p: term.value(m + p),
            lambda p: term.slope(m + p),
            None if term.turns is None else tuple(c - m for c in term.turns),
            term.convex,
            None if conjugate is None else (lambda v: conjugate(v) - m * v),
            term.reach,
        )


def require_hamiltonian(value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` is a Hamiltonian."""
    if isinstance(value, type) or not isinstance(value, Hamiltonian):
        raise TypeError(
            "hamiltonian must be a value of pdekit.hamiltonians, such as Power(4), Eikonal() or "
            f"Custom(lambda p: np.sin(p[..., 0])); got {value!r}"
        )


def square_weights(hamiltonian: Hamiltonian, dim: int) -> Array | None:
    """The weights a of H = sum_k a_k p_k^2 / 2, or None for any other H."""
    offered = checks.declared(hamiltonian, "square_weights")
    weights = offered(dim) if offered else ()
    return np.array(weights) if weights else None


def _power(a: float, c: float) -> Term:
    def value(p: Any) -> Any:
        return c * np.abs(p) ** a / a

    def slope(p: Any) -> Any:
        return c * np.sign(p) * np.abs(p) ** (a - 1)

    if a == 1:
        edge = c * (1 + 1e-12)
        return Term(value, slope, (0.0,), True, lambda v: np.where(np.abs(v) <= edge, 0.0, inf), c)
    b = a / (a - 1)
    return Term(value, slope, (0.0,), True, lambda v: c * np.abs(v / c) ** b / b)


def _positive(value: Any, what: str) -> tuple[float, ...]:
    given = checks.finite(what, value, "positive and finite")
    numbers = tuple(map(float, given.ravel()))
    if not numbers or given.ndim > 1 or min(numbers) <= 0:
        raise ValueError(f"{what} must be positive and finite, got {value!r}")
    return numbers


def _each_axis(numbers: tuple[float, ...], dim: int, owner: str) -> tuple[float, ...]:
    if len(numbers) == 1:
        return numbers * dim
    _require_dim(owner, len(numbers), dim)
    return numbers


def _require_dim(owner: str, got: int, dim: int) -> None:
    if got != dim:
        raise ValueError(
            f"{owner} takes gradients with {got} coordinate(s), but the grid has {dim}; give both "
            "the same dimension"
        )


def _finite(values: Array, p: Any) -> Array:
    bad = ~np.isfinite(values if values.shape == np.shape(p)[:-1] else values.sum(-1))
    if bad.any():
        raise ValueError(
            f"the Hamiltonian must be finite; at the gradient {np.asarray(p)[bad][0].tolist()} it "
            f"(or its derivative) is {values[bad].ravel()[0]}"
        )
    return values


HALF_SQUARE = Power(2.0)
"""|p|^2 / 2, the Hamiltonian of ``HamiltonJacobi()``."""
