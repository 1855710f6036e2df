"""What lies beyond a box, a well or a continuous transition is said, not passed over."""

from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit.potentials import Cosine, DoubleWell, Linear, Quadratic


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
@pytest.mark.parametrize("scheme", [None, pk.schemes.Quantiles(50)])
def test_walls_that_stop_mass_without_noise_are_named(scheme: Any) -> None:
    """It moves at speed one to the wall at -3, where it stays."""
    falling, grid = pk.FokkerPlanck(Linear(1.0), np.inf), pk.Grid(-3, 3, 60)
    with pytest.warns(pk.TruncationWarning, match=r"^1 of the mass is in the cells at the walls"):
        pk.solve(falling, grid, pk.Gaussian(0, 0.2), 4.0, scheme)
    assert pk.solve(falling, grid, pk.Gaussian(0, 0.2), 1.0, scheme).stats["wall_mass"] < 1e-6


def test_states_that_walls_cut_off_are_named() -> None:
    equation = pk.McKeanVlasov(Quadratic(0.1), 1.0, pk.CurieWeiss(0.5))
    with pytest.warns(pk.TruncationWarning, match="1 of 1 states reach the walls of the box"):
        pk.self_consistent_states(equation, pk.Grid(-1, 1, 60))
    pk.self_consistent_states(equation, pk.Grid(-9, 9, 200))


def three_wells(x: Any) -> Any:
    """Of depth 0 at 0 and 0.2 at about +-1: the middle one stays stable."""
    z = x[..., 0] ** 2
    return 20 * z * (z - 1) ** 2 + 0.2 * z


def test_a_transition_of_first_order_is_no_absence_of_one() -> None:
    """The states are there where the error says, and not well before."""
    W = pk.CurieWeiss(4.0)
    with pytest.raises(pk.ConvergenceError, match="stays stable, with no continuous") as said:
        pk.critical_beta(three_wells, W, 1)
    beta = float(str(said.value).split("below beta = ")[1].split(" on")[0])
    grid = pk.Grid(-3, 3, 300)
    there = pk.self_consistent_states(pk.McKeanVlasov(three_wells, beta, W), grid)
    before = pk.self_consistent_states(pk.McKeanVlasov(three_wells, beta / 2, W), grid)
    assert len(there) > 1 and len(before) == 1
    mean = float(str(said.value).split("mean ")[1].split(" are")[0])
    assert there[-1].mean == pytest.approx(mean, rel=0.01)
    with pytest.raises(pk.ConvergenceError, match=r"first order, .* self_consistent_states"):
        pk.critical_beta(three_wells, pk.PairPotential(W, 1), grid=pk.Grid(-3, 3, 60))


@pytest.mark.parametrize(
    ("V", "minimum", "near", "far"),
    [
        (Cosine(2 * np.pi), 0.5, 1.0, 2.0),
        (lambda x: ((x**2 - 1) ** 2).sum(-1) / 4, (-1.0, -1.0), (0.0, -1.0), (0.0, 1.0)),
    ],
)
def test_the_saddle_of_another_well_is_refused(V: Any, minimum: Any, near: Any, far: Any) -> None:
    assert pk.kramers_time(V, minimum, near, 40.0) > 1
    with pytest.warns(pk.AccuracyWarning, match="not next to the minimum"):
        pk.kramers_time(V, minimum, far, 40.0)


def test_the_way_over_a_saddle_may_be_long_and_steep() -> None:
    """In a narrow valley descent is stiff."""
    stiff = lambda x: DoubleWell()(x[..., :1]) + 1e4 * x[..., 1] ** 2  # noqa: E731
    line = pk.kramers_time(DoubleWell(), -1.0, 0.0, 40.0)
    assert pk.kramers_time(stiff, (-1.0, 0.0), (0.0, 0.0), 40.0) == pytest.approx(line, rel=1e-5)
