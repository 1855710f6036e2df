"""Users' functions, which no file has: a note of each, and what stands in its place."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from textwrap import dedent
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import FieldError

_LONGEST = 2_000  # characters of source
_TIMES = (0.37,)  # at which functions of time are called
_RTOL = 1e-9  # to which values on the same points agree


@dataclass(frozen=True, repr=False)
class NotStored:
    """A function that was used, and is not in the file."""

    name: str
    source: str
    stated: str

    def __call__(self, *args: Any) -> Any:
        raise FieldError(
            f"the function {self.name} is not in the file, which has no functions; load the result "
            f"by pk.load(path, {self.stated}=...), with the {self.stated} as it was given"
            + (f". Its source was: {self.source}" if self.source else "")
        )

    def __repr__(self) -> str:
        return f"<{self.name}, not stored>"


@dataclass(frozen=True, repr=False)
class NotStoredInTime(NotStored):
    """The same of one that changes in time."""

    def at(self, t: float) -> NotStored:
        return NotStored(self.name, self.source, self.stated)


def note(function: Any, points: Array | None) -> dict[str, Any]:
    """Name, source, and values at the points, with how they were got."""
    how, values = sampled(function, points)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    source = source_of(function)
    return {
        "name": name,
        "source": source,
        "how": how,
        "sample": values,
        "moves": checks.time_dependent(function),
        "key": _key(function, source, values),
    }


def _key(function: Any, source: str, values: Array | None) -> str:
    """Functions of one line of source are told apart by their code and their values."""
    code = getattr(function, "__code__", None)
    state = blake2b(repr((source, getattr(code, "co_consts", ""))).encode(), digest_size=12)
    state.update(getattr(code, "co_code", b""))
    state.update(b"" if values is None else values.tobytes())
    return state.hexdigest()


def source_of(function: Any) -> str:
    """The source text, where Python knows it."""
    try:
        text = dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""
    return text.strip()[:_LONGEST]


def sampled(function: Any, points: Array | None) -> tuple[str, Array | None]:
    """Its values at the points, by the first way of calling it that gives numbers."""
    if points is None or not len(points):
        return "", None
    for how, call in _ways(function, points):
        values = _numbers(call)
        if values is not None and values.size <= 64 * len(points):
            return how, values
    return "", None


def _ways(function: Any, points: Array) -> Iterator[tuple[str, Callable[[], Any]]]:
    t = _TIMES[0]
    if checks.time_dependent(function):
        yield "at", lambda: function.at(t)(points)
        yield "at alone", lambda: function.at(t)
    yield "points", lambda: function(points)
    yield "points and time", lambda: function(points, t)
    yield "time", lambda: function(t)
    yield "tensor", lambda: _on_tensor(function, points)


def _on_tensor(function: Any, points: Array) -> Any:
    import torch

    return function(torch.from_numpy(points.copy())).detach()


def _numbers(call: Callable[[], Any]) -> Array | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = np.asarray(call(), dtype=float)
    except Exception:  # whatever a user's function raises: it is called otherwise
        return None
    return values


def again(function: Any, points: Array | None, how: str, values: Array) -> float:
    """How far the function is from the values, relative to the largest of them."""
    if points is None:
        return np.inf
    call = dict(_ways(function, points)).get(how)
    here = None if call is None else _numbers(call)
    if here is None or here.shape != values.shape:
        return np.inf
    same = np.isclose(here, values, rtol=_RTOL, atol=0, equal_nan=True)
    size = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    return float(np.nanmax(np.abs(here - values)[~same], initial=0.0)) / size


def agrees(apart: float) -> bool:
    return apart <= _RTOL
