"""Obstacles: u >= psi and a minimum of two residuals, against trees, formulas and brute force."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import k0, k1

import pdekit as pk
from pdekit import hamiltonians as h
from pdekit import schemes as s
from pdekit.pde.bellman import stopping
from pdekit.pde.discrete import free_boundary
from pdekit.pde.discrete.problem import Problem

RATE, VOLATILITY, STRIKE = 0.05, 0.3, 1.0
WELL, LINE = pk.potentials.DoubleWell(), pk.Grid(-2.5, 2.5, 100)
RING = pk.Grid(0, 2 * np.pi, 60, periodic=True)
PLANE = pk.Grid((-2.5, -2.5), (2.5, 2.5), (24, 20))


def put_of_logarithm(x):
    return np.maximum(STRIKE - np.exp(x[..., 0]), 0.0)


def put_of_price(x):
    return np.maximum(STRIKE - x[..., 0], 0.0)


BY_LOGARITHM = pk.BackwardKolmogorov(
    lambda x: -(RATE - VOLATILITY**2 / 2) * x[..., 0], 2 / VOLATILITY**2, killing=RATE,
    obstacle=put_of_logarithm,
)  # fmt: skip
BY_PRICE = pk.BackwardKolmogorov(
    lambda x: 0 * x[..., 0], 2 / VOLATILITY**2, force=lambda x: RATE * x,
    diffusion=lambda x: x[..., 0] ** 2, killing=RATE, obstacle=put_of_price,
)  # fmt: skip


@pytest.mark.parametrize(
    ("equation", "payoff", "grid", "price"),
    [
        (BY_LOGARITHM, put_of_logarithm, pk.Grid(-3, 8, 4000), np.exp),
        (BY_PRICE, put_of_price, pk.Grid(0, 100, 20_000), lambda x: x),
    ],
    ids=["logarithm", "price"],
)
def test_a_perpetual_put(equation, payoff, grid, price):
    """K - S up to S* = K g / (1 + g), (K - S*) (S / S*)^-g beyond, g = 2 r / σ^2."""
    g = 2 * RATE / VOLATILITY**2
    best = STRIKE * g / (1 + g)
    solution = pk.solve(equation, grid, payoff, 600.0)
    S = price(grid.axes[0])
    exact = np.where(best >= S, STRIKE - S, (STRIKE - best) * (np.maximum(S, best) / best) ** -g)
    near = (S > 0.2) & (S < 2)
    assert np.abs(solution.fields[-1] - exact)[near].max() < 1e-4
    edge = solution.stopping_boundary
    assert edge.dims == ("time", "edge") and price(edge.values.max()) == pytest.approx(
        best, abs=1e-4
    )


def tree(S, t, n):
    """The American put by the mean of two binomial trees, of an even and an odd number of steps."""
    found = []
    for steps in (n, n + 1):
        up = np.exp(VOLATILITY * np.sqrt(t / steps))
        p = (np.exp(RATE * t / steps) - 1 / up) / (up - 1 / up)
        v = np.maximum(STRIKE - S * up ** np.arange(-steps, steps + 1, 2.0), 0)
        for k in range(steps - 1, -1, -1):
            go = np.exp(-RATE * t / steps) * (p * v[1:] + (1 - p) * v[:-1])
            v = np.maximum(go, STRIKE - S * up ** np.arange(-k, k + 1, 2.0))
        found.append(v[0])
    return np.mean(found)


@pytest.mark.parametrize(
    ("equation", "payoff", "grid", "place"),
    [
        (BY_LOGARITHM, put_of_logarithm, pk.Grid(-2, 2, 200), np.log),
        (BY_PRICE, put_of_price, pk.Grid(0, 6, 400), lambda S: S),
    ],
    ids=["logarithm", "price"],
)
def test_an_american_put_is_that_of_a_binomial_tree(equation, payoff, grid, place):
    solution = pk.solve(equation, grid, payoff, [0.25, 1.0])
    for t in (0.25, 1.0):
        for S in (0.8, 1.0, 1.2):
            assert float(solution.at([place(S)], t)) == pytest.approx(tree(S, t, 1500), abs=1e-4)


def test_an_obstacle_that_moves_is_read_at_the_time_of_the_motion():
    """A payoff exp(r t) ψ under killing r is worth what ψ is without, times exp(r t)."""
    growing = pk.InTime(lambda x, t: np.exp(RATE * t) * put_of_logarithm(x))
    grid, T = pk.Grid(-2, 2, 200), 1.0
    moving = pk.BackwardKolmogorov(BY_LOGARITHM.potential, BY_LOGARITHM.beta, killing=RATE,
                                   obstacle=growing)  # fmt: skip
    still = pk.BackwardKolmogorov(BY_LOGARITHM.potential, BY_LOGARITHM.beta,
                                  obstacle=put_of_logarithm)  # fmt: skip
    u = pk.solve(moving, grid, lambda x: np.exp(RATE * T) * put_of_logarithm(x), [0.4, T])
    v = pk.solve(still, grid, put_of_logarithm, [0.4, T])
    grown = np.exp(RATE * (T - u.times))[:, None] * v.fields
    assert np.abs(u.fields - grown).max() < 3e-5
    assert (u.stopped == v.stopped).mean() > 0.99


def radial(rate, beta):
    """a and A of A K_0(sqrt(beta k) r), which meets 1 - r^2 with its slope at r = a."""
    size = np.sqrt(rate * beta)
    a = brentq(lambda r: (1 - r * r) * size * k1(size * r) - 2 * r * k0(size * r), 0.01, 0.99)
    return a, (1 - a * a) / k0(size * a)


def test_a_disc_in_the_plane():
    """Killed Brownian motion and 1 - |x|^2: stopped in a disc, Bessel's function outside."""
    beta, rate = 1.0, 16.0
    a, A = radial(rate, beta)
    equation = pk.BackwardKolmogorov(
        lambda x: 0 * x[..., 0], beta, killing=rate, obstacle=lambda x: 1 - (x**2).sum(-1)
    )
    for n in (48, 96):
        grid = pk.Grid((-2.5, -2.5), (2.5, 2.5), (n, n))
        solution = pk.solve(equation, grid, lambda x: 0 * x[..., 0], 2.0)
        r = np.linalg.norm(grid.centres, axis=-1)
        exact = np.where(r < a, 1 - r * r, A * k0(np.sqrt(rate * beta) * np.maximum(r, a)))
        error = np.abs(solution.fields[-1] - exact)[r < 2].max()
        width = 1.5 * grid.spacing[0]
        assert not (solution.stopped[-1].values & (r > a + width)).any()
        assert solution.stopped[-1].values[r < a - width].all()
        assert error < 0.7 * grid.spacing[0] ** 2  # the circle crosses cells irregularly


