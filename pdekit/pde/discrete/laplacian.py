"""Modes of the Laplacian along an axis: cosines between walls, Fourier's basis on a circle.

Real numbers throughout. On a circle of n cells the modes are 1, cos x, -sin x, cos 2x, -sin 2x...
(the packed order of ``scipy.fftpack.rfft``), x = 2 pi i / n at cell i; between walls
cos(pi k (i + 1/2) / n), k = 0, 1, ..., made orthonormal.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid

# Cost model in nanoseconds per cell and axis: one more mode in the
# matrix products, and its matrix entry; the fast transforms, and their extra cost for fields beyond
# the cache
_PRODUCT, _ENTRY, _FAST, _FAR = 0.1, 6.0, 12.0, 12.0
_CACHED = 1 << 17


@dataclass(frozen=True)
class Fast:
    """All modes of an axis, by the fast cosine or Fourier transform."""

    axis: int
    count: int
    periodic: bool
    transformed: ClassVar[bool] = True

    def forward(self, u: Array, owned: bool) -> Array:
        from scipy import fft, fftpack

        if self.periodic:
            return np.asarray(fftpack.rfft(u, axis=self.axis, overwrite_x=owned))
        return np.asarray(fft.dct(u, axis=self.axis, norm="ortho", overwrite_x=owned))

    def inverse(self, c: Array) -> Array:
        """The field of these coefficients, which may be overwritten."""
        from scipy import fft, fftpack

        if self.periodic:
            return np.asarray(fftpack.irfft(c, axis=self.axis, overwrite_x=True))
        return np.asarray(fft.idct(c, axis=self.axis, norm="ortho", overwrite_x=True))


@dataclass(frozen=True, eq=False)
class Few:
    """The first ``count`` modes of an axis, as the rows of a matrix: one product a transform.

    ``analysis`` and ``synthesis`` have shape (count, n): coefficients c = analysis f, field
    f = synthesis^T c. Rows have unit stride for any axis, so no product copies a field.
    """

    axis: int
    count: int
    analysis: Array
    synthesis: Array
    transformed: ClassVar[bool] = False

    def forward(self, u: Array, owned: bool) -> Array:
        out: Array = u @ self.analysis.T if self.axis else self.analysis @ u
        return out

    def inverse(self, c: Array) -> Array:
        out: Array = c @ self.synthesis if self.axis else self.synthesis.T @ c
        return out


def symbol(grid: Grid, axis: int, discrete: bool) -> Array:
    """-Δ in the modes of an axis: k^2, or 2 (1 - cos k h) / h^2 if ``discrete``."""
    n, h = grid.cells[axis], grid.spacing[axis]
    turn = 2 * np.pi * ((np.arange(n) + 1) // 2) if grid.periodic[axis] else np.pi * np.arange(n)
    k = turn / (n * h)
    symbols: Array = 2 * (1 - np.cos(k * h)) / h**2 if discrete else k**2
    return symbols


def survivors(damping: Array) -> int:
    """How many of the modes, after this damping, contribute more than rounding.

    A mode adds at most 2 g mean|f|: what is left out is below 2^-53 mean|f| anywhere.
    """
    tail = 2 * np.cumsum(damping[::-1])[::-1]
    return max(1, int(np.count_nonzero(tail > 2.0**-53)))


@dataclass(frozen=True)
class Modes:
    """The modes of the axes of a grid; matrices are cached and their first rows reused."""

    grid: Grid
    known: dict[tuple[int, bool], tuple[Array, Array]] = field(default_factory=dict)

    def first(self, axis: int, count: int) -> Fast | Few:
        """The first modes as a matrix where that is cheaper than the fast transform of all.

        The cost a cell of two products grows with the modes, that of a fast transform hardly with
        the cells, but it jumps where the field no longer fits into the cache.
        """
        n, periodic = self.grid.cells[axis], self.grid.periodic[axis]
        size = int(np.prod(self.grid.cells))
        fast = _FAST + (_FAR if size > _CACHED else 0.0)
        if count * (_PRODUCT + _ENTRY * n / size) >= fast:
            return Fast(axis, n, periodic)
        known = self.known.get((n, periodic))
        if known is None or len(known[0]) < count:
            known = self.known[n, periodic] = matrices(n, periodic, count)
        return Few(axis, count, known[0][:count], known[1][:count])


@lru_cache(4)
def matrices(n: int, periodic: bool, count: int) -> tuple[Array, Array]:
    """``analysis`` and ``synthesis`` of the first modes of an axis of n cells."""
    if not periodic:
        rows = _cosines(np.arange(count), 2 * np.arange(n) + 1, 2 * n)
        rows *= np.sqrt(2 / n)
        rows[0] = np.sqrt(1 / n)
        return rows, rows
    frequency = (np.arange(count) + 1) // 2
    quarter = np.where(np.arange(count) % 2, 0, n)  # -sin x = cos(x + pi / 2)
    quarter[0] = 0
    rows = _cosines(4 * frequency, np.arange(n), 2 * n, quarter)
    weights = np.where(2 * frequency % n == 0, 1 / n, 2 / n)  # the constant, and the alternating
    return rows, rows * weights[:, None]


def _cosines(k: Any, i: Any, half: int, shift: Any = 0) -> Array:
    """cos(pi (k i + shift) / half) for all pairs, the argument brought to [0, 2 pi) exactly."""
    table = -np.cos(np.pi / half * (np.arange(2 * half) - half))
    turns = np.multiply.outer(k, i) + np.reshape(shift, (-1, 1))
    turns -= turns // (2 * half) * (2 * half)  # in vectors, which % is not
    values: Array = np.take(table, turns)
    return values


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
    """The field of these coefficients, which may be overwritten."""
    out = coefficients
    for own in sorted(basis, key=_cost, reverse=True):
        out = own.inverse(out)
    return out


def _cost(own: Fast | Few) -> tuple[bool, int, int]:
    """Sort key: axes with fewer modes first; among equals, strided before contiguous."""
    return own.transformed, own.count, own.axis


def discrete_heat(field: Array, grid: Grid, variance: float) -> Array:
    """exp(variance Δ_h / 2) of a field: the Markov semigroup of the three-point Laplacian."""
    basis: list[Fast | Few] = [
        Fast(axis, n, grid.periodic[axis]) for axis, n in enumerate(grid.cells)
    ]
    damping = [np.exp(-variance / 2 * symbol(grid, k, discrete=True)) for k in range(grid.dim)]
    return inverse(_times(transform(field, basis), damping), basis)
