"""Pseudo-arclength continuation: the curve F(p, z) = 0, followed round its folds (Keller 1977)."""

from functools import cached_property
from typing import Any, Protocol

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError

_LONGEST, _SHORTEST = 0.02, 1e-7  # steps of arclength, in units of the interval and of z
_MOST = 20_000
_STRAIGHT = 0.98  # cosine of the angle by which a step may turn at most
_ASIDE = 0.25  # of a step: how far it may be corrected; an arc that turns so little takes a tenth
_NEAR = 1e-9  # residual, from which on one that no longer falls is rounding
_ROOT = 1e-11  # arclength to which a fold is located
# Steps of differences in p, in units of the interval: the longest and the shortest; how much the
# slope may change over one, which it is then right to the square of
_STEP, _FINEST, _BENT = 1e-5, 1e-11, 1e-3


class System(Protocol):
    """F(p, z) = 0 over a parameter p, z scaled so that changes of order one are of length one.

    ``close``: residual at which a point lies on the curve.
    """

    close: float

    def guess(self, p: float, mean: Any) -> Array:
        """z of the state of that mean, or near it."""
        ...

    def residual(self, p: float, z: Array) -> Array: ...

    def bordered(self, p: float, z: Array, by_parameter: Array, row: Array, right: Array) -> Array:
        """(dp, dz) with row · (dp, dz) = right[0] and by_parameter dp + F_z dz = right[1:]."""
        ...

    def mean(self, p: float, z: Array) -> Any: ...

    def energy_and_response(self, p: float, z: Array) -> tuple[float, float]: ...


