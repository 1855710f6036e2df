"""The fused kernel is the plain loop, to the bit, and does not depend on how it is cut up."""

import signal
import subprocess
import sys
import threading
from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit.particles import (
    Displacement,
    ExponentialAverage,
    FreeDisplacement,
    LastIterate,
    Scoping,
    ensemble,
    fused,
)
from pdekit.particles.dynamics.diffusion import fold
from pdekit.particles.integrators import (
    EulerMaruyama,
    LeimkuhlerMatthews,
    Step,
    StochasticHeun,
    TamedEuler,
)
from pdekit.particles.kernels import drift
from pdekit.particles.noise import StepNoise
from pdekit.particles.run.ranks import SharedMean
from pdekit.potentials import (
    Combinable,
    Custom,
    DoubleWell,
    Evolving,
    Kernel,
    Linear,
    MullerBrown,
    Quadratic,
    Rippled,
    Rough,
    SixHumpCamel,
    Tabulated,
)
from pdekit.potentials.exponential import exponential, exponential_32, exponential_64
from pdekit.potentials.sine import down_rippled, sine_cosine_32, sine_cosine_64

# boxes with a seam where the potential jumps: of particles both forms say the same
pytestmark = [
    pytest.mark.filterwarnings("ignore:the potential of .* is not periodic"),
    pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning"),  # starts beyond the walls too
]

X = np.linspace(-2.0, 2.5, 61)
T = np.array([0.1, 0.2, 0.5, 0.9])
SLICE = Tabulated(X, np.cos(3 * X) + X**2)
MOVING = Evolving(T, X, [(1 + t) * np.cos(3 * X - t) + X**2 for t in T])
STANDING = Evolving([0.3], X[:40], [X[:40] ** 2])

EM, LM, HEUN = EulerMaruyama(), LeimkuhlerMatthews(), StochasticHeun()
INTEGRATORS = {"euler": EM, "matthews": LM, "heun": HEUN, "tamed": TamedEuler()}
# the walls are hit often, also by the points at which slopes are taken
WALLS = {
    "none": None,
    "walls": pk.Grid(-0.9, 1.1, 8),
    "periodic": pk.Grid(-0.9, 1.1, 8, periodic=True),
}
POTENTIALS = {
    "quadratic": (Quadratic(1.7),),
    "well": (DoubleWell(),),
    "rippled": (Rippled(),),
    "rough": (Rough(1, 0.5),),
    "slice": (SLICE,),
    "moving": (MOVING,),
    "one time": (STANDING,),
    "sum": (DoubleWell() + SLICE + Quadratic(0.3),),
    "well and moving": (DoubleWell(), MOVING),
    "sum and slice": (Quadratic((0.5,)) + DoubleWell(), SLICE),
    "slice and moving": (SLICE, MOVING),
    "two slices that move": (MOVING, STANDING),
}


def dynamics(potentials, integrator=LM, box=None, beta=1.5):
    if len(potentials) == 1:
        return pk.Langevin(potentials[0], beta, integrator=integrator, box=box)
    return pk.ControlledLangevin(potentials[0], beta, potentials[1], integrator, box)


def moved(moving, n=333, **more):
    """From beyond the samples to the middle; 101 steps of two lengths, past all stored times.

    In the plane along the valley of Müller and Brown, in space on its diagonal.
    """
    ends = {1: (-2.6, 2.9), 2: ((-1.0, 1.3), (0.9, -0.2)), 3: (-1.3, 1.2)}
    start = np.linspace(*ends[moving.dim or 1], n).reshape(n, -1) * np.ones(moving.dim or 1)
    settings = {"n": n, "t": [0.3, 1.005], "dt": 0.01, "seed": 11, **more}
    return pk.simulate(moving, start, **settings).x.values


def plainly(moving, monkeypatch, **more):
    with monkeypatch.context() as patch:
        patch.setattr(ensemble, "fused", lambda dynamics, x: None)
        return moved(moving, **more)


def is_fused(moving, dtype=torch.float64):
    return fused.fused(moving, torch.zeros(1, 64, moving.dim or 1, dtype=dtype)) is not None


