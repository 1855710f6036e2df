"""c |∇T| = 1 by fast marching (Sethian 1996): cells are settled in the order of their times.

A line is a plane of one row, with one cell width infinite.
"""

import numba as nb
import numpy as np


@nb.njit(cache=True, error_model="numpy")
def _push(heap, size, times, where, cell):  # type: ignore[no-untyped-def]
    """Cell into the heap, or up in it; its size. ``where``: the places of cells, -1 of others."""
    k = where[cell]
    if k < 0:
        k, size = size, size + 1
    while k > 0 and times[heap[(k - 1) // 2]] > times[cell]:
        heap[k] = heap[(k - 1) // 2]
        where[heap[k]] = k
        k = (k - 1) // 2
    heap[k] = cell
    where[cell] = k
    return size


@nb.njit(cache=True, error_model="numpy")
def _pop(heap, size, times, where):  # type: ignore[no-untyped-def]
    """The earliest cell; the heap is one shorter."""
    first, last = heap[0], heap[size - 1]
    size, k = size - 1, 0
    while 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and times[heap[child + 1]] < times[heap[child]]:
            child += 1
        if times[heap[child]] >= times[last]:
            break
        heap[k] = heap[child]
        where[heap[k]] = k
        k = child
    heap[k] = last
    where[last] = k
    return first


@nb.njit(cache=True, error_model="numpy")
def _beside(cell, axis, step, shape, periodic):  # type: ignore[no-untyped-def]
    """The cell some steps along an axis, or -1 beyond a wall."""
    rows, columns = shape
    i, j = cell // columns, cell % columns
    k, n = (i, rows) if axis == 0 else (j, columns)
    k += step
    if periodic[axis]:
        k %= n
    elif k < 0 or k >= n:
        return -1
    return k * columns + j if axis == 0 else i * columns + k


@nb.njit(cache=True, error_model="numpy")
def _upwind(cell, axis, times, settled, shape, width, periodic, second):  # type: ignore[no-untyped-def]
    """a and b of the slope a (T - b) along an axis, from its earlier side; a = 0 where none is."""
    a, b, earliest = 0.0, 0.0, np.inf
    for side in (-1, 1):
        near = _beside(cell, axis, side, shape, periodic)
        if near < 0 or not settled[near] or times[near] >= earliest:
            continue
        earliest = times[near]
        a, b = 1.0 / width[axis], times[near]
        far = _beside(cell, axis, 2 * side, shape, periodic)
        if second and far >= 0 and far != cell and settled[far] and times[far] <= times[near]:
            a, b = 1.5 / width[axis], (4.0 * times[near] - times[far]) / 3.0
    return a, b


@nb.njit(cache=True, error_model="numpy")
def _time(slowness, a, b, c, d):  # type: ignore[no-untyped-def]
    """T of max(a (T - b), 0)² + max(c (T - d), 0)² = slowness²."""
    alone = min(b + slowness / a if a > 0 else np.inf, d + slowness / c if c > 0 else np.inf)
    if a == 0.0 or c == 0.0 or alone <= max(b, d):
        return alone
    total, mean = a * a + c * c, a * a * b + c * c * d
    apart = b - d
    return (mean + np.sqrt(max(total * slowness**2 - (a * c * apart) ** 2, 0.0))) / total


@nb.njit(cache=True, error_model="numpy")
def march(times, slowness, inside, shape, width, periodic, second):  # type: ignore[no-untyped-def]
    """Settle all cells (flat) from the first ``times``, infinite where unknown, in place.

    Cells ``inside`` the target are not used, and those of infinite ``slowness`` never reached.
    """
    n = times.size
    settled, closed = np.zeros(n, np.bool_), inside | np.isinf(slowness)
    heap, where, size = np.empty(n, np.int64), np.full(n, -1), 0
    for cell in range(n):
        if times[cell] < np.inf and not closed[cell]:
            size = _push(heap, size, times, where, cell)
    while size > 0:
        cell = _pop(heap, size, times, where)
        size -= 1
        settled[cell] = True
        for axis in range(2):
            for side in (-1, 1):
                near = _beside(cell, axis, side, shape, periodic)
                if near < 0 or settled[near] or closed[near]:
                    continue
                a, b = _upwind(near, 0, times, settled, shape, width, periodic, second)
                c, d = _upwind(near, 1, times, settled, shape, width, periodic, second)
                new = _time(slowness[near], a, b, c, d)
                if new < times[near]:
                    times[near] = new
                    size = _push(heap, size, times, where, near)
