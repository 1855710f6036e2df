"""The problem of a quantity that belongs to constant coefficients, such as a rate of escape."""

from typing import Any

from pdekit import checks
from pdekit.grid import require_grid
from pdekit.pde.discrete.problem import Problem, require_noise
from pdekit.pde.discrete.sampling import evaluate_rate
from pdekit.pde.equations import moving


def steady(equation: Any, grid: Any, kinds: tuple[type, ...], what: str) -> Problem:
    """The problem for ``what``, a quantity of an equation with constant coefficients.

    Raises ``TypeError`` for an equation of other ``kinds`` or for no grid, ``ValueError`` for a
    time-dependent potential.
    """
    if not isinstance(equation, kinds):
        *others, last = (kind.__name__ for kind in kinds)
        named = f"{', '.join(others)} or {last}"
        raise TypeError(
            f"{what} belongs to a linear equation, {named}; got {checks.shown(equation)}"
        )
    require_grid("grid", grid)
    require_noise(equation, what)
    problem = Problem(equation, grid, None)
    for part in moving(equation):
        raise ValueError(
            f"{what} belongs to coefficients that do not change in time; got "
            f"{checks.shown(part)}, which has at(t): take part.at(t), those of one time"
        )
    if getattr(equation, "resetting", None) is not None:
        raise ValueError(
            f"{what} does not know resetting yet; leave it out, or use solve and stationary"
        )
    if getattr(equation, "obstacle", None) is not None:
        raise ValueError(
            f"{what} belongs to a linear equation; got {checks.shown(equation)}, which an obstacle "
            "makes one of optimal stopping: leave the obstacle out"
        )
    _require_no_growth(problem, what)
    problem.look_at_seam(stacklevel=3, everywhere=True)
    problem.look_between_centres(stacklevel=3)
    problem.look_at_rates(stacklevel=3)
    return problem


def _require_no_growth(problem: Problem, what: str) -> None:
    """``ValueError`` for killing of a negative rate."""
    killing = getattr(problem.equation, "killing", None)
    if killing is None:
        return
    least = float(evaluate_rate(killing, problem.grid, "the killing rate").min())
    if least < 0:
        raise ValueError(
            f"{what} needs killing >= 0 everywhere, got {checks.shown(killing)}, of least rate "
            f"{least:.3g}, which is growth; add {-least:.3g} to it (decay rates are higher by that)"
        )
