"""The potential protocol, sums of potentials (constant or time-dependent), evaluation points."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable
from weakref import WeakSet

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_torch_array

from pdekit import checks
from pdekit.differences import STEP, in_rows, slopes
from pdekit.errors import AccuracyWarning


@runtime_checkable
class Potential(Protocol):
    """A scalar function V on R^d with its gradient.

    ``V(x)`` maps points ``(..., d)`` to values ``(...)`` and ``V.grad(x)`` to ``(..., d)``, for
    numpy arrays and torch tensors alike; a tensor keeps its dtype, device and autograd graph.
    """

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        ...

    def __call__(self, x: Any) -> Any:
        """Values V(x), shape ``(...)``."""
        ...

    def grad(self, x: Any) -> Any:
        """Gradient of V at x, shape ``(..., d)``."""
        ...


def _always(times: Any) -> tuple[Any, Any]:
    return np.zeros(times.shape, int), np.zeros(times.shape)


class Kernel(NamedTuple):
    """The gradient of a potential in compiled particle loops; the result of its ``kernel``.

    For a potential that is the sum of one function over the coordinates: factor V(x_i - shift).
    ``down(x, b, m, numbers, rows)`` does b[j] -= V'(x[j]) for j < m. numba compiles it, for float32
    and for float64, from its source: constants come as ``numbers``, which have the type of x, or
    are made by ``type(x[0])``, as integers would promote float32 to float64. Products and sums in
    the order of ``grad`` give its bits.

    A spline has a ``table`` (rows, 4) of coefficients, over the slots that its ``bases`` are of, at
    one stored time after the other; ``between(t)`` is the stored time before t and the weight of
    the next one. ``rows`` are those of the time it is, the bases in the place of the constants.
    """

    down: Callable[[Any, Any, int, Any, Any], None]
    numbers: tuple[float, ...] = ()
    factor: float = 1.0
    shift: float = 0.0
    bases: Any = np.empty(0)
    table: Any = np.empty((0, 4))
    between: Callable[[Any], tuple[Any, Any]] = _always


def kernels_of(potential: Any) -> tuple[Kernel, ...]:
    """Those whose gradients add up to the potential's, in order; none if it has none.

    What a class offers as ``kernel`` is its own and of those that inherit its slope.
    """
    if checks.offers(potential, "kernels"):
        return tuple(potential.kernels)
    made = potential.kernel if checks.offers(potential, "kernel") else None
    return (made,) if isinstance(made, Kernel) else ()


class Combinable:
    """The algebra of potentials: ``V + W``, ``V - W``, ``c * V``, ``V / c``, ``-V``, shifts.

    The results are accepted wherever a potential is, constant or time-dependent. User-defined
    potentials inherit them, or are combined with one that does: ``Sum`` and ``Scaled`` accept any.
    """

    __array_ufunc__ = None  # numbers of numpy leave the product to the potential

    def __add__(self, other: Any) -> Sum:
        return Sum((self, other)) if _is_term(other) else NotImplemented

    def __radd__(self, other: Any) -> Sum:
        return Sum((other, self)) if _is_term(other) else NotImplemented

    def __sub__(self, other: Any) -> Sum:
        if not _is_term(other):
            return NotImplemented
        return Sum((self, _scaled(_as_term(other, getattr(self, "dim", None)), -1.0)))

    def __rsub__(self, other: Any) -> Sum:
        return Sum((other, _scaled(self, -1.0))) if _is_term(other) else NotImplemented

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


class _Combination(Combinable):
    """What sums and multiples have in common: they move if a part of them is time-dependent."""

    @property
    def _parts(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def _with(self, parts: tuple[Any, ...]) -> Any:
        """The same of other parts."""
        raise NotImplementedError

    def _value(self, x: Any) -> Any:
        raise NotImplementedError

    def _slope(self, x: Any) -> Any:
        raise NotImplementedError

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
        return self._with(tuple(p.at(t) if checks.time_dependent(p) else p for p in self._parts))

    @property
    def times(self) -> tuple[float, ...]:
        """The stored times of all parts, in order."""
        return tuple(sorted({float(t) for part in self._parts for t in getattr(part, "times", ())}))


@dataclass(frozen=True)
class Sum(_Combination):
    """V(x) = V_1(x) + ... + V_k(x), the potentials in ``terms``; written ``V + W``.

    A term may be a function of points, which becomes ``Custom``, and may move: with one that offers
    ``at(t)`` the sum offers it too, and is evaluated as V(x, t). Sums in a sum are taken apart.
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
    made one; where V offers ``at(t)``, so does this.
    Raises ``TypeError`` for what is no potential, ``ValueError`` for numbers that are not finite or
    for a shift of another dimension.
    """

    potential: Any
    factor: float = 1.0
    shift: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        V, factor = self.potential, checks.number("a factor of a potential", self.factor)
        shift = checks.finite("shift", self.shift, "a number or one for each coordinate")
        if isinstance(V, Scaled):
            V, factor, shift = V.potential, factor * V.factor, shift + np.asarray(V.shift)
        object.__setattr__(self, "potential", _as_term(V, None))
        object.__setattr__(self, "factor", float(factor))
        object.__setattr__(self, "shift", _one_or_each(shift, getattr(V, "dim", None)))

    @property
    def _parts(self) -> tuple[Any, ...]:
        return (self.potential,)

    def _with(self, parts: tuple[Any, ...]) -> Any:
        return _scaled(_as_term(parts[0], getattr(self, "dim", None)), self.factor, self.shift)

    def _value(self, x: Any) -> Any:
        return self.factor * self.potential(self._place(x))

    def _slope(self, x: Any) -> Any:
        return self.factor * self.potential.grad(self._place(x))

    def _place(self, x: Any) -> Any:
        """x - shift."""
        if self.shift == 0:
            return x
        xp, x = points(x, self.dim, self)
        if isinstance(self.shift, float):
            return x - self.shift
        return x - xp.asarray(self.shift, dtype=x.dtype, device=device(x))

    @property
    def kernel(self) -> Kernel | None:
        """That of V, where all coordinates are shifted alike."""
        shift, made = self.shift, kernels_of(self.potential)
        if len(made) != 1 or not isinstance(shift, float):
            return None
        plain = (made[0].factor, made[0].shift) == (1, 0)
        return made[0]._replace(factor=self.factor, shift=shift) if plain else None


def _is_term(value: Any) -> bool:
    return not isinstance(value, type) and (callable(value) or checks.time_dependent(value))


def _scaled(potential: Any, factor: Any, shift: Any = 0.0) -> Any:
    """factor V(x - shift): V itself where that changes nothing, a sum term by term."""
    if isinstance(potential, Sum):
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


def time_of(owner: Any, t: Any) -> float:
    """``t`` as a number; an error if a time-dependent potential is evaluated without a time."""
    if t is None:
        raise TypeError(
            f"{type(owner).__name__} changes in time: evaluate it as V(x, t), or pass V.at(t), the "
            "potential at time t, where a constant one is expected"
        )
    return checks.number("t", t, "a finite time")


_GOOD = (
    1e-5  # relative to the largest slope: accuracy of differences below which a warning is given
)


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
    Raises ``ValueError`` where f or grad returns another shape. Equal to another ``Custom`` only
    with the same function objects. Good values: ``Custom(lambda x: x[..., 0] ** 4)``.
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
        object.__setattr__(self, "f", f)
        object.__setattr__(self, "gradient", grad)
        object.__setattr__(self, "dim", whole_dim(dim, self))

    def __call__(self, x: Any) -> Any:
        _, x = points(x, self.dim, self)
        return self._at(x)

    def grad(self, x: Any) -> Any:
        _, x = points(x, self.dim, self)
        if self.gradient is not None:
            return self._slopes(x, _evaluated("grad", self.gradient, x))
        exact = None if _is_in(self.f, _FOR_NUMPY) else self._autograd(x)
        return self._differences(x) if exact is None else exact

    def _values(self, x: Any, values: Any) -> Any:
        """Check the shape of ``values`` of f at ``x``."""
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
        """The gradient by torch, or None if f does not keep the autograd graph."""
        import torch

        on_torch = is_torch_array(x)
        y = x if on_torch else torch.tensor(np.asarray(x, dtype=float))
        keep = bool(y.requires_grad)
        y = y if keep else y.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            try:
                values = self.f(y)
            # a numpy function may raise anything on a tensor; an error of f
            # itself will reappear in the central differences
            except Exception:
                _remember(self.f, _FOR_NUMPY)
                return None
            if not (is_torch_array(values) and values.requires_grad):
                return None
            values = self._values(y, values)
            (slope,) = torch.autograd.grad(values.sum(), y, create_graph=keep)
        return slope if on_torch else slope.numpy().astype(x.dtype, copy=False)

    def _differences(self, x: Any) -> Any:
        y = _numpy(x).astype(float)
        slope, doubt = slopes(self._at, y)
        if doubt is not None:
            self._warn_if_rough(y, slope, doubt)
        return _like(x, slope)

    def _at(self, y: Any) -> Any:
        return self._values(y, _evaluated("f", self.f, y))

    def _warn_if_rough(self, y: Any, slope: Any, doubt: Any) -> None:
        """Warn if no two steps agree well, relative to the largest slope nearby."""
        lengths = 1e4 * STEP * np.maximum(1.0, np.abs(y))
        around = np.concatenate([(y + s * lengths).reshape(-1, self.dim) for s in (-1, 0, 1)])
        with np.errstate(all="ignore"):
            values = in_rows(self._at, around, y.ndim)
        known = values[np.isfinite(values)]
        steep = float(np.ptp(known) / lengths.max()) if known.size else 0.0
        wrong = ~(doubt <= _GOOD * max(float(np.abs(slope).max(initial=0.0)), steep))
        if wrong.any():
            k = np.unravel_index(int(wrong.argmax()), wrong.shape)
            warnings.warn(
                f"the slope of {self.f!r} at {y[k[:-1]]} by differences is {slope[k]:.6g}, good to "
                f"{doubt[k]:.2g} only, whatever the step: f jumps there, or its changes are lost "
                "in rounding. Give Custom(f, grad), or write f so that it takes torch tensors",
                AccuracyWarning,
                stacklevel=4,
            )


# functions that raised on a tensor: not tried again, since that is slower than the differences
_FOR_NUMPY: WeakSet[Any] = WeakSet()


def _is_in(function: Any, known: WeakSet[Any]) -> bool:
    try:
        return function in known
    except TypeError:  # no hash, or no weak reference
        return False


def _remember(function: Any, known: WeakSet[Any]) -> None:
    with suppress(TypeError):
        known.add(function)


def points(x: Any, dim: int, owner: object) -> tuple[Any, Any]:
    """The array namespace of ``x`` and ``x`` as floating-point points ``(..., dim)``.

    Raises ``ValueError`` where the last axis is not ``dim`` long.
    """
    if not is_array_api_obj(x) or isinstance(x, np.ma.MaskedArray):
        x = checks.numbers("points", x, f"points of shape (..., {dim})")
    xp = array_namespace(x)
    if not xp.isdtype(x.dtype, "real floating"):
        if not xp.isdtype(x.dtype, ("bool", "integral")):
            raise TypeError(f"{type(owner).__name__} takes real points, got {checks.shown(x)}")
        x = xp.astype(x, xp.float64)
    if x.ndim == 0 or x.shape[-1] != dim:
        hint = "; write x[..., None] for coordinates on a line" if dim == 1 else ""
        raise ValueError(
            f"{type(owner).__name__} takes points of shape (..., {dim}), "
            f"got shape {tuple(x.shape)}{hint}"
        )
    return xp, x


def whole_dim(dim: Any, owner: object) -> int:
    """``dim`` as an int of at least 1, or an error that names the potential."""
    return checks.whole(f"{type(owner).__name__}: dim", dim, 1)


def _as_term(term: Any, dim: int | None) -> Any:
    """A term of a sum of ``dim`` coordinates: a potential, or a function made one."""
    checks.value_not_class("a term of a sum", term)
    if isinstance(term, Potential) or checks.time_dependent(term):
        return term
    if not callable(term) or dim is None:
        raise TypeError(
            "sums and multiples are of potentials, at least one with a dimension; got "
            f"{checks.shown(term)}: wrap a function as Custom(f)"
        )
    return Custom(term, getattr(term, "grad", None), dim)


def terms_of(potential: Any) -> tuple[Any, ...]:
    """Those of a sum; of anything else itself."""
    return potential.terms if isinstance(potential, Sum) else (potential,)


def _evaluated(name: str, function: Callable[[Any], Any], x: Any) -> Any:
    """``_either``; errors in a user's function are reported with their location."""
    try:
        return _either(function, x)
    except Exception as error:
        hint = ""
        if "required positional argument" in str(error):
            hint = "; what changes in time is an object with at(t)"
        raise checks.failed(
            error,
            f"Custom: {name} must take points of shape {tuple(x.shape)}, got a function that fails "
            f"on them: {error} ({type(error).__name__}){hint}",
        ) from error


