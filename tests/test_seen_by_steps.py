"""What steps of particles do not see is said: fast changes, rounding, seams, kinks, tolerances."""

import warnings
from math import inf, pi, sin

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit import particles
from pdekit.errors import AccuracyWarning, ConvergenceError, FieldError
from pdekit.particles import EulerMaruyama, StepSizeWarning, StochasticHeun, TamedEuler
from pdekit.particles.run.rounding import RoundingCheck
from pdekit.pde.discrete import quantiles
from pdekit.potentials import Linear, Quadratic

START, CIRCLE = pk.Gaussian(0, 1), pk.Grid(0, 2 * pi, 32, periodic=True)


class Wave:
    """V = x sin(2πt/period + phase)."""

    dim = 1

    def __init__(self, period, phase=1.0):
        self.period, self.phase = period, phase

    def at(self, t):
        a = sin(2 * pi * t / self.period + self.phase)
        return lambda x: (a * x).sum(-1)


def run(dynamics, start=START, t=1.0, dt=0.01, n=64, **options):
    return pk.simulate(dynamics, start, n, t, dt, **options)


@pytest.mark.parametrize("integrator", [EulerMaruyama(), StochasticHeun()])
@pytest.mark.parametrize("period, phase", [(0.01, 1.0), (0.01, 0.0), (0.005, 1.0), (0.01001, 2.0)])
def test_a_wave_that_steps_meet_in_step_is_seen(integrator, period, phase):
    with pytest.warns(StepSizeWarning, match="same phase"):
        run(pk.Langevin(Wave(period, phase), inf, integrator))


def test_the_step_that_is_advised_sees_it():
    with pytest.warns(StepSizeWarning) as told:
        run(pk.Langevin(Wave(0.01), inf))
    advised = float(str(told[0].message).split("take dt <= ")[1].split(",")[0])
    x = run(pk.Langevin(Wave(0.01), inf), np.zeros((8, 1)), t=0.1, dt=advised, n=8).final
    assert abs(float(x.mean())) < 1e-3  # whole periods: it comes back; 0.08 at dt = 0.01


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_a_slow_one_passes(steps):
    run(pk.Langevin(Wave(1.0), inf), t=0.25, dt=0.25 / steps)


@pytest.mark.parametrize(
    "dynamics",
    [
        particles.AnnealedLangevin(Quadratic(1.0), lambda t: 1.5 + sin(200 * pi * t + 1)),
        particles.TwoScaleLangevin(
            Quadratic(1.0), 1.0, lambda t: 0.5 + 0.1 * sin(200 * pi * t + 1), 0.1, 4
        ),
        particles.MultiplicativeLangevin(Wave(0.01), 1.0, 1.0),
    ],
)
def test_temperatures_and_widths_are_followed_too(dynamics):
    with pytest.warns(StepSizeWarning, match="same phase"):
        run(dynamics)


def far(x):
    return ((x - 1e6) ** 2).sum(-1) / 2


@pytest.mark.parametrize(
    "dynamics",
    [
        pk.Langevin(far, 1.0),
        pk.Langevin(far, inf),
        particles.MultiplicativeLangevin(far, 1.0, 1.0),
        particles.MetropolisLangevin(far, 1.0),
        particles.UnderdampedLangevin(far, 1.0),
    ],
)
def test_steps_below_rounding_are_seen(dynamics):
    start = 1e6 + np.linspace(-2, 2, 64)[:, None]
    with pytest.warns(AccuracyWarning, match="rounding loses it"):
        run(dynamics, start, dtype="float32")
    run(dynamics, start)  # as advised, in float64


SPACING = float(np.spacing(np.float32(1000.0)))  # of numbers near 1000


def drifting(make, noise, share, n=100_000, steps=100, dt=1e-3):
    """Mean way in spacings of particles near 1000 with this noise and drift, in them, a step."""
    beta, slope = 2 * dt / (noise * SPACING) ** 2, -share * SPACING / dt
    start = np.full((n, 1), 1000.0)
    X = pk.simulate(make(Linear((slope,)), beta), start, n, steps * dt, dt, dtype="float32")
    return float((X.final.values.astype(float) - 1000).mean()) / SPACING


@pytest.mark.parametrize(
    "make",
    [
        lambda V, beta: pk.Langevin(V, beta, EulerMaruyama()),
        lambda V, beta: pk.Langevin(V, beta),
        lambda V, beta: pk.Langevin(V, beta, StochasticHeun()),
        lambda V, beta: pk.Langevin(V, beta, TamedEuler()),
        lambda V, beta: pk.InteractingLangevin(V, beta, pk.CurieWeiss(0.0)),
        lambda V, beta: particles.MultiplicativeLangevin(V, beta, 1.0),
    ],
)
def test_a_drift_below_the_spacing_is_kept_beside_noise(make):
    way = drifting(make, noise=4, share=0.2)  # silently
    assert abs(way - 20) < 5 * 40 / 100_000**0.5  # 0 where drift and noise are added one by one


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_noise_below_the_spacing_is_reported(noise):
    with pytest.warns(AccuracyWarning, match="rounding loses it"):
        drifting(pk.Langevin, noise, share=0.2, n=64)


