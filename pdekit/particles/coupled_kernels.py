"""The kernel of Curie-Weiss particles: noise, mean, slopes and step of a run, many steps at once.

The reference is `InteractingLangevin.step`; the same bits, as in `pdekit.particles.fused_kernels`.
A run may be larger than the caches. So it is passed through once a step: a block of particles moves
and is added, with the noise to come, to the mean of the next step.
"""

import numba
import numpy as np

from pdekit.particles.force_kernels import BLOCK, add_block
from pdekit.particles.fused_kernels import CHUNK, drift, workspace
from pdekit.particles.noise_kernels import normals

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64 = np.uint64


@_compiled
def advance_coupled(y, size, dim, strength, sizes, ahead, scale, terms, walls, step, stream, seed):
    """Move ``y`` (runs, sites), sites = particles * dim, of which ``size`` particles count."""
    sites, block = y.shape[1], BLOCK * dim
    # whole blocks of noise; that of a whole run where the next mean needs it before the next step
    early = bool((ahead != 0).any())
    xi = np.zeros(-(-(sites if early else min(sites, block)) // 4) * 4, y.dtype)
    points = np.empty(block, y.dtype)
    w, halves = np.empty((8, CHUNK // 2), np.uint32), np.empty(block // 2 + dim)
    total, centre = np.zeros(dim), np.empty(CHUNK // dim * dim, y.dtype)
    work, rows = workspace(y), np.empty((0, 4), y.dtype)
    strength = y.dtype.type(strength)
    for r in range(y.shape[0]):
        row, row_stream = y[r], stream + (_u64(r) << _u64(8))
        for n in range(-1, sizes.size):
            for j in range(centre.size):
                centre[j] = total[j % dim] / size
            total[:] = 0.0
            for first in range(0, sites, block):
                part = row[first : first + block]
                begin = first if early else 0
                noise = xi[begin : begin + -(-part.size // 4) * 4]
                if n >= 0:
                    h, s, a = sizes[n], scale[n], ahead[n]
                    if not early and s != 0:
                        _fill(noise, w, first, step + _u64(n), row_stream, seed)
                    _move(part, noise, centre, strength, h, a, s, rows, terms, walls, work)
                if n + 1 < sizes.size:
                    counted = min(part.size, max(size * dim - first, 0))
                    if early:
                        if scale[n + 1] != 0:
                            _fill(noise, w, first, step + _u64(n + 1), row_stream, seed)
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
            part[j] = (part[j] + b * h) + noise[j] * scale


@_compiled
def _fill(xi, w, first, step, stream, seed):
    lanes = 16 // xi.itemsize
    for c in range(0, xi.size, CHUNK):
        normals(xi[c : c + CHUNK], w, _u64((first + c) // lanes), step, stream, seed)
