"""Jumps of V, walls too steep for dt, starts beyond a box: what particles pass over is said."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.particles import NonFiniteError, StepSizeWarning
from pdekit.potentials import Custom, DoubleWell, Quadratic

LAW = pk.Gaussian(-1.0, 0.2)


def first(x: Any) -> Any:
    return np.asarray(x)[..., 0]


def run(dynamics: Any, initial: Any = LAW, n: int = 600, t: float = 0.3, dt: float = 5e-3) -> Any:
    return pk.simulate(dynamics, initial, n, t, dt).final.values


class Moving:
    """A jump that comes to the particles in time."""

    dim = 1

    def at(self, t: float) -> Any:
        return Custom(lambda x: x[..., 0] ** 2 + 3.0 * (x[..., 0] > 1 - 7 * t))


JUMPS = {
    "in numpy": (Custom(lambda x: first(x) ** 2 + 3 * (first(x) > -0.9)), "-0.9"),
    "no slope": (Custom(lambda x: np.where(first(x) > -1.1, 1.0, 0.0)), "-1.1"),
    "round": (Custom(lambda x: x[..., 0].round()), "-0.5|-1.5"),
    "in torch": (Custom(lambda x: x[..., 0] ** 2 + 3 * (x[..., 0] > -0.9)), "-0.9"),
    "a function": (lambda x: x[..., 0] ** 2 + 3 * (x[..., 0] > -0.9), "-0.9"),
    "a part": (DoubleWell() + 2 * Custom(lambda x: 1.0 * (x[..., 0] > -0.9)), "-0.9"),
    "downwards": (Custom(lambda x: 9 * x[..., 0] - 0.5 * (x[..., 0] > -0.9)), "-0.9"),
    "between start and end": (Custom(lambda x: (x[..., 0] > 0) - 9 * x[..., 0]), r"\d.*e-1\d"),
    "in time": (Moving(), r"-1.1"),
}


@pytest.mark.parametrize("name", JUMPS)
def test_a_jump_that_no_slope_explains_is_said_where_it_is(name: str) -> None:
    V, place = JUMPS[name]
    with pytest.warns(pk.AccuracyWarning, match=rf"jumps at x = \[({place})\], from") as said:
        run(pk.Langevin(V, 4.0))
    assert sum("jumps at" in str(w.message) for w in said) == 1


def test_jumps_are_said_in_the_plane_without_noise_and_of_momenta() -> None:
    across = Custom(lambda x: (x**2).sum(-1) + 3.0 * (x[..., 0] > x[..., 1]), dim=2)
    with pytest.warns(pk.AccuracyWarning, match="jumps at"):
        run(pk.Langevin(across, 4.0), pk.Gaussian((0, 0), 1.0))
    V, _ = JUMPS["in torch"]
    for dynamics in (pk.Langevin(V, np.inf), pk.UnderdampedLangevin(V, 4.0, 1.0)):
        with pytest.warns(pk.AccuracyWarning, match="jumps at"):
            run(dynamics)


def test_values_of_metropolis_see_jumps() -> None:
    """Gibbs' law of a step of 3/β between two halves of a box well."""
    V = Custom(
        lambda x: torch.where(x[..., 0].abs() < 1, 3.0 * (x[..., 0] > 0), 1e9 + 0 * x[..., 0])
    )
    V = Custom(V.f, lambda x: 0 * x)
    x = run(pk.MetropolisLangevin(V, 1.0), np.full((4000, 1), -0.5), 4000, 4.0, 0.05)
    right = np.exp(-3) / (1 + np.exp(-3))
    assert (x > 0).mean() == pytest.approx(right, abs=5 * np.sqrt(right / 4000))


STEEP = {
    "a kink": lambda x: np.abs(first(x) + 1),
    "a cusp": lambda x: 0.1 * np.sqrt(np.abs(first(x) + 0.9)),
    "a pole": lambda x: 0.1 * np.log(np.abs(first(x) + 0.9)),
    "a hard wall": lambda x: 1e8 * (np.abs(first(x) + 1) - 0.5).clip(0),
    "a steep step": lambda x: np.tanh(1e9 * (first(x) + 1)),
    "a cut parabola": lambda x: np.minimum(first(x) ** 2, 1.0),
    "tiny steps": lambda x: np.round(first(x) ** 2, 9),
    "a large constant": lambda x: 1e9 + 30 * first(x) ** 2,
}


@pytest.mark.parametrize("name", STEEP)
def test_what_is_continuous_is_no_jump(name: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run(pk.Langevin(Custom(STEEP[name]), 4.0), t=0.1)
    assert not [w for w in said if "jumps at" in str(w.message)]


def walls(x: Any) -> Any:
    return 1e6 * (x[..., 0].abs() - 2).clip(0) ** 2


def test_walls_that_throw_particles_across_a_box_are_said() -> None:
    """Curvature 2e6 beyond 2; a step of 5e-7 follows it, one of 1e-3 throws particles away."""
    hard = pk.Langevin(walls, 4.0, box=pk.Grid(-3, 3, 300))
    with pytest.warns(StepSizeWarning, match=r"2e\+06.* where particles were on the way"):
        run(hard, n=2000, t=1.0, dt=1e-3)
    run(hard, pk.Gaussian(-1.99, 0.001), n=50, t=1e-3, dt=5e-7)


def test_places_of_a_box_that_are_not_reached_do_not_count() -> None:
    """V'' = 3 x² - 1 is 3e4 at its walls."""
    run(pk.Langevin(DoubleWell(), 4.0, box=pk.Grid(-100, 100, 100)), t=2.0, dt=0.01)


def test_a_law_beyond_the_box_is_refused_and_parts_are_said() -> None:
    def inside(lower: float, upper: float, periodic: bool = False) -> Any:
        return pk.Langevin(Quadratic(0.0), 4.0, box=pk.Grid(lower, upper, 9, periodic=periodic))

    for box in ((5.0, 6.0), (-0.9, 6.0)):
        with pytest.raises(ValueError, match="of its mass inside the box"):
            run(inside(*box))
    with pytest.warns(pk.TruncationWarning, match=r"has 0\.309 of its mass beyond the box"):
        run(inside(-1.1, 2.0))
    with pytest.warns(pk.TruncationWarning, match="has 1 of its mass beyond the box"):
        run(inside(0.0, 1.0), np.full((9, 1), -0.5), 9)
    run(inside(5.0, 6.0, periodic=True))
    run(inside(-2.0, 1.0))
    run(inside(0.0, 1.0), np.ones((9, 1)), 9)


@pytest.mark.filterwarnings("ignore::pdekit.particles.StepSizeWarning")
def test_particles_thrown_to_where_no_slope_is_finite_need_a_shorter_step() -> None:
    for V, t, dt in ((DoubleWell(), 1e12, 1e11), (walls, 1.0, 1e-3)):
        with pytest.raises(NonFiniteError, match=r"dt = .* is too long for the slope there"):
            run(pk.Langevin(V, 4.0), n=2000, t=t, dt=dt)
    with pytest.raises(NonFiniteError, match="not finite, whatever dt"):  # whatever steps do
        run(pk.Langevin(lambda x: -(x[..., 0] ** 4), 4.0), n=20, t=1.0, dt=1e-2)
