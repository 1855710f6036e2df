"""Checks of the fields of a dynamics at construction."""

from dataclasses import fields
from typing import Any

from pdekit import checks
from pdekit.grid import require_grid
from pdekit.in_time import in_time


def check_parts(dynamics: Any) -> None:
    """``TypeError`` for a field of a dynamics of the wrong kind; numbers are set to floats."""
    for field in fields(dynamics):
        rule = _RULES.get(field.name)
        if rule is not None:
            value = rule(f"{type(dynamics).__name__}: {field.name}", getattr(dynamics, field.name))
            if value is not None:
                object.__setattr__(dynamics, field.name, value)


def _potential(name: str, value: Any) -> Any:
    checks.function(name, value, "map points (..., d) to values (...), such as DoubleWell()")
    return in_time(value)


def _force(name: str, value: Any) -> Any:
    if value is not None:
        checks.function(name, value, "map points (..., d) to vectors (..., d)")
    return in_time(value)


def _box(name: str, value: Any) -> None:
    require_grid(name, value, optional=True)


def _integrator(name: str, value: Any) -> None:
    checks.has(name, value, "an integrator such as EulerMaruyama()", "step", "positions")


def _fast(name: str, value: Any) -> None:
    parts = ("start", "drift", "seen", "velocity")
    checks.has(name, value, "a fast process such as Position()", *parts)


def _average(name: str, value: Any) -> None:
    checks.has(name, value, "an average such as LinearAverage()", "weights")


def _share(name: str, value: Any) -> float:
    return checks.within(name, value, 0, 1)


def _count(name: str, value: Any) -> int:
    return checks.whole(name, value, 1)


def _length(name: str, value: Any) -> float | None:
    return None if value is None else checks.positive(name, value)


def _width(name: str, value: Any) -> Any:
    if not callable(value):
        return checks.positive(name, value)
    checks.takes(name, value, "a number > 0 or a function of time")
    checks.positive(f"{name}(0)", value(0.0))
    return value


def _callable(name: str, value: Any) -> None:
    checks.function(name, value, "be a value that can be called")


_RULES = {
    "potential": _potential,
    "value": _potential,
    "force": _force,
    "box": _box,
    "integrator": _integrator,
    "fast": _fast,
    "average": _average,
    "summation": _callable,
    "gradient": _callable,
    "alpha": _share,
    "momentum": _share,
    "compensation": _share,
    "gamma": _width,
    "epsilon": checks.positive,
    "mass": checks.positive,
    "friction": checks.not_negative,
    "inner_dt": _length,
    "inner_lr": _length,
    "inner_steps": _count,
    "burn_in": _count,
    "samples": _count,
    "rate": checks.not_negative,
    "warm_start": checks.flag,
    "at_rest": checks.flag,
}
