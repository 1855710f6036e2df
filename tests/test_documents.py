"""Every reference of code, studies, tests and documents leads somewhere.

Docstrings quote sections and equations of ``docs/mathematics.md``, rows of ``docs/errata.md`` and
places in the papers, which those two documents must list; documents link to each other, to files,
to tests and to names of the package.
"""

import ast
import importlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pdekit as pk

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CODE = sorted(
    path
    for folder in ("pdekit", "studies", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
)
FILES = [*PAGES, *CODE]

PAPERS = {
    "thesis": "thesis",
    "kantas": "Kantas et al.",
    "report": "report",
    "deep": "Deep relaxation",
}
PAPER = re.compile(r"\b(thesis|Kantas et al\.|report|Deep relaxation)(?:,? (?=[\w(]))", re.I)
KINDS = "lemma|theorem|remark|definition|example|algorithm|assumption|chapter|section|figure"
NUMBER = r"\d+(?:\.\d+)*"
ITEM = re.compile(
    rf"(?P<sep>-|, and |, | and |)(?:(?P<kind>{KINDS})s? |(?P<page>p\. ))?"
    rf"(?:\((?P<equation>{NUMBER})\)|(?P<bare>{NUMBER}))(?!\w)",
    re.I,
)
AGAIN = r"(?:-|, | and )"
SECTIONS = re.compile(rf"\bmathematics (\d+(?:\.\d+)?(?:{AGAIN}\d+\.\d+)*)", re.I)
EQUATION = re.compile(r"\bmathematics \((\d+(?:\.\d+)+)\)", re.I)
ROWS = re.compile(rf"\berrat(?:a|um) (\d+(?:{AGAIN}\d+)*)", re.I)
ROW_TEST = re.compile(r"\btest_row_(\d+)_")
TAGS = re.compile(r"\bMODEL\b|\b[UTKD] (?:\(\d+(?:\.\d+)?\)|\d+\.\d+\.\d+)")


def text_of(path: Path) -> str:
    """Without line breaks, so that references may run over them."""
    return re.sub(r"\s*\n[\s#>]*", " ", path.read_text(encoding="utf-8"))


def spread(first: str, last: str) -> Iterator[str]:
    """From 4.17 to 4.19."""
    head, _, a = first.rpartition(".")
    for k in range(int(a), int(last.rpartition(".")[2]) + 1):
        yield f"{head}.{k}" if head else str(k)


def listed(text: str) -> set[str]:
    """The numbers of "1.2-1.4, 1.6 and 1.8"."""
    found: set[str] = set()
    for part in re.split(", | and ", text):
        first, _, last = part.partition("-")
        found.update(spread(first, last or first))
    return found


def places(text: str) -> set[tuple[str, str, str]]:
    """Places in papers that a text quotes: (paper, kind, number)."""
    found: set[tuple[str, str, str]] = set()
    for start in PAPER.finditer(text):
        paper = PAPERS[start[1].split()[0].lower()]
        found.update((paper, kind, number) for kind, number in items(text, start.end()))
    for kind, number in re.findall(
        rf"({KINDS}) (\d+(?:\.\d+)*) of [^.;]{{0,14}}thesis", text, re.I
    ):
        found.add(("thesis", kind.lower(), number))
    return found


def items(text: str, at: int) -> Iterator[tuple[str, str]]:
    """Equations, lemmas, sections ... that stand in a row from ``at`` on."""
    kind, last = "", ""
    while found := ITEM.match(text, at):
        named, number = found["kind"] or found["page"], found["equation"] or found["bare"]
        if bool(found["sep"]) != bool(last) or not (named or found["equation"] or "." in number):
            return  # a list begins without a comma and goes on with one; "section" needs a dot
        ranged = found["sep"] == "-"
        if not ranged:
            kind = "equation" if found["equation"] else (named or "section").strip().lower()
        yield from ((kind, each) for each in (spread(last, number) if ranged else (number,)))
        last, at = number, found.end()


MATHEMATICS, ERRATA = ROOT / "docs/mathematics.md", ROOT / "docs/errata.md"


def equations() -> list[str]:
    fences = re.findall(r"```text\n(.*?)```", MATHEMATICS.read_text(encoding="utf-8"), re.S)
    return re.findall(r" \((\d+(?:\.\d+)+)\)$", "\n".join(fences), re.M)


def sections() -> list[str]:
    return re.findall(r"^##+ (\d+(?:\.\d+)?)", MATHEMATICS.read_text(encoding="utf-8"), re.M)


def rows() -> list[str]:
    return re.findall(r"^\| (\d+) \|", ERRATA.read_text(encoding="utf-8"), re.M)


@pytest.fixture(scope="module")
def known() -> dict[str, set[Any]]:
    cited = places(text_of(MATHEMATICS)) | places(text_of(ERRATA))
    return {
        "section": set(sections()),
        "equation": set(equations()),
        "row": set(rows()),
        "place": cited,
    }


def quoted(text: str) -> dict[str, set[Any]]:
    """What a text refers to, by kind."""
    return {
        "section": set().union(*map(listed, SECTIONS.findall(text))),
        "equation": set(EQUATION.findall(text)),
        "row": set(ROW_TEST.findall(text)).union(*map(listed, ROWS.findall(text))),
        "place": places(text),
    }


def lost(text: str, known: dict[str, set[Any]]) -> list[tuple[str, Any]]:
    """References that lead nowhere."""
    missing = ((kind, ref) for kind, refs in quoted(text).items() for ref in refs - known[kind])
    return sorted(missing, key=str) + [("tag", tag) for tag in TAGS.findall(text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_references_lead_somewhere(path: Path, known: dict[str, set[Any]]) -> None:
    assert lost(text_of(path), known) == []


def test_equations_of_the_documents_exist(known: dict[str, set[Any]]) -> None:
    for page in (MATHEMATICS, ERRATA, ROOT / "docs/methods.md"):
        named = re.findall(r"\((\d\.\d+\.\d+)\)", text_of(page))
        assert set(named) <= known["equation"], page


PLANTED = [
    "Mass is kept: mathematics 9.9.",
    "Mathematics 1.4, 1.77.",
    "See mathematics 1.4-1.99.",
    "It is mathematics (1.7.99).",
    "thesis (4.999)",
    "Thesis Lemma 4.17-4.99",
    "Theorem 99.1 of the thesis",
    "Kantas et al. (2)-(99)",
    "report (33), (9999)",
    "Deep relaxation section 99",
    "(thesis 99.9)",
    "(errata 3, 999)",
    "erratum 0",
    "def test_row_999_of_nothing",
    "MODEL 1.4",
    "as in U (33)",
]


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_reference_to_nothing_is_found(text: str, known: dict[str, set[Any]]) -> None:
    assert lost(text, known)


GOOD = [
    "Mathematics 1.4, 1.6. F = 3.7",
    "mathematics (1.7.5)",
    "thesis (4.1), (4.11); 5 cells",
    "the thesis has 0.1 of it",
    "Kantas et al. p. 4-6 with errata 15-17.",
    "report (33) with errata 69",
    "a report of 12 pages; U (x) and B (3)",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right_is_not_refused(text: str, known: dict[str, set[Any]]) -> None:
    assert lost(text, known) == []


def test_numbers_are_in_order() -> None:
    assert rows() == [str(k) for k in range(1, len(rows()) + 1)] and len(rows()) >= 76
    assert len(set(equations())) == len(equations()) > 90
    for section in sections():
        inside = [e for e in equations() if e.rpartition(".")[0] == section]
        assert inside == [f"{section}.{k}" for k in range(1, len(inside) + 1)]


def test_tests_of_errata_are_named_in_their_rows() -> None:
    table = dict(re.findall(r"^\| (\d+) (\|.*)$", ERRATA.read_text(encoding="utf-8"), re.M))
    for path in ROOT.glob("tests/test_errata*.py"):
        tests = re.findall(r"^def (test_row_(\d+)_\w+)", path.read_text(encoding="utf-8"), re.M)
        assert tests and all(name in table[number] for name, number in tests)


# --- links, paths and names ---


def plain(page: Path) -> str:
    """Without code in blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", plain(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


MADE = ("gallery", "reference", "studies")  # by docs/conf.py, when the site is built


def dead_links(text: str, folder: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s#]*)(#[^)\s]+)?\)", re.sub(r"`[^`\n]*`", "", text))
    return [target + mark for target, mark in found if not _leads(target, mark[1:], folder)]


def _leads(target: str, mark: str, folder: Path) -> bool:
    if target.startswith(("http:", "https:", "mailto:")):
        return True
    if target.split("/")[0] in MADE and folder.name == "docs":
        return True  # sphinx -W looks at those
    page = folder / target
    return page.exists() and (not mark or not target or mark in anchors(page))


def dead_paths(text: str) -> list[str]:
    """Files, tests and names of the package in backticks that are not there."""
    pattern = r"`((?:pdekit|tests|studies|docs|figures)/[^`\s:]+)(?:::(\w+))?`"
    dead = [path + test for path, test in re.findall(pattern, text) if not _there(path, test)]
    dead += [t for t in re.findall(r"`(test_\w+)`", text) if not _there("tests/test_*.py", t)]
    return dead + [n for n in re.findall(r"`(pdekit(?:\.\w+)+)`", text) if not _is_name(n)]


def _there(path: str, test: str) -> bool:
    files = list(ROOT.glob(re.sub(r"<\w+>|NAME", "*", path.rstrip("/"))))
    return any(not test or f"def {test}(" in f.read_text(encoding="utf-8") for f in files)


def _is_name(dotted: str) -> bool:
    value: Any = importlib.import_module("pdekit")
    for name in dotted.split(".")[1:]:
        try:
            value = getattr(value, name, None) or importlib.import_module(
                f"{value.__name__}.{name}"
            )
        except (ImportError, AttributeError):
            return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    assert dead_links(plain(page), page.parent) == []
    assert dead_paths(plain(page)) == []


@pytest.mark.parametrize(
    "text",
    ["[a](nowhere.md)", "[a](errata.md#no-such-heading)", "[a](../docs/nowhere.md)"],
)
def test_a_planted_dead_link_is_found(text: str) -> None:
    assert dead_links(text, ROOT / "docs") and not dead_links("[a](errata.md)", ROOT / "docs")


@pytest.mark.parametrize(
    "text",
    [
        "`pdekit/no_such.py`",
        "`tests/test_errata.py::test_nothing`",
        "`test_nothing`",
        "`pdekit.no`",
    ],
)
def test_a_planted_dead_path_is_found(text: str) -> None:
    assert dead_paths(text) and not dead_paths("`tests/test_*.py`, `pdekit.pde.equations`")


# --- layers ---


def drawn_layers(page: str) -> dict[str, list[str]]:
    """Container -> layers, as drawn on the page: words before two spaces."""
    drawn: dict[str, list[str]] = {}
    for block in re.findall(r"```text\n(pdekit\S*)\n(.*?)```", page, re.S):
        drawn[block[0]] = [line.split("  ")[0] for line in block[1].splitlines()]
    return drawn


def contracts() -> dict[str, list[str]]:
    """The same from the contracts of import-linter."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layered = [c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    return {name: c["layers"] for c in layered for name in c["containers"]}


def modules_on_disk(container: str) -> set[str]:
    """The modules on disk."""
    folder = ROOT.joinpath(*container.split("."))
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    return files | {path.parent.name for path in folder.glob("*/__init__.py")}


def test_the_drawn_layers_are_those_of_the_contracts() -> None:
    drawn = drawn_layers((ROOT / "docs/architecture.md").read_text(encoding="utf-8"))
    assert drawn == contracts()
    for container, floors in drawn.items():
        assert {module for floor in floors for module in floor.split(" | ")} == modules_on_disk(
            container
        )


@pytest.mark.parametrize("record", sorted(ROOT.glob("figures/**/*.json")), ids=lambda r: r.stem)
def test_records_say_of_their_study_what_it_says(record: Path) -> None:
    """So that references in them lead somewhere too."""
    source = (ROOT / f"studies/{record.stem}.py").read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(source)) or ""
    assert said.endswith(json.loads(record.read_text(encoding="utf-8")).get("about", ""))


def test_every_public_name_has_a_page_of_the_site() -> None:
    source = (ROOT / "docs" / "_extensions" / "reference_pages.py").read_text("utf-8")
    [groups] = [
        node.value for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "GROUPS"
    ]  # fmt: skip
    listed = {
        name for _, module, names in ast.literal_eval(groups).values() if module == "pdekit"
        for name in names
    }  # fmt: skip
    assert listed == {name for name in pk.__all__ if callable(getattr(pk, name))}
