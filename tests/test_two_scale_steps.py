"""Which steps of processes of two scales are stable and accurate, and that all others are told."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

import pdekit as pk
from pdekit.particles import (
    Displacement,
    ExponentialAverage,
    FreeDisplacement,
    LastIterate,
    LinearAverage,
    Position,
    Scoping,
    StepSizeWarning,
)
from pdekit.potentials import Quadratic


def grows(dynamics: Any, dt: float, particles: int = 20, steps: int = 200) -> bool:
    """Whether 1 ± 0.1 becomes larger than 10."""
    x = np.linspace(0.9, 1.1, particles)[:, None]
    return bool(np.abs(pk.simulate(dynamics, x, particles, steps * dt, dt).x.values).max() > 10)


def agrees(dynamics: Any, longest: float, recwarn: Any) -> None:
    """Steps 3 % longer grow and are warned of, steps 3 % shorter are neither."""
    assert grows(dynamics, 1.03 * longest, steps=400)
    assert StepSizeWarning in [w.category for w in recwarn.list]
    recwarn.clear()
    assert not grows(dynamics, 0.97 * longest, steps=400)
    assert StepSizeWarning not in [w.category for w in recwarn.list]


def two(a: float, gamma: Any, fast: Any = Position(), **more: Any) -> pk.TwoScaleLangevin:  # noqa: B008
    more = {"epsilon": 1e-3, "inner_steps": 5, "inner_dt": 1e-6} | more
    return pk.TwoScaleLangevin(Quadratic(a), inf, gamma, fast=fast, **more)


@pytest.mark.parametrize(("a", "epsilon"), [(0.1, 1.0), (3.0, 0.5), (0.0, 30.0)])
def test_the_limit_of_centre_and_workers(a: float, epsilon: float, recwarn: Any) -> None:
    """2 over the larger eigenvalue of centre and mean worker, from numpy."""
    A = np.array([[1.0, -1.0], [-1 / epsilon, (0.7 * a + 1) / epsilon]]) / 0.7
    longest = 2 / np.linalg.eigvals(A).real.max()
    agrees(pk.ElasticSGD(Quadratic(a), inf, 0.7, epsilon), longest, recwarn)


@pytest.mark.parametrize("fast", [Displacement(), FreeDisplacement()])
def test_displacements_move_at_the_rate_of_the_slope(fast: Any, recwarn: Any) -> None:
    """X at V'' = 1: dt = 2.5 is too long at γ = 100, and 0.04 is short at γ = 0.01."""
    slow = two(1.0, 100.0, fast)
    assert grows(slow, 2.5) and not grows(slow, 1.9)
    assert [w.category for w in recwarn.list] == [StepSizeWarning]
    recwarn.clear()
    assert not grows(two(1.0, 0.01, fast), 0.04)
    assert not recwarn.list


@pytest.mark.parametrize("average", [LinearAverage(), ExponentialAverage(), LastIterate()])
@pytest.mark.parametrize("warm", [True, False])
def test_the_limit_where_displacements_come_to_rest(average: Any, warm: bool, recwarn: Any) -> None:
    """In 4 steps of Y each keeping 0.7 of its distance, from the matrix of (X, Y)."""
    a, gamma, share = 2.0, 1.5, 0.3 / (2.0 + 1 / 1.5)

    def growth(dt: float) -> float:
        columns = []
        for x, y in np.eye(2):
            y = y if warm else 0.0
            seen = [x - y]
            for _ in range(5):
                y = y + share * (a * (x - y) - y / gamma)
                seen.append(x - y)
            weights = average.weights(4)
            mean = weights[0] * seen[0] + np.dot(weights[1:], seen[2:])
            columns.append((x - dt * a * mean, y))
        return float(np.abs(np.linalg.eigvals(np.array(columns).T)).max())

    longest = float(brentq(lambda dt: growth(dt) - 1, 0.9, 20))
    for dt in (0.97 * longest, 1.03 * longest):
        recwarn.clear()
        settings = {"average": average, "warm_start": warm, "inner_dt": 0.1 * share}
        fast = two(a, gamma, Displacement(), epsilon=0.1, inner_steps=4, burn_in=2, **settings)
        found = pk.simulate(fast, [[1.0]], 1, 300 * dt, dt).x.values
        assert (abs(found[-1, 0, 0]) > 1) == (dt > longest)
        assert (StepSizeWarning in [w.category for w in recwarn.list]) == (dt > longest)


def square(strength: float, z: Any) -> Any:
    return strength * (z * z).sum(-1) / 2


def times(factor: float, x: Any) -> Any:
    return factor * x


INTERACTIONS: dict[str, Callable[[], Any]] = {
    "mean": lambda: pk.CurieWeiss(100.0),
    "pairs": lambda: pk.PairPotential(Quadratic(100.0)),
    "function": lambda: pk.PairPotential(partial(square, 100.0)),
    "features": lambda: pk.FeatureInteraction(partial(times, 10.0)),
}


@pytest.mark.parametrize("name", INTERACTIONS)
def test_the_rate_of_any_interaction_counts(name: str, recwarn: Any) -> None:
    """At 100 steps of 0.05 blow up: as for ``InteractingLangevin``, this is said."""
    interaction = INTERACTIONS[name]()
    assert grows(two(1.0, 10.0, interaction=interaction), 0.05, steps=20)
    assert [w.category for w in recwarn.list] == [StepSizeWarning]
    recwarn.clear()
    assert not grows(two(1.0, 10.0, interaction=interaction), 0.005)
    assert not recwarn.list


def test_a_width_that_shrinks_is_looked_at_later() -> None:
    """dt / γ is 0.015 at first and 1.5 at the end."""
    with pytest.warns(pk.AccuracyWarning, match=r"dt / gamma = 1\.5"):
        grows(two(1.0, Scoping(1.0, 5.0, 0.01)), 0.015, steps=100)
