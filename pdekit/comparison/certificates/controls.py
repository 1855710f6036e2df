"""Certificates of a computed control: mass, duality of the pair, theorem 4.11."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pdekit.arrays import Array
from pdekit.comparison.certificates.certificate import (
    Certificate,
    at_least,
    at_most,
    at_place,
    does_not_apply,
)
from pdekit.comparison.certificates.rates import COARSE, is_control
from pdekit.pde.control.control import Control
from pdekit.pde.discrete.differences import derivative
from pdekit.pde.discrete.generators import neighbours
from pdekit.pde.discrete.problem import Problem


@dataclass(frozen=True)
class ControlDuality:
    """E u(X_0, 0) = E V_T(X_T) + E∫(ℓ + |α|²/2): the density evolves by the adjoint operator.

    d/dt <u, rho> = -<ℓ + |∇u|²/2, rho>, where the density's operator is the transpose of the
    linearised value's. Compared at every stored time from the end. Relative to the range of <u,
    rho> and the effort. Allowance: the difference between E|∇u|²/2 and its analogue for the Markov
    chain on the cells, for which the identity is exact (of solvers in steps ``dt`` also half a step
    of it), and from gradients over two cells; all stored times against every other one.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Controls."""
        return is_control(result)

    def __call__(self, control: Control) -> Certificate:
        name = "duality of the pair"
        if control.closure:
            return does_not_apply(name, "a game: its residuals tell how far it is closed")
        grid, times = control.density.grid, control.value.times
        rho, u = control.density.fields, control.value.fields
        means = grid.integrate(rho * u) / grid.integrate(rho)
        fine, wide = (_cost_rate(control, step) for step in (1, 2))
        paid = _accumulated(times, fine)
        size = max(float(np.ptp(means)), float(paid[-1]), 1e-300)
        defect = np.abs(means[-1] + paid[-1] - paid - means) / size
        k = int(np.argmax(np.where(np.isnan(defect), np.inf, defect)))
        chain = fine + _jump_power(control, rho, _jump_cost_controlled) - _power(control, 1)
        space = sum(np.abs(_accumulated(times, v) - paid).max() for v in (wide, chain))
        coarse = _accumulated(times[::2], fine[::2])
        open_ = space + np.abs(coarse - paid[::2]).max() + _half_step(control, fine)
        allowance = float(open_) / size + 1e-6
        return at_most(name, defect[k], 0.0, allowance, at_place(control.value, k), "relative")


@dataclass(frozen=True)
class Improvement:
    """Theorem 4.11 (12 of the paper): plain - controlled - effort >= 0. Mathematics (1.7.5).

    plain and controlled are expected costs without and with the control, effort is E∫|α|²/2 as the
    integral over the density and the stored times, not by duality: so a density or control
    of another problem is detected. Allowance: as for ``ControlDuality``, of the effort. ``note``
    gives the three numbers.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Controls."""
        return is_control(result)

    def __call__(self, control: Control) -> Certificate:
        found, times = control.improvement, control.value.times
        fine, wide = (_power(control, step) for step in (1, 2))
        effort = float(_accumulated(times, fine)[-1])
        chain = _jump_power(control, control.density.fields, _jump_cost_controlled)
        open_ = _every_other_time(times, fine, effort) + _half_step(control, fine)
        open_ += sum(abs(float(_accumulated(times, v)[-1]) - effort) for v in (wide, chain))
        gap = found.plain - found.controlled - effort
        allowance = open_ + 1e-9 * max(abs(found.plain), abs(found.controlled))
        note = f"plain {found.plain:.4g}, controlled {found.controlled:.4g}, effort {effort:.4g}"
        return at_least("improvement theorem", gap, 0.0, allowance, "", note)


@dataclass(frozen=True)
class ImprovementIdentity:
    """The improvement is exactly E_plain ∫|∇u|²/2: relative difference. Mathematics (1.7.6).

    Allowance: the difference between E|∇u|²/2 and its analogue for the Markov chain on the cells,
    for which the identity is exact; the change of the integral over every other stored time; half a
    step of the rate where the value function is solved in steps ``dt``. If these exceed a quarter
    of it, it does not apply.
    """

    @staticmethod
    def proved_for(result: object) -> bool:
        """Controls."""
        return is_control(result)

    def __call__(self, control: Control) -> Certificate:
        name, times = "improvement identity", control.value.times
        if not hasattr(control.value.scheme, "steps"):
            return does_not_apply(name, "the density is not advanced by the value's own steps")
        found = control.improvement
        rate = _power(control, 1, control.idle)
        exact = float(_accumulated(times, rate)[-1])
        rounding = 1e-9 * max(abs(found.plain), abs(found.controlled), 1e-300)
        size = max(abs(exact), abs(found.gap), rounding)
        cells = float(
            _accumulated(times, _jump_power(control, control.idle, _jump_cost_uncontrolled))[-1]
        )
        open_ = (
            abs(cells - exact) + _every_other_time(times, rate, exact) + _half_step(control, rate)
        )
        allowance = (open_ + rounding) / size
        if allowance > COARSE and open_ > rounding:
            return does_not_apply(name, f"cells or times too coarse: open by {allowance:.2g}")
        value = abs(found.gap - exact) / size
        return at_most(name, value, 0.0, allowance, "", "relative")


def _cost_rate(control: Control, step: int) -> Array:
    """E(ℓ + |∇u|²/2) at the stored times."""
    power = _power(control, step)
    if control.running_cost is None:
        return power
    rho, grid = control.density.fields, control.density.grid
    spent: Array = power + grid.integrate(rho * control.running_cost) / grid.integrate(rho)
    return spent


def _power(control: Control, step: int, density: Array | None = None) -> Array:
    """E|∇u|²/2 at the stored times, with differences over ``step`` cells each way.

    Under the controlled density, or another one.
    """
    grid, u = control.density.grid, control.value.fields
    square = np.zeros_like(u)
    for k in range(grid.dim):
        square += derivative(u, k, grid, step) ** 2 / 2
    rho = control.density.fields if density is None else density
    power: Array = grid.integrate(rho * square) / grid.integrate(rho)
    return power


def _jump_cost_uncontrolled(d: Array, beta: float) -> Array:
    """d - (2/β) (1 - exp(-β d / 2)) = β d²/4 + ...: a jump's share in u_τ = L u - this."""
    return d + 2 / beta * np.expm1(np.minimum(-beta * d / 2, 700.0))


