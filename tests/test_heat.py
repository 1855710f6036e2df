"""Heat smoothing by few modes: what the transform of all modes gives, to rounding."""

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit.pde.discrete import laplacian
from pdekit.pde.discrete.laplacian import Fast, Few, matrices, survivors, symbol

EPS = np.finfo(float).eps
seeds = st.integers(0, 2**32 - 1)
sizes, circles = st.integers(4, 40), st.booleans()
planes = st.tuples(st.tuples(sizes, sizes), st.tuples(circles, circles))


def by_all_modes(u, grid, variance):
    """exp(variance Δ / 2) u on the unfolded torus: a wall is a mirror. Complex Fourier modes."""
    lifted = u
    for axis, periodic in enumerate(grid.periodic):
        mirror = [] if periodic else [np.flip(lifted, axis)]
        lifted = np.concatenate([lifted, *mirror], axis)
    c = scipy.fft.fftn(lifted)
    for axis, n in enumerate(lifted.shape):
        k = 2 * np.pi * scipy.fft.fftfreq(n, grid.spacing[axis])
        damping = np.exp(-variance / 2 * k**2)
        c *= damping.reshape([-1 if j == axis else 1 for j in range(c.ndim)])
    return scipy.fft.ifftn(c).real[tuple(slice(n) for n in u.shape)]


@settings(max_examples=200)
@given(n=sizes, periodic=circles, axis=st.sampled_from([0, 1]), seed=seeds, data=st.data())
def test_the_matrix_has_the_first_coefficients_of_the_fast_transform(n, periodic, axis, seed, data):
    count = data.draw(st.integers(1, n))
    u = np.random.default_rng(seed).normal(size=(n, 3) if axis == 0 else (3, n))
    fast, few = Fast(axis, n, periodic), Few(axis, count, *matrices(n, periodic, count))
    c = fast.forward(u, False)
    first = c[:count] if axis == 0 else c[:, :count]
    np.testing.assert_allclose(few.forward(u, False), first, atol=1e-12)
    alone = np.zeros_like(c)
    alone[(slice(None),) * axis + (slice(count),)] = first
    np.testing.assert_allclose(few.inverse(first), fast.inverse(alone), atol=1e-13)
    np.testing.assert_allclose(fast.inverse(fast.forward(u, False)), u, atol=1e-13)


@settings(max_examples=200)
@given(shape=planes, seed=seeds, widths=st.floats(3.0, 60.0), level=st.floats(-3, 3))
def test_what_is_left_out_is_rounding(shape, seed, widths, level):
    """Kernels of 3 cells (of the wider ones) to many: 40 eps max|f| to the transform of all."""
    cells, periodic = shape
    grid = pk.Grid((0, 0), (2.0, 3.0), cells, periodic)
    t = (widths * grid.spacing.max()) ** 2
    f = np.random.default_rng(seed).normal(size=cells) + level
    solution = pk.solve(pk.Heat(1.0), grid, f, t)
    error = np.abs(solution.fields[0] - by_all_modes(f, grid, t)).max()
    assert error < 40 * EPS * np.abs(f).max()
    assert solution.fields[0].mean() == pytest.approx(f.mean(), abs=20 * EPS * np.abs(f).max())
    assert f.min() - 1e-14 * np.abs(f).max() <= solution.fields.min()
    assert solution.fields.max() <= f.max() + 1e-14 * np.abs(f).max()


@settings(max_examples=200)
@given(n=st.integers(4, 500), periodic=circles, widths=st.floats(3.0, 300.0), seed=seeds)
def test_the_bound_on_the_tail_holds_and_is_not_wasteful(n, periodic, widths, seed):
    """A spike is the worst case: its tail adds up at the spike, to half the bound or so."""
    grid = pk.Grid(0, 1.0, n, periodic)
    damping = np.exp(-((widths * grid.spacing[0]) ** 2) / 2 * symbol(grid, 0, False))
    count, spike = survivors(damping), np.zeros(n)
    spike[np.random.default_rng(seed).integers(n)] = 1.0
    rows, columns = matrices(n, periodic, n)
    left_out = columns[count:].T @ (damping[count:] * (rows[count:] @ spike))
    assert np.abs(left_out).max() <= 2.0**-53 * spike.mean() * (1 + 1e-9)
    assert count == 1 or 2 * damping[count - 1 :].sum() > 2.0**-53


def test_few_modes_are_taken_where_few_survive_and_matrices_are_made_once(monkeypatch):
    made = []
    plain = laplacian.matrices
    monkeypatch.setattr(laplacian, "matrices", lambda *a: made.append(a) or plain(*a))
    grid = pk.Grid((-3, -3), (3, 3), 96)
    f = np.random.default_rng(0).normal(size=grid.shape)
    times = [1e-3, 0.5, 1.0, 4.0]
    solution = pk.solve(pk.Heat(1.0), grid, f, times)
    assert len(made) == 1 and made[0][2] < 40
    assert solution.stats["modes"] == (survivors(np.exp(-2 * symbol(grid, 0, False))),) * 2
    for t, field in zip(times, solution.fields, strict=True):
        alone = pk.solve(pk.Heat(1.0), grid, f, t).fields[0]
        np.testing.assert_allclose(field, alone, atol=20 * EPS * np.abs(f).max())
    first = pk.solve(pk.Heat(1.0), grid, f, times[0])
    assert first.stats["modes"] == grid.cells
