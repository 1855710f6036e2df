"""MF-HOM-SGLD: replicas of a network that attract each other, each with an inner loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from pdekit.optim.attraction import check_attraction, step_attracted
from pdekit.optim.bases import decay
from pdekit.optim.buffers import copy_all
from pdekit.optim.entropy_sgd import check_inner_loop, inner_loop, with_width
from pdekit.optim.gradients import Closure, Loss, Part, every, numbers_of
from pdekit.optim.groups import Average, Schedule
from pdekit.optim.options import Group, check_whole, rate_of
from pdekit.optim.replicas import Replicated
from pdekit.optim.tables import Column, Store
from pdekit.optim.updates import couple
from pdekit.particles.dynamics.two_scale import LinearAverage

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class MFHomSGLD(Replicated):
    """L times: y^a ← y^a - η_y (∇f(y^a) + (y^a - x^a)/γ) + √(2 η_y T) ξ^a, averaged to z^a;
    then x^a ← x^a - (η/γ)(x^a - z^a) - η λ (x^a - x̄), x̄ the mean of the n replicas.

    y^a goes on from its last value of the step before. Kantas et al., Algorithm 1, with its indices
    and weights corrected (errata 2, 3, 12, 18); η_y = δ/ε, η = Δ; mathematics 1.10. The particles'
    form is ``pk.TwoScaleLangevin(V, 1/T, γ, ε, M, burn_in, pk.CurieWeiss(λ))``, which averages M
    iterates and takes M + burn_in - 1 gradients, here L. With ``strength=0`` and ``replicas=1``
    HOM-SGLD.

    **The parameters hold x̄** between steps, and y^a while the closure runs; else as ``MFSGLD``. The
    y^a are in ``state[p]["fast"]``, stacked as the replicas are.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η >= 0; None for 0.2 L a replica, at most 0.6 L
    gamma : γ > 0, or a schedule; None for the ``lr`` of the group
    strength : λ >= 0, of the attraction, or a schedule
    inner_steps : L, gradients of a replica a step, the same in all groups
    burn_in : in 1, ..., L, the first inner iterate that is averaged
    replicas : of each process, the same in all groups
    temperature : T = 1/β, or a schedule
    inner_lr : η_y; None for 2 γ / (L + 1), with γ as it is at first
    average : ``LinearAverage()``, or as for ``EntropySGD``
    weight_decay : w >= 0; x^a loses the share η w in a step (decoupled)
    seed : of the noise, other in each replica
    process_group : of torch.distributed; None for the default one, if there is one

    ``step(closure)`` calls the closure L times for each replica of the process and returns the mean
    of their first losses, f(y^a). Raises ``TypeError`` without a closure and ``ValueError`` for
    numbers out of range, among them η (1/γ + λ) >= 2. Stable if also η_y (curvature + 1/γ) < 2. If
    the closure raises, everything is as before the step.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        gamma: float | Schedule | None = None,
        strength: float | Schedule = 0.1,
        inner_steps: int = 5,
        burn_in: int = 1,
        replicas: int = 3,
        temperature: float | Schedule = 1e-6,
        *,
        inner_lr: float | None = None,
        average: Average = LinearAverage(),  # noqa: B008, a frozen value
        weight_decay: float = 0.0,
        seed: int = 0,
        process_group: ProcessGroup | None = None,
    ) -> None:
        self.process_group = process_group
        options = {
            "lr": rate_of(lr, inner_steps, replicas),
            "gamma": gamma,
            "strength": strength,
            "inner_steps": inner_steps,
            "burn_in": burn_in,
            "replicas": replicas,
            "temperature": temperature,
            "inner_lr": inner_lr,
            "average": average,
            "weight_decay": weight_decay,
            "seed": seed,
        }
        super().__init__(params, options)

    def completed(self, group: Group) -> Group:
        return with_width(group)

    def check(self, group: Group) -> None:
        check_whole(group, "replicas", 1)
        check_inner_loop(group)
        check_attraction(group, 1 / group["gamma"])

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move the replicas; returns the mean of the losses at their first gradients."""
        loss, ends = step_attracted(self, partial(self._moved, closure))
        for p, y in zip(self._tensors(), zip(*ends, strict=True), strict=True):
            self.state[p]["fast"] = torch.stack(y)
        return loss

    def _moved(
        self, closure: Closure | None, x: Store, a: int, n: int, means: Store, into: Store
    ) -> tuple[Loss, list[Tensor]]:
        """The loss at y^a, which walks on, and then its place; x^a is pulled to its average."""
        tensors = self._tensors()
        copy_all(Column(tensors), Column([self._fast(p)[a] for p in tensors]))
        loss, walked = inner_loop(self, closure, x, into, self.replica, n)
        end = [p.detach().clone() for p in tensors]
        for part in walked:
            pull_together(part, x, into, means)
        there = numbers_of(walked)
        for part in every(self):
            still = part.beyond(there)
            copy_all(still.of(into), still.of(x))
        return loss, end

    def _tensors(self) -> list[Tensor]:
        return [p for part in every(self) for p in part.params]

    def _fast(self, p: Tensor) -> Tensor:
        """y^a, at first x^a."""
        state = self.state[p]
        y: Tensor = state["fast"] if "fast" in state else state["replicas"]
        return y


def pull_together(part: Part, xs: Store, zs: Store, means: Store) -> None:
    """z becomes x - (η/γ)(x - z) - η λ (x - x̄) - η w x."""
    group, x, z = part.group, part.of(xs), part.of(zs)
    share, pull = group["lr"] / group["gamma"], group["lr"] * group["strength"]
    couple(z, x, part.of(means), share, pull)
    decay(z, x, group)
