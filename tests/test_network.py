"""Two-layer networks: steps by hand, the functions of their limit, bits, and what is refused."""

from dataclasses import replace
from itertools import pairwise
from math import exp, inf, sqrt

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import pdekit as pk
from pdekit import networks
from pdekit.particles import ensemble
from pdekit.particles.noise import (
    BATCH_NORMAL,
    BATCH_UNIFORM,
    Address,
    normals_reference,
    uniforms_reference,
)

KINKED = networks.PiecewiseLinear.through((0, -2.5), (0.5, -4), (1.5, 7.5))
RELU = networks.PiecewiseLinear((0.0,), (1.0,))
RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(7, 2))
LABELS = np.sin(2 * DATA[:, 0]) + DATA[:, 1]


def tanh(x, w):
    return torch.tanh((x * w).sum(-1))


SAMPLES = networks.Samples(DATA, LABELS, tanh, 2)
GAUSSIANS = networks.GaussianClasses((2, 1), (0.5, 0.0), KINKED)


class ByLoop:
    """Numbers of a step as the network draws them, and its step written out in plain Python."""

    def __init__(self, seed, batch, rate, beta=inf):
        self.seed, self.batch, self.rate, self.beta = seed, batch, rate, beta

    def drawn(self, reference, channel, k, count):
        at = Address(self.seed, 0, channel, k)
        return reference(at, 0, count, torch.float64).numpy()

    def trajectory(self, theta, data, slope, sigma, h, steps):
        theta = np.array(theta)
        for k in range(steps):
            before, s = theta.copy(), self.rate(k * h) * h
            for x, y in data(self, k):
                output = sum(sigma(x, w) for w in before) / len(before)
                for i, w in enumerate(before):
                    theta[i] += 2 * s / self.batch * (y - output) * slope(x, w)
            if self.beta < inf:
                noise = self.drawn(normals_reference, 0, k, theta.size)
                theta += sqrt(4 * s / self.beta) * noise.reshape(theta.shape)
        return theta


def of_samples(loop, k):
    u = loop.drawn(uniforms_reference, BATCH_UNIFORM, k, loop.batch)
    return [(DATA[int(v * 7)], LABELS[int(v * 7)]) for v in u]


def of_gaussians(loop, k):
    u = loop.drawn(uniforms_reference, BATCH_UNIFORM, k, loop.batch)
    z = loop.drawn(normals_reference, BATCH_NORMAL, k, loop.batch * 3).reshape(-1, 3)
    y = [1.0 if v < 0.5 else -1.0 for v in u]
    return [(v * np.array([1 + c / 2, 1 + c / 2, 1]), c) for v, c in zip(z, y, strict=True)]


def kinked(t):
    return float(np.interp(t, [0, 0.5, 1.5], [-2.5, -4, 7.5]))


def kinked_slope(t):
    return 0.0 if t <= 0 or t > 1.5 else -3.0 if t <= 0.5 else 11.5


@pytest.mark.parametrize("beta", [inf, 30.0])
@pytest.mark.parametrize("kind", ["samples", "gaussians"])
def test_steps_are_those_written_out(kind, beta):
    """Three neurons, batches of four, a rate that changes, in double precision."""

    def rate(t):
        return 1 / (1 + 3 * t)

    loop = ByLoop(5, 4, rate, beta)
    task, dim, data, sigma, slope = {
        "samples": (SAMPLES, 2, of_samples, lambda x, w: np.tanh(x @ w),
                    lambda x, w: x / np.cosh(x @ w) ** 2),
        "gaussians": (GAUSSIANS, 3, of_gaussians, lambda x, w: kinked(x @ w),
                      lambda x, w: kinked_slope(x @ w) * x),
    }[kind]  # fmt: skip
    start = RNG.normal(size=(3, dim))
    network = pk.TwoLayerNetwork(task, rate, 4, beta)
    found = pk.simulate(network, start, 3, [0.25], 0.05, seed=5).x.values[-1]
    expected = loop.trajectory(start, data, slope, sigma, 0.05, 5)
    assert np.abs(expected - start).max() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sigma", [KINKED, RELU, networks.PiecewiseLinear((-1.0, 0.3), (2, -3), 1)])
