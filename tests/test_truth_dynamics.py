"""Every dynamics moves particles as a plain loop of its docstring does, to rounding.

Random potentials, fixed or moving, random parameters over the admissible range, walls, circles,
both types of numbers, several output times with steps of several lengths. The normals are those of
the noise of pdekit; the loops are in ``dynamics_by_hand.py``.
"""

from math import comb, inf, sqrt

import dynamics_by_hand as by_hand
import numpy as np
import pytest
import torch
from random_dynamics import KINDS, problem, quadratic
from scipy import stats
from truth import Row, Trial, log_uniform, noticed, pick

import pdekit as pk
from pdekit.particles import integrators
from pdekit.particles.noise import StepNoise

P = pk.potentials
INTEGRATORS = {
    kind.__name__: kind()
    for kind in (pk.particles.EulerMaruyama, pk.particles.LeimkuhlerMatthews,
                 pk.particles.StochasticHeun, pk.particles.TamedEuler)
}  # fmt: skip


def trial(dynamics, plain, how, what, expected, rounding=1e-9):
    """To rounding, which a few steps may multiply; by how much, a start a little aside tells."""

    def aside(eps):
        start = plain.x
        plain.x = start + eps * (1 + np.abs(start))
        try:
            return expected()
        finally:
            plain.x = start

    def judge(ensemble):
        got, exact = ensemble.x.values.astype(float), expected()
        if got.shape != exact.shape:
            return inf, 0.0
        double = how["dtype"] == "float64"
        error = float((np.abs(got - exact) / (1 + np.abs(exact))).max())
        slack = rounding if double else 2e-3
        if error > slack:  # chaos, perhaps
            eps = 1e-15 if double else 1e-6
            slack = float((np.abs(aside(eps) - exact) / (1 + np.abs(exact))).max())
        return error, slack

    return Trial(f"{dynamics} {what}", lambda: pk.simulate(dynamics, **how), judge)


def betas(rng):
    return log_uniform(rng, 1e-1, 1e3)


def names(rng):
    return pick(rng, *INTEGRATORS)


def overdamped(rng):
    V, grid, plain, how, what = problem(rng, box=True)
    beta, name = betas(rng), names(rng)
    dynamics = pk.Langevin(V, beta, INTEGRATORS[name], grid)

    def drift(x, t):
        return -plain.slope(x, t)

    return trial(dynamics, plain, how, what, lambda: by_hand.diffusion(
        plain, drift, lambda t: sqrt(2 / beta), name))  # fmt: skip


def annealed(rng):
    V, grid, plain, how, what = problem(rng, box=True)
    name, b, rate = names(rng), betas(rng), rng.uniform(0, 3)

    def schedule(t):
        return b * (1 + rate * t)

    dynamics = pk.AnnealedLangevin(V, schedule, INTEGRATORS[name], grid)
    return trial(dynamics, plain, how, what, lambda: by_hand.diffusion(
        plain, lambda x, t: -plain.slope(x, t), lambda t: sqrt(2 / schedule(t)), name))  # fmt: skip


def controlled(rng):
    V, grid, plain, how, what = problem(rng, box=True)
    u, slope, _ = pick(rng, *KINDS)(rng, plain.x.shape[1])
    beta, name = betas(rng), names(rng)
    dynamics = pk.ControlledLangevin(V, beta, u, INTEGRATORS[name], grid)
    return trial(dynamics, plain, how, what, lambda: by_hand.diffusion(
        plain, lambda x, t: -plain.slope(x, t) - slope(x, t), lambda t: sqrt(2 / beta), name
    ))  # fmt: skip


def smoothed(rng):
    V, grid, plain, how, what = problem(rng, box=True)
    beta, name = pick(rng, None, betas(rng)), names(rng)
    dynamics = pk.SmoothedDescent(V, beta, INTEGRATORS[name], grid)
    sigma = 0.0 if beta is None else sqrt(2 / beta)
    return trial(dynamics, plain, how, what, lambda: by_hand.diffusion(
        plain, lambda x, t: -plain.slope(x, t), lambda t: sigma, name))  # fmt: skip


