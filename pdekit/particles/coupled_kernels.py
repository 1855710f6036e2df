"""The kernel of Curie-Weiss particles: noise, mean, slopes and step of a run, many steps at once.

The reference is `InteractingLangevin.step`; the same bits, as in `pdekit.particles.fused_kernels`.
"""

import numba
import numpy as np

from pdekit.particles.force_kernels import sums
from pdekit.particles.fused_kernels import _CHUNK, _drift
from pdekit.particles.noise_kernels import box_muller_64, words

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64 = np.uint64


@_compiled
def advance_coupled(y, size, dim, strength, sizes, ahead, scale, terms, walls, step, stream, seed):
    """Move ``y`` (runs, sites), sites = particles * dim, of which ``size`` particles count."""
    sites = y.shape[1]
    xi, points = np.zeros(sites + sites % 2), np.empty((1, sites))
    total = np.empty((1, dim))
    w = np.empty((4, _CHUNK // 2), np.uint32)
    rows = np.empty((0, 4))
    length = _CHUNK // dim * dim
    sign, slope, centre = np.empty(length), np.empty(length), np.empty(length)
    for n in range(sizes.size):
        for r in range(y.shape[0]):
            row = y[r]
            if scale[n] != 0.0:
                _fill(xi, w, step + _u64(n), stream + (_u64(r) << _u64(8)), seed)
            for j in range(sites):
                points[0, j] = row[j] + xi[j] * ahead[n]
            sums(points, size, total)
            for j in range(length):
                centre[j] = total[0, j % dim] / size
            for c in range(0, sites, length):
                m = min(length, sites - c)
                x, part, noise = points[0, c : c + m], row[c : c + m], xi[c : c + m]
                _drift(x, sign[:m], slope[:m], rows, terms, walls)
                for j in range(m):
                    b = slope[j] - strength * (x[j] - centre[j])
                    part[j] = (part[j] + b * sizes[n]) + noise[j] * scale[n]


@_compiled
def _fill(xi, w, step, stream, seed):
    for c in range(0, xi.size, _CHUNK):
        part = xi[c : c + _CHUNK]
        words(w, part.size // 2, _u64(c // 2), step, stream, seed)
        box_muller_64(w[0], w[1], w[2], w[3], part)
