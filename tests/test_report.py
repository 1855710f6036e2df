"""A report tells what its runs recorded, nothing else, and reads well wherever it is opened."""

import base64
import json
import math
import shutil
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import CLAIMS, NUMBERS, make, study
from test_cli import pdekit

from pdekit import cli, report
from pdekit.claims import at_most

STUDY = '''"""Is the bound met?"""
from matplotlib.figure import Figure
from pdekit.claims import at_most

def run(bound: float = 1.0): return bound
def plot(results): return Figure()
def claims(results): return [at_most("nought", 0, results)]
'''
FIGURES = Path(__file__).parent.parent / "figures"
VOID = {"meta", "link", "img", "wbr"}
LOADING = {"src", "srcset", "data", "poster", "action", "background"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "runs")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


@dataclass
class Page(HTMLParser):
    """Text, attributes and table rows of a page; an element that is not closed is an error."""

    open: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"{tag} repeats an attribute: {names}"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def values(self, attribute: str, tag: str = "") -> list[str]:
        found = self.attributes
        return [value for t, name, value in found if name == attribute and tag in ("", t)]


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def page_of(*paths: Path) -> Page:
    return parsed(report.page(report.read_runs(paths), "Title <b>"))


def words(text: str) -> str:
    return " ".join(text.split())


def test_every_claim_is_there_with_value_bound_and_verdict(folder: Path) -> None:
    rows = [[words(cell) for cell in row] for row in page_of(folder).rows]
    expected = {
        CLAIMS[0].text: ["2.2 × 10−16", "≤ 1 × 10−12", "✓ holds"],
        CLAIMS[1].text: ["0.5000000001", "≤ 0.5", "✗ FAILS"],
        CLAIMS[2].text: ["nan", "≥ 0.01", "✗ FAILS"],
        CLAIMS[3].text: ["3", "≥ −inf", "✓ holds"],
    }
    for text, told in expected.items():
        assert [text, *told] in rows


def test_failing_claims_come_before_everything_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    page = page_of(Path("runs"))
    assert "✗ 2 of 5 claims fail" in words(page.text)
    claims = [words(row[0]) for row in page.rows if words(row[-1]) in ("✓ holds", "✗ FAILS")]
    assert claims[:2] == [f"{CLAIMS[k].text} runs/mixed.json" for k in (1, 2)]
    own = claims.index(CLAIMS[1].text)
    assert claims[own : own + 4] == [CLAIMS[k].text for k in (1, 2, 0, 3)]


def test_the_page_tells_parameters_seeds_versions_and_files(tmp_path: Path) -> None:
    data = tmp_path / "elsewhere" / "measured.csv"
    data.parent.mkdir()
    data.write_text("x,value\n")
    cli.perform(study(), "told", tmp_path / "runs", {"seed": 41, "data": data})
    record = json.loads((tmp_path / "runs" / "told.json").read_text())
    assert record["options"] == {"beta": 4.0, "seed": 41, "data": "measured.csv"}
    assert [record["parameters"][key]["given"] for key in ("beta", "seed", "data")] == [0, 1, 1]
    assert record["seeds"] == {"seed": 41}
    assert str(tmp_path) not in json.dumps(record)
    page = page_of(tmp_path / "runs")
    text = words(page.text)
    assert "seed = 41" in text and "measured.csv" in text and record["inputs"]["data"] in text
    for package, version in record["versions"].items():
        assert f"{package} {version}" in text
    assert {"python", "numpy", "scipy", "torch", "pdekit"} <= record["versions"].keys()
    assert str(tmp_path) not in report.page(report.read_runs([tmp_path / "runs"]), "t")


def test_a_record_without_the_newer_keys_is_read() -> None:
    page = page_of(FIGURES)
    old = json.loads((FIGURES / "smoothing.json").read_text())
    for claim in old["claims"]:
        assert claim["text"] in page.text
    images = {base64.b64encode(path.read_bytes()).decode() for path in FIGURES.glob("*.png")}
    assert images == {src.split(",")[1] for src in page.values("src", "img")}


