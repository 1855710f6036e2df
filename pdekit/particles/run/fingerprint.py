"""The fingerprint of a simulation's arguments, field by field.

A value is identified by its class and its state. User code is read: functions,
helpers, methods and properties (`run.bytecode`), closures, defaults, and the globals and class
attributes that they look up, recursively. Library objects are identified by name and version
(`pdekit.particles.run.provenance`), C-level state by pickling, compiled user modules by a digest of
their file. The fingerprint does not depend on addresses, the order of sets or the process.

Values that cannot be identified are refused (`Indescribable`); what is read only when a function is
called, for example from a file, is reported (``reads``). Docstrings, annotations and cached
properties are ignored. A class may define ``__fingerprint__`` to state what determines the
behaviour of its instances.
"""

import builtins
import importlib
import types
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.util import resolve_name
from typing import Any

import numpy as np
import torch

from pdekit.particles.run.bytecode import lookups, text
from pdekit.particles.run.descriptions import (
    BUILTIN,
    CONTAINERS,
    LONGEST,
    NAMED,
    NOTHING,
    PLAIN,
    Indescribable,
    as_pickled,
    as_text,
    attributes,
    cell_content,
    closed_over,
    is_hidden,
    is_of_library,
    is_put_there,
    items,
    name_of_class,
    of_array,
    of_builtin,
    of_tensor,
    unseen,
    what_is_wrapped,
)
from pdekit.particles.run.provenance import (
    compiled_file,
    digest,
    library_of_class,
    library_of_function,
    library_of_module,
)

_MOST, _DEEPEST = 1_000_000, 500  # parts, and levels of them
# attributes of a class that are irrelevant for its instances
_OF_CLASS = {
    *("__dict__", "__weakref__", "__module__", "__doc__", "__annotations__", "__qualname__"),
    *(
        "__slotnames__",
        "__protocol_attrs__",
        "_abc_impl",
        "__abstractmethods__",
        "__parameters__",
        "__orig_bases__",
        "__match_args__",
    ),
    *("__dataclass_fields__", "__dataclass_params__", "__firstlineno__", "__static_attributes__"),
}
_TEXT_RUN = {"eval", "exec", "compile", "globals", "__import__", "input", "open"}
_LIBRARY_READS = {
    *("load", "loadtxt", "genfromtxt", "fromfile", "memmap", "loadmat", "imread", "urlopen"),
    *("read_csv", "read_table", "read_json", "read_parquet", "read_hdf", "open"),
    *("open_dataset", "open_dataarray", "load_dataset", "import_module", "getenv", "environ"),
}
_METHOD_READS = {"read_text", "read_bytes", "open", "read"}
_READING = {"subprocess", "socket", "urllib", "http", "requests", "fileinput", "multiprocessing"}


def fingerprint(**arguments: Any) -> dict[str, str]:
    """A description of every part: ``{"dynamics.potential.curvature": "1.0", ...}``.

    Raises ``Indescribable`` for what cannot be described.
    """
    return described(**arguments).found


def described(**arguments: Any) -> "Account":
    """The same, with what the functions read when called."""
    account = Account(_names=dict.fromkeys(arguments, arguments))  # a module may have the same name
    for name, value in arguments.items():
        if isinstance(value, list) and name == "initial":
            value = np.asarray(value)
        account.describe(name, value)
    return account


