"""Explicit steps above an obstacle that moves."""

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.pde.discrete.problem import Problem

STEPS = 250  # at least, over all the time, where an obstacle moves
_LOOKS = 4  # times of every step at which it is looked at


class Raised:
    """The larger of u and the obstacle: of one that moves also where it peaks within the step.

    So that a pulse of some thousandths of the time is not stepped over. Steps may be tried again
    with an earlier end.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.moves = checks.time_dependent(problem.equation.obstacle)
        self.before = self.now = 0.0

    def __call__(self, u: Array, t: float) -> Array:
        """u at time t, the end of a step."""
        if not self.moves or t <= self.before:
            return self.problem.raised(u, t)
        if t > self.now:
            self.before = self.now
        self.now = t
        before, *within = np.linspace(self.before, t, _LOOKS + 1)[:-1]
        here = self.problem.obstacle(t)
        ends = np.maximum(self.problem.obstacle(float(before)), here)
        u = np.maximum(u, here)
        for s in within:
            peak = self.problem.obstacle(float(s))
            u = np.where(peak > ends, np.maximum(u, peak), u)
        return u

    def longest(self) -> float:
        """The longest step."""
        until = self.problem.until
        return until / STEPS if self.moves and until else np.inf
