"""Defaults and settings that gave a wrong answer, or a message about something else."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pdekit as pk
from pdekit import potentials
from pdekit.particles.noise import LawNoise
from pdekit.particles.run.provenance import torch_settings
from pdekit.potentials import Cosine, Linear, Quadratic, Rippled, Tabulated
from pdekit.potentials.protocol import Kernel, kernels_of

PLANE = pk.Grid((-2, -2), (2, 2), (16, 16))
RING = pk.Grid(0, 1, 50, periodic=True)


# ---- settings of torch ---------------------------------------------------------------------------

SETTINGS: dict[str, tuple[Callable[[Any], None], Any, Any]] = {
    "default_dtype": (torch.set_default_dtype, torch.float64, torch.float32),
    "flush_denormal": (torch.set_flush_denormal, True, False),
    "deterministic_algorithms": (torch.use_deterministic_algorithms, True, False),
    "float32_matmul_precision": (torch.set_float32_matmul_precision, "high", "highest"),
}


@contextmanager
def setting(name: str) -> Iterator[None]:
    put, other, usual = SETTINGS[name]
    put(other)
    try:
        yield
    finally:
        put(usual)


class Made:
    """A potential whose numbers take their type from torch's default."""

    dim = 1

    def grad(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.tensor(0.1).to(x.dtype)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return (x**2).sum(-1) * torch.tensor(0.1).to(x.dtype) / 2


@pytest.mark.parametrize("name", SETTINGS)
def test_a_checkpoint_sees_what_is_set_for_all_of_torch(name: str, tmp_path: Path) -> None:
    saved = pk.Checkpoint(tmp_path / "run.npz")

    def run() -> Any:
        return pk.simulate(
            pk.Langevin(Made(), 1.0), pk.Gaussian(), 32, 0.5, 0.1, device="cpu", checkpoint=saved
        )

    run()
    with setting(name), pytest.raises(ValueError, match=rf"torch.*{name}.* is .* there, .* here"):
        run()
    assert run().stats["resumed"] == 1


def test_and_the_default_device() -> None:
    before = torch_settings()
    with torch.device("meta"):
        assert torch_settings() == {**before, "default_device": torch.device("meta")}


# ---- noise that varies over small lengths --------------------------------------------------------


def _by_torch(length: float) -> Callable[[Any], Any]:
    return lambda x: 1 + 0.5 * torch.sin(x[..., 0] / length) * torch.cos(x[..., -1] / length)


def _by_numpy(length: float) -> Callable[[Any], Any]:
    return lambda x: torch.as_tensor(
        1 + 0.5 * np.sin(x[..., 0].numpy() / length) * np.cos(x[..., -1].numpy() / length)
    )


@pytest.mark.parametrize("made", [_by_torch, _by_numpy])
@pytest.mark.parametrize("length", [1e-9, 1e-6, 1.0, 1e6])
@pytest.mark.parametrize("reading, share", [(pk.Stratonovich, 0.5), (pk.HaenggiKlimontovich, 1.0)])
def test_spurious_drifts_of_tensors_hold_at_any_length(
    made: Any, length: float, reading: Any, share: float
) -> None:
    """∇D, or half of it, for D = 1 + sin(x/l) cos(y/l) / 2 times the identity."""
    x = torch.tensor([[-2.0, 0.1], [0.3, 0.7], [1.0, -3.0]], dtype=torch.float64)
    found = reading(made(length)).correction(length * x) * length
    exact = torch.stack([x[:, 0].cos() * x[:, 1].cos(), -x[:, 0].sin() * x[:, 1].sin()], -1) / 2
    np.testing.assert_allclose(found, share * exact, atol=1e-7)


def test_and_of_matrices_that_are_nearly_singular() -> None:
    """By Stratonovich Σ_jk σ_jk ∂_j σ_ik of σ = (1 + x²) R with R the root of a constant matrix."""
    R = torch.tensor([[1.0, 0.3, 0.0], [0.3, 0.0901, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    x = 1e-6 * torch.tensor([[0.5, -0.2, 0.3], [-2.0, 0.2, 1.0]], dtype=torch.float64)

    def D(x: Any) -> Any:
        return ((1 + (x[..., 0] / 1e-6) ** 2) ** 2)[..., None, None] * (R @ R)

    grown = 1 + (x[:, 0] / 1e-6) ** 2
    exact = (grown * 2 * x[:, 0] / 1e-12)[:, None] * (R @ R)[0]
    np.testing.assert_allclose(pk.Stratonovich(D).correction(x), exact, rtol=1e-6)


def test_particles_follow_the_stationary_law_of_noise_on_a_small_scale() -> None:
    """D = 2 + sin x/l round a circle of 2 pi l, no potential: by Hänggi and Klimontovich uniform.

    The means of sin and cos within five standard errors; without the drift D sin is off by 100.
    """
    length, n = 1e-6, 20_000
    D = pk.HaenggiKlimontovich(lambda x: 2 + torch.sin(x[..., 0] / length))
    flat = Quadratic(0.0)
    start = pk.Uniform(-np.pi * length, np.pi * length)
    x = pk.simulate(pk.MultiplicativeLangevin(flat, 1.0, D), start, n, 2e-12, 4e-15).final.values
    for wave in (np.sin, np.cos):
        assert abs(wave(x / length).mean()) < 5 / (2 * n) ** 0.5


# ---- a formula that is not the gradient ----------------------------------------------------------


def _down_twice(x: Any, b: Any, m: int, numbers: Any, _rows: Any) -> None:
    for j in range(m):
        b[j] -= numbers[0] * x[j]


class Doubted:
    """x²/2 whose compiled formula has another slope."""

    dim = 1

    def __init__(self, slope: float) -> None:
        self.kernel = Kernel(_down_twice, (slope,))

    kernel = Kernel(_down_twice, (1.0,))

    def __call__(self, x: Any) -> Any:
        return (x**2).sum(-1) / 2

    def grad(self, x: Any) -> Any:
        return 1.0 * x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("start", [pk.Gaussian(0.0, 1.0), torch.zeros(8, 1)])
@pytest.mark.parametrize(
    "made",
    [
        lambda V: pk.Langevin(V, 2.0),
        lambda V: pk.Langevin(Quadratic() + V, 2.0, box=pk.Grid(-3, 3, 8)),
        lambda V: pk.InteractingLangevin(V, 2.0, pk.CurieWeiss(1.0)),
        lambda V: pk.TwoScaleLangevin(V, 2.0, gamma=0.1, epsilon=0.1, inner_steps=5),
    ],
)
def test_a_kernel_that_is_not_the_gradient_is_refused(made: Any, start: Any, dtype: str) -> None:
    def run(slope: float) -> Any:
        V = type("Own", (Doubted,), {"kernel": Kernel(_down_twice, (slope,))})(slope)
        return pk.simulate(made(V), start, 8, 0.02, 0.01, dtype=dtype)

    run(1.0)
    for wrong in (-1.0, 1.01):
        with pytest.raises(ValueError, match=r"kernel of Own must have the gradient of grad; at"):
            run(wrong)


# ---- a potential that is none on a circle --------------------------------------------------------


def uneven(x: Any) -> Any:
    return 1 + 0.5 * np.cos(2 * np.pi * x[..., 0])


class Tilting:
    """V = x sin t."""

    dim = 1

    def at(self, t: float) -> Linear:
        return Linear(float(np.sin(t)))


WAVE = Cosine(2 * np.pi)
BROKEN = {
    "tilt": Linear(1.0),
    "washboard": WAVE + Linear(0.5),
    "samples": Tabulated(RING.axes[0], 0.3 * RING.axes[0]),
    "cells only": lambda x: np.arange(50) / 50 if x.shape == (50, 1) else 1 / 0,
    "moving": Tilting(),
    "a view of the points": lambda x: x[..., 0],
}
JOINED = {
    "cosine": WAVE,
    "eight cells a wave": Cosine(12 * np.pi),
    "less than two cells a wave": 3 * Cosine(80 * np.pi),
    "a well far below the seam": Quadratic(200.0).shifted(0.45),
    "smoothed": pk.local_entropy(WAVE, 0.05, 4.0, RING),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("ignore")
def test_an_equation_says_that_it_has_a_cliff_at_the_seam(name: str) -> None:
    V = BROKEN[name]
    calls = [lambda: pk.solve(pk.FokkerPlanck(V, 2.0), RING, uneven, 0.1)]
    if name != "moving":
        calls += [
            lambda: pk.stationary(pk.FokkerPlanck(V, 2.0), RING),
            lambda: pk.spectral_gap(pk.FokkerPlanck(V, 2.0), RING),
            lambda: pk.solve(pk.HamiltonJacobiBellman(V, 2.0), RING, uneven, 0.1),
            lambda: pk.control(V, 2.0, RING, uneven, uneven, 0.1),
            lambda: pk.solve(
                pk.McKeanVlasov(V, 2.0, pk.PairPotential(WAVE)), RING, uneven, 0.1
            ),
        ]  # fmt: skip
    for call in calls:
        with pytest.warns(pk.AccuracyWarning, match=r"periodic where the grid is; it is .* force"):
            call()


@pytest.mark.parametrize("scheme", [None, pk.schemes.Quantiles(50)])
@pytest.mark.parametrize(
    "kernel",
    [pk.FeatureInteraction(lambda x: x), pk.KernelInteraction(lambda x, y: (x * y)[..., 0])],
)
def test_an_equation_says_that_its_kernel_has_a_cliff_at_the_seam(kernel, scheme) -> None:
    with pytest.warns(pk.AccuracyWarning, match="interaction should be periodic where the grid is"):
        pk.solve(pk.McKeanVlasov(WAVE, np.inf, kernel), RING, uneven, 0.1, scheme)


@pytest.mark.filterwarnings("error::pdekit.AccuracyWarning")
def test_a_kernel_of_waves_has_none() -> None:
    def turn(x: Any) -> Any:
        return np.stack([np.cos(2 * np.pi * x[..., 0]), np.sin(2 * np.pi * x[..., 0])], -1)

    for beta in (3.0, np.inf):
        equation = pk.McKeanVlasov(WAVE, beta, pk.FeatureInteraction(turn))
        pk.solve(equation, RING, lambda x: 1 + 0 * x[..., 0], 0.01)


@pytest.mark.parametrize("name", ["tilt", "washboard", "moving"])
def test_particles_say_that_they_feel_no_cliff(name: str) -> None:
    with pytest.warns(pk.AccuracyWarning, match=r"not periodic where its box is; it is .* no box"):
        pk.simulate(pk.Langevin(BROKEN[name], 2.0, box=RING), pk.Uniform(0, 1), 9, 0.1, 0.01)


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
def test_what_is_merely_steep_or_high_at_the_seam_is_no_jump(name: str) -> None:
    V = JOINED[name]
    pk.stationary(pk.FokkerPlanck(V, 2.0), RING)
    pk.simulate(pk.Langevin(V, 2.0, box=RING), pk.Gaussian(0.45, 0.01), 9, 1e-4, 1e-5)


WELL = JOINED["a well far below the seam"]


@pytest.mark.parametrize(("at", "steps"), [(0.97, 1), (0.45, 0)])
@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
def test_a_cliff_matters_where_the_start_is_as_high(at: float, steps: int) -> None:
    """Gibbs' law has e^(-40) there, the start at .97 all its mass."""
    start, beta = pk.Gaussian(at, 0.01), 2.0
    for run in (
        lambda: pk.solve(pk.FokkerPlanck(WELL, beta), RING, start, 1e-4),
        lambda: pk.solve(pk.McKeanVlasov(WELL, beta, pk.PairPotential(WAVE)), RING, start, 1e-4),
        lambda: pk.simulate(pk.Langevin(WELL, beta, box=RING), start, 99, 1e-4, 1e-5),
    ):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", pk.AccuracyWarning)
            run()
        assert len([w for w in said if "two sides of the seam" in str(w.message)]) == steps


class Passing:
    """V = x, for a twentieth of the time."""

    dim = 1

    def at(self, t: float) -> Linear:
        return Linear(float(0.5 < t < 0.55))


@pytest.mark.filterwarnings("ignore:the drift changes within a step")
def test_a_cliff_that_passes_is_seen() -> None:
    with pytest.warns(pk.AccuracyWarning, match="periodic where the grid is"):
        pk.solve(pk.FokkerPlanck(Passing(), 2.0), RING, uneven, 1.0)
    with pytest.warns(pk.AccuracyWarning, match="periodic where its box is"):
        pk.simulate(pk.Langevin(Passing(), 2.0, box=RING), pk.Uniform(0, 1), 9, 1.0, 0.1)


def test_a_seam_in_the_plane_belongs_to_its_axis() -> None:
    grid = pk.Grid((0, 0), (1, 1), (12, 9), periodic=(True, False))
    pk.stationary(pk.FokkerPlanck(Linear((0.0, 1.0)), 2.0), grid)
    with pytest.warns(pk.AccuracyWarning, match=r"it is 0\.5 at x = 0 and 1\.5 at x = 1"):
        pk.stationary(
            pk.FokkerPlanck(Linear((1.0, 0.0)) + (lambda x: 0.5 + 0 * x[..., 0]), 2.0), grid
        )


def test_the_advice_about_a_constant_drive_works() -> None:
    """A force, and no box: the same law, by compare, and the current h/L of a flat ring."""
    flat = Quadratic(0.0)
    equation = pk.FokkerPlanck(flat, 2.0, force=lambda x: 3 + 0 * x)
    np.testing.assert_allclose(pk.current(equation, pk.stationary(equation, RING), RING), 3.0)
    rho = pk.solve(equation, RING, pk.Gaussian(0.5, 0.1), 0.1)
    X = pk.simulate(pk.Langevin(Linear(-3.0), 2.0), pk.Gaussian(0.5, 0.1), 4000, 0.1, 0.1)
    assert pk.compare(rho, X).p_value > 1e-3


# ---- bounds --------------------------------------------------------------------------------------


class Whirled:
    """x²/2 pulled round by a force of size a, at the frequency w."""

    dim = 2

    def __init__(self, w: float, a: float) -> None:
        self.w, self.a = w, a

    def at(self, t: float) -> Any:
        pull = Linear((self.a * np.cos(self.w * t), self.a * np.sin(self.w * t)))
        return Quadratic(1.0, dim=2) + pull


@pytest.mark.parametrize(("w", "a"), [(2513.2741, 300.0), (1e4, 1e3)])
def test_what_moves_too_fast_in_the_plane_ends_with_a_sentence(w: float, a: float) -> None:
    equation, start = pk.FokkerPlanck(Whirled(w, a), 2.0), pk.Gaussian((0.5, 0.0), 0.3)
    with pytest.raises(pk.ConvergenceError, match=r"steps plan .* of 1 only, .* shorter time"):
        pk.solve(equation, PLANE, start, 1.0)


@pytest.mark.parametrize("cells", [40, 57, 150, 600])
@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
def test_the_bound_of_widening_is_above_that_of_the_supremum(cells: int) -> None:
    """sup V'' = 9.2 of x²/10 + cos 3x, which no difference over cells reaches."""
    times = np.array([0.001, 0.01, 0.1])
    found = pk.widening(Rippled(), 20.0, pk.Grid(-3.6, 3.6, cells), times)
    exact = 1 / (1 / 9.2 + times)
    assert (found["bound"].values >= exact).all()
    np.testing.assert_allclose(found["bound"], exact, rtol=3 * (7.2 / cells) ** 2 + 1e-9)


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.97])
@pytest.mark.parametrize("beta", [0.3, 4.0])
def test_a_hilltop_has_a_local_entropy_before_it_falls_too_fast(gamma: float, beta: float) -> None:
    """-x²/2 at γ < 1: -x²/2(1 - γ) + log(1 - γ)/2β; from γ = 1 on there is none."""
    line = pk.Grid(-3, 3, 100)
    x = line.axes[0]
    exact = -(x**2) / 2 / (1 - gamma) + np.log(1 - gamma) / (2 * beta)
    smoothed = pk.local_entropy(-Quadratic(1.0), gamma, beta, line)
    np.testing.assert_allclose(smoothed(line.centres), exact, rtol=1e-10, atol=1e-10)
    with pytest.raises(pk.ConvergenceError, match=r"falls there like .* shorter time"):
        pk.local_entropy(-Quadratic(1.0), 1 + gamma, beta, line)


@pytest.mark.parametrize("dt", [0.1, 0.05, 0.02, 0.01, 0.005])
@pytest.mark.parametrize("cost", [1.0, 10.0, 100.0, 1000.0])
def test_first_order_steps_err_by_a_tenth_or_say_so(cost: float, dt: float) -> None:
    """u = p x²/2 + q with p' = -2p - p², q' = p: p = 2 / ((1 + 2/c) e^{2t} - 1)."""
    line, t = pk.Grid(-5, 5, 200), 0.5
    x, s = line.axes[0], np.linspace(0, t, 20001)
    p = 2 / ((1 + 2 / cost) * np.exp(2 * s) - 1)
    exact = p[-1] * x**2 / 2 + np.trapezoid(p, s)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        equation, scheme = (
            pk.HamiltonJacobiBellman(Quadratic(1.0), 1.0),
            pk.schemes.PolicyIteration(dt, 1),
        )
        u = pk.solve(equation, line, Quadratic(cost), t, scheme).fields[-1]
    inner = np.abs(x) < 4
    assert said or np.abs(u - exact)[inner].max() <= 0.1 * exact[inner].max()


# ---- messages ------------------------------------------------------------------------------------


def test_what_is_wrong_in_a_steady_state_is_named() -> None:
    ones = lambda x: np.ones((*x.shape, 2))  # noqa: E731
    for parts, says in (
        ({"circulation": ones}, r"^circulation must be antisymmetric"),
        ({"circulation": lambda x: 1 / 0}, r"^circulation must take points .* division by zero"),
        ({"diffusion": lambda x: np.ones((*x.shape, 3))}, r"^diffusion at points of shape"),
    ):
        equation = pk.with_steady_state(Quadratic(dim=2), 2.0, **parts)
        with pytest.raises(ValueError, match=says):
            pk.stationary(equation, PLANE)


def test_a_number_with_a_gradient_gets_advice_that_is_python() -> None:
    with pytest.raises(TypeError, match=r"a factor of a potential must be .* pass its \.item\(\)"):
        Quadratic() * torch.tensor(2.0, requires_grad=True)
    with pytest.raises(TypeError, match=r"pass its \.detach\(\)"):
        pk.Gaussian(torch.zeros(2, requires_grad=True), 1.0)


@pytest.mark.parametrize("name", ["normals", "uniforms"])
def test_laws_draw_by_the_names_that_dynamics_have(name: str) -> None:
    law = type("Own", (), {"dim": 1, "sample": lambda self, n, noise: getattr(noise, name)(n, 1)})()
    x = pk.simulate(pk.Langevin(Quadratic(), 1.0), law, 50, 0.0, 0.1).final.values
    noise = LawNoise(0)
    assert np.array_equal(x, getattr(noise, name)(50, 1))
    assert np.array_equal(x, getattr(LawNoise(0), name[:-1])(50, 1))  # as before


@dataclass(frozen=True)
class OwnBowl(potentials.Combinable):
    """|stiffness * x|²/2 by coordinate with a compiled slope of one's own."""

    down: Any
    stiffness: tuple[float, ...] = (1.0,)

    @property
    def dim(self) -> int:
        return len(self.stiffness)

    def __call__(self, x: Any) -> Any:
        return sum(s * x[..., k] ** 2 / 2 for k, s in enumerate(self.stiffness))

    def grad(self, x: Any) -> Any:
        along = (
            torch.tensor(self.stiffness, dtype=x.dtype) if torch.is_tensor(x) else self.stiffness
        )
        return x * along

    @property
    def kernel(self) -> Any:
        return Kernel(self.down)


def _assigns(x, b, m, numbers, rows):  # type: ignore[no-untyped-def]
    for j in range(m):
        b[j] = -x[j]


def _moves_the_points(x, b, m, numbers, rows):  # type: ignore[no-untyped-def]
    for j in range(m):
        b[j] -= x[j]
        x[j] = 0


def _up_the_soft_axis(x, b, m, numbers, rows):  # type: ignore[no-untyped-def]
    for j in range(0, m, 2):
        b[j] -= type(x[0])(3000) * x[j]
        b[j + 1] += x[j + 1]


@pytest.mark.parametrize(
    ("down", "stiffness", "dtype"),
    [
        (_assigns, (1.0,), "float64"),
        (_moves_the_points, (1.0,), "float64"),
        (_up_the_soft_axis, (3000.0, 1.0), "float32"),
    ],
)
def test_kernels_that_only_look_right_alone_are_refused(down, stiffness, dtype):
    """Assigning wipes out terms of a sum before it; a stiff axis hides the sign of a soft one."""
    V = OwnBowl(down, stiffness)
    start = pk.Gaussian((0.5,) * V.dim, 1.0)
    with pytest.raises(ValueError, match="must have the gradient of grad"):
        pk.simulate(pk.Langevin(V, 1.0), start, 100, 1e-3, 1e-5, dtype=dtype)


def _of_two(x, b):  # type: ignore[no-untyped-def]
    b[0] -= x[0]


def _by_numpy(x, b, m, numbers, rows):  # type: ignore[no-untyped-def]
    b[:m] -= np.fft.fft(x[:m])


def _right(x, b, m, numbers, rows):  # type: ignore[no-untyped-def]
    for j in range(m):
        b[j] -= x[j]


def _wrong_far_out(x, b, m, numbers, rows):  # type: ignore[no-untyped-def]
    for j in range(m):
        b[j] -= x[j] if x[j] < 5 else -x[j]


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (Kernel(3), r"the kernel of Own must be Kernel\(down, numbers\), .* got down = 3"),
        (Kernel(_of_two), r"must be Kernel\(down, .* got down = <function _of_two"),
        (_right, r"must be Kernel\(down, .* got the bare function"),
        (Kernel(_right, ("a",)), "numbers of the kernel of Own must be a tuple of numbers"),
        (Kernel(_by_numpy), r"kernel's _by_numpy\(x, b, .* cannot be compiled for float64"),
    ],
)
def test_what_is_no_kernel_is_refused_with_a_sentence(kernel, said):
    V = type("Own", (OwnBowl,), {"kernel": property(lambda self: kernel), "grad": OwnBowl.grad,
                                 "__call__": OwnBowl.__call__, "dim": 1})(None)  # fmt: skip
    with pytest.raises((TypeError, ValueError), match=said):
        pk.simulate(pk.Langevin(V, 1.0), pk.Gaussian(0.0, 1.0), 10, 0.1, 0.01)


def test_another_thing_called_kernel_is_none_of_ours():
    V = type("Own", (OwnBowl,), {"kernel": lambda self, x, y: x * y, "grad": OwnBowl.grad,
                                 "__call__": OwnBowl.__call__, "dim": 1})(None)  # fmt: skip
    assert kernels_of(V) == ()


class _Rising(OwnBowl):
    """x²/2 - t x, which its kernel does not know."""

    def at(self, t: float) -> Any:
        return OwnBowl(_right) + potentials.Linear(-t)

    def __call__(self, x: Any, t: float) -> Any:  # type: ignore[override]
        return self.at(t)(x)

    def grad(self, x: Any, t: float) -> Any:  # type: ignore[override]
        return self.at(t).grad(x)

    @property
    def kernel(self) -> Any:
        return Kernel(self.down)


@pytest.mark.parametrize("late", [True, False])
def test_a_kernel_that_is_right_at_the_start_only_is_refused(late):
    """At later times; and where particles come to. Both are right at t = 0, about the start."""
    V = _Rising(_right) if late else OwnBowl(_wrong_far_out) + potentials.Linear(-8.0)
    start = np.zeros((1000, 1)) + np.linspace(-0.1, 0.1, 1000)[:, None]
    with pytest.raises(ValueError, match=r"kernel of .* must have the gradient of grad; at"):
        pk.simulate(pk.Langevin(V, 100.0), start, 1000, [0.0, 1.5], 0.01)


def test_states_and_branches_on_a_circle_with_a_cliff_warn():
    grid, V = pk.Grid(-np.pi, np.pi, 60, periodic=True), potentials.Linear(0.3)
    pull = pk.PairPotential(0.2 * potentials.Cosine())
    with pytest.warns(pk.AccuracyWarning, match="should be periodic"):
        pk.self_consistent_states(pk.McKeanVlasov(V, 2.0, pull), grid)
    with pytest.warns(pk.AccuracyWarning, match="should be periodic"):
        pk.follow_branch(lambda b: pk.McKeanVlasov(V, b, pull), grid, -1.0, (1.0, 1.2))


def test_particles_that_warm_up_meet_the_cliff():
    """At the start the seam is out of reach."""
    box = pk.Grid(-3, 3, 60, periodic=True)
    V = potentials.Quadratic() + potentials.Linear(1.0)
    warming = pk.AnnealedLangevin(V, lambda t: 30.0 if t < 0.05 else 0.3, box=box)
    with pytest.warns(pk.AccuracyWarning, match="is not periodic where its box is"):
        pk.simulate(warming, pk.Gaussian(-1.0, 0.2), 10, 3.0, 0.01)
