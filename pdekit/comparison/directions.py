"""The directions in which a mistake moves a density: wrong temperature, drift, clock, or step.

The score of a particle along θ is s / ρ, s = ∂ρ/∂θ. A test along it keeps its level whatever the
direction is, as the mean and the spread of the score are those of the density itself: an error of
the direction costs power alone, so that in the plane few cells do.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.grid_comparison import interpolated
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.rate_changes import BETA, CLOCK, DRIFT, STEP, StepBias
from pdekit.pde.discrete.responses import along_parameters, on_line
from pdekit.pde.sensitivity import checked

_PLANE = 48  # cells along an axis in the plane
_LEAST = 1e-10  # mass of a cell below which no particle is expected: it has no score


class Directions(NamedTuple):
    """Scores ``(times, names, *grid.shape)`` of the cells."""

    names: tuple[str, ...]
    scores: Array


def directions_of(solution: Any, ensemble: Any, times: Array) -> Directions | None:
    """At these times; None where the equation has none (see ``sensitivity``)."""
    problem = problem_of(solution)
    if problem is None:
        return None
    names, bias = names_of(problem, ensemble)
    grid = _fewer(problem.grid)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is said of the solution is said by solve
            rho, along = moved(_on(problem, grid), times, names, bias)
    except (ConvergenceError, ValueError, ArithmeticError):  # no direction is worth an error
        return None
    scores = np.stack([score(rho, along[name], grid) for name in names], axis=1)
    if not np.isfinite(scores).all():
        return None
    if grid != problem.grid:
        scores = np.array([[interpolated(s, grid, problem.grid) for s in at] for at in scores])
    return Directions(names, scores)


def problem_of(solution: Any) -> Problem | None:
    if not hasattr(solution, "problem") or solution.equation.mean_field:
        return None  # particles of a mean field are not independent
    try:
        return checked(solution, CLOCK, None)
    except (TypeError, ValueError):
        return None


def names_of(problem: Problem, ensemble: Any) -> tuple[tuple[str, ...], StepBias | None]:
    """The parameters of an equation, and how the steps of the particles act on it."""
    if not hasattr(problem.equation, "potential"):
        return (CLOCK,), None
    bias = bias_of(getattr(ensemble, "dynamics", None))
    if bias is None or getattr(problem.equation, "diffusion", None) is not None:
        return (BETA, DRIFT, CLOCK), None
    return (BETA, DRIFT, CLOCK, STEP), bias


def bias_of(dynamics: Any) -> StepBias | None:
    """Of the integrator of a dynamics; of Euler and Maruyama where none is known."""
    from pdekit.particles.integrators import EulerMaruyama

    if dynamics is None:
        return StepBias(*EulerMaruyama.step_bias)
    integrator = getattr(dynamics, "integrator", None)
    stops = getattr(dynamics, "walls", None), getattr(dynamics, "killing", None)
    if integrator is not None and stops != (None, None):
        integrator = getattr(integrator, "positioned", None)
    bias = checks.declared(integrator, "step_bias")
    return StepBias(*bias) if bias else None


def moved(
    problem: Problem, times: Array, names: tuple[str, ...], bias: StepBias | None, step: float = 0.0
) -> tuple[Array, dict[str, Array]]:
    """The density, and its derivatives along the parameters."""
    swept = on_line(problem, times, names, bias, step)
    return along_parameters(problem, times, names, bias, step) if swept is None else swept


def score(rho: Array, s: Array, grid: Grid) -> Array:
    """s / ρ, 0 where no particle is expected."""
    seen = rho * grid.cell_volume > _LEAST
    return np.divide(s, rho, out=np.zeros_like(s), where=seen)


def _fewer(grid: Grid) -> Grid:
    """The cells on which directions are computed."""
    if grid.dim == 1 or max(grid.shape) <= _PLANE:
        return grid
    cells = [min(n, _PLANE) for n in grid.shape]
    return Grid(grid.lower, grid.upper, cells, grid.periodic)


def _on(problem: Problem, grid: Grid) -> Problem:
    """The problem on other cells, from what its start is there."""
    if grid == problem.grid:
        return problem
    start = np.maximum(interpolated(problem.values, problem.grid, grid), 0.0)
    mass = problem.grid.integrate(problem.values) / grid.integrate(start)
    return replace(problem, grid=grid, initial=mass * start)
