"""Stationary verbs on random problems, against quadrature, Lyapunov's equation and enumeration.

No answer here comes from a generator on a grid: densities, currents, times and committors are
integrals in logarithms on fine lines, slow rates those of a positive integral kernel or of a matrix
of drifts, covariances solve F Σ + Σ Fᵀ = 2 D.
"""

import warnings
from itertools import combinations, product

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import solve_continuous_lyapunov
from scipy.special import logsumexp
from truth import Row, Trial, log_uniform, pick

import pdekit as pk

WITHIN = 0.05  # of itself: what an answer without a warning promises
FINE = 20_000
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0])
FLAT_PLANE = pk.potentials.Custom(lambda x: 0 * x[..., 0], dim=2)


class Line:
    """V = a cos(kx + s) + b cos(2kx), force = f + g sin(kx + r), k so that a ring closes."""

    def __init__(self, rng, ring, forced=True, alone=False):
        self.ring, self.beta = ring, log_uniform(rng, 1e-4, 1e4)
        self.low, self.length = rng.uniform(-3, 3), log_uniform(rng, 0.1, 30)
        self.k = (2 * np.pi if ring else np.pi * int(rng.integers(1, 4))) / self.length
        heights = log_uniform(rng, 1e-2, 60) / self.beta * rng.uniform(-1, 1, 2)
        self.a, self.b = (0.0, 0.0) if alone else heights
        self.s, self.r = rng.uniform(0, 2 * np.pi, 2)
        push = log_uniform(rng, 1e-2, 60) / self.beta / self.length * rng.uniform(-1, 1, 2)
        self.f, self.g = push if forced else (0.0, 0.0)
        if rng.random() < 0.05:
            self.f *= 1e3
        self.n = int(log_uniform(rng, 4, 400))
        self.grid = pk.Grid(self.low, self.low + self.length, self.n, periodic=ring)
        self.equation = pk.FokkerPlanck(
            pk.potentials.Custom(lambda x: self.V(x[..., 0])),
            self.beta,
            force=(lambda x: self.F(x)) if forced else None,
        )

    def V(self, x):
        return self.a * np.cos(self.k * x + self.s) + self.b * np.cos(2 * self.k * x)

    def F(self, x):
        return self.f + self.g * np.sin(self.k * x + self.r)

    def U(self, x):
        """beta (V - ∫ F): its slope is minus beta times the whole drift."""
        work = self.f * x - self.g / self.k * np.cos(self.k * x + self.r)
        return self.beta * (self.V(x) - work)

    def __str__(self):
        return (
            f"{'ring' if self.ring else 'line'} beta={self.beta:.4g} low={self.low:.4g} "
            f"length={self.length:.4g} n={self.n} k={self.k:.4g} a={self.a:.4g} b={self.b:.4g} "
            f"s={self.s:.3g} r={self.r:.3g} f={self.f:.4g} g={self.g:.4g}"
        )


def fine(low, high, n=FINE):
    h = (high - low) / n
    return low + h * (np.arange(n) + 0.5), h


def up_to(logs):
    """Logarithm of the sum up to the middle of each cell."""
    before = np.append(-np.inf, np.logaddexp.accumulate(logs)[:-1])
    return np.logaddexp(before, logs - np.log(2))


def log_ring_density(p):
    """log rho at the fine midpoints and log |J|: rho(x) ∝ e^{-U(x)} ∫_x^{x+L} e^{U}."""
    x, h = fine(p.low, p.low + p.length)
    turn = p.U(p.low + p.length) - p.U(p.low)
    u = p.U(x)
    double = np.concatenate([u, u + turn]) + np.log(h)
    # sums over windows of one turn, from each midpoint on: suffix of this turn, prefix of the next
    ahead = np.logaddexp.accumulate(double[:FINE][::-1])[::-1]
    behind = np.logaddexp.accumulate(double[FINE:])
    half = u + np.log(h / 2)
    inner = np.logaddexp(np.append(ahead[1:], -np.inf), np.append(-np.inf, behind[:-1]))
    window = logsumexp([inner, half, half + turn], axis=0)
    rho = window - u
    log_z = logsumexp(rho) + np.log(h)
    with np.errstate(divide="ignore", over="ignore"):
        # J = (1 - e^{turn}) / beta in the same units; positive where U falls round the ring
        log_j = np.where(turn > 0, turn, 0.0) + np.log(-np.expm1(-abs(turn))) - np.log(p.beta)
    return x, rho - log_z, float(log_j - log_z), -np.sign(turn)


def log_line_density(p):
    x, h = fine(p.low, p.low + p.length)
    u = -p.U(x)
    return x, u - logsumexp(u) - np.log(h)


def density_apart(p, rho):
    x, true = log_ring_density(p)[:2] if p.ring else log_line_density(p)
    at = np.exp(np.interp(p.grid.axes[0], x, true))
    return float(p.grid.integrate(np.abs(np.asarray(rho) - at)))


def stationary_on_a_line(rng):
    ring = rng.random() < 0.6
    p = Line(rng, ring, forced=rng.random() < 0.8, alone=rng.random() < 0.2)
    return Trial(
        str(p),
        lambda: pk.stationary(p.equation, p.grid).values,
        lambda rho: (density_apart(p, rho), WITHIN),
    )


