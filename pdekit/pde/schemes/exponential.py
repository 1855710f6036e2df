"""Exact in time for linear equations in one dimension: the exponential of the generator."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.errors import ConvergenceError
from pdekit.pde.equations import BackwardKolmogorov, FokkerPlanck, Heat
from pdekit.pde.generators import Generator
from pdekit.pde.problem import Problem
from pdekit.pde.rational import exponential_poles

Array = NDArray[np.float64]
_MOST_PARTS = 4096
# Error of the rational approximation on the negative axis, 3e-13, with as much again for rounding
_RATIONAL = 6e-13


@dataclass(frozen=True)
class Exponential:
    """rho(t) = exp(t L^T) rho_0 (or exp(t L) u_0) by a 14-pole rational approximation.

    No time step: one sweep over the cells serves any t. The approximation is best on the negative
    real axis (3e-13), and between two walls the generator is self-adjoint with the weight of its
    Gibbs state pi: one sweep errs by at most 3e-13 (sum rho_0^2 / pi)^(1/2) of the mass. Where that
    is not below ``rtol`` (data far up a steep potential: the generator is then far from normal),
    or says nothing (a periodic axis), the interval is cut in 2, 4, ... parts until halving changes
    the result by less than ``rtol`` of its L1 norm (functions: of the largest value of the data,
    and the bound is (sum pi u_0^2 / min pi)^(1/2)). For a potential that
    changes in time the parts are steps of the commutator-free Magnus method of order four, chosen
    by step doubling so that the local errors sum to less than ``rtol_moving``; no step crosses one
    of the ``potential.times`` between which such a potential is linear in time.

    Keeps mass and the Gibbs state to rounding; entries below zero (never beyond ``rtol``) are set
    to zero and the mass restored; ``.stats`` has the most negative value met.
    Raises ``ConvergenceError`` when 4096 parts do not reach the tolerance.
    """

    rtol: float = 1e-10
    rtol_moving: float = 1e-5

    solves = (FokkerPlanck, BackwardKolmogorov, Heat)

    def __post_init__(self) -> None:
        for name in ("rtol", "rtol_moving"):
            if not 1e-13 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [1e-13, 1), got {getattr(self, name)}")

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        if problem.grid.dim != 1:
            raise ValueError(
                "Exponential works in one dimension; use schemes.Split() in two (the default)"
            )
        stats.update(negative_before_clipping=0.0, error_estimate=0.0)
        state: dict[str, Any] = {"u": problem.values, "t": 0.0}
        march = self._moving if problem.moves else self._fixed
        still = None if problem.moves else problem.generator()

        def advance(t: float) -> Array:
            state["u"] = march(problem, still, state["u"], state["t"], t, stats)
            state["t"] = t
            return state["u"]

        return advance

    def _fixed(
        self, problem: Problem, still: Any, u: Array, t0: float, t1: float, stats: Any
    ) -> Array:
        coarse, parts = propagate(still, u, t1 - t0, problem.is_density), 1
        change = _RATIONAL * amplification(still, u, problem.is_density)
        fine = coarse
        while not change <= self.rtol:
            parts *= 2
            fine = u
            for _ in range(parts):
                fine = propagate(still, fine, (t1 - t0) / parts, problem.is_density)
            change = problem.distance(fine, coarse)
            if change > self.rtol and parts >= _MOST_PARTS:
                raise ConvergenceError(
                    f"the exponential over [{t0:g}, {t1:g}] changed by {change:.2g} when its "
                    f"{parts // 2} parts were halved, above rtol={self.rtol:g}; raise rtol or "
                    "ask for output at more times"
                )
            coarse = fine
        stats["steps"] += parts
        stats["error_estimate"] += float(change)
        return tidy(fine, u if problem.conserves else fine, problem.is_density, stats)

    def _moving(
        self, problem: Problem, _: Any, u: Array, t0: float, t1: float, stats: Any
    ) -> Array:
        breaks = [t for t in problem.kinks if t0 < t < t1]
        step = (t1 - t0) / 16
        for start, stop in pairwise([t0, *breaks, t1]):
            u, step = self._smooth_piece(problem, u, (start, stop), step, t1 - t0, stats)
        return u

    def _smooth_piece(
        self, problem: Problem, u: Array, piece: tuple[float, float], step: float, span: float,
        stats: Any,
    ) -> tuple[Array, float]:  # fmt: skip
        """Adaptive steps over an interval in which the potential is smooth in time."""
        t, end = piece
        while t < end:
            now = min(step, end - t)
            error, halves = np.inf, None
            whole = _magnus(problem, u, t, now)
            half = _magnus(problem, u, t, now / 2)
            if whole is not None and half is not None:
                halves = _magnus(problem, half, t + now / 2, now / 2)
            if whole is not None and halves is not None:
                error = problem.distance(halves, whole) / 15
            allowed = self.rtol_moving * now / span
            if halves is not None and error <= allowed:
                kept = u if problem.conserves else halves
                u = tidy(halves, kept, problem.is_density, stats)
                t = end if now >= end - t else t + now
                stats["steps"] += 2
                stats["error_estimate"] += error
            elif now < span * 1e-9:
                raise ConvergenceError(
                    f"at t = {t:g} a step of {now:.2g} still errs by {error:.2g}, above the "
                    f"{allowed:.2g} that rtol_moving={self.rtol_moving:g} leaves it; raise "
                    "rtol_moving or smooth the potential in time"
                )
            # local error of order step^5 against an allowance of order step
            step = now * float(np.clip(0.9 * (allowed / max(error, 1e-300)) ** 0.25, 0.2, 4.0))
        return u, step


# Gauss points and weights of the commutator-free Magnus method of order four (Blanes and Moan 2006)
_GAUSS = sqrt(3) / 6
_FIRST, _SECOND = 0.25 + _GAUSS, 0.25 - _GAUSS


def _magnus(problem: Problem, u: Array, t: float, step: float) -> Array | None:
    """exp(step (b L_1 + a L_2)) exp(step (a L_1 + b L_2)) u, L_k at the Gauss points of the step.

    b is slightly negative; None where that makes a rate negative (the step is then too long).
    """
    early = problem.generator(t + (0.5 - _GAUSS) * step)
    late = problem.generator(t + (0.5 + _GAUSS) * step)
    loss = (_lost(early) + _lost(late)) / 4  # a + b = 1/2 in each of the two stages
    stages = ((_FIRST, _SECOND), (_SECOND, _FIRST))
    for a, b in stages:
        up, down = a * early.up[0] + b * late.up[0], a * early.down[0] + b * late.down[0]
        if min(up.min(), down.min()) < 0:
            return None
        stage = Generator(problem.grid, (up,), (down,))
        u = propagate(stage, u, step, problem.is_density, loss)
    return u


def propagate(
    generator: Generator, u: Array, t: float, forward: bool, kill: Array | float = 0.0
) -> Array:
    """exp(t A) u in one sweep of the rational approximation, A = L^T (forward) or L, minus kill."""
    poles, residues = exponential_poles()
    from pdekit.pde.tridiagonal import rational_exponential

    lost = np.broadcast_to(np.asarray(kill + _lost(generator), dtype=float), u.shape)
    up, down = generator.up[0], generator.down[0]
    return rational_exponential(up, down, lost, u, t, forward, poles, residues)


def _lost(generator: Generator) -> Array | float:
    """What absorbing walls take, as a rate per cell."""
    return 0.0 if generator.loss is None else generator.loss


def amplification(generator: Generator, u: Array, forward: bool) -> float:
    """What bounds the relative error of f(A) u over that of f on the spectrum; inf if unknown.

    A is self-adjoint with the weight 1 / pi (the generator: pi), pi_{i+1} / pi_i = up_i / down_i:
    |error| <= |f - exp| |u| in that norm. Cauchy-Schwarz takes it to the L1 norm, relative to that
    of u (to the maximum norm). Where a weight overflows nothing is known.
    """
    if generator.grid.periodic[0] or not u.any():
        return np.inf
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        root = np.empty(u.size)  # pi^(-1/2)
        root[0] = 0.0
        np.cumsum(np.log(generator.down[0] / generator.up[0]) / 2, out=root[1:])
        root = np.exp(root - root.min())
        size, weighted = np.abs(u), u * root if forward else u / root
        norm = float(weighted @ weighted) ** 0.5
        if forward:
            bound = norm * float(np.sum(root**-2.0)) ** 0.5 / float(size.sum())
        else:
            bound = norm * float(root.max()) / float(size.max())
    return bound if np.isfinite(bound) else np.inf


def propagate_plain(
    generator: Generator, u: Array, t: float, forward: bool, kill: Array | float = 0.0
) -> Array:
    """The same sum over poles by sparse LU: the reference of ``propagate``, any dimension."""
    from scipy.sparse import diags_array, eye_array
    from scipy.sparse.linalg import splu

    matrix = generator.matrix()
    lost = np.broadcast_to(kill, u.shape).ravel()
    matrix = (matrix.T if forward else matrix) - diags_array(lost)
    one = eye_array(u.size)
    out = np.zeros(u.size)
    for z, c in zip(*exponential_poles(), strict=True):
        if z.imag > 0:
            lu = splu((t * matrix - z * one).tocsc())
            out += 2 * (c * lu.solve(u.ravel().astype(complex))).real
    return out.reshape(u.shape)


def tidy(u: Array, before: Array, is_density: bool, stats: dict[str, Any]) -> Array:
    """Entries below zero to zero, then the mass of ``before``; functions pass unchanged.

    Where walls absorb, ``before`` is ``u`` itself: the clipped entries are all that is restored.
    """
    if not is_density:
        return u
    stats["negative_before_clipping"] = min(stats["negative_before_clipping"], float(u.min()))
    u = np.maximum(u, 0.0)
    return u * (before.sum() / u.sum())
