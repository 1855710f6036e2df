"""Rates of general drift-diffusions: any drift, scalar and tensor diffusion, walls, killing.

The density's flux is written J = a rho - β⁻¹ D ∇rho, so that a is the drift b = -∇V + force less
the spurious drift of the reading (`pdekit.diffusions`). The rates along an edge are
those of `edge_rates`: exponentially fitted to the whole drift, potential and force.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.diffusions import Ito, as_diffusion
from pdekit.grid import Grid
from pdekit.pde.discrete.circulation import bounded_slopes, gradient_part, slopes_round
from pdekit.pde.discrete.differences import central_gradient, change_per_cell, row_divergence
from pdekit.pde.discrete.edge_rates import (
    ALONE,
    BESIDE_A_POTENTIAL,
    ON_LINES,
    centring,
    circulating_rates,
    fitted_rates,
)
from pdekit.pde.discrete.generators import (
    Generator,
    Offset,
    axis_neighbours,
    neighbours,
    within_floats,
)
from pdekit.pde.discrete.sampling import evaluate_rate, evaluate_tensor, evaluate_vector
from pdekit.pde.discrete.selling import selling
from pdekit.pde.discrete.wall_edges import weights_along_walls
from pdekit.pde.discrete.wall_rates import (
    Box,
    Way,
    exit_rate,
    exits_of,
    flows,
    potential_ways,
    takes,
    ways,
)
from pdekit.walls import End, Walls

_RANGE = 1e-10  # eigenvalues below this share of the largest count as zero for the drift


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Drift and diffusion sampled at the centres of ``grid``.

    ``values`` the potential, ``force`` (*shape, d) or None, ``tensor`` (*shape) for a scalar D or
    (*shape, d, d), ``reading`` its interpretation, ``walls`` per axis what its two ends do,
    ``killing`` a rate per cell or None.
    """

    grid: Grid
    beta: float
    values: Array
    force: Array | None
    tensor: Array
    reading: Ito
    walls: tuple[tuple[End, End], ...]
    killing: Array | None = None

    @property
    def is_diagonal(self) -> bool:
        """Whether the tensor couples no axes, so that the stencil is on the axes only."""
        return self.tensor.ndim == self.grid.dim or not (
            self.tensor[..., 0, -1].any() and self.grid.dim > 1
        )


def is_general(equation: Any) -> bool:
    """Whether an equation has a drift or diffusion of its own, beside its potential."""
    parts = ("force", "diffusion")
    return any(getattr(equation, name, None) is not None for name in parts)


def sample(equation: Any, grid: Grid) -> Coefficients:
    """Force, diffusion and walls of an equation on a grid; its potential is left at zero."""
    reading, force, killing = as_diffusion(equation.diffusion), equation.force, equation.killing
    return Coefficients(
        grid,
        equation.beta,
        np.zeros(grid.shape),
        None if force is None else evaluate_vector(force, grid, "the force"),
        evaluate_tensor(reading.D, grid, "the diffusion"),
        reading,
        ends_of(equation.walls, grid),
        None if killing is None else evaluate_rate(killing, grid, "the killing rate"),
    )


def with_losses(
    made: Generator, beta: float, values: Array, ends: tuple[tuple[End, End], ...],
    killed: Array | None,
) -> Generator:  # fmt: skip
    """The generator of a potential alone, given by its values, with walls and killing."""
    grid = made.grid
    exits: list[tuple[Array, Array] | None] = []
    if any(map(takes, ends)):
        exits = [(np.zeros(grid.shape), np.zeros(grid.shape)) if takes(e) else None for e in ends]
        with np.errstate(over="ignore", invalid="ignore"):
            for axis, sides, way in potential_ways(values, beta, grid, ends):
                pair = exits[axis]
                assert pair is not None
                for side, rates in zip(sides, exit_rate(way, beta), strict=True):
                    pair[side].swapaxes(0, axis)[-side] = rates
    return within_floats(Generator(grid, made.up, made.down, made.oblique, tuple(exits), killed))


