"""What all results share: a few lines that say what they are, and ``save``."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from pdekit.arrays import Array

Rows = list[tuple[str, str]]

_PLACES = 257


class Result:
    """A result that can be shown, saved and loaded again."""

    def _said(self) -> tuple[str, Rows]:
        """A title, and names with what is said of them."""
        raise NotImplementedError

    def _parts(self) -> dict[str, Any]:
        """What a file has of it, by names; arrays with coordinates as DataArrays."""
        raise NotImplementedError

    @classmethod
    def _of_parts(cls, parts: dict[str, Any]) -> Any:
        """The result made of these."""
        return cls(**parts)

    def _places(self) -> Array | None:
        """Points (m, d) at which users' functions are told apart; None if it has no functions."""
        return None

    def _stated(self) -> str:
        """The name of the argument of ``pk.load`` that brings the functions back."""
        return "equation"

    def save(self, path: str | PathLike[str]) -> Path:
        """Write it to a netCDF file, whole or not at all; ``pk.load(path)`` reads it again.

        Everything is kept but functions of yours, such as a potential given as a lambda: of these
        the file has the name, the source where it can be read, and values to know them again by.
        ``pk.load(path, equation=...)`` brings them back. Raises ``OSError`` where the file cannot
        be written, and ``ValueError`` for a variable of more than 2 GB, which the format does not
        take: save fewer times.
        """
        from pdekit.storage.netcdf import save

        return save(self, path)

    def __repr__(self) -> str:
        from pdekit.pictures import words

        return words.text(*self._said())

    def _repr_html_(self) -> str:
        from pdekit.pictures import words

        return words.html(*self._said())


def some_points(points: Array) -> Array:
    """At most so many of points (..., d), evenly chosen, at which functions are told apart."""
    flat = points.reshape(-1, points.shape[-1])
    return np.array(flat[:: max(1, len(flat) // _PLACES)][:_PLACES])
