"""Lines of cells along an oblique direction, gathered for the line solvers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.generators import Direction, Offset, neighbours


class ObliqueLines:
    """The rates along one oblique direction, and their resolvents on every line of cells."""

    def __init__(self, grid: Grid, direction: Direction, forward: bool) -> None:
        from pdekit.pde.kernels.tridiagonal import line_rates

        self.forward = forward
        self.cells, closed = lines_along(direction.offset, grid.shape, grid.periodic)
        up, down = (_on_cells(r, direction.offset, grid) for r in (direction.up, direction.down))
        to_next, to_previous = (self._gathered(field) for field in (up, down))
        seam = None
        if closed:
            seam = to_next[-1], to_previous[-1]
        elif direction.exits is not None:
            before, after = (self._gathered(side) for side in direction.exits)
            # a padding cell beyond each end receives the absorbed mass
            to_next, to_previous = to_next + after, to_previous + np.roll(before, -1, 0)
        self.packed, self.seam = line_rates(to_next[:-1], to_previous[:-1], 0, seam)
        self.buffers = np.zeros(self.cells.shape), np.empty(self.cells.shape)

    def apply(self, u: Array, tau: float, method: tuple[complex, complex], out: Array) -> float:
        """out = 2 Re(residue (τA - pole)^-1 u), and the sum of its negative entries."""
        from pdekit.pde.kernels.tridiagonal import solve_lines

        pole, residue = method
        lines, result = self.buffers
        inside = self.cells >= 0
        lines[inside] = u.ravel()[self.cells[inside]]
        negative = solve_lines(
            self.packed, self.seam, lines, tau, pole, residue, self.forward, 0, result
        )
        out.ravel()[self.cells[inside]] = result[inside]
        return float(negative)

    def _gathered(self, field: Array) -> Array:
        return np.where(self.cells >= 0, field.ravel()[self.cells], 0.0)


def lines_along(
    offset: Offset, shape: tuple[int, ...], periodic: tuple[bool, ...]
) -> tuple[NDArray[np.int64], bool]:
    """Flat indices of the cells i, i + e, i + 2e, ... of every line, one line per column.

    Every cell is in one line. On a walled axis a line ends before the wall, with -1 beyond either
    end (at least one each); where all axes that e crosses are periodic the lines are closed cycles.
    """
    index = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), -1)
    step, size = np.array(offset), np.array(shape)
    walled = np.array([k != 0 and not wraps for k, wraps in zip(offset, periodic, strict=True)])
    if not walled.any():
        return _cycles(step, size), True
    before = index - step
    first = ((before < 0) | (before >= size))[:, walled].any(-1)
    start = index[first]
    longest = int(min(-(-size[k] // abs(step[k])) for k in np.flatnonzero(walled)))
    along = start[None] + np.arange(-1, longest + 1)[:, None, None] * step
    outside = ((along < 0) | (along >= size))[..., walled].any(-1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(along % size, -1, 0)), shape)
    return np.where(outside, -1, flat), False


def _cycles(step: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cosets of the subgroup of the torus that the step generates, one per column."""
    length = int(np.lcm.reduce(size // np.gcd(step, size)))
    seen = np.zeros(tuple(size), dtype=bool)
    powers = np.arange(length)[:, None] * step
    columns = []
    for flat in range(int(np.prod(size))):
        start = np.unravel_index(flat, tuple(size))
        if not seen[start]:
            cycle = tuple(((np.array(start) + powers) % size).T)
            seen[cycle] = True
            columns.append(np.ravel_multi_index(cycle, tuple(size)))
    return np.stack(columns, 1)


def _on_cells(rates: Array, offset: Offset, grid: Grid) -> Array:
    """Rates of the pairs (i, i + e) as a field over the cells i, zero where i + e is outside."""
    out: Array = np.zeros(grid.shape)
    here, _ = neighbours(out, offset, grid.periodic)
    here[...] = rates
    return out


def gathers(direction: Any) -> bool:
    """Whether a direction is oblique: its lines are not rows or columns of the field."""
    return bool(sum(map(abs, direction.offset)) > 1)
