"""The CPU kernels of `pdekit.particles.forces`."""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_f64, _u64 = np.float64, np.uint64
BLOCK = 4096  # particles added before the sum is put away


@_compiled
def sums(x, size, out):
    """``out[r]``: sum over the first ``size`` particles of row ``r``, x ``(runs, n * dim)``.

    The order depends on ``size`` and dim alone.
    """
    dim = out.shape[1]
    halves = np.empty(BLOCK // 2 * dim + dim)
    for r in range(x.shape[0]):
        out[r] = 0.0
        for first in range(0, size, BLOCK):
            add_block(x[r, first * dim : min(first + BLOCK, size) * dim], halves, out[r])


@_compiled
def add_block(row, halves, out):
    """Add particles, in one line and no more than a block, to ``out`` (dim,): half upon half."""
    count = row.size // out.size
    count = _folded(row, halves, count, out.size)
    while count > 1:
        count = _folded(halves, halves, count, out.size)
    if row.size:
        for k in range(out.size):
            out[k] += halves[k]


@_compiled
def _folded(row, out, count, dim):
    """Add the second half of ``count`` particles to the first; how many are left."""
    left = count - count // 2
    first, second = row[: left * dim], row[left * dim : count * dim]
    for j in range(second.size):
        out[j] = _f64(first[j]) + _f64(second[j])
    for j in range(second.size, first.size):
        out[j] = first[j]
    return left


_CHUNK = 512  # particles whose forces stay in the nearest cache
_WHOLE = 1.5 * 2.0**52  # added, it rounds to a whole number and shows its last bits
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# of exp on |r| <= ln(2)/2, the rest is below 2e-16
_E2, _E3, _E4, _E5, _E6, _E7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
_E8, _E9, _E10, _E11, _E12 = 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600


@_compiled
def _exponential(t):
    """exp(t) for t <= 0 to two units in the last place, 5e-308 beyond -708; no branch."""
    t = t if t > -708.0 else -708.0
    turns = t * (1 / np.log(2)) + _WHOLE
    whole = turns - _WHOLE
    r = (t - whole * _LN2_HIGH) - whole * _LN2_LOW
    high = _E7 + r * (_E8 + r * (_E9 + r * (_E10 + r * (_E11 + r * _E12))))
    value = 1.0 + r * (1.0 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * (_E6 + r * high))))))
    return value * _u64((_f64(turns).view(_u64) + _u64(1023)) << _u64(52)).view(_f64)


@_compiled
def gaussian_sum(x, rate, out):
    """``out[k, i] = Σ_j z_k exp(-rate |z|²)``, z = x_i - x_j, for x ``(dim, n)``.

    Each i adds its j in order, so chunks do not change the bits.
    """
    dim, n = x.shape
    square, weight = np.empty(_CHUNK), np.empty(_CHUNK)
    for first in range(0, n, _CHUNK):
        m = min(_CHUNK, n - first)
        here, force = x[:, first : first + m], out[:, first : first + m]
        force[:] = 0.0
        for j in range(n):
            square[:m] = 0.0
            for k in range(dim):
                line, there = here[k], x[k, j]
                for i in range(m):
                    z = line[i] - there
                    square[i] += z * z
            for i in range(m):
                weight[i] = _exponential(-rate * square[i])
            for k in range(dim):
                line, there, total = here[k], x[k, j], force[k]
                for i in range(m):
                    total[i] += (line[i] - there) * weight[i]