def underdamped(rng):
    V, grid, plain, how, what = problem(rng, box=True)
    args = betas(rng), pick(rng, 0, log_uniform(rng, 1e-2, 20)), log_uniform(rng, 0.2, 5)
    rest = bool(rng.random() < 0.5)
    dynamics = pk.UnderdampedLangevin(V, *args, rest, box=grid)
    return trial(dynamics, plain, how, what, lambda: by_hand.underdamped(plain, *args, rest))


def metropolis(rng):
    V, _, plain, how, what = problem(rng)
    how["dtype"] = "float64"  # in float32 a decision may fall otherwise
    plain.x[:] = how["initial"]
    _redrawn(plain, how)
    beta = betas(rng)
    dynamics = pk.MetropolisLangevin(V, beta)
    return trial(dynamics, plain, how, what, lambda: by_hand.metropolis(plain, beta))


def _redrawn(plain, how):
    drawn = StepNoise(how["seed"], 0, 0, torch.empty(1, *plain.x.shape, dtype=torch.float64))
    plain.noise = lambda k, channel=0: drawn.at(k, channel).numpy()[0].copy()
    plain.uniform = lambda k, channel, each: drawn.uniforms(k, channel, each).numpy()[0]


class Turning:
    """A force that turns, faster and faster."""

    def __init__(self, w):
        self.w = w

    def at(self, t):
        return lambda x: self.w * (1 + t) * x.flip(-1)


def multiplicative(rng):
    V, _, plain, how, what = problem(rng)
    dim, beta, w = plain.x.shape[1], betas(rng), rng.normal()
    force = pick(rng, None, Turning(w))
    how["dtype"] = "float64"  # corrections are differences, rough in float32
    _redrawn(plain, how)
    s = log_uniform(rng, 0.1, 2)
    reading = pick(rng, "Ito", "Stratonovich", "HaenggiKlimontovich")
    if dim == 1:  # D = s (1 + x²), D' = 2 s x
        D, share = (
            lambda x: s * (1 + x[..., 0] ** 2),
            {"Ito": 0, "Stratonovich": 0.5}.get(reading, 1),
        )
        root = lambda x: np.sqrt(s * (1 + x**2))[..., None]  # noqa: E731
        more = lambda x: share * 2 * s * x / beta  # noqa: E731
    else:
        B = np.tril(rng.normal(size=(dim, dim)))
        B[np.diag_indices(dim)] = np.abs(np.diag(B)) * (rng.random(dim) < 0.7) if dim == 2 else 1.0
        B = np.array([[0.0, 0.0], [0.0, 1.0]]) if dim == 2 and B[0, 0] == 0 else B
        D, root = (B @ B.T).tolist(), lambda x: np.broadcast_to(B, (len(x), dim, dim))
        more = lambda x: 0 * x  # noqa: E731
    if dim == 2 and not np.any(B):
        D, root = 1.0, lambda x: np.broadcast_to(np.eye(2), (len(x), 2, 2))

    def extra(x, t):
        return more(x) + (0 * x if force is None else w * (1 + t) * x[:, ::-1])

    from pdekit import diffusions

    dynamics = pk.MultiplicativeLangevin(V, beta, getattr(diffusions, reading)(D), force)
    return trial(dynamics, plain, how, what, lambda: by_hand.multiplicative(
        plain, beta, root, extra), 1e-6)  # fmt: skip


def own_equation(rng):
    """Coefficients of places, or of places and times; noise of one number, of each, of matrices."""
    _, _, plain, how, what = problem(rng)
    dim, w, s = plain.x.shape[1], rng.normal(), log_uniform(rng, 0.05, 2)
    how["dtype"] = "float64"
    _redrawn(plain, how)
    moves = float(rng.random() < 0.5)
    drift = (lambda x, t: -w * (1 + t) * x) if moves else (lambda x: -w * x)
    columns = int(rng.integers(1, dim + 1))
    B = s * rng.normal(size=(dim, columns))
    noise, factor = pick(
        rng,
        (s, lambda x, t: s * np.eye(dim)),
        (lambda x: s * (1 + x * x), lambda x, t: s * (1 + x * x)[..., None] * np.eye(dim)),
        (lambda x, t: s * (1 + t + x[..., 0] ** 2),
         lambda x, t: s * (1 + t + x[:, 0] ** 2)[:, None, None] * np.eye(dim)),
        (B.tolist(), lambda x, t: B),
    )  # fmt: skip

    def loop():
        def step(x, k, t, stop, h, p):
            xi = plain.noise(k)[:, : factor(x, t).shape[-1], None]
            return x - w * (1 + moves * t) * x * h + np.sqrt(h) * (factor(x, t) @ xi)[..., 0]

        return plain.trajectory(step, plain.x)

    return trial(pk.ItoProcess(drift, noise, dim), plain, how, what, loop, 1e-6)


