"""A priori bounds of a field: finiteness, mass, sign, range of the data.

A scheme's result is checked before it is corrected, and corrections
count as errors.
"""

from math import isfinite

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats


def enforce_bounds(problem: Problem, u: Array, before: Array, stats: Stats) -> tuple[Array, float]:
    """u projected to its bounds, and the distance, relative to the initial data.

    Densities: entries below zero to zero, then the mass of ``before``, which absorbing walls can
    only decrease. Functions: heat to the mean of its data, and all to their range (the maximum
    principle; with zero where a wall absorbs). The distance is that of ``Problem.distance``.
    """
    if problem.scale is not None:
        return _signed(problem, u, stats)
    if not problem.is_density:
        return _ranged(problem, u)
    mass, was = float(np.add.reduce(u, None)), float(np.add.reduce(before, None))
    lowest = float(np.minimum.reduce(u, None))
    if not isfinite(mass):
        raise ConvergenceError(_OVERFLOW)
    clipped = 0.0
    if lowest < 0:
        stats["negative_before_clipping"] = min(stats["negative_before_clipping"], lowest)
        clipped = -float(u[u < 0].sum())
        u = np.maximum(u, 0.0)
    total, whole, conserves = mass + clipped, was, problem.conserves
    lost = abs(mass - was) if conserves else max(mass - was, 0.0)
    if conserves or total > was:
        u = u * (was / total) if total > 0 else np.zeros_like(u)
    if before is not problem.values:
        whole = float(problem.values.sum())
    return u, (2 * clipped + lost) / whole if whole > 0 else 0.0


def _signed(problem: Problem, u: Array, stats: Stats) -> tuple[Array, float]:
    """What is supplied has no bound but the sign of a density."""
    lowest = float(u.min())
    if not isfinite(float(u.sum())):
        raise ConvergenceError(_OVERFLOW)
    if not (problem.is_density and lowest < 0):
        return u, 0.0
    stats["negative_before_clipping"] = min(stats["negative_before_clipping"], lowest)
    kept = np.maximum(u, 0.0)
    return kept, problem.distance(kept, u)


def _ranged(problem: Problem, u: Array) -> tuple[Array, float]:
    low, high = bounds(problem)
    shift = 0.0
    if not problem.drifts:  # the mean is that of the data
        shift = problem.average - float(u.mean())
        u = u + shift
    least, most = float(u.min()), float(u.max())
    if not np.isfinite(least + most):
        raise ConvergenceError(_OVERFLOW)
    beyond = max(low - least, most - high, 0.0)
    if beyond > 0:
        u = np.clip(u, low, high)
    return u, (beyond + abs(shift)) / max(high, -low, 1e-300)


def bounds(problem: Problem) -> tuple[float, float]:
    """The range of the data, for functions; including zero if a wall absorbs."""
    low, high = float(problem.values.min()), float(problem.values.max())
    if not problem.conserves:
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


_OVERFLOW = (
    "the field is no longer finite: rates or times overflow; use a smaller beta * potential, or a "
    "shorter time"
)
