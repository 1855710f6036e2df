"""Optimizers and the algorithms they are: a row puts one under every test of test_optimizers.py.

The algorithms are written as in the papers, with the corrections of docs/errata.md, for all
parameters in one vector x. An option is a number, or a vector where parameter groups differ. They
share nothing with the optimizers but the normals: averages, schedules and bases are written again.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from pdekit import optim
from pdekit.optim.schedules import Linear, Scoping
from pdekit.particles import LastIterate, LinearAverage

OPTIMIZERS = [v for v in (getattr(optim, n) for n in optim.__all__) if isinstance(v, type)]

Grad = Callable[[np.ndarray], np.ndarray]
Normals = Callable[..., np.ndarray]
NOTHING: Mapping[str, Any] = MappingProxyType({})


def first(losses: list[float]) -> float:
    """f(x), of the first closure call."""
    return losses[0]


def mean(losses: list[float]) -> float:
    """The mean over the samples."""
    return float(np.mean(losses))


class Case(NamedTuple):
    """An optimizer with options, and its algorithm.

    ``reference(x, grad, normals, **options)`` yields x after each step; ``grad(x, a)`` is that of
    replica a, ``normals(k)`` are those of its k-th gradient, ``normals(k, row=a, rows=n)`` with n
    replicas, ``normals(k, channel=1)`` the ones that are drawn once.
    """

    name: str
    cls: Any
    reference: Callable[..., Iterator[np.ndarray]]
    options: dict[str, Any]
    calls: int = 1  # of the closure in a step; where there are several a closure is needed
    second: Mapping[str, Any] = NOTHING  # which of the options differ in the second of two groups
    known: Mapping[str, Any] = NOTHING  # what the reference is told besides
    loss: Callable[[list[float]], float] = first
    noisy: bool = False  # whether the seed matters
    lag: int = 0  # steps until the parameters move

    def make(self, params: Any, **changes: Any) -> Any:
        """The optimizer over ``params``."""
        return self.cls(params, **{**self.options, **changes})

    def in_two_groups(self, first: list[Any], second: list[Any], **changes: Any) -> Any:
        """The optimizer over two groups that differ as ``second`` says."""
        return self.make([{"params": first}, {"params": second, **self.second}], **changes)


# ---- steps of torch's optimizers, by hand: x and its gradient give x


def adam(lr):
    """Kingma and Ba."""
    m = v = 0.0
    k = 0

    def step(x, g):
        nonlocal m, v, k
        k, m, v = k + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return x - lr * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)

    return step


def nesterov(lr):
    """As torch writes it, momentum 0.8."""
    moved = None

    def step(x, g):
        nonlocal moved
        moved = g if moved is None else 0.8 * moved + g
        return x - lr * (g + 0.8 * moved)

    return step


def descent(lr):
    """x - η g."""
    return lambda x, g: x - lr * g


def torch_nesterov(params):
    """The same of torch."""
    return torch.optim.SGD(params, lr=0.1, momentum=0.8, nesterov=True)


def exponential(alpha):
    """z ← α z + (1 - α) y."""

    def average(x, ys):
        z = x
        for y in ys:
            z = alpha * z + (1 - alpha) * y
        return z

    return average


def linear(x, ys):
    """Their mean."""
    return sum(ys) / len(ys)


def at(option, k):
    """A scheduled option after k steps."""
    return option(k) if callable(option) else option


# ---- the algorithms


def sgld(x, grad, normals, lr, temperature, weight_decay=0.0):
    """Mathematics 1.10: Euler's step of dX = -∇f dt + √(2T) dB."""
    for k in range(10**9):
        T = at(temperature, k)
        x = x - lr * (grad(x) + weight_decay * x) + np.sqrt(2 * lr * T) * normals(k)
        yield x


def walk(y, x, grad, gamma, eta, T, normals):
    """The iterates of the inner loop; ``normals`` is a list of them."""
    ys = []
    for xi in normals:
        y = y - eta * (grad(y) - (x - y) / gamma) + np.sqrt(2 * eta * T) * xi
        ys.append(y)
    return ys