def elastic(rng):
    V, _, plain, how, what = problem(rng, particles=(2, 9))
    args = pick(rng, inf, betas(rng)), log_uniform(rng, 0.2, 5), log_uniform(rng, 0.2, 5)
    return trial(pk.ElasticSGD(V, *args), plain, how, what, lambda: by_hand.elastic(plain, *args))


def widths(rng):
    """γ fixed, or withdrawn."""
    first, rate = log_uniform(rng, 0.2, 3), rng.uniform(0, 4)
    if rng.random() < 0.5:
        return first, lambda t: first
    return pk.particles.Scoping(first, rate), lambda t: max(1e-3, first * np.exp(-rate * t))


def sampled(rng):
    V, _, plain, how, what = problem(rng)
    gamma, at = widths(rng)
    beta, samples = betas(rng), int(rng.integers(1, 5))
    dynamics = pk.SampledDescent(V, beta, gamma, samples)
    return trial(dynamics, plain, how, what, lambda: by_hand.sampled(plain, beta, at, samples))


def entropy(rng):
    V, _, plain, how, what = problem(rng)
    gamma, at = widths(rng)
    beta, L = pick(rng, inf, betas(rng)), int(rng.integers(1, 7))
    rate, alpha = pick(rng, None, log_uniform(rng, 1e-3, 0.1)), rng.uniform(0, 0.99)
    dynamics = pk.EntropySGD(V, beta, gamma, L, rate, alpha)
    eta = rate or 2 * at(0.0) / (L + 1)
    return trial(dynamics, plain, how, what, lambda: by_hand.entropy_sgd(
        plain, beta, at, L, eta, alpha))  # fmt: skip


AVERAGES = {
    "linear": pk.particles.LinearAverage(),
    "exponential": pk.particles.ExponentialAverage(),
    "last": pk.particles.LastIterate(),
}


def two_scale(rng):
    V, _, plain, how, what = problem(rng)
    gamma, at = widths(rng)
    fast, average = pick(rng, "Position", "Displacement", "FreeDisplacement"), pick(rng, *AVERAGES)
    scheme = pick(rng, "LeimkuhlerMatthews", "EulerMaruyama", "TamedEuler")
    warm = bool(rng.random() < 0.6)
    beta, epsilon = pick(rng, inf, betas(rng)), log_uniform(rng, 0.2, 2)
    M, burn_in, inner_dt = *(int(k) for k in rng.integers(1, 5, 2)), pick(rng, None, 0.02)
    strength = pick(rng, 0.0, rng.normal())
    dynamics = pk.TwoScaleLangevin(
        V, beta, gamma, epsilon, M, burn_in,
        interaction=pk.CurieWeiss(strength) if strength else None,
        fast=getattr(pk.particles, fast)(), average=AVERAGES[average], warm_start=warm,
        inner_dt=inner_dt,
        integrator=INTEGRATORS[scheme],
    )  # fmt: skip
    return trial(dynamics, plain, how, what, lambda: by_hand.two_scale(
        plain, beta, at, epsilon, M, burn_in, fast, average, warm, inner_dt, scheme,
        lambda x, t: strength * (x - x.mean(0)),
    ))  # fmt: skip


def slopes(rng, plain):
    """A slope, and the plain one."""
    std = log_uniform(rng, 1e-2, 3)
    if rng.random() < 0.5:
        return pk.particles.FullGradient(), lambda u, t, k: plain.slope(u, t)
    noisy = lambda u, t, k: plain.slope(u, t) + std * plain.noise(k)  # noqa: E731
    return pk.particles.NoisyGradient(std), noisy


