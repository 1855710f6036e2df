"""One function over a grid of parameters: on this process, or on the workers of a dask cluster."""

import hashlib
import itertools
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import module_from_spec, spec_from_file_location
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from pdekit import checks
from pdekit.files import replace_file

if TYPE_CHECKING:
    from distributed import Client

_AGAIN = 3  # times that a point is tried whose worker, or scheduler, went away
_FORMAT = "pdekit sweep 1"
Point = dict[str, Any]


def sweep(
    run: Callable[..., Any] | ModuleType,
    parameters: Mapping[str, Sequence[Any]],
    client: "Client | None" = None,
    *,
    folder: str | PathLike[str] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """``run`` at every combination of ``parameters``; a Dataset over them.

    >>> found = pk.sweep(lambda beta, seed: escape(beta, seed), {"beta": [2, 4], "seed": range(10)})
    >>> found.value.mean("seed")

    Parameters
    ----------
    run : a function of these parameters by name, which returns a number, an array, a DataArray, a
        Dataset, or a mapping of names to these; or the module of a study: its ``numbers``,
        ``holds``, and the texts of ``failed`` claims
    parameters : names, and the values that each takes: numbers, texts or truth values
    client : of ``dask.distributed``, whose workers take the points, each on one thread of numpy,
        torch and numba, so that they do not fight; None for this process, one after the other
    folder : finished points are kept there, a file each, written atomically; the same call goes on
        with what is missing, however it ended. A file of another ``run`` is refused
    progress : show a bar

    A point that raises is not fatal: its values are NaN, its ``error`` says why, and there is one
    warning. A point whose worker dies is tried again. Names of results that are functions of the
    parameters alone are variables; arrays keep their dimensions, which are joined where they differ
    between points. A single result without a name is ``value``.

    Raises ``ValueError`` for no parameters, a value twice or a file of another run, ``TypeError``
    for results that are no numbers, ``RuntimeError`` where every point fails.
    """
    values = _checked(parameters)
    points = [
        dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())
    ]
    task = _Task(run) if not isinstance(run, ModuleType) else _Study(Path(str(run.__file__)))
    kept = _Kept(None if folder is None else Path(folder), task, tuple(values))
    found: dict[int, xr.Dataset] = {}
    for k, point in enumerate(points):
        stored = kept.read(point)
        if stored is not None:
            found[k] = stored
    missing = [k for k in range(len(points)) if k not in found]
    done = _here(task, points, missing) if client is None else _there(client, task, points, missing)
    with tqdm(total=len(points), initial=len(found), disable=not progress, unit="point") as bar:
        for k, outcome in done:
            found[k] = outcome
            kept.write(points[k], outcome)
            bar.update()
    _report([found[k] for k in range(len(points))], points)
    return _joined([found[k] for k in range(len(points))], values)


