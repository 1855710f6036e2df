"""Planes thousands of times as long as wide, killed across: the default solves what one scheme
refuses, against products of the exponentials of two lines."""

import numpy as np
import pytest

import pdekit as pk

FLAT = pk.potentials.Custom(lambda p: 0 * p[..., 0], dim=2)
WIDE, THIN = 2.5, 1e-3


def line(n, width, t, kill, f):
    """exp(t (d²/dx² - kill)) f on n cells of a line, by the modes of the symmetric matrix."""
    A = np.diag(-kill)
    for i in range(n - 1):
        step = np.eye(n)[i + 1] - np.eye(n)[i]
        A -= (n / width) ** 2 * np.outer(step, step)
    rates, modes = np.linalg.eigh(A)
    return modes @ (np.exp(t * rates) * (modes.T @ f))


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize(
    ("equation", "cells", "t"),
    [
        (pk.FokkerPlanck, (40, 40), 1.0),
        (pk.BackwardKolmogorov, (40, 40), 0.01),
        (pk.BackwardKolmogorov, (40, 40), 30.0),
        (pk.FokkerPlanck, (300, 8), 1.0),  # after a splitting that does not reach its tolerance
    ],
)
def test_thin_slabs_that_kill_are_solved_by_default(equation, cells, t):
    grid = pk.Grid((-WIDE, -THIN), (WIDE, THIN), cells)
    x, y = grid.axes[0], grid.axes[1] / THIN
    u = pk.solve(
        equation(FLAT, 1.0, killing=lambda p: (p[..., 1] / THIN) ** 2),
        grid,
        np.outer(2 + np.cos(x), 1 + y),
        t,
    )
    exact = np.outer(
        line(cells[0], 2 * WIDE, t, 0 * x, 2 + np.cos(x)),
        line(cells[1], 2 * THIN, t, y**2, 1 + y),
    )
    assert np.abs(u.fields[0] - exact).max() < 1e-6
    assert u.stats["error_estimate"] < 1e-8
    assert isinstance(u.scheme, pk.schemes.Krylov)