@pytest.mark.parametrize("r", [1e-6, 0.2, 1.3, 6.0])
def test_means_and_variances_are_integrals(sigma, r):
    def mean(f):
        knots = np.clip([k / r for k in sigma.knots], -12, 12)
        cuts = np.unique([-12, *knots, 12])
        return sum(integrate.quad(lambda g: f(r * g) * stats.norm.pdf(g), a, b, epsabs=1e-13)[0]
                   for a, b in pairwise(cuts))  # fmt: skip

    q, at = mean(lambda t: float(sigma(np.array(t)))), np.array(r)
    assert sigma.mean(at) == pytest.approx(q, abs=1e-10)
    second = mean(lambda t: float(sigma(np.array(t))) ** 2)
    assert sigma.variance(at) == pytest.approx(second - q**2, abs=1e-9)
    h = 1e-4 * r
    slope = (sigma.mean(at + h) - sigma.mean(at - h)) / (2 * h)
    assert sigma.mean_slope(at) == pytest.approx(slope, abs=2e-5)


def test_activations_take_numbers():
    at = np.array(1.3)
    for f in (KINKED, KINKED.slope, KINKED.mean, KINKED.mean_slope, KINKED.variance):
        assert f(1.3) == f(at)
    assert RELU(2) == 2 and RELU.mean(0) == 0


def test_the_activation_of_the_report():
    """Errata 63: through -2.5, -4 and 7.5; as printed, 2.5 and 4, no slope is negative."""
    t = np.array([-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 4.0])
    assert KINKED(t) == pytest.approx([-2.5, -2.5, -3.25, -4, 1.75, 7.5, 7.5])
    printed = networks.PiecewiseLinear.through((0, 2.5), (0.5, 4), (1.5, 7.5))
    assert KINKED.slope(t).min() == -3.0 and printed.slope(t).min() == 0.0
    assert isinstance(KINKED(torch.tensor(t)), torch.Tensor)


def test_v_and_u_are_means_over_data():
    """V of Gaussian classes for any d; U for orthogonal weights in distinct coordinates of each
    class; by a million data, to four standard errors."""
    task = networks.GaussianClasses(2, 0.5, KINKED)
    z, u = (torch.from_numpy(v) for v in (RNG.normal(size=(10**6, 2)), RNG.random((10**6, 1))))
    x, y = task.data(z, u)
    theta = torch.tensor([[0.9, 0.0], [0.0, 1.7]], dtype=torch.float64)
    values = task.neurons(x, theta)
    found = [-(y * values[0]), values[0] * values[1]]
    radii = task.reduced(theta)
    f = task.features(radii)
    for sample, exact in zip(found, (task.potential(radii)[0], f[0] @ f[1]), strict=True):
        assert abs(float(sample.mean() - exact)) < 4 * float(sample.std()) / 1e3
    variance = (values[0][y > 0].var() + values[0][y < 0].var()) / 2
    assert float(task.variance(radii)[0]) == pytest.approx(float(variance), rel=0.02)


@pytest.mark.parametrize("task", [SAMPLES, GAUSSIANS], ids=["samples", "gaussians"])
def test_the_drift_is_that_of_the_potential_and_features(task):
    """-2 ξ ∇Ψ by differences of Ψ; and the slope of the risk of N neurons times -ξ N."""
    network = pk.TwoLayerNetwork(task, 0.7)
    theta = torch.from_numpy(RNG.normal(size=(1, 5, task.dim)))
    drift = network.drift(theta, 0.0)
    h = 1e-5
    for i, k in ((0, 0), (3, 1)):
        risks = []
        for sign in (1, -1):
            moved = theta.clone()
            moved[0, i, k] += sign * h
            risks.append(float(network.risk(task.reduced(moved))[0]))
        assert float(drift[0, i, k]) == pytest.approx(
            -0.7 * 5 * (risks[0] - risks[1]) / (2 * h), rel=1e-6, abs=1e-8
        )


