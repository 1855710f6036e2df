"""Transport without noise against paths by scipy, whose answers share no code with it.

On a line what was below a place is below where its path leads: F(X(t, x), t) = F_0(x), from a mesh
of places, whatever the law. With an interaction: every particle by its own equation, all pairs as a
matrix.
"""

import math
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from truth import Row, Trial, log_uniform, pick, tally

import pdekit as pk

_PARTICLES = 600


class Landscape:
    """a x²/2 + b x⁴/4 + c cos(w x + p), and its slope."""

    def __init__(self, rng):
        self.a, self.b = rng.normal(), pick(rng, 0.0, log_uniform(rng, 0.1, 3))
        self.c, self.w, self.p = rng.normal(), rng.uniform(0.5, 4), rng.uniform(0, 6)
        self.size = log_uniform(rng, 0.1, 10)

    def of(self, x):
        wave = self.c * np.cos(self.w * x + self.p)
        return self.size * (self.a * x**2 / 2 + self.b * x**4 / 4 + wave)

    def slope(self, x):
        wave = self.c * self.w * np.sin(self.w * x + self.p)
        return self.size * (self.a * x + self.b * x**3 - wave)

    def __call__(self, x):
        return self.of(np.asarray(x)[..., 0])

    def __repr__(self):
        return (
            f"{self.size:.3g} ({self.a:.3g} x2/2 + {self.b:.3g} x4/4 + {self.c:.3g} "
            f"cos({self.w:.3g} x + {self.p:.3g}))"
        )


class Start:
    """A law of pdekit, and its distribution function within a box by scipy.stats."""

    def __init__(self, rng, low=-3.0, high=3.0):
        self.low, self.high, self.kinks = low, high, []
        means, widths = rng.uniform(-1.5, 1.5, 2), [log_uniform(rng, 0.15, 0.6) for _ in "ab"]
        kind = pick(rng, "normal", "two", "uniform")
        parts = [(1.0, stats.norm(means[0], widths[0]), pk.Gaussian(means[0], widths[0]))]
        if kind == "uniform":
            a, b = means[0] - widths[0], means[0] + widths[0]
            parts = [(1.0, stats.uniform(a, b - a), pk.Uniform(a, b))]
            self.kinks = [a, b]
        if kind == "two":
            parts.append((1.0, stats.norm(means[1], widths[1]), pk.Gaussian(means[1], widths[1])))
        self.parts, self.what = parts, f"{kind} {means} {widths}"
        self.law = parts[0][2]
        if kind == "two":
            from pdekit.laws import Mixture

            self.law = Mixture((1.0, 1.0), tuple(part[2] for part in parts))

    def cdf(self, x):
        whole = [np.mean([p.cdf(y) for _, p, _ in self.parts], 0) for y in (x, self.low, self.high)]
        inside = np.clip((whole[0] - whole[1]) / (whole[2] - whole[1]), 0, 1)
        return np.where(x <= self.low, 0.0, np.where(x >= self.high, 1.0, inside))

    def quantile(self, u):
        """By bisection, coarse and slow."""
        a, b = np.full(u.shape, self.low), np.full(u.shape, self.high)
        for _ in range(55):
            half = (a + b) / 2
            above = self.cdf(half) >= u
            a, b = np.where(above, a, half), np.where(above, half, b)
        return b


def carried(V, start, t):
    """F(., t): what was below a place is below where its path has led, or stopped at a wall."""
    low, high = start.low, start.high
    places = np.unique(np.append(np.linspace(low, high, 4801), start.kinks))

    def speed(_, y):
        return -V.slope(np.clip(y, low, high))  # what is pushed out never comes back

    found = solve_ivp(speed, (0, t), places, t_eval=[t], rtol=1e-8, atol=1e-10, method="LSODA",
                      lband=0, uband=0)  # fmt: skip
    assert found.success
    there, levels = np.clip(found.y[:, -1], low, high), start.cdf(places)
    return lambda x: np.interp(x, np.maximum.accumulate(there), levels, 0.0, 1.0)


def below(solution_masses, faces, x):
    """The distribution function of cells, linear within them."""
    total = solution_masses.sum()
    return np.interp(x, faces, np.append(0, np.cumsum(solution_masses)) / total)


def area(masses, faces, exact, per_cell=6):
    """∫ |F - F_exact| dx by midpoints within cells: W1."""
    n = len(masses) * per_cell
    x = faces[0] + (np.arange(n) + 0.5) * (faces[-1] - faces[0]) / n
    return float(np.abs(below(masses, faces, x) - exact(x)).mean() * (faces[-1] - faces[0]))


