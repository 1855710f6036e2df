"""Distances that compare() is asked for: against oracles, their null draws, their verdicts."""

from types import SimpleNamespace

import numpy as np
import ot
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_compare import COARSE_PLANE, LINE, NORMAL, ensemble, gibbs, gibbs_sample, normal, solution

import pdekit as pk
from pdekit.comparison import (
    EVERY,
    KL,
    L1,
    W1,
    W2,
    ChiSquare,
    Energy,
    KolmogorovSmirnov,
    Moments,
    SlicedW2,
    bootstrap,
    transport,
)
from pdekit.comparison.compare import compare
from pdekit.grid import Grid

QUICK = tuple(m for m in EVERY if m != W2())


def coupled(x, times=(1.0,)):
    """Runs of particles that act on each other, ``x`` of shape (time, run, particle, dim)."""
    dims = ("time", "run", "particle", "dim")
    dynamics = SimpleNamespace(interaction=pk.CurieWeiss(1.0))
    return SimpleNamespace(x=xr.DataArray(x, {"time": list(times)}, dims), dynamics=dynamics)


# --- values against other libraries --------------------------------------------------------------


@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), cells=st.integers(4, 12))
@settings(max_examples=200)
def test_w2_on_the_line_is_optimal_transport(seed, n, cells):
    """The density as 400 atoms a cell: atoms are within h/800 of where its mass is."""
    rng = np.random.default_rng(seed)
    grid = Grid(-1, 1, cells)
    mass = rng.dirichlet(np.ones(cells))
    mass[rng.integers(cells)] = 0.0  # a gap has two quantiles at one level
    mass /= mass.sum()
    x = rng.uniform(-1.3, 1.3, n)
    fine = grid.refined(400).axes[0]
    exact = np.sqrt(ot.emd2_1d(x, fine, None, np.repeat(mass / 400, 400), metric="sqeuclidean"))
    assert transport.w2_line(x, grid.faces[0], mass) == pytest.approx(exact, abs=2e-3)


def test_w2_of_a_shift_and_of_a_stretch():
    n = 20_000
    x = stats.norm.ppf((np.arange(n) + 0.5) / n)[:, None]  # no sampling noise
    for moved, exact in ((x + 0.1, 0.1), (1.2 * x, 0.2)):
        assert W2().value(seen(LINE, normal(LINE), moved)) == pytest.approx(exact, rel=5e-3)


def test_sliced_w2_of_a_shift_is_a_root_of_two_less():
    shift = np.array([0.3, -0.2])
    x = np.random.default_rng(1).normal(size=(200_000, 2)) + shift
    value = SlicedW2().value(seen(COARSE_PLANE, normal(COARSE_PLANE), x))
    assert value == pytest.approx(np.hypot(*shift) / np.sqrt(2), rel=0.03)


def gaussian_divergence(s, t, shift, epsilon):
    """Debiased, of N(0, s² I) and N(shift, t² I) in the plane (Janati et al. 2020, theorem 1)."""

    def entropic(a, b):
        d = np.sqrt(4 * a * a * b * b + epsilon**2 / 4)  # the cost is |x - y|²
        return 2 * (a * a + b * b - d + epsilon / 2 * (1 + np.log((2 * d + epsilon) / 2 / epsilon)))

    return shift @ shift + entropic(s, t) - (entropic(s, s) + entropic(t, t)) / 2


