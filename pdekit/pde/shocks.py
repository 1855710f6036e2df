"""When the slopes of a Hamilton-Jacobi equation break: the shocks of Burgers' equation are born."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, NoReturn

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
    unit = float(np.finfo(_precision(f, grid)).eps * np.abs(values).max())
    length, span = np.subtract(grid.upper, grid.lower).max(), _untilted(values, grid)
    if span <= 8 * unit:  # linear, or constant
        return inf
    bends = _Bends(f, grid, unit, _FLAT * span / length**2)
    found = [bends.followed(x, step) for x, step in bends.lowest()]
    least, lost = min(found, default=(0.0, 0.0))
    if lost > max(_DIGITS * abs(least), bends.flat):
        bends.hidden(least, lost)
    return -1 / least if least < -_LOST * lost else inf


def _precision(f: Function, grid: Grid) -> Any:
    """The type of what f returns, to which it is rounded."""
    kind = np.asarray(f(grid.centres.reshape(-1, grid.dim)[:1])).dtype
    return kind if kind.kind == "f" else np.dtype(float)


def _untilted(values: Array, grid: Grid) -> float:
    """The span of f less a linear function, which has no curvature."""
    if not np.ptp(values):
        return 0.0
    x = grid.centres.reshape(-1, grid.dim)
    columns = np.concatenate([(x - x.mean(0)) / np.ptp(x, axis=0), np.ones((len(x), 1))], axis=1)
    flat = values.ravel()
    return float(np.ptp(flat - columns @ np.linalg.lstsq(columns, flat)[0]))


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
        found, rounding = self.second(x, step)
        return np.asarray(found.min(0)), rounding

    def second(self, x: Array, step: float) -> tuple[Array, float]:
        """Second differences along some lines (line, n), and their rounding."""
        middle, found, rounding = self.at(x), [], 0.0
        for way in step * self.ways:
            ends = self.at(x + way), self.at(x - way)
            square = float(way @ way)
            found.append(((ends[0] - middle) + (ends[1] - middle)) / square)
            rounding = max(rounding, 4 * self.unit / square)
        return np.array(found), rounding

    @property
    def ways(self) -> Array:
        """Steps along the lines: a cell, and where cells are long the same in all directions."""
        spacing = self.grid.spacing
        if self.grid.dim == 1:
            return spacing[None]
        angles = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
        round_ = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        alike = round_ * spacing.min()
        return np.concatenate([round_ * spacing, alike]) if np.ptp(np.log(spacing)) > 1 else (
            round_ * spacing
        )  # fmt: skip

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

    def lowest(self) -> list[tuple[Array, float]]:
        """A few places apart where second differences are lowest, and the step that shows it.

        Over a part of a cell; over more where rounding hides that.
        """
        parts = _PARTS[self.grid.dim]
        x = self.grid.refined(parts).centres.reshape(-1, self.grid.dim)
        for step in (1 / parts, 1.0, 4.0):
            values, rounding = self.least(x, step)
            found = self.apart(x, values, -_LOST * rounding)
            if found or rounding <= self.flat or values.min() > _LOST * rounding:
                return [(place, step) for place in found]
        self.hidden(float(values.min()), rounding)

    def apart(self, x: Array, values: Array, below: float) -> list[Array]:
        """Some cells apart, the lowest values and the sharpest."""
        parts = _PARTS[self.grid.dim]
        found: list[Array] = []
        for heights, most in ((values, _PLACES), (self.spikes(values), 2 * _PLACES)):
            for k in np.argsort(heights)[: 64 * _PLACES]:
                apart = [(np.abs(x[k] - y) > 2.5 * self.grid.spacing / parts).any() for y in found]
                if heights[k] < below and len(found) < most and all(apart):
                    found.append(x[k])
        return found

    def spikes(self, values: Array) -> Array:
        """What kinks of little weight stand out by from the nodes two before and two after."""
        field = values.reshape(self.grid.refined(_PARTS[self.grid.dim]).shape)
        around = [
            (np.roll(field, 2, axis) + np.roll(field, -2, axis)) / 2 for axis in range(field.ndim)
        ]
        return np.asarray(field - np.max(around, axis=0)).ravel()

    def followed(self, x: Array, step: float) -> tuple[float, float]:
        """The least curvature near a place, and its doubt; -inf where steps find ever more."""
        before, grown = inf, 0
        for k in range(_ROUNDS):
            place, value, rounding = self.lowest_around(self.least, x, 4 * step, step)
            clear = value < -_LOST * rounding
            if clear and value > before - _GROWTH * abs(before) - _LOST * rounding:
                return self.polished(place, 4 * step, value)
            if not clear and (before < 0 or k > _KINKED):
                break
            x, before, step, grown = place, value, step / 4, grown + clear
        if grown > _KINKED:
            return -inf, 0.0
        return self.polished(x, 4 * step, before) if grown else (0.0, 0.0)

    def polished(self, x: Array, step: float, value: float) -> tuple[float, float]:
        """To fourth order, with the step that agrees best with its double."""
        best, doubt = self.agreeing(x, [step * 2.0**-k for k in range(-3, 6)])
        if doubt > _DIGITS * abs(value):  # where rounding asks for more than some cells
            best, doubt = self.agreeing(x, [step * 2.0**-k for k in range(-6, 6)])
        for k in range(_ROUNDS):
            place, least, _ = self.lowest_around(self.smooth, x, step / 4**k, best)
            if least == inf:  # beside a kink, second differences are all there is
                break
            x, value = place, least
        return value, doubt

    def agreeing(self, x: Array, steps: list[float]) -> tuple[float, float]:
        """The step, of some that halve, that agrees best with its double, and how well."""
        found = [self.eigenvalues(x[None], s) for s in steps]
        doubt = np.abs(np.diff([float(value[0]) for value, _ in found]))
        doubt += [lost for _, lost in found[1:]]
        k = int(doubt.argmin())
        return steps[1 + k], float(doubt[k])

    def smooth(self, x: Array, step: float) -> tuple[Array, float]:
        """``eigenvalues`` where no kink is near, to which they answer with either sign."""
        values, rounding = self.eigenvalues(x, step)
        half, noise = self.second(x, step / 2)
        near, far = self.second(x, step)[0], self.second(x, 2 * step)[0]
        # of smooth functions the one difference is four times the other
        bent = (np.abs(near - far) > 8 * np.abs(half - near) + 2 * _LOST * noise).any(0)
        return np.where(bent, inf, values), rounding

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
            f"{lost:.1g}; take a constant off the function, or a linear part, or fewer cells"
        )
