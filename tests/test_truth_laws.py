"""The laws of the dynamics, at one time and at two: against exact moments, at 6 standard errors.

Each draw compares some ten numbers, so that one in 10**7 draws is a false alarm. What the
docstrings say of the error of a step is added to what is promised, where a row does not stand for a
law that is exact at every step.
"""

from math import exp, pi, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.stats import norm
from truth import Row, Trial, log_uniform, noticed, pick

import pdekit as pk

P = pk.potentials
INTEGRATORS = (
    pk.particles.EulerMaruyama(),
    pk.particles.LeimkuhlerMatthews(),
    pk.particles.StochasticHeun(),
    pk.particles.TamedEuler(),
)
N, SIGMAS = 4000, 6.0


def worst(samples, expected, slack=0.0):
    """How far means over particles (axis 0) are from ``expected``, in units of what is allowed."""
    samples, expected = np.asarray(samples, float), np.asarray(expected, float)
    error = np.abs(samples.mean(0) - expected)
    allowed = SIGMAS * samples.std(0) / sqrt(len(samples)) + slack + 1e-9 * (1 + np.abs(expected))
    return float((error / allowed).max())


def times_of(rng, dt):
    """Output times so that steps have several lengths, some of them one step apart."""
    gaps = [dt * float(pick(rng, 1, 1, 2, 10, rng.uniform(0.05, 5))) for _ in range(4)]
    return np.cumsum(gaps)


def free(rng):
    """No potential: Brownian motion in law at all times together, whatever the step."""
    dt, beta = log_uniform(rng, 1e-3, 3), log_uniform(rng, 1e-2, 1e3)
    integrator, nothing = pick(rng, *INTEGRATORS), P.Quadratic(0.0)
    dynamics = pick(
        rng,
        pk.Langevin(nothing, beta, integrator),
        pk.ControlledLangevin(nothing, beta, nothing, integrator),
        pk.InteractingLangevin(nothing, beta, pk.CurieWeiss(0.0), integrator=integrator),
        pk.SmoothedDescent(nothing, beta, integrator),
        pk.MultiplicativeLangevin(nothing, beta, 1.0),
        pk.MetropolisLangevin(nothing, beta),
    )
    return displacements(rng, dynamics, dt, 2 / beta, f"{dt=}")


def displacements(rng, dynamics, dt, rate, what):
    t = times_of(rng, dt)
    dtype = pick(rng, "float64", "float32")
    start, seed = rng.normal(size=(N, 1)) * sqrt(rate * dt), int(rng.integers(2**31))

    def call():
        return pk.simulate(dynamics, start, N, t, dt, seed=seed, dtype=dtype).x.values[..., 0]

    def judge(x):
        x = np.concatenate([start.T, x.astype(float)])
        at = np.concatenate([[0.0], t])
        i, j = np.triu_indices(5, 1)
        square = (x[j] - x[i]) ** 2 / (rate * (at[j] - at[i])[:, None])
        steps = np.diff(x, axis=0) / np.sqrt(rate * np.diff(at))[:, None]
        a, b = np.triu_indices(4, 1)
        return max(
            worst(square.T, np.ones(10), 1e-5), worst((steps[a] * steps[b]).T, 0 * a, 1e-5)
        ), 1.0

    return Trial(f"{dynamics} {what} {t=} {seed=} {dtype}", call, judge)


def ornstein(rng):
    """Means, variances and correlations at two times of a well, with the known errors of a step."""
    a, beta = log_uniform(rng, 0.05, 20), log_uniform(rng, 0.1, 100)
    z = log_uniform(rng, 1e-3, 0.3)  # a times the step
    dt, integrator = z / a, pick(rng, *INTEGRATORS)
    lags = np.array([1, 2, 10])
    t = dt * np.array([40, 41, 42, 50]) if rng.random() < 0.5 else times_of(rng, dt)
    limit, start = 1 / (a * beta), rng.normal(size=(N, 1)) / sqrt(a * beta)
    dynamics, seed = pk.Langevin(P.Quadratic(a), beta, integrator), int(rng.integers(2**31))
    # of a rate: a z/2, a z²/6; of the variance: z/2, nothing, z²/4
    order = integrator.weak_order
    clock = z / 2 * 1.5 if order == 1 else z * z / 6 * 2
    still = {"EulerMaruyama": z, "LeimkuhlerMatthews": 0.0}.get(type(integrator).__name__, z * z)
    changing = z if len(set(np.round(np.diff(t, prepend=0) / dt, 6) % 1)) > 1 else 0.0

    def call():
        return pk.simulate(dynamics, start, N, t, dt, seed=seed).x.values[..., 0]

    def judge(x):
        x = x / sqrt(limit)
        variance = worst((x**2).T, np.ones(4), still + changing * z + z * z / 2)
        i, j = np.triu_indices(4, 1)
        s = a * (t[j] - t[i])
        pairs = (x[i] * x[j]).T
        allowed = s * np.exp(-s) * clock + (still + z * z) * np.exp(-s)
        together = worst(pairs, np.exp(-s), allowed)
        # the first are not at rest in law, but their squares add up to 1 before they move
        apart = ((x[j] - x[i]) ** 2 / (2 * (1 - np.exp(-s)))[:, None]).T
        displaced = worst(apart, np.ones(len(s)), clock + still + z / 3)
        return max(variance, together, displaced), 1.0

    return Trial(f"{dynamics} {z=} {t=} {seed=} {lags=}", call, judge)