def test_a_rough_function_is_said_once_a_call():
    V = pk.potentials.Custom(lambda x: np.float32(x[..., 0]) ** 2 / 2)
    for _ in range(2):  # again in the next call
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            run(pk.Langevin(V, 1.0), t=0.3)
        assert [w.category for w in told] == [AccuracyWarning]


@pytest.mark.parametrize("dt", [1e-4, 1e-2])
@pytest.mark.parametrize("beta", [1.0, 1e4, inf])
@pytest.mark.parametrize("centre", [0.0, 1.0, 30.0])
def test_healthy_ensembles_in_float32_are_left_alone(dt, beta, centre):
    V = pk.potentials.Custom(lambda x: ((x - centre) ** 2).sum(-1) / 2)
    run(pk.Langevin(V, beta), pk.Gaussian(centre + 1, 1), t=50 * dt, dt=dt, dtype="float32")


@pytest.mark.parametrize(
    "interaction",
    [
        pk.KernelInteraction(lambda x, y: ((x - y) ** 2).sum(-1) / 2),
        pk.FeatureInteraction(lambda x: 1.0 * x),
    ],
)
def test_an_interaction_with_a_cliff_at_the_seam_is_seen(interaction):
    V = pk.potentials.Cosine()
    with pytest.warns(AccuracyWarning, match="the interaction of InteractingLangevin"):
        run(pk.InteractingLangevin(V, 1.0, interaction, box=CIRCLE), pk.Gaussian(3, 1), t=0.02)


def test_a_periodic_interaction_is_none():
    wave = pk.KernelInteraction(lambda x, y: (x - y).sin().square().sum(-1)
                                if isinstance(x, torch.Tensor)
                                else (np.sin(x - y) ** 2).sum(-1))  # fmt: skip
    V = pk.potentials.Cosine()
    run(pk.InteractingLangevin(V, 1.0, wave, box=CIRCLE), pk.Gaussian(3, 1), t=0.02)


def norm(z):
    return (z**2).sum(-1) ** 0.5


@pytest.mark.parametrize(
    "kinked", [pk.KernelInteraction(lambda x, y: norm(x - y)), pk.PairPotential(norm)]
)
def test_at_a_kink_a_particle_does_not_pull_itself(kinked):
    x = run(pk.InteractingLangevin(Quadratic(1.0), 1.0, kinked), t=0.1).final
    same = run(pk.InteractingLangevin(Quadratic(1.0), 1.0, particles.L1(1.0)), t=0.1).final
    np.testing.assert_allclose(x, same, rtol=0, atol=1e-9)


def test_a_kernel_without_a_slope_is_named():
    def broken(x, y):
        r = ((x - y) ** 2).sum(-1)
        return r + 0 * (0 * r) ** 0.5

    with pytest.raises(FieldError, match="no finite slope at x"):
        start = np.array([[0.0], [0.5]])
        run(pk.InteractingLangevin(Quadratic(1.0), 1.0, pk.KernelInteraction(broken)), start, n=2)


@pytest.mark.parametrize("beta", [-1.0, 0.0, -inf])
def test_a_wrong_temperature_is_told_what_is_taken(beta):
    with pytest.raises(ValueError, match=r"or math\.inf for no noise$"):
        pk.InteractingLangevin(Quadratic(1.0), beta, pk.CurieWeiss(1.0))
    with pytest.raises(ValueError, match=r"a finite number > 0$"):
        particles.MetropolisLangevin(Quadratic(1.0), beta)


def test_what_has_no_noise_instead_is_said():
    with pytest.raises(ValueError, match=r"Langevin\(V, math\.inf\)"):
        particles.UnderdampedLangevin(Quadratic(1.0), inf)
    run(pk.Langevin(Quadratic(1.0), inf), t=0.02)
    with pytest.raises(ValueError, match=r"HamiltonJacobi\(\)"):
        pk.ViscousHJ(inf)


class Overflowing:
    dim = 1

    def __call__(self, x):
        return (x * x).sum(-1) * 1e307 * 1e3

    def grad(self, x):
        return 2e307 * x * 1e3


