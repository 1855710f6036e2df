"""Linear equations in the plane against the exponential of a matrix made by loops.

Small grids, and the exponential of ``test_truth_linear``. With a force, or a diffusion of its own,
the rates are the subject of other tests, and the matrix is that of ``Problem(...).generator()``.
"""

from functools import partial

import numpy as np
import pytest
import scipy.linalg
from scipy.linalg import expm, solve_continuous_lyapunov
from test_truth_linear import (
    bounded,
    fastest,
    fine_solution,
    fitted,
    function,
    quietly,
    rates_in,
)
from test_truth_stationary import Line
from truth import Random, Row, Trial, log_uniform, pick

import pdekit as pk
from pdekit.pde.discrete.problem import Problem


def rates_of(V, beta, h, periodic):
    """Rates B(Δ) / (beta h²) to the neighbours along both axes, by loops."""
    n, m = V.shape
    jump = np.zeros((n * m, n * m))
    for i in range(n):
        for j in range(m):
            for axis, (k, q) in enumerate(((i + 1, j), (i, j + 1))):
                if (k >= n or q >= m) and not periodic[axis]:
                    continue
                k, q = k % n, q % m
                here, there, hh = i * m + j, k * m + q, h[axis] ** 2
                jump[here, there] += fitted(beta * (V[k, q] - V[i, j])) / (beta * hh)
                jump[there, here] += fitted(beta * (V[i, j] - V[k, q])) / (beta * hh)
    return jump, np.zeros(n * m)


def transition(jump, lost, t):
    """exp(tL), by scipy on a matrix whose entries are scaled to few jumps, and squares of it."""
    generator = jump - np.diag(jump.sum(1) + lost)
    size = max(float(t * (jump.sum(1) + lost).max()), 1e-300)
    halvings = max(0, int(np.ceil(np.log2(size))))
    out = scipy.linalg.expm(generator * (t / 2.0**halvings))
    for _ in range(halvings):
        out = out @ out
        if not lost.any():
            out /= out.sum(1)[:, None]
    return out


def scenery(rng: Random, grid, beta):
    """A potential that is flat, smooth, a tilted valley, or rough."""
    kind = pick(rng, "flat", "smooth", "well", "valley", "rough")
    height = log_uniform(rng, 0.1, 300) / beta
    a, b, c = rng.normal(size=3)
    if kind == "flat":
        return kind, lambda p: 0 * p[..., 0]
    low, size = np.array(grid.lower), np.array(grid.upper) - np.array(grid.lower)

    def inside(p):
        s = (p - low) / size - 0.5
        return s[..., 0], s[..., 1]

    def potential(p):
        x, y = inside(p)
        if kind == "smooth":
            return height * (np.cos(2 * np.pi * x + a) + np.sin(2 * np.pi * (x + y) + b)) / 2
        if kind == "well":
            return height * 4 * (x**2 + y**2 + 0.8 * np.tanh(c) * x * y)
        if kind == "valley":
            return height * ((np.cos(a) * x + np.sin(a) * y) ** 2 * 4 + 0.1 * x)
        return height * (np.sin(20 * x + a) * np.sin(17 * y + b) + 0.3 * np.cos(40 * x * y + c)) / 2

    return kind, potential


def start(rng: Random, grid, density):
    kind = pick(rng, "spike", "bump", "wave", "noise")
    low, size = np.array(grid.lower), np.array(grid.upper) - np.array(grid.lower)
    s = (grid.centres - low) / size
    if kind == "spike":
        u = np.zeros(grid.shape)
        u.flat[rng.integers(u.size)] = log_uniform(rng, 1e-3, 1e3)
    elif kind == "bump":
        centre, width = rng.uniform(0.2, 0.8, 2), rng.uniform(0.08, 0.4)
        u = np.exp(-((s - centre) ** 2).sum(-1) / (2 * width**2))
    elif kind == "wave":
        k = rng.integers(0, 3, 2)
        u = 1 + 0.9 * np.cos(2 * np.pi * (s @ k))
    else:
        u = rng.random(grid.shape) ** int(rng.integers(1, 6))
    return kind, u if density else u * pick(rng, 1.0, -2.0) + pick(rng, 0.0, 0.3)


