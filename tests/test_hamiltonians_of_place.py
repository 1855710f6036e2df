"""Hamiltonians of place and time: fronts that turn, speed up, chase and are chased, and H(x, p, t).

Exact answers: what was carried along paths; the least (or greatest) of the data that is within
reach; circles as geodesics of a linear speed; Hopf and Lax' formula.
"""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import pdekit as pk
from pdekit import hamiltonians as h
from pdekit import schemes
from pdekit.pde.discrete import fluxes
from pdekit.pde.discrete.moving_fronts import NumericalHamiltonian, front_plain

SCHEMES = (schemes.Godunov(), schemes.Filtered())
SEEDS = st.integers(0, 2**32 - 1)


def solved(H, grid, f, t, scheme=None):
    return pk.solve(pk.HamiltonJacobi(H), grid, f, t, scheme).fields[-1]


def at(f, grid):
    """An array, as a kink between the centres is warned of."""
    return f(grid.centres)


def order(errors):
    return np.log2(errors[-2] / errors[-1])


# --- what is carried along: a rotation, one turn in a time of 1


ROTATION = h.Advection(lambda x: 2 * np.pi * np.stack([-x[..., 1], x[..., 0]], -1))


def turned(f, x, t):
    c, s = np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)
    return f(np.stack([c * x[..., 0] + s * x[..., 1], c * x[..., 1] - s * x[..., 0]], -1))


def bump(x):
    return np.exp(-8 * ((x[..., 0] - 0.3) ** 2 + x[..., 1] ** 2))


def cone(x):
    return np.minimum(np.hypot(x[..., 0] - 0.35, x[..., 1]) - 0.2, 0.3)


def rotation_errors(f, scheme, norm):
    errors = []
    for cells in (50, 100):
        grid = pk.Grid((-1, -1), (1, 1), cells)
        inside = np.hypot(*np.moveaxis(grid.centres, -1, 0)) < 0.9
        off = np.abs(
            solved(ROTATION, grid, at(f, grid), 0.25, scheme) - turned(f, grid.centres, 0.25)
        )
        errors.append(norm(off[inside]))
    return errors


@pytest.mark.parametrize(
    "f, scheme, norm, least, most",
    [
        (bump, schemes.Godunov(), np.max, 0.85, 0.095),
        (bump, schemes.Filtered(), np.max, 1.85, 0.0075),
        (cone, schemes.Godunov(), np.mean, 0.7, 0.007),
        (cone, schemes.Filtered(), np.mean, 1.2, 0.0016),
    ],
)
def test_a_rotating_front(f, scheme, norm, least, most):
    """Order and constant: a smooth one and, in the mean, one with a kink."""
    errors = rotation_errors(f, scheme, norm)
    assert order(errors) > least
    assert errors[-1] < most


# --- what is within reach: c|p| with a linear speed, whose geodesics are circles


G, FOCUS = np.array([0.6, 0.3]), np.array([-0.2, 0.1])


def linear_speed(x):
    return 1 + x @ G


def travel_time(x):
    """Between x and the focus: arcosh(1 + |g|² |x - y|² / (2 c(x) c(y))) / |g|."""
    away = ((x - FOCUS) ** 2).sum(-1)
    return np.arccosh(1 + G @ G * away / (2 * linear_speed(x) * linear_speed(FOCUS))) / np.sqrt(
        G @ G
    )


@pytest.mark.parametrize(
    "scheme, least, most", [(SCHEMES[0], 0.85, 0.006), (SCHEMES[1], 1.7, 4e-4)]
)
def test_arrivals_at_a_linear_speed(scheme, least, most):
    """From the square of the travel time, tau²: max(tau - t, 0)²; away from the walls."""
    errors = []
    for cells in (40, 80):
        grid = pk.Grid((-1, -1), (1, 1), cells)
        inside = (np.abs(grid.centres) < 0.6).all(-1)
        tau = travel_time(grid.centres)
        off = (
            solved(h.Eikonal(linear_speed), grid, tau**2, 0.3, scheme)
            - np.maximum(tau - 0.3, 0) ** 2
        )
        errors.append(np.abs(off[inside]).mean())
    assert order(errors) > least
    assert errors[-1] < most


