"""Right values of Hamilton-Jacobi and mean-field problems that were once wrong."""

import numpy as np
import pytest
from scipy import special

import pdekit as pk
from pdekit.interactions import Kuramoto
from pdekit.pde.exact import solutions

P = pk.potentials
FLAT = P.Custom(lambda x: 0 * x[..., 0])


@pytest.mark.parametrize("H", [None, pk.hamiltonians.Power(1.0), pk.hamiltonians.Power(1.5)])
def test_a_ripple_of_eight_cells_stays_above_its_infimum(H):
    V, x = P.Rippled(), np.array([1.0])
    for _ in range(20):  # Newton's method for V' = 0
        x -= (x / 5 - 3 * np.sin(3 * x)) / (1 / 5 - 9 * np.cos(3 * x))
    least = V(x[:, None])[0]
    u = pk.solve(pk.HamiltonJacobi(H), pk.Grid(-5, 5, 40), V, 1.0).fields[0]
    assert u.min() >= least - 1e-12


def test_so_it_does_in_the_plane():
    V, least = P.Rippled(dim=2), 2 * P.Rippled()(np.linspace(-5, 5, 400_001)[:, None]).min()
    u = pk.solve(pk.HamiltonJacobi(), pk.Grid((-5, -5), (5, 5), (40, 40)), V, 1.0).fields[0]
    assert u.min() >= least - 1e-12


@pytest.mark.parametrize("as_array", [False, True])
def test_a_cosine_of_nine_cells_round_a_circle_stays_above_minus_one(as_array):
    grid = pk.Grid(0, 8 * np.pi, 36, periodic=True)

    def f(x):
        return np.cos(x[..., 0])

    u = pk.solve(pk.HamiltonJacobi(), grid, f(grid.centres) if as_array else f, 1.0).fields[0]
    assert u.min() == pytest.approx(-1.0, abs=0.01 if as_array else 1e-9) and u.min() >= -1 - 1e-12


