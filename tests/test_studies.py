"""The shipped studies run, their claims hold, and a planted fault makes a claim fail."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claimed import failing

import pdekit as pk
from pdekit import cli
from pdekit.claims import all_hold

LOSS = Path(__file__).parent.parent / "studies" / "data" / "digits_loss.csv"


@pytest.fixture(scope="module")
def smoothing() -> Any:
    return cli.load_study("smoothing")


@pytest.fixture(scope="module")
def results(smoothing: Any) -> Any:
    return smoothing.run(quick=True, particles=5_000)


@pytest.fixture(scope="module")
def transition() -> Any:
    study = cli.load_study("phase_transition")
    return study, study.run(quick=True, cells=120)


def test_phase_transition_claims_hold(transition: Any) -> None:
    study, results = transition
    assert failing(study, results) == []
    study.plot(results)


def test_planted_faults_of_the_phase_transition_fail_their_claims(transition: Any) -> None:
    """The printed critical point as if measured; a branch without its folds; a rising energy."""
    study, results = transition
    wrong = replace(results, measured=results.printed)
    assert len(failing(study, wrong)) == 3
    straight = replace(results.loop, folds=results.loop.folds[:1])
    assert any("folds, two" in text for text in failing(study, replace(results, loop=straight)))
    rising = {**results.ordering.stats, "largest_energy_step": 1e-9}
    planted = replace(results, ordering=replace(results.ordering, stats=rising))
    assert failing(study, planted) == ["largest rise of the free energy over any step"]


def test_smoothing_claims_hold(smoothing: Any, results: Any) -> None:
    assert failing(smoothing, results) == []
    smoothing.plot(results)


def test_measured_loss(smoothing: Any) -> None:
    measured = smoothing.run(quick=True, loss=LOSS, particles=2_000)
    assert all_hold(smoothing.claims(measured))
    assert measured.setting.walls and not measured.setting.convex


def test_particles_of_a_wrong_noise_fail_their_claim(smoothing: Any, results: Any) -> None:
    """The slip of the source papers: sqrt(1/beta) in place of sqrt(2/beta)."""
    wrong = pk.Langevin(results.setting.loss, 2 * results.setting.beta)
    cold = pk.simulate(wrong, results.setting.initial, 5_000, results.setting.horizon, 2e-3)
    comparison = pk.compare(results.densities[smoothing.SGD], cold)
    planted = replace(results, comparisons={**results.comparisons, smoothing.SGD: comparison})
    assert failing(smoothing, planted) == [
        f"{results.particles:,} particles of plain SGD follow their density: p-value"
    ]


def test_heat_in_place_of_viscous_hj_fails_the_bound(smoothing: Any, results: Any) -> None:
    """The heat equation smooths too, but not at the rate that the lemma proves."""
    planted = replace(results, smoothed={**results.smoothed, "viscous": results.smoothed["heat"]})
    assert any("viscous u_xx" in text for text in failing(smoothing, planted))


def test_control_that_is_too_strong_breaks_the_identity(smoothing: Any, results: Any) -> None:
    value = results.control.value
    doubled = replace(value, fields=2 * value.fields)
    planted = replace(results, control=replace(results.control, value=doubled))
    assert any("that gap is" in text for text in failing(smoothing, planted))


def test_same_seed_same_numbers(smoothing: Any, results: Any) -> None:
    again = smoothing.run(quick=True, particles=5_000)
    assert again.numbers == results.numbers
    for name, ensemble in results.ensembles.items():
        np.testing.assert_array_equal(again.ensembles[name].x, ensemble.x)