# --- games: the exponential transform, and brute force --------------------------------------------


@pytest.mark.parametrize("grid", [LINE, RING, PLANE], ids=["line", "ring", "plane"])
def test_a_game_is_optimal_stopping_of_its_exponential(grid):
    """w = exp(-beta u / 2) is least where u is largest: -w is a value of stopping, killed by ℓ."""
    beta, t = 2.0, 0.4

    def waves(x):
        return np.cos(x).sum(-1) / 2

    def cost(x):
        return 0.6 * np.sin(x).sum(-1)

    def obstacle(x):
        return 0.35 * np.sin(2 * x).sum(-1) + 0.1

    game = pk.HamiltonJacobiBellman(waves, beta, cost, obstacle)
    linear = pk.BackwardKolmogorov(
        waves, beta, killing=lambda x: beta / 2 * cost(x),
        obstacle=lambda x: -np.exp(-beta / 2 * obstacle(x)),
    )  # fmt: skip
    u = pk.solve(game, grid, waves, t)
    w = pk.solve(linear, grid, lambda x: -np.exp(-beta / 2 * waves(x)), t)
    apart = np.abs(u.fields + 2 / beta * np.log(-w.fields)).max()
    assert apart < {1: 1e-3, 2: 2e-2}[grid.dim]
    assert 0.1 < u.stopped[-1].mean() < 0.9
    assert (u.stopped == w.stopped).mean() > 0.95


def min_plus(f, obstacle, x, t, steps, L):
    """max(ψ, min over y of u(y) + dt L((x - y) / dt)), all pairs of places, step by step."""
    dt = t / steps
    u = np.maximum(f(x[:, None]), obstacle(x[:, None], 0.0))
    paid = dt * L((x[:, None] - x) / dt)
    for k in range(steps):
        u = np.maximum((u + paid).min(1), obstacle(x[:, None], (k + 1) * dt))
    return u


def hill(x, t=0.0):
    return 0.9 - 2 * (x[..., 0] - 0.4) ** 2


