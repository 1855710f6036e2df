"""Random problems with obstacles against chains that stop by hand, and paths by brute force."""

from typing import Any

import numpy as np
import pytest
from truth import Random, Row, Trial, log_uniform, pick

import pdekit as pk

s = pk.schemes
_EXPLICIT = 0.05  # of the fastest cell's stay: the longest step of the chain by hand
_MOST = 60_000  # steps by hand
SPOKEN_OF = 0.05  # of the range, by cells that no warning tells to be coarse


def rates(V: Any, beta: float, width: float, ring: bool) -> Any:
    """The chain of the Scharfetter-Gummel rates, as a dense matrix."""
    n = len(V)
    L = np.zeros((n, n))
    for i in range(n if ring else n - 1):
        j = (i + 1) % n
        for a, b in ((i, j), (j, i)):
            w = beta * (V[b] - V[a])
            L[a, b] += (w / np.expm1(w) if abs(w) > 1e-9 else 1 - w / 2) / (beta * width**2)
    return L - np.diag(L.sum(1))


def stopped_by_hand(A: Any, source: Any, u: Any, obstacle: Any, t: float, steps: int) -> Any:
    """u <- max(ψ, u + dt (A u + s)), extrapolated from two numbers of steps."""
    found = []
    for count in (steps, 2 * steps):
        dt, v = t / count, np.maximum(u, obstacle(0.0))
        M = np.eye(len(u)) + dt * A
        for k in range(count):
            v = np.maximum(M @ v + dt * source, obstacle((k + 1) * dt))
        found.append(v)
    return 2 * found[1] - found[0], float(np.abs(found[1] - found[0]).max())


def chain(rng: Random) -> Trial:
    """A few cells of any steepness, killing, sources, obstacles that move: exact for the chain."""
    n, length, ring = int(rng.integers(5, 17)), log_uniform(rng, 0.3, 10), bool(rng.random() < 0.3)
    beta = log_uniform(rng, 1e-2, 1e2)
    grid = pk.Grid(0, length, n, periodic=ring)
    x, size = grid.axes[0], log_uniform(rng, 1e-3, 1e3)
    k, phases = 2 * np.pi / length, rng.uniform(0, 6, 5)
    V = log_uniform(rng, 1e-2, 5) / beta * np.cos(k * x + phases[0])
    A = rates(V, beta, length / n, ring)
    fastest = float(-A.diagonal().min())
    t = min(log_uniform(rng, 1e-2, 300) / fastest, _MOST * _EXPLICIT / fastest)
    kill = pick(rng, 0.0, log_uniform(rng, 1e-2, 10) / t) * (1 + np.cos(k * x + phases[1]))
    source = pick(rng, 0.0, size * rng.normal() / t) * np.cos(k * x + phases[2])
    speed = pick(rng, 0.0, 0.0, rng.uniform(0.5, 6) / t)
    data = size * np.cos(2 * k * x + phases[3])
    level = rng.uniform(-1.5, 0.8)

    def obstacle(s_: float) -> Any:
        return size * (level + np.sin(k * x + phases[4] + speed * s_))

    def call() -> Any:
        def table(values: Any) -> Any:
            return lambda y: values if y.shape[:-1] == (n,) else np.interp(y[..., 0], x, values)

        given = table(obstacle(0.0))
        if speed:
            given = pk.InTime(lambda y, motion: table(obstacle(t - motion))(y))
        equation = pk.BackwardKolmogorov(
            table(V), beta, killing=table(kill) if kill.any() else None,
            source=table(source) if source.any() else None, obstacle=given,
        )  # fmt: skip
        import warnings

        with warnings.catch_warnings():  # that cells are coarse is no excuse here
            warnings.simplefilter("ignore", pk.ResolutionWarning)
            return pk.solve(equation, grid, data, t, pick_scheme)

    pick_scheme = pick(rng, None, s.ActiveSet(1e-4), s.ActiveSet(order=1, rtol=1e-3),
                       s.ActiveSet(steps=int(log_uniform(rng, 2, 200))))  # fmt: skip

    def judge(found: Any) -> tuple[float, float]:
        A_killed = A - np.diag(kill)
        steps = max(2000, int(t * (fastest + kill.max()) / _EXPLICIT))
        exact, doubt = stopped_by_hand(A_killed, source, data, obstacle, t, steps)
        u = found.fields[-1]
        scale = max(float(np.abs(u).max()), float(np.abs(data).max()), float(obstacle(0.0).max()))
        if (u < obstacle(t)).any():
            return np.inf, 0.0
        error = float(np.abs(u - exact).max())
        return error, found.stats["error_estimate"] * scale + doubt + 1e-9 * scale

    what = f"{grid} beta={beta:.3g} t={t:.3g} size={size:.3g} level={level:.2g} speed={speed:.3g} "
    return Trial(what + f"killing {kill.any()} source {source.any()} {pick_scheme}", call, judge)


