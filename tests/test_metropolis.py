"""Metropolis' rule where positions and values are rounded."""

import warnings

import numpy as np
import pytest

import pdekit as pk


def moved(far, offset, dt, dtype, steps=200, n=10_000):
    """Mean and variance from ``far`` of particles in (x - far)²/2 + offset, and what is warned."""
    V = pk.potentials.Custom(
        lambda x: ((x - far) ** 2).sum(-1) / 2 + offset, lambda x: x - far, dim=1
    )
    dynamics, start = pk.MetropolisLangevin(V, 4.0), np.full((n, 1), far + 3.0)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        x = pk.simulate(dynamics, start, n=n, t=steps * dt, dt=dt, dtype=dtype, seed=3).x.values[-1]
    x = x.astype(float) - far
    return x.mean(), x.var(), " ".join(str(w.message) for w in found)


@pytest.mark.parametrize("dt", [4e-3, 1.2e-3])
def test_rounded_proposals_are_accepted_by_the_way_that_they_go(dt):
    """Numbers of float32 at 1e5 are 1/128 apart, a third of the noise of a step."""
    mean, variance, words = moved(1e5, 0.0, dt, "float32")
    right, t = 3 * np.exp(-200 * dt), 200 * dt
    error = np.sqrt(variance / 10_000)
    assert abs(mean - right) < 4 * error + 0.005 * right * t  # 1 - 3 % too slow in ξ as drawn
    assert variance == pytest.approx((1 - np.exp(-2 * t)) / 4, rel=0.04)
    assert not words


@pytest.mark.parametrize("offset, warned", [(0.0, False), (1e5, False), (1e6, True), (1e7, True)])
def test_rounded_values_are_told(offset, warned):
    """Rejections by rounding slow the particles: where by 2 %, there is a warning."""
    mean, variance, words = moved(0.0, offset, 4e-3, "float32")
    slow = 1 - np.log(3 / mean) / 0.8
    assert ("values of V" in words) is warned
    assert warned or slow < 0.02 + 4 * np.sqrt(variance / 10_000) / mean
    if offset == 1e7:
        assert slow > 0.05
    assert "values of V" not in moved(0.0, offset, 4e-3, "float64", steps=2, n=10)[2]