def in_the_box(*problem):
    """``solve`` without its words on walls, where the references stop too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.TruncationWarning)
        return pk.solve(*problem)


def line(rng):
    V, start = Landscape(rng), Start(rng)
    grid = pk.Grid(-3.0, 3.0, int(log_uniform(rng, 40, 200)))
    t = log_uniform(rng, 0.02, 2) / V.size
    scheme = pick(rng, None, None, pk.schemes.Upwind(1))
    equation = pk.FokkerPlanck(V, math.inf)

    def judge(u):
        exact = carried(V, start, t)
        return area(u.fields[0], grid.faces[0], exact), u.stats["w1_error"]

    call = lambda: in_the_box(equation, grid, start.law, t, scheme)  # noqa: E731
    return Trial(f"{V!r} {start.what} {grid.cells} t={t:.3g} {scheme}", call, judge)


def quantiles(rng):
    V, start = Landscape(rng), Start(rng)
    grid, n = pk.Grid(-3.0, 3.0, int(log_uniform(rng, 40, 400))), int(log_uniform(rng, 100, 600))
    t = log_uniform(rng, 0.02, 2) / V.size
    equation = pk.FokkerPlanck(pk.potentials.Custom(V, lambda x: V.slope(np.asarray(x))), math.inf)
    flows = bool(rng.random() < 0.5)

    def call():
        if flows:
            return pk.quantile_flow(equation, start.law, grid, t, n).values[0]
        return pk.solve(equation, grid, start.law, t, pk.schemes.Quantiles(n))

    def judge(answer):
        if flows:  # at the level that its place had
            u = (np.arange(n) + 0.5) / n
            inside = (answer > -3 + 1e-6) & (answer < 3 - 1e-6)
            x = start.quantile(u)
            moved = solve_ivp(lambda _, y: -V.slope(y), (0, t), x[inside], method="DOP853",
                              rtol=1e-11, atol=1e-12).y[:, -1]  # fmt: skip
            return float(np.abs(answer[inside] - moved).max(initial=0)), 1e-6

        exact = carried(V, start, t)
        h = float(grid.spacing[0])  # within a cell fields say nothing, and that is no error
        faces = grid.faces[0]
        off = np.abs(below(answer.fields[0], faces, faces[1:-1]) - exact(faces[1:-1])).sum() * h
        return off, answer.stats["w1_error"] + 1e-9

    return Trial(f"{V!r} {start.what} {grid.cells} n={n} t={t:.3g} flow={flows}", call, judge)


def particles(rng):
    start, n = Start(rng), int(log_uniform(rng, 1, 3000))
    boxed = bool(rng.random() < 0.5)
    grid = pk.Grid(-3.0, 3.0, 100) if boxed else None
    if not boxed:
        start.low, start.high = -50.0, 50.0
    u = (np.arange(n) + 0.5) / n
    return Trial(
        f"{start.what} n={n} boxed={boxed}",
        lambda: pk.quantile_particles(start.law, n, grid),
        lambda x: (np.abs(x[:, 0] - start.quantile(u)).max(), 1e-9),
    )


def interaction(rng):
    """An interaction, and ∂U(x_i, y_j) / ∂x_i as a matrix."""
    k = pick(rng, 1.0, -1.0) * log_uniform(rng, 0.1, 3)
    kind = pick(rng, "mean", "well", "features", "kernel")
    if kind == "mean":
        return pk.CurieWeiss(k), lambda x, y: k * (x - y)
    if kind == "well":
        W = pk.PairPotential(pk.interactions.GaussianWell(k, 0.8))
        return W, lambda x, y: k * (x - y) / 0.64 * np.exp(-((x - y) ** 2) / 1.28)
    a, b = rng.uniform(0.3, 2, 2)
    if kind == "features":
        W = pk.FeatureInteraction(lambda x: np.concatenate([np.sin(a * x), np.cos(b * x)], -1), k)
        return (
            W,
            lambda x, y: (
                k * (a * np.cos(a * x) * np.sin(a * y) - b * np.sin(b * x) * np.cos(b * y))
            ),
        )
    W = pk.KernelInteraction(lambda x, y: k * np.exp(-((np.asarray(x) * y)[..., 0] ** 2) / 2))
    return W, lambda x, y: -k * x * y**2 * np.exp(-((x * y) ** 2) / 2)


def mean_field(rng):
    V, start = Landscape(rng), Start(rng)
    W, slope = interaction(rng)
    V.size, V.b = log_uniform(rng, 0.5, 2), max(V.b, 0.5)  # few reach a wall
    grid = pk.Grid(-3.0, 3.0, int(log_uniform(rng, 60, 200)))
    t = log_uniform(rng, 0.05, 1)
    equation = pk.McKeanVlasov(V, math.inf, W)
    scheme = pick(rng, None, None, pk.schemes.Quantiles(200))

    def judge(u):
        x = start.quantile((np.arange(_PARTICLES) + 0.5) / _PARTICLES)

        def speed(_, y):
            out = -V.slope(y) - slope(y[:, None], y[None, :]).mean(1)
            return np.where(((y <= -3) & (out < 0)) | ((y >= 3) & (out > 0)), 0.0, out)

        found = solve_ivp(speed, (0, t), x, rtol=1e-7, atol=1e-9, method="LSODA", lband=0, uband=0)
        y, levels = np.sort(found.y[:, -1]), (np.arange(_PARTICLES) + 0.5) / _PARTICLES
        error = area(u.fields[0], grid.faces[0], lambda at: np.interp(at, y, levels, 0, 1))
        inner = float(grid.spacing[0]) / 2 * (scheme is not None)  # within the cells
        return error, u.stats["w1_error"] + inner + np.ptp(y) / _PARTICLES

    call = lambda: in_the_box(equation, grid, start.law, t, scheme)  # noqa: E731
    return Trial(f"{V!r} {W!r} {start.what} {grid.cells} t={t:.3g} {scheme}", call, judge)


def plane(rng):
    """V(x) + U(y) from a product: each axis is a line of its own."""
    V, U, start = (*(Landscape(rng) for _ in "xy"), [Start(rng) for _ in "xy"])
    U.size = V.size
    cells = tuple(int(log_uniform(rng, 24, 48)) for _ in "xy")
    grid, t = pk.Grid((-3.0, -3.0), (3.0, 3.0), cells), log_uniform(rng, 0.02, 1) / V.size
    means = [part.parts[0][1].mean() for part in start]
    widths = [part.parts[0][1].std() for part in start]
    law = pk.Gaussian(means, widths)
    exact = [stats.norm(m, s) for m, s in zip(means, widths, strict=True)]
    equation = pk.FokkerPlanck(lambda x: V.of(x[..., 0]) + U.of(x[..., 1]), math.inf)

    def judge(u):
        errors = []
        for axis, part in enumerate((V, U)):
            start[axis].parts = [(1.0, exact[axis], None)]
            masses = u.fields[0].sum(1 - axis)
            errors.append(area(masses, grid.faces[axis], carried(part, start[axis], t)))
        return max(errors), u.stats["w1_error"]

    return Trial(f"{V!r} + {U!r} {law} {cells} t={t:.3g}", lambda: pk.solve(equation, grid, law, t),
                 judge)  # fmt: skip


ROWS = [
    Row("transport on a line", ("solve FokkerPlanck", "Upwind"), line, 0.3, cost=10),
    Row("quantiles along their paths", ("Quantiles", "quantile_flow"), quantiles, 0.6, cost=8),
    Row("quantile particles", ("quantile_particles",), particles, 0.9, cost=5),
    Row("mean-field transport", ("solve McKeanVlasov", "Upwind", "Quantiles", "FeatureInteraction",
        "KernelInteraction"), mean_field, 0.4, cost=40),
    Row("transport in the plane", ("Upwind",), plane, 0.1, cost=40),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
@pytest.mark.filterwarnings("ignore")
def test_no_silent_wrong_answer(row, truth):
    truth(row)


def test_a_drift_uphill_is_caught(monkeypatch):
    """The sign of the velocity, planted."""
    from pdekit.pde.discrete import transport

    right = transport._downhill
    monkeypatch.setattr(transport, "_downhill", lambda *a: -right(*a))
    with pytest.raises(AssertionError, match="silent wrong answers"):
        tally(ROWS[0], 1, 60)


def test_an_estimate_by_a_run_on_the_same_cells_is_caught(monkeypatch):
    """A second run that is fooled together with the first promises too much, and is caught."""
    from pdekit.pde.schemes import upwind

    monkeypatch.setattr(upwind.transport, "on_half", lambda problem: problem)
    with pytest.raises(AssertionError, match="silent wrong answers"):
        tally(ROWS[0], 1, 60)
