"""Elimination without subtraction: every digit right, however far apart the rates are."""

from fractions import Fraction

import numpy as np
import pytest
from driven import driven, random_chain
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import pdekit as pk
from pdekit.pde.kernels.elimination import dissection, eliminate, reach
from pdekit.pde.references import eliminate_dense

GRIDS = {
    "line": pk.Grid(0, 1, 11),
    "circle": pk.Grid(0, 1, 9, periodic=True),
    "plane": pk.Grid((0, 0), (1, 1), (7, 6)),
    "torus": pk.Grid((0, 0), (1, 1), (6, 5), periodic=True),
    "pipe": pk.Grid((0, 0), (1, 1), (5, 8), periodic=(False, True)),
}
grids = st.sampled_from(sorted(GRIDS)).map(GRIDS.get)
seeds = st.integers(0, 10**6)


def exact_solve(rates, kill, right):
    """diag(kill) - L inverted in rational numbers."""
    n = len(rates)
    a = [[-Fraction(v) for v in row] for row in rates]
    for i in range(n):
        a[i][i] = Fraction(kill[i]) + sum(Fraction(rates[i][j]) for j in range(n) if j != i)
        a[i].append(Fraction(right[i]))
    for k in range(n):
        for i in range(n):
            if i != k:
                ratio = a[i][k] / a[k][k]
                a[i] = [x - ratio * y for x, y in zip(a[i], a[k], strict=True)]
    return [a[i][n] / a[i][i] for i in range(n)]


@settings.get_profile("often")
@given(grids, seeds, st.sampled_from([0.0, 20.0]), st.booleans())
def test_the_kernel_is_the_plain_elimination(grid, seed, decades, killing):
    matrix = random_chain(grid, seed, decades)
    n = matrix.shape[0]
    order = np.random.default_rng(seed).permutation(n)
    kill = np.random.default_rng(seed + 1).random(n) if killing else np.zeros(n)
    made = eliminate(matrix, order, kill)
    pivot, upper, lower = eliminate_dense(matrix.toarray()[order][:, order], kill[order])
    np.testing.assert_allclose(made.pivot, pivot, rtol=1e-13)
    for values, dense in ((made.upper, upper), (made.lower, lower.T)):
        mine = np.zeros((n, n))
        for k in range(n):
            here = slice(made.start[k], made.start[k + 1])
            mine[k, made.later[here]] = values[here]
        np.testing.assert_allclose(mine, dense, rtol=1e-12)


@settings.get_profile("often")
@given(st.integers(2, 6), seeds)
def test_weights_and_times_of_any_size_are_right_to_rounding(n, seed):
    """Against rational arithmetic, with rates from 1e-60 to 1: relative 1e-14 in every entry."""
    rng = np.random.default_rng(seed)
    rates = 10.0 ** rng.uniform(-60, 0, (n, n))
    np.fill_diagonal(rates, 0.0)
    kill, right = 10.0 ** rng.uniform(-60, 0, n), rng.random(n)
    x = eliminate(csr_array(rates), kill=kill).solve(right)
    true = np.array([float(v) for v in exact_solve(rates, kill, right)])
    np.testing.assert_allclose(x, true, rtol=1e-14)

    weights = eliminate(csr_array(rates)).invariant()
    # grounded at cell 0: w_j = sum_i w_i rates_ij / leaving_j, and w_0 = 1
    leaving = [sum(Fraction(v) for v in row) for row in rates]
    into = [[Fraction(rates[i, j]) for i in range(1, n)] for j in range(1, n)]
    transposed_kill = [
        leaving[j + 1] - sum(into[j][i] for i in range(n - 1) if i != j) for j in range(n - 1)
    ]
    w = exact_solve(_off(into), transposed_kill, list(rates[0, 1:]))
    w = np.array([1.0, *(float(v) for v in w)])
    np.testing.assert_allclose(weights / weights[0], w, rtol=1e-14)


def _off(rows):
    return [[v if i != j else Fraction(0) for j, v in enumerate(r)] for i, r in enumerate(rows)]


@settings(max_examples=200)
@given(grids, seeds)
def test_a_system_is_solved(grid, seed):
    """(diag(kill) - L) x = b for right-hand sides of either sign, in the dissected order."""
    rng = np.random.default_rng(seed)
    matrix = random_chain(grid, seed, 3.0)
    n = matrix.shape[0]
    kill, b = rng.random(n), rng.standard_normal(n)
    width = reach(matrix, grid.shape, grid.periodic)
    x = eliminate(matrix, dissection(grid.shape, grid.periodic, width), kill).solve(b)
    np.testing.assert_allclose(kill * x - matrix @ x, b, atol=1e-11)


@settings(max_examples=200)
@given(
    st.lists(st.integers(4, 30), min_size=1, max_size=2).map(tuple),
    st.integers(1, 2),
    st.data(),
)
def test_the_order_is_a_permutation(shape, width, data):
    periodic = tuple(data.draw(st.booleans()) for _ in shape)
    last = data.draw(st.integers(0, int(np.prod(shape)) - 1))
    order = dissection(shape, periodic, width, last)
    assert sorted(order.tolist()) == list(range(int(np.prod(shape))))
    assert order[-1] == last


@pytest.mark.parametrize("periodic", [False, True])
def test_dissection_keeps_the_fill_small(periodic):
    """At most 2.5 N log2 N numbers (3.5 where periodic); line by line it would be N^1.5."""
    for n in (32, 64, 128):
        grid = pk.Grid((0, 0), (1, 1), n, periodic)
        made = driven(lambda x: 0 * x[..., 0], lambda x: 0 * x, 1.0, grid)
        order = dissection(grid.shape, grid.periodic)
        size = eliminate(made.matrix(), order).later.size
        assert size < (3.5 if periodic else 2.5) * n * n * np.log2(n * n)


def test_the_longest_jump_is_found():
    grid = GRIDS["plane"]
    assert reach(random_chain(grid, 0), grid.shape, grid.periodic) == 1
    far = random_chain(pk.Grid(0, 1, 42), 0)
    assert reach(far, grid.shape, grid.periodic) == 5  # from the end of a row to the next row
    ring = random_chain(GRIDS["circle"], 0)
    assert reach(ring, (9,), (True,)) == 1 and reach(ring, (9,), (False,)) == 8
