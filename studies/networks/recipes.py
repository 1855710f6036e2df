"""The experiments of thesis tables 3.1, 4.1, 5.1 and 5.2 at full size, for those who have the data.

Networks of ``networks.papers`` on MNIST and CIFAR-10. What the thesis says is followed, with these
exceptions. The inner steps of pdekit's optimizers have no momentum, so their rate is INNER in place
of 0.1 with Nesterov's 0.9. Of Entropy-SGD, HJ and HEAT the outer step goes to the average (η' = 1,
section 3.3.2), and γ stays where it starts. What is not printed (γ of HJ, the width of HEAT, ρ of
Elastic-SGD, epochs of chapter 5) is chosen here. Wide residual networks (rows of table 5.1),
recurrent ones (of table 3.1) and dropout changed for one method only are left out.

Epochs are effective: passes over what a replica sees, inner gradients included.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pdekit as pk
from networks import images, papers
from networks.shares import windows
from pdekit.optim.schedules import Scoping

BATCH, INNER, DECAY = 128, 0.5, 1e-3  # weight decay of CIFAR's networks
WIDE = 1e4  # γ of section 3.3.2

Params = Iterable[nn.Parameter]
Make = Callable[[Params, int], torch.optim.Optimizer]  # of parameters and mini-batches an epoch

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mnistfc": papers.mnistfc,
    "lenet": papers.lenet,
    "allcnn": papers.allcnn,
}
SETS = {"mnistfc": "MNIST", "lenet": "MNIST", "allcnn": "CIFAR-10"}


@dataclass(frozen=True)
class Recipe:
    """A cell of a table: who trains what on which share, for how long, and the printed error."""

    table: str
    network: str
    algorithm: str
    make: Make
    epochs: int
    printed: float  # test error in %
    drops: dict[int, float] = field(default_factory=dict)  # epoch -> factor of the rate
    replicas: int = 1
    share: float = 1.0

    @property
    def title(self) -> str:
        more = f", n = {self.replicas}" if self.replicas > 1 else ""
        more += f", {self.share:.0%} of the data" if self.share < 1 else ""
        return f"table {self.table}, {self.network}, {self.algorithm}{more}"


# ------------------------------------------------------------------------------------- optimizers


def sgd(params: Params, batches: int) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, 0.1, momentum=0.9, nesterov=True)


def adam(params: Params, batches: int) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, 1e-3)


def entropy(temperature: float, gamma: float = WIDE) -> Make:
    return lambda params, batches: pk.optim.EntropySGD(
        params, gamma, gamma, 20, temperature, inner_lr=INNER
    )


def hj(params: Params, batches: int) -> torch.optim.Optimizer:
    return pk.optim.HJ(params, WIDE, WIDE, 5, inner_lr=INNER)


def heat(params: Params, batches: int) -> torch.optim.Optimizer:
    """Width 0.01."""
    return pk.optim.HEAT(params, 2 * INNER, 1e-4, 20)


def elastic(n: int) -> Make:
    """ρ = 10 η; the master goes to the mean."""
    return lambda params, batches: pk.optim.ElasticSGD(params, INNER, 10 * INNER, n, 10 * INNER / n)


def parle(n: int) -> Make:
    """γ and ρ narrow by thesis (5.10), ρ as far as η = 0.5 is stable."""

    def make(params: Params, batches: int) -> torch.optim.Optimizer:
        gamma, rho = Scoping(100.0, batches, floor=1.0), Scoping(1.0, batches, floor=0.7)
        return pk.optim.Parle(params, 0.5, gamma, rho, 25, n, inner_lr=INNER)

    return make


def every(epochs: int, factor: float, last: int) -> dict[int, float]:
    return {k: factor for k in range(epochs, last, epochs)}


def recipes() -> list[Recipe]:
    """Row by row."""
    fall, slow = every(30, 0.2, 100), every(60, 0.2, 200)
    tens, once = every(30, 0.1, 100), {40: 0.1}
    made = [
        Recipe("3.1", "mnistfc", "Entropy-SGD", entropy(1e-6), 120, 1.37, once),
        Recipe("3.1", "mnistfc", "Adam", adam, 100, 1.39, fall),
        Recipe("3.1", "lenet", "Entropy-SGD", entropy(1e-6), 80, 0.5, once),
        Recipe("3.1", "lenet", "Adam", adam, 100, 0.51, fall),
        Recipe("3.1", "allcnn", "Entropy-SGD", entropy(1e-8, 30.0), 200, 7.81, every(80, 0.2, 200)),
        Recipe("3.1", "allcnn", "SGD", sgd, 200, 7.71, slow),
    ]
    printed = {
        "mnistfc": (1.08, 1.13, 1.17, 1.10),
        "lenet": (0.5, 0.59, 0.5, 0.5),
        "allcnn": (7.96, 9.04, 7.89, 7.94),
    }
    epochs = {
        "mnistfc": (120, 200, 200, 194),
        "lenet": (80, 75, 70, 67),
        "allcnn": (160, 150, 145, 195),
    }
    ways = {"Entropy-SGD": entropy(1e-8), "HEAT": heat, "HJ": hj, "SGD": sgd}
    for network, errors in printed.items():
        for (name, make), error, last in zip(ways.items(), errors, epochs[network], strict=True):
            drops = slow if name == "SGD" else every(60, 0.2, last)
            made.append(Recipe("4.1", network, name, make, last, error, drops))
    made += [
        Recipe("5.1", "lenet", "Parle", parle(6), 100, 0.44, {50: 0.1}, 6),
        Recipe("5.1", "lenet", "Elastic-SGD", elastic(6), 100, 0.48, tens, 6),
        Recipe("5.1", "lenet", "Entropy-SGD", entropy(0.0), 100, 0.49, once),
        Recipe("5.1", "lenet", "SGD", sgd, 100, 0.5, tens),
    ]
    split = {
        (3, 1.0): (5.18, 5.76, 6.15),
        (3, 0.5): (5.89, 6.51, 7.86),
        (6, 0.25): (6.08, 6.8, 10.96),
    }
    for (n, share), (own, of_elastic, of_sgd) in split.items():
        made += [
            Recipe("5.2", "allcnn", "Parle", parle(n), 200, own, slow, n, share),
            Recipe("5.2", "allcnn", "Elastic-SGD", elastic(n), 200, of_elastic, slow, n, share),
            Recipe("5.2", "allcnn", "SGD", sgd, 200, of_sgd, slow, 1, share),
        ]
    return made


# ------------------------------------------------------------------------------------- the data


@dataclass(frozen=True)
class Data:
    """Pixels ``(n, channels, height, width)`` and classes, to train and to test."""

    images: Tensor
    classes: Tensor
    images_to_test: Tensor
    classes_to_test: Tensor


READERS = {"MNIST": images.mnist, "CIFAR-10": images.cifar10}


def read(name: str, folder: Path, device: str) -> Data:
    """MNIST in [0, 1], CIFAR-10 whitened."""
    training, test = READERS[name](folder)
    if name == "MNIST":
        pixels = [a.images.astype(np.float32) / 255 for a in (training, test)]
    else:
        pixels = list(images.whitened(training.images, test.images))
    x, x_to_test = (torch.tensor(a, device=device) for a in pixels)
    y, y_to_test = (torch.tensor(a.classes, device=device) for a in (training, test))
    return Data(x, y, x_to_test, y_to_test)


def sets_in(folder: Path) -> dict[str, Exception | None]:
    """Of each set why it is not there; damaged files are an error."""
    found: dict[str, Exception | None] = {}
    for name, reader in READERS.items():
        try:
            reader(folder)
            found[name] = None
        except FileNotFoundError as error:
            found[name] = error
    return found


def mirrored_and_shifted(x: Tensor) -> Tensor:
    """Half of the images mirrored, all moved by up to four pixels (thesis section 5.5)."""
    n, _, height, width = x.shape
    flip = torch.rand(n, 1, 1, 1, device=x.device) < 0.5
    x = nn.functional.pad(torch.where(flip, x.flip(3), x), (4, 4, 4, 4))
    rows, columns = torch.randint(0, 9, (2, n, 1), device=x.device)
    rows = rows + torch.arange(height, device=x.device)
    columns = columns + torch.arange(width, device=x.device)
    chosen = torch.arange(n, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[chosen, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def parts(recipe: Recipe, examples: int) -> list[Tensor]:
    """The examples that each replica sees, shuffled."""
    order = torch.randperm(examples)
    return [order[places] for places in windows(examples, recipe.replicas, recipe.share)]


def batches(part: Tensor) -> Iterator[Tensor]:
    """Epoch after epoch; the last batch of one is whole or left out."""
    size = min(BATCH, len(part))
    while True:
        yield from part[torch.randperm(len(part))].split(size)[: len(part) // size]


# ------------------------------------------------------------------------------------- training


def error_of(recipe: Recipe, data: Data, seed: int, effort: float = 1.0) -> float:
    """Test error in %, after the recipe's epochs times ``effort``."""
    device = data.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = NETWORKS[recipe.network]().to(device)
        _train(recipe, network, data, effort)
        return _tested(network, data)


