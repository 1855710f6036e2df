"""Semiconcavity: exact solutions keep the bound, planted faults break it; convexity spreads."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import pdekit as pk
from pdekit.comparison.semiconcavity import convex_intervals, is_convex, semiconcavity
from pdekit.grid import Grid

# semiconc.rip.t*.b* of the reference values: (t, beta) -> sup u_xx, bound 1 / (1/9.2 + t)
RIPPLED = {
    (0.01, 1): (8.117515706322786, 8.424908424908425),
    (0.1, 1): (4.099175170994883, 4.791666666666666),
    (0.5, 1): (0.953236836369985, 1.6428571428571428),
    (0.5, 10): (1.630481118458627, 1.6428571428571428),
    (0.01, 100): (8.421781026949281, 8.424908424908425),
    (0.5, 100): (1.641696086112685, 1.6428571428571428),
}
LINE = Grid(-4.71, 4.71, 2001)


def rippled(x):
    return x**2 / 10 + np.cos(3 * x)


def local_entropy(x, t, beta, f=rippled):
    """Cole-Hopf by quadrature: ``-log(E exp(-beta f(x + sqrt(t/beta) Z))) / beta``, Z normal."""
    std = np.sqrt(t / beta)
    # the minimiser lies up to t |f'| < 4 t away, many standard deviations where beta is large
    s = np.arange(-12 * std - 4 * t, 12 * std + 4 * t, std / 16)
    log_weight = -0.5 * (s / std) ** 2 + np.log((s[1] - s[0]) / (std * np.sqrt(2 * np.pi)))
    return -special.logsumexp(-beta * f(x[:, None] + s) + log_weight, axis=1) / beta


def solution(grid, fields, times):
    coords = {"time": list(times), **dict(zip(grid.names, grid.axes, strict=True))}
    u = xr.DataArray(np.stack(fields), coords, ("time", *grid.names))
    return SimpleNamespace(u=u, grid=grid)


def quadratic(grid, matrix):
    return 0.5 * np.einsum("...i,ij,...j", grid.centres, matrix, grid.centres)


def on_line(*fields, times):
    return solution(LINE, fields, times)


@pytest.mark.parametrize(("t", "beta"), RIPPLED)
def test_exact_local_entropy_keeps_the_bound(t, beta):
    sup, bound = RIPPLED[t, beta]
    u = on_line(local_entropy(LINE.axes[0], t, beta), times=[t])
    result = semiconcavity(u, constants=9.2)
    at = result.data.isel(time=0)
    assert at["sup_xx"] == pytest.approx(sup, abs=1e-3)
    assert at["bound_xx"] == pytest.approx(bound, rel=1e-14)
    assert at["margin_xx"] == pytest.approx(bound - sup, abs=1e-3)
    assert at["allowance_xx"] < 0.01
    assert result.holds
    assert at["sup_minima"] <= at["bound_minima"]


@pytest.mark.parametrize("source", ["time 0", "potential", "array"])
def test_the_constant_is_measured_from_the_initial_data(source):
    x = LINE.axes[0]
    fields, times = [local_entropy(x, 0.1, 1)], [0.1]
    initial = {"time 0": None, "potential": lambda z: rippled(z[..., 0]), "array": rippled(x)}
    if source == "time 0":
        fields, times = [rippled(x), *fields], [0.0, *times]
    result = semiconcavity(on_line(*fields, times=times), initial[source])
    assert result.constants["xx"] == pytest.approx(9.2, abs=1e-3)
    assert result.data["bound_xx"].values[-1] == pytest.approx(RIPPLED[0.1, 1][1], abs=1e-3)
    assert result.holds


def faults():
    x = LINE.axes[0]
    right = local_entropy(x, 0.1, 100)
    return {
        "no smoothing at all": (rippled(x), {}),
        "half the time": (local_entropy(x, 0.05, 100), {}),
        "8 % too steep": (1.08 * right, {}),
        "a bound from too small a constant": (right, {"constants": 8.0}),
        "a convex kink": (right + 0.1 * np.abs(x - 0.3), {}),
        "kink seen by a wide step": (right + 0.1 * np.abs(x - 0.3), {"step": 4}),
    }


@pytest.mark.parametrize("name", faults())
def test_planted_faults_break_the_bound(name):
    field, options = faults()[name]
    initial = None if "constants" in options else rippled(LINE.axes[0])
    result = semiconcavity(on_line(field, times=[0.1]), initial, **options)
    assert not result.holds
    assert not result.data["holds_xx"].item()
    assert "FAILS" in str(result)


def test_heat_decays_too_slowly_for_the_bound():
    """v = x^2/10 + e^(-9t/(2 beta)) cos 3x (+ const): at beta = 100 heat barely moves."""
    x = LINE.axes[0]
    v = x**2 / 10 + np.exp(-4.5 * 0.1 / 100) * np.cos(3 * x)
    assert not semiconcavity(on_line(v, times=[0.1]), rippled(x)).holds


@given(
    matrix=st.tuples(st.floats(0.2, 4), st.floats(0.2, 4), st.floats(-0.95, 0.95)),
    t=st.floats(0.01, 2),
)
@settings.get_profile("often")
def test_quadratics_in_the_plane(matrix, t):
    """Hess u = (A^-1 + t)^-1: every bound holds, with equality for a multiple of the identity."""
    a, b, r = matrix
    hessian = np.array([[a, r * np.sqrt(a * b)], [r * np.sqrt(a * b), b]])
    later = np.linalg.inv(np.linalg.inv(hessian) + t * np.eye(2))
    grid = Grid((-1, -1), (1, 1.2), (20, 24))
    fields = [
        0.5 * np.einsum("...i,ij,...j", grid.centres, q, grid.centres) for q in (hessian, later)
    ]
    result = semiconcavity(solution(grid, fields, [0.0, t]))
    at = result.data.isel(time=1)
    assert at["sup_xx"] == pytest.approx(later[0, 0], rel=1e-6)
    assert at["sup_yy"] == pytest.approx(later[1, 1], rel=1e-6)
    assert at["bound_yy"] == pytest.approx(1 / (1 / b + t), rel=1e-6)
    assert at["bound_laplacian"] == pytest.approx(1 / (1 / (a + b) + t / 2), rel=1e-6)
    largest = np.linalg.eigvalsh(hessian)[-1]
    assert at["sup_any"] == pytest.approx(1 / (1 / largest + t), rel=1e-6)
    assert at["bound_any"] == pytest.approx(at["sup_any"].item(), rel=1e-6)
    assert result.holds


def test_a_fault_along_no_axis_is_seen_in_the_plane():
    """x y has no curvature along either axis; the diagonal's is 1."""
    grid = Grid((-1, -1), (1, 1), (40, 40))
    right = quadratic(grid, np.eye(2))
    later = quadratic(grid, np.eye(2) / 1.5)
    x, y = np.moveaxis(grid.centres, -1, 0)
    assert semiconcavity(solution(grid, [right, later], [0.0, 0.5])).holds
    result = semiconcavity(solution(grid, [right, later + 0.1 * x * y], [0.0, 0.5]))
    assert result.data["holds_xx"].all() and result.data["holds_laplacian"].all()
    assert not result.data["holds_any"].values[1] and not result.holds


