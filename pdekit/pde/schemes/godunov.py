"""Monotone finite differences for the Hamilton-Jacobi equations."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.burgers import as_slopes
from pdekit.pde.equations import Burgers, HamiltonJacobi, HamiltonJacobiBellman, ViscousHJ
from pdekit.pde.fluxes import Flux, godunov, of_gradient, slope_bounds, slopes, speeds
from pdekit.pde.hamiltonians import HALF_SQUARE, Hamiltonian, square_weights
from pdekit.pde.problem import Problem
from pdekit.pde.schemes.exponential import propagate
from pdekit.pde.schemes.spectral import discrete_heat
from pdekit.pde.subcell import resolves, warn_unresolved

Array = NDArray[np.float64]
MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Godunov:
    """u <- S_dt (u - dt H(D^- u, D^+ u)): a monotone Hamiltonian, then the linear part exactly.

    The explicit half is monotone while dt sum_k max |H'(D_k u)| / h_k <= ``cfl`` <= 1; the step is
    chosen so, anew as the gradient falls. S_dt is the identity (``HamiltonJacobi``), the semigroup
    of the three-point Laplacian (``ViscousHJ``) or of the Scharfetter-Gummel generator
    (``HamiltonJacobiBellman``, one dimension): a Markov operator, so that the whole step is
    monotone, commutes with constants and does not expand the maximum norm. Two solutions compare
    exactly where their steps are the same (give both the same, close output times) and otherwise
    up to the error of the scheme. First order in h; the cell averages of ``Burgers`` are the
    differences of u, a finite-volume scheme. ``flux`` is a function of ``pdekit.pde.fluxes``:
    ``godunov`` (least diffusive), ``engquist_osher`` or ``lax_friedrichs``, for any H, convex or
    not. MODEL 1.2-1.3. Raises ``ConvergenceError`` if more than 10^7 steps would be needed.
    """

    cfl: float = 0.9
    flux: Flux = godunov

    solves = (HamiltonJacobi, ViscousHJ, HamiltonJacobiBellman, Burgers)

    def __post_init__(self) -> None:
        require_cfl(self.cfl, self.flux)

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        if isinstance(problem.equation, Burgers):
            return as_slopes(problem, self, stats)
        linear, hamiltonian = linear_part(problem), hamiltonian_of(problem.equation)
        state: dict[str, Any] = {"u": problem.values, "t": 0.0}
        say_if_unresolved(problem)

        def advance(t: float) -> Array:
            span = t - state["t"]
            state["u"] = self._march(problem.grid, hamiltonian, linear, state["u"], span, stats)
            state["t"] = t
            return state["u"]

        return advance

    def _march(
        self, grid: Grid, hamiltonian: Hamiltonian, linear: Any, u: Array, span: float, stats: Any
    ) -> Array:
        weights = square_weights(hamiltonian, grid.dim) if self.flux is godunov else None
        if weights is not None and linear is None:
            return _march_fused(u, grid, weights, span, self.cfl, stats)
        left = span
        while left > 0:
            if weights is not None:
                change, rate = hamiltonian_fused(u, grid, weights)
            else:
                change, rate = hamiltonian_plain(u, grid, hamiltonian, self.flux)
            dt = step_within(steeper(linear, rate, self.cfl), left, self.cfl)
            u = u - dt * change
            u = linear(u, dt) if linear is not None else u
            left = 0.0 if dt >= left else left - dt
            stats["steps"] += 1
        return u


def say_if_unresolved(problem: Problem) -> None:
    """Warn where a function given as such does things between the nodes."""
    if isinstance(problem.equation, HamiltonJacobi | ViscousHJ) and not resolves(problem):
        warn_unresolved(1.0, stacklevel=5)


def require_cfl(cfl: float, flux: Any) -> None:
    """Raise unless ``cfl`` allows a monotone step and ``flux`` is a function."""
    if not 0 < checks.number("cfl", cfl) <= 1:
        raise ValueError(f"cfl must lie in (0, 1] for a monotone step, got {cfl}")
    if isinstance(flux, type) or not callable(flux):
        raise TypeError(
            "flux must be a function of pdekit.pde.fluxes, such as fluxes.engquist_osher; "
            f"got {flux!r}"
        )


def step_within(rate: float, left: float, cfl: float) -> float:
    """The step that the CFL condition allows, at most ``left``."""
    dt = left if rate * left <= cfl else cfl / rate
    if not left <= dt * MOST_STEPS:
        raise too_steep(dt, left)
    return dt


def too_steep(dt: float, left: float) -> ConvergenceError:
    return ConvergenceError(
        f"the CFL condition asks for steps of {dt:.2g} over a span of {left:.2g}: the data are too "
        "steep for this grid; use schemes.HopfLax() or ColeHopf(), or a coarser grid"
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
    from pdekit.pde.godunov_kernel import sweep

    rates, periodic, field = as_plane(u, grid, weights)
    out = np.empty_like(field)
    falls = sweep(field, periodic, 0.0, -rates / 2, out)
    return out.reshape(u.shape), float((rates * falls).sum())


def _march_fused(
    u: Array, grid: Grid, weights: Array, span: float, cfl: float, stats: Any
) -> Array:
    from pdekit.pde.godunov_kernel import march

    rates, periodic, field = as_plane(u, grid, weights)
    fields = (field.copy(), np.empty_like(field))
    last, steps, dt = march(*fields, rates, rates / 2, periodic, span, cfl, MOST_STEPS)
    if steps < 0:
        raise too_steep(dt, span)
    stats["steps"] += steps
    return fields[last].reshape(u.shape)


def as_plane(u: Array, grid: Grid, weights: Array | None) -> tuple[Array, Array, Array]:
    """a_k / h_k^2, walls and field of a plane; a line is a plane of one row."""
    a = np.ones(grid.dim) if weights is None else weights
    rates, periodic = a / grid.spacing**2, np.array(grid.periodic)
    if grid.dim == 1:
        rates, periodic = np.array([0.0, rates[0]]), np.array([True, periodic[0]])
    return rates, periodic, np.ascontiguousarray(np.atleast_2d(u))


@dataclass(frozen=True)
class Linear:
    """The semigroup of what is linear in u; ``growth`` of the rate of slopes by a running cost."""

    apply: Callable[[Array, float], Array]
    growth: float = 0.0

    def __call__(self, u: Array, dt: float) -> Array:
        return self.apply(u, dt)


def steeper(linear: Linear | None, rate: float, cfl: float) -> float:
    """The rate r for steps of cfl / r, at whose end it has grown to r: r = rate + growth cfl / r.

    A flat value says nothing of the slopes that a running cost gives it within a long step.
    """
    growth = 0.0 if linear is None else linear.growth
    return rate if growth == 0 else (rate + sqrt(rate * rate + 4 * growth * cfl)) / 2


def linear_part(problem: Problem) -> Linear | None:
    """The semigroup of the terms that are linear in u; None where there are none."""
    equation, grid = problem.equation, problem.grid
    if isinstance(equation, ViscousHJ):
        return Linear(lambda u, dt: discrete_heat(u, grid, dt / equation.beta))
    if isinstance(equation, HamiltonJacobiBellman):
        if grid.dim != 1 or problem.moves:
            raise ValueError(
                "HamiltonJacobiBellman is solved in one dimension for a potential fixed in time; "
                f"got {equation.potential!r} on a grid of {grid.dim} dimension(s)"
            )
        generator, cost = problem.generator(), problem.running_cost()
        half = 0.5 * cost
        growth = float(np.abs(slopes(np.broadcast_to(cost, grid.shape), grid)).max())
        return Linear(
            lambda u, dt: propagate(generator, u + dt * half, dt, forward=False) + dt * half,
            growth / grid.spacing[0],
        )
    return None
