"""compare, its metrics, convergence and sampled_curvature, beside loops, quadrature and transport.

Boxes from 1e-12 to 1e12 wide, 4 to 300 cells, lines, rings and planes; 50 to a million particles,
some beyond the walls, on faces, or all in one cell; densities with empty cells.
"""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import ot
import pytest
import xarray as xr
from scipy import optimize, special, stats
from truth import Random, Row, Trial, draw, judged, log_uniform, pick

import pdekit as pk
from pdekit import comparison as c
from pdekit.comparison import distances

# ---- random densities and particles


def box(rng: Random, dim: int, most: int = 300) -> pk.Grid:
    cells = [int(log_uniform(rng, 4, most)) for _ in range(dim)]
    width = [log_uniform(rng, 1e-12, 1e12) for _ in range(dim)]
    if dim == 2:
        width[1] = width[0] * log_uniform(rng, 0.2, 5)
    low = [w * float(rng.uniform(-3, 2)) for w in width]
    high = [a + w for a, w in zip(low, width, strict=True)]
    wound = [bool(rng.random() < 0.3) for _ in range(dim)]
    return pk.Grid(tuple(low), tuple(high), tuple(cells), tuple(wound))


def shares(rng: Random, grid: pk.Grid) -> Any:
    """Masses of the cells: a wide or narrow bump, two, an edge, noise, with empty cells or not."""
    z = (grid.centres - np.array(grid.lower)) / (np.array(grid.upper) - np.array(grid.lower))
    m, s = rng.uniform(0, 1, grid.dim), log_uniform(rng, 0.02, 2.0)
    bump = np.exp(-((z - m) ** 2).sum(-1) / (2 * s * s))
    kind = pick(rng, "bump", "two", "edge", "noise", "holes")
    if kind == "two":
        bump = bump + np.exp(-((z - rng.uniform(0, 1, grid.dim)) ** 2).sum(-1) / (2 * s * s))
    if kind == "edge":
        bump = np.exp(-z.sum(-1) / log_uniform(rng, 0.02, 1.0))
    if kind == "noise":
        bump = rng.dirichlet(np.full(grid.centres[..., 0].size, 0.3)).reshape(grid.shape)
    if kind == "holes":
        bump = bump * (rng.random(grid.shape) < 0.6)
    bump = bump + (bump.max() <= 0)
    return bump / bump.sum()


def inside(rng: Random, mass: Any, grid: pk.Grid, n: int) -> Any:
    """Points of the density, even in each cell."""
    flat = rng.choice(mass.size, n, p=mass.ravel())
    z = grid.centres.reshape(-1, grid.dim)[flat]
    return z + (rng.random((n, grid.dim)) - 0.5) * grid.spacing


def cloud(rng: Random, mass: Any, grid: pk.Grid) -> Any:
    """Particles that may be anywhere, not of the density."""
    n = int(log_uniform(rng, 50, 2_000))
    x = inside(rng, mass, grid, n)
    side = np.array(grid.upper) - np.array(grid.lower)
    kind = pick(rng, "there", "moved", "outside", "faces", "one cell")
    if kind == "moved":
        x = x + 0.1 * side * rng.normal(size=grid.dim)
    if kind == "outside":
        x = np.array(grid.lower) + side * rng.normal(0.5, 0.7, x.shape)
    if kind == "faces":
        for k in range(grid.dim):
            x[:, k] = rng.choice(grid.faces[k], n)
    if kind == "one cell":
        x[:] = grid.centres.reshape(-1, grid.dim)[int(rng.integers(mass.size))]
    return x


def density(mass: Any, grid: pk.Grid, times: Any = (1.0,)) -> Any:
    rho = np.broadcast_to(mass / grid.cell_volume, (len(times), *grid.shape))
    coords = {"time": list(times), **dict(zip(grid.names, grid.axes, strict=True))}
    return SimpleNamespace(u=xr.DataArray(rho, coords, ("time", *grid.names)), grid=grid)


