"""Calling a user's function of points, written for numpy or for torch, with points of either."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from pdekit import checks

# functions that raised on a tensor: not tried again, since that is slower than the differences
FOR_NUMPY: WeakSet[Any] = WeakSet()


def is_in(function: Any, known: WeakSet[Any]) -> bool:
    try:
        return function in known
    except TypeError:  # no hash, or no weak reference
        return False


def remember(function: Any, known: WeakSet[Any]) -> None:
    with suppress(TypeError):
        known.add(function)


def evaluated(name: str, function: Callable[[Any], Any], x: Any) -> Any:
    """``_either``; errors in a user's function are reported with their location."""
    try:
        return _either(function, x)
    except Exception as error:
        hint = ""
        if "required positional argument" in str(error):
            hint = "; what changes in time is InTime(lambda x, t: ...)"
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
            return _guarded(function, as_numpy(x) if is_torch_array(x) else _tensor(x))
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


def as_numpy(x: Any) -> Any:
    return x.detach().cpu().numpy() if is_torch_array(x) else np.asarray(x)


def like(x: Any, values: Any) -> Any:
    """``values`` as an array of the library, dtype and device of ``x``."""
    if is_torch_array(values) and is_torch_array(x) and not values.is_complex():
        return values.to(dtype=x.dtype, device=x.device)
    real = checks.numbers("the values of a Custom", as_numpy(values), "real numbers", "biuf")
    return array_namespace(x).asarray(real, dtype=x.dtype, device=device(x))
