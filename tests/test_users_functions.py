"""Users' functions are what they are taken for: of each point alone, with their own gradient,
Legendre transform and kernel, or an error says where they are not."""

import warnings
from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit.pde.hamiltonians import Custom as Hamiltonian
from pdekit.pde.hamiltonians import Power, Separable
from pdekit.potentials import Cosine, Custom, Linear, Quadratic
from pdekit.potentials.consistency import check_gradient
from pdekit.potentials.protocol import Kernel

LINE, PLANE = pk.Grid(-3, 3, 40), pk.Grid((-3, -3), (3, 3), (12, 14))
START = {1: pk.Gaussian(0.5, 0.5), 2: pk.Gaussian((0.5, 0.5), 0.5)}
OF_OTHERS = {
    "about the mean": lambda x: (x - x.mean(tuple(range(x.ndim - 1)))).__pow__(2).sum(-1),
    "a running sum": lambda x: np.cumsum(x[..., 0], 0) / 100,
    "sorted": lambda x: np.sort(-(x[..., 0] ** 3), axis=0),
    "from the least": lambda x: x[..., 0] ** 2 - (x[..., 0] ** 2).min(),
    "noise": lambda x: np.random.default_rng().normal(size=x.shape[:-1]),
}


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_function_of_the_other_points_is_refused(name: str, dim: int) -> None:
    f, grid = OF_OTHERS[name], (LINE, PLANE)[dim - 1]
    for V in (f, Custom(f, dim=dim) + Quadratic(dim=dim), 2 * Custom(f, dim=dim)):
        with pytest.raises(ValueError, match="potential must be a function of each point alone"):
            pk.solve(pk.FokkerPlanck(V, 2.0), grid, START[dim], 0.01)


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("force", lambda f: pk.solve(
            pk.FokkerPlanck(Quadratic(), 2.0, force=lambda x: f(x)[..., None]), LINE, START[1], 0.1
        )),
        ("diffusion", lambda f: pk.solve(
            pk.FokkerPlanck(Quadratic(), 2.0, diffusion=lambda x: 9 + f(x)), LINE, START[1], 0.1)),
        ("initial function", lambda f: pk.solve(pk.HamiltonJacobi(), LINE, f, 0.1)),
        ("running cost", lambda f: pk.control(
            Quadratic(), 2.0, LINE, START[1], Quadratic(), 0.1, running_cost=f)),
        ("kernel", lambda f: pk.control(
            Quadratic(), 2.0, LINE, START[1], Quadratic(), 0.1, coupling=pk.Nonlocal(f))),
        ("pair potential", lambda f: pk.PairPotential(lambda z: np.cumsum(z[..., 0] ** 2))),
    ],
)  # fmt: skip
def test_so_is_any_other_function_of_points(what: str, call: Any) -> None:
    with pytest.raises(ValueError, match=f"{what} must be a function of each point alone"):
        call(lambda x: np.cumsum(x[..., 0], 0) / 100 + x[..., 0] ** 2)


def test_a_density_divided_by_its_own_sum_is_told_what_to_do() -> None:
    def own(x: Any) -> Any:
        w = np.exp(-(x[..., 0] ** 2))
        return w / w.sum()

    equation = pk.FokkerPlanck(Quadratic(), 2.0)
    with pytest.raises(ValueError, match="divided by a sum, mean or maximum") as told:
        pk.solve(equation, LINE, own, 0.1)
    assert "grid.integrate(f(grid.centres))" in str(told.value)
    w = np.exp(-4 * LINE.centres[..., 0] ** 2)
    mass = float(LINE.integrate(w))
    one, other = (pk.solve(equation, LINE, rho, 0.1).fields
                  for rho in (w / mass, lambda x: np.exp(-4 * x[..., 0] ** 2) / mass))  # fmt: skip
    np.testing.assert_array_equal(one, other)
    assert float(LINE.integrate(one[-1])) == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 50])
