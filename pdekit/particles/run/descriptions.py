"""Names and parts of values, by type: the vocabulary of `fingerprint`."""

import copyreg
import functools
import io
import sys
import types
from threading import Lock, RLock
from typing import Any

import numpy as np
import torch
import xarray as xr

from pdekit.particles.run.provenance import (
    compiled_file,
    digest,
    library_of_function,
    library_of_module,
    library_of_name,
)

NOTHING = "nothing"
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented))
NAMED = (np.generic, np.dtype, torch.dtype, torch.device, type(Lock()), type(RLock()))
CONTAINERS = (list, tuple, dict, set, frozenset)
LONGEST = 200  # characters shown; and items of a container that are described one by one
BUILTIN = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


class Indescribable(TypeError):
    """A value whose behaviour cannot be described."""


def as_text(value: Any) -> str:
    shown = hex(value) if isinstance(value, int) and abs(value) > 1 << 64 else repr(value)
    if isinstance(value, type(Lock()) | type(RLock())):
        shown = "a lock"
    return shown if len(shown) <= LONGEST else f"{shown[:20]}... {digest(shown.encode())}"


def of_tensor(x: torch.Tensor) -> tuple[str, dict[str, Any]]:
    parts = attributes(x)
    if type(x) not in (torch.Tensor, torch.nn.Parameter):
        parts["(class)"] = type(x)
    x = x.detach().as_subclass(torch.Tensor).resolve_conj().resolve_neg()
    x = (x.to_dense() if x.layout != torch.strided else x).cpu().contiguous()
    name = str(x.dtype).removeprefix("torch.")
    data = x.reshape(-1).view(torch.uint8).numpy() if x.numel() else b""
    return f"{name} array {tuple(x.shape)} {digest(data)}", parts


def of_array(x: np.ndarray[Any, Any]) -> tuple[str, dict[str, Any]]:
    parts: dict[str, Any] = {}
    if isinstance(x, np.ma.MaskedArray):
        parts = {".mask": np.ma.getmaskarray(x), ".fill_value": x.fill_value}
        x = x.filled(0)
    elif type(x) not in (np.ndarray, np.memmap):
        parts = {"(class)": type(x), **attributes(x)}
    x = np.asarray(x)
    if x.dtype.hasobject:
        return f"object array {x.shape}", {"(items)": x.ravel().tolist(), **parts}
    data = np.ascontiguousarray(x).reshape(-1).view(np.uint8).data if x.size else b""
    return f"{x.dtype} array {x.shape} {digest(data)}", parts


def of_builtin(value: Any) -> tuple[str, dict[str, Any]]:
    owner = getattr(value, "__self__", None)
    name = getattr(value, "__qualname__", value.__name__)
    if isinstance(owner, types.ModuleType) or owner is None:
        where = getattr(value, "__module__", None) or getattr(owner, "__name__", "")
        return f"built-in {where}.{name}", {} if owner is None else {"(module)": owner}
    return f"built-in {name}", {"(self)": owner}


def what_is_wrapped(value: Any) -> dict[str, Any]:
    """The content of wrapper objects of libraries."""
    kind = type(value)
    if (
        value is np.random.mtrand._rand
    ):  # held by scipy's distributions; seeded differently in every process
        return {"(of numpy)": "np.random"}
    if isinstance(value, staticmethod | classmethod):
        return {"(function)": value.__func__}
    if isinstance(value, property):
        return {"(get)": value.fget, "(set)": value.fset}
    if isinstance(value, functools.cached_property):
        return {"(get)": value.func}
    if isinstance(value, functools._lru_cache_wrapper):
        return {"(function)": value.__wrapped__}
    if isinstance(value, types.MappingProxyType):
        return {"(items)": dict(value)}
    if isinstance(value, torch.Generator):
        return {"(state)": value.get_state()}
    if isinstance(value, np.vectorize):
        kept = ("pyfunc", "otypes", "signature", "excluded")
        return {f".{k}": getattr(value, k) for k in kept}
    if isinstance(value, xr.DataArray):
        places = {str(k): v.values for k, v in value.coords.items()}
        named = {"(name)": value.name, "(attributes)": value.attrs}
        return {"(values)": value.values, "(dims)": value.dims, "(coordinates)": places, **named}
    if kind.__module__.startswith("numba."):
        for holder in (value, *(getattr(value, k, 0) for k in ("_dispatcher", "gufunc_builder"))):
            for name in ("py_func", "_pyfunc"):
                if hasattr(holder, name):
                    return {"(function)": getattr(holder, name)}
    if kind.__module__.startswith("torch._dynamo") and hasattr(value, "_orig_mod"):
        return {"(module)": value._orig_mod}
    return {}


