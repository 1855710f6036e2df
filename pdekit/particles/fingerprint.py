"""What a simulation was asked to do, field by field, so that another can be told from it."""

import types
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

_DEEPEST = 12
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, torch.dtype, torch.device)


def fingerprint(**arguments: Any) -> dict[str, str]:
    """A description of every part: ``{"dynamics.potential.curvature": "1.0", ...}``.

    Arrays are described by a digest of their bytes, functions by their name, code and what they
    close over; global names that they use are not followed.
    """
    found: dict[str, str] = {}
    for name, value in arguments.items():
        _describe(name, value, found, 0)
    return found


def differences(there: dict[str, str], here: dict[str, str]) -> list[str]:
    """A line for every field that differs."""
    missing = "nothing"
    return [
        f"{name} is {there.get(name, missing)} there, {here.get(name, missing)} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]


def _describe(name: str, value: Any, found: dict[str, str], depth: int) -> None:
    if isinstance(value, _PLAIN):
        found[name] = repr(value)
        return
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, list) and name == "initial":
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        found[name] = f"{value.dtype} array {value.shape} {_digest(value.tobytes())}"
        return
    parts = _parts(value)
    found[name] = _title(value)
    if depth < _DEEPEST:
        for part, inner in parts.items():
            _describe(f"{name}{part}", inner, found, depth + 1)


def _parts(value: Any) -> dict[str, Any]:
    """What a value is made of, by the way to write it."""
    if isinstance(value, dict):
        return {f"[{key!r}]": value[key] for key in value}
    if isinstance(value, list | tuple | range):
        return {f"[{i}]": part for i, part in enumerate(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {f".{f.name}": getattr(value, f.name) for f in fields(value)}
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        closed = dict(zip(value.__code__.co_freevars, cells, strict=True))
        return {
            **{f"({key})": part for key, part in closed.items()},
            **{f"(default {i})": part for i, part in enumerate(value.__defaults__ or ())},
        }
    if isinstance(value, types.MethodType):
        return {"(self)": value.__self__, "(function)": value.__func__}
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
        return {}
    return {f".{key}": part for key, part in getattr(value, "__dict__", {}).items()}


def _title(value: Any) -> str:
    kind = type(value)
    if isinstance(value, types.FunctionType):
        return f"function {value.__qualname__} {_digest(_code(value.__code__))}"
    if isinstance(value, type | types.BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, list | tuple | dict):
        return f"{kind.__name__} of {len(value)}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _code(code: types.CodeType) -> bytes:
    constants = [
        _code(c) if isinstance(c, types.CodeType) else repr(c).encode() for c in code.co_consts
    ]
    return b"\0".join([code.co_code, repr(code.co_names).encode(), *constants])


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()
