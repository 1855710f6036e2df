"""Hamilton-Jacobi equations against brute force: minima over fine scans, quadrature, shocks."""

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


def promised_between_nodes(f, grid):
    """h^3 max |f'''| / 3 of a parabola through three samples up to a wall, and 1e-4 of the range."""
    (a,), (b,), n = grid.lower, grid.upper, grid.cells[0]
    if grid.periodic[0]:
        a, b = a - (b - a) / 2, b
    y = np.linspace(a, b, 8 * n + 1)
    d = np.abs(np.diff(f.line(y), 3))
    span = 24  # samples in three cells: what the differences there sum up to
    third = max(d[k : k + span].sum() for k in range(0, d.size, 4)) * 64 * 8 / span
    return third / 3 + 1e-4 * np.ptp(f.line(y))


ROWS = [Row("minima over a line", ("solve HamiltonJacobi", "HopfLax"), hopf_lax, 0.5, cost=2)]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)
