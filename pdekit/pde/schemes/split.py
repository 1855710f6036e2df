"""Directional splitting of linear equations in two dimensions."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.bounds import enforce_bounds
from pdekit.pde.discrete.generators import Generator, axis_neighbours
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.oblique_lines import ObliqueLines
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import allowance
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.step_doubling import doubling_error
from pdekit.pde.discrete.step_plan import plan
from pdekit.pde.discrete.time_variation import pieces
from pdekit.pde.equations import LINEAR

# Poles and residues of exp(z) ≈ 2 Re(residue / (z - pole)): Radau IIA of order 3, L-stable; and of
# backward Euler, whose resolvent is nonnegative at any step
RADAU = (2 + 1j * sqrt(2), 1 - 5j / sqrt(2))
EULER = (1 + 0j, -0.5 + 0j)
_SPARE = 0.8  # share of the tolerance for the pilot; the rest is for errors it does not see
_FEW = 32  # cells per axis up to which steps are planned on the grid itself
_SMALL = (128, 128)  # largest number of cells for caching a generator
_DECADES = 1e6  # range over which the tolerance is divided by the logarithm of time
_ALIVE = 1e-3  # of the largest value: cells below it do not limit the first step
_SHARP = 0.3  # half a Péclet number above which a coarser grid damps waves transported by a force
_BLIND = 4.0  # ratio of first-step errors above which a pilot grid is no longer used
_LOOKS = 8  # parts of the time, each of at least four steps, for time-dependent coefficients
_MOST_STEPS = 50_000  # of time-dependent coefficients, tried on a grid
_GLANCE, _FAR = 1000, 2.0  # number of steps after which a hopeless plan is stopped, and the factor
_SLAB = 1 << 15  # rates evaluated together
# Cells per axis of the pilot grid: the largest that a half, a quarter or an eighth of the cells
# gives when none of them may give more than the number beside it
_PILOT = ((2, 48), (4, 64), (8, 128))


class SplitStats(Stats, total=False):
    """Also the solves along lines by method, and intervals planned on the grid itself."""

    radau_solves: int
    backward_euler_solves: int
    planned_on_the_grid: int


@dataclass(frozen=True)
class Split:
    """Strang splitting exp(dt A) ≈ exp(dt A_x / 2) exp(dt A_y) exp(dt A_x / 2), two dimensions.

    Each direction of the Scharfetter-Gummel generator alone keeps mass, sign and the Gibbs state,
    hence so does the product, at any step: long steps are safe near
    equilibrium. The line exponentials are L-stable Radau IIA steps of order three (one complex
    tridiagonal solve). Such steps do not guarantee the sign: negative values are set to
    zero and the mass restored if this changes less than a hundredth of ``tolerance``, and otherwise
    the line step is replaced by two backward Euler steps, which preserve it. ``.stats`` counts
    ``radau_solves`` and ``backward_euler_solves``.

    The steps come from a pilot run on a coarser grid (half to an eighth of the cells per axis, at
    most 128) that gives every step the same local error, by step doubling, and are shortened
    until the error in time at the end of the output interval, 0.4 of the distance to a run
    with steps twice as long, is below ``tolerance`` (L1 relative to the mass; maximum norm relative
    to the data for functions). Both semigroups are contractions, so the errors of intervals
    add up but do not grow. The first step of an interval is checked on the grid itself: if its
    error shows that the coarser grid is insufficient (a spike of a few cells, a rough potential),
    the steps are planned again on the grid, which takes four times as long; ``.stats`` counts it in
    ``planned_on_the_grid``. For time-dependent coefficients no step is longer than 1/32 of the
    time, and they are sampled in advance as by ``Exponential``. Tensor diffusion adds a direction
    for each oblique offset of its stencil: few if the tensor is constant; if it rotates in space
    there are many, and ``Krylov`` is better. Raises ``ConvergenceError`` if plans of 40,000 steps
    per output interval are not enough or, for time-dependent coefficients, would need more than
    some 100,000 in all.
    """

    tolerance: float = 5e-5

    solves = LINEAR

    def __post_init__(self) -> None:
        checks.within("tolerance", self.tolerance, 1e-10, 1)

    def stricter(self, factor: float) -> "Split":
        """With errors smaller by a factor, as far as it goes."""
        return Split(max(self.tolerance / factor, 1e-10))

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        if problem.grid.dim != 2:
            return "Split works in two dimensions; use schemes.Exponential() in one"
        return ""

    def start(self, problem: Problem, stats: SplitStats) -> March:
        return March(problem.values, _Run(self.tolerance, problem, stats).over, stats)


class _Run:
    """Steps on the grid, planned by those on the pilot's; and the bound on the error so far."""

    def __init__(self, tolerance: float, problem: Problem, stats: SplitStats) -> None:
        self.tolerance, self.problem, self.stats = tolerance, problem, stats
        stats["radau_solves"] = stats["backward_euler_solves"] = stats["planned_on_the_grid"] = 0
        stats["error_estimate"] = stats["negative_before_clipping"] = 0.0
        coarse = pilot_grid(problem.grid)
        self.pilot = Stepper(problem, coarse, tolerance, {**stats})
        self.fine = Stepper(problem, problem.grid, tolerance, stats)
        self.v = coarsen(problem.values, problem.grid, coarse)  # the field on the pilot's grid
        self.longest, self.error = np.inf, 0.0
        self.pieces: list[tuple[float, float]] | None = None

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another, piece by piece where coefficients move."""
        if not self.problem.time_dependent:
            return self._interval(u, begin, end)
        until, t, steps = self.problem.until or end, begin, 0
        if self.pieces is None:
            self.pieces = pieces(self.problem, until, until / _LOOKS, self.tolerance)
        for stop, longest in self.pieces:
            if t < min(stop, end) - 1e-12 * until:
                self.longest = min(self.longest, longest)
                to = end if stop > end - 1e-12 * until else stop
                u, taken = self._interval(u, t, to)
                t, steps = to, steps + taken
        return u, steps

    def _interval(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        until = self.problem.until or end
        share = allowance(_DECADES / until, until)(begin, end - begin)
        new, error, steps = self._advanced(u, begin, end, self.tolerance * share)
        new, mended = self._conserving(new, u)
        self.error += error + mended
        self.stats["error_estimate"] = self.error
        if not self.error <= self.tolerance:
            raise ConvergenceError(
                f"at t = {end:g} the error in time is known to be below {self.error:.2g} only, "
                f"above tolerance={self.tolerance:g}; raise the tolerance, or use schemes.Krylov()"
            )
        self.longest = 2 * steps[-1]
        return new, len(steps)

    def _conserving(self, u: Array, before: Array) -> tuple[Array, float]:
        """u with the previous mass, or in the range of the data, and the distance."""
        problem = self.problem
        if not problem.is_density or not problem.conserves:
            return enforce_bounds(problem, u, before, {"steps": 0, "negative_before_clipping": 0.0})
        mass, now = problem.average * u.size, float(u.sum())
        if not isfinite(now):
            raise ConvergenceError(
                "the field is not finite any more; use a smaller beta * potential"
            )
        if mass > 0:
            u *= mass / now  # rounding of thousands of solves accumulates to 1e-12
        return u, abs(now / mass - 1) if mass > 0 else 0.0

    def _advanced(
        self, u: Array, begin: float, end: float, most: float
    ) -> tuple[Array, float, list[float]]:
        """The field at the end, its error, which is to be below ``most``, and the steps.

        ``v`` is advanced on the pilot's grid.
        """
        pilot, fine, v, span = self.pilot, self.fine, self.v, end - begin
        allowed = _SPARE * most
        first_try = min(pilot.resolved(v, begin), self.longest)
        for _ in range(2 if pilot.resolves_drift(begin) else 0):
            steps, new, error = plan(pilot, v, begin, span, allowed, first_try)
            first = 2 * steps[0]
            seen, _ = pilot.local_error(v, begin, first)
            fine.clipped = 0.0
            met, halves = fine.local_error(u, begin, first)
            missed = met / max(seen, 1e-3 * met, 1e-300)
            error *= max(missed, 1.0)
            if error <= most:
                fine.clipped = 0.0
                out = fine.run(halves, begin + first, steps[2:])
                if error + fine.clipped <= most:
                    self.v = new
                    return out, error + fine.clipped, steps
                break
            if missed > _BLIND:
                break
            allowed /= missed
        self.stats["planned_on_the_grid"] += 1
        first_try = min(fine.resolved(u, begin), self.longest)
        fine.clipped = 0.0
        steps, out, error = plan(fine, u, begin, span, _SPARE * most, first_try)
        self.v = coarsen(out, fine.grid, pilot.grid)
        return out, error, steps


class Stepper:
    """Strang steps of one problem on one grid."""

    def __init__(self, problem: Problem, grid: Grid, tolerance: float, stats: SplitStats) -> None:
        self.problem, self.grid, self.stats = problem, grid, stats
        self.blind = grid != problem.grid
        self.tried = 0  # steps of all plans of an output interval
        self.planned = 0  # of all intervals
        self.tolerance = tolerance
        self.negligible, self.clipped = 1e-2 * tolerance, 0.0
        self.mass = problem.average * int(np.prod(grid.shape))
        self.lines = lru_cache(4)(self._lines)
        self.scratch = np.empty(grid.shape)
        self.still, self.kept = None, None
        if not problem.time_dependent:
            generator = problem.generator(0.0, grid)
            self.still = self._along_all(generator)
            self.kept = generator if grid.cells <= _SMALL else None

    def _along_all(self, generator: Generator) -> list[Any]:
        axes = [_Lines(generator, axis, self.problem.forward) for axis in range(2)]
        oblique = [*generator.directions()][2:]
        lines = [*axes, *(ObliqueLines(self.grid, d, self.problem.forward) for d in oblique)]
        return lines if generator.killing is None else [_Killing(generator.killing), *lines]

    def _lines(self, t: float) -> list[Any]:
        return self._along_all(self.problem.generator(t, self.grid))

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
        if self.still is not None or until is None or self.planned < _GLANCE:
            return
        if self.planned * until > _FAR * _MOST_STEPS * t or self.planned > _MOST_STEPS:
            raise ConvergenceError(
                f"{self.planned} steps plan splitting up to {t:.3g} of {until:.3g} only, as the "
                "coefficients move faster than that; use a shorter time, or raise tolerance="
                f"{self.tolerance:g}"
            )

    def _exponential(self, line: "_Lines", u: Array, tau: float) -> Array:
        """exp(tau A) u along the lines; u is reused as buffer of the next result."""
        new = self.scratch
        negative = line.apply(u, tau, RADAU, new)
        sound = True
        if self.problem.is_density and negative < 0:
            mass = float((u if self.problem.conserves else new).sum())
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
    first, *inner, last = directions
    yield first, 0.5
    for k in range(count):
        yield from ((line, 0.5) for line in inner)
        yield last, 1.0
        yield from ((line, 0.5) for line in reversed(inner))
        yield first, 1.0 if k < count - 1 else 0.5


class _Killing:
    """The part of the generator that acts in each cell alone: exact."""

    def __init__(self, rate: Array) -> None:
        self.rate = rate

    def apply(self, u: Array, tau: float, method: tuple[complex, complex], out: Array) -> float:
        """out = exp(-tau rate) u, whatever the method; none of it is negative."""
        np.multiply(u, np.exp(-tau * self.rate), out=out)
        return 0.0


class _Lines:
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


def pilot_grid(grid: Grid) -> Grid:
    """The coarser grid of the pilot run: half to an eighth of the cells, and at most 128."""
    cells = tuple(max(4, *(min(n // share, most) for share, most in _PILOT)) for n in grid.cells)
    return Grid(grid.lower, grid.upper, cells, grid.periodic)


def _steepest(field: Array, here: NDArray[np.bool_], axis: int) -> float:
    """The largest |difference per cell| along an axis, central but at the ends, where ``here``."""
    u, mask = np.moveaxis(field, axis, 0), np.moveaxis(here, axis, 0)
    inner = np.abs(u[2:] - u[:-2])
    inner *= mask[1:-1]
    first, last = np.abs(u[1] - u[0]) * mask[0], np.abs(u[-1] - u[-2]) * mask[-1]
    return max(float(inner.max()) / 2, float(first.max()), float(last.max()))


def coarsen(field: Array, grid: Grid, coarse: Grid) -> Array:
    """Cell averages on a coarser grid of the same box: keeps the integral and the sign."""
    if all(n % m == 0 for n, m in zip(grid.cells, coarse.cells, strict=True)):
        (n, m), (p, q) = coarse.cells, np.array(grid.cells) // coarse.cells
        means: Array = field.reshape(n * p, m, q).mean(2).reshape(n, p, m).mean(1)
        return means
    for axis in range(grid.dim):
        lines = np.moveaxis(field, axis, -1)
        total = np.concatenate(
            [np.zeros((*lines.shape[:-1], 1)), np.cumsum(lines * grid.spacing[axis], -1)], -1
        )
        at = np.clip(
            (coarse.faces[axis] - grid.lower[axis]) / grid.spacing[axis], 0, grid.cells[axis]
        )
        k = np.minimum(at.astype(int), grid.cells[axis] - 1)
        integral = total[..., k] + (at - k) * (total[..., k + 1] - total[..., k])
        field = np.moveaxis(np.diff(integral, axis=-1) / coarse.spacing[axis], -1, axis)
    return np.ascontiguousarray(field)


def _slabs(field: NDArray[Any], axis: int) -> list[NDArray[Any]]:
    """Views of a few lines each across ``axis``: to keep temporaries small."""
    return np.array_split(field, min(field.shape[axis], max(1, field.size // _SLAB)), axis)
