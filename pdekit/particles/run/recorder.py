"""Progress of a simulation: finished tiles, states of running tiles, and when they are saved."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdekit.particles.noise import StepNoise
from pdekit.particles.observation import Accumulator, Observed
from pdekit.particles.run import probes
from pdekit.particles.run.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointWarning,
    Saved,
    check_writable,
    found,
    write,
)
from pdekit.particles.run.ranks import Division
from pdekit.particles.run.tiles import Tile

SEEN = 512  # positions that are checked again at the end


def file_of(checkpoint: Checkpoint, division: Division) -> Path:
    """The checkpoint file of this rank; checks that it is writable."""
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(f"checkpoint must be a Checkpoint(path), got {checkpoint!r}")
    ranks = division.ranks
    name = checkpoint.path.name + (f".rank{ranks.rank}" if ranks.size > 1 else "")
    path = checkpoint.path.with_name(name)
    check_writable(path)
    return path


@dataclass
class TileState:
    """State of a running tile: ``step`` steps of the interval ``interval`` are done."""

    tile: Tile
    noise: StepNoise
    state: Tensor
    accumulator: Accumulator
    interval: int = 0
    step: int = 0

    @property
    def rows(self) -> slice:
        """The rows of its runs."""
        return slice(self.tile.run, self.tile.run + self.tile.runs)


@dataclass
class Recorder:
    """The results of a simulation so far, consistent at any time.

    The observations of a tile are added to the totals together with a record of its
    state, so that totals, positions of finished tiles and recorded states always agree.
    """

    out: NDArray[Any] | None  # (times, runs, particles, dim) of this rank's share
    observed: Observed
    division: Division
    momenta: NDArray[Any] | None = None  # as ``out``, of dynamics that have them
    exits: NDArray[Any] | None = None  # (runs, particles, 2 + dim), see `Stopping.exits`
    passages: NDArray[Any] | None = None  # (sets, runs, particles), see `Watched.passed`
    path: Path | None = None
    minutes: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    whole: bool = False  # the file at the path is intact
    last: Tensor | None = None  # some positions of the tile that finished first
    seen_ends: bool = False  # whether the outermost of some positions are kept
    ends: Tensor | None = None  # of all times, (2, axes, d)
    done: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    notes: dict[int, tuple[int, int, NDArray[Any]]] = field(default_factory=dict)
    _active: set[int] = field(default_factory=set)
    _fresh: set[int] = field(default_factory=set)
    _last: float = field(default_factory=monotonic)
    _lock: Any = field(default_factory=Lock, repr=False)

    @property
    def times(self) -> int:
        """Number of output times."""
        return int(self.observed.seen.shape[1])

    @property
    def due(self) -> bool:
        """Whether a checkpoint is due."""
        return self.path is not None and monotonic() - self._last > 60 * self.minutes

    def open(self, path: Path, minutes: float, asked: dict[str, str], capacity: int) -> int:
        """Resume from a checkpoint, if there is one; returns the capacity of its tiles."""
        self.path, self.minutes = path, minutes
        good, self.whole = found(self.path, asked)
        chosen = self._agreed(good) if self.division.by_mean else good[:1]
        for saved in chosen:
            self._restore(saved)
            capacity = saved.facts["capacity"]
        self.facts = {"asked": asked, "capacity": capacity}
        return capacity

    def cut(self, tiles: int) -> None:
        """Set the number of tiles, unless restored."""
        if not self.done.size:
            self.done = np.zeros(tiles, dtype=bool)

    def begin(self, number: int) -> tuple[int, int, NDArray[Any]] | None:
        """Start a tile; returns its recorded state if there is one."""
        with self._lock:
            self._active.add(number)
            return self.notes.get(number)

    def record(
        self, time: int, tile_state: TileState, x: Tensor, alive: Tensor | None = None,
        p: Tensor | None = None,
    ) -> None:  # fmt: skip
        """Store positions at an output time, NaN for those not ``alive``, and momenta."""
        rows, columns = self._place(tile_state.tile)
        with self._lock:  # positions must not change while the file is written
            if time == self.times - 1 and self.last is None:
                self.last = x[0, :SEEN].clone()
            if self.out is not None:
                there = x if alive is None else x.masked_fill(~alive[..., None], nan)
                self.out[time, rows, columns] = there.cpu().numpy()
            if self.momenta is not None and p is not None:
                self.momenta[time, rows, columns] = p.cpu().numpy()
            if self.path is None:  # otherwise totals would disagree with the recorded states
                self.observed.add(tile_state.accumulator, tile_state.rows)

    def see(self, x: Tensor) -> None:
        """Keep the outermost of some of the positions (runs, n, d), and of those before."""
        some = x[0, :SEEN]
        with self._lock:
            known = some if self.ends is None else torch.cat((self.ends.flatten(0, 1), some))
            self.ends = probes.outermost(known)

    def note(self, number: int, tile_state: TileState) -> None:
        """Record the state of a tile; write once all running tiles are recorded."""
        with self._lock:
            if number not in self._fresh:
                self._note(number, tile_state)
            self._write_if_complete()

    def stop(self, number: int, tile_state: TileState) -> None:
        """Record the state of a tile that stops."""
        with self._lock:
            self._note(number, tile_state)
            self._active.discard(number)

    def _place(self, tile: Tile) -> tuple[slice, slice]:
        """Its rows and columns in this rank's share."""
        here = self.division.here
        r, p = tile.run - here.run, tile.particle - here.particle
        return slice(r, r + tile.runs), slice(p, p + tile.size)

    def finish(
        self, number: int, tile_state: TileState, exits: Tensor | None = None,
        passed: Tensor | None = None,
    ) -> None:  # fmt: skip
        """Mark a tile as finished."""
        with self._lock:
            if self.passages is not None and passed is not None:
                self.passages[:, *self._place(tile_state.tile)] = passed.cpu().numpy()
            if self.exits is not None and exits is not None:
                self.exits[self._place(tile_state.tile)] = exits.cpu().numpy()
            self.observed.add(tile_state.accumulator, tile_state.rows)
            self.done[number] = True
            self.notes.pop(number, None)
            self._active.discard(number)
            if self.due and not self.division.by_mean:  # synchronised ranks write together
                self._write_if_complete()

    def write(self) -> None:
        """Write the checkpoint, if requested."""
        if self.path is None:
            return
        arrays = {"done": self.done, "seen": self.observed.seen}
        arrays |= {f"sums_{k}": sums for k, sums in enumerate(self.observed.sums)}
        arrays |= {f"state_{k}": state for k, (_, _, state) in self.notes.items()}
        if self.out is not None:
            arrays["x"] = self.out
        if self.momenta is not None:
            arrays["p"] = self.momenta
        if self.exits is not None:
            arrays["exits"] = self.exits
        if self.passages is not None:
            arrays["passages"] = self.passages
        facts = {
            **self.facts,
            "places": {str(k): note[:2] for k, note in self.notes.items()},
            # progress of synchronised ranks, which have one running tile
            "mark": [int(self.done.sum()), *next((n[:2] for n in self.notes.values()), (0, 0))],
        }
        self._last = monotonic()
        self._fresh.clear()
        try:
            write(self.path, arrays, facts, rotate=self.whole)
            self.whole = True
        except OSError as error:  # a full disk must not lose the results so far
            kept = "the previous one is kept" if self.whole else "no earlier one exists"
            warnings.warn(
                f"the checkpoint {self.path} could not be written ({error.strerror or error}); "
                f"{kept}, and the computation continues",
                CheckpointWarning,
                stacklevel=2,
            )

    def steps_done(self, steps: Callable[[int], int], all_steps: int) -> list[int]:
        """Steps done by each tile; ``steps(i)`` are those before interval i."""
        behind = [all_steps if done else 0 for done in self.done]
        for number, (interval, step, _) in self.notes.items():
            behind[number] = steps(interval) + step
        return behind

    def _note(self, number: int, tile_state: TileState) -> None:
        self.observed.add(tile_state.accumulator, tile_state.rows)
        state = np.array(tile_state.state.cpu().numpy())
        self.notes[number] = (tile_state.interval, tile_state.step, state)
        self._fresh.add(number)

    def _write_if_complete(self) -> None:
        if self._active <= self._fresh:
            self.write()

    def _restore(self, saved: Saved) -> None:
        arrays = saved.arrays
        self.done, self.observed.seen[:] = arrays["done"], arrays["seen"]
        for k, sums in enumerate(self.observed.sums):
            sums[:] = arrays[f"sums_{k}"]
        if self.out is not None:
            self.out[:] = arrays["x"]
        if self.momenta is not None:
            self.momenta[:] = arrays["p"]
        if self.exits is not None:
            self.exits[:] = arrays["exits"]
        if self.passages is not None:
            self.passages[:] = arrays["passages"]
        for key, (interval, step) in saved.facts["places"].items():
            self.notes[int(key)] = (interval, step, arrays[f"state_{key}"])

    def _agreed(self, good: list[Saved]) -> list[Saved]:
        """The newest checkpoint that all synchronised ranks have."""
        marks = [tuple(saved.facts["mark"]) for saved in good]
        nothing = (-1, -1, -1)
        everyone = self.division.ranks.gathered(torch.tensor((marks + [nothing] * 2)[:2]))
        known = [set(map(tuple, m.tolist())) - {nothing} for m in everyone]
        common = set.intersection(*known)
        if common:
            return [good[marks.index(max(common))]]
        if any(known):
            raise CheckpointError(
                f"{self.path} and those of the other ranks have no step in common; to start again "
                "delete or move all of them"
            )
        return []
