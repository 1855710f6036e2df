"""Would compare() notice? Distances against oracles, floors against sampling, both verdicts."""

from types import SimpleNamespace

import numpy as np
import ot
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pdekit.comparison import distances
from pdekit.comparison.compare import SHARES, compare
from pdekit.grid import Grid

LINE = Grid(-6, 6, 600)
PLANE = Grid((-5, -5), (5, 5), (64, 64))
COARSE_PLANE = Grid((-5, -5), (5, 5), (40, 40))


def solution(grid, rho, times=(1.0,)):
    """A density that stays the same at all times, in the shape of a Solution."""
    field = np.broadcast_to(rho, (len(times), *grid.shape))
    coords = {"time": list(times), **dict(zip(grid.names, grid.axes, strict=True))}
    return SimpleNamespace(u=xr.DataArray(field, coords, ("time", *grid.names)), grid=grid)


def ensemble(*clouds, times=None):
    """Clouds of particles, one a time, in the shape of an Ensemble."""
    times = list(times or range(1, len(clouds) + 1))
    return SimpleNamespace(
        x=xr.DataArray(np.stack(clouds), {"time": times}, ("time", "particle", "dim"))
    )


def normal(grid, std=1.0, mean=0.0):
    z = (grid.centres - mean) / std
    return np.exp(-0.5 * (z**2).sum(-1)) / (std * np.sqrt(2 * np.pi)) ** grid.dim


def gibbs(grid, beta):
    rho = np.exp(-beta * (grid.axes[0] ** 2 - 1) ** 2 / 4)
    return rho / grid.integrate(rho)


def gibbs_sample(rng, n, beta):
    """Inverse of the distribution function on a grid far finer than the one compared on."""
    fine = LINE.refined(20)
    cdf = np.concatenate([[0], np.cumsum(gibbs(fine, beta)) * fine.cell_volume])
    return np.interp(rng.random(n), cdf / cdf[-1], fine.faces[0])[:, None]


def repeated(grid, rho, draw, rounds, seed=6):
    """``rounds`` independent ensembles, laid along the time axis: one call, one row each."""
    rng = np.random.default_rng(seed)
    clouds = [draw(rng) for _ in range(rounds)]
    return compare(solution(grid, rho, range(1, rounds + 1)), ensemble(*clouds)).data


NORMAL = solution(LINE, normal(LINE))
MASS = normal(LINE) * LINE.cell_volume


# --- distances -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), cells=st.integers(4, 12))
@settings(max_examples=60, deadline=None)
def test_w1_on_the_line_is_the_area_between_distribution_functions(seed, n, cells):
    rng = np.random.default_rng(seed)
    grid = Grid(-1, 1, cells)
    mass = rng.dirichlet(np.ones(cells))
    x = rng.uniform(-1.3, 1.3, n)
    s = np.linspace(-1.4, 1.4, 200_001)
    below = np.searchsorted(np.sort(x), s, side="right") / n
    exact = np.interp(s, grid.faces[0], np.concatenate([[0], np.cumsum(mass)]))
    area = np.trapezoid(np.abs(below - exact), s)
    assert distances.w1_line(x, grid.faces[0], mass)[0] == pytest.approx(area, abs=3e-5)


def test_w1_on_the_line_agrees_with_optimal_transport():
    rng = np.random.default_rng(3)
    x = rng.normal(0.3, 1.1, 200)
    fine = LINE.refined(10)
    weights = normal(fine) * fine.cell_volume
    # POT moves atoms; atoms at fine centres are within h/2 = 5e-4 of the density
    exact = ot.emd2_1d(x, fine.axes[0], None, weights / weights.sum(), metric="euclidean")
    value, _ = distances.w1_line(x, LINE.faces[0], MASS / MASS.sum())
    assert value == pytest.approx(exact, abs=5e-4)


def test_sliced_w1_agrees_with_optimal_transport_along_the_same_directions():
    rng = np.random.default_rng(4)
    grid = Grid((-3, -2), (3, 2), (30, 20))
    mass = rng.dirichlet(np.ones(600)).reshape(grid.shape)
    counts = distances.cell_counts(rng.normal(0.3, 0.8, (500, 2)), grid)
    angles = (np.arange(distances.DIRECTIONS) + 0.5) * np.pi / distances.DIRECTIONS
    centres = grid.centres.reshape(-1, 2)
    exact = ot.sliced_wasserstein_distance(
        centres,
        centres,
        counts.ravel() / counts.sum(),
        mass.ravel(),
        projections=np.stack([np.cos(angles), np.sin(angles)]),
        p=1,
    )
    assert distances.w1_sliced(counts, mass, grid)[0] == pytest.approx(exact, rel=0.01)


