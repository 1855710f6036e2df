"""The step that torch traces for a GPU is the dynamics' own, on the same noise."""

import warnings

import numpy as np
import pytest
import torch
from torch._inductor import metrics
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

import pdekit as pk
from pdekit.interactions import GaussianWell
from pdekit.particles import (
    L1,
    ChebyshevSum,
    Consensus,
    Displacement,
    ElasticSGD,
    ExponentialAverage,
    FiniteSum,
    LeimkuhlerMatthews,
    Logarithmic,
    MaSS,
    MetropolisLangevin,
    MiniBatch,
    MultiplicativeLangevin,
    Nesterov,
    NoisyGradient,
    RandomBatch,
    RestartedMaSS,
    RestartedNesterov,
    SampledDescent,
    Scoping,
    ensemble,
)
from pdekit.particles.integrators import EulerMaruyama, Step, StochasticHeun, TamedEuler
from pdekit.particles.noise import (
    Address,
    StepNoise,
    normals_of_sites,
    normals_reference,
    uniforms_of_sites,
    uniforms_reference,
)
from pdekit.particles.run.compiled import Later, compiled

WELL = pk.potentials.DoubleWell(dim=2)
BOX = pk.Grid((-2, -2), (2, 2), 8, periodic=(True, False))
PAIRS = pk.PairPotential(GaussianWell(1.0, 0.5, 2))
AXIS = np.linspace(-3, 3, 41)
TABLE = pk.potentials.Tabulated((AXIS, AXIS), np.cos(AXIS)[:, None] + AXIS**2 / 2)
SAMPLES = FiniteSum(lambda x, k: ((x - k.to(x.dtype)[..., None] / 5) ** 2).sum(-1), 10, 2)


def bare(x):
    """A potential without a gradient of its own."""
    return ((x**2 - 1) ** 2).sum(-1) / 4


def steep(x):
    """A diffusion."""
    return 1 + (x**2).sum(-1)


class Oscillating:
    """A potential that may change in time."""

    dim = 2

    def at(self, t):
        return WELL


COMPILED = {
    "sampling": pk.Langevin(WELL, 4.0),
    "Heun": pk.Langevin(WELL, 4.0, integrator=StochasticHeun()),
    "tamed": pk.Langevin(WELL, 4.0, integrator=TamedEuler()),
    "no gradient": pk.Langevin(bare, 4.0, integrator=EulerMaruyama()),
    "table": pk.Langevin(TABLE, 4.0, integrator=EulerMaruyama()),
    "combination": pk.Langevin(
        2 * WELL.shifted((0.5, -1.0)) + pk.potentials.Linear((0.3, 0.1)), 4.0
    ),
    "walls": pk.Langevin(WELL, 4.0, box=BOX),
    "annealed": pk.AnnealedLangevin(WELL, Logarithmic(1.0)),
    "controlled": pk.ControlledLangevin(WELL, 4.0, pk.potentials.Quadratic(1.0, 2)),
    "smoothed": pk.SmoothedDescent(WELL),
    "mean": pk.InteractingLangevin(
        WELL, 4.0, pk.CurieWeiss(1.0), box=pk.Grid((-2,) * 2, (2,) * 2, 8)
    ),
    "consensus": pk.InteractingLangevin(WELL, 4.0, Consensus(1.0), integrator=EulerMaruyama()),
    "ranks": pk.InteractingLangevin(WELL, 4.0, L1(1.0), integrator=EulerMaruyama()),
    "partners": pk.InteractingLangevin(
        WELL, 4.0, PAIRS, summation=RandomBatch(4), integrator=EulerMaruyama()
    ),
    "underdamped": pk.UnderdampedLangevin(WELL, 4.0),
    "underdamped in a box": pk.UnderdampedLangevin(WELL, 4.0, box=pk.Grid((-1,) * 2, (1,) * 2, 4)),
    "multiplicative": MultiplicativeLangevin(WELL, 4.0, steep),
    "Stratonovich": MultiplicativeLangevin(WELL, 4.0, pk.Stratonovich(steep)),
    "Metropolis": MetropolisLangevin(WELL, 4.0),
    "two scales": pk.TwoScaleLangevin(WELL, 4.0, 0.5, 0.1, 3, integrator=LeimkuhlerMatthews()),
    "cold start": pk.TwoScaleLangevin(
        *(WELL, 4.0, Scoping(0.5, 1.0), 0.1, 2, 2, pk.CurieWeiss(1.0), Displacement()),
        average=ExponentialAverage(),
        warm_start=False,
    ),
    "Entropy-SGD": pk.EntropySGD(WELL, 4.0, 0.5, 3),
    "elastic": ElasticSGD(WELL, 4.0, 0.5, 0.5),
    "sampled": SampledDescent(WELL, 4.0, Scoping(0.5, 1.0), 3),
    "Nesterov": Nesterov(WELL, gradient=NoisyGradient(0.1)),
    "restarted": RestartedNesterov(SAMPLES),
    "MaSS": MaSS(SAMPLES, gradient=MiniBatch(3)),
    "restarted MaSS": RestartedMaSS(SAMPLES, gradient=MiniBatch(3, replacement=False)),
}
PLAIN = {
    "in time": pk.Langevin(Oscillating(), 4.0),
    "beta in time": pk.Langevin(WELL, Logarithmic(1.0)),
    "control in time": pk.ControlledLangevin(WELL, 4.0, Oscillating()),
    "all pairs": pk.InteractingLangevin(WELL, 4.0, PAIRS),
    "Chebyshev": pk.InteractingLangevin(WELL, 4.0, PAIRS, summation=ChebyshevSum()),
    "slow pairs": pk.TwoScaleLangevin(WELL, 4.0, 0.5, 0.1, 3, interaction=PAIRS),
    "own equation": pk.ItoProcess(lambda x: -x, lambda x, t: 1 + t * x[..., 0] ** 2, dim=2),
    "neurons": pk.TwoLayerNetwork(
        pk.networks.GaussianClasses((2,), (0.5,), pk.networks.PiecewiseLinear((0,), (1,)))
    ),
}
EAGER = {"backend": "eager"}  # traced, then run an operation at a time
# lowered by AOTAutograd too, as for a GPU, which takes twice as long: each kind of operation once
LOWERED = {
    "walls", "no gradient", "mean", "partners", "underdamped", "Stratonovich", "Metropolis",
    "cold start", "restarted MaSS",
}  # fmt: skip


