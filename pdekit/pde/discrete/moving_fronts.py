"""Explicit steps for u_t = -H(x, ∇u, t), H = b·p + c|p| + others, monotone and filtered.

Of b·p and c|p| the numerical Hamiltonian is Godunov's (in the plane upwind for b, and Rouy and
Tourin's (1992) for c, the sum of two monotone ones), of any other H(x, p, t) Lax and Friedrichs'
with a dissipation of each cell. u_i is fed by its own cell's alone, so that the step is monotone
where dt (Σ_k |b_k| / h_k + |c| (Σ_k h_k^-2)^1/2 + Σ_k a_k / h_k) <= 1 in every cell.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import inf
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.fluxes import (
    Flux,
    godunov,
    lax_friedrichs,
    of_gradient,
    one_sided,
    one_sided_eno,
    slope_bounds,
    slopes,
    speeds,
)
from pdekit.pde.discrete.march import Advance, March
from pdekit.pde.discrete.monotone import MOST_STEPS
from pdekit.pde.discrete.moving_checks import TimeResolution, check_coefficients, check_state
from pdekit.pde.discrete.obstacles import Raised
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate, evaluate_vector
from pdekit.pde.discrete.stats import Stats

_KINK = 0.05  # of the range of slopes, beyond which those on both sides are far apart
_MARGIN = 0.1  # of the variation of 64 samples there, added to the largest
# irregular places between them, some on the ends: powers of the plastic ratio
_LATTICE = np.arange(1, 65)[:, None] * np.array([0.7548776662466927, 0.5698402909980532])
_INSIDE = np.clip(1.4 * np.modf(_LATTICE)[0] - 0.2, 0, 1)
_GROWTH = 1.2  # of steps after one that was halved, not to pass by what made it fast
_TOO_FAST = 2.0  # of the CFL number: what the slopes after a step may come to; then it is halved


def of_state(problem: Problem) -> bool:
    """Whether the Hamiltonian is one of place or time, or a sum."""
    return bool(checks.declared(getattr(problem.equation, "hamiltonian", None), "of_state"))


def refused_flux(flux: Flux) -> str:
    """The reason why a flux does not serve H(x, p, t)."""
    if flux in (godunov, lax_friedrichs):
        return ""
    return (
        "for a Hamiltonian of place and time flux must be fluxes.godunov or "
        f"fluxes.lax_friedrichs; got {flux!r}"
    )


@dataclass(frozen=True)
class Stage:
    """The Hamiltonian on the grid at one time: b, one field an axis, and c; None where absent.

    ``rate`` is the largest for the CFL condition.
    """

    velocities: Array | None
    speed: Array | None
    rate: float
    shape: tuple[int, ...]

    @cached_property
    def planes(self) -> tuple[Array, Array, Array]:
        """b along both axes and c, of a plane, zero where absent."""
        nothing = np.zeros(self.shape)
        b = [nothing] if self.velocities is None else list(self.velocities)
        fields = [*b[:1], *b[-1:], nothing if self.speed is None else self.speed]
        one, other, speed = (np.ascontiguousarray(np.atleast_2d(field)) for field in fields)
        return one, other, speed


class NumericalHamiltonian:
    """H(x, D^- u, D^+ u, t) on a grid, and the rates that limit steps."""

    def __init__(self, hamiltonian: Any, grid: Grid, flux: Flux) -> None:
        self.hamiltonian, self.grid, self.flux = hamiltonian, grid, flux
        self.moves = bool(checks.declared(hamiltonian, "depends_on_time"))
        self.b = checks.declared(hamiltonian, "velocities") or ()
        self.c = checks.declared(hamiltonian, "normal_speeds") or ()
        self.others = checks.declared(hamiltonian, "others") or ()
        self._stages: dict[float, Stage] = {}

    def stage(self, t: float) -> Stage:
        """b and c at a time; the last two are kept."""
        t = t if self.moves else 0.0
        if t not in self._stages:
            for old in list(self._stages)[:-1]:
                del self._stages[old]
            b = [self._vector(part, t) for part in self.b]
            c = [self._scalar(part, t) for part in self.c]
            velocities, speed = _total(b), _total(c)
            rate = float(np.max(self.front_rate(velocities, speed)))
            self._stages[t] = Stage(velocities, speed, rate, self.grid.shape)
        return self._stages[t]

    def _vector(self, part: Any, t: float) -> Array:
        part = part.at(t) if checks.time_dependent(part) else part
        if callable(part):
            field = evaluate_vector(part, self.grid, "the velocity of Advection")
        else:
            field = np.broadcast_to(np.array(part), self.grid.centres.shape)
        return np.ascontiguousarray(np.moveaxis(field, -1, 0))

    def _scalar(self, part: Any, t: float) -> Array:
        part = part.at(t) if checks.time_dependent(part) else part
        if callable(part):
            return evaluate(part, self.grid, "the speed of Eikonal")
        return np.full(self.grid.shape, float(part))

    @cached_property
    def _root(self) -> float:
        return float(np.sqrt((1 / self.grid.spacing**2).sum()))

    def front_rate(self, velocities: Array | None, speed: Array | None) -> Array | float:
        """Σ_k |b_k| / h_k + |c| (Σ_k h_k^-2)^1/2, a cell."""
        rate: Array | float = 0.0
        axes = (-1, *[1] * self.grid.dim)
        if velocities is not None:
            rate = (np.abs(velocities) / self.grid.spacing.reshape(axes)).sum(0)
        if speed is not None:
            factor = self._root if self.flux is godunov else float((1 / self.grid.spacing).sum())
            rate = rate + np.abs(speed) * factor
        return rate

    def monotone(self, u: Array, t: float) -> tuple[Array, float, list[Array]]:
        """H(D^- u, D^+ u) at a time, the rate for the CFL condition, and all dissipations a."""
        stage = self.stage(t)
        if not self.others:
            return self._front(u, stage, one_sided), stage.rate, []
        minus, plus = slopes(u, self.grid, one_sided)
        drags = [self._drag(part, minus, plus, t) for part in self.others]
        rate = sum((drag / self.grid.spacing).sum(-1) for drag in drags)
        if self.b or self.c:
            rate = rate + self.front_rate(stage.velocities, stage.speed)
        value = self._front(u, stage, one_sided) + self._rest(minus, plus, drags, t)
        return np.asarray(value), float(np.max(rate)), drags

    def accurate(self, u: Array, t: float, drags: list[Array]) -> Array:
        """The same from ENO2 slopes, with dissipations of the monotone one."""
        front = self._front(u, self.stage(t), one_sided_eno)
        if not self.others:
            return front
        return np.asarray(front + self._rest(*slopes(u, self.grid, one_sided_eno), drags, t))

    def _front(self, u: Array, stage: Stage, one_side: Any) -> Array:
        """Of b·p + c|p|."""
        if not (self.b or self.c):
            return np.zeros(u.shape)
        if self.flux is godunov:
            return self._fused(u, stage, 0.5 if one_side is one_sided_eno else 0.0)
        return front_plain(*slopes(u, self.grid, one_side), stage, self.flux)

    def _fused(self, u: Array, stage: Stage, second: float) -> Array:
        from pdekit.pde.kernels.front_march import front

        field = np.ascontiguousarray(np.atleast_2d(u))
        out = np.empty_like(field)
        front(field, *stage.planes, self._periodic, self._over, second, u.ndim == 1, out)
        return out.reshape(u.shape)

    @cached_property
    def _periodic(self) -> Any:
        around = self.grid.periodic
        return np.array(around if len(around) == 2 else (True, *around))

    @cached_property
    def _over(self) -> Array:
        over = 1 / self.grid.spacing
        return over if over.size == 2 else np.append(0.0, over)

    def _rest(
        self, minus: list[Array], plus: list[Array], drags: list[Array], t: float
    ) -> Array | float:
        total: Array | float = 0.0
        for part, drag in zip(self.others, drags, strict=True):
            total = total + self._other(part, minus, plus, drag, t)
        return total

    def _other(
        self, part: Any, minus: list[Array], plus: list[Array], drag: Array, t: float
    ) -> Array:
        if not checks.declared(part, "of_state"):
            return of_gradient(part, minus, plus, slope_bounds(minus, plus), self.flux)
        below, above = np.stack(minus, -1), np.stack(plus, -1)
        mean = np.asarray(part((below + above) / 2, self.grid.centres, t))
        return np.asarray(mean - (drag * (above - below)).sum(-1) / 2)

    def _drag(self, part: Any, minus: list[Array], plus: list[Array], t: float) -> Array:
        """Bounds of |∂H/∂p_k|, (*shape, dim) or (dim,), of a part that is no front."""
        if not checks.declared(part, "of_state"):
            return speeds(part, slope_bounds(minus, plus), self.flux)
        x, below, above = self.grid.centres, np.stack(minus, -1), np.stack(plus, -1)
        mean = (below + above) / 2
        here: Array = np.abs(part.grad(mean, x, t))
        given = part.bounds(x, t)
        if given is not None:
            _require_within(given, here, x, mean, t)
            return np.asarray(given)
        return _found(part, here, below, above, x, t)

    def at_rest(self, t: float) -> tuple[float, float]:
        """The least and the greatest H(x, 0, t) over the cells."""
        flat, low, high = np.zeros((*self.grid.shape, self.grid.dim)), 0.0, 0.0
        for part in self.others:
            if checks.declared(part, "of_state"):
                values = np.asarray(part(flat, self.grid.centres, t))
            else:
                values = np.asarray(part(flat[:1].reshape(-1, self.grid.dim)[:1]))
            low, high = low + float(values.min()), high + float(values.max())
        return low, high


def _total(fields: list[Array]) -> Array | None:
    return sum(fields[1:], fields[0]) if fields else None


def front_plain(minus: list[Array], plus: list[Array], stage: Stage, flux: Flux) -> Array:
    """The numerical Hamiltonian of b·p + c|p| from one-sided slopes."""
    b, c = stage.velocities, stage.speed
    if flux is not godunov:
        return np.asarray(_front_by_lax_friedrichs(b, c, minus, plus))
    if len(minus) == 1 and b is not None and c is not None:
        return front_on_line(b[0], c, minus[0], plus[0])
    along = 0.0 if b is None else upwind(b, minus, plus)
    return np.asarray(along if c is None else along + normal(c, minus, plus))


def upwind(b: Array, minus: list[Array], plus: list[Array]) -> Array:
    """Σ_k max(b_k, 0) p_k^- + min(b_k, 0) p_k^+."""
    parts = zip(b, minus, plus, strict=True)
    return np.asarray(sum(np.where(v > 0, v * m, v * p) for v, m, p in parts))


def normal(c: Array, minus: list[Array], plus: list[Array]) -> Array:
    """c |p| by the slopes downhill where c > 0 and uphill where c < 0 (Rouy and Tourin 1992)."""
    towards = c > 0
    squares: Array | float = 0.0
    for m, p in zip(minus, plus, strict=True):
        side = np.where(towards, np.maximum(m, -p), np.maximum(-m, p))
        squares = squares + np.maximum(side, 0) ** 2
    return np.asarray(c * np.sqrt(squares))


def front_on_line(b: Array, c: Array, minus: Array, plus: Array) -> Array:
    """Godunov's of b p + c |p|: two lines that meet at p = 0."""
    at_minus, at_plus = b * minus + c * np.abs(minus), b * plus + c * np.abs(plus)
    turns = minus * plus < 0
    least, most = np.minimum(at_minus, at_plus), np.maximum(at_minus, at_plus)
    least = np.where(turns, np.minimum(least, 0), least)
    most = np.where(turns, np.maximum(most, 0), most)
    return np.where(minus <= plus, least, most)


