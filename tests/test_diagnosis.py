"""What is wrong with particles: factors of temperature, drift and clock, with intervals."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import pdekit as pk

A, BETA, MEAN, WIDTH, N = 1.3, 2.0, 1.0, 0.4, 20_000
TIMES = [0.3, 1.0]
GRID = pk.Grid(-5, 6, 300)
V = pk.potentials.Quadratic(A)


@pytest.fixture(scope="module")
def rho():
    return pk.solve(pk.FokkerPlanck(V, BETA), GRID, pk.Gaussian(MEAN, WIDTH), TIMES)


def paths(seed, beta=1.0, drift=1.0, clock=1.0, n=N):
    """Exact ones of the process with these factors, at two times that depend on each other."""
    rng, a = np.random.default_rng(seed), A * drift
    x, before, out = MEAN + WIDTH * rng.standard_normal(n), 0.0, []
    for t in TIMES:
        decay = math.exp(-a * clock * (t - before))
        spread = math.sqrt((1 - decay**2) / (a * BETA * beta))
        x, before = decay * x + spread * rng.standard_normal(n), t
        out.append(x)
    data = np.array(out)[..., None]
    positions = xr.DataArray(data, {"time": TIMES, "dim": ["x"]}, ("time", "particle", "dim"))
    return SimpleNamespace(x=positions)


@pytest.mark.parametrize(
    ("wrong", "factor"), [("beta", 1.08), ("drift", 1.08), ("clock", 1.09), ("beta", 0.6)]
)
def test_it_says_what_is_wrong_and_by_how_much(rho, wrong, factor):
    found = pk.compare(rho, paths(3, **{wrong: factor})).diagnosis
    row = found.sel(parameter=wrong)
    assert found.attrs["p_value"] < 1e-3
    assert row["lower"] < factor < row["upper"] and row["p_alone"] > 0.01
    assert row["upper"] - row["lower"] < 0.1
    others = found.drop_sel(parameter=wrong)
    assert (others["p_alone"] < row["p_alone"]).all()
    assert found.attrs["words"].startswith(f"{wrong} is {float(row['lower']):.4g} to ")


def test_right_particles_agree(rho):
    found = pk.compare(rho, paths(4)).diagnosis
    assert found.attrs["words"] == "beta, drift and clock agree with the equation"
    true = np.where(found["parameter"] == "step", 0.0, 1.0)
    assert (found["lower"] < true).all() and (found["upper"] > true).all()


def test_a_factor_far_away_is_found_though_another_has_none(rho):
    found = pk.compare(rho, paths(6, drift=6.0)).diagnosis
    row = found.sel(parameter="drift")
    assert row["lower"] < 6 < row["upper"] and row["p_alone"] > 0.01
    assert found.attrs["words"].startswith("drift is")


def test_two_mistakes_are_not_called_one(rho):
    found = pk.compare(rho, paths(5, beta=1.1, drift=1.1)).diagnosis
    assert "no factor of beta, drift or clock alone" in found.attrs["words"]


def test_intervals_hold_the_factor_and_are_as_short_as_they_can_be(rho):
    """Of 40 ensembles 38 are expected to; and the error is that of the bound for one time."""
    held = 0
    for seed in range(40):
        row = pk.compare(rho, paths(seed, beta=1.04, n=4000)).diagnosis.sel(parameter="beta")
        held += bool(row["lower"] < 1.04 < row["upper"])
    assert 34 <= held <= 40
    alone = pk.solve(pk.FokkerPlanck(V, BETA), GRID, pk.Gaussian(MEAN, WIDTH), TIMES[1])
    s = pk.sensitivity(alone, "beta").values[0]
    bound = 1.96 / math.sqrt(GRID.integrate(s**2 / alone.fields[0]) * N)
    row = pk.compare(alone, paths(1)).diagnosis.sel(parameter="beta")
    assert float(row["upper"] - row["lower"]) / 2 == pytest.approx(bound, rel=0.05)


def test_at_rest_the_clock_is_not_seen():
    """And temperature and drift are told apart by nothing."""
    at_rest = pk.solve(pk.FokkerPlanck(V, BETA), GRID, pk.Gaussian(MEAN, WIDTH), 30.0)
    x = np.random.default_rng(2).standard_normal((1, N, 1)) / math.sqrt(A * BETA * 1.1)
    positions = xr.DataArray(x, {"time": [30.0], "dim": ["x"]}, ("time", "particle", "dim"))
    found = pk.compare(at_rest, SimpleNamespace(x=positions)).diagnosis
    clock = found.sel(parameter="clock")
    assert math.isnan(clock["estimate"]) and clock["lower"] == 0 and clock["upper"] == math.inf
    assert found.attrs["words"].endswith("do not tell them apart")


def test_those_that_stopped_count():
    """A double well between walls that absorb: the temperature of particles 10 % off is found."""
    box = pk.Grid(-1.5, 1.5, 200)
    D = pk.Langevin(pk.potentials.DoubleWell(), 2.0, box=box, walls=pk.Walls(True, True))
    start, times = pk.Gaussian(0.2, 0.1), [0.5, 1.0]
    rho = pk.solve(D.law(), box, start, times)
    right = pk.simulate(D, start, N, times, 0.01, seed=3)
    assert "agree" in pk.compare(rho, right).diagnosis.attrs["words"]
    hot = pk.Langevin(pk.potentials.DoubleWell(), 1.8, box=box, walls=pk.Walls(True, True))
    found = pk.compare(rho, pk.simulate(hot, start, N, times, 0.01, seed=3)).diagnosis
    row = found.sel(parameter="beta")
    assert row["lower"] < 0.9 < row["upper"] and row["p_alone"] > 0.01


def test_in_the_plane_and_on_too_few_cells():
    """3 cells to a standard deviation shift the factor by .01, and say so."""
    law = pk.Gaussian((0.5, -0.2), 0.5)
    plane = pk.potentials.Custom(lambda x: (x**2).sum(-1) / 2, grad=lambda x: x, dim=2)
    X = pk.simulate(pk.Langevin(plane, 2.7), law, N, 0.4, 0.01, seed=1)

    def found(n):
        grid = pk.Grid((-3.6, -3.6), (3.6, 3.6), (n, n))
        rho = pk.solve(pk.FokkerPlanck(plane, 3.0), grid, law, 0.4)
        return pk.compare(rho, X).diagnosis.sel(parameter="beta")

    row = found(80)
    assert row["lower"] < 0.9 < row["upper"] and row["p_alone"] > 0.01
    with pytest.warns(pk.AccuracyWarning, match="too coarse for the factor of beta"):
        found(30)


def test_what_cannot_be_diagnosed_says_so(rho):
    moving = pk.InTime(lambda x, t: (1 + t) * A * x[..., 0] ** 2 / 2)
    other = pk.solve(pk.FokkerPlanck(moving, BETA), GRID, pk.Gaussian(MEAN, WIDTH), TIMES)
    with pytest.raises(ValueError, match="fixed in time"):
        _ = pk.compare(other, paths(1)).diagnosis
    with pytest.raises(ValueError, match="independent particles compared"):
        _ = pk.Comparison(pk.compare(rho, paths(1)).data).diagnosis
