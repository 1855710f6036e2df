"""Random control problems and games against Riccati and moment equations, and stored times."""

import warnings
from typing import Any

import numpy as np
import pytest
from bellman_oracles import riccati
from scipy.integrate import solve_ivp
from test_truth_bellman import free_of_walls
from truth import Random, Row, Trial, log_uniform, noticed, pick

import pdekit as pk

s = pk.schemes


def stored(rng: Random, horizon: float) -> Any:
    """Few or many times, even or not, or the horizon alone."""
    some = np.sort(rng.uniform(0.05, 0.95, int(rng.integers(1, 4)))) * horizon
    return pick(rng, horizon, [horizon], np.append(some, horizon), np.linspace(0, horizon, 41))


def moments(
    sol: Any, a: float, beta: float, horizon: float, start: tuple[float, float], ends: Any
) -> Any:
    """Mean, variance, ∫ E|α|^2/2 and ∫ E x^2 at ``ends`` under α = P x + S."""

    def rate(t: float, y: Any) -> list[float]:
        P, S, _ = sol(horizon - t)
        m, v = y[0], y[1]
        effort = (P * P * (v + m * m) + 2 * P * S * m + S * S) / 2
        return [-(a + P) * m - S, -2 * (a + P) * v + 2 / beta, effort, m * m + v]

    start_at = [start[0], start[1], 0.0, 0.0]
    return solve_ivp(rate, (0, horizon), start_at, "LSODA", t_eval=ends, rtol=1e-9, atol=1e-12).y


def random_control(rng: Random) -> Trial:
    """Linear-quadratic control: value, mean, spread, effort and improvement, whatever is stored."""
    a, g = pick(rng, -1, 1, 1) * log_uniform(rng, 1e-2, 5), log_uniform(rng, 1e-2, 300)
    q, centre = pick(rng, 0.0, log_uniform(rng, 0.1, 20)), rng.uniform(-0.5, 0.5)
    beta = log_uniform(rng, 0.5, 100)
    horizon = pick(rng, *[log_uniform(rng, 0.05, 2)] * 4, log_uniform(rng, 1e-12, 0.05))
    m, spread = rng.uniform(-0.8, 0.8), log_uniform(rng, pick(rng, 1e-6, 0.15, 0.15), 0.5)
    n, half = int(log_uniform(rng, 60, 501)), 5.0
    times, grid = stored(rng, horizon), pk.Grid(-half, half, n)
    scheme = pick(rng, None, None, s.DoobTransform(), s.PolicyIteration(horizon / 100),
                  s.PolicyIteration(horizon / 100, 1), s.Godunov(), s.Filtered())  # fmt: skip
    x, h = grid.axes[0], grid.spacing[0]

    def call() -> Any:
        return asked(
            pk.potentials.Quadratic(a), beta, grid, pk.Gaussian(m, spread),
            lambda y: g * (y[..., 0] - centre) ** 2 / 2, times,
            pk.potentials.Quadratic(q) if q else None, scheme=scheme,
        )  # fmt: skip

    def judge(found: Any) -> tuple[float, float]:
        sol = riccati(a, q, g, centre, beta, horizon)
        if abs(m) + 4 * spread > free_of_walls(a, q, g, centre, beta, horizon, half):
            return 0.0, 0.0
        mean, variance, effort, square = moments(
            sol, a, beta, horizon, (m, spread**2), [0.0, horizon]
        )[:, -1]
        rho = found.density.fields[-1]
        mu = float((rho * x).sum() * h)
        var = float((rho * (x - mu) ** 2).sum() * h)
        P, S, R = sol(horizon)
        least = P * (m * m + spread**2) / 2 + S * m + R
        cost = g * ((mean - centre) ** 2 + variance) / 2 + q * square / 2
        rim = n // 10
        above = float(found.value.fields[0][rim:-rim].max())
        sizes = [  # error over what is tolerated
            abs(found.optimum - least) / (0.01 * above),
            abs(mu - mean) / (0.05 * (abs(m) + spread + np.sqrt(variance)) + h / 2 * (spread < h)),
            abs(var - variance) / (0.1 * variance + h * h / 3),
            abs(found.effort - effort) / (0.02 * (effort + cost) + 1e-3 * above),
            -found.improvement.gap / (0.02 * above),
            abs(float(found.density.fields.sum(1).max()) * h - 1) / 1e-9,
        ]
        return float(np.max(sizes)), 1.0

    what = (f"a={a:.4g} g={g:.4g} q={q:.4g} c={centre:.3g} beta={beta:.4g} T={horizon:.4g} "
            f"m={m:.3g} s={spread:.3g} {n} {times} {scheme}")  # fmt: skip
    return Trial(what, call, judge)


