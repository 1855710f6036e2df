"""Drifts at low temperature, and verbs that say when cells are too coarse: the right values."""

import warnings

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import pdekit as pk
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.exact.escape import passage_integral

WELL = pk.potentials.DoubleWell()
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x)
FLAT_PLANE = pk.potentials.Custom(lambda x: 0 * x[..., 0], dim=2)
RING = pk.Grid(0, 2 * np.pi, 100, periodic=True)


def heard(call, kind=pk.ResolutionWarning):
    """The answer and the warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = call()
    return answer, [str(w.message) for w in caught if issubclass(w.category, kind)]


def test_the_current_of_a_tilted_ring_at_low_temperature():
    """V = -cos x, force 0.7, beta = 20: exponentially small, and right to 0.5 % on 100 cells."""
    equation = pk.FokkerPlanck(lambda x: -np.cos(x[..., 0]), 20.0, force=lambda x: 0.7 + 0 * x)
    J, said = heard(lambda: pk.current(equation, pk.stationary(equation, RING), RING))
    np.testing.assert_allclose(J.values, 1.98203e-4, rtol=5e-3)
    assert not said


def test_the_same_current_round_a_torus():
    """Beside a second coordinate that turns freely, whichever of the two is tilted."""
    torus = pk.Grid((0, 0), (2 * np.pi, 2 * np.pi), (100, 12), periodic=True)
    for axis in (0, 1):
        grid = torus if axis == 0 else pk.Grid(
            torus.lower, torus.upper, torus.cells[::-1], periodic=True
        )  # fmt: skip
        tilt = 0.7 * np.eye(2)[axis] + 0.3 * np.eye(2)[1 - axis]
        equation = pk.FokkerPlanck(
            lambda x, a=axis: -np.cos(x[..., a]), 20.0, force=lambda x, f=tilt: f + 0 * x
        )
        J = pk.current(equation, pk.stationary(equation, grid), grid).values[..., axis]
        np.testing.assert_allclose(J * 2 * np.pi, 1.98203e-4, rtol=5e-3)


@pytest.mark.parametrize("beta", [20.0, 100.0, 400.0])
def test_a_drift_is_as_good_as_a_force_as_through_its_potential(beta):
    """x - x³: passage times on 200 cells, V = 0 and all of it a force, or half of it."""
    grid, errors = pk.Grid(-3, 3, 200), []
    true = passage_integral(WELL, beta, -3.0, -1.0, 1.0)
    half = pk.potentials.Custom(lambda x: WELL(x) / 2)
    for equation in (
        pk.FokkerPlanck(WELL, beta),
        pk.FokkerPlanck(FLAT, beta, force=lambda x: x - x**3),
        pk.FokkerPlanck(half, beta, force=lambda x: (x - x**3) / 2),
    ):
        tau = pk.mean_first_passage_time(equation, grid, (1.0, np.inf))
        outside = grid.axes[0] < 0.99
        at = CubicSpline(grid.axes[0][outside], tau.values[outside])(-1.0)
        errors.append(abs(float(at) / true - 1))
    assert errors[0] < 1.2e-4 * beta
    assert max(errors[1:]) < 1.3 * errors[0] + 1e-4


def test_a_gradient_in_the_plane_is_fitted_too():
    """The plane's drift of two wells, all of it a force: densities as through the potential."""
    V, beta = pk.potentials.DoubleWell(2), 60.0
    grid = pk.Grid((-1.6, -1.6), (1.6, 1.6), 64)
    by_force = pk.FokkerPlanck(FLAT_PLANE, beta, force=lambda x: x - x**3)
    rho = pk.stationary(by_force, grid).values
    gibbs = pk.stationary(pk.FokkerPlanck(V, beta), grid).values
    inside = gibbs > 1e-12 * gibbs.max()
    assert np.abs(np.log(rho[inside] / gibbs[inside])).max() < 0.06


def test_a_uniform_wind_on_a_flat_ring_adds_no_diffusion():
    """Rates of exp(ikx): k² / beta + i k f by the centred flux, up to a cell Péclet number of 2."""
    grid = pk.Grid(0, 1, 400, periodic=True)
    equation = pk.FokkerPlanck(FLAT, 10.0, force=lambda x: 20 + 0 * x)
    rate = pk.slow_modes(equation, grid, 2).rates[0]
    assert rate.real == pytest.approx(4 * np.pi**2 / 10, rel=1e-4)
    assert abs(rate.imag) == pytest.approx(2 * np.pi * 20, rel=1e-4)


def test_a_rotation_in_a_well_adds_no_diffusion():
    """V = x²/2 with 3 times a rotation: the variance 1 / beta to 1e-6 on 80 x 80 cells."""
    grid = pk.Grid((-3, -3), (3, 3), 80)
    equation = pk.FokkerPlanck(
        pk.potentials.Quadratic(dim=2), 4.0, force=lambda x: 3 * x[..., ::-1] * [-1.0, 1.0]
    )
    rho = pk.stationary(equation, grid).values
    for axis in (0, 1):
        variance = grid.integrate(rho * grid.centres[..., axis] ** 2)
        assert variance == pytest.approx(0.25, rel=3e-6)


