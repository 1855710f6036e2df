"""Integrators have the orders they declare, measured without sampling noise.

Ornstein-Uhlenbeck: a step is linear in x and in the normals, so its coefficients, read off the step
itself, propagate mean and variance exactly. Double well: the step on Gauss-Hermite nodes is the
Markov operator of the scheme on polynomials through Chebyshev points.
"""

from math import exp, sqrt

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.interpolate import BarycentricInterpolator

from pdekit.particles.integrators import (
    OUTPUT,
    EulerMaruyama,
    LeimkuhlerMatthews,
    Step,
    StochasticHeun,
    TamedEuler,
)
from pdekit.potentials import DoubleWell

LINEAR = [EulerMaruyama(), LeimkuhlerMatthews(), StochasticHeun()]  # for linear drifts
ALL = [*LINEAR, TamedEuler()]
A, BETA, X0, V0, T = 1.3, 2.0, 0.8, 0.3, 1.0
SIGMA = sqrt(2 / BETA)


class Given:
    """Normals chosen by the test: ``values[step]``, zero elsewhere.

    ``seen``: the normal, of a step to come, that the positions have in them.
    """

    def __init__(self, values, seen=None):
        self.values, self.seen = values, seen

    def at(self, step, channel=0):
        if self.seen is not None:  # half of it is shared with the step, half is not
            return self.seen * (sqrt(0.75) if channel == OUTPUT else 0.5)
        return self.values.get(step, torch.tensor(0.0, dtype=torch.float64))


def linear(x, t):
    return -A * x


def coefficients(integrator, h, index):
    """y' = r y + c ξ_n of one step and x = y + e ξ_{n+1} of the positions, for the linear drift."""
    step = Step(index, 0.0, h, h)

    def go(y, now, after):
        xi = {index: torch.tensor([now]).double()}
        y = integrator.step(linear, torch.tensor([y]).double(), SIGMA, step, Given(xi))
        seen = Given({}, torch.tensor([after]).double())
        return float(integrator.positions(y, SIGMA, step, seen))

    return go(1.0, 0.0, 0.0), go(0.0, 1.0, 0.0), go(0.0, 0.0, 1.0)


def ou_moments(integrator, h, steps):
    mean, variance, e = X0, V0, 0.0
    for n in range(steps):
        r, c, e = coefficients(integrator, h, n)
        mean, variance = r * mean, r * r * variance + c * c
    return np.array([mean, variance + e * e])


def exact_moments(t):
    limit = 1 / (A * BETA)
    return np.array([X0 * exp(-A * t), limit + (V0 - limit) * exp(-2 * A * t)])


def slope_of(errors, steps):
    return np.polyfit(np.log(steps), np.log(np.abs(errors)), 1)[0]


# |error of the mean| / h**order at T, from expanding r**n
CONSTANTS = {
    "EulerMaruyama": A**2 * T / 2 * X0 * exp(-A * T),
    "LeimkuhlerMatthews": A**2 * T / 2 * X0 * exp(-A * T),
    "StochasticHeun": A**3 * T / 6 * X0 * exp(-A * T),
}


@pytest.mark.parametrize("integrator", LINEAR, ids=lambda i: type(i).__name__)
def test_weak_order_at_finite_time(integrator):
    """Mean and variance of the OU process at T: declared order within 0.15, and the constant."""
    counts = [16, 32, 64, 128, 256]
    steps = [T / k for k in counts]
    errors = np.array([ou_moments(integrator, T / k, k) - exact_moments(T) for k in counts])
    for component in range(2):
        assert slope_of(errors[2:, component], steps[2:]) == pytest.approx(
            integrator.weak_order, abs=0.15
        )
    constant = CONSTANTS[type(integrator).__name__]
    assert abs(errors[-1, 0]) / steps[-1] ** integrator.weak_order == pytest.approx(
        constant, rel=0.03
    )


def test_pure_diffusion_is_exact_from_the_first_step():
    for integrator in ALL:
        for n in (1, 5):
            total, e = 0.0, 0.0
            for k in range(n):
                noise = {k: torch.ones(1).double()}
                step = Step(k, 0.0, 0.1, 0.1)
                y = integrator.step(
                    lambda x, t: 0 * x, torch.zeros(1).double(), 1.0, step, Given(noise)
                )
                after = Given({}, torch.ones(1).double())
                e = float(integrator.positions(0 * y, 1.0, step, after))
                total += float(y) ** 2
            assert total + e * e == pytest.approx(0.1 * n, rel=1e-12)


