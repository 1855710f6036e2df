"""Random laws, potentials and coefficients that move, against answers that share no code with them.

Laws: scipy's distributions, sums over images, Kolmogorov and Smirnov's and chi-square tests of
samples at the level 1e-9. Potentials: mpmath in 50 digits and scipy's splines. Coefficients that
change in time: plain matrices of Scharfetter and Gummel's rates integrated by scipy, and the
equations of the moments.
"""

import itertools
import tempfile
import warnings
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline, RectBivariateSpline
from truth import Random, Row, Trial, log_uniform, noticed, pick

import pdekit as pk
from pdekit import laws
from pdekit import potentials as p

LEVEL = 1e-9  # false alarms of the tests of samples

# ------------------------------------------------------------------------------------------ laws


def _line(rng: Random) -> tuple[float, float, int, bool]:
    """A random axis: ends, cells, whether it is a circle."""
    length = log_uniform(rng, 1e-3, 1e3)
    lower = float(rng.normal()) * length * pick(rng, 0.0, 1.0, 10.0)
    return lower, lower + length, int(log_uniform(rng, 4, 400)), bool(rng.integers(2))


def _simple(rng: Random, axis: tuple[float, float, int, bool]) -> tuple[Any, Any]:
    """A random law on a line and scipy's; mostly inside, or anywhere where the axis is a circle."""
    lower, upper, _, circle = axis
    length = upper - lower
    far = rng.normal() * length * pick(rng, 1.0, 30.0) if circle else 0.0
    if rng.random() < 0.6:
        mean = float(lower + length * rng.uniform(0.2, 0.8) + far)
        std = length * log_uniform(rng, 1e-4, 20.0 if circle else 0.3)
        return pk.Gaussian(mean, std), stats.norm(mean, std)
    a = float(lower + length * rng.uniform(0.0, 0.8) + far)
    width = length * log_uniform(rng, 1e-4, 20.0 if circle else 0.2)
    return pk.Uniform(a, a + width), stats.uniform(a, width)


def _law(rng: Random, axis: tuple[float, float, int, bool], depth: int = 2) -> tuple[Any, Any]:
    """A law on a line and its parts: (weight, scipy's law)."""
    if depth == 0 or rng.random() < 0.5:
        law, exact = _simple(rng, axis)
        return law, [(1.0, exact)]
    parts = [_law(rng, axis, depth - 1) for _ in range(int(rng.integers(1, 4)))]
    weights = rng.uniform(0.1, 2.0, len(parts))
    exact = [
        (float(w * v / weights.sum()), one)
        for w, (_, inner) in zip(weights, parts, strict=True)
        for v, one in inner
    ]
    return laws.Mixture(tuple(weights), tuple(law for law, _ in parts)), exact


def _wound(function: Any, parts: Any, x: Any, axis: tuple[float, float, int, bool]) -> Any:
    """The sum of a function of scipy's laws over all images of x that matter."""
    lower, upper, _, circle = axis
    total = np.zeros(np.shape(x))
    for weight, law in parts:
        shifts = np.zeros(1)
        if circle:
            reach = np.abs(np.subtract(law.interval(1.0 - 1e-15), lower)).max() / (upper - lower)
            shifts = np.arange(-int(reach) - 2, int(reach) + 3) * (upper - lower)
        total += weight * sum(function(law, x + s) for s in shifts)
    return total


def _sides(parts: Any, axis: tuple[float, float, int, bool]) -> tuple[Any, Any]:
    """Values at the centres of the cells, and averages over them."""
    lower, upper, cells, _ = axis
    h = (upper - lower) / cells
    centres = lower + h * (np.arange(cells) + 0.5)
    share = _wound(lambda v, x: v.cdf(x + h / 2) - v.cdf(x - h / 2), parts, centres, axis)
    return _wound(lambda v, x: v.pdf(x), parts, centres, axis), share / h


