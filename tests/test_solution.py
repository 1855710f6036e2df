"""Solutions: times as asked for, initial data in any form, values between the cells, statistics."""

import numpy as np
import pytest
from cases import HANDLED, PAIRS, has_gibbs_state

import pdekit as pk
from pdekit import schemes
from pdekit.pde.discrete.generators import gibbs
from pdekit.pde.discrete.mean_field import pair_field
from pdekit.pde.discrete.problem import Problem

WELL = pk.potentials.DoubleWell()
LINE = pk.Grid(-3, 3, 90)
START = pk.Gaussian(-0.6, 0.3)
ignore_walls = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
every_pair = pytest.mark.parametrize(
    "case, scheme", [r[1:] for r in HANDLED], ids=[r[0] for r in HANDLED]
)
# what two runs that stop at different times may differ by, relative to the data
STOPS = {
    schemes.Implicit: 1e-3,
    schemes.Godunov: 0.03,
    schemes.Filtered: 3e-3,
    schemes.Krylov: 1e-7,
    schemes.PolicyIteration: 0.05,
    schemes.Split: 2e-4,
    schemes.MeanField: 1e-4,
}
# problems that look the same from both axes: forces and turning tensors do not
SYMMETRIC = [r for r in PAIRS if "-plane-" in r[0] and has_gibbs_state(r[1])]
TURNED = {schemes.Split: 1e-4, schemes.HopfLax: 1e-3, schemes.MeanField: 1e-4}


@ignore_walls
@pytest.mark.filterwarnings("ignore:steps of .* have an error")
@every_pair
def test_times_on_the_way_do_not_change_the_end(case, scheme):
    direct = pk.solve(case.equation, case.grid, case.initial, 0.3, scheme)
    stops = pk.solve(case.equation, case.grid, case.initial, [0.0, 0.11, 0.3], scheme)
    scale = np.abs(direct.fields).max()
    allowed = STOPS.get(type(scheme), 3e-9) * scale
    np.testing.assert_allclose(stops.fields[2], direct.fields[0], atol=allowed)
    np.testing.assert_array_equal(stops.times, [0.0, 0.11, 0.3])
    np.testing.assert_array_equal(stops.fields[0], case.initial(case.grid.centres))


@ignore_walls
@every_pair
def test_functions_and_their_arrays_are_the_same_data(case, scheme):
    """Exactly, but for Cole-Hopf below the cells, where an array is interpolated."""
    array = case.initial(case.grid.centres)
    before = array.copy()
    one = pk.solve(case.equation, case.grid, case.initial, 0.1, scheme).fields
    other = pk.solve(case.equation, case.grid, array, 0.1, scheme).fields
    np.testing.assert_array_equal(array, before)
    atol = 0.02 if isinstance(scheme, schemes.ColeHopf) else 0
    np.testing.assert_allclose(other, one, rtol=0, atol=atol)


@ignore_walls
@every_pair
def test_the_solution_describes_itself(case, scheme):
    solution = pk.solve(case.equation, case.grid, case.initial, [0.1, 0.2], scheme)
    assert solution.u.dims == ("time", *case.grid.names)
    assert solution.u.shape == (2, *case.grid.shape)
    for name, axis in zip(case.grid.names, case.grid.axes, strict=True):
        np.testing.assert_array_equal(solution.u[name], axis)
    np.testing.assert_array_equal(solution.u.time, [0.1, 0.2])
    np.testing.assert_array_equal(solution.final, solution.fields[1])
    assert (solution.equation, solution.grid, solution.scheme) == (
        case.equation, case.grid, scheme,
    )  # fmt: skip
    assert solution.stats["steps"] >= 1 and solution.stats["seconds"] > 0
    assert solution.stats["minimum"] == solution.fields.min()
    assert solution.stats["maximum"] == solution.fields.max()


@ignore_walls
@every_pair
def test_time_zero_is_the_data(case, scheme):
    solution = pk.solve(case.equation, case.grid, case.initial, 0, scheme)
    np.testing.assert_array_equal(solution.fields[0], case.initial(case.grid.centres))
    assert solution.stats["steps"] == 0


@ignore_walls
@every_pair
def test_the_same_call_gives_the_same_bits(case, scheme):
    runs = [pk.solve(case.equation, case.grid, case.initial, 0.1, scheme) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].fields, runs[1].fields)


