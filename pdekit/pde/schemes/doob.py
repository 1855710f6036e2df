"""The Hamilton-Jacobi-Bellman equation of controlled Langevin dynamics, by its linearisation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.bellman.h_transform import ROUNDING, Evolution
from pdekit.pde.bellman.steps import DoobSteps, advanced
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import HamiltonJacobiBellman

_MOST_PARTS = 4096
_MOST_STEPS = 50_000
_WARY = 8.0  # times what steps of other lengths change: their errors need not grow with the length


@dataclass(frozen=True)
class DoobTransform:
    """u = -(2/beta) log w, w_t = L w, w(0) = exp(-beta u_0 / 2): exact in time, second order in h.

    The controlled process is Doob's h-transform of the Langevin process by w (mathematics 1.7).
    Over a step the unknown is z = exp(-beta (u(t + s) - u(t)) / 2) = exp(s L~) 1, where
    L~ = exp(beta u(t) / 2) L exp(-beta u(t) / 2) is again tridiagonal: numbers of order one at any
    beta, where exp(-beta u / 2) itself would underflow. Each step is taken whole and in halves;
    the halves are kept when the two differ in u by at most ``rtol`` of the range of u_0 (with a
    running cost, of 1/beta where that is larger). Steps of few jumps are right to rounding; where
    beta u is small the equation is solved in a form that is linear in u (``Evolution``).
    In two dimensions exp(s L) is split by lines (Strang): a step is the composition of such
    steps along x, y and x, monotone as a whole; every output interval is cut into 1, 2, 4, ...
    steps until halving them changes u by at most ``rtol_plane`` of the same scale.
    Raises ``ConvergenceError`` where the data are too steep for the grid.
    """

    rtol: float = 1e-9
    rtol_plane: float = 1e-5

    solves = (HamiltonJacobiBellman,)
    most_jump: ClassVar[float] = (
        2.0  # of beta |Δu| / 2: beyond it no comparison of grids is believed
    )

    def __post_init__(self) -> None:
        for name in ("rtol", "rtol_plane"):
            checks.within(name, getattr(self, name), 1e-12, 1)

    def refuses(self, problem: Problem) -> str:
        """What it cannot solve, and what can; "" where it can."""
        return ""

    def steps(self, problem: Problem) -> DoobSteps:
        """The Bellman steps of a problem: one for every length, exact in time on a line."""
        return DoobSteps(problem.generator(), problem.equation.beta)

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        steps = self.steps(problem)
        if problem.grid.dim == 2:
            return self._plane(problem, steps, stats)
        evolve = Evolution(problem.generator(), problem.equation.beta, problem.running_cost())
        state: dict[str, Any] = {"u": problem.values, "t": 0.0, "step": np.inf}
        scale = self._scale(evolve, problem)
        stats["error_estimate"] = 0.0

        def advance(t: float) -> Array:
            while state["t"] < t:
                left = t - state["t"]
                self._step(evolve, scale, state, left, stats)
            return state["u"]

        return advance

    def _plane(
        self, problem: Problem, steps: DoobSteps, stats: dict[str, Any]
    ) -> Callable[[float], Array]:
        cost = problem.running_cost()
        scale = max(float(np.ptp(problem.values)), 1 / problem.equation.beta)
        state: dict[str, Any] = {"u": problem.values, "t": 0.0, "count": 1}
        stats.update(error_estimate=0.0, substeps=[])

        def advance(t: float) -> Array:
            u, span, count = state["u"], t - state["t"], state["count"]
            whole = _marched(steps, u, span, count, cost)
            while True:
                halves = _marched(steps, u, span, 2 * count, cost)
                error = np.inf if whole is None or halves is None else _distance(whole, halves)
                if error <= 3 * self.rtol_plane * scale:
                    break
                count, whole = 2 * count, halves
                if count > _MOST_PARTS:
                    raise ConvergenceError(
                        f"{count} steps over [{state['t']:g}, {t:g}] of time to go "
                        + _unresolved(error)
                    )
            state.update(u=halves, t=t, count=max(1, count // 2))
            stats["steps"] += 2 * count
            stats["substeps"].append(2 * count)
            stats["error_estimate"] += error / 3 / scale
            return np.asarray(halves)

        return advance

    def _scale(self, evolve: "Evolution", problem: Problem) -> float:
        """What errors are measured by: the range of the value, but not less than its rounding."""
        u, span = problem.values, problem.until or 0.0
        size, high = float(np.ptp(u)), ROUNDING / self.rtol * float(np.abs(u).max())
        return max(min(1 / evolve.beta, size + span * evolve.costly), size, high, 1e-300)

    def _step(
        self,
        evolve: "Evolution",
        scale: float,
        state: dict[str, Any],
        left: float,
        stats: dict[str, Any],
    ) -> None:
        beta, u = evolve.beta, state["u"]
        step = min(state["step"], left)
        while True:
            fine, error = self._tried(evolve, u, step, scale)
            if error <= self.rtol:
                break
            step /= 4
            if step < 1e-14 * max(left, state["t"]):
                raise ConvergenceError(
                    f"no step resolves the value function at time to go {state['t']:g}: its jump "
                    f"between neighbouring cells reaches {np.abs(np.diff(u)).max():.3g} at "
                    f"beta = {beta:g}; refine the grid, or use schemes.PolicyIteration()"
                )
        if stats["steps"] > _MOST_STEPS:
            raise ConvergenceError(
                f"{_MOST_STEPS} steps reach time to go {state['t']:g} only, another {left:g} is "
                f"left: the value function is too steep for the grid (beta = {beta:g}); refine it, "
                "or use schemes.PolicyIteration()"
            )
        state["u"] = fine
        state["t"] = state["t"] + step if step < left else state["t"] + left
        state["step"] = step * (4 if error < self.rtol / 100 else 1)
        stats["steps"] += 2
        stats["error_estimate"] += float(error)

    def _tried(
        self, evolve: "Evolution", u: Array, step: float, scale: float
    ) -> tuple[Array | None, float]:
        """u after a step and its error over ``scale``; infinite where there is none."""
        whole = evolve(u, step)
        if whole is not None and evolve.exact(u, step):
            own = ROUNDING * float(np.abs(whole).max())
            return whole, (own + evolve.rounding(u, step)) / scale
        half = evolve(u, step / 2)
        fine = None if half is None else evolve(half, step / 2)
        if whole is None or fine is None:
            return None, np.inf
        apart = _WARY * _distance(whole, fine)
        return fine, (apart + evolve.rounding(u, step)) / scale


def _marched(
    steps: DoobSteps, u: Array, span: float, count: int, cost: Array | float
) -> Array | None:
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return advanced(steps, u, span, count, cost)[0]
    except ConvergenceError:  # a step lost its sign: it is too long
        return None


def _unresolved(error: float) -> str:
    """What so many steps leave, and what helps."""
    if np.isfinite(error):
        return (
            f"still differ from twice as many by {error:.2g}; raise rtol_plane or use "
            "schemes.PolicyIteration()"
        )
    return "lose the sign: the costs are too steep for this grid; use schemes.PolicyIteration()"


def _distance(u: Array, v: Array) -> float:
    return float(np.abs(u - v).max())
