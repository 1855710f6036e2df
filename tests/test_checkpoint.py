"""Checkpoints: the same bits after kill -9 and Ctrl-C, and no damaged or foreign file is used."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit import particles
from pdekit.particles import ensemble
from pdekit.particles.run import checkpoint as checkpoints
from pdekit.particles.run.fingerprint import fingerprint
from pdekit.potentials import DoubleWell

LINE, START = pk.Grid(-2, 2, 16), pk.Gaussian(-1.0, 0.3)
SEEN = (pk.Moments(), pk.Histogram(LINE, every=4))
ALWAYS = 1e-9  # minutes
CASES = {
    "fused": (pk.Langevin(DoubleWell(), 2.0), START),
    "mean field": (pk.InteractingLangevin(DoubleWell(), 2.0, pk.CurieWeiss(1.0)), START),
    "state beside the position": (pk.UnderdampedLangevin(DoubleWell(), 2.0), START),
    "two scales": (pk.TwoScaleLangevin(DoubleWell(), 2.0, 0.5, 0.1, 2), START),
    "counting restarts": (pk.RestartedNesterov(DoubleWell()), START),
}


def run(case, **more):
    dynamics, initial = CASES[case]
    settings = {"n": 400, "t": [0.0, 0.5, 1.0], "dt": 1 / 64, "runs": 2, "seed": 5, "observe": SEEN}
    return pk.simulate(dynamics, initial, **{**settings, **more})


class Stopped(Exception):
    """What a test raises in the middle."""


def stop_after_writing(count, monkeypatch):
    """Fail after so many checkpoints, with the simulation in the middle of a tile."""
    write, left = checkpoints.write, [count]

    def counted(*arguments, **more):
        write(*arguments, **more)
        left[0] -= 1
        if left[0] == 0:
            raise Stopped

    monkeypatch.setattr("pdekit.particles.run.recorder.write", counted)


@pytest.mark.parametrize(("case", "threads"), [*((c, 1) for c in CASES), ("fused", 2)])
def test_same_bits_after_a_stop_in_the_middle(case, threads, tmp_path, monkeypatch):
    """Several tiles, some done, some under way; resumed with other tiles in cache and threads."""
    monkeypatch.setattr(ensemble, "_TILE_CPU", 128)
    whole, before = run(case), torch.get_num_threads()
    saved = pk.Checkpoint(tmp_path / "run.npz", minutes=ALWAYS)
    try:
        for count in (2, 3):
            with monkeypatch.context() as patch, pytest.raises(Stopped):
                stop_after_writing(count, patch)
                run(case, checkpoint=saved)
            torch.set_num_threads(threads)
            monkeypatch.setattr(ensemble, "_TILE_CPU", 1 << 12)
        resumed = run(case, checkpoint=pk.Checkpoint(saved.path))
    finally:
        torch.set_num_threads(before)
    assert 0 < resumed.stats["resumed"] < 1 and resumed.stats["finished"] == 1
    assert (resumed.p is None) == (whole.p is None)
    assert whole.p is None or resumed.p.identical(whole.p)
    assert resumed.x.identical(whole.x) and resumed.observed.identical(whole.observed)
    again = run(case, checkpoint=saved)
    assert again.stats["resumed"] == 1 and again.x.identical(whole.x)


SLOW = {"n": 2000, "t": 4.0, "runs": 1, "dt": 1 / 512}
SCRIPT = """
import os, sys, time
import test_checkpoint as here
sync = os.fsync
os.fsync = lambda file: (time.sleep(0.1), sync(file))
saved = here.pk.Checkpoint(sys.argv[1], minutes=here.ALWAYS)
here.run("state beside the position", checkpoint=saved, **here.SLOW)
"""


def test_same_bits_after_kill_9_while_a_checkpoint_is_written(tmp_path):
    """16 blocks of steps, each with a checkpoint that takes a tenth of a second; killed in one."""
    path, tests = tmp_path / "run.npz", Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], env=env)
    saved, new = pk.Checkpoint(path), path.with_name("run.npz.new")
    until = time.monotonic() + 120
    while not (saved.previous.exists() and new.exists()):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    case = "state beside the position"
    resumed, whole = run(case, checkpoint=saved, **SLOW), run(case, **SLOW)
    assert 0 < resumed.stats["resumed"] < 1
    assert resumed.x.identical(whole.x) and resumed.observed.identical(whole.observed)


class Bell(dict):
    """Counts calls: not a part of what the well does."""

    def __fingerprint__(self):
        return "a bell"


CALLS = Bell(left=-1, signals=1)


def ringing(x):
    """A well; Ctrl-C is pressed when it is looked at for the n-th time."""
    CALLS["left"] -= 1
    for _ in range(CALLS["signals"] * (CALLS["left"] == 0)):
        signal.raise_signal(signal.SIGINT)
    return (x * x - 1).square().sum(-1) / 4


@pytest.fixture
def usual_interrupt():
    """A background job may have been started with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    CALLS.update(left=-1, signals=1)
    yield
    signal.signal(signal.SIGINT, before)


