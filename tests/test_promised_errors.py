"""Inner bounds and first steps against dense exponentials: what the error estimates rest on."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import pdekit as pk
from pdekit import schemes
from pdekit.comparison.certificates.rates import Rates
from pdekit.interactions import Kuramoto
from pdekit.particles import chebyshev
from pdekit.particles.kernels import noise as kernels
from pdekit.particles.kernels.forces import gaussian_sum
from pdekit.particles.noise import Address, fill_normals
from pdekit.pde.bellman.h_transform import Evolution
from pdekit.pde.discrete import (
    circulation,
    conservation,
    edge_rates,
    fluxes,
    gibbs_map,
    grid_comparison,
    krylov_space,
    step_plan,
    subcell,
)
from pdekit.pde.discrete.generators import scharfetter_gummel
from pdekit.pde.discrete.gibbs_map import FieldMap
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import Collocation, allowance, line_of
from pdekit.pde.kernels import convolution, implicit_lines
from pdekit.pde.phases import self_consistent
from pdekit.pde.references import log_convolve_plain
from pdekit.pde.schemes import mean_field
from pdekit.pde.stationary import slow_chains


def test_what_absorbing_walls_leave_is_right_to_its_own_size() -> None:
    """1e-17 of the mass, by steps whose errors may add up to 2e-8 of what is left."""
    grid = pk.Grid(0, 1, 20)
    generator = scharfetter_gummel(np.zeros(20), 1.0, grid)
    kill = np.zeros(20)
    kill[[0, -1]] = 2 * generator.exit_rate().max()
    line, u, t = line_of(generator, True, kill), np.random.default_rng(0).random(20), 4.0
    share = allowance(line.fastest, t)
    collocation = Collocation(line, relative=True, error_budget=1e-8)
    left, _ = collocation.march(u, t, lambda s, h: 1e-8 * share(s, h))
    true = expm(t * (generator.matrix().toarray().T - np.diag(kill))) @ u
    assert true.sum() < 1e-17 * u.sum()
    assert np.abs(left - true).sum() < 2e-8 * true.sum()


@pytest.mark.parametrize("steepness", [1.0, 1e4])
def test_a_hundredth_of_the_mass_moves_in_the_first_interval(steepness: float) -> None:
    """However steep the potential: a longer first step would jump over what happens in it."""
    grid = pk.Grid(-3, 3, 300)
    start = np.exp(-((grid.axes[0] - 1) ** 2) / 0.02)
    equation = pk.McKeanVlasov(lambda x: steepness * x[..., 0] ** 2, 2.0, pk.CurieWeiss(0.5))
    system = mean_field._System(Problem(equation, grid, start / grid.integrate(start)))
    field = system.field(system.start)
    moved = system.steps(system.start, field, system.first(field), 1)
    assert np.abs(moved - system.start).sum() == pytest.approx(0.01 * system.mass, rel=0.05)


def test_the_residual_of_a_krylov_space_is_neither_missed_nor_blown_up() -> None:
    """∫ |g| and its variation by a fine sum; the walk's resolvent, six vectors."""
    n, m = 12, 6
    walk = 5 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n))
    resolvent = np.linalg.inv(np.eye(n) - krylov_space.SHIFT * walk)
    basis, hessenberg = np.eye(1, n), np.zeros((m + 1, m))
    for j in range(m):
        w = resolvent @ basis[j]
        for _ in range(2):
            part = basis @ w
            w, hessenberg[: j + 1, j] = w - part @ basis, hessenberg[: j + 1, j] + part
        hessenberg[j + 1, j] = np.linalg.norm(w)
        basis = np.vstack([basis, w / hessenberg[j + 1, j]])
    rate, found = krylov_space._residual(hessenberg)
    last = hessenberg[-1, -1] / krylov_space.SHIFT * np.linalg.inv(hessenberg[:-1])[-1]
    g = np.array([last @ expm(s * rate)[:, 0] for s in np.linspace(0, 1, 501)])
    mean = np.abs(g[1:] + g[:-1]).mean() / 2
    variation = abs(g[0]) + abs(g[-1]) + np.abs(np.diff(g)).sum()
    assert mean <= found.mean <= 1.3 * mean
    assert found.variation == pytest.approx(variation, rel=0.03)


