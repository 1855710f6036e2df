"""All argument checks, each with its error message."""

import inspect
import operator
from math import inf, isfinite
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

_FREE = {"potentials", "dim", "_abc_impl", "_is_protocol"}  # may be another class's own


def number(name: str, value: Any, what: str = "a finite number") -> float:
    """``value`` as a finite float; text, complex numbers, tensors that need gradients, bools
    and classes are refused."""
    if type(value) is float and isfinite(value):
        return value  # the common case
    if _requires_grad(value):
        raise TypeError(
            f"{name} must be {what}, got a tensor that requires gradients, which would be lost; "
            "pass its .item()"
        )
    plain = value
    try:
        if not isinstance(value, Real | str | bytes | type) and not np.ma.is_masked(value):
            plain = value.item() if hasattr(value, "item") else operator.index(value)
        if isinstance(plain, bool | np.bool_) or not isinstance(plain, Real):
            raise TypeError(f"not a number: {plain!r}")
        out = float(plain)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{name} must be {what}, got {shown(value)}") from error
    if not isfinite(out):
        raise ValueError(f"{name} must be {what}, got {shown(value)}")
    return out


def nonzero(name: str, value: Any) -> float:
    """``value`` as a finite number that is not zero."""
    out = number(name, value, "a finite number other than 0")
    if not out:
        raise ValueError(f"{name} must be a finite number other than 0, got {shown(value)}")
    return out


def positive(name: str, value: Any) -> float:
    """``value`` as a finite float > 0."""
    out = number(name, value, "a finite number > 0")
    if not out > 0:
        raise ValueError(f"{name} must be a finite number > 0, got {shown(value)}")
    return out


def within(name: str, value: Any, low: float, high: float) -> float:
    """``value`` as a float in [low, high)."""
    out = number(name, value, f"a number in [{low:g}, {high:g})")
    if not low <= out < high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}), got {shown(value)}")
    return out


