"""exp(tA) u on a line or a circle, with a proven error bound.

A is a Markov generator L minus killing, or its transpose: exp(tA) is a contraction in the
maximum norm, or in L1. Three methods, each with its own bound:

- one sweep of the rational approximation that is best on the negative axis, where detailed balance
  makes A self-adjoint with the weight of its Gibbs state (``amplification``);
- uniformization, a sum of nonnegative terms, if few jumps are expected;
- steps of Radau's collocation (``radau_poles``) otherwise, also where the spectrum is complex.
  A step knows the residual of its polynomial in time, and with the contraction that residual
  bounds the error whatever the spectrum: the bound does not rely on comparing two runs.
"""

from collections.abc import Callable
from functools import cached_property
from math import exp, log1p, log2
from typing import Any, NamedTuple

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.discrete.accumulation import Sized, doubled
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.kernels.rational import exponential_poles, radau

# Error of the rational approximation on the negative axis, 5e-14, and of rounding in its sum
RATIONAL = 6e-13
MEAN = 6e-12  # the same of the mean of exp(τ A) over the time, which errs by 2e-12
_BALANCED = 1e-13  # of the logs of rates round a circle, up to which it is in detailed balance
_FEW_JUMPS = 5_000  # expected jumps below which uniformization is fastest
_MANY_JUMPS = 5_000_000  # expected jumps above which its rounding is not small
_LONG = 100_000  # expected jumps above which the stationary state is tried
_FLOOR = 4  # factor of the rounding of a step: smaller errors cannot be reduced by shorter steps
_PURSE = 64
_WARY = 8  # number of steps after a rejected one with limited growth
_A_STEP = 400  # jumps that cost as much as a step of collocation
_PATIENCE = 4  # share of the cost of uniformization spent on trying steps
_UNIT = 2.3e-16  # rounding per jump: about a thousandth of a unit, bounded by a twentieth
_SURE = 1e-2  # share of an allowance for the part that is not yet stationary
_MOST_STEPS = 20_000
_LARGE = 2_000  # number of cells for which an eigenvalue of a full matrix takes a second
GONE = 1e-200  # of the data: less left by absorbing walls counts as zero
_STAGES = 6  # stages of a collocation step: partial fractions of more lose accuracy


Allowance = Callable[[float, float], float]


class Line(NamedTuple):
    """A generator on a line or a circle: rates to the next cell and back, and killing rates."""

    up: Array
    down: Array
    kill: Array
    forward: bool

    @property
    def closed(self) -> bool:
        return self.up.size == self.kill.size

    @property
    def fastest(self) -> float:
        """The largest exit rate."""
        out = self.kill.copy()
        inner = self.kill.size - 1
        out[:inner] += self.up[:inner]
        out[1:] += self.down[:inner]
        if self.closed:
            out[-1] += self.up[-1]
            out[0] += self.down[-1]
        return float(out.max())

    def size(self, u: Array) -> float:
        """The norm in which exp(tA) is a contraction: L1 of densities, else the maximum."""
        return float(np.abs(u).sum() if self.forward else np.abs(u).max())


def line_of(generator: Generator, forward: bool, kill: Array | float = 0.0) -> Line:
    """The line of a generator; ``kill`` is added to the absorption at its walls."""
    killed, lost = np.zeros(generator.grid.shape), generator.loss
    if isinstance(kill, np.ndarray) or kill:
        killed += kill
    if lost is not None:
        killed += lost
    return Line(generator.up[0], generator.down[0], killed, forward)


def propagate(
    generator: Generator, u: Array, t: float, forward: bool, kill: Array | float = 0.0
) -> Array:
    """exp(t A) u in one sweep of the rational approximation, A = L^T (forward) or L, minus kill."""
    return sweep(line_of(generator, forward, kill), u, t)


