"""What changes in time: β, sources, walls that supply, resetting and running costs.

Against the equations of moments, and against integrations of the rates, or of the linear form of
the control problem, by SciPy.
"""

import warnings
from functools import partial

import numpy as np
import pytest
from scipy import sparse
from scipy.integrate import solve_ivp

import pdekit as pk
from pdekit.particles import StochasticHeun
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.schemes import exponential

pytestmark = [
    pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning"),
    pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning"),
]
WELL, START = pk.potentials.DoubleWell(), pk.Gaussian(0.7, 0.3)
T, TIMES = 1.5, [0.1, 0.7, 1.5]


def beta(t):
    """Not the same forwards and backwards."""
    return 1 + 0.8 * np.sin(3 * t)


class Steps:
    """A β that jumps, and says when."""

    times = (0.4, 0.9)

    def __call__(self, t):
        return 4.0 if 0.4 < t <= 0.9 else 0.5


@pk.InTime
def V(x, t):
    return (x**2).sum(-1) / 2 * (1 + 0.5 * np.sin(3 * t)) + 0.5 * x[..., 0] * np.cos(2 * t)


@pk.InTime
def source(x, t):
    return np.exp(-(x**2).sum(-1)) * (1 + np.sin(4 * t))


@pk.InTime
def killing(x, t):
    return 0.3 + 0.2 * np.sin(t) + 0.1 * x[..., 0] ** 2


def moments(schedule, until, first):
    """Of dX = -X dt + √(2/β(t)) dB, (mean, variance) at the times, piece by piece."""
    ends = [s for s in getattr(schedule, "times", ()) if s < until]
    y, t = np.array(first), 0.0
    for stop in [*ends, until]:
        rate = partial(lambda t, y, s: [-y[0], 2 / schedule(min(t, s)) - 2 * y[1]], s=stop)
        begin = t + 1e-13
        y = solve_ivp(rate, (begin, stop), y, rtol=1e-11, atol=1e-13).y[:, -1]
        t = stop
    return y


def extrapolated(values):
    """From cells and half as wide ones: errors go like their square."""
    return (4 * values[1] - values[0]) / 3


@pytest.mark.parametrize("schedule", [beta, Steps()], ids=["smooth", "steps"])
def test_ornstein_uhlenbeck_follows_its_moments(schedule):
    found = []
    for n in (400, 800):
        grid = pk.Grid(-8, 8, n)
        equation = pk.FokkerPlanck(pk.potentials.Quadratic(1.0), schedule)
        rho = pk.solve(equation, grid, START, T).fields[0]
        mean = grid.integrate(rho * grid.axes[0])
        found.append([mean, grid.integrate(rho * (grid.axes[0] - mean) ** 2)])
    np.testing.assert_allclose(
        extrapolated(np.array(found)), moments(schedule, T, (0.7, 0.09)), atol=1e-6
    )


def test_expectations_take_beta_at_the_right_time():
    """E x² from x at time T - s is x² e^{-2s} and what the noise from T - s to T makes."""
    s, x = 0.6, 0.5
    exact = solve_ivp(
        lambda t, y: [-y[0], 2 / beta(t) - 2 * y[1]], (T - s, T), [x, 0.0], rtol=1e-11, atol=1e-13
    ).y[:, -1]
    found = []
    for n in (401, 801):
        equation = pk.BackwardKolmogorov(pk.potentials.Quadratic(1.0), beta)
        u = pk.solve(equation, pk.Grid(-8, 8, n), lambda x: x[..., 0] ** 2, [s, T])
        found.append(float(u.at([[x]], s)[0]))
    assert extrapolated(found) == pytest.approx(exact[0] ** 2 + exact[1], abs=1e-6)


def test_beta_in_the_plane():
    grid = pk.Grid((-6, -6), (6, 6), 64)
    equation = pk.FokkerPlanck(pk.potentials.Quadratic(1.0, 2), beta)
    rho = pk.solve(equation, grid, pk.Gaussian((0.7, 0.0), 0.5), T).fields
    mean, variance = moments(beta, T, (0.7, 0.25))
    X = grid.centres
    found = [float((rho[0] * X[..., k]).sum() * grid.cell_volume) for k in range(2)]
    np.testing.assert_allclose(found, [mean, 0.0], atol=2e-3)  # of the cells, as with a fixed β
    spread = (rho[0] * X[..., 1] ** 2).sum() * grid.cell_volume
    assert spread == pytest.approx(variance, abs=5e-3)


