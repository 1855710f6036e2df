"""simulate: same bits whatever happens around it, output times hit, walls, errors."""

from math import inf

import numpy as np
import pytest
import torch
from scipy import stats

import pdekit as pk
from pdekit import particles
from pdekit.interactions import GaussianWell
from pdekit.particles import ensemble
from pdekit.particles.dynamics.smoothed import SmoothedDescent
from pdekit.particles.integrators import EulerMaruyama, LeimkuhlerMatthews, StochasticHeun
from pdekit.particles.run import curvature, guards
from pdekit.potentials import DoubleWell, Quadratic, Rippled, SixHumpCamel

WELL = pk.Langevin(DoubleWell(), beta=4.0)
START = pk.Gaussian(-1.0, 0.1)


PLANE = pk.Gaussian((0.0, 0.0), 0.1)


def squares(x, k):
    return (x[..., 0] - 0.1 * k) ** 2


class Sliding:
    """u(x, t) = (1 + t) |x|²/2."""

    dim = 1

    def at(self, t):
        return Quadratic(1.0 + t)


BITS = {
    "well": (WELL, START),
    "sines": (pk.Langevin(Rippled(), beta=4.0, integrator=StochasticHeun()), START),
    # torch rounds these differently in its vector loop and in the scalar loop for left-overs
    "functions with two loops": (
        pk.Langevin(lambda x: (torch.nn.functional.softplus(x) + x.abs() ** 2.5).sum(-1), 4.0),
        START,
    ),
    "plane": (
        pk.Langevin(SixHumpCamel(), beta=4.0, integrator=EulerMaruyama()),
        PLANE,
    ),
    "box": (pk.Langevin(Rippled(), beta=2.0, box=pk.Grid(-2, 0, 8)), START),
    "controlled": (pk.ControlledLangevin(DoubleWell(), 4.0, Sliding()), START),
    "mean field": (pk.InteractingLangevin(DoubleWell(), 4.0, pk.CurieWeiss(1.0)), START),
    "ranks": (pk.InteractingLangevin(DoubleWell(), 4.0, particles.L1(1.0)), START),
    "consensus": (pk.InteractingLangevin(SixHumpCamel(), 4.0, particles.Consensus(1.0)), PLANE),
    "random batch": (
        pk.InteractingLangevin(
            DoubleWell(), 4.0, pk.PairPotential(Quadratic(1.0)), particles.RandomBatch(4)
        ),
        START,
    ),
    "two scales": (pk.TwoScaleLangevin(SixHumpCamel(), 4.0, 0.5, 0.1, 3, 2), PLANE),
    "two scales, mean field": (
        pk.TwoScaleLangevin(DoubleWell(), 4.0, 0.5, 0.1, 3, interaction=pk.CurieWeiss(1.0)),
        START,
    ),
    "elastic": (pk.ElasticSGD(DoubleWell(), 4.0, 0.5), START),
    "sampled": (pk.SampledDescent(Rippled(), 4.0, 0.5, samples=3), START),
    "underdamped": (pk.UnderdampedLangevin(SixHumpCamel(), 4.0), PLANE),
    "annealed": (pk.AnnealedLangevin(Rippled(), particles.Logarithmic(1.0)), START),
    "Metropolis": (pk.MetropolisLangevin(SixHumpCamel(), 4.0), PLANE),
    "multiplicative": (
        pk.MultiplicativeLangevin(
            DoubleWell(), 4.0, pk.Stratonovich(lambda x: (1 + x * x)[..., None])
        ),
        START,
    ),
    "momentum": (
        pk.RestartedMaSS(particles.FiniteSum(squares, 5), 0.1, particles.MiniBatch(2)),
        START,
    ),
}


def run(dynamics, initial, **more):
    settings = {"n": 1003, "t": [0.05, 0.1], "dt": 0.01, "seed": 3, **more}
    return pk.simulate(dynamics, initial, **settings).x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BITS)
def test_same_bits_for_every_tile_size(name, dtype, monkeypatch):
    """Would miss a dependence on the tile if all tiles were alike: 1003 is no multiple of any."""
    whole = run(*BITS[name], dtype=dtype)
    for tile in (64, 320):
        monkeypatch.setattr(ensemble, "_TILE_CPU", tile)
        assert np.array_equal(run(*BITS[name], dtype=dtype), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 50, 1003])
@pytest.mark.parametrize("name", BITS)
def test_same_bits_alone_and_among_other_runs(name, n, dtype):
    """Whole runs share a tile, filled up with copies of particles (n = 1003) or of runs."""
    if name == "random batch" and n == 2:
        n = 5  # 4 partners
    many = run(*BITS[name], n=n, runs=3, dtype=dtype)
    assert np.array_equal(many[:, 0], run(*BITS[name], n=n, dtype=dtype))
    assert not np.array_equal(many[:, 0], many[:, 1])


