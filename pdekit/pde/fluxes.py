"""Numerical Hamiltonians: H(p_minus, p_plus), nondecreasing in the first, nonincreasing second."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def godunov(p_minus: Array, p_plus: Array) -> Array:
    """Godunov's Hamiltonian of |p|^2 / 2: max(max(p_minus, 0)^2, min(p_plus, 0)^2) / 2.

    ``p_minus``, ``p_plus`` are the backward and forward difference quotients (MODEL 1.3).
    Consistent, monotone, and the least diffusive monotone choice.
    """
    rising = np.maximum(p_minus, 0.0)
    falling = np.minimum(p_plus, 0.0)
    out: Array = 0.5 * np.maximum(rising * rising, falling * falling)
    return out


def one_sided(u: Array, axis: int, h: float, periodic: bool) -> tuple[Array, Array]:
    """Backward and forward difference quotients; at a no-flux wall the outer one is zero."""
    step = np.diff(u, axis=axis) / h
    seam_shape = list(u.shape)
    seam_shape[axis] = 1
    if periodic:
        seam = (np.take(u, [0], axis) - np.take(u, [-1], axis)) / h
    else:
        seam = np.zeros(seam_shape)
    return np.concatenate([seam, step], axis), np.concatenate([step, seam], axis)
