"""Hamilton-Jacobi equations against brute force: minima over fine scans, quadrature, shocks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp
from truth import Row, Trial, log_uniform, pick, tally

import pdekit as pk
from pdekit import hamiltonians as hams
from pdekit import schemes


class Landscape:
    """A random function on a line: a bowl or none, and one feature of any width in cells."""

    def __init__(self, rng, low, high, cells, periodic):
        self.low, self.width, self.periodic = low, high - low, periodic
        h = self.width / cells
        self.kind = pick(rng, "ripple", "kink", "well", "step", "flat", "slope", "quartic")
        if periodic:
            self.kind = pick(rng, "ripple", "well", "flat")
        self.size = log_uniform(rng, 1e-3, 1e3)
        self.place = low + self.width * rng.random()
        self.scale = h * log_uniform(rng, 0.5, 50)
        if periodic:
            self.scale = self.width / max(1, round(self.width / self.scale / 4)) / 4
        self.tilt = self.size * rng.normal() / self.width * pick(rng, 0.0, 1.0)
        self.bowl = self.size * log_uniform(rng, 1e-2, 1e2) * pick(rng, 0.0, 1.0)
        self.phase = rng.uniform(0, 2 * np.pi)

    def line(self, x):
        if self.periodic:
            x = self.low + np.mod(x - self.low, self.width)
        z = (x - self.place) / self.scale
        if self.periodic and self.kind == "well":  # the same wrapped
            away = np.mod(x - self.place + self.width / 2, self.width) - self.width / 2
            z = away / self.scale
        f = {
            "ripple": lambda: np.cos(np.pi / 2 * z + self.phase),
            "kink": lambda: np.abs(z) + 0.3 * z,
            "well": lambda: -np.exp(-(z**2) / 2),
            "step": lambda: np.where(z > 0, 1.0, 0.0),
            "flat": lambda: 0 * z,
            "slope": lambda: -z - z**2 / 10,
            "quartic": lambda: z**4,
        }[self.kind]()
        if not self.periodic:
            u = (x - self.low) / self.width - 0.5
            f = f + (self.tilt * self.width * u + self.bowl * u**2) / self.size
        return self.size * f

    def __call__(self, x):
        return self.line(np.asarray(x)[..., 0])

    def __repr__(self):
        return (
            f"{self.kind} of width {self.scale:.4g} by {self.place:.4g} times {self.size:.3g}, "
            f"phase {self.phase:.3g}, tilt {self.tilt:.3g}, bowl {self.bowl:.3g}"
        )


def brute(f, cost, grid, x, reach=0.0):
    """min over y of f(y) + cost(x - y) in the box (or round the circle), by nested scans."""
    (a,), (b,) = grid.lower, grid.upper
    copies = 3 if grid.periodic[0] else 1
    y = np.linspace(a - (copies // 2) * (b - a), b + (copies // 2) * (b - a), 30_001 * copies)
    out = []
    far, line = copies // 2 * (b - a), y
    for point in x:
        near = point + min(reach, b - a) * np.linspace(-1, 1, 2001)
        y = np.concatenate([line, np.clip(near, a - far, b + far)])
        total = f(y) + cost(point - y)
        best = total.min()
        for k in np.argsort(total)[:6]:
            centre, side = y[k], line[1] - line[0]
            for _ in range(6):
                near = np.linspace(centre - side, centre + side, 41)
                if copies == 1:
                    near = np.clip(near, a, b)
                values = f(near) + cost(point - near)
                centre, side = near[values.argmin()], side / 15
                best = min(best, values.min())
        out.append(best)
    return np.array(out)


def some_hamiltonian(rng):
    """A convex Hamiltonian, its conjugate written out, and the fastest speed where there is one."""
    kind, c = pick(rng, "default", "default", "power", "abs"), log_uniform(rng, 0.1, 10)
    if kind == "default":
        return None, lambda v: v**2 / 2, 0.0
    if kind == "abs":
        return hams.Power(1.0, c), lambda v: np.where(np.abs(v) <= c * (1 + 1e-9), 0.0, np.inf), c
    a = rng.uniform(1.2, 4)
    b = a / (a - 1)
    return hams.Power(a, c), lambda v: c * np.abs(v / c) ** b / b, 0.0


def hopf_lax(rng):
    cells, periodic = int(log_uniform(rng, 4, 400)), bool(rng.random() < 0.3)
    low, width = rng.normal(), log_uniform(rng, 0.1, 30)
    grid = pk.Grid(low, low + width, cells, periodic=periodic)
    f = Landscape(rng, low, low + width, cells, periodic)
    H, L, speed = some_hamiltonian(rng)
    t = width**2 / f.size * log_uniform(rng, 1e-6, 1e6)
    if rng.random() < 0.1:
        t = pick(rng, 1e-12, 1e12)
    some = np.unique(rng.integers(0, cells, 8))
    given = f if rng.random() < 0.7 else f(grid.centres)

    def call():
        return pk.solve(pk.HamiltonJacobi(H), grid, given, t)

    def judge(solution):
        u, x = solution.fields[0], grid.axes[0]
        fine = f.line(np.linspace(low, low + width, 40 * cells + 1))
        rounding = 1e-11 * np.abs(fine).max() + 1e-14 * f.size
        least = brute(f.line, lambda z: 0 * z, grid, [low])[0]
        below = least - u.min() if callable(given) else 0.0
        above = (u - f.line(x)).max()
        if max(below, above) > rounding:  # the bounds known beforehand
            return np.inf, 0.0
        with np.errstate(over="ignore"):
            true = brute(f.line, lambda z: t * L(z / t), grid, x[some], speed * t)
        return float(np.abs(u[some] - true).max()), promised_between_nodes(f, grid) + rounding

    what = f"{grid}, {f!r}, H {H!r}, t {t:.5g}, {'callable' if callable(given) else 'array'}"
    return Trial(what, call, judge)


def unresolved(rng):
    """Waves of any length, aliases of constants too, and steps; t from 1e-3 h^2 on."""
    cells, periodic = int(log_uniform(rng, 8, 200)), bool(rng.random() < 0.3)
    grid, h = pk.Grid(-1.5, 1.5, cells, periodic=periodic), 3 / cells
    H, L, _ = some_hamiltonian(rng)
    step, place, phase = not periodic and rng.random() < 0.4, rng.uniform(-1.4, 1.4), rng.random()
    per_cell = pick(rng, log_uniform(rng, 0.02, 4), 1 + 0.01 * rng.normal(), 1 / 3, 1.0)
    k = 2 * np.pi / 3 * max(1, round(per_cell * cells)) if periodic else 2 * np.pi * per_cell / h
    t = h**2 * log_uniform(rng, 1e-3, 1e2)

    def f(y):
        return np.where(y > place, 1.0, 0.0) if step else np.cos(k * y + 6 * phase)

    promised = 3e-3 + ((k * h) ** 3 / 3 if k * h < 1.3 and not step else 0.0)  # of a parabola
    some = np.unique(rng.integers(0, cells, 6))
    if step:  # beside it, where it matters
        some = np.unique(np.clip(int((place + 1.5) / h) + np.arange(-1, 5), 0, cells - 1))

    def judge(solution):
        x = grid.axes[0][some]
        true = []
        for point in x:
            y = point + np.outer([-1, 1], np.logspace(-9, np.log10(3), 60_001)).ravel()
            y = np.append(y, [place, point])
            if k * 3 < 4e3:
                y = np.append(y, point + np.linspace(-1.5, 1.5, 60_001))
            y = y if periodic else np.clip(y, -1.5, 1.5)
            with np.errstate(over="ignore"):
                true.append((f(y) + t * L((point - y) / t)).min())
        return float(np.abs(solution.fields[0][some] - true).max()), promised

    what = f"{grid} H {H!r} {f'step at {place}' if step else f'k {k}, {phase}'} t {t:.4g}"
    return Trial(
        what, lambda: pk.solve(pk.HamiltonJacobi(H), grid, lambda z: f(z[..., 0]), t), judge
    )


def promised_between_nodes(f, grid):
    """h^3 max |f'''| / 3 of a parabola through samples up to a wall, and 1e-4 of the range."""
    (a,), (b,), n = grid.lower, grid.upper, grid.cells[0]
    if grid.periodic[0]:
        a, b = a - (b - a) / 2, b
    y = np.linspace(a, b, 8 * n + 1)
    d = np.abs(np.diff(f.line(y), 3))
    # samples in three cells, which a parabola sees: what the differences there sum up to, of a
    # smooth f the greatest in one of them
    span = 8 if f.kind in ("ripple", "well", "slope", "quartic") else 24
    third = max(d[k : k + span].sum() for k in range(0, d.size, 4)) * 64 * 8 / span
    return third / 3 + 1e-4 * np.ptp(f.line(y))


def viscous(rng):
    """-log of the mean of exp(-beta f) under a Gaussian, by sums over reflected fine nodes."""
    cells, periodic = int(log_uniform(rng, 4, 300)), bool(rng.random() < 0.3)
    low, width = rng.normal(), log_uniform(rng, 0.3, 10)
    grid = pk.Grid(low, low + width, cells, periodic=periodic)
    f, beta = Landscape(rng, low, low + width, cells, periodic), 1.0
    beta = log_uniform(rng, 1e-6, 1e6) / f.size
    t = width**2 / f.size * log_uniform(rng, 1e-5, 1e4)
    if rng.random() < 0.1:
        t = pick(rng, 1e-12, 1e12)
    scheme = pick(rng, None, None, schemes.Filtered(), schemes.Godunov())
    if scheme is not None:
        t = min(t, 0.2 * width * (width / cells) / f.size)
        t = max(t, 1e-12)
    given = f if rng.random() < 0.7 else f(grid.centres)
    some = np.unique(rng.integers(0, cells, 6))

    def judge(solution):
        u, x = solution.fields[0], grid.axes[0]
        y = np.linspace(low, low + width, 200 * cells + 1)
        fine = f.line(y)
        rounding = 1e-11 * np.abs(fine).max() + 1e-14 * f.size + 1e-9 / beta  # the oracle's
        promised = promised_between_nodes(f, grid) + rounding + at_walls(f, grid, beta, t)
        least = brute(f.line, lambda z: 0 * z, grid, [low])[0]
        beyond = max(least - u.min(), u.max() - fine.max())
        if beyond > (rounding + 1e-5 * np.ptp(fine) if callable(given) else promised):
            return np.inf, 0.0
        if scheme is not None:
            return 0.0, 1.0
        true = entropy(f.line, beta, t, grid, x[some])
        return float(np.abs(u[some] - true).max()), promised

    what = f"{grid}, {f!r}, beta {beta:.4g} t {t:.5g} {scheme!r} {callable(given)}"
    return Trial(what, lambda: pk.solve(pk.ViscousHJ(beta), grid, given, t, scheme), judge)


def marched(rng):
    """Local entropy by steps in time, where the cells resolve the data: by its order in them."""
    cells, k = int(log_uniform(rng, 40, 300)), int(rng.integers(1, 3))
    ring, size = bool(rng.random() < 0.5), log_uniform(rng, 1e-2, 1e2)
    grid, phase = pk.Grid(0.0, 2 * np.pi, cells, periodic=ring), rng.uniform(0, 6)
    if not ring:  # no slope at the walls
        k, phase = k / 2, pick(rng, 0.0, np.pi)
    beta, t = log_uniform(rng, 1e-2, 1e3) / size, log_uniform(rng, 1e-3, 30) / size
    scheme = pick(rng, schemes.Filtered(), schemes.Filtered(), schemes.Godunov())
    some = np.unique(rng.integers(0, cells, 12))

    def f(y):
        return size * np.cos(k * y + phase)

    def judge(solution):
        true = entropy(f, beta, t, grid, grid.axes[0][some])
        error = np.abs(solution.fields[0][some] - true).mean()
        h = k * 2 * np.pi / cells
        order = h / 2 if isinstance(scheme, schemes.Godunov) else 2 * h**2
        return float(error), size * order + 1e-6 * size

    what = f"size {size:.3g} k {k} beta {beta:.4g} t {t:.4g} {phase:.3g} {grid} {scheme!r}"
    return Trial(
        what, lambda: pk.solve(pk.ViscousHJ(beta), grid, lambda x: f(x[..., 0]), t, scheme), judge
    )


def at_walls(f, grid, beta, t):
    """h^2 |f'| / 12 over the width of the kernel: midpoint sums of a reflected slope."""
    if grid.periodic[0]:
        return 0.0
    h, width = float(grid.spacing[0]), grid.upper[0] - grid.lower[0]
    y = np.linspace(grid.lower[0], grid.upper[0], 40 * grid.cells[0] + 1)
    slope = max(np.abs(np.diff(f.line(y)))[[0, -1]]) / (y[1] - y[0])
    return h**2 * slope / (12 * np.clip(np.sqrt(t / beta), h, width))


def entropy(f, beta, t, grid, x):
    """-beta^-1 log of the mean of exp(-beta f) under N(x, t/beta), folded into the box."""
    (a,), (b,) = grid.lower, grid.upper
    width = b - a
    out = []
    for point in x:
        std = np.sqrt(t / beta)
        period = width if grid.periodic[0] else 2 * width
        if std > period:  # all places alike
            y = a + width * (np.arange(20_000) + 0.5) / 20_000
            out.append(-logsumexp(-beta * f(y), b=1 / y.size) / beta)
            continue
        scan = np.linspace(-12, 12, 40_001) * std  # where the mass is
        spread = [scan + point]
        far = np.linspace(point - 3 * period, point + 3 * period, 60_001)
        folded = fold(far, a, width, grid.periodic[0])
        power = beta * (f(folded) + (far - point) ** 2 / (2 * t))
        near = far[np.flatnonzero(power < power.min() + 60)]
        step = far[1] - far[0] + min(12 * std, 12 * (far[1] - far[0]))
        spread.append(np.linspace(near[0] - step, near[-1] + step, 40_001))
        best = np.inf
        for z in spread:  # the finer of the two windows that holds the mass
            g = beta * (f(fold(z, a, width, grid.periodic[0])) + (z - point) ** 2 / (2 * t))
            total = (
                -logsumexp(-g, b=(z[-1] - z[0]) / (z.size - 1) / np.sqrt(2 * np.pi * t / beta))
                / beta
            )
            best = min(best, total)
        out.append(best)
    return np.array(out)


def fold(y, a, width, periodic):
    if periodic:
        return a + np.mod(y - a, width)
    z = np.mod(y - a, 2 * width)
    return a + np.minimum(z, 2 * width - z)


def burgers(rng):
    """Lax and Oleinik: differences of min_y F(y) + |x - y|^2 / 2t over the faces, F' = p."""
    cells, walls = int(log_uniform(rng, 8, 200)), bool(rng.random() < 0.3)
    grid = pk.Grid(0.0, 2 * np.pi, cells, periodic=not walls)
    k, size, mean = (
        int(rng.integers(1, max(2, cells // 12) + 1)),
        log_uniform(rng, 1e-2, 1e2),
        rng.normal(),
    )
    phase, t = rng.uniform(0, 6), log_uniform(rng, 1e-3, 30) / size
    scheme = pick(rng, schemes.HopfLax(), None, schemes.Godunov(), schemes.Filtered())
    h = 2 * np.pi / cells

    def integral(y):
        return -size / k * np.cos(k * y + phase) + mean * y

    faces = np.arange(cells + 1) * h
    p0 = np.diff(integral(faces)) / h

    def judge(solution):
        p = solution.fields[0]
        if not walls and abs(p.mean() - p0.mean()) > 1e-10 * (size + abs(mean)):
            return np.inf, 0.0
        slack = 1e-10 * size
        rest = 0.0 if walls else mean  # the medium beyond walls
        if p.max() > max(mean + size, rest) + slack or p.min() < min(mean - size, rest) - slack:
            return np.inf, 0.0
        reach = (size + abs(mean)) * t + 1
        out = []
        for x in faces:
            y = np.linspace(x - reach, x + reach, 8001)
            if walls:  # beyond them the integral is flat
                y = np.linspace(max(x - reach, 0.0), min(x + reach, 2 * np.pi), 8001)
            total = integral(y) + (x - y) ** 2 / (2 * t)
            best, side = y[total.argmin()], y[1] - y[0]
            for _ in range(3):
                z = np.linspace(best - side, best + side, 41)
                z = np.clip(z, 0.0, 2 * np.pi) if walls else z
                values = integral(z) + (x - z) ** 2 / (2 * t)
                best, side = z[values.argmin()], side / 15
            out.append(values.min())
        true = np.diff(out) / h
        jump = abs(mean) if walls else 0.0  # to the medium at rest
        jumps = (6 * size * k + 2 * jump) * h * (1 + np.log(1 + (size + jump) * t / h)) / 2
        return float(np.abs(p - true).mean()), jumps

    where = "between walls" if walls else "round a circle"
    what = f"{cells} cells {where} k {k} size {size:.3g} mean {mean:.3g} t {t:.3g} {scheme!r}"
    return Trial(what, lambda: pk.solve(pk.Burgers(), grid, p0, t, scheme), judge)


def shocks(rng):
    """-1 / least f'' of a ripple on a bowl, by a fine scan of the second derivative."""
    grid = pk.Grid(-3, 3, int(log_uniform(rng, 10, 400)))
    a, c, w, phase = rng.normal(), log_uniform(rng, 0.1, 10), rng.uniform(0.3, 3), rng.uniform(0, 6)
    x = np.linspace(-3, 3, 400_001)
    least = (2 * a - c * w**2 * np.cos(w * x + phase)).min()
    true = -1 / least if least < 0 else np.inf

    def judge(found):
        if np.isinf(true) or np.isinf(found):
            return (0.0, 1.0) if np.isinf(true) and np.isinf(found) else (np.inf, 1.0)
        return abs(found / true - 1), 1e-4 if abs(least) > 1e-3 * c * w**2 else 1.0

    def f(z):
        return a * z[..., 0] ** 2 + c * np.cos(w * z[..., 0] + phase)

    return Trial(f"{a} {c} {w} {phase} {grid}", lambda: pk.shock_time(f, grid), judge)


def widths(rng):
    """A quadratic of curvature c: (exp(2 beta tolerance) - 1) / c."""
    c, beta, tolerance = (log_uniform(rng, 1e-6, 1e6) for _ in range(3))
    true = np.expm1(min(2 * beta * tolerance, 600.0)) / c
    longest = log_uniform(rng, 1e-3, 1e6)

    def judge(found):
        if np.isinf(found):
            return (0.0, 1.0) if true > longest * (1 - 1e-6) else (np.inf, 1.0)
        return abs(found / true - 1), 1e-5

    def call():
        return pk.robust_width(pk.potentials.Quadratic(c), 0.0, tolerance, beta, longest)

    return Trial(f"c {c:.4g} beta {beta:.4g} tolerance {tolerance:.4g}", call, judge)


def smoothed(rng):
    """A ripple on a bowl, smoothed in the whole space: one integral a point."""
    c, a, w, phase = rng.uniform(0.1, 3), rng.normal(), rng.uniform(0.3, 4), rng.uniform(0, 6)
    beta, gamma = log_uniform(rng, 1e-2, 1e3), log_uniform(rng, 1e-3, 10)
    grid = pk.Grid(-3, 3, int(log_uniform(rng, 20, 300)))
    x, h = rng.uniform(-2.5, 2.5, 5), float(grid.spacing[0])

    def f(y):
        return c * y**2 / 2 + a * np.cos(w * y + phase)

    def judge(V):
        out = []
        for point in x:
            y = np.linspace(point - 60, point + 60, 240_001)
            power = beta * (f(y) + (point - y) ** 2 / (2 * gamma))
            near = y[np.flatnonzero(power < power.min() + 50)]
            y = np.linspace(near[0] - 1e-3, near[-1] + 1e-3, 40_001)
            power = beta * (f(y) + (point - y) ** 2 / (2 * gamma))
            unit = np.sqrt(2 * np.pi * gamma / beta)
            out.append(-logsumexp(-power, b=(y[1] - y[0]) / unit) / beta)
        # kinks are as wide as 1 / (beta jump): splines over cells wider than that are O(h) there
        sharp = min(1.2 * h**2 * (c + abs(a) * w**2) * min(1.0, beta * h * abs(a) * w), h)
        return float(np.abs(V(x[:, None]) - out).max()), 1e-6 / beta + sharp + 1e-6

    def call():
        return pk.local_entropy(lambda z: f(z[..., 0]), gamma, beta, grid)

    return Trial(f"{c} {a} {w} {phase} beta {beta:.3g} gamma {gamma:.3g} {grid}", call, judge)


def curvatures(rng):
    """sup f'' of a wave, and that sup u'' stays below 1 / (1 / C + t): a theorem."""
    cells, k = int(log_uniform(rng, 60, 400)), int(rng.integers(1, 4))
    grid, size = pk.Grid(0, 2 * np.pi, cells, periodic=True), log_uniform(rng, 1e-2, 1e2)
    phase, beta = rng.uniform(0, 6), log_uniform(rng, 1.0, 1e3) / size
    times = np.sort(log_uniform(rng, 1e-2, 3) / size * np.array([1.0, 2.0]))
    top, h = size * k**2, float(grid.spacing[0])

    def f(z):
        return size * np.cos(k * z[..., 0] + phase)

    which = pick(rng, "semiconcavity", "widening")

    def call():
        if which == "widening":
            return pk.widening(f, beta, grid, times)
        return pk.semiconcavity(pk.solve(pk.ViscousHJ(beta), grid, f, times), f)

    def judge(found):
        data = found if which == "widening" else found.data
        bound = data["bound" if which == "widening" else "bound_xx"].values
        error = np.abs(bound * (1 / top + times) - 1).max()
        holds = found.holds if which == "semiconcavity" else all(
            (data[name] <= data["bound"] + data[f"allowance_{name}"] + 1e-9 * top).all()
            for name in ("local_entropy", "non_viscous")
        )  # fmt: skip
        return (float(error) if holds else np.inf), (k * h) ** 2 / 4 + 1e-9

    return Trial(f"{which} {cells} k {k} size {size} beta {beta} {times}", call, judge)


ROWS = [
    Row("minima over a line", ("solve HamiltonJacobi", "HopfLax"), hopf_lax, 0.5, cost=2),
    Row("minima between the nodes", ("solve HamiltonJacobi", "HopfLax"), unresolved, 0.5, cost=2),
    Row("local entropy", ("solve ViscousHJ", "ColeHopf", "Filtered", "Godunov"), viscous, 0.3,
        cost=4),
    Row("local entropy by steps", ("solve ViscousHJ", "Filtered", "Godunov"), marched, 0.9, cost=3),
    Row("Burgers", ("solve Burgers", "HopfLax", "Godunov", "Filtered"), burgers, 0.7, cost=3),
    Row("shock times", ("shock_time",), shocks, 0.9, cost=4),
    Row("robust widths", ("robust_width",), widths, 0.9, cost=20),
    Row("smoothed potentials", ("local_entropy",), smoothed, 0.8, cost=5),
    Row("curvatures", ("semiconcavity", "widening"), curvatures, 0.9, cost=3),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)


def test_a_parabola_where_there_is_none_is_caught(monkeypatch):
    """Refinement that trusts every parabola, and looks nowhere between the nodes, is caught."""
    from pdekit.pde.schemes import hopflax

    minimum = hopflax.minimum

    def trusting(values, grid, t, terms, refine):
        u, gaps = minimum(values, grid, t, terms, refine)
        return u - 0.05 * np.ptp(values), 0 * gaps

    monkeypatch.setattr(hopflax, "minimum", trusting)
    monkeypatch.setattr(hopflax, "resolves", lambda problem, bends: True)
    monkeypatch.setattr(hopflax, "least", lambda problem: -np.inf)
    with pytest.raises(AssertionError, match="silent wrong answers"):
        tally(ROWS[0], 1, 60)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_curvature_above_its_bound_is_reported(k):
    """What a certificate allows for the grid is less than a hundredth of the curvature."""
    grid = pk.Grid(0, 2 * np.pi, 200, periodic=True)

    def f(z):
        return np.cos(k * z[..., 0] + 0.3)

    solution = pk.solve(pk.ViscousHJ(100.0), grid, f, [0.1, 0.5])
    assert pk.semiconcavity(solution, f).holds
    bumped = solution.fields + 0.01 * np.cos(k * grid.axes[0] + 0.3)
    assert not pk.semiconcavity(replace(solution, fields=bumped), f).holds
