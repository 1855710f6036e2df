"""Descent on the loss smoothed by the heat equation."""

from __future__ import annotations

from math import sqrt
from types import MappingProxyType

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.bases import Base, decay, step_by_base
from pdekit.optim.buffers import add_all, buffers, copy_all, copy_to, restored_on_error, zero_all
from pdekit.optim.checked import Checked
from pdekit.optim.gradients import (
    Closure,
    Loss,
    Part,
    evaluated,
    every,
    mean_loss,
    numbers_of,
)
from pdekit.optim.groups import Schedule, common, former_names_refused
from pdekit.optim.options import (
    Group,
    check_range,
    check_seed,
    check_switch,
    check_whole,
    check_width,
    rate_of,
)
from pdekit.optim.tables import Store
from pdekit.optim.updates import Noise, langevin_steps, scatter
from pdekit.particles.noise import Address


class HEAT(Checked):
    """x ← x - (η/L) Σ_i ∇f(x + ξ_i), ξ_i ~ N(0, γ T I).

    The mean of the step is that of gradient descent on v(·, γ), v_t = (T/2) Δv, v(·, 0) = f
    (``pk.Heat(1/T)``): f convolved with a Gaussian of variance γT. Thesis (4.43), mathematics 1.10.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η >= 0; None for 0.2 L, with a base for its own
    gamma : γ > 0, or a schedule
    inner_steps : L, gradients a step, the same in all groups; more reduce the noise of
        the mean, at a higher cost
    temperature : T = 1/β, or a schedule
    antithetic : take the ξ_i in pairs of opposite signs (L even): odd orders of f cancel
    base : a function from parameters to the torch optimizer that makes the step, with the mean
        gradient for its own, such as ``lambda p: torch.optim.Adam(p, lr=1e-3)``
    weight_decay : w >= 0; x loses the share η w in a step (decoupled)
    seed : of the noise

    ``step(closure)`` calls the closure L times and returns the mean of its losses, an estimate of
    v(x, γ). Raises ``ValueError`` for numbers out of range, ``TypeError`` without a closure; if
    the closure raises, the parameters are restored to x.
    """

    former = MappingProxyType({"samples": "inner_steps"})

    @former_names_refused
    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        gamma: float | Schedule = 1e-4,
        inner_steps: int = 2,
        temperature: float | Schedule = 1.0,
        *,
        antithetic: bool = False,
        base: Base | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        options = {
            "lr": rate_of(lr, inner_steps) if base is None else lr,
            "gamma": gamma,
            "inner_steps": inner_steps,
            "temperature": temperature,
            "antithetic": antithetic,
            "weight_decay": weight_decay,
            "seed": seed,
        }
        super().__init__(params, options, base)

    def check(self, group: Group) -> None:
        check_whole(group, "inner_steps", 1)
        check_range(group, "lr", 0.0)
        check_width(group, "gamma")
        check_range(group, "temperature", 0.0)
        check_switch(group, "antithetic")
        check_seed(group)
        if group["antithetic"] and group["inner_steps"] % 2:
            raise ValueError(
                "antithetic samples come in pairs: inner_steps must be an even number, got "
                f"{group['inner_steps']}"
            )

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move x; returns the mean of the losses around it."""
        self.recheck_groups()
        count, losses, walked = common(self, "inner_steps"), [], set[int]()
        antithetic = common(self, "antithetic")
        with restored_on_error(self) as (centres, anchored):
            anchored |= copy_to(self, centres)
            sums, latest = buffers(self, "sum"), list[Part]()
            zero_all([*sums.tensors.values()])
            for i in range(count):
                self._scatter(latest, centres, sums, -1.0 if antithetic and i % 2 else 1.0)
                latest.clear()  # so that the next gradients can use their memory
                losses.append(self._evaluated(closure, latest, walked))
            mean = mean_loss(losses)
            for part in latest:
                add_all(part.of(sums), part.slopes)
            self._descend(walked, centres, sums, count)
        return mean

    def _evaluated(self, closure: Closure | None, latest: list[Part], walked: set[int]) -> Loss:
        """The loss of an evaluation; what has gradients is added to the lists."""
        loss, moving = evaluated(self, closure)
        latest.extend(moving)
        walked.update(numbers_of(moving))
        return loss

    def _descend(self, walked: set[int], centres: Store, sums: Store, count: int) -> None:
        """x ← x - (η/L) sum, or a step of the base, with decoupled decay."""
        for part in every(self):
            still = part if self.bases else part.beyond(walked)
            copy_all(still.places, still.of(centres))
        if self.bases:
            step_by_base(self, {k: sums.tensors[k] / count for k in walked})
            return
        for part in (part.among(walked) for part in every(self)):
            x, rate = part.of(centres), part.group["lr"] / count
            langevin_steps(x, part.of(sums), rate, into=part.places)
            decay(part.places, x, part.group)

    def _scatter(self, latest: list[Part], centres: Store, sums: Store, sign: float) -> None:
        """x + ξ with the normals of the next evaluation, or of the previous one; the latest
        gradients are added to the sums in the same pass.
        """
        loose = [part.only([p.requires_grad for p in part.params]) for part in latest]
        moved = numbers_of(loose)
        for part in latest:
            still = part.beyond(moved)
            add_all(still.of(sums), still.slopes)
        for part in loose:
            noise = self._noise(part, sign)
            scatter(part.places, part.of(centres), noise, part.of(sums), part.slopes)
        for part in every(self):
            others = part.beyond(moved)
            others = others.only([p.requires_grad for p in others.params])
            if others.numbers:
                scatter(others.places, others.of(centres), self._noise(others, sign))

    def _noise(self, part: Part, sign: float) -> Noise:
        """ξ."""
        group = part.group
        scale = sign * sqrt(group["gamma"] * group["temperature"])
        at = Address(group["seed"], step=group["evaluations"] - (sign < 0))
        return Noise(scale, at, part.numbers)
