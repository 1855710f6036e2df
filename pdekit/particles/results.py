"""What a simulation gives: positions, observables, exits, and what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.particles.dynamics.entering import gates, newcomers
from pdekit.particles.dynamics.gradients import FullGradient
from pdekit.particles.observation import watches
from pdekit.particles.run.ranks import (
    Division,
)
from pdekit.particles.run.recorder import Recorder
from pdekit.particles.run.schedule import Interval
from pdekit.protocols import Dynamics, Times
from pdekit.storage.result import Result, Rows, some_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Numbers per tile. On the CPU a tile and its temporaries fit in cache.
_TILE_CPU, _TILE_GPU = (1 << 15) - 64, 1 << 25
_CHECK_EVERY = 128  # most steps between two checks for non-finite particles


class EnsembleStats(TypedDict):
    """What was done; see ``Ensemble``."""

    steps: int
    dt: list[float]
    seconds: float
    particle_steps_per_second: float
    curvature: float
    finished: float
    resumed: float


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Result):
    """Positions of particles at the output times, and observables accumulated on the fly.

    ``x``: DataArray, dims ``("time", "particle", "dim")``, with ``"run"`` after ``"time"`` where
    there are several independent runs; None if they were not kept. ``observed``: Dataset
    of the requested observables, or None. ``stats``: total ``steps``, ``dt`` used
    per interval, ``seconds``, ``particle_steps_per_second``, ``curvature`` (largest at the start,
    or the rate that limits the step, if a dynamics defines one), ``finished``, the fraction of
    particle steps done, and ``resumed``, the fraction restored from a checkpoint. On several ranks
    ``x`` and ``stats`` are those of this rank, and ``x`` has the coordinate along which it is
    divided.

    Of a dynamics with walls or killing: ``alive``, the number (time, [run]) of particles that are
    on their way over ``n`` (above 1 where more have entered than stopped), and ``exits``, over
    ``particle`` [and ``run``]: the ``time``, ``place`` (dim) and ``wall`` of those that stopped,
    NaN for the others; ``wall`` is 2 k at the lower end of axis k, 2 k + 1 at the upper one, -1 for
    killing. ``x`` is NaN from the exit on; observables are of
    those on their way. None for other dynamics; ``exits`` also where positions are not kept.
    Particles that enter (``Inflow``) have the numbers from ``n`` on, and NaN before; observables
    count them from then on.

    ``p``: momenta, like ``x``, of ``UnderdampedLangevin``; None for dynamics that have none, and
    where positions are not kept.
    """

    x: xr.DataArray  # None where keep=False: `final` raises, others would have to ask each time
    dynamics: Any  # its fields differ: whoever reads them knows which one was simulated
    seed: int
    stats: EnsembleStats
    observed: xr.Dataset | None = None
    division: Division | None = None
    alive: xr.DataArray | None = None
    exits: xr.Dataset | None = None
    p: xr.DataArray | None = None

    @cached_property
    def final(self) -> xr.DataArray:
        """``x`` at the last time. Raises ``ValueError`` where positions were not kept."""
        if self.x is None:
            raise ValueError("positions were not kept; use simulate(..., keep=True)")
        final: xr.DataArray = self.x.isel(time=-1)
        return final

    def plot(
        self, kind: str | None = None, t: Times | None = None, ax: Axes | None = None,
        axis: int | Sequence[int] | None = None, **style: Any,
    ) -> Axes:  # fmt: skip
        """Draw the positions; returns the axes (``.figure.savefig(path)`` keeps the figure).

        ``kind`` is "histogram", densities of a coordinate at the stored times ``t`` (by default at
        most six), the default on a line; "image", the same at all times; "trajectories", of some
        particles; or "scatter", two coordinates at one stored time (default in more dimensions).
        ``axis``: the coordinate, or the two, by number. Runs are drawn together. Particles that
        have stopped are not drawn, but count in the densities. ``style`` goes to matplotlib.
        """
        from pdekit.pictures import particles

        return particles.plot(self, kind, t, ax, axis, **style)

    def movie(self, path: str | PathLike[str], fps: int = 12) -> Path:
        """Write a movie with a frame a stored time: .gif, or .mp4 where ffmpeg is."""
        from pdekit.pictures import movies

        return movies.of_ensemble(self, path, fps)

    def _said(self) -> tuple[str, Rows]:
        from pdekit.pictures import words

        return words.of_ensemble(self)

    def _parts(self) -> dict[str, Any]:
        if self.division is not None and self.division.ranks.size > 1:
            raise ValueError("this is the share of one rank; save X.gathered(), on rank 0")
        kept = ("x", "p", "alive", "exits", "observed", "dynamics", "seed", "stats")
        return {name: getattr(self, name) for name in kept}

    def _places(self) -> Array | None:
        if self.x is None:
            return None
        points = np.asarray(self.x.values, float).reshape(-1, self.x.sizes["dim"])
        return some_points(points[np.isfinite(points).all(-1)])

    def _stated(self) -> str:
        return "dynamics"

    def gathered(self) -> Ensemble | None:
        """On rank 0 the ensemble of all ranks, None on the others; collective."""
        if self.division is None or self.division.ranks.size == 1:
            return self
        ranks = self.division.ranks
        if self.x is None:
            return self if ranks.rank == 0 else None
        x = _collected(self.x, self.division)
        p = None if self.p is None else _collected(self.p, self.division)
        exits = None
        if self.exits is not None:
            exits = {name: _collected(part, self.division) for name, part in self.exits.items()}
        observed = _gathered_times(self.observed, self.division)
        if x is None:
            return None
        ends = None if exits is None else xr.Dataset(exits)
        return replace(self, x=x, division=None, exits=ends, p=p, observed=observed)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: ``ensemble`` holds the results so far, NaN for positions that were not reached."""

    def __init__(self, message: str, ensemble: Ensemble) -> None:
        super().__init__(message)
        self.ensemble = ensemble


