"""The Hamilton-Jacobi-Bellman equation of controlled Langevin dynamics, by its linearisation."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.bellman.h_transform import ROUNDING, Evolution
from pdekit.pde.bellman.steps import DoobSteps, advanced
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import HamiltonJacobiBellman

_MOST_PARTS = 4096
_MOST_STEPS = 50_000
# factor of the change by steps of other lengths, as errors need not grow with the length
_WARY = 8.0


@dataclass(frozen=True)
class DoobTransform:
    """u = -(2/beta) log w, w_t = L w, w(0) = exp(-beta u_0 / 2): exact in time, second order in h.

    The controlled process is Doob's h-transform of the Langevin process by w (mathematics 1.7).
    Over a step the unknown is z = exp(-beta (u(t + s) - u(t)) / 2) = exp(s L~) 1, where
    L~ = exp(beta u(t) / 2) L exp(-beta u(t) / 2) is again tridiagonal: numbers of order one at any
    beta, where exp(-beta u / 2) itself would underflow. Each step is computed whole and as two
    halves; the halves are accepted if the two differ in u by at most ``rtol`` of the range of u_0
    (with a running cost, of 1/beta where that is larger). Steps of few jumps are right to rounding;
    where beta u is small the equation is solved in a form that is linear in u (``Evolution``).
    In two dimensions exp(s L) is split by lines (Strang): a step is the composition of such
    steps along x, y and x, monotone as a whole; every output interval is cut into 1, 2, 4, ...
    steps until halving them changes u by at most ``rtol_plane`` of the same scale.
    Raises ``ConvergenceError`` where the data are too steep for the grid.
    """

    rtol: float = 1e-9
    rtol_plane: float = 1e-5

    solves = (HamiltonJacobiBellman,)
    measures_error: ClassVar[bool] = True  # in time, by steps of other lengths
    exact_on_lines: ClassVar[bool] = True  # in time; and so is a density under its control
    # of beta |Δu| / 2: above it grids are not compared
    most_jump: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        for name in ("rtol", "rtol_plane"):
            checks.within(name, getattr(self, name), 1e-12, 1)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        return ""

    def steps(self, problem: Problem) -> DoobSteps:
        """The Bellman steps of a problem: one for every length, exact in time on a line."""
        return DoobSteps(problem.generator(), problem.equation.beta)

    def start(self, problem: Problem, stats: Stats) -> March:
        stats["error_estimate"] = 0.0
        if problem.grid.dim == 1:
            return March(problem.values, _OnLine(self, problem, stats).over, stats)
        march = March(problem.values, _InPlane(self, problem, stats).over, stats)
        stats["substeps"] = march.counts
        return march


class _OnLine:
    """Steps of the exact evolution, each as long as two halves of it agree with the whole."""

    def __init__(self, scheme: DoobTransform, problem: Problem, stats: Stats) -> None:
        self.rtol, self.stats = scheme.rtol, stats
        self.evolve = Evolution(problem.generator(), problem.equation.beta, problem.running_cost())
        self.scale = self._scale(problem)
        self.step, self.steps = np.inf, 0

    def _scale(self, problem: Problem) -> float:
        """The scale of errors: the range of the value, but not less than its rounding."""
        u, span = problem.values, problem.until or 0.0
        size, high = float(np.ptp(u)), ROUNDING / self.rtol * float(np.abs(u).max())
        return max(min(1 / self.evolve.beta, size + span * self.evolve.costly), size, high, 1e-300)

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to go to another."""
        t, before = begin, self.steps
        while t < end:
            u, step = self._on(u, t, end - t)
            t = t + step if step < end - t else t + (end - t)
        return u, self.steps - before

    def _on(self, u: Array, t: float, left: float) -> tuple[Array, float]:
        """u after a step of two halves, and its length."""
        beta, step = self.evolve.beta, min(self.step, left)
        while True:
            fine, error = self._tried(u, step)
            if fine is not None and error <= self.rtol:
                break
            step /= 4
            if step < 1e-14 * max(left, t):
                raise ConvergenceError(
                    f"no step resolves the value function at time to go {t:g}: its jump "
                    f"between neighbouring cells reaches {np.abs(np.diff(u)).max():.3g} at "
                    f"beta = {beta:g}; refine the grid, or use schemes.PolicyIteration()"
                )
        if self.steps > _MOST_STEPS:
            raise ConvergenceError(
                f"{_MOST_STEPS} steps reach time to go {t:g} only, {left:g} before the end: the "
                f"value function is too steep for the grid (beta = {beta:g}); refine it, or use "
                "schemes.PolicyIteration()"
            )
        self.step = step * (4 if error < self.rtol / 100 else 1)
        self.steps += 2
        self.stats["error_estimate"] += float(error)
        return fine, step

    def _tried(self, u: Array, step: float) -> tuple[Array | None, float]:
        """u after a step and its error over the scale; infinite if it failed."""
        evolve = self.evolve
        whole = evolve(u, step)
        if whole is not None and evolve.exact(u, step):
            own = ROUNDING * float(np.abs(whole).max())
            return whole, (own + evolve.rounding(u, step)) / self.scale
        half = evolve(u, step / 2)
        fine = None if half is None else evolve(half, step / 2)
        if whole is None or fine is None:
            return None, np.inf
        apart = _WARY * _distance(whole, fine)
        return fine, (apart + evolve.rounding(u, step)) / self.scale


class _InPlane:
    """Compositions of line steps, as many over an interval as halving them changes little."""

    def __init__(self, scheme: DoobTransform, problem: Problem, stats: Stats) -> None:
        self.rtol, self.stats, self.count = scheme.rtol_plane, stats, 1
        self.steps, self.cost = scheme.steps(problem), problem.running_cost()
        self.scale = max(float(np.ptp(problem.values)), 1 / problem.equation.beta)

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to go to another."""
        span, count = end - begin, self.count
        whole = _marched(self.steps, u, span, count, self.cost)
        while True:
            halves = _marched(self.steps, u, span, 2 * count, self.cost)
            error = np.inf if whole is None or halves is None else _distance(whole, halves)
            if halves is not None and error <= 3 * self.rtol * self.scale:
                break
            count, whole = 2 * count, halves
            if count > _MOST_PARTS:
                raise ConvergenceError(
                    f"{count} steps over [{begin:g}, {end:g}] of time to go " + _unresolved(error)
                )
        self.count = max(1, count // 2)
        self.stats["error_estimate"] += error / 3 / self.scale
        return halves, 2 * count


def _marched(
    steps: DoobSteps, u: Array, span: float, count: int, cost: Array | float
) -> Array | None:
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return advanced(steps, u, span, count, cost)[0]
    except ConvergenceError:  # a step is not positive: it is too long
        return None


def _unresolved(error: float) -> str:
    """The message on the error of the steps, with advice."""
    if np.isfinite(error):
        return (
            f"still differ from twice as many by {error:.2g}; raise rtol_plane or use "
            "schemes.PolicyIteration()"
        )
    return "lose the sign: the costs are too steep for this grid; use schemes.PolicyIteration()"


def _distance(u: Array, v: Array) -> float:
    return float(np.abs(u - v).max())
