"""Strang steps of a linear equation in the plane: exponentials along lines, one way at a time."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.generators import Arrivals, Generator, axis_neighbours
from pdekit.pde.discrete.oblique_lines import ObliqueLines
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.step_doubling import doubling_error
from pdekit.pde.discrete.supply import source, wall_arrivals

# Poles and residues of exp(z) ≈ 2 Re(residue / (z - pole)): Radau IIA of order 3, L-stable; and of
# backward Euler, whose resolvent is nonnegative at any step
RADAU = (2 + 1j * sqrt(2), 1 - 5j / sqrt(2))
EULER = (1 + 0j, -0.5 + 0j)
_FEW = 32  # cells per axis up to which steps are planned on the grid itself
_SMALL = (128, 128)  # largest number of cells for caching a generator
_ALIVE = 1e-3  # of the largest value: cells below it do not limit the first step
_SHARP = 0.3  # half a Péclet number above which a coarser grid damps waves transported by a force
_MOST_STEPS = 50_000  # of time-dependent coefficients, tried on a grid
_PATIENCE, _FAR = 1000, 2.0  # steps after which a hopeless plan is stopped, and the factor
_SLAB = 1 << 15  # rates evaluated together


class SplitStats(Stats, total=False):
    """Also the solves along lines by method, and intervals planned on the grid itself."""

    radau_solves: int
    backward_euler_solves: int
    planned_on_the_grid: int


class Stepper:
    """Strang steps of one problem on one grid; ``ways``: what it is split into at a time."""

    def __init__(
        self, problem: Problem, grid: Grid, tolerance: float, stats: SplitStats,
        ways: Callable[[float], list[Any]] | None = None,
    ) -> None:  # fmt: skip
        self.problem, self.grid, self.stats = problem, grid, stats
        self.blind = grid != problem.grid
        self.tried = 0  # steps of all plans of an output interval
        self.planned = 0  # of all intervals
        self.tolerance = tolerance
        self.negligible, self.clipped = 1e-2 * tolerance, 0.0
        mean = problem.average if problem.scale is None else problem.scale
        self.mass = mean * int(np.prod(grid.shape))
        self.lines = lru_cache(4)(ways or self._lines)
        self.scratch = np.empty(grid.shape)
        self.still, self.kept = None, None
        if ways is not None and not problem.time_dependent:
            self.still = ways(0.0)
        elif not problem.time_dependent:
            generator = problem.generator(0.0, grid)
            self.still = self._along_all(generator)
            self.kept = generator if grid.cells <= _SMALL else None

    def _along_all(
        self, generator: Generator, source: Array | None = None, walls: Arrivals = ()
    ) -> list[Any]:
        axes = [Lines(generator, axis, self.problem.forward) for axis in range(2)]
        oblique = [*generator.directions()][2:]
        lines = [*axes, *(ObliqueLines(self.grid, d, self.problem.forward) for d in oblique)]
        for k, (_, lower, upper) in enumerate(walls):
            lines[k] = _Fed(lines[k], lower + upper)
        if generator.killing is None and source is None:
            return lines
        alone = InCells(generator.killing, source)
        return [lines[0], alone, *lines[1:]]  # halves of the first merge

    def _lines(self, t: float) -> list[Any]:
        generator = self.problem.generator(t, self.grid)
        if self.problem.scale is None:
            return self._along_all(generator)
        walls = wall_arrivals(self.problem, t, self.grid)
        return self._along_all(generator, source(self.problem, t, self.grid), walls)

    def resolved(self, u: Array, t: float) -> float:
        """A step that resolves rotations not damped by diffusion. From

        the rates where u is not negligible: 1 / (beta F^2), F the drift if there is a force
        (a wave of number k turns by k F dt and is damped by k^2 dt / beta); and 1 / |∂_y F_x|, the
        rate at which the directions fail to commute.
        """
        generator = self._generator(t)
        alive = np.ones(u.shape, dtype=bool)
        if self.problem.is_density:
            alive = u > _ALIVE * u.max()
        fastest = 0.0
        for axis in range(2):
            here, _ = axis_neighbours(alive, axis, self.grid)
            fields = (generator.up[axis], generator.down[axis], here)
            for slab in zip(*(_slabs(field, axis) for field in fields), strict=True):
                fastest = max(fastest, self._turning(axis, *slab))
        return 1 / fastest if fastest > 0 else np.inf

    def _turning(self, axis: int, up: Array, down: Array, here: NDArray[np.bool_]) -> float:
        """The corresponding rate along an axis, for a slab of faces."""
        drift, fastest = up - down, 0.0
        if self.driven:
            through = np.where(here, up + down, np.inf)
            fastest = float((2 * drift**2 / np.maximum(through, 1e-300)).max())
        cell = float(self.grid.spacing[axis] / self.grid.spacing[1 - axis])
        return max(fastest, _steepest(drift, here, 1 - axis) * cell)

    def _generator(self, t: float) -> Generator:
        return self.problem.generator(t, self.grid) if self.kept is None else self.kept

    @property
    def driven(self) -> bool:
        return getattr(self.problem.equation, "force", None) is not None

    def resolves_drift(self, t: float) -> bool:
        """Whether a plan on this coarser grid is reliable for waves transported by a

        force. On few cells a pilot saves nothing.
        """
        if max(self.problem.grid.cells) <= _FEW:
            return False
        if not self.driven:
            return True
        generator = self._generator(t)
        for axis in range(2):
            up, down = generator.up[axis], generator.down[axis]
            if (np.abs(up - down) > _SHARP * (up + down)).any():
                return False
        return True

    def march(self, u: Array, t: float, dt: float, count: int) -> Array:
        """``count`` Strang steps of length dt, neighbouring half steps merged; overwrites u."""
        if self.still is None:
            for k in range(count):
                for line, share in strang(self.lines(t + (k + 0.5) * dt), 1):
                    u = self._exponential(line, u, share * dt)
            return u
        for line, share in strang(self.still, count):
            u = self._exponential(line, u, share * dt)
        return u

    def run(self, u: Array, t: float, steps: list[float]) -> Array:
        """Steps of the given lengths; overwrites u."""
        for dt, same in groupby(steps):
            count = len(list(same))
            u = self.march(u, t, dt, count)
            t += dt * count
        return u

    def local_error(self, u: Array, t: float, dt: float) -> tuple[float, Array]:
        """u after two steps dt / 2, and an error estimate from one step dt."""
        self.planned += 2
        self._require_progress(t + dt)
        whole = self.march(u.copy(), t, dt, 1)
        halves = self.march(u.copy(), t, dt / 2, 2)
        return doubling_error(whole, halves, self.problem.distance, 2), halves

    def _require_progress(self, t: float) -> None:
        """``ConvergenceError`` where coefficients move so fast that the steps would never end."""
        until = self.problem.until
        if self.still is not None or until is None or self.planned < _PATIENCE:
            return
        if self.planned * until > _FAR * _MOST_STEPS * t or self.planned > _MOST_STEPS:
            raise ConvergenceError(
                f"{self.planned} steps plan splitting up to {t:.3g} of {until:.3g} only, as the "
                "coefficients move faster than that; use a shorter time, or raise tolerance="
                f"{self.tolerance:g}"
            )

    def _exponential(self, line: "Lines", u: Array, tau: float) -> Array:
        """exp(tau A) u along the lines; u is reused as buffer of the next result."""
        new = self.scratch
        negative = line.apply(u, tau, RADAU, new)
        sound = True
        if self.problem.is_density and negative < 0:
            mass = self.mass if self.problem.conserves else float(np.add.reduce(new, None))
            if -negative > self.negligible * mass:
                radau = new.copy()
                line.apply(u, tau / 2, EULER, new)
                line.apply(new, tau / 2, EULER, new)
                sound = False
                self.clipped += self.problem.distance(new, radau)  # its error is nearly that
            else:
                self._clip(new, negative, mass)
        self.stats["radau_solves" if sound else "backward_euler_solves"] += 1
        self.scratch = u
        return new

    def _clip(self, new: Array, negative: float, mass: float) -> None:
        """Set entries below zero, of sum ``negative``, to zero, and restore the mass."""
        from pdekit.pde.kernels.tridiagonal import clip

        least = clip(new, mass / (mass - negative))
        self.stats["negative_before_clipping"] = min(self.stats["negative_before_clipping"], least)
        self.clipped += -2 * negative / max(self.mass, 1e-300)


def strang(directions: list[Any], count: int) -> Iterator[tuple[Any, float]]:
    """The factors of ``count`` symmetric steps: halves of all but the last direction around it.

    Neighbouring halves of the first direction, from one step to the next, are one.
    """
    if len(directions) < 2:
        yield from ((line, 1.0) for _ in range(count) for line in directions)
        return
    first, *inner, last = directions
    yield first, 0.5
    for k in range(count):
        yield from ((line, 0.5) for line in inner)
        yield last, 1.0
        yield from ((line, 0.5) for line in reversed(inner))
        yield first, 1.0 if k < count - 1 else 0.5


class InCells:
    """The part of the equation that acts in each cell alone, u' = -killing u + source: exact."""

    def __init__(self, killing: Array | None, source: Array | None = None) -> None:
        self.killing, self.source = killing, source
        self.parts = lru_cache(4)(self._parts)

    def _parts(self, tau: float) -> tuple[Array | float, Array | float]:
        """What is left of u, and what is added, after the time tau."""
        if self.killing is None:
            return 1.0, 0.0 if self.source is None else tau * self.source
        lost = tau * self.killing
        left = np.exp(-lost)
        if self.source is None:
            return left, 0.0
        safe = np.where(lost == 0, 1.0, lost)
        return left, tau * self.source * np.where(lost == 0, 1.0, -np.expm1(-safe) / safe)

    def apply(self, u: Array, tau: float, method: tuple[complex, complex], out: Array) -> float:
        """out = u after the time tau, whatever the method; none of it is negative."""
        left, added = self.parts(tau)
        np.multiply(u, left, out=out)
        if self.source is not None:
            out += added
        return 0.0


