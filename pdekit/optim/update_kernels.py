"""The CPU kernel of `pdekit.optim.updates`: one pass over a parameter, noise included.

No ``fastmath``: every operation is rounded as IEEE says and in the order of the plain form.
"""

import numba
import numpy as np

from pdekit.particles.kernels.forces import add_block
from pdekit.particles.kernels.noise import normals

CHUNK = 512  # numbers per chunk, whose noise fits in the L1 cache
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64 = np.uint64


@_compiled
def descend(y, g, x, z, eta, pull, alpha, rest, scale, first, last, step, stream, seed):
    """y⁺ = y - η (g + (y - x) pull) + scale ξ, z⁺ = α z + rest y⁺ on ``[first, last)``, in place.

    Without pull ``x``, without average ``z`` is empty. ``first`` is a multiple of a chunk.
    """
    lanes = 16 // y.itemsize
    xi, w = np.empty(CHUNK, y.dtype), np.empty((8, CHUNK // lanes), np.uint32)
    width = CHUNK if scale != 0 or z.size else max(last - first, 1)
    for c in range(first, last, width):
        stop = min(c + width, last)
        here, slope, centre = y[c:stop], g[c:stop], x[c:stop]
        if scale != 0:
            normals(xi[: -(-here.size // lanes) * lanes], w, _u64(c // lanes), step, stream, seed)
            if x.size:
                for j in range(here.size):
                    down = slope[j] + (here[j] - centre[j]) * pull
                    here[j] = (here[j] - down * eta) + xi[j] * scale
            else:
                for j in range(here.size):
                    here[j] = (here[j] - slope[j] * eta) + xi[j] * scale
        elif x.size:
            for j in range(here.size):
                here[j] -= (slope[j] + (here[j] - centre[j]) * pull) * eta
        else:
            for j in range(here.size):
                here[j] -= slope[j] * eta
        if z.size:
            mean = z[c:stop]
            for j in range(here.size):
                mean[j] = mean[j] * alpha + here[j] * rest


@_compiled
def scatter(y, x, scale, first, last, step, stream, seed):
    """y = x + scale ξ on ``[first, last)``."""
    lanes = 16 // y.itemsize
    xi, w = np.zeros(CHUNK, y.dtype), np.empty((8, CHUNK // lanes), np.uint32)
    for c in range(first, last, CHUNK):
        stop = min(c + CHUNK, last)
        normals(xi[: -(-(stop - c) // lanes) * lanes], w, _u64(c // lanes), step, stream, seed)
        there, here = y[c:stop], x[c:stop]
        for j in range(here.size):
            there[j] = here[j] + xi[j] * scale


@_compiled
def accelerate(u, w, g, climbs, eta, momentum, compensation, first, last, step, stream, seed):
    """w⁺ = u - η g, u⁺ = w⁺ + momentum (w⁺ - w) + compensation g on ``[first, last)``, in place.

    ``climbs``: g·(w⁺ - w) of each chunk, if not empty. The address of the noise is not used.
    """
    products, halves = np.empty(CHUNK, u.dtype), np.empty(CHUNK // 2 + 1)
    for c in range(first, last, CHUNK):
        stop = min(c + CHUNK, last)
        there, here, slope = u[c:stop], w[c:stop], g[c:stop]
        for j in range(here.size):
            new = there[j] - slope[j] * eta
            gained = new - here[j]
            there[j] = (new + gained * momentum) + slope[j] * compensation
            here[j] = new
            products[j] = slope[j] * gained
        if climbs.size:
            chunk = climbs[c // CHUNK : c // CHUNK + 1]
            chunk[0] = 0.0
            add_block(products[: here.size], halves, chunk)