@pytest.mark.parametrize("scheme", [None, s.Godunov()], ids=["filtered", "godunov"])
@pytest.mark.parametrize("moves", [False, True], ids=["still", "moving"])
def test_a_game_without_noise_is_a_minimum_over_all_paths(scheme, moves):
    def obstacle(x, t):
        return hill(x) + moves * np.sin(3 * t) * np.exp(-(x[..., 0] ** 2))

    given = pk.InTime(obstacle) if moves else hill
    grid, fine = pk.Grid(-2, 2, 400), np.linspace(-2, 2, 1601)
    solution = pk.solve(pk.HamiltonJacobi(obstacle=given), grid, WELL, 0.6, scheme)
    brute = min_plus(WELL, obstacle, fine, 0.6, 60, lambda v: v**2 / 2)
    error = np.abs(solution.fields[-1] - np.interp(grid.axes[0], fine, brute)).max()
    assert error < (0.006 if scheme is None else 0.012)  # of steps of 0.01 in the minimum too
    assert 0.1 < solution.stopped[-1].mean() < 0.9


def test_a_set_is_reached_without_meeting_another():
    """|p|: the least over y in [x - t, x + t] of the larger of f(y) and the obstacle on the way."""
    grid, t = pk.Grid(-2, 2, 800), 0.5

    def f(x):
        return np.cos(2.5 * x[..., 0])

    def bump(x):
        return 0.8 - 8 * (x[..., 0] + 0.5) ** 2

    u = pk.solve(pk.HamiltonJacobi(h.Eikonal(), bump), grid, f, t).fields[-1]
    y = np.linspace(-2, 2, 4001)
    fy, hy = np.maximum(f(y[:, None]), bump(y[:, None])), bump(y[:, None])
    exact = np.empty(grid.cells)
    for k, x in enumerate(grid.axes[0]):
        here = int(np.abs(y - x).argmin())
        reach = int(t / (y[1] - y[0]))
        right = np.maximum(np.maximum.accumulate(hy[here:]), fy[here:])[: reach + 1]
        left = np.maximum(np.maximum.accumulate(hy[here::-1]), fy[here::-1])[: reach + 1]
        exact[k] = min(right.min(), left.min())
    assert np.abs(u - exact).mean() < 1e-3
    assert np.abs(u - exact).max() < 0.03  # at jumps of the slope


@pytest.mark.parametrize(("scheme", "order"), [(s.Godunov(), 1), (s.Filtered(), 2)])
def test_a_parabola_that_flattens_to_another(scheme, order):
    """max(a / (1 + a t), b) |x|^2 / 2: all stops at once, at 1/b - 1/a."""
    a, b, t, errors = 2.0, 1.0, 0.8, []
    equation = pk.HamiltonJacobi(obstacle=lambda x: b * (x**2).sum(-1) / 2)
    for n in (50, 100):
        grid = pk.Grid(-2, 2, n)
        u = pk.solve(equation, grid, lambda x: a * (x**2).sum(-1) / 2, [0.25, t], scheme)
        exact = np.maximum(a / (1 + a * u.times), b)[:, None] * grid.axes[0] ** 2 / 2
        errors.append(np.abs(u.fields - exact).max())
        assert u.stopped[-1].values[np.abs(grid.axes[0]) > 0.3].all()
    assert errors[1] < 0.62**order * errors[0]


# --- properties of random problems ----------------------------------------------------------------


def problems(seed):
    """A linear, a viscous and a controlled problem, waves of random heights and phases."""
    rng = np.random.default_rng(seed)

    def waves(size):
        a, b = rng.normal(size=2) * size
        return lambda x: a * np.sin(x + b).sum(-1) + b * np.cos(2 * x).sum(-1)

    V, f, g, cost, psi = (waves(size) for size in (0.7, 1.0, 1.0, 0.5, 0.6))
    beta = float(np.exp(rng.uniform(-1, 2)))
    killed = {"killing": lambda x: cost(x) ** 2, "source": lambda x: g(x)}
    return (
        f,
        g,
        psi,
        [
            pk.BackwardKolmogorov(V, beta, **killed, obstacle=psi),
            pk.ViscousHJ(beta, psi),
            pk.HamiltonJacobiBellman(V, beta, cost, psi),
        ],
    )


GRIDS = pytest.mark.parametrize("grid", [LINE, RING, PLANE], ids=["line", "ring", "plane"])
COARSE = pytest.mark.filterwarnings("ignore::pdekit.errors.ResolutionWarning")


