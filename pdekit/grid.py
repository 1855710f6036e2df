"""Uniform cell-centred grids on a box."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import ArrayLike, NDArray

from pdekit import checks
from pdekit.arrays import Array, Corner, Counts, Flags

_SPACINGS = 1000  # least width of a cell, so that its centre is accurate to a thousandth


@dataclass(frozen=True)
class Grid:
    """A box ``[lower, upper]`` cut into equal cells; fields live at the cell centres.

    Parameters
    ----------
    lower, upper : float or sequence of float, length ``dim``
        Corners of the box, in the units of the coordinate.
    cells : int or sequence of int, length ``dim``
        Number of cells per axis (at least 4).
    periodic : bool or sequence of bool
        Per axis: opposite walls are identified. Otherwise walls are no-flux.

    A field on the grid is an array of shape ``grid.shape``; its integral is the midpoint sum
    ``sum(field) * cell_volume``, of second order and spectrally accurate for smooth fields
    that vanish at the wall or are periodic.

    Examples: ``Grid(-3, 3, 600)``; ``Grid((-3, -2), (3, 2), (256, 256))``.

    Raises ``ValueError`` for corners out of order, too few cells or cells that floating-point
    numbers do not resolve, ``TypeError`` for a number of cells that is not whole.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    cells: tuple[int, ...]
    periodic: tuple[bool, ...]

    def __init__(
        self, lower: Corner, upper: Corner, cells: Counts, periodic: Flags = False
    ) -> None:
        given = {"lower": lower, "upper": upper, "cells": cells, "periodic": periodic}
        fields = {name: checks.numbers(name, given[name], "numbers") for name in ("lower", "upper")}
        fields |= {name: _array(name, given[name]) for name in ("cells", "periodic")}
        if fields["cells"].dtype.kind not in "iu":
            raise TypeError(f"cells must be whole numbers, got {checks.shown(cells)}")
        if fields["periodic"].dtype.kind != "b":
            raise TypeError(
                "periodic must be True or False, or one of them per axis, got "
                f"{checks.shown(periodic)}"
            )
        dim = max(v.size for v in fields.values())
        if dim not in (1, 2):
            raise ValueError(
                f"a Grid must have one or two dimensions, got {dim} numbers in a corner"
            )
        kinds = {"cells": int, "periodic": bool}
        for name, values in fields.items():
            own = _per_axis(name, values, dim, kinds.get(name, float), given[name])
            object.__setattr__(self, name, own)
        for axis, (a, b, n) in enumerate(zip(self.lower, self.upper, self.cells, strict=True)):
            _check_axis(axis, a, b, n)

    @cached_property
    def dim(self) -> int:
        return len(self.cells)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cells

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes: ``("x",)`` or ``("x", "y")``."""
        return ("x", "y")[: self.dim]

    @cached_property
    def spacing(self) -> Array:
        """Cell width per axis, shape ``(dim,)``."""
        return _frozen((np.array(self.upper) - np.array(self.lower)) / np.array(self.cells))

    @cached_property
    def cell_volume(self) -> float:
        return float(np.prod(self.spacing))

    @cached_property
    def narrowest(self) -> float:
        """The least width of a cell along an axis."""
        return float(self.spacing.min())

    @cached_property
    def _last_axes(self) -> tuple[int, ...]:
        return tuple(range(-self.dim, 0))

    @cached_property
    def axes(self) -> tuple[Array, ...]:
        """Cell centres along each axis, shapes ``(cells[k],)``."""
        return tuple(
            _frozen(a + (np.arange(n) + 0.5) * h)
            for a, n, h in zip(self.lower, self.cells, self.spacing, strict=True)
        )

    @cached_property
    def faces(self) -> tuple[Array, ...]:
        """Cell faces along each axis, shapes ``(cells[k] + 1,)``."""
        return tuple(
            _frozen(np.linspace(a, b, n + 1))
            for a, b, n in zip(self.lower, self.upper, self.cells, strict=True)
        )

    @cached_property
    def centres(self) -> Array:
        """Coordinates of all cell centres, shape ``(*shape, dim)``: what a potential takes."""
        return _frozen(np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1))

    def integrate(self, field: ArrayLike) -> Any:
        """Midpoint integral over the box; leading axes (time, say) are kept."""
        values = np.asarray(field)
        if values.shape[-self.dim :] != self.shape:
            raise ValueError(
                f"a field on this grid ends in the axes {self.shape}, got shape {values.shape}"
            )
        return np.add.reduce(values, self._last_axes) * self.cell_volume

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which points ``(..., dim)`` lie in the closed box; shape ``(...)``."""
        x = checks.numbers("points", points, f"points (..., {self.dim})")
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(f"points must have shape (..., {self.dim}), got shape {x.shape}")
        inside: NDArray[np.bool_] = np.all((x >= self.lower) & (x <= self.upper), axis=-1)
        return inside

    def wrapped(self, x: Any) -> Any:
        """Points ``(..., dim)`` of numpy or torch, modulo the period along periodic axes."""
        if not any(self.periodic):
            return x
        return array_namespace(x).stack([self._along(k, x) for k in range(self.dim)], axis=-1)

    def cell_of(self, x: Any) -> Any:
        """The cell of each point ``(..., dim)``, numbered as in a flat field; shape ``(...)``.

        Beyond a wall it is the wall's cell; periodic axes wrap. numpy and torch.
        """
        xp, cell = array_namespace(x), 0
        for k, (low, n) in enumerate(zip(self.lower, self.cells, strict=True)):
            place = ((self._along(k, x) - low) / float(self.spacing[k])).clip(0, n - 1)
            cell = cell * n + xp.astype(place, xp.int64)
        return cell

    def _along(self, k: int, x: Any) -> Any:
        """The k-th coordinate of points, modulo its period if it has one."""
        z, low = x[..., k], self.lower[k]
        return low + (z - low) % (self.upper[k] - low) if self.periodic[k] else z

    def refined(self, factor: int) -> Grid:
        """The same box with every cell cut into ``factor`` per axis."""
        factor = checks.whole("factor", factor, 1)
        return Grid(self.lower, self.upper, tuple(n * factor for n in self.cells), self.periodic)


