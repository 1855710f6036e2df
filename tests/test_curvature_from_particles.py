"""Curvatures from particles in a parabola, where they are known; their bounds, met and missed."""

from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit.comparison.sampled_curvature import _curvatures
from pdekit.potentials import as_potential

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


def test_eigenvalues_of_correlated_coordinates() -> None:
    """V = y·A y/2, least eigenvalue 0.1: rate 0.1 + 1/t, Hess u = (A⁻¹ + t)⁻¹, right in its errors.

    The diagonal of A says 1, and samples after 8 / 1.01 have not forgotten their start.
    """
    A, t = np.array([[1.0, 0.9], [0.9, 1.0]]), 100.0
    V = pk.potentials.Custom(lambda y: ((y @ A) * y).sum(-1) / 2, lambda y: y @ A, 2)
    found = pk.sampled_curvature(V, 1.0, t, [(1.0, 2.0)], n=4000)
    assert found.rate == pytest.approx(0.11, rel=1e-6)
    exact = np.linalg.inv(np.linalg.inv(A) + t * np.eye(2))
    off = found.data["hessian"].values[0] - exact
    assert (np.abs(off) < 5 * found.data["hessian_error"].values[0]).all()


@pytest.mark.parametrize("length", [1e-8, 1.0, 1e8])
def test_a_quartic_is_looked_at_where_particles_go(length: float) -> None:
    """The step of y⁴ from y = 2, where they stay within 2 ± 3 √(t/β): the same in any unit."""
    V = pk.potentials.Custom(
        lambda y: (y[..., 0] / length) ** 4, lambda y: 4 * (y / length) ** 3 / length, 1
    )
    seen = _curvatures(as_potential(V, 1), np.array([[2.0 * length]]), 1.0, 10 * length**2)
    assert seen[1] * length**2 == pytest.approx(12 * (2 + 3 * 10**0.5) ** 2, rel=0.05)
