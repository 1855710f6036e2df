"""Second order along an axis without diffusion, where the generator's fluxes are upwind.

A positive quantity f of the generator is there off by a factor 1 + e h + O(h²). On cells a third as
wide along that axis, whose centres include those of the grid, it is f', off by 1 + e h / 3: so
f' sqrt(f' / f), Richardson's extrapolation of logarithms, is of second order. What is positive
stays so, and keeps its relative accuracy where it is tiny.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion
from pdekit.pde.discrete.characteristics import noisy_axes
from pdekit.pde.discrete.problem import Problem


def still_axes(problem: Problem) -> tuple[int, ...]:
    """The axes of a plane along which nothing diffuses anywhere."""
    if problem.grid.dim < 2 or not drift_diffusion.is_general(problem.equation):
        return ()
    noisy = noisy_axes(problem)
    return () if noisy is None else tuple(a for a in range(problem.grid.dim) if a not in noisy)


def on_thirds(problem: Problem) -> Problem | None:
    """The same on three times as many cells along the axes without diffusion.

    None where there is no such axis, or something is known in the cells of the grid alone.
    """
    axes, grid = still_axes(problem), problem.grid
    if not axes:
        return None
    cells = tuple(3 * n if axis in axes else n for axis, n in enumerate(grid.cells))
    made = Problem(problem.equation, Grid(grid.lower, grid.upper, cells, grid.periodic), None)
    try:
        made.generator()
    except (TypeError, ValueError):
        return None
    return made


def extrapolated(problem: Problem, of: Callable[[Problem], Array]) -> Array:
    """``of(problem)``, a positive field on its grid, to second order along axes that are still."""
    here, finer = of(problem), on_thirds(problem)
    return here if finer is None else in_logs(here, at_centres(of(finer), problem.grid))


def at_centres(field: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Values on cells of a third of the width at the centres of ``grid``; its axes are the last."""
    for axis, n in enumerate(grid.cells, start=field.ndim - grid.dim):
        if field.shape[axis] != n:
            field = field.take(range(1, field.shape[axis], 3), axis)
    return field


def in_logs(here: NDArray[Any], finer: NDArray[Any]) -> NDArray[Any]:
    """finer sqrt(finer / here), also of complex rates; ``finer`` where one of them vanishes."""
    known = (here != 0) & (finer != 0)
    safe = np.where(known, here, 1.0)
    out: NDArray[Any] = finer * np.sqrt(np.where(known, finer / safe, 1.0))
    return out
