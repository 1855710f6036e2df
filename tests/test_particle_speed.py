"""The study of the speed of particles: what it compares, and what runs where peers are absent.

The study itself takes longer than a test may; `pdekit run particle_speed --quick` is its check.
"""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from claimed import failing

from pdekit import cli

study = cli.load_study("particle_speed")
from peers import packages, particles  # noqa: E402  (the study puts its neighbours on the path)
from peers.particles import Row, Size  # noqa: E402

TINY = Size(4096, 10, 300, (2, 50, 2), 3)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with study.torch_threads(1):
        found, failed = particles.timed(particles.methods(quick=True), TINY, rounds=1)
    assert failed == {}
    # of so few particles rates say nothing
    return [r if r.ratio is None else replace(r, ratio=100.0) for r in found]


def test_plain_torch_computes_what_pdekit_computes(rows: list[Row]) -> None:
    """4,096 particles: second moments agree within 0.1, five times their sampling error."""
    for workload in ("P1", "P2", "P4"):
        moments = [r.answer for r in rows if r.workload == workload]
        assert len(moments) >= 4 and np.ptp(moments) < 0.1
    errors = [r.answer for r in rows if r.workload.startswith("P3")]
    assert len(errors) == 10 and max(errors) < 2e-6


def test_a_wrong_answer_or_a_slow_kernel_fails_a_claim(rows: list[Row]) -> None:
    rows = [replace(r, answer=0.7) if r.workload in ("P1", "P2", "P4") else r for r in rows]
    assert failing(study, study.Results(rows)) == []
    assert len(study.plot(study.Results(rows)).axes) == 5
    moment = [replace(r, answer=0.75) if r.method.startswith("torch, in") else r for r in rows]
    assert set(failing(study, study.Results(moment))) >= {"P1: spread of the second moments"}
    force = [replace(r, answer=1e-4) if r.workload == "P3 d=2" else r for r in rows]
    assert failing(study, study.Results(force)) == ["P3: greatest error of a force"]
    slow = [replace(r, ratio=1.0) if r.workload == "P2" and r.ratio else r for r in rows]
    assert failing(study, study.Results(slow)) == ["P2: over plain torch"]


def test_a_quick_run_prints_its_bars_and_claims_no_speed(
    rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    numbers: dict[str, Any] = {"quick": True, "absent": [], "failed": {}, "two_threads": 1.2}
    numbers["bars"] = [bar.as_dict() for bar in study.bars(rows, numbers)]
    study.report(rows, numbers)
    said = capsys.readouterr().out
    assert "bar met    P1: over plain torch in place: 100 (>= 1.481" in said
    assert "bar MISSED P1: two threads over one: 1.2 (>= 1.7)" in said
    slow = [r if r.ratio is None else replace(r, ratio=0.1) for r in rows]
    assert not any("over" in text for text in failing(study, study.Results(slow, numbers)))


def test_ratios_are_of_rates_to_the_first_method_of_ours() -> None:
    spent = {"pdekit, a": [2.0, 1.0, 4.0], "pdekit, b": [0.1], "torch, c": [6.0]}
    amounts = {"pdekit, a": 12.0, "pdekit, b": 12.0, "torch, c": 12.0}
    rows = particles.compared("P1", amounts, spent, dict.fromkeys(spent, 1.0))
    assert [r.rate for r in rows] == [6.0, 120.0, 2.0]
    assert [r.ratio for r in rows] == [None, None, 3.0]
    assert Row("P1", "torchsde, Euler", 1.0).package == "torchsde"
    assert study.ratio(rows, "P1", "torch") == 3.0 and study.ratio(rows, "P1", "KeOps") is None
    assert "| P1 | 3 (c) | - | - | - | - |" in particles.readme(rows)


def test_precisions_are_compared_with_their_like() -> None:
    spent = {"pdekit, float32": [1.0], "pdekit, float64": [2.0], "KeOps, float64": [6.0]}
    rows = particles.compared("P1", dict.fromkeys(spent, 1.0), spent, dict.fromkeys(spent))
    assert rows[-1].ratio == 3.0


def test_errors_of_forces_are_those_against_pairs_in_double() -> None:
    answers = {"pdekit, float64": np.array([1.0, 2.0]), "KeOps, x": np.array([1.0, 2.5])}
    rows = particles.compared(
        "P3 d=1", dict.fromkeys(answers, 1.0), {k: [1.0] for k in answers}, answers
    )
    assert [r.answer for r in rows] == [0.0, 0.5]


def test_where_peers_are_absent_torch_is_compared_with(monkeypatch: Any) -> None:
    own = ("pdekit", "torch")
    monkeypatch.setattr(packages, "find_spec", lambda n: find_spec(n) if n in own else None)
    labels = {m.label.split(",")[0] for m in particles.methods(quick=False)}
    assert labels == set(own)