# what is left after 101 steps of a sine that errs by a unit in the last place
SINES = {"float32": 2e-3, "float64": 1e-12}


@pytest.mark.filterwarnings(r"ignore:dt \* \|drift\|")  # of tamed steps
@pytest.mark.parametrize("dtype", SINES)
@pytest.mark.parametrize("walls", WALLS)
@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("name", POTENTIALS)
def test_fused_is_plain(name, integrator, walls, dtype, monkeypatch):
    """The same bits after 101 steps, the sine of ``Rippled`` apart."""
    moving = dynamics(POTENTIALS[name], INTEGRATORS[integrator], WALLS[walls])
    assert is_fused(moving, getattr(torch, dtype))
    fast = moved(moving, runs=2, dtype=dtype)
    plain = plainly(moving, monkeypatch, runs=2, dtype=dtype)
    assert fast.dtype == plain.dtype == dtype
    if name in ("rippled", "rough"):
        assert np.abs(fast - plain).max() < SINES[dtype]
    else:
        assert np.array_equal(fast, plain)


class Knot(Combinable):
    """V(x, y, z) = (x²y² + y²z² + z²x² + |x|²) / 2, a function of the whole point in space."""

    dim = 3

    def __call__(self, x):
        a, b, c = (x[..., k] ** 2 for k in range(3))
        return (a * b + b * c + c * a + a + b + c) / 2

    def grad(self, x):
        x, y, z = (x[..., k] for k in range(3))
        a, b, c = x * x, y * y, z * z
        return torch.stack([x * (b + c + 1), y * (c + a + 1), z * (a + b + 1)], -1)

    @property
    def kernel(self):
        return Kernel(down_knot)


def down_knot(points, down, m, _numbers, _rows):
    one = type(points[0])(1)
    for j in range(0, m, 3):
        x, y, z = points[j], points[j + 1], points[j + 2]
        a, b, c = x * x, y * y, z * z
        down[j] -= x * (b + c + one)
        down[j + 1] -= y * (c + a + one)
        down[j + 2] -= z * (a + b + one)


class Dip(Combinable):
    """V(x, y) = -exp(-x² - 2y²) + (x² + y²) / 4, outside of the package."""

    dim = 2

    def __call__(self, z):
        x, y = z[..., 0], z[..., 1]
        return (x * x + y * y) / 4 - torch.exp(-(x * x + 2 * y * y))

    def grad(self, z):
        x, y = z[..., 0], z[..., 1]
        e = torch.exp(-(x * x + 2 * y * y))
        return torch.stack([x * (2 * e + 0.5), y * (4 * e + 0.5)], -1)

    @property
    def kernel(self):
        return Kernel(down_dip, (2.0, 4.0, 0.5))


def down_dip(points, down, m, numbers, _rows):
    two, four, half = numbers[0], numbers[1], numbers[2]
    for j in range(0, m, 2):
        x, y = points[j], points[j + 1]
        e = exponential(-(x * x + two * y * y))
        down[j] -= x * (two * e + half)
        down[j + 1] -= y * (four * e + half)


ASIDE = 0.7 * SixHumpCamel().shifted((0.3, 0.1))
OF_POINTS = {
    "camel": (SixHumpCamel(),),
    "aside": (ASIDE,),
    "with wells": (DoubleWell(2) + ASIDE + 0.2 * SixHumpCamel(),),
    "and a control": (SixHumpCamel(), ASIDE),
    "tilted": (SixHumpCamel() + Quadratic((0.5, 1.5)) + Linear((0.3, -0.2)),),
    "Müller-Brown": (0.01 * MullerBrown(),),
    "dip": (Dip(),),
    "space": (Knot(),),
    "wells in space": (Knot() + 0.4 * DoubleWell(3).shifted((0.2, 0.0, -0.1)),),
}
BOXES = {
    "none": None,
    "walls": pk.Grid((-0.9, -0.1), (0.8, 1.3), 8),
    "periodic": pk.Grid((-0.9, -0.1), (0.8, 1.3), 8, periodic=(False, True)),
}
IN_BOXES = [(n, b) for n, (V, *_) in OF_POINTS.items() for b in (BOXES if V.dim == 2 else ["none"])]