def asked(*args: Any, **options: Any) -> Any:
    """A control whose certificate was asked for."""
    found = pk.control(*args, **options)
    assert found.improvement is found.improvement
    return found


def random_sampled(rng: Random) -> Trial:
    """The improvement theorem on particles against the moments of linear-quadratic control."""
    a, g, q = rng.uniform(0, 1.5), log_uniform(rng, 0.1, 5), pick(rng, 0.0, rng.uniform(0.1, 2))
    centre, beta = rng.uniform(-0.5, 0.5), log_uniform(rng, 1, 50)
    horizon, m, spread = log_uniform(rng, 0.05, 1), rng.uniform(-0.8, 0.8), rng.uniform(0.1, 0.5)
    times, n, seed = stored(rng, horizon), int(log_uniform(rng, 300, 3000)), int(rng.integers(1000))
    grid, rate = pk.Grid(-5, 5, 400), a + g + q + 1
    dt = 0.02 / rate

    def call() -> Any:
        found = pk.control(
            pk.potentials.Quadratic(a), beta, grid, pk.Gaussian(m, spread),
            lambda y: g * (y[..., 0] - centre) ** 2 / 2, times,
            pk.potentials.Quadratic(q) if q else None,
        )  # fmt: skip
        return pk.improvement(found, pk.Gaussian(m, spread), n, dt, seed)

    def judge(found: Any) -> tuple[float, float]:
        sol = riccati(a, q, g, centre, beta, horizon)
        start, ends = (m, spread**2), [0.0, horizon]
        if abs(m) + 4 * spread > free_of_walls(a, q, g, centre, beta, horizon, 5.0):
            return 0.0, 0.0
        mean, variance, effort, square = moments(sol, a, beta, horizon, start, ends)[:, -1]
        idle = moments(lambda _: (0.0, 0.0, 0.0), a, beta, horizon, start, ends)[:, -1]
        controlled = g * ((mean - centre) ** 2 + variance) / 2 + q * square / 2
        plain = g * ((idle[0] - centre) ** 2 + idle[1]) / 2 + q * idle[3] / 2
        gap = plain - controlled - effort
        right = {"plain": plain, "controlled": controlled, "effort": effort, "gap": gap,
                 "exact": gap, "difference": 0.0}  # fmt: skip
        sizes = []
        for name, value in right.items():
            said = getattr(found, name)
            error = (said.upper - said.lower) / 2 / 2.576
            sizes.append(abs(said.value - value) / (6 * error + 0.02 * (plain + effort)))
        return float(np.max(sizes)), 1.0

    what = (f"a={a:.4g} g={g:.4g} q={q:.4g} c={centre:.3g} beta={beta:.4g} T={horizon:.4g} "
            f"m={m:.3g} s={spread:.3g} n={n} seed={seed} {times}")  # fmt: skip
    return Trial(what, call, judge)


def random_stored(rng: Random) -> Trial:
    """Rippled landscapes and costs: the horizon alone and three times give the same density."""
    beta, horizon = log_uniform(rng, 0.3, 30), log_uniform(rng, 0.02, 2)
    n, size = int(log_uniform(rng, 40, 200)), log_uniform(rng, 0.1, 30) * np.ones(2)
    grid = pk.Grid(0, 2 * np.pi, n, periodic=bool(rng.random() < 0.5))
    phases, middle = rng.uniform(0, 6, 3), np.sort(rng.uniform(0.1, 0.9, 2)) * horizon
    scheme = pick(rng, None, s.PolicyIteration(horizon / 60), s.Godunov())

    def wave(k: int, amplitude: float) -> Any:
        return lambda x: amplitude * np.cos(x[..., 0] + phases[k])

    def call() -> Any:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = [
                asked(wave(0, 1.0), beta, grid, lambda x: 1.2 + np.cos(x[..., 0] + phases[1]),
                           wave(2, size[0]), t, scheme=scheme)
                for t in ([horizon], [*middle, horizon])
            ]  # fmt: skip
        for one in said:
            if not issubclass(one.category, pk.TruncationWarning | pk.ResolutionWarning):
                warnings.warn(one.message, one.category, stacklevel=2)
        return found

    def judge(found: Any) -> tuple[float, float]:
        one, two = found
        mass = float(one.density.fields[0].sum())
        apart = float(np.abs(one.density.fields[-1] - two.density.fields[-1]).sum()) / mass
        cost = abs(one.effort - two.effort) / (abs(one.optimum) + np.ptp(one.terminal_cost))
        gap = abs(one.improvement.exact - two.improvement.exact)
        return max(apart, cost, gap / (one.improvement.plain + np.ptp(one.terminal_cost))), 0.03

    what = f"{grid} beta={beta:.4g} T={horizon:.4g} size {size[0]:.3g} middle {middle} {scheme}"
    return Trial(what, call, judge)


