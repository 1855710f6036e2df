"""Observables: moments, histograms and basin counts, in integers.

Every observable adds to arrays of int64, of fixed size, so that contributions of tiles,
threads, restarts and ranks add up to the same bits in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pdekit.arrays import IntArray
from pdekit.checks import failed, text, whole
from pdekit.grid import Grid
from pdekit.particles.kernels import exact_sums


class Observable(Protocol):
    """Integer statistics that are additive over particles.

    ``every``: None to evaluate at the output times only; k to evaluate at every k-th step of each
    interval between them and pool the results (a time average; an interval without steps is
    evaluated once).
    """

    @property
    def name(self) -> str: ...
    @property
    def every(self) -> int | None: ...

    def blank(self, runs: int, dim: int) -> IntArray:
        """Zeros ``(runs, ...)``: no observations."""
        ...

    def add(self, total: IntArray, x: Tensor) -> None:
        """Add observations of positions ``(runs, n, dim)``."""
        ...

    def table(self, total: IntArray, seen: IntArray, dim: int) -> xr.Dataset:
        """The result, from totals ``(time, run, ...)`` and numbers of positions ``(time, run)``."""
        ...


@dataclass(frozen=True)
class Moments:
    """Mean m = E X and covariance E (X - m)(X - m)ᵀ of the particles (not a sample estimate:
    divided by n).

    Variables ``mean`` (time, [run,] dim) and ``covariance`` (time, [run,] dim, other), and
    ``particles``, the number of positions observed. Sums are exact but for the rounding of rows of
    64 particles: the variance keeps a relative error of 1e-16 (1 + m²/variance).

    ``every``: see `Observable`. ``name``: prefix of the variables; required for two observables of
    one kind.
    """

    every: int | None = None
    name: str = ""
    adds_nothing_for_zeros: ClassVar[bool] = True  # so that its rows of 64 are always the same

    def __post_init__(self) -> None:
        _check_common(self)

    def blank(self, runs: int, dim: int) -> IntArray:
        return np.zeros((runs, dim + dim * (dim + 1) // 2, exact_sums.DIGITS), np.int64)

    def add(self, total: IntArray, x: Tensor) -> None:
        points = np.ascontiguousarray(x.double().cpu().numpy())
        if not exact_sums.moment_sums(points, _pairs(x.shape[-1]), total):
            raise ValueError(f"Moments: squares of positions overflow: {float(x.abs().max()):.3g}")

    def table(self, total: IntArray, seen: IntArray, dim: int) -> xr.Dataset:
        mean, covariance = np.empty((*seen.shape, dim)), np.empty((*seen.shape, dim, dim))
        for at in np.ndindex(seen.shape):
            mean[at], covariance[at] = _moments(total[at], int(seen[at]), dim)
        prefix = _prefix(self)
        return xr.Dataset(
            {
                f"{prefix}mean": (("time", "run", "dim"), mean),
                f"{prefix}covariance": (("time", "run", "dim", "other"), covariance),
                f"{prefix}particles": (("time", "run"), seen),
            }
        )


@dataclass(frozen=True)
class Histogram:
    """How many particles are in each cell of a grid, counted as `pdekit.compare` counts them.

    Variables ``histogram`` (time, [run,] x[, y]), where a particle beyond a wall counts in the
    cell at the wall and periodic axes wrap, ``outside`` (time, [run]), those beyond the walls, and
    ``density``, counts over (particles times cell volume). A time and run take 8 bytes a cell.
    Raises ``ValueError`` if the dimensions of particles and grid differ.

    ``every`` and ``name``: as for ``Moments``.
    """

    grid: Grid
    every: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.grid, Grid):
            raise TypeError(f"Histogram: expected a Grid, got {self.grid!r}")
        _check_common(self)

    def blank(self, runs: int, dim: int) -> IntArray:
        _same_dim(self.grid, dim, "Histogram")
        return np.zeros((runs, 1 + int(np.prod(self.grid.shape))), np.int64)

    def add(self, total: IntArray, x: Tensor) -> None:
        cell, outside = cells_of(x.double(), self.grid)
        total[:, 0] += outside.sum(dim=1).cpu().numpy()
        _count(total[:, 1:], cell)

    def table(self, total: IntArray, seen: IntArray, dim: int) -> xr.Dataset:
        grid, prefix = self.grid, _prefix(self)
        counts = total[..., 1:].reshape(*seen.shape, *grid.shape)
        names = tuple(prefix + name for name in grid.names)
        dims, axes = ("time", "run", *names), dict(zip(names, grid.axes, strict=True))
        share = counts / np.maximum(seen, 1).reshape(*seen.shape, *(1,) * grid.dim)
        table = xr.Dataset(
            {
                f"{prefix}histogram": (dims, counts),
                f"{prefix}density": (dims, share / grid.cell_volume),
                f"{prefix}outside": (("time", "run"), total[..., 0]),
            },
            coords=axes,
        )
        # metadata in a form that a netCDF file can hold
        table[f"{prefix}histogram"].attrs.update(
            lower=list(grid.lower),
            upper=list(grid.upper),
            periodic=[int(p) for p in grid.periodic],
            every=self.every or 0,
        )
        return table


@dataclass(frozen=True)
class BasinCounts:
    """How many particles are in each basin.

    Parameters
    ----------
    label : maps points, a tensor ``(..., d)``, to whole numbers ``(...)``; those outside
        0, ..., count - 1 belong to no basin. ``Basins.of(V, grid)`` has the basins of steepest
        descent from each cell.
    count : number of basins; None for that of ``label``

    Variables ``basins`` (time, [run,] basin) and ``unassigned`` (time, [run]).
    ``every`` and ``name``: as for ``Moments``.
    """

    label: Callable[[Tensor], Tensor]
    count: int | None = None
    every: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not callable(self.label):
            raise TypeError(f"BasinCounts: label must be callable, got {self.label!r}")
        count = getattr(self.label, "count", None) if self.count is None else self.count
        if count is None:
            raise ValueError(
                "BasinCounts: the number of basins is unknown; pass count=..., or "
                "label=Basins.of(V, grid)"
            )
        object.__setattr__(self, "count", whole("BasinCounts: count", count, 1))
        _check_common(self)

    @property
    def basins(self) -> int:
        """Their number."""
        assert self.count is not None
        return self.count

    def blank(self, runs: int, dim: int) -> IntArray:
        return np.zeros((runs, 1 + self.basins), np.int64)

    def add(self, total: IntArray, x: Tensor) -> None:
        label = self._labelled(x.clone())  # the label may overwrite it
        if not isinstance(label, Tensor):
            label = np.asarray(label)
            label = torch.from_numpy(label) if label.dtype.kind in "biuf" else label
        shape, whole = (
            tuple(x.shape[:-1]),
            isinstance(label, Tensor) and not (label.is_floating_point() or label.is_complex()),
        )
        if not whole or tuple(label.shape) != shape:
            raise ValueError(
                f"BasinCounts: label must give whole numbers of shape {shape}, got "
                f"{label.dtype} of shape {tuple(label.shape)}"
            )
        inside = (label >= 0) & (label < self.basins)
        _count(total, torch.where(inside, label.long() + 1, 0))

    def _labelled(self, x: Tensor) -> Any:
        try:
            return self.label(x)
        except Exception as error:
            raise failed(
                error,
                "BasinCounts: label must map tensors of points (..., d) to whole numbers (...); it "
                f"failed on shape {tuple(x.shape)}: {error} ({type(error).__name__})",
            ) from error

    def table(self, total: IntArray, seen: IntArray, dim: int) -> xr.Dataset:
        prefix = _prefix(self)
        table = xr.Dataset(
            {
                f"{prefix}basins": (("time", "run", f"{prefix}basin"), total[..., 1:]),
                f"{prefix}unassigned": (("time", "run"), total[..., 0]),
            }
        )
        minima = getattr(self.label, "minima", None)
        if minima is not None:
            places = ((f"{prefix}basin", "dim"), np.asarray(minima))
            table = table.assign_coords({f"{prefix}minimum": places})
        return table


@dataclass(frozen=True)
class Survivors:
    """Nothing but how many positions are seen: of particles that may stop, those on their way."""

    every: int | None = None
    name: str = "survivors"

    def blank(self, runs: int, dim: int) -> IntArray:
        return np.zeros((runs, 0), np.int64)

    def add(self, total: IntArray, x: Tensor) -> None:
        pass

    def table(self, total: IntArray, seen: IntArray, dim: int) -> xr.Dataset:
        return xr.Dataset({self.name: (("time", "run"), seen)})


def cells_of(x: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Number of the cell of each point ``(..., dim)``, and which points are beyond a wall.

    Beyond a wall it is the cell at the wall; periodic axes wrap.
    """
    outside = torch.zeros(x.shape[:-1], dtype=torch.bool, device=x.device)
    for k in range(grid.dim):
        if not grid.periodic[k]:
            outside |= (x[..., k] < grid.lower[k]) | (x[..., k] > grid.upper[k])
    return grid.cell_of(x), outside