def _density(rng: Random) -> Trial:
    axis = _line(rng)
    law, parts = _law(rng, axis, int(rng.integers(0, 3)))
    lower, upper, cells, circle = axis
    grid = pk.Grid(lower, upper, cells, periodic=circle)

    def judge(field: Any) -> tuple[float, float]:
        h = (upper - lower) / cells
        sides = [_sides(parts[k : k + 1], axis) for k in range(len(parts))]
        # each part holds point values or averages over cells
        least, most = (sum(f(at, over) for at, over in sides) for f in (np.minimum, np.maximum))
        inside = sum(
            w if circle else w * float(np.diff(v.cdf([lower, upper]))[0]) for w, v in parts
        )
        scale = max(float(most.max()), inside / (upper - lower), 1e-300)
        away = np.maximum(np.maximum(least - field, field - most), 0.0).max() / scale
        mass = max(abs(field.sum() * h - inside), abs(law.mass(grid) - inside))
        return max(float(away), mass / 3), 1e-8

    return Trial(f"{law!r}.density({grid!r})", lambda: law.density(grid), judge)


def _plane(rng: Random) -> Trial:
    axes = [_line(rng), _line(rng)]
    first, second = (_simple(rng, axis) for axis in axes)
    if type(first[0]) is not type(second[0]):
        axes[1], second = axes[0], first
    names = ("mean", "std") if isinstance(first[0], pk.Gaussian) else ("lower", "upper")
    pairs = [tuple(getattr(law, n)[0] for law in (first[0], second[0])) for n in names]
    law = type(first[0])(*pairs)
    lower, upper, cells, circle = zip(*axes, strict=True)
    grid = pk.Grid(lower, upper, cells, periodic=circle)

    def judge(field: Any) -> tuple[float, float]:
        lines = [
            _sides([(1.0, exact)], axis)
            for (_, exact), axis in zip((first, second), axes, strict=True)
        ]
        apart = min(
            np.abs(field - np.multiply.outer(a, b)).max() for a in lines[0] for b in lines[1]
        )
        scale = max(field.max(), *(v.max() for v in lines[0]), 1e-300)
        return float(apart / scale), 1e-8

    return Trial(f"{law!r}.density({grid!r})", lambda: law.density(grid), judge)


def _samples(rng: Random) -> Trial:
    """Particles on a line or a circle, against the density that the PDE starts from."""
    axis = _line(rng)
    lower, upper, cells, circle = axis
    law, parts = _law(rng, axis, int(rng.integers(0, 4)))
    cells = min(cells, 40)
    grid = pk.Grid(lower, upper, cells, periodic=circle)
    seed, n = int(rng.integers(1 << 40)), 4000
    dynamics = pk.Langevin(p.Quadratic(0.0), 1.0, box=grid if circle else None)
    dtype = pick(rng, torch.float64, torch.float32)

    def call() -> Any:
        return pk.simulate(dynamics, law, n, 0.0, 1.0, seed=seed, dtype=dtype).final.values[:, 0]

    def judge(x: Any) -> tuple[float, float]:
        faces = np.linspace(lower, upper, cells + 1)
        share = np.diff(_wound(lambda v, y: v.cdf(y), parts, faces, (lower, upper, cells, False)))
        if circle:
            h = (upper - lower) / cells
            centres = (faces[1:] + faces[:-1]) / 2
            share = _wound(lambda v, y: v.cdf(y + h / 2) - v.cdf(y - h / 2), parts, centres, axis)
        counts = np.histogram(x, faces)[0].astype(float)
        outside = n - counts.sum()
        expected = np.append(share, max(1 - share.sum(), 0.0)) * n
        seen = np.append(counts, outside)
        rare = expected < 5
        expected = np.append(expected[~rare], expected[rare].sum())
        seen = np.append(seen[~rare], seen[rare].sum())
        chi = float(((seen - expected) ** 2 / np.maximum(expected, 0.05)).sum())
        # what is rare together may be few: allow it a Poisson tail of the same level
        limit = float(stats.chi2.isf(LEVEL, len(expected))) + 400.0 * (expected[-1] < 5)
        return chi, limit

    return Trial(
        f"simulate(Langevin, {law!r}, {n}, 0, seed={seed}, {grid!r}, {dtype})", call, judge
    )


