"""Compiled backward Euler steps of a density along lines, for rates that change at every step.

The elimination of ``tridiagonal``: pivots from rates and shift alone, so that columns sum to zero
in floating point. Real shifts, and one line after another: where the rates are new at each step
nothing can be reused.
"""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)

# The two-point flux errs by h² β/12 (U'G' - U''G) + h² G''/12, G the flux itself. A factor
# 1 + BEND h² β U'' on each face preserves all invariants, and makes the decay of the mean in a
# harmonic well right to this order at 1/6, of the variance at 1/4; without it a transient is six
# and five times less accurate than with 1/5.
BEND = 1 / 5
# Where beta h² U'' is large it is limited to one by a C³ function: with a corner in
# time, two orders of extrapolation could agree on a wrong density.
_SPAN = 35 / 16


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"}, inline="always")
def _saturated(b):  # type: ignore[no-untyped-def]
    """The integral of (1 - b²/_SPAN²)³, b - 0.2 b³ + ..., constant from 1 at _SPAN on."""
    s = min(max(b, -_SPAN), _SPAN)
    q = s * s / (_SPAN * _SPAN)
    return s * (1 - q * (1 - q * (3 / 5 - q / 7)))


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"}, inline="always")
def _even(q):  # type: ignore[no-untyped-def]
    """w / (e^w - 1) + w / 2 for q = w² < 1/4: the Bernoulli numbers to w^12, which leaves 8e-16."""
    tail = 1 / 30240 - q * (1 / 1209600 - q * (1 / 47900160 - q * (691 / 1307674368000)))
    return 1 + q * (1 / 12 - q * (1 / 720 - q * tail))


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _rates(U, beta, r, seam, up, down):  # type: ignore[no-untyped-def]
    """r c B(±w), w = beta (U_{i+1} - U_i); the last entry crosses the seam of a periodic axis.

    The factor c = 1 + BEND beta h² U'' belongs to the face, so both directions have it.
    """
    n = U.size
    steepest = 0.0
    for i in range(n - 1):
        steepest = max(steepest, abs(U[i + 1] - U[i]))
    start, stop = 0, n if seam else n - 1
    if beta * steepest < 0.5:  # separate, so that the loop is vectorised
        for i in range(1, n - 2):
            w = beta * (U[i + 1] - U[i])
            bend = beta / 2 * ((U[i + 2] - U[i + 1]) - (U[i] - U[i - 1]))
            c = r * (1 + BEND * _saturated(bend))
            even = _even(w * w)
            up[i], down[i] = c * (even - w / 2), c * (even + w / 2)
        start = n - 2
    for k in range(start, stop + (1 if start else 0)):
        i = k if k < stop else 0
        w = beta * (U[(i + 1) % n] - U[i])
        bend = 0.0
        if seam or (i > 0 and i < n - 2):
            bend = beta / 2 * ((U[(i + 2) % n] - U[(i + 1) % n]) - (U[i] - U[i - 1]))
        c = r * (1 + BEND * _saturated(bend))
        if abs(w) < 0.5:
            even = _even(w * w)
            up[i], down[i] = c * (even - w / 2), c * (even + w / 2)
        else:
            up[i], down[i] = c * w / np.expm1(w), c * -w / np.expm1(-w)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _solve(up, down, n, s, inv, b, x):  # type: ignore[no-untyped-def]
    """x = (1 - L^T)^-1 b on n cells for rates times dt; ``s`` is one plus the loss rate of

    cell 0. The last cell loses with its rate up.
    """
    inflow = 0.0
    for i in range(n):
        inv[i] = 1.0 / (s + up[i])
        s = 1.0 + down[i] * s * inv[i]
        x[i] = (b[i] + inflow) * inv[i]
        inflow = up[i] * x[i]
    for i in range(n - 2, -1, -1):
        x[i] += down[i] * inv[i] * x[i + 1]