def entropy_sgd(
    x, grad, normals, lr, gamma=None, inner_steps=20, temperature=0, inner_lr=None, alpha=0.25,
    average=None, burn_in=1, base=descent, weight_decay=0.0,
):  # fmt: skip
    """Thesis, Algorithm 2 with line 6 as x ← x - (η/γ)(x - z) (errata 20, 59)."""
    average, step = average or exponential(alpha), base(lr)
    gamma = lr if gamma is None else gamma
    for k in range(10**9):
        g, T = at(gamma, k), at(temperature, k)
        eta = 2 * g / (inner_steps + 1) if inner_lr is None else inner_lr
        drawn = [normals(k * inner_steps + i) for i in range(inner_steps)]
        ys = [x, *walk(x, x, grad, g, eta, T, drawn)]
        z = average(ys[burn_in - 1], ys[burn_in:])
        x = step((1 - lr * weight_decay) * x, (x - z) / g)
        yield x


def last(x, ys):
    """The last iterate."""
    return ys[-1]


def hj(x, grad, normals, lr, gamma=None, inner_steps=5, inner_lr=None, **others):
    """Thesis 4.6.1.2: the last y in place of the mean, and no noise."""
    return entropy_sgd(x, grad, normals, lr, gamma, inner_steps, 0.0, inner_lr, average=last,
                       **others)  # fmt: skip


def hj_dual(x, grad, normals, lr, gamma=None, inner_steps=5, inner_lr=None, dual=True,
            base=descent, weight_decay=0.0):  # fmt: skip
    """Thesis (4.42): y is the distance from x."""
    gamma, step = lr if gamma is None else gamma, base(lr)
    eta = 2 * gamma / (inner_steps + 1) if inner_lr is None else inner_lr
    while True:
        y = np.zeros_like(x)
        for _ in range(inner_steps):
            y = (1 - eta / gamma) * y + eta * grad(x - y)
        x = step((1 - lr * weight_decay) * x, grad(x - y))
        yield x