def random_game(rng: Random) -> Trial:
    """The linear-quadratic mean-field game by its ordinary differential equations."""
    a, q, g = rng.uniform(-0.5, 2), log_uniform(rng, 0.1, 10), log_uniform(rng, 0.1, 10)
    kappa, last = rng.uniform(-0.5, 0.9), rng.uniform(-0.5, 0.9)
    beta, horizon = log_uniform(rng, 1, 20), log_uniform(rng, 0.1, 1.5)
    m, spread = rng.uniform(-1, 1), rng.uniform(0.3, 0.5)
    steps, n = int(log_uniform(rng, 1, 80)), int(log_uniform(rng, 80, 250))
    solver = pick(rng, None, None, pk.FixedPoint(), pk.FictitiousPlay(tolerance=1e-3))
    scheme = pick(rng, None, None, None, s.PolicyIteration(horizon / 40))
    # hundreds of rounds at a single time cost ten seconds; Newton's method is asked for them
    steps = max(steps, 4) if solver else steps
    grid, times = pk.Grid(-5, 5, n), np.linspace(0, horizon, steps + 1)[1:]
    x, h = grid.axes[0], grid.spacing[0]

    def call() -> Any:
        return pk.control(
            pk.potentials.Quadratic(a), beta, grid, pk.Gaussian(m, spread),
            lambda y: 0 * y[..., 0], times, coupling=pk.MeanTracking(q, kappa),
            terminal_coupling=pk.MeanTracking(g, last), scheme=scheme, solver=solver,
        )  # fmt: skip

    def back(_: float, y: Any) -> list[float]:
        P, Pi = y
        return [-2 * a * P - P * P + q, -2 * a * Pi - Pi * Pi + q * (1 - kappa)]

    def judge(found: Any) -> tuple[float, float]:
        sol = solve_ivp(back, (0, horizon), [g, g * (1 - last)], "LSODA", rtol=1e-9, atol=1e-12,
                        dense_output=True).sol  # fmt: skip

        def forth(t: float, y: Any) -> list[float]:
            P, Pi = sol(horizon - t)
            return [-(a + Pi) * y[0], -2 * (a + P) * y[1] + 2 / beta]

        mean, variance = solve_ivp(forth, (0, horizon), [m, spread**2], "LSODA", rtol=1e-9,
                                   atol=1e-12).y[:, -1]  # fmt: skip
        P, Pi = sol(horizon)
        rho, u = found.density.fields[-1], found.value.fields[0]
        mu = float((rho * x).sum() * h)
        var = float((rho * (x - mu) ** 2).sum() * h)
        near = np.abs(x - m) < 2 * spread
        exact = P * x**2 / 2 + (Pi - P) * m * x
        bent = (u - exact)[near]
        wide = float(np.ptp(exact[near])) + float(np.ptp(u[near]))
        said = found.residuals["cell_error"] + found.residuals["time_error"]
        sizes = [np.ptp(bent) / (2 * said + 2e-3 * wide),
                 abs(mu - mean) / (0.03 * (abs(m) + spread)), abs(var - variance)
                 / (0.15 * variance + h * h / 3), np.ptp(bent) / (0.05 * wide + 1e-9),
                 found.residuals["fixed_point"] / 2e-3]  # fmt: skip
        return float(np.max(sizes)), 1.0

    what = (
        f"a={a:.4g} q={q:.4g} g={g:.4g} kappa={kappa:.3g} {last:.3g} beta={beta:.4g} "
        f"T={horizon:.4g} m={m:.3g} s={spread:.3g} {n} cells {steps} {scheme} {solver}"
    )
    return Trial(what, call, judge)


