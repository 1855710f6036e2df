"""What a newcomer meets first: functions as one writes them, and kernels that are compiled."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest

import pdekit as pk
from pdekit import compiling

LINE, START, V = pk.Grid(-3, 3, 40), pk.Gaussian(-1.0, 0.2), pk.potentials.DoubleWell()


def well(x):
    return (x**2 - 1) ** 2 / 4  # of points (..., 1), values (..., 1)


def test_functions_of_a_line_may_keep_the_axis_of_points():
    told, plain = (pk.solve(pk.FokkerPlanck(f, 4.0), LINE, START, 1.0) for f in (V, well))
    np.testing.assert_allclose(plain.fields, told.fields, atol=1e-12)
    X, Y = (pk.simulate(pk.Langevin(f, 4.0), START, 60, 0.5, 0.05) for f in (well, V))
    np.testing.assert_allclose(X.final, Y.final, atol=1e-9)
    points = np.linspace(-2, 2, 9)[:, None]
    for f, factor in ((V + well, 2), (pk.potentials.Custom(well), 1)):
        np.testing.assert_allclose(f(points), factor * V(points))
        np.testing.assert_allclose(f.grad(points), factor * V.grad(points), atol=1e-9)


def test_functions_of_place_and_time_move():
    moving = pk.InTime(lambda x, t: (1 + t) * x[..., 0] ** 2)
    told = pk.solve(pk.FokkerPlanck(moving, 4.0), LINE, START, 0.5)
    plain = pk.solve(pk.FokkerPlanck(lambda x, t: (1 + t) * x**2, 4.0), LINE, START, 0.5)
    np.testing.assert_array_equal(plain.fields, told.fields)
    X = pk.simulate(pk.Langevin(lambda x, t: (1 + t) * x**2, 4.0), START, 60, 0.5, 0.05)
    Y = pk.simulate(pk.Langevin(moving, 4.0), START, 60, 0.5, 0.05)
    np.testing.assert_allclose(X.final, Y.final, atol=1e-9)
    scaled = pk.FokkerPlanck(lambda x, k=2.0: k * x**2, 4.0)  # a default is no time
    assert not hasattr(scaled.potential, "at")


def test_wrong_shapes_get_the_line_to_write():
    plane = pk.Grid((-3, -3), (3, 3), (8, 8))
    with pytest.raises(ValueError, match=r"\(x\*\*2\).sum\(-1\)"):
        pk.solve(pk.FokkerPlanck(lambda x: x**2, 4.0), plane, pk.Gaussian((0.0, 0.0), 0.5), 1.0)
    with pytest.raises(ValueError, match=r"use x instead of x\[\.\.\., 0\]"):
        pk.solve(pk.FokkerPlanck(V, 4.0, force=lambda x: -x[..., 0]), LINE, START, 1.0)
    with pytest.raises(TypeError, match="InTime"):
        pk.solve(pk.McKeanVlasov(lambda x, t: x**2, 4.0, pk.CurieWeiss(1.0)), LINE, START, 1.0)


class Terminal:
    """Keeps what is written."""

    def __init__(self, terminal):
        self.text, self.terminal = "", terminal

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(value=100.0)
    monkeypatch.setattr(compiling.time, "perf_counter", lambda: now.value)
    monkeypatch.setattr(compiling, "_QUIET", ("PDEKIT_QUIET",))
    monkeypatch.delenv("PDEKIT_QUIET", raising=False)
    return now


@pytest.mark.parametrize("terminal", [True, False])
def test_compiling_is_said_once_it_takes_long(terminal, clock, monkeypatch):
    error = Terminal(terminal)
    monkeypatch.setattr(compiling.sys, "stderr", error)
    line = compiling.Line()
    for seconds in (0.4, 0.4, 0.7, 0.7):
        line.on_start(None)
        line.on_start(None)  # of a kernel that it calls
        line.on_end(None)
        clock.value += seconds
        line.on_end(None)
    if terminal:
        assert error.text.endswith("\rcompiling kernels, once: 8 in 2 s")
    else:
        assert error.text.count("compiling kernels, once") == 1
    line.finish()
    assert error.text.endswith("\n")


def test_nothing_is_said_in_tests_or_when_asked(clock, monkeypatch):
    error = Terminal(True)
    monkeypatch.setattr(compiling.sys, "stderr", error)
    monkeypatch.setenv("PDEKIT_QUIET", "1")
    compiling.Line().say()
    assert error.text == ""


def test_kernels_compile_where_nothing_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "writable", lambda folder: False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiling.tempfile, "tempdir", str(tmp_path))
    folder = compiling.fallback()
    assert folder is not None and folder.parent == tmp_path and folder.is_dir()
    assert not hasattr(os, "getuid") or folder.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/elsewhere")
    assert compiling.fallback() is None
    code = "import pdekit.compiling as c; print(c.fallback())"
    elsewhere = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=elsewhere, check=True)
    assert done.stdout.strip() == "None"