def particles(x: Any, times: Any = (1.0,)) -> Any:
    dims = ("time", "particle", "dim")
    return SimpleNamespace(x=xr.DataArray(np.asarray(x)[None], {"time": list(times)}, dims))


# ---- distances


def wound(x: Any, grid: pk.Grid) -> Any:
    """Positions within the period."""
    out = np.array(x, dtype=float)
    for k in range(grid.dim):
        if grid.periodic[k]:
            a, b = grid.lower[k], grid.upper[k]
            out[:, k] = a + np.mod(out[:, k] - a, b - a)
    return out


def counted(x: Any, grid: pk.Grid) -> Any:
    """Particles in the cells, a loop; one beyond a wall counts in the wall's cell."""
    counts = np.zeros(grid.shape)
    for point in x:
        cell = tuple(
            min(max(int(np.floor((v - a) / h)), 0), m - 1)
            for v, a, h, m in zip(point, grid.lower, grid.spacing, grid.shape, strict=True)
        )
        counts[cell] += 1
    return counts


def atoms(mass: Any, faces: Any, m: int) -> tuple[Any, Any]:
    """Each cell as ``m`` atoms: nothing is farther than half an m-th of a cell from its own."""
    inner = (np.arange(m) + 0.5) / m
    return (faces[:-1, None] + np.diff(faces)[:, None] * inner).ravel(), np.repeat(mass / m, m)


ANGLES = (np.arange(16) + 0.5) * np.pi / 16


def sliced(counts: Any, mass: Any, grid: pk.Grid, power: int) -> float:
    z = grid.centres.reshape(-1, 2)
    lines = np.stack([np.cos(ANGLES), np.sin(ANGLES)])
    found = ot.sliced_wasserstein_distance(
        z, z, counts.ravel() / counts.sum(), mass.ravel(), projections=lines, p=power
    )
    return float(found)


def distance(name: str, x: Any, mass: Any, grid: pk.Grid) -> tuple[float, float]:
    """What a metric should be, and to what it is asked; in units of the box, where it has units."""
    n, counts = len(x), counted(x, grid)
    unit = grid.upper[0] - grid.lower[0]
    if name in ("l1", "kl", "chi2"):
        labels = distances.equal_mass_bins(mass, distances.smallest_bin(n)).ravel()
        rows = [(counts.ravel()[labels == k].sum() / n, mass.ravel()[labels == k].sum())
                for k in range(labels.max() + 1)]  # fmt: skip
        total = {"l1": lambda q, p: abs(q - p), "kl": lambda q, p: q * np.log(q / p) if q else 0.0,
                 "chi2": lambda q, p: n * (q - p) ** 2 / p}[name]  # fmt: skip
        return sum(total(q, p) for q, p in rows), 1e-9
    if name == "ks":
        gaps = [np.abs(np.cumsum((counts / n - mass).sum(axis=tuple({0, 1} - {k})[: grid.dim - 1])))
                for k in range(grid.dim)]  # fmt: skip
        return float(max(gap.max() for gap in gaps)), 1e-9
    if name == "moments":
        z = grid.centres.reshape(-1, grid.dim)
        scores = []
        for k in range(grid.dim):
            centred = z[:, k] - (mass.ravel() * z[:, k]).sum()
            width = np.sqrt((mass.ravel() * centred**2).sum())
            # no width but rounding is none, of coordinates and of their powers
            centred = centred / width if width > 1e-9 * grid.spacing[k] else 0 * centred
            for order in range(1, 5):
                f = centred**order - (mass.ravel() * centred**order).sum()
                size = np.sqrt((mass.ravel() * f**2).sum() / n)
                gap = ((counts / n - mass).ravel() * f).sum()
                scores.append(abs(gap) / size if size > 1e-9 / np.sqrt(n) else 0.0)
        return max(scores), 1e-5 * max(scores) + 1e-5
    if grid.dim == 2 and name == "energy":
        d = (counts / n - mass).ravel()
        z = grid.centres.reshape(-1, 2) / unit
        squared = -sum(d[i] * (d @ np.hypot(*(z - z[i]).T)) for i in range(len(z)))
        return float(np.sqrt(max(squared, 0.0))), 1e-6
    if grid.dim == 2:
        power = 1 if name == "w1" else 2
        slab = 2 * float(grid.spacing.min())
        return sliced(counts, mass, grid, power) / unit, slab / unit
    m = 400
    faces = (grid.faces[0] - grid.lower[0]) / unit
    z, weight = atoms(mass, faces, m)
    cell = float(np.diff(faces).max()) / m
    at = (x[:, 0] - grid.lower[0]) / unit
    if name == "w1":
        return float(stats.wasserstein_distance(at, z, None, weight)), cell
    if name == "energy":
        y, held = atoms(counts / n, faces, m)
        found = float(stats.energy_distance(y, z, np.maximum(held, 1e-300), weight))
        return found, 2 * np.sqrt(cell) * 0.05 + 3e-3 * found
    found = ot.emd2_1d(at, z, None, weight / weight.sum())
    return float(np.sqrt(max(found, 0.0))), cell


