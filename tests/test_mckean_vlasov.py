"""McKean-Vlasov solutions against other derivations, and a free energy that never rises."""

import json
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import pdekit as pk
from pdekit import schemes
from pdekit.interactions import GaussianWell, Kuramoto, Morse, PowerLaw, SmoothL1
from pdekit.pde.discrete.mean_field import mean_field_functional, pair_field
from pdekit.pde.kernels.implicit_lines import curie_weiss_rows, curie_weiss_steps, euler_lines
from pdekit.pde.references import euler_lines_plain, fitted_plain

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
WELL, START = pk.potentials.DoubleWell(), pk.Gaussian(-1.0, 0.1)
LINE, CIRCLE = pk.Grid(-3, 3, 1000), pk.Grid(0, 2 * np.pi, 60, periodic=True)
PIPE = pk.Grid((-2.0, 0.0), (2.0, 2 * np.pi), (14, 12), periodic=(False, True))
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0])


def direct(interaction: Any, grid: pk.Grid) -> np.ndarray:
    """W(x_i - x_j) h as a matrix; the shortest displacement along a periodic axis."""
    x = grid.centres.reshape(-1, grid.dim)
    z = x[:, None] - x
    for k, periodic in enumerate(grid.periodic):
        length = grid.upper[k] - grid.lower[k]
        if periodic:
            z[..., k] = (z[..., k] + length / 2) % length - length / 2
    return np.asarray(interaction(z)) * grid.cell_volume


def energy(rho: np.ndarray, equation: Any, grid: pk.Grid) -> float:
    """F by a double sum."""
    r = rho.ravel()
    pairs = r @ direct(equation.interaction, grid) @ r / 2
    entropy = np.where(r > 0, r * np.log(np.where(r > 0, r, 1.0)), 0.0).sum()
    V = np.asarray(equation.potential(grid.centres)).ravel()
    return float((V @ r + pairs + entropy / equation.beta) * grid.cell_volume)


KERNELS = [
    pk.CurieWeiss(0.8),
    pk.PairPotential(GaussianWell(1.5, 0.4)),
    pk.PairPotential(Morse()),
    pk.PairPotential(PowerLaw(0.2)),
    pk.PairPotential(SmoothL1(0.7)),
    pk.PairPotential(Kuramoto(1.0)),
]


@pytest.mark.parametrize("interaction", KERNELS, ids=repr)
@pytest.mark.parametrize("cells", [4, 37, 64])
def test_mean_field_is_the_double_sum(interaction: Any, cells: int) -> None:
    rng = np.random.default_rng(cells)
    for grid in (pk.Grid(-2, 3, cells), pk.Grid(-2, 3, cells, periodic=True)):
        if isinstance(interaction, pk.CurieWeiss) and grid.periodic[0]:
            continue
        rho = rng.random(cells)
        true = direct(interaction, grid) @ rho
        np.testing.assert_allclose(pair_field(interaction, grid)(rho), true, atol=1e-13 * 20)


@pytest.mark.parametrize("periodic", [(a, b) for a in (False, True) for b in (False, True)])
def test_mean_field_in_the_plane(periodic: tuple[bool, bool]) -> None:
    grid = pk.Grid((-2, 0), (1, 2 * np.pi), (9, 16), periodic=periodic)
    rho = np.random.default_rng(0).random(grid.shape)
    tilted = pk.PairPotential(lambda z: np.exp(-(z[..., 0] ** 2) - z[..., 0] * z[..., 1] / 9), 2)
    for interaction in (tilted, pk.PairPotential(Kuramoto(1.0, 2))):
        if interaction is tilted and any(periodic):
            continue  # not even round the circle, where half way round has two displacements
        true = (direct(interaction, grid) @ rho.ravel()).reshape(grid.shape)
        np.testing.assert_allclose(pair_field(interaction, grid)(rho), true, atol=1e-12)


