"""Where it becomes best to stop, between two cells of a line.

Beside the boundary u - ψ is quadratic (smooth fit), so that its root is smooth, and vanishes there.
Cells next to it are off by the scheme's own error; a parabola through those a little farther off
has its zero much closer to the boundary than a cell.
"""

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array

_FIRST, _LAST, _FEWEST = 2, 10, 5  # cells off the last one that stops; the least number of them
_FAR = 2.0  # cells from the face beyond which there is no smooth fit


def edges(gap: Array, stopped: NDArray[np.bool_]) -> list[float]:
    """The boundaries as numbers of cells (i at the centre of cell i), ascending; ``gap``: u - ψ."""
    upward = np.flatnonzero(stopped[:-1] & ~stopped[1:])
    downward = np.flatnonzero(~stopped[:-1] & stopped[1:])
    found = [float(i) + _beyond(gap[i:], stopped[i:]) for i in upward]
    found += [float(i + 1) - _beyond(gap[i + 1 :: -1], stopped[i + 1 :: -1]) for i in downward]
    return sorted(found)


def _beyond(gap: Array, stopped: NDArray[np.bool_]) -> float:
    """The boundary in cells from the first one, the last that stops; 1/2, its face, if unknown."""
    again = np.flatnonzero(stopped[1:])
    until = min(_LAST, len(gap), int(again[0]) + 1 if again.size else len(gap))
    if until - _FIRST < _FEWEST:
        return 0.5
    places = np.arange(_FIRST, until)
    zeros = np.roots(np.polyfit(places, np.sqrt(np.maximum(gap[places], 0.0)), 2))
    real = zeros.real[np.abs(zeros.imag) < 1e-9]
    near = real[np.abs(real - 0.5) < _FAR]
    return float(near[np.argmin(np.abs(near - 0.5))]) if near.size else 0.5