def walled(rng):
    """Free motion between walls or round a circle: every Fourier mode decays at its own rate."""
    wraps, length, low = bool(rng.random() < 0.5), log_uniform(rng, 0.1, 10), rng.normal()
    rate = log_uniform(rng, 1e-2, 1e2)  # 1/beta
    dt = log_uniform(rng, 1e-3, 0.5) * length**2 / rate
    t, integrator = times_of(rng, dt), pick(rng, *INTEGRATORS)
    box = pk.Grid(low, low + length, 16, periodic=wraps)
    x0, seed = low + length * rng.uniform(), int(rng.integers(2**31))
    dynamics = pk.Langevin(P.Quadratic(0.0), 1 / rate, integrator, box)
    waves = np.arange(1, 4) * (2 * pi if wraps else pi)

    def call():
        return pk.simulate(dynamics, np.full((N, 1), x0), N, t, dt, seed=seed).x.values[..., 0]

    def judge(x):
        phase = (x - low) / length
        if not ((phase >= 0) & (phase <= 1)).all():
            return np.inf, 1.0
        modes = np.cos(phase[..., None] * waves)  # (time, particle, wave)
        decay = np.exp(-np.outer(t, waves**2) * rate / length**2)
        one = worst(modes.transpose(1, 0, 2), np.cos((x0 - low) / length * waves) * decay)
        i, j = np.triu_indices(4, 1)
        later = np.exp(-np.outer(t[j] - t[i], waves**2) * rate / length**2)
        # E cos(X_t) cos(X_s) = E cos²(X_s) times the decay from s to t
        two = modes[j] * modes[i] - modes[i] ** 2 * later[:, None]
        return max(one, worst(two.transpose(1, 0, 2), np.zeros((6, 3)))), 1.0

    return Trial(f"{dynamics} {dt=} {t=} {seed=}", call, judge)


def metropolis(rng):
    """The Gibbs law stays what it is at every step, however long."""
    a, beta, dim = log_uniform(rng, 0.05, 20), log_uniform(rng, 0.1, 100), pick(rng, 1, 2, 3)
    dt = log_uniform(rng, 1e-2, 1.5) / a
    start, seed = rng.normal(size=(N, dim)) / sqrt(a * beta), int(rng.integers(2**31))
    dynamics = pk.MetropolisLangevin(P.Quadratic(a, dim), beta)

    def judge(ensemble):
        x = ensemble.final.values * sqrt(a * beta)
        return worst(np.stack([x, x**2, x**4], -1), np.tile([0.0, 1.0, 3.0], (dim, 1))), 1.0

    def call():
        return pk.simulate(dynamics, start, N, 12 * dt, dt, seed=seed)

    return Trial(f"{dynamics} {dt=} {seed=}", call, judge)


class Tilted:
    """a x²/2 - c cos(w t) x."""

    def __init__(self, a, c, w):
        self.a, self.c, self.w = a, c, w

    def at(self, t):
        s = self.c * float(np.cos(self.w * t))
        return P.Custom(lambda x: self.a * x[..., 0] ** 2 / 2 - s * x[..., 0],
                        lambda x: self.a * x - s)  # fmt: skip

    def __call__(self, x):
        return self.at(0.0)(x)

    def __repr__(self):
        return f"Tilted({self.a}, {self.c}, {self.w})"