@pytest.mark.parametrize("n", [7, 50, 70])
@pytest.mark.parametrize("summation", [particles.ExactSum(), particles.ChebyshevSum(1e-6)], ids=str)
def test_same_bits_of_sums_over_pairs_alone_and_among_other_runs(summation, n):
    kernel = pk.potentials.Custom(lambda z: -torch.exp(-(z * z).sum(-1)))
    pairs = pk.InteractingLangevin(DoubleWell(), 4.0, pk.PairPotential(kernel), summation)
    many = run(pairs, START, n=n, runs=3)
    assert np.array_equal(many[:, 0], run(pairs, START, n=n))


@pytest.mark.parametrize("name", BITS)
def test_same_bits_for_one_and_two_threads(name):
    threads = torch.get_num_threads()
    results = []
    try:
        for k in (1, 2):
            torch.set_num_threads(k)
            results.append(run(*BITS[name], n=70_001, t=0.02))
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*results) and torch.get_num_threads() == threads


def test_same_bits_after_other_work():
    first = run(WELL, START)
    run(WELL, START, seed=8, runs=2)
    torch.randn(10)
    assert np.array_equal(run(WELL, START), first)
    assert not np.array_equal(run(WELL, START, seed=4), first)


def test_global_generators_are_neither_read_nor_advanced():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = run(WELL, START)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    torch.manual_seed(2)
    assert np.array_equal(run(WELL, START), first)


def test_more_particles_do_not_move_the_first_ones():
    assert np.array_equal(run(WELL, START)[:, :200], run(WELL, START, n=200))


@pytest.mark.parametrize("tile", [64, 1 << 14])
def test_runs_are_an_axis_of_independent_repetitions(tile, monkeypatch):
    monkeypatch.setattr(ensemble, "_TILE_CPU", tile)
    many = run(WELL, START, runs=3)
    assert many.dims == ("time", "run", "particle", "dim") and many.shape == (2, 3, 1003, 1)
    assert np.array_equal(many[:, 0], run(WELL, START))
    last = many[-1, :, :, 0]
    # correlation of independent runs, level 0.001 for the three pairs together
    bound = stats.norm.isf(0.001 / 6) / np.sqrt(1003)
    assert np.abs(np.corrcoef(last) - np.eye(3)).max() < bound


def test_runs_from_a_law_start_apart_and_from_an_array_together():
    at_start = run(WELL, START, t=[0.0, 0.1], runs=2)
    assert not np.array_equal(at_start[0, 0], at_start[0, 1])
    points = np.linspace(-1, 1, 1003)[:, None]
    same = run(WELL, points, t=[0.0, 0.1], runs=2)
    assert np.array_equal(same[0, 0], points) and np.array_equal(same[0, 1], points)


def test_initial_noise_is_not_that_of_the_first_step():
    """Level 0.001: the displacement of pure diffusion is uncorrelated with the start."""
    free = pk.Langevin(Quadratic(0.0), beta=2.0, integrator=EulerMaruyama())
    x = run(free, pk.Gaussian(0.0, 1.0), t=[0.0, 0.01], n=20_000)[:, :, 0]
    assert abs(np.corrcoef(x[0], x[1] - x[0])[0, 1]) < stats.norm.isf(5e-4) / np.sqrt(20_000)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist])
def test_initial_array_is_not_overwritten(kind):
    points = np.linspace(-1, 1, 1003)[:, None]
    given = kind(points.copy())
    run(WELL, given)
    assert np.array_equal(np.asarray(given), points)


def test_output_times_are_hit_exactly_by_equal_steps():
    result = pk.simulate(WELL, START, n=64, t=[0.0, 0.25, 1.0], dt=0.1)
    assert result.x.time.values.tolist() == [0.0, 0.25, 1.0]
    assert result.stats["dt"] == [0.0, 0.25 / 3, 0.75 / 8] and result.stats["steps"] == 11
    assert result.final.identical(result.x[-1]) and result.seed == 0 and result.dynamics is WELL
    assert pk.simulate(WELL, START, n=64, t=0.3, dt=0.1).stats["steps"] == 3


