"""First passage of particles into sets, against exact series and the equation's passage times."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from test_stopping import LINE, NOTHING, at, series, within

import pdekit as pk
from pdekit.particles.dynamics import passage

WELL = pk.potentials.DoubleWell()
N = 40_000
BELOW, ABOVE = pk.FirstPassage(-math.inf, 0.0, "low"), pk.FirstPassage(1.0, math.inf, "high")


def first(X):
    """Of both, infinite where there is none."""
    low, high = (X.observed[f"{name}_passage_time"].values for name in ("low", "high"))
    return np.fmin(np.where(np.isnan(low), np.inf, low), np.where(np.isnan(high), np.inf, high))


@pytest.mark.parametrize("dt", [0.1, 0.025])
@pytest.mark.parametrize(
    "integrator", [pk.particles.LeimkuhlerMatthews(), pk.particles.EulerMaruyama()], ids=["2", "1"]
)
def test_passage_of_free_particles(dt, integrator):
    """Exact at any step, against the series between two walls; the law of the times too."""
    D = pk.Langevin(NOTHING, 20.0, integrator)
    X = pk.simulate(D, at(0.3, N), N, [0.5, 2.0], dt, seed=1, observe=(BELOW, ABOVE))
    times = first(X)
    exact = series(0.3, 1 / 20, [0.5, 2.0])
    assert all(within((times > t).mean(), e, N) for t, e in zip((0.5, 2.0), exact, strict=True))
    law = lambda t: (1 - series(0.3, 1 / 20, np.maximum(t, 1e-4))) / (1 - exact[1])  # noqa: E731
    assert kstest(times[times < 2], law).pvalue > 1e-4
    low = X.observed["low_passage_time"].values
    for t, share in zip((0.5, 2.0), X.observed["low_survival"].values, strict=True):
        assert share == pytest.approx(1 - (low <= t).mean(), abs=1e-12)


def test_looking_at_the_ends_of_steps_is_found_out(monkeypatch):
    """A planted fault: nobody enters within a step and leaves again."""
    bridge = torch.exp
    monkeypatch.setattr(torch, "exp", lambda x: bridge(x) * (x == 0))
    D = pk.Langevin(NOTHING, 20.0)
    X = pk.simulate(D, at(0.3, 5000), 5000, 2.0, 0.1, seed=1, observe=(BELOW, ABOVE))
    assert not within((first(X) > 2).mean(), series(0.3, 1 / 20, 2.0)[0], 5000)


SPREAD = {
    "Langevin": lambda: pk.Langevin(WELL, 2.0),
    "MetropolisLangevin": lambda: pk.MetropolisLangevin(WELL, 2.0),
    "MultiplicativeLangevin": lambda: pk.MultiplicativeLangevin(
        WELL, 2.0, pk.HaenggiKlimontovich(lambda x: 1 + 0.5 * x[..., 0] ** 2)
    ),
    "ItoProcess": lambda: pk.ItoProcess(lambda x: -x, lambda x: 1 + 0.5 / (1 + x[..., 0] ** 2)),
}


@pytest.mark.parametrize("name", SPREAD)
def test_survival_is_that_of_the_equation(name):
    """From -1 below 0.5, the default integrators at dt = .02; as with a wall that absorbs there."""
    D, n, times = SPREAD[name](), 20_000, [0.5, 1.5]
    X = pk.simulate(D, at(-1.0, n), n, times, 0.02, seed=2, observe=pk.FirstPassage(0.5, 1.5))
    ends = dataclasses.replace(D.law(), walls=pk.Walls(upper=True))
    rho = pk.solve(ends, pk.Grid(-5, 0.5, 500), pk.Gaussian(-1.0, 0.02), times)
    exact = rho.fields.sum(1) * rho.grid.cell_volume
    for got, left in zip(X.observed["survival"].values, exact, strict=True):
        assert abs(got - left) < 4 * math.sqrt(left * (1 - left) / n) + 2e-3


def test_mean_passage_times_are_those_of_the_equation():
    """In a double well; without bridges they are a tenth longer."""
    D, n = pk.Langevin(WELL, 2.0), 3000
    X = pk.simulate(D, at(-1.0, n), n, 60.0, 0.05, seed=2, observe=pk.FirstPassage(0.5, 1.5))
    times = X.observed["passage_time"].values
    assert np.isfinite(times).all() and X.observed["survival"].values[-1] == 0
    tau = pk.mean_first_passage_time(D.law(), pk.Grid(-4, 4, 800), (0.5, 1.5))
    exact = float(tau.interp(x=-1.0))
    assert times.mean() == pytest.approx(exact, abs=3.5 * times.std() / n**0.5 + 0.01 * exact)


def test_a_box_in_the_plane_and_an_interval_of_a_circle():
    """Corners are of order 2/3; on a circle the set is entered from both sides."""
    D, n = pk.Langevin(pk.potentials.Quadratic(1.0, dim=2), 1.0), 3000
    seen = pk.FirstPassage((0.5, 0.5), (1.5, math.inf))
    X = pk.simulate(D, np.full((n, 2), -0.5), n, 40.0, 0.05, seed=3, observe=seen)
    grid = pk.Grid((-4, -4), (4, 4), (64, 64))
    tau = pk.mean_first_passage_time(D.law(), grid, ((0.5, 0.5), (1.5, math.inf)))
    times, exact = X.observed["passage_time"].values, float(tau.interp(x=-0.5, y=-0.5))
    assert np.isfinite(times).all()
    assert times.mean() == pytest.approx(exact, abs=3.5 * times.std() / n**0.5 + 0.02 * exact)
    circle = pk.Grid(0.0, 1.0, 64, periodic=True)
    flat = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x)
    D, start = pk.Langevin(flat, 2.0, box=circle), at(0.0, n)
    X = pk.simulate(D, start, n, 2.0, 0.005, seed=3, observe=pk.FirstPassage(0.5, 0.75))
    times = X.observed["passage_time"].values
    assert np.isfinite(times).all()  # β a b / 2 from the two ends, here at 1/2 and 1/4
    assert times.mean() == pytest.approx(0.5 * 0.25, abs=4 * times.std() / n**0.5)


def test_paths_are_the_same_and_those_that_stop_may_have_passed():
    """A set beside a wall that absorbs: survivors are those of an interval cut short."""
    walls, seen = pk.Walls(True, True), pk.FirstPassage(0.7, 1.0)
    D = pk.Langevin(NOTHING, 20.0, box=LINE, walls=walls, killing=0.2)
    X = pk.simulate(D, at(0.3, N), N, [0.5, 1.0], 0.02, seed=4, observe=seen)
    blind = pk.simulate(D, at(0.3, N), N, [0.5, 1.0], 0.02, seed=4)
    np.testing.assert_array_equal(X.x, blind.x)
    np.testing.assert_array_equal(X.exits["time"], blind.exits["time"])
    t = np.array([0.5, 1.0])
    exact = series(0.3 / 0.7, 1 / 20 / 0.7**2, t) * np.exp(-0.2 * t)
    got = X.observed["survival"].values
    assert all(within(a, b, N) for a, b in zip(got, exact, strict=True))
    passed, stopped = X.observed["passage_time"].values, X.exits["time"].values
    assert (passed[(X.exits["wall"] == 1).values] <= stopped[(X.exits["wall"] == 1).values]).all()


def test_they_do_not_depend_on_company_tiles_or_restarts(tmp_path, monkeypatch):
    D = pk.Langevin(WELL, 2.0)
    seen = (pk.FirstPassage(0.5, 1.5), pk.FirstPassage(-2.0, -1.2, "left"))
    ask = {"seed": 5, "observe": seen}
    many = pk.simulate(D, at(-1.0, 500), 500, [0.1, 0.4], 0.02, runs=2, **ask)
    few = pk.simulate(D, at(-1.0, 70), 70, [0.1, 0.4], 0.02, **ask)
    name = "left_passage_time"
    np.testing.assert_array_equal(many.observed[name][0, :70], few.observed[name])
    assert 0.1 < np.isfinite(few.observed[name]).mean() < 0.9
    file = pk.particles.Checkpoint(tmp_path / "run.npz", minutes=1e-9)
    moved, calls = passage.Watched.positions, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("stop")
        return moved(self, *args)

    monkeypatch.setattr(passage.Watched, "positions", interrupted)
    with pytest.raises(RuntimeError, match="stop"):
        pk.simulate(D, at(-1.0, 70), 70, [0.1, 0.4], 0.001, checkpoint=file, **ask)
    monkeypatch.setattr(passage.Watched, "positions", moved)
    again = pk.simulate(D, at(-1.0, 70), 70, [0.1, 0.4], 0.001, checkpoint=file, **ask)
    assert again.stats["resumed"] > 0
    whole = pk.simulate(D, at(-1.0, 70), 70, [0.1, 0.4], 0.001, **ask)
    for which in again.observed:
        np.testing.assert_array_equal(again.observed[which], whole.observed[which])
    counts = pk.simulate(D, at(-1.0, 70), 70, [0.1, 0.4], 0.001, keep=False, **ask)
    assert set(counts.observed) == {"survival", "left_survival"}


class Leaping(pk.Langevin):
    """A step of its own."""

    def step(self, state, step, noise):
        return state + 1


BAD = {
    "sides that cross": (lambda: pk.FirstPassage(1.0, 0.0), "lower must be < upper"),
    "all space": (lambda: pk.FirstPassage(-math.inf, math.inf), "the whole space"),
    "sides of other lengths": (lambda: pk.FirstPassage((0.0, 1.0), 2.0), "lower must be"),
    "another dimension": (lambda: watched(pk.Langevin(WELL, 2.0), (0.0, 0.0), (1.0, 1.0)), "has 2"),
    "momenta": (lambda: watched(pk.UnderdampedLangevin(WELL, 2.0)), "overdamped"),
    "outside the box": (lambda: watched(pk.Langevin(WELL, 2.0, box=LINE), 2.0, 3.0), "in the box"),
    "steps of one's own": (lambda: watched(Leaping(WELL, 2.0)), "its own step"),
}


def watched(D, lower=0.5, upper=0.9):
    return pk.simulate(D, at(0.2, 50), 50, 0.1, 0.05, observe=pk.FirstPassage(lower, upper))


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_watched_is_refused(name):
    call, words = BAD[name]
    with pytest.raises((ValueError, TypeError), match=words):
        call()


def test_edges_known_to_a_cell_are_looked_at_on_cells_that_do_not_divide_them():
    """A barrier of 10 kT, 6 % off on 300 cells, and discs in the plane, 12 % off on 40: on half as
    many cells they err alike."""
    barrier = pk.potentials.Custom(lambda x: 5.0 * (abs(x[..., 0]) < 0.05))
    with pytest.warns(pk.ResolutionWarning, match="passage time"):
        pk.mean_first_passage_time(pk.FokkerPlanck(barrier, 2.0), pk.Grid(-1, 1, 300), (0.5, 1.0))
    plane = pk.FokkerPlanck(pk.potentials.Custom(lambda x: 0 * x[..., 0], dim=2), 1.0)
    with pytest.warns(pk.ResolutionWarning, match="passage time"):
        pk.mean_first_passage_time(
            plane, pk.Grid((-1, -1), (1, 1), 40), lambda x: (x**2).sum(-1) < 0.01
        )
