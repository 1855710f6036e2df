"""Walls that a process does not cross by itself: no mass is beyond them."""

import warnings

import pytest

import pdekit as pk

BROWNIAN = pk.Gaussian(10.0, 2.0)


def truncated(drift, noise, grid, law, t):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        u = pk.solve(pk.ItoProcess(drift, noise).law(), grid, law, t)
    return u.stats["wall_mass"], any(w.category is pk.TruncationWarning for w in said)


@pytest.mark.parametrize(
    ("drift", "noise", "grid", "law", "t", "warned"),
    [
        (lambda x: 0.2 * x, lambda x: 0.5 * x, (0, 100), BROWNIAN, 0.5, False),  # geometric
        (lambda x: -3 * x, lambda x: 0.5 * x, (0, 40), BROWNIAN, 1.5, False),  # to the wall
        (lambda x: 0.5 - x, lambda x: abs(x) ** 0.5 / 2, (0, 6), pk.Gaussian(1.0, 0.2), 1.0, False),
        (lambda x: -10 + 0 * x, lambda x: 0.5 * x, (0, 40), BROWNIAN, 1.5, True),  # drift leads out
        (lambda x: 0 * x, lambda x: 0.5 * x + 2, (0, 40), BROWNIAN, 1.5, True),  # noise does
        (lambda x: 0.9 * x, lambda x: 0.5 * x, (0, 30), BROWNIAN, 1.5, True),  # the other wall
    ],
)
def test_mass_that_no_wall_holds_is_no_loss(drift, noise, grid, law, t, warned):
    lost, said = truncated(drift, noise, pk.Grid(*grid, 800), law, t)
    assert said == warned
    assert (lost > 1e-6) == warned
