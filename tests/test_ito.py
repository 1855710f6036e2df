"""One's own stochastic differential equation, and coefficients f(x, t)."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov

import pdekit as pk

GRID = pk.Grid(-4, 4, 400)
LAW = pk.Gaussian(0.5, 0.3)


def test_particles_and_the_equation_of_their_law_agree():
    """A drift in time, and a noise of places."""
    P = pk.ItoProcess(lambda x, t: -(1 + np.sin(t)) * x, lambda x: 0.5 + 0.1 * x[..., 0] ** 2)
    rho = pk.solve(P.law(), GRID, LAW, [0.5, 2.0])
    X = pk.simulate(P, LAW, 20_000, [0.5, 2.0], 0.01, seed=1)
    assert pk.compare(rho, X).p_value > 1e-3
    Q = pk.ItoProcess(lambda x: -x, lambda x: 0.5 + 0.1 * x[..., 0] ** 2)
    other = pk.simulate(Q, LAW, 20_000, [0.5, 2.0], 0.01, seed=1)
    assert pk.compare(rho, other).p_value < 1e-6


def test_coloured_noise():
    """q' = -q + e, e of correlation time τ and strength s: var q = s / (1 + τ), 1/3 halved."""
    tau, s, n = 0.5, 0.5, 20_000

    def drift(x):
        q, e = x[..., 0], x[..., 1]
        return array_namespace(x).stack((e - q, -e / tau), axis=-1)

    P = pk.ItoProcess(drift, [0.0, math.sqrt(2 * s) / tau], dim=2)
    X = pk.simulate(P, np.zeros((n, 2)), n, 8.0, 0.01, seed=2)
    assert float(X.final[:, 0].var()) == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / n) / 3 + 2e-3)


def test_more_brownian_motions_than_coordinates():
    B = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    P = pk.ItoProcess(lambda x: 0 * x, B, dim=2)
    X = pk.simulate(P, np.zeros((50_000, 2)), 50_000, 1.0, 0.5, seed=3)
    np.testing.assert_allclose(np.cov(X.final.values.T), B @ B.T, atol=0.06)
    single = pk.ItoProcess(lambda x: 0 * x, [[1.0], [2.0]], dim=2)
    x = pk.simulate(single, np.zeros((100, 2)), 100, 1.0, 0.5, seed=3).final.values
    np.testing.assert_allclose(x[:, 1], 2 * x[:, 0])


def moments(t, slope, force, D):
    """Mean and variance of dX = (-slope X + force) dt + √(2 D) dB from LAW."""

    def change(s, m):
        return [force(s) - slope(s) * m[0], 2 * D(s) - 2 * slope(s) * m[1]]

    return solve_ivp(change, (0, t), [0.5, 0.09], rtol=1e-10, atol=1e-12).y[:, -1]


def test_potential_force_and_diffusion_in_time():
    """Against moment equations; terms of a sum may move."""
    V = pk.potentials.Quadratic(0.5) + pk.InTime(lambda x, t: t * x[..., 0] ** 2 / 2)
    more = {"force": pk.InTime(lambda x, t: np.cos(3 * t) + 0 * x),
            "diffusion": pk.InTime(lambda x, t: (1 + t) / 4 + 0 * x[..., 0])}  # fmt: skip
    rho = pk.solve(pk.FokkerPlanck(V, 1.0, **more), GRID, LAW, 1.0).final.values
    mean, variance = moments(1.0, lambda s: 0.5 + s, lambda s: np.cos(3 * s), lambda s: (1 + s) / 4)
    x, h = GRID.axes[0], GRID.cell_volume
    assert (x * rho).sum() * h == pytest.approx(mean, abs=1e-4)
    assert ((x - mean) ** 2 * rho).sum() * h == pytest.approx(variance, abs=2e-4)


def test_backward_equations_read_them_at_the_end_less_the_time_to_go():
    """<u(T), rho(0)> = <u(0), rho(T)>: another reading of time breaks it."""
    V = pk.InTime(lambda x, t: (x[..., 0] - np.sin(4 * t)) ** 2 / 2)
    rho = pk.solve(pk.FokkerPlanck(V, 2.0), GRID, LAW, 1.0).final.values
    u = pk.solve(pk.BackwardKolmogorov(V, 2.0), GRID, lambda x: x[..., 0], 1.0).final.values
    start = np.asarray(LAW.density(GRID))
    assert (u * start / start.sum()).sum() == pytest.approx(
        (GRID.axes[0] * rho / rho.sum()).sum(), abs=1e-8
    )


def test_killing_in_time():
    """Of all places alike: exp(-∫k)."""
    D = pk.Langevin(
        pk.potentials.Quadratic(1.0), 2.0, killing=pk.InTime(lambda x, t: t + 0 * x[..., 0])
    )
    X = pk.simulate(D, LAW, 20_000, 1.0, 0.1, seed=4)
    assert float(X.alive[-1]) == pytest.approx(math.exp(-0.5), abs=4 * 0.5 / math.sqrt(20_000))


def turning(x):
    """A matrix of noises that is not symmetric."""
    xp, a, b = array_namespace(x), x[..., 0], x[..., 1]
    rows = xp.stack((1 + a * a, a * b), axis=-1), xp.stack((b, 2 + a), axis=-1)
    return xp.stack(rows, axis=-2)


