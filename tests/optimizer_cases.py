"""Optimizers and the algorithms they are: a row puts one under every test of test_optimizers.py.

The algorithms are written as in the papers, with the corrections of docs/errata.md, for all
parameters in one vector x. An option is a number, or a vector where parameter groups differ. They
share nothing with the optimizers but the normals.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from pdekit import optim

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

    ``reference(x, grad, normals, **options)`` yields x after each step; ``normals(k)`` are those
    of the k-th gradient, ``normals(k, channel=1)`` the ones that are drawn once.
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

    def make(self, params: Any, **changes: Any) -> Any:
        """The optimizer over ``params``."""
        return self.cls(params, **{**self.options, **changes})

    def in_two_groups(self, first: list[Any], second: list[Any], **changes: Any) -> Any:
        """The optimizer over two groups that differ as ``second`` says."""
        return self.make([{"params": first}, {"params": second, **self.second}], **changes)


def sgld(x, grad, normals, lr, temperature):
    """Mathematics 1.10: Euler's step of dX = -∇f dt + √(2T) dB."""
    for k in range(10**9):
        x = x - lr * grad(x) + np.sqrt(2 * lr * temperature) * normals(k)
        yield x


def entropy_sgd(
    x, grad, normals, lr, gamma=None, inner_steps=20, temperature=0, inner_lr=None, alpha=0.25
):
    """Thesis, Algorithm 2 with line 6 as x ← x - (η/γ)(x - z) (errata 20, 59)."""
    gamma = lr if gamma is None else gamma
    eta = 2 * gamma / (inner_steps + 1) if inner_lr is None else inner_lr
    k = 0
    while True:
        y = z = x
        for _ in range(inner_steps):
            dy = grad(y) - (x - y) / gamma
            y = y - eta * dy + np.sqrt(2 * eta * temperature) * normals(k)
            z = alpha * z + (1 - alpha) * y
            k += 1
        x = x - lr * (x - z) / gamma
        yield x


def hj(x, grad, normals, lr, gamma=None, inner_steps=5, inner_lr=None):
    """Thesis 4.6.1.2: the last y in place of the mean, and no noise."""
    return entropy_sgd(x, grad, normals, lr, gamma, inner_steps, 0.0, inner_lr, alpha=0.0)


def hj_dual(x, grad, normals, lr, gamma=None, inner_steps=5, inner_lr=None, dual=True):
    """Thesis (4.42): y is the distance from x."""
    gamma = lr if gamma is None else gamma
    eta = 2 * gamma / (inner_steps + 1) if inner_lr is None else inner_lr
    while True:
        y = np.zeros_like(x)
        for _ in range(inner_steps):
            y = (1 - eta / gamma) * y + eta * grad(x - y)
        x = x - lr * grad(x - y)
        yield x


def heat(x, grad, normals, lr, gamma, samples, temperature=1.0):
    """Thesis (4.43) with ε ~ N(0, γT) (errata 30)."""
    k = 0
    while True:
        width = np.sqrt(gamma * temperature)
        x = x - lr / samples * sum(grad(x + width * normals(k + i)) for i in range(samples))
        k += samples
        yield x


def antithetic_heat(x, grad, normals, lr, gamma, samples, temperature=1.0, antithetic=True):
    """The same, where every second ε is minus the one before."""
    k = 0
    while True:
        shifts = [np.sqrt(gamma * temperature) * normals(k + i) for i in range(0, samples, 2)]
        total = sum(grad(x + e) + grad(x - e) for e in shifts)
        x = x - lr / samples * total
        k += samples
        yield x


def trivialized_sgd(x, grad, normals, lr, coupling, decay, layers):
    """Thesis, Algorithm 1 with (1 + (τ_i/n)(2p - 2)/(p - 2))^{1/2} on line 9 (errata 54)."""
    p = layers
    h = coupling * np.sqrt(p * (p - 2)) * normals(0, channel=1)
    for i in range(10**9):
        tau = np.exp(-i / decay) - 0.5
        h_now = np.sqrt(np.maximum(1 + tau * (2 * p - 2) / (p - 2), 0)) * h
        x = x - lr * (grad(x) + h_now)
        yield x


def momentum(x, grad, normals, lr, momentum=None, compensation=0.0, restart=True):
    """Report (33), (34), (35), γ recomputed in every step (errata 69); yields u."""
    u = w = x
    alpha = 1
    while True:
        gamma = (alpha - 1) / (alpha + 2) if restart else momentum
        g = grad(u)
        ahead = u - lr * g
        u = (1 + gamma) * ahead - gamma * w + lr * compensation * g
        if g @ (ahead - w) > 0:
            alpha = 1
        alpha += 1
        w = ahead
        yield u


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
        {"lr": 0.1, "gamma": 0.2, "samples": 3, "temperature": 0.5},
        calls=3,
        second={"lr": 0.05, "gamma": 0.1, "temperature": 0.9},
        loss=mean,
        noisy=True,
    ),
    Case(
        "HEAT, antithetic",
        optim.HEAT,
        antithetic_heat,
        {"lr": 0.1, "gamma": 0.2, "samples": 4, "temperature": 1.0, "antithetic": True},
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
]
