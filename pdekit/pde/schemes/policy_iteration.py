"""The Hamilton-Jacobi-Bellman equation by implicit monotone steps and Howard's policy iteration."""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import ClassVar

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.bellman.policy import PolicySteps
from pdekit.pde.bellman.steps import advanced
from pdekit.pde.bellman.value_checks import inner
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.time_variation import breaks_of
from pdekit.pde.equations import HamiltonJacobiBellman

_PULSE = 1e-6  # of beta times a potential or a cost: changes below it are not looked for
_MOST_STEPS = 10_000  # steps; a few milliseconds each on a line of hundreds of cells


class PolicyStats(Stats, total=False):
    """Also the error in time at every output time."""

    step_errors: list[float]


@dataclass(frozen=True)
class PolicyIteration:
    """Implicit steps of at most ``dt``, each solved by policy iteration (three or four policies).

    ``order=2`` (the default): L-stable SDIRK2 steps, u = Φ_γ((1 + √2) Φ_γ(U) - √2 U) with Φ_γ an
    implicit Euler step of length γ dt, γ = 1 - 1/√2, filtered: if such a step differs from the
    monotone one by more than 2 dt r sqrt(dt r / range(u)), r the mean of |u_t|, the monotone
    one is used. It is of second order where u is smooth in time and converges because the monotone
    one does; comparison and the maximum norm are kept up to the band of the filter.
    ``stats["filtered"]`` is the largest share of filtered cells. ``order=1``: the monotone step
    alone, u - dt 𝓕(u) = U, which is monotone and non-expansive in the maximum norm at any ``dt``.

    The Hamiltonian is exponentially fitted, so that the linearised operator is the
    Scharfetter-Gummel generator of V + u: second order in h while |∇(V + u)| h is below about
    2/beta, upwind (first order, Engquist and Osher's Hamiltonian) beyond. ``control``
    propagates the density by exactly the transposed steps; if a second-order one makes it negative
    (a density narrower than the diffusion length of a step), the monotone step is used instead, and
    ``stats["monotone_steps"]`` of the density counts those.

    A second-order step that is too long for the data (it leaves their range, or more than a
    quarter of the cells are filtered) is halved, recursively. The error in time is estimated by
    a second run with steps of other lengths: ``stats["step_errors"]``, in units of the cost at
    every output time, a tenth of the box away from its walls, and the largest of them over the
    range of the data (1/beta where that is larger) as ``stats["error_estimate"]``. Warns if it is
    large (``AccuracyWarning``).

    One and two dimensions, walls or periodic. Good for steep data and large beta, where
    ``DoobTransform`` is not; the spacing of the stored times is a good ``dt``, a fifth of it with
    ``order=1``. Raises ``ConvergenceError`` if the policies do not converge, and for more than
    10,000 steps. Mathematics 1.7; thesis (4.31); Howard's algorithm: Bokanowski, Maroso and Zidani
    2009; filter: Froese and Oberman 2013.
    """

    dt: float = 0.01
    order: int = 2

    solves = (HamiltonJacobiBellman,)
    measures_error: ClassVar[bool] = True  # in time, by steps of other lengths

    def __post_init__(self) -> None:
        checks.positive("dt", self.dt)
        if checks.whole("order", self.order, 1) > 2:
            raise ValueError(f"order must be 1 (monotone) or 2 (filtered), got {self.order!r}")

    def refuses(self, problem: Problem) -> str:
        """Nothing: "" for every problem of the equation."""
        return ""

    def steps(self, problem: Problem) -> PolicySteps:
        """The Bellman steps of a problem."""
        return PolicySteps(problem.potential(), problem.equation.beta, problem.grid, self.order)

    def count(self, span: float) -> int:
        """Steps over a span; raises where they are too many."""
        if not span / self.dt < _MOST_STEPS:
            least = float(f"{span / _MOST_STEPS * 1.5:.1g}")
            raise ConvergenceError(
                f"{span:g} of time to go takes more than {_MOST_STEPS} steps of dt = {self.dt:g}; "
                f"PolicyIteration(dt={least:g}) takes fewer, and reports their error"
            )
        return max(1, ceil(span / self.dt * (1 - 1e-12)))

    def start(self, problem: Problem, stats: PolicyStats) -> March:
        self.count(problem.until or 0.0)
        run = _Run(self, problem, stats)
        march = March(problem.values, run.over, stats, errors=run.errors)
        stats["substeps"], stats["step_errors"] = march.counts, run.errors
        stats["error_estimate"] = 0.0
        return march


class _Run:
    """The value function, and a second one with other steps."""

    def __init__(self, scheme: PolicyIteration, problem: Problem, stats: PolicyStats) -> None:
        self.scheme, self.stats, self.cost = scheme, stats, problem.running_cost()
        self.problem, self.breaks = problem, breaks_of(problem, _PULSE)
        self.steps, self.other_steps = scheme.steps(problem), scheme.steps(problem)
        self.other, self.inner = problem.values, inner(problem.grid)
        self.scale = max(float(np.ptp(problem.values)), 1 / problem.equation.beta)
        self.errors: list[float] = []

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to go to another."""
        total, error = 0, 0.0
        for piece in pairwise([begin, *(s for s in self.breaks if begin < s < end), end]):
            u, error, count = self._piece(u, *piece)
            total += count
        self.errors.append(error)
        self.stats["filtered"] = self.steps.filtered_share
        self.stats["error_estimate"] = max(self.errors) / self.scale
        return u, total

    def _piece(self, u: Array, begin: float, end: float) -> tuple[Array, float, int]:
        """u after a piece of time in which nothing jumps, its error, and the steps taken."""
        cuts, count = self.steps.cuts, self.scheme.count(end - begin)
        u = self._advanced(self.steps, u, begin, end - begin, count)
        return u, self._error(u, (begin, end), count, self.steps.cuts > cuts), count

    def _advanced(
        self, steps: PolicySteps, u: Array, begin: float, span: float, count: int
    ) -> Array:
        """``advanced``; where something moves with half of the running cost at either end of a
        step, and the potential of its middle."""
        if not self.problem.time_dependent:
            return advanced(steps, u, span, count, self.cost)[0]
        h = span / count
        for k in range(count):
            before, after = (self.problem.running_cost(begin + j * h) for j in (k, k + 1))
            steps.take(self.problem.potential(begin + (k + 0.5) * h))
            u = advanced(steps, u + h / 2 * before, h, 1, 0.0)[0] + h / 2 * after
        return u

    def _error(self, u: Array, ends: tuple[float, float], count: int, cut: bool) -> float:
        """Error of the steps, by comparison with others: twice as long, or
        half as long if some were halved, or an eighth if there is only one. For smooth solutions
        the difference is three times the error of long steps; with filtered cells and for steps of
        order one the order may drop to 1/2.
        """
        longer = count > 1 and not cut
        parts = 8 if count == 1 else 2
        self.other_steps.parts = 2 if cut else 1
        others = count // 2 if longer else parts * count
        begin, end = ends
        there = self.other_steps, self.other, begin, end - begin, others
        self.other = self._advanced(*there)
        smooth = self.scheme.order == 2 and not cut and self.steps.filtered_share == 0
        share = (1 if longer else 3) if smooth else (2.5 if longer else 4)
        if count == 1:
            share = 1.5 if smooth else 2.5
        return share * float(np.abs(u - self.other)[self.inner].max())