def rung(**more):
    bell = pk.Langevin(ringing, 2.0)
    return pk.simulate(
        bell, START, 320, [0.0, 0.5, 1.0], 1 / 64, observe=pk.Histogram(LINE), **more
    )


@pytest.mark.parametrize("saves", [False, True])
def test_an_interrupt_keeps_what_was_computed(saves, tmp_path, monkeypatch, usual_interrupt):
    """Five tiles of 64 steps; pressed in the third, whose block of steps is finished first."""
    monkeypatch.setattr(ensemble, "_TILE_CPU", 64)
    whole = rung()
    saved = pk.Checkpoint(tmp_path / "run.npz") if saves else None
    CALLS["left"] = 150
    with pytest.raises(particles.Interrupted, match="of the particle steps") as caught:
        rung(checkpoint=saved)
    part = caught.value.ensemble
    done = ~np.isnan(part.x.values[..., 0])
    assert done.sum(axis=1).tolist() == [192, 192, 128]  # three tiles began, two ended
    assert np.array_equal(part.x.values[done], whole.x.values[done])
    assert part.observed["histogram"].sum("x").values.tolist() == done.sum(axis=1).tolist()
    assert 0.4 < part.stats["finished"] < 0.6
    assert (str(saved.path) in str(caught.value)) if saves else True
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if saves:
        resumed = rung(checkpoint=saved)
        assert resumed.stats["resumed"] == pytest.approx(part.stats["finished"])
        assert resumed.x.identical(whole.x) and resumed.observed.identical(whole.observed)


def test_a_second_interrupt_stops_at_once(usual_interrupt):
    CALLS.update(left=40, signals=2)
    with pytest.raises(KeyboardInterrupt) as caught:
        rung()
    assert not isinstance(caught.value, particles.Interrupted)