def test_harmonic_mean_at_a_minimum():
    """HM of eigenvalues, not of the diagonal (1.1 against 1.5); bound ``1 / (t + 1/HM(C))``."""
    q = np.array([[2.0, 0.8], [0.8, 1.2]])
    grid = Grid((-1, -1), (1, 1), (41, 41))
    field = quadratic(grid, q)
    at = semiconcavity(solution(grid, [field], [0.5]), constants=[4, 2]).data.isel(time=0)
    assert at["sup_minima"] == pytest.approx(2 / np.trace(np.linalg.inv(q)), rel=1e-9)
    assert at["bound_minima"] == pytest.approx(1 / (0.5 + (1 / 4 + 1 / 2) / 2))


@pytest.mark.parametrize("offset", [0.0, 0.0011, 0.00235])
def test_a_convex_kink_counts_as_infinite_and_the_bound_is_one_over_t(offset):
    f = np.abs(LINE.axes[0] - offset)
    t = 0.5  # Hopf-Lax of |x|: Huber's function
    u = np.where(f < t, f**2 / (2 * t), f - t / 2)
    result = semiconcavity(on_line(f, u, times=[0.0, t]))
    assert result.constants["xx"] == np.inf
    assert result.data["bound_xx"].values[1] == pytest.approx(1 / t)
    assert result.holds


def test_concave_data_have_no_bound():
    x = LINE.axes[0]
    with pytest.raises(ValueError, match="positive constant"):
        semiconcavity(on_line(-(x**2), times=[0.1]), constants=-2.0)
    grid = Grid((-1, -1), (1, 1), (20, 20))
    saddle = grid.centres[..., 0] ** 2 - 0.2 * grid.centres[..., 1] ** 2
    result = semiconcavity(solution(grid, [saddle], [0.0]))
    assert result.not_applicable == ("yy",)
    assert np.isnan(result.data["bound_yy"].item())
    assert "yy: C = -0.4 <= 0, no bound" in str(result)


def test_walls_are_left_out_unless_the_axis_is_periodic():
    x = LINE.axes[0]
    spoiled = local_entropy(x, 0.1, 1)
    spoiled[[0, -1]] += 1e-3  # a solver's wall
    assert semiconcavity(on_line(spoiled, times=[0.1]), constants=9.2).holds
    ring = Grid(0, 2 * np.pi, 400, periodic=True)
    u = np.cos(ring.axes[0] - ring.axes[0][0] + np.pi)  # steepest curvature at the seam: 1
    at = semiconcavity(solution(ring, [u], [0.1]), constants=2.0).data
    assert at["sup_xx"].item() == pytest.approx(1, abs=1e-3)


