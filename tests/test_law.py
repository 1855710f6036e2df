"""Particles follow the law of their dynamics. Levels are stated; seeds are fixed."""

from math import exp, sqrt

import numpy as np
import pytest
from array_api_compat import array_namespace
from scipy import stats
from scipy.integrate import cumulative_simpson

import pdekit as pk
from pdekit.particles.integrators import EulerMaruyama, LeimkuhlerMatthews, StochasticHeun
from pdekit.potentials import DoubleWell, Quadratic

ALL = [EulerMaruyama(), LeimkuhlerMatthews(), StochasticHeun()]
LEVEL = 0.01


def gibbs_distribution(V, beta):
    """x -> distribution function of e^{-beta V} / Z, integrated numerically."""
    x = np.linspace(-4, 4, 4001)
    mass = cumulative_simpson(np.exp(-beta * V(x[:, None])), x=x, initial=0)
    return lambda v: np.interp(v, x, mass / mass[-1])


def well_p_value(beta_of_the_noise, n=50_000):
    """KS p-value of the double well's Gibbs law at beta = 4, at t = 8 (20 relaxation times)."""
    V = DoubleWell()
    dynamics = pk.Langevin(V, beta=beta_of_the_noise)
    x = pk.simulate(dynamics, pk.Uniform(-1.5, 1.5), n=n, t=8.0, dt=0.05, seed=1).final
    return stats.kstest(x.values.ravel(), gibbs_distribution(V, 4.0)).pvalue


def test_double_well_reaches_its_gibbs_law():
    """False-alarm level 0.01; h = 0.05 needs Leimkuhler-Matthews, see the next test."""
    assert well_p_value(4.0) > LEVEL


def test_a_wrong_noise_is_detected():
    """sqrt(1/beta) instead of sqrt(2/beta) is beta = 8; a noise off by 5 % is seen as well."""
    assert well_p_value(8.0) < 1e-12
    assert well_p_value(4.0 * 1.05**2) < LEVEL


@pytest.mark.parametrize("integrator", ALL, ids=lambda i: type(i).__name__)
@pytest.mark.parametrize("t", [0.1, 1.0])
def test_ornstein_uhlenbeck_at_finite_time(integrator, t):
    """KS at level 0.01, mean and variance at level 0.001, against the exact Gaussian."""
    a, beta, m, s, n = 1.5, 4.0, -1.0, 0.2, 60_000
    dt = 2e-3 if integrator.weak_order == 1 else 2e-2
    dynamics = pk.Langevin(Quadratic(a), beta, integrator=integrator)
    x = pk.simulate(dynamics, pk.Gaussian(m, s), n=n, t=t, dt=dt, seed=5).final.values.ravel()
    mean, limit = m * exp(-a * t), 1 / (a * beta)
    variance = limit + (s * s - limit) * exp(-2 * a * t)
    assert stats.kstest(x, stats.norm(mean, sqrt(variance)).cdf).pvalue > LEVEL
    quantile = stats.norm.isf(5e-4)
    assert abs(x.mean() - mean) < quantile * sqrt(variance / n)
    assert abs(x.var() / variance - 1) < quantile * sqrt(2 / n)


def test_the_bias_of_euler_in_the_stationary_variance_is_seen_and_the_others_absent():
    """Relative variance error 1 / (1 - a h / 2) - 1 = 11 % at a h = 0.2; level 0.001."""
    n, h = 60_000, 0.2
    bound = stats.norm.isf(5e-4) * sqrt(2 / n)
    for integrator, bias in ((ALL[0], 1 / 0.9 - 1), (ALL[1], 0.0)):
        dynamics = pk.Langevin(Quadratic(1.0), 1.0, integrator=integrator)
        x = pk.simulate(dynamics, pk.Gaussian(0.0, 1.0), n=n, t=8.0, dt=h, seed=2).final.values
        assert abs(x.var() / (1 + bias) - 1) < bound


