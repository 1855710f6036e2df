"""Stationary densities."""

from typing import TYPE_CHECKING, Any

from pdekit.grid import Grid
from pdekit.pde.equations import FokkerPlanck
from pdekit.pde.generators import gibbs
from pdekit.pde.problem import Problem

if TYPE_CHECKING:
    import xarray as xr


def stationary(equation: Any, grid: Grid) -> "xr.DataArray":
    """The Gibbs state exp(-beta V) / Z of a Fokker-Planck equation, of unit mass on the grid.

    It is the exact stationary state of the discrete generator as well, with zero flux in every
    cell face. Dims ``("x",)`` or ``("x", "y")``. MODEL 1.4.
    """
    import xarray as xr

    if not isinstance(equation, FokkerPlanck):
        raise TypeError(f"stationary takes a FokkerPlanck equation, got {equation!r}")
    problem = Problem(equation, grid, None)
    if problem.moves:
        raise ValueError("a potential that changes in time has no stationary state")
    rho = gibbs(problem.potential(), equation.beta, grid)
    coords = dict(zip(grid.names, grid.axes, strict=True))
    return xr.DataArray(rho, coords=coords, dims=grid.names, name="density")
