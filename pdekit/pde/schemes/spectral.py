"""Heat smoothing exactly in time by the cosine (no-flux) or Fourier (periodic) transform."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.grid import Grid
from pdekit.pde.equations import Heat
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
    """

    solves = (Heat,)

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        values, grid, beta = problem.values, problem.grid, problem.equation.beta
        spectrum = transform(values, grid)

        def advance(t: float) -> Array:
            stats["steps"] += 1
            wide = [t / beta >= (_RESOLVED * h) ** 2 for h in grid.spacing]
            return inverse(_damped(spectrum, grid, t / beta, wide), grid)

        return advance


def _damped(spectrum: Array, grid: Grid, variance: float, wide: list[bool]) -> Array:
    """A spectrum times exp(-variance symbol / 2), the continuous symbol along the ``wide`` axes."""
    factors = [
        np.exp(-variance / 2 * symbol(grid, axis, discrete=not wide[axis]))
        for axis in range(grid.dim)
    ]
    out = spectrum * factors[-1]
    for axis, factor in enumerate(factors[:-1]):
        out *= factor.reshape([-1 if k == axis else 1 for k in range(grid.dim)])
    return out


def symbol(grid: Grid, axis: int, discrete: bool) -> Array:
    """-Δ in the transform's basis along an axis: k^2, or 2 (1 - cos k h) / h^2 if ``discrete``."""
    n, h = grid.cells[axis], grid.spacing[axis]
    if grid.periodic[axis]:
        k = 2 * np.pi * np.minimum(np.arange(n), n - np.arange(n)) / (n * h)
    else:
        k = np.pi * np.arange(n) / (n * h)
    return 2 * (1 - np.cos(k * h)) / h**2 if discrete else k**2


def transform(field: Array, grid: Grid) -> Any:
    """Orthonormal cosine transform along no-flux axes, Fourier transform along periodic ones."""
    from scipy.fft import dct, fft

    out: Any = field
    for axis, periodic in enumerate(grid.periodic):
        own = axis > 0
        out = fft(out, axis=axis, overwrite_x=own) if periodic else _dct(dct, out, axis, own)
    return out


def inverse(spectrum: Any, grid: Grid) -> Array:
    """Inverse of ``transform``, in its room; real by the symmetry of the spectrum."""
    from scipy.fft import idct, ifft

    out = spectrum
    for axis, periodic in enumerate(grid.periodic):
        out = ifft(out, axis=axis, overwrite_x=True) if periodic else _dct(idct, out, axis, True)
    return np.ascontiguousarray(out.real)


def _dct(function: Any, field: Any, axis: int, overwrite: bool) -> Any:
    """A cosine transform of a real or complex field."""
    if np.iscomplexobj(field):
        return _dct(function, field.real, axis, False) + 1j * _dct(
            function, field.imag, axis, False
        )
    return function(field, axis=axis, norm="ortho", overwrite_x=overwrite)


def discrete_heat(field: Array, grid: Grid, variance: float) -> Array:
    """exp(variance Δ_h / 2) of a field: the Markov semigroup of the three-point Laplacian."""
    spectrum = transform(field, grid)
    return inverse(_damped(spectrum, grid, variance, [False] * grid.dim), grid)
