"""What a warning advises: so many cells do, and not many fewer; and it points at the call."""

import re
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit.comparison.certificates.rates import not_convex
from pdekit.pde.discrete import peclet


def said(ask: Callable[[], Any]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pk.ResolutionWarning)
        ask()
    return caught


def advised(warning: warnings.WarningMessage) -> int:
    return int(re.findall(r"about \((\d+),\) cells", str(warning.message))[0])


def in_the_middle(cells: int, steepness: float) -> bool:
    grid = pk.Grid(0, 1, cells)
    rho = np.exp(-steepness * np.abs(grid.axes[0] - 0.5))
    return peclet.steep(rho / grid.integrate(rho), grid, 2)


def at_the_wall(cells: int, steepness: float) -> bool:
    grid = pk.Grid(0, 1, cells)
    rho = np.exp(-steepness * grid.axes[0])
    return peclet._layers(grid, rho / grid.integrate(rho), 2)


@pytest.mark.parametrize("steepness", [400.0, 4000.0])
@pytest.mark.parametrize("look", [in_the_middle, at_the_wall])
def test_the_cells_that_are_advised_do_and_three_quarters_do_not(
    look: Callable[[int, float], bool], steepness: float
) -> None:
    cells = advised(said(lambda: look(50, steepness))[0])
    assert not said(lambda: look(cells, steepness))
    assert said(lambda: look(3 * cells // 4, steepness))


def test_a_gap_over_a_hidden_barrier_points_at_the_call() -> None:
    """The barrier is seen on the cells that are advised; the gap is still said to need more."""
    equation = pk.FokkerPlanck(pk.potentials.DoubleWell(), 400.0)
    found = said(lambda: pk.spectral_gap(equation, pk.Grid(-3, 3, 30)))
    assert len(found) == 2 and {w.filename for w in found} == {__file__}
    cells = advised(found[0])
    assert 40 < cells < 120
    better = said(lambda: pk.spectral_gap(equation, pk.Grid(-3, 3, cells)))
    assert all("barrier" not in str(w.message) for w in better)


def test_a_slightly_concave_middle_is_named_not_convex() -> None:
    """V = x^4/4 - x^2/4, whose curvature at 0 is -1/2."""
    V = pk.potentials.Custom(lambda x: (x[..., 0] ** 4 - x[..., 0] ** 2) / 4)
    solution = SimpleNamespace(equation=pk.FokkerPlanck(V, 1.0), grid=pk.Grid(-2, 2, 41))
    assert "eigenvalue -0.5" in not_convex(solution)


@pytest.mark.parametrize(
    ("back", "got"), [(None, "nothing: return the result"), ([1.0], "got <class 'list'>")]
)
def test_a_step_without_a_result_is_told_from_one_of_another_kind(back: Any, got: str) -> None:
    class Mine:
        def step(self, state: Any, step: Any, noise: Any) -> Any:
            return back

    with pytest.raises(TypeError, match=got):
        pk.simulate(Mine(), pk.Gaussian(0.0, 1.0), 4, 1.0, 0.5)
