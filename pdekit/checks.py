"""Every check of an argument, and its wording, once."""

import operator
from math import isfinite, isnan
from numbers import Real
from typing import Any

import numpy as np


def number(name: str, value: Any, what: str = "a finite number") -> float:
    """``value`` as a finite float; text, complex numbers, tensors that need gradients, bools and
    classes are no numbers."""
    if isinstance(value, bool | np.bool_ | str | bytes | type) or np.iscomplexobj(value):
        raise TypeError(f"{name} must be {what}, got {value!r}")
    if getattr(value, "requires_grad", False):
        raise TypeError(
            f"{name} must be {what}, got a tensor that requires gradients, which would be lost; "
            f"pass {name}.item()"
        )
    if not isinstance(value, Real):
        try:
            value = value.item() if hasattr(value, "item") else operator.index(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{name} must be {what}, got {value!r}") from error
    try:
        out = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be {what}, got {value!r}") from error
    if not isfinite(out):
        raise ValueError(f"{name} must be {what}, got {value!r}")
    return out


def positive(name: str, value: Any) -> float:
    """``value`` as a finite float > 0."""
    out = number(name, value, "a finite number > 0")
    if not out > 0:
        raise ValueError(f"{name} must be a finite number > 0, got {value!r}")
    return out


def within(name: str, value: Any, low: float, high: float) -> float:
    """``value`` as a float in [low, high)."""
    out = number(name, value, f"a number in [{low:g}, {high:g})")
    if not low <= out < high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}), got {value!r}")
    return out


def whole(name: str, value: Any, least: int) -> int:
    """``value`` as an int >= ``least``."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a whole number >= {least}, got {value!r}")
    try:
        out = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a whole number >= {least}, got {value!r}") from error
    if out < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return out


def output_times(t: Any) -> list[float]:
    """Strictly increasing finite times >= 0 as floats, from a number or a sequence of them."""
    what = "t must be a finite time >= 0, or several that increase"
    if getattr(t, "requires_grad", False):
        raise TypeError(f"{what}; got a tensor that requires gradients: pass t.detach()")
    try:
        given = np.atleast_1d(np.asarray(t))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{what}; got {t!r}") from error
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{what}; got {t!r}")
    times = given.astype(float)
    if times.ndim != 1 or not times.size or not np.isfinite(times).all() or times[0] < 0:
        raise ValueError(f"{what}; got {t!r}")
    if (np.diff(times) <= 0).any():
        raise ValueError(f"{what}: they must increase strictly; got {t!r}")
    return [float(v) for v in times]


def inverse_temperature(beta: Any) -> float:
    """``beta`` as a float in (0, inf)."""
    if isinstance(beta, bool) or not isinstance(beta, Real):
        raise TypeError(f"beta is an inverse temperature, a number > 0; got {beta!r}")
    if isnan(beta) or not 0 < float(beta) < float("inf"):
        raise ValueError(f"beta must be positive and finite, got {beta}")
    return float(beta)


def still(name: str, value: Any) -> None:
    """``ValueError`` for what moves: a potential or interaction with ``.at(t)``."""
    if hasattr(value, "at") and not isinstance(value, type):
        raise ValueError(
            f"{name} must be fixed in time here; take it at one time, {name}.at(t), instead of "
            f"{value!r}"
        )