def items(value: Any) -> dict[str, Any]:
    """The items of a container, and the value of a number subclass."""
    if isinstance(value, dict):
        plain = all(type(key) in PLAIN for key in value)
        if plain:
            order = {"(order)": " ".join(map(repr, value))} if len(value) > 1 else {}
            return {f"[{key!r}]": value[key] for key in value} | order
        return {f"[{i}]": [key, value[key]] for i, key in enumerate(value)}
    if isinstance(value, list | tuple):
        return {f"[{i}]": part for i, part in enumerate(value)}
    for kind in (str, bytes, int, float, complex):
        if isinstance(value, kind):
            bare: Any = kind
            return {"(value)": bare.__getnewargs__(value)}
    return {}


def attributes(value: Any) -> dict[str, Any]:
    """Attributes of an instance, except cached properties."""
    kind = type(value)
    derived = {k for c in kind.__mro__ for k, v in vars(c).items() if _is_cached(v)}
    state = {k: v for k, v in getattr(value, "__dict__", {}).items() if k not in derived}
    for cls in kind.__mro__:
        slots = vars(cls).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            slot = f"_{cls.__name__.lstrip('_')}{slot}" if private else slot
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                state[slot] = getattr(value, slot)
    return {f".{key}": part for key, part in state.items()}


def _is_cached(value: Any) -> bool:
    return isinstance(value, functools.cached_property)


def is_hidden(kind: type) -> bool:
    """Whether instances hold state that is accessible from C only."""
    size = object.__basicsize__
    for cls in kind.__mro__:
        if cls in CONTAINERS or cls in PLAIN:
            return False  # its items are described
        if cls.__module__ == "collections":
            return True
        slots = vars(cls).get("__slots__", ())
        named = (slots,) if isinstance(slots, str) else tuple(slots)
        size += 8 * len([s for s in named if s not in ("__dict__", "__weakref__")])
    size += 8 * (kind.__dictoffset__ > 0) + 8 * (kind.__weakrefoffset__ > 0)
    return kind.__basicsize__ > size or bool(kind.__itemsize__)


def as_pickled(name: str, value: Any) -> dict[str, Any]:
    """The parts from which pickle would reconstruct it."""
    if isinstance(value, io.IOBase | types.GeneratorType) or callable(
        getattr(value, "__next__", None)
    ):
        raise unseen(name, value, ": its next value changes")
    kind = type(value)
    try:
        reduce: Any = copyreg.dispatch_table.get(kind, lambda v: v.__reduce_ex__(4))
        reduced = reduce(value)
    except Exception as error:
        if hasattr(value, "__wrapped__"):
            return {"(function)": value.__wrapped__}
        raise unseen(name, value, "") from error
    if isinstance(reduced, str):
        if isinstance(value, np.ufunc) and not _is_known_ufunc(value):
            raise unseen(name, value, ": the function in it is hidden")
        module = sys.modules.get(str(getattr(value, "__module__", "")))
        known = module is not None and (library_of_module(module) or compiled_file(module))
        return {"(name)": reduced, **({"(module)": module} if known else {})}
    made, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    parts = {"(made by)": made, "(state)": state}
    parts |= {f"({i})": part for i, part in enumerate(arguments)}
    parts |= {} if items is None else {"(items)": list(items)}
    return parts | ({} if pairs is None else {"(pairs)": dict(pairs)})


def _is_known_ufunc(f: np.ufunc) -> bool:
    from scipy import special

    return any(getattr(place, f.__name__, None) is f for place in (np, special))


def closed_over(f: types.FunctionType) -> dict[str, Any]:
    return dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))


def cell_content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return NOTHING


def is_of_library(value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        return library_of_module(value) is not None
    if isinstance(value, types.FunctionType):
        return library_of_function(value) is not None
    return library_of_name(getattr(value, "__module__", None)) is not None


def is_put_there(value: Any) -> bool:
    """Whether an object found in a library is a function of a user module."""
    return (
        isinstance(value, types.FunctionType)
        and value.__globals__.get("__name__") in sys.modules
        and library_of_function(value) is None
    )


def name_of_class(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def unseen(name: str, value: Any, why: str) -> Indescribable:
    return Indescribable(
        f"{name} is a {name_of_class(type(value))}, which cannot be distinguished from another "
        f"one{why}; give its class a method __fingerprint__(self) that returns the numbers that "
        "determine its behaviour, or create it in the function that uses it"
    )
