"""Bellman steps: monotone, concave, dual to the densities they carry; compiled = plain."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import GRIDS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import expm

import pdekit as pk
from pdekit.pde.bellman import steps as bellman
from pdekit.pde.bellman.hamiltonian import FittedHamiltonian, bernoulli_integral
from pdekit.pde.bellman.policy import ChainedStep, PolicySteps
from pdekit.pde.bellman.steps import DoobSteps, ForwardBackward, FusedForwardBackward
from pdekit.pde.discrete.generators import scharfetter_gummel
from pdekit.pde.kernels.bernoulli import integral
from pdekit.pde.kernels.uniformization import exponential_band, product
from pdekit.pde.references import PlainLines

BETA = 4.0


def doob(grid: pk.Grid, beta: float = BETA) -> DoobSteps:
    return DoobSteps(scharfetter_gummel(landscape(grid), beta, grid), beta)


def policy(grid: pk.Grid, beta: float = BETA) -> PolicySteps:
    return PolicySteps(landscape(grid), beta, grid)


def paired(grid: pk.Grid, beta: float = BETA) -> PolicySteps:
    return PolicySteps(landscape(grid), beta, grid, order=2)


def landscape(grid: pk.Grid) -> Any:
    return np.cos(grid.centres).sum(-1)


def smooth(grid: pk.Grid, seed: int, size: float = 1.0) -> Any:
    """A random field of a few waves per axis (periodic in the box)."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * (grid.centres - grid.lower) / np.subtract(grid.upper, grid.lower)
    a, phase = rng.normal(size=(2, 3, grid.dim))
    return size * sum((a[k] * np.cos((k + 1) * angle + phase[k])).sum(-1) for k in range(3))


MONOTONE = {"doob": doob, "policy": policy}
KINDS = {**MONOTONE, "paired": paired}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
seeds = st.integers(0, 10_000)
any_kind = st.sampled_from(list(KINDS)).map(KINDS.__getitem__)
any_monotone = st.sampled_from(list(MONOTONE)).map(MONOTONE.__getitem__)
any_grid = st.sampled_from(list(GRIDS)).map(GRIDS.__getitem__)
Kind = Callable[..., Any]


@settings.get_profile("often")
@given(any_kind, any_grid, seeds, st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([1e-3, 0.03]))
def test_densities_are_advanced_by_the_transpose(
    kind: Kind, grid: pk.Grid, seed: int, size: float, dt: float
) -> None:
    """<Φ'(U) d, rho> = <d, Φ'(U)^T rho> to 1e-12 of what is summed, and Φ'(U) 1 = 1.

    A step of order two may lose the sign, and `control` then takes the one of order one.
    """
    step, rng = kind(grid)(smooth(grid, seed, size), dt), np.random.default_rng(seed)
    d, rho = rng.normal(size=grid.shape), rng.random(grid.shape)
    tangent, adjoint_rho = step.derivative(d), step.adjoint(rho)
    left, right = float((tangent * rho).sum()), float((d * adjoint_rho).sum())
    assert abs(left - right) <= 1e-12 * float((np.abs(tangent) * rho).sum())
    np.testing.assert_allclose(step.derivative(np.ones(grid.shape)), 1, atol=1e-12)
    assert adjoint_rho.sum() == pytest.approx(rho.sum(), rel=1e-12)
    assert kind is paired or adjoint_rho.min() >= -1e-12 * rho.max()


@settings.get_profile("often")
@given(any_monotone, any_grid, seeds, st.floats(0.1, 0.9))
def test_steps_are_monotone_and_concave(kind: Kind, grid: pk.Grid, seed: int, share: float) -> None:
    steps, dt = kind(grid), 0.02
    u, v = smooth(grid, seed), smooth(grid, seed + 1)
    one, two, between = (steps(f, dt).value for f in (u, v, share * u + (1 - share) * v))
    assert (between - share * one - (1 - share) * two).min() >= -1e-11
    assert (steps(np.maximum(u, v), dt).value - one).min() >= -1e-11
    np.testing.assert_allclose(steps(u + 30, dt).value, one + 30, atol=1e-10)


