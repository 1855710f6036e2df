"""Many steps of many particles on a line in one pass: noise, slopes and integrator in cache.

The reference is `Diffusion.step`, one step at a time with torch. The kernel does the same products
and sums in the same order, none contracted, so both give the same bits; only the sine and cosine of
``Rippled`` and ``Rough`` are not torch's, and differ from it by a unit in the last place now and
then.

Fused are, in float32 and float64 on the CPU: sums of ``Quadratic``, ``DoubleWell``, ``Rippled``,
``Rough`` and of ``Tabulated`` and ``Evolving`` with uniform samples, in one dimension, under the
three integrators, with or without walls; and of the first four, in any dimension and under the
first two integrators, without walls: ``InteractingLangevin`` under ``CurieWeiss``, also where ranks
share the mean, and ``TwoScaleLangevin`` alone or so drawn, and ``EntropySGD``.
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pdekit import checks
from pdekit.interactions import is_quadratic
from pdekit.particles.integrators import Step
from pdekit.particles.kernels.coupled import advance_coupled, advance_shared, noise_room
from pdekit.particles.kernels.drift import (
    DOUBLE_WELL,
    QUADRATIC,
    RIPPLED,
    ROUGH,
    SPLINE,
    Terms,
    Walls,
    advance,
)
from pdekit.particles.kernels.forces import sums
from pdekit.particles.kernels.two_scale import Inner, advance_two_scale
from pdekit.particles.noise import INNER, LANES, Address, StepNoise
from pdekit.potentials import DoubleWell, Evolving, Quadratic, Rippled, Rough, Sum, Tabulated

_FREE = {"potentials", "dim", "_abc_impl", "_is_protocol"}  # may be another class's own


def fused(dynamics: Any, x: Tensor) -> "Fused | FusedCurieWeiss | FusedTwoScale | None":
    """The fused form that ``dynamics`` offers for particles like ``x``; None where there is none.

    What a class offers holds for it and for those that inherit all of its steps.
    """
    kinds = type(dynamics).__mro__
    k = next((k for k, kind in enumerate(kinds) if "fused" in vars(kind)), None)
    if k is None:
        return None
    made_of = {name for kind in kinds[k:] for name in vars(kind) if not name.startswith("__")}
    replaced = {name for kind in kinds[:k] for name in vars(kind)} & made_of - _FREE
    return None if replaced else dynamics.fused(x)


def of_diffusion(dynamics: Any, x: Tensor) -> "Fused | None":
    """Of potentials on a line, with or without walls."""
    if not (_in_memory(x) and x.shape[-1] == 1 and _slopes(dynamics)):
        return None
    parts = [_part(V) for V in _summands(dynamics.potentials)]
    if not all(parts):
        return None
    box = dynamics.box
    walls = Walls(False, -inf, inf, 1.0)
    if box is not None:
        walls = Walls(True, box.lower[0], box.upper[0], 1.0 - box.periodic[0])
    return Fused(dynamics, tuple(p for p in parts if p), walls)


_NO_TABLE = np.empty((0, 4))


def _always(times: Any) -> tuple[Any, Any]:
    return np.zeros(times.shape, int), np.zeros(times.shape)


class _Part(NamedTuple):
    """One potential: what `Terms` holds of it, and where in its table a time is."""

    kind: int
    numbers: tuple[float, float] = (0.0, 0.0)
    bases: Any = np.empty(0)
    table: Any = _NO_TABLE
    between: Callable[[Any], tuple[Any, Any]] = _always


class Fused:
    """Moves a state in place through consecutive steps; made by ``fused``."""

    def __init__(self, dynamics: Any, parts: tuple[_Part, ...], walls: Walls) -> None:
        self.dynamics, self.parts, self.walls = dynamics, parts, walls
        self.first = np.cumsum([0, *(len(p.table) for p in parts)])[:-1]
        tables = [p.table for p in parts if len(p.table)] or [_NO_TABLE]
        self.terms = Terms(
            np.array([p.kind for p in parts]),
            np.array([p.numbers for p in parts]),
            np.array([len(p.bases) for p in parts]),
            np.concatenate([p.bases for p in parts]),
            # it may be long: the only one is not copied
            tables[0] if len(tables) == 1 else np.concatenate(tables),
        )

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state = _adjusted(self.dynamics, state, steps, noise)
        y = state.numpy().reshape(state.shape[:2])
        Address(noise.seed, noise.run + len(y) - 1, step=steps[-1].number)  # raises out of range
        at = Address(noise.seed, noise.run, step=steps[0].number)
        counter = (noise.particle // LANES[state.dtype], at.step, at.stream, at.seed)
        times = np.array([[s.start for s in steps], [s.stop for s in steps]])
        times = times[: self.dynamics.integrator.fused_slopes]
        advance(
            y,
            *_in_type(y, self.dynamics, steps),
            *self._places(times),
            self.terms,
            self.walls,
            *(np.uint64(word) for word in counter),
        )
        return state

    def _places(self, times: Any) -> tuple[Any, Any]:
        """First row in the table, and weight of the next time's rows: (stages, steps, terms)."""
        if all(part.between is _always for part in self.parts):
            nothing = np.zeros((*times.shape, len(self.parts)))
            return nothing.astype(int) + self.first, nothing
        found = [part.between(times) for part in self.parts]
        stored, weights = (np.stack(side, axis=-1) for side in zip(*found, strict=True))
        # the ends as stored, to the bit
        rows = self.first + (stored + (weights == 1)) * self.terms.slots
        return rows, np.where(weights == 1, 0.0, weights)