def test_nothing_is_fetched_and_nothing_runs(folder: Path) -> None:
    page = page_of(folder)
    tags = {tag for tag, _, _ in page.attributes}
    assert not tags & {"script", "iframe", "object", "form", "base"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
    for tag, name, value in page.attributes:
        assert name not in LOADING or value.startswith("data:image/"), (tag, name, value[:80])
    ids = set(page.values("id"))
    for target in page.values("href"):
        assert target == "data:," or target[1:] in ids
    html = report.page(report.read_runs([folder]), "t")
    assert "http:" not in html and "https:" not in html and "url(" not in html


def test_the_page_says_what_it_is_to_those_who_do_not_see_it(folder: Path) -> None:
    page = page_of(folder)
    assert page.values("lang", "html") == ["en"]
    assert page.values("alt", "img") == ['A line that says "nothing" & more.'] * 2
    for anchor in page.values("aria-labelledby"):
        assert anchor in page.values("id")
    assert set(page.values("scope", "th")) == {"row", "col"}
    ids = page.values("id")
    assert len(set(ids)) == len(ids)


@settings(max_examples=200)
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_text_arrives_as_it_was_written(text: str) -> None:
    claims = (at_most(text, 1, 2),)
    record = {**report_record(), "study": text, "numbers": {text: {text: 1, "b": text}}}
    page = parsed(report.page([report.Run(text, record, claims, ())], text))
    assert [words(row[0]) for row in page.rows].count(words(text)) >= 2
    assert page.text.count(text) >= 6


def report_record() -> dict[str, Any]:
    kinds: dict[str, Any] = {"question": "", "about": "", "date": "", "seconds": None}
    return kinds | {key: {} for key in ("parameters", "options", "seeds", "inputs", "versions")}


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=300)
@given(finite, st.one_of(finite, st.integers(-3, 3)))
def test_value_and_bound_are_told_apart(measured: float, steps: Any) -> None:
    """Also when the bound is one of the measured value's neighbours; the full value is kept."""
    bound = measured + steps * math.ulp(measured) if isinstance(steps, int) else steps
    claim = at_most("a", measured, bound)
    left, right = (parsed(shown) for shown in report.against(claim))
    assert float(left.values("value")[0]) == measured
    assert float(right.values("value")[0]) == bound
    if math.isfinite(bound):
        assert (left.text == right.text) == (measured == bound)


@settings(max_examples=200)
@given(finite)
def test_four_digits_are_right_to_half_a_digit(value: float) -> None:
    shown = parsed(report.number(value)).text.replace("−", "-").replace(" × 10", "e")
    assert abs(Decimal(shown) - Decimal(value)) <= Decimal("5.01e-4") * abs(Decimal(value))


def test_numbers_are_laid_out_by_name() -> None:
    found = {table.caption: table for table in report.tables(NUMBERS)}
    assert found["comparison"].columns == ("l1", "p")
    assert dict(found["comparison"].rows)["other"] == (12345678.9, 0.5)
    assert dict(found["Numbers"].rows)["beta"] == (4.0,)
    assert dict(found["deep › er › est"].rows)["2"] == ([2, "three"],)


def test_the_json_holds_every_record_and_is_strict(folder: Path, tmp_path: Path) -> None:
    out, beside = report.write(report.read_runs([folder]), tmp_path / "made" / "r.html", "t")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    told = json.loads(beside.read_text(), parse_constant=refuse)
    assert told["holds"] is False and told["claims"] == 5
    assert [item["text"] for item in told["failed"]] == [CLAIMS[1].text, CLAIMS[2].text]
    assert told["failed"][1]["measured"] == "nan"
    for run in told["runs"]:
        record = json.loads((folder / f"{run['study']}.json").read_text())
        unchanged = {k: v for k, v in record.items() if k != "claims"}
        assert {k: run[k] for k in unchanged} == unchanged
    again = told["runs"][1]
    assert [float(c["measured"]) for c in again["claims"]] == pytest.approx(
        [claim.measured for claim in CLAIMS], rel=0, nan_ok=True
    )
    assert sorted(path.name for path in out.parent.iterdir()) == ["r.html", "r.json"]


def test_a_record_taken_from_the_json_makes_the_same_run(folder: Path, tmp_path: Path) -> None:
    runs = report.read_runs([folder])
    _, beside = report.write(runs, tmp_path / "r.html", "t")
    for run, told in zip(runs, json.loads(beside.read_text())["runs"], strict=True):
        (folder / f"{run.study}.json").write_text(json.dumps(told))
    for before, after in zip(runs, report.read_runs([folder]), strict=True):
        assert list(map(str, after.claims)) == list(map(str, before.claims))
        assert after.figures == before.figures


def test_a_run_named_twice_counts_once(folder: Path) -> None:
    runs = report.read_runs([folder / "mixed.json", folder, folder / ".." / "runs"])
    assert [run.study for run in runs] == ["mixed", "fine"]


def changed(**parts: Any) -> Any:
    """A fault: the record with some parts replaced, or taken out where the part is ``...``."""

    def fault(folder: Path) -> None:
        path = folder / "fine.json"
        record = {**json.loads(path.read_text()), **parts}
        path.write_text(json.dumps({k: v for k, v in record.items() if v is not ...}))

    return fault