def _array(name: str, value: Any) -> Any:
    try:
        return np.asarray(value)
    except RuntimeError as error:  # of torch
        raise TypeError(f"{name} cannot be made an array, got {checks.shown(value)}") from error


def require_grid(name: str, value: Any, optional: bool = False) -> None:
    """``TypeError`` unless ``value`` is a ``Grid`` (or None, where that is allowed)."""
    if not (isinstance(value, Grid) or (optional and value is None)):
        none = ", or None" if optional else ""
        raise TypeError(
            f"{name} must be a pdekit.Grid, such as Grid(-3, 3, 600){none}; "
            f"got {checks.shown(value)}"
        )


def _per_axis(name: str, values: Any, dim: int, kind: type, given: Any) -> tuple[Any, ...]:
    if values.ndim > 1 or values.size not in (1, dim):
        raise ValueError(
            f"{name} must be one value or {dim}, one per axis; got {checks.shown(given)}"
        )
    return tuple(kind(v) for v in np.broadcast_to(values.ravel(), (dim,)))


def _check_axis(axis: int, a: float, b: float, n: int) -> None:
    if not (np.isfinite(a) and np.isfinite(b) and a < b):
        raise ValueError(f"axis {axis}: expected finite lower < upper, got lower={a}, upper={b}")
    if n < 4:
        raise ValueError(f"axis {axis}: expected at least 4 cells, got {n}")
    h, size = (b - a) / n, max(abs(a), abs(b))
    if not (np.isfinite(h) and h * h > 0 and np.isfinite(h * h)):
        raise ValueError(
            f"axis {axis}: expected cells whose width can be squared, got {h:g} for lower={a}, "
            f"upper={b} and {n} cells; take other units of length"
        )
    if h < _SPACINGS * np.spacing(size):
        raise ValueError(
            f"axis {axis}: expected cells of at least {_SPACINGS} spacings of floating-point "
            f"numbers, got width {h:g} where neighbouring numbers differ by {np.spacing(size):g} "
            f"(lower={a}, upper={b}); count the coordinate from a point nearby"
        )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
