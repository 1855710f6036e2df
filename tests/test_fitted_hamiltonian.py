"""The fitted Hamiltonian in its forms, and against quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad

import pdekit as pk
from pdekit.pde.bellman.hamiltonian import FittedHamiltonian

LINE, RING = pk.Grid(0, 1, 12), pk.Grid(0, 1, 12, periodic=True)
PLANE = pk.Grid((0, 0), (1, 2), (7, 9), (True, False))


@pytest.mark.parametrize("grid", [LINE, RING, PLANE], ids=["line", "ring", "pipe"])
@pytest.mark.parametrize("size", [1e-3, 1.0, 300.0])
def test_compiled_and_plain_are_the_same(grid: pk.Grid, size: float) -> None:
    """Jumps that are short, and jumps that are left to the plain form."""
    rng = np.random.default_rng(2)
    hamiltonian = FittedHamiltonian(rng.normal(size=grid.shape), 2.0, grid)
    u = size * rng.normal(size=grid.shape)
    plain = hamiltonian.plain(u)
    scale = np.abs(plain).max()
    np.testing.assert_allclose(hamiltonian(u) / scale, plain / scale, rtol=0, atol=1e-12)
    assert not hamiltonian(np.full(grid.shape, 3.0)).any()


def test_one_edge_by_quadrature() -> None:
    """Between cells with jumps w of beta V and j of beta u: ∫_0^j B(w + s) ds / (beta h)²."""
    grid, beta = pk.Grid(0, 1, 4), 2.0
    V, u = np.array([0.0, 0.7, 0.7, 0.7]), np.array([0.0, 0.4, 0.4, 0.4])
    w, jump = beta * 0.7, beta * 0.4
    gain = quad(lambda s: (w + s) / np.expm1(w + s), 0, jump, epsabs=1e-14)[0]
    back = -quad(lambda s: (-w - s) / np.expm1(-w - s), 0, jump, epsabs=1e-14)[0]
    found = FittedHamiltonian(V, beta, grid)(u)
    np.testing.assert_allclose(found, np.array([gain, back, 0, 0]) * 16 / beta**2, atol=1e-11)


def test_a_spike_that_the_coarser_grid_does_not_see_is_planned_for_on_the_grid() -> None:
    plane = pk.Grid((-3, -3), (3, 3), (64, 64))
    spike = np.zeros(plane.shape)
    spike[31, 33] = 1.0
    equation = pk.FokkerPlanck(pk.potentials.Quadratic(1.0, 2), 1.0)
    stats = pk.solve(equation, plane, spike, 0.02, pk.schemes.Split(1e-3)).stats
    assert stats["planned_on_the_grid"] == 1
    smooth = pk.solve(equation, plane, pk.Gaussian([0, 0], 0.5), 0.02, pk.schemes.Split(1e-3)).stats
    assert smooth["planned_on_the_grid"] == 0
