"""Schemes have the order they state *and* a small constant; error estimates bound true errors."""

import inspect

import numpy as np
import pytest
import scipy.sparse.linalg
from cases_exact import EXACT
from hypothesis import given, settings
from hypothesis import strategies as st

import pdekit as pk
from pdekit import schemes
from pdekit.pde.discrete import fluxes
from pdekit.pde.discrete.fluxes import godunov
from pdekit.pde.discrete.generators import scharfetter_gummel
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.propagator import amplification, propagate
from pdekit.pde.exact import solutions

FLUX = ["p_minus", "p_plus", "term", "bounds"]
WELL = pk.potentials.DoubleWell()
SPIKE = pk.Gaussian((-0.7, 0.2), 0.1)


def slope(errors, steps):
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


@pytest.mark.parametrize("case", EXACT, ids=lambda c: c.name)
def test_order_and_constant_in_space(case):
    errors = [case.error(n) for n in case.cells]
    if case.order == np.inf:
        assert max(errors) < case.constant
        return
    steps = [case.grid(n).spacing.max() for n in case.cells]
    assert slope(errors, steps) == pytest.approx(case.order, abs=0.15)
    assert max(e / h**case.order for e, h in zip(errors, steps, strict=True)) < case.constant


def test_every_scheme_has_a_row_for_every_equation_it_solves():
    """And so has every numerical Hamiltonian: a new one without order and constant fails."""
    public = [getattr(schemes, name) for name in schemes.__all__ if name != "default_scheme"]
    wanted = {(scheme, equation) for scheme in public for equation in scheme.solves}
    assert wanted == {(type(case.scheme), type(case.equation)) for case in EXACT}
    numerical = {f for f in vars(fluxes).values() if is_numerical_hamiltonian(f)}
    assert {f.__name__ for f in numerical} >= {"godunov", "engquist_osher", "lax_friedrichs"}
    assert numerical == {getattr(case.scheme, "flux", godunov) for case in EXACT}


def is_numerical_hamiltonian(thing):
    """Whether it has the signature of one, (p_minus, p_plus, term, bounds), in its own module."""
    mine = inspect.isfunction(thing) and thing.__module__ == fluxes.__name__
    return mine and [*inspect.signature(thing).parameters] == FLUX


# the time error alone: the same generator by Exponential (1-D), which has none
IN_TIME = [
    (pk.FokkerPlanck(WELL, 4.0), pk.Gaussian(-0.6, 0.3), 0.052),
    (pk.BackwardKolmogorov(WELL, 4.0), WELL, 0.03),
    (pk.Heat(2.0), WELL, 0.24),
]


@pytest.mark.parametrize("equation, initial, constant", IN_TIME, ids=lambda v: type(v).__name__)
def test_implicit_is_of_second_order_in_time(equation, initial, constant):
    grid, steps = pk.Grid(-3, 3, 120), np.array([0.02, 0.01, 0.005, 0.0025])
    true = pk.solve(equation, grid, initial, 1.0, schemes.Exponential()).fields[0]
    errors = []
    for dt in steps:
        solution = pk.solve(equation, grid, initial, 1.0, schemes.Implicit(dt))
        if isinstance(equation, pk.FokkerPlanck):
            assert solution.stats["backward_euler_steps"] == 0
            errors.append(grid.integrate(np.abs(solution.fields[0] - true)))
        else:
            errors.append(np.abs(solution.fields[0] - true).max())
    assert slope(errors, steps) == pytest.approx(2, abs=0.15)

    assert max(errors / steps**2) < constant


def unsplit(problem, t):
    matrix = problem.generator().matrix()
    matrix = matrix.T if problem.forward else matrix
    u = scipy.sparse.linalg.expm_multiply(t * matrix.tocsc(), problem.values.ravel())
    return u.reshape(problem.grid.shape)


def distance(u, v, problem):
    """L1 over the mass for densities, maximum over that of the data for functions."""
    if problem.is_density:
        return float(np.abs(u - v).sum() / v.sum())
    return float(np.abs(u - v).max() / np.abs(problem.values).max())


def rugged(x):
    return (x**2).sum(-1) / 2 + 0.3 * np.cos(25 * x).prod(-1)


def tilted(x):
    a, b = x[..., 0], x[..., 1]
    return (a**2 - 1) ** 2 / 4 + b**2 / 2 + 0.3 * a * b


