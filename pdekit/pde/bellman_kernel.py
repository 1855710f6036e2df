"""Compiled kernels for the Bellman step along lines: the exponential of a generator, plain or tilted.

Fields come as lines ``(lines, n)``; the plain form beside them is ``bellman.PlainLines``. The plain
exponential is factored once for a step length, the tilted one anew for every value function.
"""

import numba as nb
import numpy as np

LANES = 8  # the seven pole pairs of order 14 and one idle lane
_IR, _II, _XR, _XI = (k * LANES for k in range(4))
ROW = 4 * LANES


@nb.njit(cache=True, error_model="numpy")
def tilt(up, down, u, beta, rates):  # type: ignore[no-untyped-def]
    """rates[l] = (up e, down / e, kill) of exp(beta u / 2) L exp(-beta u / 2) on every line.

    e = exp(-beta (u_{i+1} - u_i) / 2); kill is what the tilted rates lack against those of L.
    """
    lines, n = u.shape
    for line in range(lines):
        rates[line, 2, :] = 0.0
        for i in range(n - 1):
            e = np.exp(-0.5 * beta * (u[line, i + 1] - u[line, i]))
            there, back = up[line, i], down[line, i]
            rates[line, 0, i], rates[line, 1, i] = there * e, back / e
            rates[line, 2, i] += there - there * e
            rates[line, 2, i + 1] += back - back / e


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _sweep(to_next, to_previous, into_next, into_previous, kill, b, tau, poles, work, out):  # type: ignore[no-untyped-def]
    """out = sum_p Re(c_p (z_p - tau A)^-1 b) on one line; pivots from rates and excess (GTH)."""
    n = b.size
    zr, zi, cr, ci = poles[0], poles[1], poles[2], poles[3]
    excess = np.zeros((2, LANES))
    for i in range(n):
        leave = tau * to_next[i] if i < n - 1 else 0.0
        back = tau * to_previous[i - 1] if i > 0 else 0.0
        arrive = tau * into_next[i - 1] if i > 0 else 0.0
        above = tau * into_previous[i] if i < n - 1 else 0.0
        shift, r, j = tau * kill[i], b[i], max(i - 1, 0)
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


@nb.njit(cache=True, error_model="numpy")
def exponential(rates, b, tau, forward, poles, work, out):  # type: ignore[no-untyped-def]
    """out = exp(tau A) b on every line, A the tilted generator or (``forward``) its transpose."""
    work[0] = 0.0  # read, times zero, before it is written: must not hold a NaN
    for line in range(b.shape[0]):
        up, down, kill = rates[line, 0], rates[line, 1], rates[line, 2]
        if forward:
            _sweep(up, down, up, down, kill, b[line], tau, poles, work, out[line])
        else:
            _sweep(up, down, down, up, kill, b[line], tau, poles, work, out[line])


@nb.njit(cache=True, error_model="numpy")
def factor(up, down, tau, poles):  # type: ignore[no-untyped-def]
    """Inverse pivots of z_p - tau L for every line and pole, and room for the solves.

    Shape (lines, (n + 2) ROW): a row per cell and one beyond each end, in it the inverse and the
    unknown. Only at constant offsets in one array does the compiler see that the groups do not
    overlap, and use vector instructions.
    """
    lines, n = up.shape[0], up.shape[1] + 1
    out = np.zeros((lines, (n + 2) * ROW))
    for line in range(lines):
        for p in range(LANES):
            z = complex(poles[0, p], poles[1, p])
            excess = 0j
            for i in range(n):
                s = z + (tau * down[line, i - 1] * excess if i > 0 else 0j)
                one = 1.0 / (s + (tau * up[line, i] if i < n - 1 else 0.0))
                excess = s * one
                out[line, (i + 1) * ROW + _IR + p] = one.real
                out[line, (i + 1) * ROW + _II + p] = one.imag
    return out


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _down(w, rate, r):  # type: ignore[no-untyped-def]
    """One cell of the forward sweep; ``w`` has the rows of the previous and this cell."""
    for p in range(LANES):
        tr, ti = r + rate * w[_XR + p], rate * w[_XI + p]
        ir, ii = w[ROW + _IR + p], w[ROW + _II + p]
        w[ROW + _XR + p], w[ROW + _XI + p] = tr * ir - ti * ii, tr * ii + ti * ir


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _back(w, rate):  # type: ignore[no-untyped-def]
    """One cell of the backward sweep; ``w`` has the rows of this and the next cell."""
    for p in range(LANES):
        ir, ii = w[_IR + p], w[_II + p]
        br, bi = rate * w[ROW + _XR + p], rate * w[ROW + _XI + p]
        w[_XR + p] += br * ir - bi * ii
        w[_XI + p] += br * ii + bi * ir


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp", "reassoc"})
def _total(w, poles):  # type: ignore[no-untyped-def]
    out = 0.0
    for p in range(LANES):
        out += poles[2, p] * w[_XR + p] - poles[3, p] * w[_XI + p]
    return out


@nb.njit(cache=True, error_model="numpy")
def factored(room, up, down, b, tau, forward, poles, out):  # type: ignore[no-untyped-def]
    """out = exp(tau L) b on every line, or exp(tau L^T) b, with the pivots of ``factor``."""
    n = b.shape[1]
    for line in range(b.shape[0]):
        to, back = (up[line], down[line]) if forward else (down[line], up[line])
        w = room[line]
        for i in range(n):
            rate = tau * to[i - 1] if i > 0 else 0.0
            _down(w[i * ROW : (i + 2) * ROW], rate, b[line, i])
        for i in range(n - 1, -1, -1):
            rate = tau * back[i] if i < n - 1 else 0.0
            rows = w[(i + 1) * ROW : (i + 3) * ROW]
            _back(rows, rate)
            out[line, i] = _total(rows, poles)
