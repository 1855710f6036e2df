"""Forces, tensor diffusion, readings of the noise, absorbing walls: right laws, monotone."""

import math
from functools import cache

import numpy as np
import pytest
import scipy.linalg
from cases import PAIRS, has_gibbs_state, turning
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import cumulative_simpson
from test_monotone import check

import pdekit as pk
from pdekit import schemes
from pdekit.pde.discrete.drift_diffusion import Coefficients, generator
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.selling import selling
from pdekit.pde.exact import solutions

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
FLAT = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x)
FLAT_PLANE = pk.potentials.Custom(lambda x: 0 * x[..., 0], grad=lambda x: 0 * x, dim=2)
angles = st.floats(0, math.pi)


def tensor(angle, ratio):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag([1.0, 1 / ratio]) @ turn.T


@settings.get_profile("often")
@given(angle=angles, exponent=st.floats(0, 4), size=st.floats(1e-6, 1e6))
def test_selling_decomposes_any_tensor(angle, exponent, size):
    ratio = 10**exponent
    D = size * tensor(angle, ratio)
    offsets, weights = selling(D)
    assert weights.min() >= 0
    rebuilt = np.einsum("k,ki,kj->ij", weights, offsets, offsets)
    np.testing.assert_allclose(rebuilt, D, atol=1e-12 * size * math.sqrt(ratio))
    assert np.abs(offsets).max() <= 1 + math.sqrt(ratio)
    # the three offsets span the lattice: a superbase
    assert abs(round(np.linalg.det(offsets[:2].astype(float)))) == 1


@settings.get_profile("often")
@given(
    seed=st.integers(0, 10_000),
    ratio=st.sampled_from([1.0, 10.0, 100.0]),
    speed=st.sampled_from([0.0, 1.0, 100.0]),
    reading=st.sampled_from([pk.Ito, pk.Stratonovich, pk.HaenggiKlimontovich]),
    periodic=st.tuples(st.booleans(), st.booleans()),
    ends=st.lists(
        st.booleans() | st.floats(1e-9, 1e9).map(pk.PartlyAbsorbing), min_size=4, max_size=4
    ),
)
def test_random_drifts_and_tensors_are_markov(seed, ratio, speed, reading, periodic, ends):
    """Rates >= 0 and rows that sum to what the walls absorb, at any angle, drift and roughness."""
    rng = np.random.default_rng(seed)
    grid = pk.Grid((0.0, 0.0), (1.0, 1.5), (9, 7), periodic)
    D = np.array([tensor(a, ratio) for a in rng.uniform(0, np.pi, 63)]).reshape(9, 7, 2, 2)
    force = speed * rng.normal(size=(9, 7, 2))
    walls = pk.Walls(tuple(ends[:2]), tuple(ends[2:])).per_axis(grid.periodic)
    values = 10 * rng.random((9, 7))
    check(generator(Coefficients(grid, 2.0, values, force, D, reading(1.0), walls)))


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, 1.1, 1.5])
def test_diffusion_at_ratio_100_has_no_negative_density(angle):
    """From a spike: the law of sqrt(2 D / beta) B_t, whose covariance is 2 D t / beta exactly."""
    grid, D = pk.Grid((-1.0, -1.0), (1.0, 1.0), (81, 81)), tensor(angle, 100.0)
    spike = np.zeros(grid.shape)
    spike[40, 40] = 1 / grid.cell_volume
    equation = pk.FokkerPlanck(FLAT_PLANE, 10.0, diffusion=D)
    for scheme in (schemes.Krylov(), schemes.Split(1e-3), schemes.Implicit(0.01)):
        rho = pk.solve(equation, grid, spike, 0.05, scheme).fields[0]
        x = grid.centres
        cov = grid.integrate(
            (rho[..., None, None] * x[..., None] * x[..., None, :]).transpose(2, 3, 0, 1)
        )
        assert rho.min() >= 0
        np.testing.assert_allclose(cov, 2 * D * 0.05 / 10, atol=2e-5)


