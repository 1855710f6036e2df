"""Plain forms of compiled kernels, for tests that compare both."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.pde.bellman.steps import Weighted
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.kernels.implicit_lines import _SPAN, BEND


def propagate_plain(
    generator: Generator, u: Array, t: float, forward: bool, kill: Array | float = 0.0
) -> Array:
    """The same sum over poles by sparse LU: the reference of ``propagate``, any dimension."""
    from scipy.sparse import diags_array, eye_array
    from scipy.sparse.linalg import splu

    from pdekit.pde.kernels.rational import exponential_poles

    matrix = generator.matrix()
    lost = np.broadcast_to(kill, u.shape).ravel()
    matrix = (matrix.T if forward else matrix) - diags_array(lost)
    one = eye_array(u.size)
    out = np.zeros(u.size)
    for z, c in zip(*exponential_poles(), strict=True):
        if z.imag > 0:
            lu = splu((t * matrix - z * one).tocsc())
            out += 2 * (c * lu.solve(u.ravel().astype(complex))).real
    return out.reshape(u.shape)


def remap_plain(rho: Array, feet: Array, periodic: bool) -> Array:
    """The masses of one line between ``feet``, by differences of their sums from the left."""
    n = rho.size
    padded = np.pad(rho, 2, mode="wrap" if periodic else "symmetric")
    faces = (7 * (padded[1:-2] + padded[2:-1]) - padded[:-3] - padded[3:]) / 12
    left, right = faces[:-1], faces[1:]
    bend = 6 * rho - 3 * (left + right)
    shares = np.linspace(0, 1, 1001)[:, None]
    seen = left + shares * (right - left + bend * (1 - shares))
    lowest = np.clip((right - left + bend) / (2 * np.where(bend < 0, bend, -1.0)), 0, 1)
    low = np.minimum(seen.min(0), left + lowest * (right - left + bend * (1 - lowest)))
    scale = np.where(low < 0, rho / np.where(low < 0, rho - low, 1.0), 1.0)
    left, rise, bend = rho + scale * (left - rho), scale * (right - left), scale * bend
    whole = np.concatenate([[0.0], np.cumsum(rho)])
    turns, place = np.divmod(feet, n) if periodic else (np.zeros(feet.size), feet)
    k = np.minimum(place.astype(int), n - 1)
    s = place - k
    inside = left[k] * s + rise[k] * s**2 / 2 + bend[k] * (s**2 / 2 - s**3 / 3)
    return np.diff(turns * whole[-1] + whole[k] + inside)


def foot_plain(speeds: Array, face: int, tau: float, periodic: bool) -> float:
    """Where a face was a time tau ago, in cells, by many short steps of Runge and Kutta."""
    n = len(speeds) - 1
    at = np.arange(n + 1)

    def back(y: float) -> float:
        return -float(np.interp(y % n if periodic else min(max(y, 0.0), n), at, speeds))

    y, steps = float(face), 500
    h = tau / steps
    for _ in range(steps):
        middle = back(y + h / 2 * back(y))
        y += h * middle
        y = y if periodic else min(max(y, 0.0), float(n))
    return y


class PlainLines:
    """The same by sparse LU, one factorisation a pole: the plain form, for tests."""

    def __init__(self, generator: Generator, axis: int, beta: float) -> None:
        self.grid, self.axis, self.beta = generator.grid, axis, beta
        self.up, self.down = generator.up[axis], generator.down[axis]

    def weighted(self, value: Array, tau: float) -> Weighted:
        after = np.roll(value, -1, self.axis) - value
        if not self.grid.periodic[self.axis]:
            after = np.diff(value, axis=self.axis)
        e = np.exp(-self.beta / 2 * after)
        plain, tilted = self._only(self.up, self.down), self._only(self.up * e, self.down / e)
        kill = plain.exit_rate() - tilted.exit_rate()

        def apply(field: Array, forward: bool) -> Array:
            return propagate_plain(tilted, field, tau, forward, kill)

        return Weighted(apply, np.ones(value.shape), 0.0)

    def _only(self, up: Array, down: Array) -> Generator:
        """A generator that acts along this axis only."""
        there, back = [], []
        for axis in range(self.grid.dim):
            here = axis == self.axis
            shape = list(self.grid.shape)
            shape[axis] -= not self.grid.periodic[axis]
            there.append(up if here else np.zeros(shape))
            back.append(down if here else np.zeros(shape))
        return Generator(self.grid, tuple(there), tuple(back))


def fitted_plain(U: Array, beta: float, grid: Any) -> Any:
    """The generator of these rates from the unbent one, in one or two dimensions (reference)."""
    from pdekit.pde.discrete.generators import Generator, scharfetter_gummel

    made = scharfetter_gummel(U, beta, grid)
    up, down = [], []
    for axis, seam in enumerate(grid.periodic):
        bend = beta / 2 * (np.roll(U, -2, axis) - np.roll(U, -1, axis) - U + np.roll(U, 1, axis))
        if not seam:
            bend = np.take(bend, range(U.shape[axis] - 1), axis)
            rim = np.moveaxis(bend, axis, 0)
            rim[0] = rim[-1] = 0.0
        s = np.clip(bend, -_SPAN, _SPAN) / _SPAN
        factor = 1 + BEND * _SPAN * (s - s**3 + 3 * s**5 / 5 - s**7 / 7)
        up.append(made.up[axis] * factor)
        down.append(made.down[axis] * factor)
    return Generator(grid, tuple(up), tuple(down))


def euler_lines_plain(U: Array, beta: float, h: float, dt: float, seam: bool, rho: Array) -> Array:
    """(1 - dt L^T)^-1 rho along the last axis by a dense matrix (reference)."""
    from pdekit.grid import Grid

    out = []
    for values, line in zip(U, rho, strict=True):
        grid = Grid(0.0, h * line.size, line.size, periodic=seam)
        matrix = fitted_plain(values, beta, grid).matrix().toarray()
        out.append(np.linalg.solve(np.eye(line.size) - dt * matrix.T, line))
    return np.array(out)


def advect_plain(
    rho: Array, v: Array, ratio: float, periodic: bool, linear: bool, parts: float
) -> Array:
    """What an upwind step adds to lines of cells, v at their faces (reference)."""
    ends = (rho[:, -1:], rho[:, :1]) if periodic else (rho[:, :1], rho[:, -1:])
    wide = np.concatenate([ends[0], rho, ends[1]], axis=1)
    below, above = rho - wide[:, :-2], wide[:, 2:] - rho
    size = np.minimum(2 * np.minimum(abs(below), abs(above)), abs(below + above) / 2)
    half = np.where(below * above > 0, np.sign(above) * size, 0.0) / 2 * linear
    up = np.maximum(v[:, 1:], 0.0) * (rho + half)  # what a cell sends to its two sides
    down = np.maximum(-v[:, :-1], 0.0) * (rho - half)
    sent = ratio * parts * (up + down)
    kept = np.where(sent > rho, rho / np.where(sent > 0, sent, 1.0), 1.0)
    flux = np.zeros_like(v)
    flux[:, 1:] += up * kept
    flux[:, :-1] -= down * kept
    if periodic:
        flux[:, 0] = flux[:, -1] = flux[:, 0] + flux[:, -1]
    out: Array = -ratio * np.diff(flux)
    return out


def eliminate_dense(rates: Array, kill: Any = 0.0) -> tuple[Array, Array, Array]:
    """(pivots, U, M) of a full matrix of rates: the reference of ``eliminate``."""
    w = np.array(rates, dtype=float)
    n = len(w)
    np.fill_diagonal(w, 0.0)
    w = np.column_stack([w, np.broadcast_to(np.asarray(kill, dtype=float), (n,))])
    pivot, lower = np.zeros(n), np.zeros((n, n))
    for k in range(n):
        pivot[k] = w[k, k + 1 :].sum()
        if pivot[k] > 0:
            lower[k + 1 :, k] = w[k + 1 :, k] / pivot[k]
        w[k + 1 :, k + 1 :] += np.outer(lower[k + 1 :, k], w[k, k + 1 :])
        w[np.arange(k + 1, n), np.arange(k + 1, n)] = 0.0
    return pivot, np.triu(w[:, :n], 1), lower


def envelope_plain(f: Array, h: float, t: float) -> tuple[Array, NDArray[np.int64]]:
    """min_j f_j + (x_i - x_j)^2 / (2t) over the nodes of a line, by brute force (reference)."""
    x = h * np.arange(f.size)
    cost = f + (x[:, None] - x) ** 2 / (2 * t)
    best = cost.argmin(1)
    return np.take_along_axis(cost, best[:, None], 1)[:, 0], best


def minimisers_plain(f: Array, cost: Array) -> NDArray[np.int64]:
    """For every i the least j that minimises f_j + cost_{i - j + n - 1}, by trying all."""
    i = np.arange(f.size)
    found: NDArray[np.intp] = (f + cost[i[:, None] - i + f.size - 1]).argmin(1)
    return found


def log_convolve_plain(padded: Array, a: float, beta: float, first: int, stride: int) -> Array:
    """-beta^-1 log(sum_j G_ij exp(-beta f_j)) by scipy's logsumexp over all nodes (reference)."""
    from scipy.special import logsumexp

    j = np.arange(padded.shape[1])
    i = np.arange(first, padded.shape[1] - first, stride)
    distance = (i[:, None] - j) ** 2 * a
    d = np.arange(-10 * padded.shape[1], 10 * padded.shape[1] + 1)
    norm = logsumexp(-beta * a * d * d)
    out = [-(logsumexp(-beta * (line + distance), axis=1) - norm) / beta for line in padded]
    return np.array(out)
