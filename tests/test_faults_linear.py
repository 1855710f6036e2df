"""Known right values of linear equations that default and other schemes have to give."""

import re
import time
import warnings

import numpy as np
import pytest

import pdekit as pk
from pdekit import schemes
from pdekit.pde.discrete import strang
from pdekit.pde.discrete.problem import Problem

nothing = lambda x: 0 * x[..., 0]  # noqa: E731


def ring(n, beta, force, t, scheme=None):
    """The wave 1 + .9 cos 2 pi x advected round a circle of length one, and its exact modes."""
    grid = pk.Grid(0, 1, n, periodic=True)
    start = 1 + 0.9 * np.cos(2 * np.pi * grid.axes[0])
    equation = pk.FokkerPlanck(nothing, beta, force=lambda x: force + 0 * x)
    solution = pk.solve(equation, grid, start, t, scheme)
    generator = Problem(equation, grid, start).generator()
    up, down, k = generator.up[0][0], generator.down[0][0], 2 * np.pi / n
    rate = up * (np.exp(-1j * k) - 1) + down * (np.exp(1j * k) - 1)
    phases = np.exp(2j * np.pi * grid.axes[0] + rate * np.atleast_1d(t)[:, None])
    return solution, 1 + 0.9 * phases.real


RINGS = [(1000, 90.0, 0.05, 1.88, "max"), (400, 10.0, 1.0, 0.0174, "amplitude")]


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
@pytest.mark.parametrize("n, beta, t, right, what", RINGS)
def test_a_wave_goes_round_a_circle_many_times(n, beta, t, right, what):
    solution, true = ring(n, beta, 20.0, t)
    u = solution.fields[0]
    assert (u.max() if what == "max" else np.ptp(u) / 2) == pytest.approx(right, rel=3e-3)
    assert np.abs(u - true[0]).mean() <= 1e-10
    assert 0 <= solution.stats["error_estimate"] <= 1e-10
    assert solution.stats["negative_before_clipping"] > -1e-10


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
def test_a_hundred_output_times_do_not_add_up():
    solution, true = ring(400, 10.0, 20.0, np.linspace(0.01, 1, 100))
    assert np.abs(solution.fields - true).mean(1).max() <= 1e-10
    assert solution.stats["error_estimate"] <= 1e-10


@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
@pytest.mark.parametrize("t", [1e8, 1e30])
@pytest.mark.parametrize("n", [60, 1000])
def test_for_ever_is_the_stationary_state_at_once(n, t):
    begin = time.perf_counter()
    solution, _ = ring(n, 90.0, 20.0, t)
    assert np.abs(solution.fields[0] - 1).max() < 1e-10
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize("scheme", [None, schemes.Implicit(0.05), schemes.Krylov()])
@pytest.mark.parametrize("t", [20.0, 100.0, 300.0])
def test_what_absorbing_walls_leave(t, scheme):
    """exp(-pi^2 t / 2) 4 / pi sin(pi x) of the continuous equation: 1e-43 at t = 20."""
    equation = pk.FokkerPlanck(nothing, 2.0, walls=pk.Walls(True, True))
    solution = pk.solve(equation, pk.Grid(0, 1, 200), np.ones(200), [t / 2, t], scheme)
    first, second = solution.stats["survival"]
    assert 0 <= second <= first <= 1 and np.isfinite(solution.fields).all()
    assert solution.fields.min() >= 0
    if scheme is None and t <= 100:
        assert np.log(second) == pytest.approx(-(np.pi**2) / 2 * t, rel=2e-2)
        shape = solution.fields[-1] / solution.fields[-1].sum()
        true = np.sin(np.pi * solution.grid.axes[0])
        assert np.abs(shape - true / true.sum()).sum() < 1e-6
    if scheme is not None:
        assert second < 1e-8


def test_what_absorbing_walls_leave_in_the_plane():
    equation = pk.FokkerPlanck(nothing, 2.0, walls=pk.Walls(True, True))
    grid = pk.Grid((0, 0), (1, 1), (20, 20))
    for scheme in (schemes.Split(), schemes.Krylov(), schemes.Implicit(0.05)):
        for t in (20.0, 100.0):
            solution = pk.solve(equation, grid, np.ones(grid.shape), [t / 2, t], scheme)
            first, second = solution.stats["survival"]
            assert 0 <= second <= first < 1e-3 and solution.fields.min() >= 0


