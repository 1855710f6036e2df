"""Hamiltonians of place and time against loops over cells, paths by an ODE, and discs of reach."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from truth import Row, Trial, log_uniform, pick

import pdekit as pk
from pdekit import hamiltonians as hams
from pdekit import schemes

# --- one scheme, written as loops -----------------------------------------------------------------


def cell(i, n, ring):
    """A cell's index, or that of its image: round a ring, or in the mirror of a wall."""
    if ring:
        return i % n
    return -1 - i if i < 0 else (2 * n - 1 - i if i >= n else i)


def along(u, index, axis, grid):
    """Five values around a cell along an axis."""
    out = []
    for k in range(-2, 3):
        at = list(index)
        at[axis] = cell(index[axis] + k, u.shape[axis], grid.periodic[axis])
        out.append(u[tuple(at)])
    return out


def one_sided(five, h, second):
    a, b, c, d, e = five
    low, high = (c - b) / h, (d - c) / h
    if second:
        left, here, right = a - 2 * b + c, b - 2 * c + d, c - 2 * d + e
        if left * here > 0:
            low += np.sign(here) * min(abs(left), abs(here)) / (2 * h)
        if here * right > 0:
            high -= np.sign(here) * min(abs(right), abs(here)) / (2 * h)
    return low, high


def hamiltonian_by_loops(u, grid, b, c, second):
    """Godunov's on a line by a scan of slopes; in the plane upwind and downhill, term by term."""
    out = np.empty(u.shape)
    for index in np.ndindex(u.shape):
        pairs = [
            one_sided(along(u, index, k, grid), grid.spacing[k], second) for k in range(grid.dim)
        ]
        if grid.dim == 1:
            (low, high), speed, drift = pairs[0], c[index], b[index][0]
            p = np.append(np.linspace(low, high, 3), np.clip(0, min(low, high), max(low, high)))
            values = drift * p + speed * np.abs(p)
            out[index] = values.min() if low <= high else values.max()
            continue
        total, falls = 0.0, []
        for k, (low, high) in enumerate(pairs):
            drift = b[index][k]
            total += drift * (low if drift > 0 else high)
            falls.append(max(low, -high, 0) if c[index] > 0 else max(-low, high, 0))
        out[index] = total + c[index] * np.hypot(*falls)
    return out


def stepwise(rng):
    """Steps of the monotone scheme, and of the accurate one (a filter that lets all through)."""
    dim, second = int(rng.integers(1, 3)), bool(rng.integers(2))
    cells = tuple(rng.integers(5, 12 if dim == 1 else 8, dim))
    ring, moves = tuple(map(bool, rng.integers(0, 2, dim))), bool(rng.integers(2))
    upper = tuple(rng.uniform(0.5, 3, dim))
    grid = pk.Grid((0.0,) * dim, upper, tuple(map(int, cells)), ring)
    k, phase = rng.normal(size=(3, dim)), rng.uniform(0, 6, 3)
    size, f = rng.uniform(-3, 3, 3), rng.normal(size=grid.shape) * log_uniform(rng, 1e-6, 1e6)
    slow, steps = rng.uniform(-1, 1), int(rng.integers(1, 4))
    kinds = pick(rng, "both", "velocity", "speed")

    def wave(x, t, j):
        return size[j] * np.cos(x @ k[j] + phase[j] + slow * moves * t)

    def b(x, t):
        return np.stack([wave(x, t, j) for j in range(dim)], -1)

    def c(x, t):
        return wave(x, t, 2)

    H = {
        "velocity": hams.Advection(pk.InTime(b) if moves else lambda x: b(x, 0)),
        "speed": hams.Eikonal(pk.InTime(c) if moves else lambda x: c(x, 0)),
    }
    H = H["velocity"] + H["speed"] if kinds == "both" else H[kinds]
    most = (np.abs(size[:2][:dim]) / grid.spacing).sum() + abs(size[2]) * np.hypot(
        *np.append(1 / grid.spacing, 0.0)[:2]
    )
    dt = 0.4 / max(most, 1e-3)
    times = dt * np.arange(1, (max(grid.cells) if moves else steps) + 1)
    scheme = schemes.Filtered(epsilon=1e12) if second else schemes.Godunov(cfl=1.0)

    def rate(u, t, second):
        x = grid.centres
        none = kinds == "speed", kinds == "velocity"
        return hamiltonian_by_loops(
            u, grid, b(x, t) * (not none[0]), c(x, t) * (not none[1]), second
        )

    def judge(solution):
        u, error = f, 0.0
        for n, t in enumerate(times):
            first = rate(u, t - dt, second)
            if second:
                first = (first + rate(u - dt * first, t, True)) / 2
            u = u - dt * first
            # what the bounds known beforehand clip, they clip of the answer alone
            shown = np.clip(u, f.min(), f.max()) if second else u
            error = max(error, np.abs(solution.fields[n] - shown).max())
        return error, 1e-10 * np.abs(f).max()

    what = f"{grid} {kinds} {size} {k.tolist()} {phase} moves {moves} {slow} dt {dt} {scheme!r}"
    return Trial(what, lambda: pk.solve(pk.HamiltonJacobi(H), grid, f, times, scheme), judge)