def problem(rng: Random, style):
    """An equation on a box, a pipe or a torus with its rates."""
    cells = (int(log_uniform(rng, 4, 22)), int(log_uniform(rng, 4, 22)))
    size = log_uniform(rng, 0.1, 30)
    upper = (size, size * log_uniform(rng, 0.5, 2))
    periodic = pick(rng, (False, False), (True, True), (False, True), (True, False))
    grid = pk.Grid((0.0, 0.0), upper, cells, periodic=periodic)
    beta = log_uniform(rng, 1e-2, 1e2)
    kind, V = scenery(rng, grid, beta)
    density = bool(rng.random() < 0.6)
    equation = pk.FokkerPlanck if density else pk.BackwardKolmogorov
    what = f"{equation.__name__}, {kind} potential, beta {beta:.3g}, {grid}, {style}"
    h = grid.spacing
    if style == "gradient":
        made = equation(V, beta)
        return made, grid, rates_of(V(grid.centres), beta, h, periodic), density, True, what
    more, conserves = {}, True
    strength = pick(rng, 1, -1) * log_uniform(rng, 1e-2, 4) / (beta * min(h))
    if style == "driven":
        angle, swirl = rng.uniform(0, 6.3), pick(rng, "even", "shear", "swirl")
        along = np.array([np.cos(angle), np.sin(angle)])
        middle = np.array(upper) / 2

        def force(p):
            s = (p - middle) / np.array(upper)
            if swirl == "even":
                return np.broadcast_to(strength * along, p.shape)
            if swirl == "shear":
                return strength * np.stack([np.cos(2 * np.pi * s[..., 1]), 0 * s[..., 0]], -1)
            return 2 * strength * np.stack([-s[..., 1], s[..., 0]], -1)

        more["force"] = force
        what += f" {swirl} {strength:.3g}"
    if style == "tensor":
        a = rng.normal(size=(2, 2))
        more["diffusion"] = a @ a.T + 0.05 * np.eye(2)
        what += f" {more['diffusion'].round(3).tolist()}"
    if style == "kinetic":
        more["diffusion"] = np.diag([0.0, 1.0])
        more["force"] = lambda p: strength * np.stack([p[..., 1] - upper[1] / 2, 0 * p[..., 0]], -1)
    if style == "absorbed":
        more["walls"] = pk.Walls(lower=(True, False), upper=pick(rng, True, False))
        conserves = all(periodic)
        if periodic[0] and not periodic[1]:
            conserves = more["walls"].upper is False
        what += f" {more['walls']}"
    made = equation(V, beta, **more)
    return made, grid, rates_in(Problem(made, grid, None).generator()), density, conserves, what


def trial(rng: Random, style, scheme, promise, most):
    style = pick(rng, *style)
    equation, grid, rates, density, conserves, what = problem(rng, style)
    kind, u0 = start(rng, grid, density)
    rate = fastest(rates)
    last = min(10 ** rng.uniform(-4, 4), most / rate)
    many = pick(rng, 1, 1, 3, 10)
    t = np.linspace(0, last, many + 1)[1:]
    chosen = scheme(rng, rate, last)

    def judge(solution):
        flat = type("", (), {"fields": solution.fields.reshape(len(t), -1)})
        limit = promise(solution) + 1e-12
        if not bounded(flat, u0.ravel(), density, conserves):
            return np.nan, limit
        step, v, worst = transition(*rates, t[0]), u0.ravel(), 0.0
        for u in flat.fields:
            v = step.T @ v if density else step @ v
            apart = np.abs(u - v)
            error = apart.sum() / u0.sum() if density else apart.max() / np.abs(u0).max()
            worst = max(worst, float(error))
        return worst, limit

    return Trial(
        f"{what}, {kind}, {many} times up to {last:.3g}, {chosen}",
        lambda: quietly(equation, grid, u0, t, chosen),
        judge,
    )


