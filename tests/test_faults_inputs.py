"""What users hand in, and time: the right value or a sentence, case by case."""

import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.integrate import solve_ivp

import pdekit as pk
from pdekit import potentials as p
from pdekit import schemes as s
from pdekit.laws import Mixture
from pdekit.pde.discrete.problem import Problem

GRID = pk.Grid(-8, 8, 400)
WELL = p.DoubleWell()
LAW = pk.Gaussian(0.0, 0.5)


def first(x: Any) -> Any:
    """The first coordinate."""
    return x[..., 0]


class Moving:
    """V(x, t) = x²/2 - x cos t, without a call of its own."""

    dim = 1

    def at(self, t: float) -> Any:
        return p.Custom(lambda x: x[..., 0] ** 2 / 2 - x[..., 0] * np.cos(t))

    def __repr__(self) -> str:
        return "Moving()"


class Tilt:
    """V(x, t) = -x cos t."""

    dim = 1

    def at(self, t: float) -> Any:
        return p.Custom(lambda x: -x[..., 0] * np.cos(t))


class Push:
    """The force cos t."""

    def at(self, t: float) -> Any:
        return lambda x: np.cos(t) + 0 * x


class Noise:
    """The diffusion 1 + sin(3 t) / 2."""

    def at(self, t: float) -> Any:
        return lambda x: 1 + np.sin(3 * t) / 2 + 0 * x[..., 0]


# ------------------------------------------------------------------------------------------ time

PUSHED = [
    (Moving(), None),
    (p.Quadratic() + Tilt(), None),
    (Tilt() + p.Quadratic(), None),
    (p.Sum((p.Quadratic(), Tilt())), None),
    (p.Quadratic(), Push()),
    ((lambda x: 0 * x[..., 0]) + p.Quadratic() + Tilt(), None),
]


@pytest.mark.parametrize(("potential", "force"), PUSHED)
def test_backward_equations_read_coefficients_at_the_time_of_the_motion(
    potential: Any, force: Any
) -> None:
    """E[X_1.5 | X_0 = 0] = (cos T + sin T - e^-T) / 2 = .42255."""
    equation = pk.BackwardKolmogorov(potential, 2.0, force)
    u = pk.solve(equation, GRID, first, 1.5)
    assert u.at([[0.0]])[0] == pytest.approx(0.42255, abs=3e-4)
    # several output times: the motion ends at the last of them
    several = pk.solve(equation, GRID, first, [0.25, 0.5, 1.5])
    rho = pk.solve(pk.FokkerPlanck(potential, 2.0, force), GRID, LAW, [1.0, 1.25, 1.5])
    start = Problem(rho.equation, GRID, LAW).values
    means = [
        GRID.integrate(a)
        for a in (
            several.fields[2] * start,
            several.fields[1] * rho.fields[0],
            several.fields[0] * rho.fields[1],
            GRID.centres[..., 0] * rho.fields[2],
        )
    ]
    assert np.ptp(means) < 1e-5


def test_a_density_follows_a_diffusion_that_moves() -> None:
    rho = pk.solve(pk.FokkerPlanck(p.Quadratic(), 2.0, diffusion=Noise()), GRID, LAW, 1.0)
    variance = GRID.integrate(GRID.centres[..., 0] ** 2 * rho.fields[0])
    exact = solve_ivp(
        lambda t, v: -2 * v + 1 + np.sin(3 * t) / 2, (0, 1), [0.25], rtol=1e-10, atol=1e-12
    )
    assert variance == pytest.approx(exact.y[0, -1], abs=3e-4)


def test_what_moves_with_and_without_stored_times_adds_up() -> None:
    """A smooth mover beside one that is linear between times is not taken for linear."""
    knots = np.linspace(-8, 8, 9)
    E = p.Evolving([0.0, 2.0], knots, [0 * knots, 0 * knots])
    alone = pk.solve(pk.FokkerPlanck(Moving(), 2.0), GRID, LAW, 1.5)
    beside = pk.solve(pk.FokkerPlanck(E + Moving(), 2.0), GRID, LAW, 1.5)
    assert np.abs(alone.fields - beside.fields).max() < 1e-4


