"""When particles enter a set for the first time, also between two looks.

A step of an overdamped dynamics from x to y is a Brownian bridge with the variance v of its noise,
as for `stopping`, so an edge at the distances d and d' was met with probability exp(-2 d d'/v), and
when is known in law. A set in the plane is entered once all coordinates are within its sides: then
the last to come in meets its edge, and the others are drawn from their own bridges at that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pdekit import checks
from pdekit.arrays import IntArray
from pdekit.particles.dynamics.stopping import hitting_share, replaced_step
from pdekit.particles.integrators import Draws, Fast, Step
from pdekit.particles.noise import STOP_NORMAL, STOP_UNIFORM, WATCHED
from pdekit.walls import lets_in

_TINY = 1e-30  # variance of steps without noise
_NEVER = 40.0  # no uniform number is below exp(-40)


@dataclass(frozen=True)
class FirstPassage:
    """The first time at which each particle is in [lower, upper], an observable.

    Parameters
    ----------
    lower, upper : numbers, or corners (d,); sides may be infinite. On a periodic axis within the
        box
    name : prefix of the variables; required for two of a kind

    Variables ``passage_time`` ([run,] particle), of each particle kept, NaN where it has not
    entered, and ``survival`` (time, [run]), the share that has not and, of dynamics with walls or
    killing, is on its way. Particles that start in the set enter at 0, and go on moving: the paths
    are the same as without.

    For overdamped dynamics (``Langevin``, ``AnnealedLangevin``, ``ControlledLangevin``,
    ``SmoothedDescent``, ``InteractingLangevin``, ``MetropolisLangevin``,
    ``MultiplicativeLangevin``, ``ItoProcess``), of weak order one in dt on a line and for half
    spaces; at the corners of a box 2/3. Steps are then taken one by one. Raises ``ValueError``
    for sides that do not enclose a set, or one outside the box, ``TypeError`` for other dynamics.
    Good steps: as for the dynamics, and short beside the time to diffuse across the set.
    The same set is the ``target`` of ``mean_first_passage_time`` and ``committor``.
    """

    lower: Any
    upper: Any
    name: str = ""
    every: ClassVar[int | None] = None
    watches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        what = "a number, or one per coordinate; math.inf for no side"
        lower, upper = (
            np.atleast_1d(checks.numbers(f"FirstPassage: {name}", getattr(self, name), what))
            for name in ("lower", "upper")
        )
        if lower.ndim > 1 or lower.shape != upper.shape or not (lower < upper).all():
            raise ValueError(
                "FirstPassage: lower must be < upper in every coordinate, got "
                f"lower={checks.shown(self.lower)}, upper={checks.shown(self.upper)}"
            )
        if not np.isfinite([lower, upper]).any():
            raise ValueError("FirstPassage: the set is the whole space; give a finite side")
        checks.text("FirstPassage: name", self.name)
        for name, value in (("lower", lower), ("upper", upper)):
            object.__setattr__(self, name, tuple(map(float, value)))

    def blank(self, runs: int, dim: int) -> IntArray:
        """Nobody."""
        if len(self.lower) != dim:
            raise ValueError(
                f"FirstPassage: the set has {len(self.lower)} coordinates, the particles have {dim}"
            )
        return np.zeros((runs, 1), np.int64)

    def add(self, total: IntArray, x: Tensor) -> None:
        """Count those that wait, given True for each (runs, n)."""
        total[:, 0] += x.sum(1).cpu().numpy()

    def table(self, total: IntArray, seen: IntArray, dim: int) -> xr.Dataset:
        """The survival function; ``seen`` are all particles."""
        share = total[..., 0] / np.maximum(seen, 1)
        return xr.Dataset({f"{self._prefix}survival": (("time", "run"), share)})

    def times(self, times: Any) -> xr.Dataset:
        """Those of passage (run, particle), infinite where none was, as a variable."""
        found = np.where(np.isfinite(times), times, nan)
        sides = {"lower": list(self.lower), "upper": list(self.upper)}
        return xr.Dataset({f"{self._prefix}passage_time": (("run", "particle"), found, sides)})

    @property
    def _prefix(self) -> str:
        return f"{self.name}_" if self.name else ""


def check_passages(dynamics: Any, passages: tuple[FirstPassage, ...]) -> None:
    """``TypeError`` or ``ValueError`` for a dynamics or a box that they cannot watch."""
    name = type(dynamics).__name__
    if not hasattr(dynamics, "variance"):
        raise TypeError(
            f"FirstPassage needs an overdamped dynamics of pdekit, whose path between two steps is "
            f"a Brownian bridge, such as Langevin; got {name}"
        )
    ours, own = replaced_step(dynamics)
    if own:
        raise TypeError(
            f"FirstPassage goes with the steps of {ours}, got {name} with its own {own}; leave "
            f"{own} as it is"
        )
    if lets_in(getattr(dynamics, "walls", None)):
        raise ValueError(
            f"FirstPassage watches the particles that start, got {name} with "
            f"{checks.shown(dynamics.walls)}, by which others enter; let these walls reflect"
        )
    box = getattr(dynamics, "box", None)
    for passage in passages if box is not None else ():
        _check_in_box(passage, box)


def _check_in_box(passage: FirstPassage, box: Any) -> None:
    sides = zip(passage.lower, passage.upper, box.lower, box.upper, box.periodic, strict=True)
    for lower, upper, a, b, wraps in sides:
        whole = lower <= a and upper >= b
        if upper < a or lower > b or (wraps and not whole and not a <= lower < upper <= b):
            raise ValueError(
                f"FirstPassage: the set must be in the box from {box.lower} to {box.upper}, got "
                f"lower={passage.lower}, upper={passage.upper}; outside nobody enters it"
            )


@dataclass(frozen=True)
class Watched:
    """The motion of ``mover``, for which the times of ``passages`` are kept.

    A state has in front the rows of that of the mover, then the positions, then the times of
    passage, infinite before it; ``(rows, runs, particles, dim)``. ``ahead`` makes the steps.
    """

    mover: Any
    dynamics: Any
    passages: tuple[FirstPassage, ...]
    ahead: Fast

    def init(self, x: Tensor) -> Tensor:
        """The state that starts from positions ``x``; those in a set have passed."""
        inner = self.mover.init(x)
        there = inner[0] if inner.ndim > x.ndim else inner
        times = [_where_inside(there, p) for p in self.passages]
        return torch.cat([inner.reshape(-1, *x.shape), there[None], torch.stack(times)])

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Those of the mover."""
        x: Tensor = self.mover.positions(self._inner(state), step, noise)
        return x

    def alive(self, state: Tensor) -> Tensor:
        """Who has not stopped, ``(runs, particles)``."""
        if hasattr(self.mover, "alive"):
            alive: Tensor = self.mover.alive(self._inner(state))
            return alive
        return state.new_ones(state.shape[1:3]).bool()

    def exits(self, state: Tensor) -> Tensor:
        """Those of the mover, if its particles stop."""
        if hasattr(self.mover, "exits"):
            exits: Tensor = self.mover.exits(self._inner(state))
            return exits
        return state.new_empty(*state.shape[1:3], 0)

    def passed(self, state: Tensor) -> Tensor:
        """Times of passage ``(passages, runs, particles)``, infinite before it."""
        return state[-len(self.passages) :, ..., 0]

    def waiting(self, state: Tensor) -> list[Tensor]:
        """For each of the passages who is still to come, ``(runs, particles)``."""
        alive = self.alive(state)
        return [alive & (times == inf) for times in self.passed(state)]

    def step(self, state: Tensor, step: Step, noise: Any) -> Tensor:
        """The state one step later, step by step."""
        return self._after(state, self.mover.step(self._inner(state), step, noise), step, noise)

    def advance(self, state: Tensor, steps: list[Step], noise: Any) -> Tensor:
        """The state after some steps; ``state`` is overwritten."""
        for step in steps:
            state = self._after(state, self.ahead(self._inner(state), [step], noise), step, noise)
        return state

    def _inner(self, state: Tensor) -> Tensor:
        inner = state[: -1 - len(self.passages)]
        return inner if len(inner) > 1 else inner[0]

    def _after(self, state: Tensor, inner: Tensor, step: Step, noise: Any) -> Tensor:
        """With the mover's state after the step, its positions, and who passed."""
        count = 1 + len(self.passages)
        before, y = state[-count].clone(), self.mover.positions(inner, step, noise).clone()
        state[:-count], state[-count] = inner.reshape(state[:-count].shape), y
        spent = self._spent(inner, step)
        v = (self.dynamics.variance(before, step) * spent / step.size).clamp_min(_TINY)
        v, drawn, box = v.expand_as(y), None, getattr(self.dynamics, "box", None)
        for passage, times in zip(self.passages, state[1 - count :], strict=True):
            near = _may_enter(passage, before, y, v, box)
            near &= ((times == inf) & (spent > 0)).all(-1)
            if not bool(near.any()):
                continue
            drawn = drawn or _Drawn.of_step(noise, step, y.shape[-1])
            share = _entry(passage, before[near], y[near], v[near], box, drawn.of(near))[:, None]
            times[near] = torch.where(share <= 1, step.start + share * spent[near], inf)
        return state

    def _spent(self, inner: Tensor, step: Step) -> Tensor:
        """How long each was on its way in a step, ``(runs, particles, 1)``."""
        if hasattr(self.mover, "spent"):
            spent: Tensor = self.mover.spent(inner, step)
            return spent
        return inner.new_full((*inner.shape[-3:-1], 1), step.size)


