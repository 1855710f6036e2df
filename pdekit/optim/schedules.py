"""Options that change during training, as values: functions of the number k of steps made.

An optimizer takes them for ``gamma``, ``rho``, ``temperature`` and ``strength``, for all parameters
or for a group; ``group["steps"]`` is k, part of the saved state as they are. Any other function of
k will do, but ``torch.save`` must be able to pickle it. Learning rates have schedulers of torch's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pdekit import checks


@dataclass(frozen=True)
class Scoping:
    """v_k = max(floor, v_0 (1 - 1/(2B))^⌊k/every⌋): γ and ρ narrow with the epochs (thesis (5.10)).

    Parameters
    ----------
    initial : v_0 > 0
    batches : B >= 1, mini-batches in the data
    floor : where it stops, >= 0; the thesis has 1 for γ and 0.1 for ρ, which must stay above 0. No
        effect where v_0 is below it already
    every : steps between changes: 1 for optimizers of L gradients a step, as in the thesis; L for
        ``ElasticSGD``, of one gradient
    """

    initial: float
    batches: int
    floor: float = 0.0
    every: int = 1

    def __post_init__(self) -> None:
        checks.positive("Scoping: initial", self.initial)
        checks.whole("Scoping: batches", self.batches, 1)
        checks.not_negative("Scoping: floor", self.floor)
        checks.whole("Scoping: every", self.every, 1)

    def __call__(self, step: int) -> float:
        """v after this number of steps."""
        shrunk = self.initial * (1 - 0.5 / self.batches) ** (step // self.every)
        return max(shrunk, self.last)

    @property
    def last(self) -> float:
        """What it tends to."""
        return min(self.initial, self.floor)


@dataclass(frozen=True)
class Linear:
    """v_k = v_0 + (v_1 - v_0) min(1, k/n), as to cool: ``temperature=Linear(1e-4, 0.0, 1000)``.

    Parameters
    ----------
    initial, last : v_0 and v_1, >= 0
    steps : n >= 1
    """

    initial: float
    last: float
    steps: int

    def __post_init__(self) -> None:
        for name in ("initial", "last"):
            checks.not_negative(f"Linear: {name}", getattr(self, name))
        checks.whole("Linear: steps", self.steps, 1)

    def __call__(self, step: int) -> float:
        """v after this number of steps."""
        share = min(1.0, step / self.steps)
        return (1 - share) * self.initial + share * self.last


torch.serialization.add_safe_globals([Scoping, Linear])
