"""The mass of a density that the walls of a box cut off."""

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid

LOST_MASS = 1e-6  # probability beyond the walls above which a warning is given


def wall_mass(
    rho: Array, grid: Grid, absorbing: tuple[tuple[bool, bool], ...] | None = None
) -> Array:
    """Mass truncated by the no-flux walls: the tail beyond each wall by extrapolation.

    Per wall and line: rho_wall / rate with the logarithmic decay rate over the last twentieth of
    the box (at the wall itself the slope is affected by no-flux); where the density does not
    decay towards the wall, the mass of one box width. Within a small factor, on the high
    side where diffusion is reflected. Leading axes of ``rho`` are times, one number each.
    """
    lost: Array = np.zeros(rho.shape[: rho.ndim - grid.dim])
    for axis in range(grid.dim):
        if grid.periodic[axis]:
            continue
        lines = rho.T if grid.dim == 1 and rho.ndim < 3 else np.moveaxis(rho, axis - grid.dim, 0)
        h, width = grid.spacing[axis], grid.upper[axis] - grid.lower[axis]
        k = max(1, grid.cells[axis] // 20)
        takes = absorbing[axis] if absorbing is not None else (False, False)
        ends = [(0, k), (-1, -1 - k)]
        walls = [end for end, taken in zip(ends, takes, strict=True) if not taken]
        if not walls:
            continue
        last_before = lines[[[a for a, _ in walls], [b for _, b in walls]]]
        with np.errstate(divide="ignore", invalid="ignore"):
            last, before = np.log(last_before)
            widths = (before - last) * (width / (k * h))  # over which it decays, in the box
        reach = width / np.fmax(widths, 1.0)  # the box also where it is unknown
        across = (0, *range(1 + lost.ndim, last.ndim))
        lost += np.add.reduce(last_before[0] * reach, across) * (grid.cell_volume / h)
    return lost
