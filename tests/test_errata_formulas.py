"""Errata of the source papers that are formulas: what is printed differs, what is right agrees.

Rows of the table in docs/errata.md, each against quadrature, autograd, counting or a stationary
density on a grid. Those that change a law are in ``test_errata.py``.
"""

from math import log, pi
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, optimize

import pdekit as pk
from pdekit.pde.exact import solutions

WELL, BETA, GAMMA, X = pk.potentials.DoubleWell(), 4.0, 0.5, 0.3


def fast_moments(f: Any, beta: float, gamma: float, x: float) -> tuple[float, float]:
    """Mean and variance under exp(-beta (f(y) + (x - y)²/(2 gamma))), by quadrature."""
    y = np.linspace(-8, 8, 20_001)
    energy = beta * (f(y) + (x - y) ** 2 / (2 * gamma))
    weight = np.exp(energy.min() - energy)
    mean = (weight * y).sum() / weight.sum()
    return float(mean), float((weight * (y - mean) ** 2).sum() / weight.sum())


def test_row_12_epsilon_is_no_length() -> None:
    """Of Φ(x - y/ε) + |y/ε|²/(2γ) the mean y over γ is ε times the slope; of Φ(x - y) + ..., it."""
    slope = float(solutions.cole_hopf_gradient(WELL, BETA, GAMMA, [[X]])[0, 0])

    def mean_over_gamma(epsilon: float) -> float:
        moments = fast_moments(
            lambda y: WELL(X - y[:, None] / epsilon), BETA, GAMMA * epsilon**2, 0.0
        )
        return moments[0] / GAMMA

    assert mean_over_gamma(1.0) == pytest.approx(slope, abs=1e-9)  # ε in front of the drift instead
    assert mean_over_gamma(0.1) == pytest.approx(0.1 * slope, abs=1e-9)


def test_row_20_and_21_the_slope_is_x_less_the_mean() -> None:
    """Thesis (3.10), (4.23): -∇f_γ = γ⁻¹⟨x - y⟩, and ⟨y⟩ in place of x - ⟨y⟩."""
    mean, _ = fast_moments(lambda y: WELL(y[:, None]), BETA, GAMMA, X)
    slope = float(solutions.cole_hopf_gradient(WELL, BETA, GAMMA, [[X]])[0, 0])
    assert slope == pytest.approx((X - mean) / GAMMA, abs=1e-9)
    assert slope * GAMMA == pytest.approx(-0.0900, abs=1e-4)
    assert mean == pytest.approx(0.3900, abs=1e-4)


def test_row_22_without_its_normalisation_the_local_entropy_diverges() -> None:
    """Thesis (3.9) with β = 1: 6.196 at γ = 1e-6 where f = 0.207."""
    f, gamma = float(WELL(np.array([X]))), 1e-6
    u = float(solutions.cole_hopf(WELL, 1.0, gamma, [[X]])[0])
    assert u == pytest.approx(f, abs=1e-5)
    assert u - log(2 * pi * gamma) / 2 == pytest.approx(6.1958, abs=1e-4)


def test_row_23_half_the_logarithm_of_the_determinant() -> None:
    """At the minimum of xᵀAx/2 the local entropy is (2β)⁻¹ log det(I + γA)."""
    A = np.array([[3.0, 0.5], [0.5, 1.0]])
    u = float(solutions.cole_hopf(pk.potentials.Quadratic(A), BETA, GAMMA, [[0.0, 0.0]])[0])
    assert u == pytest.approx(np.log(np.linalg.det(np.eye(2) + GAMMA * A)) / (2 * BETA), abs=1e-9)
    printed = np.log(np.linalg.det(A + np.eye(2) / GAMMA)), np.linalg.eigvalsh(A).sum()
    assert min(abs(p - u) for p in printed) > 1