@pytest.mark.parametrize("dtype", SINES)
@pytest.mark.parametrize("integrator", sorted(INTEGRATORS.keys() - {"tamed"}))
@pytest.mark.parametrize(("name", "walls"), IN_BOXES)
def test_fused_is_plain_for_functions_of_points(name, integrator, walls, dtype, monkeypatch):
    """The same bits after 101 steps, the exponential apart."""
    moving = dynamics(OF_POINTS[name], INTEGRATORS[integrator], BOXES[walls])
    assert is_fused(moving, getattr(torch, dtype))
    fast = moved(moving, 501, runs=2, dtype=dtype)
    plain = plainly(moving, monkeypatch, n=501, runs=2, dtype=dtype)
    assert fast.dtype == plain.dtype == dtype
    if name in ("Müller-Brown", "dip"):
        assert np.abs(fast - plain).max() < SINES[dtype]
    else:
        assert np.array_equal(fast, plain)


@pytest.mark.parametrize("dtype", SINES)
def test_fused_is_plain_for_points_that_fill_chunks(dtype, monkeypatch):
    """More than 4,096 points of a spline, where the plain loop has a kernel of its own."""
    moving, short = dynamics((SLICE,)), {"n": 5000, "t": 0.1, "dtype": dtype}
    assert np.array_equal(moved(moving, **short), plainly(moving, monkeypatch, **short))


def test_fused_is_plain_where_steps_and_stored_times_coincide(monkeypatch):
    """Then the weight stays 0 while the stored time changes."""
    eighths = np.arange(9) / 8
    moving = dynamics((Evolving(eighths, X, [(1 + t) * X**2 for t in eighths]),), HEUN)
    grid = {"t": 1.25, "dt": 0.125}
    assert np.array_equal(moved(moving, **grid), plainly(moving, monkeypatch, **grid))


def test_fused_is_plain_for_a_long_time(monkeypatch):
    moving, long = dynamics((DoubleWell(), MOVING), HEUN), {"t": [1.0, 10.0], "n": 64}
    assert np.array_equal(moved(moving, **long), plainly(moving, monkeypatch, **long))


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_fused_is_plain_without_noise(integrator, monkeypatch):
    moving = pk.SmoothedDescent(MOVING, integrator=INTEGRATORS[integrator], box=WALLS["walls"])
    assert is_fused(moving)
    assert np.array_equal(moved(moving), plainly(moving, monkeypatch))


@pytest.mark.parametrize("dtype", SINES)
@pytest.mark.parametrize(
    ("name", "walls"),
    [(n, b) for n in ("well", "rippled", "moving", "sum and slice") for b in WALLS]
    + [p for p in IN_BOXES if p[0] in ("with wells", "Müller-Brown", "space")],
)
def test_same_bits_for_every_tile_block_and_number_of_threads(name, walls, dtype, monkeypatch):
    """1603 particles are no multiple of tile or chunk; a block of steps ends within an interval."""
    V = {**POTENTIALS, **OF_POINTS}[name]
    box = (WALLS if V[0].dim == 1 else BOXES)[walls]
    moving = dynamics(V, HEUN if name == "moving" else LM, box)
    settings = {"n": 1603, "t": [0.3, 0.4], "dtype": dtype}
    whole = moved(moving, **settings)
    assert np.array_equal(moved(moving, runs=3, **settings)[:, 0], whole)
    threads = torch.get_num_threads()
    for tile, block, workers in ((64, 7, 2), (640, 50, 1), (320, 128, 3)):
        monkeypatch.setattr(ensemble, "_TILE_CPU", tile)
        monkeypatch.setattr(ensemble, "_CHECK_EVERY", block)
        try:
            torch.set_num_threads(workers)
            assert np.array_equal(moved(moving, **settings), whole)
        finally:
            torch.set_num_threads(threads)


