"""First passage: mean times, and hitting probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete import chains, grid_comparison
from pdekit.pde.discrete.generators import Generator, bernoulli, neighbours
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.steady import steady
from pdekit.pde.discrete.thirds import extrapolated
from pdekit.pde.equations import BackwardKolmogorov, FokkerPlanck
from pdekit.pde.stationary.stationary import on_cells
from pdekit.protocols import Equation, Field

if TYPE_CHECKING:
    import xarray as xr

_NEAREST = 1e-6  # of a jump's length: minimal distance of a target's edge from a cell centre
_CUT = 1e-290  # rates smaller by this factor may be truncated: see ``edge_rates``


def mean_first_passage_time(equation: Equation, grid: Grid, target: Field) -> xr.DataArray:
    """Mean time τ(x) until the process from x enters ``target``: L τ = -1 outside, τ = 0 in it.

    ``target``: a pair (lower, upper) of numbers or corners, an interval or a box, whose sides may
    be infinite: second order with the exact position of the edge, on a periodic axis also across
    its seam. Or a callable on points
    ``(..., d) -> bool (...)``, or a Boolean array of ``grid.shape``: the process is stopped at
    the centres of those cells, so the edge is known to about h. Other walls reflect (or are
    periodic); absorbing walls count as targets too. Dims ``("x",)`` or ``("x", "y")``.

    Every value is a sum of positive terms and right to rounding for the discrete generator: also
    for times of 1e200; along an axis without diffusion two of them, on the cells and on those of a
    third of the width, are extrapolated to second order. A ``ResolutionWarning`` tells where times
    on half the cells differ by more than a twentieth of the largest. In the cell at the edge of the
    target the time falls to the edge as it does for a constant drift, in layers and ballistically
    alike. Mathematics 1.14; Kramers' law is ``kramers_time``. Good values: 2,000 cells on a line
    give the time from -1 to 1 in the double well to 1e-5.

    Raises ``TypeError`` for another equation, ``ValueError`` for a target without cells, or one
    that cannot be reached, ``ConvergenceError`` for times above 1e300.
    """
    time = _times(equation, grid, target)
    grid_comparison.compare(
        time,
        lambda other: _times(equation, other, halved(target, grid, other)),
        _times_apart,
        grid,
        "the passage time",
    )
    return on_cells(time, grid, "mean_first_passage_time")


def _times(equation: Any, grid: Grid, target: Any) -> Array:
    def on(problem: Problem) -> Array:
        return _times_of(problem, halved(target, grid, problem.grid))

    return extrapolated(_problem(equation, grid), on)


def _times_of(problem: Problem, target: Any) -> Array:
    """Those of the generator's chain."""
    generator, grid = problem.generator(), problem.grid
    inside, absorbed, source = _absorbed(generator, target, "the target")
    if inside.all():
        raise ValueError(
            f"the target {target!r} is the whole box; use a target that leaves out some cells"
        )
    inner, kill = _outside(generator, inside, absorbed)
    time = chains.hitting(inner, grid, kill, np.where(inside, 0.0, source))
    _require_representable(chains.rates(generator.matrix()).data, float(time[~inside].max()))
    return np.where(inside, 0.0, time).reshape(grid.shape)


def _require_representable(rates: Array, longest: float) -> None:
    """Refuse times that depend on a jump whose rate was truncated."""
    fastest = float(rates.max(initial=0.0))
    if rates.min(initial=np.inf) < _CUT * fastest and longest * fastest > 1 / _CUT:
        raise ConvergenceError(
            "the path to the target leads against a drift so steep that a jump to the next cell "
            "has a rate below 1e-300, beyond floating-point range; lower beta or the drift, or "
            "refine the grid"
        )


def _times_apart(time: Array, other: Array, cells: Grid) -> float:
    """The largest difference over the largest time; of the logarithms of the largest if larger."""
    first = Grid(cells.lower, cells.upper, time.shape, cells.periodic)
    here, most = (
        grid_comparison.interpolated(time / time.max(), first, cells),
        other.max() / time.max(),
    )
    return max(abs(float(np.log(most))), float(np.abs(here - other / time.max()).max()))


def halved(target: Any, grid: Grid, other: Grid) -> Any:
    """A set of cells on another grid: the cells with their centre in the set."""
    if callable(target) or np.asarray(target).dtype != bool or np.shape(target) != grid.shape:
        return target
    index = [
        np.minimum(((axis - low) / h).astype(int), n - 1)
        for axis, low, h, n in zip(other.axes, grid.lower, grid.spacing, grid.cells, strict=True)
    ]
    return np.asarray(target)[np.ix_(*index)]