def current_round_a_ring(rng):
    p = Line(rng, True, alone=rng.random() < 0.2)

    def judge(J):
        _, _, log_j, sign = log_ring_density(p)
        true = sign * np.exp(log_j)
        gross = 1 / p.beta / p.grid.spacing[0] / p.length  # of a uniform density, one way
        return float(np.abs(J - true).max()), WITHIN * abs(true) + 1e-11 * gross

    def call():
        rho = pk.stationary(p.equation, p.grid)
        return pk.current(p.equation, rho, p.grid).values[:, 0]

    return Trial(str(p), call, judge)


def balance_on_a_line(rng):
    """Net over gross flow of a ring is h |J| / (2 D rho / h) summed: beta h² |J| n / (2 ∫ rho)."""
    p = Line(rng, rng.random() < 0.7)

    def judge(found):
        if not p.ring:
            return found, 1e-10
        _, _, log_j, _ = log_ring_density(p)
        true = p.beta * p.grid.spacing[0] * np.exp(log_j) * p.length / 2
        return abs(found - true), 2 * WITHIN * true + 1e-11

    return Trial(str(p), lambda: pk.detailed_balance(p.equation, p.grid), judge)


def log_times(p, target):
    """log τ(x) up to ``target``: beta ∫_x^target e^{U(y)} ∫_low^y e^{-U} dy, U linear in each cell.

    With I the inner integral up to a cell of length h in which U rises by d, the cell adds
    h e^U I (e^d - 1) / d + h² (e^d - 1 - d) / d²: exact however steep U is.
    """
    x = np.linspace(p.low, target, FINE + 1)
    h = x[1] - x[0]
    u = p.U(x)
    d = np.diff(u)
    inner = np.logaddexp.accumulate(log_mean_exponential(-d) - u[:-1]) + np.log(h)
    inner = np.append(-np.inf, inner[:-1])
    parts = np.logaddexp(
        np.log(h) + u[:-1] + inner + log_mean_exponential(d),
        2 * np.log(h) + log_second_exponential(d),
    )
    outer = np.logaddexp.accumulate(parts[::-1])[::-1] + np.log(p.beta)
    return x[:-1], outer


def log_mean_exponential(d):
    """log of (e^d - 1) / d."""
    size = np.maximum(np.abs(d), 1e-12)
    return np.maximum(d, 0.0) + np.log(-np.expm1(-size) / size)


def log_second_exponential(d):
    """log of (e^d - 1 - d) / d², by its series where d is small."""
    small = np.abs(d) < 1e-3
    size = np.where(small, 1.0, d)
    far = np.where(size > 30, size + np.log1p(-(1 + size) * np.exp(-np.abs(size))),
                   np.log(np.expm1(np.minimum(size, 30.0)) - np.minimum(size, 30.0)))  # fmt: skip
    return np.where(small, np.log(0.5 + d / 6), far - 2 * np.log(np.abs(size)))


def times_on_a_line(rng):
    p = Line(rng, False, forced=rng.random() < 0.5, alone=rng.random() < 0.2)
    target = p.low + p.length * rng.uniform(0.2, 0.95)

    def judge(tau):
        x, true = log_times(p, target)
        inside = p.grid.axes[0] < target
        at = np.interp(p.grid.axes[0][inside], x, true)
        most = true.max()
        return float(np.abs(tau[inside] * np.exp(-most) - np.exp(at - most)).max()), WITHIN

    return Trial(
        f"{p} target={target:.5g}",
        lambda: pk.mean_first_passage_time(p.equation, p.grid, (target, np.inf)).values,
        judge,
    )


def times_in_a_plane(rng):
    """A second coordinate that the first does not see."""
    p = Line(rng, False, forced=rng.random() < 0.5)
    target = p.low + p.length * rng.uniform(0.3, 0.95)
    nx, ny = int(log_uniform(rng, 4, 40)), int(rng.integers(4, 12))
    grid = pk.Grid((p.low, 0.0), (p.low + p.length, 1.0), (nx, ny))
    q = rng.uniform(-2, 2, 2) / p.beta
    V = pk.potentials.Custom(lambda x: p.V(x[..., 0]) + q[0] * np.cos(3 * x[..., 1]), dim=2)

    def force(x):
        return np.stack([p.F(x[..., 0]), q[1] * np.sin(x[..., 1])], -1)

    equation = pk.FokkerPlanck(V, p.beta, force=force)

    def judge(tau):
        x, true = log_times(p, target)
        inside = grid.axes[0] < target
        at = np.interp(grid.axes[0][inside], x, true)[:, None]
        most = true.max()
        return float(np.abs(tau[inside] * np.exp(-most) - np.exp(at - most)).max()), WITHIN

    return Trial(
        f"{p} target={target:.5g} grid={nx}x{ny} q={q}",
        lambda: (
            pk.mean_first_passage_time(equation, grid, ((target, -np.inf), (np.inf, np.inf))).values
        ),
        judge,
    )