@COARSE
@GRIDS
@pytest.mark.parametrize("seed", range(2))
def test_above_the_obstacle_in_order_and_one_of_two_residuals(grid, seed):
    """u >= ψ to the bit; a larger obstacle, or larger data, make u larger; complementarity."""
    f, g, psi, equations = problems(seed)
    scheme = s.ActiveSet(steps=12, order=1)
    for equation in equations:
        problem = Problem(equation, grid, f, until=0.5)
        for order in (1, 2):
            steps, u, dt = stopping.StoppingSteps(problem, order), problem.start, 0.05
            new = steps(u, 0.0, dt)
            assert (new >= problem.obstacle()).all()
            if order == 1:
                rate = steps.at(dt).linearised(new)[0]
                residual = np.minimum(new - dt * rate - u, new - problem.obstacle())
                assert np.abs(residual).max() < 1e-10 * (1 + np.abs(new).max())
        higher = replace(equation, obstacle=lambda x: psi(x) + 0.3 * np.sin(x).sum(-1) ** 2)
        u = pk.solve(equation, grid, f, 0.5, scheme).fields
        above = pk.solve(higher, grid, f, 0.5, scheme).fields
        over = pk.solve(equation, grid, lambda x: f(x) + g(x) ** 2, 0.5, scheme).fields
        assert (above >= u - 1e-10).all()
        assert (over >= u - 1e-10).all()


@COARSE
@GRIDS
def test_an_obstacle_far_below_is_none_and_one_above_everything_is_the_value(grid):
    f, _, _, equations = problems(7)
    for equation in equations:
        found = [
            pk.solve(
                replace(equation, obstacle=lambda x, low=low: low + 0 * x[..., 0]), grid, f, 0.3
            )
            for low in (-1e3, -1e9)
        ]
        assert np.array_equal(found[0].fields, found[1].fields)
        assert not found[0].stopped.any()
        free = pk.solve(replace(equation, obstacle=None), grid, f, 0.3).fields
        assert np.abs(found[0].fields - free).max() < (
            1e-2 if grid.dim == 1 else 5e-2
        )  # of the cells
        level = replace(equation, obstacle=lambda x: 50 + 0 * x[..., 0])
        if equation.linear:
            level = replace(level, source=None)
        if equation.controlled:
            level = replace(level, running_cost=None)
        top = pk.solve(level, grid, f, [0.3, 0.7])
        assert (top.fields == 50).all()
        assert top.stopped.all()


@pytest.mark.parametrize("scheme", [s.Godunov(), s.Filtered()])
@pytest.mark.parametrize("grid", [LINE, PLANE], ids=["line", "plane"])
def test_without_noise_too(scheme, grid):
    well = pk.potentials.DoubleWell(grid.dim)
    free = pk.solve(pk.HamiltonJacobi(), grid, well, 0.4, scheme).fields
    found = [
        pk.solve(
            pk.HamiltonJacobi(obstacle=lambda x, low=low: low + 0 * x[..., 0]),
            grid,
            well,
            0.4,
            scheme,
        ).fields
        for low in (-1e3, -1e9)
    ]
    assert np.array_equal(*found)
    # compiled steps of order one are as long as the slopes before the last step allow
    apart = 1e-12 if isinstance(scheme, s.Filtered) else 0.02
    assert np.abs(found[0] - free).max() < apart
    top = pk.solve(
        pk.HamiltonJacobi(obstacle=lambda x: 99 + 0 * x[..., 0]), grid, well, 0.4, scheme
    )
    assert (top.fields == 99).all()


@COARSE
@pytest.mark.parametrize("order", [1, 2])
def test_order_in_time_and_an_estimate_above_the_error(order):
    grid = pk.Grid(-2, 2, 100)
    true = pk.solve(BY_LOGARITHM, grid, put_of_logarithm, 1.0, s.ActiveSet(steps=1024)).fields
    errors = []
    for steps in (16, 32, 64):
        scheme = s.ActiveSet(steps=steps, order=order)
        found = pk.solve(BY_LOGARITHM, grid, put_of_logarithm, 1.0, scheme)
        errors.append(np.abs(found.fields - true).max())
        assert errors[-1] <= found.stats["error_estimate"] * true.max()
    assert -np.polyfit(np.log([16, 32, 64]), np.log(errors), 1)[0] > 0.85 * order


