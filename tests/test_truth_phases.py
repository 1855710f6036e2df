"""Transitions, states and flows of pair interactions, on lines, circles, planes and tori."""

import warnings

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm, solve_continuous_lyapunov
from test_truth_mean_field import Landscape, bernoulli
from truth import Row, Trial, log_uniform, pick

import pdekit as pk
from pdekit import schemes
from pdekit.interactions import GaussianWell, Kuramoto, Morse, PowerLaw, SmoothL1


def flat(x):
    return 0 * np.asarray(x)[..., 0]


class Flat:
    """V = 0 of some dimension."""

    def __init__(self, dim):
        self.dim = dim

    def __call__(self, x):
        return flat(x)

    def grad(self, x):
        return 0 * x


# --- plain sums ----------------------------------------------------------------------------------


def apart(grid):
    """Displacements of least length between all pairs of cells, (N, N, d)."""
    x = grid.centres.reshape(-1, grid.dim)
    z = x[:, None] - x
    for k, (a, b, ring) in enumerate(zip(grid.lower, grid.upper, grid.periodic, strict=True)):
        if ring:
            z[..., k] -= (b - a) * np.round(z[..., k] / (b - a))
    return z


def descended(V, K, beta, rho, sweeps=4000):
    """Where log rho <- (1 - s) log rho - s beta (V + K rho) ends: each step lowers the energy.

    None where it has not come to rest.
    """
    mass, share = rho.sum(), 0.5
    log_rho = np.log(np.maximum(rho, 1e-300))

    def energy(log_rho):
        rho = np.exp(log_rho)
        return rho @ (beta * (V + K @ rho / 2) + log_rho)

    least = energy(log_rho)
    for _ in range(sweeps):
        power = beta * (V + K @ np.exp(log_rho))
        new = (1 - share) * log_rho - share * power
        new -= np.log(np.exp(new - new.max()).sum() / mass) + new.max()
        now = energy(new)
        if now > least + 1e-13 * abs(least):
            share /= 2
            continue
        moved = np.abs(np.exp(new) - np.exp(log_rho)).sum()
        least, log_rho = now, new
        if moved < 1e-11 * share * mass:
            return np.exp(log_rho)
        share = min(1.2 * share, 1.0)
    return None


