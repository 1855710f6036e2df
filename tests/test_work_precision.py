"""The work-precision study: ratios, what runs where peers are absent or fail, its own references.

The study itself takes longer than a test may; `pdekit run work_precision --quick` is its check.
"""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit import cli

study = cli.load_study("work_precision")
from peers import measure, packages, problems  # noqa: E402  (the study puts its neighbours on the path)


def row(method: str, seconds: float, error: float, ratio: float | None = None) -> Any:
    return measure.Row("W1 line", method, seconds, error, ratio)


OURS = [row("pdekit", 2.0, 1e-6), row("pdekit coarse", 0.5, 1e-3), row("pdekit slow", 9.0, 1e-9)]


@pytest.mark.parametrize(
    "error, ratio",
    [(1e-2, 20.0), (1e-3, 20.0), (0.97e-3, 20.0), (0.9e-3, 5.0), (1e-6, 5.0), (1e-8, 10 / 9)],
)
def test_a_ratio_is_to_the_fastest_of_ours_that_errs_no_more(error: float, ratio: float) -> None:
    *ours, peer = measure.compared([*OURS, row("FiPy", 10.0, error)])
    assert peer.ratio == pytest.approx(ratio)
    assert [r.ratio for r in ours] == [None] * 3


def test_a_peer_that_no_method_of_ours_matches_has_no_ratio() -> None:
    assert measure.compared([*OURS, row("SciPy", 10.0, 1e-10)])[-1].ratio is None
    assert measure.compared([*OURS, row("py-pde, Euler", 10.0, np.nan)])[-1].ratio is None


def test_the_ratio_quoted_is_that_of_the_best_peer_within_the_error() -> None:
    rows = [
        row("SciPy A", 9.0, 1e-2, 3.0),
        row("SciPy B", 30.0, 1e-7, 15.0),
        row("FiPy", 1, 1, 2.0),
    ]
    assert study.ratio(rows, "W1 line", "SciPy") == 3.0
    assert study.ratio(rows, "W1 line", "SciPy", 1e-6) == 15.0
    assert study.ratio(rows, "W1 line", "fplanck") is None


def test_every_workload_has_methods_of_ours_first_and_of_scipy(monkeypatch: Any) -> None:
    """Where no peer is installed: nothing of them is imported."""
    monkeypatch.setattr(
        packages, "find_spec", lambda name: find_spec(name) if name in ("pdekit", "scipy") else None
    )
    table = measure.methods(quick=False)
    for kind in ("W1", "W1s", "W2", "W3", "W4", "W5", "W6", "W7"):
        labels = [m.label.split()[0].strip(",") for m in table if m.kind == kind]
        assert labels[0] == "pdekit" and set(labels) == {"pdekit", "SciPy"}


def test_the_mean_field_reference_is_the_flow() -> None:
    """Against a fine run; a wrong mean, or the flow without attraction, errs by 1e-2 or more."""
    equation = pk.McKeanVlasov(problems.WELL, problems.CROWD_BETA, pk.CurieWeiss(1.0))
    scheme, problem = pk.schemes.MeanField(1e-7), problems.crowd()
    rho = pk.solve(equation, problem.grid, problem.given, problem.t, scheme).fields[-1]
    assert problem.error(rho) < 1e-7
    weaker = replace(equation, interaction=pk.CurieWeiss(0.9))
    rho = pk.solve(weaker, problem.grid, problem.given, problem.t).fields[-1]
    assert problem.error(rho) > 1e-2
