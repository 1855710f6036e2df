"""The particles at which a dynamics is looked at before it runs."""

from typing import Any

from torch import Tensor

from pdekit.particles.noise import PROBE, Address, fill_normals

_PROBED = 512


def some(x: Tensor) -> Tensor:
    """At most 512 of the points (n, d), evenly."""
    return x[:: max(1, len(x) // _PROBED)][:_PROBED]


def directions(x: Tensor, seed: int) -> Tensor:
    """A normal vector at each of the points (n, d)."""
    return fill_normals(x.new_empty(1, x.numel()), Address(seed, channel=PROBE)).view_as(x)


def spread(x: Tensor, seed: int) -> Tensor:
    """Points near these, not all at one place."""
    return x + (1 + x.abs()) * directions(x, seed) / 8


def is_autonomous(dynamics: Any) -> bool:
    """Whether the class whose drift it is declares that it does not depend on time."""
    owner = next((kind for kind in type(dynamics).__mro__ if "drift" in vars(kind)), object)
    return "autonomous" in vars(owner) and bool(dynamics.autonomous)
