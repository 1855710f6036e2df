"""Stochastic resetting: returning at random times to where a law says."""

from dataclasses import dataclass
from typing import Any

from pdekit import checks
from pdekit.laws import Law, require_law


@dataclass(frozen=True)
class Resetting:
    """At the times of a Poisson process of ``rate`` the position is drawn anew from ``law``.

    Densities: rho_t = A rho - rate rho + rate M law, M the mass; expectations: u_t = L u + rate
    (∫ u law - u). ``rate`` > 0 per time. Evans and Majumdar, Phys. Rev. Lett. 106 (2011): of free
    diffusion, reset to a point x_0, the stationary law is the tent exp(-|x - x_0| / s) / (2 s),
    s = (beta rate)^(-1/2).
    """

    rate: float
    law: Law

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checks.positive("the rate of Resetting", self.rate))
        require_law("the law of Resetting", self.law)


def require_resetting(what: str, value: Any) -> None:
    """``TypeError`` unless ``value`` is a ``Resetting``."""
    if not isinstance(value, Resetting):
        raise TypeError(f"{what} must be Resetting(rate, law), got {checks.shown(value)}")
