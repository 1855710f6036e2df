"""``solve`` and ``Solution``: the only PDE time loop."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field, replace
from dataclasses import fields as fields_of
from functools import cached_property
from math import isfinite, nan
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError, TruncationWarning, each_once
from pdekit.grid import Grid, require_grid
from pdekit.pde import front_cells, function_cells, law_cells, stopping_cells
from pdekit.pde.bellman import value_checks
from pdekit.pde.bellman.constants import paid, without_constants
from pdekit.pde.discrete import peclet
from pdekit.pde.discrete import supply as supplies
from pdekit.pde.discrete.accumulation import RULES, doubling_pieces, gauss_nodes
from pdekit.pde.discrete.growth import factors, without_growth
from pdekit.pde.discrete.march import Advance, fields_at
from pdekit.pde.discrete.moving_fronts import of_state
from pdekit.pde.discrete.own_walls import uncrossed
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.supply import require_supply, supplied_march
from pdekit.pde.discrete.truncation import LOST_MASS, wall_mass
from pdekit.pde.equations import FokkerPlanck
from pdekit.pde.schemes import AnyStats, best_scheme, require_known, second_scheme
from pdekit.pde.started import seen_from, start_of, times_from
from pdekit.protocols import Equation, Initial, Scheme, Times
from pdekit.storage.result import Result, Rows, some_points

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

# of the mass: what is left, from which rounding is small beside it
_LOOKS = 32  # intervals of all the time, at least, in which a rate that moves is integrated
_LEAST_LEFT = 1e-10


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Result):
    """Fields at the requested times, and how they were computed.

    ``u`` is an ``xarray.DataArray`` with dims ``("time", "x")`` or ``("time", "x", "y")`` at the
    cell centres; ``fields`` and ``times`` are its bare arrays. ``stats`` has at least ``steps``,
    ``seconds``, ``minimum``, ``maximum`` and, for densities, ``mass_drift`` (largest change of
    mass over the run) or, where walls absorb or there is killing, ``survival`` (the mass over the
    initial one, per time). ``initial`` is
    what it started from.
    """

    fields: Array
    times: Array
    equation: Any  # its fields differ: whoever reads them knows which one was solved
    grid: Grid
    scheme: Any
    stats: AnyStats = field(default_factory=lambda: _no_stats())
    initial: Any = None
    t0: float = 0.0

    @cached_property
    def u(self) -> xr.DataArray:
        import xarray as xr

        coords = {"time": self.times, **dict(zip(self.grid.names, self.grid.axes, strict=True))}
        return xr.DataArray(self.fields, coords=coords, dims=("time", *self.grid.names), name="u")

    @cached_property
    def stopped(self) -> xr.DataArray:
        """Where it is best to stop: whether u is at its obstacle, in every cell at every time.

        Like ``u``, of booleans. Where u and the obstacle only happen to be equal (both zero, say)
        it is as good to go on, and at time 0 all is over where the obstacle is the larger. The
        boundary is between two cells; on a line ``stopping_boundary`` has its place.
        ``ValueError`` for an equation without an obstacle.
        """
        return self.u.copy(data=self.fields <= self._obstacles()).rename("stopped")

    @cached_property
    def stopping_boundary(self) -> xr.DataArray:
        """Where stopping begins to be best, on a line: dims ``("time", "edge")``, ascending.

        By smooth fit: u - ψ is quadratic beside the boundary, and a parabola through its root in
        eight cells beyond vanishes there, to a small share of a cell (the exercise price of a
        perpetual put to 1e-4 on 4,000 cells). The face between the two cells where fewer than five
        go on, or the parabola has no zero within two cells of it, as beside kinks of ψ; nan where
        there are fewer edges than at other times. Where u and ψ only happen to be equal an edge
        means nothing. ``ValueError`` without an obstacle, or in the plane: there is ``stopped``.
        """
        import xarray as xr

        from pdekit.pde.discrete.free_boundary import edges

        if self.grid.dim > 1:
            raise ValueError(
                "stopping_boundary has points of a line; in the plane use stopped, whose cells have"
                f" the boundary between them; got a grid of {self.grid.dim} axes"
            )
        obstacles = self._obstacles()
        found = [edges(u - low, u <= low) for u, low in zip(self.fields, obstacles, strict=True)]
        places = np.full((len(found), max(map(len, found))), np.nan)
        for row, at in zip(places, found, strict=True):
            row[: len(at)] = self.grid.axes[0][0] + np.array(at) * self.grid.spacing[0]
        coords = {"time": self.times, "edge": np.arange(places.shape[1])}
        return xr.DataArray(places, coords, ("time", "edge"), "stopping_boundary")

    def _obstacles(self) -> Array:
        """The obstacle in every cell at every time."""
        if self.equation.obstacle is None:
            raise ValueError(
                f"nothing is stopped without an obstacle; got {checks.shown(self.equation)}: give "
                "it obstacle=..."
            )
        problem = replace(self.problem(), initial=None)
        return np.stack([problem.obstacle(float(t)) for t in self.times - self.t0])

    @property
    def final(self) -> xr.DataArray:
        """The field at the last time."""
        return self.u.isel(time=-1)

    @cached_property
    def exits(self) -> xr.Dataset:
        """Where and when a density leaves: over ``time`` and ``wall``, as in ``Ensemble.exits``.

        ``flux``, the mass that leaves per time, and ``left``, that which has left since the start,
        exact in time. ``wall`` is 2 k for the lower end of axis k, 2 k + 1 for the upper one, -1
        for killing; those that take nothing are left out. Second order in the cells.

        Raises ``ValueError`` where nothing leaves, the box is supplied, mass grows, or coefficients
        change in time while there are several ways out.
        """
        import xarray as xr

        from pdekit.pde.discrete.outflow import outflow

        found = outflow(self.problem(), self.fields, self.times - self.t0)
        dims = ("time", "wall")
        parts = {"flux": (dims, found.flux), "left": (dims, found.left)}
        return xr.Dataset(parts, {"time": self.times, "wall": found.ways})

    def problem(self) -> Problem:
        """What was solved, in the time since ``t0``."""
        until, equation = float(self.times[-1] - self.t0), seen_from(self.equation, self.t0)
        return Problem(equation, self.grid, self.initial, until=until)

    def since_start(self) -> Solution:
        """The same in the time since ``t0``."""
        if not self.t0:
            return self
        equation = seen_from(self.equation, self.t0)
        return replace(self, times=self.times - self.t0, equation=equation, t0=0.0)

    def potential(self) -> Any:
        """The fields as a potential: ``Tabulated``, or ``Evolving`` where there are several times.

        Cubic splines through the cell centres, continued linearly beyond the last of them.
        """
        from pdekit.potentials import Evolving, Tabulated

        axes = self.grid.axes if self.grid.dim > 1 else self.grid.axes[0]
        if len(self.times) == 1:
            return Tabulated(axes, self.fields[0])
        return Evolving(self.times, axes, self.fields)

    def at(self, points: ArrayLike, t: float | None = None) -> Any:
        """Cubic-spline values at ``points`` (..., d) in the box, at a stored time (default last).

        Fourth order in the grid spacing. Raises ``ValueError`` for a time not stored or a point
        outside the box.
        """
        from scipy.interpolate import CubicSpline, RectBivariateSpline

        x = checks.numbers("points", points, f"points (..., {self.grid.dim})")
        if x.ndim == 0 or x.shape[-1] != self.grid.dim:
            raise ValueError(
                f"points must end in an axis of {self.grid.dim} coordinates, got shape {x.shape}"
            )
        if not self.grid.contains(x).all():
            raise ValueError(
                f"points must lie in the box; some lie outside [{self.grid.lower}, "
                f"{self.grid.upper}]"
            )
        values = self._stored(t)
        if self.grid.dim == 1:
            return CubicSpline(self.grid.axes[0], values)(x[..., 0])
        (a, c), (b, d) = (
            self.grid.lower,
            self.grid.upper,
        )  # otherwise the boundary would be extrapolated constantly
        spline = RectBivariateSpline(*self.grid.axes, values, bbox=[a, b, c, d], s=0)
        return spline.ev(x[..., 0], x[..., 1])

    def plot(
        self, kind: str | None = None, t: Times | None = None, ax: Axes | None = None,
        arrows: xr.DataArray | None = None, **style: Any,
    ) -> Axes:  # fmt: skip
        """Draw the fields; returns the axes (``.figure.savefig(path)`` keeps the figure).

        On a line ``kind`` is "lines", at the stored times ``t`` (by default at most six), or
        "image", space against time. In the plane it is "contours" or "field" (cells), at one
        stored time ``t``, by default the last, with ``arrows``, the vectors of ``pk.current``, on
        it. ``ax``: of matplotlib; new ones if None. ``style`` goes to matplotlib.
        """
        from pdekit.pictures import fields

        return fields.plot(self, kind, t, ax, arrows, **style)

    def movie(self, path: str | PathLike[str], fps: int = 12) -> Path:
        """Write a movie with a frame a stored time: .gif, or .mp4 where ffmpeg is."""
        from pdekit.pictures import movies

        return movies.of_solution(self, path, fps)

    def _said(self) -> tuple[str, Rows]:
        from pdekit.pictures import words

        return words.of_solution(self)

    def _parts(self) -> dict[str, Any]:
        from pdekit.pictures.canvas import label_of
        from pdekit.storage.values import is_whole

        given = self.initial
        if callable(given) and not hasattr(given, "pdf") and not is_whole(given):
            given = self.problem().values  # a function of the user's: what it was on the cells
        same = {name: getattr(self, name) for name in ("equation", "grid", "scheme", "stats", "t0")}
        return {"u": self.u.assign_attrs(long_name=label_of(self)), **same, "initial": given}

    @classmethod
    def _of_parts(cls, parts: dict[str, Any]) -> Solution:
        u = parts.pop("u")
        return cls(fields=u.values, times=u["time"].values, **parts)

    def _places(self) -> Array:
        return some_points(self.grid.centres)

    def _stored(self, t: float | None) -> Array:
        if t is None:
            last: Array = self.fields[-1]
            return last
        for time_, stored in zip(self.times, self.fields, strict=True):
            if isinstance(t, Real) and np.isclose(time_, t, rtol=1e-9, atol=1e-12):
                return stored
        known = self.times.tolist()
        raise ValueError(f"t must be a stored time, one of {known}; got {checks.shown(t)}")


def solve(
    equation: Equation,
    grid: Grid,
    initial: Initial,
    t: Times,
    scheme: Scheme | None = None,
    *,
    t0: float | None = None,
) -> Solution:
    """Solve ``equation`` on ``grid`` from ``initial``; fields at the time(s) ``t``.

    Parameters
    ----------
    equation : a value of ``pdekit.pde.equations``, such as ``FokkerPlanck(V, beta=4)``.
    grid : ``Grid``; its walls are no-flux unless the axis is periodic.
    initial : a law (densities), a potential or callable on points ``(..., d) -> (...)``, or an
        array of shape ``grid.shape``; a DataArray is matched by its coordinates, which must
        be those of the grid's cells. A law is scaled to unit mass on the grid; a density given as
        values keeps its mass. A ``Solution``, also a loaded one, is gone on from.
    t : a number, or increasing numbers, >= 0. ``HamiltonJacobiBellman`` and
        ``BackwardKolmogorov`` count time to go; the motion ends at the last of them.
    scheme : a value of ``pdekit.schemes``; by default the most accurate one for the equation
        (see ``pdekit.schemes.default_scheme``).
    t0 : the time of ``initial``, by default 0, and of a ``Solution`` its last; ``t`` goes on from
        there, and coefficients are read at their own times. What goes on from a solution of
        the same equation is a solution from its start.

    Raises ``ValueError`` or ``TypeError`` on bad input and ``ConvergenceError`` where a tolerance
    is not reached. Warns (``TruncationWarning``) when a density reaches the walls, and
    (``ResolutionWarning``) where the cells are too coarse for the drift, or for the function.
    """
    with each_once():
        if t0 is not None or hasattr(initial, "fields"):
            return _gone_on(equation, grid, initial, t, scheme, t0)
        return solved(equation, grid, initial, t, scheme, stacklevel=3)[0]


def _gone_on(
    equation: Equation, grid: Grid, initial: Any, t: Times, scheme: Scheme | None, t0: Any
) -> Solution:
    """From ``t0`` on: solved in the time since then, and told in the time of the equation."""
    checks.value_not_class("equation", equation)
    start, at = start_of(initial, t0)
    times, since = times_from(t, at)
    found = solved(seen_from(equation, at), grid, start, since, scheme, stacklevel=4)[0]
    before, stats = {"initial": found.initial, "t0": at}, found.stats
    if hasattr(initial, "fields") and (initial.equation, initial.grid) == (equation, grid):
        before = {"initial": initial.initial, "t0": initial.t0}
        stats = _added(initial.stats, stats)
    return replace(found, times=times, equation=equation, stats=stats, **before)


def _added(earlier: AnyStats, stats: AnyStats) -> AnyStats:
    """Errors, drifts and steps of both parts together."""
    both: Any = {**stats}
    for name in ("error_estimate", "step_error", "w1_error", "mass_drift", "steps"):
        if name in both and name in earlier:
            both[name] += earlier[name]  # type: ignore[literal-required]
    return both  # type: ignore[no-any-return]


def solved(
    equation: Equation, grid: Grid, initial: Initial, t: Times, scheme: Scheme | None,
    stacklevel: int,
) -> tuple[Solution, Advance]:  # fmt: skip
    """What ``solve`` returns, and the march that led there."""
    if getattr(equation, "resetting", None) is not None:
        require_grid("grid", grid)
        return _reset(equation, grid, initial, t, scheme, stacklevel + 1)
    times = np.array(checks.output_times(t))
    require_grid("grid", grid)
    checks.value_not_class("equation", equation)
    require_known(equation)
    whole = Problem(equation, grid, initial, until=float(times[-1]))
    if whole.equation.controlled and whole.equation.obstacle is None:
        bare, terminal, least = without_constants(whole)
        if least.any():
            return _lifted(solved(bare, grid, terminal, t, scheme, stacklevel + 1), whole, least)
    problem = whole
    if equation.loses and not equation.supplied and equation.obstacle is None:
        reduced = without_growth(whole)
        problem = whole if reduced is equation else replace(whole, equation=reduced)
    second = None
    if scheme is None:
        scheme = best_scheme(problem)
        second = second_scheme(problem, scheme) if grid.dim > 1 else None
    else:
        _require_scheme(scheme, equation)
    reason = scheme.refuses(problem) if hasattr(scheme, "refuses") else ""
    if reason:
        raise ValueError(reason)
    if equation.loses:
        supplies.report(whole, times, stacklevel)
        if equation.supplied:
            require_supply(problem)
    problem.look_at_seam(stacklevel)
    if problem.drifts and not checks.declared(scheme, "by_particles"):
        problem.look_between_centres(stacklevel)
    if second is None:
        solution, advance = marched(problem, scheme, times)
    else:
        solution, advance = _by_either(problem, scheme, second, times)
        scheme = solution.scheme
    fields, stats, level = solution.fields, solution.stats, stacklevel + 1
    summarise(problem, fields, stats, level)
    if problem.equation.obstacle is not None:
        stopping_cells.report(problem, scheme, fields, times, stats, level)
    if problem.equation.controlled:
        value_checks.report(problem, advance, scheme, fields, times, stats, level)
    elif _moves_fronts(problem):
        front_cells.report(problem, scheme, fields[-1], float(times[-1]), level)
    elif problem.equation.without_noise or problem.equation.obstacle is not None:
        pass  # their schemes say themselves how far they are, or other cells were looked at
    elif problem.equation.linear and problem.is_density:
        if not checks.declared(scheme, "judges_cells"):
            peclet.report_along(problem, fields, times, stats, level - 1)
            law_cells.report(problem, scheme, fields, times, level)
    elif problem.equation.linear:
        function_cells.report(problem, scheme, fields, times, stats, level)
    if problem.equation is not equation:
        solution = grown(whole, solution, problem.values)
    return solution, advance


def _lifted(
    found: tuple[Solution, Advance], problem: Problem, least: Array
) -> tuple[Solution, Advance]:
    """The value function with what is paid in any case."""
    solution, advance = found
    fields = solution.fields + paid(least, solution.times, problem.grid.dim)
    stats: AnyStats = {**solution.stats}
    stats["minimum"], stats["maximum"] = float(fields.min()), float(fields.max())
    lifted = replace(
        solution, fields=fields, equation=problem.equation, stats=stats, initial=_kept(problem)
    )
    return lifted, advance


def _reset(
    equation: Any, grid: Grid, initial: Initial, t: Times, scheme: Scheme | None, stacklevel: int
) -> tuple[Solution, Advance]:
    """With resetting: it kills at its rate, and what it took comes back as its law.

    A density gains rate M law, M its mass, which is kept. An expectation at s gains
    rate ∫_0^s G, G(r) the expectation from the law after r without resetting, which is the pairing
    of the data with what a supply of the law has become; of coefficients that move, by quadrature.
    """
    resetting, rate = equation.resetting, equation.resetting.rate
    density = Problem(_forward(equation), grid, resetting.law).values
    killed = replace(equation, resetting=None, killing=resetting.as_killing())
    problem = Problem(equation, grid, initial)
    if problem.is_density:
        back = float(grid.integrate(problem.values)) * density
        killed = replace(killed, source=resetting.as_source(back))
        solution, advance = solved(killed, grid, initial, t, scheme, stacklevel)
        return replace(solution, equation=equation), advance
    if Problem(killed, grid, None).time_dependent:
        return _reset_later(equation, killed, grid, initial, t, scheme, stacklevel + 1)
    solution, advance = solved(killed, grid, initial, t, scheme, stacklevel)
    built = replace(_forward(equation), resetting=None, killing=rate, source=lambda _: density)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        returned = solve(built, grid, np.zeros(grid.shape), t, scheme)
    gained = rate * grid.integrate(returned.fields * problem.values)
    fields = solution.fields + gained.reshape(-1, *(1 for _ in grid.cells))
    stats: AnyStats = {**solution.stats}
    stats["minimum"], stats["maximum"] = float(fields.min()), float(fields.max())
    if "error_estimate" in stats:
        stats["error_estimate"] += returned.stats["error_estimate"]
    return replace(solution, equation=equation, fields=fields, stats=stats), advance


def _reset_later(
    equation: Any, killed: Any, grid: Grid, initial: Initial, t: Times, scheme: Scheme | None,
    stacklevel: int,
) -> tuple[Solution, Advance]:  # fmt: skip
    """Expectations under resetting and coefficients that move: v + ∫_0^s rate <law, v>,

    v without what comes back, at the nodes of two Gauss rules in intervals that double from the
    time of a jump on, up to a share of all the time if the rate moves; their difference counts as
    error.
    """
    resetting = equation.resetting
    times = np.array(checks.output_times(t))
    problem = Problem(killed, grid, initial, until=float(times[-1]))
    fastest = float(problem.generator().exit_rate().max())
    moves = checks.time_dependent(resetting.rate)
    seen = np.union1d(times, np.linspace(0, times[-1], _LOOKS + 1)) if moves else times
    pieces = doubling_pieces(seen, 1 / fastest)
    nodes = [gauss_nodes(pieces, n) for n in RULES]
    every = np.unique(np.concatenate([times, *(x.ravel() for x, _ in nodes)]))
    solution, advance = solved(killed, grid, initial, every, scheme, stacklevel)
    weights = Problem(_forward(equation), grid, resetting.law).values * grid.cell_volume
    axes = tuple(range(1, grid.dim + 1))
    rates = np.array([resetting.rate_at(float(times[-1]) - s) for s in every])
    from_law = rates * np.sum(solution.fields * weights, axes)
    rough, fine = (
        np.append(0.0, np.cumsum((w * from_law[np.searchsorted(every, x)]).sum(1)))
        for x, w in nodes
    )
    at = np.searchsorted(np.append(0.0, pieces[:, 1]), times)
    fields = solution.fields[np.searchsorted(every, times)]
    fields = fields + fine[at].reshape(-1, *(1 for _ in grid.cells))
    stats: AnyStats = {**solution.stats}
    stats["minimum"], stats["maximum"] = float(fields.min()), float(fields.max())
    off = float(np.abs(fine - rough).max()) / max(float(np.abs(fields).max()), 1e-300)
    grown = 1 + float(rates.max()) * times[-1]
    stats["error_estimate"] = stats.get("error_estimate", 0.0) * grown + off
    return replace(solution, equation=equation, fields=fields, times=times, stats=stats), advance


def _forward(equation: Any) -> FokkerPlanck:
    """The equation of densities with the fields of a backward one."""
    names = [f.name for f in fields_of(FokkerPlanck)]
    return FokkerPlanck(**{name: getattr(equation, name) for name in names})


def grown(problem: Problem, solution: Solution, initial: Array) -> Solution:
    """The solution with the part of killing, or growth, that is the same everywhere.

    ``initial``: the values of the problem at the time 0.
    """
    factor = factors(problem, solution.times)
    fields = solution.fields * factor.reshape(-1, *(1 for _ in problem.grid.cells))
    stats: AnyStats = {**solution.stats}
    stats["minimum"], stats["maximum"] = float(fields.min()), float(fields.max())
    if "error_estimate" in stats:  # relative to the initial data
        stats["error_estimate"] = float(stats["error_estimate"] * factor.max())
    if problem.is_density:
        stats.pop("mass_drift", None)
        kept = problem.grid.integrate(fields) / problem.grid.integrate(initial)
        stats["survival"] = kept.tolist()
    return replace(solution, fields=fields, equation=problem.equation, stats=stats)


def _require_scheme(scheme: Any, equation: Any) -> None:
    """``TypeError`` unless it is a scheme for the equation."""
    if isinstance(scheme, type) or not (hasattr(scheme, "start") and hasattr(scheme, "solves")):
        raise TypeError(
            "scheme must be a value of pdekit.schemes, such as Implicit(dt=0.01); got "
            f"{checks.shown(scheme)}"
        )
    if not isinstance(equation, scheme.solves):
        known = ", ".join(e.__name__ for e in scheme.solves)
        raise TypeError(
            f"{type(scheme).__name__} solves {known}; it does not solve {type(equation).__name__}"
        )
    if getattr(equation, "without_noise", False) and not checks.declared(scheme, "without_noise"):
        raise ValueError(
            f"{type(scheme).__name__} needs noise, a finite beta; use the default scheme, "
            f"Upwind(), or on a line Quantiles(); got {checks.shown(equation)}"
        )
    if equation.obstacle is not None and not checks.declared(scheme, "with_obstacle"):
        raise ValueError(
            f"{type(scheme).__name__} takes no obstacle; use the default scheme, ActiveSet(), or "
            "for HamiltonJacobi Filtered() or Godunov()"
        )


def _moves_fronts(problem: Problem) -> bool:
    equation = problem.equation
    given = getattr(equation, "hamiltonian", None)
    return given is not None and equation.obstacle is None and of_state(problem)


def _by_either(
    problem: Problem, scheme: Scheme, second: Scheme, times: Array
) -> tuple[Solution, Advance]:
    """``marched`` by the scheme, or by the second if the tolerance of the first is not reached."""
    try:
        return marched(problem, scheme, times)
    except ConvergenceError as error:
        try:
            return marched(problem, second, times)
        except ConvergenceError:
            raise error from None


def marched(problem: Problem, scheme: Scheme, times: Array) -> tuple[Solution, Advance]:
    """The fields at the times, not yet checked, and the march that produced them."""
    begin = time.perf_counter()
    stats = _no_stats()
    advance: Advance
    if problem.equation.supplied and problem.equation.obstacle is None:
        advance = supplied_march(problem, scheme, stats)
    else:
        advance = scheme.start(problem, stats)
    stops = problem.equation.obstacle is not None
    fields = fields_at(times, advance, problem.start if stops else problem.values)
    stats["seconds"] = time.perf_counter() - begin
    given = _kept(problem)
    made = Solution(fields, times, problem.equation, problem.grid, scheme, stats, given)
    return made, advance


def _kept(problem: Problem) -> Any:
    """What it started from; not an array of the caller's, which may change."""
    given = problem.initial
    return given if callable(given) or hasattr(given, "pdf") else problem.values


