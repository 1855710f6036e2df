"""Matrices of second derivatives of an empirical risk, by their products with vectors.

With outputs z = model(x; θ), J = ∂z/∂θ and l(z, y) the loss of an example, all are means over the
examples of the data; none is ever formed. ``Hessian``, ``GaussNewton``, ``Fisher`` and
``EmpiricalFisher`` say which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from pdekit import checks
from pdekit.arrays import Array
from pdekit.landscapes.empirical_risk import Data, EmpiricalRisk, Loss, Weights

Product = Callable[[Tensor], Tensor]


class Matrix(Protocol):
    """A symmetric matrix (d, d) that a risk has at its weights."""

    def on_batch(self, risk: EmpiricalRisk, x: Tensor, y: Tensor) -> Product:
        """v -> M v, (d,) -> (d,), for the mean over these examples."""
        ...


@dataclass(frozen=True)
class Hessian:
    """∇²f = Σ (Jᵀ ∂²l/∂z² J + Σ_i ∂l/∂z_i ∇²z_i)/N."""

    def on_batch(self, risk: EmpiricalRisk, x: Tensor, y: Tensor) -> Product:
        """By differentiating the gradient (Pearlmutter 1994)."""
        weights = risk.leaves()
        value = risk.loss(risk.outputs(weights, x), y)
        slope = risk.flat(_slopes(value, weights, create_graph=True))
        return lambda v: risk.flat(_slopes(slope, weights, v))


@dataclass(frozen=True)
class GaussNewton:
    """Σ Jᵀ ∂²l/∂z² J/N: the Hessian of f with the model replaced by its linear part.

    Semidefinite where l is convex in z; the Hessian for a model that is linear in its weights.
    """

    def on_batch(self, risk: EmpiricalRisk, x: Tensor, y: Tensor) -> Product:
        """Schraudolph 2002."""
        return _around(risk, x, lambda z: _bend(risk.loss, z, y))


@dataclass(frozen=True)
class Fisher:
    """Σ_k E Jᵀ s sᵀ J/N with s = ∂l(z_k, c)/∂z and labels c drawn by the model itself.

    Exact: the sum over all classes c of probability p_c = softmax(z)_c. The loss must be -log p_c,
    as ``CrossEntropyLoss`` (or ``NLLLoss`` on log p) without smoothing; then it is the Gauss-Newton
    matrix. Martens 2020.
    """

    def on_batch(self, risk: EmpiricalRisk, x: Tensor, y: Tensor) -> Product:
        """The labels of the data are not looked at."""
        return _around(risk, x, lambda z: _over_classes(risk, z, y))


@dataclass(frozen=True)
class EmpiricalFisher:
    """Σ_k g_k g_kᵀ/N of the gradients g_k of the examples with the labels of the data.

    Not the Fisher matrix, nor near the Hessian where the model fits its data: less g gᵀ it is the
    covariance D of ``gradient_covariance``.
    """

    def on_batch(self, risk: EmpiricalRisk, x: Tensor, y: Tensor) -> Product:
        """By J, so that no gradient of a single example is formed."""
        return _around(risk, x, lambda z: _outer(_scores(risk.loss, z, y)))


class CurvatureOperator(LinearOperator):  # type: ignore[misc]
    """M as ``scipy`` takes it: ``operator @ v``, ``operator @ np.eye(d)``; in float64."""

    def __init__(self, matrix: Matrix, risk: EmpiricalRisk) -> None:
        precision = np.float32 if risk.dtype == torch.float32 else np.float64
        super().__init__(dtype=precision, shape=(risk.dim, risk.dim))
        self.matrix, self.risk = matrix, risk

    def _matvec(self, v: Any) -> Array:
        return self._matmat(np.reshape(v, (-1, 1)))[:, 0]

    def _matmat(self, v: Any) -> Array:
        risk = self.risk
        rows = torch.as_tensor(np.array(v.T), dtype=risk.dtype, device=risk.device)
        total = torch.zeros(rows.shape, dtype=torch.float64, device=risk.device)
        with risk.evaluated(), torch.enable_grad():
            for x, y in risk.batches():
                times = self.matrix.on_batch(risk, x, y)
                for row, out in zip(rows, total, strict=True):
                    out += times(row) * (len(x) / risk.examples)
        if not total.isfinite().all():
            raise ValueError(
                "loss has second derivatives that are not finite at these weights; look for a root "
                "or a logarithm at 0 in the model or the loss"
            )
        return total.T.cpu().numpy()

    def _adjoint(self) -> CurvatureOperator:
        return self


def curvature_operator(
    model: torch.nn.Module,
    loss: Loss,
    data: Data,
    matrix: Matrix | None = None,
    *,
    batch: int = 1024,
) -> CurvatureOperator:
    """The Hessian of the empirical risk (or another ``matrix``) at the weights of the model now.

    Parameters
    ----------
    model : a ``torch.nn.Module``, looked at in evaluation mode (dropout off, normalisation by what
        was learnt); its weights that require gradients are varied, those that are shared count
        once, in the order of ``model.parameters()``. All float32 or all float64: products have the
        rounding of it
    loss : ``(outputs, targets) -> scalar``, the mean over a batch
    data : inputs and targets (N, ...), or batches of them such as a ``DataLoader``; all are kept
    matrix : ``Hessian()``, ``GaussNewton()``, ``Fisher()`` or ``EmpiricalFisher()``
    batch : examples that are differentiated together, a matter of memory only: every example counts
        the same

    Where an activation has kinks (ReLU) the Hessian is that beside them, almost everywhere.
    """
    matrix = Hessian() if matrix is None else matrix
    checks.has("matrix", matrix, "a matrix of second derivatives, such as Hessian()", "on_batch")
    operator = CurvatureOperator(matrix, EmpiricalRisk.of(model, loss, data, batch))
    operator @ np.zeros(operator.shape[0])  # what a matrix cannot be formed of is said at once
    return operator


def _slopes(value: Tensor, weights: Weights, v: Tensor | None = None, **options: bool) -> Any:
    """vᵀ ∂value/∂weights; 0 where nothing depends on them."""
    if not value.requires_grad:
        return [torch.zeros_like(w) for w in weights.values()]
    every = list(weights.values())
    return torch.autograd.grad(
        value, every, v, retain_graph=True, materialize_grads=True, **options
    )


def _around(risk: EmpiricalRisk, x: Tensor, middle: Callable[[Tensor], Product]) -> Product:
    """v -> Jᵀ M J v, where ``middle`` maps outputs z to t -> M t."""
    weights = risk.leaves()
    z = risk.outputs(weights, x)
    u = torch.zeros_like(z, requires_grad=True)
    back = risk.flat(_slopes(z, weights, u, create_graph=True))  # Jᵀu, of slope J in u
    inner = middle(z.detach())

    def times(v: Tensor) -> Tensor:
        if not back.requires_grad:
            return torch.zeros_like(v)
        (forward,) = torch.autograd.grad(back, u, v, retain_graph=True)
        return risk.flat(_slopes(z, weights, inner(forward)))

    return times


def _bend(loss: Loss, z: Tensor, y: Tensor) -> Product:
    """t -> ∂²(mean loss)/∂z² t."""
    z = z.requires_grad_()
    (slope,) = torch.autograd.grad(loss(z, y), z, create_graph=True)
    if not slope.requires_grad:
        return torch.zeros_like
    return lambda t: torch.autograd.grad(slope, z, t, retain_graph=True, materialize_grads=True)[0]


def _scores(loss: Loss, z: Tensor, y: Tensor) -> Tensor:
    """∂l(z_k, y_k)/∂z_k, of the shape of z."""
    z = z.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(z, y), z)
    return slope * len(z)


def _outer(scores: Tensor, weight: Tensor | float = 1.0) -> Product:
    """t_k -> w_k s_k (s_k·t_k)/n."""

    def times(t: Tensor) -> Tensor:
        along = weight * (scores * t).reshape(len(t), -1).sum(1) / len(t)
        return scores * along.view(-1, *[1] * (t.ndim - 1))

    return times


def _over_classes(risk: EmpiricalRisk, z: Tensor, y: Tensor) -> Product:
    """t -> Σ_c p_c s_c (s_c·t)/n."""
    if z.ndim != 2 or y.ndim != 1 or y.is_floating_point():
        raise ValueError(
            "Fisher needs outputs (n, classes) and whole targets (n,), one class for each example; "
            f"got {tuple(z.shape)} and {tuple(y.shape)}, {y.dtype}: take GaussNewton(), which it is"
            " for the square loss too"
        )
    parts = list(_classes(risk, z, y))
    return lambda t: sum((part(t) for part in parts), torch.zeros_like(t))


def _classes(risk: EmpiricalRisk, z: Tensor, y: Tensor) -> Iterator[Product]:
    logs = torch.log_softmax(z, 1)
    for c in range(z.shape[1]):
        label = torch.full_like(y, c)
        if not risk.agree(risk.loss(z, label), -logs[:, c].mean()):
            raise ValueError(
                "Fisher needs a loss that is the likelihood of labels, -log softmax(outputs)[label]"
                f"; got {risk.loss(z, label):.6g} for the class {c}, expected "
                f"{-logs[:, c].mean():.6g}: use CrossEntropyLoss() without smoothing, or take "
                "GaussNewton()"
            )
        yield _outer(_scores(risk.loss, z, label), logs[:, c].exp())
