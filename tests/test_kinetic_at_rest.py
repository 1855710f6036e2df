"""Kinetic equations at rest: stationary densities, decay rates, passages and walls that absorb."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import simpson
from scipy.sparse import diags_array, eye_array, kron
from scipy.sparse.linalg import eigs

import pdekit as pk
from pdekit.pde.discrete import thirds
from pdekit.pde.discrete.problem import Problem
from pdekit.potentials import DoubleWell, Quadratic


def quiet(test):
    """Without the warnings of coarse cells, which are meant."""
    for kind in ("ResolutionWarning", "TruncationWarning"):
        test = pytest.mark.filterwarnings(f"ignore::pdekit.{kind}")(test)
    return test


PLANE = ((-6.0, -6.0), (6.0, 6.0))


def covariance(rho, grid):
    x, weights = grid.centres, rho * grid.cell_volume
    return np.einsum("ij,ijk,ijl->kl", weights, x, x)


@quiet
def test_a_harmonic_well_at_rest_is_of_second_order():
    """Upwind it is off by .8 h; extrapolated by .45 h², where the wells are of width one."""
    equation, off = pk.UnderdampedLangevin(Quadratic(1.0), 1.0).law(), []
    for cells in (32, 64):
        grid = pk.Grid(*PLANE, cells)
        rho = pk.stationary(equation, grid).values
        assert rho.min() >= 0 and grid.integrate(rho) == pytest.approx(1, abs=1e-13)
        off.append(np.abs(covariance(rho, grid) - np.eye(2)).max())
    assert 3.4 < off[0] / off[1] < 4.6 and off[1] < 0.5 * (12 / 64) ** 2


def harmonic_rates(friction):
    """λ = (γ ± sqrt(γ² - 4)) / 2 and their sums, slowest first (Risken, section 10.2)."""
    root = np.emath.sqrt(friction**2 - 4)
    one, other = (friction - root) / 2, (friction + root) / 2
    sums = [j * one + k * other for j in range(9) for k in range(9) if j + k]
    return np.array(sorted(sums, key=lambda z: (round(z.real, 9), -z.imag)))


@quiet
@pytest.mark.parametrize("friction", [0.5, 1.0, 3.0])
def test_rates_of_a_harmonic_well(friction):
    equation, off = pk.UnderdampedLangevin(Quadratic(1.0), 1.0, friction).law(), []
    for cells in (32, 64):
        made = pk.slow_modes(equation, pk.Grid(*PLANE, cells), 2)
        exact = harmonic_rates(friction)[:2]
        assert made.gap == made.rates[0].real
        off.append(np.abs(made.rates - exact).max() / np.abs(exact).max())
    assert off[0] > 2.5 * off[1] and off[1] < 0.2 * (12 / 64) ** 2


@quiet
def test_the_slowest_mode_of_a_harmonic_well_is_a_line():
    """L (q + a p) = -λ (q + a p) with a = λ for V = q²/2, norm one."""
    rate, off = harmonic_rates(3.0)[0], []
    for cells in (32, 64):
        grid = pk.Grid(*PLANE, cells)
        made = pk.slow_modes(pk.UnderdampedLangevin(Quadratic(1.0), 1.0, 3.0).law(), grid)
        line = grid.centres @ np.array([1.0, rate]) / np.hypot(1.0, rate)
        weights = np.exp(-(grid.centres**2).sum(-1) / 2) / (2 * np.pi)
        mode = made.functions[0] * np.sign((made.functions[0] * line).sum())
        off.append(grid.integrate(np.abs(mode - line) * weights))
    assert off[0] > 3 * off[1] and off[1] < 0.007


def gap_by_waves(V, beta, friction, half, waves=80, hermites=24):
    """The slowest rate by Fourier waves in q and Hermite functions in p: another discretisation.

    In the frame of sqrt(rho) L is sqrt(T) (a† D + a E) - γ a† a, D, E = ∂ ± beta V' / 2.
    """
    h = 2 * half / waves
    q = -half + h * np.arange(waves)
    apart = np.subtract.outer(np.arange(waves), np.arange(waves))
    with np.errstate(divide="ignore"):
        slope = np.pi / (2 * half) * (-1.0) ** apart / np.tan(np.pi * apart / waves)
    np.fill_diagonal(slope, 0.0)
    push = np.diag(beta * V.grad(q[:, None])[:, 0] / 2)
    lower = diags_array(np.sqrt(np.arange(1.0, hermites)), offsets=1)
    number = diags_array(np.arange(float(hermites)))
    made = (kron(lower.T, slope + push) + kron(lower, slope - push)) / np.sqrt(
        beta
    ) - friction * kron(number, eye_array(waves))
    rates = -eigs(made.tocsc(), 4, sigma=0.01, v0=np.ones(waves * hermites))[0]
    return np.sort(rates[np.abs(rates) > 1e-8].real)[0]


@quiet
def test_the_escape_over_a_barrier_has_the_rate_of_another_discretisation():
    """The double well, whose slowest mode is Kramers' crossing, by waves and Hermite functions."""
    V, beta, friction = DoubleWell(), 6.0, 0.8
    exact = gap_by_waves(V, beta, friction, 3.0)
    assert exact == pytest.approx(gap_by_waves(V, beta, friction, 2.7, 72, 20), rel=1e-4)
    equation = pk.UnderdampedLangevin(V, beta, friction).law()
    off = [
        abs(pk.spectral_gap(equation, pk.Grid((-2.0, -2.4), (2.0, 2.4), n)) / exact - 1)
        for n in (40, 80)
    ]
    assert off[0] > 3 * off[1] and off[1] < 0.02


