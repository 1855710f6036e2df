"""Maximum likelihood: exact Gaussian paths and snapshots, coverage, and what cannot be told."""

import numpy as np
import pytest
import xarray as xr

import pdekit as pk
from pdekit.comparison import fit as module

K, BETA, TAU = 1.0, 2.0, 0.3
START, BOUNDS = {"k": 0.7, "beta": 1.5}, {"k": (0.05, 10.0), "beta": (0.1, 20.0)}


def linear(p):
    return pk.FokkerPlanck(pk.potentials.Quadratic(p["k"]), p["beta"])


def paths(seed, particles=50, steps=10, tau=TAU):
    """Stationary paths of dX = -K X dt + sqrt(2/BETA) dB, exact."""
    rng = np.random.default_rng(seed)
    a = np.exp(-K * tau)
    x = [rng.normal(size=particles) / np.sqrt(BETA * K)]
    for _ in range(steps):
        x.append(a * x[-1] + rng.normal(size=particles) * np.sqrt((1 - a * a) / (BETA * K)))
    return xr.DataArray(np.array(x), {"time": tau * np.arange(steps + 1)}, ("time", "particle"))


def closed_form(data, tau=TAU):
    """The regression of each state on the one before has the likelihood of the paths."""
    u, v = data.values[:-1].ravel(), data.values[1:].ravel()
    a = (u @ v) / (u @ u)
    k = -np.log(a) / tau
    return {"k": k, "beta": (1 - a * a) / (((v - a * u) ** 2).mean() * k)}


def model(x, initial=None, equation=linear, n=60):
    times, at = module._positions(x, pk.Grid(-4, 4, n), initial is not None)
    return module._Model(equation, ["k", "beta"], pk.Grid(-4, 4, n), initial, times, at)


def test_linear_paths_have_the_closed_form():
    data = paths(0)
    found = pk.fit(linear, data, START, pk.Grid(-4, 4, 160), bounds=BOUNDS)
    for name, true in closed_form(data).items():
        assert abs(found.estimate[name] - true) < 0.02 * found.standard_errors[name]
        assert abs(found.estimate[name] - true) < 2 * abs(found.cell_error[name])


@pytest.mark.parametrize("initial", [None, pk.Gaussian(0.5, 0.5)])
def test_scores_are_the_slopes_of_the_likelihood(initial):
    theta, h = np.array([0.9, 1.8]), 1e-4
    ours = model(paths(1)[1:], initial)
    found = ours.scores(theta)[1].sum(axis=(0, 1))
    for i, step in enumerate(h * np.eye(2)):
        slope = (ours.scores(theta + step)[0] - ours.scores(theta - step)[0]) / (2 * h)
        assert found[i] == pytest.approx(slope, rel=1e-5, abs=1e-4)


def test_a_wrong_score_ends_in_an_error(monkeypatch):
    change = module._Model.change
    monkeypatch.setattr(module._Model, "change", lambda *a: -change(*a))
    with pytest.raises(pk.ConvergenceError, match="search for the maximum"):
        pk.fit(linear, paths(2), START, pk.Grid(-4, 4, 40), bounds=BOUNDS)


def test_intervals_cover():
    hits = []
    for seed in range(30):
        found = pk.fit(linear, paths(seed), START, pk.Grid(-4, 4, 60), bounds=BOUNDS)
        low, high = np.array(list(found.interval(0.9).values())).T
        hits.append((low <= [K, BETA]) & (high >= [K, BETA]))
    # 27 of 30 expected; 21 or fewer of a binomial law has the probability .002
    assert (np.sum(hits, axis=0) > 21).all()


def well(p):
    return pk.FokkerPlanck(p["barrier"] * pk.potentials.DoubleWell(), p["beta"])


def test_a_double_well_from_paths_and_from_snapshots():
    """Barrier 1.5 and beta 3, both from one guess."""
    law, grid = pk.Gaussian(-1.0, 0.3), pk.Grid(-2.6, 2.6, 64)
    V = 1.5 * pk.potentials.DoubleWell()
    X = pk.simulate(pk.Langevin(V, 3.0), law, 1500, [0.2, 0.4, 0.8], 2e-3, seed=1)
    start, bounds = {"barrier": 1.0, "beta": 2.0}, {"barrier": (0.05, 20), "beta": (0.2, 20)}
    for initial in (None, law):
        found = pk.fit(well, X, start, grid, initial, bounds)
        for name, true in (("barrier", 1.5), ("beta", 3.0)):
            error = found.standard_errors[name]
            assert abs(found.estimate[name] - true) < 3.5 * error < 0.9


def test_what_the_data_cannot_tell_is_told():
    grid = pk.Grid(-4, 4, 40)

    def twice(p):
        return pk.FokkerPlanck(pk.potentials.Quadratic(p["a"] * p["b"]), BETA)

    with pytest.warns(pk.AccuracyWarning, match="do not identify"):
        found = pk.fit(twice, paths(3), {"a": 1.0, "b": 1.0}, grid)
    assert np.isinf(found.covariance).all()
    with pytest.warns(pk.AccuracyWarning, match="k ends on its bound"):
        pk.fit(linear, paths(3), START, pk.Grid(-4, 4, 80), bounds={**BOUNDS, "k": (0.1, 0.75)})
    with (
        pytest.warns(pk.ResolutionWarning, match="narrower than the cells"),
        pytest.warns(pk.AccuracyWarning, match="cells move"),
    ):
        pk.fit(linear, paths(3, tau=0.01), START, pk.Grid(-4, 4, 40), bounds=BOUNDS)


def test_bad_data_are_refused():
    grid = pk.Grid(-4, 4, 40)
    with pytest.raises(ValueError, match="outside"):
        pk.fit(linear, paths(0), START, pk.Grid(-0.5, 0.5, 40))
    with pytest.raises(ValueError, match="two or more"):
        pk.fit(linear, paths(0)[:1], START, grid)
    with pytest.raises(ValueError, match="bounds"):
        pk.fit(linear, paths(0), START, grid, bounds={"c": (0, 1)})
    with pytest.raises(TypeError, match="FokkerPlanck"):
        pk.fit(lambda p: pk.HamiltonJacobi(), paths(0), START, grid)
