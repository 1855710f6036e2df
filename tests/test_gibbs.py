"""The Gibbs state exp(-beta V) / Z: exactly stationary for the discrete operator, at any height."""

import numpy as np
import pytest
from cases import EQUATIONS, GRIDS, PAIRS, generator, has_gibbs_state
from hypothesis import given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit.pde.discrete.generators import cell_peclet, gibbs, scharfetter_gummel
from pdekit.pde.exact import solutions

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
DENSITIES = [c for c in EQUATIONS if isinstance(c.equation, pk.FokkerPlanck) and has_gibbs_state(c)]
EVOLVED = [row for row in PAIRS if row[1] in DENSITIES]
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


def imbalance(made, g):
    """Largest |L^T g| against the probability that flows through the cell."""
    through = made.exit_rate() * g
    return np.abs(made.forward(g)).max() / through.max()


@pytest.mark.parametrize("case", DENSITIES, ids=lambda c: c.name)
def test_gibbs_is_stationary(case):
    g = pk.stationary(case.equation, case.grid)
    assert g.dims == case.grid.names
    assert case.grid.integrate(g.values) == pytest.approx(1, abs=1e-14)
    assert imbalance(generator(case), g.values) < 1e-14


@settings.get_profile("often")
@given(
    grid=st.sampled_from(list(GRIDS)).map(GRIDS.__getitem__),
    seed=st.integers(0, 10_000),
    height=st.sampled_from([1.0, 100.0, 1e3, 1e4]),
)
def test_gibbs_of_any_landscape_has_no_flux_in_any_face(grid, seed, height):
    """beta V up to 10,000, where most of the box underflows; detailed balance face by face."""
    V = height * np.random.default_rng(seed).random(grid.shape)
    made, g = scharfetter_gummel(V, 1.0, grid), gibbs(V, 1.0, grid)
    rounding = 4e-16 * max(height, 10)  # of the exponent
    assert np.isfinite(g).all() and grid.integrate(g) == pytest.approx(1, abs=1e-13)
    for axis in range(grid.dim):
        periodic = grid.periodic[axis]
        here, there = (g, np.roll(g, -1, axis)) if periodic else split(g, axis)
        forth, back = made.up[axis] * here, made.down[axis] * there
        normal = np.minimum(here, there) > 1e-290
        gap = np.abs(forth - back)[normal]
        assert (gap <= rounding * np.maximum(forth, back)[normal]).all()


def split(g, axis):
    n = g.shape[axis]
    return np.take(g, range(n - 1), axis), np.take(g, range(1, n), axis)


@pytest.mark.parametrize("case, scheme", [r[1:] for r in EVOLVED], ids=[r[0] for r in EVOLVED])
def test_gibbs_stays_gibbs(case, scheme):
    g = pk.stationary(case.equation, case.grid).values
    fields = pk.solve(case.equation, case.grid, g, [0.01, 1.0, 100.0], scheme).fields
    assert case.grid.integrate(np.abs(fields - g)).max() < 1e-12


@pytest.mark.parametrize("height", [1e3, 1e4])
@pytest.mark.parametrize("shape", [np.cos, np.sin, lambda x: x / 3, lambda x: x**2 / 9])
def test_steep_gibbs_stays_gibbs(height, shape):
    grid = pk.Grid(-3, 3, 300)
    equation = pk.FokkerPlanck(lambda x: height * shape(x[..., 0]), 1.0)
    g = pk.stationary(equation, grid).values
    for scheme in (pk.schemes.Exponential(), pk.schemes.Implicit(0.1)):
        fields = pk.solve(equation, grid, g, [1e-4, 1.0], scheme).fields
        assert grid.integrate(np.abs(fields - g)).max() < 1e-12


@pytest.mark.parametrize("case", DENSITIES, ids=lambda c: c.name)
def test_every_density_ends_as_gibbs(case):
    g = pk.stationary(case.equation, case.grid).values
    start = case.initial(case.grid.centres)
    start /= case.grid.integrate(start)
    rho = pk.solve(case.equation, case.grid, start, 1e4).fields[0]
    assert case.grid.integrate(np.abs(rho - g)) < 1e-9


@pytest.mark.parametrize("V, box, beta", [
    (pk.potentials.DoubleWell(), (-3, 3), 4.0),
    (pk.potentials.DoubleWell(), (-3, 3), 400.0),
    (pk.potentials.SixHumpCamel(), ((-2, -1.2), (2, 1.2)), 5.0),
])  # fmt: skip
def test_gibbs_converges_to_the_continuous_one(V, box, beta):
    errors = []
    for n in (50, 100, 200):
        grid = pk.Grid(*box, n)
        g = pk.stationary(pk.FokkerPlanck(V, beta), grid).values
        errors.append(
            np.abs(g - solutions.gibbs(V, beta, grid.lower, grid.upper, grid.centres)).max()
        )
    assert errors[2] < max(errors[0] / 12, 1e-6)
    assert errors[2] < 5e-3


def test_stationary_takes_gradient_equations_that_stand_still():
    grid = pk.Grid(-3, 3, 50)
    with pytest.raises(TypeError, match="FokkerPlanck"):
        pk.stationary(pk.Heat(1.0), grid)

    class Moving:
        def __call__(self, x):
            return x[..., 0]

        def at(self, t):
            return lambda x: t * x[..., 0]

    with pytest.raises(ValueError, match="changes in time"):
        pk.stationary(pk.FokkerPlanck(Moving(), 1.0), grid)


@every_grid
def test_cell_peclet_is_the_largest_jump(grid):
    V = 3 * grid.centres[..., 0]
    inner = 2.0 * 3 * grid.spacing[0]
    seam = inner * (grid.cells[0] - 1)
    assert cell_peclet(V, 2.0, grid) == pytest.approx(seam if grid.periodic[0] else inner)
