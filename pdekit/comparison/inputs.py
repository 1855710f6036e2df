"""Reading the inputs of comparisons: a field on a grid over times, and particles."""

from math import isclose
from typing import Any, Protocol

import numpy as np
import xarray as xr

from pdekit.arrays import Array
from pdekit.checks import in_order, shown
from pdekit.grid import Grid


class HasField(Protocol):
    """A field on a grid over times: ``.u`` with dims ("time", "x"[, "y"]) and ``.grid``."""

    @property
    def u(self) -> Any: ...  # a DataArray; pyright does not accept a cached property here
    @property
    def grid(self) -> Grid: ...


class HasParticles(Protocol):
    """Particles over times: ``.x`` with dims ("time", ["run",] "particle", "dim")."""

    @property
    def x(self) -> xr.DataArray: ...


def field_of(solution: HasField, role: str = "") -> tuple[Grid, xr.DataArray]:
    """Grid and field, ``time`` first; ``role`` tells the error message what was expected."""
    u, grid = getattr(solution, "u", None), getattr(solution, "grid", None)
    if not isinstance(u, xr.DataArray) or not isinstance(grid, Grid):
        raise TypeError(
            f"expected a solution with .u (DataArray) and .grid (Grid), got "
            f"{type(solution).__name__}{role}"
        )
    if set(u.dims) != {"time", *grid.names}:
        raise ValueError(f"solution.u has dims {u.dims}, expected {('time', *grid.names)}")
    u = u.transpose("time", *grid.names)
    if u.shape[1:] != grid.shape:
        raise ValueError(f"solution.u has {u.shape[1:]} values a time, its grid {grid.shape} cells")
    check_times("solution.u", u)
    return grid, on_cells("solution.u", u, grid)


def on_cells(what: str, u: xr.DataArray, grid: Grid) -> xr.DataArray:
    """``u`` with its cells in the grid's order; ``ValueError`` where they are not the grid's."""
    for name, axis, h in zip(grid.names, grid.axes, grid.spacing, strict=True):
        if name in u.coords:
            u = u if (np.diff(u[name].values) > 0).all() else u.sortby(name)
            given = u[name].values
            if not np.allclose(given, axis, rtol=0, atol=1e-6 * h):
                raise ValueError(
                    f"{what} lies along {name} from {given[0]:g} to {given[-1]:g}, where the "
                    f"centres of its grid go from {axis[0]:g} to {axis[-1]:g}"
                )
    return u


def check_times(what: str, x: xr.DataArray) -> None:
    """``ValueError`` unless ``x`` has valid time coordinates."""
    times = np.asarray(x["time"].values) if "time" in x.coords else np.array(["none"])
    real = times.dtype.kind in "iuf" and np.isfinite(times).all()
    if not real or np.unique(times).size < times.size:
        raise ValueError(
            f"{what} must have a coordinate 'time' of different finite numbers, got "
            f"{shown(times)}; give them by {what}.assign_coords(time=[...])"
        )


def density_of(solution: HasField) -> tuple[Grid, xr.DataArray]:
    """Grid and density; an error if the equation has none."""
    equation = getattr(solution, "equation", None)
    forward = getattr(equation, "linear", False) and not getattr(equation, "looks_backward", False)
    if not (getattr(equation, "carries_density", True) or forward):
        raise ValueError(
            f"the solution of {type(equation).__name__} is not a density; expected the solution of "
            "FokkerPlanck, McKeanVlasov or Heat, such as dynamics.law()"
        )
    return field_of(solution, "; the order is compare(solution, ensemble)")


def particles_of(ensemble: HasParticles, grid: Grid) -> xr.DataArray:
    x: Any = getattr(ensemble, "x", None)
    if not isinstance(x, xr.DataArray):
        raise TypeError(
            f"the second argument must have .x (a DataArray), got {type(ensemble).__name__}"
        )
    if set(x.dims) - {"run"} != {"time", "particle", "dim"}:
        raise ValueError(f"ensemble.x has dims {x.dims}, expected (time, [run,] particle, dim)")
    x = _reduced(x, getattr(ensemble, "dynamics", None))
    x = _in_phase_space(x, getattr(ensemble, "p", None), grid)
    if x.sizes["dim"] != grid.dim:
        raise ValueError(
            f"the particles have {x.sizes['dim']} coordinates, the density's grid has {grid.dim}; "
            f"select the coordinates to compare"
        )
    check_times("ensemble.x", x)
    particles: xr.DataArray = in_order("ensemble.x", x, "dim", grid.names)
    n = x.sizes["particle"] * x.sizes.get("run", 1)
    if n < 50:
        raise ValueError(
            f"{n} particles are too few for a comparison, expected at least 50; simulate more"
        )
    return particles