@pytest.mark.parametrize("kernel", [k.potential for k in KERNELS[1:]], ids=repr)
def test_gradients_of_the_named_kernels(kernel: Any) -> None:
    """Against central differences, on a line and in the plane, for numpy and torch alike."""
    import torch

    for dim in (1, 2):
        W = type(kernel)(**{**vars(kernel), "dim": dim})
        z = np.random.default_rng(1).normal(size=(50, dim))
        slopes = np.stack([(W(z + e) - W(z - e)) / 2e-6 for e in 1e-6 * np.eye(dim)], -1)
        np.testing.assert_allclose(W.grad(z), slopes, atol=1e-7)
        np.testing.assert_allclose(W.grad(torch.tensor(z)).numpy(), W.grad(z), rtol=1e-12)
        np.testing.assert_allclose(W(-z), W(z), rtol=1e-14)


@pytest.mark.parametrize("seam", [False, True])
@pytest.mark.parametrize("height", [1e-3, 1.0, 300.0])
def test_compiled_steps_are_the_plain_ones(seam: bool, height: float) -> None:
    rng = np.random.default_rng(3)
    U, rho = height * rng.random((3, 25)), rng.random((3, 25))
    out = np.empty_like(rho)
    for dt in (1e-5, 0.1, 1e3):
        euler_lines(U, 2.0, 0.1, dt, seam, rho, out)
        plain = euler_lines_plain(U, 2.0, 0.1, dt, seam, rho)
        np.testing.assert_allclose(out, plain, rtol=1e-9, atol=1e-12)
        assert out.min() > 0
        np.testing.assert_allclose(out.sum(1), rho.sum(1), rtol=1e-13)


def test_curie_weiss_steps_are_those_of_its_field() -> None:
    grid, pull = pk.Grid(-2, 3, 40), pk.CurieWeiss(1.7)
    V, rho = WELL(grid.centres), np.random.default_rng(0).random(40)
    true = rho
    for _ in range(3):
        U = V + direct(pull, grid) @ true
        true = euler_lines_plain(U[None], 2.0, grid.spacing[0], 0.1, False, true[None])[0]
    made = curie_weiss_steps(V, grid.axes[0], 1.7, 2.0, grid.spacing[0], 0.1, 3, rho)
    np.testing.assert_allclose(made, true, rtol=1e-11)


@pytest.mark.parametrize("order", range(2, 8))
@pytest.mark.parametrize("cells, height", [(300, 1.0), (40, 30.0), (5, 1.0)])
def test_rows_of_steps_side_by_side_are_those_one_by_one(
    order: int, cells: int, height: float
) -> None:
    grid = pk.Grid(-3, 3, cells)
    V, rho = height * WELL(grid.centres), np.exp(-5 * (grid.axes[0] + 0.6) ** 2)
    h = grid.spacing[0]
    rows = curie_weiss_rows(V, grid.axes[0], 1.3, 3.0, h, 0.3, order, rho)
    for k, row in enumerate(rows, 1):
        one = curie_weiss_steps(V, grid.axes[0], 1.3, 3.0, h, 0.3 / k, k, rho)
        np.testing.assert_allclose(row, one, rtol=1e-10)


SYSTEMS = [
    (pk.Grid(-2.5, 2.5, 80), WELL, pk.CurieWeiss(1.0)),
    (pk.Grid(-2.5, 2.5, 80), WELL, pk.PairPotential(Morse())),
    (CIRCLE, FLAT, pk.PairPotential(Kuramoto(4.0))),
    (PIPE, lambda x: (x[..., 0] ** 2 - 1) ** 2 / 4, pk.PairPotential(Kuramoto(3.0, 2))),
]


def bump(x: np.ndarray) -> np.ndarray:
    return 0.02 + np.exp(-4 * ((x - 0.6) ** 2).sum(-1))


