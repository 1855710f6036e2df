"""The mean field W * rho on a grid, and the free energy."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid
from pdekit.interactions import is_quadratic, of_two_points, require_even
from pdekit.pde.discrete.convolution import convolution, displacements, opposite

_VARIES = 0.15  # of the size of W: tolerated difference between cell means and values
_MATTERS = 0.1  # beta times the range of W below which it is negligible
_LOOKED = 64  # cells in which a kernel of two points is looked at
_STEEPEST = 1e50  # largest beta times W: products with rates and times stay finite


@dataclass(frozen=True, eq=False)
class PairField:
    """rho -> W * rho at the cell centres of a grid, by midpoint sums.

    The kernel's transform is made once; ``real_ffts`` says how many real transforms a call takes,
    ``largest`` how large a term of its sums can be, relative to the mass.
    """

    apply: Callable[[Array], Array]
    real_ffts: int
    largest: float

    def __call__(self, rho: Array) -> Array:
        return self.apply(rho)


def pair_field(interaction: Any, grid: Grid, beta: float = 1.0) -> PairField:
    """The mean field of an interaction: from the moments for Curie-Weiss, else by FFT.

    Zero padding to twice the box where there are walls, wrapping along a periodic axis. Raises
    ``ValueError`` for a kernel that is not even or not finite at a displacement of the grid, so
    large that beta W would overflow in products, of another dimension, or for ``CurieWeiss`` on a
    periodic axis.
    """
    made = _moments if is_quadratic(interaction) else _convolved
    pair = (_of_two_points if of_two_points(interaction) else made)(interaction, grid)
    beta = beta if isfinite(beta) else 1.0
    if not max(beta, 1.0) * pair.largest <= _STEEPEST:
        raise ValueError(
            f"beta times W must be at most {_STEEPEST:g}, for rates not to overflow; got beta = "
            f"{beta:g} and {interaction!r}, which rises to {pair.largest:g} on {grid}. Use units "
            "in which these are moderate"
        )
    return pair


def _moments(interaction: Any, grid: Grid) -> PairField:
    """strength (|x|² - 2 x·<x> + <|x|²>) / 2, x from the middle of the box."""
    if any(grid.periodic):
        raise ValueError(
            "CurieWeiss attracts to the mean, which is not defined on a periodic axis; use "
            "PairPotential(pdekit.interactions.Kuramoto(strength))"
        )
    x = grid.centres - np.add(grid.lower, grid.upper) / 2
    half = (x**2).sum(-1) / 2
    flat = x.reshape(-1, grid.dim)

    def apply(rho: Array) -> Array:
        weights = rho.ravel() * (interaction.strength * grid.cell_volume)
        out: Array = weights.sum() * half - x @ (weights @ flat) + weights @ half.ravel()
        return out

    largest = 2 * abs(float(interaction.strength)) * float((flat**2).sum(-1).max())
    return PairField(apply, 0, largest)


def pair_kernel(interaction: Any, grid: Grid) -> tuple[Array, tuple[int, ...]]:
    """W at the ``displacements`` of a circular convolution, and the lengths of its axes."""
    _require_dim(interaction, grid)
    steps, z = displacements(grid)
    lengths = z.shape[:-1]
    with np.errstate(over="ignore", invalid="ignore"):  # refused below, with a message
        values = np.asarray(interaction(z), dtype=float)
    if values.shape != lengths or not np.isfinite(values).all():
        raise ValueError(
            f"{interaction!r} must be finite at every displacement up to {grid.spacing} times the "
            f"cells, zero included, with values of shape {lengths}; got shape {values.shape}. A "
            "kernel singular at 0 must be softened there"
        )
    require_even_at(steps, values, interaction)
    return (values + opposite(values)) / 2, lengths


def require_even_at(steps: list[NDArray[np.int64]], values: Array, owner: Any) -> None:
    """``ValueError`` unless W is even at the ``displacements``, but for those without opposite."""
    alone = np.ix_(*[s != -p / 2 for s, p in zip(steps, values.shape, strict=True)])
    require_even(values[alone], opposite(values)[alone], owner)


def warn_if_narrow(interaction: Any, grid: Grid, beta: float, stacklevel: int = 2) -> None:
    """Warn if W varies within the cells, so that values at the centres are not representative.

    Its means over cells, by two points of Gauss along each axis, against its values at centres.
    """
    if is_quadratic(interaction):
        return
    at, z = _seen(interaction, grid)
    values = np.asarray(at(z), dtype=float)
    size = np.abs(values - values.mean()).sum()
    if not beta * np.ptp(values) > _MATTERS:
        return
    ends = product(*[(-h / np.sqrt(12), h / np.sqrt(12)) for h in grid.spacing])
    means = np.mean([at(z + np.array(end)) for end in ends], axis=0)
    off = means - values
    share = np.abs(off - off.mean()).sum() / size
    if not share <= _VARIES:
        warnings.warn(
            f"{interaction!r} varies within the cells of {grid}: its means over them differ from "
            f"its values at their centres by {share:.0%} of its size, and sums over cells do not "
            "stand for its integrals. Use a finer grid",
            ResolutionWarning,
            stacklevel=stacklevel + 1,
        )


def _seen(interaction: Any, grid: Grid) -> tuple[Callable[[Array], Array], Array]:
    """W at displacements, or U(x, y) with y in some of the cells, and the points to look at."""
    if not of_two_points(interaction):
        return interaction, displacements(grid)[1]
    x = grid.centres.reshape(-1, 1, grid.dim)
    y = x[:: max(1, len(x) // _LOOKED)].reshape(1, -1, grid.dim)
    return lambda z: interaction(z, y), x


def _convolved(interaction: Any, grid: Grid) -> PairField:
    kernel, _ = pair_kernel(interaction, grid)
    return PairField(convolution(kernel, grid), 2, float(np.abs(kernel).max()))


def _of_two_points(interaction: Any, grid: Grid) -> PairField:
    """∫ U(x, y) rho(y) dy, as the interaction sums it over the centres."""
    _require_dim(interaction, grid)
    points = grid.centres.reshape(-1, grid.dim)
    summed = interaction.summed(points)

    def apply(rho: Array) -> Array:
        out: Array = summed(rho.ravel() * grid.cell_volume).reshape(grid.shape)
        return out

    return PairField(apply, 0, interaction.largest(points))


def _require_dim(interaction: Any, grid: Grid) -> None:
    dim = getattr(interaction, "dim", None) or grid.dim
    if dim != grid.dim:
        raise ValueError(f"{interaction!r} takes {dim} coordinate(s), the grid has {grid.dim}")


def free_energy_terms(
    rho: Array, potential: Array, field: Array, beta: float, grid: Grid
) -> tuple[float, float]:
    """F = ∫ (V + ½ W * rho) rho + beta^-1 ∫ rho log rho, and the size of its terms.

    ``field`` is W * rho. The second number times the rounding unit is the accuracy of F.
    """
    rest = (potential + 0.5 * field) * rho
    entropy = rho * np.log(np.where(rho > 0, rho, 1.0)) / beta
    total = float((rest + entropy).sum()) * grid.cell_volume
    return total, float((np.abs(rest) + np.abs(entropy)).sum()) * grid.cell_volume


def mean_field_functional(equation: Any, grid: Grid) -> Callable[[Array], float]:
    """The free energy of a ``McKeanVlasov`` equation as a function of a density (mathematics 1.6).

    F = ∫ V rho + ½ ∬ W rho rho + beta^-1 ∫ rho log rho: which ``solve`` never lets increase.
    """
    from pdekit.pde.discrete.problem import Problem

    pair = pair_field(equation.interaction, grid, equation.beta)
    potential = Problem(equation, grid, None).potential()

    def energy(rho: Array) -> float:
        return free_energy_terms(rho, potential, pair(rho), equation.beta, grid)[0]

    return energy
