"""The Hamilton-Jacobi-Bellman equation by implicit monotone steps and Howard's policy iteration."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.pde.bellman import advanced
from pdekit.pde.equations import HamiltonJacobiBellman
from pdekit.pde.policy import PolicySteps
from pdekit.pde.problem import Problem

Array = NDArray[np.float64]


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

    One and two dimensions, walls or periodic. Good for steep data and large beta, where
    ``DoobTransform`` is not; the stored spacing is a good ``dt``, a fifth of it with ``order=1``.
    Raises ``ConvergenceError`` where the policies do not settle.
    MODEL 1.7; thesis (4.31); Howard's algorithm: Bokanowski, Maroso and Zidani 2009; filter: Froese
    and Oberman 2013.
    """

    dt: float = 0.01
    order: int = 2

    solves = (HamiltonJacobiBellman,)

    def __post_init__(self) -> None:
        checks.positive("dt", self.dt)
        if checks.whole("order", self.order, 1) > 2:
            raise ValueError(f"order must be 1 (monotone) or 2 (filtered), got {self.order!r}")

    def steps(self, problem: Problem) -> PolicySteps:
        """The Bellman steps of a problem."""
        _require_still(problem)
        return PolicySteps(problem.potential(), problem.equation.beta, problem.grid, self.order)

    def count(self, span: float) -> int:
        """Steps over a span."""
        return max(1, ceil(span / self.dt * (1 - 1e-12)))

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        steps, cost = self.steps(problem), problem.running_cost()
        state: dict[str, Any] = {"u": problem.values, "t": 0.0}
        stats["substeps"] = []

        def advance(t: float) -> Array:
            span = t - state["t"]
            count = self.count(span)
            state["u"], _ = advanced(steps, state["u"], span, count, cost)
            state["t"] = t
            stats["steps"] += count
            stats["substeps"].append(count)
            stats["filtered"] = steps.held
            return np.asarray(state["u"])

        return advance


def _require_still(problem: Problem) -> None:
    if problem.moves:
        raise ValueError(
            "HamiltonJacobiBellman is solved for a potential fixed in time; "
            f"got {problem.equation.potential!r}"
        )