# --- the true solution ----------------------------------------------------------------------------


def within_reach(rng):
    """On a line, b(x, t) p + c(x, t)|p|, c of one sign: least (greatest) between extreme paths."""
    cells, sign = int(log_uniform(rng, 60, 300)), pick(rng, 1.0, 1.0, -1.0)
    ring = bool(rng.integers(2))
    grid = pk.Grid(0.0, 2 * np.pi, cells, periodic=ring)
    speed, size = log_uniform(rng, 1e-2, 1e2), log_uniform(rng, 1e-3, 1e3)
    a, phase, drift = rng.uniform(0, 0.8), rng.uniform(0, 6, 4), rng.uniform(0, 1)
    clock, waves = speed * rng.uniform(0, 1), int(rng.integers(1, 3))
    t = log_uniform(rng, 0.02, 1.0) / speed
    if not ring:
        phase[3] = pick(rng, 0.0, np.pi)

    def b(x, t):  # none through a wall
        bent = 1.0 if ring else np.sin(x / 2)
        return speed * drift * bent * np.sin(x + phase[0] + clock * t)

    def c(x, t):
        return sign * speed * (1 + a * np.cos(x + phase[1] + clock * t))

    def f(x):
        return size * np.cos(waves * x + phase[3])

    moves = rng.random() < 0.7
    clock = clock * moves
    H = hams.Advection(pk.InTime(b)) + hams.Eikonal(pk.InTime(lambda x, s: c(x[..., 0], s)))
    if not moves:
        H = hams.Advection(lambda x: b(x, 0)) + hams.Eikonal(lambda x: c(x[..., 0], 0))
    scheme = pick(rng, None, None, schemes.Godunov())
    some = np.unique(rng.integers(0, cells, 12))

    def judge(solution):
        x, off = grid.axes[0][some], []

        def paths(s, y):  # both ends of all; at the walls they stay
            low, high = np.split(y, 2)
            back = t - s
            return np.concatenate([-b(low, back) - np.abs(c(low, back)),
                                   -b(high, back) + np.abs(c(high, back))])  # fmt: skip

        if ring:
            ends = solve_ivp(paths, (0, t), np.tile(x, 2), rtol=1e-8, atol=1e-9).y[:, -1]
        else:  # a path stops at a wall: steps of Euler, short enough
            ends = np.tile(x, 2)
            for n in range(4000):
                ends = np.clip(ends + t / 4000 * paths((n + 0.5) * t / 4000, ends), 0, 2 * np.pi)
        for low, high, value in zip(*np.split(ends, 2), solution.fields[0][some], strict=True):
            values = f(np.linspace(low, high, 2001))
            off.append(abs(value - (values.min() if sign > 0 else values.max())))
        h = waves * 2 * np.pi / cells
        order = 2 * h if isinstance(scheme, schemes.Godunov) else 8 * h**2
        return float(np.mean(off)), size * (order + 1e-3)

    what = (
        f"{grid} sign {sign} speed {speed:.3g} a {a:.3g} drift {drift:.3g} clock {clock:.3g} "
        f"phase {phase} waves {waves} size {size:.3g} t {t:.4g} moves {moves} {scheme!r}"
    )
    return Trial(what, lambda: pk.solve(pk.HamiltonJacobi(H), grid, lambda x: f(x[..., 0]), t,
                                        scheme), judge)  # fmt: skip


