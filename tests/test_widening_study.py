"""The study of widening runs, its claims hold, and planted faults fail them."""

from dataclasses import replace
from typing import Any

import pytest
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("widening")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, cells=500, particles=2_000)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_heat_in_place_of_local_entropy_fails(study: Any, results: Any) -> None:
    data = results.curvature
    heat = data.assign(local_entropy=data["heat"], allowance_local_entropy=data["allowance_heat"])
    assert [text.split(":")[0] for text in failing(study, replace(results, curvature=heat))] == [
        "rippled loss"
    ]


def test_ends_that_stay_and_a_shock_too_small_fail(study: Any, results: Any) -> None:
    times, found, exact = results.ends
    still = replace(results, ends=(times, found[:1] + 0 * found, exact))
    assert [text[:4] for text in failing(study, still)] == ["ends"]
    weak = replace(results, jump=(0.9 * results.jump[1], results.jump[1]))
    assert [text[:8] for text in failing(study, weak)] == ["after it"]
