"""Exact in time for linear equations in one dimension: the exponential of the generator."""

from dataclasses import dataclass
from itertools import pairwise
from math import exp

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.discrete.bounds import enforce_bounds
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.discrete.long_time import StationaryLimit
from pdekit.pde.discrete.march import Advance, March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import (
    RATIONAL,
    Collocation,
    accumulated,
    allowance,
    amplification,
    exponential,
    line_of,
    sweep,
)
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.step_doubling import doubling_error
from pdekit.pde.discrete.supply import supply
from pdekit.pde.discrete.time_variation import GAUSS_POINTS, MAGNUS_STAGES, ends_of_pulses
from pdekit.pde.equations import LINEAR

_KEPT = 1e-3  # of the data if walls absorb: less left after a sweep would be lost in its error
_GONE = 1e-290  # of the data: counts as zero
# Jumps after which a sweep is first tried, the growth factor between trials, and the
# limit as a part of all jumps
_LOOK, _FARTHER, _PART = 200.0, 5.0, 0.5
_LONG = 1e5  # jumps above which the stationary state is tried
_RESTED = 0.1  # share of rtol for the part that is not stationary
_EXACT = 0.1  # share of the allowance of a Magnus step for its exponentials
_SHORTEST = 1e-9  # of the time: a step whose coefficients still differ is across a jump
_OF_A_JUMP = 0.01  # share of the tolerance for one
_LEAST = 1e-13  # of the data: less is rounding
# The least number of steps for time-dependent coefficients; with so many, they rarely depend on the
# data, so that those of densities and of expectations are the same and dual to rounding
_LONGEST = 128
_TRY, _EASY = 1.25, 1.5
_MOST_STEPS = 50_000  # maximal number of steps, about a minute
_GLANCE, _FAR = (
    1000,
    4.0,
)  # number of steps after which a hopeless integration is stopped, and the factor


@dataclass(frozen=True)
class Exponential:
    """rho(t) = exp(t L^T) rho_0 (or exp(t L) u_0), to ``rtol`` over all output times together.

    Where detailed balance holds (no force round a circle) the generator is self-adjoint with the
    weight of its Gibbs state pi, and one sweep over the cells serves any t: a 14-pole rational
    approximation, which errs by at most 3e-13 (sum rho_0^2 / pi)^(1/2) of the mass (functions:
    (sum pi u_0^2 / min pi)^(1/2) of the largest value of the data). Every output time is reached
    from the initial data, so that errors do not add up. If the bound is not below
    ``rtol`` (data far up a steep potential) or unknown (a force on a circle), the
    expected number of jumps decides between uniformization and steps of Radau's collocation,
    whose residual bounds their error in L1 (the maximum norm) for any spectrum.

    For coefficients, a β or a source that change in time there are steps of the commutator-free
    Magnus method of order four, halved as step doubling asks, so that the local errors sum to less
    than ``rtol_moving`` over the whole time; no step crosses one of the ``times`` between which a
    potential is linear in time (or those of the jumps of a schedule), or is longer than a 128th of
    the time. Where no shorter ones are needed <u, rho> is constant to rounding. The coefficients
    are sampled at 400 times in advance, and steps are short at pulses; those shorter than 1/250 of
    the time may be missed. Over a jump goes a step of 1e-9 of the time. What is supplied meanwhile
    is part of the steps; errors are then relative to the largest mass, or value, to be met.

    Keeps mass and the Gibbs state to rounding, the sign, and functions within the range of their
    data; clipping counts as error. ``.stats`` has ``error_estimate``, a
    bound relative to the initial data, and ``negative_before_clipping``.
    Raises ``ConvergenceError`` where the tolerance is not reached.
    """

    rtol: float = 1e-10
    rtol_moving: float = 1e-5

    solves = LINEAR

    def __post_init__(self) -> None:
        checks.within("rtol", self.rtol, 1e-11, 1)
        checks.within("rtol_moving", self.rtol_moving, 1e-11, 1)

    def stricter(self, factor: float) -> "Exponential":
        """With errors smaller by a factor, as far as it goes."""
        return Exponential(max(self.rtol / factor, 1e-11), max(self.rtol_moving / factor, 1e-11))

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        if problem.grid.dim != 1:
            return "Exponential works in one dimension; use schemes.Split() in two (the default)"
        return ""

    def start(self, problem: Problem, stats: Stats) -> Advance:
        stats["negative_before_clipping"] = stats["error_estimate"] = 0.0
        if problem.time_dependent:
            return March(problem.values, _Moving(problem, self.rtol_moving, stats).over, stats)
        return _Fixed(problem, self.rtol, stats).advance


