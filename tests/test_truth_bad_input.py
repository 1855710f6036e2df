"""Random bad input to every public name: refused in pdekit's own words, and quickly.

Each draw takes a call of ``bad_inputs.CALLS``, all of whose arguments are good, and makes one of
them bad. It must end in a ``ValueError``, ``TypeError`` or ``ConvergenceError`` that pdekit raises,
whose message names what was got (the argument, the value, its type or its shape) and what is
expected; at most one message in a hundred may be poorer than that. ``--truth 500`` draws as many.
"""

import re
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_inputs import BAD, CALLS, Call, good, made

import pdekit as pk
from pdekit import checks

HOME = str(Path(pk.__file__).parent)
EXPECTED = re.compile(
    r"must|expect|\btakes?\b|needs?\b|\bpass\b|\bwrite\b|belongs|asks? for|solves|knows|\badds?\b|"
    r"works|give|starts? from|at least|at most|select|fill|use |leave|move|enlarge|refine|\btry\b|"
    r"change", re.IGNORECASE)  # fmt: skip
GOT = re.compile(r"\bgot\b|failed on|has \d+ coordinate|non-finite")
# what an argument is called in words
IN_WORDS = {
    "D": "diffusion", "f": "function", "x": "points", "points": "point", "box": "corner",
    "initial": "terminal cost", "value": "potential", "diffusion": "the force", "cells": "axis",
    "lower": "axis", "upper": "axis",
}  # fmt: skip
LONGEST = 20
# not called by users, or only handed over by pdekit
NOT_CALLED = {
    "__version__", "potentials", "particles", "optim", "schemes", "hamiltonians", "certificates",
    "interactions", "networks", "testing",
    "AccuracyWarning", "ConvergenceError", "ResolutionWarning", "TruncationWarning", "Solution",
    "Control", "Improvement", "SlowModes", "Decomposition", "SelfConsistentState", "PhaseDiagram",
    "Branch", "Basins", "Ensemble", "Comparison", "Convergence", "Certificate", "Certificates",
    "cite", "sweep",  # any parameters: tests/test_citations.py, tests/test_sweeps.py
    "Semiconcavity", "SampledCurvature", "AreaRates", "Passages", "Fit",
}  # fmt: skip


class Hang(BaseException):
    """A call took too long."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """``Hang`` after so many seconds, also inside a loop that catches errors."""

    def ring(*_: Any) -> None:
        raise Hang(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def verdict(call: Call, argument: str, text: str) -> tuple[str, str]:
    """How a call with one bad argument ends: refused, poor, accepted, foreign or hangs; and why."""
    value, arguments = made(text), good(call)
    arguments[argument] = value
    try:
        with limited(LONGEST):
            call.make(**arguments)
    except (ValueError, TypeError, pk.ConvergenceError) as error:
        return _judged(error, argument, value)
    except Hang as error:
        return "hangs", str(error)
    except Exception as error:
        return "foreign", f"{type(error).__name__}: {error}"
    return "accepted", ""


def _judged(error: Exception, argument: str, value: Any) -> tuple[str, str]:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = frame.tb_frame.f_code.co_filename if frame is not None else ""
    message = f"{type(error).__name__}: {error}"
    if not where.startswith(HOME):
        return "foreign", f"{message} ({where})"
    words = [argument, argument.replace("_", " "), argument.rstrip("s"), type(value).__name__]
    words += [IN_WORDS.get(argument, argument), checks.shown(value)[:40]]
    if isinstance(value, np.ndarray):
        words.append(str(value.shape))
    named = GOT.search(message) or any(word in message for word in words)
    return ("refused" if named and EXPECTED.search(message) else "poor"), message


def every_case() -> list[tuple[Call, str, str]]:
    """All calls with one bad argument, which is not by chance the good one."""
    return [
        (call, argument, text)
        for call in CALLS
        for argument, (fine, kind) in call.arguments.items()
        for text in BAD[kind]
        if text != fine
    ]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a call may write go into a folder of the test."""
    monkeypatch.chdir(tmp_path)