def test_what_is_stored_does_not_decide_what_is_computed():
    grid = pk.Grid(-2, 2, 100)
    once = pk.solve(BY_LOGARITHM, grid, put_of_logarithm, 1.0)
    often = pk.solve(BY_LOGARITHM, grid, put_of_logarithm, np.linspace(0, 1, 21))
    assert np.abs(once.fields[-1] - often.fields[-1]).max() < 2e-5
    assert np.array_equal(often.fields[0], put_of_logarithm(grid.centres))


def test_growth_is_what_a_negative_rate_of_killing_is():
    """Where all grows at the rate 3 nobody stops: exp(3 t) times the mean of the data."""
    grid = pk.Grid(-1, 1, 50)
    equation = pk.BackwardKolmogorov(lambda x: 0 * x[..., 0], 2.0, killing=-3.0,
                                     obstacle=lambda x: 1 + 0 * x[..., 0])  # fmt: skip
    found = pk.solve(equation, grid, lambda x: 1 + 0 * x[..., 0], 2.0)
    assert np.abs(found.fields / np.exp(6.0) - 1).max() < 2e-5
    with pytest.raises(pk.ConvergenceError, match="more steps"):
        pk.solve(equation, grid, lambda x: 1 + 0 * x[..., 0], 2.0, s.ActiveSet(steps=1))


def test_a_joint_policy_that_circles_is_solved_by_turns(monkeypatch):
    """Newton's method of a minimum and a maximum may circle; stopping then waits for control."""
    f, _, _, equations = problems(11)
    problem = Problem(equations[2], LINE, f, until=0.5)
    together = stopping.StoppingSteps(problem, 1)(problem.start, 0.0, 0.3)
    monkeypatch.setattr(stopping, "_TOGETHER", 1)
    apart = stopping.StoppingSteps(problem, 1)(problem.start, 0.0, 0.3)
    assert np.abs(together - apart).max() < 1e-11


# --- what it says ---------------------------------------------------------------------------------


def test_it_starts_from_the_larger_of_data_and_obstacle():
    solution = pk.solve(pk.ViscousHJ(2.0, hill), LINE, lambda x: 0 * x[..., 0], [0.0, 0.1])
    assert np.array_equal(solution.fields[0], np.maximum(hill(LINE.centres), 0))
    assert solution.stopped.dtype == bool
    assert solution.stopped.dims == solution.u.dims
    assert np.array_equal(solution.stopped[0], hill(LINE.centres) >= 0)


@pytest.mark.parametrize(
    "scheme",
    [s.ColeHopf(), s.HopfLax(), s.Exponential(), s.Implicit(0.1), s.Krylov(), s.DoobTransform(),
     s.PolicyIteration()],
)  # fmt: skip
def test_schemes_that_take_no_obstacle_say_so(scheme):
    equations = [
        pk.BackwardKolmogorov(WELL, 2.0, obstacle=hill),
        pk.ViscousHJ(2.0, hill),
        pk.HamiltonJacobi(obstacle=hill),
        pk.HamiltonJacobiBellman(WELL, 2.0, None, hill),
    ]
    for equation in equations:
        if isinstance(equation, scheme.solves):
            with pytest.raises(ValueError, match="takes no obstacle"):
                pk.solve(equation, LINE, WELL, 0.1, scheme)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="has none here"):
        pk.solve(pk.ViscousHJ(2.0), LINE, WELL, 0.1, s.ActiveSet())
    with pytest.raises(ValueError, match="resetting"):
        pk.BackwardKolmogorov(
            WELL, 2.0, resetting=pk.Resetting(1.0, pk.Gaussian(0, 1)), obstacle=hill
        )
    with pytest.raises(ValueError, match="obstacle"):
        pk.spectral_gap(pk.BackwardKolmogorov(WELL, 2.0, obstacle=hill), LINE)
    with pytest.raises(ValueError, match="without an obstacle"):
        _ = pk.solve(pk.ViscousHJ(2.0), LINE, WELL, 0.1).stopped
    with pytest.raises(ValueError, match="the obstacle must"):
        pk.solve(pk.ViscousHJ(2.0, lambda x: np.concatenate([x, x], -1)), LINE, WELL, 0.1)


def test_a_spike_between_the_centres_is_warned_of():
    def spike(x):
        return 3 * np.exp(-(((x[..., 0] - 0.52) / 0.012) ** 2))

    with pytest.warns(pk.ResolutionWarning, match="between the centres"):
        pk.solve(
            pk.BackwardKolmogorov(WELL, 2.0, obstacle=spike), LINE, lambda x: 0 * x[..., 0], 0.1
        )