class TwoDraws:
    """A law of one's own that draws twice and then twelve columns: normal of variance 3."""

    dim = 1

    def pdf(self, x: Any) -> Any:
        return stats.norm(0, np.sqrt(3)).pdf(x[..., 0])

    def density(self, grid: Any) -> Any:
        return self.pdf(grid.centres)

    def mass(self, grid: Any) -> float:
        return float(np.diff(stats.norm(0, np.sqrt(3)).cdf([grid.lower[0], grid.upper[0]]))[0])

    def sample(self, n: int, noise: Any) -> Any:
        first, second = noise.normal(n, 1), noise.normal(n, 1)
        many = noise.normal(n, 12).sum(-1, keepdim=True) / 12**0.5
        uniform = noise.uniform(n, 1)
        return first + second + many + 0 * uniform


def _own_law(rng: Random) -> Trial:
    weights = tuple(rng.uniform(0.2, 1.0, 2))
    inner = laws.Mixture((1.0, 2.0), (TwoDraws(), TwoDraws()))
    law = laws.Mixture(weights, (inner, TwoDraws()))
    seed = int(rng.integers(1 << 40))

    def call() -> Any:
        flat = pk.Langevin(p.Quadratic(0.0), 1.0)
        return pk.simulate(flat, law, 4000, 0.0, 1.0, seed=seed).final.values[:, 0]

    def judge(x: Any) -> tuple[float, float]:
        return LEVEL, float(stats.kstest(x, stats.norm(0, np.sqrt(3)).cdf).pvalue)

    return Trial(f"a law that draws three times inside mixtures, seed={seed}", call, judge)


# ------------------------------------------------------------------------------------ potentials

_MP: dict[str, Any] = {
    "Quadratic": lambda x: [mpmath.mpf("0.75") * v * v / 2 for v in x],
    "DoubleWell": lambda x: [(v * v - 1) ** 2 / 4 for v in x],
    "Linear": lambda x: [mpmath.mpf("0.75") * v for v in x],
    "Cosine": lambda x: [mpmath.cos(2 * v) for v in x],
    "Rippled": lambda x: [t for v in x for t in (v * v / 10, mpmath.cos(3 * v))],
    "Rough": lambda x: [
        (v * mpmath.sin(v / mpmath.mpf("0.05")) + v / 10) ** 2 for v in x
    ],
    "SixHumpCamel": lambda x: [
        4 * x[0] ** 2, -mpmath.mpf("2.1") * x[0] ** 4, x[0] ** 6 / 3, x[0] * x[1],
        -4 * x[1] ** 2, 4 * x[1] ** 4],
    "MullerBrown": lambda x: [
        a * mpmath.exp(b * (x[0] - u) ** 2 + c * (x[0] - u) * (x[1] - v) + d * (x[1] - v) ** 2)
        for a, b, c, d, u, v in (
            (-200, -1, 0, -10, 1, 0), (-100, -1, 0, -10, 0, mpmath.mpf("0.5")),
            (-170, mpmath.mpf("-6.5"), 11, mpmath.mpf("-6.5"), mpmath.mpf("-0.5"),
             mpmath.mpf("1.5")),
            (15, mpmath.mpf("0.7"), mpmath.mpf("0.6"), mpmath.mpf("0.7"), -1, 1))],
}  # fmt: skip


