"""Implicit time stepping of linear equations with a step of the user's choice."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf, sqrt
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.pde.equations import BackwardKolmogorov, FokkerPlanck, Heat
from pdekit.pde.problem import Problem
from pdekit.pde.schemes.exponential import tidy

Array = NDArray[np.float64]
GAMMA = 1 - sqrt(0.5)
# R(z) = ONCE / (1 - GAMMA z) + TWICE / (1 - GAMMA z)^2: the L-stable second-order SDIRK method
ONCE, TWICE = -sqrt(2), 1 + sqrt(2)
_NEGLIGIBLE = 1e-9  # of the mass: negative tails of this weight are set to zero


@dataclass(frozen=True)
class Implicit:
    """L-stable second-order steps (SDIRK2) while they keep the sign, else two backward Euler ones.

    ``dt`` is the longest step; every interval between output times is cut into equal ones. No
    linear method of order two keeps the sign for every step (Bolley and Crouzeix 1978): this one
    does for certain while dt * exit rate <= 1 + sqrt(2), and in practice far beyond on smooth
    densities. Negative entries of less than 1e-9 of the mass together (a far tail) are set to
    zero and the mass restored; a step that leaves more is taken again as two backward Euler steps
    of half its length, whose matrices are inverse-positive at any step. ``.stats`` counts both
    kinds (``second_order_steps``, ``backward_euler_steps``), and has the most negative value met
    (``negative_before_clipping``) and the ``sign_bound`` on dt.

    One and two dimensions, unsplit, by sparse LU: the plain form beside ``Exponential`` and
    ``Split``. Mass and the Gibbs state are kept to rounding.
    """

    dt: float

    solves = (FokkerPlanck, BackwardKolmogorov, Heat)

    def __post_init__(self) -> None:
        if not isinstance(self.dt, Real):
            raise TypeError(f"dt is a time step, a number; got {self.dt!r}")
        if not 0 < self.dt < inf:
            raise ValueError(f"dt must be positive and finite, got {self.dt}")

    def start(self, problem: Problem, stats: dict[str, Any]) -> Callable[[float], Array]:
        if problem.moves:
            raise ValueError(
                "Implicit takes a potential fixed in time; use the default scheme, Exponential() "
                "in one dimension and Split() in two"
            )
        generator = problem.generator()
        matrix = generator.matrix()
        matrix = (matrix.T if problem.forward else matrix).tocsc()
        stats.update(second_order_steps=0, backward_euler_steps=0, negative_before_clipping=0.0)
        stats["sign_bound"] = (1 + sqrt(2)) / float(generator.exit_rate().max())
        state: dict[str, Any] = {"u": problem.values.ravel(), "t": 0.0}

        def advance(t: float) -> Array:
            steps = ceil((t - state["t"]) / self.dt * (1 - 1e-12))
            step = _stepper(matrix, (t - state["t"]) / steps, problem, stats)
            for _ in range(steps):
                state["u"] = step(state["u"])
            state["t"] = t
            return state["u"].reshape(problem.grid.shape)

        return advance


def _stepper(
    matrix: Any, dt: float, problem: Problem, stats: dict[str, Any]
) -> Callable[[Array], Array]:
    """One step of length dt; the LU factors of each kind are made when first needed."""
    from functools import cache

    from scipy.sparse import eye_array
    from scipy.sparse.linalg import splu

    one = eye_array(matrix.shape[0], format="csc")

    @cache
    def lu(tau: float) -> Any:
        return splu((one - tau * matrix).tocsc())

    def step(u: Array) -> Array:
        once = lu(GAMMA * dt).solve(u)
        new: Array = ONCE * once + TWICE * lu(GAMMA * dt).solve(once)
        stats["steps"] += 1
        if problem.is_density and -new[new < 0].sum() > _NEGLIGIBLE * u.sum():
            new = lu(dt / 2).solve(lu(dt / 2).solve(u))
            stats["backward_euler_steps"] += 1
        else:
            stats["second_order_steps"] += 1
        return tidy(new, u if problem.conserves else new, problem.is_density, stats)

    return step
