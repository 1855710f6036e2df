"""A control, alone or of a game: value, density and control beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdekit.pictures import canvas, fields

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SEEN = 1e-3  # of its largest value: where the density is, whose values choose the colours
VALUE, CONTROL = "value u (energy)", "control α = ∇u (energy/length)"


def plot(control: Any, t: Any = None) -> Figure:
    """What ``Control.plot`` draws."""
    figure, axes = canvas.panels(3)
    draw = _on_line if control.value.grid.dim == 1 else _in_plane
    draw(control, t, axes)
    return figure


def _on_line(control: Any, t: Any, axes: list[Any]) -> None:
    density = canvas.density_label(1)
    alpha = control.control.isel(component=0)
    rho = control.density.u
    parts = (control.value.u, VALUE), (rho, density), (alpha, CONTROL)
    for ax, (u, label) in zip(axes, parts, strict=True):
        if t is None:
            colours = {} if u is rho else _colours(u, rho, signed=u is alpha)
            fields.space_time(u, ax, label, **colours)
        else:
            fields.lines(u, t, ax, label)


def _colours(u: Any, rho: Any, signed: bool) -> dict[str, Any]:
    """Limits of the values where the density is: far out they may be a hundred times larger."""
    there = u.values[rho.values > _SEEN * float(rho.max())]
    low, high = float(there.min()), float(there.max())
    if not high > low:
        return {}
    if signed:
        low, high = -max(-low, high), max(-low, high)
    return {"vmin": low, "vmax": high} | (fields.SIGNED if signed else {})


def _in_plane(control: Any, t: Any, axes: list[Any]) -> None:
    times = control.value.times
    at = (len(times) - 1) // 2 if t is None else canvas.one_stored(times, t)
    density = control.density.u.isel(time=at)
    fields.contours(control.value.u.isel(time=at), axes[0], VALUE)
    fields.contours(density, axes[1], canvas.density_label(2))
    size = (control.control.isel(time=at) ** 2).sum("component") ** 0.5
    fields.contours(size, axes[2], "|α| (energy/length)")
    pushed = -control.control.isel(time=at)  # what is added to the velocity
    fields.quiver(axes[2], pushed.transpose("x", "y", "component"))
    for ax in axes:
        ax.set_title(f"t = {times[at]:.4g}")
