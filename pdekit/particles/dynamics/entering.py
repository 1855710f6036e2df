"""Particles that enter at walls.

A wall that lets in the flux q, mass per area and time, reflects, and is a source of particles: with
n of them for the mass one, n q A enter per time, A its area, uniformly along it. Their number is
stratified: with Q the sum of q A over the walls, the k-th enters at the time (k + U)/(nQ), U
uniform in (0, 1), at one of the walls with the probability of its share of Q. So the mean number up
to any time is exact, the number is off by less than one, and particles stay independent.

A newcomer starts at the wall, and what is left of the step in which it enters is one shorter step
of Euler's, with walls and clocks as in `stopping`: once in its life, so that laws stay of weak
order one in dt. Newcomers are the particles n, n + 1, ... of a run; until they enter they are at
the wall, and wait, with the time of their exit -inf. When and where is a function of (seed, run,
particle) alone, so that a path does not depend on tiles, ranks, restarts and output times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf, prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pdekit.particles.dynamics.stopping import PLACE, TIME, Stopping
from pdekit.particles.integrators import Draws, Fast, Step
from pdekit.particles.noise import ENTRY_UNIFORM, NoiseOfSome

_ROUNDING = 1e-12  # of a number of particles: a whole one up to rounding counts as whole


class Gate(NamedTuple):
    """A wall that lets in: its axis and side (0 lower, 1 upper), and flux times area."""

    axis: int
    side: int
    inflow: float


def gates(dynamics: Any) -> list[Gate]:
    """The walls of a dynamics that let particles in."""
    walls, box = getattr(dynamics, "walls", None), getattr(dynamics, "box", None)
    if walls is None or box is None:
        return []
    widths = [b - a for a, b in zip(box.lower, box.upper, strict=True)]
    return [
        Gate(k, side, end.flux * prod(w for j, w in enumerate(widths) if j != k))
        for k, ends in enumerate(walls.per_axis(box.periodic))
        for side, end in enumerate(ends)
        if end.flux > 0
    ]


def newcomers(dynamics: Any, n: int, t: float) -> int:
    """The largest number of particles that may have entered a run of ``n`` by the time t."""
    return ceil(n * sum(gate.inflow for gate in gates(dynamics)) * t * (1 - _ROUNDING))


@dataclass(frozen=True)
class Entering:
    """The motion of ``stopping``, with newcomers from number ``n`` on; ``ahead`` makes its steps.

    A state has the rows of that of ``stopping`` in front, then the times of entrance.
    """

    stopping: Stopping
    n: int
    ahead: Fast

    def begin(self, x: Tensor, noise: Any) -> Tensor:
        """The state of a tile that starts from ``x``, of which newcomers' places are not used."""
        runs, particles, dim = x.shape
        number = torch.arange(noise.particle, noise.particle + particles, device=x.device) - self.n
        late, u = number >= 0, noise.uniforms(0, ENTRY_UNIFORM, 2 + dim)
        places = torch.where(late[:, None], self._places(u[..., 1].contiguous(), u[..., 2:]), x)
        state = self.stopping.init(places)
        rate = self.n * sum(gate.inflow for gate in gates(self.stopping.dynamics))
        times = ((number + u[..., 0].double()) / rate).to(x.dtype)
        state[TIME] = torch.where(late[:, None], -inf, state[TIME])
        return torch.cat([state, times[..., None].expand(1, runs, particles, dim)])

    def positions(self, state: Tensor, step: Step, noise: Draws) -> Tensor:
        """Positions; of those that wait, where they enter."""
        return state[PLACE]

    def alive(self, state: Tensor) -> Tensor:
        """Who is on the way, ``(runs, particles)``."""
        return self.stopping.alive(state)

    def exits(self, state: Tensor) -> Tensor:
        """Those of ``stopping``; NaN for those that wait."""
        return self.stopping.exits(state[:-1])

    def step(self, state: Tensor, step: Step, noise: Any) -> Tensor:
        """The state one step later, step by step."""
        state = self._set(state, self.stopping.step(state[:-1], step, noise))
        return self._entered(state, step, noise)

    def advance(self, state: Tensor, steps: list[Step], noise: Any) -> Tensor:
        """The state after some steps; ``state`` is overwritten."""
        for some in self._between_entrances(state, steps):
            state = self._set(state, self.ahead(state[:-1], some, noise))
            state = self._entered(state, some[-1], noise)
        return state

    def _places(self, which: Tensor, along: Tensor) -> Tensor:
        """Where newcomers enter, by a uniform number for the wall and one for each coordinate."""
        box, doors = self.stopping.dynamics.box, gates(self.stopping.dynamics)
        lower, upper = along.new_tensor(box.lower), along.new_tensor(box.upper)
        places = lower + along * (upper - lower)
        shares = np.cumsum([gate.inflow for gate in doors])
        first = torch.bucketize(which, which.new_tensor(shares[:-1] / shares[-1]))
        for number, (axis, side, _) in enumerate(doors):
            edge = (lower, upper)[side][axis]
            places[..., axis] = torch.where(first == number, edge, places[..., axis])
        return places

    def _between_entrances(self, state: Tensor, steps: list[Step]) -> Iterator[list[Step]]:
        """The steps, cut after each in which someone enters."""
        waiting = state[-1, ..., 0][state[TIME, ..., 0] == -inf]
        stops = waiting.new_tensor([step.stop for step in steps])
        ends = torch.unique(torch.searchsorted(stops, waiting, right=True)) + 1
        cuts = sorted({0, *(k for k in ends.tolist() if k < len(steps)), len(steps)})
        yield from (steps[a:b] for a, b in pairwise(cuts))

    def _set(self, state: Tensor, inner: Tensor) -> Tensor:
        if inner.data_ptr() != state.data_ptr():
            state[:-1] = inner
        return state

    def _entered(self, state: Tensor, step: Step, noise: Any) -> Tensor:
        """With those that enter in the step on their way from the wall."""
        stop = state.new_full((), step.stop)
        entering = (state[TIME, ..., 0] == -inf) & (state[-1, ..., 0] < stop)
        if not bool(entering.any()):
            return state
        some = NoiseOfSome(noise, *entering.nonzero(as_tuple=True))
        place, entered = state[PLACE][entering][None], state[-1][entering][None, :, :1]
        left = (stop - entered).clamp(max=step.size)
        for row, value in enumerate(self.stopping.part_of_step(place, left, step, some)):
            state[row][entering] = value[0].expand_as(place[0])
        return state