@pytest.mark.parametrize(("scale", "shift"), [(1.0, (0.3, -0.2)), (0.7, (0, 0)), (0.8, (0.4, 0.4))])
def test_w2_of_many_particles_in_the_plane_is_the_divergence_of_gaussians(scale, shift):
    """Exact counts: what is open is the 32 x 32 boxes and the tails of 5 deviations."""
    fine = Grid((-5, -5), (5, 5), (64, 64))
    here, there = (
        (np.exp(-0.5 * (((fine.centres - m) / s) ** 2).sum(-1))) for m, s in
        (((0.0, 0.0), 1.0), (np.array(shift), scale))
    )  # fmt: skip
    counts, mass = np.round(1e8 * there / there.sum()).astype(np.int64), here / here.sum()
    shares, rho, centres = transport.occupied_boxes(counts, mass, fine)
    epsilon = transport.regularisation(centres)
    assert epsilon == pytest.approx((2 * 10 / 32) ** 2)
    value = transport.w2_sinkhorn(shares[None], rho, centres, epsilon)[0]
    exact = np.sqrt(gaussian_divergence(1.0, scale, np.array(shift), epsilon))
    assert value == pytest.approx(exact, rel=0.02)
    small = SimpleNamespace(points=np.empty((10**7, 2)), counts=counts, mass=mass, grid=fine)
    assert W2().value(small) == pytest.approx(value, rel=1e-12)


def test_entropic_transport_is_that_of_the_library():
    """The dual value against <P, C> + epsilon KL(P | p x q) of POT's own plan."""
    rng = np.random.default_rng(16)
    z = rng.normal(size=(40, 2))
    p, q = rng.dirichlet(np.ones(40), 2)
    cost = ot.dist(z, z)
    plan = ot.sinkhorn(p, q, cost, 0.5, method="sinkhorn_log", stopThr=1e-12)
    kl = (plan * np.log(plan / np.outer(p, q))).sum()
    exact = (plan * cost).sum() + 0.5 * kl
    assert transport._entropic(p, q, z, 0.5) == pytest.approx(exact, rel=1e-6)
    empty = np.append(p, 0.0), np.append(q, 0.0), np.vstack([z, [[9.0, 9.0]]])
    assert transport._entropic(*empty, 0.5) == pytest.approx(exact, rel=1e-6)
    stuck = pytest.raises(pk.ConvergenceError, match="SlicedW2")
    with stuck, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ot, "sinkhorn", lambda *a, **k: (None, {"err": [0.1]}))
        transport._entropic(p, q, z, 0.5)


def test_a_narrow_density_in_a_wide_box_gets_boxes_of_its_own():
    grid = Grid((-5, -5), (5, 5), (200, 200))
    mass = normal(grid, 0.2) * grid.cell_volume
    x = 0.2 * np.random.default_rng(17).normal(size=(20_000, 2)) + [0.05, 0.0]
    value, floor = (f(seen(grid, mass / grid.cell_volume, x)) for f in (
        W2().value, lambda s: W2().floor(s, np.random.default_rng(18))))  # fmt: skip
    assert value == pytest.approx(0.05, rel=0.15) and floor < 0.2 * value


def test_w2_of_many_particles_in_the_plane_has_floor_and_p_value():
    """Its floor is what 40 more ensembles show, within 4.5 standard errors; a shift is found."""
    rng, rho = np.random.default_rng(19), normal(COARSE_PLANE)
    clouds = [rng.normal(size=(1_500, 2)) for _ in range(40)]
    values = [W2(0).value(seen(COARSE_PLANE, rho, x)) for x in clouds]
    floors = [W2(0).floor(seen(COARSE_PLANE, rho, x), rng) for x in clouds[:3]]
    error = np.std(values) * (1 / np.sqrt(40) + 1 / np.sqrt(60))
    assert abs(np.mean(values) - np.mean(floors)) < 4.5 * error
    moved = compare(solution(COARSE_PLANE, rho), ensemble(clouds[0] + 0.2), (W2(0),)).data
    assert moved["p_w2"].item() == pytest.approx(1 / 200)
    assert moved["w2"].item() == pytest.approx(np.hypot(0.2, 0.2), rel=0.15)
    assert W2(3e6).stated(seen(COARSE_PLANE, rho, clouds[0])) == {"epsilon_w2": 0.0}
    assert moved["epsilon_w2"].item() == pytest.approx(1.0)  # 20 x 20 boxes of two cells, 0.5 wide
    assert moved["floor_w2"].item() < 0.5 * moved["w2"].item()


