"""Semiconcavity: second differences compared with the proved bounds; intervals of convexity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.comparison.inputs import HasField, field_of
from pdekit.grid import Grid
from pdekit.protocols import Field

WALL_CELLS = 4
"""Cells left out beside a no-flux wall, where the lemma for the whole space does not apply."""

Window = tuple[Any, Any] | None


@dataclass(frozen=True)
class Semiconcavity:
    """Measured constants of a value function and their bounds, for each time.

    ``data`` is a Dataset over ``time``. For each ``k`` in ``xx``, ``yy``, ``laplacian`` and, in the
    plane, ``any`` (the largest eigenvalue of the Hessian: the worst of all directions):
    ``sup_k`` measured, ``bound_k`` proved, ``margin_k = bound_k - sup_k``, ``allowance_k`` for the
    grid, ``holds_k``; likewise ``minima`` (harmonic mean of the Hessian's eigenvalues, largest over
    the local minima; NaN where there is none). ``constants`` holds ``C_k``; a direction where the
    lemma does not apply has a NaN bound and is listed in ``not_applicable``.
    """

    data: xr.Dataset
    constants: dict[str, float]

    @property
    def not_applicable(self) -> tuple[str, ...]:
        """Directions in which the initial data is concave, ``C_k <= 0``: then no bound."""
        return tuple(k for k, c in self.constants.items() if not c > 0)

    @property
    def holds(self) -> bool:
        """Whether every bound that applies holds at every time, within its allowance."""
        return all(bool(v.all()) for k, v in self.data.items() if str(k).startswith("holds_"))

    def __str__(self) -> str:
        rows = [f"{'time':>10} {'direction':>10} {'measured':>11} {'bound':>11} {'allowance':>10}"]
        names = [*(k for k, c in self.constants.items() if c > 0), "minima"]
        if "yy" not in self.constants:  # on the line the Laplacian is xx again
            names = [k for k in names if k != "laplacian"]
        for time in self.data["time"].values:
            at = self.data.sel(time=time)
            for k in names:
                sup, bound, slack = (at[f"{v}_{k}"].item() for v in ("sup", "bound", "allowance"))
                verdict = "holds" if at[f"holds_{k}"].item() else "FAILS"
                rows.append(
                    f"{time:>10.4g} {k:>10} {sup:>11.5g} {bound:>11.5g} {slack:>10.2g} {verdict}"
                )
        inapplicable = [
            f"{k}: C = {self.constants[k]:.4g} <= 0, no bound" for k in self.not_applicable
        ]
        return "\n".join([*rows, *inapplicable])


def semiconcavity(
    solution: HasField,
    initial: Field | None = None,
    *,
    constants: float | Sequence[float] | None = None,
    window: Window = None,
    step: int = 1,
) -> Semiconcavity:
    """Measure the semiconcavity constants of a Hamilton-Jacobi solution against their bounds.

    For ``u_t = -|grad u|^2 / 2 + lap u / (2 beta)``, any ``beta`` in (0, inf], ``u(0) = f`` and
    ``0 < C_k = sup f_kk <= inf``::

        sup u_vv(t) <= 1 / (1/C_v + t)        sup lap u(t) <= 1 / (1/C_lap + t/d)
        HM(eigenvalues of Hess u) <= 1 / (t + 1/HM(C))     at local minima of u(t)

    with ``HM`` the harmonic mean, and ``v`` an axis or, in the plane, any direction at all (then
    ``C_v`` is the supremum over directions too). ``u_kk`` is measured by
    ``(u(x+s) - 2u(x) + u(x-s)) / s^2``, ``s = step * h``, an average of ``u_kk`` and so never above
    its supremum.

    Parameters
    ----------
    solution : has ``.u``, dims ``("time", "x"[, "y"])``, and ``.grid``; ``time`` counts from ``f``
    initial : ``f``: a potential or callable on points ``(..., d)``, or an array of ``grid.shape``.
        Default: the solution's entry at time 0.
    constants : ``C_k`` per axis where they are known (``inf`` allowed), instead of measuring them.
        Then ``C_lap`` is their sum, an upper bound of it; other directions are not covered.
    window : ``(lower, upper)``, numbers or one per axis: where ``u(t)``, ``t > 0``, is evaluated.
    step : cells per difference; larger steps reduce the effect of a solver's noise, ``noise /
        s^2``.

    ``C_k`` is measured over the whole box, as its influence propagates: the largest difference over
    a cell, raised by how far it is from that over two, so that it is above the supremum between the
    centres too where the cells resolve f. It counts as infinite if differences over 4 cells are
    less than half of those over 1 (a convex kink).

    Boundaries: the lemma holds on the whole space. Next to each no-flux wall ``max(4, 2 step)``
    cells are left out. A box whose data rise towards the wall is harmless (reflection makes a
    concave kink there); data that fall towards it make a convex kink at the wall, which is not
    semiconcave: choose a window that its influence does not reach. Periodic axes lose no cells.

    ``allowance_k`` is 4/3 of the difference between the suprema at ``s`` and ``2s`` (of O(h^2), or
    all of a solver's noise). A bound holds if ``sup_k <= bound_k + allowance_k``.

    Raises ``ValueError`` if neither ``initial``, ``constants`` nor a time 0 is there, if no ``C_k``
    is positive, for another Hamiltonian than |p|²/2, for shapes that do not fit or an empty window;
    ``TypeError`` for a solution without ``.u`` and ``.grid``.

    Source: thesis Lemmas 4.17-4.19, mathematics 1.8 (with the hypothesis ``C_k > 0``). Good values:
    1,000 cells, ``step=1`` for Cole-Hopf, 4 to 8 for first-order schemes.
    """
    if hasattr(solution, "since_start"):
        solution = solution.since_start()
    grid, u = _value_of(solution)
    _check_step(step, grid)
    known = _constants(u, grid, initial, constants, step)
    if not any(c > 0 for c in known.values()):
        raise ValueError(
            f"the lemma needs a positive constant C_k = sup f_kk, got {known}: the initial data "
            f"is concave, sup u_kk simply does not grow"
        )
    inside = _inside(grid, window, max(WALL_CELLS, 2 * step))
    columns: dict[str, list[Any]] = {}
    for time, field in zip(u["time"].values, u.values, strict=True):
        row = _at_one_time(field, float(time), grid, inside, step, known)
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    data = xr.Dataset(
        {name: ("time", np.array(values)) for name, values in columns.items()},
        coords={"time": u["time"].values},
    )
    return Semiconcavity(data, known)


def is_convex(field: xr.DataArray, tol: float | None = None, window: Window = None) -> bool:
    """Whether a field on a line or a plane is convex: smallest Hessian eigenvalue ``>= -tol``.

    ``field`` has dims ``("x",)`` or ``("x", "y")``, evenly spaced coordinates; differences over one
    cell, the outermost cells excluded. ``tol`` in units of the second derivative; default: what
    rounding does, ``16 eps max|u| / h^2``. ``window``: ``(lower, upper)`` as in ``semiconcavity``.
    Raises ``ValueError`` for other dims or an empty window. Source: mathematics 1.3, 1.8.
    """
    grid = _grid_of(field)
    inside = _inside(grid, window, 1)
    u = np.asarray(field.values, dtype=float)
    slack = _rounding(u, grid) if tol is None else tol
    return bool(np.linalg.eigvalsh(_hessian(u, grid, 1)[inside])[..., 0].min() >= -slack)


@dataclass(frozen=True)
class ConvexIntervals:
    """Where a field on the line is convex: ``intervals`` of shape (number, 2), in order."""

    intervals: Array

    @property
    def number(self) -> int:
        return len(self.intervals)

    @property
    def length(self) -> float:
        """Total length, in units of the coordinate."""
        return float((self.intervals[:, 1] - self.intervals[:, 0]).sum())


def convex_intervals(
    field: xr.DataArray, tol: float | None = None, window: Window = None
) -> ConvexIntervals:
    """Maximal intervals where the second difference of a field on the line is ``>= -tol``.

    Ends are cell faces, so lengths are right to a cell; ``tol``, ``window`` as in ``is_convex``.
    The convex intervals of ``u(t)`` widen with ``t`` under the Hamilton-Jacobi equation.
    Raises ``ValueError`` for a field that is not on a line. Source: mathematics 1.3, 1.8.
    """
    grid = _grid_of(field)
    if grid.dim != 1:
        raise ValueError(f"convex intervals belong to a field on a line, got dims {field.dims}")
    u = np.asarray(field.values, dtype=float)
    slack = _rounding(u, grid) if tol is None else tol
    convex = _inside(grid, window, 1) & (_second_difference(u, grid, 0, 1) >= -slack)
    turns = np.diff(convex.astype(int), prepend=0, append=0)
    starts, ends = np.flatnonzero(turns == 1), np.flatnonzero(turns == -1)
    faces = grid.faces[0]
    return ConvexIntervals(np.stack([faces[starts], faces[ends]], axis=-1))


# --- one time ------------------------------------------------------------------------------------


def _at_one_time(
    u: Array,
    time: float,
    grid: Grid,
    inside: NDArray[np.bool_],
    step: int,
    known: dict[str, float],
) -> dict[str, Any]:
    fine, coarse = (_suprema(u, grid, s, inside) for s in (step, 2 * step))
    row: dict[str, Any] = {}
    for k, c in known.items():
        dimension = grid.dim if k == "laplacian" else 1
        bound = _bound(c, time / dimension)
        # noise of size e is e / s^2 in the one and a quarter of it in the other
        slack = 4 / 3 * abs(fine[k] - coarse[k])
        row.update(_verdict(k, fine[k], bound, slack))
    axes = [2 * name for name in grid.names]
    mean = [known[k] for k in axes]
    with np.errstate(divide="ignore"):  # all infinite: no bound at time 0, 1/t later
        harmonic = float(len(mean) / np.sum(1 / np.array(mean))) if min(mean) > 0 else np.nan
    bound = _bound(harmonic, time)
    slack = sum(row[f"allowance_{k}"] for k in axes)
    row.update(_verdict("minima", _harmonic_at_minima(u, grid, inside, step), bound, slack))
    return row


def _verdict(name: str, sup: float, bound: float, slack: float) -> dict[str, Any]:
    # a NaN (no bound or no minimum) is not a failure
    failed = sup > bound + slack + 1e-9 * abs(bound)
    values = {"sup": sup, "bound": bound, "margin": bound - sup, "allowance": slack}
    return {**{f"{k}_{name}": v for k, v in values.items()}, f"holds_{name}": not failed}


def _bound(c: float, t: float) -> float:
    """``1/(1/C + t)``; NaN where the lemma does not apply, infinite for kinks at time 0."""
    if not c > 0:
        return float("nan")
    inverse = 1 / c + t
    return 1 / inverse if inverse > 0 else float("inf")


# --- differences ---------------------------------------------------------------------------------


def _second_difference(u: Array, grid: Grid, axis: int, step: int) -> Array:
    """Centred, wrapping round; the caller leaves out ``step`` cells beside walls."""
    around = np.roll(u, step, axis) + np.roll(u, -step, axis)
    return np.asarray((around - 2 * u) / (step * grid.spacing[axis]) ** 2)


def _hessian(u: Array, grid: Grid, step: int) -> Array:
    h = np.empty((*u.shape, grid.dim, grid.dim))
    for k in range(grid.dim):
        h[..., k, k] = _second_difference(u, grid, k, step)
    if grid.dim == 2:
        slope = (np.roll(u, -step, 0) - np.roll(u, step, 0)) / (2 * step * grid.spacing[0])
        mixed = (np.roll(slope, -step, 1) - np.roll(slope, step, 1)) / (2 * step * grid.spacing[1])
        h[..., 0, 1] = h[..., 1, 0] = mixed
    return h


def _suprema(u: Array, grid: Grid, step: int, inside: NDArray[np.bool_]) -> dict[str, float]:
    second = [_second_difference(u, grid, k, step)[inside] for k in range(grid.dim)]
    values = {2 * name: float(d.max()) for name, d in zip(grid.names, second, strict=True)}
    values["laplacian"] = float(np.sum(second, axis=0).max())
    if grid.dim == 2:
        largest = np.linalg.eigvalsh(_hessian(u, grid, step)[inside])[..., -1]
        values["any"] = float(largest.max())
    return values


def _harmonic_at_minima(u: Array, grid: Grid, inside: NDArray[np.bool_], step: int) -> float:
    """Largest ``d / tr(Hess^-1)`` over non-degenerate local minima; NaN if there is none."""
    lowest = inside.copy()
    for k in range(grid.dim):
        lowest &= (u < np.roll(u, 1, k)) & (u <= np.roll(u, -1, k))
    eigenvalues = np.linalg.eigvalsh(_hessian(u, grid, step)[lowest])
    eigenvalues = eigenvalues[(eigenvalues > 0).all(axis=-1)]
    return float((grid.dim / (1 / eigenvalues).sum(axis=-1)).max()) if len(eigenvalues) else np.nan


def _rounding(u: Array, grid: Grid) -> float:
    return float(16 * np.finfo(float).eps * np.abs(u).max() / grid.spacing.min() ** 2)


def _inside(grid: Grid, window: Window, drop: int) -> NDArray[np.bool_]:
    lower, upper = window if window is not None else (-np.inf, np.inf)
    z = grid.centres
    inside: NDArray[np.bool_] = np.all((z >= lower) & (z <= upper), axis=-1)
    for k in range(grid.dim):
        if not grid.periodic[k]:
            wall = np.ones(grid.shape[k], dtype=bool)
            wall[drop : grid.shape[k] - drop] = False
            inside &= ~np.expand_dims(wall, tuple(j for j in range(grid.dim) if j != k))
    if not inside.any():
        raise ValueError(
            f"no cell is left in the window: got window {window}, {drop} cells dropped next to "
            f"each wall, box {grid.lower} to {grid.upper} with {grid.shape} cells"
        )
    return inside


# --- reading the input ---------------------------------------------------------------------------


def _value_of(solution: HasField) -> tuple[Grid, xr.DataArray]:
    grid, u = field_of(solution)
    other = getattr(getattr(solution, "equation", None), "hamiltonian", None)
    if other is not None:
        raise ValueError(
            f"semiconcavity is proved for H = |p|²/2, got a solution for {checks.shown(other)}; "
            "differentiate its field twice to see its curvature"
        )
    if not np.isfinite(u.values).all():
        raise ValueError("solution.u has values that are not finite")
    return grid, u


def _check_step(step: int, grid: Grid) -> None:
    if 8 * checks.whole("step", step, 1) > min(grid.shape):
        raise ValueError(
            f"step must be from 1 to {min(grid.shape) // 8} cells on this grid, got {step!r}"
        )


def _constants(
    u: xr.DataArray, grid: Grid, initial: Any, constants: Any, step: int
) -> dict[str, float]:
    """``C_k`` and ``C_lap``; measured ones raised by what differences over cells miss."""
    names = [2 * name for name in grid.names]
    if constants is not None:
        if np.size(constants) not in (1, grid.dim) or np.isnan(constants).any():
            raise ValueError(
                f"constants must be one number per axis ({grid.dim}), got {constants!r}"
            )
        per_axis = np.broadcast_to(np.asarray(constants, dtype=float), (grid.dim,))
        known = dict(zip(names, map(float, per_axis), strict=True))
        return {**known, "laplacian": float(per_axis.sum())}
    f = _initial_data(u, grid, initial)
    fine, coarse, wide = (_suprema(f, grid, s, _inside(grid, None, s)) for s in (1, 2, 4))
    # at the centres differences miss 5/24 of h² times a fourth derivative, over 2 cells 1/4 more
    above = {k: c + abs(c - coarse[k]) if c > 0 else c for k, c in fine.items()}
    return {k: np.inf if c > 0 and wide[k] < 0.5 * c else above[k] for k, c in fine.items()}


def _initial_data(u: xr.DataArray, grid: Grid, initial: Any) -> Array:
    if initial is None:
        start = np.flatnonzero(np.isclose(u["time"].values, 0.0))
        if not start.size:
            raise ValueError(
                "the solution does not contain time 0 (its first time is "
                f"{u['time'].values[0]:g}); pass the initial data as initial=V, or its "
                "constants=..."
            )
        return np.asarray(u.values[start[0]], dtype=float)
    values = initial(grid.centres) if callable(initial) else initial
    f = np.asarray(values, dtype=np.float64)
    if f.shape != grid.shape or not np.isfinite(f).all():
        raise ValueError(
            f"initial: expected finite values of shape {grid.shape}, got shape {f.shape}"
        )
    return f


def _grid_of(field: xr.DataArray) -> Grid:
    """The cells behind a field's own coordinates."""
    checks.has("field", field, "a DataArray such as solution.final", "dims", "values")
    if field.dims not in (("x",), ("x", "y")):
        raise ValueError(
            f"expected a field with dims ('x',) or ('x', 'y'), got {field.dims}; "
            f"take one time, for example solution.final or solution.u.sel(time=...)"
        )
    if not np.isfinite(field.values).all():
        raise ValueError("the field has values that are not finite")
    axes = [np.asarray(field[d].values, dtype=float) for d in field.dims]
    for name, x in zip(field.dims, axes, strict=True):
        if len(x) < 4 or not np.allclose(np.diff(x), x[1] - x[0], rtol=1e-6):
            raise ValueError(f"axis {name!r}: expected at least 4 evenly spaced coordinates")
    half = [0.5 * (x[-1] - x[0]) / (len(x) - 1) for x in axes]
    lower = [x[0] - r for x, r in zip(axes, half, strict=True)]
    upper = [x[-1] + r for x, r in zip(axes, half, strict=True)]
    return Grid(lower, upper, [len(x) for x in axes])
