"""McKean-Vlasov equations, their states and branches against plain loops and quadrature."""

import warnings

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from truth import Row, Trial, log_uniform, noticed, pick

import pdekit as pk
from pdekit import schemes
from pdekit.interactions import GaussianWell, Kuramoto

# --- potentials and interactions, written out ----------------------------------------------------


class Landscape:
    """a x^2/2 + b x^4/4 + c cos(w x) + tilt x, or c cos round a circle."""

    def __init__(self, rng, even=False, ring=False):
        self.ring = ring
        self.a, self.b = rng.normal(), log_uniform(rng, 1e-2, 10)
        self.c, self.w = pick(rng, 0.0, 0.0, rng.normal()), rng.uniform(1, 4)
        self.tilt = 0.0 if even else pick(rng, 0.0, 0.3 * rng.normal())
        self.size = log_uniform(rng, 0.1, 10)

    def __call__(self, x):
        x = np.asarray(x)[..., 0]
        if self.ring:
            return self.size * self.c * np.cos(x)
        well = self.a * x**2 / 2 + self.b * x**4 / 4 + self.c * np.cos(self.w * x) + self.tilt * x
        return self.size * well

    def __repr__(self):
        return (
            f"V {self.size:.3g} ({self.a:.3g} x2/2 + {self.b:.3g} x4/4 + {self.c:.3g} "
            f"cos {self.w:.3g} x + {self.tilt:.3g} x){' ring' if self.ring else ''}"
        )


def some_interaction(rng, ring):
    strength = pick(rng, 1.0, -1.0) * log_uniform(rng, 1e-3, 1e2)
    if ring:
        return pk.PairPotential(Kuramoto(strength)), lambda z: -strength * np.cos(z)
    if rng.random() < 0.3:
        width = rng.uniform(0.3, 2)
        return (
            pk.PairPotential(GaussianWell(strength, width)),
            lambda z: -strength * np.exp(-(z**2) / (2 * width**2)),
        )
    return pk.CurieWeiss(strength), lambda z: strength * z**2 / 2


def bernoulli(w):
    return 1 - w / 2 + w**2 / 12 if abs(w) < 1e-4 else w / np.expm1(w)


def rates(U, beta, h, ring):
    """Rates from cell i to i + 1 and back, the flux of Scharfetter and Gummel with its bend."""
    n = len(U)
    faces = n if ring else n - 1
    up, down = np.zeros(n), np.zeros(n)
    for i in range(faces):
        w, bend = beta * (U[(i + 1) % n] - U[i]), 0.0
        if ring or 0 < i < n - 2:
            bend = beta / 2 * (U[(i + 2) % n] - U[(i + 1) % n] - U[i] + U[i - 1])
        z = np.clip(16 * bend / 35, -1, 1)
        held = 35 / 16 * (z - z**3 + 0.6 * z**5 - z**7 / 7)  # smooth in time, and below one
        factor = (1 + held / 5) / (beta * h * h)
        with np.errstate(over="ignore"):
            up[i], down[i] = factor * bernoulli(w), factor * bernoulli(-w)
    return up, down


def flow(grid, V, W, beta, rho0, times):
    """The density at some times by Radau's method, mean field by a double loop as a matrix."""
    x, h, ring = grid.axes[0], float(grid.spacing[0]), grid.periodic[0]
    values, kernel = V(grid.centres), W(x[:, None] - x) * h

    def speed(_, rho):
        up, down = rates(values + kernel @ rho, beta, h, ring)
        over = up * rho - down * np.roll(rho, -1)
        return np.roll(over, 1) - over

    found = solve_ivp(
        speed, (0, times[-1]), rho0, method="LSODA", t_eval=times, rtol=1e-10, atol=1e-13
    )
    if found.status != 0 or not np.isfinite(found.y).all():
        return None
    return found.y.T


