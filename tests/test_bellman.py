"""Bellman steps: monotone, concave, dual to the densities they carry; compiled = plain."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import GRIDS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

import pdekit as pk
from pdekit.pde import bellman
from pdekit.pde.bellman import DoobSteps, FusedPassage, Passage, PlainLines
from pdekit.pde.generators import scharfetter_gummel
from pdekit.pde.fitted_hamiltonian import FittedHamiltonian, bernoulli_integral, fitted_integral
from pdekit.pde.policy import PolicySteps

BETA = 4.0


def doob(grid: pk.Grid, beta: float = BETA) -> DoobSteps:
    return DoobSteps(scharfetter_gummel(landscape(grid), beta, grid), beta)


def policy(grid: pk.Grid, beta: float = BETA) -> PolicySteps:
    return PolicySteps(landscape(grid), beta, grid)


def landscape(grid: pk.Grid) -> Any:
    return np.cos(grid.centres).sum(-1)


def smooth(grid: pk.Grid, seed: int, size: float = 1.0) -> Any:
    """A random field of a few waves per axis (periodic in the box)."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * (grid.centres - grid.lower) / np.subtract(grid.upper, grid.lower)
    a, phase = rng.normal(size=(2, 3, grid.dim))
    return size * sum((a[k] * np.cos((k + 1) * angle + phase[k])).sum(-1) for k in range(3))


KINDS = {"doob": doob, "policy": policy}
both = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
seeds = st.integers(0, 10_000)
Kind = Callable[..., Any]


@both
@every_grid
@settings(max_examples=10)
@given(seed=seeds, size=st.sampled_from([0.0, 0.1, 1.0]), dt=st.sampled_from([1e-3, 0.03]))
def test_densities_are_carried_by_the_transpose(
    kind: Kind, grid: pk.Grid, seed: int, size: float, dt: float
) -> None:
    """<Φ'(U) d, rho> = <d, Φ'(U)^T rho> to 1e-12 of what is summed, and Φ'(U) 1 = 1."""
    step, rng = kind(grid)(smooth(grid, seed, size), dt), np.random.default_rng(seed)
    d, rho = rng.normal(size=grid.shape), rng.random(grid.shape)
    pushed, carried = step.push(d), step.carry(rho)
    left, right = float((pushed * rho).sum()), float((d * carried).sum())
    assert abs(left - right) <= 1e-12 * float((np.abs(pushed) * rho).sum())
    np.testing.assert_allclose(step.push(np.ones(grid.shape)), 1, atol=1e-12)
    assert carried.sum() == pytest.approx(rho.sum(), rel=1e-12)
    assert carried.min() >= -1e-12 * rho.max()


@both
@every_grid
@settings(max_examples=5)
@given(seed=seeds, share=st.floats(0.1, 0.9))
def test_steps_are_monotone_and_concave(kind: Kind, grid: pk.Grid, seed: int, share: float) -> None:
    steps, dt = kind(grid), 0.02
    u, v = smooth(grid, seed), smooth(grid, seed + 1)
    one, two, between = (steps(f, dt).value for f in (u, v, share * u + (1 - share) * v))
    assert (between - share * one - (1 - share) * two).min() >= -1e-11
    assert (steps(np.maximum(u, v), dt).value - one).min() >= -1e-11
    np.testing.assert_allclose(steps(u + 30, dt).value, one + 30, atol=1e-10)


@both
@every_grid
def test_derivatives_are_those_of_the_step(kind: Kind, grid: pk.Grid) -> None:
    """Central differences of the step and of what it carries, errors of order 1e-9."""
    steps, dt, small = kind(grid), 0.02, 1e-5
    u, d, rho = smooth(grid, 1), smooth(grid, 2, 0.3), 0.1 + smooth(grid, 3) ** 2
    step = steps(u, dt)
    up, down = steps(u + small * d, dt), steps(u - small * d, dt)
    pushed = step.push(d)
    np.testing.assert_allclose((up.value - down.value) / (2 * small), pushed, atol=2e-8)
    inside, outside = step.bend(rho, step.carry(rho), d, pushed)
    bent = step.carry(inside) - outside
    assert np.abs(bent).max() > 1e-3
    np.testing.assert_allclose(
        (up.carry(rho) - down.carry(rho)) / (2 * small), bent, atol=1e-7 * rho.max()
    )


@pytest.mark.parametrize("where", ["line", "plane"])
def test_compiled_lines_equal_the_plain_ones(where: str, monkeypatch: Any) -> None:
    """The factored, the tilted and the plain form of a step, its push and its carry."""
    grid = GRIDS[where]
    generator = scharfetter_gummel(landscape(grid), BETA, grid)
    u, d, rho = smooth(grid, 4), smooth(grid, 5), smooth(grid, 6) ** 2

    def results(steps: DoobSteps) -> Any:
        step = steps(u, 0.03)
        return np.stack([step.value, step.push(d), step.carry(rho)])

    factored = results(DoobSteps(generator, BETA))
    plain = DoobSteps(generator, BETA)
    plain.order = [(PlainLines(generator, line.swap ^ (grid.dim == 2), BETA), share)
                   for line, share in plain.order]  # fmt: skip
    np.testing.assert_allclose(results(plain), factored, atol=1e-10)
    monkeypatch.setattr(bellman, "_RANGE", 0.0)
    np.testing.assert_allclose(results(DoobSteps(generator, BETA)), factored, atol=1e-10)


def test_the_compiled_passage_equals_the_plain_one() -> None:
    """Values, flow and the flow's derivative over uneven steps."""
    grid, times = pk.Grid(-2, 2, 50), np.array([0.0, 0.01, 0.03, 0.05, 0.1])
    steps, running = doob(grid), np.stack([smooth(grid, k, 3) for k in range(5)])
    terminal, rho = smooth(grid, 9), smooth(grid, 8) ** 2
    fast, plain = (kind(steps, times, running, terminal) for kind in (FusedPassage, Passage))
    np.testing.assert_allclose(fast.values, plain.values, atol=1e-11)
    np.testing.assert_allclose(fast.flow(rho), plain.flow(rho), atol=1e-11)
    flow = plain.flow(rho)
    more = np.stack([smooth(grid, 20 + k) for k in range(5)])
    one, two = (p.change(more, smooth(grid, 30), flow) for p in (fast, plain))
    assert np.abs(two).max() > 0.1
    np.testing.assert_allclose(one, two, atol=1e-11)


@both
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


def fitted_error(grid: pk.Grid) -> float:
    """The fitted Hamiltonian against -V'·u' - |u'|^2 / 2 + u'' / beta for waves of the box."""
    wave = 2 * np.pi / np.subtract(grid.upper, grid.lower)
    angle = wave * (grid.centres - grid.lower)
    V, u = np.sin(angle).sum(-1), np.cos(angle).sum(-1)
    slope, bend = -wave * np.sin(angle), -(wave**2) * np.cos(angle)
    limit = (-wave * np.cos(angle) * slope - slope**2 / 2 + bend / BETA).sum(-1)
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
