"""The study of the speed of optimizers: families compute the same, slow steps fail their claims.

The study itself takes longer than a test may; `pdekit run optimizer_speed --quick` is its check.
"""

from dataclasses import replace

import pytest
from claimed import failing

from pdekit import cli

study = cli.load_study("optimizer_speed")
from peers import optimizers, page  # noqa: E402  (the study puts its neighbours on the path)
from peers.optimizers import BARE, SGD, Problem, Row, Size, Tensors  # noqa: E402

TINY = Size((20, 16, 16, 4), 8, 20)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    found, failed = optimizers.timed(optimizers.methods(quick=True), TINY, rounds=1)
    assert failed == {}
    # of so small a network milliseconds say nothing
    costs = {r.method: 0.0 if r.method == BARE else 2.0 for r in found}
    costs |= {name: 1.0 for name in costs if name.startswith("pdekit")}
    return [replace(r, milliseconds=10 + costs[r.method], overhead=costs[r.method]) for r in found]


@pytest.fixture(scope="module")
def small() -> list[Row]:
    """Of three tensors of ten numbers, as if all took equally long."""
    found, failed = optimizers.timed(optimizers.methods(quick=True), Tensors(3, 10, 1), rounds=1)
    assert failed == {}
    return [replace(r, milliseconds=1.0) for r in found]


def test_scripts_compute_what_pdekit_computes(rows: list[Row], small: list[Row]) -> None:
    """Without noise to rounding; with noise of T = 1e-8 to a hundred times the noise's effect."""
    loss = {r.method: r.answer for r in rows}
    assert loss["pdekit, SGLD, T = 0"] == pytest.approx(loss[SGD], rel=1e-5)
    by_hand = loss["torch, Entropy-SGD by hand, T = 0"]
    assert loss["pdekit, EntropySGD, L = 20, T = 0"] == pytest.approx(by_hand, rel=1e-5)
    assert loss["pdekit, EntropySGD, L = 20, T = 0"] < 0.999 * loss[BARE]
    assert failing(study, study.Results(rows, small)) == []
    assert len(study.plot(study.Results(rows, small)).axes) == 1


def test_a_wrong_answer_or_a_slow_step_fails_a_claim(rows: list[Row], small: list[Row]) -> None:
    wrong = [replace(r, answer=r.answer + 0.01) if r.method == "pdekit, SGLD" else r for r in rows]
    assert failing(study, study.Results(wrong, small)) == ["SGD: spread of the losses"]
    own = "pdekit, EntropySGD, L = 20"
    slow = [replace(r, overhead=2.1) if r.method == own else r for r in rows]
    assert failing(study, study.Results(slow, small)) == [f"{own}: overhead over that by hand"]
    slow = [replace(r, milliseconds=3.1) if r.method == own else r for r in small]
    worst = "small tensors: the worst time over that of lists"
    assert failing(study, study.Results(rows, slow)) == [worst]
    wrong = [replace(r, answer=r.answer + 0.01) if r.method == own else r for r in small]
    spread = "small tensors, Entropy-SGD: spread of the losses"
    assert failing(study, study.Results(rows, wrong)) == [spread]


def test_a_gradient_is_counted_where_it_is_taken() -> None:
    """A step of two gradients takes the time of two; the loop stops at the first step beyond."""
    problem = Problem(TINY)

    def step() -> None:
        problem.gradient()
        problem.gradient()

    assert optimizers.spent(step, problem, 5) > 0 and problem.used == 6


def test_bars_are_relative_to_the_bare_gradient(rows: list[Row]) -> None:
    found = {bar.text: bar for bar in study.bars(rows)}
    assert all(bar.measured == pytest.approx(1.1) and bar.holds for bar in found.values())
    noisy = {t for t, bar in found.items() if bar.bound == study.NOISY}
    assert {t.split(":")[0] for t in noisy} == {
        "SGLD", "EntropySGD, L = 20", "HEAT, L = 20", "TrivializedSGD",
    }  # fmt: skip
    slow = [replace(r, overhead=2.0) for r in rows if r.package == "pdekit"]
    bare = [r for r in rows if r.method == BARE]
    assert {bar.holds for bar in study.bars(bare + slow) if bar.bound == study.SILENT} == {False}


def test_the_page_shows_what_was_recorded() -> None:
    rows = [Row(BARE, "none", False, 8.0, 0.0, 2.0), Row(SGD, "SGD", False, 9.0, 1.0, 1.0),
            Row("pdekit, SGLD", "SGD", True, 10.0, 2.5, 1.0)]  # fmt: skip
    table = page.every_optimizer_row({"rows": [vars(r) for r in rows]})
    assert table.splitlines()[2:] == [
        f"| {BARE} | 8 | 1.00 |  |  |",
        f"| {SGD} | 9 | 1.12 | 1 | 1 |",
        "| pdekit, SGLD | 10 | 1.31 | 2.5 | 2.5 |",
    ]
