"""Integrals over time along a control, at times that are enough for them.

The value changes in a layer before the horizon and the density in one after the start. Where the
stored times are too few, or miss these layers, the same control is computed at others, so that what
is stored does not affect an integral; there is a warning where none converges.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning
from pdekit.pde.control.time_grids import fewest_parts, finer, graded, same

if TYPE_CHECKING:
    from pdekit.pde.control.control import Control

_ALIKE_DENSITIES = 0.1  # of the range: tolerance for a long first step of PolicyIteration
_ALIKE = 2e-2  # of the range
_CLOSED = 1e-4  # of an integral of |rate|: quadrature error above which times are refined
_UNCLOSED = 0.02  # of the result: error above which a warning is given
_UNCLOSED_GAME = 0.1  # the same in a game, whose times are given by the user
_ROUNDING = 1e-9  # of the cost
_PARTS = (4, 8)  # of the intervals of graded times


class Integrals:
    """∫ rate dt of rates along ``own``; ``again`` computes it at other times.

    A rate is a function of a control: numbers at its times.
    """

    def __init__(self, own: Control, again: Callable[[Array], Control]) -> None:
        self.own, self.again = own, again

    @cached_property
    def dense(self) -> Control:
        """The control at all steps of a game, else at 100 steps at least."""
        own = self.own
        parts = fewest_parts(own.value.times)
        if own.whole is not None:
            return own.whole if _alike(own, own.whole) else own
        if parts == 1 or own.closure:
            return own
        return self._at(finer(own.value.times, parts))

    def smooth(self, rate: Callable[[Control], Array]) -> tuple[float, float]:
        """∫ rate dt of a smooth rate, and its quadrature error.

        Over times graded towards both ends where those that are spread evenly miss the layers.
        """
        for k in range(len(_PARTS) + 1):
            found = self._refined(k)
            times, values = found.value.times, rate(found)
            out, off = _simpson(values, times)
            if off <= _CLOSED * _simpson(np.abs(values), times)[0]:
                break
        return out, off

    def of_cost(self, rate: Callable[[Control], Array]) -> tuple[float, float]:
        """The same of a cost: in a game by the rule that it is made of."""
        if not self.own.closure:
            return self.smooth(rate)
        return float(np.trapezoid(rate(self.dense), self.dense.value.times)), 0.0

    def occupation(self, flow: Callable[[Control], Array]) -> tuple[float, float]:
        """E ∫ ℓ dt over a flow of densities, and its quadrature error."""
        if self.own.running_cost is None:
            return 0.0, 0.0
        return self.of_cost(lambda found: means(flow(found), _places(found)))

    def report(self, off: float, size: float, name: str) -> None:
        """Warn if an integral does not converge on the times that were tried."""
        value = self.own.value
        most = _UNCLOSED_GAME if self.own.closure else _UNCLOSED
        largest = float(np.abs(value.fields).max())
        if off > most * abs(size) + _ROUNDING * (1 / value.equation.beta + largest):
            warnings.warn(
                f"{name} is {size:.3g}, and its times leave it up to {off:.2g} off: the value "
                "function or the density changes faster than they follow; use a shorter horizon "
                "or, in a game, more times",
                AccuracyWarning,
                stacklevel=4,
            )

    def _at(self, times: Array) -> Control:
        """The same at other times; a control modified by hand is used as it is."""
        with warnings.catch_warnings():  # all warnings have been given already
            warnings.simplefilter("ignore")
            found = self.again(times)
        return found if _alike(self.own, found) else self.own

    @cached_property
    def _graded(self) -> list[Control]:
        """Cache of the same at times graded towards both ends."""
        return []

    def _refined(self, k: int) -> Control:
        """The control at the dense times, then at graded ones, then at twice as many."""
        if k == 0 or self.own.closure:
            return self.dense
        if len(self._graded) < k:
            value = self.own.value
            quick = value.equation.beta * min(value.grid.spacing) ** 2  # time to cross a cell
            self._graded.append(self._at(graded(value.times, quick, _PARTS[k - 1])))
        return self._graded[k - 1]


def under_control(found: Control) -> Array:
    """The flow of densities under the control."""
    return found.density.fields


def idle(found: Control) -> Array:
    """That of the uncontrolled motion."""
    return found.idle


def means(densities: Array, fields: Array) -> Array:
    """E field at every time."""
    return np.array([mean(*pair) for pair in zip(densities, fields, strict=True)])


def mean(density: Array, field: Array) -> float:
    """E field under a density."""
    return float((density * field).sum() / density.sum())


def _places(found: Control) -> Array:
    assert found.running_cost is not None
    return found.running_cost


def _alike(own: Control, found: Control) -> bool:
    """Whether another control is the same at the times that both have."""
    there = np.isin(found.value.times, own.value.times)
    here = np.isin(own.value.times, found.value.times)
    return same(found.value.fields[there], own.value.fields[here], _ALIKE) and same(
        found.density.fields[there], own.density.fields[here], _ALIKE_DENSITIES
    )


def _simpson(rate: Array, times: Array) -> tuple[float, float]:
    """Integral over the times by Simpson's rule, and its error.

    Estimated from every second and every fourth time, at the observed order.
    """
    from scipy.integrate import simpson

    n = len(rate)
    thin = [np.unique([*range(0, n, every), n - 1]) for every in (1, 2, 4)]
    whole, half, quarter = (float(simpson(rate[k], x=times[k])) for k in thin)
    off, before = abs(whole - half), abs(half - quarter)
    return whole, off * min(1.0, off / max(before - off, 1e-300))
