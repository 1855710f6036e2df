"""The equations of self-consistent states over a parameter: in the mean, and in the mean field."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.interactions import is_quadratic, of_two_points
from pdekit.pde.discrete.gibbs_map import FieldMap
from pdekit.pde.discrete.mean_field import pair_field, pair_kernel
from pdekit.pde.equations import McKeanVlasov
from pdekit.pde.phases.self_consistent import MeanMap, newton, self_consistent_states

Family = Callable[[float], McKeanVlasov]
_KEPT = 8  # equations


class MeanSystem:
    """R(m; p) - m = 0, m scaled to the box: Curie-Weiss on a line."""

    close = 1e-15

    def __init__(self, family: Family, grid: Grid) -> None:
        self.family, self.grid = family, grid
        self.left, self.width = grid.lower[0], grid.upper[0] - grid.lower[0]
        self.map = lru_cache(_KEPT)(self._map)
        self.at = lru_cache(_KEPT)(lambda p, m: self.map(p)(np.array([m])))  # R and R'

    def _map(self, p: float) -> MeanMap:
        equation = self.family(p)
        if not is_quadratic(equation.interaction):
            raise TypeError(f"CurieWeiss at one parameter, {equation.interaction!r} at {p:g}")
        return MeanMap.of(equation, self.grid)

    def mean(self, p: float, z: Array) -> float:
        return float(self.left + self.width * z[0])

    def guess(self, p: float, mean: Any) -> Array:
        return np.array([(float(_mean(mean)) - self.left) / self.width])

    def residual(self, p: float, z: Array) -> Array:
        m = self.mean(p, z)
        out: Array = (self.at(p, m)[0] - m) / self.width
        return out

    def bordered(self, p: float, z: Array, by_parameter: Array, row: Array, right: Array) -> Array:
        slope = self.at(p, self.mean(p, z))[1] - 1
        matrix = np.stack([row, np.concatenate([by_parameter, slope])])
        if abs(np.linalg.det(matrix)) < 1e-14:  # at a crossing of branches
            return np.full(2, np.inf)
        return np.linalg.solve(matrix, right)

    def energy_and_response(self, p: float, z: Array) -> tuple[float, float]:
        return self.map(p).summary(self.mean(p, z))


def _size(interaction: Any, grid: Grid) -> float:
    """The range of W, or of U(x, y)."""
    if of_two_points(interaction):
        return 2 * pair_field(interaction, grid).largest
    return float(np.ptp(pair_kernel(interaction, grid)[0]))


class FieldSystem:
    """U - W * rho(U; p) = 0, U scaled to the range of W: any interaction, line and plane.

    Scaled so that the Euclidean length of z is of order one for changes of order one, whatever
    the number of cells. The derivative in U, 1 + beta W * (rho (· - <·>)), is the identity and a
    compact operator, and so are the bordered systems: GMRES takes few steps on any grid.
    """

    close = 1e-11

    def __init__(self, family: Family, grid: Grid, p: float) -> None:
        self.family, self.grid = family, grid
        size = _size(family(p).interaction, grid)
        self.unit = max(size, 1e-300) * np.prod(grid.shape) ** 0.5
        self.map = lru_cache(_KEPT)(lambda p: FieldMap(family(p), grid))

    def field(self, z: Array) -> Array:
        """U."""
        out: Array = z.reshape(self.grid.shape) * self.unit
        return out

    def mean(self, p: float, z: Array) -> Any:
        rho = self.map(p).density(self.field(z))
        found = self.grid.centres.reshape(-1, self.grid.dim).T @ rho.ravel() * self.grid.cell_volume
        return float(found[0]) if self.grid.dim == 1 else found

    def guess(self, p: float, mean: Any) -> Array:
        """The state, or that one whose mean is nearest."""
        states = [mean]
        if not hasattr(mean, "density"):
            states = self_consistent_states(self.family(p), self.grid)
        near = min(states, key=lambda s: float(np.linalg.norm(np.subtract(s.mean, _mean(mean)))))
        system = self.map(p)
        field = newton(system, system.pair(near.density.values), [])
        if field is None:
            raise ConvergenceError(f"found no state near mean {_mean(mean)} at parameter {p:g}")
        return field.ravel() / self.unit

    def residual(self, p: float, z: Array) -> Array:
        system, field = self.map(p), self.field(z)
        out: Array = (field - system.pair(system.density(field))).ravel() / self.unit
        return out

    def bordered(self, p: float, z: Array, by_parameter: Array, row: Array, right: Array) -> Array:
        from scipy.sparse.linalg import LinearOperator, gmres

        system = self.map(p)
        rho = system.density(self.field(z))

        def apply(dq: Array) -> Array:
            v = dq[1:].reshape(rho.shape)
            share = rho * (v - self.grid.integrate(rho * v))
            moved = (v + system.beta * system.pair(share)).ravel() + by_parameter * dq[0]
            return np.concatenate([[row @ dq], moved])

        operator = LinearOperator((z.size + 1, z.size + 1), matvec=apply, dtype=float)
        step, _ = gmres(operator, right, rtol=1e-10, restart=80, maxiter=3)
        return np.asarray(step)

    def energy_and_response(self, p: float, z: Array) -> tuple[float, float]:
        system = self.map(p)
        rho = system.density(self.field(z))
        return system.energy(rho), system.response(rho)


def _mean(mean: Any) -> Any:
    return getattr(mean, "mean", mean)
