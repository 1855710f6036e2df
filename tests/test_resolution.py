"""A grid too coarse for the drift is said to be, with the number of cells that would do."""

import re
import warnings

import numpy as np
import pytest

import pdekit as pk

WELL = pk.potentials.DoubleWell()
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0], dim=2)
pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")


def met(equation, grid, law, scheme=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pk.ResolutionWarning)
        solution = pk.solve(equation, grid, law, 0.1, scheme)
    return solution.stats, [w for w in caught if w.category is pk.ResolutionWarning]


def test_a_coarse_line_is_reported_with_the_cells_that_do():
    equation, law = pk.FokkerPlanck(WELL, 400.0), pk.Gaussian(-1.5, 0.2)
    stats, (warning,) = met(equation, pk.Grid(-3, 3, 30), law)
    assert stats["upwinded"] > 0.5 and stats["cell_peclet"] > 2
    (cells,) = map(int, re.findall(r"about \((\d+),\) cells", str(warning.message)))
    stats, warned = met(equation, pk.Grid(-3, 3, cells), law)
    assert not warned and stats["upwinded"] < 0.1
    assert warning.filename == __file__  # points at the caller's line


@pytest.mark.parametrize("n", [20, 40])
def test_the_number_is_beta_h_b_over_d(n):
    """Of a constant drift b over D along x, a gradient between walls: log(up / down) is it."""
    grid = pk.Grid((-2.0, -2.0), (2.0, 2.0), (n, n))
    equation = pk.FokkerPlanck(
        FLAT, 3.0, force=lambda x: np.ones_like(x) * [1.0, 0.2], diffusion=0.5
    )
    stats, warned = met(equation, grid, pk.Gaussian((0.0, 0.0), 0.5))
    delta = 3.0 * 4.0 / n / 0.5
    assert stats["cell_peclet"] == pytest.approx(delta, rel=1e-12)
    assert not warned


def test_transport_without_diffusion_is_named():
    equation = pk.FokkerPlanck(
        FLAT, 1.0, force=lambda x: np.stack([x[..., 1], -x[..., 1]], -1), diffusion=((0, 0), (0, 1))
    )
    plane, law = pk.Grid((-3, -3), (3, 3), (40, 40)), pk.Gaussian((0, 0), 0.5)
    stats, (warning,) = met(equation, plane, law, pk.schemes.Krylov())
    assert "without diffusion along it" in str(warning.message)
    assert stats["upwinded"] > 0.7


def test_a_fine_grid_is_silent():
    stats, warned = met(pk.FokkerPlanck(WELL, 4.0), pk.Grid(-3, 3, 600), pk.Gaussian(-1.0, 0.1))
    assert not warned and stats["upwinded"] == 0.0 and 0 < stats["cell_peclet"] < 0.1


def test_centred_rates_round_a_circle_are_silent():
    """A Péclet number of 1.8, whose rates differ by a factor of nineteen: no diffusion is added."""
    ring = pk.Grid(0, 1, 1000, periodic=True)
    equation = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 90.0, force=lambda x: 20 + 0 * x)
    stats, warned = met(equation, ring, 1 + 0.9 * np.cos(2 * np.pi * ring.axes[0]))
    assert stats["cell_peclet"] == pytest.approx(1.8)
    assert not warned


def backward(potential, beta, grid, data, t=0.1):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pk.ResolutionWarning)
        solution = pk.solve(pk.BackwardKolmogorov(potential, beta), grid, data, t)
    return solution, [w for w in caught if w.category is pk.ResolutionWarning]


def test_a_function_advected_over_coarse_cells_is_reported():
    """Down a slope of Péclet number 20: the wave comes out damped by what the cells add."""
    slope = lambda x: -5 * x[..., 0]  # noqa: E731
    wave = lambda x: np.cos(4 * np.pi * x[..., 0])  # noqa: E731
    solution, (warning,) = backward(slope, 200.0, pk.Grid(0, 1, 50), wave)
    assert solution.stats["on_other_cells"] > 0.05
    assert "about" in str(warning.message) and warning.filename == __file__
    solution, warned = backward(slope, 200.0, pk.Grid(0, 1, 1000), wave)
    assert not warned and "on_other_cells" not in solution.stats


def test_steep_cells_that_do_not_matter_are_silent():
    """The quartic's walls, which everything leaves at once for where it is smooth."""
    solution, warned = backward(WELL, 20.0, pk.Grid(-3, 3, 200), lambda x: x[..., 0], 1.0)
    assert solution.stats["on_other_cells"] < 0.02
    assert not warned


def test_a_front_within_a_cell_is_reported():
    """Data that jump somewhere in a cell, for as long as the function still does."""
    step = lambda x: (x[..., 0] > 0.4).astype(float)  # noqa: E731
    _, (warning,) = backward(WELL, 1.0, pk.Grid(-3, 3, 200), step, 1e-4)
    assert "jump within a cell" in str(warning.message)
    assert not backward(WELL, 1.0, pk.Grid(-3, 3, 200), step, 0.1)[1]


def test_coarse_functions_that_only_their_cells_know_are_reported():
    grid = pk.Grid(0, 1, 50)
    values = -5 * grid.axes[0]
    _, (warning,) = backward(lambda x: values, 200.0, grid, np.cos(4 * np.pi * grid.axes[0]))
    assert "functions of points" in str(warning.message)
