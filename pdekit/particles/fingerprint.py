"""What a simulation was asked to do, field by field, so that another can be told from it.

A value is told by its class and its state. What is the user's own is read: the code of functions,
helpers, methods and properties (`pdekit.particles.codeprint`), what they close over, defaults, and
the globals and class attributes that they look up, from there on in the same way. What is a
library's is told by name and version (`pdekit.particles.homes`), what only C knows by how it is
pickled, compiled modules of one's own by a digest of their file. Nothing depends on addresses, on
the order of sets or on the process.

What cannot be told apart so is refused (`Unseen`); what is looked up only when a function is
called, in a file for one, is said (``reads``). A class with a method ``__fingerprint__`` says
itself what decides how its instances behave.
"""

import builtins
import copyreg
import functools
import importlib
import io
import types
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.util import resolve_name
from threading import Lock, RLock
from typing import Any

import numpy as np
import torch
import xarray as xr

from pdekit.particles.codeprint import lookups, text
from pdekit.particles.homes import (
    compiled_file,
    digest,
    home_of_function,
    home_of_module,
    home_of_name,
)

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented))
_NAMED = (np.generic, np.dtype, torch.dtype, torch.device, type(Lock()), type(RLock()))
_CONTAINERS = (list, tuple, dict, set, frozenset)
_LONGEST = 200  # characters that are shown; and items of a container that are told one by one
_MOST, _DEEPEST = 1_000_000, 500  # parts, and levels of them
_BUILTIN = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
# attributes of a class that say nothing of what its instances do
_OF_CLASS = {
    *("__dict__", "__weakref__", "__module__", "__doc__", "__annotations__", "__qualname__"),
    *("_abc_impl", "__abstractmethods__", "__parameters__", "__orig_bases__", "__match_args__"),
    *("__dataclass_fields__", "__dataclass_params__", "__firstlineno__", "__static_attributes__"),
}
_TEXT_RUN = {"eval", "exec", "compile", "globals", "__import__", "input", "open"}
_LIBRARY_READS = {
    *("load", "loadtxt", "genfromtxt", "fromfile", "memmap", "loadmat", "imread", "urlopen"),
    *("read_csv", "read_table", "read_json", "read_parquet", "read_hdf", "open"),
    *("open_dataset", "open_dataarray", "load_dataset", "import_module", "getenv", "environ"),
}
_METHOD_READS = {"read_text", "read_bytes"}
_NOTHING = "nothing"


class Unseen(TypeError):
    """A value whose behaviour cannot be told."""


def fingerprint(**arguments: Any) -> dict[str, str]:
    """A description of every part: ``{"dynamics.potential.curvature": "1.0", ...}``.

    Raises ``Unseen`` for what cannot be described.
    """
    return described(**arguments).found


def described(**arguments: Any) -> "Account":
    """The same with what the functions read when they are called."""
    account = Account()
    for name, value in arguments.items():
        if isinstance(value, list) and name == "initial":
            value = np.asarray(value)
        account.tell(name, value)
    return account


