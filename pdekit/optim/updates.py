"""Update rules of the optimizers: a gradient step, attraction to a centre, noise.

All take lists of parameters, of which each has a row of tensors of one shape. On the CPU one pass
of a compiled kernel over all of them, elsewhere a few of torch's operations on lists: the same
numbers, bitwise if both are rounded alike. Noise is that of the particles: a function of (seed,
parameter, evaluation, element), so it depends neither on other draws nor on the number of
threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit.optim import update_kernels as kernels
from pdekit.optim.bases import decay
from pdekit.optim.buffers import count_step
from pdekit.optim.checked import Checked
from pdekit.optim.gradients import Closure, Loss, loss_of
from pdekit.optim.options import Group
from pdekit.optim.tables import Column, Table, chunks, parts, walk
from pdekit.particles.noise import LANES, RUN_BITS, Address, fill_normals

_SILENT = Address(0)


@dataclass(frozen=True)
class Noise:
    """Normals times ``scale``, of each parameter with a run of its own at one address."""

    scale: float
    at: Address
    runs: Sequence[int]

    def __post_init__(self) -> None:
        most = max(self.runs, default=0)
        if most >> RUN_BITS:
            replace(self.at, run=most)  # says which range it must have

    def of(self, tensors: Any, runs: Sequence[int]) -> list[Tensor]:
        """The normals of these parameters."""
        pairs = zip(tensors, runs, strict=True)
        return [normals_like(t, replace(self.at, run=run)) for t, run in pairs]


def langevin_steps(
    ys: Column,
    slopes: Column,
    eta: float,
    noise: Noise | None = None,
    centres: Column | None = None,
    gamma: float = 1.0,
    means: Column | None = None,
    alpha: float = 0.0,
    begin: bool = False,
    into: Column | None = None,
    owed: float | None = None,
    keep: bool = False,
) -> None:
    """y⁺ = y - η (slope + (y - centre)/γ) + scale ξ and mean⁺ = α mean + (1 - α) y⁺.

    In place, or y⁺ ``into`` others. With ``begin`` the mean is y before the step. ``owed``: the
    weight of the past with which y before the step is added to the mean, if it was not yet. With
    ``keep`` the centre is set to y before the step, which it then does not attract.
    """
    table = (ys, slopes, centres, means, into)
    pull = 1 / float(gamma)
    weights = (float(alpha), begin, owed, keep)
    for good, columns, runs in parts(table, noise.runs if noise else ()):
        if good:
            scale, at = (noise.scale, noise.at) if noise else (0.0, _SILENT)
            past = 0.0 if owed is None else float(owed)
            numbers = (float(eta), pull, float(alpha), 1 - float(alpha), float(scale))
            switches = (begin, owed is not None, past, 1 - past, keep)
            walk(kernels.descend, columns, (*numbers, *switches), at, runs)
        else:
            plain_steps(columns, runs, eta, noise, pull, weights)


def plain_steps(
    table: Table,
    runs: Sequence[int],
    eta: float,
    noise: Noise | None,
    pull: float,
    weights: tuple[float, bool, float | None, bool],
) -> None:
    """The reference of ``langevin_steps``: on any device, dtype and layout."""
    ys, slopes, centres, means, into = lists(table)
    alpha, begin, owed, keep = weights
    if begin and means:
        torch._foreach_copy_(means, ys)
    elif owed is not None and means:
        plain_average_of(means, ys, owed)
    down = slopes
    if keep:
        torch._foreach_copy_(centres, ys)
    elif centres:
        drawn = torch._foreach_mul(torch._foreach_sub(ys, centres), pull)
        down = torch._foreach_add(slopes, drawn)
    steps = torch._foreach_mul(down, eta)
    if noise:
        # one sum, then added: what of it is below the spacing of the parameters the noise makes
        # right on the average, where a step alone would be lost
        shifts = torch._foreach_mul(noise.of(ys, runs), noise.scale)
        moved = torch._foreach_add(ys, torch._foreach_sub(shifts, steps))
    else:
        moved = torch._foreach_sub(ys, steps)
    torch._foreach_copy_(into or ys, moved)
    if means:
        plain_average_of(means, moved, alpha)


def plain_average_of(means: Any, ys: Any, alpha: float) -> None:
    """mean⁺ = α mean + (1 - α) y."""
    past, present = torch._foreach_mul(means, alpha), torch._foreach_mul(ys, 1 - alpha)
    torch._foreach_copy_(means, torch._foreach_add(past, present))


def noisy_descent(
    optimizer: Checked,
    closure: Closure | None,
    noise: Callable[[Group, Sequence[int]], Noise | None],
) -> Loss | None:
    """y⁺ = y - η ∇f(y) + ``noise(group, numbers of its parameters)``; the loss of the closure."""
    optimizer.recheck_groups()
    loss, moving = loss_of(optimizer, closure)
    for of in moving:
        decay(of.places, of.places, of.group)
        langevin_steps(of.places, of.slopes, of.group["lr"], noise(of.group, of.numbers))
    count_step(optimizer)
    return loss


def lists(table: Table) -> list[Any]:
    """The tensors of each column."""
    return [column.tensors if column else None for column in table]


def normals_like(y: Tensor, at: Address) -> Tensor:
    """Standard normals in the shape and the type of ``y``; drawn in float32 for shorter types."""
    dtype = y.dtype if y.dtype in LANES else torch.float32
    out = torch.empty(1, y.numel(), dtype=dtype, device=y.device)
    return fill_normals(out, at).view(y.shape).to(y.dtype)


def scatter(
    ys: Column,
    xs: Column,
    noise: Noise,
    sums: Column | None = None,
    slopes: Column | None = None,
) -> None:
    """y = x + scale ξ and sum⁺ = sum + slope, in place."""
    for good, columns, runs in parts((ys, xs, sums, slopes), noise.runs):
        if good:
            walk(kernels.scatter, columns, (float(noise.scale),), noise.at, runs)
            continue
        there, here, total, down = lists(columns)
        if total:
            torch._foreach_add_(total, down)
        shifts = torch._foreach_mul(noise.of(there, runs), noise.scale)
        torch._foreach_copy_(there, torch._foreach_add(here, shifts))


def accelerate(
    us: Column,
    ws: Column,
    slopes: Column,
    eta: float,
    momentum: float,
    compensation: float,
    climb: bool = True,
) -> float:
    """w⁺ = u - η g, u⁺ = w⁺ + momentum (w⁺ - w) + η compensation g, in place; Σ g·(w⁺ - w).

    Without ``climb`` that product is not computed, and 0.
    """
    total, push = 0.0, float(eta * compensation)
    for good, columns, _ in parts((us, ws, slopes)):
        if good:  # summed in a fixed order, independent of the threads
            climbs = np.empty(chunks(columns) if climb else 0)
            walk(kernels.accelerate, columns, (float(eta), float(momentum), push, climbs))
            total += float(climbs.sum())
        else:
            total += plain_acceleration(columns, eta, momentum, push, climb)
    return total


def plain_acceleration(
    table: Table, eta: float, momentum: float, push: float, climb: bool
) -> float:
    """The reference of ``accelerate``."""
    us, ws, slopes = lists(table)
    new = torch._foreach_sub(us, torch._foreach_mul(slopes, eta))
    gained = torch._foreach_sub(new, ws)
    ahead = torch._foreach_add(new, torch._foreach_mul(gained, momentum))
    torch._foreach_copy_(us, torch._foreach_add(ahead, torch._foreach_mul(slopes, push)))
    torch._foreach_copy_(ws, new)
    if not climb:
        return 0.0
    pairs = zip(slopes, gained, strict=True)
    return float(torch.stack([(g.double() * d.double()).sum() for g, d in pairs]).sum())


def interpolate(ys: Column, xs: Column, zs: Column, share: float) -> None:
    """y = x + share (z - x), in place; bitwise z for a share of 1, and x where z is x."""
    for good, columns, _ in parts((ys, xs, zs)):
        if good:
            walk(kernels.interpolate, columns, from_end(share))
        else:
            there, start, stop = lists(columns)
            plain_interpolation(there, start, stop, share)


def from_end(share: float) -> tuple[bool, float]:
    """Whether x + share (z - x) is computed from x, and the share of the way from there, or z."""
    near = bool(share < 0.5)  # options may be tensors
    return near, float(share if near else 1 - share)


def plain_interpolation(ys: Any, xs: Any, zs: Any, share: float) -> None:
    """The reference of ``interpolate``."""
    near, part = from_end(share)
    way = torch._foreach_mul(torch._foreach_sub(zs, xs), part)
    torch._foreach_copy_(ys, torch._foreach_add(xs, way) if near else torch._foreach_sub(zs, way))


def couple(zs: Column, xs: Column, masters: Column, share: float, pull: float) -> None:
    """z⁺ = x - share (x - z) - pull (x - master), in place."""
    for good, columns, _ in parts((zs, xs, masters)):
        if good:
            walk(kernels.couple, columns, (float(share), float(pull)))
        else:
            mean, here, master = lists(columns)
            drawn = torch._foreach_mul(torch._foreach_sub(here, mean), share)
            pulled = torch._foreach_mul(torch._foreach_sub(here, master), pull)
            moved = torch._foreach_sub(torch._foreach_sub(here, drawn), pulled)
            torch._foreach_copy_(mean, moved)


def average(ys: Column, replicas: Sequence[Column]) -> None:
    """y = mean of the replicas, in place; bitwise what they are if they are equal."""
    whole, shares = weights_of(len(replicas))
    for good, columns, _ in parts((ys, *replicas)):
        if good:
            walk(kernels.average, columns, (whole, shares))
        else:
            plain_average(*lists(columns), whole=whole)


def weights_of(n: int) -> tuple[bool, Any]:
    """Whether a mean of n is their sum over n, which is exact if they are equal; else it runs, and
    the a-th has this share of the mean so far.
    """
    return n & (n - 1) == 0, np.array([1 / (a + 1) for a in range(n)])


def plain_average(ys: Any, first: Any, *others: Any, whole: bool) -> None:
    """The reference of ``average``."""
    mean = first
    for a, x in enumerate(others, 1):
        more = x if whole else torch._foreach_mul(torch._foreach_sub(x, mean), 1 / (a + 1))
        mean = torch._foreach_add(mean, more)
    if whole:
        mean = torch._foreach_mul(mean, 1 / (1 + len(others)))
    torch._foreach_copy_(ys, mean)


def relay(
    ys: Column,
    slopes: Column,
    centres: Column,
    into: Column,
    following: Sequence[Column],
    eta: float,
    gamma: float,
    share: float = 1.0,
) -> None:
    """``into`` = y - η (slope + (y - centre)/γ), then y = centre + share (mean - centre), the mean
    of what follows, y among it or not; bitwise the mean for a share of 1.
    """
    pull, (whole, shares) = 1 / float(gamma), weights_of(len(following))
    for good, columns, _ in parts((ys, slopes, centres, into, *following)):
        if good:
            numbers = (float(eta), pull, *from_end(share), whole, shares)
            walk(kernels.relay, columns, numbers)
            continue
        here, _, centre, _, *those = lists(columns)
        plain_steps(
            [*columns[:3], None, columns[3]], (), eta, None, pull, (0.0, False, None, False)
        )
        plain_average(here, *those, whole=whole)
        plain_interpolation(here, centre, here, share)
