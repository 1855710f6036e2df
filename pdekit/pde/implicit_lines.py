"""Compiled backward Euler steps of a density along lines, for rates that change at every step.

The elimination of ``tridiagonal``: pivots from rates and shift alone, so that columns sum to zero
in floating point. Real shifts, and one line after another: where the rates are new at each step
there is nothing to keep for the next one.
"""

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# The two-point flux errs by h² β/12 (U'G' - U''G) + h² G''/12, G the flux itself. A factor
# 1 + BEND h² β U'' on each face keeps all that the flux keeps, and makes the decay of the mean in a
# harmonic well right to this order at 1/6, of the variance at 1/4; without it a transient is six
# and five times less accurate than with 1/5.
BEND = 1 / 5


def fitted_plain(U: Array, beta: float, grid: Any) -> Any:
    """The generator of these rates from the unbent one, in one or two dimensions (reference)."""
    from pdekit.pde.generators import Generator, scharfetter_gummel

    made = scharfetter_gummel(U, beta, grid)
    up, down = [], []
    for axis, seam in enumerate(grid.periodic):
        bend = beta / 2 * (np.roll(U, -2, axis) - np.roll(U, -1, axis) - U + np.roll(U, 1, axis))
        if not seam:
            bend = np.take(bend, range(U.shape[axis] - 1), axis)
            rim = np.moveaxis(bend, axis, 0)
            rim[0] = rim[-1] = 0.0
        factor = 1 + BEND * np.clip(bend, -1, 1)
        up.append(made.up[axis] * factor)
        down.append(made.down[axis] * factor)
    return Generator(grid, tuple(up), tuple(down))


def euler_lines_plain(U: Array, beta: float, h: float, dt: float, seam: bool, rho: Array) -> Array:
    """(1 - dt L^T)^-1 rho along the last axis by a dense matrix (reference)."""
    from pdekit.grid import Grid

    out = []
    for values, line in zip(U, rho, strict=True):
        grid = Grid(0.0, h * line.size, line.size, periodic=seam)
        matrix = fitted_plain(values, beta, grid).matrix().toarray()
        out.append(np.linalg.solve(np.eye(line.size) - dt * matrix.T, line))
    return np.array(out)


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
    if beta * steepest < 0.5:  # apart, because it is a loop of vector instructions
        for i in range(1, n - 2):
            w = beta * (U[i + 1] - U[i])
            bend = beta / 2 * ((U[i + 2] - U[i + 1]) - (U[i] - U[i - 1]))
            c = r * (1 + BEND * min(max(bend, -1.0), 1.0))
            even = _even(w * w)
            up[i], down[i] = c * (even - w / 2), c * (even + w / 2)
        start = n - 2
    for k in range(start, stop + (1 if start else 0)):
        i = k if k < stop else 0
        w = beta * (U[(i + 1) % n] - U[i])
        bend = 0.0
        if seam or (i > 0 and i < n - 2):
            bend = beta / 2 * ((U[(i + 2) % n] - U[(i + 1) % n]) - (U[i] - U[i - 1]))
        c = r * (1 + BEND * min(max(bend, -1.0), 1.0))
        if abs(w) < 0.5:
            even = _even(w * w)
            up[i], down[i] = c * (even - w / 2), c * (even + w / 2)
        else:
            up[i], down[i] = c * w / np.expm1(w), c * -w / np.expm1(-w)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _solve(up, down, n, s, inv, b, x):  # type: ignore[no-untyped-def]
    """x = (1 - L^T)^-1 b on n cells for rates times dt; ``s`` is one and what cell 0 leaks down.

    The last cell leaks with its rate up.
    """
    carried = 0.0
    for i in range(n):
        inv[i] = 1.0 / (s + up[i])
        s = 1.0 + down[i] * s * inv[i]
        x[i] = (b[i] + carried) * inv[i]
        carried = up[i] * x[i]
    for i in range(n - 2, -1, -1):
        x[i] += down[i] * inv[i] * x[i + 1]


@nb.njit(cache=True, error_model="numpy")
def _euler_line(U, beta, r, seam, rho, up, down, inv, z, out):  # type: ignore[no-untyped-def]
    """One line; round the circle the last cell is a border, whose share in the rest is z."""
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
    # columns sum to one: what leaves the last cell less what comes back at once is 1 + sum of z
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

    Up to a constant; the mean is all that is needed of rho.
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
