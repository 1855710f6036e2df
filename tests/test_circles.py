"""Circles and boxes at any number of cells: smoothing over many turns, and no cell is the first."""

import numpy as np
import pytest

import pdekit as pk


@pytest.mark.parametrize("cells", [14, 15])
@pytest.mark.parametrize("periodic", [True, False])
def test_all_is_the_mean_in_the_end(cells: int, periodic: bool) -> None:
    """u -> -log(mean of exp(-beta f)) / beta."""
    grid, beta = pk.Grid(0, 2 * np.pi, cells, periodic=periodic), 1.3
    f = np.cos(grid.axes[0]) + 0.3 * np.sin(2 * grid.axes[0])
    u = pk.solve(pk.ViscousHJ(beta), grid, f, 3e3, pk.schemes.ColeHopf()).fields[-1]
    np.testing.assert_allclose(u, -np.log(np.exp(-beta * f).mean()) / beta, atol=5e-3)


def test_burgers_round_a_circle_knows_no_first_cell() -> None:
    """What is turned by some cells stays turned by them."""
    grid, t = pk.Grid(0, 2 * np.pi, 16, periodic=True), 2.0
    p = 0.4 + np.sin(grid.axes[0]) + 0.2 * np.cos(2 * grid.axes[0])
    u = pk.solve(pk.Burgers(), grid, p, t).fields[-1]
    assert u.mean() == pytest.approx(p.mean(), abs=1e-12)
    for cells in (1, 5, 11):
        turned = pk.solve(pk.Burgers(), grid, np.roll(p, cells), t).fields[-1]
        np.testing.assert_allclose(turned, np.roll(u, cells), atol=1e-9)
