"""Provenance of code: of a library, identified by its version, or of the user, which is read."""

import importlib.metadata
import importlib.util
import sys
import sysconfig
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch

import pdekit

_OURS = Path(pdekit.__file__).resolve().parent
_PYTHON = "Python {}.{}".format(*sys.version_info)
_STANDARD = {Path(sysconfig.get_path(k)).resolve() for k in ("stdlib", "platstdlib")}
_INSTALLED = {"site-packages", "dist-packages"}


def torch_settings() -> dict[str, Any]:
    """What is set for all of torch and changes results: of code that takes it from there."""
    least = torch.full((), torch.finfo(torch.float64).tiny, dtype=torch.float64, device="cpu")
    return {
        "default_dtype": torch.get_default_dtype(),
        "default_device": torch.get_default_device(),
        "flush_denormal": not bool(least * 0.5),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def library_of_function(function: Any) -> str | None:
    """Library and version of a function; None for user code."""
    space = function.__globals__
    return _library(str(space.get("__name__", "")), space.get("__file__"))


def library_of_module(module: ModuleType) -> str | None:
    """Library and version of a module; None for a user module."""
    return _library(module.__name__, getattr(module, "__file__", None))


def library_of_class(cls: type) -> str | None:
    """The same for a class, from one of its methods if it has any."""
    for value in vars(cls).values():
        if isinstance(value, FunctionType) and value.__globals__.get("__name__") == cls.__module__:
            return library_of_function(value)
    return library_of_name(cls.__module__)


def library_of_name(name: Any) -> str | None:
    """The same for the name of a module; unknown ones count as the user's."""
    if not name or not isinstance(name, str):  # of types implemented in C
        return _PYTHON
    return _library(name, getattr(sys.modules.get(name), "__file__", None))


def compiled_file(module: ModuleType | None) -> Path | None:
    """The file of a compiled module."""
    file = getattr(module, "__file__", None)
    compiled = file is not None and not str(file).endswith((".py", ".pyc"))
    return Path(str(file)) if compiled and Path(str(file)).is_file() else None


def digest(data: Any) -> str:
    """A short digest of bytes."""
    return blake2b(data, digest_size=12).hexdigest()


@lru_cache(maxsize=4096)
def _library(name: str, file: str | None) -> str | None:
    top = name.partition(".")[0]
    if file is None:
        return _PYTHON if top in sys.stdlib_module_names and top != "__main__" else None
    if not Path(file).exists():  # from a notebook, or created by exec
        return None
    path = Path(file).resolve()
    if path.is_relative_to(_OURS):  # installed or not
        return "pdekit"  # its version is a part of every fingerprint
    if _INSTALLED & set(path.parts):
        return f"{top} {_version(top, path)}"
    if any(path.is_relative_to(folder) for folder in _STANDARD):
        return _PYTHON
    return None


def _version(top: str, path: Path) -> str:
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        said = getattr(sys.modules.get(top), "__version__", None)
        return str(said) if said is not None else digest(path.read_bytes())
