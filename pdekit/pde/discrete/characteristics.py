"""Equations in the plane that diffuse along one axis at most: motion along lines, and noise.

rho_t = -∂_x (a rho) - ∂_y (b rho) + the rest, a and b what moves a particle: the force, and along
an axis without noise the slope of the potential. The rest is an equation along the axis that
diffuses, of the potential and the noise there. Each moves lines of cells, as `strang` asks.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete import drift_diffusion
from pdekit.pde.discrete.problem import Problem
from pdekit.pde.discrete.sampling import evaluate_rate, finite_vectors
from pdekit.pde.discrete.strang import InCells, Lines
from pdekit.pde.discrete.transport import along
from pdekit.pde.equations import frozen

_EQUAL = 1e-12  # of speeds, relative to the largest
_ALIVE = 1e-3  # of the largest value: cells below it do not count


def noisy_axes(problem: Problem) -> list[int] | None:
    """The axes along which there is noise everywhere; None if along one it is only in places, or
    if it couples the axes."""
    if problem.equation.without_noise:
        return []
    found = problem.coefficients(0.0)  # cached: other schemes need it too
    if not found.is_diagonal:
        return None
    axes = []
    for axis in range(problem.grid.dim):
        d = found.tensor if found.tensor.ndim == problem.grid.dim else found.tensor[..., axis, axis]
        if d.any():
            axes.append(axis)
            if not (d > 0).all():
                return None
    return axes


def _noise_alone(problem: Problem) -> Problem:
    """The same without its force and killing."""
    return replace(problem, equation=replace(problem.equation, force=None, killing=None))


class Ways:
    """What moves a density on a grid at a time, in the order of splitting: killing, motions, noise.

    Kicks, along the axis that diffuses, come before drifts: BAOAB.
    """

    def __init__(self, problem: Problem, grid: Grid) -> None:
        self.problem, self.grid, self.noisy = problem, grid, noisy_axes(problem) or []
        self.alone = _noise_alone(problem)
        still = not self.alone.time_dependent
        self.noise = lru_cache(1)(lambda t: self._noise(t))
        self.time_of_noise = (lambda t: 0.0) if still else (lambda t: t)

    def __call__(self, t: float) -> list[Any]:
        """The lines, each with ``apply``."""
        equation, grid = self.problem.equation, self.grid
        if self.problem.time_dependent:
            equation = frozen(equation, self.problem.motion_time(t))
        lines: list[Any] = [] if equation.killing is None else [
            InCells(evaluate_rate(equation.killing, grid, "the killing rate"))
        ]  # fmt: skip
        values = self.alone.potential(t, grid)
        for axis in [*self.noisy, *(a for a in range(grid.dim) if a not in self.noisy)]:
            falls = None if axis in self.noisy else values
            speeds = velocity(equation.force, falls, grid, axis)
            if speeds.any():
                turns, opens = self.problem.turning[axis], self.problem.absorbing[axis]
                made = Turning(speeds, grid, axis) if turns else Motion(speeds, grid, axis, opens)
                lines.append(made)
        return [*lines, *self.noise(self.time_of_noise(t))]

    def _noise(self, t: float) -> list[Any]:
        if not self.noisy:
            return []
        found = self.alone.coefficients(t, self.grid)
        made = drift_diffusion.generator(replace(found, values=self.alone.potential(t, self.grid)))
        return [Lines(made, axis, True) for axis in self.noisy]


def turns_nowhere(problem: Problem) -> str:
    """The reason why momenta cannot be turned round at the walls of the grid; "" if they can."""
    for axis, here in enumerate(problem.turning):
        if not here:
            continue
        grid = problem.grid
        speeds = velocity(problem.equation.force, problem.potential(), grid, axis)
        symmetric = np.allclose(speeds, -speeds[::-1], rtol=0, atol=_EQUAL * np.abs(speeds).max())
        if axis in (noisy_axes(problem) or []) or not symmetric:
            return (
                f"Specular() walls turn {grid.names[axis]}' into its opposite: without diffusion "
                f"along {grid.names[axis]}, and with opposite velocities at opposite "
                f"{grid.names[1 - axis]}, on a grid that is symmetric about 0 there"
            )
    return ""


def gathers(problem: Problem) -> bool:
    """Whether the motion along an axis compresses, at the time 0 if it changes in time."""
    lines = [line for line in Ways(problem, problem.grid)(0.0) if hasattr(line, "shear")]
    return any(float(np.abs(np.diff(line.speeds)).max()) > _EQUAL * np.abs(line.speeds).max()
               for line in lines)  # fmt: skip


def velocity(force: Any, values: Array | None, grid: Grid, axis: int) -> Array:
    """-∂U + force at the faces of the lines along an axis, (lines, n + 1)."""
    lines, n = grid.cells[1 - axis], grid.cells[axis]
    speeds = np.zeros((lines, n + 1))
    if values is not None:
        speeds += _downhill(np.ascontiguousarray(along(values, axis)), grid, axis)
    if force is not None:
        places = [grid.faces[k] if k == axis else grid.axes[k] for k in range(grid.dim)]
        points = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1)
        speeds += along(finite_vectors("the force", force, points)[..., axis], axis)
    if grid.periodic[axis]:
        speeds[:, -1] = speeds[:, 0]
    return speeds


def _downhill(lines: Array, grid: Grid, axis: int) -> Array:
    """-∂U at the faces, at a wall that of the next one."""
    fall = -np.diff(lines) / float(grid.spacing[axis])
    if grid.periodic[axis]:
        seam = (lines[:, -1:] - lines[:, :1]) / float(grid.spacing[axis])
        return np.concatenate([seam, fall, seam], axis=1)
    return np.pad(fall, ((0, 0), (1, 1)), mode="edge")


class Motion:
    """Transport along the lines of an axis: cells hold what was between where their faces were.

    ``opens``: whether what arrives at the lower and at the upper end is gone; nothing enters there.
    """

    def __init__(
        self, speeds: Array, grid: Grid, axis: int, opens: tuple[bool, bool] = (False, False)
    ) -> None:
        self.axis, self.periodic, self.opens = axis, bool(grid.periodic[axis]), opens
        self.speeds = speeds / float(grid.spacing[axis])
        self.feet = lru_cache(4)(self._feet)

    def shear(self, u: Array) -> float:
        """The largest change of speed, in cells, from a line to the next, where u is not small."""
        return self._largest(np.diff(self.speeds, axis=0)[:, 1:], u, 0)

    def compression(self, u: Array) -> float:
        """The same along the lines: a rate at which density gathers, or thins."""
        return self._largest(np.diff(self.speeds, axis=1), u, 1)

    def _largest(self, change: Array, u: Array, axis: int) -> float:
        here = along(u, self.axis) > _ALIVE * float(u.max())
        lines = here[1:] if axis == 0 else here
        return float(np.abs(change[lines]).max(initial=0.0))

    def _feet(self, tau: float) -> Array:
        from pdekit.pde.kernels.remap_lines import feet

        out = np.empty_like(self.speeds)
        feet(self.speeds, tau, self.periodic, self.opens, out)
        return out

    def apply(self, u: Array, tau: float, method: Any, out: Array) -> float:
        """out = u moved by a time tau, whatever the method; none of it is negative."""
        from pdekit.pde.kernels.remap_lines import remap

        moved = np.empty((out.shape[1 - self.axis], out.shape[self.axis]))
        remap(along(u, self.axis), self.feet(tau), self.periodic, moved)
        out[...] = along(moved, self.axis)
        return 0.0


class Turning:
    """The same between walls that turn round: the line of a momentum, and back on its opposite.

    Both lines make a ring, on which there are no walls.
    """

    def __init__(self, speeds: Array, grid: Grid, axis: int) -> None:
        self.plain, self.axis, self.half = Motion(speeds, grid, axis), axis, len(speeds) // 2
        ring = Grid(
            (0.0, 0.0), (1.0, 1.0), (max(self.half, 1), 2 * grid.cells[axis]), (False, True)
        )
        joined = np.concatenate([speeds[: self.half], -speeds[::-1][: self.half, -2::-1]], axis=1)
        self.ring = Motion(joined * float(ring.spacing[1] / grid.spacing[axis]), ring, 1)
        self.shear, self.compression = self.plain.shear, self.plain.compression
        self.speeds = self.plain.speeds

    def apply(self, u: Array, tau: float, method: Any, out: Array) -> float:
        """out = u moved by a time tau; a line of no momentum stays."""
        lines, half, n = along(u, self.axis), self.half, u.shape[self.axis]
        joined = np.concatenate([lines[:half], lines[::-1][:half, ::-1]], axis=1)
        moved = np.empty_like(joined)
        self.ring.apply(joined, tau, method, moved)
        new = np.array(lines)
        new[:half], new[::-1][:half] = moved[:, :n], moved[:, : n - 1 : -1]
        out[...] = along(new, self.axis)
        return 0.0
