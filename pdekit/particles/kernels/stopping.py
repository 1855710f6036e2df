"""The kernel of particles that stop: many steps of independent particles, as `dynamics.stopping`.

Random numbers of walls and clocks are drawn only where they can matter: no wall is met that is
farther than what the least possible uniform number allows. Logarithms and exponentials are not
torch's, so a place of exit may differ in the last place; all else is the same bits.
"""

from math import exp, inf, log, nan, sqrt
from typing import Any, NamedTuple

import numba
import numpy as np

import pdekit.compiling  # noqa: F401  (where kernels are kept)
from pdekit.particles.kernels.drift import (
    CHUNK,
    Walls,
    drift,
    folded,
    rows_at_time,
    whole_points,
    workspace,
)
from pdekit.particles.kernels.noise import normals, uniforms, unit_32, unit_64, words_of

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(inline="always", error_model="numpy")  # a call counts references to arrays
_u64 = np.uint64
_NEVER_32, _NEVER_64 = 16.7, 36.8  # no uniform number is below exp of their negatives
_SURE = 1.0001  # 1 and much more than rounding
_TINY = 1e-15  # distance from a wall, over the kick of a step


class Ends(NamedTuple):
    """What stops particles, in the type of the particles."""

    rates: Any  # (dim, 2) of the walls: 0 reflects, infinite absorbs
    lower: Any  # of the coordinates of a chunk: 1 where the wall takes, else infinite
    upper: Any
    killing: float
    clocks: Any  # channels of the noise: of normals, of uniforms, of killing