def cut(name: str, size: int) -> Any:
    def fault(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:size])

    return fault


def flip(folder: Path) -> None:
    """One bit in the middle of the image."""
    data = bytearray((folder / "fine.png").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "fine.png").write_bytes(data)


CLAIM = CLAIMS[0].as_dict()
FAULTS = {
    "a cut record": (cut("fine.json", 400), "fine.json is damaged"),
    "an empty record": (cut("fine.json", 0), "fine.json is damaged"),
    "bytes that are no text": (
        lambda folder: (folder / "fine.json").write_bytes(b"\xff\xfe{"),
        "fine.json is damaged",
    ),
    "a list": (lambda folder: (folder / "fine.json").write_text("[1]"), "holds a list"),
    "no study": (changed(study=...), "it names no study"),
    "no claims": (changed(claims=...), "'claims' should be a list, got None"),
    "claims of another kind": (changed(claims=[1]), "1 is not a claim"),
    "a claim without bound": (
        changed(claims=[{k: v for k, v in CLAIM.items() if k != "bound"}]),
        "is not a claim",
    ),
    "an unknown relation": (changed(claims=[{**CLAIM, "relation": "=="}]), "is not a claim"),
    "a verdict turned round": (changed(claims=[{**CLAIM, "measured": 1}]), "holds = True for"),
    "a verdict in words": (changed(claims=[{**CLAIM, "holds": "yes"}]), "holds = 'yes' for"),
    "parameters of another kind": (changed(parameters={"a": 1}), "'parameters'"),
    "a figure elsewhere": (changed(figures=[{"file": "../x.png"}]), "is not a figure"),
    "figures of another kind": (changed(figures="fine.png"), "is not a figure"),
    "a lost figure": (lambda folder: (folder / "fine.png").unlink(), "lacks its figure"),
    "a cut figure": (cut("fine.png", 3000), "not a whole PNG or SVG"),
    "a flipped bit": (flip, "not a whole PNG or SVG"),
    "another run's figure": (
        lambda folder: (folder / "fine.png").write_bytes((FIGURES / "smoothing.png").read_bytes()),
        "not the figure recorded",
    ),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS)
def test_damage_is_named(fault: Any, message: str, folder: Path) -> None:
    fault(folder)
    with pytest.raises(ValueError, match="fine") as caught:
        report.read_runs([folder])
    assert message in str(caught.value)


def test_svg_figures_are_embedded_if_whole(folder: Path) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>'
    (folder / "fine.svg").write_text(svg)
    changed(figures=[{"file": "fine.svg", "caption": "A square"}])(folder)
    (figure,) = report.read_runs([folder / "fine.json"])[0].figures
    kind, coded = figure.address.split(",")
    assert kind == "data:image/svg+xml;base64" and base64.b64decode(coded).decode() == svg
    cut("fine.svg", 60)(folder)
    with pytest.raises(ValueError, match="not a whole PNG or SVG"):
        report.read_runs([folder])


def test_a_failed_write_leaves_the_former_report(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    report.write(report.read_runs([folder]), out, "former")
    former = out.read_bytes()

    def broken(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        report.files.replace_file(out, broken)
    assert out.read_bytes() == former
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json", "runs"]


def test_a_report_never_replaces_a_run(folder: Path) -> None:
    before = (folder / "fine.json").read_bytes()
    with pytest.raises(ValueError, match="not a report and would be overwritten"):
        report.write(report.read_runs([folder]), folder / "fine.html", "t")
    assert (folder / "fine.json").read_bytes() == before


def test_the_command_line_from_run_to_page(tmp_path: Path) -> None:
    """The status is that of the claims; a report in the folder of its runs is not one of them."""
    (tmp_path / "own.py").write_text(STUDY)
    assert pdekit("run", "own.py", "--bound", "-1", "--out", "runs", cwd=tmp_path).returncode == 1
    for _ in range(2):
        done = pdekit("report", "runs", "--out", "runs/report.html", cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        assert "runs/own.json: [FAILS] nought" in done.stdout
        assert "0 of 1 claims hold; runs/report.html, runs/report.json" in done.stdout
    assert "nought" in (tmp_path / "runs" / "report.html").read_text()
    assert pdekit("run", "own.py", "--out", "runs", cwd=tmp_path).returncode == 0
    done = pdekit("report", "runs/own.json", "--title", "Mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "<h1>Mine</h1>" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent",), "no such run: absent"),
        (("empty",), "found no record of a run in empty"),
        ((), "Missing argument 'RUN...'"),
    ],
)
def test_mistakes_get_one_clear_message(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    done = pdekit("report", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_is_html(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name in \.html"):
        report.write(report.read_runs([folder]), tmp_path / "page.pdf", "t")
