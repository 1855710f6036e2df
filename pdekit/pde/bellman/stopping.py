"""Implicit steps of obstacle problems: policy iteration whose policies also stop.

A step from U solves min(u - dt F(u) - U, u - ψ) = 0 in every cell, F the right-hand side of the
equation, which is the least over controls of what is linear with an M-matrix, or linear itself.
A policy says for each cell how it is controlled, and whether it stops, as it does where ψ is the
larger of the two; each is a linear equation of a Markov chain that is absorbed where it stops.
Newton's method on the minimum is Howard's algorithm, and for linear F the primal-dual active set
method (Hintermüller, Ito and Kunisch 2003; Bokanowski, Maroso and Zidani 2009).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.pde.bellman.hamiltonian import FittedHamiltonian
from pdekit.pde.bellman.resolvent import Resolvent
from pdekit.pde.discrete.generators import Generator, neighbours
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.supply import supply
from pdekit.pde.kernels.sparse_lu import factorised

GAMMA = 1 - sqrt(0.5)
_MOST_POLICIES = 2000  # of a step; three or four suffice where the last step's are close
_SETTLED = 1e-13  # relative change of the value at which policy iteration stops
# Control and stopping are changed together, which is Newton's method, and may not converge as one
# is for the least and the other for the most: after so many, stopping waits for control
# (Hoffman and Karp 1966), which does
_TOGETHER, _NEARLY = 50, 1e-10
_GROWTH = 0.25  # rates of growth times T / N: the longest step, 2 T / N, takes half of one
_LOOKS = 17  # times at which rates are looked at


class RightHandSide(Protocol):
    """F of u_t = F(u) at one time."""

    linear: ClassVar[bool]

    def linearised(self, u: Array) -> tuple[Array, Generator]:
        """F(u), and F'(u)."""


@dataclass(frozen=True, eq=False)
class Expectation:
    """F(u) = L u + s."""

    generator: Generator
    source: Array | float
    linear: ClassVar[bool] = True

    def linearised(self, u: Array) -> tuple[Array, Generator]:
        return self.generator.backward(u) + self.source, self.generator


@dataclass(frozen=True, eq=False)
class Controlled:
    """F(u) = 𝓕(u) + ℓ."""

    hamiltonian: FittedHamiltonian
    cost: Array | float
    linear: ClassVar[bool] = False

    def linearised(self, u: Array) -> tuple[Array, Generator]:
        rate, generator = self.hamiltonian.linearised(u)
        return rate + self.cost, generator


def right_hand_side(problem: Problem) -> Callable[[float], RightHandSide]:
    """t -> F at the time t of the equation."""
    at = _expectation(problem) if problem.equation.linear else _controlled(problem)
    if problem.time_dependent:
        return at
    still = at(0.0)
    return lambda _: still


def _expectation(problem: Problem) -> Callable[[float], RightHandSide]:
    def at(t: float) -> RightHandSide:
        added = supply(problem, t) if problem.equation.supplied else None
        return Expectation(problem.generator(t), 0.0 if added is None else added)

    return at


def _controlled(problem: Problem) -> Callable[[float], RightHandSide]:
    equation, grid = problem.equation, problem.grid
    if not equation.controlled:  # local entropy: no drift, at twice the inverse temperature
        smoothing = FittedHamiltonian(np.zeros(grid.shape), 2 * equation.beta, grid)
        return lambda _: Controlled(smoothing, 0.0)

    def made(t: float) -> FittedHamiltonian:
        return FittedHamiltonian(problem.potential(t), equation.beta, grid)

    if checks.time_dependent(equation.potential):
        return lambda t: Controlled(made(t), problem.running_cost(t))
    fitted = made(0.0)
    return lambda t: Controlled(fitted, problem.running_cost(t))


