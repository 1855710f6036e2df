"""A problem: an equation on a grid with initial data, validated once and sampled on demand."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import isfinite
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning
from pdekit.grid import Grid
from pdekit.interactions import of_two_points
from pdekit.lazy import cached_property
from pdekit.pde.discrete import between_cells, cell_means, drift_diffusion, fields_between_cells
from pdekit.pde.discrete.generators import Generator, scharfetter_gummel
from pdekit.pde.discrete.initial_data import density, spline
from pdekit.pde.discrete.sampling import as_field, evaluate, evaluate_rate
from pdekit.pde.equations import frozen, moving
from pdekit.potentials.algebra import terms_of
from pdekit.potentials.seam import jump_at_seam, kernel_jump_at_seam, looks
from pdekit.walls import End, not_closed, turns

_PART = 1 << 14
_STEEPEST = 1e50  # beta times the range of V, and rates: their products with times stay finite


_RATES = {"killing": "the killing rate", "source": "the source"}


@dataclass(frozen=True, eq=False)
class Problem:
    """The input of a scheme: ``equation`` on ``grid`` from ``initial``.

    ``initial`` is a law (densities only), a callable on points ``(..., d) -> (...)`` or an array
    of ``grid.shape``. ``until`` is the last requested time, if known: schemes divide
    their tolerance over it, so that it holds for all output times together; and it is the
    T of a backward equation, in time to go s, with coefficients evaluated at T - s.
    ``scale``, of what is supplied while coefficients move: the largest mean of a density, or value
    of a function, to be met, which errors are relative to; else they are to the initial data.
    """

    equation: Any
    grid: Grid
    initial: Any
    until: float | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.equation.may_depend_on_time:
            return
        for part in self._moving:
            if part is getattr(self.equation, "running_cost", None):
                continue
            raise ValueError(
                f"{type(self.equation).__name__} is solved for a potential fixed in time; got "
                f"{checks.shown(part)}, which has at(t): solve from one output time to the next "
                "with its at(t)"
            )

    @cached_property
    def is_density(self) -> bool:
        return bool(self.equation.carries_density)

    @cached_property
    def values(self) -> Array:
        """Initial data at the cell centres, shape ``grid.shape``."""
        if self.is_density:
            return density(self.initial, self.grid, self.equation.supplied)
        return self.sample(self.grid)

    @cached_property
    def start(self) -> Array:
        """Where the field starts: its initial data, or the obstacle where that is larger."""
        return self.values if self.equation.obstacle is None else self.raised(self.values, 0.0)

    def obstacle(self, t: float = 0.0) -> Array:
        """The equation's obstacle at the centres, at its time ``t``."""
        given = self.equation.obstacle
        if not checks.time_dependent(given):
            return self._still_obstacle
        return evaluate(given.at(self.motion_time(t)), self.grid, "the obstacle")

    @cached_property
    def _still_obstacle(self) -> Array:
        return evaluate(self.equation.obstacle, self.grid, "the obstacle")

    def raised(self, u: Array, t: float) -> Array:
        """u where it is above the obstacle at time ``t``, and the obstacle elsewhere."""
        out: Array = np.maximum(u, self.obstacle(t))
        return out

    def sample(self, grid: Grid, outside: bool = False) -> Array:
        """Initial function at the centres of another grid on the same (or a larger) box.

        A callable is evaluated there; an array is interpolated by cubic splines within its box.
        """
        if hasattr(self.initial, "pdf") and not isinstance(self.initial, type):
            raise TypeError(
                f"{type(self.equation).__name__} starts from a function (a potential, a callable "
                f"or an array of shape {self.grid.shape}), got the law {checks.shown(self.initial)}"
            )
        what = "the terminal cost" if self.equation.controlled else "the initial function"
        if callable(self.initial) or checks.time_dependent(self.initial):
            return evaluate(self.initial, grid, what)
        if outside:
            raise ValueError(
                "initial data given as an array are unknown beyond the box; pass a callable, or "
                "leave out extend=True"
            )
        values = as_field(self.initial, self.grid, what)
        return values if grid == self.grid else spline(values, self.grid, grid)

    def potential(self, t: float = 0.0, grid: Grid | None = None) -> Array:
        """The equation's potential at the centres, at time ``t`` if time-dependent."""
        where = grid or self.grid
        if not self._moving or not checks.time_dependent(self.equation.potential):
            own = where.dim == 1 and where == self.grid
            return self._line if own else self._sampled_potential(where)
        at, count = self.motion_time(t), len(self._terms)
        values = [self._term(k, at, where) for k in range(count)]
        total: Array = sum(values[1:], values[0])
        return _bounded_potential(total, self.coldest, where)

    def motion_time(self, t: float) -> float:
        """The time of the motion at the time ``t`` of the equation, which may be time to go."""
        if self.forward:
            return t
        if self.until is None:
            raise ValueError(
                "a backward equation whose coefficients change in time needs the time at which the "
                "motion ends: Problem(..., until=T)"
            )
        return self.until - t

    @cached_property
    def _line(self) -> Array:
        """The potential on a line, cached, as it is small and used several times."""
        return self._sampled_potential(self.grid)

    def _sampled_potential(self, grid: Grid) -> Array:
        values = evaluate(self.equation.potential, grid, "the potential")
        beta = self.coldest if self._moving else self.equation.beta
        return _bounded_potential(values, beta, grid)

    def beta(self, t: float) -> float:
        """The equation's inverse temperature, at time ``t`` if time-dependent."""
        beta = self.equation.beta
        now: float = beta.at(self.motion_time(t)) if checks.time_dependent(beta) else beta
        return now

    @cached_property
    def coldest(self) -> float:
        """The largest inverse temperature, at some times if it changes."""
        beta: Any = self.equation.beta
        if not checks.time_dependent(beta):
            return float(beta)
        return float(max(beta.at(t) for t in looks(self.until or 1.0, beta.times)))

    def look_at_seam(self, stacklevel: int, everywhere: bool = False) -> None:
        """Warn where the potential, at some times if it moves, or a kernel of two points jumps
        at the seam of an axis.

        Where something starts that feels it, ``everywhere`` if that is asked: by what is a
        function of the start, and rests on rare ways, which Gibbs' law does not count.
        """
        if not (self.drifts and any(self.grid.periodic)):
            return
        V, beta, grid = self.equation.potential, self.coldest, self.grid
        start = self.values if self.is_density and self.initial is not None else None
        if everywhere or self.equation.looks_backward:
            start = np.ones(grid.shape)
        moves, stored = checks.time_dependent(V), getattr(V, "times", ())
        for t in looks(self.until or 1.0, stored) if moves else (None,):
            still = V if t is None else V.at(t)
            cells = partial(evaluate, still, grid, "the potential")
            jump = jump_at_seam(still, cells, grid, beta, start)
            if jump:
                _warn_of_cliff("potential", jump, stacklevel + 1)
                return
        felt = getattr(self.equation, "interaction", None)
        if of_two_points(felt) and (jump := kernel_jump_at_seam(felt, grid, beta, start)):
            _warn_of_cliff("interaction", jump, stacklevel + 1)

    def look_between_centres(self, stacklevel: int) -> None:
        """Warn where the cells do not show the potential, a force or a diffusion, at the time 0
        if they move."""
        for what in ("force", "diffusion"):
            given = getattr(self.equation, what, None)
            field: Any = getattr(given, "D", given)
            still = field.at(0.0) if checks.time_dependent(field) else field
            if callable(still):
                fields_between_cells.report(what, still, self.grid, stacklevel + 1)
        if not self.drifts:
            return
        V = self.equation.potential
        still = V.at(0.0) if checks.time_dependent(V) else V
        if callable(still):
            beta = self.coldest if self._moving else self.equation.beta
            between_cells.report(still, self.grid, beta, stacklevel + 1)

    def look_at_rates(self, stacklevel: int) -> None:
        """Warn where the cells do not show a killing rate or a source that is fixed in time."""
        for what in ("killing", "source"):
            given = getattr(self.equation, what, None)
            if callable(given) and not checks.time_dependent(given):
                values = self.fixed_rate(what)
                cell_means.report_rate(what, given, values, self.grid, stacklevel + 1)

    def _killing(self, t: float, grid: Grid) -> Array | None:
        """The killing rate in the cells of a grid at a time, if there is one."""
        given: Any = self.equation
        if given.killing is None:
            return None
        if not self._moving and grid is self.grid:
            return self.fixed_rate("killing")
        now = frozen(given, self.motion_time(t)) if self._moving else given
        return evaluate_rate(now.killing, grid, "the killing rate")

    @cached_property
    def fixed_rate(self) -> Callable[[str], Array]:
        """The killing rate or the source of an equation, fixed in time, in the cells."""

        return lru_cache(2)(
            lambda what: evaluate_rate(getattr(self.equation, what), self.grid, _RATES[what])
        )

    @cached_property
    def _terms(self) -> list[Any]:
        """The terms of a time-dependent potential, each with its own stored times."""
        return list(terms_of(self.equation.potential))

    def _term(self, k: int, t: float, grid: Grid) -> Array:
        """A term of the potential at time ``t`` of the motion, linear between its stored times."""
        term = self._terms[k]
        if not checks.time_dependent(term):
            return self._stored(k, None, grid)
        times = [float(s) for s in getattr(term, "times", ())]
        if len(times) < 2:
            return evaluate(term.at(t), grid, "the potential")
        i = int(np.clip(np.searchsorted(times, t) - 1, 0, len(times) - 2))
        weight = min(max((t - times[i]) / (times[i + 1] - times[i]), 0.0), 1.0)
        before, after = (self._stored(k, times[j], grid) for j in (i, i + 1))
        return (1 - weight) * before + weight * after

    @cached_property
    def _stored(self) -> Callable[[int, float | None, Grid], Array]:
        """A term of the potential at one of its stored times (None: constant) on a grid.

        Two times on two grids of each are cached.
        """

        @lru_cache(4 * len(self._terms))
        def field(k: int, t: float | None, grid: Grid) -> Array:
            term = self._terms[k]
            return evaluate(term if t is None else term.at(t), grid, "the potential")

        return field

    def running_cost(self, t: float = 0.0, grid: Grid | None = None) -> Array | float:
        """The running cost of a control problem at the centres, 0.0 where there is none.

        At time to go ``t`` where it changes in time.
        """
        cost: Any = self.equation.running_cost
        if cost is None:
            return 0.0
        now = cost.at(self.motion_time(t)) if checks.time_dependent(cost) else cost
        return evaluate(now, grid or self.grid, "the running cost")

    @property
    def time_dependent(self) -> bool:
        """Whether the coefficients depend on time."""
        return bool(self._moving)

    @cached_property
    def _moving(self) -> list[Any]:
        """The time-dependent coefficients."""
        return moving(self.equation)

    @property
    def time_dependent_terms(self) -> list[Any]:
        """The time-dependent coefficients, sums term by term."""
        return [
            term for part in self._moving for term in terms_of(part) if checks.time_dependent(term)
        ]

    @cached_property
    def breakpoints(self) -> list[float]:
        """The stored ``times`` of the coefficients, between which these are smooth in time.

        As times of the equation, in order: for a backward one T minus forward times.
        """
        stored = {float(t) for part in self._moving for t in getattr(part, "times", ())}
        return sorted(t if self.forward else self.motion_time(t) for t in stored)

    @cached_property
    def average(self) -> float:
        """The mean of the initial data over the cells."""
        return float(self.values.mean())

    def distance(self, u: Array, v: Array) -> float:
        """L1 over the mass for densities; else the maximum over that of the data."""
        if self.is_density:
            mean = self.average if self.scale is None else self.scale
            mass = max(mean * v.size, 1e-300)
            return sum(float(part.sum()) for part in _apart(u, v)) / mass
        largest = self.scale or max(float(self.values.max()), -float(self.values.min()), 1e-300)
        return max(float(part.max()) for part in _apart(u, v)) / largest

    def generator(self, t: float = 0.0, grid: Grid | None = None) -> Generator:
        """Generator of a linear equation (or of the linear part of HJB)."""
        where = grid or self.grid
        require_noise(self.equation, "a generator")
        if any(self.turning):
            raise ValueError(
                "Specular() walls turn momenta round, which is known to schemes.SemiLagrangian() "
                "alone: solve densities by it, on a grid whose momenta are symmetric about 0, and "
                "leave them out elsewhere"
            )
        beta = self.beta(t) if self._moving else self.equation.beta
        _require_moderate_rates(1 / where.narrowest**2, beta, where)
        if not self.drifts:
            return scharfetter_gummel(np.zeros(where.shape), 2 * beta, where)
        values = self.potential(t, where)
        if not drift_diffusion.is_general(self.equation):
            made = scharfetter_gummel(values, beta, where)
            if not getattr(self.equation, "loses", ""):
                return made
            return drift_diffusion.with_losses(
                made, beta, values, self.ends, self._killing(t, where)
            )
        return drift_diffusion.generator(replace(self.coefficients(t, where), values=values))

    def peclet(self, t: float = 0.0) -> Array:
        """The cell Péclet number of an equation with a force, a diffusion or walls of its own."""
        return drift_diffusion.peclet(
            replace(self.coefficients(t), values=self.potential(t, self.grid))
        )

    def coefficients(self, t: float, grid: Grid | None = None) -> drift_diffusion.Coefficients:
        """Force and diffusion on a grid, at time ``t`` if time-dependent."""
        where = grid or self.grid
        own: Any = self.equation
        apart = own.potential, own.beta, own.source
        if all(any(part is one for one in apart) for part in self._moving):
            found = self._sampled(where)
            return replace(found, beta=self.beta(t)) if self._moving else found
        return drift_diffusion.sample(frozen(self.equation, self.motion_time(t)), where)

    @cached_property
    def _sampled(self) -> Callable[[Grid], drift_diffusion.Coefficients]:
        """Force and diffusion on a grid, sampled once; recent grids are cached."""
        return lru_cache(4)(lambda grid: drift_diffusion.sample(self.equation, grid))

    @cached_property
    def ends(self) -> tuple[tuple[End, End], ...]:
        """What the two ends of every axis do."""
        return drift_diffusion.ends_of(getattr(self.equation, "walls", None), self.grid)

    @cached_property
    def absorbing(self) -> tuple[tuple[bool, bool], ...]:
        """Per axis, whether the lower and the upper wall do more than reflect."""
        walls = getattr(self.equation, "walls", None)
        if walls is None:
            return ((False, False),) * self.grid.dim
        return tuple((not_closed(lower), not_closed(upper)) for lower, upper in self.ends)

    @cached_property
    def turning(self) -> tuple[bool, ...]:
        """Per axis, whether its ends turn momenta round."""
        walls = getattr(self.equation, "walls", None)
        if walls is None:
            return (False,) * self.grid.dim
        ends = self.ends
        one_sided = [k for k, (a, b) in enumerate(ends) if turns(a) != turns(b)]
        if one_sided:
            raise ValueError(
                f"both ends of the axis {self.grid.names[one_sided[0]]} must be Specular(), or none"
            )
        return tuple(turns(lower) for lower, _ in ends)

    @cached_property
    def conserves(self) -> bool:
        """Whether the mass of a density is kept: no wall absorbs, nothing is killed or added."""
        changes = getattr(self.equation, "killing", None), getattr(self.equation, "source", None)
        return changes == (None, None) and not any(map(any, self.absorbing))

    @cached_property
    def forward(self) -> bool:
        """Whether time is that of the motion, or else time to go."""
        return not self.equation.looks_backward

    @property
    def drifts(self) -> bool:
        """Whether there is more than noise: an equation without a potential smooths, as heat."""
        return getattr(self.equation, "potential", None) is not None