def test_a_force_beyond_measure_in_a_corner_spoils_nothing():
    """exp(x⁴ / 4) outside: the guess of the gradient part is bounded by the force on the spot."""
    grid = pk.Grid((-3, -4), (3, 4), 96)
    case = pk.LimitCycle(0.8, 2.0)
    rho = pk.stationary(case.equation, grid).values
    assert grid.integrate(np.abs(rho - case.density(grid.centres))) < 2e-2


@pytest.mark.parametrize("cells", [64, 128])
def test_the_oscillator_with_noise_in_the_momentum_alone_is_of_second_order(cells):
    equation = pk.FokkerPlanck(
        FLAT_PLANE, 1.0,
        force=lambda x: np.stack([x[..., 1], -x[..., 0] - x[..., 1]], -1),
        diffusion=((0.0, 0.0), (0.0, 0.64)),
    )  # fmt: skip
    grid = pk.Grid((-4, -4), (4, 4), cells)
    rho, said = heard(lambda: pk.stationary(equation, grid))
    assert said == []
    x = grid.centres
    covariance = np.einsum("ij,ija,ijb->ab", rho.values * grid.cell_volume, x, x)
    np.testing.assert_allclose(covariance, 0.64 * np.eye(2), atol=grid.spacing[0] ** 2)
    _, said = heard(lambda: pk.current(equation, rho, grid))
    assert len(said) == 1  # of first order still


COARSE, NARROW = pk.Grid(-3, 3, 24), pk.FokkerPlanck(WELL, 400.0)
SLOPE = pk.FokkerPlanck(pk.potentials.Custom(lambda x: x[..., 0]), 30.0)
STIRRED = pk.FokkerPlanck(
    lambda x: np.cos(x[..., 0]) + np.cos(x[..., 1]), 20.0,
    force=lambda x: 4 * np.stack([np.sin(x[..., 1]), -np.sin(x[..., 0])], -1),
)  # fmt: skip
TORUS = pk.Grid((0, 0), (2 * np.pi, 2 * np.pi), 16, periodic=True)
SPEAK = {
    "stationary, two narrow wells": lambda: pk.stationary(NARROW, COARSE),
    "stationary, a thin layer": lambda: pk.stationary(SLOPE, pk.Grid(0, 1, 20)),
    "stationary, stirred": lambda: pk.stationary(STIRRED, TORUS),
    "current": lambda: pk.current(STIRRED, np.ones(TORUS.shape), TORUS),
    "current of a spike": lambda: pk.current(
        pk.FokkerPlanck(WELL, 1.0), np.eye(1, 24, 12)[0], COARSE),
    "detailed balance": lambda: pk.detailed_balance(STIRRED, TORUS),
    "gap": lambda: pk.spectral_gap(pk.FokkerPlanck(WELL, 100.0), COARSE),
    "gap, extrapolated": lambda: pk.spectral_gap(pk.FokkerPlanck(WELL, 100.0), COARSE, True),
    "modes": lambda: pk.slow_modes(STIRRED, TORUS, 3),
    "passage time": lambda: pk.mean_first_passage_time(
        pk.FokkerPlanck(WELL, 100.0), COARSE, (1.0, np.inf)),
    "a target of one cell": lambda: pk.mean_first_passage_time(
        pk.FokkerPlanck(pk.potentials.DoubleWell(2), 4.0), pk.Grid((-3, -3), (3, 3), 41),
        ((-0.05, -0.05), (0.05, 0.05))),
    "committor": lambda: pk.committor(
        pk.FokkerPlanck(pk.potentials.Custom(lambda x: np.cos(20 * x[..., 0])), 5.0),
        COARSE, (-np.inf, -2.0), (2.0, np.inf)),
    "entropy": lambda: pk.entropy_production(STIRRED, np.ones(TORUS.shape), TORUS),
    "housekeeping": lambda: pk.housekeeping(STIRRED, np.ones(TORUS.shape), TORUS),
}  # fmt: skip


@pytest.mark.parametrize("name", SPEAK)
def test_every_stationary_verb_speaks_of_resolution(name):
    _, said = heard(SPEAK[name])
    assert said


HEALTHY, FINE = pk.FokkerPlanck(WELL, 4.0), pk.Grid(-3, 3, 200)
SILENT = {
    "stationary": lambda: pk.stationary(HEALTHY, FINE),
    "current": lambda: pk.current(HEALTHY, pk.stationary(HEALTHY, FINE), FINE),
    "detailed balance": lambda: pk.detailed_balance(HEALTHY, FINE),
    "gap": lambda: pk.spectral_gap(HEALTHY, FINE),
    "modes": lambda: pk.slow_modes(HEALTHY, FINE, 3),
    "passage time": lambda: pk.mean_first_passage_time(HEALTHY, FINE, (1.0, np.inf)),
    "committor": lambda: pk.committor(HEALTHY, FINE, (-np.inf, -1.0), (1.0, np.inf)),
    "limit cycle": lambda: pk.stationary(
        pk.LimitCycle(0.5).equation, pk.Grid((-4.5, -4.5), (4.5, 4.5), 64)),
    "entropy": lambda: pk.entropy_production(HEALTHY, pk.stationary(HEALTHY, FINE), FINE),
}  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_healthy_problems_are_answered_in_silence(name):
    _, said = heard(SILENT[name], UserWarning)
    assert not said


