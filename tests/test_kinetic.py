"""Kinetic equations: momenta of particles, their law in (q, p), and the scheme that moves it."""

import warnings
from dataclasses import replace
from math import pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import named
from scipy.integrate import solve_ivp
from scipy.linalg import expm, solve_continuous_lyapunov

import pdekit as pk
from pdekit.laws import Mixture, Product
from pdekit.particles import ensemble
from pdekit.pde.discrete.characteristics import Ways
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.strang import Stepper
from pdekit.pde.kernels.remap_lines import feet, remap
from pdekit.pde.references import foot_plain, remap_plain
from pdekit.potentials import Cosine, DoubleWell, Linear, Quadratic

quiet = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
FLOW, NOISE = np.array([[0.0, 1.0], [-1.0, -1.0]]), np.diag([0.0, 2.0])  # dz = FLOW z dt + ...
HARMONIC = pk.UnderdampedLangevin(Quadratic(1.0), 1.0)
WELL = pk.UnderdampedLangevin(DoubleWell(), 3.0, 0.7, mass=1.3)
PLANE = pk.Grid((-2.6, -4.2), (2.6, 4.2), 64)


def moments(rho, grid):
    weights, x = rho * grid.cell_volume, grid.centres
    mean = np.einsum("ij,ijk->k", weights, x)
    return mean, np.einsum("ij,ijk,ijl->kl", weights, x - mean, x - mean)


def ornstein_uhlenbeck(t, mean, covariance):
    """Of dz = FLOW z dt + noise, exactly."""
    P, rest = expm(FLOW * t), solve_continuous_lyapunov(FLOW, -NOISE)
    return P @ mean, P @ (covariance - rest) @ P.T + rest


def off(cells, times=(0.7, 2.0)):
    grid, start = pk.Grid((-6, -6), (6, 6), cells), pk.Gaussian((1.0, -0.5), (0.5, 0.7))
    rho = pk.solve(HARMONIC.law(), grid, start, times)
    worst = 0.0
    for t, field in zip(times, rho.fields, strict=True):
        pairs = zip(
            moments(field, grid), ornstein_uhlenbeck(t, start.mean, np.diag(start.std) ** 2),
            strict=True,
        )  # fmt: skip
        worst = max(worst, *(float(np.abs(a - b).max()) for a, b in pairs))
    return worst, rho


def test_moments_of_the_harmonic_case_are_of_second_order():
    """Off by .076 h², where the wells are of width one: by .00067 on 128² of [-6, 6]²."""
    (coarse, _), (fine, rho) = off(48), off(96)
    assert 3.6 < coarse / fine < 4.4
    h = 12 / 96
    assert 0.05 * h**2 < fine < 0.1 * h**2  # on 128² below .0009
    assert rho.scheme == pk.schemes.SemiLagrangian()
    assert rho.fields.min() >= 0 and rho.stats["mass_drift"] < 1e-13


def gibbs(dynamics, V, grid):
    q, p = grid.centres[..., :1], grid.centres[..., 1]
    rho = np.exp(-dynamics.beta * (V(q) + p**2 / (2 * dynamics.mass)))
    return rho / grid.integrate(rho)


@quiet
def test_the_gibbs_density_stays():
    def change(cells):
        grid = pk.Grid(PLANE.lower, PLANE.upper, cells)
        rest = gibbs(WELL, DoubleWell(), grid)
        return grid.integrate(np.abs(pk.solve(WELL.law(), grid, rest, 3.0).fields[0] - rest))

    coarse, fine = change(32), change(64)
    assert fine < 3e-4 and coarse > 3.5 * fine


def test_on_a_ring_it_comes_back_at_rest():
    """cos q on the circle, from one side of it: the Gibbs density, second order."""
    V = Cosine()
    dynamics = pk.UnderdampedLangevin(V, 1.0, 1.0)
    grid = pk.Grid((0, -6), (2 * pi, 6), (24, 48), periodic=(True, False))
    scheme = pk.schemes.SemiLagrangian(1e-3)
    rho = pk.solve(dynamics.law(), grid, dynamics.start(pk.Gaussian(1.0, 0.7)), [1.0, 20.0], scheme)
    rest = gibbs(dynamics, V, grid)
    assert grid.integrate(np.abs(rho.fields[0] - rest)) > 0.1
    assert grid.integrate(np.abs(rho.fields[1] - rest)) < 3e-3
    assert rho.stats["mass_drift"] < 1e-13 and rho.fields.min() >= 0


