"""Two time scales: the homogenised limit at rate O(ε), its special cases, the printed errors."""

import json
import warnings
from math import exp, inf, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar

import pdekit as pk
from pdekit.particles import (
    Displacement,
    ExponentialAverage,
    FreeDisplacement,
    LastIterate,
    LeimkuhlerMatthews,
    Scoping,
    StepSizeWarning,
)
from pdekit.potentials import DoubleWell, Quadratic

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
WELL = DoubleWell()
LEVEL = stats.norm.isf(5e-4)  # two-sided 0.001
Y = np.linspace(-5, 5, 4001)


def well(y):
    return (y * y - 1) ** 2 / 4


def slope(y):
    return y * (y * y - 1)


def local_entropy_slope(x, gamma, beta):
    """u_x = (x - <y>)/γ under exp(-β(V(y) + (x - y)²/(2γ))), by the trapezoidal rule."""
    energy = well(Y) + (x - Y) ** 2 / (2 * gamma)
    weight = np.exp(-beta * (energy - energy.min()))
    return (x - (weight * Y).sum() / weight.sum()) / gamma


def descend(velocity, x0, t):
    path = solve_ivp(lambda s, x: [velocity(x[0], s)], (0, t), [x0], rtol=1e-10, atol=1e-12)
    return path.y[0, -1]


def two_scales(epsilon, ratio=0.04, windows=25, **more):
    """The equations in their own time: δ/ε = ratio, X moved every ``windows`` steps of Y."""
    more = {"integrator": LeimkuhlerMatthews(), **more}
    dynamics = pk.TwoScaleLangevin(WELL, 4.0, 0.5, epsilon, windows, **more)
    return dynamics, windows * ratio * epsilon


def reached(dynamics, dt, t=1.0, n=4000, x0=0.3, seed=0):
    x = pk.simulate(dynamics, np.full((n, 1), x0), n=n, t=t, dt=dt, seed=seed).final.values
    return x.mean(), x.std() / sqrt(n)


def reference(name):
    entry = f"homog.dw.x0.3.{name}"
    return float(VALUES[entry]["value"]["X"])


def test_the_reference_is_the_slope_of_the_local_entropy():
    for name, t, beta in (("T3.0.g0.5.b4.0", 3.0, 4.0), ("T1.0.g0.5.b1.0", 1.0, 1.0)):
        x = descend(lambda x, s, b=beta: -local_entropy_slope(x, 0.5, b), 0.3, t)
        assert x == pytest.approx(reference(name), abs=1e-8)


@pytest.mark.parametrize("fast", [pk.particles.Position(), Displacement()], ids=str)
@pytest.mark.parametrize(
    ("name", "t", "beta"), [("T3.0.g0.5.b4.0", 3.0, 4.0), ("T1.0.g0.5.b1.0", 1.0, 1.0)]
)
def test_homogenised_references_are_reached_at_rate_epsilon(fast, name, t, beta):
    """Errors E(ε) = cε + O(ε²): their extrapolation 2E(ε/2) - E(ε) vanishes, level 0.001.

    The bound adds 0.004 for what is left of order ε² and of the step. |E| <= 2.2 ε + noise.
    """
    found = []
    for k, epsilon in enumerate((0.04, 0.02)):
        dynamics = pk.TwoScaleLangevin(
            WELL, beta, 0.5, epsilon, 12, fast=fast, integrator=LeimkuhlerMatthews()
        )
        mean, error = reached(dynamics, 12 * 0.04 * epsilon, t, n=3000, seed=k)
        assert abs(mean - reference(name)) < 2.2 * epsilon + LEVEL * error
        found.append((mean - reference(name), error))
    (coarse, e1), (fine, e2) = found
    assert abs(2 * fine - coarse) < 0.004 + LEVEL * sqrt(4 * e2**2 + e1**2)


