"""pytorch-optimizer: its SAM round torch's SGD, two gradients a step."""

from typing import Any

import torch
from pytorch_optimizer import SAM

from peers.optimizers import RATE, Method, Problem


def sam(problem: Problem) -> Any:
    optimizer = SAM(problem.parameters, torch.optim.SGD, lr=RATE)

    def step() -> None:
        problem.gradient()
        optimizer.step(problem.gradient)

    return step


def methods() -> tuple[Method, ...]:
    return (Method("pytorch-optimizer, SAM", sam, "SAM"),)
