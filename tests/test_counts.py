"""What a solution says it has done is what was done."""

import json
from types import SimpleNamespace
from typing import Any

import cases
import numpy as np
import pytest

import pdekit as pk
from pdekit import schemes
from pdekit.pde.control import games
from pdekit.pde.discrete.march import March, fields_at
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.schemes import exponential, mean_field

WELL, GRID = pk.potentials.DoubleWell(), pk.Grid(-4, 4, 40)


@pytest.mark.parametrize("order", [3, 4])
def test_mean_field_counts_every_euler_step(order: int, monkeypatch: Any) -> None:
    made, plain = [0], mean_field._System.rows

    def counted(self: Any, rho: Any, field: Any, dt: float, order: int) -> Any:
        made[0] += sum(range(1, order + 1))
        return plain(self, rho, field, dt, order)

    monkeypatch.setattr(mean_field._System, "rows", counted)
    pairs = pk.PairPotential(pk.potentials.Quadratic(1.0))
    equation = pk.McKeanVlasov(WELL, 2.0, pairs)
    scheme = schemes.MeanField(1e-3, order=order)
    solution = pk.solve(equation, GRID, pk.Gaussian(0.3, 0.5), [0.1, 0.3], scheme)
    assert solution.stats["steps"] == made[0] > 0


def test_exponentials_count_their_sweeps(monkeypatch: Any) -> None:
    made, plain = [0], exponential.sweep

    def counted(*arguments: Any) -> Any:
        made[0] += 1
        return plain(*arguments)

    monkeypatch.setattr(exponential, "sweep", counted)
    equation, start = pk.FokkerPlanck(WELL, 2.0), pk.Gaussian(0.3, 0.5)
    few = pk.solve(equation, GRID, start, [0.5]).stats["steps"] - made[0]
    made[0] = 0
    more = pk.solve(equation, GRID, start, [0.5, 1.0, 2.0]).stats["steps"] - made[0]
    assert made[0] >= 2 and more == few  # all else is marching to the first time


def test_gentle_values_advance_at_order_two_throughout() -> None:
    """No density had to be moved by the step of order one."""
    found = pk.control(
        WELL, 2.0, GRID, pk.Gaussian(0.0, 0.5), pk.potentials.Quadratic(), 0.5,
        scheme=schemes.PolicyIteration(0.05),
    )  # fmt: skip
    assert found.density.stats["monotone_steps"] == 0


def test_games_count_their_responses() -> None:
    game: Any = SimpleNamespace(respond=lambda flow: SimpleNamespace(distance=flow))
    counts: dict[str, Any] = {}
    for distance in (0.5, 0.25, 0.125):
        games._counted(game, distance, counts)
    assert counts == {"responses": 3, "distances": [0.5, 0.25, 0.125]}


def test_a_march_goes_on_from_the_last_time_and_counts() -> None:
    asked: list[tuple[float, float]] = []

    def over(u: Any, begin: float, end: float) -> tuple[Any, int]:
        asked.append((begin, end))
        return u + (end - begin), 2

    march = March(np.ones(1), over)
    fields = fields_at(np.array([0.0, 0.5, 2.0]), march, np.ones(1))
    assert fields.ravel().tolist() == [1.0, 1.5, 3.0] and asked == [(0.0, 0.5), (0.5, 2.0)]
    assert march.counts == [2, 2] and march.stats == {"steps": 4}


class Forgetful(dict[str, Any]):
    """Statistics whose numbers are all zero to who reads them."""

    def __getitem__(self, key: str) -> Any:
        told = super().__getitem__(key)
        return 0 if isinstance(told, int | float) else told


@pytest.mark.parametrize("name", cases.SCHEMES)
def test_statistics_report_and_decide_nothing(name: str) -> None:
    """The same fields whatever reading them gives; JSON, in keys that the type knows."""
    scheme, times = cases.SCHEMES[name], np.array([0.02, 0.05])
    case = next(case for _, case, other in (*cases.HANDLED, *cases.TRANSPORTED) if other is scheme)
    problem = Problem(case.equation, case.grid, case.initial, 0.05)
    stats: list[Any] = [{"steps": 0}, Forgetful(steps=0)]
    first, second = (fields_at(times, scheme.start(problem, s), problem.values) for s in stats)
    assert np.array_equal(first, second)
    assert stats[0]["steps"] > 0 and json.loads(json.dumps(stats[0]))
    assert stats[0].keys() <= schemes.AnyStats.__annotations__.keys()


@pytest.mark.parametrize("coupling", [None, pk.Congestion(1.0)])
def test_statistics_of_a_control_are_of_their_type(coupling: Any) -> None:
    grid, start = pk.Grid(-3, 3, 60), pk.Gaussian(0.0, 0.4)
    V = pk.potentials.Quadratic()
    found = pk.control(V, 2.0, grid, start, V, np.linspace(0, 0.2, 6), coupling=coupling)
    for stats in (found.value.stats, found.density.stats):
        assert stats["steps"] > 0 and stats["seconds"] > 0 and json.dumps(stats)
        assert stats.keys() <= schemes.AnyStats.__annotations__.keys()
