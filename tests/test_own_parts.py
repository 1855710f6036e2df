"""Dynamics and observables of one's own: what they draw, and what they add up."""

from typing import Any

import numpy as np
import torch
import xarray as xr

import pdekit as pk


class Walk:
    """A random walk that draws where it stands and where it is looked at."""

    dim = 1

    def step(self, state: Any, step: Any, noise: Any) -> Any:
        return state + noise.normals() * step.size**0.5

    def init(self, x: Any) -> Any:
        return x

    def positions(self, state: Any, step: Any, noise: Any) -> Any:
        return state + 1e3 * noise.normals()


def test_numbers_are_fresh_in_every_step_and_at_every_look() -> None:
    walk: Any = type("Plain", (), {"step": Walk.step})()
    x = pk.simulate(walk, np.zeros((200, 1)), 200, [1.0, 2.0, 3.0], 1.0).x.values[..., 0]
    steps = np.diff(np.concatenate([np.zeros((1, 200)), x.reshape(3, 200)]), axis=0)
    assert (np.abs(np.corrcoef(steps)[np.triu_indices(3, 1)]) < 0.3).all()
    looked = pk.simulate(Walk(), np.zeros((200, 1)), 200, [1.0, 2.0, 3.0], 1.0).x.values[..., 0]
    added = (looked.reshape(3, 200) - x.reshape(3, 200)) / 1e3
    assert (np.abs(np.corrcoef(added, steps)[np.triu_indices(6, 1)]) < 0.3).all()


class Sums:
    """How many coordinates are positive: whole numbers, which add up exactly."""

    name, every = "positive", 0

    def blank(self, runs: int, dim: int) -> Any:
        return np.zeros((runs, dim), np.int64)

    def add(self, total: Any, x: torch.Tensor) -> None:
        total += (x > 0).sum(1).numpy()

    def table(self, total: Any, seen: Any, dim: int) -> xr.Dataset:
        dims = ("time", "run", "dim")
        return xr.Dataset({"positive": (dims, np.asarray(total).reshape(*np.shape(seen)[:2], dim))})


def test_an_observable_of_ones_own_counts() -> None:
    dynamics = pk.Langevin(pk.potentials.Quadratic(1.0, 2), 2.0)
    found = pk.simulate(dynamics, np.ones((50, 2)), 50, [0.1, 1.0], 0.1, observe=Sums())
    seen = (found.x.values.reshape(2, 50, 2) > 0).sum(1)
    np.testing.assert_array_equal(found.observed["positive"].values, seen)