@every_kind
@every_grid
def test_derivatives_are_those_of_the_step(kind: Kind, grid: pk.Grid) -> None:
    """Central differences of the step and of what it carries, errors of order 1e-9."""
    steps, dt, small = kind(grid), 0.02, 1e-5
    u, d, rho = smooth(grid, 1), smooth(grid, 2, 0.3), 0.1 + smooth(grid, 3) ** 2
    step = steps(u, dt)
    up, down = steps(u + small * d, dt), steps(u - small * d, dt)
    tangent = step.derivative(d)
    np.testing.assert_allclose((up.value - down.value) / (2 * small), tangent, atol=2e-8)
    inside, outside = step.adjoint_derivative(rho, step.adjoint(rho), d, tangent)
    bent = step.adjoint(inside) - outside
    assert np.abs(bent).max() > 1e-3
    np.testing.assert_allclose(
        (up.adjoint(rho) - down.adjoint(rho)) / (2 * small), bent, atol=1e-7 * rho.max()
    )


def kinked(grid: pk.Grid, seed: int) -> Any:
    """A field with kinks: where a step of second order goes astray."""
    return np.abs(smooth(grid, seed, 3.0))


@settings.get_profile("often")
@given(any_grid, seeds, st.sampled_from([1e-3, 0.03, 0.3]))
def test_filtered_steps_stay_near_the_monotone_ones(grid: pk.Grid, seed: int, dt: float) -> None:
    """Comparison and constants up to the band; a step without the filter would leave it."""
    steps, u = paired(grid), kinked(grid, seed)
    step = steps(u, dt)
    for part in parts_of(step):
        start, length = part.start
        plain = policy(grid)(start, length).value
        band = length * steps.band(start, part.first.value, length)
        assert band <= np.ptp(start) / 32 + 1e-10
        assert np.abs(part.value - plain).max() <= band * (1 + 1e-9)
        if part.within_band.mean() < 1:
            off = np.abs(part.second.value - plain).max()
            beyond = max(start.min() - part.second.value.min(), np.ptp(part.second.value))
            assert off > band or beyond > 0
    assert u.min() - 1e-10 <= step.value.min() and step.value.max() <= u.max() + 1e-10
    np.testing.assert_allclose(steps(u + 30, dt).value, step.value + 30, atol=1e-10)


def parts_of(step: Any) -> list[Any]:
    """The steps that a step was cut into."""
    if isinstance(step, ChainedStep):
        return parts_of(step.late) + parts_of(step.early)
    return [step]


@every_grid
def test_steps_too_long_for_the_data_are_cut_and_still_dual(grid: pk.Grid) -> None:
    """Cost 300 times steeper: within its range, transpose, constants, derivative of both."""
    steps, dt, small = paired(grid, 1.0), 0.2, 1e-6
    u, d, rho = 300 * smooth(grid, 1), smooth(grid, 2, 0.3), 0.1 + smooth(grid, 3) ** 2
    step, up, down = (steps(u + s * small * d, dt) for s in (0, 1, -1))
    assert len(parts_of(step)) > 2
    assert u.min() <= step.value.min() + 1e-9 and step.value.max() <= u.max() + 1e-9
    tangent, adjoint_rho = step.derivative(d), step.adjoint(rho)
    assert float((tangent * rho).sum()) == pytest.approx(float((d * adjoint_rho).sum()), rel=1e-10)
    np.testing.assert_allclose(step.derivative(np.ones(grid.shape)), 1, atol=1e-10)
    difference = (up.value - down.value) / (2 * small)
    np.testing.assert_allclose(difference, tangent, atol=1e-4)
    inside, outside = step.adjoint_derivative(rho, adjoint_rho, d, tangent)
    bent = step.adjoint(inside) - outside
    difference = (up.adjoint(rho) - down.adjoint(rho)) / (2 * small)
    np.testing.assert_allclose(difference, bent, atol=2e-3 * np.abs(bent).max())


def test_kinks_are_filtered_and_smooth_fields_are_not() -> None:
    steps, gentle = paired(GRIDS["line"]), paired(GRIDS["circle"])
    steps(kinked(GRIDS["line"], 1), 0.03)
    gentle(smooth(GRIDS["circle"], 1), 0.003)
    assert 0 < steps.filtered_share < 1
    assert gentle.filtered_share == 0


@every_grid
def test_where_cells_are_filtered_derivatives_are_those_of_the_step(grid: pk.Grid) -> None:
    """Value, transpose and density, with a mixture of both kinds of cells."""
    steps, dt, small = paired(grid), 0.01, 1e-6
    u, d, rho = kinked(grid, 1), smooth(grid, 2, 0.3), 0.1 + smooth(grid, 3) ** 2
    step, up, down = (steps(u + s * small * d, dt) for s in (0, 1, -1))
    assert 0 < step.within_band.mean() < 1
    assert (step.within_band == up.within_band).all() and (
        step.within_band == down.within_band
    ).all()
    tangent, adjoint_rho = step.derivative(d), step.adjoint(rho)
    np.testing.assert_allclose((up.value - down.value) / (2 * small), tangent, atol=1e-6)
    assert float((tangent * rho).sum()) == pytest.approx(float((d * adjoint_rho).sum()), rel=1e-11)
    inside, outside = step.adjoint_derivative(rho, adjoint_rho, d, tangent)
    bent = step.adjoint(inside) - outside
    difference = (up.adjoint(rho) - down.adjoint(rho)) / (2 * small)
    np.testing.assert_allclose(difference, bent, atol=1e-5 * np.abs(bent).max())