@ignore_walls
@pytest.mark.parametrize("row", SYMMETRIC, ids=lambda r: r[0])
def test_exchanging_the_axes_exchanges_the_solution(row):
    _, case, scheme = row
    grid = case.grid
    turned = pk.Grid(grid.lower[::-1], grid.upper[::-1], grid.cells[::-1])
    u = pk.solve(case.equation, grid, case.initial, 0.2, scheme).fields[0]
    v = pk.solve(case.equation, turned, case.initial, 0.2, scheme).fields[0]
    atol = TURNED.get(type(scheme), 1e-9)
    np.testing.assert_allclose(v.T, u, atol=atol * np.abs(u).max())


@pytest.mark.parametrize("dim", [1, 2])
def test_values_between_the_cells_are_of_fourth_order(dim):
    errors = []
    points = np.random.default_rng(0).uniform(-1, 1, (7, 5, dim))

    def wave(x):
        return np.sin(2 * x).sum(-1)

    for cells in (20, 40, 80):
        grid = pk.Grid((-1,) * dim, (1,) * dim, cells)
        values = pk.solve(pk.Heat(1.0), grid, wave, 0.0).at(points)
        assert values.shape == (7, 5)
        errors.append(np.abs(values - wave(points)).max())
    assert np.polyfit(np.log([4, 2, 1]), np.log(errors), 1)[0] > 3.7
    assert errors[2] < 3e-6


def test_at_cells_and_times():
    solution = pk.solve(pk.FokkerPlanck(WELL, 4.0), LINE, START, [0.1, 0.4])
    np.testing.assert_allclose(solution.at(LINE.centres), solution.fields[1], atol=1e-14)
    np.testing.assert_allclose(solution.at(LINE.centres, 0.1), solution.fields[0], atol=1e-14)
    assert solution.at([0.0]).shape == ()
    for t in (0.2, "0.1", float("nan")):
        with pytest.raises(ValueError, match=r"must be a stored time, one of \[0.1"):
            solution.at([0.0], t)
    with pytest.raises(ValueError, match="points must lie in the box; some lie outside"):
        solution.at([[0.0], [3.1]])
    with pytest.raises(ValueError, match=r"axis of 1 coordinates, got shape \(2,\)"):
        solution.at([0.0, 1.0])


@pytest.mark.parametrize("grid", [LINE, pk.Grid((-3, -2), (3, 2), (60, 40))])
def test_a_solution_is_a_potential_again(grid):
    solution = pk.solve(pk.ViscousHJ(4.0), grid, pk.potentials.DoubleWell(grid.dim), [0.2, 0.5])
    smoothed = solution.potential()
    np.testing.assert_allclose(smoothed.at(0.5)(grid.centres), solution.fields[1], atol=1e-12)
    last = pk.solve(pk.ViscousHJ(4.0), grid, pk.potentials.DoubleWell(grid.dim), 0.5).potential()
    np.testing.assert_allclose(last(grid.centres), solution.fields[1], atol=1e-12)


def test_a_law_starts_with_unit_mass_and_values_keep_theirs():
    law = pk.solve(pk.FokkerPlanck(WELL, 4.0), LINE, START, [0, 1])
    np.testing.assert_allclose(LINE.integrate(law.fields), 1, rtol=1e-13)
    values = pk.solve(pk.FokkerPlanck(WELL, 4.0), LINE, lambda x: 3 * START.pdf(x), [0, 1])
    np.testing.assert_allclose(LINE.integrate(values.fields), 3, rtol=1e-9)
    np.testing.assert_allclose(values.fields, 3 * law.fields, rtol=1e-6, atol=1e-20)


TRUNCATED = [
    # law or values, grid, message
    (pk.Gaussian(2.5, 0.3), r"mass 0.0478 beyond the grid"),
    (pk.Uniform(-3.5, -1), r"mass 0.2 beyond the grid"),
    (lambda x: np.ones(x.shape[:-1]), r"reaches the walls.*about 1 of its mass"),
    (lambda x: np.exp(-(x[..., 0] ** 2)), r"reaches the walls.*about \d\S* of its mass"),
]


@pytest.mark.parametrize("initial, message", TRUNCATED)
@pytest.mark.filterwarnings("ignore:the density reaches:pdekit.TruncationWarning")
def test_truncation_is_reported_with_the_mass(initial, message):
    with pytest.warns(pk.TruncationWarning, match=message):
        pk.solve(pk.FokkerPlanck(WELL, 4.0), LINE, initial, 0.0)


