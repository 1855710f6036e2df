"""The viscous Hamilton-Jacobi equation (local entropy) by the Cole-Hopf formula."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.beyond_walls import beyond_reach, enlarged
from pdekit.pde.discrete.inf_convolution import hopf_lax, hopf_lax_gaps
from pdekit.pde.discrete.march import Advance
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.subcell import MOST_NODES, on_finer_nodes, resolves, warn_unresolved
from pdekit.pde.equations import ViscousHJ

# Node spacing over the width s of exp(-beta (f(y) + |x-y|^2 / 2t)): the error of the midpoint sum
# is 2 exp(-2 pi^2 (s/h)^2), 8e-14 at 0.8
_NODES_PER_WIDTH = 0.8
_MOST_NODES = 1 << 24
_ROWS = 16
_WALL = 1e-5  # of the range of f: tolerated error of the sum at a wall
_MOST_AT_WALLS = (243, 9)  # nodes a cell, on a line and in the plane
_HOT = 0.01  # beta times the range of f below which logarithms are taken of one and a difference


@dataclass(frozen=True)
class ColeHopf:
    """u = -beta^-1 log(G_{t/beta} * exp(-beta f)), axis by axis, exact in time.

    The convolution is a sum over the cells (over a finer set of nodes where the integrand is
    narrower than the cells, f being evaluated there or interpolated by a cubic spline), which for
    a smooth integrand converges faster than any power of h. It is carried out relative to its
    largest term, so that nothing underflows at any beta, and over a window that leaves out no term
    above exp(-36) of it; kernels of 64 cells and wider by interpolating them on fewer nodes, to
    1e-12 of each weight. The weights are positive and sum to one: constants pass unchanged, and the
    comparison principle holds for fields that the cells resolve. Finer nodes are chosen by the data
    and, for an array, reached by a spline; ``refine=False`` keeps to the cells, which makes the map
    exactly monotone for any data, at the cost of accuracy where the integrand is narrow.

    A callable f that the cells do not resolve is sampled on 3, 9, 27, ... nodes a cell until two of
    these agree; of an array, a ``ResolutionWarning`` tells where the result depends on f between
    the samples. The result lies between the least and the greatest sample.

    At a wall to which f has a slope, reflection turns this into a kink: midpoint sums err by
    h^2 |f'| / 12 over the width sqrt(t / beta) of the kernel there; where f falls to the wall, more
    nodes keep that below 1e-5 of the range of f, or a ``ResolutionWarning`` says that they do not.

    On the box f is continued by reflection (no-flux; wrapped on a periodic axis). ``extend=True``
    evaluates a callable f beyond the walls instead, which gives the whole-space solution.
    Mathematics 1.2; thesis (4.11). Raises ``ConvergenceError`` when more than 2^24 nodes would be
    needed.
    """

    extend: bool = False
    refine: bool = True

    solves = (ViscousHJ,)

    def __post_init__(self) -> None:
        checks.parameters(self, extend=checks.flag, refine=checks.flag)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        return ""

    def start(self, problem: Problem, stats: Stats) -> Advance:
        beta, grid = problem.equation.beta, problem.grid
        resolved = not self.refine or resolves(problem)

        def smooth(fine: Grid, factor: int, t: float) -> Array:
            if self.extend:
                return self._extended(problem, fine, factor, t)
            u = values = problem.values if factor == 1 else problem.sample(fine)
            for axis in range(grid.dim):
                u = _smooth_axis(u, axis, fine, beta, t, factor)
            np.maximum(u, np.minimum.reduce(values, None), out=u)
            return np.minimum(u, np.maximum.reduce(values, None), out=u)

        def advance(t: float) -> Array:
            t = float(t)  # plain floats divide to infinity without a warning
            factor = _refinement(problem.values, grid, beta, t) if self.refine else 1
            stats["steps"] += 1
            stats["nodes_per_cell"] = factor
            fine = grid if factor == 1 else grid.refined(factor)
            u = smooth(fine, factor, t)
            if not resolved:
                last = factor  # nodes a cell of the last sums

                def finer(values: Array, finer_grid: Grid) -> Array | None:
                    nonlocal last
                    needed = finer_grid.cells[0] // grid.cells[0]
                    needed *= _refinement(values, finer_grid, beta, t)
                    # more than before, and no multiple: a jump rounded alike twice would agree
                    needed = max(needed, 3 * last)
                    last = needed + 2 * (needed % last == 0)
                    if np.prod(np.array(grid.cells, float) * last) > MOST_NODES:
                        return None
                    try:
                        return smooth(grid.refined(last), last, t)
                    except ConvergenceError:  # more nodes beyond the walls than are allowed
                        return None

                u = on_finer_nodes(problem, u, finer, stats)
            elif factor > 1 and not (callable(problem.initial) or self.extend):
                _warn_if_interpolated(problem.values, grid, t)
            return u

        return advance

    def _extended(self, problem: Problem, fine: Grid, factor: int, t: float) -> Array:
        """Convolution with f sampled as far beyond the walls as the windows reach."""
        beta, least = problem.equation.beta, float(problem.values.min())
        highest = float(hopf_lax(problem.values, problem.grid, t, refine=False).max())
        reach = _reach(highest - least, beta, t)
        while True:
            pad = [ceil(reach / h / factor) * factor for h in fine.spacing]
            if np.prod(np.array(fine.cells, float) + 2 * np.array(pad, float)) > _MOST_NODES:
                raise beyond_reach(t, reach)
            values = problem.sample(enlarged(fine, pad), outside=True)
            least = min(least, float(values.min()))
            needed = _reach(highest - least, beta, t)
            if needed <= reach:
                break
            reach = max(needed, 1.5 * reach)  # of -c |x|^2 / 2 the needed tends to √(ct) reach
        for axis in range(fine.dim):
            values = _convolve(values, axis, fine.spacing[axis], beta, t, pad[axis], factor)
        return np.maximum(values, least)


def _refinement(values: Array, grid: Grid, beta: float, t: float) -> int:
    """Odd number of nodes a cell and axis that resolves the narrowest integrand."""
    from pdekit.pde.kernels.convolution import sharpest_minimiser

    factor = 1
    for axis, h in enumerate(grid.spacing):
        width = sqrt(t / beta)
        steepest = _largest_bend(values, axis) / h**2
        if h > _NODES_PER_WIDTH * width / sqrt(1 + t * steepest):
            lines = np.ascontiguousarray(np.moveaxis(values, axis, -1))
            lines = lines.reshape(-1, grid.cells[axis])
            second = sharpest_minimiser(lines, h * h / (2 * t), grid.periodic[axis])
            width /= sqrt(1 + t * max(second, 0.0) / h**2)
            needed = ceil(h / (_NODES_PER_WIDTH * width))
            factor = max(factor, needed + 1 - needed % 2)
    factor = max(factor, _at_walls(values, grid, beta))
    if factor > 1 and np.prod(np.array(grid.cells, float) * factor) > _MOST_NODES:
        raise ConvergenceError(
            f"beta = {beta:g} and t = {t:g} make the smoothing kernel so narrow that {factor} "
            "nodes per cell and axis would be needed; use HamiltonJacobi() (its limit), or a "
            "smaller box with finer cells"
        )
    return factor


def _largest_bend(values: Array, axis: int) -> float:
    """The largest second difference along an axis, or 0; some rows at a time, as fit the cache."""
    if values.ndim == 1:
        return max(float(np.diff(values, 2).max()), 0.0)
    largest, more = 0.0, 2 * (axis == 0)
    for k in range(0, len(values) - more, _ROWS):
        largest = max(largest, float(np.diff(values[k : k + _ROWS + more], 2, axis).max()))
    return largest


def _at_walls(values: Array, grid: Grid, beta: float) -> int:
    """Nodes per cell and axis for the kink by reflection of data that decrease towards a wall.

    A midpoint sum errs by (beta fall)^2 / 24 beta there, at most by half the fall.
    """
    fall = 0.0
    for axis, periodic in enumerate(grid.periodic):
        if not periodic:
            u = values if axis == 0 else values.T
            for drop in (u[1] - u[0], u[-2] - u[-1]):
                fall = max(fall, float(drop.max() if u.ndim > 1 else drop))
    if not fall > 0:
        return 1
    scale = float(np.ptp(values))
    needed = fall * min(sqrt(beta / (24 * _WALL * scale)), 1 / (2 * _WALL * scale))
    most = _MOST_AT_WALLS[grid.dim - 1]
    if needed > most:
        warn_unresolved(fall / scale, stacklevel=9)
    factor = min(ceil(needed), most)
    return max(factor + 1 - factor % 2, 1)


def _warn_if_interpolated(values: Array, grid: Grid, t: float) -> None:
    """Warn if the smoothing depends on f between samples not fitted by a parabola."""
    gap, scale = float(hopf_lax_gaps(values, grid, t)[0]), float(np.ptp(values))
    if gap > 1e-4 * scale:
        warn_unresolved(gap / scale, stacklevel=8)


def _reach(height: float, beta: float, t: float) -> float:
    """Distance beyond which no node adds more than exp(-TAIL) to any output.

    ``height`` bounds u - min f: |x-y|^2 / 2t + f(y) >= TAIL / beta + u(x) for all farther y.
    """
    from pdekit.pde.kernels.convolution import TAIL

    return sqrt(2 * t * (TAIL / beta + height))


def _smooth_axis(u: Array, axis: int, fine: Grid, beta: float, t: float, stride: int) -> Array:
    h = fine.spacing[axis]
    reach = _reach(_height(u, axis, h, t), beta, t) / h
    if reach > (2 if fine.periodic[axis] else 4) * fine.cells[axis]:
        width = min(sqrt(t / beta) / h, 1e3 * fine.cells[axis])
        return _spread(u, axis, width, beta, stride, fine.periodic[axis])
    pad = ceil(reach) + 1
    mode: Any = "wrap" if fine.periodic[axis] else "symmetric"

    def extend(v: Array, cells: int) -> Array:
        width = [(cells, cells) if k == axis else (0, 0) for k in range(fine.dim)]
        return np.pad(v, width, mode)

    return _convolve(u, axis, h, beta, t, pad, stride, extend)


def _spread(u: Array, axis: int, width: float, beta: float, stride: int, periodic: bool) -> Array:
    """The same for a kernel as wide as the box: by its symbol on the modes of the reflected line.

    ``width`` is its standard deviation in cells. No weight is small then;
    relative to the minimum of each line, as these may differ.
    """
    from scipy.fft import dct, idct, irfft, rfft

    n, u = u.shape[axis], np.moveaxis(u, axis, -1)
    least = u.min(-1, keepdims=True)
    w = np.expm1(beta * (least - u))
    modes = np.arange(n // 2 + 1) * 2 if periodic else np.arange(n)
    symbol = np.exp(-((np.pi * modes / n * width) ** 2) / 2)
    total = irfft(rfft(w) * symbol, n) if periodic else idct(dct(w) * symbol)
    out = least - np.log1p(total[..., stride // 2 :: stride]) / beta
    return np.ascontiguousarray(np.moveaxis(out, -1, axis))


def _height(u: Array, axis: int, h: float, t: float) -> float:
    """A bound on the inf-convolution minus the minimum over all lines of an axis.

    From the minima of about 32 blocks of each line: whatever x, block Y holds a point y with
    f(y) = min over Y, at most (blocks between + 1) block widths away.
    """
    n = u.shape[axis]
    size = ceil(n / 32)
    low = np.moveaxis(np.minimum.reduceat(u, np.arange(0, n, size), axis), axis, 0)
    k = np.arange(len(low))
    cost = ((np.abs(k[:, None] - k) + 1) * (size * h)) ** 2 / (2 * t)
    if u.ndim == 1:
        return float(((low + cost).min(1) - low.min()).max())
    bound = np.full_like(low, np.inf)
    for value, away in zip(low, cost.reshape(*cost.shape, *[1] * (u.ndim - 1)), strict=True):
        np.minimum(bound, value + away, out=bound)
    return float((bound - low.min(0)).max())


def _convolve(
    u: Array, axis: int, h: float, beta: float, t: float, pad: int, stride: int,
    extend: Callable[[Array, int], Array] | None = None,
) -> Array:  # fmt: skip
    """Log-domain convolution along an axis, at the centres of the cells (every stride-th node).

    ``extend`` adds nodes at both ends, of which u has ``pad`` already where it is left out. Where
    no product of weights can underflow, the convolution is a banded matrix times exp(-beta u); on
    fewer nodes where the kernel is many cells wide.
    """
    from pdekit.pde.kernels.convolution import (
        EXPONENTS,
        banded,
        log_convolve,
        margin,
        node_spacing,
        wide,
    )

    a, least = h * h / (2 * t), float(u.min())
    if beta * (float(u.max()) - least + a * pad * pad) <= EXPONENTS:
        spacing = node_spacing(sqrt(t / beta) / h) if extend and stride == 1 else 1
        hot = beta * (float(u.max()) - least) < _HOT  # 1 - w is small and would cancel
        w = least - u
        w *= beta
        (np.expm1 if hot else np.exp)(w, out=w)
        if extend:
            w = extend(w, pad if spacing == 1 else margin(pad, spacing))
        if spacing > 1:
            total = wide(w, beta * a, pad, axis, spacing)
        else:
            kernel = np.exp(-beta * a * np.arange(-pad, pad + 1) ** 2)
            total = banded(w, kernel, axis, stride)
            total /= kernel.sum()
        out: Array = (np.log1p if hot else np.log)(total, out=total)
        out /= -beta
        out += least
        return out
    moved = np.moveaxis(extend(u, pad) if extend else u, axis, -1)
    lines = np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])
    out = np.empty((lines.shape[0], (moved.shape[-1] - 2 * pad) // stride))
    log_convolve(lines, a, beta, pad + stride // 2, stride, out)
    return np.ascontiguousarray(np.moveaxis(out.reshape(*moved.shape[:-1], -1), -1, axis))
