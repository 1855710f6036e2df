"""``load``: results from files, with users' functions brought back and checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import AccuracyWarning
from pdekit.storage import functions
from pdekit.storage.netcdf import read
from pdekit.storage.values import Reader, Unknown, Writer, is_own, name_of


def load(path: str | PathLike[str], *, equation: Any = None, dynamics: Any = None) -> Any:
    """The result that ``.save`` wrote: a Solution, an Ensemble, a Control or a PhaseDiagram.

    It has all numbers, bit by bit, and the values of pdekit; it can be plotted, compared,
    certified and gone on from (``solve(equation, grid, loaded, t)``,
    ``simulate(dynamics, loaded, n, t, dt, seed=...)``). Functions of yours are in no file: where
    one is needed an error says so, until ``equation`` (of a Solution or Control) or ``dynamics``
    (of an Ensemble) brings it back. That must be the one of the file: numbers must be the same,
    and functions have the same values to 1e-9 at places of the grid, or of particles.

    Raises ``FileNotFoundError``, and ``ValueError`` for a file that is damaged, of another
    program or of a newer version, and for an equation or a dynamics that is not that of the file,
    with what differs. An ``AccuracyWarning`` tells of functions that could not be compared.
    """
    place = checks.path("path", path)
    arrays, tree = read(place)
    if not isinstance(tree, dict) or "result" not in tree:
        raise ValueError(f"{place} has no result")
    stated, part = _asked(equation, dynamics)
    reader = Reader(arrays, stated)
    try:
        made = reader.value(tree)
        if part is None:
            return made
        reader.known = _brought(place, made, tree, part, reader)
        return reader.value(tree)
    except Unknown as error:
        raise ValueError(f"{place} cannot be read: {error}; was it written by another version?") \
            from error  # fmt: skip


def _asked(equation: Any, dynamics: Any) -> tuple[str, Any]:
    if equation is not None and dynamics is not None:
        raise ValueError("give load an equation or a dynamics, not both")
    if dynamics is not None:
        return "dynamics", dynamics
    return "equation", equation


def _brought(path: Path, made: Any, tree: Any, part: Any, reader: Reader) -> dict[str, Any]:
    """The functions of an equation or a dynamics, by their notes; an error where it is another."""
    if made._stated() != reader.stated:
        raise ValueError(
            f"{path} has {type(made).__name__}, whose functions come back by {made._stated()}=...; "
            f"got {reader.stated}={checks.shown(part)}"
        )
    stored = _stated_tree(tree, reader.stated)
    walk = _Walk(reader, made._places())
    wrong = list(walk.differences(reader.stated, stored, part))
    if wrong:
        raise ValueError(
            f"the {reader.stated} given is not that of {path}: {'; '.join(wrong[:4])}"
            + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        )
    return walk.found


def _stated_tree(tree: Any, name: str) -> Any:
    """Of a Control the equation is that of its value."""
    parts = tree["parts"]
    return parts[name] if name in parts else parts["value"]["parts"][name]


class _Walk:
    """Goes over a stored tree and a given value together."""

    def __init__(self, reader: Reader, points: Array | None) -> None:
        self.reader, self.points = reader, points
        self.found: dict[str, Any] = {}

    def differences(self, name: str, stored: Any, given: Any) -> Iterator[str]:
        if isinstance(stored, dict) and "function" in stored:
            yield from self._of_functions(name, stored["function"], given)
        elif isinstance(stored, dict) and "value" in stored:
            yield from self._of_values(name, stored, given)
        elif isinstance(stored, dict) and "tuple" in stored and isinstance(given, tuple):
            yield from self._of_items(name, stored["tuple"], given)
        elif not _equal(self.reader.value(stored), given):
            there = checks.shown(self.reader.value(stored))
            yield f"{name} is {there} there, {checks.shown(given)} here"

    def _of_values(self, name: str, stored: Any, given: Any) -> Iterator[str]:
        if not is_own(given) or name_of(type(given)) != stored["value"]:
            kind = stored["value"].rpartition(".")[2]
            yield f"{name} is of {kind} there, {checks.shown(given)} here"
            return
        declared = {f.name for f in fields(given)}
        for key in declared & set(stored["fields"]):
            yield from self.differences(f"{name}.{key}", stored["fields"][key], getattr(given, key))

    def _of_items(self, name: str, stored: list[Any], given: tuple[Any, ...]) -> Iterator[str]:
        if len(stored) != len(given):
            yield f"{name} has {len(stored)} items there, {len(given)} here"
            return
        for k, (one, other) in enumerate(zip(stored, given, strict=True)):
            yield from self.differences(f"{name}[{k}]", one, other)

    def _of_functions(self, name: str, note: Any, given: Any) -> Iterator[str]:
        values = self.reader.samples(note)
        here = functions.source_of(given)
        if values is not None:
            apart = functions.again(given, self.points, note["how"], values)
            if not functions.agrees(apart):
                far = (
                    "has values of another shape" if apart == np.inf else f"differs by {apart:.1g}"
                )
                yield f"{name} {far} from {note['name']} there"
                return
        elif not (here and here == note["source"]):
            warnings.warn(
                f"{name} could not be compared with the {note['name']} of the file, which has no "
                "values of it; it is taken for the same",
                AccuracyWarning,
                stacklevel=2,
            )
        self.found[note["key"]] = given


def _equal(there: Any, here: Any) -> bool:
    """Whether two plain values are the same, arrays and tensors by their numbers."""
    one, two = Writer(), Writer()
    if one.tree("", there) != two.tree("", here):
        return False
    return all(
        np.array_equal(v.values, two.variables[k].values, equal_nan=True)
        for k, v in one.variables.items()
    )
