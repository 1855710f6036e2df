"""Kinks of interactions at x = y, of which torch knows a finite slope of one side alone."""

from typing import Any

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.interactions import PairPotential
from pdekit.particles import EulerMaruyama
from pdekit.point_kernels import KernelInteraction

STARTS = np.array([[-1.0], [-0.3], [0.4], [0.9]])


def distance(z: Any) -> Any:
    z = torch.as_tensor(z)
    return torch.where(z > 0, z, -z).sum(-1)


def tilted(x: Any, y: Any) -> Any:
    """|x - y| + sin(x) sin(y), of slope cos(x) sin(x) where x = y."""
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    return distance(x - y) + (torch.sin(x) * torch.sin(y)).sum(-1)


def pushed(interaction: Any, x: np.ndarray) -> np.ndarray:
    dynamics = pk.InteractingLangevin(
        pk.potentials.Quadratic(0.0), np.inf, interaction, integrator=EulerMaruyama()
    )
    moved = pk.simulate(dynamics, x, len(x), 1e-3, 1e-3).final.values - x
    return np.asarray(moved / 1e-3)


@pytest.mark.parametrize("kind", ["pair", "kernel"])
@pytest.mark.parametrize("x", [STARTS, STARTS.round()], ids=["apart", "some at one place"])
def test_nobody_pulls_itself(kind: str, x: np.ndarray) -> None:
    """|z| written by ``where``: the mean of signs, of which that at 0 is 0."""
    kernel = KernelInteraction(lambda x, y: distance(x - y))
    W = PairPotential(distance) if kind == "pair" else kernel
    exact = -np.sign(x - x.T).mean(1, keepdims=True)
    np.testing.assert_allclose(pushed(W, x), exact, rtol=0, atol=1e-9)


def test_a_kernel_that_is_no_distance_keeps_its_slope_to_itself() -> None:
    exact = -(np.sign(STARTS - STARTS.T) + np.cos(STARTS) * np.sin(STARTS.T)).mean(1)
    np.testing.assert_allclose(pushed(KernelInteraction(tilted), STARTS)[:, 0], exact, atol=1e-9)
    slope = KernelInteraction(tilted).slope(STARTS, STARTS, np.full(4, 0.25))
    np.testing.assert_allclose(slope[:, 0], -exact, atol=1e-9)
