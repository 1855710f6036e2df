"""Particles where they were once wrong without a word: two times, moving potentials, large samples.

Statistical tests: 5 standard errors, level 1e-6 each.
"""

from math import sqrt

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.particles.dynamics import gradients
from pdekit.particles.integrators import Step
from pdekit.particles.noise import StepNoise

P = pk.potentials
N, LEVEL = 100_000, 5.0
INTEGRATORS = (
    pk.particles.EulerMaruyama(),
    pk.particles.LeimkuhlerMatthews(),
    pk.particles.StochasticHeun(),
)


class Swinging:
    """x²/2 - x cos t."""

    def at(self, t):
        c = float(np.cos(t))
        return P.Custom(lambda x: x[..., 0] ** 2 / 2 - c * x[..., 0], lambda x: x - c)

    def __call__(self, x):
        return self.at(0.0)(x)


# m' = cos t - m from 0: (cos t + sin t - e^{-t})/2
SWUNG = (np.cos(1.5) + np.sin(1.5) - np.exp(-1.5)) / 2
FOLLOWING = {
    "langevin": pk.Langevin(Swinging(), 2.0),
    "multiplicative": pk.MultiplicativeLangevin(Swinging(), 2.0, 1.0),
    "metropolis": pk.MetropolisLangevin(Swinging(), 2.0),
    "controlled": pk.ControlledLangevin(P.Quadratic(0.0), 2.0, Swinging()),
    "controlled where V moves": pk.ControlledLangevin(Swinging(), 2.0, P.Quadratic(0.0)),
    "smoothed": pk.SmoothedDescent(Swinging(), 2.0),
    "sampled": pk.SampledDescent(Swinging(), 2.0, 0.3),
    "annealed": pk.AnnealedLangevin(Swinging(), lambda t: 2.0),
    "interacting": pk.InteractingLangevin(Swinging(), 2.0, pk.CurieWeiss(0.5)),
    "no momentum": pk.Nesterov(Swinging(), 0.0),
    "no compensation": pk.MaSS(Swinging(), 0.0, 0.0),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_a_moving_potential_is_followed(name):
    """The mean of a well that swings, .4226 at 1.5; the steps of .005 err by less than .004."""
    dynamics = FOLLOWING[name]
    x = pk.simulate(dynamics, np.zeros((20_000, 1)), 20_000, 1.5, 0.005, seed=4).final.values
    assert abs(x.mean() - SWUNG) < 0.004 + LEVEL * x.std() / sqrt(len(x))


@pytest.mark.parametrize("name", ["controlled", "controlled where V moves", "multiplicative"])
def test_the_equation_of_the_law_moves_with_the_potential(name):
    V = FOLLOWING[name].law().potential
    points = np.array([[0.3], [-1.2]])
    for t in (0.0, 0.7):
        assert np.allclose(V.at(t).grad(points), points - np.cos(t))


MOVING = P.Evolving([0.0, 1.0], np.linspace(-4, 4, 33), np.linspace(-4, 4, 33) ** 2 * [[0.5], [1]])
SILENT = [
    pk.MultiplicativeLangevin(MOVING, 2.0, 1.0),
    pk.UnderdampedLangevin(MOVING, 2.0),
    pk.MetropolisLangevin(MOVING, 2.0),
    pk.SampledDescent(MOVING, 2.0, 0.3),
    pk.EntropySGD(MOVING, 2.0),
    pk.TwoScaleLangevin(MOVING, 2.0, 0.5, 0.1, 3),
    pk.ElasticSGD(MOVING, 2.0, 0.5),
    pk.Nesterov(MOVING),
    pk.MaSS(MOVING),
    pk.RestartedNesterov(MOVING),
    pk.RestartedMaSS(MOVING),
]


@pytest.mark.parametrize("dynamics", SILENT, ids=lambda d: type(d).__name__)
def test_a_potential_that_does_not_change_is_what_it_is_at_one_time(dynamics):
    """``Evolving`` between two equal samples, and something else when they differ."""
    from dataclasses import replace

    same = P.Evolving([0.0, 1.0], *MOVING.points, np.stack([MOVING.values[0]] * 2))
    start = np.linspace(-1, 1, 64)[:, None]
    x = [
        pk.simulate(replace(dynamics, potential=V), start, 64, 0.3, 0.02).final.values
        for V in (same, same.at(0.0), MOVING)
    ]
    assert np.allclose(x[0], x[1], rtol=0, atol=1e-13)
    assert not np.allclose(x[0], x[2], rtol=0, atol=1e-6)


def test_a_moving_force_is_followed():
    """dX = cos t dt + noise: the mean is sin t."""

    class Push:
        def at(self, t):
            return lambda x: 0 * x + float(np.cos(t))

    dynamics = pk.MultiplicativeLangevin(P.Quadratic(0.0), 2.0, 1.0, force=Push())
    x = pk.simulate(dynamics, np.zeros((20_000, 1)), 20_000, 1.5, 0.005, seed=4).final.values
    assert abs(x.mean() - np.sin(1.5)) < 0.004 + LEVEL * x.std() / sqrt(len(x))


def test_a_moving_diffusion_is_refused():
    class Warming:
        def at(self, t):
            return 1.0 + t

    with pytest.raises(TypeError, match="fixed in time"):
        pk.MultiplicativeLangevin(P.Quadratic(1.0), 2.0, Warming())


@pytest.mark.parametrize("integrator", INTEGRATORS, ids=lambda i: type(i).__name__)
@pytest.mark.parametrize("lag", [1, 2, 10])
def test_mean_square_displacement_of_free_motion(integrator, lag):
    """2/β times the lag, also one step apart, by moments and by positions."""
    dt, start = 0.1, pk.Gaussian(0.0, 0.3)
    dynamics = pk.Langevin(P.Quadratic(0.0), 1.0, integrator)
    x = pk.simulate(dynamics, start, N, [2.0, 2.0 + lag * dt], dt, seed=2).x.values[..., 0]
    square = (x[1] - x[0]) ** 2
    assert abs(square.mean() / (2 * lag * dt) - 1) < LEVEL * sqrt(2 / N)


def test_correlations_of_a_well_at_short_lags():
    """Stationary: (1 - z)^k + z²/4 (1 - z)^(k-1) of the variance; the variance itself exact."""
    z, lags = 0.2, (1, 2, 10)
    x0 = np.random.default_rng(1).normal(size=(N, 1))
    t = z * np.array([30, *(30 + k for k in lags)])
    x = pk.simulate(pk.Langevin(P.Quadratic(1.0), 1.0), x0, N, t, z, seed=3).x.values[..., 0]
    assert (abs((x**2).mean(1) - 1) < LEVEL * sqrt(2 / N)).all()
    for k, later in zip(lags, x[1:], strict=True):
        expected = (1 - z) ** k + z * z / 4 * (1 - z) ** (k - 1)
        product = x[0] * later
        assert abs(product.mean() - expected) < LEVEL * product.std() / sqrt(N)


def test_output_times_of_other_steps_leave_no_trace():
    """Steps of .001, .0999, .05, .0975: variances and displacements of free motion are exact."""
    t = np.array([0.001, 1.0, 1.05, 3.0])
    dynamics = pk.Langevin(P.Quadratic(0.0), 1.0)
    x = pk.simulate(dynamics, np.zeros((N, 1)), N, t, 0.1, seed=1).x.values[..., 0]
    assert (abs((x**2).mean(1) / (2 * t) - 1) < LEVEL * sqrt(2 / N)).all()
    for i, j in zip(*np.triu_indices(4, 1), strict=True):
        square = (x[j] - x[i]) ** 2 / (2 * (t[j] - t[i]))
        assert abs(square.mean() - 1) < LEVEL * sqrt(2 / N)


def test_later_output_times_do_not_change_earlier_positions():
    how = {"n": 100, "dt": 0.1, "seed": 5}
    dynamics, start = pk.Langevin(P.DoubleWell(), 2.0), pk.Gaussian(0.0, 0.5)
    alone = pk.simulate(dynamics, start, t=1.0, **how).final
    more = pk.simulate(dynamics, start, t=[1.0, 1.03], **how).x[0]
    assert np.array_equal(alone.values, more.values)


def test_every_sample_of_a_long_sum_is_chosen_by_float32_particles():
    """Of 2**25 samples, quarters of a 2**-23rd are chosen alike: level 1e-6."""
    count, size = 1 << 25, 1000
    noise = StepNoise(1, 0, 0, torch.empty(1, 2000, 1, dtype=torch.float32))
    index = pk.particles.MiniBatch(size).indices(count, Step(3, 0.0, 0.1, 0.1), noise)
    assert index.min() >= 0 and index.max() < count
    seen = torch.bincount(index.ravel() % 4, minlength=4).double()
    expected = index.numel() / 4
    assert float(((seen - expected) ** 2 / expected).sum()) < 31  # chi-square of 3
    with pytest.raises(ValueError, match="at most 2\\*\\*40"):
        pk.particles.FiniteSum(lambda x, k: x.sum(-1), 1 << 41)


def test_partners_are_drawn_without_ties_in_float32():
    """Ties would favour the order in which particles are stored."""
    noise = StepNoise(1, 0, 0, torch.empty(1, 1 << 16, 1, dtype=torch.float32))
    assert len(noise.choices(0, 7)[0].unique()) == 1 << 16


@pytest.mark.parametrize("n", [3, 5, 9])
def test_a_random_batch_of_all_others_is_the_sum_over_all_pairs(n):
    W, x = pk.PairPotential(pk.interactions.GaussianWell(1.3)), torch.randn(2, n, 1).double()
    u = torch.rand(2, n)
    all_of_them = pk.particles.RandomBatch(n - 1)(W.grad, x, lambda: u)
    assert torch.allclose(all_of_them, pk.particles.ExactSum()(W.grad, x), rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="ExactSum"):
        pk.particles.RandomBatch(n + 1)(W.grad, x, lambda: u)


def test_coloured_noise():
    """X' = -X + η, η of variance s and correlation time τ: E X² = 1/3 for τ = .5, s = 1."""
    tau, s = 0.5, 1.0
    V = P.Quadratic(((1.0, 0.0), (0.0, 1 / tau)))
    dynamics = pk.MultiplicativeLangevin(
        V, 1.0, ((0.0, 0.0), (0.0, s / tau)), lambda x: torch.stack([x[..., 1], 0 * x[..., 1]], -1)
    )
    exact = s / (1 + 1 / tau)
    x = pk.simulate(dynamics, np.zeros((20_000, 2)), 20_000, 5.0, 0.005, seed=0).final.values
    assert abs((x[:, 0] ** 2).mean() / exact - 1) < 0.01 + LEVEL * sqrt(2 / 20_000)


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_diffusions_are_factored(dim, dtype):
    from pdekit.particles.dynamics.multiplicative import semidefinite_factor

    rng = np.random.default_rng(dim)
    for rank in range(1, dim + 1):
        root = torch.from_numpy(rng.normal(size=(50, dim, rank))).to(dtype)
        matrix = root @ root.mT
        factor, bad = semidefinite_factor(matrix)
        assert not bad.any()
        assert torch.allclose(factor @ factor.mT, matrix, atol=300 * torch.finfo(dtype).eps)
        matrix[:, 0, 0] -= 1.5 * matrix[:, 0, 0]
        assert semidefinite_factor(matrix)[1].all()


def test_restarted_methods_count_their_steps_from_one():
    """The first step is plain descent (γ = 0), the second has γ = 1/4."""
    eta, a, x0 = 0.1, 1.3, 0.8
    for dynamics in (pk.RestartedNesterov(P.Quadratic(a)), pk.RestartedMaSS(P.Quadratic(a), 0.0)):
        x = pk.simulate(dynamics, [[x0]], 1, [eta, 2 * eta, 3 * eta], eta).x.values.ravel()
        w1 = x0 - eta * a * x0
        w2 = w1 - eta * a * w1  # u was w1 itself
        u = w2 + (w2 - w1) / 4
        assert np.allclose(x, [w1, w2, u - eta * a * u], rtol=1e-14)


DOUBTFUL = {
    "outer steps of 1.5 ε": (
        pk.TwoScaleLangevin(P.Quadratic(1.0), 2.0, 0.5, 0.1, 30, inner_dt=0.005), 0.15, "dt / gamma"
    ),
    "friction": (pk.UnderdampedLangevin(P.Quadratic(1.0), 2.0, 50.0), 0.1, "dt \\* friction"),
    "refused proposals": (
        pk.MetropolisLangevin(P.Quadratic(1000.0), 1.0), 1.0, "of the proposals"
    ),
    "a steep diffusion": (
        pk.MultiplicativeLangevin(P.Quadratic(1.0), 1.0, lambda x: x[..., 0] ** 2),
        0.5,
        "changes by",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTFUL)
def test_stable_steps_that_are_too_coarse_are_named_with_steps_that_work(name):
    """And those that are advised are taken without a word."""
    dynamics, dt, message = DOUBTFUL[name]
    start = np.linspace(0.5, 1.5, 64)[:, None]
    with pytest.warns(pk.AccuracyWarning, match=message) as said:
        pk.simulate(dynamics, start, 64, 2 * dt, dt)
    advised = float(str(said[0].message).split("dt <= ")[1].split()[0].rstrip(","))
    pk.simulate(dynamics, start, 64, 2 * advised, advised)


@pytest.mark.parametrize(
    "dynamics",
    [
        pk.InteractingLangevin(P.Quadratic(1.0), 1.0, pk.CurieWeiss(300.0)),
        pk.ElasticSGD(P.Quadratic(1.0), 1.0, 0.001),
        pk.SampledDescent(P.Quadratic(300.0), 1.0, 0.1),
    ],
    ids=lambda d: type(d).__name__,
)
def test_stiff_dynamics_are_noticed(dynamics):
    with pytest.warns(pk.particles.StepSizeWarning, match="unstable"):
        pk.simulate(dynamics, pk.Gaussian(0.0, 1.0), 100, 0.01, 0.01)


def test_a_loss_over_many_samples_is_not_summed_to_look_at_the_step():
    """3e7 samples of slope 1 or -1: a step has the variance of the mean of 50 of them."""
    count, size, n, eta = 30_000_000, 50, 4000, 0.1
    V = pk.particles.FiniteSum(lambda x, k: x[..., 0] * (2.0 * (k % 2) - 1).to(x.dtype), count)
    dynamics = pk.Nesterov(V, 0.0, pk.particles.MiniBatch(size))
    X = pk.simulate(dynamics, np.zeros((n, 1)), n, [eta, 2 * eta], eta, dtype="float32")
    first, second = X.x[0, :, 0].values, (X.x[1] - X.x[0])[:, 0].values
    for moved in (first, second):
        assert abs(moved.mean()) < 6 * eta / (size * n) ** 0.5
        assert abs(moved.var() * size / eta**2 - 1) < 6 * (2 / n) ** 0.5


def test_a_sum_over_more_samples_than_memory_holds_is_the_same(monkeypatch):
    monkeypatch.setattr(gradients, "_AT_ONCE", 1 << 18)
    samples = torch.linspace(-1, 1, 10_001, dtype=torch.float64)
    V = pk.particles.FiniteSum(lambda x, k: (x[..., 0] - samples[k]) ** 2 / 2, len(samples))
    x = torch.linspace(-2, 3, 100, dtype=torch.float64)[:, None]
    assert torch.allclose(V.grad(x), x, rtol=0, atol=1e-12)
    spread = float((samples**2).mean())
    assert torch.allclose(V(x), (x[:, 0] ** 2 + spread) / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("cells", "at", "cold", "warm"),
    [(60, 0.5, 1000.0, 1.0), (90, 0.7, 5.0, 1.0), (120, 0.5, 30.0, 1.0)],
)
def test_a_temperature_may_jump(cells, at, cold, warm):
    """These were refused, others not, by where steps happened to end. Told of the time of the jump,
    no step goes across; the variance of x²/2 is known: v' = 2 (1/β - v).
    """

    def schedule(t):
        return cold if t < at else warm

    dynamics = pk.AnnealedLangevin(pk.potentials.Quadratic(), schedule)
    grid, start = pk.Grid(-6, 6, cells), pk.Gaussian(0.0, 0.5)
    rho = pk.solve(dynamics.law(), grid, start, 1.0)
    schedule.times = (at,)
    told = pk.solve(dynamics.law(), grid, start, 1.0)
    assert told.stats["steps"] < rho.stats["steps"]
    assert np.abs(told.final - rho.final).sum() * grid.cell_volume < 1e-7
    v = 0.25
    for beta, t in ((cold, at), (warm, 1 - at)):
        v = 1 / beta + (v - 1 / beta) * np.exp(-2 * t)
    assert (told.final * grid.axes[0] ** 2).sum() * grid.cell_volume == pytest.approx(v, rel=0.02)
