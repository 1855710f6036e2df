"""fplanck: the matrix of a master equation, built in Python, and ``expm_multiply``."""

from typing import Any

import fplanck
import numpy as np
from scipy.constants import k as boltzmann

from peers.problems import BETA, Array, Method, Problem, plain


def equation(problem: Problem) -> Any:
    """On the centres of the same cells; half a cell less, for rounding not to add one."""
    grid, h = problem.grid, problem.grid.spacing[0]
    return fplanck.fokker_planck(
        temperature=1 / (BETA * boltzmann), drag=1.0, resolution=h,
        extent=[n * h - h / 2 for n in grid.cells],
        potential=lambda *x: problem.potential(np.stack(x, -1)),
    )  # fmt: skip


def density(problem: Problem) -> Array:
    grid = problem.grid
    rho = equation(problem).propagate(lambda *x: problem.given.density(grid), problem.t)
    return rho / grid.cell_volume


def stationary(problem: Problem) -> Array:
    return equation(problem).steady_state() / problem.grid.cell_volume


def methods() -> tuple[Method, ...]:
    return (
        Method("W1", "fplanck", plain(density)),
        Method("W1s", "fplanck", plain(stationary)),
        Method("W2", "fplanck", plain(density), largest=256**2),
    )
