"""Moments of densities that a force moves, against linear equations and Fourier modes.

What is judged is the generator that `solve` integrates: fitted to drifts that are gradients,
centred where they circulate, upwind where cells are too coarse.
"""

import numpy as np
import pytest
from scipy.linalg import expm
from truth import Row, Trial, log_uniform, pick, tally

import pdekit as pk

WITHIN = 0.05
pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
FLAT = {d: pk.potentials.Custom(lambda x: 0 * x[..., 0], dim=d) for d in (1, 2)}


def gaussian_moments(F, D, mean, cov, t):
    """Of dX = -F X dt + sqrt(2 D) dB, by Van Loan's block matrix."""
    d = len(F)
    block = expm(np.block([[F, 2 * D], [np.zeros((d, d)), -F.T]]) * t)
    flow = block[d:, d:].T
    return flow @ mean, flow @ cov @ flow.T + flow @ block[:d, d:]


def coarseness(F, D, beta, h):
    """A sixth of the change of Δ over a cell, by which rates may err; see ``peclet``."""
    return min(1.0, beta * h * h * np.abs(np.diag(F) / np.diag(D)).max()) / 6


def linear_drifts(rng):
    """A part of the drift as a potential, the rest, with a rotation, as a force."""
    d, beta = pick(rng, 1, 2), log_uniform(rng, 1e-4, 1e4)
    n = int(log_uniform(rng, 12, 400 if d == 1 else 40))
    rate = log_uniform(rng, 0.1, 10)
    turn = log_uniform(rng, 0.01, 3) * np.array([[0.0, 1.0], [-1.0, 0.0]])[:d, :d]
    F = rate * (np.diag(rng.uniform(0.5, 2, d)) + (turn if d == 2 else 0.0))
    half = rng.standard_normal((d, d)) / 3 + np.eye(d)
    D = pick(rng, np.eye(d), np.diag(rng.uniform(0.5, 2, d)), half @ half.T)
    share = pick(rng, 0.0, 0.5, 1.0)
    part = share * np.diag(np.diag(F))
    V = pk.potentials.Custom(lambda x: np.einsum("...i,ij,...j->...", x, part, x) / 2, dim=d)
    width = np.sqrt(2 / (beta * rate))
    mean, std, t = rng.uniform(-1, 1, d) * width, rng.uniform(0.4, 1.0) * width, rng.uniform(0, 2)
    t = t / rate
    grid = pk.Grid((-6 * width,) * d, (6 * width,) * d, n)
    equation = pk.FokkerPlanck(
        V if share else FLAT[d], beta, force=lambda x: -x @ (F - part).T, diffusion=D
    )
    law = pk.Gaussian(tuple(mean) if d == 2 else float(mean[0]), std)
    m, C = gaussian_moments(F, D / beta, mean, std**2 * np.eye(d), t)

    def judge(rho):
        rho = np.asarray(rho) * grid.cell_volume
        axes = tuple(range(d))
        found = (rho[..., None] * grid.centres).sum(axes)
        away = grid.centres - found
        spread = (rho[..., None, None] * away[..., None] * away[..., None, :]).sum(axes)
        size = np.sqrt(np.trace(C))
        return (
            max(np.abs(found - m).max() / size, np.abs(spread - C).max() / np.abs(C).max()),
            2 * WITHIN + coarseness(F, D, beta, max(grid.spacing)),
        )

    return Trial(
        f"beta={beta:.4g} n={n} F={F.tolist()} D={D.tolist()} share={share} mean={mean} "
        f"std={std:.4g} t={t:.4g}",
        lambda: pk.solve(equation, grid, law, t).final.values,
        judge,
    )