def turning(rng):
    """In the plane a rotation, a current and a speed that change in time: a disc goes along."""
    cells = int(log_uniform(rng, 30, 60))
    grid = pk.Grid((-1.0, -1.0), (1.0, 1.0), cells)
    turn, current = rng.uniform(-2, 2), rng.uniform(-0.3, 0.3, 2)
    clock, sign = rng.uniform(0, 3), pick(rng, 1.0, -1.0)
    fast, t, size = rng.uniform(0, 0.5), rng.uniform(0.1, 0.7), log_uniform(rng, 1e-3, 1e3)
    focus, scheme = rng.uniform(-0.2, 0.2, 2), pick(rng, None, schemes.Godunov())

    def rate(s):
        return 1 + np.sin(clock * s) / 2

    def b(x, s):
        return turn * np.stack([-x[..., 1], x[..., 0]], -1) + rate(s) * current

    H = hams.Advection(pk.InTime(b))
    H = H + hams.Eikonal(pk.InTime(lambda x, s: sign * fast * rate(s) + 0 * x[..., 0]))

    def f(x):
        return size * np.exp(-4 * ((x - focus) ** 2).sum(-1))

    def judge(solution):
        inside = np.hypot(*np.moveaxis(grid.centres, -1, 0)) < 0.35
        x = grid.centres[inside]
        # back along the paths: y' = -b(y, t - s)
        back = solve_ivp(lambda s, y: -b(y.reshape(x.shape), t - s).ravel(), (0, t), x.ravel(),
                         rtol=1e-8).y[:, -1].reshape(x.shape)  # fmt: skip
        radius = fast * (t + (1 - np.cos(clock * t)) / (2 * max(clock, 1e-9)))
        r, angle = np.meshgrid(np.linspace(0, radius, 61), np.linspace(0, 2 * np.pi, 181))
        disc = np.stack([r * np.cos(angle), r * np.sin(angle)], -1).reshape(-1, 1, 2)
        values = f(back + disc)
        true = values.min(0) if sign > 0 else values.max(0)
        h = 2 / cells * np.sqrt(8)
        order = 2 * h if isinstance(scheme, schemes.Godunov) else 8 * h**2
        error = np.abs(solution.fields[0][inside] - true).mean()
        return float(error), size * (order + 1e-3)

    what = (
        f"{cells} turn {turn:.3g} current {current} clock {clock:.3g} sign {sign} fast {fast:.3g} "
        f"t {t:.3g} size {size:.3g} focus {focus} {scheme!r}"
    )
    return Trial(what, lambda: pk.solve(pk.HamiltonJacobi(H), grid, f, t, scheme), judge)


def separable(rng):
    """H(x, p) = g(p) - ℓ(x) of users on a line, a running cost by dynamic programming.

    u = min over polygons of paths, by a fine lattice of places and times: an independent scheme.
    """
    cells = int(log_uniform(rng, 60, 150))
    grid, t = pk.Grid(-1.0, 1.0, cells), log_uniform(rng, 0.05, 0.6)
    a, k, phase = rng.uniform(0, 1), rng.uniform(1, 4), rng.uniform(0, 6, 2)
    with_slope = bool(rng.integers(2))

    def cost(x):
        return a * np.cos(k * x + phase[0])

    def f(x):
        return np.cos(np.pi * x + pick(np.random.default_rng(int(phase[1] * 1e6)), 0.0, np.pi))

    H = hams.StateDependent(
        lambda x, p: p[..., 0] ** 2 / 2 - cost(x[..., 0]), (lambda x, p: p) if with_slope else None
    )

    def judge(solution):
        y = np.linspace(-1, 1, 601)
        steps = 24
        u, dt = f(y), t / steps
        running = (cost(y)[:, None] + cost(y)[None]) / 2 * dt + (y[:, None] - y) ** 2 / (2 * dt)
        for _ in range(steps):
            u = _refined_minimum(running + u, y)
        true = np.interp(grid.axes[0], y, u)
        inner = np.abs(grid.axes[0]) < 0.98
        error = np.abs(solution.fields[0] - true)[inner].mean()
        return float(error), 20 * (2 / cells) ** 2 + 4e-3

    what = f"cells {cells} t {t:.3g} a {a:.3g} k {k:.3g} phase {phase} slope {with_slope}"
    return Trial(what, lambda: pk.solve(pk.HamiltonJacobi(H), grid, lambda x: f(x[..., 0]), t),
                 judge)  # fmt: skip


def _refined_minimum(total, y):
    """Row minima, by the parabola through the least and its neighbours."""
    at = np.clip(total.argmin(1), 1, y.size - 2)
    row = np.arange(len(total))
    a, b, c = total[row, at - 1], total[row, at], total[row, at + 1]
    bend = a - 2 * b + c
    shift = np.clip((a - c) / (2 * np.where(bend > 0, bend, 1.0)), -1, 1)
    return np.minimum(total.min(1), b - np.where(bend > 0, (a - c) * shift / 4, 0.0))


