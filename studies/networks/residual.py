"""Residual networks in the plane as discretised flows, many runs side by side.

128 layers of tanh units with steps h = 0.05, then two linear scores: 128 x 6 + 6 = 774 weights
(Kantas et al. 6.2; Haber and Ruthotto 2018). Layer j has a matrix K_j (2 x 2) and a shift b_j (2).
"""

from collections.abc import Callable

import torch

LAYERS, H = 128, 0.05
WEIGHTS = LAYERS * 6 + 6

Tensor = torch.Tensor
Flow = Callable[[Tensor, Tensor, Tensor], Tensor]  # K, b of all layers, points -> points


def verlet(K: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """z⁺ = z - h tanh(Kᵀ y + b), y⁺ = y + h tanh(K z⁺ + b), from z = 0."""
    z = torch.zeros_like(y)
    for k, transposed, shift in zip(K, K.transpose(2, 3), b, strict=True):
        z = z - H * torch.tanh(torch.baddbmm(shift, transposed, y))
        y = y + H * torch.tanh(torch.baddbmm(shift, k, z))
    return y


def euler(K: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """y⁺ = y + h tanh(K y + b)."""
    for k, shift in zip(K, b, strict=True):
        y = y + H * torch.tanh(torch.baddbmm(shift, k, y))
    return y


def scores(flow: Flow, theta: Tensor, x: Tensor) -> Tensor:
    """Of both classes ``(runs, 2, points)``; weights ``(runs, 774)``, x ``(runs, 2, points)``."""
    end = theta[:, -6:]
    return torch.baddbmm(end[:, 4:, None], end[:, :4].unflatten(1, (2, 2)), flow(*layers(theta), x))


def layers(theta: Tensor) -> tuple[Tensor, Tensor]:
    """K ``(128, runs, 2, 2)`` and b ``(128, runs, 2, 1)``."""
    each = theta[:, :-6].reshape(-1, LAYERS, 6).transpose(0, 1)
    return each[..., :4].unflatten(-1, (2, 2)), each[..., 4:, None]


def stretch(theta: Tensor) -> Tensor:
    """Largest h |K_j| of each run; below 1 all of Euler's layers are one-to-one."""
    return H * torch.linalg.matrix_norm(layers(theta)[0], ord=2).amax(0)


def losses(flow: Flow, theta: Tensor, x: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy of each run; classes ``(runs, points)``."""
    each = torch.nn.functional.cross_entropy(scores(flow, theta, x), classes, reduction="none")
    return each.mean(1)


def slopes(flow: Flow, theta: Tensor, x: Tensor, classes: Tensor) -> Tensor:
    """Gradients of the losses, ``(runs, 774)``."""
    theta = theta.detach().requires_grad_()
    return torch.autograd.grad(losses(flow, theta, x, classes).sum(), theta)[0]


def drawn(seeds: list[int]) -> Tensor:
    """Standard normal weights, of a seed the same in whatever company; shifts start at 0."""
    each = [torch.randn(WEIGHTS, generator=torch.Generator().manual_seed(s)) for s in seeds]
    theta = torch.stack(each)
    theta[:, :-6].unflatten(1, (LAYERS, 6))[..., 4:] = 0
    theta[:, -2:] = 0
    return theta
