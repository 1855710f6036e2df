"""A sweep computes every point once, whatever happens to it, to its workers and to itself."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import xarray as xr
from test_cli import pdekit

import pdekit as pk
from pdekit import sweeps

SLOW_POINT = """
import os, time
from pathlib import Path
def point(a, b, marks):
    Path(marks, f"{a}-{b}-{os.getpid()}-{time.time_ns()}").touch()
    time.sleep(0.3)
    return 10.0 * a + b
"""


def gap(beta, cells):
    law = pk.FokkerPlanck(pk.potentials.DoubleWell(), beta)
    return pk.spectral_gap(law, pk.Grid(-3, 3, cells))


def test_every_combination_is_what_one_call_gives():
    found = pk.sweep(gap, {"beta": [2.0, 4.0], "cells": [40, 80, 60]})
    assert found.value.dims == ("beta", "cells")
    assert list(found.cells) == [40, 80, 60]
    for beta in (2.0, 4.0):
        for cells in (40, 80, 60):
            assert float(found.value.sel(beta=beta, cells=cells)) == gap(beta, cells)


def test_arrays_fields_and_texts_keep_their_dimensions():
    def run(k, name):
        field = xr.DataArray(np.arange(3.0) * k, dims="x", coords={"x": [0.0, 1.0, k + 2.0]})
        return {"field": field, "row": np.full(2, k), "word": name, "n": k}

    found = pk.sweep(run, {"k": [1, 2], "name": ["a", "b"]})
    assert found.row.dims == ("k", "name", "row_0")
    assert found.word.sel(k=1, name="b") == "b"
    assert list(found.x) == [0.0, 1.0, 3.0, 4.0]  # joined: each point has three of them
    assert float(found.field.sel(k=2, x=4.0, name="a")) == 4.0
    assert np.isnan(found.field.sel(k=2, x=3.0, name="a"))


def test_a_point_that_fails_is_told_and_not_fatal(tmp_path):
    broken = [True]

    def run(k):
        if k == 2 and broken:
            raise ValueError("two is no good")
        return float(k)

    with pytest.warns(RuntimeWarning, match=r"1 of 3 points failed .* two is no good"):
        found = pk.sweep(run, {"k": [1, 2, 3]})
    assert list(np.isnan(found.value)) == [False, True, False]
    assert str(found.error.sel(k=2).values) == "ValueError: two is no good"
    with pytest.raises(RuntimeError, match="every one of the 1 points fails"):
        pk.sweep(run, {"k": [2]})


def test_points_that_were_kept_are_not_computed_again(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    space = {}
    exec(SLOW_POINT.replace("time.sleep(0.3)", "pass"), space)
    asked = {"a": [1, 2], "b": [1, 2, 3], "marks": [str(marks)]}
    first = pk.sweep(space["point"], asked, folder=tmp_path / "kept")
    assert len(list(marks.iterdir())) == 6
    again = pk.sweep(space["point"], asked, folder=tmp_path / "kept")
    assert len(list(marks.iterdir())) == 6 and again.identical(first)
    more = pk.sweep(space["point"], asked | {"a": [1, 2, 3]}, folder=tmp_path / "kept")
    assert len(list(marks.iterdir())) == 9 and more.value.shape == (3, 3, 1)
    damaged = next((tmp_path / "kept").glob("*.nc"))  # of any of the nine
    damaged.write_bytes(damaged.read_bytes()[:50])
    again = pk.sweep(space["point"], asked | {"a": [1, 2, 3]}, folder=tmp_path / "kept")
    assert again.identical(more) and len(list(marks.iterdir())) == 10


def test_points_of_another_function_are_refused(tmp_path):
    pk.sweep(lambda k: k, {"k": [1]}, folder=tmp_path)
    with pytest.raises(ValueError, match="points of another sweep"):
        pk.sweep(lambda k: k + 1, {"k": [1]}, folder=tmp_path)
    with pytest.raises(ValueError, match="its parameters is"):
        pk.sweep(lambda k: k, {"k": [1], "j": [2]}, folder=tmp_path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "expected parameters as a dict"),
        ({"k": 3}, r"should be a list, got 3: try \[3\]"),
        ({"k": "ab"}, "should be a list"),
        ({"k": []}, "got none"),
        ({"k": [1, 1.0]}, "takes a value twice"),
        ({"k": [pk.Grid(0, 1, 4)]}, "numbers, texts or truth values"),
    ],
)
def test_mistakes_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        pk.sweep(lambda k: k, parameters)


def test_what_is_no_number_says_what_to_return():
    with pytest.raises(RuntimeError, match=r"TypeError: 'value' should be numbers.*solution\.u"):
        pk.sweep(lambda k: object(), {"k": [1]})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,4", [1, 2, 4]), ("0:3", [0, 1, 2]), ("0:1:0.25", [0, 0.25, 0.5, 0.75]),
        ("1e-3", [1e-3]), ("a,b", ["a", "b"]), ("true", [True]), ("1:3,7", [1, 2, 7]),
        ("3:0:-1", [3, 2, 1]),
    ],
)  # fmt: skip
def test_values_of_the_command_line(text, values):
    assert sweeps.values_of(text) == values


@pytest.mark.parametrize("text", ["3:0", "0:1:0", "a:b", "0:1:2:3"])
def test_ranges_that_are_none(text):
    with pytest.raises(ValueError, match=r"range|expected"):
        sweeps.values_of(text)


# --- workers --------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that workers can import, and a folder in which each call leaves a mark."""
    (tmp_path / "slow_points.py").write_text(SLOW_POINT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    marks = tmp_path / "marks"
    marks.mkdir()
    return marks


def asked(marks, n=4):
    return {"a": list(range(n)), "b": [1, 2], "marks": [str(marks)]}


@pytest.fixture
def distributed():
    return pytest.importorskip("distributed")


def cluster(distributed, workers=2):
    return distributed.LocalCluster(
        workers, processes=True, threads_per_worker=1, dashboard_address=None
    )


@pytest.mark.filterwarnings("ignore")
def test_workers_compute_what_one_process_does_and_a_killed_one_is_replaced(distributed, module):
    import threading

    from slow_points import point

    def kill():
        while len(list(module.iterdir())) < 3:
            time.sleep(0.02)
        victim = sorted(module.iterdir())[-1].name.split("-")[2]
        os.kill(int(victim), signal.SIGKILL)

    with cluster(distributed) as here, distributed.Client(here) as client:
        killer = threading.Thread(target=kill)
        killer.start()
        found = pk.sweep(point, asked(module), client)
        killer.join()
    assert (found.error == "").all()
    assert (found.value.squeeze() == 10.0 * found.a + found.b).all()
    assert len({mark.name.split("-")[2] for mark in module.iterdir()}) >= 2


@pytest.mark.filterwarnings("ignore")
def test_a_sweep_goes_on_with_another_scheduler_and_after_being_killed(
    distributed, module, tmp_path
):
    from slow_points import point

    code = f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import distributed, pdekit as pk
        from slow_points import point
        if __name__ == "__main__":
            with distributed.LocalCluster(2, processes=True, threads_per_worker=1,
                                          dashboard_address=None) as here:
                pk.sweep(point, {asked(module, 12)!r}, distributed.Client(here),
                         folder={str(tmp_path / "kept")!r})
    """
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(code))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    while len(list((tmp_path / "kept").glob("*.nc"))) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)  # sweep, scheduler and workers at once
    process.wait()
    kept = len(list((tmp_path / "kept").glob("*.nc")))
    before = len(list(module.iterdir()))
    with cluster(distributed) as here, distributed.Client(here) as client:
        found = pk.sweep(point, asked(module, 12), client, folder=tmp_path / "kept")
    assert (found.value.squeeze() == 10.0 * found.a + found.b).all()
    # workers that were at a point when they were killed may have left a mark since
    assert 24 - kept <= len(list(module.iterdir())) - before <= 24 - kept + 2


def test_the_command_line_keeps_what_it_has(tmp_path):
    study = tmp_path / "squares.py"
    study.write_text(
        textwrap.dedent('''
        """Is the square below the bound?"""
        from types import SimpleNamespace
        from matplotlib.figure import Figure
        from pdekit.claims import at_most

        def run(k: int = 1, bound: float = 10.0):
            return SimpleNamespace(numbers={"square": k * k, "deep": {"bound": bound}})

        def plot(results):
            return Figure()

        def claims(results):
            return [at_most("square", results.numbers["square"], results.numbers["deep"]["bound"])]
        ''')
    )
    words = ("sweep", str(study), "--out", str(tmp_path / "out"))
    done = pdekit(*words, "--k", "1:4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 points ran and hold" in done.stdout
    done = pdekit(*words, "--k=1:5", cwd=tmp_path)
    assert done.returncode == 1 and "3 of 4 points ran and hold, 0 failed" in done.stdout
    found = xr.load_dataset(tmp_path / "out" / "squares.nc", engine="scipy")
    assert list(found["square"]) == [1, 4, 9, 16]
    assert [bool(h) for h in found.holds] == [True, True, True, False]
    done = pdekit(*words, "--q", "3", cwd=tmp_path)
    assert done.returncode == 2 and "no option --q; this study takes k, bound" in done.stderr
