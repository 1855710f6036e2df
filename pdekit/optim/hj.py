"""Descent on the solution of the Hamilton-Jacobi equation without viscosity."""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.entropy_sgd import check_inner_loop, inner_loop, with_width
from pdekit.optim.groups import (
    Checked,
    Closure,
    Group,
    Loss,
    check_switch,
    common,
    copy_all,
    evaluated,
    rate_of,
    restored_on_error,
)
from pdekit.optim.updates import interpolate, langevin_steps


class HJ(Checked):
    """y ← x; L times: y ← y - η_y (∇f(y) + (y - x)/γ); then x ← x - (η/γ)(x - y).

    ``EntropySGD`` without noise and average: y tends to the proximal point of x, and (x - y)/γ to
    the gradient of the Moreau envelope u(x, γ) = min_y f(y) + |x - y|²/(2γ), which solves
    u_t = -|∇u|²/2 (``pk.HamiltonJacobi``). With ``dual=True`` the other gradient of the same u,
    x ← x - η ∇f(y), for one gradient more. Thesis 4.6.1.2, (4.42).

    Parameters: those of ``EntropySGD`` but ``temperature``, ``alpha`` and ``seed``.
    ``step(closure)`` calls the closure L times, or L + 1, and returns its first loss, f(x).
    """

    derived = ("temperature", "alpha")

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        gamma: float | None = None,
        inner_steps: int = 5,
        *,
        inner_lr: float | None = None,
        dual: bool = False,
    ) -> None:
        options = {
            "lr": rate_of(lr, inner_steps),
            "gamma": gamma,
            "inner_steps": inner_steps,
            "inner_lr": inner_lr,
            "temperature": 0.0,
            "alpha": 0.0,
            "dual": dual,
        }
        super().__init__(params, options)

    def completed(self, group: Group) -> Group:
        return with_width(group)

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
        with restored_on_error(self) as centres:
            loss, moved = inner_loop(self, closure, centres, None)
            ahead = evaluated(self, closure)[1] if dual else []
            for part in moved:
                if dual:
                    copy_all(part.places, part.of(centres))
                elif part.group["lr"] != part.group["gamma"]:  # with equal ones x becomes y
                    share = part.group["lr"] / part.group["gamma"]
                    interpolate(part.places, part.of(centres), part.places, share)
            for part in ahead:
                rate = part.group["lr"]
                langevin_steps(part.of(centres), part.slopes, rate, into=part.places)
        return loss