def test_the_rate_is_one():
    """The error at ε = 0.16 and 0.02 in the form with less noise: order 1 ± 0.25."""
    errors = [
        reached(*two_scales(eps), n=n, seed=5)[0] - descended()
        for eps, n in ((0.08, 8000), (0.02, 20000))
    ]
    assert np.log(errors[0] / errors[1]) / np.log(4) == pytest.approx(1, abs=0.25)


def descended(beta=4.0, x0=0.3, gamma=0.5):
    return descend(lambda x, s: -local_entropy_slope(x, gamma, beta), x0, 1.0)


def test_the_printed_noise_is_refuted():
    """Errata 2: noise √(1/(βε)) is that of 2β and leads to another place (0.575)."""
    wrong, right = descended(8.0), descended(4.0)
    assert abs(wrong - right) > 0.05
    dynamics, dt = two_scales(0.02, fast=Displacement())
    mean, error = reached(dynamics, dt, n=2000)
    assert abs(mean - right) < 0.02 + LEVEL * error < abs(wrong - right) / 2


def test_many_inner_steps_average_well_without_small_epsilon():
    """Algorithm 1 as a multiscale method: δ/ε = 0.05 with 200 iterates per step of X."""
    dynamics = pk.TwoScaleLangevin(
        WELL, 4.0, 0.5, 1.0, 200, 20, inner_dt=0.05, integrator=LeimkuhlerMatthews()
    )
    mean, error = reached(dynamics, 0.05, n=200)
    # Euler's step of X: error below dt/2 · T · max|X''|
    assert abs(mean - descended()) < 0.01 + LEVEL * error


def test_euler_in_the_inner_loop_has_its_bias_and_leimkuhler_and_matthews_not():
    """V = a x²/2: the mean seen is exact for both; the second moment of X - Y shows the bias."""
    a, gamma, beta, delta = 1.0, 0.5, 4.0, 0.2
    rate = a + 1 / gamma
    for integrator, bias in (
        (pk.particles.EulerMaruyama(), 1 / (1 - delta * rate / 2)),
        (LeimkuhlerMatthews(), 1.0),
    ):
        dynamics = pk.TwoScaleLangevin(
            Quadratic(a),
            beta,
            gamma,
            1.0,
            1,
            30,
            average=LastIterate(),
            warm_start=False,
            inner_dt=delta,
            integrator=integrator,
        )
        n, dt = 20_000, gamma  # dt/γ = 1: X becomes the last Y
        x = pk.simulate(dynamics, np.zeros((n, 1)), n=n, t=dt, dt=dt).final.values
        assert abs(x.var() * beta * rate / bias - 1) < LEVEL * sqrt(2 / n)


@pytest.mark.parametrize("fast", [pk.particles.Position(), Displacement()], ids=str)
@pytest.mark.parametrize("x0", [0.3, 1.7, -0.9])
def test_without_noise_the_last_iterate_is_the_proximal_point(fast, x0):
    """HJ, thesis (4.42): one step of length γ goes to argmin V(y) + (x - y)²/(2γ)."""
    gamma = 0.4
    dynamics = pk.TwoScaleLangevin(
        WELL, inf, gamma, 1.0, 300, fast=fast, average=LastIterate(), inner_dt=0.1
    )
    x = pk.simulate(dynamics, [[x0]], n=1, t=gamma, dt=gamma).final.item()
    prox = minimize_scalar(
        lambda y: well(y) + (x0 - y) ** 2 / (2 * gamma), bracket=(x0, x0 / 2), tol=1e-12
    )
    assert x == pytest.approx(prox.x, abs=1e-6)


def heat_slope(x, variance):
    """E V'(x + √variance Z) of the double well, in closed form."""
    return x**3 + 3 * x * variance - x


