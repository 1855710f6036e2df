"""<u(t), rho(T - t)> does not depend on t: expectations and densities are transposes."""

from dataclasses import fields, replace

import numpy as np
import pytest
from cases import EQUATIONS, PAIRS

import pdekit as pk
from pdekit import schemes
from pdekit.pde.discrete.problem import Problem

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
FORWARD = [c for c in EQUATIONS if isinstance(c.equation, pk.FokkerPlanck)]
T = 0.8


def of(dims):
    cases = [c for c in FORWARD if c.grid.dim in dims]
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.name)


def reversed_in_time(equation):
    """The backward equation with the same fields."""
    return pk.BackwardKolmogorov(**{f.name: getattr(equation, f.name) for f in fields(equation)})


def gradient_part(equation):
    return replace(equation, force=None, diffusion=None, walls=None, killing=None)


def pairing(case, scheme):
    """<u(T - t), rho(t)> at several t, from two separate runs."""
    grid = case.grid
    times = np.linspace(0, T, 9)
    gibbs = pk.stationary(gradient_part(case.equation), grid).values
    start = (gibbs + case.initial(grid.centres)) * (1 + np.tanh(grid.centres.sum(-1)) / 2)
    solution = pk.solve(case.equation, grid, start, times, scheme)
    assert solution.stats.get("backward_euler_steps", 0) == 0  # those are not transposed
    rho = solution.fields
    backward = reversed_in_time(case.equation)
    u = pk.solve(backward, grid, lambda x: np.tanh(x.sum(-1)), times, scheme).fields
    return grid.integrate(u[::-1] * rho)


@of([1])
def test_expectations_are_constant_along_the_pair(case):
    values = pairing(case, schemes.Exponential())
    np.testing.assert_allclose(values, values[0], rtol=1e-12)


@of([1, 2])
def test_implicit_steps_are_transposes_of_each_other(case):
    values = pairing(case, schemes.Implicit(1 / 64 * T))
    np.testing.assert_allclose(values, values[0], rtol=1e-12)


SPLIT = [row for row in PAIRS if isinstance(row[2], schemes.Split) and row[1] in FORWARD]


@pytest.mark.parametrize("case", [row[1] for row in SPLIT], ids=[row[0] for row in SPLIT])
def test_splitting_agrees_to_its_tolerance(case):
    values = pairing(case, schemes.Split(1e-5))
    assert np.ptp(values) <= 1e-4


@of([2])
def test_krylov_spaces_of_forward_and_backward_agree(case):
    """To rounding where that is asked for; at the default tolerance far below it."""
    values = pairing(case, schemes.Krylov(1e-12))
    np.testing.assert_allclose(values, values[0], rtol=1e-12)
    assert np.ptp(pairing(case, schemes.Krylov())) <= 1e-7


@of([1, 2])
def test_forward_and_backward_operators_are_transposes(case):
    grid = case.grid
    made = Problem(case.equation, grid, None).generator()
    rng = np.random.default_rng(1)
    u, rho = rng.normal(size=grid.shape), rng.normal(size=grid.shape)
    left, right = (made.backward(u) * rho).sum(), (u * made.forward(rho)).sum()
    assert left == pytest.approx(right, abs=1e-12 * made.exit_rate().max() * u.size)


@of([1])
def test_transition_probabilities(case):
    """rho from one cell, read in another, is u from the other, read in the one."""
    grid, equation = case.grid, case.equation
    backward = reversed_in_time(equation)
    one, other = np.zeros(grid.shape), np.zeros(grid.shape)
    one[12], other[40] = 1.0, 1.0
    p = pk.solve(equation, grid, one, T).fields[0][40]
    q = pk.solve(backward, grid, other, T).fields[0][12]
    assert p == pytest.approx(q, abs=1e-13)
    assert p > 1e-8
