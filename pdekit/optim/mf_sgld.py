"""MF-SGLD: replicas of a network that attract each other."""

from __future__ import annotations

from functools import partial
from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from pdekit.optim.attraction import check_attraction, step_attracted
from pdekit.optim.bases import decay
from pdekit.optim.gradients import (
    Closure,
    Loss,
    Part,
    address,
    evaluated,
    every,
    numbers_of,
    slopes_or_zero,
)
from pdekit.optim.groups import Schedule
from pdekit.optim.options import Group, check_range, check_whole, rate_of
from pdekit.optim.replicas import Replicated
from pdekit.optim.tables import Store
from pdekit.optim.updates import Noise, langevin_steps

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class MFSGLD(Replicated):
    """x^a ← x^a - η (∇f(x^a) + λ (x^a - x̄)) + √(2 η T) ξ^a, x̄ the mean of the n replicas.

    Euler's step of the interacting particles ``pk.InteractingLangevin(V, 1/T, pk.CurieWeiss(λ))``,
    whose law tends to that of ``pk.McKeanVlasov`` as n grows. Kantas et al. (5), mathematics 1.10.

    **The parameters hold x̄** between steps, and a replica while the closure runs;
    ``with optimizer.at(a):`` puts replica a there. Where the replicas are, what memory they take,
    and several processes: as for ``ElasticSGD``.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η >= 0; None for 0.2 a replica, at most 0.6: a step takes n gradients
    strength : λ >= 0, of the attraction, or a schedule; 0 for n chains of ``SGLD``
    replicas : of each process, the same in all groups
    temperature : T = 1/β, or a schedule
    weight_decay : w >= 0; adds w|x|²/2 to f
    seed : of the noise, other in each replica
    process_group : of torch.distributed; None for the default one, if there is one

    ``step(closure)`` calls the closure once for each replica of the process and returns the mean of
    its losses there. Raises ``TypeError`` without a closure and ``ValueError`` for numbers out of
    range, among them η λ >= 2. Stable if η (λ + curvature) < 2. If the closure raises, everything
    is as before the step.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        strength: float | Schedule = 1.0,
        replicas: int = 3,
        temperature: float | Schedule = 1e-6,
        *,
        weight_decay: float = 0.0,
        seed: int = 0,
        process_group: ProcessGroup | None = None,
    ) -> None:
        self.process_group = process_group
        options = {
            "lr": rate_of(lr, replicas=replicas),
            "strength": strength,
            "replicas": replicas,
            "temperature": temperature,
            "weight_decay": weight_decay,
            "seed": seed,
        }
        super().__init__(params, options)

    def check(self, group: Group) -> None:
        check_whole(group, "replicas", 1)
        check_range(group, "lr", 0.0)
        check_range(group, "temperature", 0.0)
        check_attraction(group, 0.0)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move the replicas; returns the mean of the losses at their first gradients."""
        return step_attracted(self, partial(self._moved, closure))[0]

    def _moved(
        self, closure: Closure | None, x: Store, a: int, n: int, means: Store, into: Store
    ) -> tuple[Loss, list[Tensor]]:
        """The loss of the replica in the parameters, and its step; keeps no gradient."""
        loss, moving = evaluated(self, closure)
        with_slope = numbers_of(moving)
        for part in every(self):
            self._walk(part.among(with_slope), n, means, into, drawn=True)
            self._walk(part.beyond(with_slope), n, means, into, drawn=False)
        return loss, []

    def _walk(self, part: Part, n: int, means: Store, into: Store, drawn: bool) -> None:
        """A step of parameters that have a gradient, or of others, which have no noise."""
        group, noise = part.group, None
        scale = sqrt(2 * group["lr"] * group["temperature"])
        if drawn and scale:
            noise = Noise(scale, address(group), [k * n + self.replica for k in part.numbers])
        pull = group["strength"]
        centres, width = (part.of(means), 1 / pull) if pull else (None, 1.0)
        new, slopes = part.of(into), slopes_or_zero(part)
        langevin_steps(part.places, slopes, group["lr"], noise, centres, width, into=new)
        if drawn:
            decay(new, part.places, group)
