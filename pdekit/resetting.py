"""Stochastic resetting: returning at random times to where a law says."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array, Schedule
from pdekit.in_time import InTime
from pdekit.laws import Law, require_law

_PARTS = 16  # of an interval, in each of which a rate is taken as constant


@dataclass(frozen=True)
class RateInTime:
    """A rate r(t) >= 0 from a function of time; an error names the time."""

    schedule: Schedule

    def __post_init__(self) -> None:
        what = "a number or a function of time, such as lambda t: 1 + t"
        checks.value_not_class("the rate of Resetting", self.schedule)
        checks.takes("the rate of Resetting", self.schedule, what)
        self.at(0.0)

    def at(self, t: float) -> float:
        """r(t)."""
        what = f"the rate of Resetting, a function of time, at t = {t:g}"
        try:
            value = self.schedule(t)
        except Exception as error:
            raise checks.failed(
                error,
                "the rate of Resetting must be a number or a function of time, such as lambda t: "
                f"1 + t; got {checks.shown(self.schedule)}, which failed at t = {t:g}: {error} "
                f"({type(error).__name__})",
            ) from error
        return checks.not_negative(what, value)

    __call__ = at


@dataclass(frozen=True)
class Resetting:
    """At the times of a Poisson process of ``rate`` the position is drawn anew from ``law``.

    Densities: rho_t = A rho - rate rho + rate M law, M the mass; expectations: u_t = L u + rate
    (∫ u law - u). ``rate`` > 0 per time, or a function of time with values >= 0, such as
    ``lambda t: 1 + t`` (expectations read it at T - s, s the time to go). Evans and Majumdar, Phys.
    Rev. Lett. 106 (2011): of free diffusion, reset at a constant rate to a point x_0, the
    stationary law is the tent exp(-|x - x_0| / s) / (2 s), s = (beta rate)^(-1/2).
    """

    rate: float | Schedule
    law: Law

    def __post_init__(self) -> None:
        given: Any = self.rate
        if checks.time_dependent(given) and not callable(given):
            raise TypeError(
                f"the rate of Resetting must be a number or a function of time alone, got "
                f"{checks.shown(given)}, of places too; killing= and source= may depend on place"
            )
        rate: Any = _rate(given)
        object.__setattr__(self, "rate", rate)
        require_law("the law of Resetting", self.law)

    def rate_at(self, t: float) -> float:
        """The rate at time t."""
        return self.rate(t) if callable(self.rate) else self.rate

    def as_killing(self) -> Any:
        """The rate as that of killing."""
        if not callable(self.rate):
            return self.rate
        return InTime(lambda x, t: 0 * x[..., 0] + self.rate_at(t))

    def as_source(self, density: Array) -> Any:
        """What comes back as a source, of a density given at the centres of the cells."""
        if callable(self.rate):
            return InTime(lambda x, t: self.rate_at(t) * density)
        back = self.rate * density
        return lambda _: back

    def hazard(self, t: float, back: float) -> tuple[Array, Array]:
        """Times s before t, from 0 to ``back``, and ∫ of the rate from t - s to t.

        The integrals are those of Gauss' rule with three nodes in each of the pieces.
        """
        s = np.linspace(0.0, back, _PARTS + 1)
        if not callable(self.rate):
            return s, self.rate * s
        x, w = np.polynomial.legendre.leggauss(3)
        h = back / _PARTS / 2
        values = np.array([self.rate(max(t - a - h * (1 + y), 0.0)) for a in s[:-1] for y in x])
        return s, np.append(0.0, np.cumsum(values.reshape(-1, 3) @ w * h))


def waiting(hazard: tuple[Array, Array], risks: Array) -> Array:
    """The s at which the integral of a rate reaches each of the ``risks``."""
    s, grown = hazard
    return np.asarray(np.interp(risks, grown, s))


def _rate(value: Any) -> float | RateInTime:
    if isinstance(value, RateInTime):
        return value
    if callable(value):
        return RateInTime(value)
    return checks.positive("the rate of Resetting", value)


def require_resetting(what: str, value: Any) -> None:
    """``TypeError`` unless ``value`` is a ``Resetting``."""
    if not isinstance(value, Resetting):
        raise TypeError(f"{what} must be Resetting(rate, law), got {checks.shown(value)}")
