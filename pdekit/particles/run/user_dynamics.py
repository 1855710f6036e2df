"""User-defined dynamics: the requirements of `simulate`, checked before and during a run.

A dynamics needs one method, ``step(self, state, step, noise)``, which returns the state after
``step`` (`pdekit.particles.integrators.Step`) and may overwrite ``state``, a tensor with the axes
(runs, particles, dim). It draws only from ``noise`` (`UserNoise`), keeps nothing between
calls, and treats particles independently unless its class declares ``coupled = True``; then the
first ``noise.size`` particles of a run are actual, and the rest are copies. With a state that is
not the position, ``init(self, x)`` creates it from positions, and ``positions(self, state, step,
noise)`` returns these. ``dim`` is the number of coordinates if it is fixed, and ``drift(self, x,
t)`` allows the step size to be checked. ``docs/dynamics.md`` has examples.

The same holds for a user-defined integrator or gradient in a dynamics of pdekit.
"""

import inspect
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pdekit import checks
from pdekit.particles.integrators import Step
from pdekit.particles.noise import DYNAMICS, Address, StepNoise, fill_normals, fill_uniforms
from pdekit.particles.run.guards import all_finite
from pdekit.particles.run.schedule import START
from pdekit.particles.run.starts import Start
from pdekit.particles.run.tiles import PAD, Share, Tile, filled

# channels of draws without an address, in steps and for positions
_FRESH, _POSITIONS = 255, 254
_DRAWS = 1 << 16  # in a step
_TRIED = 128  # particles that are advanced once for checks
_OURS = range(1, 16)  # channels reserved for pdekit's own dynamics and laws
_PARTS = ("integrator", "gradient", "task")  # parts of a dynamics that draw noise or use it
_ARGUMENTS = {
    "step": ("state", "step", "noise"),
    "positions": ("state", "step", "noise"),
    "init": ("x",),
    "drift": ("x", "t"),
}


def is_builtin(dynamics: Any) -> bool:
    """Whether a dynamics and its parts that draw noise belong to pdekit."""
    parts = [dynamics, *(getattr(dynamics, name, None) for name in _PARTS)]
    return all(p is None or type(p).__module__.startswith("pdekit.") for p in parts)


@dataclass
class UserNoise(StepNoise):
    """The noise of a step: fresh numbers at every call, reproducible for the same seed.

    ``normals()``: standard normals ``(runs, particles, dim)``. ``uniforms()``: numbers in (0, 1),
    ``(runs, particles, each)``. The k-th call in step n is always the same, so the order of
    calls must be fixed. ``at(counter, channel)`` and ``uniforms(counter, channel, each)`` give the
    numbers at an address, each to be drawn once: counters increase from step to step, as
    ``step.number`` does. ``ValueError`` if one is drawn again. ``mixed``: methods of pdekit draw
    from it too, in their reserved channels.
    """

    mixed: bool = False
    _number: int = field(default=-2, init=False)
    _calls: int = field(default=0, init=False)
    _in_positions: bool = field(default=False, init=False)
    _before: dict[int, int] = field(default_factory=dict, init=False)  # largest counter by channel
    _now: dict[int, set[int]] = field(default_factory=dict, init=False)

    def begin(self, step: Step) -> None:
        """Start a step."""
        if step.number <= self._number:  # repeated
            self._before, self._now = {}, {}
        for channel, counters in self._now.items():
            self._before[channel] = max(self._before.get(channel, -1), *counters)
        self._now, self._number, self._calls, self._in_positions = {}, step.number, 0, False

    def begin_positions(self, step: Step) -> None:
        """Start an evaluation of positions, which may be repeated and may draw later noise."""
        self._calls, self._in_positions = (step.number + 1) * _DRAWS, True

    def normals(self) -> Tensor:
        """Fresh standard normals, shape ``(runs, particles, dim)``."""
        return self._filled(fill_normals, self._fresh(), self.buffer.shape[-1])

    def at(self, step: Any = None, channel: int = DYNAMICS) -> Tensor:
        """A copy of the standard normals at an address."""
        if step is None:
            return self.normals()
        where = self._reserved(step, channel)
        return self._filled(fill_normals, where, self.buffer.shape[-1])

    def uniforms(self, step: Any = None, channel: int = DYNAMICS, each: int = 1) -> Tensor:
        """Fresh uniforms, or those at an address."""
        where = self._fresh() if step is None else self._reserved(step, channel)
        return self._filled(fill_uniforms, where, each)

    def choices(self, step: Any, channel: int, each: int = 1) -> Tensor:
        """Uniforms at an address in float64, for choosing among many."""
        like = self.buffer.new_empty(0, dtype=torch.float64)
        return self._filled(fill_uniforms, self._reserved(step, channel), each, like)

    def _filled(self, fill: Any, where: Address, each: int, like: Any = None) -> Tensor:
        runs, particles, _ = self.buffer.shape
        out = (self.buffer if like is None else like).new_empty(runs, particles * each)
        values: Tensor = fill(out, where, self.particle * each).view(runs, particles, each)
        return values

    def _fresh(self) -> Address:
        if self._in_positions:
            counter, channel = self._calls, _POSITIONS
        else:
            if self._calls >= _DRAWS:
                raise ValueError(f"a step may draw {_DRAWS} times; draw several numbers at once")
            counter, channel = self._number * _DRAWS + self._calls, _FRESH
        self._calls += 1
        return Address(self.seed, self.run, channel, counter)

    def _reserved(self, counter: Any, channel: int) -> Address:
        if isinstance(counter, tuple | float | Tensor | bool):
            raise TypeError(
                "the counter of noise.at must be a whole number, such as step.number, got "
                f"{counter!r}; noise.normals() needs no counter"
            )
        where = Address(self.seed, self.run, channel, counter)
        if self.mixed and channel in _OURS:
            return where
        if channel in (*_OURS, _FRESH, _POSITIONS):
            raise ValueError(f"channel {channel} is reserved; use 0, or one from 16 to 253")
        if self._in_positions:
            return where
        now = self._now.setdefault(channel, set())
        if counter in now:
            raise ValueError(
                f"step {self._number} draws the numbers at counter {counter}, channel {channel}, "
                "twice, which gives the same numbers; keep them, or draw noise.normals(), which "
                "is fresh at every call"
            )
        if counter <= self._before.get(channel, -1):
            raise ValueError(
                f"step {self._number} draws the numbers at counter {counter}, channel {channel}; "
                f"earlier steps reached {self._before[channel]}, and no two may draw the same: "
                "draw noise.normals(), fresh at every call, or noise.at(step.number)"
            )
        now.add(counter)
        return where