def test_a_front_arrives_when_its_level_is_crossed():
    """The level 0 of the distance to a disc of radius .2, at speed 1: times |x| - .2."""
    grid = pk.Grid((-1, -1), (1, 1), 80)
    t = np.linspace(0, 0.6, 25)[1:]
    radius = np.hypot(*np.moveaxis(grid.centres, -1, 0))
    H = h.Eikonal(lambda x: 1 + 0 * x[..., 0])
    u = pk.solve(pk.HamiltonJacobi(H), grid, radius - 0.2, t).fields
    inside = (u[-1] < 0) & (radius > 0.25)
    last = (u > 0).sum(0)[inside]  # times before the crossing
    before, after = np.concatenate([(radius - 0.2)[None], u])[:, inside], u[:, inside]
    here = np.arange(last.size)
    a, b = before[last, here], after[last, here]
    arrival = np.append(0, t)[last] + a / (a - b) * t[0]
    np.testing.assert_allclose(arrival, radius[inside] - 0.2, atol=0.002)


@pytest.mark.parametrize(
    "scheme, least, most", [(SCHEMES[0], 0.9, 0.016), (SCHEMES[1], 1.75, 7e-4)]
)
def test_a_target_that_moves_on_a_circle(scheme, least, most):
    """u_t = -cos(3t) u_x - .3 t |u_x|: the least within .15 t² of the point carried back."""
    H = h.Advection(pk.InTime(lambda x, t: np.cos(3 * t) + 0 * x))
    H = H + h.Eikonal(pk.InTime(lambda x, t: 0.3 * t + 0 * x[..., 0]))
    errors = []
    for cells in (100, 200):
        grid, t = pk.Grid(-1, 1, cells, periodic=True), 1.0
        y = grid.axes[0][:, None] - np.sin(3 * t) / 3 + np.linspace(-0.15, 0.15, 2001) * t**2
        u = solved(H, grid, lambda x: np.cos(np.pi * x[..., 0]), t, scheme)
        errors.append(np.abs(u - np.cos(np.pi * y).min(1)).mean())
    assert order(errors) > least
    assert errors[-1] < most


# --- games whose value is known


def test_pursuit_in_the_plane():
    """A pursuer of speed 1 after an evader of speed .4, in their difference: .6 |p|."""
    grid = pk.Grid((-1, -1), (1, 1), 60)
    speeds = h.Eikonal(lambda x: 1 + 0 * x[..., 0]) + h.Eikonal(lambda x: -0.4 + 0 * x[..., 0])
    size = np.hypot(*np.moveaxis(grid.centres, -1, 0))
    inside = size < 0.9
    u = solved(speeds, grid, size**2, 0.5)
    assert np.abs(u - np.maximum(size - 0.3, 0) ** 2)[inside].max() < 3e-3
    away = h.Eikonal(lambda x: 0.4 + 0 * x[..., 0]) + h.Eikonal(lambda x: -1.0 + 0 * x[..., 0])
    inside = size < 0.5
    u = solved(away, grid, size**2, 0.5)
    assert np.abs(u - (size + 0.3) ** 2)[inside].max() < 6e-3


def test_pursuit_along_one_axis_and_flight_along_the_other():
    """H = .8 |p_1| - .5 |p_2|, neither convex nor concave: each axis for itself."""

    def data(x):
        return np.cos(np.pi * x[..., 0]) + np.sin(np.pi * x[..., 1]) / 2

    H = h.StateDependent(
        lambda x, p: 0.8 * np.abs(p[..., 0]) - 0.5 * np.abs(p[..., 1]), speeds=(0.8, 0.5), dim=2
    )
    errors = []
    for cells in (32, 64):
        grid, t = pk.Grid((-1, -1), (1, 1), cells, periodic=True), 0.3
        x, y = grid.axes
        y = y + 0.0
        reach = np.linspace(-1, 1, 801)
        first = np.cos(np.pi * (x[:, None] + 0.8 * t * reach)).min(1)
        second = np.sin(np.pi * (y[:, None] + 0.5 * t * reach)).max(1) / 2
        u = solved(H, grid, data, t)
        errors.append(np.abs(u - first[:, None] - second).mean())
    assert errors[-1] < 3e-3
    assert order(errors) > 1.5


