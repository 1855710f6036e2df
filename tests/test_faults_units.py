"""Faults of units, constants and narrow data: tolerances that were no shares of the problem."""

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

import pdekit as pk


def curie_weiss(scale: float) -> pk.McKeanVlasov:
    """A double well in units of length in which its wells are at ±scale."""

    def well(x: Any) -> Any:
        return scale**2 * ((x[..., 0] / scale) ** 2 - 1) ** 2 / 4

    return pk.McKeanVlasov(well, 4 / scale**2, pk.CurieWeiss(1.0))


def test_states_in_any_unit_of_length() -> None:
    for scale in (1e-13, 1e-9, 1.0, 100.0, 200.0, 1e3, 1e6):
        for cells in (300, 400):
            grid = pk.Grid(-3 * scale, 3 * scale, cells)
            means = [s.mean / scale for s in pk.self_consistent_states(curie_weiss(scale), grid)]
            np.testing.assert_allclose(means, [-0.7875504068438, 0, 0.7875504068438], atol=6e-13)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e4])
def test_the_only_state_is_found_in_any_unit(scale: float) -> None:
    equation = pk.McKeanVlasov(pk.potentials.Quadratic(1.0), scale**-2, pk.CurieWeiss(1.0))
    (state,) = pk.self_consistent_states(equation, pk.Grid(-9 * scale, 9 * scale, 400))
    assert abs(state.mean) < 1e-12 * scale


@pytest.mark.parametrize("scale", [1e3])
def test_a_phase_diagram_in_any_unit(scale: float) -> None:
    betas = np.array([2.0, 3.0]) / scale**2
    found = pk.phase_diagram(curie_weiss(scale).potential, betas, [1.0])
    assert found.data["states"].values.tolist() == [[1, 3]]
    assert len(found.branches[1.0]) == 2  # each once


@pytest.mark.parametrize("width", [0.2, 0.3, 0.7, 1.0, 1.5, 2.0, 3.0])
def test_heat_from_a_jump_at_a_face(width: float) -> None:
    """Right to 1 %, or it warns and what it advises is."""
    grid, t = pk.Grid(-1, 1, 200), (width * 0.01) ** 2

    def step(x: Any) -> Any:
        return 1.0 * (x[..., 0] > 0)

    def error(grid: pk.Grid) -> float:
        x = grid.axes[0]
        u = pk.solve(pk.Heat(1.0), grid, step, t).fields[0]
        return float(np.abs(u - norm.cdf(x / np.sqrt(t)))[np.abs(x) < 0.5].max())

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrong = error(grid)
    assert bool(caught) == (wrong > 0.01)
    if caught:
        finer = int(str(caught[0].message).split("; (")[1].split(",")[0])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert error(pk.Grid(-1, 1, finer)) < 0.01


def test_heat_from_a_jump_at_a_face_of_the_plane() -> None:
    grid = pk.Grid([-1, -1], [1, 1], [40, 40])
    with pytest.warns(pk.ResolutionWarning, match="jumps from cell to cell"):
        pk.solve(pk.Heat(1.0), grid, lambda x: 1.0 * (x[..., 0] * x[..., 1] > 0), 0.05**2)
