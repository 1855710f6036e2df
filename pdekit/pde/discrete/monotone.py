"""What explicit monotone schemes share: the numerical Hamiltonian, its step and the linear part."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.fluxes import Flux, godunov, of_gradient, slope_bounds, slopes, speeds
from pdekit.pde.discrete.laplacian import discrete_heat
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import propagate
from pdekit.pde.discrete.subcell import resolves, warn_unresolved
from pdekit.pde.hamiltonians import HALF_SQUARE, Hamiltonian

MOST_STEPS = 10_000_000


def say_if_unresolved(problem: Problem) -> None:
    """Warn where a function given as such does things between the nodes."""
    if not problem.equation.controlled and not resolves(problem):
        warn_unresolved(1.0, stacklevel=7)


def require_cfl(cfl: float, flux: Any) -> None:
    """Raise unless ``cfl`` allows a monotone step and ``flux`` is a function."""
    if not 0 < checks.number("cfl", cfl) <= 1:
        raise ValueError(f"cfl must lie in (0, 1] for a monotone step, got {cfl}")
    if isinstance(flux, type) or not callable(flux):
        raise TypeError(
            "flux must be a function of pdekit.pde.discrete.fluxes, such as fluxes.engquist_osher; "
            f"got {flux!r}"
        )


def step_within(rate: float, left: float, cfl: float, linear: "Linear | None") -> float:
    """The step that the CFL condition allows, at most ``left``."""
    dt = left if rate * left <= cfl else cfl / rate
    if not left <= dt * MOST_STEPS:
        raise too_steep(dt, left, linear)
    return dt


def too_steep(dt: float, left: float, linear: "Linear | None" = None) -> ConvergenceError:
    """The error, with what solves the equation at any time."""
    other = "schemes.HopfLax()" if linear is None else linear.instead
    return ConvergenceError(
        f"the CFL condition asks for steps of {dt:.2g} over a span of {left:.2g}: the data are too "
        f"steep for this grid; use {other}, or a coarser grid"
    )


def hamiltonian_of(equation: Any) -> Hamiltonian:
    """The equation's Hamiltonian; |p|^2 / 2 where it names none."""
    given = getattr(equation, "hamiltonian", None)
    return HALF_SQUARE if given is None else given


def hamiltonian_plain(
    u: Array, grid: Grid, hamiltonian: Hamiltonian = HALF_SQUARE, flux: Flux = godunov
) -> tuple[Array, float]:
    """H(D^- u, D^+ u), and the rate sum_k max |∂H/∂p_k| / h_k that limits the step."""
    minus, plus = slopes(u, grid)
    bounds = slope_bounds(minus, plus)
    rate = float((speeds(hamiltonian, bounds, flux) / grid.spacing).sum())
    return of_gradient(hamiltonian, minus, plus, bounds, flux), rate


def hamiltonian_fused(u: Array, grid: Grid, weights: Array | None = None) -> tuple[Array, float]:
    """The same for Godunov's flux of sum_k a_k p_k^2 / 2 in one pass over memory."""
    from pdekit.pde.kernels.monotone_march import sweep

    rates, periodic, field = as_plane(u, grid, weights)
    out = np.empty_like(field)
    falls = sweep(field, periodic, 0.0, -rates / 2, out)
    return out.reshape(u.shape), float((rates * falls).sum())


def as_plane(u: Array, grid: Grid, weights: Array | None) -> tuple[Array, Array, Array]:
    """a_k / h_k^2, walls and field of a plane; a line is a plane of one row."""
    a = np.ones(grid.dim) if weights is None else weights
    rates, periodic = a / grid.spacing**2, np.array(grid.periodic)
    if grid.dim == 1:
        rates, periodic = np.array([0.0, rates[0]]), np.array([True, periodic[0]])
    return rates, periodic, np.ascontiguousarray(np.atleast_2d(u))


@dataclass(frozen=True)
class Linear:
    """The semigroup of what is linear in u; ``growth`` of the rate of slopes by a running cost.

    ``instead``: the schemes that take any time.
    """

    apply: Callable[[Array, float], Array]
    instead: str
    growth: float = 0.0

    def __call__(self, u: Array, dt: float) -> Array:
        return self.apply(u, dt)


def steeper(linear: Linear, rate: float, cfl: float) -> float:
    """The rate r for steps of cfl / r, at whose end it has grown to r: r = rate + growth cfl / r.

    A flat value says nothing of the slopes that a running cost gives it within a long step.
    """
    growth = linear.growth
    return rate if growth == 0 else (rate + sqrt(rate * rate + 4 * growth * cfl)) / 2


def refused(problem: Problem, name: str) -> str:
    """What explicit monotone schemes cannot solve."""
    if problem.equation.controlled and problem.grid.dim != 1:
        return (
            f"{name} solves HamiltonJacobiBellman in one dimension, the grid has "
            f"{problem.grid.dim}; use the default scheme, DoobTransform(), or PolicyIteration()"
        )
    return ""


def linear_part(problem: Problem) -> Linear | None:
    """The semigroup of the terms that are linear in u; None where there are none."""
    equation, grid = problem.equation, problem.grid
    if equation.first_order:
        return None
    if not equation.controlled:
        return Linear(
            lambda u, dt: discrete_heat(u, grid, dt / equation.beta), "schemes.ColeHopf()"
        )
    generator, cost = problem.generator(), problem.running_cost()
    half = 0.5 * cost
    growth = float(np.abs(slopes(np.broadcast_to(cost, grid.shape), grid)).max())
    return Linear(
        lambda u, dt: propagate(generator, u + dt * half, dt, forward=False) + dt * half,
        "schemes.DoobTransform() or PolicyIteration(dt)",
        growth / grid.spacing[0],
    )


_SUDDEN = 0.5  # times sqrt(h / width): of the range, what H may take in a step beside diffusion


def sudden(u: Array, change: Array, grid: Grid, cfl: float) -> float:
    """The rate r for steps of cfl / r in which the Hamiltonian takes a small share of u's range.

    Where a step of the data is to be smoothed, half of it would be gone before it is. The share
    goes down with the cells, so that other cells tell what the splitting errs by.
    """
    share = _SUDDEN * sqrt(float((grid.spacing / np.subtract(grid.upper, grid.lower)).max()))
    fastest = max(float(change.max()), -float(change.min()))
    return fastest * cfl / max(share * float(np.ptp(u)), 1e-300)
