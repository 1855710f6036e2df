"""Replicas that attract each other: what ``MFSGLD`` and ``MFHomSGLD`` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pdekit.optim.gradients import Loss, mean_loss
from pdekit.optim.groups import common
from pdekit.optim.options import Group, check_range, check_seed
from pdekit.optim.replicas import each_replica, ranks_of, take_mean, transaction
from pdekit.optim.tables import Store

Move = Callable[[Store, int, int, Store, Store], tuple[Loss, list[Tensor]]]
"""(x, a, n, means, into) -> the loss of replica a of n, moved from x to ``into``, and what it keeps
for the next step."""


def step_attracted(optimizer: Any, move: Move) -> tuple[Loss, list[list[Tensor]]]:
    """Move the replicas one after the other, then the parameters to their mean.

    The mean of the losses at their first gradients, and what each replica keeps.
    """
    optimizer.recheck_groups()
    ranks, losses, ends = ranks_of(optimizer.process_group), [], []
    n = common(optimizer, "replicas") * ranks.size
    with transaction(optimizer, ranks) as (means, moved):
        for x, a in each_replica(optimizer, ranks):
            loss, end = move(x, a, n, means, moved[a])
            losses.append(loss)
            ends.append(end)
        mean = mean_loss(losses)
        take_mean(optimizer, means, ranks, moved)
    return mean, ends


def check_attraction(group: Group, pull: float) -> None:
    """Raise for options of replicas that attract each other out of range."""
    check_range(group, "strength", 0.0)
    check_seed(group)
    if group["lr"] * (pull + group["strength"]) >= 2:
        total = f"{pull:g} + {group['strength']:g}" if pull else f"{group['strength']:g}"
        raise ValueError(
            f"lr * {'(1/gamma + strength)' if pull else 'strength'} must be below 2, got "
            f"{group['lr']:g} * ({total}): the distances of the replicas would grow; use "
            f"lr < {2 / (pull + group['strength']):g}"
        )
