"""What laws of independent coordinates share: their parameters, one each, and their products."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array, Corner
from pdekit.grid import Grid, require_grid

LEAST, MOST = 1e-50, 1e100  # of lengths


def product(factors: list[Array]) -> Array:
    return factors[0] if len(factors) == 1 else np.multiply.outer(*factors)


def set_per_coordinate(law: Any, **given: Corner) -> None:
    """The fields that are ``given`` as tuples of finite floats of one length."""
    kind, what = type(law).__name__, "a finite number, or one per coordinate"
    values = [np.atleast_1d(checks.finite(f"{kind}: {k}", v, what)) for k, v in given.items()]
    if any(v.ndim > 1 or not v.size for v in values) or len({v.size for v in values} - {1}) > 1:
        got = ", ".join(f"{name}={checks.shown(value)}" for name, value in given.items())
        raise ValueError(f"{kind}: expected numbers or one per coordinate, got {got}")
    dim = max(v.size for v in values)
    for name, value in zip(given, values, strict=True):
        object.__setattr__(law, name, tuple(np.broadcast_to(value, (dim,)).tolist()))


def on_line(law: Any, x: Any) -> Array:
    if law.dim != 1:
        raise ValueError(f"{law} has {law.dim} coordinates; only a law on a line has a cdf")
    coordinates: Array = checks.numbers("x", x, "coordinates on a line")
    return coordinates


def require_same_dim(law: Any, grid: Grid) -> None:
    require_grid("grid", grid)
    if law.dim == grid.dim:
        return
    first, second = (field.name for field in fields(law))
    a, b = (0.0, 1.0) if grid.dim == 1 else ((0.0,) * grid.dim, (1.0,) * grid.dim)
    raise ValueError(
        f"{law} has {law.dim} coordinates, the grid {grid.dim}; write for example "
        f"{type(law).__name__}({first}={a}, {second}={b})"
    )
