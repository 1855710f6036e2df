"""Many steps of many particles in one pass: noise, gradients and integrator in cache.

The reference is `Diffusion.step`, one step at a time with torch. The kernel does the same products
and sums in the same order, none contracted, so both give the same bits; only the sine and cosine of
potentials with ripples and the exponential of Müller and Brown's are not torch's, and occasionally
differ by a unit or two in the last place.

Supported are, in float32 and float64 on the CPU and in up to 64 dimensions: potentials with a
``kernel``, their sums, multiples and shifts, moving or not, under the four integrators
(``TamedEuler`` on a line), with or without walls; and those whose kernel is a formula, under
Euler's steps and those of Leimkuhler and Matthews, without walls: ``InteractingLangevin`` under
``CurieWeiss``, also if ranks share the mean, and ``TwoScaleLangevin`` without interaction or under
``CurieWeiss``, and ``EntropySGD``.
"""

from collections.abc import Iterable
from math import inf, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit import checks
from pdekit.interactions import is_quadratic
from pdekit.particles.formulas import Formulas, terms_of, walls_of
from pdekit.particles.integrators import LARGEST, Step
from pdekit.particles.kernels.coupled import advance_coupled, advance_shared, noise_buffer
from pdekit.particles.kernels.drift import CHUNK, Terms, Walls, advance
from pdekit.particles.kernels.forces import sums
from pdekit.particles.kernels.stopping import Ends, advance_stopping
from pdekit.particles.kernels.two_scale import Inner, advance_two_scale
from pdekit.particles.noise import (
    INNER,
    KILL_UNIFORM,
    LANES,
    STOP_NORMAL,
    STOP_UNIFORM,
    StepNoise,
)
from pdekit.potentials.protocol import Kernel, kernels_of


def fused(dynamics: Any, x: Tensor) -> "Fused | FusedCurieWeiss | FusedTwoScale | None":
    """The fused form of ``dynamics`` for particles like ``x``, or None.

    It is valid for the class itself and for subclasses that inherit all of its steps.
    """
    return dynamics.fused(x) if checks.offers(dynamics, "fused") else None


def of_diffusion(dynamics: Any, x: Tensor) -> "Fused | None":
    """For independent particles, with or without walls."""
    known = _slopes(dynamics) and _few_in_memory(x) and not (_tamed(dynamics) and x.shape[-1] > 1)
    kernels = _kernels(dynamics.potentials) if known else []
    if not kernels:
        return None
    return Fused(dynamics, Formulas(kernels, x), walls_of(dynamics.box, x))


