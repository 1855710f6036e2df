"""The viscous Hamilton-Jacobi equation (local entropy) by the Cole-Hopf formula."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.equations import ViscousHJ
from pdekit.pde.problem import Problem
from pdekit.pde.schemes.hopflax import hopf_lax

Array = NDArray[np.float64]
# Node spacing over the width s of exp(-beta (f(y) + |x-y|^2 / 2t)): the error of the midpoint sum
# is 2 exp(-2 pi^2 (s/h)^2), 8e-14 at 0.8
_NODES_PER_WIDTH = 0.8
_MOST_NODES = 1 << 24


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

    On the box f is continued by reflection (no-flux; wrapped on a periodic axis). ``extend=True``
    evaluates a callable f beyond the walls instead, which gives the whole-space solution.
    MODEL 1.2; thesis (4.11). Raises ``ConvergenceError`` when more than 2^24 nodes would be needed.
    """

    extend: bool = False
    refine: bool = True

    solves = (ViscousHJ,)

    def __post_init__(self) -> None:
        checks.parameters(self, extend=checks.flag, refine=checks.flag)

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        beta, grid = problem.equation.beta, problem.grid

        def advance(t: float) -> Array:
            factor = _refinement(problem.values, grid, beta, t) if self.refine else 1
            stats["steps"] += 1
            stats["nodes_per_cell"] = factor
            fine = grid if factor == 1 else grid.refined(factor)
            if self.extend:
                return self._extended(problem, fine, factor, t)
            u = problem.values if factor == 1 else problem.sample(fine)
            for axis in range(grid.dim):
                u = _smooth_axis(u, axis, fine, beta, t, factor)
            return u

        return advance

    def _extended(self, problem: Problem, fine: Grid, factor: int, t: float) -> Array:
        """Convolution with f sampled as far beyond the walls as the windows reach."""
        beta, least = problem.equation.beta, float(problem.values.min())
        u0 = hopf_lax(problem.values, problem.grid, t, refine=False)
        for _ in range(8):
            reach = _reach(float(u0.max()) - least, beta, t)
            pad = [ceil(reach / h / factor) * factor for h in fine.spacing]
            if np.prod(np.array(fine.cells, float) + 2 * np.array(pad, float)) > _MOST_NODES:
                raise ConvergenceError(
                    f"the smoothing would need the initial function {reach:.3g} beyond the box, "
                    "on more than 2^24 nodes: it falls too fast there, or t is too long; leave "
                    "out extend=True"
                )
            wide = _enlarged(fine, pad)
            values = problem.sample(wide, outside=True)
            if values.min() >= least:
                break
            least = float(values.min())
        else:
            raise ConvergenceError(
                "the initial function keeps falling beyond the box, so its smoothing is not finite "
                "there; leave out extend=True or give a function that is bounded below"
            )
        for axis in range(fine.dim):
            values = _convolve(values, axis, fine.spacing[axis], beta, t, pad[axis], factor)
        return values


def _refinement(values: Array, grid: Grid, beta: float, t: float) -> int:
    """Odd number of nodes a cell and axis that resolves the narrowest integrand."""
    from pdekit.pde.convolution import sharpest_minimiser

    factor = 1
    for axis, h in enumerate(grid.spacing):
        width = sqrt(t / beta)
        steepest = max(float(np.diff(values, 2, axis).max()), 0.0) / h**2
        if h > _NODES_PER_WIDTH * width / sqrt(1 + t * steepest):
            lines = np.ascontiguousarray(np.moveaxis(values, axis, -1))
            lines = lines.reshape(-1, grid.cells[axis])
            second = sharpest_minimiser(lines, h * h / (2 * t), grid.periodic[axis])
            width /= sqrt(1 + t * max(second, 0.0) / h**2)
            needed = ceil(h / (_NODES_PER_WIDTH * width))
            factor = max(factor, needed + 1 - needed % 2)
    if factor > 1 and np.prod(np.array(grid.cells, float) * factor) > _MOST_NODES:
        raise ConvergenceError(
            f"beta = {beta:g} and t = {t:g} make the smoothing kernel so narrow that {factor} "
            "nodes per cell and axis would be needed; use HamiltonJacobi() (its limit), or a "
            "smaller box with finer cells"
        )
    return factor


def _reach(height: float, beta: float, t: float) -> float:
    """Distance beyond which no node adds more than exp(-TAIL) to any output.

    ``height`` bounds u - min f: |x-y|^2 / 2t + f(y) >= TAIL / beta + u(x) for all farther y.
    """
    from pdekit.pde.convolution import TAIL

    return sqrt(2 * t * (TAIL / beta + height))


def _smooth_axis(u: Array, axis: int, fine: Grid, beta: float, t: float, stride: int) -> Array:
    h = fine.spacing[axis]
    reach = _reach(_height(u, axis, h, t), beta, t)
    if not (2 * reach / h + fine.cells[axis]) * u.size / fine.cells[axis] <= _MOST_NODES:
        raise ConvergenceError(
            f"beta = {beta:g} and t = {t:g} make the smoothing kernel {reach / h:.2g} cells wide; "
            "between walls, or round a circle, nothing but -log(mean of exp(-beta f)) / beta is "
            "left then"
        )
    pad = ceil(reach / h) + 1
    mode: Any = "wrap" if fine.periodic[axis] else "symmetric"

    def extend(v: Array, cells: int) -> Array:
        width = [(cells, cells) if k == axis else (0, 0) for k in range(fine.dim)]
        return np.pad(v, width, mode)

    return _convolve(u, axis, h, beta, t, pad, stride, extend)


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
    from pdekit.pde.convolution import (
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
        w = np.exp(beta * (least - u))
        if extend:
            w = extend(w, pad if spacing == 1 else margin(pad, spacing))
        if spacing > 1:
            total = wide(w, beta * a, pad, axis, spacing)
        else:
            kernel = np.exp(-beta * a * np.arange(-pad, pad + 1) ** 2)
            total = banded(w, kernel, axis, stride)
            total /= kernel.sum()
        out: Array = least - np.log(total, out=total) / beta
        return out
    moved = np.moveaxis(extend(u, pad) if extend else u, axis, -1)
    lines = np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])
    out = np.empty((lines.shape[0], (moved.shape[-1] - 2 * pad) // stride))
    log_convolve(lines, a, beta, pad + stride // 2, stride, out)
    return np.ascontiguousarray(np.moveaxis(out.reshape(*moved.shape[:-1], -1), -1, axis))


def _enlarged(grid: Grid, pad: list[int]) -> Grid:
    """The grid with ``pad[k]`` more cells of the same size at both ends of axis k."""
    margin = np.array(pad) * grid.spacing
    lower, upper = np.array(grid.lower) - margin, np.array(grid.upper) + margin
    return Grid(tuple(lower), tuple(upper), tuple(np.array(grid.cells) + 2 * np.array(pad)))
