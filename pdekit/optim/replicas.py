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
from pdekit.optim.bases import step_by_base
from pdekit.optim.buffers import buffers_like, copies, copy_all, count_step
from pdekit.optim.checked import Checked
from pdekit.optim.collectives import Traffic, agree, set_to_first, summed
from pdekit.optim.gradients import evaluations, every, set_evaluations
from pdekit.optim.groups import common
from pdekit.optim.tables import Store
from pdekit.optim.updates import average
from pdekit.particles.run.ranks import RankError, Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Tensors = dict[int, Tensor]


class Replicated(Checked):
    """Base class: the parameters hold the master, and a replica while the closure runs.

    ``replica`` is the number of that one among those of all processes in ``process_group``;
    ``traffic`` counts the bytes sent by this one.
    """

    process_group: ProcessGroup | None = None
    replica = 0
    traffic = Traffic()

    @contextmanager
    @torch.no_grad()
    def at(self, replica: int) -> Iterator[None]:
        """``with optimizer.at(a):`` the parameters hold replica a of this process, in 0, 1, ...

        As to evaluate an ensemble, or a sample of each. ``IndexError`` for one that there is not.
        """
        count = common(self, "replicas")
        if not 0 <= replica < count:
            raise IndexError(f"replica must be one of 0, ..., {count - 1}, got {replica!r}")
        masters = {p: p.detach().clone() for part in every(self) for p in part.params}
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
def transaction(optimizer: Any, ranks: Ranks) -> Iterator[tuple[Store, list[Store]]]:
    """Yields copies of the master, and space for each of the replicas, which they replace at the
    end. If the body raises, on any rank, the optimizer is left unchanged on all.
    """
    optimizer.traffic = Traffic(0, optimizer.traffic.total)
    began, counts, turn = set(optimizer.state), evaluations(optimizer), optimizer.replica
    _begin(optimizer, ranks)
    masters, old = copies(optimizer, "master"), _stacks(optimizer)
    new = buffers_like(optimizer, "replicas", old).tensors
    try:
        yield masters, _replicas(optimizer, new)
    except BaseException as error:
        set_evaluations(optimizer, counts)
        optimizer.replica = turn
        for part in every(optimizer):
            copy_all(part.places, part.of(masters))
            for p in part.params:
                if p not in began:
                    del optimizer.state[p]
        if ranks.size > 1 and not isinstance(error, RankError):
            with suppress(RankError):  # its own error says more
                agree(ranks, size_of(masters.tensors.values()), f"{type(error).__name__}: {error}")
        raise
    for part in every(optimizer):
        for k, p in part.pairs():
            optimizer.state[p]["replicas"] = new[k]
    optimizer.scratch["replicas"] = Store(old)
    count_step(optimizer)


def replicas_of(optimizer: Any) -> list[Store]:
    """The replicas of this process, each of tensors by number."""
    return _replicas(optimizer, _stacks(optimizer))


def each_replica(
    optimizer: Any, ranks: Ranks, relayed: bool = False
) -> Iterator[tuple[Store, int]]:
    """Iterate over the replicas of this process and their places in it: the parameters hold the
    replica, ``replica`` its number. ``relayed``: the body of the loop leaves the next one there.

    ``evaluations`` counts the gradients of a replica, so that the noise does not depend on the
    number of replicas per process.
    """
    count, counts = common(optimizer, "replicas"), evaluations(optimizer)
    for a, x in enumerate(replicas_of(optimizer)):
        optimizer.replica = ranks.rank * count + a
        set_evaluations(optimizer, counts)
        for part in () if relayed and a else every(optimizer):
            copy_all(part.places, part.of(x))
        yield x, a


def take_mean(
    optimizer: Any, masters: Store, ranks: Ranks, replicas: list[Store] | None = None
) -> None:
    """Set the parameters to the mean over the replicas of all processes, as they are or moved.

    The mean of equal numbers is bitwise that number. ``RankError`` if a process has failed.
    """
    replicas = replicas_of(optimizer) if replicas is None else replicas
    for part in every(optimizer):
        average(part.places, [part.of(x) for x in replicas])
    if ranks.size == 1:
        return
    agree(ranks, size_of(masters.tensors.values()))
    # of 2, 4, ... equal numbers the sum is exact; otherwise the displacements from the master are
    # added
    whole = ranks.size & (ranks.size - 1) == 0
    columns = [(part.places, part.of(masters)) for part in every(optimizer)]
    pairs = [pair for p, x in columns for pair in zip(p.tensors, x.tensors, strict=True)]
    sums = [p.detach() if whole else p - x for p, x in pairs]
    optimizer.traffic = optimizer.traffic.plus(summed(ranks, sums))
    for (p, x), s in zip(pairs, sums, strict=True):
        s.div_(ranks.size)
        p.copy_(s if whole else x + s)


def step_replicas(optimizer: Any, slopes: list[Tensors], moved: list[Store]) -> None:
    """The replicas moved by a step of their bases along these slopes, if they have bases."""
    pairs = zip(replicas_of(optimizer), slopes, moved, strict=True) if optimizer.bases else ()
    for a, (x, down, new) in enumerate(pairs):
        for part in every(optimizer):
            copy_all(part.of(new), part.of(x))
        step_by_base(optimizer, down, new, a)


def _stacks(optimizer: Any) -> Tensors:
    """The replicas of each parameter, stacked."""
    return {k: optimizer.state[p]["replicas"] for part in every(optimizer) for k, p in part.pairs()}


def _replicas(optimizer: Any, stacks: Tensors) -> list[Store]:
    """Each of the replicas in some stacks; made once of the two sets that change places."""
    kept: list[tuple[Tensors, list[Store]]] = vars(optimizer).setdefault("unstacked", [])
    count = common(optimizer, "replicas")
    for seen, replicas in kept:
        same = seen.keys() == stacks.keys() and all(seen[k] is s for k, s in stacks.items())
        if same and len(replicas) == count:
            return replicas
    sizes = {len(stack) for stack in stacks.values()} - {count}
    if sizes:
        raise ValueError(
            f"replicas cannot change, got {count} where there are {sizes.pop()}; make another "
            f"{type(optimizer).__name__}, which starts from the master"
        )
    views = {k: stack.unbind() for k, stack in stacks.items()}
    replicas = [Store({k: view[a] for k, view in views.items()}) for a in range(count)]
    kept.append((stacks, replicas))
    del kept[:-2]
    return replicas


def _begin(optimizer: Any, ranks: Ranks) -> None:
    """Before the first step every replica is at the master of the first process."""
    count = common(optimizer, "replicas")
    tensors = [p for part in every(optimizer) for p in part.params]
    new = [p for p in tensors if "replicas" not in optimizer.state[p]]
    if new and ranks.size > 1:
        agree(ranks, size_of(new))
        optimizer.traffic = optimizer.traffic.plus(set_to_first(ranks, new))
    for p in new:
        optimizer.state[p]["replicas"] = torch.stack([p.detach()] * count)


def size_of(tensors: Iterable[Tensor]) -> int:
    """How many numbers they hold."""
    return sum(t.numel() for t in tensors)
