"""Entropy-SGD: descent along the gradient of the local entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from pdekit import checks
from pdekit.optim.bases import Base, decay, quotients, step_by_base
from pdekit.optim.buffers import buffers, copy_all, restored_on_error
from pdekit.optim.checked import Checked
from pdekit.optim.gradients import Closure, Loss, Part, address, evaluated, every, numbers_of
from pdekit.optim.groups import Average, Schedule, common
from pdekit.optim.options import (
    RATE,
    Group,
    check_range,
    check_seed,
    check_whole,
    check_width,
    rate_of,
)
from pdekit.optim.tables import Column, Store
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
        None for 0.2 L: as long as L steps of SGD with rate 0.2; with another ``average`` as far as
        with the exponential one on a slope, 0.3 L for ``LinearAverage()``; with a base for its own
    gamma : γ > 0, the square of the width, or a schedule; None for the ``lr`` of the group, where
        x becomes z, or 0.2 L where that is 0, and with a base
    inner_steps : L, gradients a step, the same in all groups
    temperature : T = 1/β of the noise added, or a schedule; 0 for the noise of the mini-batches
        only
    inner_lr : η_y; None for 2 γ / (L + 1)
    alpha : α in [0, 1), the weight of the past in z
    average : how z is formed; None for ``ExponentialAverage(alpha)`` as above. ``LinearAverage()``:
        z is the mean of y (Kantas et al., Algorithm 1); ``LastIterate()``: z is the last y
    burn_in : in 1, ..., L: the first iterate in z, which begins at the one before
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
            "lr": lr if base or lr is not None else default_rate(inner_steps, average, burn_in),
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
        with restored_on_error(self) as (centres, anchored):
            means = buffers(self, "mean")
            loss, moved = inner_loop(self, closure, centres, means, anchored=anchored)
            step_towards(self, moved, centres, means)
        return loss


def step_towards(
    optimizer: Checked, moved: list[Part], centres: Store, means: Store | None = None
) -> None:
    """x ← x - (η/γ)(x - z), or a step of the base along (x - z)/γ, with decoupled decay.

    Without means z is where the parameters are.
    """
    if optimizer.bases:
        step_by_base(optimizer, back(moved, centres, means))
        return
    for part in moved:
        x, z = part.of(centres), part.places if means is None else part.of(means)
        share = part.group["lr"] / part.group["gamma"]
        if share != 1:
            interpolate(part.places, x, z, share)
        elif means is not None:
            copy_all(part.places, z)
        decay(part.places, x, part.group)


def back(moved: list[Part], centres: Store, means: Store | None) -> dict[int, Tensor]:
    """(x - z)/γ by number, and the parameters are at x again."""
    slopes: dict[int, Tensor] = {}
    for part in moved:
        z = dict(part.pairs()) if means is None else means.tensors
        slopes |= quotients(part, centres.tensors, z, part.group["gamma"])
        copy_all(part.places, part.of(centres))
    return slopes


def with_width(group: Group, based: bool = False) -> Group:
    """A group with γ: its learning rate, with a base or rate 0 the default one, unless given."""
    if group["gamma"] is not None:
        return group
    own = None if based else group["lr"]
    return {**group, "gamma": own or rate_of(None, group["inner_steps"])}


def default_rate(steps: int, average: Average | None, burn_in: int) -> float | None:
    """0.2 L, or with what x moves as far on a slope as with that and the exponential average."""
    if average is None:
        return rate_of(None, steps)
    group = {"inner_steps": steps, "average": average, "burn_in": burn_in}
    check_whole(group, "inner_steps", 1)
    check_average(group)
    usual = reach(ExponentialAverage(0.25), 1, steps)
    return RATE * steps * usual / reach(average, burn_in, steps)


def reach(average: Average, burn_in: int, steps: int) -> float:
    """How far z gets from x on a slope, of the way to the proximal point, at the default η_y."""
    way = [1 - (1 - 2 / (steps + 1)) ** m for m in range(steps + 1)]
    z = way[burn_in - 1]
    for m in range(burn_in, steps + 1):
        past = average.past(m - burn_in + 1)
        z = past * z + (1 - past) * way[m]
    return z


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
    centres: Store,
    means: Store | None,
    replica: int = 0,
    replicas: int = 1,
    anchored: set[int] | None = None,
) -> tuple[Loss, list[Part]]:
    """L steps of y, the parameters, around the centres x, averaged in the means z; the first loss,
    and what has moved.

    Without means z is the last y. A y without gradient stays, and counts for z as any other.
    Replicas have independent noise. ``anchored``: centres are filled by the first step of each y
    that has any, and those added here, rather than known before.
    """
    moved, ids = set[int]() if anchored is None else anchored, (replica, replicas)
    keep = anchored is not None
    averagings = [averaging(group) for group in optimizer.param_groups]
    losses = [
        inner_step(optimizer, closure, centres, means, moved, (m, averagings), ids, keep)
        for m in range(1, common(optimizer, "inner_steps") + 1)
    ]
    return losses[0], [part.among(moved) for part in every(optimizer)]


def inner_step(
    optimizer: Optimizer,
    closure: Closure | None,
    centres: Store,
    means: Store | None,
    moved: set[int],
    time: tuple[int, list[Averaging]],
    ids: tuple[int, int],
    keep: bool,
) -> Loss:
    """The m-th of the L steps, and its loss. It keeps no gradient beyond, so that the next
    evaluation can use its memory.
    """
    (loss, parts), (m, averagings), (replica, replicas) = evaluated(optimizer, closure), time, ids
    if means is not None:
        average_still(optimizer, moved - numbers_of(parts), means, m, averagings)
    for part, how in zip(parts, averagings, strict=True):
        for some, new in ((part.among(moved), False), (part.beyond(moved), True)):
            if some.numbers:
                runs = [n * replicas + replica for n in some.numbers]
                z = some.of(means) if means is not None and m >= how.first else None
                walk_one(some, centres, z, m, how, (new or m == how.first, new and keep), runs)
        moved.update(part.numbers)
    return loss


def walk_one(
    part: Part,
    centres: Store,
    means: Column | None,
    m: int,
    how: Averaging,
    first: tuple[bool, bool],
    runs: Sequence[int],
) -> None:
    """The m-th step of y, and of z; whether z begins, and x is kept, ``first``."""
    group, eta, noise = part.group, inner_rate(part.group), None
    begin, keep = first
    if group["temperature"] > 0:
        noise = Noise(sqrt(2 * eta * group["temperature"]), address(group), runs)
    if means is not None and how.postponed(m):
        if begin:
            copy_all(means, part.places)
        means = None
    past, owed = how.past[m], how.past[m - 1] if how.postponed(m - 1) else None
    ys, slopes, xs, gamma = part.places, part.slopes, part.of(centres), group["gamma"]
    langevin_steps(ys, slopes, eta, noise, xs, gamma, means, past, begin, owed=owed, keep=keep)


def average_still(
    optimizer: Optimizer, still: set[int], means: Store, m: int, averagings: list[Averaging]
) -> None:
    """z of parameters that have moved, but have no gradient in the m-th step."""
    if not still:
        return
    for part, how in zip(every(optimizer), averagings, strict=True):
        some = part.among(still)
        z = some.of(means)
        if m == how.first:
            copy_all(z, some.places)
        elif m > how.first and not how.postponed(m):
            for k in (m - 1, m) if how.postponed(m - 1) else (m,):
                interpolate(z, some.places, z, how.past[k])


@dataclass(frozen=True)
class Averaging:
    """How the iterates of an inner loop are added to z: from which on, and with which weight of the
    past each, ``past[m]``.

    z is read and written in every other step, when y is added as it was before and after: the same
    numbers for half of the traffic.
    """

    first: int
    past: list[float]

    def postponed(self, m: int) -> bool:
        """Whether the m-th iterate is added together with the one after it."""
        return m > self.first and (len(self.past) - m) % 2 == 0


def averaging(group: Group) -> Averaging:
    """That of a group. What weighs less than rounding in z is left out."""
    given: Average | None = group.get("average")
    average = ExponentialAverage(group["alpha"]) if given is None else given
    burn_in, steps = group.get("burn_in", 1), group["inner_steps"]
    past = [1.0] * burn_in + [float(average.past(k)) for k in range(1, steps - burn_in + 2)]
    types = {p.dtype for p in group["params"] if p.is_floating_point() or p.is_complex()}
    lost = min((torch.finfo(dtype).eps for dtype in types), default=1.0) / 4
    before, first = 1.0, steps + 1
    while before > lost and first > burn_in:
        first -= 1
        before *= past[first]
    return Averaging(first, past)


def inner_rate(group: Group) -> float:
    """η_y, unless given such that y has relaxed after L steps."""
    rate = group["inner_lr"]
    return float(2 * group["gamma"] / (group["inner_steps"] + 1) if rate is None else rate)