@pytest.mark.parametrize("grid, V, interaction", SYSTEMS)
@pytest.mark.parametrize("rtol", [1e-4, 1e-7])
def test_tolerance_and_estimate_against_an_integrator_of_scipy(
    grid: pk.Grid, V: Any, interaction: Any, rtol: float
) -> None:
    """The same semi-discrete system with W as a matrix, by LSODA at 1e-11."""
    beta, W, values = 3.0, direct(interaction, grid), np.asarray(V(grid.centres))

    def rate(_: float, rho: np.ndarray) -> np.ndarray:
        U = values + (W @ rho).reshape(grid.shape)
        return fitted_plain(U, beta, grid).forward(rho.reshape(grid.shape)).ravel()

    start = bump(grid.centres)
    start /= grid.integrate(start)
    true = solve_ivp(rate, (0, 1), start.ravel(), "LSODA", [0.2, 1.0], rtol=1e-11, atol=1e-12).y.T
    scheme = schemes.MeanField(rtol, order=5)
    solution = pk.solve(pk.McKeanVlasov(V, beta, interaction), grid, start, [0.2, 1.0], scheme)
    errors = grid.integrate(np.abs(solution.fields - true.reshape(-1, *grid.shape)))
    estimate = solution.stats["error_estimate"]
    assert errors.max() <= estimate + 1e-9 and estimate <= rtol
    assert errors.max() > 1e-3 * estimate - 1e-9  # an estimate, not a bound from far above


def test_kuramoto_against_its_fourier_modes() -> None:
    """r_k' = -k² r_k / beta + k K (r_1 r_{k-1} - r_{-1} r_{k+1}) / 2: no grid at all."""
    K, beta, modes, t = 4.0, 1.0, 40, 1.5

    def rate(_: float, y: np.ndarray) -> np.ndarray:
        r = np.concatenate([[1.0], y[:modes] + 1j * y[modes:], [0.0]])
        k = np.arange(1, modes + 1)
        new = -(k**2) / beta * r[1:-1] + k * K / 2 * (r[1] * r[:-2] - r[1].conj() * r[2:])
        return np.concatenate([new.real, new.imag])

    start = np.zeros(2 * modes)
    start[0], start[modes + 1] = 0.1, 0.05  # 1 + 0.2 cos x - 0.1 sin 2x over 2π
    y = solve_ivp(rate, (0, t), start, "Radau", [t], rtol=1e-10, atol=1e-12).y[:, -1]
    errors = []
    for cells in (40, 80, 160):
        grid = pk.Grid(0, 2 * np.pi, cells, periodic=True)
        x = grid.axes[0]
        k = np.arange(1, modes + 1)[:, None]
        true = (1 + 2 * (y[:modes] @ np.cos(k * x) - y[modes:] @ np.sin(k * x))) / (2 * np.pi)
        rho = (1 + 0.2 * np.cos(x) - 0.1 * np.sin(2 * x)) / (2 * np.pi)
        equation = pk.McKeanVlasov(FLAT, beta, pk.PairPotential(Kuramoto(K)))
        found = pk.solve(equation, grid, rho, t, schemes.MeanField(1e-8)).fields[0]
        errors.append(float(grid.integrate(np.abs(found - true))))
    order = np.polyfit(np.log([4, 2, 1]), np.log(errors), 1)[0]
    assert order == pytest.approx(2, abs=0.15)
    assert errors[2] < 1e-3


def test_linear_moments_of_the_reference() -> None:
    """mv.linear: mean, variance and free energy to 2e-5 on 1,000 cells, of second order."""
    reference = VALUES["mv.linear"]["value"]
    times = [float(t) for t in reference]
    errors = []
    for cells in (250, 500, 1000):
        grid = pk.Grid(-4, 6, cells)
        equation = pk.McKeanVlasov(pk.potentials.Quadratic(), 4.0, pk.CurieWeiss(2.0))
        solution = pk.solve(equation, grid, pk.Gaussian(1.0, sqrt(0.5)), times)
        x = grid.axes[0]
        mean = grid.integrate(x * solution.fields)
        variance = grid.integrate(x**2 * solution.fields) - mean**2
        energies = [mean_field_functional(equation, grid)(rho) for rho in solution.fields]
        np.testing.assert_allclose(solution.stats["energies"], energies, rtol=1e-12)
        found = np.stack([mean, variance, energies])
        true = np.array([[float(e[k]) for e in reference.values()] for k in ("mean", "var", "F")])
        errors.append(np.abs(found - true).max(1))
    assert np.max(errors[-1]) < 2e-5
    assert np.log2(errors[0][1] / errors[1][1]) == pytest.approx(2, abs=0.15)