def committor(equation: Equation, grid: Grid, start: Field, target: Field) -> xr.DataArray:
    """Probability q(x) of entering ``target`` before ``start``: L q = 0, q = 0 and 1 on the sets.

    The sets are given as for ``mean_first_passage_time``; they must not meet. Second order in h for
    intervals and boxes; between 0 and 1 exactly, and accurate to rounding where it is tiny.
    Absorbing walls count as neither. Dims ``("x",)`` or ``("x", "y")``; raises likewise. A
    ``ResolutionWarning`` tells where it differs by more than 0.05 from that on half the cells.
    """
    q = _probabilities(equation, grid, start, target)
    grid_comparison.compare(
        q,
        lambda other: _probabilities(
            equation, other, halved(start, grid, other), halved(target, grid, other)
        ),
        _probabilities_apart,
        grid,
        "the committor",
    )
    return on_cells(q, grid, "committor")


def _probabilities(equation: Any, grid: Grid, start: Any, target: Any) -> Array:
    def on(problem: Problem) -> Array:
        sets = (halved(each, grid, problem.grid) for each in (start, target))
        return _probabilities_of(problem, *sets)

    return np.minimum(extrapolated(_problem(equation, grid), on), 1.0)


def _probabilities_of(problem: Problem, start: Any, target: Any) -> Array:
    """Those of the generator's chain."""
    generator, grid = problem.generator(), problem.grid
    origin, back, _ = _absorbed(generator, start, "the start")
    goal, there, _ = _absorbed(generator, target, "the target")
    if (origin & goal).any():
        raise ValueError("the start and the target of a committor must not have a cell in common")
    ends = origin | goal
    inner, kill = _outside(generator, ends, back + there)
    q = chains.hitting(inner, grid, kill, np.where(ends, 0.0, there))
    q = np.where(goal, 1.0, np.where(origin, 0.0, np.minimum(q, 1.0)))
    return q.reshape(grid.shape)


def _probabilities_apart(q: Array, other: Array, cells: Grid) -> float:
    first = Grid(cells.lower, cells.upper, q.shape, cells.periodic)
    return float(np.abs(grid_comparison.interpolated(q, first, cells) - other).max())


def _problem(equation: Any, grid: Grid) -> Problem:
    return steady(equation, grid, (FokkerPlanck, BackwardKolmogorov), "first passage")


def _absorbed(
    generator: Generator, target: Any, what: str
) -> tuple[NDArray[np.bool_], Array, Array]:
    """Cells (flat) of a set, the rate at which every other cell jumps into it, and its source.

    A jump that crosses the edge of a box after a share θ of its way: on it u solves L u = -φ with
    the drift of the jump, is u_i at its start and 0 at the edge, so that the jump brings

        -rate (e^Δ - 1) / (e^θΔ - 1) u_i - φ (B(θΔ) - B(Δ)) / Δ,  Δ = log(rate back / rate),

    φ the share of the jump in what enters the set: 1 on the axes. Passage times have the
    source 1 - Σ φ (...) >= θ, committors none. Second order, monotone for any θ, exact for constant
    drift and diffusion on a line.
    """
    grid = generator.grid
    inside, box = target_cells(grid, target, what)
    points = grid.centres.reshape(-1, grid.dim)
    total, weight, less = np.zeros((3, inside.size))
    for source, to, rate, back, step in _jumps(generator):
        enters = ~inside[source] & inside[to]
        source, rate = source[enters], rate[enters]
        if box is not None:
            share = _share(points[source], step, grid, *box)
            growth, spared = _to_the_edge(rate, back[enters], share)
            rate = rate * growth
            weight += np.bincount(source, rate / share, inside.size)
            less += np.bincount(source, rate / share * spared, inside.size)
        total += np.bincount(source, rate, inside.size)
    return inside, total, 1 - np.divide(less, weight, out=np.zeros_like(less), where=weight > 0)


