"""Densities under a computed control: schemes that lead them by what found the value."""

import warnings
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.pde.bellman.h_transform import Evolution, tilted
from pdekit.pde.bellman.steps import advanced
from pdekit.pde.discrete.generators import Generator, scharfetter_gummel
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import propagate
from pdekit.pde.discrete.stats import ControlledStats, Stats
from pdekit.pde.equations import FokkerPlanck
from pdekit.pde.solution import Solution, marched, summarise
from pdekit.protocols import Initial, Scheme

_MASS_DEFECT = 1e-8  # error of the exponential at rtol 1e-9 of the value function
_HALVES = 2.0  # ratio of the error of first-order steps to the change by halving them
# by order, of the mass: errors of a density above which a warning is given
_STEPS = {1: 0.1, 2: 0.05}
MOST_NEGATIVE = 1e-6  # of the mass: tolerated negative part, the tolerance of games


@dataclass(frozen=True, eq=False)
class ByDrift:
    """On a line, under V + u with u half way between any two times of ``value``: second order."""

    value: Solution

    solves = (FokkerPlanck,)

    def start(self, problem: Problem, stats: Stats) -> March:
        u, times, beta = self.value.fields, self.value.times, problem.equation.beta
        potential, mass = problem.potential(), problem.values.sum()

        def step(rho: Array, k: int) -> tuple[Array, int]:
            generator = scharfetter_gummel(potential + (u[k] + u[k + 1]) / 2, beta, problem.grid)
            new = propagate(generator, rho, times[k + 1] - times[k], forward=True)
            return new * (mass / new.sum()), 1

        return _march(self.value, problem, step, stats)


@dataclass(frozen=True, eq=False)
class ByTransform:
    """On a line, rho(t) = w(t) exp(t L^T) (rho_0 / w(0)), w = exp(-beta u / 2): exact in time."""

    value: Solution

    solves = (FokkerPlanck,)

    def start(self, problem: Problem, stats: ControlledStats) -> March:
        equation, u, times = self.value.equation, self.value.fields, self.value.times
        cost = Problem(equation, problem.grid, None).running_cost()
        transport = _TransportStep(problem.generator(), equation.beta, cost)
        mass = problem.values.sum()

        def step(rho: Array, k: int) -> tuple[Array, int]:
            before = transport.steps
            new = transport.step(rho, u[k], u[k + 1], times[k + 1] - times[k])
            new, stats["mass_defect"] = np.maximum(new, 0.0), transport.defect
            return new * (mass / new.sum()), transport.steps - before

        return _march(self.value, problem, step, stats)


@dataclass(frozen=True, eq=False)
class BySteps:
    """By the transposes of the Bellman steps that led to the value, made again from it.

    ``counts``: how many there are between its times. A second density, by steps of half the
    length, measures the error.
    """

    value: Solution
    counts: list[int]

    solves = (FokkerPlanck,)

    def start(self, problem: Problem, stats: ControlledStats) -> March:
        move = _Transposes(self.value, self.counts)
        if not move.steps.divisible:  # the lines of a plane, whose steps are short enough
            return _march(self.value, problem, move, stats)
        halves = _Transposes(self.value, self.counts, parts=2)
        beside = _march(self.value, problem, halves, {"steps": 0})
        times, mass = self.value.times, problem.values.sum()

        def measured(rho: Array, k: int) -> tuple[Array, int]:
            rho, count = move(rho, k)
            other = beside(times[k + 1])
            march.errors.append(_HALVES * float(np.abs(rho - other).sum() / mass))
            stats["monotone_steps"], stats["step_error"] = (
                move.steps.monotone_densities,
                max(march.errors),
            )
            return rho, count

        march = _march(self.value, problem, measured, stats)
        return march


