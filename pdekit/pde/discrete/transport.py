"""Transport without noise on cells: velocities at faces, upwind steps, distances of marginals."""

from dataclasses import replace

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.mean_field import free_energy_terms, pair_field
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.quantiles import w1
from pdekit.pde.discrete.sampling import finite_vectors

Velocity = list[Array]  # of each axis (lines along it, faces)

_STEEP = float(np.exp(2.0))  # ratio of the densities of neighbouring cells: narrower than cells


class System:
    """rho_t = -∇·(v rho), v = -∇(V + W * rho) + force, on the cells of a problem.

    ``coupled``: v depends on rho; ``driven``: by a force, so that there is no free energy.
    """

    def __init__(self, problem: Problem) -> None:
        self.grid, self.start, equation = problem.grid, problem.values, problem.equation
        self.V = problem.potential()
        self.coupled = bool(equation.mean_field)
        force = getattr(equation, "force", None)
        self.fixed = [
            _downhill(self.V, self.grid, axis) + _forced(force, self.grid, axis)
            for axis in range(self.grid.dim)
        ]
        self.driven = force is not None
        self.pair = None
        if self.coupled:
            self.pair = pair_field(equation.interaction, self.grid, equation.beta)

    def state(self, rho: Array) -> tuple[Velocity, float, float]:
        """Velocity and free energy of a density, and the size of the sums that make it."""
        field = np.zeros(rho.shape) if self.pair is None else self.pair(rho)
        energy, size = free_energy_terms(rho, self.V, field, np.inf, self.grid)
        if self.pair is not None:  # the sums of W * rho may cancel, but not their rounding
            size += self.pair.largest * float(self.grid.integrate(rho)) ** 2
        return self._of(field), energy, size

    def velocity(self, rho: Array) -> Velocity:
        """The velocities at the faces."""
        return self.fixed if self.pair is None else self._of(self.pair(rho))

    def _of(self, field: Array) -> Velocity:
        if self.pair is None:
            return self.fixed
        return [v + _downhill(field, self.grid, axis) for axis, v in enumerate(self.fixed)]

    def euler(self, rho: Array, velocity: Velocity, dt: float, linear: bool) -> Array:
        """rho after an upwind step."""
        from pdekit.pde.kernels.transport_lines import advect

        grid, out = self.grid, rho.copy()
        for axis, v in enumerate(velocity):
            lines = along(rho, axis)
            change = np.zeros_like(lines)
            ratio = dt / float(grid.spacing[axis])
            advect(lines, v, ratio, grid.periodic[axis], linear, float(grid.dim), change)
            out += along(change, axis).reshape(rho.shape)
        return np.maximum(out, 0.0)  # rounding of what is sent away entirely

    def rate(self, rho: Array, velocity: Velocity, floor: float, linear: bool) -> float:
        """The share of a cell that leaves it per time, at most, times the number of axes."""
        from pdekit.pde.kernels.transport_lines import fastest

        return self.grid.dim * max(
            float(fastest(along(rho, axis), v, floor, linear)) / float(self.grid.spacing[axis])
            for axis, v in enumerate(velocity)
        )

    def change(self, rho: Array, velocity: Velocity, other: Velocity, floor: float) -> float:
        """By how many cells per time velocities differ, where there is mass."""
        from pdekit.pde.kernels.transport_lines import largest_change

        return max(
            float(largest_change(along(rho, axis), v, w, floor)) / float(self.grid.spacing[axis])
            for axis, (v, w) in enumerate(zip(velocity, other, strict=True))
        )


def along(field: Array, axis: int) -> Array:
    """Lines of an axis as rows, and back."""
    if field.ndim == 1:
        return field[None, :]
    return field if axis == 1 else np.ascontiguousarray(field.T)


def _downhill(U: Array, grid: Grid, axis: int) -> Array:
    """-∂U at the faces of the lines along an axis: differences over a cell, zero at walls."""
    lines, h = along(U, axis), float(grid.spacing[axis])
    out = np.zeros((lines.shape[0], lines.shape[1] + 1))
    out[:, 1:-1] = -np.diff(lines) / h
    if grid.periodic[axis]:
        out[:, 0] = out[:, -1] = -(lines[:, 0] - lines[:, -1]) / h
    return out


def _forced(force: object, grid: Grid, axis: int) -> Array | float:
    """The component of a force at the faces along an axis, zero at walls."""
    if force is None:
        return 0.0
    places = [grid.faces[k] if k == axis else grid.axes[k] for k in range(grid.dim)]
    points = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1)
    values = finite_vectors("the force", force, points)[..., axis]  # type: ignore[arg-type]
    lines = np.array(along(values, axis))
    if grid.periodic[axis]:
        lines[:, -1] = lines[:, 0]
    else:
        lines[:, 0] = lines[:, -1] = 0.0
    return lines


def on_half(problem: Problem) -> Problem:
    """The same on one more than half as many cells, none of whose centres coincide with these."""
    grid = problem.grid
    cells = tuple(max(4, n // 2 + 1) for n in grid.cells)
    other = Grid(grid.lower, grid.upper, cells, grid.periodic)
    given = problem.initial
    own = hasattr(given, "pdf") or callable(given)
    start = given if own else binned(problem.values, grid, other)
    made = replace(problem, grid=other, initial=start)
    mass = grid.integrate(problem.values) / other.integrate(made.values)
    return replace(made, initial=made.values * mass)


def binned(rho: Array, grid: Grid, other: Grid) -> Array:
    """Densities of other cells of the same box, each constant within the cells of ``grid``."""
    for axis in range(grid.dim):
        lines, faces = np.moveaxis(rho, axis, -1), grid.faces[axis]
        below = np.concatenate([np.zeros((*lines.shape[:-1], 1)), np.cumsum(lines, -1)], -1)
        at = other.faces[axis]
        new = np.array(
            [np.diff(np.interp(at, faces, row)) for row in below.reshape(-1, len(faces))]
        )
        new = new.reshape(*lines.shape[:-1], -1) * grid.spacing[axis] / other.spacing[axis]
        rho = np.moveaxis(new, -1, axis)
    return np.ascontiguousarray(rho)


def marginal_w1(rho: Array, grid: Grid, sigma: Array, other: Grid, axis: int) -> float:
    """W1 of the marginals along an axis of two densities on cells of the same box."""
    x, u = _distribution(rho, grid, axis)
    y, v = _distribution(sigma, other, axis)
    return w1(u, x, v, y)  # ∫ |F - G| dx: the area between them either way


def _distribution(rho: Array, grid: Grid, axis: int) -> tuple[Array, Array]:
    masses = rho if grid.dim == 1 else rho.sum(1 - axis)
    below = np.append(0.0, np.cumsum(masses))
    return grid.faces[axis], below / below[-1]


def unresolved(rho: Array, grid: Grid) -> float:
    """The share of the mass in cells from which the density falls by more than e² to a neighbour:
    peaks and edges narrower than the cells."""
    narrow = np.zeros(rho.shape, dtype=bool)
    for axis, periodic in enumerate(grid.periodic):
        lines, steep = np.moveaxis(rho, axis, 0), np.moveaxis(narrow, axis, 0)
        steep[:-1] |= lines[:-1] > _STEEP * lines[1:]
        steep[1:] |= lines[1:] > _STEEP * lines[:-1]
        if periodic:
            steep[-1] |= lines[-1] > _STEEP * lines[0]
            steep[0] |= lines[0] > _STEEP * lines[-1]
    return float(rho[narrow].sum() / rho.sum())
