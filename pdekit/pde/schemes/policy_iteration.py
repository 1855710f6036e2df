"""The Hamilton-Jacobi-Bellman equation by implicit monotone steps and Howard's policy iteration."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.pde.bellman import advanced
from pdekit.pde.equations import HamiltonJacobiBellman
from pdekit.pde.policy import PolicySteps
from pdekit.pde.problem import Problem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PolicyIteration:
    """Implicit Euler steps of at most ``dt``, each closed by policy iteration (four or five).

    The Hamiltonian is exponentially fitted, so that the linearised operator is the
    Scharfetter-Gummel generator of V + u: second order in h while |∇(V + u)| h is below about
    2/beta, upwind (first order, Engquist and Osher's Hamiltonian) beyond; first order in time.
    Every step is monotone, commutes with constants and does not expand the maximum norm, at any
    ``dt``. ``control`` carries the density by exactly the transposed steps. One and two dimensions,
    walls or periodic. Good for steep data and large beta, where ``DoobTransform`` is not; half the
    stored spacing is a good ``dt``. Raises ``ConvergenceError`` where the policies do not settle.
    MODEL 1.7; thesis (4.31); Howard's algorithm: Bokanowski, Maroso and Zidani 2009.
    """

    dt: float = 0.01

    solves = (HamiltonJacobiBellman,)

    def __post_init__(self) -> None:
        if not isinstance(self.dt, Real):
            raise TypeError(f"dt is a time step, a number; got {self.dt!r}")
        if not 0 < self.dt < inf:
            raise ValueError(f"dt must be positive and finite, got {self.dt}")

    def steps(self, problem: Problem) -> PolicySteps:
        """The Bellman steps of a problem."""
        _require_still(problem)
        return PolicySteps(problem.potential(), problem.equation.beta, problem.grid)

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
            return np.asarray(state["u"])

        return advance


def _require_still(problem: Problem) -> None:
    if problem.moves:
        raise ValueError(
            "HamiltonJacobiBellman is solved for a potential fixed in time; "
            f"got {problem.equation.potential!r}"
        )