def test_a_narrow_density_keeps_its_sign() -> None:
    """A single full cell: below zero by the exact transpose, moved by a monotone step instead."""
    grid = pk.Grid(-2, 2, 200)
    steps, rho = paired(grid), np.zeros(200)
    rho[120] = 1.0
    step = steps(smooth(grid, 1), 0.05)
    assert step.adjoint(rho).min() < -1e-3
    moved = step.transport(rho)
    assert (
        steps.monotone_densities == 1 and moved.min() >= -1e-9 and moved.sum() == pytest.approx(1)
    )
    wide = np.exp(-((grid.axes[0]) ** 2) / 0.1)
    np.testing.assert_array_equal(step.transport(wide), step.adjoint(wide))
    assert steps.monotone_densities == 1


@every_grid
def test_compiled_lines_equal_the_plain_ones(grid: pk.Grid, monkeypatch: Any) -> None:
    """The factored, the tilted and the plain form of a step, its push and its carry."""
    generator = scharfetter_gummel(landscape(grid), BETA, grid)
    u, d, rho = smooth(grid, 4), smooth(grid, 5), smooth(grid, 6) ** 2

    def results(steps: DoobSteps) -> Any:
        step = steps(u, 0.03)
        return np.stack([step.value, step.derivative(d), step.adjoint(rho)])

    factored = results(DoobSteps(generator, BETA))
    plain = DoobSteps(generator, BETA)
    plain.factors = [(PlainLines(generator, line.swap ^ (grid.dim == 2), BETA), share)
                   for line, share in plain.factors]  # fmt: skip
    np.testing.assert_allclose(results(plain), factored, atol=1e-10)
    monkeypatch.setattr(bellman, "_RANGE", 0.0)
    np.testing.assert_allclose(results(DoobSteps(generator, BETA)), factored, atol=1e-10)


@pytest.mark.parametrize(("size", "narrow"), [(0.2, True), (3.0, False)])
def test_the_compiled_passage_equals_the_plain_one(size: float, narrow: bool) -> None:
    """Values, flow and the flow's derivative over uneven steps, by bands and by sweeps."""
    grid, times = pk.Grid(-2, 2, 50), np.array([0.0, 0.01, 0.03, 0.05, 0.1])
    steps, running = doob(grid), np.stack([smooth(grid, k, size) for k in range(5)])
    terminal, rho = smooth(grid, 9, size), smooth(grid, 8) ** 2
    fast, plain = (
        kind(steps, times, running, terminal) for kind in (FusedForwardBackward, ForwardBackward)
    )
    assert (fast.narrow == narrow).all()  # where the value is steep, by sweeps
    np.testing.assert_allclose(fast.values, plain.values, atol=1e-11)
    np.testing.assert_allclose(fast.flow(rho), plain.flow(rho), atol=1e-11)
    flow = plain.flow(rho)
    more = np.stack([smooth(grid, 20 + k) for k in range(5)])
    one, two = (p.change(more, smooth(grid, 30), flow) for p in (fast, plain))
    assert np.abs(two).max() > 0.1
    np.testing.assert_allclose(one, two, atol=1e-11)


@every_kind
def test_steep_values_do_not_underflow(kind: Kind) -> None:
    """exp(-beta u / 2) spans 10^-860 here; one short step still moves u by dt du/dt."""
    grid, beta, dt = pk.Grid(-2, 2, 4000), 1000.0, 2.5e-4
    steps, x = kind(grid, beta), grid.axes[0]
    inner, rate = np.abs(x) < 1.5, 2 * x * np.sin(x) - 2 * x**2 + 2 / beta  # V = cos x, u = x^2
    value = steps(x**2, dt).value
    np.testing.assert_allclose(value[inner], (x**2 + dt * rate)[inner], atol=4e-5)


