"""The algebra of potentials: sums, multiples and shifts; functions as potentials."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import device

from pdekit import checks
from pdekit.potentials.functions import FOR_NUMPY, evaluated, is_in, like
from pdekit.potentials.gradients import autograd, by_differences
from pdekit.potentials.protocol import Kernel, Potential, kernels_of, points, time_of, whole_dim


class Combinable:
    """The algebra of potentials: ``V + W``, ``V - W``, ``c * V``, ``V / c``, ``-V``, shifts.

    The results are accepted wherever a potential is, constant or time-dependent. User-defined
    potentials inherit them, or are combined with one that does: ``Sum`` and ``Scaled`` accept any.
    0 may be added, so that ``sum([V, W])`` is ``V + W``. Raises ``TypeError`` for other numbers,
    and for what is neither a potential nor a function of points.
    """

    __array_ufunc__ = None  # numbers of numpy leave the product to the potential

    def __add__(self, other: Any) -> Any:
        return self if _is_zero(other) else Sum((self, _added(other)))

    def __radd__(self, other: Any) -> Any:
        return self if _is_zero(other) else Sum((_added(other), self))

    def __sub__(self, other: Any) -> Any:
        if _is_zero(other):
            return self
        return Sum((self, _scaled(_as_term(_added(other), getattr(self, "dim", None)), -1.0)))

    def __rsub__(self, other: Any) -> Any:
        return _scaled(self, -1.0).__radd__(other)

    def __mul__(self, factor: Any) -> Any:
        return _scaled(self, factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Any:
        return _scaled(self, 1 / checks.nonzero("what a potential is divided by", divisor))

    def __neg__(self) -> Any:
        return _scaled(self, -1.0)

    def shifted(self, by: Any) -> Any:
        """x -> V(x - by), V moved by a number in every coordinate or by one for each."""
        return _scaled(self, 1.0, by)


class _Combination(Combinable, ABC):
    """What sums and multiples have in common: they move if a part of them is time-dependent."""

    @property
    @abstractmethod
    def _parts(self) -> tuple[Any, ...]:
        """The potentials that it is made of."""

    @abstractmethod
    def _with(self, parts: tuple[Any, ...]) -> Any:
        """The same of other parts."""

    @abstractmethod
    def _value(self, x: Any) -> Any:
        """V(x), of parts that are constant in time."""

    @abstractmethod
    def _slope(self, x: Any) -> Any:
        """Its gradient."""

    def __call__(self, x: Any, t: float | None = None) -> Any:
        return self._at(time_of(self, t))(x) if checks.time_dependent(self) else self._value(x)

    def grad(self, x: Any, t: float | None = None) -> Any:
        """Gradient in x, at time t where a part moves, shape ``(..., d)``."""
        return self._at(time_of(self, t)).grad(x) if checks.time_dependent(self) else self._slope(x)

    @property
    def dim(self) -> int:
        """Number of coordinates, if a part determines it."""
        known = [part.dim for part in self._parts if getattr(part, "dim", None) is not None]
        if not known:
            raise AttributeError(f"no part of this {type(self).__name__} has a dimension")
        return int(known[0])

    @property
    def at(self) -> Callable[[float], Any]:
        """t -> its value at time t; only if a part is time-dependent."""
        if not any(map(checks.time_dependent, self._parts)):
            raise AttributeError(f"this {type(self).__name__} does not change in time")
        return self._at

    def _at(self, t: float) -> Any:
        dim = getattr(self, "dim", None)
        return self._with(tuple(_at_time(part, t, dim) for part in self._parts))

    @property
    def times(self) -> tuple[float, ...]:
        """The stored times of all parts, in order."""
        return tuple(sorted({float(t) for part in self._parts for t in getattr(part, "times", ())}))


@dataclass(frozen=True)
class Sum(_Combination):
    """V(x) = V_1(x) + ... + V_k(x), the potentials in ``terms``; written ``V + W``.

    A term may be a function of points, which becomes ``Custom``, and may move: with one that offers
    ``at(t)`` the sum offers it too, and is evaluated as V(x, t). Sums in a sum are taken apart.
    Sums are equal if they have the same terms in the same order, which is that of the rounding.
    Raises ``ValueError`` for no terms or terms of different dimension, ``TypeError``
    for any other term.
    """

    terms: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.terms, tuple | list):
            raise TypeError(f"Sum expects a tuple of potentials, got {checks.shown(self.terms)}")
        if not self.terms:
            raise ValueError("Sum expects at least one potential, got none")
        terms = [part for term in self.terms for part in terms_of(term)]
        dims = [term.dim for term in terms if isinstance(getattr(term, "dim", None), int)]
        if len(set(dims)) > 1:
            raise ValueError(f"Sum expects terms of one dimension, got {dims}")
        dim = dims[0] if dims else None
        object.__setattr__(self, "terms", tuple(_as_term(term, dim) for term in terms))

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self.terms

    def _with(self, parts: tuple[Any, ...]) -> Sum:
        return Sum(parts)

    def _value(self, x: Any) -> Any:
        first, *rest = self.terms
        return sum((term(x) for term in rest), first(x))

    def _slope(self, x: Any) -> Any:
        first, *rest = self.terms
        return sum((term.grad(x) for term in rest), first.grad(x))

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Those of all the terms; none where one has none."""
        each = [kernels_of(term) for term in self.terms]
        return sum(each, ()) if all(each) else ()


