"""Compiled tridiagonal kernels for Markov generators.

A generator is given by its rates, never by its diagonal: pivots are built up from the rates and the
shift alone (Grassmann, Taksar and Heyman's elimination), so that "columns sum to zero" is exact in
floating point and slow modes are accurate to rounding on any grid. No pivoting is needed: a
diagonal scaling makes these matrices symmetric semidefinite plus a shift.
"""

from functools import lru_cache

import numba as nb
import numpy as np
from numpy.typing import NDArray

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.arrays import Array

LANES = 8  # width of the pole loop: the seven pole pairs of order 14 and an idle lane, or fewer
_WIDTH = 16  # number of lines in a batch of systems
# A batch is solved in one flat workspace with a row per cell and one beyond each end: right-hand
# side and then unknown, and the coupling to the next cell, _WIDTH lanes of real and imaginary parts
# each. Only at constant offsets in one array does the compiler see that the groups do not overlap,
# and only unsigned indices avoid checks for negative values.
_LINE = np.uint64(_WIDTH)
_XR, _XI, _GR, _GI, _ROW = (k * _LINE for k in map(np.uint64, range(5)))
_TILE = 8  # cells that are transposed together: a cache line of each


def rational_exponential(
    to_next: Array, to_previous: Array, kill: Array, u: Array, t: float, forward: bool,
    poles: NDArray[np.complex128], residues: NDArray[np.complex128],
) -> Array:  # fmt: skip
    """exp(t A) u = sum_k residue_k (t A - pole_k)^-1 u in one sweep over the cells.

    A is L - diag(kill), or its transpose if ``forward``; L has the rates ``to_next[i]`` from cell
    i to i+1 and ``to_previous[i]`` from i+1 to i, shape (n-1,), or (n,) round a circle. The poles
    are the lanes of the inner loop, so that one pass handles all of them.
    """
    lanes = pole_lanes(poles.tobytes(), residues.tobytes())
    out = np.empty_like(u)
    work = sweep_workspace(u.size, to_next.size)
    rational_sweep(to_next, to_previous, kill, u, t, forward, lanes, work, out)
    return out


def sweep_workspace(n: int, faces: int) -> Array:
    """Work space of ``rational_sweep`` on n cells, as many faces round a circle."""
    work = np.empty((n, 8 if faces == n else 4, LANES))
    work[0] = 0.0  # read, times zero, before it is written: must not contain NaN
    return work


@lru_cache(8)
def pole_lanes(poles: bytes, residues: bytes) -> Array:
    """Poles and residues of the upper half plane as lanes: real and imaginary parts of each."""
    z, c = np.frombuffer(poles, complex), np.frombuffer(residues, complex)
    half = z.imag > 0
    idle = LANES - int(half.sum())
    if not (z.imag != 0).all() or idle < 0:
        raise ValueError(f"the kernel takes up to {LANES} pole pairs, got {z.tolist()}")
    z = np.append(z[half], np.full(idle, 1 + 1j))
    c = np.append(-2 * c[half], np.zeros(idle))  # solves are with pole - t A
    return np.stack([z.real, z.imag, c.real, c.imag])