def ends_of(walls: Walls | None, grid: Grid) -> tuple[tuple[End, End], ...]:
    """What the two ends of every axis of a grid do."""
    return (walls or Walls()).per_axis(grid.periodic)


@dataclass(frozen=True, eq=False)
class Edge:
    """Weight w and drift g = w Δ, in units of cells, over the pairs (i, i + offset).

    ``weight`` and ``rates``, those to i + offset and back, are times beta. ``ends`` has for the two
    ways out of the box how it leaves there.
    """

    offset: tuple[int, ...]
    weight: Array
    rates: tuple[Array, Array]
    ends: tuple[Way, ...]


def generator(c: Coefficients) -> Generator:
    """The generator of b·∇ + β⁻¹ D:∇² (Itô's drift) from sampled coefficients."""
    return _joined(c, _edges(c))


def peclet(c: Coefficients) -> Array:
    """The cell Péclet number of sampled coefficients: see ``Generator.peclet``."""
    edges = _edges(c)
    return _joined(c, edges).peclet([e.weight / c.beta for e in edges])


def _edges(c: Coefficients) -> list[Edge]:
    with np.errstate(over="ignore", invalid="ignore"):
        return _axis_edges(c) if c.is_diagonal else _oblique_edges(c)


def _joined(c: Coefficients, edges: list[Edge]) -> Generator:
    with np.errstate(over="ignore", invalid="ignore"):
        up, down = (tuple(e.rates[k] / c.beta for e in edges) for k in (0, 1))
        exits = tuple(exits_of(e.ends, c.beta) for e in edges)
    oblique = tuple(e.offset for e in edges[c.grid.dim :])
    exits = exits if any(exits) else ()
    return within_floats(Generator(c.grid, up, down, oblique, exits, c.killing))


def _axis_edges(c: Coefficients) -> list[Edge]:
    """Edges along the axes: exact Gibbs states for scalar D, no inverse of D needed."""
    weights, fitted, drifts, at_cells = [], [], [], []
    for axis, h in enumerate(c.grid.spacing):
        d = c.tensor if c.tensor.ndim == c.grid.dim else c.tensor[..., axis, axis]
        here, there = axis_neighbours(d, axis, c.grid)
        drift = c.beta * np.subtract(*axis_neighbours(c.values, axis, c.grid)[::-1])
        fitted.append((drift + c.reading.share * (there - here)) / h**2)
        weights.append(_log_mean(here, there) / h**2)
        at_cells.append(d / h**2)
        force = 0.0 if c.force is None else _edge_mean(c.force[..., axis], axis, c.grid)
        drifts.append(fitted[-1] - c.beta / h * force)
    if c.force is None:
        rates = [fitted_rates(w, g) for w, g in zip(weights, drifts, strict=True)]
    else:
        rates = _axis_rates(c, weights, fitted, drifts)
    return [
        _axis_edge(c, k, *parts)
        for k, parts in enumerate(zip(weights, rates, drifts, at_cells, strict=True))
    ]


def _axis_rates(
    c: Coefficients, weights: list[Array], fitted: list[Array], drifts: list[Array]
) -> list[tuple[Array, Array]]:
    """Rates of a drift with a force: by the slopes of its gradient part."""
    forms = [
        np.divide(g, w, out=np.zeros_like(g), where=w > 0)
        for g, w in zip(drifts, weights, strict=True)
    ]
    slopes = forms
    if c.grid.dim > 1 or c.grid.periodic[0]:
        base = _base(c)
        rests = [f - _difference(base, k, c.grid) for k, f in enumerate(forms)]
        slopes = []
        for axis, slope in enumerate(bounded_slopes(rests, c.grid)):
            slope = slope + _difference(base, axis, c.grid)
            if c.grid.periodic[axis] and (weights[axis] > 0).all():
                slope = slopes_round(slope + rests[axis].mean(), weights[axis], axis)
            slopes.append(slope)
    alone = not any(map(np.any, fitted))
    in_plane = ALONE if alone else BESIDE_A_POTENTIAL
    ramps = [ON_LINES if c.grid.dim == 1 or closed else in_plane for closed in c.grid.periodic]
    factors = [centring(p, k, c.grid) if alone else 1.0 for k, p in enumerate(slopes)]
    edges = zip(weights, drifts, slopes, factors, ramps, strict=True)
    return [circulating_rates(*edge) for edge in edges]


