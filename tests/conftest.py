"""One profile for hypothesis, and the draws of the tests against independent answers."""

import os
import secrets
from pathlib import Path
from typing import Any

# before NumPy and torch are loaded: the matrices are small, and the workers of pytest-xdist have a
# core each; threads of BLAS that wait for one another took half the time of the suite
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

settings.register_profile("house", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("house")


SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text().split())


def pytest_collection_modifyitems(config: Any, items: Any) -> None:
    """Mark what took long when ``slow.txt`` was written: ``pytest -m "not slow"`` leaves it out.

    And tests of studies: the first of a file pays for the run that all of them look at.
    """
    for item in items:
        stem = item.path.stem
        studies = stem.endswith(("_study", "_studies", "_training"))
        row = item.originalname == "test_no_silent_wrong_answer"
        if row or studies or f"{stem}::{item.originalname}" in SLOW:
            item.add_marker("slow")
    if config.getoption("--truth-rest"):
        config.truth_rest = rest_of_the_draws(
            config.getoption("--truth"), config.getoption("--truth-rest")
        )
        kept = [item for item in items if has_a_rest(item, config.truth_rest)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def rest_of_the_draws(first: int, draws: int) -> dict[str, range]:
    """The draws of every row beyond ``first`` that bring each public verb to ``draws``."""
    from test_truth_rows import required, rows
    from truth import left_out

    return left_out(rows(), required(), first, draws)


def has_a_rest(item: Any, rest: dict[str, range]) -> bool:
    """Whether a test judges a row of which there are draws left."""
    return "truth" in item.fixturenames and bool(rest[item.callspec.params["row"].name])


def pytest_addoption(parser: Any) -> None:
    parser.addoption(
        "--examples", type=int, default=80, metavar="N",
        help="examples of the costliest properties of hypothesis (default 80)",
    )  # fmt: skip
    parser.addoption(
        "--truth", type=int, default=15, metavar="N",
        help="draws of every row of tests/test_truth_*.py (default 15)",
    )  # fmt: skip
    parser.addoption(
        "--truth-rest", type=int, default=0, metavar="M",
        help="the draws beyond those, until every public verb has M; no others",
    )  # fmt: skip
    parser.addoption(
        "--truth-seed", type=int, default=2026, metavar="SEED",
        help="repeat the draws of the run that printed this seed; -1 draws new ones",
    )  # fmt: skip


def pytest_configure(config: Any) -> None:
    settings.register_profile("often", max_examples=config.getoption("--examples"))
    seed = getattr(config, "workerinput", {}).get("truth_seed", config.getoption("--truth-seed"))
    config.truth_seed = secrets.randbelow(10**9) if seed < 0 else seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Workers of pytest-xdist draw what their controller draws."""
    node.workerinput["truth_seed"] = node.config.truth_seed


def pytest_report_header(config: Any) -> str:
    return f"truth: {config.getoption('--truth')} draws a row, --truth-seed {config.truth_seed}"


@pytest.fixture
def truth(request: Any, record_property: Any) -> Any:
    """Judge a row of a table of random problems."""
    from truth import tally_of

    config = request.config

    def judge(row: Any) -> None:
        rest = config.getoption("--truth-rest")
        draws = config.truth_rest[row.name] if rest else row.first(config.getoption("--truth"))
        record_property("verdicts", dict(tally_of(row, config.truth_seed, draws)))

    return judge
