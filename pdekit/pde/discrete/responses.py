"""A density and its derivatives along the parameters of its equation, per time."""

from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.pde.discrete import rate_changes
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import RATIONAL, amplification
from pdekit.pde.discrete.rate_changes import BETA, CLOCK, DRIFT, STEP, StepBias
from pdekit.pde.discrete.tangents import Tangent, on_a_line

_SWEPT = 1e-8  # bound on the density's error in L1, up to which a sweep does


def along_field(problem: Problem, times: Array, parameter: str, field: Any) -> Array:
    """Along a field added to a coefficient, ``(times, *grid.shape)``."""
    return _moved(problem, rate_changes.change(problem, parameter, field), times)[1]


def along_start(problem: Problem, times: Array, direction: Array) -> Array:
    """Along a direction of the initial density."""
    A = rate_changes.matrix(problem.generator())
    run = Tangent(A, 0 * A, np.zeros(direction.shape), direction)
    return np.array([run.at(float(t))[1].reshape(problem.grid.shape) for t in times])


def along_parameters(
    problem: Problem, times: Array, names: tuple[str, ...], bias: StepBias | None = None,
    step: float = 0.0,
) -> tuple[Array, dict[str, Array]]:  # fmt: skip
    """The density, and its derivatives along ``beta``, ``drift``, ``clock``, and ``step``: the
    size of the steps of an integrator of this ``bias``, at this size.
    """
    seen = rate_changes.matrix
    A, changes = seen(problem.generator()), _changes(problem, names, bias, seen)
    if step:
        A = A + step * changes[STEP]
    found, rho = {}, None
    for name, change in changes.items():
        rho, found[name], clock = _runs(A, change, problem, times)
    if rho is None:
        rho, _, clock = _runs(A, 0 * A, problem, times)
    return rho, _named(found, clock, names)


def on_line(
    problem: Problem, times: Array, names: tuple[str, ...], bias: StepBias | None = None,
    step: float = 0.0,
) -> tuple[Array, dict[str, Array]] | None:  # fmt: skip
    """``along_parameters`` in one sweep over a line for each time; None where that is not known to
    be accurate.
    """
    if not swept(problem):
        return None
    rates = rate_changes.line(problem.generator())
    changes = _changes(problem, names, bias, rate_changes.line)
    if step:
        rates = rates + step * changes[STEP]
    every = np.array([*changes.values(), rates])
    out = np.array([on_a_line(rates, every, problem.values, float(t)) for t in times])
    found = dict(zip(changes, out[:, 1:-1].swapaxes(0, 1), strict=True))
    return out[:, 0], _named(found, out[:, -1], names)


def swept(problem: Problem) -> bool:
    """Whether one sweep of the best rational approximation moves the density exactly."""
    if problem.grid.dim > 1 or problem.grid.periodic[0]:
        return False
    amplified = amplification(problem.generator(), problem.values, True)
    return bool(RATIONAL * amplified <= _SWEPT)


def _changes(problem: Problem, names: tuple[str, ...], bias: StepBias | None, seen: Any) -> Any:
    """What has to be moved, ``beta`` by ``drift`` less ``clock`` where rates run with these: no
    second derivative has to be differentiated.
    """
    out = {}
    alone = _has_rates(problem)
    if hasattr(problem.equation, "potential") and (DRIFT in names or (BETA in names and not alone)):
        out[DRIFT] = rate_changes.change(problem, DRIFT, None, seen)
    if BETA in names and alone:
        out[BETA] = rate_changes.change(problem, BETA, None, seen)
    if STEP in names and bias is not None:
        out[STEP] = rate_changes.of_step(problem, bias, seen)
    return out


def _named(found: dict[str, Array], clock: Array, names: tuple[str, ...]) -> dict[str, Array]:
    beta = found.get(DRIFT, np.zeros_like(clock)) - clock
    return {name: ({BETA: beta, CLOCK: clock} | found)[name] for name in names}


def _moved(problem: Problem, change: Any, times: Array) -> tuple[Array, Array, Array]:
    return _runs(rate_changes.matrix(problem.generator()), change, problem, times)


def _runs(A: Any, change: Any, problem: Problem, times: Array) -> tuple[Array, Array, Array]:
    """The density, its derivative by a change of the generator, and by the clock."""
    run = Tangent(A, change, problem.values, np.zeros(problem.values.shape))
    out = np.empty((3, len(times), *problem.grid.shape))
    for k, t in enumerate(times):
        rho, s = run.at(float(t))
        for part, values in zip(out, (rho, s, t * (A @ rho)), strict=True):
            part[k] = values.reshape(problem.grid.shape)
    return out[0], out[1], out[2]


def _has_rates(problem: Problem) -> bool:
    """Whether there are rates that run with neither the drift nor the noise."""
    return getattr(problem.equation, "killing", None) is not None or _radiates(problem)


def _radiates(problem: Problem) -> bool:
    walls = getattr(problem.equation, "walls", None)
    ends = () if walls is None else walls.per_axis(problem.grid.periodic)
    return any(0 < end.rate < np.inf for pair in ends for end in pair)
