"""Particles: histograms over time, trajectories, positions in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PATHS, _POINTS = 60, 5_000  # drawn at most
_OUTER = 1e-3  # of the particles on either side are left out of the range of bins


def plot(
    ensemble: Any, kind: str | None = None, t: Any = None, ax: Axes | None = None,
    axis: Any = None, **style: Any,
) -> Axes:  # fmt: skip
    """What ``Ensemble.plot`` draws."""
    x, times = positions(ensemble), ensemble.x["time"].values
    kinds: tuple[str, ...] = ("histogram", "image", "trajectories")
    kinds = kinds if x.shape[-1] == 1 else ("scatter", *kinds)
    kind = canvas.kind_of(kind, kinds)
    axes = _axes(axis, x.shape[-1], 2 if kind == "scatter" else 1)
    if kind in ("image", "trajectories") and t is not None:
        raise ValueError(f"{kind!r} shows all stored times; leave t out")
    if kind == "scatter":
        at = canvas.one_stored(times, t)
        cloud = scatter(x[at][:, axes], canvas.own_or_new(ax), axes, **style)
        cloud.set_title(f"t = {times[at]:.4g}")
        return cloud
    values = x[..., axes[0]]
    if kind == "histogram":
        return histogram(values, times, t, canvas.own_or_new(ax), name_of(axes[0]), **style)
    draw = image if kind == "image" else trajectories
    if kind == "trajectories" and len(times) < 2:
        raise ValueError("trajectories need several stored times; simulate(..., t=[0, 0.1, ...])")
    return draw(values, times, canvas.own_or_new(ax), name_of(axes[0]), **style)


def positions(ensemble: Any) -> Array:
    """(time, particle, dim), of all runs."""
    if ensemble.x is None:
        raise ValueError(
            "positions were not kept, so there is nothing to draw; use simulate(..., keep=True), "
            "or plot .observed, which is an xarray.Dataset"
        )
    x = np.asarray(ensemble.x.values, dtype=float)
    return x.reshape(len(x), -1, x.shape[-1])


def name_of(axis: int) -> str:
    return ("x", "y")[axis] if axis < 2 else f"x_{axis}"


def _axes(given: Any, dim: int, count: int) -> list[int]:
    found = list(range(count)) if given is None else np.atleast_1d(given).tolist()
    whole = all(isinstance(a, int) and 0 <= a < dim for a in found)
    if len(found) != count or not whole:
        raise ValueError(
            f"axis must be {count} of the numbers 0 to {dim - 1} of coordinates here; got "
            f"{checks.shown(given)}"
        )
    return found


def bins(values: Array) -> Array:
    """Faces of bins of equal width between the outermost particles, by Rice's rule."""
    there = values[np.isfinite(values)]
    if not there.size:
        raise ValueError("no particle is on its way at these times; ask for earlier ones by t=...")
    low, high = np.quantile(there, (_OUTER, 1 - _OUTER))
    pad = 0.05 * (high - low) or 0.5
    count = max(10, min(200, round(2 * (there.size / max(1, len(values))) ** (1 / 3))))
    return np.linspace(low - pad, high + pad, count + 1)


def heights(values: Array, faces: Array) -> Array:
    """Densities in the bins, of all particles: those that have stopped count as well."""
    counts, _ = np.histogram(values[np.isfinite(values)], faces)
    out: Array = counts / (values.size * np.diff(faces))
    return out


def histogram(values: Array, times: Array, t: Any, ax: Axes, name: str, **style: Any) -> Axes:
    """Densities at several times, as steps from dark to light."""
    numbers = canvas.stored(times, t)
    faces = bins(values[numbers])
    for k, colour in zip(numbers, canvas.shades(len(numbers)), strict=True):
        label = f"t = {times[k]:.4g}"
        ax.stairs(heights(values[k], faces), faces, **{"color": colour, "label": label} | style)
    ax.set(xlabel=canvas.length(name), ylabel=canvas.density_label(1))
    ax.legend(fontsize="small")
    return ax


def image(values: Array, times: Array, ax: Axes, name: str, **style: Any) -> Axes:
    """Densities over all stored times."""
    faces = bins(values)
    table = np.array([heights(row, faces) for row in values])
    shown = ax.pcolormesh(canvas.edges(times), faces, table.T, **{"rasterized": True} | style)
    ax.set(xlabel=canvas.TIME, ylabel=canvas.length(name))
    canvas.bar(ax, shown, table, canvas.density_label(1))
    return ax


def trajectories(values: Array, times: Array, ax: Axes, name: str, **style: Any) -> Axes:
    """Some particles over time."""
    some = values[:, :: max(1, -(-values.shape[1] // _PATHS))]
    ax.plot(times, some, **{"lw": 0.6, "alpha": 0.7} | style)
    ax.set(xlabel=canvas.TIME, ylabel=canvas.length(name))
    return ax


def scatter(points: Array, ax: Axes, axes: list[int], **style: Any) -> Axes:
    """Two coordinates of some particles."""
    some = points[:: max(1, -(-len(points) // _POINTS))]
    look: dict[str, Any] = {"ls": "", "marker": ".", "ms": 2, "alpha": 0.5}
    ax.plot(*some.T, **look | style)
    first, second = (canvas.length(name_of(a)) for a in axes)
    ax.set(xlabel=first, ylabel=second, aspect="equal")
    return ax
