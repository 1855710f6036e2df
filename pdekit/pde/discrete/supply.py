"""What is added per time: u_t = A u + s.

Where coefficients, or s, change in time the steps of a scheme take s with them: see
``supplied_march``. Where they are fixed any scheme for u_t = A u does; what is added is then
accumulated by ``doubled``.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import exp
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion
from pdekit.pde.discrete.accumulation import Sized, doubled
from pdekit.pde.discrete.cell_means import coarsen
from pdekit.pde.discrete.generators import Arrivals
from pdekit.pde.discrete.growth import least_rate, without_growth
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate_rate
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.kernels.sparse_lu import inverted
from pdekit.potentials.seam import looks
from pdekit.walls import lets_in, supplies

_STRICTER = 4.0  # errors of the doublings add up to a few times that of one
_PART = 0.05  # share of what is built up in the end from which a difference to it is exact enough
_MOST = 1 << 17  # cells up to which that takes about a second
_SPREAD = (
    4.0  # exchanges of the cell beside a held wall with it, from which its influx is right to 3 %
)
_FEW = {1: 400, 2: 32}  # cells an axis of a coarse solution
_COARSE, _FIRST = 48, 1e-4  # steps of a coarse solution, and the first over all the time
_EQUAL = 1e-12  # relative: times between outputs that count as equal


def supply(problem: Problem, t: float = 0.0, grid: Grid | None = None) -> Array | None:
    """The density, or value, that is added per time in each cell; None if nothing is."""
    both = source(problem, t, grid), _from_walls(problem, t, grid)
    parts = [part for part in both if part is not None]
    total = sum(parts[1:], parts[0]) if parts else None
    return total if total is not None and total.any() else None


def source(problem: Problem, t: float, grid: Grid | None = None) -> Array | None:
    """The part of it that is a source; on a coarser grid its means over the cells."""
    given = problem.equation.source
    if given is None:
        return None
    now = given.at(problem.motion_time(t)) if checks.time_dependent(given) else given
    values = evaluate_rate(now, problem.grid, "the source")
    return values if grid in (None, problem.grid) else coarsen(values, problem.grid, grid)


def _from_walls(problem: Problem, t: float, grid: Grid | None) -> Array | None:
    sides = [side for _, *pair in wall_arrivals(problem, t, grid) for side in pair]
    return sum(sides[1:], sides[0]) if sides else None


def wall_arrivals(problem: Problem, t: float = 0.0, grid: Grid | None = None) -> Arrivals:
    """What the walls add per time, along every edge: see ``Generator.current``."""
    walls = problem.equation.walls
    if not supplies(walls):
        return ()
    if drift_diffusion.is_general(problem.equation):
        return drift_diffusion.wall_arrivals(_sampled(problem, t, grid), problem.forward)
    values, beta, where = problem.potential(t, grid), problem.beta(t), grid or problem.grid
    return drift_diffusion.potential_arrivals(values, beta, where, walls, problem.forward)


def _sampled(
    problem: Problem, t: float = 0.0, grid: Grid | None = None
) -> drift_diffusion.Coefficients:
    return replace(problem.coefficients(t, grid), values=problem.potential(t, grid))


def require_supply(problem: Problem) -> None:
    """``ValueError`` for a supply that the equation cannot have."""
    equation = problem.equation
    for t in _looks(problem):
        added = supply(problem, t)
        if problem.is_density and added is not None and added.min() < 0:
            raise ValueError(
                "what is supplied to a density must be >= 0 everywhere (a source, or the value of "
                f"a Held wall); got as little as {added.min():.3g} per time at t = {t:.3g}. What "
                "takes is killing=..., a rate"
            )
    if problem.time_dependent and equation.killing is not None:
        _require_no_growth(problem)
    if not problem.forward and lets_in(equation.walls):
        raise ValueError(
            "Inflow lets a density in; the expectation of one particle is as it is between walls "
            "that reflect: use False in its place"
        )


def _looks(problem: Problem) -> list[float]:
    """Times of the equation at which what moves is looked at."""
    return looks(problem.until or 1.0, problem.breakpoints) if problem.time_dependent else [0.0]


def _require_no_growth(problem: Problem) -> None:
    for t in _looks(problem):
        lost = problem.generator(t).killing
        if lost is not None and lost.min() < 0:
            raise ValueError(
                "with a supply and coefficients that change in time, killing must be >= 0; got "
                f"{checks.shown(problem.equation.killing)}, of {lost.min():.3g} at t = {t:.3g}, "
                "which is growth: leave out the supply, or fix the coefficients"
            )


def report(problem: Problem, times: Array, stacklevel: int) -> None:
    """Warnings of killing and sources between the cells, and of walls held for too short a time."""
    equation = problem.equation
    problem.look_at_rates(stacklevel + 1)
    if problem.is_density and equation.supplied and equation.walls is not None:
        _report_held(problem, times, stacklevel + 1)


def _report_held(problem: Problem, times: Array, stacklevel: int) -> None:
    """What a wall holds spreads as sqrt(t), but out of half a cell it comes in proportion to t."""
    rate = drift_diffusion.fastest_held(_sampled(problem))
    first = float(times[times > 0].min(initial=np.inf))
    if not (rate > 0 and first * rate < _SPREAD):
        return
    finer = int(np.ceil(np.sqrt(_SPREAD / (first * rate))))
    cells = tuple(finer * n for n in problem.grid.cells)
    warnings.warn(
        f"by t = {first:.3g} what a Held wall lets in has not passed the cell beside it, so that "
        f"it is too little: take times from {_SPREAD / rate:.2g} on, or about {cells} cells "
        f"instead of {problem.grid.cells}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )


def supplied_march(problem: Problem, scheme: Any, stats: Stats) -> March:
    """The march of what is supplied."""
    if not problem.time_dependent:
        return March(problem.values, Supplied(problem, scheme, stats).over, stats)
    march: March = scheme.start(replace(problem, scale=_scale(problem)), stats)
    return march


def _scale(problem: Problem) -> float:
    """The largest mean of a density, or value of a function, in steps of backward Euler."""
    from scipy.sparse import identity
    from scipy.sparse.linalg import spsolve

    grid, until, t = _few_cells(problem.grid), problem.until or 0.0, 0.0
    u = coarsen(problem.values, problem.grid, grid).ravel()
    largest = _level(problem, u)
    for end in until * np.geomspace(_FIRST, 1, _COARSE):
        matrix, added = problem.generator(end, grid).matrix(), supply(problem, end, grid)
        matrix = matrix.T if problem.forward else matrix
        more = 0.0 if added is None else (end - t) * added.ravel()
        u = spsolve((identity(u.size) - (end - t) * matrix).tocsc(), u + more)
        largest, t = max(largest, _level(problem, u)), end
    return largest


def _few_cells(grid: Grid) -> Grid:
    cells = tuple(min(n, _FEW[grid.dim]) for n in grid.cells)
    return Grid(grid.lower, grid.upper, cells, grid.periodic)


def _level(problem: Problem, u: Array) -> float:
    return float(u.mean() if problem.is_density else np.abs(u).max())


class Supplied:
    """The field from one time to another, by a scheme for what is not supplied."""

    def __init__(self, problem: Problem, scheme: Any, stats: Stats) -> None:
        self.problem, self.grid, self.stats = problem, problem.grid, stats
        self.scheme = scheme.stricter(_STRICTER) if hasattr(scheme, "stricter") else scheme
        killing = problem.equation.killing
        self.least = 0.0 if killing is None else least_rate(killing, self.grid)
        self.bare = replace(without_growth(problem), source=None)
        self.rate = supply(problem)
        self.fastest = float(problem.generator().exit_rate().max())
        self.built: tuple[float, Sized] | None = None
        self.settled = self._settled()
        self.error, self.largest = 0.0, self.size(problem.values)

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """exp(h A) u + V(h), h the time between."""
        span, before = end - begin, self.stats["steps"]
        kept, more = self.propagated(u, span), self.added(span)
        out = kept.field + more.field
        self.error = self.error * exp(max(-self.least * span, 0.0)) + kept.error + more.error
        self.largest = max(self.largest, self.size(out))
        self.stats["error_estimate"] = float(self.error / max(self.largest, 1e-300))
        steps, self.stats["steps"] = self.stats["steps"] - before, before
        return out, steps

    def size(self, u: Array) -> float:
        """What an error is measured in: the mass, or the maximum of functions."""
        return float(self.grid.integrate(u) if self.problem.is_density else np.abs(u).max())

    def _settled(self) -> Array | None:
        """What is built up in the end, where all that is supplied is lost again."""
        generator = self.problem.generator()
        loss = generator.loss
        if self.rate is None or loss is None or loss.min() < 0 or self.rate.size > _MOST:
            return None
        matrix = generator.matrix()
        try:
            lu = inverted(matrix.T if self.problem.forward else matrix)
        except RuntimeError:  # singular: some cells keep what they get
            return None
        out: Array = lu.solve(self.rate.ravel()).reshape(self.rate.shape)
        # behind a barrier the rounding of the factors is larger than what is lost
        wrong_sign = self.rate.min() >= 0 and out.min() < 0
        return out if np.isfinite(out).all() and not wrong_sign else None

    def added(self, span: float) -> Sized:
        """V(span), by doubling; the last one is kept, for equal times between outputs."""
        if self.rate is None:
            return Sized(np.zeros(self.grid.shape), 0.0)
        if self.built is None or abs(self.built[0] / span - 1) > _EQUAL:
            settled = self._settling(span)
            self.built = span, settled or self._doubled(self.rate, span)
        return self.built[1]

    def _settling(self, span: float) -> Sized | None:
        """V = U - exp(span A) U from what is built up in the end, A U = -s; None if there is none,

        or if V is so small a part of U that the difference is worse than the sum.
        """
        if self.settled is None:
            return None
        later = self.propagated(self.settled, span)
        out = self.settled - later.field
        if not self.size(out) > _PART * self.size(self.settled):
            return None
        if self.problem.is_density:
            out = np.maximum(out, 0.0)
        return Sized(out, later.error)

    def _doubled(self, rate: Array, span: float) -> Sized:
        return doubled(self.propagated, rate, span, self.fastest, max(-self.least, 0.0))

    def propagated(self, u: Array, span: float) -> Sized:
        """exp(span A) u, scaled so that no field is too small for the scheme."""
        size = float(np.abs(u).max())
        if not size > 0:
            return Sized(np.zeros_like(u), 0.0)
        problem = Problem(self.bare, self.grid, u / size, until=span)
        stats: Any = {"steps": 0}
        factor = size * exp(-self.least * span)
        out = self.scheme.start(problem, stats)(span) * factor
        self.stats["steps"] += stats["steps"]
        error = stats.get("error_estimate", 0.0) * self.size(problem.values) * factor
        return Sized(out, error)
