"""Certificates of densities: mass, sign, free energy, entropy."""

from dataclasses import dataclass

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
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
    Rates,
    convexity,
    density_of,
    grid_error_of_rate,
    integrals,
    irreversible,
    is_density,
    not_convex,
    not_linear_reversible,
    reversible,
    solves,
    steps_error_of_rate,
)
from pdekit.grid import Grid
from pdekit.pde.discrete.generators import gibbs, scharfetter_gummel
from pdekit.pde.discrete.mean_field import pair_field
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import FokkerPlanck, Heat, McKeanVlasov
from pdekit.pde.solution import Solution
from pdekit.pde.stationary.free_energy import divergence, free_energy
from pdekit.pde.stationary.spectrum import spectral_gap
from pdekit.pde.stationary.stationary import stationary

_ROUNDING = 1e-10  # of mass, over a run of many steps
_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Mass:
    """∫ rho(t) = ∫ rho(0), to rounding; of ``Heat``, the mean of the field. Mathematics 1.1, 1.4.

    Measured from the first stored time, and over the whole run if the solver recorded it.
    Does not apply where walls absorb.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Densities, including that of a control, and heat smoothing."""
        return solves(density_of(result), FokkerPlanck, McKeanVlasov, Heat)

    def __call__(self, solution: Solution) -> Certificate:
        name, solution = "mass", density_of(solution)
        if not (is_density(solution) or solves(solution, Heat)):
            return does_not_apply(name, f"{type(solution.equation).__name__} carries no mass")
        if solution.equation.loses:
            return does_not_apply(name, solution.equation.loses)
        grid, fields = solution.grid, solution.fields
        mass = grid.integrate(fields)
        size = abs(mass[0]) if is_density(solution) else float(grid.integrate(abs(fields[0])))
        drift = np.abs(mass - mass[0]) / size
        k = int(np.argmax(np.where(np.isnan(drift), np.inf, drift)))
        recorded = float(solution.stats.get("mass_drift", 0.0))
        value = max(float(drift[k]), recorded) if not np.isnan(drift[k]) else np.nan
        return at_most(name, value, 0.0, _ROUNDING, at_place(solution, k), "relative drift")


@dataclass(frozen=True)
class Positivity:
    """rho >= 0 in every cell at every stored time. Mathematics 1.4."""

    @staticmethod
    def proved_for(result: object) -> bool:
        """Densities, including that of a control."""
        return solves(density_of(result), FokkerPlanck, McKeanVlasov)

    def __call__(self, solution: Solution) -> Certificate:
        name, solution = "positivity", density_of(solution)
        if not is_density(solution):
            return does_not_apply(name, f"{type(solution.equation).__name__} has no density")
        value, where = worst(solution, solution.fields, largest=False)
        return at_least(name, value, 0.0, 0.0, where)


@dataclass(frozen=True)
class FreeEnergyDecay:
    """F(t) never rises: the largest rise between stored times is at most zero.

    Mathematics 1.4, 1.6. F = ∫ V rho + ½ ∬ W rho rho + β⁻¹ ∫ rho log rho; with a force or a
    diffusion β⁻¹ KL to the stationary density; without noise that of V and W alone. A theorem for
    the discrete generator too, and for ``Upwind``: the allowance is rounding; of ``Quantiles``
    also what a sum over the cells may be off.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Densities."""
        return solves(result, FokkerPlanck, McKeanVlasov)

    def __call__(self, solution: Solution) -> Certificate:
        name = "free energy falls"
        reason = _no_free_energy(solution)
        if reason:
            return does_not_apply(name, reason)
        try:
            energy = free_energy(solution).values
        except ValueError as error:
            return does_not_apply(name, str(error))
        rise = np.diff(energy)
        k = int(np.argmax(np.where(np.isnan(rise), np.inf, rise)))
        allowance = 256 * _EPS * _size_of_energy(solution)
        if checks.declared(solution.scheme, "by_particles"):
            allowance += _midpoint_error(solution)
        where = f"{at_place(solution, k)} to {solution.times[k + 1]:.4g}"
        return at_most(name, rise[k], 0.0, allowance, where, "largest rise")


@dataclass(frozen=True)
class DissipationIdentity:
    """F(0) - F(T) = ∫ ∫ rho |∇(V + W * rho + β⁻¹ log rho)|² dt: the difference of the two sides.

    The rate is the discrete generator's own, -β⁻¹ Σ (L^T rho) log(rho / pi_rho); the integral over
    the stored times is a spline's. Allowance: how far trapezia differ from that, and 1e-6 of
    the fall; if this exceeds a quarter of the decrease, there are too few stored times. ``value``
    is the difference over the fall, largest over the intervals between stored times. Mathematics
    1.4, 1.6.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Densities with a free energy."""
        return solves(result, FokkerPlanck, McKeanVlasov) and reversible(result.equation)

    def __call__(self, solution: Solution) -> Certificate:
        name = "dissipation identity"
        reason = _no_free_energy(solution)
        reason = reason or irreversible(solution.equation)
        if reason:
            return does_not_apply(name, reason)
        if len(solution.times) < 5:
            return does_not_apply(name, "the integral over time needs five stored times")
        fall = -np.diff(free_energy(solution).values)
        fine, coarse = integrals(solution.times, _dissipation(solution))
        total = max(abs(float(fall.sum())), 1e-300)
        defect = np.abs(np.cumsum(fall - fine)) / total
        k = int(np.argmax(np.where(np.isnan(defect), np.inf, defect)))
        allowance = float(np.abs(np.cumsum(fine - coarse)).max()) / total + 1e-6
        if allowance > COARSE:
            return does_not_apply(
                name, f"too few stored times: the integral over them is open by {allowance:.2g}"
            )
        return at_most(name, defect[k], 0.0, allowance, at_place(solution, k + 1), "of the fall")


