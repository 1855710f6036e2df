"""Derivatives of densities along parameters: exact Gaussians, and differences of solutions."""

import math

import numpy as np
import pytest

import pdekit as pk

A, BETA, MEAN, WIDTH = 1.3, 2.0, 1.0, 0.4
TIMES = [0.2, 1.0, 4.0]


def gaussian(x, t, beta=0.0, drift=0.0, clock=0.0):
    """The density of dX = -A X dt + sqrt(2/β) dB, its parameters changed by these shares."""
    a, t = A * (1 + drift), t * (1 + clock)
    mean, var = MEAN * math.exp(-a * t), WIDTH**2 * math.exp(-2 * a * t)
    var += (1 - math.exp(-2 * a * t)) / (a * BETA * (1 + beta))
    return np.exp(-((x - mean) ** 2) / (2 * var)) / math.sqrt(2 * math.pi * var)


def along(x, t, parameter):
    return lambda e: gaussian(x, t, **{parameter: e})


def difference(f, h):
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


@pytest.mark.parametrize("parameter", ["beta", "drift", "clock"])
def test_an_ornstein_uhlenbeck_process_is_second_order(parameter):
    """Against its exact derivative, in L1; constant .35 in units of h², 1e-5 on 1,200 cells."""
    for n in (150, 300, 600):
        grid = pk.Grid(-5, 6, n)
        rho = pk.solve(
            pk.FokkerPlanck(pk.potentials.Quadratic(A), BETA), grid, pk.Gaussian(MEAN, WIDTH), TIMES
        )
        found = pk.sensitivity(rho, parameter)
        assert found.dims == rho.u.dims
        for t, s in zip(TIMES, found.values, strict=True):
            exact = difference(along(grid.axes[0], t, parameter), 1e-3)
            assert grid.integrate(np.abs(s - exact)) < 0.7 * (11 / n) ** 2
            assert abs(grid.integrate(s)) < 1e-9


def test_what_a_particle_at_rest_knows_of_the_temperature():
    """∫ s²/ρ of log β is 1/2, exactly, of log of the clock 0."""
    grid = pk.Grid(-5, 5, 800)
    rho = pk.solve(
        pk.FokkerPlanck(pk.potentials.Quadratic(A), BETA), grid, pk.Gaussian(MEAN, WIDTH), 25.0
    )
    for parameter, exact in (("beta", 0.5), ("drift", 0.5), ("clock", 0.0)):
        s = pk.sensitivity(rho, parameter).values[0]
        assert abs(grid.integrate(s**2 / rho.fields[0]) - exact) < 1e-4


PLANE = pk.Grid((0, 0), (1, 1.2), (14, 12))
WELL = pk.potentials.Custom(lambda x: x[..., 0] * x[..., 1] + np.sin(3 * x[..., 0]), dim=2)
TENSOR = np.array([[1.0, 0.5], [0.5, 0.8]])
WALLS = pk.Walls((True, pk.PartlyAbsorbing(0.3)), (False, False))
LAW = pk.Gaussian((0.5, 0.6), 0.3)
COMMON = {"potential": WELL, "beta": 3.0}


def turning(x):
    return np.stack([-x[..., 1], x[..., 0] ** 2], -1)


def bump(x):
    return np.cos(2 * x[..., 0] + x[..., 1])