class _Drawn(NamedTuple):
    """Random numbers of a step, at addresses of their own: steps that no path takes."""

    uniforms: Tensor
    normals: Tensor
    others: Tensor

    @classmethod
    def of_step(cls, noise: Any, step: Step, dim: int) -> _Drawn:
        """Those of a tile."""
        number = step.number + WATCHED
        normals = noise.at(number, STOP_NORMAL).clone()
        others = noise.at(number + WATCHED // 2, STOP_NORMAL).clone() if dim > 1 else normals
        return cls(noise.uniforms(number, STOP_UNIFORM, 4 * dim), normals, others)

    def of(self, some: Tensor) -> _Drawn:
        """Those of some particles."""
        return _Drawn(*(each[some] for each in self))


def _where_inside(x: Tensor, passage: FirstPassage) -> Tensor:
    """0 in the set, infinite elsewhere, of the shape of ``x``."""
    inside = _inside(x, passage).all(-1, keepdim=True)
    return torch.where(inside, 0.0, x.new_full((), inf)).expand_as(x)


def _inside(x: Tensor, passage: FirstPassage) -> Tensor:
    return (x >= x.new_tensor(passage.lower)) & (x <= x.new_tensor(passage.upper))


def _entry(
    passage: FirstPassage, x: Tensor, y: Tensor, v: Tensor, box: Any, drawn: _Drawn
) -> Tensor:
    """The share of the step after which each particle ``(n, d)`` is in the set."""
    came, places, ends = [], [], []
    for k in range(x.shape[-1]):
        share, place, end = _coordinate(passage, x[..., k], y[..., k], v[..., k], k, box, drawn)
        came.append(share)
        places.append(place)
        ends.append(end)
    each = torch.stack(came, -1)
    share = each.amax(-1)
    if x.shape[-1] == 1:
        return share
    # the others at that time, by bridges from where they were when they came in
    start, end, early = torch.stack(places, -1), torch.stack(ends, -1), each < share[..., None]
    left = (1 - each).clamp_min(_TINY)
    part = ((share[..., None] - each) / left).nan_to_num(0.0).clamp(0, 1)
    spread = (v * left * part * (1 - part)).sqrt()
    there = start + part * (end - start) + drawn.others * spread
    good = (_inside(there, passage) | ~early).all(-1)
    arrived = torch.where(_inside(y, passage).all(-1), 1.0, x.new_full((), inf))
    return torch.where(good, share, arrived)


def _may_enter(passage: FirstPassage, x: Tensor, y: Tensor, v: Tensor, box: Any) -> Tensor:
    """Who may be in the set between x and y, as far as the least possible uniform tells."""
    lower, upper = x.new_tensor(passage.lower), x.new_tensor(passage.upper)
    may = (x >= lower) & (x <= upper) | (2 * (lower - x) * (lower - y) <= _NEVER * v)
    may |= 2 * (x - upper) * (y - upper) <= _NEVER * v
    if box is not None:  # the other way round
        may |= x.new_tensor(box.periodic).bool()
    return may.all(-1)


def _coordinate(
    passage: FirstPassage, x: Tensor, y: Tensor, v: Tensor, k: int, box: Any, drawn: _Drawn
) -> tuple[Tensor, Tensor, Tensor]:
    """When a coordinate is first between its sides, where it then is, and where it ends."""
    lower, upper = passage.lower[k], passage.upper[k]
    dim = drawn.normals.shape[-1]
    share, place = torch.where((x >= lower) & (x <= upper), 0.0, x.new_full((), inf)), x.clone()
    for side, (edge, inward) in enumerate(((lower, 1), (upper, -1))):
        if not isfinite(edge):
            continue
        d, move = (edge - x) * inward, (y - x) * inward
        if box is not None and box.periodic[k]:
            width = box.upper[k] - box.lower[k]
            d, move = d % width, move - width * (move / width).round()
        d = torch.where((d > 0) & (share > 0), d, inf)
        left = d - move
        meets, when = drawn.uniforms[..., 2 * k + side], drawn.uniforms[..., 2 * (dim + k) + side]
        met = meets < torch.exp(-2 * d * left.clamp_min(0) / v)
        after = hitting_share(d, left.abs(), v, drawn.normals[..., k], when)
        sooner = met & (after < share)
        share, place = torch.where(sooner, after, share), torch.where(sooner, edge, place)
    if box is not None and box.periodic[k]:
        width = box.upper[k] - box.lower[k]
        y = place + (y - place) - width * ((y - place) / width).round()
    return share, place, y
