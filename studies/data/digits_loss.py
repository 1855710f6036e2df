"""A small network's training loss along a line and on a plane through its solution.

Writes ``digits_loss.csv`` (the line) and ``digits_plane.npz`` (the plane) beside itself.

Network: 64 pixels - 16 sine units - 10 classes, float64, on all 1,797 handwritten digits that come
with scikit-learn, trained by full-batch Adam. Training loss: mean cross-entropy plus the weight
decay DECAY |θ|² / 2, which the training minimises too.

Line: θ(x) = θ* + 2π x d. The unit vector d is drawn at random among the phases (biases) of two of
the sine units, and x counts turns: a unit turned alone by x = 1 would be back where it was. So the
cross-entropy is a quasi-periodic function of x, and the weight decay lifts it as x²: many wells of
different depths, the deepest at the solution, x = 0. The span ends where the loss still rises.

Plane: θ(x, y) = θ* + 2π (x d + y e), e orthogonal to d among the same phases, so that its first
axis is the line.

Why this one: with 16 tanh units, lines through two solutions had two wells and no more. This
network and direction were chosen among sixteen for a rugged slice. It is one of a real training
loss near a good solution (99.7 % of the digits right after 600 steps; 1500 steps would lower the
loss by 0.01), but it is no typical slice of a network.

Run ``python studies/data/digits_loss.py``; it takes a few seconds.
Fixed seeds, float64, one thread; rounding is not amplified (two threads move the values by 1e-15,
pixels changed by 1e-13 of themselves by 4e-14), so the file is the same elsewhere to many digits.
"""

import math
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

HIDDEN = 16
UNITS = 2
DECAY = 2e-3
STEPS = 600
TRAINING_SEED = 0
DIRECTION_SEED = 2
SPAN = 2.74
SAMPLES = 275
PLANE_SPAN = 1.6
PLANE_SAMPLES = 97

Weights = list[torch.Tensor]


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels in [0, 1], shape (1797, 64), and classes."""
    images, classes = load_digits(return_X_y=True)
    return torch.tensor(images / 16.0), torch.tensor(classes)


def loss(weights: Weights, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy plus weight decay."""
    first, phases, second, shift = weights
    scores = torch.sin(images @ first + phases) @ second + shift
    decay = sum((w * w).sum() for w in weights)
    return torch.nn.functional.cross_entropy(scores, classes) + DECAY / 2 * decay


def trained(images: torch.Tensor, classes: torch.Tensor, draw: torch.Generator) -> Weights:
    """The solution: Adam, its rate lowered to zero, so that the gradient is small at the end."""
    shapes, scales = ((64, HIDDEN), (HIDDEN,), (HIDDEN, 10), (10,)), (1 / 8, 0, 1 / 4, 0)
    weights = [
        (scale * torch.randn(shape, generator=draw, dtype=torch.float64)).requires_grad_()
        for shape, scale in zip(shapes, scales, strict=True)
    ]
    adam = torch.optim.Adam(weights, lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    for _ in range(STEPS):
        adam.zero_grad()
        loss(weights, images, classes).backward()
        adam.step()
        schedule.step()
    return [w.detach() for w in weights]


def direction(draw: torch.Generator) -> torch.Tensor:
    """A random unit vector among the phases of UNITS units."""
    d = torch.zeros(HIDDEN, dtype=torch.float64)
    chosen = torch.randperm(HIDDEN, generator=draw)[:UNITS]
    d[chosen] = torch.randn(UNITS, generator=draw, dtype=torch.float64)
    return d / d.norm()


def plane_of_loss() -> tuple[np.ndarray, np.ndarray]:
    """One axis, of both coordinates, and the loss at their product."""
    images, classes = digits()
    draw = torch.Generator().manual_seed(TRAINING_SEED)
    first, phases, second, shift = trained(images, classes, draw)
    turn = 2 * math.pi * direction(torch.Generator().manual_seed(DIRECTION_SEED))
    a, b = (int(k) for k in turn.nonzero().ravel())
    aside = torch.zeros_like(turn)
    aside[a], aside[b] = -turn[b], turn[a]
    x = np.linspace(-PLANE_SPAN, PLANE_SPAN, PLANE_SAMPLES).round(12)
    values = [
        [float(loss([first, phases + p * turn + q * aside, second, shift], images, classes))
         for q in x]
        for p in x
    ]  # fmt: skip
    return x, np.array(values)


def slice_of_loss() -> tuple[list[float], list[float]]:
    """Positions x and the loss there."""
    images, classes = digits()
    draw = torch.Generator().manual_seed(TRAINING_SEED)
    first, phases, second, shift = trained(images, classes, draw)
    turn = 2 * math.pi * direction(torch.Generator().manual_seed(DIRECTION_SEED))
    # whole steps of 0.02, so that the file reads 0.02 and not 0.020000000000000018
    x = [round(SPAN * (2 * k / (SAMPLES - 1) - 1), 12) for k in range(SAMPLES)]
    values = [float(loss([first, phases + a * turn, second, shift], images, classes)) for a in x]
    return x, values


def main(out: Path) -> None:
    torch.set_num_threads(1)
    lines = [f"{a!r},{v:.15g}" for a, v in zip(*slice_of_loss(), strict=True)]
    out.write_text("x,value\n" + "\n".join(lines) + "\n")


def write_plane(out: Path) -> None:
    torch.set_num_threads(1)
    x, values = plane_of_loss()
    np.savez(out, x=x, y=x, value=values)


if __name__ == "__main__":
    main(Path(__file__).with_suffix(".csv"))
    write_plane(Path(__file__).with_name("digits_plane.npz"))
