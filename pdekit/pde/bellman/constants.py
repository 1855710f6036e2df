"""What is paid in any case: it has no part in a control, but rounds off the costs that have."""

from dataclasses import replace
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.pde.discrete.problem import Problem

_LARGE = 1e3  # in ranges of the costs: a constant from which rounding is worth avoiding


def without_constants(problem: Problem) -> tuple[Any, Any, Array]:
    """The equation and the terminal cost without the least of either cost, and how much these are.

    Those that are not large stay, and a running cost that changes in time.
    """
    equation, moves = problem.equation, problem.time_dependent
    g, cost = problem.values, np.zeros(1) if moves else np.asarray(problem.running_cost())
    least = np.array([g.min(), cost.min()])
    range_of_costs = max(g.max() - least[0], cost.max() - least[1], 1 / equation.beta)
    if max(abs(least)) <= _LARGE * range_of_costs:
        return equation, problem.initial, np.zeros(2)
    lowered = equation.running_cost if moves else _lowered(equation.running_cost, least[1])
    bare = replace(equation, running_cost=lowered)
    return bare, _lowered(problem.initial, least[0]), least


def paid(least: Array, to_go: Array, dim: int) -> Array:
    """min g + s min ℓ at times s to go, to be added to fields (time, *shape)."""
    out: Array = (least[0] + least[1] * to_go).reshape(-1, *[1] * dim)
    return out


def _lowered(cost: Any, low: float) -> Any:
    """A cost less a constant: a function, an array, or none."""
    if callable(cost):
        return lambda x: cost(x) - low
    return None if cost is None else np.asarray(cost, dtype=float) - low
