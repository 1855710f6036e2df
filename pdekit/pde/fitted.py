"""Rates of general drift-diffusions: any drift, scalar and tensor diffusion, absorbing walls.

The density's flux is written J = a rho - β⁻¹ D ∇rho, so that a is the drift b = -∇V + force less
the spurious drift of the reading (`pdekit.diffusions`). Along an edge with weight w (of D) and
drift g (minus βh times a) the rates are max(w κ, |g| / 2) ∓ g / 2, where κ = (Δ/2) coth(Δ/2) is
fitted to the drift without the force, Δ = g_V / w. So
- without force they are Scharfetter and Gummel's w B(±Δ), exact in the Gibbs state,
- a force is centred (its moments then have no numerical diffusion) while |g / w|, the cell Péclet
  number, is below 2 and goes upwind beyond, also where w vanishes,
- they are nonnegative for any drift, and second order where the Péclet number is moderate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.diffusions import HaenggiKlimontovich, Ito, Stratonovich, as_diffusion
from pdekit.grid import Grid
from pdekit.pde.generators import Generator, axis_neighbours, bernoulli, neighbours
from pdekit.pde.inputs import evaluate_tensor, evaluate_vector
from pdekit.pde.selling import selling

Array = NDArray[np.float64]
_LEAST = 1e-3  # of the Scharfetter-Gummel diffusion is left where a force turns upwind
_RANGE = 1e-10  # eigenvalues below this share of the largest carry no drift


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Drift and diffusion sampled at the centres of ``grid``.

    ``values`` the potential, ``force`` (*shape, d) or None, ``tensor`` (*shape) for a scalar D or
    (*shape, d, d), ``reading`` how it is to be understood, ``absorbing`` per axis which of the two
    walls absorb.
    """

    grid: Grid
    beta: float
    values: Array
    force: Array | None
    tensor: Array
    reading: Ito
    absorbing: tuple[tuple[bool, bool], ...]

    @property
    def is_diagonal(self) -> bool:
        """Whether the tensor couples no axes, so that the stencil stays on them."""
        return self.tensor.ndim == self.grid.dim or not (
            self.tensor[..., 0, -1].any() and self.grid.dim > 1
        )


def is_general(equation: Any) -> bool:
    """Whether an equation has a force, a diffusion of its own or absorbing walls."""
    parts = ("force", "diffusion", "absorbing")
    return any(getattr(equation, name, None) is not None for name in parts)


def sample(equation: Any, grid: Grid) -> Coefficients:
    """Force, diffusion and walls of an equation on a grid; its potential is left at zero."""
    reading, force, walls = as_diffusion(equation.diffusion), equation.force, equation.absorbing
    return Coefficients(
        grid,
        equation.beta,
        np.zeros(grid.shape),
        None if force is None else evaluate_vector(force, grid, "the force"),
        evaluate_tensor(reading.D, grid, "the diffusion"),
        reading,
        ((False, False),) * grid.dim if walls is None else walls.per_axis(grid.periodic),
    )


@dataclass(frozen=True, eq=False)
class Edge:
    """Weight and drifts, in units of cells, over the pairs (i, i + offset).

    ``fitted`` is the drift of potential and spurious drift, ``drift`` that and the force's.
    ``ends`` has for the two ways out of the box the share of the edge to the wall (infinite in
    cells from which it does not leave through an absorbing one), weight, fitted and whole drift.
    """

    offset: tuple[int, ...]
    weight: Array
    fitted: Array
    drift: Array
    ends: tuple[tuple[Array, Array, Array, Array], ...]


def generator(c: Coefficients) -> Generator:
    """The generator of b·∇ + β⁻¹ D:∇² (Itô's drift) from sampled coefficients."""
    edges = _axis_edges(c) if c.is_diagonal else _oblique_edges(c)
    up = tuple(_rate(e.weight, e.fitted, e.drift) / c.beta for e in edges)
    down = tuple(_rate(e.weight, e.fitted, -e.drift) / c.beta for e in edges)
    exits = tuple(_exits(e, c.beta) for e in edges)
    oblique = tuple(e.offset for e in edges[c.grid.dim :])
    return Generator(c.grid, up, down, oblique, exits if any(exits) else ())