def integrated(equation, grid, start, times=TIMES):
    """u' = A(t) u + s(t), and resetting, by Radau's method; rates are those of the package."""
    problem = Problem(equation, grid, None, until=times[-1])

    def added(t):
        s = equation.source
        now = t if problem.forward else times[-1] - t
        return 0.0 if s is None else (s.at(now) if hasattr(s, "at") else s)(grid.centres)

    def slope(t, y):
        made, u = problem.generator(t), y.reshape(grid.shape)
        return ((made.forward(u) if problem.forward else made.backward(u)) + added(t)).ravel()

    def jacobian(t, y):
        made = problem.generator(t).matrix()
        return (made.T if problem.forward else made).tocsc()

    made = solve_ivp(
        slope, (0, times[-1]), start.ravel(), "Radau", times, rtol=1e-9, atol=1e-12, jac=jacobian
    )
    return made.y.T.reshape(-1, *grid.shape)


def size(equation, field):
    return np.abs(field).mean() if equation.carries_density else np.abs(field).max()


LINE, PLANE = pk.Grid(-2, 2, 40), pk.Grid((-2, -2), (2, 2), (12, 10))
SUPPLIED = {
    "a source that moves": dict(potential=WELL, beta=2.0, source=source),
    "beside killing": dict(potential=V, beta=2.0, source=source, killing=killing),
    "beta alone moves": dict(potential=WELL, beta=beta, source=lambda x: np.exp(x[..., 0])),
}


@pytest.mark.parametrize("kind", [pk.FokkerPlanck, pk.BackwardKolmogorov])
@pytest.mark.parametrize(
    ("name", "grid"), [*((name, LINE) for name in SUPPLIED), ("beside killing", PLANE)]
)
def test_what_is_supplied_while_coefficients_move(kind, name, grid):
    given = dict(SUPPLIED[name])
    if given["potential"] is WELL:
        given["potential"] = pk.potentials.DoubleWell(grid.dim)
    equation, start = kind(**given), np.zeros(grid.shape)
    solution = pk.solve(equation, grid, start, TIMES)
    exact = integrated(equation, grid, start)
    largest = max(size(equation, u) for u in exact)
    error = max(size(equation, u - v) for u, v in zip(solution.fields, exact, strict=True))
    assert error <= (1e-5 if grid.dim == 1 else 5e-5) * largest
    assert error <= 2 * solution.stats["error_estimate"] * largest
    assert solution.fields.min() >= 0


def wall_rates(kind, grid, equation, v, t):
    """What a wall on the left, held at v, adds to the cell beside it: B(∓Δ) at half a cell."""
    now = t if kind is pk.FokkerPlanck else T - t
    values, h = equation.potential.at(now)(grid.centres), grid.spacing[0]
    rise = equation.beta * (values[0] - values[1]) / 2  # to the wall, half a cell away
    way = rise if kind is pk.BackwardKolmogorov else -rise
    return v * 2 * way / np.expm1(way) / (equation.beta * h * h)


@pytest.mark.parametrize("kind", [pk.FokkerPlanck, pk.BackwardKolmogorov])
def test_walls_that_hold_a_value_while_coefficients_move(kind):
    walls = pk.Walls(pk.Held(1.5), pk.PartlyAbsorbing(0.7))
    equation, grid = kind(V, 2.0, walls=walls), LINE

    class AtWall:
        def at(self, now):
            t = now if kind is pk.FokkerPlanck else T - now
            first = np.zeros(grid.shape)
            first[0] = wall_rates(kind, grid, equation, 1.5, t)
            return lambda x: first

    exact = integrated(kind(V, 2.0, walls=walls, source=AtWall()), grid, np.zeros(40))
    found = pk.solve(equation, grid, np.zeros(40), TIMES)
    for u, v in zip(found.fields, exact, strict=True):
        assert size(equation, u - v) <= 1e-5 * max(size(equation, w) for w in exact)
    assert found.fields.min() >= 0