# a spike of 1.2 cells and a ruggedness that a grid four times coarser does not see
SPLIT = [
    ("spike", pk.FokkerPlanck(tilted, 4.0), pk.Gaussian((-0.7, 0.2), 0.1), 0.02),
    ("smooth", pk.FokkerPlanck(tilted, 4.0), pk.Gaussian((-0.7, 0.2), 0.4), 0.5),
    ("rugged", pk.FokkerPlanck(rugged, 4.0), pk.Gaussian((-0.7, 0.2), 0.3), 0.1),
    ("backward", pk.BackwardKolmogorov(tilted, 4.0), rugged, 0.2),
    ("heat", pk.Heat(2.0), rugged, 0.1),
]


@pytest.mark.parametrize("tolerance", [1e-3, 5e-5])
@pytest.mark.parametrize("name, equation, initial, t", SPLIT, ids=[c[0] for c in SPLIT])
def test_split_keeps_its_tolerance_and_knows_its_error(name, equation, initial, t, tolerance):
    problem = Problem(equation, pk.Grid((-3, -3), (3, 3), (72, 72)), initial)
    solution = pk.solve(equation, problem.grid, initial, t, schemes.Split(tolerance))
    error = distance(solution.fields[0], unsplit(problem, t), problem)
    assert error <= tolerance
    assert error <= 1.3 * solution.stats["error_estimate"] <= 1.3 * tolerance


def test_split_is_of_second_order_in_its_steps():
    problem = Problem(
        pk.FokkerPlanck(tilted, 4.0), pk.Grid((-3, -3), (3, 3), (48, 48)), pk.Gaussian((-1, 0), 0.4)
    )
    true, errors, steps = unsplit(problem, 0.5), [], []
    for tolerance in (1e-4, 1e-5, 1e-6, 1e-7):
        s = pk.solve(problem.equation, problem.grid, problem.values, 0.5, schemes.Split(tolerance))
        errors.append(distance(s.fields[0], true, problem))
        steps.append(1 / s.stats["steps"])
    assert slope(errors, steps) == pytest.approx(2, abs=0.3)  # steps are not all of one length


@pytest.mark.parametrize("t", [1e-4, 0.01, 1.0, 100.0])
@pytest.mark.parametrize("equation", [pk.FokkerPlanck, pk.BackwardKolmogorov])
def test_exponential_has_no_error_in_time(equation, t):
    grid = pk.Grid(-3, 3, 90)
    problem = Problem(equation(WELL, 4.0), grid, pk.Gaussian(-0.6, 0.3).pdf)
    matrix = problem.generator().matrix().toarray()
    exponential = scipy.linalg.expm(t * (matrix.T if problem.forward else matrix))
    solution = pk.solve(problem.equation, grid, problem.values, t)
    np.testing.assert_allclose(
        solution.fields[0], exponential @ problem.values, atol=2e-11 * problem.values.max()
    )
    assert solution.stats["error_estimate"] <= 1e-10


@given(st.integers(0, 2**32 - 1), st.floats(-4, 1), st.floats(0, 60), st.booleans())
@settings(max_examples=200)
def test_one_sweep_errs_by_no_more_than_its_bound(seed, magnitude, slope, forward):
    """Random walks of a potential on a slope, data of any roughness, times 1e-4 to 10.

    Against the dense exponential by scaling and squaring.
    """
    noise, t = np.random.default_rng(seed), 10.0**magnitude
    grid = pk.Grid(0, 1, int(noise.integers(10, 60)))
    steps = noise.normal(size=grid.shape) * noise.uniform(0, 2)
    made = scharfetter_gummel(np.cumsum(steps) + slope * grid.axes[0], 1.0, grid)
    u = noise.uniform(size=grid.shape) ** noise.integers(1, 20)
    matrix = made.matrix().toarray()
    true = scipy.linalg.expm(t * (matrix.T if forward else matrix)) @ u
    apart, size = np.abs(propagate(made, u, t, forward) - true), np.abs(u)
    error = apart.sum() / size.sum() if forward else apart.max() / size.max()
    assert error <= 6e-13 * amplification(made, u, forward)


class Drifting:
    """A double well whose tilt swings in time; ``at(t)`` makes it one that moves."""

    dim = 1

    def __call__(self, x):
        return self.at(0.0)(x)

    def at(self, t):
        return lambda x: WELL(x) + np.sin(3 * t) * x[..., 0]