def _rate(weight: Array, fitted: Array, drift: Array) -> Array:
    """max(w κ(g_V / w), |g| / 2) - g / 2, with its limits where the weight vanishes.

    w κ = w B(|g_V| / w) + |g_V| / 2; in this form the small rate against a steep potential keeps
    its relative accuracy, and with it the Gibbs state.
    """
    size = np.abs(fitted)
    alive = weight > 1e-14 * size
    ratio = np.divide(size, weight, out=np.zeros_like(size), where=alive)
    diffusive = np.where(alive, weight * bernoulli(ratio), 0.0)
    upwind = (np.abs(drift) - drift) / 2
    if drift is not fitted:
        # a rate against the force that is small but not zero keeps the chain in one piece
        ratio = np.divide(np.abs(drift), weight, out=np.full_like(size, np.inf), where=weight > 0)
        upwind = upwind + _LEAST * weight * bernoulli(np.minimum(ratio, 700.0))
    out: Array = np.maximum(diffusive + (size - drift) / 2, upwind)
    return out


def _axis_edges(c: Coefficients) -> list[Edge]:
    """Edges along the axes: exact Gibbs states for scalar D, no inverse of D needed."""
    edges = []
    for axis, h in enumerate(c.grid.spacing):
        d = c.tensor if c.tensor.ndim == c.grid.dim else c.tensor[..., axis, axis]
        here, there = axis_neighbours(d, axis, c.grid)
        fitted = c.beta * np.subtract(*axis_neighbours(c.values, axis, c.grid)[::-1])
        fitted = (fitted + c.reading.share * (there - here)) / h**2
        drift = fitted
        if c.force is not None:
            drift = fitted - c.beta / h * _mean(c.force[..., axis], axis, c.grid)
        edges.append(_axis_edge(c, axis, _log_mean(here, there) / h**2, fitted, drift, d / h**2))
    return edges


def _oblique_edges(c: Coefficients) -> list[Edge]:
    """Selling's edges of a full tensor; drift outside the range of D goes upwind on the axes."""
    offsets, weights = selling(c.tensor / np.multiply.outer(c.grid.spacing, c.grid.spacing))
    slopes, rests = zip(*_fitted_drifts(c), strict=True)
    edges = []
    for offset, weight in _by_offset(offsets, weights, c.grid.dim):
        step = np.array(offset) * c.grid.spacing
        at_cells = [-c.beta * (slope @ step) for slope in slopes]
        mean = np.add(*neighbours(weight, offset, c.grid.periodic)) / 2
        parts = [mean * np.add(*neighbours(g, offset, c.grid.periodic)) / 2 for g in at_cells]
        if sum(map(abs, offset)) == 1:
            axis = int(np.argmax(np.abs(offset)))
            h = c.grid.spacing[axis]
            outside = [-c.beta / h * _mean(rest[..., axis], axis, c.grid) for rest in rests]
            parts = [g + more for g, more in zip(parts, outside, strict=True)]
        ends = _ends(c, offset, weight, *(weight * g for g in np.cumsum(at_cells, 0)))
        edges.append(Edge(offset, mean, parts[0], parts[0] + parts[1], ends))
    return edges


def _fitted_drifts(c: Coefficients) -> Iterator[tuple[Array, Array]]:
    """For a without the force, then the force: D⁺ a and what of a is outside the range of D."""
    eigenvalues, vectors = np.linalg.eigh(c.tensor)
    alive = eigenvalues > _RANGE * eigenvalues[..., -1:]
    inverse = np.where(alive, 1 / np.where(alive, eigenvalues, 1.0), 0.0)
    gradient = -_gradient(c.values, c.grid) - spurious_drift(c) / c.beta
    for a in (gradient, np.zeros_like(gradient) if c.force is None else c.force):
        parts = np.einsum("...ji,...j->...i", vectors, a)
        slope = np.einsum("...ij,...j->...i", vectors, inverse * parts)
        yield slope, np.einsum("...ij,...j->...i", vectors, np.where(alive, 0.0, parts))


def spurious_drift(c: Coefficients) -> Array:
    """∇·D (Itô), σ ∇·σ (Stratonovich) or zero (Hänggi-Klimontovich), (*shape, d)."""
    tensor = c.tensor
    if tensor.ndim == c.grid.dim:
        return c.reading.share * _gradient(tensor, c.grid)
    if isinstance(c.reading, HaenggiKlimontovich):
        return np.zeros(tensor.shape[:-1])
    if isinstance(c.reading, Stratonovich):
        eigenvalues, vectors = np.linalg.eigh(tensor)
        root = np.einsum(
            "...ik,...k,...jk->...ij", vectors, np.sqrt(np.maximum(eigenvalues, 0.0)), vectors
        )
        return np.einsum("...ij,...j->...i", root, _row_divergence(root, c.grid))
    return _row_divergence(tensor, c.grid)


def _row_divergence(tensor: Array, grid: Grid) -> Array:
    """(∇·M)_i = Σ_j ∂_j M_ij, central differences."""
    parts = [_derivative(tensor[..., j], j, grid) for j in range(grid.dim)]
    return sum(parts[1:], parts[0])


