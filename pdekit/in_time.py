"""Coefficients that change in time, from functions of place and time."""

from dataclasses import dataclass
from typing import Any

from pdekit import checks
from pdekit.arrays import Function, Schedule


@dataclass(frozen=True)
class InTime:
    """f(x, t) as a coefficient: a potential, a force, a diffusion or a rate of killing.

    ``f`` maps points ``(..., d)`` and a time to what the coefficient has at points: values
    ``(...)``, vectors ``(..., d)`` or matrices ``(..., d, d)``. Backward equations read it at the
    time T - s, s the time to go. It is to be smooth in time; jumps at known times are found by no
    step: solve up to them, and on from there.
    """

    f: Any

    def __post_init__(self) -> None:
        what = "a function of points (..., d) and a time, such as lambda x, t: t * x[..., 0]"
        checks.value_not_class("InTime: f", self.f)
        if not callable(self.f):
            raise TypeError(f"InTime: f must be {what}; got {checks.shown(self.f)}")
        checks.takes("InTime: f", self.f, what, 2)

    def at(self, t: float) -> Function:
        """f(., t)."""
        return AtTime(self.f, t)


@dataclass(frozen=True)
class AtTime:
    """f(., t), a function of points."""

    f: Any
    t: float

    def __call__(self, x: Any) -> Any:
        """f(x, t)."""
        return self.f(x, self.t)


@dataclass(frozen=True)
class InverseTemperature:
    """β(t) > 0 of an equation or of particles, from a function of time; an error names the time.

    ``schedule.times``, if there are any, are those of its jumps, which no step crosses.
    """

    schedule: Schedule

    def __post_init__(self) -> None:
        checks.value_not_class("beta", self.schedule)
        checks.takes("beta", self.schedule, "a number or a function of time, such as lambda t: 1+t")
        self.at(0.0)

    def at(self, t: float) -> float:
        """β at time t."""
        what = f"beta, a function of time, at t = {t:g}"
        try:
            value = self.schedule(t)
        except Exception as error:
            raise checks.failed(
                error,
                "beta must be a number or a function of time, such as lambda t: 1 + t; got "
                f"{checks.shown(self.schedule)}, which failed at t = {t:g}: {error} "
                f"({type(error).__name__})",
            ) from error
        return checks.inverse_temperature(value, name=what)

    __call__ = at

    @property
    def times(self) -> tuple[float, ...]:
        """Those of its jumps."""
        return tuple(getattr(self.schedule, "times", ()))


def in_time(value: Any) -> Any:
    """A function of points and a time, ``lambda x, t: ...``, as ``InTime``; all else as it is."""
    code = getattr(value, "__code__", None)
    if code is None or checks.time_dependent(value):
        return value
    bound = hasattr(value, "__self__")
    needed = code.co_argcount - len(value.__defaults__ or ()) - bound
    return InTime(value) if needed == 2 else value


def beta_in_time(beta: Any) -> InverseTemperature:
    """A β that is a function of time."""
    return beta if isinstance(beta, InverseTemperature) else InverseTemperature(beta)


@dataclass(frozen=True)
class Later:
    """A coefficient that changes in time, with its time 0 at ``t0``."""

    coefficient: Any
    t0: float

    def at(self, t: float) -> Any:
        """What it is at the time t after t0."""
        return self.coefficient.at(self.t0 + t)

    @property
    def times(self) -> tuple[float, ...]:
        """Those between which it is smooth, of what is to come."""
        known = (float(t) - self.t0 for t in getattr(self.coefficient, "times", ()))
        return tuple(t for t in known if t > 0)

    def __getattr__(self, name: str) -> Any:
        if name != "dim":  # whose other facts may depend on time
            raise AttributeError(name)
        return self.coefficient.dim


@dataclass(frozen=True)
class LaterSchedule:
    """A function of time alone, with its time 0 at ``t0``."""

    schedule: Schedule
    t0: float

    def __call__(self, t: float) -> float:
        return self.schedule(self.t0 + t)

    @property
    def times(self) -> tuple[float, ...]:
        """Those of its jumps."""
        known = (float(t) - self.t0 for t in getattr(self.schedule, "times", ()))
        return tuple(t for t in known if t > 0)


def later(coefficient: Any, t0: float) -> Any:
    """A coefficient that changes in time, or β, as seen from t0."""
    schedule = getattr(coefficient, "schedule", None)
    if schedule is not None and callable(coefficient):
        return InverseTemperature(LaterSchedule(schedule, t0))
    return Later(coefficient, t0)
