"""The Hamilton-Jacobi-Bellman equation by implicit monotone steps and Howard's policy iteration."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.bellman.policy import PolicySteps
from pdekit.pde.bellman.steps import advanced
from pdekit.pde.bellman.vouched import inner
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import HamiltonJacobiBellman

_MOST_STEPS = 10_000  # a few milliseconds each on a line of hundreds of cells


@dataclass(frozen=True)
class PolicyIteration:
    """Implicit steps of at most ``dt``, each closed by policy iteration (three or four policies).

    ``order=2`` (the default): L-stable SDIRK2 steps, u = Φ_γ((1 + √2) Φ_γ(U) - √2 U) with Φ_γ an
    implicit Euler step of length γ dt, γ = 1 - 1/√2, filtered: where such a step is further from
    the monotone one than 2 dt r sqrt(dt r / range(u)), r the mean of |u_t|, the monotone one is
    taken. It is of second order where u is smooth in time and converges because the monotone one
    does; comparison and the maximum norm are kept up to the band of the filter.
    ``stats["filtered"]`` is the largest share of cells held back. ``order=1``: the monotone step
    alone, u - dt 𝓕(u) = U, which keeps order and does not expand the maximum norm at any ``dt``.

    The Hamiltonian is exponentially fitted, so that the linearised operator is the
    Scharfetter-Gummel generator of V + u: second order in h while |∇(V + u)| h is below about
    2/beta, upwind (first order, Engquist and Osher's Hamiltonian) beyond. ``control`` carries the
    density by exactly the transposed steps; should a second-order one leave it below zero (a
    density narrower than what diffuses in a step), the density takes the monotone step instead, and
    ``stats["monotone_steps"]`` of the density counts those.

    A second-order step that is too long for the data (it leaves their range, or the filter holds
    more than a quarter of the cells) is cut in two, and again. The error in time is measured by a
    second run in steps of other lengths: ``stats["step_errors"]``, in units of the cost at every
    output time, a tenth of the box away from its walls, and the largest of them over the range of
    the data (1/beta where that is larger) as ``stats["error_estimate"]``. Warns where that is much
    (``AccuracyWarning``).

    One and two dimensions, walls or periodic. Good for steep data and large beta, where
    ``DoobTransform`` is not; the stored spacing is a good ``dt``, a fifth of it with ``order=1``.
    Raises ``ConvergenceError`` where the policies do not settle, and for more than 10,000 steps.
    Mathematics 1.7; thesis (4.31); Howard's algorithm: Bokanowski, Maroso and Zidani 2009; filter:
    Froese and Oberman 2013.
    """

    dt: float = 0.01
    order: int = 2

    solves = (HamiltonJacobiBellman,)

    def __post_init__(self) -> None:
        checks.positive("dt", self.dt)
        if checks.whole("order", self.order, 1) > 2:
            raise ValueError(f"order must be 1 (monotone) or 2 (filtered), got {self.order!r}")

    def refuses(self, problem: Problem) -> str:
        """What it cannot solve, and what can; "" where it can."""
        return ""

    def steps(self, problem: Problem) -> PolicySteps:
        """The Bellman steps of a problem."""
        return PolicySteps(problem.potential(), problem.equation.beta, problem.grid, self.order)

    def count(self, span: float) -> int:
        """Steps over a span; raises where they are too many."""
        if not span / self.dt < _MOST_STEPS:
            least = float(f"{span / _MOST_STEPS * 1.5:.1g}")
            raise ConvergenceError(
                f"{span:g} of time to go takes more than {_MOST_STEPS} steps of dt = "
                f"{self.dt:g}; PolicyIteration(dt={least:g}) takes fewer, and says what they err by"
            )
        return max(1, ceil(span / self.dt * (1 - 1e-12)))

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        self.count(problem.until or 0.0)
        cost = problem.running_cost()
        own, other = _March(self.steps(problem), problem), _March(self.steps(problem), problem)
        scale = max(float(np.ptp(problem.values)), 1 / problem.equation.beta)
        stats.update(substeps=[], step_errors=[], error_estimate=0.0)

        def advance(t: float) -> Array:
            count, cuts = self.count(t - own.t), own.steps.cuts
            u = own.to(t, count, cost)
            error = self._error(own, other, t, (count, own.steps.cuts > cuts), cost)
            stats["steps"] += count
            stats["substeps"].append(count)
            stats["filtered"] = own.steps.held
            stats["error_estimate"] = max(stats["error_estimate"], error / scale)
            stats["step_errors"].append(error)
            return u

        return advance

    def _error(
        self, own: "_March", other: "_March", t: float, taken: tuple[int, bool], cost: Any
    ) -> float:
        """What the steps err by, from the same with others: twice as long, or half as long where
        some were cut (cut again alike, they would agree), or an eighth where there is but one.

        Where all is smooth that difference is three times the error of long steps; where the
        filter holds and for steps of order one the order may sink to a half.
        """
        count, cut = taken
        longer = count > 1 and not cut
        parts = 8 if count == 1 else 2
        other.steps.parts = 2 if cut else 1
        other.to(t, count // 2 if longer else parts * count, cost)
        smooth = self.order == 2 and not cut and own.steps.held == 0
        share = (1 if longer else 3) if smooth else (2.5 if longer else 4)
        if count == 1:
            share = 1.5 if smooth else 2.5
        return share * float(np.abs(own.u - other.u)[own.inner].max())


class _March:
    """A value function on its way."""

    def __init__(self, steps: PolicySteps, problem: Problem) -> None:
        self.steps, self.u, self.t, self.inner = steps, problem.values, 0.0, inner(problem.grid)

    def to(self, t: float, count: int, cost: Array | float) -> Array:
        self.u, _ = advanced(self.steps, self.u, t - self.t, count, cost)
        self.t = t
        return np.asarray(self.u)
