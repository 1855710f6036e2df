"""Transport without noise by finite volumes: upwind fluxes, limited slopes."""

import warnings
from dataclasses import dataclass
from math import inf

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, FieldError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete import transport
from pdekit.pde.discrete.march import Advance, March
from pdekit.pde.discrete.mean_field import warn_if_narrow
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import TransportStats
from pdekit.pde.equations import FokkerPlanck, McKeanVlasov

_EMPTY = 1e-14  # of the mass: a cell with less does not limit the step
_STEADY = 0.1  # cells by which a change of the velocity within a step may displace
_ROUNDING = 2e-14  # of the sizes that the free energy sums
_MOST = 100_000  # steps
_HALVINGS = 40  # of a step
_SHARE = 0.1  # of the mass in unresolved cells above which a warning is given
_WITHIN = 0.75  # of a cell: how far off the place of a mass narrower than it may be


@dataclass(frozen=True)
class Upwind:
    """rho_t = ∇·(rho ∇U) - ∇·(rho force), U = V or V + W * rho, by finite volumes: beta = inf.

    Through a face flows v rho, v = -(U_above - U_below) / h, with rho from the cell it comes from:
    the cell's value (``order`` = 1, the monotone upwind scheme), or a line within the cell with van
    Leer's monotonised central slope (``order`` = 2, MUSCL), in three stages of Shu and Osher's
    Runge-Kutta steps. Mass and sign are kept at any step, and on the grid, too, the free energy
    ∫ V rho + ½ ∬ W rho rho falls (Carrillo, Chertock and Huang 2015): with an interaction by
    repeating steps after which it has risen, otherwise by itself.

    Steps move what leaves a cell by at most ``cfl`` of what is in it (cells with less than 1e-14
    of the mass only send what they have), and are repeated where the velocity changes within them
    by more than a tenth of a cell per step. Order 2 where the density is smooth, 1 beside its
    kinks; in the wells it becomes narrower than the cells, which no scheme on cells can follow:
    then the mass is right up to a cell, and a ``ResolutionWarning`` is given where that is a tenth
    of the mass or more. ``.stats``: ``w1_error``, an estimate of the W1 distance from the solution
    by a second run on about half as many cells, and the width of unresolved cells (in the plane the
    larger of the distances of both marginals, below that of the densities); ``unresolved``, their
    share; ``largest_energy_step``, at most rounding.

    Raises ``ConvergenceError`` for more than 100,000 steps. Good values: as they are.
    """

    order: int = 2
    cfl: float = 0.9

    solves = (FokkerPlanck, McKeanVlasov)
    without_noise = True

    def __post_init__(self) -> None:
        if checks.whole("Upwind: order", self.order, 1) > 2:
            raise ValueError(f"Upwind: order must be 1 or 2, got {self.order!r}")
        if not 0 < checks.number("Upwind: cfl", self.cfl) <= 1:
            raise ValueError(f"Upwind: cfl must lie in (0, 1], got {self.cfl!r}")

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        if not problem.equation.without_noise:
            return "Upwind solves equations without noise, beta = math.inf; use the default scheme"
        if problem.time_dependent:
            return (
                "without noise (beta = inf) the potential and the force must be fixed in time; "
                "solve from one output time to the next with their at(t)"
            )
        return ""

    def start(self, problem: Problem, stats: TransportStats) -> Advance:
        run = _Run(self, transport.System(problem))
        if problem.equation.mean_field:
            warn_if_narrow(problem.equation.interaction, problem.grid, 1.0, stacklevel=5)
        second = _second(self, problem)
        stats["w1_error"], stats["unresolved"] = 0.0, 0.0
        energies = None if run.system.driven else stats.setdefault("energies", [run.energy])

        def over(rho: Array, begin: float, end: float) -> tuple[Array, int]:
            before, warned = run.steps, run.unresolved > _SHARE
            rho = run.to(end)
            error = _apart(run.system, second.system, rho, second.to(end))
            share = transport.unresolved(rho, problem.grid)
            width = float(problem.grid.spacing.max())
            error = (1.5 if self.order == 1 else 1.0) * error + _WITHIN * width * share
            stats["w1_error"] = max(error, stats["w1_error"])
            stats["unresolved"] = run.unresolved = max(share, run.unresolved)
            if energies is not None:
                energies.append(run.energy)
                stats["largest_energy_step"] = run.largest_rise
            if share > _SHARE and not warned:
                _warn(problem.grid, share, end)
            return rho, run.steps - before

        return March(problem.values, over, stats)


