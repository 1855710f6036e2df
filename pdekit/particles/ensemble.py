"""`Ensemble` and `simulate`: the only particle loop."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import ceil, gcd
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from pdekit.particles import guards
from pdekit.particles.diffusion import Diffusion
from pdekit.particles.fused import fused
from pdekit.particles.integrators import Step
from pdekit.particles.noise import LawNoise, StepNoise

# Numbers per tile. On the CPU a tile and its temporaries stay in cache.
_TILE_CPU, _TILE_GPU = (1 << 15) - 64, 1 << 25
# Tiles are filled up to this many particles, so that all of them run through torch's vector loops:
# its scalar loop for left-overs rounds some functions differently.
_PAD = 64
_CHECK_EVERY = 128  # steps between two looks for non-finite particles

# moves a state through consecutive steps, overwriting it
Advance = Callable[[Tensor, list[Step], StepNoise], Tensor]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Positions of particles at the output times.

    ``x``: DataArray, dims ``("time", "particle", "dim")``, with ``"run"`` after ``"time"`` where
    there are several independent runs. ``stats``: ``steps`` in all, ``dt`` actually used per
    interval, ``seconds``, ``particle_steps_per_second``, ``curvature`` (largest at the
    start, or the rate that limits the step where a dynamics names one).
    """

    x: xr.DataArray
    dynamics: Any
    seed: int
    stats: dict[str, Any]

    @cached_property
    def final(self) -> xr.DataArray:
        """``x`` at the last time."""
        return self.x.isel(time=-1)


class _Interval(NamedTuple):
    start: float
    stop: float
    steps: int
    first: int  # number of its first step

    @property
    def size(self) -> float:
        return (self.stop - self.start) / self.steps if self.steps else 0.0

    def step(self, j: int) -> Step:
        """Its ``j``-th step; the last one ends exactly at ``stop``."""
        start = self.start + j * self.size
        stop = self.stop if j == self.steps - 1 else self.start + (j + 1) * self.size
        return Step(self.first + j, start, stop, self.size)


def simulate(
    dynamics: Diffusion,
    initial: Any,
    n: int,
    t: Any,
    dt: float,
    runs: int = 1,
    seed: int = 0,
    device: Any = "cpu",
    dtype: Any = None,
    progress: bool = False,
) -> Ensemble:
    """Move ``n`` particles by ``dynamics`` to the times ``t``.

    Parameters
    ----------
    dynamics : ``Langevin``, ``InteractingLangevin``, ``TwoScaleLangevin``, ...
    initial : a law, or an array or tensor of shape ``(n, d)``; in a box it is folded at the walls
    n, runs : particles per run, independent runs
    t : a number or increasing numbers >= 0, in units of time; 0 returns the initial positions
    dt : longest step; every interval between output times is cut into equal steps
    seed : 0 <= seed < 2**64
    device, dtype : of torch; float64 unless float32 is asked for
    progress : show a tqdm bar

    The noise is a pure function of (seed, run, step, particle, component), so the same seed, device
    and dtype give the same bits, whatever was computed before and however many threads there are;
    run 0 of many equals the only run of one. torch's and numpy's own generators are not touched.
    (A potential that mixes particles, a matrix product for one, may round differently with ``n``.)
    On the CPU particles move in tiles that fit in cache; a tile may be filled up with copies. Those
    that act on each other (``dynamics.coupled``) stay together, a run or several in a tile. What
    `pdekit.particles.fused` knows, it moves many steps at once and on as many threads as torch has.

    Raises ``NonFiniteError`` (a ``ValueError``) naming particle, step, time and position when a
    particle becomes NaN or infinite, ``ValueError`` or ``TypeError`` for arguments amiss. Warns
    (``StepSizeWarning``) when dt times the largest curvature found at the initial points exceeds 2.
    Good values: dt times curvature below 0.1.
    """
    n, runs, seed = guards.whole("n", n, 1), guards.whole("runs", runs, 1), _seed(seed)
    times, dt = guards.output_times(t), guards.positive("dt", dt)
    device, dtype = guards.usable_device(device), guards.float_type(dtype)
    begin = perf_counter()
    plan = list(_intervals(times, dt))
    with torch.no_grad(), _one_thread() as threads:
        x0 = _initial(initial, n, runs, seed, device, dtype)
        _check_dim(dynamics, x0.shape[-1])
        longest = max(interval.size for interval in plan)
        looked = sorted({0.0, *times})
        curvature = guards.check_step_size(dynamics, x0[0], looked, longest, seed)
        fast = fused(dynamics, x0)
        out = np.empty((len(times), *x0.shape), dtype=str(dtype).removeprefix("torch."))
        steps = sum(interval.steps for interval in plan)
        with tqdm(total=steps * n * runs, disable=not progress, unit="", unit_scale=True) as bar:
            loop = _Loop(dynamics, fast or _step_by_step(dynamics), plan, seed, out, bar)
            tiles = _whole_runs(x0) if getattr(dynamics, "coupled", False) else _tiles(x0)
            loop.run(tiles, threads if fast else 1)
    seconds = perf_counter() - begin
    stats = {
        "steps": steps,
        "dt": [interval.size for interval in plan],
        "seconds": seconds,
        "particle_steps_per_second": steps * n * runs / seconds,
        "curvature": curvature,
    }
    return Ensemble(_labelled(out, times), dynamics, seed, stats)


