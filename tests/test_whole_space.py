"""``extend=True``: the three smoothings of what is beyond the walls, on a box that has it not."""

import numpy as np
import pytest
from test_reference import each, entries, middle, number

import pdekit as pk
from pdekit import hamiltonians as h
from pdekit import schemes as s

BOX = pk.Grid(-1.0, 1.6, 61)


def small(x, cells=61):
    """A box about x, reflected at whose walls the answer is another."""
    return pk.Grid(float(x[0]) - 0.4, float(x[0]) + 0.4, cells)


@each("heat")
def test_heat_at_a_point_of_a_small_box(f, x, t, beta, value):
    value = number(value["v"]) if isinstance(value, dict) else number(value)
    u = pk.solve(pk.Heat(beta), small(x, 201), f, t, s.Spectral(extend=True))
    assert middle(u) == pytest.approx(value, abs=1e-10)
    reflected = pk.solve(pk.Heat(beta), small(x, 201), f, t)
    assert abs(middle(reflected) - value) > 1e-3


@pytest.mark.parametrize("name", ["colehopf.dw.x0.3.t2.b1", "colehopf.dw.x1.t0.5.b1"])
def test_local_entropy_at_a_point_of_a_small_box(name):
    _, f, x, t, beta, value = next(row for row in entries("colehopf") if row[0] == name)
    u = pk.solve(pk.ViscousHJ(beta), small(x), f, t, s.ColeHopf(extend=True))
    assert middle(u) == pytest.approx(number(value), abs=1e-10)
    assert abs(middle(pk.solve(pk.ViscousHJ(beta), small(x), f, t)) - number(value)) > 1e-3


LINES = [row[0] for row in entries("hopflax") if row[2].size == 1]


@pytest.mark.parametrize("name", LINES)
def test_least_costs_at_a_point_of_a_small_box(name):
    _, f, x, t, _, value = next(row for row in entries("hopflax") if row[0] == name)
    u = pk.solve(pk.HamiltonJacobi(), small(x), f, t, s.HopfLax(extend=True))
    assert middle(u) == pytest.approx(number(value), abs=2e-5)


@pytest.mark.parametrize("t", [0.01, 0.6])
def test_exact_in_the_plane(t):
    """Of |x|^2 + 3 x_1, whose minimum is outside the box."""
    grid = pk.Grid((-1.0, -0.8), (1.0, 0.8), (24, 20))

    def bowl(x):
        return (x**2).sum(-1) + 3 * x[..., 0]

    x = grid.centres
    heat = pk.solve(pk.Heat(2.0), grid, bowl, t, s.Spectral(extend=True)).fields[0]
    assert np.abs(heat - bowl(x) - t).max() < 1e-11
    least = pk.solve(pk.HamiltonJacobi(), grid, bowl, t, s.HopfLax(extend=True)).fields[0]
    exact = (bowl(x) - 9 * t / 2) / (1 + 2 * t)
    assert np.abs(least - exact).max() < 1e-11
    entropy = pk.solve(pk.ViscousHJ(2.0), grid, bowl, t, s.ColeHopf(extend=True)).fields[0]
    assert np.abs(entropy - exact - np.log1p(2 * t) / 2).max() < 1e-9


@pytest.mark.parametrize(
    ("hamiltonian", "conjugate"),
    [
        (h.Eikonal(), lambda v: np.where(np.abs(v) <= 1 + 1e-12, 0.0, np.inf)),
        (h.Power(1.5, 0.7), lambda v: np.abs(v) ** 3 / (3 * 0.7**2)),
    ],
    ids=["eikonal", "power"],
)
def test_minima_beyond_the_walls_by_brute_force(hamiltonian, conjugate):
    def f(x):
        return np.abs(x[..., 0] - 2.5) + 0.2 * np.sin(3 * x[..., 0])

    t, y = 1.3, np.linspace(-4, 6, 40_001)
    u = pk.solve(pk.HamiltonJacobi(hamiltonian), BOX, f, t, s.HopfLax(extend=True)).fields[0]
    fy = f(y[:, None])
    brute = np.array([(fy + t * conjugate((x - y) / t)).min() for x in BOX.axes[0]])
    assert np.abs(u - brute).max() < 5e-4


def test_periodic_axes_are_not_extended():
    pipe = pk.Grid((0.0, -0.5), (2 * np.pi, 0.5), (40, 20), periodic=(True, False))

    def f(x):
        return np.cos(x[..., 0]) + x[..., 1] ** 2

    u = pk.solve(pk.Heat(1.0), pipe, f, 0.3, s.Spectral(extend=True)).fields[0]
    exact = np.exp(-0.15) * np.cos(pipe.centres[..., 0]) + pipe.centres[..., 1] ** 2 + 0.3
    assert np.abs(u - exact).max() < 1e-12


def test_waves_that_the_cells_do_not_show_are_sampled_more_densely():
    """cos 60 x on 13 cells is damped to exp(-60^2 t / 2 beta)."""
    grid = pk.Grid(-1.0, 1.6, 13)
    u = pk.solve(
        pk.Heat(1.0), grid, lambda x: np.cos(60 * x[..., 0]), 1e-3, s.Spectral(extend=True)
    )
    exact = np.exp(-1.8) * np.cos(60 * grid.axes[0])
    assert np.abs(u.fields[0] - exact).max() < 1e-4


@pytest.mark.parametrize(
    ("equation", "scheme", "f"),
    [
        (pk.HamiltonJacobi(), s.HopfLax(extend=True), lambda x: -(x[..., 0] ** 2)),
        (pk.ViscousHJ(2.0), s.ColeHopf(extend=True), lambda x: -(x[..., 0] ** 2)),
    ],
    ids=["hopf_lax", "cole_hopf"],
)
def test_what_is_not_finite_in_the_whole_space_is_refused(equation, scheme, f):
    with pytest.raises(pk.ConvergenceError, match="beyond the box"):
        pk.solve(equation, BOX, f, 0.7, scheme)


@pytest.mark.parametrize(
    ("equation", "scheme"),
    [(pk.HamiltonJacobi(), s.HopfLax(extend=True)), (pk.Heat(2.0), s.Spectral(extend=True))],
)
def test_samples_are_not_known_beyond_the_walls(equation, scheme):
    with pytest.raises(ValueError, match="unknown beyond the box"):
        pk.solve(equation, BOX, np.zeros(BOX.cells), 0.7, scheme)
    with pytest.raises(ValueError, match="larger grid"):
        pk.solve(pk.Burgers(), BOX, np.zeros(BOX.cells), 0.7, s.HopfLax(extend=True))


def test_certificates_of_data_in_the_box_do_not_apply():
    c = pk.certificates
    for equation, scheme in (
        (pk.Heat(2.0), s.Spectral(extend=True)),
        (pk.ViscousHJ(2.0), s.ColeHopf(extend=True)),
        (pk.HamiltonJacobi(), s.HopfLax(extend=True)),
    ):
        found = pk.solve(
            equation, BOX, lambda x: x[..., 0] ** 3 / 3 + x[..., 0] ** 4, [0, 0.5], scheme
        )
        for one in (
            c.MaximumPrinciple(),
            c.JensenBounds(),
            c.HeatCurvature(),
            c.NonExpansive(found),
        ):
            assert not one(found).applies
