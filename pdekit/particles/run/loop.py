"""The only particle loop: tile by tile, interval by interval, a block of steps at a time."""

import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import current_thread, main_thread
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from pdekit.particles.dynamics.diffusion import Diffusion
from pdekit.particles.integrators import Step
from pdekit.particles.noise import StepNoise
from pdekit.particles.observation import Glimpse
from pdekit.particles.run import guards
from pdekit.particles.run.journal import Flight, Journal
from pdekit.particles.run.ranks import Division, RankError
from pdekit.particles.run.schedule import START, Interval
from pdekit.particles.run.starts import Start
from pdekit.particles.run.tiles import Tile, filled

_PATIENCE = 0.5  # seconds that a block of steps may take: Ctrl-C and checkpoints wait for its end

# moves a state through consecutive steps, overwriting it
Advance = Callable[[Tensor, list[Step], StepNoise], Tensor]


@dataclass
class Loop:
    """Moves tiles, whose results do not depend on each other, through the intervals of a plan."""

    dynamics: Diffusion
    advance: Advance
    plan: list[Interval]
    seed: int
    source: Start
    tiles: list[Tile]
    division: Division
    journal: Journal
    bar: Any
    longest: int  # steps of a block
    interrupted: bool = False
    stopped: bool = False
    _length: int = field(init=False)

    def __post_init__(self) -> None:
        self._length = -(-self.longest // 8)

    def run(self, threads: int) -> None:
        """Move all tiles that are not done, in so many threads; until ``stop``."""
        waiting = [k for k, done in enumerate(self.journal.done) if not done]
        with _deferred_interrupt(self):
            if threads == 1:
                for number in waiting:
                    self.move(number)
                return
            with ThreadPoolExecutor(threads) as pool:
                try:
                    # errors come up in the order of the tiles
                    deque(pool.map(self.move, waiting), maxlen=0)
                except BaseException:
                    self.stopped = True
                    raise

    def stop(self) -> None:
        """Go no further than the blocks of steps under way."""
        self.stopped = True

    def move(self, number: int) -> None:
        """Move one tile to the end, from where it is."""
        if self.stopped and not self.division.by_mean:  # else ranks stop together
            return
        flight = self.flight(number)
        positions = self.dynamics.positions(flight.state, START, flight.noise)
        for i in range(flight.interval, len(self.plan)):
            interval = self.plan[i]
            while flight.step < interval.steps:
                due, stopped = self.agreed(self.journal.due, self.stopped)
                if stopped:
                    self.journal.stop(number, flight)
                    return
                if due:
                    self.journal.note(number, flight)
                positions = self.block(flight, interval)
            x = positions[: flight.tile.runs, : flight.tile.size]
            if not interval.steps:
                flight.glimpse.look(i, x, 0, last=True)
            self.journal.record(i, flight, x)
            flight.interval, flight.step = i + 1, 0
        self.journal.finish(number, flight)

    def flight(self, number: int) -> Flight:
        """A tile at its start, or where the journal says that it is."""
        tile, note = self.tiles[number], self.journal.begin(number)
        x = filled(self.source.of(tile), tile)
        kind = getattr(self.dynamics, "noise_of", StepNoise)
        noise = kind(self.seed, tile.run, tile.particle, torch.empty_like(x), tile.size)
        glimpse = Glimpse(self.journal.observed.observables)
        if note is None:
            return Flight(tile, noise, self.dynamics.init(x), glimpse)
        interval, step, state = note
        # a copy: steps overwrite it, and the note must stay what it is
        there = torch.tensor(state, dtype=x.dtype, device=x.device)
        return Flight(tile, noise, there, glimpse, interval, step)

    def block(self, flight: Flight, interval: Interval) -> Tensor:
        """A few steps; positions after them."""
        first, began = flight.step, perf_counter()
        last = self.end_of_block(first, interval.steps)
        steps = interval.some(first, last)
        before = flight.state.clone()
        flight.state = self.advance(flight.state, steps, flight.noise)
        positions: Tensor = self.dynamics.positions(flight.state, steps[-1], flight.noise)
        x = positions[: flight.tile.runs, : flight.tile.size]
        if self.agreed(not guards.all_finite(x))[0]:
            raise self.located(before, steps, flight)
        flight.step = last
        flight.glimpse.look(flight.interval, x, last, last == interval.steps)
        with self.bar.get_lock():
            self.bar.update(len(steps) * x.shape[0] * x.shape[1])
        self._pace(perf_counter() - began)
        return positions

    def end_of_block(self, first: int, steps: int) -> int:
        """Steps done after the block, which ends where something is to be seen."""
        every = [o.every for o in self.journal.observed.observables if o.every]
        return min(first + self._length, steps, *(first // k * k + k for k in every))

    def agreed(self, *flags: bool) -> list[bool]:
        """The flags, set if they are on any of the ranks that move in step."""
        return self.division.ranks.any(*flags) if self.division.by_mean else list(flags)

    def located(self, state: Tensor, steps: list[Step], flight: Flight) -> Exception:
        """Repeat the steps since the last look, bit for bit, and stop at the bad one."""
        tile, noise = flight.tile, flight.noise
        before = after = self.dynamics.positions(state, START, noise)[: tile.runs, : tile.size]
        for step in steps:
            before, start = after.clone(), state.clone()
            state = self.advance(state, [step], noise)
            after = self.dynamics.positions(state, step, noise)[: tile.runs, : tile.size]
            bad = not guards.all_finite(after)
            if self.agreed(bad)[0]:
                break
        if not bad:
            return RankError(f"a particle of another rank became non-finite in step {step.number}")
        if not self.division.by_mean:  # the other ranks would not take part
            self.dynamics.step(start, step, noise)  # which may know more, and say it
        return guards.non_finite(before, after, (tile.run, tile.particle), step)

    def finished(self) -> float:
        """Which share of all particle steps is done."""
        total = sum(interval.steps for interval in self.plan)
        behind = self.journal.steps_done(lambda i: self.plan[i].first, total)
        done = sum(k * t.runs * t.size for k, t in zip(behind, self.tiles, strict=True))
        return done / (total * sum(t.runs * t.size for t in self.tiles)) if total else 1.0

    def _pace(self, seconds: float) -> None:
        if self.division.by_mean:
            return  # ranks in step take equal blocks
        if seconds > _PATIENCE:
            self._length = max(1, self._length // 2)
        elif seconds < _PATIENCE / 4:
            self._length = min(self.longest, 2 * self._length)


def step_by_step(dynamics: Diffusion) -> Advance:
    """The plain form of `pdekit.particles.fused`."""

    def advance(state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        for step in steps:
            state = dynamics.step(state, step, noise)
        return state

    return advance


@contextmanager
def one_thread() -> Iterator[int]:
    """One thread for torch; yields how many it had."""
    # A parallel region per operation on a tile costs more than it saves, ten times more on a busy
    # machine, and where torch cuts its work would depend on the number of threads.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _deferred_interrupt(loop: Loop) -> Iterator[None]:
    """Let the first Ctrl-C wait for the steps under way, so that the state is whole."""
    usual = signal.default_int_handler
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return

    def handle(number: int, frame: Any) -> None:
        if loop.interrupted:
            raise KeyboardInterrupt
        loop.interrupted = loop.stopped = True

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