def test_time_dependent_drift_is_taken_at_both_ends_of_a_step():
    """dX = -(1 + t) X dt: the trapezoidal predictor-corrector by hand."""
    times = []

    class Recorded(Sliding):
        def at(self, t):
            times.append(t)
            return super().at(t)

    x = pk.simulate(SmoothedDescent(Recorded()), np.ones((1, 1)), n=1, t=0.3, dt=0.1).final
    expected = 1.0
    for k in range(3):
        a, b, h = 1 + 0.1 * k, 1 + 0.1 * (k + 1), 0.1
        expected *= 1 - h / 2 * (a + b * (1 - h * a))
    assert float(x[0, 0]) == pytest.approx(expected, rel=1e-13)
    # besides, it is looked at within steps before they are taken
    assert {round(t, 12) for t in times} >= {0.0, 0.1, 0.2, 0.3} and times[-1] == 0.3


def test_no_noise_means_no_noise():
    x = pk.simulate(SmoothedDescent(Quadratic(2.0)), np.ones((5, 1)), n=5, t=1.0, dt=1e-3).final
    assert np.ptp(x.values) == 0 and float(x[0, 0]) == pytest.approx(np.exp(-2.0), rel=2e-6)
    assert SmoothedDescent(Quadratic(), beta=None) == SmoothedDescent(Quadratic(), beta=inf)


def test_law_is_the_equation_of_the_dynamics():
    V, U = DoubleWell(), Quadratic(0.5)
    assert pk.Langevin(V, beta=4).law() == pk.FokkerPlanck(V, beta=4)
    assert SmoothedDescent(V, beta=4).law() == pk.FokkerPlanck(V, beta=4)
    assert pk.ControlledLangevin(V, 4, U).law() == pk.FokkerPlanck(V + U, beta=4)
    moving = pk.ControlledLangevin(V, 4, Sliding()).law().potential
    assert moving.at(0.5) == V + Quadratic(1.5) and moving.dim == 1
    with pytest.raises(ValueError, match="finite beta"):
        SmoothedDescent(V).law()
    with pytest.raises(TypeError, match="Custom"):
        pk.ControlledLangevin(lambda x: x.sum(-1), 4, lambda x: x.sum(-1)).law()


AUTOGRAD = {"well": DoubleWell(), "camel": SixHumpCamel()}


@pytest.mark.parametrize("name", AUTOGRAD)
def test_a_bare_function_is_differentiated(name):
    V = AUTOGRAD[name]
    start = pk.Gaussian((0.0,) * V.dim, 0.1)
    with_grad = run(pk.Langevin(V, 4.0), start)
    without = run(pk.Langevin(lambda x: V(x), 4.0), start)
    assert np.allclose(with_grad, without, rtol=0, atol=1e-12)


def test_progress_shows_a_bar(capsys):
    run(WELL, START, progress=True)
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("integrator", [EulerMaruyama(), LeimkuhlerMatthews(), StochasticHeun()])
@pytest.mark.parametrize("periodic", [False, True])
def test_walls_keep_the_uniform_law(integrator, periodic):
    """V = 0, long steps: KS at level 0.001; clipping at a wall, or wrapping it, would be seen."""
    box = pk.Grid(-1, 2, 10, periodic=periodic)
    free = pk.Langevin(Quadratic(0.0), beta=1.0, integrator=integrator, box=box)
    x = run(free, pk.Uniform(-1.0, 2.0), n=20_000, t=2.0, dt=0.1)[-1].values.ravel()
    assert box.contains(x[:, None]).all()
    assert stats.kstest(x, stats.uniform(-1, 3).cdf).pvalue > 1e-3


@pytest.mark.parametrize("integrator", [EulerMaruyama(), LeimkuhlerMatthews(), StochasticHeun()])
def test_a_wall_reflects_and_a_periodic_axis_wraps(integrator):
    """Started near the corner, the reflected law is the folded normal one (level 0.001)."""
    box = pk.Grid((0, 0), (9, 9), (8, 8), periodic=(False, True))
    flat = pk.Langevin(Quadratic(0.0, dim=2), 2.0, integrator=integrator, box=box)
    x = run(flat, np.full((20_000, 2), 0.1), n=20_000, t=0.25, dt=0.05)[-1].values
    normal = stats.norm(0.1, 0.5)
    assert stats.kstest(x[:, 0], lambda v: normal.cdf(v) - normal.cdf(-v)).pvalue > 1e-3
    unwrapped = np.where(x[:, 1] > 4.5, x[:, 1] - 9, x[:, 1])
    assert stats.kstest(unwrapped, normal.cdf).pvalue > 1e-3