def exits_on_a_line(rng):
    """An absorbing wall below, a target above: Green's function, a sum of positive terms.

    The steepest forces are too steep for the fine line here, and left out.
    """
    p = Line(rng, False, forced=rng.random() < 0.5, alone=rng.random() < 0.2)
    p.f = float(np.clip(p.f, -100 / p.beta / p.length, 100 / p.beta / p.length))
    target = p.low + p.length * rng.uniform(0.4, 0.95)
    walled = pk.FokkerPlanck(
        p.equation.potential, p.beta, force=p.equation.force, walls=pk.Walls(lower=True)
    )

    def judge(tau):
        x, h = fine(p.low, target)
        u = p.U(x)
        left, right = up_to(u), up_to(u[::-1])[::-1]
        below, above = up_to(left - u), up_to((right - u)[::-1])[::-1]
        true = np.logaddexp(right + below, left + above) - logsumexp(u) + np.log(h * h * p.beta)
        inside = p.grid.axes[0] < target
        if not inside.any():
            return 0.0, WITHIN
        at = np.interp(p.grid.axes[0][inside], x, true)
        most = true.max()
        return float(np.abs(tau[inside] * np.exp(-most) - np.exp(at - most)).max()), WITHIN

    return Trial(
        f"{p} absorbing below, target={target:.5g}",
        lambda: pk.mean_first_passage_time(walled, p.grid, (target, np.inf)).values,
        judge,
    )


def escapes_against_a_wind(rng):
    """Both ends absorb, V = 0, force f: π² / (β L²) + β f² / 4."""
    beta, n = log_uniform(rng, 1e-4, 1e4), int(log_uniform(rng, 4, 400))
    length = log_uniform(rng, 0.1, 30)
    f = log_uniform(rng, 1e-2, 60) / (beta * length)
    true = np.pi**2 / (beta * length**2) + beta * f * f / 4
    by_force = rng.random() < 0.5
    V = pk.potentials.Custom(lambda x: -f * x[..., 0])
    equation = pk.FokkerPlanck(
        FLAT if by_force else V,
        beta,
        force=(lambda x: f + 0 * x) if by_force else None,
        walls=pk.Walls(True, True),
    )
    grid = pk.Grid(0, length, n)
    return Trial(
        f"beta={beta:.4g} n={n} length={length:.4g} f={f:.4g} by_force={by_force}",
        lambda: pk.spectral_gap(equation, grid),
        lambda gap: (abs(gap / true - 1), WITHIN),
    )


def committors(rng):
    p = Line(rng, False, forced=rng.random() < 0.5, alone=rng.random() < 0.2)
    ends = p.low + p.length * np.array([rng.uniform(0.05, 0.4), rng.uniform(0.6, 0.95)])

    def judge(q):
        x, h = fine(*ends)
        u = np.logaddexp.accumulate(p.U(x))
        centres = p.grid.axes[0]
        between = (centres > ends[0]) & (centres < ends[1])
        true = np.interp(centres[between], x + h / 2, np.exp(u - u[-1]), left=0.0)
        return float(np.abs(q[between] - true).max(initial=0.0)), WITHIN

    return Trial(
        f"{p} between {ends}",
        lambda: pk.committor(p.equation, p.grid, (-np.inf, ends[0]), (ends[1], np.inf)).values,
        judge,
    )


def slowest(p, n=3000, most=3000):
    """The gap on a line between walls: g = φ' solves g = λ β e^U ∫ K g, K = π(<min) π(>max) > 0."""
    x, h = fine(p.low, p.low + p.length, n)
    u = p.U(x)
    weight = -u - logsumexp(-u)  # of the cells; the kernel is taken at their inner faces
    below = np.logaddexp.accumulate(weight)[:-1]
    above = np.logaddexp.accumulate(weight[::-1])[::-1][1:]
    height = (
        np.logaddexp(u[1:], u[:-1]) - np.log(2) + np.log(p.beta) + logsumexp(-u) + 2 * np.log(h)
    )
    g, before = np.zeros(n - 1), np.inf
    for _ in range(most):
        left = np.logaddexp.accumulate(below + g)
        right = np.logaddexp.accumulate((above + g)[::-1])[::-1]
        image = height + np.logaddexp(above + left, below + np.append(right[1:], -np.inf))
        growth = logsumexp(image) - logsumexp(g)
        g = image - image.max()
        if abs(growth - before) < 1e-9:
            return float(np.exp(-growth))
        before = growth
    return float(np.exp(-growth))


def gaps_on_a_line(rng):
    p = Line(rng, False, forced=rng.random() < 0.5, alone=rng.random() < 0.2)
    extrapolate = rng.random() < 0.3

    def judge(gap):
        true = slowest(p)
        return abs(gap / true - 1), WITHIN

    return Trial(
        f"{p} extrapolate={extrapolate}",
        lambda: pk.spectral_gap(p.equation, p.grid, extrapolate),
        judge,
    )


def rates_of_a_line(U, beta, low, high, walls, count, n=1200):
    """The slowest rates of the drift -U'/beta, zero left out, by Sturm's count on factors.

    A chain of its own with the rates e^{-(difference of U) / 2} / (beta h²): eliminated without a
    subtraction, kill - L = N D Nᵀ, and the count is that of negative pivots of N D Nᵀ - λ, which
    keeps every digit of λ however small it is. ``walls`` says which of the two ends absorb.
    """
    x, h = fine(low, high, n)
    u = U(np.concatenate([[low], x, [high]]))
    rise = np.diff(u)
    up, down = (np.exp(sign * rise[1:-1] / 2) / (beta * h * h) for sign in (-1, 1))
    lost = 2 * np.exp([rise[0] / 2, -rise[-1] / 2]) / (beta * h * h) * walls  # half a cell away
    pivots, links, dead = np.empty(n), np.empty(n), lost[0]
    for i in range(n - 1):
        pivots[i] = up[i] + dead
        links[i] = up[i] * down[i] / pivots[i]
        dead *= down[i] / pivots[i]
    pivots[-1], links[-1] = dead + lost[1], 0.0

    def below(rates):
        shift, found = -rates, np.zeros(rates.shape, dtype=int)
        for pivot, link in zip(pivots, links, strict=True):
            moved = pivot + shift
            moved[moved == 0] = 1e-300
            found += moved < 0
            shift = link / moved * shift - rates
        return found

    none = int(not any(walls))
    first, last = np.full(count, -690.0), np.full(count, np.log(4 * max(up.max(), down.max())))
    for _ in range(6):
        some = np.linspace(first, last, 34)
        under = below(np.exp(some)) <= np.arange(count) + none
        k = under.sum(0) - 1
        first, last = some[k, np.arange(count)], some[np.minimum(k + 1, 33), np.arange(count)]
    return np.exp((first + last) / 2)


