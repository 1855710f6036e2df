"""Stationary densities and probability currents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid, require_grid
from pdekit.pde.discrete import chains, drift_diffusion, grid_comparison, peclet
from pdekit.pde.discrete.generators import gibbs
from pdekit.pde.discrete.problem import Problem, require_noise
from pdekit.pde.discrete.sampling import as_field
from pdekit.pde.discrete.supply import require_supply, supply, wall_arrivals
from pdekit.pde.discrete.thirds import extrapolated, still_axes
from pdekit.pde.equations import FokkerPlanck, moving
from pdekit.protocols import Equation, Numbers

if TYPE_CHECKING:
    import xarray as xr

_TINY = 1e-300
_EVEN = 1e-11  # of the gross flow: current differences that count as rounding
_BALANCED = 1e-12  # shares of net flow below it are rounding


def stationary(equation: Equation, grid: Grid) -> xr.DataArray:
    """The stationary density of a Fokker-Planck equation, of unit mass on the grid.

    Where something is supplied, by a source or by walls, it is what that builds up, of the mass
    which it has then.

    exp(-beta V / D) / Z where the drift is a gradient and the diffusion D a number: it is
    stationary for the discrete generator too, with zero flux in every face. Otherwise the null
    vector of the generator's transpose, by an elimination without subtractions: positive,
    and accurate to rounding in every cell however small the density there; 0.6 s for 256 x 256
    cells. Along an axis without diffusion (a kinetic equation) it is extrapolated to second order
    from cells of a third of the width. Dims ``("x",)`` or ``("x", "y")``. No-flux walls, or
    periodic ones. Mathematics 1.4, 1.11.

    Guaranteed: ratios of values are those of the density at the centres, exact in
    equilibrium, and sums over cells are its moments while it does not change by more than e² over a
    cell. A ``ResolutionWarning`` is given where it does, or if with a current the density
    differs from that on half the cells by more than a tenth.

    Raises ``TypeError`` for another equation, ``ValueError`` where the coefficients change in time,
    probability is lost and nothing supplied, or a supply is never lost, or the stationary density
    is not unique, ``ConvergenceError``
    where parts of the box are separated by rates below 1e-300.
    """
    problem = steady(equation, grid, "stationary")
    rho = _density(problem)
    general = drift_diffusion.is_general(equation) or equation.loses
    compared = general or grid_comparison.is_small(grid)
    met = not (grid.dim > 1 and still_axes(problem)) and peclet.look(problem, rho, stacklevel=2)
    if not met and compared:
        grid_comparison.compare(rho, _again(equation), _apart, grid, "the stationary density")
    return on_cells(rho, grid, "density")


def _again(equation: Any) -> Callable[[Grid], Array]:
    return lambda grid: _density(Problem(equation, grid, None))


def _density(problem: Problem) -> Array:
    """That of the generator, to second order also along axes without diffusion."""
    if problem.grid.dim == 1:
        return invariant_density(problem)
    rho, grid = extrapolated(problem, invariant_density), problem.grid
    supplied = problem.equation.supplied or not still_axes(problem)
    return rho if supplied else rho / grid.integrate(rho)


def _apart(rho: Array, other: Array, cells: Grid) -> float:
    """L1 distance over the mass of two densities, the first interpolated as a logarithm, and the
    difference of their masses."""
    first = Grid(cells.lower, cells.upper, rho.shape, cells.periodic)
    here = np.exp(grid_comparison.interpolated(np.log(np.maximum(rho, _TINY)), first, cells))
    mass, before = float(cells.integrate(other)), float(first.integrate(rho))
    shape = cells.integrate(np.abs(here / cells.integrate(here) - other / mass))
    return float(shape) + abs(before / mass - 1)


def current(equation: Equation, density: Numbers, grid: Grid) -> xr.DataArray:
    """The probability current J = (-∇V + F) rho - beta^-1 ∇·(D rho) of a density on the grid.

    (∇·(D rho))_i = sum_j ∂_j (D_ij rho), the row divergence. Cell-centred, dims ``("x",
    "component")`` or ``("x", "y", "component")``: the mean of the numerical fluxes through the
    faces of each cell, so that rho_t = -∇·J is what ``solve`` integrates (but for killing, a source
    and resetting, which take and add in place), J vanishes to rounding in detailed balance, and the
    flux at a wall is what that takes less what it lets in. Second order. ``density``: an array or
    DataArray of ``grid.shape``. Mathematics 1.11; thesis (6.9), (6.24).

    A ``ResolutionWarning`` tells where the cells are too coarse for the drift at the density, and
    where the current of a stationary density round a circle differs by a twentieth on half
    of the cells.

    Raises ``TypeError`` for another equation and ``ValueError`` for another shape.
    """
    problem = steady(equation, grid, "current")
    rho = as_field(density, grid, "the density")
    met = peclet.report(problem, np.abs(rho), stacklevel=2)
    flow = problem.generator().current(rho, wall_arrivals(problem))
    said = (met is not None and met.coarse) or peclet.steep(rho, grid, stacklevel=2)
    exact = _circulation(problem, rho, flow)
    if exact is not None:
        flow = np.full_like(flow, exact)
        if not said:
            grid_comparison.compare(
                exact, lambda other: _round(equation, other), _ratio, grid, "the current"
            )
    return on_cells(flow, grid, "current")


def _circulation(problem: Problem, rho: Array, flow: Array) -> float | None:
    """The current of a density that is stationary round a circle, to full relative accuracy; else
    None.

    A small current is lost in the rounding of the fluxes whose difference it is. The spanning
    trees of the chain avoid differences: J = h rho_i (Π up - Π down) / T_i, where T_i sums over the
    edges that may be cut the products of the rates that lead to i (Kirchhoff; Hill 1966).
    """
    if problem.grid.dim != 1 or not problem.grid.periodic[0]:
        return None
    generator, h = problem.generator(), float(problem.grid.spacing[0])
    gross = float(np.abs(generator.exit_rate() * rho).max()) * h
    if not float(np.ptp(flow)) <= _EVEN * gross:
        return None
    root = int(rho.argmax())
    with np.errstate(divide="ignore"):
        up, down = (np.log(np.roll(r[0], -root)) for r in (generator.up, generator.down))
    wind = float((up - down).sum())
    if not abs(wind) > _BALANCED / 10 * (1 + float(np.abs(up - down).sum())):
        return None  # balanced, or a rate of zero
    trees = np.append(0.0, np.cumsum(down[:-1])) + np.append(np.cumsum(up[:0:-1])[::-1], 0.0)
    high = float(trees.max())
    larger = max(float(up.sum()), float(down.sum())) - high - np.log(np.exp(trees - high).sum())
    exact = h * float(rho[root]) * np.exp(larger) * -np.expm1(-abs(wind)) * np.sign(wind)
    return float(exact) if abs(float(flow.mean()) - exact) <= _EVEN * gross else None


def _round(equation: Any, grid: Grid) -> float:
    """The stationary current round a circle."""
    problem = Problem(equation, grid, None)
    rho = invariant_density(problem)
    flow = problem.generator().current(rho)
    exact = _circulation(problem, rho, flow)
    return float(flow.mean()) if exact is None else exact


def detailed_balance(equation: Equation, grid: Grid) -> float:
    """How far the stationary state is from equilibrium: net over gross flow, between 0 and 1.

    sum |pi_i L_ij - pi_j L_ji| / sum (pi_i L_ij + pi_j L_ji) over the pairs of cells, with
    1e-14 or so in equilibrium and of the size h |j| (times beta over D) otherwise: divide by h to
    compare grids. Mathematics 1.11; thesis Definition 6.14.

    ``ValueError`` under resetting, whose jumps have no reverse.
    """
    problem = steady(equation, grid, "detailed_balance")
    refuse_resetting(equation, "detailed_balance")
    pi = invariant_density(problem)
    peclet.look(problem, pi, stacklevel=2)
    share = _net_share(problem, pi)
    if share > _BALANCED:

        def again(other: Grid) -> float:
            problem = Problem(equation, other, None)
            return _net_share(problem, invariant_density(problem)) / float(other.spacing.max())

        per_length = share / float(grid.spacing.max())
        grid_comparison.compare(
            per_length, again, _ratio, grid, "the distance from detailed balance"
        )
    return share


def _net_share(problem: Problem, pi: Array) -> float:
    _, _, net, gross = chains.net_flows(problem.generator().matrix(), pi)
    return float(np.abs(net).sum() / gross.sum())


def _ratio(value: float, other: float, cells: Grid) -> float:
    return abs(other / value - 1)


def invariant_density(problem: Problem) -> Array:
    """The stationary density of a linear equation with the fields of ``FokkerPlanck``."""
    equation, grid = problem.equation, problem.grid
    if equation.resetting is not None:
        return _supplied(_as_supply(problem))
    if equation.supplied:
        return _supplied(problem)
    if not problem.conserves:
        raise ValueError(
            f"probability is not kept ({equation.loses}), so the only stationary state is zero; "
            "leave out walls=... and killing=..., or use slow_modes or mean_first_passage_time"
        )
    noise = 1.0 if equation.diffusion is None else equation.diffusion.D
    if equation.force is None and isinstance(noise, float):
        return gibbs(problem.potential(), equation.beta / noise, grid)
    pi = chains.invariant(problem.generator().matrix(), grid).reshape(grid.shape)
    return pi / grid.cell_volume


def _as_supply(problem: Problem) -> Problem:
    """Resetting of unit mass: killing at its rate, and its law supplied at that rate."""
    equation, grid = problem.equation, problem.grid
    rate = equation.resetting.rate
    back = rate * Problem(equation, grid, equation.resetting.law).values
    killed = replace(equation, resetting=None, killing=rate, source=lambda _: back)
    return replace(problem, equation=killed)


def change(problem: Problem) -> Callable[[Array], Array]:
    """rho_t as a function of rho: what flows and is killed, what is supplied, what is reset."""
    equation = problem.equation
    resets = equation.resetting is not None
    whole = _as_supply(problem) if resets else problem
    generator, added = whole.generator(), supply(whole)

    def of(rho: Array) -> Array:
        mass = float(problem.grid.integrate(rho)) if resets else 1.0
        return generator.forward(rho) + (0.0 if added is None else mass * added)

    return of


def _supplied(problem: Problem) -> Array:
    """What a steady supply builds up: (loss - L^T) rho = supply."""
    require_supply(problem)
    generator, rate = problem.generator(), supply(problem)
    if rate is None or generator.loss is None:
        raise ValueError(
            "nothing takes what is supplied, so the mass grows for ever and there is no stationary "
            "state; let a wall absorb, or add killing=..."
        )
    loss, rates = generator.loss.ravel(), rate.ravel()
    return chains.occupation(generator.matrix(), problem.grid, loss, rates).reshape(rate.shape)


_OF_DENSITIES = ("stationary", "free_energy")  # a rare way to a seam is nothing to them


def steady(equation: Any, grid: Grid, verb: str) -> Problem:
    """The problem of a Fokker-Planck equation whose coefficients do not change in time."""
    if not isinstance(equation, FokkerPlanck):
        raise TypeError(f"{verb} takes a FokkerPlanck equation, got {equation!r}")
    require_grid("grid", grid)
    require_noise(equation, verb)
    problem = Problem(equation, grid, None)
    problem.look_at_seam(stacklevel=3, everywhere=verb not in _OF_DENSITIES)
    problem.look_between_centres(stacklevel=3)
    problem.look_at_rates(stacklevel=3)
    if problem.time_dependent:
        raise ValueError(
            f"what changes in time has no stationary state, which {verb} is of; got "
            f"{checks.shown(moving(equation)[0])}: pass its at(t), what it is at one time"
        )
    return problem


def refuse_resetting(equation: Any, verb: str) -> None:
    """``ValueError`` where jumps without a reverse make a sum over neighbours incomplete."""
    if equation.resetting is not None:
        raise ValueError(
            f"{verb} is of what flows between neighbours; a reset is a jump with no reverse, so "
            "that balance is broken and the entropy it produces has no bound; leave out "
            "resetting=..., or see current and dissipation"
        )


def on_cells(values: Any, grid: Grid, name: str) -> xr.DataArray:
    """An array of ``grid.shape``, or with a last axis ``component``, with its coordinates."""
    import xarray as xr

    dims = grid.names if np.ndim(values) == grid.dim else (*grid.names, "component")
    return xr.DataArray(values, coords=_coordinates(grid), dims=dims, name=name)


@lru_cache(16)
def _coordinates(grid: Grid) -> xr.Coordinates:
    """Those of the cells: most of the time of an array of a few thousand is spent on its index."""
    import xarray as xr

    return xr.Coordinates(dict(zip(grid.names, grid.axes, strict=True)))
