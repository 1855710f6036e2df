"""Calls that type checkers accept and that run; see tests/test_types.py."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

import pdekit as pk

grid = pk.Grid(-3, 3, 60)
plane = pk.Grid((-3, -2), (3, 2), (16, 16))
V = pk.potentials.DoubleWell()
rho0 = pk.Gaussian(mean=-1.0, std=0.3)
start = np.linspace(-1, 1, 100)[:, None]


def well(x: Any) -> Any:
    """A potential as a plain function."""
    return (x[..., 0] ** 2 - 1) ** 2 / 4


@dataclass(frozen=True)
class Rising:
    """A potential that moves."""

    dim: int = 1

    def at(self, t: float) -> pk.potentials.Potential:
        return pk.potentials.Quadratic(1.0 + t)


class Ramp:
    """A force that moves."""

    def at(self, t: float) -> Any:
        return lambda x: t + 0 * x


class Spring(torch.nn.Module):
    """A potential as a network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x**2).sum(-1) / 2


class Coin:
    """What particles may start from, no more."""

    dim = 1

    def sample(self, n: int, noise: Any) -> torch.Tensor:
        tossed: torch.Tensor = noise.uniform(n, 1)
        return tossed.round() * 2 - 1


class OrnsteinUhlenbeck:
    """A dynamics of one's own."""

    def step(self, state: Any, step: Any, noise: Any) -> Any:
        return state - step.size * state + step.size**0.5 * noise.normals()


# solve: equations, initial data, times, schemes
rho = pk.solve(pk.FokkerPlanck(V, beta=4), grid, rho0, t=[0.1, 1])
pk.solve(pk.FokkerPlanck(V, 4.0, force=lambda x: 0.5 * x), grid, rho0, 0.1)
pk.solve(pk.FokkerPlanck(well, np.float64(4)), grid, pk.Uniform(-1, 1), t=np.array([0.1, 0.2]))
pk.solve(pk.FokkerPlanck(Rising(), 4, force=Ramp()), grid, rho0, t=(0, 0.1))
pk.solve(pk.FokkerPlanck(V, 4, walls=pk.Walls(upper=True)), grid, rho0, t=0.1)
pk.solve(pk.FokkerPlanck(V, 4, diffusion=2.0), grid, np.ones(60) / 6, t=0.1)
pk.solve(pk.FokkerPlanck(V, 4, diffusion=lambda x: 1 + x[..., 0] ** 2), grid, rho0, t=0.1)
pk.solve(pk.FokkerPlanck(V, 4, diffusion=pk.Stratonovich(2.0)), grid, rho0, t=0.1)
V2 = pk.potentials.DoubleWell(dim=2)
tensor = [[2.0, 0.5], [0.5, 1.0]]
pk.solve(pk.FokkerPlanck(V2, 4, diffusion=tensor), plane, pk.Gaussian((0, 0), 0.3), t=0.1)
pk.solve(pk.FokkerPlanck(V2, 4, diffusion=np.eye(2)), plane, pk.Gaussian((0, 0), 0.3), t=0.1)
pk.solve(pk.FokkerPlanck(V, 4), grid, rho.final, t=0.1)
pk.solve(pk.FokkerPlanck(V, 4), grid, torch.ones(60) / 6, t=torch.tensor([0.1, 0.2]))
pk.solve(pk.FokkerPlanck(V, 4), grid, rho0, t=rho.u["time"])
steps: int = rho.stats["steps"]
lowest: float = rho.stats["minimum"]
drift: float = rho.stats.get("mass_drift", 0.0)
pk.solve(pk.ViscousHJ(beta=10), grid, V, t=0.5, scheme=pk.schemes.Godunov())
pk.solve(pk.HamiltonJacobi(), grid, lambda x: abs(x[..., 0]), t=0.5, scheme=pk.schemes.HopfLax())
pk.solve(pk.HamiltonJacobi(pk.hamiltonians.Power(1.5)), grid, well, t=0.1)
pk.solve(pk.Heat(2), grid, V + pk.potentials.Quadratic(), t=range(1, 3))
pk.solve(pk.McKeanVlasov(V, 4, interaction=pk.CurieWeiss(1.0)), grid, rho0, t=0.1)
pk.solve(pk.McKeanVlasov(V, 4, pk.PairPotential(lambda z: z[..., 0] ** 2)), grid, rho0, t=0.1)
pk.solve(pk.HamiltonJacobiBellman(V, 4, running_cost=lambda x: x[..., 0] ** 2), grid, V, t=0.1)
pk.solve(pk.BackwardKolmogorov(V, 4), grid, lambda x: x[..., 0], t=[0.1, 0.2])
pk.solve(pk.Langevin(V, beta=4).law(), grid, rho0, t=0.1)
assert isinstance(rho.u, xr.DataArray)