@_compiled
def advance_stopping(
    state, dim, sizes, starts, scale, places, weights, terms, box, ends, block, step, stream, seed
):
    """Move ``state`` (3, runs, particles * dim) through steps of these ``sizes`` and ``starts``."""
    stages, lanes, length = len(places), 16 // state.itemsize, whole_points(dim)
    rows = np.empty((stages, terms.bases.size, 4), state.dtype)
    w = np.empty((8, CHUNK // lanes), np.uint32)
    noise, kills = np.zeros(CHUNK, state.dtype), np.ones(CHUNK, state.dtype)
    work, y = workspace(noise), np.empty(CHUNK, state.dtype)
    some = np.empty(lanes, state.dtype)
    near, meets = np.empty(CHUNK, np.bool_), np.empty((2, CHUNK), state.dtype)
    which, blocks = np.empty(2 * CHUNK, np.int64), np.empty(CHUNK, np.uint64)
    four, sites = np.empty((4, CHUNK), np.uint32), _sites(dim)
    first = block * _u64(lanes) // _u64(dim)  # particle
    for n in range(sizes.size):
        now, least = step + _u64(n), exp(-ends.killing * sizes[n]) * 0.999999
        v = scale[n] * scale[n]
        for s in range(stages):
            rows_at_time(rows[s], terms, places[s], weights[s], n)
        for r in range(state.shape[1]):
            row_stream = stream + (_u64(r) << _u64(8))
            for c in range(0, state.shape[2], length):
                part, times = state[0, r, c : c + length], state[1, r, c : c + length]
                m = part.size
                normals(noise[:m], w, block + _u64(c // lanes), now, row_stream, seed)
                _free(part, y, times, noise, sizes[n], scale[n], rows, terms, box, ends.rates, work)
                point = first + _u64(c // dim)
                _see(part, y, times, v, box, ends, near)
                base = point * _u64(4 * dim)
                count = _list(near[:m], base, sites, lanes, which, blocks)
                words_of(four, blocks[:count], now, row_stream | ends.clocks[1], seed)
                count = _sift(which, count, four, base, sites, part, y, v, box, near, meets)
                if ends.killing > 0:
                    at = point // _u64(lanes)
                    uniforms(kills[: m // dim], w, at, now, row_stream | ends.clocks[2], seed)
                    count = _due(kills[: m // dim], least, dim, which, count)
                for i in range(count):
                    j = which[i] // dim * dim
                    if times[j] == inf:
                        _stop(state[:, r], c + j, y, j, dim, kills[j // dim], sizes[n], starts[n],
                              v, box, ends, near, meets, some, w, point + _u64(j // dim), now,
                              row_stream, seed)  # fmt: skip
                        near[j : j + dim] = False  # once, though it may be listed again
                for j in range(m):
                    part[j] = y[j]


@_compiled
def _sites(dim):
    """Of the first uniform of each coordinate of a chunk, after that of the chunk; the second is
    beside it."""
    sites = np.empty(CHUNK, np.uint64)
    for j in range(CHUNK):
        sites[j] = 4 * dim * (j // dim) + 2 * (j % dim)
    return sites


@_compiled
def _see(x, y, times, v, box, ends, near):
    """Which coordinates may meet a wall between x and y, without branches."""
    reach = v * x.dtype.type((_NEVER_32 if x.itemsize == 4 else _NEVER_64) / 2)
    for j in range(x.size):
        near[j] = False
    if box.exist:
        for j in range(x.size):
            below, above = y[j] - box.lower[j], box.upper[j] - y[j]
            first = (x[j] - box.lower[j]) * below * ends.lower[j]
            last = (box.upper[j] - x[j]) * above * ends.upper[j]
            near[j] = (below < 0) | (above < 0) | (min(first, last) <= reach)
            near[j] &= times[j] == inf


@_compiled
def _list(near, base, sites, lanes, which, blocks):
    """Those coordinates, and the blocks of noise with their first two uniforms."""
    count = 0
    for j in range(near.size):
        which[count] = j
        count += near[j]
    for i in range(count):
        blocks[i] = (base + sites[which[i]]) // _u64(lanes)
    return count


@_compiled
def _sift(which, count, four, base, sites, x, y, v, box, near, meets):
    """Both uniforms of these coordinates; those that meet no wall are left out.

    (1 + b + b²/2)⁸, b = a/8, is below exp(a), and cheaper.
    """
    kept, scale = 0, x.dtype.type(0.25) / v
    for i in range(count):
        j = which[i]
        if x.itemsize == 4:
            lane = (base + sites[j]) % _u64(4)
            lower, upper = unit_32(four[lane, i]), unit_32(four[lane + _u64(1), i])
        else:
            lower, upper = unit_64(four[0, i], four[1, i]), unit_64(four[2, i], four[3, i])
        meets[0, j], meets[1, j] = lower, upper
        below, above = y[j] - box.lower[j], box.upper[j] - y[j]
        first = _below_exp((x[j] - box.lower[j]) * below * scale)
        last = _below_exp((box.upper[j] - x[j]) * above * scale)
        near[j] = (below < 0) | (above < 0) | (min(lower * first, upper * last) < _SURE)
        which[kept] = j
        kept += near[j]
    return kept


@_inlined
def _below_exp(b):
    root = b * (b * 0.5 + 1) + 1
    root *= root
    root *= root
    return root * root


@_compiled
def _due(kills, least, dim, which, count):
    """``which`` and those whose clock may ring."""
    for q in range(kills.size):
        which[count] = q * dim
        count += kills[q] > least
    return count


@_compiled
def _free(x, y, times, xi, h, scale, rows, terms, box, rates, work):
    """y: the points x after a step, as if there were no walls; where they are if they stopped."""
    m, half = x.size, h * x.dtype.type(0.5)
    ahead, sign, b, after = work
    drift(x, m, sign, b, rows[0], terms, Walls(False, box.lower, box.upper, box.reflect))
    if len(rows) == 1:
        for j in range(m):
            y[j] = x[j] + (b[j] * h + xi[j] * scale) if times[j] == inf else x[j]
        return
    for j in range(m):
        ahead[j] = x[j] + (b[j] * h + xi[j] * scale) if times[j] == inf else x[j]
    outside = 0
    for j in range(m):
        sign[j] = 1
        outside += (ahead[j] < box.lower[j]) | (ahead[j] > box.upper[j])
    if outside and box.exist:
        for j in range(m):
            if ahead[j] < box.lower[j] or ahead[j] > box.upper[j]:
                ahead[j], sign[j] = _continued(ahead[j], j, box, rates)
    drift(ahead, m, sign, after, rows[1], terms, Walls(False, box.lower, box.upper, box.reflect))
    for j in range(m):
        move = (after[j] * sign[j] + b[j]) * half + xi[j] * scale
        y[j] = x[j] + move if times[j] == inf else x[j]


@_compiled
def _continued(x, j, box, rates):
    """Where in the box the drift of an x outside is read, and its sign."""
    lower, upper, k = box.lower[j], box.upper[j], j % len(rates)
    inside, sign = folded(x, lower, upper, box.reflect[j], x * 0 + 2)
    takes = (x < lower and rates[k, 0] > 0) or (x > upper and rates[k, 1] > 0)
    return inside, sign * sign if takes else sign


@_inlined
def _stop(state, at, y, j, dim, kill, h, start, v, box, ends, near, meeting, some, w, point, step,
          stream, seed):  # fmt: skip
    """The state of a particle whose free step ends at y: a new y, or an exit.

    ``some`` and ``w`` are scratch space.
    """
    x, one = state[0], h / h
    two = one + one
    share, wall = inf, nan
    if box.exist:
        for k in range(dim):
            if not near[j + k]:
                continue
            for side in range(2):
                rate = ends.rates[k, side]
                if rate == 0:
                    continue
                a = box.lower[k] if side == 0 else box.upper[k]
                inward = one if side == 0 else -one
                d, beyond = (x[at + k] - a) * inward, (y[j + k] - a) * inward
                meets = meeting[side, j + k]
                if beyond > 0 and not meets < exp(-two * d * beyond / v):
                    continue
                site = point * _u64(4 * dim) + _u64(2 * dim + 2 * k + side)
                when = _uniform(some, w, site, step, stream | ends.clocks[1], seed)
                if rate < inf:
                    gap = beyond - d
                    lowest = (d + beyond - sqrt(gap * gap - two * v * log(meets))) / two
                    local = max(-lowest, 0 * one)
                    y[j + k] += inward * local
                    stopped, after = -log(when) < two * rate * h / v * local, 0.5
                else:
                    site = point * _u64(dim) + _u64(k)
                    normal = _normal(some, w, site, step, stream | ends.clocks[0], seed)
                    stopped, after = True, _hitting_share(d, abs(beyond), v, normal, when)
                if stopped and after < share:
                    share, wall = after, float(2 * k + side)
        for k in range(dim):
            if y[j + k] < box.lower[k] or y[j + k] > box.upper[k]:
                y[j + k], _ = folded(y[j + k], box.lower[k], box.upper[k], box.reflect[k], two)
    if ends.killing > 0:
        after = -log(kill) / (ends.killing * h)
        if after < min(share, 1.0):
            share, wall = after, -1.0
    passed = min(share, 1.0)
    for k in range(dim if share < inf else 0):
        x[at + k] = x[at + k] + passed * (y[j + k] - x[at + k])
        if box.exist and wall == 2 * k:
            x[at + k] = box.lower[k]
        if box.exist and wall == 2 * k + 1:
            x[at + k] = box.upper[k]
        y[j + k] = x[at + k]
        state[1, at + k], state[2, at + k] = start + passed * h, wall


@_compiled
def _uniform(some, w, site, step, stream, seed):
    """Of one site, by its block."""
    lanes = 16 // some.itemsize
    uniforms(some, w, site // _u64(lanes), step, stream, seed)
    return some[site % _u64(lanes)]


@_compiled
def _normal(some, w, site, step, stream, seed):
    """The same of a normal."""
    lanes = 16 // some.itemsize
    normals(some, w, site // _u64(lanes), step, stream, seed)
    return some[site % _u64(lanes)]


@_compiled
def _hitting_share(d, end, v, normal, uniform):
    width, tiny = sqrt(v), v / v * _TINY
    before, left = max(d / width, tiny), max(end / width, tiny)
    mean, spread = before / left, normal * normal / (before * left)
    small = mean / (1 + spread / 2 + sqrt(spread + spread * spread / 4))
    ratio = small if uniform * (mean + small) <= mean else mean / small * mean
    return ratio / (1 + ratio) if ratio < inf else 1.0
