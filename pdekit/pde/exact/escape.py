"""Escape over barriers: Kramers' law, and the closed form on a line, for comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import exp, log, pi, sqrt
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.differences import hessian
from pdekit.errors import AccuracyWarning, ConvergenceError, each_once
from pdekit.potentials import as_potential
from pdekit.protocols import Corner, Function

_ASIDE, _ARRIVED = 1e-3, 1e-2  # of their distance: a step off the saddle, and near to the minimum
_RELAXED = 60.0  # times of relaxation that a descent is given
_HIGH = 4.0  # barrier in units of the temperature above which Kramers' law is within 25 %


def kramers_time(potential: Function, minimum: Corner, saddle: Corner, beta: float) -> float:
    """Kramers' mean time from a minimum a over the saddle s into the next well, for large beta.

    τ = 2π / |λ_-| sqrt(|det ∇²V(s)| / det ∇²V(a)) exp(β (V(s) - V(a))) (1 + O(1/β)), λ_- the
    negative eigenvalue at s; in one dimension 2π / sqrt(V''(a) |V''(s)|) times the exponential. The
    time to the saddle itself is half of it, as is 1 / gap for two equal wells. ``potential``: of d
    coordinates, or a function of points; a and s are points (d,), or numbers on a line.
    Mathematics 1.14; thesis 4.1.1 corrected.

    An ``AccuracyWarning`` where β (V(s) - V(a)) is below 4: the error is of the size of 1 over it.

    Raises ``ValueError`` where a is not a minimum, s not a saddle with one descending direction, no
    way of steepest descent leads from s to a (another well or saddle lies between), or the barrier
    is below 1 / β (nothing to climb) or above 700 / β.
    """
    beta = checks.inverse_temperature(beta)
    checks.value_not_class("potential", potential)
    a, s = (
        np.atleast_1d(checks.finite(name, point, "a point (d,)"))
        for name, point in (("minimum", minimum), ("saddle", saddle))
    )
    if a.ndim != 1 or a.shape != s.shape:
        raise ValueError(
            f"minimum and saddle must be points (d,), got shapes {a.shape} and {s.shape}"
        )
    potential, reach = as_potential(potential, a.size), float(np.abs(s - a).max())
    bottom, pass_ = (_eigenvalues(potential, point, reach) for point in (a, s))
    if bottom[0] <= 0:
        raise ValueError(
            f"{a.tolist()} is not a minimum: expected positive eigenvalues of ∇²V, got "
            f"{bottom.tolist()}"
        )
    if not (pass_[0] < 0 and (pass_[1:] > 0).all()):
        raise ValueError(
            f"{s.tolist()} is not a saddle with one descending direction: expected one negative "
            f"eigenvalue of ∇²V, got {pass_.tolist()}"
        )
    _require_next_to(potential, a, s, bottom, pass_)
    barrier = beta * float(np.asarray(potential(s) - potential(a)))
    if not barrier > 1:
        raise ValueError(
            f"Kramers' law holds for high barriers, and beta (V(s) - V(a)) is {barrier:.3g}, but "
            "must be above 1: increase beta, or use mean_first_passage_time"
        )
    if not barrier < 700:
        raise ValueError(
            f"Kramers' time overflows where beta (V(s) - V(a)) is 700 or more, and it is "
            f"{barrier:.3g}: lower beta"
        )
    if barrier < _HIGH:
        warnings.warn(
            f"Kramers' law is for high barriers: at beta ΔV = {barrier:.3g} it is off by some "
            f"{1 / barrier:.0%}; raise beta, or use mean_first_passage_time",
            AccuracyWarning,
            stacklevel=2,
        )
    ratio = sqrt(float(np.abs(pass_).prod() / bottom.prod()))
    return 2 * pi / abs(float(pass_[0])) * ratio * exp(barrier)


def _require_next_to(potential: Any, a: Array, s: Array, bottom: Array, pass_: Array) -> None:
    """An ``AccuracyWarning`` unless a way of steepest descent leads from the saddle to the minimum.

    Across other wells the law still holds if these are shallow and no saddle between is higher.
    """
    ends = []
    way = _descending(potential, s, float(np.abs(s - a).max()))
    for sign in (1, -1):
        with each_once():
            end = _descended(potential, s, sign * way, a, bottom, pass_)
        if end is None:
            return
        ends.append(end.tolist())
    warnings.warn(
        f"the saddle {s.tolist()} is not next to the minimum {a.tolist()}: from it steepest "
        f"descent leads to {ends[0]} and {ends[1]}. Kramers' law is that of the saddle of a well, "
        "or of the highest one on a way over wells that are shallow beside it; else take "
        "mean_first_passage_time",
        AccuracyWarning,
        stacklevel=3,
    )


def _descending(potential: Any, s: Array, reach: float) -> Array:
    """A small step from the saddle along its descending direction."""
    way = np.linalg.eigh(hessian(potential.grad, s[None])[0])[1][:, 0]
    return np.asarray(_ASIDE * reach * way)


def _descended(
    potential: Any, s: Array, step: Array, a: Array, bottom: Array, pass_: Array
) -> Array | None:
    """Where steepest descent from beside the saddle ends, None for a."""
    from scipy.integrate import solve_ivp

    near = _ARRIVED * float(np.linalg.norm(s - a))

    def slope(_: float, x: Array) -> Array:
        down: Array = -np.asarray(potential.grad(x[None]), dtype=float)[0]
        return down

    def arrives(_: float, x: Array) -> float:
        return float(np.linalg.norm(x - a)) - near

    arrives.terminal = True  # type: ignore[attr-defined]
    long = _RELAXED * (1 / abs(float(pass_[0])) + 1 / float(bottom[0]))
    way = solve_ivp(slope, (0.0, long), s + step, "LSODA", events=arrives, rtol=1e-6, atol=near / 9)
    end: Array = way.y[:, -1]
    return None if way.status == 1 or arrives(0.0, end) <= 0 else end


def passage_integral(
    potential: Callable[[Array], Any], beta: float, lower: float, start: float, target: float
) -> float:
    """Mean time of dX = -V' dt + sqrt(2/beta) dB from ``start`` up to ``target`` on a line.

    beta ∫_start^target e^{beta V(y)} ∫_lower^y e^{-beta V(z)} dz dy with a reflecting wall at
    ``lower``; for the whole line choose it where e^{-beta V} is negligible. Gauss-Legendre panels,
    doubled until the logarithm changes by less than 1e-12; exponents are taken relative to their
    largest, so that beta may be large. Mathematics 1.14.
    """
    before = np.inf
    for panels in (16, 32, 64, 128, 256, 512):
        now = _log_passage(potential, beta, lower, start, target, panels)
        if abs(now - before) < 1e-12 * max(1.0, abs(now)):
            return exp(now)
        before = now
    raise ConvergenceError(f"the passage time to {target:g} does not settle with 512 panels")


def _log_passage(
    f: Callable[[Array], Any], beta: float, lower: float, a: float, b: float, panels: int
) -> float:
    """Its logarithm; the inner integral over whole panels, plus one from the panel's edge to y."""
    edges = np.concatenate([np.linspace(lower, a, panels + 1), np.linspace(a, b, panels + 1)[1:]])
    z, w = np.polynomial.legendre.leggauss(16)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    y = middle[:, None] + half[:, None] * z
    part = (1 + z)[:, None] / 2 * (1 + z) / 2  # of a panel, up to its j-th node
    to_y = edges[:-1, None, None] + 2 * half[:, None, None] * part
    V, inner = np.asarray(f(y[..., None])), np.asarray(f(to_y[..., None]))
    least, most = float(V.min()), float(V[panels:].max())
    weight = np.exp(-beta * (V - least)) @ w * half
    up_to = np.concatenate([[0.0], np.cumsum(weight)[:-1]])[:, None]
    share = (1 + z) / 2 * half[:, None]
    up_to = up_to + share * (np.exp(-beta * (inner - least)) @ w)
    total = (np.exp(beta * (V[panels:] - most)) * up_to[panels:]) @ w @ half[panels:]
    return log(beta * float(total)) + beta * (most - least)


def _eigenvalues(potential: Any, point: Array, reach: float) -> Array:
    """Eigenvalues of ∇²V, by differences of ∇V, at a point where ∇V vanishes."""
    bends = hessian(potential.grad, point[None])[0]
    slope = np.asarray(potential.grad(point))
    off = float(np.abs(slope).max())
    if off > 1e-3 * reach * np.abs(bends).max():
        raise ValueError(
            f"{point.tolist()} is not a critical point: expected ∇V = 0, got {slope.tolist()}"
        )
    out: Array = np.linalg.eigvalsh(bends)
    return out
