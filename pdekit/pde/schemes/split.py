"""Directional splitting of linear equations in two dimensions."""

from dataclasses import dataclass
from math import isfinite

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.bounds import enforce_bounds
from pdekit.pde.discrete.cell_means import coarsen
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import allowance
from pdekit.pde.discrete.step_plan import plan
from pdekit.pde.discrete.strang import SplitStats, Stepper
from pdekit.pde.discrete.time_variation import pieces
from pdekit.pde.equations import LINEAR

_SPARE = 0.8  # share of the tolerance for the pilot; the rest is for errors it does not see
_DECADES = 1e6  # range over which the tolerance is divided by the logarithm of time
_BLIND = 4.0  # ratio of first-step errors above which a pilot grid is no longer used
_PARTS = 8  # parts of the time, each of at least four steps, for time-dependent coefficients
# Cells per axis of the pilot grid: the largest that a half, a quarter or an eighth of the cells
# gives when none of them may give more than the number beside it
_PILOT = ((2, 48), (4, 64), (8, 128))


@dataclass(frozen=True)
class Split:
    """Strang splitting exp(dt A) ≈ exp(dt A_x / 2) exp(dt A_y) exp(dt A_x / 2), two dimensions.

    Each direction of the Scharfetter-Gummel generator alone keeps mass, sign and the Gibbs state,
    hence so does the product, at any step: long steps are safe near
    equilibrium. The line exponentials are L-stable Radau IIA steps of order three (one complex
    tridiagonal solve). Such steps do not guarantee the sign: negative values are set to
    zero and the mass restored if this changes less than a hundredth of ``tolerance``, and otherwise
    the line step is replaced by two backward Euler steps, which preserve it. ``.stats`` counts
    ``radau_solves`` and ``backward_euler_solves``.

    The steps come from a pilot run on a coarser grid (half to an eighth of the cells per axis, at
    most 128) that gives every step the same local error, by step doubling, and are shortened
    until the error in time at the end of the output interval, 0.4 of the distance to a run
    with steps twice as long, is below ``tolerance`` (L1 relative to the mass; maximum norm relative
    to the data for functions). Both semigroups are contractions, so the errors of intervals
    add up but do not grow. The first step of an interval is checked on the grid itself: if its
    error shows that the coarser grid is insufficient (a spike of a few cells, a rough potential),
    the steps are planned again on the grid, which takes four times as long; ``.stats`` counts it in
    ``planned_on_the_grid``. For time-dependent coefficients no step is longer than 1/32 of the
    time, and they are sampled in advance as by ``Exponential``. Tensor diffusion adds a direction
    for each oblique offset of its stencil: few if the tensor is constant; if it rotates in space
    there are many, and ``Krylov`` is better. Raises ``ConvergenceError`` if plans of 40,000 steps
    per output interval are not enough or, for time-dependent coefficients, would need more than
    some 100,000 in all.
    """

    tolerance: float = 5e-5

    solves = LINEAR

    def __post_init__(self) -> None:
        checks.within("tolerance", self.tolerance, 1e-10, 1)

    def stricter(self, factor: float) -> "Split":
        """With errors smaller by a factor, as far as it goes."""
        return Split(max(self.tolerance / factor, 1e-10))

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        if problem.grid.dim != 2:
            return "Split works in two dimensions; use schemes.Exponential() in one"
        return ""

    def start(self, problem: Problem, stats: SplitStats) -> March:
        return March(problem.values, _Run(self.tolerance, problem, stats).over, stats)