@quiet
def test_edges_keep_sign_and_mass_and_are_reported():
    """A box of density, of no order at all: never negative, and the cells are said to be few."""
    start = Product(pk.Uniform(-1.0, 1.0), pk.Uniform(-1.0, 1.0))
    grid = pk.Grid((-3, -3), (3, 3), 40)
    still = pk.UnderdampedLangevin(Quadratic(1.0), 1.0, friction=0.0)
    with pytest.warns(pk.ResolutionWarning, match="cells are too coarse for the density at t = 1"):
        rho = pk.solve(still.law(), grid, start, [1.0, 2 * pi])
    assert rho.fields.min() >= 0 and rho.stats["mass_drift"] < 1e-13
    apart = grid.integrate(np.abs(rho.fields[1] - start.density(grid)))
    assert apart < rho.stats["on_other_cells"] + rho.stats["error_estimate"] < 0.5


@pytest.mark.parametrize("moves", ["free flight", "noise alone"])
def test_a_single_motion_is_not_split(moves):
    """q + t p for p that stays, and p that spreads for q that stays."""
    grid, start, t = pk.Grid((-8, -8), (8, 8), 80), pk.Gaussian((0.5, 0.0), (0.7, 0.8)), 0.6
    if moves == "free flight":
        equation = pk.UnderdampedLangevin(Quadratic(0.0), 1.0, friction=0.0).law()
        expected = [[0.49 + t**2 * 0.64, t * 0.64], [t * 0.64, 0.64]]
    else:
        equation = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 1.0, diffusion=((0.0, 0.0), (0.0, 1.0)))
        expected = [[0.49, 0.0], [0.0, 0.64 + 2 * t]]
    rho = pk.solve(equation, grid, start, t)
    assert rho.scheme == pk.schemes.SemiLagrangian()
    mean, covariance = moments(rho.fields[0], grid)
    np.testing.assert_allclose(mean, [0.5, 0.0], atol=1e-4)
    np.testing.assert_allclose(covariance, expected, atol=2e-3)


def test_coloured_noise_has_its_variance():
    """dx = (y - x) dt, dy = -2 y dt + 2 dB: E x² = 1/3 in the end."""
    process = pk.ItoProcess(
        lambda x: np.stack([x[..., 1] - x[..., 0], -2 * x[..., 1]], -1), ((0.0,), (2.0,)), dim=2
    )
    grid = pk.Grid((-4, -6), (4, 6), 64)
    rho = pk.solve(process.law(), grid, pk.Gaussian((0.0, 0.0), 0.5), 6.0)
    _, covariance = moments(rho.fields[0], grid)
    assert covariance[0, 0] == pytest.approx(1 / 3, abs=3e-3)
    assert covariance[1, 1] == pytest.approx(1.0, abs=4e-3)
    assert rho.scheme == pk.schemes.SemiLagrangian()


def test_a_moving_well_carries_its_mean_along():
    V = pk.InTime(lambda x, t: (x[..., 0] - np.sin(2 * t)) ** 2 / 2)
    dynamics, grid = pk.UnderdampedLangevin(V, 2.0, 0.5), pk.Grid((-5, -5), (5, 5), 32)
    rho = pk.solve(dynamics.law(), grid, pk.Gaussian((0.0, 0.0), 0.7), 1.2)
    path = solve_ivp(
        lambda t, z: [z[1], np.sin(2 * t) - z[0] - 0.5 * z[1]], (0, 1.2), [0, 0], rtol=1e-9
    )
    np.testing.assert_allclose(moments(rho.fields[0], grid)[0], path.y[:, -1], atol=6e-3)


