"""Nesterov's method with restarts."""

from __future__ import annotations

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from pdekit.optim.bases import decay
from pdekit.optim.checked import Checked
from pdekit.optim.gradients import Closure, Loss, Part, loss_of
from pdekit.optim.options import RATE, Group, check_range
from pdekit.optim.tables import Column
from pdekit.optim.updates import accelerate


class NesterovRestart(Checked):
    """w⁺ = u - η g(u), u⁺ = (1 + γ) w⁺ - γ w, γ = (α - 1)/(α + 2), α the steps since a restart.

    A step uphill, g(u)·(w⁺ - w) > 0 over all parameters together, restarts: it counts as the
    first, and the next has α = 2 (O'Donoghue and Candès; report (33) with errata 69). **The
    parameters hold u**, where gradients are taken; w is
    in ``state[p]["w"]``.

    Parameters
    ----------
    params : tensors, or groups of them with learning rates of their own
    lr : η >= 0
    weight_decay : w >= 0; before a step u loses the share η w (decoupled)

    ``step(closure=None)`` returns the loss of the closure, if there is one. Raises ``ValueError``
    for numbers out of range. Stable if η λ < 4/3. The particles' form is
    ``pk.RestartedNesterov``, whose particles restart one by one.
    """

    def __init__(self, params: ParamsT, lr: float = RATE / 4, *, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "age": 1})

    def check(self, group: Group) -> None:
        check_range(group, "lr", 0.0)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move w and u; returns the loss of the closure, at u."""
        self.recheck_groups()
        loss, moving = loss_of(self, closure)
        age = self.param_groups[0]["age"]
        momentum, climb = (age - 1) / (age + 2), 0.0
        for of in moving:
            w = iterates(self, of)
            decay(of.places, of.places, of.group)
            climb += accelerate(of.places, w, of.slopes, of.group["lr"], momentum, 0.0)
        for group in self.param_groups:
            group["age"] = age_after(age, climb)
        return loss


def iterates(optimizer: Optimizer, of: Part) -> Column:
    """w of parameters, initially equal to u."""
    states = [optimizer.state[u] for u in of.params]
    for u, state in zip(of.params, states, strict=True):
        if "w" not in state:
            state["w"] = u.detach().clone()
    return Column([state["w"] for state in states])


def age_after(age: int, climb: float) -> int:
    """α of the next step: the restart counts as one."""
    return 2 if climb > 0 else age + 1
