"""Walls that take, let in or hold; killing, growth, sources, resetting: exact cases, limits."""

import math
import warnings

import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import pdekit as pk
from pdekit import schemes
from pdekit.pde.discrete import drift_diffusion
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.selling import selling

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x)
FLAT_PLANE = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x, dim=2)
WELL = pk.potentials.DoubleWell()
LAW = pk.Gaussian(-1.0, 0.3)


def radiating(rate, D, t, terms=60):
    """Survival on [0, 1] from the uniform law, both ends of a rate: Carslaw and Jaeger 3.11."""
    total = 0.0
    for k in range(terms):
        low, high = max((2 * k - 1) * math.pi, 0.0) + 1e-9, (2 * k + 1) * math.pi - 1e-9
        mu = brentq(lambda m: D * m * math.tan(m / 2) - rate, low, high, xtol=1e-14)
        mean = 2 * math.sin(mu / 2) / mu
        total += mean**2 / (0.5 + math.sin(mu) / (2 * mu)) * math.exp(-D * mu**2 * t)
    return total


@pytest.mark.parametrize("rate", [0.03, 1.7, 200.0])
def test_survival_between_walls_that_radiate(rate):
    """Against the series: second order, and 1e-5 on 400 cells."""
    errors = []
    wall = pk.PartlyAbsorbing(rate)
    for n in (100, 200, 400):
        equation = pk.FokkerPlanck(FLAT, 2.0, walls=pk.Walls(wall, wall))
        left = pk.solve(equation, pk.Grid(0, 1, n), np.ones(n), 0.3).stats["survival"][0]
        errors.append(abs(left - radiating(rate, 0.5, 0.3)))
    assert errors[2] < 1e-5
    assert errors[0] / errors[1] > 3.8 and errors[1] / errors[2] > 3.8


@pytest.mark.parametrize("D", [1.0, np.array([[1.0, 0.8], [0.8, 1.0]])], ids=["axes", "oblique"])
def test_the_rate_of_a_wall_in_the_plane(D):
    """∫ over the wall of rate ρ is what is lost, for stencils of several edges through it alike.

    A density uniform along the walls: the survival is that of a line with D_xx.
    """
    grid = pk.Grid((0.0, 0.0), (1.0, 1.0), (60, 12), (False, True))
    wall = pk.PartlyAbsorbing(1.7)
    equation = pk.FokkerPlanck(FLAT_PLANE, 2.0, diffusion=D, walls=pk.Walls(wall, wall))
    left = pk.solve(equation, grid, np.ones(grid.shape), 0.3, schemes.Krylov()).stats["survival"]
    assert left[0] == pytest.approx(radiating(1.7, 0.5, 0.3), abs=2e-3)


def test_limits_of_a_wall_that_absorbs_in_part():
    grid = pk.Grid(-2.0, 1.0, 60)

    def density(end):
        equation = pk.FokkerPlanck(WELL, 4.0, walls=pk.Walls(upper=end))
        return pk.solve(equation, grid, LAW, 3.0).fields[0]

    for rate, end in ((0.0, False), (1e12, True)):
        np.testing.assert_allclose(density(pk.PartlyAbsorbing(rate)), density(end), rtol=1e-9)


def test_the_flux_out_is_the_rate_times_the_density_there():
    """In a steep slope towards the wall too: against the stationary flux of a line, in closed form.

    On [0, 1] with drift b, from a source held in balance, J = rate ρ(1): the slowest mode solves
    D φ'' - b φ' = -λ φ; its λ by the roots of the condition at the wall.
    """
    b, D, rate = 6.0, 0.5, 0.9

    def mismatch(lam):
        root = np.emath.sqrt(b * b / (4 * D * D) - lam / D)
        half = b / (2 * D)
        # ρ = e^{hx} (cosh rx + c sinh rx) with b ρ - D ρ' = 0 at 0, rate ρ at 1
        c = (b - D * half) / (D * root)
        there = np.cosh(root) + c * np.sinh(root)
        slope = half * there + root * (np.sinh(root) + c * np.cosh(root))
        return float((b * there - D * slope - rate * there).real)

    true = brentq(mismatch, 1e-6, 12.0)
    errors = []
    for n in (100, 200):
        equation = pk.FokkerPlanck(
            pk.potentials.Custom(lambda x: -b * x[..., 0]), 1 / D,
            walls=pk.Walls(upper=pk.PartlyAbsorbing(rate)),
        )  # fmt: skip
        errors.append(abs(pk.spectral_gap(equation, pk.Grid(0, 1, n)) / true - 1))
    assert errors[1] < 2e-3 and errors[0] / errors[1] > 3.7


