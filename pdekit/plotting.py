"""Draw results on given axes: functions ``(ax, result) -> artists``.

No pyplot state, no files, no colours beyond matplotlib's cycle; every ``**style`` goes
to the artist. Fields are DataArrays with cell centres as coordinates, as ``Solution.u`` has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from pdekit import checks
from pdekit.arrays import Array
from pdekit.grid import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.lines import Line2D
    from matplotlib.patches import StepPatch


def line(ax: Axes, field: xr.DataArray, **style: Any) -> Line2D:
    """A field on the line, dims ``("x",)``, as a curve through the cell centres."""
    _expect(field, ("x",))
    (artist,) = ax.plot(field["x"].values, field.values, **style)
    return artist


def density(ax: Axes, field: xr.DataArray, filled: bool = True, **style: Any) -> list[Any]:
    """A density on the line as a curve, ``filled`` down to zero in the same colour."""
    curve = line(ax, field, **style)
    if not filled:
        return [curve]
    shade: dict[str, Any] = {
        "color": curve.get_color(),
        "alpha": 0.2,
        "lw": 0,
        "zorder": curve.zorder - 1,
    }
    return [curve, ax.fill_between(field["x"].values, field.values, **shade)]


def histogram(
    ax: Axes, samples: ArrayLike, grid: Grid, bins: int | None = None, **style: Any
) -> StepPatch:
    """Particles on the line as steps, normalised as a density (1/length).

    ``samples``: any shape, last dimension 1 or none. ``bins`` divide the box evenly; by default
    cells are merged into about ``2 n^(1/3)`` bins (Rice's rule), so that steps end on cell faces.
    Particles outside the box are not drawn but count in the normalisation: the steps then
    integrate to the fraction inside. Raises ``ValueError`` in more than one dimension.
    """
    x = np.asarray(samples, dtype=float)
    if grid.dim != 1 or (x.ndim > 1 and x.shape[-1] != 1):
        raise ValueError(
            f"a histogram is drawn on a line; got samples of shape {x.shape} and a grid of "
            f"dimension {grid.dim}: take one coordinate and a one-dimensional grid"
        )
    faces = _bin_faces(grid, x.size, bins)
    counts, _ = np.histogram(x.ravel(), bins=faces)
    return ax.stairs(counts / (x.size * np.diff(faces)), faces, **style)


def spectrum(
    ax: Axes, found: Any, width: float | None = None, cells: int = 400, **style: Any
) -> list[Any]:
    """The density of eigenvalues of ``pk.landscapes.hessian_spectrum``, in a band of its error.

    Each eigenvalue is a Gaussian of standard deviation ``width``, by default the resolution of the
    spectrum, or a hundredth of its range where that is more. Few are far out: take a logarithmic
    axis, ``ax.set_yscale("log")``, and limits to it.
    """
    checks.has(
        "found", found, "a Spectrum, such as hessian_spectrum returns", "quadrature", "density"
    )
    nodes, weights = found.quadrature
    seen = nodes[weights > 0]
    width = width or max(found.resolution, float(np.ptp(seen)) / 100) or 1.0
    x = np.linspace(seen.min() - 4 * width, seen.max() + 4 * width, checks.whole("cells", cells, 2))
    value, error = found.density(x, width)
    (curve,) = ax.plot(x, value, **style)
    return [curve, bands(ax, x, value - error, value + error, color=curve.get_color())]


def field(ax: Axes, values: xr.DataArray, **style: Any) -> QuadMesh:
    """A field in the plane, dims ``("x", "y")``, as coloured cells that end on their faces."""
    _expect(values, ("x", "y"))
    x, y = (_faces(values[name].values) for name in ("x", "y"))
    return ax.pcolormesh(x, y, values.values.T, **style)


def bands(ax: Axes, x: ArrayLike, lower: ArrayLike, upper: ArrayLike, **style: Any) -> Any:
    """The region between two curves: an interval, a bound, a sampling floor."""
    return ax.fill_between(
        np.asarray(x),
        np.asarray(lower),
        np.asarray(upper),
        **{"alpha": 0.2, "linewidth": 0} | style,
    )


def _expect(values: xr.DataArray, dims: tuple[str, ...]) -> None:
    checks.has("field", values, f"a DataArray with dims {dims}", "dims", "values")
    if values.dims != dims:
        raise ValueError(
            f"expected a field with dims {dims}, got {values.dims}; take one time, for example "
            f"solution.final or solution.u.sel(time=...)"
        )


def _faces(centres: Array) -> Array:
    half = 0.5 * (centres[-1] - centres[0]) / (len(centres) - 1)
    return np.linspace(centres[0] - half, centres[-1] + half, len(centres) + 1)


def _bin_faces(grid: Grid, n: int, bins: int | None) -> Array:
    cells = grid.cells[0]
    if bins is not None:
        return np.linspace(grid.lower[0], grid.upper[0], bins + 1)
    merged = max(1, round(cells / (2 * n ** (1 / 3))))
    return np.unique(np.append(grid.faces[0][::merged], grid.upper[0]))
