"""torch: the bare gradient, its SGD, and what scripts do by hand with operations on lists."""

from math import sqrt
from typing import Any

import torch

from peers.optimizers import BARE, RATE, SGD, TEMPERATURE, Method, Problem

INNER, ALPHA = 20, 0.25
INNER_RATE = 2 * RATE / (INNER + 1)  # pdekit's default


def bare(problem: Problem) -> Any:
    return problem.gradient


def sgd(**options: Any) -> Any:
    def make(problem: Problem) -> Any:
        optimizer = torch.optim.SGD(problem.parameters, RATE, **options)
        return lambda: optimizer.step(problem.gradient)

    return make


def momentum(**options: Any) -> Any:
    return sgd(momentum=0.9, nesterov=True, **options)


def langevin(problem: Problem) -> Any:
    """x ← x - η ∇f + √(2 η T) ξ, as it stands."""
    x, scale = problem.parameters, sqrt(2 * RATE * TEMPERATURE)

    @torch.no_grad()
    def step() -> None:
        with torch.enable_grad():
            problem.gradient()
        torch._foreach_add_(x, [p.grad for p in x], alpha=-RATE)
        torch._foreach_add_(x, [torch.randn_like(p) for p in x], alpha=scale)

    return step


def entropy_sgd(temperature: float) -> Any:
    """Algorithm 2 of the thesis, as it stands, at η = γ, where x becomes z."""

    def make(problem: Problem) -> Any:
        x, scale = problem.parameters, sqrt(2 * INNER_RATE * temperature)

        @torch.no_grad()
        def step() -> None:
            centre, mean = ([p.detach().clone() for p in x] for _ in range(2))
            for _ in range(INNER):
                with torch.enable_grad():
                    problem.gradient()
                pull = torch._foreach_sub(x, centre)
                torch._foreach_mul_(pull, 1 / RATE)
                torch._foreach_add_(pull, [p.grad for p in x])
                torch._foreach_add_(x, pull, alpha=-INNER_RATE)
                if temperature:
                    torch._foreach_add_(x, [torch.randn_like(p) for p in x], alpha=scale)
                torch._foreach_mul_(mean, ALPHA)
                torch._foreach_add_(mean, x, alpha=1 - ALPHA)
            torch._foreach_copy_(x, mean)

        return step

    return make


def methods() -> tuple[Method, ...]:
    return (
        Method(BARE, bare, "none"),
        Method(SGD, sgd(), "SGD"),
        Method("torch, SGD, foreach", sgd(foreach=True), "SGD"),
        Method("torch, SGD, fused", sgd(fused=True), "SGD"),
        Method("torch, SGD, Nesterov's momentum", momentum(), "Nesterov"),
        Method("torch, SGD, Nesterov's, fused", momentum(fused=True), "Nesterov"),
        # on lists Nesterov's changes the gradients too, which are to be the same for all
        Method("torch, SGD, momentum, foreach", sgd(momentum=0.9, foreach=True), "momentum"),
        Method("torch, Entropy-SGD by hand, T = 0", entropy_sgd(0.0), "Entropy-SGD"),
        Method("torch, Langevin by hand", langevin, "SGD", noise=True),
        Method("torch, Entropy-SGD by hand", entropy_sgd(TEMPERATURE), "Entropy-SGD", noise=True),
    )
