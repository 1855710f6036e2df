"""Parle: Entropy-SGD in the replicas of Elastic-SGD."""

from __future__ import annotations

from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.bases import Base, decay, quotients
from pdekit.optim.buffers import copy_all
from pdekit.optim.entropy_sgd import check_inner_loop, inner_loop
from pdekit.optim.gradients import Closure, Loss, Part, every, mean_loss, numbers_of
from pdekit.optim.groups import Schedule, common, former_names_refused
from pdekit.optim.options import RATE, Group, check_range, check_seed, check_whole, check_width
from pdekit.optim.replicas import (
    Replicated,
    Tensors,
    each_replica,
    ranks_of,
    step_replicas,
    take_mean,
    transaction,
)
from pdekit.optim.tables import Store
from pdekit.optim.updates import couple

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Parle(Replicated):
    """y, z ← x^a; L times: y ← y - η_y (∇f(y) + (y - x^a)/γ), z ← α z + (1 - α) y, in n replicas;
    then x^a ← x^a - η (x^a - z) - (η/ρ)(x^a - x) and x ← mean of the x^a, both from the old values.

    Descent on Σ_a u(x^a, γ) + |x^a - x|²/(2ρ), u the local entropy of ``EntropySGD``. Thesis (5.8)
    with η¹ = ηγ, η² = η, η³ = ρ/n and z_k in place of z_t (errata 60; mathematics 1.10). So x lags
    one step behind the mean of the replicas, and does not move in the first step. In the thesis γ
    and ρ narrow with the epochs, (5.10): ``gamma=Scoping(100.0, batches, floor=1.0)`` and
    ``rho=Scoping(1.0, batches, floor=0.1)`` of `pdekit.optim.schedules`.

    **The parameters hold x** between steps, and y of ``optimizer.replica`` while the closure runs;
    where the replicas are, and what memory they take, is as for ``ElasticSGD``.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η, the fraction of the distance from x^a to z: x moves about η times as fast as by SGD
        with rate η_y. None for 1, with a base for its own. The thesis has η_y = η = 0.1, which is
        slow
    gamma : γ > 0, or a schedule
    rho : ρ > 0, or a schedule; inf for uncoupled replicas
    inner_steps : L, gradients of a replica a step, the same in all groups
    replicas : of each process, the same in all groups
    inner_lr : η_y; None for 0.2 a replica, at most 0.6, or ``lr`` as it is at first where that is
        smaller (but not 0): a step takes n L gradients
    alpha : α in [0, 1), the weight of the past in z
    temperature : T of noise √(2 η_y T) ξ added to y, other noise in each replica; or a schedule
    base : a function from parameters to the torch optimizer of a replica, with
        x^a - z + (x^a - x)/ρ for its gradient; one for each replica
    weight_decay : w >= 0; x^a loses the share η w in a step (decoupled)
    seed : of the noise
    process_group : of torch.distributed; None for the default one, if there is one

    ``step(closure)`` calls the closure L times for each replica of the process and returns the mean
    of their first losses, f(x^a). Raises ``TypeError`` without a closure and ``ValueError`` for
    numbers out of range, without a base among them η (1 + 2/ρ) >= 2, unstable where f is steep
    (of η and ρ as they are in the step, if they fall).
    Stable on a quadratic if besides η_y (λ + 1/γ) < 2, λ the largest curvature. If the closure
    raises, everything is as before the step.

    Special cases (corrected, errata 60): ρ = inf is ``EntropySGD`` with lr = ηγ in each replica;
    L = 1 is ``ElasticSGD``, with rate η η_y (1 - α) for ∇f and η for the attraction, whatever γ.

    **Several processes** (torchrun, after ``init_process_group``) take part with ``replicas`` each,
    n in all; they start from the parameters of the first. A step, L gradients of each replica,
    costs one all-reduce as large as the parameters: 1/L of the traffic of ``ElasticSGD``, whose
    notes hold here too.
    """

    former = MappingProxyType(
        dict.fromkeys(
            ("batches", "gamma_min", "rho_min"),
            "gamma=Scoping(100.0, batches, floor=1.0) and rho=Scoping(4.0, batches, floor=2.5) of "
            "pdekit.optim.schedules",
        )
    )

    @former_names_refused
    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        gamma: float | Schedule = 100.0,
        rho: float | Schedule = 4.0,
        inner_steps: int = 25,
        replicas: int = 3,
        *,
        inner_lr: float | None = None,
        alpha: float = 0.25,
        temperature: float | Schedule = 0.0,
        base: Base | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        process_group: ProcessGroup | None = None,
    ) -> None:
        ranks_of(process_group)
        self.process_group = process_group
        options = {
            "lr": 1.0 if lr is None and base is None else lr,
            "gamma": gamma,
            "rho": rho,
            "inner_steps": inner_steps,
            "replicas": replicas,
            "inner_lr": inner_lr,
            "alpha": alpha,
            "temperature": temperature,
            "weight_decay": weight_decay,
            "seed": seed,
        }
        super().__init__(params, options, base, replicas)

    def completed(self, group: Group) -> Group:
        if group["inner_lr"] is not None:
            return group
        check_whole(group, "replicas", 1)
        check_range(group, "lr", 0.0)
        rate = RATE * min(group["replicas"], 3)
        own = rate if self.bases else min(group["lr"], rate)
        return {**group, "inner_lr": own or rate}

    def check(self, group: Group) -> None:
        check_inner_loop(group)
        check_seed(group)
        if not (isinstance(group["rho"], float) and group["rho"] == inf):
            check_width(group, "rho")
        check_whole(group, "replicas", 1)

    def check_stable(self, group: Group) -> None:
        lr, rho = group["lr"], group["rho"]
        if not self.bases and lr * (1 + 2 / rho) >= 2:
            more = f", or rho > {2 * lr / (2 - lr):g}" if lr < 2 else ""
            raise ValueError(
                f"lr (1 + 2/rho) must be below 2, got {lr:g} (1 + 2/{rho:g}): the distance of "
                f"master and replicas would grow; use lr < {2 / (1 + 2 / rho):g}{more}"
            )

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move replicas and master; returns the mean of the losses at the old replicas."""
        self.recheck_groups()
        ranks, losses = ranks_of(self.process_group), []
        n = common(self, "replicas") * ranks.size
        with transaction(self, ranks) as (masters, moved):
            downhill: list[Tensors] = []
            for starts, a in each_replica(self, ranks):
                means = moved[a]
                loss, walked = inner_loop(self, closure, starts, means, self.replica, n)
                losses.append(loss)
                if self.bases:
                    downhill.append(pulled(walked, starts, means, masters))
                    continue
                there = numbers_of(walked)
                for part in every(self):
                    still = part.beyond(there)
                    copy_all(still.of(means), still.of(starts))
                    share, x = part.group["lr"], part.of(starts)
                    pull = share / part.group["rho"]
                    couple(part.of(means), x, part.of(masters), share, pull)
                for part in walked:
                    decay(part.of(means), part.of(starts), part.group)
            mean = mean_loss(losses)
            take_mean(self, masters, ranks)
            step_replicas(self, downhill, moved)
        return mean


def pulled(walked: list[Part], xs: Store, zs: Store, masters: Store) -> Tensors:
    """x^a - z + (x^a - x)/ρ, by number."""
    slopes: Tensors = {}
    for part in walked:
        down = quotients(part, xs.tensors, zs.tensors, 1.0)
        pulls = quotients(part, xs.tensors, masters.tensors, part.group["rho"])
        slopes.update({k: down[k] + pulls[k] for k in part.numbers})
    return slopes