def followed(rng):
    """A moving well: the mean follows it as the equation of ``law()`` says, in all dynamics."""
    a, c, w = log_uniform(rng, 0.2, 3), rng.normal(), log_uniform(rng, 0.2, 6)
    beta, V, T = log_uniform(rng, 1, 1e4), Tilted(a, c, w), log_uniform(rng, 0.2, 4)
    integrator = pick(rng, *INTEGRATORS)
    dynamics = pick(
        rng,
        pk.Langevin(V, beta, integrator),
        pk.ControlledLangevin(V, beta, P.Quadratic(0.0), integrator),
        pk.ControlledLangevin(P.Quadratic(0.0), beta, V, integrator),
        pk.SmoothedDescent(V, beta, integrator),
        pk.MultiplicativeLangevin(V, beta, 1.0),
        pk.MetropolisLangevin(V, beta),
        pk.InteractingLangevin(V, beta, pk.CurieWeiss(0.7), integrator=integrator),
    )
    dt, seed = 0.02 / (a + w), int(rng.integers(2**31))
    start = np.full((N, 1), float(rng.normal()))

    def mean_by_law():
        """Of the potential in ``law()``, by the exponential of the equation of its coefficients."""
        law = dynamics.law()
        zero = np.zeros((1, 1))
        slope = lambda x, t: float(law.potential.at(t).grad(zero + x)[0, 0])  # noqa: E731
        m, count = start[0, 0], 400
        for k in range(count):  # Runge and Kutta
            t, h = T * k / count, T / count
            k1 = -slope(m, t)
            k2 = -slope(m + h / 2 * k1, t + h / 2)
            k3 = -slope(m + h / 2 * k2, t + h / 2)
            m += h / 6 * (k1 + 2 * k2 + 2 * k3 - slope(m + h * k3, t + h))
        return m

    # m' = -a m + c cos(w t), by its own formula
    forced = lambda t: c * (a * np.cos(w * t) + w * np.sin(w * t)) / (a * a + w * w)  # noqa: E731
    exact = forced(T) + (start[0, 0] - forced(0.0)) * exp(-a * T)
    scale = abs(start[0, 0]) + abs(c) / a

    def judge(ensemble):
        coupled = type(dynamics) is pk.InteractingLangevin  # no equation of its law that moves
        by_law = 0.0 if coupled else abs(mean_by_law() - exact) / (1e-5 * scale)
        return max(worst(ensemble.final.values, [exact], 0.02 * scale), by_law), 1.0

    return Trial(f"{dynamics} {T=} {dt=} {seed=}",
                 lambda: pk.simulate(dynamics, start, N, T, dt, seed=seed), judge)  # fmt: skip


def linear_case(rng):
    """A dynamics whose law is Gaussian, its drift matrix, noise matrix, start, and what is seen."""
    a, beta = log_uniform(rng, 0.2, 5), log_uniform(rng, 0.2, 50)
    kind = pick(rng, "inert", "coloured", "two scales", "elastic")
    V = P.Quadratic(a)
    if kind == "inert":
        c, m = log_uniform(rng, 0.05, 10), log_uniform(rng, 0.2, 5)
        A, D = np.array([[0, 1 / m], [-a, -c]]), np.diag([0, 2 * c * m / beta])
        fastest = max(sqrt(a / m), c)
        return pk.UnderdampedLangevin(V, beta, c, m, at_rest=True), A, D, fastest, 1, 2
    if kind == "coloured":
        tau, s = log_uniform(rng, 0.1, 3), log_uniform(rng, 0.2, 3)
        plane = P.Quadratic(((a, 0.0), (0.0, 1 / tau)))
        force = lambda x: torch.stack([x[..., 1], 0 * x[..., 1]], -1)  # noqa: E731
        D = np.diag([0, s / tau])
        dynamics = pk.MultiplicativeLangevin(plane, beta, D.tolist(), force)
        return dynamics, np.array([[-a, 1], [0, -1 / tau]]), 2 * D / beta, a + 1 / tau, 2, 1
    gamma, epsilon = log_uniform(rng, 0.3, 3), log_uniform(rng, 0.1, 2)
    fastest = max(1 / gamma, (a + 1 / gamma) / epsilon)
    D = np.diag([0, 2 / (beta * epsilon)])
    A = np.array([[-1 / gamma, 1 / gamma], [1 / (gamma * epsilon), -(a + 1 / gamma) / epsilon]])
    if kind == "two scales":
        dynamics = pk.TwoScaleLangevin(V, beta, gamma, epsilon, inner_steps=int(rng.integers(1, 4)))
        return dynamics, A, D, fastest, 1, 1
    return pk.ElasticSGD(V, beta, gamma, epsilon), A, D, fastest, 0, 1


