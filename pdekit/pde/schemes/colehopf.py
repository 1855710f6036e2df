"""The viscous Hamilton-Jacobi equation (local entropy) by the Cole-Hopf formula."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    above exp(-36) of it. Positive weights of sum one: comparison principle and constants are kept
    (where ``.stats["nodes_per_cell"]`` is above one, an array up to the error of its spline).

    On the box f is continued by reflection (no-flux; wrapped on a periodic axis). ``extend=True``
    evaluates a callable f beyond the walls instead, which gives the whole-space solution.
    MODEL 1.2; thesis (4.11). Raises ``ConvergenceError`` when more than 2^24 nodes would be needed.
    """

    extend: bool = False

    solves = (ViscousHJ,)

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        beta, grid = problem.equation.beta, problem.grid

        def advance(t: float) -> Array:
            factor = _refinement(problem.values, grid, beta, t)
            stats["steps"] += 1
            stats["nodes_per_cell"] = factor
            if self.extend:
                return self._extended(problem, grid.refined(factor), factor, t)
            fine = grid.refined(factor)
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
        lines = np.ascontiguousarray(np.moveaxis(values, axis, -1)).reshape(-1, grid.cells[axis])
        width = sqrt(t / beta)
        steepest = max(float(np.diff(lines, 2).max()), 0.0) / h**2
        if h > _NODES_PER_WIDTH * width / sqrt(1 + t * steepest):
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
    pad = ceil(_reach(_height(u, axis, h, t), beta, t) / h) + 1
    width = [(pad, pad) if k == axis else (0, 0) for k in range(fine.dim)]
    padded = np.pad(u, width, mode="wrap" if fine.periodic[axis] else "symmetric")
    return _convolve(padded, axis, h, beta, t, pad, stride)


def _height(u: Array, axis: int, h: float, t: float) -> float:
    """Largest inf-convolution minus minimum over the lines of an axis."""
    from pdekit.pde.envelope import inf_convolve

    lines = np.ascontiguousarray(np.moveaxis(u, axis, -1)).reshape(-1, u.shape[axis])
    low = np.empty_like(lines)
    inf_convolve(lines, h, t, False, False, low)
    return float((low.max(1) - lines.min(1)).max())


def _convolve(
    padded: Array, axis: int, h: float, beta: float, t: float, pad: int, stride: int
) -> Array:
    """Log-domain convolution along an axis, at the centres of the cells (every stride-th node)."""
    from pdekit.pde.convolution import log_convolve

    moved = np.moveaxis(padded, axis, -1)
    lines = np.ascontiguousarray(moved).reshape(-1, padded.shape[axis])
    out = np.empty((lines.shape[0], (padded.shape[axis] - 2 * pad) // stride))
    log_convolve(lines, h * h / (2 * t), beta, pad + stride // 2, stride, out)
    return np.ascontiguousarray(np.moveaxis(out.reshape(*moved.shape[:-1], -1), -1, axis))


def _enlarged(grid: Grid, pad: list[int]) -> Grid:
    """The grid with ``pad[k]`` more cells of the same size at both ends of axis k."""
    margin = np.array(pad) * grid.spacing
    lower, upper = np.array(grid.lower) - margin, np.array(grid.upper) + margin
    return Grid(tuple(lower), tuple(upper), tuple(np.array(grid.cells) + 2 * np.array(pad)))
