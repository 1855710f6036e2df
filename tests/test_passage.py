"""First passage times and places: against the double integral, closed forms and dense solves."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import GRIDS
from driven import random_equation
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import named
from scipy.interpolate import CubicSpline

import pdekit as pk
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.exact.escape import passage_integral

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
WELL = pk.potentials.DoubleWell()
every_grid = st.sampled_from(sorted(GRIDS)).map(GRIDS.get)
seeds = st.integers(0, 10**6)


def passage(beta, cells, upper=3.37, start=-1.0):
    """Mean time from -1 to 1 in the double well; the edge 1 lies anywhere in its cell."""
    grid = pk.Grid(-4.0, upper, cells)
    tau = pk.mean_first_passage_time(pk.FokkerPlanck(WELL, beta), grid, (1.0, np.inf))
    outside = grid.axes[0] < 0.99
    return float(CubicSpline(grid.axes[0][outside], tau.values[outside])(start))


@pytest.mark.parametrize("beta", [1, 4, 8])
def test_the_table_s_passage_times(beta):
    true = float(VALUES[f"dw.mfpt.b{beta}"]["value"]["mfpt_m1_to_1"])
    assert passage_integral(WELL, beta, -6.0, -1.0, 1.0) == pytest.approx(true, rel=1e-13)
    assert passage(beta, 2000) == pytest.approx(true, rel=1e-5)


@pytest.mark.parametrize("beta", [16, 64, 400, 2000])
def test_long_times_keep_their_digits(beta):
    """Up to 6e217: error 3.4e-7 β h²·1e5, of second order; Kramers' law to 1.5 / β."""
    true = passage_integral(WELL, beta, -4.0, -1.0, 1.0)
    errors = [passage(beta, cells) / true - 1 for cells in (1000, 2000)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.1)
    assert abs(errors[1]) < 1.2e-6 * beta
    assert pk.kramers_time(WELL, -1.0, 0.0, beta) == pytest.approx(true, rel=2.1 / beta)


@pytest.mark.parametrize("upper", [3.0, 3.21, 3.3333])
def test_the_edge_of_an_interval_lies_where_it_is_said_to(upper):
    """Wherever 1 falls between two centres the error stays second order; by cells it is first."""
    true = passage_integral(WELL, 4.0, -4.0, -1.0, 1.0)
    assert abs(passage(4.0, 400, upper) / true - 1) < 6e-5
    grid = pk.Grid(-4.0, upper, 400)
    equation = pk.FokkerPlanck(WELL, 4.0)
    by_cells = pk.mean_first_passage_time(equation, grid, lambda x: x[..., 0] >= 1.0)
    sharp = pk.mean_first_passage_time(equation, grid, (1.0, 3.4))
    ratio = by_cells.values[:200] / sharp.values[:200]
    assert (ratio >= 1 - 1e-14).all() and (ratio < 1 + grid.spacing[0]).all()


def test_free_diffusion_into_a_half_plane():
    """V = 0, β = 1, a wall at -1.3 and the target x > 1: τ = (2.3² - (x + 1.3)²) / 2, to h²/8."""
    grid = pk.Grid((-1.3, 0), (1.4, 1), (61, 5))
    free = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 1.0)
    tau = pk.mean_first_passage_time(free, grid, ((1.0, -np.inf), (np.inf, np.inf)))
    assert tau.dims == ("x", "y")
    x = np.minimum(grid.centres[..., 0], 1.0)
    true = ((1 + 1.3) ** 2 - (x + 1.3) ** 2) / 2
    np.testing.assert_allclose(tau.values, true, atol=grid.spacing[0] ** 2 / 4)


@settings.get_profile("often")
@given(every_grid, seeds)
def test_times_solve_their_equation(grid, seed):
    """L τ = -1 outside a random set of cells, τ = 0 on it, positive elsewhere."""
    equation = random_equation(grid, seed)
    target = np.random.default_rng(seed).random(grid.shape) < 0.1
    target.ravel()[0] = True
    tau = pk.mean_first_passage_time(equation, grid, target).values
    generator = Problem(equation, grid, None).generator()
    assert (tau[target] == 0).all() and (tau[~target] > 0).all()
    size = generator.exit_rate() * tau
    assert (np.abs(generator.backward(tau) + 1)[~target] < 1e-12 * (1 + size.max())).all()


@settings.get_profile("often")
@given(every_grid, seeds)
def test_a_larger_target_is_reached_sooner(grid, seed):
    equation, rng = random_equation(grid, seed), np.random.default_rng(seed)
    less = rng.random(grid.shape) < 0.05
    less.ravel()[-1] = True
    more = less | (rng.random(grid.shape) < 0.05)
    slow, fast = (pk.mean_first_passage_time(equation, grid, s).values for s in (less, more))
    assert (fast <= slow * (1 + 1e-12)).all()


