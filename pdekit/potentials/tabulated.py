"""Potentials known by samples: a measured slice of a loss, a value function of a solver.

The interpolant is the C² cubic spline (not-a-knot) through the samples, the tensor product of two
in the plane, continued linearly (C¹) beyond them. Its coefficients are computed once; an evaluation
is an interval index, one gathered row of coefficients and a Horner scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any, TypeAlias

import numpy as np

from pdekit import checks
from pdekit.arrays import Array, HasNumbers, Numbers
from pdekit.potentials.algebra import Combinable
from pdekit.potentials.protocol import Kernel, points, time_of
from pdekit.potentials.samples import read_csv, read_npz, tensor_samples
from pdekit.potentials.splines import Splines, evaluate

Places: TypeAlias = Numbers | Sequence[HasNumbers]
Values: TypeAlias = Numbers | Sequence[Sequence[Sequence[float]]]


class _Sampled(Combinable):
    """Splines through samples; equal by content."""

    points: tuple[Array, ...]
    values: Array

    @property
    def dim(self) -> int:
        return len(self.points)

    @cached_property
    def splines(self) -> Splines:
        return Splines.through(self.points, self.values)

    @cached_property
    def _content(self) -> tuple[bytes, ...]:
        times = getattr(self, "times", np.empty(0))
        return tuple(array.tobytes() for array in (times, *self.points, self.values))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Sampled):
            return NotImplemented
        return self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)


@dataclass(frozen=True, eq=False, repr=False)
class Tabulated(_Sampled):
    """The potential through samples on a line or on a plane.

    Parameters
    ----------
    points : array (n,), pair of arrays (nx,), (ny,), or array (nx * ny, 2)
        Where the samples were taken: on a line; the two axes of a tensor grid; or every point of a
        tensor grid in any order. Axes need not be uniform nor sorted; at least 4 samples each.
        On a uniform axis an evaluation needs no search.
    values : array (n,), (nx, ny) or (nx * ny,)
        V there.

    Beyond the samples V is extrapolated linearly with the slope at the end (bilinearly off the
    corners of a rectangle); ``lower`` and ``upper`` are the corners of the sampled box. For smooth
    V the error is 5/384 max|V⁗| h⁴ away from the ends, where not-a-knot has a larger constant.
    ``points`` and ``values`` are kept sorted, as a tuple of axes and an array over them; equality
    and hash go by content. ``from_csv`` and ``from_npz`` read files.
    Raises ``ValueError`` for too few samples, a point given twice, a NaN or infinite number (naming
    the sample), an incomplete tensor grid (naming a missing point) or shapes that do not match.
    """

    points: tuple[Array, ...]
    values: Array

    def __init__(self, points: Places, values: Values) -> None:
        axes, samples = tensor_samples(points, values)
        object.__setattr__(self, "points", axes)
        object.__setattr__(self, "values", samples)

    @classmethod
    def from_csv(cls, path: str | PathLike[str]) -> Tabulated:
        """From comma-separated columns x,value or x,y,value, with or without a header line.

        Raises ``ValueError`` naming the line for an empty cell, text, NaN, a wrong number of
        columns or a point given twice, and naming a missing point of an incomplete tensor grid.
        """
        return cls(*read_csv(path))

    @classmethod
    def from_npz(cls, path: str | PathLike[str]) -> Tabulated:
        """From a NumPy archive with arrays ``x`` and ``value``, in the plane also ``y``.

        ``x`` and ``y`` are the axes, ``value`` has shape ``(nx,)`` or ``(nx, ny)``; three arrays of
        one length (nx ny) are the points of a tensor grid. Raises ``ValueError`` for missing names.
        """
        return cls(*read_npz(path))

    @property
    def lower(self) -> tuple[float, ...]:
        return tuple(float(axis[0]) for axis in self.points)

    @property
    def upper(self) -> tuple[float, ...]:
        return tuple(float(axis[-1]) for axis in self.points)

    def __call__(self, x: Any) -> Any:
        return self._evaluate(x)[0]

    def grad(self, x: Any) -> Any:
        """Gradient of the spline, shape ``(..., d)``; continuous everywhere."""
        return self._evaluate(x, value=False, slope=True)[1]

    def value_and_grad(self, x: Any) -> tuple[Any, Any]:
        """``V(x), V.grad(x)`` with one look-up for both."""
        return self._evaluate(x, slope=True)

    def _evaluate(self, x: Any, value: bool = True, slope: bool = False) -> tuple[Any, Any]:
        xp, x = points(x, self.dim, self)
        return evaluate(xp, self.splines.on(xp, x), x, value, slope)

    @property
    def kernel(self) -> Kernel | None:
        """On a line with uniform samples."""
        return _kernel(self.splines)

    def __repr__(self) -> str:
        shape = " x ".join(str(n) for n in self.values.shape)
        return f"Tabulated({shape} samples on {self.lower} to {self.upper})"


def _slice(t: float, points: Places, values: Array) -> tuple[tuple[Array, ...], Array]:
    try:
        return tensor_samples(points, values)
    except ValueError as error:
        raise ValueError(f"at time {t}: {error}") from None


@dataclass(frozen=True, eq=False, repr=False)
class Evolving(_Sampled):
    """A potential V(x, t) known by samples at a sequence of times: a value function, say.

    Parameters
    ----------
    times : increasing numbers (k,)
    points : as for ``Tabulated``
    values : array (k, n), (k, nx, ny) or (k, nx * ny)

    Spline in x as ``Tabulated``; linear in t between stored times, constant before the first and
    after the last. ``V.at(t)`` is the ``Tabulated`` of one time; ``V(x, t)`` and ``V.grad(x, t)``
    evaluate without making it. In the plane the coefficients take 128 bytes a sample and time.
    Raises ``ValueError`` as ``Tabulated`` does, and for times that do not increase.
    """

    times: Array
    points: tuple[Array, ...]
    values: Array

    def __init__(self, times: Numbers, points: Places, values: Values) -> None:
        what = "a sequence of finite numbers that increase"
        increasing = np.array(checks.finite("times", times, what))
        if increasing.ndim != 1 or not increasing.size:
            raise ValueError(f"times must be {what}, got {checks.shown(times)}")
        if np.any(np.diff(increasing) <= 0):
            raise ValueError(f"times must increase, got {checks.shown(times)}")
        stack = checks.numbers("values", values, "numbers, one field per time")
        if stack.shape[:1] != increasing.shape:
            raise ValueError(
                f"values must have one entry per time ({increasing.size}) first, got shape "
                f"{stack.shape}"
            )
        slices = [_slice(t, points, v) for t, v in zip(increasing, stack, strict=True)]
        increasing.flags.writeable = False
        object.__setattr__(self, "times", increasing)
        object.__setattr__(self, "points", slices[0][0])
        object.__setattr__(self, "values", np.stack([values for _, values in slices]))
        self.values.flags.writeable = False

    def at(self, t: float) -> Tabulated:
        """The potential at time ``t``: a combination of two stored splines, none is computed."""
        k, weight = self.between(checks.number("t", t, "a finite time"))
        values = self._blend(self.values, k, weight)
        values.flags.writeable = False
        splines = self.splines.with_table(self._blend(self.splines.table, k, weight))
        frozen = object.__new__(Tabulated)
        # the samples are checked already, and splines are linear in them
        frozen.__dict__.update(points=self.points, values=values, splines=splines)
        return frozen

    def __call__(self, x: Any, t: float | None = None) -> Any:
        return self._evaluate(x, t)[0]

    def grad(self, x: Any, t: float | None = None) -> Any:
        """Gradient in x at time t, shape ``(..., d)``."""
        return self._evaluate(x, t, value=False, slope=True)[1]

    def value_and_grad(self, x: Any, t: float | None = None) -> tuple[Any, Any]:
        """``V(x, t), V.grad(x, t)`` with one look-up for both."""
        return self._evaluate(x, t, slope=True)

    def reversed(self) -> Evolving:
        """W(x, t) = V(x, T - t), with T the last time."""
        return Evolving(self.times[-1] - self.times[::-1], self.points, self.values[::-1])

    def _evaluate(
        self, x: Any, t: float | None, value: bool = True, slope: bool = False
    ) -> tuple[Any, Any]:
        t = time_of(self, t)
        xp, x = points(x, self.dim, self)
        splines = self.splines.on(xp, x)
        table = self._blend(splines.table, *self.between(t))
        return evaluate(xp, splines.with_table(table), x, value, slope)

    @property
    def kernel(self) -> Kernel | None:
        """On a line with uniform samples."""
        made = _kernel(self.splines)
        return made and made._replace(between=self.between)

    def between(self, t: Any) -> tuple[Any, Any]:
        """Index of the stored time before ``t`` and the weight of the one after it, elementwise."""
        if len(self.times) == 1:
            return np.zeros(np.shape(t), dtype=int), np.zeros(np.shape(t))
        k = np.searchsorted(self.times[1:-1], t, side="right")
        step = self.times[k + 1] - self.times[k]
        return k, np.clip((t - self.times[k]) / step, 0.0, 1.0)

    def _blend(self, stack: Any, k: int, weight: float) -> Any:
        # the ends as stored, to the bit
        if weight in (0.0, 1.0):
            return stack[k + int(weight)]
        return (1 - weight) * stack[k] + weight * stack[k + 1]

    def __repr__(self) -> str:
        shape = " x ".join(str(n) for n in self.values.shape[1:])
        return f"Evolving({shape} samples at {len(self.times)} times to {self.times[-1]:g})"


def _kernel(splines: Splines) -> Kernel | None:
    axis = splines.axes[0]
    if len(splines.axes) > 1 or axis.step is None:
        return None
    from pdekit.potentials.spline_kernels import down_spline

    numbers = (float(axis.knots[0]), axis.step, len(axis.bases) - 1.0)
    table = splines.table.reshape(-1, 4)
    return Kernel(down_spline, numbers, bases=axis.bases, table=table)
