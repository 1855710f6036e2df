"""Upwind steps of rho_t = -∂(v rho) along lines of cells; ``pde.references`` has the plain form."""

import numba as nb
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)


@nb.njit(cache=True, error_model="numpy")
def _slope(a, b):  # type: ignore[no-untyped-def]
    """Van Leer's monotonised central slope of the differences to both sides (per cell)."""
    if a * b <= 0.0:
        return 0.0
    size = min(2.0 * min(abs(a), abs(b)), 0.5 * abs(a + b))
    return size if a > 0.0 else -size


@nb.njit(cache=True, error_model="numpy")
def _fluxes(rho, v, periodic, linear, flux):  # type: ignore[no-untyped-def]
    """v rho at the faces of a line, rho of the cell it comes from."""
    n = rho.size
    before = 0.0
    if periodic:
        before = rho[0] - rho[n - 1]
    first = before
    flux[0] = 0.0
    for i in range(n):
        after = 0.0
        if i + 1 < n:
            after = rho[i + 1] - rho[i]
        elif periodic:
            after = first
        half = 0.5 * _slope(before, after) if linear else 0.0
        if v[i] < 0.0:
            flux[i] = v[i] * (rho[i] - half)
        if i + 1 <= n:
            flux[i + 1] = v[i + 1] * (rho[i] + half) if v[i + 1] > 0.0 else 0.0
        before = after
    if periodic:  # the same face: what either of its sides sends
        flux[0] += flux[n]
        flux[n] = flux[0]


@nb.njit(cache=True, error_model="numpy")
def advect(rho, v, ratio, periodic, linear, parts, out):  # type: ignore[no-untyped-def]
    """out -= ratio (flux_above - flux_below) on every row, ratio = dt / h.

    A cell sends no more than rho / ``parts``, the number of axes, so that nothing turns negative
    whatever the step. ``v`` (rows, n + 1) at the faces, zero at walls; ``linear``: slopes within
    the cells.
    """
    rows, n = rho.shape
    flux, kept = np.empty(n + 1), np.empty(n)
    for r in range(rows):
        here = rho[r]
        _fluxes(here, v[r], periodic, linear, flux)
        for i in range(n):
            sent = ratio * parts * (max(flux[i + 1], 0.0) + max(-flux[i], 0.0))
            kept[i] = here[i] / sent if sent > here[i] else 1.0
        for j in range(n + 1):
            if flux[j] > 0.0:
                flux[j] *= kept[j - 1] if j > 0 else kept[n - 1]
            elif flux[j] < 0.0:
                flux[j] *= kept[j] if j < n else kept[0]
        for i in range(n):
            out[r, i] -= ratio * (flux[i + 1] - flux[i])


@nb.njit(cache=True, error_model="numpy")
def fastest(rho, v, floor, linear):  # type: ignore[no-untyped-def]
    """The largest speed out of a cell whose density is above ``floor``: what limits the step."""
    rows, n = rho.shape
    most = 0.0
    for r in range(rows):
        for i in range(n):
            if rho[r, i] > floor:
                up, down = max(v[r, i + 1], 0.0), max(-v[r, i], 0.0)
                most = max(most, 2.0 * max(up, down) if linear else up + down)
    return most


@nb.njit(cache=True, error_model="numpy")
def largest_change(rho, v, w, floor):  # type: ignore[no-untyped-def]
    """The largest |v - w| at the faces of such cells."""
    rows, n = rho.shape
    most = 0.0
    for r in range(rows):
        for i in range(n):
            if rho[r, i] > floor:
                most = max(most, abs(v[r, i] - w[r, i]), abs(v[r, i + 1] - w[r, i + 1]))
    return most
