"""The equilibrium of a game, with sufficiently short time steps."""

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning, ConvergenceError
from pdekit.pde.bellman import value_checks
from pdekit.pde.bellman.steps import TooSteep
from pdekit.pde.control.couplings import Coupling
from pdekit.pde.control.density import MOST_NEGATIVE, negative_share
from pdekit.pde.control.games import Game, Response, Solver, Stalled
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import GameStats

_TIMES = 0.02  # of the range of a game's value: error in time above which a warning is given
# steps of a game between stored times, more if the value is steep, Newton's method stalls or the
# density overshoots below zero
_PARTS = (1, 2, 4, 8, 16)

Closed = tuple[float, Array] | None


class Equilibrium(NamedTuple):
    """The response at equilibrium, its time steps, and which of these are stored.

    ``counts``: what closing it took; ``time_error``: of its value, by its steps.
    """

    response: Response
    nodes: Array
    stored: Array
    counts: GameStats
    time_error: float


def equilibrium(
    backward: Problem,
    forward: Problem,
    times: Array,
    scheme: Any,
    couplings: tuple[Coupling | None, Coupling | None],
    solver: Solver,
) -> Equilibrium:
    """The game closed, at steps that are short enough for it."""
    grid, steps = backward.grid, scheme.steps(backward)
    closed: Closed = None
    for parts in _PARTS:
        nodes, stored = _nodes(times, scheme, parts)
        game = Game(
            grid, nodes, steps, forward.values, backward.running_cost(), backward.values,
            *couplings, closed=_at(nodes, closed),
        )  # fmt: skip
        try:
            found, counts = _closed(game, solver)
        except (TooSteep, Stalled) as failure:
            before, closed = closed, getattr(failure, "closed", None)
            if parts == _PARTS[-1] or not _is_worth_more(before, closed):
                raise
            continue
        if negative_share(found.flow) > MOST_NEGATIVE and parts < _PARTS[-1]:
            continue
        error, scale = found.time_error(), float(np.ptp(found.values))
        if error <= _TIMES * scale + value_checks.rounding(np.abs(found.values).max(), backward):
            break
    else:
        warnings.warn(
            f"the steps between the times of the game leave its value up to {error:.2g} off, where "
            f"it ranges over {scale:.2g}; use more times",
            AccuracyWarning,
            stacklevel=4,
        )
    return Equilibrium(found, nodes, stored, counts, error)


def _closed(game: Game, solver: Solver) -> tuple[Response, GameStats]:
    """The equilibrium; by monotone steps if filtered ones of second order fail."""
    counts = GameStats()
    try:
        return solver.close(game, counts), counts
    except TooSteep:
        raise
    except ConvergenceError:
        if not game.steps.filtered:
            raise
    counts = GameStats()
    found = solver.close(replace(game, steps=game.steps.monotone()), counts)
    warnings.warn(
        "steps of second order, filtered, did not close the game; this is its equilibrium by "
        "monotone steps, of first order in time: PolicyIteration(dt, order=1)",
        AccuracyWarning,
        stacklevel=5,
    )
    return found, counts


def _at(nodes: Array, closed: Closed) -> Closed:
    """At these nodes the flow of what has been closed at fewer."""
    if closed is None:
        return None
    strength, flow = closed
    at = np.linspace(0, len(flow) - 1, len(nodes))
    low = np.minimum(at.astype(int), len(flow) - 2)
    share = (at - low).reshape(-1, *[1] * (flow.ndim - 1))
    return strength, (1 - share) * flow[low] + share * flow[low + 1]


def _is_worth_more(before: Closed, closed: Closed) -> bool:
    """Whether twice the times have brought twice the strength, or half of what was left."""
    if before is None or closed is None:
        return True
    return closed[0] >= min(2 * before[0], (1 + before[0]) / 2) > 0


def _nodes(times: Array, scheme: Any, parts: int) -> tuple[Array, Any]:
    """The time steps of a game, and which of these are stored."""
    spans = np.diff(times)
    counts = [parts * scheme.count(span) if hasattr(scheme, "count") else parts for span in spans]
    stored = np.concatenate([[0], np.cumsum(counts)])
    return np.interp(np.arange(stored[-1] + 1), stored, times), stored