def test_an_influx_beside_a_moving_potential_is_counted():
    equation = pk.FokkerPlanck(V, 2.0, walls=pk.Walls(pk.Inflow(0.5), False))
    rho = pk.solve(equation, LINE, pk.Gaussian(0.0, 0.5), TIMES)
    np.testing.assert_allclose(LINE.integrate(rho.fields), 1 + 0.5 * np.array(TIMES), rtol=1e-9)
    plane = pk.FokkerPlanck(V, 2.0, walls=pk.Walls((pk.Inflow(0.5), False), False))
    rho = pk.solve(plane, PLANE, pk.Gaussian((0.0, 0.0), 0.6), 0.4)
    assert PLANE.integrate(rho.fields[0]) == pytest.approx(1 + 0.5 * 4 * 0.4, rel=1e-9)


@pytest.mark.parametrize("kind", [pk.FokkerPlanck, pk.BackwardKolmogorov])
def test_resetting_while_coefficients_move(kind):
    law, rate = pk.Gaussian(0.5, 0.3), 2.0
    at = Problem(pk.FokkerPlanck(WELL, 2.0), LINE, law).values
    plain = Problem(kind(V, beta), LINE, None, until=T)
    start = at[::-1].copy() if kind is pk.FokkerPlanck else np.tanh(LINE.axes[0])

    def slope(t, u):
        made = plain.generator(t)
        if kind is pk.FokkerPlanck:
            return made.forward(u) - rate * u + rate * at * u.sum() * LINE.cell_volume
        return made.backward(u) - rate * u + rate * (at @ u) * LINE.cell_volume

    exact = solve_ivp(slope, (0, T), start, "Radau", TIMES, rtol=1e-9, atol=1e-12).y.T
    found = pk.solve(kind(V, beta, resetting=pk.Resetting(rate, law)), LINE, start, TIMES)
    np.testing.assert_allclose(found.fields, exact, atol=1e-5 * np.abs(exact).max())
    assert found.times.tolist() == TIMES


def test_steps_are_of_order_four_with_a_small_constant():
    """With a supply, killing and β in time; where steps are short beside the jumps."""
    grid = pk.Grid(-2, 2, 12)
    equation = pk.FokkerPlanck(V, beta, source=source, killing=killing)
    start = np.exp(-(grid.axes[0] ** 2) / 2)
    problem, errors = Problem(equation, grid, start, until=1.0, scale=1.0), []
    exact = integrated(equation, grid, start, [0.5])[0]
    for count in (4, 8, 16):
        u, h = start, 0.5 / count
        for k in range(count):
            u, _ = exponential._magnus(problem, u, k * h, h, 1e-11)
        errors.append(np.abs(u - exact).max())
    assert errors[0] < 1.5e-5
    np.testing.assert_allclose(np.log2(errors[:-1]) - np.log2(errors[1:]), 4, atol=0.15)


@pytest.mark.parametrize("given", [(V, 2.0), (WELL, beta), (V, beta)], ids=["V", "beta", "both"])
def test_expectations_and_densities_are_dual(given):
    grid, times = pk.Grid(-3, 3, 120), np.linspace(0, T, 5)
    rho = pk.solve(pk.FokkerPlanck(*given), grid, pk.Gaussian(-0.5, 0.4), times).fields
    u = pk.solve(pk.BackwardKolmogorov(*given), grid, lambda x: np.tanh(x[..., 0]), times).fields
    pairs = grid.integrate(u[::-1] * rho)
    np.testing.assert_allclose(pairs, pairs[0], rtol=0, atol=1e-10)


def cost(x, t):
    """A running cost, not the same forwards and backwards."""
    return (1 + np.sin(5 * t)) * ((x - np.cos(3 * t)) ** 2).sum(-1)


