"""Kernels of cubic splines on a line and a plane, continued linearly, for numpy and torch."""

from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device, is_torch_array

from pdekit.arrays import Array

# number of points above which importing the fused kernel pays off
_MANY = 4096


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
            # restore the sample axes, with the powers last
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
    flat = xp.reshape(x, (-1, x.shape[-1]))
    run = _fused if _fusible(splines, flat) else _arrays
    values, slopes = run(xp, splines, flat, value, slope)
    return (
        xp.reshape(values, x.shape[:-1]) if value else None,
        xp.reshape(slopes, x.shape) if slope else None,
    )


def _fusible(splines: Splines, x: Any) -> bool:
    """Many points on a uniform line, in main memory, with no autograd graph."""
    if len(splines.axes) == 2 or splines.axes[0].step is None or x.shape[0] < _MANY:
        return False
    if not is_torch_array(x):
        return True
    import torch

    return x.device.type == "cpu" and not x.requires_grad and not torch.compiler.is_compiling()


def _fused(xp: Any, splines: Splines, x: Any, value: bool, slope: bool) -> tuple[Any, Any]:
    # numba is slow to import and useless for few points
    from pdekit.potentials.spline_kernels import line_slopes, line_values

    (axis,) = splines.axes
    knots, bases, table, points = (
        a.numpy() if is_torch_array(a) else a
        for a in (axis.knots, axis.bases, splines.table, x[:, 0])
    )
    start, step = knots.dtype.type(knots[0]), knots.dtype.type(axis.step)
    values = xp.asarray(line_values(points, start, step, bases, table)) if value else None
    slopes = xp.asarray(line_slopes(points, start, step, bases, table)) if slope else None
    return values, slopes


def _arrays(xp: Any, splines: Splines, x: Any, value: bool, slope: bool) -> tuple[Any, Any]:
    """The reference: array operations, for both libraries, any device and autograd."""
    slots, offsets = zip(
        *(_locate(xp, axis, x[:, k]) for k, axis in enumerate(splines.axes)), strict=True
    )
    if len(slots) == 1:
        rows = xp.take(splines.table, slots[0], axis=0)
        c, (s,) = tuple(rows[:, p] for p in range(4)), offsets
        return _cubic(c, s) if value else None, _cubic_slope(c, s)[:, None] if slope else None
    row = slots[0] * splines.axes[1].bases.shape[0] + slots[1]
    rows = xp.reshape(xp.take(splines.table, row, axis=0), (-1, 4, 4))
    # sum over q of c[p, q] r^q for the four p at once, then a cubic in s
    s, r = offsets
    lines = tuple(rows[:, :, q] for q in range(4))
    across = _cubic(lines, r[:, None])
    c = tuple(across[:, p] for p in range(4))
    values = _cubic(c, s) if value else None
    if not slope:
        return values, None
    along = _cubic_slope(lines, r[:, None])
    e = tuple(along[:, p] for p in range(4))
    return values, xp.stack([_cubic_slope(c, s), _cubic(e, s)], axis=-1)


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
        with nullcontext() if is_torch_array(x) else np.errstate(invalid="ignore"):
            place = xp.clip((x - axis.knots[0]) / axis.step + 1, 0, n)
            slot = xp.clip(xp.astype(place, xp.int64), 0, n)
    return slot, x - xp.take(axis.bases, slot, axis=0)


def _axis(knots: Array) -> Axis:
    step = (knots[-1] - knots[0]) / (len(knots) - 1)
    even = knots[0] + step * np.arange(len(knots))
    uniform = np.max(np.abs(knots - even)) <= 1e-5 * step
    return Axis(knots, _bases(knots), float(step) if uniform else None)


def _bases(knots: Array) -> Array:
    return np.concatenate([knots[:1], knots])


def _slot_coefficients(knots: Array, values: Array) -> Array:
    """Powers 0 to 3 in every slot, shape ``(4, n + 1, ...)``, of not-a-knot splines of axis 0."""
    # takes half a second to import, and most potentials are formulas
    from scipy.interpolate import CubicSpline

    inside = CubicSpline(knots, values, axis=0, bc_type="not-a-knot")
    table = np.zeros((4, len(knots) + 1, *values.shape[1:]))
    table[:, 1:-1] = inside.c[::-1]
    table[0, [0, -1]] = values[[0, -1]]
    table[1, [0, -1]] = inside(knots[[0, -1]], 1)
    return table