def test_far_sines_are_those_of_the_library():
    """Neighbours in a chunk on both sides of the limit do not matter to each other."""
    x, numbers = np.array([2e6, 0.3, 3e4, -2e5, 1e15]), np.array([5.0, 3.0, 3.0])
    b, alone = np.zeros(5), np.zeros(1)
    down = drift.compiled_slope(down_rippled, x.dtype, False).ctypes

    def call(x, b):
        places = [a.ctypes.data_as(down.argtypes[0]) for a in (x, b, numbers)]
        down(*places[:2], len(x), places[2], places[2])

    call(x, b)
    assert np.allclose(-b, x / 5 - 3 * np.sin(3 * x), rtol=3e-16, atol=0)
    call(x[1:2], alone)
    assert alone[0] == b[1]


def test_the_sine_is_the_sine():
    """And the cosine: to 1.6 units in the last place against 64 bits, also beside their zeros."""
    rng = np.random.default_rng(5)
    zeros = np.pi / 2 * np.arange(-40, 40)
    for v in (*rng.uniform(-60, 60, 400), *zeros, *np.nextafter(zeros, 9.0), 1e-300, 0.0, 2.9e5):
        for found, exact in zip(sine_cosine_64(v), (np.sin, np.cos), strict=True):
            expected = exact(np.longdouble(v))
            assert abs(found - expected) <= 1.6 * np.spacing(abs(float(expected)))


@pytest.mark.parametrize(
    ("compiled", "kind", "ends"),
    [(exponential_64, "d", (-708, 709)), (exponential_32, "f", (-87, 88))],
)
def test_the_exponential_is_the_exponential(compiled, kind, ends):
    """To 2 units in the last place; beyond the least one it stays there, beyond the largest not."""
    v = np.concatenate([np.linspace(*ends, 5001), np.linspace(-2, 2, 5001), [1e-9, 0.0]])
    v = v.astype(kind)
    found, exact = np.array([compiled(x) for x in v]), np.exp(v.astype(np.longdouble))
    assert np.abs(found / exact - 1).max() < np.finfo(kind).eps
    least, most, nothing = (compiled(v.dtype.type(x)) for x in (-np.inf, np.inf, np.nan))
    assert 0 < least < 1.01 * np.finfo(kind).tiny and most == np.inf and np.isnan(nothing)


def test_the_sine_in_single_precision_is_the_sine():
    """To 2 units in the last place of 1, the pieces of pi/2 leaving 1e-7 near its multiples."""
    v = np.random.default_rng(5).uniform(-1e4, 1e4, 20_000).astype(np.float32)
    v[:2000] /= 1000
    found = np.array([sine_cosine_32(x) for x in v])
    exact = np.stack([np.sin(v.astype(float)), np.cos(v.astype(float))], axis=-1)
    assert np.abs(found - exact).max() < 2 * np.finfo(np.float32).eps


class UserDynamics(pk.Langevin):
    def drift(self, x, t):
        return -2 * x


class OwnWell(DoubleWell):
    def grad(self, x):
        return 2 * super().grad(x)


class OwnTerms(MullerBrown):
    wells = MullerBrown.wells[:3]


