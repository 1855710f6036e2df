"""A step of particles on a GPU as one kernel, including noise, compiled by torch.

The reference is the dynamics' ``step``, executed eagerly. Traced as a whole it is a
handful of pointwise operations and, for interactions through the mean, a sum; torch's compiler
makes one kernel of the former. The noise is traced with it: each site computes its own block of
Philox, so that only the state passes through memory. The integers are those of
`pdekit.particles.noise`; the compiler may contract products and sums, so positions agree with
those of the CPU up to rounding, and are reproducible bitwise.

All dynamics of pdekit are compiled if their potentials do not change in time, with or without
walls and gradients of their own. A dynamics may single out, as ``traced``, the part of its step
that is compiled: ``AnnealedLangevin`` and ``UnderdampedLangevin`` compute quantities that
depend on time and step size outside; ``TwoScaleLangevin`` (which ``EntropySGD`` is) and
``SampledDescent`` single out one inner step and one sample, because all of them as one kernel would
take minutes to compile. Not compiled are

- potentials and controls that change in time (``at``), and ``Langevin`` whose β does: their values
  would be compiled into the kernel, and every step recompiled;
- pair interactions summed by ``ExactSum`` or ``ChebyshevSum``: loops over pieces, and a number of
  nodes that depends on the particles; and means that several ranks share, exchanged in each step;
- classes that do not declare themselves ``pure``: that a step is a function of its
  arguments, as all dynamics of pdekit do.

If torch fails to compile a step, it is executed eagerly, with a warning. The
first step, which differs from the others, always is. CUDA is not required: the tests run it on the
CPU.
"""

import warnings
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdekit import checks
from pdekit.particles.integrators import Step
from pdekit.particles.noise import (
    DYNAMICS,
    Address,
    StepNoise,
    normals_of_sites,
    uniforms_of_sites,
)

_LOW = 0xFFFFFFFF
_TEXT = 500  # characters of torch's reasons
_FORMS = 64  # compiled variants of one step, for different potentials and shapes


@dataclass(frozen=True, eq=False)
class Later:
    """The number of a step that is not the first, as a tensor.

    A Python number would be compiled into the kernel, and every step recompiled.
    """

    number: Tensor

    def __add__(self, other: int) -> "Later":
        return Later(self.number + other)

    def __mul__(self, other: int) -> "Later":
        return Later(self.number * other)

    def __eq__(self, other: object) -> bool:
        if other == 0:
            return False
        raise TypeError(f"whether a step is number {other} is not known when it is compiled")


@dataclass
class TracedNoise:
    """The noise of a step as functions of tensors: the traceable form of `StepNoise`.

    ``words``: step, run, first particle, low and high word of the seed, 0. (Six of them, because
    rows of a table of such words then lie where a kernel may read them without a copy.)
    """

    words: Tensor
    state: Tensor
    size: int

    def at(self, step: Later, channel: int = DYNAMICS) -> Tensor:
        """Standard normals, shape ``(runs, particles, dim)``."""
        return self._drawn(normals_of_sites, step, channel, self.state.shape[-1], self.state.dtype)

    def uniforms(self, step: Later, channel: int, each: int = 1) -> Tensor:
        """``each`` uniforms per particle in (0, 1), shape ``(runs, particles, each)``."""
        return self._drawn(uniforms_of_sites, step, channel, each, self.state.dtype)

    def choices(self, step: Later, channel: int, each: int = 1) -> Tensor:
        """The same in float64, for any dtype of the particles."""
        return self._drawn(uniforms_of_sites, step, channel, each, torch.float64)

    def _drawn(
        self, formula: Callable[..., Tensor], step: Later, channel: int, each: int, dtype: Any
    ) -> Tensor:
        _, run, particle, low, high, _ = self.words.unbind()
        runs, particles, _ = self.state.shape[-3:]
        rows, columns, k = (
            torch.arange(size, device=self.words.device) for size in (runs, particles, each)
        )
        sites = (particle + columns)[:, None] * each + k
        stream = (run + rows << 8 | channel)[:, None, None]
        return formula(sites, step.number, stream, (low, high), dtype)


def compiled(dynamics: Any, **options: Any) -> "Compiled | None":
    """The compiled form of ``dynamics``, or None.

    ``options`` go to ``torch.compile``.
    """
    if not _pure(dynamics) or _in_time(dynamics) or not _summed(dynamics):
        return None
    return Compiled(getattr(dynamics, "two_scale", dynamics), options)


def _in_time(dynamics: Any) -> bool:
    """Whether a step has time-dependent coefficients (a ``traced`` part is given its noise)."""
    cools = getattr(dynamics, "cools", False) and not hasattr(dynamics, "traced")
    return cools or any(
        hasattr(getattr(dynamics, name, None), "at") for name in ("potential", "value", "force")
    )


def _summed(dynamics: Any) -> bool:
    """Whether the interaction is a traceable formula."""
    felt = getattr(dynamics, "interaction", None)
    return felt is None or _pure(felt) or _pure(dynamics.summation)


def _pure(value: Any) -> bool:
    """Whether a class declares itself pure: a function of its arguments."""
    return bool(checks.declared(value, "pure"))


def _refusals() -> tuple[type[Exception], ...]:
    """The exceptions of torch for failed compilation; imported lazily, as this takes a second."""
    from torch._dynamo import exc

    return exc.TorchDynamoException, exc.FailOnRecompileLimitHit


class Compiled:
    """Advances a state through consecutive steps; created by ``compiled``."""

    def __init__(self, dynamics: Any, options: dict[str, Any]) -> None:
        self.plain, self.fast = dynamics, copy(dynamics)
        part = "traced" if hasattr(dynamics, "traced") else "step"
        options = {"fullgraph": True, "recompile_limit": _FORMS, **options}
        object.__setattr__(self.fast, part, torch.compile(getattr(dynamics, part), **options))

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        later = [step for step in steps if step.number > 0]
        if len(later) < len(steps):
            state = self.plain.step(state, steps[0], noise)
        if not later:
            return state
        last = noise.run + state.shape[-3] - 1
        Address(noise.seed, last, step=later[-1].number)  # raises if out of range
        place = (noise.run, noise.particle, noise.seed & _LOW, noise.seed >> 32, 0)
        table = torch.tensor([(s.number, *place) for s in later], device=state.device)
        with warnings.catch_warnings(), torch._dynamo.config.patch(trace_autograd_ops=True):
            # array_api_compat caches the namespace of a tensor; tracing through the cache is
            # correct
            warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
            warnings.filterwarnings("ignore", "`torch.jit")  # torch's internal warnings
            for step, words in zip(later, table, strict=True):
                state = self._moved(state, step, TracedNoise(words, state, noise.size), noise)
        return state

    def _moved(self, state: Tensor, step: Step, traced: TracedNoise, noise: StepNoise) -> Tensor:
        moved: Tensor
        if self.fast is not self.plain:
            number: Any = Later(traced.words[0])
            try:
                moved = self.fast.step(state, step._replace(number=number), traced)
                return moved
            except _refusals() as error:
                warnings.warn(
                    f"torch cannot compile a step of {type(self.plain).__name__}, whose particles "
                    f"move an operation at a time instead: {' '.join(str(error).split())[:_TEXT]}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                self.fast = self.plain
        moved = self.plain.step(state, step, noise)
        return moved