def _base(c: Coefficients) -> Array:
    """beta V over the mean diffusion: the stationary state without the force."""
    tensor = (
        c.tensor if c.tensor.ndim == c.grid.dim else np.einsum("...ii->...", c.tensor) / c.grid.dim
    )
    out: Array = c.beta / tensor.mean() * c.values
    return out


def _difference(field: Array, axis: int, grid: Grid) -> Array:
    here, there = axis_neighbours(field, axis, grid)
    out: Array = there - here
    return out


def _oblique_edges(c: Coefficients) -> list[Edge]:
    """Selling's edges of a full tensor; drift outside the range of D is upwind on the axes."""
    cell_tensor = c.tensor / np.multiply.outer(c.grid.spacing, c.grid.spacing)
    offsets, weights = selling(cell_tensor)
    along = weights_along_walls(c.grid, c.walls, cell_tensor, offsets, weights)
    slope, rest = _fitted_drift(c)
    height = None if c.force is None else _balanced_height(c, slope)
    edges = []
    for offset, weight in _by_offset(offsets, weights, c.grid.dim):
        at_cells = -c.beta * (slope @ (np.array(offset) * c.grid.spacing))
        unit = sum(map(abs, offset)) == 1
        axis = int(np.argmax(np.abs(offset)))
        whole = weight + along[axis] if unit else weight
        mean = np.add(*neighbours(whole, offset, c.grid.periodic)) / 2
        drift = mean * np.add(*neighbours(at_cells, offset, c.grid.periodic)) / 2
        if unit:
            drift = drift - c.beta / c.grid.spacing[axis] * _mean(rest[..., axis], axis, c.grid)
        if height is None:
            rates = fitted_rates(mean, drift)
        else:
            here, there = neighbours(height, offset, c.grid.periodic)
            rates = circulating_rates(mean, drift, there - here, 1.0, BESIDE_A_POTENTIAL)
        edges.append(Edge(offset, mean, rates, _ways(c, offset, weight, weight * at_cells)))
    return edges


def _balanced_height(c: Coefficients, slope: Array) -> Array:
    """U with the differences closest to the drift D⁺ a along the axes."""
    base = _base(c)
    rests = [
        -c.beta * h * _mean(slope[..., k], k, c.grid) - _difference(base, k, c.grid)
        for k, h in enumerate(c.grid.spacing)
    ]
    return base + gradient_part(rests, c.grid)


def _fitted_drift(c: Coefficients) -> tuple[Array, Array]:
    """D⁺ a, and the part of the drift a outside the range of D."""
    eigenvalues, vectors = np.linalg.eigh(c.tensor)
    alive = eigenvalues > _RANGE * eigenvalues[..., -1:]
    inverse = np.where(alive, 1 / np.where(alive, eigenvalues, 1.0), 0.0)
    a = -central_gradient(c.values, c.grid) - spurious_drift(c) / c.beta
    parts = np.einsum("...ji,...j->...i", vectors, a if c.force is None else a + c.force)
    slope = np.einsum("...ij,...j->...i", vectors, inverse * parts)
    return slope, np.einsum("...ij,...j->...i", vectors, np.where(alive, 0.0, parts))


def spurious_drift(c: Coefficients) -> Array:
    """∇·D (Itô), σ ∇·σ (Stratonovich) or zero (Hänggi-Klimontovich), (*shape, d)."""
    tensor = c.tensor
    if tensor.ndim == c.grid.dim:
        return c.reading.share * central_gradient(tensor, c.grid)
    if c.reading.share == 0:
        return np.zeros(tensor.shape[:-1])
    if c.reading.share == 0.5:
        eigenvalues, vectors = np.linalg.eigh(tensor)
        root = np.einsum(
            "...ik,...k,...jk->...ij", vectors, np.sqrt(np.maximum(eigenvalues, 0.0)), vectors
        )
        drift: Array = np.einsum("...ij,...j->...i", root, row_divergence(root, c.grid))
        return drift
    return row_divergence(tensor, c.grid)


