"""Particles that stop at walls or by a clock, and those that are reset: against exact laws."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import kstest, laplace

import pdekit as pk
from pdekit.particles.dynamics import stopping
from pdekit.particles.noise import StepNoise

FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x)
NOTHING = pk.potentials.Quadratic(1e-12)  # flat, with a kernel
WELL = pk.potentials.DoubleWell()
LINE = pk.Grid(0, 1, 200)
BOTH = pk.Walls(True, True)
N = 100_000


def at(place, n=N):
    return np.full((n, 1), place)


def series(x, D, t, terms=80):
    """Survival on [0, 1] from x between walls that absorb."""
    k = np.arange(1, 2 * terms, 2) * math.pi
    decay = np.exp(-D * k**2 * np.atleast_1d(t)[:, None])
    return (4 / k * np.sin(k * x) * decay).sum(1)


def radiating(rate, D, x, t, terms=60):
    """The same between walls of a rate: Carslaw and Jaeger 3.11."""
    total = 0.0
    for k in range(terms):
        low, high = max((2 * k - 1) * math.pi, 0.0) + 1e-9, (2 * k + 1) * math.pi - 1e-9
        mu = brentq(lambda m: D * m * math.tan(m / 2) - rate, low, high, xtol=1e-14)
        mode = math.cos(mu * (x - 0.5)) * 2 * math.sin(mu / 2) / mu
        total += mode / (0.5 + math.sin(mu) / (2 * mu)) * math.exp(-D * mu**2 * t)
    return total


def within(found, exact, n=N, errors=4.0):
    return abs(found - exact) <= errors * math.sqrt(max(exact * (1 - exact), 1 / n) / n)


# ---- exact laws ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [0.1, 0.01])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_survival_and_exit_times_between_walls_that_absorb(dt, dtype):
    """Free motion is exact for steps far below the square of the width; 2e-3 at dt = .01."""
    D = pk.Langevin(NOTHING, 20.0, box=LINE, walls=BOTH)
    X = pk.simulate(D, at(0.3), N, [0.5, 2.0], dt, seed=1, dtype=dtype)
    exact = series(0.3, 1 / 20, [0.5, 2.0])
    assert all(map(within, X.alive.values, exact))
    times = X.exits["time"].values
    gone = np.isfinite(times)
    assert gone.mean() == pytest.approx(1 - X.alive.values[-1], abs=1e-12)
    law = lambda t: (1 - series(0.3, 1 / 20, np.maximum(t, 1e-4))) / (1 - exact[1])  # noqa: E731
    assert kstest(times[gone], law).pvalue > 1e-4


def test_which_wall_and_where():
    """From x on [0, 1] the upper wall is first with probability x, after beta x (1 - x)/2."""
    X = pk.simulate(pk.Langevin(NOTHING, 2.0, box=LINE, walls=BOTH), at(0.3), N, 4.0, 0.002, seed=2)
    walls, places = X.exits["wall"].values, X.exits["place"].values[:, 0]
    assert np.isin(walls, [0.0, 1.0]).all()
    assert within((walls == 1).mean(), 0.3)
    np.testing.assert_array_equal(places, walls)
    assert X.exits["time"].values.mean() == pytest.approx(0.3 * 0.7, abs=4 * 0.2 / N**0.5)
    assert np.isnan(X.x.values).all() and X.alive.values == 0


@pytest.mark.parametrize("rate", [0.05, 0.7])
def test_walls_that_absorb_in_part(rate):
    """The flux out is the rate times the density: against the radiation series."""
    wall = pk.PartlyAbsorbing(rate)
    D = pk.Langevin(NOTHING, 20.0, box=LINE, walls=pk.Walls(wall, wall))
    X = pk.simulate(D, at(0.3), N, [0.5, 2.0], 0.01, seed=3)
    exact = [radiating(rate, 1 / 20, 0.3, t) for t in (0.5, 2.0)]
    assert all(map(within, X.alive.values, exact))


@pytest.mark.parametrize("potential", [WELL, FLAT], ids=["kernel", "torch"])
def test_a_constant_clock_is_exact_for_any_step(potential):
    X = pk.simulate(pk.Langevin(potential, 2.0, killing=0.7), at(0.3), N, [0.5, 2.0], 0.25, seed=4)
    exact = np.exp(-0.7 * np.array([0.5, 2.0]))
    assert all(map(within, X.alive.values, exact))
    times = X.exits["time"].values
    law = lambda t: (1 - np.exp(-0.7 * t)) / (1 - exact[1])  # noqa: E731
    assert kstest(times[np.isfinite(times)], law).pvalue > 1e-4
    assert (X.exits["wall"].dropna("particle") == -1).all()


def test_resetting_has_the_tent_at_rest():
    """Evans and Majumdar: exp(-|x - x0|/s)/(2 s), s = (beta rate)^(-1/2)."""
    D = pk.Langevin(FLAT, 2.0, resetting=pk.Resetting(3.0, pk.Gaussian(0.5, 1e-9)))
    X = pk.simulate(D, at(0.0, 20_000), 20_000, 5.0, 0.1, seed=5)
    assert X.alive is None and X.exits is None
    assert kstest(X.final.values[:, 0], laplace(0.5, 6**-0.5).cdf).pvalue > 1e-4


CASES = {
    "absorb": {"walls": BOTH},
    "in part and absorb": {"walls": pk.Walls(pk.PartlyAbsorbing(2.0), True)},
    "reflect and absorb": {"walls": pk.Walls(False, True)},
    "clock of places": {"killing": lambda x: 1 + x[..., 0]},
    "wall and clock": {"walls": pk.Walls(True, False), "killing": 0.5},
    "reset": {"resetting": pk.Resetting(2.0, pk.Gaussian(0.5, 0.1))},
}
NARROW = pk.Grid(-1, 1.4, 400)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("make", [pk.Langevin, pk.AnnealedLangevin], ids=["fixed", "annealed"])
def test_particles_follow_the_equation_of_their_law(name, make):
    """In a double well, steep at the walls; the default integrators at dt = .01."""
    if make is pk.AnnealedLangevin and name == "reset":
        pytest.skip("the equation takes resetting with fixed coefficients alone")
    noise = 2.0 if make is pk.Langevin else lambda t: 2 + t
    D = make(WELL, noise, box=NARROW, **CASES[name])
    n = 40_000
    rho = pk.solve(D.law(), NARROW, pk.Gaussian(0.2, 0.1), [0.2, 1.0])
    X = pk.simulate(D, pk.Gaussian(0.2, 0.1), n, [0.2, 1.0], 0.01, seed=6)
    assert pk.compare(rho, X).p_value > 1e-3


def test_the_error_falls_with_the_step_not_its_root():
    """Weak order one: at dt = .1 within a hundredth, where walls seen at ends of steps lose .1."""
    D = pk.Langevin(WELL, 2.0, box=NARROW, walls=BOTH)
    rho = pk.solve(D.law(), NARROW, pk.Gaussian(0.2, 0.1), 1.0)
    left = float(rho.final.sum()) * NARROW.cell_volume
    found = [pk.simulate(D, pk.Gaussian(0.2, 0.1), 4 * N, 1.0, dt, seed=7) for dt in (0.1, 0.05)]
    errors = [abs(float(X.alive[-1]) - left) for X in found]
    noise = 4 * math.sqrt(left * (1 - left) / (4 * N))
    assert errors[0] < 0.012 and errors[1] < errors[0] / 1.5 + noise


def test_a_wall_seen_at_the_ends_of_steps_is_found_out(monkeypatch):
    """A planted fault: nobody crosses within a step."""
    monkeypatch.setattr(stopping.Stopping, "fused", lambda self, x: None)
    bridge = torch.exp
    monkeypatch.setattr(torch, "exp", lambda x: bridge(x) * (x == 0))
    X = pk.simulate(pk.Langevin(NOTHING, 20.0, box=LINE, walls=BOTH), at(0.3, 5000), 5000, 2.0, 0.1)
    assert not within(float(X.alive[-1]), series(0.3, 1 / 20, 2.0)[0], 5000)


def test_the_time_of_a_bridge_at_a_wall():
    """E τ of a bridge that comes down by d, against numerical integration of its density."""
    rng = torch.Generator().manual_seed(0)
    for d, end in ((0.3, 0.5), (1.0, 0.01), (0.02, 2.0)):
        normal = torch.randn(N, generator=rng, dtype=torch.float64)
        uniform = torch.rand(N, generator=rng, dtype=torch.float64)
        full = torch.ones(N, dtype=torch.float64)
        share = stopping.hitting_share(d * full, end * full, 0.7, normal, uniform).numpy()
        s = (np.arange(200_000) + 0.5) / 200_000
        density = np.exp(-(d**2) / (1.4 * s) - end**2 / (1.4 * (1 - s))) / s**1.5 / (1 - s) ** 0.5
        mean = (s * density).sum() / density.sum()
        assert abs(share.mean() - mean) < 4 * share.std() / N**0.5


# ---- how it is run -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize(
    "integrator", [pk.particles.StochasticHeun(), pk.particles.EulerMaruyama()], ids=["2", "1"]
)
def test_the_compiled_loop_is_the_plain_one(monkeypatch, dtype, dim, integrator):
    """The same fates, and places to rounding."""
    box = pk.Grid((-1.5,) * dim, (1.4,) * dim, (8,) * dim)
    walls = pk.Walls((True, pk.PartlyAbsorbing(0.5))[:dim], (pk.PartlyAbsorbing(2.0), False)[:dim])
    D = pk.Langevin(
        pk.potentials.DoubleWell(dim), 2.0, integrator, box=box, walls=walls, killing=0.2
    )
    start = pk.Gaussian((0.2,) * dim, 0.3)
    runs = []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr(stopping.Stopping, "fused", lambda self, x: None)
        runs.append(pk.simulate(D, start, 3000, [0.3, 1.0], 0.02, seed=8, runs=2, dtype=dtype))
    a, b = runs
    np.testing.assert_array_equal(a.exits["wall"], b.exits["wall"])
    close = {"rtol": 0, "atol": 1e-4 if dtype == torch.float32 else 1e-12}
    np.testing.assert_allclose(a.exits["time"], b.exits["time"], **close)
    np.testing.assert_allclose(a.x, b.x, **close)
    assert 0.2 < float(a.alive[-1].mean()) < 0.8


def test_paths_do_not_depend_on_the_company_nor_on_when_they_are_seen():
    D = pk.Langevin(FLAT, 2.0, box=LINE, walls=BOTH, killing=lambda x: x[..., 0])
    many = pk.simulate(D, at(0.3, 500), 500, [0.01, 0.02], 0.005, seed=9, runs=2)
    few = pk.simulate(D, at(0.3, 70), 70, [0.01, 0.02], 0.005, seed=9)
    for name in ("time", "wall", "place"):
        np.testing.assert_array_equal(many.exits[name][0, :70], few.exits[name])
    np.testing.assert_array_equal(many.x[:, 0, :70], few.x)
    reset = pk.Langevin(FLAT, 2.0, resetting=pk.Resetting(20.0, pk.Gaussian(0.5, 0.1)))
    many = pk.simulate(reset, at(0.3, 500), 500, 0.1, 0.01, seed=9, runs=2)
    np.testing.assert_array_equal(
        many.x[0, 1, :70], pk.simulate(reset, at(0.3, 70), 70, 0.1, 0.01, seed=9, runs=2).x[0, 1]
    )


@pytest.mark.parametrize("potential", [WELL, FLAT], ids=["kernel", "torch"])
def test_a_stopped_run_goes_on(potential, tmp_path, monkeypatch):
    """From a checkpoint within: the same exits, and the same counts."""
    D = pk.Langevin(potential, 2.0, box=LINE, walls=pk.Walls(True, pk.PartlyAbsorbing(1.0)))
    ask = {"seed": 10, "observe": pk.particles.Moments()}
    whole = pk.simulate(D, at(0.3, 300), 300, [0.05, 0.2], 1e-4, **ask)
    file = pk.particles.Checkpoint(tmp_path / "run.npz", minutes=1e-9)
    moved, calls = stopping.Stopping.positions, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 6:
            raise RuntimeError("stop")
        return moved(self, *args)

    monkeypatch.setattr(stopping.Stopping, "positions", interrupted)
    with pytest.raises(RuntimeError, match="stop"):
        pk.simulate(D, at(0.3, 300), 300, [0.05, 0.2], 1e-4, checkpoint=file, **ask)
    monkeypatch.setattr(stopping.Stopping, "positions", moved)
    again = pk.simulate(D, at(0.3, 300), 300, [0.05, 0.2], 1e-4, checkpoint=file, **ask)
    assert again.stats["resumed"] > 0
    for name in ("time", "wall", "place"):
        np.testing.assert_array_equal(again.exits[name], whole.exits[name])
    np.testing.assert_array_equal(again.alive, whole.alive)
    np.testing.assert_array_equal(again.observed["mean"], whole.observed["mean"])


def test_observables_are_of_those_on_their_way():
    D = pk.Langevin(WELL, 2.0, box=LINE, walls=BOTH)
    seen = (pk.particles.Moments(), pk.particles.Histogram(LINE))
    X = pk.simulate(D, at(0.3, 2000), 2000, [0.01, 0.05], 0.001, seed=11, runs=3, observe=seen)
    for t in range(2):
        for r in range(3):
            left = X.x.values[t, r][np.isfinite(X.x.values[t, r, :, 0])]
            assert X.observed["particles"].values[t, r] == len(left) == 2000 * X.alive.values[t, r]
            assert X.observed["mean"].values[t, r, 0] == pytest.approx(left.mean(), abs=1e-12)
            assert X.observed["histogram"].values[t, r].sum() == len(left)
    blind = pk.simulate(D, at(0.3, 2000), 2000, [0.01, 0.05], 0.001, seed=11, runs=3, keep=False)
    np.testing.assert_array_equal(blind.alive, X.alive)
    assert blind.exits is None


def test_compare_of_survivors_notices_both_sides():
    """The number of survivors, and where they are; counted in cells alike."""
    D = pk.Langevin(WELL, 2.0, box=NARROW, walls=BOTH)
    start, times = pk.Gaussian(0.2, 0.1), [0.2, 1.0, 60.0]
    rho = pk.solve(D.law(), NARROW, start, times)
    counts = {"keep": False, "observe": pk.particles.Histogram(NARROW)}
    for ask in ({}, counts):
        X = pk.simulate(D, start, 20_000, times, 0.01, seed=12, **ask)
        c = pk.compare(rho, X)
        assert c.p_value > 1e-3
        assert c.data["p_survival"].values[2] == 1 and np.isnan(c.data["w1"].values[2])
    hot = pk.simulate(pk.Langevin(WELL, 1.8, box=NARROW, walls=BOTH), start, 20_000, [1.0], 0.01)
    assert pk.compare(rho, hot).data["p_survival"].values[0] < 1e-6
    shifted = pk.simulate(D, start, 20_000, [0.2], 0.01, seed=12)
    shifted.x.values[...] += 0.03
    c = pk.compare(rho, shifted)
    assert c.data["p_survival"].values[0] > 1e-3 and c.p_value < 1e-6


class Pushed(pk.Langevin):
    """A drift of its own."""

    def drift(self, x, t):
        return super().drift(x, t) + 2.0


class Leaping(pk.Langevin):
    """A step of its own."""

    def step(self, state, step, noise):
        return state + 1


def test_a_drift_of_ones_own_is_followed_and_a_step_is_refused():
    more = {"box": NARROW, "walls": BOTH}
    tilted = pk.Langevin(WELL + pk.potentials.Linear((-2.0,)), 2.0, **more)
    own = Pushed(WELL, 2.0, **more)
    a, b = (pk.simulate(D, at(0.3, 2000), 2000, 0.5, 0.01, seed=13) for D in (tilted, own))
    np.testing.assert_allclose(a.x, b.x, atol=1e-9)
    gone = np.isfinite(b.exits["time"].values)
    assert gone.any() and np.array_equal(np.isnan(b.final.values[:, 0]), gone)
    heun = pk.particles.StochasticHeun()  # one of one's own may ask for a number once
    free = pk.simulate(Pushed(WELL, 2.0, heun), at(0.3, 2000), 2000, 0.5, 0.01, seed=13)
    assert np.isfinite(free.x.values).all()
    with pytest.raises(TypeError, match="own step"):
        Leaping(WELL, 2.0, **more)


def test_noise_of_walls_has_its_own_addresses():
    noise = StepNoise(3, 0, 0, torch.empty(1, 8, 2, dtype=torch.float64))
    drawn = [noise.at(5, c).clone() for c in range(16)]
    assert len({tuple(d.ravel().tolist()) for d in drawn}) == 16


BAD = {
    "no box": ({"walls": BOTH}, "box=None; add box="),
    "no walls": ({"walls": True, "box": LINE}, "must be Walls"),
    "held": ({"walls": pk.Walls(pk.Held(1.0)), "box": LINE}, "Held is for equations"),
    "axes": ({"walls": pk.Walls((True, False)), "box": LINE}, "one per axis"),
    "growth": ({"killing": -1.0}, "killing"),
    "text": ({"killing": "fast"}, "killing"),
    "reset and wall": (
        {"walls": BOTH, "box": LINE, "resetting": pk.Resetting(1.0, pk.Gaussian(0.5, 0.1))},
        "leave one of the two out",
    ),
    "reset": ({"resetting": 3.0}, "must be Resetting"),
    "no noise": ({"beta": math.inf, "killing": 1.0}, "finite beta"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_particles_cannot_have_is_refused(name):
    fields, words = BAD[name]
    with pytest.raises((ValueError, TypeError), match=words):
        pk.Langevin(WELL, **{"beta": 2.0, **fields})


@pytest.mark.parametrize(
    ("killing", "words"), [(lambda x: x[..., 0] - 1, "Equations take growth"),
                           (lambda x: x[..., 0] * math.nan, "it is nan at"),
                           (lambda x: x, "sum over the last axis")]
)  # fmt: skip
def test_clocks_of_places_are_looked_at(killing, words):
    with pytest.raises(ValueError, match=words):
        pk.simulate(pk.Langevin(WELL, 2.0, killing=killing), at(0.3, 100), 100, 0.1, 0.01)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize(
    "walls, start, right",
    [
        (BOTH, 1.2, False),
        (pk.Walls(False, pk.PartlyAbsorbing(2.0)), 1.2, False),
        (pk.Walls(False, True), 1.2, False),
        (pk.Walls(True, False), 1.2, True),
        (pk.Walls(False, True), -0.2, True),
        (BOTH, 1.0, True),
        (None, 1.2, True),
    ],
)
def test_starts_beyond_a_wall_that_takes_particles_are_refused(walls, start, right):
    """Where it reflects they are folded; the equation leaves out what is beyond, and says so."""
    dynamics = pk.Langevin(pk.potentials.Quadratic(), 2.0, box=LINE, walls=walls)
    x = np.full((40, 1), 0.5)
    x[-1] = start
    if right:
        pk.simulate(dynamics, x, n=40, t=1e-3, dt=1e-3)
        return
    with pytest.raises(ValueError, match=r"starts at .*1.2.*, beyond a wall that takes it"):
        pk.simulate(dynamics, x, n=40, t=1e-3, dt=1e-3)
    with pytest.raises(ValueError, match="beyond a wall that takes it"):
        pk.simulate(dynamics, pk.Gaussian(0.5, 0.3), n=1000, t=1e-3, dt=1e-3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pk.solve(dynamics.law(), LINE, pk.Gaussian(0.5, 0.3), 1e-3)
    assert any("beyond the grid" in str(w.message) for w in told)