def by_differences(x, function, h=1e-5):
    return [(function(x + h * e) - function(x - h * e)) / (2 * h) for e in np.eye(2)]


@pytest.mark.parametrize("moving", [False, True])
def test_readings_of_a_noise(moving):
    """½ Σ B_kj ∂_k B_ij and ½ Σ ∂_k (B Bᵀ)_ik, by differences; on a line as of D = B²/2."""
    noise, t = (pk.InTime(lambda x, t: (1 + t) * turning(x)), 0.5) if moving else (turning, 0.0)
    x, scale = np.random.default_rng(1).normal(size=(6, 2)), (1 + t) ** 2
    B, dB = turning(x), by_differences(x, turning)
    dD = by_differences(x, lambda y: turning(y) @ turning(y).transpose(0, 2, 1) / 2)
    middle = sum(np.einsum("nj,nij->ni", B[:, k], dB[k]) for k in range(2)) / 2
    end = sum(dD[k][:, :, k] for k in range(2))
    for reading, added in (
        (pk.Ito, 0 * x),
        (pk.Stratonovich, middle),
        (pk.HaenggiKlimontovich, end),
    ):
        P = pk.ItoProcess(lambda x: -x, reading(noise), dim=2)
        exact = -x + scale * added
        np.testing.assert_allclose(P.drift(torch.as_tensor(x), t), exact, atol=1e-8)
        force = P.law().force
        np.testing.assert_allclose(
            (force.at(t) if hasattr(force, "at") else force)(x), exact, atol=1e-8
        )


@pytest.mark.parametrize("reading", [pk.Stratonovich, pk.HaenggiKlimontovich])
def test_particles_follow_the_reading(reading):
    """And not Itô's."""
    s = lambda x: 0.4 + 0.5 * x[..., 0] ** 2 / (1 + x[..., 0] ** 2)  # noqa: E731
    P, n = pk.ItoProcess(lambda x: -x, reading(s)), 20_000
    X = pk.simulate(P, LAW, n, 1.5, 0.02, seed=5)
    assert pk.compare(pk.solve(P.law(), GRID, LAW, 1.5), X).p_value > 1e-3
    ito = pk.ItoProcess(lambda x: -x, s).law()
    assert pk.compare(pk.solve(ito, GRID, LAW, 1.5), X).p_value < 1e-6


def test_a_field_may_be_replaced():
    """The rest, with its reading, stays."""
    P = pk.ItoProcess(lambda x: -x, pk.Stratonovich(turning), dim=2)
    Q = dataclasses.replace(P, killing=1.0)
    x = np.array([[0.3, 0.4]])
    assert Q.drift == P.drift and Q.noise == P.noise
    np.testing.assert_array_equal(P.law().force(x), Q.law().force(x))


def test_three_coordinates():
    """dX = A X dt + B dB with five noises that turn with the angle of x: B B' is constant."""
    A = np.array([[-1.0, 1.0, 0.0], [-1.0, -1.0, 0.5], [0.0, 0.0, -2.0]])
    B = np.array([[1.0, 0.2, 0.0, 0.0, 0.3], [0.0, 0.5, 0.5, 0.0, 0.0], [0.1, 0.0, 0.0, 0.7, 0.0]])

    def noise(x):
        c, s = x[..., 0].cos()[..., None], x[..., 0].sin()[..., None]
        b = x.new_tensor(B)
        first, second = c * b[:, 0] - s * b[:, 1], s * b[:, 0] + c * b[:, 1]
        rest = b[:, 2:].expand(*x.shape, 3)
        return torch.cat((first[..., None], second[..., None], rest), -1)

    P, n = pk.ItoProcess(lambda x: x @ x.new_tensor(A).T, noise, dim=3), 10_000
    X = pk.simulate(P, np.zeros((n, 3)), n, 4.0, 0.02, seed=6)
    exact = solve_continuous_lyapunov(A, -B @ B.T)
    spread = np.sqrt(np.outer(np.diag(exact), np.diag(exact)) * 2 / n)
    assert (
        np.abs(np.cov(X.final.values.T) - exact) < 4 * spread + 0.02 * np.abs(exact).max()
    ).all()


BAD = {
    "a vector of another length": (lambda: pk.ItoProcess(lambda x: x, [1.0, 2.0]), "shape"),
    "three arguments": (lambda: pk.ItoProcess(lambda x, t, s: x, 1.0), "function of"),
    "a reading of place and time": (
        lambda: pk.ItoProcess(lambda x: x, pk.Stratonovich(lambda x, t: x[..., 0])), "function of"),
    "no function": (lambda: pk.ItoProcess(3.0, 1.0), "drift"),
    "no time": (lambda: pk.InTime(lambda x: x), "function of"),
    "a drift of scalars": (
        lambda: pk.simulate(pk.ItoProcess(lambda x: x[..., 0], 1.0, 2), np.zeros((50, 2)), 50, 1.0,
                            0.1), r"\(\.\.\., d\)"),
    "a noise of another shape": (
        lambda: pk.simulate(pk.ItoProcess(lambda x: x, lambda x: x[..., [0, 0, 0]]),
                            np.zeros((50, 1)), 50, 1.0, 0.1), "the noise must map"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_equation_is_refused(name):
    call, words = BAD[name]
    with pytest.raises((ValueError, TypeError), match=words):
        call()
