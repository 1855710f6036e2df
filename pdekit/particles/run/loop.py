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
from pdekit.particles.observation import Accumulator
from pdekit.particles.run import guards
from pdekit.particles.run.ranks import Division, RankError
from pdekit.particles.run.recorder import Recorder, TileState
from pdekit.particles.run.schedule import START, Interval
from pdekit.particles.run.starts import Start
from pdekit.particles.run.tiles import Tile, filled
from pdekit.particles.run.users_kernels import UsersKernel

_PATIENCE = 0.5  # target seconds of a block of steps: Ctrl-C and checkpoints wait for its end

# advances a state through consecutive steps, overwriting it
Advance = Callable[[Tensor, list[Step], StepNoise], Tensor]


@dataclass
class Loop:
    """Advances independent tiles through the intervals of a plan."""

    dynamics: Diffusion
    advance: Advance
    plan: list[Interval]
    seed: int
    source: Start
    tiles: list[Tile]
    division: Division
    recorder: Recorder
    bar: Any
    longest: int  # steps of a block
    users: list[UsersKernel] = field(default_factory=list)
    interrupted: bool = False
    stopped: bool = False
    _length: int = field(init=False)

    def __post_init__(self) -> None:
        self._length = -(-self.longest // 8)

    def run(self, threads: int) -> None:
        """Advance all unfinished tiles, in this number of threads, until ``stop``."""
        waiting = [k for k, done in enumerate(self.recorder.done) if not done]
        with _deferred_interrupt(self):
            if threads == 1:
                for number in waiting:
                    self.move(number)
                return
            with ThreadPoolExecutor(threads) as pool:
                try:
                    # errors are raised in the order of the tiles
                    deque(pool.map(self.move, waiting), maxlen=0)
                except BaseException:
                    self.stopped = True
                    raise

    def stop(self) -> None:
        """Stop after the current blocks of steps."""
        self.stopped = True

    def move(self, number: int) -> None:
        """Advance one tile to the end, from its current state."""
        if self.stopped and not self.division.by_mean:  # otherwise ranks stop together
            return
        tile_state = self.tile_state(number)
        positions = self.dynamics.positions(tile_state.state, START, tile_state.noise)
        for i in range(tile_state.interval, len(self.plan)):
            interval = self.plan[i]
            while tile_state.step < interval.steps:
                due, stopped = self.agreed(self.recorder.due, self.stopped)
                if stopped:
                    self.recorder.stop(number, tile_state)
                    return
                if due:
                    self.recorder.note(number, tile_state)
                positions = self.block(tile_state, interval, positions)
            x = positions[: tile_state.tile.runs, : tile_state.tile.size]
            alive = self.alive(tile_state)
            if not interval.steps:
                tile_state.accumulator.update(i, x, 0, True, alive, self.waiting(tile_state))
            self.recorder.record(i, tile_state, x, alive, self.momenta(tile_state, interval))
            tile_state.interval, tile_state.step = i + 1, 0
        self.recorder.finish(number, tile_state, self.exits(tile_state), self.passed(tile_state))

    def alive(self, tile_state: TileState) -> Tensor | None:
        """Which particles have not stopped, of a dynamics whose particles may."""
        if not hasattr(self.dynamics, "alive"):
            return None
        tile = tile_state.tile
        alive: Tensor = self.dynamics.alive(tile_state.state)[: tile.runs, : tile.size]
        return alive

    def momenta(self, tile_state: TileState, interval: Interval) -> Tensor | None:
        """The momenta at the end of an interval, of a dynamics that has them."""
        if self.recorder.momenta is None:
            return None
        tile, done = tile_state.tile, interval.first + interval.steps
        step = Step(done - 1, interval.start, interval.stop, interval.size) if done else START
        of: Any = self.dynamics
        p: Tensor = of.momenta_of(tile_state.state, step, tile_state.noise)
        return p[: tile.runs, : tile.size]

    def exits(self, tile_state: TileState) -> Tensor | None:
        """Where and when the others did."""
        if not hasattr(self.dynamics, "exits"):
            return None
        tile = tile_state.tile
        exits: Tensor = self.dynamics.exits(tile_state.state)[: tile.runs, : tile.size]
        return exits

    def waiting(self, tile_state: TileState) -> list[Tensor]:
        """Who is still to enter each set that is watched."""
        if not hasattr(self.dynamics, "waiting"):
            return []
        tile, there = tile_state.tile, self.dynamics.waiting(tile_state.state)
        return [each[: tile.runs, : tile.size] for each in there]

    def passed(self, tile_state: TileState) -> Tensor | None:
        """When the others did."""
        if not hasattr(self.dynamics, "passed"):
            return None
        tile = tile_state.tile
        times: Tensor = self.dynamics.passed(tile_state.state)[:, : tile.runs, : tile.size]
        return times

    def tile_state(self, number: int) -> TileState:
        """A tile at its start, or in its recorded state."""
        tile, note = self.tiles[number], self.recorder.begin(number)
        x = filled(self.source.of(tile), tile)
        kind = getattr(self.dynamics, "noise_of", StepNoise)
        noise = kind(self.seed, tile.run, tile.particle, torch.empty_like(x), tile.size)
        accumulator = Accumulator(self.recorder.observed.observables)
        if note is None:
            begin = getattr(self.dynamics, "begin", None)  # of particles that enter later
            state = self.dynamics.init(x) if begin is None else begin(x, noise)
            return TileState(tile, noise, state, accumulator)
        interval, step, state = note
        # a copy: steps overwrite it, and the record must not change
        there = torch.tensor(state, dtype=x.dtype, device=x.device)
        return TileState(tile, noise, there, accumulator, interval, step)

    def block(self, tile_state: TileState, interval: Interval, earlier: Tensor) -> Tensor:
        """A block of steps from the positions ``earlier``; returns those after it."""
        first, began = tile_state.step, perf_counter()
        last = self.end_of_block(first, interval.steps)
        steps = interval.some(first, last)
        before = tile_state.state.clone()
        tile = tile_state.tile
        came = earlier[: tile.runs, : tile.size].clone() if self.users else earlier
        tile_state.state = self.advance(tile_state.state, steps, tile_state.noise)
        positions: Tensor = self.dynamics.positions(tile_state.state, steps[-1], tile_state.noise)
        x = positions[: tile.runs, : tile.size]
        if self.agreed(not guards.all_finite(x))[0]:
            raise self.located(before, steps, tile_state)
        if self.recorder.seen_ends and x.shape[1]:
            self.recorder.see(x)
        for kernel in self.users if x.shape[1] else ():
            kernel.check_along(came, x, steps[0].start, steps[-1].stop, last == interval.steps)
        tile_state.step = last
        alive = self.alive(tile_state) if self.recorder.observed.observables else None
        seen, waiting = last == interval.steps, self.waiting(tile_state)
        tile_state.accumulator.update(tile_state.interval, x, last, seen, alive, waiting)
        with self.bar.get_lock():
            self.bar.update(len(steps) * x.shape[0] * x.shape[1])
        self._pace(perf_counter() - began)
        return positions

    def end_of_block(self, first: int, steps: int) -> int:
        """Steps done after the block, which ends where observables are evaluated."""
        every = [o.every for o in self.recorder.observed.observables if o.every]
        return min(first + self._length, steps, *(first // k * k + k for k in every))

    def agreed(self, *flags: bool) -> list[bool]:
        """The flags, combined by "or" over synchronised ranks."""
        return self.division.ranks.any(*flags) if self.division.by_mean else list(flags)

    def located(self, state: Tensor, steps: list[Step], tile_state: TileState) -> Exception:
        """Repeat the steps since the last check, bitwise equal, and stop at the bad one."""
        tile, noise = tile_state.tile, tile_state.noise
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
        if not self.division.by_mean:  # the other ranks would not participate
            self.dynamics.step(start, step, noise)  # which may give more information
        first, shared = (tile.run, tile.particle), self.division.by_mean
        return guards.non_finite(
            self.dynamics, self.source.of(tile), before, after, first, step, shared
        )

    def finished(self) -> float:
        """The fraction of all particle steps that is done."""
        total = sum(interval.steps for interval in self.plan)
        behind = self.recorder.steps_done(lambda i: self.plan[i].first, total)
        done = sum(k * t.runs * t.size for k, t in zip(behind, self.tiles, strict=True))
        return done / (total * sum(t.runs * t.size for t in self.tiles)) if total else 1.0

    def _pace(self, seconds: float) -> None:
        if self.division.by_mean:
            return  # synchronised ranks take equal blocks
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
    """Limit torch to one thread; yields the previous number."""
    # A parallel region per operation on a tile costs more than it saves, ten times more on a
    # busy machine, and the partition of the work would depend on the number of threads.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _deferred_interrupt(loop: Loop) -> Iterator[None]:
    """Defer the first Ctrl-C until the current steps are done, so that the state is consistent."""
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
