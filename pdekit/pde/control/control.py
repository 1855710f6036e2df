"""``control``: HJB backward and Fokker-Planck forward for controlled Langevin dynamics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.bellman import value_checks
from pdekit.pde.bellman.constants import paid, without_constants
from pdekit.pde.control import density
from pdekit.pde.control.couplings import Coupling, look, look_at_costs
from pdekit.pde.control.equilibrium import equilibrium
from pdekit.pde.control.game_cells import cell_error, is_rough
from pdekit.pde.control.games import Newton, Solver
from pdekit.pde.control.integrals import Integrals, idle, mean, means, under_control
from pdekit.pde.control.time_grids import drifting, over, stored_times
from pdekit.pde.discrete.differences import central_gradient
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import FokkerPlanck, HamiltonJacobiBellman
from pdekit.pde.schemes import AnyStats
from pdekit.pde.schemes.doob import DoobTransform
from pdekit.pde.schemes.exponential import Exponential
from pdekit.pde.solution import Solution, marched, solve, solved
from pdekit.potentials import Quadratic
from pdekit.protocols import Field, Function, Initial, Scheme, Times
from pdekit.storage.result import Result, Rows, some_points

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_IDLE = 1e-8  # of the mass: error of the uncontrolled density


@dataclass(frozen=True)
class Improvement:
    """The improvement theorem in numbers (mathematics 1.7; thesis, theorem 4.11): gap >= 0.

    ``plain`` and ``controlled`` are the expected costs (terminal and running) without and with the
    control, ``effort`` is E ∫|α|^2 / 2; ``exact`` is the value of the gap by the identity
    E_plain ∫|∇u|^2 / 2, from the gradient of u along the uncontrolled density.
    """

    plain: float
    controlled: float
    effort: float
    exact: float

    @property
    def gap(self) -> float:
        """plain - controlled - effort: the savings of the control beyond its own cost."""
        return self.plain - self.controlled - self.effort

    @property
    def defect(self) -> float:
        """|gap - exact|: the sum of the errors of both sides."""
        return abs(self.gap - self.exact)

    def passed(self, rtol: float = 0.02) -> bool:
        """Whether the gap is nonnegative and its two values agree to ``rtol``

        of the savings, up to rounding, 1e-9 of the cost.
        """
        rounding = 1e-9 * max(abs(self.plain), abs(self.controlled), 1e-300)
        return self.gap >= -rounding and self.defect <= rtol * abs(self.exact) + rounding


@dataclass(frozen=True, eq=False, repr=False)
class Control(Result):
    """Value, density and control of min E[g(X_T) + ∫(ℓ + |α|^2 / 2)], X_0 ~ initial.

    ``value`` and ``density`` are Solutions over the same times, forward from 0 to the horizon.
    ``terminal_cost`` is g and ``running_cost`` is ℓ at those times (None: zero), both including
    the couplings at the density found; ``own_cost`` is g without them (None: the same).
    ``closure``: residuals of the coupled system. Integrals over time (``effort``, ``improvement``,
    ``residuals``, ``cost_under``) run over ``dense``, so that they do not depend on the stored
    times.
    """

    value: Solution
    density: Solution
    terminal_cost: Array
    running_cost: Array | None = None
    own_cost: Array | None = None
    closure: Mapping[str, float] = field(default_factory=dict)
    whole: Control | None = field(default=None, repr=False)
    on_other_cells: Callable[[], float] | None = field(default=None, repr=False)

    @cached_property
    def _over_time(self) -> Integrals:
        return Integrals(self, self._again)

    def _again(self, times: Array) -> Control:
        equation = self.value.equation
        return control(
            equation.potential, equation.beta, self.value.grid, self.density.fields[0],
            self.terminal_cost, times, equation.running_cost, scheme=self.value.scheme,
        )  # fmt: skip

    def plot(self, t: Times | None = None) -> Figure:
        """Draw value, density and control side by side; returns the figure.

        On a line over time as images, or at the stored times ``t`` as lines; in the plane at one
        stored time ``t`` (by default the middle one), with arrows for what is added to the
        velocity, -α.
        """
        from pdekit.pictures import controls

        return controls.plot(self, t)

    def movie(self, path: str | PathLike[str], fps: int = 12) -> Path:
        """Write a movie of value and density: .gif, or .mp4 where ffmpeg is."""
        from pdekit.pictures import movies

        return movies.of_control(self, path, fps)

    def _said(self) -> tuple[str, Rows]:
        from pdekit.pictures import words

        return words.of_control(self)

    def _parts(self) -> dict[str, Any]:
        kept = ("value", "density", "terminal_cost", "running_cost", "own_cost", "whole")
        closure = dict(self.closure)
        if self.on_other_cells is not None and "cell_error" not in closure:
            closure["cell_error"] = self.on_other_cells()
        return {name: getattr(self, name) for name in kept} | {"closure": closure}

    def _places(self) -> Array:
        return some_points(self.value.grid.centres)

    @property
    def dense(self) -> Control:
        """The same at enough times for integrals: all steps of a game, else at

        least 100 steps. Computed on demand. A control modified by hand is used as it is.
        """
        return self._over_time.dense

    @cached_property
    def control(self) -> xr.DataArray:
        """The optimal control α = ∇u, dims ("time", "x"[, "y"], "component"); central differences.

        Components in the order of the axes.
        """
        import xarray as xr

        u = self.value.u
        alpha = central_gradient(u.values, self.value.grid)
        coords = {name: u[name].values for name in u.dims}
        return xr.DataArray(alpha, coords=coords, dims=(*u.dims, "component"))

    @property
    def terminal(self) -> float:
        """E g(X_T) under the control."""
        return mean(self.density.fields[-1], self.terminal_cost)

    @property
    def running(self) -> float:
        """E ∫(ℓ + |α|^2 / 2) dt = E u(X_0, 0) - E g(X_T), by duality of the pair."""
        return self.optimum - self.terminal

    @property
    def effort(self) -> float:
        """E ∫|α|^2 / 2 dt: the running cost minus ℓ."""
        occupation, off = self._over_time.occupation(under_control)
        effort = self.running - occupation
        self._over_time.report(off, effort, "effort")
        return effort

    @property
    def optimum(self) -> float:
        """E u(X_0, 0): the minimal expected cost."""
        return mean(self.density.fields[0], self.value.fields[0])

    def cost_under(
        self, coupling: Coupling | None = None, terminal_coupling: Coupling | None = None
    ) -> float:
        """Expected cost of a player under other couplings than those of the

        solution. Effort and densities are kept; only the couplings are replaced. This allows the
        social cost of a planner (``coupling.cooperative()``) and of a game to be compared. A
        ``ResolutionWarning`` tells of kernels and densities that are narrower than the cells.
        """
        coupling = _checked(coupling, "coupling")
        terminal_coupling = _checked(terminal_coupling, "terminal_coupling")
        equation, grid, last = self.value.equation, self.value.grid, self.density.fields[-1]
        own = Problem(equation, grid, self.terminal_cost).running_cost()
        terminal = self.terminal_cost if self.own_cost is None else self.own_cost
        if terminal_coupling is not None:
            terminal = terminal + terminal_coupling.cost(last, grid)

        def rate(found: Control) -> Array:
            rho = found.density.fields
            running = np.zeros_like(rho) + own
            return means(rho, running if coupling is None else running + coupling.cost(rho, grid))

        total, off = self._over_time.of_cost(rate)
        cost = self.effort + total + mean(last, terminal)
        self._over_time.report(off, cost, "cost")
        flow = self.dense.density
        for felt, rho, times in (
            (coupling, flow.fields, flow.times), (terminal_coupling, last[None], flow.times[-1:])
        ):  # fmt: skip
            if felt is not None:
                look(felt, grid, equation.beta, stacklevel=3)
                look_at_costs(felt, grid, rho, times, stacklevel=3)
        return cost

    @cached_property
    def improvement(self) -> Improvement:
        """The improvement theorem for this control, against the uncontrolled motion.

        In a game: against an uncontrolled player in the same crowd.
        """
        exact, off = self._over_time.smooth(lambda found: means(idle(found), found._half_square))
        places, places_off = self._over_time.occupation(idle)
        self._over_time.report(off + places_off, exact, "improvement")
        return Improvement(
            plain=mean(self.dense.idle[-1], self.terminal_cost) + places,
            controlled=self.terminal + self._over_time.occupation(under_control)[0],
            effort=self.effort,
            exact=exact,
        )

    @cached_property
    def _half_square(self) -> Array:
        """|α|^2 / 2."""
        out: Array = 0.5 * (self.control.values**2).sum(-1)
        return out

    @cached_property
    def idle(self) -> Array:
        """The uncontrolled motion's density from the same start, shaped like ``density.fields``."""
        equation, start = self.value.equation, self.density.fields[0]
        plain = FokkerPlanck(equation.potential, equation.beta)
        scheme = Exponential(rtol=_IDLE) if self.density.grid.dim == 1 else None
        later = solve(plain, self.density.grid, start, self.density.times[1:], scheme).fields
        return np.concatenate([start[None], later])

    @cached_property
    def residuals(self) -> dict[str, float]:
        """``mass``: largest drift of the density's mass; ``energy``: relative mismatch of the
        effort by duality and by the integral of |α|^2 / 2 over density and time (of second order
        in the cells and, in a game, in the stored times). With couplings also ``fixed_point``, the
        largest L1 distance over time between the density and the response to it, ``gap``, the
        exploitability: the gain of a player who deviates (cost units), ``time_error`` of the value
        by its steps and ``cell_error``, its largest change by other cells where the mass is (NaN
        if it cannot be posed on them), and the solver's counts.
        """
        effort, _ = self._over_time.smooth(
            lambda found: means(under_control(found), found._half_square)
        )
        rounding = 1e-12 / self.value.equation.beta
        energy = abs(effort - self.effort) / max(abs(effort), rounding)
        mass = self.density.stats["mass_drift"]
        found = {"mass": mass, "energy": energy, **self.closure}
        if self.on_other_cells is not None and "cell_error" not in found:
            found["cell_error"] = self.on_other_cells()
        return found


