"""Curvature from particles, how minima widen, robust widths: exact values and planted faults."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pdekit as pk

RIPPLES, WELL = pk.potentials.Rippled(), pk.potentials.DoubleWell()


def _gibbs_hessian(potential: Any, beta: float, t: float, x: float) -> tuple[float, float]:
    """∇u and u'' from moments of the Gibbs law of V + |y - x|²/(2t), by sums over a fine mesh."""
    y = np.linspace(-6, 6, 200_001)
    energy = potential(y[:, None]) + (x - y) ** 2 / (2 * t)
    weight = np.exp(-beta * (energy - energy.min()))
    weight /= weight.sum()
    mean = (weight * y).sum()
    return (x - mean) / t, (1 - beta * (weight * (y - mean) ** 2).sum() / t) / t


@pytest.fixture(scope="module")
def sampled() -> Any:
    return pk.sampled_curvature(RIPPLES, 2, 0.1, [-1.0, 0.2, 1.0], n=4000, dt=0.01, duration=3)


def test_curvature_is_that_of_the_gibbs_law(sampled: Any) -> None:
    """Six numbers, each at 4 standard errors: false alarms 4e-4."""
    for k, x in enumerate((-1.0, 0.2, 1.0)):
        at = sampled.data.isel(point=k)
        slope, bend = _gibbs_hessian(RIPPLES, 2, 0.1, x)
        assert float(at["gradient"][0]) == pytest.approx(
            slope, abs=4 * float(at["gradient_error"][0])
        )
        assert float(at["hessian"][0, 0]) == pytest.approx(
            bend, abs=4 * float(at["hessian_error"][0, 0])
        )
    assert float(sampled.data["hessian_error"].max()) < 0.5


def test_particles_keep_the_bound(sampled: Any) -> None:
    found = sampled.certificates(9.2)
    assert found.passed and found[0].bound == pytest.approx(1 / (1 / 9.2 + 0.1))
    assert found.named("harmonic mean at minima").passed is None
    assert "point" in found[0].note and "Hess u" in str(sampled)


def test_a_constant_too_small_is_seen(sampled: Any) -> None:
    assert sampled.certificates(3.0).passed is False


def test_samples_of_another_temperature_are_seen() -> None:
    """The papers' fast noise (errata 2) narrows the law: the Hessian taken with β is too steep."""
    t, beta = 0.5, 2.0
    cold = pk.sampled_curvature(pk.potentials.Quadratic(1.0), 2 * beta, t, [0.0], n=4000)
    data = cold.data.copy()
    data["hessian"] = (1 - (1 - t * data["hessian"]) / 2) / t  # what β makes of the covariance
    wrong = type(cold)(data, t, beta, cold.rate)
    assert cold.certificates(1.0).passed and not wrong.certificates(1.0).passed


def test_harmonic_mean_at_a_minimum_in_the_plane() -> None:
    matrix = np.array([[3.0, 0.8], [0.8, 1.5]])
    bowl = pk.potentials.Quadratic(tuple(map(tuple, matrix)))
    found = pk.sampled_curvature(bowl, 4, 0.5, [(0.0, 0.0)], n=10_000)
    later = np.linalg.inv(np.linalg.inv(matrix) + 0.5 * np.eye(2))
    at = found.data.isel(point=0)
    assert np.abs(at["hessian"] - later).max() < 4 * float(at["hessian_error"].max())
    assert float(at["harmonic"]) == pytest.approx(
        2 / np.trace(np.linalg.inv(later)), abs=4 * float(at["harmonic_error"])
    )
    rows = found.certificates((3.0, 1.5), minima=True)
    assert rows.passed and all(row.applies for row in rows)
    assert not found.certificates((1.0, 0.5), minima=True).named("harmonic mean at minima").passed


def _gibbs_hessian_in_the_plane(potential: Any, beta: float, t: float, x: Any) -> Any:
    z = np.linspace(-3.5, 3.5, 701)
    y = np.stack(np.meshgrid(z, z, indexing="ij"), -1).reshape(-1, 2)
    energy = potential(y) + ((y - x) ** 2).sum(-1) / (2 * t)
    weight = np.exp(-beta * (energy - energy.min()))
    apart = y - (weight @ y) / weight.sum()
    covariance = (apart * weight[:, None]).T @ apart / weight.sum()
    return (np.eye(2) - beta * covariance / t) / t


