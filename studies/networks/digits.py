"""A small network on scikit-learn's digits, many seeds side by side, and what is measured of it.

64 pixels - 32 tanh units - 10 classes, 2,410 weights; f is the mean cross-entropy plus weight decay
DECAY |θ|²/2, without which there is no minimum. The networks of several seeds are slices of the
same four tensors.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigvalsh_tridiagonal

from pdekit.landscapes import lanczos

Array = np.ndarray
Make = Callable[[list[torch.Tensor], float, int], torch.optim.Optimizer]  # (tensors, rate, seed)

SHAPES = ((64, 32), (32,), (32, 10), (10,))
BATCH, DECAY, SIGMA, TRAINING, HELD_OUT = 64, 1e-3, 0.05, 1347, 270
PAIRS, PROBES, LANCZOS = 16, 8, 16


@dataclass(frozen=True)
class Digits:
    """Pixels in [0, 1] and classes, to train and to test; always split alike."""

    images: torch.Tensor
    classes: torch.Tensor
    images_to_test: torch.Tensor
    classes_to_test: torch.Tensor


def load() -> Digits:
    from sklearn.datasets import load_digits

    images, classes = (torch.tensor(a) for a in load_digits(return_X_y=True))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, classes = (images[order] / 16).float(), classes[order]
    return Digits(images[:TRAINING], classes[:TRAINING], images[TRAINING:], classes[TRAINING:])


def held_out(data: Digits) -> Digits:
    """To choose options by: the last of the training data in place of those to test."""
    images, classes = data.images, data.classes
    return Digits(images[:-HELD_OUT], classes[:-HELD_OUT], images[-HELD_OUT:], classes[-HELD_OUT:])


class one_thread:
    """Small tensors: a second thread of torch would only be in the way."""

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: Any) -> None:
        torch.set_num_threads(self.before)


Weights = list[torch.Tensor]  # of the four SHAPES, the network in front


def scores(weights: Weights, images: torch.Tensor) -> torch.Tensor:
    """``(networks, images, classes)``; images ``(n, 64)``, or ``(networks, n, 64)``."""
    first, bias, second, shift = weights
    images = images.expand(len(first), -1, -1)
    hidden = torch.tanh(torch.baddbmm(bias[:, None], images, first))
    return torch.baddbmm(shift[:, None], hidden, second)


def losses(weights: Weights, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """f of each network: mean cross-entropy plus weight decay."""
    z = scores(weights, images).transpose(1, 2)
    entropy = torch.nn.functional.cross_entropy(z, classes.expand(len(z), -1), reduction="none")
    return entropy.mean(1) + DECAY / 2 * sum((w * w).flatten(1).sum(1) for w in weights)


def drawn(seeds: list[int]) -> Weights:
    """Initial weights, of a seed the same in whatever company."""
    scales = (1 / 8, 0, 32**-0.5, 0)

    def one(seed: int) -> Weights:
        draw = torch.Generator().manual_seed(seed)
        return [c * torch.randn(s, generator=draw) for c, s in zip(scales, SHAPES, strict=True)]

    each = [one(seed) for seed in seeds]
    return [torch.stack(w).requires_grad_() for w in zip(*each, strict=True)]


def batches(seeds: list[int], numbers: torch.Tensor, replica: int = 0) -> Iterator[torch.Tensor]:
    """Examples ``(networks, BATCH)``, epoch after epoch, out of ``numbers (networks, n)``."""
    draws = [torch.Generator().manual_seed(1000 + seed + 10_000 * replica) for seed in seeds]
    n = numbers.shape[1]
    while True:
        order = torch.stack([torch.randperm(n, generator=draw) for draw in draws])
        yield from numbers.gather(1, order).split(BATCH, 1)[: n // BATCH]


def cosine(share: float) -> float:
    """Of the first learning rate, after a share of the gradients."""
    return (1 + cos(pi * share)) / 2


def steps(
    weights: Weights,
    make: Make,
    rate: float,
    seeds: list[int],
    gradients: int,
    data: Digits,
    shares: list[torch.Tensor] | None = None,
    schedule: Callable[[float], float] = cosine,
) -> Iterator[tuple[int, torch.optim.Optimizer]]:
    """Train the weights: after each step the gradients taken, at last so many each.

    ``shares``: the examples ``(networks, n)`` that each replica of the optimizer sees; None: all.
    """
    parts = shares or [torch.arange(len(data.images)).expand(len(seeds), -1)]
    orders = [batches(seeds, part, a) for a, part in enumerate(parts)]
    optimizer, used, batch = make(weights, rate, seeds[0]), 0, None

    def closure(again: bool = False) -> torch.Tensor:
        """On the next batch, or on the last one again."""
        nonlocal used, batch
        if not again:
            batch = next(orders[optimizer.replica if len(parts) > 1 else 0])
        used += 1
        optimizer.zero_grad()
        loss = losses(weights, data.images[batch], data.classes[batch]).sum()
        loss.backward()
        return loss

    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda _: schedule(min(1.0, used / gradients))
    )
    while used < gradients:
        optimizer.step(closure)
        scheduler.step()
        yield used, optimizer


def trained(
    make: Make,
    rate: float,
    seeds: list[int],
    gradients: int,
    data: Digits,
    shares: list[torch.Tensor] | None = None,
) -> Weights:
    """Networks after so many gradients each."""
    weights = drawn(seeds)
    for _ in steps(weights, make, rate, seeds, gradients, data, shares):
        pass
    return [w.detach() for w in weights]


def look_round(weights: Weights, data: Digits) -> dict[str, Array]:
    """What is measured of networks, in double precision, on all examples."""
    weights = [w.double() for w in weights]
    images, classes = data.images.double(), data.classes
    f = losses(weights, images, classes)
    wrong = scores(weights, data.images_to_test.double()).argmax(2) != data.classes_to_test
    draw, gaps = torch.Generator().manual_seed(0), []
    for _ in range(PAIRS):  # opposite signs: odd orders of f cancel
        xi = [SIGMA * torch.randn(s, generator=draw, dtype=torch.float64) for s in SHAPES]
        both = [[w + sign * z for w, z in zip(weights, xi, strict=True)] for sign in (1, -1)]
        gaps.append(sum(losses(moved, images, classes) for moved in both) / 2 - f)
    gap = torch.stack(gaps)
    largest, trace = curvature(weights, images, classes)
    found = {
        "training loss": f,
        "test error": wrong.double().mean(1),
        "gap": gap.mean(0),
        "gap_error": gap.std(0) / sqrt(PAIRS),
        "largest eigenvalue": largest,
        "trace": trace,
    }
    return {key: value.numpy() for key, value in found.items()}


def curvature(
    weights: Weights, images: torch.Tensor, classes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest eigenvalue (Lanczos) and trace (Hutchinson) of every network's Hessian."""
    weights = [w.clone().requires_grad_() for w in weights]
    total = losses(weights, images, classes).sum()
    slopes = torch.autograd.grad(total, weights, create_graph=True)
    sizes = [w[0].numel() for w in weights]

    def product(v: torch.Tensor) -> torch.Tensor:
        parts = [p.view_as(w) for p, w in zip(v.split(sizes, 1), weights, strict=True)]
        moved = torch.autograd.grad(slopes, weights, parts, retain_graph=True)
        return torch.cat([m.flatten(1) for m in moved], 1)

    draw = torch.Generator().manual_seed(1)
    shape = len(weights[0]), sum(sizes)
    probes = [torch.randn(shape, generator=draw, dtype=torch.float64).sign() for _ in range(PROBES)]
    trace = sum((v * product(v)).sum(1) for v in probes) / PROBES
    starts = (probes[0] / probes[0].norm(dim=1, keepdim=True)).numpy()
    found = lanczos(lambda v: product(torch.as_tensor(v)).numpy(), starts, LANCZOS)
    ends = [eigvalsh_tridiagonal(a, b[:-1])[-1] for a, b in zip(*found, strict=True)]
    return torch.tensor(np.array(ends)), trace
