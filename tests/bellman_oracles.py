"""Answers to Hamilton-Jacobi-Bellman problems that share no code with the schemes.

Chains by logarithms of non-negative matrices, V = 0 and the Ornstein-Uhlenbeck drift by quadrature
with Gaussian kernels, quadratic problems by their Riccati equations.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import logsumexp

Array = NDArray[np.float64]
Field = Any  # a function of x, shape (n,) -> (n,)


def rates(V: Array, beta: float, h: float, ring: bool) -> Array:
    """The matrix of jump rates of the fitted chain, entry by entry, zero on the diagonal."""
    n = len(V)
    out = np.zeros((n, n))
    for i in range(n if ring else n - 1):
        j = (i + 1) % n
        w = beta * (V[j] - V[i])
        for a, b, d in ((i, j, w), (j, i, -w)):
            if abs(d) < 1e-6:
                bernoulli = 1 - d / 2
            elif d > 700:
                bernoulli = 0.0
            else:
                bernoulli = d / np.expm1(d)
            out[a, b] += bernoulli / (beta * h * h)
    return out


def log_exponential(R: Array, kill: Array, t: float) -> tuple[Array, Array]:
    """log P and log s with exp(t (R - leaves - kill)) = diag(s) P: P stochastic, s the survival.

    By squaring the exponential of a short time k times. Entries of P are right to their own size
    and its rows sum to one; log s is right to its own size, also where it is small.
    """
    n, leaves = len(R), R.sum(1)
    k = max(1, int(np.ceil(np.log2(max(float((leaves + kill).max()) * t, 1e-6) * 64))))
    A = t / 2**k * (R - np.diag(leaves + kill))
    c = float(-np.diag(A).min())
    B, term, total = A + c * np.eye(n), np.eye(n), np.eye(n)
    for m in range(1, n + 14):  # to be right, the farthest entry takes more than n jumps
        term = term @ B / m
        total = total + term
    lost, change = np.zeros(n), -kill * t / 2**k  # exp(A) 1 - 1 = sum of A^m 1 / (m + 1)!
    for m in range(1, 14):
        lost = lost + change
        change = A @ change / (m + 1)
    with np.errstate(divide="ignore"):
        logs, alive = np.log(total / total.sum(1)[:, None]), np.log1p(lost)
    for _ in range(k):
        tilted = logs + alive[None, :]
        through = logsumexp(tilted, axis=1)  # log of sum_j P_ij s_j
        if np.abs(alive).max() < 1:
            through = np.log1p((np.exp(logs) * np.expm1(alive)).sum(1))
        alive = alive + through
        logs = logsumexp((tilted[:, :, None] + logs[None, :, :]), axis=1)
        logs = logs - logsumexp(logs, axis=1)[:, None]
    return logs, alive


def chain_value(
    V: Array, cost: Array, running: Array, beta: float, h: float, ring: bool, t: float
) -> Array:
    """-(2/beta) log exp(t (L - beta running / 2)) exp(-beta cost / 2), the chain's value."""
    low, least = float(running.min()), float(cost.min())
    kill = beta / 2 * (running - low)
    logs, alive = log_exponential(rates(V, beta, h, ring), kill, t)
    gain = -beta / 2 * (cost - least)
    through = logsumexp(logs + gain[None, :], axis=1)
    if np.abs(gain).max() < 1:
        through = np.log1p((np.exp(logs) * np.expm1(gain)).sum(1))
    out: Array = -2 / beta * (alive + through) + low * t + least
    return out


def free_value(
    cost: Field, beta: float, t: float, x: Array, box: tuple[float, float], ring: bool, nodes: int
) -> Array:
    """V = 0 on a box with walls (images) or a ring (copies): -(2/beta) log G * exp(-beta g / 2).

    G has variance 2 t / beta. The quadrature is the trapezoidal rule with ``nodes`` a box.
    """
    lower, upper = box
    width = upper - lower
    spread = np.sqrt(2 * t / beta)
    y = lower + (np.arange(nodes) + 0.5) * width / nodes
    g = cost(y)
    if spread > 3 * width:  # flat to exp(-9 pi^2 / 2)
        return np.full(len(x), -2 / beta * (logsumexp(-beta / 2 * g) - np.log(nodes)))
    copies = int(np.ceil(8 * spread / width)) + 1
    parts = []
    for k in range(-copies, copies + 1):
        if ring:
            parts.append(y + k * width)
        else:  # even reflection about both walls
            parts.append(y + 2 * k * width)
            parts.append(2 * lower - y + 2 * k * width)
    out = np.empty(len(x))
    for i, at in enumerate(x):
        logs = np.concatenate([-((at - p) ** 2) / (2 * spread**2) - beta / 2 * g for p in parts])
        out[i] = (
            -2
            / beta
            * (logsumexp(logs) + np.log(width / nodes) - 0.5 * np.log(2 * np.pi * spread**2))
        )
    return out


def drawn_value(
    cost: Field, a: float, beta: float, t: float, x: Array, reach: float, nodes: int
) -> Array:
    """V = a x^2 / 2 without walls: Mehler's kernel, mean x exp(-a t), variance 2 s / beta,
    s = (1 - exp(-2 a t)) / (2 a)."""
    s = -np.expm1(-2 * a * t) / (2 * a) if abs(a * t) > 1e-9 else t
    y = (np.arange(nodes) + 0.5) * 2 * reach / nodes - reach
    g, out = cost(y), np.empty(len(x))
    for i, at in enumerate(x):
        logs = -((y - at * np.exp(-a * t)) ** 2) * beta / (4 * s) - beta / 2 * g
        norm = np.log(2 * reach / nodes) - 0.5 * np.log(4 * np.pi * s / beta)
        out[i] = -2 / beta * (logsumexp(logs) + norm)
    return out


def riccati(a: float, q: float, g: float, centre: float, beta: float, t: float) -> Any:
    """(P, S, R) of u = P x^2 / 2 + S x + R by time to go: V = a x^2 / 2, ℓ = q x^2 / 2,
    terminal cost g (x - centre)^2 / 2. P' = -2 a P - P^2 + q, S' = -(a + P) S,
    R' = P / beta - S^2 / 2."""

    def rate(_: float, y: Array) -> list[float]:
        P, S, _R = y
        return [-2 * a * P - P * P + q, -(a + P) * S, P / beta - S * S / 2]

    start = [g, -g * centre, g * centre**2 / 2]
    return solve_ivp(rate, (0.0, t), start, "LSODA", rtol=1e-10, atol=1e-12, dense_output=True).sol