def moments_by_splitting(rng):
    """u(x, t) = E X_t or E X_t X_t of dX = -F X dt + noise by Split, where walls do not reach."""
    beta, rate = log_uniform(rng, 1e-2, 1e2), log_uniform(rng, 0.1, 10)
    cells = (int(log_uniform(rng, 24, 64)), int(log_uniform(rng, 24, 64)))
    turn = log_uniform(rng, 0.01, 3) * pick(rng, 1, -1)
    F = rate * (np.diag(rng.uniform(0.5, 2, 2)) + turn * np.array([[0.0, 1.0], [-1.0, 0.0]]))
    part = pick(rng, 0.0, 1.0) * np.diag(np.diag(F))
    width = np.sqrt(2 / (beta * rate))
    t = rng.uniform(0.01, 1.5) / rate
    grid = pk.Grid((-6 * width,) * 2, (6 * width,) * 2, cells)
    V = pk.potentials.Custom(lambda x: np.einsum("...i,ij,...j->...", x, part, x) / 2, dim=2)
    density, scheme = bool(rng.random() < 0.5), pk.schemes.Split(pick(rng, 5e-5, 1e-3))
    kind = pk.FokkerPlanck if density else pk.BackwardKolmogorov
    equation = kind(V if part.any() else FLAT[2], beta, force=lambda x: -x @ (F - part).T)
    start, std = rng.uniform(-1, 1, 2) * width, rng.uniform(0.5, 1.0) * width
    c = rng.uniform(-1, 1, 2)
    square = bool(rng.random() < 0.5)

    def value(x):
        return (x @ c) ** 2 if square else x @ c

    law = pk.Gaussian(tuple(start), std)
    # rates that are off by a share move what has decayed at them by t times it
    slow = max(1.0, t * float(np.diag(F).max()))
    within = 2 * WITHIN + slow * coarseness(F, np.eye(2), beta, max(grid.spacing))

    def judge(u):
        u = np.asarray(u)
        if density:
            m, C = gaussian_moments(F, np.eye(2) / beta, start, std**2 * np.eye(2), t)
            found = (u * value(grid.centres)).sum() * grid.cell_volume
            true = (c @ m) ** 2 + c @ C @ c if square else c @ m
            size = c @ C @ c + (c @ m) ** 2
            return abs(found - true), within * (size if square else np.sqrt(size))
        near = (np.abs(grid.centres) < 1.5 * width).all(-1)
        x = grid.centres[near]
        _, C = gaussian_moments(F, np.eye(2) / beta, np.zeros(2), np.zeros((2, 2)), t)
        m = x @ expm(-F * t).T
        true = (m @ c) ** 2 + c @ C @ c if square else m @ c
        reach = np.abs(value(grid.centres)).max()
        promised = within * np.abs(true).max() + 2 * scheme.tolerance * reach
        return np.abs(u[near] - true).max(), promised

    return Trial(
        f"{kind.__name__} beta={beta:.4g} cells={cells} F={F.tolist()} part={part.tolist()} "
        f"start={start} std={std:.4g} t={t:.4g} c={c} square={square} {scheme}",
        lambda: pk.solve(equation, grid, law if density else value, t, scheme).final.values,
        judge,
    )


def winds(rng):
    """1 + 0.9 cos(kx) under a uniform wind: exact modes, moved and damped."""
    d, beta = pick(rng, 1, 2), log_uniform(rng, 1e-2, 1e3)
    n = int(log_uniform(rng, 10, 400 if d == 1 else 40))
    length = log_uniform(rng, 0.1, 10)
    k = 2 * np.pi / length
    grid = pk.Grid((0.0,) * d, (length,) * d, n, periodic=True)
    f = rng.uniform(-1, 1, d) * log_uniform(rng, 0.01, 4 * n) / (beta * length)
    t = log_uniform(rng, 0.01, 3) * beta / k**2
    equation = pk.FokkerPlanck(FLAT[d], beta, force=lambda x: f + 0 * x)

    def density(x, time):
        phase = k * (x - f * time).sum(-1)
        return 1 + 0.9 * np.exp(-d * k * k * time / beta) * np.cos(phase)

    def judge(rho):
        true = density(grid.centres, t)
        swing = 0.9 * np.exp(-d * k * k * t / beta)
        waves = 1 + d * k * (np.abs(f).max() + k / beta) * t  # errors of rates grow with time
        return float(np.abs(np.asarray(rho) - true).max()), WITHIN * swing * waves + 1e-3

    return Trial(
        f"d={d} beta={beta:.4g} n={n} length={length:.4g} f={f} t={t:.4g}",
        lambda: pk.solve(equation, grid, lambda x: density(x, 0.0), t).final.values,
        judge,
    )


ROWS = [
    Row("moments of linear drifts", ("solve FokkerPlanck",), linear_drifts, 0.4, 3),
    Row("moments by splitting", ("solve FokkerPlanck", "solve BackwardKolmogorov", "Split"),
        moments_by_splitting, 0.4, 2),
    Row("waves in a wind", ("solve FokkerPlanck",), winds, 0.4, 3),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_no_silent_wrong_answer(row, truth):
    truth(row)


def test_a_wind_that_adds_diffusion_is_caught(monkeypatch):
    """Half as much diffusion again as there is, beside what upwind rates add."""
    from pdekit.pde.discrete import drift_diffusion

    def upwind(weight, drift, slope, factor, ramp):
        return 1.5 * weight + np.maximum(-drift, 0), 1.5 * weight + np.maximum(drift, 0)

    monkeypatch.setattr(drift_diffusion, "circulating_rates", upwind)
    with pytest.raises(AssertionError, match="silent wrong answers"):
        tally(ROWS[-1], 0, 90)
