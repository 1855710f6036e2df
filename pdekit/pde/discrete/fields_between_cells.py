"""What a force or a diffusion does between the centres of the cells, as ``between_cells`` of V.

A force that is off by f at the centres drives by f; one that waves within a cell of width h has a
hidden potential of f h / 2π besides. A diffusion that waves slows by its harmonic mean. Both count
from a tenth of the field, its largest size at the places looked at.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pdekit.arrays import Array, real
from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.between_cells import between

_LITTLE = 0.1  # of the size of the field
_SHARE = 0.1  # of the places


def report(what: str, field: Callable[[Any], Any], grid: Grid, stacklevel: int) -> None:
    """A ``ResolutionWarning`` if it changes more between the centres than beside them it shows."""
    for axis, n in enumerate(grid.cells):
        if n < 5:
            continue
        try:
            off, share = _hidden(field, grid, axis)
        except Exception:  # it fails on points, or is known on the cells alone: said elsewhere
            return
        if share > _SHARE:
            warnings.warn(
                f"the cells, of width {grid.spacing[axis]:.2g}, do not show what the {what} does "
                f"between their centres: at {share:.0%} of some places it is off its values around "
                f"by {off:.2g}, more than these bend, so that the answer belongs to another "
                f"{what}. Refine the grid until several cells make a wave, or leave the ripples "
                "out",
                ResolutionWarning,
                stacklevel=stacklevel,
            )
            return


def _hidden(field: Callable[[Any], Any], grid: Grid, axis: int) -> tuple[float, float]:
    """By how much, and at which share of the places, of the component of which it is most."""
    count = _components(field, grid.centres.reshape(-1, grid.dim)[:2]).shape[-1]
    found = []
    for k in range(count):
        near, at, cubic = between(lambda x, k=k: _components(field, x)[..., k], grid, axis)
        found.append((near, np.abs(at - cubic)))
    size = max(float(np.abs(near).max()) for near, _ in found)
    size = max(size, *(float(off.max()) for _, off in found))
    worst = 0.0, 0.0
    for near, off in found:
        bend = np.abs(np.diff(near, 2)).max(-1)
        counts = (off > _LITTLE * size) & (off > bend)
        if counts.mean() > worst[1]:
            worst = float(np.median(off[counts])), float(counts.mean())
    return worst


def _components(field: Callable[[Any], Any], x: Array) -> Array:
    """Values at points (..., d) as (..., components)."""
    values = real(field(x))
    front = x.shape[:-1]
    if values.shape[: len(front)] != front:
        values = np.broadcast_to(values, (*front, *values.shape))
    return values.reshape(*front, -1)