def test_workload_of_the_mean_field_double_well() -> None:
    """W6: 1,000 cells, t = 10, in L1 to 5e-6 of the same run at rtol = 1e-9, order 9."""
    equation = pk.McKeanVlasov(WELL, 3.0, pk.CurieWeiss(1.0))
    solution = pk.solve(equation, LINE, START, 10.0)
    true = pk.solve(equation, LINE, START, 10.0, schemes.MeanField(1e-9, order=9)).fields
    error = float(LINE.integrate(np.abs(solution.fields - true))[0])
    assert error <= solution.stats["error_estimate"] <= 1e-5 and error <= 5e-6
    assert solution.stats["steps"] < 1300  # what its time is made of


def test_errors_that_an_unstable_state_amplifies_are_seen() -> None:
    """Off the symmetric state by 1e-4 at beta = 4, where R'(0) = 1.35: growth by orders."""
    equation, grid = pk.McKeanVlasov(WELL, 4.0, pk.CurieWeiss(1.0)), pk.Grid(-3, 3, 200)
    V = WELL(grid.centres) + grid.axes[0] ** 2 / 2
    start = np.exp(-4 * V) * (1 + 1e-4 * grid.axes[0])
    start /= grid.integrate(start)
    true = pk.solve(equation, grid, start, 30.0, schemes.MeanField(1e-6)).fields[0]
    solution = pk.solve(equation, grid, start, 30.0, schemes.MeanField(1e-3))
    error = float(grid.integrate(np.abs(solution.fields[0] - true)))
    assert error <= solution.stats["error_estimate"] <= 1e-3
    began = abs(grid.integrate(grid.axes[0] * start))
    assert abs(grid.integrate(grid.axes[0] * true)) > 20 * began


def test_even_data_stay_even() -> None:
    """However long: the symmetric state is unstable, and rounding must not decide its fate."""
    equation = pk.McKeanVlasov(WELL, 6.0, pk.CurieWeiss(1.0))
    grid = pk.Grid(-3, 3, 201)
    solution = pk.solve(equation, grid, pk.Gaussian(0.0, 0.4), [1.0, 300.0])
    assert np.abs(grid.integrate(grid.axes[0] * solution.fields)).max() < 1e-14


def test_a_self_consistent_state_stands_still() -> None:
    equation = pk.McKeanVlasov(WELL, 4.0, pk.PairPotential(GaussianWell(1.0, 0.6)))
    grid = pk.Grid(-3, 3, 200)
    for state in pk.self_consistent_states(equation, grid):
        if state.stable:
            rho = state.density.values
            moved = pk.solve(equation, grid, rho, 50.0).fields[0]
            assert grid.integrate(np.abs(moved - rho)) < 1e-11


