"""What a potential does between the centres of the cells, of which its values there show nothing.

A ripple whose wave is a cell, or a cell's nth part, is a constant at the centres, and one a little
longer a slow wave: on half of the cells alike, so that a comparison of grids sees nothing. It slows
diffusion by 1 / I₀(β b)² for waves of height b, 5 % at β b = 0.3 (Zwanzig 1988). So V is evaluated
at some irregular places between centres and compared with the cubic through the four next to them.
"""

import warnings
from math import isfinite
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from pdekit.arrays import Array, real
from pdekit.errors import ResolutionWarning
from pdekit.grid import Grid

_PLACES = 128  # an axis
_GOLDEN, _OTHER = 0.6180339887498949, 0.7548776662466927
_HIDDEN = 0.3  # beta times what V does between the centres, from which on it counts
_OF_A_STEP = 0.3  # the same without noise, of the change of V over a cell
_SHARE = 0.1  # of the places
_SEEN: WeakKeyDictionary[Any, dict[Any, "Hidden | None"]] = WeakKeyDictionary()


class Hidden(NamedTuple):
    """What is hidden: how much of V, at which share of the places, by an axis of which cells."""

    height: float
    share: float
    width: float


def report(V: Any, grid: Grid, beta: float, stacklevel: int) -> None:
    """A ``ResolutionWarning`` if V changes more between the centres than beside them it shows."""
    found = _known(V, grid, beta)
    if found is None:
        return
    matter = f" ({beta * found.height:.2g} / beta)" if isfinite(beta) else ""
    warnings.warn(
        f"the cells, of width {found.width:.2g}, do not show what the potential does between their "
        f"centres: at {found.share:.0%} of some places it is off its values around by "
        f"{found.height:.2g}{matter}, more than these bend, so that the answer belongs to another "
        "potential. Refine the grid until several cells make a wave, or leave the ripples out",
        ResolutionWarning,
        stacklevel=stacklevel + 1,
    )


def _known(V: Any, grid: Grid, beta: float) -> Hidden | None:
    """``_hidden``, of each function once."""
    try:
        seen = _SEEN.setdefault(V, {})
    except TypeError:  # no hash, or no weak reference
        return _hidden(V, grid, beta)
    if (grid, beta) not in seen:
        seen[grid, beta] = _hidden(V, grid, beta)
    return seen[grid, beta]


def _hidden(V: Any, grid: Grid, beta: float) -> Hidden | None:
    for axis, n in enumerate(grid.cells):
        if n < 5:
            continue
        try:
            near, at, cubic = between(V, grid, axis)
        except Exception:  # it fails on points, or is known on the cells alone: said elsewhere
            return None
        with np.errstate(invalid="ignore"):  # what is not finite is said elsewhere
            off = np.abs(at - cubic)
            bend = np.abs(np.diff(near, 2)).max(-1)
        least = _HIDDEN / beta if isfinite(beta) else _OF_A_STEP * np.abs(near[:, 2] - near[:, 1])
        counts = np.isfinite(off) & (off > least) & (off > bend)
        if counts.mean() > _SHARE:
            height = float(np.median(off[counts]))
            return Hidden(height, float(counts.mean()), float(grid.spacing[axis]))
    return None


def between(V: Any, grid: Grid, axis: int) -> tuple[Array, Array, Array]:
    """Of lines along an axis: V at four centres, at a place between the inner two, and there by

    the cubic through them.
    """
    count = np.arange(1, _PLACES + 1)
    cells = [np.floor(np.modf(count * _GOLDEN ** (k + 1))[0] * n) for k, n in enumerate(grid.cells)]
    n, periodic = grid.cells[axis], grid.periodic[axis]
    first = cells[axis] if periodic else np.floor(cells[axis] * (n - 3) / n)
    s = np.modf(count * _OTHER)[0]
    steps = np.stack([np.zeros_like(s), np.ones_like(s), 2 + 0 * s, 3 + 0 * s, 1 + s], -1)
    index = np.repeat(np.stack(cells, -1)[:, None], 5, 1)
    index[..., axis] = (
        np.mod(first[:, None] + steps + 0.5, n) - 0.5 if periodic else (first[:, None] + steps)
    )
    points = np.array(grid.lower) + (index + 0.5) * np.array(grid.spacing)
    with np.errstate(all="ignore"):
        values = real(V(points))
    near, between = values[:, :4], values[:, 4]
    weights = np.stack(
        [
            -s * (s - 1) * (s - 2) / 6,
            (s + 1) * (s - 1) * (s - 2) / 2,
            -(s + 1) * s * (s - 2) / 2,
            (s + 1) * s * (s - 1) / 6,
        ],
        -1,
    )
    with np.errstate(all="ignore"):
        cubic = (weights * near).sum(-1)
    return near, between, cubic