@settings.get_profile("often")
@given(every_grid, seeds)
def test_committors_are_probabilities(grid, seed):
    """L q = 0 between the sets, 0 and 1 on them, and the two ways round add up to one."""
    equation, mark = random_equation(grid, seed), np.random.default_rng(seed).random(grid.shape)
    start, target = mark < 0.08, mark > 0.92
    start.ravel()[0] = target.ravel()[-1] = True
    start.ravel()[-1] = target.ravel()[0] = False
    q = pk.committor(equation, grid, start, target).values
    back = pk.committor(equation, grid, target, start).values
    between = ~(start | target)
    assert (q >= 0).all() and (q <= 1).all() and (q[start] == 0).all() and (q[target] == 1).all()
    np.testing.assert_allclose(q + back, 1, atol=1e-12)
    generator = Problem(equation, grid, None).generator()
    assert (np.abs(generator.backward(q))[between] < 1e-12 * generator.exit_rate().max()).all()


@pytest.mark.parametrize("beta", [4.0, 400.0])
def test_the_committor_on_a_line(beta):
    """q = ∫_{-1}^x e^{βV} / ∫_{-1}^1 e^{βV}: 3 h² β of itself, also where it is 1e-40."""
    grid = pk.Grid(-2, 2, 801)
    q = pk.committor(pk.FokkerPlanck(WELL, beta), grid, (-np.inf, -1.0), (1.0, np.inf))
    for k in np.flatnonzero(np.abs(grid.axes[0]) < 0.97)[::60]:
        z, w = np.polynomial.legendre.leggauss(400)

        def part(a, b, z=z, w=w):
            y = (a + b) / 2 + (b - a) / 2 * z
            return (b - a) / 2 * (w @ np.exp(beta * (WELL(y[:, None]) - 0.25)))

        x = grid.axes[0][k]
        true = part(-1.0, x) / part(-1.0, 1.0)
        assert q.values[k] == pytest.approx(true, rel=4 * beta * grid.spacing[0] ** 2)


def test_absorbing_walls_stop_the_clock_too():
    """On [0, 1] with both ends absorbing and a target half way: β x (1/2 - x) / 2."""
    grid = pk.Grid(0, 1, 101)
    free = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 2.0, walls=pk.Walls(True, True))
    tau = pk.mean_first_passage_time(free, grid, (0.5, 0.6)).values
    x = grid.axes[0][:50]
    np.testing.assert_allclose(tau[:50], 2 * x * (0.5 - x) / 2, atol=3e-5)


def test_kramers_in_the_plane():
    """Two wells a direction: each coordinate alone decides; τ over a saddle has V'' = 2 across."""
    plane, V = pk.potentials.DoubleWell(2), WELL
    with pytest.warns(pk.AccuracyWarning, match=r"beta ΔV = 2 it is off by some 50%"):
        across = pk.kramers_time(plane, (-1, -1), (0, -1), 8.0)
    with pytest.warns(pk.AccuracyWarning):
        assert across == pytest.approx(pk.kramers_time(V, -1.0, 0.0, 8.0), rel=1e-9)
    camel = VALUES["camel.critical"]["value"]
    low = next(c for c in camel if c["index"] == 0 and float(c["f"]) < -1)
    top = next(c for c in camel if c["index"] == 1 and float(c["f"]) == 0)
    a, s = (np.array(c["eigs"], float) for c in (low, top))
    true = (
        2 * np.pi / 8.06225774829855 * np.sqrt(-s.prod() / a.prod()) * np.exp(5 * 1.031628453489877)
    )
    found = pk.kramers_time(pk.potentials.SixHumpCamel(), np.array(low["x"], float), (0, 0), 5.0)
    assert found == pytest.approx(true, rel=1e-8)


def test_kramers_against_the_passage_in_the_plane():
    """From one well of x⁴ - x² + 2 (y - x²/2)² to the other at β ΔV = 7.5: within 15 %."""

    V = pk.potentials.Custom(
        lambda x: x[..., 0] ** 4 - 2 * x[..., 0] ** 2 + 2 * (x[..., 1] - x[..., 0] ** 2 / 2) ** 2,
        dim=2,
    )
    beta, grid = 7.5, pk.Grid((-1.8, -1.0), (1.8, 1.6), (90, 64))
    far = ((0.8, -np.inf), (np.inf, np.inf))
    tau = pk.mean_first_passage_time(pk.FokkerPlanck(V, beta), grid, far).values
    k = tuple(int(np.argmin(np.abs(a - c))) for a, c in zip(grid.axes, (-1, 0.5), strict=True))
    kramers = pk.kramers_time(V, (-1.0, 0.5), (0.0, 0.0), beta)
    assert tau[k] / kramers == pytest.approx(1.07, abs=0.08)


