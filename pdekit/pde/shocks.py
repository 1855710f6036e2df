"""When the slopes of a Hamilton-Jacobi equation break: the shocks of Burgers' equation are born."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NoReturn

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid, require_grid
from pdekit.pde.discrete.sampling import evaluate
from pdekit.protocols import Function

Curvature = Callable[[Array, float], tuple[Array, float]]  # at points, with a step, and rounding

_FOURTH = ((1.0, 4 / 3), (2.0, -1 / 3))  # of second differences with steps of one and of two
_DIRECTIONS = 8  # of second differences in the plane
_PARTS = {1: 4, 2: 1}  # of a cell, within which nothing is searched
_PLACES = 8  # from which curvature is followed downwards
_ROUNDS = 16  # each with steps of a quarter
_GROWTH = 0.05  # what a round may still find where f is smooth over the step
_KINKED = 3  # rounds that all find more: without end
_LOST = 8.0  # roundings that a curvature must exceed
_DIGITS = 1e-4  # of it that rounding may hide
_FLAT = 1e-6  # curvature, of span over length squared, which counts as none


def shock_time(f: Function, grid: Grid) -> float:
    """The time t* = -1 / inf λ_min(∇²f) at which the slopes ∇u of ``HamiltonJacobi()`` first jump.

    ``f`` is the initial potential (for ``Burgers()``, p_0 = f'), a callable on points ``(..., d)``,
    wrapped on periodic axes. Its second differences are scanned over parts of a cell, and followed
    from the lowest ones to where f bends most: six digits for an f smooth on the scale of a cell.
    Infinity where f is convex; 0 where its slopes fall by a jump from the start (a concave kink, a
    jump of f). Raises ``ConvergenceError`` where the rounding of f hides its curvature.
    Mathematics 1.3.
    """
    require_grid("grid", grid)
    checks.fixed("the initial function", f)
    values = evaluate(f, grid, "the initial function")
    if np.asarray(f(grid.centres.reshape(-1, grid.dim)[:1])).dtype == bool:
        raise TypeError(
            "the initial function must have real values, got True and False, whose slopes jump "
            "from the start"
        )
    unit = float(np.finfo(float).eps * np.abs(values).max())
    length = np.subtract(grid.upper, grid.lower).max()
    bends = _Bends(f, grid, unit, _FLAT * float(np.ptp(values)) / length**2)
    least = min((bends.followed(x) for x in bends.lowest()), default=0.0)
    return -1 / least if least < 0 else inf


@dataclass(frozen=True, eq=False)
class _Bends:
    """The least eigenvalues of ∇²f, by differences with steps in units of a cell."""

    f: Function
    grid: Grid
    unit: float  # a rounding of f
    flat: float  # a curvature that counts as none

    def least(self, x: Array, step: float) -> tuple[Array, float]:
        """Least second differences at points (n, d), and what rounding may change them by.

        Along lines, for these are never negative where f is convex, with kinks or without.
        """
        angles = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
        round_ = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        ways = round_ if self.grid.dim == 2 else np.ones((1, 1))
        middle, found, rounding = self.at(x), [], 0.0
        for way in ways * (step * self.grid.spacing):
            ends = self.at(x + way), self.at(x - way)
            square = float(way @ way)
            found.append(((ends[0] - middle) + (ends[1] - middle)) / square)
            rounding = max(rounding, 4 * self.unit / square)
        return np.asarray(np.min(found, axis=0)), rounding

    def eigenvalues(self, x: Array, step: float) -> tuple[Array, float]:
        """The least of ∇²f at points (n, d) by differences of fourth order, and their rounding."""
        width, d = step * self.grid.spacing, self.grid.dim
        hessian, rounding = np.zeros((len(x), d, d)), 0.0
        for i, j in zip(*np.tril_indices(d), strict=True):
            e, g = width * (np.arange(d) == i) / 2, width * (np.arange(d) == j) / 2
            for s, weight in _FOURTH:
                ends = [self.at(x + s * z) for z in (e + g, -e - g, e - g, g - e)]
                share = weight / (s * s * width[i] * width[j])
                hessian[:, i, j] += share * ((ends[0] - ends[2]) + (ends[1] - ends[3]))
                rounding += 4 * abs(share) * self.unit
            hessian[:, j, i] = hessian[:, i, j]
        return np.asarray(np.linalg.eigvalsh(hessian)[:, 0]), rounding

    def at(self, x: Array) -> Array:
        """f, wrapped on periodic axes."""
        lower, length = self.grid.lower, np.subtract(self.grid.upper, self.grid.lower)
        wrapped = np.where(self.grid.periodic, lower + np.mod(x - lower, length), x)
        return np.asarray(self.f(wrapped), dtype=float)

    def lowest(self) -> list[Array]:
        """A few places apart where second differences over a part of a cell are lowest."""
        parts = _PARTS[self.grid.dim]
        x = self.grid.refined(parts).centres.reshape(-1, self.grid.dim)
        values, rounding = self.least(x, 1 / parts)
        found: list[Array] = []
        for heights, most in ((values, _PLACES), (self.spikes(values), 2 * _PLACES)):
            for k in np.argsort(heights)[: 64 * _PLACES]:
                apart = [(np.abs(x[k] - y) > 2.5 * self.grid.spacing / parts).any() for y in found]
                if heights[k] < -_LOST * rounding and len(found) < most and all(apart):
                    found.append(x[k])
        if not found and rounding > self.flat and values.any():
            self.hidden(float(values.min()), rounding)
        return found

    def spikes(self, values: Array) -> Array:
        """What kinks of little weight stand out by from the nodes two before and two after."""
        field = values.reshape(self.grid.refined(_PARTS[self.grid.dim]).shape)
        around = [
            (np.roll(field, 2, axis) + np.roll(field, -2, axis)) / 2 for axis in range(field.ndim)
        ]
        return np.asarray(field - np.max(around, axis=0)).ravel()

    def followed(self, x: Array) -> float:
        """The least curvature near a place; -inf where shorter steps find ever more of it."""
        step, before = 1.0 / _PARTS[self.grid.dim], inf
        for found in range(_ROUNDS):
            x, value, rounding = self.lowest_around(self.least, x, 4 * step, step)
            if value > before - _GROWTH * abs(before):
                return self.polished(x, 4 * step) if value < -_LOST * rounding else 0.0
            if value > -_LOST * rounding and found > _KINKED:
                break
            before, step = value, step / 4
        return -inf if before < -_LOST * rounding / 16 else 0.0  # that of the round before

    def polished(self, x: Array, step: float) -> float:
        """To fourth order, with the step that agrees best with its double."""
        steps = [step * 2.0**-k for k in range(-3, 6)]
        found = [self.eigenvalues(x[None], s) for s in steps]
        apart = np.abs(np.diff([float(value[0]) for value, _ in found]))
        best = steps[1 + int((apart + [lost for _, lost in found[1:]]).argmin())]
        for k in range(_ROUNDS):
            x, value, lost = self.lowest_around(self.eigenvalues, x, step / 4**k, best)
        if lost > max(_DIGITS * abs(value), self.flat):
            self.hidden(value, lost)
        return value if value < -_LOST * lost else 0.0

    def lowest_around(
        self, curvature: Curvature, x: Array, width: float, step: float
    ) -> tuple[Array, float, float]:
        """The lowest of some points in the box within a width, its curvature and rounding."""
        grid = self.grid
        axis = [np.linspace(-1, 1, 9)] * grid.dim
        near = np.stack(np.meshgrid(*axis, indexing="ij"), axis=-1).reshape(-1, grid.dim)
        around = np.clip(x + near * width * grid.spacing, grid.lower, grid.upper)
        values, rounding = curvature(around, step)
        k = int(values.argmin())
        return around[k], float(values[k]), rounding

    def hidden(self, value: float, lost: float) -> NoReturn:
        raise ConvergenceError(
            f"rounding hides the curvature of the initial function, {value:.2g} give or take "
            f"{lost:.1g}; take a constant off the function, or a grid of fewer cells"
        )