def momentum(rng):
    V, _, plain, how, what = problem(rng)
    gradient, plainly = slopes(rng, plain)
    gamma = float(pick(rng, 0.0, rng.uniform(0, 1), 1 - log_uniform(rng, 1e-6, 1)))
    c, kind = float(rng.uniform(0, 1)), int(rng.integers(4))
    dynamics = [
        pk.Nesterov(V, gamma, gradient),
        pk.MaSS(V, gamma, c, gradient),
        pk.RestartedNesterov(V, gradient),
        pk.RestartedMaSS(V, c, gradient),
    ][kind]
    if kind > 1:  # whether a step leads uphill is decided by signs
        how["dtype"] = "float64"
        _redrawn(plain, how)
    return trial(dynamics, plain, how, what, lambda: by_hand.momentum(
        plain, gamma if kind < 2 else None, c if kind % 2 else 0.0, plainly))  # fmt: skip


def one_by_one(u, count):
    """Floyd's subsets, with Python's sets."""
    rows = []
    for row in u:
        taken = []
        for i, v in enumerate(row):
            last = count - len(row) + i
            k = int(v * (last + 1))
            taken.append(last if k in taken else k)
        rows.append(taken)
    return np.array(rows)


def subsets(rng):
    """Without replacement: pairs and triples of samples are as likely as others, and all sets."""
    count = int(rng.integers(2, 9))
    size, seed, n = int(rng.integers(1, count + 1)), int(rng.integers(2**60)), 20_000
    noise = StepNoise(seed, 0, 0, torch.empty(1, n, 1))
    step = integrators.Step(int(rng.integers(1000)), 0.0, 0.1, 0.1)

    def judge(index):
        chosen = np.sort(index.numpy()[0], axis=-1)
        if (np.diff(chosen) <= 0).any() or chosen.min() < 0 or chosen.max() >= count:
            return inf, 0.0
        kinds, seen = np.unique(chosen, axis=0, return_counts=True)
        if len(kinds) != comb(count, size):
            return inf, 0.0
        p = float(stats.chisquare(seen).pvalue) if len(seen) > 1 else 1.0
        return 1 / max(p, 1e-300), 1e9

    batch = pk.particles.MiniBatch(size, False)
    return Trial(f"{batch} of {count}, {seed=} {step}", lambda: batch.indices(count, step, noise),
                 judge)  # fmt: skip


def mini_batches(rng):
    """f_k(x) = a_k (x - b_k)²/2 with data of three to ten thousand samples."""
    _, _, plain, how, what = problem(rng, kinds=(quadratic,))
    count, size, dim = int(log_uniform(rng, 3, 1e4)), int(rng.integers(1, 5)), plain.x.shape[1]
    again = bool(rng.random() < 0.5) or size > count
    a, b = rng.uniform(0, 2, count), rng.normal(size=(count, dim))
    ta, tb = (torch.from_numpy(v.astype(how["dtype"])) for v in (a, b))
    loss = pk.particles.FiniteSum(
        lambda x, k: ta[k] * ((x - tb[k]) ** 2).sum(-1) / 2, count, dim)  # fmt: skip

    def gradient(u, t, k):
        v = plain.uniform(k, by_hand.CHOICE, size)
        i = np.minimum((v * count).astype(int), count - 1) if again else one_by_one(v, count)
        return (a[i][..., None] * (u[:, None] - b[i])).mean(1)

    batch = pk.particles.MiniBatch(size, again)
    gamma = float(rng.uniform(0, 1))
    dynamics = pk.Nesterov(loss, gamma, batch)
    return trial(dynamics, plain, how, what + f" {count=} {batch}", lambda: by_hand.momentum(
        plain, gamma, 0.0, gradient))  # fmt: skip