def mean_field(rng):
    ring, cells = bool(rng.random() < 0.3), int(log_uniform(rng, 8, 48))
    grid = pk.Grid(-np.pi, np.pi, cells, periodic=True) if ring else pk.Grid(-3, 3, cells)
    V, beta = Landscape(rng, ring=ring), log_uniform(rng, 1e-3, 30)
    W, kernel = some_interaction(rng, ring)
    x, h = grid.axes[0], float(grid.spacing[0])
    start = np.exp(-((x - rng.uniform(-2, 2)) ** 2) / (2 * log_uniform(rng, 0.2, 3) ** 2))
    if rng.random() < 0.2:
        start = np.eye(cells)[int(rng.integers(cells))]
    start *= log_uniform(rng, 0.1, 2) / (start.sum() * h)
    end = beta * log_uniform(rng, 1e-4, 30)
    times = np.linspace(0, end, int(pick(rng, 2, 2, 3, 30)))[1:]
    scheme = schemes.MeanField(pick(rng, 1e-5, 1e-5, 1e-3, 1e-8))
    equation = pk.McKeanVlasov(V, beta, W)

    def judge(solution):
        rho = solution.fields
        true = flow(grid, V, kernel, beta, start, times)
        if true is None:
            return 0.0, 1.0
        mass = start.sum()
        kept = np.abs(rho.sum(1) / mass - 1).max()
        if kept > 1e-12 or rho.min() < 0:
            return np.inf, 0.0
        energy = [plain_energy(grid, V, kernel, beta, r)[0] for r in [start, *rho]]
        size = max(plain_energy(grid, V, kernel, beta, r)[1] for r in [start, *rho])
        if (np.diff(energy) > 1e-11 * size).any():
            return np.inf, 1.0
        return float(
            np.abs(rho - true).sum(1).max() / mass
        ), scheme.rtol + 1e-8  # the reference's own

    what = f"{equation!r} {V!r} on {grid}, {len(times)} times to {end:.4g}, rtol {scheme.rtol}"

    def call():
        with warnings.catch_warnings():  # the oracle has the same cells and walls
            warnings.simplefilter("ignore", pk.ResolutionWarning)
            warnings.simplefilter("ignore", pk.TruncationWarning)
            return pk.solve(equation, grid, start, times, scheme)

    return Trial(what, call, judge)


def plain_energy(grid, V, W, beta, rho):
    """The free energy of a density by a double sum, and the sum of sizes."""
    x, h = grid.axes[0], float(grid.spacing[0])
    pairs = W(x[:, None] - x)
    entropy = sum(r * np.log(r) for r in rho if r > 0) * h / beta
    apart = V(grid.centres) @ rho * h, rho @ pairs @ rho * h * h / 2, entropy
    sizes = np.abs(V(grid.centres)) @ rho * h + rho @ np.abs(pairs) @ rho * h * h / 2
    return sum(apart), sizes + (np.abs(rho * np.log(rho + 1e-300)).sum() + rho.sum()) * h / beta


def moments(rng):
    """V = a x^2 / 2, attraction s: m' = -a m, v' = -2 (a + s) v + 2 / beta (mathematics 1.6)."""
    a, s = log_uniform(rng, 0.1, 10), pick(rng, 0.0, 1.0) * log_uniform(rng, 0.1, 10)
    beta, std = log_uniform(rng, 1e-2, 1e3), log_uniform(rng, 0.05, 3)
    rest = 1 / np.sqrt(beta * (a + s))
    wide = max(std * rng.uniform(1, 1), rest)
    m0, t = wide * rng.uniform(-1, 1), log_uniform(rng, 1e-2, 10) / a
    grid = pk.Grid(-9 * wide, 9 * wide, int(log_uniform(rng, 20, 400)))
    equation = pk.McKeanVlasov(pk.potentials.Quadratic(a), beta, pk.CurieWeiss(s))
    law = pk.Gaussian(m0, std)

    def judge(solution):
        x, rho, h = grid.axes[0], solution.fields[-1], float(grid.spacing[0])
        w = rho / rho.sum()
        m = w @ x
        v = w @ (x - m) ** 2
        decay = np.exp(-2 * (a + s) * t)
        mean, var = m0 * np.exp(-a * t), rest**2 + (std**2 - rest**2) * decay
        error = max(abs(m - mean) / wide, abs(np.sqrt(v) - np.sqrt(var)) / wide)
        return float(error), 0.25 * (h / min(std, rest)) ** 2 + 1e-4

    what = f"a {a:.4g} s {s:.4g} beta {beta:.4g} N({m0:.3g}, {std:.3g}) t {t:.3g} {grid}"
    return Trial(what, lambda: pk.solve(equation, grid, law, t), judge)


# --- states --------------------------------------------------------------------------------------


def response(x, V, beta, strength, m):
    """R(m) by sums over the points x, one m after another."""
    out = []
    for centre in np.atleast_1d(m):
        power = beta * (V + strength * (x - centre) ** 2 / 2)
        w = np.exp(power.min() - power)
        out.append((w * x).sum() / w.sum())
    return np.array(out)


