"""Without an interaction the mean-field scheme is a Fokker-Planck solver of second order."""

import numpy as np
import pytest

import pdekit as pk
from pdekit import schemes

WELL, START = pk.potentials.DoubleWell(), pk.Gaussian(-0.6, 0.3)
TIMES = [0.2, 1.0]
BOWL = pk.potentials.Quadratic(1.0)


def apart(cells: int) -> tuple[float, float]:
    """L1 distances over h²: McKean-Vlasov from Fokker-Planck, at the times; both of them exact in
    time to 1e-8."""
    grid = pk.Grid(-2.5, 2.5, cells)
    mean_field = pk.McKeanVlasov(WELL, 4.0, pk.CurieWeiss(0.0))
    found = pk.solve(mean_field, grid, START, TIMES, schemes.MeanField(1e-8)).fields
    plain = pk.solve(pk.FokkerPlanck(WELL, 4.0), grid, START, TIMES).fields
    distances = grid.integrate(np.abs(found - plain)) / grid.spacing[0] ** 2
    return float(distances[0]), float(distances[1])


def test_it_agrees_with_fokker_planck_to_second_order() -> None:
    """Order 2 ± 0.15; and not order infinity: the rates are bent by 1 + h² beta U''/5."""
    coarse, fine = apart(50), apart(100)
    for one, other in zip(coarse, fine, strict=True):
        assert np.log2(4 * one / other) == pytest.approx(2, abs=0.15)
    assert 0.01 < max(fine) < 5


def test_what_it_bends_is_not_the_stationary_state() -> None:
    grid = pk.Grid(-2.5, 2.5, 60)
    equation = pk.McKeanVlasov(WELL, 4.0, pk.CurieWeiss(0.0))
    gibbs = pk.stationary(pk.FokkerPlanck(WELL, 4.0), grid).values
    moved = pk.solve(equation, grid, gibbs, 5.0).fields[0]
    assert grid.integrate(np.abs(moved - gibbs)) < 1e-12


def test_bent_rates_are_nearer_to_the_truth_in_a_quadratic_well() -> None:
    """Moments e^-t m, e^-2t s² + (1 - e^-2t)/beta + mean²; what docs/methods.md says of them."""
    grid, beta, decay = pk.Grid(-3, 3, 100), 3.0, np.exp(-1.0)
    bent = pk.McKeanVlasov(BOWL, beta, pk.CurieWeiss(0.0))
    found = pk.solve(bent, grid, START, 1.0, schemes.MeanField(1e-8)).fields[0]
    plain = pk.solve(pk.FokkerPlanck(BOWL, beta), grid, START, 1.0).fields[0]
    mean = -0.6 * decay
    second = decay**2 * 0.3**2 + (1 - decay**2) / beta + mean**2
    for power, exact in ((1, mean), (2, second)):
        off, straight = (
            abs(grid.integrate(grid.axes[0] ** power * r) - exact) for r in (found, plain)
        )
        assert straight / off == pytest.approx(5, rel=0.2)
