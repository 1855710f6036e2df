"""Killing and growth: the part that is the same everywhere is a factor, and exact.

exp(t (A - k)) = exp(-t m) exp(t (A - (k - m))) with m the least rate: what is left is >= 0, so that
schemes see nothing but losses, and a rate that is the same everywhere leaves their problem as it
is without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate_rate
from pdekit.potentials.consistency import note

_FINEST = 1e-12  # error of the integral of a rate that changes in time
_MOST = 600.0  # exponent beyond which a field would overflow


@dataclass(frozen=True)
class Excess:
    """How far a rate of killing is above its ``least`` one."""

    killing: Any
    least: float

    def __call__(self, x: Array) -> Array:
        above: Array = np.maximum(self.killing(x) - self.least, 0.0)
        return above


@dataclass(frozen=True)
class MovingExcess:
    """The same of a rate that changes in time, above its least one on a grid."""

    killing: Any
    grid: Grid

    @property
    def times(self) -> Any:
        return getattr(self.killing, "times", ())

    def at(self, t: float) -> Excess:
        killing = self.killing.at(t)
        return Excess(killing, least_rate(killing, self.grid))


def least_rate(killing: Any, grid: Grid) -> float:
    """The least rate in a cell."""
    return float(evaluate_rate(killing, grid, "the killing rate").min())


def without_growth(problem: Problem) -> Any:
    """The equation whose killing rate is what exceeds the least one: None where that is nothing."""
    equation, grid = problem.equation, problem.grid
    killing = getattr(equation, "killing", None)
    if killing is None:
        return equation
    if checks.time_dependent(killing):
        return replace(equation, killing=MovingExcess(killing, grid))
    rates = problem.fixed_rate("killing")
    if np.ptp(rates) == 0:
        return replace(equation, killing=None)
    excess = Excess(killing, float(rates.min()))
    note(excess, grid.centres)  # the rate itself has been looked at
    return replace(equation, killing=excess)


def factors(problem: Problem, times: Array) -> Array:
    """exp(-∫ m), m the least rate of the problem's killing, up to each time of the equation."""
    killing = getattr(problem.equation, "killing", None)
    if killing is None:
        return np.ones(len(times))
    exponents = [-_integral(problem, killing, float(t)) for t in times]
    if not max(exponents) < _MOST:
        raise ValueError(
            f"killing of negative rate lets the mass grow by exp({max(exponents):.3g}), beyond "
            "floating-point range; use a shorter time, or a smaller rate of growth"
        )
    return np.array([exp(e) for e in exponents])


def _integral(problem: Problem, killing: Any, t: float) -> float:
    """The integral of the least rate from time 0 of the equation to t."""
    if not checks.time_dependent(killing):
        return t * float(problem.fixed_rate("killing").min())
    from scipy.integrate import quad

    def rate(s: float) -> float:
        return least_rate(killing.at(problem.motion_time(s)), problem.grid)

    ends = sorted({0.0, t, *(s for s in problem.breakpoints if 0 < s < t)})
    pieces = (
        quad(rate, a, b, epsabs=_FINEST, epsrel=_FINEST, limit=200)[0] for a, b in pairwise(ends)
    )
    return float(sum(pieces))
