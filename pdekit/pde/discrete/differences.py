"""Differences of fields on a grid."""

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid


def central_gradient(field: Array, grid: Grid) -> Array:
    """∇ of fields ``(..., *grid.shape)`` by central differences, components on the last axis.

    One-sided of second order at a wall; across the seam of a periodic axis.
    """
    parts = []
    for axis in range(grid.dim):
        at, h = axis - grid.dim, grid.spacing[axis]
        if grid.periodic[axis]:
            parts.append((np.roll(field, -1, at) - np.roll(field, 1, at)) / (2 * h))
        else:
            parts.append(np.gradient(field, h, axis=at, edge_order=2))
    return np.stack(parts, -1)


def _row_divergence(tensor: Array, grid: Grid) -> Array:
    """(∇·M)_i = Σ_j ∂_j M_ij, central differences."""
    parts = [_derivative(tensor[..., j], j, grid) for j in range(grid.dim)]
    return sum(parts[1:], parts[0])


def _gradient(field: Array, grid: Grid) -> Array:
    return np.stack([_derivative(field, k, grid) for k in range(grid.dim)], -1)


def _derivative(field: Array, axis: int, grid: Grid) -> Array:
    """∂_axis by central differences, second order up to the walls."""
    h = grid.spacing[axis]
    if grid.periodic[axis]:
        slope: Array = (np.roll(field, -1, axis) - np.roll(field, 1, axis)) / (2 * h)
        return slope
    out: Array = np.gradient(field, h, axis=axis, edge_order=2)
    return out
