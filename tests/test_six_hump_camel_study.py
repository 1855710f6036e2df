"""The study of the six-hump camel runs, its claims hold, and planted faults fail them."""

from dataclasses import replace
from typing import Any

import pytest
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("six_hump_camel")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_the_two_readings_of_the_inner_step_are_told_apart(study: Any, results: Any) -> None:
    """Planted: δ = Δ where δ = Δ/M is meant."""
    name = "MF-HOM-SGLD 10, δ = Δ"
    gathered = results.gathered | {f"{name}/M": results.gathered[name]}
    texts = failing(study, replace(results, gathered=gathered))
    assert any("δ = Δ/M: runs gathered after 150" in text for text in texts)
    assert any("errata 76" in text for text in texts)


def test_half_the_attraction_is_refuted(study: Any, results: Any) -> None:
    """Planted: λ = 5 for 10, as λ/2 for λ would make it, and 1 for 2."""
    gathered = results.gathered | {
        f"MF-SGLD {2 * s:g}": results.gathered[f"MF-SGLD {s:g}"] for s in (1.0, 5.0)
    }
    texts = failing(study, replace(results, gathered=gathered))
    assert {text.split(":")[0] for text in texts if "Fisher" in text} == {
        "MF-SGLD 2", "MF-SGLD 10",
    }  # fmt: skip
    assert any("MF-SGLD 2: agents near" in text for text in texts)


def test_the_printed_condition_is_seen(study: Any, results: Any) -> None:
    """Planted: the critical coupling without confinement, errata 15."""
    critical = results.critical | {study.BETA: results.unconfined}
    texts = failing(study, replace(results, critical=critical))
    assert len(texts) == 3 and "0.20430688" in texts[0] and "branch" in texts[1]


def test_an_energy_of_twice_the_pairs_rises(study: Any, results: Any) -> None:
    """Planted: thesis Remark 4.7's energy in place of the free energy, errata 14."""
    energies = results.energies[[2, 1, 2]]
    texts = failing(study, replace(results, energies=energies))
    assert texts == ["λ = 10: free energy along the equation, largest rise"]
