"""Elastic-SGD: replicas of a network, each attracted to a master that follows their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.bases import Base, decay, quotients
from pdekit.optim.gradients import Closure, Loss, Part, evaluated, every, mean_loss, slopes_or_zero
from pdekit.optim.groups import Schedule, common
from pdekit.optim.options import Group, check_range, check_whole, check_width, rate_of
from pdekit.optim.replicas import (
    Replicated,
    Tensors,
    each_replica,
    ranks_of,
    replicas_of,
    step_replicas,
    take_mean,
    transaction,
)
from pdekit.optim.tables import Store
from pdekit.optim.updates import interpolate, relay

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from pdekit.particles.run.ranks import Ranks


class ElasticSGD(Replicated):
    """x^a ← x^a - η (∇f(x^a) + (x^a - x)/ρ), x ← x - (n η'/ρ)(x - mean of the x^a).

    Both from the old values: gradient descent on Σ_a f(x^a) + |x^a - x|²/(2ρ), with rate η in the
    n replicas and η' in the master x. Replicas that relax before x moves pull it along
    the gradient of n u(·, ρ), u the local entropy of ``EntropySGD``, for every n. Thesis (5.4),
    with the attraction of errata 28; mathematics 1.10.

    **The parameters hold x** between steps, and a replica while the closure runs:
    ``optimizer.replica`` is its number among all, for closures that give each replica its own data.
    The replicas of a process are in ``state[p]["replicas"]``; the optimizer holds 2 replicas + 1
    copies of the network.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η; None for 0.2 a replica, at most 0.6: a step takes n gradients. With a base for its own
    rho : ρ > 0, or a schedule
    replicas : of each process, the same in all groups
    master_lr : η'; with ρ/n each step moves x to the mean; None for ``lr``, or ρ/n where that is
        smaller, or with a base
    base : a function from parameters to the torch optimizer of a replica, with ∇f + (x^a - x)/ρ for
        its gradient, such as ``lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True)``
        (the thesis' choice); one for each replica. A weight without gradient then stays
    weight_decay : w >= 0; x^a loses the share η w in a step (decoupled)
    process_group : of torch.distributed; None for the default one, if there is one

    ``step(closure)`` calls the closure once for each replica of the process and returns the mean of
    its losses there. Raises ``TypeError`` without a closure and ``ValueError`` for numbers out of
    range, without a base among them (η + n η')/ρ >= 2 in a step, unstable for every convex f.
    Stable if η (λ + 1/ρ) + n η'/ρ < 2, λ the largest curvature. If the closure raises, everything
    is as before the step.

    **Several processes** (torchrun, after ``init_process_group``) take part with ``replicas``
    each, n in total. They start from the parameters of the first. A step, one gradient of each
    replica, costs an all-reduce as large as the parameters, and every process has bitwise the same
    x. With n = 2 the result is bitwise that of one process, because a + b = b + a; with more the
    sum is rounded in another order. Each process saves its own ``state_dict``. If one raises, the
    others raise ``RankError`` with its reason, and all are as before the step.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        rho: float | Schedule = 2.0,
        replicas: int = 3,
        master_lr: float | None = None,
        *,
        base: Base | None = None,
        weight_decay: float = 0.0,
        process_group: ProcessGroup | None = None,
    ) -> None:
        self.process_group = process_group
        options = {
            "lr": rate_of(lr, replicas=replicas) if base is None else lr,
            "rho": rho,
            "replicas": replicas,
            "master_lr": master_lr,
            "weight_decay": weight_decay,
        }
        super().__init__(params, options, base, replicas)

    def check(self, group: Group) -> None:
        check_whole(group, "replicas", 1)
        check_range(group, "lr", 0.0)
        check_width(group, "rho")
        check_range(group, "master_lr", 0.0, optional=True)

    def check_stable(self, group: Group) -> None:
        n = group["replicas"] * ranks_of(self.process_group).size
        rate = self._master_rate(group, n)
        pull = n * rate if self.bases else group["lr"] + n * rate
        if pull / group["rho"] >= 2:
            least = group["lr"] if group["master_lr"] is None else pull / 2
            raise ValueError(
                f"(lr + n master_lr)/rho must be below 2, got ({group['lr']:g} + {n} * "
                f"{rate:g})/{group['rho']:g}: the distance of master and replicas "
                f"would grow; use rho > {least:g}, or smaller learning rates"
            )

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move replicas and master; returns the mean of the losses of the replicas."""
        self.recheck_groups()
        ranks, losses = ranks_of(self.process_group), []
        n = common(self, "replicas") * ranks.size
        with transaction(self, ranks) as (masters, moved):
            downhill, replicas = list[Tensors](), replicas_of(self)
            for _, a in each_replica(self, ranks, relayed=not self.bases):
                loss, moving = evaluated(self, closure)
                losses.append(loss)
                if self.bases:
                    downhill.append(pulled_slopes(moving, masters))
                else:
                    self._walk(moving, masters, replicas, moved, a, ranks)
                del moving  # no gradient is kept while the next is computed
            mean = mean_loss(losses)
            if self.bases or ranks.size > 1:
                take_mean(self, masters, ranks)
                for part in every(self):
                    x0, share = part.of(masters), self._share(part.group, n)
                    interpolate(part.places, x0, part.places, share)
            step_replicas(self, downhill, moved)
        return mean

    def _walk(
        self,
        moving: list[Part],
        masters: Store,
        replicas: list[Store],
        moved: list[Store],
        a: int,
        ranks: Ranks,
    ) -> None:
        """x^a - η (∇f + (x^a - x)/ρ). The parameters become the following replica, or after the
        last one x, moved, if all are here.
        """
        last = a == len(replicas) - 1
        for part in every(self):
            rate, rho = part.group["lr"], part.group["rho"]
            slopes, x, new = slopes_or_zero(part), part.of(masters), part.of(moved[a])
            if last and ranks.size == 1:
                following = [*(part.of(other) for other in replicas[:-1]), part.places]
                share = self._share(part.group, len(replicas))
            else:
                following, share = [part.of(replicas[(a + 1) % len(replicas)])], 1.0
            relay(part.places, slopes, x, new, following, rate, rho, share)
        for part in moving:
            decay(part.of(moved[a]), part.of(replicas[a]), part.group)

    def _share(self, group: Group, n: int) -> float:
        """n η'/ρ."""
        return float(n * self._master_rate(group, n) / group["rho"])

    def _master_rate(self, group: Group, n: int) -> float:
        """η'."""
        if group["master_lr"] is not None:
            return float(group["master_lr"])
        whole = float(group["rho"] / n)
        return whole if self.bases else min(float(group["lr"]), whole)


def pulled_slopes(moving: list[Part], masters: Store) -> Tensors:
    """∇f + (x^a - x)/ρ, by number."""
    slopes: Tensors = {}
    for part in moving:
        pulls = quotients(part, dict(part.pairs()), masters.tensors, part.group["rho"])
        pairs = zip(part.numbers, part.gradients, strict=True)
        slopes.update({k: pulls[k] + slope for k, slope in pairs})
    return slopes
