"""Exact in time without splitting: shift-and-invert Krylov subspaces of any generator."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.discrete.bounds import enforce_bounds
from pdekit.pde.discrete.krylov_space import LARGEST, SHIFT, Residual, Resolvent, exponential
from pdekit.pde.discrete.long_time import StationaryLimit
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem, refused_if_moving
from pdekit.pde.discrete.propagator import allowance
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import LINEAR

_BASIS = 0.8  # share of the tolerance for the residual, the rest for clipping
_MOST_PARTS = 4096  # steps tried in an output interval
_FACTOR, _EASY = 4, 40  # of two steps' lengths; solves up to which the next step is longer
_SHORTEST, _LEFT = 1e-15, 1e-14  # of the time: no step is shorter, no rest is left
_ROUNDING = 2e-15  # rounding error per jump, from the factors
_LOOSEST = 1e-2  # largest tolerance that is recommended
_LONG = 1e5  # jumps above which, with rounding near rtol, the stationary state is tried
_RESTED = 0.1  # share of rtol for the part that is not stationary


class KrylovStats(Stats, total=False):
    """Also how many systems were solved."""

    solves: int


@dataclass(frozen=True)
class Krylov:
    """exp(t A) u in the space spanned by powers of (I - γ A)^-1 on u; one sparse LU, any stencil.

    For tensor diffusion, whose stencil has too many directions to split. An interval takes one
    factorisation (γ a tenth of its length) and 20 to 60 solves. The approximation v(s) in the basis
    leaves a residual v' - A v that is a scalar function of s times one known vector; since exp(t A)
    is a contraction in L1 (in the maximum norm for functions), its integral bounds the error,
    whatever the spectrum. The basis grows until that is below the share of the interval in ``rtol``
    (L1 over the mass of densities, maximum over that of the data for functions), which holds for
    all output times together. Where 60 vectors are not enough the step is divided by four; later
    ones grow again.
    Entries below zero (never beyond ``rtol``) are set to zero and the mass restored, functions kept
    in the range of their data; that counts as error too. If rounding would exceed the tolerance,
    but by detailed balance and the spectral gap the solution is stationary, the stationary state is
    returned. ``.stats`` has ``error_estimate``, the sum of the bounds, and the most negative value
    met. Memory: the factors, about 30 log2(cells) numbers a cell, and 60.
    Raises ``ConvergenceError`` when 4096 steps do not reach the tolerance.
    Source: van den Eshof and Hochbruck, SIAM J. Sci. Comput. 27 (2006).
    """

    rtol: float = 1e-8

    solves = LINEAR

    def __post_init__(self) -> None:
        checks.within("rtol", self.rtol, 1e-12, 1)

    def stricter(self, factor: float) -> "Krylov":
        """With errors smaller by a factor, as far as it goes."""
        return Krylov(max(self.rtol / factor, 1e-12))

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        return refused_if_moving(problem, "Krylov")

    def start(self, problem: Problem, stats: KrylovStats) -> March:
        return March(problem.values, _Run(self.rtol, problem, stats).over, stats)


class _Run:
    """The resolvent of the generator, and the bound on the error so far."""

    def __init__(self, rtol: float, problem: Problem, stats: KrylovStats) -> None:
        self.rtol, self.problem, self.stats = rtol, problem, stats
        generator = problem.generator()
        matrix = generator.matrix()
        self.rate = float(generator.exit_rate().max())
        self.operator = Resolvent((matrix.T if problem.forward else matrix).tocsc())
        self.rest, self.error = StationaryLimit(generator, problem.forward), 0.0
        stats["negative_before_clipping"] = stats["error_estimate"] = 0.0
        stats["solves"] = 0

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another, or at rest."""
        jumps = self.rate * end
        if jumps > _LONG and _ROUNDING * jumps > _RESTED * self.rtol:
            at_rest = self.rest.after(self.problem.values, end, _RESTED * self.rtol)
            if at_rest is not None:
                self.error = self.stats["error_estimate"] = max(self.error, at_rest[1])
                return at_rest[0], 0
        new, error, steps = self._interval(u, begin, end)
        new, clipped = enforce_bounds(self.problem, new, u, self.stats)
        self.error += error + clipped
        self.stats["error_estimate"] = self.error
        if not self.error <= self.rtol:
            raise ConvergenceError(
                f"at t = {end:g} the error is known to be below {self.error:.2g} "
                f"only, above rtol={self.rtol:g}; {self._advice(end)}"
            )
        return new, steps

    def _advice(self, t: float) -> str:
        """Advice: rounding grows with the jumps, and cannot always be covered by a tolerance."""
        least = _ROUNDING * self.rate * t
        if least <= self.rtol:
            return "raise rtol"
        if least <= _LOOSEST:
            return f"raise rtol to {least:.1g}"
        return (
            f"no rtol helps against the rounding of {self.rate * t:.1g} jumps: ask for a time up "
            f"to {self.rtol / (_ROUNDING * self.rate):.1g}, or, if by then all is at rest, for "
            "pdekit.stationary(equation, grid)"
        )

    def _interval(self, u: Array, begin: float, end: float) -> tuple[Array, float, int]:
        """The field after the interval, its error, up to the share of the tolerance, and steps.

        Rough data and stiff directions need short steps at first, and longer ones later.
        """
        share = allowance(self.rate, self.problem.until or end)
        t, step, total, steps, tried = begin, end - begin, 0.0, 0, 0
        while t < end:
            step, tried = min(step, end - t), tried + 1
            allowed = _BASIS * self.rtol * share(t, step)
            new, error, solves = self._part(u, step, allowed)
            if new is not None:
                u, t, total, steps = new, t + step, total + error, steps + 1
                t = end if end - t < _LEFT * end else t
                step *= _FACTOR if solves <= _EASY else 1
            elif tried >= _MOST_PARTS or step < _SHORTEST * end:
                raise ConvergenceError(
                    f"a Krylov space of {LARGEST} vectors over {step:.2g} still has an "
                    f"error of {error:.2g}, above its share {allowed:.2g} of rtol={self.rtol:g}; "
                    f"{self._advice(end)}"
                )
            else:
                step /= _FACTOR
        return u, total, steps

    def _part(self, u: Array, step: float, allowed: float) -> tuple[Array | None, float, int]:
        """exp(step A) u, a bound on its error, and solves; None if the basis does not suffice."""
        matrix, gamma = self.operator.matrix, SHIFT * step

        def bound(vector: Array, g: Residual) -> float:
            return _bound(self.problem, matrix, vector, gamma, g)

        new, error, solves = exponential(
            lambda b: self.operator.solve(b, gamma), u.ravel(), bound, allowed
        )
        self.stats["solves"] += solves
        return None if new is None else new.reshape(u.shape), error, solves


def _bound(problem: Problem, matrix: Any, vector: Array, gamma: float, g: Residual) -> float:
    """|∫ exp((1 - s) B) g(s) (I - γ A) v ds|, directly or partly integrated by parts."""
    nothing = np.zeros(problem.grid.shape)

    def size(v: Array) -> float:
        return problem.distance(v.reshape(nothing.shape), nothing)

    whole = g.mean * size(vector - gamma * (matrix @ vector))
    return min(whole, (g.mean + SHIFT * g.variation) * size(vector))
