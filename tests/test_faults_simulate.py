"""Runs of particles: what is asked is tried before the work, and what is wrong is said."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import pdekit as pk
from pdekit import particles
from pdekit.particles.run import checkpoint as checkpoints
from pdekit.particles.run.checkpoint import described_arguments
from pdekit.particles.run.fingerprint import differences, fingerprint
from pdekit.potentials import DoubleWell

LAW, START = pk.Langevin(DoubleWell(), 2.0), pk.Gaussian(-1.0, 0.3)


def run(dynamics=LAW, initial=START, **more):
    return pk.simulate(dynamics, initial, **{"n": 64, "t": 0.1, "dt": 0.01, **more})


# what a checkpoint is of

STIFFNESS = 1.0


def helper(x):
    return STIFFNESS * (x * x).sum(-1)


def well(x):
    return helper(x) / 2


class Well:
    """A potential by methods."""

    def __call__(self, x):
        return self.square(x).sum(-1)

    def square(self, x):
        return x * x


def stiffer(x):
    return x * x * 2


@pytest.mark.parametrize("which", ["constant", "helper", "method"])
def test_a_checkpoint_of_another_potential_is_refused(which, tmp_path, monkeypatch):
    V = Well() if which == "method" else well
    saved = pk.Checkpoint(tmp_path / "run.npz")
    first = run(pk.Langevin(V, 2.0), checkpoint=saved)
    assert run(pk.Langevin(V, 2.0), checkpoint=saved).x.identical(first.x)
    here = sys.modules[__name__]
    if which == "constant":
        monkeypatch.setattr(here, "STIFFNESS", 2.0)
    elif which == "helper":
        monkeypatch.setattr(here, "helper", lambda x: (x * x).sum(-1) * 2)
    else:
        monkeypatch.setattr(Well, "square", lambda self, x: stiffer(x))
    named = {"constant": "STIFFNESS is 1.0 there, 2.0 here"}.get(which, "function")
    with pytest.raises(particles.CheckpointError, match=named):
        run(pk.Langevin(V, 2.0), checkpoint=saved)
    assert not run(pk.Langevin(V, 2.0)).x.identical(first.x)


PRINTED = """
import json, sys
sys.path.insert(0, sys.argv[1])
from edited_modules import FORMS, INGREDIENTS, written
from test_truth_simulate import Path, module_of
from pdekit.particles.run.fingerprint import fingerprint
form = sys.argv[3]
texts = written(list(INGREDIENTS), [0.5] * len(INGREDIENTS), form)
print(json.dumps(fingerprint(V=module_of(Path(sys.argv[2]), texts).well)))
"""


def test_a_fingerprint_is_the_same_in_every_process(tmp_path):
    """All ingredients in one module; strings and sets have another order in each process."""
    found = []
    for seed in ("1", "2"):
        folder, tests = tmp_path / seed, Path(__file__).parent
        folder.mkdir()
        command = [sys.executable, "-c", PRINTED, str(tests), str(folder), "class"]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    assert len(found[0]) > 100 and not differences(*found)


def cyclic():
    loop: list = [1.0]
    loop.append(loop)
    return loop


def test_what_contains_itself_is_reported():
    one, two = cyclic(), cyclic()
    two[0] = 2.0
    assert fingerprint(x=one) == fingerprint(x=cyclic())
    assert differences(fingerprint(x=one), fingerprint(x=two)) == ["x[0] is 1.0 there, 2.0 here"]


def test_how_long_a_solution_took_is_not_a_part_of_it():
    def solved(beta):
        u = pk.solve(pk.ViscousHJ(beta), pk.Grid(-3, 3, 64), DoubleWell(), 0.5)
        return fingerprint(potential=lambda x: u.final.values[0] * x)

    assert solved(2.0) == solved(2.0)
    changed = differences(solved(2.0), solved(3.0))
    assert len(changed) == 2 and "equation.beta is 2.0 there, 3.0 here" in changed[0]


def squares():
    yield 1.0


def hidden(value):
    return lambda x: (x * x).sum(-1) * (value is not None)


@pytest.mark.parametrize(
    "value", [squares(), iter([1.0]), np.frompyfunc(abs, 1, 1), sys.stdin, memoryview(b"1")]
)
def test_what_nothing_can_be_said_of_is_refused(value, tmp_path):
    saved = pk.Checkpoint(tmp_path / "run.npz")
    with pytest.raises(particles.CheckpointError, match=r"\(value\) is a .*__fingerprint__"):
        run(pk.Langevin(hidden(value), 2.0), checkpoint=saved)
    assert not saved.path.exists()


class Table:
    """Counts its calls, which decide nothing."""

    def __init__(self, slope):
        self.slope, self.calls = slope, 0

    def __fingerprint__(self):
        return self.slope

    def __call__(self, x):
        self.calls += 1
        return self.slope * (x * x).sum(-1)


def test_an_object_may_say_what_it_is(tmp_path):
    saved, V = pk.Checkpoint(tmp_path / "run.npz"), Table(1.0)
    first = run(pk.Langevin(V, 2.0), checkpoint=saved)
    assert run(pk.Langevin(V, 2.0), checkpoint=saved).x.identical(first.x)
    with pytest.raises(particles.CheckpointError, match=r"\(says\) is 1.0 there, 2.0 here"):
        run(pk.Langevin(Table(2.0), 2.0), checkpoint=saved)


def from_a_file(x):
    with open("/dev/null") as file:
        return (x * x).sum(-1) + len(file.read())


def from_numpy_file(x):
    return (x * x).sum(-1) + np.loadtxt("nothing")


@pytest.mark.parametrize(("V", "named"), [(from_a_file, "open"), (from_numpy_file, "np.loadtxt")])
def test_what_is_read_when_called_is_said(V, named):
    with pytest.warns(
        particles.CheckpointWarning, match=f"{V.__name__} calls {named}.*as an array"
    ):
        described_arguments(V=V)


# paths, and disks that are full


@pytest.mark.parametrize("path", ["/no/such/folder/a.npz", "/proc/a.npz", "/"])
def test_a_path_is_tried_before_the_work(path, monkeypatch):
    monkeypatch.setattr("pdekit.particles.ensemble.start", None)
    # nothing is started
    with pytest.raises(particles.CheckpointError, match=r"cannot be written|is a folder"):
        run(checkpoint=pk.Checkpoint(path))


def test_a_full_disk_costs_no_work(tmp_path, monkeypatch):
    saved, savez = pk.Checkpoint(tmp_path / "run.npz", minutes=1e-9), np.savez
    whole, left = run(n=20_000, t=1.0), [2]

    def filling(file, **arrays):
        left[0] -= 1
        if left[0] < 0:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        savez(file, **arrays)

    monkeypatch.setattr(checkpoints.np, "savez", filling)
    with pytest.warns(
        particles.CheckpointWarning, match="No space left.* the previous one is kept"
    ):
        X = run(n=20_000, t=1.0, checkpoint=saved)
    assert X.x.identical(whole.x)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.npz", "run.npz.previous"]
    monkeypatch.setattr(checkpoints.np, "savez", savez)
    resumed = run(n=20_000, t=1.0, checkpoint=saved)
    assert 0 < resumed.stats["resumed"] < 1 and resumed.x.identical(whole.x)


# dynamics of one's own


class Guessed:
    """Euler's scheme with the noise that a reader would guess."""

    def __init__(self, draw):
        self.draw = draw

    def step(self, state, step, noise):
        return state * (1 - step.size) + step.size**0.5 * self.draw(step, noise)


