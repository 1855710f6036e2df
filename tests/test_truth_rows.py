"""Every public verb, scheme, dynamics and optimizer is vouched for by a row of random problems."""

import importlib
import inspect
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import truth as frame
from optimizer_cases import OPTIMIZERS

import pdekit as pk
from pdekit.particles.run.guards import StepSizeWarning

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("test_truth_*.py"))
EQUATIONS = (
    "Heat", "HamiltonJacobi", "Burgers", "ViscousHJ", "FokkerPlanck", "BackwardKolmogorov",
    "McKeanVlasov", "HamiltonJacobiBellman",
)  # fmt: skip
# formulas of one line, or shown by the rows of what they belong to
DYNAMICS = (
    "AnnealedLangevin", "ControlledLangevin", "ElasticSGD", "EntropySGD", "InteractingLangevin",
    "ItoProcess", "Langevin", "MaSS", "MetropolisLangevin", "MultiplicativeLangevin", "Nesterov",
    "RestartedMaSS", "RestartedNesterov", "SampledDescent", "SmoothedDescent", "TwoScaleLangevin",
    "UnderdampedLangevin", "EulerMaruyama", "LeimkuhlerMatthews", "StochasticHeun", "TamedEuler",
)  # fmt: skip

OTHERS = {"cite", "sweep"}  # no numbers of their own


def rows() -> list[frame.Row]:
    found = []
    for name in TABLES:
        found += getattr(importlib.import_module(name), "ROWS", [])
    return found


def required() -> set[str]:
    verbs = {name for name in pk.__all__ if inspect.isfunction(getattr(pk, name))}
    schemes = set(pk.schemes.__all__) - {"default_scheme"}
    metrics = {name for name in pk.comparison.__all__ if name[0].isupper()} & {
        "ChiSquare", "Energy", "KL", "KolmogorovSmirnov", "L1", "Moments", "SlicedW2", "W1", "W2",
    }  # fmt: skip
    equations = {f"solve {name}" for name in EQUATIONS}
    optimizers = {f"optim {cls.__name__}" for cls in OPTIMIZERS}
    return (verbs - {"solve"} - OTHERS) | equations | schemes | metrics | {*DYNAMICS} | optimizers


def test_every_public_verb_has_a_row_of_random_problems():
    covered = {name for row in rows() for name in row.covers}
    assert not required() - covered


def test_names_of_rows_are_their_own():
    names = Counter(row.name for row in rows())
    assert [name for name, count in names.items() if count > 1] == []


def test_every_equation_is_in_the_list():
    from pdekit.pde import equations

    own = {
        name for name, value in vars(equations).items()
        if inspect.isclass(value) and value.__module__ == equations.__name__
    }  # fmt: skip
    assert {name for name in own if name[0].isupper()} >= {*EQUATIONS}


# --- draws in CI ----------------------------------------------------------------------------------


def test_every_verb_is_drawn_three_hundred_times_in_ci():
    """By README's command, which .ci/run takes from there, and by the step after it."""
    steps = (Path(__file__).parent.parent / ".ci" / "run").read_text()
    assert re.search(r"^pytest .*--truth-rest 300", steps, re.MULTILINE)
    assert "--truth " not in steps  # 15 draws a row, as conftest has it
    rest, drawn = frame.left_out(rows(), required(), 15, 300), Counter()
    for row in rows():
        drawn.update(dict.fromkeys(row.covers, len(row.first(15)) + len(rest[row.name])))
    assert {name: drawn[name] for name in required() if drawn[name] < 300} == {}


def test_the_rest_of_the_draws_are_others_and_no_more_than_are_needed():
    def noted(name, covers, cost):
        def make(rng):
            seen[name].append(rng.uniform())
            return frame.Trial("a problem", lambda: 0.0, lambda _: (0.0, 0.0))

        return frame.Row(name, covers, make, cost=cost)

    seen = {name: [] for name in "abcd"}
    table = [noted("a", ("slow",), 50), noted("b", ("slow", "quick"), 20),
             noted("c", ("quick",), 1), noted("d", ("a value",), 100)]  # fmt: skip
    rest = frame.left_out(table, {"slow", "quick"}, 100, 300)
    for row in table:
        frame.tally(row, 3, 100)
        if rest[row.name]:
            frame.tally_of(row, 3, rest[row.name])
    assert [len(draws) for draws in seen.values()] == [86, 215, 300, 3]
    assert all(len(draws) == len({*draws}) for draws in seen.values())


# --- the frame notices ----------------------------------------------------------------------------


def trial(answer=1.0, error=0.0, promised=1e-6, warn=None, raised=None, nonsense=False):
    def call():
        if raised is not None:
            raise raised
        if warn is not None:
            import warnings

            warnings.warn("said", warn, stacklevel=2)
        return answer

    return frame.Trial("a problem", call, lambda _: (error, promised), nonsense)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (trial(), "right"),
        (trial(error=1.0), "wrong"),
        (trial(error=np.nan), "wrong"),
        (trial(error=1.0, warn=pk.ResolutionWarning), "warned"),
        (trial(error=1.0, warn=pk.AccuracyWarning), "warned"),
        (trial(error=1.0, warn=StepSizeWarning), "warned"),
        (trial(error=np.nan, warn=pk.AccuracyWarning), "wrong"),
        (trial(error=1.0, warn=RuntimeWarning), "wrong"),
        (trial(raised=ZeroDivisionError()), "wrong"),
        (trial(raised=ValueError("of the test's own making")), "wrong"),
        (trial(nonsense=True), "wrong"),
    ],
)
def test_a_wrong_answer_is_told_from_a_right_one(given, kind):
    assert frame.judged(given).kind == kind


def test_a_sentence_of_pdekit_is_a_refusal():
    refused = frame.Trial("beta < 0", lambda: pk.Heat(-1.0), lambda _: (0.0, 0.0))
    assert frame.judged(refused).kind == "refused"


def test_one_wrong_answer_in_many_is_named_with_the_seed_that_repeats_it():
    def make(rng):
        u = rng.uniform()
        return frame.Trial(f"u = {u}", lambda: u, lambda u: (float(u > 0.99), 0.5))

    row = frame.Row("rare", (), make)
    with pytest.raises(
        AssertionError, match=r"(?s)silent wrong.*--truth-seed 7\).*draw \d+: u = 0.99"
    ):
        frame.tally(row, 7, 1000)
    bad = next(k for k in range(1000) if frame.judged(frame.draw(row, 7, k)).kind == "wrong")
    assert frame.draw(row, 7, bad).what == frame.draw(row, 7, bad).what


def test_a_verb_that_refuses_all_is_not_trusted():
    refuses = frame.Row("mute", (), lambda rng: frame.Trial("", lambda: pk.Heat(-1.0), None))
    with pytest.raises(AssertionError, match="only 0% of 50"):
        frame.tally(refuses, 1, 50)