@pytest.mark.parametrize(("grid", "bound"), [(LINE, 1e-7), (PLANE, 1e-4)])
def test_running_costs_are_read_at_the_time_of_the_motion(grid, bound):
    beta, x = 2.0, grid.centres
    potential = pk.potentials.DoubleWell(grid.dim)
    matrix = Problem(pk.BackwardKolmogorov(potential, beta), grid, None).generator().matrix()

    def minus(t):
        return matrix - sparse.diags(beta / 2 * cost(x, T - t).ravel())

    made = solve_ivp(
        lambda t, w: minus(t) @ w, (0, T), np.exp(-beta / 2 * np.tanh(x[..., 0])).ravel(), "Radau",
        TIMES, rtol=1e-9, atol=1e-12, jac=lambda t, w: minus(t).tocsc(),
    )  # fmt: skip
    exact = -2 / beta * np.log(made.y.T).reshape(-1, *grid.shape)
    equation = pk.HamiltonJacobiBellman(potential, beta, pk.InTime(cost))
    found = pk.solve(equation, grid, lambda x: np.tanh(x[..., 0]), TIMES)
    np.testing.assert_allclose(found.fields, exact, rtol=0, atol=bound)
    assert np.abs(found.fields - exact).max() <= 10 * found.stats["error_estimate"]


def by_radau(equation, grid, times):
    """The value function by its linear form, with the rates of the package at the right times."""
    beta, until = equation.beta, times[-1]
    problem = Problem(equation, grid, lambda x: np.tanh(x[..., 0]), until=until)

    def minus(s):
        ell = np.broadcast_to(problem.running_cost(s), grid.shape)
        return problem.generator(s).matrix() - sparse.diags(beta / 2 * ell.ravel())

    made = solve_ivp(
        lambda s, w: minus(s) @ w, (0, until), np.exp(-beta / 2 * problem.values).ravel(), "Radau",
        times, rtol=1e-9, atol=1e-12, jac=lambda s, w: minus(s).tocsc(),
    )  # fmt: skip
    return -2 / beta * np.log(made.y.T).reshape(-1, *grid.shape)


MOVING = [
    (LINE, None, pk.schemes.DoobTransform(1e-7), 1e-6),
    (LINE, pk.InTime(cost), pk.schemes.DoobTransform(1e-7), 1e-6),
    (pk.Grid((-2, -2), (2, 2), (8, 10)), None, pk.schemes.DoobTransform(1e-9, 1e-4), 1e-3),
]


@pytest.mark.parametrize(("grid", "running", "scheme", "bound"), MOVING)
def test_potentials_of_controlled_motion_are_read_at_the_time_of_the_motion(
    grid, running, scheme, bound, monkeypatch
):
    """And a planted fault, the time to go in place of the time, is seen."""
    equation, times = pk.HamiltonJacobiBellman(V, 2.0, running), [0.3, 0.8]
    exact = by_radau(equation, grid, times)
    ask = equation, grid, lambda x: np.tanh(x[..., 0]), times, scheme
    found = pk.solve(*ask)
    np.testing.assert_allclose(found.fields, exact, rtol=0, atol=bound)
    assert np.abs(found.fields - exact).max() <= 10 * found.stats["error_estimate"]
    monkeypatch.setattr(Problem, "motion_time", lambda self, t: t)
    assert np.abs(pk.solve(*ask).fields - exact).max() > 1e-2


def test_policies_follow_what_moves_with_order_two():
    """In dt, against Doob's transform on the same cells of another form: to h²; and in the end."""
    grid, times = pk.Grid(-3, 3, 100), [1.0]
    equation = pk.HamiltonJacobiBellman(V, 2.0, pk.InTime(cost))
    solved = [
        pk.solve(equation, grid, lambda x: np.tanh(x[..., 0]), times,
                 pk.schemes.PolicyIteration(dt)) for dt in (0.0625, 0.03125, 0.0078125)
    ]  # fmt: skip
    errors = [np.abs(u.fields - solved[-1].fields)[0, 10:-10].max() for u in solved[:-1]]
    assert errors[0] < 0.02 and 3.5 < errors[0] / errors[1] < 4.5
    assert all(e < max(u.stats["step_errors"]) for e, u in zip(errors, solved, strict=False))
    exact = by_radau(equation, grid, times)
    assert np.abs(solved[-1].fields - exact)[0, 10:-10].max() < 0.02


