"""Movies: one frame a stored time, as GIF (by pillow) or MP4 (by ffmpeg, where that is)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.files import replace_file
from pdekit.pictures import canvas, fields, particles

_MOST = 300  # frames

Frame = Callable[[int], Any]


def of_solution(solution: Any, path: Any, fps: Any = 12) -> Path:
    """What ``Solution.movie`` writes."""
    figure, axes = _figure(1)
    label = canvas.label_of(solution)
    draw = _field(axes[0], solution.u, label)
    return _written(figure, axes[0], draw, solution.times, path, fps)


def of_control(control: Any, path: Any, fps: Any = 12) -> Path:
    """What ``Control.movie`` writes: value and density, moving together."""
    figure, axes = _figure(2)
    density = canvas.density_label(control.value.grid.dim)
    parts = ((control.value.u, "value u (energy)"), (control.density.u, density))
    draws = [_field(ax, u, label) for ax, (u, label) in zip(axes, parts, strict=True)]
    return _written(figure, axes[0], lambda k: [draw(k) for draw in draws], control.value.times,
                    path, fps)  # fmt: skip


def of_ensemble(ensemble: Any, path: Any, fps: Any = 12) -> Path:
    """What ``Ensemble.movie`` writes."""
    x = particles.positions(ensemble)
    figure, axes = _figure(1)
    draw = _histogram(axes[0], x[..., 0]) if x.shape[-1] == 1 else _cloud(axes[0], x[..., :2])
    return _written(figure, axes[0], draw, ensemble.x["time"].values, path, fps)


def _figure(panels: int) -> tuple[Any, list[Any]]:
    """A figure that pyplot does not know, so that it is not shown as well."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * panels, 4.0), layout="compressed", dpi=100)
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _field(ax: Any, u: Any, label: str) -> Frame:
    if u.ndim == 2:
        return _curve(ax, u, label)
    limits = {"vmin": float(u.min()), "vmax": float(u.max())}
    fields.cells(u.isel(time=0), ax, label, **limits)
    (mesh,) = ax.collections
    return lambda k: mesh.set_array(u.values[k].T)


def _curve(ax: Any, u: Any, label: str) -> Frame:
    least, most = float(u.min()), float(u.max())
    pad = 0.05 * (most - least) or 1.0
    (line,) = ax.plot(u["x"].values, u.values[0])
    ax.set(xlabel=canvas.length("x"), ylabel=label, ylim=(least - pad, most + pad))
    return lambda k: line.set_ydata(u.values[k])


def _histogram(ax: Any, values: Array) -> Frame:
    faces = particles.bins(values)
    table = np.array([particles.heights(row, faces) for row in values])
    steps = ax.stairs(table[0], faces, fill=True)
    ax.set(xlabel=canvas.length("x"), ylabel=canvas.density_label(1), ylim=(0, 1.05 * table.max()))
    return lambda k: steps.set_data(table[k])


def _cloud(ax: Any, x: Array) -> Frame:
    particles.scatter(x[0], ax, [0, 1])
    (dots,) = ax.lines
    every = max(1, -(-x.shape[1] // max(1, len(dots.get_xdata()))))
    low, high = np.nanmin(x, (0, 1)), np.nanmax(x, (0, 1))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return lambda k: dots.set_data(*x[k, ::every].T)


def _written(figure: Any, ax: Any, draw: Frame, times: Any, path: Any, fps: Any) -> Path:
    """Frame by frame into a file beside, which then takes the place of the old one."""
    target, rate = checks.path("path", path), checks.whole("fps", fps, 1)
    if len(times) < 2:
        raise ValueError(
            "a movie needs several stored times, got one; ask for more, as in "
            "t=np.linspace(0.1, 2, 40)"
        )
    writer = _writer(target, rate)

    def write(part: Path) -> None:
        with writer.saving(figure, str(part), figure.dpi):
            for k in canvas.stored(times, None, _MOST):
                draw(k)
                ax.set_title(f"t = {float(times[k]):.4g}")
                writer.grab_frame()

    replace_file(target, write)
    return target


def _writer(path: Path, fps: int) -> Any:
    from matplotlib.animation import FFMpegWriter, PillowWriter

    if path.suffix.lower() == ".gif":
        return PillowWriter(fps=fps)
    if path.suffix.lower() == ".mp4":
        if not FFMpegWriter.isAvailable():
            raise ValueError(
                f"an MP4 needs the program ffmpeg, which is not on the path; install it, or write "
                f"{path.with_suffix('.gif').name}"
            )
        return FFMpegWriter(fps=fps)
    raise ValueError(f"a movie is a .gif or an .mp4; got the path {str(path)!r}")