GENERAL = [
    row for row in PAIRS if isinstance(row[1].equation, pk.FokkerPlanck | pk.BackwardKolmogorov)
    and not has_gibbs_state(row[1])
]  # fmt: skip
WITHIN = {schemes.Split: 3e-4, schemes.Implicit: 3e-3, schemes.Krylov: 1e-8}


@cache
def exactly(name):
    """Start and end of a case by its exponential, which all schemes share."""
    case = next(row[1] for row in GENERAL if row[1].name == name)
    made = Problem(case.equation, case.grid, None).generator().matrix().toarray()
    start = case.initial(case.grid.centres)
    forward = isinstance(case.equation, pk.FokkerPlanck)
    return start, scipy.linalg.expm(0.3 * (made.T if forward else made)) @ start.ravel()


@pytest.mark.parametrize("case, scheme", [r[1:] for r in GENERAL], ids=[r[0] for r in GENERAL])
def test_every_scheme_is_the_exponential_of_the_generator(case, scheme):
    start, true = exactly(case.name)
    forward = isinstance(case.equation, pk.FokkerPlanck)
    solution = pk.solve(case.equation, case.grid, case.initial, 0.3, scheme)
    error = np.abs(solution.fields[0].ravel() - true)
    error = error.sum() / start.sum() if forward else error.max() / np.abs(start).max()
    assert error < WITHIN.get(type(scheme), 1e-9)
    if "error_estimate" in solution.stats and not isinstance(scheme, schemes.Split):
        assert error <= solution.stats["error_estimate"] + 1e-12  # the promise is kept


def driven_state(n, reading=pk.Ito):
    """L1 error of the stationary density where D turns and the force makes exp(-Φ) stationary."""
    beta = 2.0
    grid = pk.Grid((0.0, 0.0), (2 * np.pi, 2 * np.pi), (n, n), periodic=True)

    def phi(x):
        return np.sin(x[..., 0]) + np.cos(x[..., 1] - x[..., 0]) / 2

    def D(x):
        return turning(x, 5.0)

    def flux_free(x, h=1e-5):
        """β^-1 ∇·(D e^-Φ) e^Φ by differences of the functions, and a swirl without divergence."""
        out = np.zeros_like(x)
        for j in range(2):
            step = h * np.eye(2)[j]
            ahead, behind = (
                D(y)[..., j] * np.exp(-phi(y))[..., None] for y in (x + step, x - step)
            )
            out += (ahead - behind) / (2 * h)
        swirl = np.stack([np.cos(x[..., 1]), np.sin(x[..., 0])], -1)
        return (out / beta + 0.3 * swirl) * np.exp(phi(x))[..., None]

    equation = pk.FokkerPlanck(FLAT_PLANE, beta, force=flux_free, diffusion=reading(D))
    made = Problem(equation, grid, None).generator().matrix().T.tolil()
    made[0] = 1.0  # mass in place of the one equation too many
    from scipy.sparse.linalg import spsolve

    rho = spsolve(made.tocsc(), np.eye(1, n * n)[0]).reshape(n, n) / grid.cell_volume
    true = np.exp(-phi(grid.centres))
    return float(grid.integrate(np.abs(rho - true / grid.integrate(true))))


def test_turning_tensors_and_forces_have_the_right_stationary_state():
    """Itô's reading, second order; another reading of the same force has another state."""
    errors = [driven_state(n) for n in (32, 64)]
    assert errors[1] < 6e-3
    assert math.log2(errors[0] / errors[1]) > 1.7
    assert driven_state(64, pk.HaenggiKlimontovich) > 0.05


