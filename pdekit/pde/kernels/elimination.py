"""Elimination without subtraction: sparse factorisation of Markov generators to full relative
accuracy.

Grassmann, Taksar and Heyman (1985): where states of a Markov chain are eliminated one by one, the
rates among the rest stay nonnegative, and the pivot is the sum of the rates that leave a state,
never a difference. Every number below is then a sum, product or quotient of nonnegative ones: an
invariant law of weights from 1 to 1e-300, or a passage time of 1e200, is accurate to a few
roundings in every cell, unlike factorisations that use the diagonal.

The order of the cells is nested dissection of the grid, so that N cells of a square cost about
N log N numbers and N^1.5 operations.
"""

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.arrays import Array

_LEAF = 16  # number of cells below which a block is not divided further
_SMALL = 1e-300  # rates below it are close to underflow
_LARGE = 1e5  # weights above it are rescaled to avoid overflow


@dataclass(frozen=True, eq=False)
class Elimination:
    """diag(kill) - L = (1 - M)(P - U), with M, U >= 0 strictly triangular and pivots P >= 0.

    ``order[k]`` is the cell eliminated as the k-th; ``start`` and ``later`` hold, per eliminated
    cell, the later cells connected to it (row of U and column of M).
    """

    order: NDArray[np.int64]
    pivot: Array
    start: NDArray[np.int64]
    later: NDArray[np.int64]
    upper: Array
    lower: Array

    def invariant(self) -> Array:
        """Weights w > 0 with L^T w = 0 (no killing), the largest one 1; of an irreducible L."""
        return self._unsorted(_invariant(self.start, self.later, self.lower))

    def solve(self, b: Array) -> Array:
        """x of (diag(kill) - L) x = b; without killing the last cell is grounded, x = 0 there."""
        return self._unsorted(
            _solve(self.pivot, self.start, self.later, self.upper, self.lower, b[self.order])
        )

    def solve_transposed(self, b: Array) -> Array:
        """x of (diag(kill) - L)^T x = b, by additions alone too: densities where ``solve`` has
        functions."""
        return self._unsorted(
            _solve_transposed(
                self.pivot, self.start, self.later, self.upper, self.lower, b[self.order]
            )
        )

    @property
    def stuck(self) -> NDArray[np.int64]:
        """Cells left at a rate below 1e-300, to later cells and by killing (but for the last)."""
        return self.order[:-1][self.pivot[:-1] < _SMALL]

    def _unsorted(self, values: Array) -> Array:
        out = np.empty_like(values)
        out[self.order] = values
        return out


def eliminate(matrix: Any, order: NDArray[np.int64] | None = None, kill: Any = 0.0) -> Elimination:
    """Factor diag(kill) - L, L the generator with the off-diagonal entries of ``matrix`` (>= 0).

    The diagonal of ``matrix`` is not read: rows of L sum to zero by definition. ``order`` defaults
    to the cells as they come, which suits a line.
    """
    n = matrix.shape[0]
    order = np.arange(n) if order is None else np.asarray(order, dtype=np.int64)
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n)
    coo = matrix.tocoo()
    off = (coo.row != coo.col) & (coo.data != 0)
    rows, cols, rates = rank[coo.row[off]], rank[coo.col[off]], coo.data[off].astype(float)
    begin, after = _adjacency(n, rows, cols)
    start, later = _fill_in(begin, after)
    killed = np.broadcast_to(np.asarray(kill, dtype=float), (n,))[order]
    pivot, upper, lower = _factor(*_by_row(n, rows, cols, rates), killed, start, later)
    return Elimination(order, pivot, start, later, upper, lower)


def dissection(
    shape: tuple[int, ...], periodic: tuple[bool, ...], reach: int = 1, last: int | None = None
) -> NDArray[np.int64]:
    """Order of the cells of a grid by nested dissection, with the cell ``last`` moved to the end.

    ``reach`` is the longest jump along an axis, in cells: the width of the separating strips. A
    line keeps its order. A periodic axis is first cut along its seam.
    """
    cells = np.arange(np.prod(shape)).reshape(shape)
    seams = []
    for axis, closed in enumerate(periodic):
        if closed and len(shape) > 1:
            cells, seam = np.split(cells, [shape[axis] - reach], axis)
            seams.append(seam.ravel())
    blocks = [cells.ravel()] if len(shape) == 1 else _cut(cells, reach)
    order = np.concatenate([*blocks, *seams[::-1]])
    return order if last is None else np.append(order[order != last], last)


def reach(matrix: Any, shape: tuple[int, ...], periodic: tuple[bool, ...]) -> int:
    """The longest jump of a generator along an axis of the grid, in cells."""
    coo = matrix.tocoo()
    longest = 1
    for axis, n in enumerate(shape):
        here = np.unravel_index(coo.row, shape)[axis]
        there = np.unravel_index(coo.col, shape)[axis]
        apart = np.abs(there - here)
        apart = np.minimum(apart, n - apart) if periodic[axis] else apart
        longest = max(longest, int(apart.max(initial=1)))
    return longest


def _cut(cells: NDArray[Any], width: int) -> list[NDArray[Any]]:
    """A block in the order: first half, second half, the strip between them."""
    axis = int(np.argmax(cells.shape))
    n = cells.shape[axis]
    if cells.size <= _LEAF or n < 2 * width + 1:
        return [cells.ravel()]
    middle = (n - width) // 2
    first, strip, second = np.split(cells, [middle, middle + width], axis)
    return [*_cut(first, width), *_cut(second, width), strip.ravel()]


