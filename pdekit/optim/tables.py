"""Lists of tensors as tables of pointers: a kernel takes all of them in one call.

A network has hundreds of small tensors, and a call from Python costs as much as a step of 10,000
numbers. A table has a row for each parameter and a column for each of the tensors that belong to it
(itself, its gradient, ...). The kernels take rows of numbers that lie in one line on the CPU, in
single or double precision; all others go to the plain form, in torch's operations on lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from pdekit.optim.update_kernels import CHUNK
from pdekit.particles.noise import LANES, Address

Column = list[Tensor] | None
Table = Sequence[Column]

_SPLIT = 1 << 18  # elements above which a second thread pays off
_REAL = {torch.float32: np.float32, torch.float64: np.float64}
_KNOWN = {Tensor, Parameter}  # others may keep their numbers elsewhere
_dtype, _device, _on_cpu = attrgetter("dtype"), attrgetter("device"), attrgetter("is_cpu")


def parts(table: Table, runs: Sequence[int] = ()) -> Iterator[tuple[bool, Table, Sequence[int]]]:
    """Rows of one type on one device, whether the kernels take them, and their ``runs``."""
    table = [None if column is None else reals(column) for column in table]
    if supported(table):
        yield True, table, runs
        return
    rows = list(zip(*(column for column in table if column is not None), strict=True))
    alike: dict[Any, list[int]] = {}
    for k, row in enumerate(rows):
        key = supported([[t] for t in row]), row[0].dtype, row[0].device
        alike.setdefault(key, []).append(k)
    for (good, *_), chosen in alike.items():
        columns = [None if column is None else [column[k] for k in chosen] for column in table]
        yield good, columns, [runs[k] for k in chosen] if runs else runs


def reals(column: list[Tensor]) -> list[Tensor]:
    """The same numbers; complex ones as pairs of reals, as torch's own optimizers take them."""
    if not any(dtype.is_complex for dtype in set(map(_dtype, column))):
        return column
    return [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in column]


def supported(table: Table) -> bool:
    """Whether the kernels take all rows, in one call."""
    columns = [column for column in table if column is not None]
    there = [t for column in columns for t in column]
    types = set(map(_dtype, there))
    return (
        len(types) == 1
        and types <= LANES.keys()
        and set(map(type, there)) <= _KNOWN
        and all(map(_on_cpu, there))
        and all(map(Tensor.is_contiguous, there))
        and not any(map(Tensor.is_neg, there))
        and all(_sizes(column) == _sizes(columns[0]) for column in columns[1:])
    )


def number_type(table: Table) -> Any:
    """That of the numbers of a supported table."""
    assert table[0]
    return _REAL[table[0][0].dtype]


def chunks(table: Table) -> int:
    """The number of chunks in all rows."""
    assert table[0] is not None
    return sum(-(-n // CHUNK) for n in _sizes(table[0]))


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
    assert table[0] is not None
    real, sizes = number_type(table), np.array(_sizes(table[0]), np.int64)
    pointers = np.array(
        [[0] * sizes.size if c is None else [*map(Tensor.data_ptr, c)] for c in table], np.int64
    )
    ends = np.cumsum(-(-sizes // CHUNK))
    pointed = pointers, sizes, ends
    like, values = np.empty(0, real), [real(v) if isinstance(v, float) else v for v in numbers]
    if at is not None:
        streams = np.array([run << 8 | at.channel for run in runs], np.uint64)
        values += [streams, np.uint64(at.step), np.uint64(at.seed)]
    threads = min(torch.get_num_threads(), int(sizes.sum()) // _SPLIT)
    total = int(ends[-1])
    if threads < 2:
        kernel(like, pointed, 0, total, *values)
        return
    width = -(-total // threads)

    def part(first: int) -> None:
        kernel(like, pointed, first, min(first + width, total), *values)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(0, total, width)))


def _sizes(column: list[Tensor]) -> list[int]:
    return [*map(Tensor.numel, column)]
