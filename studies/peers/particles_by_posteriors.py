"""posteriors: its SGLD, in place; gradients by torch.func, as it offers no other."""

import warnings
from typing import Any

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from posteriors.sgmcmc import sgld

from peers.particles import BETA, STEP, Method, Size


def log_density(x: Any, batch: Any) -> Any:
    """-V, of which temperature 1/β makes the law; and nothing besides."""
    well = x * x - 1
    return -(well * well).sum() / 4, torch.tensor([])


def double_well(size: Size) -> Any:
    start = torch.from_numpy(size.start(1))
    transform = sgld.build(log_density, lr=STEP, temperature=1 / BETA)

    def run() -> float:
        state = transform.init(start.clone())
        for _ in range(size.steps):
            state, _ = transform.update(state, None, inplace=True)
        return float(state.params.double().square().mean())

    return run


def methods() -> tuple[Method, ...]:
    return (Method("P1", "posteriors, SGLD, float32", double_well),)