def _no_stats() -> AnyStats:
    return {"steps": 0, "seconds": 0.0, "minimum": nan, "maximum": nan}


def summarise(problem: Problem, fields: Array, stats: AnyStats, stacklevel: int) -> None:
    """Range, mass drift and mass at the walls into ``stats``, with a warning if necessary."""
    least, most = float(np.minimum.reduce(fields, None)), float(np.maximum.reduce(fields, None))
    stats["minimum"], stats["maximum"] = least, most
    if not isfinite(least) or not isfinite(most):
        raise ConvergenceError(
            "the fields are no longer finite: rates, times or data overflow; use a shorter time, a "
            "smaller beta * potential, or smaller data"
        )
    if not problem.is_density:
        return
    mass = problem.grid.integrate(problem.values)
    if problem.equation.supplied:
        left = problem.grid.integrate(fields)
        stats["mass"], mass = left.tolist(), max(float(left.max()), float(mass))
        if not mass > 0:
            return
    kept = problem.grid.integrate(fields) / mass
    if problem.conserves and not problem.equation.supplied:
        stats["mass_drift"] = float(np.abs(kept - 1).max())
    elif not problem.equation.supplied:
        stats["survival"] = kept.tolist()
        if not (kept[0] <= 1 + 1e-9 and (kept[1:] - kept[:-1] <= 1e-9).all()):
            raise ConvergenceError(
                f"the mass left by absorbing walls must decrease, but it is {kept.tolist()} of the "
                "initial mass; use the default scheme, or Krylov() in two dimensions"
            )
    if problem.equation.without_noise:
        _report_stopped(problem, fields / mass, stats, stacklevel + 1)
        return
    meant = tuple(
        (turns or low, turns or high)
        for turns, (low, high) in zip(problem.turning, problem.absorbing, strict=True)
    )
    loses = not (problem.conserves or problem.equation.supplied)
    there = mass * np.maximum(kept, _LEAST_LEFT) if loses else mass
    lost = min(1.0, float((wall_mass(fields, problem.grid, meant) / there).max()))
    if lost > LOST_MASS:
        own = uncrossed(problem)
        if any(map(any, own)):
            meant = tuple((a or c, b or d) for (a, b), (c, d) in zip(meant, own, strict=True))
            lost = min(1.0, float((wall_mass(fields, problem.grid, meant) / there).max()))
    stats["wall_mass"] = lost
    if lost > LOST_MASS:
        whose = "the mass that is left" if loses else "its mass"
        warnings.warn(
            f"the density reaches the walls of the box [{problem.grid.lower}, "
            f"{problem.grid.upper}]: about {lost:.3g} of {whose} would be beyond them if the box "
            "were larger. Enlarge the grid, unless the no-flux walls are intended",
            TruncationWarning,
            stacklevel=stacklevel,
        )


def _report_stopped(problem: Problem, fields: Array, stats: AnyStats, stacklevel: int) -> None:
    """What walls stop without noise, the mass in the cells beside them, with a warning."""
    grid, mass = problem.grid, 0.0
    for axis in (k for k in range(grid.dim) if not (grid.periodic[k] or problem.turning[k])):
        rims = np.take(fields, (0, -1), axis - grid.dim).reshape(len(fields), -1)
        mass += float(rims.sum(1).max()) * grid.cell_volume
    stats["wall_mass"] = mass = min(1.0, mass)
    if mass > LOST_MASS:
        warnings.warn(
            f"{mass:.3g} of the mass is in the cells at the walls of the box [{grid.lower}, "
            f"{grid.upper}], which stop it: without them the drift would carry it on. Enlarge the "
            "grid, unless the walls are intended",
            TruncationWarning,
            stacklevel=stacklevel,
        )