def test_row_24_the_slope_up_to_a_factor_that_is_no_constant() -> None:
    """∇v = -βv∇u with v = e^{-βu}: over ∇u it is -2.100 at 0.3 and -1.415 at 1.5."""
    at = np.array([0.3, 1.5])
    u = solutions.cole_hopf(WELL, BETA, GAMMA, at[:, None])
    slope = solutions.cole_hopf_gradient(WELL, BETA, GAMMA, at[:, None])[:, 0]

    def v(x: float) -> float:
        y = np.linspace(-8, 8, 20_001)
        heat = np.exp(-BETA * (x - y) ** 2 / (2 * GAMMA)) / np.sqrt(2 * pi * GAMMA / BETA)
        return float((heat * np.exp(-BETA * WELL(y[:, None]))).sum() * (y[1] - y[0]))

    rise = np.array([(v(x + 1e-4) - v(x - 1e-4)) / 2e-4 for x in at])
    np.testing.assert_allclose(rise, -BETA * np.exp(-BETA * u) * slope, rtol=1e-6)
    np.testing.assert_allclose(rise / slope, [-2.1000, -1.4155], rtol=1e-3)


def test_row_25_the_slope_of_shannon_s_entropy() -> None:
    """∇H(ρ_γ) = -γ⁻¹ cov(g(y), x - y) with g = f + |x-y|²/(2γ), not f + (γ/2)|x-y|²."""
    y = np.linspace(-8, 8, 20_001)

    def density(x: float) -> Any:
        weight = np.exp(-WELL(y[:, None]) - (x - y) ** 2 / (2 * GAMMA))
        return weight / weight.sum()

    def entropy(x: float) -> float:
        p = density(x)
        return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum())

    def covariance(g: Any) -> float:
        p = density(X)
        return float((p * g * (X - y)).sum() - (p * g).sum() * (p * (X - y)).sum())

    f, square = WELL(y[:, None]), (X - y) ** 2
    right, printed = (-covariance(f + c * square) / GAMMA for c in (1 / (2 * GAMMA), GAMMA / 2))
    rise = (entropy(X + 1e-4) - entropy(X - 1e-4)) / 2e-4
    assert rise == pytest.approx(right, rel=1e-6) and abs(printed - rise) > 0.05


def test_row_26_moments_of_the_fast_law() -> None:
    """f = Qy²/2 + qy: mean x - (Q + 1/γ)⁻¹ f'(x), variance β⁻¹ (Q + 1/γ)⁻¹."""
    Q, q = 1.5, 0.4
    mean, variance = fast_moments(lambda y: Q * y**2 / 2 + q * y, BETA, GAMMA, X)
    inverse = 1 / (Q + 1 / GAMMA)
    assert (mean, variance) == pytest.approx((X - inverse * (Q * X + q), inverse / BETA), abs=1e-9)
    assert abs(variance - 1 / (Q + GAMMA)) > 0.1  # as printed


def test_row_27_laplace_s_method_and_the_smoothness_of_the_local_entropy() -> None:
    """⟨x - y⟩ = (f'' + 1/γ)⁻¹f' is exact for a parabola and 38 % short for a convex quartic.

    In the double well, whose curvature is -1 to 11 on |x| < 2, no c > 0 has its spectrum avoid
    [-2/γ - c, c]; the curvature of f_γ is at most μ/(1 + γμ) all the same.
    """
    bowl, _ = fast_moments(lambda y: 1.5 * y**2 / 2, BETA, GAMMA, X)
    assert X - bowl == pytest.approx(1.5 * X / (1.5 + 1 / GAMMA), abs=1e-9)
    quartic, _ = fast_moments(lambda y: y**4, BETA, GAMMA, 1.0)
    assert 4 / (12 + 1 / GAMMA) / (1 - quartic) == pytest.approx(0.624, abs=1e-3)

    x = np.linspace(-1.0, 1.0, 401)
    slope = solutions.cole_hopf_gradient(WELL, BETA, GAMMA, x[:, None])[:, 0]
    largest = 3 * 2.0**2 - 1  # of the double well on |y| < 2
    curvature = np.diff(slope) / np.diff(x)
    assert curvature.max() <= largest / (1 + GAMMA * largest)