@pytest.mark.parametrize(
    ("integrator", "relative_error"),
    [
        (EulerMaruyama(), lambda z: 1 / (1 - z / 2) - 1),
        (LeimkuhlerMatthews(), lambda z: 0.0),
        (StochasticHeun(), lambda z: (1 - z / 2) ** 2 / (1 - z + z**2 / 2 - z**3 / 8) - 1),
    ],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("h", [0.05, 0.3])
def test_stationary_variance_of_a_quadratic(integrator, relative_error, h):
    r, c, e = coefficients(integrator, h, 7)
    variance = c * c / (1 - r * r) + e * e
    assert variance * A * BETA - 1 == pytest.approx(relative_error(A * h), abs=1e-12)


def test_plain_formula_of_leimkuhler_and_matthews():
    """The points of the slopes are X⁺ = X + h b(X) + σ √h (ξ_n + ξ_{n+1}) / 2 after step one."""
    h, xi = 0.1, {n: torch.tensor([0.3 * (-1) ** n + 0.1 * n]).double() for n in range(6)}
    lm, y, positions = LeimkuhlerMatthews(), torch.tensor([0.7]).double(), []

    def cubic(x, t):
        return x - x**3

    for n in range(5):
        step = Step(n, n * h, (n + 1) * h, h)
        y = lm.step(cubic, y, SIGMA, step, Given(xi))
        positions.append(float(lm.points(y, SIGMA, step, Given(xi))))
    for n in range(1, 5):
        x = positions[n - 1]
        noise = SIGMA * sqrt(h) * float(xi[n] + xi[n + 1]) / 2
        assert positions[n] == pytest.approx(x + h * cubic(x, 0) + noise, abs=1e-14)


WELL, WELL_BETA, BOX = DoubleWell(), 4.0, 2.6
NODES = torch.tensor(BOX * np.cos(np.pi * np.arange(121) / 120), dtype=torch.float64)
XI, WEIGHTS = np.polynomial.hermite_e.hermegauss(48)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def markov_operator(integrator, h):
    """Rows: expectation of f(y') from node y, for f given at the nodes; and E x² at the nodes."""
    sigma, step = sqrt(2 / WELL_BETA), Step(7, 0.0, h, h)
    y = NODES[:, None, None].repeat(1, len(XI), 1)
    xi = torch.tensor(XI)[:, None].expand_as(y)
    after = integrator.step(lambda x, t: -WELL.grad(x), y.clone(), sigma, step, Given({7: xi}))
    basis = BarycentricInterpolator(NODES.numpy(), np.eye(len(NODES)))
    rows = basis(after.clamp(-BOX, BOX).numpy().ravel()).reshape(*y.shape[:2], -1)
    seen = integrator.positions(y.clone(), sigma, step, Given({}, xi))[..., 0].numpy()
    return np.einsum("k,ikj->ij", WEIGHTS, rows), (seen**2) @ WEIGHTS


def test_weak_order_of_tamed_steps():
    """E X² of the double well at T from 0.5, against Heun's, of order 2: that of Euler's steps is 1
    too, with a third of the error."""
    at, counts = int(np.argmin(np.abs(NODES.numpy() - 0.5))), [16, 32, 64, 128]

    def moment(integrator, count):
        u = NODES.numpy() ** 2
        operator = markov_operator(integrator, T / count)[0]
        for _ in range(count):
            u = operator @ u
        return u[at]

    coarse, fine = (moment(StochasticHeun(), k) for k in (256, 512))
    exact = fine + (fine - coarse) / 3
    errors = [moment(TamedEuler(), k) - exact for k in counts]
    assert slope_of(errors[1:], [T / k for k in counts[1:]]) == pytest.approx(1, abs=0.15)
    assert errors[-1] / (moment(EulerMaruyama(), 128) - exact) == pytest.approx(3.3, abs=0.2)


@pytest.mark.parametrize(("noise", "order"), [(SIGMA, 1), (0.0, 1)])
def test_strong_order_of_tamed_steps(noise, order):
    """E |X_T - Y_T| on the same Brownian paths, as the noise is additive: 1, not 1/2."""
    fine, counts, paths = 4096, [32, 64, 128, 256], 400
    normals = torch.tensor(np.random.default_rng(3).normal(size=(fine, paths, 1)))

    def end(integrator, count):
        y, h = torch.full((paths, 1), 1.5).double(), T / count
        grouped = normals.reshape(count, -1, paths, 1).sum(1) * sqrt(count / fine)
        for n in range(count):
            step, given = Step(n, n * h, (n + 1) * h, h), Given({n: grouped[n]})
            y = integrator.step(lambda x, t: -WELL.grad(x), y, noise, step, given)
        return y

    true = end(StochasticHeun(), fine)
    errors = [float((end(TamedEuler(), k) - true).abs().mean()) for k in counts]
    assert slope_of(errors, [T / k for k in counts]) == pytest.approx(order, abs=0.15)


def test_tamed_steps_are_shorter_than_one_and_leave_no_particle_behind():
    """A drift of 1e200 in every coordinate, whose square is no number."""
    y = torch.full((1, 3, 50), 2.0).double()
    after = TamedEuler().step(
        lambda x, t: -1e200 * x, y.clone(), 0.0, Step(0, 0.0, 0.1, 0.1), Given({})
    )
    assert (y - after).norm(dim=-1).numpy() == pytest.approx(1.0, rel=1e-12)


def stationary_second_moment(integrator, h):
    operator, square = markov_operator(integrator, h)
    # the left null vector of operator - 1, normalised on constants
    system = np.vstack([operator.T - np.eye(len(square)), np.ones(len(square))])
    law = np.linalg.lstsq(system, np.eye(len(system))[-1], rcond=None)[0]
    return float(law @ square)


def gibbs_second_moment():
    def weight(x):
        return exp(-WELL_BETA * (x * x - 1) ** 2 / 4)

    return (
        quad(lambda x: x * x * weight(x), -4, 4, epsabs=1e-13)[0]
        / quad(weight, -4, 4, epsabs=1e-13)[0]
    )


# error of <x²> / h**order as h -> 0, measured once; the Euler one is -9.5e-3 at h = 0.05
STATIONARY = {"EulerMaruyama": -0.168, "LeimkuhlerMatthews": -0.0133, "StochasticHeun": -0.43}


@pytest.mark.parametrize("integrator", LINEAR, ids=lambda i: type(i).__name__)
def test_order_of_the_stationary_law_of_the_double_well(integrator):
    steps = [0.02, 0.01, 0.005] if integrator.invariant_order == 1 else [0.04, 0.02, 0.01]
    exact = gibbs_second_moment()
    errors = [stationary_second_moment(integrator, h) - exact for h in steps]
    constant = errors[-1] / steps[-1] ** integrator.invariant_order
    assert constant == pytest.approx(STATIONARY[type(integrator).__name__], rel=0.05)
    assert slope_of(errors, steps) == pytest.approx(integrator.invariant_order, abs=0.15)


def test_tamed_steps_have_the_law_of_a_flatter_potential():
    """To order h Euler's, under V - h ∫ |V'| dV: <x²> moves by h β Cov(x², ∫ |V'| dV)."""

    def square(x):
        return x**7 / 7 - 2 * x**5 / 5 + x**3 / 3  # ∫ V'²

    def mean(f):
        return quad(lambda x: f(x) * exp(-WELL_BETA * (x * x - 1) ** 2 / 4), 0, 4, epsabs=1e-13)[0]

    def taming(x):
        return square(x) - 2 * square(1.0) if x > 1 else -square(x)

    both, one = mean(lambda x: x * x * taming(x)), mean(lambda x: 1.0)
    covariance = both / one - mean(lambda x: x * x) * mean(taming) / one**2
    moved = [
        (stationary_second_moment(TamedEuler(), h) - stationary_second_moment(EulerMaruyama(), h))
        / h
        for h in (0.01, 0.005)
    ]
    assert 2 * moved[1] - moved[0] == pytest.approx(WELL_BETA * covariance, rel=5e-3)


def test_tamed_steps_in_a_parabola_are_too_broad_as_the_docstring_says():
    """By quadrature of the step: the second moment 1 + a h/2 + 2 h √(2 a/(π β)) to order h."""
    a, beta, errors = 2.0, 8.0, []
    grid = np.linspace(-2.2, 2.2, 1201)
    for h in (0.02, 0.01):
        b = -a * grid
        kernel = np.exp(
            -((grid - (grid + h * b / (1 + h * abs(b)))[:, None]) ** 2) / (4 * h / beta)
        )
        rows = kernel / kernel.sum(1, keepdims=True)
        law = np.linalg.matrix_power(rows, 4096)[600]
        errors.append((law @ grid**2 * a * beta - 1) / h)
    assert 2 * errors[1] - errors[0] == pytest.approx(
        a / 2 + 2 * sqrt(2 * a / (np.pi * beta)), rel=0.02
    )
