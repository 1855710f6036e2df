"""Copies of the parameters, in memory that is reused from step to step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import Optimizer

from pdekit.optim.gradients import evaluations, every, numbers_of, set_evaluations
from pdekit.optim.tables import Column, Store


@contextmanager
def restored_on_error(optimizer: Optimizer) -> Iterator[tuple[Store, set[int]]]:
    """Yields buffers for copies of the parameters, for one step, and the numbers of those that have
    been copied there, none yet. If the body raises, these and the counters are restored.
    """
    anchors, anchored, counts = buffers(optimizer, "anchor"), set[int](), evaluations(optimizer)
    try:
        yield anchors, anchored
        count_step(optimizer)
    except BaseException:
        for part in (part.among(anchored) for part in every(optimizer)):
            copy_all(part.places, part.of(anchors))
        set_evaluations(optimizer, counts)
        raise


def count_step(optimizer: Optimizer) -> None:
    """Of which schedules are functions."""
    for group in optimizer.param_groups:
        group["steps"] += 1


def copies(optimizer: Optimizer, name: str) -> Store:
    """Copies of the parameters, in buffers that are reused from step to step."""
    made = buffers(optimizer, name)
    copy_to(optimizer, made)
    return made


def copy_to(optimizer: Optimizer, those: Store) -> set[int]:
    """Copy the parameters; their numbers."""
    for part in every(optimizer):
        copy_all(part.of(those), part.places)
    return numbers_of(every(optimizer))


def buffers(optimizer: Optimizer, name: str) -> Store:
    """Buffers like the parameters, reused under this name; not part of the state."""
    like = {k: p for part in every(optimizer) for k, p in part.pairs()}
    return buffers_like(optimizer, name, like)


def buffers_like(optimizer: Optimizer, name: str, like: dict[int, Tensor]) -> Store:
    """Buffers like these tensors: allocation costs as much as a gradient."""
    kept: dict[str, Store] = vars(optimizer).setdefault("scratch", {})
    if name in kept and _fit(kept[name].tensors, like):
        return kept[name]
    kept[name] = Store(
        {k: torch.empty(x.shape, dtype=x.dtype, device=x.device) for k, x in like.items()}
    )
    return kept[name]


def _fit(kept: dict[int, Tensor], like: dict[int, Tensor]) -> bool:
    """Whether these can take the places of others."""
    return kept.keys() == like.keys() and all(
        (kept[k].shape, kept[k].dtype, kept[k].device) == (x.shape, x.dtype, x.device)
        for k, x in like.items()
    )


def zero_all(those: list[Tensor]) -> None:
    """Set tensors to zero."""
    if those:
        torch._foreach_zero_(those)


def add_all(into: Column, those: Column) -> None:
    """Add tensors to others."""
    if into.tensors:
        torch._foreach_add_(into.tensors, those.tensors)


def copy_all(into: Column, those: Column) -> None:
    """Copy tensors into others."""
    if into.tensors:
        torch._foreach_copy_(into.tensors, those.tensors)
