"""The step that torch traces for a GPU is the dynamics' own, on the same noise."""

import pytest
import torch

import pdekit as pk
from pdekit.interactions import GaussianWell
from pdekit.particles.compiled import compiled
from pdekit.particles.integrators import EulerMaruyama, Step, StochasticHeun
from pdekit.particles.noise import Address, StepNoise, normals_of_sites, normals_reference

WELL = pk.potentials.DoubleWell(dim=2)
DYNAMICS = {
    "sampling": pk.Langevin(WELL, 4.0),
    "euler": pk.Langevin(pk.potentials.Rippled(dim=2), 4.0, integrator=EulerMaruyama()),
    "mean": pk.InteractingLangevin(WELL, 4.0, pk.CurieWeiss(1.0)),
}
EAGER = {"backend": "aot_eager", "fullgraph": True}  # traced, then run an operation at a time


def steps(*sizes):
    """Three steps of each size, counted from 0."""
    out, t = [], 0.0
    for size in sizes:
        for _ in range(3):
            out.append(Step(len(out), t, t + size, size))
            t += size
    return out


def moved(advance, seed, sizes, dtype=torch.float64):
    x = torch.linspace(-2, 2, 2 * 64 * 2, dtype=dtype).reshape(2, 64, 2)
    return advance(x, steps(*sizes), StepNoise(seed, 5, 64, torch.empty_like(x), 60))


def plain(dynamics):
    def advance(x, todo, noise):
        for step in todo:
            x = dynamics.step(x, step, noise)
        return x

    return advance


@pytest.mark.parametrize("name", DYNAMICS)
def test_traced_steps_are_the_steps(name):
    """Also at another seed, in another size of step: with what is traced once, in one graph."""
    torch._dynamo.reset()
    fast = compiled(DYNAMICS[name], torch.empty(0), **EAGER)
    with torch.no_grad():
        for seed, sizes in ((1 << 63, (0.01, 0.02, 0.03)), (3, (0.04,))):
            expected = moved(plain(DYNAMICS[name]), seed, sizes)
            torch.testing.assert_close(moved(fast, seed, sizes), expected, rtol=1e-13, atol=1e-13)
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        moved(fast, 11, (0.007, 0.05))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before


def test_traced_steps_in_float32():
    fast = compiled(DYNAMICS["sampling"], torch.empty(0), **EAGER)
    with torch.no_grad():
        got = moved(fast, 4, (0.01,), torch.float32)
        expected = moved(plain(DYNAMICS["sampling"]), 4, (0.01,), torch.float32)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert got.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_noise_of_a_site_does_not_depend_on_what_is_computed_beside_it(dtype):
    at, first, count = Address(1 << 63 | 17, 9, 4, 1 << 40 | 3), (1 << 34) + 3, 301
    sites = first + torch.arange(count)
    step, stream = torch.tensor(at.step), torch.tensor(at.stream)
    key = torch.tensor(at.seed & 0xFFFFFFFF), torch.tensor(at.seed >> 32)
    got = normals_of_sites(sites, step, stream, key, dtype)
    assert torch.equal(got, normals_reference(at, first, count, dtype))


@pytest.mark.parametrize(
    "dynamics",
    [
        pk.Langevin(WELL, 4.0, box=pk.Grid((-2, -2), (2, 2), 8)),
        pk.Langevin(lambda x: (x**2).sum(-1), 4.0),
        pk.AnnealedLangevin(WELL, lambda t: 1 + t),
        pk.InteractingLangevin(WELL, 4.0, pk.PairPotential(GaussianWell(1.0, 0.5, 2))),
    ],
    ids=["walls", "no gradient", "schedule", "pairs"],
)
def test_what_is_not_compiled(dynamics):
    assert compiled(dynamics, torch.empty(0)) is None


def test_heun_takes_its_second_slope_at_the_end_of_the_step():
    dynamics = pk.Langevin(WELL, 4.0, integrator=StochasticHeun())
    fast = compiled(dynamics, torch.empty(0), **EAGER)
    with torch.no_grad():
        torch.testing.assert_close(moved(fast, 2, (0.1,)), moved(plain(dynamics), 2, (0.1,)))
