"""The equilibrium of a game at time steps that are short enough for it."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.pde.bellman.policy import PolicySteps
from pdekit.pde.bellman.steps import TooSteep
from pdekit.pde.control.games import Game, Response
from pdekit.pde.discrete.problem import Problem

_TIMES = 0.02  # of the range of a game's value: what its steps in time may err by without a word
_ROUNDING = 1e-9
_PARTS = (1, 2, 4, 8, 16)  # steps of a game between stored times, more where the value is steep


def equilibrium(
    backward: Problem,
    forward: Problem,
    times: Array,
    scheme: Any,
    couplings: tuple[Any, Any],
    solver: Any,
    counts: dict[str, Any],
) -> tuple[Response, Array, Array]:
    """The response at equilibrium, its time steps, and which of them are stored times.

    Into ``counts``: those of the solver, and ``time_error`` of the value.
    """
    grid, steps = backward.grid, scheme.steps(backward)
    for parts in _PARTS:
        nodes, stored = _nodes(times, scheme, parts)
        game = Game(
            grid, nodes, steps, forward.values, backward.running_cost(), backward.values, *couplings
        )
        counts.clear()
        try:
            found: Response = _closed(game, solver, counts)
        except TooSteep:
            if parts == _PARTS[-1]:
                raise
            continue
        error, scale = found.time_error(), float(np.ptp(found.values))
        if error <= _TIMES * scale + _ROUNDING * (1 + float(np.abs(found.values).max())):
            break
    else:
        warnings.warn(
            f"the steps between the times of the game leave its value up to {error:.2g} off, where "
            f"it ranges over {scale:.2g}; ask for more times",
            AccuracyWarning,
            stacklevel=4,
        )
    counts["time_error"] = error
    return found, nodes, stored


def _closed(game: Game, solver: Any, counts: dict[str, Any]) -> Response:
    """The equilibrium; by monotone steps where those of second order, which switch, miss it."""
    try:
        found: Response = solver.close(game, counts)
    except ConvergenceError as error:
        steps = game.steps
        if not isinstance(steps, PolicySteps) or steps.order == 1 or isinstance(error, TooSteep):
            raise
        counts.clear()
        found = solver.close(replace(game, steps=steps.monotone()), counts)
        warnings.warn(
            "steps of second order, filtered, did not close the game; this is its equilibrium by "
            "monotone steps, of first order in time: PolicyIteration(dt, order=1)",
            AccuracyWarning,
            stacklevel=5,
        )
    return found


def _nodes(times: Array, scheme: Any, parts: int) -> tuple[Array, Any]:
    """The time steps of a game, and which of them are stored times."""
    spans = np.diff(times)
    counts = [parts * scheme.count(span) if hasattr(scheme, "count") else parts for span in spans]
    stored = np.concatenate([[0], np.cumsum(counts)])
    return np.interp(np.arange(stored[-1] + 1), stored, times), stored