@pytest.mark.parametrize("scheme", [None, schemes.Implicit(0.05)], ids=["default", "implicit"])
@pytest.mark.parametrize("rate", [0.7, -0.7])
def test_killing_that_is_the_same_everywhere_is_a_factor(rate, scheme):
    grid, times = pk.Grid(-3.0, 3.0, 200), [0.5, 2.0]
    plain = pk.solve(pk.FokkerPlanck(WELL, 4.0), grid, LAW, times, scheme)
    killed = pk.solve(pk.FokkerPlanck(WELL, 4.0, killing=rate), grid, LAW, times, scheme)
    factor = np.exp(-rate * np.array(times))
    np.testing.assert_allclose(killed.fields, plain.fields * factor[:, None], rtol=1e-13)
    np.testing.assert_allclose(killed.stats["survival"], factor, rtol=1e-12)


class Breathing:
    """A rate that grows where it kills most, and lets all grow between."""

    def at(self, t):
        return lambda x: 2 * (1 + np.sin(3 * t)) * x[..., 0] ** 2 - t


def test_killing_that_moves_follows_its_time_both_ways():
    """Against SciPy on the same rates; the pairing with the backward equation tells the clock."""
    grid = pk.Grid(-2.0, 2.0, 60)
    forward = pk.FokkerPlanck(WELL, 4.0, killing=Breathing())
    backward = pk.BackwardKolmogorov(WELL, 4.0, killing=Breathing())
    rho = pk.solve(forward, grid, LAW, [0.6, 1.0])
    jumps = Problem(pk.FokkerPlanck(WELL, 4.0), grid, None).generator().matrix().T
    start = Problem(forward, grid, LAW).values

    def slope(t, u):
        return jumps @ u - Breathing().at(t)(grid.centres) * u

    true = solve_ivp(slope, (0, 1), start, "LSODA", rtol=1e-10, atol=1e-13).y[:, -1]
    error = grid.integrate(abs(rho.fields[1] - true))
    assert error < 1e-7 and error <= rho.stats["error_estimate"]
    u = pk.solve(backward, grid, lambda x: np.cos(x[..., 0]), [0.4, 1.0]).fields
    pairs = [u[0] @ rho.fields[0], u[1] @ start, np.cos(grid.axes[0]) @ rho.fields[1]]
    np.testing.assert_allclose(pairs, pairs[0], rtol=1e-7)


def test_walls_beside_a_potential_that_moves_keep_the_order():
    """What walls take is read at both stages of a step: few steps, and within the estimate."""

    class Tilting:
        def at(self, t):
            return lambda x: x[..., 0] ** 2 / 2 + 3 * np.sin(4 * t) * x[..., 0]

    grid = pk.Grid(-1.0, 1.0, 60)
    equation = pk.FokkerPlanck(Tilting(), 3.0, walls=pk.Walls(True, pk.PartlyAbsorbing(2.0)))
    solution = pk.solve(equation, grid, pk.Gaussian(0.0, 0.2), 1.0)
    problem = Problem(equation, grid, pk.Gaussian(0.0, 0.2))

    def slope(t, u):
        return problem.generator(t).forward(u)

    true = solve_ivp(slope, (0, 1), problem.values, "LSODA", rtol=1e-10, atol=1e-13).y[:, -1]
    error = grid.integrate(abs(solution.fields[0] - true))
    assert error <= solution.stats["error_estimate"] < 1e-5
    assert solution.stats["steps"] < 300


