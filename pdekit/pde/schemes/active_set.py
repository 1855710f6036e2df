"""Equations with an obstacle by implicit steps, each solved by policies that control and stop."""

import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.pde.bellman.stopping import Graded, StoppingSteps, steps_of_growth
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import BackwardKolmogorov, HamiltonJacobiBellman, ViscousHJ

_FIRST = 8  # steps to begin with, of the first of three
_MOST_STEPS = 1 << 14
_SAFETY = 1.5  # times the change by twice as many: the error after it, of order 3/4 or above
_DOUBTFUL = 0.1  # estimate, relative to the value, above which given steps are warned of


class StoppingStats(Stats, total=False):
    """Also how many policies were solved, each a linear equation."""

    policies: int


@dataclass(frozen=True)
class ActiveSet:
    """min(u_t - F(u), u - ψ) = 0 by implicit steps, each an obstacle problem solved to rounding.

    F is that of ``BackwardKolmogorov``, ``ViscousHJ`` or ``HamiltonJacobiBellman``. A step is
    solved by policy iteration with stopping (Howard; the primal-dual active set method): two to
    four linear equations with M-matrices, on a line or circle by elimination, in the plane by
    BiCGStab, with tensor diffusion that couples the axes by sparse LU. So u >= ψ exactly, and u = ψ
    exactly where it is best to stop (``Solution.stopped``).

    ``order=2`` (the default): SDIRK2, both stages kept above the obstacle. ``order=1``: implicit
    Euler, monotone in data, obstacle and source at given ``steps``, and non-expansive. The k-th of
    N steps ends at T (k/N)², T the last time: the exercise boundary starts like a square root, and
    kinks of the data are smoothed so. N is doubled until the estimated error in time is below
    ``rtol`` (``rtol_plane`` in the plane) of the largest value, or of its range for ``ViscousHJ``
    and ``HamiltonJacobiBellman``, or 1/beta where that is larger.
    ``stats["error_estimate"]`` is 1.5 times the last change, in that unit, or what the change
    before it leaves: above the error where that is of order 3/4 at least, and 4.5 times it where it
    is of the second. ``steps`` gives N instead; the estimate then is 2.5 times the change by twice
    as many, with an ``AccuracyWarning`` above a tenth.

    In space the value is of second order, as without the obstacle (and as there upwind, of order
    one, where drift dominates over a cell); its gradient is continuous, the second derivative jumps
    at the boundary of the stopping region, which is known to a cell. A ``ResolutionWarning``
    compares with other cells. Raises ``ConvergenceError`` where 16,384 steps do not suffice.
    Mathematics 1.15.
    """

    rtol: float = 1e-5
    rtol_plane: float = 1e-4
    order: int = 2
    steps: int | None = None

    solves = (BackwardKolmogorov, ViscousHJ, HamiltonJacobiBellman)
    with_obstacle: ClassVar[bool] = True
    measures_error: ClassVar[bool] = True  # in time, by other steps

    def __post_init__(self) -> None:
        for name in ("rtol", "rtol_plane"):
            checks.within(f"ActiveSet: {name}", getattr(self, name), 1e-10, 1)
        if checks.whole("ActiveSet: order", self.order, 1) > 2:
            raise ValueError(f"ActiveSet: order must be 1 (monotone) or 2, got {self.order!r}")
        if self.steps is not None:
            checks.whole("ActiveSet: steps", self.steps, 1)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        if problem.equation.obstacle is None:
            return (
                f"ActiveSet solves equations with an obstacle, {type(problem.equation).__name__} "
                "has none here: give obstacle=..., or use the default scheme"
            )
        return ""

    def start(self, problem: Problem, stats: StoppingStats) -> March:
        stats["error_estimate"], stats["policies"] = 0.0, 0
        return March(problem.start, _Run(self, problem, stats).over, stats)


class _Run:
    """Three marches, each of twice the steps of the one before, begun again where these are apart.

    Two may agree by chance: the change from the second to the third counts, and what is left of
    that from the first to the second.
    """

    def __init__(self, scheme: ActiveSet, problem: Problem, stats: StoppingStats) -> None:
        self.scheme, self.problem, self.stats = scheme, problem, stats
        self.steps = StoppingSteps(problem, scheme.order)
        self.times: list[float] = []
        self.marches: list[Graded] = []
        self.rtol = scheme.rtol if problem.grid.dim == 1 else scheme.rtol_plane
        self.scale = 0.0 if problem.equation.linear else 1 / problem.equation.beta
        self.error = 0.0
        self._enlarge(problem.start)

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another."""
        given = self.scheme.steps
        if not self.marches:
            self.marches = [self._graded(n, end) for n in self._counts(end)]
        before = self.marches[-1].taken
        self.times.append(end)
        fields = [march.to(end) for march in self.marches]
        while given is None and self._apart(fields) > self.rtol:
            fields = [*fields[1:], self._again(self._apart(fields))]
        error = self._apart(fields)
        if given is not None:
            error *= 1 + 1 / _SAFETY
            self._report(error, end)
        self.error = max(self.error, error)
        self.stats["error_estimate"], self.stats["policies"] = self.error, self.steps.policies
        chosen = -1 if given is None else 1
        return fields[chosen], max(self.marches[-1].taken - before, 1)

    def _counts(self, end: float) -> tuple[int, int, int]:
        given = self.scheme.steps
        if given is not None:
            return (given + 1) // 2, given, 2 * given
        first = max(_FIRST, steps_of_growth(self.problem, self.problem.until or end))
        return first, 2 * first, 4 * first

    def _graded(self, count: int, end: float) -> Graded:
        return Graded(self.steps, count, self.problem.until or end, self.problem.start)

    def _apart(self, fields: list[Array]) -> float:
        """The error of the last of three, relative to the value."""
        self._enlarge(fields[-1])
        first, last = (float(np.abs(u - v).max()) for u, v in pairwise(fields))
        return float(_SAFETY * max(last, first / 2**self.scheme.order) / self.scale)

    def _again(self, error: float) -> Array:
        """By twice as many steps as ever, up to the same time."""
        last = self.marches[-1]
        if 2 * last.count > _MOST_STEPS:
            raise ConvergenceError(
                f"{last.count} steps to the time {last.t:g} still change the value by {error:.2g} "
                f"of itself, more than the tolerance of {self.rtol:g}; use a larger one"
            )
        more = replace(last, count=2 * last.count, u=self.problem.start, t=0.0, taken=0)
        for t in self.times:
            more.to(t)
        self.marches = [*self.marches[1:], more]
        return more.u

    def _enlarge(self, u: Array) -> None:
        """The unit of errors: the largest value so far, or range of one that is up to constants."""
        size = np.abs(u).max() if self.problem.equation.linear else np.ptp(u)
        self.scale = max(self.scale, float(size), 1e-300)

    def _report(self, error: float, t: float) -> None:
        if error > _DOUBTFUL:
            warnings.warn(
                f"{self.scheme.steps} steps to the time {t:g} err by about {error:.2g} of the "
                "value; use ActiveSet() without steps, which chooses as many as its rtol needs",
                AccuracyWarning,
                stacklevel=8,
            )