def test_w2_in_the_plane_is_exact_for_few_particles():
    """A shift of a cloud of cell centres is one plan; the dual certifies that it is the best."""
    grid = Grid((-2, -2), (2, 2), (8, 8))
    mass = np.zeros(grid.shape)
    mass[2:5, 3:5] = 1 / 6
    x = grid.centres[mass > 0] + [0.05, 0.1]
    few = SimpleNamespace(points=x, mass=mass, grid=grid)
    assert W2().value(few) == pytest.approx(np.hypot(0.05, 0.1), rel=1e-9)


@pytest.mark.parametrize("dim", [1, 2])
def test_energy_distance_is_its_definition(dim):
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| from samples of both sides, 5 standard errors."""
    grid = Grid((-5,) * dim, (5,) * dim, (400,) if dim == 1 else (60, 60))
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.5, 1, (4_000, dim)), rng.normal(0, 1, (4_000, dim))
    z, w = rng.normal(0.5, 1, (4_000, dim)), rng.normal(0, 1, (4_000, dim))
    parts = [np.linalg.norm(a - b, axis=1) for a, b in ((x, y), (z, w), (x, z), (y, w))]
    square = parts[0] + parts[1] - parts[2] - parts[3]
    value = Energy().value(seen(grid, normal(grid), np.concatenate([x, z]))) ** 2
    assert abs(value - square.mean()) < 5 * square.std() / np.sqrt(len(square))


def test_energy_distance_on_the_line_agrees_with_scipy():
    x = np.random.default_rng(3).normal(0.4, 1.1, 3_000)
    exact = stats.energy_distance(x, LINE.axes[0], None, normal(LINE))
    assert Energy().value(seen(LINE, normal(LINE), x[:, None])) == pytest.approx(exact, rel=2e-3)


def test_moments_are_standard_scores():
    x = np.random.default_rng(4).normal(0.0, 1.0, (5_000, 1)) + 0.05
    score = Moments(1).value(seen(LINE, normal(LINE), x))
    assert score == pytest.approx(abs(x.mean()) * np.sqrt(5_000), rel=0.01)


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.name)
@pytest.mark.parametrize("grid", [LINE, COARSE_PLANE], ids=["line", "plane"])
def test_the_statistic_of_the_density_itself_is_nothing_and_of_its_mirror_is_not(metric, grid):
    rho = normal(grid, mean=0.3)
    boxes = bootstrap.boxes(rho * grid.cell_volume, grid, 1_000)
    mirrored = boxes.mass.reshape(boxes.shape)[(slice(None, None, -1),) * grid.dim].ravel()
    same, other = metric.statistic(np.stack([boxes.mass, mirrored]), boxes)
    assert abs(same) < 1e-6 and other > 0.05


@pytest.mark.parametrize("metric", [m for m in EVERY if m != W2()], ids=lambda m: m.name)
@pytest.mark.parametrize("grid", [LINE, COARSE_PLANE], ids=["line", "plane"])
def test_floors_are_means_over_ensembles_of_the_density(metric, grid):
    """Of 100 ensembles of 2,000, within 4.5 standard errors and a twentieth."""
    rng, rho = np.random.default_rng(11), normal(grid)
    x = grid.centres.reshape(-1, grid.dim)
    mass, half = rho.ravel() / rho.sum(), np.array(grid.spacing) / 2

    def sample():
        spots = x[rng.choice(len(x), 2_000, p=mass)]
        return seen(grid, rho, spots + rng.uniform(-half, half, spots.shape))

    floor = metric.floor(sample(), rng)
    if floor is not None:
        values = np.array([metric.value(sample()) for _ in range(100)])
        error = 4.5 * values.std() / 10
        assert abs(values.mean() - floor) < error + 0.05 * floor


def seen(grid, rho, x):
    from pdekit.comparison.distances import cell_counts
    from pdekit.comparison.metrics import Sample

    mass = rho * grid.cell_volume
    return Sample(x, cell_counts(x, grid), mass / mass.sum(), grid)


# --- the null hypothesis -------------------------------------------------------------------------

REPEATS = 1_000
INTERVAL = stats.binom.ppf([0.0005, 0.9995], REPEATS, 0.05) / REPEATS


@pytest.fixture(scope="module")
def null_line():
    """1,000 ensembles of the double well's own density."""
    rng = np.random.default_rng(5)
    clouds = [gibbs_sample(rng, 300, 4.0) for _ in range(REPEATS)]
    grid = Grid(-6, 6, 150)
    right = solution(grid, gibbs(LINE, 4.0).reshape(150, 4).mean(axis=1), range(1, REPEATS + 1))
    return compare(right, ensemble(*clouds), metrics=QUICK, draws=39).data


