"""Certificates of a computed control: duality of the pair, theorem 4.11, its identity."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit import certificates as c

WELL, START = pk.potentials.DoubleWell(), pk.Gaussian(-0.5, 0.3)


def _to_the_right(x: Any) -> Any:
    return (x[..., 0] - 1) ** 2


@pytest.fixture(scope="module")
def steered() -> Any:
    return pk.control(WELL, 4, pk.Grid(-3, 3, 200), START, _to_the_right, 1.0)


def test_a_control_passes(steered: Any) -> None:
    found = pk.certify(steered)
    assert found.passed and len(found.applicable) == 5, f"\n{found}"


def _with_density(steered: Any, potential: Any) -> Any:
    """The control with a density that moves under another potential."""
    rho = pk.solve(pk.FokkerPlanck(potential, 4), steered.density.grid, START,
                   steered.density.times)  # fmt: skip
    return replace(steered, density=rho)


def test_a_density_that_ignores_the_control_breaks_duality(steered: Any) -> None:
    assert c.ControlDuality()(steered).passed
    assert c.ControlDuality()(_with_density(steered, WELL)).passed is False


def test_a_wrong_control_breaks_the_theorem(steered: Any) -> None:
    """Effort that saves nothing: a density that ignores the control, and one pushed the other way.

    With half the control the effort does not belong to the saving: the identity fails.
    """
    assert pk.certify(steered, c.Improvement(), c.ImprovementIdentity()).passed
    idle = c.Improvement()(_with_density(steered, WELL))
    assert idle.passed is False and idle.value < -0.1
    away = pk.control(WELL, 4, steered.density.grid, START, lambda x: 3 * x[..., 0], 1.0)
    pushed = replace(away, density=pk.control(WELL, 4, away.density.grid, START,
                     lambda x: -3 * x[..., 0], 1.0).density)  # fmt: skip
    assert c.Improvement()(pushed).passed is False
    for factor, found in ((0.5, False), (0.99, False), (1.0, True)):
        value = replace(steered.value, fields=factor * steered.value.fields)
        assert c.ImprovementIdentity()(replace(steered, value=value)).passed is found


@pytest.mark.parametrize(("cells", "stored"), [(50, 9), (100, 17), (200, 33)])
def test_the_allowance_of_the_identity_shrinks_with_cells_and_times(
    cells: int, stored: int
) -> None:
    """It covers the defect, which is of second order, without a constant of its own."""
    grid, times = pk.Grid(-3, 3, cells), np.linspace(0, 1, stored)
    row = c.ImprovementIdentity()(pk.control(WELL, 4, grid, START, _to_the_right, times))
    assert row.passed and row.value < row.allowance < 0.11 * (50 / cells) ** 1.8


def test_both_sides_of_the_identity_meet_at_second_order() -> None:
    """The gap of the chain and the mean of |∇u|²/2: 0.7 % apart on 80 cells, a quarter on twice."""
    apart = []
    for cells in (80, 160):
        grid, V = pk.Grid(-4, 4, cells), pk.potentials.Quadratic(1.0)
        found = pk.control(
            V, 3.0, grid, pk.Gaussian(0.3, 0.4), lambda x: 1 + np.cos(2 * x[..., 0]),
            np.linspace(0, 1, 41)[1:],
        )  # fmt: skip
        apart.append(c.ImprovementIdentity()(found).value)
    assert apart[0] < 0.01 and apart[1] == pytest.approx(apart[0] / 4, rel=0.1)


def test_too_few_times_leave_the_identity_open() -> None:
    rough = pk.control(WELL, 4, pk.Grid(-3, 3, 12), START, _to_the_right, [0.5, 1.0])
    row = c.ImprovementIdentity()(rough)
    assert row.passed is None and "too coarse" in row.note


@pytest.mark.parametrize(
    ("scheme", "applies"), [(pk.schemes.PolicyIteration(0.01), True), (pk.schemes.Godunov(), None)]
)
def test_the_identity_of_other_schemes(scheme: Any, applies: bool | None) -> None:
    grid, times = pk.Grid(-3, 3, 100), np.linspace(0, 1, 21)
    found = pk.control(WELL, 4, grid, START, _to_the_right, times, scheme=scheme)
    row = c.ImprovementIdentity()(found)
    assert row.passed is applies
    assert not applies or row.allowance < 0.03