def sweep(line: Line, u: Array, t: float, method: tuple[Any, Any] | None = None) -> Array:
    """sum_k residue_k (t A - pole_k)^-1 u in one sweep over the cells."""
    from pdekit.pde.kernels.tridiagonal import rational_exponential

    poles, residues = exponential_poles() if method is None else method
    return rational_exponential(line.up, line.down, line.kill, u, t, line.forward, poles, residues)


def amplification(generator: Generator, u: Array, forward: bool) -> float:
    """The factor from the error of f on the spectrum to the relative error of f(A) u; inf if
    unknown.

    A is self-adjoint with the weight 1 / pi (the generator: pi), pi_{i+1} / pi_i = up_i / down_i:
    |error| <= |f - exp| |u| in that norm. Cauchy-Schwarz takes it to the L1 norm, relative to that
    of u (to the maximum norm). Unknown if a weight overflows, or around a
    circle without detailed balance.
    """
    up, down = generator.up[0], generator.down[0]
    if not u.any():
        return np.inf
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        steps = np.log(down / up)
        if generator.grid.periodic[0]:
            if not abs(steps.sum()) <= _BALANCED * (1 + np.abs(steps).sum()):
                return np.inf
            steps = steps[:-1]
        root = np.empty(u.size)  # pi^(-1/2)
        root[0] = 0.0
        np.cumsum(steps / 2, out=root[1:])
        root = np.exp(root - root.min())
        inverse = 1 / root
        weighted = u * root if forward else u * inverse
        norm = float(weighted @ weighted) ** 0.5
        if forward:
            bound = norm * float(inverse @ inverse) ** 0.5 / float(np.abs(u).sum())
        else:
            bound = norm * float(root.max()) / float(np.abs(u).max())
    return bound if np.isfinite(bound) else np.inf


def uniformized(line: Line, u: Array, t: float) -> tuple[Array, float]:
    """exp(tA) u as a mean over the number of jumps, and the bound of its rounding.

    P = 1 + A / rate has no negative entry where ``rate`` is the largest exit rate, and
    exp(tA) = sum_k e^-m m^k / k! P^k, m = t rate (Jensen 1953).
    """
    from pdekit.pde.kernels.uniformization import jumps, poisson

    rate = line.fastest
    if rate == 0:
        return u.copy(), 0.0
    mean = t * rate
    first, weights = poisson(mean)
    n = u.size
    up, down, kill = line.up / rate, line.down / rate, line.kill / rate
    before, after = np.zeros(n), np.zeros(n)  # the shares of the previous and next cells
    into, back = (up, down) if line.forward else (down, up)
    before[1:], after[:-1] = into[: n - 1], back[: n - 1]
    if line.closed:
        before[0], after[-1] = into[-1], back[-1]
    leave = kill.copy()
    leave[: n - 1] += up[: n - 1]
    leave[1:] += down[: n - 1]
    if line.closed:
        leave[-1] += up[-1]
        leave[0] += down[-1]
    out = jumps(u, np.maximum(1 - leave, 0.0), before, after, first, weights)
    return out, _UNIT * (mean / 20 + 10) * line.size(u)


def symmetric_gap(line: Line, pi: Array) -> float:
    """The spectral gap of the symmetric part of the generator of a circle, weighted with pi."""
    from scipy.linalg import eigvalsh

    n = pi.size
    here, there = np.arange(n), np.roll(np.arange(n), -1)
    flow = (pi * line.up + pi[there] * line.down) / 2
    matrix = np.zeros((n, n))
    np.add.at(matrix, (here, here), flow / pi)
    np.add.at(matrix, (there, there), flow / pi[there])
    np.add.at(matrix, (here, there), -flow / np.sqrt(pi * pi[there]))
    np.add.at(matrix, (there, here), -flow / np.sqrt(pi * pi[there]))
    return float(eigvalsh(matrix, subset_by_index=[1, 1])[0])


_LEAP = 32  # steps after which, and after twice as many, the rest is tried at once


