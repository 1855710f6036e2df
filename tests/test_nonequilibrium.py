"""Stationary states out of equilibrium: built, taken apart, and what they cost."""

import json
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import named
from scipy.optimize import root

import pdekit as pk
from pdekit.pde.exact import solutions

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
WELL = pk.potentials.DoubleWell()
seeds = st.integers(0, 10**6)


def fractions(rows):
    return np.array([[float(Fraction(v)) for v in row] for row in rows])


def swirl(x):
    """A field of antisymmetric matrices."""
    q = 0.6 * np.cos(x[..., 0]) + 0.4 * x[..., 1]
    return q[..., None, None] * np.array([[0.0, 1.0], [-1.0, 0.0]])


def stretch(x):
    """A field of positive definite matrices with cross terms."""
    a, b = 1 + 0.3 * np.sin(x[..., 0]), 0.3 * np.cos(x[..., 1])
    return np.stack([np.stack([a, b], -1), np.stack([b, 1.2 + 0.2 * np.tanh(x[..., 1])], -1)], -1)


BUILT = {
    "swirl": dict(circulation=((0.0, 0.8), (-0.8, 0.0))),
    "swirling field": dict(circulation=swirl),
    "stretched": dict(diffusion=((1.5, 0.4), (0.4, 0.8))),
    "stretching field": dict(diffusion=stretch),
    "both": dict(diffusion=stretch, circulation=swirl),
}


@pytest.mark.parametrize("name", BUILT)
def test_the_steady_state_is_the_one_asked_for(name):
    """exp(-βΦ) to second order; with the divergence forgotten or of the wrong sign it is not."""
    potential, beta, errors = pk.potentials.DoubleWell(2), 2.0, []
    for cells in (32, 64):
        grid = pk.Grid((-2.6, -2.6), (2.6, 2.6), cells)
        rho = pk.stationary(pk.with_steady_state(potential, beta, **BUILT[name]), grid).values
        gibbs = pk.stationary(pk.FokkerPlanck(potential, beta), grid).values
        errors.append(grid.integrate(np.abs(rho - gibbs)))
    assert errors[1] < 1.4e-2 and errors[0] / errors[1] > 3.2


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_force_does_not_depend_on_the_unit_of_length(unit):
    """Of x = unit y: unit times the force is that of the same fields of y."""
    potential, points = pk.potentials.DoubleWell(2), np.random.default_rng(0).normal(size=(40, 2))
    scaled = pk.potentials.Custom(
        lambda x: potential(x / unit), lambda x: potential.grad(x / unit) / unit, dim=2
    )
    plain = pk.with_steady_state(potential, 2.0, circulation=swirl).force
    other = pk.with_steady_state(scaled, 2.0, circulation=lambda x: swirl(x / unit)).force
    np.testing.assert_allclose(unit * other(unit * points), plain(points), atol=1e-8)


@pytest.mark.parametrize("name", BUILT)
def test_the_drift_solves_the_stationary_equation_pointwise(name):
    """∇·(∇f ρ + β⁻¹ ∇·(Dρ)) = 0 at ρ = exp(-βΦ), by differences of step 1e-3 to 5e-5."""
    potential, beta, h = pk.potentials.DoubleWell(2), 1.7, 1e-3
    equation = pk.with_steady_state(potential, beta, **BUILT[name])
    points = np.random.default_rng(0).uniform(-1.3, 1.3, (40, 2))

    def tensor(x):
        D = 1.0 if equation.diffusion is None else equation.diffusion.D
        D = np.asarray(D(x) if callable(D) else D)
        return D if D.ndim >= 2 else D * np.eye(2)

    def flux(x, k):
        weight = np.exp(-beta * potential(x))
        out = (-potential.grad(x) + equation.force(x))[:, k] * weight
        for j in range(2):
            e = h * np.eye(2)[j]
            ends = [tensor(x + s * e)[..., k, j] * np.exp(-beta * potential(x + s * e))
                    for s in (1, -1)]  # fmt: skip
            out = out - (ends[0] - ends[1]) / (2 * h) / beta
        return out

    total = sum(
        (flux(points + h * np.eye(2)[k], k) - flux(points - h * np.eye(2)[k], k)) / (2 * h)
        for k in range(2)
    )
    assert np.abs(total).max() < 5e-5


def test_no_circulation_is_plain_langevin():
    assert pk.with_steady_state(WELL, 3.0) == pk.FokkerPlanck(WELL, 3.0)


def test_built_equations_are_values():
    """Equal where built alike, and hashable; a number for the diffusion is one."""
    made = [
        pk.with_steady_state(WELL, 3.0, np.eye(1) * s, np.zeros((1, 1))) for s in (2.0, 2.0, 1.0)
    ]
    assert made[0] == made[1] != made[2] and len(set(made)) == 2
    grid = pk.Grid(-3, 3, 200)
    rho = pk.stationary(pk.with_steady_state(WELL, 3.0, diffusion=2.0), grid).values
    gibbs = pk.stationary(pk.FokkerPlanck(WELL, 3.0), grid).values
    assert grid.integrate(np.abs(rho - gibbs)) < 2e-3


