"""Curvatures from particles in a parabola, where they are known; their bounds, met and missed."""

from typing import Any

import numpy as np
import pytest

import pdekit as pk

T, BETA, C = 0.5, 2.0, 1.5


@pytest.fixture(scope="module")
def bowl() -> Any:
    return pk.sampled_curvature(pk.potentials.Quadratic(C), BETA, T, [0.0, 0.4], n=400)


def test_the_curvature_of_a_parabola(bowl: Any) -> None:
    """u = C x² / (2 (1 + C t)): slope and curvature, within five standard errors."""
    data, bend = bowl.data, C / (1 + C * T)
    slope, error = data["gradient"].values[:, 0], data["gradient_error"].values[:, 0]
    assert (np.abs(slope - bend * np.array([0.0, 0.4])) < 5 * error).all()
    hessian, error = data["hessian"].values[:, 0, 0], data["hessian_error"].values[:, 0, 0]
    assert (np.abs(hessian - bend) < 5 * error).all() and (error < 0.2).all()
    assert bowl.rate == pytest.approx(C + 1 / T, rel=1e-6)


def test_bounds_of_the_curvature(bowl: Any) -> None:
    """With sup V'' the bound is met, with a tenth of it it is not, and of less it is silent."""
    right = bowl.certificates(C)
    assert [row.passed for row in right.rows][:2] == [True, True]
    assert right.rows[0].bound == pytest.approx(1 / (1 / C + T))
    assert bowl.certificates(C / 10).rows[0].passed is False
    for none in (0.0, -1.0):
        assert bowl.certificates(none).rows[0].passed is None


def test_the_process_is_given_eight_times_its_memory() -> None:
    with pytest.raises(ValueError, match=f"at most the duration, {8 / (C + 1 / T):.3g},"):
        pk.sampled_curvature(pk.potentials.Quadratic(C), BETA, T, [0.0], n=4, dt=1e3)
