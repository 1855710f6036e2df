"""Interaction forces between the particles of a run: N⁻¹ Σ_j ∇W(x_i - x_j), and how the sum is
computed.

All functions take and return positions ``(runs, n, dim)``. Interactions of cost O(N) have
their own formula (`pdekit.interactions`); other pair potentials are summed by ``ExactSum``,
``ChebyshevSum`` or ``RandomBatch``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from pdekit import checks
from pdekit.checks import parameters, positive, whole
from pdekit.interactions import GaussianWell
from pdekit.particles.kernels.forces import gaussian_sum, sums
from pdekit.particles.noise import LANES

Kernel = Callable[[Tensor], Tensor]  # displacements (..., d) -> ∇W (..., d)
_ROOM = 1 << 17  # displacements formed at once, times their coordinates
_SMALL = 1 << 12  # size of a run too small for its own loop
# as in `pdekit.particles.ensemble`: torch's scalar loop for remainders rounds differently
_PAD = 64


class Summation(Protocol):
    """How N⁻¹ Σ_j ∇W(x_i - x_j) is computed.

    A sum over all pairs declares ``exact``, one that needs a smooth W ``smooth``, what depends on
    its arguments alone ``pure``.
    """

    def __call__(self, kernel: Kernel, x: Tensor, draw: Callable[[], Tensor] | None) -> Tensor:
        """The sum for x ``(runs, n, dim)``; ``draw`` gives uniforms ``(runs, n)``, or is None."""
        ...


@dataclass(frozen=True)
class ExactSum:
    """All pairs, in blocks that fit in cache: O(N²) a step, any W, any dimension."""

    exact: ClassVar[bool] = True

    def __call__(self, kernel: Kernel, x: Tensor, draw: Any = None) -> Tensor:
        _, n, dim = x.shape
        if n * n * dim <= _SMALL:
            return _many_runs(kernel, x)
        out = torch.empty_like(x)
        rows = max(1, _ROOM // (n * dim))
        for points, result in zip(x, out, strict=True):
            for c in range(0, n, rows):
                z = points[c : c + rows, None] - points
                result[c : c + rows] = kernel(z).mean(dim=1)
        return out


def _many_runs(kernel: Kernel, x: Tensor) -> Tensor:
    """All pairs, for runs so small that several are processed at once, padded like tiles."""
    _, n, dim = x.shape
    unit = _PAD // gcd(_PAD, n * n * dim)
    height = max(1, _ROOM // (n * n * dim * unit)) * unit
    pieces = []
    for piece in x.split(height):
        filled = torch.cat((piece, piece[:1].expand(-len(piece) % unit, -1, -1)))
        z = filled[:, :, None] - filled[:, None]
        pieces.append(kernel(z).sum(dim=2)[: len(piece)] / n)
    return torch.cat(pieces)


@dataclass(frozen=True)
class RandomBatch:
    """Each particle interacts with ``partners`` others, redrawn in each step: O(N), unbiased.

    The particles are put on a ring in random order; a particle interacts with those
    at most ``partners / 2`` places away, so that forces are mutual (Jin, Li and Liu 2020 in a form
    without divisibility conditions on N). The random choice adds a variance O(dt / partners) to the
    law. Raises ``ValueError`` for an odd number of partners, or one of more than n - 1.
    """

    partners: int = 2
    pure: ClassVar[bool] = True

    def __post_init__(self) -> None:
        parameters(self, partners=lambda name, value: whole(name, value, 2))
        if self.partners % 2:
            raise ValueError(f"RandomBatch: partners must be even, got {self.partners}")

    def __call__(self, kernel: Kernel, x: Tensor, draw: Any = None) -> Tensor:
        if draw is None:
            return ExactSum()(kernel, x)
        n = x.shape[1]
        if self.partners > n - 1:
            raise ValueError(
                f"RandomBatch: {self.partners} partners among {n} particles; take ExactSum()"
            )
        order = draw().argsort(dim=1, stable=True)[..., None].expand_as(x)
        ring = x.gather(1, order)
        total = torch.zeros_like(x)
        for k in range(1, self.partners // 2 + 1):
            push = kernel(ring - ring.roll(-k, 1))
            total += push - push.roll(k, 1)  # W is even: forces are opposite
        # each partner represents (n - 1) / partners others
        share = (n - 1) / (n * self.partners)
        return torch.empty_like(x).scatter_(1, order, total * share)


def mean_force(
    interaction: Any,
    summation: Summation,
    x: Tensor,
    size: int,
    values: Callable[[Tensor], Tensor],
    draw: Callable[[], Tensor] | None = None,
    period: Tensor | None = None,
) -> Tensor:
    """What to subtract from the drift of x ``(runs, padded n, dim)``, whose first ``size`` count.

    ``values`` maps positions to V. ``period``: per coordinate, infinite for non-periodic axes.
    """
    if hasattr(interaction, "mean_force"):
        force: Tensor = interaction.mean_force(x, values, Run(size))
        return force
    kernel = interaction.grad
    if period is not None:
        wraps = period.nan_to_num(posinf=0.0)

        def kernel(z: Tensor) -> Tensor:
            slope: Tensor = interaction.grad(z - wraps * (z / period).round())
            return slope

    out = torch.zeros_like(x)
    if period is None and _is_gaussian(interaction, summation, x):
        out[:, :size] = _gaussian(interaction.potential, x[:, :size])
    else:
        out[:, :size] = summation(kernel, x[:, :size], draw)
    return out


def _is_gaussian(interaction: Any, summation: Summation, x: Tensor) -> bool:
    """Whether there is a compiled sum: ``GaussianWell`` on the CPU."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype not in LANES:
        return False
    pairs = checks.declared(interaction, "sums_pairs") and checks.declared(summation, "exact")
    return bool(pairs and checks.declared(interaction.potential, "gaussian"))


