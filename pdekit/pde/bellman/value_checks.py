"""Checks of a value function before it is returned.

A value u(., t) of costs g and ℓ has min g + t min ℓ <= u <= max g + t max ℓ (no control is
cheaper than the least cost, and no control costs nothing). Its errors by the steps in time and by
the cells are measured by a second computation with other steps, or other cells, and reported if
they are not small compared with u minus its lower bound.
"""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.initial_data import spline
from pdekit.pde.discrete.march import Advance, March, fields_at
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.subcell import resolves, resolves_walls, softly
from pdekit.protocols import Scheme

STEPS = 0.05  # of u minus its lower bound: an error in time above which there is a warning
CELLS = 0.02  # the same for a difference between grids; errors are then below 0.05
_ROUNDING = 1e-9  # of the largest value
_OF_LOGARITHMS = 1e-12  # of 1 / beta, in whose units u is the logarithm of w
_SMOOTH = 0.5  # beta |Δu| / 2 and beta |ΔV| over a cell up to which the chain is accurate
_CURVED = 0.05  # second difference over the range: twenty cells a wave
_MODERATE = 1.0  # tolerated beta |Δ(V + u)| over a cell for a density
_MOST = 0.9  # of the mass
_SEEN = 40  # times at which a running cost that moves is looked at
_LOOKS = 9  # number of stored times at which it is checked
_FINER = 512  # number of cells up to which the second grid is finer
_PARTS = 128  # of the total time, by steps determined by the cells
_FEW = 20  # cells per axis below which a second grid is always used
_TOGETHER = 1 << 18  # numbers through which splines are made at once


def report(
    problem: Problem, advance: Advance, scheme: Scheme, fields: Array, times: Array, stats: Stats,
    stacklevel: int,
) -> None:  # fmt: skip
    """Check the bounds of value functions, estimate errors in time and space, warn if they are
    large.

    Into ``stats``: ``cell_jump``, the largest beta |Δu| / 2 or beta |ΔV| over a cell, and, where
    that or the curvature over a cell is not small, ``cell_error``, the largest difference to a
    computation with other cells, in units of the cost; both away from the walls.
    """
    counts, errors = getattr(advance, "counts", []), getattr(advance, "errors", [])
    found = _Found(problem, scheme, fields, times, stats, counts, errors)
    found.require_bounds()
    found.report_steps(stacklevel + 1)
    stats["cell_jump"] = found.jump
    if found.rough and times[-1] > 0:
        found.report_cells(stacklevel + 1)


def rounding(size: Any, problem: Problem) -> Any:
    """What counts as rounding of a value function of some size, in any units of cost."""
    return _ROUNDING * size + _OF_LOGARITHMS / problem.equation.beta