class FusedCurieWeiss:
    """The same for particles drawn to their mean, whole runs at a time."""

    def __init__(self, dynamics: Any, part: _Part) -> None:
        self.dynamics, self.terms = dynamics, _alone(part)

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state = _adjusted(self.dynamics, state, steps, noise)
        runs, particles, dim = state.shape
        y = state.numpy().reshape(runs, particles * dim)
        Address(noise.seed, noise.run + runs - 1, step=steps[-1].number)  # raises out of range
        at = Address(noise.seed, noise.run, step=steps[0].number)
        mean: Any = self.dynamics.interaction
        advance_coupled(
            y,
            noise.size,
            dim,
            float(mean.strength),
            *_in_type(y, self.dynamics, steps),
            self.terms,
            Walls(False, -inf, inf, 1.0),
            *(np.uint64(word) for word in (at.step, at.stream, at.seed)),
        )
        return state


class FusedSharedMean(FusedCurieWeiss):
    """The same for a rank's share of runs: their sums are added up between the steps."""

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state = _adjusted(self.dynamics, state, steps, noise)
        shared: Any = self.dynamics.interaction
        runs, particles, dim = state.shape
        y = state.numpy().reshape(runs, particles * dim)
        Address(noise.seed, noise.run + runs - 1, step=steps[-1].number)  # raises out of range
        at = Address(noise.seed, noise.run, step=steps[0].number)
        sizes, ahead, scale = _in_type(y, self.dynamics, steps)
        first = noise.particle * dim // LANES[state.dtype]
        totals, means = np.zeros((2, runs, dim))
        xi = noise_room(y, dim, ahead)
        for n in range(-1, len(steps)):
            advance_shared(
                *(n, y, xi, noise.size, means, float(shared.strength), totals),
                *(sizes, ahead, scale, self.terms, Walls(False, -inf, inf, 1.0)),
                *(np.uint64(word) for word in (first, at.step, at.stream, at.seed)),
            )
            if n + 1 < len(steps):
                means = (shared.ranks.total(torch.from_numpy(totals)) / shared.n).numpy()
        return state


class FusedTwoScale:
    """The same for two time scales: whole inner loops of a chunk of particles."""

    def __init__(self, dynamics: Any, part: _Part) -> None:
        self.dynamics, self.terms = dynamics, _alone(part)
        self.weights = np.zeros(dynamics.burn_in + dynamics.inner_steps)
        first, *weights = dynamics.average.weights(dynamics.inner_steps)
        self.weights[0], self.weights[dynamics.burn_in :] = first, weights

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state = state.contiguous()
        self.advance(state, steps, noise, np.empty((0, 0)))
        return state

    def advance(self, state: Tensor, steps: list[Step], noise: StepNoise, means: Any) -> None:
        """Move ``state`` in place; the ``means`` are those of `advance_two_scale`."""
        _, runs, particles, dim = state.shape
        x, y = state.numpy().reshape(2, runs, particles * dim)
        count, of = self.weights.size - 1, x.dtype
        last = count * (steps[-1].number + 1)  # half a noise of it is in the last position
        Address(noise.seed, noise.run + runs - 1, INNER, last)  # raises out of range
        at = Address(noise.seed, noise.run, INNER, count * steps[0].number)
        first = noise.particle * dim // LANES[state.dtype]
        small, scales = self._inner(steps)
        advance_two_scale(
            x,
            y,
            means,
            noise.size,
            dim,
            self._values(of),
            self._outer(steps).astype(of),
            small.astype(of),
            scales.astype(of),
            self._first_noise(steps).astype(of),
            self.terms,
            Walls(False, -inf, inf, 1.0),
            *(np.uint64(word) for word in (first, at.step, at.stream, at.seed)),
        )

    def _values(self, of: Any) -> Inner:
        d = self.dynamics
        strength = of.type(getattr(d.interaction, "strength", 0.0))
        numbers = self.weights.astype(of), d.coupled, strength
        return Inner(d.fast.formula, d.integrator.centred, d.warm_start, *numbers)

    def _outer(self, steps: list[Step]) -> Any:
        """Sizes of the steps, and γ in them."""
        gammas = [self.dynamics.width(s.start) for s in steps]
        return np.array([[s.size for s in steps], gammas])

    def _inner(self, steps: list[Step]) -> tuple[Any, Any]:
        """Sizes and noises of the inner steps."""
        d = self.dynamics
        small = [d.inner_size(s.size) for s in steps]
        sigma = sqrt(2 / d.beta)
        return np.array(small), np.array([sigma * sqrt(h) for h in small])

    def _first_noise(self, steps: list[Step]) -> Any:
        """Noise before the slope of the first inner step is taken, and of that step."""
        d, count, sigma = self.dynamics, self.weights.size - 1, sqrt(2 / self.dynamics.beta)
        before = None if d.warm_start else 0.0
        scales = []
        for s in steps:
            first = Step(s.number * count, s.start, s.stop, d.inner_size(s.size), before)
            scales.append(d.integrator.scales(first))
        return sigma * np.array(scales).T


