"""Entropy-SGD: descent along the gradient of the local entropy."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, sqrt

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from pdekit.optim.groups import (
    Checked,
    Closure,
    Group,
    Loss,
    Part,
    address,
    check_range,
    check_seed,
    check_whole,
    check_width,
    common,
    copy_all,
    evaluated,
    every,
    rate_of,
    restored_on_error,
    room,
)
from pdekit.optim.tables import Column, Store
from pdekit.optim.updates import Noise, interpolate, langevin_steps

Runs = Sequence[int]


class EntropySGD(Checked):
    """y, z ← x; L times: y ← y - η_y (∇f(y) + (y - x)/γ) + √(2 η_y T) ξ, z ← α z + (1 - α) y;
    then x ← x - (η/γ)(x - z).

    With many small inner steps (x - z)/γ becomes the gradient at x of the local entropy u(·, γ),
    the solution of u_t = -|∇u|²/2 + (T/2) Δu, u(·, 0) = f (``pk.ViscousHJ(1/T)``): a step is one of
    gradient descent on the smoothed loss. Thesis, Algorithm 2 and (4.39)-(4.41), with x ← z at
    η = γ (errata 59); mathematics 1.10.

    Parameters
    ----------
    params : tensors, or groups of them with options of their own
    lr : η >= 0; a step is as long as one of gradient descent with this learning rate on u.
        None for 0.2 L: as long as L steps of SGD with rate 0.2
    gamma : γ > 0, the square of the width; None for the ``lr`` of the group, where x becomes z
    inner_steps : L, gradients a step, the same in all groups
    temperature : T = 1/β of the noise added; 0 for the noise of the mini-batches only
    inner_lr : η_y; None for 2 γ / (L + 1)
    alpha : α in [0, 1), the weight of the past in z
    seed : of the noise

    ``step(closure)`` calls the closure L times and returns its first loss, f(x). Raises
    ``ValueError`` for numbers out of range, ``TypeError`` without a closure; if the closure
    raises, the parameters are restored to x. Stable if η_y (λ + 1/γ) < 2, λ the largest curvature
    met. To narrow γ during training (scoping), set ``group["gamma"]``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        gamma: float | None = None,
        inner_steps: int = 20,
        temperature: float = 0.0,
        *,
        inner_lr: float | None = None,
        alpha: float = 0.25,
        seed: int = 0,
    ) -> None:
        options = {
            "lr": rate_of(lr, inner_steps),
            "gamma": gamma,
            "inner_steps": inner_steps,
            "temperature": temperature,
            "inner_lr": inner_lr,
            "alpha": alpha,
            "seed": seed,
        }
        super().__init__(params, options)

    def completed(self, group: Group) -> Group:
        return with_width(group)

    def check(self, group: Group) -> None:
        check_inner_loop(group)
        check_seed(group)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Loss | None:  # type: ignore[override]
        """Move x; returns the loss at the old x."""
        self.recheck_groups()
        with restored_on_error(self) as centres:
            means = room(self, "mean")
            loss, moved = inner_loop(self, closure, centres, means)
            for part in moved:
                share = part.group["lr"] / part.group["gamma"]
                interpolate(part.places, part.of(centres), part.of(means), share)
        return loss


def with_width(group: Group) -> Group:
    """A group with γ: its learning rate, unless given."""
    return {**group, "gamma": group["lr"] if group["gamma"] is None else group["gamma"]}


def check_inner_loop(group: Group) -> None:
    """Raise for options of ``inner_loop`` out of range."""
    check_whole(group, "inner_steps", 1)
    check_range(group, "lr", 0.0)
    check_width(group, "gamma")
    check_range(group, "temperature", 0.0)
    check_range(group, "inner_lr", 0.0, open_below=True, optional=True)
    check_range(group, "alpha", 0.0, 1.0)


def inner_loop(
    optimizer: Optimizer,
    closure: Closure | None,
    centres: Store,
    means: Store | None,
    replica: int = 0,
    replicas: int = 1,
) -> tuple[Loss | None, list[Part]]:
    """L steps of y, the parameters, around the centres x, averaged in the means z; the first loss,
    and what has moved.

    Without means z is the last y. A y without gradient stays, and counts for z as any other.
    Replicas have independent noise.
    """
    moved = set[int]()
    firsts = {id(group): first_averaged(group) for group in optimizer.param_groups}
    ids = replica, replicas
    losses = [
        inner_step(optimizer, closure, centres, means, moved, (k, firsts), ids)
        for k in range(common(optimizer, "inner_steps"))
    ]
    return losses[0], [part.among(moved) for part in every(optimizer)]


def inner_step(
    optimizer: Optimizer,
    closure: Closure | None,
    centres: Store,
    means: Store | None,
    moved: set[int],
    time: tuple[int, dict[int, int]],
    ids: tuple[int, int],
) -> Loss | None:
    """One of the L steps, and its loss. It keeps no gradient beyond, so that the next evaluation
    can use its memory.
    """
    (loss, parts), (k, firsts), (replica, replicas) = evaluated(optimizer, closure), time, ids
    if means is not None:
        still = moved - {n for part in parts for n in part.numbers}
        average_still(optimizer, still, means, k, firsts)
    for part in parts:
        first = firsts[id(part.group)]
        for some, new in ((part.among(moved), k == first), (part.beyond(moved), True)):
            runs = [n * replicas + replica for n in some.numbers]
            z = some.of(means) if means is not None and k >= first else None
            walk_one(some, centres, z, new, runs)
        moved.update(part.numbers)
    return loss


def walk_one(part: Part, centres: Store, means: Column | None, begin: bool, runs: Runs) -> None:
    """A step of y, and of z, which may begin there."""
    group, eta, noise = part.group, inner_rate(part.group), None
    if group["temperature"] > 0:
        noise = Noise(sqrt(2 * eta * group["temperature"]), address(group), runs)
    langevin_steps(
        part.places, part.slopes, eta, noise, part.of(centres), group["gamma"], means,
        group["alpha"], begin,
    )  # fmt: skip


def average_still(
    optimizer: Optimizer, still: set[int], means: Store, k: int, firsts: dict[int, int]
) -> None:
    """z of parameters that have moved, but have no gradient at the evaluation k."""
    for part in (part.among(still) for part in every(optimizer) if still):
        z, first = part.of(means), firsts[id(part.group)]
        if k == first:
            copy_all(z, part.places)
        elif k > first:
            interpolate(z, part.places, z, part.group["alpha"])


def first_averaged(group: Group) -> int:
    """The first of the L evaluations that counts for z: what weighs less is lost in rounding."""
    alpha, steps = group["alpha"], int(group["inner_steps"])
    types = {p.dtype for p in group["params"] if p.is_floating_point() or p.is_complex()}
    lost = min((torch.finfo(dtype).eps for dtype in types), default=1.0) / 4
    return max(0, steps - (ceil(log(lost) / log(alpha)) if alpha > 0 else 1))


def inner_rate(group: Group) -> float:
    """η_y, unless given such that y has relaxed after L steps."""
    rate = group["inner_lr"]
    return float(2 * group["gamma"] / (group["inner_steps"] + 1) if rate is None else rate)
