"""Monotone finite differences for the Hamilton-Jacobi equations."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete import moving_fronts
from pdekit.pde.discrete.conservation import as_slopes
from pdekit.pde.discrete.fluxes import Flux, godunov
from pdekit.pde.discrete.march import Advance, March
from pdekit.pde.discrete.monotone import (
    MOST_STEPS,
    Explicit,
    as_plane,
    explicit,
    refused,
    require_cfl,
    too_steep,
    warn_if_unresolved,
)
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import Burgers, HamiltonJacobi, HamiltonJacobiBellman, ViscousHJ


@dataclass(frozen=True)
class Godunov:
    """u <- S_dt (u - dt H(D^- u, D^+ u)): a monotone Hamiltonian, then the linear part exactly.

    The explicit half is monotone while dt sum_k max |H'(D_k u)| / h_k <= ``cfl`` <= 1; the step is
    adapted as the gradient decreases. (H(x, p, t) takes ``godunov`` or ``lax_friedrichs``, with the
    condition of mathematics 1.3.7.) S_dt is the identity (``HamiltonJacobi``), the semigroup
    of the three-point Laplacian (``ViscousHJ``) or of the Scharfetter-Gummel generator
    (``HamiltonJacobiBellman``, one dimension): a Markov operator, so that the whole step is
    monotone, commutes with constants and does not expand the maximum norm. Two solutions compare
    exactly where their steps are the same (give both the same, close output times) and otherwise
    up to the error of the scheme. First order in h; the cell averages of ``Burgers`` are the
    differences of u, a finite-volume scheme. ``flux`` is a function of ``pde.discrete.fluxes``:
    ``godunov`` (least diffusive), ``engquist_osher`` or ``lax_friedrichs``, for any H, convex or
    not. With an ``obstacle`` every step ends with max(u, ψ), which is as monotone. Mathematics
    1.2-1.3. Raises ``ConvergenceError`` if more than 10^7 steps would be needed.
    """

    cfl: float = 0.9
    flux: Flux = godunov

    solves = (HamiltonJacobi, ViscousHJ, HamiltonJacobiBellman, Burgers)
    with_obstacle: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_cfl(self.cfl, self.flux)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        if moving_fronts.of_state(problem):
            return moving_fronts.refused_flux(self.flux)
        return refused(problem, "Godunov")

    def start(self, problem: Problem, stats: Stats) -> Advance:
        if problem.equation.carries_slope:
            return as_slopes(problem, self, stats)
        if moving_fronts.of_state(problem):
            warn_if_unresolved(problem)
            return moving_fronts.start(problem, stats, self.cfl, self.flux, None)
        steps = explicit(problem, self.cfl, self.flux)
        warn_if_unresolved(problem)

        def over(u: Array, begin: float, end: float) -> tuple[Array, int]:
            if steps.fusible:
                return _march_fused(u, problem.grid, steps.weights, end - begin, self.cfl)
            return steps.repeated(partial(_step, steps), u, begin, end)

        return March(problem.start, over, stats)


def _step(steps: Explicit, u: Array, left: float) -> tuple[Array, float]:
    """u after a step, and its length."""
    change, rate = steps.change(u)
    dt = steps.length(u, change, rate, left)
    u = u - dt * change
    return u if steps.linear is None else steps.linear(u, dt), dt


def _march_fused(
    u: Array, grid: Grid, weights: Array | None, span: float, cfl: float
) -> tuple[Array, int]:
    from pdekit.pde.kernels.monotone_march import march

    rates, periodic, field = as_plane(u, grid, weights)
    fields = (field.copy(), np.empty_like(field))
    last, steps, dt = march(*fields, rates, rates / 2, periodic, span, cfl, MOST_STEPS)
    if steps < 0:
        raise too_steep(dt, span)
    return fields[last].reshape(u.shape), int(steps)
