"""What users give as functions and arrays, as checked fields on a grid."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.grid import Grid

Array = NDArray[np.float64]


def evaluate(function: Callable[[Array], Any], grid: Grid, what: str) -> Array:
    """A callable on points at the cell centres of ``grid``, checked for shape and finiteness."""
    if isinstance(function, type):
        raise TypeError(f"{what} must be a value, got the class; write {function.__name__}(...)")
    dim = getattr(function, "dim", grid.dim)
    if dim != grid.dim:
        raise ValueError(
            f"{what} {function!r} takes points with {dim} coordinate(s), but the grid has "
            f"{grid.dim}; give both the same dimension"
        )
    values = _called(function, grid, what)
    if values.shape != grid.shape:
        hint = ""
        if values.shape == grid.centres.shape:
            hint = "; sum over the coordinates, as in lambda x: (x**2).sum(-1)"
        raise ValueError(
            f"{what} must map points of shape {grid.centres.shape} to values of shape "
            f"{grid.shape}, got shape {values.shape}{hint}"
        )
    return _finite(values, grid, what)


def evaluate_vector(function: Callable[[Array], Any], grid: Grid, what: str) -> Array:
    """A vector field at the centres, shape ``(*grid.shape, dim)``."""
    values = _called(function, grid, what)
    if values.shape != grid.centres.shape:
        raise ValueError(
            f"{what} must map points of shape {grid.centres.shape} to vectors of the same shape, "
            f"one component per coordinate on the last axis; got shape {values.shape}"
        )
    return _finite(values, grid, what)


def evaluate_tensor(value: Any, grid: Grid, what: str) -> Array:
    """A number, a matrix or a function as a field (*shape) or (*shape, dim, dim), semidefinite."""
    if callable(value):
        field = _called(value, grid, what)
    else:
        constant = np.asarray(value, dtype=float)
        field = np.broadcast_to(constant, (*grid.shape, *constant.shape))
    tensors = (*grid.shape, grid.dim, grid.dim)
    if field.shape not in (grid.shape, tensors):
        raise ValueError(
            f"{what} must be a number, a {grid.dim} x {grid.dim} matrix, or map points of shape "
            f"{grid.centres.shape} to values of shape {grid.shape} or {tensors}; got shape "
            f"{field.shape}"
        )
    field = _finite(field, grid, what)
    if grid.dim == 1 and field.shape == tensors:
        field = field[..., 0, 0]
    _check_semidefinite(field, grid, what)
    return field


def _check_semidefinite(field: Array, grid: Grid, what: str) -> None:
    """``ValueError`` with the place where a tensor is not symmetric and positive semidefinite."""
    lowest, size = field, np.abs(field)
    if field.ndim > grid.dim:
        size = np.abs(field).max((-2, -1))
        skew = np.abs(field - np.swapaxes(field, -1, -2)).max((-2, -1)) > 1e-10 * size
        if skew.any():
            cell = tuple(int(k) for k in np.argwhere(skew)[0])
            raise ValueError(
                f"{what} must be symmetric; at {_place(cell, grid)} it is {field[cell].tolist()}"
            )
        lowest = np.asarray(np.linalg.eigvalsh(field)[..., 0], dtype=float)
    bad = lowest < -1e-10 * size
    if bad.any():
        cell = tuple(int(k) for k in np.argwhere(bad)[0])
        raise ValueError(
            f"{what} must be positive semidefinite; its smallest eigenvalue is {lowest[cell]:g} at "
            f"{_place(cell, grid)}, and it is negative in {int(bad.sum())} of {bad.size} cells"
        )


def _called(function: Callable[[Array], Any], grid: Grid, what: str) -> Array:
    """The real values of a function at the centres, as floats."""
    try:
        values = np.asarray(function(grid.centres))
        if values.dtype.kind == "c":
            raise TypeError("its values are complex")
        return values.astype(float, copy=False)
    except (TypeError, ValueError, IndexError) as error:
        raise type(error)(
            f"{what} failed on points of shape {grid.centres.shape} (coordinates on the last "
            f"axis): {error}"
        ) from error


def as_field(values: Any, grid: Grid, what: str) -> Array:
    """An array as a finite float field on ``grid``."""
    try:
        given = np.asarray(values)
        if given.dtype.kind not in "biuf":
            raise TypeError(f"values of type {given.dtype}")
        field = given.astype(float, order="C")  # the only copy
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{what} must be numbers, one per cell of the grid {grid.shape}, or a callable on "
            f"points (..., {grid.dim}); got {values!r}"
        ) from error
    if field.shape != grid.shape:
        raise ValueError(f"{what} must have the grid's shape {grid.shape}, got {field.shape}")
    return _finite(field, grid, what)


def _finite(values: Array, grid: Grid, what: str) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # a sum of finite numbers may overflow, no other is finite
            return values
    bad = ~np.isfinite(values)
    if bad.any():
        index = tuple(int(k) for k in np.argwhere(bad)[0])
        cell = index[: grid.dim]
        cells = bad.reshape(*grid.shape, -1).any(-1)
        raise ValueError(
            f"{what} must be finite on the grid; it is {values[index]} at {_place(cell, grid)} "
            f"(cell {cell}), and non-finite in {int(cells.sum())} of {cells.size} cells"
        )
    return values


def _place(cell: tuple[int, ...], grid: Grid) -> str:
    return ", ".join(f"{n} = {grid.axes[k][cell[k]]:g}" for k, n in enumerate(grid.names))