def test_the_risk_of_samples_is_the_mean_square_error():
    theta = torch.from_numpy(RNG.normal(size=(6, 2)))
    network = pk.TwoLayerNetwork(SAMPLES)
    outputs = SAMPLES.neurons(torch.from_numpy(DATA), theta).mean(0).numpy()
    error = float(((LABELS - outputs) ** 2).mean())
    assert float(network.risk(theta)) == pytest.approx(error, rel=1e-12)
    weights = np.full(6, 1 / 6)
    assert network.risk(theta.numpy(), weights) == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize(
    ("z", "weights", "message"),
    [
        (np.zeros((5, 3)), None, r"points \(..., n, 2\) in the coordinates of the law"),
        (np.zeros((0, 2)), None, "points"),
        (np.zeros(2), None, "points"),
        ([[1.0, 2.0]], None, "an array of points"),
        (np.zeros((5, 2)), np.ones(3) / 3, "weights must be 5 numbers of sum 1"),
        (np.zeros((5, 2)), np.ones(5), "of sum 5"),
        (np.zeros((5, 2)), np.full(5, np.nan), "finite numbers of sum 1"),
    ],
)
def test_the_risk_of_something_else_is_refused(z, weights, message):
    with pytest.raises(ValueError, match=message):
        pk.TwoLayerNetwork(SAMPLES).risk(z, weights)


def test_risks_of_the_report():
    """Mathematics 1.13: all weights at zero, single rings, and the ring of least risk."""
    network = pk.TwoLayerNetwork(networks.GaussianClasses(320, 0.5, KINKED))
    rings = {0.0: 7.25, 0.1: 7.985104, 0.4: 6.771420, 0.196282621: 8.429488, 2.087672528: 0.008297}
    for r, risk in rings.items():
        assert network.risk(np.array([[r]])) == pytest.approx(risk, abs=6e-7)


# --- bits -----------------------------------------------------------------------------------------