class Deep(Line):
    """A line whose wells are up to some 600 / beta deep."""

    def __init__(self, rng, n):
        super().__init__(rng, ring=False, forced=False)
        self.n, self.grid = n, pk.Grid(self.low, self.low + self.length, n)
        size = log_uniform(rng, 0.1, 600) / self.beta / 2
        self.a, self.b = size * rng.uniform(-1, 1, 2)

    def slope(self, x):
        k = self.k
        return -k * self.a * np.sin(k * x + self.s) - 2 * k * self.b * np.sin(2 * k * x)

    def rates(self, walls, count):
        return rates_of_a_line(self.U, self.beta, self.low, self.low + self.length, walls, count)


def rates_apart(found, true):
    """None is negative; each is near one of the true ones, and near the one of its rank."""
    return float(np.abs(np.asarray(found) / true - 1).max()) if np.min(found) > 0 else np.inf


def deep_wells_on_a_line(rng):
    p = Deep(rng, int(log_uniform(rng, 16, 1000)))
    walls, count = rng.random(2) < 0.4, int(rng.integers(1, 5))
    kind, by_force = pick(rng, pk.FokkerPlanck, pk.BackwardKolmogorov), rng.random() < 0.3
    V = FLAT if by_force else pk.potentials.Custom(lambda x: p.V(x[..., 0]))
    parts = {"force": lambda x: -p.slope(x)} if by_force else {}
    if walls.any():
        parts["walls"] = pk.Walls(*map(bool, walls))
    equation = kind(V, p.beta, **parts)

    def call():
        if count == 1:
            return [pk.spectral_gap(equation, p.grid)]
        return pk.slow_modes(equation, p.grid, count).rates

    return Trial(
        f"{p} {kind.__name__} walls={walls} count={count} by_force={by_force}",
        call,
        lambda found: (rates_apart(found, p.rates(walls, count)), WITHIN),
    )


def deep_wells_in_a_plane(rng):
    """V(x) + W(y): the rates are the sums of those of two lines."""
    cells = [int(log_uniform(rng, 16, 60)) for _ in range(2)]
    p, q = (Deep(rng, n) for n in cells)
    ratio = p.beta / q.beta
    walls, count = rng.random((2, 2)) < 0.3, int(rng.integers(1, 5))
    V = pk.potentials.Custom(lambda x: p.V(x[..., 0]) + q.V(x[..., 1]) / ratio, dim=2)
    absorbing = pk.Walls(*(tuple(map(bool, side)) for side in walls.T)) if walls.any() else None
    equation = pk.FokkerPlanck(V, p.beta, walls=absorbing)
    grid = pk.Grid((p.low, q.low), (p.low + p.length, q.low + q.length), tuple(cells))

    def judge(found):
        parts = []
        for line, sides in zip((p, q), walls, strict=True):
            rates = rates_of_a_line(
                line.U, p.beta, line.low, line.low + line.length, sides, count + 1
            )
            parts.append(rates if sides.any() else np.append(0.0, rates[:-1]))
        sums = np.sort(np.add.outer(*parts).ravel())
        true = sums[sums > 0][:count]
        return rates_apart(found, true), 2 * WITHIN

    def call():
        if count == 1:
            return [pk.spectral_gap(equation, grid)]
        return pk.slow_modes(equation, grid, count).rates

    return Trial(f"{p} and {q} walls={walls.tolist()} count={count}", call, judge)


def modes_of_a_turning_plane(rng):
    """dX = -F X dt + noise: rates are sums of eigenvalues of F; a torus: k² / beta ± i k f."""
    beta, n = log_uniform(rng, 1e-2, 1e2), int(log_uniform(rng, 6, 40))
    count = int(rng.integers(1, 4))
    if rng.random() < 0.5:
        decay, turn = rng.uniform(0.3, 2, 2), log_uniform(rng, 0.1, 30)
        F = np.diag(decay) + turn * np.array([[0.0, 1.0], [-1.0, 0.0]])
        cov = solve_continuous_lyapunov(F, 2 / beta * np.eye(2))
        reach = rng.uniform(4, 6) * np.sqrt(np.linalg.eigvalsh(cov)[-1])
        grid = pk.Grid((-reach, -reach), (reach, reach), n)
        e = np.linalg.eigvals(F)
        every = [i * e[0] + j * e[1] for i in range(6) for j in range(6) if i + j]
        equation = pk.FokkerPlanck(FLAT_PLANE, beta, force=lambda x: -x @ F.T)
        what = f"F={F.tolist()} reach={reach:.4g}"
    else:
        f = log_uniform(rng, 0.01, 100) * rng.uniform(-1, 1, 2)
        grid = pk.Grid((0.0, 0.0), (2 * np.pi, 2 * np.pi), n, periodic=True)
        every = [
            (i * i + j * j) / beta + 1j * (i * f[0] + j * f[1])
            for i in range(-3, 4) for j in range(-3, 4) if i or j
        ]  # fmt: skip
        equation = pk.FokkerPlanck(FLAT_PLANE, beta, force=lambda x: f + 0 * x)
        what = f"torus f={f}"
    every = np.array(every, dtype=complex)
    slow = np.sort(every.real)[:count]

    def judge(rates):
        distance = np.abs(np.asarray(rates)[:, None] - every).min(1) / np.abs(rates)
        late = np.abs(np.real(rates) - slow).max() / np.abs(rates).max()
        return max(float(distance.max()), float(late)), 2 * WITHIN

    return Trial(
        f"beta={beta:.4g} n={n} count={count} {what}",
        lambda: pk.slow_modes(equation, grid, count).rates,
        judge,
    )


