"""Errata that change a number: as printed it is another than pdekit's, which is right.

Rows of the table in docs/errata.md that neither ``test_errata.py`` nor ``test_errata_formulas.py``
has.
"""

from math import exp, inf
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg

import pdekit as pk

WELL, BETA, GAMMA, X = pk.potentials.DoubleWell(), 4.0, 0.5, 0.3
LINE = pk.Grid(-4, 4, 800)
Q = pk.potentials.Quadratic


def derivative(f: Any, x: float, h: float = 1e-4) -> float:
    return (f(x + h) - f(x - h)) / (2 * h)


def test_row_3_the_displacement_is_driven_up_the_slope() -> None:
    """f = 3x²/2, γ = ½, X = 1: Y rests at 0.6; with the printed sign it leaves at the rate 1."""

    def slope(x: Any) -> Any:
        return 3 * x

    def right(y: float) -> float:
        at = torch.tensor([1.0], dtype=torch.float64), torch.tensor([y], dtype=torch.float64)
        return float(pk.particles.Displacement().drift(slope, *at, 0.5))

    assert right(0.6) == pytest.approx(0, abs=1e-12) and derivative(right, 0.6) < 0
    assert derivative(lambda y: -y / 0.5 - slope(1 - y), 0.6) == pytest.approx(1.0)


def test_row_4_expectations_solve_the_equation_of_the_other_sign() -> None:
    """u(x, T - τ) = E x²: u_τ = L u, which is -u_t = L u; the printed u_t = L u is off by 2 L u."""
    a, beta, tau, h = 1.5, 2.0, 0.3, 0.01
    equation, grid = pk.BackwardKolmogorov(Q(a), beta), pk.Grid(-6, 6, 600)
    x, k = grid.axes[0], 350
    before, u, after = pk.solve(equation, grid, x**2, [tau - h, tau, tau + h]).fields[-3:]
    slope, curvature = np.gradient(u, x), np.gradient(np.gradient(u, x), x)
    generator = -a * x[k] * slope[k] + curvature[k] / beta
    rate = (after[k] - before[k]) / (2 * h)
    assert rate == pytest.approx(generator, rel=5e-3)
    assert abs(rate + generator) > 1.9 * abs(generator) > 0.1


def test_row_5_a_concave_potential_does_not_contract() -> None:
    """V = -x²/2 has ∇²V + 2 > 0. Means part like e^t, as ∇²V >= -1 allows; not like e^{-2t}."""
    grid, t = pk.Grid(-8, 8, 800), 0.5
    means = [
        grid.integrate(grid.axes[0] * pk.solve(
            pk.FokkerPlanck(Q(-1.0), 4.0), grid, pk.Gaussian(m, 0.5), t).fields[-1])
        for m in (0.0, 0.2)
    ]  # fmt: skip
    apart = float(means[1] - means[0])
    assert apart == pytest.approx(0.2 * exp(t), rel=1e-3)
    assert apart > 2 * 0.2 * exp(-2 * t)


def test_row_7_exit_times_under_the_printed_noise_have_twice_the_exponent() -> None:
    """The gap falls like e^{-2 β Δf} under β^{-1/2} dB, Δf = ¼; as printed with sqrt(2/β) only."""

    def exponent(doubled: float) -> float:
        low, high = (
            pk.spectral_gap(pk.FokkerPlanck(WELL, doubled * b), pk.Grid(-3, 3, 2000))
            for b in (20.0, 40.0)
        )
        return float(np.log(low / high) / 20)

    assert exponent(1.0) == pytest.approx(0.25, abs=0.01)
    assert exponent(2.0) == pytest.approx(0.5, abs=0.02)


