"""Walls that a process does not cross by itself, as its diffusion vanishes there.

Where n·D n = 0 at a wall, and the drift does not point out of the box, nothing would be beyond it
if the box were larger (Fichera): a geometric Brownian motion at 0. The drift of other readings than
Itô's points inward there, as D n is zero at the wall and n·D n is not negative inside.
"""

from typing import Any

import numpy as np

from pdekit.arrays import Array, real
from pdekit.grid import Grid
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.equations import frozen

_ZERO = 1e-12  # of the largest diffusion, and of the change of the potential over a cell
_INSIDE = 0.25  # of a cell from the wall, where the potential is compared
Sides = tuple[tuple[bool, bool], ...]


def uncrossed(problem: Problem) -> Sides:
    """Per axis, whether the process does not cross the lower and the upper wall by itself."""
    nothing = ((False, False),) * problem.grid.dim
    if getattr(problem.equation, "diffusion", None) is None:
        return nothing
    until = problem.until or 0.0
    times = (0.0, 0.37 * until, until) if problem.time_dependent else (0.0,)
    try:
        with np.errstate(all="ignore"):
            found = [_of(frozen(problem.equation, t), problem.grid) for t in times]
    except Exception:  # a coefficient known on the cells alone
        return nothing
    lower, upper = np.all(found, axis=0).T.tolist()
    return tuple(zip(lower, upper, strict=True))


def _of(equation: Any, grid: Grid) -> list[tuple[bool, bool]]:
    D = _normal(equation.diffusion.D, grid.centres, grid.dim)
    scale = _ZERO * D.max()
    out = []
    for axis in range(grid.dim):
        ends = []
        for side in (-1, 1):
            wall = _wall(grid, axis, side)
            still = _normal(equation.diffusion.D, wall, grid.dim)[..., axis].max() <= scale
            ends.append(bool(still) and _inward(equation, grid, wall, axis, side))
        out.append((ends[0], ends[1]))
    return out


def _normal(D: Any, points: Array, dim: int) -> Array:
    """Diagonal entries of the diffusion at points, (..., dim)."""
    values = real(D(points) if callable(D) else D)
    if values.shape[-2:] == (dim, dim) and values.shape != points.shape[:-1]:
        values = np.diagonal(values, axis1=-2, axis2=-1)
    else:
        values = values[..., None]
    return np.broadcast_to(values, points.shape)


def _wall(grid: Grid, axis: int, side: int) -> Array:
    """The points of a wall beside the centres of its cells."""
    first = np.take(grid.centres, [0 if side < 0 else -1], axis=axis)
    wall = first.copy()
    wall[..., axis] = grid.lower[axis] if side < 0 else grid.upper[axis]
    return wall


def _inward(equation: Any, grid: Grid, wall: Array, axis: int, side: int) -> bool:
    """Whether neither the force nor the slope of the potential leads out."""
    force, V = equation.force, equation.potential
    if force is not None and (side * real(force(wall))[..., axis]).max() > 0:
        return False
    near = wall.copy()
    near[..., axis] -= side * _INSIDE * grid.spacing[axis]
    here, inside = real(V(wall)), real(V(near))
    rounding = _ZERO * max(float(np.abs(here).max()), float(np.abs(inside).max()))
    return bool((inside - here).max() <= rounding)