class _Moving:
    """Coefficients that change: adaptive steps of the Magnus method.

    A step is a half, a quarter, an eighth, ... of its piece of time, as long as the errors allow,
    so that where the same lengths do for a density and for an expectation, which meets the pieces
    from the other end, their steps are transposes of each other.
    """

    def __init__(self, problem: Problem, rtol: float, stats: Stats) -> None:
        self.problem, self.rtol, self.stats = problem, rtol, stats
        self.step, self.steps = np.inf, 0
        self.pulses: list[float] | None = None

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another, piece by piece of time in which coefficients are smooth."""
        until, before = self.problem.until or end, self.steps
        if self.pulses is None:
            self.pulses = ends_of_pulses(self.problem, until, self.rtol)
        breaks = {s for s in (*self.problem.breakpoints, *self.pulses) if begin < s < end}
        for piece in pairwise([begin, *sorted(breaks), end]):
            u = self._smooth(u, piece, until)
        return u, self.steps - before

    def _smooth(self, u: Array, piece: tuple[float, float], until: float) -> Array:
        """Adaptive steps over an interval in which the coefficients are smooth in time."""
        begin, end = piece
        halvings, k = 0, 0  # the next step is the k-th of the equal parts
        while k < 1 << halvings:
            longest = min(self.step, until / _LONGEST)
            while halvings > 0 and k % 2 == 0 and (end - begin) / 2 ** (halvings - 1) <= longest:
                halvings, k = halvings - 1, k // 2
            while (end - begin) / 2**halvings > longest * (1 + 1e-9):
                halvings, k = halvings + 1, k * 2
            now = (end - begin) / 2**halvings
            new = self._tried(u, begin + k * now, now, until)
            if new is not None:
                u, k = new, k + 1
        return u

    def _tried(self, u: Array, t: float, now: float, until: float) -> Array | None:
        """u after a step, or None if that was too long; and the length of the next."""
        self._require_progress(t, until)
        allowed = max(self.rtol * now / until, _LEAST)
        error, halves = _doubled(self.problem, u, t, now, allowed)
        if now < until * _SHORTEST and not error <= allowed:
            allowed = _OF_A_JUMP * self.rtol
            error, halves = _over_jump(self.problem, u, t, now, _EXACT * allowed)
        clipped, good = 0.0, halves is not None and error <= allowed
        if halves is not None and good:
            halves, clipped = enforce_bounds(self.problem, halves, u, self.stats)
            # with a supply a step may be too long for the sign
            good = self.problem.scale is None or error + clipped <= allowed
        if not good and now < until * _SHORTEST:
            raise ConvergenceError(
                f"at t = {t:g} a step of {now:.2g} still has an error of {error:.2g}, above "
                f"the {allowed:.2g} that rtol_moving={self.rtol:g} leaves it: where a "
                "coefficient jumps in time, give it (or the schedule of β) an attribute times, "
                "those of its jumps, so that no step goes across; or raise rtol_moving"
            )
        # local error of order step^5 against an allowance of order step
        factor = float(np.clip(0.9 * (allowed / max(error, 1e-300)) ** 0.25, 0.2, 4.0))
        if not good or halves is None:
            self.step = now * min(factor, 0.5)
            return None
        # a step shortened by the end of its piece does not predict the next one; and twice as long
        # ones are tried where errors are rounding, which does not predict any
        self.step = max(min(self.step, until), now * factor) if factor > 1 else now * factor
        self.step *= _TRY if factor > _EASY else 1.0
        self.steps += 2
        self.stats["error_estimate"] += float(error + clipped)
        return halves

    def _require_progress(self, t: float, until: float) -> None:
        ahead = self.steps >= _GLANCE and self.steps * until > _FAR * _MOST_STEPS * t
        if ahead or self.steps >= _MOST_STEPS:
            raise ConvergenceError(
                f"after {self.steps} steps the solution has reached {t:.3g} of {until:.3g} only, "
                "as the coefficients move faster than that; use a shorter time, or increase "
                f"rtol_moving={self.rtol:g}"
            )


class _Fixed:
    """Constant coefficients: every time is reached from the last state whose bound suffices."""

    def __init__(self, problem: Problem, rtol: float, stats: Stats) -> None:
        self.problem, self.rtol, self.stats = problem, rtol, stats
        self.generator = problem.generator()
        self.line = line_of(self.generator, problem.is_density)
        self.rest = StationaryLimit(self.generator, problem.is_density)
        self.absorbs = self.generator.loss is not None
        self.size = self.line.size(problem.values)
        self.last = problem.values
        self.marcher: Collocation | None = None
        self.leap = np.inf  # with absorbing walls, the longest sweep that leaves enough mass
        self._rebase(problem.values, 0.0, 0.0)

    def _rebase(self, u: Array, t: float, error: float) -> None:
        """Use u at time t, with error bound ``error``, as the new base."""
        self.u, self.t, self.error = u, t, error
        self.bound = 0.0
        if self.size > 0:
            known = RATIONAL * amplification(self.generator, u, self.line.forward)
            share = self.line.size(u) / self.size if t > 0 else 1.0
            self.bound = known * share if share > 0 else 0.0

    def advance(self, t: float) -> Array:
        new, error = self._swept(t) if self._suffices() else self._marched(t)
        self.last, clipped = enforce_bounds(self.problem, new, self.last, self.stats)
        error += clipped
        if not error <= self.rtol:
            raise ConvergenceError(
                f"the exponential over [0, {t:g}] is known to {error:.2g} only, above "
                f"rtol={self.rtol:g}; raise rtol"
            )
        self.stats["error_estimate"] = max(self.stats["error_estimate"], error)
        return self.last

    def _suffices(self) -> bool:
        return self.error + self.bound <= self.rtol

    def _swept(self, t: float) -> tuple[Array, float]:
        """From the base to t in one sweep, or in several with absorbing walls: if

        less than 1e-3 is left after a sweep, it starts from a base closer to t.
        """
        while True:
            h = min(t - self.t, self.leap)
            new = sweep(self.line, self.u, h)
            self.stats["steps"] += 1
            if self.absorbs:
                before, after = self.line.size(self.u), self.line.size(new)
                if before < _GONE * self.size:
                    return np.zeros_like(new), self.error
                if after < _KEPT * before:
                    self.leap = h / 4
                    continue
            if h == t - self.t:
                return new, self.error + self.bound
            new, clipped = enforce_bounds(self.problem, new, self.u, self.stats)
            self._rebase(new, self.t + h, self.error + self.bound + clipped)
            self.leap *= 2
            if not self._suffices():
                return self._marched(t)

    def _marched(self, t: float) -> tuple[Array, float]:
        """From the base to t with a bound that holds for any spectrum, or until a sweep suffices.

        Data far up a steep potential descend fast, and so does the bound of a sweep.
        """
        if self.marcher is None:
            error_budget = 0.45 * self.rtol
            self.marcher = Collocation(self.line, relative=self.absorbs, error_budget=error_budget)
        if self.marcher.rate * t > _LONG:
            rest = self.rest.after(self.problem.values, t, _RESTED * self.rtol)
            if rest is not None:
                return rest
        jumps, rate = _LOOK, self.marcher.rate
        while self._may_suffice() and jumps < _PART * rate * (t - self.t):
            self._march(self.t + jumps / rate)
            if self._suffices():
                return self._swept(t)
            jumps *= _FARTHER
        self._march(t)
        return self.u, self.error

    def _may_suffice(self) -> bool:
        """False on a driven circle."""
        return not self.line.closed or bool(np.isfinite(self.bound))

    def _march(self, t: float) -> None:
        """From the base to t, by steps or jumps."""
        assert self.marcher is not None
        half, until = 0.45 * self.rtol, self.problem.until or t
        share, start = allowance(self.marcher.rate, until), self.t
        new, error = self.marcher.either(self.u, t - start, lambda s, h: half * share(start + s, h))
        self.stats["steps"] += max(1, self.marcher.steps)
        if self.size > 0:
            error /= self.size
        self._rebase(new, t, self.error + error)


def _doubled(
    problem: Problem, u: Array, t: float, step: float, allowed: float
) -> tuple[float, Array | None]:
    """Two Magnus steps of half the length, and their error by one of the whole; or None."""
    exact = _EXACT * allowed
    whole, _ = _magnus(problem, u, t, step, exact)
    half, first = _magnus(problem, u, t, step / 2, exact / 2)
    if whole is None or half is None:
        return np.inf, None
    halves, second = _magnus(problem, half, t + step / 2, step / 2, exact / 2)
    return doubling_error(whole, halves, problem.distance, 4) + first + second, halves


def _over_jump(
    problem: Problem, u: Array, t: float, step: float, tolerance: float
) -> tuple[float, Array]:
    """A step with the coefficients at its end, and how far from that with those at its start."""
    before, after = (
        _stage(problem, problem.generator(s), u, step, _loss_rates(problem.generator(s)),
               _added(problem, s), tolerance)[0]
        for s in (t, t + step)
    )  # fmt: skip
    return problem.distance(before, after), after


def _magnus(
    problem: Problem, u: Array, t: float, step: float, tolerance: float
) -> tuple[Array | None, float]:
    """exp(step (b L_1 + a L_2)) exp(step (a L_1 + b L_2)) u, L_k at the Gauss points of the step.

    And a bound on the error of the exponentials, relative to the data. b is slightly negative;
    None if a rate becomes negative (the step is then too long).
    """
    times = [t + c * step for c in GAUSS_POINTS]
    early, late = map(problem.generator, times)
    lost = _loss_rates(early), _loss_rates(late)
    first, last = (_added(problem, s) for s in times)
    total = 0.0
    for a, b in MAGNUS_STAGES:
        up, down = a * early.up[0] + b * late.up[0], a * early.down[0] + b * late.down[0]
        if min(up.min(), down.min()) < 0:
            return None, np.inf
        stage, loss = Generator(problem.grid, (up,), (down,)), a * lost[0] + b * lost[1]
        gain = max(-float(np.min(loss)), 0.0)  # where only the later one is zero
        more = None if first is None or last is None else a * first + b * last
        if more is not None and gain > 0:
            more *= exp(-gain * step / 2)  # times exp(gain step): on average over the step
        u, error = _stage(problem, stage, u, step, loss + gain, more, tolerance / 2)
        if gain > 0:
            u *= exp(gain * step)
        total += error
    return u, total


def _stage(
    problem: Problem, stage: Generator, u: Array, step: float, loss: Array | float,
    added: Array | None, tolerance: float,
) -> tuple[Array, float]:  # fmt: skip
    """u' = (A - loss) u + added over a step, and a bound on the error as ``Problem.distance``."""
    forward = problem.is_density
    if added is None:
        return exponential(stage, u, step, forward, loss, tolerance)
    kept, error, nothing = u, 0.0, np.zeros_like(u)
    if u.any():
        kept, error = exponential(stage, u, step, forward, loss, tolerance)
        error *= problem.distance(u, nothing)
    if added.any():
        size = step * problem.distance(added, nothing)
        more, off = accumulated(stage, added, step, forward, loss, tolerance / max(size, 1.0))
        kept, error = kept + more, error + off * size
    return kept, error


def _added(problem: Problem, t: float) -> Array | None:
    """What is added per time, 0 where nothing is just then; None where nothing ever is."""
    if problem.scale is None:
        return None
    added = supply(problem, t)
    return np.zeros(problem.grid.shape) if added is None else added


def _loss_rates(generator: Generator) -> Array | float:
    """Rate at which each cell loses to walls and killing."""
    return 0.0 if generator.loss is None else generator.loss
