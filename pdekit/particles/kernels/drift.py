"""The kernel of `pdekit.particles.fused`: particles on a line through many steps.

No ``fastmath``, as in `noise_kernels`: every operation is rounded as IEEE says and in the order of
the plain loop. Loops are short and without branches where they carry the time, so that LLVM turns
them into vectors; the choice between potentials is made once for a chunk of particles. The type of
the particles, float32 or float64, is that of every number: constants are made by ``real``.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from pdekit.particles.kernels.noise import normals
from pdekit.particles.kernels.sine import near, sine_cosine

QUADRATIC, DOUBLE_WELL, RIPPLED, ROUGH, SPLINE = range(5)
CHUNK = 1024  # particles whose noise, points and slopes stay in the nearest cache

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64, _f64 = np.uint64, np.float64


class Terms(NamedTuple):
    """The potentials to be added, as arrays."""

    kinds: Any  # (terms,)
    numbers: Any  # (terms, 2): curvature; length of the ripples; first knot and step of a spline
    slots: Any  # (terms,): of a spline, else 0
    bases: Any  # (all slots,)
    table: Any  # (rows, 4): coefficients in the slots, at all times, of every spline


class Walls(NamedTuple):
    """The box on the line."""

    exist: bool
    lower: float
    upper: float
    reflect: float  # 1, or 0 on a periodic axis


@_compiled
def workspace(y):
    """Points, signs, and slopes at two stages of a chunk of particles like ``y``."""
    of = y.dtype
    return np.empty(CHUNK, of), np.empty(CHUNK, of), np.empty(CHUNK, of), np.empty(CHUNK, of)


@_compiled
def advance(y, sizes, ahead, scale, places, weights, terms, walls, block, step, stream, seed):
    """Move ``y`` (runs, particles), whole blocks of noise, through steps of these ``sizes``.

    With one stage Y⁺ = Y + h b(Y + ahead ξ) + scale ξ, with two Heun's step. The noise of the first
    particle in the first step begins at ``block`` and ``step``.
    """
    stages, lanes = len(places), 16 // y.itemsize
    rows = np.empty((stages, terms.bases.size, 4), y.dtype)
    w = np.empty((8, CHUNK // lanes), np.uint32)
    noise, work = np.zeros(CHUNK, y.dtype), workspace(y)
    for n in range(sizes.size):
        for s in range(stages):
            _at_time(rows[s], terms, places[s], weights[s], n)
        for r in range(y.shape[0]):
            row, row_stream = y[r], stream + (_u64(r) << _u64(8))
            for c in range(0, row.size, CHUNK):
                part = row[c : c + CHUNK]
                xi = noise[: part.size]
                if scale[n] != 0:
                    normals(xi, w, block + _u64(c // lanes), step + _u64(n), row_stream, seed)
                _move(part, xi, sizes[n], ahead[n], scale[n], rows, terms, walls, work)


@_compiled
def _move(y, xi, h, ahead, scale, rows, terms, walls, work):
    m, half = y.size, h * y.dtype.type(0.5)
    x, sign, b, after = work
    if ahead == 0 and len(rows) == 1 and not walls.exist:
        x = y  # nobody writes to the points
    else:
        for j in range(m):
            x[j] = y[j] + xi[j] * ahead
    drift(x, m, sign, b, rows[0], terms, walls)
    if len(rows) == 1:
        for j in range(m):
            y[j] = (y[j] + b[j] * h) + xi[j] * scale
    else:
        for j in range(m):
            y[j] = y[j] + xi[j] * scale
            x[j] = y[j] + b[j] * h
        drift(x, m, sign, after, rows[1], terms, walls)
        for j in range(m):
            y[j] = y[j] + (after[j] + b[j]) * half
    if walls.exist:
        _fold(y, m, sign, walls)


@_compiled
def drift(x, m, sign, b, rows, terms, walls):
    """b = -Σ ∇V at the first ``m`` points, continued beyond walls as by `fold`; x is folded."""
    real = x.dtype.type
    if walls.exist:
        _fold(x, m, sign, walls)
    first, one = 0, real(1)
    for k in range(terms.kinds.size):
        kind, a = terms.kinds[k], real(terms.numbers[k, 0])
        if k == 0 and kind == QUADRATIC:
            for j in range(m):
                b[j] = -(a * x[j])
            continue
        if k == 0 and kind == DOUBLE_WELL:
            for j in range(m):
                b[j] = -(x[j] * (x[j] * x[j] - one))
            continue
        if k == 0:
            b[:m] = 0
        if kind == QUADRATIC:
            for j in range(m):
                b[j] -= a * x[j]
        elif kind == DOUBLE_WELL:
            for j in range(m):
                b[j] -= x[j] * (x[j] * x[j] - one)
        elif kind == RIPPLED:
            _down_rippled(x, m, b)
        elif kind == ROUGH:
            _down_rough(x, m, a, b)
        else:
            step = real(terms.numbers[k, 1])
            _down_spline(x, m, b, a, step, rows[first : first + terms.slots[k]])
        first += terms.slots[k]
    if walls.exist:
        for j in range(m):
            b[j] *= sign[j]


@_compiled
def _fold(x, m, sign, walls):
    lower, upper, outside = x.dtype.type(walls.lower), x.dtype.type(walls.upper), 0
    for j in range(m):
        sign[j] = 1
        outside += (x[j] < lower) | (x[j] > upper)
    if outside:
        reflect = x.dtype.type(walls.reflect)
        for j in range(m):
            if x[j] < lower or x[j] > upper:
                x[j], sign[j] = _folded(x[j], lower, upper, reflect, x.dtype.type(2))


@_compiled
def _folded(x, lower, upper, reflect, two):
    width = upper - lower
    boxes = np.floor((x - lower) / width)
    mirrored = (boxes - two * np.floor(boxes / two)) * reflect
    phase = x - lower - boxes * width
    inside = lower + (phase + mirrored * (width - two * phase))
    inside = lower if inside < lower else inside
    return (upper if inside > upper else inside), two / two - two * mirrored


@_compiled
def _at_time(rows, terms, places, weights, n):
    """The splines in step ``n``: bases in the place of the constant coefficients."""
    first = 0
    for k in range(terms.kinds.size):
        place, weight, slots = places[n, k], weights[n, k], terms.slots[k]
        if n == 0 or place != places[n - 1, k] or weight != weights[n - 1, k]:
            now, later = terms.table[place:], terms.table[place + slots :]
            for i in range(slots):
                rows[first + i, 0] = terms.bases[first + i]
                for p in range(1, 4):
                    rows[first + i, p] = (
                        (1 - weight) * now[i, p] + weight * later[i, p] if weight else now[i, p]
                    )
        first += slots


@_compiled
def _down_spline(x, m, b, start, step, rows):
    real = x.dtype.type
    last, zero, one, two, three = real(len(rows) - 1), real(0), real(1), real(2), real(3)
    slots = np.empty(CHUNK, np.int32)
    for j in range(m):
        place = (x[j] - start) / step + one
        place = place if place > zero else zero  # also for NaN
        slots[j] = np.int32(place if place < last else last)
    for j in range(m):
        i = _u64(slots[j])
        s = x[j] - rows[i, 0]
        b[j] -= rows[i, 1] + s * (two * rows[i, 2] + (three * s) * rows[i, 3])


@_compiled
def _down_rippled(x, m, b):
    real, limit, far = x.dtype.type, near(x), False
    three, five = real(3), real(5)
    for j in range(m):
        far |= abs(three * x[j]) > limit
    if not far:
        for j in range(m):
            b[j] -= x[j] / five - three * sine_cosine(three * x[j])[0]
    else:
        for j in range(m):
            v = three * x[j]
            sine = real(np.sin(_f64(v))) if abs(v) > limit else sine_cosine(v)[0]
            b[j] -= x[j] / five - three * sine


@_compiled
def _down_rough(x, m, delta, b):
    real, limit, far = x.dtype.type, near(x), False
    two, tenth = real(2), real(0.1)
    for j in range(m):
        far |= abs(x[j]) > limit * delta
    if not far:
        for j in range(m):
            phase = x[j] / delta
            sine, cosine = sine_cosine(phase)
            bracket = sine + tenth
            b[j] -= two * x[j] * bracket * (bracket + phase * cosine)
    else:
        for j in range(m):
            phase = x[j] / delta
            sine, cosine = sine_cosine(phase)
            if abs(x[j]) > limit * delta:
                sine, cosine = real(np.sin(_f64(phase))), real(np.cos(_f64(phase)))
            bracket = sine + tenth
            b[j] -= two * x[j] * bracket * (bracket + phase * cosine)
