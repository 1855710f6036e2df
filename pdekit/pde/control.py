"""The verb ``control``: HJB backward and Fokker-Planck forward for controlled Langevin dynamics."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.equations import FokkerPlanck, HamiltonJacobiBellman
from pdekit.pde.generators import Generator
from pdekit.pde.problem import Problem
from pdekit.pde.schemes.doob import DoobTransform, evolve, tilted
from pdekit.pde.schemes.exponential import propagate
from pdekit.pde.solution import Solution, solve, summarise

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]
_STORED = 101  # times kept when only the horizon is given
_MASS_DEFECT = 1e-8  # what the exponential leaves at rtol 1e-9 of the value function


@dataclass(frozen=True, eq=False)
class Control:
    """Value, density and control of min E[V_T(X_T) + ∫(ℓ + |α|^2 / 2)], X_0 ~ initial.

    ``value`` and ``density`` are Solutions over the same times, forward from 0 to the horizon.
    """

    value: Solution
    density: Solution
    terminal_cost: Array

    @cached_property
    def control(self) -> "xr.DataArray":
        """The optimal control α = ∇u, dims ("time", "x", "component"); central differences."""
        import xarray as xr

        u = self.value.u
        alpha = np.gradient(u.values, self.value.grid.axes[0], axis=1, edge_order=2)
        coords = {"time": u.time.values, "x": u.x.values}
        return xr.DataArray(alpha[..., None], coords=coords, dims=("time", "x", "component"))

    @property
    def terminal(self) -> float:
        """E V_T(X_T) under the control."""
        return self._mean(self.density.fields[-1], self.terminal_cost)

    @property
    def running(self) -> float:
        """E ∫(ℓ + |α|^2 / 2) dt = E u(X_0, 0) - E V_T(X_T), by duality of the pair."""
        return self.optimum - self.terminal

    @property
    def optimum(self) -> float:
        """E u(X_0, 0): the least expected cost."""
        return self._mean(self.density.fields[0], self.value.fields[0])

    @staticmethod
    def _mean(density: Array, field: Array) -> float:
        return float((density * field).sum() / density.sum())

    @cached_property
    def residuals(self) -> dict[str, float]:
        """``mass``: largest drift of the density's mass; ``energy``: relative mismatch of the
        running cost by duality and by the integral of |α|^2 / 2 over density and time (of second
        order in the spacing of the stored times; only without a running cost)."""
        mass = self.density.stats["mass_drift"]
        if self.value.equation.running_cost is not None:
            return {"mass": mass}
        half_square = 0.5 * self.control.values[..., 0] ** 2
        power = [self._mean(*pair) for pair in zip(self.density.fields, half_square, strict=True)]
        effort = float(np.trapezoid(power, self.value.times))
        return {"mass": mass, "energy": abs(effort - self.running) / max(abs(effort), 1e-12)}


def control(
    potential: Any,
    beta: float,
    grid: Grid,
    initial: Any,
    terminal_cost: Any,
    t: ArrayLike,
    running_cost: Any = None,
    coupling: Any = None,
    scheme: Any = None,
) -> Control:
    """Optimal control of dX = -(∇V + α) dt + sqrt(2/beta) dB over [0, t] (one dimension).

    -u_t = -∇V·∇u - |∇u|^2 / 2 + beta^-1 Δu + ℓ, u(., T) = V_T; α = ∇u;
    rho_t = ∇·((∇V + ∇u) rho) + beta^-1 Δrho, rho(., 0) = initial; no-flux walls (MODEL 1.7).

    Parameters
    ----------
    potential, terminal_cost, running_cost : callables on points ``(..., 1) -> (...)``.
    initial : a law, callable density or array, as for ``solve``.
    t : the horizon (101 stored times), or the increasing times to store, the last of them the
        horizon (0 is added in front).
    coupling : must be None; mean-field couplings are not solved by this version.
    scheme : how the value function is found. ``DoobTransform()`` (the default) is exact in time,
        and then so is the density: rho(t) = w(t) exp(t L^T) (rho_0 / w(0)), w = exp(-beta u / 2),
        carried step by step with the transposed operator. ``Godunov()`` is the monotone scheme,
        after which the density solves the Fokker-Planck equation of V + u.

    Raises ``ConvergenceError`` where a step cannot be resolved.
    """
    if coupling is not None:
        raise ValueError("control(coupling=...) is not solved by this version; leave it None")
    if not isinstance(grid, Grid):
        raise TypeError(f"grid must be a pdekit.Grid, such as Grid(-3, 3, 600); got {grid!r}")
    if grid.dim != 1:
        raise ValueError(f"control works in one dimension, got a grid of {grid.dim}")
    times = _stored_times(t)
    scheme = DoobTransform() if scheme is None else scheme
    equation = HamiltonJacobiBellman(potential, beta, running_cost)
    backward = solve(equation, grid, terminal_cost, times[-1] - times[::-1], scheme)
    value = _reversed(backward, times)
    if isinstance(scheme, DoobTransform):
        density = _doob_density(value, initial)
    else:
        moving = FokkerPlanck(_Drifting(potential, value), beta)
        density = solve(moving, grid, initial, times)
    return Control(value, density, value.fields[-1])


@dataclass(frozen=True)
class _Drifting:
    """V + u(., t) with u from a solution on the same grid, linear between stored times."""

    potential: Any
    value: Solution

    @property
    def dim(self) -> int:
        return self.value.grid.dim

    @property
    def times(self) -> Array:
        return self.value.times

    def __call__(self, x: Array) -> Array:
        return self.at(0.0)(x)

    def at(self, t: float) -> Any:
        times, fields = self.value.times, self.value.fields
        k = int(np.clip(np.searchsorted(times, t) - 1, 0, len(times) - 2))
        weight = (t - times[k]) / (times[k + 1] - times[k])
        field = (1 - weight) * fields[k] + weight * fields[k + 1]
        return lambda x: self.potential(x) + field


def _stored_times(t: ArrayLike) -> Array:
    try:
        given = np.atleast_1d(np.asarray(t, dtype=float))
    except (TypeError, ValueError):
        raise TypeError(f"t must be a horizon or several increasing times; got {t!r}") from None
    sound = given.ndim == 1 and given.size > 0 and bool(np.isfinite(given).all())
    if not sound or given[0] < 0 or given[-1] <= 0 or (np.diff(given) <= 0).any():
        raise ValueError(
            f"t must be a horizon > 0, or strictly increasing times up to it; got {t!r}"
        )
    if given.size == 1:
        return np.linspace(0.0, given[0], _STORED)
    return given if given[0] == 0 else np.concatenate([[0.0], given])


def _reversed(backward: Solution, times: Array) -> Solution:
    fields = np.ascontiguousarray(backward.fields[::-1])
    return Solution(
        fields, times, backward.equation, backward.grid, backward.scheme, backward.stats
    )


def _doob_density(value: Solution, initial: Any) -> Solution:
    equation, grid = value.equation, value.grid
    plain = FokkerPlanck(equation.potential, equation.beta)
    problem = Problem(plain, grid, initial)
    cost = Problem(equation, grid, initial).running_cost()
    carry = _Carry(problem.generator(), equation.beta, cost)
    fields = [problem.values]
    for k, dt in enumerate(np.diff(value.times)):
        rho = carry.step(fields[-1], value.fields[k], value.fields[k + 1], dt)
        rho = np.maximum(rho, 0.0)
        fields.append(rho * (fields[0].sum() / rho.sum()))
    stats: dict[str, Any] = {"steps": carry.steps, "mass_defect": carry.defect}
    summarise(problem, np.array(fields), stats, stacklevel=4)
    return Solution(np.array(fields), value.times, plain, grid, value.scheme, stats)


class _Carry:
    """rho -> w(t + dt) exp(dt L^T) (rho / w(t)), by the generator tilted with w(t + dt).

    The mass of the result is that of rho only if u(t) and u(t + dt) belong together and the
    exponential is right; where the defect shows otherwise, the interval is halved.
    """

    def __init__(self, generator: Generator, beta: float, cost: Array | float) -> None:
        self.generator, self.beta, self.cost = generator, beta, cost
        self.steps, self.defect = 0, 0.0

    def step(self, rho: Array, now: Array, later: Array, dt: float, depth: int = 0) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            weighted = rho * np.exp(-self.beta / 2 * (later - now))
            generator, kill = tilted(self.generator, self.beta, self.cost, later)
            new = propagate(generator, weighted, dt, forward=True, kill=kill)
            defect = abs(float(new.sum() / rho.sum()) - 1)
        if defect <= _MASS_DEFECT and new.min() >= -_MASS_DEFECT * new.max():
            self.steps, self.defect = self.steps + 1, max(self.defect, defect)
            return new
        middle = evolve(self.generator, self.beta, self.cost, later, dt / 2)
        if depth == 24 or middle is None:
            raise ConvergenceError(
                f"the controlled density loses {defect:.2g} of its mass over a step of {dt:.2g}; "
                "refine the grid or ask for more times"
            )
        first = self.step(rho, now, middle, dt / 2, depth + 1)
        return self.step(first, middle, later, dt / 2, depth + 1)