def test_times_of_a_sum_are_the_union() -> None:
    knots, flat = np.arange(5.0), np.zeros((2, 5))
    total = p.Evolving([0, 1], knots, flat) + (p.Quadratic() + p.Evolving([0.5, 1], knots, flat))
    assert total.times == (0.0, 0.5, 1.0)
    assert total.dim == 1
    assert callable(total.at) and not hasattr(total.at(0.3), "at")
    assert not hasattr(p.Quadratic() + WELL, "at")
    with pytest.raises(TypeError, match=r"changes in time: evaluate it as V\(x, t\)"):
        total(np.zeros((2, 1)))
    with pytest.raises(TypeError, match=r"changes in time: evaluate it as V\(x, t\)"):
        p.Evolving([0, 1], knots, flat).grad(np.zeros((2, 1)))


def test_a_plane_follows_what_moves() -> None:
    class Turn:
        dim = 2

        def at(self, t: float) -> Any:
            return p.Custom(lambda x: -x[..., 0] * np.cos(t), dim=2)

    plane = pk.Grid((-5, -5), (5, 5), (60, 60))
    u = pk.solve(pk.BackwardKolmogorov(p.Quadratic(1.0, 2) + Turn(), 2.0), plane, first, 1.5)
    assert u.at([[0.0, 0.0]])[0] == pytest.approx(0.42255, abs=5e-3)


FP = {
    "potential": pk.FokkerPlanck(Moving(), 1.0),
    "force": pk.FokkerPlanck(p.Quadratic(), 1.0, force=Push()),
    "diffusion": pk.FokkerPlanck(p.Quadratic(), 1.0, diffusion=Noise()),
}
STILL = {
    "stationary": lambda e: pk.stationary(e, GRID),
    "current": lambda e: pk.current(e, np.ones(400), GRID),
    "detailed_balance": lambda e: pk.detailed_balance(e, GRID),
    "spectral_gap": lambda e: pk.spectral_gap(e, GRID),
    "slow_modes": lambda e: pk.slow_modes(e, GRID, 2),
    "mean_first_passage_time": lambda e: pk.mean_first_passage_time(e, GRID, (2.0, np.inf)),
    "committor": lambda e: pk.committor(e, GRID, (-np.inf, -2.0), (2.0, np.inf)),
    "entropy_production": lambda e: pk.entropy_production(e, np.ones(400), GRID),
    "housekeeping": lambda e: pk.housekeeping(e, np.ones(400), GRID),
    "free_energy": lambda e: pk.free_energy(pk.solve(e, GRID, LAW, 0.1)),
    "dissipation": lambda e: pk.dissipation(pk.solve(e, GRID, LAW, 0.1)),
    "Krylov": lambda e: pk.solve(e, GRID, LAW, 0.1, s.Krylov()),
    "Implicit": lambda e: pk.solve(e, GRID, LAW, 0.1, s.Implicit(0.1)),
}


@pytest.mark.parametrize("part", FP)
@pytest.mark.parametrize("verb", STILL)
def test_what_has_no_clock_refuses_what_moves(verb: str, part: str) -> None:
    with pytest.raises(ValueError, match=r"changes? in time|fixed in time"):
        STILL[verb](FP[part])


HJB = pk.HamiltonJacobiBellman(Moving(), 1.0)
MV = pk.McKeanVlasov(Moving(), 1.0, pk.CurieWeiss(1.0))
NEVER = {
    **{
        f"HJB by {type(scheme).__name__}": lambda scheme=scheme: pk.solve(
            HJB, GRID, first, 0.1, scheme
        )
        for scheme in (s.Godunov(), s.Filtered())
    },
    "McKeanVlasov": lambda: pk.solve(MV, GRID, LAW, 0.1),
    "running cost by Filtered": lambda: pk.solve(
        pk.HamiltonJacobiBellman(WELL, 1.0, Tilt()),
        GRID,
        Tilt().at(0.0),
        0.1,
        pk.schemes.Filtered(),
    ),
    "control": lambda: pk.control(Moving(), 1.0, GRID, LAW, first, 0.1),
    "terminal cost": lambda: pk.control(WELL, 1.0, GRID, LAW, Tilt(), 0.1),
    "initial function": lambda: pk.solve(pk.Heat(1.0), GRID, Tilt(), 0.1),
    "initial density": lambda: pk.solve(FP["force"], GRID, Tilt(), 0.1),
    "states": lambda: pk.self_consistent_states(MV, GRID),
    "critical_beta": lambda: pk.critical_beta(Moving(), pk.CurieWeiss(1.0)),
    "local_entropy": lambda: pk.local_entropy(Moving(), 1.0, 1.0, GRID),
    "shock_time": lambda: pk.shock_time(Moving(), GRID),
    "sampled_curvature": lambda: pk.sampled_curvature(Moving(), 1.0, 1.0, np.zeros((1, 1))),
    "robust_width": lambda: pk.robust_width(Moving(), [0.0], 0.1, 1.0),
    "with_steady_state": lambda: pk.with_steady_state(Moving(), 1.0),
    "pair potential": lambda: pk.PairPotential(Tilt()),
    "Ito in particles": lambda: pk.Ito(Noise()).tensor(np.zeros((2, 1))),
}