@pytest.mark.parametrize("width", [0.005, 0.03])
@pytest.mark.parametrize(
    ("equation", "scheme"),
    [
        (pk.HamiltonJacobi, None),
        (pk.HamiltonJacobi, pk.schemes.Godunov()),
        (lambda obstacle: pk.ViscousHJ(1.0, obstacle), pk.schemes.Filtered()),
        (lambda obstacle: pk.HamiltonJacobi(pk.hamiltonians.Eikonal(1.0), obstacle), None),
    ],
)
def test_a_pulse_of_the_obstacle_is_not_stepped_over(equation, scheme, width):
    """From flat data u is the largest obstacle until then: to 1 %, between the steps too."""
    pulse = pk.InTime(lambda x, t: np.exp(-(((t - 0.5032) / width) ** 2)) + 0 * x[..., 0])
    u = pk.solve(equation(obstacle=pulse), LINE, lambda x: 0 * x[..., 0], [0.5, 1.0], scheme)
    assert abs(u.fields[1] - 1).max() < 0.01


def test_few_cells_are_warned_of():
    with pytest.warns(pk.ResolutionWarning, match="too coarse for the value"):
        pk.solve(
            pk.BackwardKolmogorov(WELL, 200.0, force=lambda x: 8 + 0 * x, obstacle=hill),
            pk.Grid(-2.5, 2.5, 30), WELL, 0.2,
        )  # fmt: skip


def test_certificates_of_equations_without_an_obstacle_do_not_apply():
    c = pk.certificates
    for equation in (pk.ViscousHJ(2.0, hill), pk.HamiltonJacobi(obstacle=hill)):
        solution = pk.solve(equation, LINE, WELL, [0.0, 0.1, 0.2])
        higher = pk.solve(equation, LINE, lambda x: WELL(x) + 0.1, [0.0, 0.1, 0.2])
        for one in (c.MaximumPrinciple(), c.JensenBounds(), c.Semiconcave(),
                    c.NonExpansive(higher)):  # fmt: skip
            assert not one(solution).applies
        assert c.ComparisonPrinciple(higher)(solution).holds


def test_the_boundary_of_a_straddle_is_found_within_its_cells():
    """ψ = |x| under killing: u = b cosh(λx) / cosh(λb), λb tanh(λb) = 1, far below a cell off."""
    rate, b = 0.5, brentq(lambda z: z * np.tanh(z) - 1, 1, 2)
    equation = pk.BackwardKolmogorov(
        lambda x: 0 * x[..., 0], 1.0, killing=rate, obstacle=lambda x: np.abs(x[..., 0])
    )
    b, off = b / np.sqrt(rate), []
    for cells in (61, 122):
        grid = pk.Grid(-4.1, 4.0, cells)
        solution = pk.solve(equation, grid, lambda x: np.abs(x[..., 0]), [30.0, 60.0])
        edges = solution.stopping_boundary
        assert edges.shape == (2, 2)
        off.append(np.abs(edges.values[-1] - [-b, b]).max() / float(grid.spacing[0]))
    assert off[0] < 0.05 and off[1] < 0.8 * off[0]  # in cells


def test_where_no_boundary_is_known_it_is_a_face_and_the_plane_has_none():
    always = pk.BackwardKolmogorov(lambda x: 0 * x[..., 0], 1.0, obstacle=lambda x: 0 * x[..., 0])
    solution = pk.solve(always, LINE, lambda x: 0 * x[..., 0], 0.1)
    assert solution.stopping_boundary.shape == (1, 0)
    gap, stopped = np.array([0, 0, 0.3, 0.2, 0, 0]), np.array([1, 1, 0, 0, 1, 1], bool)
    assert free_boundary.edges(gap, stopped) == [1.5, 3.5]
    plane = pk.Grid((-1, -1), (1, 1), 12)
    flat = pk.solve(
        pk.ViscousHJ(2.0, lambda x: 0 * x[..., 0]), plane, pk.potentials.DoubleWell(2), 0.1
    )
    with pytest.raises(ValueError, match="in the plane use stopped"):
        _ = flat.stopping_boundary
    with pytest.raises(ValueError, match="nothing is stopped without an obstacle"):
        _ = pk.solve(pk.ViscousHJ(2.0), LINE, WELL, 0.1).stopping_boundary
