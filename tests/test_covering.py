"""The round interval on which the turns of a Hamiltonian are looked for."""

import numpy as np
import pytest

from pdekit.pde.hamiltonian_terms import _covering


@pytest.mark.parametrize("width", 10.0 ** np.arange(-6, 7, 1.5))
def test_it_covers_and_is_not_much_wider(width: float) -> None:
    for low in (-3.3 * width, -0.4 * width, 0.07 * width):
        a, b = _covering(low, low + width)
        assert a <= low and low + width <= b and b - a <= 1.51 * width
        assert _covering(low, low + 0.9999 * width)[0] == a