def test_plane_with_correlation():
    """Stationary covariance of xᵀAx/2 is A⁻¹/beta; each entry at level 0.001."""
    a, beta, n = np.array([[2.0, 0.6], [0.6, 1.0]]), 2.0, 40_000
    dynamics = pk.Langevin(Quadratic(((2.0, 0.6), (0.6, 1.0))), beta)
    x = pk.simulate(dynamics, pk.Gaussian((0, 0), 0.7), n=n, t=8.0, dt=0.05, seed=3).final.values
    exact = np.linalg.inv(a) / beta
    spread = np.sqrt((exact**2 + np.multiply.outer(np.diag(exact), np.diag(exact))) / n)
    assert (np.abs(np.cov(x.T) - exact) < stats.norm.isf(5e-4) * spread).all()


@pytest.mark.parametrize("integrator", [EulerMaruyama(), StochasticHeun()], ids=str)
def test_linear_quadratic_control(integrator):
    """V = a x²/2, V_T = g x²/2 (mathematics 1.7): u = P(T - t) x²/2; mean and variance at 0.001."""
    a, g, beta, end, n = 1.0, 2.0, 4.0, 1.0, 60_000

    def gain(tau):
        return 2 * a * g * exp(-2 * a * tau) / (2 * a + g * (1 - exp(-2 * a * tau)))

    class Value:
        dim = 1

        def at(self, t):
            return Quadratic(gain(end - t))

    times = np.linspace(0, end, 2001)
    rate = np.array([a + gain(end - t) for t in times])
    decay = cumulative_simpson(rate, x=times, initial=0)
    mean = -exp(-decay[-1])
    variance = 2 / beta * np.trapezoid(np.exp(-2 * (decay[-1] - decay)), times)
    dynamics = pk.ControlledLangevin(Quadratic(a), beta, Value(), integrator=integrator)
    dt = 2e-3 if integrator.weak_order == 1 else 2e-2
    x = pk.simulate(dynamics, np.full((n, 1), -1.0), n=n, t=end, dt=dt, seed=4).final.values
    quantile = stats.norm.isf(5e-4)
    assert abs(x.mean() - mean) < quantile * sqrt(variance / n)
    assert abs(x.var() / variance - 1) < quantile * sqrt(2 / n)


def test_float32_follows_the_same_law():
    V = DoubleWell()
    x = pk.simulate(
        pk.Langevin(V, beta=4.0), pk.Uniform(-1.5, 1.5), 50_000, 8.0, 0.05, seed=9, dtype="float32"
    ).final
    assert x.dtype == np.float32
    assert stats.kstest(x.values.ravel(), gibbs_distribution(V, 4.0)).pvalue > LEVEL


GRID = pk.Grid(-3, 3, 600)
INTERACTIONS = {
    "Curie-Weiss": pk.CurieWeiss(1.0),
    "Gaussian": pk.PairPotential(pk.interactions.GaussianWell(1.5, 0.6)),
}


@pytest.mark.parametrize("name", INTERACTIONS)
def test_interacting_particles_follow_the_mckean_vlasov_equation(name):
    """Mean and variance at level 0.001, distribution by KS at level 0.01, against the PDE.

    30 runs of 600 particles; a run's own mean is one sample. Particles of a run depend on each
    other weakly, so the KS sees one particle in ten; the bias 1/N lies below both.
    """
    dynamics = pk.InteractingLangevin(
        DoubleWell(), 4.0, INTERACTIONS[name], integrator=StochasticHeun()
    )
    assert dynamics.law() == pk.McKeanVlasov(DoubleWell(), 4.0, INTERACTIONS[name])
    start, runs, n = pk.Gaussian(0.5, 0.3), 30, 600
    x = pk.simulate(dynamics, start, n=n, t=0.8, dt=0.08, runs=runs, seed=6).final.values[..., 0]
    density = pk.solve(dynamics.law(), GRID, start, t=0.8).final
    centres, weight = density.x.values, density.values * GRID.spacing[0]
    mean = (weight * centres).sum()
    variance = (weight * (centres - mean) ** 2).sum()
    quantile = stats.t.isf(5e-4, runs - 1) / sqrt(runs)
    for found, exact in ((x.mean(1), mean), (x.var(1), variance)):
        assert abs(found.mean() - exact) < quantile * found.std(ddof=1) + 3 / n
    faces, below = GRID.faces[0], np.concatenate([[0], np.cumsum(weight)])
    assert stats.kstest(x[:, ::10].ravel(), lambda v: np.interp(v, faces, below)).pvalue > LEVEL
    alone = pk.solve(pk.FokkerPlanck(DoubleWell(), 4.0), GRID, start, t=0.8).final.values
    below = np.concatenate([[0], np.cumsum(alone * GRID.spacing[0])])
    assert stats.kstest(x.ravel(), lambda v: np.interp(v, faces, below)).pvalue < 1e-6