def whole(name: str, value: Any, least: int) -> int:
    """``value`` as an int >= ``least``."""
    try:
        if isinstance(value, bool | np.bool_) or _requires_grad(value) or np.ma.is_masked(value):
            raise TypeError("a bool or a masked array")
        if not hasattr(value, "__index__") and hasattr(value, "item"):
            value = value.item()
        out = operator.index(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a whole number >= {least}, got {shown(value)}") from error
    if out < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {shown(value)}")
    return out


def seed(value: Any) -> int:
    """``value`` as an int in [0, 2**64)."""
    out = whole("seed", value, 0)
    if out >= 1 << 64:
        raise ValueError(f"seed must lie below 2**64, got {value}")
    return out


def output_times(t: Any) -> list[float]:
    """Strictly increasing times in [0, 1e100] as floats, from a number or a sequence of them."""
    if type(t) in (int, float) and 1 / LONGEST <= t <= LONGEST:
        return [float(t)]
    what = "t must be a finite time >= 0, or several that increase"
    times = np.atleast_1d(numbers("t", t, what[len("t must be ") :]))
    if times.ndim != 1 or not times.size or not np.isfinite(times).all() or times[0] < 0:
        raise ValueError(f"{what}; got {shown(t)}")
    if (np.diff(times) <= 0).any():
        raise ValueError(f"{what}: they must increase strictly; got {shown(t)}")
    if times[-1] > LONGEST or (times[times > 0] < 1 / LONGEST).any():
        raise ValueError(
            f"t must be 0 or between {1 / LONGEST:g} and {LONGEST:g}, so that rates times t "
            f"neither overflow nor vanish; got {shown(t)}"
        )
    return [float(v) for v in times]


def inverse_temperature(
    beta: Any, infinite: bool = False, noiseless: str = "", name: str = "beta"
) -> float:
    """``beta`` as a float in (0, inf), or also inf, which stands for no noise.

    ``noiseless``: said of an infinite one where it is not taken, what to use instead.
    """
    if type(beta) is float and 1 / LONGEST <= beta <= LONGEST:
        return beta  # the common case
    none = isinstance(beta, Real) and not isinstance(beta, bool) and beta == inf
    if infinite and none:
        return inf
    what = "an inverse temperature, a finite number > 0"
    what = f"{what}, or math.inf for no noise" if infinite else what
    if callable(beta) and not isinstance(beta, type):
        raise TypeError(
            f"{name} must be {what}, got {shown(beta)}; a beta that changes in time goes with "
            "FokkerPlanck, BackwardKolmogorov and Langevin: pass that of one time, its beta(t)"
        )
    try:
        out = number(name, beta, what)
    except ValueError:
        out = 0.0
    if not out > 0:
        raise ValueError(
            f"{name} must be positive{'' if infinite else ' and finite'}, got {shown(beta)}; it is "
            f"{what}{f' ({noiseless})' if none and noiseless else ''}"
        )
    if not 1 / LONGEST <= out <= LONGEST:
        raise ValueError(
            f"{name} must be between {1 / LONGEST:g} and {LONGEST:g}, so that its products neither "
            f"overflow nor vanish; got {shown(beta)}: take other units of energy"
        )
    return out


LONGEST = 1e100  # the largest time, and the largest inverse temperature


def shown(value: Any) -> str:
    """``value`` as shown in messages: its ``repr``, or type and shape if that is long."""
    kind = type(value)
    if not isinstance(value, type) and hasattr(value, "shape"):
        shape = tuple(getattr(value, "shape", ()))
        if not hasattr(value, "dims") and int(np.prod(shape or (1,))) <= 8:
            return " ".join(repr(value).split())
        dims = f", dims {value.dims}" if hasattr(value, "dims") else ""
        return f"{kind.__name__} of shape {shape}, {getattr(value, 'dtype', '')}{dims}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else f"{text[:200]}... ({kind.__name__})"


def numbers(name: str, value: Any, what: str = "numbers", kinds: str = "iuf") -> Any:
    """``value`` as a float64 array (a copy if its type differs), not necessarily finite.

    Text, complex numbers, bools (unless ``kinds`` has "b"), ragged lists, arrays with masked
    entries and tensors that require gradients are refused.
    """
    if _requires_grad(value):
        raise TypeError(
            f"{name} must be {what}, got a tensor that requires gradients, which would be lost; "
            "pass its .detach()"
        )
    if type(value) not in (list, tuple, np.ndarray) and np.ma.is_masked(value):
        raise ValueError(
            f"{name} must be {what}, got an array with {int(np.ma.count_masked(value))} masked "
            "entries; fill them, by its .filled(0.0)"
        )
    try:
        given = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{name} must be {what}, got {shown(value)}: {error}") from error
    if given.dtype.kind not in kinds:
        raise TypeError(f"{name} must be {what}, got {shown(value)} (of type {given.dtype})")
    return given.astype(float, copy=False)


def finite(name: str, value: Any, what: str = "finite numbers", kinds: str = "iuf") -> Any:
    """``numbers`` that are all finite."""
    out = numbers(name, value, what, kinds)
    if not np.isfinite(out).all():
        raise ValueError(f"{name} must be {what}, got {shown(value)}")
    return out


def share(name: str, value: Any) -> float:
    """``value`` as a float in (0, 1), a level or a probability."""
    out = number(name, value, "a number between 0 and 1")
    if not 0 < out < 1:
        raise ValueError(f"{name} must be a number between 0 and 1, got {shown(value)}")
    return out


def in_order(name: str, x: Any, axis: str, names: tuple[str, ...] = ()) -> Any:
    """A DataArray sorted along ``axis`` by its coordinate.

    Increasing numbers are left as they are; those from 0 on in another order are sorted, and so are
    the labels ``names``; ``ValueError`` for other numbers, whose order is ambiguous. Other labels
    are left as they are.
    """
    if axis not in x.dims or axis not in x.coords:
        return x
    labels = np.asarray(x[axis].values)
    words = [str(label) for label in labels]
    if words != list(names) and sorted(words) == sorted(names):
        return x.isel({axis: [words.index(word) for word in names]})
    if labels.dtype.kind not in "iuf" or (np.diff(labels) > 0).all():
        return x
    order = np.argsort(labels, kind="stable")
    if not np.array_equal(labels[order], np.arange(len(labels))):
        raise ValueError(
            f"{name} has a coordinate {axis!r} of {shown(labels)}, which is not sorted; sort it "
            f"with {name}.sortby({axis!r}), or use positions instead of coordinates with "
            f"{name}.drop_vars({axis!r})"
        )
    return x.isel({axis: order})


def parameters(owner: Any, **checks_: Any) -> None:
    """Set fields of a frozen value to their checked form: ``parameters(self, width=positive)``."""
    kind = type(owner).__name__
    for name, check in checks_.items():
        object.__setattr__(owner, name, check(f"{kind}: {name}", getattr(owner, name)))


def has(name: str, value: Any, what: str, *parts: str) -> None:
    """``TypeError`` unless ``value`` is an instance (not a class) with the attributes ``parts``."""
    value_not_class(name, value)
    lacking = [part for part in parts if not hasattr(value, part)]
    if lacking:
        raise TypeError(
            f"{name} must be {what}; got {shown(value)}, which has no {', '.join(lacking)}"
        )


def one_of(name: str, value: Any, what: str, *kinds: type) -> None:
    """``TypeError`` unless ``value`` is an instance of one of the ``kinds``."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {what}, got {shown(value)}")


def not_negative(name: str, value: Any) -> float:
    """``value`` as a finite float >= 0."""
    out = number(name, value, "a finite number >= 0")
    if not out >= 0:
        raise ValueError(f"{name} must be a finite number >= 0, got {shown(value)}")
    return out


def flag(name: str, value: Any) -> bool:
    """``value`` as a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def value_not_class(name: str, value: Any) -> None:
    """``TypeError`` where a class is given instead of an instance."""
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a value, got the class {value.__name__}; write {value.__name__}(...)"
        )


