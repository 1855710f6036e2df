"""Markov generators on a grid: rates to the neighbours, from which both directions follow.

One object carries the backward operator L (rows sum to zero, off-diagonal entries >= 0) and the
forward operator L^T; the duality of expectations and densities is the transpose of the same rates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid

_LARGEST = 1e150  # rates: products and sums of them stay finite
_CHUNK = 1 << 13  # faces at a time, so that intermediates fit in cache
Offset = tuple[int, ...]
Arrivals = Sequence[tuple[Offset, Array, Array]]  # per direction, from i - e and from i + e


class Direction(NamedTuple):
    """Rates between the cells i and i + offset; see ``Generator``."""

    offset: Offset
    up: Array
    down: Array
    exits: tuple[Array, Array] | None


@dataclass(frozen=True, eq=False)
class Generator:
    """Jump rates of a Markov chain on the cells of ``grid``, along a few directions.

    ``up[k]`` has the rates from cell i to i + e and ``down[k]`` those back, e the k-th of
    ``offsets``: first the axes, then (for tensor diffusion) oblique ones. Arrays cover the cells i
    for which both ends are in the box: along a walled axis j, ``cells[j] - |e_j|`` entries; along
    a periodic one ``cells[j]`` (the last cross the seam). All are >= 0: that is monotonicity.

    ``exits[k]`` has the rates at which the walls absorb from cells whose neighbour i - e, and i +
    e, is outside (full fields, zero elsewhere), or None if they are no-flux. ``killing`` is a rate
    per cell besides, or None.
    """

    grid: Grid
    up: tuple[Array, ...]
    down: tuple[Array, ...]
    oblique: tuple[Offset, ...] = ()
    exits: tuple[tuple[Array, Array] | None, ...] = ()
    killing: Array | None = None

    @property
    def offsets(self) -> tuple[Offset, ...]:
        """The axes' unit offsets, then the oblique ones."""
        dim = self.grid.dim
        units = (tuple(int(j == k) for j in range(dim)) for k in range(dim))
        return (*units, *self.oblique)

    def directions(self) -> Iterator[Direction]:
        exits = self.exits or (None,) * len(self.up)
        for parts in zip(self.offsets, self.up, self.down, exits, strict=True):
            yield Direction(*parts)

    @property
    def loss(self) -> Array | None:
        """Rate at which each cell loses to walls and killing; None if nothing is lost."""
        lost = [side for pair in self.exits if pair is not None for side in pair]
        lost += [] if self.killing is None else [self.killing]
        return sum(lost[1:], lost[0]) if lost else None

    def backward(self, phi: Array) -> Array:
        """L phi: (L phi)_i = sum over neighbours j of rate(i -> j) (phi_j - phi_i) - loss phi_i."""
        out = np.zeros_like(phi) if self.loss is None else -self.loss * phi
        for offset, up, down, _ in self.directions():
            here, there = neighbours(phi, offset, self.grid.periodic)
            jump = there - here
            _add(out, offset, self.grid.periodic, up * jump, -down * jump)
        return out

    def forward(self, rho: Array) -> Array:
        """L^T rho: minus the divergence of the fluxes; sums to minus the loss."""
        out = np.zeros_like(rho) if self.loss is None else -self.loss * rho
        for offset, flux in self.fluxes(rho):
            _add(out, offset, self.grid.periodic, -flux, flux)
        return out

    def fluxes(self, rho: Array) -> Iterator[tuple[Offset, Array]]:
        """Per direction the flow of probability density and time from i to i + offset."""
        for offset, up, down, _ in self.directions():
            here, there = neighbours(rho, offset, self.grid.periodic)
            yield offset, up * here - down * there

    def current(self, rho: Array, arrivals: Arrivals = ()) -> Array:
        """The probability current J at the centres, (*shape, dim), with rho_t = -∇·J.

        J = Σ_e e h (flow in + flow out) / 2, from the same fluxes as the density's evolution.
        ``arrivals``: what the walls supply, see ``drift_diffusion.wall_arrivals``.
        """
        out = np.zeros((*self.grid.shape, self.grid.dim))
        for offset, flux in self.fluxes(rho):
            mean = np.zeros_like(rho)
            _add(mean, offset, self.grid.periodic, flux / 2, flux / 2)
            out += mean[..., None] * (np.array(offset) * self.grid.spacing)
        for direction in self.directions():
            if direction.exits is not None:
                mean = (direction.exits[1] - direction.exits[0]) * rho / 2
                out += mean[..., None] * (np.array(direction.offset) * self.grid.spacing)
        for offset, lower, upper in arrivals:
            out += ((lower - upper) / 2)[..., None] * (np.array(offset) * self.grid.spacing)
        return out

    def exit_rate(self) -> Array:
        """Total rate of leaving each cell: minus the diagonal of L."""
        out = np.zeros(self.grid.shape) if self.loss is None else self.loss.copy()
        for offset, up, down, _ in self.directions():
            _add(out, offset, self.grid.periodic, up, down)
        return out

    def peclet(self, weights: Sequence[Array]) -> Array:
        """The cell Péclet number: per cell the largest |rate up - rate down| / weight of its edges.

        ``weights`` are the rates of diffusion alone, per direction as ``up``: beta h |b| / D along
        an edge, whether its rates are fitted, centred or upwind. Edges with less than a hundredth
        of the cell's exit rate do not count; infinite without diffusion.
        """
        out, through = np.zeros(self.grid.shape), self.exit_rate()
        for (offset, up, down, _), weight in zip(self.directions(), weights, strict=True):
            most = np.maximum(*neighbours(through, offset, self.grid.periodic))
            alive = up + down > 0.01 * most
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(alive, np.abs(up - down) / weight, 0.0)
            _gather(np.maximum, out, offset, self.grid.periodic, ratio, ratio)
        return out

    def matrix(self) -> Any:
        """L as a ``scipy.sparse`` CSR array over the cells in C order; its transpose moves rho."""
        from scipy.sparse import coo_array

        cells = np.arange(np.prod(self.grid.shape)).reshape(self.grid.shape)
        rows, cols, rates = [cells.ravel()], [cells.ravel()], [-self.exit_rate().ravel()]
        for offset, up, down, _ in self.directions():
            here, there = neighbours(cells, offset, self.grid.periodic)
            rows += [here.ravel(), there.ravel()]
            cols += [there.ravel(), here.ravel()]
            rates += [up.ravel(), down.ravel()]
        index = (np.concatenate(rows), np.concatenate(cols))
        entries = np.concatenate(rates)
        matrix = coo_array((entries, index), shape=(cells.size, cells.size)).tocsr()
        matrix.eliminate_zeros()
        return matrix


