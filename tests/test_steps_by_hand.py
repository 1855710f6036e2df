"""Few steps of a dynamics, as one would write them out on paper."""

from math import exp

import numpy as np
import pytest

import pdekit as pk

COLD = 1e90  # an inverse temperature at which no noise is seen
BOWL = pk.potentials.Quadratic(1.7)


def test_underdamped_steps_with_mass_and_friction() -> None:
    """Kick half, drift half, damp, drift half, kick half, with V' = 1.7 x, m = 1.6, c = 0.9."""
    h, mass, friction = 0.1, 1.6, 0.9
    dynamics = pk.UnderdampedLangevin(BOWL, COLD, friction, mass, at_rest=True)
    found = pk.simulate(dynamics, [[0.8]], 1, [h, 2 * h, 3 * h], h).x.values.ravel()
    x, p, path = 0.8, 0.0, []
    for _ in range(3):
        p -= h / 2 * 1.7 * x
        x += h / 2 * p / mass
        p *= exp(-friction * h)
        x += h / 2 * p / mass
        p -= h / 2 * 1.7 * x
        path.append(x)
    np.testing.assert_allclose(found, path, rtol=1e-13)


@pytest.mark.parametrize("compensation", [0.0, 0.1])
def test_after_a_restart_steps_are_counted_from_one_again(compensation: float) -> None:
    """A long step overshoots: the third goes uphill, the fourth has γ = 1/4 again."""
    a, eta = 1.7, 0.5
    method = pk.RestartedMaSS(BOWL, compensation) if compensation else pk.RestartedNesterov(BOWL)
    found = pk.simulate(method, [[0.8]], 1, (eta * np.arange(1, 9)).tolist(), eta).x.values.ravel()
    w, u, alpha, path, restarts = 0.8, 0.8, 1, [], 0
    for _ in range(8):
        g = a * u
        new = u - eta * g
        gamma = (alpha - 1) / (alpha + 2)
        u = new + gamma * (new - w) + compensation * eta * g
        uphill = g * (new - w) > 0
        w, alpha = new, 2 if uphill else alpha + 1
        restarts += uphill
        path.append(w)
    assert 0 < restarts < 8
    np.testing.assert_allclose(found, path, rtol=1e-12, atol=1e-15)


def test_wells_at_a_wall_are_met_where_the_data_is_concave() -> None:
    """f = -x² on [0, 1]: for t > 1/2 every path ends at the wall x = 1, half a cell beyond the
    last node; u(x, t) = (1 - x)²/(2t) - 1. And the mirror image."""
    grid, t = pk.Grid(0, 1, 16), 1.0
    x = grid.axes[0]
    for f, true in ((-(x**2), (1 - x) ** 2 / 2 - 1), (-((1 - x) ** 2), x**2 / 2 - 1)):
        u = pk.solve(pk.HamiltonJacobi(), grid, f, t, pk.schemes.HopfLax()).fields[-1]
        np.testing.assert_allclose(u, true, rtol=0, atol=1e-12)


def test_a_potential_stored_at_every_step_is_read_anew_at_every_step() -> None:
    """Where steps are as long as what is stored is apart, no table is between two others."""
    h, x = 0.125, np.linspace(-3, 3, 61)
    stiff = [1.0, 3.0, 0.5, 2.0, 1.5]
    moving = pk.potentials.Evolving(
        h * np.arange(5.0), x, np.array([c * x**2 / 2 for c in stiff])
    )  # fmt: skip
    dynamics = pk.Langevin(moving, COLD, integrator=pk.particles.EulerMaruyama())
    found = pk.simulate(dynamics, [[0.8]], 1, [4 * h], h).x.values.ravel()
    y = 0.8
    for c in stiff[:4]:
        y -= h * c * y
    np.testing.assert_allclose(found, [y], rtol=1e-9)