@pytest.mark.parametrize("verb", NEVER)
def test_what_cannot_follow_refuses(verb: str) -> None:
    with pytest.raises((ValueError, TypeError), match="fixed in time"):
        NEVER[verb]()


# ------------------------------------------------------------------------------ overflow and NaN


def steep(height: float) -> Any:
    """A wall of a height beyond 1.5."""
    return lambda x: np.where(np.abs(x[..., 0]) > 1.5, height, 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: pk.solve(pk.FokkerPlanck(steep(np.finfo(float).max), 1.0), g, LAW, 1.0),
         r"at most 1e\+150.*at x = -2\.95"),
        (lambda g: pk.solve(pk.FokkerPlanck(steep(1e120), 4.0), g, LAW, 1.0),
         r"beta times the range.*cell \(0,\).*height 250 keeps"),
        (lambda g: pk.solve(pk.FokkerPlanck(WELL, 1.0), g, np.full(60, 1e307), 1.0),
         r"at most 1e\+150.*it is 1e\+307 at x = -2\.95"),
        (lambda g: pk.solve(pk.FokkerPlanck(WELL, 1.0), g, np.full(60, 1e-200), 1.0), "Scale it"),
        (lambda g: pk.solve(pk.HamiltonJacobi(), g, np.full(60, 1e300), 1.0), r"at most 1e\+150"),
        (lambda g: pk.solve(pk.FokkerPlanck(lambda x: x[..., 0] * np.nan, 1.0), g, LAW, 1.0),
         "must be finite on the grid; it is nan at x = -2.95"),
        (lambda g: pk.solve(pk.FokkerPlanck(WELL, 1e-300), g, LAW, 1.0), "between 1e-100 and"),
        (lambda g: pk.solve(pk.FokkerPlanck(WELL, 1e-60), g, LAW, 1.0), "rates must be at most"),
        (lambda g: pk.solve(pk.FokkerPlanck(WELL, 1.0), g, LAW, 1e200), r"between 1e-100 and"),
    ],
)  # fmt: skip
def test_overflow_is_refused_where_it_is(call: Any, message: str) -> None:
    with pytest.raises((ValueError, pk.ConvergenceError), match=message):
        call(pk.Grid(-3, 3, 60))


def test_a_width_beyond_all_boxes_leaves_the_mean() -> None:
    """At beta = 1e-30 the smoothing is 1e15 boxes wide: u is the mean of V over the box."""
    grid = pk.Grid(-3, 3, 60)
    u = pk.solve(pk.ViscousHJ(1e-30), grid, WELL, 1.0).final.values
    assert np.allclose(u, WELL(grid.centres).mean(), rtol=1e-6, atol=0)


def test_the_advice_about_walls_works() -> None:
    rho = pk.solve(
        pk.FokkerPlanck(steep(250.0), 4.0), pk.Grid(-3, 3, 60), pk.Gaussian(0, 0.2), 50.0
    )
    inside = np.abs(rho.grid.axes[0]) < 1.5
    assert rho.fields[0][~inside].max() < 1e-12
    assert np.ptp(rho.fields[0][inside]) < 0.05