def steps(*sizes):
    """Three steps of each size, counted from 0."""
    out, t = [], 0.0
    for size in sizes:
        for _ in range(3):
            out.append(Step(len(out), t, t + size, size))
            t += size
    return out


def moved(dynamics, advance, seed, sizes, dtype=torch.float64, n=64):
    x = torch.linspace(-1.9, 1.9, 2 * n * 2, dtype=dtype).reshape(2, n, 2)
    noise = StepNoise(seed, 5, 64, torch.empty_like(x), n - 4)
    with torch.no_grad():
        return advance(dynamics.init(x), steps(*sizes), noise)


def plain(dynamics):
    def advance(x, todo, noise):
        for step in todo:
            x = dynamics.step(x, step, noise)
        return x

    return advance


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def test_the_tables_have_every_dynamics():
    public = {getattr(pk.particles, name) for name in pk.particles.__all__}
    dynamics = {d for d in public if hasattr(d, "step") and hasattr(d, "init")}
    assert {type(d) for d in (*COMPILED.values(), *PLAIN.values())} == dynamics


@pytest.mark.parametrize("name", COMPILED)
def test_traced_steps_are_the_steps(name):
    """With what is traced once, whatever the step and the seed."""
    torch._dynamo.reset()
    dynamics = COMPILED[name]
    how = {"backend": "aot_eager"} if name in LOWERED else EAGER
    made = []
    for seed in (1 << 63, 3):
        fast = compiled(dynamics, **how)  # as another simulation does
        got, expected = (moved(dynamics, f, seed, (0.01,)) for f in (fast, plain(dynamics)))
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)
        made.append(graphs())
    assert 0 < made[0] == made[1]


@pytest.mark.parametrize("name", ["two scales", "underdamped"])
def test_one_form_serves_all_sizes_of_steps_and_tiles(name):
    torch._dynamo.reset()
    dynamics, made = COMPILED[name], []
    for n, sizes in ((64, (0.01, 0.02)), (128, (0.03,)), (192, (0.007, 0.04))):
        fast = compiled(dynamics, **EAGER)
        got, expected = (moved(dynamics, f, 7, sizes, n=n) for f in (fast, plain(dynamics)))
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)
        made.append(graphs())
    assert made[1] == made[2]


@pytest.mark.parametrize("name", ["sampling", "Metropolis"])
def test_traced_steps_in_float32(name):
    dynamics = COMPILED[name]
    expected = moved(dynamics, plain(dynamics), 4, (0.01,), torch.float32)
    got = moved(dynamics, compiled(dynamics, **EAGER), 4, (0.01,), torch.float32)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert got.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("formula", "reference"),
    [(normals_of_sites, normals_reference), (uniforms_of_sites, uniforms_reference)],
)
def test_the_noise_of_a_site_does_not_depend_on_what_is_computed_beside_it(
    formula, reference, dtype
):
    at, first, count = Address(1 << 63 | 17, 9, 4, 1 << 40 | 3), (1 << 34) + 3, 301
    sites = first + torch.arange(count)
    step, stream = torch.tensor(at.step), torch.tensor(at.stream)
    key = torch.tensor(at.seed & 0xFFFFFFFF), torch.tensor(at.seed >> 32)
    got = formula(sites, step, stream, key, dtype)
    assert torch.equal(got, reference(at, first, count, dtype))