@contextmanager
def _one_thread() -> Iterator[int]:
    """One thread for torch; yields how many it had."""
    # A parallel region per operation on a tile costs more than it saves, ten times more on a busy
    # machine, and where torch cuts its work would depend on the number of threads.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


# before the first step: positions as they are, without the noise of a step
_START = Step(-1, 0.0, 0.0, 0.0)


class _Tile(NamedTuple):
    run: int
    particle: int
    runs: int  # runs and
    size: int  # particles that count; the rest are copies
    x: Tensor  # (padded runs, padded particles, dim), its own memory


@dataclass
class _Loop:
    """The particle loop: tile by tile, interval by interval, a block of steps at a time."""

    dynamics: Diffusion
    advance: Advance
    plan: list[_Interval]
    seed: int
    out: np.ndarray
    bar: Any
    stopped: bool = False

    def run(self, tiles: Iterable[_Tile], threads: int) -> None:
        """Move the tiles, whose results do not depend on each other, in so many threads."""
        if threads == 1:
            for tile in tiles:
                self.move(tile)
            return
        with ThreadPoolExecutor(threads) as pool:
            try:
                # errors come up in the order of the tiles
                deque(pool.map(self.move, tiles), maxlen=0)
            finally:
                self.stopped = True

    def move(self, tile: _Tile) -> None:
        dynamics, runs, size = self.dynamics, tile.runs, tile.size
        noise = StepNoise(self.seed, tile.run, tile.particle, torch.empty_like(tile.x), size)
        state = dynamics.init(tile.x)
        positions = dynamics.positions(state, _START, noise)
        rows = slice(tile.run, tile.run + runs)
        columns = slice(tile.particle, tile.particle + size)
        for i, interval in enumerate(self.plan):
            for first in range(0, interval.steps, _CHECK_EVERY):
                if self.stopped:
                    return
                steps = [
                    interval.step(j)
                    for j in range(first, min(first + _CHECK_EVERY, interval.steps))
                ]
                saved = state.clone()
                state = self.advance(state, steps, noise)
                positions = dynamics.positions(state, steps[-1], noise)
                if not bool(torch.isfinite(positions[:runs, :size]).all()):
                    raise self.located(saved, steps, tile, noise)
                with self.bar.get_lock():
                    self.bar.update(len(steps) * runs * size)
            self.out[i, rows, columns] = positions[:runs, :size].cpu().numpy()

    def located(self, state: Tensor, steps: list[Step], tile: _Tile, noise: StepNoise) -> Exception:
        """Repeat the steps since the last look, bit for bit, and stop at the bad one."""
        before = after = self.dynamics.positions(state, _START, noise)[: tile.runs, : tile.size]
        for step in steps:
            before = after.clone()
            state = self.advance(state, [step], noise)
            after = self.dynamics.positions(state, step, noise)[: tile.runs, : tile.size]
            if not bool(torch.isfinite(after).all()):
                break
        first = (tile.run, tile.particle)
        return guards.non_finite(before, after, first, step)


