"""Gradients for descent methods: of the full loss, or of a sample of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from pdekit.checks import flag, function, parameters, positive, whole
from pdekit.particles.dynamics.diffusion import slope
from pdekit.particles.integrators import Draws, Step
from pdekit.particles.kernels import subsets
from pdekit.particles.noise import CHOICE
from pdekit.protocols import Function

_AT_ONCE = 1 << 24  # number of terms times points per batch
# samples: with 52-bit uniforms their probabilities are then equal to 1 part in 4,000
_MOST = 1 << 40


class Gradient(Protocol):
    """A slope of the loss, exact or an unbiased estimate; ``samples``: by some of its terms."""

    def __call__(self, potential: Function, x: Tensor, step: Step, noise: Draws) -> Tensor:
        """The gradient at x ``(runs, particles, dim)`` in this step."""
        ...


@dataclass(frozen=True)
class FullGradient:
    """∇V."""

    def __call__(self, potential: Function, x: Tensor, step: Step, noise: Draws) -> Tensor:
        return slope(potential, x)


@dataclass(frozen=True)
class NoisyGradient:
    """∇V + std ξ, ξ standard normal: the model of a mini-batch with isotropic covariance."""

    std: float

    def __post_init__(self) -> None:
        parameters(self, std=positive)

    def __call__(self, potential: Function, x: Tensor, step: Step, noise: Draws) -> Tensor:
        value: Tensor = slope(potential, x) + noise.at(step.number) * self.std
        return value


@dataclass(frozen=True)
class FiniteSum:
    """V(x) = N⁻¹ Σ_k f_k(x), a loss over N <= 2**40 samples, as a potential.

    ``term(x, k)``: f_k(x) for points ``(..., dim)`` and whole numbers ``(...)``, with torch
    operations that broadcast; ``data[k]`` picks the sample, ``k.to(x.dtype)`` makes numbers of k.
    """

    term: Callable[[Any, Any], Any]
    count: int
    dim: int = 1

    def __post_init__(self) -> None:
        function("FiniteSum: term", self.term, "map points (..., dim) and samples k to values")
        whole("FiniteSum: dim", self.dim, 1)
        if whole("FiniteSum: count", self.count, 1) > _MOST:
            raise ValueError(
                f"FiniteSum: count must be at most 2**40, got {self.count}; beyond, samples could "
                "not be chosen with equal probability"
            )

    def __call__(self, x: Any) -> Any:
        """V(x): (..., dim) -> (...)."""
        return self._mean(lambda x, k: self.term(x[..., None, :], k).mean(dim=-1), x)

    def grad(self, x: Any) -> Any:
        """∇V(x): (..., dim) -> (..., dim)."""
        return self._mean(self.batch_grad, x)

    def thinned(self, most: int) -> FiniteSum:
        """The mean over an evenly spaced subset of at most this many terms: enough for a check."""
        stride = -(-self.count // most)
        if stride == 1:
            return self
        return FiniteSum(lambda x, k: self.term(x, k * stride), self.count // stride, self.dim)

    def _mean(self, of_some: Callable[[Tensor, Tensor], Tensor], x: Any) -> Any:
        """The mean over all samples, in batches that fit in memory."""
        points = x if isinstance(x, Tensor) else torch.as_tensor(x)
        most = max(1, _AT_ONCE // max(1, points[..., 0].numel()))
        value: Any = 0.0
        for first in range(0, self.count, most):
            some = torch.arange(first, min(first + most, self.count), device=points.device)
            share = len(some) / self.count
            value = of_some(points, some) if share == 1 else value + of_some(points, some) * share
        return value if isinstance(x, Tensor) else value.numpy()

    def batch_grad(self, x: Tensor, k: Tensor) -> Tensor:
        """Mean of ∇f_k over the last axis of ``k``, shape ``(..., batch)`` or ``(batch,)``."""
        with torch.enable_grad():
            points = x.detach().requires_grad_()
            values = self.term(points[..., None, :], k).mean(dim=-1)
            return torch.autograd.grad(values.sum(), points)[0]


@dataclass(frozen=True)
class MiniBatch:
    """The mean gradient of ``size`` samples, redrawn for each particle in each step.

    For a potential that is a ``FiniteSum``. With g_k = ∇f_k, S = Σ g_k g_kᵀ and g = ∇V the
    covariance is (S/N - ggᵀ)/ℓ with replacement and (1 - ℓ/N)(S - N ggᵀ)/((N - 1)ℓ) without
    (mathematics 1.11, errata 38, 39). Raises ``ValueError`` for more samples than there are.
    """

    size: int
    replacement: bool = True
    samples: ClassVar[bool] = True  # a step takes the slopes of a few terms

    def __post_init__(self) -> None:
        parameters(self, size=lambda name, value: whole(name, value, 1))
        flag("MiniBatch: replacement", self.replacement)

    def __call__(self, potential: Function, x: Tensor, step: Step, noise: Draws) -> Tensor:
        loss: Any = potential
        if not hasattr(loss, "batch_grad"):
            raise TypeError(f"MiniBatch needs a FiniteSum(term, count), got {potential!r}")
        value: Tensor = loss.batch_grad(x, self.indices(loss.count, step, noise))
        return value

    def indices(self, count: int, step: Step, noise: Draws) -> Tensor:
        """The samples of each particle, ``(runs, particles, size)``."""
        if self.replacement:
            u = noise.choices(step.number, CHOICE, self.size)
            drawn: Tensor = (u * count).long().clamp_max(count - 1)
            return drawn
        if self.size > count:
            raise ValueError(
                f"MiniBatch: {self.size} of {count} samples without replacement; take "
                "replacement=True or a smaller size"
            )
        return chosen(noise.choices(step.number, CHOICE, self.size), count)


def chosen(u: Tensor, count: int) -> Tensor:
    """Distinct integers below ``count``, all subsets equally likely.

    One for each of the uniforms along the last axis of ``u``, by Floyd's method.
    """
    if u.device.type != "cpu" or torch.compiler.is_compiling():
        return floyd(u, count)
    out = torch.empty(u.shape, dtype=torch.int64)
    rows = u.reshape(-1, u.shape[-1])
    subsets.floyd(rows.numpy(), count, out.view(rows.shape).numpy())
    return out


def floyd(u: Tensor, count: int) -> Tensor:
    """``chosen`` in plain torch, which compares every draw with those before it."""
    size = u.shape[-1]
    ends = torch.arange(count - size, count, device=u.device)
    drawn = (u * (ends + 1)).long().minimum(ends).unbind(-1)
    found = [drawn[0]]
    for k, draw in enumerate(drawn[1:], 1):
        met = (torch.stack(found, -1) == draw[..., None]).any(-1)
        found.append(torch.where(met, ends[k], draw))
    return torch.stack(found, -1)