class Linear:
    """dX = -F X dt + sqrt(2 D / beta) dB on a box of several standard deviations."""

    def __init__(self, rng):
        self.beta, self.n = log_uniform(rng, 1e-4, 1e4), int(log_uniform(rng, 4, 40))
        size = log_uniform(rng, 0.1, 10)
        half = rng.standard_normal((2, 2)) / 2 + np.eye(2)
        skew = log_uniform(rng, 0.03, 10) * np.array([[0.0, 1.0], [-1.0, 0.0]])
        self.D = pick(
            rng, np.eye(2), np.diag(rng.uniform(0.3, 2, 2)), half @ half.T + 0.1 * np.eye(2)
        )
        S = rng.standard_normal((2, 2)) / 3 + 1.2 * np.eye(2)
        self.F = size * (S @ S.T + skew)
        self.sigma = solve_continuous_lyapunov(self.F, 2 * self.D)
        spread = np.sqrt(np.diag(self.sigma) / self.beta)
        self.reach = rng.uniform(4, 6) * spread
        self.grid = pk.Grid(tuple(-self.reach), tuple(self.reach), self.n)
        V, rest = FLAT_PLANE, self.F
        if rng.random() < 0.5:  # a part of the drift as a potential
            part = rng.uniform(0, 1) * np.diag(np.diag(self.F))
            V = pk.potentials.Custom(
                lambda x: np.einsum("...i,ij,...j->...", x, part, x) / 2, dim=2
            )
            rest = self.F - part
        self.equation = pk.FokkerPlanck(V, self.beta, force=lambda x: -x @ rest.T, diffusion=self.D)

    def __str__(self):
        return f"beta={self.beta:.4g} n={self.n} F={self.F.tolist()} D={self.D.tolist()}"


def covariance_apart(p, rho):
    x = p.grid.centres
    found = np.einsum("xy,xyi,xyj->ij", np.asarray(rho), x, x) * p.grid.cell_volume
    true = p.sigma / p.beta
    return float(np.abs(found - true).max() / np.abs(true).max())


def stationary_in_a_plane(rng):
    p = Linear(rng)
    return Trial(
        str(p),
        lambda: pk.stationary(p.equation, p.grid).values,
        lambda rho: (covariance_apart(p, rho), 2 * WITHIN),
    )


def entropy_of_a_linear_drift(rng):
    """σ = tr(D⁻¹ F Σ Fᵀ) - tr F, all of it housekeeping."""
    p, verb = Linear(rng), pick(rng, pk.entropy_production, pk.housekeeping)
    true = float(np.trace(np.linalg.solve(p.D, p.F @ p.sigma @ p.F.T)) - np.trace(p.F))

    def call():
        return verb(p.equation, pk.stationary(p.equation, p.grid), p.grid)

    return Trial(
        f"{verb.__name__} {p}",
        call,
        lambda rate: (abs(rate - true), 4 * WITHIN * true + 1e-3 * float(np.trace(p.F))),
    )


def built_states(rng):
    """with_steady_state: exp(-beta Φ), and J = Q ∇-type flow along its level sets."""
    beta, n = log_uniform(rng, 1e-3, 1e3), int(log_uniform(rng, 8, 80))
    a = rng.uniform(0.5, 2, 2) / beta
    tilt = rng.uniform(-1, 1) / beta
    V = pk.potentials.Custom(
        lambda x: a[0] * (x[..., 0] ** 2 - 1) ** 2 + a[1] * x[..., 1] ** 2 + tilt * x[..., 0],
        dim=2,
    )
    q = log_uniform(rng, 0.01, 5)
    Q = q * np.array([[0.0, 1.0], [-1.0, 0.0]])
    D = pick(rng, None, np.diag([1.0, 0.5]), np.array([[1.0, 0.4], [0.4, 0.8]]))
    grid = pk.Grid((-2.6, -3.4), (2.6, 3.4), n)

    def judge(rho):
        fine_grid = grid.refined(int(np.ceil(400 / n)))
        true = np.exp(-beta * V(grid.centres)) / fine_grid.integrate(
            np.exp(-beta * V(fine_grid.centres))
        )
        return float(grid.integrate(np.abs(np.asarray(rho) - true))), 2 * WITHIN

    return Trial(
        f"beta={beta:.4g} n={n} a={a} tilt={tilt:.4g} q={q:.4g} D={D}",
        lambda: pk.stationary(pk.with_steady_state(V, beta, D, Q), grid).values,
        judge,
    )


