"""Two-layer networks under one-pass SGD, many at once, in the scaling of the mean field.

g(x) = N⁻¹ Σ c_i σ(w_i·x); one step on a sample (x, y) of the squared loss (y - g)²/2 at rate 1/N,
with N times the slope of every neuron (Sirignano and Spiliopoulos 2020):

    c_i ← c_i + N⁻¹ (y - g(x)) σ(w_i·x),    w_i ← w_i + N⁻¹ (y - g(x)) c_i σ'(w_i·x) x.

Time is the number of steps over N.
"""

from math import exp
from typing import Any

import numba as nb
import numpy as np


@nb.njit
def linear(z: float) -> tuple[float, float]:
    """σ(z) = z and its derivative."""
    return z, 1.0


@nb.njit
def sigmoid(z: float) -> tuple[float, float]:
    """σ(z) = 1/(1 + e^-z) and its derivative."""
    s = 1 / (1 + exp(-z))
    return s, s * (1 - s)


@nb.njit(fastmath=True)
def advance(activation: Any, c: np.ndarray, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Move c ``(runs, N)`` and w ``(runs, dim, N)`` in place by one step a sample.

    x ``(runs, steps, dim)`` and y ``(runs, steps)`` are the samples of each run.
    """
    runs, steps, dim = x.shape
    n = c.shape[1]
    for run in range(runs):
        z, s, slope = np.empty(n), np.empty(n), np.empty(n)
        a, b = c[run], w[run]
        for k in range(steps):
            z[:] = 0.0
            for j in range(dim):
                for i in range(n):
                    z[i] += x[run, k, j] * b[j, i]
            g = 0.0
            for i in range(n):
                s[i], slope[i] = activation(z[i])
                g += a[i] * s[i]
            step = (y[run, k] - g / n) / n
            for i in range(n):
                slope[i] *= step * a[i]
                a[i] += step * s[i]
            for j in range(dim):
                for i in range(n):
                    b[j, i] += slope[i] * x[run, k, j]
