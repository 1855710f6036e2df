"""Whether the cells resolve what a Hamiltonian of place and time makes of a function.

A flow that compresses makes waves shorter than the cells out of data that these resolve.
"""

import warnings

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete import grid_comparison
from pdekit.pde.discrete.march import fields_at
from pdekit.pde.discrete.problem import Problem
from pdekit.protocols import Scheme

_LITTLE = 0.03  # of the range of the data, in the mean


def report(problem: Problem, scheme: Scheme, u: Array, t: float, stacklevel: int) -> None:
    """A ``ResolutionWarning`` where the field at the last time is another on other cells."""
    grid = problem.grid
    if not callable(problem.initial):
        return
    other = grid_comparison.comparison_grid(grid)
    apart = _apart(problem, scheme, u, t, other)
    if apart > _LITTLE:
        order = 1.0  # beside what is shorter than the cells
        grid_comparison.warn_coarse(apart, grid, other, "the function", stacklevel, order)


def _apart(problem: Problem, scheme: Scheme, u: Array, t: float, other: Grid) -> float:
    """The mean distance over the range of the data; 0 where the problem has no answer there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = Problem(problem.equation, other, problem.initial, until=problem.until)
            advance = scheme.start(again, {"steps": 0})
            v = fields_at(np.array([t]), advance, again.values)[0]
    except (TypeError, ValueError, ConvergenceError):
        return 0.0
    here, there = grid_comparison.on_the_coarser(u, problem.grid, v, other)
    span = float(np.ptp(problem.values))
    return float(np.abs(here - there).mean()) / span if span > 0 else 0.0