ADVICE = {  # what messages say to try, as changes of the call
    "refine the grid": lambda o: o | {"grid": finer(o["grid"])},
    "ask for more times": lambda o: o | {"t": np.linspace(0, o["t"][-1], 8 * len(o["t"]))},
    "PolicyIteration()": lambda o: o | {"scheme": s.PolicyIteration()},
    "solver=Newton()": lambda o: o | {"solver": pk.Newton()},
    "raise rounds=": lambda o: o | {"solver": pk.Newton(rounds=400)},
    "order=1": lambda o: o | {"scheme": s.PolicyIteration(order=1)},
}


def finer(grid: pk.Grid) -> pk.Grid:
    """Four times as many cells."""
    return pk.Grid(grid.lower, grid.upper, 4 * grid.cells[0], periodic=grid.periodic)


def random_advice(rng: Random) -> Trial:
    """Steep games and controls: of what a refusal says to try something works, in two steps."""
    a, beta = rng.uniform(-0.5, 3), log_uniform(rng, 1, 1000)
    q, g, horizon = log_uniform(rng, 0.1, 300), log_uniform(rng, 0.1, 300), log_uniform(rng, 0.1, 2)
    steps, n = int(log_uniform(rng, 1, 16)), int(log_uniform(rng, 40, 160))
    crowd = pick(rng, None, pk.MeanTracking(q, 0.5), pk.Congestion(q / 10))
    solver = None if crowd is None else pick(rng, None, None, pk.FixedPoint(rounds=20))
    options = {"grid": pk.Grid(-4, 4, n), "t": np.linspace(0, horizon, steps + 1)[1:],
               "scheme": pick(rng, None, s.PolicyIteration(horizon / 10)), "coupling": crowd,
               "solver": solver}  # fmt: skip

    def play(options: Any) -> Any:
        return pk.control(
            pk.potentials.Quadratic(a), beta, initial=pk.Gaussian(0.5, 0.4),
            terminal_cost=lambda y: g * y[..., 0] ** 2 / 2, **options,
        )  # fmt: skip

    def call() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return play(options)
            except pk.ConvergenceError as error:
                return next((f for f in map(tried, advised(options, str(error))) if f), str(error))

    def advised(options: Any, said: str) -> list[Any]:
        changes = [change(options) for words, change in ADVICE.items() if words in said]
        together = options
        for words, change in ADVICE.items():
            together = change(together) if words in said else together
        return [*changes, together]

    def tried(options: Any, more: bool = True) -> Any:
        try:
            return play(options)
        except pk.ConvergenceError as error:  # which may have advice of its own, once
            return tried(advised(options, str(error))[-1], False) if more else None

    def judge(found: Any) -> tuple[float, float]:
        return (1.0, 0.0) if isinstance(found, str) else (0.0, 0.0)

    return Trial(f"a={a:.4g} beta={beta:.4g} q={q:.4g} g={g:.4g} {options}", call, judge)


ROWS = [
    Row("linear-quadratic control", ("control", "Control", "DoobTransform", "PolicyIteration",
                                     "Godunov", "Filtered"), random_control, 0.2, cost=8),
    Row("the improvement theorem on particles", ("improvement", "ControlledLangevin"),
        random_sampled, answered=0.7, cost=30),
    Row("advice", ("control", "Newton", "FixedPoint", "Congestion"), random_advice, cost=30),
    Row("stored times", ("control", "Control"), random_stored, answered=0.6, cost=8),
    Row("linear-quadratic games", ("control", "Newton", "FixedPoint", "FictitiousPlay",
                                   "MeanTracking"), random_game, answered=0.3, cost=6),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row: Row, truth: Any) -> None:
    truth(row)


@pytest.mark.parametrize(
    ("part", "fault", "draw"),
    [("optimum", lambda right: 1.3 * right, 1), ("effort", lambda right: 0.6 * right, 17)],
)
def test_a_planted_fault_is_noticed(
    part: str, fault: Any, draw: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the first draw that does: of twenty draws five notice the one, one the other."""
    right = getattr(pk.Control, part).fget
    monkeypatch.setattr(pk.Control, part, property(lambda self: fault(right(self))))
    assert noticed(ROWS[0], 1, range(draw, draw + 1))
