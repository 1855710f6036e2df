"""py-pde: expressions compiled by numba, explicit Euler steps just within stability.

What it compiles is not timed; the steps are. (Its ``solve`` compiles anew at each call, and its
adaptive steps take four times as long.) LSODA with a banded Jacobian, which its wrapper of SciPy
passes on, is far better on a line.
"""

from typing import Any

import numpy as np
import pde

from peers.problems import ATTRACTION, BETA, CROWD_BETA, HOT, Array, Method, Problem

# right-hand side, and the coefficient of its Laplacian
EQUATIONS = {
    "W1": ("d_dx((x**3 - x) * c)", 1 / BETA),
    "W2": ("d_dx((x**3 - x + 0.3 * y) * c) + d_dy((y + 0.3 * x) * c)", 1 / BETA),
    "W3": ("-gradient_squared(c) / 2", 0.5 / HOT),
    "W5": ("0", 0.5 / HOT),
    "W6": (f"d_dx((x**3 - x + {ATTRACTION} * (x - integral(x * c))) * c)", 1 / CROWD_BETA),
}


def prepared(problem: Problem) -> tuple[Any, Any, float]:
    """Equation, initial field and longest stable step.

    Densities vanish at the walls, where there is nothing; other fields have no normal derivative.
    """
    grid, given = problem.grid, problem.given
    # its operators are kept for a grid whatever the boundary values: W3 would get those of W1
    pde.backends["numba"]._cache_methods = {}
    box = pde.CartesianGrid(list(zip(grid.lower, grid.upper, strict=True)), list(grid.cells))
    is_field = isinstance(given, np.ndarray)
    start = given if is_field else given.density(grid)
    rest, diffusion = EQUATIONS[problem.kind]
    bc = {"derivative": 0} if is_field else {"value": 0}
    equation = pde.PDE({"c": f"{diffusion} * laplace(c) + {rest}"}, bc=bc)
    stable = min(grid.spacing) ** 2 / (2 * grid.dim * diffusion)
    if problem.kind == "W3":
        # centred differences at speed v = |∇u| allow 2 nu / v^2; 1/2 of it in the plane and 1/8 on
        # the line, found by trial
        steepest = np.abs(np.diff(given, axis=0)).max() / grid.spacing[0]
        stable = min(stable, diffusion / steepest**2 / (4 if grid.dim == 1 else 1))
    return equation, pde.ScalarField(box, start), stable


def euler(problem: Problem) -> Any:
    equation, start, stable = prepared(problem)
    steps = int(np.ceil(problem.t / (0.8 * stable)))
    solver = pde.EulerSolver(equation, backend="numba")
    return compiled(solver, start, problem.t, problem.t / steps)


def lsoda(problem: Problem) -> Any:
    equation, start, stable = prepared(problem)
    options = {"method": "LSODA", "lband": 1, "uband": 1, "rtol": 1e-6, "atol": 1e-8}
    solver = pde.ScipySolver(equation, backend="numba", **options)
    return compiled(solver, start, problem.t, stable)


def compiled(solver: Any, start: Any, end: float, dt: float) -> Any:
    advance = solver.make_stepper(start, dt=dt)

    def run(t: float = end) -> Array:
        state = start.copy()
        advance(state, 0.0, t)
        return state.data

    run(2 * dt)
    return run


def methods() -> tuple[Method, ...]:
    return (
        Method("W1", "py-pde, Euler", euler),
        Method("W1", "py-pde, LSODA of SciPy", lsoda),
        Method("W2", "py-pde, Euler", euler, largest=256**2),
        Method("W3", "py-pde, Euler", euler),
        Method("W5", "py-pde, Euler", euler),
        Method("W6", "py-pde, Euler", euler),
    )