def limit_cycles(rng):
    case = pk.LimitCycle(log_uniform(rng, 0.05, 5), rng.uniform(0.5, 1.0))
    n = int(log_uniform(rng, 8, 64))
    grid = pk.Grid((-4.5, -4.5), (4.5, 4.5), n)

    def call():
        rho = pk.stationary(case.equation, grid)
        return rho.values, pk.current(case.equation, rho, grid).values

    def judge(found):
        x = np.linspace(-7, 7, 1201)
        y = np.exp(-case.beta * ((x**2 - 1) ** 2 / 4))
        z = np.trapezoid(y, x) * np.sqrt(2 * np.pi / case.beta)
        c = grid.centres
        true = np.exp(-case.beta * ((c[..., 0] ** 2 - 1) ** 2 / 4 + c[..., 1] ** 2 / 2)) / z
        turn = np.stack([-c[..., 1], c[..., 0]], -1)
        flow = case.strength * np.exp(-((c**2).sum(-1) ** 2) / 4)[..., None] * turn / z
        apart = np.abs(found[1] - flow).sum() / np.abs(flow).sum()
        density = float(grid.integrate(np.abs(found[0] - true)))
        return max(density / (2 * WITHIN), float(apart) / (4 * WITHIN)), 1.0

    return Trial(f"{case} n={n}", call, judge)


def kramers(rng):
    """(x² - w²)² with w and height at random against the double integral."""
    w, height = log_uniform(rng, 0.01, 100), log_uniform(rng, 1.2, 600)
    beta = log_uniform(rng, 1e-4, 1e4)
    e = height / beta
    V = pk.potentials.Custom(
        lambda x: e * (x[..., 0] ** 2 / w**2 - 1) ** 2,
        grad=lambda x: 4 * e * x * (x**2 / w**2 - 1) / w**2,
    )

    def judge(time):
        x, h = fine(-3 * w, w)
        u = height * (x**2 / w**2 - 1) ** 2
        below = np.logaddexp.accumulate(-u) + np.log(h)
        outer = logsumexp((u + below)[x > -w]) + np.log(h * beta)
        return abs(float(np.expm1(np.log(time) - outer))), 1 / height

    return Trial(
        f"w={w:.4g} height={height:.4g} beta={beta:.4g}",
        lambda: pk.kramers_time(V, -w, 0.0, beta),
        judge,
    )


def decompositions(rng):
    """Lyapunov's equation by Kronecker products."""
    d = int(rng.integers(1, 6))
    F = log_uniform(rng, 1e-6, 1e6) * (rng.standard_normal((d, d)) + rng.uniform(-1, 2) * np.eye(d))
    half = rng.standard_normal((d, d))
    D = log_uniform(rng, 1e-6, 1e6) * (half @ half.T + 0.01 * np.eye(d))

    def judge(made):
        eye = np.eye(d)
        system = np.kron(F, eye) + np.kron(eye, F)
        sigma = np.linalg.solve(system, 2 * D.ravel()).reshape(d, d)
        size = np.abs(sigma).max() * np.linalg.cond(system)
        product = (made.diffusion + made.circulation) @ made.curvature
        bend = np.linalg.cond(sigma) * np.abs(product).max()
        worst = np.abs(made.covariance - sigma).max() / (1e-13 * size)
        together = np.abs(product - F).max() / (1e-12 * max(bend, np.abs(F).max()))
        stable = made.stable == bool((np.linalg.eigvals(F).real > 0).all())
        return max(float(worst), float(together), 0.0 if stable else np.inf), 1.0

    return Trial(f"F={F.tolist()} D={D.tolist()}", lambda: pk.decompose(F, D), judge)


def minibatches(rng):
    n, dim, replacement = int(rng.integers(2, 6)), int(rng.integers(1, 4)), rng.random() < 0.5
    size = int(rng.integers(1, min(n, 4) + 1))
    rows = rng.standard_normal((n, dim)) * log_uniform(rng, 1e-6, 1e6) + rng.uniform(-1, 1)

    def judge(found):
        draws = product(range(n), repeat=size) if replacement else combinations(range(n), size)
        means = np.array([rows[list(batch)].mean(0) for batch in draws])
        away = means - means.mean(0)
        true = away.T @ away / len(means)
        return float(np.abs(found - true).max()), 1e-10 * float(np.abs(rows).max()) ** 2

    return Trial(
        f"{rows.tolist()} size={size} replacement={replacement}",
        lambda: pk.minibatch_covariance(rows, size, replacement),
        judge,
    )


def falling_free_energy(rng):
    """-dF/dt of a Gaussian in a parabola: (k m)² + (k - 1 / beta v)² v."""
    k, beta = log_uniform(rng, 0.1, 10), log_uniform(rng, 1e-3, 1e3)
    width = 1 / np.sqrt(beta * k)
    m0, v0 = rng.uniform(-1, 1) * width, (rng.uniform(0.4, 1.2) * width) ** 2
    t, n = log_uniform(rng, 1e-2, 3) / k, int(log_uniform(rng, 24, 400))
    grid = pk.Grid(-7 * width, 7 * width, n)
    m = m0 * np.exp(-k * t)
    v = 1 / (beta * k) + (v0 - 1 / (beta * k)) * np.exp(-2 * k * t)
    true = (k * m) ** 2 + (k - 1 / (beta * v)) ** 2 * v

    def call():
        equation = pk.FokkerPlanck(pk.potentials.Quadratic(k), beta)
        return float(pk.dissipation(pk.solve(equation, grid, pk.Gaussian(m0, v0**0.5), t))[-1])

    return Trial(
        f"k={k:.4g} beta={beta:.4g} m0={m0:.4g} v0={v0:.4g} t={t:.4g} n={n}",
        call,
        lambda found: (abs(found - true), (4 + 2 * k * t) * WITHIN * true + 1e-4 * k / beta),
    )


