"""Trivialized-SGD: a random field that removes minima, reduced to zero during training."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from pdekit.optim.bases import Base, step_by_base
from pdekit.optim.checked import Checked
from pdekit.optim.gradients import Closure, Loss, every, loss_of
from pdekit.optim.options import Group, check_range, check_seed, rate_of
from pdekit.optim.tables import Column
from pdekit.optim.updates import Noise, noisy_descent, scatter
from pdekit.particles.noise import INITIAL_NORMAL, Address


class TrivializedSGD(Checked):
    """x ← x - η (∇f(x) + v_i h), h ~ N(0, I) once and for all, i the number of the step.

    In the field v_i the mean number of critical points of a spherical p-spin glass, the model of a
    network with p layers, is to first order that at τ_i/n = e^{-i/τ_0} - 1/2: from few to as many
    as without it.
    v_i² = J² p (p - 2) max(0, 1 + (τ_i/n)(2p - 2)/(p - 2)), thesis Algorithm 1 with the factor of
    errata 54 (2 for p >> 1, as printed there).

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η >= 0; None for 0.2, with a base for its own
    coupling : J >= 0
    decay : τ_0 > 0, in steps
    layers : p >= 3; None for the number of parameters with two dimensions or more
    base : a function from parameters to the torch optimizer that makes the step, with ∇f + v_i h
        for its gradient, such as ``lambda p: torch.optim.Adam(p, lr=1e-3)``
    weight_decay : w >= 0; x loses the share η w in a step (decoupled)
    seed : of h, which is redrawn in every step and takes no memory

    ``step(closure=None)`` returns the loss of the closure, if there is one. Raises ``ValueError``
    for numbers out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        coupling: float = 1e-3,
        decay: float = 1000.0,
        layers: int | None = None,
        *,
        base: Base | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        options = {
            "lr": rate_of(lr) if base is None else lr,
            "coupling": coupling,
            "decay": decay,
            "layers": layers,
            "weight_decay": weight_decay,
            "seed": seed,
        }
        super().__init__(params, options, base)

    def check(self, group: Group) -> None:
        check_range(group, "lr", 0.0)
        check_range(group, "coupling", 0.0)
        check_range(group, "decay", 0.0, open_below=True)
        check_range(group, "layers", 3, optional=True)
        check_seed(group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move x; returns the loss of the closure."""
        if not self.bases:
            return noisy_descent(self, closure, self.noise)
        self.recheck_groups()
        loss, moving = loss_of(self, closure)
        slopes: dict[int, Tensor] = {}
        for part in moving:
            tilted = [g.resolve_conj().clone() for g in part.gradients]
            field = self.field(part.group, part.numbers)
            if field:
                scatter(Column(tilted), part.slopes, field)
            slopes.update(zip(part.numbers, tilted, strict=True))
        step_by_base(self, slopes)
        return loss

    def noise(self, group: Group, numbers: Sequence[int]) -> Noise | None:
        """-η v_i h of parameters."""
        return self.field(group, numbers, -group["lr"])

    def field(self, group: Group, numbers: Sequence[int], factor: float = 1.0) -> Noise | None:
        """A multiple of v_i h."""
        scale = factor * self.spread(group, group["evaluations"] - 1)
        at = Address(group["seed"], channel=INITIAL_NORMAL)
        return Noise(scale, at, numbers) if scale else None

    def spread(self, group: Group, step: int) -> float:
        """v_i, the spread of the field in step i."""
        p = group["layers"]
        if p is None:
            p = max(3, sum(q.ndim >= 2 for part in every(self) for q in part.params))
        tau = exp(-step / group["decay"]) - 0.5
        share = max(0.0, 1 + tau * (2 * p - 2) / (p - 2))
        return float(group["coupling"] * sqrt(p * (p - 2) * share))