class StoppingSteps:
    """U -> u over a time dt, kept above the obstacle.

    Of order one: the implicit Euler step Φ, monotone in U and ψ. Of order two: SDIRK2,
    u = Φ_γ((1 + √2) Φ_γ(U) - √2 U), both stages kept above the obstacle of their time.
    """

    def __init__(self, problem: Problem, order: int) -> None:
        self.problem, self.order = problem, order
        self.at = right_hand_side(problem)
        self.policies = 0  # solved so far

    def __call__(self, u: Array, begin: float, dt: float) -> Array:
        if self.order == 1:
            return self.euler(u, begin + dt, dt, u)
        first = self.euler(u, begin + GAMMA * dt, GAMMA * dt, u)
        rate = (first - u) / GAMMA
        return self.euler(u + (1 - GAMMA) * rate, begin + dt, GAMMA * dt, u + rate)

    def euler(self, value: Array, t: float, dt: float, guess: Array) -> Array:
        """Φ: the step of length dt that ends at t, by policies from that of ``guess``."""
        side, obstacle = self.at(t), self.problem.obstacle(t)
        u, size = guess, inf  # of the last change, relative to the value
        before: NDArray[np.bool_] | None = None
        for k in range(_MOST_POLICIES):
            rate, generator = side.linearised(u)
            going_on = u - dt * rate - value
            held = not side.linear and k >= _TOGETHER and size > _NEARLY
            goes = going_on <= u - obstacle if before is None or not held else before
            if side.linear and before is not None and np.array_equal(goes, before):
                return np.maximum(u, obstacle)
            residual = np.where(goes, going_on, u - obstacle)
            change = stopped_resolvent(generator, dt, goes, residual)
            u = np.where(goes, u - change, obstacle)
            self.policies += 1
            size = float(np.abs(change).max()) / max(float(np.abs(u).max()), 1e-300)
            if size <= _SETTLED and not held:
                return np.maximum(u, obstacle)
            before = goes
        raise ConvergenceError(
            f"{_MOST_POLICIES} policies still change the value by {size:.2g} of itself in a step "
            f"of {dt:.2g}; use ActiveSet with more steps, or fewer cells"
        )


def stopped_resolvent(generator: Generator, dt: float, goes: NDArray[np.bool_], b: Array) -> Array:
    """(1 - dt L)^-1 b, with L = 0 in the cells that do not go on.

    Losses are divided out row by row: (1 + dt k) - dt L is (1 + dt k) (1 - dt L / (1 + dt k)).
    """
    scale, loss = goes.astype(float), generator.loss
    if loss is not None:
        if not dt * loss.min() > -1:
            raise ConvergenceError(
                f"a step of {dt:.2g} is too long for growth at the rate {-loss.min():.3g}; use "
                f"ActiveSet with more steps"
            )
        scale /= 1 + dt * loss
        b = np.where(goes, scale * b, b)
    made = _scaled(generator, scale)
    if not made.oblique:
        return Resolvent(made, dt)(b)
    out: Array = factorised(made.matrix(), dt).solve(b.ravel()).reshape(b.shape)
    return out


def _scaled(generator: Generator, scale: Array) -> Generator:
    """The generator without losses, the rates out of each cell times a scale."""
    up, down = [], []
    for offset, there, back, _ in generator.directions():
        here, beyond = neighbours(scale, offset, generator.grid.periodic)
        up.append(there * here)
        down.append(back * beyond)
    return replace(generator, up=tuple(up), down=tuple(down), exits=(), killing=None)


def steps_of_growth(problem: Problem, until: float) -> int:
    """How many steps the largest rate of growth asks for; none without."""
    if not problem.equation.linear or problem.equation.killing is None:
        return 0
    times = np.linspace(0, until, _LOOKS) if problem.time_dependent else np.zeros(1)
    losses = [problem.generator(float(t)).loss for t in times]
    least = min(0.0 if loss is None else float(loss.min()) for loss in losses)
    return ceil(max(-least, 0.0) * until / _GROWTH)


@dataclass
class Graded:
    """A march whose steps grow with time: k-th of N ends at T (k/N)², as kinks need at the start.

    Output times are among the ends: an interval has its share of the N, rounded up.
    """

    steps: StoppingSteps
    count: int
    until: float
    u: Array
    t: float = 0.0
    taken: int = 0

    def to(self, t: float) -> Array:
        """u at the time t."""
        first, last = sqrt(self.t / self.until), sqrt(t / self.until)
        parts = max(1, int(np.ceil(self.count * (last - first) * (1 - 1e-12))))
        ends = self.until * np.linspace(first, last, parts + 1) ** 2
        ends[0], ends[-1] = self.t, t
        for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            self.u = self.steps(self.u, begin, end - begin)
        self.t, self.taken = t, self.taken + parts
        return self.u
