"""convergence() tells sampling from the step: rates, constants, coverage of known answers."""

from math import exp

import numpy as np
import pytest
from scipy import linalg, stats

import pdekit as pk
from pdekit.particles.integrators import EulerMaruyama, StochasticHeun


def first(x):
    return x[..., 0]


def square(x):
    return (x * x).sum(-1)


def planted(limit=1.0, b=0.5, q=1.0, c=0.0, spread=0.3):
    """Particles whose mean is ``limit + b h^q + c / n`` exactly."""

    def positions(n, dt, runs, seed):
        rng = np.random.default_rng(seed)
        return limit + b * dt**q + c / n + spread * rng.normal(size=(runs, n, 1))

    return positions


LADDER = {"n": (20, 80, 320), "dt": (0.4, 0.2, 0.1, 0.05), "runs": 20}


@pytest.mark.parametrize(
    ("truth", "options"),
    [
        ({}, {}),
        ({"q": 2.0}, {}),
        ({"q": 2.0}, {"order": 2.0}),
        ({"c": 3.0}, {"crowding": True}),
        ({}, {"reference": 1.0}),
    ],
    ids=["first order", "second order", "order known", "one over n", "limit known"],
)
def test_intervals_cover_what_was_planted(truth, options):
    """95 % intervals over 60 seeds; fewer hits than asked for have probability 1e-3."""
    least = int(stats.binom.ppf(1e-3, 60, 0.95))
    hits = {"rate": 0, "order": 0, "limit": 0, "crowding": 0}
    expected = {"rate": 0.5, "order": truth.get("q", 1.0), "limit": 1.0}
    expected["crowding"] = truth.get("c", 0.0)
    for seed in range(60):
        here = {"seed": 10**6 * seed} | LADDER | options
        fit = pk.convergence(planted(**truth), None, first, 1.0, **here)
        for name in hits:
            hits[name] += expected[name] in getattr(fit, name)
    assert min(hits.values()) >= least, hits


def test_the_fit_is_refuted_where_the_model_does_not_hold():
    """A term in 1/N that is there and not fitted, and one that is fitted."""
    crowded = planted(c=3.0, spread=0.05)
    without = pk.convergence(crowded, None, first, 1.0, **LADDER)
    with_it = pk.convergence(crowded, None, first, 1.0, **LADDER, crowding=True)
    assert without.p_fit < 1e-6 < 0.001 < with_it.p_fit
    assert with_it.crowding.lower > 2.5


A, BETA, MEAN, VARIANCE = 1.3, 2.0, 0.8, 0.3
REST = 1 / (A * BETA)
EXACT = REST + (VARIANCE - REST) * exp(-2 * A) + (MEAN * exp(-A)) ** 2


@pytest.mark.parametrize(
    ("integrator", "terms"), [(EulerMaruyama(), 2), (StochasticHeun(), 1)], ids=["Euler", "Heun"]
)
def test_plain_particles_extrapolate_to_the_exact_moment(integrator, terms):
    """E X² of the Ornstein-Uhlenbeck process at t = 1; intervals at 99.9 %."""
    dynamics = pk.Langevin(pk.potentials.Quadratic(A), BETA, integrator=integrator)
    fit = pk.convergence(
        dynamics, pk.Gaussian(MEAN, VARIANCE**0.5), square, 1.0, n=(500, 2_000, 8_000),
        dt=(0.4, 0.2, 0.1), runs=40, order=float(integrator.weak_order), terms=terms, level=0.999,
    )  # fmt: skip
    assert EXACT in fit.limit and 0.5 in fit.rate
    assert abs(fit.data["bias"].sel(dt=0.4).item()) > 5 * fit.data["bias_error"].sel(dt=0.4).item()
    assert fit.limit.upper - fit.limit.lower < 0.03


def test_euler_has_order_one_and_heun_two():
    """Order, and Euler's constant, of the bias of E X² from N(0, 0.1²); intervals at 99.9 %."""
    cases = {EulerMaruyama(): (0.2, 0.1, 0.05), StochasticHeun(): (0.5, 0.25, 0.125)}
    for integrator, steps in cases.items():
        dynamics = pk.Langevin(pk.potentials.Quadratic(1.0), 1.0, integrator=integrator)
        fit = pk.convergence(
            dynamics, pk.Gaussian(0.0, 0.1), square, 3.0, n=(1_000, 4_000, 16_000), dt=steps,
            runs=40, reference=1 - 0.99 * exp(-6), level=0.999,
        )  # fmt: skip
        assert integrator.weak_order in fit.order
        assert 3 - integrator.weak_order not in fit.order
        if integrator.weak_order == 1:  # at rest Euler's variance is 1 / (1 - h / 2)
            bias = fit.data.sel(dt=0.2)
            assert abs(bias["bias"].item() - (1 / 0.9 - 1)) < 4 * bias["bias_error"].item()


def test_interacting_particles_have_a_term_in_one_over_n():
    """Curie-Weiss on a Gaussian: Var of a particle at rest is 1/(a+λ)β (1 - 1/N) + 1/(aβN)."""
    a, strength, beta = 1.0, 2.0, 1.0
    dynamics = pk.InteractingLangevin(
        pk.potentials.Quadratic(a), beta, pk.CurieWeiss(strength), integrator=StochasticHeun()
    )
    limit = 1 / ((a + strength) * beta)
    fit = pk.convergence(
        dynamics, pk.Gaussian(0.0, limit**0.5), square, 6.0, n=(2, 8, 32), dt=(0.2, 0.1),
        runs=2_000, order=2.0, level=0.999,
    )  # fmt: skip
    assert limit in fit.limit
    assert 1 / (a * beta) - limit in fit.crowding
    assert 0.0 not in fit.crowding