def torus(rng: Random):
    """A uniform wind on a torus against its discrete modes: rates 1 / (beta h²) ± f / (2 h)."""
    cells = np.array([int(log_uniform(rng, 6, 72)), int(log_uniform(rng, 6, 72))])
    upper = log_uniform(rng, 0.1, 30) * np.array([1.0, log_uniform(rng, 0.5, 2)])
    beta, h = log_uniform(rng, 1e-2, 1e2), upper / cells
    diffusion = np.array(pick(rng, (1.0, 1.0), (1.0, 0.3)))
    force = rng.uniform(-1, 1, 2) * log_uniform(rng, 1e-2, 1.8) * diffusion / (beta * h)
    density, tolerance = bool(rng.random() < 0.6), pick(rng, 5e-5, 1e-3)
    grid = pk.Grid((0.0, 0.0), tuple(upper), tuple(map(int, cells)), periodic=True)
    kind, u0 = start(rng, grid, density)
    slowest = beta * float((upper**2 / diffusion).max()) / (2 * np.pi) ** 2
    last, many = slowest * log_uniform(rng, 1e-3, 10), pick(rng, 1, 1, 3, 10)
    t = np.linspace(0, last, many + 1)[1:]
    equation = (pk.FokkerPlanck if density else pk.BackwardKolmogorov)(
        lambda p: 0 * p[..., 0],
        beta,
        force=lambda p: np.broadcast_to(force, p.shape),
        diffusion=None if diffusion[1] == 1 else np.diag(diffusion),
    )

    def judge(solution):
        symbol = np.zeros(tuple(cells), dtype=complex)
        for axis in range(2):
            turn = np.exp(2j * np.pi * np.fft.fftfreq(cells[axis]))
            out = diffusion[axis] / (beta * h[axis] ** 2) + force[axis] / (2 * h[axis])
            back = diffusion[axis] / (beta * h[axis] ** 2) - force[axis] / (2 * h[axis])
            there = turn.conj() if density else turn
            one = out * (there - 1) + back * (there.conj() - 1)
            symbol += one[:, None] if axis == 0 else one
        if solution.fields.min() < (0 if density else u0.min() - 1e-12 * np.abs(u0).max()):
            return np.nan, tolerance
        worst = 0.0
        for s, u in zip(t, solution.fields, strict=True):
            apart = np.abs(u - np.fft.ifft2(np.fft.fft2(u0) * np.exp(s * symbol)).real)
            error = apart.sum() / u0.sum() if density else apart.max() / np.abs(u0).max()
            worst = max(worst, float(error))
        return worst, tolerance + 1e-12

    return Trial(
        f"{type(equation).__name__} beta {beta:.4g}, {grid}, force {force.tolist()}, diffusion "
        f"{diffusion.tolist()}, {kind}, {many} times up to {last:.4g}, Split({tolerance})",
        lambda: quietly(equation, grid, u0, t, pk.schemes.Split(tolerance)),
        judge,
    )