def test_a_cost_that_bends_the_value_within_a_step_keeps_its_digits() -> None:
    """z = exp(-beta u / 2) from 0.02 down to 1e-16 after one step from u = 0, by positive sums."""
    grid, step = pk.Grid(-1, 1, 16), 0.1
    generator = scharfetter_gummel(grid.axes[0] ** 2, 2.0, grid)
    cost = 300 * (grid.axes[0] + 1)
    value = Evolution(generator, 2.0, cost)(np.zeros(16), step)
    killed = generator.matrix().toarray() - np.diag(cost)
    rate = -killed.diagonal().min()
    z = expm(step * (killed + rate * np.eye(16))).sum(1)
    np.testing.assert_allclose(value, rate * step - np.log(z), rtol=1e-10)


def test_rates_are_smooth_where_their_series_take_over() -> None:
    """q(p) at |p| = 0.05, the centring factor of p = c i at 0.03, to their next terms."""
    for p in (0.05, -0.05):
        near = p * np.array([1 - 1e-9, 1 + 1e-9])
        series, closed = edge_rates._share_of_rest(near, edge_rates.ON_LINES)
        assert series == pytest.approx(closed, abs=2e-9)
    grid = pk.Grid(0, 1, 7)
    for middle in (0.0299, 0.0301):
        p = middle + 0.01 * np.arange(-3, 4)
        factor = edge_rates.centring(p, 0, grid)[3]
        r = 1 / 6 - middle**2 / 180
        assert factor == pytest.approx(1 + 0.01 * r + 1e-5 * r, abs=1e-9)


def test_the_euler_steps_of_a_run_are_counted() -> None:
    """1 + 2 + ... + 5 of them for every interval that was tried at order five."""
    grid = pk.Grid(-3, 3, 60)
    start = np.exp(-((grid.axes[0] - 1) ** 2) / 0.2)
    equation = pk.McKeanVlasov(pk.potentials.DoubleWell(), 2.0, pk.CurieWeiss(0.5))
    system = mean_field._System(Problem(equation, grid, start / grid.integrate(start)))
    run = mean_field._Run(system, 1e-6, 5)
    run.to(0.1)
    tried = sum(run.counts[name] for name in ("intervals", "rejections", "energy_rejections"))
    assert run.counts["steps"] == 15 * tried > 0


def test_one_sweep_or_sum_over_jumps_is_one_step_at_least() -> None:
    ring = pk.Grid(0, 1, 40, periodic=True)
    driven = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 10.0, force=lambda x: 20 + 0 * x)
    start = 1 + 0.9 * np.cos(2 * np.pi * ring.axes[0])
    for equation in (driven, pk.FokkerPlanck(lambda x: 0 * x[..., 0], 10.0)):
        solution = pk.solve(equation, ring, start, [0.01, 0.02], schemes.Exponential())
        assert solution.stats["steps"] >= 2


def test_the_rounding_of_a_step_does_not_depend_on_where_a_circle_is_cut() -> None:
    ring = pk.Grid(0, 1, 12, periodic=True)
    V, u = np.cos(2 * np.pi * ring.axes[0]), np.linspace(0, 9, 12) ** 2
    found = []
    for cut in (0, 5):
        generator = scharfetter_gummel(np.roll(V, cut), 4.0, ring)
        found.append(Evolution(generator, 4.0, 0.0).rounding(np.roll(u, cut), 5.0))
    assert found[0] == pytest.approx(found[1], rel=1e-9) and found[0] > 0


@pytest.mark.parametrize("place", [15, 16, 31, 32])
def test_a_cold_convolution_sees_the_next_node(place: int) -> None:
    """Wells at single nodes on both sides of the blocks by which nodes are passed over."""
    f = np.full((1, 49), 2.0)
    f[0, place] = 0.0
    out = np.empty((1, 49 - 24))
    convolution.log_convolve(f, 1.0, 1e4, 12, 1, out)
    plain = log_convolve_plain(f, 1.0, 1e4, 12, 1)
    np.testing.assert_allclose(out, plain, rtol=1e-12)


def test_steps_grow_where_less_happens() -> None:
    """Errors of a step that fall like exp(-8 t) allow steps that are many times longer."""
    field = np.zeros(3)
    problem = SimpleNamespace(distance=lambda a, b: 0.0)
    pilot: Any = SimpleNamespace(
        problem=problem, blind=True, driven=False, tried=0,
        march=lambda u, t, dt, count: u, run=lambda u, t, steps: u,
        local_error=lambda u, t, dt: (dt**3 * np.exp(-8 * t), u),
    )  # fmt: skip
    steps, _, _ = step_plan.plan(pilot, field, 0.0, 1.0, 1e-6, 1.0)
    assert sum(steps) == pytest.approx(1.0) and max(steps) >= 8 * steps[0]
    times = np.cumsum([0.0, *steps[:-1]])[::2]
    assert all(
        dt**3 * np.exp(-8 * t) <= 1e-6
        for dt, t in zip(2 * np.array(steps[::2]), times, strict=True)
    )


