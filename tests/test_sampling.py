"""Stationary laws of the samplers: inertia, Metropolis, noise that depends on the place."""

from math import exp, inf, sqrt

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import cumulative_simpson, solve_ivp

import pdekit as pk
from pdekit import HaenggiKlimontovich, Ito, Stratonovich
from pdekit.diffusions import _root
from pdekit.particles import Logarithmic
from pdekit.particles.integrators import EulerMaruyama, Step
from pdekit.potentials import DoubleWell, Quadratic, Rippled

LEVEL = 0.01
WELL, BETA = DoubleWell(), 4.0
X = np.linspace(-4, 4, 8001)


def distribution(density):
    mass = cumulative_simpson(density(X), x=X, initial=0)
    return lambda v: np.interp(v, X, mass / mass[-1])


def gibbs(V, beta):
    return distribution(lambda x: np.exp(-beta * (V(x[:, None]) - V(x[:, None]).min())))


def sample(dynamics, n=30_000, t=8.0, dt=0.05, **more):
    start = pk.Gaussian(0.0, 0.7)
    return pk.simulate(dynamics, start, n=n, t=t, dt=dt, seed=1, **more).final.values[:, 0]


@pytest.mark.parametrize("friction", [0.5, 4.0])
def test_underdamped_motion_reaches_the_gibbs_law(friction):
    """KS at level 0.01; errata 1 (printed noise, inverse temperature 2β) is seen."""
    x = sample(pk.UnderdampedLangevin(WELL, BETA, friction, mass=0.7), t=16.0, dt=0.15)
    assert stats.kstest(x, gibbs(WELL, BETA)).pvalue > LEVEL
    assert stats.kstest(x, gibbs(WELL, 2 * BETA)).pvalue < 1e-12


def test_momenta_start_from_their_law_or_at_rest():
    """After one short step x = x0 + P h/m: P ~ N(0, m/β), at level 0.001, apart from the noise."""
    free, h, n, mass = Quadratic(0.0), 0.01, 20_000, 2.0
    for at_rest in (False, True):
        dynamics = pk.UnderdampedLangevin(free, BETA, friction=0, mass=mass, at_rest=at_rest)
        p = pk.simulate(dynamics, np.zeros((n, 1)), n=n, t=h, dt=h).final.values[:, 0] * mass / h
        expected = 0 if at_rest else mass / BETA
        assert abs(p.var() - expected) <= stats.norm.isf(5e-4) * sqrt(2 / n) * expected


def test_hamiltonian_motion_keeps_its_energy():
    """Friction 0: energy error of order h², 2e-3 at h = 0.05, and no drift over 400 periods."""
    for h, bound in ((0.1, 4e-3), (0.05, 1e-3)):
        dynamics = pk.UnderdampedLangevin(WELL, BETA, friction=0, at_rest=True)
        state = dynamics.init(torch.tensor([[[1.3]]], dtype=torch.float64))
        start = float(WELL(state[0]))
        worst = 0.0
        for k in range(2000):
            state = dynamics.step(state, Step(k, k * h, (k + 1) * h, h), Silence())
            energy = float(WELL(state[0])) + float(state[1]) ** 2 / 2
            worst = max(worst, abs(energy - start))
        assert 0 < worst < bound


class Silence:
    def at(self, step, channel=0):
        return torch.zeros(1, 1, 1, dtype=torch.float64)


@pytest.mark.parametrize("h", [0.1, 0.5])
def test_metropolis_is_exact_at_every_step(h):
    """KS at level 0.01; Euler alone is refuted at the shorter step (level 1e-6)."""
    right = gibbs(WELL, BETA)
    x = sample(pk.MetropolisLangevin(WELL, BETA), t=60 * h + 20, dt=h)
    assert stats.kstest(x, right).pvalue > LEVEL
    if h > 0.1:
        return
    plain = pk.Langevin(WELL, BETA, integrator=EulerMaruyama())
    assert stats.kstest(sample(plain, t=60 * h + 20, dt=h), right).pvalue < 1e-6


def test_metropolis_in_the_plane():
    """Covariance of a correlated quadratic, h V'' = 1: each entry at level 0.001."""
    a, n = np.array([[2.0, 0.6], [0.6, 1.0]]), 20_000
    dynamics = pk.MetropolisLangevin(Quadratic(((2.0, 0.6), (0.6, 1.0))), 2.0)
    x = pk.simulate(dynamics, pk.Gaussian((0, 0), 0.7), n=n, t=20.0, dt=0.5, seed=3).final.values
    exact = np.linalg.inv(a) / 2.0
    spread = np.sqrt((exact**2 + np.multiply.outer(np.diag(exact), np.diag(exact))) / n)
    assert (np.abs(np.cov(x.T) - exact) < stats.norm.isf(5e-4) * spread).all()


