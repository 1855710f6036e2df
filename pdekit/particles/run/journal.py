"""Which tiles are done, where those under way are, and when that is written down."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdekit.particles.noise import StepNoise
from pdekit.particles.observation import Glimpse, Observed
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

SEEN = 512  # positions that are looked at once more at the end


def file_of(checkpoint: Checkpoint, division: Division) -> Path:
    """The file of this rank, which can be written."""
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(f"checkpoint must be a Checkpoint(path), got {checkpoint!r}")
    ranks = division.ranks
    name = checkpoint.path.name + (f".rank{ranks.rank}" if ranks.size > 1 else "")
    path = checkpoint.path.with_name(name)
    check_writable(path)
    return path


@dataclass
class Flight:
    """A tile under way: ``step`` steps of the interval ``interval`` are done."""

    tile: Tile
    noise: StepNoise
    state: Tensor
    glimpse: Glimpse
    interval: int = 0
    step: int = 0

    @property
    def rows(self) -> slice:
        """Its runs."""
        return slice(self.tile.run, self.tile.run + self.tile.runs)


@dataclass
class Journal:
    """The whole of what a simulation has computed, consistent at every moment.

    What a tile has seen is added to the totals together with a note of where it is, so that
    totals, positions of tiles that are done and notes always belong together.
    """

    out: NDArray[Any] | None  # (times, runs, particles, dim) of this rank's share
    observed: Observed
    division: Division
    path: Path | None = None
    minutes: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    whole: bool = False  # the file at the path is a good one
    last: Tensor | None = None  # some positions of the tile that came first to the end
    done: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    notes: dict[int, tuple[int, int, NDArray[Any]]] = field(default_factory=dict)
    _active: set[int] = field(default_factory=set)
    _fresh: set[int] = field(default_factory=set)
    _last: float = field(default_factory=monotonic)
    _lock: Any = field(default_factory=Lock, repr=False)

    @property
    def times(self) -> int:
        """Of output."""
        return int(self.observed.seen.shape[1])

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return self.path is not None and monotonic() - self._last > 60 * self.minutes

    def open(self, path: Path, minutes: float, asked: dict[str, str], room: int) -> int:
        """Go on from a checkpoint, if there is one; the room of tiles that were begun with."""
        self.path, self.minutes = path, minutes
        good, self.whole = found(self.path, asked)
        chosen = self._agreed(good) if self.division.by_mean else good[:1]
        for saved in chosen:
            self._restore(saved)
            room = saved.facts["room"]
        self.facts = {"asked": asked, "room": room}
        return room

    def cut(self, tiles: int) -> None:
        """Into so many tiles; as many as there were, where some are done."""
        if not self.done.size:
            self.done = np.zeros(tiles, dtype=bool)

    def begin(self, number: int) -> tuple[int, int, NDArray[Any]] | None:
        """A tile is under way, from the place that was noted if there is one."""
        with self._lock:
            self._active.add(number)
            return self.notes.get(number)

    def record(self, time: int, flight: Flight, x: Tensor) -> None:
        """Positions at an output time."""
        tile, here = flight.tile, self.division.here
        r, p = tile.run - here.run, tile.particle - here.particle
        with self._lock:  # positions must not change while they are written to the file
            if time == self.times - 1 and self.last is None:
                self.last = x[0, :SEEN].clone()
            if self.out is not None:
                self.out[time, r : r + tile.runs, p : p + tile.size] = x.cpu().numpy()
            if self.path is None:  # else nobody may add what a note does not know of
                self.observed.add(flight.glimpse, flight.rows)

    def note(self, number: int, flight: Flight) -> None:
        """Note where a tile is; write when all tiles under way have been noted."""
        with self._lock:
            if number not in self._fresh:
                self._note(number, flight)
            self._write_if_complete()

    def stop(self, number: int, flight: Flight) -> None:
        """Note where a tile is that goes no further."""
        with self._lock:
            self._note(number, flight)
            self._active.discard(number)

    def finish(self, number: int, flight: Flight) -> None:
        """A tile is done."""
        with self._lock:
            self.observed.add(flight.glimpse, flight.rows)
            self.done[number] = True
            self.notes.pop(number, None)
            self._active.discard(number)
            if self.due and not self.division.by_mean:  # ranks in step write together
                self._write_if_complete()

    def write(self) -> None:
        """Write the file, where there is one."""
        if self.path is None:
            return
        arrays = {"done": self.done, "seen": self.observed.seen}
        arrays |= {f"sums_{k}": sums for k, sums in enumerate(self.observed.sums)}
        arrays |= {f"state_{k}": state for k, (_, _, state) in self.notes.items()}
        if self.out is not None:
            arrays["x"] = self.out
        facts = {
            **self.facts,
            "places": {str(k): note[:2] for k, note in self.notes.items()},
            # where ranks are that move in step, which have one tile under way
            "mark": [int(self.done.sum()), *next((n[:2] for n in self.notes.values()), (0, 0))],
        }
        self._last = monotonic()
        self._fresh.clear()
        try:
            write(self.path, arrays, facts, rotate=self.whole)
            self.whole = True
        except OSError as error:  # a full disk must not cost what has been computed
            kept = "the one before is kept" if self.whole else "there is none yet"
            warnings.warn(
                f"the checkpoint {self.path} could not be written ({error.strerror or error}); "
                f"{kept}, and the computation goes on",
                CheckpointWarning,
                stacklevel=2,
            )

    def steps_done(self, steps: Callable[[int], int], all_steps: int) -> list[int]:
        """Steps behind each tile; ``steps(i)`` are those before interval i."""
        behind = [all_steps if done else 0 for done in self.done]
        for number, (interval, step, _) in self.notes.items():
            behind[number] = steps(interval) + step
        return behind

    def _note(self, number: int, flight: Flight) -> None:
        self.observed.add(flight.glimpse, flight.rows)
        state = np.array(flight.state.cpu().numpy())
        self.notes[number] = (flight.interval, flight.step, state)
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
        for key, (interval, step) in saved.facts["places"].items():
            self.notes[int(key)] = (interval, step, arrays[f"state_{key}"])

    def _agreed(self, good: list[Saved]) -> list[Saved]:
        """The newest checkpoint that all ranks have, which move in step."""
        marks = [tuple(saved.facts["mark"]) for saved in good]
        nothing = (-1, -1, -1)
        everyone = self.division.ranks.gathered(torch.tensor((marks + [nothing] * 2)[:2]))
        known = [set(map(tuple, m.tolist())) - {nothing} for m in everyone]
        common = set.intersection(*known)
        if common:
            return [good[marks.index(max(common))]]
        if any(known):
            raise CheckpointError(
                f"{self.path} and those of the other ranks have no step in common; to start anew "
                "delete or move all of them"
            )
        return []
