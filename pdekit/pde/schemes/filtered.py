"""Filtered finite differences: second order where u is smooth, convergent as a monotone scheme."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.conservation import as_slopes
from pdekit.pde.discrete.fluxes import (
    Flux,
    godunov,
    of_gradient,
    one_sided_eno,
    slope_bounds,
    slopes,
)
from pdekit.pde.discrete.monotone import (
    MOST_STEPS,
    as_plane,
    hamiltonian_fused,
    hamiltonian_of,
    hamiltonian_plain,
    linear_part,
    refused,
    require_cfl,
    say_if_unresolved,
    steeper,
    step_within,
    sudden,
    too_steep,
)
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import Burgers, HamiltonJacobi, HamiltonJacobiBellman, ViscousHJ
from pdekit.pde.hamiltonians import Hamiltonian, square_weights


@dataclass(frozen=True)
class Filtered:
    """u <- S_M u + eps dt F((S_A u - S_M u) / (eps dt)), F(x) = x for |x| <= 1 and 0 beyond.

    S_M is a monotone step (``Godunov`` with the same ``flux``), S_A a second-order one: ENO2
    slopes and Heun's two stages (SSP-RK2). A step is never further than eps dt from the monotone
    one, whose error it can change by at most eps t: with eps = ``epsilon`` sqrt(h) range(H) / sqrt
    of the box's width it converges to the viscosity solution whatever S_A does, and since S_A - S_M
    = O(dt h) where u is smooth, S_A goes through there: order 2 away from kinks, and in L1.
    ``stats["filtered"]`` is the largest share of cells in which a step was held back.
    Terms linear in u (``ViscousHJ``, ``HamiltonJacobiBellman`` on a line) by Strang splitting.
    Froese and Oberman (2013); Bokanowski, Falcone and Sahu (2016). Mathematics 1.2-1.3.

    Good values: the defaults; ``epsilon=0`` is the monotone scheme. inf f <= u <= sup f (less
    t H(0)) is kept by what it costs, nothing: the true solution lies there. Order between solutions
    is kept up to eps t only. A callable f that the cells do not resolve is said
    (``ResolutionWarning``). Raises ``ConvergenceError`` if more than 10^7 steps
    would be needed.
    """

    cfl: float = 0.5
    flux: Flux = godunov
    epsilon: float = 2.0

    solves = (HamiltonJacobi, ViscousHJ, HamiltonJacobiBellman, Burgers)

    def __post_init__(self) -> None:
        require_cfl(self.cfl, self.flux)
        checks.not_negative("epsilon", self.epsilon)

    def refuses(self, problem: Problem) -> str:
        """What it cannot solve, and what can; "" where it can."""
        return refused(problem, "Filtered")

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        if isinstance(problem.equation, Burgers):
            return as_slopes(problem, self, stats)
        linear, hamiltonian = linear_part(problem), hamiltonian_of(problem.equation)
        weights = None
        if self.flux is godunov:
            weights = square_weights(hamiltonian, problem.grid.dim)
        state: dict[str, Any] = {"u": problem.values, "t": 0.0}
        stats["filtered"] = 0.0
        say_if_unresolved(problem)
        low, high = float(problem.values.min()), float(problem.values.max())
        bounded = isinstance(problem.equation, HamiltonJacobi | ViscousHJ)
        fall = float(hamiltonian(np.zeros((1, problem.grid.dim)))[0]) if bounded else 0.0

        def advance(t: float) -> Array:
            left = t - state["t"]
            if weights is not None and linear is None:
                state["u"] = self._march_fused(state["u"], problem.grid, weights, left, stats)
                left = 0.0
            while left > 0:
                dt = self._step(problem.grid, hamiltonian, weights, linear, state, left, stats)
                left = 0.0 if dt >= left else left - dt
                stats["steps"] += 1
            state["t"] = t
            u = np.asarray(state["u"])
            # what constants do: the maximum principle that the monotone step keeps; the run goes on
            # from u as it is, so that what is asked for on the way does not change the end
            return np.clip(u, low - fall * t, high - fall * t) if bounded else u

        return advance

    def _step(
        self,
        grid: Grid,
        hamiltonian: Hamiltonian,
        weights: Array | None,
        linear: Any,
        state: dict[str, Any],
        left: float,
        stats: Any,
    ) -> float:
        u = state["u"]
        monotone, rate = self._monotone(u, grid, hamiltonian, weights)
        if linear is not None:
            rate = max(steeper(linear, rate, self.cfl), sudden(u, monotone, grid, self.cfl))
        dt = step_within(rate, left, self.cfl, linear)
        if linear is not None:  # slopes do not grow beyond, so that dt stays allowed
            u = linear(u, dt / 2)
            monotone, _ = self._monotone(u, grid, hamiltonian, weights)
        eps = self._relative_width(grid) * float(np.ptp(monotone))
        if weights is None:
            u, held = filtered_plain(u, monotone, dt, eps, grid, hamiltonian, self.flux)
        else:
            u, held = filtered_fused(u, monotone, dt, eps, grid, weights)
        stats["filtered"] = max(stats["filtered"], held)
        state["u"] = u if linear is None else linear(u, dt / 2)
        return dt

    def _relative_width(self, grid: Grid) -> float:
        """eps over the range of H: goes to zero with h, but slower."""
        widths = np.subtract(grid.upper, grid.lower)
        return self.epsilon * float(np.sqrt((grid.spacing / widths).max()))

    def _march_fused(self, u: Array, grid: Grid, weights: Array, span: float, stats: Any) -> Array:
        """All steps over ``span`` in place, where there is no linear part."""
        from pdekit.pde.kernels.filtered_march import march

        rates, periodic, field = as_plane(u, grid, weights)
        field, room = field.copy(), np.empty((4, *field.shape))
        eps = self._relative_width(grid)
        steps, held, dt = march(field, room, rates / 2, periodic, span, self.cfl, eps, MOST_STEPS)
        if steps < 0:
            raise too_steep(dt, span)
        stats["steps"] += steps
        stats["filtered"] = max(stats["filtered"], held / u.size)
        return field.reshape(u.shape)

    def _monotone(
        self, u: Array, grid: Grid, hamiltonian: Hamiltonian, weights: Array | None
    ) -> tuple[Array, float]:
        if weights is None:
            return hamiltonian_plain(u, grid, hamiltonian, self.flux)
        return hamiltonian_fused(u, grid, weights)


def filtered_plain(
    u: Array, monotone: Array, dt: float, eps: float, grid: Grid, hamiltonian: Any, flux: Flux
) -> tuple[Array, float]:
    """One filtered step from the monotone Hamiltonian of u, and the share of cells held back."""

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
    held = combine(
        field.ravel(), monotone.ravel(), first.ravel(), second.ravel(), dt, eps, out.ravel()
    )
    return out.reshape(u.shape), held / u.size