def _checked(parameters: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Names with their values; a bare text or number is no list of values."""
    if not isinstance(parameters, Mapping) or not parameters:
        raise ValueError(
            "expected parameters as a dict of names and values, such as {'beta': [1, 2, 4]}, got "
            f"{checks.shown(parameters)}"
        )
    out: dict[str, list[Any]] = {}
    for name, given in parameters.items():
        if isinstance(given, str) or not hasattr(given, "__iter__"):
            raise ValueError(
                f"the values of {name!r} should be a list, got {checks.shown(given)}: "
                f"try [{given!r}]"
            )
        listed = [value.item() if isinstance(value, np.generic) else value for value in given]
        bad = [v for v in listed if not isinstance(v, bool | int | float | str)]
        if not listed or bad:
            raise ValueError(
                f"the values of {name!r} should be numbers, texts or truth values, and some; got "
                f"{checks.shown(bad[0]) if bad else 'none'}: name others by a text or a number, "
                "and look them up in run"
            )
        if len({(isinstance(v, bool), v) for v in listed}) < len(listed):
            raise ValueError(f"{name!r} takes a value twice: {listed}")
        out[str(name)] = listed
    return out


@dataclass
class _Task:
    """A function of the parameters, on whichever machine."""

    run: Callable[..., Any]

    def __call__(self, point: Point) -> xr.Dataset:
        """The results at a point; an error becomes its ``error``."""
        with _one_thread():
            try:
                return self.results(point).assign(error=((), ""))
            except Exception as error:
                return _failed(error)

    def results(self, point: Point) -> xr.Dataset:
        return as_dataset(self.run(**point))

    @property
    def identity(self) -> str:
        """Of the code and what it reads, so that points of two functions are not mixed."""
        from pdekit.particles.run.fingerprint import described

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that it reads, which may well be the same
            text = json.dumps(described(run=self.run).found, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class _Study(_Task):
    """A study, by its file: workers load it for themselves."""

    run: Any

    def results(self, point: Point) -> xr.Dataset:
        module = _module(self.run)
        results = module.run(**point)
        failed = [str(claim) for claim in module.claims(results) if not claim.holds]
        numbers = dict(_numbers(getattr(results, "numbers", {})))
        return as_dataset({**numbers, "holds": not failed, "failed": "; ".join(failed)})

    @property
    def identity(self) -> str:
        return hashlib.sha256(self.run.read_bytes()).hexdigest()[:16]


@cache
def _module(file: Path) -> ModuleType:
    spec = spec_from_file_location(f"pdekit_study_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their own module here
    spec.loader.exec_module(module)
    if hasattr(module, "tqdm"):
        own: Any = module
        own.tqdm = partial(own.tqdm, disable=True)  # one bar, that of the sweep, is enough
    return module


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of BLAS, torch and numba: as many points run beside it as there are workers."""
    import numba
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")  # it may be missing, or not yet needed
    before = numba.get_num_threads(), torch.get_num_threads() if torch else 1
    numba.set_num_threads(1)
    if torch:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        numba.set_num_threads(before[0])
        if torch:
            torch.set_num_threads(before[1])


def _failed(error: BaseException) -> xr.Dataset:
    return xr.Dataset({"error": ((), f"{type(error).__name__}: {error}")})


def as_dataset(given: Any) -> xr.Dataset:
    """What a function returned at a point, with names."""
    if isinstance(given, xr.Dataset):
        return given
    named = given if isinstance(given, Mapping) else {"value": given}
    out = {}
    for name, value in named.items():
        if isinstance(value, xr.DataArray):
            out[str(name)] = value
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "biufU":
            raise TypeError(
                f"{name!r} should be numbers, an array or a DataArray, got {checks.shown(value)}: "
                "return what is to be compared, such as solution.u or {'gap': gap}"
            )
        dims = [f"{name}_{axis}" for axis in range(array.ndim)]
        out[str(name)] = xr.DataArray(array, dims=dims)
    return xr.Dataset(out)


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of nested records: "rates.3.error"."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value, 1)
    for key, item in items:
        inner = f"{name}.{key}" if name else str(key)
        if isinstance(item, Mapping | list | tuple):
            yield from _numbers(item, inner)
        elif isinstance(item, bool | int | float | np.generic):
            yield inner, float(item)


def _here(task: _Task, points: list[Point], missing: list[int]) -> Iterator[tuple[int, xr.Dataset]]:
    for k in missing:
        yield k, task(points[k])


def _there(
    client: "Client", task: _Task, points: list[Point], missing: list[int]
) -> Iterator[tuple[int, xr.Dataset]]:
    """As workers finish them; a point whose worker or scheduler went away is sent again."""
    from distributed import as_completed

    finished: Any = as_completed

    def sent(k: int) -> Any:
        return client.submit(task, points[k], pure=False, key=f"pdekit-{id(task)}-{k}-{tries[k]}")

    tries = dict.fromkeys(missing, 1)
    numbers = {sent(k): k for k in missing}
    waiting = finished(list(numbers))
    for future in waiting:
        k = numbers[future]
        if future.status == "finished":
            yield k, future.result()
        elif tries[k] < _AGAIN:
            tries[k] += 1
            again = sent(k)
            numbers[again] = k
            waiting.add(again)
        else:
            error = future.exception() if future.status == "error" else None
            yield k, _failed(error or RuntimeError(f"lost with its worker ({future.status})"))


@dataclass
class _Kept:
    """Finished points as files, named by their values."""

    folder: Path | None
    task: _Task
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        head = self.folder / "sweep.json"
        mine = {"format": _FORMAT, "run": self.task.identity, "parameters": list(self.names)}
        if head.exists():
            theirs = json.loads(head.read_text(encoding="utf-8"))
            different = [key for key in mine if theirs.get(key) != mine[key]]
            if different:
                raise ValueError(
                    f"{self.folder} keeps the points of another sweep (its {different[0]} is "
                    f"{theirs.get(different[0])!r}, here {mine[different[0]]!r}): choose another "
                    "folder, or remove that one"
                )
        else:
            text = json.dumps(mine)
            replace_file(head, lambda path: path.write_text(text, encoding="utf-8"))

    def _file(self, point: Point) -> Path:
        text = json.dumps([point[name] for name in self.names])
        assert self.folder is not None
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.nc"

    def read(self, point: Point) -> xr.Dataset | None:
        """A finished point; None where it is missing, damaged or ended in an error."""
        if self.folder is None or not self._file(point).exists():
            return None
        try:
            found = xr.load_dataset(self._file(point), engine="scipy")
        except (OSError, ValueError, TypeError):
            return None
        return None if str(found.error.values) else found

    def write(self, point: Point, outcome: xr.Dataset) -> None:
        if self.folder is not None:
            replace_file(self._file(point), lambda p: outcome.to_netcdf(p, engine="scipy"))


def _report(found: list[xr.Dataset], points: list[Point]) -> None:
    """A warning of the points that failed; an error if all did."""
    failed = [k for k, outcome in enumerate(found) if str(outcome.error.values)]
    if not failed:
        return
    first = f"at {points[failed[0]]}: {found[failed[0]].error.values}"
    if len(failed) == len(found):
        raise RuntimeError(f"every one of the {len(found)} points fails; {first}")
    warnings.warn(
        f"{len(failed)} of {len(found)} points failed and are NaN, see .error; the first {first}",
        RuntimeWarning,
        stacklevel=3,
    )


def _joined(found: list[xr.Dataset], values: dict[str, list[Any]]) -> xr.Dataset:
    """One table over the parameters; what a point lacks is NaN."""
    clash = {name for outcome in found for name in outcome.dims} & {*values}
    if clash:
        raise ValueError(
            f"results have dimensions named like parameters: {sorted(map(str, clash))}"
        )
    nested: list[Any] = list(found)
    for name in reversed(values):
        size = len(values[name])
        nested = [nested[k : k + size] for k in range(0, len(nested), size)]
        nested = [xr.concat(part, dim=_axis(name, values[name]), data_vars="all", coords="minimal",
                            compat="override", join="outer") for part in nested]  # fmt: skip
    (whole,) = nested
    return whole if isinstance(whole, xr.Dataset) else whole.to_dataset()


def _axis(name: str, values: list[Any]) -> xr.DataArray:
    return xr.DataArray(values, dims=name, name=name)


def values_of(text: str) -> list[Any]:
    """Values of the command line: "1,2,4", "0:10" or "0:1:0.25" (without their end), "a,b"."""
    out: list[Any] = []
    for part in text.split(","):
        ends = [_value(end) for end in part.split(":")]
        if len(ends) == 1:
            out.append(ends[0])
            continue
        if len(ends) > 3 or not all(isinstance(end, int | float) for end in ends):
            raise ValueError(f"expected values such as 1,2,4 or 0:10 or 0:1:0.25, got {text!r}")
        start, stop, step = (*ends, 1)[:3]
        count = math.ceil((stop - start) / step - 1e-9) if step else 0
        if not 0 < count <= 1_000_000:
            raise ValueError(f"{part!r} is an empty or endless range; expected first:end:step")
        out += [start + k * step for k in range(count)]
    return out


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    words = {"true": True, "false": False}
    return words.get(text.strip().lower(), text.strip())
