"""u0 <= v0 gives u <= v; constants pass through; the maximum norm does not expand."""

import numpy as np
import pytest
from cases import PAIRS, conserves
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit import schemes
from pdekit.pde.discrete.problem import Problem

pytestmark = [
    pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning"),
    pytest.mark.filterwarnings("ignore::pdekit.AccuracyWarning"),  # of steps too long to be right
]
T = 0.2
ROUNDING = 1e-11
# Monotone as maps of grid data. Not in the list: Implicit, of order two, which no linear method
# can be at every step (its densities fall back to backward Euler); HopfLax(refine=True), below.
# ColeHopf is monotone on the cells; finer nodes are reached by a spline, chosen by the data.
ON_CELLS = {schemes.ColeHopf(): schemes.ColeHopf(refine=False)}
MONOTONE = [
    (row[0], row[1], ON_CELLS.get(row[2], row[2]))
    for row in PAIRS
    if "growing" not in row[0]
    if not isinstance(row[2], schemes.Implicit | schemes.Filtered)  # up to their errors
    and not (isinstance(row[2], schemes.HopfLax) and row[2].refine)
    and not (isinstance(row[2], schemes.PolicyIteration) and row[2].order == 2)  # up to its band
    and not isinstance(row[1].equation, pk.FokkerPlanck | pk.McKeanVlasov)
]
DENSITIES = [
    row
    for row in PAIRS
    if "growing" not in row[0]
    if isinstance(row[1].equation, pk.FokkerPlanck) and not isinstance(row[2], schemes.Implicit)
]


def over(rows, first, **inputs):
    """A property of all rows: every row once, with ``first``, then draws of row and inputs."""
    table = {name: pair for name, *pair in rows}

    def decorate(test):
        def of_row(row, **given_inputs):
            test(*table[row], **given_inputs)

        of_row.__name__, of_row.__doc__ = test.__name__, test.__doc__
        for name in table:
            of_row = example(row=name, **first)(of_row)
        drawn = given(row=st.sampled_from(sorted(table)), **inputs)(of_row)
        return settings.get_profile("often")(drawn)

    return decorate