def _front_by_lax_friedrichs(
    b: Array | None, c: Array | None, minus: list[Array], plus: list[Array]
) -> Array | float:
    total: Array | float = 0.0
    size = np.sqrt(sum(((m + p) / 2) ** 2 for m, p in zip(minus, plus, strict=True)))
    if c is not None:
        total = c * size
    for k, (m, p) in enumerate(zip(minus, plus, strict=True)):
        fastest: Array | float = 0.0 if c is None else np.abs(c)
        if b is not None:
            total = total + b[k] * (m + p) / 2
            fastest = fastest + np.abs(b[k])
        total = total - fastest * (p - m) / 2
    return total


def _found(part: Any, here: Array, below: Array, above: Array, x: Array, t: float) -> Array:
    """The most of |∂H/∂p_k| at the corners of the box of a cell's slopes, and half its variation.

    The variation vanishes with h where u is smooth. Where the slopes on both sides are far apart,
    as at a kink, between which H may bend at will, also at irregular slopes inside.
    """
    most, least = here, here
    for sides in product((False, True), repeat=x.shape[-1]):
        corner = np.abs(part.grad(np.where(sides, above, below), x, t))
        most, least = np.maximum(most, corner), np.minimum(least, corner)
    most = most + (most - least) / 2
    apart = np.abs(above - below)
    kinks = (apart > _KINK * max(float(np.ptp(below)), float(np.ptp(above)))).any(-1)
    if kinks.any():
        p = below[kinks] + _INSIDE[:, None, : x.shape[-1]] * (above - below)[kinks]
        inside = np.abs(part.grad(p, np.broadcast_to(x[kinks], p.shape), t))
        inside = inside.max(0) + _MARGIN * np.ptp(inside, 0)
        most[kinks] = np.maximum(most[kinks], inside)
    return np.asarray(most)


