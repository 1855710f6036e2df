"""The filtered scheme: never further than eps dt from the monotone one, second order beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit import hamiltonians as h
from pdekit import schemes
from pdekit.pde.discrete import fluxes
from pdekit.pde.discrete.fluxes import one_sided_eno
from pdekit.pde.discrete.monotone import hamiltonian_fused, hamiltonian_plain
from pdekit.pde.schemes.filtered import filtered_fused, filtered_plain

seeds, walls = st.integers(0, 2**32 - 1), st.tuples(st.booleans(), st.booleans())
WELL = pk.potentials.DoubleWell()
CHOPPY = h.Custom(lambda p: np.sin(2 * p).sum(-1))


def rough(grid, seed):
    rng = np.random.default_rng(seed)
    field = rng.normal(size=grid.shape)
    for axis in range(grid.dim):
        for _ in range(seed % 5):
            field = (np.roll(field, 1, axis) + 2 * field + np.roll(field, -1, axis)) / 4
    return field


@settings(max_examples=200)
@given(seed=seeds, periodic=walls, cells=st.sampled_from([(37,), (9, 14)]), eps=st.floats(0, 3))
def test_the_kernel_equals_its_plain_form(seed, periodic, cells, eps):
    dim = len(cells)
    grid = pk.Grid((0.0,) * dim, (1.0, 2.0)[:dim], cells, periodic[:dim])
    u, weights = 0.1 * rough(grid, seed), np.array([1.0, 2.5])[:dim]
    H = h.Power(2.0, tuple(weights))
    monotone, rate = hamiltonian_plain(u, grid, H)
    fused, fused_rate = hamiltonian_fused(u, grid, weights)
    np.testing.assert_allclose(fused, monotone, rtol=1e-12, atol=1e-12)
    assert fused_rate == pytest.approx(rate, rel=1e-12)
    plain, held = filtered_plain(u, monotone, 0.5 / rate, eps, grid, H, fluxes.godunov)
    found, count = filtered_fused(u, monotone, 0.5 / rate, eps, grid, weights)
    np.testing.assert_allclose(found, plain, rtol=1e-12, atol=1e-12)
    assert count == pytest.approx(held, abs=1e-12)


@settings(max_examples=200)
@given(
    H=st.sampled_from([h.Power(2.0), h.Power(1.5), h.Eikonal(), h.Quadratic(((2, 1), (1, 2)))]),
    seed=seeds,
    periodic=walls,
    eps=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_a_step_stays_by_the_monotone_one(H, seed, periodic, eps):
    """|S u - S_M u| <= eps dt whatever the data: one step or the other."""
    grid = pk.Grid((0, 0), (1, 2), (9, 12), periodic)
    u = 0.1 * rough(grid, seed)
    monotone, rate = hamiltonian_plain(u, grid, H)
    dt = 0.5 / rate
    found, held = filtered_plain(u, monotone, dt, eps, grid, H, fluxes.godunov)
    distance = np.abs(found - (u - dt * monotone))
    assert distance.max() <= eps * dt + 1e-14
    assert (distance == 0).mean() >= held - 1e-12


@pytest.mark.parametrize("H", [None, CHOPPY])
def test_without_epsilon_it_is_the_monotone_scheme(H):
    grid, equation = pk.Grid(-2, 2, 80), pk.HamiltonJacobi(H)
    monotone = pk.solve(equation, grid, WELL, 0.4, schemes.Godunov(cfl=0.5, flux=fluxes.godunov))
    filtered = pk.solve(equation, grid, WELL, 0.4, schemes.Filtered(epsilon=0.0))
    # Godunov's kernel takes its step from the slopes before the last one
    atol = 1e-13 if H is not None else 1e-3
    np.testing.assert_allclose(filtered.fields, monotone.fields, atol=atol)
    assert filtered.stats["filtered"] > 0.5


@settings(max_examples=200)
@given(slope=st.floats(-2, 2), bend=st.floats(-2, 2), where=st.floats(-1, 1))
def test_slopes_of_a_parabola_are_exact(slope, bend, where):
    """Inside the box, from both sides; at a mirror wall the data of the first cells decide."""
    grid = pk.Grid(-1, 1, 20)
    x = grid.axes[0] - where
    for side in one_sided_eno(slope * x + bend * x**2 / 2, 0, grid.spacing[0], False):
        np.testing.assert_allclose(side[2:-2], (slope + bend * x)[2:-2], atol=1e-12)


def test_the_solution_of_viscosity_is_found_where_waves_compose():
    """A Hamiltonian with two wells of speed, from a kink: shock and fan together (Osher's formula).

    u_t + H(u_x) = 0 from -|x| has u(x, t) = min over p in [-1, 1] of p x - t H(p) (concave data).
    """
    H = h.Custom(lambda p: (p[..., 0] ** 2 - 1) ** 2 / 4 + p[..., 0] ** 3 / 5)
    p, t = np.linspace(-1, 1, 20_001), 0.8
    errors = []
    for cells in (100, 200, 400):
        grid = pk.Grid(-2, 2, cells)
        inner = np.abs(grid.axes[0]) < 1
        exact = (p * grid.axes[0][inner][:, None] - t * H(p[:, None])).min(1)
        for scheme in (schemes.Filtered(), schemes.Godunov()):
            u = pk.solve(pk.HamiltonJacobi(H), grid, lambda x: -np.abs(x[..., 0]), t, scheme)
            errors.append(np.abs(u.fields[0][inner] - exact).mean())
    filtered, monotone = errors[::2], errors[1::2]
    assert (np.array(filtered) < 0.85 * np.array(monotone)).all()
    assert filtered[2] < 0.35 * filtered[0] and filtered[2] < 4e-3


def test_filtered_only_where_it_is_not_smooth():
    """Smooth data go through whole; a saw of the grid's own width is held back."""
    grid = pk.Grid(0, 2 * np.pi, 100, periodic=True)
    smooth = pk.solve(
        pk.HamiltonJacobi(), grid, lambda x: np.cos(x[..., 0]), 0.5, schemes.Filtered()
    )
    assert smooth.stats["filtered"] == 0
    saw = np.where(np.arange(100) % 2, 1.0, -1.0) * grid.spacing[0]
    rough = pk.solve(pk.HamiltonJacobi(), grid, saw, 0.01, schemes.Filtered(epsilon=0.1))
    assert rough.stats["filtered"] > 0.3


@pytest.mark.parametrize(
    "equation, expected",
    [
        (pk.HamiltonJacobi(), schemes.HopfLax()),
        (pk.HamiltonJacobi(h.Power(4.0)), schemes.HopfLax()),
        (pk.HamiltonJacobi(h.Eikonal()), schemes.HopfLax()),
        (pk.HamiltonJacobi(CHOPPY), schemes.Filtered()),
        (pk.Burgers(CHOPPY), schemes.Filtered()),
    ],
)
def test_the_default_is_exact_in_time_where_that_is_known(equation, expected):
    assert schemes.default_scheme(equation, pk.Grid(0, 1, 10)) == expected
    if expected == schemes.Filtered() or isinstance(equation.hamiltonian, h.Eikonal):
        return
    assert schemes.default_scheme(equation, pk.Grid((0, 0), (1, 1), 10)) == expected


def test_the_plane_of_an_oblique_hamiltonian_goes_to_the_filtered_scheme():
    plane = pk.Grid((0, 0), (1, 1), 10)
    for H in (h.Eikonal(), h.Quadratic(((2, 1), (1, 2)))):
        assert schemes.default_scheme(pk.HamiltonJacobi(H), plane) == schemes.Filtered()
    diagonal = pk.HamiltonJacobi(h.Quadratic(((2, 0), (0, 1))))
    assert schemes.default_scheme(diagonal, plane) == schemes.HopfLax()


@pytest.mark.parametrize("grid", [pk.Grid(-2, 2, 80), pk.Grid((-2, -2), (2, 1), (24, 30))])
def test_the_compiled_march_takes_the_plain_steps(grid):
    """The square as anyone's function goes step by step through the plain form."""
    plain = h.Custom(lambda p: p[..., 0] ** 2 / 2, lambda p: p, (0.0,), convex=True)
    squares = h.Separable((plain, plain)) if grid.dim == 2 else plain
    V, scheme = pk.potentials.DoubleWell(grid.dim), schemes.Filtered(epsilon=0.3)
    one = pk.solve(pk.HamiltonJacobi(), grid, V, [0.2, 0.3], scheme)
    other = pk.solve(pk.HamiltonJacobi(squares), grid, V, [0.2, 0.3], scheme)
    np.testing.assert_allclose(one.fields, other.fields, atol=1e-11)
    assert one.stats["steps"] == other.stats["steps"] > 10
    assert one.stats["filtered"] == pytest.approx(other.stats["filtered"], abs=1e-12)
    assert one.stats["filtered"] > 0


def test_the_data_are_left_alone():
    """The march works in place, on a copy."""
    grid = pk.Grid(-2, 2, 80)
    before = np.cos(grid.axes[0])
    for scheme in (schemes.Filtered(), schemes.Godunov()):
        data = before.copy()
        first = pk.solve(pk.HamiltonJacobi(), grid, data, [0.1, 0.3], scheme)
        np.testing.assert_array_equal(data, before)
        alone = pk.solve(pk.HamiltonJacobi(), grid, data, 0.1, scheme)
        np.testing.assert_array_equal(first.fields[0], alone.fields[0])
