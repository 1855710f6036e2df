"""<u(t), rho(T - t)> does not depend on t: expectations and densities are transposes."""

import numpy as np
import pytest
from cases import EQUATIONS, GRIDS

import pdekit as pk
from pdekit import schemes
from pdekit.pde.problem import Problem

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
FORWARD = {c.grid: c for c in EQUATIONS if isinstance(c.equation, pk.FokkerPlanck)}
T = 0.8


def pairing(grid, scheme):
    """<u(T - t), rho(t)> at several t, from two separate runs."""
    case = FORWARD[grid]
    times = np.linspace(0, T, 9)
    start = pk.stationary(case.equation, grid).values * (1 + np.tanh(grid.centres.sum(-1)) / 2)
    solution = pk.solve(case.equation, grid, start, times, scheme)
    assert solution.stats.get("backward_euler_steps", 0) == 0  # those are not transposed
    rho = solution.fields
    backward = pk.BackwardKolmogorov(case.equation.potential, case.equation.beta)
    u = pk.solve(backward, grid, lambda x: np.tanh(x.sum(-1)), times, scheme).fields
    return grid.integrate(u[::-1] * rho)


@pytest.mark.parametrize("where", [k for k, g in GRIDS.items() if g.dim == 1])
def test_expectations_are_constant_along_the_pair(where):
    values = pairing(GRIDS[where], schemes.Exponential())
    np.testing.assert_allclose(values, values[0], rtol=1e-12)


@pytest.mark.parametrize("where", GRIDS)
def test_implicit_steps_are_transposes_of_each_other(where):
    grid = GRIDS[where]
    values = pairing(grid, schemes.Implicit(1 / 16 * T))
    np.testing.assert_allclose(values, values[0], rtol=1e-12)


@pytest.mark.parametrize("where", [k for k, g in GRIDS.items() if g.dim == 2])
def test_splitting_agrees_to_its_tolerance(where):
    values = pairing(GRIDS[where], schemes.Split(1e-6))
    assert np.ptp(values) <= 1e-5


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_forward_and_backward_operators_are_transposes(grid):
    made = Problem(FORWARD[grid].equation, grid, None).generator()
    rng = np.random.default_rng(1)
    u, rho = rng.normal(size=grid.shape), rng.normal(size=grid.shape)
    left, right = (made.backward(u) * rho).sum(), (u * made.forward(rho)).sum()
    assert left == pytest.approx(right, abs=1e-12 * made.exit_rate().max() * u.size)


@pytest.mark.parametrize("where", ["line", "circle"])
def test_transition_probabilities(where):
    """rho from one cell, read in another, is u from the other, read in the one."""
    grid = GRIDS[where]
    equation = FORWARD[grid].equation
    backward = pk.BackwardKolmogorov(equation.potential, equation.beta)
    one, other = np.zeros(grid.shape), np.zeros(grid.shape)
    one[12], other[40] = 1.0, 1.0
    p = pk.solve(equation, grid, one, T).fields[0][40]
    q = pk.solve(backward, grid, other, T).fields[0][12]
    assert p == pytest.approx(q, abs=1e-13)
    assert p > 1e-8