def test_expectations_of_what_is_alive():
    """Feynman and Kac: of a Brownian path E exp(-∫ X²/2) = cosh(t)^(-1/2) exp(-x² tanh(t) / 2)."""
    errors = []
    for n in (200, 400):
        grid = pk.Grid(-8.0, 8.0, n)
        equation = pk.BackwardKolmogorov(FLAT, 2.0, killing=lambda x: x[..., 0] ** 2 / 2)
        u = pk.solve(equation, grid, lambda x: np.ones(x.shape[:-1]), 1.2).fields[0]
        x = grid.axes[0]
        true = math.cosh(1.2) ** -0.5 * np.exp(-(x**2) * math.tanh(1.2) / 2)
        errors.append(np.abs(u - true).max())
    assert errors[1] < 2e-4 and errors[0] / errors[1] > 3.8


def test_growth_between_walls_outweighs_them_from_its_critical_length():
    """ρ_t = D ρ'' + g ρ between absorbing walls grows iff g > D π² / L² (Kierstead, Slobodkin)."""
    grid, D = pk.Grid(0.0, 1.0, 400), 0.25
    for growth in (0.9, 1.1):
        equation = pk.FokkerPlanck(
            FLAT, 1 / D, walls=pk.Walls(True, True), killing=-growth * D * math.pi**2
        )
        mass = pk.solve(equation, grid, lambda x: np.sin(np.pi * x[..., 0]), [1.0, 2.0]).stats
        rate = math.log(mass["survival"][1] / mass["survival"][0])
        assert rate == pytest.approx((growth - 1) * D * math.pi**2, rel=1e-3)


@pytest.mark.parametrize("driven", [False, True])
def test_quasi_stationary_densities_only_fade(driven):
    grid = pk.Grid((-1.0, -1.0), (1.0, 1.0), (20, 16))

    def swirl(x):
        return 3 * np.stack([-x[..., 1], x[..., 0]], -1)

    equation = pk.FokkerPlanck(
        pk.potentials.Quadratic(1.0, 2), 2.0, force=swirl if driven else None,
        walls=pk.Walls(upper=(True, pk.PartlyAbsorbing(0.4))), killing=lambda x: x[..., 0] ** 2,
    )  # fmt: skip
    modes = pk.slow_modes(equation, grid)
    rho = modes.quasi_stationary.values
    assert grid.integrate(rho) == pytest.approx(1) and rho.min() >= 0
    later = pk.solve(equation, grid, rho, 0.7).fields[0]
    np.testing.assert_allclose(later, rho * math.exp(-0.7 * modes.gap), rtol=1e-5)


def augmented(equation, grid, initial, t):
    """exp of [[A, s], [0, 0]], s what is added, by the formulas of the walls and the source."""
    problem = Problem(equation, grid, initial)
    A = problem.generator().matrix().toarray()
    A = A.T if problem.forward else A
    n, h, b = len(A), float(grid.spacing[0]), np.zeros(len(A))
    if equation.source is not None:
        b += equation.source(grid.centres)
    V = problem.potential()
    for cell, inner, end in ((0, 1, equation.walls.lower), (-1, -2, equation.walls.upper)):
        half = equation.beta * (V[cell] - V[inner]) / 2
        half = -half if problem.forward else half
        fitted = half / math.expm1(half) if half else 1.0
        b[cell] += 2 * fitted / (equation.beta * h * h) * getattr(end, "value", 0.0)
        b[cell] += getattr(end, "flux", 0.0) / h
    whole = np.block([[A, b[:, None]], [np.zeros((1, n + 1))]])
    return (scipy.linalg.expm(t * whole) @ np.append(problem.values.ravel(), 1.0))[:n]


