"""Whether the cells resolve an initial law, once noise has spread it.

The masses of the cells are those of the law, but a law narrower than a cell is somewhere within it:
its mean is off by up to half a cell for good, and from a single cell the chain spreads with tails
of its own. Both matter less the wider the density gets.
"""

import warnings
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion
from pdekit.pde.discrete.cell_means import LITTLE
from pdekit.pde.discrete.march import fields_at
from pdekit.pde.discrete.problem import Problem
from pdekit.protocols import Scheme

_BENT = 0.02  # second difference of the masses of cells; a normal law of 2.5 cells has it
_PARTS, _MOST = (9, 3), 1 << 21  # parts of a cell, and the most cells of a refined grid
_SOLVED = {1: 20_000, 2: 40_000}  # the most cells of a second solution
_LOOKS = 32  # times at which a temperature that moves is looked at
_EXPANDING = 0.3  # of the tolerance: a drift that expands multiplies errors


def report(problem: Problem, scheme: Scheme, fields: Array, times: Array, stacklevel: int) -> None:
    """A ``ResolutionWarning`` if the law's place within the cells changes the first density by 1 %.

    In L1, of the mass. Without drift, by the exact spread of the chain and of the law on parts of
    the cells; where that tells of an error, by a second solution on such parts, if there is one.
    """
    if not hasattr(problem.initial, "pdf") or not times[-1] > 0 or not _bent(problem):
        return
    k = int(np.flatnonzero(times > 0)[0])
    free = _without_drift(problem, float(times[k]))
    if not free > _EXPANDING * LITTLE:
        return
    apart = _solved_again(problem, scheme, fields[k], float(times[k]))
    apart = free if apart is None else apart
    if apart > LITTLE:
        finer = int(np.ceil(apart / LITTLE))
        warnings.warn(
            f"the initial law is narrower than the cells: at t = {times[k]:.3g} the density is "
            f"another by {apart:.2g} of its mass than from the law on parts of them. At most "
            f"about {problem.grid.refined(finer).cells} cells would suffice instead of "
            f"{problem.grid.cells}, or a wider law, or a later time",
            ResolutionWarning,
            stacklevel=stacklevel,
        )


def _bent(problem: Problem) -> bool:
    """Whether masses of neighbouring cells differ as those of a narrow law."""
    rho, dim = problem.values, problem.grid.dim
    # a few lines of calls: every solution from a law comes here
    for mass in [rho] if dim == 1 else [rho.sum(1), rho.sum(0)]:
        inner = np.abs(mass[2:] - 2 * mass[1:-1] + mass[:-2]).max()
        ends = max(abs(mass[1] - 2 * mass[0]), abs(mass[-2] - 2 * mass[-1]))
        if max(inner, ends) > _BENT * mass.sum():
            return True
    return False


def _marginal(rho: Array, axis: int) -> Array:
    out: Array = rho.sum(tuple(k for k in range(rho.ndim) if k != axis))
    return out


def _without_drift(problem: Problem, t: float) -> float:
    """The L1 distance of the chain's marginals at t from those on parts of the cells, in all."""
    grid, law, total = problem.grid, problem.initial, 0.0
    for axis, n in enumerate(grid.cells):
        parts = next((p for p in _PARTS if p * prod(grid.cells) <= _MOST), 0)
        if not parts:
            return 0.0
        cells = tuple(parts * m if k == axis else m for k, m in enumerate(grid.cells))
        fine = Grid(grid.lower, grid.upper, cells, grid.periodic)
        variance = 2 * t * _temperature(problem, t) * _diffusion(problem, axis)
        periodic, h = grid.periodic[axis], grid.spacing[axis]
        coarse = _spread(_marginal(problem.values, axis), variance / h**2, periodic)
        mass = _marginal(np.asarray(law.density(fine), dtype=float), axis)
        exact = _spread(mass, variance * (parts / h) ** 2, periodic).reshape(n, parts).sum(1)
        total += float(np.abs(coarse - exact).sum())
    return total


def _temperature(problem: Problem, t: float) -> float:
    """The mean of 1 / β until t."""
    if not problem.time_dependent:
        return 1 / float(problem.equation.beta)
    return float(np.mean([1 / problem.beta(t * (k + 0.5) / _LOOKS) for k in range(_LOOKS)]))


def _diffusion(problem: Problem, axis: int) -> float:
    """The mean of D along an axis under the law."""
    if not drift_diffusion.is_general(problem.equation):
        return 1.0
    tensor = problem.coefficients(0.0).tensor
    along = tensor if tensor.ndim == problem.grid.dim else tensor[..., axis, axis]
    return float(np.vdot(along, problem.values) / problem.values.sum())


def _spread(mass: Array, variance: float, periodic: bool) -> Array:
    """Masses of the walk to both neighbours, at a time when its variance is that many cells²."""
    from scipy.fft import dct, idct, irfft, rfft

    n, mass = mass.size, mass / mass.sum()
    if periodic:
        waves = np.exp(-variance * (1 - np.cos(2 * np.pi * np.arange(n // 2 + 1) / n)))
        out: Array = irfft(rfft(mass) * waves, n)
    else:
        waves = np.exp(-variance * (1 - np.cos(np.pi * np.arange(n) / n)))
        out = idct(dct(mass) * waves)
    return out


def _solved_again(problem: Problem, scheme: Scheme, rho: Array, t: float) -> float | None:
    """The same distance with the drift, by a second solution; None if unavailable."""
    grid = problem.grid
    parts = next((p for p in _PARTS if p**grid.dim * prod(grid.cells) <= _SOLVED[grid.dim]), 0)
    if not parts or problem.equation.supplied:
        return None
    fine = grid.refined(parts)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            posed = replace(problem, grid=fine, until=t)
            stats: Any = {"steps": 0}
            (found,) = fields_at(np.array([t]), scheme.start(posed, stats), posed.values)
    except (TypeError, ValueError, ConvergenceError):
        return None
    for axis, n in enumerate(grid.cells):
        lines = np.moveaxis(found, axis, -1)
        found = np.moveaxis(lines.reshape(*lines.shape[:-1], n, parts).mean(-1), -1, axis)
    return float(np.abs(rho - found).sum() / rho.sum()) if rho.sum() > 0 else None
