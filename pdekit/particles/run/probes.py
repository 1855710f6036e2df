"""The particles at which a dynamics is looked at before it runs."""

from typing import Any

import torch
from torch import Tensor

from pdekit.particles.noise import PROBE, Address, fill_normals

_PROBED = 512
_AXES = 8  # along which the outermost are kept


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


def outermost(x: Tensor) -> Tensor:
    """The lowest and the highest of the points (n, d) along each of the first axes, (2, m, d)."""
    along = x[:, :_AXES]
    return x[torch.stack([along.argmin(0), along.argmax(0)])]


def further_out(ends: Tensor, by: float, box: Any) -> Tensor:
    """The outermost (2, m, d) and the places ``by`` further out, within the box, (4 m, d)."""
    m = ends.shape[1]
    out = ends.clone()
    out[0, range(m), range(m)] -= by
    out[1, range(m), range(m)] += by
    lower, upper = (ends.new_tensor(walls) for walls in (box.lower, box.upper))
    return torch.cat((ends, out.maximum(lower).minimum(upper))).flatten(0, 1)
