"""Steps made by other torch optimizers, from gradients that are handed to them.

``base`` is a function from parameters to an optimizer, as ``lambda p: torch.optim.Adam(p, 1e-3)``.
It gets stand-ins, tensors of the same shapes in the same groups, which are moved in place of the
parameters, or of a replica: there is one base for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pdekit.checks import shown
from pdekit.optim.gradients import Part, every
from pdekit.optim.options import Group
from pdekit.optim.tables import Column, Store

Base: TypeAlias = Callable[[list[Any]], Optimizer]


def bases_of(owner: str, base: Base, params: list[Any], replicas: int) -> list[Optimizer]:
    """A base for each replica.

    ``TypeError`` for what makes no optimizer, ``ValueError`` for one of other groups.
    """
    if not callable(base):
        raise TypeError(
            f"{owner}: base must be a function from parameters to an optimizer, such as "
            f"lambda p: torch.optim.Adam(p, lr=1e-3), got {shown(base)}"
        )
    return [_made(owner, base, params) for _ in range(replicas)]


def add_to_bases(bases: list[Optimizer], number: int, group: Group) -> float:
    """Add the group, unless they were made with it. The learning rate: the group's, else theirs."""
    for base in bases:
        if number >= len(base.param_groups):
            base.add_param_group(_standing(group))
        if group["lr"] is not None:
            base.param_groups[number]["lr"] = group["lr"]
    return float(bases[0].param_groups[number]["lr"])


def share_rates(bases: list[Optimizer], groups: list[Group]) -> None:
    """The learning rate is one: who has changed it since the last step tells the others.

    So schedulers act on the optimizer as on its base.
    """
    for k, group in enumerate(groups if bases else ()):
        theirs = [base.param_groups[k] for base in bases]
        changed = [other["lr"] for other in theirs if other["lr"] != group["shared_lr"]]
        group["lr"] = group["shared_lr"] = changed[0] if changed else group["lr"]
        for other in theirs:
            other["lr"] = group["lr"]


def descend(base: Optimizer, places: Sequence[Tensor], slopes: Sequence[Tensor | None]) -> None:
    """Move ``places`` by a step of the base with these gradients."""
    stands = _tensors(base)
    for stand, place, slope in zip(stands, places, slopes, strict=True):
        stand.grad = None
        stand.data = place.detach()
        stand.grad = slope
    base.step()
    for stand in stands:
        stand.grad = None


def step_by_base(
    optimizer: Any,
    slopes: dict[int, Tensor],
    places: Store | None = None,
    replica: int = 0,
) -> None:
    """Move the parameters, or the tensors at other places, by a step of the base along these
    slopes, with decoupled decay. What has no slope stays.
    """
    tensors = [p for group in optimizer.param_groups for p in group["params"]]
    there = Store({**dict(enumerate(tensors)), **(places.tensors if places else {})})
    for part in every(optimizer):
        some = part.among(set(slopes))
        decay(some.of(there), some.of(there), part.group)
    base, numbers = optimizer.bases[replica], range(len(tensors))
    descend(base, [there.tensors[k] for k in numbers], [slopes.get(k) for k in numbers])


def decay(new: Column, old: Column, group: Group) -> None:
    """Decoupled weight decay, new ← new - η w old (Loshchilov and Hutter 2019)."""
    if new.tensors and group["weight_decay"]:
        share = group["lr"] * group["weight_decay"]
        torch._foreach_add_(new.tensors, old.tensors, alpha=-share)


def quotients(
    part: Part, xs: dict[int, Tensor], zs: dict[int, Tensor], width: float
) -> dict[int, Tensor]:
    """(x - z)/width of the parameters of a part, for the gradient of a base."""
    return {k: (xs[k] - zs[k]) / width for k in part.numbers}


def _made(owner: str, base: Base, params: list[Any]) -> Optimizer:
    given = [_standing(group) if isinstance(group, dict) else _stand(group) for group in params]
    made = base(given)
    if not isinstance(made, Optimizer):
        raise TypeError(f"{owner}: base must return a torch optimizer, got {shown(made)}")
    name, groups = type(made).__name__, [g for g in given if isinstance(g, dict)]
    expected = [list(g["params"]) for g in groups] or [given]
    if [list(map(id, group["params"])) for group in made.param_groups] != [
        list(map(id, tensors)) for tensors in expected
    ]:
        raise ValueError(f"{owner}: base must keep the parameters and their groups, {name} has not")
    if "lr" not in made.param_groups[0]:
        raise ValueError(f"{owner}: base must have a learning rate lr, {name} has none")
    if signature(made.step).parameters["closure"].default is Parameter.empty:
        raise ValueError(f"{owner}: base must step without a closure, {name} needs one")
    return made


def _standing(group: Group) -> Group:
    """A group of stand-ins, with no other options."""
    params = group["params"]
    return {"params": [_stand(p) for p in ([params] if isinstance(params, Tensor) else params)]}


def _stand(param: Any) -> nn.Parameter:
    tensor = param[1] if isinstance(param, tuple) else param
    return nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)


def _tensors(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
