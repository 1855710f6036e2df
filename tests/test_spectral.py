"""Slow rates and modes: relative accuracy however slow, real and complex, on a line and a plane."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cases import GRIDS
from driven import random_equation
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import named

import pdekit as pk
from pdekit.pde.discrete import grid_comparison
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.exact.solutions import LangevinSpectrum

VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
WELL = pk.potentials.DoubleWell()
small = st.sampled_from(
    [
        pk.Grid(-2, 2, 24),
        pk.Grid(0, 2 * np.pi, 21, periodic=True),
        pk.Grid((-1, -1), (1, 1), (7, 6)),
        pk.Grid((0, -1), (2 * np.pi, 1), (6, 7), periodic=(True, False)),
    ]
)
seeds = st.integers(0, 10**6)


def dense_rates(equation, grid):
    """All rates but the zero, by a full eigenvalue solver."""
    matrix = Problem(equation, grid, None).generator().matrix().toarray()
    rates = -np.linalg.eigvals(matrix)
    return sorted(rates, key=lambda r: r.real)[1:]


@pytest.mark.parametrize("beta", [1, 2, 4, 8, 16])
def test_the_gap_of_the_double_well(beta):
    """2e-5 of itself on 2,000 cells, 1e-9 from two grids; oracle: sinc collocation."""
    wall = 5.0 if beta == 1 else 4.0 if beta < 4 else 3.0
    oracle = LangevinSpectrum(WELL, beta, -wall, wall, 401).rates[1]
    equation, grid = pk.FokkerPlanck(WELL, beta), pk.Grid(-wall, wall, 2000)
    assert pk.spectral_gap(equation, grid) == pytest.approx(oracle, rel=2e-5)
    assert pk.spectral_gap(equation, grid, extrapolate=True) == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize("beta", [2, 8])
def test_the_rates_of_the_table(beta):
    table = VALUES[f"dw.gap.b{beta}"]["value"]
    true = [float(table[k]) for k in ("lambda1", "lambda2_even", "lambda3_odd")]
    found = [
        pk.slow_modes(pk.BackwardKolmogorov(WELL, beta), pk.Grid(-4, 4, n), 3).rates
        for n in (1000, 2000)
    ]
    np.testing.assert_allclose(found[1], true, rtol=5e-5)
    np.testing.assert_allclose((4 * found[1] - found[0]) / 3, true, rtol=1e-8)


@pytest.mark.parametrize("beta", [200, 800, 2500])
def test_a_gap_of_any_size_keeps_its_digits(beta):
    """1 / gap is the mean time to the top where both wells are alike: down to 1e-272, to 1e-9.

    On an even grid the edge 0 is a face, and the passage time the half of an odd problem: equal but
    for exponentially small terms.
    """
    equation, grid = pk.FokkerPlanck(WELL, beta), pk.Grid(-2, 2, 1000)
    time = pk.mean_first_passage_time(equation, grid, (0.0, np.inf)).values[:500]
    well = pk.stationary(equation, grid).values[:500]
    mean = (well * time).sum() / well.sum()
    gap = pk.spectral_gap(equation, grid)
    assert gap * mean == pytest.approx(1, rel=1e-9)
    kramers = 2 / pk.kramers_time(WELL, -1.0, 0.0, beta)
    assert gap == pytest.approx(kramers, rel=2 / beta)


def alone(verb, *arguments):
    """The answer on these cells, without a look at others, which costs ten times as much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_comparison, "compare", lambda *_, **__: None)
        return verb(*arguments)


@settings.get_profile("often")
@given(small, seeds, st.integers(1, 4))
def test_reversible_rates_and_modes(grid, seed, count):
    """Rates are those of a full solver; functions are orthonormal in equilibrium."""
    plain = random_equation(grid, seed, tensor=False)
    equation = pk.FokkerPlanck(plain.potential, plain.beta)
    made = alone(pk.slow_modes, equation, grid, count)
    dense = np.real(dense_rates(equation, grid))[:count]
    assert made.rates.dtype == float and made.gap == made.rates[0]
    np.testing.assert_allclose(made.rates, dense, rtol=1e-8)
    rho = decaying_modes(made, equation, grid)
    weighted = made.functions.reshape(count, -1) * np.sqrt(rho.ravel() * grid.cell_volume)
    np.testing.assert_allclose(weighted @ weighted.T, np.eye(count), atol=1e-8)


