"""Certificates of functions: maximum and comparison principle, bounds, semiconcavity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.comparison.certificates.certificate import (
    Certificate,
    at_least,
    at_most,
    at_place,
    does_not_apply,
    worst,
)
from pdekit.comparison.certificates.rates import is_density, solves
from pdekit.comparison.semiconcavity import Window, semiconcavity
from pdekit.grid import Grid
from pdekit.pde.discrete.sampling import as_field, evaluate
from pdekit.pde.equations import (
    BackwardKolmogorov,
    HamiltonJacobi,
    HamiltonJacobiBellman,
    Heat,
    ViscousHJ,
)
from pdekit.pde.solution import Solution, solve
from pdekit.protocols import Field, Numbers

_BLURRED = 0.5  # relative to the distance of two solutions: error of minima between the cells


@dataclass(frozen=True)
class MaximumPrinciple:
    """min u(s) <= u(t) <= max u(s) for t > s: how far u leaves its earlier range.

    ``initial``: the data at time 0 if that is not stored, a callable or an array; without
    it the stored times are compared with the first. With running costs it does not apply; absorbing
    walls add zero to the range. Allowance: rounding, and for nonlinear equations h²/8 times the
    second difference, how far a minimum between two centres can lie below both; the range reaches
    down to where the lines beside a kink meet. Mathematics 1.1, 1.2, 1.5.
    """

    initial: Field | None = None

    @staticmethod
    def proved_for(result: object) -> bool:
        """Equations of functions."""
        functions = Heat, ViscousHJ, HamiltonJacobi, HamiltonJacobiBellman
        return solves(result, BackwardKolmogorov, *functions)

    def __call__(self, solution: Solution) -> Certificate:
        name, equation = "maximum principle", solution.equation
        if not self.proved_for(solution):
            return does_not_apply(name, f"not of {type(equation).__name__}")
        if getattr(equation, "running_cost", None) is not None:
            return does_not_apply(name, "a running cost moves the range")
        if getattr(equation, "hamiltonian", None) is not None:
            return does_not_apply(name, "stated for H = |p|²/2")
        if equation.obstacle is not None or _extended(solution):
            return does_not_apply(name, _moved(solution))
        fields = solution.fields
        first = fields[0] if self.initial is None else _data(self.initial, solution.grid)
        later = fields[1:] if self.initial is None else fields
        if not len(later):
            return does_not_apply(name, "it needs a later time, or initial=...")
        low, high = float(first.min()), float(first.max())
        if equation.supplied or getattr(equation, "killing", None) is not None:
            return does_not_apply(name, "killing and sources change the range")
        if equation.loses:
            low, high = min(low, 0.0), max(high, 0.0)
        allowance = _rounding(first)
        if not solves(solution, BackwardKolmogorov, Heat):  # which are linear
            allowance += _between_cells(first, solution.grid)
            low = min(low - _below_kinks(first, solution.grid), _at_walls(first, solution.grid))
        excess = np.maximum(later - high, low - later)
        padded = np.concatenate(
            [np.full((len(fields) - len(later), *first.shape), -np.inf), excess]
        )
        value, where = worst(solution, padded)
        return at_most(name, value, 0.0, allowance, where, f"range [{low:.4g}, {high:.4g}]")


@dataclass(frozen=True)
class ComparisonPrinciple:
    """u <= v at the first stored time is preserved: the largest u - v later is at most zero.

    ``above`` is v, a solution of the same equation on the same grid and times; does not apply
    if the first fields are not ordered. Also for densities (the linear equations preserve order).
    Allowance: rounding, and for schemes that minimise between the cells h²/8 times the
    second difference of u - v, by which two parabolas through the cells can cross; above an
    obstacle the estimated errors in time, as each solution has its own steps.
    """

    above: Solution

    def __post_init__(self) -> None:
        checks.has("ComparisonPrinciple: above", self.above, "a Solution", "fields", "times")

    def __call__(self, solution: Solution) -> Certificate:
        name = "comparison principle"
        reason = _unlike(solution, self.above)
        if reason:
            return does_not_apply(name, reason)
        apart = solution.fields - self.above.fields
        if apart[0].max() > 0:
            return does_not_apply(name, "the first fields are not ordered")
        apart[0] = -np.inf
        value, where = worst(solution, apart)
        size = float(np.abs(solution.fields[0]).max())
        allowance = 1e-9 * size + _between_minima(solution, self.above)
        if solution.equation.obstacle is not None:
            allowance += _by_steps(solution) + _by_steps(self.above)
        return at_most(name, value, 0.0, allowance, where)


@dataclass(frozen=True)
class NonExpansive:
    """The distance of two solutions never grows: sup |u - v|, of densities ∫ |rho - sigma|.

    ``other``: a solution of the same equation on the same grid and times. Value: the largest
    growth between stored times over the first distance. Allowance: rounding, and for schemes that
    minimise between the cells h²/8 times the second difference of u - v. Mathematics 1.2, 1.4.
    """

    other: Solution

    def __post_init__(self) -> None:
        checks.has("NonExpansive: other", self.other, "a Solution", "fields", "times")

    def __call__(self, solution: Solution) -> Certificate:
        name = "distances never grow"
        reason = _unlike(solution, self.other)
        if solution.equation.obstacle is not None:
            reason = reason or STOPPED
        if reason or len(solution.times) < 2:
            return does_not_apply(name, reason or "it needs two stored times")
        apart = np.abs(solution.fields - self.other.fields)
        d = apart.reshape(len(apart), -1)
        d = d.sum(1) if is_density(solution) else d.max(1)
        first = max(float(d[0]), 1e-300)
        growth, between = np.diff(d) / first, _between_minima(solution, self.other) / first
        if between > _BLURRED:
            return does_not_apply(name, "the cells are too coarse: minima "
                                  "between them may separate the two by their "
                                  "distance")  # fmt: skip
        k = int(np.argmax(np.where(np.isnan(growth), np.inf, growth)))
        where = at_place(solution, k + 1)
        return at_most(name, growth[k], 0.0, 1e-9 + between, where, "relative growth")


@dataclass(frozen=True)
class JensenBounds:
    """inf f <= u <= G * f (Jensen) for the local entropy, u <= f without viscosity.

    Mathematics 1.2, 1.3. ``initial`` f as for ``MaximumPrinciple`` (default: the field at time 0).
    G * f is computed as the solution of ``Heat`` on the same grid. Value: how far u lies outside.
    Allowance: h²/4 times the second difference of f, and rounding; inf f is at most that of the
    lines that meet between two centres in a kink.
    """

    initial: Field | None = None

    @staticmethod
    def proved_for(result: object) -> bool:
        """Hamilton-Jacobi smoothing."""
        return solves(result, ViscousHJ, HamiltonJacobi)

    def __call__(self, solution: Solution) -> Certificate:
        name, equation, grid = "between inf f and its mean", solution.equation, solution.grid
        plain = getattr(equation, "hamiltonian", None) is None
        if not (self.proved_for(solution) and plain):
            return does_not_apply(name, f"not of {type(equation).__name__}")
        if equation.obstacle is not None or _extended(solution):
            return does_not_apply(name, _moved(solution))
        first = _first(solution, self.initial)
        if first is None:
            return does_not_apply(name, "it needs the field at time 0, or initial=...")
        start = self.initial if callable(self.initial) else first
        if solves(solution, ViscousHJ):
            above = solve(Heat(equation.beta), grid, start, solution.times).fields
        else:
            above = np.broadcast_to(first, solution.fields.shape)
        low = min(float(first.min()) - _below_kinks(first, grid), _at_walls(first, grid))
        allowance = 2 * _between_cells(first, grid) + _rounding(first)
        outside = np.maximum(solution.fields - above, low - solution.fields)
        value, where = worst(solution, outside)
        return at_most(name, value, 0.0, allowance, where)


@dataclass(frozen=True)
class Agrees:
    """sup |u - reference| <= ``within``: two computations of the same quantity.

    ``reference``: a solution on the same grid that stores the same times, an array of the shape of
    the fields, or a callable (time, points) -> values.
    """

    reference: Solution | Numbers | Callable[[float, Array], Array]
    within: float

    def __post_init__(self) -> None:
        if not (callable(self.reference) or hasattr(self.reference, "fields")):
            what = "a Solution, an array of its fields or a function of time and points"
            if checks.numbers("Agrees: reference", self.reference, what).ndim < 2:
                raise ValueError(
                    f"Agrees: reference must be {what}, its first axis the times; got "
                    f"{checks.shown(self.reference)}"
                )
        checks.parameters(self, within=checks.positive)

    def __call__(self, solution: Solution) -> Certificate:
        other: Any = getattr(self.reference, "fields", self.reference)
        if callable(other):
            other = [other(t, solution.grid.centres) for t in solution.times]
        other = checks.numbers("Agrees: reference", other, "an array of the fields")
        if other.shape != solution.fields.shape:
            return does_not_apply("agrees", f"the reference has shape {other.shape}")
        value, where = worst(solution, np.abs(solution.fields - other))
        return at_most("agrees", value, self.within, 0.0, where)


@dataclass(frozen=True)
class Semiconcave:
    """sup u_kk(t) <= 1/(1/C_k + t), at the worst time and direction.

    Mathematics 1.8, thesis Lemma 4.17. The quantities, bounds and allowances are those of
    ``pk.semiconcavity``, Laplacian and harmonic mean at minima included; ``initial``,
    ``constants``, ``window`` and ``step`` are passed to it. Where data fall to a wall their
    reflection has C = infinity, and the bound is 1/t; a ``window`` that the kink at the wall does
    not reach has the bound of the data themselves.
    """

    initial: Field | None = None
    constants: float | Sequence[float] | None = None
    window: Window = None
    step: int = 1

    @staticmethod
    def proved_for(result: object) -> bool:
        """Hamilton-Jacobi smoothing."""
        return solves(result, ViscousHJ, HamiltonJacobi)

    def __call__(self, solution: Solution) -> Certificate:
        name, equation = "semiconcavity", solution.equation
        plain = getattr(equation, "hamiltonian", None) is None
        if not (self.proved_for(solution) and plain):
            return does_not_apply(name, "stated for u_t = -|∇u|²/2 + Δu/(2 beta)")
        if equation.obstacle is not None:
            return does_not_apply(name, STOPPED)
        known, window, step = self.constants, self.window, self.step
        if known is None and window is None and _falls_to_a_wall(solution, self.initial):
            known = np.inf  # of the data continued by reflection, which have a convex kink there
        try:
            found = semiconcavity(solution, self.initial, constants=known, window=window, step=step)
        except ValueError as error:
            return does_not_apply(name, str(error))
        rows = [
            (float(m[i] + s[i]), i, k, s[i])
            for k in [*found.constants, "minima"]
            for m, s in [(found.data[f"margin_{k}"].values, found.data[f"allowance_{k}"].values)]
            for i in range(len(m))
            if np.isfinite(m[i])
        ]
        if not rows:
            return does_not_apply(name, "every bound is infinite at the stored times")
        _, i, k, slack = min(rows, key=lambda row: row[:3])
        at = found.data.isel(time=i)
        value, bound = at[f"sup_{k}"].item(), at[f"bound_{k}"].item()
        where = f"{at_place(solution, i)}, direction {k}"
        return at_most(name, value, bound, slack + 1e-9 * abs(bound), where, f"worst is {k}")


def _falls_to_a_wall(solution: Solution, initial: Any) -> bool:
    """Whether the data, as far as they are there, have a lower value next to a wall than before."""
    grid = solution.grid
    if initial is None:
        if not np.isclose(solution.times[0], 0.0):
            return False
        f = solution.fields[0]
    else:
        f = np.asarray(initial(grid.centres) if callable(initial) else initial, dtype=float)
        if f.shape != grid.shape:
            return False
    slight = 1e-9 * float(np.ptp(f))
    walls = [np.moveaxis(f, k, 0) for k in range(grid.dim) if not grid.periodic[k]]
    return any(((u[1] - u[0] > slight) | (u[-2] - u[-1] > slight)).any() for u in walls)


@dataclass(frozen=True)
class HeatCurvature:
    """Under the heat equation sup v_kk never rises, for every axis. Mathematics 1.1.

    Second differences obey the same equation on the grid, continued as f is, by reflection at
    walls: a slope there is a kink. Allowance: rounding of the differences.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Heat smoothing."""
        return solves(result, Heat)

    def __call__(self, solution: Solution) -> Certificate:
        name = "heat lowers curvature"
        if not self.proved_for(solution) or len(solution.times) < 2:
            return does_not_apply(name, "of the heat equation at two or more times")
        if _extended(solution):
            return does_not_apply(name, BEYOND)
        grid, fields = solution.grid, solution.fields
        rises, slack = [], 0.0
        for k, h in enumerate(grid.spacing):
            beyond = [(0, 0)] * (k + 1) + [(1, 1)] + [(0, 0)] * (grid.dim - k - 1)
            padded = np.pad(fields, beyond, mode="wrap" if grid.periodic[k] else "symmetric")
            sup = np.diff(padded, 2, axis=k + 1).reshape(len(fields), -1).max(1) / h**2
            rises.append(np.diff(sup))
            slack = max(slack, 1e-11 * float(np.abs(fields).max()) / h**2)
        k = int(np.argmax(np.max(rises, axis=0)))
        return at_most(name, np.max(rises), 0.0, slack, at_place(solution, k + 1), "largest rise")


@dataclass(frozen=True)
class ImprovesOnIdle:
    """u <= v = E V_T(X) of the uncontrolled motion, everywhere (comparison). Mathematics (1.7.7).

    Of ``HamiltonJacobiBellman`` without a running cost; v is solved on the same grid and times.
    """

    initial: Field | None = None

    @staticmethod
    def proved_for(result: object) -> bool:
        """Value functions."""
        return solves(result, HamiltonJacobiBellman)

    def __call__(self, solution: Solution) -> Certificate:
        name, equation = "value below idle cost", solution.equation
        if not self.proved_for(solution) or equation.running_cost is not None:
            return does_not_apply(name, "of a control problem with a terminal cost only")
        if equation.obstacle is not None:
            return does_not_apply(name, STOPPED)
        first = _first(solution, self.initial)
        if first is None:
            return does_not_apply(name, "it needs the field at time 0, or initial=...")
        idle = BackwardKolmogorov(equation.potential, equation.beta)
        v = solve(idle, solution.grid, first, solution.times).fields
        saved = v - solution.fields
        value, where = worst(solution, saved, largest=False)
        return at_least(name, value, 0.0, 100 * _rounding(first), where)


STOPPED = "an obstacle raises the solution"
BEYOND = "it depends on data beyond the walls"


def _data(initial: Field, grid: Grid) -> Array:
    if callable(initial):
        return evaluate(initial, grid, "the initial data")
    return as_field(initial, grid, "the initial data")


def _first(solution: Solution, initial: Field | None) -> Array | None:
    if initial is not None:
        return _data(initial, solution.grid)
    return solution.fields[0] if solution.times[0] == 0 else None


def _between_cells(f: Array, grid: Grid) -> float:
    return sum(float(np.abs(np.diff(f, 2, axis=k)).max()) for k in range(grid.dim)) / 8


def _below_kinks(f: Array, grid: Grid) -> float:
    """How far kinks between the centres may lie below both: at most, summed over the axes.

    There the lines through the two centres on either side meet. Where f is smooth they do too, but
    its second differences go on beside the two, and it has no kink.
    """
    return sum(_below_kinks_of_lines(np.moveaxis(f, k, -1)) for k in range(grid.dim))


def _at_walls(f: Array, grid: Grid) -> float:
    """The least value at a wall, or beside a jump at the seam, by the parabola through three
    centres."""
    least = np.inf
    for axis in (k for k in range(grid.dim) if grid.cells[k] > 2):
        for ends in (np.moveaxis(f, axis, 0), np.moveaxis(f, axis, 0)[::-1]):
            least = min(least, float((15 * ends[0] - 10 * ends[1] + 3 * ends[2]).min()) / 8)
    return least


def _below_kinks_of_lines(f: Array) -> float:
    if f.shape[-1] < 6:
        return 0.0
    slope, bend = np.diff(f), np.diff(f, 2)
    down, up, here = slope[..., 1:-3], slope[..., 3:-1], f[..., 2:-3]  # beside an interval
    kink = np.minimum(bend[..., 1:-2], bend[..., 2:-1])
    smooth = np.clip(np.minimum(bend[..., :-3], bend[..., 3:]), 0.0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = (up - slope[..., 2:-2]) / (up - down)
        depth = np.minimum(here, f[..., 3:-2]) - (here + down * place)
        share = np.clip(1 - smooth / kink, 0.0, 1.0)
        found = np.where((down < 0) & (up > 0) & (kink > 0), depth * share, 0.0)
    return float(max(found.max(), 0.0))


def _rounding(f: Array) -> float:
    """Of fields from data f, also where a constant is much larger than their range."""
    return 1e-9 * max(float(np.ptp(f)), 1e-3 * float(np.abs(f).max()))


def _between_minima(solution: Solution, other: Solution) -> float:
    """How far minima between the cells can separate two solutions; zero for schemes on the cells
    only.

    Parabolas through f and g, each below its nodes, are no further apart than the nodes of f - g
    and an eighth of its second difference: once for a time, once for an earlier one, and twice for
    kinks. If one of the two was computed on finer nodes, their own second differences are used.
    """
    minima = solves(solution, ViscousHJ, HamiltonJacobi)
    if not (minima and getattr(solution.scheme, "refine", False)):
        return 0.0
    nodes = {one.stats.get("nodes_per_cell", 1) for one in (solution, other)}
    if nodes == {1} and solves(solution, ViscousHJ):
        return 0.0  # sums over the cells alone
    alike = len(nodes) == 1
    apart = solution.fields - other.fields if alike else np.concatenate([
        solution.fields, other.fields
    ])  # fmt: skip
    return 4 * max(_between_cells(field, solution.grid) for field in apart)


def _extended(solution: Solution) -> bool:
    """Whether it depends on data beyond the walls."""
    return bool(getattr(solution.scheme, "extend", False))


def _moved(solution: Solution) -> str:
    return BEYOND if _extended(solution) else STOPPED


def _by_steps(solution: Solution) -> float:
    """The estimated error in time, in the unit of the solution."""
    size = float(np.abs(solution.fields).max())
    return solution.stats.get("error_estimate", np.inf) * size


def _unlike(solution: Solution, other: Solution) -> str:
    if other.equation != solution.equation:
        return "the other solution is of another equation"
    if _extended(solution) or _extended(other):
        return BEYOND
    same = other.grid == solution.grid and np.array_equal(other.times, solution.times)
    return "" if same else "the other solution has another grid or times"
