"""Methods with momentum: their limits, restarts and mini-batches against known answers."""

import itertools
import json
from math import exp, inf, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import j1

import pdekit as pk
from pdekit.particles import FiniteSum, MiniBatch, NoisyGradient, StepSizeWarning
from pdekit.particles.dynamics import gradients
from pdekit.particles.integrators import Step
from pdekit.potentials import DoubleWell, Quadratic, SixHumpCamel

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
METHODS = {
    "Nesterov": (pk.Nesterov(Quadratic(1.3), 0.7), 1 / 0.3),
    "MaSS": (pk.MaSS(Quadratic(1.3), 0.7, 0.2), 0.8 / 0.3),
}


def path(dynamics, x0, eta, steps, n=1):
    times = eta * np.arange(1, steps + 1)
    x = pk.simulate(dynamics, np.full((n, 1), x0), n=n, t=times, dt=eta).x
    return x.values[..., 0]


@pytest.mark.parametrize("name", METHODS)
def test_limit_of_small_rates(name):
    """w' = -(1 - η₂/η) ∇V/(1 - γ), with error O(η): order 1 ± 0.15."""
    dynamics, speed = METHODS[name]
    exact = 0.8 * exp(-1.3 * speed * 0.5)
    rates = [0.5 / k for k in (100, 200, 400)]
    errors = [
        abs(pk.simulate(dynamics, [[0.8]], n=1, t=0.5, dt=h).final.item() - exact) for h in rates
    ]
    assert np.polyfit(np.log(rates), np.log(errors), 1)[0] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", METHODS)
def test_rate_of_decay_on_a_quadratic(name):
    """Roots of μ² - ((1 + γ)(1 - z) + cz) μ + γ(1 - z), z = ηV'': the characteristic equation."""
    dynamics, _ = METHODS[name]
    gamma, c, z = 0.7, getattr(dynamics, "compensation", 0.0), 1.3 * 0.2
    root = np.abs(np.roots([1, -((1 + gamma) * (1 - z) + c * z), gamma * (1 - z)])).max()
    w = path(dynamics, 1.0, 0.2, 300)[:, 0]
    envelope = np.abs(w[:299]) + np.abs(w[1:])  # complex roots oscillate
    rate = np.polyfit(np.arange(100, 299), np.log(envelope[100:]), 1)[0]
    assert rate == pytest.approx(np.log(root), abs=5e-3)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("share", "stable"), [(0.99, True), (1.01, False)])
def test_limit_of_stability(name, share, stable):
    """η V'' = 2 (1 + γ)/(1 + 2γ - c): bounded below it, not above, where a warning is due."""
    dynamics, _ = METHODS[name]
    c = getattr(dynamics, "compensation", 0.0)
    eta = share * 2 * (1 + 0.7) / (1 + 2 * 0.7 - c) / 1.3
    if stable:
        assert abs(path(dynamics, 1.0, eta, 1000)[-1, 0]) < 1
    else:
        with pytest.warns(StepSizeWarning):
            assert abs(path(dynamics, 1.0, eta, 1000)[-1, 0]) > 1


@pytest.mark.parametrize("method", [pk.RestartedNesterov, lambda V: pk.RestartedMaSS(V, 0.0)])
def test_until_the_first_restart_it_follows_the_equation_of_su_boyd_and_candes(method):
    """V = x²/2: w(s) = 2 J₁(s)/s, s = k √η, error O(√η). γ kept at its first value, as printed
    (errata 69), would be gradient descent: w = e^{-kη}."""
    errors = []
    for eta in (4e-4, 1e-4, 2.5e-5):
        steps = int(1.5 / sqrt(eta))
        w = path(method(Quadratic(1.0)), 1.0, eta, steps)[:, 0]
        s = np.arange(1, steps + 1) * sqrt(eta)
        errors.append(np.abs(w - 2 * j1(s) / s).max())
    assert np.polyfit(np.log([4e-4, 1e-4, 2.5e-5]), np.log(errors), 1)[0] == pytest.approx(
        0.5, abs=0.15
    )
    assert errors[-1] < 0.01 < abs(exp(-steps * eta) - 2 * j1(s[-1]) / s[-1])


