"""Free energies decreased by the flow of an equation, and their dissipation."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion, peclet
from pdekit.pde.discrete.mean_field import mean_field_functional
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.stationary.stationary import change, stationary, steady

if TYPE_CHECKING:
    import xarray as xr

    from pdekit.pde.solution import Solution

_TINY = 1e-300  # lower limit of densities in logarithms


def free_energy(solution: "Solution") -> "xr.DataArray":
    """The free energy of a solution at its times, dims ``("time",)``, nonincreasing.

    ``FokkerPlanck`` with a gradient drift: F = ∫ V rho + β⁻¹ ∫ rho log rho, least at the Gibbs
    state, where it is -β⁻¹ log Z; ``McKeanVlasov``: that and ½ ∬ W(x - y) rho rho; without noise
    (beta = inf) the term of β⁻¹ is missing. With a force or
    a diffusion, a supply or resetting, β⁻¹ KL(rho | rho_ss), least at zero (∫ rho log(rho / rho_ss)
    - rho + rho_ss, as masses may differ); only ∇·(j rho_ss) = 0 is needed, not ∇·j = 0.
    Midpoint sums over the grid; monotonicity
    holds for the discrete generator too, to rounding if ``solve`` is
    exact in time. Mathematics 0, 1.4, 1.11 (errata 43); thesis Theorem 6.17.

    Raises ``TypeError`` for an equation without a free energy, ``ValueError`` for coefficients
    that change in time.
    """
    checks.has("solution", solution, "a Solution", "equation", "grid", "fields")
    energy = functional(solution.equation, solution.grid)
    return _over_time([energy(rho) for rho in solution.fields], solution, "free_energy")


def dissipation(solution: "Solution") -> "xr.DataArray":
    """-dF/dt = ∫ rho ∇μ·D∇μ, μ = Φ + β⁻¹ log rho, at the times of a Fokker-Planck solution; >= 0.

    Taken from the discrete generator: -β⁻¹ sum_i (rho_t)_i log(rho_i / pi_i), the exact rate at
    which ``free_energy`` falls on the grid, also where there are losses, supplies or resetting,
    which the integral leaves out. Densities below 1e-300 count as that. Mathematics 1.11.
    Raises as ``free_energy``.
    """
    checks.has("solution", solution, "a Solution", "equation", "grid", "fields")
    equation, grid = solution.equation, solution.grid
    steady(equation, grid, "dissipation")
    still = np.maximum(stationary(equation, grid).values, _TINY)
    rho_t = change(Problem(equation, grid, None))
    rates = []
    any(peclet.steep(rho, grid, stacklevel=2) for rho in solution.fields)  # warns once
    for rho in solution.fields:
        force = np.log(np.maximum(rho, _TINY) / still)
        rates.append(-float(grid.integrate(rho_t(rho) * force)) / equation.beta)
    return _over_time(rates, solution, "dissipation")


def functional(equation: Any, grid: Grid) -> Callable[[Array], float]:
    """The free energy of an equation as a function of a density on ``grid``."""
    if not getattr(equation, "carries_density", False):
        raise TypeError(
            f"{type(equation).__name__} has no free energy; FokkerPlanck and McKeanVlasov have"
        )
    if equation.mean_field:
        return mean_field_functional(equation, grid)
    if equation.without_noise:
        return _potential_energy(equation, grid)
    problem = steady(equation, grid, "free_energy")
    if not (drift_diffusion.is_general(equation) or equation.loses):
        V = problem.potential()
        return lambda rho: float(grid.integrate(V * rho) + negentropy(rho, grid) / equation.beta)
    still = stationary(equation, grid).values
    return lambda rho: divergence(rho, still, grid) / equation.beta


def _potential_energy(equation: Any, grid: Grid) -> Callable[[Array], float]:
    """∫ V rho, the free energy of a transport down a gradient."""
    if equation.force is not None:
        raise ValueError(
            "without noise (beta = inf) a drift with a force has no free energy; leave out the "
            "force, or give a finite beta"
        )
    V = Problem(equation, grid, None).potential()
    return lambda rho: float(grid.integrate(V * rho))


def negentropy(rho: Array, grid: Grid) -> float:
    """∫ rho log rho, with 0 log 0 = 0."""
    return float(grid.integrate(rho * np.log(np.where(rho > 0, rho, 1.0))))


def divergence(rho: Array, reference: Array, grid: Grid) -> float:
    """KL(rho | reference) = ∫ rho log(rho / reference) of two densities of equal mass, >= 0.

    Summed as rho log(rho/r) - rho + r, whose terms are all >= 0; infinite where rho has mass and
    the reference none.
    """
    from scipy.special import kl_div

    return float(grid.integrate(kl_div(rho, reference)))


def _over_time(values: Any, solution: Any, name: str) -> "xr.DataArray":
    import xarray as xr

    coords = {"time": solution.times}
    return xr.DataArray(np.array(values), coords=coords, dims=("time",), name=name)
