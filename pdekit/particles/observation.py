"""Observables accumulated during a simulation, tile by tile, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
import xarray as xr
from torch import Tensor

from pdekit.arrays import IntArray
from pdekit.particles.observables import Observable


@dataclass
class Observed:
    """Accumulated observables of a share of the ensemble, by output time and run."""

    observables: tuple[Observable, ...]
    seen: IntArray  # (observables, times, runs): positions
    sums: list[IntArray]  # (times, runs, ...) of each observable

    @classmethod
    def empty(
        cls, observables: tuple[Observable, ...], times: int, runs: int, dim: int
    ) -> Observed:
        """Zeros."""
        sums = [np.stack([o.blank(runs, dim)] * times) for o in observables]
        return cls(observables, np.zeros((len(observables), times, runs), np.int64), sums)

    def add(self, part: Accumulator, rows: slice) -> None:
        """Add the observations of a tile, and clear them there."""
        for (k, time), total in part.sums.items():
            self.sums[k][time, rows] += total
            self.seen[k, time, rows] += part.seen[k, time]
        part.sums.clear()
        part.seen.clear()

    def add_up(self, total: Callable[[IntArray], None]) -> None:
        """Sum over ranks; ``total`` replaces an array by its sum."""
        for counts in (self.seen, *self.sums):
            total(counts)

    def first(self, count: int) -> Observed:
        """The first of the observables alone."""
        return Observed(self.observables[:count], self.seen[:count], self.sums[:count])

    def dataset(self, times: list[float], dim: int) -> xr.Dataset | None:
        """The resulting Dataset; None without observables."""
        if not self.observables:
            return None
        parts = zip(self.observables, self.sums, self.seen, strict=True)
        table = xr.merge([o.table(total, seen, dim) for o, total, seen in parts])
        table = table.assign_coords(time=times)
        return table.isel(run=0) if self.seen.shape[2] == 1 else table


@dataclass
class Accumulator:
    """Observations of one tile not yet added to the totals: a sum per observable and time."""

    observables: tuple[Observable, ...]
    sums: dict[tuple[int, int], IntArray] = field(default_factory=dict)
    seen: dict[tuple[int, int], IntArray] = field(default_factory=dict)

    def update(
        self, time: int, x: Tensor, step: int, last: bool, alive: Tensor | None = None,
        waiting: Sequence[Tensor] = (),
    ) -> None:  # fmt: skip
        """Evaluate ``x`` (runs, n, dim) after ``step`` steps of the interval to output ``time``.

        Of particles that may stop only those that are ``alive`` (runs, n). ``waiting``: who is
        still to come, for each observable that watches the paths.
        """
        watched = iter(waiting)
        for k, observable in enumerate(self.observables):
            every, at = observable.every, (k, time)
            if not (last and not step) and (step % every if every else not last):
                continue
            if at not in self.sums:
                self.sums[at] = observable.blank(x.shape[0], x.shape[2])
                self.seen[at] = np.zeros(x.shape[0], np.int64)
            if watches(observable):
                observable.add(self.sums[at], next(watched))
                self.seen[at] += x.shape[1]
                continue
            if alive is None:
                observable.add(self.sums[at], x if _is_ours(observable) else x.clone())
                self.seen[at] += x.shape[1]
                continue
            self.seen[at] += alive.sum(1).cpu().numpy()
            if getattr(observable, "adds_nothing_for_zeros", False):
                observable.add(self.sums[at], x.masked_fill(~alive[..., None], 0.0))
                continue
            for r, here in enumerate(alive):
                observable.add(self.sums[at][r : r + 1], x[r : r + 1, here])


def listed(observe: Any) -> tuple[Any, ...]:
    """One observable, or several, as a tuple."""
    several = isinstance(observe, Iterable) and not isinstance(observe, str)
    return tuple(observe) if several else (observe,)


def checked(found: tuple[Any, ...], steps: Sequence[int], dim: int) -> tuple[Observable, ...]:
    """Check that observables have distinct names and are evaluated in every interval."""
    for o in found:
        if isinstance(o, type) or not hasattr(o, "table"):
            raise TypeError(
                f"observe must be, or hold, values such as Moments() or Histogram(grid), got {o!r}"
            )
        shortest = min((s for s in steps if s), default=0)
        if o.every and shortest < o.every:
            raise ValueError(
                f"{o!r} is evaluated every {o.every} steps, but an interval between output times "
                f"has {shortest}; use a smaller `every`, or fewer output times"
            )
        _check_protocol(o, dim)
    names = [(type(o), o.name) for o in found]
    if len(set(names)) < len(names):
        raise ValueError(f"observables of one kind must have different names, got {found}")
    return found


def watches(observable: Any) -> TypeGuard[Any]:
    """Whether it looks at paths between steps, as `FirstPassage` does."""
    return bool(getattr(observable, "watches", False))


def _is_ours(observable: Any) -> bool:
    return type(observable).__module__.startswith("pdekit.")


def _check_protocol(observable: Any, dim: int) -> None:
    """Check the interface of a user-defined observable."""
    blank = observable.blank(2, dim)
    if _is_ours(observable):
        return
    lacking = [name for name in ("name", "every", "add") if not hasattr(observable, name)]
    if lacking:
        raise TypeError(f"{observable!r} is not an observable: it lacks {', '.join(lacking)}")
    if not (isinstance(blank, np.ndarray) and blank.dtype == np.int64 and blank.shape[:1] == (2,)):
        got = f"{getattr(blank, 'dtype', type(blank).__name__)} {getattr(blank, 'shape', '')}"
        raise TypeError(
            f"{type(observable).__name__}.blank(runs, dim) must return zeros of int64 with the "
            f"runs first, which add up exactly; got {got} for 2 runs"
        )