def test_row_16_the_product_of_beta_and_lambda_decides_nothing() -> None:
    """βλ = 2 twice: three states at (4, ½), one at (2, 1). β_c λ grows with λ."""
    for beta, strength, count in ((4.0, 0.5, 3), (2.0, 1.0, 1)):
        equation = pk.McKeanVlasov(WELL, beta, pk.CurieWeiss(strength))
        assert len(pk.self_consistent_states(equation, LINE)) == count
    critical = [s * pk.critical_beta(WELL, pk.CurieWeiss(s)) for s in (0.5, 1.0, 2.0)]
    assert critical == pytest.approx([1.8903, 2.1884, 2.4516], abs=1e-4)


def test_row_17_a_tilted_loss_is_not_stationary_about_the_origin() -> None:
    """e^{-β(V + λx²/2)} has the mean R(0) = -0.247, and moves towards m = -0.405."""
    beta, strength = 1.0, 0.5
    tilted = WELL + pk.potentials.Linear(0.3)
    equation = pk.McKeanVlasov(tilted, beta, pk.CurieWeiss(strength))
    x = LINE.axes[0]
    printed = np.exp(-beta * (tilted(LINE.centres) + strength * x**2 / 2))
    printed /= LINE.integrate(printed)
    (state,) = pk.self_consistent_states(equation, LINE)
    later = pk.solve(equation, LINE, printed, 30.0).fields[-1]
    means = [float(LINE.integrate(x * rho)) for rho in (printed, later)]
    assert means == pytest.approx([-0.24699, state.mean], abs=1e-4)
    assert state.mean == pytest.approx(-0.405445, abs=1e-5)


def test_row_18_weights_add_up_to_one() -> None:
    """On a flat loss without noise X stays; by weights that add up to 20/24 it would shrink."""
    m, M, dt, gamma = 5, 20, 0.1, 0.5
    flat = pk.TwoScaleLangevin(Q(0.0), inf, gamma, 0.1, M, burn_in=m)
    x = pk.simulate(flat, [[1.0]], 1, 10 * dt, dt).final.item()
    share = M / (m + M - 1)
    assert x == pytest.approx(1.0, abs=1e-12)
    assert (1 - dt / gamma * (1 - share)) ** 10 < 0.72


@pytest.mark.parametrize(
    ("variance", "right"), [(GAMMA / BETA, True), (GAMMA / (2 * BETA), False), (GAMMA, False)]
)
def test_rows_29_and_30_heat_has_the_variance_gamma_over_beta(variance: float, right: bool) -> None:
    """E ∇V(x + ξ) = x³ - x + 3 x Var ξ of the double well; the slope under the heat equation."""
    grid = pk.Grid(-6, 6, 2400)
    v = pk.solve(pk.Heat(BETA), grid, WELL(grid.centres), GAMMA).fields[-1]
    slope = np.interp(X, grid.axes[0], np.gradient(v, grid.axes[0]))
    assert (abs(X**3 - X + 3 * X * variance - slope) < 1e-3) == right


def test_row_37_the_noise_of_a_step_has_the_variance_2_d_dt_over_beta() -> None:
    """F = [[2, 1], [1, 3]], D = diag(1, 2): covariance [[16, -7], [-7, 19]]/25 as steps shorten.

    Noise sqrt(D/β) as printed has no step in it: the covariance grows as 1/dt.
    """
    F, D = np.array([[2.0, 1.0], [1.0, 3.0]]), np.diag([1.0, 2.0])
    exact = np.array([[16.0, -7.0], [-7.0, 19.0]]) / 25

    def stationary(dt: float, noise: Any) -> Any:
        """Of X⁺ = X - dt F X + sqrt(noise) ξ, β = 1."""
        return linalg.solve_discrete_lyapunov(np.eye(2) - dt * F, noise)

    for dt in (1e-2, 1e-3):
        assert np.abs(stationary(dt, 2 * D * dt) - exact).max() < 2 * dt
        assert np.abs(stationary(dt, D)).max() > 0.2 / dt
    moved = pk.simulate(
        pk.MultiplicativeLangevin(
            pk.potentials.Quadratic((2.0, 3.0)), 1.0, D, force=lambda x: -x.flip(-1)
        ),
        np.zeros((20_000, 2)), 20_000, 6.0, 0.01,
    )  # fmt: skip
    assert np.abs(np.cov(moved.final.values.T) - exact).max() < 0.03


