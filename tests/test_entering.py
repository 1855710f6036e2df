"""Particles that enter at walls: against series, the equation of their law, and planted faults."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

import pdekit as pk
from pdekit.particles import ensemble
from pdekit.particles.dynamics import entering, stopping
from pdekit.particles.noise import STOP_UNIFORM, NoiseOfSome, StepNoise

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
NOTHING = pk.potentials.Quadratic(1e-12)  # flat, with a kernel
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x)
WELL = pk.potentials.DoubleWell()
LINE, NARROW = pk.Grid(0, 1, 200), pk.Grid(-1, 1, 400)
D = 1 / 20
THROUGH = pk.Walls(pk.Inflow(0.3), True)


def staying(x, t, terms=60):
    """Survival on [0, 1] from x, where 0 reflects and 1 absorbs."""
    k = (np.arange(terms) + 0.5) * math.pi
    return float((2 * np.sin(k) / k * np.cos(k * x) * np.exp(-D * k**2 * t)).sum())


def through(t, flux=0.3, x=0.3, terms=400):
    """The same mass, with what has come in at 0 since: its integral over the time, by terms."""
    k = (np.arange(terms) + 0.5) * math.pi
    grown = (2 * np.sin(k) / k * -np.expm1(-D * k**2 * t) / (D * k**2)).sum()
    return staying(x, t) + flux * float(grown)


@pytest.mark.parametrize("dt", [0.1, 0.03])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_mass_of_free_motion_is_exact_at_any_step(dt, dtype):
    n, times = 20_000, [0.5, 3.0]
    dynamics = pk.Langevin(NOTHING, 20.0, box=LINE, walls=THROUGH)
    X = pk.simulate(dynamics, np.full((n, 1), 0.3), n, times, dt, seed=1, dtype=dtype)
    assert X.x.sizes["particle"] == n + 18_000
    for found, t in zip(X.alive.values, times, strict=True):
        assert abs(found - through(t)) < 4 * math.sqrt(through(t) / n)


def test_at_rest_the_density_falls_linearly():
    """J = flux everywhere: rho = (flux / D)(1 - x)."""
    n, flux = 1_000, 0.3
    dynamics = pk.Langevin(NOTHING, 20.0, box=LINE, walls=THROUGH)
    X = pk.simulate(dynamics, np.full((n, 1), 0.3), n, 30.0, 0.1, seed=2)
    x = X.final.values[np.isfinite(X.final.values)]
    assert float(X.alive[0]) == pytest.approx(flux / D / 2, abs=4 * math.sqrt(3 / n))
    assert kstest(x, lambda y: 1 - (1 - y) ** 2).pvalue > 1e-3


CASES = {
    "in": pk.Walls(pk.Inflow(0.4), False),
    "in, and out": pk.Walls(pk.Inflow(0.4), True),
    "in, and partly out": pk.Walls(pk.PartlyAbsorbing(1.0), pk.Inflow(0.8)),
    "in on both sides": pk.Walls(pk.Inflow(0.3), pk.Inflow(0.8)),
}
DYNAMICS = {
    "Langevin": lambda **walls: pk.Langevin(WELL, 2.0, box=NARROW, **walls),
    "annealed": lambda **walls: pk.AnnealedLangevin(WELL, lambda t: 2 + t, box=NARROW, **walls),
    "multiplicative": lambda **walls: pk.MultiplicativeLangevin(
        WELL, 2.0, lambda x: 1 + x[..., 0] ** 2 / 4, box=NARROW, **walls
    ),
    "Ito": lambda **walls: pk.ItoProcess(lambda x: 1 - x, lambda x: 1 + x / 4, 1, NARROW, **walls),
}


@pytest.mark.parametrize(
    ("name", "case"),
    [*(("Langevin", case) for case in CASES), ("annealed", "in on both sides"),
     ("multiplicative", "in, and partly out"), ("Ito", "in, and out")],
)  # fmt: skip
def test_particles_follow_the_equation_of_their_law(name, case):
    dynamics = DYNAMICS[name](walls=CASES[case], killing=0.2)
    start, times = pk.Gaussian(0.2, 0.1), [0.2, 1.0]
    rho = pk.solve(dynamics.law(), NARROW, start, times)
    X = pk.simulate(dynamics, start, 10_000, times, 0.01, seed=3)
    assert pk.compare(rho, X).p_value > 1e-3


def test_in_the_plane_they_enter_all_along_a_wall():
    box = pk.Grid((-1, -1), (1, 2), (60, 90))
    walls = pk.Walls((pk.Inflow(0.3), True), (False, pk.Inflow(0.5)))
    V = pk.potentials.DoubleWell(2)
    dynamics = pk.Langevin(V, 2.0, box=box, walls=walls)
    start = pk.Gaussian((0.2, 0.3), 0.15)
    rho = pk.solve(dynamics.law(), box, start, 0.5)
    X = pk.simulate(dynamics, start, 10_000, 0.5, 0.005, seed=4)
    assert pk.compare(rho, X).p_value > 1e-3


def test_the_error_falls_with_the_step_not_its_root():
    """Weak order one: of the mass in a steep well, at dt = .1 within a hundredth."""
    steep = pk.potentials.Quadratic(4.0)
    dynamics = pk.Langevin(steep, 2.0, box=NARROW, walls=pk.Walls(pk.Inflow(1.0), True))
    start, n = pk.Gaussian(0.2, 0.1), 100_000
    rho = pk.solve(dynamics.law(), NARROW, start, 1.0)
    there = float(rho.final.sum()) * NARROW.cell_volume
    found = [pk.simulate(dynamics, start, n, 1.0, dt, seed=7) for dt in (0.1, 0.05)]
    errors = [abs(float(X.alive[-1]) - there) for X in found]
    assert errors[0] < 0.02 and errors[1] < errors[0] / 1.5 + 4 * math.sqrt(there / n)


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["at the end", "at the start"])
def test_newcomers_that_miss_their_part_of_a_step_are_found_out(monkeypatch, share):
    """Planted faults: all enter at the end of their step, or at its start."""
    part = stopping.Stopping.part_of_step
    whole = lambda self, x, left, step, noise: part(  # noqa: E731
        self, x, torch.full_like(left, max(share * step.size, 1e-12)), step, noise
    )
    monkeypatch.setattr(stopping.Stopping, "part_of_step", whole)
    dynamics = pk.Langevin(NOTHING, 2.0, box=LINE, walls=pk.Walls(pk.Inflow(4.0), True))
    start, n = pk.Uniform(0.0, 1.0), 40_000
    rho = pk.solve(dynamics.law(), LINE, start, 0.5)
    X = pk.simulate(dynamics, start, n, 0.5, 0.03, seed=5)
    assert pk.compare(rho, X).p_value < 1e-6
    monkeypatch.setattr(stopping.Stopping, "part_of_step", part)
    assert pk.compare(rho, pk.simulate(dynamics, start, n, 0.5, 0.03, seed=5)).p_value > 1e-3


def test_another_flux_is_found_out_and_false_alarms_are_rare():
    """The number of particles that enter has no scatter: 3 % more of it is seen in 10,000."""
    start = pk.Uniform(0.0, 1.0)
    make = lambda flux: pk.Langevin(NOTHING, 2.0, box=LINE, walls=pk.Walls(pk.Inflow(flux)))  # noqa: E731
    rho = pk.solve(make(1.0).law(), LINE, start, 1.0)
    more = pk.simulate(make(1.03), start, 10_000, 1.0, 0.05)
    assert pk.compare(rho, more).data["p_survival"].values[0] < 1e-6
    through = pk.Langevin(NOTHING, 2.0, box=LINE, walls=pk.Walls(pk.Inflow(1.0), True))
    rho = pk.solve(through.law(), LINE, start, [0.3, 0.6])
    p = [
        pk.compare(rho, pk.simulate(through, start, 500, [0.3, 0.6], 0.03, seed=s)).p_value
        for s in range(20)
    ]
    assert np.count_nonzero(np.array(p) < 0.05) <= 4  # 1 at most expected


# ---- how it is run -------------------------------------------------------------------------------


@pytest.mark.parametrize("potential", [WELL, FLAT], ids=["kernel", "torch"])
def test_paths_depend_on_no_tiles_and_no_output_times(potential, monkeypatch):
    dynamics = pk.Langevin(potential, 2.0, box=LINE, walls=pk.Walls(pk.Inflow(4.0), True))
    ask = {"n": 300, "dt": 0.01, "seed": 9, "runs": 2}
    once = pk.simulate(dynamics, pk.Uniform(0.0, 1.0), t=0.2, **ask)
    later = pk.simulate(dynamics, pk.Uniform(0.0, 1.0), t=[0.1, 0.2, 0.25], **ask)
    some = once.x.sizes["particle"]
    np.testing.assert_allclose(later.x[1, :, :some], once.x[0], rtol=0, atol=1e-12)
    monkeypatch.setattr(ensemble, "_TILE_CPU", 64)
    tiled = pk.simulate(dynamics, pk.Uniform(0.0, 1.0), t=0.2, **ask)
    np.testing.assert_array_equal(tiled.x, once.x)
    np.testing.assert_array_equal(tiled.exits["time"], once.exits["time"])
    assert not np.array_equal(once.x[0, 0], once.x[0, 1], equal_nan=True)


def test_the_compiled_loop_is_the_plain_one(monkeypatch):
    dynamics = pk.Langevin(WELL, 2.0, box=LINE, walls=pk.Walls(pk.Inflow(2.0), True), killing=0.1)
    ask = {"n": 1000, "t": [0.3, 1.0], "dt": 0.02, "seed": 8}
    fast = pk.simulate(dynamics, pk.Uniform(0.0, 1.0), **ask)
    monkeypatch.setattr(stopping.Stopping, "fused", lambda self, x: None)
    slow = pk.simulate(dynamics, pk.Uniform(0.0, 1.0), **ask)
    np.testing.assert_allclose(fast.x, slow.x, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(fast.exits["wall"], slow.exits["wall"])
    assert np.isnan(fast.x.values[0, -1]).all() and float(fast.alive[-1]) > 0.5


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    dynamics = pk.Langevin(WELL, 2.0, box=LINE, walls=pk.Walls(pk.Inflow(4.0), True))
    call = pk.Uniform(0.0, 1.0), 300, [0.05, 0.2], 1e-4
    ask = {"seed": 10, "observe": pk.particles.Moments()}
    whole = pk.simulate(dynamics, *call, **ask)
    file = pk.particles.Checkpoint(tmp_path / "run.npz", minutes=1e-9)
    moved, calls = entering.Entering.positions, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 6:
            raise RuntimeError("stop")
        return moved(self, *args)

    monkeypatch.setattr(entering.Entering, "positions", interrupted)
    with pytest.raises(RuntimeError, match="stop"):
        pk.simulate(dynamics, *call, checkpoint=file, **ask)
    monkeypatch.setattr(entering.Entering, "positions", moved)
    again = pk.simulate(dynamics, *call, checkpoint=file, **ask)
    assert again.stats["resumed"] > 0
    np.testing.assert_array_equal(again.x, whole.x)
    np.testing.assert_array_equal(again.alive, whole.alive)
    np.testing.assert_array_equal(again.observed["mean"], whole.observed["mean"])
    there = whole.final.values[np.isfinite(whole.final.values)]
    assert whole.observed["particles"][-1] == len(there) == round(300 * float(whole.alive[-1]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_noise_of_some_is_that_of_all(dtype):
    noise = StepNoise(3, 5, 64, torch.empty(2, 64, 3, dtype=dtype))
    rows, columns = torch.tensor([0, 1, 1]), torch.tensor([7, 0, 63])
    some = NoiseOfSome(noise, rows, columns)
    torch.testing.assert_close(some.at(9)[0], noise.at(9)[rows, columns], rtol=0, atol=0)
    uniforms = noise.uniforms(9, STOP_UNIFORM, 5)[rows, columns]
    torch.testing.assert_close(some.uniforms(9, STOP_UNIFORM, 5)[0], uniforms, rtol=0, atol=0)


def test_who_has_not_entered_is_not_outside():
    dynamics = pk.Langevin(WELL, 2.0, box=LINE, walls=pk.Walls(pk.Inflow(1.0), True))
    X = pk.simulate(dynamics, pk.Uniform(0.0, 1.0), 300, [0.1, 0.3], 0.01, runs=2)
    assert pk.certificates.Contained()(X).passed
    X.x.values[0, 0, np.flatnonzero(np.isfinite(X.x.values[0, 0, :, 0]))[0]] = 1.5
    assert not pk.certificates.Contained()(X).passed


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="flux"):
        pk.Inflow(-1.0)
    with pytest.raises(ValueError, match="Held is for equations"):
        pk.Langevin(WELL, 2.0, box=LINE, walls=pk.Walls(pk.Held(1.0), pk.Inflow(1.0)))
    dynamics = pk.Langevin(WELL, 2.0, box=LINE, walls=pk.Walls(pk.Inflow(1.0)))
    with pytest.raises(ValueError, match="watches the particles that start"):
        pk.simulate(dynamics, pk.Uniform(0, 1), 100, 0.1, 0.01, observe=pk.FirstPassage(0.8, 1.0))