def test_false_alarms_of_every_metric_and_of_all_together(null_line):
    """Inside the 99.9 % binomial interval at level 0.05; discrete ones may stay below it."""
    for name in ("metrics", *(m.name for m in QUICK)):
        rate = float((null_line["p_" + name] < 0.0501).mean())
        assert rate <= INTERVAL[1], name
        if name not in ("metrics", "l1", "kl", "chi2", "ks"):
            assert rate >= INTERVAL[0], name
    assert float((null_line["p_value"] < 0.05).mean()) <= INTERVAL[1]


def test_floors_are_what_the_density_itself_shows(null_line):
    """Within 4.5 standard errors of the mean of 1,000 and 2 % for the value on boxes."""
    for metric in QUICK:
        values, floor = null_line[metric.name], float(null_line["floor_" + metric.name].mean())
        error = 4.5 * float(values.std()) / np.sqrt(REPEATS) + 0.02 * floor
        assert abs(float(values.mean()) - floor) < error, metric.name


def test_w2_and_the_plane_are_calibrated():
    """150 ensembles each: inside the 99.9 % binomial interval at level 0.05."""
    rng, rounds = np.random.default_rng(6), 150
    high = stats.binom.isf(5e-4, rounds, 0.05) / rounds
    times = range(1, rounds + 1)
    grid = Grid(-6, 6, 60)
    plane = Grid((-5, -5), (5, 5), (16, 16))
    for g, metrics in ((grid, (W2(),)), (plane, (W1(), Energy(), KolmogorovSmirnov()))):
        clouds = [rng.normal(size=(200, g.dim)) for _ in times]
        data = compare(solution(g, normal(g), times), ensemble(*clouds), metrics, 39).data
        for metric in metrics:
            rate = float((data["p_" + metric.name] < 0.0501).mean())
            assert 0 < rate <= high, (metric.name, rate)


def test_holm_finds_the_bad_time_and_its_tests():
    rng = np.random.default_rng(7)
    clouds = [rng.normal(size=(20_000, 1)) for _ in range(4)] + [rng.normal(0.2, 1, (20_000, 1))]
    right = solution(LINE, normal(LINE), range(1, 6))
    found = compare(right, ensemble(*clouds), metrics=(Energy(),)).findings(0.05)
    assert not found[:4].any()
    assert bool(found.sel(time=5, test="mean"))
    assert not found.sel(time=5, test="rest")


def test_holm_is_the_step_down_procedure():
    """False findings among 40 true hypotheses: at most the level, here 0.2, in 500 rounds."""
    from pdekit.comparison.verdict import _holm

    p = np.random.default_rng(8).random((500, 10, 4))
    rate = np.mean([_holm(q, 0.2).any() for q in p])
    assert rate <= stats.binom.isf(5e-4, 500, 0.2) / 500
    assert _holm(np.array([[0.011, 0.02], [0.6, 0.001]]), 0.04).tolist() == [
        [True, True],
        [False, True],
    ]  # 0.001 <= .04/4, 0.011 <= .04/3, 0.02 <= .04/2, 0.6 > .04


@pytest.mark.parametrize("metric", QUICK, ids=lambda m: m.name)
def test_every_metric_notices_a_noise_off_by_a_root_of_two(metric):
    x = gibbs_sample(np.random.default_rng(9), 5_000, 8.0)
    data = compare(solution(LINE, gibbs(LINE, 4.0)), ensemble(x), metrics=(metric,)).data
    assert data["p_" + metric.name].item() == pytest.approx(1 / 200)
    assert data[metric.name].item() > 2 * data["floor_" + metric.name].item()


