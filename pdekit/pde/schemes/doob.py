"""The Hamilton-Jacobi-Bellman equation of controlled Langevin dynamics, by its linearisation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.errors import ConvergenceError
from pdekit.pde.bellman import DoobSteps, advanced
from pdekit.pde.equations import HamiltonJacobiBellman
from pdekit.pde.generators import Generator
from pdekit.pde.problem import Problem
from pdekit.pde.schemes.exponential import propagate

Array = NDArray[np.float64]
_MOST_PARTS = 4096
_MOST_STEPS = 50_000


@dataclass(frozen=True)
class DoobTransform:
    """u = -(2/beta) log w, w_t = L w, w(0) = exp(-beta u_0 / 2): exact in time, second order in h.

    The controlled process is Doob's h-transform of the Langevin process by w (MODEL 1.7). Over a
    step the unknown is z = exp(-beta (u(t + s) - u(t)) / 2) = exp(s L~) 1, where
    L~ = exp(beta u(t) / 2) L exp(-beta u(t) / 2) is again tridiagonal: numbers of order one at any
    beta, where exp(-beta u / 2) itself would underflow. Each step is taken whole and in halves;
    the halves are kept when the two differ in u by at most ``rtol`` of the range of u_0 (of
    1/beta where that is larger).
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

    def steps(self, problem: Problem) -> DoobSteps:
        """The Bellman steps of a problem: one for every length, exact in time on a line."""
        if problem.moves:
            raise ValueError(
                "HamiltonJacobiBellman is solved for a potential fixed in time; "
                f"got {problem.equation.potential!r}"
            )
        return DoobSteps(problem.generator(), problem.equation.beta)

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        steps = self.steps(problem)
        if problem.grid.dim == 2:
            return self._plane(problem, steps, stats)
        generator, cost = problem.generator(), problem.running_cost()
        state: dict[str, Any] = {"u": problem.values, "t": 0.0, "step": np.inf}
        scale = max(float(np.ptp(problem.values)), 1 / problem.equation.beta)
        stats["error_estimate"] = 0.0

        def advance(t: float) -> Array:
            while state["t"] < t:
                left = t - state["t"]
                self._step(problem, generator, cost, scale, state, left, stats)
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
                        f"{count} steps over [{state['t']:g}, {t:g}] of time to go still differ "
                        f"from twice as many by {error:.2g}; refine the grid, raise rtol_plane or "
                        "use schemes.PolicyIteration()"
                    )
            state.update(u=halves, t=t, count=max(1, count // 2))
            stats["steps"] += 2 * count
            stats["substeps"].append(2 * count)
            stats["error_estimate"] += error / 3 / scale
            return np.asarray(halves)

        return advance

    def _step(
        self,
        problem: Problem,
        generator: Generator,
        cost: Array | float,
        scale: float,
        state: dict[str, Any],
        left: float,
        stats: dict[str, Any],
    ) -> None:
        beta, u = problem.equation.beta, state["u"]
        step = min(state["step"], left)
        while True:
            whole = evolve(generator, beta, cost, u, step)
            half = evolve(generator, beta, cost, u, step / 2)
            fine = None if half is None else evolve(generator, beta, cost, half, step / 2)
            error = np.inf
            if whole is not None and fine is not None:
                error = float(np.abs(whole - fine).max()) / scale
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
        stats["error_estimate"] += error


def _marched(
    steps: DoobSteps, u: Array, span: float, count: int, cost: Array | float
) -> Array | None:
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return advanced(steps, u, span, count, cost)[0]
    except ConvergenceError:  # a step lost its sign: it is too long
        return None


def _distance(u: Array, v: Array) -> float:
    return float(np.abs(u - v).max())


def tilted(
    generator: Generator, beta: float, cost: Array | float, u: Array
) -> tuple[Generator, Array]:
    """exp(beta u / 2) (L - beta cost / 2) exp(-beta u / 2) as tilted rates and what they lose."""
    difference = np.roll(u, -1) - u if generator.grid.periodic[0] else np.diff(u)
    tilt = np.exp(-beta / 2 * difference)
    new = Generator(generator.grid, (generator.up[0] * tilt,), (generator.down[0] / tilt,))
    return new, generator.exit_rate() - new.exit_rate() + beta / 2 * cost


def evolve(
    generator: Generator, beta: float, cost: Array | float, u: Array, step: float
) -> Array | None:
    """u after ``step``, or None where z lost its sign or left the range of numbers."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        new, kill = tilted(generator, beta, cost, u)
        z = propagate(new, np.ones_like(u), step, forward=False, kill=kill)
        if not (np.isfinite(z).all() and z.min() > 0):
            return None
        out: Array = u - 2 / beta * np.log(z)
    return out