def test_row_32_by_time_to_go_the_value_function_lies_below_the_equation_of_the_idle_cost() -> None:
    """Proof of theorem 4.11: u_τ - L u = -|∇u|²/2 <= 0, hence u <= v; with >= 0 it were u >= v."""
    grid, step = pk.Grid(-4, 4, 800), 1e-3
    x, cost = grid.axes[0], pk.potentials.Quadratic(1.0)
    times = [0.3 - step, 0.3, 0.3 + step]
    before, u, after = pk.solve(pk.HamiltonJacobiBellman(WELL, BETA), grid, cost, times).fields
    slope = np.gradient(u, x)
    generator = -WELL.grad(grid.centres)[:, 0] * slope + np.gradient(slope, x) / BETA
    excess = ((after - before) / (2 * step) - generator)[np.abs(x) < 1.5]
    np.testing.assert_allclose(excess, -(slope**2)[np.abs(x) < 1.5] / 2, atol=2e-3)
    assert excess.min() < -0.05
    idle = pk.solve(pk.BackwardKolmogorov(WELL, BETA), grid, cost, 0.3).fields[-1]
    assert (u <= idle).all() and (idle - u).max() > 0.01


def test_row_33_the_local_entropy_of_a_parabola() -> None:
    """c|x|²/(2(1 + ct)) + (n/2β) log(1 + ct); printed log(t + 1/c) fails at t = 0 unless c = 1."""
    c, t, x = 2.0, 0.7, np.array([[0.5, -0.2]])
    u = float(solutions.cole_hopf(pk.potentials.Quadratic(c, 2), BETA, t, x)[0])
    plain = c * float((x**2).sum()) / (2 * (1 + c * t))
    assert u == pytest.approx(plain + log(1 + c * t) / BETA, abs=1e-9)
    assert abs(u - plain - log(t + 1 / c) / BETA) > 0.1


def test_row_34_the_square_of_the_mixed_derivatives() -> None:
    """∂_kk ½|∇u|² = ∇u·∇u_kk + Σ_i u_ik², with the index k."""

    def u(x: Any) -> Any:
        return torch.sin(x[0] + 0.3 * x[1] ** 2) + x[0] ** 3 * x[1]

    at = torch.tensor([0.4, -0.7], dtype=torch.float64)
    hessian, of = torch.autograd.functional.hessian, torch.func.grad
    H = hessian(u, at)
    for k in (0, 1):
        left = hessian(lambda x: (of(u)(x) ** 2).sum() / 2, at)[k, k]
        curvature = of(lambda x, k=k: of(lambda y: of(u)(y)[k])(x)[k])(at)
        rest = float(left - of(u)(at) @ curvature)
        assert rest == pytest.approx(float((H[:, k] ** 2).sum()), abs=1e-10)
        assert abs(rest - float((H.diagonal() ** 2).sum())) > 0.1


def test_row_36_the_constants_are_those_at_time_zero() -> None:
    """Lemma 4.19 for 3 x²/2 at t = 1: u_xx = 0.75 = 1/(1 + 1/3); by its own C_k it were 0.4286."""
    grid, parabola = pk.Grid(-2, 2, 400), pk.potentials.Quadratic(3.0)
    u = pk.solve(pk.HamiltonJacobi(), grid, parabola, 1.0)
    found = pk.semiconcavity(u, parabola, constants=3.0, window=(-0.5, 0.5)).data.isel(time=-1)
    bend = float(found["sup_minima"])
    assert bend == pytest.approx(0.75, abs=1e-4)
    assert float(found["bound_minima"]) == pytest.approx(0.75)
    assert 1 / (1 + 1 / bend) == pytest.approx(3 / 7, abs=1e-4)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
def test_row_44_a_loss_may_be_its_own_potential_under_an_uneven_noise() -> None:
    """D = 1 + c e^{βf} leaves e^{-βf}; D = c leaves e^{-βf/c}."""
    grid, beta, c = pk.Grid(-2, 2, 400), 1.5, 2.0
    bowl = pk.potentials.Quadratic()

    def law(power: float) -> Any:
        weight = np.exp(-power * bowl(grid.centres))
        return weight / grid.integrate(weight)

    for D, power in ((lambda x: 1 + c * np.exp(beta * bowl(x)), beta), (c, beta / c)):
        found = pk.stationary(pk.FokkerPlanck(bowl, beta, diffusion=D), grid).values
        assert np.abs(found / law(power) - 1).max() < 2e-3