def _second(scheme: Upwind, problem: Problem) -> "_Run":
    """A run on about half as many cells; with a first-order one where V is known here only."""
    try:
        return _Run(scheme, transport.System(transport.on_half(problem)))
    except (FieldError, TypeError, ValueError):
        return _Run(Upwind(1), transport.System(problem))


def _apart(system: transport.System, other: transport.System, rho: Array, sigma: Array) -> float:
    """The largest W1 distance between the marginals along the axes."""
    return max(
        transport.marginal_w1(rho, system.grid, sigma, other.grid, axis)
        for axis in range(system.grid.dim)
    )


def _warn(grid: Grid, share: float, t: float) -> None:
    warnings.warn(
        f"at t = {t:g} {share:.0%} of the mass is where the density is narrower than the cells of "
        f"{grid}: without noise it concentrates, and only the mass of cells is right, up to their "
        f"width (.stats['w1_error']{', of the marginals' if grid.dim > 1 else ''}); use more "
        "cells, or on a line schemes.Quantiles()",
        ResolutionWarning,
        stacklevel=8,
    )


class _Run:
    """A density and the time it has reached."""

    def __init__(self, scheme: Upwind, system: transport.System) -> None:
        self.linear, self.cfl, self.system = scheme.order == 2, scheme.cfl, system
        self.rho, self.t, self.steps, self.dt = system.start, 0.0, 0, inf
        self.floor = _EMPTY * float(self.rho.sum())
        self.velocity, self.energy, self.size = system.state(self.rho)
        self.largest_rise, self.unresolved = -inf, 0.0

    def to(self, end: float) -> Array:
        while self.t < end:
            self._step(end - self.t)
            if self.steps > _MOST:
                raise ConvergenceError(
                    f"after {_MOST} steps the density is at t = {self.t:.3g} and still moves, by "
                    f"steps of {self.dt:.2g}; ask for earlier times, or use fewer cells"
                )
        return self.rho

    def _step(self, left: float) -> None:
        """One accepted step, at most ``left`` long."""
        rate = self.system.rate(self.rho, self.velocity, self.floor, self.linear)
        dt = min(left, self.cfl / rate if rate > 0 else inf, 2 * self.dt)
        rises = 0
        while True:
            rho, moved = self._stages(dt)
            if moved > _STEADY:
                dt *= min(0.8 * _STEADY / moved, 0.5)
            elif self._accepts(rho):
                break
            else:
                dt, rises = dt / 2, rises + 1
            if rises > _HALVINGS:
                raise ConvergenceError(
                    f"at t = {self.t:g} no step down to {dt:.2g} keeps the free energy from "
                    "rising; use fewer cells, or units in which V and W are moderate"
                )
        self.t, self.dt = (_end_of(self.t, left, dt), dt if dt < left else max(dt, self.dt))
        self.steps += 1

    def _stages(self, dt: float) -> tuple[Array, float]:
        """rho after dt, and by how many cells a change of the velocity has displaced."""
        system, rho = self.system, self.rho
        first = system.euler(rho, self.velocity, dt, self.linear)
        if not self.linear:
            return first, 0.0
        moved, velocity = 0.0, self.velocity
        if system.coupled:
            velocity = system.velocity(first)
            moved = dt * system.change(rho, self.velocity, velocity, self.floor)
            if moved > _STEADY:
                return first, moved
        second = 0.75 * rho + 0.25 * system.euler(first, velocity, dt, True)
        velocity = system.velocity(second) if system.coupled else velocity
        return rho / 3 + system.euler(second, velocity, dt, True) * (2 / 3), moved

    def _accepts(self, rho: Array) -> bool:
        """Keep the density where the free energy has not risen beyond rounding."""
        velocity, energy, size = self.system.state(rho)
        rise = energy - self.energy
        if self.system.coupled and rise > _ROUNDING * max(size, self.size):
            return False
        self.largest_rise = max(rise, self.largest_rise)
        self.rho, self.velocity, self.energy, self.size = rho, velocity, energy, size
        return True


def _end_of(t: float, left: float, dt: float) -> float:
    """The time after a step, exactly the end where that is all that is left."""
    return t + left if dt >= left else t + dt