def _warn_of_cliff(what: str, jump: str, stacklevel: int) -> None:
    warnings.warn(
        f"the {what} should be periodic where the grid is; {jump}: the equation has a cliff "
        "there, which particles do not feel. Pass a constant drive as the equation's force, take "
        "a periodic potential, such as Cosine(), or walls (periodic=False)",
        AccuracyWarning,
        stacklevel=stacklevel + 1,
    )


def _bounded_potential(values: Array, beta: float, grid: Grid) -> Array:
    """``values`` of a potential, if beta times their range does not overflow."""
    height = float(np.maximum.reduce(values, None)) - float(np.minimum.reduce(values, None))
    beta = beta if isfinite(beta) else 1.0  # without noise the drift alone makes rates
    if not beta * height <= _STEEPEST:
        cell = tuple(int(k) for k in np.unravel_index(values.argmax(), values.shape))
        raise ValueError(
            f"beta times the range of the potential must be at most {_STEEPEST:g}, for rates not "
            f"to overflow; got beta = {beta:g} and values from {values.min():g} to "
            f"{values.max():g}, the largest in cell {cell}. A wall of height {1000 / beta:.3g} "
            "keeps everything in"
        )
    _require_moderate_rates(height / grid.narrowest**2, 1.0, grid)
    return values


