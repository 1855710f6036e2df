"""The CPU kernels of `pdekit.optim.updates`: one pass over all parameters, noise included.

No ``fastmath``: every operation is rounded as IEEE says and in the order of the plain form.

A kernel takes a table (`pdekit.optim.tables`): pointers to the numbers, of type ``like``, of each
column and row (0: there is none), how many they are in each row, and the number of chunks up to the
end of each row. It works on the chunks ``[first, last)`` of those of all rows.
"""

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.particles.kernels.noise import normals

CHUNK = 512  # numbers per chunk, which with its noise fits in the L1 cache
_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_u64 = np.uint64


@intrinsic
def _pointer(_, address, like):
    """To numbers of type ``like``."""
    signature = types.CPointer(like.dtype)(address, like)

    def generated(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return signature, generated


@_compiled
def _line(table, column, row, like):
    """The numbers of a row; none if there is no such column."""
    pointers, sizes = table[:2]
    address = pointers[column, row]
    pointer = _pointer(address, like)  # type: ignore[call-arg, var-annotated]
    return numba.carray(pointer, (sizes[row] if address else 0,))  # type: ignore[attr-defined]


@_compiled
def _within(table, row, first, last):
    """The numbers of a row that lie in the chunks ``[first, last)``."""
    sizes, ends = table[1:]
    before = ends[row - 1] if row else 0
    begun = max(first - before, 0) * CHUNK
    return begun, max(min((last - before) * CHUNK, sizes[row]), begun)


@_compiled
def descend(
    like, table, first, last,
    eta, pull, alpha, rest, scale, begin, owed, past, now, keep, streams, step, seed,
):  # fmt: skip
    """o = y - η (g + (y - x) pull) + scale ξ and z⁺ = α z + rest o; columns y, g, x, z, o.

    Without pull there is no ``x``, without average no ``z``, and o is y if there is none. With
    ``begin`` the average begins at y; if y is ``owed`` to it, z is past z + now y before. With
    ``keep`` x becomes y, and does not pull.
    """
    lanes = 16 // like.itemsize
    xi, w = np.empty(CHUNK, like.dtype), np.empty((8, CHUNK // lanes), np.uint32)
    for r in range(table[1].size):
        begun, end = _within(table, r, first, last)
        y, g, x = _line(table, 0, r, like), _line(table, 1, r, like), _line(table, 2, r, like)
        z, o = _line(table, 3, r, like), _line(table, 4, r, like)
        several = scale != 0 or keep or z.size > 0 or o.size > 0
        width, pulled = CHUNK if several else max(end - begun, 1), x.size > 0 and not keep
        for c in range(begun, end, width):
            stop = min(c + width, end)
            here, slope, centre, mean = y[c:stop], g[c:stop], x[c:stop], z[c:stop]
            if begin:
                for j in range(mean.size):
                    mean[j] = here[j]
            elif owed:
                for j in range(mean.size):
                    mean[j] = mean[j] * past + here[j] * now
            if keep:
                for j in range(centre.size):
                    centre[j] = here[j]
            if o.size:  # in place from here on: loops over arrays that overlap take no vectors
                there = o[c:stop]
                for j in range(here.size):
                    there[j] = here[j]
                here = there
            if scale != 0:
                noise = xi[: -(-here.size // lanes) * lanes]
                normals(noise, w, _u64(c // lanes), step, streams[r], seed)
                if pulled:
                    for j in range(here.size):
                        down = slope[j] + (here[j] - centre[j]) * pull
                        here[j] += xi[j] * scale - down * eta  # rounded once: see plain_steps
                else:
                    for j in range(here.size):
                        here[j] += xi[j] * scale - slope[j] * eta
            elif pulled:
                for j in range(here.size):
                    here[j] -= (slope[j] + (here[j] - centre[j]) * pull) * eta
            else:
                for j in range(here.size):
                    here[j] -= slope[j] * eta
            for j in range(mean.size):
                mean[j] = mean[j] * alpha + here[j] * rest


@_compiled
def scatter(like, table, first, last, scale, streams, step, seed):
    """y = x + scale ξ and s⁺ = s + g; columns y, x, s, g, without sum no ``s``."""
    lanes = 16 // like.itemsize
    xi, w = np.empty(CHUNK, like.dtype), np.empty((8, CHUNK // lanes), np.uint32)
    for r in range(table[1].size):
        begun, end = _within(table, r, first, last)
        y, x = _line(table, 0, r, like), _line(table, 1, r, like)
        s, g = _line(table, 2, r, like), _line(table, 3, r, like)
        for c in range(begun, end, CHUNK):
            stop = min(c + CHUNK, end)
            there, here, total, slope = y[c:stop], x[c:stop], s[c:stop], g[c:stop]
            for j in range(total.size):
                total[j] += slope[j]
            noise = xi[: -(-here.size // lanes) * lanes]
            normals(noise, w, _u64(c // lanes), step, streams[r], seed)
            for j in range(here.size):
                xi[j] = here[j] + xi[j] * scale
            for j in range(here.size):  # a loop of its own: where y is not read, copies are faster
                there[j] = xi[j]


@_compiled
def accelerate(
    like, table, first, last, eta, momentum, compensation, climbs
):  # fmt: skip
    """w⁺ = u - η g, u⁺ = w⁺ + momentum (w⁺ - w) + compensation g; columns u, w, g.

    ``climbs``: g·(w⁺ - w) of each chunk, if not empty.
    """
    products = np.empty(CHUNK, like.dtype)
    for r in range(table[1].size):
        begun, end = _within(table, r, first, last)
        u, w = _line(table, 0, r, like), _line(table, 1, r, like)
        g, chunk = _line(table, 2, r, like), table[2][r - 1] if r else 0
        for c in range(begun, end, CHUNK):
            stop = min(c + CHUNK, end)
            there, here, slope = u[c:stop], w[c:stop], g[c:stop]
            if climbs.size:
                for j in range(here.size):
                    new, gained = _gained(there[j], here[j], slope[j], eta)
                    there[j] = (new + gained * momentum) + slope[j] * compensation
                    here[j] = new
                    products[j] = slope[j] * gained
                climbs[chunk + c // CHUNK] = _sum(products, here.size)
            else:
                for j in range(here.size):
                    new, gained = _gained(there[j], here[j], slope[j], eta)
                    there[j] = (new + gained * momentum) + slope[j] * compensation
                    here[j] = new


@_compiled
def _gained(u, w, g, eta):
    """w⁺ and w⁺ - w."""
    new = u - g * eta
    return new, new - w


@_compiled
def _sum(numbers, size):
    """Of the first ``size`` of a chunk, by halves; the last eight in double precision."""
    numbers[size:] = 0
    half = CHUNK // 2
    while half >= 8:
        first, second = numbers[:half], numbers[half : 2 * half]
        for j in range(first.size):
            first[j] += second[j]
        half //= 2
    total = 0.0
    for j in range(8):
        total += numbers[j]
    return total


@_compiled
def interpolate(like, table, first, last, near, share):
    """y = x + share (z - x) if ``near``, else z - share (z - x); columns y, x, z."""
    for r in range(table[1].size):
        begun, end = _within(table, r, first, last)
        y, x = _line(table, 0, r, like), _line(table, 1, r, like)
        z = _line(table, 2, r, like)
        here, start, stop = y[begun:end], x[begun:end], z[begun:end]
        if near:
            for j in range(here.size):
                here[j] = start[j] + (stop[j] - start[j]) * share
        else:
            for j in range(here.size):
                here[j] = stop[j] - (stop[j] - start[j]) * share


@_compiled
def couple(like, table, first, last, share, pull):
    """z⁺ = x - share (x - z) - pull (x - m); columns z, x, m."""
    for r in range(table[1].size):
        begun, end = _within(table, r, first, last)
        z, x = _line(table, 0, r, like), _line(table, 1, r, like)
        m = _line(table, 2, r, like)
        mean, here, master = z[begun:end], x[begun:end], m[begun:end]
        for j in range(here.size):
            drawn = here[j] - (here[j] - mean[j]) * share
            mean[j] = drawn - (here[j] - master[j]) * pull


@_compiled
def average(like, table, first, last, whole, shares):
    """y = mean of the other columns: their sum times the last share if ``whole``, or a running one.

    Column a counts for ``shares[a]`` of the mean of those up to it.
    """
    for r in range(table[1].size):
        begun, end = _within(table, r, first, last)
        y = _line(table, 0, r, like)
        for c in range(begun, end, CHUNK):
            stop = min(c + CHUNK, end)
            _mean(y[c:stop], like, table, 1, r, c, whole, shares)


@_compiled
def _mean(mean, like, table, column, row, begun, whole, shares):
    """Of the columns from one on, where the numbers of a row begin."""
    start = _line(table, column, row, like)[begun : begun + mean.size]
    for j in range(mean.size):
        mean[j] = start[j]
    for a in range(1, shares.size):
        here = _line(table, column + a, row, like)[begun : begun + mean.size]
        share = like.dtype.type(shares[a])
        if whole:
            for j in range(mean.size):
                mean[j] += here[j]
        else:
            for j in range(mean.size):
                mean[j] += (here[j] - mean[j]) * share
    if whole:
        share = like.dtype.type(shares[-1])
        for j in range(mean.size):
            mean[j] *= share


@_compiled
def relay(like, table, first, last, eta, pull, near, share, whole, shares):
    """o = y - η (g + (y - x) pull), then y = x + share (mean - x), or as ``interpolate`` if not
    ``near``; columns y, g, x, o and those of the mean, of which y may be one.
    """
    mean = np.empty(CHUNK, like.dtype)
    for r in range(table[1].size):
        begun, end = _within(table, r, first, last)
        y, g = _line(table, 0, r, like), _line(table, 1, r, like)
        x, o = _line(table, 2, r, like), _line(table, 3, r, like)
        for c in range(begun, end, CHUNK):
            stop = min(c + CHUNK, end)
            here, slope, centre, new = y[c:stop], g[c:stop], x[c:stop], o[c:stop]
            among = mean[: here.size]
            _mean(among, like, table, 4, r, c, whole, shares)
            for j in range(here.size):
                new[j] = here[j]
            for j in range(here.size):
                new[j] -= (slope[j] + (new[j] - centre[j]) * pull) * eta
            if near:
                for j in range(here.size):
                    here[j] = centre[j] + (among[j] - centre[j]) * share
            else:
                for j in range(here.size):
                    here[j] = among[j] - (among[j] - centre[j]) * share
