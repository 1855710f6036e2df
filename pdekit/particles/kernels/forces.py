"""The CPU kernels of `pdekit.particles.forces`."""

import numba
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.potentials.exponential import power

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_f64, _u64 = np.float64, np.uint64
BLOCK = 4096  # particles per partial sum


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
    """Add particles, in one line and no more than a block, to ``out`` (dim,): by halves."""
    count = row.size // out.size
    count = _folded(row, halves, count, out.size)
    while count > 1:
        count = _folded(halves, halves, count, out.size)
    if row.size:
        for k in range(out.size):
            out[k] += halves[k]


@_compiled
def _folded(row, out, count, dim):
    """Add the second half of ``count`` particles to the first; returns the remaining number."""
    left = count - count // 2
    first, second = row[: left * dim], row[left * dim : count * dim]
    for j in range(second.size):
        out[j] = _f64(first[j]) + _f64(second[j])
    for j in range(second.size, first.size):
        out[j] = first[j]
    return left


CHUNK = 512  # particles per chunk, whose forces fit in the L1 cache
# Fused multiply-add is used if available: half the operations. All loops of a chunk
# are complete, so that each particle has the same bits at any position.
_contracted = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_contracted
def gaussian_sum(x, rate, out):
    """``out[k, i] = Σ_j z_k exp(-rate |z|²)``, z = x_i - x_j, for x ``(dim, n)``, out in double.

    Each i adds its j in order, in the type of x, and adds every chunk of them to ``out``; so
    the bits do not depend on the other i.
    """
    dim, n = x.shape
    here, force = np.zeros((dim, CHUNK), x.dtype), np.empty((dim, CHUNK), x.dtype)
    square, weight = np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    scale = x.dtype.type(-rate / np.log(2))
    out[:] = 0.0
    for first in range(0, n, CHUNK):
        m = min(CHUNK, n - first)
        here[:, :m] = x[:, first : first + m]
        for begin in range(0, n, CHUNK):
            force[:] = 0
            there = x[:, begin : begin + CHUNK]
            if dim == 1:
                _add_line(here[0], force[0], there[0], scale)
            elif dim == 2:
                _add_plane(here[0], here[1], force[0], force[1], there[0], there[1], scale)
            else:
                _add_space(here, force, there, scale, square, weight)
            for k in range(dim):
                for i in range(m):
                    out[k, first + i] += force[k, i]


@_contracted
def _add_line(x, f, there, scale):
    pairs = there.size // 4 * 4
    for j in range(0, pairs, 4):
        a, b, c, d = there[j], there[j + 1], there[j + 2], there[j + 3]
        for i in range(CHUNK):
            z1, z2, z3, z4 = x[i] - a, x[i] - b, x[i] - c, x[i] - d
            total = f[i] + z1 * power(z1 * z1 * scale)
            total += z2 * power(z2 * z2 * scale)
            total += z3 * power(z3 * z3 * scale)
            f[i] = total + z4 * power(z4 * z4 * scale)
    for j in range(pairs, there.size):
        for i in range(CHUNK):
            z = x[i] - there[j]
            f[i] += z * power(z * z * scale)


@_contracted
def _add_plane(x, y, f, g, x_there, y_there, scale):
    pairs = x_there.size // 2 * 2
    for j in range(0, pairs, 2):
        a, b, p, q = x_there[j], x_there[j + 1], y_there[j], y_there[j + 1]
        for i in range(CHUNK):
            z1, z2, w1, w2 = x[i] - a, x[i] - b, y[i] - p, y[i] - q
            first = power((z1 * z1 + w1 * w1) * scale)
            second = power((z2 * z2 + w2 * w2) * scale)
            total, other = f[i] + z1 * first, g[i] + w1 * first
            f[i] = total + z2 * second
            g[i] = other + w2 * second
    for j in range(pairs, x_there.size):
        for i in range(CHUNK):
            z, w = x[i] - x_there[j], y[i] - y_there[j]
            weight = power((z * z + w * w) * scale)
            f[i] += z * weight
            g[i] += w * weight


@_contracted
def _add_space(here, force, there, scale, square, weight):
    for j in range(there.shape[1]):
        square[:] = 0
        for k in range(len(here)):
            line, point = here[k], there[k, j]
            for i in range(CHUNK):
                z = line[i] - point
                square[i] += z * z
        for i in range(CHUNK):
            weight[i] = power(square[i] * scale)
        for k in range(len(here)):
            line, point, total = here[k], there[k, j], force[k]
            for i in range(CHUNK):
                total[i] += (line[i] - point) * weight[i]
