"""The first cell, the last run, no rate at all, an empty place: edges of what is admitted."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.comparison import distances, transport
from pdekit.comparison.estimate import Estimate
from pdekit.comparison.improvement import SampledImprovement
from pdekit.comparison.layers import _legendre
from pdekit.comparison.metrics import L1, W1
from pdekit.comparison.semiconcavity import _bound
from pdekit.particles.noise import (
    INITIAL_NORMAL,
    INITIAL_UNIFORM,
    Address,
    LawNoise,
    fill_normals,
    fill_uniforms,
)
from pdekit.particles.run.descriptions import is_hidden
from pdekit.pde import function_cells
from pdekit.pde.control.couplings import Congestion
from pdekit.pde.discrete import subcell
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import Collocation, Line

WELL = pk.potentials.DoubleWell()


def test_where_nothing_moves_marching_leaves_all_as_it_is() -> None:
    u, none = np.arange(1.0, 6.0), np.zeros(4)
    collocation = Collocation(
        Line(none, none, np.zeros(5), True), relative=False, error_budget=1e-8
    )
    left, error = collocation.march(u, 7.0, lambda s, h: 1e-8)
    assert error == 0 and np.array_equal(left, u)


def test_boxes_are_as_fine_as_a_narrow_density() -> None:
    grid = pk.Grid(0, 1, 2000)
    mass = np.zeros(2000)
    mass[700:712] = 1 / 12
    seen, rho, centres = transport.occupied_boxes(np.round(240 * mass), mass, grid)
    assert rho.size == 12 and seen.size == 12
    np.testing.assert_allclose(np.ravel(centres), grid.axes[0][700:712], rtol=1e-12)


@pytest.mark.parametrize("walled", [0, 1])
def test_what_is_expected_beyond_a_wall_of_a_pipe(walled: int) -> None:
    """exp(-x/3) over the cells along the walled axis goes on with three times its last share."""
    grid = pk.Grid((0, 0), (1, 1), (30, 30), periodic=(walled == 1, walled == 0))
    line = np.exp(-np.arange(30) / 3)
    mass = np.multiply.outer(line, np.full(30, 1 / 30)) / line.sum()
    found = distances.expected_outside(mass if walled == 0 else mass.T, grid)
    assert found == pytest.approx(3 * line[-1] / line.sum(), rel=0.05)


def test_the_last_of_all_runs_has_its_noise() -> None:
    last = Address(3, run=(1 << 24) - 1)
    for fill in (fill_normals, fill_uniforms):
        assert torch.isfinite(fill(torch.empty(1, 8, dtype=torch.float64), last)).all()
        with pytest.raises(ValueError, match="run"):
            fill(torch.empty(2, 8, dtype=torch.float64), last)


def test_a_kink_at_time_zero_leaves_nothing_to_be_unsure_of() -> None:
    """C = inf: the bound 1 / t does not depend on it."""
    assert _bound(np.inf, 0.5) == 2


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_congestion_changes_by_finite_numbers_at_an_empty_place(power: float) -> None:
    grid, rho = pk.Grid(0, 1, 4), np.array([0.0, -1e-18, 1.0, 2.0])
    change = Congestion(2.0, power).derivative(rho, np.ones(4), grid)
    assert np.isfinite(change).all() and (change >= 0).all()
    np.testing.assert_allclose(change[2:], 2 * power * rho[2:] ** (power - 1), rtol=1e-12)


def test_every_cell_of_a_line_is_looked_at() -> None:
    problem = SimpleNamespace(grid=pk.Grid(0, 1, 9), equation=pk.BackwardKolmogorov(WELL, 1.0))
    (kept,) = function_cells._kept(problem)
    assert kept.tolist() == list(range(8))


def test_seeds_of_a_comparison_are_not_negative() -> None:
    ensemble = pk.simulate(pk.Langevin(WELL, 2.0), pk.Gaussian(-1.0, 0.1), 50, 0.1, 0.05)
    solution = pk.solve(pk.FokkerPlanck(WELL, 2.0), pk.Grid(-3, 3, 60), pk.Gaussian(-1.0, 0.1), 0.1)
    with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
        pk.compare(solution, ensemble, seed=-1)


def test_two_tests_at_once_take_twice_the_smaller_p_value() -> None:
    """Bonferroni's, or a metric of one's own would add false alarms."""
    ensemble = pk.simulate(pk.Langevin(WELL, 2.0), pk.Gaussian(-0.9, 0.1), 400, 0.1, 0.05)
    solution = pk.solve(pk.FokkerPlanck(WELL, 2.0), pk.Grid(-3, 3, 60), pk.Gaussian(-1.0, 0.1), 0.1)
    data = pk.compare(solution, ensemble, metrics=[W1(), L1()]).data
    assert data["floor_l1"].values == pk.compare(solution, ensemble).data["floor_l1"].values
    each = np.minimum(data["p_layers"].values, data["p_metrics"].values)
    assert 0 < each < 0.5
    np.testing.assert_allclose(data["p_value"].values, 2 * each)


@pytest.mark.parametrize(
    ("gap", "difference", "passed"),
    [((0.1, 0.2), (-1, 1), True), ((-2, -1), (-1, 1), False), ((0.1, 0.2), (1, 2), False)],
)
def test_an_improvement_is_refuted_by_a_loss_or_another_gap(
    gap: Any, difference: Any, passed: bool
) -> None:
    wide = Estimate(0.0, -1.0, 1.0)
    gap, difference = (Estimate(sum(ends) / 2, *ends) for ends in (gap, difference))
    made = SampledImprovement(wide, wide, wide, gap, wide, difference, 0.99)
    assert made.passed() is passed
    assert made.passed(slack=2.5)


def test_standard_errors_of_moments_and_where_there_are_none() -> None:
    """Of a Gaussian 1 and sqrt 2; of a coin the variance, of a point both say nothing."""
    grid = pk.Grid(0, 1, 10)
    gauss, coin, point = (
        distances.moment_errors(np.array([v]), np.array([f]), grid)[:, 0]
        for v, f in ((1.0, 3.0), (1.0, 1.0), (0.0, 0.0))
    )
    np.testing.assert_allclose(gauss, [1, np.sqrt(2)], rtol=1e-12)
    assert coin[0] == 1 and np.isinf(coin[1]) and np.isinf(point).all()


def test_a_quadratic_hamiltonian_may_be_as_weak_as_one_likes() -> None:
    assert pk.hamiltonians.Quadratic(((1e-3,),))(np.array([2.0])) == pytest.approx(2e-3)
    with pytest.raises(ValueError, match="positive"):
        pk.hamiltonians.Quadratic(((0.0,),))


def test_a_slope_that_looks_at_the_other_points_is_refused() -> None:
    together = pk.Langevin(lambda x: ((x - x.mean(-2, keepdim=True)) ** 2).sum(-1), 2.0)
    with pytest.raises(ValueError, match="depends on the other points"):
        pk.simulate(together, pk.Gaussian(0.0, 1.0), 100, 0.1, 0.01)


def test_steps_of_a_controlled_density_are_counted() -> None:
    """One for every interval, where none has to be halved."""
    found = pk.control(
        WELL, 2.0, pk.Grid(-3, 3, 60), pk.Gaussian(-1.0, 0.3), lambda x: x[..., 0], [0.1, 0.2, 0.3]
    )
    assert found.density.stats["steps"] == len(found.density.times) - 1


@pytest.mark.parametrize("kind", [itertools.count, object])
def test_what_a_type_of_c_keeps_is_hidden_whatever_is_added(kind: type) -> None:
    named = {"__slots__": tuple(f"part{k}" for k in range(40))}
    assert is_hidden(type("Mine", (kind,), named)) is (kind is itertools.count)


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_polynomials_of_the_plane_are_all_those_of_a_degree(degree: int) -> None:
    """(n + 1)(n + 2) / 2 of them, less the constant, orthogonal under an even mass."""
    found = np.array(_legendre(np.full((200, 200), 1 / 40_000), degree))
    assert len(found) == (degree + 1) * (degree + 2) // 2 - 1
    products = found @ found.T / 40_000
    assert np.abs(products - np.diag(products.diagonal())).max() < 1e-3


@pytest.mark.parametrize("dim", [1, 2])
def test_what_is_at_the_very_centre_of_a_cell_counts(dim: int) -> None:
    """A narrow fall there is among the samples that a cell's mean is made of."""
    grid = pk.Grid((0.0,) * dim, (1.0,) * dim, (6,) * dim)

    def falls(x: Any) -> Any:
        away = np.abs(x * 6 - np.floor(x * 6) - 0.5).max(-1)
        return np.where(away < 1e-6, -1.0, 0.0)

    assert (subcell.softly(falls, grid, 2.0, "the cost") < -1e-3).all()


