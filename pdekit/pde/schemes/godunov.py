"""Monotone finite differences for the Hamilton-Jacobi equations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.equations import HamiltonJacobi, HamiltonJacobiBellman, ViscousHJ
from pdekit.pde.fluxes import godunov, one_sided
from pdekit.pde.problem import Problem
from pdekit.pde.schemes.exponential import propagate
from pdekit.pde.schemes.spectral import discrete_heat

Array = NDArray[np.float64]
_MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Godunov:
    """u <- S_dt (u - dt H(D^- u, D^+ u)): Godunov's Hamiltonian, then the linear part exactly.

    The explicit half is monotone while dt sum_k max |D_k u| / h_k <= ``cfl`` <= 1; the step is
    chosen so, anew as the gradient falls. S_dt is the identity (``HamiltonJacobi``), the semigroup
    of the three-point Laplacian (``ViscousHJ``) or of the Scharfetter-Gummel generator
    (``HamiltonJacobiBellman``, one dimension): a Markov operator, so that the whole step is
    monotone, commutes with constants and does not expand the maximum norm. Two solutions compare
    exactly where their steps are the same (give both the same, close output times) and otherwise
    up to the error of the scheme. First order in h.
    MODEL 1.2-1.3. Raises ``ConvergenceError`` if more than 10^7 steps would be needed.
    """

    cfl: float = 0.9

    solves = (HamiltonJacobi, ViscousHJ, HamiltonJacobiBellman)

    def __post_init__(self) -> None:
        if not 0 < self.cfl <= 1:
            raise ValueError(f"cfl must lie in (0, 1] for a monotone step, got {self.cfl}")

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        linear = _linear_part(problem)
        state: dict[str, Any] = {"u": problem.values, "t": 0.0}

        def advance(t: float) -> Array:
            state["u"] = self._march(problem.grid, linear, state["u"], t - state["t"], stats)
            state["t"] = t
            return state["u"]

        return advance

    def _march(
        self, grid: Grid, linear: Callable[[Array, float], Array], u: Array, span: float, stats: Any
    ) -> Array:
        left = span
        while left > 0:
            hamiltonian, rate = hamiltonian_fused(u, grid)
            dt = left if rate * left <= self.cfl else self.cfl / rate
            if left / dt > _MOST_STEPS:
                raise ConvergenceError(
                    f"the CFL condition asks for steps of {dt:.2g} over a span of {left:.2g}: the "
                    "data are too steep for this grid; use schemes.HopfLax() or ColeHopf()"
                )
            u = linear(u - dt * hamiltonian, dt)
            left = 0.0 if dt >= left else left - dt
            stats["steps"] += 1
        return u


def hamiltonian_plain(u: Array, grid: Grid) -> tuple[Array, float]:
    """|∇u|^2 / 2 summed over the axes, and the rate sum_k max |p_k| / h_k that limits the step."""
    total, rate = np.zeros_like(u), 0.0
    for axis, h in enumerate(grid.spacing):
        minus, plus = one_sided(u, axis, h, grid.periodic[axis])
        total += godunov(minus, plus)
        rate += float(np.abs(minus).max()) / h
    return total, rate


def hamiltonian_fused(u: Array, grid: Grid) -> tuple[Array, float]:
    """The same in one pass over memory."""
    from pdekit.pde.godunov_kernel import hamiltonian

    spacing, periodic = grid.spacing, np.array(grid.periodic)
    if grid.dim == 1:
        spacing, periodic = np.repeat(spacing, 2), np.repeat(periodic, 2)
    out = np.empty_like(u)
    field, room = (np.atleast_2d(a) for a in (u, out))
    return out, hamiltonian(np.ascontiguousarray(field), spacing, periodic, room)


def _linear_part(problem: Problem) -> Callable[[Array, float], Array]:
    equation, grid = problem.equation, problem.grid
    if isinstance(equation, ViscousHJ):
        return lambda u, dt: discrete_heat(u, grid, dt / equation.beta)
    if isinstance(equation, HamiltonJacobiBellman):
        if grid.dim != 1 or problem.moves:
            raise ValueError(
                "HamiltonJacobiBellman is solved in one dimension for a potential fixed in time; "
                f"got {equation.potential!r} on a grid of {grid.dim} dimension(s)"
            )
        generator, cost = problem.generator(), problem.running_cost()
        return lambda u, dt: propagate(generator, u, dt, forward=False) + dt * cost
    return lambda u, dt: u