FP = pk.FokkerPlanck(WELL, 4.0)
LINE = pk.Grid(-2, 2, 40)
MISTAKES = {
    "no cell": (lambda: pk.mean_first_passage_time(FP, LINE, (0.01, 0.02)), ValueError, "no cell"),
    "reversed": (lambda: pk.mean_first_passage_time(FP, LINE, (1, 0)), ValueError, "lower < upper"),
    "a number": (lambda: pk.mean_first_passage_time(FP, LINE, 1.0), TypeError, "pair"),
    "a string": (lambda: pk.mean_first_passage_time(FP, LINE, "ab"), TypeError, "pair"),
    "wrong shape": (
        lambda: pk.mean_first_passage_time(FP, LINE, np.ones(3, bool)), ValueError, r"\(40,\)"),
    "another equation": (
        lambda: pk.mean_first_passage_time(pk.Heat(1), LINE, (1, 2)), TypeError, "FokkerPlanck"),
    "meeting sets": (
        lambda: pk.committor(FP, LINE, (0, 1), (0.5, 2)), ValueError, "in common"),
    "out of reach": (
        lambda: pk.mean_first_passage_time(pk.FokkerPlanck(WELL, 1e6), LINE, (1, 2)), ValueError,
        "cannot be reached"),
    "too slow for floats": (
        lambda: pk.mean_first_passage_time(pk.FokkerPlanck(WELL, 2900.0), pk.Grid(-2, 2, 1000),
                                           (1, 2)), pk.ConvergenceError, "1e300"),
    "no minimum": (lambda: pk.kramers_time(WELL, 0.0, 0.0, 8), ValueError, "not a minimum"),
    "no saddle": (lambda: pk.kramers_time(WELL, 1.0, -1.0, 8), ValueError, "not a saddle"),
    "not "
    "critical": (lambda: pk.kramers_time(WELL, 0.8, 0.0, 8), ValueError, "not a critical point"),
    "no "
    "barrier": (lambda: pk.kramers_time(WELL, 1.0, 0.0, 2), ValueError, "above 1: increase beta"),
}  # fmt: skip


test_mistakes = named(MISTAKES)


@pytest.mark.parametrize("force", [-8.0, -1.0, 0.0, 1.0, 8.0])
@pytest.mark.parametrize("place", [0.701, 0.74, 0.775])
def test_times_at_the_edge_of_a_target_are_those_of_a_constant_drift(force, place):
    """Between the last two cells τ solves τ'' / β + f τ' = -1, whatever the layer or the wind."""
    beta, grid = 10.0, pk.Grid(0, 1, 20)
    equation = pk.FokkerPlanck(lambda x: 0 * x[..., 0], beta, force=lambda x: force + 0 * x)
    tau = pk.mean_first_passage_time(equation, grid, (place, np.inf)).values
    inside = grid.axes[0] < place
    x, tau = grid.axes[0][inside][-2:], tau[inside][-2:]
    edge = place

    def along(y):
        ramp = (edge - y) / force if force else beta * (edge**2 - y**2) / 2
        fall = np.exp(-beta * force * y) - np.exp(-beta * force * edge) if force else edge - y
        return ramp, fall

    (ramp, fall), (ramp1, fall1) = along(x[0]), along(x[1])
    share = (tau[0] - ramp) / fall
    assert tau[1] == pytest.approx(ramp1 + share * fall1, rel=1e-9)


CIRCLE = pk.Grid(0, 1, 400, periodic=True)
FREE = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 3.0)


@pytest.mark.parametrize("target", [(0.9, 1.1), (-0.1, 0.1), (1.9, 2.1), (0.4, 0.6)])
def test_a_target_may_lie_across_the_seam_of_a_circle(target):
    """beta (1 - w)² / 8 at the far side of an arc of length w, wherever it lies."""
    time = pk.mean_first_passage_time(FREE, CIRCLE, target)
    assert float(time.max()) == pytest.approx(3 * 0.8**2 / 8, rel=5e-5)
    plane = pk.Grid((0, 0), (1, 1), (60, 20), periodic=(True, False))
    corners = ((target[0], -np.inf), (target[1], np.inf))
    there = pk.mean_first_passage_time(pk.FokkerPlanck(FREE.potential, 3.0), plane, corners)
    assert float(there.max()) == pytest.approx(3 * 0.8**2 / 8, rel=1e-3)


def test_sets_that_end_at_the_seam_and_committors_across_it():
    half = pk.mean_first_passage_time(FREE, CIRCLE, (0.5, np.inf))
    assert float(half.max()) == pytest.approx(3 * 0.5**2 / 8, rel=5e-5)
    q = pk.committor(FREE, CIRCLE, (0.9, 1.1), (0.4, 0.6))
    assert float(q.interp(x=0.25)) == pytest.approx(0.5, abs=1e-12)
    assert float(q.interp(x=0.7)) == pytest.approx(2 / 3, abs=1e-9)
