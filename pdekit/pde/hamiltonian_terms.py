"""Terms of a Hamiltonian that is a sum over the axes: extrema, velocities, conjugates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, inf, log2
from typing import Any

import numpy as np

from pdekit.arrays import Array

Scalar = Callable[[Any], Any]
_SCAN = 4097  # number of slopes at which an unknown derivative is sampled
_NEAREST = 1e-8  # of the largest slope: distance over which a chord is more than rounding
_SHORT = 1e-3  # of the way between two slopes that are sampled: a chord at each
_LEVEL = 1e-9  # of the largest |H'|: what may be the rounding of differences where H is level


@dataclass(frozen=True)
class Term:
    """One axis of a sum: H(p), H'(p), and the rest if known; all act on arrays elementwise.

    ``turns`` are the slopes at which H' changes sign (None: to be found); ``conjugate`` is
    L(v) = max_p p v - H(p), finite for ``|v| <= reach`` (None: unknown).
    """

    value: Scalar
    slope: Scalar
    turns: tuple[float, ...] | None = None
    convex: bool = False
    conjugate: Scalar | None = None
    reach: float = inf

    def extrema(self, low: float, high: float) -> Array:
        """The local extrema of H in [low, high], found by sign changes of H' where not given."""
        turns = self.turns
        if turns is None:
            turns = _found(self.slope, *_covering(low, high))
        points = np.array(turns, dtype=float)
        return points[(points > low) & (points < high)]

    def velocities(self, low: float, high: float) -> tuple[float, float]:
        """Least and greatest H' over [low, high]; of chords, with a margin, where not convex."""
        if self.convex:
            ends = np.asarray(self.slope(np.array([low, high])), dtype=float)
            return float(ends[0]), float(ends[1])
        nearest = _NEAREST * (max(abs(low), abs(high)) or 1.0)
        starts = np.linspace(
            low, max(high, low + nearest), min(_SCAN, int((high - low) / nearest) + 2)
        )
        # short ones, which follow H where it turns many times, and those between them
        short = max(nearest, _SHORT * (starts[1] - starts[0]))
        p = np.append(np.stack([starts[:-1], starts[:-1] + short], 1), starts[-1])
        p = p if short < starts[1] - starts[0] else starts
        chords = np.diff(np.asarray(self.value(p), dtype=float)) / np.diff(p)
        margin = float(np.abs(np.diff(chords)).max(initial=0.0))
        return float(chords.min()) - margin, float(chords.max()) + margin


def _covering(low: float, high: float) -> tuple[float, float]:
    """A slightly wider interval on round numbers, so that results on it can be cached."""
    unit = 2.0 ** ceil(log2(max(high - low, 1e-300))) / 8
    return floor(low / unit) * unit, ceil(high / unit) * unit


def forget_turns() -> None:
    """A run finds them anew: a user's function may have changed since the last."""
    _found.cache_clear()


@lru_cache(maxsize=64)
def _found(slope: Scalar, low: float, high: float) -> tuple[float, ...]:
    """Sign changes of H' in [low, high], by a scan and bisection; one of each where H is level."""
    p = np.linspace(low, high, _SCAN)
    values = np.asarray(slope(p), dtype=float)
    level = np.abs(values) <= _LEVEL * np.abs(values).max()
    known = np.flatnonzero(~level)
    change = np.flatnonzero(np.sign(values[known][:-1]) * np.sign(values[known][1:]) < 0)
    a, b = p[known[change]], p[known[change + 1]]
    rising = np.sign(values[known[change]])
    for _ in range(60 if a.size else 0):
        middle = (a + b) / 2
        left = np.sign(np.asarray(slope(middle), dtype=float)) == rising
        a, b = np.where(left, middle, a), np.where(left, b, middle)
    return tuple(((a + b) / 2).tolist())
