"""Output times and the equal steps between them."""

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from pdekit.particles.integrators import Step

# before the first step: positions as they are, without the noise of a step
START = Step(-1, 0.0, 0.0, 0.0)


class Interval(NamedTuple):
    """From one output time to the next."""

    start: float
    stop: float
    steps: int
    first: int  # number of its first step
    before: float | None = None  # size of the steps before it, if there were any

    @property
    def size(self) -> float:
        """Of a step."""
        return (self.stop - self.start) / self.steps if self.steps else 0.0

    def step(self, j: int) -> Step:
        """Its ``j``-th step; the last one ends exactly at ``stop``."""
        start = self.start + j * self.size
        stop = self.stop if j == self.steps - 1 else self.start + (j + 1) * self.size
        return Step(self.first + j, start, stop, self.size, None if j else self.before)


def intervals(times: list[float], dt: float) -> Iterator[Interval]:
    """Those that end at ``times``, in steps of at most ``dt``."""
    start, first, before = 0.0, 0, None
    for stop in times:
        # a quotient that is whole up to rounding is whole
        steps = ceil((stop - start) / dt * (1 - 1e-12))
        interval = Interval(start, stop, steps, first, before)
        yield interval
        start, first, before = stop, first + steps, interval.size if steps else before