WALL = pk.Walls(upper=(True, False))
BESIDE = replace(pk.UnderdampedLangevin(Quadratic(1.0), 2.0).law(), walls=WALL)
CLOUD = pk.Gaussian((-0.3, 0.0), (0.15, 0.4))


def survivors(times, n=40_000, dt=0.005):
    """The shares of particles that have not met q = .7, by BAOAB in numpy."""
    rng = np.random.default_rng(3)
    q, p = (rng.normal(m, s, n) for m, s in zip(CLOUD.mean, CLOUD.std, strict=True))
    kept, kick, out = np.exp(-dt), np.sqrt(-np.expm1(-2 * dt) / 2), []
    for k in range(round(times[-1] / dt)):
        p -= dt / 2 * q
        q += dt / 2 * p
        p = kept * p + kick * rng.standard_normal(p.size)
        q += dt / 2 * p
        p -= dt / 2 * q
        stay = q < 0.7
        q, p = q[stay], p[stay]
        if np.isclose((k + 1) * dt, times).any():
            out.append(p.size / n)
    return np.array(out)


@quiet
def test_what_arrives_at_a_wall_is_gone_and_nothing_comes_from_there():
    times, grid = [1.0, 2.0, 4.0], pk.Grid((-2.8, -3.6), (0.7, 3.6), 64)
    rho = pk.solve(BESIDE, grid, CLOUD, times)
    assert rho.scheme == pk.schemes.SemiLagrangian() and rho.fields.min() >= 0
    errors = np.sqrt(0.25 / 40_000)
    np.testing.assert_allclose(rho.stats["survival"], survivors(times), atol=0.002 + 3 * errors)
    finer = pk.solve(BESIDE, pk.Grid(grid.lower, grid.upper, 96), CLOUD, times)
    np.testing.assert_allclose(rho.stats["survival"], finer.stats["survival"], atol=1e-3)
    exits = rho.exits
    np.testing.assert_allclose(exits.left[:, 0], 1 - np.array(rho.stats["survival"]), atol=2e-4)
    assert float(rho.u[-1].sel(y=slice(-3.6, -1)).isel(x=-1).max()) < 1e-4  # p < 0 at the wall


