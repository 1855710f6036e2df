"""What a solution says it has done is what was done."""

from types import SimpleNamespace
from typing import Any

import pytest

import pdekit as pk
from pdekit import schemes
from pdekit.pde.control import games
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


def test_gentle_values_are_carried_at_order_two_throughout() -> None:
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
