"""Output times and the equal steps between them."""

from itertools import pairwise
from math import ceil
from typing import NamedTuple

from pdekit.particles.integrators import Step

MOST = 10_000_000_000  # steps: minutes for one particle, hours for a hundred
_MANY = 256  # steps, above which testing later ones costs little
# before the first step: initial positions, without the noise of a step
START = Step(-1, 0.0, 0.0, 0.0)


class Interval(NamedTuple):
    """From one output time to the next."""

    start: float
    stop: float
    steps: int
    first: int  # number of its first step
    before: float | None = None  # size of the steps of the previous interval, if any

    @property
    def size(self) -> float:
        """The step size."""
        return (self.stop - self.start) / self.steps if self.steps else 0.0

    def some(self, first: int, last: int) -> list[Step]:
        """Its steps ``first, ..., last - 1``; the last of all ends exactly at ``stop``."""
        size, start = self.size, self.start
        ends = [start + j * size for j in range(first, last + 1)]
        if last == self.steps:
            ends[-1] = self.stop
        numbers = range(self.first + first, self.first + last)
        steps = [Step(k, a, b, size) for k, (a, b) in zip(numbers, pairwise(ends), strict=True)]
        if first == 0 and steps:
            steps[0] = steps[0]._replace(before=self.before)
        return steps


def intervals(times: list[float], dt: float) -> list[Interval]:
    """The intervals between ``times``, in steps of at most ``dt``.

    Raises ``ValueError`` for more steps than are feasible.
    """
    start, first, before, plan = 0.0, 0, None, []
    for stop in times:
        steps = (stop - start) / dt
        if not first + steps < MOST:
            raise ValueError(
                f"t = {stop:g} in steps of dt = {dt:g} takes {stop / dt:.3g} steps, more than the "
                f"limit of {MOST:.0e}; use a longer dt, or a shorter time"
            )
        # a quotient that is an integer up to rounding counts as one
        count = max(ceil(steps * (1 - 1e-12)), stop > start)
        interval = Interval(start, stop, count, first, before)
        plan.append(interval)
        start, first, before = stop, first + count, interval.size if count else before
    return plan


def some_steps(plan: list[Interval], dt: float) -> list[Step]:
    """The first three steps of a plan, a few later ones of long plans; one of ``dt`` if empty."""
    total = sum(interval.steps for interval in plan)
    later = {8, 64, total - 1} if total >= _MANY else set()
    numbers = sorted({0, 1, 2} | later)
    found = [nth_step(plan, number) for number in numbers if number < total]
    return found or [Step(0, 0.0, dt, dt)]


def nth_step(plan: list[Interval], number: int) -> Step:
    """A step of a plan by its number."""
    here = next(i for i in plan if number < i.first + i.steps)
    return here.some(number - here.first, number - here.first + 1)[0]