def test_a_wave_on_the_torus_is_not_forgotten_by_a_coarse_pilot():
    grid = pk.Grid((0, 0), (1, 1), (64, 64), periodic=True)
    start = 1 + 0.9 * np.cos(2 * np.pi * grid.centres[..., 0])
    equation = pk.FokkerPlanck(nothing, 4.0, force=lambda x: 0 * x + np.array([20.0, 0.0]))
    solution = pk.solve(equation, grid, start, 0.5, schemes.Split())
    _, line = ring(64, 4.0, 20.0, 0.5)
    error = np.abs(solution.fields[0] - line[0][:, None]).mean()
    assert error <= solution.stats["error_estimate"] <= 5e-5


def test_a_fast_rotation_in_a_well():
    """Forty radians in a well; against implicit steps that know their own error."""
    grid, turn, t = pk.Grid((-3, -3), (3, 3), (24, 24)), 200.0, 0.2

    def rotation(x):
        return turn * np.stack([-x[..., 1], x[..., 0]], -1)

    equation = pk.FokkerPlanck(pk.potentials.Quadratic(1.0, 2), 4.0, force=rotation)
    start = np.exp(-((grid.centres - [1.0, 0.0]) ** 2).sum(-1) / 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = pk.solve(equation, grid, start, t, schemes.Implicit(t / 8000))
        assert exact.stats["error_estimate"] < 1e-3
        for scheme in (schemes.Krylov(1e-4), schemes.Krylov(), schemes.Split(1e-3)):
            solution = pk.solve(equation, grid, start, t, scheme)
            apart = np.abs(solution.fields - exact.fields).sum() / start.sum()
            stated = solution.stats["error_estimate"]
            assert stated <= (
                scheme.tolerance if isinstance(scheme, schemes.Split) else scheme.rtol
            )
            assert apart <= stated + exact.stats["error_estimate"]


class Drifting:
    """A bowl whose tilt swings; ``at`` makes it one that moves."""

    dim = 2

    def __call__(self, x):
        return (x**2).sum(-1) / 2

    def at(self, t):
        return lambda x: (x**2).sum(-1) / 2 + np.sin(t) * x[..., 0]


@pytest.mark.parametrize("scheme", [schemes.Implicit(0.1), schemes.Krylov()])
@pytest.mark.parametrize("equation", [pk.FokkerPlanck, pk.BackwardKolmogorov])
@pytest.mark.parametrize("dim", [1, 2])
def test_schemes_for_fixed_potentials_refuse_one_that_moves(scheme, equation, dim):
    grid = pk.Grid((-3.0,) * dim, (3.0,) * dim, (12,) * dim)
    with pytest.raises(ValueError, match="takes coefficients that are fixed in time"):
        pk.solve(equation(Drifting(), 2.0), grid, np.ones(grid.shape), 0.1, scheme)
    # what the message advises
    advised = schemes.Exponential() if dim == 1 else schemes.Split()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        pk.solve(equation(Drifting(), 2.0), grid, np.ones(grid.shape), 0.1, advised)


def test_split_counts_its_backward_euler_solves():
    """A spike on few cells, in a step that Radau's method cannot take without losing the sign."""
    equation = pk.FokkerPlanck(pk.potentials.Quadratic(1.0, 2), 1.0)
    grid = pk.Grid((-3, -3), (3, 3), (40, 40))
    spike = np.zeros(grid.shape)
    spike[20, 20] = 1.0
    stepper = strang.Stepper(
        Problem(equation, grid, spike), grid, 5e-5,
        {"radau_solves": 0, "backward_euler_solves": 0, "negative_before_clipping": 0.0},
    )  # fmt: skip
    line = stepper.still[0]
    out = np.empty(grid.shape)
    tau = 0.05
    assert line.apply(spike, tau, strang.RADAU, out) < -stepper.negligible  # the premise
    new = stepper._exponential(line, spike.copy(), tau)
    assert stepper.stats["backward_euler_solves"] == 1 and stepper.stats["radau_solves"] == 0
    assert new.min() >= 0 and new.sum() == pytest.approx(1.0, rel=1e-13)
    assert stepper.clipped > 0  # what the lower order costs is not kept quiet
    solution = pk.solve(equation, grid, spike, 0.01, schemes.Split())
    true = pk.solve(equation, grid, spike, 0.01, schemes.Krylov(1e-9)).fields
    assert np.abs(solution.fields - true).sum() <= solution.stats["error_estimate"] <= 5e-5


def test_steps_that_do_not_get_there_say_so_at_once():
    equation = pk.BackwardKolmogorov(pk.potentials.Quadratic(1.0), 1.0)
    begin = time.perf_counter()
    with pytest.raises(pk.ConvergenceError, match="longer dt, or the default scheme"):
        pk.solve(equation, pk.Grid(-3, 3, 50), np.ones(50), 1e30, schemes.Implicit(1.0))
    pk.solve(equation, pk.Grid(-3, 3, 50), np.ones(50), 1e30)
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, "a", 1.0, 1e-13, True])
def test_tolerances_are_checked(bad):
    for make in (
        schemes.Exponential,
        lambda v: schemes.Exponential(rtol_moving=v),
        schemes.Krylov,
        schemes.Split,
    ):
        with pytest.raises((ValueError, TypeError)):
            make(bad)


