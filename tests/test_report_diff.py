"""What moved between two sets of runs: every claim, setting and number that differs, no other."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from runs import make
from test_cli import pdekit

from pdekit import report, report_diff


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """Two copies of the same runs; a test changes the second."""
    before = make(tmp_path / "before")
    return before, Path(shutil.copytree(before, tmp_path / "after"))


def edit(folder: Path, change: Any) -> str:
    """Change the record of the run with most claims; returns its study."""
    file = folder / "mixed.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record)
    file.write_text(json.dumps(record), encoding="utf-8")
    return str(record["study"])


def fail(claim: dict[str, Any]) -> None:
    """Beyond its bound."""
    beyond = 1 + abs(claim["bound"])
    claim["measured"] = claim["bound"] + (beyond if claim["relation"] == "<=" else -beyond)
    claim["holds"] = False


def pairs(both: tuple[Path, Path]) -> dict[str, report_diff.Pair]:
    found = report_diff.pairs(*(report.read_runs([folder]) for folder in both))
    return {pair.study: pair for pair in found}


def test_the_same_runs_have_not_moved(both: tuple[Path, Path]) -> None:
    for pair in pairs(both).values():
        assert {claim.change for claim in pair.claims} <= {"same"}
        assert pair.settings == [] and pair.numbers == []


def test_a_claim_that_moves_breaks_or_goes_is_told(both: tuple[Path, Path]) -> None:
    def change(record: dict[str, Any]) -> None:
        first, second = record["claims"][:2]
        toward = 1 if first["relation"] == "<=" else -1
        first["measured"], first["holds"] = (
            first["bound"] + toward * (1 + abs(first["bound"])),
            False,
        )
        record["claims"] = [first, {**second, "text": "another"}, *record["claims"][2:]]

    study = edit(both[1], change)
    pair = pairs(both)[study]
    assert [claim.change for claim in pair.claims][:3] == ["broken", "gone", "new"]
    assert pair.broken[0].after is not None and not pair.broken[0].after.holds


def test_settings_and_numbers_that_moved_are_told_with_how_far(both: tuple[Path, Path]) -> None:
    def change(record: dict[str, Any]) -> None:
        record["options"]["seed"] = 77
        record["numbers"] = {"kept": 1.0, "deep": [{"far": 4.0}, {"near": 1.001}], "no": math.nan}

    def first(record: dict[str, Any]) -> None:
        record["numbers"] = {"kept": 1.0, "deep": [{"far": 2.0}, {"near": 1.0}], "no": math.nan}

    edit(both[0], first)
    study = edit(both[1], change)
    pair = pairs(both)[study]
    assert [(m.place, m.after) for m in pair.settings] == [("options › seed", 77)]
    assert [m.place for m in pair.numbers] == ["deep › 1 › far", "deep › 2 › near"]
    assert pair.numbers[0].by == 0.5
    assert pair.numbers[1].by == pytest.approx(1e-3, rel=2e-3)


def test_the_command_line_fails_where_a_claim_that_held_fails(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "diff.html"
    done = pdekit("report", *map(str, both), "--diff", "--out", str(out), cwd=tmp_path)
    assert done.returncode == 0 and "0 of" in done.stdout

    def change(record: dict[str, Any]) -> None:
        claim = next(claim for claim in record["claims"] if claim["holds"])
        toward = 1 if claim["relation"] == "<=" else -1
        claim["measured"], claim["holds"] = (
            claim["bound"] + toward * (1 + abs(claim["bound"])),
            False,
        )

    study = edit(both[1], change)
    done = pdekit("report", *map(str, both), "--diff", "--out", str(out), cwd=tmp_path)
    assert done.returncode == 1 and "held, and fails now" in done.stdout
    data = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert data["claims"]["broken"] == 1
    assert [c["change"] for c in data["studies"][study]["claims"]] == ["broken"]
    assert "1 claim that held fails" in " ".join(out.read_text(encoding="utf-8").split())


def test_three_sets_and_two_runs_of_a_study_are_refused(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    done = pdekit("report", *map(str, both), str(both[0]), "--diff", cwd=tmp_path)
    assert done.returncode == 2 and "got 3" in done.stderr
    file = sorted(both[0].glob("*.json"))[0]
    with pytest.raises(ValueError, match="are both runs of"):
        report_diff.pairs([*report.read_runs([file]), *report.read_runs([both[1]])], [])
