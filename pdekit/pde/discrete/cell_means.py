"""Cell means of data given as functions, compared with values at the centres.

A diffusion smooths what is in a cell: from the centre alone it starts right where the mean over the
cell is the value there, or that with the bend of the values next to it.
"""

import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete.sampling import called, evaluate

LITTLE = 0.01  # of the mass, or of the range: error of the centres below which no warning is given
_POINTS = {1: 4096, 2: 12_288}  # number of evaluated points, on a line and in the plane
_PARTS = {1: (3, 16), 2: (2, 6)}  # parts of a cell along each axis, at least and at most
_FINEST = {1: 17, 2: 19}  # log2 of the most cells tried for advice
_SEEN: WeakKeyDictionary[Any, dict[Grid, float]] = WeakKeyDictionary()


def missed(function: Callable[[Any], Any], values: Array, grid: Grid) -> Array:
    """Difference between means over the cells and their estimate from values at

    the centres. For all cells, or an even selection if there are very many. Zero for a function
    that cannot be evaluated elsewhere.
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
    """A ``ResolutionWarning`` if a hundredth of the mass is misplaced by the centres."""
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


def report_rate(
    what: str, function: Callable[[Any], Any], values: Array, grid: Grid, stacklevel: int
) -> None:
    """A ``ResolutionWarning`` if a hundredth of a rate or source is missed by the centres."""
    share = _known_share(function, values, grid)
    if share > LITTLE:
        warnings.warn(
            f"the cells do not resolve the {what}: {share:.2g} of it is not where its values at "
            f"the centres have it, {_advice(function, grid)}; or give means over the cells",
            ResolutionWarning,
            stacklevel=stacklevel + 1,
        )


def _known_share(function: Callable[[Any], Any], values: Array, grid: Grid) -> float:
    """``_share``, of each function once."""
    try:
        seen = _SEEN.setdefault(function, {})
    except TypeError:  # no hash, or no weak reference
        return _share(function, values, grid)
    if grid not in seen:
        seen[grid] = _share(function, values, grid)
    return seen[grid]


def _share(function: Callable[[Any], Any], rho: Array, grid: Grid) -> float:
    """The misplaced share of the mass, from the values at the centres and the missed part."""
    lost, here = float(missed(function, rho, grid).mean()), float(np.abs(rho).mean())
    return min(lost / max(here, lost, 1e-300), 1.0)


def _advice(function: Callable[[Any], Any], grid: Grid) -> str:
    """How many cells would suffice, by trying."""
    fine = grid
    while 2**grid.dim * np.prod(fine.cells) <= 1 << _FINEST[grid.dim]:
        fine = fine.refined(2)
        with np.errstate(all="ignore"):
            rho = called("the data", function, fine.centres)
        if _share(function, rho, fine) <= LITTLE:
            return f"about {fine.cells} cells would suffice instead of {grid.cells}"
    return f"more cells than {fine.cells} would do"


def _parts(grid: Grid) -> int:
    """Of a cell along an axis: many if there are few cells."""
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


def coarsen(field: Array, grid: Grid, coarse: Grid) -> Array:
    """Cell averages on a coarser grid of the same box: keeps the integral and the sign."""
    even = all(n % m == 0 for n, m in zip(grid.cells, coarse.cells, strict=True))
    if even and grid.dim == 2:
        (n, m), (p, q) = coarse.cells, np.array(grid.cells) // coarse.cells
        means: Array = field.reshape(n * p, m, q).mean(2).reshape(n, p, m).mean(1)
        return means
    for axis in range(grid.dim):
        lines = np.moveaxis(field, axis, -1)
        total = np.concatenate(
            [np.zeros((*lines.shape[:-1], 1)), np.cumsum(lines * grid.spacing[axis], -1)], -1
        )
        at = np.clip(
            (coarse.faces[axis] - grid.lower[axis]) / grid.spacing[axis], 0, grid.cells[axis]
        )
        k = np.minimum(at.astype(int), grid.cells[axis] - 1)
        integral = total[..., k] + (at - k) * (total[..., k + 1] - total[..., k])
        field = np.moveaxis(np.diff(integral, axis=-1) / coarse.spacing[axis], -1, axis)
    return np.ascontiguousarray(field)