def test_a_window_looks_only_inside():
    x = LINE.axes[0]
    bent = np.where(np.abs(x) < 1, 0.5 * x**2, 5 * (np.abs(x) - 1) ** 2 + np.abs(x) - 0.5)
    result = semiconcavity(on_line(bent, times=[0.5]), constants=2.0, window=(-0.9, 0.9))
    assert result.holds
    assert not semiconcavity(on_line(bent, times=[0.5]), constants=2.0).holds


# --- convexity -----------------------------------------------------------------------------------


def test_convex_intervals_of_a_cosine():
    x = LINE.axes[0]
    found = convex_intervals(xr.DataArray(np.cos(x), {"x": x}, ("x",)))
    np.testing.assert_allclose(found.intervals[0, 1], -np.pi / 2, atol=LINE.spacing[0])
    np.testing.assert_allclose(found.intervals[1, 0], np.pi / 2, atol=LINE.spacing[0])
    assert found.number == 2
    assert found.length == pytest.approx(2 * (4.71 - np.pi / 2), abs=6 * LINE.spacing[0])


def test_convex_intervals_widen_and_the_end_is_convex():
    x = LINE.axes[0]
    u = [xr.DataArray(local_entropy(x, t, 1), {"x": x}, ("x",)) for t in (0.01, 0.1, 0.5, 2.0)]
    lengths = [convex_intervals(v).length for v in u]
    assert np.all(np.diff(lengths) > 0)
    assert [is_convex(v) for v in u] == [False, False, False, True]
    assert convex_intervals(u[-1]).number == 1


def test_convexity_in_the_plane_looks_at_mixed_derivatives():
    grid = Grid((-1, -1), (1, 1), (20, 20))
    x, y = np.moveaxis(grid.centres, -1, 0)
    coords = dict(zip(grid.names, grid.axes, strict=True))
    plane = {r: xr.DataArray(x**2 + y**2 + r * x * y, coords, ("x", "y")) for r in (1.9, 2.1)}
    assert is_convex(plane[1.9])
    assert not is_convex(plane[2.1])
    assert is_convex(plane[2.1], tol=0.2)


def test_linear_fields_are_convex_whatever_rounding_says():
    x = LINE.axes[0]
    for slope in (0.0, 1 / 3, -1e6):
        assert is_convex(xr.DataArray(1e3 + slope * x, {"x": x}, ("x",)))


# --- bad input -----------------------------------------------------------------------------------

FLAT = np.zeros(LINE.shape)
BAD = {
    "no time 0": (
        on_line(FLAT, times=[0.1]),
        {},
        "does not contain time 0 (its first time is 0.1)",
    ),
    "shape": (
        on_line(FLAT, times=[0.1]),
        {"initial": FLAT[1:]},
        "shape (2001,), got shape (2000,)",
    ),
    "window": (on_line(FLAT, times=[0.1]), {"constants": 1, "window": (7, 8)}, "no cell is left"),
    "step": (
        on_line(FLAT, times=[0.1]),
        {"constants": 1, "step": 0},
        "step must be a whole number",
    ),
    "constants": (on_line(FLAT, times=[0.1]), {"constants": [1, 2]}, "one number per axis"),
    "nan": (on_line(FLAT + np.nan, times=[0.1]), {"constants": 1}, "not finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    u, options, message = BAD[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        semiconcavity(u, **options)


def test_other_objects_are_named():
    with pytest.raises(TypeError, match="expected a solution"):
        semiconcavity(json)
    with pytest.raises(ValueError, match="take one time"):
        is_convex(on_line(FLAT, times=[0.1]).u)
    with pytest.raises(ValueError, match="field on a line"):
        grid = Grid((-1, -1), (1, 1), (20, 20))
        coords = dict(zip(grid.names, grid.axes, strict=True))
        convex_intervals(xr.DataArray(np.zeros(grid.shape), coords, ("x", "y")))


def test_data_that_fall_to_a_wall_are_bounded_by_time_alone():
    grid = Grid(-3, 3, 200)  # the slope of x^2/10 + cos 3x at 3 is -0.64
    solution = pk.solve(pk.HamiltonJacobi(), grid, pk.potentials.Rippled(), [0.0, 0.5])
    row = pk.certify(solution, pk.certificates.Semiconcave()).rows[0]
    assert row.passed and row.bound == 2.0 and abs(row.value - 2.0) < 1e-6
    window = pk.certificates.Semiconcave(window=(-2.0, 2.0))
    assert pk.certify(solution, window).rows[0].bound == pytest.approx(
        1 / (1 / 9.2 + 0.5), rel=0.01
    )
