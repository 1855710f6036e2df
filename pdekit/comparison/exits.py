"""Where and when particles stopped, against what the density loses through each wall.

Of the particles on their way at one time, those that stop before the next at each wall, or by the
clock, are multinomial: with probabilities (left(t) - left(s)) / survival(s), ``left`` what has left
the density there. The ways are taken one after the other, each binomial among the particles that
took none before, so that the tests are exact for any numbers, and independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pdekit.arrays import Array, IntArray
from pdekit.comparison.survival import two_sided

_ROUNDING = 1e-12  # of the mass: what has left is known to no more


@dataclass(frozen=True)
class Exits:
    """Of ``going`` particles at the time before, ``counts`` stopped at each of the ``walls``, each
    with the ``chances``.
    """

    walls: Array
    counts: IntArray
    chances: Array
    going: int
    repeats: bool  # says no more than the number of survivors does

    @property
    def p_value(self) -> float:
        """The smallest of those of the ways, twice the smaller tail each, times their number."""
        left, rest, p = self.going, 1.0, [1.0]
        for count, chance in zip(self.counts, self.chances, strict=True):
            share = min(chance / rest, 1.0) if rest > _ROUNDING else 0.0
            p.append(two_sided(int(count), left, share))
            left, rest = left - int(count), rest - chance
        return float(min(1.0, len(self.counts) * min(p)))

    def row(self) -> dict[str, Any]:
        """What a comparison says of it."""
        p = {} if self.repeats else {"p_exits": self.p_value}
        return {"exits": self.counts, "expected_exits": self.going * self.chances, **p}


def exits_of(solution: Any, ensemble: Any, pairs: list[tuple[int, int]]) -> list[Exits | None]:
    """Those up to each of the times that both have, since the one before; None where not known."""
    ends, left = getattr(ensemble, "exits", None), _left(solution)
    if ends is None or left is None:
        return [None] * len(pairs)
    times, walls = ends["time"].values.ravel(), ends["wall"].values.ravel()
    found: dict[int, Exits] = {}
    before, gone, ways = 0.0, np.zeros(left.sizes["wall"]), left["wall"].values
    for here, _ in sorted(pairs):
        now, after = float(left["time"][here]), np.maximum(left.values[here], gone)
        stopped = (times > before) & (times <= now)
        counts = np.array([np.count_nonzero(stopped & (walls == way)) for way in ways])
        going = int(np.count_nonzero(~(times <= before)))
        mass = max(1.0 - gone.sum(), _ROUNDING)
        repeats = len(ways) == 1 and before == 0.0
        found[here] = Exits(ways, counts, (after - gone) / mass, going, repeats)
        before, gone = now, after
    return [found[here] for here, _ in pairs]


def _left(solution: Any) -> Any:
    """What has left through each wall over time; None where the solution cannot tell."""
    try:
        found = getattr(solution, "exits", None)
    except ValueError:
        return None
    return None if found is None else found["left"]