def rough(grid, seed, size):
    """Random data, smooth to rough by the seed; of the size asked for."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=grid.shape)
    for axis in range(grid.dim):
        for _ in range(seed % 4 * 3):
            field = (np.roll(field, 1, axis) + 2 * field + np.roll(field, -1, axis)) / 4
    return size * field / np.abs(field).max()


def evolve(case, scheme, data):
    """The solution; Godunov chooses its steps by the data, many stops make them the same."""
    times = np.linspace(0, T / 10, 257)[1:] if isinstance(scheme, schemes.Godunov) else T
    solution = pk.solve(case.equation, case.grid, data, times, scheme)
    assert not isinstance(scheme, schemes.Godunov) or solution.stats["steps"] == 256
    return solution.fields[-1]


def tolerance(case, scheme, size):
    # what a scheme leaves by its own account; the others are monotone to rounding
    promised = {schemes.Split: "tolerance", schemes.Krylov: "rtol"}.get(type(scheme))
    return (3 * getattr(scheme, promised) if promised else ROUNDING) * max(size, 1.0)


pairs_of_data = {
    "seed": st.integers(0, 10_000),
    "size": st.sampled_from([0.05, 0.5, 2.0]),
    "gap": st.sampled_from([0.0, 0.1, 2.0]),
}
FIRST = {"seed": 1, "size": 0.5, "gap": 0.1}


@over(MONOTONE, FIRST, **pairs_of_data)
def test_order_is_kept(case, scheme, seed, size, gap):
    u0 = rough(case.grid, seed, size)
    above = np.maximum(rough(case.grid, seed + 1, gap), 0)
    u, v = evolve(case, scheme, u0), evolve(case, scheme, u0 + above)
    assert (v - u).min() >= -tolerance(case, scheme, size)


@over(MONOTONE, FIRST, **pairs_of_data)
def test_the_maximum_norm_does_not_expand(case, scheme, seed, size, gap):
    u0, v0 = rough(case.grid, seed, size), rough(case.grid, seed + 7, gap)
    difference = np.abs(evolve(case, scheme, u0) - evolve(case, scheme, v0)).max()
    assert difference <= np.abs(u0 - v0).max() + tolerance(case, scheme, size)


@over(
    [
        row for row in PAIRS if "growing" not in row[0]
        if not isinstance(row[1].equation, pk.FokkerPlanck | pk.McKeanVlasov) and conserves(row[1])
    ],
    {"seed": 1, "constant": -50.0},
    seed=st.integers(0, 10_000), constant=st.sampled_from([-50.0, -1.0, 1e-3, 300.0]),
)  # fmt: skip
def test_constants_pass_through(case, scheme, seed, constant):
    u0 = rough(case.grid, seed, 0.5)
    u, v = evolve(case, scheme, u0), evolve(case, scheme, u0 + constant)
    np.testing.assert_allclose(v, u + constant, atol=tolerance(case, scheme, abs(constant)))


@over(DENSITIES, {"seed": 1}, seed=st.integers(0, 10_000))
def test_densities_contract_in_l1(case, scheme, seed):
    one = 0.1 + np.abs(rough(case.grid, seed, 1.0))
    other = one * np.exp(rough(case.grid, seed + 3, 1.0))
    other *= one.sum() / other.sum()
    near = np.abs(evolve(case, scheme, one) - evolve(case, scheme, other)).sum()
    slack = tolerance(case, scheme, 1.0)
    assert near <= np.abs(one - other).sum() + slack * one.sum()


REFINED = [row for row in PAIRS if isinstance(row[2], schemes.HopfLax) and row[2].refine]


@settings(max_examples=200)
@given(
    cells=st.sampled_from([50, 100, 200]), phase=st.floats(0, 6), slope=st.floats(0.5, 2),
    gap=st.floats(0, 1), width=st.floats(0.3, 1),
)  # fmt: skip
def test_refined_hopf_lax_keeps_order_up_to_its_error(cells, phase, slope, gap, width):
    """Smooth data: |f'''| h^3 / 16 sqrt(3) is the error of a parabola through three samples."""
    grid = pk.Grid(-2, 2, cells)
    x, h = grid.axes[0], grid.spacing[0]
    f = np.sin(slope * x + phase)
    g = f + gap * np.exp(-((x / width) ** 2) / 2)
    third = slope**3 + 1.4 * gap / width**3  # 1.38 bounds |He_3(z) exp(-z^2/2)|
    u, v = (pk.solve(pk.HamiltonJacobi(), grid, a, T).fields[0] for a in (f, g))
    assert (v - u).min() >= -2 * third * h**3 / (9 * np.sqrt(3))
    assert (v >= u - 1e-13).all() or gap > 0


@over(REFINED, {"seed": 1}, seed=st.integers(0, 10_000))
def test_hopf_lax_stays_below_its_data_and_above_their_parabola(case, scheme, seed):
    u0 = rough(case.grid, seed, 0.5)
    coarse = pk.solve(case.equation, case.grid, u0, T, schemes.HopfLax(refine=False)).fields[0]
    fine = pk.solve(case.equation, case.grid, u0, T, scheme).fields[0]
    assert (fine <= coarse + 1e-14).all()
    assert (coarse <= u0 + 1e-14).all()
    assert coarse.min() == u0.min()  # the global minimum stays


@settings(max_examples=250)
@given(
    beta=st.sampled_from([0.5, 10.0, 1000.0]), seed=st.integers(0, 10_000),
    size=st.sampled_from([0.1, 1.0]),
)  # fmt: skip
def test_local_entropy_lies_between_the_minimum_and_the_heat_smoothing(beta, seed, size):
    """inf f <= u <= heat (Jensen); the other order, with Hopf-Lax, holds for convex f alone."""
    grid = pk.Grid(-2, 2, 100)
    f = rough(grid, 4 * seed + 3, size)
    scheme = schemes.ColeHopf(refine=False)
    problem = Problem(pk.ViscousHJ(beta), grid, f)
    stats = {"steps": 0}
    u = scheme.start(problem, stats)(T)
    assert (u >= f.min() - 1e-12).all()
    assume(stats["nodes_per_cell"] == 1)
    heat = pk.solve(pk.Heat(beta), grid, f, T).fields[0]
    assert (u <= heat + 2e-3 * size).all()  # heat takes the discrete symbol for narrow kernels
