"""Uniform cell-centred grids on a box."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


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
        Per axis: opposite walls are identified. Otherwise a wall lets nothing through (no-flux).

    A field on the grid is an array of shape ``grid.shape``; its integral is the midpoint sum
    ``sum(field) * cell_volume``, of second order and, for a smooth field that dies out before the
    wall or is periodic, of every order.

    Examples: ``Grid(-3, 3, 600)``; ``Grid((-3, -2), (3, 2), (256, 256))``.

    Raises ``ValueError`` for corners out of order or too few cells, ``TypeError`` for a number of
    cells that is not whole.
    """

    lower: Any
    upper: Any
    cells: Any
    periodic: Any = False

    def __post_init__(self) -> None:
        dim = max(np.size(v) for v in (self.lower, self.upper, self.cells, self.periodic))
        if dim not in (1, 2):
            raise ValueError(f"a Grid has one or two dimensions, got {dim} numbers in a corner")
        for name, kind in (("lower", float), ("upper", float), ("periodic", bool)):
            object.__setattr__(self, name, _per_axis(name, getattr(self, name), dim, kind))
        cells = np.asarray(self.cells)
        if cells.dtype.kind not in "iu":
            raise TypeError(f"cells must be whole numbers, got {self.cells!r}")
        object.__setattr__(self, "cells", _per_axis("cells", self.cells, dim, int))
        for axis, (a, b, n) in enumerate(zip(self.lower, self.upper, self.cells, strict=True)):
            if not (np.isfinite(a) and np.isfinite(b) and a < b):
                raise ValueError(
                    f"axis {axis}: expected finite lower < upper, got lower={a}, upper={b}"
                )
            if n < 4:
                raise ValueError(f"axis {axis}: expected at least 4 cells, got {n}")

    @property
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
        return values.sum(axis=tuple(range(-self.dim, 0))) * self.cell_volume

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which points ``(..., dim)`` lie in the closed box; shape ``(...)``."""
        x = np.asarray(points)
        inside: NDArray[np.bool_] = np.all((x >= self.lower) & (x <= self.upper), axis=-1)
        return inside

    def refined(self, factor: int) -> "Grid":
        """The same box with every cell cut into ``factor`` per axis."""
        return Grid(self.lower, self.upper, tuple(n * factor for n in self.cells), self.periodic)


def _per_axis(name: str, value: Any, dim: int, kind: type) -> tuple[Any, ...]:
    values = np.atleast_1d(np.asarray(value)).ravel()
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be of type {kind.__name__}, got {value!r}")
    if values.size not in (1, dim):
        raise ValueError(f"{name} must be one value or {dim}, one per axis; got {value!r}")
    return tuple(kind(v) for v in np.broadcast_to(values, (dim,)))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
