"""Hamilton-Jacobi equations in the plane, beyond the walls, and with any Hamiltonian."""

import numpy as np
import pytest
from scipy.special import logsumexp
from truth import Row, Trial, log_uniform, pick

import pdekit as pk
from pdekit import hamiltonians as hams
from pdekit import schemes


class Waves:
    """Three plane waves, none shorter than fourteen cells, and a bowl."""

    def __init__(self, rng, width, cells):
        self.size = log_uniform(rng, 1e-3, 1e3)
        self.bowl = pick(rng, 0.0, 1.0) * rng.uniform(0, 3) / width**2
        most = 2 * np.pi * cells / width / 14
        self.k = np.array([most * rng.uniform(0.1, 1) * unit(rng) for _ in range(3)])
        self.a, self.phase = rng.normal(size=3) / 3, rng.uniform(0, 6, 3)

    def __call__(self, x):
        waves = np.cos(np.asarray(x) @ self.k.T + self.phase) @ self.a
        return self.size * (waves + self.bowl * (np.asarray(x) ** 2).sum(-1) / 2)

    def third(self):
        """A bound on the third derivatives along the axes."""
        return self.size * (np.abs(self.a) * np.abs(self.k).max(1) ** 3).sum()


def unit(rng):
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def brute(total, low, high):
    """The least of total(points) over a box, by nested scans about the lowest points."""
    axes = [np.linspace(a, b, 241) for a, b in zip(low, high, strict=True)]
    y = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    values, side, best = total(y), (high - low) / 240, np.inf
    for start in np.argsort(values)[:12]:
        centre, reach = y[start], side
        for _ in range(7):
            steps = np.linspace(-1, 1, 15)
            near = centre + np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) * reach
            near = np.clip(near, low, high)
            found = total(near)
            centre, reach = near[found.argmin()], reach / 5
            best = min(best, found.min())
    return best


def minima(rng):
    width, cells = log_uniform(rng, 0.1, 30), int(log_uniform(rng, 12, 60))
    low = width * rng.normal(size=2) / 3
    high = low + width
    grid = pk.Grid(tuple(low), tuple(high), cells)
    f, c = Waves(rng, width, cells), log_uniform(rng, 0.1, 10)
    a, b = rng.uniform(1.3, 3), rng.uniform(1.3, 3)
    H, L = pick(
        rng,
        (None, lambda v: (v**2).sum(-1) / 2),
        (hams.Power(a, c), lambda v: conjugate(v[:, 0], a, c) + conjugate(v[:, 1], a, c)),
        (
            hams.Separable((hams.Power(a, c), hams.Power(b))),
            lambda v: conjugate(v[:, 0], a, c) + conjugate(v[:, 1], b, 1.0),
        ),
    )
    t = width**2 / f.size * log_uniform(rng, 1e-5, 1e5)
    some = [tuple(rng.integers(0, cells, 2)) for _ in range(3)]
    given = f if rng.random() < 0.5 else f(grid.centres)

    def judge(solution):
        u, error = solution.fields[0], 0.0
        for at in some:
            x = grid.centres[at]
            true = brute(lambda y, x=x: f(y) + t * L((x - y) / t), low, high)
            error = max(error, abs(u[at] - true))
        h, scale = width / cells, np.ptp(f(grid.centres))
        return float(error), 2 / 3 * h**3 * f.third() + 3e-4 * scale + 1e-12 * np.abs(u).max()

    what = f"{grid} {vars(f)} {H!r} t {t:.4g} {'callable' if callable(given) else 'array'}"
    return Trial(what, lambda: pk.solve(pk.HamiltonJacobi(H), grid, given, t), judge)


def conjugate(v, a, c):
    b = a / (a - 1)
    with np.errstate(over="ignore"):
        return c * np.abs(v / c) ** b / b


