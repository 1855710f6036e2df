"""FiPy 4: backward Euler with the exponentially fitted convection term, pdekit's flux in space."""

import os
from typing import Any

os.environ.setdefault("FIPY_SOLVERS", "scipy")

import fipy

from peers.problems import ATTRACTION, BETA, CROWD_BETA, HOT, Array, Method, Problem, plain


def mesh_of(problem: Problem) -> Any:
    """The mesh of the grid; it orders x fastest."""
    grid = problem.grid
    counts = dict(zip(("nx", "ny"), grid.cells, strict=False))
    sizes = dict(zip(("dx", "dy"), grid.spacing, strict=False))
    return (fipy.Grid1D if grid.dim == 1 else fipy.Grid2D)(**counts, **sizes)


def density(problem: Problem, steps: int) -> Array:
    grid, mesh = problem.grid, mesh_of(problem)
    energy = fipy.CellVariable(mesh, value=problem.potential(grid.centres).T.ravel())
    rho = fipy.CellVariable(mesh, value=problem.given.density(grid).T.ravel())
    drift = fipy.ExponentialConvectionTerm(coeff=-energy.faceGrad)
    equation = fipy.TransientTerm() + drift == fipy.DiffusionTerm(coeff=1 / BETA)
    for _ in range(steps):
        equation.solve(var=rho, dt=problem.t / steps)
    return rho.value.reshape(grid.shape[::-1]).T


def heat(problem: Problem, steps: int) -> Array:
    v = fipy.CellVariable(mesh_of(problem), value=problem.given.T.ravel())
    equation = fipy.TransientTerm() == fipy.DiffusionTerm(coeff=1 / (2 * HOT))
    for _ in range(steps):
        solver = fipy.LinearPCGSolver(tolerance=1e-8)
        equation.solve(var=v, dt=problem.t / steps, solver=solver)
    return v.value.reshape(problem.grid.shape[::-1]).T


def crowd(problem: Problem, steps: int) -> Array:
    """The mean of the crowd frozen over each step."""
    grid, x = problem.grid, problem.grid.axes[0]
    mesh, confined = mesh_of(problem), problem.potential(grid.centres) + ATTRACTION * x**2 / 2
    energy = fipy.CellVariable(mesh, value=confined)
    rho = fipy.CellVariable(mesh, value=problem.given.density(grid))
    drift = fipy.ExponentialConvectionTerm(coeff=-energy.faceGrad)
    equation = fipy.TransientTerm() + drift == fipy.DiffusionTerm(coeff=1 / CROWD_BETA)
    for _ in range(steps):
        energy.setValue(confined - ATTRACTION * x * grid.integrate(x * rho.value))
        equation.solve(var=rho, dt=problem.t / steps)
    return rho.value.copy()


def methods() -> tuple[Method, ...]:
    return (
        Method("W1", "FiPy, 200 steps", plain(density, 200)),
        Method("W1", "FiPy, 2000 steps", plain(density, 2000)),
        Method("W1s", "FiPy, one long step", plain(density, 1)),
        Method("W2", "FiPy, 10 steps", plain(density, 10)),
        Method("W5", "FiPy, 10 steps", plain(heat, 10)),
        Method("W6", "FiPy, 200 steps", plain(crowd, 200)),
    )
