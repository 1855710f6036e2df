"""Slow modes as functions on the cells, from the vectors that an iteration has found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.thirds import at_centres, in_logs
from pdekit.pde.stationary import slow_chains

_BESIDE, _ITERATIONS = 1e-6, 4  # shift of an inverse iteration from its rate, and its steps
_LIKE = 0.5  # overlap of the modes of two grids above which they are the same one


@dataclass(frozen=True, eq=False)
class OnCells:
    """The modes of the chain on the cells."""

    grid: Grid
    rates: NDArray[Any]
    vectors: NDArray[Any]
    inverse: slow_chains.Inverse

    @property
    def loses(self) -> bool:
        """Whether walls or killing take something."""
        return self.inverse.chain.loss is not None

    @cached_property
    def weights(self) -> Array:
        """In which the modes have norm one: the stationary law, constant where there is none."""
        chain = self.inverse.chain
        law = np.full(chain.root.size, 1 / chain.root.size) if self.loses else chain.root**2
        return law.reshape(self.grid.shape)

    @cached_property
    def functions(self) -> NDArray[Any]:
        """(count, *grid.shape)."""
        made = slow_chains.functions(self.inverse, self.rates, self.vectors)
        return normalised(made.reshape(-1, *self.grid.shape), self.weights)

    def fading(self) -> Array:
        """The mode of the density that belongs to the first one, positive."""
        chain = self.inverse.chain
        made = np.abs(self.functions[0]).ravel() * chain.root**2
        if not chain.reversible:
            made = _fading(chain.matrix, float(self.rates[0].real), made)
        rho: Array = made.reshape(self.grid.shape)
        return rho


@dataclass(frozen=True, eq=False)
class Extrapolated:
    """The same from cells of a third of the width as well, to second order: see ``thirds``."""

    here: OnCells
    finer: OnCells

    @property
    def loses(self) -> bool:
        return self.here.loses

    @cached_property
    def _same(self) -> NDArray[np.intp]:
        """Which of the modes on finer cells is which: the distances of their rates are least."""
        from scipy.optimize import linear_sum_assignment

        distance = np.abs(self.here.rates[:, None] - self.finer.rates)
        return np.asarray(linear_sum_assignment(distance)[1])

    @property
    def rates(self) -> NDArray[Any]:
        return in_logs(self.here.rates, self.finer.rates[self._same])

    @cached_property
    def functions(self) -> NDArray[Any]:
        grid = self.here.grid
        finer = at_centres(self.finer.functions[self._same], grid)
        weights = in_logs(self.here.weights, at_centres(self.finer.weights, grid))
        pairs = zip(self.here.functions, finer, strict=True)
        return normalised(np.array([_linear(*pair, weights) for pair in pairs]), weights)

    def fading(self) -> Array:
        return in_logs(self.here.fading(), at_centres(self.finer.fading(), self.here.grid))


def normalised(modes: NDArray[Any], weights: Array) -> NDArray[Any]:
    """Modes with Σ |φ|² w = Σ w / Σ w."""
    axes = tuple(range(1, modes.ndim))
    modes = modes / np.abs(modes).max(axes, keepdims=True)
    size = (np.abs(modes) ** 2 * weights).sum(axes, keepdims=True) / weights.sum()
    out: NDArray[Any] = modes / np.sqrt(size)
    return out


def _linear(here: NDArray[Any], finer: NDArray[Any], weights: Array) -> NDArray[Any]:
    """(3 finer - here) / 2, with the phase of ``here`` that is closest to the finer mode."""
    overlap = (here.conj() * finer * weights).sum() / weights.sum()
    if not abs(overlap) > _LIKE:
        return finer
    out: NDArray[Any] = 1.5 * finer - 0.5 * here * (overlap / abs(overlap))
    return out


def _fading(matrix: Any, rate: float, start: Array) -> Array:
    """The mode of the transpose with this rate, by inverse iteration."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import splu

    rho: Array = start / start.sum()
    shifted = (matrix.T + (1 - _BESIDE) * rate * eye_array(rho.size)).tocsc()
    factors = splu(shifted)
    for _ in range(_ITERATIONS):
        rho = np.asarray(factors.solve(rho))
        rho = np.maximum(rho / rho.sum(), 0.0)
    return rho
