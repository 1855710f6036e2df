"""Parameter groups: checks and helpers shared by all optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from itertools import compress, repeat
from math import isfinite
from numbers import Integral
from operator import attrgetter, is_not
from types import MappingProxyType
from typing import Any, ClassVar, ParamSpec, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from pdekit.checks import number, shown
from pdekit.optim.bases import Base, add_to_bases, bases_of, descend, share_rates
from pdekit.optim.bases import Group as Group
from pdekit.optim.tables import Column, Store
from pdekit.particles.dynamics.two_scale import ExponentialAverage, LastIterate, LinearAverage
from pdekit.particles.noise import Address

Loss: TypeAlias = Tensor | float
Closure: TypeAlias = Callable[[], Loss | None]

Schedule: TypeAlias = Callable[[int], float]
"""Of an option: its value after k steps, as those of `pdekit.optim.schedules`."""

Average: TypeAlias = ExponentialAverage | LinearAverage | LastIterate

RATE = 0.2
"""Default learning rate per gradient."""

LARGEST = 1e30
"""Largest value of an option: its products must not overflow in single precision."""

# keys that torch and its schedulers put into a group
_FOREIGN = {"params", "param_names", "initial_lr", "swa_lr"}
_FOREIGN |= {f"{end}_{name}" for end in ("max", "min", "base") for name in ("lr", "momentum")}
_COUNTERS = {"evaluations", "age", "steps", "shared_lr"}
_UNSEEN = {"params", *_COUNTERS}
_dtype, _layout = attrgetter("dtype"), attrgetter("layout")

SCHEDULED = ("gamma", "rho", "temperature", "strength")
"""Options that may be a ``Schedule``."""

# what may stand in a group is loaded by ``torch.load``, which takes plain values only by itself
torch.serialization.add_safe_globals([ExponentialAverage, LinearAverage, LastIterate])

P = ParamSpec("P")


class Checked(Optimizer):
    """Base class: checks options, also those that are set later, and keeps the ``bases``.

    ``derived``: keys in its groups that are not options; ``former``: names that options had, and
    what to take instead. Each group counts its ``evaluations`` and ``steps``. ``bases``: the torch
    optimizers that make its steps, if it was given a ``base`` (`pdekit.optim.bases`).
    """

    derived: ClassVar[tuple[str, ...]] = ()
    former: ClassVar[Mapping[str, str]] = MappingProxyType({})
    bases: list[Optimizer]

    def __init__(
        self,
        params: ParamsT,
        options: Group,
        base: Base | None = None,
        replicas: int = 1,
    ) -> None:
        defaults = {**options, "evaluations": 0, "steps": 0}
        groups = listed(self, params)
        self.bases = []
        if base is not None:
            self.bases = bases_of(type(self).__name__, base, groups, replicas)
            defaults["shared_lr"] = None
        super().__init__(groups, defaults)

    def completed(self, group: Group) -> Group:
        """A new group, completed with derived options."""
        return group

    def check(self, group: Group) -> None:
        """``ValueError`` for options out of range."""
        raise NotImplementedError

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, whose options are checked."""
        group = group_of(self, param_group)
        if self.bases:
            number = len(self.param_groups)
            group["lr"] = group["shared_lr"] = add_to_bases(self.bases, number, group)
        group = self.completed(group)
        for moment in (now(group), finally_(group)):
            self._check(moment)
        super().add_param_group(group)

    def recheck_groups(self) -> None:
        """Check the groups whose options have changed since the last step."""
        share_rates(self.bases, self.param_groups)
        seen: dict[int, Any] = vars(self).setdefault("seen", {})
        for k, group in enumerate(self.param_groups):
            current = now(group)
            options = {key: current[key] for key in current if key not in _UNSEEN}
            if seen.get(k) == options:
                continue
            missing = sorted(set(self.defaults) - set(group) - {"differentiable"})  # torch's
            if missing:
                raise ValueError(
                    f"{type(self).__name__}: a parameter group has no {missing[0]!r}; load the "
                    f"state of another {type(self).__name__}"
                )
            group_of(self, group)
            self._check(current)
            seen[k] = options

    def _check(self, group: Group) -> None:
        self.check(group)
        check_range(group, "weight_decay", 0.0)
        if group["lr"] * group["weight_decay"] >= 1:
            raise ValueError(
                f"lr * weight_decay must be below 1, got {group['lr']:g} * "
                f"{group['weight_decay']:g}: the weights would change sign; use a smaller one"
            )

    def state_dict(self) -> dict[str, Any]:
        """As any optimizer's; with that of the ``bases``."""
        state = super().state_dict()
        bases = [base.state_dict() for base in self.bases]
        return {**state, "bases": bases} if bases else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state; ``ValueError`` for that of another kind of optimizer."""
        saved = state_dict.get("bases", [])
        if len(saved) != len(self.bases):
            raise ValueError(
                f"{type(self).__name__} has {len(self.bases)} bases, got a state of {len(saved)}; "
                "make it with the same base and replicas"
            )
        super().load_state_dict(state_dict)
        for base, state in zip(self.bases, saved, strict=True):
            base.load_state_dict(state)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "bases": self.bases}


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
    at = {name: group[name](group["steps"]) for name in SCHEDULED if is_schedule(group.get(name))}
    return {**group, **at} if at else group


def is_schedule(value: object) -> bool:
    """Whether it is a function of the step; a class is none, though it can be called."""
    return callable(value) and not isinstance(value, type)


def finally_(group: Group) -> Group:
    """The group with scheduled options where they tend to, if that is known (``last``)."""
    ends = {name: getattr(group.get(name), "last", None) for name in SCHEDULED}
    return {**now(group), **{name: end for name, end in ends.items() if end is not None}}


def listed(optimizer: Optimizer, params: ParamsT) -> list[Any]:
    """``params`` in a list; ``TypeError`` for others than tensors or groups."""
    if isinstance(params, Tensor | str | dict) or not isinstance(params, Iterable):
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


def group_of(optimizer: Checked, given: Group) -> Group:
    """A parameter group completed with the defaults.

    ``TypeError`` for an invalid group, or for parameters of a type that cannot be updated;
    ``ValueError`` for an unknown option, which would otherwise be ignored.
    """
    name, derived = type(optimizer).__name__, optimizer.derived
    given = listed_group(given)
    refuse_former(optimizer, given)
    unknown = sorted(set(given) - set(optimizer.defaults) - _FOREIGN - set(derived))
    if unknown:
        own = ", ".join(key for key in optimizer.defaults if key not in {*_COUNTERS, *derived})
        raise ValueError(f"{name} has no option {unknown[0]!r}, only {own}")
    params = given["params"]
    for p in [params] if isinstance(params, Tensor) else params:
        tensor = p[1] if isinstance(p, tuple) else p
        if isinstance(tensor, Tensor) and tensor.dtype == torch.complex32:
            raise TypeError(f"{name} cannot add numbers of type complex32; take complex64")
    return {**optimizer.defaults, **given}


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


def loss_of(optimizer: Checked, closure: Closure | None) -> tuple[Loss | None, list[Part]]:
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


@contextmanager
def restored_on_error(optimizer: Checked) -> Iterator[Store]:
    """Yields copies of the parameters, for one step. If the body raises, parameters and counters
    are restored.
    """
    anchors, counts = copies(optimizer, "anchor"), evaluations(optimizer)
    try:
        yield anchors
        count_step(optimizer)
    except BaseException:
        for part in every(optimizer):
            copy_all(part.places, part.of(anchors))
        set_evaluations(optimizer, counts)
        raise


def count_step(optimizer: Optimizer) -> None:
    """Of which schedules are functions."""
    for group in optimizer.param_groups:
        group["steps"] += 1


def evaluations(optimizer: Optimizer) -> list[int]:
    """The gradient counters of all groups."""
    return [group["evaluations"] for group in optimizer.param_groups]


def set_evaluations(optimizer: Optimizer, counts: list[int]) -> None:
    """Set the counters."""
    for group, count in zip(optimizer.param_groups, counts, strict=True):
        group["evaluations"] = count


def copies(optimizer: Optimizer, name: str) -> Store:
    """Copies of the parameters, in buffers that are reused from step to step."""
    made = room(optimizer, name)
    for part in every(optimizer):
        copy_all(part.of(made), part.places)
    return made


def room(optimizer: Optimizer, name: str) -> Store:
    """Buffers like the parameters, reused under this name; not part of the state."""
    like = {k: p for part in every(optimizer) for k, p in part.pairs()}
    return room_like(optimizer, name, like)


def room_like(optimizer: Optimizer, name: str, like: dict[int, Tensor]) -> Store:
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


def address(group: Group) -> Address:
    """The address of the noise of a group at the latest evaluation; each parameter has a run."""
    return Address(group["seed"], step=group["evaluations"] - 1)


def common(optimizer: Optimizer, name: str) -> Any:
    """An option that must be equal in all groups."""
    values = [group[name] for group in optimizer.param_groups]
    if any(v != values[0] for v in values):
        raise ValueError(f"{name} must be the same in all parameter groups, got {values}")
    return values[0]


def check_range(
    group: Group,
    name: str,
    lower: float,
    upper: float = LARGEST,
    *,
    open_below: bool = False,
    optional: bool = False,
) -> None:
    """``ValueError`` unless ``group[name]`` is a finite number with lower <= it < upper."""
    value = group[name]
    if optional and value is None:
        return
    try:
        v = number(name, value)
        good = (lower < v if open_below else lower <= v) and v < upper
    except (TypeError, ValueError, RuntimeError):
        good = False
    if not good:
        least = f"{'>' if open_below else '>='} {lower:g}"
        large = isinstance(value, int | float) and isfinite(value) and value >= upper
        most = f" and < {upper:g}" if upper != LARGEST or large else ""
        raise ValueError(f"{name} must be a finite number {least}{most}, got {value!r}")


def check_width(group: Group, name: str, *, optional: bool = False) -> None:
    """``ValueError`` unless ``group[name]`` > 0, and its inverse finite in single precision."""
    check_range(group, name, 0.0, open_below=True, optional=optional)
    if group[name] is not None and group[name] < 1e-30:
        raise ValueError(f"{name} must be a finite number >= 1e-30, got {group[name]!r}")


def check_switch(group: Group, name: str) -> None:
    """``ValueError`` unless ``group[name]`` is True or False."""
    if not isinstance(group[name], bool | np.bool_):  # 1 and 0 compare equal to bools
        raise ValueError(f"{name} must be True or False, got {group[name]!r}")


def check_whole(group: Group, name: str, least: int) -> None:
    """``ValueError`` unless ``group[name]`` is a whole number, at least ``least``."""
    value = group[name]
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and value >= least):
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")


def rate_of(lr: float | None, steps: int = 1, replicas: int = 1) -> float | None:
    """The default learning rate: for this number of gradients, of up to three replicas."""
    whole = isinstance(steps, Integral) and isinstance(replicas, Integral)
    return RATE * steps * min(replicas, 3) if lr is None and whole else lr


def step_by_base(
    optimizer: Checked,
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


def slopes_or_zero(part: Part) -> Column:
    """Gradients, zero where there is none."""
    if all(map(is_not, part.gradients, repeat(None))):
        return part.slopes
    pairs = zip(part.params, part.gradients, strict=True)
    return Column([torch.zeros_like(p) if slope is None else slope for p, slope in pairs])


def quotients(
    part: Part, xs: dict[int, Tensor], zs: dict[int, Tensor], width: float
) -> dict[int, Tensor]:
    """(x - z)/width of the parameters of a part, for the gradient of a base."""
    return {k: (xs[k] - zs[k]) / width for k in part.numbers}


def check_seed(group: Group) -> None:
    """``ValueError`` unless ``group["seed"]`` is a valid seed of the noise."""
    seed = group["seed"]
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not (whole and 0 <= seed < 1 << 64):
        raise ValueError(f"seed must be a whole number >= 0 and < 2**64, got {seed!r}")