def test_draws_of_a_law_are_counted_from_zero() -> None:
    """The step of the counter is the number of the call, whatever it draws."""
    noise = LawNoise(3, run=2)
    normals, uniforms = noise.normal(4, 1), noise.uniform(4, 1)
    empty = torch.empty(1, 4, dtype=torch.float64)
    at = Address(3, 2, INITIAL_NORMAL, 0), Address(3, 2, INITIAL_UNIFORM, 1)
    assert torch.equal(normals.ravel(), fill_normals(empty.clone(), at[0]).ravel())
    assert torch.equal(uniforms.ravel(), fill_uniforms(empty.clone(), at[1]).ravel())


def test_a_hamiltonian_of_ones_own_has_one_or_two_slopes() -> None:
    def tilted(p: Any) -> Any:
        return (p**2).sum(-1) / 2 + p[..., 0]

    assert pk.hamiltonians.Custom(tilted, dim=2)(np.array([2.0, 1.0])) == pytest.approx(4.5)
    with pytest.raises(ValueError, match="1 or 2"):
        pk.hamiltonians.Custom(tilted, dim=3)


def test_the_order_of_the_terms_of_a_potential_does_not_matter() -> None:
    """Fused steps begin with the first term and add the others."""
    one, other = WELL, pk.potentials.Quadratic()
    last = [
        pk.simulate(pk.Langevin(V, 2.0), pk.Gaussian(-1.0, 0.3), 40, 0.2, 0.02).final.values
        for V in (one + other, other + one)
    ]
    np.testing.assert_allclose(last[1], last[0], rtol=1e-12)