@pytest.mark.parametrize("equation", [pk.FokkerPlanck, pk.BackwardKolmogorov])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-6])
def test_moving_potentials_to_the_tolerance(equation, tolerance):
    grid, t, n = pk.Grid(-3, 3, 60), 1.0, 2000
    initial = pk.Gaussian(-0.8, 0.3).pdf
    if equation is pk.BackwardKolmogorov:
        initial = lambda x: np.tanh(x[..., 0])  # noqa: E731
    problem = Problem(equation(Drifting(), 4.0), grid, initial, until=t)
    u = problem.values
    for k in range(n):  # midpoint rule with dense exponentials of second order, error about 4e-8
        a = problem.generator((k + 0.5) * t / n).matrix().toarray() * (t / n)
        a = a.T if problem.forward else a
        u = np.linalg.solve(np.eye(60) - a / 2 + a @ a / 12, (np.eye(60) + a / 2 + a @ a / 12) @ u)
    scheme = schemes.Exponential(rtol_moving=tolerance)
    solution = pk.solve(problem.equation, grid, initial, t, scheme)
    error = distance(solution.fields[0], u, problem)
    assert error <= tolerance
    assert solution.stats["error_estimate"] <= tolerance


SMOOTH = [
    # f, beta, t, box, cells: all with a couple of cells per width of the integrand or refined
    (WELL, 1.0, 0.5, (-3, 3), 60),
    (WELL, 10.0, 0.3, (-2, 2), 80),
    (WELL, 1000.0, 0.5, (-2, 2), 200),
    (pk.potentials.Rippled(), 20.0, 0.4, (-3, 3), 120),
    (pk.potentials.DoubleWell(2), 5.0, 0.4, (-1.5, 1.5), 30),
    (pk.potentials.SixHumpCamel(), 10.0, 0.1, (-1, 1), 60),
]


@pytest.mark.parametrize("f, beta, t, box, cells", SMOOTH)
def test_cole_hopf_converges_faster_than_any_power(f, beta, t, box, cells):
    grid = pk.Grid((box[0],) * f.dim, (box[1],) * f.dim, cells)
    u = pk.solve(pk.ViscousHJ(beta), grid, f, t, schemes.ColeHopf(extend=True)).fields[0]
    some = tuple(slice(None, None, 7) for _ in range(f.dim))
    np.testing.assert_allclose(
        u[some], solutions.cole_hopf(f, beta, t, grid.centres[some]), atol=1e-10
    )


def wave(x):
    return np.cos(np.pi * x).sum(-1)


@pytest.mark.parametrize("grid", [
    pk.Grid(0, 1, 40), pk.Grid(0, 2, 40, periodic=True), pk.Grid((0, 0), (1, 2), (20, 30)),
    pk.Grid((0, 0), (2, 1), (30, 20), periodic=(True, False)),
])  # fmt: skip
def test_on_the_box_cole_hopf_and_heat_reflect_or_wrap(grid):
    """cos(pi x) is even about 0 and 1 and of period 2, so the whole-space solution is the box's."""
    some = tuple(slice(None, None, 6) for _ in range(grid.dim))
    x = grid.centres[some]
    u = pk.solve(pk.ViscousHJ(5.0), grid, wave, 0.4).fields[0]
    np.testing.assert_allclose(u[some], solutions.cole_hopf(wave, 5.0, 0.4, x), atol=1e-10)
    v = pk.solve(pk.Heat(5.0), grid, wave, 0.4).fields[0]
    np.testing.assert_allclose(v[some], solutions.heat(wave, 5.0, 0.4, x, nodes=40), atol=1e-13)


@pytest.mark.parametrize("cells", [16, 32, 64])
def test_spectral_error_where_the_kernel_is_narrower_than_cells(cells):
    grid, beta = pk.Grid(0, 1, cells), 4.0
    t = beta * grid.spacing[0] ** 2  # a width of one cell
    v = pk.solve(pk.Heat(beta), grid, wave, t).fields[0]
    bound = t * grid.spacing[0] ** 2 * np.pi**4 / (24 * beta)
    true = np.exp(-(np.pi**2) * t / (2 * beta)) * wave(grid.centres)
    assert np.abs(v - true).max() < 1.01 * bound


def test_narrow_kernels_do_not_ring():
    grid = pk.Grid(0, 1, 64)
    step = (grid.centres[:, 0] > 0.5).astype(float)
    for t in (1e-6, 1e-4, 1e-3, 1e-2):
        v = pk.solve(pk.Heat(1.0), grid, step, t).fields[0]
        assert v.min() > -1e-13 and v.max() < 1 + 1e-13
        assert (np.diff(v) > -1e-13).all()
