"""Is it limit cycles that SGD's noise ends in? It makes SGD circulate, a little, and unseen.

Thesis 6.3 reads limit cycles out of spectra and autocorrelations of SGD, and takes the covariance D
of its gradients to be constant. In small these claims hold: (6.2) is SGD's weak limit of order 1;
F = (D + Q) U (lemma 6.44) predicts its stationary covariance, where exp(-βf) has even the order of
directions wrong; η/b sets its size; few directions carry D; about a minimum SGD circulates. These
do not: both signatures of figure 6.3 are those of an Ornstein-Uhlenbeck process, in detailed
balance or not, and SGD's spectrum is that of the process with its F and D; F is symmetric there, so
that nothing swings, and in a relaxation time SGD turns by a sixth of a radian; D is nearly constant
only with weight decay, and without falls as the data are fitted; its low rank is one of rounding;
(6.5) is of single batches, and wrong for SGD that goes through the data in epochs.

* Linear chains of 2^15 steps: spectrum |1-e^{-iw}|²/|1-(1-ηλ)e^{-iw}|² and autocorrelation
  (1-ηλ)^k (errata 73). The area rate E(x₁dx₂ - x₂dx₁)/dt decides: F = ((2, 1), (1, 3)) with D = 1
  has none, with D = diag(1, 2) 0.4: by the equation, by particles, and by SGD on a regression of 12
  examples whose F and D are exactly these, and whose moments at a finite η are known.
* tr Cov of SGD for η and b, with replacement, without in a batch, and in epochs (lemma 6.3, errata
  38 and 39): in an epoch the noise adds up to nothing. Of the last layer an epoch leaves out a
  twentieth of the examples, since batches are equal.
* A digits network (64-32-10, tanh) by SGD at one rate, with and without weight decay: D from the
  gradients of all examples after 20, 40 and 100 % of training.
* Its last layer on eight features (81 weights, convex, F and D exact): SGD from the minimum beside
  a linear chain with the same F and D, in the plane of most noise and in that of most circulation.
* f_k = 1 - cos(x - θ_k): E cos X by powers of SGD's transition matrix and by exponentials of
  generators, no sampling. The gradient flow without any noise is a limit of order 1 as well: what
  distinguishes (6.2) is its constant.

Equations: mathematics 1.11, errata 38, 39, 73.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import pi, sqrt
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from scipy import linalg, stats
from tqdm import tqdm

import pdekit as pk
from pdekit.claims import Claim, at_least, at_most

sys.path.insert(0, str(Path(__file__).parent))

from networks import digits

Array = np.ndarray

F = np.array([[2.0, 1.0], [1.0, 3.0]])  # the linear problem: drift -F x,
D = np.diag([1.0, 2.0])  # noise sqrt(2 D) dB, beta = 1
COVARIANCE = np.array([[16, -7], [-7, 19]]) / 25
GIBBS = np.trace(D) / 2 * np.linalg.inv(F)  # were it e^{-βf}, with noise of the same trace
RATE = 0.4  # of area
STEP, CHAINS = 0.01, 40
BANDS = 12  # of frequencies
LAGS = (1, 10, 30, 100, 300)
LEVEL = 0.999  # of every interval


# ---- (a) linear chains: the null model -----------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """x⁺ = A x + sqrt(S) ξ with |A| < 1, and everything that is exact about it."""

    A: Array
    S: Array

    @classmethod
    def of(cls, F: Array, D: Array, step: float) -> "Chain":
        """Euler's steps of dX = -F X dt + sqrt(2 D) dB."""
        return cls(np.eye(len(F)) - step * F, 2 * step * D)

    @property
    def covariance(self) -> Array:
        return linalg.solve_discrete_lyapunov(self.A, self.S)

    def rate(self, step: float) -> Array:
        """Area rates at steps of this length."""
        product = self.covariance @ self.A.T / step
        return product - product.T

    def autocovariance(self, v: Array, n: int) -> Array:
        """Of v·x, at the lags 0 to n - 1."""
        values, left = np.linalg.eig(self.A.T)  # c_k = vᵀ Aᵏ C v
        weights = np.linalg.solve(left, v) * (left.T @ self.covariance @ v)
        return np.real(values[None] ** np.arange(n)[:, None] @ weights)

    def paths(self, n: int, chains: int, rng: np.random.Generator) -> Array:
        """Stationary paths (n, chains, d)."""
        x = np.empty((n, chains, len(self.A)))
        x[0] = rng.normal(size=x[0].shape) @ np.linalg.cholesky(self.covariance).T
        noise = rng.normal(size=x.shape) @ np.linalg.cholesky(self.S).T
        for k in range(n - 1):
            x[k + 1] = x[k] @ self.A.T + noise[k]
        return x


@dataclass(frozen=True)
class Null:
    """A linear chain seen as the thesis sees SGD, and by its area."""

    rate: Any  # AreaRates
    exact: float
    steps: int
    frequencies: Array
    power: Array  # of increments, in bands, (bands,)
    expected: Array  # of a chain of this length
    power_z: Array
    correlation: Array  # at LAGS
    correlation_exact: Array
    correlation_z: Array