def test_the_lemma_of_the_thesis():
    """Lemma 6.44 in rational numbers: a 3-D drift, and a Hessian under uneven noise."""
    table = VALUES["lyap644.3d"]["value"]
    noise = np.diag([float(Fraction(v)) for v in table["D"]])
    made = pk.decompose(fractions(table["F"]), noise)
    np.testing.assert_allclose(made.covariance, fractions(table["Sigma"]), atol=1e-14)
    np.testing.assert_allclose(made.circulation, fractions(table["Q"]), atol=1e-14)
    np.testing.assert_allclose(made.curvature, fractions(table["U"]), atol=1e-13)
    table = VALUES["lyap644.hessian"]["value"]
    made = pk.decompose(fractions(table["F"]), np.diag([1.0, 2.0]))
    np.testing.assert_allclose(made.circulation, fractions(table["Q"]), atol=1e-15)
    assert made.stable and not made.equilibrium
    assert pk.decompose(fractions(table["F"])).equilibrium


@settings(max_examples=200)
@given(seeds, st.integers(1, 5))
def test_any_drift_comes_apart_and_together(seed, dim):
    """F = (D + Q) U with Q antisymmetric, U symmetric; Σ is what OU noise makes where stable."""
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((dim, dim)) + dim**0.5 * np.eye(dim)
    half = rng.standard_normal((dim, dim)) + np.eye(dim)
    D = half @ half.T + 0.1 * np.eye(dim)
    try:
        made = pk.decompose(F, D)
    except ValueError:
        return
    size = np.abs(made.curvature).max() * np.abs(made.diffusion + made.circulation).max()
    np.testing.assert_allclose(
        (made.diffusion + made.circulation) @ made.curvature, F, atol=1e-11 * size
    )
    np.testing.assert_array_equal(made.circulation, -made.circulation.T)
    np.testing.assert_array_equal(made.curvature, made.curvature.T)
    assert made.stable == (np.linalg.eigvals(F).real.min() > 0)
    if made.stable:
        assert np.linalg.eigvalsh(made.covariance)[0] > 0


def test_a_turning_drift_has_the_covariance_of_the_decomposition():
    """pk.stationary of -F x under D against N(0, Σ / β): 1e-3 in L1 on 128²."""
    F, D, beta = np.array([[2.0, 1.0], [-0.5, 1.0]]), np.array([[1.0, 0.3], [0.3, 0.7]]), 4.0
    equation = pk.FokkerPlanck(lambda x: 0 * x[..., 0], beta, force=lambda x: -x @ F.T, diffusion=D)
    grid = pk.Grid((-2.6, -2.6), (2.6, 2.6), 128)
    rho = pk.stationary(equation, grid).values
    true = solutions.gaussian((0, 0), pk.decompose(F, D).covariance / beta, grid.centres)
    assert grid.integrate(np.abs(rho - true)) < 4e-3


def test_the_zeros_and_moments_of_the_limit_cycle():
    for zero in VALUES["ex643.zeros.lambda0.5"]["value"]:
        x = np.array(zero, float)
        assert np.abs(pk.LimitCycle(0.5).drift(x)).max() < 1e-11
    found = {
        tuple(np.round(made.x, 5) + 0.0)
        for start in product(np.linspace(-1.6, 1.6, 7), repeat=2)
        if (made := root(pk.LimitCycle(1.5).drift, start)).success
    }
    assert found == {(0.0, 0.0)}
    case, grid = pk.LimitCycle(0.5), pk.Grid((-7, -7), (7, 7), 280)
    rho, x = case.density(grid.centres), grid.centres
    table = VALUES["ex643.moments"]["value"]
    assert grid.integrate(rho) == pytest.approx(1, abs=1e-10)
    for k, name in enumerate(("E_x1sq", "E_x2sq")):
        assert grid.integrate(rho * x[..., k] ** 2) == pytest.approx(float(table[name]), abs=1e-9)


@pytest.mark.parametrize("beta, x, y", [(0.7, 4.0, 6.5), (2.0, 3.0, 4.0)])
def test_the_limit_cycle_at_other_temperatures(beta, x, y):
    """exp(-βΦ) and J stay stationary for the printed force with βΦ in its exponent."""
    case, errors = pk.LimitCycle(0.8, beta), []
    for cells in (48, 96):
        grid = pk.Grid((-x, -y), (x, y), cells)
        rho = pk.stationary(case.equation, grid)
        J = pk.current(case.equation, rho, grid).values
        errors.append([
            grid.integrate(np.abs(rho.values - case.density(grid.centres))),
            grid.integrate(np.abs(J - case.current(grid.centres)).sum(-1)),
        ])  # fmt: skip
    errors = np.array(errors)
    assert (errors[1] < 2e-2).all() and (errors[0] / errors[1] > 3).all()


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_the_entropy_of_the_limit_cycle(strength):
    """β ∫ |J|² / rho_ss, by quadrature of the closed forms: to 2 h² of itself; all housekeeping."""
    case, found = pk.LimitCycle(strength), []
    fine = pk.Grid((-7, -7), (7, 7), 400)
    J = case.current(fine.centres)
    true = fine.integrate((J**2).sum(-1) / case.density(fine.centres))
    for cells in (48, 96):
        grid = pk.Grid((-4.5, -4.5), (4.5, 4.5), cells)
        rho = pk.stationary(case.equation, grid)
        found.append(pk.entropy_production(case.equation, rho, grid))
        assert pk.housekeeping(case.equation, rho, grid) == pytest.approx(found[-1], rel=1e-12)
    assert abs(found[1] / true - 1) < 0.012
    assert (found[0] - true) / (found[1] - true) == pytest.approx(4, abs=0.4)