def test_a_wall_mirrors_the_drift():
    """Gibbs law of V = 3x on [0, 2], whose drift pushes into the wall; level 0.001, n = 20,000."""
    tilt = pk.potentials.Custom(lambda x: 3 * x[..., 0], grad=lambda x: 3 + 0 * x)
    for integrator, dt in ((LeimkuhlerMatthews(), 8e-3), (StochasticHeun(), 3e-3)):
        pushed = pk.Langevin(tilt, 1.0, integrator=integrator, box=pk.Grid(0, 2, 8))
        x = run(pushed, pk.Uniform(0.0, 1.0), n=20_000, t=1.5, dt=dt)[-1].values.ravel()
        mass = 1 - np.exp(-6)
        p = stats.kstest(x, lambda v, mass=mass: (1 - np.exp(-3 * v)) / mass).pvalue
        assert p > 1e-3


def test_a_particle_that_blows_up_is_named():
    start = np.full((200, 1), 0.5)
    start[150] = 40.0
    with (
        pytest.warns(particles.StepSizeWarning, match="unstable"),
        pytest.raises(particles.NonFiniteError, match=r"particle 150 of run 0 .* step \d+ .*dt"),
    ):
        run(WELL, start, n=200, t=2.0, dt=0.01)


def test_the_step_of_a_blow_up_is_found():
    """1/x at 0 in step 3: no potential is that steep before."""

    class Trap:
        dim = 1

        def at(self, t):
            return pk.potentials.Custom(
                lambda x: x[..., 0] * (inf if t > 0.249 else 0.0), grad=lambda x: 0 * x + g(t)
            )

    def g(t):
        return inf if t > 0.249 else 0.0

    trap = SmoothedDescent(Trap(), integrator=EulerMaruyama())
    with pytest.raises(FloatingPointError, match=r"step 3 \(time 0\.4\)"):
        pk.simulate(trap, np.zeros((2, 1)), n=2, t=1.0, dt=0.1)


@pytest.mark.parametrize(("curvature", "warns"), [(19.0, False), (21.0, True), (-50.0, False)])
@pytest.mark.parametrize("dim", [1, 2])
def test_a_step_beyond_the_stability_limit_is_said(curvature, warns, dim, recwarn):
    dynamics = pk.Langevin(Quadratic((curvature, -0.1)[:dim]), beta=1.0)
    pk.simulate(dynamics, np.ones((64, dim)), n=64, t=0.1, dt=0.1)
    assert [w.category for w in recwarn] == [particles.StepSizeWarning] * warns


def fine(x):
    return (x * x).sum(-1)


class WrongShape:
    def __call__(self, x):
        return fine(x)

    def grad(self, x):
        return x.sum(-1)


class NotTorch(WrongShape):
    def grad(self, x):
        return np.asarray(x)


POINTS = np.zeros((4, 1))
GOOD = {"dynamics": WELL, "initial": POINTS, "n": 4, "t": 0.1, "dt": 0.01}
BAD = {
    "no particles": ({"n": 0}, ValueError, "n must be a whole number >= 1"),
    "half a particle": ({"n": 1.5}, TypeError, "whole number"),
    "no runs": ({"runs": 0}, ValueError, "runs"),
    "negative seed": ({"seed": -1}, ValueError, "seed"),
    "seed too long": ({"seed": 2**64}, ValueError, "below"),
    "dt zero": ({"dt": 0.0}, ValueError, "dt must be a finite number > 0"),
    "dt nan": ({"dt": float("nan")}, ValueError, "dt"),
    "dt text": ({"dt": "fast"}, TypeError, "dt"),
    "times decrease": ({"t": [1.0, 0.5]}, ValueError, "increase"),
    "time negative": ({"t": -1.0}, ValueError, "finite time >= 0"),
    "no times": ({"t": []}, ValueError, "t must be"),
    "flat initial": ({"initial": np.zeros(4)}, ValueError, r"x\[:, None\]"),
    "too few": ({"initial": np.zeros((3, 1))}, ValueError, "n = 4"),
    "two coordinates": ({"initial": np.zeros((4, 2))}, ValueError, "1 coordinates"),
    "law of the plane": ({"initial": pk.Gaussian((0, 0), 1.0)}, ValueError, "1 coordinates"),
    "nan": ({"initial": np.full((4, 1), np.nan)}, ValueError, "particle 0 is not finite"),
    "no initial": ({"initial": None}, TypeError, "a law, or an array"),
    "device": ({"device": "abacus"}, ValueError, "cpu"),
    "device without numbers": ({"device": "meta"}, ValueError, "cpu"),
    "dtype": ({"dtype": "int32"}, ValueError, "float32 or float64"),
    "dtype nonsense": ({"dtype": "nonsense"}, TypeError, "float32 or float64"),
    "gradient shape": ({"dynamics": pk.Langevin(WrongShape(), 1.0)}, ValueError, "shape"),
    "numpy gradient": ({"dynamics": pk.Langevin(NotTorch(), 1.0)}, TypeError, "ndarray"),
    "value shape": (
        {"dynamics": pk.Langevin(lambda x: torch.cat([x, x], -1), 1.0)},
        ValueError,
        "last axis",
    ),
    "no gradient": ({"dynamics": pk.Langevin(lambda x: 1.0, 1.0)}, TypeError, "differentiate"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_explained(name):
    change, error, message = BAD[name]
    with pytest.raises(error, match=message):
        pk.simulate(**{**GOOD, **change})


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), "hot", None])
def test_beta_must_be_positive(beta):
    kind = ValueError if isinstance(beta, float) else TypeError
    with pytest.raises(kind, match=r"beta must be .*an inverse temperature"):
        pk.Langevin(DoubleWell(), beta)