@settings.get_profile("often")
@given(small, seeds)
def test_rates_and_modes_out_of_equilibrium(grid, seed):
    """Three of them, sorted by real part, those of a full solver; a random tensor and force."""
    equation = random_equation(grid, seed)
    made = alone(pk.slow_modes, equation, grid, 3)
    dense = dense_rates(equation, grid)[:5]
    for rate in made.rates:
        assert min(abs(rate - other) for other in dense) < 1e-8 * abs(rate)
    assert made.gap == pytest.approx(dense[0].real, rel=1e-8)
    decaying_modes(made, equation, grid)


def decaying_modes(made, equation, grid):
    """Each decays at its rate, with mean zero and norm one in the density, which is returned."""
    rho = alone(pk.stationary, equation, grid).values
    generator = Problem(equation, grid, None).generator()
    count = len(made.rates)
    assert made.modes.dims == ("mode", *grid.names) and made.modes.shape == (count, *grid.shape)
    for rate, phi in zip(made.rates, made.functions, strict=True):
        moved = generator.backward(phi.real) + 1j * generator.backward(phi.imag)
        assert np.abs(moved + rate * phi).max() < 1e-8 * generator.exit_rate().max()
        assert grid.integrate(rho * phi) == pytest.approx(0, abs=1e-9)
        assert grid.integrate(rho * np.abs(phi) ** 2) == pytest.approx(1, abs=1e-10)
    return rho


def rough(seed, grid, depth, forced, absorbing):
    """A potential of independent heights up to ``depth`` in the cells of the unit box."""
    rng = np.random.default_rng(seed)
    heights, push = depth * rng.random(grid.shape), 10 * rng.uniform(-1, 1, grid.dim)

    def potential(x):
        cell = np.minimum((x * grid.cells).astype(int), np.array(grid.cells) - 1)
        return heights[tuple(np.moveaxis(cell, -1, 0))]

    return pk.FokkerPlanck(
        pk.potentials.Custom(potential, dim=grid.dim),
        1.0,
        force=(lambda x: push + 0 * x) if forced else None,
        walls=absorbing,
    )


def pivots(equation, grid, rate):
    """Those of kill - L - rate in rational numbers: as many are negative as rates are below."""
    generator = Problem(equation, grid, None).generator()
    jumps = generator.matrix().toarray()
    np.fill_diagonal(jumps, 0.0)
    loss = np.zeros(len(jumps)) if generator.loss is None else generator.loss.ravel()
    a = [[-Fraction(v) for v in row] for row in jumps]
    for i, row in enumerate(a):
        row[i] = Fraction(loss[i]) - sum(row) - Fraction(rate)
    out = []
    while a:
        first, *rest = a
        out.append(first[0])
        a = [
            [v - row[0] / first[0] * u for u, v in zip(first[1:], row[1:], strict=True)]
            for row in rest
        ]
    return out


def below(equation, grid, rate):
    return sum(p < 0 for p in pivots(equation, grid, rate))


DEEP = {
    "line": (pk.Grid(0, 1, 12), None),
    "line, walls": (pk.Grid(0, 1, 12), pk.Walls(True, False)),
    "ring": (pk.Grid(0, 1, 12, periodic=True), None),
    "plane": (pk.Grid((0, 0), (1, 1), (4, 4)), None),
    "plane, walls": (pk.Grid((0, 0), (1, 1), (4, 4)), pk.Walls((True, False), (True, True))),
}