@quiet
def test_strong_friction_gives_the_overdamped_density():
    """At the time t c its marginal is that of Langevin at t, to O(1/c²)."""
    V, start, line = DoubleWell(), pk.Gaussian(-0.8, 0.3), pk.Grid(-2.2, 2.2, 48)
    slow = pk.solve(pk.FokkerPlanck(V, 3.0), line, start, 0.5).fields[0]

    def apart(c):
        dynamics = pk.UnderdampedLangevin(V, 3.0, c)
        plane = pk.Grid((-2.2, -3.2), (2.2, 3.2), (48, 32))
        rho = pk.solve(dynamics.law(), plane, dynamics.start(start), 0.5 * c)
        return line.integrate(np.abs(rho.fields[0].sum(1) * plane.spacing[1] - slow))

    few, many = apart(4.0), apart(8.0)
    assert many < 0.35 * few < 0.35 * 0.05


@quiet
def test_without_friction_it_is_hamiltons_motion():
    """In a quadratic well all turns round once; energy keeps its law, to second order and more."""
    still = pk.UnderdampedLangevin(Quadratic(1.0), 1.0, friction=0.0)
    start = pk.Gaussian((1.0, 0.0), (0.5, 0.4))

    def change(cells):
        grid = pk.Grid((-4, -4), (4, 4), cells)
        energy = (grid.centres**2).sum(-1) / 2
        rho = pk.solve(still.law(), grid, start, [0.0, 1.0, 2 * pi])
        assert rho.equation.beta == np.inf and rho.scheme == pk.schemes.SemiLagrangian()
        back = grid.integrate(np.abs(rho.fields[2] - rho.fields[0]))
        powers = [grid.integrate(rho.fields * energy**k) for k in (1, 2)]
        return np.array([back, *(np.ptp(m) / m[0] for m in powers)])

    coarse, fine = change(32), change(64)
    assert (fine < [0.01, 6e-4, 2e-3]).all() and (coarse > 4 * fine).all()


def test_a_well_of_any_friction_keeps_the_order_of_its_moments_in_weak_friction():
    """The mean energy falls towards 1/β at the rate that the moment equations have."""
    weak = pk.UnderdampedLangevin(Quadratic(1.0), 1.0, friction=0.05)
    grid, start = pk.Grid((-6, -6), (6, 6), 64), pk.Gaussian((1.5, 0.0), 0.5)
    rho = pk.solve(weak.law(), grid, start, 3.0)
    A, Q = np.array([[0.0, 1.0], [-1.0, -0.05]]), np.diag([0.0, 0.1])
    P, rest = expm(3 * A), solve_continuous_lyapunov(A, -Q)
    mean, covariance = P @ start.mean, P @ (0.25 * np.eye(2) - rest) @ P.T + rest
    energy = float(grid.integrate(rho.fields[0] * (grid.centres**2).sum(-1) / 2))
    assert energy == pytest.approx((mean @ mean + np.trace(covariance)) / 2, abs=2e-3)


@quiet
def test_particles_follow_the_density_in_phase_space():
    """From the same law, at several times; and are told from those of another friction."""
    start = pk.Gaussian(-0.8, 0.3)
    times = [0.0, 0.5, 2.0]
    rho = pk.solve(WELL.law(), replace_cells(96), WELL.start(start), times)
    X = pk.simulate(WELL, start, 20_000, times, 0.05)
    assert X.p.dims == X.x.dims and X.p.shape == X.x.shape
    assert pk.compare(rho, X).consistent()
    other = pk.simulate(replace(WELL, friction=1.0), start, 20_000, times, 0.05)
    assert not pk.compare(rho, other).consistent()
    line = pk.Grid(-2.6, 2.6, 96)  # and positions alone are compared on a line
    only_q = rho.fields.sum(-1) * rho.grid.spacing[1]
    marginal = replace(rho, fields=only_q, grid=line)
    assert pk.compare(marginal, X).consistent()


def replace_cells(cells):
    return pk.Grid(PLANE.lower, PLANE.upper, cells)


def test_momenta_start_from_their_law_and_the_equation_with_them():
    law = Mixture((1, 1), (pk.Gaussian(-1.0, 0.5), pk.Gaussian(1.5, 0.5)))
    dynamics = replace(HARMONIC, momenta=law)
    start = dynamics.start(pk.Gaussian(0.0, 0.6))
    rho = pk.solve(dynamics.law(), pk.Grid((-6, -6), (6, 6), 96), start, [0.0, 1.0])
    X = pk.simulate(dynamics, pk.Gaussian(0.0, 0.6), 20_000, [0.0, 1.0], 0.05)
    assert pk.compare(rho, X).consistent()
    assert np.abs(np.corrcoef(X.x[0, :, 0], X.p[0, :, 0])[0, 1]) < 0.03


