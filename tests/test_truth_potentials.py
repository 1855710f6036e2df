"""Values and slopes of potentials over all scales, in both libraries, against formulas."""

import mpmath
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp
from truth import Row, Trial, log_uniform, pick

import pdekit as pk
from pdekit.interactions import GaussianWell, Kuramoto, Morse, PowerLaw, SmoothL1

P = pk.potentials


def given(rng, x):
    """Points as an array or a tensor of some precision, and the rounding unit of it."""
    import torch

    kind = pick(rng, "float64", "float64", "float32", "torch64", "torch32")
    if kind == "float64":
        return x, 2.0**-53
    if kind == "float32":
        return x.astype(np.float32), 2.0**-24
    x = torch.tensor(x, dtype=torch.float64 if kind == "torch64" else torch.float32)
    return x, 2.0**-53 if kind == "torch64" else 2.0**-24


def plain(a):
    return np.asarray(a.detach().numpy() if hasattr(a, "detach") else a, dtype=float)


# --- gradients that are found --------------------------------------------------------------------


class Shape:
    """A function over a length, about a place, of a height and above a floor; and its slope."""

    def __init__(self, rng, dim):
        self.kind = pick(rng, "wave", "well", "bowl", "quartic", "bumps")
        self.length, self.height = log_uniform(rng, 1e-9, 1e6), log_uniform(rng, 1e-8, 1e8)
        self.place = pick(rng, 0.0, 1.0, 1.0) * rng.normal(size=dim) * log_uniform(rng, 1e-3, 1e6)
        self.floor = pick(rng, 0.0, 0.0, 1.0) * self.height * log_uniform(rng, 1e-3, 1e8)

    def __call__(self, x, lib=np):
        z = (x - self.at(x)) / self.length
        return self.floor + self.height * self.formula(z, lib)[0].sum(-1)

    def at(self, x):
        return self.place if isinstance(x, np.ndarray) else x.new_tensor(self.place)

    def slope(self, x):
        return self.height / self.length * self.formula((x - self.place) / self.length, np)[1]

    def formula(self, z, lib):
        return {
            "wave": lambda: (lib.sin(z), lib.cos(z)),
            "well": lambda: (-lib.exp(-(z**2) / 2), z * lib.exp(-(z**2) / 2)),
            "bowl": lambda: (z**2 / 2, z),
            "quartic": lambda: ((z**2 - 1) ** 2 / 4, z * (z**2 - 1)),
            "bumps": lambda: (
                lib.tanh(z) + lib.cos(3 * z),
                1 - lib.tanh(z) ** 2 - 3 * lib.sin(3 * z),
            ),
        }[self.kind]()

    def __repr__(self):
        return (
            f"{self.kind} length {self.length:.3g} height {self.height:.3g} at {self.place} "
            f"floor {self.floor:.3g}"
        )


def slopes(rng):
    """A function written for NumPy, whose slope is found by differences."""
    dim, count = int(rng.integers(1, 4)), int(pick(rng, 1, 5, 60))
    f = Shape(rng, dim)
    points, unit = given(rng, f.place + f.length * rng.uniform(-4, 4, (count, dim)))
    x = plain(points)

    def own(y):
        return f(np.asarray(y, dtype=float)) if isinstance(y, np.ndarray) else np.sin(y)

    def judge(found):
        true, reach = f.slope(x), 0.06 * np.maximum(1.0, np.abs(x))
        around = f(np.stack([x - reach, x, x + reach]))
        steep = max(np.abs(true).max(), np.ptp(around) / reach.max())
        # the points are rounded once they are subtracted from their place, f is given as it is
        inherent = 2.0**-50 * np.abs(x).max() / f.length * f.height / f.length
        promised = 3e-5 * steep + 20 * unit * np.abs(true).max() + inherent
        return np.abs(plain(found) - true).max(), promised

    what = f"{f!r} {count} points like {x[0].tolist()} {type(points).__name__}"
    return Trial(what, lambda: P.Custom(own, dim=dim).grad(points), judge)


