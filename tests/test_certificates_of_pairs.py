"""What certificates of particles allow for: no more than they say."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

import pdekit as pk
from pdekit import certificates as c

BOWL = pk.potentials.Quadratic(2.0)


def ensemble(potential: Any, start: Any, n: int) -> Any:
    return pk.simulate(pk.Langevin(potential, 4.0), start, n, [0, 0.2, 0.4, 0.6], 0.01)


def test_paths_that_contract_too_slowly_are_seen() -> None:
    """Copies in x² contract at rate 2; of rate 2.5 they fall short by more than steps explain."""
    one, two = (ensemble(BOWL, np.full((50, 1), x), 50) for x in (-0.5, 0.5))
    found = c.SynchronousContraction(two)(one)
    assert found.passed and found.allowance == pytest.approx(0.01 * 4, rel=1e-6)
    assert found.value == pytest.approx(2.0, rel=0.02)
    assert c.SynchronousContraction(two, curvature=2.5)(one).passed is False


@pytest.mark.parametrize("level", [0.1, 1e-3])
def test_false_alarms_of_the_area_are_shared_out(level: float) -> None:
    """Two-sided, over three intervals: what SciPy says of the normal law."""
    plane = ensemble(pk.potentials.Quadratic(2.0, 2), np.zeros((200, 2)), 200)
    found = c.TimeReversal(level)(plane)
    assert found.allowance == pytest.approx(stats.norm.isf(level / 3 / 2), rel=1e-9)


def test_why_a_certificate_does_not_apply_is_said() -> None:
    grid = pk.Grid(-4, 4, 24)
    once = pk.solve(pk.FokkerPlanck(BOWL, 4.0), grid, pk.Gaussian(0.0, 0.5), [0.5])
    found = c.NonExpansive(once)(once)
    assert found.passed is None and found.note == "it needs two stored times"
    heat = pk.solve(pk.Heat(4.0), grid, lambda x: np.cos(x[..., 0]), [0.1])
    assert c.HeatCurvature()(heat).passed is None
    more = pk.solve(pk.Heat(4.0), grid, lambda x: np.cos(x[..., 0]), [0.1, 0.2])
    assert c.HeatCurvature()(more).passed


def test_what_is_paid_for_nothing_is_all_of_the_defect() -> None:
    """Value and density that stand still: the mean of u stays, the effort adds up, relative to it
    the sides of the duality differ by one."""
    found = pk.control(
        pk.potentials.Quadratic(), 2.0, pk.Grid(-4, 4, 40), pk.Gaussian(0.5, 0.5),
        lambda x: 2 * x[..., 0] ** 2, 0.5,
    )  # fmt: skip
    u, rho = found.value.fields, found.density.fields
    still = replace(
        found,
        value=replace(found.value, fields=np.broadcast_to(u[-1], u.shape)),
        density=replace(found.density, fields=np.broadcast_to(rho[0], rho.shape)),
    )
    assert c.ControlDuality()(found).passed
    row = c.ControlDuality()(still)
    assert row.passed is False and row.value == pytest.approx(1.0, rel=1e-9)
