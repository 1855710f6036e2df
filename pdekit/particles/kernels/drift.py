"""The kernel of `pdekit.particles.fused`: many steps of independent particles.

No ``fastmath``, as in `noise_kernels`: every operation is rounded as IEEE says and in the order of
the plain loop. Loops are short and without branches where they carry the time, so that LLVM turns
them into vectors; the choice between potentials is made once for a chunk of particles. The type of
the particles, float32 or float64, is that of every number: constants are made by ``real``. The
coordinates of a point lie beside each other, and a chunk has whole points.
"""

import math
import operator
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.particles.kernels.noise import normals

CHUNK = 1024  # coordinates per chunk, whose noise, points and gradients fit in the L1 cache

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64, _f64 = np.uint64, np.float64


class Terms(NamedTuple):
    """The potentials to be added, as arrays; numbers in the type of the particles."""

    calls: Any  # (terms, 3): address of the function; slots of a spline; whether it is scaled
    numbers: Any  # (terms, 1 + most): factor; what the function is handed
    shifts: Any  # (terms, CHUNK): of the coordinates of a chunk
    bases: Any  # (all slots,)
    table: Any  # (rows, 4): coefficients in the slots, at all times, of every spline


class Walls(NamedTuple):
    """The box, of the coordinates of a chunk."""

    exist: bool
    lower: Any
    upper: Any
    reflect: Any  # 1, or 0 on a periodic axis


@_compiled
def whole_points(dim):
    """Coordinates of a chunk: of whole points, and of whole blocks of noise."""
    return CHUNK // (4 * dim) * (4 * dim)


@_compiled
def workspace(y):
    """Points, signs, and gradients at two stages, for a chunk of coordinates like ``y``."""
    of = y.dtype
    return np.empty(CHUNK, of), np.empty(CHUNK, of), np.empty(CHUNK, of), np.empty(CHUNK, of)


