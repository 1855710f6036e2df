"""The Hamilton-Jacobi-Bellman equation of controlled Langevin dynamics, by its linearisation."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.errors import ConvergenceError
from pdekit.pde.bellman import DoobSteps, advanced
from pdekit.pde.equations import HamiltonJacobiBellman
from pdekit.pde.generators import Generator
from pdekit.pde.problem import Problem
from pdekit.pde.propagator import line_of, propagate, sweep
from pdekit.pde.rational import exponential_poles

Array = NDArray[np.float64]
_MOST_PARTS = 4096
_MOST_STEPS = 50_000
_GENTLE = 6.0  # of beta / 2 times what u ranges over: up to it exp(-beta u / 2) keeps its digits
_FLAT = 1e-6  # likewise: below it z is one but for rounding
_UNIT = 1e-15  # of rounding, and of what it adds up to over the cells
_FEW_JUMPS = 64.0  # expected in a step
_MOST_JUMPS = 1000  # summed over
_ROUNDING = 1e-15
_WARY = 8.0  # times what steps of other lengths change: their errors need not grow with the length


@dataclass(frozen=True)
class DoobTransform:
    """u = -(2/beta) log w, w_t = L w, w(0) = exp(-beta u_0 / 2): exact in time, second order in h.

    The controlled process is Doob's h-transform of the Langevin process by w (MODEL 1.7). Over a
    step the unknown is z = exp(-beta (u(t + s) - u(t)) / 2) = exp(s L~) 1, where
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

    def _scale(self, evolve: "Evolution", problem: Problem) -> float:
        """What errors are measured by: the range of the value, but not less than its rounding."""
        u, span = problem.values, problem.until or 0.0
        size, high = float(np.ptp(u)), _ROUNDING / self.rtol * float(np.abs(u).max())
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
            own = _ROUNDING * float(np.abs(whole).max())
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


def _distance(u: Array, v: Array) -> float:
    return float(np.abs(u - v).max())


def tilted(
    generator: Generator, beta: float, cost: Array | float, u: Array
) -> tuple[Generator, Array]:
    """exp(beta u / 2) (L - beta cost / 2) exp(-beta u / 2) as tilted rates and what they lose."""
    new = _tilt(generator, beta, u)
    return new, generator.exit_rate() - new.exit_rate() + beta / 2 * cost


def _tilt(generator: Generator, beta: float, u: Array) -> Generator:
    difference = np.roll(u, -1) - u if generator.grid.periodic[0] else np.diff(u)
    tilt = np.exp(-beta / 2 * difference)
    return Generator(generator.grid, (generator.up[0] * tilt,), (generator.down[0] / tilt,))


class Evolution:
    """u -> u after a step, on a line: in the way that keeps the digits of u.

    Where beta u is moderate, by m = (1 - exp(-beta u / 2)) 2 / beta, m_t = (L - beta ℓ / 2) m + ℓ,
    which is u where beta is small, and nothing cancels at any step. Over steps of few jumps by the
    sum over their number, whose terms are positive: every entry of z is right to its own size,
    however different they are. Else z by rational approximation, with an error that is small
    against the largest entries alone: steps of other lengths have to tell; and what the tilted
    rates kill is a difference, which leaves ``rounding`` of a step.
    """

    def __init__(self, generator: Generator, beta: float, cost: Array | float) -> None:
        self.generator, self.beta, self.cost = generator, beta, cost
        self.least = float(np.min(cost))
        self.above = np.broadcast_to(np.asarray(cost) - self.least, generator.grid.shape)
        self.leave = generator.exit_rate() + beta / 2 * self.above
        self.fastest = float(self.leave.max())
        self.costly = float(self.above.max())

    def bend(self, u: Array, step: float) -> float:
        """beta / 2 times what the value ranges over within a step."""
        return self.beta / 2 * (float(np.ptp(u)) + step * self.costly)

    def exact(self, u: Array, step: float) -> bool:
        """Whether a step is right to rounding, so that no other need tell."""
        return step * self.fastest <= _FEW_JUMPS and self.bend(u, step) > _FLAT

    def rounding(self, u: Array, step: float) -> float:
        """What rounding may leave of u over a step, but for its own digits."""
        if self.exact(u, step):
            return 2 / self.beta * _ROUNDING
        if self.bend(u, step) <= _GENTLE:
            return 0.0
        jump = self.beta / 2 * float(np.abs(np.diff(u)).max())
        if self.generator.grid.periodic[0]:
            jump = max(jump, self.beta / 2 * abs(float(u[0] - u[-1])))
        return 2 / self.beta * _UNIT * step * self.fastest * exp(min(jump, 300.0))

    def __call__(self, u: Array, step: float) -> Array | None:
        """u after ``step``, or None where z lost its sign or left the range of numbers."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            few = self.exact(u, step)
            if not few and self.bend(u, step) <= _GENTLE:
                return self._linear(u, step)
            z = self._by_jumps(u, step) if few else self._by_poles(u, step)
            if z is None or not (np.isfinite(z).all() and z.min() > 0):
                return None
            out: Array = u - 2 / self.beta * np.log(z)
            if self.least:
                out += self.least * step
        return out

    def _by_poles(self, u: Array, step: float) -> Array:
        new, kill = tilted(self.generator, self.beta, self.above, u)
        return propagate(new, np.ones_like(u), step, forward=False, kill=kill)

    def _by_jumps(self, u: Array, step: float) -> Array | None:
        from pdekit.pde.bellman_kernel import jumped

        if step * self.fastest == 0:
            return np.ones_like(u)
        new, n = _tilt(self.generator, self.beta, u), u.size
        before, after = np.zeros(n), np.zeros(n)
        after[: n - 1], before[1:] = new.up[0][: n - 1], new.down[0][: n - 1]
        if self.generator.grid.periodic[0]:
            after[-1], before[0] = new.up[0][-1], new.down[0][-1]
        stay = np.maximum(1 - self.leave / self.fastest, 0.0)
        z, sound = jumped(
            stay, before / self.fastest, after / self.fastest, step * self.fastest, _MOST_JUMPS
        )
        return z if sound else None

    def _linear(self, u: Array, step: float) -> Array:
        half, low = self.beta / 2, float(u.min())
        line = line_of(self.generator, False, half * self.above)
        m = sweep(line, -np.expm1(-half * (u - low)) / half, step)
        if self.costly > 0:  # and the mean of exp(s (L - kill)) ℓ over the step: f(x) - 1 over x
            poles, residues = exponential_poles()
            m += step * sweep(line, self.above.copy(), step, (poles, residues / poles))
        out: Array = low + self.least * step - np.log1p(-half * m) / half
        return out
