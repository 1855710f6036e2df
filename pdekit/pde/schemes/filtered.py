"""Filtered finite differences: second order where u is smooth, convergent as a monotone scheme."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete import moving_fronts
from pdekit.pde.discrete.conservation import as_slopes
from pdekit.pde.discrete.fluxes import (
    Flux,
    godunov,
    of_gradient,
    one_sided_eno,
    slope_bounds,
    slopes,
)
from pdekit.pde.discrete.march import Advance, March
from pdekit.pde.discrete.monotone import (
    MOST_STEPS,
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
class Filtered:
    """u <- S_M u + eps dt F((S_A u - S_M u) / (eps dt)), F(x) = x for |x| <= 1 and 0 beyond.

    S_M is a monotone step (``Godunov`` with the same ``flux``), S_A a second-order one: ENO2
    slopes and Heun's two stages (SSP-RK2). A step is never further than eps dt from the monotone
    one, whose error it can change by at most eps t: with eps = ``epsilon`` sqrt(h) range(H) / sqrt
    of the box's width it converges to the viscosity solution for any S_A, and since S_A - S_M
    = O(dt h) where u is smooth, S_A is accepted there: order 2 away from kinks, and in L1.
    ``stats["filtered"]`` is the largest share of filtered cells of a step.
    Terms linear in u (``ViscousHJ``, ``HamiltonJacobiBellman`` on a line) by Strang splitting.
    Froese and Oberman (2013); Bokanowski, Falcone and Sahu (2016). Mathematics 1.2-1.3.

    Good values: the defaults; ``epsilon=0`` is the monotone scheme. inf f <= u <= sup f (less
    t H(0)) is enforced by clipping, which does no harm, as the true solution lies there. The
    comparison principle holds up to eps t only. There is a ``ResolutionWarning`` for a callable f
    that the cells do not resolve. Raises ``ConvergenceError`` if more than 10^7 steps would be
    needed.
    """

    cfl: float = 0.5
    flux: Flux = godunov
    epsilon: float = 2.0

    solves = (HamiltonJacobi, ViscousHJ, HamiltonJacobiBellman, Burgers)
    with_obstacle: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_cfl(self.cfl, self.flux)
        checks.not_negative("epsilon", self.epsilon)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        if moving_fronts.of_state(problem):
            return moving_fronts.refused_flux(self.flux)
        return refused(problem, "Filtered")

    def start(self, problem: Problem, stats: Stats) -> Advance:
        if problem.equation.carries_slope:
            return as_slopes(problem, self, stats)
        if moving_fronts.of_state(problem):
            warn_if_unresolved(problem)
            share = _share(self.epsilon, problem.grid)
            return moving_fronts.start(problem, stats, self.cfl, self.flux, share)
        run = _Run(self, problem, stats)
        warn_if_unresolved(problem)
        march = March(problem.start, run.over, stats)
        if problem.equation.controlled:
            return march
        low, high = float(problem.start.min()), float(problem.start.max())
        fall = float(run.steps.hamiltonian(np.zeros((1, problem.grid.dim)))[0])
        obstacle = problem.equation.obstacle

        def advance(t: float) -> Array:
            # the maximum principle of the monotone step; the run continues from
            # the unclipped u, so that intermediate output does not change the result
            if obstacle is None:
                return np.clip(march(t), low - fall * t, high - fall * t)
            top = np.inf if checks.time_dependent(obstacle) else high - min(fall, 0.0) * t
            return problem.raised(np.clip(march(t), low - fall * t, top), t)

        return advance


class _Run:
    """What does not change from step to step."""

    def __init__(self, scheme: Filtered, problem: Problem, stats: Stats) -> None:
        self.steps, self.stats = explicit(problem, scheme.cfl, scheme.flux), stats
        self.share = _share(scheme.epsilon, problem.grid)
        stats["filtered"] = 0.0

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another."""
        if self.steps.fusible:
            return self._fused(u, self.steps.weights, end - begin)
        return self.steps.repeated(self._step, u, begin, end)

    def _step(self, u: Array, left: float) -> tuple[Array, float]:
        """u after a step, and its length."""
        steps, linear = self.steps, self.steps.linear
        monotone, rate = steps.change(u)
        dt = steps.length(u, monotone, rate, left)
        if linear is not None:  # slopes do not grow, so that dt remains admissible
            u = linear(u, dt / 2)
            monotone, _ = steps.change(u)
        eps = self.share * float(np.ptp(monotone))
        if steps.weights is None:
            u, filtered = filtered_plain(
                u, monotone, dt, eps, steps.grid, steps.hamiltonian, steps.flux
            )
        else:
            u, filtered = filtered_fused(u, monotone, dt, eps, steps.grid, steps.weights)
        self.stats["filtered"] = max(self.stats["filtered"], filtered)
        return u if linear is None else linear(u, dt / 2), dt

    def _fused(self, u: Array, weights: Array | None, span: float) -> tuple[Array, int]:
        """All steps over ``span`` in place, where there is no linear part."""
        from pdekit.pde.kernels.filtered_march import march

        rates, periodic, field = as_plane(u, self.steps.grid, weights)
        field, buffer = field.copy(), np.empty((4, *field.shape))
        steps, filtered, dt = march(
            field, buffer, rates / 2, periodic, span, self.steps.cfl, self.share, MOST_STEPS
        )
        if steps < 0:
            raise too_steep(dt, span)
        self.stats["filtered"] = max(self.stats["filtered"], filtered / u.size)
        return field.reshape(u.shape), int(steps)


def _share(epsilon: float, grid: Grid) -> float:
    """eps over the range of H: goes to zero with h, but slower."""
    widths = np.subtract(grid.upper, grid.lower)
    return epsilon * float(np.sqrt((grid.spacing / widths).max()))


def filtered_plain(
    u: Array, monotone: Array, dt: float, eps: float, grid: Grid, hamiltonian: Any, flux: Flux
) -> tuple[Array, float]:
    """One filtered step from the monotone Hamiltonian of u, and the share of filtered cells."""

    def accurate(v: Array) -> Array:
        minus, plus = slopes(v, grid, one_sided_eno)
        return of_gradient(hamiltonian, minus, plus, slope_bounds(minus, plus), flux)

    first = accurate(u)
    rate = (first + accurate(u - dt * first)) / 2
    near = np.abs(rate - monotone) <= eps
    return u - dt * np.where(near, rate, monotone), 1 - float(near.mean())


def filtered_fused(
    u: Array, monotone: Array, dt: float, eps: float, grid: Grid, weights: Array
) -> tuple[Array, float]:
    """The same for Godunov's flux of sum_k a_k p_k^2 / 2, a pass over memory a stage."""
    from pdekit.pde.kernels.filtered_march import accurate, combine

    rates, periodic, field = as_plane(u, grid, weights)
    first, second, out = np.empty_like(field), np.empty_like(field), np.empty_like(field)
    accurate(field, periodic, rates / 2, first)
    accurate(field - dt * first, periodic, rates / 2, second)
    filtered = combine(
        field.ravel(), monotone.ravel(), first.ravel(), second.ravel(), dt, eps, out.ravel()
    )
    return out.reshape(u.shape), filtered / u.size