@pytest.mark.parametrize("scheme, most", [(SCHEMES[0], 0.02), (SCHEMES[1], 3e-3)])
def test_a_disturbance_and_a_current_on_a_line(scheme, most):
    """b(x, t) p + c(x, t)|p|: the least of the data between the two extreme paths, by an ODE."""

    def b(x, t):
        return 0.4 * np.sin(3 * x + t)

    def c(x, t):
        return 0.3 + 0.2 * np.cos(2 * x - t)

    def f(x):
        return np.cos(np.pi * x) + 0.3 * x

    grid, t = pk.Grid(-2, 2, 200), 0.8
    H = h.Advection(pk.InTime(b)) + h.Eikonal(pk.InTime(lambda x, s: c(x[..., 0], s)))
    some = np.arange(50, 150, 9)
    u = solved(H, grid, lambda x: f(x[..., 0]), t, scheme)
    for cell in some:
        ends = [
            solve_ivp(lambda s, y, k=k: -b(y, t - s) + k * c(y, t - s), (0, t),
                      [grid.axes[0][cell]], rtol=1e-9).y[0, -1]
            for k in (-1, 1)
        ]  # fmt: skip
        assert abs(u[cell] - f(np.linspace(*ends, 4001)).min()) < most


def test_a_speed_that_changes_its_sign_keeps_what_is_between():
    """c = x: least within reach where c > 0, greatest where c < 0, and reach is x exp(±t)."""
    grid, t = pk.Grid(-2, 2, 400), 0.4
    x = grid.axes[0]
    y = x[:, None] * np.exp(np.linspace(-t, t, 1001))
    values = np.cos(3 * y + 0.5)
    exact = np.where(x > 0, values.min(1), values.max(1))
    inner = (np.abs(x) < 1.3) & (np.abs(x) > 0.05)
    u = solved(h.Eikonal(lambda x: x[..., 0]), grid, lambda x: np.cos(3 * x[..., 0] + 0.5), t)
    assert np.abs(u - exact)[inner].max() < 5e-3


def test_a_jump_of_the_speed_delays_a_front():
    """Speed 1 left of .1 and 1/4 right of it: tau = 4 (x - .1) + .1 + ... to first order."""
    errors = []
    for cells in (100, 400):
        grid = pk.Grid(-1, 1, cells)
        x = grid.axes[0]
        speed = h.Eikonal(lambda y: np.where(y[..., 0] > 0.1, 0.25, 1.0))
        tau = np.where(x > 0.1, 1.1 + 4 * (x - 0.1), x + 1)  # from the lower wall
        u = solved(speed, grid, tau, 0.5)
        errors.append(np.abs(u - np.maximum(tau - 0.5, 0)).max())
    assert errors[-1] < 0.4 * errors[0] and errors[-1] < 0.02


# --- H(x, p, t)


@pytest.mark.parametrize("speeds", [None, 2.05])
@pytest.mark.parametrize("scheme, least, most", [(SCHEMES[0], 0.85, 0.03), (SCHEMES[1], 1.6, 4e-4)])
def test_a_square_as_anyones_hamiltonian(speeds, scheme, least, most):
    """As Hopf and Lax have it."""
    H = h.StateDependent(lambda x, p: (p**2).sum(-1) / 2, lambda x, p: p, speeds)

    def f(x):
        return np.cos(2 * x[..., 0])

    errors = []
    for cells in (100, 200):
        grid = pk.Grid(-2, 2, cells)
        off = solved(H, grid, f, 0.8, scheme) - solved(None, grid, f, 0.8)
        errors.append(np.abs(off).mean())
    assert order(errors) > least
    assert errors[-1] < most