class Fused:
    """Advances a state in place through consecutive steps; created by ``fused``."""

    def __init__(self, dynamics: Any, formulas: Formulas, walls: Walls) -> None:
        self.dynamics, self.formulas, self.walls = dynamics, formulas, walls

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state = _adjusted(self.dynamics, state, steps, noise)
        runs, particles, dim = state.shape
        y = state.numpy().reshape(runs, particles * dim)
        at = noise.address(steps[0].number, steps[-1].number)
        counter = (noise.particle * dim // LANES[state.dtype], at.step, at.stream, at.seed)
        times = np.array([[s.start for s in steps], [s.stop for s in steps]])
        times = times[: self.dynamics.integrator.fused_slopes]
        advance(
            y,
            dim,
            *_in_type(y, self.dynamics, steps),
            LARGEST if _tamed(self.dynamics) else 0.0,
            *self.formulas.places(times),
            self.formulas.terms,
            self.walls,
            *(np.uint64(word) for word in counter),
        )
        return state


class FusedStopping:
    """The same for particles that stop at walls, or are killed at one rate everywhere."""

    def __init__(self, stopping: Any, formulas: Formulas, walls: Walls, ends: Ends) -> None:
        self.stopping, self.formulas, self.walls, self.ends = stopping, formulas, walls, ends

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state, dynamics = state.contiguous(), self.stopping.dynamics
        _, runs, particles, dim = state.shape
        rows = state.numpy().reshape(3, runs, particles * dim)
        at = noise.address(steps[0].number, steps[-1].number)
        first = noise.particle * dim // LANES[state.dtype]
        times = np.array([[s.start for s in steps], [s.stop for s in steps]])
        sizes = np.array([s.size for s in steps])
        scale = np.array([dynamics.noise_of_step(s) * sqrt(s.size) for s in steps])
        advance_stopping(
            rows,
            dim,
            sizes.astype(rows.dtype),
            times[0].astype(rows.dtype),
            scale.astype(rows.dtype),
            *self.formulas.places(times[: self.stopping.integrator.fused_slopes]),
            self.formulas.terms,
            self.walls,
            self.ends,
            *(np.uint64(word) for word in (first, at.step, at.stream, at.seed)),
        )
        return state


def of_stopping(stopping: Any, x: Tensor) -> FusedStopping | None:
    """For independent particles that stop at walls, or are killed at a constant rate."""
    dynamics = stopping.dynamics
    moving = stopping.integrator
    known = checks.declared(moving, "fused_slopes") and not checks.declared(moving, "tamed")
    rate = dynamics.killing or 0.0
    plain = dynamics.resetting is None and not callable(rate) and not checks.time_dependent(rate)
    kernels = _kernels(dynamics.potentials) if known and plain and _few_in_memory(x) else []
    if not kernels:
        return None
    walls, of = walls_of(dynamics.box, x), np.dtype(str(x.dtype).removeprefix("torch."))
    rates = np.zeros((x.shape[-1], 2))
    if dynamics.walls is not None:
        ends = dynamics.walls.per_axis(dynamics.box.periodic)
        rates[:] = [[end.rate for end in pair] for pair in ends]
    clocks = np.array([STOP_NORMAL, STOP_UNIFORM, KILL_UNIFORM], np.uint64)
    lower, upper = (np.resize(np.where(r > 0, 1, inf).astype(of), CHUNK) for r in rates.T)
    ends = Ends(rates.astype(of), lower, upper, of.type(rate), clocks)
    return FusedStopping(stopping, Formulas(kernels, x), walls, ends)


class FusedCurieWeiss:
    """The same for particles attracted to their mean, whole runs at a time."""

    def __init__(self, dynamics: Any, terms: Terms, walls: Walls) -> None:
        self.dynamics, self.terms, self.walls = dynamics, terms, walls

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state = _adjusted(self.dynamics, state, steps, noise)
        runs, particles, dim = state.shape
        y = state.numpy().reshape(runs, particles * dim)
        at = noise.address(steps[0].number, steps[-1].number)
        mean: Any = self.dynamics.interaction
        advance_coupled(
            y,
            noise.size,
            dim,
            float(mean.strength),
            *_in_type(y, self.dynamics, steps),
            self.terms,
            self.walls,
            *(np.uint64(word) for word in (at.step, at.stream, at.seed)),
        )
        return state


class FusedSharedMean(FusedCurieWeiss):
    """The same for a rank's share of runs: their sums are exchanged between the steps."""

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state = _adjusted(self.dynamics, state, steps, noise)
        shared: Any = self.dynamics.interaction
        runs, particles, dim = state.shape
        y = state.numpy().reshape(runs, particles * dim)
        at = noise.address(steps[0].number, steps[-1].number)
        sizes, ahead, scale = _in_type(y, self.dynamics, steps)
        first = noise.particle * dim // LANES[state.dtype]
        totals, means = np.zeros((2, runs, dim))
        xi = noise_buffer(y, dim, ahead)
        for n in range(-1, len(steps)):
            advance_shared(
                *(n, y, xi, noise.size, means, float(shared.strength), totals),
                *(sizes, ahead, scale, self.terms, self.walls),
                *(np.uint64(word) for word in (first, at.step, at.stream, at.seed)),
            )
            if n + 1 < len(steps):
                means = (shared.ranks.total(torch.from_numpy(totals)) / shared.n).numpy()
        return state


class FusedTwoScale:
    """The same for two time scales: whole inner loops of a chunk of particles."""

    def __init__(self, dynamics: Any, terms: Terms, walls: Walls) -> None:
        self.dynamics, self.terms, self.walls = dynamics, terms, walls
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
        last = count * (steps[-1].number + 1)  # half of its noise is contained in the last position
        at = noise.address(count * steps[0].number, last, INNER)
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
            self.walls,
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
        """Noise added before the gradient of the first inner step, and noise of that step."""
        d, count, sigma = self.dynamics, self.weights.size - 1, sqrt(2 / self.dynamics.beta)
        before = None if d.warm_start else 0.0
        scales = []
        for s in steps:
            first = Step(s.number * count, s.start, s.stop, d.inner_size(s.size), before)
            scales.append(d.integrator.scales(first))
        return sigma * np.array(scales).T


class FusedTwoScaleSharedMean(FusedTwoScale):
    """The same for a rank's share of runs, whose means are exchanged before every step."""

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
    """For independent particles, or particles attracted to their mean."""
    terms, felt = _formulas(dynamics, x), dynamics.interaction
    mean = felt is None or is_quadratic(felt)
    known = checks.declared(dynamics.fast, "formula") is not None
    if not (terms and mean and known):
        return None
    kind = FusedTwoScaleSharedMean if hasattr(felt, "ranks") else FusedTwoScale
    return kind(dynamics, terms, walls_of(None, x))


def of_mean(dynamics: Any, x: Tensor) -> FusedCurieWeiss | None:
    """For particles attracted to their mean, without walls."""
    terms, felt = _formulas(dynamics, x), dynamics.interaction
    if not (terms and is_quadratic(felt) and dynamics.box is None):
        return None
    kind = FusedSharedMean if hasattr(felt, "ranks") else FusedCurieWeiss
    return kind(dynamics, terms, walls_of(None, x))


def _formulas(dynamics: Any, x: Tensor) -> Terms | None:
    """The potential by formulas of each coordinate, where steps take one slope of few of them."""
    if not _one_slope(dynamics, x):
        return None
    kernels = _kernels((dynamics.potential,))
    if not kernels or any(len(k.table) for k in kernels):
        return None
    return terms_of(kernels, x)


def _one_slope(dynamics: Any, x: Tensor) -> bool:
    """Whether a step needs one gradient as it is, with few coordinates and CPU memory."""
    return _slopes(dynamics) == 1 and not _tamed(dynamics) and _few_in_memory(x)


def _slopes(dynamics: Any) -> int:
    """How many a step takes, of an integrator that the loops know; 0 for others."""
    return checks.declared(dynamics.integrator, "fused_slopes") or 0


def _few_in_memory(x: Tensor) -> bool:
    """Whether few coordinates are in CPU memory."""
    return x.device.type == "cpu" and x.dtype in LANES and x.shape[-1] <= 64


def _tamed(dynamics: Any) -> bool:
    """Whether the integrator shortens the drift: by its norm, which the loops know on a line."""
    return bool(checks.declared(dynamics.integrator, "tamed"))


def _kernels(potentials: Iterable[Any]) -> list[Kernel]:
    """Of all the potentials, none where one of them has none.

    Only the first may be a sum: the others' terms would be added in another order.
    """
    first, *rest = map(kernels_of, potentials)
    return [*first, *(k for (k,) in rest)] if first and all(len(k) == 1 for k in rest) else []


def _in_type(y: Any, dynamics: Any, steps: list[Step]) -> tuple[Any, Any, Any]:
    """Step sizes and noise scales, in the dtype of the particles."""
    sizes, (ahead, scale) = np.array([s.size for s in steps]), _noise_scales(dynamics, steps)
    return sizes.astype(y.dtype), ahead.astype(y.dtype), scale.astype(y.dtype)


def _adjusted(dynamics: Any, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
    """The contiguous state, adjusted if the first step has another size."""
    state = state.contiguous()
    adjusted: Tensor = dynamics.integrator.adjusted(state, dynamics.sigma, steps[0], noise)
    return adjusted


def _noise_scales(dynamics: Any, steps: list[Step]) -> tuple[Any, Any]:
    """Per step: the noise added before the gradient, and the noise of the step."""
    ahead, scale = np.array([dynamics.integrator.scales(s) for s in steps]).T
    return dynamics.sigma * ahead, dynamics.sigma * scale
