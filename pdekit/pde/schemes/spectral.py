"""Heat smoothing exactly in time by the cosine (no-flux) or Fourier (periodic) transform."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.beyond_walls import in_the_whole_space
from pdekit.pde.discrete.laplacian import (
    Modes,
    _times,
    inverse,
    survivors,
    symbol,
    transform,
)
from pdekit.pde.discrete.march import Advance
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.discrete.subcell import on_finer_nodes, resolves
from pdekit.pde.equations import Heat

# Width of the heat kernel, in cells, from which its truncation at the grid's highest frequency,
# exp(-pi^2 width^2 / 2) = 5e-20 at 3, is below rounding: the spectral kernel is then nonnegative.
_RESOLVED = 3.0
_TAIL = 40.0  # exponent of the kernel beyond which it is below rounding


class SpectralStats(Stats, total=False):
    """Also how many modes were kept along each axis."""

    modes: tuple[int, ...]


@dataclass(frozen=True)
class Spectral:
    """v(t) = C^-1 exp(-t k^2 / (2 beta)) C f with C the cosine transform, to rounding in space.

    Where the kernel is narrower than three cells the continuous symbol k^2 would oscillate,
    so the symbol of the three-point Laplacian takes its place: a Markov semigroup for every t,
    whose error t h^2 v_xxxx / (24 beta) is then below h^4 v_xxxx. In both cases constants, the mean
    and the maximum principle are kept to rounding.

    Modes that together are damped below 2^-53 of mean|f| are left out; where few survive, the
    transform is two matrix products an axis, and the cost a cell does not depend on the grid.
    ``.stats["modes"]`` has their number along each axis.

    ``extend=True``: in the whole space, a callable f being evaluated beyond the walls as far as the
    kernel is above exp(-40) of its middle (farther where f grows), on 3, 9, 27, ... nodes a cell
    where the cells do not resolve it. Raises ``ConvergenceError`` where that takes more than 2^24
    nodes.
    """

    extend: bool = False

    solves = (Heat,)

    def __post_init__(self) -> None:
        if self.extend is not False:  # a default is created with every import
            checks.parameters(self, extend=checks.flag)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        return ""

    def start(self, problem: Problem, stats: SpectralStats) -> Advance:
        if self.extend:
            return _extended(problem, stats)
        beta, smooth = problem.equation.beta, smoothing(problem.values, problem.grid)

        def advance(t: float) -> Array:
            stats["steps"] += 1
            u, stats["modes"] = smooth(t / beta)
            return u

        return advance


def _extended(problem: Problem, stats: SpectralStats) -> Advance:
    """On a box larger by the width of the kernel, wherever the data say so."""
    beta, grid = problem.equation.beta, problem.grid
    own = max(float(np.abs(problem.values).max()), 1e-300)

    def advance(t: float) -> Array:
        stats["steps"] += 1
        width = sqrt(t / beta)

        def needed(_: Array, f: Array) -> list[float]:
            growth = max(float(np.abs(f).max()) / own, 1.0)
            return [width * sqrt(2 * (_TAIL + log(growth)))] * grid.dim

        def smoothed(larger: Problem) -> Array:
            u, stats["modes"] = smoothing(larger.values, larger.grid)(t / beta)
            if resolves(larger):
                return u

            def finer(values: Array, fine: Grid) -> Array:
                return smoothing(values, fine)(t / beta)[0]

            return on_finer_nodes(larger, u, finer, stats)

        return in_the_whole_space(
            problem, t, needed(problem.values, problem.values), needed, smoothed
        )

    return advance


def smoothing(field: Array, grid: Grid) -> Callable[[float], tuple[Array, tuple[int, ...]]]:
    """variance -> exp(variance Δ / 2) of the field, and the modes kept along each axis.

    The coefficients are reused from one variance to the next while they suffice.
    """
    kept: list[Array] = []
    modes = Modes(grid)

    def smooth(variance: float) -> tuple[Array, tuple[int, ...]]:
        damping = [_damping(grid, axis, variance) for axis in range(grid.dim)]
        basis = [modes.first(axis, survivors(g)) for axis, g in enumerate(damping)]
        counts = tuple(b.count for b in basis)
        if not kept or any(n < m for n, m in zip(kept[0].shape, counts, strict=True)):
            kept[:] = [transform(field, basis)]
        c = kept[0][tuple(slice(m) for m in counts)]
        return inverse(_times(c, damping), basis), counts

    return smooth


def _damping(grid: Grid, axis: int, variance: float) -> Array:
    """exp(-variance k^2 / 2), of the three-point Laplacian where the kernel is too narrow."""
    wide = variance >= (_RESOLVED * grid.spacing[axis]) ** 2
    return np.exp(-variance / 2 * symbol(grid, axis, discrete=not wide))
