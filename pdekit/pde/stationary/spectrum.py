"""Spectral gap and slow modes of the linear equations."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError, ResolutionWarning
from pdekit.grid import Grid
from pdekit.pde.discrete import chains, drift_diffusion, grid_comparison, peclet
from pdekit.pde.discrete.generators import Generator, gibbs
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.steady import steady
from pdekit.pde.discrete.thirds import on_thirds, still_axes
from pdekit.pde.equations import LINEAR
from pdekit.pde.stationary import slow_chains
from pdekit.pde.stationary.found_modes import Extrapolated, OnCells
from pdekit.pde.stationary.stationary import on_cells
from pdekit.protocols import Equation

if TYPE_CHECKING:
    import xarray as xr

_SPARE = 16  # extra modes for complex rates, to sort by real part
_FULL, _MOST = 256, 100  # cells of a full matrix; most modes computed to sort by real part
_REVERSIBLE = 1e-9  # net over gross flow below which a pair counts as balanced
_HIDDEN, _LOWEST = (
    0.5,
    1e-150,
)  # e-folds of a barrier between cells; least sqrt(pi) for its detection
_FLOOR = 1e-280  # lower limit of weights without detailed balance


@dataclass(frozen=True, eq=False)
class SlowModes:
    """The slowest modes -L φ_k = λ_k φ_k of a linear equation, slowest first.

    ``rates`` (count,) holds λ_k: real where the drift is a gradient, else complex pairs may occur.
    ``modes`` has dims ``("mode", "x")`` or ``("mode", "x", "y")``: functions, that is, modes of the
    backward equation, with ∫ |φ|² rho_ss = 1; times rho_ss they are the modes of a reversible
    density. The constant mode of rate 0 is left out.
    """

    rates: NDArray[Any]
    grid: Grid
    _found: OnCells | Extrapolated = field(repr=False)

    @property
    def functions(self) -> NDArray[Any]:
        """The values of the modes in the cells, (count, *grid.shape)."""
        return self._found.functions

    @property
    def gap(self) -> float:
        """The rate of the slowest mode, its real part."""
        return float(self.rates[0].real)

    @cached_property
    def quasi_stationary(self) -> xr.DataArray:
        """The density, of unit mass, that only fades: rho_t = -gap rho, where walls or killing
        take from it.

        It is the law of what is left after a long time. Dims ``("x",)`` or ``("x", "y")``. Raises
        ``ValueError`` where nothing is lost: there ``stationary`` has the density.
        """
        if not self._found.loses:
            raise ValueError(
                "a quasi-stationary density belongs to an equation that loses mass, by walls=... "
                "or killing=...; here none is lost: use stationary(equation, grid)"
            )
        rho = self._found.fading()
        return on_cells(rho / self.grid.integrate(rho), self.grid, "quasi_stationary")

    @cached_property
    def modes(self) -> xr.DataArray:
        import xarray as xr

        coords: dict[str, Any] = {"mode": np.arange(1, len(self.rates) + 1)}
        coords |= dict(zip(self.grid.names, self.grid.axes, strict=True))
        dims = ("mode", *self.grid.names)
        return xr.DataArray(self.functions, coords=coords, dims=dims, name="modes")


def spectral_gap(equation: Equation, grid: Grid, extrapolate: bool = False) -> float:
    """The slowest decay rate min Re λ > 0 of a linear equation: exp(-gap t) is the slowest

    transient. Accurate to about 1e-10 relative to itself for the discrete generator, however small
    it is (also exp(-β ΔV) of 1e-200), and of second order in h. ``extrapolate`` adds a solve with
    every cell halved and uses Richardson extrapolation, (4 λ(h/2) - λ(h)) / 3, of fourth order for
    smooth coefficients. Where walls absorb it is the rate of escape. Compare mathematics 1.14 for
    small noise. Good values: 2,000 cells on a line give the gap of the double well to 2e-5 for beta
    from 1 to 16.

    Raises as ``slow_modes``.
    """
    here = _modes(equation, grid, 1, stacklevel=2)
    if checks.flag("extrapolate", extrapolate):
        halves = grid.refined(2)
        finer = _modes(equation, halves, 1)
        if not abs(finer.gap - here.gap) <= grid_comparison.TOLERANCE * finer.gap:
            grid_comparison.warn_coarse(
                _apart(here, finer, grid), grid, halves, "the gap", stacklevel=3
            )
        return (4 * finer.gap - here.gap) / 3 if here.gap < 2 * finer.gap else finer.gap
    grid_comparison.compare(here, lambda other: _modes(equation, other, 1), _apart, grid, "the gap")
    return here.gap


def slow_modes(equation: Equation, grid: Grid, count: int = 1) -> SlowModes:
    """The ``count`` slowest modes of a Fokker-Planck, backward Kolmogorov or heat equation.

    Lanczos on the inverse generator in its symmetric form sqrt(rho) L / sqrt(rho) where detailed
    balance holds, Arnoldi otherwise. The inverse comes from an elimination without subtractions,
    so that slow rates are right relative to themselves; in detailed balance each of them, were they
    1e-200 and 1 side by side. Otherwise rates above 1e8 times the slowest are not resolved. Complex
    rates are sorted by real part among the smallest in modulus: ``count + 16``, or enough that
    on a grid of 256 cells (or the grid itself) no mode that rotates faster than it decays is
    missed; an ``AccuracyWarning`` where that takes more than 100. Walls that absorb and killing are
    taken into account; along an axis without diffusion (a kinetic equation) rates and modes are
    extrapolated to second order from cells of a third of the width. With losses the
    slowest rate is that of the end, and its mode of the density, the quasi-stationary one, is
    ``quasi_stationary``. A ``ResolutionWarning`` tells where a rate
    differs by more than a twentieth from that on half the cells, or a barrier lies between the
    cells.

    Raises ``TypeError`` for another equation, ``ValueError`` for coefficients that change in time,
    a stationary state that is not unique or a ``count`` too large for the grid, and
    ``ConvergenceError`` if the iteration does not converge, a rate is below 1e-290, or rates are
    too far apart to be resolved; ``functions`` raises it for modes where rho is below 1e-300.
    """
    made = _modes(equation, grid, count, stacklevel=2)

    def again(other: Grid) -> SlowModes:
        return _modes(equation, other, min(count, int(np.prod(other.shape)) // 3))

    grid_comparison.compare(made, again, _apart, grid, "the slow modes")
    return made


def _modes(equation: Any, grid: Grid, count: int, stacklevel: int = 2) -> SlowModes:
    problem = steady(equation, grid, LINEAR, "a decay rate")
    cells = int(np.prod(grid.shape))
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= cells // 3:
        raise ValueError(f"count must be a whole number from 1 to {cells // 3}, got {count!r}")
    here, finer = _on_cells(problem, count, stacklevel + 1), on_thirds(problem)
    if finer is None:
        return SlowModes(here.rates, grid, here)
    both = Extrapolated(here, _on_cells(finer, count, stacklevel + 1))
    return SlowModes(both.rates, grid, both)


def _on_cells(problem: Problem, count: int, stacklevel: int) -> OnCells:
    """The modes of the generator."""
    generator, grid = problem.generator(), problem.grid
    chain = _chain(problem, generator)
    general = drift_diffusion.is_general(problem.equation) and not still_axes(problem)
    if generator.loss is None and general:
        density = chain.root.reshape(grid.shape) ** 2 / grid.cell_volume
        peclet.report(problem, density, stacklevel + 1)
    _look_at_barriers(chain, stacklevel + 1)
    if chain.reversible:
        return OnCells(grid, *slow_chains.reversible_modes(chain, count))
    among = _among(problem, chain, count)
    return OnCells(grid, *slow_chains.driven_modes(chain, count, among))


def _look_at_barriers(chain: slow_chains.Chain, stacklevel: int) -> None:
    """A ``ResolutionWarning`` where the top of a barrier lies between cells, some e-folds higher.

    Such a barrier is crossed too fast, so that its mode may be missing among the slowest ones on
    this grid and on half of its cells alike.
    """
    grid = chain.grid
    height = -2 * np.log(np.maximum(chain.root, _LOWEST)).reshape(grid.shape)
    hidden = [_hidden(height, axis, grid.periodic[axis]) for axis in range(grid.dim)]
    if max(hidden) > _HIDDEN:
        factors = [max(1.0, 1.2 * float(np.sqrt(x / _HIDDEN))) for x in hidden]
        cells = tuple(int(np.ceil(n * f)) for n, f in zip(grid.cells, factors, strict=True))
        warnings.warn(
            "the cells are too coarse for the barriers: the density at a top is up to "
            f"exp(-{max(hidden):.2g}) of that in the cell next to it, so that a slower mode may be "
            f"missed: about {cells} cells would suffice instead of {grid.cells}",
            ResolutionWarning,
            stacklevel=stacklevel + 1,
        )


def _hidden(height: Array, axis: int, periodic: bool) -> float:
    """Excess of a maximum along an axis over its cell: 1/8 of the second difference."""
    lines = np.moveaxis(height, axis, 0)
    if periodic:
        lines = np.concatenate([lines[-1:], lines, lines[:1]])
    before, after = lines[1:-1] - lines[:-2], lines[1:-1] - lines[2:]
    top = (before >= 0) & (after >= 0) & (lines[1:-1] < -2 * np.log(_LOWEST))  # not a plateau
    bends = np.where(top, before + after, 0.0)
    return float(bends.max(initial=0.0)) / 8


def _among(problem: Problem, chain: slow_chains.Chain, count: int) -> int:
    """The number of rates of smallest modulus computed for the ``count`` of smallest real

    part. The rate of escape is both (Perron).
    """
    if chain.loss is not None and count == 1:
        return 1
    return min(max(count + _SPARE, _turning(problem, count)), chain.root.size - 2)


def _chain(problem: Problem, generator: Generator) -> slow_chains.Chain:
    """The chain on the cells, with the square root of its law in equilibrium or a frame near it."""
    matrix, grid = generator.matrix(), problem.grid
    loss = None if generator.loss is None else generator.loss.ravel()
    pi, balanced = _balanced_weights(problem, generator), True
    if pi is None:
        pi = _invariant(matrix, grid, loss is not None)
        balanced = _in_balance(matrix, pi)
        pi = pi if balanced else np.maximum(pi, _FLOOR)
    return slow_chains.Chain(matrix, grid, loss, np.sqrt(pi / pi.sum()), balanced)


def _balanced_weights(problem: Problem, generator: Generator) -> Array | None:
    """The law of the cells between reflecting walls if detailed balance is

    structural: on a line between walls every jump has its reverse.
    """
    equation, grid = problem.equation, problem.grid
    if not problem.drifts:
        return np.ones(int(np.prod(grid.shape)))
    noise = 1.0 if equation.diffusion is None else equation.diffusion.D
    if equation.force is None and isinstance(noise, float):
        return gibbs(problem.potential(), equation.beta / noise, grid).ravel()
    up, down = generator.up[0], generator.down[0]
    if grid.dim > 1 or grid.periodic[0] or not (up.min() > 0 and down.min() > 0):
        return None
    logs = np.append(0.0, np.cumsum(np.log(up) - np.log(down)))
    out: Array = np.exp(logs - logs.max())
    return out


def _invariant(matrix: Any, grid: Grid, lost: bool) -> Array:
    """The invariant law of the jumps; constant if there is none because probability is lost."""
    try:
        return chains.invariant(matrix, grid)
    except (ValueError, ConvergenceError):
        if not lost:
            raise
        return np.ones(matrix.shape[0])


def _in_balance(matrix: Any, pi: Array) -> bool:
    """Whether no pair of cells has a net flow, also for improbable cells."""
    _, _, net, gross = chains.net_flows(matrix, pi / pi.max())
    seen = gross > _FLOOR * gross.max()
    return bool((np.abs(net[seen]) <= _REVERSIBLE * gross[seen]).all())


def _apart(made: SlowModes, other: SlowModes, cells: Grid) -> float:
    """The largest distance of a rate to the nearest of the other ones, or of their real parts."""
    distance = np.abs(made.rates[:, None] - other.rates).min(1)
    k = min(len(made.rates), len(other.rates))
    decay = made.rates[:k].real
    late = np.abs(decay - other.rates[:k].real) / decay
    return max(float((distance / np.abs(made.rates)).max()), float(late.max()))


def _turning(problem: Problem, count: int) -> int:
    """How many rates of smallest modulus hold the ``count`` of smallest real part, and 8 more.

    By all eigenvalues of a full matrix, on a grid coarse enough for that.
    """
    grid = problem.grid
    shrink = max(1.0, (np.prod(grid.shape) / _FULL) ** (1 / grid.dim))
    cells = tuple(max(4, int(n / shrink)) for n in grid.cells)
    coarse = grid if shrink == 1 else Grid(grid.lower, grid.upper, cells, grid.periodic)
    try:
        made = Problem(problem.equation, coarse, None).generator()
    except ValueError:  # a function defined on its own cells only
        return 0
    rates = -np.linalg.eigvals(made.matrix().toarray())
    if made.loss is None:
        rates = np.delete(rates, np.abs(rates).argmin())
    slowest = np.argsort(rates.real)[:count]
    rank = int(np.argsort(np.argsort(np.abs(rates)))[slowest].max())
    if rank < _MOST:
        return rank + 8
    warnings.warn(
        f"a mode of rate {rates[slowest].real.min():.3g} that turns at "
        f"{np.abs(rates[slowest].imag).max():.3g} may be missed among those of smallest modulus: "
        "the drift turns much faster than anything decays",
        AccuracyWarning,
        stacklevel=5,
    )
    return _MOST
