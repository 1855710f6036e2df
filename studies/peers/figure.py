"""Error against seconds, a panel for each workload."""

from typing import Any

import numpy as np

from peers.measure import PACKAGES, Row
from peers.problems import Array

COLOURS = {name: f"C{k}" for k, name in enumerate(PACKAGES)}
LEAST = 1e-17  # an error of zero is drawn here


def figure(rows: list[Row], titles: dict[str, str]) -> Any:
    from matplotlib.figure import Figure

    high = -(-len(titles) // 3)
    out = Figure(figsize=(15, 3.6 * high), layout="constrained")
    axes = out.subplots(high, 3).ravel()
    for ax, (name, title) in zip(axes, titles.items(), strict=False):
        panel(ax, [r for r in rows if r.workload == name and np.isfinite(r.error)])
        ax.set_title(f"{name}: {title}")
    for ax in axes[len(titles) :]:
        ax.remove()
    out.supxlabel("seconds (median of warm runs, one thread)")
    out.supylabel("error")
    return out


def panel(ax: Any, rows: list[Row]) -> None:
    """Points on the left, their names in a column on the right."""
    rows = sorted(rows, key=lambda r: (max(r.error, LEAST), -r.seconds))
    times, errors = np.array([(r.seconds, max(r.error, LEAST)) for r in rows]).T
    low, high = limits(ax, times, errors)
    heights = spread((np.log10(errors) - low) / (high - low), 0.08)
    for row, t, e, height in zip(rows, times, errors, heights, strict=True):
        colour = COLOURS[row.package]
        ax.plot(t, e, "o", color=colour, zorder=3)
        leader = {"arrowstyle": "-", "lw": 0.5, "color": colour, "relpos": (0, 0.5)}
        name = ax.annotate(
            row.method, (t, e), (0.56, height), textcoords="axes fraction", fontsize=8, va="center",
            color=colour, arrowprops=leader,
        )  # fmt: skip
        name.set_in_layout(False)


def limits(ax: Any, times: Array, errors: Array) -> tuple[float, float]:
    """Logarithmic axes with the right half left to the names; decades of the lowest and highest."""
    room = np.log10(errors[-1] / errors[0]) + 0.5
    decades = np.log10(times.max() / times.min()) + 0.5
    low, high = np.log10(errors[0]) - 0.15 * room, np.log10(errors[-1]) + 0.15 * room
    low, high = min(low, np.floor(low + 0.5)), max(high, np.ceil(high - 0.5))  # a decade in sight
    ax.set(xscale="log", yscale="log", ylim=(10**low, 10**high))
    first, last = np.floor(np.log10(times.min())), np.ceil(np.log10(times.max()))
    ax.set_xticks(10.0 ** np.arange(first, last + 1))
    ax.minorticks_off()
    ax.set_xlim(times.min() / 10 ** (0.1 * decades), times.max() * 10**decades)
    return low, high


def spread(heights: Array, gap: float) -> Array:
    """Increasing heights in [0, 1] moved apart to at least ``gap``."""
    gap = min(gap, 1 / heights.size)
    out = np.clip(heights, gap / 2, 1 - gap / 2)
    for k in range(1, out.size):
        out[k] = max(out[k], out[k - 1] + gap)
    for k in range(out.size - 1, -1, -1):
        out[k] = min(out[k], 1 - gap / 2 - gap * (out.size - 1 - k))
    return out