def control(
    potential: Function | None,
    beta: float,
    grid: Grid,
    initial: Initial,
    terminal_cost: Field,
    t: Times,
    running_cost: Function | None = None,
    coupling: Coupling | None = None,
    terminal_coupling: Coupling | None = None,
    scheme: Scheme | None = None,
    solver: Solver | None = None,
) -> Control:
    """Optimal control of dX = -(∇V + α) dt + sqrt(2/beta) dB over [0, t], alone or in a crowd.

    -u_t = -∇V·∇u - |∇u|^2 / 2 + beta^-1 Δu + ℓ, u(., T) = g; α = ∇u;
    rho_t = ∇·((∇V + ∇u) rho) + beta^-1 Δrho, rho(., 0) = initial; no-flux walls, or periodic
    (mathematics 1.7). ℓ = running_cost + coupling(rho(t)), g = terminal_cost +
    terminal_coupling(rho(T)): a coupling makes it a mean-field game, ``coupling.cooperative()``
    mean-field control.

    Parameters
    ----------
    potential, terminal_cost, running_cost : callables on points ``(..., d) -> (...)``, d = 1 or 2;
        ``potential=None`` is V = 0 (the scoping problem).
    initial : a law, callable density or array, as for ``solve``.
    t : the horizon (101 stored times), or the increasing times to store, the last of them the
        horizon (0 is added in front). With couplings these are the time steps (second order),
        divided by 2, 4, ... if the value is too steep for them.
    coupling, terminal_coupling : values of ``pdekit.pde.control.couplings``: ``Congestion``,
        ``LogDensity``, ``Nonlocal``, ``MeanTracking`` or their sums.
    scheme : the scheme for the value function. ``DoobTransform()`` (the default) is exact in time
        on a line, and then so is the density: rho(t) = w(t) exp(t L^T) (rho_0 / w(0)),
        w = exp(-beta u / 2). ``PolicyIteration(dt)`` holds at any beta and however steep the data,
        of second order in time and filtered, or monotone at any step (``order=1``); with both
        the density is propagated by exactly the transposed linearised operator. ``Godunov()`` is
        the explicit monotone scheme on a line, after which the density solves the Fokker-Planck
        equation of V + u; not for couplings.
    solver : the solver of the coupled system: ``Newton()`` (the default), ``FixedPoint()`` or
        ``FictitiousPlay()`` of ``pdekit.pde.control.games``.

    Raises ``ConvergenceError`` if a step cannot be resolved or the coupled system not solved;
    the message has the distance and the exploitability reached.
    """
    if not isinstance(grid, Grid):
        raise TypeError(f"grid must be a pdekit.Grid, such as Grid(-3, 3, 600); got {grid!r}")
    times = stored_times(t)
    scheme = DoobTransform() if scheme is None else scheme
    potential = Quadratic(0.0, grid.dim) if potential is None else potential
    checks.fixed("potential", potential)
    if running_cost is not None:
        checks.fixed("running_cost", running_cost)
    equation = HamiltonJacobiBellman(potential, beta, running_cost)
    couplings = _checked(coupling, "coupling"), _checked(terminal_coupling, "terminal_coupling")
    if couplings != (None, None):
        solver = Newton() if solver is None else solver
        return _game(equation, grid, initial, terminal_cost, times, couplings, scheme, solver)
    if solver is not None:
        raise ValueError(
            f"solver must be None where there is no coupling, got {checks.shown(solver)}: it "
            "solves coupled systems only"
        )
    bare, terminal, least = without_constants(Problem(equation, grid, terminal_cost))
    backward, march = solved(bare, grid, terminal, times[-1] - times[::-1], scheme, stacklevel=3)
    value = over(np.ascontiguousarray(backward.fields[::-1]), times, backward)
    rho = _under(value, initial, getattr(march, "counts", [])[::-1])
    value_checks.report_density(value, rho, Problem(equation, grid, initial).potential(), 3)
    if least.any():
        value = _with_constants(value, equation, least)
    running = None if running_cost is None else Problem(equation, grid, initial).running_cost()
    if running is not None:
        running = np.broadcast_to(running, value.fields.shape)
    return Control(value, rho, value.fields[-1], running)