def linear_drift(rng: Random):
    """Of (q, p), or of a path driven by coloured noise: Gaussian, by exponentials of matrices."""
    a, c, beta = log_uniform(rng, 0.1, 10), log_uniform(rng, 1e-2, 10), log_uniform(rng, 0.1, 10)
    kind, m = pick(rng, "inert", "inert", "coloured"), log_uniform(rng, 0.3, 3)
    if kind == "inert":
        A, D = np.array([[0, 1 / m], [-a, -c]]), np.diag([0, 2 * c * m / beta])
        equation = pk.UnderdampedLangevin(pk.potentials.Quadratic(a), beta, c, m).law()
    else:
        A, D = np.array([[-a, 1.0], [0, -c]]), np.diag([0, 2 * c / beta])
        noise = ((0.0,), (float(np.sqrt(2 * c / beta)),))
        equation = pk.ItoProcess(lambda x: x @ A.T, noise, dim=2).law()
    rest = solve_continuous_lyapunov(A, -D)
    spread = np.sqrt(np.diag(rest)) * np.array([log_uniform(rng, 0.3, 2) for _ in range(2)])
    mean = rng.normal(size=2) * spread
    t = log_uniform(rng, 0.1, 4) / np.sqrt(a / m) * np.linspace(0, 1, pick(rng, 1, 1, 3) + 1)[1:]

    def law(s):
        P = expm(A * s)
        return P @ mean, P @ (np.diag(spread**2) - rest) @ P.T + rest

    ends = [(m, 5.5 * np.sqrt(np.diag(C))) for m, C in map(law, np.linspace(0, t[-1], 100))]
    lower = np.min([m - w for m, w in ends], 0)
    upper = np.max([m + w for m, w in ends], 0)
    cells = tuple(int(log_uniform(rng, 24, 100)) for _ in range(2))
    grid = pk.Grid(tuple(lower), tuple(upper), cells)

    def judge(solution):
        stats = solution.stats
        if solution.fields.min() < 0 or stats["mass_drift"] > 1e-12:
            return np.nan, 0.0
        worst = 0.0
        for s, u in zip(t, solution.fields, strict=True):
            middle, C = law(s)
            z = grid.centres - middle
            true = np.exp(-np.einsum("...i,ij,...j", z, np.linalg.inv(C), z) / 2)
            worst = max(worst, grid.integrate(np.abs(u - true / grid.integrate(true))))
        return worst, stats["error_estimate"] + 2 * stats["on_other_cells"] + 1e-6

    start = pk.Gaussian(tuple(mean), tuple(spread))
    return Trial(
        f"{kind} a={a} c={c} beta={beta} {m=} from {start} to {t.tolist()} on {grid}",
        lambda: pk.solve(equation, grid, start, t),
        judge,
    )


def between_the_cells(rng: Random):
    """A backward equation whose axes do not see each other: the product of two on fine lines."""
    p, q = (Line(rng, bool(rng.random() < 0.3), forced=rng.random() < 0.5) for _ in range(2))
    for line in (p, q):
        line.n = int(log_uniform(rng, 6, 60))
        line.f = float(np.clip(line.f, -60 / line.beta / line.length, 60 / line.beta / line.length))
    share = q.beta / p.beta  # of what is drawn for q at its own temperature
    one, other = function(rng, p)[1], function(rng, q)[1]
    grid = pk.Grid(
        (p.low, q.low), (p.low + p.length, q.low + q.length), (p.n, q.n), periodic=(p.ring, q.ring)
    )
    last = p.beta * min(p.length, q.length) ** 2 * log_uniform(rng, 1e-3, 3)
    t = last * np.linspace(0, 1, pick(rng, 1, 1, 3) + 1)[1:]
    equation = pk.BackwardKolmogorov(
        lambda x: p.V(x[..., 0]) + share * q.V(x[..., 1]),
        p.beta,
        force=lambda x: np.stack([p.F(x[..., 0]), share * q.F(x[..., 1])], -1),
    )

    def judge(fields):
        (a, first), (b, second) = fine_solution(p, one, t), fine_solution(q, other, t, p.beta)
        span = float(np.ptp(np.outer(a, b)))
        true = first[:, :, None] * second[:, None, :]
        return float(np.abs(fields - true).max()) / span, 0.05

    return Trial(
        f"{p} and {q}, {len(t)} times up to {last:.4g}",
        lambda: pk.solve(equation, grid, lambda x: one(x[..., 0]) * other(x[..., 1]), t).fields,
        judge,
    )