def _either(function: Callable[[Any], Any], x: Any) -> Any:
    """``function(x)``, or via conversion between numpy and torch if necessary."""
    try:
        return _guarded(function, x)
    except Exception as error:
        if not is_torch_array(x) and "torch" not in sys.modules:
            raise
        try:
            return _guarded(function, _numpy(x) if is_torch_array(x) else _tensor(x))
        except Exception:
            raise error from None


def _guarded(function: Callable[[Any], Any], x: Any) -> Any:
    """``function(x)``; an error where it overwrites the points."""
    if not is_torch_array(x):
        return function(_read_only(x))
    if x.is_inference():  # without a version counter
        return function(x)
    before = x._version
    values = function(x)
    if x._version != before:
        raise ValueError(
            "it overwrites the points, which are read-only; write x = x - 1 instead of x -="
        )
    return values


def _read_only(x: Any) -> Any:
    view = np.asarray(x).view()
    view.flags.writeable = False
    return view


def _tensor(x: Any) -> Any:
    return sys.modules["torch"].tensor(np.asarray(x))


def _numpy(x: Any) -> Any:
    return x.detach().cpu().numpy() if is_torch_array(x) else np.asarray(x)


def _like(x: Any, values: Any) -> Any:
    """``values`` as an array of the library, dtype and device of ``x``."""
    if is_torch_array(values) and is_torch_array(x) and not values.is_complex():
        return values.to(dtype=x.dtype, device=x.device)
    real = checks.numbers("the values of a Custom", _numpy(values), "real numbers", "biuf")
    return array_namespace(x).asarray(real, dtype=x.dtype, device=device(x))


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
