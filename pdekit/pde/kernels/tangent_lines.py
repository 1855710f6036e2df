"""The exponential of a generator on a line and its derivatives along changes of its rates."""

import numba as nb
import numpy as np


@nb.njit(cache=True, error_model="numpy")
def rational_tangents(up, down, kill, changes, u, poles, residues, out):  # type: ignore[no-untyped-def]
    """out[0] = Σ_k c_k (A - z_k)^-1 u, out[1 + j] its derivative as the rates change by changes[j].

    A moves densities; rates ``up`` (n - 1) to the next cell, ``down`` back, ``kill`` (n), all times
    the time; ``changes`` (j, 3, n) of the same, the last entries of the first two unused. Poles of
    the upper half plane, residues twice: (A - z)^-1 changes by -(A - z)^-1 A' (A - z)^-1. Pivots
    from rates and shift alone, as in ``tridiagonal``.
    """
    n = u.size
    inverse, x = np.empty(n, np.complex128), np.empty(n, np.complex128)
    b = np.empty(n, np.complex128)
    out[:] = 0.0
    for k in range(poles.size):
        z, c = poles[k], residues[k]
        excess = 0j
        for i in range(n):
            s = z + kill[i] + (down[i - 1] * excess if i > 0 else 0j)
            inverse[i] = 1.0 / (s + (up[i] if i < n - 1 else 0.0))
            excess = s * inverse[i]
        b[:] = u
        _solved(up, down, inverse, b, x)  # (z - A)^-1 u
        for i in range(n):
            out[0, i] -= (c * x[i]).real
        for j in range(changes.shape[0]):
            flux = 0j
            for i in range(n):
                b[i] = flux - changes[j, 2, i] * x[i]
                flux = changes[j, 0, i] * x[i] - changes[j, 1, i] * x[i + 1] if i < n - 1 else 0j
                b[i] -= flux
            _solved(up, down, inverse, b, b)
            for i in range(n):
                out[1 + j, i] -= (c * b[i]).real


@nb.njit(cache=True, error_model="numpy", inline="always")
def _solved(up, down, inverse, b, x):  # type: ignore[no-untyped-def]
    n = b.size
    x[0] = b[0] * inverse[0]
    for i in range(1, n):
        x[i] = (b[i] + up[i - 1] * x[i - 1]) * inverse[i]
    for i in range(n - 2, -1, -1):
        x[i] += down[i] * inverse[i] * x[i + 1]