VALUES = {
    "l1": c.L1(), "kl": c.KL(), "chi2": c.ChiSquare(), "ks": c.KolmogorovSmirnov(), "w1": c.W1(),
    "w2": c.W2(), "w2_sliced": c.SlicedW2(), "moments": c.Moments(), "energy": c.Energy(),
}  # fmt: skip
LENGTHS = ("w1", "w2", "w2_sliced", "energy")


def metric_row(name: str, dims: tuple[int, ...]) -> Row:
    def make(rng: Random) -> Trial:
        # boxes of the bootstrap are cells as long as there are few
        grid = box(rng, pick(rng, *dims), 300 if dims == (1,) else 30)
        mass = shares(rng, grid)
        x = cloud(rng, mass, grid)
        what = f"{name}: {grid}, {len(x)} particles"

        def call() -> Any:
            return c.compare(density(mass, grid), particles(x), (VALUES[name],), draws=19)

        def judge(found: Any) -> tuple[float, float]:
            value = float(found.data[name].values[0])
            expected, allowed = distance(name, wound(x, grid), mass, grid)
            unit = grid.upper[0] - grid.lower[0] if name in LENGTHS else 1.0
            unit = np.sqrt(unit) if name == "energy" else unit
            return abs(value / unit - expected), allowed + 1e-9 * (1 + abs(expected))

        return Trial(what, call, judge)

    verb = type(VALUES[name]).__name__
    return Row(f"metric {verb} in {dims}", (verb, "compare"), make, answered=0.95, cost=3)


def exact_w2(rng: Random) -> Trial:
    """In the plane, few particles: the assignment problem by another solver."""
    grid, n = box(rng, 2, 12), 60
    whole = rng.multinomial(n, rng.dirichlet(np.ones(int(np.prod(grid.shape)))))
    mass = whole.reshape(grid.shape) / n
    x = cloud(rng, mass, grid)[:n]
    x = np.concatenate([x, x])[:n]
    grid = pk.Grid(grid.lower, grid.upper, grid.cells)

    def judge(found: Any) -> tuple[float, float]:
        y = np.repeat(grid.centres.reshape(-1, 2), whole, axis=0)
        unit = grid.upper[0] - grid.lower[0]
        cost = (((x[:, None] - y[None]) / unit) ** 2).sum(-1)
        i, j = optimize.linear_sum_assignment(cost)
        best = np.sqrt(cost[i, j].mean())
        return abs(float(found.data["w2"].values[0]) / unit - best), 1e-6 * (1 + best)

    return Trial(f"W2 of {n} particles on {grid}",
                 lambda: c.compare(density(mass, grid), particles(x), (c.W2(),), draws=19),
                 judge)  # fmt: skip


# ---- verdicts

REPEATS, LEVEL = 500, 0.01