def _jump_cost_controlled(d: Array, beta: float) -> Array:
    """(2/β) (1 - e) - d e = β d²/4 + ..., e = exp(-β d / 2): the derivative of
    ``_jump_cost_uncontrolled`` times d, less itself; the cost of jumps at the controlled rates."""
    e = np.exp(np.minimum(-beta * d / 2, 700.0))
    return 2 / beta * (1 - e) - d * e


def _jump_power(control: Control, density: Array, pay: Callable[[Array, float], Array]) -> Array:
    """The analogue of E|∇u|²/2 for the Markov chain on the cells: E Σ rate(i -> j) pay(u_j - u_i).

    For w = exp(-β u / 2) with w_t = L w the identities of value and density hold with it exactly,
    without discretisation error: ``_jump_cost_uncontrolled`` under the uncontrolled density,
    ``_jump_cost_controlled`` under the other.
    """
    value = control.value
    generator = Problem(value.equation, value.grid, None).generator()
    beta, wraps = value.equation.beta, value.grid.periodic
    total = np.zeros(len(value.times))
    for k, (u, rho) in enumerate(zip(value.fields, density, strict=True)):
        for offset, up, down, _ in generator.directions():
            here, there = neighbours(rho, offset, wraps)
            before, after = neighbours(u, offset, wraps)
            rise = after - before
            total[k] += (up * here * pay(rise, beta) + down * there * pay(-rise, beta)).sum()
    power: Array = total / density.reshape(len(density), -1).sum(1)
    return power


def _half_step(control: Control, rate: Array) -> float:
    """Half a time step of a cost per time, where the value function is solved in steps."""
    return float(getattr(control.value.scheme, "dt", None) or 0.0) * float(rate.max()) / 2


def _every_other_time(times: Array, rate: Array, whole: float) -> float:
    """How far the integral over every other time (and the last) is from ``whole``."""
    kept = np.unique(np.append(np.arange(0, len(times), 2), len(times) - 1))
    return abs(float(_accumulated(times[kept], rate[kept])[-1]) - whole)


def _accumulated(times: Array, rate: Array) -> Array:
    from scipy.interpolate import CubicSpline

    if len(times) < 4:
        return np.concatenate([[0.0], np.cumsum(np.diff(times) * (rate[1:] + rate[:-1]) / 2)])
    whole = CubicSpline(times, rate).antiderivative()
    total: Array = whole(times) - whole(times[0])
    return total