def test_restarts_come_where_the_motion_turns_uphill():
    """w passes the minimum of x²/2 at the first zero of J₁, s = 3.8317, and restarts there.

    After the restart w moves again as 2J₁(s)/s from there: its extremes shrink, and V never rises
    for long; without restarts |w| has its next extreme, 0.132, at s = 5.1356.
    """
    eta = 4e-4
    w = path(pk.RestartedNesterov(Quadratic(1.0)), 1.0, eta, 600)[:, 0]
    s = np.arange(1, 601) * sqrt(eta)
    zero = s[np.argmax(w < 0)]
    assert zero == pytest.approx(3.8317, abs=0.06)
    assert np.abs(w[s > 3.9]).max() < 0.02
    free = path(pk.Nesterov(Quadratic(1.0), 0.9999), 1.0, eta, 600)[:, 0]
    assert np.abs(free[s > 3.9]).max() > 0.5


def test_each_particle_restarts_by_itself():
    """The path of one does not depend on the others."""
    V = SixHumpCamel()
    start = np.random.default_rng(0).uniform(-1, 1, size=(70, 2))
    together = pk.simulate(pk.RestartedMaSS(V), start, n=70, t=0.5, dt=0.005).final.values
    alone = pk.simulate(pk.RestartedMaSS(V), start[8:9], n=1, t=0.5, dt=0.005).final.values
    assert np.array_equal(together[8:9], alone)


@pytest.mark.parametrize(
    "method",
    [pk.Nesterov, pk.MaSS, pk.RestartedNesterov, pk.RestartedMaSS],
)
def test_every_method_finds_the_wells(method):
    x = pk.simulate(method(DoubleWell()), pk.Uniform(-1.6, 1.6), n=200, t=40.0, dt=0.05).final
    assert np.abs(np.abs(x.values) - 1).max() < 1e-6


def linear_term(x, k):
    """f_k with the gradient g_k = data[k], whatever x."""
    data = torch.as_tensor(DATA, dtype=x.dtype)
    return (data[k] * x).sum(dim=-1)


BATCH = VALUES["minibatch.example"]["value"]
DATA = np.array(BATCH["G"], dtype=float)


def covariances(size):
    """By enumeration of all batches, with and without replacement."""
    g = np.array(DATA)
    every = itertools.product(range(6), repeat=size), itertools.combinations(range(6), size)
    means = [np.array([g[list(b)].mean(0) for b in batches]) for batches in every]
    return [np.cov(m.T, bias=True) for m in means]


def test_enumeration_gives_the_reference():
    expected = [np.array(BATCH[k], dtype=float) for k in ("cov_with", "cov_without")]
    assert np.allclose(covariances(BATCH["l"]), expected, atol=1e-14)


@pytest.mark.parametrize("size", [1, 3])
def test_covariance_of_mini_batches(size):
    """Against enumeration, and the corrected formulas of mathematics 1.11 (errata 38, 39) against
    it; the sample's entries at level 0.001. The printed factors are refuted."""
    g, n, N = np.array(DATA), 40_000, 6
    V = FiniteSum(linear_term, N, dim=2)
    S, mean = g.T @ g, g.mean(0)
    formulas = (
        (S / N - np.outer(mean, mean)) / size,
        (1 - size / N) / size * (S / (N - 1) - N / (N - 1) * np.outer(mean, mean)),
    )
    for replacement, exact, formula in zip((True, False), covariances(size), formulas, strict=True):
        assert formula == pytest.approx(exact, abs=1e-14)
        dynamics = pk.Nesterov(V, 0.0, MiniBatch(size, replacement))
        x = pk.simulate(dynamics, np.zeros((n, 2)), n=n, t=1.0, dt=1.0, seed=size).final.values
        assert np.abs(x.mean(0) + mean).max() < stats.norm.isf(2.5e-4) * sqrt(exact.max() / n)
        spread = 1.5 * np.sqrt((exact**2 + np.multiply.outer(*2 * [np.diag(exact)])) / n)
        assert (np.abs(np.cov(x.T) - exact) < stats.norm.isf(5e-4) * spread + 1e-12).all()
    printed = (S - (1 - 1 / (N - 1)) * np.outer(mean, mean)) / (N - 1)
    assert np.abs(printed - np.outer(mean, mean) / N - exact).max() > 1e-2


