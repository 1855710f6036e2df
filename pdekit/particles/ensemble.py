"""``simulate``: particles moved tile by tile, watched and kept."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from time import perf_counter
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

import pdekit
from pdekit import checks
from pdekit.errors import AccuracyWarning, each_once
from pdekit.particles.dynamics.entering import Entering, newcomers
from pdekit.particles.dynamics.passage import Watched, check_passages
from pdekit.particles.dynamics.stopping import Stopping, changes_paths, stops
from pdekit.particles.fused import fused
from pdekit.particles.observables import Observable, Survivors
from pdekit.particles.observation import Observed, checked, listed, watches
from pdekit.particles.results import (
    Ensemble,
    Interrupted,
    alive_of,
    draws,
    ensemble_of,
    observed_of,
    stats_of,
)
from pdekit.particles.run import going_on, guards
from pdekit.particles.run.checkpoint import Checkpoint, described_arguments
from pdekit.particles.run.compiled import compiled
from pdekit.particles.run.jumps import check_jumps
from pdekit.particles.run.loop import Loop, one_thread, step_by_step
from pdekit.particles.run.memory import check_size, float_type, usable_device
from pdekit.particles.run.moving import check_time_steps, curves
from pdekit.particles.run.provenance import torch_settings
from pdekit.particles.run.ranks import (
    Division,
    Ranks,
    division,
    interacts_by_mean,
    monitored,
    with_shared_mean,
)
from pdekit.particles.run.recorder import Recorder, file_of
from pdekit.particles.run.rounding import RoundingCheck
from pdekit.particles.run.schedule import Interval, intervals, some_steps
from pdekit.particles.run.start_in_box import check_start_in_box
from pdekit.particles.run.starts import WithNewcomers, start
from pdekit.particles.run.step_size import (
    check_final_curvature,
    check_step_size,
    thinned,
    watches_ends,
)
from pdekit.particles.run.tiles import Share, Tile, device_capacity, pieces, shared_runs, whole_runs
from pdekit.particles.run.user_dynamics import UserDynamics, check_methods, is_builtin
from pdekit.particles.run.users_kernels import users_kernels
from pdekit.protocols import Dynamics, Start, Times

# Numbers per tile. On the CPU a tile and its temporaries fit in cache.
_TILE_CPU, _TILE_GPU = (1 << 15) - 64, 1 << 25
_CHECK_EVERY = 128  # most steps between two checks for non-finite particles


def simulate(
    dynamics: Dynamics,
    initial: Start,
    n: int,
    t: Times,
    dt: float,
    runs: int = 1,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | type | None = None,
    progress: bool = False,
    *,
    observe: Observable | Sequence[Observable] = (),
    keep: bool = True,
    checkpoint: Checkpoint | None = None,
    ranks: Ranks | None = None,
    t0: float | None = None,
) -> Ensemble:
    """Move ``n`` particles by ``dynamics`` to the times ``t``.

    Parameters
    ----------
    dynamics : ``Langevin``, ``InteractingLangevin``, ``TwoScaleLangevin``, ..., or one's own
        (`pdekit.particles.run.user_dynamics`)
    initial : a law, or an array or tensor of shape ``(n, d)``, or (runs, n, d); a DataArray by the
        names of its axes, such as ``X.final``; in a box it is reflected at the walls, with a
        ``TruncationWarning`` where half of it is, or a hundredth of a law; a law with most of its
        mass beyond them is refused, as by ``solve``. An ``Ensemble``, also a loaded one, is gone on
        from: its positions, and momenta; memories (averages, fast variables, velocities of
        accelerated descents) start anew, unless a ``Checkpoint`` resumes the same call
    n, runs : particles per run, independent runs
    t : a number or increasing numbers >= 0, in units of time; 0 returns the initial positions
    dt : longest step; every interval between output times is cut into equal steps
    seed : 0 <= seed < 2**64; to go on from the positions of another run take another one, as the
        same noise would move them again (``AccuracyWarning`` for a DataArray such as ``X.final``)
    device, dtype : of torch; float64 unless float32 is given
    progress : show a tqdm bar, with particle-steps per second and the time left
    observe : observables accumulated on the fly: ``Moments()``, ``Histogram(grid)``,
        ``BasinCounts(label)``
    keep : False keeps no positions, so that memory does not grow with ``n``
    checkpoint : ``Checkpoint(path)``, to resume a stopped run
    ranks : ``Ranks.joined()``, to share the ensemble with other processes (torchrun)
    t0 : the time at which the particles are at ``initial``, by default 0, and of an ``Ensemble``
        its last; ``t`` goes on from there, and coefficients are read at their own times

    The noise is a pure function of (seed, run, step, particle, component), so the same seed, device
    and dtype give the same bits, independent of earlier computations, the number
    of threads, restarts and ranks; run 0 of several equals a single run. The
    generators of torch and numpy are not used. (A potential that mixes particles, for example by a
    matrix product, may round differently with ``n``; a mean shared by ranks is summed in another
    order.) Particles move in tiles that fit in cache, or in the memory of the device; a tile may be
    padded with copies. Interacting particles (``dynamics.coupled``) stay together, one or several
    runs per tile. Dynamics supported by `pdekit.particles.fused` are advanced many steps at once,
    on as many threads as torch has; on a GPU steps are compiled if `pdekit.particles.run.compiled`
    supports them.

    Raises ``NonFiniteError`` (a ``ValueError``) naming particle, step, time and position when a
    particle becomes NaN or infinite, ``RankError`` on the other ranks; on Ctrl-C ``Interrupted`` (a
    ``KeyboardInterrupt``) once the steps under way are done, with what was computed (the second
    time ``KeyboardInterrupt`` at once); ``CheckpointError`` for a checkpoint that does not fit;
    ``ValueError`` or ``TypeError`` for invalid arguments. Warns (``StepSizeWarning``) when dt times
    the largest curvature found at the initial and final points, and in a box at the outermost on
    the way, exceeds 2, dt times a tamed drift exceeds 0.2, or a drift, temperature or γ changes
    within a step as much as over all the time, and (``AccuracyWarning``) when steps fall below the
    spacing of numbers, or a user's potential jumps between places where particles are. Good
    values: dt times curvature below 0.1.
    """
    guards.check_dynamics(dynamics)
    if t0 is not None or going_on.is_ensemble(initial):
        moved, x, at = going_on.start_of(dynamics, initial, t0)
        since = going_on.times_from(t, at)
        try:
            result = simulate(
                moved, x, n, since, dt, runs, seed, device, dtype, progress,
                observe=observe, keep=keep, checkpoint=checkpoint, ranks=ranks,
            )  # fmt: skip
        except Interrupted as stopped:
            told: Ensemble = going_on.told_from(stopped.ensemble, dynamics, at)
            raise Interrupted(str(stopped), told) from None
        told = going_on.told_from(result, dynamics, at)
        return told
    n, runs, seed = checks.whole("n", n, 1), checks.whole("runs", runs, 1), checks.seed(seed)
    times, dt = checks.output_times(t), checks.positive("dt", dt)
    device, dtype = usable_device(device), float_type(dtype)
    kept = len(times) * (2 if hasattr(dynamics, "momenta_of") else 1)
    every = n + newcomers(dynamics, n, times[-1])
    check_size(every, runs, kept, dtype, bool(keep))
    plan, coupled = intervals(times, dt), bool(getattr(dynamics, "coupled", False))
    divided = division(_alone_or(ranks), every, runs, coupled, interacts_by_mean(dynamics))
    observe, asked = listed(observe), {}
    file = None if checkpoint is None else file_of(checkpoint, divided)
    if file is not None:  # before any user code is called, which may count its calls
        asked = described_arguments(
            python=f"{sys.version_info[0]}.{sys.version_info[1]}",
            **{"pdekit": pdekit.__version__, "dynamics": dynamics, "initial": initial, "n": n},
            **{"t": np.array(times), "dt": dt, "runs": runs, "seed": seed, "keep": keep},
            **{"device": device.type, "dtype": dtype, "observe": observe},
            torch=torch_settings(),
            **{"rank": divided.ranks.rank, "ranks": divided.ranks.size},
        )
    began = perf_counter()
    with torch.no_grad(), one_thread() as threads, each_once():
        source = start(initial, n, runs, seed, dtype, device)
        source = source if every == n else WithNewcomers(source, n)
        if times[-1] > 0:
            _warn_of_used_noise(dynamics, initial, seed, stacklevel=3)
        dim = source.probe.shape[-1]
        _check_dim(dynamics, dim)
        check_start_in_box(dynamics, initial, source.probe)
        guards.check_seam(dynamics, source.probe, times[-1])
        may_jump = check_jumps(dynamics, source.probe, 0.0)
        if not is_builtin(dynamics):
            check_methods(dynamics)
        longest, looked = max(interval.size for interval in plan), sorted({0.0, *times})
        curvature = check_step_size(dynamics, source.probe, looked, longest, seed)
        check_time_steps(curves(dynamics, source.probe, times[-1], seed), plan)
        rounding = RoundingCheck(thinned(dynamics), source.probe, times[-1], longest, curvature)
        rounded = rounding.warn(source.probe, 0.0)
        observables = checked(observe, [interval.steps for interval in plan], dim)
        mover: Any = with_shared_mean(dynamics, divided.ranks, n) if divided.by_mean else dynamics
        if changes_paths(dynamics):
            mover = Stopping(dynamics)
        passages = tuple(filter(watches, observables))
        if passages:
            check_passages(dynamics, passages)
            if divided.ranks.size > 1 and divided.axis == "run":
                raise ValueError(
                    "FirstPassage on several ranks is for particles that do not interact, or by "
                    f"their mean alone, got {type(dynamics).__name__}; simulate its runs apart"
                )
        ends = stops(dynamics)
        if ends:
            observables = (*observables, Survivors())
        fast = fused(mover, source.probe[None])
        users = users_kernels(dynamics, source.probe) if fast else []
        for kernel in users:
            kernel.check_start(source.probe, getattr(dynamics, "box", None))
        if not (fast or changes_paths(dynamics) or is_builtin(dynamics)):
            mover = UserDynamics(mover)
            mover.check_steps(source, divided.here, seed, some_steps(plan, dt))
        traced = compiled(mover) if device.type == "cuda" else None
        advance = fast or traced or step_by_step(mover)
        if every > n:
            mover = Entering(mover, n, advance)
            advance = mover.advance
        if passages:
            mover = Watched(mover, dynamics, passages, advance)
            advance = mover.advance
        out = _blank(len(times), divided.here, dim, dtype) if checks.flag("keep", keep) else None
        seen = Observed.empty(observables, len(times), runs, dim)
        momenta = (
            None if out is None or not hasattr(mover, "momenta_of") else np.full_like(out, nan)
        )
        recorder = Recorder(out, seen, divided, momenta, _blank_exits(out) if ends else None)
        if passages and out is not None:
            recorder.passages = np.full((len(passages), *out.shape[1:3]), np.nan, out.dtype)
        recorder.seen_ends = watches_ends(dynamics)
        capacity = _TILE_CPU if device.type == "cpu" else device_capacity(device, _TILE_GPU)
        if checkpoint is not None and file is not None:
            capacity = recorder.open(file, checkpoint.minutes, asked, capacity)
        tiles = _cut(divided, coupled, dim, capacity)
        recorder.cut(len(tiles))
        with _bar(progress, plan, divided.here) as bar, monitored(divided) as monitor:
            places = source, tiles, divided, recorder
            loop = Loop(mover, advance, plan, seed, *places, bar, _CHECK_EVERY, users)
            monitor.stop = loop.stop
            resumed = loop.finished()
            bar.initial = bar.n = round(resumed * bar.total)  # excluded from the rate
            # synchronised ranks exchange in a fixed order, so one thread
            loop.run(threads if fast and not divided.by_mean else 1)
            recorder.write()
            if recorder.last is not None:
                there = recorder.last, recorder.ends, times[-1]
                check_final_curvature(dynamics, *there, longest, seed, curvature)
                if may_jump:
                    check_jumps(dynamics, torch.cat((source.probe, recorder.last)), times[-1])
                if not rounded:
                    rounding.warn(recorder.last, times[-1])
            speed = began, resumed, loop.finished(), bar.total
            stats = stats_of(plan, curvature, *speed)
            asked_for = len(observe)
            result = ensemble_of(dynamics, seed, stats, times, dim, recorder, asked_for, n)
            if loop.interrupted:
                raise _interrupted(result, recorder)
    if divided.ranks.size == 1:
        return result
    recorder.observed.add_up(divided.ranks.add_up)
    observed = observed_of(recorder, times, dim, asked_for)
    alive = alive_of(recorder, times, n, asked_for, dynamics)
    return replace(result, observed=observed, alive=alive)


def _warn_of_used_noise(dynamics: Dynamics, initial: Start, seed: int, stacklevel: int) -> None:
    """Positions that depend on the noise of a seed are not independent of it afterwards."""
    if isinstance(initial, xr.DataArray) and initial.attrs.get("seed") == seed and draws(dynamics):
        warnings.warn(
            f"these positions were reached by the noise of seed = {seed}, which would move them "
            "again, step by step: displacements add up instead of averaging out (free ones to "
            f"twice the mean square). Go on with another seed, such as seed={seed + 1}",
            AccuracyWarning,
            stacklevel=stacklevel,
        )


def _alone_or(ranks: Any) -> Ranks:
    if ranks is None:
        return Ranks()
    if not isinstance(ranks, Ranks):
        raise TypeError(f"ranks must be Ranks.joined(), or None for one process, got {ranks!r}")
    ranks.check_joined()
    return ranks


def _interrupted(result: Ensemble, recorder: Recorder) -> Interrupted:
    where = f"; the same call goes on from {recorder.path}" if recorder.whole else ""
    return Interrupted(
        f"interrupted after {result.stats['finished']:.1%} of the particle steps; what was "
        f"computed is the .ensemble of this exception{where}",
        result,
    )


def _cut(divided: Division, coupled: bool, dim: int, capacity: int) -> list[Tile]:
    if divided.by_mean:
        largest = max(share.size for share in divided.shares)
        return shared_runs(divided.here, largest, dim, capacity)
    return (whole_runs if coupled else pieces)(divided.here, dim, capacity)


def _bar(progress: bool, plan: list[Interval], share: Share) -> Any:
    checks.flag("progress", progress)
    total = sum(interval.steps for interval in plan) * share.runs * share.size
    return tqdm(total=total, disable=not progress, unit=" particle-steps", unit_scale=True)


def _blank(times: int, share: Share, dim: int, dtype: torch.dtype) -> NDArray[Any]:
    # NaN, so that an interrupted simulation is not mistaken for a finished one
    shape = (times, share.runs, share.size, dim)
    return np.full(shape, np.nan, dtype=str(dtype).removeprefix("torch."))


def _blank_exits(out: NDArray[Any] | None) -> NDArray[Any] | None:
    """NaN for time, wall and place of every exit; None where positions are not kept."""
    if out is None:
        return None
    _, runs, size, dim = out.shape
    return np.full((runs, size, 2 + dim), np.nan, out.dtype)


def _check_dim(dynamics: Dynamics, dim: int) -> None:
    declared = getattr(dynamics, "dim", None)
    if declared is not None and declared != dim:
        raise ValueError(
            f"the dynamics has {declared} coordinates, the initial particles have {dim}; initial "
            f"must be a law on R^{declared} or an array of shape (n, {declared})"
        )
