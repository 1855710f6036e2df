"""User functions and arrays, checked and sampled as fields on a grid."""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, FieldError
from pdekit.grid import Grid
from pdekit.potentials.consistency import seen
from pdekit.potentials.user_parts import check_parts

_LARGEST = 1e150  # larger values overflow when squared


def evaluate(function: Callable[[Array], Any], grid: Grid, what: str) -> Array:
    """A callable on points at the cell centres of ``grid``, checked for shape and finiteness."""
    dim = getattr(function, "dim", grid.dim)
    if dim != grid.dim:
        raise ValueError(
            f"{what} {checks.shown(function)} takes points with {dim} coordinate(s), but the grid "
            f"has {grid.dim}; give both the same dimension"
        )
    values = _called(function, grid, what)
    if grid.dim == 1 and values.shape == grid.centres.shape:
        values = values[..., 0]  # lambda x: x**2 of points (n, 1)
    if values.shape != grid.shape:
        hint = ""
        if values.shape == grid.centres.shape:
            hint = "; sum over the coordinates, as in lambda x: (x**2).sum(-1)"
        raise ValueError(
            f"{what} must map points of shape {grid.centres.shape} to values of shape "
            f"{grid.shape}, got shape {values.shape}{hint}"
        )
    return _finite(values, grid, what)


def evaluate_rate(rate: Any, grid: Grid, what: str) -> Array:
    """A rate per cell, from a number or a callable on points."""
    if callable(rate):
        return evaluate(rate, grid, what)
    return _finite(np.full(grid.shape, float(rate)), grid, what)


def evaluate_vector(function: Callable[[Array], Any], grid: Grid, what: str) -> Array:
    """A vector field at the centres, shape ``(*grid.shape, dim)``."""
    return _finite(vectors(what, function, grid.centres), grid, what)


def vectors(what: str, function: Callable[[Array], Any], points: Array) -> Array:
    """A vector field at points (..., dim), of their shape."""
    values = called(what, function, points)
    if values.shape != points.shape:
        line = "; np.stack([f, g], -1) makes vectors of their components"
        if values.shape == (points.shape[:-1]) and points.shape[-1] == 1:
            line = "; use x instead of x[..., 0], or np.stack([f], -1)"
        raise ValueError(
            f"{what} must map points of shape {points.shape} to vectors of the same shape, one "
            f"component per coordinate on the last axis; got shape {values.shape}{line}"
        )
    return values


def finite_vectors(what: str, function: Callable[[Array], Any], points: Array) -> Array:
    """The same, finite."""
    values = vectors(what, function, points)
    if not np.isfinite(values).all():
        here = points[~np.isfinite(values).all(-1)][0]
        raise ValueError(f"{what} must be finite; it is not at {here.tolist()}")
    return values


def evaluate_tensor(value: Any, grid: Grid, what: str) -> Array:
    """A number, a matrix or a function as a field (*shape) or (*shape, dim, dim), semidefinite."""
    if callable(value) or checks.time_dependent(value):
        field = _called(value, grid, what)
    else:
        constant = checks.finite(what, value)
        field = np.broadcast_to(constant, (*grid.shape, *constant.shape))
    tensors = (*grid.shape, grid.dim, grid.dim)
    if field.shape not in (grid.shape, tensors):
        raise ValueError(
            f"{what} must be a number, a {grid.dim} x {grid.dim} matrix, or map points of shape "
            f"{grid.centres.shape} to values of shape {grid.shape} or {tensors}; got shape "
            f"{field.shape}"
        )
    if any(field.strides):  # known for constants
        field = _finite(field, grid, what)
    if grid.dim == 1 and field.shape == tensors:
        field = field[..., 0, 0]
    _check_semidefinite(field, grid, what)
    return field


def _check_semidefinite(field: Array, grid: Grid, what: str) -> None:
    """``ValueError`` naming the place where a tensor is not symmetric and positive semidefinite."""
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
    return called(what, function, grid.centres)