def test_the_same_noise_in_every_step_is_refused():
    with pytest.raises(ValueError, match=r"step 1 draws.*noise.normals\(\)"):
        run(Guessed(lambda step, noise: noise.at(0)), np.zeros((64, 1)))


def test_fresh_normals_are_fresh():
    """dX = -X dt + dB from 0: variance (1 - (1 - h)^2k) / (2 - h) after k steps, 40,000 points."""
    dynamics = Guessed(lambda step, noise: (noise.normals() + noise.normals()) / 2**0.5)
    X = run(dynamics, np.zeros((40_000, 1)), n=40_000, t=[0.1, 1.0], dt=0.1).x.values[..., 0]
    right = (1 - 0.9 ** np.array([2, 20])) / 1.9
    assert np.abs(X.var(axis=1) / right - 1).max() < 5 * (2 / 40_000) ** 0.5
    lag = np.mean(X[0] * X[1]) / (0.9**9 * right[0])
    assert abs(lag - 1) < 0.12  # five standard errors


def test_fresh_noise_has_the_same_bits_in_every_tile_and_after_a_stop(tmp_path, monkeypatch):
    dynamics = Guessed(lambda step, noise: noise.normals() + noise.uniforms() - 0.5)
    x = np.linspace(-1, 1, 1000)[:, None]
    whole = run(dynamics, x, n=1000)
    monkeypatch.setattr("pdekit.particles.ensemble._TILE_CPU", 128)
    assert run(dynamics, x, n=1000).x.identical(whole.x)
    saved, write = pk.Checkpoint(tmp_path / "run.npz", minutes=1e-9), checkpoints.write
    left = [3]

    def stopping(*arguments, **more):
        write(*arguments, **more)
        left[0] -= 1
        if not left[0]:
            raise RuntimeError

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("pdekit.particles.run.recorder.write", stopping)
        run(dynamics, x, n=1000, checkpoint=saved)
    resumed = run(dynamics, x, n=1000, checkpoint=saved)
    assert resumed.stats["resumed"] > 0 and resumed.x.identical(whole.x)


