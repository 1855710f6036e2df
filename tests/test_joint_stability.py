"""The longest stable step of particles that interact is that of all of them together."""

import warnings

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.particles import EulerMaruyama, LeimkuhlerMatthews, StochasticHeun
from pdekit.particles.run.curvature import largest_curvature
from pdekit.particles.run.guards import StepSizeWarning
from pdekit.potentials import DoubleWell, Quadratic

INTEGRATORS = [EulerMaruyama(), LeimkuhlerMatthews(), StochasticHeun()]


def of_either(name):
    return lambda x: getattr(torch if torch.is_tensor(x) else np, name)(x)


exp, cos = of_either("exp"), of_either("cos")


def times(x, A):
    return x @ (torch.tensor(A, dtype=x.dtype) if torch.is_tensor(x) else A)


class TwoCrowds:
    """dX = -(a X + X³/10 + Σ_l K_kl tanh(A mean of crowd l)) dt + dB/10: no gradient."""

    coupled = True
    integrator = EulerMaruyama()

    def __init__(self, a, A, K):
        self.a, self.A, self.K, self.dim = a, torch.tensor(A), torch.tensor(K), len(A)

    def drift(self, x, t):
        half = max(x.shape[1] // 2, 1)
        crowds = torch.stack([part.mean(1) for part in (x[:, :half], x[:, -half:])], 1)
        pull = torch.einsum("kl,rld->rkd", self.K.to(x), torch.tanh(crowds @ self.A.to(x)))
        crowd = torch.arange(x.shape[1]) >= half
        return -(self.a * x + x**3 / 10 + pull[:, crowd.long()])

    def init(self, x):
        return x

    def positions(self, state, step, noise):
        return state

    def step(self, state, step, noise):
        kick = noise.at(step.number) * (0.1 * step.size**0.5)
        return state + self.drift(state, step.start) * step.size + kick


def random_dynamics(rng):
    """A dynamics, n and d."""
    n, d = int(rng.integers(2, 60)), int(rng.integers(1, 3))
    s, w, kind = np.exp(rng.uniform(-2, 3)), np.exp(rng.uniform(-1, 1)), rng.integers(5)
    A, f = rng.normal(size=(d, d)) * s, rng.normal(size=(d, 4))
    if kind == 0:
        return TwoCrowds(rng.uniform(0, 3), A, rng.normal(size=(2, 2))), n, d
    interaction = [
        pk.CurieWeiss(s),
        pk.KernelInteraction(lambda x, y: -s * exp(-((x - y) ** 2).sum(-1) / (2 * w * w)), dim=d),
        pk.KernelInteraction(lambda x, y: (times(x, A + A.T) * y).sum(-1), dim=d),
        pk.FeatureInteraction(lambda x: cos(times(x, f)), s),
    ][kind - 1]
    V = Quadratic(rng.uniform(0, 3), d) if rng.random() < 0.5 else DoubleWell(d)
    return pk.InteractingLangevin(V, 2.0, interaction, integrator=INTEGRATORS[kind % 3]), n, d


def growth(dynamics, x, h):
    """Of the stable modes of a step without noise, by the full matrix of differences."""
    size, eps = x.numel(), 1e-6
    shifts = torch.eye(size, dtype=x.dtype).reshape(size, *x.shape) * eps
    b = torch.cat([dynamics.drift((x + s * e)[None], 0.0) for e in shifts for s in (1, -1)])
    J = (b[::2] - b[1::2]).reshape(size, size).T.numpy() / (2 * eps)
    eigenvalues = np.linalg.eigvals(J)
    z = h * eigenvalues[eigenvalues.real < -1e-6 * np.abs(J).max()]
    heun = isinstance(dynamics.integrator, StochasticHeun)
    return np.abs(1 + z + z * z / 2 if heun else 1 + z).max(initial=0.0)


@pytest.mark.parametrize("seed", range(25))
@torch.no_grad()
def test_limit_is_that_of_the_full_matrix(seed):
    """Within 10 %: not stable at 1.1 of what is said, and stable at 0.95."""
    rng = np.random.default_rng([20261130, seed])
    dynamics, n, d = random_dynamics(rng)
    x = torch.tensor(rng.normal(size=(n, d)) * np.exp(rng.uniform(-1, 1)))
    rate = largest_curvature(dynamics, x, 0.0, seed)
    if rate > 0:
        assert growth(dynamics, x, 0.95 * 2 / rate) <= 1
    limit = 2 / max(rate, 1e-3)
    assert growth(dynamics, x, limit / 0.9) > 1 or rate < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["mean", "pairs", "features"])
def test_simulate_warns_beyond_the_limit_alone(kind, dtype):
    """x'' = 1 + 8 on all modes but the mean's, or on one alone: none of them of a particle."""
    interaction, rate = {
        "mean": (pk.CurieWeiss(8.0), 9.0),
        "pairs": (pk.PairPotential(Quadratic(8.0)), 9.0),
        "features": (pk.FeatureInteraction(lambda x: x, 8.0), 9.0),  # on the mean
    }[kind]
    dynamics = pk.InteractingLangevin(Quadratic(), 2.0, interaction)
    x = np.random.default_rng(3).normal(size=(300, 1))
    for share, warned in ((0.9, False), (1.05, True)):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            dt = share * 2 / rate
            pk.simulate(dynamics, x, n=300, t=3 * dt, dt=dt, dtype=dtype)
        assert any(issubclass(w.category, StepSizeWarning) for w in found) is warned


def test_products_are_few(monkeypatch):
    """Of all particles at once: far fewer than there are directions."""
    seen = []
    drift = pk.InteractingLangevin.drift
    monkeypatch.setattr(
        pk.InteractingLangevin, "drift", lambda self, x, t: seen.append(len(x)) or drift(self, x, t)
    )
    dynamics = pk.InteractingLangevin(DoubleWell(), 2.0, pk.CurieWeiss(3.0))
    with torch.no_grad():
        largest_curvature(dynamics, torch.randn(500, 1, dtype=torch.float64), 0.0)
    assert sum(seen) <= 40


def test_a_kernel_that_is_symmetric_on_a_line_alone_is_refused():
    A = np.array([[0.0, 1.0], [-1.0, 0.0]])
    with pytest.raises(ValueError, match="a kernel must be symmetric"):
        pk.KernelInteraction(lambda x, y: (times(x, A) * y).sum(-1), dim=2)
