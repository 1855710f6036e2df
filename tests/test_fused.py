"""The fused kernel is the plain loop, to the bit, and does not depend on how it is cut up."""

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.particles import ensemble, fused
from pdekit.particles.integrators import EulerMaruyama, LeimkuhlerMatthews, StochasticHeun
from pdekit.potentials import (
    Custom,
    DoubleWell,
    Evolving,
    Quadratic,
    Rippled,
    SixHumpCamel,
    Tabulated,
)

X = np.linspace(-2.0, 2.5, 61)
T = np.array([0.1, 0.2, 0.5, 0.9])
SLICE = Tabulated(X, np.cos(3 * X) + X**2)
MOVING = Evolving(T, X, [(1 + t) * np.cos(3 * X - t) + X**2 for t in T])
STANDING = Evolving([0.3], X[:40], [X[:40] ** 2])

EM, LM, HEUN = EulerMaruyama(), LeimkuhlerMatthews(), StochasticHeun()
INTEGRATORS = {"euler": EM, "matthews": LM, "heun": HEUN}
# the walls are hit often, also by the points at which slopes are taken
WALLS = {
    "none": None,
    "walls": pk.Grid(-0.9, 1.1, 8),
    "periodic": pk.Grid(-0.9, 1.1, 8, periodic=True),
}
POTENTIALS = {
    "quadratic": (Quadratic(1.7),),
    "well": (DoubleWell(),),
    "rippled": (Rippled(),),
    "slice": (SLICE,),
    "moving": (MOVING,),
    "one time": (STANDING,),
    "sum": (DoubleWell() + SLICE + Quadratic(0.3),),
    "well and moving": (DoubleWell(), MOVING),
    "sum and slice": (Quadratic((0.5,)) + DoubleWell(), SLICE),
    "slice and moving": (SLICE, MOVING),
    "two slices that move": (MOVING, STANDING),
}


def dynamics(potentials, integrator=LM, box=None, beta=1.5):
    if len(potentials) == 1:
        return pk.Langevin(potentials[0], beta, integrator=integrator, box=box)
    return pk.ControlledLangevin(potentials[0], beta, potentials[1], integrator, box)


def moved(moving, n=333, **more):
    """From far beyond the samples to the middle; 230 steps of two lengths, past all stored times."""
    start = np.linspace(-2.6, 2.9, n)[:, None]
    settings = {"n": n, "t": [0.3, 1.005], "dt": 0.005, "seed": 11, **more}
    return pk.simulate(moving, start, **settings).x.values


def plainly(moving, monkeypatch, **more):
    with monkeypatch.context() as patch:
        patch.setattr(ensemble, "fused", lambda dynamics, x: None)
        return moved(moving, **more)


def is_fused(moving, dtype=torch.float64, dim=1):
    return fused.fused(moving, torch.zeros(1, 64, dim, dtype=dtype)) is not None


@pytest.mark.parametrize("walls", WALLS)
@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("name", POTENTIALS)
def test_fused_is_plain(name, integrator, walls, monkeypatch):
    """Sine of ``Rippled`` apart, the same bits after 201 steps; every product is in the same place."""
    moving = dynamics(POTENTIALS[name], INTEGRATORS[integrator], WALLS[walls])
    assert is_fused(moving)
    fast, plain = moved(moving, runs=2), plainly(moving, monkeypatch, runs=2)
    if name == "rippled":
        print(np.abs(fast-plain).max())
        assert np.abs(fast - plain).max() < 1e-12
    else:
        assert np.array_equal(fast, plain)