START = pk.Gaussian((0.0, 0.0), 1.0)
NETWORK = pk.TwoLayerNetwork(SAMPLES, batch=3, beta=20.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_in_every_tile_and_among_other_runs(dtype, monkeypatch):
    def moved(runs):
        return pk.simulate(NETWORK, START, 70, [0.1, 0.2], 0.02, runs, 3, dtype=dtype).x.values

    many, one = moved(9), moved(1)
    assert np.array_equal(many[:, 0], one) and not np.array_equal(many[:, 1], one)
    monkeypatch.setattr(ensemble, "_TILE_CPU", 300)
    assert np.array_equal(moved(9), many)


def test_a_resumed_run_has_the_same_bits(tmp_path, monkeypatch):
    """Stopped in the second of three tiles."""
    from pdekit.particles.run.loop import Loop

    monkeypatch.setattr(ensemble, "_TILE_CPU", 150)
    settings = {"n": 70, "t": [0.1, 0.2], "dt": 0.01, "runs": 3, "seed": 3}
    whole = pk.simulate(NETWORK, START, **settings).x.values
    block, calls = Loop.block, []

    def stopping(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return block(self, *args)

    note = pk.Checkpoint(tmp_path / "note", minutes=1e-9)
    monkeypatch.setattr(Loop, "block", stopping)
    with pytest.raises(KeyboardInterrupt):
        pk.simulate(NETWORK, START, **settings, checkpoint=note)
    monkeypatch.setattr(Loop, "block", block)
    again = pk.simulate(NETWORK, START, **settings, checkpoint=note)
    assert again.stats["resumed"] > 0
    assert np.array_equal(again.x.values, whole)


# --- a task of one's own --------------------------------------------------------------------------


class Line:
    """y = 2 x, x normal; neurons w x."""

    dim = normals = uniforms = 1

    def data(self, normals, uniforms):
        return normals, 2 * normals[..., 0]

    def neurons(self, x, theta):
        return theta @ x.mT


def test_a_task_of_ones_own():
    """The mean of the neurons follows m' = 2 (2 - m), their differences stay as they are."""
    network = pk.TwoLayerNetwork(Line(), batch=400)
    start = np.array([[-1.0], [0.0], [2.5]])
    found = pk.simulate(network, start, 3, [0.5], 0.01, seed=1).x.values[-1]
    assert found.mean() == pytest.approx(2 - 1.5 * exp(-1), abs=0.03)
    np.testing.assert_allclose(np.diff(found, axis=0), np.diff(start, axis=0), atol=1e-12)
    with pytest.raises(TypeError, match="needs V and U of the task"):
        network.law()


class Impure(Line):
    def data(self, normals, uniforms):
        x = torch.rand(normals.shape, dtype=normals.dtype)
        return x, x[..., 0]


class Column(Line):
    def data(self, normals, uniforms):
        return normals, 2 * normals


class Short(Line):
    def neurons(self, x, theta):
        return theta @ x.mT[..., :1]


class Fixed(Line):
    def neurons(self, x, theta):
        return x.mT.expand(*theta.shape[:-1], -1)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Impure(), "two results for the same state"),
        (Column(), r"data must be points .* labels .* got shapes \(1, 5, 1\) and \(1, 5, 1\)"),
        (Short(), "one value for each parameter and point"),
        (Fixed(), "that depends on theta"),
    ],
)
def test_faults_of_such_a_task_are_found(task, message):
    network = pk.TwoLayerNetwork(task, batch=5)
    with pytest.raises((ValueError, TypeError), match=message):
        pk.simulate(network, pk.Gaussian(0.0, 1.0), 4, 0.1, 0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pk.TwoLayerNetwork(tanh), "has no dim"),
        (lambda: pk.TwoLayerNetwork(SAMPLES, -1.0), "rate must be a finite number >= 0"),
        (lambda: pk.TwoLayerNetwork(SAMPLES, batch=0), "batch must be a whole number >= 1"),
        (lambda: pk.TwoLayerNetwork(SAMPLES, beta=0.0), "beta must be positive"),
        (lambda: networks.PiecewiseLinear((0, 0), (1, 2)), "must increase strictly"),
        (lambda: networks.PiecewiseLinear((0, 1), (1,)), "one jump of the slope each"),
        (lambda: networks.PiecewiseLinear.through((0, 1)), "two or more pairs"),
        (lambda: networks.PiecewiseLinear.through((1, 1), (0, 2)), "in order of t"),
        (lambda: networks.GaussianClasses((2, 1), 0.5, RELU), "one delta for each block"),
        (lambda: networks.GaussianClasses(0, 0.5, RELU), "whole number >= 1"),
        (lambda: networks.GaussianClasses(2, 1.5, RELU), r"in \[-1, 1\)"),
        (lambda: networks.GaussianClasses(2, 0.5, np.tanh), "an activation with mean"),
        (lambda: networks.Samples(DATA, LABELS[:3], tanh, 2), "expected x"),
        (lambda: networks.Samples(DATA, LABELS, lambda x: x, 2), "a function of x and theta"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.filterwarnings("ignore:.*of the mass is in the cells at the walls")
@pytest.mark.parametrize("beta", [2.0, inf])
def test_at_rate_zero_nothing_moves(beta):
    law = pk.TwoLayerNetwork(networks.GaussianClasses(4, 0.5, RELU), 0.0, beta=beta).law()
    rho = pk.solve(law, pk.Grid(0, 3, 50), pk.Gaussian(1.0, 0.2), [0, 1]).u
    np.testing.assert_allclose(rho[1], rho[0], atol=1e-14)


def test_a_rate_that_becomes_negative_is_refused():
    network = pk.TwoLayerNetwork(SAMPLES, lambda t: 0.05 - t)
    with pytest.raises(ValueError, match="rate"):
        pk.simulate(network, START, 5, 0.2, 0.02)


# --- the law --------------------------------------------------------------------------------------

PLACES = np.linspace(-2, 2, 9)[:, None]


def curved(x, w):
    """A neuron with one weight that is not odd in it."""
    return torch.tanh((x * w).sum(-1)) + 0.3 * torch.cos(w[..., 0])


LINE = networks.Samples(PLACES, np.tanh(1.5 * PLACES[:, 0]) + 0.5, curved, 1)


@pytest.mark.parametrize("beta", [inf, 8.0])
def test_neurons_follow_their_law(beta):
    """50 runs of 200 neurons; false alarm 1e-3. Twice the rate, or twice the noise, is caught."""
    network = pk.TwoLayerNetwork(LINE, 1.0, 9, beta)
    start, grid, times = pk.Gaussian(0.0, 0.8), pk.Grid(-6, 6, 600), [0.25]
    density = pk.solve(network.law(), grid, start, times)

    def p_value(**other):
        moved = replace(network, **other)
        x = pk.simulate(moved, start, 200, times, 0.01, 50, 1)
        return pk.compare(density, x).p_value

    assert p_value() > 1e-3
    assert p_value(rate=2.0) < 1e-8
    assert beta == inf or p_value(beta=beta / 2) < 1e-8
    # a rate that changes: the law at ∫ξ dt, 1/4 at t = 1/2
    moved = replace(network, rate=lambda t: 2 * t)
    x = pk.simulate(moved, start, 200, [0.5], 0.01, 50, 2)
    clock = replace(x, x=x.x.assign_coords(time=times))
    assert pk.compare(density, clock).p_value > 1e-3
    with pytest.raises(TypeError, match="needs a constant rate"):
        moved.law()


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")  # r = 0 is no end of the law
def test_radii_follow_the_law_of_many_coordinates():
    """``compare`` takes the radii of the neurons; in two coordinates, with noise, no task pulls
    that the equation does not know: σ constant, so that β alone moves the radius."""
    flat = networks.PiecewiseLinear((0.0,), (0.0,), 1.0)
    network = pk.TwoLayerNetwork(networks.GaussianClasses(2, 0.5, flat), beta=4.0)
    start = pk.Gaussian((0.0, 0.0), 0.5)
    x = pk.simulate(network, start, 300, [0.2], 0.01, 40, 3)
    density = pk.solve(network.law(), pk.Grid(0, 5, 500), pk.laws.Chi(2, 0.5), [0.2])
    assert pk.compare(density, x).p_value > 1e-3
    wrong = replace(network, beta=6.0)
    other = pk.simulate(wrong, start, 300, [0.2], 0.01, 40, 3)
    assert pk.compare(density, other).p_value < 1e-6


def test_two_radii_have_a_law_in_the_plane():
    """Drift of the neurons, as the equation of the radii has it: chain rule through |w_k|."""
    task = networks.GaussianClasses((3, 2), (0.5, 0.1), KINKED)
    network = pk.TwoLayerNetwork(task, 1.3)
    theta = torch.from_numpy(RNG.normal(size=(1, 6, 5)))
    law, radii = network.law(), task.reduced(theta)[0].numpy()
    masses = np.full(6, 1 / 6)
    speed = -law.potential.grad(radii) - law.interaction.slope(radii, radii, masses)
    drift = network.drift(theta, 0.0)[0]
    along = drift * theta[0]
    parts = torch.stack([along[:, :3].sum(-1), along[:, 3:].sum(-1)], -1).numpy()
    np.testing.assert_allclose(parts / radii, speed, rtol=1e-9, atol=1e-12)


# --- laws of radii --------------------------------------------------------------------------------


def test_chi_is_the_law_of_radii():
    law, grid = pk.laws.Chi((3, 40), (0.5, 0.1)), pk.Grid((0, 0), (2, 1), (40, 30))
    x = np.array([[0.3, 0.6], [1.1, 0.7], [-0.1, 0.5]])
    exact = [stats.chi(3, scale=0.5).pdf(x[:, 0]), stats.chi(40, scale=0.1).pdf(x[:, 1])]
    assert law.pdf(x) == pytest.approx(exact[0] * exact[1], rel=1e-10)
    assert grid.integrate(law.density(grid)) == pytest.approx(law.mass(grid), rel=1e-12)
    drawn = pk.simulate(pk.Langevin(pk.potentials.Quadratic((1.0, 1.0)), 1.0), law, 2000, 0.0, 0.1)
    for k, (degrees, scale) in enumerate(((3, 0.5), (40, 0.1))):
        sample = drawn.x.values[0, :, k]
        assert stats.kstest(sample, stats.chi(degrees, scale=scale).cdf).pvalue > 1e-3
    line = pk.laws.Chi(3, 0.5)
    assert line.cdf(np.array([0.4, -1.0])) == pytest.approx([stats.chi(3, scale=0.5).cdf(0.4), 0])
    for make, message in (
        (lambda: pk.laws.Chi(2.5), "whole numbers"),
        (lambda: pk.laws.Chi(2, 0.0), "between"),
        (lambda: law.cdf(x), "only a law on a line"),
        (lambda: line.density(pk.Grid(0, 1, 10, periodic=True)), "periodic"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
