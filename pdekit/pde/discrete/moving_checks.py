"""Whether cells and steps resolve a Hamiltonian of place and time, and whether it is as it says."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.between_cells import between
from pdekit.pde.discrete.fluxes import slope_bounds, slopes
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.time_variation import ends_where_fast
from pdekit.pde.discrete.users_hamiltonians import check_hamiltonian, require_bounded_derivative
from pdekit.pde.state_dependent import at_state, parts_of
from pdekit.potentials.consistency import check_gradient, check_pointwise

_OF_THE_LARGEST = 0.01  # of a coefficient: what it may do between the centres
_OF_THE_BEND = 0.05  # of its second difference: what cubics miss of a wave of four cells
_SHARE = 0.25  # of the places: more than jumps and kinks along lines
_PLACES = 128  # at which the Hamiltonian is looked at within each step
_GOLDEN = 0.6180339887498949
_IN_TIME = 0.02  # of the range of u: what may be missed within the steps
_IN_ADVANCE = 0.1  # of that range, what H would do if it were always as in a pulse
_SLOPES = 257  # along an axis, at which a user's Hamiltonian is looked at


def check_coefficients(problem: Problem, until: float) -> None:
    """A ``ResolutionWarning`` for coefficients that the centres of the cells do not show."""
    grid = problem.grid
    steepest = np.abs(slope_bounds(*slopes(problem.values, grid))).max(1)
    for part in parts_of(problem.equation.hamiltonian):
        for t in _times(part, until):
            for what, f in _functions(part, steepest, t):
                _look_between(what, f, grid)


def _times(part: Any, until: float) -> tuple[float, ...]:
    moves = checks.declared(part, "depends_on_time") and isfinite(until)
    return (0.0, 0.37 * until, until) if moves else (0.0,)


def _functions(part: Any, steepest: Array, t: float) -> list[tuple[str, Any]]:
    """Named functions of points that make the part up, at a time."""
    found = [
        (what, given.at(t) if checks.time_dependent(given) else given)
        for what, fact in (("velocity", "velocities"), ("speed", "normal_speeds"))
        for given in checks.declared(part, fact) or ()
    ]
    functions = [
        (what, _Component(f, k) if what == "velocity" else f)
        for what, f in found
        if callable(f)
        for k in range(len(steepest) if what == "velocity" else 1)
    ]
    if not found and checks.declared(part, "of_state"):
        functions = [("Hamiltonian", _AtSlope(part, steepest, t))]
    return functions


@dataclass(frozen=True)
class _Component:
    """One of a vector field."""

    field: Any
    k: int

    def __call__(self, x: Any) -> Any:
        return np.asarray(self.field(x))[..., self.k]


@dataclass(frozen=True)
class _AtSlope:
    """H(., p, t)."""

    part: Any
    p: Array
    t: float

    def __call__(self, x: Any) -> Any:
        return self.part(np.broadcast_to(self.p, np.shape(x)), x, self.t)


def _look_between(what: str, f: Any, grid: Grid) -> None:
    for axis, n in enumerate(grid.cells):
        if n < 5:
            continue
        try:
            near, at, cubic = between(f, grid, axis)
        except Exception:  # it fails on points: said elsewhere
            return
        with np.errstate(invalid="ignore"):
            off, bend = np.abs(at - cubic), np.abs(np.diff(near, 2)).max(-1)
            counts = (off > _OF_THE_LARGEST * np.abs(near).max()) & (off > _OF_THE_BEND * bend)
        if counts.mean() > _SHARE:
            _warn_of_cells(what, float(np.median(off[counts])), float(counts.mean()), grid, axis)
            return


def _warn_of_cells(what: str, height: float, share: float, grid: Grid, axis: int) -> None:
    warnings.warn(
        f"the cells, of width {grid.spacing[axis]:.2g}, do not show what the {what} does between "
        f"their centres: at {share:.0%} of some places it is off its values around by "
        f"{height:.2g}. The answer belongs to another {what}; refine the grid until several cells "
        "make a wave, or leave the ripples out",
        ResolutionWarning,
        stacklevel=10,
    )


class TimeResolution:
    """What H does within the steps, beside a line between their ends."""

    def __init__(self, problem: Problem) -> None:
        self.hamiltonian, self.grid = problem.equation.hamiltonian, problem.grid
        size = problem.values.size
        k = np.arange(1, _PLACES + 1)
        flat = np.unique((np.modf(k * _GOLDEN)[0] * size).astype(int))
        self.cells = np.unravel_index(flat, problem.values.shape)
        self.range = float(np.ptp(problem.values))
        self.missed, self.steps = np.zeros(flat.size), 0

    def pulses(self, u: Array, until: float) -> list[float]:
        """Times between which H is nearly linear where it changes fast, seen in advance."""
        least = _IN_ADVANCE * self.range / until
        return ends_where_fast(self._at(u), until, least)

    def _at(self, u: Array) -> Callable[[float], Array]:
        """H at a time, at the places, for the slopes of u."""
        minus, plus = slopes(u, self.grid)
        pairs = zip(minus, plus, strict=True)
        p = np.stack([(a[self.cells] + b[self.cells]) / 2 for a, b in pairs], -1)
        x = self.grid.centres[self.cells]
        return lambda t: np.asarray(at_state(self.hamiltonian, x, t)(p), dtype=float)

    def look(self, u: Array, t: float, after: float) -> None:
        """Compare within the step from t."""
        self.steps += 1
        share = float(np.modf(self.steps * _GOLDEN)[0])
        at = [*map(self._at(u), (t, t + share * (after - t), after))]
        off = np.abs(at[1] - (1 - share) * at[0] - share * at[2])
        self.missed += (after - t) * off

    def report(self, stacklevel: int) -> None:
        """A ``ResolutionWarning`` where that adds up to much."""
        missed = float(self.missed.max(initial=0.0))
        if missed <= _IN_TIME * self.range:
            return
        self.missed[:] = 0
        warnings.warn(
            "the steps in time do not resolve how the Hamiltonian changes: what it does within "
            f"them, of which they know the ends, adds up to {missed:.2g}, where the data range "
            f"over {self.range:.2g}. Refine the grid or take a smaller cfl, which shortens them, "
            "or average over the fast change",
            ResolutionWarning,
            stacklevel=stacklevel,
        )


def check_state(hamiltonian: Any, values: Array, grid: Grid, until: float) -> None:
    """``ValueError`` where a user's part is no function of points, or its gradient another's."""
    bounds = slope_bounds(*slopes(values, grid))
    for part in parts_of(hamiltonian):
        if not checks.declared(part, "of_state"):
            check_hamiltonian(part, values, grid, explicit=True)
        elif checks.declared(part, "others"):
            for t in _times(part, until):
                _check_part(part, bounds, grid, t)


def _check_part(part: Any, bounds: Array, grid: Grid, t: float) -> None:
    x = grid.centres.reshape(-1, grid.dim)
    share = np.modf(np.arange(1, len(x) + 1)[:, None] * np.array([_GOLDEN, 0.7548776662466927]))[0]
    p = bounds[:, 0] + share[:, : grid.dim] * (bounds[:, 1] - bounds[:, 0])
    together = np.concatenate([x, p], -1)
    check_pointwise("H(x, p, t)", _joined(part, t), together, np.asarray(part(p, x, t)))
    for place in x[[0, len(x) // 3, len(x) - 1]]:
        here = at_state(part, place, t)
        if part.gradient is not None:
            check_gradient("the gradient of H(x, p, t)", here, p)
        for axis, (low, high) in enumerate(bounds):
            if low < high:
                line = np.linspace(low, high, _SLOPES)
                require_bounded_derivative(_along(here, axis, grid.dim), line)


def _joined(part: Any, t: float) -> Any:
    """H as a function of points and slopes side by side."""

    def joined(z: Array) -> Any:
        dim = z.shape[-1] // 2
        return part(z[..., dim:], z[..., :dim], t)

    return joined


def _along(here: Any, axis: int, dim: int) -> Any:
    way = np.arange(dim) == axis

    def along(s: Array) -> Any:
        return np.asarray(here(np.where(way, s[..., None], 0.0)), dtype=float)

    return along
