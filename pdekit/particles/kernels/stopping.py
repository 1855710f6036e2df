"""The kernel of particles that stop: many steps of independent particles, as `dynamics.stopping`.

Random numbers of walls and clocks are drawn only where they can matter: no wall is met that is
farther than what the least possible uniform number allows. Logarithms and exponentials are not
torch's, so a place of exit may differ in the last place; all else is the same bits.
"""

from math import exp, inf, log, nan, sqrt
from typing import Any, NamedTuple

import numba
import numpy as np

from pdekit.particles.kernels.drift import (
    CHUNK,
    Walls,
    drift,
    folded,
    rows_at_time,
    whole_points,
    workspace,
)
from pdekit.particles.kernels.noise import normals, uniforms

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(inline="always", error_model="numpy")  # a call counts references to arrays
_u64 = np.uint64
_NEVER = 40.0  # no uniform number is below exp(-40)
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
    noise, kills = np.zeros(CHUNK, state.dtype), np.zeros(CHUNK, state.dtype)
    work, y = workspace(noise), np.empty(CHUNK, state.dtype)
    drawn, near = np.empty(4 * dim + lanes, state.dtype), np.empty(CHUNK, np.bool_)
    first = block * _u64(lanes) // _u64(dim)  # particle
    for n in range(sizes.size):
        now, least = step + _u64(n), exp(-ends.killing * sizes[n]) * 0.999999
        for s in range(stages):
            rows_at_time(rows[s], terms, places[s], weights[s], n)
        for r in range(state.shape[1]):
            row_stream = stream + (_u64(r) << _u64(8))
            for c in range(0, state.shape[2], length):
                part = state[0, r, c : c + length]
                m = part.size
                normals(noise[:m], w, block + _u64(c // lanes), now, row_stream, seed)
                _free(part, y, noise, sizes[n], scale[n], rows, terms, box, ends.rates, work)
                point, v = first + _u64(c // dim), scale[n] * scale[n]
                if ends.killing > 0:
                    at = point // _u64(lanes)
                    uniforms(kills[: m // dim], w, at, now, row_stream | ends.clocks[2], seed)
                times = state[1, r, c : c + length]
                _see(part, y, v, box, ends, near)
                for q in range(m // dim):
                    j = q * dim
                    seen = ends.killing > 0 and kills[q] > least
                    for k in range(j, j + dim):
                        seen |= near[k]
                    if seen and times[j] == inf:
                        _stop(state[:, r], c + j, y, j, dim, kills[q], sizes[n], starts[n], v, box,
                              ends, drawn, w, point + _u64(q), now, row_stream, seed)  # fmt: skip
                for j in range(m):
                    part[j] = part[j] if times[j] < inf else y[j]


@_compiled
def _see(x, y, v, box, ends, near):
    """Which coordinates may meet a wall between x and y, without branches."""
    reach = v * (_NEVER / 2)
    for j in range(x.size):
        near[j] = False
    if box.exist:
        for j in range(x.size):
            below, above = y[j] - box.lower[j], box.upper[j] - y[j]
            first = (x[j] - box.lower[j]) * below * ends.lower[j]
            last = (box.upper[j] - x[j]) * above * ends.upper[j]
            near[j] = (below < 0) | (above < 0) | (min(first, last) <= reach)


@_compiled
def _free(x, y, xi, h, scale, rows, terms, box, rates, work):
    """y: the points x after a step, as if there were no walls."""
    m, half = x.size, h * x.dtype.type(0.5)
    ahead, sign, b, after = work
    drift(x, m, sign, b, rows[0], terms, Walls(False, box.lower, box.upper, box.reflect))
    if len(rows) == 1:
        for j in range(m):
            y[j] = x[j] + (b[j] * h + xi[j] * scale)
        return
    for j in range(m):
        ahead[j] = x[j] + (b[j] * h + xi[j] * scale)
        sign[j] = 1
    if box.exist:
        for j in range(m):
            if ahead[j] < box.lower[j] or ahead[j] > box.upper[j]:
                ahead[j], sign[j] = _continued(ahead[j], j, box, rates)
    drift(ahead, m, sign, after, rows[1], terms, Walls(False, box.lower, box.upper, box.reflect))
    for j in range(m):
        y[j] = x[j] + ((after[j] * sign[j] + b[j]) * half + xi[j] * scale)


@_compiled
def _continued(x, j, box, rates):
    """Where in the box the drift of an x outside is read, and its sign."""
    lower, upper, k = box.lower[j], box.upper[j], j % len(rates)
    inside, sign = folded(x, lower, upper, box.reflect[j], x * 0 + 2)
    takes = (x < lower and rates[k, 0] > 0) or (x > upper and rates[k, 1] > 0)
    return inside, sign * sign if takes else sign


@_inlined
def _stop(state, at, y, j, dim, kill, h, start, v, box, ends, drawn, w, point, step, stream, seed):
    """The state of a particle whose free step ends at y: a new y, or an exit.

    ``drawn`` and ``w`` are scratch space.
    """
    x, one = state[0], h / h
    two = one + one
    share, wall, ready = inf, nan, False
    if box.exist:
        for k in range(dim):
            for side in range(2):
                rate = ends.rates[k, side]
                if rate == 0:
                    continue
                a = box.lower[k] if side == 0 else box.upper[k]
                inward = one if side == 0 else -one
                d, beyond = (x[at + k] - a) * inward, (y[j + k] - a) * inward
                if beyond > 0 and two * d * beyond > _NEVER * v:
                    continue
                if not ready:
                    _draw(drawn, w, point, dim, False, step, stream | ends.clocks[1], seed)
                    ready = True
                meets, when = drawn[2 * k + side], one
                if rate < inf or meets < exp(-two * d * max(beyond, 0 * one) / v):
                    _draw(drawn, w, point, dim, True, step, stream | ends.clocks[1], seed)
                    when = drawn[2 * dim + 2 * k + side]
                if rate < inf:
                    gap = beyond - d
                    lowest = (d + beyond - sqrt(gap * gap - two * v * log(meets))) / two
                    local = max(-lowest, 0 * one)
                    y[j + k] += inward * local
                    stopped, after = -log(when) < two * rate * h / v * local, 0.5
                else:
                    stopped = meets < exp(-two * d * max(beyond, 0 * one) / v)
                    after = inf
                    if stopped:
                        normal = _normal(drawn[4 * dim :], w, point, k, dim, step,
                                         stream | ends.clocks[0], seed)  # fmt: skip
                        after = _hitting_share(d, abs(beyond), v, normal, when)
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
        state[1, at + k], state[2, at + k] = start + passed * h, wall


@_inlined
def _draw(drawn, w, point, dim, rest, step, stream, seed):
    """The first half of a particle's 4 dim uniforms, or the second: in whole blocks, so in single
    precision both at once."""
    lanes = 16 // drawn.itemsize
    block = point * _u64(4 * dim) // _u64(lanes)
    if lanes == 4 and not rest:
        uniforms(drawn[: 4 * dim], w, block, step, stream, seed)
    if lanes == 2:
        first = 2 * dim if rest else 0
        at = block + _u64(first // 2)
        uniforms(drawn[first : first + 2 * dim], w, at, step, stream, seed)


@_compiled
def _normal(drawn, w, point, k, dim, step, stream, seed):
    """The normal of a coordinate of a particle."""
    lanes = 16 // drawn.itemsize
    site = point * _u64(dim) + _u64(k)
    normals(drawn[:lanes], w, site // _u64(lanes), step, stream, seed)
    return drawn[site % _u64(lanes)]


@_compiled
def _hitting_share(d, end, v, normal, uniform):
    width, tiny = sqrt(v), v / v * _TINY
    before, left = max(d / width, tiny), max(end / width, tiny)
    mean, spread = before / left, normal * normal / (before * left)
    small = mean / (1 + spread / 2 + sqrt(spread + spread * spread / 4))
    ratio = small if uniform * (mean + small) <= mean else mean / small * mean
    return ratio / (1 + ratio) if ratio < inf else 1.0