def called(what: str, function: Callable[[Array], Any], points: Array) -> Array:
    """The real values of a user's function at points, as floats."""
    checks.function(what, function, f"be a function of points (..., {points.shape[-1]})")
    checks.fixed(what, function)
    try:
        values: Array = checks.numbers("its values", function(points), kinds="biuf")
    except (ConvergenceError, FieldError):  # they name what failed
        raise
    except Exception as error:
        hint = ""
        if "required positional argument" in str(error):
            hint = "; it must take points alone: what changes in time is InTime(lambda x, t: ...)"
        if not isinstance(error, TypeError | ValueError | IndexError):
            hint += f" ({type(error).__name__})"
        raise checks.failed(
            error,
            f"{what} must take points of shape {points.shape}, got a function that failed on "
            f"points of shape {points.shape} (coordinates on the last axis): {error}{hint}",
        ) from error
    if not seen(function, points):
        check_parts(what, function, points, values)
    return values


def as_field(values: Any, grid: Grid, what: str) -> Array:
    """An array as a finite float field on ``grid``; a DataArray by its coordinates."""
    expected = (
        f"numbers, one per cell of the grid {grid.shape}, or a callable on points (..., {grid.dim})"
    )
    if hasattr(values, "dims") and hasattr(values, "coords"):
        values = _by_coordinates(values, grid, what)
    given = checks.numbers(what, values, expected, "biuf")
    field = given.astype(float, order="C")  # the only copy
    if field.shape != grid.shape:
        raise ValueError(f"{what} must have the grid's shape {grid.shape}, got {field.shape}")
    return _finite(field, grid, what)


def _by_coordinates(values: Any, grid: Grid, what: str) -> Any:
    """The values of a DataArray in the order of the grid's axes, where its cells are the grid's."""
    if set(values.dims) != set(grid.names):
        raise ValueError(
            f"{what} is a DataArray with the dims {values.dims}, but the grid's axes are "
            f"{grid.names}; select one time, as in u.isel(time=-1), rename the dims, or pass "
            ".values"
        )
    values = values.transpose(*grid.names)
    for name, axis, h in zip(grid.names, grid.axes, grid.spacing, strict=True):
        if name not in values.coords:
            continue
        given = np.asarray(values[name].values)
        if given.shape == axis.shape and np.allclose(given, axis, rtol=0, atol=1e-6 * h):
            continue
        moved = ", ".join(f"{n}=grid.axes[{k}]" for k, n in enumerate(grid.names))
        raise ValueError(
            f"{what} is a DataArray on other cells than the grid's: along {name} it has "
            f"{_extent(given)}, the grid {_extent(axis)}; take it there by "
            f'array.interp({moved}, kwargs={{"fill_value": 0.0}}), or pass .values to drop the '
            "coordinates"
        )
    return values.values


def _extent(axis: Any) -> str:
    return f"{axis.size} centres from {axis[0]:g} to {axis[-1]:g}" if axis.size else "none"


def _finite(values: Array, grid: Grid, what: str) -> Array:
    if isfinite(np.vdot(values, values)):  # false for NaN and too large values; warns of nothing
        return values
    bad = ~np.isfinite(values)
    wrong, size = (bad, "finite") if bad.any() else (np.abs(values) > _LARGEST, "")
    if not wrong.any():
        return values
    index = tuple(int(k) for k in np.argwhere(wrong)[0])
    cell, cells = index[: grid.dim], wrong.reshape(*grid.shape, -1).any(-1)
    limit = size or f"at most {_LARGEST:g} in size, for squares not to overflow,"
    raise ValueError(
        f"{what} must be {limit} on the grid; it is {values[index]} at {_place(cell, grid)} "
        f"(cell {cell}), and {'non-finite' if size else 'larger'} in {int(cells.sum())} of "
        f"{cells.size} cells"
    )


def _place(cell: tuple[int, ...], grid: Grid) -> str:
    return ", ".join(f"{n} = {grid.axes[k][cell[k]]:g}" for k, n in enumerate(grid.names))
