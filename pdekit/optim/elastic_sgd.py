"""Elastic-SGD: replicas of a network, each attracted to a master that follows their mean."""

from __future__ import annotations

from itertools import repeat
from operator import is_not
from typing import TYPE_CHECKING

import torch
from torch.optim.optimizer import ParamsT

from pdekit.optim.groups import (
    Closure,
    Group,
    Loss,
    Part,
    check_range,
    check_whole,
    check_width,
    common,
    evaluated,
    every,
    mean_loss,
)
from pdekit.optim.replicas import Replicated, each_replica, ranks_of, take_mean, transaction
from pdekit.optim.tables import Column, Store
from pdekit.optim.updates import interpolate, langevin_steps

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


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
    lr : η
    rho : ρ > 0
    replicas : of each process, the same in all groups
    master_lr : η'; None for ``lr``; with ρ/n each step moves x to the mean
    process_group : of torch.distributed; None for the default one, if there is one

    ``step(closure)`` calls the closure once for each replica of the process and returns the mean of
    its losses there. Raises ``TypeError`` without a closure and ``ValueError`` for numbers out of
    range, among them (η + n η')/ρ >= 2, unstable for every convex f. Stable if
    η (λ + 1/ρ) + n η'/ρ < 2, λ the largest curvature. If the closure raises, everything is as
    before the step.

    **Several processes** (torchrun, after ``init_process_group``) take part with ``replicas``
    each, n in total. They start from the parameters of the first. A step, one gradient of each
    replica, costs an all-reduce as large as the parameters, and every process has bitwise the same
    x. With n = 2 the result is bitwise that of one process, because a + b = b + a; with more the
    sum is rounded in another order. Each process saves its own ``state_dict``. If one raises, the
    others wait until the group's timeout.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        rho: float = 1.0,
        replicas: int = 3,
        master_lr: float | None = None,
        *,
        process_group: ProcessGroup | None = None,
    ) -> None:
        self.process_group = process_group
        options = {
            "lr": lr,
            "rho": rho,
            "replicas": replicas,
            "master_lr": master_lr,
        }
        super().__init__(params, options)

    def check(self, group: Group) -> None:
        check_range(group, "lr", 0.0)
        check_width(group, "rho")
        check_range(group, "master_lr", 0.0, optional=True)
        check_whole(group, "replicas", 1)
        n = group["replicas"] * ranks_of(self.process_group).size
        pull = group["lr"] + n * master_rate(group)
        if pull / group["rho"] >= 2:
            raise ValueError(
                f"(lr + n master_lr)/rho must be below 2, got ({group['lr']:g} + {n} * "
                f"{master_rate(group):g})/{group['rho']:g}: the distance of master and replicas "
                f"would grow; use rho > {pull / 2:g}, or smaller learning rates"
            )

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move replicas and master; returns the mean of the losses of the replicas."""
        self.recheck_groups()
        ranks, losses = ranks_of(self.process_group), []
        with transaction(self, ranks) as (masters, moved):
            for _, a in each_replica(self, ranks):
                losses.append(evaluated(self, closure)[0])
                self._move(masters, moved[a])
            take_mean(self, masters, ranks)
            n = common(self, "replicas") * ranks.size
            for part in every(self):
                share = n * master_rate(part.group) / part.group["rho"]
                interpolate(part.places, part.of(masters), part.places, share)
            loss = mean_loss(losses)
        return loss

    def _move(self, masters: Store, moved: Store) -> None:
        """The step of the replica that the parameters hold; no gradient is kept."""
        for part in every(self):
            rate, rho = part.group["lr"], part.group["rho"]
            x, into = part.of(masters), part.of(moved)
            langevin_steps(part.places, gradients(part), rate, None, x, rho, into=into)


def master_rate(group: Group) -> float:
    """η'."""
    rate = group["master_lr"]
    return float(group["lr"] if rate is None else rate)


def gradients(part: Part) -> Column:
    """Zero where there is none."""
    if all(map(is_not, part.gradients, repeat(None))):
        return part.slopes
    pairs = zip(part.params, part.gradients, strict=True)
    return Column([torch.zeros_like(p) if slope is None else slope for p, slope in pairs])