@pytest.mark.parametrize("beta, rise", [(1.0, 1.0397), (4.0, 0.5199)])
def test_row_45_the_potential_of_the_steady_state_depends_on_beta(beta: float, rise: float) -> None:
    """Φ = ∫f'/D + β⁻¹ log D on a line, D = 1 + x², f = x²/2."""
    grid = pk.Grid(-4, 4, 1600)
    uneven = pk.FokkerPlanck(
        pk.potentials.Quadratic(), beta, diffusion=lambda x: 1 + x[..., 0] ** 2
    )
    phi = -np.log(pk.stationary(uneven, grid).values) / beta
    at = np.interp([0.0, 1.0], grid.axes[0], phi)
    assert at[1] - at[0] == pytest.approx(rise, abs=1e-3)


def test_row_47_the_parts_of_the_generator_off_the_stationary_state() -> None:
    """L = L_S + L_A for any density with -D∇Φρ + ∇fρ; with β⁻¹D∇ρ + ∇fρ at ρ^ss alone.

    A drift -Fx with D = diag(1, 2), β = 1: Φ = xᵀS⁻¹x/2 with S = [[16, -7], [-7, 19]]/25.
    """
    F, D = torch.tensor([[2.0, 1.0], [1.0, 3.0]]).double(), torch.diag(torch.tensor([1.0, 2.0]))
    D, S = D.double(), torch.tensor([[16.0, -7.0], [-7.0, 19.0]]).double() / 25
    of = torch.func.grad

    def phi(x: Any) -> Any:
        return x @ torch.linalg.solve(S, x) / 2

    def divergence(flux: Any, at: Any) -> float:
        return float(torch.trace(torch.func.jacrev(flux)(at)))

    def gap(rho: Any, at: Any, printed: bool) -> float:
        whole = divergence(lambda x: F @ x * rho(x) + D @ of(rho)(x), at)
        symmetric = divergence(lambda x: D @ of(phi)(x) * rho(x) + D @ of(rho)(x), at)
        turned = divergence(
            lambda x: (D @ of(rho)(x) if printed else -D @ of(phi)(x) * rho(x)) + F @ x * rho(x), at
        )
        return abs(whole - symmetric - turned)

    at = torch.tensor([0.4, -0.7]).double()

    def rest(x: Any) -> Any:
        return torch.exp(-phi(x))

    def moved(x: Any) -> Any:
        return torch.exp(-((x - 0.5) ** 2).sum())

    assert gap(rest, at, printed=True) < 1e-12 and gap(moved, at, printed=False) < 1e-12
    assert gap(moved, at, printed=True) > 0.1


def test_row_48_a_saddle_may_have_no_decomposition_or_many() -> None:
    """Lemma 6.44, F = diag(1, -1): 0 Σ₁₂ = 2 D₁₂ has no solution, or any where D₁₂ = 0."""
    F = np.diag([1.0, -1.0])
    for coupled in (0.3, 0.0):
        with pytest.raises(ValueError, match="no unique solution"):
            pk.decompose(F, np.array([[1.0, coupled], [coupled, 1.0]]))
    for free in (0.0, 0.5):
        covariance = np.array([[1.0, free], [free, -1.0]])
        np.testing.assert_array_equal(F @ covariance + covariance @ F.T, 2 * np.eye(2))
        turning = (F @ covariance - covariance @ F.T) / 2
        made = (np.eye(2) + turning) @ np.linalg.inv(covariance)
        np.testing.assert_allclose(made, F, atol=1e-14)
        assert (turning == -turning.T).all() and turning[0, 1] == free


