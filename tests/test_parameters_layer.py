"""Scores along temperature, drift, clock and step in the verdict: level, power, several times."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import pdekit as pk
from pdekit.comparison import distances, joint, layers
from pdekit.comparison.compare import SHARES
from pdekit.comparison.directional import smallest_weighted
from pdekit.comparison.directions import bias_of, directions_of
from pdekit.comparison.verdict import outer
from pdekit.particles.integrators import (
    EulerMaruyama,
    LeimkuhlerMatthews,
    StochasticHeun,
    TamedEuler,
)
from pdekit.pde.discrete.rate_changes import StepBias
from pdekit.pde.discrete.responses import along_parameters, on_line

BETA, START, GRID, N = 4.0, pk.Gaussian(-1.0, 0.1), pk.Grid(-3, 3, 600), 100_000
WELL, WIDE = pk.potentials.DoubleWell(), pk.Gaussian(-1.0, 0.2)


def density(potential=WELL, beta=BETA, grid=GRID, t=1.0, start=START):
    return pk.solve(pk.FokkerPlanck(potential, beta), grid, start, t)


def cloud(x, times=(1.0,), **more):
    data = xr.DataArray(
        np.asarray(x)[..., None], {"time": list(times)}, ("time", "particle", "dim")
    )
    return SimpleNamespace(x=data, **more)


# ---- the joint law


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_the_smallest_weighted_p_value_has_its_joint_law(rank):
    """Against 400,000 normal vectors: within 3 % and four standard errors."""
    rng = np.random.default_rng(rank)
    a = rng.normal(size=(4, rank))
    a /= np.linalg.norm(a, axis=1)[:, None]
    weights = np.array([0.6, 0.34, 0.03, 0.03])
    z = rng.normal(size=(400_000, rank)) @ a.T
    t = (2 * stats.norm.sf(np.abs(z)) / weights).min(axis=1)
    for seen in (0.003, 0.03, 0.3):
        one = np.zeros(4)
        one[0] = stats.norm.isf(seen * weights[0] / 2)
        true = (t <= seen).mean()
        error = 4 * math.sqrt(true / len(z)) + 0.03 * true
        assert smallest_weighted(one, weights, a @ a.T) == pytest.approx(true, abs=error)


def test_scores_that_are_not_known_do_not_count():
    weights, unit = np.array([0.6, 0.4]), np.eye(2)
    assert smallest_weighted(np.array([np.nan, np.nan]), weights, unit) == 1.0
    p = smallest_weighted(np.array([3.0, np.nan]), weights, unit)
    assert p == pytest.approx(2 * stats.norm.sf(3.0))


# ---- level and power


def judged(rho, law, n, repeats, seed=0):
    """Whether the verdict at .01 rejects counts drawn from masses: the whole, and the scores."""
    grid = rho.grid
    mass = np.maximum(rho.fields[-1], 0) * grid.cell_volume
    mass, law = mass / mass.sum(), law / law.sum()
    found = directions_of(rho, None, rho.times[-1:])
    labels = distances.equal_mass_bins(mass, distances.smallest_bin(n))
    cells = layers.layers(n, mass, grid, labels, tuple(found.scores[0]))
    out = []
    for counts in np.random.default_rng(seed).multinomial(n, law.ravel(), repeats):
        counts = counts.reshape(mass.shape)
        tests = layers.p_values(layers.layered_tests(counts, mass, labels, cells))
        scores = joint.p_of(found.names, layers.along_scores(counts, mass, grid, cells))
        p = outer(scores, distances.combined(tests | {"outside": 1.0}, SHARES))
        out.append((p < 0.01, scores < 0.01))
    return np.mean(out, axis=0)


PLANE = pk.potentials.Custom(lambda x: (x**2).sum(-1) / 2 + x[..., 0] * x[..., 1] / 3, dim=2)
SETTINGS = {
    "double well": (WELL, GRID, START),
    "a parabola on 1.5 cells": (pk.potentials.Quadratic(4.0), pk.Grid(-3, 3, 18), WIDE),
    "in the plane": (PLANE, pk.Grid((-3, -3), (3, 3), (24, 24)), pk.Gaussian((1.0, 0.0), 0.5)),
}


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize("n", [50, 1_000_000])
@pytest.mark.parametrize("name", SETTINGS)
def test_false_alarms_are_as_rare_as_said(name, n):
    """Ensembles of the density on the cells: below the 99.99 % binomial bound of 300."""
    potential, grid, start = SETTINGS[name]
    rho = density(potential, BETA, grid, 0.5, start)
    rate = judged(rho, rho.fields[-1], n, 300, seed=n)[0]
    assert rate * 300 <= stats.binom.isf(1e-4, 300, 0.01)


@pytest.mark.parametrize(("potential", "beta", "bar"), [(1.03 * WELL, BETA, 0.95),
                                                        (WELL, 1.02 * BETA, 0.96)])  # fmt: skip
def test_a_wrong_parameter_is_found_nearly_as_often_as_possible(potential, beta, bar):
    """Of 1,000; the likelihood ratio that is told the answer finds .986 and .983."""
    rate = judged(density(), density(potential, beta).fields[-1], N, 1_000)[0]
    assert rate >= bar - 2 * math.sqrt(bar * (1 - bar) / 1_000)


def test_steps_that_are_too_long_are_found_and_named():
    dynamics = pk.Langevin(WELL, BETA, integrator=EulerMaruyama())
    X = pk.simulate(dynamics, START, N, 1.0, 0.05, runs=4, seed=1)
    for k in range(4):
        one = SimpleNamespace(x=X.x.isel(run=k), dynamics=dynamics, stats=X.stats)
        verdict = pk.compare(density(), one)
        assert verdict.p_value < 1e-20
        words = verdict.diagnosis.attrs["words"]
        assert words.startswith("the particles' own steps of 0.05 explain")
        assert words in str(verdict) and "would do, or StochasticHeun() with" in words
    euler, heun = (float(part.split()[0]) for part in words.split("dt = ")[1:])
    assert euler < 0.005 < heun < 0.05
    for integrator, dt in ((EulerMaruyama(), euler), (StochasticHeun(), heun)):
        right = pk.Langevin(WELL, BETA, integrator=integrator)
        assert pk.compare(density(), pk.simulate(right, START, N, 1.0, dt, seed=2)).p_value > 0.01


def test_a_wrong_temperature_is_not_blamed_on_steps():
    X = pk.simulate(pk.Langevin(WELL, 1.05 * BETA), START, N, 1.0, 0.01, seed=3)
    verdict = pk.compare(density(), X)
    assert verdict.diagnosis.attrs["words"].startswith("beta is 1.0")
    assert str(verdict).endswith("of what the equation says; drift and clock agree")
    right = pk.simulate(pk.Langevin(WELL, BETA), START, N, 1.0, 0.01, seed=3)
    assert str(pk.compare(density(), right)).endswith("clock agree with the equation")


# ---- several times


def test_the_same_particles_at_two_times_are_not_twice_the_evidence():
    """At rest, and not moved between: the scores of both times together are those of one."""
    V, grid = pk.potentials.Quadratic(1.0), pk.Grid(-6, 6, 300)
    rho = pk.solve(pk.FokkerPlanck(V, 1.0), grid, pk.Gaussian(0, 1.0), [20.0, 21.0])
    x = np.random.default_rng(4).normal(0, 1.02, 20_000)
    both = pk.compare(rho, cloud(np.stack([x, x]), [20.0, 21.0])).data
    one = pk.compare(rho, cloud(x[None], [20.0])).data
    assert both["parameters"].item() == pytest.approx(one["parameters"].item(), rel=0.1)
    y = np.random.default_rng(5).normal(0, 1.02, 20_000)
    more = pk.compare(rho, cloud(np.stack([x, y]), [20.0, 21.0]))
    assert more.data["parameters"].item() < both["parameters"].item() ** 1.5
    assert more.p_value < 1e-3


def test_a_mistake_seen_at_several_times_is_found_sooner():
    """Paths of an Ornstein-Uhlenbeck process 2 % too cold at five times: joint against each."""
    a, times, n = 1.3, [0.5, 0.8, 1.1, 1.4, 1.7], 20_000
    rho = pk.solve(pk.FokkerPlanck(pk.potentials.Quadratic(a), 2.0), pk.Grid(-5, 6, 200),
                   pk.Gaussian(1.0, 0.4), times)  # fmt: skip
    rng, joint_p, each = np.random.default_rng(6), [], []
    for _ in range(12):
        x, before, path = 1.0 + 0.4 * rng.standard_normal(n), 0.0, []
        for t in times:
            decay = math.exp(-a * (t - before))
            spread = math.sqrt((1 - decay**2) / (a * 2.0 * 1.03))
            x, before = decay * x + spread * rng.standard_normal(n), t
            path.append(x)
        data = pk.compare(rho, cloud(path, times)).data
        joint_p.append(data["parameters"].item())
        each.append(5 * data["p_parameters"].values.min())
    assert np.median(joint_p) < np.median(each) / 3


def test_histograms_have_no_joint_law_and_are_corrected_by_bonferroni():
    times, dynamics = [0.5, 1.0], pk.Langevin(WELL, BETA)
    rho = pk.solve(dynamics.law(), GRID, START, times)
    X = pk.simulate(dynamics, START, 2_000, times, 0.02, observe=pk.Histogram(GRID), keep=False)
    data = pk.compare(rho, X).data
    least = 2 * float(data["p_parameters"].min())
    assert data["parameters"].item() == pytest.approx(min(1.0, least))


# ---- steps


def slopes(chain, exact, h):
    """∂/∂h at 0 of what a chain makes, by Richardson's rule."""
    return (4 * (chain(h / 2) - exact) - (chain(h) - exact)) / h


