"""MaSS: Nesterov's method with a compensation term for stochastic gradients."""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.bases import decay
from pdekit.optim.checked import Checked
from pdekit.optim.gradients import Closure, Loss, loss_of
from pdekit.optim.groups import common
from pdekit.optim.nesterov import age_after, iterates
from pdekit.optim.options import RATE, Group, check_range, check_switch
from pdekit.optim.updates import accelerate


class MaSS(Checked):
    """w⁺ = u - η g(u), u⁺ = (1 + γ) w⁺ - γ w + η₂ g(u) (Liu and Belkin; report (34)).

    **The parameters hold u**, where gradients are taken; w is in ``state[p]["w"]``.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η >= 0
    momentum : γ in [0, 1); with ``restart=True`` it is (α - 1)/(α + 2) instead, α counting the
        steps since the last step uphill (report (35), errata 69)
    compensation : η₂/η in [0, 1); 0 is Nesterov's method
    weight_decay : w >= 0; before a step u loses the share η w (decoupled)

    ``step(closure=None)`` returns the loss of the closure, if there is one. Raises ``ValueError``
    for numbers out of range. Stable if η λ < 2 (1 + γ)/(1 + 2γ - η₂/η).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = RATE / 10,
        momentum: float = 0.9,
        compensation: float = 0.1,
        *,
        restart: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "compensation": compensation,
            "restart": restart,
            "weight_decay": weight_decay,
            "age": 1,
        }
        super().__init__(params, options)

    def check(self, group: Group) -> None:
        check_range(group, "lr", 0.0)
        check_range(group, "momentum", 0.0, 1.0)
        check_range(group, "compensation", 0.0, 1.0)
        check_switch(group, "restart")

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move w and u; returns the loss of the closure, at u."""
        self.recheck_groups()
        age, restart = self.param_groups[0]["age"], common(self, "restart")
        (loss, moving), climb = loss_of(self, closure), 0.0
        for of in moving:
            eta, compensation = of.group["lr"], of.group["compensation"]
            momentum = (age - 1) / (age + 2) if restart else of.group["momentum"]
            w = iterates(self, of)
            decay(of.places, of.places, of.group)
            climb += accelerate(of.places, w, of.slopes, eta, momentum, compensation, restart)
        if restart:
            for group in self.param_groups:
                group["age"] = age_after(age, climb)
        return loss