def test_sliced_w1_of_a_shift_is_two_over_pi_of_it():
    mass = normal(PLANE) * PLANE.cell_volume
    counts = np.round(1e9 * np.roll(mass, (6, 3), (0, 1))).astype(np.int64)
    shift = np.hypot(6, 3) * PLANE.spacing[0]
    value, _ = distances.w1_sliced(counts, mass, PLANE)
    assert value == pytest.approx(2 / np.pi * shift, rel=0.01)


def test_distances_of_a_known_shift():
    n = 20_000
    x = stats.norm.ppf((np.arange(n) + 0.5) / n)[:, None]  # no sampling noise
    data = compare(NORMAL, ensemble(x + 0.1)).data.isel(time=0)
    assert data.w1 == pytest.approx(0.1, rel=2e-3)
    assert data.kl == pytest.approx(0.1**2 / 2, rel=0.03)
    assert data.l1 == pytest.approx(2 * (2 * stats.norm.cdf(0.05) - 1), rel=0.03)
    assert data.ks == pytest.approx(2 * stats.norm.cdf(0.05) - 1, rel=0.01)
    assert data.mean_z.item() == pytest.approx(0.1 * np.sqrt(n), rel=1e-3)
    assert data.variance_z.item() == pytest.approx(0.1**2 * np.sqrt(n / 2), rel=0.1)


