"""Samples on a line or a tensor grid: checked, sorted, and read from CSV and NPZ files."""

import csv
import io
import zipfile
import zlib
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit import checks
from pdekit.arrays import Array

_DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError)
# coordinates closer than this, relative to the range, count as equal
_SAME = 1e-9
_EXPONENT = 290  # powers of ten within which coefficients are accurate
_LARGEST = 1e150  # larger values overflow when squared


def tensor_samples(points: Any, values: Any) -> tuple[tuple[Array, ...], Array]:
    """Increasing axes and the values over them, both read-only, from the forms of ``Tabulated``."""
    coordinates = _coordinates(values)
    values = _numbers("values", values)
    if isinstance(points, tuple | list) and len(points) == 1:
        points = points[0]
    axes = _as_axes(points)
    _agree(coordinates, points if axes is None else axes)
    if axes is None:
        scattered = _numbers("points", points)
        if scattered.ndim == 2 and scattered.shape[1] == 1:
            scattered = scattered[:, 0]
        if scattered.ndim not in (1, 2) or scattered.shape[1:] not in ((), (2,)):
            raise ValueError(
                "points must have shape (n,) on a line, or be a pair of axes or have shape (n, 2) "
                f"on a plane; got shape {scattered.shape}"
            )
        if values.shape != scattered.shape[:1]:
            raise ValueError(
                f"{len(scattered)} points need values of shape ({len(scattered)},), "
                f"got shape {values.shape}"
            )
        return collected(scattered, values, lambda i: f"sample {i}")
    return _over_axes(axes, values)


def collected(
    points: Array, values: Array, name: Callable[[int], str]
) -> tuple[tuple[Array, ...], Array]:
    """Axes and values from samples in any order; ``name(i)`` names the i-th sample in errors."""
    columns = points[:, None] if points.ndim == 1 else points
    if not len(columns):
        _enough((0,))
    bad = ~(np.isfinite(columns).all(axis=1) & np.isfinite(values))
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"{name(i)} is not finite: point {_text(columns[i])}, value {values[i]}; remove it or "
            "measure it again"
        )
    large = np.maximum(np.abs(columns).max(axis=1), np.abs(values)) > _LARGEST
    if large.any():
        i = int(np.argmax(large))
        raise ValueError(
            f"{name(i)} must be at most {_LARGEST:g} in size, for its square not to overflow: got "
            f"point {_text(columns[i])}, value {values[i]:g}"
        )
    axes, places = zip(*(_axis_of(column) for column in columns.T), strict=True)
    shape = tuple(len(axis) for axis in axes)
    flat = np.ravel_multi_index(places, shape)
    _refuse_repeats(flat, columns, name)
    _enough(shape)
    if len(flat) < np.prod(shape):
        hole = np.setdiff1d(np.arange(np.prod(shape)), flat)
        first = [axis[k] for axis, k in zip(axes, np.unravel_index(hole[0], shape), strict=True)]
        raise ValueError(
            f"the samples do not fill a tensor grid: {shape[0]} different x and {shape[1]} "
            f"different y ask for {np.prod(shape)} samples, got {len(flat)}; the first missing "
            f"point is {_text(first)}"
        )
    _require_cubes(axes, float(np.abs(values).max()))
    table = np.empty(len(flat))
    table[flat] = values
    return tuple(_frozen(axis) for axis in axes), _frozen(table.reshape(shape))


