"""Kinetic equations: transport by characteristics, noise along one axis."""

from dataclasses import dataclass, replace
from math import ceil, inf, prod, sqrt
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, FieldError
from pdekit.grid import Grid
from pdekit.pde.discrete import characteristics, drift_diffusion, grid_comparison
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.strang import SplitStats, Stepper
from pdekit.pde.discrete.time_variation import pieces
from pdekit.pde.discrete.transport import binned
from pdekit.pde.equations import FokkerPlanck

_FIRST = 0.5  # of the shortest time in which something turns or relaxes: the longest steps tried
# Ratio of changes by halving steps above which they are not of second order in time: there the
# remaps of more steps make them, up to this share of the distance to the density on other cells
_SECOND, _REST = 0.4, 0.3
# the error of the shorter steps: share of the last change, or that by the ratio r, r / (1 - r)
_SHARE, _MARGIN, _STUCK = 0.4, 1.2, 0.8
_OF_CELLS = 0.06  # of the distance to the density on other cells: time need not be better
_SURE = 0.02  # of the tolerance: changes below it need no ratio
_LOST = 0.1  # error in L1 that is none any more
_MOST = 40_000  # steps of an output interval
_PARTS = 8  # parts of the time, of coefficients that change in it


@dataclass(frozen=True)
class SemiLagrangian:
    """Strang splitting into motions along lines, by characteristics, and noise: kinetic equations.

    For densities in the plane whose diffusion vanishes along an axis, such as that of (q, p) with
    dq = p dt, dp = (-V'(q) - c p) dt + sqrt(2 c / beta) dB. What a particle moves by, the force
    (and the slope of the potential, along an axis without noise), carries lines of cells: a cell
    gets the mass between where its faces came from (Cheng and Knorr 1976), of parabolas within
    the cells that have their means, the faces' values to fourth order, and are not negative (Zhang
    and Shu 2010). The potential along the axis that diffuses goes with the noise, by
    Scharfetter-Gummel rates, which keep the Maxwellian of momenta exactly. The order of a step is
    that of BAOAB, kick, drift, noise, drift, kick. Mass and sign are kept, at any step: no CFL
    condition. Order 2 in space and time. Axes may be rings. Walls that are ``Specular()`` turn
    momenta round, exactly; what arrives at a wall that absorbs is gone, and nothing comes from
    there; at others it gathers in the cells, as by the upwind fluxes of the other schemes.

    All steps of an output interval are equal, and halved until the error in time, from the change
    by halving and the ratio of the last two such changes, is below ``rtol`` in L1 over the mass, or
    a sixteenth of the distance to the density on other cells (a third where all that still changes
    are the remaps of more and more steps), or until changes grow, as in the layer of slow momenta
    beside a wall that absorbs. ``.stats``: ``error_estimate``, of the error in
    time; ``on_other_cells``, the L1 distance to the density on half as many cells an axis (on more
    where there are fewer than 16): where errors are of second order three times that of this one.
    Above 0.05 a ``ResolutionWarning`` is given.

    Without noise (beta = inf) it follows flows that are shears along both axes, such as
    Hamilton's: those that gather mass are for ``Upwind``.

    Not linear, since what keeps parabolas positive is not: for differences of densities, and
    duality to rounding, there are ``Krylov`` and ``Split``, of first order here.
    Raises ``ConvergenceError`` beyond 40,000 steps. Good values: as it is.
    """

    rtol: float = 1e-4

    solves = (FokkerPlanck,)
    without_noise = True
    judges_cells = True
    without_generator = True

    def __post_init__(self) -> None:
        checks.within("rtol", self.rtol, 1e-10, 1)

    def stricter(self, factor: float) -> "SemiLagrangian":
        """With errors smaller by a factor, as far as it goes."""
        return SemiLagrangian(max(self.rtol / factor, 1e-10))

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        equation = problem.equation
        if problem.grid.dim != 2:
            return "SemiLagrangian works in the plane; use schemes.Exponential() on a line"
        if equation.supplied or _takes_in_part(problem):
            return (
                "SemiLagrangian takes walls that absorb whatever arrives, or reflect, and no "
                "source: it is not linear; use schemes.Krylov()"
            )
        if not equation.mean_field and characteristics.turns_nowhere(problem):
            return characteristics.turns_nowhere(problem)
        if equation.without_noise and not characteristics.gathers(problem):
            return ""
        if getattr(equation, "diffusion", None) is not None:
            noisy = characteristics.noisy_axes(problem)
            if noisy is not None and len(noisy) < 2:
                return ""
        return (
            "SemiLagrangian is for densities without diffusion along an axis, such as diffusion="
            "((0, 0), (0, 1)), and without any (beta = inf) for flows that gather nothing, such as "
            "Hamilton's; use the default scheme"
        )

    def start(self, problem: Problem, stats: Stats) -> March:
        return March(problem.values, _Run(self.rtol, problem, stats).over, stats)


