"""The study of the rough landscape runs, its claims hold, and planted faults fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claimed import failing

import pdekit as pk
from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("rough_landscape")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, runs=3)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_the_set_of_minimisers_is_that_of_the_potential(study: Any) -> None:
    """Its distance is 0 at them alone; V between, by descent to the nearest, is larger."""
    at, V = study._minimisers(0.01), pk.potentials.Rough(1, 0.01)
    assert at.size == 638 and V(at[:, None]).max() < 1e-20
    between = (at[1:] + at[:-1]) / 2
    apart = study._distance(between, 0.01)
    np.testing.assert_allclose(apart, np.diff(at) / 2, rtol=1e-9)
    assert V(between[np.abs(between) > 0.1][:, None]).min() > 1e-3


def test_agents_that_stay_where_they_start_fail(study: Any, results: Any) -> None:
    """Planted in place of those of the published order."""
    idle = results.printed["SGLD", 50]
    planted = {**results.printed, ("MF-HOM-SGLD", 50): idle}
    texts = failing(study, replace(results, printed=planted))
    assert any("MF-HOM-SGLD, standard errors from 9.94" in t for t in texts)
    assert any("MF-HOM-SGLD before HOM-SGLD" in t for t in texts)


def test_unstable_inner_steps_in_place_of_resolved_ones_fail(study: Any, results: Any) -> None:
    planted = {m: results.printed[m, 50] for m in results.resolved}
    assert len(failing(study, replace(results, resolved=planted))) == 2


def test_a_method_that_does_not_overflow_fails(study: Any, results: Any) -> None:
    """Tamed steps, asked as the explicit ones are."""
    assert study._raised("SGLD", 10, pk.particles.TamedEuler(), 0) == float("inf")
    planted = replace(results, overflow={"SGLD, d = 10": float("inf")})
    assert len(failing(study, planted)) == 1


def test_the_homogenised_gap_needs_both_means(study: Any, results: Any) -> None:
    """With the potential averaged, and the noise as it is, the gap is another."""
    F = pk.potentials.Custom(lambda x: 0.51 * x[..., 0] ** 2)  # the mean of V over a ripple
    wrong = pk.spectral_gap(pk.FokkerPlanck(F, study.BETA), pk.Grid(-3, 3, 600))
    planted = replace(results.line, limit=wrong)
    assert len(failing(study, replace(results, line=planted))) == 1
