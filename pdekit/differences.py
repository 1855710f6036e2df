"""Slopes by finite differences, with an adaptive step confirmed by neighbouring steps.

A step of 6e-6 max(1, |x|) suits functions that vary on the scale of x, the usual case.
Functions with tiny scales or far from the origin are detected by steps that disagree; each
point then gets the step at which neighbouring steps agree best.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pdekit.arrays import Array

Function = Callable[[Any], Any]  # of points (..., d), with values (..., *of any shape)

_UNIT = float(np.finfo(float).eps)
STEP = _UNIT ** (1 / 3)  # in units of max(1, |x|)
_OTHERS = (0.62 * STEP, 0.21 * STEP)  # without a common period
LADDER = tuple(STEP * 10.0**-k for k in range(-4, 10))
_ROWS = 1 << 14  # points per batch, divided by dimension squared
_AGREE = 1e-6  # allowed difference of two steps, relative to the largest slope
_SLOPES = 1e-10  # accuracy of slopes by differences, relative to the largest
_NOTHING = 0.1  # penalty where all slopes vanish
_TRIED = 8  # number of points at which other steps are tried, approximately


class Differences(NamedTuple):
    """With several steps, which come first: slopes, second differences times the step, rounding."""

    slopes: Array
    bends: Array
    noise: Array


def slopes(
    f: Function, x: Array, agree: float = _AGREE, loose: float = 0.0
) -> tuple[Array, Array | None]:
    """∂f_j/∂x_k of values f_j at points ``(..., d)``, as ``(..., d, *j)``, and their

    uncertainty. None if the common step suffices: two more steps, tried at some of the points, then
    agree with it up to ``agree`` of the largest slope. ``loose``: of the largest of the values, to
    which all are known; 0 for values from a formula.
    """
    slope = _central(f, x)
    some, there = _representative_points(x, slope)
    if _steps_agree(stencil(f, some, _OTHERS), there, agree):
        return slope, None
    return _searched(f, x, loose)


def hessian(gradient: Function, x: Array, agree: float = 1e-7) -> Array:
    """∇²V at points ``(..., d)``, from ∇V, which may be by differences."""
    found, _ = slopes(lambda y: np.asarray(gradient(y), dtype=float), x, agree, _SLOPES)
    out: Array = (found + np.swapaxes(found, -1, -2)) / 2
    return out


def _central(f: Function, x: Array) -> Array:
    """Central differences with the common step."""
    parts = []
    for k in range(x.shape[-1]):
        step = STEP * np.maximum(1.0, np.abs(x[..., k]))
        right, left = x.copy(), x.copy()
        right[..., k] += step
        left[..., k] -= step
        # the step after rounding
        width = right[..., k] - left[..., k]
        with np.errstate(all="ignore"):  # a step may leave the domain of f
            here, there = f(left), f(right)
            rise = there - here
            parts.append(rise / width.reshape((*width.shape, *[1] * (rise.ndim - width.ndim))))
    return np.stack(parts, axis=x.ndim - 1)


def stencil(f: Function, x: Array, steps: Any, loose: float = 0.0) -> Differences:
    """Central differences of values at ``(..., d)`` with several steps, in units of max(1, |x|)."""
    flat, dim = x.reshape(-1, x.shape[-1]), x.shape[-1]
    lengths = np.asarray(steps)[:, None, None] * np.maximum(1.0, np.abs(flat))
    shifts = lengths[..., None] * np.eye(dim)
    ends = np.stack([flat[:, None] - shifts, flat[:, None] + shifts])
    with np.errstate(all="ignore"):  # a step may vanish, or leave the domain of f
        values = in_rows(f, np.concatenate([flat, ends.reshape(-1, dim)]), x.ndim)
        of = values.shape[1:]
        middle, around = values[: len(flat), None], values[len(flat) :]
        width = np.einsum("...kk->...k", ends[1] - ends[0])
        width = width.reshape((*lengths.shape, *[1] * len(of)))
        here, there = around.reshape(2, *lengths.shape, *of)
        found = differences(here, there, middle, width, loose)
    return Differences(*(part.reshape(len(steps), *x.shape, *of) for part in found))


def differences(
    here: Array, there: Array, middle: Array, width: Array, loose: float = 0.0
) -> Differences:
    """From values at both ends of a width and in its middle, known to ``loose`` of the largest."""
    sizes = np.abs(here) + np.abs(there) + np.abs(middle)
    known = sizes[np.isfinite(sizes)].max(initial=0.0) if loose else 0.0
    slope, bend = (there - here) / width, ((there - middle) + (here - middle)) / width
    return Differences(slope, bend, (_UNIT * sizes + loose * known) / width)


def in_rows(f: Function, x: Array, ndim: int) -> Array:
    """f at points (n, d); one by one if a single one was given."""
    return np.asarray(f(x) if ndim > 1 else [f(point) for point in x])


def best(tried: Differences) -> tuple[Array, Array]:
    """Of slopes with steps a factor of ten apart the one with the best agreement of its two
    neighbours.

    Too long a step averages over f, so that slopes disagree; too short
    a step is dominated by the rounding of f. In between, slopes agree. Also returns the
    disagreement.
    """
    slope, bend, noise = tried
    with np.errstate(all="ignore"):  # f may be NaN at the end of a step
        apart = np.abs(np.diff(slope, axis=0)) + 2 * np.abs(bend[:-1] - 10 * bend[1:])
        doubt = np.maximum(apart[1:], apart[:-1]) + noise[1:-1]
        size = np.maximum(np.abs(slope[2:]), np.abs(slope[:-2]))
        share = doubt / np.maximum(size, np.abs(slope[1:-1]))
    doubt[np.isnan(doubt)] = np.inf
    # a vanishing change is inconclusive: steps may be too short, or f flat
    none = (slope[2:] == 0) & (slope[1:-1] == 0) & (slope[:-2] == 0)
    if none.any():
        order = doubt.argsort(0).argsort(0) / len(doubt)
        share = np.where(none, _NOTHING * (1 + order), share)
    at = np.where(np.isnan(share), np.inf, share).argmin(0)[None]
    slope, doubt = (np.take_along_axis(a, at, 0)[0] for a in (slope[1:-1], doubt))
    return slope, doubt


def _searched(f: Function, x: Array, loose: float) -> tuple[Array, Array]:
    rows = max(1, _ROWS // x.shape[-1] ** 2)
    if len(x) > rows and x.ndim > 1:
        parts = [_searched(f, x[k : k + rows], loose) for k in range(0, len(x), rows)]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    if not loose:
        return best(stencil(f, x, LADDER))
    # one after the other: the step of a slope by differences depends on all points evaluated
    # together
    tried = [stencil(f, x, (step,), loose) for step in LADDER]
    return best(Differences(*(np.concatenate(parts) for parts in zip(*tried, strict=True))))


def _steps_agree(tried: Differences, slope: Array, agree: float) -> bool:
    """Whether two other steps give the same slopes, and the same second differences.

    Then f is smooth over such lengths, and its changes exceed rounding.
    """
    allowed = agree * np.abs(slope).max(initial=0.0)
    off = np.abs(tried.slopes - slope).max(0)
    kinked = np.abs(tried.bends[0] - tried.bends[1] * (_OTHERS[0] / _OTHERS[1]))
    return bool(((off <= allowed) & (kinked <= allowed + 16 * tried.noise.sum(0))).all())


def _representative_points(x: Array, slope: Array) -> tuple[Array, Array]:
    """A few of the points and their slopes: the outermost, the steepest, and some between."""
    if x.ndim < 2 or x.size <= _TRIED * x.shape[-1]:
        return x, slope
    flat, steep = x.reshape(-1, x.shape[-1]), slope.reshape(-1, *slope.shape[x.ndim - 1 :])
    sizes = np.abs(flat).max(1), np.abs(steep).reshape(len(flat), -1).max(1)
    some = {int(end) for size in sizes for end in (size.argmax(), size.argmin())}
    chosen = sorted(some | set(range(0, len(flat), -(-len(flat) // _TRIED))))
    return flat[chosen], steep[chosen]
