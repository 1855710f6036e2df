"""The boxes of entropic transport, and what the certificates take its error to be."""

import numpy as np
import pytest

import pdekit as pk
from pdekit.comparison import transport
from pdekit.comparison.certificates.contraction import _both

PLANE = pk.Grid((-1.5, -1.5), (2, 2), (40, 40))


def gaussian(mean: tuple[float, float], width: float) -> np.ndarray:
    mass = np.exp(-((PLANE.centres - mean) ** 2).sum(-1) / (2 * width**2))
    return mass / mass.sum()


def test_boxes_are_as_fine_as_the_densities_are_narrow() -> None:
    """Twenty cells far from the origin of the box stay twenty boxes."""
    fine = pk.Grid((-3, -3), (3, 3), (120, 120))
    mass = np.zeros(fine.shape)
    mass[80:100, 90:110] = 1 / 400
    one, two, centres = transport.occupied_boxes(mass, mass, fine)
    assert len(centres) == 400 and one == pytest.approx(two)
    np.testing.assert_allclose(np.unique(centres[:, 0]), fine.axes[0][80:100], atol=1e-12)
    np.testing.assert_allclose(np.unique(centres[:, 1]), fine.axes[1][90:110], atol=1e-12)


def test_twice_the_regularisation_tells_the_error_of_one() -> None:
    """Of two Gaussians W2 is known: |mean - mean'|² + 2 (width - width')², and a shift is exact."""
    pytest.importorskip("ot")
    p = gaussian((0.5, 0.2), 0.25)
    for q, true in ((gaussian((0.0, 0.2), 0.25), 0.5), (gaussian((0.5, 0.2), 0.5), 0.125**0.5)):
        one, two = _both(p, q, PLANE)
        assert abs(one - true) <= abs(one - two) + 1e-3
    assert abs(one - two) > 1e-4  # of different widths it is not nothing
