"""Faults of units, constants and narrow data: tolerances that were no shares of the problem."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.stats import norm

import pdekit as pk
from pdekit.particles.chebyshev import separable_sum
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.supply import supply


def curie_weiss(scale: float) -> pk.McKeanVlasov:
    """A double well in units of length in which its wells are at ±scale."""

    def well(x: Any) -> Any:
        return scale**2 * ((x[..., 0] / scale) ** 2 - 1) ** 2 / 4

    return pk.McKeanVlasov(well, 4 / scale**2, pk.CurieWeiss(1.0))


def test_states_in_any_unit_of_length() -> None:
    for scale in (1e-13, 1e-9, 1.0, 100.0, 200.0, 1e3, 1e6):
        for cells in (300, 400):
            grid = pk.Grid(-3 * scale, 3 * scale, cells)
            means = [s.mean / scale for s in pk.self_consistent_states(curie_weiss(scale), grid)]
            np.testing.assert_allclose(means, [-0.7875504068438, 0, 0.7875504068438], atol=6e-13)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e4])
def test_the_only_state_is_found_in_any_unit(scale: float) -> None:
    equation = pk.McKeanVlasov(pk.potentials.Quadratic(1.0), scale**-2, pk.CurieWeiss(1.0))
    (state,) = pk.self_consistent_states(equation, pk.Grid(-9 * scale, 9 * scale, 400))
    assert abs(state.mean) < 1e-12 * scale


@pytest.mark.parametrize("scale", [1e3])
def test_a_phase_diagram_in_any_unit(scale: float) -> None:
    betas = np.array([2.0, 3.0]) / scale**2
    found = pk.phase_diagram(curie_weiss(scale).potential, betas, [1.0])
    assert found.data["states"].values.tolist() == [[1, 3]]
    assert len(found.branches[1.0]) == 2  # each once


@pytest.mark.parametrize("width", [0.2, 0.3, 0.7, 1.0, 1.5, 2.0, 3.0])
def test_heat_from_a_jump_at_a_face(width: float) -> None:
    """Right to 1 %, or it warns and what it advises is."""
    grid, t = pk.Grid(-1, 1, 200), (width * 0.01) ** 2

    def step(x: Any) -> Any:
        return 1.0 * (x[..., 0] > 0)

    def error(grid: pk.Grid) -> float:
        x = grid.axes[0]
        u = pk.solve(pk.Heat(1.0), grid, step, t).fields[0]
        return float(np.abs(u - norm.cdf(x / np.sqrt(t)))[np.abs(x) < 0.5].max())

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrong = error(grid)
    assert bool(caught) == (wrong > 0.01)
    if caught:
        finer = int(str(caught[0].message).split("; (")[1].split(",")[0])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert error(pk.Grid(-1, 1, finer)) < 0.01


def test_heat_from_a_jump_at_a_face_of_the_plane() -> None:
    grid = pk.Grid([-1, -1], [1, 1], [40, 40])
    with pytest.warns(pk.ResolutionWarning, match="jumps from cell to cell"):
        pk.solve(pk.Heat(1.0), grid, lambda x: 1.0 * (x[..., 0] * x[..., 1] > 0), 0.05**2)


@pytest.mark.parametrize(
    ("place", "std", "spread", "least"),
    [
        (0.3, 1e-9, 0.7, 0.3), (0.3, 1e-9, 4.0, 0.03), (0.3, 1e-9, 8.0, 0.015),
        (0.5, 1e-9, 1.0, 0.15), (0.5, 1e-9, 4.0, 0.0), (0.3, 0.5, 4.0, 0.0),
        (0.3, 1.0, 0.2, 0.0), (0.3, 1.0, 1.0, 0.02), (0.3, 1.0, 4.0, 0.0),
    ],
)  # fmt: skip
def test_a_law_narrower_than_the_cells(
    place: float, std: float, spread: float, least: float
) -> None:
    """A warning, true to its number, where the density is off by 1 % of the mass in L1."""
    grid = pk.Grid(-2, 2, 100)
    h, flat = grid.spacing[0], pk.potentials.Custom(lambda x: 0 * x[..., 0])
    law = pk.Gaussian(place * h, std * h)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        u = pk.solve(pk.FokkerPlanck(flat, 2.0), grid, law, (spread * h) ** 2)
    exact = np.diff(norm.cdf(grid.faces[0], place * h, h * np.hypot(std, spread)))
    wrong = float(np.abs(u.fields[0] * h - exact).sum())
    assert least <= wrong and bool(caught) == (wrong > 0.01)
    if caught:
        said = float(str(caught[0].message).split("another by ")[1].split()[0])
        assert said == pytest.approx(wrong, rel=0.15)


def test_a_narrow_law_that_is_forgotten_does_not_warn() -> None:
    """Without the drift it would be off by 2 %; of a stationary density nothing is left of it."""
    equation = pk.FokkerPlanck(pk.potentials.Quadratic(1.0), 4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pk.solve(equation, pk.Grid(-3, 3, 60), pk.Gaussian(0.03, 1e-9), 5.0)


def test_a_narrow_law_in_the_plane() -> None:
    grid, law = pk.Grid([-1, -1], [1, 1], [50, 30]), pk.Gaussian([0.01, 0.0], [1e-6, 0.1])
    flat = pk.potentials.Custom(lambda x: 0 * x[..., 0], dim=2)
    with pytest.warns(pk.ResolutionWarning, match="narrower than the cells"):
        pk.solve(pk.FokkerPlanck(flat, 2.0), grid, law, 0.001)


@pytest.mark.parametrize("constant", [0.0, 1e4, 1e8])
def test_a_constant_in_f_leaves_the_nodes_between_the_centres(constant: float) -> None:
    def f(x: Any) -> Any:
        return constant + np.cos(3 * x[..., 0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        u = pk.solve(pk.HamiltonJacobi(), pk.Grid(-1, 1, 7), f, 1.0).fields[0]
    y = np.linspace(-1, 1, 2_000_001)
    exact = [(np.cos(3 * y) + (y - x) ** 2 / 2).min() for x in pk.Grid(-1, 1, 7).axes[0]]
    np.testing.assert_allclose(u - constant, exact, atol=1e-10 + 1e-15 * constant)


@pytest.mark.parametrize(
    "supplied",
    [
        {"source": 1.0, "walls": pk.Walls(False, True)},
        {"walls": pk.Walls(pk.Held(1.0), True)},
        {"walls": pk.Walls(pk.Inflow(1.0), True)},
    ],
)
def test_a_supply_behind_a_barrier(supplied: Any) -> None:
    """Against the exponential of the chain with one more state, from which it is supplied."""
    equation = pk.FokkerPlanck(pk.potentials.DoubleWell(), 4.0, **supplied)
    grid, law = pk.Grid(-3, 3, 200), pk.Gaussian(-1, 0.2)
    problem = Problem(equation, grid, law)
    chain = np.zeros((201, 201))
    chain[:200, :200] = problem.generator().matrix().toarray().T
    chain[:200, 200] = supply(problem)
    exact = (expm(chain) @ np.append(problem.values, 1.0))[:200]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the density does reach the wall, in a layer
        (found,) = pk.solve(equation, grid, law, 1.0).fields
    np.testing.assert_allclose(found, exact, atol=1e-9 * exact.max())


def test_ensembles_with_exits_are_certified() -> None:
    well, law = pk.potentials.DoubleWell(), pk.Uniform(-1.2, -0.8)
    for dynamics in (
        pk.Langevin(well, 4.0, killing=1.0),
        pk.Langevin(well, 4.0, box=pk.Grid(-1.5, 1.5, 100), walls=pk.Walls(True, False)),
    ):
        ensemble = pk.simulate(dynamics, law, 200, [0.0, 0.5, 1.0], 0.05)
        assert np.isnan(ensemble.x.values).any()
        assert pk.certify(ensemble).passed
        lost = ensemble.x.copy()
        lost.values[1, int(np.flatnonzero(~np.isnan(lost.values[1, :, 0]))[0])] = np.nan
        assert not pk.certify(replace(ensemble, x=lost)).passed  # that one was on its way


@pytest.mark.parametrize("cells", [50, 200])
@pytest.mark.parametrize(("left", "right", "place"), [(1, 1, 0.0), (1, 3, 0.0), (1, 1, 0.011)])
def test_infima_between_the_centres(cells: int, left: float, right: float, place: float) -> None:
    def f(x: Any) -> Any:
        y = x[..., 0] - place
        return np.where(y > 0, right * y, -left * y)

    u = pk.solve(pk.HamiltonJacobi(), pk.Grid(-3, 3, cells), f, [0.0, 0.1, 1.0])
    assert pk.certify(u).passed
    too_low = replace(u, fields=u.fields - 0.07 * (u.times > 0)[:, None] * 50 / cells)
    assert not pk.certify(too_low).passed


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_certificates_of_particles_in_any_unit(scale: float) -> None:
    def simulated(potential: Any, std: float) -> Any:
        law = pk.Gaussian(-scale, std * scale)
        return pk.simulate(pk.Langevin(potential, 4 / scale**2), law, 500, [0.0, 0.5], 0.01)

    well = simulated(pk.potentials.Custom(curie_weiss(scale).potential), 0.2)
    assert [c.passed for c in pk.certify(well)] == [True, None]
    one, other = (simulated(pk.potentials.Quadratic(1.0), std) for std in (0.2, 0.3))
    contraction = pk.certificates.SynchronousContraction(other)
    assert [c.passed for c in pk.certify(one, contraction)] == [True]


@pytest.mark.parametrize(
    "supplied", [{}, {"source": 1e-3}, {"walls": pk.Walls(pk.Held(1.0), True)}]
)
def test_expectations_at_metastable_times(supplied: Any) -> None:
    """Absorbed over barriers of 64 kT: against the exponential, scaled and squared."""
    equation = pk.BackwardKolmogorov(
        pk.potentials.DoubleWell(), 4.0, **{"walls": pk.Walls(True, True), **supplied}
    )
    grid = pk.Grid(-3, 3, 200)
    problem = Problem(equation, grid, lambda x: 1 + 0 * x[..., 0])
    chain = np.zeros((201, 201))
    chain[:200, :200] = problem.generator().matrix().toarray()
    added = supply(problem)
    chain[:200, 200] = 0.0 if added is None else added
    exact = (expm(1e4 * chain) @ np.append(problem.values, 1.0))[:200]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.ResolutionWarning)  # of the layers at the walls
        (found,) = pk.solve(equation, grid, problem.initial, 1e4).fields
    np.testing.assert_allclose(found, exact, atol=1e-6 * exact.max())


@pytest.mark.parametrize("constant", [1e8])
@pytest.mark.parametrize("coupling", [None, pk.Congestion(0.5)])
def test_a_constant_cost_changes_no_control(constant: float, coupling: Any) -> None:
    """Whether paid at the end or on the way."""
    grid, law, T = pk.Grid(-4, 4, 80), pk.Gaussian(1, 0.4), 1.0
    times = T if coupling is None else np.linspace(0, T, 11)

    def controlled(end: float, per_time: float) -> pk.Control:
        def terminal(x: Any) -> Any:
            return end + x[..., 0] ** 2 / 2

        def running(x: Any) -> Any:
            return per_time + 0 * x[..., 0]

        well = pk.potentials.Quadratic(1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pk.control(well, 4.0, grid, law, terminal, times, running, coupling)

    plain = controlled(0.0, 0.0)
    for found in (controlled(constant, 0.0), controlled(0.0, constant)):
        np.testing.assert_allclose(found.density.fields, plain.density.fields, atol=1e-6)
        assert found.optimum - constant == pytest.approx(plain.optimum, abs=1e-14 * constant)
        assert found.effort == pytest.approx(plain.effort, abs=1e-6)
        assert found.improvement.exact == pytest.approx(plain.improvement.exact, abs=1e-6)
        assert found.terminal + found.running == pytest.approx(found.optimum)
        first, last = (float(found.value.fields[k].min()) for k in (0, -1))
        assert (found.value.stats["minimum"], max(first, last)) == (min(first, last), first)


@pytest.mark.parametrize("constant", [1e6, 1e8])
def test_a_constant_cost_at_many_times(constant: float) -> None:
    def terminal(x: Any) -> Any:
        return x[..., 0] ** 2 / 2

    equation, grid = pk.HamiltonJacobiBellman(terminal, 4.0), pk.Grid(-4, 4, 200)
    times = np.linspace(0, 1, 21)
    plain = pk.solve(equation, grid, terminal, times).fields
    other = pk.solve(equation, grid, lambda x: constant + terminal(x), times).fields
    np.testing.assert_allclose(other - constant, plain, atol=1e-15 * constant)


@pytest.mark.parametrize("scale", [1e-14, 1e-9, 1e6])
def test_chebyshev_sums_in_any_unit(scale: float) -> None:
    """Also of particles on a line of the plane, whose box has no width."""
    x = torch.linspace(-1, 1, 50, dtype=torch.float64)
    for flat in (0.0, 1.0):
        places = torch.stack([x, flat * x**2], -1) * scale

        def force(z: Any) -> Any:
            return z / scale * torch.exp(-((z / scale) ** 2).sum(-1, keepdim=True))

        exact = force(places[:, None] - places[None]).mean(1)
        torch.testing.assert_close(separable_sum(force, places, 1e-8), exact, atol=1e-7, rtol=0)