def interacting(rng):
    V, grid, plain, how, what = problem(rng, box=True)
    beta, name, dim = betas(rng), names(rng), plain.x.shape[1]
    strength, width = rng.normal(), log_uniform(rng, 0.3, 2)
    kind = pick(rng, "mean", "well", "consensus", "l1")
    periods = np.full(dim, inf)
    if plain.box is not None:
        low, high, wraps = (np.array(v) for v in plain.box)
        periods = np.where(wraps, high - low, inf)
    if np.isfinite(periods).any():
        kind = "well"
    sharpness = rng.uniform(0, 5)
    interaction = {
        "mean": pk.CurieWeiss(strength),
        "well": pk.PairPotential(pk.interactions.GaussianWell(strength, width, dim)),
        "consensus": pk.particles.Consensus(strength, sharpness),
        "l1": pk.particles.L1(strength),
    }[kind]

    def of_a_pair(z):
        z = z - np.where(np.isfinite(periods), periods, 0) * np.round(z / periods)
        return strength * z / width**2 * np.exp(-(z**2).sum(-1, keepdims=True) / (2 * width**2))

    def pull(x, t):
        if kind == "mean":
            return strength * (x - x.mean(0))
        if kind == "consensus":
            weight = np.exp(-sharpness * (plain.value(x, t) - plain.value(x, t).min()))[:, None]
            return strength * (x - (weight * x).sum(0) / weight.sum())
        return by_hand.all_pairs(np.sign if kind == "l1" else of_a_pair)(x) * (
            strength if kind == "l1" else 1
        )

    dynamics = pk.InteractingLangevin(V, beta, interaction, integrator=INTEGRATORS[name], box=grid)
    return trial(dynamics, plain, how, what, lambda: by_hand.diffusion(
        plain, lambda x, t: -plain.slope(x, t) - pull(x, t), lambda t: sqrt(2 / beta), name
    ))  # fmt: skip


ALL = tuple(INTEGRATORS)
ROWS = [
    Row("Langevin step by step", ("Langevin", *ALL), overdamped, 0.95),
    Row("AnnealedLangevin step by step", ("AnnealedLangevin", *ALL), annealed, 0.95),
    Row("ControlledLangevin step by step", ("ControlledLangevin", *ALL), controlled, 0.95),
    Row("SmoothedDescent step by step", ("SmoothedDescent", *ALL), smoothed, 0.95),
    Row("UnderdampedLangevin step by step", ("UnderdampedLangevin",), underdamped, 0.9),
    Row("MetropolisLangevin step by step", ("MetropolisLangevin",), metropolis, 0.9),
    Row("MultiplicativeLangevin step by step", ("MultiplicativeLangevin",), multiplicative, 0.9),
    Row("ItoProcess step by step", ("ItoProcess", "InTime"), own_equation, 0.9),
    Row("ElasticSGD step by step", ("ElasticSGD",), elastic, 0.9),
    Row("SampledDescent step by step", ("SampledDescent",), sampled, 0.9),
    Row("EntropySGD step by step", ("EntropySGD",), entropy, 0.5),
    Row("TwoScaleLangevin step by step", ("TwoScaleLangevin",), two_scale, 0.5),
    Row("momentum step by step", ("Nesterov", "MaSS", "RestartedNesterov", "RestartedMaSS"),
        momentum, 0.9),
    Row("MiniBatch step by step", ("MiniBatch", "FiniteSum"), mini_batches, 0.9),
    Row("MiniBatch without replacement", ("MiniBatch",), subsets, 1.0, cost=2),
    Row("InteractingLangevin step by step", ("InteractingLangevin", *ALL), interacting, 0.9),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)


@pytest.mark.parametrize(
    ("name", "kind", "part", "fault"),
    [
        ("Langevin", integrators.LeimkuhlerMatthews, "own_scale", lambda self, step: 0.0),
        ("UnderdampedLangevin", pk.UnderdampedLangevin, "drift", lambda self, x, t: 0 * x),
        ("Langevin", integrators, "length", lambda b: b.abs()),
        ("momentum", pk.RestartedNesterov, "init", lambda self, x: x.expand(3, *x.shape).clone()),
    ],
    ids=[
        "noise after a change of the step",
        "no slope",
        "each coordinate tamed by itself",
        "steps counted from where it starts",
    ],
)
def test_a_planted_fault_is_noticed(name, kind, part, fault, monkeypatch):
    (row,) = (r for r in ROWS if r.name == f"{name} step by step")
    monkeypatch.setattr(kind, part, fault)
    assert noticed(row, 1, row.first(300))