@nb.njit(cache=True, error_model="numpy")
def rational_sweep(to_next, to_previous, kill, u, t, forward, lanes, work, out):  # type: ignore[no-untyped-def]
    """out = sum_p Re(c_p (z_p - t A)^-1 u) on one line, or round a circle of as many rates."""
    if to_next.size == u.size:
        _circle_sweep(to_next, to_previous, kill, u, t, forward, lanes, work, out)
    elif forward:
        _line_sweep(to_next, to_previous, to_next, to_previous, kill, u, t, lanes, work, out)
    else:
        _line_sweep(to_next, to_previous, to_previous, to_next, kill, u, t, lanes, work, out)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _line_sweep(to_next, to_previous, into_next, into_previous, kill, u, t, lanes, work, out):  # type: ignore[no-untyped-def]
    """Between walls; per lane: excess s, pivot s + t to_next, see the module."""
    n = u.size
    zr, zi, cr, ci = lanes[0], lanes[1], lanes[2], lanes[3]
    excess = np.zeros((2, LANES))  # s_{i-1} / pivot_{i-1}
    for i in range(n):
        leave = t * to_next[i] if i < n - 1 else 0.0
        back = t * to_previous[i - 1] if i > 0 else 0.0
        arrive = t * into_next[i - 1] if i > 0 else 0.0
        above = t * into_previous[i] if i < n - 1 else 0.0
        shift, r, j = t * kill[i], u[i], max(i - 1, 0)
        for p in range(LANES):
            sr = zr[p] + shift + back * excess[0, p]
            si = zi[p] + back * excess[1, p]
            br = sr + leave
            q = 1.0 / (br * br + si * si)
            ir, ii = br * q, -si * q
            excess[0, p], excess[1, p] = sr * ir - si * ii, sr * ii + si * ir
            yr, yi = r + arrive * work[j, 2, p] * (i > 0), arrive * work[j, 3, p] * (i > 0)
            work[i, 0, p], work[i, 1, p] = above * ir, above * ii
            work[i, 2, p], work[i, 3, p] = yr * ir - yi * ii, yr * ii + yi * ir
    x = np.zeros((2, LANES))
    for i in range(n - 1, -1, -1):
        total = 0.0
        for p in range(LANES):
            yr = work[i, 2, p] + (work[i, 0, p] * x[0, p] - work[i, 1, p] * x[1, p])
            yi = work[i, 3, p] + (work[i, 0, p] * x[1, p] + work[i, 1, p] * x[0, p])
            x[0, p], x[1, p] = yr, yi
            total += cr[p] * yr - ci[p] * yi
        out[i] = total


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _circle_sweep(to_next, to_previous, kill, u, t, forward, lanes, work, out):  # type: ignore[no-untyped-def]
    """Round a circle: the last cell borders the system of the others, which leak into it.

    Also solves for a second right-hand side: the contribution of the last cell to the others. If
    ``forward`` the pivot of the last cell follows from it without a difference, and else from a
    third: the part of the others not leading to the last cell, 1 minus the second. The
    second is not computed from the third, as small values would cancel.
    """
    last = u.size - 1
    zr, zi, cr, ci = lanes[0], lanes[1], lanes[2], lanes[3]
    into_next, into_previous = (to_next, to_previous) if forward else (to_previous, to_next)
    excess = np.zeros((2, LANES))
    for i in range(last):
        leave, shift, r, j = t * to_next[i], t * kill[i], u[i], max(i - 1, 0)
        back = t * to_previous[i - 1] if i > 0 else 0.0
        arrive = t * into_next[i - 1] if i > 0 else 0.0
        above = t * into_previous[i] if i < last - 1 else 0.0
        leak = t * to_previous[last] if i == 0 else 0.0
        border = t * (into_next[last] * (i == 0) + into_previous[i] * (i == last - 1))
        for p in range(LANES):
            sr = zr[p] + shift + leak + back * excess[0, p]
            si = zi[p] + back * excess[1, p]
            br = sr + leave
            q = 1.0 / (br * br + si * si)
            ir, ii = br * q, -si * q
            excess[0, p], excess[1, p] = sr * ir - si * ii, sr * ii + si * ir
            yr, yi = r + arrive * work[j, 2, p] * (i > 0), arrive * work[j, 3, p] * (i > 0)
            er, ei = border + arrive * work[j, 4, p] * (i > 0), arrive * work[j, 5, p] * (i > 0)
            dr = zr[p] + shift + arrive * work[j, 6, p] * (i > 0)
            di = zi[p] + arrive * work[j, 7, p] * (i > 0)
            work[i, 0, p], work[i, 1, p] = above * ir, above * ii
            work[i, 2, p], work[i, 3, p] = yr * ir - yi * ii, yr * ii + yi * ir
            work[i, 4, p], work[i, 5, p] = er * ir - ei * ii, er * ii + ei * ir
            work[i, 6, p], work[i, 7, p] = dr * ir - di * ii, dr * ii + di * ir
    pivot, x = np.zeros((2, LANES)), np.zeros((6, LANES))
    for p in range(LANES):
        pivot[0, p], pivot[1, p] = zr[p] + t * kill[last], zi[p]
    for i in range(last - 1, -1, -1):
        shift = t * kill[i]
        share = t * (to_next[last] * (i == 0) + to_previous[i] * (i == last - 1))
        for p in range(LANES):
            gr, gi = work[i, 0, p], work[i, 1, p]
            yr = work[i, 2, p] + (gr * x[0, p] - gi * x[1, p])
            yi = work[i, 3, p] + (gr * x[1, p] + gi * x[0, p])
            er = work[i, 4, p] + (gr * x[2, p] - gi * x[3, p])
            ei = work[i, 5, p] + (gr * x[3, p] + gi * x[2, p])
            dr = work[i, 6, p] + (gr * x[4, p] - gi * x[5, p])
            di = work[i, 7, p] + (gr * x[5, p] + gi * x[4, p])
            x[0, p], x[1, p], x[2, p], x[3, p], x[4, p], x[5, p] = yr, yi, er, ei, dr, di
            work[i, 2, p], work[i, 3, p], work[i, 4, p], work[i, 5, p] = yr, yi, er, ei
            if forward:
                sr = zr[p] + shift
                pivot[0, p] += sr * er - zi[p] * ei
                pivot[1, p] += sr * ei + zi[p] * er
            else:
                pivot[0, p] += share * dr
                pivot[1, p] += share * di
    first, end, total = t * into_previous[last], t * into_next[last - 1], 0.0
    for p in range(LANES):
        yr = u[last] + first * work[0, 2, p] + end * work[last - 1, 2, p]
        yi = first * work[0, 3, p] + end * work[last - 1, 3, p]
        q = 1.0 / (pivot[0, p] * pivot[0, p] + pivot[1, p] * pivot[1, p])
        x[0, p] = (yr * pivot[0, p] + yi * pivot[1, p]) * q
        x[1, p] = (yi * pivot[0, p] - yr * pivot[1, p]) * q
        total += cr[p] * x[0, p] - ci[p] * x[1, p]
    out[last] = total
    for i in range(last):
        total = 0.0
        for p in range(LANES):
            er, ei = work[i, 4, p], work[i, 5, p]
            yr = work[i, 2, p] + er * x[0, p] - ei * x[1, p]
            yi = work[i, 3, p] + er * x[1, p] + ei * x[0, p]
            total += cr[p] * yr - ci[p] * yi
        out[i] = total