def _gaussian(well: GaussianWell, x: Tensor) -> Tensor:
    """``ExactSum`` of the Gaussian, several times faster than with torch."""
    columns = x.transpose(1, 2).contiguous()
    out = torch.empty(columns.shape, dtype=torch.float64)
    rate = 1 / (2 * well.width**2)
    for points, result in zip(columns, out, strict=True):
        gaussian_sum(points.numpy(), rate, result.numpy())
    return (out.transpose(1, 2) * (well.strength / (well.width**2 * x.shape[1]))).to(x.dtype)


def means(x: Tensor, size: int) -> Tensor:
    """Mean over the first ``size`` particles, ``(runs, 1, dim)``, in the dtype of ``x``.

    On the CPU summed in float64 in an order that depends on ``size`` alone.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x[:, :size].mean(dim=1, keepdim=True)
    total = torch.empty(x.shape[0], x.shape[2], dtype=torch.float64)
    sums(x.contiguous().numpy().reshape(x.shape[0], -1), size, total.numpy())
    return (total / size).to(x.dtype)[:, None]


@dataclass(frozen=True)
class Run:
    """The particles of a run, all in this process: a ``Crowd``."""

    size: int

    def mean(self, x: Tensor) -> Tensor:
        return means(x, self.size)

    def weighted_mean(self, x: Tensor, cost: Tensor) -> Tensor:
        cost = cost[..., None]
        weight = (cost[:, : self.size].amin(dim=1, keepdim=True) - cost).exp()
        return means(weight * x, self.size) / means(weight, self.size)


@dataclass(frozen=True)
class ChebyshevSum:
    """For a smooth W in at most three dimensions: polynomial interpolation, O(N) a step.

    ∇W(x - y) is interpolated in x and in y on Chebyshev nodes of the box around the particles;
    nodes are added until the interpolant meets ∇W at test pairs to ``tolerance`` times its largest
    value there. Raises ``ValueError`` if W is too rough for that (use
    ``ExactSum``) and in more than three dimensions. Good tolerances: 1e-6 to 1e-12.
    """

    tolerance: float = 1e-8
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        parameters(self, tolerance=positive)

    def __call__(self, kernel: Kernel, x: Tensor, draw: Any = None) -> Tensor:
        from pdekit.particles.chebyshev import separable_sum

        return torch.stack([separable_sum(kernel, points, self.tolerance) for points in x])
