"""The study of the effective landscape runs, its claims hold, and planted faults fail them."""

from dataclasses import replace
from typing import Any

import pytest
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("effective_landscape")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, cells=200, particles=500)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_the_coupling_left_as_it_is_fails(study: Any, results: Any) -> None:
    """Planted: the critical point of V at λ in place of that at λ/(1 + γλ)."""
    same = {(s, g): (a, results.critical[s][0]) for (s, g), (a, _) in results.smoothed.items()}
    assert [text[:2] for text in failing(study, replace(results, smoothed=same))] == ["β_", "by"]


def test_particles_of_the_other_temperature_fail(study: Any, results: Any) -> None:
    (warm, cold) = sorted(results.runs)
    swapped = {
        warm: (results.runs[warm][0], results.runs[cold][1]),
        cold: (results.runs[cold][0], results.runs[warm][1]),
    }
    texts = failing(study, replace(results, runs=swapped))
    assert len(texts) == 2 and all("particles' mean" in text for text in texts)