@pytest.mark.filterwarnings("ignore:the potential should be periodic")
@pytest.mark.parametrize("depth", [10.0, 60.0, 250.0])
@pytest.mark.parametrize("where", DEEP)
def test_every_rate_of_a_rough_potential_has_its_digits(where, depth):
    """Many rates of any size side by side, to 1e-8 of each: a count in rational numbers."""
    grid, absorbing = DEEP[where]
    for seed in range(8):
        equation = rough(seed, grid, depth, False, absorbing)
        rates = pk.slow_modes(equation, grid, 4).rates
        assert rates.min() > 0 and (np.diff(rates) >= 0).all()
        for k, rate in enumerate(rates, start=absorbing is None):
            assert below(equation, grid, rate * (1 - 1e-8)) <= k
            assert below(equation, grid, rate * (1 + 1e-8)) >= k + 1


@pytest.mark.parametrize("depth", [10.0, 60.0, 250.0])
@pytest.mark.parametrize("where", ["line, walls", "plane, walls"])
def test_the_rate_of_escape_has_its_digits_in_a_drift_that_turns(where, depth):
    """kill - L - λ is an M-matrix, with positive pivots, for λ below that of escape only."""
    grid, absorbing = DEEP[where]
    for seed in range(8):
        equation = rough(seed, grid, depth, True, absorbing)
        gap = pk.spectral_gap(equation, grid)
        assert (
            below(equation, grid, gap * (1 - 1e-8)) == 0 < below(equation, grid, gap * (1 + 1e-8))
        )


def test_several_modes_beside_a_rate_of_1e_44():
    """At large beta: the top (curvature -1) has the rates 1, 2, ..., the two bottoms 2, 4, ..."""
    equation, grid = pk.FokkerPlanck(WELL, 400.0), pk.Grid(-2, 2, 2000)
    made = pk.slow_modes(equation, grid, 4)
    assert made.rates[0] == pytest.approx(2 / pk.kramers_time(WELL, -1.0, 0.0, 400.0), rel=0.01)
    np.testing.assert_allclose(made.rates[1:], [1, 2, 2], rtol=0.05)
    weights = pk.stationary(equation, grid).values * grid.cell_volume
    products = np.einsum("ix,jx,x->ij", made.functions, made.functions, weights)
    np.testing.assert_allclose(products, np.eye(4), atol=1e-8)


def test_functions_of_a_mode_are_smooth_where_the_density_is_nothing():
    """Beyond a wall of 250 / beta the mode goes on as it must: each side of L φ = -λ φ is seen."""
    equation, grid = pk.FokkerPlanck(WELL, 16.0), pk.Grid(-3, 3, 60)
    generator = Problem(equation, grid, None).generator()
    made = pk.slow_modes(equation, grid, 3)
    for rate, phi in zip(made.rates, made.functions, strict=True):
        moved = generator.backward(phi) / generator.exit_rate()
        np.testing.assert_allclose(moved, -rate * phi / generator.exit_rate(), atol=1e-9)


def test_a_mode_beyond_floats_has_a_rate_but_no_function():
    tilted = pk.potentials.Custom(lambda x: (x[..., 0] ** 2 - 1) ** 2 / 4 + 0.12 * x[..., 0])
    made = pk.slow_modes(pk.FokkerPlanck(tilted, 3000.0), pk.Grid(-2, 2, 400), 2)
    top, bottom = np.roots([1, 0, -1, 0.12])[[2, 1]]
    kramers = 1 / pk.kramers_time(tilted, bottom, top, 3000.0)
    assert made.rates[0] == pytest.approx(kramers, rel=0.05)
    with pytest.raises(pk.ConvergenceError, match="1e-300"):
        made.functions  # noqa: B018


def test_rates_that_cannot_be_told_apart_are_refused():
    """A force round a ring of two deep wells: only the slowest rate is told in floats."""
    ring = pk.Grid(-np.pi, np.pi, 200, periodic=True)
    equation = pk.FokkerPlanck(lambda x: -np.cos(2 * x[..., 0]), 60.0, force=lambda x: 0.01 + 0 * x)
    assert 1e-53 < pk.spectral_gap(equation, ring) < 1e-50
    with pytest.raises(
        pk.ConvergenceError, match="differ by more than floating-point numbers resolve"
    ):
        pk.slow_modes(equation, ring, 3)


