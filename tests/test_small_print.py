"""What is said in passing: ranges of tolerances, units, what counts as what."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

import pdekit as pk
from pdekit import schemes
from pdekit.comparison.bootstrap import p_values
from pdekit.particles import fused
from pdekit.pde.discrete import step_plan
from pdekit.pde.exact.game import LQGame
from pdekit.pde.hamiltonians import Power
from pdekit.pde.kernels.elimination import eliminate
from pdekit.pde.phases.phase_diagram import _ends_at
from pdekit.pde.schemes import exponential

WELL = pk.potentials.DoubleWell()


@pytest.mark.parametrize("value", [0.0, -0.5, 1e-14, 1.5, float("nan")])
@pytest.mark.parametrize(
    "made",
    [
        lambda r: schemes.Exponential(rtol=r),
        lambda r: schemes.Exponential(rtol_moving=r),
        lambda r: schemes.Krylov(rtol=r),
        lambda r: schemes.Split(tolerance=r),
        lambda r: schemes.MeanField(rtol=r),
        lambda r: schemes.DoobTransform(rtol=r),
        lambda r: schemes.DoobTransform(rtol_plane=r),
    ],
)
def test_tolerances_that_cannot_be_met_or_mean_nothing_are_refused(made: Any, value: float) -> None:
    with pytest.raises(ValueError, match="tol"):
        made(value)


@pytest.mark.parametrize("order", [2, 11])
def test_orders_of_the_mean_field_that_there_are_not(order: int) -> None:
    with pytest.raises(ValueError, match="order must be"):
        schemes.MeanField(order=order)
    assert schemes.MeanField(order=3).order == 3 and schemes.MeanField(order=10).order == 10


@pytest.mark.parametrize("betas", [[], [2.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
def test_temperatures_of_a_diagram_are_a_rising_row(betas: Any) -> None:
    with pytest.raises(ValueError, match="increasing positive numbers"):
        pk.phase_diagram(WELL, betas, [1.0])


def test_rates_of_exactly_one_count() -> None:
    """A walk with unit rates round four cells, killed at one of them."""
    ring = csr_array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]], dtype=float)
    made = eliminate(ring, kill=np.array([1.0, 0.0, 0.0, 0.0]))
    dense = np.diag(ring.sum(1) + np.array([1.0, 0, 0, 0])) - ring.toarray()
    assert np.prod(made.pivot) == pytest.approx(np.linalg.det(dense))


def test_numbers_elsewhere_are_not_in_memory() -> None:
    for kind, here in (("cpu", True), ("cuda", False), ("mps", False), ("cpo", False)):
        x: Any = SimpleNamespace(
            device=SimpleNamespace(type=kind), dtype=torch.float64, shape=(3, 1)
        )
        assert fused._few_in_memory(x) is here


def test_what_particles_did_in_a_second_is_recorded() -> None:
    stats = pk.simulate(pk.Langevin(WELL, 2.0), np.zeros((10, 1)), 10, 1.0, 0.1).stats
    assert stats["steps"] == 10
    assert stats["particle_steps_per_second"] == pytest.approx(10 * 10 / stats["seconds"])


@pytest.mark.parametrize(("strength", "power"), [(2.0, 3.0), (0.7, 1.0), (1.3, 0.5)])
def test_together_congestion_costs_its_derivative(strength: float, power: float) -> None:
    """Players who cooperate pay d/drho (rho cost(rho))."""
    grid, rho, h = pk.Grid(0, 1, 5), np.linspace(0.5, 2.5, 5), 1e-6
    coupling = pk.Congestion(strength, power)

    def total(r: Any) -> Any:
        return r * coupling.cost(r, grid)

    slope = (total(rho + h) - total(rho - h)) / (2 * h)
    np.testing.assert_allclose(coupling.cooperative().cost(rho, grid), slope, rtol=1e-7)


def test_couplings_are_of_numbers() -> None:
    for made in (lambda v: pk.Congestion(v), lambda v: pk.LogDensity(v)):
        for value in ("1", None, float("nan")):
            with pytest.raises((TypeError, ValueError), match="strength"):
                made(value)


def test_the_derivative_of_a_coupling_is_that_of_its_cost() -> None:
    grid, h = pk.Grid(0, 1, 5), 1e-6
    rho, change = np.array([0.05, 0.3, 0.9, 1.2, 4.0]), np.array([1.0, -0.5, 0.3, 2.0, 1.0])
    for coupling in (pk.Congestion(2.0, 3.0), pk.LogDensity(0.7), pk.LogDensity(0.7).cooperative()):
        ends = [coupling.cost(rho + s * h * change, grid) for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * h)
        found = coupling.derivative(rho, change, grid)
        np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-7)


def test_what_is_clipped_beyond_the_tolerance_is_an_error(monkeypatch: Any) -> None:
    monkeypatch.setattr(
        exponential, "enforce_bounds", lambda problem, new, last, stats: (new, 1e-3)
    )
    with pytest.raises(pk.ConvergenceError, match=r"is known to 0\.001 only, above rtol"):
        pk.solve(pk.FokkerPlanck(WELL, 2.0), pk.Grid(-4, 4, 32), pk.Gaussian(0, 0.5), 1.0)


def test_steps_of_the_rough_run_cover_the_same_time() -> None:
    """Twice as long as the doubled ones where two of these are equal, else the same."""
    made: list[float] = []

    def run(start: Any, t0: float, steps: list[float]) -> Any:
        made.extend(steps)
        return start

    distance = iter([1.0, 4.0])
    problem = SimpleNamespace(distance=lambda a, b: next(distance))
    pilot: Any = SimpleNamespace(problem=problem, run=run, blind=False)
    steps, u = [0.1] * 6 + [0.2] * 4 + [0.4] * 2, np.zeros(3)
    error = step_plan._extrapolated(pilot, u, 0.0, steps, u, u, 1e-3)
    assert made == pytest.approx([0.4, 0.2, 0.8, 0.8])
    assert error >= 1 / 3  # a quarter of the change before: of order two, the third of the change


def test_a_game_without_costs_spreads_as_its_motion() -> None:
    """v' = -2 a v + 2 / beta, in closed form; and in the mean-field game's exact solution."""
    a, beta, T = 0.8, 3.5, 1.2
    game = LQGame(a, 0.0, 0.0, 0.0, 0.0, beta, T, 0.7, 0.4)
    fade = np.exp(-2 * a * T)
    assert game.variance(T) == pytest.approx(0.16 * fade + (1 - fade) / (a * beta), rel=1e-9)
    assert game.mean(T) == pytest.approx(0.7 * np.exp(-a * T), rel=1e-9)


@pytest.mark.parametrize("t", [0.02, 0.3])
def test_kinks_of_samples_are_met_by_other_hamiltonians(t: float) -> None:
    """H = |p|^3 / 3, L = 2 |v|^1.5 / 3: two lines that meet between the nodes, by brute force."""
    grid, y = pk.Grid(0, 1, 24), np.linspace(0, 1, 40_001)

    def f(x: Any) -> Any:
        return np.maximum(-0.7 * (x - 0.53), 1.1 * (x - 0.53))

    equation = pk.HamiltonJacobi(Power(3.0))
    u = pk.solve(equation, grid, f(grid.axes[0]), t, schemes.HopfLax()).fields[-1]
    inside = slice(6, 18)
    cost = f(y) + t * 2 / 3 * (np.abs(grid.axes[0][:, None] - y) / t) ** 1.5
    np.testing.assert_allclose(u[inside], cost.min(1)[inside], rtol=0, atol=1e-6)


def test_a_branch_ends_at_the_states_of_both_of_its_ends() -> None:
    points = {"parameter": [0.5, 0.7, 1.0], "mean": [0.1, 0.2, 0.4], "free_energy": [-1.0, -2, -3]}
    grid = pk.Grid(-2, 2, 40)
    branch: Any = SimpleNamespace(**{name: np.array(v) for name, v in points.items()})
    ends = [
        (p, SimpleNamespace(mean=m, free_energy=f))
        for p, m, f in zip(*points.values(), strict=True)
    ]
    assert [_ends_at(branch, *end, grid) for end in ends] == [True, False, True]
    assert not _ends_at(branch, 0.5, ends[2][1], grid)
    assert not _ends_at(branch, 1.0, ends[0][1], grid)


def test_estimates_of_smooth_values_are_three_times_the_error() -> None:
    """That of steps twice as long is four times the error of order two: the difference is three."""
    grid = pk.Grid(0, 2 * np.pi, 32, periodic=True)
    V = pk.potentials.Custom(lambda x: 0.3 * np.cos(x[..., 0]), lambda x: -0.3 * np.sin(x))
    equation = pk.HamiltonJacobiBellman(V, 2.0)
    one, fine = (
        pk.solve(
            equation, grid, lambda x: 0.3 * np.sin(x[..., 0]), 1.0, schemes.PolicyIteration(dt)
        )
        for dt in (0.1, 0.01)
    )
    true = np.abs(one.fields - fine.fields).max()
    assert one.stats["filtered"] == 0 and 2.5 < one.stats["step_errors"][-1] / true < 3.6


def test_statistics_that_are_equal_up_to_rounding_are_equal() -> None:
    """Sums in another order differ by parts in 10^13, and are no evidence."""
    one = np.array([1.0])
    assert p_values(one, np.full((9, 1), 1 - 3e-13)) == (1.0, 1.0)
    assert p_values(one, np.full((9, 1), 1 - 1e-9)) == (0.1, 0.1)
