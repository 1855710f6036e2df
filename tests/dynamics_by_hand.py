"""Every particle dynamics as a plain numpy loop, written from its docstring: no code of pdekit.

A ``Problem`` says potential, start and output times; ``noise(step, channel)`` are the normals that
the particles drew, ``(n, dim)``, and ``uniform(step, channel, each)`` their uniforms. A loop takes
the problem and the parameters of the dynamics and returns positions ``(times, n, dim)``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

INNER, MOMENTUM, ACCEPTANCE, CHOICE, OUTPUT = 4, 5, 6, 7, 8  # channels of the noise


@dataclass
class Problem:
    """``slope(x, t)`` and ``value(x, t)`` of the potential; ``x`` (n, dim) at time 0."""

    slope: Callable[[Any, float], Any]
    value: Callable[[Any, float], Any]
    x: Any
    times: list[float]
    dt: float
    noise: Callable[..., Any]
    uniform: Callable[..., Any]
    box: tuple[Any, Any, Any] | None = None  # lower, upper, periodic

    def trajectory(self, step, state, seen=lambda state, *last: state):
        """Positions at the output times; ``step(state, k, t, stop, h, p)``, p the step before."""
        out, k, start, h, p = [], 0, 0.0, 0.0, 0.0
        for stop in self.times:
            count = math.ceil((stop - start) / self.dt - 1e-9)
            if count:
                h = (stop - start) / count
            for j in range(count):
                t = start + j * h
                state = step(state, k, t, stop if j == count - 1 else t + h, h, p)
                k, p = k + 1, h
            out.append(np.array(seen(state, k, stop, h) if k else self.folded(self.x)[0]))
            start = stop
        return np.array(out)

    def folded(self, x):
        """Points of the box under ``x``, and the sign of the mirrored coordinates."""
        if self.box is None:
            return x, np.ones_like(x)
        inside, sign = np.array(x), np.ones_like(x)
        for i, (low, high, wraps) in enumerate(zip(*self.box, strict=True)):
            if wraps:
                inside[:, i] = low + np.mod(x[:, i] - low, high - low)
                continue
            z = np.mod(x[:, i] - low, 2 * (high - low))
            back = z > high - low
            inside[:, i] = low + np.where(back, 2 * (high - low) - z, z)
            sign[:, i] = np.where(back, -1, 1)
        return inside, sign


def diffusion(problem, drift, sigma, integrator):
    """dX = drift dt + sigma(t) dB by the integrator of that name; ``drift(x, t)`` in the box."""
    P = problem

    def b(x, t):
        inside, sign = P.folded(x)
        return drift(inside, t) * sign

    def euler(x, k, t, stop, h, p):
        s = sigma((t + stop) / 2) * math.sqrt(h)
        return P.folded(x + b(x, t) * h + s * P.noise(k))[0]

    def tamed(x, k, t, stop, h, p):
        s = sigma((t + stop) / 2) * math.sqrt(h)
        return P.folded(x + shortened(b(x, t), h) * h + s * P.noise(k))[0]

    def heun(x, k, t, stop, h, p):
        kick = sigma((t + stop) / 2) * math.sqrt(h) * P.noise(k)
        first = b(x, t)
        return P.folded(x + h / 2 * (first + b(x + h * first + kick, stop)) + kick)[0]

    def matthews(y, k, t, stop, h, p):
        s, xi, zeta = sigma(t), P.noise(k), P.noise(k, OUTPUT)
        if k == 0:
            return P.folded(y + b(y, t) * h + s * math.sqrt(0.75 * h) * xi)[0]
        # (sqrt p u + sqrt(3h) v) / 2 with u = xi/2 + sqrt(3)/2 zeta, v = sqrt(3)/2 xi - zeta/2
        of_xi = (math.sqrt(p) + 3 * math.sqrt(h)) / 4
        of_zeta = math.sqrt(3) / 4 * (math.sqrt(p) - math.sqrt(h))
        ahead = ((h + p) / 4 - of_zeta**2) / of_xi
        z = y + s * (of_zeta * zeta + ahead * xi)
        return P.folded(y + b(z, t) * h + s * (of_xi * xi + of_zeta * zeta))[0]

    def handed_out(y, k, t, h):
        u = P.noise(k) / 2 + math.sqrt(0.75) * P.noise(k, OUTPUT)
        return P.folded(y + sigma(t) * math.sqrt(h) / 2 * u)[0]

    step = {"EulerMaruyama": euler, "StochasticHeun": heun, "TamedEuler": tamed}
    start = P.folded(P.x)[0]
    if integrator == "LeimkuhlerMatthews":
        return P.trajectory(matthews, start, handed_out)
    return P.trajectory(step[integrator], start)


def shortened(b, h):
    """b / (1 + h |b|), particle by particle."""
    return np.array([v / (1 + h * math.sqrt(sum(c * c for c in v))) for v in b])


def underdamped(P, beta, friction, mass, at_rest):
    """BAOAB."""

    def step(state, k, t, stop, h, p):
        x, v = state
        if k == 0 and not at_rest:
            v = P.noise(0, MOMENTUM) / math.sqrt(mass * beta)
        keep = math.exp(-friction * h)
        v = v - h / (2 * mass) * P.slope(x, t)
        x, sign = P.folded(x + h / 2 * v)
        v = keep * sign * v + math.sqrt((1 - keep**2) / (mass * beta)) * P.noise(k)
        x, sign = P.folded(x + h / 2 * v)
        v = sign * v
        return x, v - h / (2 * mass) * P.slope(x, stop)

    return P.trajectory(step, (P.folded(P.x)[0], 0 * P.x), lambda state, *last: state[0])


def metropolis(P, beta):
    """MALA; every particle by itself."""

    def step(x, k, t, stop, h, p):
        out, u = x.copy(), P.uniform(k, ACCEPTANCE, 1)
        y = x - h * P.slope(x, t) + math.sqrt(2 * h / beta) * P.noise(k)
        there = ((y - x + h * P.slope(x, t)) ** 2).sum(-1) * beta / (4 * h)
        back = ((x - y + h * P.slope(y, t)) ** 2).sum(-1) * beta / (4 * h)
        log_ratio = beta * (P.value(x, t) - P.value(y, t)) + there - back
        for i in range(len(x)):
            if math.log(u[i, 0]) < log_ratio[i]:
                out[i] = y[i]
        return out

    return P.trajectory(step, P.x)


def multiplicative(P, beta, root, extra):
    """Euler with the matrices ``root(x)`` (n, d, d) and ``extra(x, t)``, all else in the drift."""

    def step(x, k, t, stop, h, p):
        kick = np.einsum("nij,nj->ni", root(x), P.noise(k)) * math.sqrt(2 * h / beta)
        return x + h * (extra(x, t) - P.slope(x, t)) + kick

    return P.trajectory(step, P.x)


def elastic(P, beta, gamma, epsilon):
    """Particle 0 is the centre."""

    def step(x, k, t, stop, h, p):
        centre, workers = x[0], x[1:]
        pull = P.slope(workers, t) + (workers - centre) / gamma
        noise = math.sqrt(2 * h / (beta * epsilon)) * P.noise(k)[1:]
        new = centre - h * (centre - workers.mean(0)) / gamma
        return np.concatenate([new[None], workers - h / epsilon * pull + noise])

    return P.trajectory(step, P.x)


def sampled(P, beta, gamma, samples):
    """Descent on slopes at Gaussian neighbours."""

    def step(x, k, t, stop, h, p):
        width = math.sqrt(gamma(t) / beta)
        near = [x + width * P.noise(k * samples + m, INNER) for m in range(samples)]
        return x - h * np.mean([P.slope(z, t) for z in near], axis=0)

    return P.trajectory(step, P.x)


def entropy_sgd(P, beta, gamma, inner_steps, rate, alpha):
    """Thesis, Algorithm 2."""

    def step(x, k, t, stop, h, p):
        y, z = x, x
        for m in range(inner_steps):
            kick = math.sqrt(2 * rate / beta) * P.noise(k * inner_steps + m, INNER)
            y = y - rate * (P.slope(y, t) + (y - x) / gamma(t)) + kick
            z = alpha * z + (1 - alpha) * y
        return x - h / gamma(t) * (x - z)

    return P.trajectory(step, P.x)


def two_scale(P, beta, gamma, epsilon, M, burn_in, fast, average, warm, inner_dt, scheme, pull):
    """Kantas et al., Algorithm 1; ``pull(x, t)`` of the particles on each other."""
    count, matthews = burn_in + M - 1, scheme == "LeimkuhlerMatthews" and beta < math.inf

    def step(state, k, t, stop, h, p):
        x, y, g = *state, gamma(t)
        delta = (inner_dt or h / M) / epsilon
        if not warm:
            y = x if fast == "Position" else 0 * x

        def b(z):
            if fast == "Position":
                v = -P.slope(z, t) - (z - x) / g
            else:
                v = (P.slope(x - z, t) if fast == "Displacement" else 0) - z / g
            return shortened(v, delta) if scheme == "TamedEuler" else v

        def seen(z):
            return z if fast == "Position" else P.slope(x - z, t)

        mean = seen(y) if average == "exponential" else 0.0
        for m in range(count):
            number = k * count + m
            xi, scale = P.noise(number, INNER), math.sqrt(2 * delta / beta)
            start = number == 0 or (m == 0 and not warm)
            z = y + scale / 2 * xi if matthews and not start else y
            y = y + delta * b(z) + scale * xi * (math.sqrt(0.75) if matthews and start else 1)
            at = y + scale / 2 * P.noise(number + 1, INNER) if matthews else y
            if m >= burn_in - 1:
                if average == "linear":
                    mean = mean + seen(at) / M
                elif average == "last":
                    mean = seen(at)
                else:
                    mean = 0.25 * mean + 0.75 * seen(at)
        v = (mean - x) / g if fast == "Position" else -mean
        return x + h * (v - pull(x, t)), y

    return P.trajectory(step, (P.x, P.x if fast == "Position" else 0 * P.x), lambda s, *last: s[0])


def momentum(P, gamma, compensation, gradient):
    """Nesterov's method and MaSS; ``gamma`` None for restarts."""

    def step(state, k, t, stop, h, p):
        w, u, alpha = state
        g = gradient(u, t, k)
        keep = (alpha - 1) / (alpha + 2) if gamma is None else gamma
        new = u - h * g
        u = (1 + keep) * new - keep * w + compensation * h * g
        uphill = ((g * (new - w)).sum(-1, keepdims=True)) > 0
        return new, u, np.where(uphill, 2.0, alpha + 1)

    return P.trajectory(step, (P.x, P.x, np.ones((len(P.x), 1))), lambda s, *last: s[0])


def all_pairs(slope):
    """x -> N⁻¹ Σ_j slope(x_i - x_j), pair by pair."""

    def force(x):
        total = np.zeros_like(x)
        for i in range(len(x)):
            for j in range(len(x)):
                total[i] += slope((x[i] - x[j])[None])[0] / len(x)
        return total

    return force
