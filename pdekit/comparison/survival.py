"""How many particles are left, against the mass of a sub-probability."""

from dataclasses import dataclass
from typing import Any

from scipy.special import bdtr, bdtrc

FEWEST = 50
"""Survivors whose places are compared."""


@dataclass(frozen=True)
class Survival:
    """``going`` independent particles of at most ``most``, where ``started`` have the mass one.

    Each of the most is there with a probability of its own, if some entered on the way; the mean of
    their number is that of the ``mass``, and its tails are below those of the binomial law with the
    same mean (Hoeffding 1956).
    """

    going: int
    started: int
    mass: float
    most: int

    @property
    def p_value(self) -> float:
        """Twice the smaller tail of the binomial law, at most 1."""
        return two_sided(self.going, self.most, min(1.0, self.mass * self.started / self.most))

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
    started, there = int(alive.attrs.get("started", kept)), alive.isel(time=number)
    most = int(there["most"]) if "most" in there.coords else started
    return Survival(round(float(there) * started), started, mass, most)


def most_of(alive: Any, number: int) -> float:
    """The largest mass of particles of one time, of an ensemble's ``alive``."""
    if alive is None or "most" not in alive.coords:
        return 1.0
    return float(alive["most"][number]) / float(alive.attrs["started"])
