"""Resetting at a rate that changes in time: densities, expectations and particles, exactly."""

import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

import pdekit as pk
from pdekit.pde.discrete.problem import Problem
from pdekit.resetting import Resetting, waiting

FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x)
WELL = pk.potentials.DoubleWell()
LAW = pk.Gaussian(0.5, 0.2)
PLACE = pk.Gaussian(-0.4, 0.1)


def rate(t):
    return 1.5 + 1.4 * math.sin(5 * t)


MOVING = pk.Resetting(rate, LAW)


def test_both_equations_follow_the_matrix_of_their_rates():
    """A dense generator, by Radau's method; their pairing does not depend on time."""
    grid, times, end = pk.Grid(-2.5, 2.5, 60), [0.3, 1.0], 1.0
    A = Problem(pk.FokkerPlanck(WELL, 4.0), grid, None).generator().matrix().toarray()
    back = np.outer(np.ones(60), LAW.density(grid) * grid.cell_volume)
    of = lambda t: A + rate(t) * (back - np.eye(60))  # noqa: E731
    start, cost = PLACE.density(grid), np.cos(grid.axes[0])
    ask = {"method": "Radau", "rtol": 1e-9, "atol": 1e-11, "t_eval": times}
    flow = solve_ivp(lambda t, y: of(t).T @ y, (0, end), start, **ask).y.T
    gone = solve_ivp(lambda s, y: of(end - s) @ y, (0, end), cost, **ask).y.T
    rho = pk.solve(pk.FokkerPlanck(WELL, 4.0, resetting=MOVING), grid, start, times)
    u = pk.solve(
        pk.BackwardKolmogorov(WELL, 4.0, resetting=MOVING), grid, lambda x: np.cos(x[..., 0]), times
    )
    assert np.abs(rho.fields - flow).max() < 1e-5 * flow.max()
    assert np.abs(u.fields - gone).max() < 1e-6
    assert rho.fields.sum(1) * grid.cell_volume == pytest.approx(1, abs=1e-9)
    before, after = rho.fields[-1] @ cost, u.fields[-1] @ start
    assert before == pytest.approx(after, rel=1e-6)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
def test_waves_of_free_motion_decay_and_come_back():
    """m = E cos(k X): m' = -(k²/beta + r(t)) m + r(t) E_law cos(k x), on cells fine enough."""
    k, grid = math.pi / 2, pk.Grid(-2, 2, 800)
    wave = lambda x: np.cos(k * x[..., 0])  # noqa: E731
    of = lambda law: math.exp(-((k * law.std[0]) ** 2) / 2) * math.cos(k * law.mean[0])  # noqa: E731
    m = solve_ivp(
        lambda t, y: -(k * k / 20 + rate(t)) * y + rate(t) * of(LAW), (0, 2.0), [of(PLACE)],
        rtol=1e-10, atol=1e-12,
    ).y[0, -1]  # fmt: skip
    rho = pk.solve(pk.FokkerPlanck(FLAT, 20.0, resetting=MOVING), grid, PLACE, 2.0)
    mean = float(grid.integrate(rho.fields[0] * wave(grid.centres)))
    assert mean == pytest.approx(m, abs=3e-5)
    n = 100_000
    X = pk.simulate(pk.Langevin(FLAT, 20.0, resetting=MOVING), PLACE, n, 2.0, 0.1, seed=1)
    found = wave(X.final.values)
    assert abs(found.mean() - m) < 4 * found.std() / math.sqrt(n)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
def test_particles_follow_the_equation_and_a_late_clock_is_seen(monkeypatch):
    """A planted fault: the rate of the start of a step, for all of it."""
    grid, n = pk.Grid(-2.5, 2.5, 400), 40_000
    dynamics = pk.Langevin(WELL, 4.0, resetting=pk.Resetting(lambda t: 8 * t, LAW))
    rho = pk.solve(dynamics.law(), grid, PLACE, [0.3, 0.6])
    run = lambda: pk.simulate(dynamics, PLACE, n, [0.3, 0.6], 0.03, seed=2)  # noqa: E731
    assert pk.compare(rho, run()).p_value > 1e-3
    late = lambda self, t, back: (  # noqa: E731
        np.array([0.0, back]), np.array([0.0, back * self.rate_at(t - back)]),
    )  # fmt: skip
    monkeypatch.setattr(Resetting, "hazard", late)
    assert pk.compare(rho, run()).p_value < 1e-6


def test_the_last_reset_of_a_step_has_its_law():
    """Times before the end of a step, of which ∫ r is exponential; against quadrature."""
    found = MOVING.hazard(0.9, 0.3)
    for s, grown in zip(*found, strict=True):
        assert grown == pytest.approx(quad(rate, 0.9 - s, 0.9)[0], abs=1e-10)
    chance = -np.expm1(-found[1][-1])
    u = (np.arange(100) + 0.5) / 100
    s = waiting(found, -np.log1p(-u * chance))
    exact = [-math.expm1(-quad(rate, 0.9 - y, 0.9)[0]) / chance for y in s]
    assert np.abs(exact - u).max() < 2e-3  # in a step of which the rate doubles
    constant = pk.Resetting(2.0, LAW).hazard(1.0, 0.5)
    np.testing.assert_allclose(constant[1], 2.0 * constant[0])


def test_paths_do_not_depend_on_the_company():
    dynamics = pk.Langevin(WELL, 4.0, resetting=MOVING)
    many = pk.simulate(dynamics, PLACE, 300, 0.2, 0.01, seed=9, runs=2).x
    few = pk.simulate(dynamics, PLACE, 70, 0.2, 0.01, seed=9).x
    np.testing.assert_array_equal(many[:, 0, :70], few)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at t = 0 must be"):
        pk.Resetting(lambda t: -1.0, LAW)
    with pytest.raises(TypeError, match="a function of time alone"):
        pk.Resetting(pk.InTime(lambda x, t: x[..., 0]), LAW)
    with pytest.raises((TypeError, ValueError), match="at t = 0"):
        pk.Resetting(lambda t: "fast", LAW)
    late = pk.Langevin(WELL, 4.0, resetting=pk.Resetting(lambda t: 1 - 10 * t, LAW))
    with pytest.raises(ValueError, match="rate of Resetting, a function of time, at t = 0"):
        pk.simulate(late, PLACE, 10, 1.0, 0.05)
    equation = pk.FokkerPlanck(WELL, 4.0, resetting=MOVING)
    with pytest.raises(ValueError, match="no stationary state"):
        pk.stationary(equation, pk.Grid(-2, 2, 40))
