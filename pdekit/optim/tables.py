"""Lists of tensors as tables of pointers: a kernel takes all of them in one call.

A network has hundreds of small tensors, and a call from Python costs as much as a step of 10,000
numbers. A table has a row for each parameter and a column for each of the tensors that belong to it
(itself, its gradient, ...). The kernels take rows of numbers that lie in one line on the CPU, in
single or double precision; all others go to the plain form, in torch's operations on lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from pdekit.optim.update_kernels import CHUNK
from pdekit.particles.noise import Address

_SPLIT = 1 << 18  # elements above which a second thread pays off
_REAL = {torch.float32: np.float32, torch.float64: np.float64}
_KNOWN = {Tensor, Parameter}  # others may keep their numbers elsewhere
_STRIDED = {torch.strided}
_LIKE = {real: np.empty(0, real) for real in _REAL.values()}
_NO_STREAMS = np.empty(0, np.uint64)
_dtype, _layout, _on_cpu = attrgetter("dtype"), attrgetter("layout"), attrgetter("is_cpu")


class Column:
    """A tensor of each row, and what is known of them.

    ``real``: the type of the numbers, if the kernels take all of them in one call. Complex numbers
    are pairs of reals, as torch's own optimizers take them.
    """

    __slots__ = ("real", "sizes", "tensors", "types")

    def __init__(self, tensors: list[Tensor]) -> None:
        types = set(map(_dtype, tensors))
        if not _REAL.keys() >= types and any(dtype.is_complex for dtype in types):
            tensors = [_reals(t) for t in tensors]
            types = set(map(_dtype, tensors))
        self.tensors, self.types = tensors, types
        self.real = _REAL[tensors[0].dtype] if len(types) == 1 and _in_lines(tensors) else None
        self.sizes = tuple(map(Tensor.numel, tensors))

    @property
    def pointers(self) -> list[int]:
        """To the numbers of each row, where they are now: memory may be moved to be shared."""
        return [*map(Tensor.data_ptr, self.tensors)]

    def only(self, rows: list[int]) -> Column:
        """Some of the rows."""
        return Column([self.tensors[k] for k in rows])


def _in_lines(tensors: list[Tensor]) -> bool:
    """Whether the numbers of each, of one type, lie in one line on the CPU."""
    return (
        tensors[0].dtype in _REAL
        and set(map(type, tensors)) <= _KNOWN
        and set(map(_layout, tensors)) == _STRIDED
        and all(map(_on_cpu, tensors))
        and all(map(Tensor.is_contiguous, tensors))
        and not any(map(Tensor.is_neg, tensors))
    )


@lru_cache(maxsize=64)
def layout(sizes: tuple[int, ...]) -> tuple[Any, Any, int, list[int]]:
    """Of rows of these sizes: sizes, chunks up to the end of each, all numbers, no pointers."""
    rows = np.array(sizes, np.int64)
    return rows, np.cumsum(-(-rows // CHUNK)), int(rows.sum()), [0] * len(sizes)


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
    return int(layout(table[0].sizes)[1][-1])


def walk(
    kernel: Any,
    table: Table,
    numbers: Sequence[float | bool | Any],
    at: Address | None = None,
    runs: Sequence[int] = (),
) -> None:
    """Call a kernel for all rows of a supported table, in several threads if that pays off.

    ``at``, ``runs``: where the noise is, and its run for each row.

    Between two gradients nothing of this lies in a cache, so that what counts is how much code and
    how many objects it touches.
    """
    assert table[0]
    sizes, ends, count, none = layout(table[0].sizes)
    real: Any = table[0].real
    last = int(ends[-1])
    pointers = np.array([column.pointers if column else none for column in table], np.int64)
    values = [real(v) if isinstance(v, float) else v for v in numbers]
    if at is not None:
        streams = (
            np.array([run << 8 | at.channel for run in runs], np.uint64) if runs else _NO_STREAMS
        )
        values += [streams, np.uint64(at.step), np.uint64(at.seed)]
    like, pointed = _LIKE[real], (pointers, sizes, ends)
    threads = min(torch.get_num_threads(), count // _SPLIT) if count >= 2 * _SPLIT else 1
    if threads < 2:
        kernel(like, pointed, 0, last, *values)
        return
    width = -(-last // threads)

    def part(first: int) -> None:
        kernel(like, pointed, first, min(first + width, last), *values)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(0, last, width)))


def _reals(t: Tensor) -> Tensor:
    dense = t.is_complex() and t.layout == torch.strided
    return torch.view_as_real(t.resolve_conj()) if dense else t
