"""Kernels of potentials as the compiled loops take them: functions by address, and arrays."""

from itertools import zip_longest
from typing import Any

import numpy as np
from torch import Tensor

from pdekit.particles.kernels.drift import (
    CHUNK,
    Terms,
    Walls,
    compiled_slope,
    drift,
    rows_at_time,
)
from pdekit.potentials.protocol import Kernel


class Formulas:
    """The sum of some kernels, for particles like ``x``."""

    def __init__(self, kernels: list[Kernel], x: Tensor) -> None:
        self.kernels, self.terms, self.like = kernels, terms_of(kernels, x), x
        self.first = np.cumsum([0, *(len(k.table) for k in kernels)])[:-1]

    def slopes(self, x: Any, t: float) -> Any:
        """The gradient by the formulas at points, like ``x``."""
        places, weights = self.places(np.array([[t]]))
        y, rows = x.reshape(-1).copy(), np.empty((self.terms.bases.size, 4), x.dtype)
        rows_at_time(rows, self.terms, places[0], weights[0], 0)
        sign, b = np.ones_like(y), np.empty_like(y)
        drift(y, y.size, sign, b, rows, self.terms, walls_of(None, self.like))
        return -b.reshape(x.shape)

    def places(self, times: Any) -> tuple[Any, Any]:
        """First row in the table, and weight of the next time's rows: (stages, steps, terms)."""
        if not self.terms.calls[:, 1].any():
            nothing = np.zeros((*times.shape, len(self.kernels)))
            return nothing.astype(int), nothing
        found = [k.between(times) for k in self.kernels]
        stored, weights = (np.stack(side, axis=-1) for side in zip(*found, strict=True))
        # the ends bitwise as stored
        rows = self.first + (stored + (weights == 1)) * self.terms.calls[:, 1]
        return rows, np.where(weights == 1, 0.0, weights)


def terms_of(kernels: list[Kernel], x: Tensor) -> Terms:
    """What the loop is handed of them for particles like ``x``."""
    of = _dtype(x)
    scaled = [(k.factor, k.shift) != (1, 0) for k in kernels]
    down = [compiled_slope(k.down, of, n == 0 or scaled[n]) for n, k in enumerate(kernels)]
    calls = [(f.address, len(k.bases), s) for f, k, s in zip(down, kernels, scaled, strict=True)]
    numbers = [(k.factor, *k.numbers) for k in kernels]
    tables = [k.table for k in kernels if len(k.table)] or [kernels[0].table]
    return Terms(
        np.array(calls),
        np.array(list(zip_longest(*numbers, fillvalue=0.0)), of).T.copy(),
        np.array([_of_chunk(k.shift, of) for k in kernels]),
        np.concatenate([k.bases for k in kernels]),
        # it may be long: a single one is not copied
        tables[0] if len(tables) == 1 else np.concatenate(tables),
    )


def walls_of(box: Any, x: Tensor) -> Walls:
    """Those of a box, of particles like ``x``."""
    ends = ((), (), ()) if box is None else (box.lower, box.upper, 1 - np.array(box.periodic))
    return Walls(box is not None, *(_of_chunk(end, _dtype(x)) for end in ends))


def _of_chunk(each: Any, of: Any) -> Any:
    """A number of each coordinate, over and over for the points of a chunk."""
    given = np.array(each, of).ravel()
    return np.tile(given, -(-CHUNK // given.size))[:CHUNK] if given.size else np.zeros(CHUNK, of)


def _dtype(x: Tensor) -> Any:
    return np.dtype(str(x.dtype).removeprefix("torch."))
