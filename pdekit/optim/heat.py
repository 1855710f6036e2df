"""Descent on the loss smoothed by the heat equation."""

from __future__ import annotations

from math import sqrt

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.groups import (
    Checked,
    Closure,
    Group,
    Loss,
    add_all,
    address,
    check_range,
    check_seed,
    check_switch,
    check_whole,
    check_width,
    common,
    evaluated,
    every,
    mean_loss,
    rate_of,
    restored_on_error,
    room,
    zero_all,
)
from pdekit.optim.tables import Store
from pdekit.optim.updates import Noise, langevin_steps, scatter


class HEAT(Checked):
    """x ← x - (η/L) Σ_i ∇f(x + ξ_i), ξ_i ~ N(0, γ T I).

    The mean of the step is that of gradient descent on v(·, γ), v_t = (T/2) Δv, v(·, 0) = f
    (``pk.Heat(1/T)``): f convolved with a Gaussian of variance γT. Thesis (4.43), mathematics 1.10.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η >= 0; None for 0.2 L
    gamma : γ > 0
    samples : L, gradients a step, the same in all groups; more reduce the noise of
        the mean, at a higher cost
    temperature : T = 1/β
    antithetic : take the ξ_i in pairs of opposite signs (L even): odd orders of f cancel
    seed : of the noise

    ``step(closure)`` calls the closure L times and returns the mean of its losses, an estimate of
    v(x, γ). Raises ``ValueError`` for numbers out of range, ``TypeError`` without a closure; if
    the closure raises, the parameters are restored to x.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        gamma: float = 1e-4,
        samples: int = 2,
        temperature: float = 1.0,
        *,
        antithetic: bool = False,
        seed: int = 0,
    ) -> None:
        options = {
            "lr": rate_of(lr, samples),
            "gamma": gamma,
            "samples": samples,
            "temperature": temperature,
            "antithetic": antithetic,
            "seed": seed,
        }
        super().__init__(params, options)

    def check(self, group: Group) -> None:
        check_whole(group, "samples", 1)
        check_range(group, "lr", 0.0)
        check_width(group, "gamma")
        check_range(group, "temperature", 0.0)
        check_switch(group, "antithetic")
        check_seed(group)
        if group["antithetic"] and group["samples"] % 2:
            raise ValueError(
                f"antithetic samples come in pairs: take an even number, got {group['samples']}"
            )

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move x; returns the mean of the losses around it."""
        self.recheck_groups()
        samples, losses = common(self, "samples"), []
        antithetic = common(self, "antithetic")
        with restored_on_error(self) as centres:
            sums = room(self, "sum")
            zero_all([*sums.tensors.values()])
            for i in range(samples):
                self._scatter(centres, -1.0 if antithetic and i % 2 else 1.0)
                losses.append(self._added(closure, sums))
            mean = mean_loss(losses)
            for part in every(self):
                x, rate = part.of(centres), part.group["lr"] / samples
                langevin_steps(x, part.of(sums), rate, into=part.places)
        return mean

    def _added(self, closure: Closure | None, sums: Store) -> Loss | None:
        """Add the gradients of an evaluation, and keep none; its loss."""
        loss, moving = evaluated(self, closure)
        for part in moving:
            add_all(part.of(sums), part.slopes)
        return loss

    def _scatter(self, centres: Store, sign: float) -> None:
        """x + ξ with the normals of the next evaluation, or of the previous one."""
        for part in every(self):
            walked, group = part.only(p.requires_grad for p in part.params), part.group
            ahead = {**group, "evaluations": group["evaluations"] + (sign > 0)}
            scale = sign * sqrt(group["gamma"] * group["temperature"])
            noise = Noise(scale, address(ahead), walked.numbers)
            scatter(walked.places, walked.of(centres), noise)
