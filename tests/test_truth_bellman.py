"""Random Hamilton-Jacobi-Bellman problems against answers that share no code with the schemes."""

import warnings
from typing import Any

import numpy as np
import pytest
from bellman_oracles import chain_value, free_value, riccati
from scipy.integrate import solve_ivp
from truth import Random, Row, Trial, log_uniform, pick

import pdekit as pk

s = pk.schemes
SPOKEN_OF = 0.05  # of what a value has above its least: errors beyond it come with a warning


def random_chain(rng: Random) -> Trial:
    """Any steepness on a few cells: the default is exact for the chain of the grid."""
    n, length = int(rng.integers(4, 33)), log_uniform(rng, 0.1, 20)
    ring, beta = bool(rng.random() < 0.3), log_uniform(rng, 1e-10, 1e4)
    t, many, rtol = log_uniform(rng, 1e-6, 30), pick(rng, 1, 1, 1, 4), pick(rng, 1e-9, 1e-9, 1e-6)
    grid = pk.Grid(0, length, n, periodic=ring)
    x, h = grid.axes[0], length / n
    sizes = [log_uniform(rng, 1e-3, 1e3) / pick(rng, beta, beta, 1.0) for _ in range(3)]
    V, g, running = (
        a * np.cos(2 * np.pi * k * x / length + phase)
        for a, k, phase in zip(sizes, rng.integers(1, 4, 3), rng.uniform(0, 6, 3), strict=True)
    )
    V, running = V * (rng.random() < 0.7), running * (rng.random() < 0.4)
    ranges = float(np.ptp(g)) + t * float(np.ptp(running))
    scale = max(float(np.ptp(g)), min(1 / beta, ranges))

    def call() -> Any:
        cost = table(running, x) if running.any() else None
        equation = pk.HamiltonJacobiBellman(table(V, x), beta, cost)
        times = np.linspace(0, t, many + 1)[1:]
        with warnings.catch_warnings():  # that cells are coarse is no excuse here
            warnings.simplefilter("ignore", pk.ResolutionWarning)
            return pk.solve(equation, grid, g, times, s.DoobTransform(rtol=rtol))

    def judge(found: Any) -> tuple[float, float]:
        exact = chain_value(V, g, running, beta, h, ring, t)
        error = float(np.abs(found.fields[-1] - exact).max()) / scale
        return error, found.stats["error_estimate"] + 1e-8

    what = f"{grid}, beta={beta:.4g}, t={t:.4g}, sizes {sizes}, running {running.any()}"
    return Trial(what, call, judge)


def table(values: Any, x: Any) -> Any:
    """A function that goes through the values at the cells."""
    return lambda y: np.interp(y[..., 0], x, values)


def scheme_of(rng: Random, t: float) -> Any:
    """Every scheme of the equation on a line, with sensible and with foolish steps."""
    dt = t / int(log_uniform(rng, 1, 60))
    return pick(rng, None, None, s.DoobTransform(), s.PolicyIteration(dt), s.PolicyIteration(dt, 1),
                s.Filtered(), s.Godunov())  # fmt: skip


