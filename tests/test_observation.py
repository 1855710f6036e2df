"""Observables: what is seen on the way is what the positions say, to the bit and in any order."""

from dataclasses import dataclass
from itertools import pairwise
from math import fsum, inf
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit.laws import Mixture
from pdekit.particles import ensemble
from pdekit.particles.kernels import exact_sums
from pdekit.potentials import Cosine, DoubleWell, Quadratic, Rippled, SixHumpCamel

LINE, PLANE = pk.Grid(-2, 1, 12), pk.Grid((-1.5, -1), (1, 1.5), (8, 5))
WELL = pk.Langevin(DoubleWell(), beta=2.0)
START = pk.Gaussian(-1.0, 0.3)
CASES = {
    "line": (WELL, pk.Gaussian(-1.0, 0.3), LINE),
    "plane": (pk.Langevin(SixHumpCamel(), 2.0), pk.Gaussian((0.0, 0.3), 0.3), PLANE),
    "circle": (
        pk.Langevin(Cosine(2 * np.pi / 3), 2.0, box=pk.Grid(-2, 1, 12, periodic=True)),
        pk.Uniform(-1.0, 1.0),
        pk.Grid(-2, 1, 12, periodic=True),
    ),
    "mean field": (
        pk.InteractingLangevin(DoubleWell(), 2.0, pk.CurieWeiss(1.0)),
        pk.Gaussian(-1.0, 0.3),
        LINE,
    ),
}


def observables(grid, every=None, name=""):
    basins = pk.BasinCounts(lambda x: (x[..., 0] > 0).long() - (x[..., 0] > 1).long() * 7, 2)
    return (
        pk.Moments(every, name),
        pk.Histogram(grid, every, name),
        pk.BasinCounts(basins.label, 2, every, name),
    )


