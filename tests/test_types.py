"""What type checkers make of calls of users: tests/typing/ has those they accept and refuse."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pdekit as pk

ROOT, PACKAGE = Path(__file__).parents[1], Path(pk.__file__).parent
FILES = [f"tests/typing/{name}.py" for name in ("accepted", "refused", "shown")]
REFUSED = {
    number
    for number, line in enumerate((ROOT / FILES[1]).read_text().splitlines(), 1)
    if line.endswith("# refused")
}


def answer(*command: str) -> str:
    """What a type checker prints that finds pdekit where Python does."""
    # mypy takes no installed package as a source
    path = "" if PACKAGE.parent.name == "site-packages" else str(PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-m", *command, *FILES],
        cwd=ROOT, env={**os.environ, "MYPYPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def by_mypy() -> list[tuple[str, int, str, str]]:
    """(file, line, error or note, message)."""
    found = re.findall(r"(\S+)\.py:(\d+): (error|note): (.*)", answer("mypy"))
    return [(Path(file).name, int(line), kind, text) for file, line, kind, text in found]


def pyright_is_there() -> bool:
    """Whether it runs: its package fetches it on first use, which may not be allowed."""
    asked = [sys.executable, "-m", "pyright", "--version"]
    try:
        return subprocess.run(asked, capture_output=True, timeout=120).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture(scope="module")
def by_pyright() -> list[tuple[str, int, str, str]]:
    if not pyright_is_there():
        pytest.skip("pyright is not there: pip install '.[pyright]', and let it fetch itself")
    text = answer("pyright", "--outputjson", "--pythonpath", sys.executable)
    return [
        (Path(d["file"]).stem, d["range"]["start"]["line"] + 1, d["severity"], d["message"])
        for d in json.loads(text)["generalDiagnostics"]
    ]


CHECKERS = ["by_mypy", pytest.param("by_pyright", marks=pytest.mark.pyright)]


@pytest.fixture(params=CHECKERS)
def said(request: pytest.FixtureRequest) -> list[tuple[str, int, str, str]]:
    return request.getfixturevalue(request.param)


def test_what_users_may_pass_is_accepted(said) -> None:
    assert not [found for found in said if found[0] == "accepted" and found[2] == "error"]


def test_what_is_accepted_runs() -> None:
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, FILES[0]], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=True
    )


def test_mistakes_are_refused_and_nothing_else(said) -> None:
    assert {line for file, line, kind, _ in said if (file, kind) == ("refused", "error")} == REFUSED


def test_signatures_are_shown(said) -> None:
    shown = "\n".join(text for file, _, _, text in said if file == "shown")
    for part in ("equation: Equation, grid: Grid", "dynamics: Dynamics", "scheme: Scheme | None"):
        assert part in re.sub(r'"|pdekit\.[a-z.]*', "", shown)
    assert not re.search(r"\w: Any\b", shown)


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
