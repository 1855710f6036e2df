"""Passage times of particles against the equation's mean times, long before all have passed."""

import math

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.comparison import passages

NOTHING = pk.potentials.Quadratic(1e-12)
WELL = pk.potentials.DoubleWell()
TARGET = (0.5, 1.5)
GRID = pk.Grid(-4, 4, 800)
ASK = {"observe": pk.FirstPassage(*TARGET)}


def at(place, n):
    return np.full((n, 1), place)


def well(n=5000, beta=2.0, dt=0.02, t=3.0, **more):
    return pk.simulate(pk.Langevin(WELL, beta), at(-1.0, n), n, [0, t], dt, seed=2, **ASK, **more)


TAU = pk.mean_first_passage_time(pk.FokkerPlanck(WELL, 2.0), GRID, TARGET)


def test_a_third_of_the_particles_is_enough():
    found = pk.compare_passages(TAU, well())
    assert found.passed < 0.5 * found.particles and found.consistent() and found.blur < 0.1
    assert found.expected == pytest.approx(float(TAU.interp(x=-1.0)), rel=1e-6)
    assert found.standard_error < 0.03 * found.expected


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("too warm", lambda patch: well(beta=1.7)),
        ("seen at the ends of steps", lambda patch: _unseen(patch)),
        ("the others left where they are", lambda patch: _forgotten(patch)),
    ],
)
def test_faults_are_found(name, made, monkeypatch):
    """Planted: a sixth of the temperature, bridges and places left out."""
    assert not pk.compare_passages(TAU, made(monkeypatch)).consistent(), name


def _unseen(patch):
    bridge = torch.exp
    patch.setattr(torch, "exp", lambda x: bridge(x) * (x == 0))
    return well(dt=0.05)


def _forgotten(patch):
    patch.setattr(
        passages, "_excess", lambda s, w, until, first, last: np.where(w, until, s) - first
    )
    return well()


def test_false_alarms_are_rare():
    """Level 0.05 in 100 ensembles of the fewest particles: at most 12."""
    tau = pk.mean_first_passage_time(
        pk.FokkerPlanck(NOTHING, 2.0, walls=pk.Walls(True, False)), pk.Grid(0, 4, 400), (1.0, 9.0)
    )
    box = pk.Langevin(NOTHING, 2.0, box=pk.Grid(0, 4, 8), walls=pk.Walls(True, False))
    see, start = pk.FirstPassage(1.0, math.inf), pk.Uniform(0.2, 0.8)
    p = [
        pk.compare_passages(
            tau, pk.simulate(box, start, 200, [0, 0.1], 0.02, seed=s, observe=see)
        ).p_value
        for s in range(100)
    ]
    assert np.count_nonzero(np.array(p) < 0.05) <= 12


def test_walls_and_clocks_that_stop_count_as_they_do_in_the_equation():
    walls, box = pk.Walls(True, pk.PartlyAbsorbing(1.0)), pk.Grid(-1.4, 1.4, 400)
    D = pk.Langevin(WELL, 2.0, box=box, walls=walls, killing=0.3)
    tau = pk.mean_first_passage_time(D.law(), box, (0.2, 0.6))
    see = pk.FirstPassage(0.2, 0.6)
    X = pk.simulate(D, pk.Gaussian(-0.5, 0.1), 5000, [0, 0.7], 0.005, seed=3, observe=see)
    found = pk.compare_passages(tau, X)
    assert found.p_value > 1e-3 and 500 < found.passed < 4500
    free = pk.simulate(
        pk.Langevin(WELL, 2.0, box=box), pk.Gaussian(-0.5, 0.1), 5000, [0, 0.7], 0.005, observe=see
    )
    assert pk.compare_passages(tau, free).p_value < 1e-6


def test_in_the_plane_and_round_a_circle():
    D = pk.Langevin(pk.potentials.Quadratic(1.0, dim=2), 1.0)
    target = (0.5, 0.5), (1.5, math.inf)
    tau = pk.mean_first_passage_time(D.law(), pk.Grid((-5, -5), (5, 5), (100, 100)), target)
    see = pk.FirstPassage(*target, "corner")
    X = pk.simulate(D, np.full((1000, 2), -0.5), 1000, [0, 4.0], 0.02, seed=4, observe=see)
    assert pk.compare_passages(tau, X, "corner").p_value > 1e-3
    circle = pk.Grid(0.0, 1.0, 64, periodic=True)
    D = pk.Langevin(pk.potentials.Linear((0.0,)), 2.0, box=circle)
    tau = pk.mean_first_passage_time(D.law(), circle, (0.5, 0.75))
    see = pk.FirstPassage(0.5, 0.75)
    X = pk.simulate(D, pk.Uniform(0.9, 1.1), 4000, [0, 0.05], 0.002, seed=3, observe=see)
    assert pk.compare_passages(tau, X).p_value > 1e-3


def test_what_does_not_fit_is_refused():
    X = well(300, t=0.1)
    other = pk.mean_first_passage_time(pk.FokkerPlanck(WELL, 2.0), GRID, (0.6, 1.5))
    with pytest.raises(ValueError, match="give both the same set"):
        pk.compare_passages(other, X)
    with pytest.raises(TypeError, match="what mean_first_passage_time returns"):
        pk.compare_passages(TAU.values, X)
    with pytest.raises(TypeError, match="observe=FirstPassage"):
        pk.compare_passages(TAU, pk.simulate(pk.Langevin(WELL, 2.0), at(-1.0, 300), 300, 0.1, 0.1))
    with pytest.raises(ValueError, match=r"t=\[0, \.\.\.\]"):
        late = pk.simulate(pk.Langevin(WELL, 2.0), at(-1.0, 300), 300, 0.1, 0.1, **ASK)
        pk.compare_passages(TAU, late)
    with pytest.raises(ValueError, match="at least 200"):
        pk.compare_passages(TAU, well(100, t=0.1))
    narrow = pk.mean_first_passage_time(pk.FokkerPlanck(WELL, 2.0), pk.Grid(-0.8, 4, 400), TARGET)
    with pytest.raises(ValueError, match="beyond the grid"):
        pk.compare_passages(narrow, X)
