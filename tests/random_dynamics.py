"""Random particle problems: potentials, fixed or moving, starts, output times, walls.

Each comes as what ``simulate`` is given and as the plain ``Problem`` of ``dynamics_by_hand``.
"""

from dataclasses import dataclass

import dynamics_by_hand as by_hand
import numpy as np
import torch
from scipy.interpolate import CubicSpline
from truth import log_uniform, pick

import pdekit as pk
from pdekit.particles.noise import StepNoise

P = pk.potentials


@dataclass(frozen=True)
class Moving:
    """V(x, t) = Σ a x_i²/2 - c cos(w t) x_i + b sin(k x_i + w t)."""

    a: float
    b: float
    c: float
    k: float
    w: float
    dim: int

    def at(self, t):
        return At(self, t)

    def slope(self, x, t):
        inner = self.k * x + self.w * t
        return self.a * x - self.c * np.cos(self.w * t) + self.b * self.k * np.cos(inner)

    def value(self, x, t):
        inner = self.k * x + self.w * t
        tilt = self.c * np.cos(self.w * t)
        return (self.a * x**2 / 2 - tilt * x + self.b * np.sin(inner)).sum(-1)


@dataclass(frozen=True)
class At:
    """What ``Moving`` is at one time; its slope by autograd."""

    V: Moving
    t: float

    @property
    def dim(self):
        return self.V.dim

    def __call__(self, x):
        V, inner = self.V, self.V.k * x + self.V.w * self.t
        tilt = V.c * float(np.cos(V.w * self.t))
        return (V.a * x * x / 2 - tilt * x + V.b * inner.sin()).sum(-1)


def quadratic(rng, dim):
    a = float(log_uniform(rng, 1e-2, 3) * pick(rng, 1, 1, -0.2))
    return P.Quadratic(a, dim), lambda x, t: a * x, lambda x, t: a * (x**2).sum(-1) / 2


def well(rng, dim):
    value = lambda x, t: ((x**2 - 1) ** 2).sum(-1) / 4  # noqa: E731
    return P.DoubleWell(dim), lambda x, t: x**3 - x, value


def rippled(rng, dim):
    value = lambda x, t: (x**2 / 10 + np.cos(3 * x)).sum(-1)  # noqa: E731
    return P.Rippled(dim), lambda x, t: x / 5 - 3 * np.sin(3 * x), value


def moving(rng, dim):
    V = Moving(*rng.uniform(-1, 1, 3), *rng.uniform(0.3, 2, 2), dim)
    return V, V.slope, V.value


def frozen(rng, dim):
    V = Moving(*rng.uniform(-1, 1, 3), *rng.uniform(0.3, 2, 2), dim)
    return V.at(0.3), lambda x, t: V.slope(x, 0.3), lambda x, t: V.value(x, 0.3)


def evolving(rng, dim):
    """Samples in time and space; by scipy's spline (not-a-knot), linear beyond it and in time."""
    if dim != 1:
        return moving(rng, dim)
    times, nodes = np.sort(rng.uniform(0, 2, 3)), np.linspace(-9, 9, 37)
    values = np.array([rng.uniform(0, 1) * nodes**2 + np.cos(nodes - t) for t in times])
    splines = [CubicSpline(nodes, v) for v in values]

    def mixed(now, t):
        return sum(np.interp(t, times, row) * v for row, v in zip(np.eye(3), now, strict=True))

    def slope(x, t):
        return mixed([s(np.clip(x, -9, 9), 1) for s in splines], t)

    def value(x, t):
        inside = np.clip(x, -9, 9)
        flat = mixed([s(inside) + s(inside, 1) * (x - inside) for s in splines], t)
        return flat[..., 0]

    return P.Evolving(times, nodes, values), slope, value


KINDS = (quadratic, well, rippled, moving, frozen, evolving)


def problem(rng, kinds=KINDS, box=False, particles=(1, 9)):
    """The call of ``simulate`` without its dynamics, the plain problem, and what it is."""
    dim, n = pick(rng, 1, 1, 2, 3), int(rng.integers(*particles))
    kind = pick(rng, *kinds)
    V, slope, value = kind(rng, dim)
    dtype, seed = pick(rng, "float64", "float64", "float32"), int(rng.integers(2**63))
    x = rng.normal(size=(n, dim)) * log_uniform(rng, 0.1, 1.5)
    x = x.astype(dtype).astype(float)
    dt = log_uniform(rng, 1e-4, 0.08)
    times = np.cumsum(rng.uniform(0.2, 4, int(rng.integers(1, 4))) * dt).tolist()
    times = [0.0, *times] if rng.random() < 0.2 else times
    walls = grid = None
    if box and rng.random() < 0.6:
        lower, wraps = rng.uniform(-2, -0.1, dim), rng.random(dim) < 0.4
        upper = lower + rng.uniform(0.8, 3, dim)
        walls = lower.tolist(), upper.tolist(), wraps.tolist()
        grid = pk.Grid(tuple(walls[0]), tuple(walls[1]), (8,) * dim, periodic=tuple(walls[2])) \
            if dim < 3 else None  # fmt: skip
        walls = walls if grid is not None else None
        grid = grid if dim > 1 or grid is None else pk.Grid(
            walls[0][0], walls[1][0], 8, periodic=bool(walls[2][0]))  # fmt: skip
    buffer = torch.empty(1, n, dim, dtype=getattr(torch, dtype))
    drawn = StepNoise(seed, 0, 0, buffer)

    def noise(step, channel=0):
        return drawn.at(step, channel).double().numpy()[0].copy()

    def uniform(step, channel, each):
        draw = drawn.choices if channel == by_hand.CHOICE else drawn.uniforms
        return draw(step, channel, each).double().numpy()[0]

    plain = by_hand.Problem(slope, value, x, times, dt, noise, uniform, walls)
    how = {"initial": x, "n": n, "t": times, "dt": dt, "seed": seed, "dtype": dtype}
    return V, grid, plain, how, f"{kind.__name__} dim={dim} {how | {'initial': '...'}}"
