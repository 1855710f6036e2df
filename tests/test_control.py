"""The control problem: exact values, the improvement theorem and its identity, two routes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pdekit as pk

REFERENCE = json.loads((Path(__file__).parent / "reference_values.json").read_text())["values"]
WELL = pk.potentials.DoubleWell()


def value_of(name: str) -> Any:
    return REFERENCE[name]["value"]


@pytest.fixture(scope="module")
def quadratic() -> Any:
    """V = x^2/2, V_T = x^2, beta = 4, T = 1 from N(-1, 1/4): closed form `lq.a1.g2.b4.T1`."""
    grid = pk.Grid(-5, 5, 1000)
    cost = pk.potentials.Quadratic(2.0)
    return pk.control(pk.potentials.Quadratic(), 4, grid, pk.Gaussian(-1.0, 0.5), cost, 1.0)


def test_quadratic_value_and_density(quadratic: Any) -> None:
    exact, grid, x = value_of("lq.a1.g2.b4.T1"), quadratic.value.grid, quadratic.value.grid.axes[0]
    assert quadratic.value.at([1.0], 0.0) == pytest.approx(float(exact["u_at_x1_t0"]), abs=5e-5)
    for t, name in ((0.5, "half"), (1.0, "T")):
        k = int(np.argmin(np.abs(quadratic.density.times - t)))
        rho = quadratic.density.fields[k]
        mean = grid.integrate(rho * x)
        assert mean == pytest.approx(float(exact[f"mean_{name}"]), abs=5e-5)
        spread = grid.integrate(rho * (x - mean) ** 2)
        assert spread == pytest.approx(float(exact[f"var_{name}"]), abs=5e-5)


def test_quadratic_control_is_linear(quadratic: Any) -> None:
    """α = P x with P the Riccati solution; P at time 0 and at half time."""
    exact = value_of("lq.a1.g2.b4.T1")
    for t, name in ((0.0, "P0"), (0.5, "P_half")):
        alpha = quadratic.control.sel(time=t, method="nearest").isel(component=0)
        middle = alpha.sel(x=slice(-2, 2))
        slope = np.polyfit(middle.x, middle, 1)[0]
        assert slope == pytest.approx(float(exact[name]), abs=2e-4)


@pytest.mark.parametrize("beta", [1, 8])
@pytest.mark.parametrize("start", [-1, 0, 0.5])
@pytest.mark.parametrize(("cells", "close"), [(1000, 1e-5), (4000, 1e-6)])
def test_theorem_of_the_double_well(beta: int, start: float, cells: int, close: float) -> None:
    """E V(plain), E V(controlled), the effort and u from a point, V_T = V, T = 1."""
    exact = value_of(f"thm411.dw.VT=V.b{beta}")[f"x0={start:g}"]
    grid = pk.Grid(-4, 4, cells) if beta == 1 else pk.Grid(-3, 3, cells)
    u = pk.solve(pk.HamiltonJacobiBellman(WELL, beta), grid, WELL, 1.0)
    v = pk.solve(pk.BackwardKolmogorov(WELL, beta), grid, WELL, 1.0)
    assert u.at([float(start)]) == pytest.approx(float(exact["u"]), abs=close)
    assert v.at([float(start)]) == pytest.approx(float(exact["EV_sgd"]), abs=close)
    assert v.at([float(start)]) - u.at([float(start)]) == pytest.approx(
        float(exact["gap"]), abs=2 * close
    )


@pytest.mark.parametrize("beta", [1, 8])
def test_theorem_along_the_controlled_density(beta: int) -> None:
    """From a narrow law around -1; its width, 0.02, is worth less than the tolerance."""
    exact = value_of(f"thm411.dw.VT=V.b{beta}")["x0=-1"]
    grid, law = pk.Grid(-4, 4, 2000), pk.Gaussian(-1.0, 0.02)
    fb = pk.control(WELL, beta, grid, law, WELL, np.linspace(0, 1, 401))
    plain = pk.solve(pk.FokkerPlanck(WELL, beta), grid, law, fb.value.times[1:])
    expected = float(grid.integrate(plain.fields[-1] * WELL(grid.centres)))
    assert fb.terminal == pytest.approx(float(exact["EV_csgd"]), abs=2e-4)
    assert fb.running == pytest.approx(float(exact["half_int_alpha2"]), abs=2e-4)
    gap = expected - fb.terminal - fb.running
    assert gap > 0
    assert gap == pytest.approx(float(exact["gap"]), abs=2e-4)
    rho = np.concatenate([fb.density.fields[:1], plain.fields])
    power = grid.integrate(0.5 * fb.control.values[..., 0] ** 2 * rho)
    assert np.trapezoid(power, fb.value.times) == pytest.approx(gap, rel=2e-3)
    assert fb.residuals["mass"] < 1e-12 and fb.residuals["energy"] < 2e-3


def test_monotone_value_and_its_density_agree_with_the_exact_ones() -> None:
    differences = []
    for cells in (200, 400):
        grid, law = pk.Grid(-3, 3, cells), pk.Gaussian(-1.0, 0.3)
        exact = pk.control(WELL, 4, grid, law, WELL, 1.0)
        monotone = pk.control(WELL, 4, grid, law, WELL, 1.0, scheme=pk.schemes.Godunov())
        du = np.abs(exact.value.fields[0] - monotone.value.fields[0]).max()
        dr = grid.integrate(np.abs(exact.density.fields[-1] - monotone.density.fields[-1]))
        differences.append((du, dr))
    assert differences[1][0] < 2e-3 and differences[1][1] < 2e-3
    assert differences[1][0] < 0.6 * differences[0][0]  # first order


def test_running_cost_in_closed_form() -> None:
    """V = V_T = 0, ℓ = q x²/2: u = P x²/2 + R, P = √q tanh(√q T), R = log cosh(√q T)/beta."""
    beta, q, horizon = 4.0, 2.0, 0.7
    flat, cost = pk.potentials.Quadratic(1e-300), pk.potentials.Quadratic(q)
    grid = pk.Grid(-6, 6, 1200)
    fb = pk.control(flat, beta, grid, pk.Gaussian(0.5, 0.3), lambda x: 0 * x[..., 0], horizon,
                    running_cost=cost)  # fmt: skip
    root = np.sqrt(q)
    exact = root * np.tanh(root * horizon) / 2 + np.log(np.cosh(root * horizon)) / beta
    assert fb.value.at([1.0], 0.0) == pytest.approx(exact, abs=2e-5)


def test_constants_pass_through() -> None:
    """V_T + c gives u + c and the same control; a constant cost needs no control."""
    grid, law = pk.Grid(-3, 3, 200), pk.Gaussian(-1.0, 0.3)
    fb = pk.control(WELL, 4, grid, law, WELL, 1.0)
    up = pk.control(WELL, 4, grid, law, lambda x: WELL(x) + 7, 1.0)
    np.testing.assert_allclose(up.value.fields, fb.value.fields + 7, atol=1e-9)
    np.testing.assert_allclose(up.density.fields, fb.density.fields, atol=1e-8)
    idle = pk.control(WELL, 4, grid, law, lambda x: 0 * x[..., 0] + 3, 1.0)
    np.testing.assert_allclose(idle.value.fields, 3, atol=1e-10)


def test_particles_under_the_control_follow_its_density() -> None:
    """Level 0.01, fixed seed; without the control the same check fails."""
    grid, law = pk.Grid(-3, 3, 400), pk.Gaussian(-1.0, 0.3)
    fb = pk.control(WELL, 4, grid, law, lambda x: (x[..., 0] - 1) ** 2, 1.0)
    motion = pk.ControlledLangevin(WELL, 4, fb.value.potential())
    particles = pk.simulate(motion, law, 20_000, 1.0, 5e-3)
    assert pk.compare(fb.density, particles).consistent(0.01)
    idle = pk.simulate(pk.Langevin(WELL, 4), law, 20_000, 1.0, 5e-3)
    assert not pk.compare(fb.density, idle).consistent(0.01)