def _count(total: IntArray, label: Tensor) -> None:
    """Add to ``total`` (runs, m) how often each of 0, ..., m - 1 occurs in ``label`` (runs, n)."""
    runs, m = total.shape
    shifted = label + torch.arange(runs, device=label.device)[:, None] * m
    total += torch.bincount(shifted.ravel(), minlength=runs * m).view(runs, m).cpu().numpy()


def _moments(sums: IntArray, n: int, dim: int) -> tuple[Any, Any]:
    if n == 0:
        return np.nan, np.nan
    means = [exact_sums.fraction(digits) / n for digits in sums[:dim]]
    covariance = np.empty((dim, dim))
    for (i, j), digits in zip(_pairs(dim).tolist(), sums[dim:], strict=True):
        # in integers: no cancellation
        value = float(exact_sums.fraction(digits) / n - means[i] * means[j])
        covariance[i, j] = covariance[j, i] = value
    return [float(m) for m in means], covariance


def _pairs(dim: int) -> NDArray[np.int64]:
    return np.array([(i, j) for i in range(dim) for j in range(i, dim)])


def _prefix(observable: Observable) -> str:
    return f"{observable.name}_" if observable.name else ""


def _check_common(observable: Any) -> None:
    if observable.every is not None:
        whole("every", observable.every, 1)
    text(f"{type(observable).__name__}: name", observable.name)


def _same_dim(grid: Grid, dim: int, what: str) -> None:
    if grid.dim != dim:
        raise ValueError(f"{what}: the grid has {grid.dim} coordinates, the particles have {dim}")
