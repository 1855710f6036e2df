"""Compiled tridiagonal kernels for Markov generators.

A generator is given by its rates, never by its diagonal: pivots are built up from the rates and the
shift alone (Grassmann, Taksar and Heyman's elimination), so that "columns sum to zero" is exact in
floating point and slow modes are right to rounding however fine the grid. No pivoting is needed: a
diagonal scaling makes these matrices symmetric semidefinite plus a shift.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LANES = 8  # width of the pole loop: the seven pole pairs of order 14 and one idle lane
_WIDTH = 16  # lines side by side in a batch of systems
# A batch is solved in one flat workspace with a row per cell and one beyond each end: the rates
# from the previous cell and back, unknown, inverse pivot, right-hand side or result, _WIDTH lanes
# each. Only at constant offsets in one array does the compiler see that the groups do not overlap,
# and use vector instructions.
_INTO, _BACK, _XR, _XI, _IR, _II, _B = (k * _WIDTH for k in range(7))
_ROW = 7 * _WIDTH


def rational_exponential(
    to_next: Array, to_previous: Array, kill: Array, u: Array, t: float, forward: bool,
    poles: NDArray[np.complex128], residues: NDArray[np.complex128],
) -> Array:  # fmt: skip
    """exp(t A) u = sum_k residue_k (t A - pole_k)^-1 u in one sweep over the cells.

    A is L - diag(kill), or its transpose if ``forward``; L has the rates ``to_next[i]`` from cell
    i to i+1 and ``to_previous[i]`` from i+1 to i, shape (n-1,). The poles are the lanes of the
    inner loop, so that one pass serves all of them.
    """
    half = poles.imag > 0
    z = np.append(poles[half], 1 + 1j)
    c = np.append(-2 * residues[half], 0)  # the kernel solves with pole - t A
    if z.size != _LANES:
        raise ValueError(f"the kernel takes {_LANES - 1} pole pairs, got {z.size - 1}")
    lanes = np.stack([z.real, z.imag, c.real, c.imag])
    into_next, into_previous = (to_next, to_previous) if forward else (to_previous, to_next)
    out = np.empty_like(u)
    work = np.empty((u.size, 4, _LANES))
    work[0] = 0.0  # read, times zero, before it is written: must not hold a NaN
    _rational_sweep(to_next, to_previous, into_next, into_previous, kill, u, t, lanes, work, out)
    return out


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _rational_sweep(to_next, to_previous, into_next, into_previous, kill, u, t, lanes, work, out):  # type: ignore[no-untyped-def]
    """sum_p Re(c_p (z_p - t A)^-1 u); per lane: excess s, pivot s + t to_next, see the module."""
    n = u.size
    zr, zi, cr, ci = lanes[0], lanes[1], lanes[2], lanes[3]
    excess = np.zeros((2, _LANES))  # s_{i-1} / pivot_{i-1}
    for i in range(n):
        leave = t * to_next[i] if i < n - 1 else 0.0
        back = t * to_previous[i - 1] if i > 0 else 0.0
        arrive = t * into_next[i - 1] if i > 0 else 0.0
        above = t * into_previous[i] if i < n - 1 else 0.0
        shift, r, j = t * kill[i], u[i], max(i - 1, 0)
        for p in range(_LANES):
            sr = zr[p] + shift + back * excess[0, p]
            si = zi[p] + back * excess[1, p]
            br = sr + leave
            q = 1.0 / (br * br + si * si)
            ir, ii = br * q, -si * q
            excess[0, p], excess[1, p] = sr * ir - si * ii, sr * ii + si * ir
            yr, yi = r + arrive * work[j, 2, p] * (i > 0), arrive * work[j, 3, p] * (i > 0)
            work[i, 0, p], work[i, 1, p] = above * ir, above * ii
            work[i, 2, p], work[i, 3, p] = yr * ir - yi * ii, yr * ii + yi * ir
    x = np.zeros((2, _LANES))
    for i in range(n - 1, -1, -1):
        total = 0.0
        for p in range(_LANES):
            yr = work[i, 2, p] + (work[i, 0, p] * x[0, p] - work[i, 1, p] * x[1, p])
            yi = work[i, 3, p] + (work[i, 0, p] * x[1, p] + work[i, 1, p] * x[0, p])
            x[0, p], x[1, p] = yr, yi
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
def _eliminate(w, pr, pi, arriving):  # type: ignore[no-untyped-def]
    """One cell of the forward sweep; ``w`` holds the rows of the previous, this and the next cell.

    The excess over the pivot waits where the unknown of the next cell will be.
    """
    for k in range(_WIDTH):
        back = w[_ROW + _BACK + k]
        sr, si = pr + back * w[_ROW + _XR + k], pi + back * w[_ROW + _XI + k]
        br = sr + w[2 * _ROW + _INTO + k]
        q = 1.0 / (br * br + si * si)
        ir, ii = br * q, -si * q
        rate = w[_ROW + arriving + k]
        yr, yi = w[_ROW + _B + k] + rate * w[_XR + k], rate * w[_XI + k]
        w[_ROW + _XR + k], w[_ROW + _XI + k] = yr * ir - yi * ii, yr * ii + yi * ir
        w[_ROW + _IR + k], w[_ROW + _II + k] = ir, ii
        w[2 * _ROW + _XR + k], w[2 * _ROW + _XI + k] = sr * ir - si * ii, sr * ii + si * ir


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "nnan"})
def _substitute(w, cr, ci, coming):  # type: ignore[no-untyped-def]
    """One cell of the backward sweep, and Re((cr + i ci) x); the rows of this and the next cell.

    The smallest result from here to the end and the negative sum take the room of the inverse.
    """
    for k in range(_WIDTH):
        rate = w[_ROW + coming + k]
        br, bi = rate * w[_ROW + _XR + k], rate * w[_ROW + _XI + k]
        ir, ii = w[_IR + k], w[_II + k]
        xr, xi = w[_XR + k] + (br * ir - bi * ii), w[_XI + k] + (br * ii + bi * ir)
        w[_XR + k], w[_XI + k] = xr, xi
        value = cr * xr - ci * xi
        w[_B + k] = value
        w[_IR + k] = min(value, w[_ROW + _IR + k])
        w[_II + k] = min(value, 0.0) + w[_ROW + _II + k]


@nb.njit(cache=True, error_model="numpy")
def _solve_block(w, n, pr, pi, cr, ci, forward):  # type: ignore[no-untyped-def]
    """x = (pole - A)^-1 b for the lines of a block, in the workspace, and Re((cr + i ci) x) for b.

    Rates out of the two ends (back from the first cell, into the one behind the last) kill.
    """
    for k in range(_WIDTH):
        w[_XR + k] = w[_XI + k] = w[_ROW + _XI + k] = 0.0
        w[_ROW + _XR + k] = 1.0
    for i in range(n):
        rows = w[i * _ROW : (i + 3) * _ROW]
        if forward:  # the constants make two loops of it
            _eliminate(rows, pr, pi, _INTO)
        else:
            _eliminate(rows, pr, pi, _BACK)
    for k in range(_XR, _B):
        w[(n + 1) * _ROW + k] = 0.0
    for i in range(n - 1, -1, -1):
        rows = w[(i + 1) * _ROW : (i + 3) * _ROW]
        if forward:
            _substitute(rows, cr, ci, _BACK)
        else:
            _substitute(rows, cr, ci, _INTO)


@nb.njit(cache=True, error_model="numpy")
def _solve_periodic(w, seam, n, pr, pi, cr, ci, forward):  # type: ignore[no-untyped-def]
    """The same with the two corner entries of a periodic axis, by Sherman and Morrison.

    The matrix is tridiagonal when a v^T is taken off it, a = (-s, 0, .., bottom), v = (1, 0, ..,
    -top / s): x <- x - q (v.x) / (1 + v.q), q = T^-1 a, with s = Re pole.
    """
    over, back = seam[0], seam[1]
    top, bottom = (-over, -back) if forward else (-back, -over)
    rows = w.reshape(n + 2, _ROW // _WIDTH, _WIDTH)
    rows[1, _BACK // _WIDTH] = back + pr
    rows[n + 1, _INTO // _WIDTH] = over + top * bottom / pr
    _solve_block(w, n, pr, pi, cr, ci, forward)
    b, q = rows[1 : n + 1, _B // _WIDTH], rows[1 : n + 1, _XR // _WIDTH : _XI // _WIDTH + 1]
    x = q.copy()
    b[:] = 0.0
    b[0], b[n - 1] = -pr, bottom
    _solve_block(w, n, pr, pi, cr, ci, forward)
    for k in range(_WIDTH):
        v = -top[k] / pr
        along = complex(x[0, 0, k] + v * x[n - 1, 0, k], x[0, 1, k] + v * x[n - 1, 1, k])
        one = complex(1 + q[0, 0, k] + v * q[n - 1, 0, k], q[0, 1, k] + v * q[n - 1, 1, k])
        s = along / one
        for i in range(n):
            y = complex(x[i, 0, k], x[i, 1, k]) - s * complex(q[i, 0, k], q[i, 1, k])
            b[i, k] = cr * y.real - ci * y.imag
        rows[1, _IR // _WIDTH, k] = b[:, k].min()
        rows[1, _II // _WIDTH, k] = np.minimum(b[:, k], 0.0).sum()


@nb.njit(cache=True, error_model="numpy")
def _load(w, rates, u, start, used, axis):  # type: ignore[no-untyped-def]
    """Rates, and ``used`` lines of u from ``start`` on as right-hand side, into the workspace."""
    n, rows = u.shape[axis], w.reshape(-1, _ROW)
    for i in range(n + 1):
        for k in range(2 * _WIDTH):
            rows[i + 1, k] = rates[i, k]
    if axis == 1:
        for k in range(used):
            for i in range(n):
                rows[i + 1, _B + k] = u[start + k, i]
        return
    flat, unsigned = u.ravel(), np.uint64  # an unsigned index is not checked for counting backwards
    for i in range(n):
        here, there = unsigned((i + 1) * _ROW + _B), unsigned(i * u.shape[1] + start)
        for k in range(used):
            w[here + unsigned(k)] = flat[there + unsigned(k)]


@nb.njit(cache=True, error_model="numpy")
def _store(w, out, start, used, axis):  # type: ignore[no-untyped-def]
    n, rows = out.shape[axis], w.reshape(-1, _ROW)
    if axis == 1:
        for k in range(used):
            for i in range(n):
                out[start + k, i] = rows[i + 1, _B + k]
        return
    for i in range(n):
        for k in range(used):
            out[i, start + k] = rows[i + 1, _B + k]


@nb.njit(cache=True, error_model="numpy")
def solve_lines(packed, seam, u, tau, pole, residue, forward, axis, out):  # type: ignore[no-untyped-def]
    """out = 2 Re(residue (τA - pole)^-1 u) along ``axis`` of the 2-D field u.

    A is L or, if ``forward``, its transpose, with the rates of ``line_rates``. Returns the smallest
    entry of out, or zero, and the sum of the negative ones. Lines go through in blocks that fit
    the cache and are SIMD lanes within; pivots are made anew, faster than fetched from memory.
    """
    n, lines = u.shape[axis], u.shape[1 - axis]
    lowest, negative = np.inf, 0.0
    w = np.zeros((n + 2) * _ROW)
    pr, pi = pole.real / tau, pole.imag / tau
    cr, ci = -2 * residue.real / tau, -2 * residue.imag / tau
    for block in range(packed.shape[0]):
        start = block * _WIDTH
        used = min(_WIDTH, lines - start)
        _load(w, packed[block], u, start, used, axis)
        if seam.shape[0] > 0:
            _solve_periodic(w, seam[block], n, pr, pi, cr, ci, forward)
        else:
            _solve_block(w, n, pr, pi, cr, ci, forward)
        for k in range(used):
            lowest = min(lowest, w[_ROW + _IR + k])
            negative += w[_ROW + _II + k]
        _store(w, out, start, used, axis)
    return lowest, negative