def roots(x, V, beta, strength):
    """Means with R(m) = m by a scan and bisection, and the least |R - m| at turning points."""
    m = np.linspace(x[0], x[-1], 1501) + 1e-7 * (x[1] - x[0])
    gap = response(x, V, beta, strength, m) - m
    found = []
    for k in np.flatnonzero(gap[:-1] * gap[1:] < 0):
        low, high, sign = m[k], m[k + 1], np.sign(gap[k])
        for _ in range(50):
            middle = (low + high) / 2
            inside = np.sign(response(x, V, beta, strength, middle)[0] - middle) == sign
            low, high = (middle, high) if inside else (low, middle)
        found.append((low + high) / 2)
    inner = np.abs(gap[1:-1])
    turns = (inner <= np.abs(gap[:-2])) & (inner <= np.abs(gap[2:])) & (gap[:-2] * gap[2:] > 0)
    flat = np.abs(np.diff(gap)).max() * 1.5  # two roots between neighbours of the scan
    return np.array(found), inner[turns].min(initial=np.inf) < flat


def states(rng):
    V, beta = Landscape(rng), log_uniform(rng, 1e-2, 100)
    strength = pick(rng, 1.0, 1.0, -1.0) * log_uniform(rng, 1e-2, 100)
    grid = pk.Grid(-4, 4, int(log_uniform(rng, 12, 400)))
    equation = pk.McKeanVlasov(V, beta, pk.CurieWeiss(strength))

    def judge(found):
        means = np.array([s.mean for s in found])
        x = np.linspace(-4, 4, 2001)
        x = (x[1:] + x[:-1]) / 2
        true, unsure = roots(x, V(x[:, None]), beta, strength)
        own, doubt = roots(grid.axes[0], V(grid.centres), beta, strength)
        if len(means) != len(own):
            return (0.0, 1.0) if doubt else (np.inf, float(len(own)))
        if len(means) != len(true):
            return (0.0, 1.0) if unsure else (np.inf, float(len(true)))
        h = float(grid.spacing[0])
        slack = 1e-6 + 0.2 * h * (abs(means) > 3).any()
        return max(
            np.abs(means - own).max() / 1e-7, np.abs(means - true).max() / (slack + h**2)
        ), 1.0

    what = f"{V!r} beta {beta:.4g} strength {strength:.4g} {grid}"
    return Trial(what, lambda: pk.self_consistent_states(equation, grid), judge)


def critical(rng):
    V, strength = Landscape(rng, even=True), log_uniform(rng, 1e-2, 1e2)
    if rng.random() < 0.1:
        V.a = V.b = V.c = 0.0

    def variance(beta):
        far = np.geomspace(1e-3, 1e4, 4000)
        power = beta * (V(far[:, None]) + strength * far**2 / 2)
        reach = 1.05 * far[np.flatnonzero(power < power.min() + 60)[-1]]
        x = np.linspace(-reach, reach, 6001)
        power = beta * (V(x[:, None]) + strength * x**2 / 2)
        w = np.exp(power.min() - power)
        return (w * x**2).sum() / w.sum()

    def judge(beta):
        off = abs(beta * strength * variance(beta) - 1)
        before = np.geomspace(max(1e-3, beta / 1e3), beta * (1 - 1e-3), 20)
        early = max(b * strength * variance(b) - 1 for b in before)
        return max(off / 1e-7, early / 1e-6), 1.0

    what = f"{V!r} strength {strength:.4g}"
    flat = V.a == V.b == V.c == 0.0
    return Trial(what, lambda: pk.critical_beta(V, pk.CurieWeiss(strength)), judge, nonsense=flat)


def branch(rng):
    V, strength = Landscape(rng, even=bool(rng.random() < 0.5)), log_uniform(rng, 0.1, 10)
    grid = pk.Grid(-4, 4, int(log_uniform(rng, 60, 300)))
    low = log_uniform(rng, 0.1, 1)
    bounds = (low, low * rng.uniform(1.5, 5))
    start = pick(rng, None, bounds[1], bounds[0] * rng.uniform(0.2, 3))
    outside = start is not None and not bounds[0] <= start <= bounds[1]
    x, at = grid.axes[0], bounds[0] if start is None else start
    values = V(grid.centres)
    mean = float(rng.choice(roots(x, values, at, strength)[0]))

    def call():
        return pk.follow_branch(
            lambda b: pk.McKeanVlasov(V, b, pk.CurieWeiss(strength)), grid, mean, bounds, start
        )

    def judge(found):
        some = np.unique(np.linspace(0, len(found.mean) - 1, 12).astype(int))
        worst = 0.0
        for k in some:
            b, m = found.parameter[k], found.mean[k]
            worst = max(worst, abs(response(x, values, b, strength, m)[0] - m))
        ends = found.parameter[[0, -1]]
        inside = (ends >= bounds[0] - 1e-9).all() and (ends <= bounds[1] + 1e-9).all()
        return (worst if inside else np.inf), 1e-9

    what = f"{V!r} strength {strength:.4g} bounds {bounds} start {start} mean {mean:.5g} {grid}"
    return Trial(what, call, judge, nonsense=outside)


