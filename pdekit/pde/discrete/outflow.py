"""Where a density leaves, and when: through each wall that takes, and by killing.

With l_k the rate at which each cell loses to the wall k, the flux through it is F_k(t) = ∫ l_k rho.
What has left until t needs no quadrature in time: if L q_k = -l_k, q_k the probability to leave
there some day, then

    ∫_0^t F_k = ∫ q_k (rho(0) - rho(t)),

exactly, for rho_t = Lᵀ rho. Where there is but one way out, q = 1, whatever the coefficients do.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import NamedTuple

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import TruncationWarning
from pdekit.pde.discrete import chains
from pdekit.pde.discrete.drift_diffusion import ends_of
from pdekit.pde.discrete.generators import Generator
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.thirds import extrapolated, still_axes
from pdekit.pde.discrete.wall_rates import first_wall

KILLED = -1
"""The way out that is no wall. The lower wall of axis k is 2 k, the upper one 2 k + 1."""


class Outflow(NamedTuple):
    """Per time and way out what leaves per time, and what has left since the start."""

    ways: list[int]
    flux: Array
    left: Array


def outflow(problem: Problem, fields: Array, times: Array) -> Outflow:
    """That of the density whose ``fields`` at the times are given.

    Raises ``ValueError`` for a problem that loses nothing, or in which it cannot be said how much
    left where.
    """
    ways = ways_out(problem)
    reason = unknown(problem, ways)
    if reason:
        raise ValueError(reason)
    volume = problem.grid.cell_volume
    moves = problem.time_dependent
    generators = [problem.generator(float(t)) for t in (times if moves else times[:1])]
    for generator in generators:
        _require_no_growth(generator)
    lost = [losses(generator, ways) for generator in generators]
    still = still_axes(problem)
    flux = [
        [
            float((rates * _at_wall(u, way, still)).sum()) * volume
            for way, rates in zip(ways, lost[k] if moves else lost[0], strict=True)
        ]
        for k, u in enumerate(fields)
    ]
    chances = [np.ones(problem.grid.shape)]
    if len(ways) > 1:
        chances = [
            np.minimum(extrapolated(problem, partial(_chance, ways=ways, k=k)), 1.0)
            for k in range(len(ways))
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # said by solve
        gone = problem.values - fields
    left = [[float((q * change).sum()) * volume for q in chances] for change in gone]
    return Outflow(ways, np.array(flux), np.array(left))


def ways_out(problem: Problem) -> list[int]:
    """The walls that take something, and ``KILLED`` where there is killing."""
    equation = problem.equation
    pairs = ends_of(getattr(equation, "walls", None), problem.grid)
    walls = [2 * k + side for k, pair in enumerate(pairs) for side in (0, 1) if pair[side].rate > 0]
    return ([] if getattr(equation, "killing", None) is None else [KILLED]) + walls


def unknown(problem: Problem, ways: list[int]) -> str:
    """Why it cannot be said how much left where; "" if it can."""
    equation = problem.equation
    if not (problem.is_density and equation.linear):
        return f"what leaves is known of densities of FokkerPlanck; got {checks.shown(equation)}"
    if not ways:
        return (
            "nothing leaves this box; give the equation walls that take, such as "
            "walls=Walls(upper=True), or killing"
        )
    if equation.supplied:
        return (
            "what leaves a box that is supplied through walls or by a source is not told apart "
            "from what enters; use current(...) for the flux at rest"
        )
    if len(ways) > 1 and problem.time_dependent:
        return (
            f"with coefficients that change in time the {len(ways)} ways out are not told apart; "
            "make all walls but one reflect, or read the survival of both together from "
            'stats["survival"]'
        )
    return ""


def losses(generator: Generator, ways: list[int]) -> list[Array]:
    """The rates at which each cell loses by each of the ways."""
    lost = {way: np.zeros(generator.grid.shape) for way in ways}
    if generator.killing is not None:
        lost[KILLED] = generator.killing
    for direction in generator.directions():
        for sign, rates in zip((-1, 1), direction.exits or (), strict=False):
            _, wall = first_wall(generator.grid, tuple(sign * k for k in direction.offset))
            for way in ways:
                if way != KILLED:
                    lost[way] = lost[way] + np.where(wall == way, rates, 0.0)
    return [lost[way] for way in ways]


def _at_wall(u: Array, way: int, still: tuple[int, ...]) -> Array:
    """A density where a way takes from it: at the wall of an axis without diffusion, else as is.

    There all that arrives in a cell leaves through its face, at which the density is not zero.
    """
    axis = way // 2
    if way == KILLED or axis not in still:
        return u
    made = u.copy()
    lines, before = np.moveaxis(made, axis, 0), np.moveaxis(u, axis, 0)
    last, inner = (-1, -2) if way % 2 else (0, 1)
    lines[last] = np.maximum(1.5 * before[last] - 0.5 * before[inner], 0.0)
    return made


def _chance(problem: Problem, ways: list[int], k: int) -> Array:
    """The probability to leave by the way ``k`` some day, from each cell."""
    generator, grid = problem.generator(), problem.grid
    total, rates = generator.loss, losses(generator, ways)[k]
    assert total is not None
    matrix = generator.matrix()
    return chains.hitting(matrix, grid, total.ravel(), rates.ravel()).reshape(grid.shape)


def _require_no_growth(generator: Generator) -> None:
    killing = generator.killing
    if killing is not None and killing.min() < 0:
        raise ValueError(
            "with a killing rate that is negative somewhere mass also grows, and what left where "
            f"is not told apart; got rates down to {killing.min():.3g}"
        )