@pytest.mark.parametrize("t", [1e30, 1e99])
def test_very_long_times_end_in_the_gibbs_state(t: float) -> None:
    began, grid = time.perf_counter(), pk.Grid(-3, 3, 100)
    rho = pk.solve(pk.FokkerPlanck(WELL, 4.0), grid, pk.Gaussian(-1, 0.1), t)
    still = np.exp(-4 * WELL(grid.centres))
    assert np.abs(rho.fields[0] - still / grid.integrate(still)).max() < 1e-9
    assert time.perf_counter() - began < 10


# -------------------------------------------------------------------------------- by coordinates


def test_a_field_on_other_cells_is_refused_and_the_advice_works() -> None:
    equation, grid = pk.FokkerPlanck(p.Quadratic(4.0), 16.0), pk.Grid(-3, 3, 60)
    other = pk.solve(equation, pk.Grid(-2, 4, 60), pk.Gaussian(-1, 0.15), 0.001)
    with pytest.raises(ValueError, match=r"other cells.*60 centres from -1\.95 to 3\.95.*interp"):
        pk.solve(equation, grid, other.final, 1e-9)
    array = other.final
    moved = array.interp(x=grid.axes[0], kwargs={"fill_value": 0.0})
    on = pk.solve(equation, grid, moved, 1e-9)
    mean = [g.integrate(f * g.centres[..., 0]) for f, g in ((on.fields[0], grid),
            (other.fields[0], other.grid))]  # fmt: skip
    assert mean[0] == pytest.approx(mean[1], abs=1e-6)
    assert mean[0] == pytest.approx(-0.997, abs=0.01)


def test_a_field_on_the_same_cells_is_taken_by_its_coordinates() -> None:
    equation = pk.FokkerPlanck(p.Quadratic(1.0, 2), 2.0)
    grid = pk.Grid((-3, -2), (3, 2), (20, 16))
    rho = pk.solve(equation, grid, pk.Gaussian((0.5, 0), 0.3), 0.01)
    plain = pk.solve(equation, grid, rho.fields[0], 0.01)
    for given in (rho.final, rho.final.transpose("y", "x"), rho.final.drop_vars("time")):
        assert np.array_equal(pk.solve(equation, grid, given, 0.01).fields, plain.fields)
    with pytest.raises(ValueError, match="select one time"):
        pk.solve(equation, grid, rho.u, 0.01)


def test_what_would_be_lost_is_refused() -> None:
    grid, ones = pk.Grid(-3, 3, 40), np.ones(40)
    hidden = np.ma.masked_array(ones, np.arange(40) == 7)
    for call in (
        lambda v: pk.solve(pk.FokkerPlanck(WELL, 4.0), grid, v, 1.0),
        lambda v: pk.solve(pk.Heat(1.0), grid, v, 1.0),
        lambda v: p.Tabulated(grid.axes[0], v),
        lambda v: pk.current(pk.FokkerPlanck(WELL, 4.0), v, grid),
    ):
        with pytest.raises(ValueError, match="1 masked entries; fill them"):
            call(hidden)
        with pytest.raises(TypeError, match=r"requires gradients.*detach"):
            call(torch.ones(40, dtype=torch.float64, requires_grad=True))
        with pytest.raises(TypeError, match="complex"):
            call(ones * 1j)
        call(np.ma.masked_array(ones, np.zeros(40, bool)))  # nothing is hidden
    with pytest.raises(ValueError, match="coordinates along axis 0 are not the points"):
        p.Tabulated(grid.axes[0], xr.DataArray(ones, {"x": grid.axes[0] + 1}, ("x",)))


# ------------------------------------------------------------------------------------------ laws


def test_a_law_is_wound_round_a_circle() -> None:
    grid = pk.Grid(-np.pi, np.pi, 200, periodic=True)
    law = pk.Gaussian(3, 0.5)
    rho = law.density(grid)
    assert np.interp(-3, grid.axes[0], rho) == pytest.approx(0.680, abs=1e-3)
    assert grid.integrate(rho) == pytest.approx(1, abs=1e-12)
    assert law.mass(grid) == 1
    pk.solve(pk.FokkerPlanck(lambda x: 0 * x[..., 0], 1.0), grid, law, 0.1)  # says nothing
    wide = pk.Gaussian(3, 1e6).density(grid)
    assert np.abs(wide - 1 / (2 * np.pi)).max() < 1e-15
    turns = pk.Uniform(0, 2 * np.pi * 7 + 1.0).density(grid)
    assert grid.integrate(turns) == pytest.approx(1, abs=1e-12)


