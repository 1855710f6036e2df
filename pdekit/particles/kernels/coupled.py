"""The kernel of Curie-Weiss particles: noise, mean, slopes and step of a run, many steps at once.

The reference is `InteractingLangevin.step`; the same bits, as in `pdekit.particles.kernels.drift`.
A run may be larger than the caches. So one pass per step is made: a block of particles is advanced
and added, with the next noise, to the mean of the next step. Ranks that share a run exchange their
sums in between.
"""

import numba
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.particles.kernels.drift import CHUNK, drift, workspace
from pdekit.particles.kernels.forces import BLOCK, add_block
from pdekit.particles.kernels.noise import normals

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64 = np.uint64


@_compiled
def advance_coupled(y, size, dim, strength, sizes, ahead, scale, terms, walls, step, stream, seed):
    """Move ``y`` (runs, sites), sites = particles * dim, of which ``size`` particles are actual."""
    how = sizes, ahead, scale, terms, walls, _u64(0), step, seed
    xi = noise_buffer(y[:1], dim, ahead)[0]
    buffers, total, mean = _buffers(y, dim), np.zeros(dim), np.zeros(dim)
    for r in range(y.shape[0]):
        row_stream = stream + (_u64(r) << _u64(8))
        for n in range(-1, sizes.size):
            _pass(n, y[r], xi, size, mean, y.dtype.type(strength), total, how, row_stream, buffers)
            mean[:] = total / size


@_compiled
def advance_shared(
    n,
    y,
    xi,
    size,
    means,
    strength,
    totals,
    sizes,
    ahead,
    scale,
    terms,
    walls,
    block,
    step,
    stream,
    seed,
):
    """Step ``n`` of a rank's share ``y`` of every run, and its contribution to step n + 1.

    That is the sum ``totals`` (runs, dim) of its particles where the next gradient is evaluated;
    the ``means`` (runs, dim) are those of all ranks. Step -1 only computes the sums. ``xi``:
    ``noise_buffer``; the noise of the first particle begins at ``block``.
    """
    how, buffers = (
        (sizes, ahead, scale, terms, walls, block, step, seed),
        _buffers(y, means.shape[1]),
    )
    for r in range(y.shape[0]):
        row_stream = stream + (_u64(r) << _u64(8))
        strong = y.dtype.type(strength)
        _pass(n, y[r], xi[r], size, means[r], strong, totals[r], how, row_stream, buffers)


@_compiled
def noise_buffer(y, dim, ahead):
    """Buffer for whole blocks of noise, of a whole run if the next mean needs it."""
    sites = y.shape[1] if (ahead != 0).any() else min(y.shape[1], BLOCK * dim)
    return np.zeros((y.shape[0], -(-sites // 4) * 4), y.dtype)


@_compiled
def _buffers(y, dim):
    points, halves = np.empty(BLOCK * dim, y.dtype), np.empty(BLOCK * dim // 2 + dim)
    w, centre = np.empty((8, CHUNK // 2), np.uint32), np.empty(CHUNK // dim * dim, y.dtype)
    return points, halves, w, centre, workspace(y)


@_compiled
def _pass(n, row, xi, size, mean, strength, total, how, stream, buffers):
    """One pass through a run: step ``n``, unless -1, then the sum for step n + 1, if any."""
    sizes, ahead, scale, terms, walls, origin, step, seed = how
    points, halves, w, centre, work = buffers
    dim, early, rows = mean.size, bool((ahead != 0).any()), np.empty((0, 4), row.dtype)
    block = BLOCK * dim
    for j in range(centre.size):
        centre[j] = mean[j % dim]
    total[:] = 0.0
    for first in range(0, row.size, block):
        part = row[first : first + block]
        begin = first if early else 0
        noise = xi[begin : begin + -(-part.size // 4) * 4]
        if n >= 0:
            h, s, a = sizes[n], scale[n], ahead[n]
            if not early and s != 0:
                _fill(noise, w, first, origin, step + _u64(n), stream, seed)
            _move(part, noise, centre, strength, h, a, s, rows, terms, walls, work)
        if n + 1 < sizes.size:
            counted = min(part.size, max(size * dim - first, 0))
            if early:
                if scale[n + 1] != 0:
                    _fill(noise, w, first, origin, step + _u64(n + 1), stream, seed)
                for j in range(part.size):
                    points[j] = part[j] + noise[j] * ahead[n + 1]
                add_block(points[:counted], halves, total)
            else:
                add_block(part[:counted], halves, total)


@_compiled
def _move(y, xi, centre, strength, h, ahead, scale, rows, terms, walls, work):
    """One step of a block, whose mean is known."""
    x, sign, slope, _ = work
    for c in range(0, y.size, centre.size):
        part, noise = y[c : c + centre.size], xi[c : c + centre.size]
        for j in range(part.size):
            x[j] = part[j] + noise[j] * ahead
        drift(x, part.size, sign, slope, rows, terms, walls)
        for j in range(part.size):
            b = slope[j] - strength * (x[j] - centre[j])
            part[j] = part[j] + (b * h + noise[j] * scale)


@_compiled
def _fill(xi, w, first, origin, step, stream, seed):
    lanes = 16 // xi.itemsize
    for c in range(0, xi.size, CHUNK):
        normals(xi[c : c + CHUNK], w, origin + _u64((first + c) // lanes), step, stream, seed)