def stats_of(
    plan: list[Interval],
    curvature: float,
    began: float,
    resumed: float,
    finished: float,
    total: int,
) -> EnsembleStats:
    seconds = perf_counter() - began
    return {
        "steps": sum(interval.steps for interval in plan),
        "dt": [interval.size for interval in plan],
        "seconds": seconds,
        "particle_steps_per_second": (finished - resumed) * total / seconds,
        "curvature": curvature,
        "finished": finished,
        "resumed": resumed,
    }


def draws(dynamics: Dynamics) -> bool:
    """Whether a dynamics draws noise, as far as it says."""
    cold = getattr(dynamics, "beta", 1.0) in (None, inf)
    return not (cold or getattr(dynamics, "gradient", None) == FullGradient())


def ensemble_of(
    dynamics: Dynamics,
    seed: int,
    stats: EnsembleStats,
    times: list[float],
    dim: int,
    recorder: Recorder,
    asked_for: int,
    n: int,
) -> Ensemble:
    x: Any = None if recorder.out is None else _labelled(recorder.out, times, recorder.division)
    if x is not None and times[-1] > 0 and draws(dynamics):
        x.attrs["seed"] = seed
    observed = observed_of(recorder, times, dim, asked_for)
    here = recorder.division.here
    started = max(1, min(n - here.particle, here.size))
    alive = alive_of(recorder, times, started, asked_for, dynamics)
    exits, p = _exits(recorder), None
    if recorder.momenta is not None:
        p = _labelled(recorder.momenta, times, recorder.division, "p")
    return Ensemble(x, dynamics, seed, stats, observed, recorder.division, alive, exits, p)


def observed_of(recorder: Recorder, times: list[float], dim: int, asked_for: int) -> Any:
    """What was asked for, with the passage times of each particle of this rank."""
    seen = recorder.observed.first(asked_for)
    table = seen.dataset(times, dim)
    if recorder.passages is None or table is None:
        return table
    watching = filter(watches, seen.observables)
    parts = zip(watching, recorder.passages, strict=True)
    found = xr.merge([o.times(entered) for o, entered in parts])
    found = found.assign_coords(_coordinates(recorder.division))
    return xr.merge([table, found.isel(run=0) if _alone(recorder.division) else found])


def alive_of(recorder: Recorder, times: list[float], n: int, asked_for: int, dynamics: Any) -> Any:
    """Particles on their way over those that started, of particles that may stop.

    Where particles enter, ``most`` is the largest possible number over time.
    """
    if len(recorder.observed.seen) == asked_for:
        return None
    shares = recorder.observed.seen[-1] / n
    coords, started = {"time": np.array(times)}, {"started": n * shares.shape[1]}
    alive = xr.DataArray(shares, coords, ("time", "run"), "alive", started)
    if gates(dynamics):
        most = [shares.shape[1] * (n + newcomers(dynamics, n, t)) for t in times]
        alive = alive.assign_coords(most=("time", most))
    return alive.isel(run=0) if shares.shape[1] == 1 else alive


def _exits(recorder: Recorder) -> xr.Dataset | None:
    """When, where and at which wall particles stopped."""
    if recorder.exits is None:
        return None
    ends, dims = recorder.exits, ("run", "particle")
    found = xr.Dataset(
        {
            "time": (dims, ends[..., 0]),
            "wall": (dims, ends[..., 1]),
            "place": ((*dims, "dim"), ends[..., 2:]),
        },
        _coordinates(recorder.division),
    )
    return found.isel(run=0) if _alone(recorder.division) else found


def _labelled(
    out: NDArray[Any], times: list[float], divided: Division, name: str = "x"
) -> xr.DataArray:
    coords, names = {"time": np.array(times)} | _coordinates(divided), ["time", "particle", "dim"]
    if _alone(divided):
        return xr.DataArray(out[:, 0], coords, names, name)
    return xr.DataArray(out, coords, ["time", "run", *names[1:]], name)


def _collected(part: xr.DataArray, divided: Division) -> xr.DataArray | None:
    """That of all ranks on rank 0, None on the others."""
    ranks, axis, shares, _ = divided
    sizes = [dict(part.sizes) | {"particle": s.size, "run": s.runs} for s in shares]
    parts = ranks.collected(part.values, [tuple(size[d] for d in part.dims) for size in sizes])
    if not parts:
        return None
    whole = np.concatenate(parts, axis=part.dims.index(axis))
    coords = {name: part[name].values for name in part.dims if name in part.coords and name != axis}
    return xr.DataArray(whole, coords, part.dims, part.name, part.attrs)


def _gathered_times(observed: xr.Dataset | None, divided: Division) -> xr.Dataset | None:
    """Observables, with what is kept of each particle collected from all ranks."""
    if observed is None or "particle" not in observed.dims:
        return observed
    mine = {name: part for name, part in observed.items() if "particle" in part.dims}
    whole = {name: _collected(part, divided) for name, part in mine.items()}
    if divided.ranks.rank != 0:
        return None
    return observed.drop_dims("particle").assign(whole)


def _coordinates(divided: Division) -> dict[str, Any]:
    """Of the axis that is divided among several ranks."""
    here, axis = divided.here, divided.axis
    if divided.ranks.size == 1:
        return {}
    first, size = (here.run, here.runs) if axis == "run" else (here.particle, here.size)
    return {axis: np.arange(first, first + size)}


def _alone(divided: Division) -> bool:
    """Whether there is one run of the whole ensemble, not only of this rank's share."""
    return divided.here.runs == 1 and divided.axis == "particle"