def test_parts_of_a_dynamics_have_one_dimension():
    mixed = pk.ControlledLangevin(DoubleWell(dim=2), 1.0, Sliding())
    with pytest.raises(ValueError, match="one dimension"):
        pk.simulate(mixed, np.zeros((4, 2)), n=4, t=0.1, dt=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_means_every_number(dtype):
    """Also where the numbers are so large that their sum is not."""
    large = torch.full((3, 5), torch.finfo(dtype).max, dtype=dtype)
    assert guards.all_finite(large) and not large.sum().isfinite()
    for bad in ([float("nan")], [float("inf")], [float("inf"), -float("inf")]):
        x = torch.zeros(3, 5, dtype=dtype)
        x[1, : len(bad)] = torch.tensor(bad, dtype=dtype)
        assert not guards.all_finite(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "dynamics, dim",
    [
        (pk.Langevin(Rippled(3), 4.0), 3),
        (pk.Langevin(SixHumpCamel(), 4.0), 2),
        (pk.InteractingLangevin(DoubleWell(2), 4.0, pk.CurieWeiss(3.0)), 2),
        (pk.InteractingLangevin(DoubleWell(), 4.0, pk.PairPotential(GaussianWell(2.0, 0.3))), 1),
        (pk.Langevin(pk.potentials.Cosine(1e6), 4.0), 1),  # of which other steps are searched
    ],
    ids=["ripples", "plane", "mean", "pairs", "rough"],
)
def test_curvature_does_not_depend_on_what_is_evaluated_together(dynamics, dim, dtype, monkeypatch):
    x = torch.tensor(np.random.default_rng(3).normal(size=(90, dim)), dtype=dtype)
    with torch.no_grad():
        together = curvature.largest_curvature(dynamics, x, 0.0)
        monkeypatch.setattr(curvature, "_by_formulas", lambda _: False)
        assert curvature.largest_curvature(dynamics, x, 0.0) == pytest.approx(together, rel=1e-5)


class Bowl:
    """x·Ax / 2."""

    def __init__(self, A):
        self.A, self.dim = torch.tensor(A), len(A)

    def __call__(self, x):
        return ((x @ self.A) * x).sum(-1) / 2

    def grad(self, x):
        return x @ self.A


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dim, diagonal, least", [(2, False, 1), (7, True, 1), (7, False, 0.9)])
def test_curvature_is_the_largest_eigenvalue(dim, diagonal, least, seed):
    """Of forms with eigenvalues of both signs: alone it is by chance that less is found."""
    rng = np.random.default_rng(seed)
    signs = rng.normal(size=dim) * 10.0 ** rng.uniform(-3, 3)
    turn = np.eye(dim) if diagonal else np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    A = turn @ np.diag(np.append(np.abs(signs).max() * 1.5, signs[1:])) @ turn.T
    x = torch.tensor(rng.normal(size=(300, dim)))
    with torch.no_grad():
        found = curvature.largest_curvature(pk.Langevin(Bowl(A), 4.0), x, 0.0)
    exact = float(np.linalg.eigvalsh(A).max())
    assert (least - 1e-6) * exact <= found <= (1 + 1e-6) * exact


def test_slopes_by_differences_are_not_taken_together():
    with torch.no_grad():
        sizes = []

        def V(x):
            sizes.append(len(np.asarray(x).reshape(-1, 1)))
            return 0.5 * np.asarray(x)[..., 0] ** 2

        rough = pk.Langevin(pk.potentials.Custom(V), 4.0)
        curvature.largest_curvature(rough, torch.zeros(5, 1, dtype=torch.float64), 0.0)
        alone = max(sizes)
        sizes.clear()
        rough.drift(torch.zeros(1, 5, 1, dtype=torch.float64), 0.0)
        assert alone == max(sizes)
