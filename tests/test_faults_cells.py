"""Data between the centres, long times, and steps without end: what was once answered wrongly."""

import warnings

import numpy as np
import pytest
from scipy import special

import pdekit as pk
from pdekit import potentials as P
from pdekit import schemes
from pdekit.particles.run.schedule import intervals

LINE = pk.Grid(-5, 5, 100)


def normal(mean, width):
    return lambda x: np.exp(-(((x[..., 0] - mean) / width) ** 2) / 2) / width / np.sqrt(2 * np.pi)


def spike(x):
    return np.exp(-(((x[..., 0] - 0.55) / 0.003) ** 2) / 2)


def step(x):
    return (x[..., 0] > 0.1) * 1.0


def turned(p):
    return np.stack([p[..., 1], -p[..., 0]], -1)


@pytest.mark.parametrize("width", [0.003, 0.02])
def test_a_density_between_the_centres_is_reported(width):
    with pytest.warns(pk.ResolutionWarning, match="cells would suffice"):
        pk.solve(pk.FokkerPlanck(P.Quadratic(1.0), 1.0), LINE, normal(0.517, width), 0.1)


@pytest.mark.parametrize(
    "density", [normal(0.517, 0.12), lambda x: 0.5 * (np.abs(x[..., 0]) < 1)], ids=["bell", "box"]
)
def test_a_density_that_the_cells_resolve_is_not(density):
    with warnings.catch_warnings():
        warnings.simplefilter("error", pk.ResolutionWarning)
        solved = pk.solve(pk.FokkerPlanck(P.Quadratic(1.0), 1.0), LINE, density, 0.1)
    assert abs(LINE.integrate(solved.fields[-1]) - 1) < 1e-8


def test_a_density_in_the_plane_between_the_centres_is_reported():
    plane = pk.Grid((-4, -4), (4, 4), (16, 16))

    def dot(x):
        return np.exp(-((x - 0.3) ** 2).sum(-1) / 2 / 0.05**2)

    with pytest.warns(pk.ResolutionWarning, match="cells would suffice"):
        pk.solve(pk.FokkerPlanck(P.Quadratic(1.0, dim=2), 1.0), plane, dot, 0.1)


@pytest.mark.parametrize("equation", [pk.Heat(1.0), pk.BackwardKolmogorov(P.Quadratic(1.0), 1.0)])
@pytest.mark.parametrize("move", [0.0, 0.03])
def test_a_spike_between_the_centres_is_reported(equation, move):
    with pytest.warns(pk.ResolutionWarning, match="changes within a cell"):
        pk.solve(equation, LINE, lambda x: spike(x + move), 0.5)


def test_heat_of_a_step_within_a_cell_is_reported_while_it_matters():
    with pytest.warns(pk.ResolutionWarning, match="changes within a cell"):
        pk.solve(pk.Heat(1.0), pk.Grid(-1, 1, 41), step, 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pk.ResolutionWarning)
        pk.solve(pk.Heat(1.0), pk.Grid(-1, 1, 401), step, 0.1)
        pk.solve(pk.Heat(1.0), pk.Grid(-1, 1, 80), lambda x: np.sign(x[..., 0]), 0.01)
        pk.solve(pk.Heat(1.0), LINE, lambda x: np.abs(x[..., 0] - 0.33), 0.01)


@pytest.mark.parametrize("t", [3.0, 300.0])
def test_what_turns_in_the_plane_is_solved_by_default(t):
    force = pk.FokkerPlanck(P.Quadratic(1.0, dim=2), 2.0, force=turned)
    plane = pk.Grid((-4, -4), (4, 4), (40, 40))
    rho = pk.solve(force, plane, pk.Gaussian((1, 0), 0.5), t).fields[-1]
    mean = plane.integrate(rho * plane.centres[..., 0])
    assert abs(mean - np.exp(-t) * np.cos(t)) < 0.05 * np.exp(-t) + 1e-6
    assert plane.integrate(rho * plane.centres[..., 1] ** 2) == pytest.approx(0.5, rel=0.05)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")  # the walls are meant
@pytest.mark.parametrize("t", [1e8, 1e10, 1e30])
def test_the_plane_at_rest(t):
    plane = pk.Grid((-2, -2), (2, 2), (20, 20))
    V = P.DoubleWell(2)
    rho = pk.solve(pk.FokkerPlanck(V, 4.0), plane, normal(0.5, 0.5), t, schemes.Krylov()).fields
    gibbs = np.exp(-4.0 * V(plane.centres))
    start = plane.integrate(normal(0.5, 0.5)(plane.centres))
    np.testing.assert_allclose(rho[-1], start * gibbs / plane.integrate(gibbs), rtol=1e-9)


@pytest.mark.parametrize("t", [1e6, 1e30])
def test_a_function_at_rest(t):
    grid = pk.Grid(-3, 3, 60)
    V = P.DoubleWell()

    def data(x):
        return np.exp(-((x[..., 0] - 1) ** 2))

    u = pk.solve(pk.BackwardKolmogorov(V, 4.0), grid, data, t).fields[-1]
    gibbs = np.exp(-4.0 * V(grid.centres))
    mean = (data(grid.centres) * gibbs).sum() / gibbs.sum()
    np.testing.assert_allclose(u, mean, rtol=1e-10)


