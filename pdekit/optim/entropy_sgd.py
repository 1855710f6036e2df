"""Entropy-SGD: descent along the gradient of the local entropy."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from pdekit import checks
from pdekit.optim.bases import Base
from pdekit.optim.groups import (
    Average,
    Checked,
    Closure,
    Group,
    Loss,
    Part,
    Schedule,
    address,
    check_range,
    check_seed,
    check_whole,
    check_width,
    common,
    copy_all,
    decay,
    evaluated,
    every,
    quotients,
    rate_of,
    restored_on_error,
    room,
    step_by_base,
)
from pdekit.optim.updates import Noise, interpolate, langevin_steps
from pdekit.particles.dynamics.two_scale import ExponentialAverage


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
        None for 0.2 L: as long as L steps of SGD with rate 0.2; with a base for its own
    gamma : γ > 0, the square of the width, or a schedule; None for the ``lr`` of the group, where
        x becomes z, with a base for 0.2 L
    inner_steps : L, gradients a step, the same in all groups
    temperature : T = 1/β of the noise added, or a schedule; 0 for the noise of the mini-batches
        only
    inner_lr : η_y; None for 2 γ / (L + 1)
    alpha : α in [0, 1), the weight of the past in z
    average : how z is formed; None for ``ExponentialAverage(alpha)`` as above. ``LinearAverage()``:
        z is the mean of y (Kantas et al., Algorithm 1); ``LastIterate()``: z is the last y
    burn_in : in 1, ..., L: the first iterate in z
    base : a function from parameters to the torch optimizer that makes the outer step, with
        (x - z)/γ for its gradient, such as ``lambda p: torch.optim.Adam(p, lr=1e-3)``
        (Entropy-Adam) or ``lambda p: torch.optim.SGD(p, 0.4, momentum=0.9, nesterov=True)``
    weight_decay : w >= 0; x loses the share η w in a step (decoupled)
    seed : of the noise

    ``step(closure)`` calls the closure L times and returns its first loss, f(x). Raises
    ``ValueError`` for numbers out of range, ``TypeError`` without a closure; if the closure
    raises, the parameters are restored to x. Stable if η_y (λ + 1/γ) < 2, λ the largest curvature
    met. To narrow γ during training (scoping), give a schedule such as
    ``pk.optim.schedules.Scoping(4.0, batches=100, floor=0.1)``.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | None = None,
        gamma: float | Schedule | None = None,
        inner_steps: int = 20,
        temperature: float | Schedule = 0.0,
        *,
        inner_lr: float | None = None,
        alpha: float = 0.25,
        average: Average | None = None,
        burn_in: int = 1,
        base: Base | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        options = {
            "lr": rate_of(lr, inner_steps) if base is None else lr,
            "gamma": gamma,
            "inner_steps": inner_steps,
            "temperature": temperature,
            "inner_lr": inner_lr,
            "alpha": alpha,
            "average": average,
            "burn_in": burn_in,
            "weight_decay": weight_decay,
            "seed": seed,
        }
        super().__init__(params, options, base)

    def completed(self, group: Group) -> Group:
        return with_width(group, bool(self.bases))

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
            step_towards(self, moved, centres, means)
        return loss


def step_towards(
    optimizer: Checked, moved: list[Part], centres: dict[int, Tensor], means: dict[int, Tensor]
) -> None:
    """x ← x - (η/γ)(x - z), or a step of the base along (x - z)/γ, with decoupled decay."""
    slopes: dict[int, Tensor] = {}
    for part in moved:
        x, z, gamma = part.of(centres), part.of(means), part.group["gamma"]
        if optimizer.bases:
            slopes.update(zip(part.numbers, quotients(x, z, gamma), strict=True))
            copy_all(part.params, x)
        else:
            interpolate(part.params, x, z, part.group["lr"] / gamma)
            decay(part.params, x, part.group)
    if optimizer.bases:
        step_by_base(optimizer, slopes)


def with_width(group: Group, based: bool = False) -> Group:
    """A group with γ: its learning rate, with a base the default one, unless given."""
    if group["gamma"] is not None:
        return group
    return {**group, "gamma": rate_of(None, group["inner_steps"]) if based else group["lr"]}


def check_inner_loop(group: Group) -> None:
    """Raise for options of ``inner_loop`` out of range."""
    check_whole(group, "inner_steps", 1)
    check_range(group, "lr", 0.0)
    check_width(group, "gamma")
    check_range(group, "temperature", 0.0)
    check_range(group, "inner_lr", 0.0, open_below=True, optional=True)
    if "alpha" in group:
        check_range(group, "alpha", 0.0, 1.0)
    if "average" in group:
        check_average(group)


def check_average(group: Group) -> None:
    """Raise for what does not average, or does so after the last iterate."""
    if group["average"] is not None:
        checks.has("average", group["average"], "an average such as LinearAverage()", "past")
    check_whole(group, "burn_in", 1)
    if group["burn_in"] > group["inner_steps"]:
        raise ValueError(
            f"burn_in must be at most inner_steps, got {group['burn_in']} and "
            f"{group['inner_steps']}: there would be nothing to average"
        )


def inner_loop(
    optimizer: Optimizer,
    closure: Closure | None,
    centres: dict[int, Tensor],
    means: dict[int, Tensor] | None,
    replica: int = 0,
    replicas: int = 1,
) -> tuple[Loss | None, list[Part]]:
    """L steps of y, the parameters, around the centres x, averaged in the means z; the first loss,
    and what has moved.

    Without means z is the last y. Replicas have independent noise.
    """
    losses, moved, begun = [], set[int](), set[int]()
    for m in range(common(optimizer, "inner_steps")):
        loss, parts = evaluated(optimizer, closure)
        losses.append(loss)
        for part in parts:
            group, eta = part.group, inner_rate(part.group)
            past = 1.0 if means is None else weight_of_past(group, m + 1)
            for some, new in ((part.among(begun), False), (part.among(begun, False), True)):
                noise = None
                if group["temperature"] > 0:
                    runs = [k * replicas + replica for k in some.numbers]
                    noise = Noise(sqrt(2 * eta * group["temperature"]), address(group), runs)
                z = some.of(means) if means is not None and past < 1 else None
                langevin_steps(
                    some.params, some.slopes, eta, noise, some.of(centres), group["gamma"], z,
                    past, new,
                )  # fmt: skip
            moved.update(part.numbers)
            begun.update(part.numbers if past < 1 else ())
    found = [part.among(moved) for part in every(optimizer)]
    if means is not None:
        for part in found:  # without a gradient since the burn-in
            late = part.among(begun, False)
            copy_all(late.of(means), late.params)
    return losses[0], found


def weight_of_past(group: Group, m: int) -> float:
    """Of z, when the m-th iterate is added to it."""
    added, average = m - group.get("burn_in", 1) + 1, group.get("average")
    if average is None:
        average = ExponentialAverage(group["alpha"])
    return 1.0 if added < 1 else float(average.past(added))


def inner_rate(group: Group) -> float:
    """η_y, unless given such that y has relaxed after L steps."""
    rate = group["inner_lr"]
    return float(2 * group["gamma"] / (group["inner_steps"] + 1) if rate is None else rate)
