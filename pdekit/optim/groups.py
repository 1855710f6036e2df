"""Parameter groups: what may stand in them, and scheduled options as they are in a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from pdekit.checks import shown
from pdekit.optim.options import Group
from pdekit.particles.dynamics.two_scale import ExponentialAverage, LastIterate, LinearAverage

Schedule: TypeAlias = Callable[[int], float]
"""Of an option: its value after k steps, as those of `pdekit.optim.schedules`."""

SCHEDULED = ("gamma", "rho", "temperature", "strength")
"""Options that may be a ``Schedule``."""

Average: TypeAlias = ExponentialAverage | LinearAverage | LastIterate

# what may stand in a group is loaded by ``torch.load``, which takes plain values only by itself
torch.serialization.add_safe_globals([ExponentialAverage, LinearAverage, LastIterate])

# keys that torch and its schedulers put into a group
_FOREIGN = {"params", "param_names", "initial_lr", "swa_lr"}
_FOREIGN |= {f"{end}_{name}" for end in ("max", "min", "base") for name in ("lr", "momentum")}
COUNTERS = {"evaluations", "age", "steps", "shared_lr"}
"""Keys that optimizers count in."""

P = ParamSpec("P")


def listed(optimizer: Optimizer, params: ParamsT) -> list[Any]:
    """``params`` in a list; ``TypeError`` for others than tensors or groups."""
    scalar = getattr(params, "ndim", 1) == 0  # of numpy, which says that it can be iterated over
    if isinstance(params, Tensor | str | dict) or not isinstance(params, Iterable) or scalar:
        raise TypeError(
            f"{type(optimizer).__name__}: params must be tensors, such as model.parameters(), or "
            f"a list of groups, got {shown(params)}"
        )
    return [listed_group(p) if isinstance(p, dict) else p for p in params]


def listed_group(given: Any) -> Group:
    """A group with its parameters in a list; ``TypeError`` for what is none."""
    if not isinstance(given, dict) or "params" not in given:
        raise TypeError(f"a parameter group must be a dict with 'params', got {given!r}")
    params = given["params"]
    return {**given, "params": list(params) if isinstance(params, Iterator) else params}


def group_of(optimizer: Any, given: Group) -> Group:
    """A parameter group completed with the defaults.

    ``TypeError`` for an invalid group, or for parameters of a type that cannot be updated;
    ``ValueError`` for an unknown option, which would otherwise be ignored.
    """
    name, derived = type(optimizer).__name__, optimizer.derived
    given = listed_group(given)
    refuse_former(optimizer, given)
    unknown = sorted(set(given) - set(optimizer.defaults) - _FOREIGN - set(derived))
    if unknown:
        own = ", ".join(key for key in optimizer.defaults if key not in {*COUNTERS, *derived})
        raise ValueError(f"{name} has no option {unknown[0]!r}, only {own}")
    params = given["params"]
    for p in [params] if isinstance(params, Tensor) else params:
        tensor = p[1] if isinstance(p, tuple) else p
        if isinstance(tensor, Tensor) and tensor.dtype == torch.complex32:
            raise TypeError(f"{name} cannot add numbers of type complex32; take complex64")
    return {**optimizer.defaults, **given}


def former_names_refused(init: Callable[P, None]) -> Callable[P, None]:
    """A constructor that says what to take instead of an option's former name."""

    @wraps(init)
    def checked(*arguments: P.args, **options: P.kwargs) -> None:
        refuse_former(arguments[0], options)
        init(*arguments, **options)

    return checked


def refuse_former(optimizer: Any, options: Iterable[str]) -> None:
    """``TypeError`` for the former name of an option."""
    for old in optimizer.former.keys() & set(options):
        raise TypeError(
            f"{type(optimizer).__name__} has no option {old!r} any more: use "
            f"{optimizer.former[old]}"
        )


def now(group: Group) -> Group:
    """The group with scheduled options as they are in this step."""
    scheduled = [name for name in SCHEDULED if name in group and is_schedule(group[name])]
    if not scheduled:
        return group
    return {**group, **{name: group[name](group["steps"]) for name in scheduled}}


def finally_(group: Group) -> Group:
    """The group with scheduled options where they tend to, if that is known (``last``)."""
    ends = {name: getattr(group.get(name), "last", None) for name in SCHEDULED}
    return {**now(group), **{name: end for name, end in ends.items() if end is not None}}


def is_schedule(value: object) -> bool:
    """Whether it is a function of the step; a class is none, though it can be called."""
    return callable(value) and not isinstance(value, type)


def common(optimizer: Optimizer, name: str) -> Any:
    """An option that must be equal in all groups."""
    values = [group[name] for group in optimizer.param_groups]
    if any(v != values[0] for v in values):
        raise ValueError(f"{name} must be the same in all parameter groups, got {values}")
    return values[0]
