"""The kernel of two time scales: the inner steps of a chunk of particles in cache, then the step of
X.

The reference is `TwoScaleLangevin.step`; the same bits, as in `pdekit.particles.kernels.drift`.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.particles.kernels import FREE, POSITION
from pdekit.particles.kernels.drift import CHUNK, drift, whole_points, workspace
from pdekit.particles.kernels.forces import BLOCK, add_block
from pdekit.particles.kernels.noise import normals

_WHOLE = 64  # multiple of sites to which a run is padded with copies: no remainder loops
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64 = np.uint64


class Inner(NamedTuple):
    """The fast process and its average; numbers in the dtype of the particles."""

    fast: int
    matthews: bool  # the integrator: else Euler's
    warm: bool
    weights: Any  # (1 + count,): of the start, then of each iterate
    coupled: bool
    strength: Any


@_compiled
def advance_two_scale(
    x,
    y,
    means,
    size,
    dim,
    inner,
    outer,
    small,
    scales,
    first_noise,
    terms,
    walls,
    first,
    step,
    stream,
    seed,
):
    """Move the first ``size`` particles of ``x`` and ``y`` (runs, particles * dim).

    ``means`` (runs, dim): the target of the attraction of X, in a single step; empty for the
    means of these particles. ``outer``: sizes of the steps of X, and γ. Steps of Y have the sizes
    ``small`` and noises ``scales``, and the first of each step of X those of ``first_noise``:
    before the slope is taken, and of the step. They are numbered consecutively, starting
    with ``step``. Noise begins at the block ``first``.
    """
    (sizes, gammas), (aheads, firsts) = outer, first_noise
    counted = size * dim
    sites = min(x.shape[1], -(-(-(-counted // _WHOLE) * _WHOLE) // dim) * dim)
    length = whole_points(dim)
    work, average, xi = workspace(x), np.empty(CHUNK, x.dtype), np.zeros(CHUNK, x.dtype)
    total, halves = np.zeros(dim), np.empty((BLOCK // 2 + 1) * dim)
    next_xi = np.zeros(CHUNK, x.dtype)
    centre, w = np.zeros(length, x.dtype), np.empty((8, CHUNK // 2), np.uint32)
    count = _u64(inner.weights.size - 1)
    for n in range(sizes.size):
        number = step + _u64(n) * count
        for r in range(x.shape[0]):
            row, row_stream = x[r, :sites], stream + (_u64(r) << _u64(8))
            if means.size:
                for j in range(centre.size):
                    centre[j] = means[r, j % dim]
            elif inner.coupled:
                _mean(row[:counted], halves, total, centre)
            for c in range(0, row.size, length):
                here = row[c : c + length]
                fast = y[r, c : c + here.size]
                blocks = -(-here.size // 4) * 4
                noise, more = xi[:blocks], next_xi[:blocks]
                at = (first + _u64(c // (16 // x.itemsize)), number, row_stream, seed)
                of_fast = (small[n], scales[n], aheads[n], firsts[n], gammas[n])
                _inner_steps(
                    here, fast, average, noise, more, of_fast, inner, terms, walls, work, w, at
                )
                _outer_step(here, average, centre, sizes[n], gammas[n], inner)


@_compiled
def _mean(row, halves, total, centre):
    block, dim = BLOCK * total.size, total.size
    total[:] = 0.0
    for first in range(0, row.size, block):
        add_block(row[first : first + block], halves, total)
    for j in range(centre.size):
        centre[j] = total[j % dim] / (row.size // dim)


@_compiled
def _outer_step(x, average, centre, h, gamma, inner):
    for j in range(x.size):
        v = (average[j] - x[j]) / gamma if inner.fast == POSITION else -average[j]
        if inner.coupled:
            v -= inner.strength * (x[j] - centre[j])
        x[j] += v * h


@_compiled
def _inner_steps(x, y, average, xi, next_xi, of_fast, inner, terms, walls, work, w, at):
    """Move Y with X fixed, and average the quantity that X needs.

    Y is averaged where the next gradient is evaluated, with half of the next noise.
    """
    real, m, (block, number, stream, seed) = x.dtype.type, x.size, at
    h, scale, ahead, at_first, gamma = of_fast
    points, sign, b, slopes = work
    position, free = inner.fast == POSITION, inner.fast == FREE
    rows = np.empty((0, 4), x.dtype)
    noisy, last = scale != 0, inner.weights.size - 1
    if not inner.warm:
        for j in range(m):
            y[j] = x[j] if position else real(0)
    points[:m] = y
    _see(x, points, average, inner.weights[0], position, slopes, terms, walls, work, rows)
    if noisy:
        normals(xi, w, block, number, stream, seed)
    if inner.matthews and ahead != 0:
        for j in range(m):
            points[j] = y[j] + xi[j] * ahead
    for k in range(last):
        if free:
            for j in range(m):
                b[j] = points[j] / -gamma
        elif position:
            drift(points, m, sign, slopes, rows, terms, walls)
            for j in range(m):
                b[j] = (x[j] - points[j]) / gamma + slopes[j]
        else:
            if k == 0 or inner.weights[k] == 0:
                _ahead_of(x, points, slopes, terms, walls, work, rows)
            for j in range(m):
                b[j] = -slopes[j] - points[j] / gamma
        amount = at_first if k == 0 else scale
        if noisy and (inner.matthews or k + 1 < last):
            normals(next_xi, w, block, number + _u64(k + 1), stream, seed)
        half = scale * real(0.5 if inner.matthews else 0.0)
        weight = inner.weights[k + 1]
        if position:
            _advance_position(y, b, xi, next_xi, points, average, h, amount, half, weight)
        else:
            _advance_position(y, b, xi, next_xi, points, average, h, amount, half, real(0))
            if weight != 0:
                _ahead_of(x, points, slopes, terms, walls, work, rows)
                for j in range(m):
                    average[j] += -slopes[j] * weight
        xi, next_xi = next_xi, xi


@_compiled
def _advance_position(y, b, xi, next_xi, points, average, h, amount, half, weight):
    for j in range(y.size):
        moved = y[j] + (b[j] * h + xi[j] * amount)
        y[j] = moved
        seen = moved + next_xi[j] * half
        points[j] = seen
        average[j] += seen * weight


@_compiled
def _ahead_of(x, points, slopes, terms, walls, work, rows):
    """-∇V at X - Y; Y are the ``points``."""
    z = work[2]
    for j in range(x.size):
        z[j] = x[j] - points[j]
    drift(z, x.size, work[1], slopes, rows, terms, walls)


@_compiled
def _see(x, points, average, weight, position, slopes, terms, walls, work, rows):
    """Initialise the average."""
    average[: x.size] = 0
    if weight != 0:
        if position:
            for j in range(x.size):
                average[j] += points[j] * weight
        else:
            _ahead_of(x, points, slopes, terms, walls, work, rows)
            for j in range(x.size):
                average[j] += -slopes[j] * weight