@pytest.mark.parametrize("kind", ["two scales", "sampled"])
def test_heat_limit(kind):
    """X' = -∇(G_{γ/β} * V)(X), with the variance γ/β of errata 29 and 30, not γ or γ/(2β)."""
    gamma, beta = 0.5, 4.0
    if kind == "two scales":
        dynamics, dt = two_scales(0.01, fast=FreeDisplacement())
        n = 2000
    else:
        dynamics, dt, n = (
            pk.SampledDescent(WELL, beta, gamma, 1 + 3 * ("four" in kind)),
            0.004,
            4000,
        )
    mean, error = reached(dynamics, dt, n=n)
    right, *wrong = (
        descend(lambda x, s, v=v: -heat_slope(x, v), 0.3, 1.0)
        for v in (gamma / beta, gamma, gamma / (2 * beta))
    )
    assert abs(mean - right) < 0.006 + LEVEL * error
    assert min(abs(w - right) for w in wrong) > 0.05


@pytest.mark.parametrize("workers", [1, 8])
def test_elastic_centre_descends_the_local_entropy_whatever_the_number_of_workers(workers):
    """Errata 28: with the attraction to X, for every n; level 0.001 plus 1.3 ε."""
    epsilon, runs = 0.02, 1200 // (workers + 1)
    dynamics, n = pk.ElasticSGD(WELL, 4.0, 0.5, epsilon), workers + 1
    x = pk.simulate(dynamics, np.full((n, 1), 0.3), n=n, t=1.0, dt=0.04 * epsilon, runs=runs)
    centre = x.final.values[:, 0, 0]
    error = centre.std() / sqrt(runs)
    assert abs(centre.mean() - descended()) < 1.3 * epsilon + LEVEL * error


def test_workers_have_the_law_of_the_corrected_energy():
    """With X held by a slow centre: mean of Y under ρ₁ at level 0.001; the printed attraction to
    the mean of the workers would leave X out of it (0.27 against 0.53 of errata 28)."""
    gamma, beta, x0, n = 0.5, 4.0, 0.6, 4000
    weight = np.exp(-beta * (well(Y) + (x0 - Y) ** 2 / (2 * gamma)))
    mean = (weight * Y).sum() / weight.sum()
    spread = sqrt((weight * Y**2).sum() / weight.sum() - mean**2)
    dynamics = pk.ElasticSGD(WELL, beta, gamma, 1e-3)
    start = np.full((n, 1), x0)
    y = pk.simulate(dynamics, start, n=n, t=0.008, dt=1e-5).final.values[1:, 0]
    moved = 0.008 * abs(mean - x0) / gamma  # of the centre meanwhile
    assert abs(y.mean() - mean) < moved + LEVEL * spread / sqrt(n)


def test_gamma_may_shrink_with_time():
    """Scoping γ(t) = 0.5 e^{-t}, against X' = -∂u(X, γ(t))."""
    scope = Scoping(0.5, 1.0)
    dynamics = pk.TwoScaleLangevin(
        WELL, 4.0, scope, 0.01, 12, fast=Displacement(), integrator=LeimkuhlerMatthews()
    )
    mean, error = reached(dynamics, 12 * 0.0004, n=1000)
    exact = descend(lambda x, s: -local_entropy_slope(x, 0.5 * exp(-s), 4.0), 0.3, 1.0)
    assert abs(mean - exact) < 0.01 + LEVEL * error
    assert Scoping(0.5, 100.0, 0.1)(1.0) == 0.1


def test_interaction_draws_the_slow_variables_together():
    """MF-HOM-SGLD on a quadratic: X' = -aX/(1+aγ) - λ(X - X̄) as ε -> 0, for two starts."""
    a, gamma, strength, t = 1.0, 0.5, 2.0, 0.7
    dynamics = pk.TwoScaleLangevin(
        Quadratic(a), 1e6, gamma, 1e-3, 10, interaction=pk.CurieWeiss(strength), inner_dt=2e-4
    )
    x = pk.simulate(dynamics, [[2.0], [0.0]], n=2, t=t, dt=2e-3).final.values.ravel()
    rate = a / (1 + a * gamma)
    assert x.mean() == pytest.approx(exp(-rate * t), rel=5e-3)
    assert x[0] - x[1] == pytest.approx(2 * exp(-(rate + strength) * t), rel=1e-2)


