"""Boxes, walls, clocks and resetting of noises that depend on place, and of Metropolis' rule."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, laplace
from test_stopping import BOTH, LINE, NARROW, WELL, at, radiating, series, within

import pdekit as pk
from pdekit.particles.dynamics import diffusion, metropolis, stopping

START = pk.Gaussian(0.2, 0.1)
PARTLY = pk.Walls(pk.PartlyAbsorbing(2.0), pk.PartlyAbsorbing(2.0))


def spread(x):
    return 1 + 0.6 * x[..., 0]


MAKE = {
    "MultiplicativeLangevin": lambda **k: pk.MultiplicativeLangevin(
        WELL, 2.0, pk.Stratonovich(spread), box=NARROW, **k
    ),
    "ItoProcess": lambda **k: pk.ItoProcess(
        lambda x, t: -x * (1 + t), lambda x: spread(x) ** 0.5, box=NARROW, **k
    ),
    "MetropolisLangevin": lambda **k: pk.MetropolisLangevin(WELL, 2.0, box=NARROW, **k),
}
CASES = {
    "reflect": {},
    "absorb": {"walls": BOTH},
    "in part": {"walls": PARTLY},
    "wall and clock of places": {
        "walls": pk.Walls(True, False),
        "killing": lambda x: 1 + x[..., 0],
    },
    "reset": {"resetting": pk.Resetting(2.0, pk.Gaussian(0.5, 0.1))},
}
FOLLOWED = [
    (name, case)
    for name in MAKE
    for case in CASES
    if (name, case) not in {("MetropolisLangevin", "in part"), ("ItoProcess", "reset")}
]


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize(("name", "case"), FOLLOWED)
def test_particles_follow_the_equation_of_their_law(name, case):
    """Noise that is five times as strong at one wall as at the other."""
    D, times, n = MAKE[name](**CASES[case]), [0.2, 0.6], 8_000
    rho = pk.solve(D.law(), NARROW, START, times)
    X = pk.simulate(D, START, n, times, 0.01, seed=1)
    assert pk.compare(rho, X).p_value > 1e-3


@pytest.mark.parametrize("case", ["absorb", "in part"])
def test_the_error_falls_with_the_step_not_its_root(case):
    D, n = MAKE["MultiplicativeLangevin"](**CASES[case]), 100_000
    rho = pk.solve(D.law(), NARROW, START, 1.0)
    left = float(rho.final.sum()) * NARROW.cell_volume
    found = [pk.simulate(D, START, n, 1.0, dt, seed=6) for dt in (0.1, 0.025)]
    errors = [abs(float(X.alive[-1]) - left) for X in found]
    noise = 3 * math.sqrt(left * (1 - left) / n)
    assert errors[0] < 0.02 and errors[1] < errors[0] / 3 + noise


@pytest.mark.parametrize("wall", [True, pk.PartlyAbsorbing(0.7)], ids=["absorb", "in part"])
def test_constant_noise_is_exact_for_any_step(wall):
    """The series between two walls; radiation."""
    D = pk.ItoProcess(lambda x: 0 * x, math.sqrt(0.1), box=LINE, walls=pk.Walls(wall, wall))
    X = pk.simulate(D, at(0.3, 40_000), 40_000, 2.0, 0.05, seed=2)
    exact = series(0.3, 0.05, 2.0)[0] if wall is True else radiating(0.7, 0.05, 0.3, 2.0)
    assert within(float(X.alive[-1]), exact, 40_000)


def test_resetting_has_the_tent_at_rest():
    D = pk.ItoProcess(lambda x: 0 * x, 1.0, resetting=pk.Resetting(3.0, pk.Gaussian(0.5, 1e-9)))
    X = pk.simulate(D, at(0.0, 10_000), 10_000, 4.0, 0.1, seed=3)
    assert kstest(X.final.values[:, 0], laplace(0.5, 6**-0.5).cdf).pvalue > 1e-4


OBLIQUE = {"reflect": None, "in part": pk.Walls(pk.PartlyAbsorbing(1.0), (False, True))}


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize("case", OBLIQUE)
def test_walls_push_along_the_conormal(case, monkeypatch):
    """Two noises that are correlated: off a wall along its normal is another law."""
    plane, law = pk.Grid((-1, -1), (1, 1), (48, 48)), pk.Gaussian((0.3, -0.2), 0.1)
    B = [[1.0, 0.0], [0.8, 0.6]]
    D = pk.ItoProcess(lambda x: -x, B, dim=2, box=plane, walls=OBLIQUE[case])
    rho = pk.solve(D.law(), plane, law, 0.3)
    n = 8_000
    assert pk.compare(rho, pk.simulate(D, law, n, 0.3, 0.01, seed=4)).p_value > 1e-3
    for module in (diffusion, stopping):
        monkeypatch.setattr(module, "aslant", lambda D, push: 0 * push)
    assert pk.compare(rho, pk.simulate(D, law, n, 0.3, 0.01, seed=4)).p_value < 1e-6


def test_metropolis_keeps_gibbs_law_in_a_box(monkeypatch):
    """At steps of half the width, with a slope at the wall, which must be mirrored beyond it."""
    V, box = pk.potentials.Linear((3.0,)), pk.Grid(0.0, 1.0, 8)
    D = pk.MetropolisLangevin(V, 1.0, box=box)
    law = lambda x: (1 - np.exp(-3 * x)) / (1 - math.exp(-3))  # noqa: E731

    def p_value():
        X = pk.simulate(D, pk.Uniform(0.0, 1.0), 20_000, 6.0, 0.1, seed=5)
        return kstest(X.final.values[:, 0], law).pvalue

    assert p_value() > 1e-4
    bare = diffusion.fold
    monkeypatch.setattr(metropolis, "fold", lambda x, box: (bare(x, box)[0], None))
    assert p_value() < 1e-6


def test_a_proposal_stops_at_a_wall_whether_accepted_or_not():
    """None is ever beyond; exits are at walls, and the share is that of the equation."""
    X = pk.simulate(MAKE["MetropolisLangevin"](walls=BOTH), START, 5_000, 1.0, 0.05, seed=6)
    gone = np.isfinite(X.exits["time"].values)
    assert 0.2 < gone.mean() < 0.9
    assert np.isin(X.exits["place"].values[gone], [-1.0, 1.4]).all()
    left = X.final.values[~gone]
    assert (left > -1).all() and (left < 1.4).all()


def test_a_coordinate_without_noise_stops_at_a_wall_that_it_meets():
    """q' = 1 from 0 reaches 1 at 1, by momenta that move alone."""
    box = pk.Grid((0.0, -9.0), (1.0, 9.0), (8, 8))
    D = pk.ItoProcess(
        lambda x: torch.ones_like(x) * x.new_tensor([1.0, 0.0]), [0.0, 1.0], dim=2, box=box,
        walls=pk.Walls((False, False), (True, False)),
    )  # fmt: skip
    X = pk.simulate(D, np.tile([0.05, 0.0], (100, 1)), 100, 1.2, 0.1, seed=7)
    np.testing.assert_allclose(X.exits["time"], 0.95, atol=1e-9)


BAD = {
    "in part": (lambda: pk.MetropolisLangevin(WELL, 2.0, NARROW, PARTLY), "reflect or absorb"),
    "a box of the plane": (
        lambda: pk.ItoProcess(lambda x: x, 1.0, box=pk.Grid((0, 0), (1, 1), (4, 4))), "2 coordin"),
    "no box": (lambda: pk.MultiplicativeLangevin(WELL, 2.0, 1.0, walls=BOTH), "add box="),
    "growth": (lambda: pk.ItoProcess(lambda x: x, 1.0, killing=-1.0), "killing"),
    "held": (
        lambda: pk.ItoProcess(lambda x: x, 1.0, box=LINE, walls=pk.Walls(pk.Held(1.0))),
        "Held is for equations"),
    "two boxes": (
        lambda: pk.MetropolisLangevin(pk.potentials.DoubleWell(2), 2.0, box=LINE).dim, "one dim"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(name):
    call, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        call()


def test_wide_steps_are_warned_of():
    D = pk.ItoProcess(lambda x: 0 * x, 1.0, box=LINE, walls=BOTH)
    with pytest.warns(pk.AccuracyWarning, match="width"):
        pk.simulate(D, at(0.3, 50), 50, 0.5, 0.25)