def test_momenta_are_the_same_in_every_tile(monkeypatch):
    """And those that steps by hand have: the momentum of the whole step, not of its half."""
    dynamics = replace(WELL, momenta=pk.Gaussian(0.3, 0.5))
    asked = (pk.Gaussian(-0.8, 0.3), 300, [0.0, 0.5, 1.0], 0.05, 2)
    whole = pk.simulate(dynamics, *asked)
    monkeypatch.setattr(ensemble, "_TILE_CPU", 128)
    cut = pk.simulate(dynamics, *asked)
    assert cut.p.identical(whole.p) and cut.x.identical(whole.x)
    assert whole.p.dims == ("time", "run", "particle", "dim") and np.isfinite(whole.p).all()


def test_momenta_turn_with_positions():
    """Without friction and force-free they stay; in a well q(π/2) is p(0), and p(π/2) is -q(0)."""
    points = np.linspace(-1, 1, 7)[:, None]
    well = pk.UnderdampedLangevin(Quadratic(1.0), 1.0, friction=0.0)
    X = pk.simulate(well, points, 7, [0.0, pi / 2], 1e-3)
    np.testing.assert_allclose(X.x[1], X.p[0], atol=1e-5)
    np.testing.assert_allclose(X.p[1], -X.x[0], atol=1e-5)


def test_walls_turn_momenta_round_and_rings_wrap():
    """Free flight between walls, exactly; there and back it is where it was."""
    nothing, points = Quadratic(0.0), np.linspace(-0.9, 0.9, 7)[:, None]
    for periodic in (False, True):
        box = pk.Grid(-1.0, 1.0, 4, periodic=periodic)
        free = pk.UnderdampedLangevin(nothing, 1.0, friction=0.0, box=box)
        X = pk.simulate(free, points, 7, [0.0, 5.3], 0.1)
        far = X.x[0].values + 5.3 * X.p[0].values
        places = (far + 1) % (2 if periodic else 4)
        turned = 1.0 if periodic else np.where(places > 2, -1.0, 1.0)
        places = places if periodic else np.where(places > 2, 4 - places, places)
        np.testing.assert_allclose(X.x[1], places - 1, atol=1e-12)
        np.testing.assert_allclose(X.p[1], turned * X.p[0], atol=1e-12)


@quiet
def test_between_walls_it_comes_to_rest_at_the_gibbs_law():
    """A slope in a box: positions by the density of ``stationary``, momenta thermal."""
    V, box = Linear(1.5), pk.Grid(0.0, 1.0, 40)
    dynamics = pk.UnderdampedLangevin(V, 2.0, box=box)
    X = pk.simulate(dynamics, pk.Gaussian(0.3, 0.05), 20_000, 12.0, 0.05)
    rest = pk.solve(pk.FokkerPlanck(V, 2.0), box, pk.stationary(pk.FokkerPlanck(V, 2.0), box), 12.0)
    assert pk.compare(rest, X).consistent()
    assert pk.certificates.Equipartition()(X).passed
    ring = pk.Grid(0.0, 1.0, 40, periodic=True)
    assert replace(dynamics, box=ring).law() == replace(dynamics, box=None).law()


BOXED = pk.UnderdampedLangevin(Linear(1.5), 2.0, friction=0.8, box=pk.Grid(0.0, 1.0, 40))


@quiet
def test_momenta_turn_round_in_the_equation_as_particles_do():
    """At times at which most have met a wall; and the Gibbs density of the slope stays."""
    grid, times = pk.Grid((0.0, -4.0), (1.0, 4.0), (64, 64)), [0.5, 1.5]
    rho = pk.solve(BOXED.law(), grid, BOXED.start(pk.Gaussian(0.4, 0.1)), times)
    X = pk.simulate(BOXED, pk.Gaussian(0.4, 0.1), 20_000, times, 0.02)
    assert pk.compare(rho, X).consistent()
    assert rho.stats["mass_drift"] < 1e-13 and rho.fields.min() >= 0
    rest = gibbs(BOXED, Linear(1.5), grid)
    assert grid.integrate(np.abs(pk.solve(BOXED.law(), grid, rest, 2.0).fields[0] - rest)) < 3e-3


