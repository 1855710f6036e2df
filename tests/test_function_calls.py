"""How many of its own functions a call of pdekit goes through: calls that take microseconds.

The calls are those of the speed studies, smaller. A bound is the number today and one in fifty; a
check that is asked twice, or for each step, exceeds it. No seconds are measured.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import pdekit as pk
from pdekit.particles import EulerMaruyama

HOME = str(Path(pk.__file__).parent)
WELL, LINE, PLANE = pk.potentials.DoubleWell(), pk.Grid(-3, 3, 200), pk.Grid((-3, -3), (3, 3), 64)
START, CENTRED = pk.Gaussian(-1.0, 0.1), pk.Gaussian((-1.0, 0.0), 0.3)
DATA, SURFACE = WELL(LINE.centres), pk.potentials.DoubleWell(2)(PLANE.centres)
CLOUD = np.random.default_rng(0).normal(size=(2000, 2))


def game():
    return pk.control(
        pk.potentials.Quadratic(0.5), 2.0, pk.Grid(-5, 5, 100), pk.Gaussian(1.0, 0.5),
        lambda x: 0 * x[..., 0], np.linspace(0, 1, 21), coupling=pk.MeanTracking(1.0, 0.8),
    )  # fmt: skip


def moved(dynamics, dim):
    return pk.simulate(dynamics, CLOUD[:, :dim], len(CLOUD), 0.2, 0.01, dtype="float32")


CALLS = {
    "W1": lambda: pk.solve(pk.FokkerPlanck(WELL, 4.0), LINE, START, 10.0),
    "W1s": lambda: pk.stationary(pk.FokkerPlanck(WELL, 4.0), LINE),
    "W2": lambda: pk.solve(
        pk.FokkerPlanck(pk.potentials.DoubleWell(2), 4.0), PLANE, CENTRED, 1.0, pk.schemes.Split()
    ),
    "W3": lambda: pk.solve(pk.ViscousHJ(10.0), LINE, DATA, 0.5),
    "W4": lambda: pk.solve(pk.HamiltonJacobi(), LINE, DATA, 0.5),
    "W5": lambda: pk.solve(pk.Heat(10.0), PLANE, SURFACE, 0.5),
    "W6": lambda: pk.solve(pk.McKeanVlasov(WELL, 3.0, pk.CurieWeiss(1.0)), LINE, START, 1.0),
    "W7": game,
    "P1": lambda: moved(pk.Langevin(WELL, 4.0, EulerMaruyama()), 1),
    "P2": lambda: moved(
        pk.InteractingLangevin(
            pk.potentials.DoubleWell(2), 4.0, pk.CurieWeiss(1.0), integrator=EulerMaruyama()
        ),
        2,
    ),
    "P4": lambda: moved(pk.TwoScaleLangevin(pk.potentials.Rough(2, 0.5), 4.0, 0.5, 1.0, 5), 2),
}
TODAY = {
    "W1": 166, "W1s": 74, "W2": 2020, "W3": 60, "W4": 52, "W5": 86, "W6": 497, "W7": 662,
    "P1": 729, "P2": 912, "P4": 977,
}  # fmt: skip


def own_calls(call):
    """Of functions of pdekit, after a call that compiles and caches."""
    found = 0

    def count(frame, event, _):
        nonlocal found
        code = frame.f_code
        # from Python 3.12 on properties are cached by the standard library
        own = code.co_filename.startswith(HOME) and code.co_name != "__get__"
        found += event == "call" and own

    call()
    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("name", CALLS)
def test_a_call_goes_through_no_more_functions_than_it_did(name):
    assert own_calls(CALLS[name]) <= 1.02 * TODAY[name]
