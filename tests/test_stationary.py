"""Stationary densities and currents: positive, of mass one, exact for the generator, second order.

Forces and tensors are drawn at random; the bars are those of thesis example 6.43.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import GRIDS
from driven import driven, random_chain, random_equation
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import named
from scipy.sparse import block_diag

import pdekit as pk
from pdekit.pde.discrete import chains
from pdekit.pde.discrete.problem import Problem

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
WELL = pk.potentials.DoubleWell()
BOX = ((-4.5, -4.5), (4.5, 4.5))
every_grid = st.sampled_from(sorted(GRIDS)).map(GRIDS.get)
seeds = st.integers(0, 10**6)


@settings.get_profile("often")
@given(every_grid, seeds, st.booleans())
def test_random_drifts_and_tensors_have_a_positive_stationary_density(grid, seed, tensor):
    """Residual of pi L = 0 below 1e-13 of what flows through that very cell; mass one."""
    equation = random_equation(grid, seed, tensor)
    rho = pk.stationary(equation, grid)
    assert rho.dims == grid.names and rho.values.min() > 0
    assert grid.integrate(rho.values) == pytest.approx(1, abs=1e-13)
    generator = Problem(equation, grid, None).generator()
    through = generator.exit_rate() * rho.values
    assert (np.abs(generator.forward(rho.values)) <= 1e-13 * through).all()


@settings.get_profile("often")
@given(every_grid, seeds, st.sampled_from([0.0, 5.0, 30.0]))
def test_any_chain_has_its_invariant_law(grid, seed, decades):
    """Rates over 30 decades and jumps across corners; every cell in balance to rounding."""
    matrix = random_chain(grid, seed, decades)
    pi = chains.invariant(matrix, grid)
    through = -matrix.diagonal() * pi
    assert pi.min() > 0 and pi.sum() == pytest.approx(1, abs=1e-14)
    assert (np.abs(matrix.T @ pi) <= 1e-13 * through).all()


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize("height", [1.0, 300.0])
def test_elimination_finds_the_gibbs_state(grid, height):
    """To 1e-12 of itself in every cell, where it is 1e-130 too, though told nothing of V."""
    V = np.random.default_rng(5).random(grid.shape) * height
    zero = pk.FokkerPlanck(lambda x: V, 1.0, force=lambda x: 0 * x)
    gibbs = np.exp(-(V - V.min()))
    rho = pk.stationary(zero, grid).values
    np.testing.assert_allclose(rho, gibbs / grid.integrate(gibbs), rtol=1e-12 * max(height, 1) / 10)


def test_a_number_for_diffusion_only_warms():
    grid, V = pk.Grid(-3, 3, 90), WELL
    warm = pk.stationary(pk.FokkerPlanck(V, 4.0, diffusion=2.0), grid).values
    np.testing.assert_allclose(
        warm, pk.stationary(pk.FokkerPlanck(V, 2.0), grid).values, rtol=1e-14
    )
    equation = pk.FokkerPlanck(V, 4.0, diffusion=lambda x: 2.0 + 0 * x[..., 0])
    np.testing.assert_allclose(pk.stationary(equation, grid).values, warm, rtol=1e-11)


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_the_limit_cycle_of_the_thesis(strength):
    """Example 6.43: density to 1e-3 and current to 2e-3 on 256²; second order, constants stated.

    Measured errors are 0.017 h² and 0.12 h² (strength 0.5), 0.045 h² and 0.37 h² (1.5).
    """
    case, errors = pk.LimitCycle(strength), []
    for cells in (64, 128, 256):
        grid = pk.Grid(*BOX, cells)
        rho = pk.stationary(case.equation, grid)
        J = pk.current(case.equation, rho, grid)
        assert J.dims == ("x", "y", "component") and rho.values.min() > 0
        apart = J.values - case.current(grid.centres)
        l1 = grid.integrate(np.abs(rho.values - case.density(grid.centres)))
        errors.append([l1, grid.integrate(np.hypot(apart[..., 0], apart[..., 1]))])
    errors = np.array(errors)
    assert errors[-1][0] < 1e-3 / 10 and errors[-1][1] < 2e-3 / 3
    h = 9 / np.array([64, 128, 256])[:, None]
    assert (errors / h**2 < (np.array([0.022, 0.16]) if strength < 1 else [0.06, 0.5])).all()
    orders = np.log2(errors[:-1] / errors[1:])
    assert (np.abs(orders - 2) < 0.2).all()


def test_the_current_of_the_limit_cycle_at_the_table_s_points():
    """By bicubic interpolation of the 256² current: 5e-5 of a current of 0.05."""
    table = {
        tuple(map(float, k.split(","))): float(v)
        for k, v in VALUES["ex643.current.lambda0.5"]["value"].items()
    }
    case, grid = pk.LimitCycle(0.5), pk.Grid(*BOX, 256)
    J = pk.current(case.equation, pk.stationary(case.equation, grid), grid)
    from scipy.interpolate import RectBivariateSpline

    for (x, y), size in table.items():
        found = [RectBivariateSpline(*grid.axes, J.values[..., k]).ev(x, y) for k in (0, 1)]
        expected = size * np.array([-y, x]) / np.hypot(x, y)
        np.testing.assert_allclose(found, expected, atol=3e-5)
        np.testing.assert_allclose(case.current([x, y]), expected, atol=1e-15)


def test_a_second_way_to_the_generator_agrees():
    """Rates fitted to the whole force, assembled by hand in driven.py, have the same limit."""
    case, grid = pk.LimitCycle(0.5), pk.Grid(*BOX, 96)
    made = driven(case.potential, case.force, 1.0, grid)
    pi = chains.invariant(made.matrix(), grid).reshape(grid.shape) / grid.cell_volume
    rho = pk.stationary(case.equation, grid).values
    assert 0 < grid.integrate(np.abs(pi - rho)) < 3e-4


@pytest.mark.parametrize("push", [0.3, 2.0])
def test_the_current_round_a_ring(push):
    """V = cos x with a constant force f on a circle: J from the closed form, of second order.

    J = (1 - e^{-2πβf}) / (β ∫∫_0^{2π} e^{β(V(x + y) - V(x) - f y)} dy dx), the same in each cell.
    """
    beta, found = 2.0, []
    nodes, weights = np.polynomial.legendre.leggauss(200)
    y, w = np.pi * (nodes + 1), np.pi * weights
    x = 2 * np.pi * np.arange(400) / 400
    inner = np.exp(beta * (np.cos(x[:, None] + y) - np.cos(x)[:, None] - push * y)) @ w
    true = -np.expm1(-2 * np.pi * beta * push) / (beta * inner.mean() * 2 * np.pi)
    for cells in (100, 200):
        grid = pk.Grid(0, 2 * np.pi, cells, periodic=True)
        ring = pk.FokkerPlanck(lambda x: np.cos(x[..., 0]), beta, force=lambda x: push + 0 * x)
        J = pk.current(ring, pk.stationary(ring, grid), grid).values[:, 0]
        assert np.ptp(J) < 1e-12
        found.append(J[0] / true - 1)
    assert abs(found[0] / found[1] - 4) < 0.05 and abs(found[1]) < 2e-3


@settings.get_profile("often")
@given(every_grid, seeds)
def test_no_current_in_detailed_balance(grid, seed):
    """J vanishes to 1e-14 of the gross flow; `detailed_balance` says so, and finds a force."""
    plain = random_equation(grid, seed, tensor=False)
    still = pk.FokkerPlanck(plain.potential, plain.beta)
    rho = pk.stationary(still, grid)
    gross = (Problem(still, grid, None).generator().exit_rate() * rho.values).max()
    J = np.abs(pk.current(still, rho, grid).values).max()
    assert 1e-14 * gross * grid.spacing.max() * 4 > J
    assert pk.detailed_balance(still, grid) < 1e-14
    stirred = pk.FokkerPlanck(plain.potential, plain.beta, force=lambda x: 1 + 0 * x)
    if any(grid.periodic):
        assert pk.detailed_balance(stirred, grid) > 1e-7


@settings.get_profile("often")
@given(every_grid, seeds)
def test_nothing_crosses_a_wall_and_the_current_sums_to_the_mean_drift(grid, seed):
    """∫ J = d/dt E X where walls close the box: sum x_i (L^T rho)_i, for any density at all."""
    equation = random_equation(grid, seed)
    rho = np.random.default_rng(seed).random(grid.shape)
    J = pk.current(equation, rho, grid).values
    moved = Problem(equation, grid, None).generator().forward(rho)
    for axis in np.flatnonzero(~np.array(grid.periodic)):
        expected = grid.integrate(moved * grid.centres[..., axis])
        assert grid.integrate(J[..., axis]) == pytest.approx(expected, abs=1e-9)


def test_two_sets_that_nothing_leaves_are_reported():
    grid, half = pk.Grid(0, 1, 12), pk.Grid(0, 1, 6)
    apart = block_diag([random_chain(half, 1), random_chain(half, 2)]).tocsr()
    with pytest.raises(ValueError, match=r"not unique: 2 closed sets.*cell \(0,\).*cell \(6,\)"):
        chains.invariant(apart, grid)


def test_cells_that_are_left_for_good_hold_nothing():
    """Drift without diffusion towards the right half: the left empties, the rest is as alone."""
    grid, half = pk.Grid(0, 1, 12), pk.Grid(0, 1, 6)
    joined = block_diag([random_chain(half, 1), random_chain(half, 2)]).tolil()
    joined[2, 7] = 0.5
    pi = chains.invariant(joined.tocsr(), grid)
    assert (pi[:6] == 0).all()
    np.testing.assert_allclose(pi[6:], chains.invariant(random_chain(half, 2), half), rtol=1e-14)


def test_kinetic_equation_with_diffusion_in_one_direction_only():
    """(q, p) with friction 1 in the well q²/2: exp(-β(q² + p²)/2), to first order of the upwind."""
    beta, errors = 1.0, []
    for cells in (40, 80):
        grid = pk.Grid((-4.5, -4.5), (4.5, 4.5), cells)
        equation = pk.FokkerPlanck(
            lambda x: 0 * x[..., 0],
            beta,
            force=lambda x: np.stack([x[..., 1], -x[..., 0] - x[..., 1]], -1),
            diffusion=((0.0, 0.0), (0.0, 1.0)),
        )
        rho = pk.stationary(equation, grid).values
        true = np.exp(-beta * (grid.centres**2).sum(-1) / 2) * beta / (2 * np.pi)
        errors.append(grid.integrate(np.abs(rho - true)))
    assert errors[1] < 0.65 * errors[0] < 0.65 * 0.35


MISTAKES = {
    "absorbing": (
        lambda: pk.stationary(
            pk.FokkerPlanck(WELL, 1.0, walls=pk.Walls(upper=True)), pk.Grid(0, 1, 9)
        ), ValueError, "slow_modes"),
    "not a density": (
        lambda: pk.stationary(pk.Heat(1.0), pk.Grid(0, 1, 9)), TypeError, "FokkerPlanck"),
    "no grid": (
        lambda: pk.stationary(pk.FokkerPlanck(WELL, 1.0), 9), TypeError,
        r"pdekit\.Grid"),
    "current of another shape": (
        lambda: pk.current(
            pk.FokkerPlanck(WELL, 1.0), np.ones(8), pk.Grid(0, 1, 9)
        ), ValueError, r"\(9,\), got \(8,\)"),
    "negative rate": (
        lambda: chains.rates(-random_chain(pk.Grid(0, 1, 5), 0)), ValueError, "must be >= 0"),
}  # fmt: skip


test_mistakes = named(MISTAKES)