def differences(there: dict[str, str], here: dict[str, str]) -> list[str]:
    """A line for every field that differs."""
    return [
        f"{name} is {there.get(name, _NOTHING)} there, {here.get(name, _NOTHING)} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]


@dataclass
class Account:
    """What has been told so far."""

    found: dict[str, str] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    _waiting: list[tuple[str, Any, tuple[int, ...]]] = field(default_factory=list)
    _known: dict[Any, Any] = field(default_factory=dict)  # holds them, so that ids stay theirs
    _names: dict[str, Any] = field(default_factory=dict)

    def tell(self, name: str, value: Any) -> None:
        """Describe a value and all that it is made of."""
        self._waiting.append((name, value, ()))
        while self._waiting:
            if len(self.found) > _MOST:
                raise Unseen(f"{name} has more than {_MOST} parts; put its numbers in an array")
            self._one(*self._waiting.pop())

    def _one(self, name: str, value: Any, above: tuple[int, ...]) -> None:
        if len(above) > _DEEPEST:
            raise _unseen(name[:_LONGEST], value, ": it lies too deep")
        if id(value) in above:
            self.found[name] = f"what holds it, {len(above) - above.index(id(value))} levels up"
            return
        try:
            title, parts = self._parts(name, value)
        except Unseen:
            raise
        except Exception as error:  # of a property, a pickling, a __getattr__ of the user's
            raise _unseen(name, value, f": {type(error).__name__}: {error}") from error
        self.found[name] = title
        inner = (*above, id(value)) if parts else ()
        self._known[id(value)] = value
        self._waiting += [(name + part, what, inner) for part, what in parts.items()]

    def _parts(self, name: str, value: Any) -> tuple[str, dict[str, Any]]:
        """What a value is called, and what it is made of by the way to write it."""
        kind = type(value)
        if kind in _PLAIN or isinstance(value, _NAMED):
            return _plain(value), {}
        if isinstance(value, type):
            return self._class(value), {}
        if hasattr(kind, "__fingerprint__"):
            return _title(kind), {"": _Said(value.__fingerprint__())}
        if kind is _Said:
            return "as it says", {"(says)": value.value}
        if isinstance(value, torch.Tensor):
            return _tensor(value), {}
        if isinstance(value, np.ndarray):
            return _array(value)
        if isinstance(value, types.FunctionType):
            return self._function(name, value)
        if isinstance(value, types.ModuleType):
            return self._module(value), {}
        if isinstance(value, types.MethodType):
            return "method", {"(self)": value.__self__, "(function)": value.__func__}
        if isinstance(value, _BUILTIN):
            return _builtin(value)
        if isinstance(value, types.CodeType):
            return f"code {digest(text(value).encode())}", {}
        wrapped = _wrapped(value)
        if wrapped:
            return _title(kind), wrapped
        return self._instance(name, value)

    def _function(self, name: str, f: types.FunctionType) -> tuple[str, dict[str, Any]]:
        home = home_of_function(f)
        registry = getattr(f, "registry", None)
        if registry is not None and f.__globals__.get("__name__") == "functools":
            return "singledispatch", {".registry": dict(registry)}  # without its cache
        original = getattr(f, "_torchdynamo_orig_callable", None)
        if original is not None:
            return "compiled by torch", {"(function)": original}
        cells = {key: _content(cell) for key, cell in _closed(f).items()}
        parts = {
            **{f"({key})": part for key, part in cells.items()},
            **{f"(default {i})": part for i, part in enumerate(f.__defaults__ or ())},
            **{f"(default {k})": part for k, part in (f.__kwdefaults__ or {}).items()},
        }
        if home is not None:
            return f"function {f.__module__}.{f.__qualname__} of {home}", parts
        parts |= {f".{k}": part for k, part in f.__dict__.items() if k != "__wrapped__"}
        if self._new(f):
            self._globals(f)
        return f"function {f.__qualname__} {digest(text(f.__code__).encode())}", parts

    def _globals(self, f: types.FunctionType) -> None:
        """What a function of the user's own looks up by name."""
        space, looked = f.__globals__, lookups(f.__code__)
        module = self._name(str(space.get("__name__", "")), space)
        words = looked.words
        for chain in sorted(looked.chains):
            name = chain[0]
            if name not in space:
                if name in _TEXT_RUN and hasattr(builtins, name):
                    self.reads.add(f"{module}.{f.__qualname__} calls {name}")
                elif not hasattr(builtins, name):
                    self.found[f"{module}.{name}"] = _NOTHING
                continue
            value = space[name]
            if isinstance(value, types.ModuleType) and home_of_module(value) is None:
                self._lookup(value, None if name in looked.alone else words)
                continue
            self._later(f"{module}.{name}", value, (id(space), name))
            if _of_library(value) and {getattr(value, "__name__", ""), *chain} & _LIBRARY_READS:
                self.reads.add(f"{module}.{f.__qualname__} calls {'.'.join(chain)}")
        for method in sorted(words & _METHOD_READS):
            self.reads.add(f"{module}.{f.__qualname__} calls {method}")
        for level, name, inside in sorted(looked.imports):
            self._import(f, module, level, name, set(inside))

    def _import(
        self, f: types.FunctionType, here: str, level: int, name: str, inside: set[str]
    ) -> None:
        """What a function imports when it is called."""
        package = f.__globals__.get("__package__") or ""
        full = resolve_name("." * level + name, package) if level else name
        module = importlib.import_module(full)
        if home_of_module(module) is None:
            self._lookup(module, inside or None)
        elif (inside or lookups(f.__code__).words) & _LIBRARY_READS:
            self.reads.add(f"{here}.{f.__qualname__} calls a reading function of {name}")

    def _lookup(self, module: types.ModuleType, words: set[str] | None) -> None:
        """What is looked up in a module of the user's own; None: anything."""
        space, title = vars(module), self._module(module, whole=words is None)
        self.found[f"module {module.__name__}"] = title
        if words is None or compiled_file(module) is not None:
            return
        name = self._name(module.__name__, space)
        inside = {*words, "__getattr__"} & space.keys()
        for word in sorted(inside):
            value = space[word]
            if isinstance(value, types.ModuleType) and home_of_module(value) is None:
                if self._new(("words", id(space), word, frozenset(words))):
                    self._lookup(value, words)
            else:
                self._later(f"{name}.{word}", value, (id(space), word))

    def _module(self, module: types.ModuleType, whole: bool = True) -> str:
        home, file = home_of_module(module), compiled_file(module)
        if home is not None:
            return f"module {module.__name__} of {home}"
        if file is not None:
            return f"compiled module {module.__name__} {digest(file.read_bytes())}"
        if whole and self._new(module):
            space = vars(module)
            name = self._name(module.__name__, space)
            for word in sorted(k for k in space if not (k.startswith("__") and k.endswith("__"))):
                self._later(f"{name}.{word}", space[word], (id(space), word))
        return f"module {module.__name__}"

    def _class(self, cls: type) -> str:
        home = home_of_name(cls.__module__)
        if home is not None:
            return f"{_title(cls)} of {home}" if home != "pdekit" else _title(cls)
        if self._new(cls):
            name = self._name(_title(cls), cls)
            bases = [self._class(base) for base in (*cls.__bases__, type(cls))]
            self.found[f"class {name}"] = f"class of {', '.join(bases)}"
            for key, value in vars(cls).items():
                if key not in _OF_CLASS and not isinstance(value, types.GetSetDescriptorType):
                    self._later(f"{name}.{key}", value, (id(cls), key))
        return _title(cls)

    def _instance(self, name: str, value: Any) -> tuple[str, dict[str, Any]]:
        kind, home = type(value), home_of_name(type(value).__module__)
        title, parts = self._class(kind), _contents(value)
        own = home is None
        if is_dataclass(value) and not own:
            return title, parts | {f".{f.name}": getattr(value, f.name) for f in fields(value)}
        if own or home == "pdekit":
            parts |= _state(value)
        if kind not in _CONTAINERS and (_hidden(kind) if own or home == "pdekit" else True):
            parts |= _pickled(name, value)
        if isinstance(value, _CONTAINERS):
            title = f"{kind.__name__} of {len(value)}" if not own else f"{title} of {len(value)}"
            if len(parts) > _LONGEST and all(type(part) in _PLAIN for part in parts.values()):
                whole = "\n".join(f"{key} {_plain(part)}" for key, part in parts.items())
                return f"{title} {digest(whole.encode())}", {}
        return title, parts

    def _later(self, name: str, value: Any, key: Any) -> None:
        if self._new(key):
            self._waiting.append((name, value, ()))

    def _new(self, what: Any) -> bool:
        """Whether it is met for the first time."""
        key = what if isinstance(what, tuple) else ("id", id(what))
        return self._known.setdefault(key, _Box(what)).first()

    def _name(self, name: str, owner: Any) -> str:
        """A name for things that may share theirs, such as classes made in a function."""
        count, full = 1, name
        while self._names.setdefault(full, owner) is not owner:
            count += 1
            full = f"{name} ({count})"
        return full


@dataclass
class _Box:
    what: Any
    met: bool = False

    def first(self) -> bool:
        before, self.met = self.met, True
        return not before


@dataclass
class _Said:
    """What an object says of itself."""

    value: Any


def _plain(value: Any) -> str:
    shown = hex(value) if type(value) is int and abs(value) > 1 << 64 else repr(value)
    if isinstance(value, type(Lock()) | type(RLock())):
        shown = "a lock"
    return shown if len(shown) <= _LONGEST else f"{shown[:20]}... {digest(shown.encode())}"


def _tensor(x: torch.Tensor) -> str:
    x = x.detach().resolve_conj().resolve_neg()
    x = (x.to_dense() if x.layout != torch.strided else x).cpu().contiguous()
    name = str(x.dtype).removeprefix("torch.")
    data = x.reshape(-1).view(torch.uint8).numpy() if x.numel() else b""
    return f"{name} array {tuple(x.shape)} {digest(data)}"


def _array(x: np.ndarray[Any, Any]) -> tuple[str, dict[str, Any]]:
    parts: dict[str, Any] = {}
    if isinstance(x, np.ma.MaskedArray):
        parts, x = {".mask": np.ma.getmaskarray(x)}, x.filled(0)
    elif type(x) not in (np.ndarray, np.memmap):
        parts = {"(class)": type(x), **_state(x)}
    x = np.asarray(x)
    if x.dtype.hasobject:
        return f"object array {x.shape}", {"(items)": x.ravel().tolist(), **parts}
    data = np.ascontiguousarray(x).reshape(-1).view(np.uint8).data if x.size else b""
    return f"{x.dtype} array {x.shape} {digest(data)}", parts


def _builtin(value: Any) -> tuple[str, dict[str, Any]]:
    owner = getattr(value, "__self__", None)
    name = getattr(value, "__qualname__", value.__name__)
    if isinstance(owner, types.ModuleType) or owner is None:
        where = getattr(value, "__module__", None) or getattr(owner, "__name__", "")
        return f"built-in {where}.{name}", {} if owner is None else {"(module)": owner}
    return f"built-in {name}", {"(self)": owner}


def _wrapped(value: Any) -> dict[str, Any]:
    """What is inside of the wrappers of libraries."""
    kind = type(value)
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
        return {"(values)": value.values, "(dims)": value.dims, "(coordinates)": places}
    if kind.__module__.startswith("numba."):
        for holder in (value, *(getattr(value, k, 0) for k in ("_dispatcher", "gufunc_builder"))):
            if hasattr(holder, "py_func"):
                return {"(function)": holder.py_func}
    if kind.__module__.startswith("torch._dynamo") and hasattr(value, "_orig_mod"):
        return {"(module)": value._orig_mod}
    return {}


def _contents(value: Any) -> dict[str, Any]:
    """The items of a container, and the number in a number of one's own."""
    if isinstance(value, dict):
        plain = all(type(key) in _PLAIN for key in value)
        if plain:
            return {f"[{key!r}]": value[key] for key in value}
        return {f"[{i}]": [key, value[key]] for i, key in enumerate(value)}
    if isinstance(value, list | tuple):
        return {f"[{i}]": part for i, part in enumerate(value)}
    if isinstance(value, set | frozenset):
        told = sorted(digest(repr(sorted(fingerprint(x=x).items())).encode()) for x in value)
        return {f"[{i}]": part for i, part in enumerate(told)}
    for kind in (str, bytes, int, float, complex):
        if isinstance(value, kind):
            return {"(value)": kind.__new__(kind, kind.__getnewargs__(value)[0])}
    return {}


def _state(value: Any) -> dict[str, Any]:
    """Attributes of an instance, but for those that are kept copies of a property."""
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


def _hidden(kind: type) -> bool:
    """Whether instances hold more than attributes, in a form that only C knows."""
    size = object.__basicsize__
    for cls in kind.__mro__:
        if cls in _CONTAINERS or cls in _PLAIN:
            return False  # its items are told
        if cls.__module__ == "collections":
            return True
        slots = vars(cls).get("__slots__", ())
        named = (slots,) if isinstance(slots, str) else tuple(slots)
        size += 8 * len([s for s in named if s not in ("__dict__", "__weakref__")])
    size += 8 * (kind.__dictoffset__ > 0) + 8 * (kind.__weakrefoffset__ > 0)
    return kind.__basicsize__ > size or bool(kind.__itemsize__)


def _pickled(name: str, value: Any) -> dict[str, Any]:
    """The parts of which pickle would make it again."""
    if isinstance(value, io.IOBase | types.GeneratorType) or callable(
        getattr(value, "__next__", None)
    ):
        raise _unseen(name, value, ": what comes out of it next changes")
    kind = type(value)
    try:
        reduced = copyreg.dispatch_table.get(kind, lambda v: v.__reduce_ex__(4))(value)
    except Exception as error:
        if hasattr(value, "__wrapped__"):
            return {"(function)": value.__wrapped__}
        raise _unseen(name, value, "") from error
    if isinstance(reduced, str):
        if isinstance(value, np.ufunc) and not _is_known_ufunc(value):
            raise _unseen(name, value, ": the function in it is hidden")
        return {"(name)": reduced}
    made, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    parts = {"(made by)": made, "(state)": state}
    parts |= {f"({i})": part for i, part in enumerate(arguments)}
    parts |= {} if items is None else {"(items)": list(items)}
    return parts | ({} if pairs is None else {"(pairs)": dict(pairs)})


def _is_known_ufunc(f: np.ufunc) -> bool:
    from scipy import special

    return any(getattr(place, f.__name__, None) is f for place in (np, special))


def _closed(f: types.FunctionType) -> dict[str, Any]:
    return dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return _NOTHING


def _of_library(value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        return home_of_module(value) is not None
    if isinstance(value, types.FunctionType):
        return home_of_function(value) is not None
    return home_of_name(getattr(value, "__module__", None)) is not None


def _title(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _unseen(name: str, value: Any, why: str) -> Unseen:
    return Unseen(
        f"{name} is a {_title(type(value))}, of which nothing can be said that would tell it from "
        f"another{why}; give its class a method __fingerprint__(self) that returns the numbers "
        "which decide what it does, or make it in the function that uses it"
    )
