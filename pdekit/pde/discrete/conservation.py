"""Conservation laws by the equation of their integral: cell averages are its differences."""

from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.discrete.march import Advance
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.stats import Stats
from pdekit.pde.equations import HamiltonJacobi
from pdekit.pde.hamiltonians import HALF_SQUARE, Shifted
from pdekit.protocols import Scheme

_UNIT = 1e-15  # of the data, what rounding may make of a mean of zero
_LOST = 1e-4  # of the range of slopes, of which rounding may take no more


def as_slopes(problem: Problem, scheme: Scheme, stats: Stats) -> Advance:
    """Advance Burgers' equation by ``scheme`` for its integral on the faces of the grid.

    On a circle u = m x + a periodic part, m the mean of p, so that part obeys H(m + .). A box of
    n cells has n + 1 faces; the wall of their grid, beyond which p = 0, is half a cell out.
    """
    grid, p = problem.grid, problem.values
    if grid.dim != 1:
        raise ValueError(f"Burgers is solved on a line; the grid has {grid.dim} dimensions")
    h, hamiltonian = float(grid.spacing[0]), problem.equation.hamiltonian or HALF_SQUARE
    mean = _mean(p) if grid.periodic[0] else 0.0
    if mean != 0:
        hamiltonian = Shifted(hamiltonian, mean)
    integral = np.concatenate([[0.0], np.cumsum(h * (p - mean))])
    (low,), (high,) = grid.lower, grid.upper
    if grid.periodic[0]:
        faces = Grid(low - h / 2, high - h / 2, grid.cells[0], True)
        integral = integral[:-1]
    else:
        faces = Grid(low - h / 2, high + h / 2, grid.cells[0] + 1)
    # the exact slopes stay between the initial minimum and maximum
    around = grid.periodic[0]
    highest, lowest = h * _tops(p - mean, around), -h * _tops(mean - p, around)
    advance = scheme.start(Problem(HamiltonJacobi(hamiltonian), faces, integral), stats)

    def slope(t: float) -> Array:
        u = advance(t)
        _require_digits(u, h * float(np.ptp(p)), t)
        rise = _rise(u, around)
        if rise.max() > highest or rise.min() < lowest:
            rise = _rise(_limited(u, lowest, highest, around), around)
        return np.asarray(mean + rise / h)

    return slope


def _mean(p: Array) -> float:
    """The mean, zero where rounding alone makes one, which long times would carry far."""
    mean = float(p.mean())
    return mean if abs(mean) > _UNIT * float(np.abs(p).max()) else 0.0


def _require_digits(u: Array, rise: float, t: float) -> None:
    """``ConvergenceError`` where u, which moves on by -t H(m), has no digits left for slopes."""
    unit = float(np.spacing(np.abs(u).max()))
    if unit > _LOST * rise > 0:
        raise ConvergenceError(
            f"by t = {t:g} the integral of p has moved on by {np.abs(u).max():.3g}, so that its "
            "differences, the slopes, are lost to rounding; take a shorter time, up to some "
            f"{t * _LOST * rise / unit:.1g}, or data of mean zero"
        )


def _rise(u: Array, around: bool) -> Array:
    return np.roll(u, -1) - u if around else np.diff(u)


def _tops(p: Array, around: bool) -> float:
    """The greatest value of the parabolas through three neighbouring averages.

    Round a circle; between walls no less than that of the medium at rest beyond.
    """
    back, ahead = np.roll(p, 1), np.roll(p, -1)
    if not around:
        back[0] = 3 * p[0] - 3 * p[1] + p[2]  # on the parabola through the last three
        ahead[-1] = 3 * p[-1] - 3 * p[-2] + p[-3]
    bend = 2 * p - back - ahead
    is_top = (p >= back) & (p >= ahead) & (bend > 0)
    over = (ahead - back) ** 2 / (8 * np.where(is_top, bend, 1.0))
    top = float((p + np.where(is_top, over, 0.0)).max())
    return top if around else max(top, 0.0)


def _limited(u: Array, lowest: float, highest: float, around: bool) -> Array:
    """The largest field below u with differences between two numbers, one not above zero."""
    n = u.size
    v: Any = np.tile(u, 3) if around else u
    k = np.arange(v.size)
    v = highest * k + np.minimum.accumulate(v - highest * k)
    v = lowest * k + np.minimum.accumulate((v - lowest * k)[::-1])[::-1]
    return np.asarray(v[n : 2 * n] if around else v)
