"""Particles that stop: at walls, by a killing clock; and those that are reset.

A step of Euler's kind goes from x to y, and between them the path is a Brownian bridge with the
variance v = σ²h of the step, whatever the constant drift was. So what happens on the way is known
in law, and survival is of weak order one in dt, not one half (Gobet 2000):

* a wall that absorbs, d = |x - a| from x and d' = |y - a| from y, was met with probability
  exp(-2 d d'/v), or 1 where y is beyond it. When it was met it was at h s/(1 + s), s inverse
  Gaussian of mean d/d' and shape d²/v;
* a wall that absorbs in part at a rate κ: the lowest point of the bridge is
  m = (x + y - √((y - x)² - 2 v log U))/2, the local time L = max(0, a - m), and y + L the reflected
  end (Lépingle 1995). Absorbed is who has an exponential below 2κhL/v, so that the outward flux is
  κ times the density there;
* killing at the rate k: an exponential below h (k(x) + k(y))/2, of which also the time is known;
* resetting at the rate r: within the step with probability 1 - exp(-rh), the last time a truncated
  exponential before its end; from there one shorter step. Of a rate in time ∫ r stands for rh: the
  number of resets is exact, their times take r as constant on sixteenths of a step.

Of several the first counts. Places on the way are those of the chord. Each random number has its
own address, so that a path does not depend on tiles, ranks and restarts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any, ClassVar

import torch
from torch import Tensor

from pdekit import checks
from pdekit.particles.dynamics.diffusion import Diffusion, aslant, at_time, fold, reflected
from pdekit.particles.integrators import Draws, Fast, Integrator, Step
from pdekit.particles.noise import KILL_UNIFORM, STOP_NORMAL, STOP_UNIFORM, LawNoise
from pdekit.resetting import require_resetting, waiting
from pdekit.walls import holds, require_walls, takes

KILLED = -1.0
"""In ``Ensemble.exits``: not at a wall. The lower wall of axis k is 2 k, the upper one 2 k + 1."""


_NOTHING = 1e-30  # variance of a coordinate without noise
_TINY = 1e-15  # distance from a wall, over the kick of a step
_ENDINGS = "walls", "killing", "resetting"


def stops(dynamics: Any) -> bool:
    """Whether particles of a dynamics may stop."""
    return any(getattr(dynamics, name, None) is not None for name in ("walls", "killing"))


def changes_paths(dynamics: Any) -> bool:
    """Whether they may, or are reset."""
    return any(getattr(dynamics, name, None) is not None for name in _ENDINGS)


def endings(dynamics: Any) -> dict[str, Any]:
    """The same three of the equation of its law."""
    return {name: getattr(dynamics, name) for name in _ENDINGS}


def replaced_step(dynamics: Any) -> tuple[str, str]:
    """The class of ours that it is, and the first of its steps that a subclass replaces; or ""."""
    ours = next(k for k in type(dynamics).__mro__ if k.__module__.startswith("pdekit."))
    steps = ("init", "step", "positions")
    own = (s for s in steps if getattr(type(dynamics), s) is not getattr(ours, s))
    return ours.__name__, next(own, "")


def check_stopping(dynamics: Any) -> None:
    """``TypeError`` or ``ValueError`` for what particles cannot have."""
    name = type(dynamics).__name__
    if not changes_paths(dynamics):
        return
    ours, own = replaced_step(dynamics)
    if own:
        raise TypeError(
            f"{name}: walls, killing and resetting go with the steps of {ours}, got a class with "
            f"its own {own}; leave them out, or leave {own} as it is"
        )
    if getattr(dynamics, "beta", 1.0) == inf:
        raise ValueError(
            f"{name}: walls, killing and resetting need a finite beta, got beta=inf; without noise "
            "a path is known, and so is where it ends"
        )
    if dynamics.walls is not None:
        _check_walls(name, dynamics.walls, dynamics.box)
    if dynamics.killing is not None:
        _check_killing(name, dynamics.killing)
    if dynamics.resetting is not None:
        _check_resetting(name, dynamics)


def _check_walls(name: str, walls: Any, box: Any) -> None:
    require_walls(f"{name}: walls", walls)
    if box is None:
        raise ValueError(
            f"{name}: walls stand at the ends of a box, got box=None; add box=Grid(lower, upper, n)"
        )
    walls.per_axis(box.periodic)
    if holds(walls):
        raise ValueError(
            f"{name}: particles cannot hold a density at a wall, got {checks.shown(walls)}; Held "
            "is for equations, such as FokkerPlanck"
        )


def _check_killing(name: str, killing: Any) -> None:
    if callable(killing) or checks.time_dependent(killing):
        what = "map points (..., d) to rates (...), such as lambda x: x[..., 0]**2"
        checks.function(f"{name}: killing", killing, what)
        return
    checks.not_negative(f"{name}: killing", killing)


def _check_resetting(name: str, dynamics: Any) -> None:
    resetting = dynamics.resetting
    require_resetting(f"{name}: resetting", resetting)
    if not getattr(resetting.law, "pointwise", False):
        raise TypeError(
            f"{name}: resetting draws from its law one particle at a time, which "
            f"{checks.shown(resetting.law)} cannot; take Gaussian, Uniform or a Mixture of them"
        )
    for other in ("walls", "killing"):
        if getattr(dynamics, other) is not None:
            raise ValueError(
                f"{name}: resetting goes with walls that reflect, got {other}="
                f"{checks.shown(getattr(dynamics, other))} as well; leave one of the two out"
            )


# rows of a state: the position, or the place of the exit; the time of the exit, infinite before it;
# the number of the wall
PLACE, TIME, WALL = range(3)


@dataclass(frozen=True)
class Stopping:
    """The motion of ``dynamics`` with its walls, killing and resetting; what ``simulate`` moves.

    A state has the rows of the module's table in front, each ``(runs, particles, dim)``.
    """

    dynamics: Any
    coupled: ClassVar[bool] = False

    @property
    def dim(self) -> int | None:
        """Number of coordinates, if known."""
        dim: int | None = self.dynamics.dim
        return dim

    @property
    def integrator(self) -> Integrator:
        """That of the dynamics, or one like it whose states are positions."""
        own: Integrator = self.dynamics.integrator
        return getattr(own, "positioned", own)

    def drift(self, x: Tensor, t: float) -> Tensor:
        """That of the dynamics."""
        drift: Tensor = self.dynamics.drift(x, t)
        return drift

    def init(self, x: Tensor) -> Tensor:
        """The state that starts from positions ``x``: all are on their way."""
        self._require_inside(x)
        state = x.new_zeros(3, *x.shape)
        state[PLACE], state[TIME], state[WALL] = self.dynamics.init(x), inf, nan
        return state

    def _require_inside(self, x: Tensor) -> None:
        """``ValueError`` where one starts beyond a wall that takes particles."""
        if (
            self.dynamics.walls is None or x.is_meta
        ):  # meta tensors, used in tracing, have no values
            return
        bad = self._beyond(x).any(-1)
        if bool(bad.any()):
            box = self.dynamics.box
            raise ValueError(
                f"a particle starts at {x[bad][0].tolist()}, beyond a wall that takes it: the box "
                f"is [{box.lower}, {box.upper}]. Give positions inside, such as those of a law "
                "that are (the equation leaves out the rest too), or a law that stays inside, such "
                "as Uniform"
            )

    def _beyond(self, x: Tensor) -> Tensor:
        """Which coordinates lie beyond a wall that takes particles, wholly or in part."""
        box = self.dynamics.box
        ends = self.dynamics.walls.per_axis(box.periodic)
        taking = x.new_tensor([[takes(end) for end in pair] for pair in ends]).bool()
        below, above = x < x.new_tensor(box.lower), x > x.new_tensor(box.upper)
        return (below & taking[:, 0]) | (above & taking[:, 1])

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Positions; of those that stopped, where they did."""
        return state[PLACE]

    def alive(self, state: Tensor) -> Tensor:
        """Who is on the way, ``(runs, particles)``."""
        return state[TIME, ..., 0] == inf

    def exits(self, state: Tensor) -> Tensor:
        """Time, wall and place of exits, ``(runs, particles, 2 + dim)``; NaN where none is."""
        ends = torch.cat([state[TIME, ..., :1], state[WALL, ..., :1], state[PLACE]], -1)
        return ends.masked_fill(~ends[..., :1].isfinite(), nan)

    def spent(self, state: Tensor, step: Step) -> Tensor:
        """How long each was on its way in the step before a state, ``(runs, particles, 1)``."""
        on_the_way = (state[TIME, ..., :1] - step.start).clamp(0.0, step.size)
        return on_the_way

    def step(self, state: Tensor, step: Step, noise: Any) -> Tensor:
        """The state one step later; ``state`` is overwritten."""
        x, h = state[PLACE], step.size
        y, accepted = self._free(x, step, noise)
        if self.dynamics.resetting is not None:
            state[PLACE] = self._reset(self._folded(y, step).where(accepted, x), step, noise)
            return state
        y, share, wall = self._met(x, y, self.dynamics.variance(x, step), step, noise)
        y = self._folded(y, step).where(accepted, x)
        share, wall = self._killed(x, y, share, wall, h, step, noise)
        going = state[TIME] == inf
        for row, value in enumerate(self._ended(x, y, share, wall, step.start, h)):
            state[row] = torch.where(going, value, state[row])
        return state

    def part_of_step(self, x: Tensor, left: Tensor, step: Step, noise: Any) -> tuple[Tensor, ...]:
        """The rows of a state that is at ``x`` when ``left`` (..., 1) is left of a step."""
        y = self._moved(x, left, step, noise.at(step.number))
        v = (self.dynamics.variance(x, step) * (left / step.size)).expand_as(x)
        y, share, wall = self._met(x, y, v.clamp_min(_NOTHING), step, noise)
        y = self._folded(y, step)
        share, wall = self._killed(x, y, share, wall, left, step, noise)
        return self._ended(x, y, share, wall, step.stop - left, left)

    def fused(self, x: Tensor) -> Fast | None:
        """Many steps at once, if there is a compiled loop for them."""
        from pdekit.particles.fused import of_stopping

        # a class that replaces the drift moves by it alone
        own = getattr(type(self.dynamics), "drift", None) is Diffusion.drift
        return of_stopping(self, x) if own else None

    def _free(self, x: Tensor, step: Step, noise: Any) -> tuple[Tensor, Tensor]:
        """Where a step leads as if there were no walls, and for whom, ``(..., 1)``."""
        everyone = x.new_ones(()).bool()
        if hasattr(self.dynamics, "integrator"):
            sigma = self.dynamics.noise_of_step(step)
            return self.integrator.step(self._drift, x.clone(), sigma, step, noise), everyone
        y = self.dynamics.proposal(x, step, noise)
        return y if isinstance(y, tuple) else (y, everyone)

    def _folded(self, y: Tensor, step: Step) -> Tensor:
        """Reflected into the box: off its walls along the conormals of the noise."""
        if not hasattr(self.dynamics, "covariance"):
            return fold(y, self.dynamics.box)[0]
        return reflected(y, self.dynamics.box, lambda x: self.dynamics.covariance(x, step.start))

    def _drift(self, x: Tensor, t: float) -> Tensor:
        """The drift, continued beyond walls that reflect as its mirror image, as the path is.

        Beyond the others, where the path is at the wall or ends, it is that at the mirror image.
        """
        inside, sign = fold(x, self.dynamics.box)
        drift: Tensor = self.dynamics.drift(inside, t)
        if sign is None:
            return drift
        if self.dynamics.walls is None:
            return drift * sign
        return drift * sign.masked_fill(self._beyond(x), 1.0)

    def _met(
        self, x: Tensor, y: Tensor, v: Tensor | float, step: Step, noise: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """y, reflected where a wall absorbs in part; the share of the step after which a wall
        stopped a particle, infinite where none did, and which."""
        share = x.new_full((*x.shape[:-1], 1), inf)
        wall = torch.full_like(share, nan)
        if self.dynamics.walls is None:
            return y, share, wall
        box, dim = self.dynamics.box, x.shape[-1]
        uniform = noise.uniforms(step.number, STOP_UNIFORM, 4 * dim)
        normal, y, start = noise.at(step.number, STOP_NORMAL), y.clone(), y
        edge = x.clone()
        for k, ends in enumerate(self.dynamics.walls.per_axis(box.periodic)):
            for side, (end, a) in enumerate(zip(ends, (box.lower[k], box.upper[k]), strict=True)):
                if not takes(end):
                    continue
                meets = uniform[..., 2 * k + side]
                when = uniform[..., 2 * (dim + k) + side]
                inward = 1 - 2 * side
                d, beyond = (x[..., k] - a) * inward, (y[..., k] - a) * inward
                own = v if isinstance(v, float) else v[..., k].clamp_min(_NOTHING)
                if isfinite(end.rate):
                    local = _local_time(d, beyond, own, meets)
                    y[..., k] += inward * local
                    edge[..., k] = torch.where(local > 0, a, edge[..., k])
                    there = self._at(edge, k, step)
                    stopped = -torch.log(when) < 2 * end.rate * step.size / there * local
                    after = when.new_full((), 0.5).expand_as(when)
                else:
                    stopped = meets < torch.exp(-2 * d * beyond.clamp_min(0) / own)
                    after = hitting_share(d, beyond.abs(), own, normal[..., k], when)
                sooner = stopped & (after < share[..., 0])
                share[..., 0] = torch.where(sooner, after, share[..., 0])
                wall[..., 0] = torch.where(sooner, float(2 * k + side), wall[..., 0])
        if hasattr(self.dynamics, "covariance"):
            y += aslant(self.dynamics.covariance(edge, step.start), y - start)
        return y, share, wall

    def _at(self, edge: Tensor, k: int, step: Step) -> Tensor | float:
        """The variance where a wall pushes, which a rate of absorption is relative to."""
        there: Tensor | float = self.dynamics.variance(edge, step)
        return there if isinstance(there, float) else there[..., k].clamp_min(_NOTHING)

    def _killed(
        self, x: Tensor, y: Tensor, share: Tensor, wall: Tensor, h: Any, step: Step, noise: Any
    ) -> tuple[Tensor, Tensor]:
        """The same, where killing came first; on their way for ``h``."""
        killing = self.dynamics.killing
        if killing is None:
            return share, wall
        rate = (_rates(killing, x, step.start) + _rates(killing, y, step.stop)) / 2
        waits = -torch.log(noise.uniforms(step.number, KILL_UNIFORM))
        after = waits / (rate[..., None] * h)
        first = after < share.clamp_max(1)
        return torch.where(first, after, share), torch.where(first, KILLED, wall)

    def _ended(
        self, x: Tensor, y: Tensor, share: Tensor, wall: Tensor, start: Any, h: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of the state after the way from x to y, which begins at ``start``."""
        stopped, passed = share < inf, share.clamp_max(1)
        place = self._at_the_wall(x + passed * (y - x), wall)
        time = torch.where(stopped, start + passed * h, share)
        return torch.where(stopped, place, y), time, wall

    def _at_the_wall(self, place: Tensor, wall: Tensor) -> Tensor:
        """Places of exits, exactly at the wall."""
        box = self.dynamics.box
        if self.dynamics.walls is None:
            return place
        for k in range(place.shape[-1]):
            for side, a in enumerate((box.lower[k], box.upper[k])):
                here = wall[..., 0] == 2 * k + side
                place[..., k] = torch.where(here, a, place[..., k])
        return place

    def _reset(self, y: Tensor, step: Step, noise: Any) -> Tensor:
        """y, but for those that were reset within the step: from a new place for what was left."""
        resetting, h = self.dynamics.resetting, step.size
        when, since = noise.uniforms(step.number, STOP_UNIFORM, 2).unbind(-1)
        hazard = resetting.hazard(step.stop, h)
        chance = -torch.expm1(when.new_tensor(-hazard[1][-1]))
        risk = -torch.log1p(-since * chance)
        left = self._time_of(risk, hazard).clamp_max(h)[..., None]
        place = fold(self._drawn(y, step, noise), self.dynamics.box)[0]
        moved = self._moved(place, left, step, noise.at(step.number, STOP_NORMAL))
        return torch.where((when < chance)[..., None], self._folded(moved, step), y)

    def _time_of(self, risk: Tensor, hazard: Any) -> Tensor:
        """How long before the end of a step the ∫ of the rate of resetting is ``risk``."""
        rate = self.dynamics.resetting.rate
        if not callable(rate):
            left: Tensor = risk / rate
            return left
        return risk.new_tensor(waiting(hazard, risk.double().cpu().numpy()))

    def _moved(self, place: Tensor, left: Tensor, step: Step, xi: Tensor) -> Tensor:
        """Euler's step for what was left."""
        if hasattr(self.dynamics, "euler"):
            moved: Tensor = self.dynamics.euler(place, step.start, left, left.sqrt(), xi)
            return moved
        kick: Tensor = xi * (left.sqrt() * self.dynamics.noise_of_step(step))
        return place + self.drift(place, step.start) * left + kick

    def _drawn(self, y: Tensor, step: Step, noise: Any) -> Tensor:
        """Places from the law, of every particle of the tile."""
        law, runs = self.dynamics.resetting.law, range(noise.run, noise.run + len(y))
        kind = y.dtype, y.device, noise.particle, step.number
        draws = (LawNoise(noise.seed, r, *kind) for r in runs)
        return torch.stack([law.sample(y.shape[1], draw) for draw in draws])


def _local_time(d: Tensor, beyond: Tensor, v: Any, uniform: Tensor) -> Tensor:
    """At a wall, of a path that starts at the distance d and would end at ``beyond`` it."""
    lowest: Tensor = (d + beyond - ((beyond - d) ** 2 - 2 * v * uniform.log()).sqrt()) / 2
    return (-lowest).clamp_min(0)


def hitting_share(d: Tensor, end: Tensor, v: Any, normal: Tensor, uniform: Tensor) -> Tensor:
    """τ/h of the first time at which a bridge of variance v, that does so, comes down by d.

    τ/(h - τ) is inverse Gaussian, of mean d/end and shape d²/v (Michael, Schucany and Haas 1976).
    """
    before, left = ((z / v**0.5).clamp_min(_TINY) for z in (d, end))
    mean, spread = before / left, normal * normal / (before * left)
    small = mean / (1 + spread / 2 + (spread + spread * spread / 4).sqrt())
    ratio = torch.where(uniform * (mean + small) <= mean, small, mean / small * mean)
    return torch.where(ratio < inf, ratio / (1 + ratio), 1.0)


def _rates(killing: Any, x: Tensor, t: float) -> Tensor:
    """Rates at points, ``(runs, particles)``."""
    if not (callable(killing) or checks.time_dependent(killing)):
        return x.new_full(x.shape[:-1], killing)
    try:
        value = torch.as_tensor(at_time(killing, t)(x), dtype=x.dtype, device=x.device)
    except Exception as error:
        raise checks.failed(
            error,
            f"killing must take tensors of points (..., d); it failed on shape {tuple(x.shape)}: "
            f"{error} ({type(error).__name__})",
        ) from error
    if value.shape != x.shape[:-1]:
        raise ValueError(
            f"killing must map points of shape {tuple(x.shape)} to rates of shape "
            f"{tuple(x.shape[:-1])}, got shape {tuple(value.shape)}; sum over the last axis"
        )
    bad = ~(value >= 0)
    if bool(bad.any()):
        raise ValueError(
            f"killing must be >= 0 for particles, which cannot become more; it is "
            f"{float(value[bad][0]):.3g} at {x[bad][0].tolist()}. Equations take growth"
        )
    return value