@pytest.mark.parametrize("cells", [20, 100, 1000])
def test_a_concave_fall_to_a_wall_is_met_at_the_wall(cells):
    grid, y = pk.Grid(0, 1, cells), np.linspace(0, 1, 200_001)
    u = pk.solve(pk.HamiltonJacobi(), grid, lambda x: -x[..., 0] - x[..., 0] ** 2, 5.0).fields[0]
    true = [(-y - y * y + (x - y) ** 2 / 10).min() for x in grid.axes[0][:: cells // 20]]
    np.testing.assert_allclose(u[:: cells // 20], true, atol=1e-10)


def test_the_wall_is_tried_from_everywhere():
    """A wall half a cell lower than the last sample wins against a ripple that samples prefer."""
    grid, y = pk.Grid(0, 10, 200), np.linspace(0, 10, 1_000_001)

    def f(x):
        return np.cos(2 * x) + 0.02 * (x - 5) ** 2

    u = pk.solve(pk.HamiltonJacobi(), grid, f(grid.axes[0]), 100.0).fields[0]
    true = [(f(y) + (x - y) ** 2 / 200).min() for x in grid.axes[0][::9]]
    np.testing.assert_allclose(u[::9], true, atol=1e-3)


def test_samples_that_carry_no_parabola_are_said():
    noise = np.random.default_rng(0).normal(size=60)
    with pytest.warns(pk.ResolutionWarning, match="within a cell"):
        u = pk.solve(pk.HamiltonJacobi(), pk.Grid(-1, 1, 60), noise, 0.1).fields[0]
    assert u.min() >= noise.min()


def test_the_exact_local_entropy_of_a_kink():
    """-log E exp(-a |X|), X normal about m with variance 1, in closed form.

    A kink takes nodes until h² a is below rounding: eight hundred thousand here.
    """
    a, m = 1.5e-3, -0.2
    means = [np.exp(w * m) * special.erfc((a + w / a * m) / np.sqrt(2)) for w in (a, -a)]
    true = -np.log(sum(means) / 2) - a * a / 2
    found = solutions.cole_hopf(lambda y: a * np.abs(y[..., 0]), 1.0, 1.0, [[m]])[0]
    assert found == pytest.approx(true, abs=1e-13)


@pytest.mark.parametrize("t", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("beta", [1e-100, 1e-6, 1.0])
def test_local_entropy_at_any_time_and_temperature(t, beta):
    grid = pk.Grid(-3, 3, 60)
    f = np.sin(grid.axes[0])
    u = pk.solve(pk.ViscousHJ(beta), grid, f, t).fields[0]
    assert f.min() <= u.min() and u.max() <= f.max()
    if t == 1e12:  # all places are alike by then
        mean = f.mean() if beta < 1 else -np.log(np.exp(-f).mean())
        np.testing.assert_allclose(u, mean, atol=1e-4)


def test_the_filtered_scheme_keeps_the_bounds():
    V = P.Rippled()
    u = pk.solve(pk.ViscousHJ(1e6), pk.Grid(-3, 3, 40), V, 1e3, pk.schemes.Filtered()).fields[0]
    assert u.min() >= V(np.linspace(-3, 3, 100_001)[:, None]).min()


def test_a_flat_potential_has_no_critical_temperature():
    with pytest.raises(ValueError, match="flat"):
        pk.critical_beta(FLAT, pk.CurieWeiss(1.0))
    with pytest.raises(pk.ConvergenceError, match="does not rise through one"):
        pk.critical_beta(P.Custom(lambda x: -np.cos(x[..., 0])), pk.CurieWeiss(1.0))
    with pytest.raises(pk.ConvergenceError, match="of the cells, not of the equation"):
        pk.critical_beta(P.Quadratic(1.0), pk.CurieWeiss(1.0), grid=pk.Grid(-3, 3, 100))


def test_a_branch_starts_within_its_bounds():
    grid = pk.Grid(-3, 3, 100)

    def family(beta):
        return pk.McKeanVlasov(P.DoubleWell(), beta, pk.CurieWeiss(1.0))

    with pytest.raises(ValueError, match="start must lie there"):
        pk.follow_branch(family, grid, 0.0, (1.0, 4.0), 5.0)
    with pytest.raises(ValueError, match="in the box"):
        pk.follow_branch(family, grid, 50.0, (1.0, 4.0))
    with pytest.raises(TypeError, match="a function from the parameter"):
        pk.follow_branch(family(1.0), grid, 0.0, (1.0, 4.0))


@pytest.mark.parametrize("t", [1e30, 1e100])
def test_mean_fields_come_to_rest(t):
    rho = pk.solve(pk.McKeanVlasov(P.DoubleWell(), 2.0, pk.CurieWeiss(1.0)), pk.Grid(-3, 3, 60),
                   pk.Gaussian(-1.0, 0.3), t)  # fmt: skip
    (still,) = pk.self_consistent_states(rho.equation, rho.grid)
    np.testing.assert_allclose(rho.fields[0], still.density.values, atol=1e-9)


def test_repelling_oscillators_spread_evenly():
    """The free energy of the even state is zero: its rounding is that of the terms."""
    ring = pk.Grid(0, 2 * np.pi, 64, periodic=True)
    equation = pk.McKeanVlasov(FLAT, 1.0, pk.PairPotential(Kuramoto(-5.0)))
    rho = pk.solve(equation, ring, 1 + 0.5 * np.cos(ring.axes[0]), 5.0)
    np.testing.assert_allclose(rho.fields[0], 1.0, atol=1e-8)


def test_mean_fields_say_what_the_cells_do_not_resolve():
    grid, start = pk.Grid(-3, 3, 60), pk.Gaussian(-1.0, 0.3)
    with pytest.warns(pk.ResolutionWarning, match="too coarse"):
        pk.solve(pk.McKeanVlasov(P.DoubleWell(), 1e4, pk.CurieWeiss(1.0)), grid, start, 1.0)
    with pytest.warns(pk.ResolutionWarning, match="narrower than the cells"):
        pk.self_consistent_states(pk.McKeanVlasov(P.DoubleWell(), 1.0, pk.CurieWeiss(1000.0)), grid)


class Moving:
    dim = 1

    def __call__(self, x):
        return x[..., 0] ** 2

    def at(self, t):
        return lambda x: (1 + t) * x[..., 0] ** 2


@pytest.mark.parametrize(
    "call",
    [
        lambda V, g: pk.solve(pk.McKeanVlasov(V, 1.0, pk.CurieWeiss(1.0)), g, pk.Gaussian(), 1.0),
        lambda V, g: pk.self_consistent_states(pk.McKeanVlasov(V, 1.0, pk.CurieWeiss(1.0)), g),
        lambda V, g: pk.critical_beta(V, pk.CurieWeiss(1.0)),
        lambda V, g: pk.critical_beta(V, pk.CurieWeiss(1.0), grid=g),
        lambda V, g: pk.phase_diagram(V, [1.0, 2.0], [1.0], g),
        lambda V, g: pk.follow_branch(
            lambda b: pk.McKeanVlasov(V, b, pk.CurieWeiss(1.0)), g, 0.0, (1.0, 2.0)
        ),
        lambda V, g: pk.local_entropy(V, 1.0, 1.0, g),
        lambda V, g: pk.widening(V, 1.0, g, [0.1]),
        lambda V, g: pk.robust_width(V, 0.0, 0.1, 1.0),
        lambda V, g: pk.shock_time(V, g),
        lambda V, g: pk.PairPotential(V),
        lambda V, g: pk.solve(
            pk.HamiltonJacobiBellman(V, 1.0), g, P.Quadratic(1.0), 1.0, pk.schemes.Filtered()
        ),
        lambda V, g: pk.solve(
            pk.HamiltonJacobiBellman(V, 1.0), g, P.Quadratic(1.0), 1.0, pk.schemes.Godunov()
        ),
    ],
)
def test_what_moves_is_refused(call):
    with pytest.raises((TypeError, ValueError), match="fixed in time"):
        call(Moving(), pk.Grid(-3, 3, 60))


@pytest.mark.parametrize(("c", "beta", "tolerance"), [(1e6, 1e-3, 1e-8), (1e6, 1.0, 10.0)])
def test_robust_widths_of_quadratics(c, beta, tolerance):
    found = pk.robust_width(P.Quadratic(c), 0.0, tolerance, beta, 1e4)
    assert found == pytest.approx(np.expm1(2 * beta * tolerance) / c, rel=1e-6)


def test_a_cluster_that_may_be_shifted_has_no_critical_temperature():
    """Of a flat V the response tends to one: its rounding is no transition."""
    for W in (pk.CurieWeiss(1.0), pk.PairPotential(pk.interactions.GaussianWell(1.0, 0.5))):
        with pytest.raises(pk.ConvergenceError, match="stays there"):
            pk.critical_beta(FLAT, W, grid=pk.Grid(-2, 2, 100))


def test_a_box_that_decides_where_the_transition_is_is_reported():
    attraction = pk.CurieWeiss(1.0)
    free = pk.critical_beta(P.DoubleWell(), attraction)
    wide = pk.critical_beta(P.DoubleWell(), attraction, grid=pk.Grid(-4, 4, 200))
    assert wide == pytest.approx(free, rel=1e-9)
    with pytest.warns(pk.TruncationWarning, match="the box decides"):
        pk.critical_beta(P.DoubleWell(), attraction, grid=pk.Grid(-1.5, 1.5, 100))


@pytest.mark.parametrize("t", [0.1, 10.0, 1e3])
def test_other_hamiltonians_fall_to_walls_too(t):
    """A wall to which f falls may have the least value though its node has not."""
    grid = pk.Grid(0, 1, 400)

    def f(x):
        return np.cos(2 * np.pi * x[..., 0] / 0.27 + 2.0) + 0.01 * x[..., 0]

    u = pk.solve(pk.HamiltonJacobi(pk.hamiltonians.Power(3.0)), grid, f(grid.centres), t).fields[0]
    y = np.linspace(0, 1, 20_001)
    cost = t * (np.abs(grid.axes[0][:, None] - y) / t) ** 1.5 / 1.5
    np.testing.assert_allclose(u, (f(y[:, None]) + cost).min(1), atol=5e-5)


def test_rates_of_coarse_cells_are_smooth_in_time():
    """Over a corner of the rates two orders of extrapolation agree on a density that is 2e-8 off.

    Against a hundred times more intervals.
    """
    ring = pk.Grid(-np.pi, np.pi, 18, periodic=True)
    x = ring.axes[0]
    start = np.exp(-((x - 0.7) ** 2) / 0.8)
    equation = pk.McKeanVlasov(FLAT, 0.86, pk.PairPotential(Kuramoto(-24.0)))
    rough = pk.schemes.MeanField(1e-8)
    once = pk.solve(equation, ring, start, 0.004, rough).fields[-1]
    often = pk.solve(equation, ring, start, np.linspace(0, 0.004, 101)[1:], rough).fields[-1]
    assert np.abs(once - often).sum() / start.sum() < 1e-9


def test_lines_high_above_the_least_value_keep_their_own():
    """A kernel as wide as one axis and narrow along the other: a sum of one function of each."""
    grid = pk.Grid((0.0, 0.0), (0.01, 10.0), (8, 60))

    def f(x):
        return np.cos(2 * np.pi * x[..., 0] / 0.01) / 100 + 10 * x[..., 1]

    u = pk.solve(pk.ViscousHJ(10.0), grid, f(grid.centres), 1e-3).fields[0]
    x, y = grid.axes
    mean = -np.log(np.exp(-10 * np.cos(2 * np.pi * x / 0.01) / 100).mean()) / 10
    middle = slice(5, -5)
    np.testing.assert_allclose(u[:, middle], mean + (10 * y - 0.05)[middle] + 0 * x[:, None],
                               atol=5e-5)  # fmt: skip


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(
    ("waves", "cells", "t"),
    [(29, 60, 1e-4), (14, 30, 4e-4), (38, 60, 5e-5), (143, 60, 1e-4), (60, 60, 1e-3),
     (180, 60, 1e-5), (29, 60, 2.5e-6)],
)  # fmt: skip
def test_waves_within_the_cells_move_at_short_times_too(waves, cells, t, periodic):
    """Also waves as long as a cell, or a part of it, which the samples see as a constant."""
    grid, k = pk.Grid(-1.5, 1.5, cells, periodic=periodic), 2 * np.pi * waves / 3

    def f(x):
        return np.cos(k * x + 0.4)

    u = pk.solve(pk.HamiltonJacobi(), grid, lambda x: f(x[..., 0]), t).fields[0]
    away = np.linspace(-1, 1, 20_001) * 2 * np.sqrt(t)
    y = grid.axes[0][:, None] + away
    if not periodic:
        y = np.clip(y, -1.5, 1.5)
    true = (f(y) + (grid.axes[0][:, None] - y) ** 2 / (2 * t)).min(1)
    np.testing.assert_allclose(u, true, atol=1e-4)


@pytest.mark.parametrize("power", [1.1, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("place", [0.2, 0.21])
@pytest.mark.parametrize("cells", [20, 40, 80, 100, 2000])
def test_a_step_anywhere_in_a_cell_is_met(power, place, cells):
    """Also where its distance from the last sample before it is one on 1, 3 and 9 nodes a cell."""
    grid, b = pk.Grid(-1.5, 1.5, cells), power / (power - 1)
    equation = pk.HamiltonJacobi(pk.hamiltonians.Power(power))
    solution = pk.solve(equation, grid, lambda x: 1.0 * (x[..., 0] > place), 0.1)
    speed = np.maximum(grid.axes[0] - place, 0) / 0.1
    true = np.where(grid.axes[0] > place, np.minimum(1, 0.1 * speed**b / b), 0)
    np.testing.assert_allclose(solution.fields[0], true, atol=1e-6)
    assert solution.stats["nodes_per_cell"] <= 81  # tenths of a second


@pytest.mark.parametrize("H", [None, pk.hamiltonians.Power(1.5)])
@pytest.mark.parametrize(("k", "t"), [(60, 1e-4), (300, 1e-4), (1000, 1e-5)])
def test_in_the_plane_such_waves_are_met_or_said(H, k, t):
    grid = pk.Grid((-1.5, -1.5), (1.5, 1.5), (40, 40))
    with pytest.warns(pk.ResolutionWarning, match="within a cell"):
        pk.solve(pk.HamiltonJacobi(H), grid, lambda x: np.cos(k * x).sum(-1), t)
