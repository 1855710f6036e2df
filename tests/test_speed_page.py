"""The tables of README.md, docs/speed.md and docs/optimizers.md are what the records say."""

from pathlib import Path
from typing import Any

import pytest

from pdekit import cli

cli.load_study("work_precision")  # puts its neighbours on the path
from peers import page  # noqa: E402

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "figures"


def row(method: str, seconds: float, error: float | None) -> dict[str, Any]:
    return {"workload": "W1 line", "method": method, "seconds": seconds, "error": error}


@pytest.mark.parametrize("name", page.PAGES)
def test_no_number_of_a_table_is_typed(name: str) -> None:
    text = (ROOT / name).read_text()
    assert page.rewritten(text, FIGURES) == text
    assert any(f"<!-- {mark} -->" in text for mark in page.PARTS)


def test_another_record_is_another_table(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = page.record("work_precision", FIGURES)
    numbers["bars"][0] = numbers["bars"][0] | {"measured": 0.125, "holds": False}
    monkeypatch.setattr(page, "record", lambda *_: numbers)
    table = page.rewritten("<!-- bars -->\n<!-- end -->", FIGURES)
    assert "0.12 | ≥ 8 | **missed** |" in table


def test_the_peer_shown_is_its_fastest_at_our_error_or_its_most_accurate() -> None:
    rows = [row("a", 9.0, 1e-7), row("b", 5.0, 0.9e-6), row("c", 1.0, 1e-3), row("d", 0.1, None)]
    assert page.best(rows, 1e-6) is rows[1]
    assert page.best(rows, 0.89e-6) is rows[1]  # within 5 %
    assert page.best(rows, 1e-9) is rows[0]
    assert page.best(rows[2:], 1e-9) is rows[2]
    assert page.best(rows[3:], 1e-9) is None and page.cell(None, rows[0]) == "-"
    assert page.cell(rows[0], row("pdekit", 2.0, 1e-6)) == "4.5 at 1e-07"


@pytest.mark.parametrize(
    "value, text", [(0.857, "0.86"), (6.46, "6.5"), (49.9, "50"), (31165.6, "31,000")]
)
def test_numbers_have_two_digits(value: float, text: str) -> None:
    assert page.brief(value) == text


def test_the_tables_of_smoothed_training() -> None:
    minima = [{"minimum": 1.0, "ends": 3, "offset": o, "error": 0.01} for o in (0.02, -0.04)]
    numbers = {
        "ends": [{"optimizer": "HJ", "gamma": 0.1, "share": 0.36, "minima": minima}],
        "network": {"over_sgd_and_half_99": {"SGD": {}, "HJ": {
            "gap": [0.834, 0.049], "largest eigenvalue": None, "trace": [1.0, 0.2],
            "training loss": [1.0, 0.0], "test error": [0.957, 0.133]}}},
    }  # fmt: skip
    assert page.ends(numbers).splitlines()[2:] == ["| HJ | 0.1 | 2 | 0.040 ± 0.010 | 36 % |"]
    assert page.flatness(numbers).splitlines()[2:] == [
        "| HJ | 0.83 ± 0.05 | - | 1.00 ± 0.20 | 1.00 ± 0.00 | 0.96 ± 0.13 |"
    ]


def test_the_table_of_who_trains_best() -> None:
    """In the order of test errors at the largest budget; bold is what excludes 0."""

    def made(name: str, gradients: int, error: float, less: float) -> dict[str, Any]:
        apart = {"error": [less, 0.002], "training": [-less, 0.0105]}
        return {
            "optimizer": name,
            "gradients": gradients,
            "mean_and_half_95": {"error": [error, 0.001]},
            "less_sgd_and_half": apart if less else {"error": [0, 0], "training": [0, 0]},
        }

    rows = [made("SGD", 250, 0.04, 0.0), made("HJ", 250, 0.05, 0.01),
            made("SGD", 2000, 0.03, 0.0), made("HJ", 2000, 0.029, -0.001)]  # fmt: skip
    assert page.training({"rows": rows}).splitlines()[2:] == [
        "| HJ | 2.90 ± 0.10 | -0.10 ± 0.20 | +0.001 ± 0.011 | 5.00 ± 0.10 | **+1.00 ± 0.20** "
        "| -0.010 ± 0.011 |",
        "| SGD | 3.00 ± 0.10 | - | - | 4.00 ± 0.10 | - | - |",
    ]


def test_the_table_of_split_data() -> None:
    row = {
        **{"method": "Parle", "replicas": 3, "share": 0.5, "gradients": 1000},
        "error_and_half_95": [0.026, 0.002],
        "less_sgd_on_all_and_half_99": [0.004, 0.003],
    }
    assert page.split({"together": [row]}).splitlines()[2:] == [
        "| Parle | 3 | 50% | 1,000 | 2.60 ± 0.20 | **+0.40 ± 0.30** |"
    ]