def test_a_moving_parabola_has_its_riccati_equation():
    """u = P x²/2 + R, P' = q - 2 a P - P², R' = P / β, all at the time of the motion; order h²."""
    a, q, g, until = lambda t: 1 + 0.8 * np.sin(4 * t), lambda t: 1 + np.cos(3 * t), 3.0, 0.6
    P, R = solve_ivp(
        lambda s, y: [q(until - s) - 2 * a(until - s) * y[0] - y[0] ** 2, y[0] / 2.0],
        (0, until), [g, 0.0], rtol=1e-10, atol=1e-12,
    ).y[:, -1]  # fmt: skip
    equation = pk.HamiltonJacobiBellman(
        pk.InTime(lambda x, t: a(t) * (x**2).sum(-1) / 2), 2.0,
        pk.InTime(lambda x, t: q(t) * (x**2).sum(-1) / 2),
    )  # fmt: skip
    for scheme, bound in (
        (pk.schemes.DoobTransform(1e-6), 6.0),
        (pk.schemes.PolicyIteration(), 12.0),
    ):
        errors = []
        for n in (50, 100):
            grid = pk.Grid(-4, 4, n)
            u = pk.solve(equation, grid, lambda x: g * (x**2).sum(-1) / 2, until, scheme)
            x = grid.axes[0]
            off = np.abs(u.fields[0] - P * x**2 / 2 - R)[np.abs(x) < 1.5].max()
            errors.append(off / grid.spacing[0] ** 2)
        assert max(errors) < bound


def test_stopping_under_a_potential_that_moves_is_control_where_nobody_stops():
    grid, never = pk.Grid(-3, 3, 60), lambda x: 0 * x[..., 0] - 10
    start, times = lambda x: np.tanh(x[..., 0]), [0.3, 1.0]
    free = pk.solve(pk.HamiltonJacobiBellman(V, 2.0), grid, start, times)
    stopped = pk.solve(pk.HamiltonJacobiBellman(V, 2.0, obstacle=never), grid, start, times)
    np.testing.assert_allclose(stopped.fields[:, 6:-6], free.fields[:, 6:-6], atol=5e-3)


def test_langevin_with_a_schedule_is_annealed_langevin_and_knows_its_law():
    how, box = StochasticHeun(), pk.Grid(-3, 3, 100)
    one, other = pk.Langevin(WELL, beta, how, box), pk.AnnealedLangevin(WELL, beta, how, box)
    X, Y = (pk.simulate(d, START, 10_000, [0.1, 0.7], 0.02, seed=3) for d in (one, other))
    assert np.array_equal(X.x, Y.x)
    assert one.law() == other.law() == pk.FokkerPlanck(WELL, beta)
    rho = pk.solve(one.law(), box, START, [0.1, 0.7])
    assert pk.compare(rho, X).consistent()
    warm = pk.solve(pk.FokkerPlanck(WELL, 1.0), box, START, [0.1, 0.7])
    assert not pk.compare(warm, X).consistent()


def test_particles_survive_walls_under_a_schedule():
    walls, box = pk.Walls(True, False), pk.Grid(-1.5, 2, 200)
    dynamics = pk.Langevin(WELL, beta, StochasticHeun(), box, walls)
    X = pk.simulate(dynamics, START, 40_000, [0.5, 1.0], 0.01)
    rho = pk.solve(dynamics.law(), box, START, [0.5, 1.0])
    share = np.array(rho.stats["survival"])
    np.testing.assert_allclose(X.alive, share, atol=4 * np.sqrt(0.25 / 40_000) + 2e-3)


GRID = pk.Grid(-3, 3, 60)
NEED_ONE = {
    "stationary": lambda e: pk.stationary(e, GRID),
    "spectral_gap": lambda e: pk.spectral_gap(e, GRID),
    "slow_modes": lambda e: pk.slow_modes(e, GRID),
    "committor": lambda e: pk.committor(e, GRID, -1, 1),
    "free_energy": lambda e: pk.free_energy(pk.solve(e, GRID, START, 0.1)),
    "dissipation": lambda e: pk.dissipation(pk.solve(e, GRID, START, 0.1)),
    "detailed_balance": lambda e: pk.detailed_balance(e, GRID),
    "Implicit": lambda e: pk.solve(e, GRID, START, 0.1, pk.schemes.Implicit(0.01)),
    "Krylov": lambda e: pk.solve(e, GRID, START, 0.1, pk.schemes.Krylov()),
    "Heat": lambda e: pk.Heat(e.beta),
    "ViscousHJ": lambda e: pk.ViscousHJ(e.beta),
    "HamiltonJacobiBellman": lambda e: pk.HamiltonJacobiBellman(WELL, e.beta),
    "McKeanVlasov": lambda e: pk.McKeanVlasov(WELL, e.beta, pk.CurieWeiss(1.0)),
    "UnderdampedLangevin": lambda e: pk.UnderdampedLangevin(WELL, e.beta, 1.0),
    "local_entropy": lambda e: pk.local_entropy(WELL, 0.1, e.beta, GRID),
    "control": lambda e: pk.control(WELL, e.beta, GRID, START, WELL, 1.0),
}


