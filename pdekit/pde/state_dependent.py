"""Hamiltonians H(x, p, t) of place and time, and sums of Hamiltonians.

They are called as ``H(p, x, t)``: slopes and points ``(..., d)``, a time. ``of_state`` says that
they may need x and t, ``depends_on_time`` that they change in time. What the numerical Hamiltonian
of b·p + c|p| is made of, they declare: ``velocities`` b, ``normal_speeds`` c, and ``others``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.differences import STEP


class Summed:
    """``H + G`` of Hamiltonians."""

    def __add__(self, other: Any) -> Sum:
        if not hasattr(other, "terms"):
            return NotImplemented
        return Sum((*parts_of(self), *parts_of(other)))


@dataclass(frozen=True)
class Sum(Summed):
    """H_1 + H_2 + ..., made by ``+``: an upwind Hamiltonian of each is added to those of the rest.

    ``Advection`` and ``Eikonal`` parts are taken together: their velocities and their speeds add.
    """

    parts: tuple[Any, ...]
    of_state: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple) or not self.parts:
            raise TypeError(
                f"Sum: parts must be a tuple of Hamiltonians, got {checks.shown(self.parts)}"
            )
        for part in self.parts:
            what = "a value of pdekit.hamiltonians, such as Eikonal()"
            checks.has("a part of a Sum", part, what, "grad", "terms")

    def __call__(self, p: Any, x: Any = None, t: float = 0.0) -> Any:
        return sum(at_state(part, x, t)(p) for part in self.parts)

    def grad(self, p: Any, x: Any = None, t: float = 0.0) -> Any:
        return sum(at_state(part, x, t).grad(p) for part in self.parts)

    def terms(self, dim: int) -> None:
        """None: each part is discretised on its own."""
        for part in self.parts:
            part.terms(dim)

    @property
    def parts_of_sum(self) -> tuple[Any, ...]:
        """Its parts, for sums of sums."""
        return self.parts

    @property
    def depends_on_time(self) -> bool:
        return any(checks.declared(part, "depends_on_time") for part in self.parts)

    @property
    def velocities(self) -> tuple[Any, ...]:
        return _of(self.parts, "velocities")

    @property
    def normal_speeds(self) -> tuple[Any, ...]:
        return _of(self.parts, "normal_speeds")

    @property
    def others(self) -> tuple[Any, ...]:
        """The parts that are neither."""
        return tuple(
            part
            for part in self.parts
            if not (checks.declared(part, "velocities") or checks.declared(part, "normal_speeds"))
        )


@dataclass(frozen=True)
class Advection(Summed):
    """H(x, p, t) = b(x, t)·p: what u is, is carried along b. ``velocity``: b.

    A number (on a line) or one an axis; a function of points ``(..., d) -> (..., d)``; or
    ``InTime(lambda x, t: ...)``. A rotation: ``Advection(lambda x: np.stack([-x[..., 1],
    x[..., 0]], -1))``.
    """

    velocity: Any
    of_state: ClassVar[bool] = True

    def __post_init__(self) -> None:
        what = "a number, one an axis, a function of points such as lambda x: -x, or InTime"
        given = self.velocity
        if not is_function("Advection: velocity", given, what):
            numbers = np.atleast_1d(checks.finite("Advection: velocity", given, what))
            if numbers.ndim != 1 or numbers.size not in (1, 2):
                raise ValueError(f"Advection: velocity must be {what}; got {checks.shown(given)}")
            object.__setattr__(self, "velocity", tuple(map(float, numbers)))

    def __call__(self, p: Any, x: Any = None, t: float = 0.0) -> Any:
        return (self.grad(p, x, t) * np.asarray(p)).sum(-1)

    def grad(self, p: Any, x: Any = None, t: float = 0.0) -> Any:
        return np.broadcast_to(coefficient_at(self.velocity, x, t), np.shape(p))

    def terms(self, dim: int) -> None:
        """None: it depends on the place."""
        if isinstance(self.velocity, tuple) and len(self.velocity) != dim:
            raise ValueError(
                f"Advection: velocity has {len(self.velocity)} number(s), but the grid has {dim} "
                "dimension(s); give one an axis"
            )

    @property
    def depends_on_time(self) -> bool:
        return checks.time_dependent(self.velocity)

    @property
    def velocities(self) -> tuple[Any, ...]:
        return (self.velocity,)


@dataclass(frozen=True)
class StateDependent(Summed):
    """H(x, p, t) = ``function(x, p, t)``, convex or not: points and slopes ``(..., dim)``, a time.

    ``function(x, p)`` if it is fixed in time. ``gradient``: ∂H/∂p ``(..., dim)`` of the same
    arguments (None: central differences). The numerical Hamiltonian is Lax and Friedrichs' with the
    dissipation a_k of each cell at least |∂H/∂p_k|. ``speeds``: such bounds, a number, one an axis,
    or a function of the points (and the time, as ``function``) ``(..., dim)``, valid for all slopes
    up to the steepest of the solution: the scheme is then monotone, and compares exactly; a bound
    that the slopes met exceed is a ``ValueError``. None: they are found, cell by cell and step by
    step, between the one-sided slopes, which keeps steps stable, but samples: a derivative that is
    larger between these than at them is not seen. H must be finite at p = 0, the slope at a wall.

    Example: ``StateDependent(lambda x, p, t: (1 + t * x[..., 0]**2) * (p**2).sum(-1) / 2)``.
    """

    function: Callable[..., Any]
    gradient: Callable[..., Any] | None = None
    speeds: Any = None
    dim: int = 1
    of_state: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if checks.whole("StateDependent: dim", self.dim, 1) > 2:
            raise ValueError(f"StateDependent takes 1 or 2 dimensions, got dim={self.dim}")
        what = "a function of points and slopes, lambda x, p: ..., or of these and a time"
        checks.value_not_class("StateDependent: function", self.function)
        if not callable(self.function):
            raise TypeError(
                f"StateDependent: function must be {what}; got {checks.shown(self.function)}"
            )
        count = 2 + self.depends_on_time
        checks.takes("StateDependent: function", self.function, what, count)
        if self.gradient is not None:
            what = "a function of the same arguments as H, or None"
            if isinstance(self.gradient, type) or not callable(self.gradient):
                raise TypeError(
                    f"StateDependent: gradient must be {what}; got {checks.shown(self.gradient)}"
                )
            checks.takes("StateDependent: gradient", self.gradient, what, count)
        self._require_speeds(count)

    def _require_speeds(self, count: int) -> None:
        what = f"None, numbers >= 0 (1 or {self.dim}), or a function of the points"
        if self.speeds is None:
            return
        if callable(self.speeds):
            checks.takes("StateDependent: speeds", self.speeds, f"{what} (and time)", count - 1)
            return
        bounds = np.atleast_1d(checks.finite("StateDependent: speeds", self.speeds, what))
        if bounds.ndim != 1 or bounds.size not in (1, self.dim) or bounds.min() < 0:
            raise ValueError(
                f"StateDependent: speeds must be {what}; got {checks.shown(self.speeds)}"
            )
        object.__setattr__(self, "speeds", tuple(map(float, bounds)))

    @property
    def depends_on_time(self) -> bool:
        """Whether the function takes a time."""
        try:
            inspect.signature(self.function).bind(None, None, None)
        except (TypeError, ValueError):
            return False
        return True

    def _clock(self, t: float) -> tuple[float, ...]:
        return (t,) if self.depends_on_time else ()

    def __call__(self, p: Any, x: Any = None, t: float = 0.0) -> Any:
        p, x = np.asarray(p, dtype=float), np.asarray(x, dtype=float)
        values = _called("H(x, p, t)", self.function, x, p, *self._clock(t))
        if values.shape != p.shape[:-1]:
            raise ValueError(
                f"H(x, p, t) must map points and slopes of shape {p.shape} to values of shape "
                f"{p.shape[:-1]}, got {values.shape}; sum the coordinates or take p[..., 0]"
            )
        return _finite("H(x, p, t)", values, values, x, p, t)

    def grad(self, p: Any, x: Any = None, t: float = 0.0) -> Any:
        p, x = np.asarray(p, dtype=float), np.asarray(x, dtype=float)
        if self.gradient is None:
            return self._differences(p, x, t)
        values = _called("the gradient of H(x, p, t)", self.gradient, x, p, *self._clock(t))
        if values.shape != p.shape:
            raise ValueError(
                f"the gradient of H(x, p, t) must map points and slopes of shape {p.shape} to "
                f"∂H/∂p of the same shape, got {values.shape}"
            )
        return _finite("the gradient of H(x, p, t)", values, values.sum(-1), x, p, t)

    def _differences(self, p: Array, x: Array, t: float) -> Array:
        """Central differences, their step a share of the steepest slope."""
        step = STEP * (float(np.abs(p).max(initial=0.0)) or 1.0)
        sides = step * np.eye(p.shape[-1])
        rise = [self(p + side, x, t) - self(p - side, x, t) for side in sides]
        return np.asarray(np.stack(rise, -1) / (2 * step))

    def bounds(self, x: Array, t: float) -> Array | None:
        """``speeds`` at points (..., dim), None where they are to be found."""
        if self.speeds is None:
            return None
        values = np.asarray(self.speeds)
        if callable(self.speeds):
            values = _called("StateDependent: speeds", self.speeds, x, *self._clock(t))
        if (
            values.shape not in ((), (1,), (self.dim,), x.shape)
            or not ((values >= 0) & (values < inf)).all()
        ):
            raise ValueError(
                f"StateDependent: speeds must map points of shape {x.shape} to bounds >= 0 of the "
                f"same shape; got {checks.shown(values)}"
            )
        return np.broadcast_to(values, x.shape)

    def terms(self, dim: int) -> None:
        """None: it depends on the place."""
        if dim != self.dim:
            raise ValueError(
                f"StateDependent takes slopes with {self.dim} coordinate(s), but the grid has "
                f"{dim}; give both the same dimension"
            )

    @property
    def others(self) -> tuple[Any, ...]:
        return (self,)


def parts_of(hamiltonian: Any) -> tuple[Any, ...]:
    """The parts of a sum, or the Hamiltonian alone."""
    return tuple(checks.declared(hamiltonian, "parts_of_sum") or (hamiltonian,))


def at_state(hamiltonian: Any, x: Any, t: float) -> Any:
    """H(x, ., t), a function of slopes with ``grad``."""
    return AtState(hamiltonian, x, t) if checks.declared(hamiltonian, "of_state") else hamiltonian


@dataclass(frozen=True, eq=False)
class AtState:
    """H(x, ., t)."""

    hamiltonian: Any
    x: Any
    t: float

    def __call__(self, p: Any) -> Any:
        return self.hamiltonian(p, self._places(p), self.t)

    def grad(self, p: Any) -> Any:
        return self.hamiltonian.grad(p, self._places(p), self.t)

    def _places(self, p: Any) -> Any:
        return None if self.x is None else np.broadcast_to(self.x, np.shape(p))


def is_function(name: str, value: Any, what: str) -> bool:
    """Whether a coefficient is a function of points, or of points in time; else it is numbers."""
    checks.value_not_class(name, value)
    if checks.time_dependent(value):
        return True
    if callable(value):
        checks.takes(name, value, f"{what}(lambda x, t: ...) where it changes in time")
    return callable(value)


def coefficient_at(coefficient: Any, x: Any, t: float) -> Any:
    """A coefficient at points and a time."""
    if checks.time_dependent(coefficient):
        coefficient = coefficient.at(t)
    if not callable(coefficient):
        return np.asarray(coefficient)
    if x is None:
        raise TypeError("this Hamiltonian depends on the place: call it as H(p, x, t)")
    return np.asarray(coefficient(np.asarray(x, dtype=float)), dtype=float)


def _called(what: str, function: Callable[..., Any], *arguments: Any) -> Array:
    """Real values of a user's function of points (and slopes, and a time)."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(checks.numbers("its values", function(*arguments), kinds="biuf"))
    except Exception as error:
        shapes = " and ".join(str(np.shape(a)) for a in arguments if np.ndim(a))
        raise checks.failed(
            error,
            f"{what} must take arrays of shape {shapes}, coordinates on the last axis; got a "
            f"function that failed on them: {error} ({type(error).__name__})",
        ) from error


def _of(parts: tuple[Any, ...], fact: str) -> tuple[Any, ...]:
    return tuple(c for part in parts for c in checks.declared(part, fact) or ())


def _finite(what: str, out: Array, values: Array, x: Array, p: Array, t: float) -> Array:
    bad = ~np.isfinite(values)
    if bad.any():
        k = tuple(np.argwhere(bad)[0])
        at = np.broadcast_to(x, p.shape)[k]
        raise ValueError(
            f"{what} must be finite, got {out[k].tolist()} at x = {at.tolist()}, "
            f"p = {p[k].tolist()}, t = {t:g}. At p = 0 give its limit, or leave the gradient out"
        )
    return out
