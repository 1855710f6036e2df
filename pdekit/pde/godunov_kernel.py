"""Godunov's Hamiltonian of a field in one pass; ``schemes.godunov`` has its plain form."""

import numba as nb
import numpy as np


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _across(u, i, h, periodic, p_plus, p_minus):  # type: ignore[no-untyped-def]
    """Difference quotients of row i to its neighbours in axis 0, zero through a no-flux wall."""
    rows, cols = u.shape
    below, above = i - 1, i + 1
    if periodic:
        below, above = (rows - 1 if i == 0 else below), (0 if i == rows - 1 else above)
    else:
        below, above = max(below, 0), min(above, rows - 1)
    for j in range(cols):
        p_minus[j] = (u[i, j] - u[below, j]) / h
        p_plus[j] = (u[above, j] - u[i, j]) / h


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _along(row, h, periodic, p_plus, p_minus):  # type: ignore[no-untyped-def]
    """Difference quotients of a row to its neighbours in axis 1."""
    n = row.size
    for j in range(n - 1):
        p_plus[j] = (row[j + 1] - row[j]) / h
        p_minus[j + 1] = p_plus[j]
    seam = (row[0] - row[n - 1]) / h if periodic else 0.0
    p_plus[n - 1] = seam
    p_minus[0] = seam


@nb.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def hamiltonian(u, spacing, periodic, out):  # type: ignore[no-untyped-def]
    """out = sum over the axes of Godunov's |p|^2 / 2 on a 2-D field; sum of max |p_k| / h_k.

    A line is a field of one row, whose axis 0 is passed over.
    """
    rows, cols = u.shape
    p_plus, p_minus = np.empty(cols), np.empty(cols)
    steepest = np.zeros(2)
    for i in range(rows):
        out[i, :] = 0.0
        for axis in range(2):
            if axis == 0 and rows == 1:
                continue
            if axis == 0:
                _across(u, i, spacing[0], periodic[0], p_plus, p_minus)
            else:
                _along(u[i], spacing[1], periodic[1], p_plus, p_minus)
            most = steepest[axis]
            for j in range(cols):
                rising, falling = max(p_minus[j], 0.0), min(p_plus[j], 0.0)
                out[i, j] += 0.5 * max(rising * rising, falling * falling)
                most = max(most, abs(p_minus[j]))
            steepest[axis] = most
    return steepest[0] / spacing[0] + steepest[1] / spacing[1]