@dataclass(frozen=True, eq=False)
class _Found:
    """Value functions, the steps that each took and, where they are measured, their errors."""

    problem: Problem
    scheme: Any
    fields: Array
    times: Array
    stats: Stats
    counts: list[int]
    errors: list[float]

    @property
    def measured(self) -> bool:
        """Whether the scheme measures its error in time; else its steps follow from the cells."""
        return bool(getattr(self.scheme, "measures_error", False))

    @property
    def instead(self) -> str:
        """The scheme that keeps bounds."""
        stops = self.problem.equation.obstacle is not None
        return "ActiveSet(order=1)" if stops else "PolicyIteration()"

    @cached_property
    def cost(self) -> Array:
        """The running cost at the cells, at some times if it moves, or one zero."""
        if self.problem.time_dependent:
            shape = self.problem.grid.shape
            costs = (self.problem.running_cost(float(t)) for t in self._some_times)
            return np.stack([np.broadcast_to(cost, shape) for cost in costs])
        return np.atleast_1d(np.asarray(self.problem.running_cost(), dtype=float))

    @property
    def _some_times(self) -> Array:
        breaks, until = self.problem.breakpoints, self.problem.until or 0.0
        inside = [t for t in breaks if 0 <= t <= until]
        return np.sort(np.append(np.linspace(0.0, until, _SEEN), inside))

    @cached_property
    def unseen_cost(self) -> float:
        """How far beyond these the running cost may be in between."""
        moves = self.problem.time_dependent
        return float(np.abs(np.diff(self.cost, axis=0)).max()) if moves else 0.0

    def bounds(self, t: Any) -> tuple[Any, Any]:
        """min g + t min ℓ and max g + t max ℓ.

        Whoever may stop at an obstacle gets no more than its maximum, or that of g, with what was
        earned until then; of one that moves no bound from above is known.
        """
        (low, high), cost, more = self.ends, self.cost, self.unseen_cost
        obstacle = self.problem.equation.obstacle
        if obstacle is None:
            return low + t * (cost.min() - more), high + t * (cost.max() + more)
        most = np.inf if checks.time_dependent(obstacle) else high
        return low + t * (cost.min() - more), most + t * max(cost.max() + more, 0.0)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The range of g."""
        return float(self.problem.start.min()), float(self.problem.start.max())

    def require_bounds(self) -> None:
        """Raise where a field is not finite or outside its bounds."""
        axes = tuple(range(1, self.fields.ndim))
        least, most = self.fields.min(axes), self.fields.max(axes)
        low, high = self.bounds(self.times)
        size = np.where(np.isfinite(high), np.maximum(np.abs(low), np.abs(high)), most)
        slack = rounding(size, self.problem)
        sound = (least >= low - slack) & (most <= high + slack)  # a NaN is not
        if not sound.all():
            k = int(sound.argmin())
            raise ConvergenceError(
                f"the value function at time to go {self.times[k]:g} lies in [{least[k]:.6g}, "
                f"{most[k]:.6g}], but its costs bound it by [{low[k]:.6g}, {high[k]:.6g}]; use "
                f"schemes.{self.instead}"
            )

    def excess(self, u: Array, t: float) -> float:
        """u minus its lower bound, away from the walls: the scale of errors."""
        low: float = self.bounds(t)[0]
        return max(float(u[inner(self.problem.grid)].max()) - low, 1e-300)

    def report_steps(self, stacklevel: int) -> None:
        """Warn where the error in time is not small."""
        errors = self.errors
        late = slice(len(self.times) - len(errors), None)
        shares = [
            (error / self.excess(u, t), error, t)
            for error, u, t in zip(errors, self.fields[late], self.times[late], strict=True)
        ]
        share, error, t = max(shares, default=(0.0, 0.0, 0.0))
        if share <= STEPS:
            return
        dt, order = self.scheme.dt, self.scheme.order
        # with kinks and steep data the order drops to about 0.6
        better = dt * min(0.5, (STEPS / (2 * share)) ** (1 / (0.6 * order)))
        warnings.warn(
            f"steps of {dt:.3g} have an error of up to {error:.2g} off at time to go {t:g}, "
            f"{share:.0%} of the value function above its lower bound; "
            f"PolicyIteration(dt={better:.1g}, order={order}) would suffice",
            AccuracyWarning,
            stacklevel=stacklevel,
        )

    @cached_property
    def unseen(self) -> bool:
        """Whether a cost varies within the cells, which then misrepresent it."""
        return bool(unseen(self.problem))

    @cached_property
    def jump(self) -> float:
        """The largest jump over a cell, beta |Δu| / 2 or beta |ΔV|, away from the walls."""
        return self._seen[0]

    @property
    def rough(self) -> bool:
        """Whether jumps or curvature over a cell require a second grid."""
        return self._seen[1]

    @cached_property
    def _seen(self) -> tuple[float, bool]:
        problem, where = self.problem, inner(self.problem.grid)
        moves = checks.time_dependent(problem.equation.potential)
        drift = [problem.potential(float(t)) for t in (self._some_times if moves else [0.0])]
        still = [*drift, problem.values]
        if self.cost.size > 1:
            still += [*self.cost] if problem.time_dependent else [self.cost]
        every = np.concatenate([np.stack(still)[:, *where], self.fields[:, *where]])
        found = _differences(every)
        own = len(drift)
        worst = max(2 * found.jump[:own].max(), found.jump[own], *found.jump[len(still) :])
        jump = problem.equation.beta / 2 * float(worst)
        return jump, bool(
            jump > _SMOOTH
            or self.unseen
            or not self.measured
            or min(problem.grid.cells) < _FEW
            or (found.curvature > _CURVED * found.span).any()
        )

    def report_cells(self, stacklevel: int) -> None:
        """Repeat the computation with other cells, and warn if the result differs much."""
        grid = self.problem.grid
        other, where = _other(grid), inner(grid)
        try:
            there = self.problem_on(other)
            found = fields_at(self.times, self.unhurried(there), there.values)
        except (ConvergenceError, ValueError) as error:  # or coefficients known only at the cells
            self.stats["cell_error"] = np.inf
            if isinstance(error, ConvergenceError) or self.jump > _SMOOTH:
                self.warn(1.0, f"with {other.cells} cells: {error}", stacklevel + 1)
            return
        worst, share = 0.0, 0.0
        several = max(1, _TOGETHER // int(np.prod(grid.cells)))
        for start in range(0, len(found), several):
            some = slice(start, start + several)
            gap = np.abs(self.fields[some] - spline(found[some], other, grid))
            apart = gap[:, *where].reshape(len(gap), -1).max(1)
            for u, a, t in zip(self.fields[some], apart.tolist(), self.times[some], strict=True):
                if t > 0:
                    worst, share = max(worst, a), max(share, a / self.excess(u, t))
        if other.cells > grid.cells:  # at first order it is half the error, with kinks a third
            more = 2.0 if self.measured else 3.4
            worst, share = more * worst, more * share
        self.stats["cell_error"] = worst
        last = self.problem.equation.beta / 2 * _differences(self.fields[:, *where]).jump.max()
        most = getattr(self.scheme, "most_jump", np.inf)
        if share > CELLS or last > most:
            off = f"{other.cells} cells change it by {worst:.2g}, {share:.0%} of what it has "
            self.warn(share, off + "above its least", stacklevel + 1)

    def unhurried(self, there: Problem) -> Advance:
        """The scheme on other cells, not by longer steps where these follow from the cells.

        Where all is flat there is no limit to them, on any cells.
        """
        advance: Advance = self.scheme.start(there, {"steps": 0})
        if self.measured:
            return advance
        parts = max(2, min(2 * sum(self.counts), _PARTS) // len(self.times))

        def over(_: Array, begin: float, end: float) -> tuple[Array, int]:
            for share in range(1, parts):
                advance(begin + (end - begin) * share / parts)
            return advance(end), parts

        return March(there.values, over, {"steps": 0})

    def problem_on(self, grid: Grid) -> Problem:
        """The problem on other cells; with cell means of unresolved costs."""
        problem, equation = self.problem, self.problem.equation
        if not self.unseen:
            return replace(problem, grid=grid, initial=problem.sample(grid))
        initial, cost, beta = problem.initial, equation.running_cost, equation.beta
        terminal = problem.sample(grid)
        if callable(initial):
            terminal = softly(initial, grid, beta, "the terminal cost")
        if callable(cost):
            running = softly(cost, grid, beta, "the running cost")
            equation = replace(equation, running_cost=lambda _: running)
        return replace(problem, equation=equation, grid=grid, initial=terminal)

    def warn(self, share: float, why: str, stacklevel: int) -> None:
        """Warn that the cells are too coarse, with the number needed."""
        cells, jump = self.problem.grid.cells, self.jump
        more = max(2.0, share / CELLS, jump)
        better = tuple(int(np.ceil(n * more)) for n in cells)
        warnings.warn(
            "the cells are too coarse for the value function (the largest jump over a cell, beta "
            f"|Δu| / 2 or beta |ΔV|, is {jump:.2g}): {why}; about {better} cells would suffice "
            f"instead of {cells}",
            ResolutionWarning,
            stacklevel=stacklevel,
        )


def unseen(problem: Problem) -> list[str]:
    """The costs that vary within the cells."""
    costs = {"terminal": problem.initial, "running": problem.equation.running_cost}
    return [
        name
        for name, cost in costs.items()
        if callable(cost)
        and not (resolves(at := replace(problem, initial=cost)) and resolves_walls(at))
    ]


def report_costs(problem: Problem, stacklevel: int) -> None:
    """Warn of costs of a game that vary within the cells, whose values at centres it takes."""
    for name in unseen(problem):
        warnings.warn(
            f"the {name} cost varies within the cells of {problem.grid}, and the game takes its "
            "values at their centres; use a finer grid, or means over the cells as the cost",
            ResolutionWarning,
            stacklevel=stacklevel,
        )


def report_density(value: Any, density: Any, potential: Array, stacklevel: int) -> None:
    """Warn where cells are too coarse for the drift under the control, beta |Δ(V + u)| > 1.

    Checked where the mass is; ``cell_peclet`` in the density's stats is its 0.9
    quantile over the mass at nine of the times. At 1 diffusion is a twelfth too large.
    """
    grid, beta = value.grid, value.equation.beta
    worst = 0.0
    some = np.unique(np.linspace(0, len(value.times) - 1, _LOOKS).astype(int))
    for u, rho in zip(value.fields[some], density.fields[some], strict=True):
        steep = np.zeros(grid.shape)
        for axis in range(grid.dim):
            step = beta * np.abs(np.diff(potential + u, axis=axis))
            here = tuple(slice(0, -1) if k == axis else slice(None) for k in range(grid.dim))
            np.maximum(steep[here], step, out=steep[here])
        order = np.argsort(steep, axis=None)
        below = np.cumsum(rho.ravel()[order])
        worst = max(worst, float(steep.ravel()[order][np.searchsorted(below, _MOST * below[-1])]))
    density.stats["cell_peclet"] = worst
    if worst > _MODERATE:
        better = tuple(int(np.ceil(n * worst / _MODERATE)) for n in grid.cells)
        warnings.warn(
            f"a tenth of the mass meets jumps of beta (V + u) beyond {worst:.2g} over a cell: the "
            f"controlled density spreads too much there; about {better} cells would suffice "
            f"instead of {grid.cells}",
            ResolutionWarning,
            stacklevel=stacklevel,
        )


def inner(grid: Grid) -> tuple[slice, ...]:
    """The box without a tenth at every wall, where there are boundary layers."""
    rims = [0 if p else max(1, n // 10) for n, p in zip(grid.cells, grid.periodic, strict=True)]
    return tuple(slice(r, n - r) for r, n in zip(rims, grid.cells, strict=True))


class _Differences(NamedTuple):
    """Of every field: the largest difference over a cell, the largest second one, the range."""

    jump: Array
    curvature: Array
    span: Array


def _differences(fields: Array) -> _Differences:
    axes = tuple(range(1, fields.ndim))
    jumps, bends = [], []
    for axis in axes:
        difference = np.diff(fields, axis=axis)
        jumps.append(
            np.maximum(difference.max(axes, initial=0.0), -difference.min(axes, initial=0.0))
        )
        second = np.diff(difference, axis=axis)
        bends.append(np.maximum(second.max(axes, initial=0.0), -second.min(axes, initial=0.0)))
    span = fields.max(axes) - fields.min(axes)
    return _Differences(np.max(jumps, 0), np.max(bends, 0), span)


def _other(grid: Grid) -> Grid:
    """Twice as many cells per axis if these are few, else half as many."""
    few = int(np.prod(grid.cells)) <= _FINER or min(grid.cells) < 8
    cells = tuple(2 * n if few else n // 2 for n in grid.cells)
    return Grid(grid.lower, grid.upper, cells, periodic=grid.periodic)
