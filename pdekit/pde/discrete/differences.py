"""Differences of fields on a grid."""

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid


def derivative(field: Array, axis: int, grid: Grid, step: int = 1) -> Array:
    """∂_axis of fields ``(..., *grid.shape)`` by central differences over ``step`` cells each way.

    Across the seam of a periodic axis. At a wall one-sided of second order; with a longer step that
    of the nearest cells that have one.
    """
    at, width = axis - grid.dim, 2 * step * grid.spacing[axis]
    if grid.periodic[axis]:
        around: Array = (np.roll(field, -step, at) - np.roll(field, step, at)) / width
        return around
    if step == 1:
        out: Array = np.gradient(field, grid.spacing[axis], axis=at, edge_order=2)
        return out
    lines = np.moveaxis(field, at, 0)
    inner = (lines[2 * step :] - lines[: -2 * step]) / width
    ends = [(step, step)] + [(0, 0)] * (field.ndim - 1)
    return np.moveaxis(np.pad(inner, ends, "edge"), 0, at)


def change_per_cell(field: Array, axis: int, around: bool) -> Array:
    """Central differences along an axis of any array in units of its spacing, one-sided at ends."""
    if around:
        wrapped: Array = (np.roll(field, -1, axis) - np.roll(field, 1, axis)) / 2
        return wrapped
    out: Array = np.gradient(field, axis=axis)
    return out


def central_gradient(field: Array, grid: Grid) -> Array:
    """∇ of fields ``(..., *grid.shape)``, components on the last axis."""
    return np.stack([derivative(field, axis, grid) for axis in range(grid.dim)], -1)


def row_divergence(tensor: Array, grid: Grid) -> Array:
    """(∇·M)_i = Σ_j ∂_j M_ij of a field ``(*grid.shape, d, d)``."""
    rows = np.moveaxis(tensor, (-2, -1), (0, 1))
    parts = [derivative(rows[:, j], j, grid) for j in range(grid.dim)]
    return np.moveaxis(sum(parts[1:], parts[0]), 0, -1)
