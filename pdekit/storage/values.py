"""Values of pdekit as trees of plain JSON, and arrays beside them; and back.

A value is its class, by name, and its declared fields. On reading only classes of pdekit that
are dataclasses are made, by setting these fields: no constructor and no function is called.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.storage import functions

_PLAIN = (bool, int, str, type(None))
_EXACT = 1 << 53  # whole numbers up to which doubles are exact
_LARGEST_INT = (1 << 31) - 1  # of netCDF 3


def name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def is_own(value: Any) -> bool:
    """Whether a value is one of pdekit's, known by its declared fields."""
    kind = type(value)
    return is_dataclass(kind) and kind.__module__.split(".")[0] == "pdekit"


def is_whole(value: Any) -> bool:
    """Whether a file has all of a value: whether there is no function of a user in it."""
    writer = Writer()
    writer.tree("", value)
    return not writer.notes


@dataclass
class Writer:
    """Collects the arrays of a tree as variables, and notes of functions."""

    points: Array | None = None
    variables: dict[str, xr.Variable] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def tree(self, name: str, value: Any) -> Any:
        """What JSON has of a value."""
        if isinstance(value, np.generic):
            value = value.item()
        if type(value) in _PLAIN:
            return value
        if type(value) is float:
            return value if np.isfinite(value) else {"float": repr(value)}
        if isinstance(value, np.ndarray):
            return {"array": self.array(name, value)}
        if isinstance(value, xr.Dataset):
            return {"dataset": self.pairs(name, {k: value[k] for k in value.data_vars}),
                    "attrs": self.tree(name, dict(value.attrs))}  # fmt: skip
        if isinstance(value, xr.DataArray):
            return {"labelled": self.labelled(name, value)}
        if hasattr(value, "_of_parts"):
            return {"result": name_of(type(value)), "parts": self.parts(name, value._parts())}
        if isinstance(value, Mapping):
            return {"dict": self.pairs(name, value)}
        if type(value) in (list, tuple):
            items = [self.tree(f"{name}_{k}", item) for k, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, np.ufunc) and getattr(np, _plain(value), None) is value:
            return {"ufunc": _plain(value)}
        if hasattr(value, "detach") and hasattr(value, "numpy"):
            return {"tensor": self.array(name, value.detach().cpu().numpy())}
        if is_own(value):
            here = {f.name: getattr(value, f.name) for f in fields(value)}
            return {"value": name_of(type(value)), "fields": self.parts(name, here)}
        return {"function": self.note(name, value)}

    def parts(self, name: str, parts: Mapping[str, Any]) -> dict[str, Any]:
        prefix = f"{name}_" if name else ""
        return {key: self.tree(f"{prefix}{key}", part) for key, part in parts.items()}

    def pairs(self, name: str, items: Mapping[Any, Any]) -> list[Any]:
        return [
            [self.tree("", key), self.tree(_word(f"{name}_{key}"), item)]
            for key, item in items.items()
        ]

    def note(self, name: str, value: Any) -> dict[str, Any]:
        found = functions.note(value, self.points)
        self.notes.append(f"{name}: {found['name']}, not stored. {found['source']}".strip())
        if found["sample"] is not None:
            found["sample"] = self.array(f"{name}_values", found["sample"])
        return found

    def array(self, name: str, values: NDArray[Any], dims: tuple[str, ...] = ()) -> dict[str, Any]:
        """An array as a variable; text and empty arrays, which the format lacks, as JSON."""
        facts = _facts(values)
        if values.dtype.kind in "USO" or not values.size:
            return facts | {"items": [self.tree(name, item) for item in values.ravel().tolist()]}
        name = self._free(_word(name or "array"))
        dims = dims or tuple(f"{name}_{k}" for k in range(values.ndim))
        self.variables[name] = xr.Variable(dims, _as_netcdf(values))
        self.sizes |= dict(zip(dims, values.shape, strict=True))
        return facts | {"variable": name}

    def labelled(self, name: str, given: xr.DataArray) -> dict[str, Any]:
        """A DataArray: its dimensions are those of the file where they are the same."""
        dims = tuple(self._dim(name, given, d) for d in given.dims)
        values = self.array(name, given.values, dims)
        if "variable" in values:
            self.variables[values["variable"]].attrs |= _of_text(given.attrs)
        return {
            "values": values,
            "dims": [str(d) for d in given.dims],
            "coords": {str(k): self._coordinate(name, str(k), given, dims) for k in given.coords},
            "name": given.name if given.name is None else str(given.name),
            "attrs": self.tree(name, dict(given.attrs)),
        }

    def _coordinate(
        self, name: str, key: str, given: xr.DataArray, dims: tuple[str, ...]
    ) -> dict[str, Any]:
        """A coordinate; that of a dimension is a variable of its name."""
        v = given[key]
        shared = dims[given.dims.index(key)] if key in given.dims else ""
        if shared and v.values.dtype.kind not in "USO" and v.size:
            self.variables.setdefault(shared, xr.Variable((shared,), _as_netcdf(v.values)))
            values = _facts(v.values) | {"variable": shared}
        else:
            values = self.array(f"{name}_{key}", v.values)
        return {"dims": [str(d) for d in v.dims], "values": values}

    def _dim(self, name: str, given: xr.DataArray, dim: Any) -> str:
        """The name of a dimension in the file; another one where that means something else."""
        word, size = _word(str(dim)), given.sizes[dim]
        own = given[dim].values if dim in given.coords else None
        own = None if own is None or own.dtype.kind in "USO" else own
        if word in self.sizes or word in self.variables:
            there = self.variables.get(word)
            same = self.sizes.get(word) == size and (
                own is None if there is None else own is not None
                and np.array_equal(_as_netcdf(own), there.values)
            )  # fmt: skip
            if not same:
                word = self._free(f"{name}_{word}")
        self.sizes[word] = size
        return word

    def _free(self, name: str) -> str:
        taken, k = name, 1
        while name in self.variables or name in self.sizes:
            name, k = f"{taken}_{k}", k + 1
        return name