def scharfetter_gummel(values: Array, beta: float, grid: Grid) -> Generator:
    """Generator of -∇V·∇ + beta^-1 Δ with the exponentially fitted two-point flux.

    J = (B(Δ) rho_i - B(-Δ) rho_{i+1}) / (beta h), Δ = beta (V_{i+1} - V_i), B(w) = w / (e^w - 1)
    (mathematics 1.4). exp(-beta V) is stationary with zero flux in every cell face; second order
    where the cell Péclet number |Δ| is moderate, upwind where it is large.

    Parameters: ``values`` of shape ``grid.shape``, the potential at the centres.
    """
    up, down = [], []
    for axis, h in enumerate(grid.spacing):
        here, there = axis_neighbours(values, axis, grid)
        rates = np.empty(here.shape), np.empty(here.shape)
        rows = max(1, _CHUNK // here[0].size)
        for start in range(0, len(here), rows):
            some = slice(start, start + rows)
            with np.errstate(over="ignore", invalid="ignore"):
                steps = there[some] - here[some]
                steps *= beta
                pair = bernoulli_pair(steps)
                for rate, value in zip(rates, pair, strict=True):
                    np.divide(value, beta * h * h, out=rate[some])
        up.append(rates[0])
        down.append(rates[1])
    return within_floats(Generator(grid, tuple(up), tuple(down)))


def within_floats(made: Generator) -> Generator:
    """The generator itself; ``ValueError`` naming the cell if a rate exceeds 1e150."""
    for k, sides in enumerate(zip(made.up, made.down, strict=True)):
        for side in (*sides, *(made.exits[k] or () if made.exits else ())):
            # the squares overflow first; one pass in cache, without temporaries
            if not np.vdot(side, side) <= _LARGEST**2 and not side.max() <= _LARGEST:
                _refuse(made, k, side)
    return made


def _refuse(made: Generator, k: int, side: Array) -> None:
    grid, cell = made.grid, np.unravel_index(int(np.argmax(~(side <= _LARGEST))), side.shape)
    place = ", ".join(
        f"{name} = {axis[i]:g}" for name, axis, i in zip(grid.names, grid.axes, cell, strict=True)
    )
    raise ValueError(
        f"the rate along {made.offsets[k]} at {place} is {side[cell]:.3g} per unit of time, beyond "
        "the supported range (1e150): the potential or force there is too large, or beta or the "
        "cells too small; truncate the potential at about 1000 / beta, or rescale the problem"
    )


def gibbs(values: Array, beta: float, grid: Grid) -> Array:
    """exp(-beta V) / Z with unit mass on the grid; robust to underflow of exp(-beta V)."""
    with np.errstate(over="ignore"):
        weights = np.exp(-beta * (values - values.min()))
    density: Array = weights / grid.integrate(weights)
    return density


def cell_peclet(values: Array, beta: float, grid: Grid) -> float:
    """Largest |beta (V_{i+1} - V_i)|: above about 2 the flux is upwind, hence of first order."""
    return max(
        float(np.abs(beta * np.subtract(*axis_neighbours(values, axis, grid))).max())
        for axis in range(grid.dim)
    )


def bernoulli_pair(w: Array) -> tuple[Array, Array]:
    """B(w) and B(-w) for B(w) = w / (e^w - 1), both to rounding: B(-|w|) = B(|w|) + |w|.

    Of steep ones with warnings of overflow.
    """
    size = np.abs(w)
    np.maximum(size, 1e-300, out=size)  # not 0 / 0
    smaller = np.expm1(size)
    np.divide(size, smaller, out=smaller)
    rise = np.maximum(w, 0.0, out=size)
    second = smaller + rise
    smaller += np.subtract(rise, w, out=rise)
    return smaller, second


def bernoulli(w: Array) -> Array:
    """w / (e^w - 1), by its series near zero and without overflow at both ends of the range."""
    small = np.abs(w) < 1e-3
    with np.errstate(over="ignore", invalid="ignore"):
        out: Array = np.where(small, 1 - w / 2 + w * w / 12, w / np.expm1(w))
    return out


def axis_neighbours(field: NDArray[Any], axis: int, grid: Grid) -> tuple[Any, Any]:
    """The fields on the two sides of every inner face along ``axis`` (and of the seam)."""
    offset = tuple(int(k == axis) for k in range(grid.dim))
    return neighbours(field, offset, grid.periodic)


def neighbours(
    field: NDArray[Any], offset: Offset, periodic: tuple[bool, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The field at the cells i and at i + offset, where both are in the box.

    Leading axes of the field are the grid's; views of it where no periodic axis is crossed.
    """
    rolled = [k if wraps else 0 for k, wraps in zip(offset, periodic, strict=True)]
    here, there = _overlap(field.ndim, offset, periodic)
    axes = tuple(range(len(offset)))
    beyond = np.roll(field, [-k for k in rolled], axes) if any(rolled) else field
    return field[here], beyond[there]


def _overlap(ndim: int, offset: Offset, periodic: tuple[bool, ...]) -> tuple[Any, Any]:
    """Slices of the cells i and i + offset along the walled axes."""
    here: list[slice] = [slice(None)] * ndim
    there = list(here)
    for axis, (k, wraps) in enumerate(zip(offset, periodic, strict=True)):
        if k != 0 and not wraps:
            first, second = slice(None, -abs(k)), slice(abs(k), None)
            here[axis], there[axis] = (first, second) if k > 0 else (second, first)
    return tuple(here), tuple(there)


def _add(out: Array, offset: Offset, periodic: tuple[bool, ...], here: Array, there: Array) -> None:
    """Add quantities of the pairs (i, i + offset) to the cells i (``here``) and i + offset."""
    _gather(np.add, out, offset, periodic, here, there)


def _gather(
    join: np.ufunc, out: Array, offset: Offset, periodic: tuple[bool, ...], here: Array,
    there: Array,
) -> None:  # fmt: skip
    rolled = [k if wraps else 0 for k, wraps in zip(offset, periodic, strict=True)]
    first, second = _overlap(out.ndim, offset, periodic)
    join(out[first], here, out=out[first])
    if any(rolled):
        there = np.roll(there, rolled, tuple(range(len(offset))))
    join(out[second], there, out=out[second])