def half_done(path, monkeypatch, writes=2):
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(ensemble, "_TILE_CPU", 128)
        stop_after_writing(writes, patch)
        run("fused", checkpoint=pk.Checkpoint(path, minutes=ALWAYS))
    return path.read_bytes()


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_used(tmp_path, monkeypatch):
    """Cut at every fifth, or a byte turned over, 10 times; one that no one reads may pass."""
    path = tmp_path / "run.npz"
    saved = pk.Checkpoint(path)
    good, before = half_done(path, monkeypatch), saved.previous.read_bytes()
    whole = run("fused")
    rng, said = np.random.default_rng(0), 0
    damaged = [good[: len(good) * k // 5] for k in range(5)]
    for place in rng.integers(0, len(good), 10):
        turned = bytes([good[place] ^ 0xFF])
        damaged.append(good[:place] + turned + good[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        saved.previous.write_bytes(before)
        with pytest.warns() as warned:
            warnings.warn("at least one, for pytest", UserWarning, stacklevel=1)
            resumed = run("fused", checkpoint=saved)
        messages = [str(w.message) for w in warned if w.category is particles.CheckpointWarning]
        said += bool(messages)
        assert all(f"{path} is damaged" in m and f"{saved.previous} is used" in m for m in messages)
        assert resumed.x.identical(whole.x) and resumed.observed.identical(whole.observed)
        # the good one was not replaced by the damaged one; what was read as good is kept
        assert saved.previous.read_bytes() == (before if messages else content)
    assert said >= 13


def test_without_a_good_one_nothing_is_computed_and_nothing_touched(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    good = half_done(path, monkeypatch)
    for kept in (good[:-100], b"nothing", b""):
        path.write_bytes(good[:1000])
        pk.Checkpoint(path).previous.write_bytes(kept)
        with pytest.raises(
            particles.CheckpointError, match=r"no intact previous checkpoint.*delete"
        ):
            run("fused", checkpoint=pk.Checkpoint(path))
        assert path.read_bytes() == good[:1000]


def test_the_moment_between_two_renamings(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    half_done(path, monkeypatch, writes=4)
    path.unlink()
    resumed = run("fused", checkpoint=pk.Checkpoint(path))
    assert resumed.stats["resumed"] > 0 and resumed.x.identical(run("fused").x)


class Bomb:
    def __reduce__(self):
        return (FIRED.append, ("bang",))


FIRED: list[str] = []


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    path = tmp_path / "run.npz"
    bomb = np.array([Bomb()], dtype=object)
    np.savez(path, facts=bomb, seal=bomb, array_x=bomb)
    with pytest.raises(particles.CheckpointError, match="damaged"):
        run("fused", checkpoint=pk.Checkpoint(path))
    assert not FIRED


OTHER = {
    "n": ({"n": 401}, "n is 400 there, 401 here"),
    "dt": ({"dt": 1 / 32}, "dt is"),
    "times": ({"t": [0.0, 0.5, 1.5]}, "t is"),
    "seed": ({"seed": 6}, "seed is 5 there, 6 here"),
    "dtype": ({"dtype": "float32"}, "dtype is torch.float64 there"),
    "runs": ({"runs": 1}, "runs is 2 there"),
    "positions": ({"keep": False}, "keep is True there, False here"),
    "observables": ({"observe": (pk.Moments(),)}, r"observe\[1\]"),
    "grid": ({"observe": (SEEN[0], pk.Histogram(pk.Grid(-2, 3, 16), 4))}, r"observe\[1\]\.grid"),
}


@pytest.mark.parametrize("name", OTHER)
def test_a_checkpoint_of_other_arguments_is_refused(name, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    good = half_done(path, monkeypatch, 1)
    change, message = OTHER[name]
    with pytest.raises(particles.CheckpointError, match=message):
        run("fused", checkpoint=pk.Checkpoint(path), **change)
    assert path.read_bytes() == good


def curve(shift, scale=1.0):
    return lambda x: scale * (x - shift).square().sum(-1)


X = np.linspace(-1, 1, 9)
PAIRS = {
    "a number": (pk.Langevin(DoubleWell(), 2.0), pk.Langevin(DoubleWell(), 2.5), ".beta"),
    "an integrator": (
        pk.Langevin(DoubleWell(), 2.0),
        pk.Langevin(DoubleWell(), 2.0, particles.EulerMaruyama()),
        ".integrator",
    ),
    "measured values": (
        pk.Langevin(pk.potentials.Tabulated(X, X**2), 2.0),
        pk.Langevin(pk.potentials.Tabulated(X, X**2 + 1e-9 * X), 2.0),
        ".potential",
    ),
    "what a function closes over": (
        pk.Langevin(curve(0.0), 2.0),
        pk.Langevin(curve(0.1), 2.0),
        ".potential(shift)",
    ),
    "a function": (
        pk.Langevin(lambda x: x.sum(-1), 2.0),
        pk.Langevin(lambda x: x.sum(-2), 2.0),
        ".potential",
    ),
    "a tensor": (
        pk.Langevin(curve(torch.zeros(1)), 2.0),
        pk.Langevin(curve(torch.ones(1)), 2.0),
        ".potential(shift)",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_part_that_differs_is_named(name):
    first, second, part = PAIRS[name]
    one, two = fingerprint(dynamics=first), fingerprint(dynamics=second)
    lines = [key for key in {*one, *two} if one.get(key) != two.get(key)]
    assert lines and all(line.startswith("dynamics" + part) for line in lines)
    assert fingerprint(dynamics=first) == one


def test_minutes_are_positive():
    with pytest.raises(ValueError, match="minutes"):
        pk.Checkpoint("run.npz", minutes=0)


def test_the_bar_shows_rate_and_time_left(capsys):
    run("fused", progress=True)
    assert "particle-steps/s" in capsys.readouterr().err
