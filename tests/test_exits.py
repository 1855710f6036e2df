"""What a density loses through each wall and when, and the exits of particles against it."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import pdekit as pk
from pdekit.comparison.exits import Exits
from pdekit.pde.discrete.outflow import losses, ways_out
from pdekit.pde.discrete.problem import Problem

FLAT = pk.potentials.Quadratic(1e-12)
WELL = pk.potentials.DoubleWell()
NARROW = pk.Grid(-1.4, 1.4, 400)
PARTLY = pk.PartlyAbsorbing


def through_zero(x, D, t, terms=400):
    """The probability to have left [0, 1] through 0 by t, from x."""
    k = np.arange(1, terms) * math.pi
    return 1 - x - (2 / k * np.sin(k * x) * np.exp(-D * k**2 * t)).sum()


@pytest.mark.parametrize("n", [100, 200, 400])
def test_what_has_left_through_each_wall_is_second_order(n):
    """From .3 with a spread of .05, against the series; constant .78 in units of h²."""
    D, times = 0.05, [0.1, 0.5, 2.0]
    equation = pk.FokkerPlanck(FLAT, 1 / D, walls=pk.Walls(True, True))
    exits = pk.solve(equation, pk.Grid(0, 1, n), pk.Gaussian(0.3, 0.05), times).exits
    z, w = np.polynomial.hermite_e.hermegauss(60)
    for k, t in enumerate(times):
        for wall, start in enumerate((0.3, 0.7)):
            law = [through_zero(start + 0.05 * s, D, t) for s in z]
            assert abs(exits["left"].values[k, wall] - w @ law / w.sum()) < 0.9 / n**2


def test_flux_is_the_rate_of_what_has_left():
    """In the plane, along oblique stencils, with killing: against a plain integration in time."""
    grid = pk.Grid((0, 0), (1, 1.2), (9, 8))
    walls = pk.Walls((True, PARTLY(0.3)), (False, True))
    tensor = np.array([[1.0, 0.5], [0.5, 0.8]])
    equation = pk.FokkerPlanck(
        lambda x: x[..., 0] * x[..., 1], 5.0, diffusion=tensor, walls=walls,
        killing=lambda x: 0.2 * x[..., 0],
    )  # fmt: skip
    times = [0.05, 0.4]
    with pytest.warns(pk.TruncationWarning):
        rho = pk.solve(equation, grid, pk.Gaussian((0.5, 0.6), 0.1), times, pk.schemes.Krylov())
    exits = rho.exits
    assert exits["wall"].values.tolist() == [-1, 0, 2, 3]
    generator = rho.problem().generator()
    rates = np.array([lost.ravel() for lost in losses(generator, [-1, 0, 2, 3])])
    matrix = np.vstack([generator.matrix().toarray().T, rates])
    whole = np.pad(matrix, ((0, 0), (0, len(rates))))
    start = np.append(rho.problem().values.ravel() * grid.cell_volume, np.zeros(len(rates)))
    done = solve_ivp(lambda _, y: whole @ y, (0, 0.4), start, "Radau", times, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(exits["left"], done.y[-4:].T, atol=1e-7)
    np.testing.assert_allclose(exits["flux"], (rates @ done.y[:-4]).T, rtol=1e-5)
    total = exits["left"].sum("wall") + np.array(rho.stats["survival"])
    np.testing.assert_allclose(total, 1.0, atol=1e-13)


def test_a_corner_belongs_to_the_wall_that_is_met_first():
    """Every rate of loss is that of one wall."""
    grid = pk.Grid((0, 0), (1, 2), (6, 7))
    tensor = np.array([[1.0, -0.9], [-0.9, 2.0]])
    equation = pk.FokkerPlanck(
        lambda x: 0 * x[..., 0], 1.0, diffusion=tensor, walls=pk.Walls(True, PARTLY(2))
    )
    problem = Problem(equation, grid, np.ones(grid.shape))
    ways = ways_out(problem)
    lost = losses(problem.generator(), ways)
    assert ways == [0, 1, 2, 3] and all((rates > 0).any() for rates in lost)
    np.testing.assert_allclose(sum(lost), problem.generator().loss, rtol=1e-14)


def test_one_way_out_of_coefficients_that_move():
    moving = pk.InTime(lambda x, t: 0.5 * (x[..., 0] - math.sin(t)) ** 2)
    one = pk.FokkerPlanck(moving, 2.0, walls=pk.Walls(upper=True))
    rho = pk.solve(one, pk.Grid(-4, 1, 100), pk.Gaussian(-0.5, 0.3), [0.5, 1.0])
    left = rho.exits["left"].values[:, 0]
    np.testing.assert_allclose(left, 1 - np.array(rho.stats["survival"]), atol=1e-13)
    both = pk.FokkerPlanck(moving, 2.0, walls=pk.Walls(True, True))
    with pytest.raises(ValueError, match="2 ways out are not told apart; make all"):
        _ = pk.solve(both, pk.Grid(-1, 1, 100), pk.Gaussian(0.0, 0.1), 0.1).exits


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize(
    ("endings", "words"),
    [
        ({}, "nothing leaves this box; give the equation walls"),
        ({"walls": pk.Walls(True, pk.Held(1.0))}, "is not told apart from what enters"),
        ({"walls": pk.Walls(True), "killing": lambda x: x[..., 0] - 0.5}, "got rates down to -0"),
        ({"killing": -0.3}, "got rates down to -0.3"),
    ],
)
def test_what_has_no_exits_says_so(endings, words):
    rho = pk.solve(pk.FokkerPlanck(FLAT, 2.0, **endings), pk.Grid(0, 1, 50), np.ones(50), 0.2)
    with pytest.raises(ValueError, match=words):
        _ = rho.exits


def test_an_expectation_has_no_exits():
    u = pk.solve(pk.BackwardKolmogorov(FLAT, 2.0), pk.Grid(0, 1, 50), np.ones(50), 0.2)
    with pytest.raises(ValueError, match="known of densities of FokkerPlanck; got Backward"):
        _ = u.exits


# ---- particles against it ------------------------------------------------------------------------


def test_exit_times_are_compared_with_the_fluxes():
    """An ensemble of 100,000 is accepted; exchanged walls and a late clock are found."""
    D = pk.Langevin(WELL, 2.0, box=NARROW, walls=pk.Walls(True, PARTLY(0.8)), killing=0.1)
    times, start = np.linspace(0.2, 2, 10), pk.Gaussian(0.2, 0.1)
    rho = pk.solve(D.law(), NARROW, start, times)
    X = pk.simulate(D, start, 100_000, times, 0.01, seed=3)
    c = pk.compare(rho, X)
    assert c.consistent() and c.data["p_exits"].values.min() > 1e-3
    assert int(c.data["exits"].sum()) == np.count_nonzero(X.exits["time"].values <= 2)
    wall = X.exits["wall"].copy()
    X.exits["wall"] = wall.where(~(wall == 1), 0.0).where(~(wall == 0), 1.0)
    found = pk.compare(rho, X).data
    assert found["p_exits"].values.min() < 1e-12 and found["p_survival"].values.min() > 1e-3
    X.exits["wall"] = wall
    X.exits["time"] = X.exits["time"] + 0.04
    assert pk.compare(rho, X).data["p_exits"].values.min() < 1e-12


def test_few_survivors_are_judged_by_their_exits():
    box = pk.Grid(0, 1, 100)
    D = pk.Langevin(FLAT, 2.0, box=box, walls=pk.Walls(True, True))
    rho = pk.solve(D.law(), box, pk.Gaussian(0.3, 0.05), [0.1, 3.0])
    X = pk.simulate(D, pk.Gaussian(0.3, 0.05), 5000, [0.1, 3.0], 0.01, seed=2)
    assert pk.compare(rho, X).consistent()
    X.exits["wall"] = 1 - X.exits["wall"]
    assert pk.compare(rho, X).p_value < 1e-12


def test_false_alarms_of_exits_are_as_many_as_said():
    """For few and many exits; among several ways the level is a bound."""
    rng = np.random.default_rng(4)
    for going, chances in ((60, [0.01, 0.2]), (20_000, [0.3, 0.1, 1e-4]), (500, [0.5])):
        counts = rng.multinomial(going, [*chances, 1 - sum(chances)], 1000)[:, :-1]
        ways = np.arange(len(chances))
        p = [Exits(ways, c, np.array(chances), going, False).p_value for c in counts]
        alarms = np.mean(np.array(p) <= 0.05)
        assert alarms <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 1000)
        assert alarms > 0.005


def test_mean_exit_times_are_the_mean_passage_times():
    D = pk.Langevin(WELL, 2.0, box=NARROW, walls=pk.Walls(False, True))
    X = pk.simulate(D, np.full((5000, 1), 0.2), 5000, [120.0], 0.02, seed=5)
    times = X.exits["time"].values
    assert np.isfinite(times).all()
    wider = pk.Grid(-1.4, 1.6, 600)
    mean = pk.mean_first_passage_time(pk.FokkerPlanck(WELL, 2.0), wider, (1.4, math.inf))
    exact = float(mean.interp(x=0.2))
    assert abs(times.mean() - exact) < 4 * times.std() / math.sqrt(5000)
