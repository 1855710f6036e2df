"""The speed studies name peers that are absent or fail, and stop where one of ours does."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import pytest

from pdekit import cli

STUDIES = {
    name: cli.load_study(name) for name in ("work_precision", "particle_speed", "optimizer_speed")
}
# the studies put their neighbours on the path
from peers import measure, optimizers, packages, particles, problems  # noqa: E402


@dataclass(frozen=True)
class Case:
    """Of a study: what is at hand, what is then absent, and methods, of which one is to fail."""

    peers: Any
    present: tuple[str, ...]
    absent: list[str]
    ours: Callable[[Any], bool]
    theirs: Callable[[Callable[[Any], Any]], Any]  # from what it computes
    timed: Callable[[list[Any]], tuple[list[Any], dict[str, str]]]
    failed: str


SMALL = optimizers.Size((20, 16, 16, 4), 8, 20)
CROWD = particles.Size(4096, 10, 300, (2, 50, 2), 3)
CASES = {
    "work_precision": Case(
        measure, ("pdekit", "scipy"), ["FiPy", "py-pde", "fplanck", "hj_reachability", "mfgsolver"],
        lambda m: m.kind == "W1s",
        lambda broken: problems.Method("W1s", "fplanck", broken),
        lambda methods: measure.timed(problems.stationary_state(), methods, rounds=1),
        "W1s line: fplanck",
    ),
    "particle_speed": Case(
        particles, ("pdekit", "torch"), ["posteriors", "torchsde", "CBXpy", "KeOps"],
        lambda m: m.workload == "P1",
        lambda broken: particles.Method("P1", "KeOps, x", broken),
        lambda methods: particles.timed(methods, CROWD, 1),
        "P1: KeOps, x",
    ),
    "optimizer_speed": Case(
        optimizers, ("pdekit", "torch"), ["posteriors", "pytorch-optimizer"],
        lambda m: m.label == optimizers.BARE,
        lambda broken: optimizers.Method("posteriors, x", broken, "SGD"),
        lambda methods: optimizers.timed(methods, SMALL, 1),
        "posteriors, x",
    ),
}  # fmt: skip
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def broken(_: Any) -> Any:
    raise RuntimeError("no convergence")


@every
def test_absent_peers_are_named(case: Case, monkeypatch: Any) -> None:
    here = case.present
    monkeypatch.setattr(packages, "find_spec", lambda n: find_spec(n) if n in here else None)
    assert case.peers.absent() == case.absent


@every
def test_a_peer_that_fails_is_named_and_one_of_ours_stops_the_study(case: Case) -> None:
    good = next(m for m in case.peers.methods(quick=True) if case.ours(m))
    bad = case.theirs(broken)
    rows, failed = case.timed([good, bad])
    assert [r.method for r in rows] == [good.label]
    assert failed == {case.failed: "RuntimeError: no convergence"}
    with pytest.raises(RuntimeError, match="no convergence"):
        case.timed([replace(bad, label=good.label)])


BARS = {
    "work_precision": (
        [measure.Row("W1 line", "SciPy modes", 4.0, 1e-7, 4.0),
         measure.Row("W1 line", "FiPy", 2e3, 1.0, 2e3)],
        ({"triad_GB_per_s": 16.0, "largest": {}}, True),
        [(4.0, False), (2e3, True)],
    ),
    "particle_speed": (
        [particles.Row("P1", "torch, in place, float32", 1.0, ratio=1.2),
         particles.Row("P2", "CBXpy", 1.0, None, 30)],
        ({"two_threads": 1.9},),
        [(1.2, False), (30, True), (1.9, True)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BARS)
def test_a_bar_that_is_missed_says_so(name: str) -> None:
    rows, numbers, expected = BARS[name]
    found = STUDIES[name].bars(rows, *numbers)
    assert [(bar.measured, bar.holds) for bar in found] == expected