def exact_slopes(rng):
    """A function that takes tensors, whose slope is found by autograd."""
    import torch

    dim, count = int(rng.integers(1, 4)), int(pick(rng, 1, 5, 60))
    f = Shape(rng, dim)
    points, unit = given(rng, f.place + f.length * rng.uniform(-4, 4, (count, dim)))
    x = plain(points)

    def own(y):
        return f(y, np if isinstance(y, np.ndarray) else torch)

    def judge(found):
        true = f.slope(x)
        size = f.height / f.length * (70 + 70 * np.abs(x).max() / f.length)
        return np.abs(plain(found) - true).max(), 30 * unit * size

    what = f"{f!r} {count} points like {x[0].tolist()} {type(points).__name__}"
    return Trial(what, lambda: P.Custom(own, dim=dim).grad(points), judge)


# --- interactions --------------------------------------------------------------------------------


def kernel(rng):
    """An interaction, and its terms as a formula."""
    dim, mp = int(rng.integers(1, 4)), mpmath.mpf
    s, w = rng.normal() * log_uniform(rng, 1e-6, 1e6), log_uniform(rng, 1e-6, 1e6)
    low, high = sorted(rng.uniform(0.2, 6, 2))
    pull, pull_length, push, push_length = (log_uniform(rng, 0.01, 100) for _ in range(4))

    def radius(z):
        return mpmath.sqrt(sum(v * v for v in z) + mp(w) ** 2)

    return pick(
        rng,
        (GaussianWell(s, w, dim),
         lambda z: [-mp(s) * mpmath.exp(-sum(v * v for v in z) / (2 * mp(w) ** 2))]),
        (Kuramoto(s, dim), lambda z: [-mp(s) * mpmath.cos(v) for v in z]),
        (SmoothL1(s, w, dim),
         lambda z: [mp(s) * t for v in z for t in (mpmath.sqrt(v * v + mp(w) ** 2), -mp(w))]),
        (Morse(pull, pull_length, push, push_length, w, dim),
         lambda z: [mp(push) * mpmath.exp(-(radius(z) - mp(w)) / mp(push_length)),
                    -mp(pull) * mpmath.exp(-(radius(z) - mp(w)) / mp(pull_length))]),
        (PowerLaw(s, high, low, w, dim),
         lambda z: [mp(s) * radius(z) ** mp(high) / mp(high),
                    -mp(s) * radius(z) ** mp(low) / mp(low)]),
    )  # fmt: skip


def kernels(rng):
    """Values and slopes of interactions anywhere, in both libraries and precisions."""
    W, terms = kernel(rng)
    x = rng.choice([-1, 1], W.dim) * np.array([log_uniform(rng, 1e-9, 1e4) for _ in range(W.dim)])
    points, unit = given(rng, x * (rng.random(W.dim) < 0.9))
    x = plain(points)

    def judge(answer):
        value, slope = map(plain, answer)
        with mpmath.workdps(60):
            at = [mpmath.mpf(float(v)) for v in x]

            def total(*z):
                return sum(terms(list(z)))

            # a term is good to its size, and to what a rounding of anything in its exponent makes
            size, worst = sum(abs(t) for t in terms(at)), mpmath.mpf(0)
            first = [mpmath.diff(total, tuple(at), tuple(int(j == k) for j in range(W.dim)),
                                 h=mpmath.mpf(10) ** -25 * max(mpmath.mpf(10) ** -6, abs(at[k])))
                     for k in range(W.dim)]  # fmt: skip
            scale = getattr(W, "width", getattr(W, "softening", 1.0))
            reach = float(max(abs(v) for v in x)) + scale
            stretch = 1.0
            for length in ("attraction_length", "repulsion_length"):
                stretch = max(stretch, reach / getattr(W, length, reach))
            if isinstance(W, GaussianWell):
                stretch = 1 + (reach / scale) ** 2
            if isinstance(W, Kuramoto):
                stretch = reach
            worst = abs(value - total(*at)) / (size * stretch)
            for k in range(W.dim):
                allowance = size * stretch / max(abs(at[k]), mpmath.mpf(scale))
                if isinstance(W, PowerLaw):
                    allowance = (
                        size * 6 * max(abs(at[k]), mpmath.mpf(10) ** -200) / (at[k] ** 2 + scale**2)
                    )
                worst = max(worst, abs(slope[k] - first[k]) / (allowance * stretch + abs(first[k])))
        tiny = 1e-300 if unit < 1e-10 else 1e-38
        return float(worst) if size > tiny else 0.0, 60 * unit

    what = f"{W!r} at {x.tolist()} {type(points).__name__} {points.dtype}"
    return Trial(what, lambda: (W(points), W.grad(points)), judge)


