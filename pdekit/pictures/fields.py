"""Fields over time on a line, and in the plane at one time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pdekit import checks, plotting
from pdekit.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVELS = 12
_ARROWS, _SHORT = 18, 0.01  # along an axis; of the longest, below which none is drawn
SIGNED: dict[str, Any] = {"cmap": "PuOr"}


def plot(
    solution: Any, kind: str | None = None, t: Any = None, ax: Axes | None = None,
    arrows: Any = None, **style: Any,
) -> Axes:  # fmt: skip
    """What ``Solution.plot`` draws."""
    on_line = solution.grid.dim == 1
    kinds = ("lines", "image") if on_line else ("contours", "field")
    kind = canvas.kind_of(kind, kinds)
    if arrows is not None and on_line:
        raise ValueError("arrows are drawn in the plane; on a line plot a current by plotting.line")
    label = canvas.label_of(solution)
    if kind == "image":
        if t is not None:
            raise ValueError("a space-time image shows all stored times; leave t out")
        return space_time(solution.u, canvas.own_or_new(ax), label, canvas.time_label(solution),
                          **style)  # fmt: skip
    if kind == "lines":
        return lines(solution.u, t, canvas.own_or_new(ax), label, **style)
    at = canvas.one_stored(solution.times, t)
    drawn = contours if kind == "contours" else cells
    axes = drawn(solution.u.isel(time=at), canvas.own_or_new(ax), label, **style)
    axes.set_title(f"t = {solution.times[at]:.4g}")
    if arrows is not None:
        quiver(axes, arrows)
    return axes


def lines(u: xr.DataArray, t: Any, ax: Axes, label: str, **style: Any) -> Axes:
    """A field on a line at several times, from dark to light."""
    numbers = canvas.stored(u["time"].values, t)
    for k, colour in zip(numbers, canvas.shades(len(numbers)), strict=True):
        name = f"t = {float(u['time'][k]):.4g}"
        plotting.line(ax, u.isel(time=k), **{"color": colour, "label": name} | style)
    ax.set(xlabel=canvas.length("x"), ylabel=label)
    ax.legend(fontsize="small")
    return ax


def space_time(
    u: xr.DataArray, ax: Axes, label: str, time: str = canvas.TIME, **style: Any
) -> Axes:
    """A field on a line over time, as an image."""
    times, x = u["time"].values, u["x"].values
    half = (x[1] - x[0]) / 2
    faces = np.append(x - half, x[-1] + half)
    shown = ax.pcolormesh(canvas.edges(times), faces, u.values.T, **{"rasterized": True} | style)
    ax.set(xlabel=time, ylabel=canvas.length("x"))
    canvas.bar(ax, shown, u.values, label)
    return ax


def contours(values: xr.DataArray, ax: Axes, label: str, **style: Any) -> Axes:
    """A field in the plane as filled contours, by those of equal value."""
    x, y = (values[name].values for name in ("x", "y"))
    least, most = float(values.min()), float(values.max())
    if not most - least > 1e-12 * max(abs(least), abs(most), 1e-300):
        return cells(values, ax, label, **style)  # constant: there are no contours
    shown = ax.contourf(x, y, values.values.T, **{"levels": _LEVELS} | style)
    ax.figure.colorbar(shown, ax=ax, label=label)
    return _plane(ax)


def cells(values: xr.DataArray, ax: Axes, label: str, **style: Any) -> Axes:
    """A field in the plane as coloured cells."""
    shown = plotting.field(ax, values, **{"rasterized": True} | style)
    canvas.bar(ax, shown, values.values, label)
    return _plane(ax)


def _plane(ax: Axes) -> Axes:
    ax.set(xlabel=canvas.length("x"), ylabel=canvas.length("y"), aspect="equal")
    return ax


def quiver(ax: Axes, vectors: Any, **style: Any) -> Any:
    """Vectors of dims ("x", "y", "component") as arrows at the middles of blocks of cells."""
    checks.has("arrows", vectors, "a DataArray, such as pk.current returns", "dims", "values")
    if vectors.dims != ("x", "y", "component"):
        raise ValueError(
            f"arrows must have the dims ('x', 'y', 'component') of a current; got {vectors.dims}"
        )
    every = [max(1, -(-vectors.sizes[name] // _ARROWS)) for name in ("x", "y")]
    some = vectors[every[0] // 2 :: every[0], every[1] // 2 :: every[1]]
    u, v = some.values[..., 0].T, some.values[..., 1].T
    size = np.hypot(u, v)
    there = size > _SHORT * size.max()
    x, y = np.meshgrid(some["x"].values, some["y"].values)
    given: dict[str, Any] = {"color": "white", "edgecolor": "black", "linewidth": 0.3}
    look = given | {"width": 5e-3, "pivot": "mid"} | style
    return ax.quiver(x[there], y[there], u[there], v[there], **look)
