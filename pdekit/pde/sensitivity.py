"""How a density depends on the parameters of its equation.

With ρ_t = A(θ) ρ the derivative s = ∂ρ/∂θ solves the linearised equation s_t = A s + A_θ ρ from
s = 0. Both are moved at once, by the exponential of

    M = [[A, 0], [A_θ, A]]

in a Krylov space of (I - γ M)^-1, which needs no factors but those of I - γ A. What the residual
(r, q) in the space leaves is bounded as exp(t A) is a contraction in L1:

    |error of ρ| <= ∫ |r|,   |error of s| <= ∫ |q| + t |A_θ| |error of ρ|.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, TruncationWarning
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion, grid_comparison
from pdekit.pde.discrete.drift_diffusion import Coefficients
from pdekit.pde.discrete.krylov_space import SHIFT, Residual, Resolvent, exponential
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import called, evaluate, evaluate_vector
from pdekit.pde.equations import moving
from pdekit.pde.solution import Solution

if TYPE_CHECKING:
    import xarray as xr

_STEP = 1e-3  # relative change of a parameter, for the difference of fourth order of its rates
_RTOL = 1e-8  # in L1, of the mass per unit of the (relative) parameter
_MOST_PARTS = 4096
BETA, DRIFT, CLOCK = "beta", "drift", "clock"
_FIELDS = "potential", "force", "diffusion"
_KNOWN = (BETA, DRIFT, CLOCK, *_FIELDS)


def sensitivity(
    solution: Solution, parameter: str, field: Callable[[Array], Array] | None = None
) -> xr.DataArray:
    """∂ρ/∂θ of a density at the times of its ``solution``, per relative change of a parameter.

    Parameters
    ----------
    solution : of ``FokkerPlanck`` or ``Heat``, by ``solve``; coefficients fixed in time, no supply
    parameter : ``"beta"`` (β ∂ρ/∂β), ``"drift"`` (all of it, potential and force, times θ),
        ``"clock"`` (the whole motion θ times as fast), ``"potential"`` (V + θ ``field``),
        ``"force"`` (force + θ ``field``) or ``"diffusion"`` (D + θ ``field``)
    field : the direction of the last three, a function of points ``(..., d)`` with values
        ``(...)``, vectors ``(..., d)``, or numbers or matrices ``(..., d, d)``

    By the linearised equation, exact in time to 1e-8 of the mass in L1 (no difference of two
    solutions); for the discrete generator, so that ∂ρ/∂β is that of the cells' own density. The
    initial density does not depend on the parameter. Mass is kept: ∫ s = 0 where nothing leaves.
    Where rates of killing and of walls are none, ``clock`` = ``drift`` - ``beta``. Dims
    ``("time", "x"[, "y"])``. s / ρ is the score of one particle, and ∫ s²/ρ the information that it
    has on θ.

    Raises ``ValueError`` for an unknown parameter, supplies, resetting, transport without noise or
    moving coefficients; ``TypeError`` for equations of no density; ``ConvergenceError`` where the
    tolerance is not reached.
    """
    import xarray as xr

    problem = checked(solution, parameter, field)
    times = solution.times - solution.t0

    def derivatives(problem: Problem) -> Array:
        return _derivatives(problem, parameter, field, times)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # said by solve
        found = derivatives(problem)
    grid_comparison.compare(
        found,
        lambda other: derivatives(replace(problem, grid=other)),
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
    if not (equation.linear and (equation.carries_density or not equation.looks_backward)):
        raise TypeError(
            "sensitivity is of densities of FokkerPlanck or Heat, got a solution of "
            f"{type(equation).__name__}"
        )
    if parameter not in _KNOWN:
        raise ValueError(
            f"parameter must be one of {', '.join(_KNOWN)}, got {checks.shown(parameter)}"
        )
    if (field is not None) != (parameter in _FIELDS):
        needs = "a function of points" if parameter in _FIELDS else "None"
        raise ValueError(
            f'field must be {needs} for parameter="{parameter}", got {checks.shown(field)}'
        )
    if parameter in (DRIFT, *_FIELDS) and not hasattr(equation, "potential"):
        raise ValueError(
            f'{type(equation).__name__} has no drift; parameter must be "beta" or "clock", got '
            f'"{parameter}"'
        )
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


def _apart(ours: Array, theirs: Array, grid: Grid, other: Grid) -> float:
    """The largest relative difference in L1 over the times, on the other cells."""
    worst = 0.0
    for s, again in zip(ours, theirs, strict=True):
        size = float(np.abs(again).sum())
        there = grid_comparison.interpolated(s, grid, other)
        worst = max(worst, float(np.abs(there - again).sum()) / size if size > 0 else 0.0)
    return worst


def _derivatives(problem: Problem, parameter: str, field: Any, times: Array) -> Array:
    """Per time, of the shape of the grid."""
    if parameter in _FIELDS:
        _, s, _ = _moved(problem, _change(problem, parameter, field), times)
        return s
    return along_parameters(problem, times, (parameter,))[1][parameter]


def along_parameters(
    problem: Problem, times: Array, parameters: tuple[str, ...] = (BETA, DRIFT, CLOCK)
) -> tuple[Array, dict[str, Array]]:
    """The density, and its derivatives along these parameters, per time."""
    drifts = hasattr(problem.equation, "potential")
    # β ∂/∂β is the drift's less the clock's: no second derivative has to be differentiated
    alone = BETA in parameters and _has_rates(problem)
    along_drift = drifts and (DRIFT in parameters or (BETA in parameters and not alone))
    change = _change(problem, DRIFT, None) if along_drift else None
    rho, drift, clock = _moved(problem, change, times)
    found = {DRIFT: drift, CLOCK: clock, BETA: drift - clock}
    if alone:
        found[BETA] = _moved(problem, _change(problem, BETA, None), times)[1]
    return rho, {name: found[name] for name in parameters}


def _moved(problem: Problem, change: Any, times: Array) -> tuple[Array, Array, Array]:
    """The density, its derivative by a change of the generator (None: zero), and by the clock."""
    A = problem.generator().matrix().T.tocsc()
    run = _Run(A, 0 * A if change is None else change, problem)
    out = np.empty((3, len(times), *problem.grid.shape))
    for k, t in enumerate(times):
        rho, s = run.at(float(t))
        for part, values in zip(out, (rho, s, t * (A @ rho)), strict=True):
            part[k] = values.reshape(problem.grid.shape)
    return out[0], out[1], out[2]


def _has_rates(problem: Problem) -> bool:
    """Whether there are rates that run with neither the drift nor the noise."""
    return getattr(problem.equation, "killing", None) is not None or _radiates(problem)


def _radiates(problem: Problem) -> bool:
    walls = getattr(problem.equation, "walls", None)
    ends = () if walls is None else walls.per_axis(problem.grid.periodic)
    return any(0 < end.rate < np.inf for pair in ends for end in pair)


def _change(problem: Problem, parameter: str, field: Any) -> Any:
    """A_θ: the rates are smooth functions of θ, differenced to rounding (those of a force that
    circulates piece by piece, to 1e-5).
    """
    base = replace(problem.coefficients(0.0), values=problem.potential())
    along = None if field is None else _along(field, parameter, problem.grid)
    size = 1.0 if along is None else _size(along, parameter, base)

    def at(change: float) -> Any:
        changed = _changed(base, parameter, along, change * size)
        return drift_diffusion.generator(changed).matrix().T.tocsc()

    h = _STEP
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h * size)


def _along(field: Any, parameter: str, grid: Grid) -> Array:
    """A direction at the centres, of the shape that the coefficient may have there."""
    if parameter == "potential":
        return evaluate(field, grid, "field")
    if parameter == "force":
        return evaluate_vector(field, grid, "field")
    values = called("field", field, grid.centres)
    tensors = (*grid.shape, grid.dim, grid.dim)
    if values.shape not in (grid.shape, tensors) or not np.isfinite(values).all():
        raise ValueError(
            f"field must map points of shape {grid.centres.shape} to finite values of shape "
            f"{grid.shape} or {tensors}, got shape {values.shape}"
        )
    return values[..., 0, 0] if grid.dim == 1 and values.shape == tensors else values


def _size(along: Array, parameter: str, base: Coefficients) -> float:
    """Of a field, in its units, so that its change is one of order one."""
    reach = float(np.ptp(along) if parameter == "potential" else np.abs(along).max())
    of = {"potential": base.beta, "force": base.beta * base.grid.narrowest, "diffusion": 1.0}
    return 1.0 / (of[parameter] * reach) if reach > 0 else 1.0


def _changed(base: Coefficients, parameter: str, along: Any, change: float) -> Coefficients:
    """The coefficients with a parameter changed, by a share or along a field."""
    force = base.force
    if parameter == BETA:
        return replace(base, beta=base.beta * (1 + change))
    if parameter == DRIFT:
        pushed = None if force is None else (1 + change) * force
        return replace(base, values=(1 + change) * base.values, force=pushed)
    if parameter == "potential":
        return replace(base, values=base.values + change * along)
    if parameter == "force":
        return replace(base, force=change * along if force is None else force + change * along)
    tensor, dim = base.tensor, base.grid.dim
    if along.ndim > tensor.ndim:
        tensor = tensor[..., None, None] * np.eye(dim)
    elif along.ndim < tensor.ndim:
        along = along[..., None, None] * np.eye(dim)
    return replace(base, tensor=tensor + change * along)


class _Run:
    """ρ and s from one time to the next."""

    def __init__(self, A: Any, change: Any, problem: Problem) -> None:
        self.resolvent, self.change, self.volume = Resolvent(A), change, problem.grid.cell_volume
        self.size = float(np.abs(change).sum(axis=0).max())
        self.state = np.concatenate([problem.values.ravel(), np.zeros(problem.values.size)])
        self.mass = float(np.abs(problem.values).sum())
        self.t, self.parts = 0.0, 1

    def at(self, t: float) -> tuple[Array, Array]:
        """Both at time t."""
        span, done = t - self.t, 0
        if span > 0:
            self.parts, before = max(self.parts // 4, 1), self.state
            while done < self.parts:
                new = self._moved(self.state, span / self.parts, _RTOL / self.parts)
                if new is not None:
                    self.state, done = new, done + 1
                elif self.parts >= _MOST_PARTS:
                    raise ConvergenceError(
                        f"the sensitivity over {span:g} is not known to {_RTOL:g} after "
                        f"{self.parts} steps; use fewer cells, or shorter times"
                    )
                else:
                    self.parts, done, self.state = 4 * self.parts, 0, before
            self.t = t
        rho, s = np.split(self.state, 2)
        return rho, s

    def _moved(self, state: Array, step: float, tolerance: float) -> Array | None:
        gamma = SHIFT * step

        def solve(b: Array) -> Array:
            rho, s = np.split(b, 2)
            x = self.resolvent.solve(rho, gamma)
            y = self.resolvent.solve(s + gamma * (self.change @ x), gamma)
            return np.concatenate([x, y])

        def bound(v: Array, g: Residual) -> float:
            rho, s = np.split(v, 2)
            A, more = self.resolvent.matrix, step * self.size
            r = _l1(rho - gamma * (A @ rho))
            q = _l1(s - gamma * (A @ s + self.change @ rho))
            by_parts = g.mean + SHIFT * g.variation
            of_rho = min(g.mean * r, by_parts * _l1(rho))
            of_s = min(g.mean * q + more * of_rho, by_parts * (_l1(s) + more * _l1(rho)))
            return max(of_rho, of_s)

        return exponential(solve, state, bound, tolerance * self.mass)[0]


def _l1(v: Array) -> float:
    return float(np.abs(v).sum())