def _formula(rng: Random) -> Trial:
    """Values and slopes of a formula, anywhere, numpy or torch, alone or in a sum."""
    dim = int(rng.integers(1, 4))
    name = pick(rng, *_MP)
    if name in ("SixHumpCamel", "MullerBrown"):
        dim = 2
    made = {
        "Quadratic": lambda: p.Quadratic(0.75, dim), "DoubleWell": lambda: p.DoubleWell(dim),
        "Linear": lambda: p.Linear(0.75, dim), "Cosine": lambda: p.Cosine(2.0, dim),
        "Rippled": lambda: p.Rippled(dim), "Rough": lambda: p.Rough(dim, 0.05),
        "SixHumpCamel": p.SixHumpCamel, "MullerBrown": p.MullerBrown,
    }[name]()  # fmt: skip
    double = bool(rng.integers(2))
    V = pick(rng, made + made, 2 * made, 3 * made - made) if double else made
    most = 3.0 if name == "MullerBrown" else 1e12
    x = rng.choice([-1, 1], dim) * np.array([log_uniform(rng, 1e-9, most) for _ in range(dim)])
    on_torch = bool(rng.integers(2))

    def call() -> tuple[float, Any]:
        y = torch.from_numpy(x) if on_torch else x
        return float(V(y)), np.asarray(V.grad(y), dtype=float)

    def judge(answer: tuple[float, Any]) -> tuple[float, float]:
        value, slope = answer
        with mpmath.workdps(50):
            at = [mpmath.mpf(float(v)) for v in x]

            def total(*z: Any) -> Any:
                return sum(_MP[name](list(z)))

            terms = [abs(t) for t in _MP[name](at)]
            exact = total(*at)
            wanted = [mpmath.diff(total, tuple(at), tuple(int(j == k) for j in range(dim)),
                                  h=mpmath.mpf(10) ** -25 * max(1, abs(at[k])))
                      for k in range(dim)]  # fmt: skip
            # how far the answer moves when x does by a rounding
            moved = sum(abs(s * a) for s, a in zip(wanted, at, strict=True))
            size = float(sum(terms) + moved) + 1e-300
            error = float(abs(value / (1 + double) - exact)) / size
            bend = [
                abs(mpmath.diff(total, tuple(at), tuple(2 * int(j == k) for j in range(dim)),
                                h=mpmath.mpf(10) ** -15 * max(1, abs(at[k])))) * abs(at[k])
                + sum(terms) / max(abs(at[k]), mpmath.mpf(10) ** -9)
                for k in range(dim)]  # fmt: skip
            slopes = max(
                float(abs(s / (1 + double) - w) / (b + abs(w) + mpmath.mpf(10) ** -200))
                for s, w, b in zip(slope, wanted, bend, strict=True)
            )
        return max(error, slopes), 2e-14

    return Trial(f"{V!r} at {x.tolist()}, torch {on_torch}", call, judge)


def _knots(rng: Random, n: int) -> Any:
    scale = log_uniform(rng, 1e-6, 1e6)
    steps = np.ones(n) if rng.random() < 0.5 else rng.uniform(0.2, 2.0, n)
    return (np.cumsum(steps) + rng.normal() * 3) * scale


def _spline(rng: Random) -> Trial:
    plane = rng.random() < 0.4
    axes = [_knots(rng, int(log_uniform(rng, 4, 20 if plane else 300))) for _ in range(1 + plane)]
    values = rng.normal(size=[len(a) for a in axes]) * log_uniform(rng, 1e-9, 1e9)
    V = p.Tabulated(tuple(axes) if plane else axes[0], values)
    lower, upper = (np.array([a[k] for a in axes]) for k in (0, -1))
    x = rng.uniform(lower, upper, (7, len(axes)))
    if not plane:
        x[:2, 0] += (upper - lower)[0] * np.array([-2.0, 3.0])

    def judge(answer: tuple[Any, Any]) -> tuple[float, float]:
        value, slope = answer
        width = np.array([np.diff(a).min() for a in axes])
        if plane:
            exact = RectBivariateSpline(*axes, values, s=0)
            wanted = exact.ev(x[:, 0], x[:, 1])
            slopes = np.stack([exact.ev(*x.T, dx=1), exact.ev(*x.T, dy=1)], -1)
        else:
            cubic, inside = CubicSpline(axes[0], values), np.clip(x[:, 0], lower[0], upper[0])
            slopes = cubic(inside, 1)[:, None]
            wanted = cubic(inside) + slopes[:, 0] * (x[:, 0] - inside)
        size = np.abs(values).max() * 10
        size += np.abs(wanted).max() + np.abs(slopes * width).max()
        errors = np.abs(value - wanted).max() / size, np.abs((slope - slopes) * width).max() / size
        return float(max(errors)), 1e-9

    return Trial(f"{V!r} at {x.tolist()}", lambda: V.value_and_grad(x), judge)