@pytest.mark.parametrize(("count", "size"), [(5, 1), (5, 5), (100, 99), (10**12, 20), (3000, 2000)])
def test_subsets_of_the_kernel_are_those_of_plain_torch(count, size):
    u = torch.rand(2, 50, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    index = gradients.chosen(u, count)
    assert torch.equal(index, gradients.floyd(u, count))
    assert (index.sort(-1)[0].diff() > 0).all() and index.min() >= 0 and index.max() < count


@pytest.mark.parametrize("replacement", [True, False])
def test_batches_are_drawn_anew_for_each_step_and_particle(replacement):
    V = FiniteSum(linear_term, 6, dim=2)
    x = pk.simulate(
        pk.Nesterov(V, 0.0, MiniBatch(1)), np.zeros((5000, 2)), n=5000, t=[1, 2], dt=1.0
    )
    first, second = x.x.values[0], x.x.values[1] - x.x.values[0]
    bound = stats.norm.isf(5e-4) / sqrt(4999)
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < bound
    assert abs(np.corrcoef(first[1:, 0], first[:-1, 0])[0, 1]) < bound


def test_finite_sums_are_potentials():
    """Value and gradient, numpy and torch, against the mean written out."""

    def term(x, k):
        return (x[..., 0] - 0.3 * k.to(x.dtype)) ** 4 / 4

    V, x = FiniteSum(term, 4), np.linspace(-1, 1, 7)[:, None]
    centres = 0.3 * np.arange(4)
    assert V(x) == pytest.approx(((x - centres) ** 4 / 4).mean(1), rel=1e-12)
    assert V.grad(x)[:, 0] == pytest.approx(((x - centres) ** 3).mean(1), rel=1e-12)
    assert np.array_equal(V.grad(torch.from_numpy(x)).numpy(), V.grad(x))


def test_noisy_slopes_of_sgd_have_the_law_of_langevin_at_its_beta():
    """β = 2/(η std²) (errata 6, mathematics 1.10): KS at level 0.01 in a double well; not 2β."""
    eta, std, V = 0.01, 7.0, DoubleWell()
    beta = 2 / (eta * std**2)
    x = pk.simulate(
        pk.Nesterov(V, 0.0, NoisyGradient(std)), pk.Gaussian(0, 0.7), n=10_000, t=8.0, dt=eta
    ).final.values[:, 0]
    grid = np.linspace(-4, 4, 4001)
    p = []
    for b in (beta, 2 * beta):
        mass = np.cumsum(np.exp(-b * (grid**2 - 1) ** 2 / 4))
        p.append(stats.kstest(x, lambda v, m=mass: np.interp(v, grid, m / m[-1])).pvalue)
    assert p[0] > 0.01 and p[1] < 1e-12


BAD = {
    "momentum": (lambda: pk.Nesterov(DoubleWell(), 1.0), ValueError, r"\[0, 1\)"),
    "momentum text": (lambda: pk.Nesterov(DoubleWell(), "much"), TypeError, "momentum"),
    "compensation": (lambda: pk.MaSS(DoubleWell(), 0.9, -0.1), ValueError, "compensation"),
    "restarted": (lambda: pk.RestartedMaSS(DoubleWell(), inf), ValueError, "compensation"),
    "batch": (lambda: MiniBatch(0), ValueError, "size"),
    "std": (lambda: NoisyGradient(0.0), ValueError, "std"),
    "count": (lambda: FiniteSum(linear_term, 0), ValueError, "count"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name):
    make, error, message = BAD[name]
    with pytest.raises(error, match=message):
        make()


def test_batches_need_a_sum_that_is_large_enough():
    step, noise = Step(0, 0.0, 1.0, 1.0), None
    with pytest.raises(TypeError, match="FiniteSum"):
        MiniBatch(2)(DoubleWell(), torch.zeros(1, 3, 1), step, noise)
    with pytest.raises(ValueError, match="7 of 6 samples"):
        MiniBatch(7, replacement=False)(
            FiniteSum(linear_term, 6, dim=2), torch.zeros(1, 3, 2), step, noise
        )
