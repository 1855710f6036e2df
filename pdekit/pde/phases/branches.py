"""Branches of self-consistent states over a parameter, followed round their folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid, require_grid
from pdekit.interactions import is_quadratic
from pdekit.pde.discrete.gibbs_map import SelfConsistentState
from pdekit.pde.discrete.mean_field import say_if_narrow
from pdekit.pde.equations import McKeanVlasov
from pdekit.pde.phases.field_branches import FieldCurve
from pdekit.pde.phases.self_consistent import MeanMap
from pdekit.protocols import Corner

_LONGEST, _SHORTEST = 0.02, 1e-7  # steps of arclength, in box widths and parameter ranges
_MOST = 20_000


@dataclass(frozen=True, eq=False)
class Branch:
    """States along a curve in (parameter, mean): arrays of one length, in the order met.

    ``response`` is R'(m), or what ``SelfConsistentState`` has in its place; the states with
    ``response < 1`` are stable. ``folds`` has the parameters at which the curve turns back,
    ``fold_means`` the means there. In the plane means have a last axis of two.
    """

    parameter: Array
    mean: Array
    free_energy: Array
    response: Array
    folds: Array
    fold_means: Array

    @property
    def stable(self) -> NDArray[np.bool_]:
        return self.response < 1


def follow_branch(
    family: Callable[[float], McKeanVlasov],
    grid: Grid,
    mean: Corner | SelfConsistentState,
    bounds: tuple[float, float],
    start: float | None = None,
) -> Branch:
    """The branch of states through ``mean`` at ``start``, by pseudo-arclength continuation.

    Curie-Weiss on a line: of R(m; p) = m, in the mean. Any other interaction, and the plane: of
    the mean fields U = W * rho, rho = exp(-beta (V + U)) / Z, Newton's bordered systems by GMRES.

    Parameters
    ----------
    family : parameter -> equation: ``lambda b: McKeanVlasov(V, b, W)`` for a diagram over beta,
        ``lambda h: McKeanVlasov(V + tilt(h), beta, W)`` for a hysteresis loop.
    mean : of a state at ``start`` (or near it), by default the first of ``bounds``; or, where
        the mean does not tell states apart, a ``SelfConsistentState``.
    bounds : the interval of the parameter. The branch ends where it leaves it.

    Folds, where R'(m) = 1, are passed and located to 1e-10 of the interval. At the pitchfork of an
    even family the symmetric branch goes straight on, and the broken one turns back with the other
    sign (its turning point counts as a fold, located to about 1e-5 of the interval). Raises
    ``ConvergenceError`` where the corrector fails, ``ValueError`` for bounds that do not increase
    and for a start or a mean outside them or the box.
    """
    require_grid("grid", grid)
    bounds = _increasing(bounds)
    first_parameter = bounds[0] if start is None else checks.number("start", start)
    if not bounds[0] <= first_parameter <= bounds[1]:
        raise ValueError(
            f"the branch is followed within bounds {bounds}, so start must lie there; got {start!r}"
        )
    if not isinstance(mean, SelfConsistentState):
        mean = _mean_in(mean, grid)
    first_equation = _member(family, first_parameter)
    by_mean = grid.dim == 1 and is_quadratic(first_equation.interaction)
    curve = (_Curve if by_mean else FieldCurve)(family, grid, bounds)
    first = curve.landed(first_parameter, mean)
    tangent = curve.tangent(first, None)
    tangent = tangent if (tangent[0] >= 0) == (first[0] < 0.5) else -tangent
    points, step = [first], _LONGEST / 8
    folds: list[Array] = []
    while len(points) < _MOST:
        new = curve.corrected(points[-1] + step * tangent, tangent)
        turned = None if new is None else curve.tangent(new, tangent)
        if new is None or turned is None or float(turned @ tangent) < 0.98:
            step /= 2
            if step < _SHORTEST:
                raise ConvergenceError(
                    f"the branch cannot be followed beyond parameter {curve.value(points[-1]):.6g},"
                    f" mean {curve.mean(points[-1])}: branches may cross there"
                )
            continue
        if turned[0] * tangent[0] < 0:
            folds.append(curve.fold(points[-1], tangent, step))
        points.append(new)
        tangent, step = turned, min(1.5 * step, _LONGEST)
        if not -1e-12 <= new[0] <= 1 + 1e-12:
            points[-1] = curve.at_bound(points[-2], new)
            break
    last = _member(family, curve.value(points[-1]))
    say_if_narrow(last.interaction, grid, max(last.beta, first_equation.beta))
    return Branch(*curve.summary(points, folds))


def _increasing(bounds: Any) -> tuple[float, float]:
    try:
        low, high = bounds
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"bounds must be the two ends of the parameter's interval, (low, high); got {bounds!r}"
        ) from error
    low, high = checks.number("bounds[0]", low), checks.number("bounds[1]", high)
    if not high > low:
        raise ValueError(f"follow_branch takes increasing bounds, got {bounds!r}")
    return low, high


def _mean_in(mean: Any, grid: Grid) -> Any:
    """A mean as numbers in the box, a float on a line."""
    given = np.ravel(checks.finite("mean", mean)).tolist()
    if len(given) != grid.dim or not grid.contains(np.array(given)).all():
        raise ValueError(
            f"mean must be {grid.dim} number(s) in the box {grid.lower} to {grid.upper}, or a "
            f"SelfConsistentState; got {mean!r}"
        )
    return float(given[0]) if grid.dim == 1 else tuple(given.tolist())


def _member(family: Any, parameter: float) -> McKeanVlasov:
    if not callable(family):
        raise TypeError(
            "family is a function from the parameter to an equation, such as "
            f"lambda beta: McKeanVlasov(V, beta, W); got {family!r}"
        )
    equation = family(parameter)
    if not isinstance(equation, McKeanVlasov):
        raise TypeError(
            f"family must return a McKeanVlasov equation; at {parameter:g} it is {equation!r}"
        )
    return equation


class _Curve:
    """G(q) = R(m; p) - m over q = (p, m) scaled to the interval and the box."""

    def __init__(
        self, family: Callable[[float], McKeanVlasov], grid: Grid, bounds: tuple[float, float]
    ) -> None:
        self.family, self.grid = family, grid
        self.low, self.range = bounds[0], bounds[1] - bounds[0]
        self.left, self.width = grid.lower[0], grid.upper[0] - grid.lower[0]
        self.map = cache(self._map)

    def _map(self, p: float) -> MeanMap:
        equation = self.family(p)
        if not is_quadratic(equation.interaction):
            raise TypeError(f"CurieWeiss at one parameter, {equation.interaction!r} at {p:g}")
        return MeanMap.of(equation, self.grid)

    def value(self, q: Array) -> float:
        return float(self.low + self.range * q[0])

    def mean(self, q: Array) -> float:
        return float(self.left + self.width * q[1])

    def gap(self, q: Array) -> tuple[float, Array]:
        """G, in box widths, and its two derivatives (by central difference in the parameter)."""
        h, m = 1e-5, np.array([self.mean(q)])
        R, slope = self.map(self.value(q))(m)
        ahead, back = (self.map(self.value(q + np.array([s, 0.0])))(m)[0][0] for s in (h, -h))
        value = float(R[0] - m[0]) / self.width
        return value, np.array([(ahead - back) / (2 * h * self.width), float(slope[0]) - 1])

    def tangent(self, q: Array, before: Array | None) -> Array:
        _, (dp, dm) = self.gap(q)
        along = np.array([-dm, dp])
        along = along / np.linalg.norm(along)
        tangent: Array = -along if before is not None and along @ before < 0 else along
        return tangent

    def corrected(self, q: Array, tangent: Array) -> Array | None:
        """The point of the curve in the plane through q across the tangent, by Newton."""
        plane = q.copy()
        for _ in range(12):
            value, slopes = self.gap(q)
            residual = np.array([value, tangent @ (q - plane)])
            matrix = np.stack([slopes, tangent])
            if abs(np.linalg.det(matrix)) < 1e-14:  # at a crossing of branches
                return None
            step = np.linalg.solve(matrix, -residual)
            q = q + step
            if np.abs(step).max() < 1e-13:
                return q
            if np.abs(step).max() > 0.1:
                return None
        return q if abs(value) < 1e-12 else None

    def landed(self, p: float, mean: Any) -> Array:
        mean = float(mean.mean if hasattr(mean, "density") else mean)
        q = np.array([(p - self.low) / self.range, (mean - self.left) / self.width])
        found = self.corrected(q, np.array([1.0, 0.0]))
        if found is None:
            raise ConvergenceError(f"there is no state near mean {mean:g} at parameter {p:g}")
        return found

    def fold(self, q: Array, tangent: Array, step: float) -> Array:
        """The turning point within a step from q: where R' = 1, or where the parameter is extreme.

        At a pitchfork the curve of broken states turns, and R' only touches one.
        """
        from scipy.optimize import brentq, minimize_scalar

        def at(s: float) -> Array:
            found = self.corrected(q + s * tangent, tangent)
            return q + s * tangent if found is None else found

        def slope(s: float) -> float:
            return float(self.gap(at(s))[1][1])

        if slope(0.0) * slope(step) < 0:
            return at(brentq(slope, 0.0, step, xtol=1e-13))
        sign = 1.0 if tangent[0] < 0 else -1.0
        found = minimize_scalar(lambda s: sign * at(s)[0], bounds=(0.0, step), method="bounded",
                                options={"xatol": 1e-9})  # fmt: skip
        return at(float(found.x))

    def at_bound(self, inside: Array, outside: Array) -> Array:
        end = float(np.clip(outside[0], 0.0, 1.0))
        share = (end - inside[0]) / (outside[0] - inside[0])
        guess = inside + share * (outside - inside)
        return self.landed(self.low + self.range * end, self.mean(guess))

    def summary(self, points: list[Array], folds: list[Array]) -> tuple[Array, ...]:
        """The fields of a ``Branch``."""
        p, m = (np.array([f(q) for q in points]) for f in (self.value, self.mean))
        states = [self.map(float(a)).summary(float(b)) for a, b in zip(p, m, strict=True)]
        energy, response = np.array(states).T
        turns = [np.array([f(q) for q in folds]) for f in (self.value, self.mean)]
        return (p, m, energy, response, *turns)
