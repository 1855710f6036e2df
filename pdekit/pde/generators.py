"""Markov generators on a grid: rates to the neighbours, from which both directions follow.

One object carries the backward operator L (rows sum to zero, off-diagonal entries >= 0) and the
forward operator L^T; the duality of expectations and densities is the transpose of the same rates.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.grid import Grid

Array = NDArray[np.float64]
_CHUNK = 1 << 14  # faces at a time, so that what lies between is in cache


@dataclass(frozen=True, eq=False)
class Generator:
    """Nearest-neighbour jump rates of a Markov chain on the cells of ``grid``.

    ``up[k]`` has the rates from cell i to i+1 along axis k, ``down[k]`` those from i+1 to i, both
    of shape ``grid.shape`` with ``cells[k] - 1`` entries along axis k (``cells[k]`` where the axis
    is periodic: the last one crosses the seam). All are >= 0: that is monotonicity.
    """

    grid: Grid
    up: tuple[Array, ...]
    down: tuple[Array, ...]

    def backward(self, phi: Array) -> Array:
        """L phi: (L phi)_i = sum over neighbours j of rate(i -> j) (phi_j - phi_i)."""
        out = np.zeros_like(phi)
        for axis in range(self.grid.dim):
            periodic = self.grid.periodic[axis]
            here, there = _neighbours(phi, axis, periodic)
            jump = there - here
            _add(out, axis, periodic, self.up[axis] * jump, -self.down[axis] * jump)
        return out

    def forward(self, rho: Array) -> Array:
        """L^T rho: minus the divergence of the fluxes; sums to zero over the grid."""
        out = np.zeros_like(rho)
        for axis in range(self.grid.dim):
            periodic = self.grid.periodic[axis]
            here, there = _neighbours(rho, axis, periodic)
            flux = self.up[axis] * here - self.down[axis] * there
            _add(out, axis, periodic, -flux, flux)
        return out

    def exit_rate(self) -> Array:
        """Total rate of leaving each cell: minus the diagonal of L."""
        out = np.zeros(self.grid.shape)
        for axis in range(self.grid.dim):
            _add(out, axis, self.grid.periodic[axis], self.up[axis], self.down[axis])
        return out

    def matrix(self) -> Any:
        """L as a ``scipy.sparse`` CSR array over the cells in C order; its transpose moves rho."""
        from scipy.sparse import coo_array

        cells = np.arange(np.prod(self.grid.shape)).reshape(self.grid.shape)
        rows, cols, rates = [], [], []
        for axis in range(self.grid.dim):
            here, there = _neighbours(cells, axis, self.grid.periodic[axis])
            rows += [here.ravel(), there.ravel()]
            cols += [there.ravel(), here.ravel()]
            rates += [self.up[axis].ravel(), self.down[axis].ravel()]
        rows, cols = [*rows, cells.ravel()], [*cols, cells.ravel()]
        entries = np.concatenate([*rates, -self.exit_rate().ravel()])
        index = (np.concatenate(rows), np.concatenate(cols))
        return coo_array((entries, index), shape=(cells.size, cells.size)).tocsr()


def scharfetter_gummel(values: Array, beta: float, grid: Grid) -> Generator:
    """Generator of -∇V·∇ + beta^-1 Δ with the exponentially fitted two-point flux.

    J = (B(Δ) rho_i - B(-Δ) rho_{i+1}) / (beta h), Δ = beta (V_{i+1} - V_i), B(w) = w / (e^w - 1)
    (MODEL 1.4). exp(-beta V) is stationary with zero flux in every cell face; second order where
    the cell Péclet number |Δ| is moderate, upwind where it is large.

    Parameters: ``values`` of shape ``grid.shape``, the potential at the centres.
    """
    up, down = [], []
    for axis, h in enumerate(grid.spacing):
        here, there = _neighbours(values, axis, grid.periodic[axis])
        rates = np.empty(here.shape), np.empty(here.shape)
        rows = max(1, _CHUNK // here[0].size)
        for start in range(0, len(here), rows):
            some = slice(start, start + rows)
            pair = bernoulli_pair(beta * (there[some] - here[some]))
            for rate, value in zip(rates, pair, strict=True):
                np.divide(value, beta * h * h, out=rate[some])
        up.append(rates[0])
        down.append(rates[1])
    return Generator(grid, tuple(up), tuple(down))


def gibbs(values: Array, beta: float, grid: Grid) -> Array:
    """exp(-beta V) / Z with unit mass on the grid; safe where exp(-beta V) underflows."""
    weights = np.exp(-beta * (values - values.min()))
    return weights / grid.integrate(weights)


def cell_peclet(values: Array, beta: float, grid: Grid) -> float:
    """Largest |beta (V_{i+1} - V_i)|: above about 2 the flux is upwind, hence of first order."""
    return max(
        float(np.abs(beta * np.subtract(*_neighbours(values, axis, grid.periodic[axis]))).max())
        for axis in range(grid.dim)
    )


def bernoulli_pair(w: Array) -> tuple[Array, Array]:
    """B(w) and B(-w) for B(w) = w / (e^w - 1), both to rounding: B(-|w|) = B(|w|) + |w|."""
    size = np.clip(np.abs(w), 1e-300, 700.0)  # neither 0 / 0 nor overflow
    smaller = size / np.expm1(size)
    return smaller + np.maximum(-w, 0.0), smaller + np.maximum(w, 0.0)


def _neighbours(field: NDArray[Any], axis: int, periodic: bool) -> tuple[Any, Any]:
    """The fields on the two sides of every inner face along ``axis`` (and of the seam)."""
    if periodic:
        return field, np.roll(field, -1, axis)
    first: list[Any] = [slice(None)] * field.ndim
    second = list(first)
    first[axis], second[axis] = slice(None, -1), slice(1, None)
    return field[tuple(first)], field[tuple(second)]


def _add(out: Array, axis: int, periodic: bool, here: Array, there: Array) -> None:
    """Add face quantities to the cells on their lower (``here``) and upper (``there``) side."""
    if periodic:
        out += here
        out += np.roll(there, 1, axis)
        return
    first, second = _neighbours(out, axis, False)
    first += here
    second += there
