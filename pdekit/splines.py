"""Kernels of cubic splines on a line and a plane, continued linearly, for numpy and torch."""

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device, is_torch_array
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

Array = NDArray[np.float64]


class Axis(NamedTuple):
    """One axis: its knots, the base point of every slot, and the step if the knots are uniform."""

    knots: Any
    bases: Any
    step: float | None


class Splines:
    """Axes and coefficient table of tensor splines, with copies for other dtypes and devices.

    An axis of n knots has n + 1 slots: before the first knot, the n - 1 intervals, after the last.
    Row ``slot_x * slots_y + slot_y`` of the table holds c[p, q] of Σ c[p, q] s_x^p s_y^q, with s
    measured from the base of the slot; on a line c[p].
    """

    def __init__(self, axes: tuple[Axis, ...], table: Any) -> None:
        self.axes = axes
        self.table = table
        self._copies: dict[Any, Splines] = {}

    @classmethod
    def through(cls, axes: tuple[Array, ...], values: Array) -> "Splines":
        """Splines of the last ``len(axes)`` axes of ``values``; a leading axis stays in front."""
        lead = values.ndim - len(axes)
        table = values
        for k, knots in enumerate(axes):
            powers = _slot_coefficients(knots, np.moveaxis(table, lead + k, 0))
            # the slots go back where the samples were, the powers to the end
            table = np.moveaxis(np.moveaxis(powers, 1, 1 + lead + k), 0, -1)
        rows = table.reshape((*values.shape[:lead], -1, 4 ** len(axes)))
        return cls(tuple(_axis(knots) for knots in axes), np.ascontiguousarray(rows))

    def with_table(self, table: Any) -> "Splines":
        return Splines(self.axes, table)

    def on(self, xp: Any, x: Any) -> "Splines":
        """These splines as arrays of the library, dtype and device of ``x``."""
        if not is_torch_array(x) and x.dtype == np.float64:
            return self
        key = (is_torch_array(x), x.dtype, str(device(x)))
        if key not in self._copies:

            def moved(a: Any) -> Any:
                return xp.asarray(a, dtype=x.dtype, device=device(x), copy=True)

            axes = tuple(Axis(moved(a.knots), moved(a.bases), a.step) for a in self.axes)
            self._copies[key] = Splines(axes, moved(self.table))
        return self._copies[key]


def evaluate(xp: Any, splines: Splines, x: Any, value: bool, slope: bool) -> tuple[Any, Any]:
    """Values and gradients (None where not wanted) of the splines at points ``(..., d)``."""
    slots, offsets = zip(
        *(_locate(xp, axis, x[..., k]) for k, axis in enumerate(splines.axes)), strict=True
    )
    row = slots[0]
    if len(slots) == 2:
        row = row * splines.axes[1].bases.shape[0] + slots[1]
    rows = xp.take(splines.table, xp.reshape(row, (-1,)), axis=0)
    rows = xp.reshape(rows, (*row.shape, *(4,) * len(slots)))
    if len(slots) == 1:
        (s,) = offsets
        c = tuple(rows[..., p] for p in range(4))
        return _cubic(c, s) if value else None, _cubic_slope(c, s)[..., None] if slope else None
    s, r = offsets
    # c[p](y) = sum_q rows[p, q] r^q, then a cubic in s
    c = tuple(_cubic(tuple(rows[..., p, q] for q in range(4)), r) for p in range(4))
    if not slope:
        return _cubic(c, s), None
    e = tuple(_cubic_slope(tuple(rows[..., p, q] for q in range(4)), r) for p in range(4))
    gradient = xp.stack([_cubic_slope(c, s), _cubic(e, s)], axis=-1)
    return _cubic(c, s) if value else None, gradient


def _cubic(c: tuple[Any, ...], s: Any) -> Any:
    return c[0] + s * (c[1] + s * (c[2] + s * c[3]))


def _cubic_slope(c: tuple[Any, ...], s: Any) -> Any:
    return c[1] + s * (2 * c[2] + (3 * s) * c[3])


def _locate(xp: Any, axis: Axis, x: Any) -> tuple[Any, Any]:
    """Slot of every coordinate and the distance from its base."""
    n = axis.knots.shape[0]
    if axis.step is None:
        slot = xp.searchsorted(axis.knots, x.contiguous() if is_torch_array(x) else x, side="right")
    else:
        # a coordinate within rounding of a knot may get the neighbouring cubic, which agrees there
        # to third order; NaN becomes any whole number here, and NaN again in the offset
        with np.errstate(invalid="ignore"):
            place = xp.clip((x - axis.knots[0]) / axis.step + 1, 0, n)
            slot = xp.clip(xp.astype(place, xp.int64), 0, n)
    return slot, x - xp.reshape(xp.take(axis.bases, xp.reshape(slot, (-1,)), axis=0), x.shape)


def _axis(knots: Array) -> Axis:
    step = (knots[-1] - knots[0]) / (len(knots) - 1)
    even = knots[0] + step * np.arange(len(knots))
    uniform = np.max(np.abs(knots - even)) <= 1e-5 * step
    return Axis(knots, _bases(knots), float(step) if uniform else None)


def _bases(knots: Array) -> Array:
    return np.concatenate([knots[:1], knots])


def _slot_coefficients(knots: Array, values: Array) -> Array:
    """Powers 0 to 3 in every slot, shape ``(4, n + 1, ...)``, of not-a-knot splines of axis 0."""
    inside = CubicSpline(knots, values, axis=0, bc_type="not-a-knot")
    table = np.zeros((4, len(knots) + 1, *values.shape[1:]))
    table[:, 1:-1] = inside.c[::-1]
    table[0, [0, -1]] = values[[0, -1]]
    table[1, [0, -1]] = inside(knots[[0, -1]], 1)
    return table
