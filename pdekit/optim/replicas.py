"""Several copies of a network around a master: what ``ElasticSGD`` and ``Parle`` share.

The parameters hold the master x. The replicas x^a of a process lie stacked in
``state[p]["replicas"]``, of shape (replicas of this process, *shape of p).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed

from pdekit.optim.groups import common, copied, parameters, spare
from pdekit.particles.ranks import Ranks

Stacks = dict[Tensor, Tensor]


def ranks_of(process_group: Any) -> Ranks:
    """The processes that share the replicas; one alone where none have been joined."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Ranks()
    rank = distributed.get_rank(process_group)
    if rank < 0:
        raise ValueError(
            f"rank {distributed.get_rank()} is not in process_group: make the optimizer on the "
            "ranks of that group only"
        )
    return Ranks(rank, distributed.get_world_size(process_group), process_group)


@contextmanager
def rehearsed(optimizer: Any, ranks: Ranks) -> Iterator[tuple[Stacks, Stacks]]:
    """Copies of the master, to be read, and of the replicas, to be moved: they replace the replicas
    at the end, or, where the body raises, the optimizer is as it was.
    """
    began, counts = len(optimizer.state), _evaluations(optimizer)
    _begin(optimizer, ranks)
    state, kept = optimizer.state, spare(optimizer)
    tensors = [p for _, _, p in parameters(optimizer)]
    masters = {p: copied(p.detach(), kept.get((p, "master"))) for p in tensors}
    moved = {p: copied(state[p]["replicas"], kept.get((p, "replicas"))) for p in tensors}
    try:
        yield masters, moved
    except BaseException:
        _count(optimizer, counts)
        for p, x in masters.items():
            p.copy_(x)
        if not began:
            state.clear()
        raise
    for p in tensors:
        kept[p, "master"], kept[p, "replicas"] = masters[p], state[p]["replicas"]
        state[p]["replicas"] = moved[p]


def turns(optimizer: Any, ranks: Ranks) -> Iterator[int]:
    """The replicas of this process one by one: the parameters hold it, ``replica`` its number.

    ``evaluations`` counts the gradients of a replica, so that the noise does not depend on how
    many of them a process has.
    """
    count, counts = common(optimizer, "replicas"), _evaluations(optimizer)
    for a in range(count):
        optimizer.replica = ranks.rank * count + a
        _count(optimizer, counts)
        for _, _, p in parameters(optimizer):
            p.copy_(optimizer.state[p]["replicas"][a])
        yield a


def take_mean(stacks: Stacks, ranks: Ranks) -> int:
    """Set the parameters to the mean over the replicas of all processes; the number of these."""
    for p, stack in stacks.items():
        torch.sum(stack, dim=0, out=p)
    if ranks.size > 1:
        sums = [p.detach().contiguous() for p in stacks]
        sent = [distributed.all_reduce(s, group=ranks.group, async_op=True) for s in sums]
        for p, s, work in zip(stacks, sums, sent, strict=True):
            work.wait()
            p.copy_(s)
    n = ranks.size * len(next(iter(stacks.values())))
    for p in stacks:
        p.div_(n)
    return n


def _begin(optimizer: Any, ranks: Ranks) -> None:
    """Before the first step every replica is at the master, which is that of the first process."""
    count = common(optimizer, "replicas")
    for _, _, p in parameters(optimizer):
        state = optimizer.state[p]
        if "replicas" not in state:
            if ranks.size > 1:
                first = p.detach().contiguous()
                distributed.broadcast(first, group=ranks.group, group_src=0)
                p.copy_(first)
            state["replicas"] = torch.stack([p.detach()] * count)


def _evaluations(optimizer: Any) -> list[int]:
    return [group["evaluations"] for group in optimizer.param_groups]


def _count(optimizer: Any, counts: list[int]) -> None:
    for group, count in zip(optimizer.param_groups, counts, strict=True):
        group["evaluations"] = count
