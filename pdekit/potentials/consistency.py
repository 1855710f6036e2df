"""Whether a user's function is one of each point alone, and its ``grad`` the gradient of it.

A function is looked at once, and its gradient once for a region, at a few points of it.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from pdekit.arrays import Array

_POINTS, _FEW = 32, 7  # of a region, at which a gradient, and a function, is looked at
_GOLDEN = 0.6180339887498949
_LENGTHS = 10.0 ** -np.arange(2.0, 10.0)  # of the region: those over which f is compared with grad
_BETWEEN = np.array([-1.0, -0.69, -0.27, 0.18, 0.58, 1.0])  # places on a way, of half its length
_SLACK = 3e-3  # of the slope: what is no error of it
_STEADY = 0.01  # of the slope: what it, and the rounding of f, may vary on a way that counts
_WAYS = 2  # that must count
# of the largest value: rounding, of doubles (of which parts may be in single precision), of singles
_SAME = (1e-5, 1e-3)
_OF_ALL = (
    "it may have no mean, maximum, order or sum over the points in it, and no noise. Values that "
    "are known on the cells alone are an array, or Tabulated"
)
_DIVIDED = (
    "it is divided by a sum, mean or maximum over the points it is given, which are not always the "
    "cells. Divide f by a number instead, such as mass = float(grid.integrate(f(grid.centres))), "
    "computed once; or give a density as the array f(grid.centres) / mass"
)
_LEAVE_OUT = "Mend it, or leave it out: then it is found by torch or by differences"
# functions, and the intervals of their first and last coordinates on which they were looked at
_SEEN: WeakKeyDictionary[Any, list[tuple[float, float]]] = WeakKeyDictionary()


def seen(function: Any, points: Array) -> bool:
    """Whether it was looked at on such a region."""
    try:
        known = _SEEN.get(function, ())
    except TypeError:  # no hash, or no weak reference
        return False
    if not known:
        return False
    first, last = points.item(0), points.item(-1)
    more = 0.1 * abs(last - first)
    return any(low - more <= first and last <= high + more for low, high in known)


def note(function: Any, points: Array) -> None:
    """Remember that it was looked at there."""
    with suppress(TypeError):
        _SEEN.setdefault(function, []).append((points.item(0), points.item(-1)))


def check_pointwise(name: str, function: Callable[[Any], Any], x: Array, values: Array) -> None:
    """``ValueError`` if a few points in another order, or one alone, have other values than among

    all the points x (..., d). ``values`` are those there, and may have further axes.
    """
    lead = x.ndim - 1
    if values.shape[:lead] != x.shape[:-1] or x[..., 0].size < 2:
        return
    few = _some(x[..., 0].size, _FEW)
    points = x.reshape(-1, x.shape[-1])[few]
    expected = values.reshape(-1, *values.shape[lead:])[few]
    largest = np.abs(expected).max(initial=0.0, where=np.isfinite(expected))
    near = _SAME[_is_single(expected)] * float(largest)
    for some in (slice(None), slice(-1, None)):
        given = points[some].reshape(-1, *[1] * (lead - 1), x.shape[-1])
        try:
            alone = np.asarray(function(given), float)
        except Exception:  # it is known at all the points together only
            return
        if alone.size == expected[some].size:  # others are refused elsewhere
            alone = alone.reshape(expected[some].shape)
            _require_equal(name, points[some], expected[some], alone, near)


def _require_equal(name: str, x: Array, expected: Array, alone: Array, near: float) -> None:
    with np.errstate(all="ignore"):
        bad = np.abs(alone - expected) > near
    if bad.any():
        k = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} must be a function of each point alone, got one whose value at "
            f"{x[k[0]].tolist()} is {expected[tuple(k)]:.6g} among other points and "
            f"{alone[tuple(k)]:.6g} among fewer of them: "
            + (_DIVIDED if _are_multiples(expected, alone) else _OF_ALL)
        )


def _are_multiples(expected: Array, alone: Array) -> bool:
    """Whether one factor makes the values at several points those among all of them."""
    factor = float(np.vdot(alone, expected)) / max(float(np.vdot(alone, alone)), 1e-300)
    off = np.abs(factor * alone - expected).max()
    return bool(np.count_nonzero(expected) > 1 and off <= _SAME[1] * np.abs(expected).max())


def check_gradient(name: str, value: Any, x: Array, advice: str = _LEAVE_OUT) -> None:
    """``ValueError`` if ``value.grad`` is not the slope of ``value`` at some of the points x.

    By the mean value theorem: over a short way the rise of f is the mean of its slope, so that it
    lies between the least and the largest of it. A way counts where the slope hardly varies along
    it and the rounding of f is small; a slope is wrong where at least two ways from a point count
    and the rise of none fits. So ripples, kinks, jumps and noise are no errors.
    """
    flat = x.reshape(-1, x.shape[-1])
    points = flat[_some(len(flat), _POINTS)]
    try:
        with np.errstate(all="ignore"):
            wrong = _wrong_slope(value, points)
    except Exception:  # beyond the domain; where it is needed this is reported
        return
    if wrong:
        raise ValueError(
            f"{name} must be the gradient of the function that it belongs to; {wrong}. {advice}"
        )


def _wrong_slope(value: Any, points: Array) -> str:
    """Where the gradient is not that of the values, and what it is; "" if nowhere."""
    n, dim = points.shape
    size = float(np.ptp(points, axis=0).max()) or float(np.abs(points).max()) or 1.0
    angle = 2 * np.pi * np.modf(_GOLDEN * np.arange(n))[0][:, None]
    ways = np.sign(np.cos(angle)) if dim == 1 else np.cos(angle + 2.0 * np.arange(dim) * _GOLDEN)
    ways = ways / np.sqrt((ways * ways).sum(1, keepdims=True))
    half = size * _LENGTHS / 2
    shifts = half[:, None, None, None] * _BETWEEN[:, None, None] * ways  # (length, place, point, d)
    places = points + shifts
    f = np.asarray(value(places.reshape(-1, dim)), float).reshape(places.shape[:-1])
    g = np.asarray(value.grad(places.reshape(-1, dim)), float).reshape(places.shape)
    slope = (g * ways).sum(-1)
    width = ((places[:, -1] - places[:, 0]) * ways).sum(-1)
    rise = (f[:, -1] - f[:, 0]) / width
    least, most = slope.min(1), slope.max(1)
    largest = np.maximum(np.abs(slope).max(1), np.abs(rise))
    noise = _noise(f, most - least, width, float(np.abs(points).max()), largest)
    counts = np.isfinite(rise) & np.isfinite(largest) & (largest > 0)
    counts &= np.maximum(most - least, noise) <= _STEADY * largest
    counts &= ~_is_flat(f)
    off = np.maximum(rise - most, least - rise) > _SLACK * largest + noise
    wrong = (counts.sum(0) >= _WAYS) & (off | ~counts).all(0)
    if not wrong.any():
        return ""
    k = int(wrong.argmax())
    j = int(counts[:, k].argmax())
    where = "" if dim == 1 else f" along {ways[k].tolist()}"
    factor = float(ways[k, 0]) if dim == 1 else 1.0
    return (
        f"at {points[k].tolist()} it is {factor * slope[j, :, k].mean():.6g}{where}, by "
        f"differences of the function {factor * rise[j, k]:.6g}"
    )


def _noise(f: Array, varies: Array, width: Array, far: float, slope: Array) -> Array:
    """Of the slope, by the rounding of f and of the points, and what f jumps beyond its slope."""
    unit = float(np.finfo(np.float32 if _is_single(f) else float).eps)
    rounding = 8 * (unit * np.abs(f).max(1) + np.finfo(float).eps * far * slope) / np.abs(width)
    share = (_BETWEEN[:, None] + 1) / 2
    bent = np.abs(f - (1 - share) * f[:, :1] - share * f[:, -1:]).max(1)
    out: Array = rounding + 4 * np.maximum(0.0, bent / np.abs(width) - varies)
    return out


def _is_flat(f: Array) -> Any:
    """Ways along which f hardly takes other values, though elsewhere it does: steps."""
    few = (np.diff(np.sort(f, axis=1), axis=1) > 0).sum(1) < 3
    return few & bool(np.ptp(f[np.isfinite(f)]) > 0)


def _is_single(values: Array) -> bool:
    """Whether the values are those of single precision."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool((values.astype(np.float32) == values).all())


@lru_cache
def _some(count: int, few: int) -> Any:
    """Indices of a few of so many points, the ends among them, in no order."""
    if count <= few:
        return np.arange(count)[::-1][: max(1, count - 1)]
    between = (np.modf(_GOLDEN * np.arange(1, few - 1))[0] * count).astype(int)
    return np.unique(np.append(between, [0, count - 1]))[::-1]
