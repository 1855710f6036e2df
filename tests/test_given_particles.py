"""Positions of any origin are compared as an ensemble is; weights are those of a law."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats

import pdekit as pk

V, GRID, START = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 300), pk.Gaussian(-1.0, 0.2)
RHO = pk.solve(pk.FokkerPlanck(V, 4.0), GRID, START, [0.5, 1.0])
X = pk.simulate(pk.Langevin(V, 4.0), START, 4000, [0.5, 1.0], 0.01)


def test_arrays_tensors_and_dataarrays_are_the_same():
    whole = pk.compare(RHO, X).data
    values = X.x.values
    for given in (
        values,
        torch.tensor(values),
        xr.DataArray(values, dims=("time", "particle", "dim")),
    ):
        found = pk.compare(RHO, given, t=[0.5, 1.0]).data
        for name in ("l1", "w1", "kl"):  # the step of the dynamics is known of the ensemble alone
            np.testing.assert_array_equal(found[name], whole[name])
    one = pk.compare(RHO, values[1], t=1.0).data
    assert list(one.time) == [1.0] and float(one.l1[0]) == float(whole.l1[1])
    assert pk.compare(RHO, values[1, :, 0], t=1.0).data.identical(one)
    own = pk.compare(RHO, xr.DataArray(values, {"time": [0.5, 1.0]}, ("time", "particle", "dim")))
    np.testing.assert_array_equal(own.data.l1, whole.l1)


def test_in_the_plane():
    grid = pk.Grid((-6, -6), (6, 6), 96)
    rho = pk.solve(pk.FokkerPlanck(pk.potentials.Quadratic(1.0, 2), 1.0), grid,
                   pk.Gaussian((0, 0), 0.8), 2.0)  # fmt: skip
    width = np.sqrt(1 + (0.64 - 1) * np.exp(-4.0))
    x = np.random.default_rng(1).normal(0, width, (4000, 2))
    assert pk.compare(rho, x, t=2.0).consistent()
    assert not pk.compare(rho, 1.1 * x, t=2.0).consistent()


@pytest.mark.parametrize("wide", [1.0, 1.5])
def test_weights_make_the_law_and_false_alarms_are_rare(wide):
    """Draws of a wider law, weighted to the right one; without the weights they are refuted."""
    rho = pk.solve(pk.FokkerPlanck(pk.potentials.Quadratic(1.0), 1.0), pk.Grid(-6, 6, 300),
                   pk.Gaussian(0, 1.0), 1.0)  # fmt: skip
    rng, p = np.random.default_rng(7), []
    for k in range(150):
        x = rng.normal(0, wide, 600)
        w = stats.norm.pdf(x) / stats.norm.pdf(x, scale=wide)
        p.append(pk.compare(rho, x, t=1.0, weights=w, seed=k).p_value)
    assert stats.binomtest(int(np.sum(np.array(p) < 0.05)), 150, 0.05, "greater").pvalue > 1e-3
    if wide > 1:
        assert pk.compare(rho, x, t=1.0).p_value < 1e-6


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"ensemble": np.zeros(100)}, ValueError, r"no time: compare\(solution, x, t="),
        ({"ensemble": np.zeros((100, 2)), "t": 1.0}, ValueError, r"expected \(n, 1\)"),
        ({"ensemble": np.zeros((3, 100, 1)), "t": [0.5, 1.0]}, ValueError, "t has 2"),
        ({"ensemble": np.full(100, np.nan), "t": 1.0}, ValueError, "100 of the positions"),
        ({"ensemble": "particles", "t": 1.0}, TypeError, "or be an array, tensor or DataArray"),
        ({"ensemble": np.zeros(100), "t": 0.7}, ValueError, "time"),
        ({"ensemble": np.zeros((2, 100, 1)), "t": [0.7, 1.0]}, ValueError, "1 of the 2 times"),
        ({"ensemble": X, "t": 1.0}, ValueError, "has its own times"),
        ({"ensemble": np.zeros(100), "t": 1.0, "weights": -np.ones(100)}, ValueError, "weights"),
        ({"ensemble": np.zeros(100), "t": 1.0, "weights": np.ones(99)}, ValueError, "100 numbers"),
        ({"ensemble": np.zeros(40), "t": 1.0}, ValueError, "too few"),
    ],
)  # fmt: skip
def test_mistakes_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        pk.compare(RHO, **arguments)


def test_an_assertion_for_the_tests_of_others():
    x = X.x.values[1]
    assert pk.testing.assert_follows(x, RHO, t=1.0).p_value > 0.01
    with pytest.raises(AssertionError, match=r"p-value .* < 0\.01") as error:
        pk.testing.assert_follows(1.1 * x, RHO, t=1.0)
    assert "4000 particles against the density" in str(error.value)
