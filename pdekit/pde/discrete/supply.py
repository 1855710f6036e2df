"""What is added per time: u_t = A u + s, by any scheme for u_t = A u.

The part of the supply, V(h) = ∫_0^h exp(τ A) s dτ, is built up by doubling,

    V(2 h) = V(h) + exp(h A) V(h),

from an h so short that Gauss quadrature is exact to rounding: all terms are >= 0 where s is, no
step is taken that the scheme does not take for densities anyway, and no inverse of A is needed,
which need not exist.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import ceil, exp, log2
from typing import Any, NamedTuple

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ResolutionWarning
from pdekit.pde.discrete import cell_means, drift_diffusion
from pdekit.pde.discrete.generators import Arrivals
from pdekit.pde.discrete.growth import least_rate, without_growth
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate_rate
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import moving
from pdekit.pde.kernels.sparse_lu import inverted
from pdekit.walls import lets_in, supplies

_SHORT = 0.5  # jumps within the first interval: there four nodes err by less than 1e-12
_NODES = 4
_STRICTER = 4.0  # errors of the doublings add up to a few times that of one
_PART = 0.05  # share of what is built up in the end from which a difference to it is exact enough
_MOST = 1 << 17  # cells up to which that takes about a second
_SPREAD = (
    4.0  # exchanges of the cell beside a held wall with it, from which its influx is right to 3 %
)
_EQUAL = 1e-12  # relative: times between outputs that count as equal


class Sized(NamedTuple):
    """A field, and a bound on its error: of its mass, or the greatest of a function."""

    field: Array
    error: float


def supply(problem: Problem) -> Array | None:
    """The density, or value, that is added per time in each cell; None if nothing is."""
    equation, parts = problem.equation, []
    if equation.source is not None:
        parts.append(evaluate_rate(equation.source, problem.grid, "the source"))
    if equation.walls is not None:
        parts.append(drift_diffusion.wall_supply(_at_start(problem), problem.forward))
    total = sum(parts[1:], parts[0]) if parts else None
    return total if total is not None and total.any() else None


def wall_arrivals(problem: Problem) -> Arrivals:
    """What the walls add per time, along every edge: see ``Generator.current``."""
    if not supplies(problem.equation.walls):
        return ()
    return drift_diffusion.wall_arrivals(_at_start(problem), problem.forward)


def _at_start(problem: Problem) -> drift_diffusion.Coefficients:
    return replace(problem.coefficients(0.0), values=problem.potential())


def require_supply(problem: Problem) -> None:
    """``ValueError`` for a supply that the equation cannot have."""
    equation = problem.equation
    if problem.time_dependent:
        raise ValueError(
            "a source, Inflow or Held walls go with coefficients that are fixed in time; got "
            f"{checks.shown(moving(equation)[0])}, which has at(t): solve from one output time to "
            "the next with its at(t)"
        )
    added = supply(problem)
    if problem.is_density and added is not None and added.min() < 0:
        raise ValueError(
            "what is supplied to a density must be >= 0 everywhere (a source, or the value of a "
            f"Held wall); got as little as {added.min():.3g} per time. What takes is killing=..., "
            "a rate"
        )
    if not problem.forward and lets_in(equation.walls):
        raise ValueError(
            "Inflow lets a density in; the expectation of one particle is as it is between walls "
            "that reflect: use False in its place"
        )


def report(problem: Problem, times: Array, stacklevel: int) -> None:
    """Warnings of killing and sources between the cells, and of walls held for too short a time."""
    equation, grid = problem.equation, problem.grid
    for what in ("killing", "source"):
        given = getattr(equation, what, None)
        if callable(given) and not checks.time_dependent(given):
            values = evaluate_rate(given, grid, f"the {what}")
            cell_means.report_rate(what, given, values, grid, stacklevel + 1)
    if problem.is_density and equation.supplied and equation.walls is not None:
        _report_held(problem, times, stacklevel + 1)


def _report_held(problem: Problem, times: Array, stacklevel: int) -> None:
    """What a wall holds spreads as sqrt(t), but out of half a cell it comes in proportion to t."""
    rate = drift_diffusion.fastest_held(_at_start(problem))
    first = float(times[times > 0].min(initial=np.inf))
    if not (rate > 0 and first * rate < _SPREAD):
        return
    finer = int(np.ceil(np.sqrt(_SPREAD / (first * rate))))
    cells = tuple(finer * n for n in problem.grid.cells)
    warnings.warn(
        f"by t = {first:.3g} what a Held wall lets in has not passed the cell beside it, so that "
        f"it is too little: take times from {_SPREAD / rate:.2g} on, or about {cells} cells "
        f"instead of {problem.grid.cells}",
        ResolutionWarning,
        stacklevel=stacklevel,
    )


class Supplied:
    """The field from one time to another, by a scheme for what is not supplied."""

    def __init__(self, problem: Problem, scheme: Any, stats: Stats) -> None:
        self.problem, self.grid, self.stats = problem, problem.grid, stats
        self.scheme = scheme.stricter(_STRICTER) if hasattr(scheme, "stricter") else scheme
        killing = problem.equation.killing
        self.least = 0.0 if killing is None else least_rate(killing, self.grid)
        self.bare = replace(without_growth(problem.equation, self.grid), source=None)
        self.rate = supply(problem)
        self.fastest = float(problem.generator().exit_rate().max())
        self.built: tuple[float, Sized] | None = None
        self.settled = self._settled()
        self.error, self.largest = 0.0, self.size(problem.values)

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """exp(h A) u + V(h), h the time between."""
        span, before = end - begin, self.stats["steps"]
        kept, more = self.propagated(u, span), self.added(span)
        out = kept.field + more.field
        self.error = self.error * exp(max(-self.least * span, 0.0)) + kept.error + more.error
        self.largest = max(self.largest, self.size(out))
        self.stats["error_estimate"] = float(self.error / max(self.largest, 1e-300))
        steps, self.stats["steps"] = self.stats["steps"] - before, before
        return out, steps

    def size(self, u: Array) -> float:
        """What an error is measured in: the mass, or the maximum of functions."""
        return float(self.grid.integrate(u) if self.problem.is_density else np.abs(u).max())

    def _settled(self) -> Array | None:
        """What is built up in the end, where all that is supplied is lost again."""
        generator = self.problem.generator()
        loss = generator.loss
        if self.rate is None or loss is None or loss.min() < 0 or self.rate.size > _MOST:
            return None
        matrix = generator.matrix()
        try:
            lu = inverted(matrix.T if self.problem.forward else matrix)
        except RuntimeError:  # singular: some cells keep what they get
            return None
        out: Array = lu.solve(self.rate.ravel()).reshape(self.rate.shape)
        # behind a barrier the rounding of the factors is larger than what is lost
        wrong_sign = self.rate.min() >= 0 and out.min() < 0
        return out if np.isfinite(out).all() and not wrong_sign else None

    def added(self, span: float) -> Sized:
        """V(span), by doubling; the last one is kept, for equal times between outputs."""
        if self.rate is None:
            return Sized(np.zeros(self.grid.shape), 0.0)
        if self.built is None or abs(self.built[0] / span - 1) > _EQUAL:
            settled = self._settling(span)
            self.built = span, settled or self._doubled(self.rate, span)
        return self.built[1]

    def _settling(self, span: float) -> Sized | None:
        """V = U - exp(span A) U from what is built up in the end, A U = -s; None if there is none,

        or if V is so small a part of U that the difference is worse than the sum.
        """
        if self.settled is None:
            return None
        later = self.propagated(self.settled, span)
        out = self.settled - later.field
        if not self.size(out) > _PART * self.size(self.settled):
            return None
        if self.problem.is_density:
            out = np.maximum(out, 0.0)
        return Sized(out, later.error)

    def _doubled(self, rate: Array, span: float) -> Sized:
        halvings = ceil(log2(max(span * self.fastest / _SHORT, 1.0)))
        h = span / 2**halvings
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        parts = [self.propagated(rate, h * (1 + x) / 2) for x in nodes]
        out = h / 2 * sum(w * part.field for w, part in zip(weights, parts, strict=True))
        error = h / 2 * sum(w * part.error for w, part in zip(weights, parts, strict=True))
        for _ in range(halvings):
            later = self.propagated(out, h)
            error *= 1 + exp(max(-self.least * h, 0.0))
            out, error, h = out + later.field, error + later.error, 2 * h
        return Sized(out, float(error))

    def propagated(self, u: Array, span: float) -> Sized:
        """exp(span A) u, scaled so that no field is too small for the scheme."""
        size = float(np.abs(u).max())
        if not size > 0:
            return Sized(np.zeros_like(u), 0.0)
        problem = Problem(self.bare, self.grid, u / size, until=span)
        stats: Any = {"steps": 0}
        factor = size * exp(-self.least * span)
        out = self.scheme.start(problem, stats)(span) * factor
        self.stats["steps"] += stats["steps"]
        error = stats.get("error_estimate", 0.0) * self.size(problem.values) * factor
        return Sized(out, error)
