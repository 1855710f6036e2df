"""A grid too coarse for the drift is said to be, with the number of cells that would do."""

import re
import warnings

import numpy as np
import pytest

import pdekit as pk

WELL = pk.potentials.DoubleWell()
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0], dim=2)
pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")


def met(equation, grid, law):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pk.ResolutionWarning)
        solution = pk.solve(equation, grid, law, 0.1)
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
    stats, warned = met(equation, grid, pk.Gaussian((0.0, 0.0), 0.3))
    delta = 3.0 * 4.0 / n / 0.5
    assert stats["cell_peclet"] == pytest.approx(delta, rel=1e-12)
    assert not warned


def test_transport_without_diffusion_is_named():
    equation = pk.FokkerPlanck(
        FLAT, 1.0, force=lambda x: np.stack([x[..., 1], -x[..., 1]], -1), diffusion=((0, 0), (0, 1))
    )
    stats, (warning,) = met(equation, pk.Grid((-3, -3), (3, 3), (40, 40)), pk.Gaussian((0, 0), 0.5))
    assert "without diffusion along it" in str(warning.message)
    assert stats["upwinded"] > 0.7


def test_a_fine_grid_is_silent():
    stats, warned = met(pk.FokkerPlanck(WELL, 4.0), pk.Grid(-3, 3, 600), pk.Gaussian(-1.0, 0.1))
    assert not warned and stats["upwinded"] == 0.0 and 0 < stats["cell_peclet"] < 0.1