def test_same_seed_same_numbers_and_another_seed_others():
    x = ensemble(np.random.default_rng(10).normal(size=(500, 1)))
    one, two, other = (compare(NORMAL, x, (Energy(),), seed=s).data for s in (3, 3, 4))
    xr.testing.assert_identical(one, two)
    assert one["floor_energy"].item() != other["floor_energy"].item()


# --- particles that act on each other ------------------------------------------------------------


def common_push(rng, rounds, runs, n, push=0.1):
    """Particles of a run share a random push: exactly normal, correlated inside a run."""
    shared = push * rng.normal(size=(rounds, runs, 1, 1))
    return rng.normal(size=(rounds, runs, n, 1)) * np.sqrt(1 - push**2) + shared


@pytest.mark.parametrize("runs", [4, 12])
def test_runs_are_the_sample_where_particles_act_on_each_other(runs):
    """False alarms at level 0.05 inside the 99.9 % interval; pooled they are far outside."""
    rounds, grid = 200, Grid(-6, 6, 100)
    x = common_push(np.random.default_rng(11), rounds, runs, 400, push=0.15)
    times = list(range(1, rounds + 1))
    right = solution(grid, normal(grid), times)
    high = stats.binom.isf(5e-4, rounds, 0.05) / rounds
    aware = compare(right, coupled(x, times), draws=19)
    rate = float((aware.data["p_layers"] < 0.05).mean())
    assert 0.01 <= rate <= high
    pooled = compare(right, ensemble(*x.reshape(rounds, -1, 1)))
    assert float((pooled.data["p_value"] < 0.05).mean()) > 0.3
    assert not aware.indicative and "independent runs" in str(aware)


def test_floors_of_runs_are_what_runs_show():
    """W1, L1 and KL of correlated runs: the mean floor within 15 % of the mean value."""
    rounds, runs = 60, 60
    x = common_push(np.random.default_rng(12), rounds, runs, 200)
    times = list(range(1, rounds + 1))
    grid = Grid(-6, 6, 200)
    data = compare(solution(grid, normal(grid), times), coupled(x, times), draws=99).data
    for name in ("l1", "w1", "kl"):
        assert float(data["floor_" + name].mean()) == pytest.approx(
            float(data[name].mean()), rel=0.15
        )


def test_runs_find_a_wrong_variance_and_a_wrong_mean():
    rng = np.random.default_rng(13)
    for x in (1.1 * common_push(rng, 1, 12, 2_000), common_push(rng, 1, 12, 2_000) + 0.15):
        assert not compare(NORMAL, coupled(x)).consistent(0.01)


def test_without_runs_the_p_value_is_only_indicative_and_says_so():
    x = common_push(np.random.default_rng(14), 1, 1, 500)[:, 0]
    dynamics = SimpleNamespace(coupled=True)
    lone = SimpleNamespace(x=ensemble(x[0]).x, dynamics=dynamics)
    verdict = compare(NORMAL, lone)
    assert verdict.indicative and not verdict.data.attrs["independent"]
    assert "only indicative" in repr(verdict)
    assert not compare(NORMAL, ensemble(x[0])).indicative


# --- bad input -----------------------------------------------------------------------------------

CLOUD = ensemble(np.random.default_rng(15).normal(size=(100, 1)))


def test_metrics_that_are_none_are_named():
    for bad in ("w2", (W2,), (3,)):
        with pytest.raises(TypeError, match=r"values such as W2\(\)"):
            compare(NORMAL, CLOUD, metrics=bad)
    with pytest.raises(ValueError, match="every metric once"):
        compare(NORMAL, CLOUD, metrics=(L1(), KL(), ChiSquare(), L1()))
    with pytest.raises(ValueError, match="at least 19"):
        compare(NORMAL, CLOUD, draws=5)
    with pytest.raises(ValueError, match="order must be a whole number >= 1"):
        Moments(0)
