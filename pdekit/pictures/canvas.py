"""Axes to draw on, their labels, and which of the stored times are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TIME = "t (time)"
MOST_LINES = 6  # times drawn as lines if none are asked for
_PANEL = (4.2, 3.4)  # inches


def own_or_new(ax: Axes | None) -> Axes:
    """The axes given, or new ones of pyplot, so that ``plt.show()`` shows them."""
    if ax is None:
        return panels(1, (6.0, 4.0))[1][0]
    if not hasattr(ax, "pcolormesh"):
        raise TypeError(f"ax must be axes of matplotlib, or None; got {checks.shown(ax)}")
    return ax


def panels(count: int, size: tuple[float, float] = _PANEL) -> tuple[Figure, list[Axes]]:
    """A figure of pyplot with panels side by side."""
    import matplotlib.pyplot as plt

    figure, found = plt.subplots(
        1, count, figsize=(count * size[0], size[1]), layout="compressed", squeeze=False
    )
    return figure, list(found[0])


def bar(ax: Axes, shown: Any, values: Any, label: str) -> None:
    """A bar of colours, with points where values lie beyond its ends."""
    low, high = shown.get_clim()
    below, above = bool(np.nanmin(values) < low), bool(np.nanmax(values) > high)
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    extend = beyond.get((below, above), "both")
    ax.figure.colorbar(shown, ax=ax, label=label, extend=extend)


def kind_of(kind: Any, known: tuple[str, ...]) -> str:
    """The kind of picture: the first known one by default."""
    if kind is None:
        return known[0]
    if kind not in known:
        raise ValueError(
            f"kind must be one of {', '.join(map(repr, known))} here; got {checks.shown(kind)}"
        )
    return str(kind)


def length(name: str) -> str:
    """The label of a coordinate."""
    return f"{name} (length)"


def density_label(dim: int) -> str:
    return "density ρ (1/length)" if dim == 1 else "density ρ (1/area)"


def label_of(solution: Any) -> str:
    """What the fields of a solution are, as its equation declares it."""
    if getattr(solution.equation, "carries_density", False):
        return density_label(solution.grid.dim)
    return str(getattr(solution.equation, "label", "u"))


def time_label(solution: Any) -> str:
    backward = getattr(solution.equation, "looks_backward", False)
    return "time to go s (time)" if backward else TIME


def stored(times: Any, t: Any, most: int = MOST_LINES) -> list[int]:
    """Numbers of the stored times asked for; of all, at most so many, evenly chosen, if None."""
    known = np.asarray(times, dtype=float)
    if t is None:
        count = min(most, len(known))
        chosen = np.linspace(len(known) - 1, 0, count) if count > 1 else [len(known) - 1]
        return sorted({round(k) for k in chosen})
    return [_number(known, each) for each in checks.output_times(t)]


def one_stored(times: Any, t: Any) -> int:
    """The number of one stored time, by default the last."""
    found = stored(times, t, 1)
    if len(found) > 1:
        raise ValueError(f"t must be one stored time for this kind; got {checks.shown(t)}")
    return found[0]


def _number(known: Array, t: float) -> int:
    at = int(np.abs(known - t).argmin())
    if not np.isclose(known[at], t, rtol=1e-9, atol=1e-12):
        shown = known.tolist() if len(known) <= 12 else f"{known[0]:g} ... {known[-1]:g}"
        raise ValueError(f"t must be stored times, of {shown}; got {t:g}")
    return at


def edges(places: Array) -> Array:
    """Ends of cells about increasing places, halfway between neighbours."""
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    middle = (places[1:] + places[:-1]) / 2
    return np.concatenate([places[:1], middle, places[-1:]])


def shades(count: int) -> list[Any]:
    """Colours from early to late, told apart by those who do not see all colours."""
    from matplotlib import colormaps

    return [colormaps["viridis"](v) for v in np.linspace(0.0, 0.88, count)]