def heat(x, grad, normals, lr, gamma, inner_steps, temperature=1.0, base=descent,
         weight_decay=0.0):  # fmt: skip
    """Thesis (4.43) with ε ~ N(0, γT) (errata 30)."""
    k, step = 0, base(lr)
    while True:
        width = np.sqrt(at(gamma, k // inner_steps) * temperature)
        slope = sum(grad(x + width * normals(k + i)) for i in range(inner_steps)) / inner_steps
        x = step((1 - lr * weight_decay) * x, slope)
        k += inner_steps
        yield x


def antithetic_heat(x, grad, normals, lr, gamma, inner_steps, temperature=1.0, antithetic=True):
    """The same, where every second ε is minus the one before."""
    k = 0
    while True:
        drawn = [np.sqrt(gamma * temperature) * normals(k + i) for i in range(0, inner_steps, 2)]
        total = sum(grad(x + e) + grad(x - e) for e in drawn)
        x = x - lr / inner_steps * total
        k += inner_steps
        yield x


def trivialized_sgd(x, grad, normals, lr, coupling, decay, layers, base=descent,
                    weight_decay=0.0):  # fmt: skip
    """Thesis, Algorithm 1 with (1 + (τ_i/n)(2p - 2)/(p - 2))^{1/2} on line 9 (errata 54)."""
    p, step = layers, base(lr)
    h = coupling * np.sqrt(p * (p - 2)) * normals(0, channel=1)
    for i in range(10**9):
        tau = np.exp(-i / decay) - 0.5
        h_now = np.sqrt(np.maximum(1 + tau * (2 * p - 2) / (p - 2), 0)) * h
        x = step((1 - lr * weight_decay) * x, grad(x) + h_now)
        yield x


def momentum(x, grad, normals, lr, momentum=None, compensation=0.0, restart=True,
             weight_decay=0.0):  # fmt: skip
    """Report (33), (34), (35), γ recomputed in every step (errata 69); yields u."""
    u = w = x
    alpha = 1
    while True:
        gamma = (alpha - 1) / (alpha + 2) if restart else momentum
        g = grad(u)
        ahead = (1 - lr * weight_decay) * u - lr * g
        u = (1 + gamma) * ahead - gamma * w + lr * compensation * g
        if g @ (ahead - w) > 0:
            alpha = 1
        alpha += 1
        w = ahead
        yield u


def elastic(x, grad, normals, lr, rho, replicas, master_lr=None, base=descent,
            weight_decay=0.0):  # fmt: skip
    """Thesis (5.4) with the attraction of errata 28."""
    n, xs, steps = replicas, [x] * replicas, [base(lr) for _ in range(replicas)]
    for k in range(10**9):
        p, middle = at(rho, k), sum(xs) / n
        fastest = lr if base is descent else np.inf
        share = np.minimum(fastest, p / n) if master_lr is None else master_lr
        xs = [step((1 - lr * weight_decay) * r, grad(r, a) + (r - x) / p)
              for a, (r, step) in enumerate(zip(xs, steps, strict=True))]  # fmt: skip
        x = x - n * share / p * (x - middle)
        yield x


def parle(x, grad, normals, lr, gamma, rho, inner_steps, replicas, inner_lr, alpha=0.25,
          temperature=0.0, base=descent, weight_decay=0.0):  # fmt: skip
    """Thesis (5.8), with the rates of 5.3.2."""
    n, xs, steps = replicas, [x] * replicas, [base(lr) for _ in range(replicas)]
    for k in range(10**9):
        g, p, middle, moved = at(gamma, k), at(rho, k), sum(xs) / n, []
        for a, r in enumerate(xs):
            drawn = [normals(k * inner_steps + i, row=a, rows=n) for i in range(inner_steps)]
            ys = walk(r, r, lambda y, a=a: grad(y, a), g, inner_lr, temperature, drawn)
            z = exponential(alpha)(r, ys)
            moved.append(steps[a]((1 - lr * weight_decay) * r, r - z + (r - x) / p))
        xs, x = moved, middle
        yield x


def mf_sgld(x, grad, normals, lr, strength, replicas, temperature, weight_decay=0.0):
    """Kantas et al. (5) by Euler's method, Curie and Weiss' interaction; yields the mean."""
    n, xs = replicas, [x] * replicas
    for k in range(10**9):
        middle, T = sum(xs) / n, at(temperature, k)
        down = [grad(r, a) + weight_decay * r + strength * (r - middle) for a, r in enumerate(xs)]
        drawn = [np.sqrt(2 * lr * T) * normals(k, row=a, rows=n) for a in range(n)]
        xs = [r - lr * d + xi for r, d, xi in zip(xs, down, drawn, strict=True)]
        yield sum(xs) / n


def mf_hom_sgld(x, grad, normals, lr, gamma, strength, inner_steps, burn_in, replicas,
                temperature, inner_lr, weight_decay=0.0):  # fmt: skip
    """Kantas et al., Algorithm 1, corrected as in mathematics 1.10; yields the mean."""
    n, xs, warm = replicas, [x] * replicas, [x] * replicas
    for k in range(10**9):
        g, middle = at(gamma, k), sum(xs) / n
        for a in range(n):
            drawn = [normals(k * inner_steps + i, row=a, rows=n) for i in range(inner_steps)]
            ys = walk(warm[a], xs[a], lambda y, a=a: grad(y, a), g, inner_lr, temperature, drawn)
            warm[a], r, z = ys[-1], xs[a], linear(xs[a], ys[burn_in - 1 :])
            down = (r - z) / g + strength * (r - middle) + weight_decay * r
            xs[a] = r - lr * down
        yield sum(xs) / n


def narrowing(initial, batches, floor):
    """(5.10)."""
    return lambda k: max(initial * (1 - 1 / (2 * batches)) ** k, floor)


def cooling(initial, last, steps):
    """A straight line."""
    return lambda k: initial + (last - initial) * min(1, k / steps)


CASES = [
    Case("SGD", optim.SGLD, sgld, {"lr": 0.1, "temperature": 0.0}, second={"lr": 0.03}),
    Case(
        "SGLD",
        optim.SGLD,
        sgld,
        {"lr": 0.1, "temperature": 0.3},
        second={"lr": 0.02, "temperature": 0.7},
        noisy=True,
    ),
    Case(
        "EntropySGD",
        optim.EntropySGD,
        entropy_sgd,
        {"lr": 0.2},
        calls=20,
        second={"lr": 0.05},
    ),
    Case(
        "EntropySGD, warm",
        optim.EntropySGD,
        entropy_sgd,
        {"lr": 0.2, "gamma": 0.5, "inner_steps": 6, "temperature": 0.1, "alpha": 0.25},
        calls=6,
        second={"lr": 0.1, "gamma": 0.8, "temperature": 0.3, "alpha": 0.6},
        noisy=True,
    ),
    Case(
        "EntropySGD, last y",
        optim.EntropySGD,
        entropy_sgd,
        {
            "lr": 0.3,
            "gamma": 0.4,
            "inner_steps": 3,
            "temperature": 0.2,
            "inner_lr": 0.05,
            "alpha": 0.0,
        },
        calls=3,
        second={"lr": 0.1, "temperature": 0.0, "inner_lr": 0.11},
        noisy=True,
    ),
    Case(
        "EntropySGD, long mean",
        optim.EntropySGD,
        entropy_sgd,
        {"lr": 0.3, "gamma": 0.4, "inner_steps": 9, "inner_lr": 0.08, "alpha": 0.9},
        calls=9,
        second={"lr": 0.5, "gamma": 0.6},
    ),
    Case(
        "HJ",
        optim.HJ,
        hj,
        {"lr": 0.2},
        calls=5,
        second={"lr": 0.05},
    ),
    Case(
        "HJ, slow",
        optim.HJ,
        hj,
        {"lr": 0.1, "gamma": 0.7, "inner_steps": 4, "inner_lr": 0.05},
        calls=4,
        second={"lr": 0.3, "inner_lr": 0.1},
    ),
    Case(
        "HJ, dual",
        optim.HJ,
        hj_dual,
        {"lr": 0.2, "gamma": 0.4, "dual": True},
        calls=6,
        second={"lr": 0.05, "gamma": 0.3},
    ),
    Case(
        "HEAT",
        optim.HEAT,
        heat,
        {"lr": 0.1, "gamma": 0.2, "inner_steps": 3, "temperature": 0.5},
        calls=3,
        second={"lr": 0.05, "gamma": 0.1, "temperature": 0.9},
        loss=mean,
        noisy=True,
    ),
    Case(
        "HEAT, antithetic",
        optim.HEAT,
        antithetic_heat,
        {"lr": 0.1, "gamma": 0.2, "inner_steps": 4, "temperature": 1.0, "antithetic": True},
        calls=4,
        second={"lr": 0.05, "gamma": 0.1, "temperature": 0.4},
        loss=mean,
        noisy=True,
    ),
    Case(
        "TrivializedSGD",
        optim.TrivializedSGD,
        trivialized_sgd,
        {"lr": 0.1, "coupling": 0.2, "decay": 20.0},
        second={"lr": 0.05, "coupling": 0.4, "decay": 60.0},
        known={"layers": 4},  # tensors of the problem with two dimensions or more
        noisy=True,
    ),
    Case(
        "TrivializedSGD, three layers",
        optim.TrivializedSGD,
        trivialized_sgd,
        {"lr": 0.1, "coupling": 0.2, "decay": 20.0, "layers": 3},
        second={"layers": 7},
        noisy=True,
    ),
    Case("NesterovRestart", optim.NesterovRestart, momentum, {"lr": 0.1}, second={"lr": 0.03}),
    Case(
        "MaSS",
        optim.MaSS,
        momentum,
        {"lr": 0.1, "momentum": 0.8, "compensation": 0.2},
        second={"lr": 0.03, "momentum": 0.6, "compensation": 0.4},
        known={"restart": False},
    ),
    Case(
        "MaSS, restarted",
        optim.MaSS,
        momentum,
        {"lr": 0.1, "compensation": 0.2, "restart": True},
        second={"lr": 0.03, "compensation": 0.4},
    ),
    # ---- averages, bases, decay, schedules
    Case(
        "SGLD, decayed and cooled",
        optim.SGLD,
        sgld,
        {"lr": 0.1, "temperature": Linear(0.3, 0.05, 40), "weight_decay": 0.3},
        second={"weight_decay": 0.1},
        known={"temperature": cooling(0.3, 0.05, 40)},
        noisy=True,
    ),
    Case(
        "EntropySGD, linear mean",
        optim.EntropySGD,
        entropy_sgd,
        {
            "lr": 0.3,
            "gamma": 0.4,
            "inner_steps": 7,
            "temperature": 0.1,
            "average": LinearAverage(),
            "burn_in": 3,
            "weight_decay": 0.2,
        },
        calls=7,
        second={"lr": 0.2, "weight_decay": 0.0},
        known={"average": linear},
        noisy=True,
    ),
    Case(
        "Entropy-Adam",
        optim.EntropySGD,
        entropy_sgd,
        {"lr": 0.01, "gamma": 0.2, "inner_steps": 4, "base": torch.optim.Adam},
        calls=4,
        second={"lr": 0.003, "gamma": 0.3},
        known={"base": adam},
    ),
    Case(
        "EntropySGD, Nesterov, scoped",
        optim.EntropySGD,
        entropy_sgd,
        {
            "lr": 0.05,
            "gamma": Scoping(0.8, 9, floor=0.4),
            "inner_steps": 4,
            "inner_lr": 0.05,
            "average": LastIterate(),
            "base": torch_nesterov,
            "weight_decay": 0.3,
        },
        calls=4,
        second={"lr": 0.02, "weight_decay": 0.1},
        known={"base": nesterov, "gamma": narrowing(0.8, 9, 0.4), "average": last},
    ),
    Case(
        "HJ, Adam",
        optim.HJ,
        hj,
        {"lr": 0.03, "gamma": 0.4, "inner_steps": 3, "base": torch.optim.Adam, "weight_decay": 0.2},
        calls=3,
        second={"lr": 0.01},
        known={"base": adam},
    ),
    Case(
        "HJ, dual, Nesterov",
        optim.HJ,
        hj_dual,
        {"lr": 0.05, "gamma": 0.4, "dual": True, "base": torch_nesterov, "weight_decay": 0.2},
        calls=6,
        second={"lr": 0.02, "weight_decay": 0.0},
        known={"base": nesterov},
    ),
    Case(
        "HEAT, decayed, scoped",
        optim.HEAT,
        heat,
        {"lr": 0.1, "gamma": Scoping(0.2, 5, floor=0.05), "inner_steps": 2, "weight_decay": 0.3},
        calls=2,
        second={"lr": 0.05},
        known={"gamma": narrowing(0.2, 5, 0.05)},
        loss=mean,
        noisy=True,
    ),
    Case(
        "HEAT, Adam",
        optim.HEAT,
        heat,
        {"lr": 0.03, "gamma": 0.1, "inner_steps": 2, "base": torch.optim.Adam},
        calls=2,
        second={"lr": 0.01},
        known={"base": adam},
        loss=mean,
        noisy=True,
    ),
    Case(
        "TrivializedSGD, Adam",
        optim.TrivializedSGD,
        trivialized_sgd,
        {"lr": 0.03, "coupling": 0.2, "decay": 20.0, "base": torch.optim.Adam, "weight_decay": 0.2},
        second={"lr": 0.01, "coupling": 0.4},
        known={"layers": 4, "base": adam},
        noisy=True,
    ),
    Case(
        "NesterovRestart, decayed",
        optim.NesterovRestart,
        momentum,
        {"lr": 0.1, "weight_decay": 0.2},
        second={"lr": 0.03, "weight_decay": 0.1},
    ),
    Case(
        "MaSS, decayed",
        optim.MaSS,
        momentum,
        {"lr": 0.1, "momentum": 0.8, "compensation": 0.2, "weight_decay": 0.2},
        second={"momentum": 0.6},
        known={"restart": False},
    ),
    # ---- replicas
    Case(
        "ElasticSGD",
        optim.ElasticSGD,
        elastic,
        {"lr": 0.05, "rho": 0.4, "master_lr": 0.03, "replicas": 3},
        calls=3,
        second={"lr": 0.02, "rho": 0.7},
        loss=mean,
        lag=1,
    ),
    Case(
        "ElasticSGD, decayed, scoped",
        optim.ElasticSGD,
        elastic,
        {"lr": 0.1, "rho": Scoping(1.0, 4, floor=0.4, every=1), "weight_decay": 0.2, "replicas": 2},
        calls=2,
        second={"lr": 0.05},
        known={"rho": narrowing(1.0, 4, 0.4)},
        loss=mean,
        lag=1,
    ),
    Case(
        "ElasticSGD, Nesterov",
        optim.ElasticSGD,
        elastic,
        {"lr": 0.05, "rho": 0.8, "base": torch_nesterov, "weight_decay": 0.2, "replicas": 2},
        calls=2,
        second={"lr": 0.02, "rho": 0.7},
        known={"base": nesterov},
        loss=mean,
        lag=1,
    ),
    Case(
        "Parle",
        optim.Parle,
        parle,
        {
            "lr": 0.2,
            "rho": Scoping(1.0, 6, floor=0.5),
            "gamma": Scoping(2.0, 6, floor=1.0),
            "inner_steps": 3,
            "inner_lr": 0.05,
            "temperature": 0.1,
            "weight_decay": 0.1,
            "replicas": 3,
        },
        calls=9,
        second={"lr": 0.3, "alpha": 0.5, "temperature": 0.3},
        known={
            "rho": narrowing(1.0, 6, 0.5),
            "gamma": narrowing(2.0, 6, 1.0),
        },
        loss=lambda losses: mean(losses[::3]),
        noisy=True,
        lag=1,
    ),
    Case(
        "Parle, Adam",
        optim.Parle,
        parle,
        {
            "lr": 0.03,
            "rho": 1.0,
            "gamma": 2.0,
            "inner_steps": 2,
            "inner_lr": 0.1,
            "base": torch.optim.Adam,
            "weight_decay": 0.2,
            "replicas": 2,
        },
        calls=4,
        second={"lr": 0.01},
        known={"base": adam},
        loss=lambda losses: mean(losses[::2]),
        lag=1,
    ),
    Case(
        "MFSGLD",
        optim.MFSGLD,
        mf_sgld,
        {"lr": 0.1, "strength": 2.0, "replicas": 3, "temperature": 0.2, "weight_decay": 0.1},
        calls=3,
        second={"lr": 0.05, "strength": 0.0, "temperature": 0.4},
        loss=mean,
        noisy=True,
    ),
    Case(
        "MFHomSGLD",
        optim.MFHomSGLD,
        mf_hom_sgld,
        {
            "lr": 0.1,
            "gamma": 0.3,
            "strength": 2.0,
            "inner_steps": 4,
            "burn_in": 2,
            "replicas": 3,
            "temperature": 0.2,
            "inner_lr": 0.1,
            "weight_decay": 0.1,
        },
        calls=12,
        second={"lr": 0.05, "gamma": 0.5, "strength": 0.5},
        loss=lambda losses: mean(losses[::4]),
        noisy=True,
    ),
]
