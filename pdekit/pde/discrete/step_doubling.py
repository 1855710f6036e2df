"""Step doubling: the change by steps of half the length estimates the error of both."""

from collections.abc import Callable
from math import inf

from pdekit.arrays import Array


def doubling_error(
    whole: Array | None, halves: Array | None, distance: Callable[[Array, Array], float], order: int
) -> float:
    """The error of ``halves``, by their distance from ``whole``, in steps twice as long.

    Of steps of this order those err 2^order times as much, where all is smooth. Infinite where
    there is none of the one or the other, as steps were too long.
    """
    if whole is None or halves is None:
        return inf
    return float(distance(whole, halves) / (2**order - 1))