def along_a_parameter(rng):
    """Of Gaussians in a parabola: exact derivatives along β, the drift and the clock."""
    k, beta = log_uniform(rng, 0.1, 10), log_uniform(rng, 1e-3, 1e3)
    width = 1 / np.sqrt(beta * k)
    m0, v0 = rng.uniform(-1, 1) * width, (rng.uniform(0.3, 1.2) * width) ** 2
    t, n = log_uniform(rng, 1e-2, 10) / k, int(log_uniform(rng, 16, 400))
    grid = pk.Grid(-7 * width, 7 * width, n)
    parameter = pick(rng, "beta", "drift", "clock")
    x = grid.axes[0]

    def density(share):
        b, d, c = (share * (parameter == name) for name in ("beta", "drift", "clock"))
        a, s = k * (1 + d), t * (1 + c)
        m = m0 * np.exp(-a * s)
        v = v0 * np.exp(-2 * a * s) - np.expm1(-2 * a * s) / (a * beta * (1 + b))
        return np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)

    e = 1e-3
    true = (8 * (density(e) - density(-e)) - density(2 * e) + density(-2 * e)) / (12 * e)
    size = grid.integrate(np.abs(true))

    def call():
        rho = pk.solve(pk.FokkerPlanck(pk.potentials.Quadratic(k), beta), grid,
                       pk.Gaussian(m0, v0**0.5), t)  # fmt: skip
        return pk.sensitivity(rho, parameter).values[0]

    return Trial(
        f"{parameter} k={k:.4g} beta={beta:.4g} m0={m0:.4g} v0={v0:.4g} t={t:.4g} n={n}",
        call,
        lambda found: (grid.integrate(np.abs(found - true)), WITHIN * size + 1e-7),
    )


def kinetic(rng):
    """A harmonic well in (q, p): rates (γ ± sqrt(γ² - 4 w²)) / 2, and its Gaussian."""
    beta, mass, k = (log_uniform(rng, 1e-2, 1e2) for _ in range(3))
    w = np.sqrt(k / mass)
    friction = w * log_uniform(rng, 0.3, 6)
    wide = np.array([1 / np.sqrt(beta * k), np.sqrt(mass / beta)])
    n, reach = int(log_uniform(rng, 16, 72)), rng.uniform(4, 6)
    grid = pk.Grid(tuple(-reach * wide), tuple(reach * wide), n)
    equation = pk.UnderdampedLangevin(pk.potentials.Quadratic(k), beta, friction, mass=mass).law()
    rate = (friction - np.emath.sqrt(friction**2 - 4 * w**2)) / 2
    at_rest = rng.random() < 0.5

    def call():
        return pk.stationary(equation, grid) if at_rest else pk.spectral_gap(equation, grid)

    def judge(found):
        if not at_rest:
            return abs(found - rate.real), 0.1 * rate.real
        rho = np.exp(-(((grid.centres / wide) ** 2).sum(-1)) / 2)
        return grid.integrate(np.abs(found.values - rho / grid.integrate(rho))), 0.1

    return Trial(
        f"beta={beta:.4g} mass={mass:.4g} k={k:.4g} c={friction:.4g} n={n} reach={reach:.3g} "
        f"{'stationary' if at_rest else 'gap'}",
        call,
        judge,
    )


def gradient_of_a_moment(rng):
    """E X and E X² of Gaussians in a parabola, along β, drift, clock and a constant push."""
    k, beta = log_uniform(rng, 0.1, 10), log_uniform(rng, 1e-3, 1e3)
    width = 1 / np.sqrt(beta * k)
    m0, v0 = rng.uniform(-1, 1) * width, (rng.uniform(0.3, 1.2) * width) ** 2
    t, n, p = (
        log_uniform(rng, 1e-2, 10) / k,
        int(log_uniform(rng, 60, 400)),
        int(rng.integers(1, 3)),
    )
    grid = pk.Grid(-7 * width, 7 * width, n)

    def moment(b=0.0, d=0.0, c=0.0, f=0.0):
        a, s = k * (1 + d), t * (1 + c)
        m = f / a + (m0 - f / a) * np.exp(-a * s)
        v = v0 * np.exp(-2 * a * s) - np.expm1(-2 * a * s) / (a * beta * (1 + b))
        return m if p == 1 else v + m * m

    def slope(e, **one):
        (name,) = one
        up, down = (moment(**{name: sign * e}) for sign in (1, -1))
        far, near = (moment(**{name: 2 * sign * e}) for sign in (1, -1))
        return (8 * (up - down) - far + near) / (12 * e)

    push = k * width  # a force that matters
    e = 1e-3
    true = np.array([slope(e, b=1), slope(e, d=1), slope(e, c=1), push * slope(e * push, f=1)])

    def call():
        rho = pk.solve(pk.FokkerPlanck(pk.potentials.Quadratic(k), beta), grid,
                       pk.Gaussian(m0, v0**0.5), t)  # fmt: skip
        pushed = "force", lambda x: push + 0 * x
        every = ["beta", "drift", "clock", pushed]
        return pk.expectation_gradient(rho, lambda x: x[..., 0] ** p, every).values[0]

    size = width**p
    return Trial(
        f"E X^{p} k={k:.4g} beta={beta:.4g} m0={m0:.4g} v0={v0:.4g} t={t:.4g} n={n}",
        call,
        lambda found: (np.abs(found - true).max() / size, WITHIN),
    )