@pytest.mark.parametrize("integrator", [EulerMaruyama, LeimkuhlerMatthews])
def test_the_bias_of_a_step_is_that_of_a_parabola_exactly(integrator):
    """X⁺ = (1 - a h) X + noise, mean and variance after n steps; of Leimkuhler and Matthews the
    noise of half a step, (1 - a h / 2), is added before the slope.
    """
    a, beta, t, m, v = 1.3, 2.0, 1.0, 1.0, 0.16
    grid = pk.Grid(-5, 6, 1200)
    rho = density(pk.potentials.Quadratic(a), beta, grid, t, pk.Gaussian(m, math.sqrt(v)))

    def chain(h):
        mean, var, decay = m, v, 1 - a * h
        halved = integrator is LeimkuhlerMatthews
        for k in range(round(t / h)):
            noise = 2 * h / beta * (0.75 if halved and k == 0 else (1 - a * h / 2) ** 2 if halved
                                    else 1.0)  # fmt: skip
            mean, var = decay * mean, decay**2 * var + noise
        return np.array([mean, var + (h / (2 * beta) if halved else 0.0) + mean**2])

    decay = math.exp(-a * t)
    second = v * decay**2 + (1 - decay**2) / (a * beta) + (m * decay) ** 2
    s = on_line(rho.problem(), np.array([t]), ("step",), StepBias(*integrator.step_bias))[1]
    x = grid.axes[0]
    found = [grid.integrate(phi * s["step"][0]) for phi in (x, x**2)]
    np.testing.assert_allclose(found, slopes(chain, np.array([m * decay, second]), 0.01), rtol=2e-3)