def test_row_38_and_39_identical_terms_and_whole_batches_have_no_noise() -> None:
    """As printed, -(1 - 1/(N-1)) leaves 2/(N-1) gg' for identical ones, 1 - β/N any noise."""
    N = 8
    equal = pk.particles.FiniteSum(lambda x, k: x[..., 0] * (1 + 0 * k).to(x.dtype), N)
    mixed = pk.particles.FiniteSum(lambda x, k: x[..., 0] * (1.0 * k).to(x.dtype), N)
    ends = []
    for V, size in ((equal, 3), (mixed, N)):
        batches = pk.particles.MiniBatch(size, replacement=False)
        dynamics = pk.Nesterov(V, 0.0, batches)
        ends.append(pk.simulate(dynamics, np.zeros((500, 1)), 500, 0.1, 0.1).final.values)
    assert max(e.std() for e in ends) < 1e-12
    g, S = 1.0, N * 1.0
    assert S / (N - 1) - N / (N - 1) * g == 0.0
    assert S / (N - 1) - (1 - 1 / (N - 1)) * g == pytest.approx(2 / (N - 1))


def test_row_42_the_steady_potential_is_minus_the_logarithm() -> None:
    rho = pk.stationary(pk.FokkerPlanck(WELL, BETA), LINE).values
    middle = np.abs(LINE.axes[0]) < 1.5
    V = WELL(LINE.centres)[middle]
    for sign, right in ((-1, True), (1, False)):
        off = sign * np.log(rho[middle]) / BETA - V
        assert (np.ptp(off) < 1e-3) == right


@pytest.mark.parametrize(("sign", "right"), [(1, True), (-1, False)])
def test_row_46_the_divergence_of_an_antisymmetric_field_is_by_rows(sign: int, right: bool) -> None:
    """Drift (1 + Q) ∇Φ - β⁻¹ ∇·Q: by columns ∇·Q has the other sign, and e^{-βΦ} is not at rest."""
    beta, turn = 2.0, np.array([[0.0, 1.0], [-1.0, 0.0]])
    Phi = Q(((1.0, 0.3), (0.3, 2.0)))

    def q(x: Any) -> Any:
        return np.sin(x[..., 0]) + x[..., 1] ** 2

    def rows(x: Any) -> Any:  # Σ_j ∂_j (q J_ij)
        return np.stack([2 * x[..., 1], -np.cos(x[..., 0])], -1)

    def flux(x: Any) -> Any:  # of e^{-βΦ} under the drift, with D = 1
        slope = Phi.grad(x)
        turned = q(x)[..., None] * (slope @ turn.T)
        return -(turned - sign * rows(x) / beta) * np.exp(-beta * Phi(x))[..., None]

    x, h = np.array([0.7, -0.4]), 1e-5
    e = h * np.eye(2)
    residual = sum((flux(x + e[k])[k] - flux(x - e[k])[k]) / (2 * h) for k in (0, 1))
    assert abs(residual) < 1e-8 if right else abs(residual) > 0.01
    made = pk.with_steady_state(Phi, beta, circulation=lambda x: q(x)[..., None, None] * turn)
    grid = pk.Grid((-4, -4), (4, 4), (96, 96))
    rho = pk.stationary(made, grid).values
    exact = np.exp(-beta * Phi(grid.centres))
    exact /= grid.integrate(exact)
    assert np.abs(rho - exact).max() < 0.02 * exact.max()


def test_row_59_the_outer_step_moves() -> None:
    """x <- x - η'(x - z), with η' = 1 at z: the printed line leaves x where it is."""
    dynamics = pk.EntropySGD(Q(1.0), inf, 0.5, inner_steps=8)
    x = pk.simulate(dynamics, [[1.0]], 1, [0.1, 0.2], 0.1).x.values.ravel()
    assert 0 < x[1] < x[0] < 1 - 1e-3