def _to_the_edge(rate: Array, back: Array, share: Array) -> tuple[Array, Array]:
    """(e^Δ - 1) / (e^θΔ - 1) and (B(θΔ) - B(Δ)) / Δ; see ``_absorbed``.

    Without diffusion (no way back) 1 / θ and none: the cell is left that much sooner, whatever else
    happens in it.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.clip(np.nan_to_num(np.log(back) - np.log(rate), posinf=700.0), -700.0, 700.0)
    size = np.maximum(np.abs(fall), 1e-100)
    growth = np.expm1(-size) / np.expm1(-size * share)
    growth = np.where(fall > 0, growth * np.exp((1 - share) * size), growth)
    flies = back == 0
    spared = (bernoulli(size * share) - bernoulli(size)) / size  # B(-x) = B(x) + x
    spared = np.where(size < 1e-3, (1 - share) / 2 - (1 - share**2) * size / 12, spared)
    spared = np.where(fall > 0, spared, 1 - share - spared)
    return np.where(flies, 1 / share, growth), np.where(flies, 0.0, spared)


def _jumps(generator: Generator) -> Iterator[tuple[Any, Any, Array, Array, Array]]:
    """Cells (flat) before and after, rates, rates back and step of all jumps, by direction."""
    grid = generator.grid
    cells = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    for offset, up, down, _ in generator.directions():
        here, there = (side.ravel() for side in neighbours(cells, offset, grid.periodic))
        step = np.array(offset) * grid.spacing
        yield here, there, up.ravel(), down.ravel(), step
        yield there, here, down.ravel(), up.ravel(), -step


def _outside(generator: Generator, inside: Any, kill: Array) -> tuple[Any, Array]:
    """The jumps among the cells outside a set, whose own cells are left at once, at rate 1."""
    from scipy.sparse import coo_array

    jumps = chains.rates(generator.matrix())
    keep = ~(inside[jumps.row] | inside[jumps.col])
    inner = coo_array((jumps.data[keep], (jumps.row[keep], jumps.col[keep])), shape=jumps.shape)
    lost = 0.0 if generator.loss is None else generator.loss.ravel()
    return inner, np.where(inside, 1.0, kill + lost)


def target_cells(grid: Grid, target: Any, what: str) -> tuple[NDArray[np.bool_], Any]:
    """Which cells have their centre in the set (flat), and its corners where it is a box."""
    box, inside = None, np.asarray(target)
    if callable(target):
        inside = _indicator(target, grid, what)
    elif inside.dtype != bool:
        box = _corners(grid, target, what)
        inside = np.all(_within(grid.centres, grid, *box), axis=-1)
    if inside.shape != grid.shape or inside.dtype != bool:
        raise ValueError(
            f"{what} must be true or false for each of the {grid.shape} cells, got an array of "
            f"shape {inside.shape} and type {inside.dtype}"
        )
    if not inside.any():
        raise ValueError(
            f"{what} must not be empty, got {checks.shown(target)}, which has no cell centre in "
            "it; enlarge it or refine the grid"
        )
    return inside.ravel(), box


def _indicator(target: Any, grid: Grid, what: str) -> Any:
    """A function evaluated at the cell centres."""
    checks.value_not_class(what, target)
    try:
        return np.asarray(target(grid.centres))
    except Exception as error:
        raise ValueError(
            f"{what} must take points of shape {grid.centres.shape} to true or false; it failed: "
            f"{error} ({type(error).__name__})"
        ) from error


def _corners(grid: Grid, target: Any, what: str) -> tuple[Array, Array]:
    try:
        lower, upper = (np.broadcast_to(np.asarray(c, float), (grid.dim,)) for c in target)
    except (TypeError, ValueError):
        raise TypeError(
            f"{what} must be a pair (lower, upper), a callable on points or a Boolean array of "
            f"shape {grid.shape}; got {checks.shown(target)}"
        ) from None
    if not (lower < upper).all():
        raise ValueError(f"{what} needs lower < upper, got {target!r}")
    # at most one turn; the end of a periodic axis is the end of the box
    first = np.where(grid.periodic & np.isinf(lower), grid.lower, lower)
    last = np.where(grid.periodic & np.isinf(upper), grid.upper, upper)
    return first, last


def _ahead(way: Array, grid: Grid) -> Array:
    """A displacement along each axis, at most one turn on a periodic axis."""
    period = np.where(grid.periodic, np.subtract(grid.upper, grid.lower), 1.0)
    rounds = np.floor(np.where(grid.periodic, way, 0.0) / period)
    out: Array = way - rounds * period
    return out


def _within(x: Array, grid: Grid, lower: Array, upper: Array) -> NDArray[np.bool_]:
    """Per axis, whether x lies between the edges, which may lie on two sides of a seam."""
    inside: NDArray[np.bool_] = (x >= lower) & (x <= upper)
    if any(grid.periodic):
        round_ = _ahead(x - np.where(grid.periodic, lower, 0.0), grid)
        inside = np.where(grid.periodic, round_ <= upper - lower, inside)
    return inside


def _share(x: Array, step: Array, grid: Grid, lower: Array, upper: Array) -> Array:
    """Fraction of the step from x to x + step at which the box is entered."""
    way = np.where(step > 0, _ahead(lower - x, grid), -_ahead(x - upper, grid))
    with np.errstate(divide="ignore", invalid="ignore"):
        ahead = way / step
    entry = np.where((step == 0) | _within(x, grid, lower, upper), 0.0, ahead).max(axis=-1)
    out: Array = np.clip(entry, _NEAREST, 1.0)
    return out