def histograms(counts: Any, grid: pk.Grid) -> Any:
    """Many ensembles along a time axis, as ``simulate(..., observe=Histogram(grid), keep=False)``
    leaves them."""
    attrs = {"lower": grid.lower, "upper": grid.upper, "periodic": [int(p) for p in grid.periodic],
             "every": 0}  # fmt: skip
    times = np.arange(1.0, len(counts) + 1)
    both = {"histogram": (("time", *grid.names), counts, attrs), "outside": ("time", 0 * times)}
    return SimpleNamespace(x=None, observed=xr.Dataset(both, {"time": times}))


def calibration(rng: Random) -> Trial:
    """Ensembles of the density itself: at level 0.01 no more are refused than chance would have.

    Promised: what 500 independent verdicts exceed with probability 1e-8 at rates of 0.013 at level
    0.01 and 0.0025 at 0.001, which allows for the law of chi-square being that of many particles.
    """
    grid = box(rng, pick(rng, 1, 1, 2), 120)
    if grid.dim == 2:
        grid = pk.Grid(grid.lower, grid.upper, tuple(min(30, m) for m in grid.cells), grid.periodic)
    mass, n = shares(rng, grid), int(log_uniform(rng, 50, 1e6))
    counts = rng.multinomial(n, mass.ravel(), REPEATS).reshape(REPEATS, *grid.shape)
    times = np.arange(1.0, REPEATS + 1)

    def judge(found: Any) -> tuple[float, float]:
        p = found.data["p_value"].values
        rates = {LEVEL: 1.3 * LEVEL, LEVEL / 10: LEVEL / 4}
        shares = [(p < level).sum() / stats.binom.isf(1e-8, REPEATS, rate)
                  for level, rate in rates.items()]  # fmt: skip
        return float(max(shares)), 1.0

    return Trial(f"level {LEVEL}: {n} of the density on {grid}, {mass.max():.2g} in the fullest",
                 lambda: c.compare(density(mass, grid, times), histograms(counts, grid)),
                 judge)  # fmt: skip


