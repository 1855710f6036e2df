"""Trees and variables in files: written whole, sealed, and read with clear errors."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import pdekit
from pdekit import checks
from pdekit.files import replace_file
from pdekit.storage.values import Writer

FORMAT = 1
_MOST = (1 << 31) - 4  # bytes of a variable
_PACKAGES = ("numpy", "scipy", "xarray")
_MAGIC = b"CDF"


def save(result: Any, path: str | PathLike[str]) -> Path:
    """What ``result.save`` does."""
    target = checks.path("path", path)
    writer = Writer(result._places())
    tree = writer.tree("", result)
    _check_sizes(writer.variables)
    text = json.dumps(tree)
    arrays = {name: variable.values for name, variable in writer.variables.items()}
    attributes = _words(result, writer.notes) | {
        "pdekit_format": FORMAT,
        "pdekit_tree": text,
        "pdekit_seal": seal(arrays, text),
    }
    table = xr.Dataset(writer.variables, attrs=attributes)
    encoding = {name: {"_FillValue": None} for name in table.variables}
    replace_file(target, lambda file: table.to_netcdf(file, engine="scipy", encoding=encoding))
    return target


def _words(result: Any, notes: list[str]) -> dict[str, Any]:
    """What it is, for readers."""
    title, rows = result._said()
    versions = {name: metadata.version(name) for name in _PACKAGES}
    versions |= {"pdekit": pdekit.__version__, "python": platform.python_version()}
    found = {name.replace("ρ", "rho").replace(" ", "_"): said for name, said in rows if said}
    stats = getattr(result, "stats", None)
    more = {} if stats is None else {"stats": json.dumps(stats, default=str)}
    return {
        "title": title,
        **found,
        **more,
        "functions": "\n".join(notes) or "none but those of pdekit",
        "versions": json.dumps(versions),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "read_by": "pdekit.load(path)",
    }


def _check_sizes(variables: Mapping[str, xr.Variable]) -> None:
    for name, variable in variables.items():
        if variable.nbytes > _MOST:
            raise ValueError(
                f"{name} has {variable.nbytes / 1e9:.1f} GB, more than the 2 GB that netCDF takes "
                "for a variable; keep fewer times or particles, or float32"
            )


def seal(arrays: Mapping[str, NDArray[Any]], text: str) -> str:
    """A digest of all numbers and of the tree."""
    state = blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        here = np.ascontiguousarray(arrays[name])
        here = here.astype(here.dtype.newbyteorder("<"), copy=False)
        state.update(f"{name} {here.dtype.str} {here.shape}".encode())
        state.update(here.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def read(path: Path) -> tuple[dict[str, NDArray[Any]], Any]:
    """The variables and the tree of a file.

    ``FileNotFoundError`` for none, ``ValueError`` for one that is damaged, foreign or too new.
    """
    with path.open("rb") as file:
        magic = file.read(3)
    if magic != _MAGIC:
        raise ValueError(f"{path} is not a file that pdekit wrote by .save: it is not netCDF 3")
    try:
        with xr.load_dataset(path, engine="scipy", decode_cf=False) as table:
            arrays = {str(name): table[name].values for name in table.variables}
            facts = dict(table.attrs)
    except Exception as error:  # any of scipy's and numpy's on a file cut short
        raise ValueError(f"{path} is damaged, or not whole: {error}") from error
    if "pdekit_format" not in facts:
        raise ValueError(
            f"{path} is netCDF of another program, not of .save of a result; read it by "
            "xarray.open_dataset"
        )
    version = int(np.ravel(facts["pdekit_format"])[0])
    if version > FORMAT:
        raise ValueError(
            f"{path} was written by a newer pdekit (versions {facts.get('versions')}), in format "
            f"{version}; this is {pdekit.__version__}, which reads up to {FORMAT}: update it"
        )
    text = facts.get("pdekit_tree", "")
    if seal(arrays, text) != facts.get("pdekit_seal"):
        raise ValueError(
            f"{path} is damaged: its numbers do not match their checksum. What is left of it can "
            "be read by xarray.open_dataset"
        )
    return arrays, json.loads(text)