# simulate: dynamics, starts, what is seen
X = pk.simulate(pk.Langevin(V, beta=4), rho0, n=200, t=[0.1, 1], dt=0.05, seed=0, device="cpu")
pk.simulate(pk.Langevin(well, beta=4), start, n=100, t=0.1, dt=0.05, dtype="float32")
pk.simulate(pk.Langevin(Spring(), 4), torch.as_tensor(start), n=100, t=np.array([0.1]), dt=0.05)
pk.simulate(pk.Langevin(Rising(), 4), X.final, n=200, t=0.1, dt=0.05, observe=pk.Moments())
pk.simulate(OrnsteinUhlenbeck(), Coin(), n=10, t=0.1, dt=0.05, observe=[pk.Histogram(grid)])
pk.simulate(pk.InteractingLangevin(V, 4, pk.CurieWeiss(1.0)), rho0, n=10, t=0.1, dt=0.05)
pk.simulate(
    pk.InteractingLangevin(V, 4, pk.particles.Consensus(1.0)), rho0, n=10, t=0.1, dt=0.05, runs=2
)
pk.simulate(
    pk.TwoScaleLangevin(V, 4, gamma=lambda t: 1 / (1 + t), epsilon=0.1, inner_steps=10),
    rho0, n=10, t=0.01, dt=0.005,
)  # fmt: skip
pk.simulate(pk.AnnealedLangevin(V, schedule=lambda t: 1 + t), rho0, n=10, t=0.1, dt=0.05)
pk.simulate(pk.Langevin(V, beta=lambda t: 1 + t), rho0, n=10, t=0.1, dt=0.05)
pk.BackwardKolmogorov(V, beta=lambda t: 1 + t, source=pk.InTime(lambda x, t: t * x[..., 0]))
pk.HamiltonJacobiBellman(V, 1.0, running_cost=pk.InTime(lambda x, t: t * x[..., 0]))
pk.simulate(pk.Langevin(V, 4), start, n=100, t=0.1, dt=0.05, dtype=torch.float32)
pk.simulate(pk.Langevin(V, 4), start, n=100, t=0.1, dt=0.05, dtype=np.float32)
pk.simulate(pk.MultiplicativeLangevin(V, 4, diffusion=2), [[0.0], [1.0]], n=2, t=0.1, dt=0.05)

# every dynamics can be made
u = pk.solve(pk.ViscousHJ(beta=10), grid, V, t=[0.1, 0.5]).potential()
pk.ControlledLangevin(V, 4, value=u)
pk.SmoothedDescent(u)
pk.UnderdampedLangevin(V, 4, friction=2)
pk.MetropolisLangevin(V, 4)
pk.ElasticSGD(V, 4, gamma=0.1)
pk.EntropySGD(V, gamma=pk.particles.Scoping(1.0, 0.1, 0.5))
pk.SampledDescent(V, 4, gamma=0.1)
pk.Nesterov(V, gradient=pk.particles.NoisyGradient(0.1))
pk.MaSS(V), pk.RestartedMaSS(V), pk.RestartedNesterov(V)

# the others
c = pk.compare(rho, X, metrics=[pk.comparison.KL()])
pk.compare(rho, X, metrics=pk.comparison.W2())
p: float = c.p_value
fb = pk.control(V, 4, grid, rho0, terminal_cost=lambda x: x[..., 0] ** 2, t=0.5)
pk.control(
    None, 4, grid, rho0, terminal_cost=V, t=np.linspace(0.1, 0.5, 9),
    coupling=pk.Congestion(0.1), solver=pk.FixedPoint(),
)  # fmt: skip
pk.improvement(fb, rho0, n=100, dt=0.05)
pk.certify(rho, pk.certificates.Mass())
still = pk.stationary(pk.FokkerPlanck(V, 4), grid)
pk.current(pk.FokkerPlanck(V, 4), still, grid)
pk.current(pk.FokkerPlanck(V, 4), still.values, grid)
gap: float = pk.spectral_gap(pk.FokkerPlanck(V, 2), grid)
pk.mean_first_passage_time(pk.FokkerPlanck(V, 2), grid, (1.0, 2.0))
pk.committor(pk.FokkerPlanck(V, 2), grid, (-2, -1), lambda x: x[..., 0] > 1)
pk.kramers_time(V, minimum=-1, saddle=0, beta=20)
pk.critical_beta(V, pk.CurieWeiss(1.0))
means = [state.mean for state in pk.self_consistent_states(pk.McKeanVlasov(V, 4, pk.CurieWeiss(1.0)), grid)]  # noqa: E501  # fmt: skip
energy: xr.DataArray = pk.free_energy(rho)
smooth: pk.potentials.Tabulated = pk.local_entropy(V, gamma=0.1, beta=10, grid=grid)
pk.with_steady_state(V2, 4, circulation=[[0.0, 1.0], [-1.0, 0.0]])
pk.convergence(
    pk.Langevin(V, 4), rho0, lambda x: x[..., 0] ** 2, t=0.4, n=(50, 100), runs=4, order=2
)
round_about: float = pk.area_rate([[0.0, 1.0], [1.0, 0.0]] * 50, 0.1, block=4).plane(0, 1).lower

# optimizers
model = torch.nn.Linear(2, 1)
pk.optim.EntropySGD(model.parameters(), lr=2.0, inner_steps=10)
pk.optim.SGLD([{"params": list(model.parameters()), "lr": 0.1}])
descent: torch.optim.Optimizer = pk.optim.NesterovRestart(model.parameters(), lr=0.1)
