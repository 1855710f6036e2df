"""What processes that share replicas exchange in a step: whether one has failed, and one sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from traceback import clear_frames
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, distributed

from pdekit.particles.run.ranks import RankError, Ranks, raise_for


class Traffic(NamedTuple):
    """Bytes of parameters that a process gave to collectives, in its latest step and in all.

    The first step also sends the start. Of N bytes a ring all-reduce over R ranks sends
    2 (R - 1)/R N from each.
    """

    step: int = 0
    total: int = 0

    def plus(self, sent: int) -> Traffic:
        """With so many bytes more."""
        return Traffic(self.step + sent, self.total + sent)


# by the group that a user gave: that of pdekit's own; why it is closed
_own: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_lost: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def own_group(ranks: Ranks) -> Ranks:
    """The same ranks in a gloo group of pdekit's own, with the timeout of the given one.

    It sees under any backend that a rank is gone, and may be closed, from which the others see it.
    """
    given = _given(ranks)
    if given in _lost:
        raise RankError(_lost[given])
    if given not in _own:
        with closed_if_lost(ranks):
            distributed.barrier(given)  # a new group waits for one that is gone already
        _own[given] = distributed.new_group(
            distributed.get_process_group_ranks(given),
            timeout=given.get_group_store().timeout,
            backend="gloo",
            use_local_synchronization=True,
        )
    return replace(ranks, group=_own[given])


@contextmanager
def closed_if_lost(ranks: Ranks) -> Iterator[None]:
    """``RankError`` if a rank is gone. Their own group is closed then: in a ring only the
    neighbours of that rank notice, and others wait for them. So no caller may keep that group in a
    local variable.
    """
    try:
        yield
    except RuntimeError as error:
        given, (first, *_) = _given(ranks), str(error).split("\n")
        said = first if isinstance(error, RankError) else f"a rank is gone: {first}"
        _lost.setdefault(given, said)
        if given in _own:
            _release(error)
            distributed.destroy_process_group(_own.pop(given))
        raise RankError(said) from error


def _release(error: BaseException | None) -> None:
    """Forget the locals of the calls it came through: gloo closes a group that no one refers to."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__context__


def _given(ranks: Ranks) -> Any:
    return ranks.group or distributed.group.WORLD


def agree(ranks: Ranks, size: int, failure: str = "") -> None:
    """Tell the other ranks of a ``failure`` here; ``RankError`` if one of them has failed, or is
    gone, and ``ValueError`` if their parameters are not of the same ``size``.

    Costs one exchange of two numbers.
    """
    with closed_if_lost(ranks):
        said = torch.stack(own_group(ranks).gathered(torch.tensor([int(failure != ""), size])))
        texts = own_group(ranks).gathered_texts(failure) if said[:, 0].any() else []
    if not failure:
        raise_for(texts)
    if (said[:, 1] != size).any():
        raise ValueError(
            f"all ranks must have the same parameters, got {said[:, 1].tolist()} numbers"
        )


def summed(ranks: Ranks, tensors: list[Tensor]) -> int:
    """Replace the tensors by their sums over the ranks; returns the bytes sent."""
    return _together(ranks, tensors, lambda flat, group: distributed.all_reduce(flat, group=group))


def set_to_first(ranks: Ranks, tensors: list[Tensor]) -> int:
    """Replace the tensors by those of the first rank; returns the bytes sent."""
    return _together(ranks, tensors, partial(distributed.broadcast, group_src=0))


def _together(ranks: Ranks, tensors: list[Tensor], collective: Callable[..., Any]) -> int:
    """Apply a collective to all tensors of a type at once: each call costs a round of messages."""
    sent = 0
    for same in _by_type(tensors):
        flat = torch.cat([t.detach().reshape(-1) for t in same])
        with closed_if_lost(ranks):
            on_cpu = flat.device.type == "cpu"
            collective(flat, group=(own_group(ranks) if on_cpu else ranks).group)
        for t, part in zip(same, flat.split([t.numel() for t in same]), strict=True):
            t.copy_(part.view(t.shape))
        sent += flat.numel() * flat.element_size()
    return sent


def _by_type(tensors: list[Tensor]) -> Iterable[list[Tensor]]:
    kinds: dict[Any, list[Tensor]] = {}
    for t in tensors:
        kinds.setdefault((t.device, t.dtype), []).append(t)
    return kinds.values()