def differences(there: dict[str, str], here: dict[str, str]) -> list[str]:
    """A line for every field that differs."""
    return [
        f"{name} is {there.get(name, NOTHING)} there, {here.get(name, NOTHING)} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]


@dataclass
class Account:
    """The description so far."""

    found: dict[str, str] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    _waiting: list[tuple[str, Any, tuple[int, ...]]] = field(default_factory=list)
    _known: dict[Any, Any] = field(
        default_factory=dict
    )  # keeps them alive, so that ids remain unique
    _names: dict[str, Any] = field(default_factory=dict)

    def describe(self, name: str, value: Any) -> None:
        """Describe a value and all of its parts."""
        self._waiting.append((name, value, ()))
        while self._waiting:
            if len(self.found) > _MOST:
                raise Indescribable(
                    f"{name} has more than {_MOST} parts; put its numbers in an array"
                )
            self._one(*self._waiting.pop())

    def _one(self, name: str, value: Any, above: tuple[int, ...]) -> None:
        if len(above) > _DEEPEST:
            raise unseen(name[:LONGEST], value, ": it is nested too deeply")
        if id(value) in above:
            self.found[name] = f"what holds it, {len(above) - above.index(id(value))} levels up"
            return
        try:
            title, parts = self._parts(name, value)
        except Indescribable:
            raise
        except Exception as error:  # raised by a user's property, pickling or __getattr__
            raise unseen(name, value, f": {type(error).__name__}: {error}") from error
        self.found[name] = title
        inner = (*above, id(value)) if parts else ()
        self._known[id(value)] = value
        self._waiting += [(name + part, what, inner) for part, what in parts.items()]

    def _parts(self, name: str, value: Any) -> tuple[str, dict[str, Any]]:
        """The name of a value, and its parts by the expression that accesses them."""
        kind = type(value)
        if kind in PLAIN or isinstance(value, NAMED):
            return as_text(value), {}
        if isinstance(value, type):
            return self._class(value), {}
        if hasattr(kind, "__fingerprint__"):
            return name_of_class(kind), {"": _SelfDescribed(value.__fingerprint__())}
        if kind is _SelfDescribed:
            return "as it says", {"(says)": value.value}
        if isinstance(value, torch.Tensor):
            return of_tensor(value)
        if isinstance(value, np.ndarray):
            return of_array(value)
        if isinstance(value, types.FunctionType):
            return self._function(name, value)
        if isinstance(value, types.ModuleType):
            return self._module(value), {}
        if isinstance(value, types.MethodType):
            return "method", {"(self)": value.__self__, "(function)": value.__func__}
        if isinstance(value, BUILTIN):
            return of_builtin(value)
        if isinstance(value, types.CodeType):
            return f"code {digest(text(value).encode())}", {}
        wrapped = what_is_wrapped(value)
        if wrapped:
            return name_of_class(kind), wrapped
        return self._instance(name, value)

    def _function(self, name: str, f: types.FunctionType) -> tuple[str, dict[str, Any]]:
        home = library_of_function(f)
        registry = getattr(f, "registry", None)
        if registry is not None and f.__globals__.get("__name__") == "functools":
            return "singledispatch", {".registry": dict(registry)}  # without its cache
        original = getattr(f, "_torchdynamo_orig_callable", None)
        if original is not None:
            return "compiled by torch", {"(function)": original}
        cells = {key: cell_content(cell) for key, cell in closed_over(f).items()}
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
        """Names looked up by a user function."""
        space, looked = f.__globals__, lookups(f.__code__)
        module = self._name(str(space.get("__name__", "")), space)
        words = looked.words
        for chain in sorted(looked.chains):
            name = chain[0]
            if name not in space:
                if name in _TEXT_RUN and hasattr(builtins, name):
                    self.reads.add(f"{module}.{f.__qualname__} calls {name}")
                elif not hasattr(builtins, name):
                    self.found[f"{module}.{name}"] = NOTHING
                else:
                    self._of_library(("builtins", name), builtins)
                continue
            value = space[name]
            if isinstance(value, types.ModuleType) and library_of_module(value) is None:
                self._lookup(value, None if name in looked.alone else words)
                continue
            self._later(f"{module}.{name}", value, (id(space), name))
            if is_of_library(value):
                self._of_library(chain, value)
                if _reads({getattr(value, "__name__", ""), *chain}, value):
                    self.reads.add(f"{module}.{f.__qualname__} calls {'.'.join(chain)}")
        for method in sorted(looked.attributes & _METHOD_READS):
            self.reads.add(f"{module}.{f.__qualname__} calls {method}")
        for level, name, inside in sorted(looked.imports):
            self._import(f, module, level, name, set(inside))

    def _of_library(self, chain: tuple[str, ...], value: Any) -> None:
        """A number in a library, or a user function placed there."""
        for word in chain[1:]:
            if not isinstance(value, types.ModuleType):
                return
            place, value = value, vars(value).get(word, builtins)
            if type(value) in PLAIN or is_put_there(value):
                self._later(".".join((place.__name__, word)), value, (id(vars(place)), word))
                return

    def _import(
        self, f: types.FunctionType, here: str, level: int, name: str, inside: set[str]
    ) -> None:
        """Imports of a function when it is called."""
        package = f.__globals__.get("__package__") or ""
        full = resolve_name("." * level + name, package) if level else name
        module = importlib.import_module(full)
        if library_of_module(module) is None:
            self._lookup(module, inside or None)
        elif _reads(inside or lookups(f.__code__).words, module):
            self.reads.add(f"{here}.{f.__qualname__} calls a reading function of {name}")

    def _lookup(self, module: types.ModuleType, words: set[str] | None) -> None:
        """What is looked up in a user module; None: anything."""
        space, title = vars(module), self._module(module, whole=words is None)
        self.found[f"module {module.__name__}"] = title
        if words is None or compiled_file(module) is not None:
            return
        name = self._name(module.__name__, space)
        inside = {*words, "__getattr__"} & space.keys()
        for word in sorted(inside):
            value = space[word]
            if isinstance(value, types.ModuleType) and library_of_module(value) is None:
                if self._new(("words", id(space), word, frozenset(words))):
                    self._lookup(value, words)
            else:
                self._later(f"{name}.{word}", value, (id(space), word))

    def _module(self, module: types.ModuleType, whole: bool = True) -> str:
        home, file = library_of_module(module), compiled_file(module)
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
        home = library_of_class(cls)
        if home is not None:
            if self._new(cls):
                for key, value in vars(cls).items():
                    if is_put_there(value):
                        self._later(f"{name_of_class(cls)}.{key}", value, (id(cls), key))
            return f"{name_of_class(cls)} of {home}" if home != "pdekit" else name_of_class(cls)
        if self._new(cls):
            name = self._name(name_of_class(cls), cls)
            bases = [self._class(base) for base in (*cls.__bases__, type(cls))]
            self.found[f"class {name}"] = f"class of {', '.join(bases)}"
            for key, value in vars(cls).items():
                if key not in _OF_CLASS and not isinstance(value, types.GetSetDescriptorType):
                    self._later(f"{name}.{key}", value, (id(cls), key))
        return name_of_class(cls)

    def _instance(self, name: str, value: Any) -> tuple[str, dict[str, Any]]:
        kind, home = type(value), library_of_class(type(value))
        title, parts = self._class(kind), items(value) or _of_set(value)
        own = home is None
        if is_dataclass(value) and not own:
            included = [f.name for f in fields(value) if f.name != "stats"]  # excludes run times
            return title, parts | {f".{key}": getattr(value, key) for key in included}
        if own or home == "pdekit":
            parts |= attributes(value)
        if kind not in CONTAINERS and (is_hidden(kind) if own or home == "pdekit" else True):
            parts |= as_pickled(name, value)
        if isinstance(value, CONTAINERS):
            title = f"{kind.__name__} of {len(value)}" if not own else f"{title} of {len(value)}"
            if len(parts) > LONGEST and all(type(part) in PLAIN for part in parts.values()):
                whole = "\n".join(f"{key} {as_text(part)}" for key, part in parts.items())
                return f"{title} {digest(whole.encode())}", {}
        return title, parts

    def _later(self, name: str, value: Any, key: Any) -> None:
        if self._new(key):
            self._waiting.append((name, value, ()))

    def _new(self, what: Any) -> bool:
        """Whether it is encountered for the first time."""
        key = what if isinstance(what, tuple) else ("id", id(what))
        first: bool = self._known.setdefault(key, _Box(what)).first()
        return first

    def _name(self, name: str, owner: Any) -> str:
        """A unique name for objects that may share one, such as classes defined in a function."""
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
class _SelfDescribed:
    """The result of an object's ``__fingerprint__``."""

    value: Any


def _reads(words: set[str], value: Any) -> bool:
    """Whether a library function reads something that may change."""
    home = getattr(value, "__module__", None) or getattr(value, "__name__", "")
    return bool(words & _LIBRARY_READS) or str(home).partition(".")[0] in _READING


def _of_set(value: Any) -> dict[str, Any]:
    """The items of a set, independent of their order."""
    if not isinstance(value, set | frozenset):
        return {}
    included = sorted(digest(repr(sorted(fingerprint(x=x).items())).encode()) for x in value)
    return {f"[{i}]": part for i, part in enumerate(included)}
