"""The study of smoothing in the plane runs, its claims hold, and planted faults fail them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from claimed import failing

import pdekit as pk
from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("smoothing_plane")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, particles=4_000)


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_heat_in_place_of_viscous_hj_fails(study: Any, results: Any) -> None:
    """It smooths too, but curvatures along an axis and askew fall slower than the lemma's bound."""
    planted = replace(results, smoothed=results.smoothed | {"viscous": results.smoothed["heat"]})
    texts = failing(study, planted)
    assert any("against quadrature" in text for text in texts)
    assert {"viscous u_xx", "viscous u_any"} <= {text.split(" <=")[0] for text in texts}


def test_one_component_of_the_gradient_fails_the_identity(study: Any, results: Any) -> None:
    """Planted: E∫|u_x|²/2 for E∫|∇u|²/2."""
    control = results.control
    planted = replace(results, control=SimpleNamespace(
        control=control.control * np.array([1.0, 0.0]), value=control.value,
        density=control.density, running=control.running, terminal_cost=control.terminal_cost,
    ))  # fmt: skip
    assert any("that gap is" in text for text in failing(study, planted))


def test_particles_at_another_temperature_fail(study: Any, results: Any) -> None:
    name, s = "plain SGD", results.setting
    hot = pk.simulate(pk.Langevin(s.loss, s.beta / 1.5), s.initial, 4_000, s.horizon, 0.005)
    found = float(pk.compare(results.densities[name], hot).p_value)
    numbers = results.numbers | {"p_value": results.numbers["p_value"] | {name: found}}
    texts = failing(study, replace(results, numbers=numbers))
    assert texts == [f"4,000 particles of {name} follow their density: p-value"]


def test_wells_are_counted_and_curvature_is_the_least_eigenvalue(study: Any) -> None:
    grid = pk.Grid((-2.6, -2.6), (2.6, 2.6), (104, 104))
    assert study.wells(pk.potentials.DoubleWell(2)(grid.centres), grid) == 4
    saddle = pk.potentials.Quadratic(np.array([[1.0, 2.0], [2.0, 1.0]]))(grid.centres)
    assert study.least_curvature(saddle, grid) == pytest.approx(-1.0, abs=1e-9)
