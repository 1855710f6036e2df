"""Generators are Markov: rates >= 0, rows of L that sum to zero, forward = the transpose."""

import numpy as np
import pytest
from cases import EQUATIONS, GRIDS, generator
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pdekit.pde.discrete.fluxes import godunov
from pdekit.pde.discrete.generators import scharfetter_gummel

LINEAR = [
    c
    for c in EQUATIONS
    if c.name.startswith(("heat", "fokker", "backward")) and "growing" not in c.name
]
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
heights = st.sampled_from([1e-3, 1.0, 30.0, 1e3, 1e4, 1e6])


def landscapes(grid):
    """Random potentials, rough at the scale of a cell, up to beta V of a million."""
    shape = arrays(float, grid.shape, elements=st.floats(-1, 1, width=32))
    return st.tuples(shape, heights).map(lambda pair: pair[0] * pair[1])


def check(made):
    for rates in (*made.up, *made.down):
        assert np.isfinite(rates).all() and rates.min(initial=0.0) >= 0
    matrix = made.matrix()
    dense = matrix.toarray()
    off = dense - np.diag(np.diag(dense))
    scale = np.abs(dense).max()
    assert off.min() >= 0
    loss = 0.0 if made.loss is None else made.loss.ravel()
    assert np.min(loss) >= 0
    assert np.abs(dense.sum(1) + loss).max() <= 1e-15 * 8 * scale
    rng = np.random.default_rng(0)
    phi = rng.normal(size=made.grid.shape)
    for applied, times in ((made.backward, dense), (made.forward, dense.T)):
        np.testing.assert_allclose(applied(phi).ravel(), times @ phi.ravel(), atol=1e-13 * scale)
    lost = (loss * phi.ravel()).sum()
    assert abs(made.forward(phi).sum() + lost) <= 1e-13 * scale * np.abs(phi).sum()
    np.testing.assert_allclose(made.exit_rate().ravel(), -np.diag(dense))


@pytest.mark.parametrize("case", LINEAR, ids=lambda c: c.name)
def test_the_cases_are_markov(case):
    check(generator(case))


@settings(max_examples=200)
@given(grid=st.sampled_from(list(GRIDS)).map(GRIDS.__getitem__), data=st.data())
def test_any_potential_is_markov(grid, data):
    check(scharfetter_gummel(data.draw(landscapes(grid)), 1.0, grid))


def consistency_error(grid):
    """L phi against -grad V . grad phi + Laplacian phi / beta, largest in the inner box."""
    beta, wave = 3.0, 2 * np.pi / np.subtract(grid.upper, grid.lower)
    angle = wave * (grid.centres - grid.lower)
    V, phi = np.sin(angle).sum(-1), np.cos(angle).sum(-1)
    limit = (wave**2 * np.cos(angle) * (np.sin(angle) - 1 / beta)).sum(-1)
    error = np.abs(scharfetter_gummel(V, beta, grid).backward(phi) - limit) / np.abs(limit).max()
    return error[tuple(slice(n // 8, -n // 8) for n in grid.shape)].max()


@every_grid
def test_the_generator_is_consistent_of_second_order(grid):
    coarse, fine = consistency_error(grid.refined(2)), consistency_error(grid.refined(4))
    assert fine < 0.02
    assert 3.6 < coarse / fine < 4.4


slopes = st.floats(-1e3, 1e3)


@settings(max_examples=200)
@given(a=slopes, b=slopes, more=st.floats(0, 1e3))
def test_godunov_rises_with_the_first_and_falls_with_the_second(a, b, more):
    assert godunov(a + more, b) >= godunov(a, b) >= godunov(a, b + more)


@settings(max_examples=200)
@given(p=slopes)
def test_godunov_is_consistent(p):
    assert godunov(p, p) == pytest.approx(p * p / 2, rel=4e-16)


@settings(max_examples=200)
@given(a=slopes, b=slopes)
def test_godunov_is_the_extremum_between_the_slopes(a, b):
    """Osher's formula: the least p^2 / 2 over [a, b], or the greatest over [b, a]."""
    p = np.append(np.linspace(a, b, 4001), 0.0 if a <= 0 <= b else a)
    best = (p * p / 2).min() if a <= b else (p * p / 2).max()
    assert godunov(a, b) == pytest.approx(best, abs=1e-9)


@every_grid
def test_a_steep_wall_is_upwind(grid):
    """Beyond a cell Péclet number of a few hundred, nothing goes up."""
    V = 1e4 * grid.centres[..., 0]
    made = scharfetter_gummel(V, 1.0, grid)
    rise = made.up[0][:-1] if grid.periodic[0] else made.up[0]
    assert rise.max() == 0
