"""Compiled backward Euler steps of a density along lines, for rates that change at every step.

The elimination of ``tridiagonal``: pivots from rates and shift alone, so that columns sum to zero
in floating point. Real shifts, and one line after another: where the rates are new at each step
there is nothing to keep for the next one.
"""

import numba as nb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def euler_lines_plain(U: Array, beta: float, h: float, dt: float, seam: bool, rho: Array) -> Array:
    """(1 - dt L^T)^-1 rho along the last axis by the generator's own dense matrix (reference)."""
    from pdekit.grid import Grid
    from pdekit.pde.generators import scharfetter_gummel

    out = []
    for values, line in zip(U, rho, strict=True):
        grid = Grid(0.0, h * line.size, line.size, periodic=seam)
        matrix = scharfetter_gummel(values, beta, grid).matrix().toarray()
        out.append(np.linalg.solve(np.eye(line.size) - dt * matrix.T, line))
    return np.array(out)


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"}, inline="always")
def _even(q):  # type: ignore[no-untyped-def]
    """w / (e^w - 1) + w / 2 for q = w² < 1/4: the Bernoulli numbers to w^12, which leaves 8e-16."""
    tail = 1 / 30240 - q * (1 / 1209600 - q * (1 / 47900160 - q * (691 / 1307674368000)))
    return 1 + q * (1 / 12 - q * (1 / 720 - q * tail))


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _rates(U, beta, r, up, down):  # type: ignore[no-untyped-def]
    """r B(±w), w = beta (U_{i+1} - U_i); the last entry crosses the seam of a periodic axis."""
    n = U.size
    steepest = 0.0
    for i in range(n - 1):
        steepest = max(steepest, abs(U[i + 1] - U[i]))
    start = 0
    if beta * steepest < 0.5:  # apart, because it is a loop of vector instructions
        start = n - 1
        for i in range(start):
            w = beta * (U[i + 1] - U[i])
            even = _even(w * w)
            up[i], down[i] = r * (even - w / 2), r * (even + w / 2)
    for i in range(start, n):
        w = beta * (U[(i + 1) % n] - U[i])
        if abs(w) < 0.5:
            even = _even(w * w)
            up[i], down[i] = r * (even - w / 2), r * (even + w / 2)
        else:
            up[i], down[i] = r * w / np.expm1(w), r * -w / np.expm1(-w)


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
    _rates(U, beta, r, up, down)
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
    leaving = 1.0 + up[last] + down[last - 1]
    out[last] = into / (leaving - up[last - 1] * z[last - 1] - down[last] * z[0])
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