@pytest.mark.parametrize("flux", [fluxes.lax_friedrichs, fluxes.godunov])
def test_a_hamiltonian_that_mixes_the_slopes_is_monotone_in_each_side(flux: Any) -> None:
    """It rises with every slope from the left and falls with every one from the right."""
    rng, mixed = np.random.default_rng(0), pk.hamiltonians.Quadratic(((2.0, 1.2), (1.2, 1.0)))
    sides = rng.uniform(-1, 1, (4, 500))
    bounds = np.array([[-1.0, 1.0], [-1.0, 1.0]])

    def value(s: Any) -> Any:
        return fluxes.of_gradient(mixed, [s[0], s[1]], [s[2], s[3]], bounds, flux)

    for k, sign in enumerate((1, 1, -1, -1)):
        moved = sides.copy()
        moved[k] += 0.5 * (1 - moved[k])
        assert (sign * (value(moved) - value(sides)) >= -1e-12).all()


@pytest.mark.parametrize(("blind", "least", "most"), [(True, 1 / 3, 1 / 2), (False, 1.0, 1.5)])
def test_a_change_counts_whole_where_the_coarser_grid_does_not_do(
    blind: bool, least: float, most: float
) -> None:
    """Of order two the error is a third of it; on the grid itself data are rough."""
    pilot: Any = SimpleNamespace(problem=SimpleNamespace(distance=lambda a, b: 1e-6), blind=blind)
    error = step_plan._extrapolated(pilot, None, 0.0, [0.5, 0.5], None, None, 1.0)
    assert least <= error / 1e-6 <= most


@pytest.mark.parametrize("spacing", [1, 4, 9])
def test_values_between_wide_nodes_are_those_of_a_polynomial(spacing: int) -> None:
    """The sixteen nodes about [0, 1] carry every power up to the fifteenth."""
    nodes = np.arange(-7, 9)
    weights = convolution._lagrange(spacing)
    for power in (0, 1, 2, 7, 15):
        exact = (np.arange(spacing) / spacing) ** power
        np.testing.assert_allclose(weights @ (nodes / 8.0) ** power, exact / 8.0**power, atol=1e-12)


@pytest.mark.parametrize("gap", [1e-3, 1e-9])
def test_an_eigenvalue_far_above_the_others_is_found_to_rounding(gap: float) -> None:
    """From a vector that has a tenth of every other one."""
    values = np.append(1.0, gap * np.linspace(0.1, 1, 7))
    frame = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
    y = frame @ np.append(1.0, np.full(7, 0.1))
    found, vector = slow_chains._alone(
        lambda x: frame @ (values * (frame.T @ x)), y / np.linalg.norm(y)
    )
    assert found[0] == pytest.approx(1.0, rel=1e-14)
    assert abs(vector[:, 0] @ frame[:, 0]) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(("slope", "bend"), [(3.0, 0.0), (-2.0, 0.5), (1.0, -4.0)])
def test_data_that_are_a_parabola_are_known_up_to_the_walls(slope: float, bend: float) -> None:
    grid = pk.Grid(-1, 1, 40)
    parabola = Problem(
        pk.HamiltonJacobi(), grid, lambda x: slope * x[..., 0] + bend * x[..., 0] ** 2
    )
    assert subcell.resolves_walls(parabola)
    root = Problem(pk.HamiltonJacobi(), grid, lambda x: np.sqrt(1.001 - x[..., 0]))
    assert not subcell.resolves_walls(root)


def test_a_rotation_about_any_point_has_no_gradient_part() -> None:
    """Three times (-(y - 0.3), x + 0.4) over the faces of a box; a gradient is its own."""
    grid = pk.Grid((-1, -2), (1.5, 2), (12, 18))
    x, y = grid.axes
    along_x = np.broadcast_to(-3 * (y - 0.3) * grid.spacing[0], (11, 18))
    along_y = np.broadcast_to((3 * (x + 0.4) * grid.spacing[1])[:, None], (12, 17))
    turning = [np.array(along_x), np.array(along_y)]
    assert np.abs(circulation.gradient_part(turning, grid)).max() < 1e-12
    tilt = 0.7 * grid.centres[..., 0] - 0.2 * grid.centres[..., 1] ** 2
    found = circulation.gradient_part([np.diff(tilt, axis=k) for k in (0, 1)], grid)
    np.testing.assert_allclose(found, tilt - tilt.mean(), atol=1e-11)