class Curve:
    """Points q = (s, z) of the curve, s from 0 to 1 over the bounds of the parameter.

    The system is evaluated within the bounds only.
    """

    def __init__(self, system: System, bounds: tuple[float, float]) -> None:
        self.system, self.bounds = system, bounds
        self._width = bounds[1] - bounds[0]
        self.step = self._most  # of differences in s

    def value(self, q: Array) -> float:
        """p."""
        return self._value(float(q[0]))

    def _value(self, s: float) -> float:
        low, high = self.bounds
        return float(min(max(low + self._width * s, low), high))

    def residual(self, q: Array) -> Array:
        return self.system.residual(self.value(q), q[1:])

    def landed(self, p: float, mean: Any) -> Array:
        """The point of the state of that mean, or near it."""
        s = (p - self.bounds[0]) / self._width
        found = self._across(np.concatenate([[s], self.system.guess(p, mean)]))
        if found is None:
            raise ConvergenceError(f"found no state near mean {mean} at parameter {p:g}")
        return found

    def followed(self, first: Array) -> tuple[list[Array], list[Array]]:
        """Points from the first one on to where the curve leaves the bounds, and its folds."""
        tangent = self.tangent(first, None)
        tangent = tangent if (tangent[0] >= 0) == (first[0] < 0.5) else -tangent
        points, step = [first], _LONGEST / 8
        folds: list[Array] = []
        last = False
        while not last:
            if len(points) >= _MOST:
                raise ConvergenceError(self._lost(points[-1], f"{_MOST} points lead no farther"))
            new, last = self._next(points[-1], tangent, step)
            turned = None if new is None else self.tangent(new, tangent)
            if new is None or turned is None or not float(turned @ tangent) >= _STRAIGHT:
                step /= 2
                if step < _SHORTEST:
                    raise ConvergenceError(
                        self._lost(points[-1], "branches may cross there; start on the other side")
                    )
                last = False
                continue
            if turned[0] * tangent[0] < 0:
                folds.append(self.fold(points[-1], tangent, step))
            points.append(new)
            tangent, step = turned, min(1.5 * step, _LONGEST)
        return points, folds

    def _next(self, q: Array, tangent: Array, step: float) -> tuple[Array | None, bool]:
        """A step along the curve, and whether it ends at a bound.

        None where Newton's method is led too far aside: to another branch, it may be.
        """
        ahead = q + step * tangent
        if not _inside(ahead):
            return self._across(_where_it_leaves(q, ahead)), True
        new = self.corrected(ahead, tangent)
        if new is None or not float(np.linalg.norm(new - ahead)) <= _ASIDE * step:
            return None, False
        return (new, False) if _inside(new) else (self._across(_where_it_leaves(q, new)), True)

    def _lost(self, q: Array, why: str) -> str:
        p = self.value(q)
        mean = self.system.mean(p, q[1:])
        return f"the branch cannot be followed beyond parameter {p:.6g}, mean {mean}: {why}"

    def tangent(self, q: Array, before: Array | None) -> Array:
        """The unit tangent, along the one before; without one, towards larger parameters."""
        row = before
        if row is None:
            row = np.zeros(q.size)
            row[0] = 1.0
        along = self._bordered(q, row, 1.0, np.zeros(q.size - 1), self.residual(q))
        return along / np.linalg.norm(along)

    def corrected(self, q: Array, tangent: Array) -> Array | None:
        """The point of the curve in the plane through q across the tangent, by Newton."""
        plane, size = q, np.inf
        for _ in range(12):
            residual = self.residual(q)
            before, size = size, float(np.linalg.norm(residual))
            if size < self.system.close or (size < self._near and size > before / 4):
                return q
            along = float(tangent @ (q - plane))
            step = self._bordered(q, tangent, -along, -residual, residual)
            if not float(np.abs(step).max()) < 0.1:
                return None
            q = q + step
        return None

    def _across(self, q: Array) -> Array | None:
        """The point of the curve at the parameter of q."""
        row = np.zeros(q.size)
        row[0] = 1.0
        return self.corrected(q, row)

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
        return at(brentq(slope, 0.0, step, xtol=_ROOT))

    def _bordered(self, q: Array, row: Array, along: float, right: Array, residual: Array) -> Array:
        """dq with row · dq = along and F' dq = right, where F is ``residual``."""
        by_parameter = self.by_parameter(q, residual)
        both = np.concatenate([[along], right])
        return self.system.bordered(self.value(q), q[1:], by_parameter, row, both)

    def by_parameter(self, q: Array, middle: Array) -> Array:
        """∂F/∂s by differences; a step that bends it little is kept from one point to the next."""
        slope, bent = self._difference(q, middle)
        while bent > _BENT and self.step > self._least:
            self.step = max(self.step / 10, self._least)
            slope, bent = self._difference(q, middle)
        if bent < _BENT / 100:
            self.step = min(10 * self.step, self._most)
        return slope

    @cached_property
    def _rounding(self) -> float:
        """Of a parameter, in units of the interval."""
        return float(np.spacing(np.abs(self.bounds).max())) / self._width

    @cached_property
    def _near(self) -> float:
        return max(_NEAR, 8 * self._rounding)

    @cached_property
    def _least(self) -> float:
        """The shortest step of differences."""
        return max(_FINEST, 8 * self._rounding)

    @cached_property
    def _most(self) -> float:
        return max(_STEP, self._least)

    def _difference(self, q: Array, middle: Array) -> tuple[Array, float]:
        """∂F/∂s, and how much it changes over the step; F and z are of order one where it is less.

        From three values within the bounds, as far apart as the parameters are when rounded.
        """
        h, s = self.step, float(np.clip(q[0], 0.0, 1.0))
        first = min(max(s - h, 0.0), 1 - 2 * h)
        nodes = sorted((first + k * h for k in range(3)), key=lambda t: abs(t - s))[1:]
        here = self._value(s)
        others = [self._value(t) for t in nodes]
        a, b = ((p - here) / self._width for p in others)
        one, two = ((self.system.residual(p, q[1:]) - middle) for p in others)
        bend = (two / b - one / a) / (b - a)
        slope: Array = one / a - a * bend
        size = max(float(np.linalg.norm(slope)), 1.0)
        return slope, h * float(np.linalg.norm(bend)) / size


def _inside(q: Array) -> bool:
    return bool(-1e-12 <= q[0] <= 1 + 1e-12)


def _where_it_leaves(q: Array, ahead: Array) -> Array:
    """On the line between two points, of which the second is beyond a bound."""
    end = float(np.clip(ahead[0], 0.0, 1.0))
    out: Array = q + (end - q[0]) / (ahead[0] - q[0]) * (ahead - q)
    out[0] = end
    return out
