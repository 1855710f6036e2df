"""Derivatives of an expectation by the adjoint: dual to those of the density; Gaussians."""

import math

import numpy as np
import pytest

import pdekit as pk
from pdekit.pde.discrete import rate_changes
from pdekit.pde.expectation_gradient import gradient
from pdekit.pde.kernels.rational import exponential_poles, radau

PLANE = pk.Grid((0, 0), (1, 1.2), (9, 8))
WELL = pk.potentials.Custom(lambda x: x[..., 0] * x[..., 1] + np.sin(3 * x[..., 0]), dim=2)
LAW = pk.Gaussian((0.5, 0.6), 0.3)


def turning(x):
    return np.stack([-x[..., 1], x[..., 0] ** 2], -1)


def bump(x):
    return np.cos(2 * x[..., 0] + x[..., -1])


def hump(x):
    return x[..., 0] ** 2 - x[..., -1]


EVERY = ["beta", "drift", "clock", ("potential", bump), ("force", turning), ("diffusion", bump),
         ("initial", bump)]  # fmt: skip


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("method", ["Radau", "Chebyshev"])
def test_the_adjoint_is_dual_to_the_direct_form_to_rounding(method, steps):
    """The direct form: the same rational function of [[A, 0], [A', A]], by full matrices."""
    rng, n = np.random.default_rng(1), 12
    A = rng.random((n, n))
    A, change = A - np.diag(A.sum(0)), rng.normal(size=(n, n))
    rho, phi, start, tau = rng.random(n), rng.normal(size=n), rng.normal(size=n), 0.7 / steps
    if method == "Radau":
        poles, residues = radau(6).poles, radau(6).residues
    else:
        poles, residues = exponential_poles()

    def direct(change, s):
        M = tau * np.block([[A, np.zeros((n, n))], [change, A]])
        both = np.concatenate([rho, s])
        for _ in range(steps):
            both = sum(c * np.linalg.solve(M - z * np.eye(2 * n), both)
                       for z, c in zip(poles, residues, strict=True)).real  # fmt: skip
        return phi @ both[n:]

    from scipy.sparse import csc_array

    found = gradient(csc_array(A), [csc_array(change), csc_array(0 * A)], rho, phi, 0.7, steps,
                     (poles, residues), {1: start})  # fmt: skip
    exact = [direct(change, np.zeros(n)), direct(0 * A, start)]
    np.testing.assert_allclose(found, exact, rtol=1e-10)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize("fields", [{}, {"walls": pk.Walls((True, False), (False, False)),
                                         "killing": lambda x: x[..., 0]}])  # fmt: skip
def test_it_is_the_integral_of_the_sensitivity(fields):
    equation = pk.FokkerPlanck(WELL, 3.0, force=turning, diffusion=np.diag([1.0, 0.7]), **fields)
    rho = pk.solve(equation, PLANE, LAW, [0.0, 0.05, 0.3])
    found = pk.expectation_gradient(rho, hump, EVERY)
    assert found.dims == ("time", "parameter") and found.shape == (3, len(EVERY))
    phi = hump(PLANE.centres)
    for k, one in enumerate(EVERY):
        s = pk.sensitivity(rho, *([one] if isinstance(one, str) else one))
        np.testing.assert_allclose(found[:, k], PLANE.integrate(phi * s.values), atol=3e-7)


def test_moments_of_a_gaussian_process():
    """E X and E X² of an Ornstein-Uhlenbeck process, along rate, temperature, push and start."""
    a, beta, m, w, t = 1.3, 2.0, 1.0, 0.4, 0.8
    grid = pk.Grid(-5, 6, 800)
    rho = pk.solve(pk.FokkerPlanck(pk.potentials.Quadratic(a), beta), grid, pk.Gaussian(m, w), t)
    push = ("force", lambda x: np.ones(x.shape))
    every = ["beta", "drift", "clock", push]
    mean = pk.expectation_gradient(rho, lambda x: x[..., 0], every).values[0]
    decay = math.exp(-a * t)
    exact = [0.0, -a * t * m * decay, -a * t * m * decay, (1 - decay) / a]
    np.testing.assert_allclose(mean, exact, atol=2e-4)
    square = pk.expectation_gradient(rho, lambda x: x[..., 0] ** 2, ["beta"]).values[0]
    np.testing.assert_allclose(square, -(1 - decay**2) / (a * beta), atol=2e-4)


def test_of_a_mean_field_it_is_the_sensitivity_integrated():
    grid, law = pk.Grid(-3, 3, 80), pk.Gaussian(-0.5, 0.4)
    rho = pk.solve(pk.McKeanVlasov(pk.potentials.DoubleWell(), 3.0, pk.CurieWeiss(0.5)), grid, law,
                   [0.2, 0.6])  # fmt: skip
    found = pk.expectation_gradient(rho, hump, ["interaction"])
    exact = grid.integrate(hump(grid.centres) * pk.sensitivity(rho, "interaction").values)
    np.testing.assert_allclose(found[:, 0], exact, rtol=1e-12)


def test_what_is_no_list_of_parameters_says_so():
    rho = pk.solve(pk.FokkerPlanck(pk.potentials.Quadratic(1.0), 2.0), pk.Grid(-5, 5, 60),
                   pk.Gaussian(0, 0.5), 0.1)  # fmt: skip
    with pytest.raises(TypeError, match="must be a list such as"):
        pk.expectation_gradient(rho, hump, "beta")
    with pytest.raises(TypeError, match="a name or a pair"):
        pk.expectation_gradient(rho, hump, [("beta",)])
    with pytest.raises(ValueError, match="one of beta, drift"):
        pk.expectation_gradient(rho, hump, ["mass"])


def test_rates_change_as_their_differences_say():
    """The change of a line's rates is the change of its matrix."""
    V = pk.potentials.DoubleWell()
    problem = pk.solve(
        pk.FokkerPlanck(V, 2.0), pk.Grid(-3, 3, 40), pk.Gaussian(0, 0.3), 0.1
    ).problem()
    up, down, kill = rate_changes.change(problem, "drift", None, rate_changes.line)
    dense = rate_changes.change(problem, "drift", None).toarray()
    np.testing.assert_allclose(np.diag(dense, -1), up[:-1], atol=1e-9)
    np.testing.assert_allclose(np.diag(dense, 1), down[:-1], atol=1e-9)
    assert not kill.any()
