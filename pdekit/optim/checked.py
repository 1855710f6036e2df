"""The base class of the optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch.optim import Optimizer, optimizer
from torch.optim.optimizer import ParamsT

from pdekit.optim.bases import Base, add_to_bases, bases_of, share_rates
from pdekit.optim.groups import COUNTERS, finally_, group_of, listed, now
from pdekit.optim.options import Group, check_range

_UNSEEN = {"params", *COUNTERS}


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

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """As torch's, which is called only where a profiler records or hooks wait: what it does for
        them takes a fifth of the time of torch's SGD on a million weights, when caches are cold.
        """
        recorded = Optimizer.profile_hook_step(func)

        @wraps(func)
        def step(self: Any, *arguments: Any, **options: Any) -> Any:
            made = recorded if _watched(self) else func
            return made(self, *arguments, **options)

        return step

    def completed(self, group: Group) -> Group:
        """A new group, completed with derived options."""
        return group

    def check(self, group: Group) -> None:
        """``ValueError`` for options out of range."""
        raise NotImplementedError

    def check_stable(self, group: Group) -> None:
        """``ValueError`` for options that are unstable together, as they are in this step: of where
        each tends to nothing follows, as learning rates fall by torch's schedulers.
        """

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, whose options are checked."""
        group = group_of(self, param_group)
        if self.bases:
            number = len(self.param_groups)
            group["lr"] = group["shared_lr"] = add_to_bases(self.bases, number, group)
        group = self.completed(group)
        for moment in (now(group), finally_(group)):
            self._check(moment)
        self.check_stable(now(group))
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
            self.check_stable(current)
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


def _watched(made: Any) -> bool:
    """Whether a profiler records, or hooks wait for the step of an optimizer."""
    return bool(
        torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
        or made._optimizer_step_pre_hooks
        or made._optimizer_step_post_hooks
        or optimizer._global_optimizer_pre_hooks
        or optimizer._global_optimizer_post_hooks
    )