def test_dynamics_without_momenta_have_none():
    assert pk.simulate(pk.Langevin(DoubleWell(), 2.0), np.zeros((5, 1)), 5, 0.1, 0.1).p is None
    assert pk.simulate(WELL, np.zeros((5, 1)), 5, 0.1, 0.1, keep=False).p is None


def test_equipartition_is_seen_and_its_absence():
    cold = replace(WELL, momenta=pk.Gaussian(0.0, 0.1))
    X = pk.simulate(cold, pk.Gaussian(-0.8, 0.3), 4000, [0.2, 12.0], 0.1)
    check = pk.certificates.Equipartition()
    assert check(X).passed
    assert not check(replace(X, x=X.x[:1], p=X.p[:1])).passed
    plain = pk.simulate(pk.Langevin(DoubleWell(), 2.0), np.zeros((60, 1)), 60, 0.1, 0.1)
    assert "momenta" in check(plain).note


@quiet
def test_certificates_of_generators_do_not_apply():
    """Their own stationary density is of first order: the free energy rises near the true one."""
    grid, scheme = pk.Grid(PLANE.lower, PLANE.upper, 24), pk.schemes.SemiLagrangian(1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        rho = pk.solve(WELL.law(), grid, WELL.start(pk.Gaussian(0.0, 0.6)), [0, 4, 8, 16], scheme)
    rows = {row.name: row for row in pk.certify(rho).rows}
    assert rows["mass"].passed and rows["positivity"].passed
    assert not any(row.applies for name, row in rows.items() if name not in ("mass", "positivity"))
    assert pk.certificates.Stationary()(rho).applies is False


@pytest.mark.parametrize("rtol", [1e-2, 1e-4])
def test_the_error_in_time_is_below_what_is_said(rtol):
    """Against steps four times as short, on the same cells."""
    grid, start, t = pk.Grid((-6, -6), (6, 6), 64), pk.Gaussian((1.0, -0.5), (0.7, 0.9)), 1.5
    rho = pk.solve(HARMONIC.law(), grid, start, t, pk.schemes.SemiLagrangian(rtol))
    steps = 4 * rho.stats["steps"]
    problem = Problem(HARMONIC.law(), grid, start)
    stats = {"radau_solves": 0, "backward_euler_solves": 0, "negative_before_clipping": 0.0}
    stepper = Stepper(problem, grid, 1e-6, stats, Ways(problem, grid))
    apart = problem.distance(
        rho.fields[0], stepper.march(problem.values.copy(), 0, t / steps, steps)
    )
    assert 0.1 * rho.stats["error_estimate"] < apart < rho.stats["error_estimate"] < 3 * rtol


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=25)
def test_remaps_equal_their_plain_form(seed, periodic):
    rng = np.random.default_rng(seed)
    n, rows = int(rng.integers(4, 30)), 2
    rho = rng.exponential(size=(rows, n)) ** rng.integers(1, 8)
    speeds = rng.normal() + rng.uniform(0, 2) * np.cumsum(rng.normal(size=(rows, n + 1)), 1) / n
    if periodic:
        speeds[:, -1] = speeds[:, 0]
    tau = float(rng.uniform(0, 5))
    places, out = np.empty_like(speeds), np.empty_like(rho)
    feet(speeds, tau, periodic, (False, False), places)
    remap(rho, places, periodic, out)
    assert (out >= 0).all()
    np.testing.assert_allclose(out.sum(1), rho.sum(1), rtol=1e-13)
    for r in range(rows):
        plain = remap_plain(rho[r], places[r], periodic)
        np.testing.assert_allclose(out[r], plain, rtol=0, atol=1e-12 * rho[r].sum())
    face = int(rng.integers(1, n))
    assert places[0, face] == pytest.approx(foot_plain(speeds[0], face, tau, periodic), abs=2e-3)