def line_rates(
    to_next: Array, to_previous: Array, axis: int, seam: tuple[Array, Array] | None = None,
    walls: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """The rates along every line of ``axis`` of a 2-D field, packed for ``solve_lines``.

    ``to_next`` and ``to_previous`` have one entry fewer along the axis than the field. ``seam`` has
    the rates from the last cell to the first and back on a periodic axis, ``walls`` those at which
    the first cell loses to its wall and the last to its own, one number per line each.
    Returns (blocks, n + 1, 2 width), row i with the rates from cell i-1 to i and back, ``width``
    lines side by side; and the seam as (blocks, 2, width), without blocks where there is none.
    """
    n, lines = to_next.shape[axis] + 1, to_next.shape[1 - axis]
    blocks = -(-lines // _WIDTH)
    packed = np.zeros((blocks, n + 1, 2, _WIDTH))
    ends = np.zeros((blocks if seam else 0, 2, _WIDTH))
    for direction, rates in enumerate((to_next, to_previous)):
        across = rates if axis == 1 else rates.T
        for block in range(blocks):
            some = across[block * _WIDTH : (block + 1) * _WIDTH]
            packed[block, 1:n, direction, : len(some)] = some.T
            if seam:
                part = seam[direction][block * _WIDTH : (block + 1) * _WIDTH]
                ends[block, direction, : len(part)] = part
            if walls:  # back from the first cell, on from the last
                part = walls[1 - direction][block * _WIDTH : (block + 1) * _WIDTH]
                packed[block, 0 if direction else n, direction, : len(part)] = part
    return packed.reshape(blocks, n + 1, -1), ends


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _eliminate(w, rates, n, pr, pi, forward):  # type: ignore[no-untyped-def]
    """The forward sweep; ``rates`` as one block of ``line_rates``, flat.

    The excess over the pivot is stored in place of the next cell's coupling.
    """
    into, other = (np.uint64(0), _LINE) if forward else (_LINE, np.uint64(0))
    for i in range(np.uint64(n)):
        last = i * _ROW
        this, here = last + _ROW, i * (_LINE + _LINE)
        after, there = this + _ROW, here + _LINE + _LINE
        for k in range(_LINE):
            back = rates[here + _LINE + k]
            sr, si = pr + back * w[this + _GR + k], pi + back * w[this + _GI + k]
            br = sr + rates[there + k]
            q = 1.0 / (br * br + si * si)
            ir, ii = br * q, -si * q
            rate, coming = rates[here + into + k], rates[there + other + k]
            yr, yi = w[this + _XR + k] + rate * w[last + _XR + k], rate * w[last + _XI + k]
            w[this + _XR + k], w[this + _XI + k] = yr * ir - yi * ii, yr * ii + yi * ir
            w[this + _GR + k], w[this + _GI + k] = coming * ir, coming * ii
            w[after + _GR + k], w[after + _GI + k] = sr * ir - si * ii, sr * ii + si * ir


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "nnan"})
def _substitute(w, n, cr, ci):  # type: ignore[no-untyped-def]
    """The backward sweep, and Re((cr + i ci) x) in place of the couplings' real parts.

    The sum of the negative results from here to the end is stored in place of their imaginary
    parts.
    """
    for i in range(np.uint64(n)):
        this = (np.uint64(n) - i) * _ROW
        after = this + _ROW
        for k in range(_LINE):
            br, bi = w[after + _XR + k], w[after + _XI + k]
            gr, gi = w[this + _GR + k], w[this + _GI + k]
            xr, xi = (
                w[this + _XR + k] + (br * gr - bi * gi),
                w[this + _XI + k] + (br * gi + bi * gr),
            )
            w[this + _XR + k], w[this + _XI + k] = xr, xi
            value = cr * xr - ci * xi
            w[this + _GR + k] = value
            w[this + _GI + k] = min(value, 0.0) + w[after + _GI + k]