def function(name: str, value: Any, what: str) -> None:
    """``TypeError`` unless ``value`` can be called, or has ``at(t)`` that returns a callable."""
    value_not_class(name, value)
    if not (callable(value) or time_dependent(value)):
        raise TypeError(f"{name} must {what}; got {shown(value)}")


def offers(value: Any, name: str) -> bool:
    """Whether a fast form of a class, such as ``kernel``, is valid for this value.

    It holds for the class and for those that inherit all that the form is made of.
    """
    kinds = type(value).__mro__
    k = next((k for k, kind in enumerate(kinds) if name in vars(kind)), None)
    if k is None:
        return False
    made_of = {name for kind in kinds[k:] for name in vars(kind) if not name.startswith("__")}
    return not {name for kind in kinds[:k] for name in vars(kind)} & made_of - _FREE


def declared(value: Any, fact: str) -> Any:
    """A fact that a value offers, None where it offers none."""
    return getattr(value, fact) if offers(value, fact) else None


def time_dependent(value: Any) -> bool:
    """Whether a coefficient depends on time: whether it has ``at(t)``, its value at time t."""
    return callable(getattr(value, "at", None)) and not isinstance(value, type | np.ufunc)


def fixed(what: str, value: Any) -> None:
    """``TypeError`` for a time-dependent coefficient where a constant one is needed."""
    if time_dependent(value):
        raise TypeError(
            f"{what} must be fixed in time, got {shown(value)}, which changes in time (it has "
            "at(t)); pass its at(t), what it is at the time t"
        )


def text(name: str, value: Any) -> str:
    """``value`` as text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {shown(value)}")
    return value


def failed(error: Exception, message: str) -> TypeError | ValueError:
    """What to raise where a function of the user's failed: a ``TypeError`` for one of its own."""
    return (TypeError if isinstance(error, TypeError) else ValueError)(message)


def takes(name: str, value: Any, what: str, arguments: int = 1) -> None:
    """``TypeError`` for a function whose signature does not accept the number of arguments."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # it does not say
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError as error:
        raise TypeError(f"{name} must be {what}; got a function of {signature}") from error


def path(name: str, value: Any) -> Path:
    """``value`` as a ``Path``."""
    try:
        return Path(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a path, got {shown(value)}") from error


def _requires_grad(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_requires_grad(item) for item in value[:64])
    return bool(getattr(value, "requires_grad", False))