def test_the_mass_at_a_wall_is_about_that_beyond_it():
    """No potential: N(0, 1) after t = 1/2 at beta = 1 is N(0, 2); its tail beyond +-4 is 4.7e-3."""
    flat, grid = pk.potentials.Quadratic(0.0), pk.Grid(-4, 4, 200)
    with pytest.warns(pk.TruncationWarning):
        solution = pk.solve(pk.FokkerPlanck(flat, 1.0), grid, pk.Gaussian(0.0, 1.0), 0.5)
    assert solution.stats["wall_mass"] > 4.7e-3 / 2


def test_an_inner_density_raises_no_warning_and_a_periodic_axis_has_no_walls():
    solution = pk.solve(pk.FokkerPlanck(WELL, 4.0), LINE, START, 5.0)
    assert solution.stats["wall_mass"] < 1e-20
    circle = pk.Grid(0, 6, 60, periodic=True)
    flat = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 1.0)
    rho = pk.solve(flat, circle, lambda x: 1 + np.cos(np.pi * x[..., 0] / 3), 9.0)
    assert rho.stats["wall_mass"] == 0
    np.testing.assert_allclose(rho.fields[0], 1, atol=1e-4)


@ignore_walls
@every_pair
def test_very_short_times(case, scheme):
    t = 1e-4 if isinstance(scheme, schemes.ColeHopf) else 1e-8  # its kernel must be seen by nodes
    u = pk.solve(case.equation, case.grid, case.initial, t, scheme).fields[0]
    u0 = case.initial(case.grid.centres)
    np.testing.assert_allclose(u, u0, atol=40 * t * 100 + 1e-12 * np.abs(u0).max())


# policies take long steps of order one below, whatever their order
LASTING = [
    row for row in HANDLED
    if has_gibbs_state(row[1]) and row[2] != schemes.PolicyIteration(0.05)
]  # fmt: skip


@ignore_walls
@pytest.mark.parametrize("case, scheme", [r[1:] for r in LASTING], ids=[r[0] for r in LASTING])
def test_very_long_times(case, scheme):
    """Smoothing ends flat, at the same value wherever it started; densities end as Gibbs."""
    if isinstance(scheme, schemes.Implicit):
        scheme = schemes.Implicit(100.0)
    if isinstance(scheme, schemes.PolicyIteration):
        scheme = schemes.PolicyIteration(100.0)
    u = pk.solve(case.equation, case.grid, case.initial, 2e3, scheme).fields[0]
    if isinstance(case.equation, pk.FokkerPlanck):
        g = pk.stationary(case.equation, case.grid).values * case.grid.integrate(u)
        assert case.grid.integrate(np.abs(u - g)) < 1e-3 * case.grid.integrate(g)
    elif isinstance(case.equation, pk.McKeanVlasov):
        mass = case.grid.integrate(u)
        U = Problem(case.equation, case.grid, None).potential()
        own = gibbs(U + pair_field(case.equation.interaction, case.grid)(u), 4.0, case.grid)
        assert case.grid.integrate(np.abs(u - mass * own)) < 1e-3 * mass
    else:
        assert np.ptp(u) < 1e-2  # the non-viscous ones like (diameter)^2 / 2t


@pytest.mark.parametrize("killing", [30.0, lambda x: 30 + 0.1 * x[..., 0] ** 2])
def test_mass_beyond_the_walls_is_a_share_of_what_is_left(killing):
    """Killed at one rate or nearly so, a density has the same shape, and the same warning."""
    V, grid = pk.potentials.Quadratic(), pk.Grid(-2, 2, 200)
    start, times = pk.Gaussian(0.0, 0.2), [0.3]
    with pytest.warns(pk.TruncationWarning) as plain:
        free = pk.solve(pk.FokkerPlanck(V, 2.0), grid, start, times)
    with pytest.warns(pk.TruncationWarning, match="would be beyond them") as told:
        found = pk.solve(pk.FokkerPlanck(V, 2.0, killing=killing), grid, start, times)
    assert found.stats["survival"][0] < 1e-3
    assert found.stats["wall_mass"] == pytest.approx(free.stats["wall_mass"], rel=0.2)
    assert not any("lost" in str(w.message) for w in [*plain, *told])
