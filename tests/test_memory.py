"""Memory: a solve in the plane needs no more than a dozen fields, results included."""

import tracemalloc

import numpy as np
import pytest

import pdekit as pk

MOST = 12  # fields of the grid at the peak
ON_THE_GRID = 14  # where the coarser grid does not do and the rates are made once more
PLANE = pk.Grid((-3, -3), (3, 3), (384, 384))
START = pk.Gaussian((-1.0, 0.0), 0.3)


def bowl(x):
    a, b = x[..., 0], x[..., 1]
    return (a * a - 1) ** 2 / 4 + b * b / 2 + 0.3 * a * b


CASES = [
    ("fokker-planck", pk.FokkerPlanck(bowl, 4.0), START, 1.0),
    ("backward", pk.BackwardKolmogorov(bowl, 4.0), bowl, 0.2),
    ("heat", pk.Heat(10.0), bowl, 0.5),
    ("viscous", pk.ViscousHJ(10.0), bowl, 0.5),
    ("hamilton-jacobi", pk.HamiltonJacobi(), bowl, 0.5),
]


@pytest.mark.parametrize("equation, initial, t", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_solve_needs_at_most_twelve_fields(equation, initial, t):
    """The default scheme, everything NumPy allocates counted, from the problem to the solution.

    What the compiled kernels allocate is a few lines of cells, a hundredth of a field.
    """
    coordinates = PLANE.centres  # the grid's own, made once
    pk.solve(equation, PLANE, initial, t)
    tracemalloc.start()
    solution = pk.solve(equation, PLANE, initial, t)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    most = ON_THE_GRID if solution.stats.get("planned_on_the_grid") else MOST
    assert coordinates.shape == (*solution.fields.shape[1:], 2)
    assert solution.fields.nbytes <= peak <= most * np.prod(PLANE.shape) * 8
