"""Gradients of single examples, and the covariance of those of mini-batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from pdekit import checks
from pdekit.arrays import Array
from pdekit.landscapes.empirical_risk import Data, EmpiricalRisk, Loss, Weights
from pdekit.pde.stationary.nonequilibrium import minibatch_factor


@dataclass(frozen=True, eq=False)
class GradientCovariance:
    """D = AᵀA, the covariance of a gradient, by its factor A: d x d only where it is asked for.

    ``gradient`` (d,) is the mean g, ``factor`` (N, d) has the rows (g_k - g)/√N, so that D is
    S/N - g gᵀ with S = Σ g_k g_kᵀ; weights in the order of ``model.parameters()``. A Gaussian of
    this covariance is ``rng.standard_normal(N) @ factor``.
    """

    gradient: Array
    factor: Array

    @property
    def trace(self) -> float:
        """tr D = N⁻¹ Σ |g_k - g|², exactly."""
        return float((self.factor**2).sum())

    @cached_property
    def eigenvalues(self) -> Array:
        """All that can differ from 0, min(N, d) of them, decreasing."""
        return self._eigen[0]

    def leading(self, count: int) -> tuple[Array, Array]:
        """The ``count`` largest eigenvalues, and eigenvectors of norm 1 in columns (d, count).

        Raises ``ValueError`` for more than the rank: other eigenvectors are arbitrary.
        """
        count, values = checks.whole("count", count, 1), self.eigenvalues
        if count > self.rank:
            raise ValueError(
                f"count must be at most {self.rank}, the rank of the covariance, got {count}"
            )
        vectors = self._eigen[1][:, ::-1][:, :count]
        n, d = self.factor.shape
        if n < d:
            vectors = self.factor.T @ vectors / np.sqrt(values[:count])
        return values[:count], vectors

    @property
    def rank(self) -> int:
        """Eigenvalues above d machine epsilons of the largest, the rule of ``numpy``."""
        values = self.eigenvalues
        floor = self.factor.shape[1] * np.finfo(float).eps * values[0]
        return int((values > floor).sum())

    def directions(self, share: float) -> int:
        """How many leading eigenvectors explain this share of the trace, in (0, 1).

        0 for identical gradients, which do not vary.
        """
        share = checks.share("share", share)
        if not self.eigenvalues[0] > 0:
            return 0
        explained = np.cumsum(self.eigenvalues) / self.eigenvalues.sum()
        return int(np.searchsorted(explained, share) + 1)

    def matrix(self) -> Array:
        """D itself, (d, d)."""
        product: Array = self.factor.T @ self.factor
        return product

    def minibatch(self, size: int, replacement: bool = True) -> GradientCovariance:
        """Of the mean gradient of ``size`` examples drawn from the N.

        With replacement D/l; without (1 - l/N) N/(N - 1) D/l, that is
        l⁻¹ (1 - l/N) [S/(N-1) - N/(N-1) g gᵀ]: 0 for all N. Mathematics 1.11; thesis (6.4), (6.5)
        with erratum 38.
        """
        scale = minibatch_factor(len(self.factor), size, replacement)
        return GradientCovariance(self.gradient, np.sqrt(scale) * self.factor)

    @cached_property
    def _eigen(self) -> tuple[Array, Array]:
        """Of AᵀA or of A Aᵀ, whichever is smaller; values decreasing, vectors increasing."""
        n, d = self.factor.shape
        gram = self.factor @ self.factor.T if n < d else self.factor.T @ self.factor
        values, vectors = np.linalg.eigh(gram)
        return np.maximum(values[::-1], 0.0), vectors


def gradient_covariance(
    model: torch.nn.Module, loss: Loss, data: Data, *, batch: int = 256
) -> GradientCovariance:
    """D(θ), the covariance of the gradient of a random example, at the weights of the model.

    Parameters
    ----------
    model : a ``torch.nn.Module``, looked at in evaluation mode; its weights that require gradients
        are varied, those that are shared count once. All float32 or all float64 (the latter where
        small eigenvalues matter)
    loss : ``(outputs, targets) -> scalar``, the mean over a batch
    data : inputs and targets (N, ...), or batches of them such as a ``DataLoader``; all are kept
    batch : examples that are differentiated together, a matter of memory only

    N d numbers are kept: for larger models take part of the data, or
    ``hessian_spectrum(..., EmpiricalFisher())``, which keeps none. Thesis (6.4).
    """
    risk = EmpiricalRisk.of(model, loss, data, batch)
    if risk.examples < 2:
        raise ValueError("data must have at least two examples, whose gradients differ; got 1")
    rows = np.empty((risk.examples, risk.dim))
    for k, part in enumerate(_parts(risk)):
        rows[k * risk.batch :][: len(part)] = part.cpu().numpy()
    g = rows.mean(0)
    # of gradients that are all alike the mean rounds: their differences are 0 by the first
    rows -= rows[0]
    rows -= rows.mean(0)
    rows /= np.sqrt(len(rows))
    return GradientCovariance(g, rows)


def per_sample_gradients(
    model: torch.nn.Module, loss: Loss, data: Data, *, batch: int = 256
) -> Tensor:
    """∇_θ l(model(x_k; θ), y_k) for every example, (N, d); their mean is the gradient of f.

    Weights in the order of ``model.parameters()``, as ``torch.nn.utils.parameters_to_vector`` has
    them; arguments as in ``gradient_covariance``. By ``torch.func.vmap``, ``batch`` at a time.
    """
    return torch.cat(list(_parts(EmpiricalRisk.of(model, loss, data, batch))))


def _parts(risk: EmpiricalRisk) -> Iterator[Tensor]:
    """The same, batch by batch; each example alone must have the loss that it has in a batch."""

    with risk.evaluated():
        for x, y in risk.batches():
            each, losses = _each(risk, x, y)
            together = risk.loss(risk.outputs(risk.weights, x), y)
            if not risk.agree(losses.mean(), together):
                raise ValueError(
                    f"model must treat every example alone; got a loss of {together:.6g} on "
                    f"{len(x)} examples together and {losses.mean():.6g} on each alone: replace "
                    "what mixes examples of a batch, such as normalisation by its own mean"
                )
            rows = torch.cat([g.reshape(len(g), -1) for g in each.values()], 1).detach()
            if not rows.isfinite().all():
                raise ValueError(
                    "loss has gradients that are not finite at these weights; look for a root or a "
                    "logarithm at 0 in the model or the loss"
                )
            yield rows


def _each(risk: EmpiricalRisk, x: Tensor, y: Tensor) -> tuple[Weights, Tensor]:
    """Gradients and losses of the examples of a batch: one by one where vmap lacks a rule."""

    def alone(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        return risk.loss(risk.outputs(weights, x[None]), y[None])

    find = grad_and_value(alone)
    try:
        found: tuple[Weights, Tensor] = vmap(find, (None, 0, 0))(risk.weights, x, y)
        return found
    except RuntimeError:  # such as a recurrent layer of float64, or a branch on a value
        rows = [find(risk.weights, a, b) for a, b in zip(x, y, strict=True)]
        gradients = {name: torch.stack([row[0][name] for row in rows]) for name in risk.weights}
        return gradients, torch.stack([row[1] for row in rows])