def _facts(values: NDArray[Any]) -> dict[str, Any]:
    return {"dtype": values.dtype.str, "shape": list(values.shape)}


def _of_text(attrs: Mapping[Any, Any]) -> dict[str, str]:
    return {str(k): v for k, v in attrs.items() if isinstance(v, str) and v}


def _plain(function: Any) -> str:
    """The name of a function of numpy's."""
    return str(getattr(function, "__name__", ""))


def _word(name: str) -> str:
    """A name that netCDF takes."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return word if word and not word[0].isdigit() else f"v_{word}"


def _as_netcdf(values: NDArray[Any]) -> NDArray[Any]:
    """Values in a type of netCDF 3 that has all of them exactly."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "f" and size in (4, 8):
        return values
    if kind == "b":
        return values.astype("i1")
    if kind in "iu":
        most = int(np.abs(values.astype(float)).max())
        if most <= _LARGEST_INT:
            return values.astype("i4")
        if most <= _EXACT:
            return values.astype("f8")
    raise ValueError(f"an array of {values.dtype} cannot be stored in netCDF exactly")


class Unknown(ValueError):
    """What this version cannot read."""


@dataclass
class Reader:
    """Makes values of a tree; ``known``: functions to put in their places, by note."""

    variables: Mapping[str, NDArray[Any]]
    stated: str
    known: dict[str, Any] = field(default_factory=dict)

    def value(self, tree: Any) -> Any:
        if type(tree) in (*_PLAIN, float):
            return tree
        if isinstance(tree, list):
            return [self.value(item) for item in tree]
        kind = next(iter(tree))
        return getattr(self, f"_{kind}")(tree[kind], tree)

    def _float(self, text: str, tree: Any) -> float:
        return float(text)

    def _array(self, facts: Any, tree: Any) -> NDArray[Any]:
        shape, dtype = tuple(facts["shape"]), np.dtype(facts["dtype"])
        if "items" in facts:
            out = np.empty(shape, dtype)
            out[...] = np.array(self.value(facts["items"]), dtype).reshape(shape)
        else:
            out = np.array(self.variables[facts["variable"]], dtype=dtype).reshape(shape)
        return out

    def _tensor(self, facts: Any, tree: Any) -> Any:
        import torch

        return torch.from_numpy(self._array(facts, tree))

    def _labelled(self, facts: Any, tree: Any) -> xr.DataArray:
        coords = {
            key: (tuple(part["dims"]), self._array(part["values"], None))
            for key, part in facts["coords"].items()
        }
        values = self._array(facts["values"], None)
        return xr.DataArray(
            values, coords, facts["dims"], facts["name"], self.value(facts["attrs"])
        )

    def _dataset(self, pairs: Any, tree: Any) -> xr.Dataset:
        variables = {self.value(k): self.value(v) for k, v in pairs}
        return xr.Dataset(variables, attrs=self.value(tree["attrs"]))

    def _dict(self, pairs: Any, tree: Any) -> dict[Any, Any]:
        return {self.value(k): self.value(v) for k, v in pairs}

    def _tuple(self, items: Any, tree: Any) -> tuple[Any, ...]:
        return tuple(self.value(item) for item in items)

    def _ufunc(self, name: str, tree: Any) -> Any:
        found = getattr(np, name, None)
        if not isinstance(found, np.ufunc):
            raise Unknown(f"numpy has no function {name!r}")
        return found

    def _result(self, name: str, tree: Any) -> Any:
        kind = own_class(name)
        if not hasattr(kind, "_of_parts"):
            raise Unknown(f"{name} is not a result")
        return kind._of_parts({k: self.value(v) for k, v in tree["parts"].items()})

    def _value(self, name: str, tree: Any) -> Any:
        kind, given = own_class(name), tree["fields"]
        made = object.__new__(kind)
        declared = {f.name: f for f in fields(kind)}
        if set(given) - set(declared):
            raise Unknown(f"{name} has no {', '.join(sorted(set(given) - set(declared)))}")
        for key, each in declared.items():
            object.__setattr__(made, key, self._field(name, key, each, given))
        return made

    def _field(self, name: str, key: str, each: Any, given: dict[str, Any]) -> Any:
        if key in given:
            value = self.value(given[key])
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            return value
        if each.default is not MISSING:
            return each.default
        if each.default_factory is not MISSING:
            return each.default_factory()
        raise Unknown(f"{name} needs {key}")

    def _function(self, found: Any, tree: Any) -> Any:
        if found["key"] in self.known:
            return self.known[found["key"]]
        stands = functions.NotStoredInTime if found["moves"] else functions.NotStored
        return stands(found["name"], found["source"], self.stated)

    def samples(self, found: Any) -> Array | None:
        """The values by which a function is known again."""
        return None if found["sample"] is None else self._array(found["sample"], None)


def own_class(name: str) -> Any:
    """A class of pdekit by its name; nothing else is imported."""
    module, _, kind = name.rpartition(".")
    if module.split(".")[0] != "pdekit":
        raise Unknown(f"{name} is not a class of pdekit")
    try:
        found = getattr(import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise Unknown(f"this version of pdekit has no {name}") from error
    if not (isinstance(found, type) and is_dataclass(found)):
        raise Unknown(f"{name} is not a value of pdekit")
    return found
