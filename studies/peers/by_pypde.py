"""py-pde: expressions, compiled by numba, and explicit Runge-Kutta steps of adapted length.

What it compiles is not timed; the steps are. Its own default, ``solve`` with one call, compiles
anew each time.
"""

from typing import Any

import numpy as np
import pde

from peers.problems import ATTRACTION, BETA, CROWD_BETA, HOT, Array, Method, Problem

DRIFTS = {
    "W1": f"laplace(c) / {BETA} + d_dx((x**3 - x) * c)",
    "W2": f"laplace(c) / {BETA} + d_dx((x**3 - x + 0.3 * y) * c) + d_dy((y + 0.3 * x) * c)",
    "W3": f"laplace(c) / {2 * HOT} - gradient_squared(c) / 2",
    "W5": f"laplace(c) / {2 * HOT}",
    "W6": f"laplace(c) / {CROWD_BETA} + d_dx((x**3 - x + {ATTRACTION} * (x - integral(x * c))) * c)",
}


def stepper(problem: Problem, tolerance: float = 1e-6) -> Any:
    """A compiled run of the problem; normal derivatives vanish at the walls."""
    grid = problem.grid
    box = pde.CartesianGrid(list(zip(grid.lower, grid.upper, strict=True)), list(grid.cells))
    given = problem.given
    start = given if isinstance(given, np.ndarray) else given.density(grid)
    bc = {"derivative": 0}
    equation = pde.PDE({"c": DRIFTS[problem.kind]}, bc=bc)
    first = 0.1 * min(grid.spacing) ** 2

    solver = pde.RungeKuttaSolver(equation, backend="numba", adaptive=True, tolerance=tolerance)
    advance = solver.make_stepper(pde.ScalarField(box, start), dt=first)

    def run(t: float = problem.t) -> Array:
        state = pde.ScalarField(box, start)
        advance(state, 0.0, t)
        return state.data

    run(2 * first)
    return run


def methods() -> tuple[Method, ...]:
    return (
        Method("W1", "py-pde", stepper),
        Method("W2", "py-pde", stepper, largest=256**2),
        Method("W3", "py-pde", stepper),
        Method("W5", "py-pde", stepper),
        Method("W6", "py-pde", stepper),
    )
