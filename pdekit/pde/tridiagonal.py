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
_WIDTH = 32  # lines side by side in a batch of systems


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


def line_factors(
    to_next: Array, to_previous: Array, kill: Array, tau: float, pole: complex, forward: bool,
    axis: int, seam: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """LU factors of pole - τA along every line of ``axis`` of a 2-D field, A as above per line.

    ``to_next`` and ``to_previous`` have one entry fewer along the axis than ``kill``, which has the
    field's shape. ``seam`` has the rates from the last cell to the first and back on a periodic
    axis: then the matrix has two corner entries, becomes tridiagonal when a rank-one matrix is
    taken off it, and the second array carries the Sherman-Morrison correction.
    Packed for ``solve_lines``: (blocks, n, 4, width), ``width`` lines side by side.
    """
    n, lines = kill.shape[axis], kill.shape[1 - axis]
    blocks = -(-lines // _WIDTH)
    packed = np.zeros((blocks, n, 4, _WIDTH))
    cyclic = np.zeros((blocks if seam else 0, n + 1, 2, _WIDTH))
    rates = [np.moveaxis(a, axis, 0) for a in (to_next, to_previous, kill)]
    if seam is None:
        _factor(*rates, tau, pole, forward, packed)
        return packed, cyclic
    over, back = seam
    top, bottom = (-tau * over, -tau * back) if forward else (-tau * back, -tau * over)
    # the rank-one matrix w v^T with w = (-1, 0.., bottom), v = (1, 0.., -top)
    lost = rates[2].copy()
    lost[0] += back + 1 / tau
    lost[-1] += over + top * bottom / tau
    _factor(rates[0], rates[1], lost, tau, pole, forward, packed)
    _correction(packed, top, bottom, cyclic)
    return packed, cyclic


@nb.njit(cache=True, error_model="numpy")
def _factor(to_next, to_previous, kill, tau, pole, forward, packed):  # type: ignore[no-untyped-def]
    n, lines = kill.shape
    ratio = np.zeros(lines, np.complex128)  # excess / pivot of the previous cell
    for i in range(n):
        for j in range(lines):
            block, k = j // _WIDTH, j % _WIDTH
            excess = pole + tau * kill[i, j]
            if i > 0:
                back, ahead = tau * to_previous[i - 1, j], tau * to_next[i - 1, j]
                packed[block, i, 0, k] = ahead if forward else back
                excess += back * ratio[j]
            pivot = excess
            if i < n - 1:
                pivot += tau * to_next[i, j]
                above = to_previous[i, j] if forward else to_next[i, j]
                packed[block, i, 1, k] = tau * above
            ratio[j] = excess / pivot
            packed[block, i, 2, k] = (1 / pivot).real
            packed[block, i, 3, k] = (1 / pivot).imag


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _solve_block(factors, xr, xi):  # type: ignore[no-untyped-def]
    """x <- (pole - τA)^-1 x for one block of lines (n, width), real and imaginary parts."""
    n, width = xr.shape
    for k in range(width):
        br, bi, ir, ii = xr[0, k], xi[0, k], factors[0, 2, k], factors[0, 3, k]
        xr[0, k], xi[0, k] = br * ir - bi * ii, br * ii + bi * ir
    for i in range(1, n):
        for k in range(width):
            br = xr[i, k] + factors[i, 0, k] * xr[i - 1, k]
            bi = xi[i, k] + factors[i, 0, k] * xi[i - 1, k]
            ir, ii = factors[i, 2, k], factors[i, 3, k]
            xr[i, k] = br * ir - bi * ii
            xi[i, k] = br * ii + bi * ir
    for i in range(n - 2, -1, -1):
        for k in range(width):
            br = factors[i, 1, k] * xr[i + 1, k]
            bi = factors[i, 1, k] * xi[i + 1, k]
            ir, ii = factors[i, 2, k], factors[i, 3, k]
            xr[i, k] += br * ir - bi * ii
            xi[i, k] += br * ii + bi * ir


@nb.njit(cache=True, error_model="numpy")
def _correction(packed, top, bottom, cyclic):  # type: ignore[no-untyped-def]
    """q = T^-1 w of every line (n rows), and in one more row the weight -top of its v."""
    blocks, n, _, width = packed.shape
    lines = top.size
    for block in range(blocks):
        used = min(width, lines - block * width)
        xr, xi = np.zeros((n, width)), np.zeros((n, width))
        xr[0, :] = -1.0
        xr[n - 1, :used] = bottom[block * width : block * width + used]
        _solve_block(packed[block], xr, xi)
        for k in range(used):
            cyclic[block, :n, 0, k], cyclic[block, :n, 1, k] = xr[:, k], xi[:, k]
            cyclic[block, n, 0, k] = -top[block * width + k]


@nb.njit(cache=True, error_model="numpy")
def _wrap_block(cyclic, xr, xi):  # type: ignore[no-untyped-def]
    """x <- x - q (v.x) / (1 + v.q), the Sherman-Morrison correction of a periodic block."""
    n, width = xr.shape
    for k in range(width):
        weight = cyclic[n, 0, k]
        one = 1.0 + cyclic[0, 0, k] + weight * cyclic[n - 1, 0, k]
        other = cyclic[0, 1, k] + weight * cyclic[n - 1, 1, k]
        along = complex(xr[0, k] + weight * xr[n - 1, k], xi[0, k] + weight * xi[n - 1, k])
        s = along / complex(one, other)
        for i in range(n):
            q = complex(cyclic[i, 0, k], cyclic[i, 1, k]) * s
            xr[i, k] -= q.real
            xi[i, k] -= q.imag


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def solve_lines(packed, cyclic, u, residue, axis):  # type: ignore[no-untyped-def]
    """u <- 2 Re(residue (τA - pole)^-1 u) in place along ``axis`` of the 2-D field u.

    Lines go through in blocks that fit the cache; within a block the lines are SIMD lanes.
    """
    blocks, n, _, width = packed.shape
    lines = u.shape[1 - axis]
    cr, ci = -2 * residue.real, -2 * residue.imag
    xr = np.zeros((n, width))
    xi = np.zeros((n, width))
    for block in range(blocks):
        start = block * width
        used = min(width, lines - start)
        xi[:] = 0.0
        if axis == 0:
            for i in range(n):
                xr[i, :used] = u[i, start : start + used]
        else:
            for k in range(used):
                for i in range(n):
                    xr[i, k] = u[start + k, i]
        _solve_block(packed[block], xr, xi)
        if cyclic.shape[0] > 0:
            _wrap_block(cyclic[block], xr, xi)
        for i in range(n):
            for k in range(width):
                xr[i, k] = cr * xr[i, k] - ci * xi[i, k]
        if axis == 0:
            for i in range(n):
                u[i, start : start + used] = xr[i, :used]
        else:
            for k in range(used):
                for i in range(n):
                    u[start + k, i] = xr[i, k]