@dataclass(frozen=True)
class Scaled(_Combination):
    """factor V(x - shift): the type of ``factor * V`` and ``V.shifted(shift)``.

    ``shift``: a number for every coordinate, or a tuple of one for each. One of a ``Scaled`` is
    made one; where V offers ``at(t)``, so does this. A V that moves need not have ``dim``.
    Raises ``TypeError`` for what is no potential, ``ValueError`` for numbers that are not finite or
    for a shift of another dimension.
    """

    potential: Any
    factor: float = 1.0
    shift: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        V, factor = self.potential, checks.number("a factor of a potential", self.factor)
        shift = checks.finite("shift", self.shift, "a number or one for each coordinate")
        if _is_plain(V, Scaled):
            with np.errstate(over="ignore"):  # refused below
                V, factor, shift = V.potential, factor * V.factor, shift + np.asarray(V.shift)
            factor = checks.number("a factor of factors of a potential", factor)
            shift = checks.finite("a shift of shifts", shift, "finite")
        object.__setattr__(self, "potential", _as_term(V, None))
        object.__setattr__(self, "factor", float(factor))
        object.__setattr__(self, "shift", _one_or_each(shift, getattr(V, "dim", None)))

    @property
    def _parts(self) -> tuple[Any, ...]:
        return (self.potential,)

    def _with(self, parts: tuple[Any, ...]) -> Any:
        return _scaled(parts[0], self.factor, self.shift)

    def _value(self, x: Any) -> Any:
        return self.factor * self.potential(self._place(x))

    def _slope(self, x: Any) -> Any:
        return self.factor * self.potential.grad(self._place(x))

    @property
    def dim(self) -> int:
        """Number of coordinates, if V or the shift determines it."""
        return len(self.shift) if isinstance(self.shift, tuple) else super().dim

    def _place(self, x: Any) -> Any:
        """x - shift."""
        if self.shift == 0:
            return x
        dim = getattr(self, "dim", None)
        xp, x = points(x, _last(x) if dim is None else dim, self)
        if isinstance(self.shift, float):
            return x - self.shift
        return x - xp.asarray(self.shift, dtype=x.dtype, device=device(x))

    @property
    def kernel(self) -> Kernel | None:
        """That of V, if it is one of neither factor nor shift."""
        made = kernels_of(self.potential)
        if [(k.factor, k.shift) for k in made] != [(1, 0)]:
            return None
        return made[0]._replace(factor=self.factor, shift=self.shift)


