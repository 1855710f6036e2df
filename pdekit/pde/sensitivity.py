"""How a density depends on the parameters of its equation: s = ∂ρ/∂θ by the linearised equation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import TruncationWarning
from pdekit.grid import Grid
from pdekit.interactions import PairPotential
from pdekit.pde.discrete import grid_comparison, responses
from pdekit.pde.discrete.mean_field import pair_field
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.rate_changes import BETA, CLOCK, DRIFT, FIELDS
from pdekit.pde.discrete.sampling import evaluate
from pdekit.pde.equations import moving
from pdekit.pde.mean_field_tangent import Direction, tangents
from pdekit.pde.solution import Solution

if TYPE_CHECKING:
    import xarray as xr

INITIAL, INTERACTION = "initial", "interaction"
_KNOWN = (BETA, DRIFT, CLOCK, *FIELDS, INITIAL, INTERACTION)
_WITH_FIELD = (*FIELDS, INITIAL)


def sensitivity(
    solution: Solution, parameter: str, field: Callable[[Array], Array] | None = None
) -> xr.DataArray:
    """∂ρ/∂θ of a density at the times of its ``solution``, per relative change of a parameter.

    Parameters
    ----------
    solution : of ``FokkerPlanck``, ``Heat`` or ``McKeanVlasov``, by ``solve``; coefficients fixed
        in time, no supply
    parameter : ``"beta"`` (β ∂ρ/∂β), ``"drift"`` (all of it, potential, force and interaction,
        times θ), ``"clock"`` (the whole motion θ times as fast), ``"potential"`` (V + θ ``field``),
        ``"force"`` (force + θ ``field``), ``"diffusion"`` (D + θ ``field``), ``"interaction"``
        (W times θ, or W + θ ``field``) or ``"initial"`` (ρ_0 + θ ``field``)
    field : the direction of those that have one, a function of points ``(..., d)`` with values
        ``(...)``, for a force vectors ``(..., d)``, for a diffusion numbers or matrices
        ``(..., d, d)``, for an interaction an even function of the displacement

    By the linearised equation, exact in time to 1e-8 of the mass in L1 (no difference of two
    solutions), of ``McKeanVlasov`` to 1e-8 in each step; for the discrete generator, so that ∂ρ/∂β
    is that of the cells' own density. But for ``"initial"`` the initial density does not depend on
    the parameter. Mass is kept: ∫ s = 0 where nothing leaves. Where rates of killing and of walls
    are none, ``clock`` = ``drift`` - ``beta``. Dims ``("time", "x"[, "y"])``. s / ρ is the score of
    one particle, and ∫ s²/ρ the information that it has on θ. Of one observable and many parameters
    see ``expectation_gradient``.

    Raises ``ValueError`` for an unknown parameter, supplies, resetting, transport without noise or
    moving coefficients; ``TypeError`` for equations of no density; ``ConvergenceError`` where the
    tolerance is not reached.
    """
    import xarray as xr

    problem = checked(solution, parameter, field)
    times = solution.times - solution.t0

    def on(problem: Problem) -> Array:
        return derivatives(problem, parameter, field, times)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # said by solve
        found = on(problem)
    grid_comparison.compare(
        found,
        lambda other: on(replace(problem, grid=other)),
        lambda ours, theirs, other: _apart(ours, theirs, problem.grid, other),
        problem.grid,
        "the sensitivity",
    )
    u = solution.u
    return xr.DataArray(found, u.coords, u.dims, f"d/d {parameter}")


def checked(solution: Any, parameter: str, field: Any) -> Problem:
    if not hasattr(solution, "problem"):
        raise TypeError(
            f"sensitivity takes the result of solve, got {checks.shown(solution)}; expected "
            "solve(FokkerPlanck(...), grid, law, t)"
        )
    equation = solution.equation
    forward = equation.linear and (equation.carries_density or not equation.looks_backward)
    if not (forward or equation.mean_field):
        raise TypeError(
            "sensitivity is of densities of FokkerPlanck, Heat or McKeanVlasov, got a solution of "
            f"{type(equation).__name__}"
        )
    _check_parameter(equation, parameter, field)
    for part in moving(equation):
        raise ValueError(
            "sensitivity is for coefficients that are fixed in time, got "
            f"{checks.shown(part)}, which has at(t); use its at(t) from one time to the next"
        )
    if checks.declared(solution.scheme, "without_generator"):
        raise ValueError(
            f"{checks.shown(solution.scheme)} does not move the density by the generator that "
            "would be linearised; solve by Krylov(), or with a diffusion along every axis"
        )
    if equation.supplied or equation.without_noise or getattr(equation, "resetting", None):
        raise ValueError(
            "sensitivity is for densities that nothing supplies or resets, with noise; got "
            f"{checks.shown(equation)}: leave out source, Inflow, Held and resetting"
        )
    problem: Problem = solution.problem()
    return problem


def _check_parameter(equation: Any, parameter: str, field: Any) -> None:
    if parameter not in _KNOWN:
        raise ValueError(
            f"parameter must be one of {', '.join(_KNOWN)}, got {checks.shown(parameter)}"
        )
    wants = parameter in _WITH_FIELD
    if (field is not None) != wants and not (field is not None and parameter == INTERACTION):
        needs = "a function of points" if wants else "None"
        raise ValueError(
            f'field must be {needs} for parameter="{parameter}", got {checks.shown(field)}'
        )
    name = type(equation).__name__
    if parameter in (DRIFT, *FIELDS) and not hasattr(equation, "potential"):
        raise ValueError(
            f'{name} has no drift; parameter must be "beta" or "clock", got "{parameter}"'
        )
    lacks = ("force", "diffusion") if equation.mean_field else (INTERACTION,)
    if parameter in lacks:
        of = "FokkerPlanck" if equation.mean_field else "McKeanVlasov"
        raise ValueError(f'"{parameter}" is a parameter of {of}, not of {name}')


def _apart(ours: Array, theirs: Array, grid: Grid, other: Grid) -> float:
    """The largest relative difference in L1 over the times, on the other cells."""
    worst = 0.0
    for s, again in zip(ours, theirs, strict=True):
        size = float(np.abs(again).sum())
        there = grid_comparison.interpolated(s, grid, other)
        worst = max(worst, float(np.abs(there - again).sum()) / size if size > 0 else 0.0)
    return worst


def derivatives(problem: Problem, parameter: str, field: Any, times: Array) -> Array:
    """Per time, of the shape of the grid."""
    if problem.equation.mean_field:
        return tangents(problem, _direction(problem, parameter, field), times)
    if parameter in FIELDS:
        return responses.along_field(problem, times, parameter, field)
    if parameter == INITIAL:
        start = evaluate(field, problem.grid, "field")
        return responses.along_start(problem, times, start)
    return responses.along_parameters(problem, times, (parameter,))[1][parameter]


def _direction(problem: Problem, parameter: str, field: Any) -> Direction:
    """How a parameter changes a McKean-Vlasov equation."""
    if parameter == BETA:
        return Direction(beta=1.0)
    if parameter == CLOCK:
        return Direction(clock=1.0)
    if parameter == DRIFT:
        V = problem.potential()
        return Direction(lambda rho, felt: V + felt)
    if parameter == INTERACTION and field is None:
        return Direction(lambda rho, felt: felt)
    if parameter == INTERACTION:
        pair = pair_field(PairPotential(field, problem.grid.dim), problem.grid)
        return Direction(lambda rho, felt: pair(rho))
    values = evaluate(field, problem.grid, "field")
    return Direction(start=values) if parameter == INITIAL else Direction(lambda rho, felt: values)