def hidden(rng):
    """Speeds and velocities whose waves the cells do not show: said, whatever the rest."""
    dim, cells = int(rng.integers(1, 3)), int(log_uniform(rng, 30, 100))
    grid = pk.Grid((0.0,) * dim, (1.0,) * dim, cells, periodic=bool(rng.integers(2)))
    wave = log_uniform(rng, 0.03, 3.0) / cells
    share, phase = log_uniform(rng, 0.1, 1.0), rng.uniform(0, 6)

    def ripple(x):
        return 1 + share * np.sin(2 * np.pi * x[..., 0] / wave + phase)

    H = pick(
        rng,
        hams.Eikonal(ripple),
        hams.Advection(lambda x: np.stack([ripple(x)] * dim, -1)),
        hams.StateDependent(lambda x, p: ripple(x) * (p**2).sum(-1) / 2, dim=dim),
    )
    f = np.cos(2 * np.pi * grid.centres[..., 0])
    what = f"{grid} wave of {wave * cells:.4g} cells, share {share:.3g} phase {phase:.3g} {H!r}"
    return Trial(what, lambda: pk.solve(pk.HamiltonJacobi(H), grid, f, 0.01), None, nonsense=True)


# --- times of arrival -----------------------------------------------------------------------------


def arriving(rng):
    """Speeds that change linearly, whose rays are circles, from a set of equal times; or a box."""
    width, c0 = log_uniform(rng, 0.1, 30), log_uniform(rng, 0.01, 100)
    low = width * rng.normal(size=2)
    cells = tuple(int(log_uniform(rng, 16, 120)) for _ in range(2))
    ring = (bool(rng.random() < 0.3), False)
    grid = pk.Grid(tuple(low), tuple(low + width * rng.uniform(0.6, 1.4, 2)), cells, ring)
    size = np.subtract(grid.upper, grid.lower)
    x0 = np.add(grid.lower, size * rng.uniform(0.1, 0.9, 2))
    order = pick(rng, 1, 2)
    if rng.random() < 0.5:
        half = size * rng.uniform(0.02, 0.3, 2)

        def exact(x):
            away = np.abs(x - x0)
            away[..., 0] = (
                np.minimum(away[..., 0], size[0] - away[..., 0]) if ring[0] else away[..., 0]
            )
            return np.linalg.norm(np.maximum(away - half, 0), axis=-1) / c0

        speed, target = c0, (tuple(x0 - half), tuple(x0 + half))
    else:
        if ring[0]:
            grid = pk.Grid(grid.lower, grid.upper, cells)
        steep = rng.uniform(0.05, 0.9) / np.linalg.norm(size) * rng.choice([-1.0, 1.0], 2)
        a, first = c0 * steep, rng.uniform(0.03, 0.3) * size.min() / c0

        def speed(x):
            return c0 + (x - x0) @ a

        def time(x):
            g = np.linalg.norm(a)
            wide = g**2 * ((x - x0) ** 2).sum(-1) / (2 * speed(x) * c0)
            return np.arccosh(1 + np.clip(wide, 0, None)) / g

        def exact(x):
            return np.maximum(time(x) - first, 0)

        def target(x):
            return time(x) < first

    def judge(made):
        true = exact(grid.centres)
        return float(np.abs(made.values - true).max()), 0.05 * float(true.max())

    what = (
        f"arrival_time, {cells} cells over {size}, periodic={ring}, order={order}, x0={x0}, c0={c0}"
    )
    return Trial(what, lambda: pk.arrival_time(speed, grid, target, order), judge)


ROWS = [
    Row("steps of fronts by loops", ("solve HamiltonJacobi", "Advection", "Eikonal", "Godunov",
        "Filtered"), stepwise, 0.5, cost=4),
    Row("within reach on a line", ("solve HamiltonJacobi", "Advection", "Eikonal", "Godunov",
        "Filtered"), within_reach, 0.8, cost=4),
    Row("a disc carried along", ("solve HamiltonJacobi", "Advection", "Eikonal"), turning, 0.8,
        cost=10),
    Row("times of arrival", ("arrival_time",), arriving, 0.6),
    Row("running costs by dynamic programming", ("solve HamiltonJacobi", "StateDependent"),
        separable, 0.8, cost=10),
    Row("speeds that cells do not show", ("solve HamiltonJacobi", "StateDependent"), hidden, 0.0,
        cost=4),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)