UNEVEN = Tabulated(np.geomspace(1, 9, 9) - 5, np.arange(9.0) ** 2)
PLAIN = {
    "own drift": UserDynamics(DoubleWell(), 1.0),
    "own potential": dynamics((OwnWell(),)),
    "function": dynamics((lambda x: (x * x).sum(-1),)),
    "custom": dynamics((Custom(lambda x: x[..., 0] ** 2),)),
    "in a sum": dynamics((DoubleWell() + Custom(lambda x: x[..., 0] ** 2),)),
    "uneven samples": dynamics((UNEVEN,)),
    "second is a sum": dynamics((MOVING, DoubleWell() + Quadratic())),
    "own terms": dynamics((OwnTerms(),)),
    "samples in the plane": dynamics((Tabulated((X, X), np.cos(X)[:, None] + X**2),)),
    "matrix": dynamics((Quadratic(((2.0, 0.3), (0.3, 1.0))),)),
    "many coordinates": dynamics((DoubleWell(65),)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_not_known_to_the_letter_is_not_fused(name):
    assert not is_fused(PLAIN[name])


def test_fused_is_in_single_or_double_precision():
    assert not is_fused(dynamics((DoubleWell(),)), dtype=torch.float16)


def test_one_compiled_form_serves_all():
    """Read-only or strided tables would compile the kernel again, for seconds."""
    moved(dynamics((MOVING.at(0.1), MOVING)), t=0.01)
    moved(dynamics((DoubleWell(), MOVING.at(0.15))), t=0.01)
    moved(dynamics((MOVING.reversed().at(0.15),), HEUN, WALLS["walls"]), t=0.01)
    points = [signature[0].dtype.name for signature in drift.advance.signatures]
    assert sorted(points) == sorted(set(points)) and "float64" in points


@pytest.mark.parametrize("made", [DoubleWell, SixHumpCamel, MullerBrown])
def test_another_process_compiles_no_slope_again(made):
    """What is called by its address is found beside its source."""
    drift.compiled_slope(made().kernel.down, np.dtype(float), True)
    code = (
        f"import numpy as np; from pdekit.potentials import {made.__name__} as W;"
        "from pdekit.particles.kernels.drift import compiled_slope as made;"
        "print(made(W().kernel.down, np.dtype(float), True).cache_hits)"
    )
    # the first may have to: processes that write the index of a file at once lose entries of it
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


FAULTS = {
    "noise": ("scale", 1.001),
    "half noise": ("ahead", 1.001),
    "length": ("sizes", 1.001),
}


@pytest.mark.parametrize("walls", ["none", "walls"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_seen(name, walls, monkeypatch):
    """What the comparison with the plain loop is worth: one argument of the kernel, a permille."""
    position = {"sizes": 2, "ahead": 3, "scale": 4}[FAULTS[name][0]]
    real = fused.advance

    def faulty(*arguments):
        changed = list(arguments)
        changed[position] = changed[position] * FAULTS[name][1]
        real(*changed)

    moving = dynamics((DoubleWell(),), LM, WALLS[walls])
    plain = plainly(moving, monkeypatch)
    monkeypatch.setattr(fused, "advance", faulty)
    assert np.abs(moved(moving) - plain).max() > 1e-6


@pytest.mark.parametrize("workers", [1, 2])
def test_a_particle_that_blows_up_is_named_as_in_the_plain_loop(workers, monkeypatch):
    """In tile 2 of 4, in the second block; a later tile blows up sooner but is not named."""
    monkeypatch.setattr(ensemble, "_TILE_CPU", 64)
    monkeypatch.setattr(ensemble, "_CHECK_EVERY", 8)
    start = np.full((250, 1), 0.5)
    start[100], start[200] = 15.2, 40.0
    threads = torch.get_num_threads()
    messages = []
    for plain in (False, True):
        with monkeypatch.context() as patch:
            if plain:
                patch.setattr(ensemble, "fused", lambda dynamics, x: None)
            try:
                torch.set_num_threads(workers)
                with (
                    pytest.warns(pk.particles.StepSizeWarning),
                    pytest.raises(pk.particles.NonFiniteError) as error,
                ):
                    pk.simulate(dynamics((DoubleWell(),)), start, n=250, t=2.0, dt=0.01)
            finally:
                torch.set_num_threads(threads)
            messages.append(str(error.value))
    assert messages[0] == messages[1] and "particle 100 of run 0" in messages[0]


def test_nan_in_a_table_gives_nan_not_a_crash():
    """A spline asked at NaN, in the kernel itself: the slot exists."""
    moving = fused.fused(dynamics((SLICE,)), torch.zeros(1, 64, 1, dtype=torch.float64))
    x = torch.full((1, 64, 1), float("nan"), dtype=torch.float64)
    x[0, 1:] = 0.5
    x[0, 2] = float("inf")
    noise = StepNoise(0, 0, 0, torch.empty_like(x))
    after = moving(x, [Step(0, 0.0, 0.1, 0.1)], noise)
    assert bool(torch.isnan(after[0, 0])) and bool(torch.isfinite(after[0, 3:]).all())


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_stops_all_tiles(workers, monkeypatch):
    """As by the keyboard, after the first block of 160,000 in each of 16 tiles."""
    updates = []

    class Bar(ensemble.tqdm):
        def update(self, n=1):
            updates.append(n)
            if len(updates) == 1:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    monkeypatch.setattr(ensemble, "_TILE_CPU", 64)
    monkeypatch.setattr(ensemble, "tqdm", Bar)
    threads = torch.get_num_threads()
    # a background job starts with the interrupt ignored, and would run on for hours
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        torch.set_num_threads(workers)
        with pytest.raises(KeyboardInterrupt):
            moved(dynamics((DoubleWell(),)), n=1000, t=1e4, dt=0.005)
    finally:
        torch.set_num_threads(threads)
        signal.signal(signal.SIGINT, before)
    assert len(updates) < 16_000


def test_the_bar_counts_every_particle_step(monkeypatch, capsys):
    monkeypatch.setattr(ensemble, "_TILE_CPU", 64)
    moved(dynamics((DoubleWell(),)), progress=True)
    shown = capsys.readouterr().err
    assert "100%" in shown and "33.6k/33.6k" in shown


@pytest.mark.filterwarnings(r"ignore:dt \* \|drift\|")  # of tamed steps
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_a_point_on_a_wall_keeps_its_bits_beside_one_beyond(integrator, monkeypatch):
    """-0.7 + (0.1 - -0.7) is not 0.1: a wall that folds its own points would move them."""
    tight = pk.Langevin(Quadratic(3.0), 2.0, INTEGRATORS[integrator], pk.Grid(-0.7, 0.1, 8))
    on, beyond = np.full((64, 1), 0.1), np.full((64, 1), 0.1)
    beyond[5] = 7.0
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(ensemble, "fused", lambda dynamics, x: None)
        x, y = (pk.simulate(tight, s, n=64, t=[0, 0.1], dt=0.01).x.values for s in (on, beyond))
        keep = np.arange(64) != 5
        assert np.array_equal(x[:, keep], y[:, keep]) and (x[0] == 0.1).all()


def test_a_point_on_a_wall_is_not_mirrored():
    x = torch.tensor([[0.1], [-0.7], [0.2]], dtype=torch.float64)
    folded, sign = fold(x, pk.Grid(-0.7, 0.1, 8))
    assert folded[:2].tolist() == [[0.1], [-0.7]] and sign.tolist() == [[1.0], [1.0], [-1.0]]


CURIE_WEISS = {
    "well": (pk.potentials.DoubleWell(), LeimkuhlerMatthews(), 1),
    "plane": (pk.potentials.DoubleWell(2), LeimkuhlerMatthews(), 2),
    "space, Euler": (pk.potentials.Quadratic(1.5, 3), EulerMaruyama(), 3),
    "camel": (0.5 * SixHumpCamel() + 0.5 * ASIDE, LeimkuhlerMatthews(), 2),
    "camel, Euler": (SixHumpCamel(), EulerMaruyama(), 2),
    "knot": (Knot(), LeimkuhlerMatthews(), 3),
}


@pytest.mark.parametrize("dtype", SINES)
@pytest.mark.parametrize("n", [2, 7, 501, 9000])
@pytest.mark.parametrize("name", CURIE_WEISS)
def test_curie_weiss_particles_have_the_bits_of_the_plain_loop(name, n, dtype, monkeypatch):
    """Odd numbers of sites, more than a chunk and than a block of the mean, several runs."""
    V, integrator, dim = CURIE_WEISS[name]
    dynamics = pk.InteractingLangevin(V, 4.0, pk.CurieWeiss(0.8), integrator=integrator)

    def run():
        start = pk.Gaussian((0.3,) * dim, 0.4)
        return pk.simulate(
            dynamics, start, n=n, t=[0.03, 0.1], dt=0.01, runs=3, seed=2**63, dtype=dtype
        ).x

    assert fused.fused(dynamics, torch.zeros(1, n, dim, dtype=getattr(torch, dtype))) is not None
    fast = run()
    monkeypatch.setattr(ensemble, "fused", lambda *arguments: None)
    assert np.array_equal(fast, run())


@pytest.mark.parametrize("dtype", SINES)
@pytest.mark.parametrize("integrator", [EM, LM])
def test_curie_weiss_particles_of_muller_and_brown_are_those_of_the_plain_loop(
    integrator, dtype, monkeypatch
):
    """The exponential apart."""
    dynamics = pk.InteractingLangevin(
        0.01 * MullerBrown(), 4.0, pk.CurieWeiss(0.8), integrator=integrator
    )
    assert is_fused(dynamics, getattr(torch, dtype))
    fast = moved(dynamics, 1203, runs=2, dtype=dtype)
    plain = plainly(dynamics, monkeypatch, n=1203, runs=2, dtype=dtype)
    assert np.abs(fast - plain).max() < SINES[dtype]


TWO_SCALES = {
    "position": {},
    "Euler": {"integrator": EulerMaruyama()},
    "displacement": {"fast": Displacement(), "burn_in": 3},
    "heat": {"fast": FreeDisplacement(), "average": ExponentialAverage()},
    "proximal": {"beta": inf, "average": LastIterate(), "integrator": EulerMaruyama()},
    "reset": {"warm_start": False, "gamma": Scoping(0.6, 1.0), "inner_dt": 0.004},
    "reset displacement": {"fast": Displacement(), "warm_start": False},
    "exponential": {"average": ExponentialAverage(0.5), "burn_in": 2},
    "attracted": {"interaction": pk.CurieWeiss(0.8)},
}
LANDSCAPES = {
    "well": DoubleWell(1),
    "space": DoubleWell(3),
    "bowl": Quadratic(1.5, 2),
    "camel": 0.3 * SixHumpCamel() + 0.2 * ASIDE,
    "knot": Knot(),
}


def two_scales(name, potential):
    settings = {
        "beta": 4.0,
        "gamma": 0.5,
        "epsilon": 0.2,
        "inner_steps": 5,
        "integrator": LM,
        **TWO_SCALES[name],
    }
    return pk.TwoScaleLangevin(potential, **settings)


def slowly_moved(dynamics, n, dtype="float64", runs=3):
    start = pk.Gaussian((0.3,) * dynamics.potential.dim, 0.4)
    settings = {"t": [0.06, 0.2], "dt": 0.02, "seed": 2**63, "runs": runs, "dtype": dtype}
    return pk.simulate(dynamics, start, n=n, **settings).x.values


@pytest.mark.parametrize("dtype", SINES)
@pytest.mark.parametrize("landscape", LANDSCAPES)
@pytest.mark.parametrize("name", TWO_SCALES)
def test_two_scales_have_the_bits_of_the_plain_loop(name, landscape, dtype, monkeypatch):
    dynamics, n = two_scales(name, LANDSCAPES[landscape]), 1203
    x = torch.zeros(1, n, LANDSCAPES[landscape].dim, dtype=getattr(torch, dtype))
    assert fused.fused(dynamics, x) is not None
    fast = slowly_moved(dynamics, n, dtype)
    monkeypatch.setattr(ensemble, "fused", lambda *arguments: None)
    assert np.array_equal(fast, slowly_moved(dynamics, n, dtype))


@pytest.mark.filterwarnings(r"ignore:inner_lr \(V")
@pytest.mark.parametrize("gamma", [0.5, Scoping(0.6, 1.0)], ids=["fixed", "scoping"])
def test_entropy_sgd_has_the_bits_of_the_plain_loop(gamma, monkeypatch):
    dynamics = pk.EntropySGD(DoubleWell(2), 4.0, gamma, inner_steps=6)
    assert fused.fused(dynamics, torch.zeros(1, 203, 2)) is not None
    fast = slowly_moved(dynamics, 203)
    monkeypatch.setattr(ensemble, "fused", lambda *arguments: None)
    assert np.array_equal(fast, slowly_moved(dynamics, 203))


@pytest.mark.parametrize("dtype", SINES)
@pytest.mark.parametrize("potential", [Rough(2, 0.3), 0.01 * MullerBrown()])
@pytest.mark.parametrize("name", TWO_SCALES)
def test_two_scales_of_sines_and_exponentials_are_those_of_the_plain_loop(
    name, potential, dtype, monkeypatch
):
    """The sine, the cosine and the exponential apart."""
    dynamics = two_scales(name, potential)
    fast = slowly_moved(dynamics, 203, dtype)
    monkeypatch.setattr(ensemble, "fused", lambda *arguments: None)
    assert np.abs(fast - slowly_moved(dynamics, 203, dtype)).max() < SINES[dtype]


@pytest.mark.parametrize("dtype", SINES)
@pytest.mark.parametrize("landscape", [DoubleWell(3), Knot(), 0.001 * MullerBrown()])
@pytest.mark.parametrize("name", ["position", "displacement", "attracted"])
def test_two_scales_have_the_same_bits_for_every_tile_and_number_of_threads(
    name, landscape, dtype, monkeypatch
):
    dynamics = two_scales(name, landscape)
    whole, threads = slowly_moved(dynamics, 1203, dtype), torch.get_num_threads()
    for tile, block, workers in ((64, 3, 2), (640, 50, 1)):
        monkeypatch.setattr(ensemble, "_TILE_CPU", tile)
        monkeypatch.setattr(ensemble, "_CHECK_EVERY", block)
        try:
            torch.set_num_threads(workers)
            assert np.array_equal(slowly_moved(dynamics, 1203, dtype), whole)
        finally:
            torch.set_num_threads(threads)


class OneRank:
    """In the place of `Ranks`: all particles are here."""

    def __init__(self):
        self.sums = 0

    def total(self, x):
        self.sums += 1
        return x


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [*CURIE_WEISS, "two scales"])
def test_a_mean_shared_with_nobody_is_the_mean(name, dtype):
    """The same bits, one sum a step, and what another rank adds is felt."""
    if name in CURIE_WEISS:
        V, integrator, dim = CURIE_WEISS[name]
        alone = pk.InteractingLangevin(V, 4.0, pk.CurieWeiss(0.8), integrator=integrator)
    else:
        alone, dim = two_scales("attracted", DoubleWell(3)), 3
    n, x = 1203, torch.linspace(-1, 2, 3 * 1216 * dim, dtype=getattr(torch, dtype))
    x = alone.init(x.reshape(3, 1216, dim))
    steps = [Step(k, k * 0.01, (k + 1) * 0.01, 0.01) for k in range(7)]
    results, ranks = [], OneRank()
    shared = [SharedMean(alone.interaction, ranks, m) for m in (n, n + 1)]
    for interaction in (alone.interaction, *shared):
        dynamics = replace(alone, interaction=interaction)
        advance = fused.fused(dynamics, x)
        noise = StepNoise(5, 2, 0, x.new_empty(3, 1216, dim), n)
        results.append(advance(x.clone(), steps, noise)[..., :n, :])
    assert torch.equal(results[0], results[1])
    assert ranks.sums == 2 * len(steps)
    assert not torch.equal(results[0], results[2])


class Pushed(pk.InteractingLangevin):
    def _drift(self, x, t, size, draw):
        return super()._drift(x, t, size, draw) + 1.0


class Jumping(pk.Langevin):
    def positions(self, state, step, noise):
        return super().positions(state, step, noise) + 1.0


@pytest.mark.parametrize("kind", [Pushed, Jumping], ids=lambda kind: kind.__name__)
def test_what_replaces_a_part_of_a_step_is_not_fused(kind):
    """A subclass inherits the fast step only with all that the step is made of."""
    more = (pk.CurieWeiss(1.0),) if kind is Pushed else ()
    assert is_fused(kind.__mro__[1](DoubleWell(), 2.0, *more))
    assert not is_fused(kind(DoubleWell(), 2.0, *more))
