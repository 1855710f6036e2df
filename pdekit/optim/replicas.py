"""Several copies of a network around a master: what ``ElasticSGD`` and ``Parle`` share.

The parameters hold the master x. The replicas x^a of a process lie stacked in
``state[p]["replicas"]``, of shape (replicas of this process, *shape of p).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from pdekit.checks import shown
from pdekit.optim.groups import (
    Checked,
    common,
    copied,
    count_step,
    evaluations,
    parameters,
    scratch,
    set_evaluations,
)
from pdekit.particles.run.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Stacks = dict[Tensor, Tensor]


class Replicated(Checked):
    """Base class: the parameters hold the master, and a replica while the closure runs.

    ``replica`` is the number of that one among those of all processes in ``process_group``.
    """

    process_group: ProcessGroup | None = None
    replica = 0

    @contextmanager
    @torch.no_grad()
    def at(self, replica: int) -> Iterator[None]:
        """``with optimizer.at(a):`` the parameters hold replica a of this process, in 0, 1, ...

        As to evaluate an ensemble, or a sample of each. ``IndexError`` for one that there is not.
        """
        count = common(self, "replicas")
        if not 0 <= replica < count:
            raise IndexError(f"replica must be one of 0, ..., {count - 1}, got {replica!r}")
        masters = {p: p.detach().clone() for _, _, p in parameters(self)}
        try:
            for p, x in masters.items():
                p.copy_(self.state[p]["replicas"][replica] if "replicas" in self.state[p] else x)
            yield
        finally:
            for p, x in masters.items():
                p.copy_(x)


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
    the end. If the body raises, the optimizer is left unchanged.
    """
    began, counts, turn = set(optimizer.state), evaluations(optimizer), optimizer.replica
    _begin(optimizer, ranks)
    state, kept = optimizer.state, scratch(optimizer)
    tensors = [p for _, _, p in parameters(optimizer)]
    masters = {p: copied(p.detach(), kept.get((p, "master"))) for p in tensors}
    moved = {p: copied(state[p]["replicas"], kept.get((p, "replicas"))) for p in tensors}
    try:
        yield masters, moved
    except BaseException:
        set_evaluations(optimizer, counts)
        optimizer.replica = turn
        for p, x in masters.items():
            p.copy_(x)
            if p not in began:
                del state[p]
        raise
    for p in tensors:
        kept[p, "master"], kept[p, "replicas"] = masters[p], state[p]["replicas"]
        state[p]["replicas"] = moved[p]
    count_step(optimizer)


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


def take_mean(stacks: Stacks, masters: dict[Tensor, Tensor], ranks: Ranks) -> None:
    """Set the parameters to the mean over the replicas of all processes.

    The mean of equal numbers is bitwise that number.
    """
    for p, stack in stacks.items():
        _mean(stack, p)
    if ranks.size == 1:
        return
    # of 2, 4, ... equal numbers the sum is exact; otherwise the displacements from the master are
    # added
    whole = ranks.size & (ranks.size - 1) == 0
    sums = [p.detach().contiguous() if whole else p - masters[p] for p in stacks]
    sent = [distributed.all_reduce(s, group=ranks.group, async_op=True) for s in sums]
    for p, s, work in zip(stacks, sums, sent, strict=True):
        work.wait()
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
    count = common(optimizer, "replicas")
    for _, _, p in parameters(optimizer):
        state = optimizer.state[p]
        if "replicas" not in state:
            if ranks.size > 1:
                first = p.detach().contiguous()
                distributed.broadcast(first, group=ranks.group, group_src=0)
                p.copy_(first)
            state["replicas"] = torch.stack([p.detach()] * count)
