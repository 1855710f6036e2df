"""Derivatives by differences are right whatever the length over which a function varies."""

import warnings

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.diffusions import HaenggiKlimontovich, Stratonovich
from pdekit.particles.run.checkpoint import CheckpointError
from pdekit.particles.run.guards import StepSizeWarning

P = pk.potentials
LENGTHS = [1.0, 1e-5, 1e-8]


@pytest.mark.parametrize("length", LENGTHS)
def test_sampled_curvature_in_other_units(length):
    V = P.Custom(
        lambda x: ((x[..., 0] / length) ** 2 - 1) ** 2 / 4 * length**2,
        lambda x: ((x / length) ** 2 - 1) * x,
    )
    found = pk.sampled_curvature(V, 4 / length**2, 0.5, [0.3 * length], n=4000)
    # by quadrature over y
    y = np.linspace(-6, 6, 40_001)
    weight = np.exp(-4 * ((y**2 - 1) ** 2 / 4 + (0.3 - y) ** 2))
    true = (0.3 - y @ weight / weight.sum()) / 0.5
    error = float(found.data["gradient_error"].values[0, 0]) / length
    assert abs(float(found.data["gradient"].values[0, 0]) / length - true) < 4 * error
    assert found.rate == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("length", LENGTHS)
def test_kramers_time_of_a_numpy_function_in_other_units(length):
    def V(x):
        return np.sum(((np.asarray(x) / length) ** 2 - 1) ** 2, -1) / 4 * length**2

    found = pk.kramers_time(V, -length, 0.0, 40 / length**2)
    assert found == pytest.approx(2 * np.pi / np.sqrt(2) * np.exp(10), rel=1e-5)


def test_kramers_time_asks_for_a_critical_point_in_units_of_the_two_points():
    length = 1e-6
    V = P.Custom(lambda x: ((x[..., 0] / length) ** 2 - 1) ** 2 / 4 * length**2)
    with pytest.raises(ValueError, match="not a critical point"):
        pk.kramers_time(V, -0.95 * length, 0.0, 40 / length**2)


@pytest.mark.parametrize("scale", LENGTHS)
def test_hamiltonian_of_small_slopes(scale):
    H = pk.hamiltonians.Custom(lambda p: p[..., 0] ** 4 / 4 / scale**3)
    slopes = np.array([[-2.0], [0.5], [1.0]])
    np.testing.assert_allclose(H.grad(scale * slopes), slopes**3, rtol=1e-5)


def test_solution_with_a_hamiltonian_of_small_slopes():
    grid = pk.Grid(-1, 1, 21)

    def solved(s):
        H = pk.hamiltonians.Custom(lambda p: p[..., 0] ** 4 / 4 / s**3)
        initial = lambda x: s * np.cos(np.pi * x[..., 0])  # noqa: E731
        return pk.solve(pk.HamiltonJacobi(H), grid, initial, [0.02]).u.values / s

    np.testing.assert_allclose(solved(1e-8), solved(1.0), atol=1e-5)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("reading, share", [(Stratonovich, 0.5), (HaenggiKlimontovich, 1.0)])
def test_drift_of_a_noise_that_varies_over_small_lengths(length, reading, share):
    D = reading(lambda x: 1 + 0.5 * np.sin(x[..., 0] / length))
    x = np.array([[-2.0], [0.3], [1.0]])
    found = D.correction(length * x) * length
    np.testing.assert_allclose(found, share * 0.5 * np.cos(x), rtol=1e-5)


@pytest.mark.parametrize("length", LENGTHS)
def test_steps_are_judged_by_curvatures_over_small_lengths(length):
    V = P.Custom(lambda x: ((x / length) ** 2 - 1).pow(2).sum(-1) / 4 * length**2)
    dynamics = pk.Langevin(V, 4 / length**2)
    start = torch.full((50, 1), 1.2 * length, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pk.simulate(dynamics, start, 50, 0.1, 0.05)
    with pytest.warns(StepSizeWarning, match=r"3\.32"):  # V'' = 3 * 1.44 - 1
        pk.simulate(dynamics, start, 50, 1.0, 1.0)


@pytest.mark.parametrize("place", [0.0, 1e3, 1e5])
def test_slopes_far_out(place):
    V = P.Custom(lambda x: np.sum(np.cos(np.asarray(x) - place), -1))
    x = np.array([[0.5], [1.0], [4.0]])
    np.testing.assert_allclose(V.grad(x + place), -np.sin(x), atol=1e-6)


def test_points_cannot_be_overwritten():
    def V(x):
        x -= 1
        return (x**2).sum(-1) / 2

    for call in (
        lambda: pk.robust_width(V, 1.0, 0.05, 3.0),
        lambda: pk.sampled_curvature(V, 3.0, 0.5, [1.0], n=10),
        lambda: pk.kramers_time(V, 1.0, 0.0, 3.0),
        lambda: P.Custom(V)(torch.ones(3, 1)),
    ):
        with pytest.raises(ValueError, match="read-only"):
            call()


def test_shock_time_of_true_and_false_is_refused():
    with pytest.raises(TypeError, match="True and False"):
        pk.shock_time(lambda x: x[..., 0] > 0, pk.Grid(-1, 1, 40))


def test_a_function_for_numpy_is_referred_to_custom():
    def V(x):
        return np.cos(np.asarray(x)[..., 0])

    with pytest.raises(ValueError, match="Custom"):
        pk.simulate(pk.Langevin(V, 4.0), np.zeros((10, 1)), 10, 0.1, 0.05)


def test_a_text_is_no_checkpoint(tmp_path):
    path = tmp_path / "run.npz"
    path.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="no checkpoint") as told:
        pk.simulate(
            pk.Langevin(P.DoubleWell(), 4.0),
            np.zeros((10, 1)),
            10,
            0.1,
            0.05,
            checkpoint=pk.Checkpoint(path),
        )
    assert "pickle" not in str(told.value)
