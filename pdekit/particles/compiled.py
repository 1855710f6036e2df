"""A step of particles on a GPU as one kernel, noise included: traced by torch, not written here.

The reference is the dynamics' own ``step``, an operation at a time. Traced as a whole it is a
handful of pointwise operations and, where particles see their mean, one sum; torch's compiler makes
one kernel of the former. The noise is traced with it: each site computes its own block of Philox,
so that nothing but the state passes through memory. The integers are those of
`pdekit.particles.noise`; the compiler may contract products and sums, so positions agree with those
of the CPU in law and to rounding, and with themselves to the bit.

Compiled are ``Langevin`` and, under interactions through the mean, ``InteractingLangevin``, without
walls and with a gradient that does not change in time. Nothing here asks for CUDA: on the CPU it
serves the tests.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdekit.particles.integrators import Step
from pdekit.particles.interacting import InteractingLangevin
from pdekit.particles.langevin import Langevin
from pdekit.particles.noise import DYNAMICS, Address, StepNoise, normals_of_sites

_LOW = 0xFFFFFFFF


@dataclass
class _TracedNoise:
    """Normals of the step in hand (``at(1)``) and of the next (``at(2)``).

    The number of the step and the seed are tensors: as numbers they would be built into the kernel,
    and every step compiled anew.
    """

    words: Tensor  # step, run, first site, low and high word of the seed
    like: Tensor
    size: int

    def at(self, step: int, channel: int = DYNAMICS) -> Tensor:
        number, run, first, low, high = self.words.unbind()
        runs, particles, dim = self.like.shape
        sites = first + torch.arange(particles * dim, device=self.like.device)
        rows = run + torch.arange(runs, device=self.like.device)
        stream = (rows << 8 | channel)[:, None]
        found = normals_of_sites(sites, number + (step - 1), stream, (low, high), self.like.dtype)
        return found.view(self.like.shape)


def compiled(dynamics: Any, x: Tensor, **options: Any) -> "Compiled | None":
    """The compiled form of ``dynamics`` for particles like ``x``; None where there is none.

    ``options`` go to ``torch.compile``.
    """
    if type(dynamics) not in (Langevin, InteractingLangevin) or dynamics.box is not None:
        return None
    V = dynamics.potential
    if hasattr(V, "at") or not callable(getattr(V, "grad", None)):
        return None
    if type(dynamics) is InteractingLangevin and not hasattr(dynamics.interaction, "strength"):
        return None
    return Compiled(dynamics, options)


class Compiled:
    """Moves a state through consecutive steps; made by ``compiled``."""

    def __init__(self, dynamics: Any, options: dict[str, Any]) -> None:
        self.dynamics = dynamics

        def move(state: Tensor, words: Tensor, size: float, last: int) -> Tensor:
            # step 1 of a run that never begins: step 0, which is special, is not compiled
            step = Step(1, 0.0, size, size)
            return dynamics.step(state, step, _TracedNoise(words, state, last))

        self.move: Callable[..., Tensor] = torch.compile(move, **options)

    def __call__(self, state: Tensor, steps: list[Step], noise: StepNoise) -> Tensor:
        if steps[0].number == 0:
            state = self.dynamics.step(state, steps[0], noise)
            steps = steps[1:]
        if not steps:
            return state
        runs, _, dim = state.shape
        Address(noise.seed, noise.run + runs - 1, step=steps[-1].number)  # raises out of range
        seed = (noise.seed & _LOW, noise.seed >> 32)
        place = (noise.run, noise.particle * dim, *seed)
        table = torch.tensor([(s.number, *place) for s in steps], device=state.device)
        with warnings.catch_warnings():
            # array_api_compat caches what namespace a tensor has; tracing past the cache is right
            warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
            for step, words in zip(steps, table, strict=True):
                state = self.move(state, words, step.size, noise.size)
        return state