def test_a_step_takes_two_real_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most four are allowed; in the plane each is one pass of real lines, one of complex."""
    calls = {"rfft": 0, "irfft": 0}
    for name in calls:
        inner = getattr(scipy.fft, name)

        def counted(*args: Any, name: str = name, inner: Any = inner, **kwargs: Any) -> Any:
            calls[name] += 1
            return inner(*args, **kwargs)

        monkeypatch.setattr(scipy.fft, name, counted)
    grid = pk.Grid((-3, -3), (3, 3), (32, 32))
    equation = pk.McKeanVlasov(
        pk.potentials.DoubleWell(2), 4.0, pk.PairPotential(GaussianWell(1.0, 0.7, 2))
    )
    solution = pk.solve(equation, grid, pk.Gaussian((-0.6, 0.3), 0.4), [0.2, 1.0])
    assert sum(calls.values()) == solution.stats["real_ffts"] <= 2 * solution.stats["steps"]


@settings.get_profile("often")
@given(
    seed=st.integers(0, 10**6),
    where=st.sampled_from(["line", "circle", "plane"]),
    kind=st.sampled_from(["gauss", "morse", "power", "l1", "cosine", "quadratic"]),
    strength=st.floats(-3, 3),
    beta=st.floats(0.3, 20),
)
def test_energy_falls_mass_and_sign_stay(
    seed: int, where: str, kind: str, strength: float, beta: float
) -> None:
    """Random landscapes, kernels of either sign and rough initial data."""
    grid = {
        "line": pk.Grid(-2, 2, 30),
        "circle": pk.Grid(0, 2 * np.pi, 30, periodic=True),
        "plane": pk.Grid((-2, -2), (2, 2), (7, 8)),
    }[where]
    d, rng = grid.dim, np.random.default_rng(seed)
    kernel = {
        "gauss": GaussianWell(strength, 0.5, d),
        "morse": Morse(strength, 1.0, -strength, 0.5, 0.05, d),
        "power": PowerLaw(strength / 8, dim=d),
        "l1": SmoothL1(strength, dim=d),
        "cosine": Kuramoto(strength, d),
        "quadratic": pk.potentials.Quadratic(strength, d),
    }[kind]
    interaction = pk.PairPotential(kernel)
    if kind == "quadratic" and where == "line":
        interaction = pk.CurieWeiss(strength)
    V = 2 * rng.random(grid.shape)
    start = np.where(rng.random(grid.shape) < 0.3, rng.random(grid.shape), 0.0)
    start.flat[seed % start.size] = 1.0
    equation = pk.McKeanVlasov(lambda x: V, beta, interaction)
    times = [1e-3, 0.05, 0.5]
    solution = pk.solve(equation, grid, start, times, schemes.MeanField(1e-2, order=4))
    found = [energy(rho, equation, grid) for rho in (start, *solution.fields)]
    scale = 1 + np.abs(found).max()
    np.testing.assert_allclose(solution.stats["energies"], found, atol=1e-11 * scale)
    assert (np.diff(found) <= 1e-11 * scale).all()
    assert solution.stats["largest_energy_step"] <= 1e-12 * scale
    assert solution.fields.min() > 0
    assert solution.stats["mass_drift"] <= 1e-12


MISTAKES = {
    "odd kernel": (lambda: pk.PairPotential(lambda z: z[..., 0]), ValueError, "must be even"),
    "class": (lambda: pk.McKeanVlasov(WELL, 4, pk.CurieWeiss), TypeError, "interaction must be"),
    "bare function": (lambda: pk.McKeanVlasov(WELL, 4, np.cos), TypeError, "PairPotential"),
    "mean on a circle": (
        lambda: pair_field(pk.CurieWeiss(1.0), CIRCLE), ValueError, "Kuramoto"),
    "singular": (
        lambda: pair_field(pk.PairPotential(lambda z: np.log(np.abs(z[..., 0]))), LINE),
        ValueError, "softened"),
    "dimension": (
        lambda: pair_field(pk.PairPotential(Kuramoto(1.0, 2)), LINE), ValueError, "the grid has 1"),
    "tolerance": (lambda: schemes.MeanField(0.0), ValueError, "rtol must lie"),
    "order": (lambda: schemes.MeanField(order=1), ValueError, "order must be"),
    "width": (lambda: GaussianWell(1.0, 0.0), ValueError, "width must be a finite number > 0"),
    "exponents": (lambda: PowerLaw(1.0, 1.0, 2.0), ValueError, "a must exceed b"),
    "infinite": (lambda: Morse(np.inf), ValueError, "finite"),
}  # fmt: skip


@pytest.mark.parametrize("make, kind, message", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_mistakes_are_named(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()