def thin_slab(rng: Random):
    """No drift and killing across: a product of two lines, by the modes of their matrices."""
    cells = int(log_uniform(rng, 6, 60)), int(log_uniform(rng, 6, 60))
    size = 1.0, log_uniform(rng, 1e-4, 1.0)
    beta, t, kill = (log_uniform(rng, *ends) for ends in ((0.1, 10), (1e-3, 30), (1e-2, 1e2)))
    grid = pk.Grid((0, 0), size, cells)
    x, y = grid.axes[0], grid.axes[1] / size[1]
    parts = 2 + np.sin(5 * x), 1 + y
    lost = 0 * x, kill * y**2
    exact = []
    for n, width, f, rates in zip(cells, size, parts, lost, strict=True):
        step = np.diff(np.eye(n), axis=0)
        A = -((n / width) ** 2) / beta * step.T @ step - np.diag(rates)
        values, modes = np.linalg.eigh(A)
        exact.append(modes @ (np.exp(t * np.minimum(values, 0)) * (modes.T @ f)))
    truth = np.outer(*exact)
    # of the eigenvalues here
    rounding = 1e-13 * t * (4 * max(cells) ** 2 / min(size) ** 2 / beta) + 1e-12
    equation = pk.BackwardKolmogorov(
        pk.potentials.Custom(lambda p: 0 * p[..., 0], dim=2),
        beta,
        killing=lambda p: kill * (p[..., 1] / size[1]) ** 2,
    )
    return Trial(
        f"cells={cells} size={size} beta={beta:.4g} t={t:.4g} kill={kill:.4g}",
        lambda: pk.solve(equation, grid, np.outer(*parts), t),
        lambda u: (
            np.abs(u.fields[0] - truth).max() / np.outer(*parts).max(),
            u.stats["error_estimate"] + rounding,
        ),
    )


def krylov(rng, rate, last):
    return pk.schemes.Krylov(pick(rng, 1e-8, 1e-4))


def split(rng, rate, last):
    return pk.schemes.Split(pick(rng, 5e-5, 1e-3))


def implicit(rng, rate, last):
    return pk.schemes.Implicit(last / pick(rng, 1, 7, 50, 300))


def default(rng, rate, last):
    return None


STYLES = ("gradient", "driven", "absorbed", "tensor", "kinetic")
ROWS = [
    Row(
        "backward equations between the cells of a plane",
        ("solve BackwardKolmogorov",),
        between_the_cells, 0.1, 10,
    ),
    Row(
        "kinetic equations of linear drifts",
        ("solve FokkerPlanck", "SemiLagrangian", "UnderdampedLangevin"),
        linear_drift, 0.6, 8,
    ),
    Row(
        "Krylov spaces in the plane",
        ("solve FokkerPlanck", "solve BackwardKolmogorov", "Krylov"),
        partial(trial, style=STYLES, scheme=krylov, promise=lambda s: s.scheme.rtol, most=1e5),
        cost=1,
    ),
    Row(
        "thin slabs that kill",
        ("solve BackwardKolmogorov", "Krylov"),
        thin_slab, 0.9, 4,
    ),
    Row(
        "splitting of gradient drifts",
        ("solve FokkerPlanck", "solve BackwardKolmogorov", "Split"),
        partial(
            trial, style=("gradient", "absorbed"), scheme=split,
            promise=lambda s: s.scheme.tolerance, most=1e5,
        ),
        cost=8,
    ),
    Row(
        "splitting of driven, tensor and kinetic equations",
        ("solve FokkerPlanck", "solve BackwardKolmogorov", "Split"),
        partial(
            trial, style=("driven", "tensor", "kinetic"), scheme=split,
            promise=lambda s: s.scheme.tolerance, most=3e3,
        ),
        cost=20,
    ),
    Row(
        "splitting of a wind on a torus",
        ("solve FokkerPlanck", "solve BackwardKolmogorov", "Split"),
        torus, 0.6, 2,
    ),
    Row(
        "implicit steps in the plane",
        ("solve FokkerPlanck", "solve BackwardKolmogorov", "Implicit"),
        partial(
            trial, style=STYLES, scheme=implicit,
            promise=lambda s: s.stats["error_estimate"], most=1e5,
        ),
        cost=2,
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)
