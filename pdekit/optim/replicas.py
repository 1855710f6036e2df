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
    copies,
    copy_all,
    evaluations,
    every,
    room_like,
    set_evaluations,
)
from pdekit.optim.tables import Store
from pdekit.optim.updates import average
from pdekit.particles.run.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Tensors = dict[int, Tensor]


class Replicated(Checked):
    """Base class: the parameters hold the master, and a replica while the closure runs.

    ``replica`` is the number of that one among those of all processes in ``process_group``.
    """

    process_group: ProcessGroup | None = None
    replica = 0


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
def transaction(optimizer: Any, ranks: Ranks) -> Iterator[tuple[Store, list[Store]]]:
    """Yields copies of the master, and room for each of the replicas, which they replace at the
    end. If the body raises, the optimizer is left unchanged.
    """
    began, counts, turn = set(optimizer.state), evaluations(optimizer), optimizer.replica
    _begin(optimizer, ranks)
    masters, old = copies(optimizer, "master"), _stacks(optimizer)
    new = room_like(optimizer, "replicas", old).tensors
    try:
        yield masters, _replicas(optimizer, new)
    except BaseException:
        set_evaluations(optimizer, counts)
        optimizer.replica = turn
        for part in every(optimizer):
            copy_all(part.places, part.of(masters))
            for p in part.params:
                if p not in began:
                    del optimizer.state[p]
        raise
    for part in every(optimizer):
        for k, p in zip(part.numbers, part.params, strict=True):
            optimizer.state[p]["replicas"] = new[k]
    optimizer.scratch["replicas"] = Store(old)


def replicas_of(optimizer: Any) -> list[Store]:
    """The replicas of this process, each of tensors by number."""
    return _replicas(optimizer, _stacks(optimizer))


def each_replica(optimizer: Any, ranks: Ranks) -> Iterator[tuple[Store, int]]:
    """Iterate over the replicas of this process and their places in it: the parameters hold the
    replica, ``replica`` its number.

    ``evaluations`` counts the gradients of a replica, so that the noise does not depend on the
    number of replicas per process.
    """
    count, counts = common(optimizer, "replicas"), evaluations(optimizer)
    for a, x in enumerate(replicas_of(optimizer)):
        optimizer.replica = ranks.rank * count + a
        set_evaluations(optimizer, counts)
        for part in every(optimizer):
            copy_all(part.places, part.of(x))
        yield x, a


def take_mean(optimizer: Any, masters: Store, ranks: Ranks) -> None:
    """Set the parameters to the mean over the replicas of all processes.

    The mean of equal numbers is bitwise that number.
    """
    replicas = replicas_of(optimizer)
    for part in every(optimizer):
        average(part.places, [part.of(x) for x in replicas])
    if ranks.size == 1:
        return
    # of 2, 4, ... equal numbers the sum is exact; otherwise the displacements from the master are
    # added
    whole = ranks.size & (ranks.size - 1) == 0
    columns = [(part.places, part.of(masters)) for part in every(optimizer)]
    pairs = [pair for p, x in columns for pair in zip(p.tensors, x.tensors, strict=True)]
    sums = [p.detach().contiguous() if whole else p - x for p, x in pairs]
    sent = [distributed.all_reduce(s, group=ranks.group, async_op=True) for s in sums]
    for (p, x), s, work in zip(pairs, sums, sent, strict=True):
        work.wait()
        s.div_(ranks.size)
        p.copy_(s if whole else x + s)


def _stacks(optimizer: Any) -> Tensors:
    """The replicas of each parameter, stacked."""
    return {
        k: optimizer.state[p]["replicas"]
        for part in every(optimizer)
        for k, p in zip(part.numbers, part.params, strict=True)
    }


def _replicas(optimizer: Any, stacks: Tensors) -> list[Store]:
    """Each of the replicas in some stacks; made once of the two sets that change places."""
    kept: list[tuple[Tensors, list[Store]]] = vars(optimizer).setdefault("unstacked", [])
    count = common(optimizer, "replicas")
    for seen, replicas in kept:
        same = seen.keys() == stacks.keys() and all(seen[k] is s for k, s in stacks.items())
        if same and len(replicas) == count:
            return replicas
    views = {k: stack.unbind() for k, stack in stacks.items()}
    replicas = [Store({k: view[a] for k, view in views.items()}) for a in range(count)]
    kept.append((stacks, replicas))
    del kept[:-2]
    return replicas


def _begin(optimizer: Any, ranks: Ranks) -> None:
    """Before the first step every replica is at the master of the first process."""
    count = common(optimizer, "replicas")
    for p in (p for part in every(optimizer) for p in part.params):
        state = optimizer.state[p]
        if "replicas" not in state:
            if ranks.size > 1:
                first = p.detach().contiguous()
                distributed.broadcast(first, group=ranks.group, group_src=0)
                p.copy_(first)
            state["replicas"] = torch.stack([p.detach()] * count)
