"""Stochastic gradient Langevin dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.checked import Checked
from pdekit.optim.gradients import Closure, Loss, address
from pdekit.optim.groups import Schedule
from pdekit.optim.options import RATE, Group, check_range, check_seed
from pdekit.optim.updates import Noise, noisy_descent


class SGLD(Checked):
    """x ← x - η ∇f(x) + √(2 η T) ξ, Euler's step of dX = -∇f dt + √(2T) dB.

    As η -> 0 it samples e^{-f/T}/Z (``pk.Langevin``; its law is that of ``pk.FokkerPlanck``).
    ∇f may be that of a mini-batch; its own noise, of variance σ² a component, adds η σ²/2 to the
    temperature T = 1/β (errata 6; mathematics 1.10).

    **Which T?** With a loss that is the *mean* over N examples of -log likelihood, plus
    -log prior / N, the posterior is sampled at T = 1/N; with the *sum* over the examples at T = 1.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η >= 0
    temperature : T = 1/β, or a schedule; 0 for SGD
    weight_decay : w >= 0; adds w|x|²/2 to f
    seed : of the noise; use different seeds for independent chains

    ``step(closure=None)`` returns the loss of the closure, if there is one. Raises ``ValueError``
    for numbers out of range. Stable if η λ < 2; the variance along curvature λ is
    T / (λ (1 - η λ / 2)).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = RATE,
        temperature: float | Schedule = 1e-6,
        *,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        options = {
            "lr": lr,
            "temperature": temperature,
            "weight_decay": weight_decay,
            "seed": seed,
        }
        super().__init__(params, options)

    def check(self, group: Group) -> None:
        check_range(group, "lr", 0.0)
        check_range(group, "temperature", 0.0)
        check_seed(group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move x; returns the loss of the closure."""
        return noisy_descent(self, closure, self.noise)

    def noise(self, group: Group, numbers: Sequence[int]) -> Noise | None:
        """√(2 η T) ξ of parameters."""
        scale = sqrt(2 * group["lr"] * group["temperature"])
        return Noise(scale, address(group), numbers) if scale else None
