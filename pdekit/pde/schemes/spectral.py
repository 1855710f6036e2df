"""Heat smoothing exactly in time by the cosine (no-flux) or Fourier (periodic) transform."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.grid import Grid
from pdekit.pde.equations import Heat
from pdekit.pde.laplacian import Fast, Few, Modes, survivors, symbol
from pdekit.pde.problem import Problem

Array = NDArray[np.float64]
# Width of the heat kernel, in cells, from which its truncation at the grid's highest frequency,
# exp(-pi^2 width^2 / 2) = 5e-20 at 3, is below rounding: the spectral kernel is then nonnegative.
_RESOLVED = 3.0


@dataclass(frozen=True)
class Spectral:
    """v(t) = C^-1 exp(-t k^2 / (2 beta)) C f with C the cosine transform, to rounding in space.

    Where the kernel is narrower than three cells the continuous symbol k^2 would ring, so the
    symbol of the three-point Laplacian takes its place: a Markov semigroup for every t, whose
    error t h^2 v_xxxx / (24 beta) is then below h^4 v_xxxx. Either way constants, the mean and the
    maximum principle are kept to rounding.

    Modes that together are damped below 2^-53 of mean|f| are left out; where few survive, the
    transform is two matrix products an axis, and the cost a cell does not depend on the grid.
    ``.stats["modes"]`` has how many were kept along each axis.
    """

    solves = (Heat,)

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        beta, smooth = problem.equation.beta, smoothing(problem.values, problem.grid)

        def advance(t: float) -> Array:
            stats["steps"] += 1
            u, stats["modes"] = smooth(t / beta)
            return u

        return advance


def smoothing(field: Array, grid: Grid) -> Callable[[float], tuple[Array, tuple[int, ...]]]:
    """variance -> exp(variance Δ / 2) of the field, and the modes kept along each axis.

    The coefficients are kept from one variance to the next while they suffice.
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


def _times(c: Array, damping: list[Array]) -> Array:
    """Coefficients times a factor along each axis, as a new array."""
    out = c * damping[-1][: c.shape[-1]]
    if c.ndim == 2:
        out *= damping[0][: len(c), None]
    return out


def transform(field: Array, basis: list[Fast | Few]) -> Array:
    """Coefficients of a field, the axes with the fewest modes first."""
    out = field
    for own in sorted(basis, key=_cost):
        out = own.forward(out, out is not field)
    return out


def inverse(coefficients: Array, basis: list[Fast | Few]) -> Array:
    """The field of coefficients, which it may overwrite."""
    out = coefficients
    for own in sorted(basis, key=_cost, reverse=True):
        out = own.inverse(out)
    return out


def _cost(own: Fast | Few) -> tuple[bool, int, int]:
    """Sorts an axis after those with fewer modes; strided before contiguous among equals."""
    return isinstance(own, Fast), own.count, own.axis


def discrete_heat(field: Array, grid: Grid, variance: float) -> Array:
    """exp(variance Δ_h / 2) of a field: the Markov semigroup of the three-point Laplacian."""
    basis: list[Fast | Few] = [
        Fast(axis, n, grid.periodic[axis]) for axis, n in enumerate(grid.cells)
    ]
    damping = [np.exp(-variance / 2 * symbol(grid, k, discrete=True)) for k in range(grid.dim)]
    return inverse(_times(transform(field, basis), damping), basis)