def test_metropolis_refuses_what_has_no_finite_value():
    """A wall of infinite potential: no particle ever beyond, the rest uniform (level 0.01)."""
    walls = pk.potentials.Custom(
        lambda x: torch.where(x[..., 0].abs() < 1, 0.0, inf).to(x.dtype), grad=lambda x: 0 * x
    )
    x = pk.simulate(
        pk.MetropolisLangevin(walls, 1.0), pk.Uniform(-0.1, 0.1), n=20_000, t=4.0, dt=0.05
    ).final.values[:, 0]
    assert np.abs(x).max() < 1 and stats.kstest(x, stats.uniform(-1, 2).cdf).pvalue > LEVEL


# D(x) = 1 + x²/2 and V = x²/2: with J the current of each reading, β⁻¹(log ρ)' =
# -(V' + c D'/β)/D with c = 1, 1/2, 0, so ρ ∝ D^{-c} exp(-β ∫ V'/D) and ∫ V'/D = log D
POWERS = {"Ito": 1.0, "Stratonovich": 0.5, "HaenggiKlimontovich": 0.0}


def spread_out(x):
    """D(x) = 1 + x²/2, as a 1 x 1 matrix."""
    return (1 + x * x / 2)[..., None]


def stationary(power, beta):
    return distribution(lambda x: (1 + x * x / 2) ** (-power - beta))


@pytest.mark.parametrize("reading", [Ito, Stratonovich, HaenggiKlimontovich])
def test_each_reading_has_its_stationary_law(reading):
    """KS at level 0.01, and the laws of the other two refuted at 1e-4 (errata 40, 41)."""
    beta = 3.0
    dynamics = pk.MultiplicativeLangevin(Quadratic(1.0), beta, reading(spread_out))
    x = sample(dynamics, n=40_000, t=5.0, dt=0.01)
    for name, power in POWERS.items():
        p = stats.kstest(x, stationary(power, beta)).pvalue
        assert p > LEVEL if name == reading.__name__ else p < 1e-4


def turning(x):
    """A positive definite D in the plane that mixes the coordinates."""
    a, b = x[..., 0], x[..., 1]
    off = 0.4 * torch.sin(a + b)
    rows = [1 + 0.5 * torch.cos(a) ** 2, off, off, 1 + 0.5 * torch.sin(b) ** 2]
    return torch.stack(rows, dim=-1).reshape(*x.shape, 2)