def run(case, **more):
    dynamics, initial, grid = CASES[case]
    settings = {"n": 1003, "t": [0.0, 0.25, 0.5], "dt": 1 / 64, "runs": 2, "seed": 5, **more}
    return pk.simulate(dynamics, initial, observe=observables(grid), **settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_seen_is_what_the_positions_say(case, dtype):
    """Means and counts by numpy, run by run; float32 is added up in float64."""
    X = run(case, dtype=dtype)
    seen, grid = X.observed, CASES[case][2]
    for time, r in np.ndindex(3, 2):
        x = X.x.values[time, r].astype(float)
        here = seen.isel(time=time, run=r)
        assert np.allclose(here["mean"], x.mean(axis=0), rtol=0, atol=1e-14)
        covariance = np.atleast_2d(np.cov(x.T, bias=True))
        assert np.allclose(here["covariance"], covariance, rtol=0, atol=1e-14)
        width = np.subtract(grid.upper, grid.lower)
        inside = np.where(grid.periodic, grid.lower + np.mod(x - grid.lower, width), x)
        faces = zip(grid.faces, inside.T, strict=True)
        cells = [np.searchsorted(f, z).clip(1, len(f) - 1) - 1 for f, z in faces]
        counts = np.zeros(grid.shape, dtype=int)
        np.add.at(counts, tuple(cells), 1)
        assert np.array_equal(here["histogram"], counts)
        assert int(here["outside"]) == (~grid.contains(inside)).sum()
        assert float(grid.integrate(here["density"])) == pytest.approx(1.0)
        low, high = ((x[:, 0] <= 0).sum(), ((x[:, 0] > 0) & (x[:, 0] <= 1)).sum())
        assert here["basins"].values.tolist() == [low, high]
        assert int(here["unassigned"]) == 1003 - low - high
    assert (seen["particles"] == 1003).all() and seen.sizes["run"] == 2


@pytest.mark.parametrize("case", CASES)
def test_same_bits_for_tiles_threads_and_without_positions(case, monkeypatch):
    threads = torch.get_num_threads()
    whole = run(case).observed
    try:
        for tile, k in ((64, 1), (320, 2)):
            torch.set_num_threads(k)
            monkeypatch.setattr(ensemble, "_TILE_CPU", tile)
            bare = run(case, keep=False)
            assert bare.x is None and bare.observed.identical(whole)
            assert run(case, runs=1).observed.equals(whole.isel(run=0))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("case", ["line", "mean field"])
def test_averages_over_time_pool_what_every_kth_step_shows(case):
    """Against positions put out at these times; steps and times are dyadic, so bits agree."""
    dynamics, initial, grid = CASES[case]
    times = np.arange(9) / 16
    every = pk.simulate(dynamics, initial, 200, times, 1 / 64, observe=observables(grid)).observed
    seen = observables(grid) + observables(grid, every=4, name="mean4")
    X = pk.simulate(dynamics, initial, 200, [0.0, 0.25, 0.5], 1 / 64, observe=seen, keep=False)
    assert np.array_equal(X.observed["histogram"], every["histogram"][[0, 4, 8]])
    pooled = X.observed["mean4_histogram"]
    assert np.array_equal(pooled[0], every["histogram"][0])
    for i, part in ((1, slice(1, 5)), (2, slice(5, 9))):
        assert np.array_equal(pooled[i], every["histogram"][part].sum("time"))
        assert np.array_equal(X.observed["mean4_basins"][i], every["basins"][part].sum("time"))
        mean = every["mean"][part].mean("time")
        assert np.allclose(X.observed["mean4_mean"][i], mean, rtol=0, atol=1e-14)
    assert X.observed["mean4_particles"].values.tolist() == [200, 800, 800]


def test_many_particle_steps_average_to_the_gibbs_law():
    """OU at rest, 4 million looks: variance 1/beta within 5 standard errors of correlated looks."""
    beta, n, t = 2.0, 2000, 20.0
    rest = pk.Gaussian(0.0, beta**-0.5)
    seen = pk.simulate(
        pk.Langevin(Quadratic(1.0), beta), rest, n, t, 0.01, observe=pk.Moments(every=1), keep=False
    ).observed.isel(time=0)
    assert int(seen["particles"]) == n * 2000
    # var of the time average of x²: 2 var² times its correlation time 1/2, twice, over t
    error = (2 / beta**2 / (n * t)) ** 0.5
    assert abs(float(seen["covariance"].item()) - 1 / beta) < 5 * error
    assert abs(float(seen["mean"].item())) < 5 * (2 / beta / (n * t)) ** 0.5


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@settings(max_examples=200)
@given(st.lists(finite, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_sums_are_exact_in_any_order(values, random):
    sums = []
    for _ in range(2):
        digits = np.zeros(exact_sums.DIGITS, np.int64)
        for v in values:
            exact_sums.add_exactly(v, digits)
            if random.random() < 0.2:
                exact_sums.carry(digits)
        exact_sums.carry(digits)
        sums.append(digits)
        random.shuffle(values)
    assert np.array_equal(*sums)
    total = exact_sums.fraction(sums[0])
    assert (float(total) if abs(total) < 2**1023 else inf) == (
        fsum(values) if abs(total) < 2**1023 else inf
    )


def test_a_variance_far_from_the_origin():
    """Mean 1e4, deviation 1: eight digits are left; a plain sum of squares in float32 has none."""
    points = 1e4 + np.random.default_rng(0).standard_normal((5000, 2))
    still = pk.SmoothedDescent(Quadratic(0.0, dim=2))
    X = pk.simulate(still, points, 5000, 0.0, 1.0, observe=pk.Moments())
    exact = np.cov((points - 1e4).T, bias=True)
    assert np.allclose(X.observed["covariance"].values[0], exact, rtol=0, atol=3e-8)


@dataclass(frozen=True)
class Asked:
    """A law that notes how many samples were asked for at once."""

    law: Any
    pointwise: bool
    asked: list

    def sample(self, n, noise):
        self.asked.append(n)
        return self.law.sample(n, noise)


LAWS = [
    pk.Gaussian(0.5, 0.3),
    pk.Uniform((0.0, -1.0), (1.0, 1.0)),
    Mixture((1, 2), (pk.Gaussian(-1, 0.2), pk.Uniform(0.0, 1.0))),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_laws_are_sampled_tile_by_tile_as_at_once(law, dtype, monkeypatch):
    """A law of which nothing is known is sampled whole; those of pdekit a tile at a time."""
    monkeypatch.setattr(ensemble, "_TILE_CPU", 192)
    still = pk.SmoothedDescent(Quadratic(0.0, dim=law.dim))
    tiled, whole = Asked(law, True, []), Asked(law, False, [])
    x = [
        pk.simulate(still, start, 960, 0.0, 1.0, runs=2, seed=3, dtype=dtype).x
        for start in (law, tiled, whole)
    ]
    assert x[0].equals(x[2]) and x[1].equals(x[2])
    assert law.pointwise and min(whole.asked) == 960
    assert max(tiled.asked[4:]) <= 192  # after three looks and a probe


@pytest.mark.parametrize("V", [DoubleWell(), Rippled()], ids=repr)
def test_basins_on_a_line_end_at_the_maxima(V):
    grid = pk.Grid(-3, 3, 601)
    basins = pk.Basins.of(V, grid)
    v = V(grid.centres)
    lower = np.flatnonzero((v[1:-1] < v[:-2]) & (v[1:-1] < v[2:])) + 1
    ends = np.union1d(lower, [i for i, j in ((0, 1), (600, 599)) if v[i] < v[j]]).astype(int)
    assert np.array_equal(basins.minima[:, 0], grid.axes[0][ends])
    edges = [a + np.argmax(v[a:b]) for a, b in pairwise(ends)]
    cuts = np.flatnonzero(np.diff(basins.labels))
    assert (np.abs(cuts - np.array(edges)) <= 1).all()


def test_basins_of_a_plane_are_those_of_gradient_descent():
    """Small steps downhill from 2,000 points; cells along the ridges may differ (3 %)."""
    V, grid = SixHumpCamel(), pk.Grid((-2, -1.1), (2, 1.1), (160, 88))
    basins = pk.Basins.of(V, grid)
    known = np.array([(0.0898, -0.7126), (1.7036, -0.7961), (1.6071, 0.5687)])
    known = np.concatenate([known, -known])
    gaps = np.linalg.norm(basins.minima[:, None] - known, axis=-1)
    assert basins.count == 6 and gaps.min(axis=1).max() < np.linalg.norm(grid.spacing)
    x = start = np.random.default_rng(1).uniform(grid.lower, grid.upper, (2000, 2))
    for _ in range(4000):
        x = np.clip(x - 2e-3 * V.grad(x), grid.lower, grid.upper)
    nearest = np.linalg.norm(x[:, None] - basins.minima, axis=-1).argmin(axis=1)
    assert (basins(torch.as_tensor(start)).numpy() != nearest).mean() < 0.03


def test_plateaus_walls_and_periodic_axes():
    flat = np.array([2.0, 1, 1, 1, 0, 3, 3, 2, 2, 4])
    assert pk.Basins.of(flat, pk.Grid(0, 10, 10)).labels.tolist() == [0] * 6 + [1] * 4
    # round the circle the last cell is next to the first, and falls either way
    circle = pk.Grid(0, 10, 10, periodic=True)
    assert pk.Basins.of(np.array([5.0, 4, 3, 4, 5, 6, 7, 8, 7, 6]), circle).count == 1
    assert pk.Basins.of(np.zeros((4, 5)), pk.Grid((0, 0), (1, 1), (4, 5))).count == 1
    # beyond a wall is the wall's basin
    well = pk.Basins.of(DoubleWell(), pk.Grid(-1.5, 1.5, 30))
    assert well(torch.tensor([[-9.0], [9.0]])).tolist() == [0, 1]


BAD = {
    "a class": (pk.Moments, TypeError, "values such as"),
    "twice the same": ((pk.Moments(), pk.Moments(every=2)), ValueError, "different names"),
    "every too long": (pk.Moments(every=11), ValueError, "an interval .* has 10"),
    "grid of the plane": (pk.Histogram(PLANE), ValueError, "2 coordinates, the particles have 1"),
    "labels of points": (
        pk.BasinCounts(lambda x: (x > 0).long(), 2),
        ValueError,
        "whole numbers of shape",
    ),
    "labels that are no numbers": (pk.BasinCounts(lambda x: x[..., 0], 2), ValueError, "float64"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_observables_are_explained(name):
    observe, error, message = BAD[name]
    with pytest.raises(error, match=message):
        pk.simulate(WELL, pk.Gaussian(), 64, 0.1, 0.01, observe=observe)


def test_what_an_observable_needs_is_said():
    with pytest.raises(ValueError, match="number of basins is unknown"):
        pk.BasinCounts(lambda x: x)
    with pytest.raises(TypeError, match="expected a Grid"):
        pk.Histogram((-1, 1))
    with pytest.raises(ValueError, match="every must be a whole number >= 1"):
        pk.Moments(every=0)
    with pytest.raises(ValueError, match="expected numbers of shape"):
        pk.Basins.of(np.full(4, np.nan), pk.Grid(0, 1, 4))
    bare = pk.simulate(WELL, pk.Gaussian(), 64, 0.1, 0.01, keep=False)
    assert bare.observed is None
    with pytest.raises(ValueError, match="keep=True"):
        _ = bare.final
    with pytest.raises(ValueError, match="overflow"):
        pk.simulate(
            pk.SmoothedDescent(Quadratic(0.0)),
            np.full((4, 1), 1e200),
            4,
            0.0,
            1.0,
            observe=pk.Moments(),
        )


def test_the_result_is_a_dataset_with_the_axes_of_the_grid():
    seen = run("plane", runs=1).observed
    assert isinstance(seen, xr.Dataset) and seen["histogram"].dims == ("time", "x", "y")
    assert np.array_equal(seen["y"], PLANE.axes[1]) and seen["time"].values.tolist()[1] == 0.25


GRIDS = {"line": pk.Grid(-3, 3, 300), "plane": pk.Grid((-2.5, -2), (2.5, 2), (64, 64))}


@pytest.mark.parametrize("runs", [1, 12])
@pytest.mark.parametrize("case", ["line", "plane", "mean field"])
def test_a_histogram_is_compared_as_the_positions_are(case, runs):
    """All that counts decide is the same number; w1 and moments agree within the cells."""
    dynamics, initial, _ = CASES[case]
    grid = GRIDS["plane" if case == "plane" else "line"]
    rho = pk.solve(dynamics.law(), grid, initial, t=[0.5])
    seen = pk.Histogram(grid)
    X = pk.simulate(dynamics, initial, 4000, 0.5, 0.01, runs, observe=seen)
    bare = pk.simulate(dynamics, initial, 4000, 0.5, 0.01, runs, observe=seen, keep=False)
    asked = (pk.comparison.ChiSquare(), pk.comparison.Energy())
    here, there = (pk.compare(rho, e, metrics=asked).data.isel(time=0) for e in (bare, X))
    assert here.attrs == there.attrs and set(here) == set(there)
    within = {"w1": 0.2 * float(grid.spacing.max()), "floor_w1": 1e-15}
    for name in set(here) - {"mean_z", "variance_z"}:
        assert np.allclose(here[name], there[name], rtol=0, atol=within.get(name, 1e-12)), name
    for name in ("mean_z", "variance_z"):
        assert np.allclose(here[name], there[name], rtol=0, atol=0.5)


def test_a_wrong_dynamics_is_noticed_by_its_histogram():
    grid, V = GRIDS["line"], DoubleWell()
    rho = pk.solve(pk.FokkerPlanck(V, 4.0), grid, pk.Gaussian(-1.0, 0.2), t=1.0)
    seen = pk.Histogram(grid)
    for beta, passes in ((4.0, True), (3.5, False)):
        X = pk.simulate(
            pk.Langevin(V, beta),
            pk.Gaussian(-1.0, 0.2),
            100_000,
            1.0,
            0.01,
            observe=seen,
            keep=False,
        )
        assert pk.compare(rho, X).consistent(1e-3) == passes


def test_what_a_comparison_without_positions_needs_is_said():
    grid = GRIDS["line"]
    rho = pk.solve(pk.FokkerPlanck(DoubleWell(), 4.0), grid, START, t=0.5)
    for observe in ((), pk.Moments(), pk.Histogram(LINE), pk.Histogram(grid, every=5)):
        X = pk.simulate(WELL, START, 100, 0.5, 0.01, observe=observe, keep=False)
        with pytest.raises(ValueError, match=r"nor a histogram on the density's grid.*keep=True"):
            pk.compare(rho, X)
    X = pk.simulate(WELL, START, 100, 0.5, 0.01, observe=pk.Histogram(grid), keep=False)
    with pytest.raises(ValueError, match="needs positions"):
        pk.compare(rho, X, metrics=pk.comparison.W2())