class UserDynamics:
    """A wrapper that checks the results of a user-defined dynamics."""

    def __init__(self, dynamics: Any) -> None:
        self.dynamics = dynamics
        mixed = any(c.__module__.startswith("pdekit.") for c in type(dynamics).__mro__)
        self.noise_of = partial(UserNoise, mixed=mixed)
        has = [name for name in ("init", "positions") if hasattr(dynamics, name)]
        if len(has) == 1:
            raise TypeError(
                f"{_name(dynamics)} has only {has[0]}: init(x) makes the state from positions, and "
                "positions(state, step, noise) returns them; define both, or neither if the state "
                "is the position"
            )
        self.by_position = not has

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dynamics, name)

    def init(self, x: Tensor) -> Tensor:
        """The state that starts from positions."""
        if self.by_position:
            return x
        return self._checked("init", self.dynamics.init(x), x, None)

    def step(self, state: Tensor, step: Step, noise: UserNoise) -> Tensor:
        """The state one step later."""
        noise.begin(step)
        shape = state.shape
        return self._checked("step", self.dynamics.step(state, step, noise), state, shape)

    def positions(self, state: Tensor, step: Step, noise: UserNoise) -> Tensor:
        """Positions of the particles."""
        if self.by_position:
            return state
        noise.begin_positions(step)
        x = self.dynamics.positions(state, step, noise)
        return self._checked("positions", x, state, noise.buffer.shape)

    def check_steps(self, source: Start, here: Share, seed: int, steps: list[Step]) -> None:
        """Repeat steps, in another order, and with other particles in the tile.

        ``ValueError`` if results change. Steps need not be consecutive.
        """
        coupled = bool(getattr(self.dynamics, "coupled", False))
        size = here.size if coupled else min(here.size, _TRIED)
        steps = steps[:2] if coupled else steps  # for all particles, which is slow
        columns = (-(-size // PAD) + 1) * PAD  # so that there are copies
        tile = Tile(here.run, here.particle, 1, size, 1, columns)
        x = filled(source.of(tile), tile)
        other = x.clone()
        # particles that must have no influence: the copies, or half of all
        kept = size if coupled else -(-size // 2)
        other[:, kept:] = other[:, :1] + (1 + other[:, :1].abs()) / 64
        fresh = UserDynamics(copy(self.dynamics))
        fresh._run_unrelated_steps(x, tile, seed ^ 1, steps[:1])
        states, once = self._trajectory(x, tile, seed, steps)
        self._check_reproducible(once[0], fresh._trajectory(x, tile, seed, steps[:1])[1][0])
        if size > 1 and not coupled:
            self._check_independent_noise(x, tile, seed, steps[:1])
        _, beside = self._trajectory(other, tile, seed, steps[:1])
        self._check_isolation(once[0][:, :kept], beside[0][:, :kept], coupled)
        self._trajectory(other.flip(1), tile, seed ^ 1, steps)  # whose effect must not persist
        for k in reversed(range(len(steps))):
            again = self._moved(states[k], self._noise(x, tile, seed), steps[k])
            self._check_reproducible(once[k], again, f" (step {steps[k].number})")

    def _run_unrelated_steps(self, x: Tensor, tile: Tile, seed: int, steps: list[Step]) -> None:
        """Make steps with other noise, on a copy of the dynamics; later steps must not change."""
        # errors will occur again in the actual run
        with suppress(Exception):
            self._trajectory(x, tile, seed, steps)

    def _check_reproducible(self, once: Tensor, again: Tensor, when: str = "") -> None:
        """``ValueError`` unless positions are the same."""
        if not torch.equal(once.nan_to_num(), again.nan_to_num()):
            raise ValueError(
                f"{_name(self.dynamics)}.step gave two results for the same state, step and "
                f"noise{when}; it must be a function of them: draw from noise.normals() instead of "
                "torch's or numpy's generators, and keep nothing between steps except the state"
            )

    def _check_independent_noise(self, x: Tensor, tile: Tile, seed: int, steps: list[Step]) -> None:
        """``ValueError`` if noise moves all particles at the same position equally."""
        together = x[:, :1].expand_as(x).clone()
        one, other = (self._trajectory(together, tile, s, steps)[1][0] for s in (seed, seed ^ 1))
        alike = all(torch.equal(a, a[:, :1].expand_as(a)) for a in (one, other))
        if alike and all_finite(one) and not torch.equal(one, other):
            raise ValueError(
                f"{_name(self.dynamics)}.step moves all particles by the same noise; each needs "
                "its own: use all of noise.normals(), of shape (runs, particles, dim)"
            )

    def _check_isolation(self, a: Tensor, b: Tensor, coupled: bool) -> None:
        """``ValueError`` unless particles moved equally, with others at different positions."""
        far = (a - b).abs() > 16 * torch.finfo(a.dtype).eps * (1 + a.abs())
        if all_finite(a) and bool(far.any()):
            raise ValueError(
                f"{_name(self.dynamics)}.step moves a particle differently when "
                "particles that must not matter are elsewhere; "
                "" + ("of each run only the first noise.size particles "
                "count, the rest are copies: average over state[:, :noise.size]" if coupled else
                "particles that act on each other need coupled = True in their class")
            )  # fmt: skip

    def _trajectory(
        self, x: Tensor, tile: Tile, seed: int, steps: list[Step]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The states before some steps from positions ``x``, and the positions after them."""
        noise = self._noise(x, tile, seed)
        state, before, after = self.init(x.clone()), [], []
        self.positions(state, START, noise)
        for step in steps:
            before.append(state.clone())
            state = self.step(state, step, noise)
            after.append(self.positions(state, step, noise).clone())
        return before, after

    def _moved(self, state: Tensor, noise: UserNoise, step: Step) -> Tensor:
        """Positions one step after ``state``."""
        return self.positions(self.step(state.clone(), step, noise), step, noise)

    def _noise(self, x: Tensor, tile: Tile, seed: int) -> UserNoise:
        return self.noise_of(seed, tile.run, tile.particle, torch.empty_like(x), tile.size)

    def _checked(self, method: str, value: Any, like: Tensor, shape: Any) -> Tensor:
        if (
            isinstance(value, Tensor)
            and (shape is None or value.shape == shape)
            and value.dtype == like.dtype
            and value.device == like.device
            and not value.requires_grad
        ):
            return value
        got = (
            f"a tensor of {value.dtype} {tuple(value.shape)} on {value.device}"
            + (" that requires gradients" if value.requires_grad else "")
            if isinstance(value, Tensor)
            else "nothing: return the result"
            if value is None
            else repr(type(value))
        )
        raise TypeError(
            f"{_name(self.dynamics)}.{method} must return a tensor of {like.dtype}"
            f"{'' if shape is None else f' {tuple(shape)}'} on {like.device}, got {got}"
        )


def check_methods(dynamics: Any) -> None:
    """``TypeError`` for methods with a wrong signature, and for a ``coupled`` that is no flag."""
    checks.flag(f"{_name(dynamics)}: coupled", getattr(dynamics, "coupled", False))
    for name, arguments in _ARGUMENTS.items():
        if hasattr(dynamics, name):
            _check_signature(dynamics, name, arguments)


def _check_signature(dynamics: Any, name: str, arguments: tuple[str, ...]) -> None:
    method = getattr(dynamics, name)
    expected = f"{name}(self, {', '.join(arguments)})"
    if not callable(method):
        raise TypeError(f"{_name(dynamics)} needs a method {expected}, got {method!r}")
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # unknown signature
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(
            f"{_name(dynamics)} has {name}{signature}, expected {expected}: state and noise are "
            "tensors (runs, particles, dim), step has number, start, stop and size"
        ) from error


def _name(dynamics: Any) -> str:
    return type(dynamics).__name__