@nb.njit(cache=True, error_model="numpy")
def _solve_block(w, rates, n, pr, pi, cr, ci, forward):  # type: ignore[no-untyped-def]
    """x = (pole - A)^-1 b for the lines of a block, in the workspace, and Re((cr + i ci) x).

    Rates out of the two ends (back from the first cell, into the one behind the last) kill.
    """
    first, behind = int(_ROW), (n + 1) * int(_ROW)
    w[:first] = 0.0
    w[first + int(_GR) : first + int(_GI)] = 1.0
    w[first + int(_GI) : first + int(_ROW)] = 0.0
    w[behind : behind + int(_ROW)] = 0.0
    _eliminate(w, rates, n, pr, pi, forward)
    w[behind : behind + int(_ROW)] = 0.0
    _substitute(w, n, cr, ci)


@nb.njit(cache=True, error_model="numpy")
def _solve_periodic(w, rates, seam, n, pr, pi, cr, ci, forward):  # type: ignore[no-untyped-def]
    """The same with the two corner entries of a periodic axis, by Sherman and Morrison.

    The matrix is tridiagonal when a v^T is taken off it, a = (-s, 0, .., bottom), v = (1, 0, ..,
    -top / s): x <- x - q (v.x) / (1 + v.q), q = T^-1 a, with s = Re pole.
    """
    over, back = seam[0], seam[1]
    top, bottom = (-over, -back) if forward else (-back, -over)
    closed = rates.reshape(n + 1, 2, _WIDTH).copy()
    closed[0, 1] = back + pr
    closed[n, 0] = over + top * bottom / pr
    rows = w.reshape(n + 2, 4, _WIDTH)
    _solve_block(w, closed.ravel(), n, pr, pi, cr, ci, forward)
    x = rows[1 : n + 1, :2].copy()
    rows[1 : n + 1, 0] = 0.0
    rows[1, 0], rows[n, 0] = -pr, bottom
    _solve_block(w, closed.ravel(), n, pr, pi, cr, ci, forward)
    q, out = rows[1 : n + 1, :2], rows[1 : n + 1, 2]
    for k in range(_WIDTH):
        v = -top[k] / pr
        along = complex(x[0, 0, k] + v * x[n - 1, 0, k], x[0, 1, k] + v * x[n - 1, 1, k])
        one = complex(1 + q[0, 0, k] + v * q[n - 1, 0, k], q[0, 1, k] + v * q[n - 1, 1, k])
        s = along / one
        for i in range(n):
            y = complex(x[i, 0, k], x[i, 1, k]) - s * complex(q[i, 0, k], q[i, 1, k])
            out[i, k] = cr * y.real - ci * y.imag
        rows[1, 3, k] = np.minimum(out[:, k], 0.0).sum()