SUPPLIED = {
    "held, let in, killed, growing": pk.FokkerPlanck(
        WELL, 4.0, walls=pk.Walls(pk.Inflow(0.3), pk.Held(0.4)), killing=lambda x: x[..., 0] / 9,
        source=lambda x: np.exp(-(x[..., 0] ** 2)),
    ),
    "never lost": pk.FokkerPlanck(WELL, 4.0, walls=pk.Walls(pk.Inflow(0.3), False)),
    "expectations": pk.BackwardKolmogorov(
        WELL, 4.0, walls=pk.Walls(True, pk.Held(-1.5)), killing=0.3,
        source=lambda x: np.sin(x[..., 0]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SUPPLIED)
def test_supplies_are_exact_in_time(name):
    """From 1e-3 of a time to many, at which the sum over doublings and the steady shift serve."""
    grid, equation = pk.Grid(-2.0, 2.0, 50), SUPPLIED[name]
    start = LAW if "expect" not in name else lambda x: np.cos(x[..., 0])
    times = [1e-3, 0.5, 30.0]
    solution = pk.solve(equation, grid, start, times)
    assert solution.stats["error_estimate"] < 1e-8
    for t, field in zip(times, solution.fields, strict=True):
        true = augmented(equation, grid, start, t)
        assert np.abs(field - true).max() < 1e-9 * np.abs(true).max()


@pytest.mark.parametrize("scheme", [schemes.Split(), schemes.Krylov()], ids=["split", "krylov"])
def test_heat_between_walls_held_at_two_values(scheme):
    """From nothing, in the plane: the series in x, nothing in y; steady it is a straight line."""
    grid = pk.Grid((0.0, 0.0), (1.0, 1.0), (60, 8))
    walls = pk.Walls((pk.Held(1.0), False), (pk.Held(3.0), False))
    equation = pk.FokkerPlanck(FLAT_PLANE, 2.0, walls=walls)
    rho = pk.solve(equation, grid, np.zeros(grid.shape), [0.05, 0.2], scheme)
    x = grid.axes[0]
    for t, field in zip((0.05, 0.2), rho.fields, strict=True):
        k = np.arange(1, 80)[:, None]
        terms = 2 / (k * np.pi) * (3 * (-1.0) ** k - 1) * np.sin(k * np.pi * x)
        true = 1 + 2 * x + (terms * np.exp(-0.5 * (k * np.pi) ** 2 * t)).sum(0)
        np.testing.assert_allclose(field, np.repeat(true[:, None], 8, 1), atol=2e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # exact on any cells, of whatever mass
        rest = pk.stationary(equation, grid).values
    np.testing.assert_allclose(rest, np.repeat((1 + 2 * x)[:, None], 8, 1), rtol=1e-11)


def test_the_steady_state_of_a_supply_is_where_its_time_leads():
    """With a force round the plane, which no detailed balance helps; and its mass balance."""
    grid = pk.Grid((-1.0, -1.0), (1.0, 1.0), (16, 14))
    equation = pk.FokkerPlanck(
        pk.potentials.Quadratic(1.0, 2), 2.0,
        force=lambda x: 3 * np.stack([-x[..., 1], x[..., 0]], -1),
        walls=pk.Walls((True, pk.Inflow(0.2)), (False, pk.PartlyAbsorbing(0.5))),
        source=lambda x: 1 + x[..., 0],
    )  # fmt: skip
    rest = pk.stationary(equation, grid).values
    late = pk.solve(equation, grid, np.zeros(grid.shape), 60.0).fields[0]
    np.testing.assert_allclose(late, rest, rtol=1e-6)
    generator = Problem(equation, grid, None).generator()
    lost = grid.integrate(generator.loss * rest)
    assert lost == pytest.approx(4.0 + 0.2 * 2.0)  # the source, and the influx through one side


def test_resetting_to_a_point_rests_in_a_tent():
    """Evans and Majumdar: exp(-|x| / s) / (2 s), s = (beta rate)^(-1/2); second order."""
    errors = []
    for n in (201, 401):
        grid = pk.Grid(-8.0, 8.0, n)
        equation = pk.FokkerPlanck(FLAT, 2.0, resetting=pk.Resetting(1.3, pk.Gaussian(0.0, 1e-4)))
        rest, s = pk.stationary(equation, grid).values, (2 * 1.3) ** -0.5
        tent = np.exp(-np.abs(grid.axes[0]) / s) / (2 * s)
        errors.append(grid.integrate(np.abs(rest - tent)))
    assert errors[1] < 5e-4 and errors[0] / errors[1] > 3.8


def test_resetting_is_a_rank_one_change_of_the_generator_both_ways():
    grid, rate, law = pk.Grid(-2.5, 2.5, 60), 0.7, pk.Gaussian(1.0, 0.2)
    resetting = pk.Resetting(rate, law)
    forward = pk.FokkerPlanck(WELL, 4.0, resetting=resetting)
    backward = pk.BackwardKolmogorov(WELL, 4.0, resetting=resetting)
    A = Problem(pk.FokkerPlanck(WELL, 4.0), grid, None).generator().matrix().toarray().T
    A = A - rate * np.eye(60) + rate * np.outer(law.density(grid), np.full(60, grid.cell_volume))
    start, cost = LAW.density(grid), np.cos(grid.axes[0])
    rho = pk.solve(forward, grid, start, [0.5, 2.0])
    u = pk.solve(backward, grid, lambda x: np.cos(x[..., 0]), [0.5, 2.0])
    for k, t in enumerate((0.5, 2.0)):
        np.testing.assert_allclose(
            rho.fields[k], scipy.linalg.expm(t * A) @ start, rtol=1e-6, atol=1e-10
        )
        np.testing.assert_allclose(u.fields[k], scipy.linalg.expm(t * A.T) @ cost, rtol=1e-8)
    rest = pk.stationary(forward, grid).values
    np.testing.assert_allclose(A @ rest, 0, atol=1e-9 * np.abs(A).max())


MISTAKES = {
    "a source that moves below zero": (
        lambda: pk.solve(
            pk.FokkerPlanck(WELL, 4, source=Breathing()), pk.Grid(-2, 2, 40), LAW, 1.0),
        ValueError, "must be >= 0 everywhere"),
    "a source that takes": (
        lambda: pk.solve(pk.FokkerPlanck(WELL, 4, source=-1), pk.Grid(-2, 2, 40), LAW, 1.0),
        ValueError, "killing"),
    "influx of negative size": (lambda: pk.Inflow(-1.0), ValueError, ">= 0"),
    "influx of expectations": (
        lambda: pk.solve(
            pk.BackwardKolmogorov(WELL, 4, walls=pk.Walls(pk.Inflow(1.0))), pk.Grid(-2, 2, 40),
            WELL, 1.0), ValueError, "use False"),
    "nothing takes the supply": (
        lambda: pk.stationary(pk.FokkerPlanck(WELL, 4, source=1.0), pk.Grid(-2, 2, 40)),
        ValueError, "grows for ever"),
    "resetting beside killing": (
        lambda: pk.FokkerPlanck(WELL, 4, killing=1.0, resetting=pk.Resetting(1.0, LAW)),
        ValueError, "leave one of the two out"),
    "resetting at no rate": (lambda: pk.Resetting(0.0, LAW), ValueError, "> 0"),
    "gaps under resetting": (
        lambda: pk.spectral_gap(
            pk.FokkerPlanck(WELL, 4, resetting=pk.Resetting(1.0, LAW)), pk.Grid(-2, 2, 40)),
        ValueError, "resetting yet"),
    "no wall": (lambda: pk.Walls(2.0), TypeError, "absorbs in part|PartlyAbsorbing"),
    "negative rate": (lambda: pk.PartlyAbsorbing(-1), ValueError, ">= 0"),
    "killing of text": (lambda: pk.FokkerPlanck(WELL, 4, killing="a"), TypeError, "killing must"),
    "growth has no decay rate": (
        lambda: pk.spectral_gap(pk.FokkerPlanck(WELL, 4, killing=-1), pk.Grid(-2, 2, 40)),
        ValueError, "which is growth; add 1"),
    "growth overflows": (
        lambda: pk.solve(pk.FokkerPlanck(WELL, 4, killing=-999), pk.Grid(-2, 2, 40), LAW, 5),
        ValueError, "shorter time"),
    "nothing is lost": (
        lambda: pk.slow_modes(pk.FokkerPlanck(WELL, 4), pk.Grid(-2, 2, 40)).quasi_stationary,
        ValueError, "use stationary"),
    "nothing rests": (
        lambda: pk.stationary(pk.FokkerPlanck(WELL, 4, killing=1.0), pk.Grid(-2, 2, 40)),
        ValueError, "there is killing"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    call, error, message = MISTAKES[name]
    with pytest.raises(error, match=message):
        call()


def test_the_rates_of_a_potential_alone_are_those_of_the_general_form():
    grid = pk.Grid((-1.0, -2.0), (1.5, 1.0), (7, 6))
    parts = {
        "walls": pk.Walls((pk.PartlyAbsorbing(0.7), True), (pk.Held(2.0), False)),
        "killing": lambda x: x[..., 0] ** 2,
    }
    V = pk.potentials.SixHumpCamel()
    plain = Problem(pk.FokkerPlanck(V, 0.5, **parts), grid, None).generator()
    general = Problem(pk.FokkerPlanck(V, 0.5, diffusion=1.0, **parts), grid, None).generator()
    np.testing.assert_allclose(plain.loss, general.loss, rtol=1e-12)
    np.testing.assert_allclose(plain.matrix().toarray(), general.matrix().toarray(), rtol=1e-9)


def test_a_pulse_of_killing_is_not_stepped_over():
    """exp(-area of the pulse), at a time that no step would meet by itself."""

    class Pulse:
        def at(self, t):
            return lambda x: (1 + x[..., 0] ** 2) * 400 * np.exp(-(((t - 0.618) / 0.004) ** 2) / 2)

    equation = pk.FokkerPlanck(FLAT, 1e6, killing=Pulse())
    grid = pk.Grid(-1.0, 1.0, 40)
    rho = pk.solve(equation, grid, np.ones(40), 1.0).fields[0]
    area = 400 * 0.004 * math.sqrt(2 * math.pi)
    np.testing.assert_allclose(rho, np.exp(-area * (1 + grid.axes[0] ** 2)), rtol=2e-2)


@pytest.mark.filterwarnings("error::pdekit.ResolutionWarning")
@pytest.mark.parametrize("cells", [40, 400])
def test_sources_of_both_signs_are_no_sign_of_coarse_cells(cells):
    """A wave that is resolved, beside a wall that is held: second solutions have them too."""
    equation = pk.BackwardKolmogorov(
        WELL, 4.0, walls=pk.Walls(False, pk.Held(-1.5)), source=lambda x: 5 * np.sin(x[..., 0])
    )
    pk.solve(equation, pk.Grid(-2.0, 2.0, cells), lambda x: 0 * x[..., 0] - 1.5, [0.5, 2.0])


def test_second_solutions_of_expectations_have_the_supply_too():
    """Without it they are apart by all that is supplied, 5.3 here."""
    equation = pk.BackwardKolmogorov(
        WELL, 4.0, walls=pk.Walls(False, pk.Held(-1.5)), source=lambda x: 5 * np.sin(x[..., 0])
    )
    u = pk.solve(equation, pk.Grid(-2.5, 2.5, 80), lambda x: 0 * x[..., 0] - 1.5, [0.5, 2.0])
    assert u.stats["on_other_cells"] < 0.4


def test_sources_narrower_than_a_cell_are_said():
    def spike(x):
        return np.exp(-((x[..., 0] - 0.51) ** 2) / 8e-6)

    grid = pk.Grid(0.0, 1.0, 50)
    for name in ("source", "killing"):
        with pytest.warns(pk.ResolutionWarning, match=f"do not resolve the {name}"):
            pk.solve(pk.FokkerPlanck(FLAT, 1.0, **{name: spike}), grid, np.ones(50), 0.1)
    walls = pk.Walls(lower=pk.Held(100.0))
    with pytest.warns(pk.ResolutionWarning, match="a Held wall lets in"):
        pk.solve(pk.FokkerPlanck(FLAT, 1.0, walls=walls), grid, np.zeros(50), 1e-5)


def test_the_current_counts_what_walls_supply():
    """Constant between walls that hold, or let in; entropy is produced at ∫ J² / rho = log 2."""
    line = pk.Grid(0, 1, 20)
    held = pk.FokkerPlanck(FLAT, 1.0, walls=pk.Walls(pk.Held(2.0), pk.Held(1.0)))
    let_in = pk.FokkerPlanck(FLAT, 1.0, walls=pk.Walls(pk.Inflow(1.5), True))
    for equation, exact in ((held, 1.0), (let_in, 1.5)):
        J = pk.current(equation, pk.stationary(equation, line), line)
        np.testing.assert_allclose(J, exact, rtol=1e-12)
    for rate in (pk.entropy_production, pk.housekeeping):
        found = rate(held, pk.stationary(held, line), line)
        assert found == pytest.approx(math.log(2), rel=1e-3)


@pytest.mark.parametrize("upper", [pk.Held(0.4), pk.PartlyAbsorbing(0.5)])
def test_the_current_of_a_supply_under_a_tensor_is_conserved(upper):
    """Through every section of the plane as much flows as the wall lets in."""
    plane = pk.Grid((0, 0), (1, 1), (12, 10))
    walls = pk.Walls((pk.Inflow(0.2), False), (upper, False))
    equation = pk.FokkerPlanck(FLAT_PLANE, 1.0, diffusion=[[1, 0.4], [0.4, 0.7]], walls=walls)
    J = pk.current(equation, pk.stationary(equation, plane), plane)
    np.testing.assert_allclose(J.values[..., 0].mean(1), 0.2, rtol=1e-10)


OPEN = {
    "resetting": {"resetting": pk.Resetting(1.3, LAW)},
    "a source": {"source": 0.3, "killing": 1.0},
    "an influx": {"walls": pk.Walls(pk.Inflow(0.4), True)},
    "a held wall": {"walls": pk.Walls(pk.Held(0.4), False)},
}


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
@pytest.mark.parametrize("what", OPEN)
def test_dissipation_is_how_fast_the_free_energy_falls_with_supplies_and_resetting(what):
    """By a difference in time; and only what rests is certified to be stationary."""
    equation, line, dt = pk.FokkerPlanck(WELL, 2.0, **OPEN[what]), pk.Grid(-2, 2, 60), 1e-4
    moving = pk.solve(equation, line, pk.Gaussian(0.3, 0.3), [0.3 - dt, 0.3, 0.3 + dt])
    F = pk.free_energy(moving).values
    assert (F[0] - F[2]) / (2 * dt) == pytest.approx(pk.dissipation(moving).values[1], rel=1e-5)
    resting = pk.solve(equation, line, pk.stationary(equation, line).values, [0.1])
    assert pk.certificates.Stationary()(resting).holds
    assert not pk.certificates.Stationary()(moving).holds


@pytest.mark.parametrize("verb", [pk.entropy_production, pk.housekeeping, pk.detailed_balance])
def test_verbs_of_the_motion_refuse_jumps_without_a_reverse(verb):
    """Resetting; and walls that absorb, at which the current over the density is infinite."""
    line = pk.Grid(-2, 2, 60)
    given = () if verb is pk.detailed_balance else (np.ones(60),)
    with pytest.raises(ValueError, match="no reverse"):
        verb(pk.FokkerPlanck(WELL, 2.0, **OPEN["resetting"]), *given, line)
    if given:
        with pytest.raises(ValueError, match="a wall absorbs"):
            verb(pk.FokkerPlanck(WELL, 2.0, **OPEN["an influx"]), *given, line)


@pytest.mark.parametrize("what", ["resetting", "a source"])
def test_duality_is_not_asked_of_supplies(what):
    """Resetting has a transpose; what is added to a density changes <u, rho>."""
    line, times = pk.Grid(-2, 2, 60), [0.1, 0.2, 0.3]
    forward = pk.solve(pk.FokkerPlanck(WELL, 2.0, **OPEN[what]), line, LAW, [0.0, *times])
    back = pk.BackwardKolmogorov(WELL, 2.0, **{**OPEN[what], "source": None})
    backward = pk.solve(back, line, lambda x: np.sin(x[..., 0]), [0.0, *times])
    found = pk.certificates.Duality(backward)(forward)
    assert found.applies == (what == "resetting")
    assert found.holds or not found.applies


def slowest_of_polynomials(tensor, lengths, beta, degree=16):
    """The gap of beta^-1 D:∇² between walls that reflect, by Ritz: the walls' conditions are
    natural ones, so that polynomials know nothing of stencils.
    """
    z, w = np.polynomial.legendre.leggauss(degree + 2)
    values = np.polynomial.legendre.legvander(z, degree)
    slopes = np.stack(
        [np.polynomial.legendre.Legendre.basis(k).deriv()(z) for k in range(degree + 1)], -1
    )
    mass, stiff, mixed = (a.T @ (w[:, None] * b) for a, b in (
        (values, values), (slopes, slopes), (slopes, values)))  # fmt: skip
    x, y = lengths
    energy = tensor[0, 0] * (2 / x) ** 2 * np.kron(stiff, mass)
    energy += tensor[1, 1] * (2 / y) ** 2 * np.kron(mass, stiff)
    cross = tensor[0, 1] * 4 / (x * y) * np.kron(mixed, mixed.T)
    return (
        scipy.linalg.eigh(energy + cross + cross.T, np.kron(mass, mass), eigvals_only=True)[1]
        / beta
    )


@pytest.mark.parametrize(
    ("tensor", "constant"),
    [([[1, 0.6], [0.6, 0.8]], 0.05), ([[1, -0.9], [-0.9, 1]], 0.05),
     ([[1, 0.29], [0.29, 0.1]], 0.05)],
)  # fmt: skip
def test_walls_that_reflect_are_second_order_along_oblique_stencils(tensor, constant, monkeypatch):
    """Edges that reach over one, two and three layers; of first order without what they lack."""
    tensor, lengths = np.array(tensor), (1.0, 1.3)
    exact = slowest_of_polynomials(tensor, lengths, 2.0)
    equation = pk.FokkerPlanck(FLAT_PLANE, 2.0, diffusion=tensor)

    def errors():
        boxes = [pk.Grid((0, 0), lengths, (n, n)) for n in (12, 24, 48)]
        return np.array([abs(pk.spectral_gap(equation, box) - exact) for box in boxes])

    assert (errors() < constant / np.array([12, 24, 48]) ** 2).all()
    monkeypatch.setattr(
        drift_diffusion, "weights_along_walls", lambda *a: np.zeros((2, *a[0].shape))
    )
    lacking = errors()
    assert (lacking[:-1] / lacking[1:] < 2.3).all() and (lacking > 10 * constant / 48**2).all()


@pytest.mark.parametrize("beta", [0.5, 6.0])
def test_walls_along_oblique_stencils_of_tensors_in_space(beta):
    """Constants are kept, and mass; weights along walls are never negative, in boxes of few cells
    too.
    """
    rng = np.random.default_rng(int(beta * 10))
    for _ in range(20):
        cells = tuple(int(n) for n in rng.integers(4, 12, 2))
        closed = rng.random() < 0.3, False
        grid = pk.Grid((0, 0), tuple(rng.uniform(0.1, 4, 2)), cells, closed)
        turn, ratio = rng.uniform(0, 3, 2), 10 ** rng.uniform(-3, 0)

        def tensor(x, turn=turn, ratio=ratio):
            angle = x @ turn
            c, s = np.cos(angle), np.sin(angle)
            axes = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
            return axes @ np.diag([1, ratio]) @ np.swapaxes(axes, -1, -2)

        equation = pk.FokkerPlanck(FLAT_PLANE, beta, diffusion=tensor)
        generator = Problem(equation, grid, np.ones(grid.shape)).generator()
        assert min(side.min(initial=0.0) for side in (*generator.up, *generator.down)) >= 0
        flat = generator.forward(rng.random(grid.shape)).sum()
        assert abs(flat) < 1e-12 * generator.exit_rate().sum()
        added = drift_diffusion.weights_along_walls(*along_walls_of(equation, grid))
        assert added.min() >= 0


def along_walls_of(equation, grid):
    c = drift_diffusion.sample(equation, grid)
    tensor = c.tensor / np.multiply.outer(grid.spacing, grid.spacing)
    return grid, c.walls, tensor, *selling(tensor)