@_compiled
def advance(
    y, dim, sizes, ahead, scale, tamed, places, weights, terms, walls, block, step, stream, seed
):
    """Move ``y`` (runs, particles * dim), whole blocks of noise, through steps of these ``sizes``.

    With one stage Y⁺ = Y + h b(Y + ahead ξ) + scale ξ; if ``tamed`` is not 0, with b / (1 + h |b|)
    for b, and ``tamed`` for a larger |b|. With two Heun's step. The noise of the first particle in
    the first step begins at ``block`` and ``step``.
    """
    stages, lanes, length = len(places), 16 // y.itemsize, whole_points(dim)
    rows = np.empty((stages, terms.bases.size, 4), y.dtype)
    w = np.empty((8, CHUNK // lanes), np.uint32)
    noise, work = np.zeros(CHUNK, y.dtype), workspace(y)
    for n in range(sizes.size):
        for s in range(stages):
            rows_at_time(rows[s], terms, places[s], weights[s], n)
        for r in range(y.shape[0]):
            row, row_stream = y[r], stream + (_u64(r) << _u64(8))
            for c in range(0, row.size, length):
                part = row[c : c + length]
                xi = noise[: part.size]
                if scale[n] != 0:
                    normals(xi, w, block + _u64(c // lanes), step + _u64(n), row_stream, seed)
                _move(part, xi, sizes[n], ahead[n], scale[n], tamed, rows, terms, walls, work)


@_compiled
def _move(y, xi, h, ahead, scale, tamed, rows, terms, walls, work):
    m, half, one = y.size, h * y.dtype.type(0.5), y.dtype.type(1)
    large = y.dtype.type(tamed)
    x, sign, b, after = work
    if ahead == 0 and len(rows) == 1 and not walls.exist:
        x = y  # the points are not written to
    else:
        for j in range(m):
            x[j] = y[j] + xi[j] * ahead
    drift(x, m, sign, b, rows[0], terms, walls)
    if tamed > 0:
        for j in range(m):
            if abs(b[j]) > large:
                b[j] = math.copysign(large, b[j])
            b[j] = b[j] / (abs(b[j]) * h + one)
    if len(rows) == 1:
        for j in range(m):
            y[j] = y[j] + (b[j] * h + xi[j] * scale)
    else:
        for j in range(m):
            x[j] = y[j] + (b[j] * h + xi[j] * scale)
        drift(x, m, sign, after, rows[1], terms, walls)
        for j in range(m):
            y[j] = y[j] + ((after[j] + b[j]) * half + xi[j] * scale)
    if walls.exist:
        _fold(y, m, sign, walls)


@_compiled
def drift(x, m, sign, b, rows, terms, walls):
    """b = -Σ ∇V at the first ``m`` points, continued beyond walls as by `fold`; x is folded."""
    if walls.exist:
        _fold(x, m, sign, walls)
    first, calls, numbers = 0, terms.calls, terms.numbers
    for k in range(len(calls)):
        address, slots, scaled = calls[k, 0], calls[k, 1], calls[k, 2]
        if scaled:
            _down_scaled(x, b, m, rows, first, address, numbers, terms.shifts, k)
        else:
            _call(address, x, b, m, numbers, k, rows, first)
        first += slots
    if walls.exist:
        for j in range(m):
            b[j] *= sign[j]


@_compiled
def _down_scaled(x, b, m, rows, first, address, numbers, shifts, k):
    """b -= c V'(x - a); of the first term b = -c V'(x - a)."""
    points, slopes = np.empty_like(x), np.empty_like(x)
    factor, shift = numbers[k, 0], shifts[k]
    for j in range(m):
        points[j] = x[j] - shift[j]
    _call(address, points, slopes, m, numbers, k, rows, first)
    if k == 0:
        for j in range(m):
            b[j] = factor * slopes[j]
    else:
        for j in range(m):
            b[j] += factor * slopes[j]


def _calling(_, address, x, b, m, numbers, k, rows, first):
    """Call what `compiled_slope` has put at an address, with places in memory."""
    if any(array.layout != "C" for array in (x, b, numbers, rows)):
        return None  # no such call: the places would be others

    def generated(context, builder, signature, values):
        def place(n, row=None, column=0):
            array = context.make_array(signature.args[n])(context, builder, values[n])
            if row is None:
                return array.data
            start = builder.mul(values[row], builder.extract_value(array.shape, 1))
            start = builder.add(start, context.get_constant(types.intp, column))
            return builder.gep(array.data, [start])

        handed = place(1), place(2), values[3], place(4, 5, 1), place(6, 7)
        function = ir.FunctionType(context.get_value_type(types.none), [v.type for v in handed])
        builder.call(builder.inttoptr(values[0], function.as_pointer()), handed)
        return context.get_dummy_value()

    return types.none(address, x, b, m, numbers, k, rows, first), generated


_call: Any = intrinsic(_calling)


class _Fresh(types.CPointer):
    """A place in memory that reads as zeros before it is written."""


register_model(_Fresh)(models.PointerModel)


@lower_builtin(operator.getitem, _Fresh, types.Integer)
def _nothing(context, _builder, signature, _values):
    return context.get_constant(signature.return_type, 0)


@cache
def compiled_slope(down: Any, of: Any, first: bool) -> Any:
    """A potential's ``down`` for particles of a type; its ``address`` is good while it is held.

    That of the ``first`` of the terms need not read b. Compiled once and cached next to its source.
    """
    kind = numba.from_dtype(of)
    place, b = types.CPointer(kind), (_Fresh if first else types.CPointer)(kind)
    signature = types.void(place, b, types.intp, place, place)
    try:
        try:
            return numba.cfunc(signature, cache=True, error_model="numpy")(down)
        except RuntimeError:  # its source is in no file
            return numba.cfunc(signature, error_model="numpy")(down)
    except numba.core.errors.NumbaError as error:
        reason = next(filter(None, map(str.strip, str(error).splitlines()[1:])), str(error))
        raise TypeError(
            f"the kernel's {down.__name__}(x, b, m, numbers, rows) cannot be compiled for {of}: "
            f"{reason}. It is written in what numba compiles: loops, numbers and functions of math"
        ) from error


@_compiled
def _fold(x, m, sign, walls):
    lower, upper, reflect, outside = walls.lower, walls.upper, walls.reflect, 0
    for j in range(m):
        sign[j] = 1
        outside += (x[j] < lower[j]) | (x[j] > upper[j])
    if outside:
        for j in range(m):
            if x[j] < lower[j] or x[j] > upper[j]:
                x[j], sign[j] = folded(x[j], lower[j], upper[j], reflect[j], x.dtype.type(2))


@_compiled
def folded(x, lower, upper, reflect, two):
    """The place in the box of a coordinate outside, and the sign of its mirror image."""
    width = upper - lower
    boxes = np.floor((x - lower) / width)
    mirrored = (boxes - two * np.floor(boxes / two)) * reflect
    phase = x - lower - boxes * width
    inside = lower + (phase + mirrored * (width - two * phase))
    inside = lower if inside < lower else inside
    return (upper if inside > upper else inside), two / two - two * mirrored


@_compiled
def rows_at_time(rows, terms, places, weights, n):
    """The splines in step ``n``: bases in the place of the constant coefficients."""
    first = 0
    for k in range(len(terms.calls)):
        place, weight, slots = places[n, k], weights[n, k], terms.calls[k, 1]
        if n == 0 or place != places[n - 1, k] or weight != weights[n - 1, k]:
            now, later = terms.table[place:], terms.table[place + slots :]
            for i in range(slots):
                rows[first + i, 0] = terms.bases[first + i]
                for p in range(1, 4):
                    rows[first + i, p] = (
                        (1 - weight) * now[i, p] + weight * later[i, p] if weight else now[i, p]
                    )
        first += slots