def test_inner_noise_differs_between_steps_and_from_other_channels():
    """Increments of X in consecutive steps are uncorrelated (level 0.001) where Y starts anew."""
    dynamics = pk.TwoScaleLangevin(Quadratic(0.0), 1.0, 1.0, 1.0, 1, warm_start=False, inner_dt=0.1)
    n = 20_000
    x = pk.simulate(dynamics, np.zeros((n, 1)), n=n, t=[0.1, 0.2], dt=0.1).x.values[..., 0]
    moves = x[0], x[1] - x[0]
    assert abs(np.corrcoef(*moves)[0, 1]) < LEVEL / sqrt(n)
    plain = pk.Langevin(Quadratic(0.0), 1.0, integrator=pk.particles.EulerMaruyama())
    z = pk.simulate(plain, np.zeros((n, 1)), n=n, t=0.1, dt=0.1).final.values[:, 0]
    assert abs(np.corrcoef(x[0], z)[0, 1]) < LEVEL / sqrt(n)


@pytest.mark.parametrize(
    ("inner_dt", "dt", "warns"),
    [(0.02, 0.1, False), (0.02, 1.1, True), (0.095, 0.1, True)],
    ids=["both stable", "slow step too long", "fast step too long"],
)
def test_both_steps_have_a_stability_limit(inner_dt, dt, warns, recwarn):
    """dt/γ < 2 and (δ/ε)(V'' + 1/γ) < 2, with V'' = 20, γ = 0.5, ε = 1."""
    dynamics = pk.TwoScaleLangevin(Quadratic(20.0), 1.0, 0.5, 1.0, 1, inner_dt=inner_dt)
    pk.simulate(dynamics, np.ones((64, 1)), n=64, t=dt, dt=dt)
    assert [w.category for w in recwarn] == [StepSizeWarning] * warns


def test_time_zero_returns_the_start():
    dynamics = pk.TwoScaleLangevin(WELL, 1.0, 0.5, 0.1, 3)
    assert pk.simulate(dynamics, [[0.4]], n=1, t=0.0, dt=0.1).final.item() == 0.4


GOOD = {"potential": WELL, "beta": 1.0, "gamma": 0.5, "epsilon": 0.1, "inner_steps": 5}
BAD = {
    "beta": ({"beta": -1.0}, ValueError),
    "gamma": ({"gamma": 0.0}, ValueError),
    "gamma later": ({"gamma": lambda t: -1.0}, ValueError),
    "epsilon": ({"epsilon": inf}, ValueError),
    "inner steps": ({"inner_steps": 0}, ValueError),
    "half a step": ({"inner_steps": 1.5}, TypeError),
    "burn-in": ({"burn_in": 0}, ValueError),
    "inner dt": ({"inner_dt": -0.1}, ValueError),
    "interaction": ({"interaction": "strong"}, TypeError),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name):
    change, error = BAD[name]
    with pytest.raises(error):
        pk.TwoScaleLangevin(**{**GOOD, **change})


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="alpha"):
        ExponentialAverage(1.0)
    with pytest.raises(ValueError, match="initial"):
        Scoping(0.0, 1.0)
    with pytest.raises(ValueError, match="n >= 2"):
        pk.simulate(pk.ElasticSGD(WELL, 1.0, 0.5), [[0.1]], n=1, t=0.1, dt=0.01)
    with pytest.raises(ValueError, match="samples"):
        pk.SampledDescent(WELL, 1.0, 0.5, 0)


