"""The study of a loss on a plane runs on the shipped one and on another, and faults fail it."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claimed import failing

import pdekit as pk
from pdekit import cli

# wells at the walls are a kink of the loss continued beyond them
pytestmark = pytest.mark.filterwarnings("ignore::pdekit.errors.ResolutionWarning")
DATA = Path(__file__).parents[1] / "studies" / "data"


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("loss_plane")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, particles=2_000)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_particles_of_another_temperature_fail(study: Any, results: Any) -> None:
    by_equation, by_particles, gibbs = results.shares
    planted = replace(results, shares=(by_equation, 1.5 * by_particles, gibbs))
    assert [text[:5] for text in failing(study, planted)] == ["share"]


def test_a_flow_that_moves_the_deepest_well_fails(study: Any, results: Any) -> None:
    flow = results.flows["heat"]
    moved = replace(flow, moved=flow.moved + 0.5)
    texts = failing(study, replace(results, flows={**results.flows, "heat": moved}))
    assert texts == ["heat: the deepest well stays while there are others, moved by turns"]


def test_a_plane_of_ones_own(study: Any, tmp_path: Path) -> None:
    axis = np.linspace(-1, 1, 33)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    np.savez(tmp_path / "own.npz", x=axis, y=axis, value=x**2 + y**2 + 0.1 * np.cos(9 * x))
    found = study.run(quick=True, loss=tmp_path / "own.npz", beta=10.0, cells=48, particles=1_000)
    assert not found.shipped
    assert failing(study, found) == []


@pytest.mark.parametrize(
    ("value", "wide", "more", "says"),
    [
        (0.0, 1.0, {}, r"--loss must be a plane that varies, got 0 everywhere; measure it"),
        (1.0, 100.0, {}, r"--longest must be at least .* got 30: .* pass --longest or more"),
        (1.0, 1.0, {"longest": 0.0}, r"--longest must be a finite number > 0, got 0"),
    ],
)
def test_a_plane_without_answers_is_refused(
    study: Any, tmp_path: Path, value: float, wide: float, more: Any, says: str
) -> None:
    axis = np.linspace(0, 1, 9)
    np.savez(
        tmp_path / "own.npz", x=axis, y=wide * axis, value=value * np.cos(9 * axis * axis[:, None])
    )
    with pytest.raises(ValueError, match=says):
        study.run(quick=True, loss=tmp_path / "own.npz", **more)


def test_the_line_is_the_first_axis_of_the_plane() -> None:
    line = pk.potentials.Tabulated.from_csv(DATA / "digits_loss.csv")
    plane = pk.potentials.Tabulated.from_npz(DATA / "digits_plane.npz")
    x = np.linspace(-1.5, 1.5, 101)
    on_plane = plane(np.stack([x, 0 * x], axis=-1))
    np.testing.assert_allclose(on_plane, line(x[:, None]), atol=2e-5)


def test_the_shipped_plane_is_what_its_script_computes() -> None:
    spec = importlib.util.spec_from_file_location("digits_loss", DATA / "digits_loss.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with np.load(DATA / "digits_plane.npz") as shipped:
        x, values = shipped["x"], shipped["value"]
    script.PLANE_SAMPLES = 5
    few, again = script.plane_of_loss()
    np.testing.assert_allclose(few, x[::24])
    np.testing.assert_allclose(again, values[::24, ::24], atol=1e-6)
