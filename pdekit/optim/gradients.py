"""Parameters and their gradients: who has one, and how many were taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from numbers import Real
from operator import attrgetter
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from pdekit import checks
from pdekit.optim.groups import now
from pdekit.optim.options import Group
from pdekit.optim.tables import Column, Store
from pdekit.particles.noise import Address

Loss: TypeAlias = Tensor | float
Closure: TypeAlias = Callable[[], Loss]

_layout = attrgetter("layout")


class Part:
    """Parameters of a group, whose scheduled options have their present value, and their numbers
    through all groups.
    """

    __slots__ = ("_gradients", "_places", "_slopes", "group", "numbers", "params")

    def __init__(self, group: Group, numbers: Sequence[int], params: list[Tensor]) -> None:
        self.group, self.numbers, self.params = group, numbers, params
        self._gradients: list[Any] | None = None
        self._places: Column | None = None
        self._slopes: Column | None = None

    @property
    def gradients(self) -> list[Any]:
        """Their gradients, if they have any."""
        if self._gradients is None:
            self._gradients = [p.grad for p in self.params]
        return self._gradients

    @property
    def places(self) -> Column:
        """The parameters, to be moved."""
        if self._places is None:
            self._places = Column(self.params)
        return self._places

    @property
    def slopes(self) -> Column:
        """Their gradients."""
        if self._slopes is None:
            self._slopes = Column(self.gradients)
        return self._slopes

    def pairs(self) -> Iterator[tuple[int, Tensor]]:
        """Numbers and parameters."""
        return zip(self.numbers, self.params, strict=True)

    def of(self, store: Store) -> Column:
        """What belongs to them in a store."""
        return store.of(self.numbers)

    def among(self, numbers: set[int]) -> Part:
        """Those with these numbers."""
        return self.only([k in numbers for k in self.numbers])

    def beyond(self, numbers: set[int]) -> Part:
        """Those with other numbers."""
        return self.only([k not in numbers for k in self.numbers])

    def only(self, chosen: list[bool]) -> Part:
        """Some of them."""
        if all(chosen):
            return self
        numbers, params = compress(self.numbers, chosen), compress(self.params, chosen)
        return Part(self.group, list(numbers), list(params))


def parts_of(optimizer: Optimizer) -> list[Part]:
    """All parameters of all types, numbered through all groups."""
    found, number = [], 0
    for group in optimizer.param_groups:
        count = len(group["params"])
        found.append(Part(now(group), range(number, number + count), group["params"]))
        number += count
    return found


def every(optimizer: Optimizer) -> list[Part]:
    """All parameters but whole numbers, which have no gradient."""
    return [
        part.only([p.is_floating_point() or p.is_complex() for p in part.params])
        for part in parts_of(optimizer)
    ]


def moving(optimizer: Optimizer) -> list[Part]:
    """Those that have a gradient; checked."""
    found = [part.only([g is not None for g in part.gradients]) for part in parts_of(optimizer)]
    for part in found:
        if part.slopes.real is None or part.places.real is None:
            check_gradients(optimizer, part)
    return found


def numbers_of(parts: Iterable[Part]) -> set[int]:
    """The numbers of all parameters in some parts."""
    return {k for part in parts for k in part.numbers}


def check_gradients(optimizer: Optimizer, part: Part) -> None:
    """``TypeError`` for gradients that are sparse, or of whole numbers."""
    for dtype in part.places.types:
        if not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"{type(optimizer).__name__} cannot move whole numbers, got a gradient of "
                f"parameters of type {dtype}; take a floating type, as in p.float()"
            )
    if set(map(_layout, part.gradients)) - {torch.strided}:
        raise TypeError("pdekit.optim takes dense gradients, got a sparse one; set sparse=False")


def evaluated(optimizer: Optimizer, closure: Closure | None) -> tuple[Loss, list[Part]]:
    """Evaluate the closure: the loss at the current parameters, and those with a gradient."""
    if not callable(closure):
        raise TypeError(
            f"{type(optimizer).__name__} needs several gradients a step: call step(closure), where "
            "closure() zeroes the gradients, computes the loss, calls backward() and returns the "
            f"loss; got {closure!r}"
        )
    with torch.enable_grad():
        loss = _one_number(closure())
    return loss, _counted(optimizer)


def _one_number(loss: Any) -> Loss:
    """What a closure returned, detached; ``TypeError`` unless it is one real number."""
    if isinstance(loss, Tensor):
        if loss.numel() == 1 and not loss.is_complex():
            return loss.detach()
        got = f"a tensor of shape {tuple(loss.shape)} and type {loss.dtype}"
    elif isinstance(loss, Real):
        return loss  # type: ignore[return-value]
    else:
        got = checks.shown(loss)
    raise TypeError(
        f"closure() must return the loss, one real number or a tensor of one, got {got}; end it "
        "with return loss, or loss.mean()"
    )


def loss_of(optimizer: Optimizer, closure: Closure | None) -> tuple[Loss | None, list[Part]]:
    """For an optimizer that needs one gradient: from the closure, or already in ``.grad``."""
    return (None, _counted(optimizer)) if closure is None else evaluated(optimizer, closure)


def mean_loss(losses: list[Loss]) -> Loss:
    """The mean of the values returned by a closure."""
    return sum(losses) / len(losses)


def _counted(optimizer: Optimizer) -> list[Part]:
    """Count an evaluation, if it has good gradients; these."""
    found = moving(optimizer)
    for part, group in zip(found, optimizer.param_groups, strict=True):
        group["evaluations"] += 1
        part.group["evaluations"] = group["evaluations"]  # a copy where an option is scheduled
    return found


def evaluations(optimizer: Optimizer) -> list[int]:
    """The gradient counters of all groups."""
    return [group["evaluations"] for group in optimizer.param_groups]


def set_evaluations(optimizer: Optimizer, counts: list[int]) -> None:
    """Set the counters."""
    for group, count in zip(optimizer.param_groups, counts, strict=True):
        group["evaluations"] = count


def address(group: Group) -> Address:
    """The address of the noise of a group at the latest evaluation; each parameter has a run."""
    return Address(group["seed"], step=group["evaluations"] - 1)


def slopes_or_zero(part: Part) -> Column:
    """Gradients, zero where there is none."""
    if all(slope is not None for slope in part.gradients):
        return part.slopes
    pairs = zip(part.params, part.gradients, strict=True)
    return Column([torch.zeros_like(p) if slope is None else slope for p, slope in pairs])