def turned_by_quarters(rho):
    """A density round a circle, turned by every quarter of a cell, by its Fourier series."""
    n = len(rho)
    waves = np.exp(-2j * np.pi * np.arange(n // 2 + 1) * np.arange(0, n, 0.25)[:, None] / n)
    return np.fft.irfft(np.fft.rfft(rho) * waves, n)


def plain_response(K, rho, beta):
    """The largest eigenvalue of -beta W in the covariance of the weights rho, by a dense matrix."""
    root = np.sqrt(rho)
    inner = -beta * root[:, None] * K * root
    inner -= np.outer(root, root @ inner)
    inner -= np.outer(inner @ root, root)
    return np.linalg.eigvalsh((inner + inner.T) / 2)[-1]


def another_before(V, K, beta, even):
    """Whether descent from bumps leads to a state apart from ``even`` below the transition."""
    n = len(V)
    for place in np.linspace(0, n - 1, 5).astype(int):
        power = beta * (V + K[:, place])
        rho = np.exp(power.min() - power)
        for start in (rho, np.eye(n)[place] + 1e-12):
            end = descended(V, K, beta, start / start.sum(), 2000)
            if end is not None and np.abs(end - even).sum() > 0.05:
                return True
    return False


# --- critical temperatures -----------------------------------------------------------------------


def waves(rng):
    """V = 0 on a circle or torus: cos kx grows from beta = -L / ∫ W cos kz dz on."""
    dim, length = int(pick(rng, 1, 1, 2)), log_uniform(rng, 1e-3, 1e3)
    cells = int(log_uniform(rng, 4, 64 if dim == 1 else 20))
    strength, kind = log_uniform(rng, 1e-3, 1e3), pick(rng, "cos", "cos", "Gauss")
    grid = pk.Grid([-length / 2] * dim, [length / 2] * dim, [cells] * dim, periodic=True)
    if kind == "cos":
        K = rng.normal(size=3)
        K[np.arange(1, 4) >= cells / 2] = 0

        def W(z):
            waved = sum(k * np.cos(2 * np.pi * (j + 1) * z / length) for j, k in enumerate(K))
            return -strength * waved.sum(-1)

        grows = strength * max(K) / 2
        promised = 1e-7
    else:
        width = log_uniform(rng, 0.003, 1.0) * length
        fine = length * (np.arange(20000) + 0.5) / 20000 - length / 2
        bump = np.exp(-((fine / width) ** 2) / 2)
        least = [(bump * np.cos(2 * np.pi * k * fine / length)).mean() for k in (0, 1)]
        W, grows = GaussianWell(strength, width, dim), strength * least[1] * least[0] ** (dim - 1)
        promised = 0.05 + 4 / cells**2  # W has a kink half way round

    def judge(beta):
        off = abs(beta * grows - 1)
        if off > promised or kind == "Gauss" or dim == 2:
            return off, promised
        x = grid.axes[0]
        dense = np.asarray(W(apart(grid))) / cells
        early = another_before(0 * x, dense * cells, 0.99 * beta, np.full(cells, 1 / cells))
        return (np.inf if early else off), promised

    what = f"flat V, {kind} {K if kind == 'cos' else width} strength {strength:.4g} on {grid}"
    pair = pk.PairPotential(W, dim)
    return Trial(what, lambda: pk.critical_beta(Flat(dim), pair, grid=grid), judge)


def kernels(rng, dim, length, height):
    """An interaction that attracts, over some length."""
    s, w = height * log_uniform(rng, 0.5, 10), log_uniform(rng, 0.2, 3) * length
    return pick(
        rng,
        GaussianWell(s, w, dim),
        Morse(s, w, 0.5 * s, 0.4 * w, 0.1 * w, dim),
        SmoothL1(s / length, 0.3 * w, dim),
        PowerLaw(s / length**2, 2.0, 1.0, 0.2 * length, dim),
    )


class Wells:
    """h ((x/w)² - 1)² and ripples, along each axis."""

    def __init__(self, rng, dim):
        self.dim, self.w, self.h = dim, log_uniform(rng, 0.1, 10), log_uniform(rng, 0.01, 100)
        self.c, self.k = pick(rng, 0.0, 0.0, 0.5 * rng.normal()), rng.uniform(1, 4)

    def __call__(self, x):
        x = np.asarray(x) / self.w
        return self.h * ((x**2 - 1) ** 2 + self.c * np.cos(self.k * x)).sum(-1)

    def grad(self, x):
        raise NotImplementedError

    def __repr__(self):
        return f"{self.h:.4g} ((x/{self.w:.4g})² - 1)² + {self.c:.3g} cos {self.k:.3g} x/w"


def transitions(rng):
    """Even V between walls, by dense matrices along the symmetric branch."""
    dim = int(pick(rng, 1, 1, 2))
    V = Wells(rng, dim)
    cells = int(log_uniform(rng, *((20, 120) if dim == 1 else (10, 16))))
    grid = pk.Grid([-2.3 * V.w] * dim, [2.3 * V.w] * dim, [cells] * dim)
    W = pick(rng, pk.CurieWeiss(V.h / V.w**2 * log_uniform(rng, 0.5, 5)), *[
        pk.PairPotential(kernels(rng, dim, V.w, V.h)) for _ in range(3)])  # fmt: skip

    def judge(beta):
        values = V(grid.centres).ravel()
        K = np.asarray(W(apart(grid)))
        rho, before = np.full(len(values), 1 / len(values)), []
        for b in np.geomspace(beta / 100, beta, 25):
            for _ in range(3):
                found = descended(values, K, b, (rho + rho[::-1]) / 2, 3000)
                if found is None:
                    return 0.0, 1.0
                rho = (found + found[::-1]) / 2
            before.append(plain_response(K, rho, b))
        off, early = abs(before[-1] - 1), max(before[:-1]) - 1
        if max(off / 1e-4, early / 1e-4) < 1 and dim == 1:
            even = descended(values, K, 0.99 * beta, rho, 4000)
            if even is not None and another_before(values, K, 0.99 * beta, even):
                return np.inf, 1.0
        return max(off / 1e-4, early / 1e-4), 1.0

    what = f"{V!r} {W!r} on {grid}"
    return Trial(what, lambda: pk.critical_beta(V, W, grid=grid), judge)


# --- states --------------------------------------------------------------------------------------


def pair_states(rng):
    """Every state that descent from crowds and mixtures leads to, and what is said of each."""
    ring = bool(rng.random() < 0.3)
    height, cells = log_uniform(rng, 1e-3, 1e3), int(log_uniform(rng, 16, 120))
    if ring:
        length = log_uniform(rng, 1e-2, 1e2)
        grid = pk.Grid(-length / 2, length / 2, cells, periodic=True)
        c, turn = rng.normal(size=2) * pick(rng, 0.0, 1.0), 2 * np.pi / length

        def V(x):
            x = turn * np.asarray(x)[..., 0]
            return height * (c[0] * np.cos(x) + c[1] * np.cos(2 * x + 1))

        what = f"{height:.4g} ({c[0]:.3g} cos + {c[1]:.3g} cos 2(.) + 1)"
    else:
        V = Wells(rng, 1)
        height, length, tilt = V.h, V.w, pick(rng, 0.0, 0.3 * rng.normal())
        grid = pk.Grid(-2.3 * length, 2.3 * length, cells)
        wells = V

        def V(x):
            return wells(x) + tilt * height * np.asarray(x)[..., 0] / length

        what = f"{wells!r} + {tilt:.3g} x/w"
    beta = log_uniform(rng, 0.2, 20) / height
    s, w = height * log_uniform(rng, 0.1, 10), log_uniform(rng, 0.1, 2) * length
    W = pick(rng, GaussianWell(s, w), GaussianWell(-s, w), Morse(s, w, 0.5 * s, 0.4 * w, 0.1 * w),
             SmoothL1(s / length, 0.3 * w))  # fmt: skip
    if ring:
        W = pick(
            rng, GaussianWell(pick(rng, 1, 1, -1) * s, 0.4 * w), Waves(s * rng.normal(size=3), turn)
        )
    equation = pk.McKeanVlasov(V, beta, pk.PairPotential(W))

    def judge(states):
        values, K = V(grid.centres), np.asarray(W(apart(grid)))
        h, found = grid.cell_volume, [state.density.values * grid.cell_volume for state in states]
        shifts = np.ptp(values) < 1e-12 * height
        for state, rho in zip(states, found, strict=True):
            power = beta * (values + K @ rho)
            own = np.exp(power.min() - power)
            off = np.abs(rho - own / own.sum()).sum()
            terms = (values + K @ rho / 2) * rho, rho * np.log(np.maximum(rho / h, 1e-300)) / beta
            energy, size = sum(map(np.sum, terms)), sum(np.abs(t).sum() for t in terms)
            if off > 1e-6 or abs(energy - state.free_energy) > 1e-9 * (size + np.abs(K).max()):
                return np.inf, 1.0
            response = plain_response(K, rho, beta)
            if not shifts and abs(response - state.response) > 1e-6 * (1 + beta * np.ptp(K)):
                return np.inf, 2.0
        for k, place in enumerate(np.linspace(0, cells - 1, 9).astype(int)):
            crowd = np.eye(cells)[place] + (k % 2) * np.eye(cells)[cells - 1 - place] + 1e-9
            end = descended(values, K, beta, crowd / crowd.sum(), 4000)
            if end is None or (plain_response(K, end, beta) > 0.999 and not shifts):
                continue
            turns = turned_by_quarters(end) if shifts else [end]
            if not any(np.abs(rho - turned).sum() < 0.05 for rho in found for turned in turns):
                return np.inf, 3.0
        return 0.0, 1.0

    what = f"{what} {W!r} beta {beta:.4g} on {grid}"
    return Trial(what, lambda: pk.self_consistent_states(equation, grid), judge)


class Waves:
    """W = -Σ K_k cos k turn z."""

    dim = 1

    def __init__(self, K, turn):
        self.K, self.turn = K, turn

    def __call__(self, z):
        z = self.turn * np.asarray(z)[..., 0]
        return -sum(k * np.cos((j + 1) * z) for j, k in enumerate(self.K))

    def grad(self, z):
        raise NotImplementedError

    def __repr__(self):
        return f"Waves({self.K}, {self.turn:.4g})"


# --- branches ------------------------------------------------------------------------------------


def loops(rng):
    """Hysteresis: with a tilt h all states lie on m = r(s), h = strength r(s) - s."""
    V, springs = Wells(rng, 1), bool(rng.random() < 0.25)
    grid = pk.Grid(-2.3 * V.w, 2.3 * V.w, int(log_uniform(rng, 30, 60 if springs else 200)))
    beta = log_uniform(rng, 0.5, 20) / V.h
    strength = V.h / V.w**2 * log_uniform(rng, 0.1, 10)
    W = pk.PairPotential(pk.potentials.Quadratic(strength)) if springs else pk.CurieWeiss(strength)
    x, values = grid.axes[0], V(grid.centres)
    most = V.h / V.w * log_uniform(rng, 0.3, 5)
    end = strength * 2.3 * V.w + most
    s = np.linspace(end, -end, 40001)  # from low tilts up, along stable states

    def r(s):
        power = beta * (values + strength * x**2 / 2 - np.atleast_1d(s)[:, None] * x)
        w = np.exp(power.min(1, keepdims=True) - power)
        w /= w.sum(1, keepdims=True)
        m = w @ x
        return m, beta * strength * ((w * (x - m[:, None]) ** 2).sum(1))

    parts = [r(some) for some in np.array_split(s, 40)]
    m, slope = (np.concatenate(part) for part in zip(*parts, strict=True))
    tilt = strength * m - s
    starts = np.flatnonzero((tilt[:-1] < -most) & (tilt[1:] >= -most))
    k = int(rng.choice(starts))
    after = np.flatnonzero((tilt[k + 1 :] > most) | (tilt[k + 1 :] < -most))
    stop = k + 1 + int(after[0])
    turns = np.flatnonzero((slope[k + 1 : stop - 1] - 1) * (slope[k + 2 : stop] - 1) < 0) + k + 1
    exact = [_turn(r, strength, s[j], s[j + 1]) for j in turns]

    def family(h):
        return pk.McKeanVlasov(lambda z: V(z) + h * np.asarray(z)[..., 0], beta, W)

    def judge(found):
        if len(found.folds) != len(exact):
            close = np.abs(np.abs(slope[k:stop] - 1)).min() < 1e-3  # two folds about to be born
            return (0.0 if close else np.inf), 1.0
        ends = found.parameter[-1] / most, tilt[stop] / most
        if abs(ends[0] - np.sign(ends[1])) > 1e-9:
            return np.inf, 2.0
        folds = np.abs(found.folds - np.array([e[0] for e in exact])).max(initial=0.0) / most
        means = np.abs(found.fold_means - np.array([e[1] for e in exact])).max(initial=0.0) / V.w
        on = [abs(r(strength * b - h)[0][0] - b) for h, b in
              zip(found.parameter[::7], found.mean[::7], strict=True)]  # fmt: skip
        return max(folds / 1e-7, means / 1e-3, max(on) / V.w / 1e-8), 1.0

    mean = float(m[k] + (m[k + 1] - m[k]) * (-most - tilt[k]) / (tilt[k + 1] - tilt[k]))
    what = f"{V!r} beta {beta:.4g} strength {strength:.4g} {W!r} to {most:.4g} from {mean:.6g}"
    return Trial(
        f"{what} on {grid}",
        lambda: pk.follow_branch(family, grid, mean, (-most, most)),
        judge,
    )


def _turn(r, strength, a, b):
    """The tilt and the mean at a fold between a and b, by bisection of r' = 1."""
    first = r(a)[1][0] > 1
    for _ in range(60):
        middle = (a + b) / 2
        a, b = (middle, b) if (r(middle)[1][0] > 1) == first else (a, middle)
    m = r(a)[0][0]
    return strength * m - a, m


# --- flows ---------------------------------------------------------------------------------------


def plane_moments(rng):
    """V = xᵀAx/2, attraction s: m' = -A m, Σ' = -(A + s) Σ - Σ (A + s) + 2/beta."""
    low = log_uniform(rng, 0.1, 10)
    eigen, angle = np.array([low, low * log_uniform(rng, 1, 5)]), rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    A = turn.T @ np.diag(eigen) @ turn
    A = (A + A.T) / 2
    s, beta = pick(rng, 0.0, 1.0, -0.5) * low, log_uniform(rng, 1e-2, 1e2)
    B = A + s * np.eye(2)
    rest = solve_continuous_lyapunov(B, 2 / beta * np.eye(2))
    std = np.sqrt(np.linalg.eigvalsh(rest)[-1]) * log_uniform(rng, 0.3, 1)
    size = max(std, np.sqrt(np.linalg.eigvalsh(rest)[-1]))
    m0, t = size * rng.uniform(-1, 1, 2), log_uniform(rng, 1e-2, 5) / low
    cells = int(log_uniform(rng, 12, 48))
    grid = pk.Grid([-7 * size] * 2, [7 * size] * 2, [cells] * 2)
    equation = pk.McKeanVlasov(pk.potentials.Quadratic(A), beta, pk.CurieWeiss(s))
    law = pk.Gaussian(m0, std)

    def judge(solution):
        rho = solution.fields[-1].ravel()
        x = grid.centres.reshape(-1, 2)
        w = rho / rho.sum()
        m = w @ x
        spread = (w[:, None] * (x - m)).T @ (x - m)
        mean, decay = expm(-A * t) @ m0, expm(-B * t)
        true = rest + decay @ (std**2 * np.eye(2) - rest) @ decay.T
        error = max(np.abs(m - mean).max() / size, np.abs(spread - true).max() / size**2)
        least = min(std, np.sqrt(np.linalg.eigvalsh(rest)[0]))
        return error, 0.5 * (float(grid.spacing[0]) / least) ** 2 + 1e-4

    what = f"A {A.tolist()} s {s:.4g} beta {beta:.4g} N({m0}, {std:.3g}) t {t:.3g} {grid}"
    return Trial(what, lambda: pk.solve(equation, grid, law, t), judge)


def line_rates(U, beta, h, ring):
    """As ``test_truth_mean_field.rates``, of lines along the last axis at once."""
    over = np.roll(U, -1, -1) - U
    w = beta * over
    bend = beta / 2 * (np.roll(over, -1, -1) - np.roll(over, 1, -1))
    if not ring:
        bend[..., [0, -1, -2]] = 0
    z = np.clip(16 * bend / 35, -1, 1)
    factor = (1 + 35 / 16 * (z - z**3 + 0.6 * z**5 - z**7 / 7) / 5) / (beta * h * h)
    up, down = (factor * np.vectorize(bernoulli)(sign * w) for sign in (1, -1))
    if not ring:
        up[..., -1] = down[..., -1] = 0
    return up, down


def plane_flow(rng):
    rings = (bool(rng.random() < 0.4), bool(rng.random() < 0.4))
    cells = [int(log_uniform(rng, 4, 12)) for _ in range(2)]
    grid = pk.Grid((-2.5, -2.5), (2.5, 2.5), cells, periodic=rings)
    one, two, beta = Landscape(rng), Landscape(rng), log_uniform(rng, 1e-2, 10)
    tilt, turn = rng.normal(size=2), 2 * np.pi / 5

    def V(x):
        x = np.asarray(x)
        parts = [np.cos(turn * x[..., k]) if ring else land(x[..., k : k + 1])
                 for k, (ring, land) in enumerate(zip(rings, (one, two), strict=True))]  # fmt: skip
        return parts[0] + parts[1] + tilt[0] * np.cos(turn * x[..., 0]) * np.sin(turn * x[..., 1])

    strength = pick(rng, 1, 1, -1) * log_uniform(rng, 1e-2, 10)
    W = pk.PairPotential(GaussianWell(strength, rng.uniform(0.5, 2), 2))
    if not any(rings) and rng.random() < 0.5:
        W = pk.CurieWeiss(strength)
    start = rng.random(cells) + 1e-3
    if rng.random() < 0.3:
        start = np.eye(cells[0] * cells[1])[int(rng.integers(cells[0] * cells[1]))].reshape(cells)
    start *= log_uniform(rng, 0.3, 2) / (start.sum() * grid.cell_volume)
    times = np.linspace(0, beta * log_uniform(rng, 1e-3, 10), int(pick(rng, 2, 3, 10)))[1:]
    scheme = schemes.MeanField(pick(rng, 1e-5, 1e-3, 1e-7), 6)
    equation = pk.McKeanVlasov(pk.potentials.Custom(V, dim=2), beta, W)
    values, K = V(grid.centres), np.asarray(W(apart(grid))) * grid.cell_volume

    def speed(_, flat_rho):
        rho = flat_rho.reshape(cells)
        U = values + (K @ flat_rho).reshape(cells)
        total = np.zeros(cells)
        for axis, (h, ring) in enumerate(zip(grid.spacing, rings, strict=True)):
            up, down = line_rates(np.moveaxis(U, axis, -1), beta, float(h), ring)
            lines = np.moveaxis(rho, axis, -1)
            over = up * lines - down * np.roll(lines, -1, -1)
            total += np.moveaxis(np.roll(over, 1, -1) - over, -1, axis)
        return total.ravel()

    def judge(solution):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = solve_ivp(speed, (0, times[-1]), start.ravel(), method="LSODA", t_eval=times,
                              rtol=1e-9, atol=1e-12)  # fmt: skip
        if found.status != 0 or not np.isfinite(found.y).all():
            return 0.0, 1.0
        rho = solution.fields.reshape(len(times), -1)
        if np.abs(rho.sum(1) / start.sum() - 1).max() > 1e-12 or rho.min() < 0:
            return np.inf, 0.0
        error = np.abs(rho - found.y.T).sum(1).max() / start.sum()
        return float(error), scheme.rtol + 1e-7

    def call():
        with warnings.catch_warnings():  # the oracle has the same cells and walls
            warnings.simplefilter("ignore", pk.ResolutionWarning)
            warnings.simplefilter("ignore", pk.TruncationWarning)
            return pk.solve(equation, grid, start, times, scheme)

    what = f"{W!r} beta {beta:.4g} rings {rings} {one!r} {two!r} {cells} times {times}"
    return Trial(what, call, judge)


def oscillators(rng):
    """rho_t = (K Im(...) rho)_θ + rho_θθ / beta by its Fourier modes, without cells."""
    cells, beta = int(log_uniform(rng, 16, 256)), log_uniform(rng, 0.05, 30)
    K, grid = pick(rng, 1, 1, -1) * log_uniform(rng, 0.05, 10) / beta * 2, None
    grid = pk.Grid(0, 2 * np.pi, cells, periodic=True)
    place, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.5)
    t, law = beta * log_uniform(rng, 1e-2, 10), pk.Gaussian(place, width)
    k = np.arange(65)
    z0 = np.exp(1j * k * place - (k * width) ** 2 / 2)  # <exp(i k θ)>

    def speed(_, packed):
        z = packed[:65] + 1j * packed[65:]
        below, above = np.concatenate([[0], z[:-1]]), np.concatenate([z[1:], [0]])
        out = -(k**2) / beta * z + k * K / 2 * (z[1] * below - z[1].conjugate() * above)
        return np.concatenate([out.real, out.imag])

    def judge(solution):
        start = np.concatenate([z0.real, z0.imag])
        end = solve_ivp(speed, (0, t), start, method="LSODA", rtol=1e-10, atol=1e-13).y[:, -1]
        z, rho = end[:65] + 1j * end[65:], solution.fields[-1]
        error = 0.0
        for j in (1, 2):
            own = (rho * np.exp(1j * j * grid.axes[0])).sum() * float(grid.spacing[0])
            error = max(error, abs(own - z[j]))
        steep = max(beta * abs(K), 1.0)  # the width of the peak is 1 / sqrt(steep)
        return error, 2e-4 + 2 * float(grid.spacing[0]) ** 2 * max(steep, 1 / width**2)

    what = f"Kuramoto {K:.5g} beta {beta:.5g} N({place:.3g}, {width:.3g}) t {t:.4g} {cells} cells"
    equation = pk.McKeanVlasov(Flat(1), beta, pk.PairPotential(Kuramoto(K)))
    return Trial(what, lambda: pk.solve(equation, grid, law, t), judge)


ROWS = [
    Row("critical waves", ("critical_beta", "PairPotential", "Kuramoto", "GaussianWell"),
        waves, 0.4, cost=8),
    Row("transitions of pair interactions", ("critical_beta", "Morse", "SmoothL1", "PowerLaw"),
        transitions, 0.2, cost=25),
    Row("states of pair interactions", ("self_consistent_states",), pair_states, 0.3, cost=20),
    Row("hysteresis loops", ("follow_branch",), loops, 0.5, cost=25),
    Row("linear moments in the plane", ("solve McKeanVlasov", "MeanField"), plane_moments, 0.4,
        cost=10),
    Row("mean-field flow in the plane", ("solve McKeanVlasov", "MeanField"), plane_flow, 0.4,
        cost=20),
    Row("oscillators", ("solve McKeanVlasov", "Kuramoto"), oscillators, 0.5, cost=10),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
@pytest.mark.filterwarnings("ignore")
def test_no_silent_wrong_answer(row, truth):
    truth(row)
