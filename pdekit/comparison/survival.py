"""How many particles are left, against the mass of a sub-probability."""

from dataclasses import dataclass
from typing import Any

from scipy.special import bdtr, bdtrc

FEWEST = 50
"""Survivors whose places are compared."""


@dataclass(frozen=True)
class Survival:
    """``going`` of ``started`` independent particles, each left with the probability ``mass``."""

    going: int
    started: int
    mass: float

    @property
    def p_value(self) -> float:
        """Twice the smaller tail of the binomial law, at most 1."""
        return two_sided(self.going, self.started, self.mass)

    def row(self) -> dict[str, Any]:
        """What a comparison says of it."""
        return {
            "survival": self.going / self.started,
            "expected_survival": self.mass,
            "p_survival": self.p_value,
        }


def two_sided(count: int, number: int, chance: float) -> float:
    """Twice the smaller tail, beyond ``count``, of the binomial law; at most 1."""
    above = bdtrc(count - 1, number, chance) if count > 0 else 1.0
    return float(min(1.0, 2 * min(bdtr(count, number, chance), above)))


def survival_of(alive: Any, number: int, mass: float, kept: int) -> Survival | None:
    """That of one time, of an ensemble's ``alive``; None where no particle stops.

    ``kept``: the particles that there are, if the ensemble does not say how many it started with.
    """
    if alive is None:
        return None
    started = int(alive.attrs.get("started", kept))
    return Survival(round(float(alive.isel(time=number)) * started), started, mass)