def test_curvature_of_a_landscape_with_many_wells_in_the_plane() -> None:
    """x²/10 + cos 3x per axis, turned by 0.5: every entry at 4.5 standard errors, every bound."""
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    ripples = pk.potentials.Rippled(dim=2)
    turned = pk.potentials.Custom(
        lambda x: ripples(x @ turn), lambda x: ripples.grad(x @ turn) @ turn.T, dim=2
    )
    points, beta, t = [(0.3, 0.9), (-0.8, 0.2)], 2.0, 0.1
    found = pk.sampled_curvature(turned, beta, t, points, n=4_000, dt=0.01, duration=3)
    for k, x in enumerate(points):
        at = found.data.isel(point=k)
        gap = np.abs(at["hessian"] - _gibbs_hessian_in_the_plane(turned, beta, t, np.array(x)))
        assert (gap < 4.5 * at["hessian_error"]).all()
    diagonal = ((1, 1), 9.2), (turn[:, 0], 9.2)  # no direction is steeper than the axes' 9.2
    rows = found.certificates((9.2, 9.2), directions=diagonal)
    assert rows.passed and len(rows.applicable) == 5
    assert rows[3].name == "sup u_vv, v = (0.878, 0.479)"
    steep = found.data.isel(point=0)["hessian"].values
    top = np.linalg.eigh(steep)[1][:, -1]
    assert not found.certificates((9.2, 9.2), directions=[(top, 0.5)]).passed
    with pytest.raises(ValueError, match="2 coordinates"):
        found.certificates(9.2, directions=[((1.0,), 9.2)])


def test_concave_directions_are_silent() -> None:
    saddle = pk.potentials.Custom(lambda x: x[..., 0] ** 2 - 0.1 * x[..., 1] ** 2, dim=2)
    found = pk.sampled_curvature(saddle, 4, 0.3, [(0.1, 0.2)], n=500).certificates((2.0, -0.2))
    assert found[1].passed is None and "does not apply" in found[1].note
    assert found[0].applies


# --- widening ---


def test_entropy_flattens_and_heat_does_not() -> None:
    grid = pk.Grid(-3.6, 3.6, 600)
    found = pk.widening(RIPPLES, 100, grid, [0.05, 0.2, 0.5], step=4)
    for name in ("local_entropy", "non_viscous"):
        assert (found[name] <= found["bound"] + found[f"allowance_{name}"]).all()
        lengths = found[f"convex_length_{name}"].values
        assert (np.diff(lengths) >= -0.05).all() and lengths[-1] > lengths[0] + 0.3
    assert (found["heat"] > found["bound"] + 1).all()
    # 1/5 + 9 exp(-9 t / (2 β)) in closed form
    exact = 0.2 + 9 * np.exp(-4.5 * found["time"].values / 100)
    np.testing.assert_allclose(found["heat"], exact, atol=0.05)


def test_widening_in_the_plane_is_that_of_its_steepest_axis() -> None:
    """x²/10 + cos 3x beside a bowl of curvature 1: every column is that of the line."""
    side = pk.potentials.Custom(
        lambda x: RIPPLES(x[..., :1]) + x[..., 1] ** 2 / 2, dim=2
    )  # fmt: skip
    times = [0.05, 0.2]
    line = pk.widening(RIPPLES, 20, pk.Grid(-3.6, 3.6, 150), times, step=2)
    plane = pk.widening(side, 20, pk.Grid((-3.6, -2), (3.6, 2), (150, 40)), times, step=2)
    for name in ("local_entropy", "non_viscous", "heat"):
        np.testing.assert_allclose(plane[name], line[name], rtol=0.02)
    assert (plane["local_entropy"] <= plane["bound"] + plane["allowance_local_entropy"]).all()
    assert (plane["heat"] > plane["bound"]).all()


@given(
    curvature=st.floats(0.1, 20), tolerance=st.floats(0.02, 0.5), beta=st.floats(0.5, 5),
)  # fmt: skip
def test_the_width_of_a_quadratic(curvature: float, tolerance: float, beta: float) -> None:
    bowl = pk.potentials.Quadratic(curvature)
    width = pk.robust_width(bowl, 0.0, tolerance, beta, longest=1e5)
    assert width == pytest.approx(np.expm1(2 * beta * tolerance) / curvature, rel=1e-6)


def test_flatter_minima_are_wider_in_the_plane_too() -> None:
    """log(1 + γ a) + log(1 + γ b) = 2 β ε: a quadratic equation in γ."""
    a, b, tolerance, beta = 1.0, 3.0, 0.2, 2.0
    level = np.expm1(2 * beta * tolerance)
    exact = (-(a + b) + np.sqrt((a + b) ** 2 + 4 * a * b * level)) / (2 * a * b)
    width = pk.robust_width(pk.potentials.Quadratic((a, b)), (0.0, 0.0), tolerance, beta)
    assert width == pytest.approx(exact, rel=1e-6)


def test_a_tolerance_never_used_up_is_an_infinite_width() -> None:
    """The double well: u never rises above its barrier's height for small γ, nor in the end."""
    assert pk.robust_width(WELL, 1.0, 50.0, 4.0, longest=10.0) == np.inf
    wide, narrow = (pk.robust_width(WELL, 1.0, e, 4.0) for e in (0.1, 0.02))
    assert 0 < narrow < wide


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="t must be positive"):
        pk.sampled_curvature(WELL, 4, 0.0, [0.0])
    with pytest.raises(ValueError, match="dimension 2"):
        pk.sampled_curvature(WELL, 4, 1.0, [(0.0, 0.0)])
    with pytest.raises(ValueError, match="tolerance must be a finite number > 0"):
        pk.robust_width(WELL, 1.0, 0.0, 4.0)
    with pytest.raises(ValueError, match="one or two coordinates"):
        pk.robust_width(WELL, (1.0, 2.0, 3.0), 0.1, 4.0)
