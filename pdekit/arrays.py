"""The array types used throughout, and those of arguments."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
"""Whole numbers, such as counts and labels."""


class HasNumbers(Protocol):
    """An array of numpy, a tensor of torch, a DataArray of xarray."""

    def __array__(self) -> Any: ...


Numbers: TypeAlias = HasNumbers | Sequence[float] | Sequence[Sequence[float]]

Function: TypeAlias = Callable[[Any], Any]
"""Of points ``(..., d)``: a potential, a module of torch, a plain function."""


class TimeDependent(Protocol):
    """What changes in time."""

    def at(self, t: float, /) -> Any:
        """What it is at time t."""
        ...


Coefficient: TypeAlias = Function | TimeDependent
"""Of an equation or a dynamics: a function of points, or one that changes in time."""

Schedule: TypeAlias = Callable[[float], float]
"""A number as a function of time."""

Corner: TypeAlias = float | HasNumbers | Sequence[float]
"""A number, or one per coordinate."""

Counts: TypeAlias = int | HasNumbers | Sequence[int]
"""A whole number, or one per coordinate."""

Flags: TypeAlias = bool | HasNumbers | Sequence[bool]
"""True or False, or one of them per coordinate."""


def real(values: Any) -> Array:
    """Values of a function as numbers; ``TypeError`` for complex ones, whose imaginary part NumPy
    would drop."""
    given = np.asarray(values)
    if np.iscomplexobj(given):
        raise TypeError(f"expected real values, got {given.dtype} ones; return their real part")
    return np.asarray(given, dtype=float)