class _Run:
    """Densities on the cells and on others, and the errors so far."""

    def __init__(self, rtol: float, problem: Problem, stats: Stats) -> None:
        self.rtol, self.problem, self.stats = rtol, problem, stats
        self.here, self.other = _stepper(problem, problem.grid, rtol), _beside(problem, rtol)
        self.v = None if self.other is None else self.other.problem.values
        self.error, self.warned = 0.0, False
        self.pieces: list[tuple[float, float]] | None = None
        stats["error_estimate"] = 0.0

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another, piece by piece where coefficients move."""
        until, t, taken = self.problem.until or end, begin, 0
        for stop, longest in self._pieces(until):
            if t < min(stop, end) - 1e-12 * until:
                to = end if stop > end - 1e-12 * until else stop
                u, steps = self._interval(u, t, to, longest)
                t, taken = to, taken + steps
        self.stats["error_estimate"] = self.error
        if self.error > _LOST:
            raise ConvergenceError(
                f"at t = {end:g} steps of half the length still change the density by "
                f"{self.error:.2g} in L1, whatever their length: use more cells"
            )
        self._judge(u, end)
        return u, taken

    def _pieces(self, until: float) -> list[tuple[float, float]]:
        if not self.problem.time_dependent:
            return [(inf, inf)]
        if self.pieces is None:
            problem, equation = self.problem, self.problem.equation
            if equation.without_noise:  # by which drifts are compared
                problem = replace(problem, equation=replace(equation, beta=1.0))
            self.pieces = pieces(problem, until, until / _PARTS, self.rtol)
        return self.pieces

    def _interval(self, u: Array, t: float, to: float, longest: float) -> tuple[Array, int]:
        """u at the end, by steps halved until their error is below its share of ``rtol``."""
        span = to - t
        resolved = _FIRST / max(_fastest(self.here.lines(t), u), 1e-300)
        count = max(2, ceil(span / min(resolved, longest)))
        shorter, change, best = self._run(u, t, span, count), inf, None
        share = span / (self.problem.until or to)
        apart = self._apart(shorter, self._there(t, span, count))
        allowed = max(self.rtol, _OF_CELLS * apart) * share
        while True:
            longer, before, count = shorter, change, 2 * count
            shorter = self._run(u, t, span, count)
            change = self.problem.distance(longer, shorter)
            error = _extrapolated(change, before)
            if best is None or error < best[0]:
                best = error, shorter, count
            if change <= _SURE * allowed or (before < inf and error <= allowed):
                break
            if change >= _SECOND * before and best[0] <= _REST * apart * share:
                break
            if change >= before and best[0] <= _LOST * share:  # beside walls that absorb
                break
        error, new, count = best
        self.error += error
        self.v = self._there(t, span, count)
        return self._conserving(new), count

    def _there(self, t: float, span: float, count: int) -> Array | None:
        """The density on the other cells after the interval."""
        if self.other is None or self.v is None:
            return None
        return self.other.march(self.v.copy(), t, span / count, count)

    def _run(self, u: Array, t: float, span: float, count: int) -> Array:
        if count > _MOST:
            raise ConvergenceError(
                f"{_MOST} steps over [{t:g}, {t + span:g}] do not suffice for rtol={self.rtol:g}; "
                "raise it, or ask for a shorter time, or, if by then all is at rest, for "
                "pdekit.stationary(equation, grid)"
            )
        return self.here.march(u.copy(), t, span / count, count)

    def _conserving(self, u: Array) -> Array:
        """u with the mass that it started with, which rounding of many steps changes."""
        if self.problem.conserves:
            u *= self.problem.average * u.size / float(u.sum())
        return u

    def _apart(self, u: Array, v: Array | None) -> float:
        """The L1 distance to the density on the other cells, over the mass."""
        if self.other is None or v is None:
            return 0.0
        grid, other = self.problem.grid, self.other.grid
        if grid.cell_volume < other.cell_volume:
            u = binned(u, grid, other)
        else:
            v = binned(v, other, grid)
        return float(np.abs(u - v).sum()) / max(float(u.sum()), 1e-300)

    def _judge(self, u: Array, t: float) -> None:
        """Record how far the density on other cells is; warn once where that is too far."""
        if self.other is None:
            return
        apart = self._apart(u, self.v)
        self.stats["on_other_cells"] = max(apart, self.stats.get("on_other_cells", 0.0))
        if apart > grid_comparison.TOLERANCE and not self.warned:
            self.warned = True
            where = self.problem.grid, self.other.grid
            grid_comparison.warn_coarse(apart, *where, f"the density at t = {t:g}", 8)


def _stepper(problem: Problem, grid: Grid, rtol: float) -> Stepper:
    stats = SplitStats(steps=0, negative_before_clipping=0.0)
    stats["radau_solves"] = stats["backward_euler_solves"] = 0
    return Stepper(problem, grid, rtol, stats, characteristics.Ways(problem, grid))


def _beside(problem: Problem, rtol: float) -> Stepper | None:
    """The same on half as many cells, or on more if there are few; None if V is known here only."""
    grid, other = problem.grid, grid_comparison.comparison_grid(problem.grid)
    there = replace(problem, grid=other, initial=binned(problem.values, grid, other))
    try:
        return _stepper(there, other, rtol)
    except (FieldError, TypeError, ValueError):
        return None


def _takes_in_part(problem: Problem) -> bool:
    """Whether a wall absorbs a part of what arrives."""
    walls = getattr(problem.equation, "walls", None)
    pairs = drift_diffusion.ends_of(walls, problem.grid)
    return any(0 < end.rate < inf for pair in pairs for end in pair)


def _extrapolated(change: float, before: float) -> float:
    """The error of steps by whose halving the last change came, after the one before it."""
    ratio = min(change / before, _STUCK) if before > 0 else 0.0
    return max(_SHARE, _MARGIN * ratio / (1 - ratio)) * change


def _fastest(lines: list[Any], u: Array) -> float:
    """The rate at which motions turn or compress what is not negligible."""
    motions = [line for line in lines if hasattr(line, "shear")]
    turns = prod(motion.shear(u) for motion in motions) if len(motions) == 2 else 0.0
    return float(sqrt(turns) + sum(motion.compression(u) for motion in motions))
