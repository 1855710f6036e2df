"""Implicit time stepping of linear equations with a user-defined step."""

import warnings
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.pde.discrete.bounds import bounds, enforce_bounds
from pdekit.pde.discrete.march import March
from pdekit.pde.discrete.problem import Problem, refused_if_moving
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import LINEAR
from pdekit.pde.kernels.sparse_lu import factorised

GAMMA = 1 - sqrt(0.5)
# R(z) = ONCE / (1 - GAMMA z) + TWICE / (1 - GAMMA z)^2: the L-stable second-order SDIRK method
ONCE, TWICE = -sqrt(2), 1 + sqrt(2)
_NEGLIGIBLE = 1e-9  # of the data: smaller violations of the bounds are clipped
# |R(z) - e^z| over that of (z / (1 - GAMMA z))^3, and of two backward Euler steps of half the
# length over (z / (1 - z/2))^2: the quotients are Laplace transforms of measures of this total
# variation, so the constants hold in every norm in which e^z is a contraction
_SECOND_ORDER, _FIRST_ORDER = 0.135, 0.75
_MOST_STEPS = 10_000_000
# Of the data: error above which a warning is given, except for that of the first four
# steps (for rough data it decays a hundredfold), and unless the solution is stationary: the last
# step changes less, and the mean of a function is not lost to rounding
_ROUGH = (2, 3, 4)
_DOUBTFUL, _MOVING, _UNIT = 0.1, 1e-3, 2.2e-16


class ImplicitStats(Stats, total=False):
    """Also how many steps were of which kind, and up to which dt the sign is kept for certain."""

    second_order_steps: int
    backward_euler_steps: int
    sign_bound: float


@dataclass(frozen=True)
class Implicit:
    """L-stable second-order steps (SDIRK2) while they respect the bounds, else two backward Euler
    steps.

    ``dt`` is the longest step; every interval between output times is divided equally.
    The step is given by the user, without a tolerance; guaranteed are mass, sign (functions: the
    range of the data) and Gibbs state to rounding at any step, and ``.stats["error_estimate"]``,
    which bounds the error in time (L1 over the mass; functions: over the largest value of the
    data), of order dt^2 for smooth data and of order one if dt is far too long; an
    ``AccuracyWarning`` says where it is above a tenth of the data beyond the effect of rough
    data, unless the solution is stationary. It sums
    0.135 |(dt A)^3 (1 - γ dt A)^-3 u| over the steps, evaluated in the 1st, 2nd, 4th, 8th, ...
    step of an interval, between which it decays.

    No linear method of order two keeps the sign for every step (Bolley and Crouzeix 1978): this
    one provably does while dt * exit rate <= 1 + sqrt(2), and in practice far beyond on smooth
    densities. What is out of bounds by less than 1e-9 of the data (a far tail) is set to them and
    the mass restored; a step that leaves more is replaced by two backward Euler steps
    of half its length, whose matrices are inverse-positive at any step. ``.stats`` counts both
    kinds (``second_order_steps``, ``backward_euler_steps``), and has the most negative value met
    (``negative_before_clipping``) and the ``sign_bound`` on dt.

    One and two dimensions, unsplit, by sparse LU: the plain form beside ``Exponential`` and
    ``Split``. Raises ``ConvergenceError`` for more than ten million steps.
    """

    dt: float

    solves = LINEAR

    def __post_init__(self) -> None:
        checks.positive("dt", self.dt)

    def refuses(self, problem: Problem) -> str:
        """The reason why it cannot solve the problem, and what can; "" if it can."""
        return refused_if_moving(problem, "Implicit")

    def start(self, problem: Problem, stats: ImplicitStats) -> March:
        return March(problem.values, _Run(self.dt, problem, stats).over, stats)


