"""Parameter groups: what every optimizer here asks of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pdekit.particles.noise import Address

Closure = Callable[[], Any]


def parameters(optimizer: Optimizer) -> Iterator[tuple[dict[str, Any], int, Tensor]]:
    """(group, number, parameter); the numbers count through all groups."""
    number = 0
    for group in optimizer.param_groups:
        for p in group["params"]:
            yield group, number, p
            number += 1


def evaluated(optimizer: Optimizer, closure: Closure | None) -> Any:
    """The loss at the parameters as they are, whose gradients the closure leaves in them."""
    if not callable(closure):
        raise TypeError(
            f"{type(optimizer).__name__} needs several gradients a step: call step(closure), where "
            "closure() zeroes the gradients, computes the loss, calls backward() and returns the "
            f"loss; got {closure!r}"
        )
    with torch.enable_grad():
        loss = closure()
    _counted(optimizer)
    return loss.detach() if isinstance(loss, Tensor) else loss


def loss_of(optimizer: Optimizer, closure: Closure | None) -> Any:
    """For an optimizer that needs one gradient: that of the closure, or the one already there."""
    if closure is not None:
        return evaluated(optimizer, closure)
    _counted(optimizer)
    return None


def mean_loss(losses: list[Any]) -> Any:
    """The mean of what a closure returned."""
    if any(loss is None for loss in losses):
        raise TypeError("closure() must return the loss, got None")
    return sum(losses) / len(losses)


def _counted(optimizer: Optimizer) -> None:
    """One more evaluation, whose gradients are dense."""
    slopes = [p.grad for _, _, p in parameters(optimizer) if p.grad is not None]
    if any(slope.layout != torch.strided for slope in slopes):
        raise TypeError("pdekit.optim takes dense gradients, got a sparse one; set sparse=False")
    for group in optimizer.param_groups:
        group["evaluations"] += 1


@contextmanager
def anchored(optimizer: Optimizer) -> Iterator[dict[Tensor, Tensor]]:
    """Copies of the parameters, which get them back where the closure raises."""
    anchors = copies(optimizer, "anchor")
    try:
        yield anchors
    except BaseException:
        for p, anchor in anchors.items():
            p.copy_(anchor)
        raise


def copies(optimizer: Optimizer, name: str) -> dict[Tensor, Tensor]:
    """Copies of the parameters, in memory that is kept from step to step under this name."""
    kept = spare(optimizer)
    made = {p: copied(p.detach(), kept.get((p, name))) for _, _, p in parameters(optimizer)}
    kept.update({(p, name): copy for p, copy in made.items()})
    return made


def spare(optimizer: Optimizer) -> dict[tuple[Tensor, str], Tensor]:
    """Memory of the step before, by parameter and use; no part of the state."""
    kept: dict[tuple[Tensor, str], Tensor] = vars(optimizer).setdefault("spare", {})
    return kept


def copied(x: Tensor, into: Tensor | None) -> Tensor:
    """A copy, ``into`` that tensor where it fits: new memory costs as much as a gradient."""
    if into is None or (into.shape, into.dtype, into.device) != (x.shape, x.dtype, x.device):
        into = torch.empty_like(x)
    return into.copy_(x)


def address(group: dict[str, Any], number: int) -> Address:
    """Where the noise of a parameter lies at the latest evaluation."""
    return Address(group["seed"], number, step=group["evaluations"] - 1)


def common(optimizer: Optimizer, name: str) -> Any:
    """An option that belongs to all groups together."""
    values = [group[name] for group in optimizer.param_groups]
    if any(v != values[0] for v in values):
        raise ValueError(f"{name} is one for all parameter groups, got {values}")
    return values[0]


def check_range(
    group: dict[str, Any],
    name: str,
    lower: float,
    upper: float = float("inf"),
    *,
    open_below: bool = False,
    optional: bool = False,
) -> None:
    """``ValueError`` unless ``group[name]`` is a finite number with lower <= it < upper."""
    value = group[name]
    if optional and value is None:
        return
    try:
        good = (
            isfinite(value) and (lower < value if open_below else lower <= value) and value < upper
        )
    except TypeError:
        good = False
    if not good:
        least = f"{'>' if open_below else '>='} {lower:g}"
        most = "" if upper == float("inf") else f" and < {upper:g}"
        raise ValueError(f"{name} must be a finite number {least}{most}, got {value!r}")


def check_whole(group: dict[str, Any], name: str, least: int) -> None:
    """``ValueError`` unless ``group[name]`` is a whole number, at least ``least``."""
    value = group[name]
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and value >= least):
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def check_seed(group: dict[str, Any]) -> None:
    """``ValueError`` unless ``group["seed"]`` is one that noise has an address for."""
    try:
        Address(group["seed"])
    except (TypeError, ValueError):
        got = repr(group["seed"])
        raise ValueError(f"seed must be a whole number >= 0 and < 2**64, got {got}") from None
