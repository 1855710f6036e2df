"""Branches of self-consistent states over a parameter, continued through folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid, require_grid
from pdekit.interactions import is_quadratic
from pdekit.pde.discrete.gibbs_map import SelfConsistentState
from pdekit.pde.discrete.mean_field import warn_if_narrow
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import McKeanVlasov
from pdekit.pde.phases.branch_systems import FieldSystem, MeanSystem
from pdekit.pde.phases.continuation import Curve, System
from pdekit.protocols import Corner


@dataclass(frozen=True, eq=False)
class Branch:
    """States along a curve in (parameter, mean): arrays of one length, in the order met.

    ``response`` is R'(m), or the ``response`` of ``SelfConsistentState``; the states with
    ``response < 1`` are stable. ``folds`` has the parameters of the turning points,
    ``fold_means`` the means there. In the plane means have a last axis of two.
    """

    parameter: Array
    mean: Array
    free_energy: Array
    response: Array
    folds: Array
    fold_means: Array

    @property
    def stable(self) -> NDArray[np.bool_]:
        return self.response < 1


def follow_branch(
    family: Callable[[float], McKeanVlasov],
    grid: Grid,
    mean: Corner | SelfConsistentState,
    bounds: tuple[float, float],
    start: float | None = None,
) -> Branch:
    """The branch of states through ``mean`` at ``start``, by pseudo-arclength continuation.

    Curie-Weiss on a line: of R(m; p) = m, in the mean. Any other interaction, and the plane: of
    the mean fields U = W * rho, rho = exp(-beta (V + U)) / Z, Newton's bordered systems by GMRES.

    Parameters
    ----------
    family : parameter -> equation: ``lambda b: McKeanVlasov(V, b, W)`` for a diagram over beta,
        ``lambda h: McKeanVlasov(V + tilt(h), beta, W)`` for a hysteresis loop.
    mean : of a state at ``start`` (or near it), by default the first of ``bounds``; or, where
        the mean does not tell states apart, a ``SelfConsistentState``.
    bounds : the interval of the parameter. The branch ends where it leaves it.
    start : a parameter within. The branch goes one way from there, at first towards the farther of
        the bounds; the other way is another call, with ``start`` for that bound.

    Folds, where R'(m) = 1, are located to 1e-10 of the interval. At the pitchfork of an
    even family the symmetric branch continues, and the broken one turns back with the
    other sign (its turning point counts as a fold, located to about 1e-5 of the interval). Raises
    ``ConvergenceError`` if the corrector fails, ``ValueError`` for bounds that do not increase
    and for a start or a mean outside them or the box.
    """
    require_grid("grid", grid)
    bounds = _increasing(bounds)
    first_parameter = bounds[0] if start is None else checks.number("start", start)
    if not bounds[0] <= first_parameter <= bounds[1]:
        raise ValueError(
            f"the branch is followed within bounds {bounds}, so start must lie there; got {start!r}"
        )
    if not isinstance(mean, SelfConsistentState):
        mean = _mean_in(mean, grid)
    first_equation = _member(family, first_parameter)
    by_mean = grid.dim == 1 and is_quadratic(first_equation.interaction)
    system: System = MeanSystem(family, grid) if by_mean else FieldSystem(family, grid, bounds[0])
    curve = Curve(system, bounds)
    points, folds = curve.followed(curve.landed(first_parameter, mean))
    last = _member(family, curve.value(points[-1]))
    Problem(last, grid, None).look_at_seam(stacklevel=2)
    Problem(last, grid, None).look_between_centres(stacklevel=2)
    warn_if_narrow(last.interaction, grid, max(last.beta, first_equation.beta))
    p, m = _parameters_and_means(curve, points)
    states = [system.energy_and_response(float(a), q[1:]) for a, q in zip(p, points, strict=True)]
    energy, response = np.array(states).T
    return Branch(p, m, energy, response, *_parameters_and_means(curve, folds))


def _parameters_and_means(curve: Curve, points: list[Array]) -> tuple[Array, Array]:
    parameters = [curve.value(q) for q in points]
    means = [curve.system.mean(p, q[1:]) for p, q in zip(parameters, points, strict=True)]
    return np.array(parameters), np.array(means)


def _increasing(bounds: Any) -> tuple[float, float]:
    try:
        low, high = bounds
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"bounds must be the two ends of the parameter's interval, (low, high); got {bounds!r}"
        ) from error
    low, high = checks.number("bounds[0]", low), checks.number("bounds[1]", high)
    if not high > low:
        raise ValueError(f"follow_branch takes increasing bounds, got {bounds!r}")
    return low, high


def _mean_in(mean: Any, grid: Grid) -> Any:
    """A mean as numbers in the box, a float on a line."""
    given = np.ravel(checks.finite("mean", mean)).tolist()
    if len(given) != grid.dim or not grid.contains(np.array(given)).all():
        raise ValueError(
            f"mean must be {grid.dim} number(s) in the box {grid.lower} to {grid.upper}, or a "
            f"SelfConsistentState; got {mean!r}"
        )
    return float(given[0]) if grid.dim == 1 else tuple(given)


def _member(family: Any, parameter: float) -> McKeanVlasov:
    if not callable(family):
        raise TypeError(
            "family must be a function from the parameter to an equation, such as "
            f"lambda beta: McKeanVlasov(V, beta, W); got {checks.shown(family)}"
        )
    equation = family(parameter)
    if not isinstance(equation, McKeanVlasov):
        raise TypeError(
            f"family must return a McKeanVlasov equation; at {parameter:g} it is {equation!r}"
        )
    return equation
