"""Lists of tensors as tables of pointers: a kernel takes all of them in one call.

A network has hundreds of small tensors, and a call from Python costs as much as a step of 10,000
numbers. A table has a row for each parameter and a column for each of the tensors that belong to it
(itself, its gradient, ...). The kernels take rows of numbers that lie in one line on the CPU, in
single or double precision; all others go to the plain form, in torch's operations on lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from pdekit.optim.update_kernels import CHUNK
from pdekit.particles.noise import LANES, Address

_SPLIT = 1 << 18  # elements above which a second thread pays off
_REAL = {torch.float32: np.float32, torch.float64: np.float64}
_KNOWN = {Tensor, Parameter}  # others may keep their numbers elsewhere
_dtype, _on_cpu = attrgetter("dtype"), attrgetter("is_cpu")


class Column:
    """A tensor of each row. What is known of them is found out once.

    Complex numbers are pairs of reals, as torch's own optimizers take them.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        types = set(map(_dtype, tensors))
        if any(dtype.is_complex for dtype in types):
            tensors = [_reals(t) for t in tensors]
            types = set(map(_dtype, tensors))
        self.tensors, self.types = tensors, types

    @cached_property
    def real(self) -> Any:
        """The type of the numbers, if the kernels take all of them in one call."""
        here = self.tensors
        lines = (
            len(self.types) == 1
            and self.types <= LANES.keys()
            and set(map(type, here)) <= _KNOWN
            and all(map(_on_cpu, here))
            and all(map(Tensor.is_contiguous, here))
            and not any(map(Tensor.is_neg, here))
        )
        return _REAL[here[0].dtype] if lines else None

    @cached_property
    def sizes(self) -> list[int]:
        """How many numbers there are in each row."""
        return [*map(Tensor.numel, self.tensors)]

    @property
    def pointers(self) -> Any:
        """To the numbers of each row, where they are now: memory may be moved to be shared."""
        return np.array([*map(Tensor.data_ptr, self.tensors)], np.int64)

    @cached_property
    def layout(self) -> tuple[Any, Any, int]:
        """Sizes, chunks up to the end of each row, and all numbers."""
        sizes = np.array(self.sizes, np.int64)
        return sizes, np.cumsum(-(-sizes // CHUNK)), int(sizes.sum())

    def only(self, rows: list[int]) -> Column:
        """Some of the rows."""
        return Column([self.tensors[k] for k in rows])


class Store:
    """A tensor for each parameter by its number; columns of them, made once."""

    def __init__(self, tensors: dict[int, Tensor]) -> None:
        self.tensors = tensors
        self._columns: dict[tuple[int, ...], Column] = {}

    def of(self, numbers: Sequence[int]) -> Column:
        """The column of these parameters."""
        key = tuple(numbers)
        if key not in self._columns:
            if len(self._columns) > 1000:  # where layers are left out at random
                self._columns.clear()
            self._columns[key] = Column([self.tensors[k] for k in key])
        return self._columns[key]


Table = Sequence[Column | None]


def parts(table: Table, runs: Sequence[int] = ()) -> Iterator[tuple[bool, Table, Sequence[int]]]:
    """Rows of one type on one device, whether the kernels take them, and their ``runs``."""
    if supported(table):
        yield True, table, runs
        return
    alike: dict[Any, list[int]] = {}
    rows = zip(*(column.tensors for column in table if column), strict=True)
    for k, row in enumerate(rows):
        key = supported([Column([t]) for t in row]), row[0].dtype, row[0].device
        alike.setdefault(key, []).append(k)
    for (good, *_), chosen in alike.items():
        columns = [column.only(chosen) if column else None for column in table]
        yield good, columns, [runs[k] for k in chosen] if runs else runs


def supported(table: Table) -> bool:
    """Whether the kernels take all rows, in one call."""
    first, *others = (column for column in table if column)
    return first.real is not None and all(
        other.real is first.real and other.sizes == first.sizes for other in others
    )


def chunks(table: Table) -> int:
    """The number of chunks in all rows."""
    assert table[0]
    return int(table[0].layout[1][-1])


def walk(
    kernel: Any,
    table: Table,
    numbers: Sequence[float | bool | Any],
    at: Address | None = None,
    runs: Sequence[int] = (),
) -> None:
    """Call a kernel for all rows of a supported table, in several threads if that pays off.

    ``at``, ``runs``: where the noise is, and its run for each row.
    """
    assert table[0]
    sizes, ends, count = table[0].layout
    none, real = np.zeros(sizes.size, np.int64), table[0].real
    pointers = np.stack([column.pointers if column else none for column in table])
    values = [real(v) if isinstance(v, float) else v for v in numbers]
    if at is not None:
        streams = np.array(runs, np.uint64) << np.uint64(8) | np.uint64(at.channel)
        values += [streams, np.uint64(at.step), np.uint64(at.seed)]
    like, pointed, last = np.empty(0, real), (pointers, sizes, ends), int(ends[-1])
    threads = min(torch.get_num_threads(), count // _SPLIT)
    if threads < 2:
        kernel(like, pointed, 0, last, *values)
        return
    width = -(-last // threads)

    def part(first: int) -> None:
        kernel(like, pointed, first, min(first + width, last), *values)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(0, last, width)))


def _reals(t: Tensor) -> Tensor:
    return torch.view_as_real(t.resolve_conj()) if t.is_complex() else t
