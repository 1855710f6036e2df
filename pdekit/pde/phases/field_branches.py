"""Curves of self-consistent mean fields over a parameter: any interaction, line and plane."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.gibbs_map import FieldMap
from pdekit.pde.discrete.mean_field import pair_kernel
from pdekit.pde.equations import McKeanVlasov
from pdekit.pde.phases.self_consistent import newton, self_consistent_states

_CLOSE = 1e-11  # residual, in units of the field's range, at which a point lies on the curve


class FieldCurve:
    """U - W * rho(U; p) = 0 over q = (p, U), p scaled to the interval and U to the range of W.

    Scaled so that the Euclidean length of q is of order one for changes of order one, whatever
    the number of cells. The derivative in U, 1 + beta W * (rho (· - <·>)), is the identity and a
    compact operator, and so are the bordered systems: GMRES takes few steps on any grid.
    """

    def __init__(
        self, family: Callable[[float], McKeanVlasov], grid: Grid, bounds: tuple[float, float]
    ) -> None:
        self.family, self.grid = family, grid
        self.low, self.range = bounds[0], bounds[1] - bounds[0]
        kernel, _ = pair_kernel(family(bounds[0]).interaction, grid)
        self.unit = max(float(np.ptp(kernel)), 1e-300) * np.prod(grid.shape) ** 0.5
        self.map = lru_cache(8)(lambda p: FieldMap(family(p), grid))

    def value(self, q: Array) -> float:
        return float(self.low + self.range * q[0])

    def field(self, q: Array) -> Array:
        """U."""
        out: Array = q[1:].reshape(self.grid.shape) * self.unit
        return out

    def mean(self, q: Array) -> Any:
        rho = self.map(self.value(q)).density(self.field(q))
        found = self.grid.centres.reshape(-1, self.grid.dim).T @ rho.ravel() * self.grid.cell_volume
        return float(found[0]) if self.grid.dim == 1 else found

    def landed(self, p: float, mean: Any) -> Array:
        """The point of a state, or of that one whose mean is nearest."""
        states = [mean]
        if not hasattr(mean, "density"):
            states = self_consistent_states(self.family(p), self.grid)
        near = min(states, key=lambda s: float(np.linalg.norm(np.subtract(s.mean, _mean(mean)))))
        system = self.map(p)
        field = newton(system, system.pair(near.density.values), [])
        if field is None:
            raise ConvergenceError(f"there is no state near mean {_mean(mean)} at parameter {p:g}")
        return self.point(p, field)

    def point(self, p: float, field: Array) -> Array:
        return np.concatenate([[(p - self.low) / self.range], field.ravel() / self.unit])

    def residual(self, q: Array) -> Array:
        system, field = self.map(self.value(q)), self.field(q)
        out: Array = (field - system.pair(system.density(field))).ravel() / self.unit
        return out

    def bordered(self, q: Array, row: Array, residual: Array, along: float) -> Array:
        """dq with F'(q) dq = residual and row · dq = along."""
        from scipy.sparse.linalg import LinearOperator, gmres

        system, h = self.map(self.value(q)), 1e-5
        rho = system.density(self.field(q))
        ahead, back = (np.concatenate([[q[0] + s], q[1:]]) for s in (h, -h))
        by_parameter = (self.residual(ahead) - self.residual(back)) / (2 * h)

        def apply(dq: Array) -> Array:
            v = dq[1:].reshape(rho.shape)
            share = rho * (v - self.grid.integrate(rho * v))
            moved = (v + system.beta * system.pair(share)).ravel() + by_parameter * dq[0]
            return np.concatenate([[row @ dq], moved])

        operator = LinearOperator((q.size, q.size), matvec=apply, dtype=float)
        step, _ = gmres(operator, np.concatenate([[along], residual]), rtol=1e-10, restart=80,
                        maxiter=3)  # fmt: skip
        return np.asarray(step)

    def tangent(self, q: Array, before: Array | None) -> Array:
        row = before
        if row is None:
            row = np.zeros(q.size)
            row[0] = 1.0
        along = self.bordered(q, row, np.zeros(q.size - 1), 1.0)
        return along / np.linalg.norm(along)

    def corrected(self, q: Array, tangent: Array) -> Array | None:
        """The point of the curve in the plane through q across the tangent, by Newton."""
        plane, size = q, np.inf
        for _ in range(12):
            residual = self.residual(q)
            before, size = size, float(np.linalg.norm(residual))
            if size < _CLOSE or (size < 1e-9 and size > before / 4):
                return q
            step = self.bordered(q, tangent, -residual, -float(tangent @ (q - plane)))
            if not float(np.abs(step).max()) < 0.1:
                return None
            q = q + step
        return None

    def fold(self, q: Array, tangent: Array, step: float) -> Array:
        """The turning point within a step from q, where the tangent has no part in p."""
        from scipy.optimize import brentq

        def at(s: float) -> Array:
            found = self.corrected(q + s * tangent, tangent)
            return q + s * tangent if found is None else found

        def slope(s: float) -> float:
            return float(self.tangent(at(s), tangent)[0])

        if slope(0.0) * slope(step) > 0:  # at a crossing of branches the tangent is not unique
            return max((q, at(step)), key=lambda end: float(np.sign(tangent[0]) * end[0]))
        return at(brentq(slope, 0.0, step, xtol=1e-7))

    def at_bound(self, inside: Array, outside: Array) -> Array:
        end = float(np.clip(outside[0], 0.0, 1.0))
        share = (end - inside[0]) / (outside[0] - inside[0])
        guess, across = inside + share * (outside - inside), np.zeros(inside.size)
        guess[0], across[0] = end, 1.0
        found = self.corrected(guess, across)
        if found is None:
            raise ConvergenceError(f"the branch is lost at its end, parameter {self.value(guess)}")
        return found

    def summary(self, points: list[Array], folds: list[Array]) -> tuple[Array, ...]:
        """The fields of a ``Branch``."""
        parameter = np.array([self.value(q) for q in points])
        mean = np.array([self.mean(q) for q in points])
        energy, response = np.array([self._energy_and_response(q) for q in points]).T
        turns = np.array([self.value(q) for q in folds]), np.array([self.mean(q) for q in folds])
        return (parameter, mean, energy, response, *turns)

    def _energy_and_response(self, q: Array) -> tuple[float, float]:
        system = self.map(self.value(q))
        rho = system.density(self.field(q))
        return system.energy(rho), system.response(rho)


def _mean(mean: Any) -> Any:
    return getattr(mean, "mean", mean)