def test_what_is_not_at_rest_is_not_taken_for_it():
    grid = pk.Grid(-1.5, 1.5, 40)  # wells whose exchange takes far longer than 1e8
    rho = np.where(grid.axes[0] > 0.5, 1.0, 0.0)
    solved = pk.solve(pk.FokkerPlanck(P.DoubleWell(), 160.0), grid, rho, 1e8)
    assert grid.integrate(solved.fields[-1] * (grid.axes[0] < 0)) < 1e-3


def test_implicit_steps_that_are_far_too_long_are_reported():
    grid = pk.Grid(-3, 3, 60)
    equation = pk.BackwardKolmogorov(P.DoubleWell(), 4.0)

    def data(x):
        return np.exp(-(x[..., 0] ** 2))

    with pytest.warns(pk.AccuracyWarning, match="shorter dt"):
        pk.solve(equation, grid, data, 1e30, schemes.Implicit(1e29))


def test_simulations_without_end_are_refused():
    with pytest.raises(ValueError, match="1e\\+12 steps"):
        intervals([1e11], 0.1)
    assert intervals([1e6], 0.1)[0].steps == 10_000_000


class Swinging:
    dim = 1

    def at(self, t):
        return P.Custom(lambda x: (x[..., 0] - np.sin(t)) ** 2 / 2)


def test_what_moves_too_often_is_refused_early():
    equation = pk.FokkerPlanck(Swinging(), 2.0)
    with pytest.raises(pk.ConvergenceError, match="shorter time"):
        pk.solve(equation, pk.Grid(-5, 5, 12), pk.Gaussian(0.0, 0.5), 1e6)


def hole(x):
    return -1.0 * (np.abs(x[..., 0] - 0.3137) < 0.1)


@pytest.mark.parametrize("n", [16, 20, 24, 40])
def test_a_hole_between_the_centres_is_found(n):
    grid, t = pk.Grid(-3, 3, n), 0.3
    away = np.maximum(np.abs(grid.axes[0] - 0.3137) - 0.1, 0.0)
    u = pk.solve(pk.HamiltonJacobi(), grid, hole, t).fields[0]
    assert np.allclose(u, np.minimum(away**2 / (2 * t) - 1, 0.0), atol=1e-6)
    round_a_circle = pk.Grid(0, 1, n, periodic=True)
    u = pk.solve(pk.HamiltonJacobi(), round_a_circle, lambda x: hole(x + 0.2937), t).fields[0]
    assert u.min() < -0.99  # across the seam


def test_its_local_entropy_is_exact_and_takes_no_ages():
    # once 2 % too low, and a hole that was seen took minutes
    grid, beta, t = pk.Grid(-3, 3, 20), 20.0, 0.3
    right = special.ndtr((0.4137 - grid.axes[0]) / (t / beta) ** 0.5)
    right -= special.ndtr((0.2137 - grid.axes[0]) / (t / beta) ** 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        u = pk.solve(pk.ViscousHJ(beta), grid, hole, t).fields[0]
    assert np.allclose(u, -np.log1p(np.expm1(beta) * right) / beta, atol=1e-5)


@pytest.mark.parametrize("scheme", [schemes.Filtered(), schemes.Godunov()])
def test_a_hole_that_a_march_cannot_see_is_reported(scheme):
    with pytest.warns(pk.ResolutionWarning, match="within a cell"):
        pk.solve(pk.HamiltonJacobi(), pk.Grid(-3, 3, 20), hole, 0.3, scheme)
    with pytest.warns(pk.ResolutionWarning, match="too coarse for the value"):
        pk.solve(pk.HamiltonJacobiBellman(P.Quadratic(1.0), 2.0), pk.Grid(-3, 3, 20), hole, 0.3)


def test_a_hole_between_the_lines_of_the_plane_is_found(place=0.3):
    grid = pk.Grid((-3, -3), (3, 3), (20, 20))
    with pytest.warns(pk.ResolutionWarning, match="within a cell"):
        u = pk.solve(
            pk.HamiltonJacobi(), grid, lambda x: -1.0 * (((x - place) ** 2).sum(-1) < 0.01), 0.3
        ).fields[0]
    nearest = np.sqrt(((grid.centres - place) ** 2).sum(-1)).min() - 0.1
    assert abs(u.min() - (nearest**2 / 0.6 - 1)) < 0.02


def test_rates_of_what_is_no_density_are_refused():
    grid = pk.Grid(0, 1, 20, periodic=True)
    equation = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 3.0, force=lambda x: 2 + 0 * x)
    wave = np.cos(2 * np.pi * grid.axes[0])
    for rate in (pk.entropy_production, pk.housekeeping):
        with pytest.raises(ValueError, match="must not be negative"):
            rate(equation, wave, grid)