def _evolving(rng: Random) -> Trial:
    """A moving sum, evaluated at a time: linear between each term's own stored times."""
    axis, count = _knots(rng, int(rng.integers(5, 30))), int(rng.integers(1, 6))
    times = np.sort(rng.uniform(0, 10, count) + 1e-3 * np.arange(count))
    values = rng.normal(size=(count, len(axis)))
    E, still = p.Evolving(times, axis, values), p.Tabulated(axis, rng.normal(size=len(axis)))
    total = pick(rng, E + still, still + E, E + E, still + (lambda x: 0 * x[..., 0]) + E)
    t = float(rng.uniform(-2, 12))
    x = rng.uniform(axis[0], axis[-1], (9, 1))

    def judge(answer: tuple[Any, Any]) -> tuple[float, float]:
        rows = np.array([np.interp(t, times, values[:, k]) for k in range(len(axis))])
        weights = {id(E): 1 + 1 * (total == E + E), id(still): 1 * (total != E + E)}
        field = weights[id(E)] * rows + weights[id(still)] * still.values
        cubic = CubicSpline(axis, field)
        size = 30 * np.abs(field).max() + np.abs(cubic(x[:, 0])).max()
        slope = np.abs(answer[1] - cubic(x, 1)).max() * np.diff(axis).min()
        union = sorted(set(times.tolist()))
        assert list(total.times) == union
        return float(max(np.abs(answer[0] - cubic(x[:, 0])).max(), slope) / size), 1e-10

    return Trial(f"{total!r} at t={t}", lambda: (total(x, t), total.at(t).grad(x)), judge)


# ----------------------------------------------------------------------------------- that moves


class Pushed:
    """V(x, t) = stiffness (x - reach sin(rate t + phase))² / 2 without stored times."""

    dim = 1

    def __init__(self, stiffness: float, reach: float, rate: float, phase: float) -> None:
        self.numbers = stiffness, reach, rate, phase

    def centre(self, t: float) -> float:
        _, reach, rate, phase = self.numbers
        return reach * float(np.sin(rate * t + phase))

    def at(self, t: float) -> Any:
        stiffness, centre = self.numbers[0], self.centre(t)
        return p.Custom(lambda x: stiffness * (x[..., 0] - centre) ** 2 / 2)

    def __repr__(self) -> str:
        return f"Pushed{self.numbers}"


class Swaying:
    """A force or a diffusion that changes in time: size (1 + share sin(rate t))."""

    def __init__(self, size: float, share: float, rate: float, vector: bool) -> None:
        self.numbers, self.vector = (size, share, rate), vector

    def value(self, t: float) -> float:
        size, share, rate = self.numbers
        return size * (1 + share * float(np.sin(rate * t)))

    def at(self, t: float) -> Any:
        value = self.value(t)
        if self.vector:
            return lambda x: value + 0 * x
        return lambda x: value + 0 * x[..., 0]

    def __repr__(self) -> str:
        return f"Swaying{self.numbers}"