class _Run:
    """Steps of at most dt, and what is known of their error."""

    def __init__(self, dt: float, problem: Problem, stats: ImplicitStats) -> None:
        self.dt, self.problem, self.stats = dt, problem, stats
        generator = problem.generator()
        matrix = generator.matrix()
        self.matrix = (matrix.T if problem.forward else matrix).tocsc()
        self.fastest = float(generator.exit_rate().max())
        self.steps, self.error, self.rough, self.said = 0, 0.0, 0.0, False
        stats["sign_bound"] = (1 + sqrt(2)) / self.fastest if self.fastest > 0 else np.inf
        stats["second_order_steps"] = stats["backward_euler_steps"] = 0
        stats["negative_before_clipping"] = stats["error_estimate"] = 0.0

    def over(self, u: Array, begin: float, end: float) -> tuple[Array, int]:
        """u from one time to another."""
        span = end - begin
        if not span / self.dt < _MOST_STEPS:
            raise ConvergenceError(
                f"an interval of {span:g} takes more than ten million steps of dt = "
                f"{self.dt:g}; use a longer dt, or the default scheme, which chooses its own"
            )
        count = max(1, ceil(span / self.dt * (1 - 1e-12)))
        stepper = _Stepper(self.matrix, span / count, self.problem, self.stats)
        u = before = u.ravel()
        for k in range(count):
            before, (u, error) = u, stepper.step(u, k)
            self.steps, self.error = self.steps + 1, self.error + error
            if self.steps in _ROUGH:
                self.rough = self.error
        self.stats["error_estimate"] = self.error
        self._report(stepper, u - before, end)
        return u.reshape(self.problem.grid.shape), count

    def _report(self, stepper: "_Stepper", last: Array, t: float) -> None:
        """Say once where the error is large for more than the roughness of the data."""
        drowned = not self.problem.is_density and _UNIT * self.fastest * stepper.dt > _MOVING
        lasting = self.error - (0.0 if drowned else self.rough)
        moving = drowned or stepper.size(last) > _MOVING
        if moving and lasting > _DOUBTFUL and not self.said:
            self.said = True
            warnings.warn(
                f"at t = {t:g} steps of dt = {self.dt:g} are known to err by less than "
                f"{self.error:.2g} of the data only; use a shorter dt, or the default scheme, "
                "which chooses its own",
                AccuracyWarning,
                stacklevel=8,
            )


class _Stepper:
    """Steps of one length; the LU factors of each kind are made when first needed."""

    def __init__(self, matrix: Any, dt: float, problem: Problem, stats: ImplicitStats) -> None:
        self.matrix, self.dt, self.problem, self.stats = matrix, dt, problem, stats
        self.factors: dict[float, Any] = {}
        self.local = 0.0  # latest error estimate of a second-order step

    def solve(self, tau: float, b: Array) -> Array:
        """(1 - tau A)^-1 b."""
        if tau not in self.factors:
            self.factors[tau] = factorised(self.matrix, tau)
        return np.asarray(self.factors[tau].solve(b))

    def step(self, u: Array, k: int) -> tuple[Array, float]:
        """The k-th of an interval, and a bound on its error."""
        gamma = GAMMA * self.dt
        once = self.solve(gamma, u)
        twice = self.solve(gamma, once)
        new: Array = ONCE * once + TWICE * twice
        if _out_of_bounds(new, u, self.problem):
            half = self.solve(self.dt / 2, u)
            new = self.solve(self.dt / 2, half)
            # (z / (1 - z/2))^2 = 4 (1 / (1 - z/2) - 1)^2
            error = 4 * _FIRST_ORDER * self.size(new - 2 * half + u)
            self.stats["backward_euler_steps"] += 1
        else:
            if k & (k - 1) == 0:
                # (z / (1 - γz))^3 = ((1 / (1 - γz) - 1) / γ)^3
                third = self.solve(gamma, twice) - 3 * twice + 3 * once - u
                self.local = _SECOND_ORDER / GAMMA**3 * self.size(third)
            error = self.local
            self.stats["second_order_steps"] += 1
        new, clipped = enforce_bounds(self.problem, new, u, self.stats)
        return new, error + clipped

    def size(self, u: Array) -> float:
        """A difference relative to the data, in the norm of the problem."""
        return self.problem.distance(u, np.zeros_like(u))


def _out_of_bounds(new: Array, u: Array, problem: Problem) -> bool:
    """Whether a step has non-negligible values below zero, or beyond the data."""
    if problem.is_density:
        return bool(-new[new < 0].sum() > _NEGLIGIBLE * u.sum())
    low, high = bounds(problem)
    beyond = max(low - float(new.min()), float(new.max()) - high)
    return beyond > _NEGLIGIBLE * max(high, -low)