def survivors_of(ensemble: object) -> xr.DataArray | None:
    """The share of particles that have not stopped, over time; None where none does."""
    alive = getattr(ensemble, "alive", None)
    if alive is None:
        return None
    share: xr.DataArray = alive.mean("run", keep_attrs=True) if "run" in alive.dims else alive
    return share


def _reduced(x: xr.DataArray, dynamics: object) -> xr.DataArray:
    """In the coordinates of which the law of the dynamics is the law, if it declares some."""
    if not hasattr(dynamics, "reduced"):
        return x
    ordered = x.transpose(..., "dim")
    z = np.asarray(dynamics.reduced(ordered.values))
    return xr.DataArray(z, {k: v for k, v in ordered.coords.items() if k != "dim"}, ordered.dims)


def _in_phase_space(x: xr.DataArray, p: xr.DataArray | None, grid: Grid) -> xr.DataArray:
    """(q, p), of particles with momenta on a grid that has axes for both."""
    if p is None or x.sizes["dim"] + p.sizes["dim"] != grid.dim:
        return x
    return xr.concat([x, p], dim="dim")


def shared_times(here: Array, there: Array) -> list[tuple[int, int]]:
    nearest = [int(np.argmin(np.abs(here - t))) for t in there]
    pairs = [(i, j) for j, i in enumerate(nearest) if isclose(here[i], there[j], rel_tol=1e-6)]
    if not pairs:
        raise ValueError(
            f"no time is common to both: the density has t = {_listed(here)}, the particles have t "
            f"= {_listed(there)}; solve and simulate for the same times"
        )
    return pairs


def _listed(times: Array) -> str:
    shown = ", ".join(f"{t:g}" for t in times[:8])
    return f"[{shown}{', ...' if len(times) > 8 else ''}]"


def _real(values: Any, what: str) -> Array:
    if np.asarray(values).dtype.kind not in "iuf":
        raise TypeError(f"{what} must be real numbers, got {np.asarray(values).dtype}")
    return np.asarray(values, dtype=float)


def points_of(x: xr.DataArray, dim: int, time: float, stops: bool) -> Array:
    """``(n, dim)``; of particles that may stop those that have not."""
    order = [d for d in ("run", "particle", "dim") if d in x.dims]
    points = _real(x.transpose(*order).values, "the positions").reshape(-1, dim)
    if stops:
        points = points[~np.isnan(points).all(axis=1)]
    bad = len(points) - np.count_nonzero(np.isfinite(points).all(axis=1))
    if bad:
        raise ValueError(
            f"{bad} of {len(points)} particles are not finite at time t = {time:g}; a smaller dt "
            "may help"
        )
    return points


def mass_of(
    u: xr.DataArray, grid: Grid, time: float, stops: bool, most: float = 1.0
) -> tuple[Array, float]:
    """Masses in the cells, over their sum, and this; 1 unless particles may stop or enter.

    ``most`` is what there may be of it.
    """
    rho = _real(u.values, "the density")
    if not np.isfinite(rho).all():
        raise ValueError(f"the density is not finite at t = {time:g}")
    if rho.min() < -1e-10 * np.abs(rho).max():
        raise ValueError(
            f"the density is negative at t = {time:g}: its minimum is {rho.min():.3g}; expected a "
            "solution of a Fokker-Planck equation"
        )
    total = float(grid.integrate(rho))
    if stops and not 0 < total < most * (1 + 1e-3):
        raise ValueError(
            f"the density integrates to {total:.6g} at t = {time:g}, expected more than 0 and at "
            f"most {most:.6g}, of particles that may stop; leave later times out, or divide by the "
            "first mass"
        )
    if not stops and abs(total - 1) > 1e-3:
        raise ValueError(
            f"the density integrates to {total:.6g} at t = {time:g}, expected 1; divide by its "
            "mass, enlarge the box if mass was lost, or compare with particles that stop as well, "
            "by walls= or killing= of their dynamics"
        )
    mass = np.maximum(rho, 0.0)
    return np.asarray(mass / mass.sum()), min(total, most) if stops else 1.0


def acts_on_itself(dynamics: object) -> bool:
    """Whether the particles of a run interact, as declared by their dynamics."""
    return bool(getattr(dynamics, "coupled", False)) or (
        getattr(dynamics, "interaction", None) is not None
    )
