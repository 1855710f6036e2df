"""Quantile particles of a law on a line, and where transport without noise takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import each_once
from pdekit.grid import Grid, require_grid
from pdekit.laws import Law, require_law
from pdekit.pde.discrete import quantiles
from pdekit.protocols import Equation, Initial, Times

if TYPE_CHECKING:
    import xarray as xr

_WIDEST = 1e100


def quantile_particles(law: Law, n: int, grid: Grid | None = None) -> Array:
    """The quantiles of a law on a line at the levels (k + ½) / n: n particles without chance.

    Positions ``(n, 1)``, in order: what ``simulate(..., initial=...)`` takes. Their mean of a
    smooth f differs from ∫ f dlaw by O(n^-2) (tails apart), where that of independent samples does
    by O(n^-1/2). A law that has a ``cdf`` (those of pdekit) is taken as a whole; of any other, and
    wherever a ``grid`` is given, the part in the grid's box. Raises ``ValueError`` for a law in
    more than one dimension, or with next to nothing in the box.
    """
    require_law("law", law)
    count = checks.whole("n", n, 1)
    require_grid("grid", grid, optional=True)
    if law.dim != 1 or (grid is not None and grid.dim != 1):
        raise ValueError(
            f"quantiles are those of a law on a line, got {law!r} of {law.dim} coordinates; take "
            "samples, simulate(..., initial=law)"
        )
    at = (np.arange(count) + 0.5) / count
    if grid is not None:
        cdf = quantiles.cdf_of(law, grid)
        return quantiles.inverse(cdf, at, grid.lower[0], grid.upper[0])[:, None]
    own = getattr(law, "cdf", None)
    if own is None:
        raise ValueError(f"{law!r} has no cdf(x); give the grid in whose box its density is")
    low, high = _bracket(own, float(at[0]), float(at[-1]))
    return quantiles.inverse(own, at, low, high)[:, None]


def quantile_flow(
    equation: Equation, initial: Initial, grid: Grid, t: Times, n: int = 1000, rtol: float = 1e-10
) -> xr.DataArray:
    """The quantiles of the solution of a transport without noise on a line, at the times ``t``.

    Those of ``initial`` at the levels u = (k + ½) / n, along X' = -∇V(X) [+ force] - ∫ ∇_x W rho
    (``schemes.Quantiles``, which makes fields of them): dims ``("time", "level")``. An integral
    ∫ f rho is the mean of f over the levels, with an error of O(n^-2), and no cells are involved
    (times the mass of ``initial``, where that is not one).
    ``grid``: the box that holds ``initial``, with no-flux walls, or a circle, where positions go on
    beyond its ends. Raises ``ValueError`` for an equation with noise, or in the plane.
    """
    import xarray as xr

    from pdekit.pde.discrete.problem import Problem
    from pdekit.pde.schemes.quantiles import Quantiles

    quantiles.require_line(equation, "quantile_flow")
    require_grid("grid", grid)
    times = checks.output_times(t)
    problem, scheme = Problem(equation, grid, initial), Quantiles(n, rtol)
    reason = scheme.refuses(problem)
    if reason:
        raise ValueError(reason)
    with each_once():
        flow = scheme.flow(problem, scheme.n)
        x = np.stack([quantiles.middle(flow.to(s)) for s in times])
    at = (np.arange(scheme.n) + 0.5) / scheme.n
    return xr.DataArray(x, coords={"time": times, "level": at}, dims=("time", "level"), name="x")


def _bracket(cdf: Any, first: float, last: float) -> tuple[float, float]:
    """Numbers beyond which there are none of the quantiles."""
    low, high = -1.0, 1.0
    while cdf(np.array(low)) >= first and low > -_WIDEST:
        low *= 2
    while cdf(np.array(high)) < last and high < _WIDEST:
        high *= 2
    return low, high