def _step_by_step(dynamics: Diffusion) -> Advance:
    def advance(state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        for step in steps:
            state = dynamics.step(state, step, noise)
        return state

    return advance


def _intervals(times: list[float], dt: float) -> Iterator[_Interval]:
    start, first = 0.0, 0
    for stop in times:
        # a quotient that is whole up to rounding is whole
        steps = ceil((stop - start) / dt * (1 - 1e-12))
        yield _Interval(start, stop, steps, first)
        start, first = stop, first + steps


def _tiles(x0: Tensor) -> Iterator[_Tile]:
    """Runs times particles in pieces of about a cache, particles in multiples of ``_PAD``."""
    runs, n, dim = x0.shape
    room = max(_PAD, (_TILE_CPU if x0.device.type == "cpu" else _TILE_GPU) // dim)
    pieces = -(-n // (room // _PAD * _PAD))
    width = -(-n // (pieces * _PAD)) * _PAD
    height = max(1, room // width)
    for r in range(0, runs, height):
        for p in range(0, n, width):
            piece = x0[r : r + height, p : p + width]
            size = piece.shape[1]
            padding = -size % _PAD
            copies = piece[:, :1].expand(-1, padding, -1)
            whole = torch.cat((piece, copies), dim=1).contiguous()
            yield _Tile(r, p, len(piece), size, whole)


def _whole_runs(x0: Tensor) -> Iterator[_Tile]:
    """Pieces that hold all particles of their runs, for particles that act on each other."""
    runs, n, dim = x0.shape
    room = _TILE_CPU if x0.device.type == "cpu" else _TILE_GPU
    height = max(1, room // (n * dim))
    for r in range(0, runs, height):
        piece = x0[r : r + height]
        yield _Tile(r, 0, len(piece), n, _filled_up(piece))


def _filled_up(x: Tensor) -> Tensor:
    """``x`` with copies of particles, or of whole runs where that is less, up to ``_PAD``."""
    runs, n, dim = x.shape
    more, more_runs = -n % _PAD, -runs % (_PAD // gcd(_PAD, n * dim))
    if runs * more <= more_runs * n:
        return torch.cat((x, x[:, :1].expand(-1, more, -1)), dim=1).contiguous()
    return torch.cat((x, x[:1].expand(more_runs, -1, -1)), dim=0).contiguous()


def _initial(initial: Any, n: int, runs: int, seed: int, device: Any, dtype: Any) -> Tensor:
    """Initial positions ``(runs, n, dim)``."""
    if hasattr(initial, "sample"):
        samples = [initial.sample(n, LawNoise(seed, r, dtype, device)) for r in range(runs)]
        x = torch.stack([torch.as_tensor(s, dtype=dtype, device=device) for s in samples])
    elif callable(initial) or isinstance(initial, str) or initial is None:
        raise TypeError(
            f"initial must be a law, or an array or tensor of shape (n, d), got {initial!r}"
        )
    else:
        x = torch.as_tensor(np.asarray(initial) if isinstance(initial, list) else initial)
        x = x.to(dtype=dtype, device=device)[None].expand(runs, *x.shape)
    if x.ndim != 3 or x.shape[1] != n or x.shape[2] < 1:
        hint = "; write x[:, None] for particles on a line" if x.ndim == 2 else ""
        raise ValueError(
            f"initial must have shape (n, d) with n = {n}, got {tuple(x.shape[1:])}{hint}"
        )
    if not bool(torch.isfinite(x).all()):
        run, particle, _ = (~torch.isfinite(x)).nonzero()[0].tolist()
        raise ValueError(f"initial particle {particle} is not finite: {x[run, particle].tolist()}")
    return x


def _check_dim(dynamics: Diffusion, dim: int) -> None:
    declared = getattr(dynamics, "dim", None)
    if declared is not None and declared != dim:
        raise ValueError(
            f"the dynamics has {declared} coordinates, the initial particles have {dim}; initial "
            f"must be a law on R^{declared} or an array of shape (n, {declared})"
        )


def _seed(seed: Any) -> int:
    number = guards.whole("seed", seed, 0)
    if number >= 1 << 64:
        raise ValueError(f"seed must lie below 2**64, got {seed}")
    return number


def _labelled(out: np.ndarray, times: list[float]) -> xr.DataArray:
    names = ["time", "run", "particle", "dim"]
    if out.shape[1] == 1:
        out, names = out[:, 0], ["time", "particle", "dim"]
    return xr.DataArray(out, dims=names, coords={"time": times}, name="x")