@nb.njit(cache=True, error_model="numpy")
def _euler_line(U, beta, r, seam, rho, up, down, inv, z, out):  # type: ignore[no-untyped-def]
    """One line; on a circle the last cell borders the system, z its share in the others."""
    n = rho.size
    _rates(U, beta, r, seam, up, down)
    if not seam:
        up[n - 1] = 0.0
        _solve(up, down, n, 1.0, inv, rho, out)
        return
    last = n - 1
    out[:] = 0.0
    out[0], out[last - 1] = up[last], down[last - 1]
    _solve(up, down, last, 1.0 + down[last], inv, out, z)
    _solve(up, down, last, 1.0 + down[last], inv, rho, out)
    into = rho[last] + up[last - 1] * out[last - 1] + down[last] * out[0]
    # columns sum to one: the outflow of the last cell minus immediate returns is 1 + sum of z
    out[last] = into / (1.0 + z[:last].sum())
    for i in range(last):
        out[i] += z[i] * out[last]


@nb.njit(cache=True, error_model="numpy")
def euler_lines(U, beta, h, dt, seam, rho, out):  # type: ignore[no-untyped-def]
    """out = (1 - dt L^T)^-1 rho along the last axis, L the fitted generator of U; all positive.

    ``seam``: whether the axis is periodic.
    """
    lines, n = rho.shape
    up, down, inv, z = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    r = dt / (beta * h * h)
    for k in range(lines):
        _euler_line(U[k], beta, r, seam, rho[k], up, down, inv, z, out[k])


@nb.njit(cache=True, error_model="numpy")
def curie_weiss_steps(V, x, strength, beta, h, dt, count, rho):  # type: ignore[no-untyped-def]
    """``count`` steps on a line with walls, U = V + strength ∫|x - y|² rho(dy) / 2 before each.

    Up to a constant; only the mean of rho is needed.
    """
    n = rho.size
    up, down, inv, U = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    now, new = rho.copy(), np.empty(n)
    r = dt / (beta * h * h)
    for _ in range(count):
        mass, moment = 0.0, 0.0
        for i in range(n):
            mass += now[i]
            moment += x[i] * now[i]
        a, b = strength * h * mass / 2, strength * h * moment
        for i in range(n):
            U[i] = V[i] + x[i] * (a * x[i] - b)
        _euler_line(U, beta, r, False, now, up, down, inv, U, new)
        now, new = new, now
    return now


_LANES = 4
_BLOCK = 64


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _gentle_rates(w, c, r, up, down):  # type: ignore[no-untyped-def]
    """Rates r c B(±w) where |w| < 1/2: a loop of vector instructions."""
    for i in range(w.size):
        even, rc = _even(w[i] * w[i]), r * c[i]
        up[i], down[i] = rc * (even - w[i] / 2), rc * (even + w[i] / 2)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _lane_rates(slopes, c, push, r, beta, w, up, down):  # type: ignore[no-untyped-def]
    """Rates of one lane where U differs by ``slopes[i] - push`` over face i, block by block.

    c has the factor of every face, zero behind the last cell.
    """
    n = slopes.size
    for i in range(n):
        w[i] = beta * (slopes[i] - push)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        steepest = 0.0
        for i in range(start, stop):
            steepest = max(steepest, abs(w[i]))
        if steepest < 0.5:
            _gentle_rates(w[start:stop], c[start:stop], r, up[start:stop], down[start:stop])
        else:
            for i in range(start, stop):
                v, rc = w[i], r * c[i]
                if abs(v) < 0.5:
                    up[i], down[i] = rc * (_even(v * v) - v / 2), rc * (_even(v * v) + v / 2)
                else:
                    up[i], down[i] = rc * v / np.expm1(v), rc * -v / np.expm1(-v)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _solve_lanes(up, down, now):  # type: ignore[no-untyped-def]
    """(1 - L^T)^-1 of four lines in place, with interleaved chains of divisions."""
    n = now.shape[1]
    s0 = s1 = s2 = s3 = 1.0
    k0 = k1 = k2 = k3 = 0.0
    for i in range(n):
        i0, i1 = 1.0 / (s0 + up[0, i]), 1.0 / (s1 + up[1, i])
        i2, i3 = 1.0 / (s2 + up[2, i]), 1.0 / (s3 + up[3, i])
        q0, q1, q2, q3 = down[0, i] * i0, down[1, i] * i1, down[2, i] * i2, down[3, i] * i3
        y0, y1 = (now[0, i] + k0) * i0, (now[1, i] + k1) * i1
        y2, y3 = (now[2, i] + k2) * i2, (now[3, i] + k3) * i3
        s0, s1, s2, s3 = 1.0 + q0 * s0, 1.0 + q1 * s1, 1.0 + q2 * s2, 1.0 + q3 * s3
        k0, k1, k2, k3 = up[0, i] * y0, up[1, i] * y1, up[2, i] * y2, up[3, i] * y3
        now[0, i], now[1, i], now[2, i], now[3, i] = y0, y1, y2, y3
        down[0, i], down[1, i], down[2, i], down[3, i] = q0, q1, q2, q3
    y0 = y1 = y2 = y3 = 0.0
    for i in range(n - 1, -1, -1):
        y0, y1 = now[0, i] + down[0, i] * y0, now[1, i] + down[1, i] * y1
        y2, y3 = now[2, i] + down[2, i] * y2, now[3, i] + down[3, i] * y3
        now[0, i], now[1, i], now[2, i], now[3, i] = y0, y1, y2, y3