@pytest.mark.parametrize("name", NEED_ONE)
def test_what_needs_one_beta_says_so(name):
    with pytest.raises((TypeError, ValueError), match=r"chang\w* in time|fixed in time"):
        NEED_ONE[name](pk.FokkerPlanck(WELL, beta))


def test_certificates_that_need_one_beta_do_not_apply():
    X = pk.simulate(pk.Langevin(pk.potentials.Quadratic(), beta), START, 100, [0.1, 0.2], 0.01)
    assert "one temperature" in str(pk.certify(X))
    rho = pk.solve(pk.FokkerPlanck(WELL, beta), GRID, START, [0.1, 0.2])
    assert "the coefficients change in time" in str(pk.certify(rho))


NOT_BETAS = {
    "negative": (lambda t: 1 - t, ValueError, r"at t = .*positive and finite"),
    "not a number": (lambda t: np.nan if t > 0.5 else 1.0, ValueError, r"at t = .*got nan"),
    "zero": (lambda t: 0.0, ValueError, r"at t = 0 .*got 0"),
    "infinite": (lambda t: np.inf if t > 0.5 else 1.0, ValueError, r"at t = .*got inf"),
    "several": (lambda t: [1.0, 2.0], TypeError, r"at t = 0 .*got \[1"),
    "text": (lambda t: "a", TypeError, "at t = 0 .*got 'a'"),
    "failing": (lambda t: 1 / (2 - t), ValueError, "at t = 2: .*ZeroDivision"),
    "no argument": (lambda: 1.0, TypeError, "a function of time"),
    "of place": (pk.InTime(lambda x, t: x), TypeError, "inverse temperature"),
}


@pytest.mark.parametrize("name", NOT_BETAS)
def test_bad_schedules_are_refused_with_their_time(name):
    schedule, error, message = NOT_BETAS[name]
    with pytest.raises(error, match=message):
        pk.solve(pk.FokkerPlanck(WELL, schedule), GRID, START, 2.0)
    with pytest.raises(error, match=message):
        pk.simulate(pk.Langevin(WELL, schedule), START, 10, 2.0, 0.01)


REFUSED = {
    "a source below zero": (
        pk.FokkerPlanck(V, 2.0, source=pk.InTime(lambda x, t: np.sin(t) + 0 * x[..., 0])),
        "must be >= 0 everywhere",
    ),
    "growth": (
        pk.FokkerPlanck(V, 2.0, source=1.0, killing=pk.InTime(lambda x, t: -t + 0 * x[..., 0])),
        "which is growth",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_supplies_that_cannot_be_are_refused(name):
    equation, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        pk.solve(equation, GRID, START, 5.0)


@pytest.mark.parametrize("scheme", [pk.schemes.Godunov(), pk.schemes.Filtered()])
def test_other_schemes_refuse_what_moves(scheme):
    for equation in (
        pk.HamiltonJacobiBellman(WELL, 2.0, pk.InTime(cost)),
        pk.HamiltonJacobiBellman(V, 2.0),
    ):
        with pytest.raises(ValueError, match="use the default scheme"):
            pk.solve(equation, GRID, WELL, 1.0, scheme)
    with pytest.raises(TypeError, match="running_cost must be fixed in time"):
        pk.control(WELL, 2.0, GRID, START, WELL, 1.0, running_cost=pk.InTime(cost))


def test_a_fixed_beta_is_what_a_constant_one_in_time_is():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, moving = (
            pk.solve(pk.FokkerPlanck(WELL, b), GRID, START, TIMES).fields
            for b in (4.0, lambda t: 4.0)
        )
    np.testing.assert_allclose(moving, plain, atol=1e-9)