def test_a_running_cost_and_a_flat_start():
    """H = p²/2 - x²/2 from 0: u = tanh(t) x² / 2, though at rest nothing limits the step."""
    H = h.StateDependent(lambda x, p: (p**2 - x**2).sum(-1) / 2)
    grid = pk.Grid(-2, 2, 200)
    x = grid.axes[0]
    u = solved(H, grid, np.zeros(200), 1.0)
    inner = np.abs(x) < 1
    assert np.abs(u - np.tanh(1.0) * x**2 / 2)[inner].max() < 2e-3
    assert u.max() <= 2.0 and u.min() >= -1e-12  # t max x²/2


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_time_alone(t):
    """H = cos(4t): u = f - sin(4t)/4, whatever the slopes, above the data and below."""
    H = h.StateDependent(lambda x, p, t: np.cos(4 * t) + 0 * p[..., 0])
    grid = pk.Grid(-1, 1, 100)
    f = np.sin(grid.axes[0])
    assert np.abs(solved(H, grid, f, t) - f + np.sin(4 * t) / 4).max() < 1e-4


@pytest.mark.parametrize("width", [4e-3, 2e-2])
def test_a_pulse_of_velocity_between_the_steps_is_seen_in_advance(width):
    """The steps at rest are as long as they like; a top hat of its area moves all by 0.4."""

    def velocity(x, t):
        return 0.4 / width * (abs(t - 0.503) < width / 2) + 0 * x

    ring = pk.Grid(-1, 1, 100, periodic=True)
    u = solved(h.Advection(pk.InTime(velocity)), ring, lambda x: np.sin(np.pi * x[..., 0]), 1.0)
    assert np.abs(u - np.sin(np.pi * (ring.axes[0] - 0.4))).max() < 0.02


@pytest.mark.parametrize("width", [2e-3, 5e-4])
def test_a_pulse_of_speed_is_followed_by_shorter_steps(width):
    """Shorter than the steps at rest, which are .003; its area counts."""

    def speed(x, t):
        return 0.2 / width * np.exp(-(((t - 0.1503) / width) ** 2)) + 0 * x[..., 0]

    grid, reach = pk.Grid(-1, 1, 100), 0.2 * np.sqrt(np.pi)
    u = solved(h.Eikonal(pk.InTime(speed)), grid, wavy, 0.3)
    y = np.clip(grid.axes[0][:, None] + np.linspace(-reach, reach, 2001), -1, 1)
    assert np.abs(u - np.cos(np.pi * y).min(1)).mean() < 0.02


def test_sums_add_and_are_called():
    x, p = np.array([[1.0, 2.0]]), np.array([[3.0, -4.0]])
    H = h.Advection((1.0, 0.5)) + h.Eikonal(lambda x: x[..., 0]) + h.Power(2.0)
    assert H(p, x) == pytest.approx(1.0 + 5.0 + 12.5)
    np.testing.assert_allclose(H.grad(p, x), [[1 + 0.6 + 3, 0.5 - 0.8 - 4]])
    assert len(H.parts) == 3 and len(H.others) == 1
    assert not H.depends_on_time and (H + h.Eikonal(pk.InTime(lambda x, t: t))).depends_on_time


# --- properties of the schemes, over random coefficients and data


def random_front(seed, dim, moving):
    """b·p + c|p| of any sign, by waves."""
    rng = np.random.default_rng(seed)
    k, phase, size = rng.normal(size=(3, dim)) * 2, rng.uniform(0, 6, 3), rng.uniform(-1, 1, 3)

    def wave(x, t, j):
        return size[j] * np.cos(np.asarray(x) @ k[j] + phase[j] + moving * 3 * t)

    b = pk.InTime(lambda x, t: np.stack([wave(x, t, j) for j in range(dim)], -1))
    c = pk.InTime(lambda x, t: wave(x, t, 2))
    return h.Advection(b) + h.Eikonal(c) if moving else h.Advection(b.at(0)) + h.Eikonal(c.at(0))


def random_grid(dim, periodic):
    return pk.Grid((-1.0,) * dim, (1.0, 2.0)[:dim], (19, 13)[:dim], periodic[:dim])


WALLS, DIMS = st.tuples(st.booleans(), st.booleans()), st.integers(1, 2)


