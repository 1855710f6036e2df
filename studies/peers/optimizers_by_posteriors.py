"""posteriors: its SGLD, in place; gradients by torch.func, as it offers no other."""

import warnings
from typing import Any

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from posteriors.sgmcmc import sgld

from peers.optimizers import RATE, TEMPERATURE, Method, Problem


def langevin(problem: Problem) -> Any:
    def log_density(weights: Any, _: Any) -> Any:
        scores = torch.func.functional_call(problem.network, dict(weights), (problem.images,))
        return -torch.nn.functional.cross_entropy(scores, problem.classes), torch.tensor([])

    transform = sgld.build(log_density, lr=RATE, temperature=TEMPERATURE)
    weights = dict(problem.network.named_parameters())
    state = transform.init({name: p.detach() for name, p in weights.items()})

    def step() -> None:
        nonlocal state
        problem.used += 1
        state, _ = transform.update(state, None, inplace=True)
        for name, p in weights.items():  # pointers only, so that the network is the state's
            p.data = state.params[name]

    return step


def methods() -> tuple[Method, ...]:
    return (Method("posteriors, SGLD", langevin, "SGD", noise=True),)