class Euler:
    """Euler's scheme once more."""

    def step(self, drift, y, sigma, step, noise):
        drift(y, step.start)  # asked twice, as a method of two stages would
        y = y + step.size * drift(y, step.start)
        return y + sigma * step.size**0.5 * noise.at(step.number)

    def positions(self, y, sigma, step, noise):
        return y


class Halved(pk.TwoScaleLangevin):
    """A class of one's own that steps as pdekit's does."""


def test_parts_of_pdekit_draw_as_they_please():
    pairs = pk.PairPotential(pk.potentials.Quadratic(1.0))
    batch, x = particles.RandomBatch(4), np.linspace(-1, 1, 64)[:, None]
    ours, own = (
        run(pk.InteractingLangevin(DoubleWell(), 2.0, pairs, batch, scheme), x)
        for scheme in (particles.EulerMaruyama(), Euler())
    )
    np.testing.assert_allclose(own.x, ours.x, rtol=1e-13)
    settings = (pk.potentials.Custom(well), 2.0, 0.5, 0.1, 3)
    assert run(Halved(*settings), x).x.identical(run(pk.TwoScaleLangevin(*settings), x).x)


def test_the_examples_of_the_page_run():
    page = (Path(__file__).parents[1] / "docs" / "dynamics.md").read_text()
    parts = page.split("```python\n")[1:]
    assert len(parts) >= 3
    space: dict = {}
    for part in parts:
        exec(textwrap.dedent(part.split("```")[0]), space)
    assert abs(float((space["X"].final ** 2).mean()) - 0.5) < 0.05
    mean = space["M"].x.mean("particle").values
    assert abs(float(mean[-1, 0] - mean[0, 0])) < 0.1
    assert abs(float((space["U"].final ** 2).mean()) - 0.5) < 0.05


# positions that are there already


def test_going_on_from_the_end_of_another_run():
    X = run(n=64, t=[0.0, 0.1])
    again = run(initial=X.final, seed=1)
    assert again.x.identical(run(initial=X.final.values, seed=1).x)
    turned = X.final.transpose("dim", "particle")
    assert again.x.identical(run(initial=turned, seed=1).x)
    assert again.x.identical(run(initial=torch.tensor(X.final.values), seed=1).x)
    R = run(runs=3)
    assert run(initial=R.final, runs=3, t=0.0).x.identical(
        run(initial=R.final.values, runs=3, t=0.0).x
    )
    assert np.array_equal(run(initial=R.final, runs=3, t=0.0).final, R.final)
    with pytest.raises(ValueError, match=r"isel\(run=0\)"):
        run(initial=R.final)
    with pytest.raises(ValueError, match=r"take \.final"):
        run(initial=X.x)
    assert isinstance(X.final, xr.DataArray)


def test_going_on_by_the_same_noise_is_said():
    free = pk.Langevin(pk.potentials.Quadratic(0.0), 1.0)
    reached = pk.simulate(free, np.zeros((2_000, 1)), 2_000, 1.0, 0.25).final
    with pytest.warns(pk.AccuracyWarning, match="seed=1"):
        pk.simulate(free, reached, 2_000, 1.0, 0.25)
    again = pk.simulate(free, reached, 2_000, 1.0, 0.25, seed=1).final  # without a warning
    assert abs(float((again.values**2).mean()) - 4.0) < 5 * 4 * (2 / 2_000) ** 0.5
    plain = pk.Nesterov(pk.potentials.Quadratic(1.0))
    there = pk.simulate(plain, reached, 2_000, 1.0, 0.1).final  # draws nothing
    pk.simulate(plain, there, 2_000, 1.0, 0.1)


def test_a_kernel_far_narrower_than_the_box_is_not_taken_for_zero():
    pairs = pk.PairPotential(pk.interactions.GaussianWell(2.0, 0.005))
    x = torch.cat([torch.linspace(-0.02, 0.02, 50), torch.tensor([-300.0, 300.0])])[None, :, None]
    with pytest.raises(ValueError, match="take ExactSum"):
        particles.ChebyshevSum()(pairs.grad, x.double())