class _Run:
    """Steps on the grid, planned by those on the pilot's; and the bound on the error so far."""

    def __init__(self, tolerance: float, problem: Problem, stats: SplitStats) -> None:
        self.tolerance, self.problem, self.stats = tolerance, problem, stats
        stats["radau_solves"] = stats["backward_euler_solves"] = stats["planned_on_the_grid"] = 0
        stats["error_estimate"] = stats["negative_before_clipping"] = 0.0
        coarse = pilot_grid(problem.grid)
        self.pilot = Stepper(problem, coarse, tolerance, {**stats})
        self.fine = Stepper(problem, problem.grid, tolerance, stats)
        self.v = coarsen(problem.values, problem.grid, coarse)  # the field on the pilot's grid
        self.longest, self.error = np.inf, 0.0
        self.pieces: list[tuple[float, float]] | None = None

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another, piece by piece where coefficients move."""
        if not self.problem.time_dependent:
            return self._interval(u, begin, end)
        until, t, steps = self.problem.until or end, begin, 0
        if self.pieces is None:
            self.pieces = pieces(self.problem, until, until / _PARTS, self.tolerance)
        for stop, longest in self.pieces:
            if t < min(stop, end) - 1e-12 * until:
                self.longest = min(self.longest, longest)
                to = end if stop > end - 1e-12 * until else stop
                u, taken = self._interval(u, t, to)
                t, steps = to, steps + taken
        return u, steps

    def _interval(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        until = self.problem.until or end
        share = allowance(_DECADES / until, until)(begin, end - begin)
        new, error, steps = self._advanced(u, begin, end, self.tolerance * share)
        new, mended = self._conserving(new, u)
        self.error += error + mended
        self.stats["error_estimate"] = self.error
        if not self.error <= self.tolerance:
            raise ConvergenceError(
                f"at t = {end:g} the error in time is known to be below {self.error:.2g} only, "
                f"above tolerance={self.tolerance:g}; raise the tolerance, or use schemes.Krylov()"
            )
        self.longest = 2 * steps[-1]
        return new, len(steps)

    def _conserving(self, u: Array, before: Array) -> tuple[Array, float]:
        """u with the previous mass, or in the range of the data, and the distance."""
        problem = self.problem
        if not problem.is_density or not problem.conserves:
            return enforce_bounds(problem, u, before, {"steps": 0, "negative_before_clipping": 0.0})
        mass, now = problem.average * u.size, float(u.sum())
        if not isfinite(now):
            raise ConvergenceError(
                "the field is not finite any more; use a smaller beta * potential"
            )
        if mass > 0:
            u *= mass / now  # rounding of thousands of solves accumulates to 1e-12
        return u, abs(now / mass - 1) if mass > 0 else 0.0

    def _advanced(
        self, u: Array, begin: float, end: float, most: float
    ) -> tuple[Array, float, list[float]]:
        """The field at the end, its error, which is to be below ``most``, and the steps.

        ``v`` is advanced on the pilot's grid.
        """
        pilot, fine, v, span = self.pilot, self.fine, self.v, end - begin
        allowed = _SPARE * most
        first_try = min(pilot.resolved(v, begin), self.longest)
        for _ in range(2 if pilot.resolves_drift(begin) else 0):
            steps, new, error = plan(pilot, v, begin, span, allowed, first_try)
            first = 2 * steps[0]
            seen, _ = pilot.local_error(v, begin, first)
            fine.clipped = 0.0
            met, halves = fine.local_error(u, begin, first)
            missed = met / max(seen, 1e-3 * met, 1e-300)
            error *= max(missed, 1.0)
            if error <= most:
                fine.clipped = 0.0
                out = fine.run(halves, begin + first, steps[2:])
                if error + fine.clipped <= most:
                    self.v = new
                    return out, error + fine.clipped, steps
                break
            if missed > _BLIND:
                break
            allowed /= missed
        self.stats["planned_on_the_grid"] += 1
        first_try = min(fine.resolved(u, begin), self.longest)
        fine.clipped = 0.0
        steps, out, error = plan(fine, u, begin, span, _SPARE * most, first_try)
        self.v = coarsen(out, fine.grid, pilot.grid)
        return out, error, steps


def pilot_grid(grid: Grid) -> Grid:
    """The coarser grid of the pilot run: half to an eighth of the cells, and at most 128."""
    cells = tuple(max(4, *(min(n // share, most) for share, most in _PILOT)) for n in grid.cells)
    return Grid(grid.lower, grid.upper, cells, grid.periodic)
