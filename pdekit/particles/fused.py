"""Many steps of many particles on a line in one pass: noise, slopes and integrator in cache.

The reference is `Diffusion.step`, one step at a time with torch. The kernel does the same products
and sums in the same order, none contracted, so both give the same bits; only the sine of
``Rippled`` is not torch's, and differs from it by a unit in the last place now and then.

Fused are, in float32 and float64 on the CPU: sums of ``Quadratic``, ``DoubleWell``, ``Rippled``
and of ``Tabulated`` and ``Evolving`` with uniform samples, in one dimension, under the three
integrators, with or without walls; and ``InteractingLangevin`` under ``CurieWeiss`` with the first
three, in any dimension, under the first two integrators, without walls.
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from pdekit.interactions import CurieWeiss
from pdekit.particles.coupled_kernels import advance_coupled
from pdekit.particles.diffusion import Diffusion
from pdekit.particles.fused_kernels import (
    DOUBLE_WELL,
    QUADRATIC,
    RIPPLED,
    SPLINE,
    Terms,
    Walls,
    advance,
)
from pdekit.particles.integrators import EulerMaruyama, LeimkuhlerMatthews, Step, StochasticHeun
from pdekit.particles.interacting import InteractingLangevin
from pdekit.particles.noise import LANES, Address, StepNoise
from pdekit.potentials import DoubleWell, Evolving, Quadratic, Rippled, Sum, Tabulated

_INTEGRATORS = (EulerMaruyama, LeimkuhlerMatthews, StochasticHeun)


def fused(dynamics: Any, x: Tensor) -> "Fused | FusedCurieWeiss | None":
    """The fused form of ``dynamics`` for particles like ``x``; None where there is none."""
    if type(dynamics) is InteractingLangevin:
        return _curie_weiss(dynamics, x)
    if not _in_memory(x) or x.shape[-1] != 1:
        return None
    if not (_moves_as_diffusion(dynamics) and type(dynamics.integrator) in _INTEGRATORS):
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

    def __init__(self, dynamics: Diffusion, parts: tuple[_Part, ...], walls: Walls) -> None:
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
        state = state.contiguous()
        y = state.numpy().reshape(state.shape[:2])
        Address(noise.seed, noise.run + len(y) - 1, step=steps[-1].number)  # raises out of range
        at = Address(noise.seed, noise.run, step=steps[0].number)
        counter = (noise.particle // LANES[state.dtype], at.step, at.stream, at.seed)
        heun = type(self.dynamics.integrator) is StochasticHeun
        times = np.array([[s.start for s in steps], [s.stop for s in steps]])[: 1 + heun]
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
        found = [part.between(times) for part in self.parts]
        stored, weights = (np.stack(side, axis=-1) for side in zip(*found, strict=True))
        # the ends as stored, to the bit
        rows = self.first + (stored + (weights == 1)) * self.terms.slots
        return rows, np.where(weights == 1, 0.0, weights)


class FusedCurieWeiss:
    """The same for particles drawn to their mean, whole runs at a time."""

    def __init__(self, dynamics: InteractingLangevin, part: _Part) -> None:
        self.dynamics = dynamics
        kind, numbers = np.array([part.kind]), np.array([part.numbers])
        self.terms = Terms(kind, numbers, np.zeros(1, int), np.empty(0), _NO_TABLE)

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        state = state.contiguous()
        runs, particles, dim = state.shape
        y = state.numpy().reshape(runs, particles * dim)
        Address(noise.seed, noise.run + runs - 1, step=steps[-1].number)  # raises out of range
        at = Address(noise.seed, noise.run, step=steps[0].number)
        advance_coupled(
            y,
            noise.size,
            dim,
            float(self.dynamics.interaction.strength),
            *_in_type(y, self.dynamics, steps),
            self.terms,
            Walls(False, -inf, inf, 1.0),
            *(np.uint64(word) for word in (at.step, at.stream, at.seed)),
        )
        return state


def _curie_weiss(dynamics: InteractingLangevin, x: Tensor) -> FusedCurieWeiss | None:
    """Potentials that act on each coordinate alone, without walls, one slope a step."""
    V, plain = dynamics.potential, _in_memory(x)
    one_slope = type(dynamics.integrator) in (EulerMaruyama, LeimkuhlerMatthews)
    alone = type(V) in (DoubleWell, Rippled) or (
        type(V) is Quadratic and isinstance(V.curvature, float)
    )
    mean = type(dynamics.interaction) is CurieWeiss
    if not (plain and one_slope and alone and mean and dynamics.box is None):
        return None
    if x.shape[-1] > 64:
        return None
    if type(V) is Quadratic:
        return FusedCurieWeiss(dynamics, _Part(QUADRATIC, (V.curvature, 0.0)))
    return FusedCurieWeiss(dynamics, _Part(DOUBLE_WELL if type(V) is DoubleWell else RIPPLED))


def _in_memory(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in LANES


def _moves_as_diffusion(dynamics: Any) -> bool:
    return all(
        getattr(type(dynamics), name, None) is getattr(Diffusion, name)
        for name in ("sigma", "drift", "init", "step", "positions", "_mirrored")
    )


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
    if type(V) is DoubleWell:
        return _Part(DOUBLE_WELL)
    if type(V) is Rippled:
        return _Part(RIPPLED)
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


def _noise_scales(dynamics: Diffusion, steps: list[Step]) -> tuple[Any, Any]:
    """Per step: the noise added before the slope is taken, and the noise of the step."""
    scale = np.array([dynamics.sigma * sqrt(s.size) for s in steps])
    if not isinstance(dynamics.integrator, LeimkuhlerMatthews):
        return 0.0 * scale, scale
    start = np.array([s.number for s in steps]) == 0
    return np.where(start, 0.0, scale / 2), np.where(start, scale * sqrt(0.75), scale)