def test_a_descent_settles_where_plain_iteration_would_swing() -> None:
    """Particles that repel each other strongly, from a crowd in one cell."""
    grid = pk.Grid(-3, 3, 40)
    apart = pk.PairPotential(lambda z: np.exp(-2 * z[..., 0] ** 2))
    system = FieldMap(pk.McKeanVlasov(pk.potentials.DoubleWell(), 10.0, apart), grid)
    crowd = np.zeros(40)
    crowd[9] = 1 / grid.cell_volume
    field = self_consistent._descended(system, system.pair(crowd))
    rho = system.density(field)
    assert grid.integrate(rho * np.abs(field - system.pair(rho))) < 1e-6


def test_leading_responses_by_iteration_are_those_of_the_matrix(monkeypatch: Any) -> None:
    """The two largest on a circle, where the shift has one of them."""
    ring = pk.Grid(0, 2 * np.pi, 64, periodic=True)
    kuramoto = pk.PairPotential(Kuramoto(4.0))
    system = FieldMap(pk.McKeanVlasov(lambda x: 0 * x[..., 0], 1.0, kuramoto), ring)
    rho = np.exp(1.5 * np.cos(ring.axes[0] - 1))
    rho /= ring.integrate(rho)
    dense = np.sort(system.leading(rho))
    monkeypatch.setattr(gibbs_map, "_DENSE", 10)
    np.testing.assert_allclose(np.sort(system.leading(rho)), dense, rtol=1e-8)


def test_an_interval_that_needs_more_vectors_is_cut() -> None:
    """A peak that is driven round a circle: no space of sixty vectors holds the whole way."""
    ring = pk.Grid(0, 1, 200, periodic=True)
    peak = np.zeros(200)
    peak[3] = 200
    driven = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 1e4, force=lambda x: 20 + 0 * x)
    solution = pk.solve(driven, ring, peak, 0.2, schemes.Krylov())
    generator = Problem(driven, ring, peak).generator()
    up, down = generator.up[0][0], generator.down[0][0]
    turn = np.exp(-2j * np.pi * np.fft.fftfreq(200))
    waves = np.exp(0.2 * (up * (turn - 1) + down * (1 / turn - 1)))
    true = np.fft.ifft(waves * np.fft.fft(peak)).real
    assert solution.stats["steps"] > 1
    error = np.abs(solution.fields[0] - true).sum() / true.sum()
    assert error <= solution.stats["error_estimate"] <= 1e-8


@pytest.mark.parametrize("dim", [1, 2])
def test_as_many_nodes_are_taken_as_the_kernel_needs(dim: int) -> None:
    """At pairs of points that nobody chose; with a rung fewer it would not do."""
    half = torch.tensor([1.5, 0.8][:dim], dtype=torch.float64)

    def kernel(z: Any) -> Any:
        return z * torch.exp(-2 * (z**2).sum(-1, keepdim=True))

    nodes = chebyshev._enough_nodes(kernel, half, 1e-6)
    s, t = torch.rand((2, 400, dim), generator=torch.manual_seed(1), dtype=torch.float64) * 2 - 1
    exact = kernel((s - t) * half)
    fewer = chebyshev._NODES[chebyshev._NODES.index(nodes) - 1]
    good, bad = (
        float((chebyshev._between(kernel, s, t, half, m) - exact).abs().max() / exact.abs().max())
        for m in (nodes, fewer)
    )
    assert good < 2e-6 and bad > 2e-7


def test_a_smooth_function_of_the_plane_is_resolved_and_a_hole_is_not() -> None:
    grid = pk.Grid((-1, -2), (1, 2), (24, 32))

    def smooth(x: Any) -> Any:
        return np.sin(2 * x[..., 0]) + x[..., 1] ** 2 + x[..., 0] * x[..., 1]

    def holed(x: Any) -> Any:
        return smooth(x) - np.exp(-300 * (x**2).sum(-1))

    assert subcell.resolves(Problem(pk.HamiltonJacobi(), grid, smooth))
    assert not subcell.resolves(Problem(pk.HamiltonJacobi(), grid, holed))


@pytest.mark.parametrize("place", [-0.2, 0.3, 4.6, 5.2])
def test_the_top_of_a_parabola_is_found_up_to_the_walls(place: float) -> None:
    values = 5 - (np.arange(6) - place) ** 2
    assert conservation._tops(values, False) == pytest.approx(5.0, rel=1e-12)