def diagram(rng):
    V, strength = Landscape(rng, even=True), log_uniform(rng, 0.3, 5)
    betas, grid = np.sort(np.exp(rng.uniform(-1, 2, 2))), pk.Grid(-4, 4, 160)

    def judge(found):
        error = 0.0
        for k, beta in enumerate(betas):
            means = found.data["others"].values[0, k]
            means = means[np.isfinite(means)]
            true, doubt = roots(grid.axes[0], V(grid.centres), beta, strength)
            if len(true) != len(means):
                return (0.0, 1.0) if doubt else (np.inf, 1.0)
            error = max(error, np.abs(means - true).max())
        return error, 1e-7

    what = f"{V!r} strength {strength:.4g} betas {betas}"
    return Trial(what, lambda: pk.phase_diagram(V, betas, [strength], grid), judge)


def energies(rng):
    grid, V, beta = (
        pk.Grid(-3, 3, int(log_uniform(rng, 30, 90))),
        Landscape(rng),
        rng.uniform(0.1, 3),
    )
    W, kernel = some_interaction(rng, False)
    alone = bool(rng.random() < 0.5)
    equation = pk.FokkerPlanck(V, beta) if alone else pk.McKeanVlasov(V, beta, W)
    times, law = np.linspace(0, log_uniform(rng, 0.01, 10), 4)[1:], pk.Gaussian(0.0, 0.5)

    def call():
        solution = pk.solve(equation, grid, law, times)
        return solution, pk.free_energy(solution), pk.dissipation(solution) if alone else None

    def judge(found):
        solution, energy, loss = found
        W0 = (lambda z: 0 * z) if alone else kernel
        plain = [plain_energy(grid, V, W0, beta, rho) for rho in solution.fields]
        true, size = np.array(plain).T
        error = np.abs(energy.values - true).max() / size.max()
        if (np.diff(energy.values) > 1e-11 * size.max()).any():
            return np.inf, 1.0
        if loss is not None:
            h, values = float(grid.spacing[0]), V(grid.centres)
            for rho, rate in zip(solution.fields, loss.values, strict=True):
                up, down = plain_rates(values, beta, h)
                mu = values + np.log(np.maximum(rho, 1e-300)) / beta
                over = up * rho[:-1] - down * rho[1:]
                true_rate = (over * (mu[:-1] - mu[1:])).sum() * h
                error = max(error, abs(rate - true_rate) / (1 + abs(true_rate)))
        return error, 1e-8

    return Trial(f"{equation!r} {V!r} {grid} {times}", call, judge)


def plain_rates(U, beta, h):
    w = beta * np.diff(U)
    up = np.array([bernoulli(v) for v in w]) / (beta * h * h)
    return up, np.array([bernoulli(-v) for v in w]) / (beta * h * h)


ROWS = [
    Row("mean-field flow", ("solve McKeanVlasov", "MeanField", "CurieWeiss", "PairPotential"),
        mean_field, 0.4, cost=6),
    Row("linear moments", ("solve McKeanVlasov", "MeanField"), moments, 0.4, cost=3),
    Row("self-consistent states", ("self_consistent_states",), states, 0.4, cost=5),
    Row("critical temperatures", ("critical_beta",), critical, 0.3, cost=6),
    Row("branches", ("follow_branch",), branch, 0.3, cost=6),
    Row("phase diagrams", ("phase_diagram",), diagram, 0.3, cost=15),
    Row("free energies", ("free_energy", "dissipation"), energies, 0.5, cost=3),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
@pytest.mark.filterwarnings("ignore")
def test_no_silent_wrong_answer(row, truth):
    truth(row)


def test_a_wrong_mean_field_estimate_is_caught(monkeypatch):
    """An error estimate that compares a run with itself lets wrong answers pass, and is caught."""
    from pdekit.pde.schemes import mean_field as meanfield

    def alike(system, local, order):
        run = meanfield._Run(system, 1e6 * local, 3)
        return [run, run]

    monkeypatch.setattr(meanfield, "_pair", alike)
    assert noticed(ROWS[0], 1, ROWS[0].first(160))
