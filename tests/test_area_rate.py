"""Area rates: those of linear chains, by intervals that cover, for all planes at once."""

from typing import Any

import numpy as np
import pytest
from scipy import linalg, stats

import pdekit as pk

F, D = np.array([[2.0, 1.0], [1.0, 3.0]]), np.diag([1.0, 2.0])


def linear_chain(F: Any, D: Any, h: float, n: int, chains: int, seed: int = 0) -> Any:
    """Stationary paths x⁺ = (I - hF) x + sqrt(2hD) ξ, and their exact rates at steps of h."""
    rng, A = np.random.default_rng(seed), np.eye(len(F)) - h * F
    covariance = linalg.solve_discrete_lyapunov(A, 2 * h * D)
    x = np.empty((n, chains, len(F)))
    x[0] = rng.normal(size=x[0].shape) @ np.linalg.cholesky(covariance).T
    noise = rng.normal(size=x.shape) @ np.linalg.cholesky(2 * h * D).T
    for k in range(n - 1):
        x[k + 1] = x[k] @ A.T + noise[k]
    product = covariance @ A.T / h
    return x, product - product.T


def misses(x: Any, h: float, exact: Any, **more: Any) -> int:
    """Of the chains one by one: how many have an interval that leaves out an exact rate."""
    found = (pk.area_rate(x[:, k], h, draws=199, seed=k, **more) for k in range(x.shape[1]))
    return sum((np.abs(a.rate - exact) > a.reach).any() for a in found)


def test_of_a_linear_drift_it_is_twice_q() -> None:
    """0.4 for F = ((2, 1), (1, 3)), D = diag(1, 2), in the limit of short steps."""
    made = pk.decompose(F, D)
    assert 2 * made.circulation[0, 1] == pytest.approx(0.4)
    x, exact = linear_chain(F, D, 0.002, 400, 4000)
    np.testing.assert_allclose(exact, 2 * made.circulation, rtol=3e-3)
    assert pk.area_rate(x, 0.002).plane(0, 1).covers(0.4)


def test_of_steps_one_by_one() -> None:
    x = np.random.default_rng(0).normal(size=(61, 2, 3))
    found, y, total = pk.area_rate(x, 0.5, block=6), x - x.mean((0, 1)), np.zeros((3, 3))
    for k in range(60):
        for chain in range(2):
            total += np.outer(y[k, chain], y[k + 1, chain]) - np.outer(y[k + 1, chain], y[k, chain])
    np.testing.assert_allclose(found.rate, total / 120 / 0.5, atol=1e-14)
    np.testing.assert_array_equal(found.rate, -found.rate.T)
    assert (found.block, found.blocks) == (6, 20)


def test_a_turning_wheel_is_certain() -> None:
    """No noise: the rate ω r² sinc(ω h), an interval of rounding."""
    t = 0.1 * np.arange(2001)
    found = pk.area_rate(np.stack([np.cos(2 * t), np.sin(2 * t)], -1), 0.1, block=63)
    assert found.plane().value == pytest.approx(np.sin(0.2) / 0.1, rel=1e-3)
    assert found.reach[0, 1] < 1e-3 and found.p_value == pytest.approx(1 / 1000)


@pytest.mark.parametrize("strong", [2.0, 40.0])
def test_intervals_cover_as_often_as_they_say(strong: float) -> None:
    """Of 400 paths a twentieth is missed: between the 1e-4 quantiles."""
    x, exact = linear_chain(F, np.diag([1.0, strong]), 0.1, 4000, 400)
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], 400, 0.05)
    assert low <= misses(x, 0.1, exact) <= high


def test_one_level_for_all_planes() -> None:
    """Six axes, fifteen planes, all reversible: false alarms of a twentieth, not of a half."""
    rates = np.diag([1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
    x, exact = linear_chain(rates, rates, 0.2, 2000, 300)
    assert np.abs(exact).max() < 1e-14
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], 300, 0.05)
    found = [pk.area_rate(x[:, k], 0.2, draws=199, seed=k) for k in range(300)]
    assert low <= sum(a.p_value <= 0.05 for a in found) <= high
    narrow = [pk.area_rate(x[:, k, :2], 0.2, draws=199, seed=k) for k in range(50)]
    wider = np.mean([a.reach[0, 1] / b.reach[0, 1] for a, b in zip(found, narrow, strict=False)])
    assert 1.3 < wider < 1.9  # normal quantiles have 1.5


def test_blocks_are_as_long_as_the_rate_swings() -> None:
    """A turning chain whose radius, and so its rate, changes slowly; one step is no block."""
    turn = 0.95 * np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    x, exact = linear_chain(np.eye(2) - turn, np.eye(2), 1.0, 8000, 200)
    assert exact[0, 1] == pytest.approx(4 / (1 - 0.95**2) * 0.95 * np.sin(0.1))
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], 200, 0.05)
    assert low <= misses(x, 1.0, exact) <= high
    assert misses(x, 1.0, exact, block=1) > 25  # by chance one time in 1e5


def test_many_chains_are_blocks_themselves() -> None:
    x, _ = linear_chain(F, D, 0.002, 3, 2500)
    found = pk.area_rate(x, 0.002)
    assert (found.block, found.blocks) == (2, 833)


def test_same_seed_same_bits() -> None:
    x, _ = linear_chain(F, D, 0.1, 3000, 1)
    one, two, other = (pk.area_rate(x, 0.1, seed=s).reach for s in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


SHORT = np.random.default_rng(0).normal(size=(30, 2))
REFUSED = {
    "one axis": (lambda: pk.area_rate(SHORT[:, :1], 0.1), "d >= 2"),
    "runs and particles": (lambda: pk.area_rate(SHORT[:, None, None], 0.1), "independent chains"),
    "short": (lambda: pk.area_rate(SHORT, 0.1), "a longer path or more chains"),
    "still": (lambda: pk.area_rate(SHORT * [1, 0], 0.1), "along every axis"),
    "a walk": (lambda: pk.area_rate(np.random.default_rng(1).normal(size=(9999, 2)).cumsum(0), 1.0),
               "expected at least 20"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_answered_is_refused(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