def parameters_of_linear_paths(rng):
    """The regression of each state on the one before has the likelihood of the paths."""
    k, beta, tau = (rng.uniform(*ends) for ends in ((0.5, 2.0), (0.5, 4.0), (0.3, 0.8)))
    width, a = (beta * k) ** -0.5, np.exp(-k * tau)
    x = [width * rng.normal(size=200)]
    for _ in range(2):
        x.append(a * x[-1] + width * np.sqrt(1 - a * a) * rng.normal(size=200))
    u, v = np.ravel(x[:-1]), np.ravel(x[1:])
    slope = (u @ v) / (u @ u)
    true = -np.log(slope) / tau
    data = xr.DataArray(np.array(x), {"time": tau * np.arange(3)}, ("time", "particle"))
    grid = pk.Grid(-7 * width, 7 * width, int(rng.integers(80, 120)))

    def call():
        return pk.fit(lambda p: pk.FokkerPlanck(pk.potentials.Quadratic(p["k"]), p["beta"]), data,
                      {"k": k, "beta": beta}, grid,
                      bounds={"k": (k / 20, 20 * k), "beta": (beta / 20, 20 * beta)})  # fmt: skip

    return Trial(
        f"k={k:.4g} beta={beta:.4g} tau={tau:.4g} {grid}",
        call,
        lambda found: (abs(found.estimate["k"] - true), 0.1 * found.standard_errors["k"]),
    )


ROWS = [
    Row("stationary densities on lines and rings", ("stationary",), stationary_on_a_line),
    Row("currents round rings", ("current", "stationary"), current_round_a_ring,
        0.6),
    Row("detailed balance", ("detailed_balance",), balance_on_a_line, 0.6),
    Row("passage times on lines", ("mean_first_passage_time",), times_on_a_line, 0.5),
    Row("passage times in planes", ("mean_first_passage_time",), times_in_a_plane, 0.15, 2),
    Row("exits on lines", ("mean_first_passage_time",), exits_on_a_line, 0.4),
    Row("escapes against a wind", ("spectral_gap", "slow_modes"), escapes_against_a_wind, 0.3, 3),
    Row("committors on lines", ("committor",), committors, 0.5),
    Row("gaps on lines", ("spectral_gap", "slow_modes"), gaps_on_a_line, 0.4, 3),
    Row("deep wells on lines", ("slow_modes", "spectral_gap"), deep_wells_on_a_line, 0.4, 3),
    Row("deep wells in planes", ("slow_modes", "spectral_gap"), deep_wells_in_a_plane, 0.1, 5),
    Row("modes that turn", ("slow_modes", "spectral_gap"), modes_of_a_turning_plane, 0.2, 5),
    Row("stationary densities in planes", ("stationary",), stationary_in_a_plane, 0.2, 2),
    Row("entropy of linear drifts", ("entropy_production", "housekeeping", "current"),
        entropy_of_a_linear_drift, 0.2, 2),
    Row("states that were built", ("with_steady_state",), built_states, 0.15, 4),
    Row("kinetic equations at rest", ("stationary", "spectral_gap"), kinetic, 0.2, 4),
    Row("limit cycles", ("LimitCycle", "current"), limit_cycles, 0.2, 5),
    Row("Kramers' law", ("kramers_time",), kramers, 0.6),
    Row("linear drifts taken apart", ("decompose",), decompositions, 0.8),
    Row("mini-batches", ("minibatch_covariance",), minibatches, 1.0),
    Row("gradients of moments", ("expectation_gradient",), gradient_of_a_moment, 0.4, 3),
    Row("parameters of linear paths", ("fit",), parameters_of_linear_paths, 0.1, 3),
    Row("derivatives along parameters", ("sensitivity",), along_a_parameter, 0.4, 2),
    Row("free energy that falls", ("dissipation",), falling_free_energy, 0.4, 3),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pk.TruncationWarning)
        truth(row)


def test_a_force_that_is_only_centred_is_caught(monkeypatch):
    """Rates that fit the potential alone and centre the force: exponentially wrong currents."""
    from pdekit.pde.discrete import drift_diffusion

    def centred(weight, drift, slope, factor, ramp):
        half = drift / 2
        return np.maximum(weight - half, 1e-9), np.maximum(weight + half, 1e-9)

    monkeypatch.setattr(drift_diffusion, "circulating_rates", centred)
    equation = pk.FokkerPlanck(lambda x: -np.cos(x[..., 0]), 20.0, force=lambda x: 0.7 + 0 * x)
    ring = pk.Grid(-np.pi, np.pi, 100, periodic=True)
    with pytest.warns(pk.ResolutionWarning):  # the answer on half of the cells is another
        found = pk.current(equation, pk.stationary(equation, ring), ring)
    assert abs(float(found.mean()) / 1.98203e-4 - 1) > 0.03  # where a two-hundredth is asked for