MISTAKES = {
    "two coordinates": (
        lambda: pk.UnderdampedLangevin(DoubleWell(2), 1.0).law(), ValueError,
        "has 2, whose density has 4"),
    "at rest": (
        lambda: pk.UnderdampedLangevin(DoubleWell(), 1.0, at_rest=True).start(pk.Gaussian()),
        ValueError, "momenta=Gaussian"),
    "both": (
        lambda: pk.UnderdampedLangevin(DoubleWell(), 1.0, at_rest=True, momenta=pk.Gaussian()),
        ValueError, "not both"),
    "momenta of the plane": (
        lambda: pk.UnderdampedLangevin(DoubleWell(), 1.0, momenta=pk.Gaussian((0, 0), 1.0)),
        ValueError, r"1 coordinate\(s\) of the potential"),
    "walls without friction": (
        lambda: pk.UnderdampedLangevin(DoubleWell(), 1.0, 0.0, box=pk.Grid(-1, 1, 8)).law(),
        ValueError, "takes no walls"),
    "momenta that have no opposite": (
        lambda: pk.solve(
            BOXED.law(), pk.Grid((0, -5), (1, 5.1), 20), pk.Gaussian((0.4, 0.0), (0.08, 0.7)), 0.1
        ), ValueError, "symmetric about 0"),
    "a generator of specular walls": (
        lambda: pk.stationary(BOXED.law(), pk.Grid((0, -5), (1, 5), 20)), ValueError,
        "SemiLagrangian"),
    "one specular wall": (
        lambda: pk.solve(
            replace(WELL.law(), walls=pk.Walls((pk.Specular(), False))), PLANE,
            pk.Gaussian((0, 0), 0.3), 0.1
        ), ValueError, "both ends"),
    "a box of the plane": (
        lambda: pk.UnderdampedLangevin(DoubleWell(), 1.0, box=PLANE), ValueError,
        r"one dimension, got \[1, 2\]"),
    "no law of momenta": (
        lambda: pk.UnderdampedLangevin(DoubleWell(), 1.0, momenta=1.0), TypeError, "must be a law"),
    "noise along both axes": (
        lambda: pk.solve(
            pk.FokkerPlanck(DoubleWell(2), 2.0), pk.Grid((-2, -2), (2, 2), 16),
            pk.Gaussian((0, 0), 0.3), 0.1, pk.schemes.SemiLagrangian()
        ), ValueError, "without diffusion along an axis"),
    "a line": (
        lambda: pk.solve(
            pk.FokkerPlanck(DoubleWell(), 2.0), pk.Grid(-2, 2, 16), pk.Gaussian(0, 0.3), 0.1,
            pk.schemes.SemiLagrangian()
        ), ValueError, "works in the plane"),
    "walls that absorb a part": (
        lambda: pk.solve(
            replace(WELL.law(), walls=pk.Walls(upper=(pk.PartlyAbsorbing(1.0), False))), PLANE,
            pk.Gaussian((0, 0), 0.3), 0.1, pk.schemes.SemiLagrangian()
        ), ValueError, "Krylov"),
    "gathering without noise": (
        lambda: pk.solve(
            pk.FokkerPlanck(DoubleWell(2), np.inf), pk.Grid((-2, -2), (2, 2), 16),
            pk.Gaussian((0, 0), 0.3), 0.1, pk.schemes.SemiLagrangian()
        ), ValueError, "gather nothing"),
}  # fmt: skip


test_mistakes = named(MISTAKES)


def test_what_it_refuses_goes_to_others():
    """Walls that absorb a part, and expectations: the generator's schemes."""
    absorbing = replace(WELL.law(), walls=pk.Walls(upper=(pk.PartlyAbsorbing(1.0), False)))
    assert pk.schemes.default_scheme(absorbing, PLANE) == pk.schemes.Krylov()
    back = pk.BackwardKolmogorov(DoubleWell(2), 1.0, diffusion=((0.0, 0.0), (0.0, 1.0)))
    assert pk.schemes.default_scheme(back, PLANE) != pk.schemes.SemiLagrangian()


@quiet
def test_killing_is_a_factor_where_it_is_constant():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.ResolutionWarning)
        plain = pk.solve(WELL.law(), PLANE, pk.Gaussian((0, 0), 0.4), 0.5)
        killed = pk.solve(replace(WELL.law(), killing=0.7), PLANE, pk.Gaussian((0, 0), 0.4), 0.5)
    np.testing.assert_allclose(killed.fields, plain.fields * np.exp(-0.35), rtol=1e-12)
