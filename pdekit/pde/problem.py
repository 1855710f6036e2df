"""A problem: an equation on a grid with its initial data, validated once and sampled on demand."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.errors import TruncationWarning
from pdekit.grid import Grid
from pdekit.pde import fitted
from pdekit.pde.equations import (
    BackwardKolmogorov,
    FokkerPlanck,
    HamiltonJacobiBellman,
    Heat,
    McKeanVlasov,
)
from pdekit.pde.generators import Generator, scharfetter_gummel
from pdekit.pde.inputs import as_field, evaluate

Array = NDArray[np.float64]
_PART = 1 << 14
LOST_MASS = 1e-6  # probability beyond the walls above which a truncation is reported


@dataclass(frozen=True, eq=False)
class Problem:
    """What a scheme is handed: ``equation`` on ``grid`` from ``initial``.

    ``initial`` is a law (densities only), a callable on points ``(..., d) -> (...)`` or an array
    of ``grid.shape``. ``until`` is the last time that will be asked for, where it is known: by it
    schemes share out their tolerance, so that it holds for all output times together.
    """

    equation: Any
    grid: Grid
    initial: Any
    until: float | None = None

    @property
    def is_density(self) -> bool:
        return isinstance(self.equation, FokkerPlanck | McKeanVlasov)

    @cached_property
    def values(self) -> Array:
        """Initial data at the cell centres, shape ``grid.shape``."""
        if self.is_density:
            return _density(self.initial, self.grid)
        return self.sample(self.grid)

    def sample(self, grid: Grid, outside: bool = False) -> Array:
        """Initial function at the centres of another grid on the same (or a larger) box.

        A callable is evaluated there; an array is interpolated by a cubic spline within its box.
        """
        if hasattr(self.initial, "pdf"):
            raise TypeError(
                f"{type(self.equation).__name__} starts from a function (a potential, a callable "
                f"or an array of shape {self.grid.shape}), got the law {self.initial!r}"
            )
        costly = isinstance(self.equation, HamiltonJacobiBellman)
        what = "the terminal cost" if costly else "the initial function"
        if callable(self.initial):
            return evaluate(self.initial, grid, what)
        if outside:
            raise ValueError(
                "initial data given as an array say nothing beyond the box; pass a callable, or "
                "leave out the extension"
            )
        values = as_field(self.initial, self.grid, what)
        return values if grid == self.grid else _spline(values, self.grid, grid)

    def potential(self, t: float = 0.0, grid: Grid | None = None) -> Array:
        """The equation's potential at the centres, at time ``t`` where it changes in time."""
        where = grid or self.grid
        if not self.moves:
            own = where.dim == 1 and where == self.grid
            return self._line if own else evaluate(self.equation.potential, where, "the potential")
        if len(self.kinks) < 2:
            return evaluate(self.equation.potential.at(t), where, "the potential")
        k = int(np.clip(np.searchsorted(self.kinks, t) - 1, 0, len(self.kinks) - 2))
        t0, t1 = self.kinks[k], self.kinks[k + 1]
        weight = min(max((t - t0) / (t1 - t0), 0.0), 1.0)
        return (1 - weight) * self._stored(k, where) + weight * self._stored(k + 1, where)

    @cached_property
    def _line(self) -> Array:
        """The potential on a line, kept: it is asked for several times, and small."""
        return evaluate(self.equation.potential, self.grid, "the potential")

    @cached_property
    def _stored(self) -> Callable[[int, Grid], Array]:
        """The potential at its k-th stored time on a grid; recent ones are kept."""
        potential = self.equation.potential

        @lru_cache(4)
        def field(k: int, grid: Grid) -> Array:
            return evaluate(potential.at(self.kinks[k]), grid, "the potential")

        return field

    def running_cost(self) -> Array | float:
        """The running cost of a control problem at the centres, 0.0 where there is none."""
        cost = self.equation.running_cost
        return 0.0 if cost is None else evaluate(cost, self.grid, "the running cost")

    @property
    def moves(self) -> bool:
        """Whether the coefficients depend on time."""
        return hasattr(getattr(self.equation, "potential", None), "at")

    @cached_property
    def kinks(self) -> list[float]:
        """``potential.times``: the stored times between which a potential is linear in time."""
        times = getattr(getattr(self.equation, "potential", None), "times", ())
        return [float(t) for t in times]

    @cached_property
    def average(self) -> float:
        """The mean of the initial data over the cells."""
        return float(self.values.mean())

    def distance(self, u: Array, v: Array) -> float:
        """L1 over the initial mass for densities; else the maximum over that of the data."""
        if self.is_density:
            mass = max(self.average * v.size, 1e-300)
            return sum(float(part.sum()) for part in _apart(u, v)) / mass
        largest = max(float(self.values.max()), -float(self.values.min()), 1e-300)
        return max(float(part.max()) for part in _apart(u, v)) / largest

    def generator(self, t: float = 0.0, grid: Grid | None = None) -> Generator:
        """Generator of a linear equation (or of the linear part of HJB)."""
        where = grid or self.grid
        if isinstance(self.equation, Heat):
            return scharfetter_gummel(np.zeros(where.shape), 2 * self.equation.beta, where)
        values = self.potential(t, where)
        if not fitted.is_general(self.equation):
            return scharfetter_gummel(values, self.equation.beta, where)
        return fitted.generator(replace(self._sampled(where), values=values))

    @cached_property
    def _sampled(self) -> Callable[[Grid], fitted.Coefficients]:
        """Force and diffusion on a grid, sampled once; recent grids are kept."""
        return lru_cache(4)(lambda grid: fitted.sample(self.equation, grid))

    @property
    def absorbing(self) -> tuple[tuple[bool, bool], ...]:
        """Per axis, whether the lower and the upper wall absorb."""
        walls = getattr(self.equation, "absorbing", None)
        if walls is None:
            return ((False, False),) * self.grid.dim
        return walls.per_axis(self.grid.periodic)

    @property
    def conserves(self) -> bool:
        """Whether the mass of a density is kept: no wall absorbs."""
        return not any(map(any, self.absorbing))

    @property
    def forward(self) -> bool:
        """Whether the transposed generator acts (densities) or the generator itself."""
        return not isinstance(self.equation, BackwardKolmogorov)