def test_the_good_arguments_are_good(elsewhere: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in CALLS:
            call.make(**good(call))


def test_bad_input_is_refused_in_our_own_words(
    request: pytest.FixtureRequest, record_property: Any, elsewhere: None
) -> None:
    draws, seed = 3 * request.config.getoption("--truth"), request.config.truth_seed
    cases = every_case()
    chosen = np.random.default_rng([seed, 1]).permutation(len(cases))[:draws]
    found: Counter[str] = Counter()
    said = []
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in chosen:
            call, argument, text = cases[k]
            kind, why = verdict(call, argument, text)
            found[kind] += 1
            if kind != "refused":
                said.append(f"  {kind}: {call.name}, {argument}={text}: {why[:160]}")
    record_property("verdicts", dict(found))
    record_property("seconds", time.perf_counter() - began)
    told = f"{dict(found)} of {len(cases)} cases (--truth-seed {seed}):\n" + "\n".join(said[:20])
    assert not found["accepted"] + found["foreign"] + found["hangs"], told
    assert found["poor"] <= 0.01 * len(chosen), told


def test_every_public_name_is_tried() -> None:
    tried = {call.name.split(".")[0].split(" ")[0].split("(")[0] for call in CALLS}
    assert set(pk.__all__) - NOT_CALLED - tried == set()
    for module in ("schemes", "optim"):
        names = {name.split(".")[-1] for name in (call.name for call in CALLS)}
        public = getattr(pk, module).__all__
        untried = {n for n in public if n not in names and n not in ("schedules", "recalibrate")}
        assert untried == set(), module


def test_a_name_that_checks_nothing_is_caught() -> None:
    careless = Call("careless", lambda beta: 1 / float(beta), {"beta": ("1.0", "positive")})
    assert verdict(careless, "beta", "-1.0")[0] == "accepted"
    assert verdict(careless, "beta", "0.0")[0] == "foreign"
    assert verdict(careless, "beta", "'abc'")[0] == "foreign"


@pytest.mark.parametrize(
    ("swapped", "message"),
    [
        (lambda: pk.solve(pk.Grid(-3, 3, 40), pk.Heat(1.0), 1.0, 1.0), "must be a pdekit.Grid"),
        (lambda: pk.solve(pk.Heat(1.0), pk.potentials.DoubleWell(), pk.Grid(-3, 3, 40), 1.0),
         "must be a pdekit.Grid"),
        (lambda: pk.FokkerPlanck(4.0, pk.potentials.DoubleWell()), "beta must be"),
        (lambda: pk.Langevin(4.0, pk.potentials.DoubleWell()), "beta must be"),
        (lambda: pk.HamiltonJacobiBellman(4.0, pk.potentials.DoubleWell()), "beta must be"),
        (lambda: pk.stationary(pk.Grid(-3, 3, 40), pk.Heat(1.0)), "FokkerPlanck equation"),
        (lambda: pk.potentials.Tabulated(np.ones(5), np.arange(6.0)), "5 points need values"),
        (lambda: pk.Gaussian(std=(0.0, 1.0), mean=(1.0, 1.0)), "std must be positive"),
    ],
)  # fmt: skip
def test_swapped_arguments_are_named(swapped: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        swapped()


EXTREME = ["1e300", "1e-300", "1e150", "1e-150", "5e-324", "1e30", "1e-30", "1e20", "1e-20"]
SIZES = {"positive", "least", "real", "times", "beta?", "beta", "positive?", "numbers", "share"}


def extreme_cases() -> list[tuple[Call, str, str]]:
    """All calls with one number that is very large or very small."""
    return [
        (call, argument, text)
        for call in CALLS
        for argument, (_, kind) in call.arguments.items()
        if kind in SIZES
        for text in EXTREME
    ]


def test_extreme_numbers_are_answered_or_refused_and_never_hang(
    request: pytest.FixtureRequest, elsewhere: None
) -> None:
    draws, seed = 3 * request.config.getoption("--truth"), request.config.truth_seed
    cases = extreme_cases()
    chosen = np.random.default_rng([seed, 2]).permutation(len(cases))[: draws // 2]
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in chosen:
            kind, why = verdict(*cases[k])
            if kind in ("foreign", "hangs"):
                call, argument, text = cases[k]
                wrong.append(f"  {kind}: {call.name}, {argument}={text}: {why[:160]}")
    assert not wrong, f"--truth-seed {seed}:\n" + "\n".join(wrong[:20])