def _require_moderate_rates(rate: float, beta: float, grid: Grid) -> None:
    """``ValueError`` where rates of order ``rate / beta`` overflow."""
    if not rate / beta <= _STEEPEST:
        raise ValueError(
            f"rates must be at most {_STEEPEST:g}, so that their products do not overflow; got "
            f"cells of width {grid.narrowest:g} and beta = {beta:g} with rates {rate:g} / "
            f"{beta:g}. Use units in which these are moderate"
        )


def refused_if_moving(problem: Problem, name: str) -> str:
    """The reason why a scheme that takes constant coefficients does not apply."""
    if not problem.time_dependent:
        return ""
    return (
        f"{name} takes coefficients that are fixed in time; use the default scheme, Exponential() "
        "in one dimension and Split() in two"
    )


def refused_if_cost_moves(problem: Problem, name: str) -> str:
    """The reason why a scheme of control problems that takes fixed costs does not apply."""
    if not problem.time_dependent:
        return ""
    return (
        f"{name} takes a running cost that is fixed in time; use the default scheme, "
        "DoobTransform(), or its at(t) from one output time to the next"
    )


def require_noise(equation: Any, what: str) -> None:
    """``ValueError`` for an equation without noise, where ``what`` needs some."""
    if equation.without_noise:
        raise ValueError(
            f"{what} needs noise, a finite beta; got {checks.shown(equation)}, without any. Give a "
            "large finite beta; solve, free_energy, compare and certify take beta = inf"
        )


def _apart(u: Array, v: Array) -> Iterator[Array]:
    """|u - v| in cache-sized parts, which avoids a temporary field."""
    u, v = u.ravel(), v.ravel()
    for start in range(0, u.size, _PART):
        yield np.abs(u[start : start + _PART] - v[start : start + _PART])