def _rates(values: Any, beta: float, h: float, circle: bool) -> Any:
    """The generator of Scharfetter and Gummel's rates, a dense matrix."""
    n = len(values)
    here = np.arange(n if circle else n - 1)
    there = (here + 1) % n
    delta = beta * (values[there] - values[here])
    safe = np.where(np.abs(delta) < 1e-10, 1.0, delta)
    up = np.where(np.abs(delta) < 1e-10, 1 - delta / 2, safe / np.expm1(safe)) / (beta * h * h)
    down = up + delta / (beta * h * h)
    out = np.zeros((n, n))
    np.add.at(out, (here, there), up)
    np.add.at(out, (there, here), down)
    return out - np.diag(out.sum(1))


def _between(columns: Any, times: Any, t: float) -> Any:
    """Columns of an array by linear interpolation in time, constant outside."""
    k = int(np.clip(np.searchsorted(times, t) - 1, 0, len(times) - 2))
    weight = np.clip((t - times[k]) / (times[k + 1] - times[k]), 0.0, 1.0)
    return (1 - weight) * columns[:, k] + weight * columns[:, k + 1]


def _moving(rng: Random) -> tuple[Any, Any, str]:
    """A potential that moves and its values at (x, t)."""
    length = log_uniform(rng, 0.5, 5.0)
    terms, formulas = [], []
    for _ in range(int(rng.integers(1, 3))):
        if rng.random() < 0.5:
            V = Pushed(log_uniform(rng, 0.05, 3.0), length * rng.uniform(0.0, 0.5),
                       log_uniform(rng, 0.1, 30.0), float(rng.uniform(0, 6)))  # fmt: skip
            terms.append(V)
            formulas.append(lambda x, t, V=V: V.numbers[0] * (x - V.centre(t)) ** 2 / 2)
        else:
            knots = np.linspace(-length, length, 12)
            times = np.sort(rng.uniform(0, 2, 4)) + 1e-2 * np.arange(4)
            rows = rng.normal(size=(4, 12)) * rng.uniform(0.1, 1.0)
            terms.append(p.Evolving(times, knots, rows))
            lines = CubicSpline(knots, rows.T)
            formulas.append(lambda x, t, times=times, lines=lines: _between(lines(x), times, t))
    if rng.random() < 0.5:
        terms.append(p.Quadratic(0.7))
        formulas.append(lambda x, t: 0.35 * x**2)
    V = terms[0] if len(terms) == 1 else p.Sum(tuple(terms))
    return V, (lambda x, t: sum(f(x, t) for f in formulas)), f"{V!r} (length {length:.3g})"


def _driven(rng: Random, backward: bool) -> Trial:
    V, values, what = _moving(rng)
    length = 0.9 * float(what.split("length ")[1][:-1])
    n, circle = int(rng.integers(6, 30)), bool(rng.integers(2))
    beta, horizon = log_uniform(rng, 0.1, 20.0), log_uniform(rng, 0.01, 2.0)
    times = np.sort(rng.uniform(0.05, 1.0, int(rng.integers(1, 4)))) * horizon
    times[-1] = horizon
    times = np.unique(times)
    grid = pk.Grid(-length, length, n, periodic=circle)
    x, h = grid.axes[0], grid.spacing[0]
    start = rng.uniform(0.0, 1.0, n)
    start[0] += 0.1
    kind = pk.BackwardKolmogorov if backward else pk.FokkerPlanck
    equation = kind(V, beta)

    def slope(s: float, u: Any) -> Any:
        matrix = _rates(values(x, horizon - s if backward else s), beta, h, circle)
        return matrix @ u if backward else matrix.T @ u

    def judge(answer: Any) -> tuple[float, float]:
        breaks = sorted({0.0, *times.tolist(), *(
            s for t in getattr(V, "times", ()) for s in [horizon - t if backward else t]
            if 0 < s < horizon)})  # fmt: skip
        u, error, stored = start.copy(), 0.0, 0
        for a, b in itertools.pairwise(breaks):
            done = solve_ivp(slope, (a, b), u, method="LSODA", rtol=1e-9, atol=1e-12)
            u = done.y[:, -1]
            if b == times[stored]:
                away = np.abs(answer.fields[stored] - u)
                size = start.sum() if not backward else np.abs(start).max()
                error = max(error, float((away.max() if backward else away.sum()) / size))
                stored += 1
        return error, 2e-5

    what = f"{kind.__name__}({what}, {beta:.4g}), {grid!r}, t={times.tolist()}"
    return Trial(what, lambda: pk.solve(equation, grid, start, times), judge)


