"""Compiled kernels for (1 - tau L)^-1 along lines and for 1 - tau L in the plane.

Fields are ``(n, lines)``: lines run along the first axis, as SIMD lanes. Rates
are ``up`` from cell i to i + 1 and ``down`` back, with n - 1 rows, or n where the last one crosses
the seam of a periodic axis. Pivots are sums of rates and of one, never differences (Grassmann,
Taksar and Heyman), so that constants and mass are kept to rounding.
"""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)

_FAST = {"contract", "nsz", "arcp"}


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def pivots(up, down, tau, seam, inverse):  # type: ignore[no-untyped-def]
    """Inverse pivots of 1 - tau L and its transpose; on a circle for all cells but the last."""
    n, lines = inverse.shape
    excess = np.ones(lines)
    if seam:  # the first cell also leaks to the last
        excess += tau * down[n - 1]
    for i in range(n - 1):
        for k in range(lines):
            one = 1.0 / (excess[k] + tau * up[i, k])
            inverse[i, k] = one
            excess[k] = 1.0 + tau * down[i, k] * excess[k] * one
    if not seam:
        for k in range(lines):
            inverse[n - 1, k] = 1.0 / excess[k]


@nb.njit(cache=True, error_model="numpy", fastmath=_FAST)
def sweep(up, down, inverse, tau, forward, n, b, x):  # type: ignore[no-untyped-def]
    """x = (1 - tau L)^-1 b on the first n cells, or with L^T."""
    into, coming = (up, down) if forward else (down, up)
    lines = b.shape[1]
    for k in range(lines):
        x[0, k] = b[0, k] * inverse[0, k]
    for i in range(1, n):
        for k in range(lines):
            x[i, k] = (b[i, k] + tau * into[i - 1, k] * x[i - 1, k]) * inverse[i, k]
    for i in range(n - 2, -1, -1):
        for k in range(lines):
            x[i, k] += tau * coming[i, k] * inverse[i, k] * x[i + 1, k]


@nb.njit(cache=True, error_model="numpy")
def border(up, down, inverse, tau, forward, share, pivot):  # type: ignore[no-untyped-def]
    """On a circle: the contribution of the last cell to the others, and its pivot."""
    n, lines = inverse.shape
    last = n - 1
    into, coming = (up, down) if forward else (down, up)
    b = np.zeros((last, lines))
    b[0] += tau * into[last]
    b[last - 1] += tau * coming[last - 1]
    sweep(up, down, inverse, tau, forward, last, b, share)
    if forward:  # columns sum to one: the outflow of the last cell minus immediate returns
        for k in range(lines):
            pivot[k] = 1.0 + share[:last, k].sum()
        return
    rest = np.empty((last, lines))  # rows sum to one: this is 1 - share
    sweep(up, down, inverse, tau, forward, last, np.ones((last, lines)), rest)
    for k in range(lines):
        pivot[k] = 1.0 + tau * (up[last, k] * rest[0, k] + down[last - 1, k] * rest[last - 1, k])


@nb.njit(cache=True, error_model="numpy")
def circle(up, down, inverse, tau, forward, share, pivot, b, x):  # type: ignore[no-untyped-def]
    """The same as ``sweep`` for a periodic axis, with ``share`` and ``pivot`` of ``border``."""
    n, lines = b.shape
    last = n - 1
    sweep(up, down, inverse, tau, forward, last, b, x)
    into, coming = (up, down) if forward else (down, up)
    for k in range(lines):
        arrives = tau * (into[last - 1, k] * x[last - 1, k] + coming[last, k] * x[0, k])
        x[last, k] = (b[last, k] + arrives) / pivot[k]
    for i in range(last):
        for k in range(lines):
            x[i, k] += share[i, k] * x[last, k]


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def backward(up0, down0, up1, down1, tau, x, out):  # type: ignore[no-untyped-def]
    """out = (1 - tau L) x in the plane; rates along either axis in its own shape."""
    rows, columns = x.shape
    out[:] = x
    for i in range(up0.shape[0]):
        j = i + 1 if i + 1 < rows else 0
        for k in range(columns):
            jump = tau * (x[j, k] - x[i, k])
            out[i, k] -= up0[i, k] * jump
            out[j, k] += down0[i, k] * jump
    for i in range(rows):
        for k in range(columns - 1):
            out[i, k] -= up1[i, k] * tau * (x[i, k + 1] - x[i, k])
        for k in range(columns - 1):
            out[i, k + 1] += down1[i, k] * tau * (x[i, k + 1] - x[i, k])
        if up1.shape[1] == columns:
            jump = tau * (x[i, 0] - x[i, columns - 1])
            out[i, columns - 1] -= up1[i, columns - 1] * jump
            out[i, 0] += down1[i, columns - 1] * jump


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def forward(up0, down0, up1, down1, tau, x, out):  # type: ignore[no-untyped-def]
    """out = (1 - tau L^T) x in the plane."""
    rows, columns = x.shape
    out[:] = x
    for i in range(up0.shape[0]):
        j = i + 1 if i + 1 < rows else 0
        for k in range(columns):
            flux = tau * (up0[i, k] * x[i, k] - down0[i, k] * x[j, k])
            out[i, k] += flux
            out[j, k] -= flux
    for i in range(rows):
        for k in range(columns - 1):
            out[i, k] += tau * (up1[i, k] * x[i, k] - down1[i, k] * x[i, k + 1])
        for k in range(columns - 1):
            out[i, k + 1] -= tau * (up1[i, k] * x[i, k] - down1[i, k] * x[i, k + 1])
        if up1.shape[1] == columns:
            last = columns - 1
            flux = tau * (up1[i, last] * x[i, last] - down1[i, last] * x[i, 0])
            out[i, last] += flux
            out[i, 0] -= flux
