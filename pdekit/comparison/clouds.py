"""The particle data of a comparison: positions, or counts in the cells."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from pdekit.arrays import Array, IntArray
from pdekit.comparison import distances
from pdekit.comparison.inputs import (
    HasParticles,
    check_times,
    on_cells,
    particles_of,
    points_of,
    survivors_of,
)
from pdekit.comparison.metrics import Sample
from pdekit.grid import Grid


class Cloud(Protocol):
    """The particles of one time, all runs together."""

    @property
    def counts(self) -> IntArray:
        """Counts in the cells, ``grid.shape``; those beyond a wall in the cell at the wall."""
        ...

    @property
    def outside(self) -> int:
        """Beyond the walls."""
        ...

    def w1(self, mass: Array) -> tuple[float, float]:
        """Distance on the line, and its floor."""
        ...

    def moment_scores(self, mass: Array) -> tuple[Array, Array]:
        """Standard scores of mean and variance, per axis."""
        ...

    def shares(self, runs: int) -> Array:
        """Fractions in the cells, ``(runs, cells)``."""
        ...

    def seen(self, mass: Array) -> Sample:
        """The input of metrics."""
        ...


class Clouds(Protocol):
    """Particles over times."""

    @property
    def times(self) -> Array: ...
    @property
    def particles(self) -> int: ...
    @property
    def runs(self) -> int: ...

    @property
    def grid(self) -> Grid: ...

    def at(self, number: int) -> Cloud:
        """Those of the time of that number."""
        ...

    def followed(self, number: int, most: int) -> IntArray | None:
        """Cells of at most so many particles, the same ones at every time, -1 of those that have
        stopped; None where they are not known one by one.
        """
        ...


@dataclass(frozen=True)
class Points:
    """Positions ``(n, dim)``, within the period along periodic axes."""

    points: Array
    grid: Grid

    @property
    def counts(self) -> IntArray:
        return distances.cell_counts(self.points, self.grid)

    @property
    def outside(self) -> int:
        return int(len(self.points) - np.count_nonzero(self.grid.contains(self.points)))

    def w1(self, mass: Array) -> tuple[float, float]:
        return distances.w1_line(self.points[:, 0], self.grid.faces[0], mass)

    def moment_scores(self, mass: Array) -> tuple[Array, Array]:
        return distances.moment_scores(self.points, mass, self.grid)

    def shares(self, runs: int) -> Array:
        clouds = self.points.reshape(runs, -1, self.grid.dim)
        return np.stack([distances.cell_counts(x, self.grid).ravel() / len(x) for x in clouds])

    def seen(self, mass: Array) -> Sample:
        return Sample(self.points, self.counts, mass, self.grid)


@dataclass(frozen=True)
class Positions:
    """``ensemble.x``."""

    x: xr.DataArray
    grid: Grid
    stops: bool = False

    @property
    def times(self) -> Array:
        return np.asarray(self.x["time"].values)

    @property
    def particles(self) -> int:
        return int(self.x.sizes["particle"] * self.runs)

    @property
    def runs(self) -> int:
        return int(self.x.sizes.get("run", 1))

    def at(self, number: int) -> Points:
        time = float(self.times[number])
        points = points_of(self.x.isel(time=number), self.grid.dim, time, self.stops)
        return Points(self.grid.wrapped(points), self.grid)

    def followed(self, number: int, most: int) -> IntArray:
        order = [d for d in ("run", "particle", "dim") if d in self.x.dims]
        x = np.asarray(self.x.isel(time=number).transpose(*order).values, dtype=float)
        points = x.reshape(-1, self.grid.dim)[:most]
        stopped = np.isnan(points).any(axis=1)
        inside = np.where(stopped[:, None], self.grid.lower, points)
        return np.where(stopped, -1, np.asarray(self.grid.cell_of(self.grid.wrapped(inside))))


@dataclass(frozen=True)
class Counted:
    """Particles in the cells, ``(runs, *grid.shape)``; assumed uniform within a cell."""

    per_run: IntArray
    outside: int
    grid: Grid

    @property
    def counts(self) -> IntArray:
        return np.asarray(self.per_run.sum(axis=0))

    def w1(self, mass: Array) -> tuple[float, float]:
        n, faces = int(self.per_run.sum()), self.grid.faces[0]
        below = np.concatenate([[0.0], np.cumsum(self.counts)]) / n
        gap = below - np.concatenate([[0.0], np.cumsum(mass)]) / mass.sum()
        a, b = np.abs(gap[:-1]), np.abs(gap[1:])
        crossing = gap[:-1] * gap[1:] < 0
        mean = np.where(crossing, (a * a + b * b) / np.maximum(2 * (a + b), 1e-300), (a + b) / 2)
        return float(mean @ np.diff(faces)), distances.w1_line_floor(n, faces, mass)

    def moment_scores(self, mass: Array) -> tuple[Array, Array]:
        # about the centres of cells, as the moments of the density are
        n, weight = self.per_run.sum(), mass.ravel()
        z = self.grid.centres.reshape(-1, self.grid.dim)
        moved = z - weight @ z
        squares = moved**2
        variance, fourth = weight @ squares, weight @ squares**2
        difference = self.counts.ravel() / n - weight
        both = np.stack([difference @ moved, difference @ squares])
        first, second = both / distances.moment_errors(variance, fourth, self.grid) * np.sqrt(n)
        return first, second

    def shares(self, runs: int) -> Array:
        flat = self.per_run.reshape(runs, -1)
        return np.asarray(flat / flat.sum(axis=1, keepdims=True))

    def seen(self, mass: Array) -> Sample:
        return Sample(None, self.counts, mass, self.grid)


@dataclass(frozen=True)
class Histograms:
    """A histogram counted by ``simulate``."""

    counts: xr.DataArray  # (time, run, x[, y])
    outside: xr.DataArray
    grid: Grid

    @property
    def times(self) -> Array:
        return np.asarray(self.counts["time"].values)

    @property
    def particles(self) -> int:
        return int(self.counts.isel(time=0).sum())

    @property
    def runs(self) -> int:
        return int(self.counts.sizes["run"])

    def at(self, number: int) -> Counted:
        outside = int(self.outside.isel(time=number).sum())
        return Counted(self.counts.isel(time=number).values, outside, self.grid)

    def followed(self, number: int, most: int) -> None:
        return None


def clouds_of(ensemble: HasParticles, grid: Grid, metrics: Any = ()) -> Clouds:
    """The ensemble's positions or, if they were not kept, its histogram on ``grid``."""
    stops = survivors_of(ensemble) is not None
    if getattr(ensemble, "x", None) is not None or not hasattr(ensemble, "observed"):
        return Positions(particles_of(ensemble, grid), grid, stops)
    observed = xr.Dataset() if ensemble.observed is None else ensemble.observed
    found = [str(name) for name in observed if str(name).endswith("histogram")]
    fitting = [name for name in found if _fits(observed[name], grid)]
    if not fitting:
        had = ", ".join(_described(observed[name]) for name in found) or "none"
        raise ValueError(
            "the ensemble has neither positions nor a histogram on the density's grid: try "
            f"simulate(..., observe=pk.Histogram(solution.grid)), or keep=True; it has {had}, "
            f"expected {grid} without `every` (time averages are not independent particles)"
        )
    points = [metric for metric in metrics if getattr(metric, "needs_positions", False)]
    if points:
        raise ValueError(
            f"{points[0]!r} needs positions; use simulate(..., keep=True), or leave this metric out"
        )
    name = fitting[0]
    counts, outside = observed[name], observed[name.removesuffix("histogram") + "outside"]
    if "run" not in counts.dims:
        counts, outside = counts.expand_dims("run", 1), outside.expand_dims("run", 1)
    check_times(name, counts)
    counts = counts.rename(dict(zip(_axes(counts), grid.names, strict=True)))
    counts = on_cells(name, counts.transpose("time", "run", *grid.names), grid)
    found_clouds = Histograms(counts, outside.sel(time=counts["time"]), grid)
    if found_clouds.particles < 50 and not stops:
        raise ValueError(
            f"{found_clouds.particles} particles are too few for a comparison, expected at least "
            "50; simulate more"
        )
    return found_clouds


def _fits(counts: xr.DataArray, grid: Grid) -> bool:
    return not counts.attrs["every"] and _grid_of(counts) == grid


def _grid_of(counts: xr.DataArray) -> Grid:
    attrs = counts.attrs
    cells = [counts.sizes[name] for name in _axes(counts)]
    return Grid(attrs["lower"], attrs["upper"], cells, [bool(p) for p in attrs["periodic"]])


def _axes(counts: xr.DataArray) -> list[str]:
    return sorted(str(name) for name in counts.dims if name not in ("time", "run"))


def _described(counts: xr.DataArray) -> str:
    every = counts.attrs["every"]
    return f"{_grid_of(counts)}" + (f" every {every} steps" if every else "")