class _Transposes:
    """rho from a time of the value to the next, by the transposed derivatives of its steps."""

    def __init__(self, value: Solution, counts: list[int], parts: int = 1) -> None:
        backward = Problem(value.equation, value.grid, value.fields[-1])
        self.steps, self.cost = value.scheme.steps(backward), backward.running_cost()
        if parts > 1:
            self.steps.parts = parts
        self.u, self.spans, self.counts = value.fields, np.diff(value.times), counts

    def __call__(self, rho: Array, k: int) -> tuple[Array, int]:
        later, count = self.u[k + 1], self.counts[k]
        for step in advanced(self.steps, later, self.spans[k], count, self.cost)[1]:
            rho = step.transport(rho)
        return rho, count


@dataclass(frozen=True, eq=False)
class KnownFlow:
    """A flow of densities known at the requested times: that of a game at equilibrium."""

    flow: Array

    solves = (FokkerPlanck,)

    def start(self, problem: Problem, stats: Stats) -> March:
        later = iter(self.flow[1:])
        return March(problem.values, lambda rho, begin, end: (next(later), 1), stats)


def _march(
    value: Solution, problem: Problem, step: Callable[[Array, int], tuple[Array, int]], stats: Stats
) -> March:
    """The march of a density: step(rho, k) leads it from the k-th time of the value to the next."""
    times = value.times.tolist()

    def over(rho: Array, begin: float, end: float) -> tuple[Array, int]:
        steps = 0
        for k in range(bisect_left(times, begin), bisect_left(times, end)):
            rho, taken = step(rho, k)
            steps += taken
        return rho, steps

    return March(problem.values, over, stats)


def evolved(value: Solution, initial: Initial, scheme: Scheme, stacklevel: int) -> Solution:
    """The density at the times of the value, led by a scheme of this file."""
    equation = value.equation
    problem = Problem(FokkerPlanck(equation.potential, equation.beta), value.grid, initial)
    density, march = marched(problem, scheme, value.times)
    errors = getattr(march, "errors", [])
    if errors:
        _report_steps(value, max(errors), stacklevel + 1)
    return accepted(problem, density, value, stacklevel + 1)


def _report_steps(value: Solution, error: float, stacklevel: int) -> None:
    """Warn where the steps are too long for the density, as at a narrow start."""
    dt, order = value.scheme.dt, value.scheme.order
    most = _STEPS[order]
    if error <= most:
        return
    better = dt * min(0.5, (most / (2 * error)) ** (1 / order))
    warnings.warn(
        f"steps of {dt:.3g} leave the controlled density up to {error:.2g} of its mass off (L1, at "
        f"one of its times); PolicyIteration(dt={better:.1g}, order={order}) would suffice, or "
        "DoobTransform(), which is exact in time on a line",
        AccuracyWarning,
        stacklevel=stacklevel,
    )


def negative_share(fields: Array) -> float:
    """The largest share, over the times, of what lies below zero in what lies above."""
    axes, kept = tuple(range(1, fields.ndim)), np.maximum(fields, 0.0)
    return float(((kept - fields).sum(axes) / kept.sum(axes)).max())


def accepted(problem: Problem, density: Solution, value: Solution, stacklevel: int) -> Solution:
    """The density of a control: what rounding left below zero is set to zero, then summarised."""
    fields, stats = density.fields, density.stats
    axes = tuple(range(1, fields.ndim))
    kept = np.maximum(fields, 0.0)
    stats["negative_before_clipping"] = min(0.0, float(fields.min()))
    below = negative_share(fields)
    if not below <= MOST_NEGATIVE:
        raise ConvergenceError(
            f"the controlled density is negative for {below:.2g} of its mass: the steps are too "
            "long for this grid; use four times as many times"
        )
    kept *= (fields.sum(axes) / kept.sum(axes)).reshape(-1, *[1] * len(axes))
    summarise(problem, kept, stats, stacklevel + 1)
    return replace(density, fields=kept, scheme=value.scheme)


class _TransportStep:
    """rho -> w(t + dt) exp(dt L^T) (rho / w(t)), by the generator tilted with w(t + dt).

    The mass of the result is that of rho only if u(t) and u(t + dt) belong together and the
    exponential is right; if the mass defect is too large, the interval is halved.
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
                "refine the grid or use more times"
            )
        first = self.step(rho, now, middle, dt / 2, depth + 1)
        return self.step(first, middle, later, dt / 2, depth + 1)