def test_row_49_the_entropy_that_is_produced_is_minus_the_current_times_the_gradient() -> None:
    """dF/dt = ∫∇(δF/δρ)·J with the current J, so that β⁻¹dS_i/dt = -∫∇(δF/δρ)·J >= 0."""
    grid, dt = pk.Grid(-3, 3, 600), 1e-3
    equation = pk.FokkerPlanck(WELL, BETA)
    rho = pk.solve(equation, grid, pk.Gaussian(0.4, 0.15), [0.2 - dt, 0.2, 0.2 + dt]).fields
    x = grid.axes[0]
    h = x[1] - x[0]

    def free_energy(p: Any) -> float:
        return float((p * (WELL(x[:, None]) + np.log(p) / BETA)).sum() * h)

    current = -np.cumsum((rho[2] - rho[0]) / (2 * dt))[:-1] * h  # J at the faces: ρ_t = -J_x
    force = np.diff(WELL(x[:, None]) + np.log(rho[1]) / BETA) / h
    released = -float((current * force).sum() * h)
    fall = -(free_energy(rho[2]) - free_energy(rho[0])) / (2 * dt)
    assert released == pytest.approx(fall, rel=1e-3) and released > 0.1


def complexity_root(power: int) -> float:
    """Where ½ log(p-1) - (p-2)/(4(p-1)) u² - I₁(u) vanishes for p = 3, u/E² to this power."""
    p = 3
    E = 2 * np.sqrt((p - 1) / p)

    def theta(u: float) -> float:
        root = np.sqrt(u * u - E * E)
        rate = -(u**power / E**2) * root - log(-u + root) + log(E)
        return log(p - 1) / 2 - (p - 2) / (4 * (p - 1)) * u * u - rate

    return -optimize.brentq(theta, -2.5, -E - 1e-12)


def test_row_50_the_ground_state_of_the_spin_glass() -> None:
    """1.65699836352747 with -(u/E²)√(u² - E²); with u² the complexity has no zero there."""
    assert complexity_root(1) == pytest.approx(1.65699836352747, abs=1e-10)
    with pytest.raises(ValueError, match="different signs"):
        complexity_root(2)


def test_row_70_a_mean_cosine_distance_is_at_most_one() -> None:
    """Over pairs of n vectors it is n/(n-1) (1 - |mean unit vector|²)."""
    n = 50
    v = np.random.default_rng(0).normal(size=(n, 7))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    pairs = (1 - v @ v.T)[~np.eye(n, dtype=bool)].mean()
    assert pairs == pytest.approx(n / (n - 1) * (1 - np.linalg.norm(v.mean(0)) ** 2), abs=1e-12)
    assert pairs <= n / (n - 1) < 1.16


@pytest.mark.parametrize("hidden, weights", [(32, 25_450), (64, 50_890)])
def test_row_71_the_size_of_the_network(hidden: int, weights: int) -> None:
    layers = torch.nn.Linear(784, hidden), torch.nn.Linear(hidden, 10)
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == weights


def test_row_73_noise_in_a_well_has_a_coloured_spectrum_without_a_cycle() -> None:
    """Increments of x⁺ = (1-a)x + ξ: spectrum |1-e^{-iw}|²/|1-(1-a)e^{-iw}|², three times 10 %."""
    a, n = 0.01, 2**15
    noise = np.random.default_rng(1).normal(size=(40, n))
    x = np.zeros((40, n + 1))
    for k in range(n):
        x[:, k + 1] = (1 - a) * x[:, k] + noise[:, k]
    power = (np.abs(np.fft.rfft(np.diff(x), axis=1)) ** 2).mean(0) / n
    for share in (0.001, 0.033, 0.9):
        i = round(share * n / 2)
        w = 2 * pi * i / n
        exact = abs(1 - np.exp(-1j * w)) ** 2 / abs(1 - (1 - a) * np.exp(-1j * w)) ** 2
        near = power[max(1, i - 5) : i + 6].mean()
        assert near == pytest.approx(exact, rel=0.3)
    assert power[33 // 2] < 0.3 < power[n // 3]


def test_integrals_are_those_of_the_table() -> None:
    """The moments above against adaptive quadrature."""

    def weight(y: float) -> float:
        return float(np.exp(-BETA * (WELL(np.array([y])) + (X - y) ** 2 / (2 * GAMMA))))

    total, first = (integrate.quad(lambda y, k=k: y**k * weight(y), -5, 5)[0] for k in (0, 1))
    mean, _ = fast_moments(lambda y: WELL(y[:, None]), BETA, GAMMA, X)
    assert first / total == pytest.approx(mean, abs=1e-9)