def test_a_stored_potential_is_linear_between_its_times() -> None:
    knots, grid = np.linspace(-2, 2, 9), pk.Grid(-1, 1, 16)
    moving = pk.potentials.Evolving([0.0, 2.0, 3.0], knots, [0 * knots, knots**2, 5 * knots])
    problem = Problem(pk.FokkerPlanck(moving, 1.0), grid, pk.Gaussian(0.0, 0.1))
    at = [problem.potential(t) for t in (0.0, 0.5, 2.0, 2.25, 3.0)]
    np.testing.assert_allclose(at[1], 0.75 * at[0] + 0.25 * at[2], atol=1e-14)
    np.testing.assert_allclose(at[3], 0.75 * at[2] + 0.25 * at[4], atol=1e-14)
    assert np.ptp(at[2]) > 0.5 and np.ptp(at[4]) > 5


def test_the_floor_of_l1_is_what_particles_of_the_density_itself_have() -> None:
    """Of one particle in two equal bins: 1, wherever it falls."""
    seen = SimpleNamespace(binned=(np.array([1, 0]), np.array([0.5, 0.5])))
    assert L1().floor(seen, np.random.default_rng(0)) == pytest.approx(1.0)
    assert L1().value(seen) == pytest.approx(1.0)


def turned(x: Any) -> Any:
    return 3 * np.stack([-x[..., 1], x[..., 0]], axis=-1)


COLD = pk.FokkerPlanck(pk.potentials.DoubleWell(), 400.0)
TURNED = pk.FokkerPlanck(pk.potentials.Quadratic(1.0, 2), 40.0, force=turned)
FEW, PLANE = pk.Grid(-3, 3, 30), pk.Grid((-3, -3), (3, 3), (24, 24))


@pytest.mark.parametrize(
    "call",
    [
        lambda: pk.stationary(COLD, FEW),
        lambda: pk.stationary(TURNED, PLANE),
        lambda: pk.detailed_balance(COLD, FEW),
        lambda: pk.spectral_gap(COLD, FEW),
        lambda: pk.spectral_gap(COLD, FEW, extrapolate=True),
        lambda: pk.spectral_gap(TURNED, PLANE),
        lambda: pk.slow_modes(COLD, FEW, 2),
        lambda: pk.solve(COLD, FEW, pk.Gaussian(-1.0, 0.3), 1.0),
        lambda: pk.current(COLD, np.exp(-50 * (FEW.axes[0] + 1) ** 2), FEW),
    ],
)
def test_warnings_name_the_line_of_the_caller(call: Any) -> None:
    with pytest.warns(pk.ResolutionWarning) as seen:
        call()
    assert {warning.filename for warning in seen} == {__file__}
