"""Certificates of particles: simulated ones pass, planted faults fail."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit import certificates as c

WELL, BOWL = pk.potentials.DoubleWell(), pk.potentials.Quadratic(2.0)
GRID, START = pk.Grid(-2.5, 2.5, 100), pk.Gaussian(-0.5, 0.3)


def solved(equation: Any, times: Any) -> Any:
    return pk.solve(equation, GRID, START, times)


@pytest.fixture(scope="module")
def particles() -> Any:
    return pk.simulate(pk.Langevin(BOWL, 4), START, 4000, [0, 0.2, 0.5, 1.0], 0.01)


def _with_points(ensemble: Any, x: Any) -> Any:
    return replace(ensemble, x=ensemble.x.copy(data=x))


def test_particles_pass(particles: Any) -> None:
    found = pk.certify(particles)
    assert found.passed and len(found.applicable) == 2, f"\n{found}"


def test_too_wide_particles_are_seen(particles: Any) -> None:
    hot = pk.simulate(pk.Langevin(BOWL, 3), START, 4000, [0, 0.2, 0.5, 1.0], 0.01)
    assert c.Spread()(replace(hot, dynamics=particles.dynamics)).passed is False
    well = pk.simulate(pk.Langevin(WELL, 4), START, 1000, [0, 1.0], 0.01)
    assert c.Spread()(well).passed is None


def test_particles_beyond_the_box_or_not_finite_are_seen(particles: Any) -> None:
    assert c.Contained()(particles).passed
    x = particles.x.values.copy()
    x[2, 7] = np.nan
    assert c.Contained()(_with_points(particles, x)).passed is False
    small = replace(particles, dynamics=replace(particles.dynamics, box=pk.Grid(-0.5, 0.5, 10)))
    row = c.Contained()(small)
    assert row.passed is False and row.where == "t = 0"


def test_coupled_paths_contract(particles: Any) -> None:
    other = pk.simulate(particles.dynamics, pk.Gaussian(0.4, 0.2), 4000, [0, 0.2, 0.5, 1.0], 0.01)
    assert c.SynchronousContraction(other)(particles).passed
    assert c.SynchronousContraction(other, curvature=2.2)(particles).passed is False
    another = replace(other, seed=1)
    assert c.SynchronousContraction(another)(particles).passed is None


def test_area_shows_a_current() -> None:
    """From the stationary law, e^{-|x|²}: the rotation of (-y, x) keeps it and turns it."""
    start, rng = pk.Gaussian((0.0, 0.0), np.sqrt(0.5)), np.random.default_rng(3)
    still = pk.simulate(pk.Langevin(pk.potentials.Quadratic((1.0, 1.0)), 2), start, 4000,
                        [0, 0.3, 0.6], 0.02)  # fmt: skip
    assert c.TimeReversal()(still).passed
    first = rng.normal(0, np.sqrt(0.5), (4000, 2))
    angle, kept = 0.3, np.exp(-0.3)
    turned = first @ [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    later = kept * turned + rng.normal(0, np.sqrt(0.5 * (1 - kept**2)), (4000, 2))
    turning = _with_points(still, np.stack([first, later, later]))
    assert c.TimeReversal()(turning).passed is False


def test_the_law_of_particles(particles: Any) -> None:
    times = particles.x["time"].values
    density, warm = (solved(pk.FokkerPlanck(BOWL, beta), times) for beta in (4, 3))
    assert c.FollowsLaw(density, 0.001)(particles).passed
    assert c.FollowsLaw(warm, 0.001)(particles).passed is False