def test_particles_and_pde_start_alike_where_one_axis_is_a_circle() -> None:
    grid = pk.Grid((-np.pi, -2), (np.pi, 2), (32, 24), periodic=(True, False))
    law = Mixture((1, 2), (pk.Gaussian((3, 0), (0.5, 0.4)), pk.Uniform((2.5, -1), (5, 1))))
    flat = pk.FokkerPlanck(lambda x: 0 * x[..., 0], 1.0)
    rho = Problem(flat, grid, law).values
    dynamics = pk.Langevin(p.Quadratic(0.0, 2), 1.0, box=grid)
    x = pk.simulate(dynamics, law, 40_000, 0.0, 1.0).final.values
    counts = np.histogramdd(x, bins=grid.faces)[0]
    expected = 40_000 * rho * grid.cell_volume
    seen = expected > 5
    chi = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
    assert chi < seen.sum() + 6 * np.sqrt(2 * seen.sum())  # false alarms below 1e-8


def test_nested_mixtures_share_no_numbers() -> None:
    G = pk.Gaussian
    law = Mixture((1, 1), (Mixture((1, 1), (G(-3, 0.1), G(-1, 0.1))),
                           Mixture((1, 1), (G(1, 0.1), G(3, 0.1)))))  # fmt: skip
    x = pk.simulate(pk.Langevin(p.Quadratic(0.0), 1.0), law, 100_000, 0.0, 1.0).final.values
    counts = np.histogram(x, [-4, -2, 0, 2, 4])[0]
    assert np.abs(counts - 25_000).max() < 900  # 6.5 standard deviations


# --------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: pk.Gaussian("0", 1), TypeError, "mean must be a finite number, or one"),
        (lambda: pk.Grid(1e16, 1e16 + 8, 64), ValueError, "count the coordinate from a point near"),
        (lambda: s.DoobTransform(rtol="a"), TypeError, "rtol must be a number in"),
        (lambda: s.DoobTransform(rtol=1e-20), ValueError, r"rtol must lie in \[1e-1"),
        (lambda: pk.solve(pk.Heat(1.0), GRID, WELL, "1"), TypeError, "t must be a finite time"),
        (lambda: pk.solve(pk.Heat(1.0), GRID, p.DoubleWell, 1.0), TypeError, "got the class"),
        (lambda: pk.solve(pk.Heat(1.0), (-3, 3, 60), WELL, 1.0), TypeError, "pdekit.Grid"),
        (lambda: pk.Langevin(WELL, 1.0, box=(-3, 3, 60)), TypeError, "box must be a pdekit.Grid"),
        (lambda: pk.Langevin(p.DoubleWell, 1.0), TypeError, r"write DoubleWell\(\.\.\.\)"),
        (lambda: pk.solve(pk.Heat(1.0), GRID, lambda x, t: x[..., 0], 1.0), TypeError,
         r"what changes in time is InTime"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_an_error_with_other_arguments_is_passed_on_as_a_sentence() -> None:
    def reads(x: Any) -> Any:
        return b"\xff".decode("utf-8")

    for function in (reads, lambda x: {}["mine"], lambda x: x.nothing, lambda x: 1 / 0):
        with pytest.raises(ValueError, match="got a function that failed on points of shape"):
            pk.solve(pk.Heat(1.0), GRID, function, 1.0)


def test_files_that_are_damaged_are_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"x,value\n0,1\n1,2 \xb5\n")
    with pytest.raises(ValueError, match=r"latin\.csv, line 3: byte 0xb5 is not UTF-8"):
        p.Tabulated.from_csv(latin)
    whole = tmp_path / "whole.npz"
    np.savez(whole, x=np.arange(500.0), value=np.arange(500.0))
    raw = whole.read_bytes()
    cut, broken, text = (tmp_path / f"{n}.npz" for n in ("cut", "broken", "text"))
    cut.write_bytes(raw[:300])
    broken.write_bytes(raw[:900] + bytes(200) + raw[1100:])
    text.write_text("no archive")
    for path in (cut, broken, text):
        with pytest.raises(ValueError, match=rf"{path.name} cannot be read"):
            p.Tabulated.from_npz(path)
    assert zipfile.is_zipfile(whole)