def entropy(rng):
    """-log of the mean of exp(-beta f) under a Gaussian, reflected at walls: sums over nodes."""
    width, cells = log_uniform(rng, 0.3, 10), int(log_uniform(rng, 12, 48))
    grid = pk.Grid((0.0, 0.0), (width, width), cells)
    f = Waves(rng, width, cells)
    beta = log_uniform(rng, 1e-5, 1e4) / f.size
    t = width**2 * beta * log_uniform(rng, 1e-3, 10) ** 2  # of the box: the width of the kernel
    some = [tuple(rng.integers(0, cells, 2)) for _ in range(4)]
    n = 900
    y = width * (np.arange(n) + 0.5) / n
    given = f if rng.random() < 0.5 else f(grid.centres)

    def kernel(x):
        images = np.arange(-40, 41)[:, None] * 2 * width
        every = np.concatenate([images + y, images - y])
        return logsumexp(-beta * (x - every) ** 2 / (2 * t), axis=0)

    def judge(solution):
        u, error = solution.fields[0], 0.0
        values = f(np.stack(np.meshgrid(y, y, indexing="ij"), -1))
        for at in some:
            x = grid.centres[at]
            p, q = kernel(x[0]), kernel(x[1])
            weights = p[:, None] - logsumexp(p) + q - logsumexp(q)
            error = max(error, abs(u[at] + logsumexp(weights - beta * values) / beta))
        h = width / cells
        # a reflected slope is a kink, by which midpoint sums err: as the scheme says
        fall = np.abs(f.k).max() * np.abs(f.a).sum() * f.size
        kink = h**2 * fall / 12 * min(1.0, beta * fall * h) / np.sqrt(t / beta)
        promised = 2 / 3 * h**3 * f.third() + 3e-4 * np.ptp(values) + kink + 1e-9 / beta
        return float(error), promised

    what = f"{grid} {vars(f)} beta {beta:.4g} t {t:.4g}"
    return Trial(what, lambda: pk.solve(pk.ViscousHJ(beta), grid, given, t), judge)


def extended(rng):
    """A parabola in the whole space: c |x-m|^2 / 2(1 + c t) + d log(1 + c t) / 2 beta."""
    dim, c, beta = pick(rng, 1, 1, 2), log_uniform(rng, 1e-2, 1e2), log_uniform(rng, 1e-2, 1e4)
    t, width = log_uniform(rng, 1e-4, 1e2) / c, log_uniform(rng, 0.1, 10)
    cells = int(log_uniform(rng, 4, 400 if dim == 1 else 40))
    grid, m = pk.Grid((-width,) * dim, (width,) * dim, cells), width * rng.normal() / 2

    def judge(solution):
        away = ((grid.centres - m) ** 2).sum(-1)
        true = c * away / (2 * (1 + c * t)) + dim * np.log1p(c * t) / (2 * beta)
        error = np.abs(solution.fields[0] - true).max()
        return float(error), 1e-9 * np.abs(true).max() + 1e-9 / beta

    def call():
        def f(x):
            return c * ((x - m) ** 2).sum(-1) / 2

        return pk.solve(pk.ViscousHJ(beta), grid, f, t, schemes.ColeHopf(extend=True))

    return Trial(f"c {c:.4g} m {m:.4g} beta {beta:.4g} t {t:.4g} {grid}", call, judge)


