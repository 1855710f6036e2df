"""What a potential is, and the sum of several, moving or not; the points it is evaluated at."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable
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


@dataclass(frozen=True)
class Sum:
    """V(x) = V_1(x) + ... + V_k(x), the potentials in ``terms``; written ``V + W``.

    A term may be a function of points, which becomes ``Custom``, and may move: with one that offers
    ``at(t)`` the sum is a ``MovingSum``, which offers it too.
    Raises ``ValueError`` for no terms or terms of different dimension, ``TypeError`` for a term
    that is none of these.
    """

    terms: tuple[Any, ...]

    def __new__(cls, terms: Any = ()) -> Sum:
        moving = isinstance(terms, tuple | list) and any(map(checks.moves, terms))
        return object.__new__(MovingSum if moving and cls is Sum else cls)

    def __post_init__(self) -> None:
        if not isinstance(self.terms, tuple | list):
            raise TypeError(f"Sum expects a tuple of potentials, got {checks.shown(self.terms)}")
        if not self.terms:
            raise ValueError("Sum expects at least one potential, got none")
        dims = [term.dim for term in self.terms if isinstance(getattr(term, "dim", None), int)]
        if len(set(dims)) > 1:
            raise ValueError(f"Sum expects terms of one dimension, got {dims}")
        dim = dims[0] if dims else None
        object.__setattr__(self, "terms", tuple(_as_term(term, dim) for term in self.terms))

    @property
    def dim(self) -> int:
        return int(next(term.dim for term in self.terms if hasattr(term, "dim")))

    def __add__(self, other: Any) -> Sum:
        return added(self, other)

    def __radd__(self, other: Any) -> Sum:
        return added_to(self, other)

    def __call__(self, x: Any) -> Any:
        total = self.terms[0](x)
        for term in self.terms[1:]:
            total = total + term(x)
        return total

    def grad(self, x: Any) -> Any:
        total = self.terms[0].grad(x)
        for term in self.terms[1:]:
            total = total + term.grad(x)
        return total


@dataclass(frozen=True)
class MovingSum(Sum):
    """A sum of which some terms change in time; what ``V + W`` is where one of them offers ``at``.

    ``at(t)`` is the ``Sum`` at the time t; ``times`` are those of all its terms, in order: no
    term's stored times are passed over.
    """

    def at(self, t: float) -> Sum:
        """The sum at time ``t``."""
        return Sum(tuple(term.at(t) if checks.moves(term) else term for term in self.terms))

    @property
    def times(self) -> tuple[float, ...]:
        """The union of the stored times of the terms."""
        return tuple(sorted({float(t) for term in self.terms for t in getattr(term, "times", ())}))

    def __call__(self, x: Any, t: float | None = None) -> Any:
        return self.at(time_of(self, t))(x)

    def grad(self, x: Any, t: float | None = None) -> Any:
        """Gradient in x at time t, shape ``(..., d)``."""
        return self.at(time_of(self, t)).grad(x)


def added(self: Any, other: Any) -> Sum:
    """What ``V + W`` means; a potential takes it over with ``__add__ = added``."""
    if isinstance(other, type) or not (callable(other) or checks.moves(other)):
        return cast(Sum, NotImplemented)
    return Sum((*_terms(self), *_terms(other)))


def added_to(self: Any, other: Any) -> Sum:
    """What ``W + V`` means for a W that does not know V: ``__radd__ = added_to``."""
    if isinstance(other, type) or not (callable(other) or checks.moves(other)):
        return cast(Sum, NotImplemented)
    return Sum((*_terms(other), *_terms(self)))


def time_of(owner: Any, t: Any) -> float:
    """``t`` as a number; an error where a potential that moves is evaluated at no time."""
    if t is None:
        raise TypeError(
            f"{type(owner).__name__} changes in time: evaluate it as V(x, t), or take V.at(t), the "
            "potential at the time t, where one that stands still is expected"
        )
    return checks.number("t", t, "a finite time")


_GOOD = 1e-5  # relative to the largest slope: what is said where differences are not as good


@dataclass(frozen=True, init=False)
class Custom:
    """One's own V = f, with ``f`` mapping points ``(..., dim)`` to values ``(...)``.

    ``grad`` maps ``(..., dim)`` to ``(..., dim)``. Without it the gradient of f is taken

    * by torch autograd, where f is written so that it takes torch tensors (``x**2``, ``x.sin()``,
      ``array_api_compat``): exact to rounding, in float64 for numpy points;
    * else (f written with numpy) by central differences with step 6e-6 max(1, |x_i|), the cube root
      of the rounding unit, in float64 whatever the input: relative error about 1e-10. Two more
      steps are tried at some of the points; where they disagree, f varies over other lengths, and
      each point gets the step at which neighbouring ones agree best. An ``AccuracyWarning`` says
      where that leaves less than five digits, as at jumps of f.

    Points of the one library on an f written for the other are carried over and back, without a
    graph: right, but slow.
    Raises ``ValueError`` where f or grad returns another shape. Equal to another ``Custom`` only
    with the same function objects. Good values: ``Custom(lambda x: x[..., 0] ** 4)``.
    """

    f: Callable[[Any], Any]
    gradient: Callable[[Any], Any] | None
    dim: int

    __add__ = added
    __radd__ = added_to

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
            self._say_if_rough(y, slope, doubt)
        return _like(x, slope)

    def _at(self, y: Any) -> Any:
        return self._values(y, _evaluated("f", self.f, y))

    def _say_if_rough(self, y: Any, slope: Any, doubt: Any) -> None:
        """Warn where no two steps agree well, by the largest slope around."""
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


# functions that raised on a tensor: not asked again, which takes longer than the differences
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
    checks.value_not_class("a term of a Sum", term)
    if isinstance(term, Potential) or checks.moves(term):
        return term
    if not callable(term) or dim is None:
        raise TypeError(
            f"Sum adds potentials, got {checks.shown(term)}; wrap a function as Custom(f)"
        )
    return Custom(term, getattr(term, "grad", None), dim)


def _terms(potential: Any) -> tuple[Any, ...]:
    return potential.terms if isinstance(potential, Sum) else (potential,)


def _evaluated(name: str, function: Callable[[Any], Any], x: Any) -> Any:
    """``_either``; what goes wrong in a user's function says where."""
    try:
        return _either(function, x)
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        hint = ""
        if "required positional argument" in str(error):
            hint = "; what changes in time is an object with at(t)"
        raise kind(
            f"Custom: {name} must take points of shape {tuple(x.shape)}, got a function that fails "
            f"on them: {error} ({type(error).__name__}){hint}"
        ) from error


def _either(function: Callable[[Any], Any], x: Any) -> Any:
    """``function(x)``, or through the other of numpy and torch where it is written for that one."""
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
    if x.is_inference():  # which keeps no count of changes
        return function(x)
    before = x._version
    values = function(x)
    if x._version != before:
        raise ValueError("it overwrites the points, which are read-only; write x = x - 1, not x -=")
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
