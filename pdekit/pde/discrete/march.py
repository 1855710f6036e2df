"""The only loop in time: a field is advanced from each requested time to the next."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pdekit.arrays import Array
from pdekit.pde.discrete.stats import Stats

Advance = Callable[[float], Array]
"""t -> the field at time t, called with increasing times: the result of a scheme's ``start``."""


@dataclass
class March:
    """u(t) = over(u(s), s, t), from the last requested time s to the next.

    ``over`` also returns its number of steps: ``counts`` has them, interval by interval.
    ``errors``: of u at the requested times, if estimated by steps of other lengths.
    """

    u: Array
    over: Callable[[Array, float, float], tuple[Array, int]]
    stats: Stats = field(default_factory=lambda: Stats(steps=0))
    t: float = 0.0
    counts: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def __call__(self, t: float) -> Array:
        self.u, steps = self.over(self.u, self.t, t)
        self.t = t
        self.counts.append(steps)
        self.stats["steps"] += steps
        return self.u


def fields_at(times: Array, advance: Advance, initial: Array) -> Array:
    """The fields at the times, (time, *shape); a single new one is not copied."""
    if len(times) == 1 and times[0] > 0:
        u = advance(times[0])
        fresh = u.flags.c_contiguous and not np.may_share_memory(u, initial)
        return u[None] if fresh else u[None].copy()
    fields = np.empty((len(times), *initial.shape))
    for k, t in enumerate(times):
        fields[k] = advance(t) if t > 0 else initial
    return fields
