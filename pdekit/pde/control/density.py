"""Densities under a computed control, carried by the transposed steps that found the value."""

import warnings
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.pde.bellman.h_transform import Evolution, tilted
from pdekit.pde.bellman.steps import advanced
from pdekit.pde.discrete.generators import Generator, scharfetter_gummel
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import propagate
from pdekit.pde.equations import FokkerPlanck
from pdekit.pde.solution import Solution, summarise

_MASS_DEFECT = 1e-8  # what the exponential leaves at rtol 1e-9 of the value function
_HALVES = 2.0  # the error of steps of order one over what halving them changes
_STEPS = {1: 0.1, 2: 0.05}  # by order, of the mass: errors of a density that are spoken of
_NEGATIVE = 1e-6  # of the mass, to which games are closed: what may be left below zero


def by_drift(value: Solution, initial: Any) -> Array:
    """On a line, the density under V + u with u half way between any two times: second order."""
    equation, grid = value.equation, value.grid
    problem = Problem(FokkerPlanck(equation.potential, equation.beta), grid, initial)
    potential, fields = problem.potential(), [problem.values]
    for k, dt in enumerate(np.diff(value.times)):
        middle = potential + (value.fields[k] + value.fields[k + 1]) / 2
        generator = scharfetter_gummel(middle, equation.beta, grid)
        rho = propagate(generator, fields[-1], dt, forward=True)
        fields.append(rho * (fields[0].sum() / rho.sum()))
    return np.array(fields)


def by_transform(value: Solution, initial: Any) -> Solution:
    """On a line, rho(t) = w(t) exp(t L^T) (rho_0 / w(0)), w = exp(-beta u / 2): exact in time."""
    equation = value.equation
    problem = Problem(FokkerPlanck(equation.potential, equation.beta), value.grid, initial)
    cost = Problem(equation, value.grid, initial).running_cost()
    carry = _Carry(problem.generator(), equation.beta, cost)
    fields = [problem.values]
    for k, dt in enumerate(np.diff(value.times)):
        rho = carry.step(fields[-1], value.fields[k], value.fields[k + 1], dt)
        rho = np.maximum(rho, 0.0)
        fields.append(rho * (fields[0].sum() / rho.sum()))
    stats: dict[str, Any] = {"steps": carry.steps, "mass_defect": carry.defect}
    return made(problem, np.array(fields), value, stats)


def by_steps(value: Solution, initial: Any) -> Solution:
    """By the transposed Bellman steps between the stored times, made again from the value."""
    equation = value.equation
    problem = Problem(FokkerPlanck(equation.potential, equation.beta), value.grid, initial)
    backward = Problem(equation, value.grid, value.fields[-1])
    steps, cost = value.scheme.steps(backward), backward.running_cost()
    counts = value.stats["substeps"][::-1]
    fields, errors = [problem.values], [0.0]
    other, halved = problem.values, value.scheme.steps(backward)
    halved.parts = 2
    told = hasattr(steps, "order")  # else the lines of a plane, whose steps are short enough
    for k, dt in enumerate(np.diff(value.times)):
        rho = _moved(steps, fields[-1], value.fields[k + 1], dt, counts[k], cost)
        fields.append(rho)
        if told:
            other = _moved(halved, other, value.fields[k + 1], dt, counts[k], cost)
            errors.append(float(np.abs(rho - other).sum() / problem.values.sum()))
    stats: dict[str, Any] = {"steps": sum(counts)}
    if told:
        stats["monotone_steps"] = steps.upright
        stats["step_error"] = _HALVES * max(errors)
        _report_steps(value, stats["step_error"])
    return made(problem, np.array(fields), value, stats)


def _report_steps(value: Solution, error: float) -> None:
    """Say where the steps are too long for the density: for a start that is narrow, at first."""
    dt, order = value.scheme.dt, value.scheme.order
    most = _STEPS[order]
    if error <= most:
        return
    better = dt * min(0.5, (most / (2 * error)) ** (1 / order))
    warnings.warn(
        f"steps of {dt:.3g} leave the controlled density up to {error:.2g} of its mass off (L1, at "
        f"one of its times); PolicyIteration(dt={better:.1g}, order={order}) would do, or "
        "DoobTransform(), which is exact in time on a line",
        AccuracyWarning,
        stacklevel=4,
    )


def _moved(
    steps: Any, rho: Array, later: Array, dt: float, count: int, cost: Array | float
) -> Array:
    for step in advanced(steps, later, dt, count, cost)[1]:
        rho = step.move(rho)
    return rho


def made(problem: Problem, fields: Array, value: Solution, stats: dict[str, Any]) -> Solution:
    """The density as a Solution; what rounding left below zero is set to zero."""
    axes = tuple(range(1, fields.ndim))
    kept = np.maximum(fields, 0.0)
    stats["negative_before_clipping"] = min(0.0, float(fields.min()))
    below = float(((kept - fields).sum(axes) / kept.sum(axes)).max())
    if not below <= _NEGATIVE:
        raise ConvergenceError(
            f"the controlled density is negative for {below:.2g} of its mass: the steps are too "
            "long for this grid; ask for four times as many times"
        )
    kept *= (fields.sum(axes) / kept.sum(axes)).reshape(-1, *[1] * len(axes))
    summarise(problem, kept, stats, stacklevel=5)
    return Solution(kept, value.times, problem.equation, problem.grid, value.scheme, stats)


class _Carry:
    """rho -> w(t + dt) exp(dt L^T) (rho / w(t)), by the generator tilted with w(t + dt).

    The mass of the result is that of rho only if u(t) and u(t + dt) belong together and the
    exponential is right; where the defect shows otherwise, the interval is halved.
    """

    def __init__(self, generator: Generator, beta: float, cost: Array | float) -> None:
        self.generator, self.beta, self.cost = generator, beta, cost
        self.evolve = Evolution(generator, beta, cost)
        self.steps, self.defect = 0, 0.0

    def step(self, rho: Array, now: Array, later: Array, dt: float, depth: int = 0) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            weighted = rho * np.exp(-self.beta / 2 * (later - now))
            generator, kill = tilted(self.generator, self.beta, self.cost, later)
            new = propagate(generator, weighted, dt, forward=True, kill=kill)
            defect = abs(float(new.sum() / rho.sum()) - 1)
        if defect <= _MASS_DEFECT and new.min() >= -_MASS_DEFECT * new.max():
            self.steps, self.defect = self.steps + 1, max(self.defect, defect)
            return new
        middle = self.evolve(later, dt / 2)
        if depth == 24 or middle is None:
            raise ConvergenceError(
                f"the controlled density loses {defect:.2g} of its mass over a step of {dt:.2g}; "
                "refine the grid or ask for more times"
            )
        first = self.step(rho, now, middle, dt / 2, depth + 1)
        return self.step(first, middle, later, dt / 2, depth + 1)