def _with_constants(value: Solution, equation: HamiltonJacobiBellman, least: Array) -> Solution:
    """The value function of the equation, with what is paid in any case."""
    fields = value.fields + paid(least, value.times[-1] - value.times, value.grid.dim)
    stats: AnyStats = {**value.stats}
    stats["minimum"], stats["maximum"] = float(fields.min()), float(fields.max())
    return replace(value, fields=fields, equation=equation, stats=stats)


def _under(value: Solution, initial: Initial, counts: list[int]) -> Solution:
    """The density under a value function, by what the scheme offers that found it in the steps."""
    scheme, on_line = value.scheme, value.grid.dim == 1
    if not (hasattr(scheme, "steps") and counts):
        return drifting(value, initial, stacklevel=4)
    exact = on_line and getattr(scheme, "exact_on_lines", False)
    under = density.ByTransform(value) if exact else density.BySteps(value, counts)
    return density.evolved(value, initial, under, stacklevel=4)


def _game(
    equation: HamiltonJacobiBellman,
    grid: Grid,
    initial: Initial,
    terminal_cost: Field,
    times: Array,
    couplings: tuple[Coupling | None, Coupling | None],
    scheme: Any,
    solver: Solver,
) -> Control:
    if not hasattr(scheme, "steps"):
        raise ValueError(
            f"{scheme!r} has no transposed steps to propagate a density in a mean-field game; use "
            "schemes.DoobTransform() or schemes.PolicyIteration(dt)"
        )
    if isinstance(solver, type) or not hasattr(solver, "close"):
        raise TypeError(f"solver must be a value such as Newton() or FixedPoint(); got {solver!r}")
    begun = time.perf_counter()
    backward = Problem(equation, grid, terminal_cost)
    bare, terminal, least = without_constants(backward)
    if least.any():
        backward = Problem(bare, grid, terminal)
    forward = Problem(FokkerPlanck(equation.potential, equation.beta), grid, initial)
    forward.look_at_seam(stacklevel=3)
    forward.look_between_centres(stacklevel=3)
    value_checks.report_costs(backward, stacklevel=4)
    for coupling in couplings:
        look(coupling, grid, equation.beta, stacklevel=3)
    game = equilibrium(backward, forward, times, scheme, couplings, solver)
    found, nodes = game.response, game.nodes
    stats: AnyStats = {
        "steps": len(nodes) - 1, "seconds": time.perf_counter() - begun,
        "minimum": float(found.values.min()), "maximum": float(found.values.max()),
    }  # fmt: skip
    stats.update(cast("AnyStats", {**game.counts, "time_error": game.time_error}))
    value = Solution(found.values, nodes, equation, grid, scheme, stats)
    if least.any():
        value = _with_constants(value, equation, least)
    flow, _ = marched(forward, density.KnownFlow(found.flow), nodes)
    rho = density.accepted(forward, flow, value, stacklevel=4)
    value_checks.report_density(value, rho, backward.potential(), 4)
    numbers = {k: v for k, v in game.counts.items() if isinstance(v, int | float)}
    closure = {
        "fixed_point": found.distance, "gap": found.gap(), "time_error": game.time_error, **numbers
    }  # fmt: skip
    own, terminal, running = backward.values + least[0], found.terminal + least[0], found.running
    running = running + least[1]
    on_other_cells = partial(cell_error, game, backward, forward, scheme)
    if is_rough(game, backward):
        closure["cell_error"] = on_other_cells(stacklevel=4)
    whole = Control(value, rho, terminal, running, own, closure, on_other_cells=on_other_cells)
    if len(game.stored) == len(nodes):
        return whole
    value, rho = (replace(u, fields=u.fields[game.stored], times=times) for u in (value, rho))
    running = running[game.stored]
    return replace(whole, value=value, density=rho, running_cost=running, whole=whole)


def _checked(coupling: Any, name: str) -> Any:
    verbs = ("cost", "derivative", "cooperative")
    if coupling is None:
        return None
    if isinstance(coupling, type) or not all(hasattr(coupling, verb) for verb in verbs):
        raise TypeError(
            f"{name} must be a value such as pdekit.Congestion(1.0), or offer "
            f"{', '.join(verbs)}; got {coupling!r}"
        )
    return coupling