@pytest.mark.parametrize("call", [
    lambda n: pk.stationary(NARROW, pk.Grid(-3, 3, n)),
    lambda n: pk.stationary(SLOPE, pk.Grid(0, 1, n)),
    lambda n: pk.mean_first_passage_time(
        pk.FokkerPlanck(WELL, 100.0), pk.Grid(-3, 3, n), (1.0, np.inf)),
    lambda n: pk.spectral_gap(pk.FokkerPlanck(WELL, 100.0), pk.Grid(-3, 3, n)),
])  # fmt: skip
def test_the_cells_that_are_advised_do(call):
    import re

    _, said = heard(lambda: call(24))
    cells = max(int(n) for text in said for n in re.findall(r"about \((\d+),\) cells", text))
    assert not heard(lambda: call(cells))[1]


def test_a_mode_that_turns_fast_is_not_missed():
    """A ring beside a well: the slowest mode turns 400 times faster than it decays."""
    grid = pk.Grid((0.0, -3.0), (2 * np.pi, 3.0), (12, 12), periodic=(True, False))
    equation = pk.FokkerPlanck(
        lambda x: x[..., 1] ** 2 / 2, 4.0, force=lambda x: [20.0, 0.0] + 0 * x,
        diffusion=((2.0, 0.0), (0.0, 1.0)),
    )  # fmt: skip
    dense = np.linalg.eigvals(-Problem(equation, grid, None).generator().matrix().toarray())
    slowest = np.sort(dense.real)[1]
    assert pk.slow_modes(equation, grid, 1).gap == pytest.approx(slowest, rel=1e-8)


@pytest.mark.parametrize("beta", [1e-90, 1e48])
def test_temperatures_beyond_floats_are_refused_or_answered(beta):
    equation, grid = pk.FokkerPlanck(WELL, beta), pk.Grid(-3, 3, 60)
    rho = pk.stationary(equation, grid).values
    assert grid.integrate(rho) == pytest.approx(1)
    for call in (
        lambda: pk.spectral_gap(equation, grid),
        lambda: pk.mean_first_passage_time(equation, grid, (1.0, np.inf)),
    ):
        with pytest.raises(
            (ValueError, pk.ConvergenceError), match=r"beta|1e-90|rates|unique|overflow"
        ):
            call()


@pytest.mark.parametrize("verb", [
    lambda e, g: pk.current(e, np.ones(g.shape), g),
    lambda e, g: pk.spectral_gap(e, g),
    lambda e, g: pk.mean_first_passage_time(e, g, (1.0, 2.0)),
])  # fmt: skip
def test_a_wall_of_the_largest_float_is_refused_with_its_place(verb):
    hard = pk.potentials.Custom(lambda x: np.where(abs(x[..., 0]) > 1.5, np.finfo(float).max, 0))
    with pytest.raises(ValueError, match=r"at most 1e\+150.*at x = -2\.95"):
        verb(pk.FokkerPlanck(hard, 1.0), pk.Grid(-3, 3, 60))


def test_the_density_between_walls_of_great_height_is_uniform():
    hard = pk.potentials.Custom(lambda x: np.where(abs(x[..., 0]) > 1.5, 1e46, 0))
    rho = pk.stationary(pk.FokkerPlanck(hard, 1.0), pk.Grid(-3, 3, 60)).values
    np.testing.assert_allclose(rho, np.where(abs(pk.Grid(-3, 3, 60).axes[0]) < 1.5, 1 / 3, 0))


def test_a_target_that_is_the_whole_box_is_refused():
    for target in ((-9.0, 9.0), lambda x: x[..., 0] < 9, np.ones(24, bool)):
        with pytest.raises(ValueError, match="the whole box"):
            pk.mean_first_passage_time(HEALTHY, COARSE, target)


def test_a_covariance_that_is_singular_is_refused():
    """By inertia no Σ is where the solution is unique; one of condition 1e15 is refused."""
    with pytest.raises(ValueError, match="Σ is singular"):
        pk.decompose(np.eye(2), np.diag([1.0, 1e-15]))
    made = pk.decompose(np.eye(2), np.diag([1.0, 1e-13]))
    np.testing.assert_allclose(np.diag(made.covariance), [1.0, 1e-13], rtol=1e-12)


def test_rates_too_far_apart_for_the_decomposition_are_named():
    with pytest.raises(ValueError, match=r"1 and 1 .* to within 1e-10 of the largest \(1e\+12\)"):
        pk.decompose(np.diag([1.0, 1e12]))
