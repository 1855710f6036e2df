"""torchsde: ``sdeint`` by Euler's method with diagonal noise."""

from math import sqrt
from typing import Any

import torch
import torchsde

from peers.particles import BETA, STEP, Method, Size


class Well(torch.nn.Module):
    noise_type = "diagonal"
    sde_type = "ito"

    def f(self, t: Any, y: Any) -> Any:
        return y * (1 - y * y)

    def g(self, t: Any, y: Any) -> Any:
        return torch.full_like(y, sqrt(2 / BETA))


def double_well(size: Size) -> Any:
    start, times = torch.from_numpy(size.start(1)), torch.tensor([0.0, STEP * size.steps])

    def run() -> float:
        with torch.no_grad():
            x = torchsde.sdeint(Well(), start, times, dt=STEP, method="euler")[-1]
        return float(x.double().square().mean())

    return run


def methods() -> tuple[Method, ...]:
    return (Method("P1", "torchsde, Euler, float32", double_well),)