READINGS = [pk.Ito, pk.Stratonovich, pk.HaenggiKlimontovich]


def bowl(x):
    """A double well in the first coordinate, tilted by the second."""
    a, b = x[..., 0], x[..., 1]
    return (a * a - 1) ** 2 / 4 + b * b / 2 + 0.3 * a * b


def spread_out(x):
    """D(x) = 1 + x²/2, as a 1 x 1 matrix."""
    return (1 + x * x / 2)[..., None]


def mixing(x):
    """A positive definite D(x) that mixes the coordinates; its entries are bounded."""
    xp = array_namespace(x)
    a, b = x[..., 0], x[..., 1]
    off = 0.3 * a * b / (1 + a * a + b * b)
    rows = [1 + a * a / (2 + 2 * a * a), off, off, 1 + b * b / (2 + 2 * b * b)]
    return xp.reshape(xp.stack(rows, axis=-1), (*x.shape, 2))


def p_values(potential, diffusion, grid, start, readings, n):
    """Of particles read in the first way, against the densities of all the readings."""
    dynamics = pk.MultiplicativeLangevin(potential, 3.0, readings[0](diffusion))
    x = pk.simulate(dynamics, start, n=n, t=0.5, dt=0.005, seed=11)
    laws = [pk.MultiplicativeLangevin(potential, 3.0, r(diffusion)).law() for r in readings]
    return [pk.compare(pk.solve(law, grid, start, 0.5), x).p_value for law in laws]


@pytest.mark.parametrize("reading", READINGS)
def test_multiplicative_noise_follows_its_reading_of_the_equation(reading):
    """At a finite time, level 0.01; the densities of the other two readings are refuted."""
    readings = sorted(READINGS, key=lambda r: r is not reading)
    well, grid = DoubleWell(), pk.Grid(-4, 4, 800)
    right, *wrong = p_values(well, spread_out, grid, pk.Gaussian(-1.0, 0.3), readings, 20_000)
    assert right > LEVEL and max(wrong) < 1e-6


def test_multiplicative_noise_in_the_plane_follows_the_equation_with_its_tensor():
    grid, start = pk.Grid((-4, -4), (4, 4), 160), pk.Gaussian((-1.0, 0.5), 0.3)
    readings = [pk.HaenggiKlimontovich, pk.Ito]
    tilted = pk.potentials.Custom(bowl, dim=2)
    right, wrong = p_values(tilted, mixing, grid, start, readings, 20_000)
    assert right > LEVEL and wrong < 1e-6


def test_two_scales_descend_the_local_entropy_of_the_pde_side():
    """X of HOM-SGLD at small ε against descent on `pk.local_entropy`, from several starts."""
    gamma, beta, epsilon, n = 0.4, 3.0, 0.005, 500
    u = pk.local_entropy(DoubleWell(), gamma, beta, pk.Grid(-4, 4, 800))
    starts = np.array([-1.4, 0.2, 0.9])
    fast = pk.particles.Displacement()
    dynamics = pk.TwoScaleLangevin(
        DoubleWell(), beta, gamma, epsilon, 10, fast=fast, integrator=LeimkuhlerMatthews()
    )
    points = np.repeat(starts, n)[:, None]
    x = pk.simulate(dynamics, points, n=len(points), t=0.5, dt=10 * 0.04 * epsilon).final.values
    descent = pk.SmoothedDescent(u)
    exact = pk.simulate(descent, starts[:, None], n=3, t=0.5, dt=0.005).final.values[:, 0]
    x = x.reshape(3, n)
    noise = stats.norm.isf(5e-4) * x.std(axis=1) / sqrt(n)
    assert (np.abs(x.mean(axis=1) - exact) < 0.008 + noise).all()


def test_a_metropolis_rule_does_not_change_the_law():
    assert pk.MetropolisLangevin(DoubleWell(), 4.0).law() == pk.Langevin(DoubleWell(), 4.0).law()