def _require_within(given: Array, here: Array, x: Array, p: Array, t: float) -> None:
    bad = here > given * (1 + 1e-6) + 1e-12
    if bad.any():
        k = tuple(np.argwhere(bad)[0])
        raise ValueError(
            f"speeds must be bounds of |∂H/∂p| for all slopes of the solution; at x = "
            f"{x[k[:-1]].tolist()}, p = {p[k[:-1]].tolist()}, t = {t:g} it is {here[k]:.6g} along "
            f"axis {k[-1]}, where {given[k]:.6g} is given. Raise it, or leave speeds out to have "
            "them found"
        )


class FrontMarch:
    """Steps of the monotone scheme, or of the filtered one where ``share`` is not None."""

    def __init__(
        self, problem: Problem, stats: Stats, cfl: float, flux: Flux, share: float | None
    ) -> None:
        hamiltonian, grid = problem.equation.hamiltonian, problem.grid
        hamiltonian.terms(grid.dim)  # refuses another dimension
        self.numerical = NumericalHamiltonian(hamiltonian, grid, flux)
        self.grid, self.cfl, self.share, self.stats = grid, cfl, share, stats
        until = problem.until or inf
        self.numerical.stage(0.0)  # refuses what is no field
        check_state(hamiltonian, problem.values, grid, until)
        check_coefficients(problem, until)
        accuracy = self.numerical.moves or bool(self.numerical.others)
        self.longest = until / max(grid.cells) if accuracy else inf
        self.size, self.shortened = 0.0, inf
        self.raised = raised(problem)
        if self.raised is not None:
            self.longest = min(self.longest, self.raised.longest())
        self.first = problem.values if self.raised is None else self.raised(problem.values, 0.0)
        self.low, self.high = float(self.first.min()), float(self.first.max())
        self.resolution = TimeResolution(problem) if self.numerical.moves else None
        self.pulses: list[float] = []
        if self.resolution is not None and until < inf:
            self.pulses = self.resolution.pulses(problem.values, until)
        if share is not None:
            stats["filtered"] = 0.0

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another, and the number of steps."""
        t, steps = begin, 0
        now = self.numerical.monotone(u, t)
        while t < end:
            rate, left = now[1], end - t
            dt = left if rate * left <= self.cfl else self.cfl / rate
            dt = min(dt, self.longest, self.shortened)
            stop = self._next_pulse(t, end)
            while True:
                if not left <= dt * MOST_STEPS:
                    raise _too_many(dt, left)
                after = stop if dt >= stop - t else t + dt
                v, then = self._tried(u, now, t, after)
                if then[1] * (after - t) <= _TOO_FAST * self.cfl:
                    break
                dt /= 2
                self.shortened = dt
            self.shortened *= _GROWTH
            self._note(u, t, after)
            u, now, t, steps = v, then, after, steps + 1
        if self.resolution is not None:
            self.resolution.report(8 if self.share is None else 9)
        return u, steps

    def _next_pulse(self, t: float, end: float) -> float:
        """The end of the interval, or before it of the stretch on which H is nearly linear."""
        k = bisect_right(self.pulses, t)
        return min(end, self.pulses[k]) if k < len(self.pulses) else end

    def _tried(
        self, u: Array, now: tuple[Array, float, list[Array]], t: float, after: float
    ) -> tuple[Array, tuple[Array, float, list[Array]]]:
        """u after a step, and the numerical Hamiltonian there."""
        monotone, _, drags = now
        if self.share is None:
            v = u - (after - t) * monotone
        else:
            v = self._filtered(u, monotone, drags, t, after)
        if self.raised is not None:
            v = self.raised(v, after)
        return v, self.numerical.monotone(v, after)

    def _filtered(
        self, u: Array, monotone: Array, drags: list[Array], t: float, after: float
    ) -> Array:
        """The accurate step where it is near the monotone one."""
        from pdekit.pde.kernels.filtered_march import combine

        assert self.share is not None
        dt = after - t
        first = self.numerical.accurate(u, t, drags)
        second = self.numerical.accurate(u - dt * first, after, drags)
        # over the largest range of H so far, zero in it: at one time it may be zero everywhere
        size = max(float(monotone.max()), 0.0) - min(float(monotone.min()), 0.0)
        self.size = max(self.size, size)
        out, width = np.empty(u.shape), self.share * self.size
        held = combine(
            u.ravel(), monotone.ravel(), first.ravel(), second.ravel(), dt, width, out.ravel()
        )
        self.stats["filtered"] = max(self.stats["filtered"], held / u.size)
        return out

    def _note(self, u: Array, t: float, after: float) -> None:
        """The bounds known beforehand, and how the coefficients change in the step."""
        if self.numerical.others:
            ends = [self.numerical.at_rest(s) for s in (t, after)]
            self.low -= (after - t) * max(high for _, high in ends)
            self.high -= (after - t) * min(low for low, _ in ends)
        if self.resolution is not None:
            self.resolution.look(u, t, after)


def start(problem: Problem, stats: Stats, cfl: float, flux: Flux, share: float | None) -> Advance:
    """The march of a Hamiltonian of place and time, within the bounds of its data."""
    steps = FrontMarch(problem, stats, cfl, flux, share)
    march = March(steps.first, steps.over, stats)
    if share is None:
        return march

    def advance(t: float) -> Array:
        # the maximum principle of the monotone step; the run continues from the unclipped u
        u = march(t)
        if steps.raised is None:
            return np.clip(u, steps.low, steps.high)
        return steps.raised(np.maximum(u, steps.low), t)

    return advance


def raised(problem: Any) -> Raised | None:
    """Up to the obstacle at a time, where the equation has one."""
    return None if getattr(problem.equation, "obstacle", None) is None else Raised(problem)


def _too_many(dt: float, span: float) -> ConvergenceError:
    return ConvergenceError(
        f"the CFL condition asks for steps of {dt:.2g} over a span of {span:.2g}: the Hamiltonian "
        "is too fast, or the slopes too steep, for this grid; use a coarser grid or a shorter time"
    )
