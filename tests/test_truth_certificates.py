"""Certificates over a wider range than ``certificate_cases``: none fails on what is right, and none
passes on a planted fault.

Temperatures, starts, boxes and cells are drawn over decades; a certificate may say that it does not
apply.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from certificate_cases import CERTIFICATES
from certificate_cases import Row as Case
from random_settings import Landscape, Setting
from truth import Random, Row, Trial, draw, judged, log_uniform, pick

import pdekit as pk
from pdekit.comparison.certificates import functions

# of draws without a warning: the settings are coarse on purpose, and solutions on them say so
ANSWERED = 0.1
DEAR = ("W2", "second law", "improvement", "control's duality", "improvement identity")


def setting(rng: Random, case: Case, wide: bool) -> Setting:
    """As in ``random_settings``; ``wide`` leaves its range, and its sixty cells."""
    dim = case.dims[int(rng.integers(len(case.dims)))]
    stretch = 1.6 if wide else 1.0
    bend, ripple, mixed = rng.uniform(0.2, 1), *rng.uniform(-0.3, 0.3, 2)
    stiff = rng.uniform(0.3, 1.5 * stretch)
    stiff += 4 * abs(ripple) + abs(mixed) if case.convex else -1.3
    beta = log_uniform(rng, 2 / stretch**2, 6 * stretch)
    side, cells = 2.6 * (1.2 if wide else 1.0), (60, 20)[dim - 1]
    if wide:
        cells = int(cells * rng.uniform(0.8, 2.5 if dim == 1 else 1.5))
    mean, std = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0.25, 0.4 * stretch))
    law = pk.Gaussian((mean, -mean) if dim == 2 else mean, std)
    grid = pk.Grid((-side,) * dim, (side,) * dim, (cells,) * dim)
    tilt = float(rng.uniform(-0.5, 0.5))
    numbers = [float(v) for v in (bend, stiff, tilt, ripple, mixed)]
    return Setting(Landscape(*numbers, dim), beta, law, grid, int(rng.integers(10**6)))


def made(make: Any) -> Any:
    """Results of solvers, whose own warnings are not the certificates'."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def right(case: Case) -> Row:
    def make(rng: Random) -> Trial:
        here = setting(rng, case, wide=True)
        check, result = made(lambda: case.right(here))
        if hasattr(check, "level"):  # false alarms of samples are not faults
            check = replace(check, level=1e-10)

        def judge(found: Any) -> tuple[float, float]:
            (row,) = found
            return float(row.passed is False), 0.0

        return Trial(f"{case.name} on what is right: {here}",
                     lambda: pk.certify(result, check), judge)  # fmt: skip

    cost = 20 if case.name in DEAR else 6
    return Row(f"{case.name}, right", covers(case), make, answered=ANSWERED, cost=cost)


def wrong(case: Case) -> Row:
    def make(rng: Random) -> Trial:
        here = setting(rng, case, wide=False)
        check, result = made(lambda: case.right(here))
        name = list(case.faults)[int(rng.integers(len(case.faults)))]
        check, result = made(lambda: case.faults[name](here, check, result))
        return Trial(f"{case.name}, {name}: {here}", lambda: pk.certify(result, check),
                     lambda found: (float(found[0].passed is True), 0.0))  # fmt: skip

    cost = 20 if case.name in DEAR else 6
    return Row(f"{case.name}, planted", covers(case), make, answered=ANSWERED, cost=cost)


def pairs_of_minima(rng: Random) -> Trial:
    """Order and distance of two solutions by minima between the cells, on ten cells and more."""
    dim, times = int(rng.integers(1, 3)), pick(rng, [0, 0.1, 0.3], [0.05, 0.2, 0.3, 1.0])
    grid = pk.Grid((-2.6,) * dim, (2.6,) * dim, int(rng.integers(10, 60 if dim == 1 else 24)))
    wide, size = rng.uniform(0.5, 6), log_uniform(rng, 1e-4, 1)
    stiff, ripple, tilt = rng.uniform(-1.3, 2), rng.uniform(-0.3, 0.3), rng.uniform(-0.5, 0.5)
    beta, power = log_uniform(rng, 1, 10), rng.uniform(1.3, 3)
    equation = pick(rng, pk.ViscousHJ(beta), pk.HamiltonJacobi(),
                    pk.HamiltonJacobi(pk.hamiltonians.Power(power)))  # fmt: skip
    check = pick(rng, pk.certificates.NonExpansive, pk.certificates.ComparisonPrinciple)

    def low(x: Any) -> Any:
        return (x**4 / 4 + stiff * x**2 / 2 + tilt * x + ripple * np.cos(4 * x)).sum(-1)

    def high(x: Any) -> Any:
        return low(x) + size * (1 + np.sin(wide * x[..., 0]))

    u, v = (made(lambda f=f: pk.solve(equation, grid, f, times)) for f in (low, high))
    what = f"{check.__name__} {equation} {grid} {times} {wide} {size} {stiff} {ripple} {tilt}"
    return Trial(what, lambda: pk.certify(u, check(v)),
                 lambda found: (float(found[0].passed is False), 0.0))  # fmt: skip


def covers(case: Case) -> tuple[str, ...]:
    """The names of certificates that a case makes."""
    return ("certify", f"certificate: {case.name}")


ROWS = [right(case) for case in CERTIFICATES] + [wrong(case) for case in CERTIFICATES]
ROWS.append(Row("pairs of minima, right", ("certify", "NonExpansive", "ComparisonPrinciple"),
                pairs_of_minima, answered=ANSWERED, cost=3))  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row: Row, truth: Any) -> None:
    truth(row)


def test_a_maximum_principle_without_its_minimum_is_caught(monkeypatch: Any) -> None:
    monkeypatch.setattr(functions, "at_most", lambda name, value, *rest: functions.at_least(
        name, np.inf, -np.inf))  # fmt: skip
    chosen = next(row for row in ROWS if row.name == "maximum, planted")
    assert "wrong" in {judged(draw(chosen, 1, k)).kind for k in range(5)}