@settings(max_examples=200)
@given(w=st.floats(-30, 30), length=st.floats(-12, 12))
def test_the_bernoulli_integral(w: float, length: float) -> None:
    assume(length == 0 or abs(length) > 1e-9)  # quad does not take intervals of nothing

    def bernoulli(s: float) -> float:
        return s / np.expm1(s) if abs(s) > 1e-12 else 1.0

    points = [-w] if min(0, length) < -w < max(0, length) else None
    exact = quad(lambda s: bernoulli(w + s), 0, length, epsabs=1e-13, epsrel=1e-12, points=points)
    assert bernoulli_integral(np.array([w]), np.array([length]))[0] == pytest.approx(
        exact[0], abs=1e-10 * (1 + abs(length) * (abs(w) + abs(length)))
    )


@settings(max_examples=200)
@given(w=st.floats(-30, 30), length=st.one_of(st.floats(-4, 4), st.floats(-1.2, 1.2)))
def test_the_compiled_integral_is_the_plain_one(w: float, length: float) -> None:
    plain = float(bernoulli_integral(np.array([w]), np.array([length]))[0])
    assert integral(w, length) == pytest.approx(plain, abs=1e-12 * (1 + abs(length * w)))


@every_grid
@pytest.mark.parametrize("beta", [0.3, 4.0, 50.0])
def test_the_compiled_hamiltonian_is_the_plain_one(grid: pk.Grid, beta: float) -> None:
    """Value and generator; at beta = 50 jumps are beyond what is compiled."""
    fitted, u = FittedHamiltonian(landscape(grid), beta, grid), smooth(grid, 5, 2.0)
    value, generator = fitted.linearised(u)
    plain = fitted.plain(u)
    np.testing.assert_allclose(value, plain, rtol=1e-11, atol=1e-11 * np.abs(plain).max())
    made = scharfetter_gummel(landscape(grid) + u, beta, grid)
    for one, two in zip((*generator.up, *generator.down), (*made.up, *made.down), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("slope", [0.0, 0.4, -0.4])
def test_bands_are_exponentials_down_to_their_tails(slope: float) -> None:
    """Product with exp(slope i), relative in every cell, against the generator tilted with it."""
    n, tau, rng = 90, 0.02, np.random.default_rng(0)
    up, down = rng.uniform(100, 300, (2, n - 1))
    band, transposed = exponential_band(up, down, tau)
    L = np.diag(up, 1) + np.diag(down, -1)
    L -= np.diag(L.sum(1))
    field = np.exp(slope * np.arange(n))
    for matrix, rates in ((band, L), (transposed, L.T)):
        exact = expm(tau * rates * field / field[:, None]).sum(1)
        out, workspace = np.empty(n), np.zeros(n + len(band) + 8)
        product(matrix, field, workspace, out)
        np.testing.assert_allclose(out / field, exact, rtol=1e-12)
    assert exponential_band(1e4 * up, down, tau) is None


def fitted_error(grid: pk.Grid) -> float:
    """The fitted Hamiltonian against -V'·u' - |u'|^2 / 2 + u'' / beta for waves of the box."""
    wave = 2 * np.pi / np.subtract(grid.upper, grid.lower)
    angle = wave * (grid.centres - grid.lower)
    V, u = np.sin(angle).sum(-1), np.cos(angle).sum(-1)
    slope, adjoint_derivative = -wave * np.sin(angle), -(wave**2) * np.cos(angle)
    limit = (-wave * np.cos(angle) * slope - slope**2 / 2 + adjoint_derivative / BETA).sum(-1)
    error = np.abs(FittedHamiltonian(V, BETA, grid)(u) - limit) / np.abs(limit).max()
    return float(error[tuple(slice(n // 8, -n // 8) for n in grid.shape)].max())


@every_grid
def test_the_fitted_hamiltonian_is_of_second_order(grid: pk.Grid) -> None:
    coarse, fine = fitted_error(grid.refined(2)), fitted_error(grid.refined(4))
    assert fine < 0.02
    assert 3.6 < coarse / fine < 4.4


def test_without_noise_it_is_the_hamiltonian_of_engquist_and_osher() -> None:
    """-(max(D^- u, 0)^2 + min(D^+ u, 0)^2) / 2 for V = 0 and beta -> infinity."""
    grid = pk.Grid(-2, 2, 40)
    u, h = smooth(grid, 3), grid.spacing[0]
    d = np.diff(u) / h
    minus, plus = np.append(0, d), np.append(d, 0)
    limit = -(np.maximum(minus, 0) ** 2 + np.minimum(plus, 0) ** 2) / 2
    made = FittedHamiltonian(np.zeros(grid.shape), 1e7, grid)(u)
    np.testing.assert_allclose(made, limit, atol=1e-4)
