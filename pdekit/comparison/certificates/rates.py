"""Rates of decay between stored times, and the hypotheses behind them."""

from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.comparison.certificates.certificate import Certificate, at_least, does_not_apply
from pdekit.grid import Grid
from pdekit.pde.control.control import Control
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate
from pdekit.pde.equations import FokkerPlanck
from pdekit.pde.solution import Solution
from pdekit.pde.stationary.spectrum import spectral_gap
from pdekit.protocols import Equation, Function

COARSE = 0.25  # share of the decrease that quadrature in time may miss


@dataclass(frozen=True, eq=False)
class Rates:
    """A distance that must decay like exp(-power λ t): its least rate between two stored times.

    Times at which it is below ``floor``, or not finite, are left out. ``error``: the
    error of each distance.
    """

    name: str
    distances: Array
    floor: float
    power: float
    error: float | Array = 0.0

    def certificate(self, solution: Solution, bound: float, allowance: float) -> Certificate:
        d, times = self.distances, np.asarray(solution.times)
        if np.isnan(d).any():
            k = int(np.flatnonzero(np.isnan(d))[0])
            return at_least(self.name, np.nan, bound, allowance, f"t = {times[k]:.4g}", "NaN")
        error = np.broadcast_to(self.error, d.shape)
        counts = np.flatnonzero((d > self.floor) & np.isfinite(d))
        counts = counts[np.concatenate([[True], np.diff(counts) == 1])] if counts.size else counts
        if len(counts) < 2:
            return does_not_apply(
                self.name, "fewer than two stored times at which the distance is above rounding"
            )
        d, error, times = d[counts], error[counts], times[counts]
        # all pairs: neighbouring times reveal a faulty step, distant ones a slow drift
        i, j = np.triu_indices(len(d), 1)
        span = self.power * (times[j] - times[i])
        rates = np.log(d[i] / d[j]) / span
        slack = allowance + (error[i] / d[i] + error[j] / d[j]) / span
        k = int(np.argmin(rates + slack))
        where = f"t = {times[i[k]]:.4g} to {times[j[k]]:.4g}"
        return at_least(self.name, rates[k], bound, float(slack[k]), where, "rate per time")


def solves(result: object, *equations: type[Any]) -> TypeGuard[Solution]:
    """Whether a result is a solution of one of these equations."""
    return hasattr(result, "fields") and isinstance(getattr(result, "equation", None), equations)


def is_control(result: object) -> TypeGuard[Control]:
    """Whether a result is a value function with the density under its control."""
    return hasattr(result, "value") and hasattr(result, "density")


def density_of(result: Any) -> Any:
    """A solution itself, or the density of a control."""
    return getattr(result, "density", result)


def is_density(solution: Solution) -> bool:
    """Whether the unknown of the equation is a density."""
    checks.has("result", solution, "a Solution", "equation", "fields")
    return bool(getattr(solution.equation, "carries_density", False))


def reversible(equation: Equation) -> bool:
    """Whether the equation implies detailed balance: noise, a gradient drift, a constant D."""
    return not irreversible(equation)


def irreversible(equation: Any) -> str:
    """The reason why it does not; "" if it does."""
    if equation.without_noise:
        return "without noise nothing but the wells is stationary"
    diffusion = getattr(equation, "diffusion", None)
    constant = diffusion is None or isinstance(diffusion.D, float)
    if getattr(equation, "force", None) is None and constant:
        return ""
    return "the drift is not a gradient, or the diffusion depends on the place"


def convexity(potential: Function, grid: Grid) -> tuple[float, str]:
    """Least eigenvalue of the Hessian of V over the cells, and where; by differences.

    Second differences of fourth order with a step of 1e-3 of the box: right to about 1e-8 of V''.
    """
    d, x = grid.dim, grid.centres
    step = 1e-3 * (np.array(grid.upper) - np.array(grid.lower))
    hessian = np.empty((*grid.shape, d, d))
    centre = evaluate(potential, grid, "the potential")
    for j in range(d):
        e = np.eye(d)[j] * step
        near = sum(np.asarray(potential(x + k * e), float) for k in (-1, 1))
        far = sum(np.asarray(potential(x + 2 * k * e), float) for k in (-1, 1))
        hessian[..., j, j] = (16 * near - far - 30 * centre) / (12 * step[j] ** 2)
    if d == 2:
        hessian[..., 0, 1] = hessian[..., 1, 0] = _mixed(potential, x, step)
    least = np.linalg.eigvalsh(hessian)[..., 0]
    cell = np.unravel_index(int(least.argmin()), grid.shape)
    at = ", ".join(f"{n} = {a[k]:.4g}" for n, a, k in zip(grid.names, grid.axes, cell, strict=True))
    return float(least[cell]), at


def _mixed(potential: Function, x: Array, step: Array) -> Array:
    def cross(r: float) -> Array:
        signs = [(a, b) for a in (-1, 1) for b in (-1, 1)]
        terms = [a * b * np.asarray(potential(x + r * step * (a, b)), float) for a, b in signs]
        out: Array = np.sum(terms, axis=0) / (4 * r * r * step.prod())
        return out

    return (4 * cross(1.0) - cross(2.0)) / 3


def grid_error_of_rate(equation: Equation, grid: Grid) -> float:
    """Error of the slowest rate by the cells (second order): its change when they double."""
    half = Grid(grid.lower, grid.upper, tuple(max(4, n // 2) for n in grid.cells), grid.periodic)
    return abs(spectral_gap(equation, grid) - spectral_gap(equation, half))


def steps_error_of_rate(solution: Solution, rate: float) -> float:
    """How much implicit steps dt reduce a rate: log(1 + λ dt) / dt = λ - λ² dt / 2."""
    dt = getattr(solution.scheme, "dt", 0.0)
    return 0.5 * rate * rate * float(dt if isinstance(dt, int | float) else 0.0)


def not_linear(solution: Solution) -> str:
    if not solves(solution, FokkerPlanck):
        return "only of a linear equation of densities"
    if solution.equation.loses:
        return str(solution.equation.loses)
    if solution.equation.without_noise:
        return irreversible(solution.equation)
    time_dependent = Problem(solution.equation, solution.grid, None).time_dependent
    return "the coefficients change in time" if time_dependent else ""


def not_linear_reversible(solution: Solution) -> str:
    reason = not_linear(solution)
    if reason:
        return reason
    reason = irreversible(solution.equation)
    if reason:
        return reason
    return "" if len(solution.times) > 1 else "one stored time says nothing about decay"


def not_convex(solution: Solution) -> str:
    equation, grid = solution.equation, solution.grid
    if getattr(equation, "diffusion", None) is not None:
        return "the rate is that of unit diffusion"
    if any(grid.periodic):
        return "no potential is strictly convex round a circle"
    least, where = convexity(equation.potential, grid)
    return "" if least > 0 else f"Hess V has the eigenvalue {least:.4g} at {where}: not convex"


def integrals(times: Array, rate: Array) -> tuple[Array, Array]:
    """Integrals over the intervals between times: by a cubic spline, and by trapezia."""
    from scipy.interpolate import CubicSpline

    fine = np.diff(CubicSpline(times, rate).antiderivative()(times))
    return fine, np.diff(times) * (rate[1:] + rate[:-1]) / 2