def _is_zero(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return bool(number and value == 0)


def _added(value: Any) -> Any:
    """``value``, or an error where it is nothing that potentials are added to."""
    checks.value_not_class("a term of a sum", value)
    if not (callable(value) or checks.time_dependent(value)):
        raise TypeError(
            "a potential or a function of points is expected to be added to a potential, got "
            f"{checks.shown(value)}; a constant c is the function lambda x: c + 0 * x[..., 0]"
        )
    return value


def _scaled(potential: Any, factor: Any, shift: Any = 0.0) -> Any:
    """factor V(x - shift): V itself where that changes nothing, a sum term by term."""
    if _is_plain(potential, Sum):
        return Sum(tuple(_scaled(term, factor, shift) for term in potential.terms))
    made = Scaled(potential, factor, shift)
    return made.potential if (made.factor, made.shift) == (1.0, 0.0) else made


def _one_or_each(shift: Any, dim: int | None) -> float | tuple[float, ...]:
    if shift.ndim > 1 or (shift.ndim and dim not in (None, shift.size)):
        raise ValueError(
            f"shift must be a number or one for each of {dim} coordinates, got "
            f"{checks.shown(shift)}"
        )
    each = [float(by) for by in shift.reshape(-1)]
    return each[0] if len(set(each)) == 1 else tuple(each)


@dataclass(frozen=True, init=False)
class Custom(Combinable):
    """A user-defined V = f, with ``f`` mapping points ``(..., dim)`` to values ``(...)``.

    ``grad`` maps ``(..., dim)`` to ``(..., dim)``. Without it the gradient of f is taken

    * by torch autograd, where f is written so that it takes torch tensors (``x**2``, ``x.sin()``,
      ``array_api_compat``): exact to rounding, in float64 for numpy points;
    * else (f written with numpy) by central differences with step 6e-6 max(1, |x_i|), the cube root
      of the rounding unit, in float64 whatever the input: relative error about 1e-10. Two more
      steps are tried at some of the points; where they disagree, f varies on other
      scales, and each point gets the step with the best agreement. An ``AccuracyWarning`` is
      given if that leaves less than five digits, as at jumps of f. Points of one library are
      converted for an f written for the other, without an autograd graph: correct, but slow.

    However the slope is found, particles do not feel jumps of f: ``simulate`` looks for them by
    bisection between places that particles reach, and gives an ``AccuracyWarning``. Raises
    ``ValueError`` where f or grad returns another shape; ``solve`` and ``simulate`` raise it
    where the value at a point depends on the other points, or grad is not the gradient of f. Equal
    to another ``Custom`` only with the same function objects. Good values:
    ``Custom(lambda x: x[..., 0] ** 4)``.
    """

    f: Callable[[Any], Any]
    gradient: Callable[[Any], Any] | None
    dim: int

    def __init__(
        self,
        f: Callable[[Any], Any],
        grad: Callable[[Any], Any] | None = None,
        dim: int = 1,
    ) -> None:
        for name, function in (("f", f), ("grad", grad)):
            if not (name == "grad" and function is None):
                checks.function(f"Custom: {name}", function, "be a function of points (..., d)")
                checks.fixed(f"Custom: {name}", function)
                checks.takes(f"Custom: {name}", function, "a function of points (..., d)")
        object.__setattr__(self, "f", f)
        object.__setattr__(self, "gradient", grad)
        object.__setattr__(self, "dim", whole_dim(dim, self))

    def __call__(self, x: Any) -> Any:
        _, x = points(x, self.dim, self)
        return self._at(x)

    def grad(self, x: Any) -> Any:
        _, x = points(x, self.dim, self)
        if self.gradient is not None:
            return self._slopes(x, evaluated("grad", self.gradient, x))
        exact = None if is_in(self.f, FOR_NUMPY) else autograd(self.f, x, self._values)
        return by_differences(self.f, x, self._at) if exact is None else exact

    @property
    def users_gradient(self) -> Any:
        """``grad`` as given, None for none."""
        return self.gradient

    def _values(self, x: Any, values: Any) -> Any:
        """Check the shape of ``values`` of f at ``x``."""
        values = like(x, values)
        if self.dim == 1 and tuple(values.shape) == tuple(x.shape):
            values = values[..., 0]  # lambda x: x**2 of points (..., 1)
        if tuple(values.shape) != tuple(x.shape[:-1]):
            hint = "; sum over the coordinates, as in lambda x: (x**2).sum(-1)"
            raise ValueError(
                f"Custom: f must map points of shape {tuple(x.shape)} to values of shape "
                f"{tuple(x.shape[:-1])}, got shape {tuple(values.shape)}{hint}"
            )
        return values

    def _slopes(self, x: Any, slopes: Any) -> Any:
        slopes = like(x, slopes)
        if tuple(slopes.shape) != tuple(x.shape):
            raise ValueError(
                f"Custom: grad must map points of shape {tuple(x.shape)} to the same shape, "
                f"got shape {tuple(slopes.shape)}"
            )
        return slopes

    def _at(self, y: Any) -> Any:
        return self._values(y, evaluated("f", self.f, y))


def _as_term(term: Any, dim: int | None) -> Any:
    """A term of a sum of ``dim`` coordinates: a potential, or a function made one."""
    checks.value_not_class("a term of a sum", term)
    if isinstance(term, Potential | _Combination | _AnyDim) or checks.time_dependent(term):
        return term
    if not callable(term) or dim is None:
        raise TypeError(
            "sums and multiples are of potentials, at least one with a dimension; got "
            f"{checks.shown(term)}: wrap a function as Custom(f)"
        )
    return Custom(term, getattr(term, "grad", None), dim)


@dataclass(frozen=True)
class _AnyDim(Combinable):
    """A function of points of any dimension: at a time, a moving potential without ``dim``."""

    f: Callable[[Any], Any]

    def __post_init__(self) -> None:
        what = "map points (..., d) to values (...)"
        checks.function("what at(t) of a moving potential returns", self.f, what)

    def __call__(self, x: Any) -> Any:
        return self.of(x)(x)

    def grad(self, x: Any) -> Any:
        return self.of(x).grad(x)

    def of(self, x: Any) -> Custom:
        """The function of such points."""
        return Custom(self.f, getattr(self.f, "grad", None), _last(x))


def _at_time(part: Any, t: float, dim: int | None) -> Any:
    """A part at time t, as a potential: of ``dim`` coordinates, if that is known."""
    now = part.at(t) if checks.time_dependent(part) else part
    known = dim is not None or isinstance(now, Potential | _Combination | _AnyDim)
    return _as_term(now, dim) if known else _AnyDim(now)


def _last(x: Any) -> int:
    """The number of coordinates of points."""
    return int(np.shape(x)[-1]) if np.ndim(x) else 1


def terms_of(potential: Any) -> tuple[Any, ...]:
    """Those of a sum; of anything else itself."""
    return potential.terms if _is_plain(potential, Sum) else (potential,)


def _is_plain(potential: Any, kind: type) -> bool:
    """Whether it is a sum, or multiple, of which no method was replaced by a subclass."""
    return isinstance(potential, kind) and checks.offers(potential, "_slope")


def leaves(potential: Any) -> Iterator[Any]:
    """What sums and multiples are made of in the end."""
    if not isinstance(potential, _Combination):
        yield potential
        return
    for part in potential._parts:
        yield from leaves(part)


def users_gradient(part: Any) -> Any:
    """The gradient that a user gave, None for none."""
    if checks.offers(part, "users_gradient"):
        return part.users_gradient
    return None if is_ours(part) else getattr(part, "grad", None)


def is_ours(part: Any) -> bool:
    """Whether its class is one of pdekit."""
    return type(part).__module__.startswith("pdekit.")


def as_potential(value: Any, dim: int) -> Potential:
    """``value`` if it is a potential of dimension ``dim``; a bare function becomes ``Custom``.

    Raises ``ValueError`` for a potential of another dimension, ``TypeError`` for one that changes
    in time and for anything else.
    """
    dim = checks.whole("dim", dim, 1)
    checks.value_not_class("a potential", value)
    checks.fixed("a potential", value)
    if isinstance(value, Potential):
        if value.dim != dim:
            raise ValueError(
                f"expected a potential of dimension {dim}, got {checks.shown(value)}: {value.dim}"
            )
        return value
    if not callable(value):
        raise TypeError(
            f"expected a potential or a function of points (..., {dim}), got {checks.shown(value)}"
        )
    return Custom(value, dim=dim)