@pytest.mark.parametrize("tamed", [False, True])
def test_the_bias_of_a_step_in_a_double_well_is_that_of_its_chain(tamed):
    """Powers of the transition density of Euler's steps, and of tamed ones, on 400 cells."""
    grid, t = pk.Grid(-2.6, 2.6, 400), 0.5
    rho = density(WELL, BETA, grid, t, WIDE)
    x, b = grid.axes[0], -WELL.grad(grid.centres)[..., 0]
    integrator = TamedEuler if tamed else EulerMaruyama

    def chain(h):
        moved = x + h * (b / (1 + h * np.abs(b)) if tamed else b)
        step = stats.norm.pdf(x[:, None], moved, math.sqrt(2 * h / BETA)) * grid.cell_volume
        return np.linalg.matrix_power(step, round(t / h)) @ rho.problem().values

    bias = StepBias(*integrator.step_bias)
    s = on_line(rho.problem(), np.array([t]), ("step",), bias)[1]["step"][0]
    true = slopes(chain, rho.fields[0], 0.02)
    assert grid.integrate(np.abs(s - true)) < 0.03 * grid.integrate(np.abs(true))


def test_in_one_sweep_it_is_what_the_krylov_space_says():
    names, bias = ("beta", "drift", "clock", "step"), StepBias(-0.5, -1.0)
    walls = pk.Walls(True, pk.PartlyAbsorbing(0.7))
    equation = pk.FokkerPlanck(WELL, 2.0, walls=walls, killing=0.3, force=lambda x: 0.2 + 0 * x)
    rho = pk.solve(equation, pk.Grid(-1.5, 1.5, 100), pk.Gaussian(0.2, 0.2), [0.1, 0.5])
    for step in (0.0, 0.02):
        u, swept = on_line(rho.problem(), rho.times, names, bias, step)
        v, spanned = along_parameters(rho.problem(), rho.times, names, bias, step)
        np.testing.assert_allclose(u, v, atol=1e-8)
        for name in names:
            np.testing.assert_allclose(swept[name], spanned[name], atol=3e-7, err_msg=name)


def test_whose_steps_have_a_bias():
    euler = StepBias(-0.5, -1.0)
    assert bias_of(None) == euler
    assert bias_of(pk.Langevin(WELL, BETA, integrator=EulerMaruyama())) == euler
    assert bias_of(pk.Langevin(WELL, BETA, integrator=StochasticHeun())) is None
    assert bias_of(pk.Langevin(WELL, BETA)) == StepBias(-0.5, -0.5)
    stops = pk.Langevin(WELL, BETA, box=GRID, walls=pk.Walls(True, True))
    assert bias_of(stops) is None  # Heun's steps take the place of Leimkuhler's and Matthews'
