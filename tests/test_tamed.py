"""Tamed steps stay finite where others do not, and say where they are no approximation."""

import numpy as np
import pytest

import pdekit as pk
from pdekit.particles import NonFiniteError, StepSizeWarning, TamedEuler

WELL, STEEP = pk.potentials.DoubleWell(), np.full((50, 1), 40.0)
TAMED = TamedEuler()
DYNAMICS = {
    "Langevin": lambda how: pk.Langevin(WELL, 4.0, **how),
    "interacting": lambda how: pk.InteractingLangevin(WELL, 4.0, pk.CurieWeiss(1.0), **how),
    "two scales": lambda how: pk.TwoScaleLangevin(WELL, 4.0, 0.5, 1.0, 4, **how),
}


def steps_said(recwarn):
    return [str(w.message) for w in recwarn if w.category is StepSizeWarning]


@pytest.mark.filterwarnings("ignore::pdekit.particles.StepSizeWarning")
@pytest.mark.parametrize("name", DYNAMICS)
def test_where_eulers_steps_overflow_tamed_ones_do_not(name):
    """From 40, where h |b| = 640 h b of the well is 64,000 h: less than a unit of length a step."""
    euler, tamed = (
        DYNAMICS[name]({"integrator": kind}) for kind in (pk.particles.EulerMaruyama(), TAMED)
    )
    start = STEEP * (3 if name == "two scales" else 1)
    with pytest.raises(NonFiniteError):
        pk.simulate(euler, start, 50, 2.0, 0.05)
    x = pk.simulate(tamed, start, 50, [0.05, 20.0], 0.05).x.values
    assert 0 < (start - x[0]).max() < 2 and np.abs(x[1]).max() < (40 if name == "two scales" else 3)


def test_a_drift_that_is_shortened_is_said_where_it_is(recwarn):
    """V' = 10 x: 1 at .1, so h |b| = .01 there, and .25 from a start at 2.5."""
    dynamics = pk.Langevin(pk.potentials.Quadratic(10.0), 1e6, TAMED)
    pk.simulate(dynamics, np.full((8, 1), 0.1), 8, 0.1, 0.01)
    assert steps_said(recwarn) == []
    pk.simulate(dynamics, np.full((8, 1), 2.5), 8, 1.0, 0.01)
    (text,) = steps_said(recwarn)
    assert "dt * |drift| = 0.25:" in text and "20% of the drift" in text


def test_it_is_said_of_the_end_too(recwarn):
    """A slope that grows as particles run down it."""
    hill = pk.potentials.Custom(lambda x: -(x[..., 0] ** 2) * 2, lambda x: -4 * x)
    pk.simulate(pk.Langevin(hill, 1e6, TAMED), np.ones((8, 1)), 8, 1.0, 0.01)
    (text,) = steps_said(recwarn)
    assert "where particles are at the end" in text


def test_tamed_steps_beyond_the_stability_limit_are_not_called_unstable(recwarn):
    dynamics = pk.Langevin(pk.potentials.Quadratic(300.0), 1e6, TAMED)
    x = pk.simulate(dynamics, np.full((8, 1), 1e-3), 8, 5.0, 0.01).x.values
    (text,) = steps_said(recwarn)
    assert "tamed steps stay finite" in text and "unstable" not in text
    assert np.abs(x).max() < 1


@pytest.mark.parametrize("name", DYNAMICS)
def test_the_step_that_is_advised_is_silent(name, recwarn):
    dynamics, start = DYNAMICS[name]({"integrator": TAMED}), np.full((8, 1), 1.9)
    pk.simulate(dynamics, start, 8, 0.5, 0.5)
    dt = float(steps_said(recwarn)[0].split("dt <= ")[1].split(",")[0])
    recwarn.clear()
    pk.simulate(dynamics, start, 8, 4 * dt, dt)
    assert steps_said(recwarn) == []


def test_a_fast_process_that_does_not_feel_the_loss_is_not_asked(recwarn):
    free = pk.particles.FreeDisplacement()
    far = pk.TwoScaleLangevin(pk.potentials.Quadratic(1.0), 4.0, 0.5, 1.0, 4, fast=free,
                              integrator=TAMED)  # fmt: skip
    pk.simulate(far, np.full((8, 1), 100.0), 8, 0.02, 0.01)
    assert steps_said(recwarn) == []


@pytest.mark.filterwarnings("ignore::pdekit.particles.StepSizeWarning")
def test_every_agent_has_a_norm_of_its_own():
    """Two agents in the plane, one far out: the step of the other does not know."""
    V = pk.potentials.DoubleWell(2)
    dynamics = pk.InteractingLangevin(V, 1e90, pk.CurieWeiss(0.0), integrator=TAMED)
    start = np.array([[0.5, -0.3], [30.0, 2.0]])
    got = pk.simulate(dynamics, start, 2, 0.1, 0.1).final.values
    b = start - start**3
    norm = np.hypot(*b.T)[:, None]
    np.testing.assert_allclose(got, start + 0.1 * b / (1 + 0.1 * norm), rtol=1e-9)


def test_compiled_loops_that_do_not_tame_are_not_taken():
    import torch

    from pdekit.particles.fused import fused

    x = torch.zeros(1, 8, 1, dtype=torch.float64)
    euler, tamed = {"integrator": pk.particles.EulerMaruyama()}, {"integrator": TAMED}
    assert fused(DYNAMICS["Langevin"](tamed), x) is not None
    for name in ("interacting", "two scales"):
        assert fused(DYNAMICS[name](euler), x) is not None
        assert fused(DYNAMICS[name](tamed), x) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.filterwarnings("ignore::pdekit.particles.StepSizeWarning")
def test_a_slope_that_overflows_moves_a_particle_by_one(dim, dtype):
    """V' = x³ - x; on a line in the compiled loop."""
    start = np.full((8, dim), 1e13 if dtype == "float32" else 1e103)
    dynamics = pk.Langevin(pk.potentials.DoubleWell(dim), 1e6, TAMED)
    x = pk.simulate(dynamics, start * 0 + start, 8, 0.01, 0.01, dtype=dtype).final.values
    assert np.array_equal(x, start.astype(dtype))  # a step of 1 is below its rounding
    sharp = pk.potentials.Custom(lambda x: 1e308 * x[..., 0] ** 4, lambda x: 4e308 * x**3)
    near = pk.simulate(pk.Langevin(sharp, 1e6, TAMED), np.ones((8, 1)), 8, 0.01, 0.01)
    np.testing.assert_allclose(near.final.values, 0.0, atol=1e-2)


@pytest.mark.filterwarnings("ignore::pdekit.particles.StepSizeWarning")
def test_where_the_slope_is_not_finite_another_dt_is_not_advised():
    """Euler's step of an infinite slope, and a tamed one of none at all."""
    walled = pk.potentials.Custom(
        lambda x: x[..., 0] ** 2, lambda x: np.where(x > 3, np.inf, 2 * x)
    )
    lost = pk.potentials.Custom(lambda x: x[..., 0] ** 2, lambda x: np.where(x > 3, np.nan, 2 * x))
    for V, how in ((walled, pk.particles.EulerMaruyama()), (lost, TAMED)):
        with pytest.raises(NonFiniteError, match="slope there is not finite, whatever dt"):
            pk.simulate(pk.Langevin(V, 1.0, how), np.full((8, 1), 4.0), 8, 1.0, 0.01)
    x = pk.simulate(pk.Langevin(walled, 1.0, TAMED), np.full((8, 1), 3.5), 8, 1.0, 0.01).final
    assert (np.abs(x) < 3).all()