@nb.njit(cache=True, error_model="numpy", inline="always")
def _copy(into, a, a_row, source, b, b_row, n, many):  # type: ignore[no-untyped-def]
    """n rows of many numbers, from a and b on in flat arrays."""
    for i in range(np.uint64(n)):
        here, there = a + i * a_row, b + i * b_row
        for k in range(many):
            into[here + k] = source[there + k]


@nb.njit(cache=True, error_model="numpy", inline="always")
def _turn(into, a, a_row, a_next, source, b, b_row, b_next, n, many):  # type: ignore[no-untyped-def]
    """The same where numbers of a row are further apart: in tiles that stay in cache."""
    whole = n - n % _TILE
    for tile in range(0, whole, _TILE):
        here, there = a + np.uint64(tile) * a_row, b + np.uint64(tile) * b_row
        for k in range(many):
            for i in range(np.uint64(_TILE)):
                into[here + k * a_next + i * a_row] = source[there + k * b_next + i * b_row]
    for i in range(np.uint64(whole), np.uint64(n)):
        for k in range(many):
            into[a + k * a_next + i * a_row] = source[b + k * b_next + i * b_row]


@nb.njit(cache=True, error_model="numpy")
def _load(w, u, columns, n, start, used, axis):  # type: ignore[no-untyped-def]
    """``used`` lines of the flat u from ``start`` on as right-hand side into the workspace."""
    begin, many, one, first = np.uint64(start), np.uint64(used), np.uint64(1), _ROW + _XR
    if axis == 0:
        _copy(w, first, _ROW, u, begin, columns, n, many)
    else:
        _turn(w, first, _ROW, one, u, begin * columns, one, columns, n, many)


@nb.njit(cache=True, error_model="numpy")
def _store(w, out, columns, n, start, used, axis):  # type: ignore[no-untyped-def]
    """And the results back into the flat ``out``."""
    begin, many, one, first = np.uint64(start), np.uint64(used), np.uint64(1), _ROW + _GR
    if axis == 0:
        _copy(out, begin, columns, w, first, _ROW, n, many)
    else:
        _turn(out, begin * columns, one, columns, w, first, _ROW, one, n, many)


@nb.njit(cache=True, error_model="numpy")
def solve_lines(packed, seam, u, tau, pole, residue, forward, axis, out):  # type: ignore[no-untyped-def]
    """out = 2 Re(residue (τA - pole)^-1 u) along ``axis`` of the 2-D field u.

    A is L or, if ``forward``, its transpose, with the rates of ``line_rates``. Returns the sum
    of the negative entries. Lines go through in blocks that fit the cache and are SIMD lanes
    within; pivots are recomputed, which is faster than fetching them.
    """
    n, lines, columns = u.shape[axis], u.shape[1 - axis], np.uint64(u.shape[1])
    negative, first = 0.0, int(_ROW + _GI)
    w = np.zeros((n + 2) * int(_ROW))
    pr, pi = pole.real / tau, pole.imag / tau
    cr, ci = -2 * residue.real / tau, -2 * residue.imag / tau
    for block in range(packed.shape[0]):
        start, rates = block * _WIDTH, packed[block].ravel()
        used = min(_WIDTH, lines - start)
        _load(w, u.ravel(), columns, n, start, used, axis)
        if seam.shape[0] > 0:
            _solve_periodic(w, rates, seam[block], n, pr, pi, cr, ci, forward)
        else:
            _solve_block(w, rates, n, pr, pi, cr, ci, forward)
        for k in range(used):
            negative += w[first + k]
        _store(w, out.ravel(), columns, n, start, used, axis)
    return negative


@nb.njit(cache=True, error_model="numpy", fastmath={"nnan", "nsz"})
def clip(u, factor):  # type: ignore[no-untyped-def]
    """u <- factor max(u, 0) in place; the smallest entry before, or zero."""
    flat, lowest = u.ravel(), 0.0
    for i in range(flat.size):
        lowest = min(lowest, flat[i])
        flat[i] = factor * max(flat[i], 0.0)
    return lowest
