"""Parameters and their gradients: who has one, and how many were taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, repeat
from operator import attrgetter, is_not
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from pdekit.optim.groups import now
from pdekit.optim.options import Group
from pdekit.optim.tables import Column, Store
from pdekit.particles.noise import Address

Loss: TypeAlias = Tensor | float
Closure: TypeAlias = Callable[[], Loss | None]

_dtype, _layout = attrgetter("dtype"), attrgetter("layout")


@dataclass(frozen=True)
class Part:
    """Parameters of a group, whose scheduled options have their present value, and their numbers
    through all groups.
    """

    group: Group
    numbers: list[int]
    params: list[Tensor]

    @cached_property
    def gradients(self) -> list[Any]:
        """Their gradients, if they have any."""
        return [p.grad for p in self.params]

    def pairs(self) -> Iterator[tuple[int, Tensor]]:
        """Numbers and parameters."""
        return zip(self.numbers, self.params, strict=True)

    def of(self, store: Store) -> Column:
        """What belongs to them in a store."""
        return store.of(self.numbers)

    @cached_property
    def places(self) -> Column:
        """The parameters, to be moved."""
        return Column(self.params)

    @cached_property
    def slopes(self) -> Column:
        """Their gradients."""
        return Column(self.gradients)

    def among(self, numbers: set[int]) -> Part:
        """Those with these numbers."""
        return self.only(k in numbers for k in self.numbers)

    def beyond(self, numbers: set[int]) -> Part:
        """Those with other numbers."""
        return self.only(k not in numbers for k in self.numbers)

    def only(self, those: Iterable[bool]) -> Part:
        """Some of them."""
        chosen = list(those)
        if all(chosen):
            return self
        numbers, params = compress(self.numbers, chosen), compress(self.params, chosen)
        return Part(self.group, list(numbers), list(params))


def parts_of(optimizer: Optimizer) -> list[Part]:
    """All parameters of all types, numbered through all groups."""
    found, number = [], 0
    for group in optimizer.param_groups:
        count = len(group["params"])
        found.append(Part(now(group), list(range(number, number + count)), group["params"]))
        number += count
    return found


def every(optimizer: Optimizer) -> list[Part]:
    """All parameters but whole numbers, which have no gradient."""
    return [
        part.only(dtype.is_floating_point or dtype.is_complex for dtype in map(_dtype, part.params))
        for part in parts_of(optimizer)
    ]


def moving(optimizer: Optimizer) -> list[Part]:
    """Those that have a gradient; checked."""
    found = [part.only(map(is_not, part.gradients, repeat(None))) for part in parts_of(optimizer)]
    for part in found:
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


def evaluated(optimizer: Optimizer, closure: Closure | None) -> tuple[Loss | None, list[Part]]:
    """Evaluate the closure: the loss at the current parameters, and those with a gradient."""
    if not callable(closure):
        raise TypeError(
            f"{type(optimizer).__name__} needs several gradients a step: call step(closure), where "
            "closure() zeroes the gradients, computes the loss, calls backward() and returns the "
            f"loss; got {closure!r}"
        )
    with torch.enable_grad():
        loss = closure()
    return (loss.detach() if isinstance(loss, Tensor) else loss), _counted(optimizer)


def loss_of(optimizer: Optimizer, closure: Closure | None) -> tuple[Loss | None, list[Part]]:
    """For an optimizer that needs one gradient: from the closure, or already in ``.grad``."""
    return (None, _counted(optimizer)) if closure is None else evaluated(optimizer, closure)


def mean_loss(losses: list[Loss | None]) -> Loss:
    """The mean of the value returned by a closure."""
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(losses):
        raise TypeError("closure() must return the loss, got None")
    return sum(known) / len(known)


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
    if all(map(is_not, part.gradients, repeat(None))):
        return part.slopes
    pairs = zip(part.params, part.gradients, strict=True)
    return Column([torch.zeros_like(p) if slope is None else slope for p, slope in pairs])
