"""Value functions and controls say what they err by: known values, bounds, guards, advice."""

import re
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import test_truth_bellman
from truth import noticed

import pdekit as pk
from pdekit.pde.bellman import value_checks

P, s = pk.potentials, pk.schemes


def steep(dt: float, order: int = 2, stiffness: float = 1000.0, beta: float = 1.0) -> Any:
    """V = x^2 / 2 and a cost a thousand times steeper than its steps of .01 resolve."""
    equation = pk.HamiltonJacobiBellman(P.Quadratic(1.0), beta)
    return pk.solve(equation, pk.Grid(-5, 5, 200), P.Quadratic(stiffness), 0.5,
                    s.PolicyIteration(dt, order))  # fmt: skip


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
@pytest.mark.parametrize("dt", [0.1, 0.01, 0.005])
def test_steps_too_long_for_a_steep_cost_are_cut(dt: float) -> None:
    """5.76 and 8.02 by the Riccati equation, up to the cells' 2 %."""
    found = steep(dt)
    assert found.fields.min() >= 0
    assert found.at([0.0]) == pytest.approx(5.76, rel=0.03)
    assert found.at([2.0]) == pytest.approx(8.02, rel=0.03)
    assert 0 < found.stats["filtered"] < 1


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning", "ignore::pdekit.AccuracyWarning")
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("beta", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("stiffness", [1e-3, 1e2, 1e6])
def test_values_keep_their_bounds(order: int, beta: float, stiffness: float) -> None:
    found = steep(0.1, order, stiffness, beta)
    assert found.fields.min() >= -1e-9 and found.fields.max() <= 12.5 * stiffness * (1 + 1e-9)


def test_a_value_outside_its_bounds_is_an_error(monkeypatch: Any) -> None:
    from pdekit.pde.schemes.doob import DoobTransform

    begin = DoobTransform.start
    monkeypatch.setattr(DoobTransform, "start", lambda *args: lambda t: begin(*args)(t) - 1.0)
    with pytest.raises(pk.ConvergenceError, match="its costs bound it by"):
        pk.solve(pk.HamiltonJacobiBellman(P.DoubleWell(), 4.0), pk.Grid(-3, 3, 300),
                 P.DoubleWell(), 1.0)  # fmt: skip


def cold(cells: int) -> Any:
    """beta = 100: with 200 cells the value jumps by ten over a cell; u(2) is .562."""
    equation = pk.HamiltonJacobiBellman(P.Quadratic(1.0), 100.0)
    return pk.solve(equation, pk.Grid(-5, 5, cells), P.Quadratic(1.0), 0.5)


def test_cells_too_coarse_for_the_transform_are_reported_and_the_advice_helps() -> None:
    with pytest.warns(pk.ResolutionWarning, match="about .* cells would suffice") as said:
        found = cold(200)
    assert found.stats["cell_error"] > abs(found.at([2.0]) - 0.562)
    advised = int(re.search(r"about \((\d+),\)", str(said[0].message)).group(1))  # type: ignore[union-attr]
    assert advised < 10_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cold(advised).at([2.0]) == pytest.approx(0.562, abs=2e-3)


def test_long_steps_of_first_order_are_reported_and_the_advice_helps() -> None:
    grid, equation = pk.Grid(-3, 3, 200), pk.HamiltonJacobiBellman(P.Quadratic(0.5), 4.0)
    with pytest.warns(pk.AccuracyWarning, match=r"PolicyIteration\(dt=") as said:
        rough = pk.solve(equation, grid, P.Quadratic(8.0), 0.5, s.PolicyIteration(0.25, 1))
    dt = float(re.search(r"dt=([\d.e-]+),", str(said[0].message)).group(1))  # type: ignore[union-attr]
    exact = pk.solve(equation, grid, P.Quadratic(8.0), 0.5).fields[-1]
    rim = slice(20, -20)
    error = np.abs(rough.fields[-1] - exact)[rim].max()
    assert error <= rough.stats["step_errors"][-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pk.solve(equation, grid, P.Quadratic(8.0), 0.5, s.PolicyIteration(dt, 1))


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning", "ignore::pdekit.TruncationWarning")
@pytest.mark.filterwarnings("ignore:steps of 0.01 leave the controlled density")
@pytest.mark.parametrize("scheme", [None, s.PolicyIteration(), s.Godunov(), s.Filtered()])
@pytest.mark.parametrize("times", [1.0, [0.01, 0.99, 1.0]])
def test_what_is_stored_does_not_decide_what_is_computed(scheme: Any, times: Any) -> None:
    """Variance .0909 at time 1; effort and improvement do not depend on the times either."""
    found = pk.control(P.Quadratic(0.0), 2.0, pk.Grid(-3, 4, 450), pk.Gaussian(0, 0.05),
                       lambda x: 5 * (x[..., 0] - 1) ** 2, times, scheme=scheme)  # fmt: skip
    x, rho = found.density.grid.axes[0], found.density.fields[-1]
    mean = (rho * x).sum() / rho.sum()
    assert (rho * (x - mean) ** 2).sum() / rho.sum() == pytest.approx(0.0909, abs=7e-4)
    assert found.residuals["energy"] < 0.02 and found.improvement.passed(0.03)


def test_steps_too_long_for_a_narrow_start_are_said_and_the_advice_is_right() -> None:
    def found(scheme: Any) -> Any:
        return pk.control(P.Quadratic(1.0), 4.0, pk.Grid(-4, 4, 200), pk.Gaussian(0.3, 0.05),
                          lambda x: (x[..., 0] - 1) ** 2, np.linspace(0, 0.5, 11),
                          scheme=scheme)  # fmt: skip

    exact = found(None).density.fields
    with pytest.warns(pk.AccuracyWarning, match="controlled density") as said:
        rough = found(s.PolicyIteration(0.05))
    apart = np.abs(rough.density.fields - exact).sum(1).max() / exact[0].sum()
    assert apart <= 1.5 * rough.density.stats["step_error"]
    better = float(str(said[0].message).split("dt=")[1].split(",")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine = found(s.PolicyIteration(better))
    assert np.abs(fine.density.fields - exact).sum(1).max() / exact[0].sum() < 0.05


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.filterwarnings("ignore:steps of .* have an error:pdekit.AccuracyWarning")
def test_waves_that_diffusion_takes_out_within_a_step_leave_their_mark(order: int) -> None:
    """-(2/beta) log of the mean of exp(-beta g / 2), not the mean of g, after a long step."""
    beta, size = 0.01, 1000.0
    x = 2 * np.pi * (np.arange(400) + 0.5) / 400
    exact = -2 / beta * np.log(np.mean(np.exp(-beta / 2 * size * np.cos(x))))
    found = pk.solve(pk.HamiltonJacobiBellman(P.Quadratic(0.0), beta),
                     pk.Grid(0, 2 * np.pi, 100, periodic=True), lambda y: size * np.cos(y[..., 0]),
                     10.0, s.PolicyIteration(0.2, order))  # fmt: skip
    assert found.fields == pytest.approx(exact, abs=0.15 * size)
    assert np.abs(found.fields - exact).max() <= found.stats["step_errors"][-1] + 0.01 * size


@pytest.mark.parametrize("beta", [1e-12, 1e-6, 1e-3])
def test_a_small_beta_leaves_the_mean(beta: float) -> None:
    """u -> mean of g, and to first order in beta less beta / 4 times its variance."""
    begun = time.perf_counter()
    found = pk.solve(pk.HamiltonJacobiBellman(P.Quadratic(1.0), beta), pk.Grid(-4, 4, 200),
                     lambda x: x[..., 0] ** 2, 0.5)  # fmt: skip
    x = pk.Grid(-4, 4, 200).axes[0]
    weight = np.exp(-beta * x**2 / 2)
    exact = -2 / beta * np.log1p(np.expm1(-beta / 2 * x**2) @ weight / weight.sum())
    assert found.fields == pytest.approx(exact, rel=1e-9)
    assert time.perf_counter() - begun < 20


def test_a_control_changed_by_hand_is_taken_as_it_stands() -> None:
    found = pk.control(P.DoubleWell(), 4.0, pk.Grid(-3, 3, 200), pk.Gaussian(-0.5, 0.3),
                       lambda x: (x[..., 0] - 1) ** 2, np.linspace(0, 1, 21))  # fmt: skip
    assert len(found.dense.value.times) == 101 and found.improvement.passed()
    half = replace(found, value=replace(found.value, fields=found.value.fields / 2))
    assert half.dense is half and not half.improvement.passed()


def crowded(times: Any, scheme: Any = None) -> Any:
    return pk.control(None, 4.0, pk.Grid(-2, 2, 60), pk.Gaussian(-0.7, 0.2),
                      lambda x: 6 * (x[..., 0] - 0.7) ** 2, times,
                      coupling=pk.Congestion(50.0), scheme=scheme)  # fmt: skip


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning", "ignore::pdekit.ResolutionWarning")
def test_a_strong_crowd_at_few_times_takes_the_steps_it_needs() -> None:
    few, many = crowded(np.linspace(0, 1, 21)), crowded(np.linspace(0, 1, 161))
    assert few.value.stats["time_error"] <= 0.02 * np.ptp(few.value.fields)
    np.testing.assert_allclose(few.value.fields[0], many.value.fields[0],
                               atol=0.03 * np.ptp(many.value.fields))  # fmt: skip
    assert few.effort == pytest.approx(many.effort, rel=0.05)


MOVING = P.Evolving(np.array([0.0, 1.0]), np.linspace(-3, 3, 50), np.zeros((2, 50)))


@pytest.mark.parametrize("scheme", [s.DoobTransform(), s.PolicyIteration(), s.Godunov(),
                                    s.Filtered()])  # fmt: skip
def test_control_refuses_potentials_that_move(scheme: Any) -> None:
    with pytest.raises(TypeError, match="fixed in time"):
        pk.control(MOVING, 4.0, pk.Grid(-3, 3, 50), pk.Gaussian(0, 0.5), P.Quadratic(), 1.0,
                   scheme=scheme)  # fmt: skip


@pytest.mark.parametrize(
    ("order", "error", "said"),
    [
        (0, ValueError, "a whole number >= 1, got 0"),
        (3, ValueError, r"1 \(monotone\) or 2 \(filtered\), got 3"),
        *((given, TypeError, "a whole number >= 1, got") for given in (1.5, "2", None)),
    ],
)
def test_orders_there_are_not(order: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=f"order must be {said}"):
        s.PolicyIteration(0.01, order)
    assert s.PolicyIteration(0.01, 1).order == 1


def test_a_planted_wrong_estimate_is_caught(monkeypatch: Any) -> None:
    """Cells that are never looked at: the rows against independent answers notice."""
    monkeypatch.setattr(value_checks._Found, "report_cells", lambda *_: None)
    row = next(r for r in test_truth_bellman.ROWS if r.name == "no drift")
    assert noticed(row, 5, range(150))


@pytest.mark.parametrize("scheme", [None, s.Filtered(), s.Godunov(), s.PolicyIteration(0.005)])
def test_a_cost_that_begins_within_a_cell_is_reported(scheme: Any) -> None:
    """Cells see a step at the next face only, up to half a cell away, on either grid alike."""
    equation = pk.HamiltonJacobiBellman(P.Quadratic(0.0), 2.0)
    grid = pk.Grid(0, 1, 24)

    def cost(x: Any) -> Any:
        return np.where(x[..., 0] > 0.4795, 1.0, 0.0)  # the next face is at .5

    with pytest.warns(pk.ResolutionWarning, match="too coarse"):
        pk.solve(equation, grid, cost, 0.05, scheme)


def test_the_hamiltonian_takes_little_of_a_step_before_diffusion_smooths_it() -> None:
    """A Godunov step up to the CFL limit would take half of a step of the data at once."""
    equation = pk.HamiltonJacobiBellman(P.Quadratic(0.0), 0.01)
    grid = pk.Grid(0, 1, 100)
    cost = np.where(grid.axes[0] > 0.5, 1.0, 0.0)
    exact = pk.solve(equation, grid, cost, 0.01).fields[-1]
    found = pk.solve(equation, grid, cost, 0.01, s.Godunov()).fields[-1]
    assert np.abs(found - exact).max() < 0.02


@pytest.mark.parametrize("horizon", [10.0, 100.0, 1e4])
def test_the_improvement_over_long_horizons_sees_the_layer_at_their_end(horizon: float) -> None:
    """All of it happens within a time of one before the horizon."""
    found = pk.control(P.Quadratic(1.0), 4.0, pk.Grid(-3, 3, 200), pk.Gaussian(1, 0.2),
                       P.Quadratic(10.0), horizon).improvement  # fmt: skip
    assert found.gap == pytest.approx(0.802, abs=0.002)
    assert found.exact == pytest.approx(found.gap, rel=0.02)


def test_a_strong_crowd_closes_with_few_times() -> None:
    found = pk.control(P.DoubleWell(), 4.0, pk.Grid(-3, 3, 100), pk.Gaussian(-1, 0.2),
                       P.Quadratic(2.0), np.linspace(0.05, 1, 20),
                       coupling=pk.Congestion(50.0))  # fmt: skip
    assert found.residuals["fixed_point"] < 1e-6 and found.density.fields.min() >= 0


@pytest.mark.parametrize("t", [1e3, 1e30])
def test_more_steps_of_policies_than_anyone_waits_for_are_refused(t: float) -> None:
    equation, grid = pk.HamiltonJacobiBellman(P.DoubleWell(), 4.0), pk.Grid(-3, 3, 10)
    with pytest.raises(pk.ConvergenceError, match="more than 10000 steps") as said:
        pk.solve(equation, grid, P.Quadratic(2.0), t, s.PolicyIteration())
    better = float(str(said.value).split("dt=")[1].split(")")[0])
    assert 1 <= s.PolicyIteration(better).count(t) < 10_000


def test_costs_too_steep_for_a_plane_get_advice() -> None:
    equation = pk.HamiltonJacobiBellman(P.Quadratic(1.0, dim=2), 4.0)
    grid, cost = pk.Grid((-3, -3), (3, 3), (20, 20)), P.Quadratic(100.0, dim=2)
    with pytest.raises(pk.ConvergenceError, match=r"use schemes.PolicyIteration\(\)$"):
        pk.solve(equation, grid, cost, 0.5)
    with pytest.warns(pk.ResolutionWarning):
        assert pk.solve(equation, grid, cost, 0.5, s.PolicyIteration(0.05)).fields.min() > 0


@pytest.mark.parametrize(
    ("equation", "instead"),
    [
        (pk.HamiltonJacobi(), "HopfLax"),
        (pk.ViscousHJ(4.0), "ColeHopf"),
        (pk.HamiltonJacobiBellman(P.Quadratic(0.0), 4.0), "DoobTransform"),
    ],
)
def test_a_time_too_long_for_steps_names_what_takes_it(equation: Any, instead: str) -> None:
    with pytest.raises(pk.ConvergenceError, match=instead):
        pk.solve(equation, pk.Grid(-3, 3, 100), P.Quadratic(1.0), 1e30, s.Filtered())


@pytest.mark.filterwarnings("ignore")
def test_a_very_strong_crowd_takes_the_steps_it_needs() -> None:
    """Newton's method stalls at the given times, at twice and four times as many rho overshoots."""
    found = pk.control(P.DoubleWell(), 4.0, pk.Grid(-3, 3, 40), pk.Gaussian(-1, 0.2),
                       P.Quadratic(2.0), np.linspace(0.05, 1, 20),
                       coupling=pk.Congestion(200.0))  # fmt: skip
    assert found.residuals["fixed_point"] < 1e-6 and found.density.fields.min() >= 0
    assert len(found.density.times) == 21


@pytest.mark.parametrize(
    "cost",
    [
        lambda x, t: 3 * np.sin(2 * np.pi * t) ** 2 + 0 * x[..., 0],
        lambda x, t: 3 * np.cos(2 * np.pi * t) ** 2 + 0 * x[..., 0],
    ],
    ids=["nothing at the end", "most at the end"],
)
def test_a_cost_of_time_alone_is_its_integral(cost):
    still = pk.potentials.Linear(0.0)
    equation = pk.HamiltonJacobiBellman(still, 1.0, running_cost=pk.InTime(cost))
    u = pk.solve(equation, pk.Grid(0, 1, 50), lambda x: 0 * x[..., 0], 1.0)
    np.testing.assert_allclose(u.final, 1.5, atol=1e-9)
    assert u.stats["steps"] < 1000