def test_tamed_steps_in_a_box_are_as_long_as_they_are():
    """The drift that counts is the tamed one, of length 1 at most, also of a slope that overflows.

    Euler's steps there are refused.
    """
    box, start = pk.Grid(-3, 3, 16), pk.Gaussian(2, 0.1)
    with pytest.warns(StepSizeWarning, match="tamed steps stay finite"):
        x = run(pk.Langevin(Overflowing(), 1.0, TamedEuler(), box=box), start, t=0.02, dt=1e-3)
    assert np.abs(x.final).max() <= 3
    with pytest.raises(ValueError, match="crosses the box"):
        run(pk.Langevin(Overflowing(), 1.0, EulerMaruyama(), box=box), start, t=0.02, dt=1e-3)


def test_a_descent_that_rounding_ends_says_what_can_be_met():
    glass = pk.landscapes.SphericalSpinGlass(3, 12)
    with pytest.raises(ConvergenceError, match="it is rounding") as told:
        pk.landscapes.descend(glass, glass.starts(4), tolerance=1e-20)
    met = float(str(told.value).split("take tolerance >= ")[1])
    assert (pk.landscapes.descend(glass, glass.starts(4), tolerance=met).gradient <= met).all()


@pytest.mark.parametrize("points", [np.ones((2, 12)), torch.ones(2, 7)])
def test_points_of_another_kind_or_size_are_refused(points):
    glass = pk.landscapes.SphericalSpinGlass(3, 12)
    for call in (glass.retract, lambda x: glass.project(x, x), glass.energy):
        with pytest.raises((TypeError, ValueError), match="points must"):
            call(points)


@pytest.mark.parametrize(
    "equation",
    [
        pk.McKeanVlasov(Quadratic(-3.0), inf, pk.CurieWeiss(1.0)),
        pk.FokkerPlanck(Quadratic(1.0), inf, force=lambda x: 3 + 0 * x),
    ],
)
def test_many_paths_at_a_wall_are_the_same_in_fewer_steps(equation, monkeypatch):
    found, calls = [], []
    drift = quantiles.Flow._drift

    def counted(self, t, x):
        calls[-1] += 1
        return drift(self, t, x)

    monkeypatch.setattr(quantiles.Flow, "_drift", counted)
    for walled in (True, False):
        if not walled:
            monkeypatch.setattr(quantiles.Flow, "_may_arrive", lambda self: False)
        calls.append(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pk.TruncationWarning)
            flow = pk.quantile_flow(
                equation, pk.Gaussian(0.1, 0.5), pk.Grid(-2, 2, 40), [0.2, 0.5], n=60
            )
        found.append(flow.values)
    np.testing.assert_allclose(*found, rtol=0, atol=1e-6)
    assert calls[0] < calls[1] / 2


class Switched:
    """On for a tenth of each step, at a phase that no end of a step meets."""

    dim = 1

    def at(self, t):
        return pk.potentials.Linear(-1.0 if 0.5 < (t / 0.01) % 1 < 0.7 else 0.0)


def test_pulses_between_the_ends_of_steps_are_said():
    with pytest.warns(StepSizeWarning):
        pk.simulate(pk.Langevin(Switched(), inf), np.zeros((1, 1)), 1, 5.0, 0.01)


class Shaken(pk.Langevin):
    """A drift that changes in time, of a potential that does not."""

    def drift(self, x, t):
        return super().drift(x, t) + sin(2 * pi * t / 0.01 + 1.0)


def test_a_drift_of_ones_own_is_followed_in_time_whatever_its_potential():
    with pytest.warns(StepSizeWarning, match="same phase"):
        run(Shaken(Quadratic(1.0), inf))


@pytest.mark.parametrize("seed", range(40))
def test_what_is_far_above_rounding_at_a_glance_is_so_when_looked_at(seed, monkeypatch):
    draw = np.random.default_rng(seed)
    far, width = 10.0 ** draw.uniform(-2, 12), 10.0 ** draw.uniform(-6, 1)
    x = torch.tensor(far + width * draw.normal(size=(50, 2)), dtype=torch.float64)
    x = x.float() if seed % 2 else x
    dynamics = pk.Langevin(Quadratic(1.0, dim=2), draw.choice([inf, 1.0, 1e6]))
    check = RoundingCheck(dynamics, x, 1.0, 10.0 ** draw.uniform(-12, 0), 1.0)
    if check._is_far_above(x, x, 0.0):
        monkeypatch.setattr(RoundingCheck, "_is_far_above", lambda *_: False)
        assert not check.warn(x, 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_ensemble_far_out_relaxes_by_steps_below_the_spacing(dtype):
    """At 1,001 the drift of a step is a sixth of the spacing of float32, the noise 70 of it."""
    V, n = pk.potentials.Quadratic(1.0) + pk.potentials.Linear(-1000.0), 20_000
    x = pk.simulate(pk.Langevin(V, 1.0), np.full((n, 1), 1001.0), n, 0.02, 1e-5, dtype=dtype).final
    way = 1001 - float(x.values.astype(float).mean())
    assert abs(way - (1 - np.exp(-0.02))) < 5 * 0.2 / n**0.5