def read_csv(path: str | PathLike[str]) -> tuple[tuple[Array, ...], Array]:
    """Axes and values from columns x,value or x,y,value; lines from ``#`` on are comments."""
    rows: list[list[float]] = []
    lines: list[int] = []
    names: list[str] | None = None
    width = 0
    with io.StringIO(_read_text(checks.path("path", path)), newline="") as file:
        for line, text in enumerate(file, start=1):
            where = f"{path}, line {line} ({text.strip()!r})"
            cells = _cells(text.split("#")[0], where)
            if not any(cells):
                continue
            width = width or _width(cells, where)
            if len(cells) != width:
                raise ValueError(f"{where}: expected {width} columns, got {len(cells)}")
            if names is None and not rows and not any(_is_number(cell) for cell in cells):
                names = cells
                continue
            rows.append([_number(cell, where) for cell in cells])
            lines.append(line)
    if not rows:
        raise ValueError(f"{path}: no samples; expected lines x,value or x,y,value")
    columns = np.array(rows)[:, _order(names, width)]
    points = columns[:, 0] if width == 2 else columns[:, :2]
    try:
        return collected(points, columns[:, -1], lambda i: f"line {lines[i]}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_npz(path: str | PathLike[str]) -> tuple[tuple[Array, ...], Array]:
    """Axes and values from arrays ``x``, on a plane ``y``, and ``value``."""
    try:
        with checks.path("path", path).open("rb") as file:
            x, y, value = _arrays(np.load(file, allow_pickle=False), path)
    except _NoArchive:
        raise
    except _DAMAGED as error:
        why = "it is no archive of arrays" if "unsafely" in str(error) else error
        raise ValueError(
            f"{path} cannot be read: {why}; expected an archive (np.savez) of the arrays x, [y,] "
            "value"
        ) from error
    points = x if y is None else (x, y)
    if y is not None and value.ndim == 1:
        if not x.shape == y.shape == value.shape:
            raise ValueError(
                f"{path}: value has shape {value.shape}; expected ({x.size}, {y.size}) over the "
                "axes x and y, or three arrays of one length"
            )
        points = np.stack([x, y], axis=1)
    try:
        return tensor_samples(points, value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _arrays(archive: Any, path: Any) -> tuple[Any, Any, Any]:
    """The arrays x, y (None on a line) and value of an archive, which is closed."""
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise _NoArchive(f"{path} holds one array; expected an archive with x, [y,] value")
    with archive:
        missing = [name for name in ("x", "value") if name not in archive.files]
        if missing:
            raise _NoArchive(
                f"{path}: no array named {missing[0]!r}; expected x, value or x, y, value, "
                f"got {', '.join(archive.files) or 'nothing'}"
            )
        y = archive["y"] if "y" in archive.files else None
        return archive["x"], y, archive["value"]


class _NoArchive(ValueError):
    """The file is readable, but not such an archive."""


def _read_text(path: Path) -> str:
    """A text file in UTF-8, with or without the byte-order mark that spreadsheets put first."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8, which is expected; "
            "save the table as UTF-8"
        ) from None


def _as_axes(points: Any) -> tuple[Array, Array] | None:
    """The two axes, where ``points`` is a pair of them."""
    pair = isinstance(points, tuple | list) and len(points) == 2
    if not (pair and all(np.ndim(axis) == 1 for axis in points)):
        return None
    return _numbers("points[0]", points[0]), _numbers("points[1]", points[1])


def _over_axes(axes: tuple[Array, Array], values: Array) -> tuple[tuple[Array, ...], Array]:
    shape = tuple(len(axis) for axis in axes)
    if values.shape not in (shape, (shape[0] * shape[1],)):
        raise ValueError(
            f"axes of {shape[0]} and {shape[1]} points need values of shape {shape}, "
            f"got shape {values.shape}"
        )
    x, y = np.meshgrid(*axes, indexing="ij")
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    return collected(grid, values.ravel(), lambda i: f"sample [{i // shape[1]}, {i % shape[1]}]")


def _require_cubes(axes: Any, size: float) -> None:
    """``ValueError`` if spline coefficients, values over cubes of steps, overflow or vanish."""
    if not size:
        return
    steps, ranges = ([float(f(axis)) for axis in axes] for f in (_least_step, np.ptp))
    most = np.log10(size) - 3 * sum(min(np.log10(step), 0.0) for step in steps)
    lost = 3 * sum(max(np.log10(extent), 0.0) for extent in ranges)
    if most > _EXPONENT or (lost > _EXPONENT / 3 and np.log10(size) - lost < -_EXPONENT):
        raise ValueError(
            f"values of size {size:.3g} at steps of {min(steps):.3g} over ranges of "
            f"{max(ranges):.3g} give spline coefficients that overflow or vanish; use units in "
            "which these are moderate"
        )


def _least_step(axis: Array) -> float:
    return float(np.diff(axis).min())


def _axis_of(column: Array) -> tuple[Array, NDArray[np.intp]]:
    """Different coordinates in order, and the place of each sample's among them."""
    order = np.argsort(column, kind="stable")
    ranked = column[order]
    new = np.diff(ranked, prepend=-np.inf) > _SAME * (ranked[-1] - ranked[0])
    place = np.empty(len(column), dtype=np.intp)
    place[order] = np.cumsum(new) - 1
    return ranked[new], place


def _coordinates(values: Any) -> list[Any] | None:
    """The coordinates along each axis of a DataArray (None where it has none); None for others."""
    if not (hasattr(values, "dims") and hasattr(values, "coords")):
        return None
    return [values.coords[d].values if d in values.coords else None for d in values.dims]


def _agree(coordinates: list[Any] | None, axes: Any) -> None:
    """``ValueError`` where a DataArray of values has other coordinates than the axes given."""
    if coordinates is None:
        return
    known = axes if len(coordinates) > 1 else (axes,)
    for k, (own, axis) in enumerate(zip(coordinates, known, strict=False)):
        axis = np.asarray(axis)
        if own is None or axis.ndim != 1:
            continue
        if own.shape != axis.shape or not np.allclose(own, axis, rtol=1e-9, atol=0):
            raise ValueError(
                f"values is a DataArray whose coordinates along axis {k} are not the points: it "
                f"has {checks.shown(own)}, points {checks.shown(axis)}; give its own coordinates "
                "as points, or values.values to drop them"
            )


def _refuse_repeats(flat: Any, columns: Array, name: Callable[[int], str]) -> None:
    order = np.argsort(flat, kind="stable")
    repeats = np.flatnonzero(np.diff(flat[order]) == 0)
    if repeats.size:
        i, j = (int(k) for k in order[repeats[0] : repeats[0] + 2])
        raise ValueError(
            f"{name(i)} and {name(j)} are at the same point {_text(columns[i])} (to {_SAME:g} of "
            "the range); keep one of them, or their mean"
        )


def _enough(shape: tuple[int, ...]) -> None:
    for axis, n in zip("xy", shape, strict=False):
        if n < 4:
            raise ValueError(f"a cubic spline needs at least 4 different {axis}, got {n}")


def _numbers(name: str, array: Any) -> Array:
    return np.array(checks.numbers(name, array, "numbers in a rectangular array"))


def _cells(text: str, where: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text]), [])]
    except csv.Error as error:
        raise ValueError(f"{where}: expected cells separated by commas, but {error}") from None


def _width(cells: list[str], where: str) -> int:
    if len(cells) not in (2, 3):
        raise ValueError(
            f"{where}: expected 2 columns x,value or 3 columns x,y,value separated by commas, "
            f"got {len(cells)}"
        )
    return len(cells)


def _order(names: list[str] | None, width: int) -> list[int]:
    """Columns in the order x, [y,] value: by name if the header has these, else in order."""
    wanted = ["x", "value"] if width == 2 else ["x", "y", "value"]
    lower = [name.lower() for name in names or []]
    return (
        [lower.index(name) for name in wanted]
        if sorted(lower) == sorted(wanted)
        else [*range(width)]
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, where: str) -> float:
    if not cell:
        raise ValueError(f"{where}: empty cell; fill it in or remove the line")
    if not _is_number(cell):
        raise ValueError(f"{where}: {cell!r} is not a number")
    if not np.isfinite(float(cell)):
        raise ValueError(f"{where}: {cell} is not finite; remove the line or measure it again")
    return float(cell)


def _text(point: Any) -> str:
    return "(" + ", ".join(f"{float(c):.9g}" for c in point) + ")"


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array
