"""Plain torch: twenty lines as an expert writes them, in place where that is faster."""

from math import sqrt
from typing import Any

import torch

from peers.particles import (
    ATTRACTION,
    BETA,
    DELTA,
    GAMMA,
    INNER,
    INNER_STEP,
    OUTER_STEP,
    PLANES,
    STEP,
    Method,
    Plane,
    Size,
)

SINGLE, DOUBLE = torch.float32, torch.float64


def double_well(dtype: Any) -> Any:
    """Every temporary allocated once."""

    def make(size: Size) -> Any:
        start, scale = torch.from_numpy(size.start(1)).to(dtype), sqrt(2 * STEP / BETA)
        slope, noise = torch.empty_like(start), torch.empty_like(start)

        def run() -> float:
            x = start.clone()
            for _ in range(size.steps):
                torch.mul(x, x, out=slope).sub_(1).mul_(x)
                x.add_(slope, alpha=-STEP)
                x.add_(noise.normal_(), alpha=scale)
            return float(x.double().square().mean())

        return run

    return make


def naive(size: Size) -> Any:
    """The formula as it stands."""
    start, scale = torch.from_numpy(size.start(1)), sqrt(2 * STEP / BETA)

    def run() -> float:
        x = start
        for _ in range(size.steps):
            x = x - STEP * x * (x * x - 1) + scale * torch.randn_like(x)
        return float(x.double().square().mean())

    return run


def curie_weiss(dtype: Any) -> Any:
    def make(size: Size) -> Any:
        start, scale = torch.from_numpy(size.start(2)).to(dtype), sqrt(2 * STEP / BETA)
        slope, noise = torch.empty_like(start), torch.empty_like(start)

        def run() -> float:
            x = start.clone()
            for _ in range(size.steps):
                torch.mul(x, x, out=slope).sub_(1).mul_(x)
                slope.add_(x, alpha=ATTRACTION).sub_(ATTRACTION * x.mean(0))
                x.add_(slope, alpha=-STEP)
                x.add_(noise.normal_(), alpha=scale)
            return float(x.double().square().mean())

        return run

    return make


def force(dim: int, dtype: Any) -> Any:
    """In pieces that fit in cache."""

    def make(size: Size) -> Any:
        x = torch.from_numpy(size.cloud(dim)).to(dtype)
        rows = max(1, (1 << 17) // len(x))

        def run() -> Any:
            out = torch.empty_like(x)
            for c in range(0, len(x), rows):
                z = x[c : c + rows, None] - x
                weight = (z * z).sum(-1, keepdim=True).mul_(-0.5).exp_()
                out[c : c + rows] = z.mul_(weight).mean(1)
            return out.numpy()

        return run

    return make


def swarm(dtype: Any) -> Any:
    """Algorithm 1 with the slope of the rough function by its formula."""

    def slope(y: Any) -> Any:
        phase = y / DELTA
        bracket = phase.sin() + 0.1
        return 2 * y * bracket * (bracket + phase * phase.cos())

    def make(size: Size) -> Any:
        start = torch.from_numpy(size.swarms()).to(dtype).repeat(size.swarm[0], 1, 1)
        scale = sqrt(2 * INNER_STEP / BETA)

        def run() -> float:
            x = y = start
            for _ in range(size.outer):
                total = torch.zeros_like(x)
                for _ in range(INNER):
                    y = y + ((x - y) / GAMMA - slope(y)) * INNER_STEP
                    y = y + scale * torch.randn_like(y)
                    total += y
                x = x + (total / INNER - x) / GAMMA * OUTER_STEP
            return float(x.square().mean())

        return run

    return make


def camel(z: Any) -> Any:
    """The slope of the six-hump camel at points ``(2, n)``, each coordinate a row."""
    x, y = z
    a, b = x * x, y * y
    return torch.stack((x * (8 + a * (2 * a - 8.4)) + y, x + y * (16 * b - 8)))


def muller_brown(z: Any) -> Any:
    """The same of Müller and Brown's landscape (Theor. Chim. Acta 53, 1979)."""
    slopes = torch.zeros_like(z)
    for A, a, b, c, x, y in (
        (-200, -1, 0, -10, 1, 0),
        (-100, -1, 0, -10, 0, 0.5),
        (-170, -6.5, 11, -6.5, -0.5, 1.5),
        (15, 0.7, 0.6, 0.7, -1, 1),
    ):
        dx, dy = z[0] - x, z[1] - y
        term = A * torch.exp(a * dx * dx + b * dx * dy + c * dy * dy)
        slopes += torch.stack((term * (2 * a * dx + b * dy), term * (b * dx + 2 * c * dy)))
    return slopes


def alone(slope: Any, plane: Plane, dtype: Any) -> Any:
    """P5, the formulas as they stand."""

    def make(size: Size) -> Any:
        start = torch.from_numpy(size.on(plane)).to(dtype).T.contiguous()
        step, scale = plane.step, sqrt(2 * plane.step / plane.beta)

        def run() -> float:
            z = start
            for _ in range(size.steps):
                z = z - step * slope(z) + scale * torch.randn_like(z)
            return float(z.double().square().mean())

        return run

    return make


def drawn(slope: Any, plane: Plane, dtype: Any) -> Any:
    """P6: they are drawn to their mean."""

    def together(z: Any) -> Any:
        return slope(z) + plane.attraction * (z - z.mean(1, keepdim=True))

    return alone(together, plane, dtype)


def two_scales(slope: Any, plane: Plane, dtype: Any) -> Any:
    """Algorithm 1 in the plane."""

    def make(size: Size) -> Any:
        start = torch.from_numpy(size.on(plane, 20)).to(dtype).T.contiguous()
        step, scale, gamma = plane.step, sqrt(2 * plane.step / plane.beta), plane.gamma

        def run() -> float:
            x = y = start
            for _ in range(size.outer):
                total = torch.zeros_like(x)
                for _ in range(INNER):
                    y = y + ((x - y) / gamma - slope(y)) * step + scale * torch.randn_like(y)
                    total += y
                x = x + (total / INNER - x) / gamma * plane.outer_step
            return float(x.double().square().mean())

        return run

    return make


def methods() -> tuple[Method, ...]:
    landscapes = [
        Method(f"{kind} {plane.name}", f"torch, as it stands, {of}", make(slope, plane, dtype))
        for kind, make in (("P5", alone), ("P6", drawn), ("P7", two_scales))
        for slope, plane in zip((camel, muller_brown), PLANES, strict=True)
        for of, dtype in (("float32", SINGLE), ("float64", DOUBLE))
    ]  # fmt: skip
    return (
        Method("P1", "torch, in place, float32", double_well(SINGLE)),
        Method("P1", "torch, as it stands, float32", naive),
        Method("P1", "torch, in place, float64", double_well(DOUBLE)),
        Method("P2", "torch, in place, float32", curie_weiss(SINGLE)),
        Method("P2", "torch, in place, float64", curie_weiss(DOUBLE)),
        *(Method(f"P3 d={dim}", "torch, in pieces, float32", force(dim, SINGLE)) for dim in (1, 2)),
        Method("P4", "torch, eager, float32", swarm(SINGLE)),
        Method("P4", "torch, eager, float64", swarm(DOUBLE)),
        *landscapes,
    )