def test_entropy_production_is_housekeeping_plus_what_the_free_energy_loses():
    """σ = σ_hk + β (-dF/dt) for any density of a stirred process (Esposito, Van den Broeck).

    To second order in h: the three rates come from three different discrete expressions.
    """
    case, errors = pk.LimitCycle(0.8), []
    for cells in (32, 64):
        grid = pk.Grid((-3.4, -3.4), (3.4, 3.4), cells)
        start = pk.Gaussian((0.4, -0.3), 0.5)
        now = pk.solve(case.equation, grid, start, 0.05, pk.schemes.Split(1e-4))
        rho = now.fields[-1]
        total = pk.entropy_production(case.equation, rho, grid)
        kept = pk.housekeeping(case.equation, rho, grid)
        falls = float(pk.dissipation(now)[-1]) * case.equation.beta
        assert falls > 0.5 and kept > 0.05
        errors.append(abs(total - kept - falls) / total)
    assert errors[1] < 1e-2 and errors[0] / errors[1] > 3


def test_nothing_is_produced_in_equilibrium():
    grid, equation = pk.Grid(-3, 3, 200), pk.FokkerPlanck(WELL, 4.0)
    rho = pk.stationary(equation, grid)
    assert pk.entropy_production(equation, rho, grid) < 1e-20
    away = pk.Gaussian(0.5, 0.4).density(grid)
    assert pk.housekeeping(equation, away, grid) < 1e-20
    assert pk.entropy_production(equation, away, grid) > 0.1


@settings(max_examples=200)
@given(seeds, st.integers(2, 6), st.integers(1, 4), st.booleans())
def test_minibatch_noise_by_counting_every_batch(seed, n, dim, replacement):
    """The covariance over all batches, drawn one by one."""
    rng = np.random.default_rng(seed)
    gradients, size = rng.standard_normal((n, dim)), int(rng.integers(1, min(n, 4) + 1))
    draws = product(range(n), repeat=size) if replacement else combinations(range(n), size)
    means = np.array([gradients[list(batch)].mean(0) for batch in draws])
    expected = np.atleast_2d(np.cov(means.T, bias=True)) if len(means) > 1 else np.zeros((dim, dim))
    found = pk.minibatch_covariance(gradients, size, replacement)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_minibatch_noise_of_the_table():
    table = VALUES["minibatch.example"]["value"]
    gradients = np.array(table["G"], float)
    for replacement, name in ((True, "cov_with"), (False, "cov_without")):
        found = pk.minibatch_covariance(gradients, table["l"], replacement)
        np.testing.assert_allclose(found, np.array(table[name], float), atol=1e-14)


PLANE = pk.Grid((-2, -2), (2, 2), 12)
KINETIC = pk.FokkerPlanck(
    pk.potentials.Quadratic(dim=2), 1.0, force=lambda x: x[..., ::-1] * [1.0, -1.0],
    diffusion=((0.0, 0.0), (0.0, 1.0)),
)  # fmt: skip
MISTAKES = {
    "no gradient": (lambda: pk.with_steady_state(np.cos, 1.0), TypeError, "grad"),
    "not antisymmetric": (
        lambda: pk.with_steady_state(WELL, 1.0, circulation=np.eye(2)), ValueError,
        "antisymmetric"),
    "negative diffusion": (
        lambda: pk.with_steady_state(WELL, 1.0, diffusion=-np.eye(2)), ValueError, "semidefinite"),
    "not square": (lambda: pk.decompose(np.ones((2, 3))), ValueError, "square"),
    "opposite eigenvalues": (
        lambda: pk.decompose(np.diag([1.0, -1.0])), ValueError, "add up to zero"),
    "a centre": (
        lambda: pk.decompose([[0.0, 1.0], [-1.0, 0.0]]), ValueError, "add up to zero"),
    "singular noise": (
        lambda: pk.decompose(np.eye(2), np.diag([1.0, 0.0])), ValueError, "positive definite"),
    "degenerate": (
        lambda: pk.entropy_production(KINETIC, np.ones(PLANE.shape), PLANE), ValueError,
        "positive definite everywhere"),
    "empty batch": (
        lambda: pk.minibatch_covariance(np.eye(3), 0), ValueError, "whole number >= 1, got 0"),
    "batch too large": (
        lambda: pk.minibatch_covariance(np.eye(3), 4, False), ValueError, "size 4 of N = 3"),
}  # fmt: skip


test_mistakes = named(MISTAKES)
