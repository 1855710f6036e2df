"""Parle: Entropy-SGD in the replicas of Elastic-SGD."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.entropy_sgd import check_inner_loop, inner_loop
from pdekit.optim.groups import (
    RATE,
    Closure,
    Group,
    Loss,
    check_seed,
    check_whole,
    check_width,
    common,
    copy_all,
    every,
    mean_loss,
)
from pdekit.optim.replicas import Replicated, each_replica, ranks_of, take_mean, transaction
from pdekit.optim.updates import couple

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Parle(Replicated):
    """y, z ← x^a; L times: y ← y - η_y (∇f(y) + (y - x^a)/γ), z ← α z + (1 - α) y, in n replicas;
    then x^a ← x^a - η (x^a - z) - (η/ρ)(x^a - x) and x ← mean of the x^a, both from the old values.

    Descent on Σ_a u(x^a, γ) + |x^a - x|²/(2ρ), u the local entropy of ``EntropySGD``. Thesis (5.8)
    with η¹ = ηγ, η² = η, η³ = ρ/n and z_k in place of z_t (errata 60; mathematics 1.10). So x lags
    one step behind the mean of the replicas, and does not move in the first step. After k steps
    γ = γ_0 (1 - 1/(2B))^k and ρ alike (5.10).

    **The parameters hold x** between steps, and y of ``optimizer.replica`` while the closure runs;
    where the replicas are, and what memory they take, is as for ``ElasticSGD``.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η, the fraction of the distance from x^a to z: x moves about η times as fast as by SGD
        with rate η_y. The thesis has η_y = η = 0.1, which is slow
    gamma : γ_0 > 0; ``group["gamma"]`` is γ
    rho : ρ_0 > 0, or inf for uncoupled replicas; ``group["rho"]`` is ρ
    inner_steps : L, gradients of a replica a step, the same in all groups
    replicas : of each process, the same in all groups
    batches : B, mini-batches in the data; None: γ and ρ stay
    inner_lr : η_y; None for 0.2, or ``lr`` as it is at first where that is smaller (but not 0)
    alpha : α in [0, 1), the weight of the past in z
    gamma_min : where γ stops
    rho_min : where ρ stops; None for the larger of 0.1 and ``lr`` as it is at first
    temperature : T of noise √(2 η_y T) ξ added to y, other noise in each replica
    seed : of the noise
    process_group : of torch.distributed; None for the default one, if there is one

    ``step(closure)`` calls the closure L times for each replica of the process and returns the mean
    of their first losses, f(x^a). Raises ``TypeError`` without a closure and ``ValueError`` for
    numbers out of range, among them η > ρ: the distance of x from the mean of the x^a is multiplied
    by -η/ρ a step where f is flat. Stable on a quadratic if η_y (λ + 1/γ) < 2, λ the largest
    curvature, and η (1 + 2/ρ) < 2. If the closure raises, everything is as before the step.

    Special cases (corrected, errata 60): ρ = inf is ``EntropySGD`` with lr = ηγ in each replica;
    L = 1 is ``ElasticSGD``, with rate η η_y (1 - α) for ∇f and η for the attraction, whatever γ.

    **Several processes** (torchrun, after ``init_process_group``) take part with ``replicas`` each,
    n in all; they start from the parameters of the first. A step, L gradients of each replica,
    costs one all-reduce as large as the parameters: 1/L of the traffic of ``ElasticSGD``, whose
    notes hold here too.
    """

    derived = ("initial_gamma", "initial_rho")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.5,
        gamma: float = 100.0,
        rho: float = 1.0,
        inner_steps: int = 25,
        replicas: int = 3,
        batches: int | None = None,
        *,
        inner_lr: float | None = None,
        alpha: float = 0.25,
        gamma_min: float = 1.0,
        rho_min: float | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        process_group: ProcessGroup | None = None,
    ) -> None:
        ranks_of(process_group)
        self.process_group = process_group
        options = {
            "lr": lr,
            "gamma": gamma,
            "rho": rho,
            "inner_steps": inner_steps,
            "replicas": replicas,
            "batches": batches,
            "inner_lr": inner_lr,
            "alpha": alpha,
            "gamma_min": gamma_min,
            "rho_min": rho_min,
            "temperature": temperature,
            "seed": seed,
            "steps": 0,
        }
        super().__init__(params, options)

    def completed(self, group: Group) -> Group:
        check(group)
        if group["inner_lr"] is None:
            group["inner_lr"] = min(group["lr"], RATE) or RATE
        if group["rho_min"] is None:
            group["rho_min"] = max(0.1, group["lr"])
        group["initial_gamma"], group["initial_rho"] = group["gamma"], group["rho"]
        return group

    def check(self, group: Group) -> None:
        check(group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move replicas and master; returns the mean of the losses at the old replicas."""
        self.recheck_groups()
        ranks, losses = ranks_of(self.process_group), []
        n = common(self, "replicas") * ranks.size
        with transaction(self, ranks) as (masters, moved):
            for starts, a in each_replica(self, ranks):
                means = moved[a]
                loss, walked = inner_loop(self, closure, starts, means, self.replica, n)
                losses.append(loss)
                there = {k for part in walked for k in part.numbers}
                for part in every(self):
                    still = part.beyond(there)
                    copy_all(still.of(means), still.of(starts))
                    share, x = part.group["lr"], part.of(starts)
                    pull = share / part.group["rho"]
                    couple(part.of(means), x, part.of(masters), share, pull)
            mean = mean_loss(losses)
            take_mean(self, masters, ranks)
        for group in self.param_groups:
            group["steps"] += 1
            if group["batches"] is not None:
                group["gamma"], group["rho"] = scoped(group, "gamma"), scoped(group, "rho")
        return mean


def scoped(group: Group, name: str) -> float:
    """γ or ρ after the steps made; it never rises."""
    first = group[f"initial_{name}"]
    shrunk = first * (1 - 0.5 / group["batches"]) ** group["steps"]
    return float(max(shrunk, min(first, group[f"{name}_min"])))


def check(group: Group) -> None:
    """Raise for options out of range."""
    check_inner_loop(group)
    check_seed(group)
    if not (isinstance(group["rho"], float) and group["rho"] == inf):
        check_width(group, "rho")
    check_whole(group, "replicas", 1)
    if group["batches"] is not None:
        check_whole(group, "batches", 1)
    check_width(group, "gamma_min")
    check_width(group, "rho_min", optional=True)
    for name in ("rho", "rho_min"):
        if group[name] is not None and group["lr"] > group[name]:
            raise ValueError(
                f"lr must not exceed {name}, got {group['lr']:g} and {group[name]:g}: the distance "
                f"of master and replicas would grow; use a smaller lr, or a larger {name}"
            )