CASES = {
    "beta": ({}, "beta", None, lambda e: {"beta": 3.0 * (1 + e)}),
    "beta beside walls": ({"walls": WALLS, "killing": lambda x: x[..., 0]}, "beta", None,
                          lambda e: {"beta": 3.0 * (1 + e)}),
    "drift with a force": ({"force": turning}, "drift", None, lambda e: {
        "potential": lambda x: (1 + e) * WELL(x), "force": lambda x: (1 + e) * turning(x)}),
    "a potential": ({"diffusion": TENSOR}, "potential", bump,
                    lambda e: {"potential": lambda x: WELL(x) + e * bump(x)}),
    "a force": ({"force": turning}, "force", lambda x: -x,
                lambda e: {"force": lambda x: turning(x) - e * x}),
    "a diffusion": ({"diffusion": TENSOR, "walls": WALLS}, "diffusion", bump,
                    lambda e: {"diffusion": lambda x: TENSOR + e * bump(x)[..., None, None]
                               * np.eye(2)}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.filterwarnings("ignore::pdekit.ResolutionWarning")
@pytest.mark.parametrize("what", CASES)
def test_in_the_plane_it_is_the_limit_of_differences(what):
    """With tensors, forces, walls and killing, on few cells: to 1e-7; beside a force to 5e-6, as
    the rates of circulation are smooth piece by piece.
    """
    fields, parameter, field, changed = CASES[what]

    def solved(e):
        equation = pk.FokkerPlanck(**{**COMMON, **fields, **(changed(e) if e else {})})
        return pk.solve(equation, PLANE, LAW, [0.05, 0.3], pk.schemes.Krylov(1e-11))

    s = pk.sensitivity(solved(0.0), parameter, field)
    exact = difference(lambda e: solved(e).fields, 2e-3)
    assert PLANE.integrate(np.abs(s.values - exact)).max() < (5e-6 if "force" in fields else 1e-7)
    assert PLANE.integrate(np.abs(exact)).min() > 1e-3


WELLS, SOFT = pk.potentials.DoubleWell(), pk.CurieWeiss(0.7)
WAVE = pk.PairPotential(lambda z: np.cos(z[..., 0]))
OVAL = pk.potentials.Custom(lambda x: (x**2).sum(-1) / 2 + x[..., 0] * x[..., 1] / 3, dim=2)
ON_LINE = pk.Grid(-2.5, 2.5, 50), pk.Gaussian(-0.4, 0.4)
IN_PLANE = pk.Grid((-2, -2), (2, 2), (12, 10)), pk.Gaussian((0.5, -0.2), 0.5)


def swing(z):
    return np.exp(-(z**2).sum(-1) / 2)


def attracted(e):
    return pk.CurieWeiss(0.7 * (1 + e))


FIELDS = {  # parameter, field, where, and V, beta, W, the clock at a change of it by a share
    "beta": ("beta", None, ON_LINE, lambda e: (WELLS, 3 * (1 + e), SOFT, 1)),
    "drift": ("drift", None, ON_LINE, lambda e: ((1 + e) * WELLS, 3, attracted(e), 1)),
    "clock": ("clock", None, ON_LINE, lambda e: (WELLS, 3, SOFT, 1 + e)),
    "interaction": ("interaction", None, ON_LINE, lambda e: (WELLS, 3, attracted(e), 1)),
    "an interaction": ("interaction", swing, ON_LINE, lambda e: (
        WELLS, 3, pk.PairPotential(lambda z: np.cos(z[..., 0]) + e * swing(z)), 1)),
    "a potential": ("potential", bump, IN_PLANE, lambda e: (
        pk.potentials.Custom(lambda x: OVAL(x) + e * bump(x), dim=2), 2, SOFT, 1)),
    "interaction in the plane": ("interaction", None, IN_PLANE, lambda e: (
        OVAL, 2, attracted(e), 1)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize("what", FIELDS)
def test_of_a_mean_field_it_is_the_limit_of_differences(what):
    parameter, field, (grid, law), changed = FIELDS[what]

    def solved(e):
        V, beta, W, clock = changed(e)
        equation, times = pk.McKeanVlasov(V, beta, W), [0.1 * clock, 0.4 * clock]
        return pk.solve(equation, grid, law, times, pk.schemes.MeanField(1e-10))

    s = pk.sensitivity(solved(0.0), parameter, field)
    exact = difference(lambda e: solved(e).fields, 1e-2)
    assert grid.integrate(np.abs(s.values - exact)).max() < 5e-7
    assert grid.integrate(np.abs(exact)).min() > 1e-3


@pytest.mark.parametrize("equation", [pk.FokkerPlanck(WELLS, 3.0),
                                      pk.McKeanVlasov(WELLS, 3.0, SOFT)])  # fmt: skip
def test_the_start_matters_as_differences_say(equation):
    grid, _ = ON_LINE
    rho0 = np.exp(-(((grid.axes[0] + 0.4) / 0.4) ** 2) / 2)
    rho0 /= grid.integrate(rho0)

    def moved(x):
        return np.sin(2 * x[..., 0]) * np.exp(-4 * x[..., 0] ** 2)

    def solved(e):
        scheme = pk.schemes.Krylov(1e-11) if equation.linear else pk.schemes.MeanField(1e-10)
        return pk.solve(equation, grid, rho0 + e * moved(grid.centres), [0.0, 0.4], scheme)

    s = pk.sensitivity(solved(0.0), "initial", moved)
    exact = difference(lambda e: solved(e).fields, 1e-2)
    assert grid.integrate(np.abs(s.values - exact)).max() < 1e-7


def test_an_attraction_to_the_mean_is_second_order():
    """Mean by a, variance by a + λ: ∂/∂λ exactly, constant .25 in units of h²."""
    a, strength, t = 1.0, 0.8, 0.7

    def exact(x, e):
        rate = a + strength * (1 + e)
        var = WIDTH**2 * math.exp(-2 * rate * t) + (1 - math.exp(-2 * rate * t)) / (rate * BETA)
        mean = MEAN * math.exp(-a * t)
        return np.exp(-((x - mean) ** 2) / (2 * var)) / math.sqrt(2 * math.pi * var)

    for n in (100, 200):
        grid = pk.Grid(-5, 6, n)
        equation = pk.McKeanVlasov(pk.potentials.Quadratic(a), BETA, pk.CurieWeiss(strength))
        rho = pk.solve(equation, grid, pk.Gaussian(MEAN, WIDTH), t)
        s = pk.sensitivity(rho, "interaction").values[0]
        true = difference(lambda e, x=grid.axes[0]: exact(x, e), 1e-3)
        assert grid.integrate(np.abs(s - true)) < 0.5 * (11 / n) ** 2
        assert grid.integrate(np.abs(true)) > 0.05


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
def test_rates_of_walls_do_not_run_with_the_drift_and_the_noise():
    """Then the clock is not the drift less the temperature; without them it is."""
    V, law, grid = pk.potentials.DoubleWell(), pk.Gaussian(0.1, 0.2), pk.Grid(-1.5, 1.5, 200)
    for wall, same in ((True, True), (pk.PartlyAbsorbing(0.7), False)):
        rho = pk.solve(pk.FokkerPlanck(V, 2.0, walls=pk.Walls(wall, False)), grid, law, 0.5)
        beta, drift, clock = (pk.sensitivity(rho, p).values for p in ("beta", "drift", "clock"))
        apart = grid.integrate(np.abs(drift - beta - clock))[0]
        assert (apart < 1e-12) == same and (same or apart > 1e-3)


def test_heat_depends_on_the_clock_alone():
    rho = pk.solve(pk.Heat(2.0), pk.Grid(-4, 4, 200), pk.Gaussian(0.0, 0.4).pdf, [0.0, 0.5])
    s = pk.sensitivity(rho, "beta")
    np.testing.assert_allclose(s, -pk.sensitivity(rho, "clock"), atol=1e-15)
    assert not s.values[0].any() and s.values[1].any()
    with pytest.raises(ValueError, match='Heat has no drift; parameter must be "beta" or "clock"'):
        pk.sensitivity(rho, "drift")


def test_cells_that_do_not_show_it_are_said():
    """A start of half a cell."""
    rho = pk.solve(
        pk.FokkerPlanck(pk.potentials.Quadratic(A), BETA), pk.Grid(-5, 6, 60),
        pk.Gaussian(MEAN, 0.09), 0.002,
    )  # fmt: skip
    with pytest.warns(pk.ResolutionWarning, match="too coarse for the sensitivity"):
        pk.sensitivity(rho, "beta")


V = pk.potentials.Quadratic(A)
LINE, START = pk.Grid(-5, 6, 100), pk.Gaussian(MEAN, WIDTH)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
@pytest.mark.parametrize(
    ("equation", "given", "error", "words"),
    [
        (pk.FokkerPlanck(V, 2.0), ("mass",), ValueError, "one of beta, drift, clock, potential"),
        (pk.FokkerPlanck(V, 2.0), ("force",), ValueError, "field must be a function of points"),
        (pk.FokkerPlanck(V, 2.0), ("beta", V), ValueError, 'field must be None for parameter="b'),
        (pk.FokkerPlanck(V, 2.0), ("diffusion", lambda x: x), ValueError, "got shape"),
        (pk.FokkerPlanck(V, math.inf), ("beta",), ValueError, "with noise"),
        (pk.FokkerPlanck(V, 2.0, source=1.0), ("beta",), ValueError, "leave out source"),
        (pk.FokkerPlanck(pk.InTime(lambda x, t: t * x[..., 0]), 2.0), ("beta",), ValueError,
         "fixed in time"),
        (pk.McKeanVlasov(V, 2.0, pk.CurieWeiss(0.5)), ("force", V), ValueError,
         "parameter of FokkerPlanck, not of McKean"),
        (pk.FokkerPlanck(V, 2.0), ("interaction",), ValueError, "of McKeanVlasov, not of Fokker"),
    ],
)  # fmt: skip
def test_what_has_no_sensitivity_says_so(equation, given, error, words):
    rho = pk.solve(equation, LINE, START, 0.1)
    with pytest.raises(error, match=words):
        pk.sensitivity(rho, *given)


@pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
def test_characteristics_are_not_linearised():
    D = pk.UnderdampedLangevin(pk.potentials.Quadratic(1.0), 2.0, 1.0)
    rho = pk.solve(D.law(), pk.Grid((-4, -4), (4, 4), (32, 32)), D.start(pk.Gaussian(0, 1)), 0.1)
    with pytest.raises(ValueError, match="by the generator that would be linearised"):
        pk.sensitivity(rho, "beta")


def test_only_solutions_are_taken():
    with pytest.raises(TypeError, match="takes the result of solve, got Gaussian"):
        pk.sensitivity(START, "beta")
    with pytest.raises(TypeError, match="got a solution of BackwardKolmogorov"):
        pk.sensitivity(pk.solve(pk.BackwardKolmogorov(V, 2.0), LINE, V, 0.1), "beta")
