"""Descent on the solution of the Hamilton-Jacobi equation without viscosity."""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.bases import Base, decay, step_by_base
from pdekit.optim.buffers import copy_all, restored_on_error
from pdekit.optim.checked import Checked
from pdekit.optim.entropy_sgd import check_inner_loop, inner_loop, step_towards, with_width
from pdekit.optim.gradients import Closure, Loss, Part, evaluated
from pdekit.optim.groups import Schedule, common
from pdekit.optim.options import Group, check_switch, rate_of
from pdekit.optim.updates import langevin_steps


class HJ(Checked):
    """y ← x; L times: y ← y - η_y (∇f(y) + (y - x)/γ); then x ← x - (η/γ)(x - y).

    ``EntropySGD`` without noise and average: y tends to the proximal point of x, and (x - y)/γ to
    the gradient of the Moreau envelope u(x, γ) = min_y f(y) + |x - y|²/(2γ), which solves
    u_t = -|∇u|²/2 (``pk.HamiltonJacobi``). With ``dual=True`` the other gradient of the same u,
    x ← x - η ∇f(y), for one gradient more. Thesis 4.6.1.2, (4.42).

    Parameters: those of ``EntropySGD`` but ``temperature``, ``alpha``, ``average``, ``burn_in`` and
    ``seed``. The gradient of a ``base`` is (x - y)/γ, or ∇f(y).
    ``step(closure)`` calls the closure L times, or L + 1, and returns its first loss, f(x).
    """

    derived = ("temperature", "alpha")

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        gamma: float | Schedule | None = None,
        inner_steps: int = 5,
        *,
        inner_lr: float | None = None,
        dual: bool = False,
        base: Base | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        options = {
            "lr": rate_of(lr, inner_steps) if base is None else lr,
            "gamma": gamma,
            "inner_steps": inner_steps,
            "inner_lr": inner_lr,
            "temperature": 0.0,
            "alpha": 0.0,
            "dual": dual,
            "weight_decay": weight_decay,
        }
        super().__init__(params, options, base)

    def completed(self, group: Group) -> Group:
        return with_width(group, bool(self.bases))

    def check(self, group: Group) -> None:
        if (group["temperature"], group["alpha"]) != (0.0, 0.0):
            raise ValueError("HJ has no options temperature and alpha; use EntropySGD")
        check_inner_loop(group)
        check_switch(group, "dual")

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move x; returns the loss at the old x."""
        self.recheck_groups()
        dual = common(self, "dual")
        with restored_on_error(self) as (centres, anchored):
            loss, moved = inner_loop(self, closure, centres, None, anchored=anchored)
            ahead = evaluated(self, closure)[1] if dual else []
            if dual:
                for part in moved:
                    copy_all(part.places, part.of(centres))
                step_along(self, ahead)
            else:
                step_towards(self, moved, centres)
        return loss


def step_along(optimizer: Checked, parts: list[Part]) -> None:
    """x ← x - η ∇f(y), or a step of the base, with decoupled decay."""
    if optimizer.bases:
        slopes = {k: g for part in parts for k, g in zip(part.numbers, part.gradients, strict=True)}
        step_by_base(optimizer, slopes)
        return
    for part in parts:
        decay(part.places, part.places, part.group)
        langevin_steps(part.places, part.slopes, part.group["lr"])