def _dual(rng: Random) -> Trial:
    """<u(T - t), rho(t)> is the same at every stored time, for force and diffusion that move."""
    V, _, what = _moving(rng)
    length = 0.9 * float(what.split("length ")[1][:-1])
    beta, horizon = log_uniform(rng, 0.2, 5.0), log_uniform(rng, 0.02, 0.6)
    force = pick(rng, None, Swaying(rng.normal(), 1.0, log_uniform(rng, 0.3, 20), True))
    D = pick(rng, None, Swaying(log_uniform(rng, 0.2, 3.0), 0.8, log_uniform(rng, 0.3, 20), False))
    grid = pk.Grid(-length, length, int(rng.integers(8, 30)), periodic=bool(rng.integers(2)))
    early = horizon * np.sort(rng.uniform(0.1, 0.9, 2))
    payoff, start = rng.normal(size=grid.shape), rng.uniform(0.0, 1.0, grid.shape)

    def call() -> Any:
        with warnings.catch_warnings():  # the density is everywhere
            warnings.simplefilter("ignore", pk.TruncationWarning)
            forward = pk.solve(pk.FokkerPlanck(V, beta, force, D), grid, start, [*early, horizon])
        back = pk.solve(pk.BackwardKolmogorov(V, beta, force, D), grid, payoff,
                        [*(horizon - early[::-1]), horizon])  # fmt: skip
        return forward, back

    def judge(answer: Any) -> tuple[float, float]:
        forward, back = answer
        pairs = [start @ back.fields[2], forward.fields[0] @ back.fields[1],
                 forward.fields[1] @ back.fields[0], forward.fields[2] @ payoff]  # fmt: skip
        scale = start.sum() * np.abs(payoff).max()
        return float(np.ptp(pairs) / scale), 5e-5

    return Trial(f"{what}, force {force!r}, D {D!r}, beta {beta:.4g}, {grid!r}", call, judge)


def _moments(rng: Random) -> Trial:
    """Mean and variance of an oscillator driven by all its coefficients, by solve_ivp."""
    V = Pushed(log_uniform(rng, 0.5, 3.0), rng.uniform(0.0, 1.0), log_uniform(rng, 0.1, 15.0), 0.3)
    force = pick(rng, None, Swaying(rng.normal() * 0.5, 1.0, log_uniform(rng, 0.3, 15), True))
    D = pick(rng, None, Swaying(log_uniform(rng, 0.5, 2.0), 0.7, log_uniform(rng, 0.3, 15), False))
    beta, horizon = log_uniform(rng, 2.0, 8.0), log_uniform(rng, 0.1, 2.0)
    mean, std = float(rng.uniform(-0.5, 0.5)), float(rng.uniform(0.4, 0.7))
    grid = pk.Grid(-7, 7, 420)
    equation = pk.FokkerPlanck(V, beta, force, D)

    def judge(answer: Any) -> tuple[float, float]:
        a = V.numbers[0]

        def slope(t: float, y: Any) -> Any:
            push = 0.0 if force is None else force.value(t)
            noise = 1.0 if D is None else D.value(t)
            return [-a * (y[0] - V.centre(t)) + push, -2 * a * y[1] + 2 / beta * noise]

        done = solve_ivp(slope, (0, horizon), [mean, std**2], rtol=1e-10, atol=1e-12)
        x, rho = grid.axes[0], answer.fields[-1] * grid.cell_volume
        m = float(rho @ x)
        v = float(rho @ (x - m) ** 2)
        return max(abs(m - done.y[0, -1]), abs(v - done.y[1, -1])), 4e-3

    what = f"FokkerPlanck({V!r}, {beta:.4g}, {force!r}, {D!r}), t={horizon:.4g}"
    return Trial(what, lambda: pk.solve(equation, grid, pk.Gaussian(mean, std), horizon), judge)


