"""Initial data as fields: densities of laws, functions and arrays, and functions on other cells."""

import warnings
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import TruncationWarning
from pdekit.grid import Grid
from pdekit.laws import require_law
from pdekit.pde.discrete import cell_means
from pdekit.pde.discrete.sampling import as_field, evaluate
from pdekit.pde.discrete.truncation import LOST_MASS

_LEAST = 1e-150  # least maximum of a density: its square does not underflow


def density(initial: Any, grid: Grid, supplied: bool = False) -> Array:
    """An initial density from a law, scaled to unit mass, or from values, which keep theirs.

    ``supplied``: it may be zero everywhere.
    """
    checks.value_not_class("the initial law or density", initial)
    if hasattr(initial, "pdf"):
        return _from_law(initial, grid)
    if callable(initial) or checks.time_dependent(initial):
        rho = evaluate(initial, grid, "the initial density")
    else:
        rho = as_field(initial, grid, "the initial density")
    if rho.min() < 0:
        cell = tuple(int(k) for k in np.unravel_index(rho.argmin(), rho.shape))
        raise ValueError(
            f"an initial density must not be negative; it is {rho.min():g} in cell {cell}"
        )
    largest = float(rho.max())
    if supplied and largest == 0:
        return rho
    if not largest > 0:
        raise ValueError("the initial density must be positive somewhere, got zero in every cell")
    if largest < _LEAST:
        raise ValueError(
            f"the maximum of the initial density must be at least {_LEAST:g}, so that its square "
            f"does not underflow; its maximum is {largest:g}. Scale it: the equation is linear"
        )
    if callable(initial):
        cell_means.report_density(initial, rho, grid, stacklevel=2)
    return rho


def _from_law(law: Any, grid: Grid) -> Array:
    require_law("the initial law", law)
    inside = float(law.mass(grid))
    box = f"[{grid.lower}, {grid.upper}]"
    if inside < 0.5:
        raise ValueError(
            f"the initial law {law!r} has only {inside:.3g} of its mass inside the grid {box}; "
            "move the law or enlarge the grid"
        )
    if 1 - inside > LOST_MASS:
        warnings.warn(
            f"the initial law {law!r} has mass {1 - inside:.3g} beyond the grid {box}; the rest "
            "was rescaled to unit mass. Enlarge the grid to keep all of it",
            TruncationWarning,
            stacklevel=2,
        )
    rho: Array = np.asarray(law.density(grid), dtype=float)
    total = float(grid.integrate(rho))
    if not total > 0:
        raise ValueError(f"the initial law {law!r} has no mass on the grid {box}")
    return rho / total


def spline(values: Array, grid: Grid, fine: Grid) -> Array:
    """Cubic splines through fields ``(..., *grid.shape)``, at the centres of another grid."""
    from scipy.interpolate import CubicSpline

    out = values
    for axis in range(grid.dim):
        nodes, boundary, at = grid.axes[axis], "not-a-knot", axis - grid.dim
        if grid.periodic[axis]:
            nodes = np.append(nodes, nodes[0] + grid.upper[axis] - grid.lower[axis])
            out = np.concatenate([out, np.take(out, [0], at)], at)
            boundary = "periodic"
        out = CubicSpline(nodes, out, at, bc_type=boundary)(fine.axes[axis])
    return out