@dataclass(frozen=True)
class SpectralGapDecay:
    """χ²(rho | pi) falls at least at twice the spectral gap λ, in detailed balance.

    Mathematics 1.4. Measured between stored times, -Δ log χ² / (2 Δt) >= λ, with the gap of the
    grid's own generator, so that the statement holds on the grid without discretisation error.
    Allowance: 1e-5 λ, λ² dt / 2 where the scheme is implicit in time, and the rounding of χ².
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Reversible linear equations of densities."""
        return solves(result, FokkerPlanck) and reversible(result.equation)

    def __call__(self, solution: Solution) -> Certificate:
        name = "chi-square falls at the gap"
        reason = not_linear_reversible(solution)
        if reason:
            return does_not_apply(name, reason)
        equation, grid = solution.equation, solution.grid
        still = stationary(equation, grid).values
        distances = [_chi_square(rho / grid.integrate(rho), still, grid) for rho in solution.fields]
        gap = spectral_gap(equation, grid)
        allowance = 1e-5 * gap + steps_error_of_rate(solution, gap)
        return Rates(name, np.array(distances), 1e-16, 2.0).certificate(solution, gap, allowance)


@dataclass(frozen=True)
class BakryEmery:
    """KL(rho | pi) falls at least at the rate 2 λ where Hess V >= λ > 0 on the box.

    Mathematics 1.4. λ is the least eigenvalue of the Hessian over the cells, by differences. On a
    convex box with no-flux walls the theorem is that of the whole space. Allowance: the
    discretisation error of the slowest rate (its change when the cells double), and the time step.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Reversible linear equations of densities."""
        return solves(result, FokkerPlanck) and reversible(result.equation)

    def __call__(self, solution: Solution) -> Certificate:
        name = "entropy falls (Bakry-Emery)"
        reason = not_linear_reversible(solution) or not_convex(solution)
        if reason:
            return does_not_apply(name, reason)
        equation, grid = solution.equation, solution.grid
        rate, _ = convexity(equation.potential, grid)
        still = stationary(equation, grid).values
        kl = [divergence(rho / grid.integrate(rho), still, grid) for rho in solution.fields]
        allowance = grid_error_of_rate(equation, grid) + steps_error_of_rate(solution, rate)
        return Rates(name, np.array(kl), 1e-11, 2.0).certificate(solution, rate, allowance)


def _chi_square(rho: Array, still: Array, grid: Grid) -> float:
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        terms = (rho - still) ** 2 / still
    return float(grid.integrate(np.where((rho == 0) & (still == 0), 0.0, terms)))


def _dissipation(solution: Solution) -> Array:
    """-dF/dt at the stored times, from the generator of the potential V + W * rho."""
    equation, grid = solution.equation, solution.grid
    potential = Problem(equation, grid, None).potential()
    coupled = solves(solution, McKeanVlasov)
    pair = pair_field(equation.interaction, grid, equation.beta) if coupled else None
    noise = 1.0 if coupled or equation.diffusion is None else equation.diffusion.D
    beta, rates = equation.beta / noise, []
    for rho in solution.fields:
        total = potential if pair is None else potential + pair(rho)
        still = np.maximum(gibbs(total, beta, grid), 1e-300)
        change = noise * scharfetter_gummel(total / noise, equation.beta, grid).forward(rho)
        force = np.log(np.maximum(rho, 1e-300) / still)
        rates.append(-float(grid.integrate(change * force)) / equation.beta)
    return np.array(rates)


def _midpoint_error(solution: Solution) -> float:
    """h² |U''| / 8 under the density: how far U at the centres is from U in the cells."""
    equation, grid = solution.equation, solution.grid
    U = Problem(equation, grid, None).potential()
    if equation.mean_field:
        pair = pair_field(equation.interaction, grid, equation.beta)
        U = np.stack([U + pair(rho) for rho in solution.fields])
    bend = np.abs(np.diff(U, 2, axis=-1)) / 8
    inside = np.pad(bend, [(0, 0)] * (bend.ndim - 1) + [(1, 1)], mode="edge")
    return float(
        grid.integrate(np.broadcast_to(inside, solution.fields.shape) * solution.fields).max()
    )


def _size_of_energy(solution: Solution) -> float:
    equation, grid = solution.equation, solution.grid
    rho = solution.fields
    potential = np.abs(Problem(equation, grid, None).potential())
    entropy = np.abs(rho * np.log(np.where(rho > 0, rho, 1.0))) / equation.beta
    return float(np.max(grid.integrate(potential * np.abs(rho) + entropy))) + 1.0


def _no_free_energy(solution: Solution) -> str:
    if not is_density(solution):
        return f"{type(solution.equation).__name__} has no density"
    if solution.equation.loses:
        return str(solution.equation.loses)
    if Problem(solution.equation, solution.grid, None).time_dependent:
        return "the coefficients change in time"
    if checks.declared(solution.scheme, "without_generator"):
        scheme = type(solution.scheme).__name__
        return f"{scheme} does not move it by the generator that it would be measured by"
    return "" if len(solution.times) > 1 else "one stored time says nothing about decay"
