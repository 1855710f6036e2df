"""Certificate: a proved property, what was measured, its bound, and where it fails."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, SupportsInt

import numpy as np
from numpy.typing import ArrayLike

from pdekit.arrays import Array
from pdekit.pde.solution import Solution


@dataclass(frozen=True)
class Certificate:
    """A proved property of one result.

    ``value`` was measured, ``bound`` is proved, ``relation`` ("<=" or ">=") stands between them;
    ``margin`` is the room left, negative where the property is broken. ``allowance`` is what the
    grid, the time step or the sample may take: ``passed`` says whether margin + allowance >= 0. It
    is None where a hypothesis fails: then nothing was tested, and ``note`` says why. ``where`` is
    the time and place of the worst value.
    """

    name: str
    value: float
    bound: float
    margin: float
    passed: bool | None
    where: str
    note: str
    relation: str = "<="
    allowance: float = 0.0

    @property
    def applies(self) -> bool:
        """Whether the hypotheses held, so that the property was tested."""
        return self.passed is not None

    def __str__(self) -> str:
        return str(Certificates((self,)))


@dataclass(frozen=True)
class Certificates(Sequence[Certificate]):
    """Certificates in order: a sequence that prints as a table.

    ``passed`` needs at least one that applies, and all of these to pass.
    """

    rows: tuple[Certificate, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Certificate]:
        return iter(self.rows)

    def named(self, name: str) -> Certificate:
        """The certificate of that name; ``KeyError`` naming those there are."""
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


def at_most(
    name: str, value: float, bound: float, allowance: float = 0.0, where: str = "", note: str = ""
) -> Certificate:
    """The certificate of value <= bound + allowance; a NaN never passes."""
    v, b = float(value), float(bound)
    passed = not isnan(v) and bool(v <= b + allowance)
    return Certificate(name, v, b, b - v, passed, where, note, "<=", float(allowance))


def at_least(
    name: str, value: float, bound: float, allowance: float = 0.0, where: str = "", note: str = ""
) -> Certificate:
    """The certificate of value >= bound - allowance; a NaN never passes."""
    v, b = float(value), float(bound)
    passed = not isnan(v) and bool(v >= b - allowance)
    return Certificate(name, v, b, v - b, passed, where, note, ">=", float(allowance))


def does_not_apply(name: str, reason: str) -> Certificate:
    """A property whose hypotheses fail: neither passed nor failed."""
    return Certificate(name, nan, nan, nan, None, "", reason)


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
