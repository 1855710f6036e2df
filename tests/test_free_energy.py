"""The free energy falls along every flow, as fast as the dissipation says, and stops at its least.

Only ∇·(j rho_ss) = 0 is needed out of equilibrium: example 6.43 has ∇·j != 0 (errata 43).
"""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import GRIDS
from driven import random_equation
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import named
from scipy.linalg import expm

import pdekit as pk
from pdekit.pde.discrete.problem import Problem

pytestmark = pytest.mark.filterwarnings("ignore::pdekit.TruncationWarning")
VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text())["values"]
WELL = pk.potentials.DoubleWell()
small = st.sampled_from(
    [
        GRIDS["line"],
        GRIDS["circle"],
        pk.Grid((-1.5, -1), (1.5, 1), (11, 9)),
        pk.Grid((0, -1), (2 * np.pi, 1), (12, 8), periodic=(True, False)),
    ]
)


@settings.get_profile("often")
@given(small, st.integers(0, 10**6), st.booleans())
def test_it_never_rises(grid, seed, stirred):
    """From random data, for gradient flows and for random forces and tensors; exact in time."""
    equation = random_equation(grid, seed)
    if not stirred:
        equation = pk.FokkerPlanck(equation.potential, equation.beta)
    start = np.random.default_rng(seed).random(grid.shape) ** 3
    start /= grid.integrate(start)
    step = expm(0.02 * Problem(equation, grid, None).generator().matrix().toarray().T)
    fields = [start.ravel()]
    for _ in range(8):
        fields.append(step @ fields[-1])
    fields = np.reshape(fields, (-1, *grid.shape))
    solution = pk.Solution(fields, 0.02 * np.arange(9), equation, grid, None)
    F = pk.free_energy(solution)
    assert F.dims == ("time",) and (F.time.values == solution.times).all()
    size = np.abs(F.values).max()
    assert (np.diff(F.values) <= 1e-12 * (1 + size)).all()
    assert (pk.dissipation(solution).values >= -1e-12 * (1 + size)).all()


def test_the_divergence_of_the_table():
    """KL(rho_t | rho_∞) of an Ornstein-Uhlenbeck process, both ways of counting."""
    table = {float(k): float(v) for k, v in VALUES["ou.KL"]["value"].items()}
    grid, start = pk.Grid(-4, 6, 2000), pk.Gaussian(1.0, np.sqrt(0.5))
    equation = pk.FokkerPlanck(pk.potentials.Quadratic(), 4.0)
    kl = 4.0 * pk.free_energy(pk.solve(equation, grid, start, list(table)))
    log_Z = np.log(np.sqrt(np.pi / 2))
    np.testing.assert_allclose(kl.values + log_Z, list(table.values()), atol=2e-5)
    same = pk.FokkerPlanck(pk.potentials.Quadratic(), 4.0, force=lambda x: 0 * x)
    kl = 4.0 * pk.free_energy(pk.solve(same, grid, start, list(table)))
    np.testing.assert_allclose(kl.values, list(table.values()), atol=2e-5)


def test_the_least_is_that_of_the_gibbs_state():
    grid, equation = pk.Grid(-3, 3, 300), pk.FokkerPlanck(WELL, 4.0)
    rho = pk.stationary(equation, grid)
    solution = pk.solve(equation, grid, rho.values, [0.0, 5.0])
    Z = grid.integrate(np.exp(-4.0 * WELL(grid.centres)))
    np.testing.assert_allclose(pk.free_energy(solution), -np.log(Z) / 4, atol=1e-13)
    assert np.abs(pk.dissipation(solution).values).max() < 1e-12


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.5])
def test_it_falls_as_fast_as_the_dissipation_says(strength):
    """dF/dt by fourth-order differences in time against -dissipation, with ∇·j != 0."""
    case, grid, dt = pk.LimitCycle(strength), pk.Grid((-4, -4), (4, 4), 48), 0.01
    times = 0.1 + dt * np.arange(-2, 3)
    scheme = pk.schemes.Split(1e-9)
    solution = pk.solve(case.equation, grid, pk.Gaussian((0.5, 0.2), 0.5), times, scheme)
    F = pk.free_energy(solution).values
    slope = (F[0] - 8 * F[1] + 8 * F[3] - F[4]) / (12 * dt)
    assert -slope == pytest.approx(float(pk.dissipation(solution)[2]), rel=2e-4)


def test_it_decays_at_twice_the_gap():
    """In a convex well the last transient of the free energy is exp(-2 gap t)."""
    grid, equation = pk.Grid(-4, 4, 400), pk.FokkerPlanck(pk.potentials.Quadratic(), 2.0)
    solution = pk.solve(equation, grid, pk.Gaussian(1.0, 0.5), [3.0, 4.0])
    least = -np.log(grid.integrate(np.exp(-2.0 * pk.potentials.Quadratic()(grid.centres)))) / 2
    left = pk.free_energy(solution).values - least
    rate = 2 * pk.spectral_gap(equation, grid)
    assert np.log(left[0] / left[1]) == pytest.approx(rate, rel=1e-3)


MISTAKES = {
    "first order": (
        lambda: pk.free_energy(pk.solve(pk.HamiltonJacobi(), GRIDS["line"], WELL, 0.1)), TypeError,
        "HamiltonJacobi has no free energy"),
    "absorbing": (
        lambda: pk.free_energy(pk.solve(
            pk.FokkerPlanck(WELL, 4.0, walls=pk.Walls(upper=True)), GRIDS["line"],
            pk.Gaussian(0.0, 0.3), 0.1)), ValueError, "probability is not kept"),
}  # fmt: skip


test_mistakes = named(MISTAKES)