def planted(rng: Random) -> Trial:
    """Particles of another law, twelve standard errors away in mean or spread, or astray."""
    width, dim = log_uniform(rng, 1e-12, 1e12), pick(rng, 1, 2)
    grid = pk.Grid((-8 * width,) * dim, (8 * width,) * dim, (200 if dim == 1 else 64,) * dim)
    mass = pk.Gaussian((0.0,) * dim, width).density(grid) * grid.cell_volume
    n = int(log_uniform(rng, 400, 1e5))
    x = rng.normal(0, width, (n, dim))
    kind, rho = pick(rng, "mean", "spread", "astray", "half"), density(mass / mass.sum(), grid)
    if kind == "mean":
        x = x + 12 * width / np.sqrt(n)
    if kind == "spread":
        x = x * (1 + 12 / np.sqrt(n))
    if kind == "astray":
        x[: max(3, n // 200)] = 6.5 * width
    if kind == "half":
        x = np.abs(x)
    return Trial(f"planted {kind}: {n} particles, width {width:.3g}, {dim} dimensions",
                 lambda: c.compare(rho, particles(x)).consistent(LEVEL),
                 lambda passed: (float(passed), 0.0))  # fmt: skip


def nonsense(rng: Random) -> Trial:
    """What cannot be compared."""
    grid = pk.Grid(-4, 4, int(rng.integers(20, 200)))
    mass = stats.norm.pdf(grid.axes[0])
    mass /= mass.sum()
    x = rng.normal(size=(int(rng.integers(50, 500)), 1))
    rho, there = density(mass, grid), particles(x)
    bad = float(pick(rng, np.nan, np.inf, -np.inf))
    spoiled = x.copy()
    spoiled[int(rng.integers(len(x)))] = bad
    field = rho.u.copy(data=np.array(rho.u.values))
    field[0, int(rng.integers(grid.shape[0]))] = pick(rng, bad, -0.1)
    V = pk.potentials.Quadratic(1.0)
    other = SimpleNamespace(u=rho.u, grid=grid, equation=pick(
        rng, pk.BackwardKolmogorov(V, 1.0), pk.ViscousHJ(1.0), pk.HamiltonJacobi(),
        pk.HamiltonJacobiBellman(V, 1.0)))  # fmt: skip
    late = particles(x, (float(1 + log_uniform(rng, 1e-5, 1e3)),))
    calls = {
        "particles not finite": lambda: c.compare(rho, particles(spoiled)),
        "density not one": lambda: c.compare(SimpleNamespace(u=field, grid=grid), there),
        "complex particles": lambda: c.compare(rho, particles(x + 0j)),
        "complex density": lambda: c.compare(SimpleNamespace(u=rho.u + 0j, grid=grid), there),
        "half the mass": lambda: c.compare(SimpleNamespace(u=rho.u / 2, grid=grid), there),
        "other times": lambda: c.compare(rho, late),
        "times unknown": lambda: c.compare(rho, SimpleNamespace(x=there.x.drop_vars("time"))),
        "times of a density unknown": lambda: c.compare(
            SimpleNamespace(u=rho.u.drop_vars("time"), grid=grid), there
        ),
        "one time twice": lambda: c.compare(rho, SimpleNamespace(x=there.x.isel(time=[0, 0]))),
        "other cells": lambda: c.compare(
            SimpleNamespace(u=rho.u.assign_coords(x=rho.u.x + 0.01), grid=grid), there
        ),
        "another dimension": lambda: c.compare(rho, particles(np.hstack([x, x]))),
        "a function": lambda: c.compare(other, there),
        "exchanged": lambda: c.compare(there, rho),
        "few": lambda: c.compare(rho, particles(x[:49])),
        "a class": lambda: c.compare(rho, there, (c.W1,)),
        "draws": lambda: c.compare(rho, there, (c.L1(),), draws=pick(rng, 3, 99.5, "many", True)),
        "seed": lambda: c.compare(rho, there, (c.L1(),), seed=pick(rng, -1, 0.5, "lucky")),
        "level": lambda: c.compare(rho, there).consistent(pick(rng, 0, 1, "a", 1j, bad, True)),
        "order": lambda: c.Moments(pick(rng, 0, 2.5, "four", -1)),
    }
    name = pick(rng, *calls)
    return Trial(name, calls[name], nonsense=True)


def shuffled(rng: Random) -> Trial:
    """Axes and cells in any order belong where their coordinates say."""
    dim = int(rng.integers(1, 3))
    grid, times = box(rng, dim, 40), (0.5, 1.0)
    mass = [shares(rng, grid) for _ in times]
    x = np.stack([inside(rng, m, grid, 200) for m in mass])
    rho = density(np.stack(mass), grid, times)
    there = particles(x[0])
    there.x = xr.DataArray(x, {"time": list(times), "dim": list(grid.names)},
                           ("time", "particle", "dim"))  # fmt: skip

    def anyhow(field: Any) -> Any:
        order = {d: rng.permutation(field.sizes[d]) for d in field.dims}
        return field.isel(order).transpose(*rng.permutation(field.dims))

    mixed = SimpleNamespace(u=anyhow(rho.u), grid=grid), SimpleNamespace(x=anyhow(there.x))

    def judge(found: Any) -> tuple[float, float]:
        right, found = c.compare(rho, there).data, found.data.sortby("time")
        gaps = [np.abs(found[k] - right[k]).max().item() for k in ("l1", "p_value", "outside")]
        return max(gaps), 1e-6

    return Trial(f"{grid} {mixed[0].u.dims} {mixed[1].x.dims}", lambda: c.compare(*mixed), judge)


# ---- convergence and sampled_curvature


def other_nonsense(rng: Random) -> Trial:
    """Ladders, observables and points that there are not."""
    bad = float(pick(rng, np.nan, np.inf, -1.0))

    def move(n: int, dt: float, runs: int, seed: int) -> Any:
        return np.random.default_rng(seed).normal(size=(runs, n, 1))

    def fit(phi: Any = lambda x: x[..., 0], **more: Any) -> Any:
        return c.convergence(move, None, phi, None, **more)

    bowl = pk.potentials.Quadratic(1.0)

    def bend(**more: Any) -> Any:
        settings = {"beta": 1.0, "t": 0.5, "points": [0.0], "n": 100} | more
        return pk.sampled_curvature(bowl, **settings)

    calls = {
        "n": lambda: fit(n=pick(rng, (100,), (100.5, 200), (100, bad), "many", (0, 10))),
        "dt": lambda: fit(dt=pick(rng, (0.1, 0.2), (0.1, 0.2, bad), 0.1, "short")),
        "runs": lambda: fit(runs=pick(rng, 3, 10.5, "many", True)),
        "seed": lambda: fit(seed=pick(rng, 0.5, "lucky", -1)),
        "terms": lambda: fit(terms=pick(rng, 0, 3, 1.5, "all")),
        "order": lambda: fit(order=pick(rng, bad, 0.0, "one")),
        "reference": lambda: fit(reference=pick(rng, np.nan, np.inf, "zero", 1j)),
        "level": lambda: fit(level=pick(rng, 0, 1, "high", bad)),
        "complex values": lambda: fit(lambda x: x[..., 0] + 1j),
        "no values": lambda: fit(lambda x: x[..., 0] * np.nan),
        "another shape": lambda: fit(lambda x: x),
        "nothing moves": lambda: fit(lambda x: 0 * x[..., 0]),
        "t": lambda: bend(t=pick(rng, 0, bad, "late")),
        "beta": lambda: bend(beta=pick(rng, 0, bad, "cold")),
        "points": lambda: bend(points=pick(rng, [[0.0, 0.0]], [np.nan], "here", [[[0.0]]])),
        "number": lambda: bend(n=pick(rng, 1, 10.5, -3, "many")),
        "duration": lambda: bend(duration=pick(rng, bad, "long")),
        "step": lambda: bend(dt=pick(rng, bad, "short")),
    }
    name = pick(rng, *calls)
    return Trial(name, calls[name], nonsense=True)


FAR = 1e-7  # of the intervals asked for: 5.3 standard errors


def ladder(rng: Random) -> Trial:
    """A bias and a rate that were planted: the intervals have them."""
    q, known = float(rng.uniform(0.6, 3.0)), rng.random() < 0.6
    limit, b, amount = rng.normal(), float(rng.normal()), float(rng.normal()) * 5
    sizes, steps = (100, 300, 1000), (0.4, 0.2, 0.1, 0.05)
    unit, runs = log_uniform(rng, 1e-9, 1e9), int(rng.integers(10, 60))
    crowd, reference = bool(rng.integers(2)), rng.random() < 0.3

    def move(n: int, dt: float, runs: int, seed: int) -> Any:
        draws = np.random.default_rng([seed, n]).normal(size=(runs, n, 1))
        return unit * (limit + b * dt**q + amount * crowd / n + draws)

    def call() -> Any:
        return c.convergence(
            move, None, lambda x: x[..., 0], None, sizes, steps, runs, int(rng.integers(1 << 30)),
            reference=unit * limit if reference else None, order=q if known else None,
            crowding=crowd, level=1 - FAR,
        )  # fmt: skip

    def judge(found: Any) -> tuple[float, float]:
        planted = [(found.limit, unit * limit), (found.rate, 0.5), (found.order, q)]
        planted += [(found.crowding, unit * amount * crowd)]
        missed = sum(not e.covers(v, 1e-9 * unit) for e, v in planted)
        return missed + (found.p_fit < FAR), 0.0

    return Trial(f"convergence: order {q:.3g} {known}, b {b:.3g}, c {amount:.3g} {crowd}, {runs} "
                 f"runs, unit {unit:.3g}", call, judge)  # fmt: skip


def bent(rng: Random) -> Trial:
    """V = a x²/2 + b x⁴/4 + c cos x with V'' + 1/t > 0 on the line: moments by quadrature."""
    a, b, ripple = float(rng.uniform(-0.5, 3)), float(rng.uniform(0, 1)), float(rng.uniform(0, 0.4))
    beta, t = log_uniform(rng, 0.3, 30), log_uniform(rng, 0.05, 0.9)
    x = float(rng.uniform(-2, 2))

    def V(y: Any) -> Any:
        return (a * y**2 / 2 + b * y**4 / 4)[..., 0] + ripple * np.cos(y[..., 0])

    def slope(y: Any) -> Any:
        sine = np.sin(y) if isinstance(y, np.ndarray) else y.sin()
        return a * y + b * y**3 - ripple * sine

    def smooth(y: Any) -> Any:
        cosine = np.cos(y) if isinstance(y, np.ndarray) else y.cos()
        return (a * y**2 / 2 + b * y**4 / 4 + ripple * cosine)[..., 0]

    potential = pk.potentials.Custom(smooth, slope, 1)

    def call() -> Any:
        return pk.sampled_curvature(potential, beta, t, [x], n=4_000, seed=int(rng.integers(1e6)))

    def judge(found: Any) -> tuple[float, float]:
        y = np.linspace(-12, 12, 40_001)
        energy = -beta * (V(y[:, None]) + (x - y) ** 2 / (2 * t))
        w = np.exp(energy - special.logsumexp(energy))
        mean = w @ y
        var = w @ (y - mean) ** 2
        data = found.data.isel(point=0)
        gaps = [
            (data["gradient"].item() - (x - mean) / t, data["gradient_error"].item()),
            (data["hessian"].item() - (1 - beta * var / t) / t, data["hessian_error"].item()),
        ]
        # 6 standard errors, and two per cent of the spread for the step
        step = 0.02 * beta * var / t**2
        return max(abs(gap) / (6 * error + step) for gap, error in gaps), 1.0

    return Trial(f"curvature: a {a:.3g}, b {b:.3g}, c {ripple:.3g}, beta {beta:.3g}, t {t:.3g}, "
                 f"x {x:.3g}", call, judge)  # fmt: skip


def round_about(rng: Random) -> Trial:
    """Random linear chains in 2 to 5 axes: a loop over the steps, and the exact rates.

    Promised: the loop's to rounding, and twice the interval of all planes (six standard errors).
    """
    d, chains, n = int(rng.integers(2, 6)), int(rng.integers(1, 4)), int(rng.integers(800, 2500))
    h, unit = log_uniform(rng, 1e-6, 1e6), log_uniform(rng, 1e-140, 1e140)
    A = rng.normal(size=(d, d))
    A *= rng.uniform(0, 0.9) / np.abs(np.linalg.eigvals(A)).max()
    noise = unit * (rng.normal(size=(d, d)) + np.eye(d))
    x = np.zeros((n + 200, chains, d))
    for k in range(1, n + 200):
        x[k] = x[k - 1] @ A.T + rng.normal(size=(chains, d)) @ noise.T
    x = x[200:]
    system = np.eye(d * d) - np.kron(A, A)
    product = np.linalg.solve(system, (noise @ noise.T).ravel()).reshape(d, d) @ A.T
    exact = (product - product.T) / h

    def judge(found: Any) -> tuple[float, float]:
        y, total, used = x - x.mean((0, 1)), np.zeros((d, d)), found.block * (
            found.blocks // chains if found.blocks > chains else 1)  # fmt: skip
        for k in range(n - 1 - used, n - 1):
            total += y[k].T @ y[k + 1] - y[k + 1].T @ y[k]
        loop = total / (used * chains * h)
        size = np.abs(x).max() ** 2 / h
        missed = np.abs(found.rate - exact) - 2 * found.reach
        return max(float(np.abs(found.rate - loop).max() / (1e-10 * size)),
                   1.0 + float(missed.max() / size)), 1.0  # fmt: skip

    return Trial(f"area rates: {chains} x {n} steps, {d} axes, step {h:.3g}, unit {unit:.3g}",
                 lambda: pk.area_rate(x if chains > 1 else x[:, 0], h, 0.99, draws=199),
                 judge)  # fmt: skip


def passing(rng: Random) -> Trial:
    """Particles in a tilted parabola, of which few or all have passed: one alarm in a million."""
    width, beta = log_uniform(rng, 1e-6, 1e6), log_uniform(rng, 0.3, 3)
    unit = width**2 * beta  # of time
    V = pk.potentials.Quadratic(rng.uniform(0, 3) / unit) + pk.potentials.Linear(
        (rng.uniform(-1, 1) / (beta * width),)
    )
    grid, dynamics = pk.Grid(-6 * width, 6 * width, 600), pk.Langevin(V, beta)
    lower, until = rng.uniform(0.2, 1) * width, unit * log_uniform(rng, 0.05, 5)
    if rng.random() < 0.5:
        dynamics = pk.Langevin(V, beta, box=grid, walls=pk.Walls(True, False))
    see, seed = pk.FirstPassage(lower, 2 * lower), int(rng.integers(2**40))

    def call() -> float:
        tau = pk.mean_first_passage_time(dynamics.law(), grid, (lower, 2 * lower))
        X = pk.simulate(dynamics, pk.Gaussian(-0.5 * width, 0.3 * width), 1000, [0, until],
                        0.004 * unit, seed=seed, observe=see)  # fmt: skip
        return pk.compare_passages(tau, X).p_value

    return Trial(f"{dynamics} into {lower:.4g} up to {until:.4g}, seed={seed}", call,
                 lambda p: (float(p < 1e-6), 0.0))  # fmt: skip


ROWS = [
    *(metric_row(name, (1,)) for name in VALUES),
    *(metric_row(name, (2,)) for name in VALUES if name != "w2"),
    Row("metric W2 in the plane, exact", ("W2", "compare"), exact_w2, answered=1.0, cost=3),
    Row("compare, calibration", ("compare",), calibration, answered=1.0, cost=30),
    Row("compare, planted", ("compare",), planted, answered=1.0),
    Row("compare, nonsense", ("compare",), nonsense, answered=0.0),
    Row("compare, by coordinates", ("compare",), shuffled, answered=1.0, cost=3),
    Row("convergence", ("convergence",), ladder, answered=1.0, cost=2),
    Row("convergence and sampled_curvature, nonsense", (), other_nonsense, answered=0.0),
    Row("passage times", ("compare_passages", "Passages"), passing, answered=0.9, cost=3),
    Row("area rates", ("area_rate",), round_about, answered=0.8, cost=3),
    Row("sampled_curvature", ("sampled_curvature",), bent, answered=0.9, cost=5),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row: Row, truth: Any) -> None:
    truth(row)


def kinds(name: str, draws: int, first: int = 0) -> set[str]:
    chosen = next(row for row in ROWS if row.name == name)
    return {judged(draw(chosen, 3, k)).kind for k in range(first, first + draws)}


def test_a_test_that_never_rejects_is_caught(monkeypatch: Any) -> None:
    module = import_module("pdekit.comparison.compare")
    monkeypatch.setattr(module, "combined", lambda p, shares: 1.0)
    assert "wrong" in kinds("compare, planted", 10)


def test_a_density_read_half_a_cell_off_is_caught(monkeypatch: Any) -> None:
    plain = distances.cell_counts
    monkeypatch.setattr(distances, "cell_counts",
                        lambda x, grid: plain(x + grid.spacing / 2, grid))  # fmt: skip
    assert "wrong" in kinds("metric L1 in (1,)", 20)


def test_features_in_cells_without_particles_are_caught(monkeypatch: Any) -> None:
    """What false alarms were before: no cells joined."""
    monkeypatch.setattr("pdekit.comparison.layers.STURDY", 0.0)
    assert "wrong" in kinds("compare, calibration", 1, first=6)
