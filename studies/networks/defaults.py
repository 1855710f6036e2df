"""How far the optimizers of ``pk.optim`` train a network with nothing said but its parameters.

    python studies/networks/defaults.py
    python studies/peers/page.py

writes studies/networks/defaults.json and then the table of docs/optimizers.md. The network has 64
pixels - 32 tanh units - 10 classes, batches of 64 of scikit-learn's digits, all 1,797 of them to
train; the loss is the mean cross-entropy over all after GRADIENTS gradients, in whatever number of
steps and replicas. SGD with rate 0.2 is the measure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pdekit as pk

GRADIENTS, SEEDS, BATCH = 1_200, 5, 64
SGD = "SGD, rate 0.2"
Make = Callable[[Any], torch.optim.Optimizer]


def makes() -> dict[str, Make]:
    """Every optimizer with its defaults, and the same around other torch optimizers."""
    o = pk.optim
    own = {n: v for n in o.__all__ if isinstance(v := getattr(o, n), type)}
    nesterov = dict(lr=0.4, momentum=0.9, nesterov=True)
    return {
        SGD: lambda p: torch.optim.SGD(p, lr=0.2),
        **own,
        "EntropySGD, LinearAverage": lambda p: o.EntropySGD(
            p, average=pk.particles.LinearAverage()
        ),
        "EntropySGD around Nesterov, rate 0.4": lambda p: o.EntropySGD(
            p, base=lambda q: torch.optim.SGD(q, **nesterov)
        ),
        "EntropySGD around Adam, rate 0.03": lambda p: o.EntropySGD(p, 0.03, base=torch.optim.Adam),
        "HJ around Adam, rate 0.01": lambda p: o.HJ(p, 0.01, base=torch.optim.Adam),
        "TrivializedSGD around Adam, rate 0.01": lambda p: o.TrivializedSGD(
            p, 0.01, base=torch.optim.Adam
        ),
    }


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels in [0, 1] and classes."""
    from sklearn.datasets import load_digits

    images, classes = (torch.tensor(a) for a in load_digits(return_X_y=True))
    return (images / 16).float(), classes


def trained(make: Make, data: tuple[torch.Tensor, torch.Tensor], seed: int = 0) -> float:
    """The loss on all digits after GRADIENTS gradients."""
    (images, classes), entropy = data, torch.nn.functional.cross_entropy
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10)
        )
    optimizer, draw, used = make(model.parameters()), torch.Generator().manual_seed(seed), 0

    def closure() -> torch.Tensor:
        nonlocal used
        used, k = used + 1, torch.randint(0, len(images), (BATCH,), generator=draw)
        optimizer.zero_grad()
        loss = entropy(model(images[k]), classes[k])
        loss.backward()
        return loss

    while used < GRADIENTS:
        optimizer.step(closure)
    with torch.no_grad():
        return float(entropy(model(images), classes))


def measured(seeds: int = SEEDS) -> list[dict[str, Any]]:
    """Of every row the mean loss, its standard error and the mean over SGD's."""
    data = digits()
    losses = {name: [trained(make, data, s) for s in range(seeds)]
              for name, make in makes().items()}  # fmt: skip
    sgd = np.mean(losses[SGD])
    return [
        {
            "optimizer": name,
            "loss": float(np.mean(found)),
            "error": float(np.std(found, ddof=1) / np.sqrt(seeds)),
            "ratio": float(np.mean(found) / sgd),
        }
        for name, found in losses.items()
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    numbers = {"gradients": GRADIENTS, "seeds": SEEDS, "rows": measured()}
    text = json.dumps({"numbers": numbers}, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n")
