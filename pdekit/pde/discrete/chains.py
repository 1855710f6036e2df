"""Markov chains on the cells of a grid: invariant laws, hitting times, classes of states.

The chain is a generator L: a ``scipy.sparse`` matrix over the cells in C order with off-diagonal
entries >= 0 (``Generator.matrix()``), whose diagonal is never read. Absorption at walls
is a killing rate per cell (``Generator.loss``).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid


def order(matrix: Any, grid: Grid, last: int | None = None) -> NDArray[np.int64]:
    """The cells in an order with little fill-in; the cell ``last`` at the end."""
    from pdekit.pde.kernels.elimination import dissection, reach

    width = reach(matrix, grid.shape, grid.periodic)
    return dissection(grid.shape, grid.periodic, width, last)


def rates(matrix: Any) -> Any:
    """The jump rates alone: L without its diagonal, in coordinate form."""
    from scipy.sparse import coo_array

    coo = matrix.tocoo()
    keep = (coo.row != coo.col) & (coo.data != 0)
    if keep.any() and coo.data[keep].min() < 0:
        worst = int(np.argmin(np.where(keep, coo.data, 0.0)))
        raise ValueError(
            f"not the generator of a Markov chain: the rate from cell {coo.row[worst]} to "
            f"{coo.col[worst]} is {coo.data[worst]:g}, and must be >= 0"
        )
    return coo_array((coo.data[keep], (coo.row[keep], coo.col[keep])), shape=coo.shape)


def recurrent(matrix: Any, grid: Grid) -> NDArray[np.bool_]:
    """The recurrent cells; raises ``ValueError`` for several classes."""
    from scipy.sparse.csgraph import connected_components

    jumps = rates(matrix)
    count, label = connected_components(jumps.tocsr(), directed=True, connection="strong")
    final = np.ones(count, dtype=bool)
    crossing = label[jumps.row] != label[jumps.col]
    final[label[jumps.row[crossing]]] = False
    if final.sum() > 1:
        cells = [int(np.flatnonzero(label == k)[0]) for k in np.flatnonzero(final)[:2]]
        places = " and ".join(_place(grid, c) for c in cells)
        raise ValueError(
            f"the stationary state is not unique: {final.sum()} closed sets of cells, such as "
            f"those of {places}; refine the grid if a force dominates the diffusion there (cell "
            "Péclet number above 2), or solve on each separately"
        )
    out: NDArray[np.bool_] = final[label]
    return out


def invariant(matrix: Any, grid: Grid) -> Array:
    """Probability per cell pi, sum 1, with pi L = 0: positive wherever the chain returns to.

    By elimination without subtraction: every entry is accurate to a few dozen
    roundings, for any size and any chain. Raises ``ValueError`` if it is not unique
    and ``ConvergenceError`` if rates of exchange are below 1e-300.
    """
    from pdekit.pde.kernels.elimination import eliminate

    alive = np.flatnonzero(recurrent(matrix, grid))
    if alive.size == matrix.shape[0]:
        return _weights(eliminate(rates(matrix), order(matrix, grid)))
    if alive.size == 1:
        return np.where(np.arange(matrix.shape[0]) == alive[0], 1.0, 0.0)
    sequence = order(matrix, grid)
    rank = np.full(matrix.shape[0], -1)
    rank[alive] = np.arange(alive.size)
    sequence = rank[sequence]
    inner = rates(matrix).tocsr()[alive][:, alive]
    out = np.zeros(matrix.shape[0])
    out[alive] = _weights(eliminate(inner, sequence[sequence >= 0]))
    return out


def _weights(made: Any) -> Array:
    if made.stuck.size:
        raise ConvergenceError(
            "the parts of the box exchange probability at rates below 1e-300, beyond "
            "floating-point range; lower beta or shrink the box"
        )
    weights: Array = made.invariant()
    total = weights.sum()
    if not np.isfinite(total):
        raise ConvergenceError(
            "rates out of the cells and into them differ by more than 1e300, beyond "
            "floating-point range; lower beta, shrink the box or refine the grid"
        )
    law: Array = weights / total
    return law


def hitting(matrix: Any, grid: Grid, kill: Array, source: Array) -> Array:
    """x >= 0 of (diag(kill) - L) x = source on all cells, for kill, source >= 0.

    With source 1 the mean time until killing. Raises ``ValueError`` if a cell is never
    killed and ``ConvergenceError`` if x exceeds 1e300.
    """
    never = (
        "the target cannot be reached from {}: the rate towards it is zero, or below 1e-300; "
        "enlarge the target, refine the grid or lower beta"
    )
    x = _eliminated(matrix, grid, kill, never).solve(source)
    return _in_range(x, "the times exceed 1e300, beyond floating-point range; lower beta")


def occupation(matrix: Any, grid: Grid, kill: Array, source: Array) -> Array:
    """x >= 0 of (diag(kill) - L)^T x = source: what a steady supply builds up before it is lost.

    Raises ``ValueError`` if a cell is never left for good, and so fills for ever.
    """
    never = (
        "what is supplied is never lost from {}, or at a rate below 1e-300: the mass grows for "
        "ever and there is no stationary state; let a wall absorb, or kill"
    )
    x = _eliminated(matrix, grid, kill, never).solve_transposed(source)
    return _in_range(x, "the densities exceed 1e300, beyond floating-point range")


def _eliminated(matrix: Any, grid: Grid, kill: Array, never: str) -> Any:
    """The factors of diag(kill) - L; ``never`` is said of a cell that is never killed."""
    from pdekit.pde.kernels.elimination import eliminate

    made = eliminate(rates(matrix), order(matrix, grid), kill)
    if made.stuck.size or not made.pivot[-1] > 1e-300:
        cell = int(made.stuck[0] if made.stuck.size else made.order[-1])
        raise ValueError(never.format(_place(grid, cell)))
    return made


def _in_range(x: Array, otherwise: str) -> Array:
    if not (x < 1e300).all():
        raise ConvergenceError(otherwise)
    return x


def net_flows(matrix: Any, rho: Array) -> tuple[Any, Any, Array, Array]:
    """Pairs of cells i < j, rho_i L_ij - rho_j L_ji, and the sum of the two."""
    from scipy.sparse import coo_array

    jumps = rates(matrix)
    i, j = np.minimum(jumps.row, jumps.col), np.maximum(jumps.row, jumps.col)
    flow = rho.ravel()[jumps.row] * jumps.data
    shape = jumps.shape
    net = coo_array((np.where(jumps.row < jumps.col, flow, -flow), (i, j)), shape=shape).tocsr()
    gross = coo_array((flow, (i, j)), shape=shape).tocsr()
    pairs = net.tocoo()
    return pairs.row, pairs.col, pairs.data, gross.tocoo().data


def _place(grid: Grid, cell: int) -> str:
    index = np.unravel_index(cell, grid.shape)
    where = ", ".join(
        f"{n} = {a[k]:g}" for n, a, k in zip(grid.names, grid.axes, index, strict=True)
    )
    return f"cell {tuple(int(k) for k in index)} ({where})"
