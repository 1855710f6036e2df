"""Certificates: proved properties, what was measured, their bounds, and where they fail."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, SupportsInt

import numpy as np
from numpy.typing import ArrayLike

from pdekit.arrays import Array
from pdekit.claims import Certificate as Certificate
from pdekit.claims import at_least as at_least
from pdekit.claims import at_most as at_most
from pdekit.claims import does_not_apply as does_not_apply
from pdekit.pde.solution import Solution


class Theorem(Protocol):
    """A default certificate: its class declares for which results it is proved."""

    @staticmethod
    def proved_for(result: object) -> bool: ...

    def __call__(self, result: Any, /) -> Certificate: ...


@dataclass(frozen=True)
class Certificates(Sequence[Certificate]):
    """Certificates in order: a sequence that prints as a table.

    ``passed`` requires at least one that applies, and that all of these pass.
    """

    rows: tuple[Certificate, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Certificate]:
        return iter(self.rows)

    def named(self, name: str) -> Certificate:
        """The certificate of that name; ``KeyError`` listing the available ones."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no certificate {name!r}; there are {[row.name for row in self.rows]}")

    @property
    def applicable(self) -> "Certificates":
        return Certificates(tuple(row for row in self.rows if row.applies))

    @property
    def failures(self) -> "Certificates":
        return Certificates(tuple(row for row in self.rows if row.passed is False))

    @property
    def passed(self) -> bool:
        tested = self.applicable
        return bool(tested) and not self.failures

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows], default=0)
        head = f"{'property':{width}} {'measured':>11}    {'bound':>11} {'allowance':>10}  verdict"
        return "\n".join([head, *(_line(row, width) for row in self.rows)])


def _line(row: Certificate, width: int) -> str:
    if not row.applies:
        return f"{row.name:{width}} {'':>38}  does not apply: {row.note}"
    verdict = "passed" if row.passed else f"FAILED at {row.where or 'no particular place'}"
    numbers = f"{row.value:>11.4g} {row.relation} {row.bound:>11.4g} {row.allowance:>10.2g}"
    return f"{row.name:{width}} {numbers}  {verdict}" + (f" ({row.note})" if row.note else "")


def place(solution: Solution, index: ArrayLike) -> str:
    """Time and cell of an index into ``solution.fields``, in words."""
    time, *cell = np.atleast_1d(index)
    return at_place(solution, time) + "".join(
        f", {name} = {axis[k]:.4g}"
        for name, axis, k in zip(solution.grid.names, solution.grid.axes, cell, strict=False)
    )


def at_place(solution: Solution, k: SupportsInt) -> str:
    """The k-th stored time, in words."""
    return f"t = {solution.times[int(k)]:.4g}"


def worst(solution: Solution, values: Array, largest: bool = True) -> tuple[float, str]:
    """The largest (smallest) of values indexed like ``solution.fields``, and its place.

    A NaN comes first.
    """
    flat = np.where(np.isnan(values), np.inf if largest else -np.inf, values)
    k = int(flat.argmax() if largest else flat.argmin())
    index = np.unravel_index(k, values.shape)
    return float(values[index]), place(solution, index)
