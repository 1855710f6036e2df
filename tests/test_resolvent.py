"""Resolvents of generators, (1 - tau L)^-1 and its transpose, against dense solves."""

from typing import Any

import numpy as np
import pytest
from cases import GRIDS
from hypothesis import given, settings
from hypothesis import strategies as st

from pdekit.pde.bellman import resolvent
from pdekit.pde.bellman.resolvent import Resolvent
from pdekit.pde.discrete.generators import scharfetter_gummel

every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


def generator(grid: Any, seed: int, size: float) -> Any:
    values = size * np.random.default_rng(seed).normal(size=grid.shape)
    return scharfetter_gummel(np.cos(grid.centres).sum(-1) + values, 4.0, grid)


@every_grid
@settings.get_profile("often")
@given(
    seed=st.integers(0, 1000), tau=st.sampled_from([1e-4, 0.01, 0.3]),
    size=st.sampled_from([0.0, 0.2, 2.0]),
)  # fmt: skip
def test_resolvents_by_dense_solves(grid: Any, seed: int, tau: float, size: float) -> None:
    """To rounding, both ways; constants and mass to rounding however stiff the rates are."""
    made = generator(grid, seed, size)
    solved, b = Resolvent(made, tau), np.random.default_rng(seed).random(grid.shape)
    matrix = np.eye(b.size) - tau * made.matrix().toarray()
    np.testing.assert_allclose(
        solved(b).ravel(), np.linalg.solve(matrix, b.ravel()), rtol=1e-11, atol=1e-12
    )
    density = solved(b, transposed=True)
    exact = np.linalg.solve(matrix.T, b.ravel())
    np.testing.assert_allclose(density.ravel(), exact, rtol=1e-10, atol=1e-10 * exact.max())
    np.testing.assert_allclose(solved(np.ones(grid.shape)), 1, atol=1e-12)
    assert density.sum() == pytest.approx(b.sum(), rel=1e-12)


@pytest.mark.parametrize("where", ["plane", "torus", "pipe"])
def test_what_the_iteration_does_not_reach_is_factored(where: str, monkeypatch: Any) -> None:
    grid = GRIDS[where]
    made = generator(grid, 1, 1.0)
    b = np.random.default_rng(1).random(grid.shape)
    iterated = [Resolvent(made, 0.1)(b, way) for way in (False, True)]
    monkeypatch.setattr(resolvent, "_MOST", 2)
    solved = Resolvent(made, 0.1)
    factored = [solved(b, way) for way in (False, True)]
    assert "_lu" in vars(solved)
    np.testing.assert_allclose(factored, iterated, rtol=1e-10)


def test_few_products_are_needed_at_the_steps_that_are_taken() -> None:
    """A count that grows with the square root of what the mesh would ask of a plain iteration."""
    grid = GRIDS["plane"].refined(4)
    solved, spent = Resolvent(generator(grid, 0, 0.0), 0.01), []
    apply = solved._operator(False)
    solved._operator = lambda _: lambda x: (spent.append(1), apply(x))[1]
    solved(np.random.default_rng(0).random(grid.shape))
    assert len(spent) <= 40
