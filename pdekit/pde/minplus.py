"""Min-plus convolution of a sampled line with a convex function: Hopf-Lax beyond parabolas."""

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from pdekit.pde.hamiltonians import Term

Array = NDArray[np.float64]
_GOLDEN = (np.sqrt(5.0) - 1) / 2


def minimisers_plain(f: Array, cost: Array) -> NDArray[np.int64]:
    """For every i the least j that minimises f_j + cost_{i - j + n - 1}, by trying all."""
    i = np.arange(f.size)
    return (f + cost[i[:, None] - i + f.size - 1]).argmin(1)


@nb.njit(cache=True, error_model="numpy")
def minimisers(f, cost, best):  # type: ignore[no-untyped-def]
    """The same for every line f[l] in O(n log n): for convex ``cost`` the minimisers never go back.

    Rows 2^k apart are done first; the minimisers of those between lie between theirs. A cost of
    infinity beyond some distance is convex too.
    """
    lines, n = f.shape
    reach = 0
    while reach < n - 1 and cost[n - 1 + reach + 1] < np.inf:
        reach += 1
    back = 0
    while back < n - 1 and cost[n - 1 - back - 1] < np.inf:
        back += 1
    stride = 1
    while stride < n:
        stride *= 2
    for line in range(lines):
        step = stride
        while step >= 1:
            for i in range(step - 1, n, 2 * step):
                low = best[line, i - step] if i - step >= 0 else 0
                high = best[line, i + step] if i + step < n else n - 1
                low, high = max(low, i - reach), min(high, i + back)
                least, where = np.inf, low
                for j in range(low, high + 1):
                    value = f[line, j] + cost[i - j + n - 1]
                    if value < least:
                        least, where = value, j
                best[line, i] = where
            step //= 2


def convolve(lines: Array, h: float, t: float, term: Term, periodic: bool, refine: bool) -> Array:
    """min_y f(y) + t L((x - y) / t) along every line (lines, n), L the conjugate of ``term``.

    Over all images on a circle that L can reach within the speeds of the data. With ``refine`` y
    runs between the nodes, f a parabola through the three samples about the best one, or two lines
    where it has a convex kink.
    """
    assert term.conjugate is not None
    images = _images(lines, h, t, term) if periodic else 0
    f = np.tile(lines, 2 * images + 1)
    n = f.shape[1]
    offset = np.arange(1 - n, n) * h
    with np.errstate(over="ignore"):
        cost = t * np.asarray(term.conjugate(offset / t), dtype=float)
    _require_convex(cost, offset / t)
    best = np.empty(f.shape, np.int64)
    minimisers(f, cost, best)
    inner = slice(images * lines.shape[1], (images + 1) * lines.shape[1])
    i, j = np.arange(n)[inner], best[:, inner]
    out = np.take_along_axis(f, j, 1) + cost[i - j + n - 1]
    return np.minimum(out, _between(f, i, j, h, t, term, periodic)) if refine else out


def _images(lines: Array, h: float, t: float, term: Term) -> int:
    """Copies on each side within reach of the fastest wave that the data can send."""
    steps = np.concatenate([np.diff(lines), lines[:, :1] - lines[:, -1:]], axis=1) / h
    fastest = max(np.abs(term.velocities(float(steps.min()), float(steps.max()))))
    return 1 + int(fastest * t / (h * lines.shape[1]))


def _require_convex(cost: Array, v: Array) -> None:
    finite = np.isfinite(cost)
    if np.isnan(cost).any() or not finite[cost.size // 2 - 1 : cost.size // 2 + 2].any():
        raise ValueError(
            f"the conjugate of the Hamiltonian is NaN or infinite at velocities of {v[-1]:.3g} and "
            "below; give L(v) = max_p p v - H(p) with its reach"
        )
    bend = np.diff(cost[finite], 2)
    if bend.size and bend.min() < -1e-9 * np.abs(cost[finite]).max():
        raise ValueError(
            "the conjugate of the Hamiltonian is not convex near the velocity "
            f"{v[finite][1 + int(bend.argmin())]:.3g}; give L(v) = max_p p v - H(p), or use "
            "schemes.Filtered()"
        )


def _between(f: Array, i: Any, j: Any, h: float, t: float, term: Term, periodic: bool) -> Array:
    """The least of f + t L over the cells beside node j, by golden-section search."""
    n = f.shape[1]
    c = j if periodic else np.clip(j, 1, n - 2)
    left, mid, right = (np.take_along_axis(f, (c + k) % n, 1) for k in (-1, 0, 1))
    rise, bend = (right - left) / 2, right - 2 * mid + left
    kink, place, height = _kink(f, j, bend)

    def total(s: Array) -> Array:
        v = ((i - c - s) * h) / t
        smooth = mid + s * rise + s * s * bend / 2
        with np.errstate(over="ignore"):
            return np.asarray(smooth + t * _conjugate(term, v))

    low = np.where(c == j, -1.0, np.where(j < c, -1.5, 0.0))
    high = np.where(c == j, 1.0, np.where(j < c, 0.0, 1.5))
    far = term.reach * t / h
    low, high = np.maximum(low, i - c - far), np.minimum(high, i - c + far)
    s = _golden(total, low, np.maximum(low, high))
    on_kink = height + t * _conjugate(term, (i - j - place) * h / t)
    out: Array = np.where(kink, on_kink, np.minimum(np.minimum(total(s), total(low)), total(high)))
    return out


def _conjugate(term: Term, v: Array) -> Array:
    assert term.conjugate is not None
    out: Array = np.asarray(term.conjugate(v), dtype=float)
    return out


def _kink(f: Array, j: Any, bend: Array) -> tuple[Any, Array, Array]:
    """Where f has a convex kink by node j: whether, where in cells, and its value there.

    A second difference four times above those two nodes away, where a smooth f has as much.
    """
    n = f.shape[1]
    inside = (j >= 3) & (j <= n - 4)
    at = [np.take_along_axis(f, np.clip(j + k, 0, n - 1), 1) for k in range(-3, 4)]
    before, after = at[0] - 2 * at[1] + at[2], at[4] - 2 * at[5] + at[6]
    sharp = bend > 4 * np.maximum(np.abs(before), np.abs(after)) + 1e-12 * np.abs(at[3])
    falling, rising = at[2] - at[1], at[5] - at[4]
    gap = np.where(rising > falling, rising - falling, 1.0)
    place = np.clip((at[2] - at[4] + falling + rising) / gap, -1.0, 1.0)
    return inside & sharp & (rising > falling), place, at[2] + falling * (place + 1)


def _golden(total: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a function that falls and then rises is least, to 1e-7 of the interval."""
    a, b = low.copy(), high.copy()
    x, y = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    at_x, at_y = total(x), total(y)
    for _ in range(34):
        left = at_x < at_y
        a, b = np.where(left, a, x), np.where(left, y, b)
        x, y = np.where(left, b - _GOLDEN * (b - a), y), np.where(left, x, a + _GOLDEN * (b - a))
        fresh = total(np.where(left, x, y))
        at_x, at_y = np.where(left, fresh, at_y), np.where(left, at_x, fresh)
    out: Array = (a + b) / 2
    return out
