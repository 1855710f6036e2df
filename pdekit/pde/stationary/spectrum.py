"""Spectral gap and slow modes of the linear equations."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion, halving, peclet
from pdekit.pde.discrete.problem import Problem, steady
from pdekit.pde.equations import BackwardKolmogorov, FokkerPlanck, Heat
from pdekit.pde.stationary import chains
from pdekit.pde.stationary.stationary import invariant_density
from pdekit.protocols import Equation

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]
_SPARE = 16  # modes beyond those asked for where rates are complex, to sort by real part
_FULL, _MOST = 256, 100  # cells of a full matrix; modes asked for to sort by real part
_REVERSIBLE = 1e-12  # net over gross flow below which a chain counts as reversible
_LONGEST = 1e290  # times above it are not told apart from infinity
_FLOOR = 1e-280  # weights below it are raised to it in the symmetric form


@dataclass(frozen=True, eq=False)
class SlowModes:
    """The slowest modes -L φ_k = λ_k φ_k of a linear equation, slowest first.

    ``rates`` (count,) holds λ_k: real where the drift is a gradient, else complex pairs may occur.
    ``modes`` has dims ``("mode", "x")`` or ``("mode", "x", "y")``: functions, that is, modes of the
    backward equation, with ∫ |φ|² rho_ss = 1; times rho_ss they are the modes of a reversible
    density. The constant mode of rate 0 is left out.
    """

    rates: NDArray[Any]
    functions: NDArray[Any]
    grid: Grid

    @property
    def gap(self) -> float:
        """The rate of the slowest mode, its real part."""
        return float(self.rates[0].real)

    @cached_property
    def modes(self) -> xr.DataArray:
        import xarray as xr

        coords: dict[str, Any] = {"mode": np.arange(1, len(self.rates) + 1)}
        coords |= dict(zip(self.grid.names, self.grid.axes, strict=True))
        dims = ("mode", *self.grid.names)
        return xr.DataArray(self.functions, coords=coords, dims=dims, name="modes")


def spectral_gap(equation: Equation, grid: Grid, extrapolate: bool = False) -> float:
    """The slowest decay rate min Re λ > 0 of a linear equation: exp(-gap t) is its last transient.

    Right to about 1e-10 of itself for the discrete generator, however small it is (exp(-β ΔV) of
    1e-200 keeps its digits); second order in h. ``extrapolate`` adds a solve with every cell halved
    and takes Richardson's (4 λ(h/2) - λ(h)) / 3, of fourth order for smooth coefficients.
    Walls reflect, or are periodic. Compare mathematics 1.14 for small noise. Good values: 2,000
    cells on a line give the gap of the double well to 2e-5 for beta from 1 to 16.

    Raises as ``slow_modes``.
    """
    here = _modes(equation, grid, 1, stacklevel=2)
    if checks.flag("extrapolate", extrapolate):
        finer = _modes(equation, grid.refined(2), 1)
        if not abs(finer.gap - here.gap) <= halving.TOLERANCE * finer.gap:
            halving.say(_apart(here, finer, grid), grid, finer.grid, "the gap", stacklevel=2)
        return (4 * finer.gap - here.gap) / 3
    halving.compare(here, lambda other: _modes(equation, other, 1), _apart, grid, "the gap")
    return here.gap


def slow_modes(equation: Equation, grid: Grid, count: int = 1) -> SlowModes:
    """The ``count`` slowest modes of a Fokker-Planck, backward Kolmogorov or heat equation.

    Lanczos on the inverse generator in its symmetric form sqrt(rho) L / sqrt(rho) where detailed
    balance holds, Arnoldi otherwise. The inverse comes from an elimination without subtractions,
    so that slow rates are right relative to themselves. Complex rates are sorted by real part among
    the smallest in modulus: ``count + 16``, or so many that on a grid of 256 cells (the grid itself
    where it has no more) no mode that turns faster than it decays is missed; an
    ``AccuracyWarning`` where that takes more than 100. Walls that absorb are taken into account:
    then the slowest rate is that of escape. A ``ResolutionWarning`` says where a rate differs by
    more than a twentieth from that on half the cells.

    Raises ``TypeError`` for another equation, ``ValueError`` for coefficients that change in time,
    a stationary state that is not unique or a ``count`` that the grid has no room for, and
    ``ConvergenceError`` where the iteration does not settle.
    """
    made = _modes(equation, grid, count, stacklevel=2)

    def again(other: Grid) -> SlowModes:
        return _modes(equation, other, min(count, int(np.prod(other.shape)) // 3))

    halving.compare(made, again, _apart, grid, "the slow modes")
    return made


def _modes(equation: Any, grid: Grid, count: int, stacklevel: int = 2) -> SlowModes:
    problem = steady(equation, grid, (FokkerPlanck, BackwardKolmogorov, Heat), "a decay rate")
    cells = int(np.prod(grid.shape))
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= cells // 3:
        raise ValueError(f"count must be a whole number from 1 to {cells // 3}, got {count!r}")
    generator = problem.generator()
    matrix = generator.matrix()
    if generator.loss is None:
        weights = _weights(problem)
        if drift_diffusion.is_general(problem.equation):
            density = weights.reshape(grid.shape) / grid.cell_volume
            peclet.report(problem, density, {}, stacklevel + 1)
        _, _, net, gross = chains.net_flows(matrix, weights)
        reversible = bool(np.abs(net).sum() <= _REVERSIBLE * gross.sum())
    else:
        weights, reversible = np.full(cells, 1 / cells), False
    inverse = _inverse(matrix, grid, generator.loss, weights)
    among = count if reversible else min(max(count + _SPARE, _turning(problem, count)), cells - 2)
    rates, vectors = _largest(inverse, weights, count, among, reversible)
    functions = (vectors / np.sqrt(weights * grid.cell_volume)[:, None]).T
    scale = np.sqrt((np.abs(functions) ** 2 * weights).sum(1))
    return SlowModes(rates, (functions / scale[:, None]).reshape(-1, *grid.shape), grid)


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
    except ValueError:  # a function that knows its own cells only
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
        stacklevel=4,
    )
    return _MOST


def _weights(problem: Problem) -> Array:
    """The stationary probability of the cells, raised to 1e-280 where it is smaller."""
    flat = isinstance(problem.equation, Heat)
    pi = np.ones(problem.grid.shape) if flat else invariant_density(problem)
    pi = np.maximum(pi.ravel() / pi.sum(), _FLOOR)
    return pi / pi.sum()


def _inverse(matrix: Any, grid: Grid, loss: Array | None, weights: Array) -> Any:
    """(-L)^-1 in the frame of sqrt(weights), on functions of zero mean unless probability is lost.

    The equation is singular by the constants: the likeliest cell is grounded, and the mean removed.
    """
    from pdekit.pde.kernels.elimination import eliminate

    last = int(np.argmax(weights)) if loss is None else None
    killed = 0.0 if loss is None else loss.ravel()
    made = eliminate(chains.rates(matrix), chains.order(matrix, grid, last), killed)
    if made.stuck.size:
        chains.recurrent(matrix, grid)  # says which sets of cells are never left
        raise ConvergenceError("the slowest rates are below 1e-290, beyond floats; lower beta")
    root = np.sqrt(weights)

    def apply(y: Array) -> Array:
        y = y.ravel()
        right = y if loss is not None else y - root * (root @ y)
        x = made.solve(right / root)
        if not (np.abs(x) < _LONGEST).all():
            raise ConvergenceError("the slowest rates are below 1e-290, beyond floats; lower beta")
        x *= root
        return x if loss is not None else x - root * (root @ x)

    return apply


def _largest(
    apply: Any, weights: Array, count: int, wanted: int, symmetric: bool
) -> tuple[Any, Any]:
    """Rates 1 / eigenvalue of the inverse, slowest first of ``wanted``, and their vectors."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigs, eigsh

    n = weights.size
    inverse = LinearOperator((n, n), matvec=apply, dtype=float)
    start = np.random.default_rng(0).standard_normal(n) * np.sqrt(weights)
    try:
        solve = eigsh if symmetric else eigs
        values, vectors = solve(inverse, wanted, v0=start, which="LM", maxiter=100 * wanted + 300)
    except ArpackError as error:
        raise ConvergenceError(
            f"the slow modes do not settle: {error}; ask for fewer, or refine the grid"
        ) from error
    rates = 1 / values
    chosen = sorted(range(wanted), key=lambda k: (_digits(rates[k].real), -rates[k].imag))[:count]
    rates, vectors = rates[chosen], vectors[:, chosen]
    if np.abs(rates.imag).max() <= 1e-9 * np.abs(rates).max():
        rates, vectors = rates.real, np.ascontiguousarray(_real(vectors))
    return rates, vectors


def _digits(rate: float) -> float:
    """A rate to nine digits, so that the two of a complex pair are equal."""
    return float(f"{rate:.8e}")


def _real(vectors: NDArray[Any]) -> Array:
    """Vectors turned so that their largest entry is real, and then their real part."""
    largest = vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])]
    out: Array = (vectors * (np.abs(largest) / largest)).real
    return out