@pytest.mark.parametrize("start", [START[1], np.full((1, 1), 0.4)])
def test_particles_at_one_place_show_it_too(start: Any, n: int) -> None:
    V = Custom(lambda x: (x[..., 0] - x.mean()) ** 2)
    start = np.repeat(start, n, 0) if isinstance(start, np.ndarray) else start
    with pytest.raises(ValueError, match="depends on the other points"):
        pk.simulate(pk.Langevin(V, 2.0), start, n, 0.1, 0.01)


WRONG = {
    "twice": (lambda x: x[..., 0] ** 2 / 2, lambda x: 2 * x),
    "one in a hundred": (lambda x: x[..., 0] ** 2 / 2, lambda x: 1.01 * x),
    "down": (lambda x: np.cosh(x[..., 0]), lambda x: -np.sinh(x)),
    "none": (lambda x: 0 * x[..., 0], lambda x: x),
    "far out": (lambda x: x[..., 0] ** 4 / 4, lambda x: np.where(abs(x) < 2, x**3, x)),
    "at one place": (lambda x: x[..., 0] ** 2 / 2, lambda x: x + np.exp(-100 * (x - 1) ** 2)),
    "without ripples": (lambda x: x[..., 0] ** 2 + np.cos(1e3 * x[..., 0]) / 1e3, lambda x: 2 * x),
    "on a pedestal": (lambda x: 1e9 + x[..., 0] ** 2 / 2, lambda x: 2 * x),
    "in single precision": (lambda x: (x[..., 0].astype("f4") ** 4).astype(float), lambda x: x),
}
RIGHT = {
    "a kink": (lambda x: np.abs(x[..., 0]), np.sign),
    "steep": (lambda x: 1e8 * x[..., 0] ** 4, lambda x: 4e8 * x**3),
    "an exponential": (lambda x: np.exp(20 * x[..., 0]), lambda x: 20 * np.exp(20 * x)),
    "tiny": (lambda x: 1e-12 * np.cos(1e6 * x[..., 0]), lambda x: -1e-6 * np.sin(1e6 * x)),
    "rough": (lambda x: x[..., 0] ** 2 / 2 + np.cos(1e9 * x[..., 0]) / 1e9,
              lambda x: x - np.sin(1e9 * x)),
    "lost ripples": (lambda x: 1e6 + x[..., 0] ** 2 / 2 + np.cos(1e9 * x[..., 0]) / 1e9,
                     lambda x: x - np.sin(1e9 * x)),
    "in single precision": (lambda x: (x[..., 0].astype("f4") ** 4 / 4).astype(float),
                            lambda x: x**3),
    "on a pedestal": (lambda x: 1e14 + x[..., 0] ** 2 / 2, lambda x: x),
    "cancelling": (lambda x: ((x[..., 0] + 1e8) - 1e8) ** 2 / 2, lambda x: x),
    "rounded": (lambda x: np.round(x[..., 0] ** 2 / 2, 4), lambda x: x),
    "a jump": (lambda x: x[..., 0] ** 2 + (x[..., 0] > 0.3), lambda x: 2 * x),
    "steps": (lambda x: np.floor(50 * x[..., 0]), lambda x: 0 * x),
    "a pole": (lambda x: -np.log(np.abs(x[..., 0])), lambda x: -1 / x),
    "a wall": (lambda x: 1e6 * np.maximum(np.abs(x[..., 0]) - 2, 0) ** 2,
               lambda x: 2e6 * np.sign(x) * np.maximum(np.abs(x) - 2, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_the_gradient_of_another_function_is_refused(name: str) -> None:
    V = Custom(*WRONG[name])
    with pytest.raises(ValueError, match="must be the gradient of the function"):
        pk.solve(pk.BackwardKolmogorov(V, 1e-9), LINE, Linear(1.0), 1e-9)
    with pytest.raises(ValueError, match="must be the gradient of the function"):
        pk.simulate(pk.Langevin(Custom(*WRONG[name]), 1.0), pk.Uniform(-3, 3), 200, 1e-9, 1e-9)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_is_no_false_alarm(name: str) -> None:
    V = Custom(*RIGHT[name])
    for x in (np.linspace(-3, 3, 401)[:, None], np.linspace(0.9, 0.91, 50)[:, None] + 1e-3):
        check_gradient("grad", V, x)


def test_gradients_in_the_plane_of_kernels_and_of_pair_potentials_too() -> None:
    half = Custom(lambda x: (x**2).sum(-1) / 2, lambda x: x * np.array([1.0, 2.0]), dim=2)
    with pytest.raises(ValueError, match="must be the gradient of the function"):
        pk.solve(pk.FokkerPlanck(half, 2.0), PLANE, START[2], 0.1)
    with pytest.raises(ValueError, match="gradient of the pair potential must be"):
        pk.PairPotential(Custom(lambda z: (z**2).sum(-1) / 2, lambda z: 2 * z))


SQUARE = {"function": lambda p: p[..., 0] ** 2 / 2, "convex": True}
KINK = {"function": lambda p: np.abs(p[..., 0]), "convex": True}
NO_TRANSFORM = {
    "half": SQUARE | {"conjugate": lambda v: v[..., 0] ** 2 / 4},
    "one in a hundred": SQUARE | {"conjugate": lambda v: 1.01 * v[..., 0] ** 2 / 2},
    "higher": SQUARE | {"conjugate": lambda v: v[..., 0] ** 2 / 2 + 0.01},
    "between the slopes of a kink": KINK | {
        "conjugate": lambda v: np.where(abs(v[..., 0]) <= 1, 0.1 * (v[..., 0] ** 2 - 1), np.inf),
        "reach": 1.0},
    "beyond a kink": KINK | {
        "conjugate": lambda v: np.where(abs(v[..., 0]) <= 2, 0.0, np.inf), "reach": 2.0},
    "of too short reach": KINK | {
        "conjugate": lambda v: np.where(abs(v[..., 0]) <= 0.5, 0.0, np.inf), "reach": 0.5},
    "of another shape": SQUARE | {"conjugate": lambda v: v**2 / 2},
    "of none that is convex": {"function": lambda p: np.cos(p[..., 0]), "convex": True,
                               "conjugate": lambda v: v[..., 0] ** 2 / 2},
}  # fmt: skip


def wave(x: Any) -> Any:
    return np.cos(2 * x[..., 0])


@pytest.mark.parametrize("name", NO_TRANSFORM)
def test_a_conjugate_that_is_no_legendre_transform_is_refused(name: str) -> None:
    H = Hamiltonian(**NO_TRANSFORM[name])
    for equation in (pk.HamiltonJacobi(H), pk.Burgers(H)):
        with pytest.raises(ValueError, match=r"conjugate must|convex where it says"):
            pk.solve(equation, LINE, wave, 0.3)
    with pytest.raises(ValueError, match=r"conjugate must|convex where it says"):
        pk.solve(pk.HamiltonJacobi(Separable((H, Power(4)))), PLANE, wave, 0.3)


def test_conjugates_that_are_right_are_taken() -> None:
    def entropy(v: Any) -> Any:
        v = v[..., 0]
        with np.errstate(all="ignore"):
            return np.where(v > 0, v * np.log(v) - v, np.where(v == 0, 0.0, np.inf))

    relativistic = Hamiltonian(
        lambda p: np.sqrt(1 + p[..., 0] ** 2), convex=True, reach=1.0,
        conjugate=lambda v: np.where(
            abs(v[..., 0]) <= 1, -np.sqrt(np.maximum(1 - v[..., 0] ** 2, 0)), np.inf),
    )  # fmt: skip
    for H in (
        Hamiltonian(lambda p: np.exp(p[..., 0]), convex=True, conjugate=entropy),
        Hamiltonian(lambda p: p[..., 0] ** 4 / 4, convex=True,
                    conjugate=lambda v: 0.75 * np.abs(v[..., 0]) ** (4 / 3)),
        relativistic,
    ):  # fmt: skip
        u = pk.solve(pk.HamiltonJacobi(H), LINE, wave, 0.1).fields[0]
        v = pk.solve(pk.HamiltonJacobi(H), LINE, wave, 0.1, pk.schemes.Filtered()).fields[0]
        assert np.abs(u - v)[12:-12].max() < 0.05  # away from walls, where waves come in


@pytest.mark.parametrize(
    ("H", "said"),
    [
        (Hamiltonian(lambda p: p[..., 0] ** 2 - p.mean()), "each point alone"),
        (Hamiltonian(lambda p: p[..., 0] ** 2 / 2, lambda p: 2 * p), "must be the gradient"),
        (Hamiltonian(lambda p: np.cos(p[..., 0]), turns=(1.0,)), "turns of the Hamiltonian must"),
        (Hamiltonian(lambda p: np.sqrt(np.abs(p[..., 0]))), "bounded derivative"),
        (Hamiltonian(lambda p: np.sign(p[..., 0])), "bounded derivative"),
        (Hamiltonian(lambda p: 1 / (p[..., 0] - 0.5)), "bounded derivative"),
        (Hamiltonian(lambda p: np.where(p[..., 0] > 0.5, np.nan, p[..., 0])), "must be finite"),
    ],
)
@pytest.mark.parametrize("scheme", [pk.schemes.Filtered(), pk.schemes.Godunov()])
def test_hamiltonians_that_explicit_schemes_cannot_take(H: Any, said: str, scheme: Any) -> None:
    with pytest.raises(ValueError, match=said):
        pk.solve(pk.HamiltonJacobi(H), LINE, wave, 0.3, scheme)


def test_a_hamiltonian_that_is_level_somewhere_is_quick_and_right() -> None:
    """Every slope of the level piece was taken for an extremum: a thousand times the work."""
    H = Hamiltonian(lambda p: np.maximum(np.abs(p[..., 0]) - 1, 0), lambda p: (
        np.sign(p) * (np.abs(p) > 1)))  # fmt: skip
    (term,) = H.terms(1)
    assert len(term.extrema(-3.0, 3.0)) <= 1
    u = pk.solve(pk.HamiltonJacobi(H), pk.Grid(-3, 3, 200), wave, 0.3, pk.schemes.Godunov())
    # u falls at unit speed where |f'| > 1, at cost |v| for velocities: L(v) = |v|, |v| <= 1
    x, v = u.grid.axes[0], np.linspace(-1, 1, 2001)[:, None]
    exact = (np.cos(2 * (x - 0.3 * v)) + 0.3 * np.abs(v)).min(0)
    inner = np.abs(x) < 2.5
    assert np.abs(u.fields[0] - exact)[inner].mean() < 0.01


RING = pk.Grid(0, 1, 50, periodic=True)


def cliffs(call: Any) -> int:
    """How many warnings of a cliff at a seam it gives."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    return len([w for w in said if "two sides of the seam" in str(w.message)])


def deep_well(x: Any) -> Any:
    """Gibbs' law has e^(-30) at the seam, where it jumps by 2."""
    return 5 * np.cos(2 * np.pi * x[..., 0]) + 2 * x[..., 0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: pk.solve(pk.BackwardKolmogorov(deep_well, 3.0), RING, Cosine(2 * np.pi), 0.01),
        lambda: pk.solve(pk.HamiltonJacobiBellman(deep_well, 3.0), RING, Cosine(2 * np.pi), 0.01),
        lambda: pk.mean_first_passage_time(pk.FokkerPlanck(deep_well, 3.0), RING, (0.7, 0.8)),
        lambda: pk.committor(pk.BackwardKolmogorov(deep_well, 3.0), RING, (0.2, 0.3), (0.7, 0.8)),
        lambda: pk.spectral_gap(pk.FokkerPlanck(deep_well, 3.0), RING),
        lambda: pk.current(pk.FokkerPlanck(deep_well, 3.0), np.ones(50), RING),
    ],
)
def test_a_cliff_above_a_deep_well_is_felt_by_what_rests_on_rare_ways(call: Any) -> None:
    assert cliffs(call) == 1


class Brief:
    """V = x between two times."""

    dim = 1

    def __init__(self, begin: float, end: float) -> None:
        self.begin, self.end = begin, end

    def at(self, t: float) -> Linear:
        return Linear(float(self.begin < t < self.end))


@pytest.mark.parametrize("span", [(0.51, 0.52), (0.333, 0.34), (0.9, 0.91)])
@pytest.mark.filterwarnings("ignore")
def test_a_jump_for_a_hundredth_of_the_time_is_seen(span: tuple[float, float]) -> None:
    V = Brief(*span)
    assert cliffs(lambda: pk.solve(pk.FokkerPlanck(V, 2.0), RING, lambda x: 1 + 0 * x[..., 0], 1.0))
    assert cliffs(lambda: pk.simulate(pk.Langevin(V, 2.0, box=RING), pk.Uniform(0, 1), 9, 1.0, 0.1))


def _wrong_on_the_way(x: Any, b: Any, m: int, numbers: Any, rows: Any) -> None:
    for j in range(m):
        b[j] -= x[j] if x[j] < 1.0 or x[j] > 1.5 else 0.5 * x[j]


class Bowl(Quadratic):
    """x²/2, by a kernel that is wrong from 1 to 1.5 only."""

    def __call__(self, x: Any) -> Any:
        return super().__call__(x)

    def grad(self, x: Any) -> Any:
        return super().grad(x)

    @property
    def kernel(self) -> Any:
        return Kernel(_wrong_on_the_way)


def test_a_kernel_that_is_wrong_between_the_output_times_is_refused() -> None:
    start = np.linspace(3.0, 3.1, 100)[:, None]
    with pytest.raises(ValueError, match=r"kernel of Bowl must have the gradient of grad; at"):
        pk.simulate(pk.Langevin(Bowl(), np.inf), start, 100, 3.0, 0.01)


def test_parts_in_single_precision_are_no_dependence_on_other_points() -> None:
    """A network in float32 beside a term in float64: products of batches round otherwise."""
    rng = np.random.default_rng(0)
    W, w = rng.normal(size=(1, 64)).astype(np.float32), rng.normal(size=64).astype(np.float32)
    V = pk.potentials.Custom(lambda x: np.tanh(x.astype(np.float32) @ W) @ w + x[..., 0] ** 2 / 2)
    pk.solve(pk.FokkerPlanck(V, 2.0), pk.Grid(-9, 9, 600), pk.Gaussian(0.0, 1.0), 0.3)


@pytest.mark.parametrize("shift, height", [(0.0, 3.0), (2.0, 0.0), (2.0, 3.0)])
@pytest.mark.parametrize("periodic", [False, True])
def test_hopf_lax_of_a_hamiltonian_that_is_not_zero_at_zero(shift, height, periodic) -> None:
    """u >= inf f - t H(0): (p - a)²/2 + b shifts the solution of p²/2 by a t, and lowers it."""
    H = pk.hamiltonians.Custom(
        lambda p: (p[..., 0] - shift) ** 2 / 2 + height, lambda p: p - shift, convex=True,
        conjugate=lambda v: v[..., 0] ** 2 / 2 + shift * v[..., 0] - height,
    )  # fmt: skip
    grid = pk.Grid(-np.pi, np.pi, 400, periodic)
    f = lambda p: np.cos(3 * p[..., 0]) + (0 if periodic else p[..., 0] ** 2 / 4)  # noqa: E731
    u = pk.solve(pk.HamiltonJacobi(H), grid, f, 0.5).fields[0]
    of_array = pk.solve(pk.HamiltonJacobi(H), grid, f(grid.centres), 0.5).fields[0]
    assert np.abs(u - of_array).max() < 1e-4 and u.min() < f(grid.centres).min() - 0.5


class WithNames:
    """A potential of one's own whose methods have names that mean something elsewhere."""

    dim = 1

    def __call__(self, x):
        return self.of(x).sum(-1)

    def of(self, x):
        return x * x

    def terms(self, x):
        return x

    def leaves(self, x):
        return x


def test_names_of_methods_of_users_mean_nothing() -> None:
    rho = pk.solve(pk.FokkerPlanck(WithNames(), 2.0), pk.Grid(-5, 5, 60), pk.Gaussian(0, 1), 0.1)
    same = pk.solve(pk.FokkerPlanck(Quadratic(2.0), 2.0), rho.grid, pk.Gaussian(0, 1), 0.1)
    np.testing.assert_allclose(rho.fields, same.fields, rtol=1e-9)
