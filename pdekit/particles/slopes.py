"""Gradients of potentials on tensors, checked, from autograd where a potential brings none."""

from typing import Any

import torch
from torch import Tensor


def slope(potential: Any, x: Tensor) -> Tensor:
    """∇V at ``x`` of shape ``(..., d)``; same shape.

    Uses ``potential.grad`` where there is one, else torch autograd of ``potential(x)``.
    Raises ``TypeError`` for a potential that cannot be called or does not work on tensors,
    ``ValueError`` for a wrong shape.
    """
    grad = getattr(potential, "grad", None)
    value = grad(x) if callable(grad) else _autograd(potential, x)
    if not isinstance(value, Tensor):
        raise TypeError(
            f"the gradient of {_name(potential)} returned {type(value).__name__} for a torch "
            "tensor; write it with operators, or with the functions of "
            "array_api_compat.array_namespace(x)"
        )
    if value.shape != x.shape:
        raise ValueError(
            f"the gradient of {_name(potential)} has shape {tuple(value.shape)} for points of "
            f"shape {tuple(x.shape)}; coordinates sit on the last axis and a gradient has the "
            "shape of its points"
        )
    return value


def slope_at(value: Any, x: Tensor, t: float) -> Tensor:
    """∇u(·, t) at ``x``, for a ``value`` that has ``at(t)`` or does not depend on time."""
    return slope(value.at(t) if hasattr(value, "at") else value, x)


def _autograd(potential: Any, x: Tensor) -> Tensor:
    if not callable(potential):
        raise TypeError(
            f"expected a potential V(x) with V.grad(x), or a callable, got {_name(potential)}"
        )
    with torch.enable_grad():
        points = x.detach().requires_grad_()
        values = potential(points)
        if not isinstance(values, Tensor) or not values.requires_grad:
            raise TypeError(
                f"{_name(potential)} has no grad and torch cannot differentiate what it returned "
                f"({type(values).__name__}); give V.grad, or write V with torch operations"
            )
        if values.shape != x.shape[:-1]:
            raise ValueError(
                f"{_name(potential)} has shape {tuple(values.shape)} for points of shape "
                f"{tuple(x.shape)}; a potential maps (..., d) to (...), so sum over the last axis"
            )
        return torch.autograd.grad(values.sum(), points)[0]


def _name(potential: Any) -> str:
    return getattr(potential, "__name__", None) or type(potential).__name__