@quiet
def test_two_walls_tell_what_left_through_which():
    """By symmetry through both alike from the middle; the flux is what left per time."""
    walls = pk.Walls((True, False), (True, False))
    grid = pk.Grid((-0.7, -3.6), (0.7, 3.6), 64)
    times = [0.0, 0.9, 1.0, 1.1, 2.0]
    rho = pk.solve(replace(BESIDE, walls=walls), grid, pk.Gaussian((0, 0), (0.15, 0.4)), times)
    exits = rho.exits
    np.testing.assert_allclose(exits.left[:, 0], exits.left[:, 1], atol=1e-6)
    np.testing.assert_allclose(
        exits.left.sum("wall"), 1 - np.array(rho.stats["survival"]), atol=2e-4
    )
    slope = float(exits.left[3].sum() - exits.left[1].sum()) / 0.2
    assert float(exits.flux[2].sum()) == pytest.approx(slope, rel=0.03)


@quiet
def test_mean_passage_times_are_what_survives_over_all_times():
    """∫ S dt by the transport of densities, against the generator's times, at two distances."""
    times = np.linspace(0, 20, 21)
    grid = pk.Grid((-2.8, -3.6), (0.7, 3.6), 48)
    rho = pk.solve(BESIDE, grid, CLOUD, times)
    survival = np.array(rho.stats["survival"])
    rate = -np.log(survival[-1] / survival[-11]) / 10
    mean = simpson(survival, x=times) + survival[-1] / rate
    wide = pk.Grid((-2.8, -3.6), (1.4, 3.6), (60, 48))
    target = ((0.7, -np.inf), (np.inf, np.inf))
    tau = pk.mean_first_passage_time(replace(BESIDE, walls=None), wide, target).values
    assert wide.integrate(tau * CLOUD.density(wide)) == pytest.approx(mean, rel=0.01)
    decay = pk.slow_modes(BESIDE, grid)
    assert decay.gap == pytest.approx(rate, rel=0.01)
    left = rho.fields[-1] / grid.integrate(rho.fields[-1])
    assert grid.integrate(np.abs(decay.quasi_stationary.values - left)) < 0.02


@quiet
def test_passage_times_are_of_second_order_wherever_the_edge_lies():
    """The edge in the middle of cells, at a face and elsewhere; first order was off by 5 %."""
    equation = pk.UnderdampedLangevin(DoubleWell(), 3.0).law()

    def time(cells, edge):
        grid = pk.Grid((-2.2, -3.5), (1.1, 3.5), (3 * cells // 2, cells))
        target = ((edge, -np.inf), (np.inf, np.inf))
        tau = pk.mean_first_passage_time(equation, grid, target)
        return float(tau.interp(x=-1.0, y=0.0))

    for edge in (0.0, 0.02):
        few, more, most = (time(cells, edge) for cells in (24, 48, 96))
        assert abs(most / more - 1) < 0.008 and abs(more - few) > 2.5 * abs(most - more)


def test_what_is_known_on_the_cells_alone_is_not_extrapolated():
    grid = pk.Grid((-3, -4), (3, 4), (12, 14))
    values = grid.centres[..., 1] ** 2 / 2
    force = lambda x: np.stack([x[..., 1], -x[..., 0]], -1)  # noqa: E731

    def on_cells(x):
        return values if x.shape[:-1] == grid.shape else np.zeros(3)

    def problem(V):
        equation = pk.FokkerPlanck(V, 1.0, force, diffusion=((0.0, 0.0), (0.0, 1.0)))
        return Problem(equation, grid, None)

    assert thirds.still_axes(problem(on_cells)) == (0,)
    assert thirds.on_thirds(problem(on_cells)) is None
    finer = thirds.on_thirds(problem(lambda x: x[..., 1] ** 2 / 2)).grid
    assert finer.cells == (36, 14)
    np.testing.assert_allclose(thirds.at_centres(finer.centres[..., 0], grid), grid.centres[..., 0])


def test_partly_absorbing_walls_are_for_linear_schemes():
    equation = replace(BESIDE, walls=pk.Walls(upper=(pk.PartlyAbsorbing(1.0), False)))
    with pytest.raises(ValueError, match="absorb whatever arrives"):
        pk.solve(equation, pk.Grid((-3, -4), (0.7, 4), 24), CLOUD, 0.1, pk.schemes.SemiLagrangian())