def test_an_equation_is_sent_to_solve():
    with pytest.raises(TypeError, match=r"FokkerPlanck is an equation, which solve\(.*Langevin"):
        run(LAW.law())


# times


def test_more_steps_than_anyone_waits_for():
    with pytest.raises(ValueError, match=r"1e\+32 steps.*longer dt"):
        run(t=1e30)


class Counting:
    """x²/2; counts how often its slope is asked for."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        return (x * x).sum(-1) / 2

    def grad(self, x):
        self.calls += 1
        return x


def test_what_is_stored_costs_no_more_slopes():
    """2,000 output times of a step each: a slope each, and what the first look takes."""
    V = Counting()
    X = run(pk.Langevin(V, 2.0, particles.EulerMaruyama()), np.ones((1, 1)), n=1,
            t=0.01 * np.arange(1, 2001))  # fmt: skip
    assert X.x.shape == (2000, 1, 1) and V.calls < 2000 + 80


class Stiff:
    """(1 + 400 t) x²/2."""

    def at(self, t):
        return pk.potentials.Quadratic(1 + 400 * t)


def test_a_step_too_long_later_is_still_said():
    with pytest.warns(particles.StepSizeWarning, match="> 2"):
        run(pk.Langevin(Stiff(), 2.0), np.zeros((64, 1)), t=0.01 * np.arange(1, 101))


def flat_at_first(x):
    return 1e3 * (x**4).sum(-1)


def test_a_step_too_long_where_particles_go_is_said():
    """No curvature at 0, 12,000 x² at x."""
    walled = pk.Langevin(flat_at_first, 1.0, box=pk.Grid(-3, 3, 8))
    with pytest.warns(particles.StepSizeWarning, match="where particles are at the end"):
        run(walled, np.zeros((64, 1)), t=2.0)


@pytest.mark.parametrize("stiff", [0, 1, 2])
def test_a_run_that_starts_where_a_step_is_too_long_is_said(stiff):
    x = np.zeros((3, 64, 1))
    x[stiff] = 2.0
    walled = pk.Langevin(flat_at_first, 1.0, box=pk.Grid(-3, 3, 8))
    with pytest.warns(particles.StepSizeWarning, match=r"> 2(?!.*at the end)"):
        run(walled, x, runs=3, t=0.01)


def test_an_object_that_counts_its_calls_resumes_in_another_process(tmp_path):
    saved = pk.Checkpoint(tmp_path / "run.npz")
    first = run(pk.Langevin(Counting(), 2.0), checkpoint=saved)  # as it is made
    assert run(pk.Langevin(Counting(), 2.0), checkpoint=saved).x.identical(first.x)


def test_steps_end_at_the_asked_times():
    """10,000,000 steps of one particle at rest: the times do not add up errors."""
    from pdekit.particles.run.schedule import intervals

    (interval,) = intervals([1e5], 0.01)
    assert interval.steps == 10**7
    last = interval.some(10**7 - 2, 10**7)
    assert last[-1].stop == 1e5 and last[0].stop == last[1].start
    assert abs(last[0].start - (1e5 - 0.02)) < 1e-10
    assert intervals([1e-300], 1e100)[0].steps == 1
    (once,) = intervals([0.3], 1.0)
    assert once.some(0, 1)[0][1:] == (0.0, 0.3, 0.3, None)


def test_a_step_across_many_boxes_is_refused():
    hot = pk.Langevin(DoubleWell(), 1e-100, box=pk.Grid(-1, 1, 8))
    with pytest.raises(ValueError, match="crosses the box"):
        run(hot, np.zeros((64, 1)))


def test_a_force_that_jumps_at_other_particles_is_not_stiff():
    """L1 pulls every pair alike: that some are 2e-6 apart is no curvature (warnings are errors)."""
    places = np.random.default_rng(1).normal(size=(256, 1))
    start = np.concatenate([places, places + 2e-6])
    dynamics = pk.InteractingLangevin(pk.potentials.Quadratic(0.0), 4.0, particles.L1(1.0))
    assert pk.simulate(dynamics, start, 512, 0.1, 0.05).stats["curvature"] < 20
    steep = pk.PairPotential(pk.interactions.GaussianWell(100.0, 0.5))
    dynamics = pk.InteractingLangevin(pk.potentials.Quadratic(0.0), 4.0, steep)
    with pytest.warns(particles.StepSizeWarning):
        pk.simulate(dynamics, start, 512, 0.1, 0.05)