def tables(rng):
    """The same table in other units: values and slopes scale."""
    length, height = log_uniform(rng, 1e-140, 1e140), log_uniform(rng, 1e-140, 1e140)
    count = int(rng.integers(4, 30))
    knots = np.sort(rng.uniform(-1, 1, count)) if rng.random() < 0.5 else np.linspace(-1, 1, count)
    values = rng.normal(size=count)
    z = rng.uniform(-2, 2, 6)
    if np.diff(knots).min() < 1e-3:
        knots = np.linspace(-1, 1, count)

    def call():
        V = P.Tabulated(knots * length, values * height)
        x = (z * length)[:, None]
        return V(x) / height, V.grad(x)[:, 0] / height * length

    def judge(answer):
        cubic, inside = CubicSpline(knots, values), np.clip(z, knots[0], knots[-1])
        slope = cubic(inside, 1)
        true = cubic(inside) + slope * (z - inside)
        size = np.abs(cubic(np.linspace(-1, 1, 999), 1)).max() + 1
        return max(np.abs(answer[0] - true).max(), np.abs(answer[1] - slope).max()) / size, 1e-9

    return Trial(f"units {length:.3g} {height:.3g} {count} knots {knots}", call, judge)


def entropies(rng):
    """The slope of a local entropy is (x - <y>) / gamma: means by quadrature, inside the box."""
    c, a, w, phase = rng.uniform(0.1, 3), rng.normal(), rng.uniform(0.3, 4), rng.uniform(0, 6)
    beta, gamma = log_uniform(rng, 1e-2, 1e2), log_uniform(rng, 1e-2, 10)
    grid = pk.Grid(-3, 3, int(log_uniform(rng, 40, 300)))
    x, h = rng.uniform(-2.3, 2.3, 5), float(grid.spacing[0])

    def f(y):
        return c * y**2 / 2 + a * np.cos(w * y + phase)

    def judge(V):
        out = []
        for point in x:
            y = np.linspace(point - 60, point + 60, 240_001)
            power = beta * (f(y) + (point - y) ** 2 / (2 * gamma))
            weight = np.exp(-power - logsumexp(-power))
            out.append((point - weight @ y) / gamma)
        jump = min(beta * h * abs(a) * w, 1.0)
        sharp = 3 * h * (c + abs(a) * w**2) * jump + 1e-3 * (c + abs(a) * w)
        return float(np.abs(V.grad(x[:, None])[:, 0] - out).max()), sharp

    def call():
        return pk.local_entropy(lambda z: f(z[..., 0]), gamma, beta, grid)

    return Trial(f"{c} {a} {w} {phase} beta {beta:.3g} gamma {gamma:.3g} {grid}", call, judge)


ROWS = [
    Row("slopes by differences", ("Custom",), slopes, 0.6, cost=3),
    Row("slopes by autograd", ("Custom",), exact_slopes, 0.95, cost=3),
    Row("formulas of interactions", ("GaussianWell", "Kuramoto", "SmoothL1", "Morse", "PowerLaw"),
        kernels, 0.95, cost=3),
    Row("tables in other units", ("Tabulated",), tables, 0.4),
    Row("slopes of local entropies", ("local_entropy",), entropies, 0.7, cost=10),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)
