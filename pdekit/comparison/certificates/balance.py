"""Certificates of balance: currents, stationary densities, entropy production, duality."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pdekit import checks
from pdekit.comparison.certificates.certificate import (
    Certificate,
    at_least,
    at_most,
    at_place,
    does_not_apply,
    worst,
)
from pdekit.comparison.certificates.rates import (
    COARSE,
    integrals,
    irreversible,
    not_linear,
    reversible,
    solves,
)
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import BackwardKolmogorov, FokkerPlanck
from pdekit.pde.solution import Solution
from pdekit.pde.stationary.free_energy import dissipation, free_energy
from pdekit.pde.stationary.nonequilibrium import entropy_production, housekeeping
from pdekit.pde.stationary.stationary import change, current, detailed_balance, stationary


@dataclass(frozen=True)
class DetailedBalance:
    """The stationary state carries no current: net over gross flow is zero to rounding.

    ``note`` gives the entropy production of the stationary state, ``where`` the largest current.
    Mathematics 1.11; thesis Definition 6.14.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Reversible linear equations of densities."""
        return solves(result, FokkerPlanck) and reversible(result.equation)

    def __call__(self, solution: Solution) -> Certificate:
        return _balance("detailed balance", solution, at_most, 0.0, 1e-11)


@dataclass(frozen=True)
class BrokenBalance:
    """The stationary state carries a current: net over gross flow exceeds rounding."""

    def __call__(self, solution: Solution) -> Certificate:
        return _balance("detailed balance is broken", solution, at_least, 1e-9, 0.0)


@dataclass(frozen=True)
class SecondLaw:
    """β (F(0) - F(t)) = ∫ (entropy production - housekeeping) dt >= 0, F = β⁻¹ KL(rho | rho_ss).

    What the stationary current costs does not move the free energy: mathematics 1.11,
    thesis (6.24). The largest difference of the two sides over the stored times, relative to the
    entropy produced; the rates are sums over cells of second order. Allowance: their distance from
    the generator's own dissipation, the trapezia's from a spline in time, and 1e-6.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Driven linear equations of densities."""
        if not solves(result, FokkerPlanck) or result.equation.without_noise:
            return False
        return not reversible(result.equation)

    def __call__(self, solution: Solution) -> Certificate:
        name = "entropy balance"
        reason = not_linear(solution)
        if not reason and len(solution.times) < 5:
            reason = "the integral over time needs five stored times"
        if reason:
            return does_not_apply(name, reason)
        equation, grid, times = solution.equation, solution.grid, solution.times
        try:
            total, kept = np.array(
                [
                    (entropy_production(equation, rho, grid), housekeeping(equation, rho, grid))
                    for rho in solution.fields
                ]
            ).T
        except ValueError as error:
            return does_not_apply(name, str(error))
        free, own = free_energy(solution).values, dissipation(solution).values
        fall = equation.beta * (free[0] - free[1:])
        fine, coarse = (np.cumsum(v) for v in integrals(times, total - kept))
        size = max(float(np.cumsum(integrals(times, total)[1])[-1]), 1e-300)
        cells = np.cumsum(integrals(times, total - kept - equation.beta * own)[0])
        allowance = float(np.abs(fine - coarse).max() + np.abs(cells).max()) / size + 1e-6
        defect = np.abs(fall - fine) / size
        k = int(np.argmax(np.where(np.isnan(defect), np.inf, defect)))
        if allowance > COARSE:
            return does_not_apply(name, f"cells or times too coarse: open by {allowance:.2g}")
        return at_most(name, defect[k], 0.0, allowance, at_place(solution, k + 1), "relative")


@dataclass(frozen=True)
class Stationary:
    """rho_t = 0 at the last stored time: Σ |rho_t| over the gross flow is at most ``within``.

    For a density that is claimed to be stationary for an equation; rho_t = L^T rho with what is
    supplied and reset.
    """

    within: float = 1e-9

    def __post_init__(self) -> None:
        checks.parameters(self, within=checks.positive)

    def __call__(self, solution: Solution) -> Certificate:
        name = "stationary"
        if not solves(solution, FokkerPlanck):
            return does_not_apply(name, "only of a linear equation of densities")
        problem = Problem(solution.equation, solution.grid, None)
        if problem.time_dependent:
            return does_not_apply(name, "the coefficients change in time")
        if checks.declared(solution.scheme, "without_generator"):
            return does_not_apply(name, "its scheme does not move it by the generator")
        if solution.equation.without_noise:
            return does_not_apply(name, irreversible(solution.equation))
        generator, rho = problem.generator(), solution.fields[-1]
        changed = np.abs(change(problem)(rho))
        value = float(changed.sum() / (2 * generator.exit_rate() * np.abs(rho)).sum())
        return at_most(name, value, 0.0, self.within, worst(solution, changed[None])[1])


@dataclass(frozen=True)
class Duality:
    """<u(T - t), rho(t)> does not depend on t: the backward operator is the transpose.

    ``backward`` is a solution of ``BackwardKolmogorov`` with the same fields, grid and, for all
    stored t, the time to go T - t (T the last time of ``horizon``, by default their last).
    Relative to ∫ |u| rho; allowance 1e-8, the error of exact schemes, plus the ``tolerance`` of
    each scheme that has one. Not for supplies, which change <u, rho>. Mathematics 1.5.
    """

    backward: Solution

    def __post_init__(self) -> None:
        checks.has("Duality: backward", self.backward, "a Solution", "fields", "equation", "grid")

    def __call__(self, solution: Solution) -> Certificate:
        name = "duality"
        back = self.backward
        if not (solves(solution, FokkerPlanck) and solves(back, BackwardKolmogorov)):
            return does_not_apply(name, "it takes a Fokker-Planck and a backward solution")
        if checks.declared(solution.scheme, "without_generator"):
            return does_not_apply(name, "its scheme does not move it by the generator")
        if solution.equation.supplied or back.equation.supplied:
            return does_not_apply(name, "there is a supply, which changes <u, rho>")
        if back.equation.obstacle is not None:
            return does_not_apply(name, "the value of stopping is no expectation")
        horizon = float(max(solution.times[-1], back.times[-1]))
        pairs = [
            (k, j)
            for k, t in enumerate(solution.times)
            for j, s in enumerate(back.times)
            if np.isclose(t + s, horizon, rtol=1e-9)
        ]
        if len(pairs) < 2 or back.grid != solution.grid:
            return does_not_apply(name, "they share fewer than two pairs of times t and T - t")
        grid = solution.grid
        means = np.array([grid.integrate(solution.fields[k] * back.fields[j]) for k, j in pairs])
        k, j = pairs[0]
        size = float(grid.integrate(np.abs(solution.fields[k] * back.fields[j])))
        drift = np.abs(means - means[0]) / size
        i = int(np.argmax(np.where(np.isnan(drift), np.inf, drift)))
        promised = sum(getattr(s.scheme, "tolerance", 0.0) for s in (solution, back))
        return at_most(name, drift[i], 0.0, 1e-8 + promised, at_place(solution, pairs[i][0]))


def _balance(
    name: str,
    solution: Solution,
    bounded: Callable[..., Certificate],
    bound: float,
    allowance: float,
) -> Certificate:
    """Net over gross flow of the stationary state against its bound."""
    reason = not_linear(solution)
    if reason:
        return does_not_apply(name, reason)
    value, where, note = _circulation(solution)
    return bounded(name, value, bound, allowance, where, note)


def _circulation(solution: Solution) -> tuple[float, str, str]:
    equation, grid = solution.equation, solution.grid
    still = stationary(equation, grid).values
    flow = np.linalg.norm(current(equation, still, grid).values, axis=-1)
    _, where = worst(solution, flow[None])
    note = f"largest current {flow.max():.3g}"
    try:
        note += f", entropy production {entropy_production(equation, still, grid):.3g}"
    except ValueError:
        note += ", singular diffusion"
    return detailed_balance(equation, grid), where.partition(", ")[2], note