class _Fed:
    """A direction along which walls add something: u' = A u + rate."""

    def __init__(self, line: Any, rate: Array) -> None:
        self.line, self.rate, self.more = line, rate, np.empty_like(rate)

    def apply(self, u: Array, tau: float, method: tuple[complex, complex], out: Array) -> float:
        """out = f(τA) u + τ (f(τA) - 1) / (τA) rate, f of the method, and its negative entries."""
        pole, residue = method
        negative = float(self.line.apply(u, tau, method, out))
        if self.rate.any():
            self.line.apply(self.rate, tau, (pole, residue / pole), self.more)
            out += tau * self.more
            negative = float(out[out < 0].sum())
        return negative


class Lines:
    """The generator along one axis and its resolvents on every line."""

    def __init__(self, generator: Generator, axis: int, forward: bool) -> None:
        from pdekit.pde.kernels.tridiagonal import line_rates

        self.axis, self.forward = axis, forward
        seam: tuple[Any, Any] | None = None
        up, down = generator.up[axis], generator.down[axis]
        if generator.grid.periodic[axis]:
            last = generator.grid.cells[axis] - 1
            inner = range(last)
            seam = up.take(last, axis), down.take(last, axis)
            up, down = up.take(inner, axis), down.take(inner, axis)
        exits = generator.exits[axis] if generator.exits else None
        walls = None
        if exits is not None:
            walls = exits[0].take([0], axis).ravel(), exits[1].take([-1], axis).ravel()
        self.packed, self.seam = line_rates(up, down, axis, seam, walls)

    def apply(self, u: Array, tau: float, method: tuple[complex, complex], out: Array) -> float:
        """out = 2 Re(residue (τA - pole)^-1 u), and the sum of its negative entries."""
        from pdekit.pde.kernels.tridiagonal import solve_lines

        pole, residue = method
        return float(
            solve_lines(self.packed, self.seam, u, tau, pole, residue, self.forward, self.axis, out)
        )


def _steepest(field: Array, here: NDArray[np.bool_], axis: int) -> float:
    """The largest |difference per cell| along an axis, central but at the ends, where ``here``."""
    u, mask = np.moveaxis(field, axis, 0), np.moveaxis(here, axis, 0)
    inner = np.abs(u[2:] - u[:-2])
    inner *= mask[1:-1]
    first, last = np.abs(u[1] - u[0]) * mask[0], np.abs(u[-1] - u[-2]) * mask[-1]
    return max(float(inner.max()) / 2, float(first.max()), float(last.max()))


def _slabs(field: NDArray[Any], axis: int) -> list[NDArray[Any]]:
    """Views of a few lines each across ``axis``: to keep temporaries small."""
    return np.array_split(field, min(field.shape[axis], max(1, field.size // _SLAB)), axis)
