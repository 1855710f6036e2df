"""Equations seen from a later time, from which a solution goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.in_time import later
from pdekit.pde.equations import moving


def seen_from(equation: Any, t0: float) -> Any:
    """The equation with its time 0 at ``t0``; the same where nothing changes in time.

    ``ValueError`` for what is read at times before a horizon, which moves when one goes on.
    """
    hamiltonian = getattr(equation, "hamiltonian", None)
    moves = bool(moving(equation)) or checks.time_dependent(equation.obstacle)
    if not t0 or not (moves or getattr(hamiltonian, "depends_on_time", False)):
        return equation
    if getattr(equation, "looks_backward", False) or not moves:
        what = "is read at the times before its last one" if moves else "has no time of its own"
        raise ValueError(
            f"{checks.shown(equation)} changes in time and {what}, so that it cannot be gone on "
            "with at t0; solve it from the start, over all times"
        )
    changed = {
        name: later(getattr(equation, name), t0)
        for name in ("potential", "beta", "force", "killing", "source", "obstacle")
        if checks.time_dependent(getattr(equation, name, None))
    }
    reading = getattr(equation, "diffusion", None)
    if reading is not None and checks.time_dependent(reading.D):
        changed["diffusion"] = replace(reading, D=later(reading.D, t0))
    return replace(equation, **changed)


def start_of(initial: Any, t0: Any) -> tuple[Any, float]:
    """The field to go on from, and its time; of a solution a stored one, by default the last."""
    if hasattr(initial, "fields") and hasattr(initial, "times"):
        at = float(initial.times[-1]) if t0 is None else checks.not_negative("t0", t0)
        return initial.u.sel(time=at, method="nearest") if _stored(initial, at) else None, at
    return initial, 0.0 if t0 is None else checks.not_negative("t0", t0)


def _stored(solution: Any, t0: float) -> bool:
    near = min(abs(float(t) - t0) for t in solution.times)
    if near <= 1e-9 * max(t0, 1e-3):
        return True
    raise ValueError(
        f"t0 must be a time that the solution has, one of {solution.times.tolist()}; got {t0:g}"
    )


def times_from(t: Any, t0: float) -> tuple[Array, list[float]]:
    """The times asked for, and what they are from ``t0`` on."""
    times = checks.output_times(t)
    if times[0] < t0:
        raise ValueError(
            f"t must not be before t0 = {t0:g}, at which the field is known; got {times[0]:g}"
        )
    return np.array(times), [time - t0 for time in times]