def _mean(field: Array, axis: int, grid: Grid) -> Array:
    here, there = axis_neighbours(field, axis, grid)
    mean: Array = (here + there) / 2
    return mean


def _edge_mean(field: Array, axis: int, grid: Grid) -> Array:
    """Mean along every edge, of fourth order: (here + there) / 2 - h² f'' / 12."""
    here, there = axis_neighbours(field, axis, grid)
    bend = change_per_cell(there - here, axis, grid.periodic[axis])
    out: Array = (here + there) / 2 - bend / 12
    return out


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
    c: Coefficients, axis: int, weight: Array, rates: tuple[Array, Array], drift: Array,
    at_cells: Array,
) -> Edge:  # fmt: skip
    """An axis edge, with the drift continued to absorbing walls from the nearest face."""
    offset = tuple(int(k == axis) for k in range(c.grid.dim))
    if not takes(c.walls[axis]):
        return Edge(offset, weight, rates, ())
    before = [(int(k == axis), 0) for k in range(c.grid.dim)]
    after = [(0, int(k == axis)) for k in range(c.grid.dim)]
    lower = _ways(c, offset, at_cells, np.pad(drift, before, mode="edge"))[0]
    upper = _ways(c, offset, at_cells, np.pad(drift, after, mode="edge"))[1]
    return Edge(offset, weight, rates, (lower, upper))


def _ways(c: Coefficients, offset: tuple[int, ...], weight: Array, drift: Array) -> tuple[Way, ...]:
    return ways(Box(c.grid, c.walls, None if c.is_diagonal else c.tensor), offset, weight, drift)


def wall_arrivals(c: Coefficients, forward: bool) -> list[tuple[Offset, Array, Array]]:
    """What comes in per time along every edge, from the side of i - e and from that of i + e.

    A density held at v sends v times the rate back from the wall; an expectation held there is v
    for those who leave.
    """
    arrivals = []
    with np.errstate(over="ignore", invalid="ignore"):
        for k, edge in enumerate(_edges(c)):
            sides = np.zeros((2, *c.grid.shape))
            for side, way in zip(sides, edge.ends, strict=bool(edge.ends)):
                leaves, to_wall, back = flows(way, c.beta)
                side += np.where(leaves, (back if forward else to_wall) * way.value, 0.0)
            if k < c.grid.dim:  # an axis
                for side, cell, end in zip(sides, (0, -1), c.walls[k], strict=True):
                    np.moveaxis(side, k, 0)[cell] += end.flux / c.grid.spacing[k]
            arrivals.append((edge.offset, sides[0], sides[1]))
    return arrivals


def potential_arrivals(
    values: Array, beta: float, grid: Grid, walls: Walls, forward: bool
) -> list[tuple[Offset, Array, Array]]:
    """The same of a potential alone, given by its values."""
    arrivals = np.zeros((grid.dim, 2, *grid.shape))
    ends = ends_of(walls, grid)
    with np.errstate(over="ignore", invalid="ignore"):
        for axis, sides, way in potential_ways(values, beta, grid, ends):
            _, to_wall, back = flows(way, beta)
            added = (back if forward else to_wall) * way.value
            for side, each in zip(sides, added, strict=True):
                arrivals[axis, side].swapaxes(0, axis)[-side] = each
    for axis, pair in enumerate(ends):
        for side, end in enumerate(pair):
            np.moveaxis(arrivals[axis, side], axis, 0)[-side] += end.flux / grid.spacing[axis]
    units = np.eye(grid.dim, dtype=int).tolist()
    return [(tuple(e), *pair) for e, pair in zip(units, arrivals, strict=True)]


def fastest_held(c: Coefficients) -> float:
    """The greatest rate of exchange of a cell with a wall that holds a value; 0 without any."""
    fastest = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for way in (way for edge in _edges(c) for way in edge.ends):
            leaves, to_wall, _ = flows(way, c.beta)
            held = leaves & (way.value != 0)
            fastest = max(fastest, float(np.where(held, to_wall, 0.0).max()))
    return fastest