class Collocation:
    """Collocation steps on a line with constant rates, from one time to another.

    ``step`` is the length tried next, kept from one interval to the next. Beside what it is
    allowed by its length, a step may use 1/64 of the remaining ``error_budget``.
    """

    def __init__(self, line: Line, relative: bool, error_budget: float) -> None:
        self.line, self.rate = line, line.fastest
        self.error_budget = error_budget
        self.relative = relative  # errors are relative to the remaining mass if walls absorb
        self.step = 10 / self.rate if self.rate > 0 else np.inf
        self.method = radau(_STAGES)
        self.steps = 0

    def march(
        self, u: Array, t: float, allowed: Allowance, most: int = _MOST_STEPS
    ) -> tuple[Array, float]:
        """exp(tA) u and the bound of its error; a step from s to s + h may err by allowed(s, h).

        The allowance is relative to the size of u.
        """
        done, total, first = 0.0, 0.0, self.line.size(u)
        if first == 0 or self.rate == 0:
            return u.copy(), 0.0
        self.steps, wary = 0, 0
        while done < t:
            size = self.line.size(u) if self.relative else first
            if size < GONE * first:
                return np.zeros_like(u), total
            if self.steps >= most:
                raise ConvergenceError(_never(done, t, self.steps))
            # at metastable times what is left is slow, and shorter steps only repeat their rounding
            leap = self.steps >= _LEAP and self.steps & (self.steps - 1) == 0
            h = t - done if leap else min(self.step, t - done)
            new, error, order = self.try_step(u, h)
            scale = self.line.size(new) if self.relative else first
            rounding = self.method.rounding * self.line.size(u)
            share = max(allowed(done, h), self.error_budget / _PURSE)
            bound = max(share * scale, _FLOOR * rounding)
            self.steps += 1
            factor = 0.9 * (bound / max(error, 1e-300)) ** (1 / order)
            if error > bound and leap:
                continue
            if error > bound:
                self.step, wary = h * max(factor, 0.1), _WARY
                continue
            u, total = new, total + error + rounding
            self.error_budget -= (error + rounding) / scale if scale > 0 else 0.0
            done = t if h >= t - done else done + h
            if error < _FLOOR * rounding and wary == 0:
                factor = max(factor, 2.0)  # rounding only: not a sign of too long a step
            wary = max(wary - 1, 0)
            self.step = max(self.step, h * factor) if done == t else h * min(factor, 6.0)
        return u, total

    def either(self, u: Array, t: float, allowed: Allowance) -> tuple[Array, float]:
        """The same, by uniformization if that is faster or the steps fail."""
        expected = t * self.rate
        if expected <= _FEW_JUMPS:
            return uniformized(self.line, u, t)
        drowned = expected > _LONG and _UNIT * expected / 20 > allowed(0.0, t)
        if expected > _MANY_JUMPS or drowned:
            rested = self.at_rest(u, t, _SURE * allowed(0.0, t) * self.line.size(u))
            if rested is not None:
                return rested
        if expected > _MANY_JUMPS:
            return self.march(u, t, allowed)
        try:
            return self.march(u, t, allowed, int(expected / (_A_STEP * _PATIENCE)))
        except ConvergenceError:
            return uniformized(self.line, u, t)

    def at_rest(self, u: Array, t: float, tolerance: float) -> tuple[Array, float] | None:
        """The stationary state on a circle, if t is long enough by the spectral gap.

        With the weight 1 / pi (functions: pi) of the stationary state the remainder decays
        at least like exp(-gap t), gap that of the symmetric part of the generator.
        """
        if self._rest is None:
            return None
        pi, gap = self._rest
        if self.line.forward:
            rest = pi * float(u.sum())
            away = float(((u - rest) ** 2 / pi).sum()) ** 0.5
        else:
            rest = np.full(u.size, float(u @ pi))
            away = float((pi * (u - rest) ** 2).sum() / pi.min()) ** 0.5
        left = exp(-min(gap * t, 700.0)) * away
        return (rest, left + _UNIT * 100 * self.line.size(u)) if left <= tolerance else None

    @cached_property
    def _rest(self) -> tuple[Array, float] | None:
        """The stationary state on a circle and the gap, if both are reliable."""
        if not self.line.closed or self.line.kill.any() or self.line.kill.size > _LARGE:
            return None
        forever = (self.method.poles, self.method.residues)
        line, n = self.line._replace(forward=True), self.line.kill.size
        pi = sweep(line, np.full(n, 1 / n), 1e20 / self.rate, forever)
        if not pi.min() > 1e-10 / n:  # such small entries are not reliable
            return None
        return pi, symmetric_gap(line, pi)

    def try_step(self, u: Array, h: float) -> tuple[Array, float, int]:
        """A step of length h, a bound on its error but for rounding, and its order in h.

        With w = (hA)^s q(hA)^-1 u and w2 the same of w, the error is at most ``once`` |w| and
        ``twice`` |w2| in the norm of the contraction; see ``radau``.
        """
        method = self.method
        new = sweep(self.line, u, h, (method.poles, method.residues))
        w = u + sweep(self.line, u, h, (method.poles, method.stiff))
        first = method.once * self.line.size(w)
        w += sweep(self.line, w, h, (method.poles, method.stiff))
        second = method.twice * self.line.size(w)
        error, order = min((first, _STAGES), (second, 2 * _STAGES))
        return new, error, order