def characteristics(rng):
    """Any H on a circle before the first kink: u = f + t (p H'(p) - H(p)) at x = y + t H'(p)."""
    cells, k = int(log_uniform(rng, 40, 300)), int(rng.integers(1, 3))
    grid, size = pk.Grid(0.0, 2 * np.pi, cells, periodic=True), log_uniform(rng, 1e-2, 1e2)
    phase, c = rng.uniform(0, 6), log_uniform(rng, 0.1, 10)
    kind = pick(rng, "cos", "square", "quartic")
    unit = c / (1 + size * k) ** 2
    function, slope, bend = {
        "cos": (lambda p: -c * np.cos(p), lambda p: c * np.sin(p), c),
        "square": (lambda p: p**2 / 2, lambda p: p, 1.0),
        "quartic": (lambda p: unit * (p**4 / 4 - p**2 / 2), lambda p: unit * (p**3 - p), 3 * c),
    }[kind]
    H = None if kind == "square" else hams.Custom(lambda p: function(p[..., 0]))
    t = rng.uniform(0.05, 0.7) / (bend * size * k**2)
    scheme = pick(rng, schemes.Filtered(), schemes.Filtered(), schemes.Godunov())

    def judge(solution):
        y = np.linspace(-2 * np.pi, 4 * np.pi, 60_001)
        p = -size * k * np.sin(k * y + phase)
        f = size * np.cos(k * y + phase)
        far = y + t * slope(p)
        true = np.interp(grid.axes[0], far, f + t * (p * slope(p) - function(p)))
        error = np.abs(solution.fields[0] - true).mean()
        h = k * 2 * np.pi / cells
        order = h if isinstance(scheme, schemes.Godunov) else 2 * h**2
        return float(error), size * order + 1e-6 * size

    what = f"{kind} size {size:.3g} k {k} c {c:.3g} phase {phase:.3g} t {t:.3g} {cells} {scheme!r}"

    def call():
        def f(x):
            return size * np.cos(k * x[..., 0] + phase)

        return pk.solve(pk.HamiltonJacobi(H), grid, f, t, scheme)

    return Trial(what, call, judge)


def level_sets(rng):
    """H = c |p| in the plane: the least f within c t, by scans over the disc, walls or none."""
    cells, ring = int(log_uniform(rng, 24, 64)), bool(rng.random() < 0.5)
    grid = pk.Grid((0.0, 0.0), (2 * np.pi,) * 2, cells, periodic=ring)
    c, size, a = log_uniform(rng, 0.1, 10), log_uniform(rng, 1e-3, 1e3), rng.normal(size=3)
    phase, t = rng.uniform(0, 6, 2), log_uniform(rng, 0.02, 4) / c
    scheme = pick(rng, None, schemes.Filtered(), schemes.Godunov())
    some = [tuple(rng.integers(0, cells, 2)) for _ in range(12)]

    def f(x):
        u, v = x[..., 0] + phase[0], x[..., 1] + phase[1]
        return size / 3 * (a[0] * np.cos(u) + a[1] * np.cos(v) + a[2] * np.cos(u + v))

    r, angle = np.meshgrid(np.linspace(0, c * t, 121), np.linspace(0, 2 * np.pi, 361))
    disc = np.stack([r * np.cos(angle), r * np.sin(angle)], -1)

    def judge(solution):
        u, data, errors = solution.fields[0], f(grid.centres), []
        below = u.min() < -size / 3 * np.abs(a).sum()  # the data's range, which is kept
        for at in some:
            y = grid.centres[at] + disc
            y = y if ring else np.clip(y, 0, 2 * np.pi)  # nearer to x than it was
            errors.append(abs(u[at] - f(y).min()))
        h = 2 * np.pi / cells
        order = h if isinstance(scheme, schemes.Godunov) else 4 * h**2
        promised = size * np.abs(a).sum() / 3 * (order + 1e-3)
        return np.inf if below or u.max() > data.max() else float(np.mean(errors)), promised

    what = f"c {c:.3g} size {size:.3g} a {a} phase {phase} t {t:.3g} {cells} {ring} {scheme!r}"
    equation = pk.HamiltonJacobi(hams.Eikonal(c))
    return Trial(what, lambda: pk.solve(equation, grid, f, t, scheme), judge)


ROWS = [
    Row("minima over a plane", ("solve HamiltonJacobi", "HopfLax", "Power", "Separable"), minima,
        0.5, cost=10),
    Row("local entropy in a plane", ("solve ViscousHJ", "ColeHopf"), entropy, 0.5, cost=15),
    Row("smoothing beyond walls", ("ColeHopf",), extended, 0.6, cost=4),
    Row("level sets in a plane", ("solve HamiltonJacobi", "Eikonal", "Filtered", "Godunov"),
        level_sets, 0.8, cost=10),
    Row("characteristics", ("solve HamiltonJacobi", "Filtered", "Godunov", "Custom"),
        characteristics, 0.8, cost=10),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)