@nb.njit(cache=True, error_model="numpy")
def curie_weiss_rows(V, x, strength, beta, h, dt, order, rho):  # type: ignore[no-untyped-def]
    """rho after dt in 1, 2, ..., ``order`` <= 7 steps on a line with walls, a row for each.

    As ``curie_weiss_steps``, four rows at a time: rows of k and ``order`` - k steps follow one
    another in a lane, so that every lane takes ``order`` steps.
    """
    n = rho.size
    rows = np.empty((order, n))
    slopes, c = np.zeros(n), np.ones(n)
    a = strength * h * rho.sum() / 2
    for i in range(n - 1):
        slopes[i] = V[i + 1] - V[i] + (x[i + 1] - x[i]) * a * (x[i + 1] + x[i])
    for i in range(1, n - 2):
        c[i] = 1 + BEND * _saturated(beta / 2 * (slopes[i + 1] - slopes[i - 1]))
    c[n - 1] = 0.0
    now, up, down = np.empty((_LANES, n)), np.empty((_LANES, n)), np.empty((_LANES, n))
    w, count, done = np.empty(n), np.empty(_LANES, np.int64), np.zeros(_LANES, np.int64)
    for p in range(_LANES):
        count[p] = max(order - p, 1)
        now[p] = rho
    for _ in range(order):
        for p in range(_LANES):
            push = strength * h * h * np.dot(x, now[p])
            r = dt / count[p] / (beta * h * h)
            _lane_rates(slopes, c, push, r, beta, w, up[p], down[p])
        _solve_lanes(up, down, now)
        for p in range(_LANES):
            done[p] += 1
            if done[p] == count[p]:
                rows[count[p] - 1] = now[p]
                done[p], count[p] = 0, max(order - count[p], 1)
                now[p] = rho
    return rows


@nb.njit(cache=True, error_model="numpy")
def rate_lines(U, beta, h, seam, rho, out):  # type: ignore[no-untyped-def]
    """out = L^T rho along the last axis, of the generator of ``euler_lines``."""
    lines, n = rho.shape
    up, down = np.empty(n), np.empty(n)
    faces = n if seam else n - 1
    for k in range(lines):
        _rates(U[k], beta, 1 / (beta * h * h), seam, up, down)
        out[k] = 0.0
        for i in range(faces):
            j = (i + 1) % n
            flux = up[i] * rho[k, i] - down[i] * rho[k, j]
            out[k, i] -= flux
            out[k, j] += flux
