"""The study of trivialization runs, its claims hold, and wrong landscapes fail them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from claimed import failing

from pdekit import cli


@pytest.fixture(scope="module")
def study() -> Any:
    return cli.load_study("trivialization")


@pytest.fixture(scope="module")
def results(study: Any) -> Any:
    return study.run(quick=True, disorders=4, starts=5)


def test_claims_hold(study: Any, results: Any) -> None:
    assert failing(study, results) == []
    study.plot(results)


def test_half_of_the_critical_points_are_missed(study: Any, results: Any) -> None:
    """Planted: points without their opposites."""
    counted = results.counts[0.0]
    planted = replace(counted, points=counted.points // 2)
    texts = failing(study, replace(results, counts={**results.counts, 0.0: planted}))
    assert len(texts) == 1 and texts[0].startswith("N = 6, v = 0: critical points")


def test_a_weak_field_is_not_called_trivial(study: Any, results: Any) -> None:
    """Planted: the ends without field in place of those at v = 3."""
    rugged, _, trivial = results.regimes
    planted = {**results.regimes, trivial: results.regimes[rugged]}
    texts = failing(study, replace(results, regimes=planted))
    assert [text.split(":")[0] for text in texts] == ["v = 3"]


def test_a_worse_schedule_is_seen(study: Any, results: Any) -> None:
    """Planted: the sign of the energy's change."""
    found = results.annealed[100]
    worse = replace(found, energy=2 * found.plain - found.best + 0.1)
    texts = failing(study, replace(results, annealed={**results.annealed, 100: worse}))
    assert len(texts) == 1 and "lower than plain descents" in texts[0]


def test_the_printed_mean_cosine_distance_is_impossible(study: Any, results: Any) -> None:
    """Errata 70."""
    rugged = next(iter(results.regimes))
    regime = results.regimes[rugged]
    planted = replace(regime, cosine=np.full_like(regime.cosine, 1.26))
    texts = failing(study, replace(results, regimes={**results.regimes, rugged: planted}))
    assert len(texts) == 2 and texts[0].startswith("the mean cosine distance of ends is at most")
