"""Update rules of the optimizers: a gradient step, attraction to a centre, noise.

On the CPU one pass of a compiled kernel, elsewhere a few operations of torch: the same numbers,
bitwise if both are rounded alike. Noise is that of the particles: a function of (seed,
parameter, evaluation, element), so it depends neither on other draws nor on the number of
threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdekit.optim.groups import Checked, Closure, Group, Loss, loss_of, parameters
from pdekit.optim.update_kernels import CHUNK, accelerate, descend, scatter
from pdekit.particles.noise import LANES, Address, fill_normals

_SPLIT = 1 << 18  # elements above which a second thread pays off


@dataclass(frozen=True)
class Noise:
    """Normals of one parameter, times ``scale``."""

    scale: float
    at: Address


def langevin_step(
    y: Tensor,
    slope: Tensor,
    eta: float,
    noise: Noise | None = None,
    centre: Tensor | None = None,
    gamma: float = 1.0,
    mean: Tensor | None = None,
    alpha: float = 0.0,
) -> None:
    """y⁺ = y - η (slope + (y - centre)/γ) + scale ξ and mean⁺ = α mean + (1 - α) y⁺, in place."""
    y, slope = as_reals(y), as_reals(slope)
    centre = None if centre is None else as_reals(centre)
    mean = None if mean is None else as_reals(mean)
    if not _in_lines(y, slope, centre, mean):
        plain_step(y, slope, eta, noise, centre, gamma, mean, alpha)
        return
    lines = [_line(y, y), _line(slope, y), _line(centre, y), _line(mean, y)]
    scale, at = (noise.scale, noise.at) if noise else (0.0, Address(0))
    numbers = (eta, 1 / gamma, alpha, 1 - alpha, scale)
    _in_parts(descend, y, (*lines, *(lines[0].dtype.type(v) for v in numbers)), at)


def noisy_descent(
    optimizer: Checked,
    closure: Closure | None,
    noise: Callable[[Group, int], Noise | None],
) -> Loss | None:
    """y⁺ = y - η ∇f(y) + ``noise(group, number of the parameter)``, and the loss of the closure."""
    optimizer.recheck_groups()
    loss = loss_of(optimizer, closure)
    for group, number, p in parameters(optimizer):
        if p.grad is not None:
            langevin_step(p, p.grad, group["lr"], noise(group, number))
    return loss


def plain_step(
    y: Tensor,
    slope: Tensor,
    eta: float,
    noise: Noise | None,
    centre: Tensor | None,
    gamma: float,
    mean: Tensor | None,
    alpha: float,
) -> None:
    """The reference of ``langevin_step``: on any device, dtype and layout."""
    down = slope if centre is None else slope + (y - centre) * (1 / gamma)
    moved = y - down * eta
    y.copy_(moved + normals_like(y, noise.at) * noise.scale if noise else moved)
    if mean is not None:
        mean.copy_(mean * alpha + y * (1 - alpha))


def normals_like(y: Tensor, at: Address) -> Tensor:
    """Standard normals in the shape and the type of ``y``; drawn in float32 for shorter types."""
    dtype = y.dtype if y.dtype in LANES else torch.float32
    out = torch.empty(1, y.numel(), dtype=dtype, device=y.device)
    return fill_normals(out, at).view(y.shape).to(y.dtype)


def scattered(y: Tensor, x: Tensor, noise: Noise) -> None:
    """y = x + scale ξ, in place."""
    y, x = as_reals(y), as_reals(x)
    if _in_lines(y, x):
        lines = _line(y, y), _line(x, y)
        _in_parts(scatter, y, (*lines, lines[0].dtype.type(noise.scale)), noise.at)
    else:
        y.copy_(x + normals_like(y, noise.at) * noise.scale)


def accelerated(
    u: Tensor, w: Tensor, eta: float, momentum: float, compensation: float, climb: bool = True
) -> float:
    """w⁺ = u - η g, u⁺ = w⁺ + momentum (w⁺ - w) + η compensation g, in place; g·(w⁺ - w).

    Without ``climb`` that product is not computed, and 0.
    """
    slope = u.grad
    assert slope is not None
    u, w, g = as_reals(u), as_reals(w), as_reals(slope)
    if not _in_lines(u, w, g):
        new = u - g * eta
        gained = new - w
        u.copy_((new + gained * momentum) + g * (eta * compensation))
        w.copy_(new)
        return float((g.double() * gained.double()).sum()) if climb else 0.0
    lines = _line(u, u), _line(w, u), _line(g, u)
    numbers = (lines[0].dtype.type(v) for v in (eta, momentum, eta * compensation))
    climbs = np.empty(
        -(-u.numel() // CHUNK) if climb else 0
    )  # summed in a fixed order, independent of the threads
    _in_parts(accelerate, u, (*lines, climbs, *numbers), Address(0))
    return float(climbs.sum())


def as_reals(t: Tensor) -> Tensor:
    """The same numbers; complex ones as pairs of reals, as torch's own optimizers take them."""
    return torch.view_as_real(t.resolve_conj()) if t.is_complex() else t


def _in_lines(*tensors: Tensor | None) -> bool:
    """Whether the kernels support these tensors."""
    there = [t for t in tensors if t is not None]
    alike = len({t.dtype for t in there}) == 1 and there[0].dtype in LANES
    return alike and all(t.device.type == "cpu" and t.is_contiguous() for t in there)


def _line(t: Tensor | None, like: Tensor) -> Any:
    return (like.new_empty(0) if t is None else t.detach().view(-1)).numpy()


def _in_parts(kernel: Any, y: Tensor, arguments: tuple[Any, ...], at: Address) -> None:
    """Call a kernel for all elements, in several threads if that pays off."""
    counter = [np.uint64(k) for k in (at.step, at.stream, at.seed)]
    size = y.numel()
    threads = min(torch.get_num_threads(), size // _SPLIT)
    if threads < 2:
        kernel(*arguments, 0, size, *counter)
        return
    width = -(-size // (threads * CHUNK)) * CHUNK

    def part(first: int) -> None:
        kernel(*arguments, first, min(first + width, size), *counter)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(0, size, width)))