def game(rng: Random) -> Trial:
    """Control against a stopper, and local entropy, by the exponential of a finer chain."""
    length, beta = log_uniform(rng, 0.5, 6), log_uniform(rng, 0.1, 8)
    entropy, k = bool(rng.random() < 0.5), 2 * np.pi / length
    n, phases = int(log_uniform(rng, 24, 120)), rng.uniform(0, 6, 4)
    grid, t = pk.Grid(0, length, n, periodic=True), length**2 * log_uniform(rng, 3e-3, 0.3)
    size, level = log_uniform(rng, 0.05, 3), rng.uniform(-1, 0.6)
    depth = 0.0 if entropy else pick(rng, 0.0, 0.5)
    earned = 0.0 if entropy else pick(rng, 0.0, size / t / 2)

    def waves(height: float, phase: float) -> Any:
        return lambda x: height * np.cos(k * x[..., 0] + phase)

    V, cost, data = waves(depth, phases[0]), waves(earned, phases[1]), waves(size, phases[2])

    def obstacle(x: Any) -> Any:
        return size * (level + np.sin(k * x[..., 0] + phases[3]))

    equation: Any = pk.HamiltonJacobiBellman(V, beta, cost, obstacle)
    if entropy:
        equation = pk.ViscousHJ(beta, obstacle)
    scheme = pick(rng, None, None, s.ActiveSet(order=1, rtol=1e-3), s.Godunov(), s.Filtered())

    def judge(found: Any) -> tuple[float, float]:
        m = 96
        y = ((np.arange(m) + 0.5) * length / m)[:, None]
        half = beta if entropy else beta / 2  # w = exp(-half u)
        noise = 2 * beta if entropy else beta
        A = rates(V(y), noise, length / m, True) - np.diag(half * cost(y))
        steps = int(t * float(-A.diagonal().min()) / 0.6) + 50
        low = -np.exp(-half * obstacle(y))
        w, _ = stopped_by_hand(A, 0.0, -np.exp(-half * data(y)), lambda _: low, t, steps)
        exact = np.interp(
            grid.axes[0], y[:, 0], -np.log(np.maximum(-w, 1e-300)) / half, period=length
        )
        u = found.fields[-1]
        if (u < obstacle(grid.centres)).any():
            return np.inf, 0.0
        scale = max(float(np.ptp(u)), 2 * size)
        return float(np.abs(u - exact).max()), SPOKEN_OF * scale + 0.01 * scale  # and of the chain

    what = f"{grid} beta={beta:.3g} t={t:.3g} size={size:.3g} level={level:.2g} {earned=:.3g} "
    return Trial(what + f"{depth=} entropy {entropy} {scheme}", lambda: pk.solve(
        equation, grid, data, t, scheme), judge)  # fmt: skip


def paths(rng: Random) -> Trial:
    """Without noise, |p| or |p|²/2: the least over all paths, place by place and step by step."""
    length, eikonal = log_uniform(rng, 0.5, 20), bool(rng.random() < 0.5)
    n, k, phases = int(log_uniform(rng, 50, 400)), 2 * np.pi / length, rng.uniform(0, 6, 2)
    grid, size = pk.Grid(0, length, n, periodic=True), log_uniform(rng, 1e-2, 1e2)
    t = length * log_uniform(rng, 0.02, 0.5) * (1.0 if eikonal else length / size / 5)
    level = rng.uniform(-1, 0.8)

    def data(x: Any) -> Any:
        return size * np.cos(k * x[..., 0] + phases[0])

    def obstacle(x: Any) -> Any:
        return size * (level + np.sin(2 * k * x[..., 0] + phases[1]) / 2)

    kind = pk.hamiltonians.Eikonal() if eikonal else None
    scheme = pick(rng, None, s.Filtered(), s.Godunov())

    def call() -> Any:
        return pk.solve(pk.HamiltonJacobi(kind, obstacle), grid, data, t, scheme)

    def judge(found: Any) -> tuple[float, float]:
        m = 1000
        fastest = 1.0 if eikonal else 2 * size * k  # a step by hand goes over six of its places
        steps = int(np.clip(t * fastest * m / length / 6, 4, 80))
        y = (np.arange(m) + 0.5) * length / m
        away = np.abs((y[:, None] - y + length / 2) % length - length / 2)
        if eikonal:  # whole cells a step, as many as fit
            reach = max(1, round(t / steps / (length / m)))
            steps = max(1, round(t / (reach * length / m)))
            paid = np.where(away < (reach + 0.5) * length / m, 0.0, np.inf)
        else:
            paid = away**2 / (2 * t / steps)
        psi = obstacle(y[:, None])
        u = np.maximum(data(y[:, None]), psi)
        for _ in range(steps):
            u = np.maximum((u + paid).min(1), psi)
        error = np.abs(found.fields[-1] - np.interp(grid.axes[0], y, u, period=length))
        if (found.fields[-1] < obstacle(grid.centres)).any():
            return np.inf, 0.0
        h = k * length / n
        order = h if isinstance(scheme, s.Godunov) else h / 2
        return float(error.mean()), size * (order + 0.02)  # and of the steps by hand

    what = f"{grid} t={t:.3g} size={size:.3g} level={level:.2g} eikonal {eikonal} {scheme}"
    return Trial(what, call, judge)


ROWS = [
    Row("stopped chains", ("solve BackwardKolmogorov", "ActiveSet"), chain, 0.8, cost=4),
    Row("stopped games", ("solve ViscousHJ", "solve HamiltonJacobiBellman", "ActiveSet"), game, 0.5,
        cost=4),
    Row("paths that may be stopped", ("solve HamiltonJacobi",), paths, 0.9, cost=4),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)