def test_krylov_says_what_helps_at_long_times():
    """Rounding of the factors grows with time: a shorter one, at which all is at rest, does."""
    grid = pk.Grid((-3, -3), (3, 3), 12)
    turning = pk.FokkerPlanck(
        lambda x: (x**2).sum(-1) / 2, 5.0, force=lambda x: x[..., ::-1] * [1.0, -1.0]
    )
    with pytest.raises(pk.ConvergenceError, match="no rtol helps") as said:
        pk.solve(turning, grid, np.ones((12, 12)) / 36, 1e20, schemes.Krylov(1e-6))
    time_ = float(re.search(r"time up to (\S+),", str(said.value)).group(1))
    assert time_ > 1e5
    rested = pk.solve(turning, grid, np.ones((12, 12)) / 36, time_, schemes.Krylov(1e-6))
    np.testing.assert_allclose(rested.fields[0], pk.stationary(turning, grid), atol=1e-6)
    with pytest.raises(pk.ConvergenceError, match="raise rtol to") as said:
        pk.solve(turning, grid, np.ones((12, 12)) / 36, 1e10, schemes.Krylov(1e-9))
    loose = float(str(said.value).rsplit(" ", 1)[1])
    pk.solve(turning, grid, np.ones((12, 12)) / 36, 1e10, schemes.Krylov(loose))


class Pulse:
    """A tilt of x²/2 that comes and goes about ``place``; its mean obeys m' = -m - tilt."""

    def __init__(self, place, width, height):
        self.place, self.width, self.height = place, width, height

    def __call__(self, x):
        return self.at(0.0)(x)

    def at(self, t):
        tilt = self.height * np.exp(-0.5 * ((t - self.place) / self.width) ** 2)
        return lambda x: (x**2).sum(-1) / 2 + tilt * x[..., 0]


@pytest.mark.parametrize("place", [0.11, 0.29, 0.46, 0.63, 0.87])
def test_a_pulse_between_the_looks_of_steps_is_seen(place):
    """Of a hundredth of the time; steps of a sixteenth saw three in four."""
    width = 1e-3
    pulse = Pulse(place, width, 20.0)
    solution = pk.solve(pk.FokkerPlanck(pulse, 2.0), pk.Grid(-5, 5, 100), pk.Gaussian(0, 0.5), 1.0)
    mean = float(solution.grid.integrate(solution.fields[0] * solution.grid.axes[0]))
    true = -20.0 * width * np.sqrt(2 * np.pi) * np.exp(-(1 - place))
    assert mean == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("place", [0.29, 0.63])
def test_a_pulse_is_seen_in_the_plane(place):
    """Of a fiftieth of the time; of six such five were lost between the first steps."""
    pulse = Pulse(place, 0.003, 5.0)
    equation = pk.FokkerPlanck(pulse, 3.0)
    grid = pk.Grid((-4, -4), (4, 4), 40)
    solution = pk.solve(equation, grid, pk.Gaussian((0, 0), 0.5), 1.0)
    mean = float(grid.integrate(solution.fields[0] * grid.centres[..., 0]))
    true = -5.0 * 0.003 * np.sqrt(2 * np.pi) * np.exp(-(1 - place))
    assert mean == pytest.approx(true, rel=0.02)


def test_what_moves_smoothly_takes_the_steps_it_took():
    equation = pk.FokkerPlanck(Pulse(0.5, 0.5, 0.2), 2.0)
    solution = pk.solve(equation, pk.Grid(-5, 5, 100), pk.Gaussian(0, 0.5), 1.0)
    assert solution.stats["steps"] <= 2 * 128