def test_two_wells_a_direction_have_the_gap_of_one_twice():
    line = pk.slow_modes(pk.FokkerPlanck(WELL, 6.0), pk.Grid(-3, 3, 48), 1).gap
    plane = pk.Grid((-3, -3), (3, 3), 48)
    made = pk.slow_modes(pk.FokkerPlanck(pk.potentials.DoubleWell(2), 6.0), plane, 3)
    np.testing.assert_allclose(made.rates, [line, line, 2 * line], rtol=1e-9)


@pytest.mark.parametrize("turn", [0.5, 3.0, 8.0])
def test_a_turning_linear_drift(turn):
    """dX = -(1 + turn J) X dt + noise: the slowest rates are 1 ± i turn, of second order in h.

    For turn = 8 faster-decaying real rates (2, 4, 6) are smaller in modulus.
    """
    errors = []
    for cells in (40, 80):
        equation = pk.FokkerPlanck(
            pk.potentials.Quadratic(dim=2),
            4.0,
            force=lambda x: turn * np.stack([-x[..., 1], x[..., 0]], -1),
        )
        made = pk.slow_modes(equation, pk.Grid((-3, -3), (3, 3), cells), 2)
        np.testing.assert_allclose(made.rates[0], made.rates[1].conj(), rtol=1e-9)
        errors.append(abs(made.rates[0] - (1 + 1j * turn)))
    assert errors[1] < 0.02 * (1 + turn) and errors[0] / errors[1] > 3.0


@pytest.mark.parametrize("wall", [pk.Walls(True, True), pk.Walls(upper=True)])
def test_absorbing_walls_let_the_mass_out(wall):
    """Diffusion on [0, 1]: π² / β between two absorbing walls, π² / 4β with one."""
    free = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 2.0, walls=wall)
    true = np.pi**2 / 2 / (1 if wall.lower else 4)
    gaps = [pk.spectral_gap(free, pk.Grid(0, 1, n)) for n in (50, 100)]
    assert gaps[1] == pytest.approx(true, rel=1e-3)
    assert abs(gaps[0] - true) / abs(gaps[1] - true) == pytest.approx(4, abs=0.5)


def test_heat_in_a_box():
    made = pk.slow_modes(pk.Heat(3.0), pk.Grid((0, 0), (1, 2), (40, 60)), 3)
    np.testing.assert_allclose(made.rates, np.pi**2 / 6 * np.array([1 / 4, 1, 1]), rtol=2e-3)


def test_extrapolation_is_of_fourth_order():
    equation = pk.FokkerPlanck(WELL, 4.0)
    true = LangevinSpectrum(WELL, 4.0, -3, 3, 401).rates[1]
    grids = [pk.Grid(-3, 3, n) for n in (60, 120)]
    errors = [abs(pk.spectral_gap(equation, g, extrapolate=True) / true - 1) for g in grids]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)
    assert errors[0] < 3e-5


MISTAKES = {
    "first order": (lambda: pk.spectral_gap(pk.HamiltonJacobi(), GRIDS["line"]), TypeError,
                    "linear equation"),
    "no grid": (lambda: pk.spectral_gap(pk.Heat(1.0), 5), TypeError, r"pdekit\.Grid"),
    "too slow for floats": (
        lambda: pk.spectral_gap(pk.FokkerPlanck(WELL, 2900.0), pk.Grid(-2, 2, 1000)),
        pk.ConvergenceError, "1e-2[0-9]+"),
    "no modes": (lambda: pk.slow_modes(pk.Heat(1.0), GRIDS["line"], 0), ValueError, "count"),
    "all modes": (lambda: pk.slow_modes(pk.Heat(1.0), GRIDS["line"], 64), ValueError, "1 to 21"),
}  # fmt: skip


test_mistakes = named(MISTAKES)
