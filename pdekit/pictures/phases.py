"""Phase diagrams: the means of all states over the inverse temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array
from pdekit.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(diagram: Any, ax: Axes | None = None, component: Any = 0) -> Axes:
    """What ``PhaseDiagram.plot`` draws."""
    drawn, means = canvas.own_or_new(ax), diagram.data["others"]
    component = _component(component, diagram.grid.dim)
    strengths = diagram.data["strength"].values
    for k, strength in enumerate(strengths):
        colour, label = f"C{k}", f"strength {strength:.4g}"
        for branch in diagram.branches.get(float(strength), []):
            _branch(drawn, branch, component, colour)
        there = means.isel(strength=k)
        there = there if "component" not in there.dims else there.isel(component=component)
        _states(drawn, there, diagram.data["stable"].isel(strength=k).values, colour)
        drawn.plot([], [], color=colour, label=label)
        critical = float(diagram.critical[k])
        if np.isfinite(critical) and _within(critical, diagram.data["beta"].values):
            drawn.axvline(critical, color=colour, ls=":", lw=1)
    drawn.set(xlabel="inverse temperature β (1/energy)", ylabel=_label(diagram.grid, component))
    drawn.plot([], [], color="0.3", ls="--", label="unstable")
    drawn.legend(fontsize="small")
    return drawn


def _component(component: Any, dim: int) -> int:
    found = checks.whole("component", component, 0)
    if found >= dim:
        raise ValueError(f"component must be below {dim} on this grid, got {found}")
    return found


def _label(grid: Any, component: int) -> str:
    return f"mean of {grid.names[component]} (length)"


def _within(place: float, betas: Array) -> bool:
    return bool(betas[0] <= place <= betas[-1])


def _branch(ax: Axes, branch: Any, component: int, colour: str) -> None:
    """Stable pieces drawn through, the others dashed; they meet at the folds."""
    mean = branch.mean if branch.mean.ndim == 1 else branch.mean[:, component]
    stable = branch.stable
    for piece, style in ((stable, "-"), (~stable, "--")):
        shown = piece | np.append(piece[1:], False) if style == "--" else piece
        ax.plot(branch.parameter, np.where(shown, mean, np.nan), style, color=colour, lw=1.4)


def _states(ax: Axes, means: Any, stable: NDArray[np.bool_], colour: str) -> None:
    beta = np.broadcast_to(means["beta"].values[:, None], means.shape)
    for which, face in ((stable, colour), (~stable, "none")):
        there = which & np.isfinite(means.values)
        ax.plot(beta[there], means.values[there], "o", ms=3.5, mec=colour, mfc=face)