GAMMA, EPSILON, FAST = 0.5, 0.2, 5


def mean_of_two_scales(t):
    """E X(t) of X' = -(X - Y)/γ, ε Y' = (X - Y)/γ - Y, both from 1: a linear system."""
    matrix = [[-1 / GAMMA, 1 / GAMMA], [1 / GAMMA / EPSILON, -(1 / GAMMA + 1) / EPSILON]]
    return (linalg.expm(np.array(matrix) * t) @ [1.0, 1.0])[0]


def two_scales():
    return pk.TwoScaleLangevin(pk.potentials.Quadratic(1.0), 2.0, GAMMA, EPSILON, FAST, 1)


@pytest.mark.filterwarnings("ignore::pdekit.AccuracyWarning")  # of steps long enough to see
def test_two_scale_particles_separate_their_step_from_their_number():
    """HOM-SGLD itself, in real time of the fast variable: first order in the step, N^-1/2."""
    fit = pk.convergence(
        two_scales(), pk.Gaussian(1.0, 0.01), first, 1.0, n=(100, 400, 1_600),
        dt=(0.2, 0.1, 0.05), runs=40, terms=2, order=1.0, level=0.999,
    )  # fmt: skip
    assert mean_of_two_scales(1.0) in fit.limit and 0.5 in fit.rate
    coarse = fit.data.sel(dt=0.2)
    assert abs(coarse["bias"].item()) > 5 * coarse["bias_error"].item()


def spread_of(rate, t, start):
    """Variance of an Ornstein-Uhlenbeck process at β = 1."""
    return 1 / rate + (start - 1 / rate) * exp(-2 * rate * t)


HEUN = StochasticHeun()
BOWL = pk.potentials.Quadratic(1.0)
PARTICLES = {
    "plain": (
        pk.Langevin(BOWL, 1.0, integrator=HEUN),
        square,
        {"limit": spread_of(1.0, 1.0, 0.04), "rate": 0.5, "order": 2.0},
        {"dt": (0.4, 0.2, 0.1), "n": (50, 200)},
    ),
    "interacting": (
        pk.InteractingLangevin(BOWL, 1.0, pk.CurieWeiss(2.0), integrator=HEUN),
        square,
        # the mean of N moves with rate 1, what is about it with rate 3
        {
            "limit": spread_of(3.0, 1.0, 0.04),
            "crowding": spread_of(1.0, 1.0, 0.04) - spread_of(3.0, 1.0, 0.04),
        },
        {"dt": (0.1, 0.05), "n": (4, 16, 64), "order": 2.0, "runs": 200},
    ),
    "two scales": (
        two_scales(),
        first,
        {"limit": mean_of_two_scales(1.0), "rate": 0.5},
        {"dt": (0.2, 0.1, 0.05), "n": (20, 80), "order": 1.0, "terms": 2},
    ),
}


@pytest.mark.filterwarnings("ignore::pdekit.AccuracyWarning")  # of steps long enough to see
@pytest.mark.parametrize("name", PARTICLES)
def test_intervals_of_simulated_particles_cover(name):
    """95 % intervals of closed forms over 40 seeds; fewer hits have probability 1e-3."""
    dynamics, observable, truth, options = PARTICLES[name]
    start = pk.Gaussian(1.0 if observable is first else 0.0, 0.2)
    rounds, hits = 40, dict.fromkeys(truth, 0)
    for seed in range(rounds):
        here = {"runs": 20, "seed": 10**6 * seed} | options
        fit = pk.convergence(dynamics, start, observable, 1.0, **here)
        for key in truth:
            hits[key] += truth[key] in getattr(fit, key)
    assert min(hits.values()) >= int(stats.binom.ppf(1e-3, rounds, 0.95)), hits


def test_the_text_names_rate_bias_and_limit():
    text = repr(pk.convergence(planted(), None, first, 1.0, **LADDER))
    assert all(word in text for word in ("N^-", "dt^", "limit", "bias", "p of the fit"))


BAD = {
    "one n": ({"n": (100,)}, "n must be at least 2"),
    "two dt": ({"dt": (0.1, 0.2)}, "dt must be at least 3"),
    "negative": ({"dt": (0.1, 0.2, -0.3)}, "different positive"),
    "runs": ({"runs": 2}, "at least 4"),
    "level": ({"level": 95}, "level"),
    "terms": ({"terms": 5}, "terms"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    options, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        pk.convergence(planted(), None, first, 1.0, **(LADDER | options))


def test_wrong_shapes_and_values_that_are_not_finite_are_named():
    with pytest.raises(ValueError, match="runs, particles, coordinates"):
        pk.convergence(lambda n, dt, runs, seed: np.zeros(n), None, first, 1.0, **LADDER)
    with pytest.raises(ValueError, match="maps"):
        pk.convergence(planted(), None, lambda x: x, 1.0, **LADDER)
    with pytest.raises(ValueError, match="not finite"):
        pk.convergence(planted(b=np.nan), None, first, 1.0, **LADDER)
    with pytest.raises(ValueError, match="no spread"):
        pk.convergence(planted(spread=0.0), None, first, 1.0, **LADDER)
