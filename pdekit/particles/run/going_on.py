"""Particles that go on from an ensemble, or start at a later time."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from pdekit import checks
from pdekit.in_time import LaterSchedule, later
from pdekit.particles.run.probes import is_autonomous

_SCHEDULES = ("schedule", "gamma")  # fields that may be functions of time alone
_OWN = "pdekit.particles.dynamics"


@dataclass(frozen=True, eq=False)
class KnownMomenta:
    """The momenta (run, particle, dim) of particles, in place of a law of them."""

    values: Any
    pointwise: bool = True

    @property
    def dim(self) -> int:
        return int(self.values.shape[-1])

    def sample(self, n: int, noise: Any) -> Any:
        """Those of n particles from ``noise.first`` on; padding repeats the last."""
        own = self.values[min(noise.run, len(self.values) - 1)]
        rows = np.minimum(np.arange(noise.first, noise.first + n), len(own) - 1)
        return torch.from_numpy(own[rows]).to(noise.dtype).to(noise.device)

    def pdf(self, x: Any) -> Any:
        raise NotImplementedError("known momenta have no density")

    density = mass = pdf


def is_ensemble(initial: Any) -> bool:
    return hasattr(initial, "x") and hasattr(initial, "dynamics")


def start_of(dynamics: Any, initial: Any, t0: Any) -> tuple[Any, Any, float]:
    """Dynamics, positions and time from which to go on."""
    if not is_ensemble(initial):
        at = 0.0 if t0 is None else checks.not_negative("t0", t0)
        return seen_from(dynamics, at), initial, at
    if initial.x is None:
        raise ValueError("positions were not kept, so nothing can go on from them; keep=True does")
    at, x = _stored(initial.x, t0)
    if not np.isfinite(x.values).all():
        raise ValueError(
            "some particles of the ensemble had stopped, and cannot go on; take those on their "
            "way, X.final.dropna('particle'), and their number"
        )
    moved = seen_from(dynamics, at)
    if initial.p is not None and hasattr(dynamics, "momenta"):
        p = _stored(initial.p, at)[1]
        values = p.transpose(*(("run",) if "run" in p.dims else ()), "particle", "dim").values
        known = KnownMomenta(np.array(values if values.ndim == 3 else values[None]))
        moved = replace(moved, momenta=known, at_rest=False)
    return moved, x, at


def _stored(x: xr.DataArray, t0: Any) -> tuple[float, xr.DataArray]:
    times = x["time"].values
    at = float(times[-1]) if t0 is None else checks.not_negative("t0", t0)
    k = int(np.abs(times - at).argmin())
    if not np.isclose(times[k], at, rtol=1e-9, atol=1e-12):
        raise ValueError(
            f"t0 must be a time that the ensemble has, one of {times.tolist()}; got {at:g}"
        )
    return at, x.isel(time=k)


def seen_from(dynamics: Any, t0: float) -> Any:
    """The dynamics with its time 0 at t0; itself where nothing changes in time."""
    if not t0:
        return dynamics
    changed = _changed(dynamics, t0)
    if changed:
        return replace(dynamics, **changed)
    if is_autonomous(dynamics) or type(dynamics).__module__.startswith("pdekit."):
        return dynamics
    raise ValueError(
        f"{checks.shown(dynamics)} may change in time, and says neither how nor that it does not: "
        "declare autonomous = True in its class if it does not, or start it at 0"
    )


def _changed(value: Any, t0: float) -> dict[str, Any]:
    """Its fields that change in time, as seen from t0."""
    found: dict[str, Any] = {}
    for f in fields(value) if is_dataclass(value) else ():
        part = getattr(value, f.name)
        if not f.init:
            continue
        if checks.time_dependent(part):
            found[f.name] = later(part, t0)
        elif f.name in _SCHEDULES and callable(part):
            found[f.name] = LaterSchedule(part, t0)
        elif is_dataclass(part) and type(part).__module__.startswith(_OWN) and _changed(part, t0):
            inner: Any = part
            found[f.name] = replace(inner, **_changed(part, t0))
    return found


def times_from(t: Any, t0: float) -> list[float]:
    """The times asked for, from ``t0`` on."""
    times = checks.output_times(t)
    if times[0] < t0:
        raise ValueError(
            f"t must not be before t0 = {t0:g}, where the particles are; got {times[0]:g}"
        )
    return [time - t0 for time in times]


def told_from(result: Any, dynamics: Any, t0: float) -> Any:
    """What was computed in the time since t0, told in the time of the dynamics."""
    changed: dict[str, Any] = {"dynamics": dynamics}
    for name in ("x", "p", "alive", "observed"):
        part = getattr(result, name)
        if part is not None:
            changed[name] = part.assign_coords(time=part["time"] + t0)
    if changed.get("observed") is not None:
        of_each = {k: v + t0 for k, v in changed["observed"].items() if "particle" in v.dims}
        changed["observed"] = changed["observed"].assign(of_each)
    if result.exits is not None:
        changed["exits"] = result.exits.assign(time=result.exits["time"] + t0)
    return replace(result, **changed)
