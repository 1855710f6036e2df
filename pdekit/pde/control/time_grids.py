"""The times of a control: stored ones, and those for integrals and densities."""

import warnings
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning
from pdekit.pde.control import density
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import FokkerPlanck
from pdekit.pde.solution import Solution, marched, solve
from pdekit.protocols import Initial

_STORED = 101  # number of stored times if only the horizon is given
_DRIFT = 2e-3  # of the mass: tolerated change of a density when the stored times are doubled
_MOST_HALVINGS = 5
_HALVINGS, _MOST_ENDS = 8, 60  # of the horizon, towards its ends
_COMMON = 9  # times by which two controls are compared
_ROUNDING = 1e-9  # of the largest value


def stored_times(t: ArrayLike) -> Array:
    """Stored times, from 0, for a horizon or given times."""
    given = np.atleast_1d(checks.numbers("t", t, "a horizon or several increasing times"))
    sound = given.ndim == 1 and given.size > 0 and bool(np.isfinite(given).all())
    if (
        not sound
        or given[-1] > checks.LONGEST
        or given[0] < 0
        or given[-1] <= 0
        or (np.diff(given) <= 0).any()
    ):
        raise ValueError(
            f"t must be a horizon > 0 and at most {checks.LONGEST:g}, or strictly increasing times "
            f"up to it; got {checks.shown(t)}"
        )
    if given.size == 1:
        return np.linspace(0.0, given[0], _STORED)
    return given if given[0] == 0 else np.concatenate([[0.0], given])


def over(fields: Array, times: Array, backward: Solution) -> Solution:
    """The fields of a backward solution in forward time."""
    return Solution(
        fields, times, backward.equation, backward.grid, backward.scheme, backward.stats
    )


def drifting(value: Solution, initial: Initial, stacklevel: int) -> Solution:
    """The density under V + u, with u at enough times."""
    equation, grid, times = value.equation, value.grid, value.times
    parts = fewest_parts(times)
    problem = Problem(FokkerPlanck(equation.potential, equation.beta), grid, initial)
    before, apart, found = None, np.inf, value
    for _ in range(_MOST_HALVINGS):
        if parts > 1:
            fine = finer(times, parts)
            with warnings.catch_warnings():  # all warnings have been given already
                warnings.simplefilter("ignore")
                back = solve(equation, grid, value.fields[-1], fine[-1] - fine[::-1], value.scheme)
            found = over(np.ascontiguousarray(back.fields[::-1]), fine, back)
        moved, _ = marched(problem, density.ByDrift(found), times)
        if before is not None:
            change, axes = np.abs(moved.fields - before), tuple(range(1, moved.fields.ndim))
            apart = float(change.sum(axes).max() / moved.fields[0].sum())
        if apart <= _DRIFT:
            break
        before, parts = moved.fields, 2 * parts
    else:
        warnings.warn(
            f"the controlled density still changes by {apart:.2g} of its mass when the value "
            "function is kept at twice as many times; use schemes.DoobTransform() or "
            "PolicyIteration(), whose densities are advanced step by step",
            AccuracyWarning,
            stacklevel=stacklevel,
        )
    return density.accepted(problem, moved, value, stacklevel + 1)


def fewest_parts(times: Array) -> int:
    """The number of parts per interval between times such that integrals are accurate."""
    return max(1, ceil((_STORED - 1) / (len(times) - 1)))


def finer(times: Array, parts: int) -> Array:
    """The times and ``parts`` - 1 between any two."""
    n = len(times) - 1
    out: Array = np.interp(np.arange(n * parts + 1) / parts, np.arange(n + 1), times)
    out[::parts] = times
    return out


def graded(times: Array, quick: float, parts: int) -> Array:
    """Times from start to horizon, dense towards both ends: halved down to

    ``quick``. Every interval is divided into ``parts``; a few of the given times are included.
    """
    horizon = times[-1]
    halvings = int(np.clip(ceil(np.log2(horizon / quick)), _HALVINGS, _MOST_ENDS))
    ends = horizon * 0.5 ** np.arange(1, halvings + 1)
    some = times[np.unique(np.linspace(0, len(times) - 1, _COMMON).astype(int))]
    knots = np.unique(np.concatenate([some, ends, horizon - ends]))
    return np.unique(finer(knots, parts))


def same(found: Array, own: Array, rtol: float) -> bool:
    """Whether fields agree up to their error in time."""
    if found.shape != own.shape:
        return False
    return float(np.abs(found - own).max()) <= rtol * float(np.ptp(own)) + _ROUNDING * float(
        np.abs(own).max()
    )
