"""Every published reference value that these equations can produce, at the method's accuracy.

The file is a copy of the project's collation; each entry states its formula. Points are read off
``Solution.at`` (a cubic spline, error below 1e-9 here), mostly on 2,001 cells: an odd number puts a
centre on x = 0, where some of the functions have their kink.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pdekit as pk
from pdekit.pde import exact
from pdekit.potentials import Custom, DoubleWell, MullerBrown, Quadratic, Rippled, SixHumpCamel

VALUES = json.loads((Path(__file__).parent / "reference_values.json").read_text())["values"]
NUMBER = r"(-?\.?\d+\.?\d*)"
FUNCTIONS = {
    "dw": (DoubleWell(), 3.0),
    "rip": (Rippled(), 4.0),
    "quad": (Quadratic(3.0), 4.0),
    "quad3": (Quadratic(3.0), 4.0),
    "abs": (Custom(lambda x: abs(x[..., 0])), 3.0),
    "negabs": (Custom(lambda x: -abs(x[..., 0])), 3.0),
}
EXTEND = pk.schemes.ColeHopf(extend=True)


def entries(kind: str, pattern: str) -> list[Any]:
    """Test parameters (function, numbers in the name, value) of the entries of a kind."""
    found = []
    for name, entry in VALUES.items():
        match = re.fullmatch(rf"{kind}\.(\w+)\.{pattern}", name)
        if match:
            numbers = [float(g) for g in match.groups()[1:]]
            found.append(pytest.param(match[1], numbers, entry["value"], id=name))
    assert found
    return found


def minimum_of(value: Any) -> float:
    return float(value if isinstance(value, str) else value["u"])


@pytest.mark.parametrize(
    ("f", "numbers", "value"), entries("colehopf", rf"x{NUMBER}\.t{NUMBER}\.b{NUMBER}")
)
def test_viscous(f: str, numbers: list[float], value: Any) -> None:
    """The bar is 1e-6; the value and, from it, the gradient and the variance behind u_xx."""
    (x, t, beta), (potential, half) = numbers, FUNCTIONS[f]
    grid = pk.Grid(-half, half, 2001)
    solution = pk.solve(pk.ViscousHJ(beta), grid, potential, t, EXTEND)
    at = lambda y: float(solution.at([y]))  # noqa: E731
    centre = float(grid.axes[0][np.abs(grid.axes[0] - x).argmin()])
    near_kink = beta == 1000 and x == 0 and t > 1
    assert at(centre if near_kink else x) == pytest.approx(float(value["u"]), abs=1e-9)
    if not near_kink:
        h = grid.spacing[0]
        slope = (8 * (at(x + h) - at(x - h)) - (at(x + 2 * h) - at(x - 2 * h))) / (12 * h)
        assert slope == pytest.approx(float(value["ux"]), abs=1e-5)
    if "ymean" in value:
        gradient = exact.cole_hopf_gradient(potential, beta, t, np.array([x]))
        assert x - t * float(gradient[0]) == pytest.approx(float(value["ymean"]), abs=1e-9)


@pytest.mark.parametrize(
    ("f", "numbers", "value"), entries("colehopf", rf"x{NUMBER}_{NUMBER}\.t{NUMBER}\.b{NUMBER}")
)
def test_viscous_camel(f: str, numbers: list[float], value: Any) -> None:
    assert f == "camel"
    *point, t, beta = numbers
    grid = pk.Grid((-3, -2), (3, 2), (201, 201))
    solution = pk.solve(pk.ViscousHJ(beta), grid, SixHumpCamel(), t, EXTEND)
    assert solution.at(point) == pytest.approx(float(value["u"]), abs=2e-6)  # of the spline
    gradient = exact.cole_hopf_gradient(SixHumpCamel(), beta, t, np.array(point))
    np.testing.assert_allclose(gradient, [float(g) for g in value["grad"]], atol=1e-8)


@pytest.mark.parametrize(
    ("f", "numbers", "value"), entries("heat", rf"x{NUMBER}\.t{NUMBER}\.b{NUMBER}")
)
def test_heat(f: str, numbers: list[float], value: str) -> None:
    """On a box so wide that its walls are not felt."""
    x, t, beta = numbers
    solution = pk.solve(pk.Heat(beta), pk.Grid(-8, 8, 2000), FUNCTIONS[f][0], t)
    assert solution.at([x]) == pytest.approx(float(value), abs=1e-9)


@pytest.mark.parametrize(("f", "numbers", "value"), entries("hopflax", rf"x{NUMBER}\.t{NUMBER}"))
def test_hopf_lax(f: str, numbers: list[float], value: Any) -> None:
    """The bar is 1e-5 away from kinks; f = |x| and its negative have theirs on a centre here."""
    (x, t), (potential, half) = numbers, FUNCTIONS[f]
    grid = pk.Grid(-half, half, 2001)
    solution = pk.solve(pk.HamiltonJacobi(), grid, potential, t)
    centre = float(grid.axes[0][np.abs(grid.axes[0] - x).argmin()])
    found = solution.at([centre if x == 0 else x])
    assert found == pytest.approx(minimum_of(value), abs=1e-6)
    assert exact.hopf_lax(potential, t, np.array([x])) == pytest.approx(minimum_of(value), abs=1e-9)


@pytest.mark.parametrize(
    ("f", "numbers", "value"), entries("hopflax", rf"x{NUMBER}_{NUMBER}\.t{NUMBER}")
)
def test_hopf_lax_camel(f: str, numbers: list[float], value: Any) -> None:
    assert f == "camel"
    *point, t = numbers
    grid = pk.Grid((-3, -2), (3, 2), (601, 601))
    solution = pk.solve(pk.HamiltonJacobi(), grid, SixHumpCamel(), t)
    assert solution.at(point) == pytest.approx(float(value["u"]), abs=1e-4)
    exact_value = exact.hopf_lax(SixHumpCamel(), t, np.array(point))
    assert exact_value == pytest.approx(float(value["u"]), abs=1e-9)


@pytest.mark.parametrize("name", [n for n in VALUES if n.startswith("semiconc.rip")])
def test_semiconcavity(name: str) -> None:
    t, beta = (float(g) for g in re.fullmatch(rf".*\.t{NUMBER}\.b{NUMBER}", name).groups())
    value, grid = VALUES[name]["value"], pk.Grid(-4.71, 4.71, 3001)
    solution = pk.solve(pk.ViscousHJ(beta), grid, Rippled(), [0, t], EXTEND)
    data = pk.semiconcavity(solution, constants=9.2).data.isel(time=-1)
    assert float(data.sup_xx) == pytest.approx(float(value["sup_uxx"]), rel=1e-3)
    assert float(data.bound_xx) == pytest.approx(float(value["bound"]), rel=1e-12)
    assert float(data.sup_xx) <= float(data.bound_xx) + float(data.allowance_xx)


@pytest.mark.parametrize("name", [n for n in VALUES if n.startswith("ou1d")])
def test_ornstein_uhlenbeck(name: str) -> None:
    """From a law narrow enough to stand for the point x = 1 (its variance is put right)."""
    beta, t = (float(g) for g in re.fullmatch(rf".*\.b{NUMBER}\.t{NUMBER}", name).groups())
    value, grid, narrow = VALUES[name]["value"], pk.Grid(-4, 5, 4000), 0.02
    rho = pk.solve(pk.FokkerPlanck(Quadratic(2.0), beta), grid, pk.Gaussian(1.0, narrow), t)
    x, field = grid.axes[0], rho.fields[-1]
    mean = grid.integrate(x * field)
    spread = grid.integrate((x - mean) ** 2 * field) - narrow**2 * np.exp(-4 * t)
    assert mean == pytest.approx(float(value["mean"]), abs=1e-5)
    assert spread == pytest.approx(float(value["var"]), abs=1e-5)
    for point in (0.0, 1.0):
        found = rho.at([point])
        assert found == pytest.approx(float(value[f"dens_at_{point:g}"]), rel=5e-3)


@pytest.mark.parametrize("beta", [4, 8])
def test_double_well_from_a_point(beta: int) -> None:
    """Moments and densities of p_T(-1, .): two narrow laws, extrapolated in their variance."""
    value, grid, T = VALUES[f"fp.dw.delta_m1.b{beta}"]["value"], pk.Grid(-3, 3, 4001), (0.5, 1, 3)
    equation = pk.FokkerPlanck(DoubleWell(), beta)
    wide, narrow = (pk.solve(equation, grid, pk.Gaussian(-1.0, s), T) for s in (0.08, 0.04))
    fields = narrow.fields + (narrow.fields - wide.fields) / 3
    x = grid.axes[0]
    for t, rho in zip(T, fields, strict=True):
        known = {k: float(v) for k, v in value[f"T{t:g}"].items()}
        assert grid.integrate(rho * x) == pytest.approx(known["EX"], abs=2e-5)
        assert grid.integrate(rho * x * x) == pytest.approx(known["EX2"], abs=2e-5)
        potential = DoubleWell()(grid.centres)
        assert grid.integrate(rho * potential) == pytest.approx(known["EV"], abs=1e-5)
        for point, name in ((-1, "p_m1"), (0, "p_0"), (1, "p_1")):
            k = int(np.abs(x - point).argmin())
            line = np.interp(point, x[k - 1 : k + 2], rho[k - 1 : k + 2])
            assert line == pytest.approx(known[name], abs=1e-4)


def test_kullback_leibler_decay() -> None:
    value, grid = VALUES["ou.KL"]["value"], pk.Grid(-5, 5, 2000)
    times = [float(t) for t in value]
    equation = pk.FokkerPlanck(Quadratic(1.0), 4)
    rho = pk.solve(equation, grid, pk.Gaussian(1.0, np.sqrt(0.5)), times)
    gibbs = pk.stationary(equation, grid).values
    for field, known in zip(rho.fields, value.values(), strict=True):
        inside = field > 0
        log = np.log(field[inside] / gibbs[inside])
        entropy = grid.integrate(np.where(inside, field, 0)) * 0 + grid.cell_volume * np.sum(
            field[inside] * log
        )
        assert entropy == pytest.approx(float(known), rel=2e-4)


def test_landscapes() -> None:
    for entry in VALUES["camel.critical"]["value"]:
        point = np.array([float(c) for c in entry["x"]])
        assert SixHumpCamel()(point) == pytest.approx(float(entry["f"]), abs=1e-12)
        np.testing.assert_allclose(SixHumpCamel().grad(point), 0, atol=1e-12)
    for entry in VALUES["mueller_brown"]["value"]:
        point = np.array([float(c) for c in entry["x"]])
        assert MullerBrown()(point) == pytest.approx(float(entry["V"]), abs=1e-9)
        np.testing.assert_allclose(MullerBrown().grad(point), 0, atol=1e-8)