def _adjacency(n: int, rows: Any, cols: Any) -> tuple[Any, Any]:
    """Per cell the earlier cells connected to it in either direction."""
    from scipy.sparse import coo_array

    high, low = np.maximum(rows, cols), np.minimum(rows, cols)
    joined = coo_array((np.ones(len(rows)), (high, low)), shape=(n, n)).tocsr()
    return joined.indptr.astype(np.int64), joined.indices.astype(np.int64)


def _by_row(n: int, rows: Any, cols: Any, rates: Array) -> tuple[Any, Any, Array]:
    from scipy.sparse import coo_array

    made = coo_array((rates, (rows, cols)), shape=(n, n)).tocsr()
    return made.indptr.astype(np.int64), made.indices.astype(np.int64), made.data


@nb.njit(cache=True)
def _fill_in(begin, before):  # type: ignore[no-untyped-def]
    """The later cells connected to each cell, including fill-in (by the elimination tree)."""
    n = begin.size - 1
    parent, short = np.full(n, -1), np.full(n, -1)
    for i in range(n):
        for p in range(begin[i], begin[i + 1]):
            k = before[p]
            while k != -1 and k < i:
                up = short[k]
                short[k] = i
                if up == -1:
                    parent[k] = i
                k = up
    seen, start = np.full(n, -1), np.zeros(n + 1, np.int64)
    for i in range(n):
        seen[i] = i
        for p in range(begin[i], begin[i + 1]):
            k = before[p]
            while seen[k] != i:
                start[k + 1] += 1
                seen[k] = i
                k = parent[k]
    start = np.cumsum(start)
    later, free = np.empty(start[n], np.int64), start[:-1].copy()
    seen[:] = -1
    for i in range(n):
        seen[i] = i
        for p in range(begin[i], begin[i + 1]):
            k = before[p]
            while seen[k] != i:
                later[free[k]] = i
                free[k] += 1
                seen[k] = i
                k = parent[k]
    return start, later


@nb.njit(cache=True)
def _earlier(start, later):  # type: ignore[no-untyped-def]
    """The transposed pattern: per cell the earlier cells whose elimination reaches it."""
    n = start.size - 1
    begin = np.zeros(n + 1, np.int64)
    for p in range(later.size):
        begin[later[p] + 1] += 1
    begin = np.cumsum(begin)
    earlier, free = np.empty(later.size, np.int64), begin[:-1].copy()
    for k in range(n):
        for p in range(start[k], start[k + 1]):
            earlier[free[later[p]]] = k
            free[later[p]] += 1
    return begin, earlier


@nb.njit(cache=True, error_model="numpy")
def _factor(indptr, indices, rates, kill, start, later):  # type: ignore[no-untyped-def]
    """Row by row: contributions of eliminated states to the rates out of state i."""
    n = start.size - 1
    begin, earlier = _earlier(start, later)
    pivot, dead = np.zeros(n), kill.copy()
    upper, lower = np.zeros(later.size), np.zeros(later.size)
    row, free = np.zeros(n), start[:-1].copy()
    for i in range(n):
        for p in range(indptr[i], indptr[i + 1]):
            row[indices[p]] = rates[p]
        for q in range(begin[i], begin[i + 1]):
            k = earlier[q]
            share = row[k] / pivot[k] if pivot[k] > 0 else 0.0
            row[k] = 0.0
            lower[free[k]] = share
            free[k] += 1
            if share > 0:
                dead[i] += share * dead[k]
                for p in range(start[k], start[k + 1]):
                    row[later[p]] += share * upper[p]
        row[i] = 0.0  # the return to i itself: not needed for GTH's pivot
        total = dead[i]
        for p in range(start[i], start[i + 1]):
            upper[p] = row[later[p]]
            total += upper[p]
            row[later[p]] = 0.0
        pivot[i] = total
    return pivot, upper, lower


@nb.njit(cache=True)
def _invariant(start, later, lower):  # type: ignore[no-untyped-def]
    n = start.size - 1
    w = np.zeros(n)
    w[n - 1] = 1.0
    for k in range(n - 2, -1, -1):
        total = 0.0
        for p in range(start[k], start[k + 1]):
            total += lower[p] * w[later[p]]
        w[k] = total
        if total > _LARGE:
            w[k:] /= total
    return w / w.max()


@nb.njit(cache=True)
def _solve_transposed(pivot, start, later, upper, lower, b):  # type: ignore[no-untyped-def]
    n = start.size - 1
    x = b.copy()
    for k in range(n):
        x[k] = x[k] / pivot[k] if pivot[k] > 0 else 0.0
        for p in range(start[k], start[k + 1]):
            x[later[p]] += upper[p] * x[k]
    for k in range(n - 1, -1, -1):
        for p in range(start[k], start[k + 1]):
            x[k] += lower[p] * x[later[p]]
    return x


@nb.njit(cache=True)
def _solve(pivot, start, later, upper, lower, b):  # type: ignore[no-untyped-def]
    n = start.size - 1
    x = b.copy()
    for k in range(n):
        for p in range(start[k], start[k + 1]):
            x[later[p]] += lower[p] * x[k]
    for k in range(n - 1, -1, -1):
        total = x[k]
        for p in range(start[k], start[k + 1]):
            total += upper[p] * x[later[p]]
        x[k] = total / pivot[k] if pivot[k] > 0 else 0.0
    return x