@settings(max_examples=60)
@given(seed=SEEDS, dim=DIMS, walls=WALLS, moving=st.booleans(), lax=st.booleans())
def test_the_monotone_scheme_compares_exactly(seed, dim, walls, moving, lax):
    """u <= v stays; constants are kept; the range never grows; u + 1 stays u + 1."""
    grid, rng = random_grid(dim, walls), np.random.default_rng(seed)
    scheme = schemes.Godunov(flux=fluxes.lax_friedrichs if lax else fluxes.godunov)
    H, f = random_front(seed, dim, moving), rng.normal(size=grid.shape)
    above = f + np.where(rng.random(grid.shape) < 0.5, 0.0, rng.exponential(size=grid.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        u, v, shifted = (solved(H, grid, data, 0.7, scheme) for data in (f, above, f + 1))
        flat = solved(H, grid, np.ones(grid.shape), 0.7, scheme)
    assert (u <= v + 1e-13).all()
    assert f.min() - 1e-13 <= u.min() and u.max() <= f.max() + 1e-13
    np.testing.assert_allclose(shifted, u + 1, atol=1e-12)
    np.testing.assert_array_equal(flat, 1.0)


@settings(max_examples=40)
@given(seed=SEEDS, lax=st.booleans())
def test_a_bound_of_the_speeds_makes_anyones_hamiltonian_compare(seed, lax):
    rng = np.random.default_rng(seed)
    a, phase = rng.uniform(0.2, 2, 2), rng.uniform(0, 6)
    H = h.StateDependent(
        lambda x, p: np.sin(a[0] * p[..., 0]) * np.cos(x[..., 0] + phase), speeds=a[0]
    )
    grid = pk.Grid(-1, 1, 31, periodic=bool(lax))
    f = rng.normal(size=31) / 5
    above = f + rng.exponential(size=31) * (rng.random(31) < 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        u, v = (solved(H, grid, data, 0.3, SCHEMES[0]) for data in (f, above))
    assert (u <= v + 1e-13).all()


@settings(max_examples=60)
@given(seed=SEEDS, dim=DIMS, walls=WALLS)
def test_the_filtered_scheme_stays_within_the_range_of_its_data(seed, dim, walls):
    grid, rng = random_grid(dim, walls), np.random.default_rng(seed)
    f = rng.normal(size=grid.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        u = solved(random_front(seed, dim, False), grid, f, 0.7)
    assert f.min() <= u.min() and u.max() <= f.max()


@settings(max_examples=60)
@given(seed=SEEDS, dim=DIMS, walls=WALLS)
def test_found_dissipations_are_bounds(seed, dim, walls):
    """Of |∂H/∂p_k| at all slopes between those on both sides."""
    rng, grid = np.random.default_rng(seed), random_grid(dim, walls)
    a, b = rng.uniform(0.2, 2, 2)

    def function(x, p):
        return np.sin(a * p.sum(-1)) * np.cos(x[..., 0]) + b * p[..., 0] ** 2 / 9

    numerical = NumericalHamiltonian(h.StateDependent(function, dim=dim), grid, fluxes.godunov)
    minus, plus = fluxes.slopes(u := rng.normal(size=grid.shape) / 3, grid)
    ((drag,), (part,)) = numerical.monotone(u, 0.0)[2], numerical.others
    below, above = np.stack(minus, -1), np.stack(plus, -1)
    for _ in range(40):
        p = below + rng.random(below.shape) * (above - below)
        assert (np.abs(part.grad(p, grid.centres)) <= 1.02 * drag + 0.05 * drag.max()).all()


@settings(max_examples=40)
@given(seed=SEEDS, shift=st.integers(0, 18), scheme=st.sampled_from(SCHEMES))
def test_a_ring_turned_by_some_cells(seed, shift, scheme):
    grid, rng = pk.Grid(0, 19, 19, periodic=True), np.random.default_rng(seed)
    f, b, c = rng.normal(size=(3, 19))

    def run(cells):
        tables = [np.roll(values, cells) for values in (b, c)]
        speeds = [
            lambda x, v=v: v[np.floor(np.asarray(x)[..., 0]).astype(int) % 19] for v in tables
        ]
        H = h.Advection(lambda x: speeds[0](x)[..., None]) + h.Eikonal(speeds[1])
        return solved(H, grid, np.roll(f, cells), 3.0, scheme)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        np.testing.assert_allclose(run(shift), np.roll(run(0), shift), atol=1e-12)


@settings(max_examples=60)
@given(seed=SEEDS, dim=DIMS, walls=WALLS, second=st.booleans(), parts=st.integers(0, 2))
def test_the_kernel_equals_its_plain_form(seed, dim, walls, second, parts):
    grid, u = random_grid(dim, walls), np.random.default_rng(seed).normal(size=(19, 13)[:dim])
    both = random_front(seed, dim, False)
    H = (both, both.parts[0], both.parts[1])[parts]
    numerical = NumericalHamiltonian(H, grid, fluxes.godunov)
    side, stage = fluxes.one_sided_eno if second else fluxes.one_sided, numerical.stage(0.0)
    plain = front_plain(*fluxes.slopes(u, grid, side), stage, fluxes.godunov)
    np.testing.assert_allclose(numerical._front(u, stage, side), plain, atol=1e-12)


# --- what is said


LINE = pk.Grid(-1, 1, 100)


def wavy(x):
    return np.cos(np.pi * x[..., 0])


@pytest.mark.parametrize("cells", [1.0, 0.5, 1.3, 3.0])
def test_a_speed_that_the_cells_do_not_show_is_warned_of(cells):
    H = h.Eikonal(lambda x: 1 + 0.5 * np.sin(2 * np.pi * x[..., 0] / (0.02 * cells)))
    with pytest.warns(pk.ResolutionWarning, match="do not show what the speed does"):
        solved(H, LINE, wavy, 0.1)


def test_a_velocity_and_a_hamiltonian_that_the_cells_do_not_show_are_too():
    plane = pk.Grid((-1, -1), (1, 1), 40)
    stripes = h.Advection(lambda x: np.stack([np.sin(40 * np.pi * x[..., 1]), 0 * x[..., 0]], -1))
    with pytest.warns(pk.ResolutionWarning, match="the velocity does"):
        solved(stripes, plane, np.zeros(plane.shape), 0.1)
    mine = h.StateDependent(lambda x, p: np.sin(80 * np.pi * x[..., 0]) * p[..., 0])
    with pytest.warns(pk.ResolutionWarning, match="the Hamiltonian does"):
        solved(mine, LINE, wavy, 0.1)


@pytest.mark.parametrize(
    "speed", [lambda x: 1 + 0 * x[..., 0], lambda x: np.where(x[..., 0] > 0.1, 1.0, 0.3),
              lambda x: np.abs(x[..., 0] - 0.123), lambda x: 1 + np.sin(20 * x[..., 0]) / 2]
)  # fmt: skip
def test_constants_jumps_kinks_and_waves_of_many_cells_are_not(speed):
    solved(h.Eikonal(speed), LINE, wavy, 0.1)


@pytest.mark.parametrize("cells, told", [(60, True), (240, False)])
def test_a_flow_that_compresses_waves_below_the_cells_is_warned_of(cells, told):
    """x' = -2 sin(πx) / π: the point x was at y, tan(πy/2) = e^2t tan(πx/2)."""
    grid = pk.Grid(-1, 1, cells)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        u = solved(
            h.Advection(lambda x: -2 * np.sin(np.pi * x) / np.pi),
            grid, lambda x: np.cos(3 * np.pi * x[..., 0]), 1.0,
        )  # fmt: skip
    y = 2 / np.pi * np.arctan(np.exp(2) * np.tan(np.pi * grid.axes[0] / 2))
    assert (np.abs(u - np.cos(3 * np.pi * y)).mean() > 0.02) == told
    assert any("too coarse for the function" in str(w.message) for w in said) == told


def test_a_change_within_the_steps_is_warned_of():
    fast = h.Eikonal(pk.InTime(lambda x, t: 1 + np.sin(3000 * t) + 0 * x[..., 0]))
    with pytest.warns(pk.ResolutionWarning, match="within them"):
        solved(fast, LINE, wavy, 0.3)


@pytest.mark.parametrize(
    "H, grid, message",
    [
        (h.Eikonal(lambda x: np.where(x[..., 0] > 0.5, np.inf, 1.0)), LINE, "must be finite"),
        (h.Eikonal(lambda x: np.concatenate([x, x], -1)), LINE, "must map points"),
        (h.Eikonal(lambda x: 1e9 + 0 * x[..., 0]), LINE, "coarser grid"),
        (h.Advection((1.0, 2.0)), LINE, "one an axis"),
        (h.Advection(lambda x: x[..., 0]), LINE, "vectors of the same shape"),
        (h.StateDependent(lambda x, p: (p**2).sum(-1) / np.abs(p[..., 0])), LINE, "p = [0.0]"),
        (h.StateDependent(lambda x, p: np.abs(p[..., 0]), lambda x, p: p / np.abs(p)), LINE,
         "leave the gradient out"),
        (h.StateDependent(lambda x, p: np.sqrt(np.abs(p[..., 0]))), LINE, "bounded derivative"),
        (h.StateDependent(lambda x, p: np.sign(p[..., 0])), LINE, "bounded derivative"),
        (h.StateDependent(lambda x, p: (p**2).sum(-1), lambda x, p: p), LINE, "gradient of"),
        (h.StateDependent(lambda x, p: p[..., 0] + x.mean() + p.max()), LINE, "point alone"),
        (h.StateDependent(lambda x, p: (p**2).sum(-1), speeds=1.0), LINE, "Raise it"),
        (h.StateDependent(lambda x, p: p), LINE, "sum the coordinates"),
        (h.StateDependent(lambda x, p: p[..., 0], dim=2), LINE, "dimension"),
    ],
)  # fmt: skip
def test_what_cannot_be_solved_says_why(H, grid, message):
    with np.errstate(all="ignore"), pytest.raises((ValueError, pk.ConvergenceError),
                                                  match=re.escape(message)):  # fmt: skip
        solved(H, grid, wavy, 0.3)


def test_the_advice_for_a_root_and_for_a_gradient_without_a_limit_works():
    smooth = h.StateDependent(lambda x, p: (p[..., 0] ** 2 + 1e-2) ** 0.25)
    without = h.StateDependent(lambda x, p: np.abs(p[..., 0]))
    for H in (smooth, without):
        assert np.isfinite(solved(H, LINE, wavy, 0.1)).all()


def test_schemes_that_do_not_hold_refuse_and_the_default_does():
    H, equation = h.Eikonal(lambda x: 1 + x[..., 0] ** 2), pk.HamiltonJacobi
    assert schemes.default_scheme(equation(H), LINE) == schemes.Filtered()
    assert schemes.default_scheme(equation(h.Eikonal(2.0)), LINE) == schemes.HopfLax()
    assert (
        schemes.default_scheme(equation(h.Eikonal() + h.Advection(1.0)), LINE) == schemes.Filtered()
    )
    with pytest.raises(ValueError, match="HopfLax takes"):
        solved(H, LINE, wavy, 0.1, schemes.HopfLax())
    with pytest.raises(ValueError, match="flux must be"):
        solved(H, LINE, wavy, 0.1, schemes.Godunov(flux=fluxes.engquist_osher))
    with pytest.raises(ValueError, match="slope alone"):
        pk.Burgers(H)


def test_nothing_is_proved_of_them():
    """Semiconcavity and the maximum principle are stated for |p|²/2."""
    H = h.StateDependent(lambda x, p: (p**2 - x**2).sum(-1) / 2)
    solution = pk.solve(pk.HamiltonJacobi(H), LINE, wavy, [0.0, 0.1])
    for certificate in (pk.certificates.MaximumPrinciple(), pk.certificates.Semiconcave()):
        assert not certificate(solution).applies


def test_the_turns_of_a_function_that_changed_are_found_anew():
    class Shift:
        by = 0.0

    place, grid = Shift(), pk.Grid(-2, 2, 80)
    H = h.Custom(lambda p: np.abs(p[..., 0] - place.by) ** 1.5)
    solved(H, grid, wavy, 0.1)
    place.by = 1.0
    fresh = h.Custom(lambda p: np.abs(p[..., 0] - 1.0) ** 1.5)
    np.testing.assert_array_equal(solved(H, grid, wavy, 0.1), solved(fresh, grid, wavy, 0.1))
