"""Hopf-Lax beyond parabolas: the minimum that brute force finds, for every conjugate known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit import hamiltonians as h
from pdekit import schemes
from pdekit.pde.discrete.min_plus_lines import convolve
from pdekit.pde.kernels.min_plus import minimisers
from pdekit.pde.references import minimisers_plain

seeds = st.integers(0, 2**32 - 1)
RELATIVISTIC = h.Custom(
    lambda p: np.sqrt(1 + p[..., 0] ** 2) - 1,
    convex=True,
    conjugate=lambda v: (
        1
        - np.sqrt(np.maximum(1 - v[..., 0] ** 2, 0))
        + np.where(np.abs(v[..., 0]) <= 1, 0.0, np.inf)
    ),
    reach=1.0,
)
CONVEX = {
    "abs": h.Power(1.0, 0.8),
    "power": h.Power(1.3),
    "square": h.Power(2.0, 1.7),
    "quartic": h.Power(4.0),
    "relativistic": RELATIVISTIC,
}
any_convex = st.sampled_from(list(CONVEX)).map(CONVEX.__getitem__)


@settings(max_examples=200)
@given(H=any_convex, seed=seeds, t=st.floats(0.01, 3), walk=st.booleans())
def test_the_kernel_finds_the_minimum_of_every_row(H, seed, t, walk):
    (term,), n = H.terms(1), 37
    f = np.random.default_rng(seed).normal(size=(2, n))
    f = f.cumsum(1) if walk else f
    cost = t * term.conjugate(np.arange(1 - n, n) * 0.1 / t)
    best = np.empty(f.shape, np.int64)
    minimisers(f, cost, best)
    i = np.arange(n)
    for line, found in zip(f, best, strict=True):
        plain = minimisers_plain(line, cost)
        least = line[plain] + cost[i - plain + n - 1]
        np.testing.assert_allclose(line[found] + cost[i - found + n - 1], least, atol=1e-13)


@settings.get_profile("often")
@given(H=any_convex, t=st.floats(0.1, 1.0), phase=st.floats(0, 6))
def test_the_solution_is_the_minimum_over_the_box(H, t, phase):
    """Between the nodes to O(h^3); the reference tries 20,001 points."""
    grid, (term,) = pk.Grid(-2, 2, 200), H.terms(1)

    def f(x):
        return np.sin(2 * x[..., 0] + phase) + x[..., 0] ** 2 / 4

    u = pk.solve(pk.HamiltonJacobi(H), grid, f, t).fields[0]
    y = np.linspace(-2, 2, 20_001)
    for k in range(0, 200, 23):
        x = grid.axes[0][k]
        true = (f(y[:, None]) + t * term.conjugate((x - y) / t)).min()
        miss = 4.5 * 2e-4 if np.isfinite(term.reach) else 1e-7  # of the reference at the edge
        assert u[k] == pytest.approx(true, abs=miss + 3 * grid.spacing[0] ** 3)


@settings(max_examples=60)
@given(power=st.floats(1.2, 4), seed=seeds, t=st.floats(0.05, 3), walk=st.booleans())
def test_the_mirror_image_has_the_mirrored_solution(power, seed, t, walk):
    """Also where the least is between the nodes, beside another than the best one."""
    (term,), f = h.Power(power).terms(1), np.random.default_rng(seed).normal(size=(1, 31))
    f = f.cumsum(1) if walk else f
    u, gaps = convolve(f, 0.1, t, term, False, True)
    v, other = convolve(f[:, ::-1].copy(), 0.1, t, term, False, True)
    np.testing.assert_allclose(v[:, ::-1], u, atol=1e-9)
    np.testing.assert_allclose(other, gaps, atol=1e-9)


def test_kinks_are_met_between_the_nodes():
    """|x - c| keeps its minimum zero at c; what is h-close to it is exact too."""
    grid = pk.Grid(-1, 1, 101)
    for c in (0.0, 0.004, -0.0071):
        u = pk.solve(
            pk.HamiltonJacobi(h.Power(1.5)), grid, lambda x, c=c: 3 * np.abs(x[..., 0] - c), 0.2
        ).fields[0]
        near = np.abs(grid.axes[0] - c) < 0.2 * np.sqrt(3) - 0.02
        gap = grid.axes[0][near] - c
        np.testing.assert_allclose(u[near], 0.2 * np.abs(gap / 0.2) ** 3 / 3, atol=1e-9)


@settings(max_examples=200)
@given(H=any_convex, seed=seeds, t=st.floats(0.05, 4))
def test_a_circle_has_all_its_images(H, seed, t):
    (term,), n, width = H.terms(1), 40, 4.0
    f = np.random.default_rng(seed).normal(size=(1, n)).cumsum(1) * 0.1
    found = convolve(f, width / n, t, term, True, False)[0][0]
    images = 1 + int(4 * 40 * t / width)  # far beyond any wave of these data
    j = np.arange(-images * n, (images + 1) * n)
    lifted = f[0][j % n]
    true = [(lifted + t * term.conjugate((i - j) * (width / n) / t)).min() for i in range(n)]
    np.testing.assert_allclose(found, true, atol=1e-12)


@settings(max_examples=200)
@given(seed=seeds, t=st.floats(0.05, 1.0))
def test_the_plane_axis_by_axis_is_the_minimum_over_the_plane(seed, t):
    H = h.Separable((h.Power(1.5), h.Power(2.0, 3.0)))
    grid = pk.Grid((-1, -2), (1, 2), (9, 13))
    f = np.random.default_rng(seed).normal(size=grid.shape)
    u = pk.solve(pk.HamiltonJacobi(H), grid, f, t, schemes.HopfLax(refine=False)).fields[0]
    x = grid.centres.reshape(-1, 2)
    cost = sum(
        t * term.conjugate((x[:, None, k] - x[:, k]) / t) for k, term in enumerate(H.terms(2))
    )
    np.testing.assert_allclose(u.ravel(), (f.ravel() + cost).min(1), atol=1e-12)


def test_the_square_is_the_envelope_of_parabolas():
    V = pk.potentials.DoubleWell()
    for grid in (pk.Grid(-2, 2, 150), pk.Grid(-2, 2, 150, periodic=True)):
        one, other = (
            pk.solve(pk.HamiltonJacobi(H), grid, V, 0.6).fields for H in (None, h.Power(2.0))
        )
        np.testing.assert_allclose(other, one, atol=1e-12)


@pytest.mark.parametrize("H", [h.Power(1.5), RELATIVISTIC, h.Power(4.0)])
def test_the_finite_differences_agree(H):
    """Three ways to the same solution, past the birth of kinks."""
    grid = pk.Grid(-4, 4, 400)
    u, v, w = (
        pk.solve(pk.HamiltonJacobi(H), grid, pk.potentials.Rippled(), 0.5, scheme).fields[0]
        for scheme in (schemes.HopfLax(), schemes.Filtered(), schemes.Godunov())
    )
    inner = np.abs(grid.axes[0]) < 2.5
    assert np.abs(v - u)[inner].mean() < 1e-3
    assert np.abs(w - u)[inner].mean() < 0.06
    assert np.abs(v - u)[inner].mean() < np.abs(w - u)[inner].mean() / 5


@pytest.mark.parametrize("a_wave", [7.0, 7.5, 7.8])
def test_less_than_eight_cells_a_wave_are_sampled_more_finely(a_wave):
    cells, t = 6 * 10, 0.7
    grid = pk.Grid(0, 2 * np.pi * cells / a_wave, cells)
    found = pk.solve(
        pk.HamiltonJacobi(), grid, lambda x: np.cos(x[..., 0]), t, pk.schemes.HopfLax()
    )
    x, y = grid.axes[0][10:20], np.linspace(0, grid.upper[0], 100_001)
    exact = [np.min(np.cos(y) + (a - y) ** 2 / (2 * t)) for a in x]
    np.testing.assert_allclose(found.fields[-1, 10:20], exact, atol=1e-6)


@pytest.mark.parametrize("a_wave", [9.0, 12.0])
def test_nine_cells_a_wave_are_enough(a_wave):
    grid = pk.Grid(0, 12 * np.pi, int(6 * a_wave), periodic=True)
    found = pk.solve(
        pk.HamiltonJacobi(), grid, lambda x: np.cos(x[..., 0]), 0.7, pk.schemes.HopfLax()
    )
    assert "nodes_per_cell" not in found.stats