def error_of(found: Any, exact: Any, near: Any, least: float) -> tuple[float, float]:
    """The largest error over ``near``, and what goes without a word."""
    u = found.fields[-1]
    rim = max(1, len(u) // 10)
    promised = SPOKEN_OF * (float(u[rim:-rim].max()) - least) + steps_error(found)
    return float(np.abs(u - exact)[near].max()), promised


def steps_error(found: Any) -> float:
    """What the answer says that its steps err by."""
    return float(found.stats.get("step_errors", [0.0])[-1])


def random_quadratic(rng: Random) -> Trial:
    """V = a x^2 / 2, any sign; costs g (x - c)^2 / 2 and q x^2 / 2: by the Riccati equation."""
    a, g = pick(rng, -1, 1, 1) * log_uniform(rng, 1e-2, 10), log_uniform(rng, 1e-3, 1e4)
    q, centre = pick(rng, 0.0, log_uniform(rng, 1e-2, 100)), pick(rng, 0.0, rng.uniform(-1, 1))
    beta, t = log_uniform(rng, 1e-1, 1e4), log_uniform(rng, 1e-4, 2)
    n, half = int(log_uniform(rng, 20, 401)), 5.0
    scheme, grid = scheme_of(rng, t), pk.Grid(-half, half, n)
    x = grid.axes[0]

    def call() -> Any:
        equation = pk.HamiltonJacobiBellman(
            pk.potentials.Quadratic(a), beta, pk.potentials.Quadratic(q) if q else None
        )
        return pk.solve(equation, grid, lambda y: g * (y[..., 0] - centre) ** 2 / 2, t, scheme)

    def judge(found: Any) -> tuple[float, float]:
        P, S, R = riccati(a, q, g, centre, beta, t)(t)
        near = np.abs(x) < free_of_walls(a, q, g, centre, beta, t, half)
        if not near.any():
            return 0.0, 0.0
        exact = P * x**2 / 2 + S * x + R
        return error_of(found, exact, near, 0.0)

    what = f"a={a:.4g} g={g:.4g} q={q:.4g} c={centre:.3g} beta={beta:.4g} t={t:.4g} {n} {scheme}"
    return Trial(what, call, judge)


def random_moving(rng: Random) -> Trial:
    """V = a(t) x^2 / 2, cost q(t) x^2 / 2, any rhythm: the Riccati equation at t = T - s."""
    a, q, g = (log_uniform(rng, 0.03, 3) for _ in range(3))
    beta, t, half = log_uniform(rng, 0.3, 30), log_uniform(rng, 0.03, 2), 5.0
    (b, c), phases = rng.uniform(-0.9, 0.9, 2), rng.uniform(0, 6, 2)
    rhythm = log_uniform(rng, 0.3, 20) / t
    curve = lambda time: a * (1 + b * np.sin(rhythm * time + phases[0]))  # noqa: E731
    price = lambda time: q * (1 + c * np.sin(rhythm * time + phases[1]))  # noqa: E731
    n, scheme = (
        int(log_uniform(rng, 20, 150)),
        pick(rng, s.DoobTransform(1e-7), s.PolicyIteration(t / 40), s.PolicyIteration(t / 7, 1)),
    )
    grid = pk.Grid(-half, half, n)
    P, R = solve_ivp(
        lambda r, y: [price(t - r) - 2 * curve(t - r) * y[0] - y[0] ** 2, y[0] / beta],
        (0, t), [g, 0.0], rtol=1e-10, atol=1e-12,
    ).y[:, -1]  # fmt: skip
    spread = min(2 * t / beta, 1 / (a * (1 - abs(b)) * beta)) ** 0.5

    def call() -> Any:
        equation = pk.HamiltonJacobiBellman(
            pk.InTime(lambda y, time: curve(time) * y[..., 0] ** 2 / 2), beta,
            pk.InTime(lambda y, time: price(time) * y[..., 0] ** 2 / 2),
        )  # fmt: skip
        return pk.solve(equation, grid, lambda y: g * y[..., 0] ** 2 / 2, t, scheme)

    def judge(found: Any) -> tuple[float, float]:
        x = grid.axes[0]
        near = np.abs(x) < min(half - 6 * spread, 0.8 * half)
        if not near.any():
            return 0.0, 0.0
        return error_of(found, P * x**2 / 2 + R, near, 0.0)

    what = f"a={a:.4g} ({b:.2g}) q={q:.4g} ({c:.2g}) g={g:.4g} beta={beta:.4g} t={t:.4g} {n}"
    return Trial(f"{what} rhythm {rhythm:.3g} {scheme}", call, judge)


def free_of_walls(
    a: float, q: float, g: float, centre: float, beta: float, t: float, half: float
) -> float:
    """|x| from where the controlled motion keeps six standard deviations from the walls."""
    sol, steps = riccati(a, q, g, centre, beta, t), 200
    factor, shift, variance, reach = 1.0, 0.0, 0.0, half
    for k in range(steps):
        P, S, _ = sol(t * (1 - (k + 0.5) / steps))
        rate, step = a + P, t / steps
        decay = np.exp(-rate * step)
        moved = -np.expm1(-rate * step) / rate if rate else step
        factor, shift = factor * decay, shift * decay - S * moved
        variance = variance * decay**2 + 2 / beta * step * (1 + decay**2) / 2
        margin = half - 6 * np.sqrt(variance) - abs(shift)
        reach = min(reach, margin / factor)
    return min(float(reach), 0.8 * half)


def random_cost(rng: Random, box: tuple[float, float], beta: float) -> tuple[Any, str]:
    """A cost with waves, kinks, steps, wells narrower than the box, any size."""
    lower, upper = box
    width, size = upper - lower, log_uniform(rng, 1e-3, 1e3) * pick(rng, 1.0, 1 / beta)
    kind, k = pick(rng, "waves", "kink", "well", "rippled", "step"), int(log_uniform(rng, 1, 12))
    at, narrow = rng.uniform(lower, upper), width * log_uniform(rng, 0.01, 0.3)
    w = 2 * np.pi / width

    def cost(x: Any) -> Any:
        if kind == "waves":
            return size * np.cos(k * w * (x - at))
        if kind == "kink":
            return size * np.abs(np.sin(w / 2 * (x - at)))
        if kind == "step":
            return size * (np.cos(w * (x - at)) > np.cos(min(narrow * k, width / 2) * w / 2))
        if kind == "well":
            return -size * np.exp(-((np.sin(w / 2 * (x - at)) * width / np.pi / narrow) ** 2))
        return size * (np.cos(w * (x - at)) + 0.2 * np.cos(k * w * x))

    return cost, f"{kind} size {size:.3g} k={k} at {at:.3g} narrow {narrow:.3g}"


def random_free(rng: Random) -> Trial:
    """V = 0 between walls or on a ring, by quadrature with images."""
    length, beta = log_uniform(rng, 0.5, 20), log_uniform(rng, 1e-4, 1e4)
    box, ring = (-length / 2, length / 2), bool(rng.random() < 0.5)
    t = length**2 * pick(rng, log_uniform(rng, 1e-5, 1), log_uniform(rng, 1e-5, 1) * beta)
    t = float(np.clip(t, 1e-6, 1e3))
    n, scheme = int(log_uniform(rng, 8, 401)), scheme_of(rng, t)
    cost, said = random_cost(rng, box, beta)
    grid = pk.Grid(*box, n, periodic=ring)
    x = grid.axes[0]

    def call() -> Any:
        equation = pk.HamiltonJacobiBellman(pk.potentials.Quadratic(0.0), beta)
        return pk.solve(equation, grid, lambda y: cost(y[..., 0]), t, scheme)

    def judge(found: Any) -> tuple[float, float]:
        rim = 0 if ring else max(1, n // 10)
        some = np.unique(np.linspace(rim, n - 1 - rim, 20).astype(int))
        jump = np.abs(np.diff(cost(x))).argmax()  # steps may be wrong beside them alone
        beside = np.arange(jump - 3, jump + 4)
        some = np.union1d(some, beside[(rim <= beside) & (beside < n - rim)])
        spread = np.sqrt(2 * t / beta)
        nodes = int(np.clip(10 * length / spread, 4000, 40000))
        if spread < 4 * length / nodes:
            return 0.0, 0.0  # the quadrature does not see the kernel
        exact = free_value(cost, beta, t, x[some], box, ring, nodes)
        u = found.fields[-1]
        least = float(cost(np.linspace(*box, 4001)).min())
        inner = u[rim : n - rim]
        promised = SPOKEN_OF * (float(inner.max()) - least) + steps_error(found)
        return float(np.abs(u[some] - exact).max()), promised

    what = f"{grid} beta={beta:.4g} t={t:.4g} {said} {scheme}"
    return Trial(what, call, judge)


def random_plane(rng: Random) -> Trial:
    """Sums of quadratic problems in x and in y: the sum of their values."""
    a, g = rng.uniform(-1, 2, 2), np.array([log_uniform(rng, 1e-2, 30) for _ in range(2)])
    q, centre = rng.uniform(0, 2, 2) * pick(rng, 0.0, 1.0), rng.uniform(-1, 1, 2)
    beta, t = log_uniform(rng, 1e-12, 1e2), pick(rng, log_uniform(rng, 1e-3, 1), 1e-12)
    beta = pick(rng, beta, log_uniform(rng, 0.3, 30))
    n, half = rng.integers(16, 81, 2), 5.0
    dt = t / int(log_uniform(rng, 1, 20))
    scheme = pick(rng, None, None, s.PolicyIteration(dt), s.PolicyIteration(dt, 1))
    grid = pk.Grid((-half, -half), (half, half), tuple(map(int, n)))

    def bowl(k: Any, at: Any = 0.0) -> Any:
        return lambda y: (k * (y - at) ** 2).sum(-1) / 2

    def call() -> Any:
        equation = pk.HamiltonJacobiBellman(bowl(a), beta, bowl(q) if q.any() else None)
        return pk.solve(equation, grid, bowl(g, centre), t, scheme)

    def judge(found: Any) -> tuple[float, float]:
        near, exact = np.ones(grid.shape, dtype=bool), np.zeros(grid.shape)
        for k, x in enumerate(np.meshgrid(*grid.axes, indexing="ij")):
            problem = a[k], q[k], g[k], centre[k], beta, t
            P, S, R = riccati(*problem)(t)
            exact += P * x**2 / 2 + S * x + R
            near &= np.abs(x) < free_of_walls(*problem, half)
        if not near.any():
            return 0.0, 0.0
        u, rims = found.fields[-1], [max(1, c // 10) for c in grid.cells]
        inner = u[tuple(slice(r, -r) for r in rims)]
        promised = SPOKEN_OF * float(inner.max()) + steps_error(found)
        return float(np.abs(u - exact)[near].max()), promised

    what = f"a={a} g={g} q={q} c={centre} beta={beta:.4g} t={t:.4g} {grid.cells} {scheme}"
    return Trial(what, call, judge)


ROWS = [
    Row("the chain of the grid", ("solve HamiltonJacobiBellman", "DoobTransform"), random_chain,
        answered=0.3, cost=2),
    Row("quadratic costs", ("solve HamiltonJacobiBellman", "DoobTransform", "PolicyIteration",
                            "Filtered", "Godunov"), random_quadratic, answered=0.3, cost=2),
    Row("quadratic costs in time", ("solve HamiltonJacobiBellman", "DoobTransform",
                                    "PolicyIteration"), random_moving, answered=0.3, cost=20),
    Row("no drift", ("solve HamiltonJacobiBellman", "DoobTransform", "PolicyIteration",
                     "Filtered", "Godunov"), random_free, answered=0.3, cost=2),
    Row("quadratic costs in the plane", ("solve HamiltonJacobiBellman", "DoobTransform",
                                         "PolicyIteration"), random_plane, answered=0.3, cost=20),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row: Row, truth: Any) -> None:
    truth(row)