def exponential(
    generator: Generator,
    u: Array,
    t: float,
    forward: bool,
    kill: Array | float,
    tolerance: float,
) -> tuple[Array, float]:
    """exp(tA) u and a bound on its error relative to the size of u, by the cheapest

    method. The bound is at most ``tolerance`` unless limited by rounding.
    """
    line = line_of(generator, forward, kill)
    bound = RATIONAL * amplification(generator, u, forward)
    if bound <= tolerance:
        return sweep(line, u, t), bound
    share = allowance(line.fastest, t)
    half = tolerance / 2
    marcher = Collocation(line, relative=False, error_budget=half)
    new, error = marcher.either(u, t, lambda s, h: half * share(s, h))
    return new, error / max(line.size(u), 1e-300)


def accumulated(
    generator: Generator,
    s: Array,
    t: float,
    forward: bool,
    kill: Array | float,
    tolerance: float,
) -> tuple[Array, float]:
    """∫_0^t exp(τ A) s dτ and a bound on its error relative to t times the size of s, as above."""
    line = line_of(generator, forward, kill)
    bound = MEAN * amplification(generator, s, forward)
    if bound <= tolerance:
        poles, residues = exponential_poles()  # f(x) - f(0) over x
        return t * sweep(line, s, t, (poles, residues / poles)), bound
    least = tolerance / max(log2(max(t * line.fastest, 2.0)), 1.0)

    def propagated(u: Array, h: float) -> Sized:
        new, error = exponential(generator, u, h, forward, kill, least)
        return Sized(new, error * line.size(u))

    out, error = doubled(propagated, s, t, line.fastest)
    return out, error / max(t * line.size(s), 1e-300)


def allowance(rate: float, until: float) -> Allowance:
    """Shares of one over [0, until]: share(t, h) of the step from t to t + h; they sum to one.

    Half by time, and half by its logarithm from the time of one jump on: rough data are
    smoothed initially, in equally many steps per decade.
    """
    shortest = max(1 / rate if rate > 0 else until, until * 1e-30)
    whole = log1p(until / shortest)

    def share(t: float, h: float) -> float:
        return 0.5 * h / until + 0.5 * log1p(h / (t + shortest)) / whole

    return share


def _never(done: float, t: float, steps: int) -> str:
    return (
        f"after {steps} steps the exponential has reached {done:.3g} of {t:.3g} only; raise rtol, "
        "ask for a shorter time, or use schemes.Implicit(dt) with a dt of your own"
    )