@pytest.mark.parametrize("reading, power", [
    (pk.Ito, 1.0), (pk.Stratonovich, 0.5), (pk.HaenggiKlimontovich, 0.0),
])  # fmt: skip
@pytest.mark.parametrize("as_tensor", [False, True])
def test_readings_of_the_noise(reading, power, as_tensor):
    """On a line the stationary density is D^-power exp(-beta ∫ V' / D), by quadrature."""
    V, beta, errors = pk.potentials.DoubleWell(), 3.0, []

    def D(x):
        values = 1 + 0.5 * np.sin(x[..., 0])
        return values[..., None, None] if as_tensor else values

    x = np.linspace(-3, 3, 6001)
    d = 1 + 0.5 * np.sin(x)
    height = cumulative_simpson(V.grad(x[:, None])[:, 0] / d, x=x, initial=0)
    density = np.exp(-beta * (height - height.min())) / d**power
    density /= np.trapezoid(density, x)
    for n in (100, 200):
        grid = pk.Grid(-3, 3, n)
        equation = pk.FokkerPlanck(V, beta, diffusion=reading(D))
        rho = pk.solve(equation, grid, pk.Gaussian(0.0, 1.0), 2000.0).fields[0]
        true = np.interp(grid.axes[0], x, density)
        errors.append(grid.integrate(np.abs(rho - true)))
    assert errors[1] < 3e-4
    assert math.log2(errors[0] / errors[1]) > 1.8


@pytest.mark.parametrize("reading, share", [(pk.Stratonovich, 0.5), (pk.HaenggiKlimontovich, 1.0)])
def test_readings_differ_by_a_drift(reading, share):
    """In the plane, for a scalar D: the reading is Itô's with share ∇D / beta as a force."""
    beta, differences = 4.0, []
    for n in (32, 64):
        grid = pk.Grid((-2.0, -2.0), (2.0, 2.0), (n, n))

        def D(x):
            return 1 + 0.3 * np.sin(x[..., 0]) * np.cos(x[..., 1])

        def spurious(x):
            a, b = x[..., 0], x[..., 1]
            slopes = [np.cos(a) * np.cos(b), -np.sin(a) * np.sin(b)]
            return share * 0.3 * np.stack(slopes, -1) / beta

        V, law = pk.potentials.DoubleWell(2), pk.Gaussian((0.2, -0.3), 0.4)
        other = pk.FokkerPlanck(V, beta, diffusion=reading(D))
        same = pk.FokkerPlanck(V, beta, force=spurious, diffusion=D)
        one, two = (pk.solve(e, grid, law, 0.5, schemes.Krylov()).fields[0] for e in (other, same))
        differences.append(grid.integrate(np.abs(one - two)))
    assert differences[0] < 1e-4 and differences[1] < 4e-5


def test_absorbing_walls_in_the_plane():
    """A mode of the heat equation: zero at three walls, flat at the fourth; second order."""
    D, errors = np.diag([1.0, 0.5]), []
    rate = (np.pi**2 + 0.5 * (np.pi / 2) ** 2) / 2.0
    for n in (20, 40):
        grid = pk.Grid((0.0, 0.0), (1.0, 1.0), (n, n))
        walls = pk.Walls(lower=True, upper=(True, False))
        equation = pk.FokkerPlanck(FLAT_PLANE, 2.0, diffusion=D, walls=walls)

        def mode(x):
            return np.sin(np.pi * x[..., 0]) * np.sin(np.pi / 2 * x[..., 1])

        solution = pk.solve(equation, grid, mode, [0.1, 0.2], schemes.Split(1e-6))
        errors.append(abs(solution.stats["survival"][1] / math.exp(-rate * 0.2) - 1))
        np.testing.assert_allclose(
            solution.fields[0] / mode(grid.centres), math.exp(-rate * 0.1), rtol=40 / n**2
        )
    assert errors[1] < 6e-4
    assert errors[0] / errors[1] > 3.7