def _kept(rng: Random) -> Trial:
    """Diffusion round a circle, kept in a file on the way, against the modes of its cells."""
    lower, upper, cells, _ = _line(rng)
    grid, beta = pk.Grid(lower, upper, cells, periodic=True), log_uniform(rng, 1e-3, 1e3)
    start, h = rng.random(cells) * log_uniform(rng, 1e-6, 1e6), (upper - lower) / cells
    first, second = (upper - lower) ** 2 * beta * np.sort(log_uniform(rng, 1e-6, 1) * rng.random(2))
    flat = pk.FokkerPlanck(pk.potentials.Quadratic(0.0), beta)

    def call() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            half = pk.solve(flat, grid, start, first).save(Path(folder) / "half.nc")
            return pk.solve(flat, grid, pk.load(half), second)

    def judge(found: Any) -> tuple[float, float]:
        rates = (2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(cells))) / (beta * h**2)
        exact = np.fft.irfft(np.fft.rfft(start) * np.exp(-rates * second), cells)
        same = found.equation == flat and found.grid == grid and found.times.tolist() == [second]
        return float(np.abs(found.fields[0] - exact).sum() / start.sum()) if same else np.inf, 3e-10

    return Trial(f"{flat!r} on {grid!r} at {first:g}, kept, on to {second:g}", call, judge)


ROWS = [
    Row("density of a law on a line", ("Gaussian", "Uniform", "Mixture"), _density, 1.0),
    Row("density of a law in the plane", ("Gaussian", "Uniform"), _plane, 1.0),
    Row("samples of a law follow its density", ("Gaussian", "Uniform", "Mixture", "simulate"),
        _samples, 1.0, cost=2),
    Row("a law that draws several times", ("Mixture",), _own_law, 1.0, cost=3),
    Row("formulas", ("Quadratic", "DoubleWell", "Rippled", "Rough", "SixHumpCamel", "MullerBrown",
                     "Linear", "Cosine", "Scaled", "Sum"), _formula, 1.0, cost=2),
    Row("splines", ("Tabulated",), _spline, 1.0),
    Row("solutions that are kept and gone on from", ("load",), _kept, 1.0),
    Row("moving sums", ("Evolving", "Sum"), _evolving, 1.0),
    Row("densities in a potential that moves", ("solve FokkerPlanck", "Exponential"),
        lambda rng: _driven(rng, False), 0.3, cost=3),
    Row("expectations in a potential that moves", ("solve BackwardKolmogorov", "Exponential"),
        lambda rng: _driven(rng, True), 0.3, cost=3),
    Row("duality where everything moves", ("solve FokkerPlanck", "solve BackwardKolmogorov"),
        _dual, 0.3, cost=9),
    Row("moments where everything moves", ("solve FokkerPlanck",), _moments, 0.5, cost=3),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row: Row, truth: Any) -> None:
    truth(row)


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


@pytest.mark.parametrize(
    ("where", "name", "wrong", "row"),
    [
        ("pdekit.pde.discrete.problem.Problem", "motion_time", lambda self, t: t,
         "expectations in a potential that moves"),
        ("pdekit.laws.gaussian", "_wrapped_normal", lambda grid, k, mean, std: np.exp(
            -(((grid.axes[k] - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi)),
         "density of a law on a line"),
        ("pdekit.laws.mixture._Columns", "_first", lambda self, n, d: self.first[:, :d],
         "a law that draws several times"),
        ("pdekit.potentials.tabulated.Evolving", "between", lambda self, t: (0, 0.0),
         "moving sums"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_caught(
    where: str, name: str, wrong: Any, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{where}.{name}", wrong)
    assert noticed(_row(row), 1, _row(row).first(60))
