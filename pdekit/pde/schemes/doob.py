"""The Hamilton-Jacobi-Bellman equation of controlled Langevin dynamics, by its linearisation."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.bellman.h_transform import ROUNDING, Evolution
from pdekit.pde.bellman.steps import DoobSteps, advanced
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.time_variation import GAUSS_POINTS, MAGNUS_STAGES, breaks_of
from pdekit.pde.equations import HamiltonJacobiBellman

_MOST_PARTS = 4096
_MOST_STEPS = 50_000
_LOOKS = 64  # times at which a cost that moves is looked at, for its range
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
    A potential or a running cost that moves makes steps of order four, of the commutator-free
    Magnus method (in two dimensions of order two, with the potential of the middle of a step).
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
        self.rtol, self.stats, self.problem = scheme.rtol, stats, problem
        self.generator, beta = problem.generator(), problem.equation.beta
        self.evolve = Evolution(self.generator, beta, problem.running_cost())
        self.scale = self._scale(problem)
        self.step, self.steps = np.inf, 0
        self.breaks = breaks_of(problem, scheme.rtol)

    def _scale(self, problem: Problem) -> float:
        """The scale of errors: the range of the value, but not less than its rounding."""
        u, span = problem.values, problem.until or 0.0
        size, high = float(np.ptp(u)), ROUNDING / self.rtol * float(np.abs(u).max())
        spread = size + span * self._costly(problem, span)
        return max(min(1 / self.evolve.beta, spread), size, high, 1e-300)

    def _costly(self, problem: Problem, span: float) -> float:
        """The range of the running cost over the cells and, where it moves, over the times."""
        if not checks.time_dependent(problem.equation.running_cost):
            return self.evolve.costly
        costs: Any = [problem.running_cost(span * k / _LOOKS) for k in range(_LOOKS + 1)]
        return float(np.max(costs) - np.min(costs))

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to go to another."""
        before = self.steps
        for t, stop in pairwise([begin, *(s for s in self.breaks if begin < s < end), end]):
            while t < stop:
                u, step = self._on(u, t, stop - t)
                t = t + step if step < stop - t else t + (stop - t)
        return u, self.steps - before

    def _evolved(self, u: Array, t: float, step: float) -> Array | None:
        """u after a step: exact, or of order four where something moves."""
        if not self.problem.time_dependent:
            return self.evolve(u, step)
        times = [t + c * step for c in GAUSS_POINTS]
        costs = [np.asarray(self.problem.running_cost(s)) for s in times]
        rates = [self._generator_at(s) for s in times]
        out: Array | None = u
        for early, late in MAGNUS_STAGES:
            cost = 2 * (early * costs[0] + late * costs[1])
            generator = _combined(rates, 2 * early, 2 * late)
            if out is None or generator is None:
                return None
            out = Evolution(generator, self.evolve.beta, cost)(out, step / 2)
        return out

    def _generator_at(self, t: float) -> Generator:
        moves = checks.time_dependent(self.problem.equation.potential)
        return self.problem.generator(t) if moves else self.generator

    def _on(self, u: Array, t: float, left: float) -> tuple[Array, float]:
        """u after a step of two halves, and its length."""
        beta, step = self.evolve.beta, min(self.step, left)
        while True:
            fine, error = self._tried(u, t, step)
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

    def _tried(self, u: Array, t: float, step: float) -> tuple[Array | None, float]:
        """u after a step and its error over the scale; infinite if it failed."""
        evolve, still = self.evolve, not self.problem.time_dependent
        whole = self._evolved(u, t, step)
        if whole is not None and still and evolve.exact(u, step):
            own = ROUNDING * float(np.abs(whole).max())
            return whole, (own + evolve.rounding(u, step)) / self.scale
        half = self._evolved(u, t, step / 2)
        fine = None if half is None else self._evolved(half, t + step / 2, step / 2)
        if whole is None or fine is None:
            return None, np.inf
        apart = _WARY * _distance(whole, fine)
        return fine, (apart + evolve.rounding(u, step)) / self.scale


def _combined(rates: list[Generator], early: float, late: float) -> Generator | None:
    """A sum of two generators; None where its rates are negative, as of steps too long."""
    first, last = rates
    if first is last:
        return first
    up, down = (
        early * getattr(first, way)[0] + late * getattr(last, way)[0] for way in ("up", "down")
    )
    sound = min(up.min(), down.min()) >= 0
    return Generator(first.grid, (up,), (down,)) if sound else None


class _InPlane:
    """Compositions of line steps, as many over an interval as halving them changes little."""

    def __init__(self, scheme: DoobTransform, problem: Problem, stats: Stats) -> None:
        self.rtol, self.stats, self.count = scheme.rtol_plane, stats, 1
        self.steps, self.problem = scheme.steps(problem), problem
        self.breaks = breaks_of(problem, scheme.rtol_plane)
        self.scale = max(float(np.ptp(problem.values)), 1 / problem.equation.beta)

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to go to another."""
        count = 0
        for piece in pairwise([begin, *(s for s in self.breaks if begin < s < end), end]):
            u, steps = self._smooth(u, *piece)
            count += steps
        return u, count

    def _smooth(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        span, count = end - begin, self.count
        whole = self._marched(u, begin, span, count)
        while True:
            halves = self._marched(u, begin, span, 2 * count)
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

    def _marched(self, u: Array, begin: float, span: float, count: int) -> Array | None:
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                if not self.problem.time_dependent:
                    return advanced(self.steps, u, span, count, self.problem.running_cost())[0]
                return self._along(u, begin, span / count, count)
        except ConvergenceError:  # a step is not positive: it is too long
            return None

    def _along(self, u: Array, begin: float, step: float, count: int) -> Array:
        """``advanced`` where something moves: half of the running cost at either end of a step,
        the potential of its middle."""
        for k in range(count):
            before, after = (self.problem.running_cost(begin + j * step) for j in (k, k + 1))
            steps = self._steps_at(begin + (k + 0.5) * step)
            u = advanced(steps, u + step / 2 * before, step, 1, 0.0)[0] + step / 2 * after
        return u

    def _steps_at(self, t: float) -> DoobSteps:
        if not checks.time_dependent(self.problem.equation.potential):
            return self.steps
        return DoobSteps(self.problem.generator(t), self.problem.equation.beta)


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
