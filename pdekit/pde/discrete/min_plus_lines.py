"""Min-plus convolution of sampled lines with a convex function: Hopf-Lax beyond parabolas."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.pde.hamiltonian_terms import Term
from pdekit.pde.kernels.min_plus import doubts, minimisers

_GOLDEN = (np.sqrt(5.0) - 1) / 2


def convolve(
    lines: Array, h: float, t: float, term: Term, periodic: bool, refine: bool
) -> tuple[Array, Array]:
    """min_y f(y) + t L((x - y) / t) along every line (lines, n), L the conjugate of ``term``.

    Over all images on a circle that L can reach within the speeds of the data. With ``refine`` y
    runs between the nodes, f a parabola through the three samples about the best one, or two lines
    where it has a convex kink; beside the nodes of ``_others`` too. Where it is neither
    (``envelope.find_doubts``) the nodes stand; how much lower at most the parabolas and the kinks
    there are is returned too.
    """
    assert term.conjugate is not None
    images, turns = _images(lines, h, t, term) if periodic else (0, 0)
    f = np.tile(lines, 2 * images + 1)
    n, ahead = f.shape[1], turns * lines.shape[1]
    offset = (np.arange(1 - n, n) + ahead) * h
    with np.errstate(over="ignore"):
        cost = t * np.asarray(term.conjugate(offset / t), dtype=float)
    _require_convex(cost, offset / t)
    best = np.empty(f.shape, np.int64)
    minimisers(f, cost, best)
    inner = slice(images * lines.shape[1], (images + 1) * lines.shape[1])
    i, j = np.arange(n)[inner], best[:, inner]
    out = np.take_along_axis(f, j, 1) + cost[i - j + n - 1]
    gaps = np.zeros(2)
    if not refine:
        return out, gaps
    doubt, kink = doubts(f)
    nodes = out.copy()
    for k, others in enumerate([j, *_others(f, cost, best, inner, doubt, periodic)]):
        line, at = np.nonzero((others != j) | (k == 0))
        if not line.size:
            continue
        y = others[line, at]
        node, sharp = f[line, y] + cost[i[at] - y + n - 1], kink[line, y]
        here, straight = np.isfinite(node), sharp >= 0
        y = np.where(straight, sharp, y)
        found = _between(f, line, i[at] + ahead, y, h, t, term, periodic, straight)
        lower = np.where(here, nodes[line, at] - found, 0.0)
        unsure = doubt[line, others[line, at]] & ~straight
        for kind, where in enumerate((unsure, straight)):
            gaps[kind] = max(gaps[kind], float(lower.max(initial=0.0, where=where)))
        found = np.where(here & ~unsure, found, node)
        out[line, at] = np.minimum(out[line, at], found)
    return out, gaps


def _others(
    f: Array, cost: Array, best: Any, inner: slice, doubt: Any, periodic: bool
) -> list[NDArray[np.int64]]:
    """For every i, nodes near which the minimum may lie although another node is the best one.

    The walls to which f falls, the minimisers beyond the next jump on both sides, and the best one
    if every well is as deep as the parabola about its lowest sample.
    """
    j, n, out = best[:, inner], f.shape[1], []
    if not periodic:
        for wall, beside in ((0, 1), (n - 1, n - 2)):
            falls = f[:, wall] < f[:, beside]
            if falls.any():
                out.append(np.where(falls[:, None], wall, j))
    jumps = np.diff(j, axis=1) > 2
    if jumps.any():
        k = np.arange(j.shape[1])
        to = np.where(np.c_[np.zeros(len(j), bool), jumps], k, 0)  # the last jump, from its left
        last = np.maximum.accumulate(to, 1)
        out.append(np.where(last > 0, np.take_along_axis(j, np.maximum(last - 1, 0), 1), j))
        to = np.where(np.c_[jumps, np.zeros(len(j), bool)], k, j.shape[1])
        last = np.minimum.accumulate(to[:, ::-1], 1)[:, ::-1]
        ahead = np.take_along_axis(j, np.minimum(last + 1, j.shape[1] - 1), 1)
        out.append(np.where(last < j.shape[1], ahead, j))
    fall, rise = f[:, 1:-1] - f[:, :-2], f[:, 2:] - f[:, 1:-1]
    wells = (fall <= 0) & (rise >= 0) & (rise > fall) & ~doubt[:, 1:-1]
    if (wells.sum(1) > 1).any():
        lowered = f.copy()
        bend = np.where(wells, rise - fall, 1.0)
        lowered[:, 1:-1] -= np.where(wells, (fall + rise) ** 2 / (8 * bend), 0.0)
        deepest = np.empty_like(best)
        minimisers(lowered, cost, deepest)
        out.append(deepest[:, inner])
    return out


def _images(lines: Array, h: float, t: float, term: Term) -> tuple[int, float]:
    """Number of images on each side within reach of the fastest wave of the data, and whole turns.

    L is least at the velocity H'(0). However long t is, of all images of a point one of the two
    about that way's end costs least, so that two copies beyond the whole ``turns`` of it suffice.
    """
    steps = np.concatenate([np.diff(lines), lines[:, :1] - lines[:, -1:]], axis=1) / h
    fastest = max(np.abs(term.velocities(float(steps.min()), float(steps.max()))))
    width = h * lines.shape[1]
    if fastest * t < width:
        return 1, 0.0
    return 2, float(np.rint(float(term.slope(np.zeros(()))) * t / width))


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


def _between(
    f: Array, line: Any, i: Any, j: Any, h: float, t: float, term: Term, periodic: bool, kink: Any
) -> Array:
    """The least of f + t L over the cells beside node j of a line, by golden-section search."""
    n = f.shape[1]
    c = j if periodic else np.clip(j, 1, n - 2)
    left, mid, right = (f[line, (c + k) % n] for k in (-1, 0, 1))
    rise, bend = (right - left) / 2, right - 2 * mid + left
    place, falling, rising = _kink(f, line, j)

    def total(s: Array) -> Array:
        v = ((i - c - s) * h) / t
        smooth = mid + s * rise + s * s * bend / 2
        lines = np.where(s < place, left + falling * (s + 1), right + rising * (s - 1))
        with np.errstate(over="ignore"):
            return np.asarray(np.where(kink, lines, smooth) + t * _conjugate(term, v))

    low = np.where(c == j, -1.0, np.where(j < c, -1.5, 0.0))
    high = np.where(c == j, 1.0, np.where(j < c, 0.0, 1.5))
    far = term.reach * t / h
    low, high = np.where(kink, -3.0, low), np.where(kink, 3.0, high)
    low, high = np.maximum(low, i - c - far), np.minimum(high, i - c + far)
    high = np.maximum(low, high)
    s = _golden(total, low, high)
    on_kink = np.where(kink, total(np.clip(place, low, high)), np.inf)
    ends = np.minimum(total(low), total(high))
    out: Array = np.minimum(np.minimum(total(s), ends), on_kink)
    return out


def _conjugate(term: Term, v: Array) -> Array:
    assert term.conjugate is not None
    out: Array = np.asarray(term.conjugate(v), dtype=float)
    return out


def _kink(f: Array, line: Any, j: Any) -> tuple[Array, Array, Array]:
    """Intersection of the lines through two samples on each side of node j, and slopes."""
    n = f.shape[1]
    at = [f[line, np.clip(j + k, 0, n - 1)] for k in (-2, -1, 1, 2)]
    falling, rising = at[1] - at[0], at[3] - at[2]
    gap = np.where(rising > falling, rising - falling, 1.0)
    return np.clip((at[1] - at[2] + falling + rising) / gap, -1.0, 1.0), falling, rising


def _golden(total: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """The minimiser of a unimodal function, to 1e-7 of the interval."""
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