def linear(rng):
    """Mean and variance of a linear equation, by exponentials of matrices."""
    dynamics, A, D, fastest, dim, order = linear_case(rng)
    T, seed = log_uniform(rng, 0.3, 5) / fastest * 3, int(rng.integers(2**31))
    dt, x0 = 0.03 / fastest, float(rng.normal())
    flow = expm(A * T)
    at_rest = solve_continuous_lyapunov(A, -D)
    covariance = at_rest - flow @ at_rest @ flow.T
    inert = type(dynamics) is pk.UnderdampedLangevin
    begin = np.array([x0, 0.0]) if inert or dim == 2 else np.array([x0, x0])
    mean, spread = flow @ begin, covariance[0, 0]
    slack = 0.03 if order == 1 else 0.003

    def call():
        if dim:  # independent particles
            start = np.tile(begin[:dim], (N, 1))
            return pk.simulate(dynamics, start, N, T, dt, seed=seed).final.values[:, 0]
        # a centre and a single worker in each run
        start = np.full((2, 1), x0)
        return pk.simulate(dynamics, start, 2, T, dt, N, seed=seed).final.values[:, 0, 0]

    def judge(x):
        off = worst(x, mean[0], slack * abs(x0))
        wide = worst((x - mean[0]) ** 2, spread, 3 * slack * spread + slack**2 * x0**2 + 1e-12)
        return max(off, wide), 1.0

    return Trial(f"{dynamics} {T=} {x0=} {dt=} {seed=}", call, judge)


def passing(rng):
    """A drift and a noise that are constant: whether an edge was met is exact at any step."""
    dt, beta = log_uniform(rng, 1e-3, 3), log_uniform(rng, 1e-2, 1e3)
    t, dtype = times_of(rng, dt), pick(rng, "float64", "float32")
    kick = sqrt(2 * t[-1] / beta)
    drift, away = rng.normal() * kick / t[-1], abs(rng.normal()) * kick
    V, up = P.Linear((-drift,)), bool(rng.integers(2))
    dynamics = pick(
        rng,
        *(pk.Langevin(V, beta, i) for i in INTEGRATORS[:3]),
        pk.MultiplicativeLangevin(V, beta, 1.0),
        pk.MetropolisLangevin(V, beta),
        pk.ItoProcess(lambda x: 0 * x + drift, sqrt(2 / beta)),
    )
    toward, seed = drift if up else -drift, int(rng.integers(2**31))
    seen = pk.FirstPassage(away, np.inf) if up else pk.FirstPassage(-np.inf, -away)
    width = np.sqrt(2 * t / beta)
    exact = norm.cdf((away - toward * t) / width) - np.exp(
        beta * toward * away + norm.logcdf((-away - toward * t) / width)
    )

    def call():
        found = pk.simulate(
            dynamics, np.zeros((N, 1)), N, t, dt, seed=seed, dtype=dtype, observe=seen, keep=False
        )
        return found.observed["survival"].values

    def judge(share):
        return float(np.abs(share - exact).max()), SIGMAS / sqrt(4 * N) + 1e-4

    return Trial(f"{dynamics} {seen} {t=} {dt=} {drift=} {seed=} {dtype}", call, judge)


ALL = tuple(type(i).__name__ for i in INTEGRATORS)
ROWS = [
    Row("free motion at several times", ("Langevin", "ControlledLangevin", "InteractingLangevin",
        "SmoothedDescent", "MultiplicativeLangevin", "MetropolisLangevin", *ALL), free, 0.95),
    Row("a well at two times", ("Langevin", *ALL), ornstein, 0.95),
    Row("walls and circles", ("Langevin", *ALL), walled, 0.9),
    Row("Metropolis at every step", ("MetropolisLangevin",), metropolis, 0.8),
    Row("moving wells and laws", ("Langevin", "ControlledLangevin", "SmoothedDescent",
        "MultiplicativeLangevin", "MetropolisLangevin", "InteractingLangevin"), followed, 0.9, 3),
    Row("linear dynamics", ("UnderdampedLangevin", "MultiplicativeLangevin", "TwoScaleLangevin",
        "ElasticSGD"), linear, 0.8, 3),
    Row("first passage under a constant drift", ("FirstPassage",), passing, 0.95),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)


def test_positions_that_share_their_noise_are_noticed(monkeypatch):
    """What the method of Leimkuhler and Matthews would hand out as it stands in the paper."""
    kind = pk.particles.LeimkuhlerMatthews
    monkeypatch.setattr(kind, "positions", kind.points)
    assert noticed(ROWS[0], 1, ROWS[0].first(100))


def test_a_potential_that_stands_still_is_noticed(monkeypatch):
    """What a dynamics does that does not look at the time."""
    still: Any = Tilted.at
    monkeypatch.setattr(pk.MultiplicativeLangevin, "drift", lambda self, x, t: -still(
        self.potential, 0.0).grad(x))  # fmt: skip
    assert noticed(ROWS[4], 1, ROWS[4].first(120))
