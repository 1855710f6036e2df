"""Several copies of a network around a master: what ``ElasticSGD`` and ``Parle`` share.

The parameters hold the master x. The replicas x^a of a process lie stacked in
``state[p]["replicas"]``, of shape (replicas of this process, *shape of p).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from pdekit.checks import shown
from pdekit.optim.collectives import Traffic, agree, set_to_first, summed
from pdekit.optim.groups import (
    Checked,
    common,
    copied,
    evaluations,
    parameters,
    scratch,
    set_evaluations,
)
from pdekit.particles.run.ranks import RankError, Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Stacks = dict[Tensor, Tensor]


class Replicated(Checked):
    """Base class: the parameters hold the master, and a replica while the closure runs.

    ``replica`` is the number of that one among those of all processes in ``process_group``;
    ``traffic`` counts the bytes sent by this one.
    """

    process_group: ProcessGroup | None = None
    replica = 0
    traffic = Traffic()


def ranks_of(process_group: ProcessGroup | None) -> Ranks:
    """The processes that share the replicas; a single one unless a process group exists."""
    if process_group is not None and not _is_group(process_group):
        raise TypeError(
            "process_group must be one of torch.distributed (new_group(...)) or None for the "
            f"default one, got {shown(process_group)}"
        )
    if not (distributed.is_available() and distributed.is_initialized()):
        return Ranks()
    rank = distributed.get_rank(process_group)
    if rank < 0:
        raise ValueError(
            f"rank {distributed.get_rank()} is not in process_group; construct the optimizer only "
            "on the ranks of that group"
        )
    return Ranks(rank, distributed.get_world_size(process_group), process_group)


def _is_group(value: Any) -> bool:
    """Whether it is a process group, or the placeholder for one without this process."""
    if not distributed.is_available():
        return False
    outside = distributed.GroupMember.NON_GROUP_MEMBER
    return isinstance(value, distributed.ProcessGroup) or (
        isinstance(value, type(outside)) and value == outside
    )


@contextmanager
def transaction(optimizer: Any, ranks: Ranks) -> Iterator[tuple[Stacks, Stacks]]:
    """Yields copies of master and replicas to be updated; they replace the replicas at
    the end. If the body raises, on any rank, the optimizer is left unchanged on all.
    """
    optimizer.traffic = Traffic(0, optimizer.traffic.total)
    began, counts, turn = set(optimizer.state), evaluations(optimizer), optimizer.replica
    _begin(optimizer, ranks)
    state, kept = optimizer.state, scratch(optimizer)
    tensors = [p for _, _, p in parameters(optimizer)]
    masters = {p: copied(p.detach(), kept.get((p, "master"))) for p in tensors}
    moved = {p: copied(state[p]["replicas"], kept.get((p, "replicas"))) for p in tensors}
    try:
        yield masters, moved
    except BaseException as error:
        set_evaluations(optimizer, counts)
        optimizer.replica = turn
        for p, x in masters.items():
            p.copy_(x)
            if p not in began:
                del state[p]
        if ranks.size > 1 and not isinstance(error, RankError):
            with suppress(RankError):  # its own error says more
                agree(ranks, size_of(masters), f"{type(error).__name__}: {error}")
        raise
    for p in tensors:
        kept[p, "master"], kept[p, "replicas"] = masters[p], state[p]["replicas"]
        state[p]["replicas"] = moved[p]


def each_replica(optimizer: Any, ranks: Ranks) -> Iterator[int]:
    """Iterate over the replicas of this process: the parameters hold the replica, ``replica`` its
    number.

    ``evaluations`` counts the gradients of a replica, so that the noise does not depend on the
    number of replicas per process.
    """
    count, counts = common(optimizer, "replicas"), evaluations(optimizer)
    for a in range(count):
        optimizer.replica = ranks.rank * count + a
        set_evaluations(optimizer, counts)
        for _, _, p in parameters(optimizer):
            p.copy_(optimizer.state[p]["replicas"][a])
        yield a


def take_mean(optimizer: Any, stacks: Stacks, masters: dict[Tensor, Tensor], ranks: Ranks) -> None:
    """Set the parameters to the mean over the replicas of all processes.

    The mean of equal numbers is bitwise that number. ``RankError`` if a process has failed.
    """
    for p, stack in stacks.items():
        _mean(stack, p)
    if ranks.size == 1:
        return
    agree(ranks, size_of(masters))
    # of 2, 4, ... equal numbers the sum is exact; otherwise the displacements from the master are
    # added
    whole = ranks.size & (ranks.size - 1) == 0
    sums = [p.detach() if whole else p - masters[p] for p in stacks]
    optimizer.traffic = optimizer.traffic.plus(summed(ranks, sums))
    for p, s in zip(stacks, sums, strict=True):
        s.div_(ranks.size)
        p.copy_(s if whole else masters[p] + s)


def _mean(stack: Tensor, out: Tensor) -> None:
    """Over the first axis, as a running one where the sum of equal numbers would be rounded."""
    n = len(stack)
    if n & (n - 1) == 0:
        torch.sum(stack, dim=0, out=out)
        out.div_(n)
        return
    out.copy_(stack[0])
    for a in range(1, n):
        out.lerp_(stack[a], 1 / (a + 1))


def _begin(optimizer: Any, ranks: Ranks) -> None:
    """Before the first step every replica is at the master of the first process."""
    count, tensors = common(optimizer, "replicas"), [p for _, _, p in parameters(optimizer)]
    new = [p for p in tensors if "replicas" not in optimizer.state[p]]
    if new and ranks.size > 1:
        agree(ranks, size_of(new))
        optimizer.traffic = optimizer.traffic.plus(set_to_first(ranks, new))
    for p in new:
        optimizer.state[p]["replicas"] = torch.stack([p.detach()] * count)


def size_of(tensors: Iterable[Tensor]) -> int:
    """How many numbers they hold."""
    return sum(t.numel() for t in tensors)