def _null(noise: Array, n: int, rng: np.random.Generator) -> Null:
    chain, v = Chain.of(F, noise, STEP), np.linalg.eigh(F)[1][:, 0]
    x = chain.paths(n + 1, CHAINS, rng)
    y = x @ v
    c = chain.autocovariance(v, n + 1)
    size = n * (v @ chain.S @ v)
    power = np.abs(np.fft.rfft(np.diff(y, axis=0), axis=0)) ** 2 / size
    expected = n * _periodogram(c) / size
    edges = np.unique(np.geomspace(8, n // 2, BANDS + 1).astype(int))
    parts = list(pairwise(edges))
    ratio = [(power[a:b] / expected[a:b, None]).mean() - 1 for a, b in parts]
    products = np.stack([(y[: n + 1 - k] * y[k:]).mean(0) for k in (0, *LAGS)]) / c[0]
    gap = products[1:] - (c[list(LAGS)] / c[0])[:, None]
    return Null(
        pk.area_rate(x, STEP, LEVEL), float(chain.rate(STEP)[0, 1]), n,
        np.array([2 * (a + b - 1) / 2 / n for a, b in parts]),
        np.array([power[a:b].mean() for a, b in parts]),
        np.array([expected[a:b].mean() for a, b in parts]),
        np.array([r * sqrt(CHAINS * (b - a)) for r, (a, b) in zip(ratio, parts, strict=True)]),
        products[1:].mean(1) / products[0].mean(), c[list(LAGS)] / c[0],
        gap.mean(1) / gap.std(1, ddof=1) * sqrt(CHAINS),
    )  # fmt: skip


def _periodogram(c: Array) -> Array:
    """What a chain of n increments has on average, from autocovariances c of lags 0 to n."""
    n = len(c) - 1
    ahead, behind = np.append(c[1:], 0.0)[:n], np.append(c[1], c[: n - 1])
    increments = (2 * c[:n] - ahead - behind) * (1 - np.arange(n) / n)
    return 2 * np.fft.rfft(increments).real - increments[0]


def law_of_erratum_73(a: float, w: Array) -> Array:
    """|1-e^{-iw}|²/|1-(1-a)e^{-iw}|², a = η λ."""
    turn = np.exp(-1j * w)
    return np.abs(1 - turn) ** 2 / np.abs(1 - (1 - a) * turn) ** 2


# ---- (b) the area rate by the equation, by particles and by SGD ----------------------------------

POINTS = ((sqrt(3), 0.0), (0.0, sqrt(6)), (sqrt(3), sqrt(3)))  # of the regression
SPREAD = (1.0, 1.0, 0.0)  # of their labels
EXAMPLES = 12


def regression() -> tuple[Array, Array]:
    """Points a and labels ±s of 12 examples: at its minimum 0 the mean of (a·x - y)²/2 has Hessian
    F and gradients of covariance D, exactly."""
    repeats = EXAMPLES // 6
    a = np.repeat(np.array(POINTS), 2 * repeats, axis=0)
    return a, np.repeat(SPREAD, 2 * repeats) * np.tile([1.0, -1.0], EXAMPLES // 2)


def exact_moments(rate: float, groups: Array) -> tuple[Array, Array]:
    """Stationary covariance of SGD on the regression, and E x (x⁺)ᵀ, for batches (many, size).

    The step is affine, (x, 1)⁺ = M (x, 1), so that second moments are those of E M ⊗ M.
    """
    a, y = regression()
    M = np.zeros((len(groups), 3, 3))
    M[:] = np.eye(3)
    M[:, :2, :2] -= rate * np.einsum("gki,gkj->gij", a[groups], a[groups]) / groups.shape[1]
    M[:, :2, 2] = rate * np.einsum("gki,gk->gi", a[groups], y[groups]) / groups.shape[1]
    twice = np.einsum("gij,gkl->ikjl", M, M).reshape(9, 9) / len(groups)
    still = twice - np.eye(9)
    moments = linalg.lstsq(np.vstack([still, np.eye(9)[-1]]), np.eye(10)[-1])[0].reshape(3, 3)
    ahead = (moments @ M.mean(0).T)[:2, :2]
    mean = moments[:2, 2:]
    return moments[:2, :2] - mean @ mean.T, ahead - mean @ mean.T


Batches = Callable[[np.random.Generator, int, int, int], Iterator[Array]]


def with_replacement(rng: Any, n: int, size: int, chains: int) -> Iterator[Array]:
    """Examples of a step, (chains, size), each of all n."""
    while True:
        yield from rng.integers(n, size=(256, chains, size))


def without_replacement(rng: Any, n: int, size: int, chains: int) -> Iterator[Array]:
    """Different ones in a batch, batches independent (thesis, lemma 6.3)."""
    while True:
        yield np.argpartition(rng.random((chains, n)), size, axis=1)[:, :size]


def epochs(rng: Any, n: int, size: int, chains: int) -> Iterator[Array]:
    """As it is done: all examples once in an epoch, in a new order each time."""
    while True:
        order = rng.permuted(np.tile(np.arange(n), (chains, 1)), axis=1)
        yield from np.split(order[:, : n // size * size], n // size, axis=1)


SAMPLING: dict[str, Batches] = {
    "with replacement": with_replacement,
    "without, in a batch": without_replacement,
    "without, in an epoch": epochs,
}


@dataclass(frozen=True)
class Circulation:
    """The area rate of the linear problem, β = 1, by the equation, by particles and by SGD."""

    equation: dict[str, float]  # D = diag(1, 2), D = 1
    particles: Any
    particles_exact: float  # of Euler's steps
    sgd: Any  # of the regression, in units of η/(2 l)
    sgd_exact: dict[float, float]  # by the rate η
    covariance: Array  # of SGD, in the same units, (2, 2)
    covariance_error: Array
    covariance_exact: Array


@dataclass(frozen=True)
class Spread:
    """Stationary tr Cov of SGD on the regression over that of lemma 6.44, with replacement."""

    rate: float
    size: int
    sampling: str
    mean: float
    error: float
    exact: float  # of independent batches; nan for epochs
    formula: float  # by (6.4) and (6.5)


def _by_equation(noise: Array, cells: int) -> float:
    grid = pk.Grid((-5.0, -5.0), (5.0, 5.0), (cells, cells))
    well = pk.potentials.Custom(lambda x: ((x @ F) * x).sum(-1) / 2, lambda x: x @ F, 2)
    equation = pk.FokkerPlanck(well, 1.0, diffusion=noise)
    flow = pk.current(equation, pk.stationary(equation, grid), grid).values
    x = grid.centres
    return float(grid.integrate(x[..., 0] * flow[..., 1] - x[..., 1] * flow[..., 0]))


def _by_particles(count: int, seed: int) -> tuple[Any, float]:
    """Euler's steps of STEP, each kept, from the stationary law of the chain."""
    chain = Chain.of(F, D, STEP)
    start = np.random.default_rng(seed).normal(size=(count, 2))
    start = start @ np.linalg.cholesky(chain.covariance).T
    dynamics = pk.MultiplicativeLangevin(pk.potentials.Quadratic(0.0, 2), 1.0, D, force=_pull)
    times = STEP * np.arange(1, 201)
    paths = pk.simulate(dynamics, start, count, times, STEP, seed=seed).x.values
    return pk.area_rate(paths, STEP, LEVEL), float(chain.rate(STEP)[0, 1])


def _pull(x: Any) -> Any:
    return -(x @ (F if isinstance(x, np.ndarray) else x.new_tensor(F)))


def descent(rate: float, size: int, name: str, shape: tuple[int, int], seed: int) -> Array:
    """SGD on the regression from its stationary spread, (steps, chains, 2)."""
    (a, y), (steps, chains) = regression(), shape
    rng, beta = np.random.default_rng(seed), 2 * size / rate
    x = rng.normal(size=(chains, 2)) @ np.linalg.cholesky(COVARIANCE / beta).T
    path = np.empty((steps, chains, 2))
    for k, batch in zip(range(steps), SAMPLING[name](rng, EXAMPLES, size, chains), strict=False):
        rows = a[batch]
        wrong = np.einsum("cki,ci->ck", rows, x) - y[batch]
        x = x - rate / size * np.einsum("ck,cki->ci", wrong, rows)
        path[k] = x
    return path


def groups(size: int, name: str) -> Array:
    """All batches, each as likely as any other."""
    if name == "with replacement":
        return np.stack(np.meshgrid(*[np.arange(EXAMPLES)] * size), -1).reshape(-1, size)
    return np.array(list(combinations(range(EXAMPLES), size)))


def _circulation(quick: bool, seed: int) -> Circulation:
    rate, cells = 0.02, 128 if quick else 256
    paths = descent(rate, 1, "with replacement", (2_000 if quick else 8_000, 400), seed)
    paths *= sqrt(2 / rate)
    exact = {}
    for eta in (rate / 4, rate / 2, rate):
        covariance, ahead = exact_moments(eta, groups(1, "with replacement"))
        exact[eta] = float(2 / eta * (ahead - ahead.T)[0, 1] / eta)
    particles, expected = _by_particles(5_000 if quick else 20_000, seed + 1)
    late = paths[len(paths) // 10 :].swapaxes(0, 1)
    each = late.swapaxes(1, 2) @ late / late.shape[1]
    return Circulation(
        {"diag(1, 2)": _by_equation(D, cells), "1": _by_equation(np.eye(2), cells)},
        particles, expected, pk.area_rate(paths, rate, LEVEL), exact,
        each.mean(0), each.std(0, ddof=1) / sqrt(len(each)), 2 / rate * covariance,
    )  # fmt: skip


def _spreads(quick: bool, seed: int) -> list[Spread]:
    """Of η and b in the ratios 1 : 1, 2 : 2 and 1 : 2, and of the three ways to sample."""
    settings = [(0.02, 2, "with replacement"), (0.04, 4, "with replacement"),
                (0.02, 4, "with replacement"), (0.02, 4, "without, in a batch"),
                (0.02, 4, "without, in an epoch"), (0.01, 4, "without, in an epoch")]  # fmt: skip
    return [_spread(*given, (1500 if quick else 6000, 300), seed + k)
            for k, given in enumerate(settings)]  # fmt: skip


def _spread(rate: float, size: int, name: str, shape: tuple[int, int], seed: int) -> Spread:
    """At the end of epochs of three batches, after a fifth of the steps."""
    x = descent(rate, size, name, shape, seed)[shape[0] // 5 :]
    each = (x[2::3] ** 2).sum(-1).mean(0) * 2 * size / rate / np.trace(COVARIANCE)
    exact = np.nan
    if name != "without, in an epoch":
        moments = exact_moments(rate, groups(size, name))[0]
        exact = float(np.trace(moments) * 2 * size / rate / np.trace(COVARIANCE))
    g = -regression()[0] * regression()[1][:, None]
    formula = pk.minibatch_covariance(g, size, name == "with replacement") * size
    return Spread(
        rate, size, name, *_mean(each), exact,
        float(np.trace(pk.decompose(F, formula).covariance) / np.trace(COVARIANCE)),
    )  # fmt: skip


# ---- (c) the noise along training ----------------------------------------------------------------

SHARES = (0.2, 0.4, 1.0)
RATE_OF_TRAINING = 0.5
DECAYS = (0.0, 1e-3)


@dataclass(frozen=True)
class Training:
    """D of a digits network after a share of its training."""

    decay: float
    seed: int
    share: float
    trace: float
    directions: int  # that carry 90 %
    ranks: tuple[
        int, int
    ]  # above d machine epsilons of the largest, in double and single precision
    eigenvalues: Array
    error: float  # on the digits kept to test
    overlap: float  # of the ten leading directions with those at the end


def _training(gradients: int, seeds: list[int], data: Any) -> list[Training]:
    found = []
    for decay in DECAYS:
        kept = {used / gradients: weights
                for used, weights in _along_training(decay, seeds, gradients, data)}  # fmt: skip
        for k, seed in enumerate(seeds):
            seen = {share: _noise_of([w[k] for w in weights], data)
                    for share, weights in kept.items()}  # fmt: skip
            found += [_measured(decay, seed, share, seen) for share in SHARES]
    return found


def _along_training(decay: float, seeds: list[int], gradients: int, data: Any
                    ) -> Iterator[tuple[int, list[Any]]]:  # fmt: skip
    """SGD at one rate: the weights after SHARES of the gradients."""
    weights, numbers = digits.drawn(seeds), torch.arange(len(data.images)).expand(len(seeds), -1)
    optimizer = torch.optim.SGD(weights, RATE_OF_TRAINING, weight_decay=decay)
    stops = [round(share * gradients) for share in SHARES]
    for k, batch in zip(range(1, gradients + 1), digits.batches(seeds, numbers), strict=False):
        optimizer.zero_grad()
        z = digits.scores(weights, data.images[batch]).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(z, data.classes[batch].flatten())
        (loss * len(seeds)).backward()
        optimizer.step()
        if k in stops:
            yield k, [w.detach().clone() for w in weights]


def network_of(weights: list[Any]) -> Any:
    """One of the networks as a module, in double precision."""
    first, bias, second, shift = (w.double() for w in weights)
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    net.double()
    with torch.no_grad():
        for place, value in zip(net.parameters(), (first.T, bias, second.T, shift), strict=True):
            place.copy_(value)
    return net


def _noise_of(weights: list[Any], data: Any) -> tuple[Any, float]:
    """D (that of the cross-entropy: weight decay is no noise) and the test error."""
    net = network_of(weights)
    entropy = torch.nn.functional.cross_entropy
    made = pk.landscapes.gradient_covariance(net, entropy, (data.images.double(), data.classes))
    with torch.no_grad():
        wrong = net(data.images_to_test.double()).argmax(1) != data.classes_to_test
    return made, float(wrong.double().mean())


def _measured(decay: float, seed: int, share: float, seen: dict[float, Any]) -> Training:
    made, error = seen[share]
    values, end = made.eigenvalues, seen[1.0][0].leading(10)[1]
    floors = (values[0] * made.gradient.size * np.finfo(t).eps for t in (np.float64, np.float32))
    return Training(
        decay, seed, share, made.trace, made.directions(0.9),
        tuple(int((values > floor).sum()) for floor in floors), values, error,
        float(np.linalg.norm(made.leading(10)[1].T @ end) ** 2 / 10),
    )  # fmt: skip


# ---- (d), (f) the last layer of a trained network ------------------------------------------------

FEATURES, RIDGE, CHAINS_OF_LAYER = 8, 0.03, 32


@dataclass(frozen=True)
class LastLayer:
    """Softmax regression on features of a trained network: f convex, F and D exact.

    Weights V (features + 1, 9): scores h V Bᵀ with the columns of B orthonormal to the constants,
    which change nothing. f is the mean cross-entropy plus RIDGE |V|²/2.
    """

    inputs: Array  # (N, features + 1)
    targets: Array  # (N, 10)
    basis: Array  # (10, 9)
    minimum: Array  # (features + 1, 9)
    hessian: Array
    noise: Array  # D

    @classmethod
    def of(cls, weights: list[Any], data: Any) -> "LastLayer":
        hidden = np.tanh((data.images.double() @ weights[0].double() + weights[1].double()).numpy())
        hidden = hidden - hidden.mean(0)
        turned = hidden @ np.linalg.svd(hidden, full_matrices=False)[2][:FEATURES].T
        inputs = np.column_stack([turned, np.ones(len(turned))])
        basis = linalg.null_space(np.ones((1, 10)))
        draft = cls(inputs, np.eye(10)[data.classes.numpy()], basis, np.zeros((FEATURES + 1, 9)),
                    np.empty(0), np.empty(0))  # fmt: skip
        V = draft.minimum
        for _ in range(30):
            rows, hessian = draft.at(V)
            V = V - np.linalg.solve(hessian, rows.mean(0)).reshape(V.shape)
        rows, hessian = draft.at(V)
        return cls(*(inputs, draft.targets, basis), V, hessian, pk.minibatch_covariance(rows, 1))

    def at(self, V: Array) -> tuple[Array, Array]:
        """Gradients of the examples (N, d), and the Hessian of f."""
        p = _softmax(self.inputs @ V @ self.basis.T)
        wrong = (p - self.targets) @ self.basis
        rows = np.einsum("ni,nj->nij", self.inputs, wrong) + RIDGE * V
        spread = np.einsum("nc,ci,cj->nij", p, self.basis, self.basis)
        mean = p @ self.basis
        spread -= np.einsum("ni,nj->nij", mean, mean)
        hessian = np.einsum("na,nb,nij->aibj", self.inputs, self.inputs, spread, optimize=True)
        d = V.size
        hessian = hessian.reshape(d, d) / len(p) + RIDGE * np.eye(d)
        return rows.reshape(len(p), d), hessian

    def gradient(self, V: Array, batch: Array) -> Array:
        """Of V (chains, features + 1, 9) on the examples (chains, size)."""
        h = self.inputs[batch]
        wrong = (_softmax(h @ V @ self.basis.T) - self.targets[batch]) @ self.basis
        return h.swapaxes(1, 2) @ wrong / batch.shape[1] + RIDGE * V


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@dataclass(frozen=True)
class Prediction:
    """SGD about the minimum of a last layer beside the linear chain of its F and D."""

    planes: dict[str, Any]  # area rates times β, of SGD
    planes_null: dict[str, Any]  # of the linear chain, as long
    planes_exact: dict[str, float]
    p_values: dict[str, float]
    variances: Array  # measured, times β, along the eigenvectors of Σ, (chains, d)
    implicit: Array  # Σ
    discrete: Array  # the linear chain's
    gibbs: Array  # e^{-βf} with noise of the same trace
    spectrum: Array  # of SGD's increments along D's leading direction, over the linear chain's
    turns: float  # radians in the plane of most circulation in the time of its relaxation


def _last_layer(layer: LastLayer, rate: float, size: int, steps: int, seed: int) -> Prediction:
    made, beta = pk.decompose(layer.hessian, layer.noise), 2 * size / rate
    chain = Chain(np.eye(len(made.diffusion)) - rate * layer.hessian, rate**2 / size * layer.noise)
    sigma, U = np.linalg.eigh(made.covariance)
    planes = {"of most noise": np.linalg.eigh(layer.noise)[1][:, -2:],
              "of most circulation": _turning(made.circulation)}  # fmt: skip
    both = np.column_stack(list(planes.values()))
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(CHAINS_OF_LAYER, len(sigma))) @ np.linalg.cholesky(chain.covariance).T
    path, variances = _sgd(layer, start, (rate, size, steps), (both, U), rng)
    null = _linear(chain, start, steps, both, rng)
    seen = {name: [pk.area_rate(x[..., 2 * k : 2 * k + 2] * sqrt(beta), rate, LEVEL)
                   for x in (path, null)] for k, name in enumerate(planes)}  # fmt: skip
    rates = beta * chain.rate(rate)
    gibbs = np.trace(layer.noise) / len(sigma) * np.linalg.inv(layer.hessian)
    y, z = path[..., 1], null[..., 1]
    power = [(np.abs(np.fft.rfft(np.diff(a, axis=0), axis=0)) ** 2).mean(1) for a in (y, z)]
    return Prediction(
        {name: a.plane() for name, (a, _) in seen.items()},
        {name: b.plane() for name, (_, b) in seen.items()},
        {name: float((P.T @ rates @ P)[0, 1]) for name, P in planes.items()},
        {name: a.p_value for name, (a, _) in seen.items()},
        variances * beta, sigma, beta * _along(U, chain.covariance), _along(U, gibbs),
        np.array([part.sum() for part in np.array_split(power[0][1:], 8)])
        / np.array([part.sum() for part in np.array_split(power[1][1:], 8)]),
        _turns(planes["of most circulation"], made, layer.hessian),
    )  # fmt: skip


def _turns(plane: Array, made: Any, hessian: Array) -> float:
    """Area rate over mean square, 2 Q / tr Σ, over the mean rate of decay in the plane."""
    swept = 2 * (plane.T @ made.circulation @ plane)[0, 1]
    decay = np.trace(plane.T @ hessian @ plane) / 2
    return float(swept / np.trace(plane.T @ made.covariance @ plane) / decay)


def _layer_spreads(layer: LastLayer, steps: int, seed: int) -> list[Spread]:
    """The settings of the regression, with steps enough for an epoch of ten batches."""
    settings = [(0.1, 16, "with replacement"), (0.2, 32, "with replacement"),
                (0.1, 32, "with replacement"), (0.4, 128, "with replacement"),
                (0.4, 128, "without, in a batch"), (0.4, 128, "without, in an epoch")]  # fmt: skip
    return [_layer_spread(layer, *given, steps, seed + k) for k, given in enumerate(settings)]


def _layer_spread(layer: LastLayer, rate: float, size: int, name: str, steps: int, seed: int
                  ) -> Spread:  # fmt: skip
    n, d, rng = len(layer.inputs), len(layer.noise), np.random.default_rng(seed)
    factor = 1.0 if name == "with replacement" else (1 - size / n) * n / (n - 1)
    noise = rate**2 / size * factor * layer.noise
    covariance = Chain(np.eye(d) - rate * layer.hessian, noise).covariance
    start = rng.normal(size=(CHAINS_OF_LAYER, d)) @ np.linalg.cholesky(covariance).T
    _, squares = _sgd(layer, start, (rate, size, steps), (np.eye(d)[:, :0], np.eye(d)), rng, name)
    unit = rate / (2 * size) * np.trace(pk.decompose(layer.hessian, layer.noise).covariance)
    exact = np.nan if name == "without, in an epoch" else np.trace(covariance) / unit
    return Spread(rate, size, name, *_mean(squares.sum(1) / unit), float(exact), factor)


def _along(U: Array, matrix: Array) -> Array:
    return np.einsum("ik,ij,jk->k", U, matrix, U)


def _turning(Q: Array) -> Array:
    """The plane in which an antisymmetric matrix is largest, (d, 2), turning as it says."""
    values, vectors = np.linalg.eig(Q)
    z = vectors[:, values.imag.argmax()]
    plane = np.stack([z.real, z.imag], 1)
    plane /= np.linalg.norm(plane, axis=0)
    return plane if plane[:, 0] @ Q @ plane[:, 1] > 0 else plane[:, ::-1]


def _sgd(layer: LastLayer, start: Array, how: tuple[float, int, int], axes: tuple[Array, Array],
         rng: Any, name: str = "with replacement") -> tuple[Array, Array]:  # fmt: skip
    """Positions along the first axes (steps, chains, k), and mean squares along the second
    (chains, d) after a fifth of the steps, about the minimum."""
    (rate, size, steps), (both, U), (chains, d) = how, axes, start.shape
    V = start.reshape(chains, *layer.minimum.shape) + layer.minimum
    path, squares, looks = np.empty((steps, chains, both.shape[1])), np.zeros((chains, d)), 0
    for k, batch in zip(range(steps), SAMPLING[name](rng, len(layer.inputs), size, chains),
                        strict=False):  # fmt: skip
        V = V - rate * layer.gradient(V, batch)
        x = (V - layer.minimum).reshape(chains, d)
        path[k] = x @ both
        if k % 10 == 9 and k > steps // 5:
            squares += (x @ U) ** 2
            looks += 1
    return path, squares / looks


def _linear(chain: Chain, x: Array, steps: int, both: Array, rng: Any) -> Array:
    path, half = np.empty((steps, len(x), both.shape[1])), np.linalg.cholesky(chain.S).T
    for k in range(steps):
        x = x @ chain.A.T + rng.normal(size=x.shape) @ half
        path[k] = x @ both
    return path


# ---- (e) weak order ------------------------------------------------------------------------------

ANGLES = np.array([0.0, 0.4, 1.1, 2.0, 2.2])  # f_k = 1 - cos(x - θ_k): the mean of directions
NODES, HORIZON = 64, 2.0
RATES = tuple(0.2 / 2**k for k in range(9))


@dataclass(frozen=True)
class WeakOrder:
    """Largest |E φ(X_T) of SGD - E φ(X_T) of an equation| over all starts, φ = cos x, by rate η."""

    rates: Array
    errors: dict[str, Array]
    constant: float  # that of the expansion for (6.2)
    by_solver: float  # distance of the matrix exponential from pk.solve

    def order(self, name: str) -> float:
        e = self.errors[name]
        return float(np.log2(e[-2] / e[-1]))


def _weak() -> WeakOrder:
    x = 2 * pi * np.arange(NODES) / NODES
    d1, d2 = (_derivative(k) for k in (1, 2))
    slopes = np.sin(x[:, None] - ANGLES)  # f_k'
    f1, f2 = slopes.mean(1), np.cos(x[:, None] - ANGLES).mean(1)
    noise, phi = slopes.var(1), np.cos(x)
    flow, spread = -f1[:, None] * d1, noise[:, None] * d2
    bent = -(f1 * f2 / 2)[:, None] * d1  # of f + η f'²/4
    errors: dict[str, list[float]] = {"gradient flow": [], "(6.2)": [], "corrected": []}
    for rate in RATES:
        walk = np.mean([_interpolated(x - rate * s) for s in slopes.T], axis=0)
        walked = np.linalg.matrix_power(walk, round(HORIZON / rate)) @ phi
        half = rate / 2 * spread
        for name, L in zip(errors, (flow, flow + half, flow + half + rate * bent), strict=True):
            errors[name].append(np.abs(walked - linalg.expm(HORIZON * L) @ phi).max())
    # d/dη of e^{T (flow + η bent)} at η = 0
    block = np.block([[flow, bent], [np.zeros_like(flow), flow]])
    constant = np.abs(linalg.expm(HORIZON * block)[:NODES, NODES:] @ phi).max()
    both = linalg.expm(HORIZON * (flow + RATES[0] / 2 * spread)) @ phi
    return WeakOrder(np.array(RATES), {k: np.array(v) for k, v in errors.items()},
                     float(constant), _by_solver(both, x))  # fmt: skip


def _by_solver(there: Array, x: Array) -> float:
    """The same law by pk.solve on cells, at the largest rate, β⁻¹ = η/2."""
    loss = pk.potentials.Custom(
        lambda z: -sum(np.cos(z[..., 0] - a) for a in ANGLES) / len(ANGLES),
        lambda z: sum(np.sin(z - a) for a in ANGLES) / len(ANGLES), 1)  # fmt: skip
    equation = pk.BackwardKolmogorov(
        loss, 2 / RATES[0],
        diffusion=lambda z: np.sin(z - ANGLES).var(-1))  # fmt: skip
    grid = pk.Grid(0, 2 * pi, 2000, periodic=True)
    found = pk.solve(equation, grid, lambda z: np.cos(z[..., 0]), HORIZON).final.values
    return float(np.abs(np.interp(x, grid.axes[0], found, period=2 * pi) - there).max())


def _interpolated(places: Array) -> Array:
    """Matrix of trigonometric interpolation from the nodes to places."""
    apart = places[:, None] - 2 * pi * np.arange(NODES) / NODES
    waves = np.arange(1, NODES // 2)
    cosines = 2 * np.cos(apart[..., None] * waves).sum(-1) + np.cos(apart * NODES / 2)
    return (1 + cosines) / NODES


def _derivative(order: int) -> Array:
    waves = np.fft.fftfreq(NODES, 1 / NODES)
    waves[NODES // 2] *= order % 2 == 0
    modes = np.fft.fft(np.eye(NODES), axis=0) * ((1j * waves) ** order)[:, None]
    return np.fft.ifft(modes, axis=0).real


# ---- all together --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """What is seen of the digits: None without scikit-learn."""

    training: list[Training]
    prediction: Prediction
    spreads: list[Spread]


@dataclass(frozen=True)
class Results:
    """Everything that the figure and the claims are made of."""

    nulls: dict[str, Null]  # D = 1 (reversible) and diag(1, 2)
    circulation: Circulation
    spreads: list[Spread]
    weak: WeakOrder
    network: Network
    numbers: dict[str, Any]


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter chains.")] = False,
    steps: Annotated[int | None, typer.Option(min=600, help="Of SGD on the last layer.")] = None,
    gradients: Annotated[int | None, typer.Option(min=100, help="Of training.")] = None,
    seed: Annotated[int, typer.Option(help="Of all chains.")] = 0,
) -> Results:
    """Chains, the equation, particles, SGD on a regression, and SGD on a network."""
    rng, n = np.random.default_rng(seed), 2**13 if quick else 2**15
    steps = steps or (6_000 if quick else 100_000)
    gradients = gradients or (2_000 if quick else 6_000)
    seeds = [0] if quick else [0, 1, 2, 3]
    parts: dict[str, Any] = {}
    tasks: dict[str, Callable[[], Any]] = {
        "nulls": lambda: {"D = 1": _null(np.eye(2), n, rng), "D = diag(1, 2)": _null(D, n, rng)},
        "circulation": lambda: _circulation(quick, seed + 1),
        "spreads": lambda: _spreads(quick, seed + 10),
        "weak": _weak,
        "network": lambda: _network(steps, gradients, seeds, seed + 20),
    }
    with digits.one_thread(), tqdm(tasks.items(), desc="sgd_noise", unit="part") as bar:
        for name, task in bar:
            parts[name] = task()
    results = Results(**parts, numbers={})
    results.numbers.update(_numbers(results))
    return results


def _network(steps: int, gradients: int, seeds: list[int], seed: int) -> Network:
    data = digits.load()
    weights = digits.trained(lambda w, rate, _: torch.optim.SGD(w, rate), RATE_OF_TRAINING, [0],
                             1500, data)  # fmt: skip
    layer = LastLayer.of([w[0] for w in weights], data)
    return Network(
        _training(gradients, seeds, data), _last_layer(layer, 0.1, 16, steps, seed),
        _layer_spreads(layer, max(600, steps // 10), seed + 1),
    )  # fmt: skip


# ---- what is claimed -----------------------------------------------------------------------------


def _numbers(results: Results) -> dict[str, Any]:
    c = results.circulation
    return {
        "nulls": {name: {"rate": _listed(n.rate.plane()), "rate_exact": n.exact,
                         "p_value": n.rate.p_value, "frequencies_over_pi": n.frequencies.tolist(),
                         "power": n.power.tolist(), "power_expected": n.expected.tolist(),
                         "lags": list(LAGS), "autocorrelation": n.correlation.tolist(),
                         "autocorrelation_exact": n.correlation_exact.tolist()}
                  for name, n in results.nulls.items()},
        "area_rate": {"equation": c.equation, "particles": _listed(c.particles.plane()),
                      "particles_exact": c.particles_exact, "sgd": _listed(c.sgd.plane()),
                      "sgd_exact": {f"{k:g}": v for k, v in c.sgd_exact.items()}},
        "covariance": {"sgd": c.covariance.tolist(), "error": c.covariance_error.tolist(),
                       "exact": c.covariance_exact.tolist(), "implicit": COVARIANCE.tolist(),
                       "gibbs": GIBBS.tolist()},
        "spreads": [_row(s) for s in results.spreads],
        "weak_order": {"rates": results.weak.rates.tolist(), "constant": results.weak.constant,
                       **{k: v.tolist() for k, v in results.weak.errors.items()}},
    } | _of_the_network(results.network)  # fmt: skip


def _of_the_network(seen: Network) -> dict[str, Any]:
    p = seen.prediction
    return {
        "training": [{k: v for k, v in vars(t).items() if k != "eigenvalues"}
                     for t in seen.training],
        "last_layer": {
            "spreads": [_row(s) for s in seen.spreads], "rates": _listings(p.planes),
            "rates_of_linear_chain": _listings(p.planes_null), "rates_exact": p.planes_exact,
            "p_values": p.p_values, "radians_in_a_relaxation_time": p.turns,
            "trace": list(_mean(p.variances.sum(1))), "trace_implicit": p.implicit.sum(),
            "trace_of_linear_chain": p.discrete.sum(), "trace_gibbs": p.gibbs.sum(),
            "spectrum_over_linear_chain": p.spectrum.tolist(),
            "variances_off": {name: _off(p.variances, law) for name, law in _laws(p).items()},
        },
    }  # fmt: skip


def _row(spread: Spread) -> dict[str, Any]:
    return vars(spread) | {"exact": spread.exact if np.isfinite(spread.exact) else None}


def _listed(estimate: Any) -> list[float]:
    return [estimate.value, estimate.lower, estimate.upper]


def _listings(estimates: dict[str, Any]) -> dict[str, list[float]]:
    return {name: _listed(e) for name, e in estimates.items()}


def _mean(each: Array) -> tuple[float, float]:
    return float(each.mean()), float(each.std(ddof=1) / sqrt(len(each)))


def _laws(p: Prediction) -> dict[str, Array]:
    return {"implicit": p.implicit, "linear chain": p.discrete, "gibbs": p.gibbs}


def _off(variances: Array, law: Array) -> float:
    """Root mean square over directions of log(measured / predicted)."""
    return float(np.sqrt((np.log(variances.mean(0) / law) ** 2).mean()))


def claims(results: Results) -> list[Claim]:
    """The sentences of the figure, each with its measured number."""
    made = [c for name, null in results.nulls.items() for c in _of_a_null(name, null)]
    made += [*_of_circulation(results.circulation), *_of_spreads("regression", results.spreads),
             *_of_order(results.weak)]  # fmt: skip
    made += _of_training(results.network.training) + _of_prediction(results.network.prediction)
    made += _of_spreads("last layer", results.network.spreads)
    return made


def _within(text: str, rates: Any, exact: float) -> Claim:
    """An area rate in its interval of level LEVEL."""
    reach = float(rates.upper - rates.value)
    return at_most(f"{text}, off by (its {LEVEL:.1%} interval)", abs(rates.value - exact), reach)


def _of_a_null(name: str, null: Null) -> list[Claim]:
    reversible = name == "D = 1"
    white = 2.58 / sqrt(null.steps)
    return [
        at_most(f"{name}: spectrum of increments is the exact one, worst band in standard errors",
                np.abs(null.power_z).max(), 4),
        at_most(f"{name}: autocorrelation is (1 - ηλ)^k or its like, worst lag in errors",
                np.abs(null.correlation_z).max(), 4),
        at_most(f"{name}: yet its spectrum is not flat: lowest band over highest",
                null.power[0] / null.power[-1], 0.3),
        at_least(f"{name}: and its autocorrelation at lag 100 is above white noise's 99 % band by",
                 null.correlation[LAGS.index(100)] / white, 5),
        _within(f"{name}: area rate", null.rate.plane(), null.exact),
        at_least(f"{name}: p-value of reversibility", null.rate.p_value, 0.01) if reversible else
        at_most(f"{name}: p-value of reversibility", null.rate.p_value, 0.01),
    ]  # fmt: skip


def _of_circulation(seen: Circulation) -> list[Claim]:
    first, second, _ = seen.sgd_exact.values()
    away = np.abs(seen.covariance - seen.covariance_exact) / seen.covariance_error
    return [
        at_most("area rate 0.4 by the equation, off by", abs(seen.equation["diag(1, 2)"] - RATE),
                1e-3),
        at_most("D = 1: area rate 0 by the equation", abs(seen.equation["1"]), 1e-9),
        _within("area rate by particles", seen.particles.plane(), seen.particles_exact),
        _within("area rate by SGD on the regression", seen.sgd.plane(),
                list(seen.sgd_exact.values())[-1]),
        at_least("area rate by SGD: lower end", seen.sgd.plane().lower, 0.3),
        at_most("its exact rate goes to 0.4 with η, extrapolation off by",
                abs(2 * first - second - RATE), 1e-3),
        at_most("covariance by SGD on the regression, standard errors off the exact", away.max(),
                4),
        at_most("it is that of the implicit potential, largest entry off by",
                np.abs(seen.covariance - COVARIANCE).max(), 0.08),
        at_least("and not that of e^{-βf} with noise of the same trace, off by",
                 np.abs(seen.covariance - GIBBS).max(), 0.15),
    ]  # fmt: skip


def _of_spreads(what: str, spreads: list[Spread]) -> list[Claim]:
    independent = [s for s in spreads if np.isfinite(s.exact)]
    one, both, half, _, *_ = (s.mean * s.rate / s.size for s in spreads)
    last = [s for s in spreads if s.sampling == "without, in an epoch"]
    made = [
        at_most(f"{what}: stationary tr Cov, independent batches, worst in standard errors off the "
                "linear chain", max(abs(s.mean - s.exact) / s.error for s in independent), 4),
        at_most(f"{what}: and off (6.4), (6.5) relatively",
                max(abs(s.mean / s.formula - 1) for s in independent), 0.08),
        at_most(f"{what}: η and b doubled together leave it, to", abs(both / one - 1), 0.08),
        at_most(f"{what}: b doubled alone halves it, to", abs(half / one - 0.5), 0.04),
        at_most(f"{what}: without replacement in an epoch, over (6.5)",
                max(s.mean / s.formula for s in last), 0.15),
    ]  # fmt: skip
    if what == "regression":
        power = 1 + np.log2(last[0].mean / last[1].mean)
        made.append(at_least(f"{what}: there tr Cov falls like η to the power", power, 2.8))
    return made


def _of_order(weak: WeakOrder) -> list[Claim]:
    return [
        at_most("SGD is (6.2) to weak order 1: order off by", abs(weak.order("(6.2)") - 1), 0.02),
        at_most("with the constant of the expansion, relatively",
                abs(weak.errors["(6.2)"][-1] / weak.rates[-1] / weak.constant - 1), 0.02),
        at_most("but to the gradient flow without noise too: order off by",
                abs(weak.order("gradient flow") - 1), 0.02),
        at_least("and to order 2 to (6.2) with f + η|∇f|²/4", weak.order("corrected"), 1.95),
        at_most("the law of (6.2) by pk.solve, off by", weak.by_solver, 5e-4),
    ]  # fmt: skip


def _fall(training: list[Training], decay: float) -> Array:
    """Of the trace from 20 to 100 % of training, by seed."""
    first, last = ([t.trace for t in training if (t.decay, t.share) == (decay, share)]
                   for share in (SHARES[0], SHARES[-1]))  # fmt: skip
    return np.array(first) / np.array(last)


def _of_training(training: list[Training]) -> list[Claim]:
    counts = [t.directions for t in training]
    return [
        at_least("without weight decay D is not constant: its trace falls from 20 to 100 % of "
                 "training, least factor",
                 _fall(training, DECAYS[0]).min(), 5),
        at_most("with weight decay it nearly is, greatest factor", _fall(training, DECAYS[1]).max(),
                4),
        at_most("90 % of D in few of 2,410 directions: most", max(counts), 40),
        at_least("least", min(counts), 15),
        at_least("its rank in double precision, over that in single: least",
                 min(t.ranks[0] / t.ranks[1] for t in training), 4),
    ]  # fmt: skip


def _of_prediction(p: Prediction) -> list[Claim]:
    trace, error = _mean(p.variances.sum(1))
    noisy, turning = p.planes
    return [
        *(_within(f"last layer: area rate in the plane {name} is that of its F and D", rate,
                  p.planes_exact[name]) for name, rate in p.planes.items()),
        at_least(f"in the plane {noisy} it may be zero: p-value", p.p_values[noisy], 0.01),
        at_most(f"in the plane {turning} it is not: p-value", p.p_values[turning], 0.01),
        at_most("and turns by radians in the time of its relaxation", p.turns, 0.5),
        at_most("spectrum of SGD's increments along D's first direction over the linear chain's, "
                "worst of eight bands less 1", np.abs(p.spectrum - 1).max(), 0.1),
        at_most("last layer: tr Cov by the implicit potential, relatively",
                abs(trace / p.implicit.sum() - 1), 0.03, allowance=4 * error / trace),
        at_most("the variances in all 81 directions, rms of logarithms",
                _off(p.variances, p.implicit), 0.1),
        at_least("by e^{-βf} with noise of the same trace",
                 _off(p.variances, p.gibbs), 1.0),
        at_most("which has directions in the reverse order: rank correlation",
                stats.spearmanr(p.variances.mean(0), p.gibbs).statistic, -0.5),
    ]  # fmt: skip


# ---- the figure ----------------------------------------------------------------------------------

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple")
MARKERS = ("o", "s", "^", "D")


def plot(results: Results) -> Figure:
    """The null model, circulation, spreads and weak order; with digits D and the last layer."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplots(2, 3)
    _spectra_panel(axes[0, 0], results.nulls)
    _rates_panel(axes[0, 1], results)
    _weak_panel(axes[0, 2], results.weak)
    _spread_panel(axes[1, 0], results)
    _training_panel(axes[1, 1], results.network.training)
    _variance_panel(axes[1, 2], results.network.prediction)
    return figure


def _spectra_panel(ax: Any, nulls: dict[str, Null]) -> None:
    names = ("reversible", "circulating")
    for k, (name, null) in enumerate(zip(names, nulls.values(), strict=True)):
        ax.loglog(null.frequencies, null.power, MARKERS[k], color=COLOURS[k], mfc="none",
                  label=name)  # fmt: skip
        ax.loglog(null.frequencies, null.expected, "-" if k else "--", color=COLOURS[k], lw=1)
    ax.axhline(1, color="black", lw=0.8, ls=":", label="white noise")
    ax.set(title="Linear chains: spectra of increments",
           xlabel="frequency / π", ylabel="power")  # fmt: skip
    ax.legend(fontsize=9, frameon=False, loc="lower right")


def _rates_panel(ax: Any, results: Results) -> None:
    c, (still, going) = results.circulation, results.nulls.values()
    rows = [("chain, D = 1", still.rate.plane(), still.exact),
            ("chain, D = diag(1, 2)", going.rate.plane(), going.exact),
            ("particles", c.particles.plane(), c.particles_exact),
            ("SGD, regression", c.sgd.plane(), list(c.sgd_exact.values())[-1])]  # fmt: skip
    p = results.network.prediction
    rows += [(f"SGD, last layer,\n{name} (x 10)", pk.comparison.Estimate(
                  *(10 * v for v in _listed(rate))), 10 * p.planes_exact[name])
             for name, rate in p.planes.items()]  # fmt: skip
    for k, (_, rate, exact) in enumerate(rows):
        ax.plot([rate.lower, rate.upper], [k, k], color=COLOURS[0], lw=2)
        ax.plot(rate.value, k, "o", color=COLOURS[0])
        ax.plot(exact, k, "|", color="black", ms=16, mew=1.5)
    ax.axvline(0, color="black", lw=0.8, ls=":")
    ax.axvline(RATE, color="black", lw=0.8, ls="--")
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=9)
    ax.invert_yaxis()
    ax.set(title=f"Area rates, {LEVEL:.1%} intervals; bars: exact", xlabel="β x area / time")


def _weak_panel(ax: Any, weak: WeakOrder) -> None:
    labels = {"gradient flow": "gradient flow, no noise", "(6.2)": "(6.2)",
              "corrected": "(6.2) with f + η|∇f|²/4"}  # fmt: skip
    for k, (name, errors) in enumerate(weak.errors.items()):
        ax.loglog(weak.rates, errors, MARKERS[k] + "-", color=COLOURS[k], lw=1,
                  label=f"{labels[name]}: order {weak.order(name):.2f}")  # fmt: skip
    ax.loglog(weak.rates, weak.constant * weak.rates, "--", color="black", lw=0.8,
              label=f"{weak.constant:.3f} η")  # fmt: skip
    ax.set(title="Weak error of continuous limits", xlabel="η", ylabel="largest over starts")
    ax.set_ylim(1e-7, 50)
    ax.legend(fontsize=9, frameon=False, loc="upper left")


def _spread_panel(ax: Any, results: Results) -> None:
    sets = {"regression": results.spreads}
    sets["last layer"] = results.network.spreads
    rows = [(what, s) for what, spreads in sets.items() for s in spreads]
    for k, (_, s) in enumerate(rows):
        which = list(SAMPLING).index(s.sampling)
        ax.errorbar(s.mean, k, xerr=3 * s.error, fmt=MARKERS[which], color=COLOURS[which], ms=6)
        ax.plot(s.formula, k, "|", color="black", ms=14, mew=1.5)
    for name, marker, colour in zip(SAMPLING, MARKERS, COLOURS, strict=False):
        ax.plot([], [], marker, color=colour, label=name)
    ax.set_yticks(range(len(rows)), [f"{what}, {s.rate:g}, {s.size}" for what, s in rows],
                  fontsize=9)  # fmt: skip
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set(title="Spread for η, b; bars: lemma 6.3", xlabel="tr Cov over that of η/b, (6.4)")
    ax.legend(fontsize=9, frameon=False, loc=(0.1, 0.3))


def _training_panel(ax: Any, training: list[Training]) -> None:
    for k, share in enumerate(SHARES):
        for decay, style in zip(DECAYS, ("-", "--"), strict=True):
            seen = [t for t in training if (t.decay, t.share) == (decay, share)]
            mean = np.exp(np.mean([np.log(t.eigenvalues[:300]) for t in seen], axis=0))
            trace, note = np.mean([t.trace for t in seen]), ", decay" if decay else ""
            ax.loglog(np.arange(1, 301), mean, style, color=COLOURS[k],
                      label=f"{share:.0%}{note}: trace {trace:.2g}")  # fmt: skip
    ax.set(title="Digits: eigenvalues of D in training", xlabel="number", ylabel="eigenvalue")
    ax.legend(fontsize=9, frameon=False, loc="lower left")


def _variance_panel(ax: Any, p: Prediction) -> None:
    mean = p.variances.mean(0)
    ends = [0.5 * mean.min(), 2 * max(mean.max(), p.gibbs.max())]
    ax.loglog(p.gibbs, mean, "s", color=COLOURS[1], ms=4, label="by exp(-βf), same trace of D")
    ax.loglog(p.implicit, mean, "o", color=COLOURS[0], ms=4, label="by the implicit potential, Σ")
    ax.plot(ends, ends, color="black", lw=0.8, ls=":")
    ax.set(title="Last layer: β x variances", xlabel="predicted",
           ylabel="of SGD")  # fmt: skip
    ax.legend(fontsize=9, frameon=False)