@pytest.mark.parametrize(
    "name", [n for n in COMPILED if n not in ("multiplicative", "Stratonovich")] + ["in time"]
)
def test_a_step_stays_on_its_device_and_looks_at_no_value(name):
    """Also where it is not compiled: each look would wait for the device.

    The device "meta" has shapes only; a look at a value fails there, and so does a tensor of
    another device. ``MultiplicativeLangevin`` looks for diffusions that are not positive.
    """
    dynamics = {**COMPILED, **PLAIN}[name]
    x = torch.empty(2, 64, 2, device="meta")
    noise = StepNoise(3, 0, 0, torch.empty_like(x), 60)
    with torch.no_grad():
        state = dynamics.init(x)
        for step in steps(0.01)[:2]:
            state = dynamics.step(state, step, noise)
            seen = dynamics.positions(state, step, noise)
    assert (seen.shape, seen.device) == (x.shape, x.device)


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_not_compiled(name):
    assert compiled(PLAIN[name]) is None


def test_a_dynamics_of_ones_own_is_not_compiled():
    class Mine(pk.Langevin):
        """Nothing is known of its step."""

        def step(self, state, step, noise):
            return super().step(state, step, noise)

    class Same(pk.Langevin):
        """All of its step is known."""

    assert compiled(Mine(WELL, 4.0)) is None
    assert compiled(Same(WELL, 4.0)) is not None


def test_what_torch_cannot_trace_moves_an_operation_at_a_time_and_says_so():
    def looks(x):
        return bare(x) if x.max().item() > 0 else x.sum(-1)

    dynamics = pk.Langevin(looks, 4.0)
    fast = compiled(dynamics, **EAGER)
    with pytest.warns(RuntimeWarning, match="cannot compile a step of Langevin"):
        got = moved(dynamics, fast, 5, (0.01,))
    assert torch.equal(got, moved(dynamics, plain(dynamics), 5, (0.01,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once
        moved(dynamics, fast, 5, (0.01,))


def test_beyond_the_forms_that_torch_keeps_particles_move_an_operation_at_a_time():
    torch._dynamo.reset()
    dynamics = COMPILED["smoothed"]
    fast = compiled(dynamics, recompile_limit=1, **EAGER)
    moved(dynamics, fast, 5, (0.01,))
    with pytest.warns(RuntimeWarning, match="cannot compile a step of SmoothedDescent"):
        got = moved(dynamics, fast, 5, (0.01,), torch.float32)
    assert torch.equal(got, moved(dynamics, plain(dynamics), 5, (0.01,), torch.float32))


def test_only_the_first_step_is_known_by_its_number():
    number = Later(torch.tensor(3))
    assert number != 0
    assert int((number * 5 + 2).number) == 17
    with pytest.raises(TypeError, match="number 7"):
        number == 7  # noqa: B015


def simulated(monkeypatch, dynamics, x, **options):
    """As on a GPU: moved by the compiled form."""
    monkeypatch.setattr(ensemble, "fused", lambda moves, x: compiled(moves, **EAGER))
    torch._dynamo.reset()
    return pk.simulate(dynamics, x, len(x), **options)


def test_simulated_in_compiled_steps(monkeypatch):
    x, how = np.linspace(-1, 1, 300).reshape(150, 2), {"t": [0.1, 0.55], "dt": 0.01, "seed": 3}
    expected = pk.simulate(COMPILED["sampling"], x, len(x), **how).x
    got = simulated(monkeypatch, COMPILED["sampling"], x, **how).x
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_a_diffusion_that_is_not_positive_is_named_by_its_own_error(monkeypatch):
    """No value is looked at in a compiled step; the bad one is found at the end of the block."""
    dynamics = MultiplicativeLangevin(pk.potentials.Quadratic(1.0), 1.0, lambda x: 0.5 - x[..., 0])
    with pytest.raises(ValueError, match="positive semidefinite, which it is not at"):
        simulated(monkeypatch, dynamics, np.zeros((64, 1)), t=2.0, dt=0.01)


def _compiler():
    try:
        return get_cpp_compiler()
    except InvalidCxxCompiler:
        return None


needs_compiler = pytest.mark.skipif(
    _compiler() is None, reason="torch generates C++, which needs a compiler"
)


@needs_compiler
def test_generated_code_gives_the_steps():
    """Not only what was traced: also after another size of the step, which compiles anew."""
    dynamics = COMPILED["sampling"]
    torch._dynamo.reset()
    fast = compiled(dynamics)
    for seed, sizes in ((1 << 63, (0.01,)), (3, (0.04,))):
        expected = moved(dynamics, plain(dynamics), seed, sizes)
        got = moved(dynamics, fast, seed, sizes)
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


@needs_compiler
def test_a_step_is_one_kernel_and_one_more_for_a_mean():
    """In the code that torch generates; a noise drawn apart would be a kernel of its own."""
    V = pk.potentials.DoubleWell()
    alone, together = pk.Langevin(V, 4.0), pk.InteractingLangevin(V, 4.0, pk.CurieWeiss(1.0))
    x = torch.linspace(-1, 1, 128, dtype=torch.float32).reshape(1, 128, 1)
    for dynamics, kernels in ((alone, 1), (together, 2)):
        torch._dynamo.reset()
        metrics.reset()
        with torch.no_grad():
            compiled(dynamics)(x, steps(0.01)[1:2], StepNoise(3, 0, 0, torch.empty_like(x)))
        assert metrics.generated_kernel_count == kernels