def test_what_absorbing_walls_take_is_the_expected_survival():
    """<1, rho(t)> of the density is the mean of the backward solution that starts from 1."""
    grid, V = pk.Grid(-2.0, 1.0, 300), pk.potentials.DoubleWell()
    walls = pk.Walls(upper=True)
    forward = pk.FokkerPlanck(V, 4.0, walls=walls)
    backward = pk.BackwardKolmogorov(V, 4.0, walls=walls)
    left = pk.solve(forward, grid, pk.Gaussian(-1.0, 0.1), [1.0, 30.0])
    alive = pk.solve(backward, grid, lambda x: np.ones(x.shape[:-1]), [1.0, 30.0])
    start = pk.Gaussian(-1.0, 0.1).density(grid)
    expected = grid.integrate(alive.fields * start) / grid.integrate(start)
    np.testing.assert_allclose(left.stats["survival"], expected, rtol=1e-9)
    assert left.stats["survival"][1] < 0.2
    assert "mass_drift" not in left.stats


def test_the_mean_of_a_driven_density_is_exact():
    """A centred force adds no numerical diffusion: E X' = E b(X) holds on any grid for linear b."""
    A = np.array([[2.0, 1.0], [-0.5, 1.0]])
    grid = pk.Grid((-5.0, -5.0), (5.0, 5.0), (64, 64))
    equation = pk.FokkerPlanck(FLAT_PLANE, 1.0, force=lambda x: -x @ A.T)
    law = pk.Gaussian((1.0, -1.0), 0.7)
    rho = pk.solve(equation, grid, law, 0.5, schemes.Krylov()).fields[0]
    mean = grid.integrate(np.moveaxis(rho[..., None] * grid.centres, -1, 0))
    np.testing.assert_allclose(mean, scipy.linalg.expm(-0.5 * A) @ [1.0, -1.0], atol=1e-6)


def test_moments_of_a_rotating_quadratic():
    """ou2d.nonsym.b4 from a narrow law: mean to 1e-4, covariance to 1.5e-3 on 256 x 256."""
    A = np.array([[2.0, 1.0], [-0.5, 1.0]])
    law, errors = pk.Gaussian((1.0, -1.0), 0.3), []
    flow = scipy.linalg.expm(-0.5 * A)
    final = scipy.linalg.solve_continuous_lyapunov(A, np.eye(2) / 2)
    cov = final + flow @ (0.09 * np.eye(2) - final) @ flow.T
    for n in (128, 256):
        grid = pk.Grid((-5.0, -5.0), (5.0, 5.0), (n, n))
        equation = pk.FokkerPlanck(FLAT_PLANE, 4.0, force=lambda x: -x @ A.T)
        rho = pk.solve(equation, grid, law, 0.5).fields[0] * grid.cell_volume
        mean = np.einsum("xy,xyi->i", rho, grid.centres)
        away = grid.centres - mean
        errors.append(np.abs(np.einsum("xy,xyi,xyj->ij", rho, away, away) - cov).max())
        assert np.abs(mean - flow @ [1.0, -1.0]).max() < 1e-5
    assert errors[1] < 4e-4
    assert errors[0] / errors[1] > 3.8


def test_currents_are_those_of_the_fluxes():
    """J of a known density: (−∇V + F) rho − beta^-1 ∇·(D rho), second order inside."""
    beta, errors = 3.0, []
    A = np.array([[0.3, -1.0], [1.0, 0.2]])
    D = np.array([[1.0, 0.4], [0.4, 0.6]])
    for n in (40, 80):
        grid = pk.Grid((-3.0, -3.0), (3.0, 3.0), (n, n))
        x = grid.centres
        equation = pk.FokkerPlanck(pk.potentials.Quadratic(dim=2), beta, lambda x: x @ A.T, D)
        rho = solutions.gaussian((0.2, -0.1), np.array([[0.5, 0.1], [0.1, 0.4]]), x)
        slope = -np.linalg.solve([[0.5, 0.1], [0.1, 0.4]], (x - [0.2, -0.1])[..., None])[..., 0]
        true = (x @ A.T - x - slope @ D / beta) * rho[..., None]
        J = Problem(equation, grid, None).generator().current(rho)
        errors.append(np.abs(J - true).max())
    assert errors[1] < 3e-3
    assert errors[0] / errors[1] > 3.5
