"""Results in a few lines: what they are, and whether to believe them."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from html import escape
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.pictures.canvas import label_of

Rows = list[tuple[str, str]]


# what stats say of the accuracy, in words, and what is more than small
_SAID = {
    "error_estimate": ("error in time", 0.1),
    "step_error": ("error of the steps", 0.1),
    "w1_error": ("Wasserstein error (length)", np.inf),
    "mass_drift": ("drift of the mass", 1e-6),
    "wall_mass": ("mass beyond the walls", 1e-6),
    "upwinded": ("mass in cells too coarse for the drift", 0.1),
    "cell_error": ("change on other cells", np.inf),
    "on_other_cells": ("change on other cells, of the range", 0.05),
    "from_means": ("change from cell means, of the range", 0.05),
    "unresolved": ("mass narrower than the cells", 0.1),
}
_GOOD_STEP, _LARGEST_STEP = 0.1, 2.0  # dt times curvature


def text(title: str, rows: Rows) -> str:
    """For the terminal."""
    width = max(len(name) for name, _ in rows)
    return "\n".join([title, *(f"  {name:<{width}}  {said}" for name, said in rows)])


def html(title: str, rows: Rows) -> str:
    """For a notebook: a table that follows its light or dark page."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(said)}</td></tr>"
        for name, said in rows
    )
    return f"<div><b>{escape(title)}</b><table>{cells}</table></div>"


def of_solution(solution: Any) -> tuple[str, Rows]:
    stats = solution.stats
    steps = f"{stats['steps']} steps, " if stats.get("steps") else ""
    rows = [
        ("equation", said(solution.equation)),
        ("grid", of_grid(solution.grid)),
        ("times", of_times(solution.times)),
        ("scheme", f"{said(solution.scheme)}: {steps}{stats['seconds']:.2g} s"),
        ("range", f"{stats['minimum']:.4g} to {stats['maximum']:.4g}"),
        *accuracy(stats),
    ]
    return f"Solution: {label_of(solution)} in .u, over {_dims(solution.u)}", rows


def accuracy(stats: Any) -> Rows:
    """What is known of the errors, and which of them are not small."""
    known = {name: float(stats[name]) for name in _SAID if name in stats}
    said = [f"{_SAID[name][0]} {value:.1e}" for name, value in known.items()]
    large = [f"{_SAID[name][0]} {v:.2g}" for name, v in known.items() if not v <= _SAID[name][1]]
    none = "none of this scheme; solve on other cells, and compare"
    rows = [("estimates", "; ".join(said) or none)]
    return [*rows, ("doubts", "; ".join(large))] if large else rows


def said(value: Any) -> str:
    """A value by its name and what was given to it, functions by their names."""
    if is_dataclass(value) and _is_generated(value):  # else it has words of its own
        given = [f for f in fields(value) if f.init and not _is_default(f, value)]
        inside = ", ".join(f"{f.name}={said(getattr(value, f.name))}" for f in given)
        return f"{type(value).__name__}({inside})"
    name = getattr(value, "__qualname__", None)
    return str(name) if name and callable(value) else checks.shown(value)


def _is_generated(value: Any) -> bool:
    """Whether a dataclass's repr is the one made for it."""
    made: Any = type(value)
    return bool(made.__dataclass_params__.repr)


def _is_default(field: Any, value: Any) -> bool:
    """Whether it is certain that a field has its default."""
    if field.default is MISSING:
        return False
    here = getattr(value, field.name)
    plain = isinstance(here, bool | int | float | str | None)
    return here is field.default or bool(plain and here == field.default)


def of_grid(grid: Any) -> str:
    parts = [
        f"{name}: {n} cells on [{a:g}, {b:g}]{', periodic' if turns else ''}"
        for name, n, a, b, turns in zip(
            grid.names, grid.cells, grid.lower, grid.upper, grid.periodic, strict=True
        )
    ]
    return "; ".join(parts)


def of_times(times: Any) -> str:
    if len(times) == 1:
        return f"{float(times[0]):g}"
    return f"{len(times)} from {float(times[0]):g} to {float(times[-1]):g}"


def of_ensemble(ensemble: Any) -> tuple[str, Rows]:
    stats = ensemble.stats
    rows = [("dynamics", said(ensemble.dynamics)), ("seed", str(ensemble.seed))]
    if ensemble.x is not None:
        rows.append(("times", of_times(ensemble.x["time"].values)))
    rows.append(("steps", f"{stats['steps']} in {stats['seconds']:.2g} s"))
    rows += _of_steps(stats)
    if ensemble.observed is not None:
        rows.append(("observed", ", ".join(map(str, ensemble.observed.data_vars))))
    if ensemble.alive is not None:
        left = float(np.mean(ensemble.alive.isel(time=-1)))
        rows.append(("on their way", f"{left:.4g} of the particles at the last time"))
    if stats["finished"] < 1:
        rows.append(("doubts", f"interrupted: {stats['finished']:.1%} of the steps were done"))
    if ensemble.x is None:
        return "Ensemble: positions not kept; see .observed", rows
    return f"Ensemble: positions in .x, over {_dims(ensemble.x)}", rows


def _of_steps(stats: Any) -> Rows:
    """Whether the longest step is short for the curvature met."""
    longest = max(stats["dt"], default=0.0)
    product = longest * float(stats["curvature"])
    if not longest or not np.isfinite(product):
        return []
    verdict = "good" if product <= _GOOD_STEP else "halve it to see its error"
    verdict = "unstable: take a shorter one" if product > _LARGEST_STEP else verdict
    return [("dt", f"{longest:.3g}; times the curvature {product:.2g}, {verdict}")]


def of_control(control: Any) -> tuple[str, Rows]:
    value, rho = control.value, control.density
    rows = [
        ("equation", said(value.equation)),
        ("grid", of_grid(value.grid)),
        ("times", of_times(value.times)),
        ("scheme", said(value.scheme)),
        ("least cost", f"{control.optimum:.6g}"),
    ]
    rows += [(name.replace("_", " "), f"{v:.3g}") for name, v in control.closure.items()
             if np.ndim(v) == 0]  # fmt: skip
    rows += [(f"{name} of u", said) for name, said in accuracy(value.stats)]
    rows += [(f"{name} of ρ", said) for name, said in accuracy(rho.stats)]
    kind = "a mean-field game" if control.closure else "one player"
    return f"Control of {kind}: .value.u, .density.u, .control, over {_dims(value.u)}", rows


def of_phases(diagram: Any) -> tuple[str, Rows]:
    states = diagram.data["states"]
    rows = [
        ("inverse temperatures", of_times(diagram.data["beta"].values)),
        ("strengths", of_times(diagram.data["strength"].values)),
        ("grid", of_grid(diagram.grid)),
        ("states", f"{int(states.min())} to {int(states.max())} a point"),
        ("critical", ", ".join(f"{v:.5g}" for v in np.atleast_1d(diagram.critical.values))),
        ("branches", str(sum(map(len, diagram.branches.values())))),
    ]
    return "PhaseDiagram: states in .data, curves in .branches", rows


def _dims(array: Any) -> str:
    return ", ".join(f"{name} {size}" for name, size in array.sizes.items())