def _train(recipe: Recipe, network: nn.Module, data: Data, effort: float) -> None:
    shares = parts(recipe, len(data.images))
    epoch, orders, used = max(1, len(shares[0]) // BATCH), [batches(s) for s in shares], 0
    optimizer: Any = recipe.make(network.parameters(), epoch)
    decay = DECAY if recipe.network == "allcnn" else 0.0

    def closure() -> Tensor:
        nonlocal used
        batch = next(orders[optimizer.replica if recipe.replicas > 1 else 0]).to(data.images.device)
        used += 1
        optimizer.zero_grad()
        x = data.images[batch]
        answers = network(mirrored_and_shifted(x) if recipe.table == "5.2" else x)
        loss = nn.functional.cross_entropy(answers, data.classes[batch])
        (loss + decay / 2 * sum((p * p).sum() for p in network.parameters())).backward()
        return loss

    total = max(1, round(recipe.epochs * effort * epoch)) * recipe.replicas
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda _: falling(recipe, recipe.epochs * used / total)
    )
    while used < total:
        optimizer.step(closure)
        scheduler.step()
    whole = max(1, len(data.images) // BATCH)
    pk.optim.recalibrate(network, data.images.split(BATCH)[:whole])


def falling(recipe: Recipe, epoch: float) -> float:
    """The factor of the learning rate after so many epochs."""
    return float(np.prod([factor for start, factor in recipe.drops.items() if epoch >= start]))


@torch.no_grad()
def _tested(network: nn.Module, data: Data) -> float:
    network.eval()
    answers = torch.cat([network(x).argmax(1) for x in data.images_to_test.split(1000)])
    return 100 * float((answers != data.classes_to_test).double().mean())