def test_entropy_sgd_is_the_optimizer():
    """Without noise: the particles of one, each a parameter of the other."""
    V, gamma, rate, L, eta = pk.potentials.Rippled(1), 0.3, 0.02, 7, 0.1
    dynamics = pk.EntropySGD(V, gamma=gamma, inner_steps=L, inner_lr=rate, alpha=0.6)
    start = np.linspace(-4, 4, 9)[:, None]
    particles = pk.simulate(dynamics, start, n=9, t=40 * eta, dt=eta).x.values[-1]
    x = torch.tensor(start, requires_grad=True)
    optimizer = pk.optim.EntropySGD([x], eta, gamma, L, inner_lr=rate, alpha=0.6)

    def closure():
        optimizer.zero_grad()
        loss = V(x).sum()
        loss.backward()
        return loss

    for _ in range(40):
        optimizer.step(closure)
    assert x.detach().numpy() == pytest.approx(particles.reshape(9, 1), abs=1e-12)


def test_entropy_sgd_descends_the_local_entropy():
    """Many small inner steps, an average over most of them, and slopes of u from the PDE."""
    V, beta, gamma = pk.potentials.DoubleWell(1), 4.0, 0.3
    dynamics = pk.EntropySGD(V, beta, gamma, inner_steps=400, inner_lr=0.01, alpha=0.99)
    points, eta = np.array([-1.4, -0.6, 0.3, 0.9]), 1e-3
    u = pk.local_entropy(V, gamma, beta, pk.Grid(-5, 5, 1000))
    for x in points:
        start = np.full((20_000, 1), x)
        moved = pk.simulate(dynamics, start, n=20_000, t=eta, dt=eta, seed=3).x.values[-1]
        slopes = (start - moved.reshape(-1, 1)) / eta
        error = slopes.std() / np.sqrt(len(slopes))
        # z still holds 0.99^400 of x, and Euler's inner step errs by a few thousandths
        assert abs(slopes.mean() - u.grad(np.array([[x]]))[0, 0]) < 4 * error + 0.01
        assert abs(slopes.mean() - V.grad(np.array([[x]]))[0, 0]) > 0.03


@pytest.mark.parametrize("share", [0.6, 0.9, 1.1, 2.0])
def test_entropy_sgd_warns_of_long_outer_steps(share):
    """Without noise, in a parabola: x decays at u'' = 1.5/(1 + 0.6), first order in η."""
    V, gamma, rate = pk.potentials.Quadratic(1.5), 0.4, 1.5 / 1.6
    dynamics, dt = (
        pk.EntropySGD(V, gamma=gamma, inner_steps=200, inner_lr=0.02),
        share * 0.25 / rate,
    )
    x, text = words_of(dynamics, dt, np.ones((2, 1)))
    off = -np.log(x.mean()) / (rate * dt) - 1
    assert ("the outer step is of order one" in text) == (off > 0.15)


@pytest.mark.parametrize("bend, warned", [(0.1, False), (0.35, False), (0.5, True), (1.0, True)])
def test_entropy_sgd_warns_of_long_inner_steps(bend, warned):
    """A step of η = γ with alpha = 0 leads to the last y, of variance 1/(β (V'' + 1/γ))."""
    V, gamma, beta, stiff = pk.potentials.Quadratic(0.2), 1.0, 4.0, 1.2
    dynamics = pk.EntropySGD(V, beta, gamma, 100, bend / stiff, alpha=0.0)
    x, text = words_of(dynamics, gamma, np.zeros((40_000, 1)))
    assert x.var() == pytest.approx(1 / (beta * stiff) / (1 - bend / 2), rel=0.04)
    assert ("the inner steps are of order one" in text) is warned
    assert warned == (x.var() > 1.25 / (beta * stiff))


def words_of(dynamics, dt, start):
    """Positions after a step, and what was warned of it."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        x = pk.simulate(dynamics, start, n=len(start), t=dt, dt=dt, seed=1).x.values[-1]
    return x, " ".join(str(w.message) for w in found)
