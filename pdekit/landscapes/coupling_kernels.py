"""Compiled tables of the couplings of products of spins."""

import numba
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.arrays import Array


@numba.njit(cache=True, nogil=True)
def fill_table(out: Array, taken: Array, others: Array, couplings: Array, binomials: Array) -> None:
    """``out[t, m]``: the derivative of the coupled products by the spins ``taken[t]``, at m.

    The product α = m + taken has √(p!/α!) ``couplings[rank(α)]``, and ∂_i σ^α = α_i σ^(α - e_i).
    ``binomials[a, k]`` is C(a, k).
    """
    order, rest = taken.shape[1], others.shape[1]
    p = order + rest
    for t in range(len(taken)):
        alpha = np.empty(p, np.int64)
        for m in range(len(others)):
            alpha[:rest] = others[m]
            power = 1
            for k in range(order):
                power *= _insert(alpha, rest + k, taken[t, k])
            rank, run, repeats, factorial = 0, 1, 1, 1
            for k in range(p):
                rank += binomials[alpha[k] + k, k + 1]
                run = run + 1 if k and alpha[k] == alpha[k - 1] else 1
                repeats *= run
                factorial *= k + 1
            out[t, m] = power * np.sqrt(factorial / repeats) * couplings[rank]


@numba.njit(cache=True)
def _insert(alpha: Array, length: int, spin: int) -> int:
    """Insert a spin into a nondecreasing row; how often the row then has it."""
    k = length
    while k and alpha[k - 1] > spin:
        alpha[k] = alpha[k - 1]
        k -= 1
    alpha[k] = spin
    times = 1
    while k and alpha[k - 1] == spin:
        k -= 1
        times += 1
    return times