class FusedTwoScaleSharedMean(FusedTwoScale):
    """The same for a rank's share of runs, whose means are added up before every step."""

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        shared: Any = self.dynamics.interaction
        state = state.contiguous()
        _, runs, particles, dim = state.shape
        totals = np.zeros((runs, dim))
        for step in steps:
            sums(state[0].numpy().reshape(runs, particles * dim), noise.size, totals)
            means = shared.ranks.total(torch.from_numpy(totals)) / shared.n
            self.advance(state, [step], noise, means.numpy())
        return state


def of_two_scales(dynamics: Any, x: Tensor) -> FusedTwoScale | None:
    """Of particles that move alone, or are drawn to their mean."""
    part, felt = _each_coordinate(dynamics.potential), dynamics.interaction
    mean = felt is None or is_quadratic(felt)
    known = checks.says(dynamics.fast, "formula") is not None
    if not (part and _one_slope(dynamics, x) and mean and known):
        return None
    return (FusedTwoScaleSharedMean if hasattr(felt, "ranks") else FusedTwoScale)(dynamics, part)


def of_mean(dynamics: Any, x: Tensor) -> FusedCurieWeiss | None:
    """Of particles drawn to their mean, without walls."""
    part, felt = _each_coordinate(dynamics.potential), dynamics.interaction
    mean = is_quadratic(felt) and dynamics.box is None
    if not (part and _one_slope(dynamics, x) and mean):
        return None
    return (FusedSharedMean if hasattr(felt, "ranks") else FusedCurieWeiss)(dynamics, part)


def _one_slope(dynamics: Any, x: Tensor) -> bool:
    """Whether steps take one slope, of few coordinates in memory."""
    return _slopes(dynamics) == 1 and _in_memory(x) and x.shape[-1] <= 64


def _slopes(dynamics: Any) -> int:
    """How many a step takes, of an integrator that the loops know; 0 for others."""
    return checks.says(dynamics.integrator, "fused_slopes") or 0


def _each_coordinate(V: Any) -> _Part | None:
    """Of a potential that acts on each coordinate alone, and on all of them alike."""
    if type(V) is Quadratic and isinstance(V.curvature, float):
        return _Part(QUADRATIC, (V.curvature, 0.0))
    if type(V) is Rough:
        return _Part(ROUGH, (V.delta, 0.0))
    kinds = {DoubleWell: DOUBLE_WELL, Rippled: RIPPLED}
    return _Part(kinds[type(V)]) if type(V) in kinds else None


def _alone(part: _Part) -> Terms:
    kind, numbers = np.array([part.kind]), np.array([part.numbers])
    return Terms(kind, numbers, np.zeros(1, int), np.empty(0), _NO_TABLE)


def _in_memory(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in LANES


def _summands(potentials: Iterable[Any]) -> Iterator[Any]:
    """The terms of a sum one by one, if it comes first: else they are added in another order."""
    first, *rest = potentials
    yield from first.terms if type(first) is Sum else (first,)
    yield from rest


def _part(V: Any) -> _Part | None:
    if getattr(V, "dim", None) != 1:
        return None
    if type(V) is Quadratic:
        return _Part(QUADRATIC, (float(np.ravel(V.curvature)[0]), 0.0))
    if type(V) in (DoubleWell, Rippled, Rough):
        return _each_coordinate(V)
    if type(V) not in (Tabulated, Evolving) or V.splines.axes[0].step is None:
        return None
    (axis,) = V.splines.axes
    grid, table = (float(axis.knots[0]), axis.step), V.splines.table.reshape(-1, 4)
    if type(V) is Tabulated:
        return _Part(SPLINE, grid, axis.bases, table)
    return _Part(SPLINE, grid, axis.bases, table, V.between)


def _in_type(y: Any, dynamics: Any, steps: list[Step]) -> tuple[Any, Any, Any]:
    """Sizes of the steps and scales of their noise, in the type of the particles."""
    sizes, (ahead, scale) = np.array([s.size for s in steps]), _noise_scales(dynamics, steps)
    return sizes.astype(y.dtype), ahead.astype(y.dtype), scale.astype(y.dtype)


def _adjusted(dynamics: Any, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
    """The state in memory, with what a first step of another size asks for."""
    state = state.contiguous()
    adjusted: Tensor = dynamics.integrator.adjusted(state, dynamics.sigma, steps[0], noise)
    return adjusted


def _noise_scales(dynamics: Any, steps: list[Step]) -> tuple[Any, Any]:
    """Per step: the noise added before the slope is taken, and the noise of the step."""
    ahead, scale = np.array([dynamics.integrator.scales(s) for s in steps]).T
    return dynamics.sigma * ahead, dynamics.sigma * scale