def _gradient(field: Array, grid: Grid) -> Array:
    return np.stack([_derivative(field, k, grid) for k in range(grid.dim)], -1)


def _derivative(field: Array, axis: int, grid: Grid) -> Array:
    """∂_axis by central differences, second order up to the walls."""
    h = grid.spacing[axis]
    if grid.periodic[axis]:
        return (np.roll(field, -1, axis) - np.roll(field, 1, axis)) / (2 * h)
    out: Array = np.gradient(field, h, axis=axis, edge_order=2)
    return out


def _mean(field: Array, axis: int, grid: Grid) -> Array:
    here, there = axis_neighbours(field, axis, grid)
    return (here + there) / 2


def _log_mean(a: Array, b: Array) -> Array:
    """(b - a) / log(b / a): with it, the flux of rho_t = Δ(D rho) vanishes exactly at 1 / D."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (b - a) / (b + a)
        mean = np.where(np.abs(x) < 1e-4, (a + b) / 2 * (1 - x * x / 3), (b - a) / np.log(b / a))
    return np.where((a > 0) & (b > 0), mean, 0.0)


def _by_offset(
    offsets: NDArray[np.int64], weights: Array, dim: int
) -> list[tuple[tuple[int, ...], Array]]:
    """Fields of weights for each offset that occurs, the unit ones first; e and -e are one."""
    flip = (offsets[..., 0] < 0) | ((offsets[..., 0] == 0) & (offsets[..., 1] < 0))
    offsets = np.where(flip[..., None], -offsets, offsets)
    total = {tuple(int(j == k) for j in range(dim)): np.zeros(weights.shape[:-1]) for k in (0, 1)}
    used = np.unique(offsets[weights > 0], axis=0)
    for offset in map(tuple, used.tolist()):
        match = (offsets == np.array(offset)).all(-1)
        total[offset] = np.where(match, weights, 0.0).sum(-1)
    return list(total.items())


def _axis_edge(
    c: Coefficients, axis: int, weight: Array, fitted: Array, drift: Array, at_cells: Array
) -> Edge:
    """An axis edge, with the drifts continued to absorbing walls from the nearest face."""
    offset = tuple(int(k == axis) for k in range(c.grid.dim))
    if not any(c.absorbing[axis]):
        return Edge(offset, weight, fitted, drift, ())
    pad = [[(0, int(k == axis)) for k in range(c.grid.dim)]]
    pad.append([(after, before) for before, after in pad[0]])
    on_cells = [[np.pad(g, p, mode="edge") for g in (fitted, drift)] for p in pad]
    above, below = on_cells
    upper = _ends(c, offset, at_cells, *above)[1]
    lower = _ends(c, offset, at_cells, *below)[0]
    return Edge(offset, weight, fitted, drift, (lower, upper))


def _ends(
    c: Coefficients, offset: tuple[int, ...], weight: Array, fitted: Array, drift: Array
) -> tuple[tuple[Array, Array, Array, Array], ...]:
    """The two ways out of the box along an edge, from fields over the cells; see ``Edge``."""
    if not any(map(any, c.absorbing)):
        return ()
    back = tuple(-k for k in offset)
    return ((_share(c, back), weight, fitted, -drift), (_share(c, offset), weight, fitted, drift))


def _share(c: Coefficients, step: tuple[int, ...]) -> Array:
    """Share of the step at which it first meets a wall, infinite unless that wall absorbs."""
    first = np.full(c.grid.shape, np.inf)
    absorbs = np.zeros(c.grid.shape, dtype=bool)
    for axis, k in enumerate(step):
        if k == 0 or c.grid.periodic[axis]:
            continue
        n = c.grid.cells[axis]
        cells = np.arange(n) + 0.5
        share = (n - cells if k > 0 else cells) / abs(k)
        field = np.broadcast_to(
            share.reshape([-1 if j == axis else 1 for j in range(c.grid.dim)]), c.grid.shape
        )
        closer = field < first
        first = np.where(closer, field, first)
        absorbs = np.where(closer, c.absorbing[axis][int(k > 0)], absorbs)
    return np.where(absorbs & (first < 1), first, np.inf)


def _exits(edge: Edge, beta: float) -> tuple[Array, Array] | None:
    """Rates into the absorbing walls: the flux to a density of zero at the share s of the edge."""
    if not edge.ends:
        return None
    rates = []
    for share, weight, fitted, drift in edge.ends:
        out = np.isfinite(share)
        s = np.where(out, share, 1.0)
        rates.append(np.where(out, _rate(weight, s * fitted, s * drift) / (s * beta), 0.0))
    return rates[0], rates[1]
