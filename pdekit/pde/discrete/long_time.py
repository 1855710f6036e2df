"""Long-time behaviour: the stationary state, and the time by which it is reached.

Where detailed balance holds, sqrt(pi) L / sqrt(pi) is symmetric: away from its stationary state a
density decays like exp(-gap t) in the norm with the weight 1 / pi, a function in that with pi.
"""

from functools import cached_property
from math import exp, log
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.pde.discrete.generators import Generator

_BALANCED = 1e-11  # tolerance for logs of rates to sum to zero around every square of cells
_UNSURE = 1e-13  # of the largest rate: tolerated error of an eigenvalue
_DENSE = 256  # number of cells up to which a full matrix is faster
_MOST = 1 << 16  # number of cells for which an eigenvalue takes about a second
_ROUNDING = 1e-15  # relative error of a ratio of the stationary state, per cell


class StationaryLimit:
    """The limit for a generator acting forward on densities, or backward on functions."""

    def __init__(self, generator: Generator, forward: bool) -> None:
        self.generator, self.forward = generator, forward

    def after(self, u: Array, t: float, tolerance: float) -> tuple[Array, float] | None:
        """exp(t A) u and a bound on its error relative to u, if it has reached

        the stationary state. None if the bound is not below ``tolerance``, or unknown.
        """
        size = float(np.abs(u).sum() if self.forward else np.abs(u).max())
        if self._stationary is None or not size > 0:
            return None
        logs, unsure = self._stationary
        pi = np.exp(logs)
        if self.forward:
            rest, weights, most = pi * float(u.sum()), -logs, 0.0
        else:
            rest, weights, most = np.full_like(u, float((pi * u).sum())), logs, -float(logs.min())
        with np.errstate(divide="ignore"):
            away = np.logaddexp.reduce(2 * np.log(np.abs(u - rest)) + weights, axis=None)
        left = (float(away) + most) / 2 - self._gap * t - log(size)
        error = unsure + (exp(max(left, -700.0)) if left < 0 else 1.0)
        return (rest, error) if error <= tolerance else None

    @cached_property
    def _stationary(self) -> tuple[Array, float] | None:
        return _log_stationary(self.generator)

    @cached_property
    def _gap(self) -> float:
        return _gap(self.generator)


def _log_stationary(generator: Generator) -> tuple[Array, float] | None:
    """log pi where pi_i rate(i -> j) = pi_j rate(j -> i), and its accuracy; or None."""
    grid = generator.grid
    if generator.loss is not None or generator.oblique or np.prod(grid.shape) > _MOST:
        return None
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rises = [np.log(up / down) for up, down in zip(generator.up, generator.down, strict=True)]
    if not all(np.isfinite(rise).all() for rise in rises):
        return None
    logs = _summed(rises, grid.shape)
    apart = max(_unclosed(logs, rise, axis) for axis, rise in enumerate(rises))
    if apart > _BALANCED:
        return None
    logs -= float(np.logaddexp.reduce(logs, axis=None))
    return logs, (_ROUNDING + apart) * sum(grid.shape)


def _summed(rises: list[Array], shape: tuple[int, ...]) -> Array:
    """The field with these increments: along the first axis at its wall, then along the second."""
    logs = np.zeros(shape)
    first = rises[0].reshape(len(rises[0]), -1)[: shape[0] - 1, 0]
    logs[1:] += np.cumsum(first).reshape(-1, *(1 for _ in shape[1:]))
    if len(shape) == 2:
        logs[:, 1:] += np.cumsum(rises[1][:, : shape[1] - 1], 1)
    return logs


def _unclosed(logs: Array, rise: Array, axis: int) -> float:
    """The mismatch between the increments along an axis and those of the field."""
    own = np.roll(logs, -1, axis) - logs
    own = own[tuple(slice(n) for n in rise.shape)]
    return float(np.abs(own - rise).max(initial=0.0))


def _gap(generator: Generator) -> float:
    """A lower bound of the spectral gap; zero if lost to rounding."""
    matrix = generator.matrix().tocsr()
    diagonal = matrix.diagonal()
    symmetric = matrix.multiply(matrix.T).sqrt().tolil()
    symmetric.setdiag(diagonal)
    rate = float(-diagonal.min())
    gap = _second((-symmetric).tocsc(), rate)
    return max(gap - _UNSURE * rate, 0.0) if gap > 10 * _UNSURE * rate else 0.0


def _second(matrix: Any, rate: float) -> float:
    """The eigenvalue of a semidefinite matrix that is second smallest."""
    from scipy.linalg import eigvalsh
    from scipy.sparse.linalg import eigsh

    if matrix.shape[0] <= _DENSE:
        return float(eigvalsh(matrix.toarray(), subset_by_index=[1, 1])[0])
    start = np.linspace(1.0, 2.0, matrix.shape[0])
    found = eigsh(matrix, k=2, sigma=-1e-7 * rate, v0=start, return_eigenvectors=False)
    return float(np.sort(found)[1])