@given(seed=st.integers(0, 10**6), smallest=st.floats(0.004, 0.6), dim=st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_bins_are_boxes_of_cells_each_heavy_enough(seed, smallest, dim):
    rng = np.random.default_rng(seed)
    mass = rng.dirichlet(np.full(24**dim, 0.3)).reshape((24,) * dim)
    labels = distances.equal_mass_bins(mass, smallest)
    weights = distances.pooled(mass, labels)
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= min(smallest, 1 - 1e-12)
    for label in range(len(weights)):
        where = np.argwhere(labels == label)
        assert len(where) == np.prod(np.ptp(where, axis=0) + 1)


# --- floors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 50, 1000])
def test_binomial_deviation_is_its_sum(n):
    p = np.array([0.0, 1e-4, 0.02, 0.5, 0.9, 1.0])
    k = np.arange(n + 1)[:, None]
    direct = (np.abs(k / n - p) * stats.binom.pmf(k, n, p)).sum(axis=0)
    np.testing.assert_allclose(distances.binomial_deviation(n, p), direct, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("grid", [LINE, COARSE_PLANE], ids=["line", "plane"])
def test_floors_are_what_the_density_itself_shows(grid):
    """Bootstrap means within 4.5 standard errors: false alarms below 1e-5 each."""
    rounds = 300
    data = repeated(grid, normal(grid), lambda rng: rng.normal(size=(2_000, grid.dim)), rounds)
    for name in ("l1", "w1", "kl"):
        error = data[name].std() / np.sqrt(rounds)
        assert abs(data[name].mean() - data["floor_" + name][0]) < 4.5 * error, name


# --- verdicts ------------------------------------------------------------------------------------

REPEATS = 1_000
INTERVAL = stats.binom.ppf([0.0005, 0.9995], REPEATS, 0.05) / REPEATS


@pytest.mark.parametrize(
    ("grid", "rho", "draw"),
    [
        (LINE, normal(LINE), lambda rng: rng.normal(size=(400, 1))),
        (LINE, gibbs(LINE, 4.0), lambda rng: gibbs_sample(rng, 400, 4.0)),
        (COARSE_PLANE, normal(COARSE_PLANE), lambda rng: rng.normal(size=(400, 2))),
    ],
    ids=["gaussian", "double-well", "plane"],
)
def test_false_alarms_at_level_five_per_cent(grid, rho, draw):
    """Inside the 99.9 % binomial interval, the verdict and each layer of it."""
    data = repeated(grid, rho, draw, REPEATS)
    for name in ("p_value", *(f"p_{test}" for test in SHARES if test != "outside")):
        rate = float((data[name] < 0.05).mean())
        assert INTERVAL[0] <= rate <= INTERVAL[1], name
    assert float((data["p_outside"] < 0.05).mean()) <= INTERVAL[1]


N = 100_000
WRONG = {
    "variance 3 % too large": (normal(LINE), lambda r: r.normal(0, np.sqrt(1.03), (N, 1))),
    "mean off by 2 % of std": (normal(LINE), lambda r: r.normal(0.02, 1, (N, 1))),
    "beta 5 % too high": (gibbs(LINE, 4.0), lambda r: gibbs_sample(r, N, 4.2)),
    "beta 5 % too low": (gibbs(LINE, 4.0), lambda r: gibbs_sample(r, N, 3.8)),
    "noise sqrt(1/beta)": (gibbs(LINE, 4.0), lambda r: gibbs_sample(r, N, 8.0)),
    "one well 2 % too full": (
        gibbs(LINE, 4.0),
        lambda r: np.abs(gibbs_sample(r, N, 4.0)) * np.where(r.random((N, 1)) < 0.51, 1, -1),
    ),
    "heavier tails, same variance": (normal(LINE), lambda r: r.standard_t(12, (N, 1)) / 1.2**0.5),
    "correlation, same marginals": (
        normal(PLANE),
        lambda r: r.multivariate_normal([0, 0], [[1, 0.03], [0.03, 1]], N),
    ),
    "a hole of 1 % in the middle": (
        normal(PLANE),
        lambda r: (x := r.normal(size=(N, 2)))[np.hypot(*x.T) > 0.14],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_laws_are_found_out(name):
    rho, draw = WRONG[name]
    grid = LINE if rho.ndim == 1 else PLANE
    verdict = compare(solution(grid, rho), ensemble(draw(np.random.default_rng(7))))
    assert verdict.data["p_value"].item() < 0.01
    assert not verdict.consistent(0.01)


def test_p_values_resolve_far_below_one_in_a_thousand():
    x = np.random.default_rng(8).normal(0.05, 1, (N, 1))
    p = compare(NORMAL, ensemble(x)).data["p_value"].item()
    assert 0 < p < 1e-30


def test_one_bad_time_among_many_decides_and_good_ones_do_not():
    rng = np.random.default_rng(9)
    times = list(range(1, 11))
    right = solution(LINE, normal(LINE), times)
    good = [rng.normal(size=(5_000, 1)) for _ in times]
    assert compare(right, ensemble(*good)).consistent(0.01)
    bad = [*good[:-1], rng.normal(0.1, 1, (5_000, 1))]
    verdict = compare(right, ensemble(*bad))
    assert not verdict.consistent(0.01)
    assert verdict.p_value == pytest.approx(10 * verdict.data["p_value"].values.min())


# --- walls, periodic axes, runs, times -----------------------------------------------------------


def test_a_thin_tail_cut_off_by_the_box_is_no_evidence():
    grid = Grid(-4, 4, 400)  # 6e-5 of the law lies outside
    rho = normal(grid) / grid.integrate(normal(grid))
    x = np.random.default_rng(10).normal(size=(N, 1))
    verdict = compare(solution(grid, rho), ensemble(x))
    assert 0 < verdict.data["outside"].item() < 2e-4
    assert verdict.data["expected_outside"].item() == pytest.approx(6.3e-5, rel=0.3)
    assert verdict.consistent(0.01)


def test_particles_that_left_a_closed_box_are_evidence():
    grid = Grid(-1, 1, 200)
    x = np.random.default_rng(11).uniform(-1, 1, (N, 1))
    right = solution(grid, np.full(200, 0.5))
    assert compare(right, ensemble(x)).consistent(0.01)
    x[:20] = 1.001
    data = compare(right, ensemble(x)).data
    assert data["outside"].item() == pytest.approx(20 / N)
    assert data["p_outside"].item() < 1e-6
    assert data["p_chi2"].item() > 0.01


def test_periodic_axes_take_positions_modulo_the_period():
    grid = Grid(0, 2, 100, periodic=True)
    rng = np.random.default_rng(12)
    x = rng.uniform(0, 2, (20_000, 1))
    x = x[rng.random(x.shape) < 0.5 + 0.5 * np.cos(np.pi * x)][:, None]
    rho = solution(grid, 0.5 + 0.5 * np.cos(np.pi * grid.axes[0]))
    here, wound = compare(rho, ensemble(x)), compare(rho, ensemble(x - 6.0))
    assert here.consistent(0.01)
    assert wound.data["w1"].item() == pytest.approx(here.data["w1"].item(), abs=1e-9)
    assert wound.data["p_value"].item() == pytest.approx(here.data["p_value"].item(), rel=1e-6)
    assert wound.data["outside"].item() == 0


def test_runs_are_pooled_and_the_order_of_particles_is_nothing():
    x = np.random.default_rng(13).normal(size=(5_000, 1))
    together = compare(NORMAL, ensemble(x))
    shuffled = compare(NORMAL, ensemble(x[::-1]))
    dims = ("time", "run", "particle", "dim")
    runs = SimpleNamespace(x=xr.DataArray(x.reshape(1, 5, 1_000, 1), {"time": [1.0]}, dims))
    apart = compare(NORMAL, runs)
    xr.testing.assert_allclose(together.data, shuffled.data)
    xr.testing.assert_allclose(together.data, apart.data)
    assert apart.data.attrs["runs"] == 5
    assert "5 runs" in str(apart)


def test_shared_times_are_compared_and_others_left_out():
    cloud = np.random.default_rng(14).normal(size=(100, 1))
    rho = solution(LINE, normal(LINE), [0.1, 0.3, 2.0])
    particles = ensemble(cloud, cloud, cloud, times=[0.1 + 0.2, 1.0, 2.0])
    assert compare(rho, particles).data["time"].values == pytest.approx([0.3, 2.0])


def test_a_density_in_one_cell_is_compared_without_dividing_by_nothing():
    rho = np.zeros(600)
    rho[300] = 1 / LINE.cell_volume
    x = np.full((100, 1), LINE.axes[0][300])
    data = compare(solution(LINE, rho), ensemble(x)).data
    assert data["p_value"].item() == 1
    assert data["l1"].item() == 0


def test_the_table_names_distances_floors_and_p():
    text = str(compare(NORMAL, ensemble(np.random.default_rng(15).normal(size=(1_000, 1)))))
    assert "1000 particles" in text
    assert all(word in text for word in ("time", "l1 (floor)", "w1 (floor)", "kl", " p"))
    assert len(text.splitlines()) == 3


# --- bad input -----------------------------------------------------------------------------------

CLOUD = np.random.default_rng(16).normal(size=(100, 1))
BAD = {
    "no shared time": (NORMAL, ensemble(CLOUD, times=[0.5]), r"t = \[1\].*t = \[0.5\]"),
    "negative": (solution(LINE, normal(LINE) - 0.01), ensemble(CLOUD), "negative at t = 1"),
    "mass": (solution(LINE, 0.9 * normal(LINE)), ensemble(CLOUD), "integrates to 0.9 at t = 1"),
    "nan density": (solution(LINE, np.full(600, np.nan)), ensemble(CLOUD), "not finite at t = 1"),
    "nan particle": (NORMAL, ensemble(np.append(CLOUD, [[np.nan]], 0)), "1 of 101 particles"),
    "dimension": (NORMAL, ensemble(np.zeros((100, 2))), "2 coordinates.* has 1"),
    "few": (NORMAL, ensemble(CLOUD[:10]), "10 particles are too few"),
    "dims of u": (SimpleNamespace(u=NORMAL.u.isel(time=0), grid=LINE), ensemble(CLOUD), "dims"),
    "cells": (SimpleNamespace(u=NORMAL.u[:, 1:], grid=LINE), ensemble(CLOUD), "599"),
    "dims of x": (
        NORMAL,
        SimpleNamespace(x=xr.DataArray(CLOUD, dims=("time", "dim"))),
        r"expected \(time",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    rho, particles, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        compare(rho, particles)


def test_exchanged_arguments_are_named():
    with pytest.raises(TypeError, match=r"order is compare\(solution, ensemble\)"):
        compare(ensemble(CLOUD), NORMAL)
    with pytest.raises(TypeError, match=r"second argument must have \.x"):
        compare(NORMAL, NORMAL)


@pytest.mark.parametrize("level", [0, 1, -0.1, 5])
def test_a_level_is_a_probability(level):
    with pytest.raises(ValueError, match="level"):
        compare(NORMAL, ensemble(CLOUD)).consistent(level)