def test_no_order_is_read_off_a_third_answer_on_more_cells() -> None:
    few = pk.Grid(0, 1, 4)
    assert min(grid_comparison.comparison_grid(few).cells) > 4
    assert grid_comparison._order(0.1, lambda grid: 0.0, lambda *_: 0.1, few) == 2.0
    assert grid_comparison._order(0.1, lambda grid: 0.0, lambda *_: 0.2, pk.Grid(0, 1, 4000)) == 1.0


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gaussian_forces_are_summed_from_nothing(dim: int) -> None:
    """Whatever the array held before; particles that are more than one chunk."""
    x = np.random.default_rng(dim).normal(size=(dim, 300))
    out = np.full((dim, 300), 7.0)
    gaussian_sum(x, 0.8, out)
    z = x[:, :, None] - x[:, None, :]
    np.testing.assert_allclose(out, (z * np.exp(-0.8 * (z**2).sum(0))).sum(2), atol=1e-11)


def test_a_bend_is_limited_as_its_integral_says() -> None:
    """∫ (1 - v²/s²)³ from 0 to b, up to s = 35/16, from where on it is one."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    for b in (-3.0, -1.1, 0.4, 2.0, 2.1875, 5.0):
        end = np.clip(b, -35 / 16, 35 / 16)
        v = end * (nodes + 1) / 2
        integral = end / 2 * weights @ (1 - (v / (35 / 16)) ** 2) ** 3
        assert implicit_lines._saturated(b) == pytest.approx(integral, rel=1e-13)
    assert implicit_lines._saturated(5.0) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_line_of_noise_is_that_of_the_whole_rows(kind: Any) -> None:
    """To the bit: what fused steps draw by lines is what others draw at once."""
    out, words = np.empty(64, kind), np.empty((8, 64), np.uint32)
    step, stream, seed = 5, Address(11, 3, step=5).stream, 11
    kernels.normals(out, words, *map(np.uint64, (0, step, stream, seed)))
    rows = torch.empty(1, 64, dtype=torch.float32 if kind is np.float32 else torch.float64)
    assert np.array_equal(out, fill_normals(rows, Address(11, 3, step=5))[0].numpy())


def test_a_distance_that_was_nothing_for_a_while_is_not_compared_with_what_came_back() -> None:
    """e^-2 a unit of time, but for a zero and what follows it: the rate is of the others."""
    times = np.arange(6.0)
    d = np.exp(-2 * times)
    d[2], d[3] = 0.0, 1.0
    rates = Rates("decay", d, 1e-12, 1.0)
    found = rates.certificate(SimpleNamespace(times=times), 1.0, 0.0)
    assert found.passed and found.value == pytest.approx(2.0)


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
def test_the_gap_of_a_fast_rotation_is_the_least_real_part() -> None:
    """In |x|²/2 turned four times as fast: 1 ± 4i decays slowest, 2 is the smallest modulus."""
    grid = pk.Grid((-4, -4), (4, 4), (30, 30))
    turned = pk.FokkerPlanck(
        lambda x: (x**2).sum(-1) / 2,
        1.0,
        force=lambda x: 4 * np.stack([x[..., 1], -x[..., 0]], -1),
    )
    assert pk.spectral_gap(turned, grid) == pytest.approx(1.0, rel=0.1)


def test_a_state_that_is_its_own_gibbs_state_is_known_to_stand_still() -> None:
    grid = pk.Grid(-3, 3, 60)
    equation = pk.McKeanVlasov(pk.potentials.DoubleWell(), 2.0, pk.CurieWeiss(0.2))
    (state,) = pk.self_consistent_states(equation, grid)
    system = mean_field._System(Problem(equation, grid, state.density.values))
    assert system.stationary(system.start, system.field(system.start))
    moved = np.roll(system.start, 2)
    assert not system.stationary(moved, system.field(moved))


def test_a_run_that_is_nearly_there_goes_on(monkeypatch: Any) -> None:
    """Only where many more steps are left does it ask whether all stands still."""
    monkeypatch.setattr(mean_field, "_LOOK", 1)
    equation = pk.McKeanVlasov(pk.potentials.DoubleWell(), 2.0, pk.CurieWeiss(0.5))
    start = pk.Gaussian(0.5, 0.3)
    run = mean_field._Run(mean_field._System(Problem(equation, pk.Grid(-3, 3, 60), start)), 1e-4, 5)
    run.to(0.1)
    assert run.t == 0.1 and run.counts["intervals"] > 1


def test_the_least_value_of_a_kink_is_found_between_samples() -> None:
    def f(x: Any) -> Any:
        return np.abs(x[..., 0] - 0.1234567)

    grid = pk.Grid(-1, 1, 40)
    assert 0 <= subcell.least(f, grid, f(grid.centres)) < 1e-10
