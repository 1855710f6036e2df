"""The workload of ``optimizer_speed``, its peers, and what a row of its table is."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from peers.packages import Packages

PEERS = Packages(
    {
        "torch": ("torch", "torch", "optimizers_by_torch"),
        "pdekit": ("pdekit", "pdekit", "optimizers_by_pdekit"),
        "posteriors": ("posteriors", "posteriors", "optimizers_by_posteriors"),
        "pytorch-optimizer": (
            "pytorch_optimizer",
            "pytorch-optimizer",
            "optimizers_by_pytorch_optimizer",
        ),
    },
    own=("torch", "pdekit"),
)
PACKAGES, OWN = PEERS.table, PEERS.own
absent, versions, methods = PEERS.absent, PEERS.versions, PEERS.methods
BARE, SGD = "torch, gradient alone", "torch, SGD"
RATE, TEMPERATURE = 0.01, 1e-8
COMPARED = 20  # gradients after which losses are compared


@dataclass(frozen=True)
class Size:
    """Neurons a layer, examples a batch, gradients a timed call."""

    layers: tuple[int, ...] = (784, 1024, 1024, 10)
    batch: int = 64
    gradients: int = 20

    def problem(self) -> "Problem":
        return Problem(self)


@dataclass(frozen=True)
class Tensors:
    """So many tensors of so many numbers, gradients a timed call."""

    many: int = 200
    numbers: int = 1000
    gradients: int = 20

    def problem(self) -> "Given":
        return Given(self)


QUICK = Size((784, 256, 256, 10), 64, 20)


class Problem:
    """A network with ReLU, one batch and the mean cross-entropy; the same start for all."""

    def __init__(self, size: Size) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers: list[nn.Module] = []
            for n, m in zip(size.layers[:-1], size.layers[1:], strict=True):
                layers += [nn.Linear(n, m), nn.ReLU()]
            self.network = nn.Sequential(*layers[:-1])
            self.images = torch.randn(size.batch, size.layers[0])
            self.classes = torch.randint(0, size.layers[-1], (size.batch,))
        self.gradients = size.gradients
        self.used = 0

    @property
    def parameters(self) -> list[Tensor]:
        return list(self.network.parameters())

    def loss(self) -> Tensor:
        return nn.functional.cross_entropy(self.network(self.images), self.classes)

    def gradient(self) -> Tensor:
        """The closure: gradients to zero, loss, its gradients."""
        self.used += 1
        self.network.zero_grad()
        loss = self.loss()
        loss.backward()
        return loss


class Given:
    """Tensors whose gradients are given, so that a step costs what the optimizer takes alone."""

    def __init__(self, size: Tensors) -> None:
        draw = torch.Generator().manual_seed(0)
        shape = (size.numbers,)
        self.parameters = [torch.randn(shape, generator=draw) for _ in range(size.many)]
        for p in self.parameters:
            p.requires_grad_().grad = torch.randn(shape, generator=draw)
        self.gradients, self.used, self.value = size.gradients, 0, torch.zeros(())

    def loss(self) -> Tensor:
        """That of which they are the gradients, in the mean over all numbers."""
        return torch.stack([(p * p.grad).mean() for p in self.parameters]).mean()

    def gradient(self) -> Tensor:
        """The closure."""
        self.used += 1
        return self.value


Work = Problem | Given
Step = Callable[[], Any]


@dataclass(frozen=True)
class Method:
    """A way to take steps; ``make(problem)`` is a step, of one gradient or more.

    ``family``: those that compute the same, up to their noise. ``noise``: whether they draw any.
    """

    label: str
    make: Callable[[Any], Step]
    family: str
    noise: bool = False


@dataclass(frozen=True)
class Row:
    """Milliseconds a gradient, those beyond the bare gradient, the loss after ``COMPARED``."""

    method: str
    family: str
    noise: bool
    milliseconds: float
    overhead: float
    answer: float

    @property
    def package(self) -> str:
        return self.method.split(",")[0]


def timed(
    tried: list[Method], size: Size | Tensors, rounds: int
) -> tuple[list[Row], dict[str, str]]:
    """Medians over rounds in which every method has its turn; the bare gradient comes first.

    The overhead is the median of the difference to the bare gradient of the same round. Seconds of
    the processor, which other programs on the machine do not add to.
    """
    runs, answers, failed = {}, {}, {}
    for m in tried:
        problem = size.problem()
        try:
            step = m.make(problem)
            spent(step, problem, COMPARED)  # compiles, and fills the caches
        except Exception as error:  # a peer that fails is a result, not the end of the study
            if m.label.split(",")[0] in OWN:
                raise
            failed[m.label] = f"{type(error).__name__}: {error}"
            continue
        answers[m.label] = problem.loss().item()
        runs[m] = step, problem
        print(m.label, file=sys.stderr)
    times: dict[str, list[float]] = {m.label: [] for m in runs}
    for _ in range(rounds):
        for m, (step, problem) in runs.items():
            times[m.label].append(spent(step, problem, size.gradients))
    return [
        Row(
            m.label, m.family, m.noise, 1e3 * float(np.median(times[m.label])),
            1e3 * float(np.median(np.subtract(times[m.label], times[BARE]))), answers[m.label],
        )
        for m in runs
    ], failed  # fmt: skip


def spent(step: Step, problem: Work, gradients: int) -> float:
    """Processor seconds a gradient, over at least so many."""
    problem.used, begun = 0, time.process_time()
    while problem.used < gradients:
        step()
    return (time.process_time() - begun) / problem.used


def table(rows: list[Row]) -> str:
    bare, sgd = (next(r for r in rows if r.method == name) for name in (BARE, SGD))
    head = f"{'method':<44} {'ms':>7} {'overhead':>9} {'over SGD':>9} {'over bare':>10} {'loss':>8}"
    lines = [
        f"{r.method:<44} {r.milliseconds:>7.3g} {r.overhead:>9.3g} "
        f"{r.overhead / sgd.overhead:>9.3g} {1 + r.overhead / bare.milliseconds:>10.3g} "
        f"{r.answer:>8.5f}"
        for r in rows
    ]
    return "\n".join([head, *lines])
