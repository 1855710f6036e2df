"""Gradient descent on the sphere, for many starts and disorders at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt

import torch
from torch import Tensor

from pdekit import checks
from pdekit.errors import ConvergenceError
from pdekit.landscapes.spin_glass import SphericalSpinGlass

_BLOCK = 50  # steps between looks at the gradient
_ROUNDED = 1e3  # eps |∇H|, below which the slope along the sphere may be rounding
_STILL = 4  # looks, during which it does not fall then
_NEAR = 0.05  # longest step of Newton's method that is taken, in radians
_OR_DOUBLE = ", or a glass with dtype=torch.float64"


@dataclass(frozen=True)
class Descents:
    """Where descents ended.

    ``points`` (..., N); ``energy``, norm of the ``gradient`` along the sphere, ``steps`` (...).
    """

    points: Tensor
    energy: Tensor
    gradient: Tensor
    steps: Tensor


def descend(
    glass: SphericalSpinGlass,
    starts: Tensor,
    *,
    rate: float = 0.1,
    tolerance: float = 1e-4,
    steps: int = 100_000,
    field: Callable[[int], float] | None = None,
    polish: bool = True,
) -> Descents:
    """σ <- √N (σ - η P∇H)/|σ - η P∇H| until |P∇H| <= ``tolerance``, P along the sphere.

    Parameters
    ----------
    glass : one disorder or several
    starts : ``(..., N)``, such as ``glass.starts(100)``; the disorder first where there are several
    rate : η; stable below 2 over the largest curvature, about .2 for p = 3 without field
    tolerance : on the norm of the gradient along the sphere
    steps : at most; ``ConvergenceError`` where a descent needs more
    field : the factor of h in step k, for fields that are removed in the course (thesis 2.3.3); the
        factor must come to rest at ``field(steps)``, and the end is where H with that does
    polish : near a minimum Newton's method takes over, which saves half of the steps. False for
        steps of one kind, to be counted

    Mathematics 1.12; thesis 2.4.1.
    """
    rate, tolerance = checks.positive("rate", rate), checks.positive("tolerance", tolerance)
    steps = checks.whole("steps", steps, 1)
    if field is not None:
        checks.function("field", field, "map the number of a step to the factor of h")
    first = glass.rows(starts)
    if not first.isfinite().all() or (first.norm(dim=-1) == 0).any():
        raise ValueError("starts must be finite and not 0")
    parts = [
        _descended(part, x, rate, tolerance, steps, field, polish)
        for part, x in zip(glass.parted(), first if glass.disorders else first[None], strict=True)
    ]
    shape = starts.shape[:-1]
    points, energy, slope, taken = (torch.stack(each) for each in zip(*parts, strict=True))
    return Descents(
        points.reshape(starts.shape), energy.reshape(shape), slope.reshape(shape),
        taken.reshape(shape),
    )  # fmt: skip


def _descended(
    glass: SphericalSpinGlass,
    x: Tensor,
    rate: float,
    tolerance: float,
    steps: int,
    field: Callable[[int], float] | None,
    polish: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ends, taken = x.clone(), torch.zeros(len(x), dtype=torch.long)
    active, k, factor = torch.arange(len(x)), 0, 1.0
    least, looks = inf, 0  # the largest slope at best, and for how many looks
    x = glass.retract(x)
    while len(active):
        for _ in range(min(_BLOCK, steps - k)):
            factor = _factor(field, k)
            x = glass.retract(x - rate * glass.project(x, glass.grad(x, factor)))
            k += 1
        settled = factor == _factor(field, k) == _factor(field, steps)
        if polish and settled:
            x = _polished(glass, x, factor, tolerance)
        full = glass.grad(x, factor)
        slope = glass.project(x, full).norm(dim=1)
        there = (slope <= tolerance) & settled
        ends[active], taken[active] = x, k
        rounding = _ROUNDED * float((torch.finfo(x.dtype).eps * full.norm(dim=1)).max())
        x, active = x[~there], active[~there]
        largest = float(slope.max())
        least, looks = (largest, 0) if largest < 0.9 * least or there.any() else (least, looks + 1)
        if len(active) and settled and looks >= _STILL and largest <= rounding:
            raise ConvergenceError(
                f"descend: after {k} steps gradients of up to {largest:.3g} do not fall any more: "
                f"it is rounding, so tolerance = {tolerance:g} cannot be met; take tolerance >= "
                f"{4 * largest:.1g}{_OR_DOUBLE if x.dtype == torch.float32 else ''}"
            )
        if k >= steps and not settled:
            raise ConvergenceError(
                f"descend: after {steps} steps the field still changes, {factor:.6g} times h in "
                "the last one; allow more steps, or let it come to rest earlier"
            )
        if k >= steps and len(active):
            raise ConvergenceError(
                f"descend: after {steps} steps {len(active)} of {len(ends)} descents have a "
                f"gradient above {tolerance:g} (at most {float(slope.max()):.3g}); allow more "
                "steps, or take a smaller rate where it does not fall"
            )
    slope = glass.project(ends, glass.grad(ends, factor)).norm(dim=1)
    return ends, glass.energy(ends, factor), slope, taken


def _factor(field: Callable[[int], float] | None, k: int) -> float:
    """What multiplies h in step k."""
    return 1.0 if field is None else checks.number(f"field({k})", field(k))


def _polished(glass: SphericalSpinGlass, x: Tensor, factor: float, tolerance: float) -> Tensor:
    """Newton's method for the points at which it converges at once to a minimum."""
    slope = glass.project(x, glass.grad(x, factor))
    close = slope.norm(dim=1) < 0.2 * sqrt(glass.n)  # else its step is too long
    best = x.clone()
    for k in close.nonzero()[:, 0].split(_BLOCK):
        y, down = x[k], slope[k]
        good = torch.ones(len(k), dtype=torch.bool)
        for _ in range(4):
            along = y[:, :, None] / sqrt(glass.n)
            matrix = glass.tangent_hessian(y, factor) + along @ along.mT
            root, info = torch.linalg.cholesky_ex(matrix)
            good &= info == 0
            root = torch.where(good[:, None, None], root, torch.eye(glass.n, dtype=y.dtype))
            step = torch.cholesky_solve(down[:, :, None], root)[:, :, 0]
            good &= step.norm(dim=1) < _NEAR * sqrt(glass.n)
            if not good.any():
                break
            moved = glass.retract(y - step)
            y = torch.where(good[:, None], moved, y)
            down = glass.project(y, glass.grad(y, factor))
            if (down.norm(dim=1)[good] <= tolerance).all():
                break
        good &= down.norm(dim=1) <= tolerance
        best[k[good]] = y[good]
    return best