def _density(initial: Any, grid: Grid) -> Array:
    if hasattr(initial, "pdf"):
        return _from_law(initial, grid)
    if callable(initial):
        rho = evaluate(initial, grid, "the initial density")
    else:
        rho = as_field(initial, grid, "the initial density")
    if rho.min() < 0:
        cell = tuple(int(k) for k in np.unravel_index(rho.argmin(), rho.shape))
        raise ValueError(
            f"an initial density must not be negative; it is {rho.min():g} in cell {cell}"
        )
    if not rho.sum() > 0:
        raise ValueError("the initial density has no mass on the grid; it is zero in every cell")
    return rho


def steady(equation: Any, grid: Any, kinds: tuple[type, ...], what: str) -> Problem:
    """The problem behind a question of ``what`` to an equation that does not change in time.

    Raises ``TypeError`` for an equation of other ``kinds`` or for no grid, ``ValueError`` for a
    potential that moves.
    """
    if not isinstance(equation, kinds):
        *others, last = (kind.__name__ for kind in kinds)
        named = f"{', '.join(others)} or {last}"
        raise TypeError(f"{what} belongs to a linear equation, {named}; got {equation!r}")
    if not isinstance(grid, Grid):
        raise TypeError(f"grid must be a pdekit.Grid, such as Grid(-3, 3, 600); got {grid!r}")
    problem = Problem(equation, grid, None)
    if problem.moves:
        raise ValueError(f"{what} belongs to a potential that does not change in time")
    return problem


def _from_law(law: Any, grid: Grid) -> Array:
    if isinstance(law, type):
        raise TypeError(
            f"the initial law must be a value, got the class; write {law.__name__}(...)"
        )
    inside = float(law.mass(grid))
    box = f"[{grid.lower}, {grid.upper}]"
    if inside < 0.5:
        raise ValueError(
            f"the initial law {law!r} has only {inside:.3g} of its mass inside the grid {box}; "
            "move the law or enlarge the grid"
        )
    if 1 - inside > LOST_MASS:
        warnings.warn(
            f"the initial law {law!r} has mass {1 - inside:.3g} beyond the grid {box}; the rest "
            "was scaled to unit mass. Enlarge the grid to keep it",
            TruncationWarning,
            stacklevel=2,
        )
    rho: Array = np.asarray(law.density(grid), dtype=float)
    total = float(grid.integrate(rho))
    if not total > 0:
        raise ValueError(f"the initial law {law!r} has no mass on the grid {box}")
    return rho / total


def _spline(values: Array, grid: Grid, fine: Grid) -> Array:
    """Cubic spline through a field, at the centres of another grid on the same box."""
    from scipy.interpolate import CubicSpline

    out = values
    for axis in range(grid.dim):
        nodes, boundary = grid.axes[axis], "not-a-knot"
        if grid.periodic[axis]:
            nodes = np.append(nodes, nodes[0] + grid.upper[axis] - grid.lower[axis])
            out = np.concatenate([out, np.take(out, [0], axis)], axis)
            boundary = "periodic"
        out = CubicSpline(nodes, out, axis, bc_type=boundary)(fine.axes[axis])
    return out


def _apart(u: Array, v: Array) -> Iterator[Array]:
    """|u - v| in parts that stay in cache: a field of it would cost more than the sums."""
    u, v = u.ravel(), v.ravel()
    for start in range(0, u.size, _PART):
        yield np.abs(u[start : start + _PART] - v[start : start + _PART])


def wall_mass(
    rho: Array, grid: Grid, absorbing: tuple[tuple[bool, bool], ...] | None = None
) -> Array:
    """Mass that the no-flux walls hold back: the tail beyond each wall, were the decay to go on.

    Per wall and line: rho_wall / rate with the logarithmic decay rate over the last twentieth of
    the box (at the wall itself the slope is what no-flux makes it); where the density does not
    decay towards the wall, the mass of one box width. Within a small factor, on the high
    side where diffusion is reflected. Leading axes of ``rho`` are times, one number each.
    """
    lost: Array = np.zeros(rho.shape[: rho.ndim - grid.dim])
    for axis in range(grid.dim):
        if grid.periodic[axis]:
            continue
        lines = np.moveaxis(rho, axis - grid.dim, 0)
        h, width = grid.spacing[axis], grid.upper[axis] - grid.lower[axis]
        k = max(1, grid.cells[axis] // 20)
        takes = absorbing[axis] if absorbing is not None else (False, False)
        ends = [(0, k), (-1, -1 - k)]
        walls = [end for end, taken in zip(ends, takes, strict=True) if not taken]
        last, before = lines[[a for a, _ in walls]], lines[[b for _, b in walls]]
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = (np.log(before) - np.log(last)) / (k * h)
        reach = np.where(rate > 1 / width, 1 / np.where(rate > 0, rate, 1.0), width)
        across = (0, *range(1 + lost.ndim, last.ndim))
        lost += np.sum(last * reach, across) * grid.cell_volume / h
    return lost