def test_corrections_in_the_plane_by_autograd():
    """β⁻¹∂_j D_ij, and Stratonovich by σ: ½ Σ_jk σ_jk ∂_j σ_ik with σσᵀ = 2D/β."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 2)))
    jacobian = torch.func.vmap(torch.func.jacrev(turning))(x)
    expected = torch.einsum("nijj->ni", jacobian)
    assert torch.allclose(HaenggiKlimontovich(turning).correction(x), expected, atol=1e-8)

    def root(y):
        values, vectors = torch.linalg.eigh(turning(y))
        return vectors @ torch.diag_embed(values.sqrt()) @ vectors.mT

    slopes = torch.func.vmap(torch.func.jacrev(root))(x)
    expected = torch.einsum("njk,nikj->ni", root(x), slopes)
    assert torch.allclose(Stratonovich(turning).correction(x), expected, atol=1e-8)
    assert not Ito(turning).correction(x).any()


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("as_points", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_the_root_of_a_diffusion_is_its_symmetric_root(dim, as_points):
    """Its square is the matrix, and no eigenvalue is negative; also of rank one and of zero."""
    factors = np.random.default_rng(dim).normal(size=(200, dim, dim))
    factors[0], factors[1, :, 1:] = 0.0, 0.0
    matrices = factors @ factors.transpose(0, 2, 1)
    root = np.asarray(_root(as_points(matrices)))
    np.testing.assert_allclose(root @ root, matrices, atol=1e-13)
    assert np.abs(root - root.transpose(0, 2, 1)).max() < 1e-15
    assert np.linalg.eigvalsh(root).min() > -1e-7  # the root of a rounding error


def test_ficks_law_of_a_flat_loss_is_uniform_in_the_plane():
    """Hänggi-Klimontovich with V = const keeps the uniform law on the torus; Itô does not.

    Both coordinates of 20,000 particles by KS, level 0.001 each; D has period 2π.
    """
    flat = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x, dim=2)
    p = {}
    for reading in (HaenggiKlimontovich, Ito):
        dynamics = pk.MultiplicativeLangevin(flat, 1.0, reading(turning))
        start = pk.Uniform((0, 0), (2 * np.pi, 2 * np.pi))
        x = pk.simulate(dynamics, start, n=20_000, t=1.5, dt=0.02, seed=2).final.values
        wrapped = x % (2 * np.pi) / (2 * np.pi)
        p[reading.__name__] = [stats.kstest(c, "uniform").pvalue for c in wrapped.T]
    assert min(p["HaenggiKlimontovich"]) > 1e-3 and min(p["Ito"]) < 1e-6


def test_constant_matrix_and_a_force_that_is_no_gradient():
    """Mathematics 1.11: F = AX, AΣ + ΣAᵀ = 2D/β; entries of the covariance at level 0.001."""
    from scipy.linalg import solve_continuous_lyapunov

    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    D, n = ((1.0, 0.3), (0.3, 0.5)), 20_000
    dynamics = pk.MultiplicativeLangevin(
        Quadratic((1.0, 2.0)), 2.0, D, force=lambda x: x @ turn.to(x.dtype)
    )
    x = pk.simulate(dynamics, pk.Gaussian((0, 0), 0.6), n=n, t=5.0, dt=0.01, seed=3).final.values
    A = np.diag([1.0, 2.0]) - turn.numpy().T
    exact = solve_continuous_lyapunov(A, np.array(D))
    spread = np.sqrt((exact**2 + np.multiply.outer(np.diag(exact), np.diag(exact))) / n)
    # Euler's own error is below 1 % here
    assert (np.abs(np.cov(x.T) - exact) < stats.norm.isf(5e-4) * spread + 0.01 * exact.max()).all()


BAD_D = {
    "shape": (lambda x: x, "to values of shape"),
    "negative": (lambda x: -torch.ones_like(x)[..., None], "positive semidefinite"),
}


@pytest.mark.parametrize("name", BAD_D)
def test_a_diffusion_amiss_is_explained(name):
    function, message = BAD_D[name]
    with pytest.raises(ValueError, match=message):
        pk.simulate(
            pk.MultiplicativeLangevin(WELL, 1.0, function), np.zeros((3, 1)), n=3, t=0.1, dt=0.01
        )


def test_annealing_finds_the_deepest_well_more_often_than_descent():
    """Rippled: share in the two deepest wells, |x| < 2.1; level 1e-6 for the difference."""
    V, n = Rippled(), 1500
    shares = []
    for schedule in (lambda t: 50.0, Logarithmic(1.2, 1.2)):
        dynamics = pk.AnnealedLangevin(V, schedule)
        x = pk.simulate(dynamics, pk.Uniform(-6, 6), n=n, t=30.0, dt=0.02, seed=6).final.values
        shares.append((np.abs(x) < 2.1).mean())
    spread = sqrt(sum(s * (1 - s) for s in shares) / n)
    assert shares[1] - shares[0] > 4.8 * spread


def test_the_law_of_annealing_has_the_variance_of_its_moment_equation():
    """V = x²: v' = -4 v + 2/β(t); noise sqrt(1/β) or β(0) throughout would be off by 40 %."""
    schedule = Logarithmic(0.5)
    dynamics = pk.AnnealedLangevin(pk.potentials.Quadratic(2.0), schedule)
    rho = pk.solve(dynamics.law(), pk.Grid(-6, 6, 600), pk.Gaussian(0.0, 0.5), [0.5, 2.0]).fields
    x = np.linspace(-6, 6, 600, endpoint=False) + 0.01
    variance = (rho * x**2).sum(1) * 0.02
    true = solve_ivp(lambda t, v: -4 * v + 2 / schedule(t), (0, 2), [0.25], t_eval=[0.5, 2.0],
                     rtol=1e-10, atol=1e-12).y[0]  # fmt: skip
    np.testing.assert_allclose(variance, true, rtol=1e-3)


def test_schedules_say_what_is_wrong():
    with pytest.raises(ValueError, match="shift"):
        Logarithmic(1.0, 1.0)
    with pytest.raises(ValueError, match="depth"):
        Logarithmic(0.0)
    with pytest.raises(TypeError, match="function of time"):
        pk.AnnealedLangevin(WELL, 3.0)
    with pytest.raises(ValueError, match=r"schedule\(0\)"):
        pk.AnnealedLangevin(WELL, lambda t: -1.0)
    assert Logarithmic(2.0, 2.0)(exp(3) - 2) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: pk.UnderdampedLangevin(WELL, 1.0, -1.0), ValueError),
        (lambda: pk.UnderdampedLangevin(WELL, 1.0, mass=0.0), ValueError),
        (lambda: pk.MetropolisLangevin(WELL, inf), ValueError),
        (lambda: pk.MultiplicativeLangevin(WELL, "hot", spread_out), TypeError),
    ],
)
def test_bad_arguments_are_refused(make, error):
    with pytest.raises(error):
        make()


@pytest.mark.parametrize(("h", "warns"), [(0.9, False), (1.1, True)])
def test_the_limit_of_an_inert_step_is_its_frequency(h, warns, recwarn):
    """h √(V''/m) = 2 at h = 1 for V'' = 8, m = 2."""
    dynamics = pk.UnderdampedLangevin(Quadratic(8.0), 1.0, mass=2.0)
    pk.simulate(dynamics, np.ones((64, 1)), n=64, t=h, dt=h)
    assert [w.category for w in recwarn] == [pk.particles.StepSizeWarning] * warns
