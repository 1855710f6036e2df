"""Data given as a function, between the centres of the cells: the means that a solution feels.

A diffusion smooths what is in a cell: from the centre alone it starts right where the mean over the
cell is the value there, or that with the bend of the values next to it.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.sampling import called, evaluate

LITTLE = 0.01  # of the mass, or of the range: what the centres may miss in silence
_POINTS = {1: 4096, 2: 12_288}  # that are looked at, on a line and in the plane
_PARTS = {1: (3, 16), 2: (2, 6)}  # of a cell along each axis, at least and at most
_FINEST = {1: 17, 2: 19}  # binary digits of the most cells that are tried for advice


def missed(function: Callable[[Any], Any], values: Array, grid: Grid) -> Array:
    """How far means over the cells are from what the values at the centres say of them.

    Of all cells, or of some, evenly chosen, where there are very many. Nothing of a function that
    cannot be called elsewhere.
    """
    parts = _parts(grid)
    skip = -(-values.size * parts**grid.dim // _POINTS[grid.dim])
    cells = np.arange(0, values.size, skip + (skip > 1 and grid.shape[-1] % skip == 0))
    points = grid.centres.reshape(-1, 1, grid.dim)[cells] + _offsets(grid, parts)
    try:
        found = called("the data", function, points)
    except (TypeError, ValueError, ConvergenceError):
        return np.zeros(1)
    if found.shape != points.shape[:-1] or not np.isfinite(found).all():
        return np.zeros(1)
    apart = found.mean(1) - values.ravel()[cells]
    bend = _bend(values, grid).ravel()[cells] * (1 - parts**-2) / 24
    out: Array = np.minimum(np.abs(apart), np.abs(apart - bend))
    return out


def means(function: Callable[[Any], Any], grid: Grid, what: str) -> Array:
    """Means over all cells."""
    parts = _parts(grid)
    values = evaluate(function, grid.refined(parts), what)
    for axis, n in enumerate(grid.cells):
        lines = np.moveaxis(values, axis, -1)
        values = np.moveaxis(lines.reshape(*lines.shape[:-1], n, parts).mean(-1), -1, axis)
    return np.ascontiguousarray(values)


def report_density(function: Callable[[Any], Any], rho: Array, grid: Grid, stacklevel: int) -> None:
    """A ``ResolutionWarning`` where a hundredth of the mass is not where the centres have it."""
    share = _share(function, rho, grid)
    if not share > LITTLE:
        return
    warnings.warn(
        f"the cells do not resolve the initial density: {share:.2g} of its mass is not where its "
        f"values at the centres have it, {_advice(function, grid)}; or give a law, or an array of "
        "means over the cells",
        ResolutionWarning,
        stacklevel=stacklevel + 1,
    )


def _share(function: Callable[[Any], Any], rho: Array, grid: Grid) -> float:
    """The part of the mass that lies elsewhere, of that at the centres and what is missed."""
    lost, here = float(missed(function, rho, grid).mean()), float(rho.mean())
    return min(lost / max(here, lost, 1e-300), 1.0)


def _advice(function: Callable[[Any], Any], grid: Grid) -> str:
    """How many cells would do, by trying."""
    fine = grid
    while 2**grid.dim * np.prod(fine.cells) <= 1 << _FINEST[grid.dim]:
        fine = fine.refined(2)
        with np.errstate(all="ignore"):
            rho = called("the data", function, fine.centres)
        if _share(function, rho, fine) <= LITTLE:
            return f"about {fine.cells} cells would do in place of {grid.cells}"
    return f"more cells than {fine.cells} would do"


def _parts(grid: Grid) -> int:
    """Of a cell along an axis: many where there are few cells."""
    share = (_POINTS[grid.dim] / np.prod(grid.cells)) ** (1 / grid.dim)
    return int(np.clip(share, *_PARTS[grid.dim]))


def _offsets(grid: Grid, parts: int) -> Array:
    """Of the middles of the parts of a cell from its centre, (part, coordinate)."""
    steps = [((np.arange(parts) + 0.5) / parts - 0.5) * h for h in grid.spacing]
    return np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, grid.dim)


def _bend(u: Array, grid: Grid) -> Array:
    """The sum of second differences; at a wall that of the cell before."""
    out = np.zeros(u.shape)
    for axis, periodic in enumerate(grid.periodic):
        bend = np.roll(u, -1, axis) - 2 * u + np.roll(u, 1, axis)
        if not periodic:
            lines = np.moveaxis(bend, axis, 0)
            lines[0], lines[-1] = lines[1], lines[-2]
        out += bend
    return out
